/*
 * split.c
 *		Rewriting a list: in two, or in one without its holes.
 *
 * Rows are moved from code to code: the heap is not read, so any inserting
 * backend and VACUUM can do it.  A row keeps the codes it has, and with them
 * the centroid it was coded for; only the lists' own centroids, by which rows
 * and queries find them, are new.  They come from a k-means with two clusters
 * over what the 8-bit codes remember of the rows.
 *
 * Order of records: generations are taken; new pages are written, which
 * nothing names yet; vectors are appended behind those that count; one record
 * changes the directory.  A crash in between leaves pages of a generation that
 * no list has, which VACUUM finds.
 */
#include "index/rewrite.h"

#include <math.h>

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "quant/kmeans.h"
#include "utils/memutils.h"
#include "vector/kernels.h"

/* Rows at most that the two centroids are made of */
#define SPLIT_SAMPLE 2048

Moved *
ds_rewrite_add(Rewrite *rewrite)
{
	Moved *moved;

	if (rewrite->rows >= rewrite->room)
	{
		rewrite->room = Max(rewrite->room * 2, 512);
		rewrite->moved =
			rewrite->moved == NULL
				? MemoryContextAllocHuge(CurrentMemoryContext, rewrite->room * sizeof(Moved))
				: repalloc_huge(rewrite->moved, rewrite->room * sizeof(Moved));
	}
	moved = &rewrite->moved[rewrite->rows];
	moved->part = 0;
	moved->order = (uint32) rewrite->rows++;
	return moved;
}

void
ds_rewrite_collect(Rewrite *rewrite)
{
	Relation index = rewrite->index;
	const DsView *view = rewrite->view;
	const DsLayout *layout = &view->layout;
	const DsListEntry *entry = &view->entry[rewrite->list];
	BlockNumber number = entry->head;
	uint32 ordinal = 0;
	char *copy = palloc(BLCKSZ);
	char *area = palloc(layout->area_size);

	while (BlockNumberIsValid(number))
	{
		Buffer buffer;
		Page page = copy;
		uint32 blocks;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBuffer(index, number);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (!ds_page_is_list(index, buffer, DS_PAGE_BLOCKS, rewrite->list, entry->generation) ||
			ds_page_opaque(BufferGetPage(buffer))->ordinal != ordinal++)
			ds_page_corrupted(index, number, "the chain of a list is broken");
		blocks = ds_page_blocks_checked(layout, index, buffer);
		memcpy(copy, BufferGetPage(buffer), BLCKSZ);
		UnlockReleaseBuffer(buffer);
		rewrite->places += blocks * DS_BLOCK_ROWS;

		for (uint32 i = 0; i < blocks; i++)
		{
			DsBlock *block = ds_page_block(layout, page, i);
			uint32 live = block->live;
			Size used;

			if (live == 0)
				continue;
			if (block->centroid >= view->centroids || block->code_start >= DS_PAGE_SPACE)
				ds_page_corrupted(index, number, "impossible block");

			/* up to the last row that exists: pages behind may be missing */
			used = layout->rows_at + (pg_leftmost_one_pos32(live) + 1) * layout->row_bytes;
			if (!ds_area_read(index, layout, block, rewrite->list, entry->generation, 0, area,
							  used))
				ds_page_corrupted(index, number, "codes of another list");
			while (live != 0)
			{
				unsigned at = pg_rightmost_one_pos32(live);
				const char *codes = area + layout->rows_at + at * layout->row_bytes;
				uint8 *signs = palloc(layout->groups + layout->dimension + layout->filter_size);
				Moved *to;

				live &= live - 1;
				to = ds_rewrite_add(rewrite);
				to->row.tid = block->tid[at];
				to->row.centroid = block->centroid;
				to->row.sign = ds_block_get_factors(ds_block_factors(layout, block), at);
				memcpy(&to->row.factors, codes, sizeof(DsRowFactors));
				ds_block_get(ds_block_signs(layout, block), at, signs, layout->inline_groups);
				if (layout->rows_at > 0)
					ds_block_get((uint8 *) area, at, signs + layout->inline_groups,
								 layout->groups - layout->inline_groups);
				memcpy(signs + layout->groups, codes + sizeof(DsRowFactors), layout->dimension);
				to->row.signs = signs;
				to->row.bytes = (int8 *) signs + layout->groups;
				to->row.filter = to->row.bytes + layout->dimension;
				ds_block_get_filter(layout, block, at, (char *) to->row.filter);
			}
		}
		number = ds_page_opaque(page)->next;
	}
	pfree(area);
	pfree(copy);
}

void
ds_rewrite_remember(const Rewrite *rewrite, const DsRow *row, float *y)
{
	const DsView *view = rewrite->view;
	uint32 d = view->meta.dimension;

	ds_quantizer_decode(&view->quantizer, &row->factors, row->bytes,
						ds_view_centroid(view, row->centroid), y);
	if (!ds_kernels()->all_finite(y, d))
		memset(y, 0, sizeof(float) * d);
}

float
ds_rewrite_reach(const DsRow *row, double squared)
{
	/* the codes are off by `error` at most; the rest is for the roundings */
	double reach = sqrt(squared) * (1 + 1e-6) + row->factors.error;

	reach = nextafterf((float) reach, INFINITY);
	return reach == reach ? (float) reach : INFINITY;
}

/*
 * Divide the rows among two new centroids.  False when they cannot be told
 * apart.
 */
static bool
divide(Rewrite *rewrite, float *centroid, float *radius, uint64 *rows)
{
	uint32 d = rewrite->view->meta.dimension;
	uint64 n = Min(rewrite->rows, SPLIT_SAMPLE);
	float *sample = MemoryContextAllocHuge(CurrentMemoryContext, n * d * sizeof(float));
	float *y = palloc(sizeof(float) * d);
	DsKmeansOptions options;
	DsStatus status;
	DsArena arena;
	uint32 lists;

	for (uint64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		ds_rewrite_remember(rewrite, &rewrite->moved[i * rewrite->rows / n].row, sample + i * d);
	}
	memset(&options, 0, sizeof(options));
	options.lists = 2;
	options.seed = rewrite->view->meta.seed;
	options.cancel = ds_server_cancel;
	ds_server_arena(&arena, CurrentMemoryContext);
	ds_check(ds_kmeans(sample, n, d, &options, &arena, centroid, &lists, &status), &status);
	ds_arena_free(&arena);
	pfree(sample);
	if (lists < 2)
		return false;

	rows[0] = rows[1] = 0;
	radius[0] = radius[1] = 0;
	for (uint64 i = 0; i < rewrite->rows; i++)
	{
		Moved *moved = &rewrite->moved[i];
		double distance[2];

		CHECK_FOR_INTERRUPTS();
		ds_rewrite_remember(rewrite, &moved->row, y);
		for (int p = 0; p < 2; p++)
			distance[p] = ds_kernels()->l2_squared_wide(y, centroid + (Size) p * d, d);
		moved->part = distance[1] < distance[0];
		rows[moved->part]++;
		ds_rewrite_raise(&radius[moved->part],
						 ds_rewrite_reach(&moved->row, distance[moved->part]));
	}
	pfree(y);
	return rows[0] > 0 && rows[1] > 0;
}

static int
compare_moved(const Moved *x, const Moved *y)
{
	if (x->part != y->part)
		return x->part < y->part ? -1 : 1;
	if (x->row.centroid != y->row.centroid)
		return x->row.centroid < y->row.centroid ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* the server's quicksort, which looks at interrupts */
#define ST_SORT sort_moved
#define ST_ELEMENT_TYPE Moved
#define ST_COMPARE(a, b) compare_moved(a, b)
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

void
ds_rewrite_sort(Rewrite *rewrite)
{
	if (rewrite->rows > 0)
		sort_moved(rewrite->moved, rewrite->rows);
}

void
ds_rewrite_write(const Rewrite *rewrite, uint64 from, uint64 until, uint32 list, uint32 generation,
				 DsListEntry *entry)
{
	uint64 blocks = 0;
	uint64 run = 0;
	DsListWriter *writer;

	for (uint64 i = from; i < until; i++)
	{
		if (i > from && rewrite->moved[i].row.centroid != rewrite->moved[i - 1].row.centroid)
			run = 0;
		if (run++ % DS_BLOCK_ROWS == 0)
			blocks++;
	}
	writer =
		ds_writer_begin(rewrite->index, false, &rewrite->view->layout, list, generation, blocks);
	for (uint64 i = from; i < until; i++)
		ds_writer_row(writer, &rewrite->moved[i].row);
	ds_writer_end(writer, entry);
}

uint32
ds_rewrite_generations(Relation index, uint32 count)
{
	DsLog log;
	DsMeta *meta;
	uint32 first;

	ds_log_begin(&log, index, false);
	meta = ds_page_meta(ds_log_page(&log, ds_meta_lock(index), false));
	first = meta->next_generation;
	if (first > PG_UINT32_MAX - count)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" was changed too often", RelationGetRelationName(index)),
				 errhint("REINDEX it.")));
	meta->next_generation += count;
	ds_log_end(&log);
	return first;
}

/* Do not try again before the list has twice the rows. */
static void
postpone(Rewrite *rewrite)
{
	DsLog log;
	Buffer buffer = ds_page_read(rewrite->index,
								 rewrite->view->directory_page[rewrite->list / DS_ENTRIES_PER_PAGE],
								 DS_PAGE_DIRECTORY, BUFFER_LOCK_EXCLUSIVE);

	ds_log_begin(&log, rewrite->index, false);
	ds_directory_entry(rewrite->index, buffer, ds_log_page(&log, buffer, false), rewrite->list)
		->split_at = (uint32) Min(rewrite->places * 2, PG_UINT32_MAX);
	ds_log_end(&log);
}

/* One record: the directory names the new lists. */
static void
flip(Rewrite *rewrite, DsMeta *meta, const DsListEntry *entry, int parts)
{
	Relation index = rewrite->index;
	DsView *view = rewrite->view;
	uint32 list = rewrite->list;
	BlockNumber block = view->directory_page[list / DS_ENTRIES_PER_PAGE];
	BlockNumber new_block = InvalidBlockNumber;
	Buffer buffer;
	DsLog log;
	Page page;
	DsMeta *stored;

	if (parts > 1)
		new_block = ds_directory_page(index, false, meta, meta->lists);
	buffer = ds_page_read(index, block, DS_PAGE_DIRECTORY, BUFFER_LOCK_EXCLUSIVE);
	ds_log_begin(&log, index, false);
	page = ds_log_page(&log, buffer, false);
	*ds_directory_entry(index, buffer, page, list) = entry[0];
	if (parts > 1)
	{
		if (new_block != block)
			page = ds_log_page(
				&log, ds_page_read(index, new_block, DS_PAGE_DIRECTORY, BUFFER_LOCK_EXCLUSIVE),
				false);
		((PageHeader) page)->pd_lower =
			MAXALIGN(SizeOfPageHeaderData) +
			(meta->lists % DS_ENTRIES_PER_PAGE + 1) * sizeof(DsListEntry);
		((DsListEntry *) PageGetContents(page))[meta->lists % DS_ENTRIES_PER_PAGE] = entry[1];
		meta->lists++;
	}
	stored = ds_page_meta(ds_log_page(&log, ds_meta_lock(index), false));
	stored->lists = meta->lists;
	stored->vectors = meta->vectors;
	stored->vectors_head = meta->vectors_head;
	stored->vectors_tail = meta->vectors_tail;
	stored->routes_head = meta->routes_head;
	stored->directory_head = meta->directory_head;
	stored->directory_tail = meta->directory_tail;
	stored->directory_version++;
	stored->rewrites++;
	ds_log_end(&log);
}

static void
rewrite_list(Relation index, uint32 list, bool split)
{
	Rewrite rewrite = {index, ds_view_get(index), list, NULL, 0, 0, 0};
	DsView *view = rewrite.view;
	uint32 d = view->meta.dimension;
	DsListEntry entry[2];
	DsMeta meta;
	float *centroid = NULL;
	float radius[2];
	uint64 rows[2];
	int parts = 1;
	uint32 generation;
	double total = 0;

	if (list >= view->meta.lists)
		return;
	ds_rewrite_collect(&rewrite);
	for (uint32 i = 0; i < view->meta.lists; i++)
		total += view->entry[i].rows;
	entry[0] = entry[1] = view->entry[list];
	rows[0] = rewrite.rows;
	if (split && rewrite.rows >= 1.5 * ds_list_rows(&view->layout, total))
	{
		centroid = palloc(sizeof(float) * 2 * d);
		if (!divide(&rewrite, centroid, radius, rows))
		{
			postpone(&rewrite);
			return;
		}
		parts = 2;
		ds_rewrite_sort(&rewrite);
	}
	else if (split && rewrite.rows == rewrite.places)
		return; /* somebody else did it */
	else
		ds_rewrite_sort(&rewrite);

	generation = ds_rewrite_generations(index, parts);
	ds_meta_read(index, &meta);
	for (int p = 0; p < parts; p++)
		ds_rewrite_write(&rewrite, p == 0 ? 0 : rows[0], p == 0 ? rows[0] : rewrite.rows,
						 p == 0 ? list : meta.lists, generation + p, &entry[p]);
	entry[0].split_at = entry[1].split_at = 0;
	if (parts > 1)
	{
		uint32 first = ds_meta_centroids(&meta);

		ds_centroids_append(index, false, &meta, &view->quantizer, view, centroid, 2);
		for (int p = 0; p < 2; p++)
		{
			entry[p].centroid = first + p;
			entry[p].radius = radius[p];

			/* a few rows that are far from the rest: not again and again */
			if (rows[p] > rewrite.rows * 7 / 8)
				entry[p].split_at = (uint32) Min(rewrite.rows * 3 / 2, PG_UINT32_MAX);
		}
		entry[1].parent = list;
	}
	flip(&rewrite, &meta, entry, parts);
}

bool
ds_list_rewrite(Relation index, uint32 list, bool split)
{
	MemoryContext context;
	MemoryContext old;

	/* one at a time, and none while VACUUM goes over the pages: the next insert will see */
	if (!ds_lock_shape_if_free(index, ExclusiveLock))
		return false;
	ds_lock_list(index, list, ExclusiveLock);
	context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch rewrite", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	rewrite_list(index, list, split);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	ds_unlock_list(index, list, ExclusiveLock);
	ds_unlock_shape(index, ExclusiveLock);
	return true;
}

/* ---- rows encoded again ---- */

/* Encode the rows that can be read for the list's centroid; how many that were. */
static uint64
recode_rows(Rewrite *rewrite, DsVectorCallback callback, void *state, float *radius)
{
	DsView *view = rewrite->view;
	const DsLayout *layout = &view->layout;
	uint32 d = view->meta.dimension;
	uint32 target = view->entry[rewrite->list].centroid;
	const float *centroid = ds_view_centroid(view, target);
	float *y = palloc(sizeof(float) * d);
	uint64 recoded = 0;

	*radius = 0;
	for (uint64 i = 0; i < rewrite->rows; i++)
	{
		DsRow *row = &rewrite->moved[i].row;
		DsEmbeddingView vector;
		DsPlace place;
		float reach;

		CHECK_FOR_INTERRUPTS();
		if (callback(state, &row->tid, &vector))
		{
			uint8 *codes = (uint8 *) row->signs;
			DsCoded coded = {.signs = codes, .bytes = (int8 *) codes + layout->groups};

			ds_view_check_dimension(view, vector.dim);
			place = ds_quantizer_place(&view->quantizer, vector.x, y);
			if (place == DS_PLACE_ZERO)
				ds_page_corrupted(rewrite->index, view->entry[rewrite->list].head,
								  "a row of length zero is in a list");
			ds_quantizer_encode(&view->quantizer, place, y, centroid, &coded);
			row->sign = coded.sign;
			row->factors = coded.row;
			row->centroid = target;
			reach = coded.radius;
			recoded++;
		}
		else
		{
			ds_rewrite_remember(rewrite, row, y);
			reach = ds_rewrite_reach(row, ds_kernels()->l2_squared_wide(y, centroid, d));
		}
		ds_rewrite_raise(radius, reach);
	}
	pfree(y);
	return recoded;
}

static uint64
recode_list(Relation index, uint32 list, DsVectorCallback callback, void *state)
{
	Rewrite rewrite = {index, ds_view_get(index), list, NULL, 0, 0, 0};
	DsView *view = rewrite.view;
	DsListEntry entry;
	DsMeta meta;
	uint64 foreign = 0;
	uint64 recoded;
	float radius;

	if (list >= view->meta.lists)
		return 0;
	ds_rewrite_collect(&rewrite);
	for (uint64 i = 0; i < rewrite.rows; i++)
		foreign += rewrite.moved[i].row.centroid != view->entry[list].centroid;
	if (foreign == 0 && rewrite.places - rewrite.rows < Max(rewrite.places / 3, 2 * DS_BLOCK_ROWS))
		return 0;

	/* the callback may run anything, so the view must not go */
	ds_view_pin(view, CurrentMemoryContext);
	recoded = recode_rows(&rewrite, callback, state, &radius);
	ds_rewrite_sort(&rewrite);
	entry = view->entry[list];
	ds_meta_read(index, &meta);
	ds_rewrite_write(&rewrite, 0, rewrite.rows, list, ds_rewrite_generations(index, 1), &entry);
	entry.radius = radius;
	flip(&rewrite, &meta, &entry, 1);
	return recoded;
}

uint64
ds_list_recode(Relation index, uint32 list, DsVectorCallback callback, void *state)
{
	MemoryContext context;
	MemoryContext old;
	uint64 recoded;

	ds_lock_shape(index, ExclusiveLock);
	ds_lock_list(index, list, ExclusiveLock);
	context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch rewrite", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	recoded = recode_list(index, list, callback, state);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	ds_unlock_list(index, list, ExclusiveLock);
	ds_unlock_shape(index, ExclusiveLock);
	return recoded;
}
