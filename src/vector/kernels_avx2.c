/*
 * kernels_avx2.c
 *		The kernels with AVX2 and FMA: registers of 8 floats or 4 doubles.
 */
#include "vector/kernels_tables.h"

#if defined(__AVX2__) && defined(__FMA__)

#include <immintrin.h>

#include "vector/kernels_elementwise.h"

#define VEC __m256
#define WIDTH 8
#define WIDE __m256d
#define WIDE_WIDTH 4
#define CHAINS 4
#define KEEP_CONSTRAINT "x"

/* a window of n set words: start at 8 - n */
static const int32_t part_mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

#define vec_zero() _mm256_setzero_ps()
#define vec_load(p) _mm256_loadu_ps(p)
#define vec_add(a, b) _mm256_add_ps(a, b)
#define vec_sub(a, b) _mm256_sub_ps(a, b)
#define vec_abs(a) _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a)
#define vec_fma(a, b, c) _mm256_fmadd_ps(a, b, c)

static inline __m256
vec_load_part(const float *p, size_t n)
{
	return _mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i *) (part_mask + 8 - n)));
}

static inline float
vec_sum(__m256 v)
{
	__m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

	half = _mm_add_ps(half, _mm_movehl_ps(half, half));
	half = _mm_add_ss(half, _mm_movehdup_ps(half));
	return _mm_cvtss_f32(half);
}

/* three sums for the price of two: pairs are added across registers */
static inline DsCosineSums
vec_sum3(__m256 dot, __m256 aa, __m256 bb)
{
	__m256 sums = _mm256_hadd_ps(_mm256_hadd_ps(dot, aa), _mm256_hadd_ps(bb, bb));
	__m128 half = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));

	return (DsCosineSums){half[0], half[1], half[2]};
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
