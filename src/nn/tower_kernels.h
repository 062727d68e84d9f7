/*
 * tower_kernels.h
 *		The loops that training transformers spends its time in, for each kind of
 *		processor; for the files of this room only.
 *
 * tower_body.h has the one source, which tower_kernels.c, tower_kernels_avx2.c and
 * tower_kernels_avx512.c compile with other instructions.
 */
#ifndef DS_NN_TOWER_KERNELS_H
#define DS_NN_TOWER_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nn/encoder_spec.h"
#include "nn/real.h"

/*
 * c[m, n] = a[m, k] b[k, n] + bias[n], or c += a b.  Element (i, p) of a is at i *
 * a_row + p * a_column, likewise b (p, j), of which one step is 1; so transposes
 * cost nothing to write.  scratch has room for ds_product_scratch(k) numbers.
 */
typedef struct DsMatrixProduct
{
	size_t m;
	size_t n;
	size_t k;
	const ds_real *a;
	size_t a_row;
	size_t a_column;
	const ds_real *b;
	size_t b_row;
	size_t b_column;
	ds_real *c;
	size_t ldc;
	const ds_real *bias; /* or NULL */
	bool add;
	ds_real *scratch;
	/*
	 * NULL, or [m, DS_PRODUCT_WIDTH]: then a b is summed up whole before it is added, so
	 * that c += a b gives the same bits as another c = a b, added later
	 */
	ds_real *panel;
} DsMatrixProduct;

/* values of k that go through the registers at once; more are added up in memory */
#define DS_PRODUCT_DEPTH 512
#define DS_PRODUCT_WIDTH 192 /* columns of b that are packed at once, at most */
#define DS_PRODUCT_ROWS 96 /* rows of a transposed a that are packed at once */
#define DS_PRODUCT_SCRATCH \
	((size_t) DS_PRODUCT_DEPTH * (DS_PRODUCT_WIDTH + DS_PRODUCT_ROWS) + DS_PRODUCT_ROWS * 16)

typedef struct DsTowerKernels
{
	void (*product)(const DsMatrixProduct *p);
	/* out = (x - mean) * inverse * weight + bias (NULL: none); *mean, *inverse = 1 / sqrt(variance +
	 * epsilon) for the way back */
	void (*norm)(const ds_real *x, size_t n, const ds_real *weight, const ds_real *bias,
				 ds_real epsilon, ds_real *out, ds_real *mean, ds_real *inverse);
	/* dx = gradient by x of that; d_weight and d_bias (NULL: not wanted) are added to; dx may be dy */
	void (*norm_backward)(const ds_real *x, size_t n, const ds_real *weight, ds_real mean,
						  ds_real inverse, const ds_real *dy, ds_real *dx, ds_real *d_weight,
						  ds_real *d_bias);
	/* out = act(x), act a DsActivation; out may be x */
	void (*act)(const ds_real *x, size_t n, uint32_t activation, ds_real *out);
	/* d *= act'(x); out = act(x) */
	void (*act_backward)(const ds_real *x, size_t n, uint32_t activation, ds_real *d, ds_real *out);
	/* x = softmax(scale * x) */
	void (*softmax)(ds_real *x, size_t n, ds_real scale);
	/* d = scale * p * (d - <p, d>) */
	void (*softmax_backward)(const ds_real *p, size_t n, ds_real scale, ds_real *d);
} DsTowerKernels;

/* the best table for this processor */
extern const DsTowerKernels *ds_tower_kernels(void);

/* the one of a level, for tests; NULL when the program was built without it */
extern const DsTowerKernels *ds_tower_kernels_at(int level);

#endif /* DS_NN_TOWER_KERNELS_H */
