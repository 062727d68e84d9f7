/*
 * sparseembedding_math.c
 *		The type sparseembedding: distances, order, hashing.
 */
#include "vector/sparseembedding.h"

#include <math.h>

#include "common/hashfn.h"
#include "vector/embedding.h"

typedef double (*Distance)(const DsSparse *a, const DsSparse *b);

static void
done(DsSparseEmbedding *value, Datum datum)
{
	if ((Pointer) value != DatumGetPointer(datum))
		pfree(value);
}

static double
distance(FunctionCallInfo fcinfo, Distance function)
{
	DsSparseEmbedding *left = ds_sparse_get(PG_GETARG_DATUM(0));
	DsSparseEmbedding *right = ds_sparse_get(PG_GETARG_DATUM(1));
	DsSparse a = ds_sparse_view(left);
	DsSparse b = ds_sparse_view(right);
	double result;

	ds_embedding_check_same_dim(left->dim, right->dim);
	result = function(&a, &b);
	done(left, PG_GETARG_DATUM(0));
	done(right, PG_GETARG_DATUM(1));
	return result;
}

DS_FUNCTION(ds_sparseembedding_cosine_distance);
Datum
ds_sparseembedding_cosine_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(distance(fcinfo, ds_sparse_cosine_distance));
}

DS_FUNCTION(ds_sparseembedding_l2_distance);
Datum
ds_sparseembedding_l2_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(sqrt(distance(fcinfo, ds_sparse_l2_squared)));
}

DS_FUNCTION(ds_sparseembedding_inner_product);
Datum
ds_sparseembedding_inner_product(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(distance(fcinfo, ds_sparse_inner_product));
}

/* 0 is not made -0 */
DS_FUNCTION(ds_sparseembedding_negative_inner_product);
Datum
ds_sparseembedding_negative_inner_product(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(0.0 - distance(fcinfo, ds_sparse_inner_product));
}

DS_FUNCTION(ds_sparseembedding_taxicab_distance);
Datum
ds_sparseembedding_taxicab_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(distance(fcinfo, ds_sparse_taxicab));
}

/* ds_dims(sparseembedding) -> integer */
DS_FUNCTION(ds_sparseembedding_dims);
Datum
ds_sparseembedding_dims(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(ds_sparse_get(PG_GETARG_DATUM(0))->dim);
}

/* ds_nonzero(sparseembedding) -> integer: how many elements are not zero */
DS_FUNCTION(ds_sparseembedding_nonzero);
Datum
ds_sparseembedding_nonzero(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(ds_sparse_get(PG_GETARG_DATUM(0))->count);
}

/* ds_norm(sparseembedding) -> double precision: the Euclidean length */
DS_FUNCTION(ds_sparseembedding_norm);
Datum
ds_sparseembedding_norm(PG_FUNCTION_ARGS)
{
	DsSparse value = ds_sparse_view(ds_sparse_get(PG_GETARG_DATUM(0)));

	PG_RETURN_FLOAT8(sqrt(ds_sparse_squared_norm(&value)));
}

/*
 * ds_normalize(sparseembedding) -> sparseembedding of length 1; a zero vector
 * stays as it is.  What becomes too small for a float4 is no element any more.
 */
DS_FUNCTION(ds_sparseembedding_normalize);
Datum
ds_sparseembedding_normalize(PG_FUNCTION_ARGS)
{
	DsSparseEmbedding *value = ds_sparse_get(PG_GETARG_DATUM(0));
	DsSparse view = ds_sparse_view(value);
	double norm = sqrt(ds_sparse_squared_norm(&view));
	DsSparseEmbedding *result;
	float *values;
	int32 count = 0;

	if (norm == 0)
		PG_RETURN_POINTER(value);
	for (size_t i = 0; i < view.count; i++)
		count += (float) (view.value[i] / norm) != 0;
	result = ds_sparse_new(value->dim, count);
	values = ds_sparse_values(result);
	count = 0;
	for (size_t i = 0; i < view.count; i++)
	{
		float scaled = (float) (view.value[i] / norm);

		if (scaled != 0)
		{
			result->index[count] = view.index[i];
			values[count++] = scaled;
		}
	}
	PG_RETURN_POINTER(result);
}

/* ---- order: as if all elements were there; then the number of dimensions ---- */

static int
compare_datums(Datum a, Datum b)
{
	DsSparseEmbedding *left = ds_sparse_get(a);
	DsSparseEmbedding *right = ds_sparse_get(b);
	DsSparse x = ds_sparse_view(left);
	DsSparse y = ds_sparse_view(right);
	int result = ds_sparse_compare(&x, &y);

	if (result == 0)
		result = (left->dim > right->dim) - (left->dim < right->dim);
	/* btree and sorts call this in memory that lives long */
	done(left, a);
	done(right, b);
	return result;
}

#define COMPARISON(name, condition)                                         \
	DS_FUNCTION(ds_sparseembedding_##name);                                 \
	Datum ds_sparseembedding_##name(PG_FUNCTION_ARGS)                       \
	{                                                                       \
		int order = compare_datums(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)); \
                                                                            \
		PG_RETURN_BOOL(order condition 0);                                  \
	}

COMPARISON(eq, ==)
COMPARISON(ne, !=)
COMPARISON(lt, <)
COMPARISON(le, <=)
COMPARISON(gt, >)
COMPARISON(ge, >=)

/* sparseembedding_cmp(sparseembedding, sparseembedding) -> integer: -1, 0, 1 */
DS_FUNCTION(ds_sparseembedding_cmp);
Datum
ds_sparseembedding_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_datums(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)));
}

/* There are no zeros, so equal values have equal bytes. */
uint64
ds_sparseembedding_hash64(Datum datum, uint64 seed)
{
	DsSparseEmbedding *value = ds_sparse_get(datum);
	uint64 hash = hash_bytes_extended((const unsigned char *) VARDATA(value),
									  (int) (VARSIZE(value) - VARHDRSZ), seed);

	done(value, datum);
	return hash;
}

/* sparseembedding_hash(sparseembedding) -> integer: the low half of the extended hash with seed 0 */
DS_FUNCTION(ds_sparseembedding_hash);
Datum
ds_sparseembedding_hash(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32((int32) (uint32) ds_sparseembedding_hash64(PG_GETARG_DATUM(0), 0));
}

/* sparseembedding_hash_extended(sparseembedding, bigint) -> bigint */
DS_FUNCTION(ds_sparseembedding_hash_extended);
Datum
ds_sparseembedding_hash_extended(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(
		(int64) ds_sparseembedding_hash64(PG_GETARG_DATUM(0), (uint64) PG_GETARG_INT64(1)));
}
