/*
 * embedding_plan.c
 *		The types of vectors: what the planner is told.
 */
#include "vector/embedding.h"
#include "vector/halfembedding.h"
#include "vector/sparseembedding.h"

#include <math.h>

#include "commands/vacuum.h"
#include "nodes/nodeFuncs.h"
#include "nodes/primnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"

/* dimensions assumed where a column does not say */
#define UNKNOWN_DIM 512

/* dimensions that a distance function works off in the time of a simple operator */
#define DIMS_PER_OPERATOR 256.0

/*
 * embedding_support(internal) -> internal: the support function of everything
 * that reads all elements.  Its time grows with the dimension, which the type
 * modifier of the column tells; with it the planner evaluates cheaper
 * conditions first and knows when parallel workers pay.
 */
DS_FUNCTION(ds_embedding_support);
Datum
ds_embedding_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);
	SupportRequestCost *cost;
	List *args = NIL;
	ListCell *cell;
	int32 dim = -1;

	if (!IsA(request, SupportRequestCost))
		PG_RETURN_POINTER(NULL);
	cost = (SupportRequestCost *) request;
	if (cost->node != NULL && IsA(cost->node, FuncExpr))
		args = ((FuncExpr *) cost->node)->args;
	else if (cost->node != NULL && (IsA(cost->node, OpExpr) || IsA(cost->node, DistinctExpr) ||
									IsA(cost->node, NullIfExpr)))
		args = ((OpExpr *) cost->node)->args;
	foreach (cell, args)
		dim = Max(dim, exprTypmod((Node *) lfirst(cell)));
	if (dim < 1 || dim > DS_EMBEDDING_MAX_DIM)
		dim = UNKNOWN_DIM;
	cost->startup = 0;
	cost->per_tuple = cpu_operator_cost * (1.0 + dim / DIMS_PER_OPERATOR);
	PG_RETURN_POINTER(cost);
}

static int
compare_uint64(const void *a, const void *b)
{
	uint64 x = *(const uint64 *) a;
	uint64 y = *(const uint64 *) b;

	return (x > y) - (x < y);
}

/*
 * The number of distinct values in a table of total non-null rows, from the
 * hashes of n of them (Haas & Stokes, "Estimating the number of classes in a
 * finite population", IBM Research Report RJ 10025, estimator Duj1, as in the
 * server's own ANALYZE).  In pg_statistic's terms: negative is a share of the rows.
 */
static double
estimate_distinct(uint64 *hashes, int n, double total, double null_share)
{
	int distinct = 0;
	int once = 0;
	double estimate;

	qsort(hashes, n, sizeof(uint64), compare_uint64);
	for (int i = 0; i < n;)
	{
		int next = i + 1;

		while (next < n && hashes[next] == hashes[i])
			next++;
		distinct++;
		once += next == i + 1;
		i = next;
	}
	if (once == distinct)
		return -1.0 * (1.0 - null_share);
	if (once == 0)
		return distinct;
	estimate = (double) n * distinct / ((n - once) + (double) once * n / total);
	estimate = Min(Max(estimate, distinct), total);
	if (estimate > 0.1 * total)
		return -(estimate / total) * (1.0 - null_share);
	return floor(estimate + 0.5);
}

/*
 * ANALYZE for a column of vectors: the share of nulls, the width, and how
 * many values are distinct.  The default would also keep a histogram and the
 * most common values, up to 200 vectors a column that say nothing about
 * distances, in the catalog and in every backend's cache.
 */
typedef uint64 (*HashFunction)(Datum value, uint64 seed);

static void
compute_statistics(VacAttrStatsP stats, AnalyzeAttrFetchFunc fetch, int samples, double total_rows)
{
	uint64 *hashes = palloc(sizeof(uint64) * (Size) Max(samples, 1));
	HashFunction hash = *(const HashFunction *) stats->extra_data;
	int nulls = 0;
	int values = 0;
	int hashed = 0;
	double width = 0;

	for (int i = 0; i < samples; i++)
	{
		bool is_null;
		Datum value;

		ds_analyze_delay_point();
		value = fetch(stats, i, &is_null);
		if (is_null)
		{
			nulls++;
			continue;
		}
		values++;
		width += (double) VARSIZE_ANY(DatumGetPointer(value));
		/* reading what is out of line would cost more than the figure is worth */
		if (!VARATT_IS_EXTERNAL(DatumGetPointer(value)))
			hashes[hashed++] = hash(value, 0);
	}
	if (samples > 0)
	{
		stats->stats_valid = true;
		stats->stanullfrac = (float4) nulls / (float4) samples;
		stats->stawidth = values > 0 ? (int32) (width / values) : 0;
		if (values == 0)
			stats->stadistinct = 0.0;
		else if (hashed < values)
			stats->stadistinct = (float4) (-1.0 * (1.0 - stats->stanullfrac));
		else
			stats->stadistinct = (float4) estimate_distinct(
				hashes, hashed, total_rows * (1.0 - stats->stanullfrac), stats->stanullfrac);
	}
	pfree(hashes);
}

static Datum
analyze(FunctionCallInfo fcinfo, const HashFunction *hash)
{
	VacAttrStats *stats = (VacAttrStats *) PG_GETARG_POINTER(0);
	int target = ds_statistics_target(stats);

	stats->compute_stats = compute_statistics;
	stats->extra_data = unconstify(HashFunction *, hash);
	/* the server's default sample */
	stats->minrows = 300 * target;
	PG_RETURN_BOOL(true);
}

/* embedding_typanalyze(internal) -> boolean */
DS_FUNCTION(ds_embedding_typanalyze);
Datum
ds_embedding_typanalyze(PG_FUNCTION_ARGS)
{
	static const HashFunction hash = ds_embedding_hash64;

	return analyze(fcinfo, &hash);
}

/* halfembedding_typanalyze(internal) -> boolean */
DS_FUNCTION(ds_halfembedding_typanalyze);
Datum
ds_halfembedding_typanalyze(PG_FUNCTION_ARGS)
{
	static const HashFunction hash = ds_halfembedding_hash64;

	return analyze(fcinfo, &hash);
}

/* sparseembedding_typanalyze(internal) -> boolean */
DS_FUNCTION(ds_sparseembedding_typanalyze);
Datum
ds_sparseembedding_typanalyze(PG_FUNCTION_ARGS)
{
	static const HashFunction hash = ds_sparseembedding_hash64;

	return analyze(fcinfo, &hash);
}
