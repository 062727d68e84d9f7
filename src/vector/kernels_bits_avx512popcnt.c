/*
 * kernels_bits_avx512popcnt.c
 *		Strings of bits with AVX-512 and its population count (VPOPCNTDQ), with
 *		masked loads for the end.
 */
#include "vector/kernels_bits_tables.h"

#if defined(__AVX512BW__) && defined(__AVX512VPOPCNTDQ__)

#include <immintrin.h>

/* up to 64 bytes, the rest 0 */
static inline __m512i
load(const uint8_t *p, size_t bytes)
{
	return bytes >= 64 ? _mm512_loadu_si512(p)
					   : _mm512_maskz_loadu_epi8(((__mmask64) 1 << bytes) - 1, p);
}

static uint64_t
hamming(const uint8_t *a, const uint8_t *b, size_t bytes)
{
	__m512i sum = _mm512_setzero_si512();

	for (size_t i = 0; i < bytes; i += 64)
		sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_xor_si512(load(a + i, bytes - i),
																		 load(b + i, bytes - i))));
	return (uint64_t) _mm512_reduce_add_epi64(sum);
}

static DsBitCounts
counts(const uint8_t *a, const uint8_t *b, size_t bytes)
{
	__m512i both = _mm512_setzero_si512();
	__m512i either = _mm512_setzero_si512();

	for (size_t i = 0; i < bytes; i += 64)
	{
		__m512i x = load(a + i, bytes - i);
		__m512i y = load(b + i, bytes - i);

		both = _mm512_add_epi64(both, _mm512_popcnt_epi64(_mm512_and_si512(x, y)));
		either = _mm512_add_epi64(either, _mm512_popcnt_epi64(_mm512_or_si512(x, y)));
	}
	return (DsBitCounts){(uint64_t) _mm512_reduce_add_epi64(both),
						 (uint64_t) _mm512_reduce_add_epi64(either)};
}

static const DsBitKernels table = {DS_CPU_AVX512_VNNI, hamming, counts};

const DsBitKernels *const ds_bit_kernels_avx512popcnt = &table;

#else

const DsBitKernels *const ds_bit_kernels_avx512popcnt = NULL;

#endif
