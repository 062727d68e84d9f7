/*
 * kernels_bits.h
 *		Distances between strings of bits, and bits of vectors.
 *
 * Strings are arrays of bytes whose unused bits are zero, as PostgreSQL stores
 * bit and bit varying: the first bit is the highest of the first byte.
 */
#ifndef DS_KERNELS_BITS_H
#define DS_KERNELS_BITS_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"

typedef struct DsBitCounts
{
	uint64_t both; /* bits set in a and b */
	uint64_t either; /* in a or b */
} DsBitCounts;

typedef struct DsBitKernels
{
	DsCpuLevel level;
	uint64_t (*hamming)(const uint8_t *a, const uint8_t *b, size_t bytes); /* bits that differ */
	DsBitCounts (*counts)(const uint8_t *a, const uint8_t *b, size_t bytes);
} DsBitKernels;

/* The table for a level; NULL when this processor or this build does not have it. */
extern const DsBitKernels *ds_bit_kernels_at(DsCpuLevel level);

extern const DsBitKernels *ds_bit_kernels_chosen; /* use ds_bit_kernels() */
extern const DsBitKernels *ds_bit_kernels_choose(void);

/* The table for this processor. */
static inline const DsBitKernels *
ds_bit_kernels(void)
{
	const DsBitKernels *kernels = ds_bit_kernels_chosen;

	return __builtin_expect(kernels != NULL, 1) ? kernels : ds_bit_kernels_choose();
}

/* 1 - |a and b| / |a or b|, 0 to 1; 1 where no bit is set in both, as in pgvector */
static inline double
ds_bit_jaccard(const uint8_t *a, const uint8_t *b, size_t bytes)
{
	DsBitCounts counts = ds_bit_kernels()->counts(a, b, bytes);

	return counts.both == 0 ? 1.0 : 1.0 - (double) counts.both / (double) counts.either;
}

/* Bit i is x[i] > 0; out has (d + 7) / 8 bytes, unused bits are zero. */
extern void ds_bits_of_signs(const float *x, size_t d, uint8_t *out);

#endif /* DS_KERNELS_BITS_H */
