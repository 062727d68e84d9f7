/*
 * kernels_registers_avx2.h
 *		What kernels_sums.h is told with AVX2 and FMA: registers of 8 floats.
 */
#include <immintrin.h>

#define VEC __m256
#define WIDTH 8
#define CHAINS 4
#define KEEP_CONSTRAINT "x"

#define vec_zero() _mm256_setzero_ps()
#define vec_add(a, b) _mm256_add_ps(a, b)
#define vec_sub(a, b) _mm256_sub_ps(a, b)
#define vec_abs(a) _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a)
#define vec_fma(a, b, c) _mm256_fmadd_ps(a, b, c)

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
