/*
 * kernels_simd.h
 *		The kernels over vector registers, included by kernels_avx2.c and
 *		kernels_avx512.c, which say what a register is:
 *
 *	VEC, WIDTH			a register of WIDTH floats
 *	vec_zero, vec_load(p), vec_load_part(p, n)		n < WIDTH floats, the rest 0
 *	vec_add, vec_sub, vec_abs, vec_fma(a, b, c) = a * b + c, vec_sum(v)
 *	vec_sum3(a, b, c)	DsCosineSums of three registers, each added up in the same order
 *	WIDE, WIDE_WIDTH	a register of WIDE_WIDTH doubles, and the same operations as
 *						wide_*; wide_load converts from float
 *	CHAINS				registers for each sum of the cosine distance, 2 or 4
 *	KEEP_CONSTRAINT		what inline assembly calls such a register; not defined: unknown
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
 * vectors give three equal sums and a cosine distance of exactly 0.  The
 * multipliers are what limits this one, and CHAINS registers a sum keep them
 * busy.  KEEP stops the compiler from loading an operand once for every use.
 */
#ifdef KEEP_CONSTRAINT
#define KEEP(register) __asm__("" : "+" KEEP_CONSTRAINT(register))
#else
#define KEEP(register) ((void) 0)
#endif

#define COSINE_DECLARE(j, type, width, prefix) \
	type dot##j = prefix##_zero(), aa##j = dot##j, bb##j = dot##j;

#define COSINE_ADD(j, type, load_a, load_b, fma) \
	{                                            \
		type x = load_a;                         \
		type y = load_b;                         \
                                                 \
		KEEP(x);                                 \
		KEEP(y);                                 \
		dot##j = fma(x, y, dot##j);              \
		aa##j = fma(x, x, aa##j);                \
		bb##j = fma(y, y, bb##j);                \
	}

#define COSINE_STEP(j, type, width, prefix)                                                     \
	COSINE_ADD(j, type, prefix##_load(a + i + j * (width)), prefix##_load(b + i + j * (width)), \
			   prefix##_fma)

#define COSINE_FOLD(to, from, prefix)           \
	dot##to = prefix##_add(dot##to, dot##from); \
	aa##to = prefix##_add(aa##to, aa##from);    \
	bb##to = prefix##_add(bb##to, bb##from);

#if CHAINS == 4
#define COSINE_EACH(macro, type, width, prefix)                                               \
	macro(0, type, width, prefix) macro(1, type, width, prefix) macro(2, type, width, prefix) \
		macro(3, type, width, prefix)
#define COSINE_FOLD_ALL(prefix) \
	COSINE_FOLD(0, 1, prefix) COSINE_FOLD(2, 3, prefix) COSINE_FOLD(0, 2, prefix)
#else
#define COSINE_EACH(macro, type, width, prefix) \
	macro(0, type, width, prefix) macro(1, type, width, prefix)
#define COSINE_FOLD_ALL(prefix) COSINE_FOLD(0, 1, prefix)
#endif

#define DEFINE_COSINE(name, result, type, width, prefix)               \
	static inline __attribute__((always_inline))                       \
	result name##_inline(const float *a, const float *b, size_t d)     \
	{                                                                  \
		COSINE_EACH(COSINE_DECLARE, type, width, prefix)               \
		size_t i = 0;                                                  \
                                                                       \
		for (; i + CHAINS * (width) <= d; i += CHAINS * (width))       \
		{                                                              \
			COSINE_EACH(COSINE_STEP, type, width, prefix)              \
		}                                                              \
		for (; i + (width) <= d; i += (width))                         \
			COSINE_STEP(0, type, width, prefix)                        \
		if (i < d)                                                     \
			COSINE_ADD(1, type, prefix##_load_part(a + i, d - i),      \
					   prefix##_load_part(b + i, d - i), prefix##_fma) \
		COSINE_FOLD_ALL(prefix)                                        \
		return prefix##_sum3(dot0, aa0, bb0);                          \
	}                                                                  \
                                                                       \
	static result name(const float *a, const float *b, size_t d)       \
	{                                                                  \
		return name##_inline(a, b, d);                                 \
	}

DEFINE_COSINE(cosine_sums, DsCosineSums, VEC, WIDTH, vec)
DEFINE_COSINE(cosine_sums_wide, DsCosineSumsWide, WIDE, WIDE_WIDTH, wide)

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
