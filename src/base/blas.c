/*
 * blas.c
 *		The wrapper over OpenBLAS.
 */
#include "base/blas.h"

#include <cblas.h>

void
ds_gemm(int transpose_a, int transpose_b, size_t m, size_t n, size_t k, float alpha, const float *a,
		size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
	cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
				transpose_b ? CblasTrans : CblasNoTrans, (int) m, (int) n, (int) k, alpha, a,
				(int) lda, b, (int) ldb, beta, c, (int) ldc);
}

void
ds_gemv(int transpose, size_t m, size_t n, const float *a, const float *x, float *y)
{
	cblas_sgemv(CblasRowMajor, transpose ? CblasTrans : CblasNoTrans, (int) m, (int) n, 1.0f, a,
				(int) n, x, 1, 0.0f, y, 1);
}
