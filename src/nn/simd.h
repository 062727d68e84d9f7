/*
 * simd.h
 *		The loops that training spends its time in, for each kind of processor;
 *		for the files of this room only.
 *
 * simd_body.h has the one source, which simd.c, simd_avx2.c and
 * simd_avx512.c compile with other instructions.  The order of additions
 * depends on the width of the registers, so results agree between processors
 * of one level to the bit, and between levels to rounding.
 */
#ifndef DS_NN_SIMD_H
#define DS_NN_SIMD_H

#include <stddef.h>
#include <stdint.h>

#include "nn/layers.h"

/* the scalars of one step of Adam */
typedef struct DsAdamFactors
{
	ds_real gradient_scale;
	ds_real beta1;
	ds_real one_minus_beta1;
	ds_real beta2;
	ds_real one_minus_beta2;
	ds_real rate; /* with both bias corrections: rate * sqrt(1 - beta2^t) / (1 - beta1^t) */
	ds_real epsilon; /* with the correction of the variance: epsilon * sqrt(1 - beta2^t) */
	ds_real keep; /* AdamW: 1 - rate * weight_decay */
	ds_real decay; /* Adam: weight_decay, on top of the gradient */
} DsAdamFactors;

typedef struct DsNnKernels
{
	/* out[dims] = scale * sum over i < n of rows[ids[i], :] */
	void (*bag)(const ds_real *rows, size_t dims, const uint32_t *ids, size_t n, ds_real scale,
				ds_real *out);
	/* the same of a table of shorter numbers */
	void (*bag_short)(const DsShortTable *table, size_t dims, const uint32_t *ids, size_t n,
					  ds_real scale, ds_real *out);
	/* out[outs] = bias[outs] + in[ins] * weight[ins, outs] */
	void (*dense_row)(const ds_real *in, const ds_real *weight, const ds_real *bias, size_t ins,
					  size_t outs, ds_real *out);
	ds_real (*dot)(const ds_real *a, const ds_real *b, size_t n);
	ds_real (*max)(const ds_real *x, size_t n); /* n > 0 */
	/*
	 * x[i] becomes e = exp(scale * (x[i] - top)); *sum gets the sum of e, *weighted that of e * (the
	 * old x[i])
	 */
	void (*exponentials)(ds_real *x, size_t n, ds_real scale, ds_real top, double *sum,
						 double *weighted);
	void (*scale)(ds_real *x, size_t n, ds_real factor);
	void (*add)(ds_real *x, const ds_real *y, size_t n); /* x += y */
	void (*adam)(const DsAdamFactors *factors, size_t n, const ds_real *gradient, ds_real *value,
				 ds_real *mean, ds_real *variance);
} DsNnKernels;

/* the best table for this processor */
extern const DsNnKernels *ds_nn_kernels(void);

/* the one of a level, for tests; NULL when the program was built without it */
extern const DsNnKernels *ds_nn_kernels_at(int level);

#endif /* DS_NN_SIMD_H */
