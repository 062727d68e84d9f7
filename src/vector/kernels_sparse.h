/*
 * kernels_sparse.h
 *		Distances between sparse vectors: their non-zero elements, by ascending
 *		index.
 *
 * All sums are in double precision, in the order of the indices: squares of
 * floats neither overflow nor vanish there, and results are symmetric to the
 * bit.  A pass over both lists of indices is bound by its branches, so there is
 * one version for all processors.
 */
#ifndef DS_KERNELS_SPARSE_H
#define DS_KERNELS_SPARSE_H

#include <stddef.h>
#include <stdint.h>

typedef struct DsSparse
{
	const int32_t *index; /* [count], ascending */
	const float *value; /* [count] */
	size_t count;
} DsSparse;

extern double ds_sparse_inner_product(const DsSparse *a, const DsSparse *b);
extern double ds_sparse_l2_squared(const DsSparse *a, const DsSparse *b);
extern double ds_sparse_taxicab(const DsSparse *a, const DsSparse *b);
extern double ds_sparse_squared_norm(const DsSparse *a);

/* 1 - cosine, 0 to 2; NaN when a vector is zero */
extern double ds_sparse_cosine_distance(const DsSparse *a, const DsSparse *b);

/* Order as if all elements were there: < 0, 0, > 0 */
extern int ds_sparse_compare(const DsSparse *a, const DsSparse *b);

#endif /* DS_KERNELS_SPARSE_H */
