/*
 * view.c
 *		What a backend remembers of an index: the rotation, the codes of the
 *		centroids, the directory, and the centroids that it met.
 *
 * Reading them anew for each query would cost more than the query.  They hardly
 * ever change, and the metapage, which every scan reads, says by its version
 * when they did.  Centroids are only ever appended, so a newer view takes over
 * what the older one has unless a scan has it pinned.
 *
 * 200,000 rows of 768 dimensions have 5.5 MB of centroids: to read them all
 * was most of a connection's first query.  Their codes (route.c), a twentieth
 * of that, say which of them a query needs, and it reads those only.
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

/* A view of an index whose metapage is meta, still without centroids and directory. */
static void
open_view(Relation index, DsView *view, const DsMeta *meta)
{
	DsStatus status;

	view->meta = *meta;
	view->half = ds_index_is_half(index);
	if (meta->dimension == 0)
		return;
	ds_layout_init(&view->layout, meta);
	ds_server_arena(&view->arena, view->context);
	if (meta->flags & DS_META_ORIGIN)
	{
		DsStreamCursor cursor = {0};

		view->origin = MemoryContextAlloc(view->context, sizeof(float) * meta->dimension);
		ds_stream_read(index, DS_PAGE_VECTORS, meta->vectors_head, &cursor,
					   sizeof(float) * meta->dimension, view->origin);
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

/* Read the directory that meta has; it may be of different times until the version says no. */
static void
read_directory(Relation index, DsView *view, const DsMeta *meta)
{
	uint32 centroids = ds_meta_centroids(meta);
	uint32 pages = (meta->lists + DS_ENTRIES_PER_PAGE - 1) / DS_ENTRIES_PER_PAGE;
	BlockNumber block = meta->directory_head;

	view->meta = *meta;
	view->half = ds_index_is_half(index);
	if (meta->dimension == 0)
		return;
	view->centroid = grow(view, view->centroid, &view->centroid_room, centroids, sizeof(float *));
	for (; view->centroids < centroids; view->centroids++)
		view->centroid[view->centroids] = NULL;

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

/* The directory was read whole: what it has and the view has not. */
static void
settle(Relation index, DsView *view)
{
	if (view->meta.dimension == 0)
		return;
	for (uint32 i = 0; i < view->meta.lists; i++)
		if (view->entry[i].centroid >= view->centroids)
			ds_page_corrupted(index, DS_META_BLOCK, "a list without a centroid");
	ds_route_refresh(index, view);
	ds_recent_open(&view->recent, index, view->context);
}

/* Centroids that room is made for at a time, in bytes */
#define SPARE_BYTES (32 * 1024)

/*
 * The index is open, for a view is only of use to somebody who has it open:
 * the relation is found in the server's cache.
 */
const float *
ds_view_read_centroid(DsView *view, uint32 i)
{
	uint32 d = view->meta.dimension;
	Size size = sizeof(float) * d;
	Relation index = RelationIdGetRelation(view->index);
	DsStreamCursor cursor;

	if (!RelationIsValid(index))
		elog(ERROR, "could not open index %u", view->index);
	if (view->spares == 0)
	{
		uint32 count = (uint32) Max(SPARE_BYTES / size, 1);

		view->spare = MemoryContextAllocHuge(view->context, count * size);
		view->spares = count;
	}
	cursor.block = ds_route_page(view, i);
	cursor.position = (i + (uint64) (view->meta.vectors - ds_meta_centroids(&view->meta))) * size;
	ds_stream_read(index, DS_PAGE_VECTORS, view->meta.vectors_head, &cursor, size, view->spare);
	RelationClose(index);
	view->centroid[i] = view->spare;
	view->spare += d;
	view->spares--;
	return view->centroid[i];
}

/* Can this view be brought up to date, or must it be made anew? */
static bool
refreshable(const DsView *view, const DsMeta *meta)
{
	return view != NULL && view->pins == 0 && view->meta.build_id == meta->build_id &&
		   view->meta.dimension == meta->dimension && view->meta.flags == meta->flags &&
		   ds_meta_centroids(meta) >= view->centroids;
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
			view->index = RelationGetRelid(index);
		}
		PG_TRY();
		{
			if (view->meta.build_id == 0)
				open_view(index, view, &meta);
			read_directory(index, view, &meta);
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
