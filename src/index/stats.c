/*
 * stats.c
 *		What an index holds, and what the last scan did.
 *
 * Dead rows.  An index does not know which of its rows are dead in the table.
 * The table's visibility map says of most pages that all their rows are alive;
 * the other row ids, or DEAD_SAMPLE of them at random, are looked up there.
 */
#include "index/scan.h"

#include <float.h>
#include <math.h>

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/visibilitymap.h"
#include "base/random.h"
#include "catalog/index.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

/* Rows that are looked up in the table at most: a share is known to half a per cent. */
#define DEAD_SAMPLE 10000

DS_FUNCTION(ds_index_last_scan);
Datum
ds_index_last_scan(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[6];
	bool nulls[6] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum(ds_last_scan.lists);
	values[1] = Int64GetDatum(ds_last_scan.filtered);
	values[2] = Int64GetDatum(ds_last_scan.codes);
	values[3] = Int64GetDatum(ds_last_scan.refined);
	values[4] = Int64GetDatum(ds_last_scan.returned);
	values[5] = Int64GetDatum(ds_last_scan.fetched);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* Row ids that may be those of dead rows, and a sample of them */
typedef struct Doubtful
{
	Relation heap;
	Buffer map; /* page of the visibility map */
	DsRandom random;
	uint64 rows;
	ItemPointerData tid[DEAD_SAMPLE];
} Doubtful;

typedef struct Stats
{
	int64 rows;
	int64 tids[2];
	int64 places;
	int64 elsewhere; /* rows coded for another centroid than their list's */
	double slack; /* of all rows whose slack is finite, and how many those are */
	int64 slacks;
	int64 pages[DS_PAGE_FREE + 1];
	int64 stale;
	uint64 *list_rows;
} Stats;

static void
doubt(Doubtful *doubtful, ItemPointer tid)
{
	uint64 place = doubtful->rows;

	if (VM_ALL_VISIBLE(doubtful->heap, ItemPointerGetBlockNumberNoCheck(tid), &doubtful->map))
		return;
	if (place >= DEAD_SAMPLE)
		place = ds_random_below(&doubtful->random, place + 1);
	if (place < DEAD_SAMPLE)
		doubtful->tid[place] = *tid;
	doubtful->rows++;
}

static int
compare_tids(const void *a, const void *b)
{
	return ItemPointerCompare((ItemPointer) a, (ItemPointer) b);
}

/*
 * How many of the doubtful rows are dead: deleted, updated, or never committed,
 * whether or not some snapshot still needs them.
 */
static int64
count_dead(Doubtful *doubtful)
{
	int n = (int) Min(doubtful->rows, DEAD_SAMPLE);
	BlockNumber blocks = RelationGetNumberOfBlocks(doubtful->heap);
	IndexFetchTableData *fetch = table_index_fetch_begin(doubtful->heap);
	TupleTableSlot *slot = table_slot_create(doubtful->heap, NULL);
	SnapshotData snapshot;
	int dead = 0;

	InitDirtySnapshot(snapshot);
	qsort(doubtful->tid, n, sizeof(ItemPointerData), compare_tids);
	for (int i = 0; i < n; i++)
	{
		ItemPointerData tid = doubtful->tid[i];
		bool again = false;

		CHECK_FOR_INTERRUPTS();
		if (ItemPointerGetBlockNumberNoCheck(&tid) >= blocks ||
			!table_index_fetch_tuple(fetch, &tid, &snapshot, slot, &again, NULL))
			dead++;
	}
	ExecDropSingleTupleTableSlot(slot);
	table_index_fetch_end(fetch);
	if (BufferIsValid(doubtful->map))
		ReleaseBuffer(doubtful->map);
	return n == 0 ? 0 : (int64) rint((double) dead / n * (double) doubtful->rows);
}

static void
count_block(const DsView *view, DsBlock *block, uint32 list, Stats *stats)
{
	const DsBlockFactors *factors = ds_block_factors(&view->layout, block);
	int rows = pg_popcount32(block->live);

	stats->rows += rows;
	stats->list_rows[list] += rows;
	stats->places += DS_BLOCK_ROWS;
	if (block->centroid != view->entry[list].centroid)
		stats->elsewhere += rows;
	for (uint32 live = block->live; live != 0; live &= live - 1)
	{
		float slack = factors->slack[pg_rightmost_one_pos32(live)];

		if (slack >= 0 && slack <= FLT_MAX)
		{
			stats->slack += slack;
			stats->slacks++;
		}
	}
}

/* A page, which is copied to copy: the table's pages are not read under its lock. */
static void
count_page(Relation index, const DsView *view, BlockNumber number, Stats *stats, Page copy,
		   Doubtful *doubtful)
{
	Buffer buffer = ReadBuffer(index, number);
	Page page = BufferGetPage(buffer);
	DsPageOpaque *opaque;
	uint32 count = 0;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (PageIsNew(page))
	{
		stats->pages[DS_PAGE_FREE]++;
		UnlockReleaseBuffer(buffer);
		return;
	}
	opaque = ds_page_check(index, buffer);
	if ((opaque->kind == DS_PAGE_BLOCKS || opaque->kind == DS_PAGE_CODES) &&
		(opaque->list >= view->meta.lists ||
		 opaque->generation != view->entry[opaque->list].generation))
	{
		stats->stale++;
		UnlockReleaseBuffer(buffer);
		return;
	}
	stats->pages[opaque->kind]++;
	if (opaque->kind == DS_PAGE_BLOCKS)
		count = ds_page_blocks_checked(&view->layout, index, buffer);
	else if (opaque->kind == DS_PAGE_TIDS && opaque->list <= DS_TIDS_ZERO)
		count = Min(ds_page_used(page) / sizeof(ItemPointerData), DS_TIDS_PER_PAGE);
	if (count > 0)
		memcpy(copy, page, BLCKSZ);
	UnlockReleaseBuffer(buffer);
	if (count == 0)
		return;

	opaque = ds_page_opaque(copy);
	for (uint32 i = 0; i < count && opaque->kind == DS_PAGE_BLOCKS; i++)
	{
		DsBlock *block = ds_page_block(&view->layout, copy, i);

		count_block(view, block, opaque->list, stats);
		for (uint32 live = block->live; live != 0; live &= live - 1)
			doubt(doubtful, &block->tid[pg_rightmost_one_pos32(live)]);
	}
	for (uint32 i = 0; i < count && opaque->kind == DS_PAGE_TIDS; i++)
		doubt(doubtful, &ds_page_tids(copy)[i]);
	if (opaque->kind == DS_PAGE_TIDS)
		stats->tids[opaque->list] += count;
}

/*
 * What the curve says of the first ten rows at the present settings.  It is as
 * old as itself: what came after it was measured, it does not know.
 */
static double
expected_recall(const DsMeta *meta)
{
	double recall = ds_setting_target_recall;
	double probes;
	double before = 0;
	double least = 0;

	if (ds_setting_probes <= 0 && recall >= 1)
		return 1;
	if (ds_setting_probes <= 0)
		return ds_expected_recall(recall);
	probes = ds_setting_probes * (double) meta->curve_lists / meta->lists;
	if (ds_setting_probes >= (int64) meta->lists)
		return 1;
	for (int i = 0; i < DS_CURVE_RECALLS; i++)
	{
		double here = meta->curve[0][i];

		if (probes < here)
			return least + (ds_curve_recalls[i] - least) * (probes - before) / (here - before);
		before = here;
		least = ds_curve_recalls[i];
	}
	return least;
}

#define STATS_COLUMNS 28

DS_FUNCTION(ds_index_stats);
Datum
ds_index_stats(PG_FUNCTION_ARGS)
{
	static const char *const metric[] = {"cosine", "l2", "ip"};
	Oid table = IndexGetRelation(PG_GETARG_OID(0), true);
	Relation heap = NULL;
	Relation index;
	TupleDesc desc;
	Datum values[STATS_COLUMNS];
	bool nulls[STATS_COLUMNS] = {false};
	const DsMeta *meta;
	DsView *view;
	BlockNumber blocks;
	Stats stats;
	Doubtful *doubtful;
	char *copy;
	uint64 least = PG_UINT64_MAX;
	uint64 most = 0;
	int32 empty = 0;
	double mean = 0;
	double squares = 0;
	int n = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != STATS_COLUMNS)
		elog(ERROR, "return type must be a row type");

	/* the table first, as everybody does; not an index: let ds_index_open() say so */
	if (OidIsValid(table))
		heap = table_open(table, AccessShareLock);
	index = ds_index_open(PG_GETARG_OID(0), AccessShareLock);
	if (heap == NULL || index->rd_index->indrelid != table)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table of index \"%s\" cannot be opened", RelationGetRelationName(index))));
	view = ds_view_get(index);
	ds_view_pin(view, CurrentMemoryContext);
	meta = &view->meta;
	memset(&stats, 0, sizeof(stats));
	stats.list_rows =
		palloc_extended(sizeof(uint64) * Max(meta->lists, 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	doubtful = palloc(sizeof(Doubtful));
	doubtful->heap = heap;
	doubtful->map = InvalidBuffer;
	doubtful->rows = 0;
	ds_random_init(&doubtful->random, meta->seed, 0);
	copy = palloc(BLCKSZ);
	blocks = RelationGetNumberOfBlocks(index);
	for (BlockNumber i = 0; i < blocks; i++)
	{
		CHECK_FOR_INTERRUPTS();
		count_page(index, view, i, &stats, copy, doubtful);
	}
	if (meta->lists > 0)
		mean = (double) stats.rows / meta->lists;
	for (uint32 i = 0; i < meta->lists; i++)
	{
		double off = (double) stats.list_rows[i] - mean;

		least = Min(least, stats.list_rows[i]);
		most = Max(most, stats.list_rows[i]);
		empty += stats.list_rows[i] == 0;
		squares += off * off;
	}

	/* what it is */
	values[n++] = CStringGetTextDatum(metric[meta->metric]);
	nulls[n] = meta->dimension == 0;
	values[n++] = Int32GetDatum((int32) meta->dimension);

	/* rows */
	values[n++] = Int64GetDatum(stats.rows + stats.tids[0] + stats.tids[1]);
	values[n++] = Int64GetDatum(count_dead(doubtful));
	values[n++] = Int64GetDatum(stats.tids[DS_TIDS_NULL]);
	values[n++] = Int64GetDatum(stats.tids[DS_TIDS_ZERO]);
	values[n++] = Int64GetDatum(stats.places - stats.rows);
	values[n++] = Int64GetDatum((int64) meta->built_rows);

	/* lists and their balance */
	values[n++] = Int32GetDatum((int32) meta->lists);
	values[n++] = Int32GetDatum(empty);
	nulls[n] = nulls[n + 1] = nulls[n + 2] = meta->lists == 0;
	values[n++] = Int64GetDatum((int64) least);
	values[n++] = Int64GetDatum((int64) most);
	values[n++] = Float8GetDatum(mean);
	nulls[n] = !(mean > 0);
	values[n++] = Float8GetDatum(mean > 0 ? sqrt(squares / meta->lists) / mean : 0);

	/* drift */
	values[n++] = Int64GetDatum(stats.elsewhere);
	nulls[n] = stats.slacks == 0 || !(meta->built_slack > 0);
	values[n] =
		Float8GetDatum(nulls[n] ? 0 : stats.slack / (double) stats.slacks / meta->built_slack);
	n++;

	/* recall */
	nulls[n] = meta->curve_lists == 0;
	values[n++] = Int32GetDatum((int32) meta->curve_lists);
	values[n++] = Int32GetDatum((int32) (ds_setting_probes > 0
											 ? Min((uint32) ds_setting_probes, meta->lists)
											 : ds_probes_for(meta, 0, ds_setting_target_recall)));
	nulls[n] = meta->curve_lists == 0 || meta->lists == 0;
	values[n] = Float8GetDatum(nulls[n] ? 0 : expected_recall(meta));
	n++;

	/* pages */
	values[n++] = Int64GetDatum((int64) blocks * BLCKSZ);
	values[n++] = Int64GetDatum(blocks);
	values[n++] = Int64GetDatum(stats.pages[DS_PAGE_VECTORS] + stats.pages[DS_PAGE_ROUTES]);
	values[n++] = Int64GetDatum(stats.pages[DS_PAGE_DIRECTORY]);
	values[n++] = Int64GetDatum(stats.pages[DS_PAGE_BLOCKS]);
	values[n++] = Int64GetDatum(stats.pages[DS_PAGE_CODES]);
	values[n++] = Int64GetDatum(stats.pages[DS_PAGE_TIDS]);
	values[n++] = Int64GetDatum(stats.stale);
	values[n++] = Int64GetDatum(stats.pages[DS_PAGE_FREE]);
	Assert(n == STATS_COLUMNS);
	relation_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
