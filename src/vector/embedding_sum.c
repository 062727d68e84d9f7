/*
 * embedding_sum.c
 *		The types embedding and halfembedding: the aggregates sum and avg.
 *
 * The state accumulates in double precision: the sum of fewer than 2^29
 * numbers of like magnitude is then rounded once, in the end, so a parallel
 * plan, which adds in another order, agrees with a serial one up to rare ties
 * of that rounding.
 */
#include "vector/embedding.h"

#include <math.h>

#include "vector/embedding_prefetch.h"
#include "vector/halfembedding.h"
#include "vector/kernels.h"

typedef struct SumState
{
	int64 count;
	int32 dim;
	int32 unused; /* zero */
	double sum[FLEXIBLE_ARRAY_MEMBER];
} SumState;

#define SUM_STATE_SIZE(dim) (offsetof(SumState, sum) + sizeof(double) * (Size) (dim))

static MemoryContext
aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate function called in non-aggregate context");
	return context;
}

static SumState *
state_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : (SumState *) PG_GETARG_POINTER(n);
}

/* The state with one more value, which is freed */
static SumState *
add(FunctionCallInfo fcinfo, SumState *state, DsEmbeddingView *view)
{
	if (state == NULL)
	{
		state = MemoryContextAllocZero(aggregate_context(fcinfo), SUM_STATE_SIZE(view->dim));
		state->dim = view->dim;
	}
	ds_embedding_check_same_dim(state->dim, view->dim);
	ds_kernels()->accumulate(state->sum, view->x, (size_t) view->dim);
	state->count++;
	ds_embedding_done(view);
	return state;
}

/* embedding_sum_step(internal, embedding) -> internal */
DS_FUNCTION(ds_embedding_sum_step);
Datum
ds_embedding_sum_step(PG_FUNCTION_ARGS)
{
	SumState *state = state_argument(fcinfo, 0);
	static DsLookahead ahead;
	DsEmbeddingView view;

	(void) aggregate_context(fcinfo);
	if (!PG_ARGISNULL(1))
	{
		ds_embedding_view(PG_GETARG_DATUM(1), &view);
		ds_embedding_prefetch(&view, &ahead);
		state = add(fcinfo, state, &view);
	}
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(state);
}

/* halfembedding_sum_step(internal, halfembedding) -> internal */
DS_FUNCTION(ds_halfembedding_sum_step);
Datum
ds_halfembedding_sum_step(PG_FUNCTION_ARGS)
{
	SumState *state = state_argument(fcinfo, 0);
	DsEmbeddingView view;

	(void) aggregate_context(fcinfo);
	if (!PG_ARGISNULL(1))
	{
		ds_halfembedding_floats(PG_GETARG_DATUM(1), &view);
		state = add(fcinfo, state, &view);
	}
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(state);
}

/* embedding_sum_combine(internal, internal) -> internal */
DS_FUNCTION(ds_embedding_sum_combine);
Datum
ds_embedding_sum_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	SumState *state = state_argument(fcinfo, 0);
	SumState *other = state_argument(fcinfo, 1);

	if (other == NULL)
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}
	if (state == NULL)
	{
		state = MemoryContextAlloc(context, SUM_STATE_SIZE(other->dim));
		memcpy(state, other, SUM_STATE_SIZE(other->dim));
		PG_RETURN_POINTER(state);
	}
	ds_embedding_check_same_dim(state->dim, other->dim);
	for (int i = 0; i < state->dim; i++)
		state->sum[i] += other->sum[i];
	state->count += other->count;
	PG_RETURN_POINTER(state);
}

/* embedding_sum_serialize(internal) -> bytea: the state as it is, for this server alone */
DS_FUNCTION(ds_embedding_sum_serialize);
Datum
ds_embedding_sum_serialize(PG_FUNCTION_ARGS)
{
	SumState *state;
	bytea *result;

	(void) aggregate_context(fcinfo);
	state = (SumState *) PG_GETARG_POINTER(0);
	result = palloc(VARHDRSZ + SUM_STATE_SIZE(state->dim));
	SET_VARSIZE(result, VARHDRSZ + SUM_STATE_SIZE(state->dim));
	memcpy(VARDATA(result), state, SUM_STATE_SIZE(state->dim));
	PG_RETURN_BYTEA_P(result);
}

/* embedding_sum_deserialize(bytea, internal) -> internal */
DS_FUNCTION(ds_embedding_sum_deserialize);
Datum
ds_embedding_sum_deserialize(PG_FUNCTION_ARGS)
{
	bytea *serialized;
	Size size;
	SumState *state;

	(void) aggregate_context(fcinfo);
	serialized = PG_GETARG_BYTEA_PP(0);
	size = VARSIZE_ANY_EXHDR(serialized);
	state = palloc(Max(size, SUM_STATE_SIZE(0)));
	memcpy(state, VARDATA_ANY(serialized), size);
	if (size < SUM_STATE_SIZE(0) || size != SUM_STATE_SIZE(state->dim))
		elog(ERROR, "invalid state of an aggregate over embeddings");
	PG_RETURN_POINTER(state);
}

static DsEmbedding *
finish(const SumState *state, double divisor)
{
	DsEmbedding *result = ds_embedding_new(state->dim);

	for (int i = 0; i < state->dim; i++)
	{
		result->x[i] = (float) (state->sum[i] / divisor);
		if (unlikely(!isfinite(result->x[i])))
			ds_embedding_overflow();
	}
	return result;
}

/* embedding_sum_final(internal) -> embedding; NULL over no rows */
DS_FUNCTION(ds_embedding_sum_final);
Datum
ds_embedding_sum_final(PG_FUNCTION_ARGS)
{
	SumState *state = state_argument(fcinfo, 0);

	(void) aggregate_context(fcinfo);
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_EMBEDDING(finish(state, 1.0));
}

/* embedding_avg_final(internal) -> embedding; NULL over no rows */
DS_FUNCTION(ds_embedding_avg_final);
Datum
ds_embedding_avg_final(PG_FUNCTION_ARGS)
{
	SumState *state = state_argument(fcinfo, 0);

	(void) aggregate_context(fcinfo);
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_EMBEDDING(finish(state, (double) state->count));
}

/* halfembedding_sum_final(internal) -> halfembedding: the sum in float4, rounded */
DS_FUNCTION(ds_halfembedding_sum_final);
Datum
ds_halfembedding_sum_final(PG_FUNCTION_ARGS)
{
	SumState *state = state_argument(fcinfo, 0);

	(void) aggregate_context(fcinfo);
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(ds_halfembedding_result(finish(state, 1.0)));
}

/* halfembedding_avg_final(internal) -> halfembedding: the average in float4, rounded */
DS_FUNCTION(ds_halfembedding_avg_final);
Datum
ds_halfembedding_avg_final(PG_FUNCTION_ARGS)
{
	SumState *state = state_argument(fcinfo, 0);

	(void) aggregate_context(fcinfo);
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(ds_halfembedding_result(finish(state, (double) state->count)));
}
