/*
 * kernels_half.h
 *		Distances between vectors of half floats, and their conversion.
 *
 * The elements become floats as they are loaded, and from there on the sums
 * are those of kernels.h, in the same order (kernels_sums.h): a distance has
 * the bits that the float kernel of the same level gives for the converted
 * vectors, and obeys the same error bounds, so that whoever bounds the one
 * (the index) bounds the other.
 *
 * Halves are finite and lie between 2^-24 and 65504.  So a square lies between
 * 2^-48 and 2^34, and no sum of up to 2^24 of them leaves the range of a float
 * or loses a term to underflow: there is no second pass in double precision.
 * (One result differs from that of float, which has such a pass: where an inner
 * product cancels to zero.)
 *
 * Products of two halves are exact in float.  Sums are float at every level:
 * AVX512-FP16 would add in half precision, with 11 bits.
 *
 * Pointers need the alignment of DsHalf only.
 */
#ifndef DS_KERNELS_HALF_H
#define DS_KERNELS_HALF_H

#include "vector/half.h"
#include "vector/kernels.h"

typedef struct DsHalfKernels
{
	DsCpuLevel level;

	float (*l2_squared)(const DsHalf *a, const DsHalf *b, size_t d); /* sum (a - b)^2 */
	float (*inner_product)(const DsHalf *a, const DsHalf *b, size_t d); /* sum a b */
	float (*taxicab)(const DsHalf *a, const DsHalf *b, size_t d); /* sum |a - b| */

	/* 1 - cosine, 0 to 2; NaN when a vector is zero */
	double (*cosine_distance)(const DsHalf *a, const DsHalf *b, size_t d);

	/* Any bits: infinities stay infinite and NaN stays NaN. */
	void (*to_float)(const DsHalf *a, float *out, size_t d);

	/* Rounded to the nearest, ties to even; false when a result is not finite. */
	bool (*from_float)(const float *a, DsHalf *out, size_t d);
} DsHalfKernels;

/* The table for a level; NULL when this processor or this build does not have it. */
extern const DsHalfKernels *ds_half_kernels_at(DsCpuLevel level);

extern const DsHalfKernels *ds_half_kernels_chosen; /* use ds_half_kernels() */
extern const DsHalfKernels *ds_half_kernels_choose(void);

/* The table for this processor. */
static inline const DsHalfKernels *
ds_half_kernels(void)
{
	const DsHalfKernels *kernels = ds_half_kernels_chosen;

	return __builtin_expect(kernels != NULL, 1) ? kernels : ds_half_kernels_choose();
}

/* Results of the operators. */
static inline double
ds_half_cosine_distance(const DsHalf *a, const DsHalf *b, size_t d)
{
	return ds_half_kernels()->cosine_distance(a, b, d);
}

static inline double
ds_half_l2_distance(const DsHalf *a, const DsHalf *b, size_t d)
{
	return sqrt((double) ds_half_kernels()->l2_squared(a, b, d));
}

static inline double
ds_half_inner_product(const DsHalf *a, const DsHalf *b, size_t d)
{
	return (double) ds_half_kernels()->inner_product(a, b, d);
}

static inline double
ds_half_taxicab(const DsHalf *a, const DsHalf *b, size_t d)
{
	return (double) ds_half_kernels()->taxicab(a, b, d);
}

#endif /* DS_KERNELS_HALF_H */
