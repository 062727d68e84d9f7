/*
 * kernels_sums.h
 *		The sums behind the distances, over vector registers: included by
 *		kernels_simd.h for vectors of float and by kernels_half_simd.h for those
 *		of half floats, which have one order of additions and so one rounding.
 *
 *	ELEMENT				what a vector has, float or DsHalf
 *	VEC, WIDTH			a register of WIDTH floats
 *	vec_zero, vec_load(p), vec_load_part(p, n)		n < WIDTH elements as floats, the rest 0
 *	vec_add, vec_sub, vec_abs, vec_fma(a, b, c) = a * b + c, vec_sum(v)
 *	vec_sum3(a, b, c)	DsCosineSums of three registers, each added up in the same order
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

#define DEFINE_PAIR(name, step)                                                                    \
	DEFINE_SUM(name, float, VEC, WIDTH, vec, (const ELEMENT *a, const ELEMENT *b, size_t d), step, \
			   a, b)
DEFINE_PAIR(l2_squared, step_l2)
DEFINE_PAIR(inner_product, step_product)
DEFINE_PAIR(taxicab, step_taxicab)

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
	result name##_inline(const ELEMENT *a, const ELEMENT *b, size_t d) \
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
	}

DEFINE_COSINE(cosine_sums, DsCosineSums, VEC, WIDTH, vec)
