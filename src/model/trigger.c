/*
 * trigger.c
 *		ds_encode_trigger(source, target [, model [, side]]): a column of
 *		embeddings that follows its text.
 *
 * Before a row is inserted, the text is encoded; before it is updated, only if
 * the text is another one than it was, so that an update of other columns
 * costs a comparison of bytes, and ds_encode_table can write the column.
 *
 * The text is a column, read from the row, or an SQL expression over the row,
 * for which a plan is kept.  What has been found out about a trigger is kept
 * in the session, until the trigger's arguments or the row type change.
 */
#include "model/model.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "model/catalog.h"
#include "model/column.h"
#include "vector/embedding.h"

#define ARGUMENTS_MAX 4

typedef struct Known
{
	Oid trigger; /* the key */
	bool valid;
	MemoryContext context;
	uint64 row_type; /* identifier of the row type that this was found out for */
	int argument_count;
	char *arguments[ARGUMENTS_MAX];

	DsSourceKind kind;
	AttrNumber column; /* the text, or 0: */
	SPIPlanPtr plan; /* an expression */
	AttrNumber target;
	char *model; /* NULL: the default */
	DsSide side;
} Known;

static HTAB *known_triggers = NULL;

static void
show_trigger(void *argument)
{
	const TriggerData *data = argument;

	errcontext("trigger \"%s\" on table \"%s\"", data->tg_trigger->tgname,
			   RelationGetRelationName(data->tg_relation));
}

static void
check_use(FunctionCallInfo fcinfo)
{
	const TriggerData *data = (const TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("ds_encode_trigger() is a trigger function")));
	if (!TRIGGER_FIRED_BEFORE(data->tg_event) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		!(TRIGGER_FIRED_BY_INSERT(data->tg_event) || TRIGGER_FIRED_BY_UPDATE(data->tg_event)))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("ds_encode_trigger() must be fired before insert or update, for "
							   "each row"),
						errhint("CREATE TRIGGER ... BEFORE INSERT OR UPDATE ON %s FOR EACH ROW "
								"EXECUTE FUNCTION ds_encode_trigger(...)",
								quote_identifier(RelationGetRelationName(data->tg_relation)))));
	if (data->tg_trigger->tgnargs < 2 || data->tg_trigger->tgnargs > ARGUMENTS_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("ds_encode_trigger() has %d arguments instead of 2 to 4",
							   data->tg_trigger->tgnargs),
						errhint("They are: the column or expression to encode, the column of type "
								"embedding, the model, and the side, query or document.")));
}

/* ---- what a trigger is about ---- */

static SPIPlanPtr
make_plan(Relation relation, const char *expression, DsSourceKind *kind)
{
	Oid types[1] = {RelationGetForm(relation)->reltype};
	/* the row under the table's name, as in an expression of ds_encode_table */
	const char *from =
		psprintf("FROM (SELECT ($1).*) AS %s", quote_identifier(RelationGetRelationName(relation)));
	SPIPlanPtr plan;

	*kind = ds_source_kind(psprintf("SELECT %s %s", expression, from), 1, types);
	plan = SPI_prepare(psprintf("SELECT %s%s %s", expression,
								*kind == DS_SOURCE_TEXT ? "::pg_catalog.text" : "", from),
					   1, types);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_keepplan failed");
	return plan;
}

static void
find_out(Known *known, Relation relation, const Trigger *trigger)
{
	MemoryContext caller;
	char *source = trigger->tgargs[0];
	AttrNumber column = get_attnum(RelationGetRelid(relation), source);

	known->target = ds_check_target(relation, trigger->tgargs[1], 0);
	known->side = trigger->tgnargs > 3 ? ds_side_from(trigger->tgargs[3]) : DS_SIDE_DOCUMENT;
	known->column = column > 0 ? column : InvalidAttrNumber;
	if (column > 0)
	{
		Oid type = getBaseType(TupleDescAttr(RelationGetDescr(relation), column - 1)->atttypid);
		known->kind = type == BYTEAOID ? DS_SOURCE_IMAGE : DS_SOURCE_TEXT;
	}
	else
		known->plan = make_plan(relation, ds_source_expression(RelationGetRelid(relation), source),
								&known->kind);
	caller = MemoryContextSwitchTo(known->context);
	known->argument_count = trigger->tgnargs;
	for (int i = 0; i < trigger->tgnargs; i++)
		known->arguments[i] = pstrdup(trigger->tgargs[i]);
	known->model =
		trigger->tgnargs > 2 && trigger->tgargs[2][0] != '\0' ? known->arguments[2] : NULL;
	MemoryContextSwitchTo(caller);
}

static bool
still_true(const Known *known, uint64 row_type, const Trigger *trigger)
{
	if (!known->valid || known->row_type != row_type || known->argument_count != trigger->tgnargs)
		return false;
	for (int i = 0; i < trigger->tgnargs; i++)
		if (strcmp(known->arguments[i], trigger->tgargs[i]) != 0)
			return false;
	return true;
}

static const Known *
find_known(Relation relation, const Trigger *trigger)
{
	uint64 row_type = assign_record_type_identifier(RelationGetForm(relation)->reltype, -1);
	Known *known;
	bool found;

	if (known_triggers == NULL)
	{
		HASHCTL control = {.keysize = sizeof(Oid), .entrysize = sizeof(Known)};

		known_triggers = hash_create("deepsearch triggers", 16, &control, HASH_ELEM | HASH_BLOBS);
	}
	known = hash_search(known_triggers, &trigger->tgoid, HASH_ENTER, &found);
	if (found && still_true(known, row_type, trigger))
		return known;
	if (found)
	{
		if (known->plan != NULL)
			SPI_freeplan(known->plan);
		if (known->context != NULL)
			MemoryContextDelete(known->context);
	}
	known->valid = false;
	known->plan = NULL;
	known->context = NULL;
	known->context =
		AllocSetContextCreate(TopMemoryContext, "deepsearch trigger", ALLOCSET_SMALL_SIZES);
	find_out(known, relation, trigger);
	known->row_type = row_type;
	known->valid = true;
	return known;
}

/* ---- the text ---- */

/* What is to be encoded; NULL: there is none */
typedef struct Input
{
	text *words;
	bytea *picture;
} Input;

static void
put_column(Input *input, bool image, Datum value, bool null, Oid type)
{
	text *packed = null ? NULL : ds_source_text(value, type);

	if (image)
		input->picture = packed;
	else
		input->words = packed;
}

static Input
input_of(const Known *known, Relation relation, HeapTuple row)
{
	TupleDesc desc = RelationGetDescr(relation);
	Input input = {NULL, NULL};
	bool null;
	Datum value;

	if (known->column != InvalidAttrNumber)
	{
		value = heap_getattr(row, known->column, desc, &null);
		put_column(&input, known->kind == DS_SOURCE_IMAGE, value, null,
				   TupleDescAttr(desc, known->column - 1)->atttypid);
	}
	else
	{
		Datum argument = heap_copy_tuple_as_datum(row, desc);
		int result = SPI_execute_plan(known->plan, &argument, NULL, true, 2);

		if (result != SPI_OK_SELECT || SPI_processed != 1)
			elog(ERROR, "the expression of a trigger gave " UINT64_FORMAT " rows", SPI_processed);
		desc = SPI_tuptable->tupdesc;
		for (int i = 0; i < desc->natts; i++)
		{
			value = SPI_getbinval(SPI_tuptable->vals[0], desc, i + 1, &null);
			put_column(&input,
					   known->kind == DS_SOURCE_IMAGE ||
						   (known->kind == DS_SOURCE_BOTH && i == 1) ||
						   (known->kind == DS_SOURCE_BOTH_TURNED && i == 0),
					   value, null, TupleDescAttr(desc, i)->atttypid);
		}
	}
	return input;
}

static void
encode_input(const Known *known, DsModel *model, const Input *input, float *x)
{
	DsText words = {NULL, 0};
	DsText picture = {NULL, 0};

	if (input->words != NULL)
		words = ds_text_utf8(VARDATA_ANY(input->words), VARSIZE_ANY_EXHDR(input->words));
	if (input->picture != NULL)
		picture = (DsText){VARDATA_ANY(input->picture), VARSIZE_ANY_EXHDR(input->picture)};
	if (known->kind == DS_SOURCE_TEXT)
		ds_model_encode(model, known->side, &words, 1, NULL, x);
	else if (known->kind == DS_SOURCE_IMAGE)
		ds_model_encode(model, DS_SIDE_IMAGE, &picture, 1, NULL, x);
	else
		ds_model_encode_both(model, known->side, &words, &picture, 1, NULL, x);
}

static bool
same_text(const text *a, const text *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		   memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

DS_FUNCTION(ds_sql_encode_trigger);
Datum
ds_sql_encode_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	ErrorContextCallback callback;
	const Known *known;
	MemoryContext caller = CurrentMemoryContext;
	HeapTuple row;
	Input input;
	Datum value = (Datum) 0;
	bool null = true;
	int column;

	check_use(fcinfo);
	callback.callback = show_trigger;
	callback.arg = data;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	SPI_connect();
	known = find_known(data->tg_relation, data->tg_trigger);
	row = TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple;
	input = input_of(known, data->tg_relation, row);
	if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
	{
		Input before = input_of(known, data->tg_relation, data->tg_trigtuple);

		if (same_text(input.words, before.words) && same_text(input.picture, before.picture))
		{
			SPI_finish();
			error_context_stack = callback.previous;
			return PointerGetDatum(row);
		}
	}
	if (input.words != NULL || input.picture != NULL)
	{
		DsModel *model = ds_model_open(ds_model_resolve(known->model));
		float *x = palloc(sizeof(float) * (Size) model->dims);

		(void) ds_check_target(data->tg_relation, data->tg_trigger->tgargs[1], model->dims);
		encode_input(known, model, &input, x);
		value = ds_target_value(data->tg_relation, (AttrNumber) known->target, x, model->dims);
		null = false;
	}
	column = known->target;
	MemoryContextSwitchTo(caller);
	row = heap_modify_tuple_by_cols(row, RelationGetDescr(data->tg_relation), 1, &column, &value,
									&null);
	SPI_finish();
	error_context_stack = callback.previous;
	return PointerGetDatum(row);
}
