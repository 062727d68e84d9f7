/*
 * read.c
 *		Lists and rows for a scan.
 */
#include "index/scan.h"

#include <float.h>
#include <math.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"

static inline BlockRef *
ref_at(const DsScan *scan, uint32 i)
{
	return (BlockRef *) (scan->refs + (Size) i * scan->ref_size);
}

/* The rows' part of a scan's fields, to come back to when a list is given up */
typedef struct Mark
{
	uint32 probes;
	uint32 refs;
	uint64 rows;
	uint64 rows_left;
	uint64 tids;
	DsScanCounts counts;
} Mark;

static Mark
mark(const DsScan *scan)
{
	return (Mark){scan->probes,	   scan->ref_count, scan->rows.count,
				  scan->rows.left, scan->tids,		scan->counts};
}

static void
back_to(DsScan *scan, const Mark *m)
{
	scan->probes = m->probes;
	scan->ref_count = m->refs;
	scan->rows.count = m->rows;
	scan->rows.left = m->rows_left;
	scan->tids = m->tids;
	scan->counts = m->counts;
	scan->batches = 0;
}

static inline Buffer
read_page(Relation index, DsView *view, BlockNumber block)
{
	return ds_recent_read(&view->recent, index, block);
}

/* Load a part of a page, its header and its end into the processor's cache. */
static inline void
touch_page(const DsView *view, BlockNumber block, Size at, Size size)
{
	const char *page = ds_recent_page(&view->recent, block);

	if (page == NULL)
		return;
	ds_prefetch(page);
	ds_prefetch(page + BLCKSZ - MAXALIGN(sizeof(DsPageOpaque)));
	ds_touch(page + MAXALIGN(SizeOfPageHeaderData) + at, size);
}

void
ds_scan_touch(const DsScan *scan, uint32 list)
{
	BlockNumber head = scan->view->entry[list].head;

	if (BlockNumberIsValid(head))
	{
		touch_page(scan->view, head, 0, 4096);
		if (scan->view->entry[list].run > 1)
			touch_page(scan->view, head + 1, 0, 512);
	}
}

/* The true bound of a row whose codes are whole on a locked page */
static inline void
refine_whole(Relation index, DsScan *scan, Page page, BlockNumber block, Size at,
			 const DsProbe *probe, double *bound)
{
	const DsLayout *layout = &scan->view->layout;
	const char *from = PageGetContents(page) + at;
	DsRowFactors factors;
	DsRefined refined;

	if (unlikely(ds_page_used(page) < at + layout->row_bytes))
		ds_page_corrupted(index, block, "a row without codes");
	memcpy(&factors, from, sizeof(factors));
	ds_query_refine(
		scan->query, probe, &factors,
		ds_query_dot(scan->query, 0, (const int8 *) from + sizeof(factors), layout->dimension),
		&refined);

	/* not a number: damaged factors; no bound is always true */
	*bound = refined.bound >= scan->least ? refined.bound : scan->least;
	scan->counts.refined++;
}

/*
 * The true bound of one row from its codes on pages; false when a page has
 * become another's.
 */
static bool
refine_at(Relation index, DsScan *scan, const BlockNumber *pages, Size position, uint32 list,
		  uint32 generation, const DsProbe *probe, double *bound)
{
	const DsLayout *layout = &scan->view->layout;
	DsRowFactors factors;
	DsRefined refined;
	Size done = 0; /* bytes of the row's record */
	double dot = 0;

	while (done < layout->row_bytes)
	{
		Size i = position / DS_PAGE_SPACE;
		Size at = position % DS_PAGE_SPACE;
		Size part = Min(layout->row_bytes - done, DS_PAGE_SPACE - at);
		Size used = part;
		const char *from;
		Buffer buffer;
		Page page;

		if (unlikely(i >= layout->code_pages || !BlockNumberIsValid(pages[i])))
			ds_page_corrupted(index, pages[0], "a row without codes");
		buffer = read_page(index, scan->view, pages[i]);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (unlikely(!ds_page_is_list(index, buffer, DS_PAGE_CODES, list, generation)))
		{
			UnlockReleaseBuffer(buffer);
			return false;
		}
		page = BufferGetPage(buffer);
		if (unlikely(ds_page_used(page) < at + part))
			ds_page_corrupted(index, pages[i], "a row without codes");
		from = PageGetContents(page) + at;
		if (done < sizeof(DsRowFactors))
		{
			Size head = Min(part, sizeof(DsRowFactors) - done);

			memcpy((char *) &factors + done, from, head);
			from += head;
			used -= head;
		}
		if (used > 0)
			dot += ds_query_dot(scan->query, done + part - used - sizeof(DsRowFactors),
								(const int8 *) from, used);
		UnlockReleaseBuffer(buffer);
		done += part;
		position += part;
	}
	ds_query_refine(scan->query, probe, &factors, dot, &refined);

	/* not a number: damaged factors; no bound is always true */
	*bound = refined.bound >= scan->least ? refined.bound : scan->least;
	scan->counts.refined++;
	return true;
}

/* Where a row's codes begin, counted from the beginning of the first page of its area */
static inline Size
row_position(const DsLayout *layout, const BlockRef *ref, uint32 place)
{
	return ref->code_start + layout->rows_at + (place % DS_BLOCK_ROWS) * layout->row_bytes;
}

static int
compare_places(const void *a, const void *b)
{
	uint32 x = *(const uint32 *) a;
	uint32 y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

static void
sort_places(uint32 *place, uint32 count)
{
	uint32 sorted = 1;

	while (sorted < count && place[sorted - 1] <= place[sorted])
		sorted++;
	if (sorted >= count)
		return;
	if (count > 64)
	{
		qsort(place, count, sizeof(uint32), compare_places);
		return;
	}
	for (uint32 i = 1; i < count; i++)
	{
		uint32 here = place[i];
		uint32 at = i;

		for (; at > 0 && place[at - 1] > here; at--)
			place[at] = place[at - 1];
		place[at] = here;
	}
}

void
ds_scan_refine(Relation index, DsScan *scan, uint32 *place, uint32 count)
{
	const DsLayout *layout = &scan->view->layout;
	Refined *to;
	Buffer buffer = InvalidBuffer;
	BlockNumber held = InvalidBlockNumber; /* page of buffer, locked, checked */

	scan->refined = ds_scan_grow(scan, scan->refined, &scan->refined_room, scan->refineds + count,
								 sizeof(Refined));
	to = scan->refined + scan->refineds;
	sort_places(place, count);
	for (uint32 i = 0; i < count; i++)
	{
		const BlockRef *ref = ref_at(scan, place[i] / DS_BLOCK_ROWS);
		Size position = row_position(layout, ref, place[i]);
		Size page = position / DS_PAGE_SPACE;

		if (page < layout->code_pages && BlockNumberIsValid(ref->page[page]))
			touch_page(scan->view, ref->page[page], position % DS_PAGE_SPACE, layout->row_bytes);
	}
	for (uint32 i = 0; i < count; i++, to++)
	{
		const BlockRef *ref = ref_at(scan, place[i] / DS_BLOCK_ROWS);
		const DsProbe *probe = &scan->probe[ref->probe];
		Size position = row_position(layout, ref, place[i]);
		Size page = position / DS_PAGE_SPACE;
		Size at = position % DS_PAGE_SPACE;
		BlockNumber block;

		to->tid = scan->row_tid[place[i]];
		to->bound = scan->least;
		if (unlikely(page >= layout->code_pages || !BlockNumberIsValid(ref->page[page])))
			ds_page_corrupted(index, ref->page[0], "a row without codes");
		block = ref->page[page];
		if (BlockNumberIsValid(held) && (block != held || at + layout->row_bytes > DS_PAGE_SPACE))
		{
			UnlockReleaseBuffer(buffer);
			held = InvalidBlockNumber;
		}
		/* on a standby the page may be gone: then the executor decides alone */
		if (at + layout->row_bytes > DS_PAGE_SPACE)
		{
			/* cut at the page's end */
			if (!refine_at(index, scan, ref->page, position, ref->list, ref->generation, probe,
						   &to->bound))
				to->bound = scan->least;
			continue;
		}
		if (block != held)
		{
			buffer = read_page(index, scan->view, block);
			LockBuffer(buffer, BUFFER_LOCK_SHARE);
			if (unlikely(
					!ds_page_is_list(index, buffer, DS_PAGE_CODES, ref->list, ref->generation)))
			{
				UnlockReleaseBuffer(buffer);
				continue;
			}
			held = block;
		}
		refine_whole(index, scan, BufferGetPage(buffer), block, at, probe, &to->bound);
	}
	if (BlockNumberIsValid(held))
		UnlockReleaseBuffer(buffer);
}

/* A block's place among the scan's rows: room for its bounds */
static float *
block_begin(DsScan *scan, const DsBlock *block, uint32 probe, uint32 list, uint32 generation)
{
	const DsLayout *layout = &scan->view->layout;
	uint64 rows = (uint64) scan->ref_count * DS_BLOCK_ROWS;
	BlockRef *ref;

	if (scan->ref_count >= PG_UINT32_MAX / DS_BLOCK_ROWS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("an index scan found too many rows to order")));
	scan->refs = ds_scan_grow(scan, scan->refs, &scan->ref_room,
							  ((uint64) scan->ref_count + 1) * scan->ref_size, 1);
	ref = ref_at(scan, scan->ref_count);
	ref->probe = probe;
	ref->list = list;
	ref->generation = generation;
	ref->code_start = block->code_start;
	memcpy(ref->page, (const char *) block + layout->pages_at,
		   layout->code_pages * sizeof(BlockNumber));

	scan->rows.bound =
		ds_scan_grow(scan, scan->rows.bound, &scan->rows.room, rows + DS_BLOCK_ROWS, sizeof(float));
	scan->row_tid = ds_scan_grow(scan, scan->row_tid, &scan->row_tid_room, rows + DS_BLOCK_ROWS,
								 sizeof(ItemPointerData));
	memcpy(scan->row_tid + rows, block->tid, sizeof(block->tid));
	return scan->rows.bound + rows;
}

/* Its bounds are known: the block joins the others. */
static void
block_end(DsScan *scan, uint32 live, float *bound)
{
	/* comparisons must have an answer, and infinity means that there is no row */
	for (int i = 0; i < DS_BLOCK_ROWS; i++)
		bound[i] = bound[i] <= FLT_MAX ? bound[i] : bound[i] > FLT_MAX ? FLT_MAX : -INFINITY;
	if (live != PG_UINT32_MAX)
		for (int i = 0; i < DS_BLOCK_ROWS; i++)
			if ((live >> i & 1) == 0)
				bound[i] = INFINITY;
	scan->ref_count++;
	scan->rows.count = (uint64) scan->ref_count * DS_BLOCK_ROWS;
	scan->rows.left += pg_popcount32(live);
}

/* The rows `live` of a block; false when a page has become another's. */
static bool
read_block(Relation index, DsScan *scan, DsBlock *block, uint32 live, const DsProbe *probe,
		   uint32 probe_number, uint32 list, uint32 generation, ReadMode mode)
{
	const DsLayout *layout = &scan->view->layout;
	float estimate[DS_BLOCK_ROWS];

	if (mode == READ_CANDIDATES)
	{
		const uint8 *signs = ds_block_signs(layout, block);
		const DsBlockFactors *factors = ds_block_factors(layout, block);
		float *bound = block_begin(scan, block, probe_number, list, generation);

		if (likely(layout->rows_at == 0))
			ds_query_scan(scan->query, probe, signs, factors, estimate, bound);
		else
		{
			uint32_t sums[DS_BLOCK_ROWS] = {0};

			if (!ds_area_read(index, layout, block, list, generation, 0, scan->spill,
							  layout->rows_at))
				return false;
			ds_query_scan_part(scan->query, 0, signs, layout->inline_groups, sums);
			ds_query_scan_part(scan->query, layout->inline_groups, (uint8 *) scan->spill,
							   layout->groups - layout->inline_groups, sums);
			ds_query_scan_finish(scan->query, probe, sums, factors, estimate, bound);
		}
		scan->counts.codes += pg_popcount32(live);
		block_end(scan, live, bound);
		return true;
	}

	while (live != 0)
	{
		int row = pg_rightmost_one_pos32(live);

		live &= live - 1;
		if (mode == READ_TIDS)
		{
			scan->tid = ds_scan_grow(scan, scan->tid, &scan->tid_room, scan->tids + 1,
									 sizeof(ItemPointerData));
			scan->tid[scan->tids++] = block->tid[row];
		}
		else
		{
			Refined *to;

			scan->batch = ds_scan_grow(scan, scan->batch, &scan->batch_room, scan->batches + 1,
									   sizeof(Refined));
			to = &scan->batch[scan->batches];
			to->tid = block->tid[row];
			if (!refine_at(index, scan, ds_block_pages(layout, block),
						   block->code_start + layout->rows_at + row * layout->row_bytes, list,
						   generation, probe, &to->bound))
				return false;
			scan->batches++;
		}
	}
	return true;
}

/* False when a page has become another's; the caller undoes what was read. */
static bool
read_pages(Relation index, DsScan *scan, const DsView *view, uint32 list, ReadMode mode)
{
	const DsListEntry *entry = &view->entry[list];
	const DsLayout *layout = &view->layout;
	BlockNumber number = entry->head;
	uint32 ordinal = 0;
	uint32 coded_for = PG_UINT32_MAX;
	DsProbe probe = {0};

	/*
	 * Never two page locks at a time: recovery takes a record's pages in the
	 * order in which the record names them, codes before blocks.  So where
	 * codes are read along with the blocks, it is from a copy of these.
	 */
	bool copy = mode == READ_REFINED || (mode == READ_CANDIDATES && layout->rows_at > 0);

	while (BlockNumberIsValid(number))
	{
		Buffer buffer;
		Page page;
		uint32 blocks;
		bool whole = true;
		bool held = !copy;

		CHECK_FOR_INTERRUPTS();
		buffer = read_page(index, scan->view, number);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (!ds_page_is_list(index, buffer, DS_PAGE_BLOCKS, list, entry->generation))
		{
			UnlockReleaseBuffer(buffer);
			return false;
		}
		page = BufferGetPage(buffer);
		if (ds_page_opaque(page)->ordinal != ordinal++)
			ds_page_corrupted(index, number, "the chain of a list is broken");
		blocks = ds_page_blocks_checked(layout, index, buffer);
		if (copy)
		{
			memcpy(scan->page, page, BLCKSZ);
			page = scan->page;
			UnlockReleaseBuffer(buffer);
		}
		for (uint32 i = 0; i < blocks && whole; i++)
		{
			DsBlock *block = ds_page_block(layout, page, i);
			uint32 live = block->live;

			if (scan->filter != NULL)
			{
				uint32 all = live;

				live = ds_filter_block(scan->filter, layout, block, live);
				scan->counts.filtered += pg_popcount32(all & ~live);
			}
			if (live == 0)
				continue;
			if (mode != READ_TIDS && block->centroid != coded_for)
			{
				if (block->centroid >= view->centroids)
					ds_page_corrupted(index, number, "a block without a centroid");
				if (held && view->centroid[block->centroid] == NULL)
				{
					/* one that a split has left: to read it takes another page */
					memcpy(scan->page, page, BLCKSZ);
					page = scan->page;
					block = ds_page_block(layout, page, i);
					UnlockReleaseBuffer(buffer);
					held = false;
				}
				coded_for = block->centroid;
				ds_query_probe(scan->query, ds_view_centroid(view, coded_for), &probe);
				if (mode == READ_CANDIDATES)
				{
					scan->probe = ds_scan_grow(scan, scan->probe, &scan->probe_room,
											   (uint64) scan->probes + 1, sizeof(DsProbe));
					scan->probe[scan->probes++] = probe;
				}
			}
			if (block->code_start >= DS_PAGE_SPACE)
				ds_page_corrupted(index, number, "a block without codes");
			whole = read_block(index, scan, block, live, &probe, scan->probes - 1, list,
							   entry->generation, mode);
		}
		number = ds_page_opaque(page)->next;
		if (held)
			UnlockReleaseBuffer(buffer);
		if (!whole)
			return false;
	}
	return true;
}

/*
 * Read a list from a view.  On a standby its pages may have been given to
 * another list since the view was read: then what was read of it so far is
 * dropped, and the lists that were made of it are read instead.  As long as
 * lists are only split, those are the list itself and the newer ones that
 * descend from it.  After a merge its rows may be in any list, and others'
 * rows in it: then the scan cannot go on.
 */
static void
read_list(Relation index, DsScan *scan, DsView *view, uint32 list, ReadMode mode)
{
	Mark start = mark(scan);
	DsView *now;
	uint32 old_lists = view->meta.lists;
	bool *descends;

	if (read_pages(index, scan, view, list, mode))
	{
		/* complete: what was collected apart joins the rest */
		scan->refined = ds_scan_grow(scan, scan->refined, &scan->refined_room,
									 scan->refineds + scan->batches, sizeof(Refined));
		for (uint64 i = 0; i < scan->batches; i++)
			scan->refined[scan->refineds++] = scan->batch[i];
		scan->batches = 0;
		return;
	}

	CHECK_FOR_INTERRUPTS();
	back_to(scan, &start);
	now = ds_view_get(index);
	if (now == view || now->meta.build_id != view->meta.build_id ||
		(now->meta.merges == view->meta.merges &&
		 now->entry[list].generation == view->entry[list].generation) ||
		(now->meta.merges != view->meta.merges && !RecoveryInProgress()))
		ds_page_corrupted(index, view->entry[list].head, "a page of a list is another's");
	if (now->meta.merges != view->meta.merges)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("canceling statement due to conflict with recovery"),
						errdetail("Lists of index \"%s\" were merged, and pages that the query "
								  "still needed were given away.",
								  RelationGetRelationName(index))));
	ds_view_pin(now, scan->context);
	descends = MemoryContextAllocZero(scan->context, now->meta.lists);
	descends[list] = true;
	read_list(index, scan, now, list, mode);
	for (uint32 i = old_lists; i < now->meta.lists; i++)
		if (now->entry[i].parent < i && descends[now->entry[i].parent])
		{
			descends[i] = true;
			read_list(index, scan, now, i, mode);
		}
	pfree(descends);
}

void
ds_scan_read_list(Relation index, DsScan *scan, uint32 list, ReadMode mode)
{
	read_list(index, scan, scan->view, list, mode);
	scan->counts.lists++;
}

void
ds_scan_prefetch(Relation index, const DsScan *scan, uint32 list)
{
	const DsListEntry *entry = &scan->view->entry[list];

	if (BlockNumberIsValid(entry->head))
		for (uint32 i = 0; i < Min(entry->run, 16); i++)
			PrefetchBuffer(index, MAIN_FORKNUM, entry->head + i);
}

bool
ds_scan_read_tids(Relation index, DsScan *scan)
{
	Buffer buffer;
	Page page;
	DsPageOpaque *opaque;

	if (!BlockNumberIsValid(scan->tid_page))
		return false;
	buffer = ds_page_read(index, scan->tid_page, DS_PAGE_TIDS, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	opaque = ds_page_opaque(page);
	if (opaque->list != (uint32) scan->chain || opaque->ordinal != scan->tid_ordinal++)
		ds_page_corrupted(index, scan->tid_page, "the chain of row ids is broken");
	scan->tids = ds_page_used(page) / sizeof(ItemPointerData);
	scan->tid_next = 0;
	scan->tid = ds_scan_grow(scan, scan->tid, &scan->tid_room, scan->tids, sizeof(ItemPointerData));
	memcpy(scan->tid, ds_page_tids(page), scan->tids * sizeof(ItemPointerData));
	scan->tid_page = opaque->next;
	UnlockReleaseBuffer(buffer);
	return true;
}
