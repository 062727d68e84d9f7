/*
 * kernels_simd.h
 *		The kernels over vector registers, included by each version's file,
 *		which says what a register is: see kernels_sums.h, and
 *
 *	WIDE, WIDE_WIDTH	a register of WIDE_WIDTH doubles, and the same operations as
 *						vec_* with the prefix wide_; wide_load converts from float
 */

#define ELEMENT float
#include "vector/kernels_sums.h"

static inline WIDE
wide_step_l2(WIDE sum, WIDE a, WIDE b)
{
	WIDE difference = wide_sub(a, b);

	return wide_fma(difference, difference, sum);
}

static inline WIDE
wide_step_product(WIDE sum, WIDE a, WIDE b)
{
	return wide_fma(a, b, sum);
}

static inline WIDE
wide_step_taxicab(WIDE sum, WIDE a, WIDE b)
{
	return wide_add(sum, wide_abs(wide_sub(a, b)));
}

DEFINE_SUM(squared_norm, float, VEC, WIDTH, vec, (const float *a, size_t d), step_product, a, a)

#define DEFINE_PAIR_WIDE(name, step)                                                             \
	DEFINE_SUM(name, double, WIDE, WIDE_WIDTH, wide, (const float *a, const float *b, size_t d), \
			   step, a, b)

DEFINE_PAIR_WIDE(l2_squared_wide, wide_step_l2)
DEFINE_PAIR_WIDE(inner_product_wide, wide_step_product)
DEFINE_PAIR_WIDE(taxicab_wide, wide_step_taxicab)
DEFINE_SUM(squared_norm_wide, double, WIDE, WIDE_WIDTH, wide, (const float *a, size_t d),
		   wide_step_product, a, a)

DEFINE_COSINE(cosine_sums_wide, DsCosineSumsWide, WIDE, WIDE_WIDTH, wide)

static DsCosineSums
cosine_sums(const float *a, const float *b, size_t d)
{
	return cosine_sums_inline(a, b, d);
}

static DsCosineSumsWide
cosine_sums_wide(const float *a, const float *b, size_t d)
{
	return cosine_sums_wide_inline(a, b, d);
}

/*
 * The distance itself is computed here too, with this file's instructions:
 * the root and the quotient are a visible part of it at 128 dimensions.
 */
static __attribute__((noinline)) double
cosine_distance_wide(const float *a, const float *b, size_t d)
{
	DsCosineSumsWide sums = cosine_sums_wide_inline(a, b, d);

	return ds_cosine_from_sums(sums.dot, sums.aa, sums.bb);
}

static double
cosine_distance(const float *a, const float *b, size_t d)
{
	DsCosineSums sums = cosine_sums_inline(a, b, d);

	if (ds_cosine_sums_in_range(sums))
		return ds_cosine_from_sums(sums.dot, sums.aa, sums.bb);
	return cosine_distance_wide(a, b, d);
}

/*
 * Four rows at once: the query is loaded once for four, five loads where the
 * single form needs eight.  Two registers a row keep eight chains going.
 */
#define DEFINE_MANY(name, single, step)                                                        \
	static void name(const float *query, const float *rows, size_t stride, size_t n, size_t d, \
					 float *out)                                                               \
	{                                                                                          \
		size_t row = 0;                                                                        \
                                                                                               \
		for (; row + 4 <= n; row += 4)                                                         \
		{                                                                                      \
			const float *r0 = rows + row * stride;                                             \
			const float *r1 = r0 + stride;                                                     \
			const float *r2 = r1 + stride;                                                     \
			const float *r3 = r2 + stride;                                                     \
			VEC s0 = vec_zero(), s1 = s0, s2 = s0, s3 = s0;                                    \
			VEC t0 = s0, t1 = s0, t2 = s0, t3 = s0;                                            \
			size_t i = 0;                                                                      \
                                                                                               \
			for (; i + 2 * WIDTH <= d; i += 2 * WIDTH)                                         \
			{                                                                                  \
				VEC q = vec_load(query + i);                                                   \
				VEC p = vec_load(query + i + WIDTH);                                           \
                                                                                               \
				s0 = step(s0, q, vec_load(r0 + i));                                            \
				s1 = step(s1, q, vec_load(r1 + i));                                            \
				s2 = step(s2, q, vec_load(r2 + i));                                            \
				s3 = step(s3, q, vec_load(r3 + i));                                            \
				t0 = step(t0, p, vec_load(r0 + i + WIDTH));                                    \
				t1 = step(t1, p, vec_load(r1 + i + WIDTH));                                    \
				t2 = step(t2, p, vec_load(r2 + i + WIDTH));                                    \
				t3 = step(t3, p, vec_load(r3 + i + WIDTH));                                    \
			}                                                                                  \
			if (i + WIDTH <= d)                                                                \
			{                                                                                  \
				VEC q = vec_load(query + i);                                                   \
                                                                                               \
				s0 = step(s0, q, vec_load(r0 + i));                                            \
				s1 = step(s1, q, vec_load(r1 + i));                                            \
				s2 = step(s2, q, vec_load(r2 + i));                                            \
				s3 = step(s3, q, vec_load(r3 + i));                                            \
				i += WIDTH;                                                                    \
			}                                                                                  \
			if (i < d)                                                                         \
			{                                                                                  \
				VEC q = vec_load_part(query + i, d - i);                                       \
                                                                                               \
				t0 = step(t0, q, vec_load_part(r0 + i, d - i));                                \
				t1 = step(t1, q, vec_load_part(r1 + i, d - i));                                \
				t2 = step(t2, q, vec_load_part(r2 + i, d - i));                                \
				t3 = step(t3, q, vec_load_part(r3 + i, d - i));                                \
			}                                                                                  \
			out[row] = vec_sum(vec_add(s0, t0));                                               \
			out[row + 1] = vec_sum(vec_add(s1, t1));                                           \
			out[row + 2] = vec_sum(vec_add(s2, t2));                                           \
			out[row + 3] = vec_sum(vec_add(s3, t3));                                           \
		}                                                                                      \
		for (; row < n; row++)                                                                 \
			out[row] = single(query, rows + row * stride, d);                                  \
	}

DEFINE_MANY(l2_squared_many, l2_squared, step_l2)
DEFINE_MANY(inner_product_many, inner_product, step_product)

#define SIMD_MEMBERS                                                                              \
	.l2_squared = l2_squared, .inner_product = inner_product, .taxicab = taxicab,                 \
	.squared_norm = squared_norm, .cosine_sums = cosine_sums, .cosine_distance = cosine_distance, \
	.l2_squared_wide = l2_squared_wide, .inner_product_wide = inner_product_wide,                 \
	.taxicab_wide = taxicab_wide, .squared_norm_wide = squared_norm_wide,                         \
	.cosine_sums_wide = cosine_sums_wide, .l2_squared_many = l2_squared_many,                     \
	.inner_product_many = inner_product_many
