/*
 * stats.c
 *		What an index holds, and what the last scan did.
 */
#include "index/scan.h"

#include <float.h>
#include <math.h>

#include "access/htup_details.h"
#include "access/relation.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"

DS_FUNCTION(ds_index_last_scan);
Datum
ds_index_last_scan(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[5];
	bool nulls[5] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum(ds_last_scan.lists);
	values[1] = Int64GetDatum(ds_last_scan.filtered);
	values[2] = Int64GetDatum(ds_last_scan.codes);
	values[3] = Int64GetDatum(ds_last_scan.refined);
	values[4] = Int64GetDatum(ds_last_scan.returned);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

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

static void
count_page(Relation index, const DsView *view, BlockNumber number, Stats *stats)
{
	Buffer buffer = ReadBuffer(index, number);
	Page page = BufferGetPage(buffer);
	DsPageOpaque *opaque;

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
		stats->stale++;
	else
	{
		stats->pages[opaque->kind]++;
		if (opaque->kind == DS_PAGE_TIDS && opaque->list <= DS_TIDS_ZERO)
			stats->tids[opaque->list] += ds_page_used(page) / sizeof(ItemPointerData);
		else if (opaque->kind == DS_PAGE_BLOCKS)
		{
			uint32 blocks = ds_page_blocks_checked(&view->layout, index, buffer);

			for (uint32 i = 0; i < blocks; i++)
				count_block(view, ds_page_block(&view->layout, page, i), opaque->list, stats);
		}
	}
	UnlockReleaseBuffer(buffer);
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

#define STATS_COLUMNS 27

DS_FUNCTION(ds_index_stats);
Datum
ds_index_stats(PG_FUNCTION_ARGS)
{
	static const char *const metric[] = {"cosine", "l2", "ip"};
	Relation index = ds_index_open(PG_GETARG_OID(0), AccessShareLock);
	TupleDesc desc;
	Datum values[STATS_COLUMNS];
	bool nulls[STATS_COLUMNS] = {false};
	const DsMeta *meta;
	DsView *view;
	BlockNumber blocks;
	Stats stats;
	uint64 least = PG_UINT64_MAX;
	uint64 most = 0;
	int32 empty = 0;
	double mean = 0;
	double squares = 0;
	int n = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != STATS_COLUMNS)
		elog(ERROR, "return type must be a row type");
	view = ds_view_get(index);
	ds_view_pin(view, CurrentMemoryContext);
	meta = &view->meta;
	memset(&stats, 0, sizeof(stats));
	stats.list_rows =
		palloc_extended(sizeof(uint64) * Max(meta->lists, 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	blocks = RelationGetNumberOfBlocks(index);
	for (BlockNumber i = 0; i < blocks; i++)
	{
		CHECK_FOR_INTERRUPTS();
		count_page(index, view, i, &stats);
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
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
