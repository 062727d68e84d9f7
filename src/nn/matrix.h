/*
 * matrix.h
 *		The matrix product in this room's number type; for the files of this room only.
 */
#ifndef DS_NN_MATRIX_H
#define DS_NN_MATRIX_H

#include <stddef.h>

#include "nn/real.h"

#ifndef DS_NN_DOUBLE
#include "base/blas.h"
#endif

/* c[m, n] = op(a)[m, k] * op(b)[k, n] + beta * c; lda, ldb, ldc are row lengths as stored */
static inline void
matrix_product(int transpose_a, int transpose_b, size_t m, size_t n, size_t k, const ds_real *a,
			   size_t lda, const ds_real *b, size_t ldb, ds_real beta, ds_real *c, size_t ldc)
{
#ifndef DS_NN_DOUBLE
	ds_gemm(transpose_a, transpose_b, m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc);
#else
	/* for tests: BLAS is not what they test */
	for (size_t i = 0; i < m; i++)
		for (size_t j = 0; j < n; j++)
		{
			ds_real sum = 0;

			for (size_t p = 0; p < k; p++)
				sum += (transpose_a ? a[p * lda + i] : a[i * lda + p]) *
					   (transpose_b ? b[j * ldb + p] : b[p * ldb + j]);
			c[i * ldc + j] = sum + (beta == 0 ? 0 : beta * c[i * ldc + j]);
		}
#endif
}

#endif /* DS_NN_MATRIX_H */
