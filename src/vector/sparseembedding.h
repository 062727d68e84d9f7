/*
 * sparseembedding.h
 *		The type sparseembedding: a vector of which most elements are zero.
 *
 * Stored are the elements that are not zero, by ascending index.  They are
 * finite, as those of embedding.
 */
#ifndef DS_SPARSEEMBEDDING_H
#define DS_SPARSEEMBEDDING_H

#include "server.h"

#include "vector/kernels_sparse.h"

/* the limits of pgvector's sparsevec */
#define DS_SPARSE_MAX_DIM 1000000000
#define DS_SPARSE_MAX_COUNT 16000

typedef struct DsSparseEmbedding
{
	int32 vl_len_; /* varlena header, do not touch */
	int32 dim; /* 1 to DS_SPARSE_MAX_DIM */
	int32 count; /* of elements that are not zero, 0 to DS_SPARSE_MAX_COUNT */
	int32 unused; /* zero */
	int32 index[FLEXIBLE_ARRAY_MEMBER]; /* [count], from 0, ascending; float values[count] follow */
} DsSparseEmbedding;

#define DS_SPARSE_SIZE(count) \
	(offsetof(DsSparseEmbedding, index) + (sizeof(int32) + sizeof(float)) * (Size) (count))

#define ds_sparse_values(sparse) ((float *) ((sparse)->index + (sparse)->count))

/* A value in memory; raises XX001 when its size and its count disagree. */
extern DsSparseEmbedding *ds_sparse_get(Datum datum);

/* What the kernels take of it */
static inline DsSparse
ds_sparse_view(const DsSparseEmbedding *value)
{
	return (DsSparse){value->index, ds_sparse_values(value), (size_t) value->count};
}

/* A new value in the current context with room for count elements, all zero yet. */
extern DsSparseEmbedding *ds_sparse_new(int32 dim, int32 count);

/* A hash that is the same for equal values */
extern uint64 ds_sparseembedding_hash64(Datum datum, uint64 seed);

#endif /* DS_SPARSEEMBEDDING_H */
