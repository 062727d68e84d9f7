/*
 * blas.h
 *		Matrix products for pure rooms.
 *
 * A thin wrapper, so that one file knows which library stands behind it: the
 * serial OpenBLAS, linked statically with hidden symbols, because the two
 * threaded builds share its file name and start threads that a backend must
 * not have.  All matrices are row-major, float32, dense (the leading dimension
 * is the number of columns unless one is given).
 */
#ifndef DS_BLAS_H
#define DS_BLAS_H

#include <stddef.h>

/*
 * c[m, n] = alpha * op(a)[m, k] * op(b)[k, n] + beta * c, where op is the
 * transpose if asked for.  lda, ldb, ldc are row lengths as stored.
 */
extern void ds_gemm(int transpose_a, int transpose_b, size_t m, size_t n, size_t k, float alpha,
					const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
					size_t ldc);

/* y[m] = a[m, n] * x[n], or y[n] = a[m, n]^T * x[m] when transposed */
extern void ds_gemv(int transpose, size_t m, size_t n, const float *a, const float *x, float *y);

#endif /* DS_BLAS_H */
