/*
 * order.c
 *		Which pairs stand in which batch.
 *
 * Whether a pair fits is told by marks: the number of the batch in which a
 * query, a document, or a positive of a query was seen last.  So it costs a
 * few look-ups, and nothing has to be cleared.
 */
#include "train/order.h"

#include "base/random.h"
#include "miscadmin.h"

/*
 * The part of a batch that may wait: 1 / WAITING_PART.  Where most pairs stand
 * in each other's way, those that wait are the worst, and they meet in the
 * epoch's last batches; with four batches' worth the loss of these was twice the
 * others'.
 */
#define WAITING_PART 4

struct DsOrder
{
	const DsPairs *pairs;
	uint32 batch_size;
	uint32 least;
	DsDuplicates duplicates;
	uint64 seed;

	uint32 *order; /* [count] the epoch's permutation */
	uint32 position;
	uint32 *waiting; /* the oldest first */
	uint32 waiting_count;
	uint32 waiting_room;
	uint32 *batch;

	/* "together": pairs by their first document */
	uint32 *document_order; /* [documents_distinct] the epoch's permutation */
	uint64 *document_first; /* [documents_distinct + 1] */
	uint32 *document_pair; /* [count] */
	/* positives of each distinct query */
	uint64 *first; /* [queries_distinct + 1] */
	uint32 *positive;
	/* marks */
	uint32 number; /* of the batch */
	uint32 *query_seen; /* [queries_distinct] */
	uint32 *document_seen; /* [documents_distinct] */
	uint32 *positive_seen; /* [documents_distinct] as positive of a query in the batch */
	bool forced; /* the batch has pairs that do not fit */
	/* for ds_order_known(): columns that hold a document, counted from 1, in lists */
	uint32 *column_first; /* [documents_distinct] all 0 in between */
	uint32 *column_next;
	size_t column_room;
};

static bool
keeps_apart(DsDuplicates duplicates)
{
	return duplicates == DS_DUPLICATES_AVOID || duplicates == DS_DUPLICATES_NEVER;
}

static void *
allocate(size_t count, size_t size)
{
	return palloc_extended(Max(count * size, 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

static void
list_positives(DsOrder *order)
{
	const DsPairs *pairs = order->pairs;
	uint64 *next;

	order->first = allocate((size_t) pairs->queries_distinct + 1, sizeof(uint64));
	order->positive = allocate(pairs->count, sizeof(uint32));
	next = allocate((size_t) pairs->queries_distinct + 1, sizeof(uint64));
	for (uint32 i = 0; i < pairs->count; i++)
		order->first[pairs->query[i] + 1]++;
	for (uint32 q = 0; q < pairs->queries_distinct; q++)
	{
		order->first[q + 1] += order->first[q];
		next[q] = order->first[q];
	}
	for (uint32 i = 0; i < pairs->count; i++)
		order->positive[next[pairs->query[i]]++] = pairs->document[pairs->documents[i]];
	pfree(next);
}

static void
list_pairs(DsOrder *order)
{
	const DsPairs *pairs = order->pairs;
	uint64 *next;

	order->document_order = allocate(pairs->documents_distinct, sizeof(uint32));
	order->document_first = allocate((size_t) pairs->documents_distinct + 1, sizeof(uint64));
	order->document_pair = allocate(pairs->count, sizeof(uint32));
	next = allocate((size_t) pairs->documents_distinct + 1, sizeof(uint64));
	for (uint32 i = 0; i < pairs->count; i++)
		order->document_first[pairs->document[pairs->documents[i]] + 1]++;
	for (uint32 d = 0; d < pairs->documents_distinct; d++)
	{
		order->document_first[d + 1] += order->document_first[d];
		next[d] = order->document_first[d];
	}
	for (uint32 i = 0; i < pairs->count; i++)
		order->document_pair[next[pairs->document[pairs->documents[i]]]++] = i;
	pfree(next);
}

DsOrder *
ds_order_create(const DsPairs *pairs, uint32 batch_size, uint32 least, DsDuplicates duplicates,
				uint64 seed)
{
	DsOrder *order = palloc0(sizeof(DsOrder));

	order->pairs = pairs;
	order->batch_size = batch_size;
	order->least = least;
	order->duplicates = duplicates;
	order->seed = seed;
	order->order = allocate(pairs->count, sizeof(uint32));
	order->batch = allocate(batch_size, sizeof(uint32));
	order->position = pairs->count;
	order->column_first = allocate(pairs->documents_distinct, sizeof(uint32));
	list_positives(order);
	if (duplicates == DS_DUPLICATES_TOGETHER)
		list_pairs(order);
	if (!keeps_apart(duplicates))
		return order;
	order->waiting_room = Max(batch_size / WAITING_PART, 1);
	order->waiting = allocate(order->waiting_room, sizeof(uint32));
	order->query_seen = allocate(pairs->queries_distinct, sizeof(uint32));
	order->document_seen = allocate(pairs->documents_distinct, sizeof(uint32));
	order->positive_seen = allocate(pairs->documents_distinct, sizeof(uint32));
	return order;
}

void
ds_order_begin(DsOrder *order, uint32 epoch)
{
	DsRandom random;

	/* steps use streams from 0 upwards */
	ds_random_init(&random, order->seed, UINT64_MAX - epoch);
	if (order->duplicates == DS_DUPLICATES_TOGETHER)
	{
		uint32 documents = order->pairs->documents_distinct;
		uint32 n = 0;

		ds_random_permutation(&random, order->document_order, documents);
		for (uint32 d = 0; d < documents; d++)
			for (uint64 i = order->document_first[order->document_order[d]];
				 i < order->document_first[order->document_order[d] + 1]; i++)
				order->order[n++] = order->document_pair[i];
	}
	else
		ds_random_permutation(&random, order->order, order->pairs->count);
	order->position = 0;
	order->waiting_count = 0;
}

/* Would this pair and those in the batch make no wrong negatives of each other? */
static bool
fits(const DsOrder *order, uint32 pair)
{
	const DsPairs *pairs = order->pairs;
	uint32 query = pairs->query[pair];
	uint64 begin = pairs->documents[pair];
	uint64 end = pairs->documents[pair + 1];

	if (order->query_seen[query] == order->number ||
		order->document_seen[pairs->document[begin]] == order->number)
		return false;
	for (uint64 d = begin; d < end; d++)
		if (order->positive_seen[pairs->document[d]] == order->number)
			return false;
	for (uint64 p = order->first[query]; p < order->first[query + 1]; p++)
		if (order->document_seen[order->positive[p]] == order->number)
			return false;
	return true;
}

static void
take(DsOrder *order, uint32 pair, uint32 *n)
{
	const DsPairs *pairs = order->pairs;
	uint32 query = pairs->query[pair];

	order->batch[(*n)++] = pair;
	if (!keeps_apart(order->duplicates))
		return;
	order->query_seen[query] = order->number;
	for (uint64 d = pairs->documents[pair]; d < pairs->documents[pair + 1]; d++)
		order->document_seen[pairs->document[d]] = order->number;
	for (uint64 p = order->first[query]; p < order->first[query + 1]; p++)
		order->positive_seen[order->positive[p]] = order->number;
}

/* Those that wait and fit now, the oldest first */
static void
take_waiting(DsOrder *order, uint32 *n)
{
	uint32 left = 0;

	for (uint32 i = 0; i < order->waiting_count; i++)
	{
		uint32 pair = order->waiting[i];

		if (*n < order->batch_size && fits(order, pair))
			take(order, pair, n);
		else
			order->waiting[left++] = pair;
	}
	order->waiting_count = left;
}

static void
take_oldest(DsOrder *order, uint32 *n)
{
	order->forced = true;
	take(order, order->waiting[0], n);
	order->waiting_count--;
	memmove(order->waiting, order->waiting + 1, sizeof(uint32) * order->waiting_count);
}

static uint32
fill(DsOrder *order)
{
	uint32 count = order->pairs->count;
	uint32 n = 0;

	order->number++;
	order->forced = !keeps_apart(order->duplicates);
	if (order->waiting_count > 0)
		take_waiting(order, &n);
	while (n < order->batch_size && order->position < count)
	{
		uint32 pair = order->order[order->position];

		if (!keeps_apart(order->duplicates) || fits(order, pair))
			take(order, pair, &n);
		else if (order->waiting_count < order->waiting_room)
			order->waiting[order->waiting_count++] = pair;
		else if (order->duplicates == DS_DUPLICATES_NEVER)
			break;
		else
		{
			take_oldest(order, &n);
			continue;
		}
		order->position++;
	}
	if (order->duplicates == DS_DUPLICATES_AVOID)
	{
		while (n < order->batch_size && order->waiting_count > 0)
			take_oldest(order, &n);
	}
	return n;
}

uint32
ds_order_next(DsOrder *order, const uint32 **numbers)
{
	*numbers = order->batch;
	for (;;)
	{
		uint32 n = fill(order);

		CHECK_FOR_INTERRUPTS();
		if (n == 0 || n >= order->least)
			return n;
	}
}

/* Lists of the columns that hold each document of the batch; returns their number. */
static uint32
list_columns(DsOrder *order, const uint32 *numbers, uint32 n)
{
	const DsPairs *pairs = order->pairs;
	size_t columns = 0;
	uint32 column = 0;

	for (uint32 i = 0; i < n; i++)
		columns += pairs->documents[numbers[i] + 1] - pairs->documents[numbers[i]];
	if (order->column_room < columns)
	{
		order->column_next =
			order->column_next == NULL
				? MemoryContextAllocHuge(GetMemoryChunkContext(order), sizeof(uint32) * columns)
				: repalloc_huge(order->column_next, sizeof(uint32) * columns);
		order->column_room = columns;
	}
	for (int part = 0; part < 2; part++)
		for (uint32 i = 0; i < n; i++)
		{
			uint64 begin = pairs->documents[numbers[i]];
			uint64 end = pairs->documents[numbers[i] + 1];

			for (uint64 d = part == 0 ? begin : begin + 1; d < (part == 0 ? begin + 1 : end); d++)
			{
				uint32 *first = &order->column_first[pairs->document[d]];

				order->column_next[column] = *first;
				*first = ++column;
			}
		}
	return column;
}

static void
clear_columns(DsOrder *order, const uint32 *numbers, uint32 n)
{
	const DsPairs *pairs = order->pairs;

	for (uint32 i = 0; i < n; i++)
		for (uint64 d = pairs->documents[numbers[i]]; d < pairs->documents[numbers[i] + 1]; d++)
			order->column_first[pairs->document[d]] = 0;
}

void
ds_order_known(DsOrder *order, const uint32 *numbers, uint32 n, size_t *offsets, uint32 *known,
			   size_t room)
{
	const DsPairs *pairs = order->pairs;
	size_t used = 0;
	uint32 others = n; /* the first of the pair's own */

	memset(offsets, 0, sizeof(size_t) * ((size_t) n + 1));
	if (!order->forced)
		return;
	(void) list_columns(order, numbers, n);
	for (uint32 i = 0; i < n; i++)
	{
		uint32 query = pairs->query[numbers[i]];
		uint64 begin = pairs->documents[numbers[i]];
		uint32 count = (uint32) (pairs->documents[numbers[i] + 1] - begin) - 1;

		for (uint64 p = order->first[query]; p < order->first[query + 1]; p++)
		{
			uint32 document = order->positive[p];

			/* what equals the pair's own document, and what stands with the same query, is known by its key */
			if (document == pairs->document[begin])
				continue;
			for (uint32 at = order->column_first[document]; at != 0;
				 at = order->column_next[at - 1])
			{
				uint32 column = at - 1;

				if (column < n ? pairs->query[numbers[column]] == query
							   : column >= others && column < others + count)
					continue;
				if (used < room)
					known[used++] = column;
			}
		}
		others += count;
		offsets[i + 1] = used;
	}
	clear_columns(order, numbers, n);
}

uint64
ds_order_count(DsOrder *order, uint32 epoch)
{
	const uint32 *numbers;
	uint64 batches = 0;

	ds_order_begin(order, epoch);
	while (ds_order_next(order, &numbers) > 0)
		batches++;
	return batches;
}
