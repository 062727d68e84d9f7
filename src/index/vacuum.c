/*
 * vacuum.c
 *		VACUUM: rows that are gone, pages that lists have left.
 *
 * All pages in their order in the file, each once: rows do not wander meanwhile,
 * because whoever would move them needs the shape lock, of which VACUUM holds a
 * share.  A dead row's bit is cleared; the place is the next insert's.  Readers
 * need no warning, see page.h.
 */
#include "index/index.h"

#include "access/transam.h"
#include "access/xact.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/indexfsm.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"

/* What a pass over the pages learns of a list */
typedef struct ListCount
{
	uint64 live;
	uint64 places;
	uint64 removed;
	BlockNumber room; /* first page of the chain with a place for a new row */
	uint32 room_ordinal;
} ListCount;

typedef struct Pass
{
	IndexVacuumInfo *info;
	IndexBulkDeleteResult *stats;
	IndexBulkDeleteCallback callback; /* NULL: only count and clean */
	void *state;
	DsView *view;
	ListCount *list; /* [lists] */
	BlockNumber tids_room[2];
	uint32 tids_ordinal[2];
	uint64 stale; /* pages left behind by their list, still waiting */
} Pass;

/*
 * A page of blocks or codes whose list has gone on to another generation: it
 * may be used for another list when every scan that can have seen the old
 * directory is over.
 */
static bool
left_behind(Pass *pass, Buffer buffer)
{
	Relation index = pass->info->index;
	DsPageOpaque *opaque = ds_page_opaque(BufferGetPage(buffer));
	BlockNumber block = BufferGetBlockNumber(buffer);
	DsLog log;

	if (opaque->list < pass->view->meta.lists &&
		opaque->generation == pass->view->entry[opaque->list].generation)
		return false;
	if (opaque->stale == 0)
	{
		ds_log_begin(&log, index, false);
		ds_page_opaque(ds_log_page(&log, buffer, false))->stale =
			U64FromFullTransactionId(ReadNextFullTransactionId());
		ds_log_end(&log);
		pass->stale++;
		pass->stats->pages_newly_deleted++;
		pass->stats->pages_deleted++;
	}
	else if (GlobalVisCheckRemovableFullXid(NULL, FullTransactionIdFromU64(opaque->stale)))
	{
		ds_log_begin(&log, index, false);
		ds_page_init(ds_log_page(&log, buffer, true), DS_PAGE_FREE, 0, 0, 0);
		ds_log_end(&log);
		RecordFreeIndexPage(index, block);
		pass->stats->pages_free++;
		pass->stats->pages_deleted++;
	}
	else
	{
		UnlockReleaseBuffer(buffer);
		pass->stale++;
		pass->stats->pages_deleted++;
	}
	return true;
}

static void
pass_blocks(Pass *pass, Buffer buffer)
{
	Relation index = pass->info->index;
	const DsLayout *layout = &pass->view->layout;
	Page page = BufferGetPage(buffer);
	DsPageOpaque *opaque = ds_page_opaque(page);
	ListCount *list = &pass->list[opaque->list];
	uint32 centroid = pass->view->entry[opaque->list].centroid;
	uint32 blocks = ds_page_blocks_checked(layout, index, buffer);
	uint32 *dead = palloc0(sizeof(uint32) * Max(blocks, 1));
	uint64 removed = 0;
	bool room = blocks < layout->blocks_per_page;

	for (uint32 i = 0; i < blocks; i++)
	{
		DsBlock *block = ds_page_block(layout, page, i);
		uint32 live = block->live;

		if (pass->callback != NULL)
			while (live != 0)
			{
				int row = pg_rightmost_one_pos32(live);

				live &= live - 1;
				if (pass->callback(&block->tid[row], pass->state))
					dead[i] |= (uint32) 1 << row;
			}
		live = block->live & ~dead[i];
		removed += pg_popcount32(dead[i]);
		list->live += pg_popcount32(live);
		pass->stats->num_index_tuples += pg_popcount32(live);
		list->places += DS_BLOCK_ROWS;
		room = room || (live != 0xFFFFFFFF && block->centroid == centroid);
	}
	list->removed += removed;
	pass->stats->tuples_removed += removed;
	if (room && opaque->ordinal <= list->room_ordinal)
	{
		list->room_ordinal = opaque->ordinal;
		list->room = BufferGetBlockNumber(buffer);
	}
	if (removed > 0)
	{
		DsLog log;

		ds_log_begin(&log, index, false);
		page = ds_log_page(&log, buffer, false);
		for (uint32 i = 0; i < blocks; i++)
			ds_page_block(layout, page, i)->live &= ~dead[i];
		ds_log_end(&log);
	}
	else
		UnlockReleaseBuffer(buffer);
	pfree(dead);
}

static void
pass_tids(Pass *pass, Buffer buffer)
{
	Relation index = pass->info->index;
	Page page = BufferGetPage(buffer);
	DsPageOpaque *opaque = ds_page_opaque(page);
	ItemPointerData *kept = palloc(DS_TIDS_PER_PAGE * sizeof(ItemPointerData));
	uint32 count = ds_page_used(page) / sizeof(ItemPointerData);
	uint32 left = 0;
	uint32 chain = opaque->list;

	if (chain > DS_TIDS_ZERO || count > DS_TIDS_PER_PAGE)
		ds_page_corrupted(index, BufferGetBlockNumber(buffer), "impossible row ids");
	for (uint32 i = 0; i < count; i++)
		if (pass->callback == NULL || !pass->callback(&ds_page_tids(page)[i], pass->state))
			kept[left++] = ds_page_tids(page)[i];
	pass->stats->num_index_tuples += left;
	pass->stats->tuples_removed += count - left;
	if (left < DS_TIDS_PER_PAGE && opaque->ordinal <= pass->tids_ordinal[chain])
	{
		pass->tids_ordinal[chain] = opaque->ordinal;
		pass->tids_room[chain] = BufferGetBlockNumber(buffer);
	}
	if (left < count)
	{
		DsLog log;

		ds_log_begin(&log, index, false);
		page = ds_log_page(&log, buffer, false);
		memcpy(ds_page_tids(page), kept, left * sizeof(ItemPointerData));
		((PageHeader) page)->pd_lower =
			MAXALIGN(SizeOfPageHeaderData) + left * sizeof(ItemPointerData);
		ds_log_end(&log);
	}
	else
		UnlockReleaseBuffer(buffer);
	pfree(kept);
}

static void
pass_page(Pass *pass, BlockNumber number)
{
	Relation index = pass->info->index;
	Buffer buffer =
		ReadBufferExtended(index, MAIN_FORKNUM, number, RBM_NORMAL, pass->info->strategy);

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	if (PageIsNew(BufferGetPage(buffer)))
	{
		/* made, and then a crash or an error: all new ones in use are locked */
		UnlockReleaseBuffer(buffer);
		RecordFreeIndexPage(index, number);
		pass->stats->pages_free++;
		return;
	}
	switch ((DsPageKind) ds_page_check(index, buffer)->kind)
	{
		case DS_PAGE_BLOCKS:
			if (!left_behind(pass, buffer))
				pass_blocks(pass, buffer);
			return;
		case DS_PAGE_CODES:
			if (!left_behind(pass, buffer))
				UnlockReleaseBuffer(buffer);
			return;
		case DS_PAGE_TIDS:
			pass_tids(pass, buffer);
			return;
		case DS_PAGE_FREE:
			UnlockReleaseBuffer(buffer);
			RecordFreeIndexPage(index, number);
			pass->stats->pages_free++;
			return;
		case DS_PAGE_META:
		case DS_PAGE_VECTORS:
		case DS_PAGE_ROUTES:
		case DS_PAGE_DIRECTORY:
			UnlockReleaseBuffer(buffer);
			return;
	}
}

/* What inserts go by: places, and where room is. */
static void
update_entries(Pass *pass)
{
	Relation index = pass->info->index;
	DsView *view = pass->view;

	for (uint32 first = 0; first < view->meta.lists; first += DS_ENTRIES_PER_PAGE)
	{
		uint32 end = Min(first + DS_ENTRIES_PER_PAGE, view->meta.lists);
		bool any = false;
		Buffer buffer;
		DsLog log;
		Page page;

		for (uint32 i = first; i < end && !any; i++)
			any = pass->list[i].removed > 0;
		if (!any)
			continue;
		buffer = ds_page_read(index, view->directory_page[first / DS_ENTRIES_PER_PAGE],
							  DS_PAGE_DIRECTORY, BUFFER_LOCK_EXCLUSIVE);
		ds_log_begin(&log, index, false);
		page = ds_log_page(&log, buffer, false);
		for (uint32 i = first; i < end; i++)
			if (pass->list[i].removed > 0)
			{
				DsListEntry *entry = ds_directory_entry(index, buffer, page, i);

				entry->rows = (uint32) Min(pass->list[i].places, PG_UINT32_MAX);
				if (BlockNumberIsValid(pass->list[i].room))
					entry->insert = pass->list[i].room;
			}
		ds_log_end(&log);
	}
}

static void
update_meta(Pass *pass, uint32 rewrites)
{
	Relation index = pass->info->index;
	Buffer buffer = ds_meta_lock(index);
	DsMeta *now = ds_page_meta(BufferGetPage(buffer));
	bool cleaned = pass->stale == 0 && now->cleaned != rewrites;
	bool change = cleaned;
	DsLog log;

	for (int i = 0; i < 2; i++)
		change = change || (BlockNumberIsValid(pass->tids_room[i]) &&
							now->tids_insert[i] != pass->tids_room[i]);
	if (!change)
	{
		UnlockReleaseBuffer(buffer);
		return;
	}
	ds_log_begin(&log, index, false);
	now = ds_page_meta(ds_log_page(&log, buffer, false));
	if (cleaned)
		now->cleaned = rewrites;
	for (int i = 0; i < 2; i++)
		if (BlockNumberIsValid(pass->tids_room[i]))
			now->tids_insert[i] = pass->tids_room[i];
	ds_log_end(&log);
}

static void
pass_over(IndexVacuumInfo *info, IndexBulkDeleteResult *stats, IndexBulkDeleteCallback callback,
		  void *state)
{
	Relation index = info->index;
	Pass pass;
	BlockNumber number = DS_META_BLOCK + 1;
	BlockNumber blocks;
	uint32 rewrites;
	uint32 lists;

	memset(&pass, 0, sizeof(pass));
	pass.info = info;
	pass.stats = stats;
	pass.callback = callback;
	pass.state = state;
	stats->num_index_tuples = 0;
	stats->estimated_count = false;
	stats->pages_deleted = stats->pages_free = 0;

	ds_lock_shape(index, ShareLock);
	pass.view = ds_view_get(index);
	rewrites = pass.view->meta.rewrites;
	lists = pass.view->meta.lists;
	pass.list = palloc_extended(Max(pass.view->meta.lists, 1) * sizeof(ListCount),
								MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 i = 0; i < pass.view->meta.lists; i++)
	{
		pass.list[i].room = InvalidBlockNumber;
		pass.list[i].room_ordinal = PG_UINT32_MAX;
	}
	for (int i = 0; i < 2; i++)
	{
		pass.tids_room[i] = InvalidBlockNumber;
		pass.tids_ordinal[i] = PG_UINT32_MAX;
	}

	/* pages made while we are at it hold rows that VACUUM does not ask for, but may be many */
	for (;;)
	{
		if (!RELATION_IS_LOCAL(index))
			LockRelationForExtension(index, ExclusiveLock);
		blocks = RelationGetNumberOfBlocks(index);
		if (!RELATION_IS_LOCAL(index))
			UnlockRelationForExtension(index, ExclusiveLock);
		if (number >= blocks)
			break;
		for (; number < blocks; number++)
		{
			DS_VACUUM_DELAY_POINT();
			pass_page(&pass, number);
		}
	}
	stats->num_pages = blocks;
	update_entries(&pass);
	update_meta(&pass, rewrites);
	ds_unlock_shape(index, ShareLock);

	/* lists of which much is gone get rid of the holes */
	if (callback != NULL)
		for (uint32 i = 0; i < lists; i++)
			if (pass.list[i].removed > 0 && pass.list[i].places - pass.list[i].live >=
												Max(pass.list[i].places / 3, 2 * DS_BLOCK_ROWS))
			{
				DS_VACUUM_DELAY_POINT();
				if (!ds_list_rewrite(index, i, false))
					break;
			}
	pfree(pass.list);
}

IndexBulkDeleteResult *
ds_index_bulk_delete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
					 IndexBulkDeleteCallback callback, void *state)
{
	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));
	pass_over(info, stats, callback, state);
	return stats;
}

IndexBulkDeleteResult *
ds_index_cleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	if (info->analyze_only)
		return stats;
	if (stats == NULL)
	{
		DsMeta meta;

		/* no row is gone: only lists that were rewritten have left something to do */
		stats = palloc0(sizeof(IndexBulkDeleteResult));
		ds_meta_read(info->index, &meta);
		if (meta.rewrites != meta.cleaned)
			pass_over(info, stats, NULL, NULL);
		else
		{
			stats->num_pages = RelationGetNumberOfBlocks(info->index);
			stats->num_index_tuples = info->num_heap_tuples;
			stats->estimated_count = true;
		}
	}
	IndexFreeSpaceMapVacuum(info->index);
	return stats;
}
