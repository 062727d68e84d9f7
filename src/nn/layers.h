/*
 * layers.h
 *		Layers: a forward and a backward function each, on plain pointers.
 *
 * All arrays are row-major and dense; shapes stand in the comments.  A
 * backward function takes the gradient of the loss by its output (d_out) and
 * gives those by its input and its parameters.  Gradients of parameters are
 * added to what is there, except for the embedding bag's.
 */
#ifndef DS_NN_LAYERS_H
#define DS_NN_LAYERS_H

#include <stddef.h>
#include <stdint.h>

#include "format/dtype.h"
#include "nn/real.h"

typedef enum DsBagPooling
{
	DS_POOLING_MEAN, /* sum / n */
	DS_POOLING_SUM,
	DS_POOLING_SQRTN /* sum / sqrt(n) */
} DsBagPooling;

/* what a bag of n features is multiplied by; 0 for n = 0 */
extern ds_real ds_pooling_scale(DsBagPooling pooling, size_t n);

/*
 * Embedding bag.
 *
 *     out[t, :] = scale(n_t) * sum over i in offsets[t] .. offsets[t + 1] - 1 of table[ids[i], :]
 *
 * table [vocabulary, dims], ids below vocabulary (the caller has checked),
 * offsets [texts + 1], out [texts, dims].  An empty text gives zeros.
 */
extern void ds_bag_forward(const ds_real *table, size_t dims, const uint32_t *ids,
						   const size_t *offsets, size_t texts, DsBagPooling pooling, ds_real *out);

/*
 * An embedding table whose numbers are kept shorter, for inference: f16, bf16, or i8
 * with a number for each row that the row is multiplied with.
 */
typedef struct DsShortTable
{
	DsDtype dtype;
	const void *rows; /* [vocabulary, dims] */
	const float *scales; /* [vocabulary], of i8; NULL otherwise */
} DsShortTable;

/* Numbers of it as floats, from this one on, row after row */
extern void ds_short_numbers(const DsShortTable *table, size_t dims, size_t first, size_t count,
							 float *out);

/* The bag over such a table: to the bit what ds_bag_forward() makes of its rows as floats */
extern void ds_bag_infer_short(const DsShortTable *table, size_t dims, const uint32_t *ids,
							   size_t n, DsBagPooling pooling, ds_real *out);

/*
 * The gradient of the table touches the rows that occur only, so it is
 * compact: d_rows [row_count, dims].  The transposed incidence tells which
 * texts a row occurs in: entries row_offsets[r] .. row_offsets[r + 1] - 1 of
 * row_texts, a text that has the feature twice being there twice.
 *
 *     d_rows[r, :] = sum over these t of scale(n_t) * d_out[t, :]
 *
 * in two steps: ds_bag_scale() multiplies d_out [texts, dims] by the scales,
 * ds_bag_backward() adds up.
 */
extern void ds_bag_scale(ds_real *d_out, size_t dims, const size_t *offsets, size_t texts,
						 DsBagPooling pooling);
extern void ds_bag_backward(const ds_real *scaled, size_t dims, const uint32_t *row_texts,
							const uint32_t *row_offsets, size_t row_count, ds_real *d_rows);

/*
 * Dense: out[rows, outs] = in[rows, ins] * weight[ins, outs] + bias[outs].
 * The product is BLAS's, so the last bits depend on the number of rows.
 */
extern void ds_dense_forward(const ds_real *in, const ds_real *weight, const ds_real *bias,
							 size_t rows, size_t ins, size_t outs, ds_real *out);

/* d_in, d_weight and d_bias may be NULL */
extern void ds_dense_backward(const ds_real *in, const ds_real *weight, const ds_real *d_out,
							  size_t rows, size_t ins, size_t outs, ds_real *d_in,
							  ds_real *d_weight, ds_real *d_bias);

/*
 * The same product for inference: a row's result does not depend on the rows
 * beside it, to the last bit, and one row is fast.
 */
extern void ds_dense_infer(const ds_real *in, const ds_real *weight, const ds_real *bias,
						   size_t rows, size_t ins, size_t outs, ds_real *out);

/* ReLU, in place; backward takes what forward left: d[i] = x[i] > 0 ? d[i] : 0 */
extern void ds_relu_forward(ds_real *x, size_t n);
extern void ds_relu_backward(const ds_real *x, ds_real *d, size_t n);

/*
 * L2 normalisation of rows: out = in / |in|, inverse[rows] = 1 / |in|.  A row of
 * zeros stays one, and has inverse 0.  out may be in.
 */
extern void ds_normalize_forward(const ds_real *in, size_t rows, size_t dims, ds_real *out,
								 ds_real *inverse);

/* d_in = (d_out - out * <out, d_out>) * inverse; d_in may be d_out */
extern void ds_normalize_backward(const ds_real *out, const ds_real *inverse, const ds_real *d_out,
								  size_t rows, size_t dims, ds_real *d_in);

#endif /* DS_NN_LAYERS_H */
