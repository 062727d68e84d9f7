/*
 * show.c
 *		ds_training_batch(): the pairs that stand together in a batch.
 *
 * The same reading and the same order as in a training, without a model: texts
 * count as equal when they are after the cleaning that models have by default.
 */
#include "server.h"

#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "catalog/pg_type.h"
#include "text/clean.h"
#include "train/order.h"
#include "train/pairs.h"

typedef struct Reader
{
	StringInfoData clean;
	uint32 one;
} Reader;

/* Something to read: a letter or digit, or what is not ASCII */
static bool
says_something(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((text[i] & 0x80) != 0 || (text[i] >= '0' && text[i] <= '9') ||
			(text[i] >= 'a' && text[i] <= 'z'))
			return true;
	return false;
}

static void
read_text(void *context, const DsSpoolRow *row, uint32 i, DsTokens *tokens)
{
	Reader *reader = context;
	size_t capacity = ds_clean_bound(row->text[i].length);
	size_t length;

	if (capacity >= MaxAllocSize)
		capacity = MaxAllocSize - 1;
	resetStringInfo(&reader->clean);
	enlargeStringInfo(&reader->clean, (int) capacity);
	length = ds_clean_long(&ds_clean_defaults, row->text[i].data, row->text[i].length,
						   reader->clean.data, capacity, &ds_server_cancel);
	tokens->ids = &reader->one;
	tokens->count = says_something(reader->clean.data, length) ? 1 : 0;
	tokens->key = hash_bytes_extended((unsigned char *) reader->clean.data, (int) length, 0);
}

static Datum
text_datum(DsText text)
{
	return CStringGetTextDatum(ds_text_server(text.data, text.length));
}

static void
put_row(const DsSpoolRow *row, DsPairs *pairs, uint32 number, int place, Tuplestorestate *store,
		TupleDesc desc)
{
	Datum values[7];
	bool nulls[7] = {false};
	Datum *elements = palloc(sizeof(Datum) * row->documents);
	DsPair pair;

	ds_pairs_get(pairs, number, &pair);
	values[0] = Int32GetDatum(place);
	values[1] = Int64GetDatum(row->number);
	values[2] = text_datum(row->text[0]);
	values[3] = text_datum(row->text[1]);
	for (uint32 i = 1; i < row->documents; i++)
		elements[i - 1] = text_datum(row->text[i + 1]);
	values[4] = PointerGetDatum(
		construct_array(elements, (int) row->documents - 1, TEXTOID, -1, false, TYPALIGN_INT));
	nulls[4] = row->documents == 1;
	for (uint32 i = 0; i < row->labels; i++)
		elements[i] = Float4GetDatum(row->label[i]);
	values[5] = PointerGetDatum(construct_array(elements, (int) row->labels, FLOAT4OID,
												sizeof(float4), true, TYPALIGN_INT));
	nulls[5] = row->labels == 0;
	values[6] = Float4GetDatum(pair.weight);
	tuplestore_putvalues(store, desc, values, nulls);
}

static DsDuplicates
duplicates_from(const char *name)
{
	if (strcmp(name, "avoid") == 0)
		return DS_DUPLICATES_AVOID;
	if (strcmp(name, "never") == 0)
		return DS_DUPLICATES_NEVER;
	if (strcmp(name, "allow") == 0)
		return DS_DUPLICATES_ALLOW;
	if (strcmp(name, "together") == 0)
		return DS_DUPLICATES_TOGETHER;
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 errmsg(
			 "duplicates must be \"avoid\" or \"never\" or \"allow\" or \"together\", not \"%s\"",
			 name)));
}

static int64
in_range(FunctionCallInfo fcinfo, int argument, const char *name, int64 value, int64 least,
		 int64 most)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be NULL", name)));
	if (value < least || value > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be from " INT64_FORMAT " to " INT64_FORMAT, name, least, most)));
	return value;
}

typedef struct Wanted
{
	int64 row; /* of the source */
	uint32 number; /* of the pair */
	int place;
} Wanted;

static int
by_row(const void *a, const void *b)
{
	int64 x = ((const Wanted *) a)->row;
	int64 y = ((const Wanted *) b)->row;

	return (x > y) - (x < y);
}

DS_FUNCTION(ds_sql_training_batch);
Datum
ds_sql_training_batch(PG_FUNCTION_ARGS)
{
	uint32 size = (uint32) in_range(fcinfo, 1, "size", PG_GETARG_INT32(1), 1, DS_TRAIN_BATCH_MAX);
	uint64 seed = (uint64) in_range(fcinfo, 2, "seed", PG_GETARG_INT64(2), 0, PG_INT64_MAX);
	int32 batch = (int32) in_range(fcinfo, 3, "batch", PG_GETARG_INT32(3), 1, PG_INT32_MAX);
	uint32 epoch = (uint32) in_range(fcinfo, 4, "epoch", PG_GETARG_INT32(4), 1, 1000000);
	Tuplestorestate *store;
	TupleDesc desc;
	DsSpool *source;
	DsPairs *pairs;
	DsOrder *order;
	Reader reader = {.one = 1};
	DsTextReader text_reader = {&reader, read_text, false};
	const uint32 *numbers;
	uint32 n = 0;
	Wanted *wanted;
	const DsSpoolRow *row;

	in_range(fcinfo, 0, "source_sql", 0, 0, 0);
	in_range(fcinfo, 5, "duplicates", 0, 0, 0);
	store = ds_materialize(fcinfo, &desc);
	SPI_connect();
	initStringInfo(&reader.clean);
	source = ds_spool_create(DS_SPOOL_TEXT, DS_SPOOL_TEXT);
	ds_spool_read(source, text_to_cstring(PG_GETARG_TEXT_PP(0)), NULL, NULL);
	pairs = ds_pairs_create(source, &text_reader);
	if (pairs->count > 0)
	{
		size = Min(size, pairs->count);
		order = ds_order_create(pairs, size, Min(size, 2),
								duplicates_from(text_to_cstring(PG_GETARG_TEXT_PP(5))), seed);
		ds_order_begin(order, epoch);
		do
			n = ds_order_next(order, &numbers);
		while (n > 0 && --batch > 0);
	}
	wanted = palloc(sizeof(Wanted) * Max(n, 1));
	for (uint32 i = 0; i < n; i++)
		wanted[i] = (Wanted){pairs->rows[numbers[i]], numbers[i], (int) i + 1};
	qsort(wanted, n, sizeof(Wanted), by_row);
	ds_spool_rewind(source);
	for (uint32 i = 0; i < n && (row = ds_spool_next(source)) != NULL;)
	{
		CHECK_FOR_INTERRUPTS();
		if (row->number != wanted[i].row)
			continue;
		put_row(row, pairs, wanted[i].number, wanted[i].place, store, desc);
		i++;
	}
	SPI_finish();
	return (Datum) 0;
}
