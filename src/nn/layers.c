/*
 * layers.c
 *		The layers of an encoder, forward and backward.
 *
 * Reverse-mode differentiation by hand: a layer is a pair of functions.  Its
 * forward function computes the output from the input; its backward function
 * gets the gradient of the loss by the output and returns those by the input
 * and by the parameters, by the chain rule.  A network is a sequence of
 * forward calls that keep what the backward calls, in the opposite order, need.
 *
 * Example, a tower with one dense layer (x are ids, capitals are parameters):
 *
 *     e = bag(x, E)         dE = bag_backward(de)
 *     h = e W + b           de = dh W^T,  dW = e^T dh,  db = sum over rows of dh
 *     y = h / |h|           dh = (dy - y <y, dy>) / |h|
 *
 * read the left column downwards, the right one upwards.
 *
 * The embedding table is by far the largest parameter, and a batch touches a
 * few of its rows.  Its gradient is therefore compact, one row for each
 * distinct id, and computed as another bag: with the incidence of ids and
 * texts transposed (ids to the texts that have them), a row's gradient is the
 * sum of its texts' gradients.  Both directions are the same kernel, and every
 * row is written once.
 *
 * Limits.  Shapes are the caller's word; nothing is checked here.
 */
#include "nn/layers.h"

#include <math.h>
#include <string.h>

#include "nn/simd.h"
#include "nn/matrix.h"

ds_real
ds_pooling_scale(DsBagPooling pooling, size_t n)
{
	if (n == 0)
		return 0;
	switch (pooling)
	{
		case DS_POOLING_MEAN:
			return (ds_real) (1.0 / (double) n);
		case DS_POOLING_SQRTN:
			return (ds_real) (1.0 / sqrt((double) n));
		case DS_POOLING_SUM:
			break;
	}
	return 1;
}

void
ds_bag_forward(const ds_real *table, size_t dims, const uint32_t *ids, const size_t *offsets,
			   size_t texts, DsBagPooling pooling, ds_real *out)
{
	const DsNnKernels *kernels = ds_nn_kernels();

	for (size_t t = 0; t < texts; t++)
	{
		size_t n = offsets[t + 1] - offsets[t];

		kernels->bag(table, dims, ids + offsets[t], n, ds_pooling_scale(pooling, n),
					 out + t * dims);
	}
}

void
ds_short_numbers(const DsShortTable *table, size_t dims, size_t first, size_t count, float *out)
{
	size_t size = ds_dtype_bits(table->dtype) / 8;

	ds_dtype_to_float(table->dtype, (const char *) table->rows + first * size, count, out);
	for (size_t i = 0; table->scales != NULL && i < count; i++)
		out[i] *= table->scales[(first + i) / dims];
}

void
ds_bag_infer_short(const DsShortTable *table, size_t dims, const uint32_t *ids, size_t n,
				   DsBagPooling pooling, ds_real *out)
{
	ds_nn_kernels()->bag_short(table, dims, ids, n, ds_pooling_scale(pooling, n), out);
}

void
ds_bag_scale(ds_real *d_out, size_t dims, const size_t *offsets, size_t texts, DsBagPooling pooling)
{
	const DsNnKernels *kernels = ds_nn_kernels();

	for (size_t t = 0; t < texts; t++)
		kernels->scale(d_out + t * dims, dims,
					   ds_pooling_scale(pooling, offsets[t + 1] - offsets[t]));
}

void
ds_bag_backward(const ds_real *scaled, size_t dims, const uint32_t *row_texts,
				const uint32_t *row_offsets, size_t row_count, ds_real *d_rows)
{
	const DsNnKernels *kernels = ds_nn_kernels();

	for (size_t r = 0; r < row_count; r++)
		kernels->bag(scaled, dims, row_texts + row_offsets[r], row_offsets[r + 1] - row_offsets[r],
					 1, d_rows + r * dims);
}

void
ds_dense_forward(const ds_real *in, const ds_real *weight, const ds_real *bias, size_t rows,
				 size_t ins, size_t outs, ds_real *out)
{
	if (rows == 0)
		return;
	for (size_t r = 0; r < rows; r++)
		memcpy(out + r * outs, bias, outs * sizeof(ds_real));
	matrix_product(0, 0, rows, outs, ins, in, ins, weight, outs, 1, out, outs);
}

void
ds_dense_backward(const ds_real *in, const ds_real *weight, const ds_real *d_out, size_t rows,
				  size_t ins, size_t outs, ds_real *d_in, ds_real *d_weight, ds_real *d_bias)
{
	const DsNnKernels *kernels = ds_nn_kernels();

	if (rows == 0)
		return;
	if (d_weight != NULL)
		matrix_product(1, 0, ins, outs, rows, in, ins, d_out, outs, 1, d_weight, outs);
	for (size_t r = 0; r < rows && d_bias != NULL; r++)
		kernels->add(d_bias, d_out + r * outs, outs);
	if (d_in != NULL)
		matrix_product(0, 1, rows, ins, outs, d_out, outs, weight, outs, 0, d_in, ins);
}

void
ds_dense_infer(const ds_real *in, const ds_real *weight, const ds_real *bias, size_t rows,
			   size_t ins, size_t outs, ds_real *out)
{
	const DsNnKernels *kernels = ds_nn_kernels();

	for (size_t r = 0; r < rows; r++)
		kernels->dense_row(in + r * ins, weight, bias, ins, outs, out + r * outs);
}

void
ds_relu_forward(ds_real *x, size_t n)
{
	/* a NaN passes, so that it is noticed */
	for (size_t i = 0; i < n; i++)
		x[i] = x[i] < 0 ? 0 : x[i];
}

void
ds_relu_backward(const ds_real *x, ds_real *d, size_t n)
{
	for (size_t i = 0; i < n; i++)
		d[i] = x[i] > 0 ? d[i] : 0;
}

/*
 * 1 / |x| of a row whose squares may leave the range of float: then it is
 * computed in double, where they cannot.
 */
static ds_real
inverse_norm(const DsNnKernels *kernels, const ds_real *x, size_t n)
{
	double square = (double) kernels->dot(x, x, n);

	if (!(square > 1e-30 && square < 1e30))
	{
		square = 0;
		for (size_t i = 0; i < n; i++)
			square += (double) x[i] * (double) x[i];
	}
	return square > 0 ? (ds_real) (1.0 / sqrt(square)) : (ds_real) square;
}

void
ds_normalize_forward(const ds_real *in, size_t rows, size_t dims, ds_real *out, ds_real *inverse)
{
	const DsNnKernels *kernels = ds_nn_kernels();

	for (size_t r = 0; r < rows; r++)
	{
		inverse[r] = inverse_norm(kernels, in + r * dims, dims);
		if (out != in)
			memcpy(out + r * dims, in + r * dims, dims * sizeof(ds_real));
		kernels->scale(out + r * dims, dims, inverse[r]);
	}
}

void
ds_normalize_backward(const ds_real *out, const ds_real *inverse, const ds_real *d_out, size_t rows,
					  size_t dims, ds_real *d_in)
{
	const DsNnKernels *kernels = ds_nn_kernels();

	for (size_t r = 0; r < rows; r++)
	{
		const ds_real *y = out + r * dims;
		const ds_real *dy = d_out + r * dims;
		ds_real along = kernels->dot(y, dy, dims);

		for (size_t c = 0; c < dims; c++)
			d_in[r * dims + c] = (dy[c] - y[c] * along) * inverse[r];
	}
}
