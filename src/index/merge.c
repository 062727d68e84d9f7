/*
 * merge.c
 *		Lists of few rows give them to others and go.
 *
 * Where rows were deleted, or new ones come elsewhere, lists are left with few
 * rows or none.  Each costs every query a look at its centroid, and a query
 * that is near opens it for nothing.
 *
 * A row may not simply be inserted into another list: who reads by an older
 * directory would find it in both.  So both lists are written anew, and one
 * record changes their two entries.  That is done for one receiving list after
 * another; what is left when the last row has gone is an empty list.  To close
 * the gap in the numbers, the last list of the directory is written anew under
 * the number of the one that goes, and its old entry gets a generation that no
 * list has, so that an insert with an older directory looks again.
 *
 * A scan goes by the directory that it began with, whose pages stay.  On a
 * standby they may not: then a scan reads what its lists have become, which
 * after a merge cannot be said a list at a time.  DsMeta.merges tells it (read.c).
 */
#include "index/rewrite.h"

#include <math.h>

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"
#include "vector/kernels.h"

/* A list is merged when it has less than this part of the rows that it should have. */
#define FEW_PART 8

/* Rows that a list has, and may have */
typedef struct Sizes
{
	uint32 lists;
	uint64 *rows; /* [lists] */
	uint64 few; /* a list with fewer goes */
	uint64 most; /* no list gets as many: it would be split again */
} Sizes;

static uint64
count_rows(Relation index, const DsView *view, uint32 list)
{
	BlockNumber number = view->entry[list].head;
	uint32 ordinal = 0;
	uint64 rows = 0;

	while (BlockNumberIsValid(number))
	{
		Buffer buffer;
		Page page;
		uint32 blocks;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBuffer(index, number);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (!ds_page_is_list(index, buffer, DS_PAGE_BLOCKS, list, view->entry[list].generation))
			ds_page_corrupted(index, number, "blocks of another list");
		page = BufferGetPage(buffer);
		if (ds_page_opaque(page)->ordinal != ordinal++)
			ds_page_corrupted(index, number, "the chain of a list is broken");
		blocks = ds_page_blocks_checked(&view->layout, index, buffer);
		for (uint32 i = 0; i < blocks; i++)
			rows += pg_popcount32(ds_page_block(&view->layout, page, i)->live);
		number = ds_page_opaque(page)->next;
		UnlockReleaseBuffer(buffer);
	}
	return rows;
}

/*
 * No lock: it is a guess, which is made sure of later.  Pages stay where they
 * are, because VACUUM is kept out by the caller's lock of the table.
 */
static void
measure_lists(Relation index, Sizes *sizes)
{
	DsView *view = ds_view_get(index);
	double total = 0;
	double each;

	ds_view_pin(view, CurrentMemoryContext);
	sizes->lists = view->meta.lists;
	sizes->rows = palloc_extended(sizeof(uint64) * Max(sizes->lists, 1), MCXT_ALLOC_HUGE);
	for (uint32 i = 0; i < sizes->lists; i++)
	{
		sizes->rows[i] = count_rows(index, view, i);
		total += (double) sizes->rows[i];
	}
	if (sizes->lists == 0)
		return;
	each = ds_list_rows(&view->layout, total);
	sizes->most = (uint64) (1.5 * each);
	if (view->meta.wanted_lists > 0)
		each = Min(each, total / view->meta.wanted_lists);
	sizes->few = (uint64) Max(each / FEW_PART, 1);
}

/* One record: two entries and the metapage.  lists is their number afterwards. */
static void
change_entries(Rewrite *rewrite, const uint32 *list, const DsListEntry *entry, int count,
			   uint32 lists)
{
	Relation index = rewrite->index;
	const DsView *view = rewrite->view;
	BlockNumber held = InvalidBlockNumber;
	Buffer buffer = InvalidBuffer;
	Page page = NULL;
	DsMeta *stored;
	DsLog log;

	ds_log_begin(&log, index, false);
	for (int i = 0; i < count; i++)
	{
		BlockNumber block = view->directory_page[list[i] / DS_ENTRIES_PER_PAGE];

		if (block != held)
		{
			buffer = ds_page_read(index, block, DS_PAGE_DIRECTORY, BUFFER_LOCK_EXCLUSIVE);
			page = ds_log_page(&log, buffer, false);
			held = block;
		}
		*ds_directory_entry(index, buffer, page, list[i]) = entry[i];
	}
	stored = ds_page_meta(ds_log_page(&log, ds_meta_lock(index), false));
	if (lists < stored->lists)
	{
		/* pages of the directory behind this one are found again when they are needed */
		stored->lists = lists;
		stored->directory_tail = view->directory_page[(lists - 1) / DS_ENTRIES_PER_PAGE];
	}
	stored->directory_version++;
	stored->rewrites++;
	stored->merges++;
	ds_log_end(&log);
}

/* The list of most use to a row that has to leave its own */
static uint32
nearest_other(const DsView *view, uint32 list, const float *y)
{
	uint32 d = view->meta.dimension;
	uint32 best = list == 0 ? 1 : 0;
	double least = INFINITY;

	for (uint32 i = 0; i < view->meta.lists; i++)
	{
		double here;

		if (i == list)
			continue;
		CHECK_FOR_INTERRUPTS();
		here = ds_kernels()->l2_squared(y, ds_view_centroid(view, view->entry[i].centroid), d);
		if (here < least)
		{
			least = here;
			best = i;
		}
	}
	return best;
}

/* Where each row would go; false when a list would get too large by it. */
static bool
choose(Rewrite *from, const Sizes *sizes)
{
	const DsView *view = from->view;
	float *y = palloc(sizeof(float) * view->meta.dimension);
	bool good = true;
	uint64 same = 0;

	for (uint64 i = 0; i < from->rows; i++)
	{
		CHECK_FOR_INTERRUPTS();
		ds_rewrite_remember(from, &from->moved[i].row, y);
		from->moved[i].part = nearest_other(view, from->list, y);
	}
	pfree(y);
	ds_rewrite_sort(from);
	for (uint64 i = 0; i < from->rows && good; i++)
	{
		uint32 to = from->moved[i].part;

		same = i > 0 && from->moved[i - 1].part == to ? same + 1 : 1;
		good = to < sizes->lists ? sizes->rows[to] + same < sizes->most
								 : view->entry[to].rows + same < sizes->most;
	}
	return good;
}

/* Give the rows from `first` on, which are one list's, to it. */
static void
give(Rewrite *from, uint64 first)
{
	Relation index = from->index;
	uint32 list[2] = {from->list, from->moved[first].part};
	Rewrite to = {index, ds_view_get(index), list[1], NULL, 0, 0, 0};
	DsView *view = to.view;
	uint32 d = view->meta.dimension;
	float *y = palloc(sizeof(float) * d);
	DsListEntry entry[2];
	uint32 generation;

	from->view = view;
	ds_lock_list(index, list[1], ExclusiveLock);
	ds_rewrite_collect(&to);
	entry[0] = view->entry[list[0]];
	entry[1] = view->entry[list[1]];
	for (uint64 i = first; i < from->rows; i++)
	{
		Moved *moved = ds_rewrite_add(&to);

		CHECK_FOR_INTERRUPTS();
		moved->row = from->moved[i].row;
		ds_rewrite_remember(&to, &moved->row, y);
		ds_rewrite_raise(
			&entry[1].radius,
			ds_rewrite_reach(&moved->row, ds_kernels()->l2_squared_wide(
											  y, ds_view_centroid(view, entry[1].centroid), d)));
	}
	ds_rewrite_sort(&to);
	generation = ds_rewrite_generations(index, 2);
	ds_rewrite_write(from, 0, first, list[0], generation, &entry[0]);
	ds_rewrite_write(&to, 0, to.rows, list[1], generation + 1, &entry[1]);
	change_entries(from, list, entry, 2, view->meta.lists);
	from->rows = first;
	ds_unlock_list(index, list[1], ExclusiveLock);
}

/* An empty list goes; the last one takes its number. */
static void
drop(Relation index, uint32 number)
{
	Rewrite last = {index, ds_view_get(index), 0, NULL, 0, 0, 0};
	DsView *view = last.view;
	uint32 list[2] = {number, view->meta.lists - 1};
	DsListEntry entry[2];

	last.list = list[1];
	entry[1] = view->entry[list[1]];
	entry[1].generation = 0;
	entry[1].head = entry[1].insert = InvalidBlockNumber;
	entry[1].run = entry[1].rows = 0;
	if (list[0] == list[1])
	{
		change_entries(&last, list + 1, entry + 1, 1, list[1]);
		return;
	}
	ds_lock_list(index, list[1], ExclusiveLock);
	ds_rewrite_collect(&last);
	ds_rewrite_sort(&last);
	entry[0] = view->entry[list[1]];
	entry[0].parent = number;
	ds_rewrite_write(&last, 0, last.rows, number, ds_rewrite_generations(index, 1), &entry[0]);
	change_entries(&last, list, entry, 2, list[1]);
	ds_unlock_list(index, list[1], ExclusiveLock);
}

static bool
merge_list(Relation index, uint32 list, const Sizes *sizes)
{
	Rewrite from = {index, ds_view_get(index), list, NULL, 0, 0, 0};

	if (list >= from.view->meta.lists || from.view->meta.lists < 2)
		return false;
	ds_rewrite_collect(&from);
	if (from.rows >= sizes->few || !choose(&from, sizes))
		return false;

	/* the rows are sorted by where they go: from the end, so that what is left stays in front */
	while (from.rows > 0)
	{
		uint64 first = from.rows - 1;

		CHECK_FOR_INTERRUPTS();
		while (first > 0 && from.moved[first - 1].part == from.moved[first].part)
			first--;
		if (from.moved[first].part < sizes->lists)
			sizes->rows[from.moved[first].part] += from.rows - first;
		give(&from, first);
	}
	drop(index, list);
	return true;
}

uint32
ds_lists_merge(Relation index)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch merge", ALLOCSET_DEFAULT_SIZES);
	MemoryContext each =
		AllocSetContextCreate(context, "deepsearch rewrite", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	uint32 merged = 0;
	Sizes sizes;

	measure_lists(index, &sizes);

	/* from the last on: a list that takes another's number was looked at before */
	for (uint32 list = sizes.lists; list-- > 0;)
	{
		bool done;

		if (sizes.rows[list] >= sizes.few)
			continue;
		CHECK_FOR_INTERRUPTS();
		ds_lock_shape(index, ExclusiveLock);
		ds_lock_list(index, list, ExclusiveLock);
		MemoryContextSwitchTo(each);
		done = merge_list(index, list, &sizes);
		MemoryContextSwitchTo(context);
		MemoryContextReset(each);
		ds_unlock_list(index, list, ExclusiveLock);
		ds_unlock_shape(index, ExclusiveLock);
		if (done)
		{
			/* its number is now that of the list that was the last */
			merged++;
			sizes.lists--;
			sizes.rows[list] = sizes.rows[sizes.lists];
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return merged;
}
