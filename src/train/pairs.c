/*
 * pairs.c
 *		Training data: the rows of the source query, as token ids.
 *
 * The record of a pair, in 32-bit numbers: how many ids its query, its
 * positive and its negative have (NO_NEGATIVE: none), the keys of the three
 * texts in two numbers each, then the ids.  Keys are hashes of the cleaned
 * texts: equal texts have equal keys.
 */
#include "train/pairs.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"

#define FETCH_ROWS 1000
#define NO_NEGATIVE PG_UINT32_MAX
#define RECORD_HEADER 9

static void
close_files(void *argument)
{
	DsPairs *pairs = argument;

	if (pairs->texts != NULL)
		BufFileClose(pairs->texts);
	if (pairs->file != NULL)
		BufFileClose(pairs->file);
	pairs->texts = pairs->file = NULL;
}

DsPairs *
ds_pairs_create(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "deepsearch training pairs",
												  ALLOCSET_DEFAULT_SIZES);
	DsPairs *pairs = MemoryContextAllocZero(context, sizeof(DsPairs));
	MemoryContextCallback *callback = MemoryContextAlloc(context, sizeof(MemoryContextCallback));

	pairs->context = context;
	callback->func = close_files;
	callback->arg = pairs;
	MemoryContextRegisterResetCallback(context, callback);
	return pairs;
}

/* ---- temporary files ---- */

static void
put(BufFile *file, const void *data, size_t size)
{
	if (size > 0)
		BufFileWrite(file, unconstify(void *, data), size);
}

static void
get(BufFile *file, void *data, size_t size)
{
	if (size > 0 && BufFileRead(file, data, size) != size)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not read from temporary file: %m")));
}

static BufFile *
new_file(DsPairs *pairs)
{
	MemoryContext caller = MemoryContextSwitchTo(pairs->context);
	BufFile *file = BufFileCreateTemp(true);

	MemoryContextSwitchTo(caller);
	return file;
}

static void
put_text(BufFile *file, DsText text)
{
	uint32 length = (uint32) text.length;

	put(file, &length, sizeof(length));
	put(file, text.data, text.length);
}

/* ---- reading the source ---- */

static void
not_select(void)
{
	ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("the training source must be one SELECT"),
					errhint("It gives rows (query, positive) or (query, positive, negative).")));
}

static SPIPlanPtr
prepare_source(const char *source, TupleDesc *desc)
{
	SPIPlanPtr plan = SPI_prepare(source, 0, NULL);
	List *sources;
	CachedPlanSource *only;
	Query *query;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	sources = SPI_plan_get_plan_sources(plan);
	if (list_length(sources) != 1)
		not_select();
	only = linitial(sources);
	if (list_length(only->query_list) != 1)
		not_select();
	query = linitial_node(Query, only->query_list);
	if (query->commandType != CMD_SELECT || query->hasModifyingCTE || query->rowMarks != NIL ||
		only->resultDesc == NULL)
		not_select();
	*desc = only->resultDesc;
	return plan;
}

static void
check_columns(TupleDesc desc)
{
	if (desc->natts < 2 || desc->natts > 3)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the training source gives %d columns instead of 2 or 3", desc->natts),
				 errhint("It gives rows (query, positive) or (query, positive, negative).")));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		char category;
		bool preferred;

		get_type_category_preferred(column->atttypid, &category, &preferred);
		if (category != TYPCATEGORY_STRING && column->atttypid != UNKNOWNOID)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column %d (\"%s\") of the training source has type %s, not text",
							i + 1, NameStr(column->attname), format_type_be(column->atttypid)),
					 errhint("Cast it: %s::text.", quote_identifier(NameStr(column->attname)))));
	}
}

/* A value as UTF-8, in the current context; its text must fit a record's length. */
static DsText
value_text(Datum value, Oid type)
{
	Oid base = getBaseType(type);

	if (base == TEXTOID || base == VARCHAROID || base == BPCHAROID)
	{
		text *packed = DatumGetTextPP(value);

		return ds_text_utf8(VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
	}
	else
	{
		Oid output;
		bool is_varlena;
		char *string;

		getTypeOutputInfo(type, &output, &is_varlena);
		string = OidOutputFunctionCall(output, value);
		return ds_text_utf8(string, strlen(string));
	}
}

static void
learn(DsTokenizerLearner *learner, DsText text)
{
	DsStatus status;

	if (learner != NULL)
		ds_check(ds_tokenizer_learn_add(learner, text.data, text.length, &status), &status);
}

/* One row of the source; false when it has no pair. */
static bool
read_row(DsPairs *pairs, const DsLearners *learners, HeapTuple tuple, TupleDesc desc)
{
	DsText text[3];
	bool null[3] = {false, false, true};

	for (int i = 0; i < desc->natts; i++)
	{
		Datum value = SPI_getbinval(tuple, desc, i + 1, &null[i]);

		if (null[i] && i < 2)
			return false;
		if (!null[i])
			text[i] = value_text(value, TupleDescAttr(desc, i)->atttypid);
	}
	for (int i = 0; i < 3; i++)
	{
		uint8 there = !null[i];

		if (i == 2)
			put(pairs->texts, &there, 1);
		if (!there)
			continue;
		put_text(pairs->texts, text[i]);
		learn(learners->learner[i == 0 ? DS_SIDE_QUERY : DS_SIDE_DOCUMENT], text[i]);
	}
	return true;
}

void
ds_pairs_read(DsPairs *pairs, const char *source, const DsLearners *learners)
{
	bool before;
	MemoryContext row_context;
	TupleDesc desc;
	SPIPlanPtr plan;
	Portal portal;

	/* functions that the query calls may not write either */
	before = ds_read_only_begin();
	PushActiveSnapshot(GetTransactionSnapshot());
	plan = prepare_source(source, &desc);
	check_columns(desc);
	pairs->negatives = desc->natts == 3;
	pairs->texts = new_file(pairs);
	row_context = AllocSetContextCreate(CurrentMemoryContext, "deepsearch source row",
										ALLOCSET_DEFAULT_SIZES);
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	for (;;)
	{
		SPITupleTable *table;
		uint64 count;

		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		table = SPI_tuptable;
		count = SPI_processed;
		if (count == 0)
			break;
		for (uint64 i = 0; i < count; i++)
		{
			MemoryContext caller = MemoryContextSwitchTo(row_context);

			CHECK_FOR_INTERRUPTS();
			pairs->rows++;
			if (!read_row(pairs, learners, table->vals[i], table->tupdesc))
				pairs->skipped++;
			MemoryContextSwitchTo(caller);
			MemoryContextReset(row_context);
		}
		SPI_freetuptable(table);
	}
	SPI_cursor_close(portal);
	SPI_freeplan(plan);
	MemoryContextDelete(row_context);
	PopActiveSnapshot();
	ds_read_only_end(before);
}

/* ---- from texts to ids ---- */

static void *
grown(MemoryContext context, void *memory, size_t *allocated, size_t needed, size_t size)
{
	size_t count = Max(*allocated * 2, needed + 1024);

	if (needed <= *allocated)
		return memory;
	memory = memory == NULL ? MemoryContextAllocHuge(context, count * size)
							: repalloc_huge(memory, count * size);
	*allocated = count;
	return memory;
}

static void
keep_record(DsPairs *pairs, const uint32 *record, size_t numbers)
{
	size_t limit = (size_t) maintenance_work_mem * 1024 / sizeof(uint32);

	if (pairs->count == PG_UINT32_MAX - 1)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("the training source gives too many rows")));
	pairs->places = grown(pairs->context, pairs->places, &pairs->places_allocated,
						  (size_t) pairs->count + 2, sizeof(uint64));
	pairs->places[pairs->count] = pairs->used;
	if (pairs->file == NULL && pairs->used + numbers > limit)
	{
		pairs->file = new_file(pairs);
		put(pairs->file, pairs->memory, sizeof(uint32) * (size_t) pairs->used);
		if (pairs->memory != NULL)
			pfree(pairs->memory);
		pairs->memory = NULL;
	}
	if (pairs->file != NULL)
		put(pairs->file, record, sizeof(uint32) * numbers);
	else
	{
		pairs->memory = grown(pairs->context, pairs->memory, &pairs->memory_allocated,
							  (size_t) pairs->used + numbers, sizeof(uint32));
		memcpy(pairs->memory + pairs->used, record, sizeof(uint32) * numbers);
	}
	pairs->used += numbers;
	pairs->count++;
	pairs->places[pairs->count] = pairs->used;
}

static char *
get_text(BufFile *file, StringInfo buffer)
{
	uint32 length;

	get(file, &length, sizeof(length));
	resetStringInfo(buffer);
	enlargeStringInfo(buffer, (int) length);
	get(file, buffer->data, length);
	buffer->len = (int) length;
	return buffer->data;
}

/* Tokenize the next text of the file, appending ids to record; returns how many. */
static uint32
next_text(DsPairs *pairs, StringInfo buffer, const DsTokenizer *tokenizer, DsTokenScratch *scratch,
		  uint32 **record, size_t *allocated, size_t *numbers, int key)
{
	char *text = get_text(pairs->texts, buffer);
	size_t count = ds_tokenizer_encode(tokenizer, scratch, text, (size_t) buffer->len);
	uint64 hash =
		hash_bytes_extended((unsigned char *) scratch->clean, (int) scratch->clean_length, 0);

	*record = grown(CurrentMemoryContext, *record, allocated, *numbers + count, sizeof(uint32));
	memcpy(*record + *numbers, scratch->ids, sizeof(uint32) * count);
	*numbers += count;
	(*record)[3 + 2 * key] = (uint32) hash;
	(*record)[4 + 2 * key] = (uint32) (hash >> 32);
	return (uint32) count;
}

void
ds_pairs_tokenize(DsPairs *pairs, const DsTokenizer *query, DsTokenScratch *query_scratch,
				  const DsTokenizer *document, DsTokenScratch *document_scratch)
{
	int64 left = pairs->rows - pairs->skipped;
	StringInfoData buffer;
	uint32 *record = NULL;
	size_t allocated = 0;

	initStringInfo(&buffer);
	record = grown(CurrentMemoryContext, record, &allocated, RECORD_HEADER, sizeof(uint32));
	if (BufFileSeek(pairs->texts, 0, 0, SEEK_SET) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not rewind temporary file: %m")));
	for (; left > 0; left--)
	{
		size_t numbers = RECORD_HEADER;
		uint32 count[3];
		uint8 negative;

		CHECK_FOR_INTERRUPTS();
		count[0] =
			next_text(pairs, &buffer, query, query_scratch, &record, &allocated, &numbers, 0);
		count[1] =
			next_text(pairs, &buffer, document, document_scratch, &record, &allocated, &numbers, 1);
		count[2] = 0;
		record[7] = record[8] = 0;
		get(pairs->texts, &negative, 1);
		if (negative)
			count[2] = next_text(pairs, &buffer, document, document_scratch, &record, &allocated,
								 &numbers, 2);
		if (count[2] == 0)
			count[2] = NO_NEGATIVE;
		if (count[0] == 0 || count[1] == 0)
		{
			pairs->skipped++;
			continue;
		}
		memcpy(record, count, sizeof(count));
		keep_record(pairs, record, numbers);
	}
	BufFileClose(pairs->texts);
	pairs->texts = NULL;
	pfree(record);
	pfree(buffer.data);
}

/* ---- batches ---- */

DsBatchBuffers *
ds_batch_create(size_t batch_size)
{
	DsBatchBuffers *buffers = palloc0(sizeof(DsBatchBuffers));

	for (int side = 0; side < 2; side++)
	{
		/* as many negatives as positives, at most */
		size_t texts = side == DS_SIDE_DOCUMENT ? 2 * batch_size : batch_size;

		buffers->offsets[side] = palloc(sizeof(size_t) * (texts + 1));
		buffers->keys[side] = palloc(sizeof(uint64_t) * texts);
	}
	buffers->negative_offsets = palloc(sizeof(size_t) * (batch_size + 1));
	buffers->negative_keys = palloc(sizeof(uint64_t) * batch_size);
	return buffers;
}

/* The record of a pair: in place, or read into the buffer */
static const uint32 *
find_record(DsBatchBuffers *buffers, DsPairs *pairs, uint32 pair)
{
	uint64 begin = pairs->places[pair];
	size_t numbers = (size_t) (pairs->places[pair + 1] - begin);

	if (pairs->memory != NULL)
		return pairs->memory + begin;
	buffers->record = grown(CurrentMemoryContext, buffers->record, &buffers->record_allocated,
							numbers, sizeof(uint32));
	if (BufFileSeek(pairs->file, 0, (off_t) (begin * sizeof(uint32)), SEEK_SET) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not seek in temporary file: %m")));
	get(pairs->file, buffers->record, sizeof(uint32) * numbers);
	return buffers->record;
}

static uint64
record_key(const uint32 *record, int text)
{
	return (uint64) record[4 + 2 * text] << 32 | record[3 + 2 * text];
}

const DsTrainBatch *
ds_batch_fill(DsBatchBuffers *buffers, DsPairs *pairs, const uint32_t *order, size_t n)
{
	DsTrainBatch *batch = &buffers->batch;
	size_t used[2] = {0, 0};
	size_t negatives = 0;
	size_t negative_used = 0;

	for (size_t i = 0; i < n; i++)
	{
		const uint32 *record = find_record(buffers, pairs, order[i]);
		const uint32 *ids = record + RECORD_HEADER;

		for (int side = 0; side < 2; side++)
		{
			buffers->ids[side] =
				grown(CurrentMemoryContext, buffers->ids[side], &buffers->ids_allocated[side],
					  used[side] + record[side], sizeof(uint32_t));
			memcpy(buffers->ids[side] + used[side], ids, sizeof(uint32_t) * record[side]);
			buffers->offsets[side][i] = used[side];
			buffers->keys[side][i] = record_key(record, side);
			used[side] += record[side];
			ids += record[side];
		}
		if (record[2] != NO_NEGATIVE)
		{
			buffers->negative_ids =
				grown(CurrentMemoryContext, buffers->negative_ids, &buffers->negative_allocated,
					  negative_used + record[2], sizeof(uint32_t));
			memcpy(buffers->negative_ids + negative_used, ids, sizeof(uint32_t) * record[2]);
			buffers->negative_offsets[negatives] = negative_used;
			buffers->negative_keys[negatives] = record_key(record, 2);
			negative_used += record[2];
			negatives++;
		}
	}
	/* explicit negatives stand behind the positives */
	buffers->ids[1] = grown(CurrentMemoryContext, buffers->ids[1], &buffers->ids_allocated[1],
							used[1] + negative_used, sizeof(uint32_t));
	if (negatives > 0)
		memcpy(buffers->ids[1] + used[1], buffers->negative_ids, sizeof(uint32_t) * negative_used);
	for (size_t i = 0; i < negatives; i++)
	{
		buffers->offsets[1][n + i] = used[1] + buffers->negative_offsets[i];
		buffers->keys[1][n + i] = buffers->negative_keys[i];
	}
	buffers->offsets[0][n] = used[0];
	buffers->offsets[1][n + negatives] = used[1] + negative_used;

	batch->pairs = n;
	batch->documents = n + negatives;
	batch->query.ids = buffers->ids[0];
	batch->query.offsets = buffers->offsets[0];
	batch->query.keys = buffers->keys[0];
	batch->document.ids = buffers->ids[1];
	batch->document.offsets = buffers->offsets[1];
	batch->document.keys = buffers->keys[1];
	return batch;
}
