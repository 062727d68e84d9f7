/*
 * kernels_simd.h
 *		The kernels over vector registers, included by kernels_avx2.c and
 *		kernels_avx512.c, which say what a register is:
 *
 *	VEC, WIDTH			a register of WIDTH floats
 *	vec_zero, vec_load(p), vec_load_part(p, n)		n < WIDTH floats, the rest 0
 *	vec_add, vec_sub, vec_abs, vec_fma(a, b, c) = a * b + c, vec_sum(v)
 *	WIDE, WIDE_WIDTH	a register of WIDE_WIDTH doubles, and the same operations as
 *						wide_*; wide_load converts from float
 *
 * Loads are unaligned.  A loop adds into four registers, because an addition
 * takes four cycles and two can start in each; what is left of the row goes
 * through whole registers and then one partial load, which touches no byte
 * beyond the row.  Lanes past the end hold 0 in both operands, which adds
 * nothing to any of these sums.
 *
 * The longest chain at WIDTH 8 is d / 32 + 4 additions and the tree has 5
 * levels, well under what ds_kernel_relative_error() allows.
 */

static inline VEC
step_l2(VEC sum, VEC a, VEC b)
{
	VEC difference = vec_sub(a, b);

	return vec_fma(difference, difference, sum);
}

static inline VEC
step_product(VEC sum, VEC a, VEC b)
{
	return vec_fma(a, b, sum);
}

static inline VEC
step_taxicab(VEC sum, VEC a, VEC b)
{
	return vec_add(sum, vec_abs(vec_sub(a, b)));
}

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

/* sum of step over two arrays; with a == b the second load is the first one */
#define DEFINE_SUM(name, result, type, width, prefix, arguments, step, a, b)                       \
	static result name arguments                                                                   \
	{                                                                                              \
		type s0 = prefix##_zero();                                                                 \
		type s1 = prefix##_zero();                                                                 \
		type s2 = prefix##_zero();                                                                 \
		type s3 = prefix##_zero();                                                                 \
		size_t i = 0;                                                                              \
                                                                                                   \
		for (; i + 4 * (width) <= d; i += 4 * (width))                                             \
		{                                                                                          \
			s0 = step(s0, prefix##_load((a) + i), prefix##_load((b) + i));                         \
			s1 = step(s1, prefix##_load((a) + i + (width)), prefix##_load((b) + i + (width)));     \
			s2 = step(s2, prefix##_load((a) + i + 2 * (width)),                                    \
					  prefix##_load((b) + i + 2 * (width)));                                       \
			s3 = step(s3, prefix##_load((a) + i + 3 * (width)),                                    \
					  prefix##_load((b) + i + 3 * (width)));                                       \
		}                                                                                          \
		for (; i + (width) <= d; i += (width))                                                     \
			s0 = step(s0, prefix##_load((a) + i), prefix##_load((b) + i));                         \
		if (i < d)                                                                                 \
			s1 = step(s1, prefix##_load_part((a) + i, d - i), prefix##_load_part((b) + i, d - i)); \
		return prefix##_sum(prefix##_add(prefix##_add(s0, s1), prefix##_add(s2, s3)));             \
	}

#define DEFINE_PAIR(name, step) \
	DEFINE_SUM(name, float, VEC, WIDTH, vec, (const float *a, const float *b, size_t d), step, a, b)
#define DEFINE_PAIR_WIDE(name, step)                                                             \
	DEFINE_SUM(name, double, WIDE, WIDE_WIDTH, wide, (const float *a, const float *b, size_t d), \
			   step, a, b)

DEFINE_PAIR(l2_squared, step_l2)
DEFINE_PAIR(inner_product, step_product)
DEFINE_PAIR(taxicab, step_taxicab)
DEFINE_SUM(squared_norm, float, VEC, WIDTH, vec, (const float *a, size_t d), step_product, a, a)

DEFINE_PAIR_WIDE(l2_squared_wide, wide_step_l2)
DEFINE_PAIR_WIDE(inner_product_wide, wide_step_product)
DEFINE_PAIR_WIDE(taxicab_wide, wide_step_taxicab)
DEFINE_SUM(squared_norm_wide, double, WIDE, WIDE_WIDTH, wide, (const float *a, size_t d),
		   wide_step_product, a, a)

/*
 * Three sums in one pass.  Each adds its terms in the same order, so equal
 * vectors give three equal sums and a cosine distance of exactly 0.  Three
 * times three chains already fill the two multipliers.
 */
#define DEFINE_COSINE(name, result, type, width, prefix)                                         \
	static result name(const float *a, const float *b, size_t d)                                 \
	{                                                                                            \
		type dot0 = prefix##_zero(), dot1 = dot0, dot2 = dot0, dot3 = dot0;                      \
		type aa0 = dot0, aa1 = dot0, aa2 = dot0, aa3 = dot0;                                     \
		type bb0 = dot0, bb1 = dot0, bb2 = dot0, bb3 = dot0;                                     \
		size_t i = 0;                                                                            \
                                                                                                 \
		for (; i + 4 * (width) <= d; i += 4 * (width))                                           \
		{                                                                                        \
			COSINE_STEP(type, 0, prefix##_load(a + i), prefix##_load(b + i), prefix##_fma)       \
			COSINE_STEP(type, 1, prefix##_load(a + i + (width)), prefix##_load(b + i + (width)), \
						prefix##_fma)                                                            \
			COSINE_STEP(type, 2, prefix##_load(a + i + 2 * (width)),                             \
						prefix##_load(b + i + 2 * (width)), prefix##_fma)                        \
			COSINE_STEP(type, 3, prefix##_load(a + i + 3 * (width)),                             \
						prefix##_load(b + i + 3 * (width)), prefix##_fma)                        \
		}                                                                                        \
		for (; i + (width) <= d; i += (width))                                                   \
			COSINE_STEP(type, 0, prefix##_load(a + i), prefix##_load(b + i), prefix##_fma)       \
		if (i < d)                                                                               \
			COSINE_STEP(type, 1, prefix##_load_part(a + i, d - i),                               \
						prefix##_load_part(b + i, d - i), prefix##_fma)                          \
		return (result){                                                                         \
			prefix##_sum(prefix##_add(prefix##_add(dot0, dot1), prefix##_add(dot2, dot3))),      \
			prefix##_sum(prefix##_add(prefix##_add(aa0, aa1), prefix##_add(aa2, aa3))),          \
			prefix##_sum(prefix##_add(prefix##_add(bb0, bb1), prefix##_add(bb2, bb3)))};         \
	}

#define COSINE_STEP(type, n, load_a, load_b, fma) \
	{                                             \
		type x = load_a;                          \
		type y = load_b;                          \
                                                  \
		dot##n = fma(x, y, dot##n);               \
		aa##n = fma(x, x, aa##n);                 \
		bb##n = fma(y, y, bb##n);                 \
	}

DEFINE_COSINE(cosine_sums, DsCosineSums, VEC, WIDTH, vec)
DEFINE_COSINE(cosine_sums_wide, DsCosineSumsWide, WIDE, WIDE_WIDTH, wide)

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
	.squared_norm = squared_norm, .cosine_sums = cosine_sums, .l2_squared_wide = l2_squared_wide, \
	.inner_product_wide = inner_product_wide, .taxicab_wide = taxicab_wide,                       \
	.squared_norm_wide = squared_norm_wide, .cosine_sums_wide = cosine_sums_wide,                 \
	.l2_squared_many = l2_squared_many, .inner_product_many = inner_product_many
