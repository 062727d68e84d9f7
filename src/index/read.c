/*
 * read.c
 *		Lists and rows for a scan.
 */
#include "index/scan.h"

#include <math.h>

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"

void *
ds_scan_grow(DsScan *scan, void *array, uint64 *room, uint64 count, Size size)
{
	if (array != NULL && count <= *room)
		return array;
	count = Max(count + count / 2, 256);
	*room = count;
	if (count > MaxAllocHugeSize / size)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("an index scan found too many rows to order")));
	if (array == NULL)
		return MemoryContextAllocHuge(scan->context, count * size);
	return repalloc_huge(array, count * size);
}

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
	uint64 candidates;
	uint64 tids;
	int64 codes;
	int64 refined;
} Mark;

static Mark
mark(const DsScan *scan)
{
	return (Mark){scan->probes, scan->ref_count,	scan->candidates,
				  scan->tids,	scan->counts.codes, scan->counts.refined};
}

static void
back_to(DsScan *scan, const Mark *m)
{
	scan->probes = m->probes;
	scan->ref_count = m->refs;
	scan->candidates = m->candidates;
	scan->tids = m->tids;
	scan->counts.codes = m->codes;
	scan->counts.refined = m->refined;
	scan->batches = 0;
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
		buffer = ReadBuffer(index, pages[i]);
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

double
ds_scan_refine(Relation index, DsScan *scan, const Candidate *candidate)
{
	const DsLayout *layout = &scan->view->layout;
	const BlockRef *ref = ref_at(scan, candidate->place / DS_BLOCK_ROWS);
	double bound;

	/* on a standby the page may be gone: then the executor decides alone */
	if (!refine_at(index, scan, ref->page,
				   ref->code_start + layout->rows_at +
					   (candidate->place % DS_BLOCK_ROWS) * layout->row_bytes,
				   ref->list, ref->generation, &scan->probe[ref->probe], &bound))
		return scan->least;
	return bound;
}

static void
candidates_of_block(DsScan *scan, const DsBlock *block, const float *bound, uint32 probe,
					uint32 list, uint32 generation)
{
	const DsLayout *layout = &scan->view->layout;
	uint64 room = scan->ref_room;
	BlockRef *ref;
	Candidate *to;
	uint32 live = block->live;

	scan->refs =
		ds_scan_grow(scan, scan->refs, &room, (uint64) scan->ref_count + 1, scan->ref_size);
	scan->ref_room = (uint32) Min(room, PG_UINT32_MAX / DS_BLOCK_ROWS);
	if (scan->ref_count >= scan->ref_room)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("an index scan found too many rows to order")));
	ref = ref_at(scan, scan->ref_count);
	ref->probe = probe;
	ref->list = list;
	ref->generation = generation;
	ref->code_start = block->code_start;
	memcpy(ref->page, (const char *) block + layout->pages_at,
		   layout->code_pages * sizeof(BlockNumber));

	scan->candidate = ds_scan_grow(scan, scan->candidate, &scan->candidate_room,
								   scan->candidates + DS_BLOCK_ROWS, sizeof(Candidate));
	to = scan->candidate + scan->candidates;
	while (live != 0)
	{
		int row = pg_rightmost_one_pos32(live);

		live &= live - 1;
		/* comparisons must have an answer */
		to->bound = bound[row] == bound[row] ? bound[row] : -INFINITY;
		to->place = scan->ref_count * DS_BLOCK_ROWS + row;
		to->tid = block->tid[row];
		to++;
	}
	scan->candidates = to - scan->candidate;
	scan->ref_count++;
}

/* The rows of a block; false when a page has become another's. */
static bool
read_block(Relation index, DsScan *scan, DsBlock *block, const DsProbe *probe, uint32 probe_number,
		   uint32 list, uint32 generation, ReadMode mode)
{
	const DsLayout *layout = &scan->view->layout;
	float estimate[DS_BLOCK_ROWS];
	float bound[DS_BLOCK_ROWS];
	uint32 live = block->live;

	if (mode == READ_CANDIDATES)
	{
		const uint8 *signs = ds_block_signs(layout, block);
		const DsBlockFactors *factors = ds_block_factors(layout, block);

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
		candidates_of_block(scan, block, bound, probe_number, list, generation);
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

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBuffer(index, number);
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

			if (block->live == 0)
				continue;
			if (mode != READ_TIDS && block->centroid != coded_for)
			{
				if (block->centroid >= view->centroids)
					ds_page_corrupted(index, number, "a block without a centroid");
				coded_for = block->centroid;
				ds_query_probe(scan->query, ds_view_centroid(view, coded_for), &probe);
				if (mode == READ_CANDIDATES)
				{
					uint64 room = scan->probe_room;

					scan->probe = ds_scan_grow(scan, scan->probe, &room, (uint64) scan->probes + 1,
											   sizeof(DsProbe));
					scan->probe_room = (uint32) Min(room, PG_UINT32_MAX);
					scan->probe[scan->probes++] = probe;
				}
			}
			if (block->code_start >= DS_PAGE_SPACE)
				ds_page_corrupted(index, number, "a block without codes");
			whole = read_block(index, scan, block, &probe, scan->probes - 1, list,
							   entry->generation, mode);
		}
		number = ds_page_opaque(page)->next;
		if (!copy)
			UnlockReleaseBuffer(buffer);
		if (!whole)
			return false;
	}
	return true;
}

/*
 * Read a list from a view.  On a standby its pages may have been given to
 * another list since the view was read: then what was read of it so far is
 * dropped, and the lists that were made of it are read instead.  Lists are
 * only ever split, so those are the list itself and the newer ones that
 * descend from it.
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
		now->entry[list].generation == view->entry[list].generation)
		ds_page_corrupted(index, view->entry[list].head, "a page of a list is another's");
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
