/*
 * kernels_half_simd.h
 *		The kernels over vectors of half floats, included by each version's file
 *		after what kernels_sums.h asks for; vec_load() converts.
 */
#define ELEMENT DsHalf
#include "vector/kernels_sums.h"

/* both norms are far from the ends of float: kernels_half.h */
static double
cosine_distance(const DsHalf *a, const DsHalf *b, size_t d)
{
	DsCosineSums sums = cosine_sums_inline(a, b, d);

	return ds_cosine_from_sums(sums.dot, sums.aa, sums.bb);
}

#define HALF_MEMBERS                                                              \
	.l2_squared = l2_squared, .inner_product = inner_product, .taxicab = taxicab, \
	.cosine_distance = cosine_distance, .to_float = to_float, .from_float = from_float
