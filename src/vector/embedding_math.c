/*
 * embedding_math.c
 *		The type embedding: distances, arithmetic and parts of values.
 *
 * The arithmetic is that of vector/kernels.h.  Overflow is an error;
 * a result too small for a float4 becomes 0 (or a subnormal number), for the
 * element is then as close as a float4 can be.
 */
#include "vector/embedding.h"

#include <math.h>

#include "vector/embedding_prefetch.h"
#include "vector/kernels.h"

typedef double (*Distance)(const float *a, const float *b, size_t d);

/*
 * Inlined into each of the functions below, so that the distance is called
 * directly: a sequential scan spends its time here.
 */
static pg_attribute_always_inline double
distance(FunctionCallInfo fcinfo, Distance function)
{
	static DsLookahead ahead[2];
	DsEmbeddingView a;
	DsEmbeddingView b;
	double result;

	ds_embedding_view(PG_GETARG_DATUM(0), &a);
	ds_embedding_view(PG_GETARG_DATUM(1), &b);
	ds_embedding_check_same_dim(a.dim, b.dim);
	ds_embedding_prefetch(&a, &ahead[0]);
	ds_embedding_prefetch(&b, &ahead[1]);
	result = function(a.x, b.x, (size_t) a.dim);
	/* a sort over an expression calls this for all rows in one memory context */
	ds_embedding_done(&a);
	ds_embedding_done(&b);
	return result;
}

/* ds_cosine_distance(embedding, embedding), <=>: 1 - cosine, 0 to 2; NaN for a zero vector */
DS_FUNCTION(ds_embedding_cosine_distance);
Datum
ds_embedding_cosine_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(distance(fcinfo, ds_cosine_distance));
}

/* ds_l2_distance(embedding, embedding), <-> */
DS_FUNCTION(ds_embedding_l2_distance);
Datum
ds_embedding_l2_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(distance(fcinfo, ds_l2_distance));
}

/* ds_inner_product(embedding, embedding) */
DS_FUNCTION(ds_embedding_inner_product);
Datum
ds_embedding_inner_product(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(distance(fcinfo, ds_inner_product));
}

/* ds_negative_inner_product(embedding, embedding), <#>; 0 is not made -0 */
DS_FUNCTION(ds_embedding_negative_inner_product);
Datum
ds_embedding_negative_inner_product(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(0.0 - distance(fcinfo, ds_inner_product));
}

/* ds_taxicab_distance(embedding, embedding), <+> */
DS_FUNCTION(ds_embedding_taxicab_distance);
Datum
ds_embedding_taxicab_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(distance(fcinfo, ds_taxicab));
}

static Datum
elementwise(FunctionCallInfo fcinfo,
			bool (*operation)(const float *, const float *, float *, size_t))
{
	DsEmbeddingView a;
	DsEmbeddingView b;
	DsEmbedding *result;

	ds_embedding_view(PG_GETARG_DATUM(0), &a);
	ds_embedding_view(PG_GETARG_DATUM(1), &b);
	ds_embedding_check_same_dim(a.dim, b.dim);
	result = ds_embedding_new(a.dim);
	if (!operation(a.x, b.x, result->x, (size_t) a.dim))
		ds_embedding_overflow();
	ds_embedding_done(&a);
	ds_embedding_done(&b);
	PG_RETURN_EMBEDDING(result);
}

DS_FUNCTION(ds_embedding_add);
Datum
ds_embedding_add(PG_FUNCTION_ARGS)
{
	return elementwise(fcinfo, ds_kernels()->add);
}

DS_FUNCTION(ds_embedding_sub);
Datum
ds_embedding_sub(PG_FUNCTION_ARGS)
{
	return elementwise(fcinfo, ds_kernels()->sub);
}

DS_FUNCTION(ds_embedding_mul);
Datum
ds_embedding_mul(PG_FUNCTION_ARGS)
{
	return elementwise(fcinfo, ds_kernels()->mul);
}

static Datum
scaled(Datum value, double factor)
{
	DsEmbeddingView view;
	DsEmbedding *result;

	ds_embedding_view(value, &view);
	result = ds_embedding_new(view.dim);
	if (!ds_kernels()->scale(view.x, factor, result->x, (size_t) view.dim))
		ds_embedding_overflow();
	ds_embedding_done(&view);
	PG_RETURN_EMBEDDING(result);
}

static void
check_factor(double factor)
{
	if (!isfinite(factor))
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("an embedding cannot be multiplied or divided by %s",
							   isnan(factor) ? "NaN" : "infinity")));
}

/* embedding * double precision */
DS_FUNCTION(ds_embedding_scale);
Datum
ds_embedding_scale(PG_FUNCTION_ARGS)
{
	check_factor(PG_GETARG_FLOAT8(1));
	return scaled(PG_GETARG_DATUM(0), PG_GETARG_FLOAT8(1));
}

/* double precision * embedding */
DS_FUNCTION(ds_embedding_scale_left);
Datum
ds_embedding_scale_left(PG_FUNCTION_ARGS)
{
	check_factor(PG_GETARG_FLOAT8(0));
	return scaled(PG_GETARG_DATUM(1), PG_GETARG_FLOAT8(0));
}

/* embedding / double precision */
DS_FUNCTION(ds_embedding_divide);
Datum
ds_embedding_divide(PG_FUNCTION_ARGS)
{
	double divisor = PG_GETARG_FLOAT8(1);

	check_factor(divisor);
	if (divisor == 0)
		ereport(ERROR, (errcode(ERRCODE_DIVISION_BY_ZERO), errmsg("division by zero")));
	/* the reciprocal's error is far below that of the rounding to float4 */
	return scaled(PG_GETARG_DATUM(0), 1.0 / divisor);
}

DS_FUNCTION(ds_embedding_negate);
Datum
ds_embedding_negate(PG_FUNCTION_ARGS)
{
	DsEmbeddingView view;
	DsEmbedding *result;

	ds_embedding_view(PG_GETARG_DATUM(0), &view);
	result = ds_embedding_new(view.dim);
	for (int i = 0; i < view.dim; i++)
		result->x[i] = 0.0f - view.x[i];
	PG_RETURN_EMBEDDING(result);
}

/* embedding || embedding */
DS_FUNCTION(ds_embedding_concat);
Datum
ds_embedding_concat(PG_FUNCTION_ARGS)
{
	DsEmbeddingView a;
	DsEmbeddingView b;
	DsEmbedding *result;

	ds_embedding_view(PG_GETARG_DATUM(0), &a);
	ds_embedding_view(PG_GETARG_DATUM(1), &b);
	result = ds_embedding_new(a.dim + b.dim);
	memcpy(result->x, a.x, sizeof(float) * (Size) a.dim);
	memcpy(result->x + a.dim, b.x, sizeof(float) * (Size) b.dim);
	PG_RETURN_EMBEDDING(result);
}

/* ds_dims(embedding) -> integer */
DS_FUNCTION(ds_embedding_dims);
Datum
ds_embedding_dims(PG_FUNCTION_ARGS)
{
	DsEmbeddingView view;

	ds_embedding_view(PG_GETARG_DATUM(0), &view);
	PG_RETURN_INT32(view.dim);
}

/* ds_norm(embedding) -> double precision: the Euclidean length */
DS_FUNCTION(ds_embedding_norm);
Datum
ds_embedding_norm(PG_FUNCTION_ARGS)
{
	static DsLookahead ahead;
	DsEmbeddingView view;

	ds_embedding_view(PG_GETARG_DATUM(0), &view);
	ds_embedding_prefetch(&view, &ahead);
	PG_RETURN_FLOAT8(ds_norm(view.x, (size_t) view.dim));
}

/* ds_normalize(embedding) -> embedding of length 1; a zero vector stays as it is */
DS_FUNCTION(ds_embedding_normalize);
Datum
ds_embedding_normalize(PG_FUNCTION_ARGS)
{
	DsEmbeddingView view;
	double norm;

	ds_embedding_view(PG_GETARG_DATUM(0), &view);
	norm = ds_norm(view.x, (size_t) view.dim);
	if (norm == 0)
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	return scaled(PG_GETARG_DATUM(0), 1.0 / norm);
}

/*
 * ds_subvector(embedding, start integer, count integer) -> embedding
 *
 * Elements start to start + count - 1, counted from 1; as with substring(),
 * what lies outside is left out, and then at least one element must remain.
 */
DS_FUNCTION(ds_embedding_subvector);
Datum
ds_embedding_subvector(PG_FUNCTION_ARGS)
{
	DsEmbeddingView view;
	DsEmbedding *result;
	int64 start = PG_GETARG_INT32(1);
	int64 end = start + PG_GETARG_INT32(2); /* the first element after it */

	ds_embedding_view(PG_GETARG_DATUM(0), &view);
	start = Max(start, 1);
	end = Min(end, (int64) view.dim + 1);
	if (end <= start)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("an embedding must have at least 1 dimension"),
						errdetail("Start %d and count %d select none of %d elements.",
								  PG_GETARG_INT32(1), PG_GETARG_INT32(2), view.dim)));
	result = ds_embedding_new((int) (end - start));
	memcpy(result->x, view.x + (start - 1), sizeof(float) * (Size) (end - start));
	PG_RETURN_EMBEDDING(result);
}
