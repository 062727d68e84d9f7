/*
 * halfembedding_math.c
 *		The type halfembedding: distances, arithmetic and parts of values.
 *
 * Distances are those of vector/kernels_half.h.  The rest is what the function
 * of embedding gives for the values as floats, rounded to halves: for sums,
 * differences and products of two halves that is the half nearest to the exact
 * result (a float has twice the bits of a half and two more: Figueroa, "When is
 * double rounding innocuous?", ACM SIGNUM Newsletter, 1995).
 */
#include "vector/embedding_functions.h"
#include "vector/embedding_prefetch.h"
#include "vector/halfembedding.h"
#include "vector/kernels_half.h"

typedef double (*Distance)(const DsHalf *a, const DsHalf *b, size_t d);

/* Inlined into each of the functions below, as for embedding. */
static pg_attribute_always_inline double
distance(FunctionCallInfo fcinfo, Distance function)
{
	static DsLookahead ahead[2];
	DsHalfView a;
	DsHalfView b;
	double result;

	ds_halfembedding_view(PG_GETARG_DATUM(0), &a);
	ds_halfembedding_view(PG_GETARG_DATUM(1), &b);
	ds_embedding_check_same_dim(a.dim, b.dim);
	ds_elements_prefetch(a.x, sizeof(DsHalf) * (Size) a.dim, &ahead[0]);
	ds_elements_prefetch(b.x, sizeof(DsHalf) * (Size) b.dim, &ahead[1]);
	result = function(a.x, b.x, (size_t) a.dim);
	ds_halfembedding_done(&a);
	ds_halfembedding_done(&b);
	return result;
}

/* ds_cosine_distance(halfembedding, halfembedding), <=>: 1 - cosine, 0 to 2; NaN for a zero vector */
DS_FUNCTION(ds_halfembedding_cosine_distance);
Datum
ds_halfembedding_cosine_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(distance(fcinfo, ds_half_cosine_distance));
}

/* ds_l2_distance(halfembedding, halfembedding), <-> */
DS_FUNCTION(ds_halfembedding_l2_distance);
Datum
ds_halfembedding_l2_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(distance(fcinfo, ds_half_l2_distance));
}

/* ds_inner_product(halfembedding, halfembedding) */
DS_FUNCTION(ds_halfembedding_inner_product);
Datum
ds_halfembedding_inner_product(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(distance(fcinfo, ds_half_inner_product));
}

/* ds_negative_inner_product(halfembedding, halfembedding), <#>; 0 is not made -0 */
DS_FUNCTION(ds_halfembedding_negative_inner_product);
Datum
ds_halfembedding_negative_inner_product(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(0.0 - distance(fcinfo, ds_half_inner_product));
}

/* ds_taxicab_distance(halfembedding, halfembedding), <+> */
DS_FUNCTION(ds_halfembedding_taxicab_distance);
Datum
ds_halfembedding_taxicab_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(distance(fcinfo, ds_half_taxicab));
}

static Datum
widened(Datum value)
{
	PG_RETURN_EMBEDDING(ds_halfembedding_widen(value));
}

static Datum
rounded(Datum value)
{
	PG_RETURN_POINTER(ds_halfembedding_result(DatumGetEmbedding(value)));
}

/* halfembedding op halfembedding */
#define OF_TWO(name)                                                               \
	DS_FUNCTION(ds_half##name);                                                    \
	Datum ds_half##name(PG_FUNCTION_ARGS)                                          \
	{                                                                              \
		return rounded(DirectFunctionCall2(ds_##name, widened(PG_GETARG_DATUM(0)), \
										   widened(PG_GETARG_DATUM(1))));          \
	}

OF_TWO(embedding_add)
OF_TWO(embedding_sub)
OF_TWO(embedding_mul)
OF_TWO(embedding_concat)

/* of one and up to two numbers, which DirectFunctionCall3() passes on */
#define OF_ONE(name, second, third)                                                      \
	DS_FUNCTION(ds_half##name);                                                          \
	Datum ds_half##name(PG_FUNCTION_ARGS)                                                \
	{                                                                                    \
		return rounded(                                                                  \
			DirectFunctionCall3(ds_##name, widened(PG_GETARG_DATUM(0)), second, third)); \
	}

OF_ONE(embedding_scale, PG_GETARG_DATUM(1), (Datum) 0)
OF_ONE(embedding_divide, PG_GETARG_DATUM(1), (Datum) 0)
OF_ONE(embedding_negate, (Datum) 0, (Datum) 0)
OF_ONE(embedding_normalize, (Datum) 0, (Datum) 0)
OF_ONE(embedding_subvector, PG_GETARG_DATUM(1), PG_GETARG_DATUM(2))

/* double precision * halfembedding */
DS_FUNCTION(ds_halfembedding_scale_left);
Datum
ds_halfembedding_scale_left(PG_FUNCTION_ARGS)
{
	return rounded(
		DirectFunctionCall2(ds_embedding_scale, widened(PG_GETARG_DATUM(1)), PG_GETARG_DATUM(0)));
}

/* ds_dims(halfembedding) -> integer */
DS_FUNCTION(ds_halfembedding_dims);
Datum
ds_halfembedding_dims(PG_FUNCTION_ARGS)
{
	DsHalfView view;

	ds_halfembedding_view(PG_GETARG_DATUM(0), &view);
	PG_RETURN_INT32(view.dim);
}

/* ds_norm(halfembedding) -> double precision: the Euclidean length */
DS_FUNCTION(ds_halfembedding_norm);
Datum
ds_halfembedding_norm(PG_FUNCTION_ARGS)
{
	return DirectFunctionCall1(ds_embedding_norm, widened(PG_GETARG_DATUM(0)));
}
