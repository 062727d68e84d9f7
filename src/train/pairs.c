/*
 * pairs.c
 *		Training data: the rows of the source, as token ids.
 *
 * A record, in 32-bit numbers: how many documents and labels it has, its
 * weight, how many pictures (none, or one for each text; keys are aligned); then for the
 * query and each document its key in two numbers; for each of them how many ids it has; the
 * labels; the pictures; the ids.  Padded to an even number.
 */
#include "train/pairs.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#define HEADER 4
#define CLASSES_MAX 1000

typedef struct KeyEntry
{
	uint64 key;
	uint32 number;
	char status;
} KeyEntry;

#define SH_PREFIX keys
#define SH_ELEMENT_TYPE KeyEntry
#define SH_KEY_TYPE uint64
#define SH_KEY key
/* keys are hashes already */
#define SH_HASH_KEY(table, key) ((uint32) (key))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static void
close_file(void *argument)
{
	DsPairs *pairs = argument;

	if (pairs->file != NULL)
		BufFileClose(pairs->file);
	pairs->file = NULL;
}

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

#define GROW(array, needed)                                                                \
	(pairs->array = grown(pairs->context, pairs->array, &pairs->array##_allocated, needed, \
						  sizeof(*pairs->array)))

static uint32
number_of(keys_hash *table, uint64 key, uint32 *distinct)
{
	bool found;
	KeyEntry *entry = keys_insert(table, key, &found);

	if (!found)
		entry->number = (*distinct)++;
	return entry->number;
}

static void
keep_record(DsPairs *pairs, const uint32 *record, size_t numbers)
{
	size_t limit = (size_t) maintenance_work_mem * 1024 / sizeof(uint32);

	GROW(places, (size_t) pairs->count + 2);
	pairs->places[pairs->count] = pairs->used;
	if (pairs->file == NULL && pairs->used + numbers > limit)
	{
		MemoryContext caller = MemoryContextSwitchTo(pairs->context);

		pairs->file = BufFileCreateTemp(true);
		MemoryContextSwitchTo(caller);
		if (pairs->memory != NULL)
		{
			BufFileWrite(pairs->file, pairs->memory, sizeof(uint32) * (size_t) pairs->used);
			pfree(pairs->memory);
		}
		pairs->memory = NULL;
	}
	if (pairs->file != NULL)
		BufFileWrite(pairs->file, unconstify(uint32 *, record), sizeof(uint32) * numbers);
	else
	{
		GROW(memory, (size_t) pairs->used + numbers);
		memcpy(pairs->memory + pairs->used, record, sizeof(uint32) * numbers);
	}
	pairs->digest =
		hash_combine64(pairs->digest, hash_bytes_extended((const unsigned char *) record,
														  (int) (sizeof(uint32) * numbers), 0));
	pairs->used += numbers;
	pairs->count++;
	pairs->places[pairs->count] = pairs->used;
}

/* One row as a record; documents without any token are left out (and their labels). */
static void
add_row(DsPairs *pairs, const DsSpoolRow *row, const DsTextReader *reader, keys_hash *queries,
		keys_hash *documents)
{
	uint32 *record;
	uint32 documents_left = 0;
	uint64 *keys = palloc(sizeof(uint64) * (row->documents + 1));
	uint32 *counts = palloc(sizeof(uint32) * (row->documents + 1));
	float *labels = palloc(sizeof(float) * (row->documents + 1));
	uint32 *pictures = palloc(sizeof(uint32) * (row->documents + 1));
	bool any = pairs->pictures[0] != NULL || pairs->pictures[1] != NULL;
	uint32 *ids = NULL;
	size_t allocated = 0;
	size_t used = 0;
	size_t numbers;
	uint64 tokens = 0;

	for (uint32 i = 0; i <= row->documents; i++)
	{
		DsTokens text = {NULL, 0, 0, DS_NO_PICTURE};
		uint32 at = i == 0 ? 0 : documents_left + 1;

		reader->read(reader->context, row, i, &text);
		if (text.count == 0 && text.picture == DS_NO_PICTURE && !(i == 0 && reader->joint))
		{
			/* without a query or a positive there is nothing to learn */
			if (i < 2)
			{
				pairs->skipped++;
				return;
			}
			continue;
		}
		ids = grown(CurrentMemoryContext, ids, &allocated, used + text.count, sizeof(uint32));
		if (text.count > 0)
			memcpy(ids + used, text.ids, sizeof(uint32) * text.count);
		used += text.count;
		keys[at] = text.key;
		counts[at] = (uint32) text.count;
		pictures[at] = text.picture;
		if (i > 0)
		{
			if (row->labels > 0)
				labels[documents_left] = row->label[i - 1];
			documents_left++;
		}
		tokens += text.count;
	}
	if (pairs->count == PG_UINT32_MAX - 1)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("the training source gives too many rows")));
	numbers = HEADER + 3 * ((size_t) documents_left + 1) + (row->labels > 0 ? documents_left : 0) +
			  (any ? documents_left + 1 : 0) + used;
	numbers += numbers % 2;
	record = palloc_extended(sizeof(uint32) * numbers, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	{
		uint32 *at = record + HEADER;

		record[0] = documents_left;
		record[1] = row->labels > 0 ? documents_left : 0;
		memcpy(&record[2], &row->weight, sizeof(float));
		record[3] = any ? documents_left + 1 : 0;
		memcpy(at, keys, sizeof(uint64) * (documents_left + 1));
		at += 2 * (documents_left + 1);
		memcpy(at, counts, sizeof(uint32) * (documents_left + 1));
		at += documents_left + 1;
		memcpy(at, labels, sizeof(float) * record[1]);
		at += record[1];
		memcpy(at, pictures, sizeof(uint32) * record[3]);
		at += record[3];
		if (used > 0)
			memcpy(at, ids, sizeof(uint32) * used);
	}

	GROW(rows, (size_t) pairs->count + 1);
	pairs->rows[pairs->count] = row->number;
	GROW(query, (size_t) pairs->count + 1);
	pairs->query[pairs->count] = number_of(queries, keys[0], &pairs->queries_distinct);
	GROW(documents, (size_t) pairs->count + 2);
	pairs->documents[pairs->count] = pairs->document_count;
	GROW(document, (size_t) pairs->document_count + documents_left);
	for (uint32 i = 0; i < documents_left; i++)
		pairs->document[pairs->document_count++] =
			number_of(documents, keys[i + 1], &pairs->documents_distinct);
	pairs->documents[pairs->count + 1] = pairs->document_count;
	pairs->documents_max = Max(pairs->documents_max, documents_left);
	pairs->tokens_max = Max(pairs->tokens_max, tokens);
	keep_record(pairs, record, numbers);
}

DsPairs *
ds_pairs_create(DsSpool *source, const DsTextReader *reader)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "deepsearch training pairs",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext row_context = AllocSetContextCreate(
		CurrentMemoryContext, "deepsearch training pair", ALLOCSET_DEFAULT_SIZES);
	DsPairs *pairs = MemoryContextAllocZero(context, sizeof(DsPairs));
	MemoryContextCallback *callback = MemoryContextAlloc(context, sizeof(MemoryContextCallback));
	keys_hash *queries = keys_create(context, 1024, NULL);
	keys_hash *documents = keys_create(context, 1024, NULL);
	const DsSpoolRow *row;

	pairs->context = context;
	pairs->labels = source->labels;
	pairs->weights = source->weights;
	pairs->features = source->kind[0] == DS_SPOOL_FEATURES;
	pairs->pictures[0] = source->pictures[0];
	pairs->pictures[1] = source->pictures[1];
	callback->func = close_file;
	callback->arg = pairs;
	MemoryContextRegisterResetCallback(context, callback);
	ds_spool_rewind(source);
	while ((row = ds_spool_next(source)) != NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(row_context);

		CHECK_FOR_INTERRUPTS();
		add_row(pairs, row, reader, queries, documents);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(row_context);
	}
	MemoryContextDelete(row_context);
	keys_destroy(queries);
	keys_destroy(documents);
	return pairs;
}

static const uint32 *
find_record(DsPairs *pairs, uint32 number)
{
	uint64 begin = pairs->places[number];
	size_t numbers = (size_t) (pairs->places[number + 1] - begin);

	if (pairs->memory != NULL)
		return pairs->memory + begin;
	GROW(record, numbers);
	{
		uint64 place = begin * sizeof(uint32);
		size_t size = sizeof(uint32) * numbers;

		/* files of a temporary file have 1 GB each */
		if (BufFileSeek(pairs->file, (int) (place / ((uint64) 1 << 30)),
						(off_t) (place % ((uint64) 1 << 30)), SEEK_SET) != 0)
			ereport(ERROR,
					(errcode_for_file_access(), errmsg("could not seek in temporary file: %m")));
		if (BufFileRead(pairs->file, pairs->record, size) != size)
			ereport(ERROR,
					(errcode_for_file_access(), errmsg("could not read from temporary file: %m")));
	}
	return pairs->record;
}

static int
find_class(const DsPairs *pairs, float label)
{
	int low = 0;
	int high = pairs->classes;

	while (low < high)
	{
		int middle = (low + high) / 2;

		if (pairs->class_label[middle] < label)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void
ds_pairs_get(DsPairs *pairs, uint32 number, DsPair *pair)
{
	const uint32 *record = find_record(pairs, number);
	const uint32 *at = record + HEADER;

	pair->documents = record[0];
	pair->labels = record[1];
	memcpy(&pair->weight, &record[2], sizeof(float));
	pair->keys = (const uint64 *) at;
	at += 2 * (pair->documents + 1);
	pair->counts = at;
	at += pair->documents + 1;
	pair->label = (const float *) at;
	at += pair->labels;
	pair->pictures = record[3] > 0 ? at : NULL;
	at += record[3];
	pair->ids = at;
	if (pairs->balanced)
		pair->weight *= (float) pairs->class_weight[find_class(pairs, pair->label[0])];
}

void
ds_pairs_balance(DsPairs *pairs)
{
	double *sums;
	double sum = 0;

	if (!pairs->labels)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"balance\" needs labels"),
						errhint("The training source gives them in a column named label.")));
	pairs->class_label = MemoryContextAlloc(pairs->context, sizeof(float) * CLASSES_MAX);
	sums = MemoryContextAllocZero(pairs->context, sizeof(double) * CLASSES_MAX);
	for (uint32 i = 0; i < pairs->count; i++)
	{
		DsPair pair;
		int place;

		CHECK_FOR_INTERRUPTS();
		ds_pairs_get(pairs, i, &pair);
		place = find_class(pairs, pair.label[0]);
		if (place == pairs->classes || pairs->class_label[place] != pair.label[0])
		{
			if (pairs->classes == CLASSES_MAX)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("there are more than %d distinct labels to balance", CLASSES_MAX)));
			memmove(pairs->class_label + place + 1, pairs->class_label + place,
					sizeof(float) * (size_t) (pairs->classes - place));
			memmove(sums + place + 1, sums + place,
					sizeof(double) * (size_t) (pairs->classes - place));
			pairs->class_label[place] = pair.label[0];
			sums[place] = 0;
			pairs->classes++;
		}
		sums[place] += pair.weight;
		sum += pair.weight;
	}
	/* the mean weight stays what it was */
	for (int c = 0; c < pairs->classes; c++)
		sums[c] = sums[c] > 0 ? sum / (pairs->classes * sums[c]) : 0;
	pairs->class_weight = sums;
	pairs->balanced = true;
}

/* Entries of a batch's lists of known answers, 256 MB: no batch of 8,192 pairs needs more */
#define KNOWN_MAX ((size_t) 1 << 26)

static int
descending(const void *a, const void *b)
{
	uint32 x = *(const uint32 *) a;
	uint32 y = *(const uint32 *) b;

	return (x < y) - (x > y);
}

/*
 * The sum over the n pairs whose queries have the most other pairs: each of these
 * may be right for a document of the batch.  More than KNOWN_MAX are not told.
 */
static size_t
bound_known(const DsPairs *pairs, size_t n, size_t documents)
{
	uint32 *rows = palloc_extended(sizeof(uint32) * Max(pairs->queries_distinct, 1),
								   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	size_t known = 0;

	for (uint32 i = 0; i < pairs->count; i++)
		rows[pairs->query[i]]++;
	qsort(rows, pairs->queries_distinct, sizeof(uint32), descending);
	for (uint32 q = 0; q < pairs->queries_distinct && n > 0 && rows[q] > 1; q++)
	{
		size_t taken = Min(n, rows[q]);

		/* a document may stand in the batch several times, and once in the list of a query's pairs */
		known += taken * documents;
		n -= taken;
		if (known > KNOWN_MAX)
			break;
	}
	pfree(rows);
	return Min(known, KNOWN_MAX);
}

DsPairsBounds
ds_pairs_bounds(const DsPairs *pairs, size_t n)
{
	DsPairsBounds bounds = {0};
	/* how many pairs have so many documents; how many records are so long, in steps of 16 numbers */
	uint32 *documents = palloc0(sizeof(uint32) * ((size_t) pairs->documents_max + 1));
	uint64 longest = 0;
	uint64 *lengths;
	size_t left;

	for (uint32 i = 0; i < pairs->count; i++)
		longest = Max(longest, pairs->places[i + 1] - pairs->places[i]);
	lengths = palloc_extended(sizeof(uint64) * (size_t) (longest / 16 + 1),
							  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 i = 0; i < pairs->count; i++)
	{
		documents[pairs->documents[i + 1] - pairs->documents[i]]++;
		lengths[(pairs->places[i + 1] - pairs->places[i]) / 16]++;
	}
	left = n;
	for (size_t d = pairs->documents_max; d > 0 && left > 0; d--)
	{
		size_t taken = Min(left, documents[d]);

		bounds.documents += taken * d;
		left -= taken;
	}
	left = n;
	for (uint64 l = longest / 16 + 1; l-- > 0 && left > 0;)
	{
		size_t taken = Min(left, lengths[l]);

		bounds.tokens += taken * (size_t) Min(l * 16 + 15, longest);
		left -= taken;
	}
	bounds.longest = (size_t) pairs->tokens_max;
	for (int s = 0; s < 2; s++)
		if (pairs->pictures[s] != NULL)
		{
			bounds.pictures[s] =
				Min(s == 0 ? n : bounds.documents, ds_pictures_count(pairs->pictures[s]));
			bounds.pixels[s] = ds_pictures_size(pairs->pictures[s]);
		}
	bounds.known = bound_known(pairs, n, bounds.documents);
	pfree(documents);
	pfree(lengths);
	return bounds;
}
