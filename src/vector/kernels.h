/*
 * kernels.h
 *		Distances between float32 vectors, and what the operators make of them.
 *
 * Two layers:
 *
 * 1. DsKernels, one list of raw operations on arrays of d floats, with a
 *    portable, an AVX2 and an AVX-512 version.  They accumulate in float32
 *    with many partial sums, so they are fast and their rounding is bounded
 *    (ds_kernel_relative_error()), but a square may overflow to infinity or
 *    vanish.  The members named *_wide do the same in double precision, where
 *    neither can happen to finite float32 input of up to 2^24 dimensions.
 *
 * 2. ds_l2_distance() and its like, which are what the SQL operators return:
 *    the raw result, or the wide one when the raw one has left the range in
 *    which its error bound holds.  For finite input their result is finite
 *    (only the cosine distance of a zero vector is NaN), symmetric to the
 *    bit, and 0 for two equal vectors.
 *
 * Pointers need the alignment of float only.  The levels differ in rounding:
 * who needs a bound on what an operator returns (the index) takes the
 * allowances below, which hold for every level.
 */
#ifndef DS_KERNELS_H
#define DS_KERNELS_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cpu.h"

/* what one pass over two vectors tells about their angle */
typedef struct DsCosineSums
{
	float dot; /* sum of a[i] * b[i] */
	float aa; /* sum of a[i]^2 */
	float bb; /* sum of b[i]^2 */
} DsCosineSums;

typedef struct DsCosineSumsWide
{
	double dot;
	double aa;
	double bb;
} DsCosineSumsWide;

typedef struct DsKernels
{
	DsCpuLevel level;

	/* Raw float32 sums; infinite or NaN on overflow, short of lost squares below 2^-100. */
	float (*l2_squared)(const float *a, const float *b, size_t d); /* sum (a - b)^2 */
	float (*inner_product)(const float *a, const float *b, size_t d); /* sum a b */
	float (*taxicab)(const float *a, const float *b, size_t d); /* sum |a - b| */
	float (*squared_norm)(const float *a, size_t d); /* sum a^2 */
	DsCosineSums (*cosine_sums)(const float *a, const float *b, size_t d);

	/* The operator's result, range and all; see ds_cosine_distance(). */
	double (*cosine_distance)(const float *a, const float *b, size_t d);

	/* The same, accumulated in double: about a third of the speed in cache. */
	double (*l2_squared_wide)(const float *a, const float *b, size_t d);
	double (*inner_product_wide)(const float *a, const float *b, size_t d);
	double (*taxicab_wide)(const float *a, const float *b, size_t d);
	double (*squared_norm_wide)(const float *a, size_t d);
	DsCosineSumsWide (*cosine_sums_wide)(const float *a, const float *b, size_t d);

	/*
	 * One query against n rows, row i at rows + i * stride (stride >= d, in
	 * floats): out[i] = the operation on (query, row i).  Several rows go at
	 * once, so the query is loaded less often; an out[i] may differ from the
	 * single form in rounding, within the same bound.
	 */
	void (*l2_squared_many)(const float *query, const float *rows, size_t stride, size_t n,
							size_t d, float *out);
	void (*inner_product_many)(const float *query, const float *rows, size_t stride, size_t n,
							   size_t d, float *out);

	/*
	 * Elementwise; out may be one of the inputs.  True when every result is
	 * finite, so overflow needs no second pass.
	 */
	bool (*add)(const float *a, const float *b, float *out, size_t d);
	bool (*sub)(const float *a, const float *b, float *out, size_t d);
	bool (*mul)(const float *a, const float *b, float *out, size_t d);
	bool (*scale)(const float *a, double factor, float *out, size_t d); /* rounded once */
	bool (*all_finite)(const float *a, size_t d);

	/* sum[i] += a[i], in double: the transition of sum() and avg() */
	void (*accumulate)(double *sum, const float *a, size_t d);
} DsKernels;

/* The table for a level; NULL when this processor or this build does not have it. */
extern const DsKernels *ds_kernels_at(DsCpuLevel level);

extern const DsKernels *ds_kernels_chosen; /* use ds_kernels() */
extern const DsKernels *ds_kernels_choose(void);

/* The table for this processor. */
static inline const DsKernels *
ds_kernels(void)
{
	const DsKernels *kernels = ds_kernels_chosen;

	return __builtin_expect(kernels != NULL, 1) ? kernels : ds_kernels_choose();
}

/*
 * The error of the float32 sums, at any level.
 *
 * With partial sums that each take at most ceil(d / 16) + 4 terms and are then
 * added in a tree, a sum of products differs from the true one by at most
 * gamma(k) = k u / (1 - k u) of the sum of the terms' magnitudes, where u is
 * 2^-24 and k counts the roundings on the longest path (Higham, "Accuracy and
 * Stability of Numerical Algorithms", 2nd ed., section 3.1).  Every version
 * keeps k below d / 16 + 20: the chain, the tree, the rounding of a - b
 * (twice, for it is squared), of the product, and the final conversions.
 *
 * So, for finite vectors and t the exact value:
 *	 |ds_l2_squared  - t| <= r t				r = ds_kernel_relative_error(d)
 *	 |ds_l2_distance - t| <= r t				(half of it, but for the root's own rounding)
 *	 |ds_taxicab	 - t| <= r t
 *	 |ds_inner_product	 - t| <= r |a| |b| + DBL_MIN  (ds_inner_product_error)
 *	 |ds_cosine_distance - t| <= 2 r			(ds_cosine_error)
 * The raw members obey the same bounds as long as they are finite and at
 * least 2^-100 (l2_squared, squared_norm), and inner_product with
 * d * 2^-149 in place of DBL_MIN for the products that vanish.
 */
static inline double
ds_kernel_relative_error(size_t d)
{
	return ((double) d / 16 + 20) * 0x1.01p-24;
}

static inline double
ds_inner_product_error(size_t d, double norm_a, double norm_b)
{
	/* what a product of tiny floats may lose: half of the last subnormal bit each */
	return ds_kernel_relative_error(d) * norm_a * norm_b + (double) d * 0x1p-149;
}

static inline double
ds_cosine_error(size_t d)
{
	return 2 * ds_kernel_relative_error(d);
}

/*
 * Results from a given table.  Below 2^-100 the squares that vanished (each
 * under 2^-149) could be a visible part of the sum; above FLT_MAX it overflowed.
 */
#define DS_KERNEL_TINY 0x1p-100f

static inline bool
ds_kernel_in_range(float sum)
{
	return __builtin_expect(sum >= DS_KERNEL_TINY && sum <= FLT_MAX, 1);
}

static inline double
ds_l2_squared_with(const DsKernels *kernels, const float *a, const float *b, size_t d)
{
	float sum = kernels->l2_squared(a, b, d);

	return ds_kernel_in_range(sum) ? (double) sum : kernels->l2_squared_wide(a, b, d);
}

static inline double
ds_l2_distance_with(const DsKernels *kernels, const float *a, const float *b, size_t d)
{
	return sqrt(ds_l2_squared_with(kernels, a, b, d));
}

static inline double
ds_inner_product_with(const DsKernels *kernels, const float *a, const float *b, size_t d)
{
	float sum = kernels->inner_product(a, b, d);

	return ds_kernel_in_range(fabsf(sum)) ? (double) sum : kernels->inner_product_wide(a, b, d);
}

static inline double
ds_taxicab_with(const DsKernels *kernels, const float *a, const float *b, size_t d)
{
	float sum = kernels->taxicab(a, b, d);

	/* differences do not vanish, so there is no lower end */
	return __builtin_expect(sum <= FLT_MAX, 1) ? (double) sum : kernels->taxicab_wide(a, b, d);
}

/* |a|, accumulated in double throughout */
static inline double
ds_norm_with(const DsKernels *kernels, const float *a, size_t d)
{
	return sqrt(kernels->squared_norm_wide(a, d));
}

/*
 * 1 - dot / sqrt(aa bb), in 0 .. 2; NaN when a norm is zero.  The product of
 * two norms neither overflows nor vanishes in double: it lies between 2^-596
 * and 2^560.
 */
static inline double
ds_cosine_from_sums(double dot, double aa, double bb)
{
	double distance = 1.0 - dot / sqrt(aa * bb);

	/* rounding may leave the range by a little; comparisons let a NaN through */
	if (distance < 0.0)
		return 0.0;
	if (distance > 2.0)
		return 2.0;
	return distance;
}

/*
 * A norm well inside the range bounds every partial sum of the dot product too
 * (Cauchy-Schwarz), and what vanished from it.
 */
static inline bool
ds_cosine_sums_in_range(DsCosineSums sums)
{
	return __builtin_expect(sums.aa >= 0x1p-80f && sums.aa <= 0x1p120f && sums.bb >= 0x1p-80f &&
								sums.bb <= 0x1p120f,
							1);
}

static inline double
ds_cosine_distance_with(const DsKernels *kernels, const float *a, const float *b, size_t d)
{
	return kernels->cosine_distance(a, b, d);
}

/* Results of the operators, at the level of this processor. */
static inline double
ds_l2_squared(const float *a, const float *b, size_t d)
{
	return ds_l2_squared_with(ds_kernels(), a, b, d);
}

static inline double
ds_l2_distance(const float *a, const float *b, size_t d)
{
	return ds_l2_distance_with(ds_kernels(), a, b, d);
}

static inline double
ds_inner_product(const float *a, const float *b, size_t d)
{
	return ds_inner_product_with(ds_kernels(), a, b, d);
}

static inline double
ds_taxicab(const float *a, const float *b, size_t d)
{
	return ds_taxicab_with(ds_kernels(), a, b, d);
}

static inline double
ds_norm(const float *a, size_t d)
{
	return ds_norm_with(ds_kernels(), a, d);
}

static inline double
ds_cosine_distance(const float *a, const float *b, size_t d)
{
	return ds_cosine_distance_with(ds_kernels(), a, b, d);
}

#endif /* DS_KERNELS_H */
