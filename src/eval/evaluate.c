/*
 * evaluate.c
 *		ds_evaluate() and its relatives: means, one row a query, intervals, and
 *		two searches compared.  What they have in common is evaluate_run.c.
 */
#include "server.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "eval/evaluate.h"

static const char *const measure_names[DS_MEASURES] = {"precision", "recall", "mrr",
													   "ndcg",		"map",	  "hit_rate"};

/* ---- arguments ---- */

static void
refuse_null(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("\"%s\" must not be null", name)));
}

static const char *
text_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	refuse_null(fcinfo, number, name);
	return text_to_cstring(PG_GETARG_TEXT_PP(number));
}

static int
integer_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	refuse_null(fcinfo, number, name);
	return PG_GETARG_INT32(number);
}

/* The arguments that all have; searches and the place of the others differ. */
static void
begin(DsEvaluation *eval, const char *function)
{
	memset(eval, 0, sizeof(*eval));
	eval->function = function;
}

static void
set_search(DsEvaluation *eval, FunctionCallInfo fcinfo, int number, const char *name)
{
	eval->search_sql[eval->n_searches] = text_argument(fcinfo, number, name);
	eval->search_name[eval->n_searches++] = name;
}

/* a depth that is null or less than k means k */
static void
set_depth(DsEvaluation *eval, FunctionCallInfo fcinfo, int number)
{
	eval->depth = eval->k;
	if (PG_ARGISNULL(number))
		return;
	if (PG_GETARG_INT32(number) < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("depth must be at least 1, not %d", PG_GETARG_INT32(number))));
	eval->depth = Max(eval->k, (size_t) PG_GETARG_INT32(number));
}

/* confidence, samples, seed: three arguments in this order */
static DsSampling
sampling_arguments(FunctionCallInfo fcinfo, int number)
{
	DsSampling sampling = {.cancel = &ds_server_cancel};
	DsStatus status;
	int samples;

	refuse_null(fcinfo, number, "confidence");
	refuse_null(fcinfo, number + 2, "seed");
	samples = integer_argument(fcinfo, number + 1, "samples");
	sampling.confidence = PG_GETARG_FLOAT8(number);
	sampling.samples = samples < 1 ? 0 : (uint32) samples;
	sampling.seed = (uint64) PG_GETARG_INT64(number + 2);
	ds_check(ds_sampling_check(&sampling, &status), &status);
	return sampling;
}

/* of ds_evaluate and ds_evaluate_queries, which have the same */
static void
evaluate_arguments(FunctionCallInfo fcinfo, DsEvaluation *eval, const char *function)
{
	int warmup;

	begin(eval, function);
	eval->query_sql = text_argument(fcinfo, 0, "query_sql");
	set_search(eval, fcinfo, 1, "search_sql");
	eval->relevance_sql = text_argument(fcinfo, 2, "relevance_sql");
	eval->k = ds_check_k(integer_argument(fcinfo, 3, "k"));
	warmup = integer_argument(fcinfo, 4, "warmup");
	if (warmup < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("warmup must be at least 0, not %d", warmup)));
	eval->warmup = (size_t) warmup;
	eval->gain = ds_check_gain(text_argument(fcinfo, 5, "gain"));
	set_depth(eval, fcinfo, 6);
	ds_evaluation_run(eval);
}

static void *
scratch_values(DsEvaluation *eval, size_t n)
{
	return MemoryContextAllocHuge(eval->context, sizeof(double) * Max(n, 1));
}

/* the name of a group, or null for all queries */
static void
put_group_name(const DsEvaluation *eval, int group, Datum *value, bool *null)
{
	*null = group < 0;
	if (group >= 0)
		*value = CStringGetTextDatum(eval->groups[group].name);
}

/* ---- means ---- */

/* One row: the mean over the queries of a group, or over all for group -1 */
static void
put_means(DsEvaluation *eval, int group, double *ms, Tuplestorestate *store, TupleDesc desc)
{
	Datum values[3 + DS_MEASURES + 3];
	bool nulls[lengthof(values)] = {false};
	const double shares[3] = {0.50, 0.95, 0.99};
	double sum[DS_MEASURES] = {0};
	size_t n = 0;
	size_t left_out = 0;
	size_t n_ms = 0;

	for (size_t i = ds_first_query(eval, group); i != DS_NO_QUERY;
		 i = ds_next_query(eval, group, i))
	{
		const DsEvalQuery *query = &eval->queries[i];

		if (query->relevant == 0)
		{
			left_out++;
			continue;
		}
		n++;
		for (int m = 0; m < DS_MEASURES; m++)
			sum[m] += query->found[0].measure[m];
		if (query->found[0].ms >= 0)
			ms[n_ms++] = query->found[0].ms;
	}
	put_group_name(eval, group, &values[0], &nulls[0]);
	values[1] = Int64GetDatum((int64) n);
	values[2] = Int64GetDatum((int64) left_out);
	for (int m = 0; m < DS_MEASURES; m++)
	{
		nulls[3 + m] = n == 0;
		if (n > 0)
			values[3 + m] = Float8GetDatum(sum[m] / (double) n);
	}
	ds_sort_values(ms, n_ms);
	for (int i = 0; i < 3; i++)
	{
		nulls[3 + DS_MEASURES + i] = n_ms == 0;
		if (n_ms > 0)
			values[3 + DS_MEASURES + i] = Float8GetDatum(ds_percentile(ms, n_ms, shares[i]));
	}
	tuplestore_putvalues(store, desc, values, nulls);
}

DS_FUNCTION(ds_evaluate);
Datum
ds_evaluate(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Tuplestorestate *store = ds_materialize(fcinfo, &desc);
	DsEvaluation eval;
	double *ms;

	evaluate_arguments(fcinfo, &eval, "ds_evaluate");
	ms = scratch_values(&eval, eval.n_queries);
	for (int group = 0; group < eval.n_groups; group++)
	{
		CHECK_FOR_INTERRUPTS();
		put_means(&eval, group, ms, store, desc);
	}
	put_means(&eval, -1, ms, store, desc);
	MemoryContextDelete(eval.context);
	return (Datum) 0;
}

/* ---- one row a query ---- */

DS_FUNCTION(ds_evaluate_queries);
Datum
ds_evaluate_queries(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Tuplestorestate *store = ds_materialize(fcinfo, &desc);
	DsEvaluation eval;

	evaluate_arguments(fcinfo, &eval, "ds_evaluate_queries");
	for (size_t i = 0; i < eval.n_queries; i++)
	{
		const DsEvalQuery *query = &eval.queries[i];
		const DsFound *found = &query->found[0];
		Datum values[4 + DS_MEASURES + 1];
		bool nulls[lengthof(values)] = {false};

		CHECK_FOR_INTERRUPTS();
		values[0] = CStringGetTextDatum(query->id);
		put_group_name(&eval, query->group, &values[1], &nulls[1]);
		values[2] = Int32GetDatum((int32) found->retrieved);
		nulls[2] = query->relevant == 0;
		values[3] = Int32GetDatum((int32) query->relevant);
		for (int m = 0; m < DS_MEASURES; m++)
		{
			values[4 + m] = Float8GetDatum(found->measure[m]);
			nulls[4 + m] = query->relevant == 0;
		}
		values[4 + DS_MEASURES] = Float8GetDatum(found->ms);
		nulls[4 + DS_MEASURES] = found->ms < 0;
		tuplestore_putvalues(store, desc, values, nulls);
	}
	MemoryContextDelete(eval.context);
	return (Datum) 0;
}

/* ---- intervals, and two searches ---- */

/* The values of a measure, one a query that has relevant documents: of one search, or b minus a */
static size_t
gather(const DsEvaluation *eval, int group, int measure, double *out, double sums[DS_SEARCHES])
{
	size_t n = 0;

	sums[0] = sums[1] = 0;
	for (size_t i = ds_first_query(eval, group); i != DS_NO_QUERY;
		 i = ds_next_query(eval, group, i))
	{
		const DsEvalQuery *query = &eval->queries[i];

		if (query->relevant == 0)
			continue;
		for (int s = 0; s < eval->n_searches; s++)
			sums[s] += query->found[s].measure[measure];
		out[n++] = eval->n_searches == 1
					   ? query->found[0].measure[measure]
					   : query->found[1].measure[measure] - query->found[0].measure[measure];
	}
	return n;
}

DS_FUNCTION(ds_evaluate_intervals);
Datum
ds_evaluate_intervals(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Tuplestorestate *store = ds_materialize(fcinfo, &desc);
	DsEvaluation eval;
	DsSampling sampling;
	double *value;
	double *scratch;

	begin(&eval, "ds_evaluate_intervals");
	eval.query_sql = text_argument(fcinfo, 0, "query_sql");
	set_search(&eval, fcinfo, 1, "search_sql");
	eval.relevance_sql = text_argument(fcinfo, 2, "relevance_sql");
	eval.k = ds_check_k(integer_argument(fcinfo, 3, "k"));
	eval.gain = ds_check_gain(text_argument(fcinfo, 4, "gain"));
	set_depth(&eval, fcinfo, 5);
	sampling = sampling_arguments(fcinfo, 6);
	ds_evaluation_run(&eval);
	value = scratch_values(&eval, eval.n_queries);
	scratch = scratch_values(&eval, sampling.samples);
	/* the groups, then all queries */
	for (int g = 0; g <= eval.n_groups; g++)
	{
		int group = g < eval.n_groups ? g : -1;

		for (int m = 0; m < DS_MEASURES; m++)
		{
			Datum values[6];
			bool nulls[lengthof(values)] = {false};
			double sums[DS_SEARCHES];
			size_t n = gather(&eval, group, m, value, sums);
			DsInterval interval;
			DsStatus status;

			CHECK_FOR_INTERRUPTS();
			put_group_name(&eval, group, &values[0], &nulls[0]);
			values[1] = CStringGetTextDatum(measure_names[m]);
			values[2] = Int64GetDatum((int64) n);
			if (n > 0)
			{
				ds_check(ds_bootstrap(value, n, &sampling, scratch, &interval, &status), &status);
				values[3] = Float8GetDatum(interval.mean);
				values[4] = Float8GetDatum(interval.low);
				values[5] = Float8GetDatum(interval.high);
			}
			nulls[3] = nulls[4] = nulls[5] = n == 0;
			tuplestore_putvalues(store, desc, values, nulls);
		}
	}
	MemoryContextDelete(eval.context);
	return (Datum) 0;
}

/* Columns that ds_compare and ds_paired_test share: difference .. exact */
#define N_COMPARED 9

static void
put_compared(const double *difference, size_t n, const DsSampling *sampling, double *scratch,
			 Datum *values, bool *nulls)
{
	DsInterval interval;
	DsPairedTest test;
	DsStatus status;

	for (int i = 0; i < N_COMPARED; i++)
		nulls[i] = n == 0;
	if (n == 0)
		return;
	ds_check(ds_bootstrap(difference, n, sampling, scratch, &interval, &status), &status);
	ds_check(ds_paired_test(difference, n, sampling, scratch, &test, &status), &status);
	values[0] = Float8GetDatum(interval.mean);
	values[1] = Float8GetDatum(interval.low);
	values[2] = Float8GetDatum(interval.high);
	values[3] = Int64GetDatum((int64) test.better);
	values[4] = Int64GetDatum((int64) test.worse);
	values[5] = Float8GetDatum(test.t);
	values[6] = Float8GetDatum(test.p_t);
	nulls[5] = nulls[6] = isnan(test.t);
	values[7] = Float8GetDatum(test.p_random);
	values[8] = BoolGetDatum(test.exact);
}

DS_FUNCTION(ds_compare);
Datum
ds_compare(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Tuplestorestate *store = ds_materialize(fcinfo, &desc);
	DsEvaluation eval;
	DsSampling sampling;
	double *value;
	double *scratch;

	begin(&eval, "ds_compare");
	eval.query_sql = text_argument(fcinfo, 0, "query_sql");
	set_search(&eval, fcinfo, 1, "search_a");
	set_search(&eval, fcinfo, 2, "search_b");
	eval.relevance_sql = text_argument(fcinfo, 3, "relevance_sql");
	eval.k = ds_check_k(integer_argument(fcinfo, 4, "k"));
	eval.gain = ds_check_gain(text_argument(fcinfo, 5, "gain"));
	set_depth(&eval, fcinfo, 6);
	sampling = sampling_arguments(fcinfo, 7);
	ds_evaluation_run(&eval);
	value = scratch_values(&eval, eval.n_queries);
	scratch = scratch_values(&eval, Max(sampling.samples, eval.n_queries));
	for (int g = 0; g <= eval.n_groups; g++)
	{
		int group = g < eval.n_groups ? g : -1;

		for (int m = 0; m < DS_MEASURES; m++)
		{
			Datum values[5 + N_COMPARED];
			bool nulls[lengthof(values)] = {false};
			double sums[DS_SEARCHES];
			size_t n = gather(&eval, group, m, value, sums);

			CHECK_FOR_INTERRUPTS();
			put_group_name(&eval, group, &values[0], &nulls[0]);
			values[1] = CStringGetTextDatum(measure_names[m]);
			values[2] = Int64GetDatum((int64) n);
			for (int s = 0; s < DS_SEARCHES; s++)
			{
				nulls[3 + s] = n == 0;
				if (n > 0)
					values[3 + s] = Float8GetDatum(sums[s] / (double) n);
			}
			put_compared(value, n, &sampling, scratch, values + 5, nulls + 5);
			tuplestore_putvalues(store, desc, values, nulls);
		}
	}
	MemoryContextDelete(eval.context);
	return (Datum) 0;
}

/* ---- the same over arrays ---- */

/* Numbers and nulls of a one-dimensional array */
static size_t
read_numbers(ArrayType *array, const char *name, const double **values, bool **nulls)
{
	Datum *elements;
	int n;
	double *out;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("\"%s\" must be an array of one dimension", name)));
	deconstruct_array(array, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements,
					  nulls, &n);
	out = palloc_extended(sizeof(double) * (Size) Max(n, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < n; i++)
	{
		out[i] = (*nulls)[i] ? 0 : DatumGetFloat8(elements[i]);
		if (!isfinite(out[i]))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("\"%s\" must have finite values", name)));
	}
	*values = out;
	return (size_t) n;
}

static double *
numbers_scratch(size_t n)
{
	return palloc_extended(sizeof(double) * Max(n, 1), MCXT_ALLOC_HUGE);
}

static Datum
record(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

DS_FUNCTION(ds_sql_bootstrap);
Datum
ds_sql_bootstrap(PG_FUNCTION_ARGS)
{
	DsSampling sampling = sampling_arguments(fcinfo, 1);
	const double *value;
	bool *null;
	size_t count = read_numbers(PG_GETARG_ARRAYTYPE_P(0), "values", &value, &null);
	double *kept = numbers_scratch(count);
	size_t n = 0;
	Datum values[4];
	bool nulls[4] = {false};
	DsInterval interval;
	DsStatus status;

	for (size_t i = 0; i < count; i++)
	{
		if (!null[i])
			kept[n++] = value[i];
	}
	values[0] = Int64GetDatum((int64) n);
	nulls[1] = nulls[2] = nulls[3] = n == 0;
	if (n > 0)
	{
		ds_check(
			ds_bootstrap(kept, n, &sampling, numbers_scratch(sampling.samples), &interval, &status),
			&status);
		values[1] = Float8GetDatum(interval.mean);
		values[2] = Float8GetDatum(interval.low);
		values[3] = Float8GetDatum(interval.high);
	}
	return record(fcinfo, values, nulls);
}

DS_FUNCTION(ds_sql_paired_test);
Datum
ds_sql_paired_test(PG_FUNCTION_ARGS)
{
	DsSampling sampling = sampling_arguments(fcinfo, 2);
	const double *value[2];
	bool *null[2];
	size_t count[2];
	double *kept;
	double sums[2] = {0, 0};
	size_t n = 0;
	Datum values[3 + N_COMPARED];
	bool nulls[lengthof(values)] = {false};

	count[0] = read_numbers(PG_GETARG_ARRAYTYPE_P(0), "a", &value[0], &null[0]);
	count[1] = read_numbers(PG_GETARG_ARRAYTYPE_P(1), "b", &value[1], &null[1]);
	if (count[0] != count[1])
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("\"a\" and \"b\" must have the same number of elements"),
						errdetail("\"a\" has %zu, \"b\" has %zu.", count[0], count[1])));
	kept = numbers_scratch(count[0]);
	for (size_t i = 0; i < count[0]; i++)
	{
		if (null[0][i] || null[1][i])
			continue;
		sums[0] += value[0][i];
		sums[1] += value[1][i];
		kept[n++] = value[1][i] - value[0][i];
	}
	values[0] = Int64GetDatum((int64) n);
	nulls[1] = nulls[2] = n == 0;
	if (n > 0)
	{
		values[1] = Float8GetDatum(sums[0] / (double) n);
		values[2] = Float8GetDatum(sums[1] / (double) n);
	}
	put_compared(kept, n, &sampling, numbers_scratch(Max(n, sampling.samples)), values + 3,
				 nulls + 3);
	return record(fcinfo, values, nulls);
}
