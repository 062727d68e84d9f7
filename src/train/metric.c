/*
 * metric.c
 *		The evaluation query of a training: its numbers.
 */
#include "train/metric.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "train/spool.h"

#define WHAT "the evaluation query"
#define HINT "For example: SELECT ndcg FROM ds_evaluate(...)."

static bool
is_number(Oid type)
{
	char category;
	bool preferred;

	type = getBaseType(type);
	get_type_category_preferred(type, &category, &preferred);
	return category == TYPCATEGORY_NUMERIC && type != MONEYOID;
}

static SPIPlanPtr
prepare(const char *sql)
{
	TupleDesc desc;
	SPIPlanPtr plan = ds_spool_prepare(sql, NULL, WHAT, HINT, &desc);

	if (desc->natts < 1 || !is_number(TupleDescAttr(desc, 0)->atttypid))
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("the first column of " WHAT " must be a number"), errhint(HINT)));
	return plan;
}

void
ds_metrics_check(const char *sql)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_freeplan(prepare(sql));
	PopActiveSnapshot();
}

static double
number(Datum value, Oid type)
{
	Oid output;
	bool is_varlena;

	getTypeOutputInfo(type, &output, &is_varlena);
	return DatumGetFloat8(
		DirectFunctionCall1(float8in, CStringGetDatum(OidOutputFunctionCall(output, value))));
}

void
ds_metrics_read(const char *sql, DsMetrics *metrics)
{
	bool before = ds_read_only_begin();
	SPIPlanPtr plan;
	TupleDesc desc;

	PushActiveSnapshot(GetLatestSnapshot());
	plan = prepare(sql);
	if (SPI_execute_plan(plan, NULL, NULL, true, 2) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(SPI_result));
	if (SPI_processed != 1)
		ereport(ERROR, (errcode(ERRCODE_CARDINALITY_VIOLATION),
						errmsg(SPI_processed == 0 ? WHAT " gives no row"
												  : WHAT " gives more than one row"),
						errhint(HINT)));
	desc = SPI_tuptable->tupdesc;
	metrics->count = 0;
	for (int i = 0; i < desc->natts && metrics->count < DS_METRICS_MAX; i++)
	{
		Oid type = TupleDescAttr(desc, i)->atttypid;
		bool null;
		Datum value = SPI_getbinval(SPI_tuptable->vals[0], desc, i + 1, &null);
		double x;

		if (i == 0 && null)
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("the metric of " WHAT " is NULL"), errhint(HINT)));
		if (null || !is_number(type))
			continue;
		x = number(value, type);
		if (!isfinite(x))
		{
			if (i > 0)
				continue;
			ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
							errmsg("the metric of " WHAT " is not finite")));
		}
		strlcpy(metrics->name[metrics->count], NameStr(TupleDescAttr(desc, i)->attname),
				NAMEDATALEN);
		metrics->value[metrics->count++] = x;
	}
	SPI_freetuptable(SPI_tuptable);
	SPI_freeplan(plan);
	PopActiveSnapshot();
	ds_read_only_end(before);
}
