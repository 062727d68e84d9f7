/*
 * kernels_avx512.c
 *		The kernels with AVX-512: registers of 16 floats or 8 doubles, and
 *		masked loads for the end of a row.
 */
#include "vector/kernels_tables.h"

#if defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512DQ__)

#include "vector/kernels_elementwise.h"
#include "vector/kernels_registers_avx512.h"

#define WIDE __m512d
#define WIDE_WIDTH 8

#define vec_load(p) _mm512_loadu_ps(p)
#define vec_load_part(p, n) _mm512_maskz_loadu_ps((__mmask16) ((1u << (n)) - 1), p)

#define wide_zero() _mm512_setzero_pd()
#define wide_load(p) _mm512_cvtps_pd(_mm256_loadu_ps(p))
#define wide_load_part(p, n) _mm512_cvtps_pd(_mm256_maskz_loadu_ps((__mmask8) ((1u << (n)) - 1), p))
#define wide_add(a, b) _mm512_add_pd(a, b)
#define wide_sub(a, b) _mm512_sub_pd(a, b)
#define wide_abs(a) _mm512_abs_pd(a)
#define wide_fma(a, b, c) _mm512_fmadd_pd(a, b, c)
#define wide_sum(v) _mm512_reduce_add_pd(v)

static inline DsCosineSumsWide
wide_sum3(__m512d dot, __m512d aa, __m512d bb)
{
	return (DsCosineSumsWide){wide_sum(dot), wide_sum(aa), wide_sum(bb)};
}

#include "vector/kernels_simd.h"

static const DsKernels table = {.level = DS_CPU_AVX512, SIMD_MEMBERS, ELEMENTWISE_MEMBERS};

const DsKernels *const ds_kernels_avx512 = &table;

#else

const DsKernels *const ds_kernels_avx512 = NULL;

#endif
