/*
 * kernels_portable.c
 *		The kernels in plain C.
 *
 * Sixteen partial sums, which a compiler keeps in vector registers of any
 * width without being allowed to reorder a float sum.
 */
#include "vector/kernels_elementwise.h"
#include "vector/kernels_tables.h"

#define LANES 16

/* add the partial sums in a tree */
#define DEFINE_REDUCE(name, type)                          \
	static inline type name(type *sum)                     \
	{                                                      \
		for (int width = LANES / 2; width > 0; width /= 2) \
			for (int j = 0; j < width; j++)                \
				sum[j] += sum[j + width];                  \
		return sum[0];                                     \
	}
DEFINE_REDUCE(reduce_float, float)
DEFINE_REDUCE(reduce_double, double)

/* sum of term over i; the last, partial step uses the first partial sums */
#define DEFINE_SUM(name, type, arguments, term)    \
	static type name arguments                     \
	{                                              \
		type sum[LANES] = {0};                     \
		size_t start = 0;                          \
                                                   \
		for (; start + LANES <= d; start += LANES) \
			for (size_t j = 0; j < LANES; j++)     \
			{                                      \
				size_t i = start + j;              \
                                                   \
				sum[j] += (term);                  \
			}                                      \
		for (size_t i = start; i < d; i++)         \
			sum[i - start] += (term);              \
		return reduce_##type(sum);                 \
	}

#define PAIR (const float *a, const float *b, size_t d)
#define SINGLE (const float *a, size_t d)

DEFINE_SUM(l2_squared, float, PAIR, (a[i] - b[i]) * (a[i] - b[i]))
DEFINE_SUM(inner_product, float, PAIR, a[i] * b[i])
DEFINE_SUM(taxicab, float, PAIR, fabsf(a[i] - b[i]))
DEFINE_SUM(squared_norm, float, SINGLE, a[i] * a[i])

#define DIFFERENCE ((double) a[i] - (double) b[i])
DEFINE_SUM(l2_squared_wide, double, PAIR, DIFFERENCE *DIFFERENCE)
DEFINE_SUM(inner_product_wide, double, PAIR, (double) a[i] * (double) b[i])
DEFINE_SUM(taxicab_wide, double, PAIR, fabs(DIFFERENCE))
DEFINE_SUM(squared_norm_wide, double, SINGLE, (double) a[i] * (double) a[i])

/* as three sums: the order of additions is the same in each, so equal vectors give equal sums */
#define DEFINE_COSINE(name, type, result)                                          \
	static result name(const float *a, const float *b, size_t d)                   \
	{                                                                              \
		type dot[LANES] = {0};                                                     \
		type aa[LANES] = {0};                                                      \
		type bb[LANES] = {0};                                                      \
		size_t start = 0;                                                          \
                                                                                   \
		for (; start + LANES <= d; start += LANES)                                 \
			for (size_t j = 0; j < LANES; j++)                                     \
			{                                                                      \
				type x = a[start + j];                                             \
				type y = b[start + j];                                             \
                                                                                   \
				dot[j] += x * y;                                                   \
				aa[j] += x * x;                                                    \
				bb[j] += y * y;                                                    \
			}                                                                      \
		for (size_t i = start; i < d; i++)                                         \
		{                                                                          \
			type x = a[i];                                                         \
			type y = b[i];                                                         \
                                                                                   \
			dot[i - start] += x * y;                                               \
			aa[i - start] += x * x;                                                \
			bb[i - start] += y * y;                                                \
		}                                                                          \
		return (result){reduce_##type(dot), reduce_##type(aa), reduce_##type(bb)}; \
	}
DEFINE_COSINE(cosine_sums, float, DsCosineSums)
DEFINE_COSINE(cosine_sums_wide, double, DsCosineSumsWide)

static void
l2_squared_many(const float *query, const float *rows, size_t stride, size_t n, size_t d,
				float *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = l2_squared(query, rows + i * stride, d);
}

static void
inner_product_many(const float *query, const float *rows, size_t stride, size_t n, size_t d,
				   float *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = inner_product(query, rows + i * stride, d);
}

const DsKernels ds_kernels_portable = {
	.level = DS_CPU_PORTABLE,
	.l2_squared = l2_squared,
	.inner_product = inner_product,
	.taxicab = taxicab,
	.squared_norm = squared_norm,
	.cosine_sums = cosine_sums,
	.l2_squared_wide = l2_squared_wide,
	.inner_product_wide = inner_product_wide,
	.taxicab_wide = taxicab_wide,
	.squared_norm_wide = squared_norm_wide,
	.cosine_sums_wide = cosine_sums_wide,
	.l2_squared_many = l2_squared_many,
	.inner_product_many = inner_product_many,
	ELEMENTWISE_MEMBERS,
};
