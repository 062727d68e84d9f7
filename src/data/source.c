/*
 * source.c
 *		The caller's source query, read row by row.
 */
#include "data/source.h"

#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/plancache.h"

/* Rows are fetched in portions, so that SPI holds few of them at a time. */
#define FETCH_ROWS 1000

static void
add_context(void *name)
{
	errcontext("%s", (const char *) name);
}

static SPIPlanPtr
prepare(const char *name, const char *sql, int min, int max, const char *columns)
{
	SPIPlanPtr plan = SPI_prepare_cursor(sql, 0, NULL, CURSOR_OPT_PARALLEL_OK);
	CachedPlanSource *source;
	Query *query;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s", SPI_result_code_string(SPI_result));
	if (list_length(SPI_plan_get_plan_sources(plan)) != 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be one SELECT statement", name)));
	source = linitial(SPI_plan_get_plan_sources(plan));
	query = list_length(source->query_list) == 1 ? linitial_node(Query, source->query_list) : NULL;
	if (query == NULL || query->commandType != CMD_SELECT || query->hasModifyingCTE ||
		query->rowMarks != NIL || source->resultDesc == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be one SELECT statement that only reads", name)));
	if (source->resultDesc->natts < min || source->resultDesc->natts > max)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("%s has the wrong number of columns: %d", name, source->resultDesc->natts),
				 errdetail("It must return %s.", columns)));
	return plan;
}

void
ds_source_read(const char *name, const char *sql, int min, int max, const char *columns,
			   DsSourceRow row, void *context)
{
	ErrorContextCallback callback = {
		.previous = error_context_stack, .callback = add_context, .arg = unconstify(char *, name)};
	MemoryContext scratch;
	SPIPlanPtr plan;
	Portal portal;

	error_context_stack = &callback;
	plan = prepare(name, sql, min, max, columns);
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	scratch = AllocSetContextCreate(CurrentMemoryContext, "deepsearch source rows",
									ALLOCSET_DEFAULT_SIZES);
	do
	{
		MemoryContext caller;
		SPITupleTable *table;
		uint64 rows;

		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		/* the callback may use SPI itself */
		table = SPI_tuptable;
		rows = SPI_processed;
		caller = MemoryContextSwitchTo(scratch);
		for (uint64 i = 0; i < rows; i++)
		{
			int n = table->tupdesc->natts;
			char **column = palloc(sizeof(char *) * (Size) n);

			CHECK_FOR_INTERRUPTS();
			for (int c = 0; c < n; c++)
				column[c] = SPI_getvalue(table->vals[i], table->tupdesc, c + 1);
			row(context, column, n);
			MemoryContextReset(scratch);
		}
		MemoryContextSwitchTo(caller);
		SPI_freetuptable(table);
		if (rows == 0)
			break;
	} while (true);
	MemoryContextDelete(scratch);
	SPI_cursor_close(portal);
	SPI_freeplan(plan);
	error_context_stack = callback.previous;
}

void
ds_refuse_null(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("\"%s\" must not be null", name)));
}

char *
ds_text_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	ds_refuse_null(fcinfo, number, name);
	return text_to_cstring(PG_GETARG_TEXT_PP(number));
}
