/*
 * embedding.c
 *		The type embedding: making values, and the checks that all its parts share.
 */
#include "vector/embedding.h"

#include <math.h>

DsEmbedding *
ds_embedding_new(int dim)
{
	DsEmbedding *result;

	ds_embedding_check_dim(dim);
	result = palloc0(DS_EMBEDDING_SIZE(dim));
	SET_VARSIZE(result, DS_EMBEDDING_SIZE(dim));
	result->dim = (int16) dim;
	return result;
}

DsEmbedding *
ds_embedding_from(const float *x, int dim)
{
	DsEmbedding *result = ds_embedding_new(dim);

	for (int i = 0; i < dim; i++)
	{
		if (unlikely(!isfinite(x[i])))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("%s is not allowed in an embedding", isnan(x[i]) ? "NaN" : "infinity"),
					 errdetail("Element %d.", i + 1)));
		result->x[i] = x[i];
	}
	return result;
}

void
ds_embedding_check_dim(int64 dim)
{
	if (unlikely(dim < 1))
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("an embedding must have at least 1 dimension")));
	if (unlikely(dim > DS_EMBEDDING_MAX_DIM))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("an embedding cannot have more than %d dimensions", DS_EMBEDDING_MAX_DIM)));
}

void
ds_embedding_check_typmod(int dim, int32 typmod)
{
	if (unlikely(typmod >= 0 && typmod != dim))
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("expected %d dimensions, not %d", typmod, dim)));
}

void
ds_embedding_dims_differ(int a, int b)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
					errmsg("different embedding dimensions: %d and %d", a, b)));
}

void
ds_embedding_corrupted(void)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("a stored embedding is damaged: its size and its dimension disagree")));
}
