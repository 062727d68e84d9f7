/*
 * maintain.c
 *		ds_index_maintain(): what only somebody who reads the table can do.
 *
 *	1. Lists that have grown out of proportion are split.  Inserts do that too,
 *	   unless another one was busy.
 *	2. Lists that have kept few rows give them to others and go (merge.c).
 *	3. Splits and merges move rows with the codes that they have, for the
 *	   centroid that they were coded for.  The farther that is, the wider are
 *	   their bounds, and the more rows a search refines.  Rows of such lists are
 *	   read from the table and encoded for the list's own centroid; the list is
 *	   written anew, without holes.
 *	4. The recall curve is measured with rows of today.
 *
 * Searches, inserts, updates and deletes go on; VACUUM and another maintenance
 * of the same table wait.  A list is locked while it is rewritten, so inserts
 * into it wait for that; each list is a change of its own, complete or not
 * there, whether or not the transaction commits.
 */
#include "index/life.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Rows that stand for queries */
#define CURVE_QUERIES 200

typedef struct Reader
{
	DsRowReader reader;
	IndexFetchTableData *fetch;
	Snapshot snapshot;
	bool half; /* vectors have half floats */
} Reader;

/*
 * The vector of a row that the snapshot sees.  The others keep their codes:
 * they are dead, or so new that they were coded for a centroid of today.
 */
static bool
read_vector(void *state, ItemPointer tid, DsEmbeddingView *vector)
{
	Reader *reader = state;
	ItemPointerData at = *tid;
	bool again = false;
	bool dead = false;
	Datum value;
	MemoryContext old;

	if (!table_index_fetch_tuple(reader->fetch, &at, reader->snapshot, reader->reader.slot, &again,
								 &dead))
		return false;
	if (!ds_row_reader_value(&reader->reader, &value))
		return false;
	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(reader->reader.estate));
	ds_index_vector(reader->half, value, vector);
	MemoryContextSwitchTo(old);
	return true;
}

/* Split large lists, and what becomes of them; how many splits that took. */
static int32
split_lists(Relation index)
{
	int32 splits = 0;
	DsMeta meta;

	ds_meta_read(index, &meta);
	for (uint32 i = 0; i < meta.lists; i++)
	{
		for (;;)
		{
			DsView *view = ds_view_get(index);
			uint32 before = view->meta.lists;
			double total = 0;

			CHECK_FOR_INTERRUPTS();
			for (uint32 j = 0; j < before; j++)
				total += view->entry[j].rows;
			if ((view->meta.wanted_lists > 0 && before >= view->meta.wanted_lists) ||
				before >= DS_MAX_LISTS || view->entry[i].rows < view->entry[i].split_at ||
				view->entry[i].rows < 2.0 * ds_list_rows(&view->layout, total))
				break;

			/* wait for the lock that the split only tries */
			ds_lock_shape(index, ExclusiveLock);
			(void) ds_list_rewrite(index, i, true);
			ds_unlock_shape(index, ExclusiveLock);
			ds_meta_read(index, &meta);
			if (meta.lists == before)
				break;
			splits++;
		}
	}
	return splits;
}

DS_FUNCTION(ds_index_maintain);
Datum
ds_index_maintain(PG_FUNCTION_ARGS)
{
	DsSubject subject;
	Reader reader;
	TupleDesc desc;
	Datum values[5];
	bool nulls[5] = {false};
	DsMeta meta;
	int32 recoded_lists = 0;
	int64 recoded_rows = 0;
	float *vectors;
	ItemPointerData *tids;
	Snapshot snapshot;
	uint32 d;
	uint32 n;

	PreventCommandIfReadOnly("ds_index_maintain()");
	PreventCommandDuringRecovery("ds_index_maintain()");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != 5)
		elog(ERROR, "return type must be a row type");
	ds_subject_open(&subject, PG_GETARG_OID(0), ShareUpdateExclusiveLock);

	values[0] = Int32GetDatum(split_lists(subject.index));
	values[1] = Int32GetDatum((int32) ds_lists_merge(subject.index));
	ds_meta_read(subject.index, &meta);
	ds_row_reader_open(&reader.reader, &subject);
	reader.half = ds_index_is_half(subject.index);
	for (uint32 i = 0; i < meta.lists; i++)
	{
		uint64 rows;

		CHECK_FOR_INTERRUPTS();
		reader.snapshot = RegisterSnapshot(GetLatestSnapshot());
		reader.fetch = table_index_fetch_begin(subject.heap);
		rows = ds_list_recode(subject.index, i, read_vector, &reader);
		table_index_fetch_end(reader.fetch);
		ExecClearTuple(reader.reader.slot);
		UnregisterSnapshot(reader.snapshot);
		recoded_lists += rows > 0;
		recoded_rows += (int64) rows;
	}
	ds_row_reader_close(&reader.reader);
	values[2] = Int32GetDatum(recoded_lists);
	values[3] = Int64GetDatum(recoded_rows);

	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	n = ds_sample_rows(&subject, snapshot, CURVE_QUERIES, meta.seed ^ meta.rewrites, &vectors,
					   &tids, &d);
	UnregisterSnapshot(snapshot);
	values[4] =
		Int32GetDatum((int32) ds_measure_curve(&subject, vectors, tids, n, DS_CURVE_OF_ROWS));
	ds_subject_close(&subject);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
