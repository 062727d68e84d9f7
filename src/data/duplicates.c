/*
 * duplicates.c
 *		ds_duplicates(): rows of a query that are the same as others, or nearly.
 *
 * Rows are taken in the order in which the source gives them.  A row is
 * compared with the rows that were kept before it: when the most similar of
 * them is similar enough, the row is a duplicate of that one, else it is kept.
 * So deleting what is returned leaves no two rows that are similar enough, and
 * nothing goes that has no like among what stays.  (With pairs => true all
 * rows are kept, and each row is returned with each similar one before it.)
 *
 * Which of the kept rows to compare with, MinHash says (minhash.h): a table
 * from the bands to the kept rows, in memory, with the rows' shingles.  When
 * it has filled maintenance_work_mem, no more rows are kept for now: rows that
 * are no duplicates of those in the table go to a temporary file, and when all
 * rows have passed, the table is emptied and the file is the source of the
 * next pass.  A row is still compared with all kept rows before it, since those
 * of earlier passes come before those of later ones, so the result does not
 * depend on the memory, and neither on the number of passes.
 */
#include "server.h"

#include "miscadmin.h"
#include "storage/buffile.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "data/minhash.h"
#include "data/source.h"
#include "model/config.h"
#include "text/clean.h"

/* A row as it is compared */
typedef struct Row
{
	const char *id;
	DsTextKey key;
	uint32 count;
	const uint64 *shingle;
	const uint32 *band;
} Row;

/* A kept row in the table */
typedef struct KeptRow
{
	const char *id;
	DsTextKey key;
	const uint64 *shingle;
	uint32 count;
	uint32 seen; /* number of the row that was compared with it last */
} KeptRow;

/* One band of a kept row; row = place / number of bands */
typedef struct Entry
{
	uint32 band;
	uint32 next; /* of the same list: place + 1, 0 ends it */
} Entry;

typedef struct Table
{
	MemoryContext context;
	KeptRow *rows;
	Entry *entries;
	uint32 count;
	uint32 capacity;
	uint32 *lists; /* by the low bits of a band: place + 1 */
	uint32 mask;
	uint32 number; /* of the row that is compared now */
	bool full;
} Table;

typedef struct Duplicates
{
	double threshold;
	DsShingleKind kind;
	uint32 size;
	bool pairs;
	DsCleanOptions clean;
	DsMinHash hash;
	Size memory;
	Table table;
	BufFile *later; /* the next pass's rows */
	uint64 waiting; /* their number */
	uint64 left_out;
	Tuplestorestate *store;
	TupleDesc desc;
	MemoryContext context; /* of the whole call */
} Duplicates;

/* ---- the table ---- */

static void
table_begin(Duplicates *d)
{
	Table *table = &d->table;

	if (table->context != NULL)
		MemoryContextDelete(table->context);
	memset(table, 0, sizeof(*table));
	table->context = AllocSetContextCreate(d->context, "ds_duplicates", ALLOCSET_DEFAULT_SIZES);
	table->capacity = 1024;
	table->rows = MemoryContextAlloc(table->context, sizeof(KeptRow) * table->capacity);
	table->entries = MemoryContextAllocHuge(table->context, sizeof(Entry) * table->capacity *
																d->hash.banding.bands);
	table->mask = 1023;
	table->lists = MemoryContextAllocZero(table->context, sizeof(uint32) * (table->mask + 1));
}

static void
link_entry(Table *table, uint32 place)
{
	uint32 *list = &table->lists[table->entries[place].band & table->mask];

	table->entries[place].next = *list;
	*list = place + 1;
}

/* Room for one more row: false when that would take more memory than there is. */
static bool
table_grow(Duplicates *d, Size row_size)
{
	Table *table = &d->table;
	uint32 bands = d->hash.banding.bands;
	Size used = MemoryContextMemAllocated(table->context, true);
	Size more = row_size;
	uint32 n;

	if (table->count == table->capacity)
		more += table->capacity * (sizeof(KeptRow) + (Size) bands * sizeof(Entry)) +
				sizeof(uint32) * ((Size) table->mask + 1) * 2;
	/* one row must fit, whatever its length */
	if (table->count > 0 && used + more > d->memory)
		return false;
	if (table->count < table->capacity)
		return true;
	/* places are 32-bit numbers */
	if ((uint64) table->capacity * 2 * bands > PG_UINT32_MAX / 2)
		return false;
	table->capacity *= 2;
	table->rows = repalloc_huge(table->rows, sizeof(KeptRow) * table->capacity);
	table->entries = repalloc_huge(table->entries, sizeof(Entry) * (Size) table->capacity * bands);
	pfree(table->lists);
	n = table->mask + 1;
	while (n < (uint64) table->capacity * bands / 2)
		n *= 2;
	table->mask = n - 1;
	table->lists = MemoryContextAllocExtended(table->context, sizeof(uint32) * (Size) n,
											  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 place = 0; place < table->count * bands; place++)
		link_entry(table, place);
	return true;
}

static bool
table_add(Duplicates *d, const Row *row)
{
	Table *table = &d->table;
	uint32 bands = d->hash.banding.bands;
	Size shingles = sizeof(uint64) * row->count;
	KeptRow *kept;
	uint64 *copy;

	if (table->full || !table_grow(d, shingles + strlen(row->id) + 64))
		return false;
	kept = &table->rows[table->count];
	copy = MemoryContextAllocHuge(table->context, shingles);
	memcpy(copy, row->shingle, shingles);
	*kept = (KeptRow){.id = MemoryContextStrdup(table->context, row->id),
					  .key = row->key,
					  .shingle = copy,
					  .count = row->count};
	for (uint32 i = 0; i < bands; i++)
	{
		uint32 place = table->count * bands + i;

		table->entries[place].band = row->band[i];
		link_entry(table, place);
	}
	table->count++;
	return true;
}

/* ---- rows ---- */

static void
put_result(Duplicates *d, const Row *row, const KeptRow *kept, double similarity)
{
	Datum values[4];
	bool nulls[4] = {false};

	values[0] = CStringGetTextDatum(row->id);
	values[1] = CStringGetTextDatum(kept->id);
	values[2] = Float8GetDatum(similarity);
	values[3] = BoolGetDatum(row->key.word[0] == kept->key.word[0] &&
							 row->key.word[1] == kept->key.word[1]);
	tuplestore_putvalues(d->store, d->desc, values, nulls);
}

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

static void
postpone(Duplicates *d, const Row *row)
{
	uint32 length = (uint32) strlen(row->id);

	if (d->later == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(d->context);

		d->later = BufFileCreateTemp(false);
		MemoryContextSwitchTo(caller);
	}
	put(d->later, &length, sizeof(length));
	put(d->later, row->id, length);
	put(d->later, &row->key, sizeof(row->key));
	put(d->later, &row->count, sizeof(row->count));
	put(d->later, row->shingle, sizeof(uint64) * row->count);
	put(d->later, row->band, sizeof(uint32) * d->hash.banding.bands);
	d->waiting++;
}

static void
read_postponed(Duplicates *d, BufFile *file, Row *row)
{
	uint32 length;
	char *id;
	uint64 *shingle;
	uint32 *band = palloc(sizeof(uint32) * d->hash.banding.bands);

	get(file, &length, sizeof(length));
	id = palloc((Size) length + 1);
	get(file, id, length);
	id[length] = 0;
	get(file, &row->key, sizeof(row->key));
	get(file, &row->count, sizeof(row->count));
	shingle = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint64) * row->count);
	get(file, shingle, sizeof(uint64) * row->count);
	get(file, band, sizeof(uint32) * d->hash.banding.bands);
	row->id = id;
	row->shingle = shingle;
	row->band = band;
}

/* Compare a row with the table's, and put it where it belongs. */
static void
compare_row(Duplicates *d, const Row *row)
{
	Table *table = &d->table;
	uint32 bands = d->hash.banding.bands;
	uint32 number;
	uint32 best = PG_UINT32_MAX;
	double best_similarity = 0;
	uint64 looked_at = 0;

	if (++table->number == 0)
	{
		/* the numbers are used up: begin again */
		for (uint32 i = 0; i < table->count; i++)
			table->rows[i].seen = 0;
		table->number = 1;
	}
	number = table->number;
	for (uint32 i = 0; i < bands; i++)
	{
		for (uint32 place = table->lists[row->band[i] & table->mask]; place != 0;
			 place = table->entries[place - 1].next)
		{
			KeptRow *kept = &table->rows[(place - 1) / bands];
			double similarity;

			if (++looked_at % 1024 == 0)
				CHECK_FOR_INTERRUPTS();
			if (table->entries[place - 1].band != row->band[i] || kept->seen == number)
				continue;
			kept->seen = number;
			/* sets of very different sizes need not be looked at */
			if ((double) Min(kept->count, row->count) <
				d->threshold * (double) Max(kept->count, row->count))
				continue;
			similarity = ds_jaccard(row->shingle, row->count, kept->shingle, kept->count);
			if (similarity < d->threshold)
				continue;
			if (d->pairs)
				put_result(d, row, kept, similarity);
			/* of several that are equally similar the first row */
			else if (similarity > best_similarity ||
					 (similarity == best_similarity && (place - 1) / bands < best))
			{
				best = (place - 1) / bands;
				best_similarity = similarity;
			}
		}
	}
	if (best != PG_UINT32_MAX)
		put_result(d, row, &table->rows[best], best_similarity);
	else if (!table_add(d, row))
	{
		/* those that come behind it may not be kept before it */
		table->full = true;
		postpone(d, row);
	}
}

static void
add_row(void *context, char **column, int columns)
{
	Duplicates *d = context;
	DsText text;
	char *clean;
	size_t bound;
	size_t length;
	uint64 *shingle;
	uint32 *band;
	Row row;

	(void) columns;
	if (column[0] == NULL || column[1] == NULL)
	{
		d->left_out++;
		return;
	}
	text = ds_text_utf8(column[1], strlen(column[1]));
	bound = ds_clean_bound(text.length);
	clean = MemoryContextAllocHuge(CurrentMemoryContext, Max(bound, 1));
	length = ds_clean_long(&d->clean, text.data, text.length, clean, bound, &ds_server_cancel);
	CHECK_FOR_INTERRUPTS();
	shingle = MemoryContextAllocHuge(CurrentMemoryContext,
									 sizeof(uint64) * Max(ds_shingles_bound(length), 1));
	row.count = (uint32) ds_shingles(d->kind, d->size, clean, length, shingle);
	if (row.count == 0)
	{
		d->left_out++;
		return;
	}
	band = palloc(sizeof(uint32) * d->hash.banding.bands);
	ds_minhash_bands(&d->hash, shingle, row.count, band);
	row.id = column[0];
	row.key = ds_text_key(clean, length);
	row.shingle = shingle;
	row.band = band;
	compare_row(d, &row);
}

/* The rows that the last pass has put off */
static void
next_pass(Duplicates *d)
{
	BufFile *file = d->later;
	uint64 rows = d->waiting;
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "ds_duplicates row", ALLOCSET_DEFAULT_SIZES);

	d->later = NULL;
	d->waiting = 0;
	table_begin(d);
	if (BufFileSeek(file, 0, 0, SEEK_SET) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not rewind temporary file: %m")));
	for (uint64 i = 0; i < rows; i++)
	{
		MemoryContext caller = MemoryContextSwitchTo(scratch);
		Row row;

		CHECK_FOR_INTERRUPTS();
		read_postponed(d, file, &row);
		compare_row(d, &row);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(scratch);
	}
	BufFileClose(file);
	MemoryContextDelete(scratch);
}

static void
shingle_arguments(FunctionCallInfo fcinfo, Duplicates *d)
{
	char *kind = ds_text_argument(fcinfo, 2, "shingles");
	int size;

	if (strcmp(kind, "characters") == 0)
		d->kind = DS_SHINGLE_CHARACTERS;
	else if (strcmp(kind, "words") == 0)
		d->kind = DS_SHINGLE_WORDS;
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown shingles \"%s\"", kind),
				 errhint("\"characters\" or \"words\".")));
	size = d->kind == DS_SHINGLE_WORDS ? 1 : 3;
	if (!PG_ARGISNULL(3))
		size = PG_GETARG_INT32(3);
	if (size < 1 || size > 100)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the size of shingles must be between 1 and 100, not %d", size)));
	d->size = (uint32) size;
}

DS_FUNCTION(ds_duplicates);
Datum
ds_duplicates(PG_FUNCTION_ARGS)
{
	Duplicates d = {0};
	char *source = ds_text_argument(fcinfo, 0, "source_sql");
	DsBanding banding;
	DsStatus status;
	bool before;

	ds_refuse_null(fcinfo, 1, "threshold");
	ds_refuse_null(fcinfo, 4, "pairs");
	ds_refuse_null(fcinfo, 5, "cleaning");
	ds_refuse_null(fcinfo, 6, "recall");
	ds_refuse_null(fcinfo, 7, "seed");
	d.threshold = PG_GETARG_FLOAT8(1);
	shingle_arguments(fcinfo, &d);
	d.pairs = PG_GETARG_BOOL(4);
	ds_clean_options_read(PG_GETARG_JSONB_P(5), &d.clean);
	ds_check(ds_banding_choose(d.threshold, PG_GETARG_FLOAT8(6), &banding, &status), &status);
	ds_minhash_init(&d.hash, banding, (uint64) PG_GETARG_INT64(7));
	d.memory = (Size) maintenance_work_mem * 1024;
	d.store = ds_materialize(fcinfo, &d.desc);

	before = ds_read_only_begin();
	SPI_connect();
	d.context = CurrentMemoryContext;
	table_begin(&d);
	ds_source_read("source_sql of ds_duplicates", source, 2, 2, "(id, text)", add_row, &d);
	if (d.left_out > 0)
		ereport(NOTICE,
				(errmsg("ds_duplicates left out " UINT64_FORMAT " rows without an id or a text",
						d.left_out)));
	while (d.later != NULL)
		next_pass(&d);
	SPI_finish();
	ds_read_only_end(before);
	return (Datum) 0;
}
