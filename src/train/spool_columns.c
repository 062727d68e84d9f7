/*
 * spool_columns.c
 *		The source query of a training, and which of its columns have what.
 */
#include "train/spool_columns.h"

#include "catalog/pg_type.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"

#include "model/catalog.h"

static void
not_select(const char *what, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("%s must be one SELECT", what),
					errhint("%s", hint)));
}

SPIPlanPtr
ds_spool_prepare(const char *sql, const DsSpoolParameters *parameters, const char *what,
				 const char *hint, TupleDesc *desc)
{
	SPIPlanPtr plan = parameters != NULL ? SPI_prepare(sql, parameters->count, parameters->types)
										 : SPI_prepare(sql, 0, NULL);
	List *sources;
	CachedPlanSource *only;
	Query *query;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	sources = SPI_plan_get_plan_sources(plan);
	if (list_length(sources) != 1)
		not_select(what, hint);
	only = linitial(sources);
	if (list_length(only->query_list) != 1)
		not_select(what, hint);
	query = linitial_node(Query, only->query_list);
	if (query->commandType != CMD_SELECT || query->hasModifyingCTE || query->rowMarks != NIL ||
		only->resultDesc == NULL)
		not_select(what, hint);
	*desc = only->resultDesc;
	return plan;
}

static bool
is_number(Oid type)
{
	char category;
	bool preferred;

	get_type_category_preferred(type, &category, &preferred);
	return category == TYPCATEGORY_NUMERIC;
}

static bool
is_text(Oid type)
{
	char category;
	bool preferred;

	get_type_category_preferred(type, &category, &preferred);
	return category == TYPCATEGORY_STRING || type == UNKNOWNOID;
}

static void
wrong_type(const DsSpool *source, Form_pg_attribute column, int number, const char *expected)
{
	const char *name = quote_identifier(NameStr(column->attname));

	ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
					errmsg("column %d (\"%s\") of the training source has type %s, not %s", number,
						   NameStr(column->attname), format_type_be(column->atttypid), expected),
					source->hint != NULL ? errhint("%s", source->hint)
					/* a picture's text is of no use */
					: strcmp(expected, "text") == 0 && getBaseType(column->atttypid) != BYTEAOID
						? errhint("Cast it: %s::text.", name)
						: 0));
}

/* A column of numbers; arrays are allowed where it is said */
static DsSpoolColumn
number_column(const DsSpool *source, TupleDesc desc, int number, bool arrays)
{
	Form_pg_attribute attribute = TupleDescAttr(desc, number - 1);
	Oid type = getBaseType(attribute->atttypid);
	Oid element = get_element_type(type);
	DsSpoolColumn column = {number, type, false};

	if (arrays && OidIsValid(element))
		column = (DsSpoolColumn){number, element, true};
	if (!is_number(column.type) || column.type == MONEYOID)
		wrong_type(source, attribute, number,
				   arrays ? "a number or an array of numbers" : "a number");
	return column;
}

static DsSpoolColumn
text_column(const DsSpool *source, TupleDesc desc, int number, int place)
{
	Form_pg_attribute attribute = TupleDescAttr(desc, number - 1);
	Oid type = getBaseType(attribute->atttypid);
	Oid element = get_element_type(type);

	if (place > 0 && OidIsValid(element) && is_text(element))
		return (DsSpoolColumn){number, element, true};
	if (!is_text(type))
		wrong_type(source, attribute, number, "text");
	return (DsSpoolColumn){number, attribute->atttypid, false};
}

/* Features: an embedding, real[], or a text that says such; documents may be arrays, but for real[] */
static DsSpoolColumn
feature_column(const DsSpool *source, TupleDesc desc, int number, int place)
{
	Form_pg_attribute attribute = TupleDescAttr(desc, number - 1);
	Oid type = getBaseType(attribute->atttypid);
	Oid element = get_element_type(type);

	if (type == ds_catalog()->embedding || type == FLOAT4ARRAYOID)
		return (DsSpoolColumn){number, type, false};
	if (place > 0 && OidIsValid(element) &&
		(element == ds_catalog()->embedding || is_text(element)))
		return (DsSpoolColumn){number, element, true};
	if (!is_text(type))
		wrong_type(source, attribute, number, "embedding or real[]");
	return (DsSpoolColumn){number, attribute->atttypid, false};
}

static bool
is_bytea(TupleDesc desc, int number)
{
	Oid type = getBaseType(TupleDescAttr(desc, number - 1)->atttypid);

	return type == BYTEAOID;
}

/* Pictures alone; documents may be arrays */
static DsSpoolColumn
picture_column(const DsSpool *source, TupleDesc desc, int number, int place)
{
	Form_pg_attribute attribute = TupleDescAttr(desc, number - 1);
	Oid type = getBaseType(attribute->atttypid);

	if (place > 0 && get_element_type(type) == BYTEAOID)
		return (DsSpoolColumn){number, BYTEAOID, true};
	if (type != BYTEAOID)
		wrong_type(source, attribute, number, "bytea");
	return (DsSpoolColumn){number, type, false};
}

/* A column of what is a text and a picture, in either order */
static void
both_column(const DsSpool *source, TupleDesc desc, int number, int place, DsSpoolColumns *columns)
{
	Form_pg_attribute attribute = TupleDescAttr(desc, number - 1);

	if (is_bytea(desc, number) && columns->picture[place].number == 0)
		columns->picture[place] = (DsSpoolColumn){number, BYTEAOID, false};
	else if (is_text(getBaseType(attribute->atttypid)) && columns->text[place].number == 0)
		columns->text[place] = (DsSpoolColumn){number, attribute->atttypid, false};
	else
		wrong_type(source, attribute, number,
				   columns->text[place].number == 0 ? "text or bytea" : "bytea");
}

/* Columns that a place has */
static int
width_of(const DsSpool *source, int place)
{
	return source->kind[place > 0] == DS_SPOOL_BOTH ? 2 : 1;
}

/* The next column of a place; true when the place is complete */
static bool
take_column(const DsSpool *source, TupleDesc desc, int number, int place, DsSpoolColumns *columns)
{
	switch (source->kind[place > 0])
	{
		case DS_SPOOL_TEXT:
			columns->text[place] = text_column(source, desc, number, place);
			break;
		case DS_SPOOL_FEATURES:
			columns->text[place] = feature_column(source, desc, number, place);
			break;
		case DS_SPOOL_IMAGE:
			columns->picture[place] = picture_column(source, desc, number, place);
			break;
		case DS_SPOOL_BOTH:
			both_column(source, desc, number, place, columns);
			return columns->text[place].number != 0 && columns->picture[place].number != 0;
	}
	return true;
}

static void
wrong_shape(const DsSpool *source, int given)
{
	int two = width_of(source, 0) + width_of(source, 1);

	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("the training source gives %d columns instead of %d or %d", given, two,
					two + width_of(source, 2)),
			 source->hint != NULL ? errhint("%s", source->hint)
			 : source->kind[1] == DS_SPOOL_BOTH
				 ? errhint("A document is a text and a picture: (query, text, picture), and the "
						   "same two of a wrong document may follow.")
				 : errhint(DS_SPOOL_SHAPE)));
}

void
ds_spool_find_columns(DsSpool *source, TupleDesc desc, DsSpoolColumns *columns)
{
	int places = 0;
	int given = 0;
	bool complete = true; /* the place at hand */

	memset(columns, 0, sizeof(*columns));
	for (int i = 1; i <= desc->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(desc, i - 1)->attname);

		if (places >= 2 && complete && strcmp(name, "label") == 0)
			columns->label = number_column(source, desc, i, true);
		else if (places >= 2 && complete && strcmp(name, "weight") == 0)
			columns->weight = number_column(source, desc, i, false);
		else
		{
			given++;
			if (places == 3)
				continue;
			complete = take_column(source, desc, i, places, columns);
			places += complete;
		}
	}
	if (places < 2 || !complete ||
		given > width_of(source, 0) + width_of(source, 1) + width_of(source, 2))
		wrong_shape(source, given);
	source->labels = columns->label.number != 0;
	source->weights = columns->weight.number != 0;
}
