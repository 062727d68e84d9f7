/*
 * rotation_avx512.c
 *		The loops of a rotation with vectors of sixteen floats.
 */
#include "quant/rotation_loops.h"

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include <immintrin.h>

/* a minus sign in the lanes of mask */
static inline __m512
flip(__m512 v, __mmask16 mask)
{
	return _mm512_mask_xor_ps(v, mask, v, _mm512_set1_ps(-0.0f));
}

/* stages of 1, 2, 4 and 8 */
static inline __m512
inside(__m512 v)
{
	v = _mm512_add_ps(_mm512_permute_ps(v, 0xb1), flip(v, 0xaaaa));
	v = _mm512_add_ps(_mm512_permute_ps(v, 0x4e), flip(v, 0xcccc));
	v = _mm512_add_ps(_mm512_shuffle_f32x4(v, v, 0xb1), flip(v, 0xf0f0));
	v = _mm512_add_ps(_mm512_shuffle_f32x4(v, v, 0x4e), flip(v, 0xff00));
	return v;
}

DEFINE_TRANSFORM(transform, __m512, 16, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps,
				 _mm512_sub_ps, inside)
DEFINE_MULTIPLY(multiply)
DEFINE_BUTTERFLY(butterfly)

static const DsRotationLoops loops = {transform, multiply, butterfly};
const DsRotationLoops *const ds_rotation_loops_avx512 = &loops;
#else
const DsRotationLoops *const ds_rotation_loops_avx512 = NULL;
#endif
