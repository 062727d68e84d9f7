/*
 * view.c
 *		What a backend remembers of an index: the rotation, the centroids, the
 *		directory.
 *
 * Reading them anew for each query would cost more than the query: 1,000,000
 * rows of 128 dimensions have 2 MB of centroids.  They hardly ever change, and
 * the metapage, which every scan reads, says by its version when they did.
 * Centroids are only ever appended, so a newer view takes over the older one's
 * array unless a scan has it pinned.
 *
 * A view is read page by page while writers go on: it is whole if the version
 * in the metapage is the same afterwards as before, for whoever changes an
 * entry raises the version in the same WAL record.
 */
#include "index/index.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

typedef struct CacheEntry
{
	Oid index; /* key */
	DsView *view;
	uint64 used; /* clock of the last use */
} CacheEntry;

/* Views kept at most; the least recently used one goes. */
#define CACHE_SIZE 64

/* Pages whose buffers a view remembers at most, a power of two; four bytes each */
#define RECENT_MOST (256 * 1024)

static HTAB *cache = NULL;
static MemoryContext cache_context = NULL;
static uint64 clock_now = 0;

static void
release(DsView *view)
{
	if (!view->current && view->pins == 0)
		MemoryContextDelete(view->context);
}

/* The cache lets go of a view. */
static void
retire(CacheEntry *slot)
{
	DsView *view = slot->view;

	if (view == NULL)
		return;
	slot->view = NULL;
	view->current = false;
	release(view);
}

static CacheEntry *
find(Oid index)
{
	CacheEntry *slot;
	bool found;

	if (cache == NULL)
	{
		HASHCTL control;

		cache_context =
			AllocSetContextCreate(CacheMemoryContext, "deepsearch indexes", ALLOCSET_SMALL_SIZES);
		memset(&control, 0, sizeof(control));
		control.keysize = sizeof(Oid);
		control.entrysize = sizeof(CacheEntry);
		control.hcxt = cache_context;
		cache =
			hash_create("deepsearch indexes", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	slot = hash_search(cache, &index, HASH_FIND, NULL);
	if (slot == NULL)
	{
		if (hash_get_num_entries(cache) >= CACHE_SIZE)
		{
			HASH_SEQ_STATUS status;
			CacheEntry *other;
			CacheEntry *oldest = NULL;

			hash_seq_init(&status, cache);
			while ((other = hash_seq_search(&status)) != NULL)
				if (oldest == NULL || other->used < oldest->used)
					oldest = other;
			retire(oldest);
			hash_search(cache, &oldest->index, HASH_REMOVE, NULL);
		}
		slot = hash_search(cache, &index, HASH_ENTER, &found);
		slot->view = NULL;
	}
	slot->used = ++clock_now;
	return slot;
}

static uint32
origins(const DsMeta *meta)
{
	return (meta->flags & DS_META_ORIGIN) ? 1 : 0;
}

/* A view of an index whose metapage is meta, still without centroids and directory. */
static void
open_view(Relation index, DsView *view, const DsMeta *meta)
{
	DsStatus status;

	view->meta = *meta;
	if (meta->dimension == 0)
		return;
	ds_layout_init(&view->layout, meta->dimension);
	ds_server_arena(&view->arena, view->context);
	if (origins(meta))
	{
		view->origin = MemoryContextAlloc(view->context, sizeof(float) * meta->dimension);
		ds_vectors_read(index, meta, &view->cursor, 1, view->origin);
	}
	ds_check(ds_quantizer_init(&view->quantizer, meta->metric, meta->dimension, meta->seed,
							   view->origin, &view->arena, &status),
			 &status);
}

/* An array of a view with room for count elements, what is in it kept */
static void *
grow(DsView *view, void *array, uint32 *room, uint32 count, Size size)
{
	if (array != NULL && count <= *room)
		return array;
	count = Max(count, 1);
	if (array != NULL)
		count = (uint32) Min((uint64) count + count / 2, PG_INT32_MAX);
	*room = count;
	if (array == NULL)
		return MemoryContextAllocHuge(view->context, mul_size(count, size));
	return repalloc_huge(array, mul_size(count, size));
}

/* Room to remember in which buffers the pages of the index are (read.c) */
static void
remember_buffers(Relation index, DsView *view)
{
	uint64 pages = RelationGetNumberOfBlocks(index);
	uint32 slots = 1024;

	if (RelationUsesLocalBuffers(index))
		return;
	while (slots < pages && slots < RECENT_MOST)
		slots *= 2;
	if (view->recent != NULL && slots <= view->recent_mask + 1)
		return;
	if (view->recent != NULL)
		pfree(view->recent);
	view->recent = NULL;
	view->recent = MemoryContextAllocZero(view->context, slots * sizeof(Buffer));
	view->recent_mask = slots - 1;
}

/*
 * Read what meta has and the view has not: new centroids, and the directory.
 * The two may be of different times until the version says that they are not.
 */
static void
refresh(Relation index, DsView *view, const DsMeta *meta)
{
	uint32 centroids = meta->vectors - origins(meta);
	uint32 pages = (meta->lists + DS_ENTRIES_PER_PAGE - 1) / DS_ENTRIES_PER_PAGE;
	BlockNumber block = meta->directory_head;

	view->meta = *meta;
	if (meta->dimension == 0)
		return;
	view->centroid = grow(view, view->centroid, &view->centroid_room, centroids,
						  sizeof(float) * meta->dimension);
	ds_vectors_read(index, meta, &view->cursor, centroids - view->centroids,
					view->centroid + (size_t) view->centroids * meta->dimension);
	view->centroids = centroids;

	view->entry = grow(view, view->entry, &view->entry_room, meta->lists, sizeof(DsListEntry));
	view->directory_page =
		grow(view, view->directory_page, &view->directory_room, pages, sizeof(BlockNumber));
	for (uint32 i = 0; i < pages; i++)
	{
		uint32 first = i * DS_ENTRIES_PER_PAGE;
		uint32 count = Min(DS_ENTRIES_PER_PAGE, meta->lists - first);
		Buffer buffer;
		Page page;

		if (!BlockNumberIsValid(block))
			ds_page_corrupted(index, DS_META_BLOCK, "the directory is too short");
		buffer = ds_page_read(index, block, DS_PAGE_DIRECTORY, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		memcpy(view->entry + first,
			   ds_directory_entry(index, buffer, page, first + count - 1) - (count - 1),
			   count * sizeof(DsListEntry));
		view->directory_page[i] = block;
		block = ds_page_opaque(page)->next;
		UnlockReleaseBuffer(buffer);
	}
}

/* What follows from a directory that was read whole */
static void
settle(Relation index, DsView *view)
{
	if (view->meta.dimension == 0)
		return;
	for (uint32 i = 0; i < view->meta.lists; i++)
		if (view->entry[i].centroid >= view->centroids)
			ds_page_corrupted(index, DS_META_BLOCK, "a list without a centroid");
	ds_route_refresh(view);
	remember_buffers(index, view);
}

/* Can this view be brought up to date, or must it be made anew? */
static bool
refreshable(const DsView *view, const DsMeta *meta)
{
	return view != NULL && view->pins == 0 && view->meta.build_id == meta->build_id &&
		   view->meta.dimension == meta->dimension && view->meta.flags == meta->flags &&
		   meta->vectors >= view->centroids + origins(meta);
}

DsView *
ds_view_get(Relation index)
{
	CacheEntry *volatile slot = find(RelationGetRelid(index));
	DsMeta meta;

	ds_meta_read(index, &meta);
	if (slot->view != NULL && slot->view->meta.build_id == meta.build_id &&
		slot->view->meta.directory_version == meta.directory_version)
	{
		/* counters that are no change of the directory */
		slot->view->meta = meta;
		return slot->view;
	}

	for (;;)
	{
		uint32 version = meta.directory_version;
		DsView *volatile view = slot->view;
		volatile bool whole = false;

		if (refreshable(view, &meta))
		{
			/* an error in the middle must not leave it to the next caller */
			slot->view = NULL;
			view->current = false;
		}
		else
		{
			MemoryContext context =
				AllocSetContextCreate(cache_context, "deepsearch view", ALLOCSET_SMALL_SIZES);

			retire(slot);
			view = MemoryContextAllocZero(context, sizeof(DsView));
			view->context = context;
		}
		PG_TRY();
		{
			if (view->meta.build_id == 0)
				open_view(index, view, &meta);
			refresh(index, view, &meta);
			ds_meta_read(index, &meta);
			whole = meta.build_id == view->meta.build_id && meta.directory_version == version;
			if (whole)
				settle(index, view);
		}
		PG_CATCH();
		{
			MemoryContextDelete(view->context);
			PG_RE_THROW();
		}
		PG_END_TRY();
		slot->view = view;
		view->current = true;
		if (whole)
		{
			view->meta = meta;
			return view;
		}
		CHECK_FOR_INTERRUPTS();
	}
}

static void
unpin(void *pointer)
{
	DsView *view = pointer;

	view->pins--;
	release(view);
}

void
ds_view_pin(DsView *view, MemoryContext context)
{
	MemoryContextCallback *callback =
		MemoryContextAllocZero(context, sizeof(MemoryContextCallback));

	callback->func = unpin;
	callback->arg = view;
	MemoryContextRegisterResetCallback(context, callback);
	view->pins++;
}

void
ds_view_check_dimension(const DsView *view, int dimension)
{
	if (view->meta.dimension != 0 && (uint32) dimension != view->meta.dimension)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("different dimensions: %d, and %u in the index", dimension,
							   view->meta.dimension)));
}
