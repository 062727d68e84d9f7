/*
 * column.c
 *		What is encoded, and into which column: arguments that ds_encode_table
 *		and ds_encode_trigger share.
 */
#include "model/column.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"

#include "model/catalog.h"
#include "vector/halfembedding.h"

/* A syntax error is in the source, not in the statement that has it as an argument. */
static void
show_source(void *source)
{
	int position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(source);
	}
}

/* Parsing it alone makes sure that it is one expression and ends where it says. */
char *
ds_source_expression(Oid relation, const char *source)
{
	List *parsed;
	SelectStmt *select;
	ErrorContextCallback callback;

	if (get_attnum(relation, source) > 0)
		return pstrdup(quote_identifier(source));
	callback.callback = show_source;
	callback.arg = unconstify(char *, source);
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	parsed = raw_parser(source, RAW_PARSE_PLPGSQL_EXPR);
	error_context_stack = callback.previous;
	select = (SelectStmt *) linitial_node(RawStmt, parsed)->stmt;
	if (!IsA(select, SelectStmt) || list_length(select->targetList) != 1 ||
		select->fromClause != NIL || select->whereClause != NULL || select->groupClause != NIL ||
		select->havingClause != NULL || select->windowClause != NIL || select->sortClause != NIL ||
		select->limitCount != NULL || select->limitOffset != NULL || select->lockingClause != NIL ||
		select->distinctClause != NIL || select->intoClause != NULL || select->withClause != NULL ||
		select->op != SETOP_NONE)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("source must be a column or one expression: %s", source)));
	/* it may end in a comment */
	return psprintf(strstr(source, "--") != NULL ? "(%s\n)" : "(%s)", source);
}

bool
ds_source_is_image(const char *sql, int count, Oid *types)
{
	SPIPlanPtr plan = SPI_prepare(sql, count, types);
	List *sources;
	Oid type = InvalidOid;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	sources = SPI_plan_get_plan_sources(plan);
	if (list_length(sources) == 1)
	{
		TupleDesc desc = ((CachedPlanSource *) linitial(sources))->resultDesc;

		if (desc != NULL && desc->natts > 0)
			type = getBaseType(TupleDescAttr(desc, 0)->atttypid);
	}
	SPI_freeplan(plan);
	return type == BYTEAOID;
}

AttrNumber
ds_check_target(Relation relation, const char *target, int dims)
{
	AttrNumber number = get_attnum(RelationGetRelid(relation), target);
	Form_pg_attribute column;
	Oid type;
	int32 typmod;
	bool half;

	if (number == InvalidAttrNumber)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" of relation \"%s\" does not exist", target,
							   RelationGetRelationName(relation)),
						dims == 0 ? 0
								  : errhint("ALTER TABLE %s ADD %s embedding(%d);",
											quote_identifier(RelationGetRelationName(relation)),
											quote_identifier(target), dims)));
	if (number < 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("column \"%s\" is a system column", target)));
	column = TupleDescAttr(RelationGetDescr(relation), number - 1);
	typmod = column->atttypmod;
	type = getBaseTypeAndTypmod(column->atttypid, &typmod);
	if (type != ds_catalog()->embedding && type != ds_catalog()->halfembedding)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("column \"%s\" has type %s, not embedding", target,
							   format_type_be(column->atttypid))));
	half = type == ds_catalog()->halfembedding;
	if (dims > 0 && typmod >= 0 && typmod != dims)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("column \"%s\" is %s(%d), but the model gives %d dimensions", target,
							   half ? "halfembedding" : "embedding", typmod, dims),
						errhint("Use a column of type %s(%d).",
								half ? "halfembedding" : "embedding", dims)));
	return number;
}

Datum
ds_target_value(Relation relation, AttrNumber number, const float *x, int dims)
{
	Oid type = getBaseType(TupleDescAttr(RelationGetDescr(relation), number - 1)->atttypid);

	if (type == ds_catalog()->halfembedding)
		return PointerGetDatum(ds_halfembedding_from(x, dims));
	return EmbeddingGetDatum(ds_embedding_from(x, dims));
}
