/*
 * tflite_weights.c
 *		The model's own numbers in a graph: matrices and tables, f32, f16 or int8.
 *
 * f16: the file has halves, and a DEQUANTIZE behind each matrix, which runtimes run once
 * or take into the product; rows of a table are taken before that.  int8: a matrix has a scale for each output, and
 * its product is "dynamic range": the runtime rounds the other side row by row.
 * A table has a scale for each row: rows are taken as bytes, and their scales
 * from a second table, so that nothing is ever as large as the table in f32.
 */
#include "format/tflite_private.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PIECE ((size_t) 1 << 18) /* numbers read at once: 1 MB */
#define HALF_MAX 65504.0f /* the largest f16 */

/* There, with so many values? */
static bool
check_size(DsTfGraph *graph, const char *name, uint64_t total)
{
	uint64_t values = 0;

	if (graph->code != DS_OK)
		return false;
	if (!graph->source->find(graph->source->context, name, &values))
		ds_tf_fail(graph, DS_BAD_DATA, "tensor \"%s\" is missing", name);
	else if (values != total)
		ds_tf_fail(graph, DS_BAD_DATA, "tensor \"%s\" has %llu values instead of %llu", name,
				   (unsigned long long) values, (unsigned long long) total);
	return graph->code == DS_OK;
}

/* Values into out; all of them finite */
static bool
read_some(DsTfGraph *graph, const char *name, uint64_t first, size_t count, float *out)
{
	if (graph->code == DS_OK && ds_cancelled(graph->cancel))
		ds_tf_fail(graph, DS_CANCELLED, "cancelled");
	if (graph->code == DS_OK)
		graph->code =
			graph->source->read(graph->source->context, name, first, count, out, graph->status);
	for (size_t i = 0; graph->code == DS_OK && i < count; i++)
		if (!isfinite(out[i]))
			ds_tf_fail(graph, DS_BAD_DATA,
					   "tensor \"%s\" has a value that is not finite, number %llu", name,
					   (unsigned long long) (first + i));
	return graph->code == DS_OK;
}

/* Bytes that the file will have: too many are refused before they are read */
static bool
claim(DsTfGraph *graph, const DsPlanPart *part)
{
	if (graph->code == DS_OK &&
		(__builtin_add_overflow(graph->claimed, part->length, &graph->claimed) ||
		 graph->claimed > DS_FLAT_MAX))
		ds_tf_fail(graph, DS_TOO_LARGE,
				   "the file would be larger than 2 GB, which this format does not have");
	return graph->code == DS_OK;
}

static void *
memory(DsTfGraph *graph, size_t count, size_t size)
{
	void *bytes = NULL;

	if (graph->code != DS_OK)
		return NULL;
	bytes = ds_arena_zero(graph->arena, count, size);
	if (bytes == NULL)
		ds_tf_fail(graph, DS_OUT_OF_MEMORY, "out of memory");
	return bytes;
}

const float *
ds_tf_read(DsTfGraph *graph, const char *name, uint64_t total, size_t count)
{
	float *numbers = memory(graph, count, sizeof(float));

	if (numbers == NULL || !check_size(graph, name, total))
		return NULL;
	for (size_t first = 0; first < count; first += PIECE)
		if (!read_some(graph, name, first, count - first < PIECE ? count - first : PIECE,
					   numbers + first))
			return NULL;
	return numbers;
}

/*
 * The largest absolute value of each row, or column, of a matrix as it is
 * stored.  One look at every number before the file is begun: what would be
 * refused is refused then.
 */
static float *
largest(DsTfGraph *graph, const DsPlanPart *part, bool by_column)
{
	uint64_t total = part->rows * part->columns;
	float *most = memory(graph, (size_t) (by_column ? part->columns : part->rows), sizeof(float));

	if (graph->numbers == NULL)
		graph->numbers = memory(graph, PIECE, sizeof(float));
	if (graph->code != DS_OK)
		return NULL;
	for (uint64_t first = 0; first < total; first += PIECE)
	{
		size_t n = total - first < PIECE ? (size_t) (total - first) : PIECE;
		uint64_t row = first / part->columns;
		uint64_t column = first % part->columns;

		if (!read_some(graph, part->tensor, first, n, graph->numbers))
			return NULL;
		for (size_t i = 0; i < n; i++)
		{
			float *to = &most[by_column ? column : row];

			*to = fmaxf(*to, fabsf(graph->numbers[i]));
			if (++column == part->columns)
			{
				column = 0;
				row++;
			}
		}
	}
	return most;
}

/* A matrix as a tensor [shape]; part says how it is stored, but for type and scales */
static DsTfTensor
matrix(DsTfGraph *graph, DsPlanPart *part, DsDtype dtype, DsTfShape shape)
{
	float *most;

	part->dtype = dtype;
	part->length = part->rows * part->columns * (ds_dtype_bits(dtype) / 8);
	if (!check_size(graph, part->tensor, part->rows * part->columns) || !claim(graph, part))
		return DS_TF_NONE;
	most = largest(graph, part, part->transpose);
	for (uint32_t i = 0; most != NULL && i < shape.dims[0]; i++)
	{
		if (dtype == DS_DTYPE_F16 && most[i] > HALF_MAX)
			ds_tf_fail(graph, DS_UNSUPPORTED, "tensor \"%s\" has values too large for f16",
					   part->tensor);
		/* a row of zeros has any scale, but runtimes want a positive one */
		most[i] = most[i] > 1e-30f ? most[i] / 127.0f : 1.0f;
	}
	if (dtype == DS_DTYPE_I8)
	{
		part->scales = most;
		part->column_scales = part->transpose;
	}
	return ds_tf_bytes(graph, part->tensor,
					   dtype == DS_DTYPE_I8	   ? DS_TF_I8
					   : dtype == DS_DTYPE_F16 ? DS_TF_F16
											   : DS_TF_F32,
					   shape, part);
}

static DsPlanPart
part_of(const char *name, uint64_t rows, uint64_t columns)
{
	DsPlanPart part = {.rows = rows, .columns = columns};

	snprintf(part.tensor, sizeof(part.tensor), "%.*s", DS_SPEC_NAME - 1, name);
	return part;
}

/* DsPlanStored of the graph's source, which does not tell types */
static bool
is_there(void *context, const char *name, DsDtype *dtype, uint32_t *rank, uint64_t shape[4])
{
	const DsTfGraph *graph = context;
	uint64_t values;

	if (!graph->source->find(graph->source->context, name, &values))
		return false;
	*dtype = DS_DTYPE_F32;
	*rank = 1;
	shape[0] = values;
	return true;
}

DsTfTensor
ds_tf_stored(DsTfGraph *graph, const char *name, DsTfType type, DsTfShape shape)
{
	DsPlanPart part = part_of(name, 1, 1);

	for (uint32_t d = 0; d < shape.rank; d++)
		part.columns *= shape.dims[d];
	part.dtype = type == DS_TF_I32 ? DS_DTYPE_I32 : DS_DTYPE_F32;
	part.length = 4 * part.columns;
	if (!check_size(graph, name, part.columns) || !claim(graph, &part))
		return DS_TF_NONE;
	return ds_tf_bytes(graph, name, type, shape, &part);
}

DsTfTensor
ds_tf_dense(DsTfGraph *graph, DsTfTensor x, const DsTfDense *dense)
{
	DsTfShape shape = ds_tf_shape(graph, x);
	DsTfTensor bias = DS_TF_NONE;
	DsTfTensor weight;
	DsPlanPart part;
	const DsPlanStored stored = {graph, is_there};
	char name[DS_SPEC_NAME + 16];
	uint32_t ins;
	DsDtype dtype;

	if (graph->code != DS_OK)
		return DS_TF_NONE;
	ins = shape.dims[shape.rank - 1];
	snprintf(name, sizeof(name), "%s.weight", dense->name);
	if (dense->transposed)
	{
		part = part_of(name, ins, dense->outs);
		part.transpose = true;
	}
	else if (!ds_plan_part(&stored, name, dense->outs, ins, true, &part))
		ds_tf_fail(graph, DS_BAD_DATA, "tensor \"%s\" is missing", name);
	dtype = dense->exact ? DS_DTYPE_F32 : graph->weights;
	weight = matrix(graph, &part, dtype, DS_TF_SHAPE(dense->outs, ins));
	if (dtype == DS_DTYPE_I8 && graph->code == DS_OK)
		((DsTfInfo *) ds_tf_element(graph->tensors, (size_t) weight))->scales = part.scales;
	if (dtype == DS_DTYPE_F16)
		weight = ds_tf_unary(graph, DS_TF_DEQUANTIZE, weight);
	if (dense->bias)
	{
		snprintf(name, sizeof(name), "%s.bias", dense->name);
		if (dtype == DS_DTYPE_F16)
		{
			/* runtimes take such weights into the product where the bias is of their type */
			part = part_of(name, dense->outs, 1);
			bias = ds_tf_unary(graph, DS_TF_DEQUANTIZE,
							   matrix(graph, &part, dtype, DS_TF_SHAPE(dense->outs)));
		}
		else
			bias = ds_tf_stored(graph, name, DS_TF_F32, DS_TF_SHAPE(dense->outs));
	}
	return ds_tf_product(graph, x, weight, bias, dense->relu);
}

DsTfTensor
ds_tf_lookup(DsTfGraph *graph, const char *name, uint32_t rows, uint32_t columns, DsTfTensor ids)
{
	DsPlanPart part = part_of(name, rows, columns);
	DsTfTensor table = matrix(graph, &part, graph->weights, DS_TF_SHAPE(rows, columns));
	DsTfTensor taken;
	DsTfTensor scales;

	taken = ds_tf_gather(graph, table, ids);
	if (graph->weights == DS_DTYPE_F16)
		return ds_tf_unary(graph, DS_TF_DEQUANTIZE, taken);
	if (graph->weights == DS_DTYPE_F32)
		return taken;
	taken = ds_tf_cast(graph, taken, DS_TF_F32);
	scales = ds_tf_constant(graph, DS_TF_F32, DS_TF_SHAPE(rows, 1), part.scales);
	return ds_tf_binary(graph, DS_TF_MUL, taken, ds_tf_gather(graph, scales, ids));
}

DsTfTensor
ds_tf_norm(DsTfGraph *graph, DsTfTensor x, const char *name, bool bias, double epsilon)
{
	DsTfShape shape = ds_tf_shape(graph, x);
	uint32_t axis = shape.rank - 1;
	DsTfTensor mean = ds_tf_reduce(graph, DS_TF_MEAN, x, axis);
	DsTfTensor variance = ds_tf_reduce(
		graph, DS_TF_MEAN, ds_tf_binary(graph, DS_TF_SQUARED_DIFFERENCE, x, mean), axis);
	DsTfTensor inverse = ds_tf_unary(
		graph, DS_TF_RSQRT, ds_tf_binary(graph, DS_TF_ADD, variance, ds_tf_number(graph, epsilon)));
	char tensor[DS_SPEC_NAME + 16];

	x = ds_tf_binary(graph, DS_TF_MUL, ds_tf_binary(graph, DS_TF_SUB, x, mean), inverse);
	if (graph->code != DS_OK)
		return DS_TF_NONE;
	snprintf(tensor, sizeof(tensor), "%s.weight", name);
	x = ds_tf_binary(graph, DS_TF_MUL, x,
					 ds_tf_stored(graph, tensor, DS_TF_F32, DS_TF_SHAPE(shape.dims[axis])));
	if (!bias)
		return x;
	snprintf(tensor, sizeof(tensor), "%s.bias", name);
	return ds_tf_binary(graph, DS_TF_ADD, x,
						ds_tf_stored(graph, tensor, DS_TF_F32, DS_TF_SHAPE(shape.dims[axis])));
}
