/*
 * stats.c
 *		What an index holds, and what the last scan did.
 */
#include "index/scan.h"

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
	Datum values[4];
	bool nulls[4] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum(ds_last_scan.lists);
	values[1] = Int64GetDatum(ds_last_scan.codes);
	values[2] = Int64GetDatum(ds_last_scan.refined);
	values[3] = Int64GetDatum(ds_last_scan.returned);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

typedef struct Stats
{
	int64 rows;
	int64 tids[2];
	int64 places;
	int64 pages[DS_PAGE_FREE + 1];
	int64 stale;
	uint64 *list_rows;
} Stats;

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
			{
				int live = pg_popcount32(ds_page_block(&view->layout, page, i)->live);

				stats->rows += live;
				stats->list_rows[opaque->list] += live;
				stats->places += DS_BLOCK_ROWS;
			}
		}
	}
	UnlockReleaseBuffer(buffer);
}

DS_FUNCTION(ds_index_stats);
Datum
ds_index_stats(PG_FUNCTION_ARGS)
{
	static const char *const metric[] = {"cosine", "l2", "ip"};
	Relation index = ds_index_open(PG_GETARG_OID(0), AccessShareLock);
	TupleDesc desc;
	Datum values[16];
	bool nulls[16] = {false};
	DsView *view;
	BlockNumber blocks;
	Stats stats;
	uint64 least = PG_UINT64_MAX;
	uint64 most = 0;
	int n = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != 16)
		elog(ERROR, "return type must be a row type");
	view = ds_view_get(index);
	ds_view_pin(view, CurrentMemoryContext);
	memset(&stats, 0, sizeof(stats));
	stats.list_rows = palloc_extended(sizeof(uint64) * Max(view->meta.lists, 1),
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	blocks = RelationGetNumberOfBlocks(index);
	for (BlockNumber i = 0; i < blocks; i++)
	{
		CHECK_FOR_INTERRUPTS();
		count_page(index, view, i, &stats);
	}
	for (uint32 i = 0; i < view->meta.lists; i++)
	{
		least = Min(least, stats.list_rows[i]);
		most = Max(most, stats.list_rows[i]);
	}

	values[n++] = CStringGetTextDatum(metric[view->meta.metric]);
	nulls[n] = view->meta.dimension == 0;
	values[n++] = Int32GetDatum((int32) view->meta.dimension);
	values[n++] = Int32GetDatum((int32) view->meta.lists);
	values[n++] = Int64GetDatum(stats.rows + stats.tids[0] + stats.tids[1]);
	values[n++] = Int64GetDatum(stats.tids[DS_TIDS_NULL]);
	values[n++] = Int64GetDatum(stats.tids[DS_TIDS_ZERO]);
	values[n++] = Int64GetDatum(stats.places - stats.rows);
	nulls[n] = nulls[n + 1] = view->meta.lists == 0;
	values[n++] = Int64GetDatum((int64) least);
	values[n++] = Int64GetDatum((int64) most);
	nulls[n] = view->meta.curve_lists == 0;
	values[n++] = Int32GetDatum((int32) view->meta.curve_lists);
	values[n++] = Int32GetDatum(
		(int32) (ds_setting_probes > 0 ? Min((uint32) ds_setting_probes, view->meta.lists)
									   : ds_probes_for(&view->meta, 0, ds_setting_target_recall)));
	values[n++] = Int64GetDatum(blocks);
	values[n++] = Int64GetDatum(stats.pages[DS_PAGE_BLOCKS]);
	values[n++] = Int64GetDatum(stats.pages[DS_PAGE_CODES]);
	values[n++] = Int64GetDatum(stats.stale);
	values[n++] = Int64GetDatum(stats.pages[DS_PAGE_FREE]);
	relation_close(index, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
