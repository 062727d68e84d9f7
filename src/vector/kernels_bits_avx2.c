/*
 * kernels_bits_avx2.c
 *		Strings of bits with AVX2: the set bits of a nibble are looked up by a
 *		byte shuffle, 64 nibbles at once (Mula, Kurz & Lemire, "Faster population
 *		counts using AVX2 instructions", The Computer Journal, 2018).
 *
 * Strings below 32 bytes, and what is left of longer ones, go word by word.
 */
#include "vector/kernels_bits_tables.h"

#if defined(__AVX2__) && defined(__POPCNT__)

#include <immintrin.h>
#include <string.h>

/* the set bits of each 8 bytes */
static inline __m256i
count_register(__m256i x)
{
	const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1,
										   2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
	const __m256i nibble = _mm256_set1_epi8(0x0f);
	__m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(x, nibble));
	__m256i high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble));

	return _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256());
}

static inline uint64_t
sum_register(__m256i x)
{
	__m128i half = _mm_add_epi64(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));

	return (uint64_t) _mm_cvtsi128_si64(half) + (uint64_t) _mm_extract_epi64(half, 1);
}

static inline __m256i
load_register(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i *) p);
}

/* up to 8 bytes, the rest 0 */
static inline uint64_t
load(const uint8_t *p, size_t bytes)
{
	uint64_t word = 0;

	if (bytes >= 8)
		memcpy(&word, p, 8);
	else
		memcpy(&word, p, bytes);
	return word;
}

static uint64_t
hamming(const uint8_t *a, const uint8_t *b, size_t bytes)
{
	__m256i sums = _mm256_setzero_si256();
	uint64_t sum = 0;
	size_t i = 0;

	for (; i + 32 <= bytes; i += 32)
		sums = _mm256_add_epi64(
			sums, count_register(_mm256_xor_si256(load_register(a + i), load_register(b + i))));
	for (; i < bytes; i += 8)
		sum += (uint64_t) _mm_popcnt_u64(load(a + i, bytes - i) ^ load(b + i, bytes - i));
	return sum + sum_register(sums);
}

static DsBitCounts
counts(const uint8_t *a, const uint8_t *b, size_t bytes)
{
	__m256i both = _mm256_setzero_si256();
	__m256i either = _mm256_setzero_si256();
	DsBitCounts sum = {0, 0};
	size_t i = 0;

	for (; i + 32 <= bytes; i += 32)
	{
		__m256i x = load_register(a + i);
		__m256i y = load_register(b + i);

		both = _mm256_add_epi64(both, count_register(_mm256_and_si256(x, y)));
		either = _mm256_add_epi64(either, count_register(_mm256_or_si256(x, y)));
	}
	for (; i < bytes; i += 8)
	{
		uint64_t x = load(a + i, bytes - i);
		uint64_t y = load(b + i, bytes - i);

		sum.both += (uint64_t) _mm_popcnt_u64(x & y);
		sum.either += (uint64_t) _mm_popcnt_u64(x | y);
	}
	sum.both += sum_register(both);
	sum.either += sum_register(either);
	return sum;
}

static const DsBitKernels table = {DS_CPU_AVX2, hamming, counts};

const DsBitKernels *const ds_bit_kernels_avx2 = &table;

#else

const DsBitKernels *const ds_bit_kernels_avx2 = NULL;

#endif
