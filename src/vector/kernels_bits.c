/*
 * kernels_bits.c
 *		Strings of bits: the portable kernels, and choosing among all.
 */
#include "vector/kernels_bits_tables.h"

#include <string.h>

/*
 * The number of set bits: of pairs, of nibbles, of bytes, and these added up by
 * a multiplication (Warren, "Hacker's Delight", section 5-1).
 */
static inline uint64_t
count_word(uint64_t x)
{
	x -= x >> 1 & UINT64_C(0x5555555555555555);
	x = (x & UINT64_C(0x3333333333333333)) + (x >> 2 & UINT64_C(0x3333333333333333));
	x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	return x * UINT64_C(0x0101010101010101) >> 56;
}

/* up to 8 bytes, the rest 0 */
static inline uint64_t
load(const uint8_t *p, size_t bytes)
{
	uint64_t word = 0;

	memcpy(&word, p, bytes);
	return word;
}

static uint64_t
hamming(const uint8_t *a, const uint8_t *b, size_t bytes)
{
	uint64_t sum = 0;
	size_t i = 0;

	for (; i + 8 <= bytes; i += 8)
		sum += count_word(load(a + i, 8) ^ load(b + i, 8));
	if (i < bytes)
		sum += count_word(load(a + i, bytes - i) ^ load(b + i, bytes - i));
	return sum;
}

static DsBitCounts
counts(const uint8_t *a, const uint8_t *b, size_t bytes)
{
	DsBitCounts sum = {0, 0};

	for (size_t i = 0; i < bytes; i += 8)
	{
		size_t part = bytes - i < 8 ? bytes - i : 8;
		uint64_t x = load(a + i, part);
		uint64_t y = load(b + i, part);

		sum.both += count_word(x & y);
		sum.either += count_word(x | y);
	}
	return sum;
}

const DsBitKernels ds_bit_kernels_portable = {DS_CPU_PORTABLE, hamming, counts};

const DsBitKernels *ds_bit_kernels_chosen = NULL;

const DsBitKernels *
ds_bit_kernels_at(DsCpuLevel level)
{
	if (level > ds_cpu_level())
		return NULL;
	switch (level)
	{
		case DS_CPU_PORTABLE:
			return &ds_bit_kernels_portable;
		case DS_CPU_AVX2:
			return ds_bit_kernels_avx2;
		case DS_CPU_AVX512:
			return NULL;
		case DS_CPU_AVX512_VNNI:
			return ds_bit_kernels_avx512popcnt;
	}
	return NULL;
}

const DsBitKernels *
ds_bit_kernels_choose(void)
{
	const DsBitKernels *kernels = NULL;

	for (int level = (int) ds_cpu_level(); kernels == NULL; level--)
		kernels = ds_bit_kernels_at((DsCpuLevel) level);
	ds_bit_kernels_chosen = kernels;
	return kernels;
}

void
ds_bits_of_signs(const float *x, size_t d, uint8_t *out)
{
	for (size_t i = 0; i < d; i += 8)
	{
		unsigned byte = 0;

		for (size_t j = 0; j < 8; j++)
			byte = byte << 1 | (i + j < d && x[i + j] > 0);
		out[i / 8] = (uint8_t) byte;
	}
}
