/*
 * rotation_avx2.c
 *		The loops of a rotation with vectors of eight floats.
 */
#include "quant/rotation_loops.h"

#if defined(__AVX2__)
#include <immintrin.h>

/* stages of 1, 2 and 4 */
static inline __m256
inside(__m256 v)
{
	const __m256 sign1 = _mm256_setr_ps(0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f);
	const __m256 sign2 = _mm256_setr_ps(0.0f, 0.0f, -0.0f, -0.0f, 0.0f, 0.0f, -0.0f, -0.0f);
	const __m256 sign4 = _mm256_setr_ps(0.0f, 0.0f, 0.0f, 0.0f, -0.0f, -0.0f, -0.0f, -0.0f);

	v = _mm256_add_ps(_mm256_permute_ps(v, 0xb1), _mm256_xor_ps(v, sign1));
	v = _mm256_add_ps(_mm256_permute_ps(v, 0x4e), _mm256_xor_ps(v, sign2));
	v = _mm256_add_ps(_mm256_permute2f128_ps(v, v, 1), _mm256_xor_ps(v, sign4));
	return v;
}

DEFINE_TRANSFORM(transform, __m256, 8, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps,
				 _mm256_sub_ps, inside)
DEFINE_MULTIPLY(multiply)
DEFINE_BUTTERFLY(butterfly)

static const DsRotationLoops loops = {transform, multiply, butterfly};
const DsRotationLoops *const ds_rotation_loops_avx2 = &loops;
#else
const DsRotationLoops *const ds_rotation_loops_avx2 = NULL;
#endif
