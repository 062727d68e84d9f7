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
#include "utils/guc.h"
#include "utils/array.h"
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

/* "a AS b" names what has no use for a name. */
static bool
has_name(List *targets)
{
	ListCell *cell;

	foreach (cell, targets)
		if (lfirst_node(ResTarget, cell)->name != NULL)
			return true;
	return false;
}

/* Parsing it alone makes sure that it is one expression, or two, and ends where it says. */
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
	if (!IsA(select, SelectStmt) || list_length(select->targetList) < 1 ||
		list_length(select->targetList) > 2 || has_name(select->targetList) ||
		select->fromClause != NIL || select->whereClause != NULL || select->groupClause != NIL ||
		select->havingClause != NULL || select->windowClause != NIL || select->sortClause != NIL ||
		select->limitCount != NULL || select->limitOffset != NULL || select->lockingClause != NIL ||
		select->distinctClause != NIL || select->intoClause != NULL || select->withClause != NULL ||
		select->op != SETOP_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("source must be a column or one expression, or a text and a picture: %s",
						source)));
	/* it may end in a comment */
	if (list_length(select->targetList) == 2)
		return psprintf(strstr(source, "--") != NULL ? "%s\n" : "%s", source);
	return psprintf(strstr(source, "--") != NULL ? "(%s\n)" : "(%s)", source);
}

DsSourceKind
ds_source_kind(const char *sql, int count, Oid *types)
{
	SPIPlanPtr plan = SPI_prepare(sql, count, types);
	List *sources;
	TupleDesc desc;
	bool image[2] = {false, false};
	int columns;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	sources = SPI_plan_get_plan_sources(plan);
	desc = ((CachedPlanSource *) linitial(sources))->resultDesc;
	columns = desc->natts;
	for (int i = 0; i < Min(columns, 2); i++)
		image[i] = getBaseType(TupleDescAttr(desc, i)->atttypid) == BYTEAOID;
	SPI_freeplan(plan);
	if (columns > 2 || (columns == 2 && image[0] == image[1]))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("a source of several columns must be a text and a picture of type bytea")));
	if (columns == 1)
		return image[0] ? DS_SOURCE_IMAGE : DS_SOURCE_TEXT;
	return image[0] ? DS_SOURCE_BOTH_TURNED : DS_SOURCE_BOTH;
}

text *
ds_source_text(Datum value, Oid type)
{
	Oid base = getBaseType(type);
	Oid output;
	bool is_varlena;

	if (base == TEXTOID || base == VARCHAROID || base == BYTEAOID)
		return DatumGetTextPP(value);
	getTypeOutputInfo(type, &output, &is_varlena);
	return cstring_to_text(OidOutputFunctionCall(output, value));
}

/*
 * Keys are stored as text, which must mean the same value to every session,
 * and to the last digit.  Returns what AtEOXact_GUC() takes to end this.
 */
static int
exact_text_begin(void)
{
	static const char *const settings[][2] = {{"datestyle", "ISO"},
											  {"intervalstyle", "postgres"},
											  {"extra_float_digits", "3"},
											  {"search_path", "pg_catalog, pg_temp"}};
	int level = NewGUCNestLevel();

	for (size_t i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

ArrayType *
ds_key_text(SPITupleTable *table, uint64 row, int first, int count, const Oid *types,
			MemoryContext context)
{
	int level = exact_text_begin();
	Datum *texts = palloc(sizeof(Datum) * count);
	ArrayType *key;
	MemoryContext caller;

	for (int i = 0; i < count; i++)
	{
		Oid output;
		bool is_varlena;
		bool null;
		Datum value = SPI_getbinval(table->vals[row], table->tupdesc, first + i, &null);

		getTypeOutputInfo(types[i], &output, &is_varlena);
		texts[i] = CStringGetTextDatum(OidOutputFunctionCall(output, value));
	}
	caller = MemoryContextSwitchTo(context);
	key = construct_array(texts, count, TEXTOID, -1, false, TYPALIGN_INT);
	MemoryContextSwitchTo(caller);
	AtEOXact_GUC(true, level);
	return key;
}

Datum *
ds_key_values(ArrayType *key, int wanted, const Oid *types, const char *relation)
{
	int level;
	Datum *values;
	int count;

	deconstruct_array(key, TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, &count);
	if (count != wanted)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the primary key of %s has changed since the encoding was stopped",
							   relation),
						errhint("Begin anew: options => '{\"all\": true, \"restart\": true}'.")));
	level = exact_text_begin();
	for (int i = 0; i < count; i++)
	{
		Oid input;
		Oid parameter;

		getTypeInputInfo(types[i], &input, &parameter);
		values[i] = OidInputFunctionCall(input, TextDatumGetCString(values[i]), parameter, -1);
	}
	AtEOXact_GUC(true, level);
	return values;
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
