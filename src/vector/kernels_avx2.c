/*
 * kernels_avx2.c
 *		The kernels with AVX2 and FMA: registers of 8 floats or 4 doubles.
 */
#include "vector/kernels_tables.h"

#if defined(__AVX2__) && defined(__FMA__)

#include "vector/kernels_elementwise.h"
#include "vector/kernels_registers_avx2.h"

#define WIDE __m256d
#define WIDE_WIDTH 4

/* a window of n set words: start at 8 - n */
static const int32_t part_mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

#define vec_load(p) _mm256_loadu_ps(p)

static inline __m256
vec_load_part(const float *p, size_t n)
{
	return _mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i *) (part_mask + 8 - n)));
}

#define wide_zero() _mm256_setzero_pd()
#define wide_load(p) _mm256_cvtps_pd(_mm_loadu_ps(p))
#define wide_add(a, b) _mm256_add_pd(a, b)
#define wide_sub(a, b) _mm256_sub_pd(a, b)
#define wide_abs(a) _mm256_andnot_pd(_mm256_set1_pd(-0.0), a)
#define wide_fma(a, b, c) _mm256_fmadd_pd(a, b, c)

static inline __m256d
wide_load_part(const float *p, size_t n)
{
	return _mm256_cvtps_pd(
		_mm_maskload_ps(p, _mm_loadu_si128((const __m128i *) (part_mask + 8 - n))));
}

static inline double
wide_sum(__m256d v)
{
	__m128d half = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));

	return _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));
}

static inline DsCosineSumsWide
wide_sum3(__m256d dot, __m256d aa, __m256d bb)
{
	return (DsCosineSumsWide){wide_sum(dot), wide_sum(aa), wide_sum(bb)};
}

#include "vector/kernels_simd.h"

static const DsKernels table = {.level = DS_CPU_AVX2, SIMD_MEMBERS, ELEMENTWISE_MEMBERS};

const DsKernels *const ds_kernels_avx2 = &table;

#else

const DsKernels *const ds_kernels_avx2 = NULL;

#endif
