/*
 * recall.c
 *		ds_index_recall(): what searches find of what is there.
 *
 * Rows of the table, drawn at random, are the queries; a row does not count as
 * its own neighbour.  The truth comes from one pass over the table with the
 * operator itself.  The index is asked as the executor asks it, heap rows,
 * exact distances and reordering included (IndexNextWithReorder()).  A row that
 * the index returns counts when its distance is no larger than the true k-th:
 * of rows at the same distance any will do.
 */
#include "index/scan.h"
#include "index/life.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/relscan.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "vector/embedding.h"

#define MAX_K 10000
#define MAX_SAMPLES 100000

typedef struct Recall
{
	FmgrInfo distance;
	uint32 k;
	uint32 queries;
	Datum *query; /* embeddings */
	ItemPointerData *tid;
	double *nearest; /* [queries, k]: heaps, the farthest on top */
	uint32 *found; /* [queries] */
	MemoryContext row_context;
} Recall;

/* Put a distance among the k least of a heap of count, with the largest on top. */
static void
keep(double *heap, uint32 *count, uint32 k, double distance)
{
	uint32 hole;

	if (*count < k)
	{
		hole = (*count)++;
		while (hole > 0 && heap[(hole - 1) / 2] < distance)
		{
			heap[hole] = heap[(hole - 1) / 2];
			hole = (hole - 1) / 2;
		}
	}
	else
	{
		uint32 child;

		if (!(distance < heap[0]))
			return;
		hole = 0;
		while ((child = 2 * hole + 1) < k)
		{
			if (child + 1 < k && heap[child + 1] > heap[child])
				child++;
			if (heap[child] <= distance)
				break;
			heap[hole] = heap[child];
			hole = child;
		}
	}
	heap[hole] = distance;
}

static void
compare_row(Relation index, ItemPointer tid, Datum *values, bool *isnull,
			bool alive pg_attribute_unused(), void *pointer)
{
	Recall *recall = pointer;
	MemoryContext old;

	(void) index;
	if (isnull[0])
		return;
	old = MemoryContextSwitchTo(recall->row_context);
	for (uint32 q = 0; q < recall->queries; q++)
	{
		double distance;

		CHECK_FOR_INTERRUPTS();
		distance = DatumGetFloat8(FunctionCall2(&recall->distance, values[0], recall->query[q]));
		if (!isnan(distance) && !ItemPointerEquals(tid, &recall->tid[q]))
			keep(recall->nearest + (Size) q * recall->k, &recall->found[q], recall->k, distance);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(recall->row_context);
}

/* How many of the first k rows that the index gives are at most `limit` away */
static uint32
search(Recall *recall, DsRowReader *reader, IndexScanDesc scan, uint32 q, double limit)
{
	double *queue = palloc(sizeof(double) * 16); /* seen and not yet returned, ascending */
	uint32 room = 16;
	uint32 first = 0;
	uint32 last = 0;
	uint32 returned = 0;
	uint32 hits = 0;
	bool more = true;
	ScanKeyData key;
	ItemPointerData tid;

	ItemPointerSetInvalid(&tid);
	ScanKeyEntryInitialize(&key, SK_ORDER_BY, 1, 0, InvalidOid, InvalidOid, recall->distance.fn_oid,
						   recall->query[q]);
	index_rescan(scan, NULL, 0, &key, 1);
	while (returned < recall->k && (more || first < last))
	{
		double bound = INFINITY;

		if (more)
		{
			/* fetching the row may move the id along its HOT chain */
			ItemPointer next = index_getnext_tid(scan, ForwardScanDirection);

			more = next != NULL;
			if (more)
				tid = *next;
			if (more && !index_fetch_heap(scan, reader->slot))
				continue;
		}
		if (more && scan->xs_orderbynulls[0])
			more = false;
		if (more)
		{
			double distance;
			uint32 at;
			Datum value;

			bound = DatumGetFloat8(scan->xs_orderbyvals[0]);
			if (!ds_row_reader_value(reader, &value))
				continue;
			if (isnan(bound))
			{
				more = false;
				continue;
			}
			distance = DatumGetFloat8(FunctionCall2(&recall->distance, value, recall->query[q]));
			if (last == room)
				queue = repalloc(queue, sizeof(double) * (room *= 2));
			/* its own row is not counted, but its bound is */
			if (!ItemPointerEquals(&tid, &recall->tid[q]))
			{
				for (at = last++; at > first && queue[at - 1] > distance; at--)
					queue[at] = queue[at - 1];
				queue[at] = distance;
			}
		}
		while (first < last && returned < recall->k && queue[first] <= bound)
		{
			hits += queue[first++] <= limit;
			returned++;
		}
	}
	pfree(queue);
	return hits;
}

static int
compare_doubles(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return x < y ? -1 : x > y;
}

DS_FUNCTION(ds_index_recall);
Datum
ds_index_recall(PG_FUNCTION_ARGS)
{
	int32 k = PG_GETARG_INT32(1);
	int32 samples = PG_GETARG_INT32(2);
	DsSubject subject;
	DsRowReader reader;
	Recall recall;
	Snapshot snapshot;
	TupleDesc desc;
	Datum values[6];
	bool nulls[6] = {false};
	IndexScanDesc scan;
	float *vectors;
	double *ms;
	uint32 d;
	bool half;
	uint64 hits = 0;
	uint64 wanted = 0;
	int64 lists = 0;
	int64 fetched = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != 6)
		elog(ERROR, "return type must be a row type");
	if (k < 1 || k > MAX_K)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("k must be between 1 and %d", MAX_K)));
	if (samples < 1 || samples > MAX_SAMPLES)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("samples must be between 1 and %d", MAX_SAMPLES)));
	ds_subject_open(&subject, PG_GETARG_OID(0), AccessShareLock);
	memset(&recall, 0, sizeof(recall));
	recall.k = k;
	fmgr_info(ds_index_distance(subject.index), &recall.distance);
	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	recall.queries = ds_sample_rows(&subject, snapshot, samples, (uint64) PG_GETARG_INT64(3),
									&vectors, &recall.tid, &d);
	half = ds_index_is_half(subject.index);
	recall.query = palloc(sizeof(Datum) * Max(recall.queries, 1));
	for (uint32 q = 0; q < recall.queries; q++)
		recall.query[q] =
			half ? PointerGetDatum(ds_halfembedding_from(vectors + (Size) q * d, (int) d))
				 : EmbeddingGetDatum(ds_embedding_from(vectors + (Size) q * d, (int) d));
	recall.nearest = palloc_extended(mul_size(mul_size(Max(recall.queries, 1), k), sizeof(double)),
									 MCXT_ALLOC_HUGE);
	recall.found = palloc0(sizeof(uint32) * Max(recall.queries, 1));
	recall.row_context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch recall", ALLOCSET_DEFAULT_SIZES);
	if (recall.queries > 0)
		(void) ds_subject_scan(&subject, snapshot, compare_row, &recall);

	ms = palloc(sizeof(double) * Max(recall.queries, 1));
	ds_row_reader_open(&reader, &subject);
	scan = ds_index_beginscan(subject.heap, subject.index, snapshot, 0, 1);
	for (uint32 q = 0; q < recall.queries; q++)
	{
		instr_time start;
		instr_time end;
		double limit = recall.found[q] > 0 ? recall.nearest[(Size) q * k] : -INFINITY;

		CHECK_FOR_INTERRUPTS();
		INSTR_TIME_SET_CURRENT(start);
		hits += search(&recall, &reader, scan, q, limit);
		INSTR_TIME_SET_CURRENT(end);
		INSTR_TIME_SUBTRACT(end, start);
		ms[q] = INSTR_TIME_GET_MILLISEC(end);
		wanted += recall.found[q];
		lists += ((DsScan *) scan->opaque)->counts.lists;
		fetched += ((DsScan *) scan->opaque)->counts.returned;
	}
	index_endscan(scan);
	ds_row_reader_close(&reader);
	UnregisterSnapshot(snapshot);
	ds_subject_close(&subject);

	values[0] = Int32GetDatum((int32) recall.queries);
	nulls[1] = wanted == 0;
	values[1] = Float8GetDatum(wanted > 0 ? (double) hits / wanted : 0);
	nulls[2] = nulls[3] = nulls[4] = nulls[5] = recall.queries == 0;
	if (recall.queries > 0)
	{
		qsort(ms, recall.queries, sizeof(double), compare_doubles);
		values[2] = Float8GetDatum(ms[recall.queries / 2]);
		values[3] = Float8GetDatum(ms[(uint64) recall.queries * 95 / 100]);
		values[4] = Float8GetDatum((double) lists / recall.queries);
		values[5] = Float8GetDatum((double) fetched / recall.queries);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
