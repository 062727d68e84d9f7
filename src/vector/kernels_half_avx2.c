/*
 * kernels_half_avx2.c
 *		The kernels for half floats with AVX2, FMA and F16C.
 */
#include "vector/kernels_half_tables.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include "vector/kernels_registers_avx2.h"

#define vec_load(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) (p)))

/* n halves, 1 to 7, in the low bits; the rest 0 */
static inline __m128i
load_part(const DsHalf *p, size_t n)
{
	uint64_t low = 0;
	uint64_t high = 0;
	uint32_t pair;

	if (n >= 4)
	{
		memcpy(&low, p, 8);
		/* the last four, of which some are in `low' already */
		memcpy(&high, p + n - 4, 8);
		high = n == 4 ? 0 : high >> (16 * (8 - n));
	}
	else if (n == 1)
		low = p[0];
	else
	{
		memcpy(&pair, p, 4);
		low = pair;
		if (n == 3)
			low |= (uint64_t) p[2] << 32;
	}
	return _mm_set_epi64x((long long) high, (long long) low);
}

static inline __m256
vec_load_part(const DsHalf *p, size_t n)
{
	return _mm256_cvtph_ps(load_part(p, n));
}

static void
to_float(const DsHalf *a, float *out, size_t d)
{
	size_t i = 0;

	for (; i + 8 <= d; i += 8)
		_mm256_storeu_ps(out + i, vec_load(a + i));
	for (; i < d; i++)
		out[i] = _cvtsh_ss(a[i]);
}

static bool
from_float(const float *a, DsHalf *out, size_t d)
{
	const __m128i exponent = _mm_set1_epi16(0x7c00);
	__m128i bad = _mm_setzero_si128();
	bool finite = true;
	size_t i = 0;

	for (; i + 8 <= d; i += 8)
	{
		__m128i half =
			_mm256_cvtps_ph(_mm256_loadu_ps(a + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);

		_mm_storeu_si128((__m128i *) (out + i), half);
		bad = _mm_or_si128(bad, _mm_cmpeq_epi16(_mm_and_si128(half, exponent), exponent));
	}
	for (; i < d; i++)
	{
		out[i] = _cvtss_sh(a[i], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
		finite &= ds_half_is_finite(out[i]);
	}
	return finite && _mm_testz_si128(bad, bad);
}

#include "vector/kernels_half_simd.h"

static const DsHalfKernels table = {.level = DS_CPU_AVX2, HALF_MEMBERS};

const DsHalfKernels *const ds_half_kernels_avx2 = &table;

#else

const DsHalfKernels *const ds_half_kernels_avx2 = NULL;

#endif
