/*
 * kernels_half_avx512.c
 *		The kernels for half floats with AVX-512, and masked loads for the end
 *		of a row.
 */
#include "vector/kernels_half_tables.h"

#if defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__AVX512BW__)

#include "vector/kernels_registers_avx512.h"

#define vec_load(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) (p)))
#define vec_load_part(p, n) _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(part_mask(n), p))

static inline __mmask16
part_mask(size_t n)
{
	return (__mmask16) ((1u << n) - 1);
}

static void
to_float(const DsHalf *a, float *out, size_t d)
{
	size_t i = 0;

	for (; i + 16 <= d; i += 16)
		_mm512_storeu_ps(out + i, vec_load(a + i));
	if (i < d)
		_mm512_mask_storeu_ps(out + i, part_mask(d - i), vec_load_part(a + i, d - i));
}

#define ROUND(v) _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

static bool
from_float(const float *a, DsHalf *out, size_t d)
{
	const __m256i exponent = _mm256_set1_epi16(0x7c00);
	__mmask16 bad = 0;
	size_t i = 0;

	for (; i + 16 <= d; i += 16)
	{
		__m256i half = ROUND(_mm512_loadu_ps(a + i));

		_mm256_storeu_si256((__m256i *) (out + i), half);
		bad |= _mm256_cmpeq_epi16_mask(_mm256_and_si256(half, exponent), exponent);
	}
	if (i < d)
	{
		__m256i half = ROUND(_mm512_maskz_loadu_ps(part_mask(d - i), a + i));

		_mm256_mask_storeu_epi16(out + i, part_mask(d - i), half);
		bad |= _mm256_cmpeq_epi16_mask(_mm256_and_si256(half, exponent), exponent);
	}
	return bad == 0;
}

#include "vector/kernels_half_simd.h"

static const DsHalfKernels table = {.level = DS_CPU_AVX512, HALF_MEMBERS};

const DsHalfKernels *const ds_half_kernels_avx512 = &table;

#else

const DsHalfKernels *const ds_half_kernels_avx512 = NULL;

#endif
