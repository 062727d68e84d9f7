/*
 * insert.c
 *		One row into its list.
 */
#include "index/index.h"

#include <math.h>

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"
#include "vector/embedding.h"
#include "vector/kernels.h"

/* A row on its way */
typedef struct Insertion
{
	Relation index;
	DsView *view;
	ItemPointer tid;
	const float *y; /* placed */
	DsPlace place;
	DsCoded coded;
	char *codes; /* [row_bytes], what refines it */
	void *filter; /* [filter_size] */
	DsBlock *block; /* [block_size], scratch */
} Insertion;

/* How much a list's radius is raised beyond need, so that it is raised rarely. */
#define RADIUS_MARGIN 1.125f

/*
 * The first list of an index that has none, around this row; with it, what
 * only a row can tell: the dimension, and for l2 the origin.
 */
static void
create_first_list(Relation index, const float *x, uint32 dimension)
{
	DsMeta meta;
	DsStatus status;
	DsArena arena;
	DsQuantizer quantizer;
	DsPlace place;
	float *vectors;
	bool list;
	DsLog log;
	DsMeta *stored;

	ds_lock_shape(index, ExclusiveLock);
	ds_meta_read(index, &meta);
	if (meta.lists > 0 || (meta.dimension != 0 && meta.dimension != dimension))
	{
		ds_unlock_shape(index, ExclusiveLock);
		return;
	}
	meta.dimension = dimension;
	vectors = palloc_extended(sizeof(float) * 2 * dimension, MCXT_ALLOC_ZERO);
	ds_server_arena(&arena, CurrentMemoryContext);
	ds_check(
		ds_quantizer_init(&quantizer, meta.metric, dimension, meta.seed, NULL, &arena, &status),
		&status);
	place = ds_quantizer_place(&quantizer, x, vectors + dimension);
	list = place != DS_PLACE_ZERO;
	if (meta.metric == DS_METRIC_L2 && place == DS_PLACE_OK)
	{
		/* the row itself is the origin: then its place is zero */
		meta.flags |= DS_META_ORIGIN;
		memcpy(vectors, x, sizeof(float) * dimension);
		memset(vectors + dimension, 0, sizeof(float) * dimension);
		ds_vectors_append(index, false, &meta, vectors, 1, NULL);
	}
	if (list)
	{
		ds_centroids_append(index, false, &meta, &quantizer, NULL, vectors + dimension, 1);
		ds_directory_page(index, false, &meta, 0);
	}
	ds_arena_free(&arena);
	ds_log_begin(&log, index, false);
	if (list)
	{
		Page page = ds_log_page(
			&log,
			ds_page_read(index, meta.directory_tail, DS_PAGE_DIRECTORY, BUFFER_LOCK_EXCLUSIVE),
			false);
		DsListEntry *entry = (DsListEntry *) PageGetContents(page);

		memset(entry, 0, sizeof(*entry));
		entry->generation = meta.next_generation++;
		entry->head = entry->insert = InvalidBlockNumber;
		((PageHeader) page)->pd_lower = MAXALIGN(SizeOfPageHeaderData) + sizeof(DsListEntry);
		meta.lists = 1;
	}
	stored = ds_page_meta(ds_log_page(&log, ds_meta_lock(index), false));
	stored->dimension = meta.dimension;
	stored->flags = meta.flags;
	stored->lists = meta.lists;
	stored->next_generation = meta.next_generation;
	stored->vectors = meta.vectors;
	stored->vectors_head = meta.vectors_head;
	stored->vectors_tail = meta.vectors_tail;
	stored->routes_head = meta.routes_head;
	stored->directory_head = meta.directory_head;
	stored->directory_tail = meta.directory_tail;
	stored->directory_version++;
	ds_log_end(&log);
	pfree(vectors);
	ds_unlock_shape(index, ExclusiveLock);
}

static Buffer
lock_entry(Insertion *insertion, uint32 list, int mode)
{
	return ds_page_read(insertion->index,
						insertion->view->directory_page[list / DS_ENTRIES_PER_PAGE],
						DS_PAGE_DIRECTORY, mode);
}

/*
 * Change a list's entry so that cached directories see it: a larger radius, or
 * a first page.
 */
static void
change_entry(Insertion *insertion, uint32 list, DsListEntry *entry)
{
	Relation index = insertion->index;
	Buffer buffer = lock_entry(insertion, list, BUFFER_LOCK_EXCLUSIVE);
	Buffer first = InvalidBuffer;
	DsLog log;
	Page page;
	DsListEntry *stored;

	*entry = *ds_directory_entry(index, buffer, BufferGetPage(buffer), list);
	if (!BlockNumberIsValid(entry->head))
		first = ds_page_allocate(index, false);

	ds_log_begin(&log, index, false);
	if (BufferIsValid(first))
	{
		ds_page_init(ds_log_page(&log, first, true), DS_PAGE_BLOCKS, list, entry->generation, 0);
		entry->head = entry->insert = BufferGetBlockNumber(first);
		entry->run = 1;
	}
	if (insertion->coded.radius > entry->radius)
		entry->radius = insertion->coded.radius * RADIUS_MARGIN;
	page = ds_log_page(&log, buffer, false);
	stored = ds_directory_entry(index, buffer, page, list);
	*stored = *entry;
	ds_page_meta(ds_log_page(&log, ds_meta_lock(index), false))->directory_version++;
	ds_log_end(&log);
}

/* What a new block changes in its list's entry: no reader depends on it. */
static uint32
count_block(Insertion *insertion, uint32 list, BlockNumber insert, bool new_block)
{
	Buffer buffer = lock_entry(insertion, list, BUFFER_LOCK_EXCLUSIVE);
	DsLog log;
	DsListEntry *entry;
	uint32 rows;

	ds_log_begin(&log, insertion->index, false);
	entry = ds_directory_entry(insertion->index, buffer, ds_log_page(&log, buffer, false), list);
	entry->insert = insert;
	if (new_block && entry->rows <= PG_UINT32_MAX - DS_BLOCK_ROWS)
		entry->rows += DS_BLOCK_ROWS;
	rows = entry->rows;
	ds_log_end(&log);
	return rows;
}

/*
 * Put the row into insertion->block, a copy of a block on a locked page, and
 * its codes where they belong.
 */
static void
fill_place(Insertion *insertion, DsLog *log, const DsListEntry *entry, uint32 list, bool new_block,
		   uint8 *spill)
{
	const DsLayout *layout = &insertion->view->layout;
	DsBlock *block = insertion->block;
	const DsCoded *coded = &insertion->coded;
	unsigned row = pg_rightmost_one_pos32(~block->live);

	(void) new_block;
	if (layout->rows_at > 0)
	{
		ds_block_put(spill, row, coded->signs + layout->inline_groups,
					 layout->groups - layout->inline_groups);
		ds_area_write(insertion->index, log, layout, block, list, entry->generation, 0, spill,
					  layout->rows_at);
	}
	ds_area_write(insertion->index, log, layout, block, list, entry->generation,
				  layout->rows_at + row * layout->row_bytes, insertion->codes, layout->row_bytes);
	block->tid[row] = *insertion->tid;
	ds_block_put_filter(layout, block, row, insertion->filter);
	ds_block_put_factors(ds_block_factors(layout, block), row, &coded->sign);
	ds_block_put(ds_block_signs(layout, block), row, coded->signs, layout->inline_groups);
	block->live |= (uint32) 1 << row;
}

/*
 * Insert into a list, which is locked.  False when the list is not what the
 * view says.  *grown gets the places of the list if there are more now, else 0.
 */
static bool
insert_into(Insertion *insertion, uint32 list, uint32 *grown)
{
	Relation index = insertion->index;
	DsView *view = insertion->view;
	const DsLayout *layout = &view->layout;
	DsBlock *block = insertion->block;
	DsListEntry entry;
	Buffer buffer;
	BlockNumber number;
	BlockNumber last_number;
	DsBlock *previous = NULL;
	uint8 *spill = NULL;
	DsLog log;
	Page page;
	uint32 blocks;
	uint32 at;
	bool new_block;
	bool new_page = false;
	Buffer fresh = InvalidBuffer;

	*grown = 0;
	buffer = lock_entry(insertion, list, BUFFER_LOCK_SHARE);
	entry = *ds_directory_entry(index, buffer, BufferGetPage(buffer), list);
	UnlockReleaseBuffer(buffer);
	if (entry.generation != view->entry[list].generation)
		return false;
	if (entry.centroid >= view->centroids)
		ds_page_corrupted(index, view->directory_page[list / DS_ENTRIES_PER_PAGE],
						  "a list without a centroid");

	ds_quantizer_encode(&view->quantizer, insertion->place, insertion->y,
						ds_view_centroid(view, entry.centroid), &insertion->coded);
	memcpy(insertion->codes, &insertion->coded.row, sizeof(DsRowFactors));
	if (insertion->coded.radius > entry.radius || !BlockNumberIsValid(entry.head))
		change_entry(insertion, list, &entry);

	/* find room, from the hint on */
	number = BlockNumberIsValid(entry.insert) ? entry.insert : entry.head;
	for (uint32 before = PG_UINT32_MAX;;)
	{
		DsPageOpaque *opaque;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBuffer(index, number);
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		if (!ds_page_is_list(index, buffer, DS_PAGE_BLOCKS, list, entry.generation))
			ds_page_corrupted(index, number, "blocks of another list");
		page = BufferGetPage(buffer);
		opaque = ds_page_opaque(page);
		if (before != PG_UINT32_MAX && opaque->ordinal != before + 1)
			ds_page_corrupted(index, number, "the chain of a list is broken");
		before = opaque->ordinal;
		blocks = ds_page_blocks_checked(layout, index, buffer);
		new_block = true;
		for (at = 0; at < blocks; at++)
		{
			DsBlock *here = ds_page_block(layout, page, at);

			if (here->live != 0xFFFFFFFF && here->centroid == entry.centroid)
			{
				memcpy(block, here, layout->block_size);
				new_block = false;
				break;
			}
		}
		if (!new_block || blocks < layout->blocks_per_page)
			break;
		if (!BlockNumberIsValid(opaque->next))
		{
			new_page = true;
			break;
		}
		number = opaque->next;
		UnlockReleaseBuffer(buffer);
	}

	if (blocks > 0)
		previous = ds_page_block(layout, page, new_block ? blocks - 1 : at);
	if (previous != NULL && previous->code_start >= DS_PAGE_SPACE)
		ds_page_corrupted(index, number, "a block without codes");
	if (new_block)
	{
		memset(block, 0, layout->block_size);
		block->centroid = entry.centroid;
		ds_area_next(layout, previous, block);
		at = new_page ? 0 : blocks;
	}
	if (layout->rows_at > 0)
	{
		spill = palloc0(layout->rows_at);
		if (!new_block &&
			!ds_area_read(index, layout, block, list, entry.generation, 0, spill, layout->rows_at))
			ds_page_corrupted(index, number, "codes of another list");
	}

	/* codes first; the page that shows the row last */
	ds_log_begin(&log, index, false);
	fill_place(insertion, &log, &entry, list, new_block, spill);
	last_number = number;
	if (new_page)
	{
		uint32 ordinal = ds_page_opaque(page)->ordinal + 1;

		fresh = ds_page_allocate(index, false);
		last_number = BufferGetBlockNumber(fresh);
		page = ds_log_page(&log, fresh, true);
		ds_page_init(page, DS_PAGE_BLOCKS, list, entry.generation, ordinal);
	}
	else
		page = ds_log_page(&log, buffer, false);
	memcpy(ds_page_block(layout, page, at), block, layout->block_size);
	if (new_block)
		((PageHeader) page)->pd_lower += layout->block_size;
	if (new_page)
		ds_page_opaque(ds_log_page(&log, buffer, false))->next = last_number;
	ds_log_end(&log);

	if (new_block || last_number != entry.insert)
	{
		uint32 rows = count_block(insertion, list, last_number, new_block);

		if (new_block && rows >= entry.split_at)
			*grown = rows;
	}
	return true;
}

/* Has a list of so many rows grown out of proportion? */
static bool
wants_split(const DsView *view, uint32 rows)
{
	const DsMeta *meta = &view->meta;
	double total = 0;

	if (meta->wanted_lists > 0 && meta->lists >= meta->wanted_lists)
		return false;
	if (meta->lists >= DS_MAX_LISTS || rows < 2 * ds_list_rows(&view->layout, 0))
		return false;
	for (uint32 i = 0; i < meta->lists; i++)
		total += view->entry[i].rows;
	return rows >= 2.0 * ds_list_rows(&view->layout, total);
}

static void
insert_vector(Relation index, const Datum *values, const bool *isnull, ItemPointer tid)
{
	DsEmbeddingView vector;
	Insertion insertion;
	DsView *view;
	float *y;
	uint32 list;
	uint32 grown;

	view = ds_view_get(index);
	ds_index_vector(view->half, values[0], &vector);
	ds_view_check_dimension(view, vector.dim);
	if (view->meta.lists == 0)
	{
		create_first_list(index, vector.x, vector.dim);
		view = ds_view_get(index);
		ds_view_check_dimension(view, vector.dim);
	}

	y = palloc(sizeof(float) * vector.dim);
	insertion.index = index;
	insertion.tid = tid;
	insertion.y = y;
	insertion.place = ds_quantizer_place(&view->quantizer, vector.x, y);
	if (insertion.place == DS_PLACE_ZERO)
	{
		ds_tids_insert(index, DS_TIDS_ZERO, tid);
		return;
	}
	insertion.codes = palloc(view->layout.row_bytes);
	insertion.coded.bytes = (int8 *) insertion.codes + sizeof(DsRowFactors);
	insertion.coded.signs = palloc(view->layout.groups);
	insertion.block = palloc(view->layout.block_size);
	insertion.filter = palloc(view->layout.filter_size);
	ds_filter_row(index, &view->layout, values, isnull, insertion.filter);
	for (;;)
	{
		bool done;

		insertion.view = view;
		list = ds_view_nearest(view, y);
		ds_lock_list(index, list, ShareLock);
		done = insert_into(&insertion, list, &grown);
		ds_unlock_list(index, list, ShareLock);
		if (done)
			break;

		/* the list was split since the view was read */
		CHECK_FOR_INTERRUPTS();
		view = ds_view_get(index);
	}
	if (grown > 0 && wants_split(view, grown))
		(void) ds_list_rewrite(index, list, true);
}

bool
ds_index_insert(Relation index, Datum *values, bool *isnull, ItemPointer tid,
				Relation heap pg_attribute_unused(), IndexUniqueCheck unique pg_attribute_unused(),
				bool unchanged pg_attribute_unused(), IndexInfo *info pg_attribute_unused())
{
	MemoryContext context;
	MemoryContext old;

	if (isnull[0])
	{
		ds_tids_insert(index, DS_TIDS_NULL, tid);
		return false;
	}
	context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch insert", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	insert_vector(index, values, isnull, tid);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return false;
}
