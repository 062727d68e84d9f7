/*
 * kernels_registers_avx512.h
 *		What kernels_sums.h is told with AVX-512: registers of 16 floats.
 */
#include <immintrin.h>

#define VEC __m512
#define WIDTH 16
#define CHAINS 2
#define KEEP_CONSTRAINT "v"

#define vec_zero() _mm512_setzero_ps()
#define vec_add(a, b) _mm512_add_ps(a, b)
#define vec_sub(a, b) _mm512_sub_ps(a, b)
#define vec_abs(a) _mm512_abs_ps(a)
#define vec_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vec_sum(v) _mm512_reduce_add_ps(v)

static inline __m256
fold(__m512 v)
{
	return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
}

/* three sums for the price of two: pairs are added across registers */
static inline DsCosineSums
vec_sum3(__m512 dot, __m512 aa, __m512 bb)
{
	__m256 b = fold(bb);
	__m256 sums = _mm256_hadd_ps(_mm256_hadd_ps(fold(dot), fold(aa)), _mm256_hadd_ps(b, b));
	__m128 half = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));

	return (DsCosineSums){half[0], half[1], half[2]};
}
