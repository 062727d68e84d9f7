/*
 * kernels_sparse.c
 *		Sums over two sparse vectors, by merging their lists of indices.
 */
#include "vector/kernels_sparse.h"

#include "vector/kernels.h"

double
ds_sparse_inner_product(const DsSparse *a, const DsSparse *b)
{
	double sum = 0;
	size_t i = 0;
	size_t j = 0;

	/* steps without a branch: which list is behind cannot be predicted */
	while (i < a->count && j < b->count)
	{
		int32_t x = a->index[i];
		int32_t y = b->index[j];

		if (x == y)
			sum += (double) a->value[i] * b->value[j];
		i += x <= y;
		j += y <= x;
	}
	return sum;
}

/* sum of the operation on the elements of both, 0 where one has none */
#define DEFINE_UNION(name, operation)                                                          \
	double name(const DsSparse *a, const DsSparse *b)                                          \
	{                                                                                          \
		double sum = 0;                                                                        \
		size_t i = 0;                                                                          \
		size_t j = 0;                                                                          \
                                                                                               \
		while (i < a->count && j < b->count)                                                   \
		{                                                                                      \
			int32_t x = a->index[i];                                                           \
			int32_t y = b->index[j];                                                           \
			double difference =                                                                \
				(x <= y ? (double) a->value[i] : 0.0) - (y <= x ? (double) b->value[j] : 0.0); \
                                                                                               \
			sum += operation;                                                                  \
			i += x <= y;                                                                       \
			j += y <= x;                                                                       \
		}                                                                                      \
		for (; i < a->count; i++)                                                              \
		{                                                                                      \
			double difference = a->value[i];                                                   \
                                                                                               \
			sum += operation;                                                                  \
		}                                                                                      \
		for (; j < b->count; j++)                                                              \
		{                                                                                      \
			double difference = b->value[j];                                                   \
                                                                                               \
			sum += operation;                                                                  \
		}                                                                                      \
		return sum;                                                                            \
	}

DEFINE_UNION(ds_sparse_l2_squared, difference *difference)
DEFINE_UNION(ds_sparse_taxicab, fabs(difference))

double
ds_sparse_squared_norm(const DsSparse *a)
{
	double sum = 0;

	for (size_t i = 0; i < a->count; i++)
		sum += (double) a->value[i] * a->value[i];
	return sum;
}

double
ds_sparse_cosine_distance(const DsSparse *a, const DsSparse *b)
{
	return ds_cosine_from_sums(ds_sparse_inner_product(a, b), ds_sparse_squared_norm(a),
							   ds_sparse_squared_norm(b));
}

int
ds_sparse_compare(const DsSparse *a, const DsSparse *b)
{
	for (size_t i = 0; i < a->count || i < b->count; i++)
	{
		/* the first index that one of them has and the other has not, or has another value of */
		if (i == b->count || (i < a->count && a->index[i] < b->index[i]))
			return a->value[i] < 0 ? -1 : 1;
		if (i == a->count || b->index[i] < a->index[i])
			return b->value[i] < 0 ? 1 : -1;
		if (a->value[i] != b->value[i])
			return a->value[i] < b->value[i] ? -1 : 1;
	}
	return 0;
}
