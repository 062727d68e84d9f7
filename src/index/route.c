/*
 * route.c
 *		Which lists are near a query.
 *
 * 1,000,000 rows of 128 dimensions have 4,000 lists, whose centroids take 2 MB:
 * to compute the distance of each is most of the work of an easy query, and to
 * read them most of a connection's first one.  So the centroids have 1-bit
 * codes of their own, as rows have them in their lists: 64 centroids, two
 * blocks, are coded relative to their mean.  A query scans these (a twentieth
 * of the bytes), and computes the exact distance for lists that come near the
 * front of the queue (scan.c).
 *
 * The codes stand in a chain of pages beside that of the centroids, and in the
 * same order; like it they are only ever appended to.  A group of 64 is a
 * record of
 *
 *		mean, float[d] | page, BlockNumber[64] | DsBlockFactors[2] | signs
 *
 * where page says on which page of the chain of vectors each begins, so that a
 * view reads those that it needs.  A group that is not full is written again
 * when it gets a centroid, page by page, with the others' bits as they were: a
 * reader, who looks only at the centroids that the metapage counts, sees the
 * same whenever it reads.
 *
 * A build has all its centroids at once, and k-means makes neighbours one after
 * another, so the mean of a group is near all of it.  Centroids that splits
 * append are not near each other: their groups are coded relative to the mean
 * of what there is, which makes bounds less tight, and a few more exact
 * distances are computed.  Centroids that no list uses any more (those that were
 * split) keep their codes; a block of 32 without any list is not scanned.
 */
#include "index/index.h"

#include <float.h>
#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"
#include "vector/kernels.h"

/* Blocks of 32 centroids in a group */
#define GROUP_BLOCKS 2
#define GROUP_CENTROIDS (GROUP_BLOCKS * DS_BLOCK_ROWS)

/* Records begin at cache lines if the dimension is a multiple of 16. */
#define LINE 64

#define NO_LIST PG_UINT32_MAX

/* How many centroids of a block have a list */
enum
{
	USED_NONE,
	USED_SOME,
	USED_ALL
};

/* Groups whose means' distances are computed at once */
#define MEANS 64

/* A bound is wrong this often when the nearest list is looked for: hardly ever. */
#define NEAREST_MISSES 1e-6

typedef struct DsRoute
{
	uint32 centroids; /* that there are records for */
	uint32 room; /* groups that there is room for */
	char *space; /* what was allocated */
	char *record; /* [groups, record_size()], in it */
	DsStreamCursor cursor; /* of the first group that was not full when it was read */
	uint32 *list; /* [room * GROUP_CENTROIDS]: who uses the centroid, or NO_LIST */
	uint8 *used; /* [room * GROUP_BLOCKS]: of the block's centroids, lists use none, some or all */
	bool infinite; /* a list has an infinite radius */
} DsRoute;

static uint32
groups_of(uint32 centroids)
{
	return centroids / GROUP_CENTROIDS + (centroids % GROUP_CENTROIDS != 0);
}

/* ---- a record ---- */

static Size
record_size(uint32 d)
{
	return sizeof(float) * d + sizeof(BlockNumber) * GROUP_CENTROIDS +
		   GROUP_BLOCKS * (sizeof(DsBlockFactors) + ds_block_bytes(d));
}

static BlockNumber *
record_page(char *record, uint32 d)
{
	return (BlockNumber *) (record + sizeof(float) * d);
}

static DsBlockFactors *
record_factors(char *record, uint32 d)
{
	return (DsBlockFactors *) (record_page(record, d) + GROUP_CENTROIDS);
}

static uint8 *
record_signs(char *record, uint32 d)
{
	return (uint8 *) (record_factors(record, d) + GROUP_BLOCKS);
}

uint64
ds_route_bytes(uint32 dimension, uint32 centroids)
{
	return (uint64) groups_of(centroids) * record_size(dimension);
}

/* ---- writing ---- */

/* The mean of some of a view's centroids */
static void
mean_of_view(const DsView *view, float *mean)
{
	uint32 d = view->meta.dimension;
	uint32 count = Min(view->centroids, GROUP_CENTROIDS);
	double *sum = palloc0(d * sizeof(double));

	for (uint32 i = 0; i < count; i++)
		ds_kernels()->accumulate(
			sum, ds_view_centroid(view, (uint32) ((uint64) i * view->centroids / count)), d);
	for (uint32 j = 0; j < d; j++)
		mean[j] = (float) (sum[j] / Max(count, 1));
	pfree(sum);
}

static void
mean_of(const float *centroids, uint32 count, uint32 d, float *mean)
{
	double *sum = palloc0(d * sizeof(double));

	for (uint32 i = 0; i < count; i++)
		ds_kernels()->accumulate(sum, centroids + (Size) i * d, d);
	for (uint32 j = 0; j < d; j++)
		mean[j] = (float) (sum[j] / count);
	pfree(sum);
}

void
ds_centroids_append(Relation index, bool direct, DsMeta *meta, const DsQuantizer *quantizer,
					const DsView *view, const float *centroids, uint32 count)
{
	uint32 d = meta->dimension;
	uint32 first = ds_meta_centroids(meta);
	Size size = record_size(d);
	char *record = palloc(size);
	BlockNumber *page = palloc_extended(mul_size(count, sizeof(BlockNumber)), MCXT_ALLOC_HUGE);
	DsStreamCursor cursor = {InvalidBlockNumber, 0};
	DsCoded coded;

	coded.signs = palloc(ds_code_groups(d));
	coded.bytes = palloc(d);
	ds_vectors_append(index, direct, meta, centroids, count, page);
	for (uint32 done = 0; done < count;)
	{
		uint32 slot = (first + done) % GROUP_CENTROIDS;
		uint32 here = Min(GROUP_CENTROIDS - slot, count - done);

		memset(record, 0, size);
		cursor.position = (uint64) ((first + done) / GROUP_CENTROIDS) * size;
		if (slot > 0)
		{
			/* from the head of the chain: only the first group may have some already */
			DsStreamCursor reader = {meta->routes_head, 0};
			char *skipped = palloc(BLCKSZ);

			while (reader.position < cursor.position)
				ds_stream_read(index, DS_PAGE_ROUTES, meta->routes_head, &reader,
							   Min(DS_PAGE_SPACE, cursor.position - reader.position), skipped);
			pfree(skipped);
			cursor.block = reader.block;
			ds_stream_read(index, DS_PAGE_ROUTES, meta->routes_head, &reader, size, record);
		}
		else if (view != NULL)
			mean_of_view(view, (float *) record);
		else
			mean_of(centroids + (Size) done * d, here, d, (float *) record);
		for (uint32 i = slot; i < slot + here; i++, done++)
		{
			ds_quantizer_encode(quantizer, DS_PLACE_OK, centroids + (Size) done * d,
								(float *) record, &coded);
			ds_block_put(record_signs(record, d) + i / DS_BLOCK_ROWS * ds_block_bytes(d),
						 i % DS_BLOCK_ROWS, coded.signs, ds_code_groups(d));
			ds_block_put_factors(&record_factors(record, d)[i / DS_BLOCK_ROWS], i % DS_BLOCK_ROWS,
								 &coded.sign);
			record_page(record, d)[i] = page[done];
		}
		ds_stream_write(index, direct, DS_PAGE_ROUTES, &meta->routes_head, &cursor, size, record);
	}
	pfree(coded.bytes);
	pfree(coded.signs);
	pfree(page);
	pfree(record);
}

/* ---- in a view ---- */

static inline char *
record_at(const DsView *view, uint32 group)
{
	return view->route->record + group * record_size(view->meta.dimension);
}

static void
make_room(DsView *view, uint32 groups)
{
	DsRoute *route = view->route;
	Size size = record_size(view->meta.dimension);
	uint32 room = route->room == 0 ? groups : groups + groups / 2;
	char *space;
	char *record;

	if (groups <= route->room)
		return;
	space = MemoryContextAllocHuge(view->context, add_size(mul_size(room, size), LINE));
	record = (char *) TYPEALIGN(LINE, space);
	if (route->space != NULL)
	{
		memcpy(record, route->record, route->room * size);
		pfree(route->space);
		pfree(route->list);
		pfree(route->used);
	}
	route->space = space;
	route->record = record;
	route->list =
		MemoryContextAllocHuge(view->context, mul_size(room, GROUP_CENTROIDS * sizeof(uint32)));
	route->used = MemoryContextAllocHuge(view->context, mul_size(room, GROUP_BLOCKS));
	route->room = room;
}

void
ds_route_refresh(Relation index, DsView *view)
{
	const DsMeta *meta = &view->meta;
	uint32 groups = groups_of(view->centroids);
	Size size = record_size(meta->dimension);
	DsRoute *route = view->route;

	if (route == NULL)
		route = view->route = MemoryContextAllocZero(view->context, sizeof(DsRoute));
	make_room(view, Max(groups, 1));

	/* groups that were full are as they were */
	if (view->centroids > route->centroids)
	{
		uint32 full = view->centroids / GROUP_CENTROIDS;
		DsStreamCursor cursor;

		for (uint32 group = route->centroids / GROUP_CENTROIDS; group < full; group++)
			ds_stream_read(index, DS_PAGE_ROUTES, meta->routes_head, &route->cursor, size,
						   record_at(view, group));
		cursor = route->cursor;
		if (full < groups)
			ds_stream_read(index, DS_PAGE_ROUTES, meta->routes_head, &cursor, size,
						   record_at(view, full));
		route->centroids = view->centroids;
	}

	memset(route->list, 0xFF, groups * GROUP_CENTROIDS * sizeof(uint32));
	route->infinite = false;
	for (uint32 i = 0; i < meta->lists; i++)
	{
		if (route->list[view->entry[i].centroid] != NO_LIST)
			ds_page_corrupted(index, DS_META_BLOCK, "two lists have the same centroid");
		route->list[view->entry[i].centroid] = i;
		route->infinite |= !(view->entry[i].radius <= FLT_MAX);
	}
	for (uint32 block = 0; block < groups * GROUP_BLOCKS; block++)
	{
		uint32 used = 0;

		for (uint32 i = 0; i < DS_BLOCK_ROWS; i++)
			used += route->list[block * DS_BLOCK_ROWS + i] != NO_LIST;
		route->used[block] = used == 0 ? USED_NONE : used < DS_BLOCK_ROWS ? USED_SOME : USED_ALL;
	}
}

BlockNumber
ds_route_page(const DsView *view, uint32 centroid)
{
	return record_page(record_at(view, centroid / GROUP_CENTROIDS),
					   view->meta.dimension)[centroid % GROUP_CENTROIDS];
}

bool
ds_route_check(const DsView *view, uint32 centroid)
{
	uint32 d = view->meta.dimension;
	char *record = record_at(view, centroid / GROUP_CENTROIDS);
	uint32 slot = centroid % GROUP_CENTROIDS;
	const DsBlockFactors *factors = &record_factors(record, d)[slot / DS_BLOCK_ROWS];
	DsSignFactors stored = ds_block_get_factors(factors, slot % DS_BLOCK_ROWS);
	uint8 *signs = palloc(ds_code_groups(d));
	DsCoded coded;
	bool same;

	coded.signs = palloc(ds_code_groups(d));
	coded.bytes = palloc(d);
	ds_quantizer_encode(&view->quantizer, DS_PLACE_OK, ds_view_centroid(view, centroid),
						(float *) record, &coded);
	ds_block_get(record_signs(record, d) + slot / DS_BLOCK_ROWS * ds_block_bytes(d),
				 slot % DS_BLOCK_ROWS, signs, ds_code_groups(d));
	same = memcmp(signs, coded.signs, ds_code_groups(d)) == 0 &&
		   memcmp(&stored, &coded.sign, sizeof(stored)) == 0;
	pfree(coded.bytes);
	pfree(coded.signs);
	pfree(signs);
	return same;
}

/* ---- searching ---- */

uint32
ds_route_places(const DsView *view)
{
	return Max(groups_of(view->centroids), 1) * GROUP_CENTROIDS;
}

uint32
ds_route_list(const DsView *view, uint32 place)
{
	return view->route->list[place];
}

/* Bounds of the keys of all centroids that have a list; infinity in other places */
static void
scan_codes(const DsView *view, const DsQuery *query, float *bound)
{
	const DsRoute *route = view->route;
	uint32 d = view->meta.dimension;
	Size size = record_size(d);
	uint32 groups = groups_of(view->centroids);
	float estimate[DS_BLOCK_ROWS];
	float square[MEANS];
	float product[MEANS];

	for (uint32 group = 0; group < groups; group++)
	{
		char *record = record_at(view, group);
		DsProbe probe;

		if (group % MEANS == 0)
			ds_query_distances(query, (float *) record, size / sizeof(float),
							   Min(groups - group, MEANS), square, product);
		ds_query_probe_near(query, square[group % MEANS], product[group % MEANS], &probe);
		for (uint32 i = 0; i < GROUP_BLOCKS; i++)
		{
			uint32 block = group * GROUP_BLOCKS + i;
			const uint32 *list = route->list + block * DS_BLOCK_ROWS;
			float *to = bound + block * DS_BLOCK_ROWS;

			if (route->used[block] == USED_NONE)
			{
				for (int j = 0; j < DS_BLOCK_ROWS; j++)
					to[j] = INFINITY;
				continue;
			}
			ds_query_scan(query, &probe, record_signs(record, d) + i * ds_block_bytes(d),
						  &record_factors(record, d)[i], estimate, to);
			for (int j = 0; j < DS_BLOCK_ROWS; j++)
				to[j] = to[j] <= FLT_MAX ? to[j] : to[j] > FLT_MAX ? FLT_MAX : -INFINITY;
			if (route->used[block] == USED_SOME)
				for (int j = 0; j < DS_BLOCK_ROWS; j++)
					to[j] = list[j] == NO_LIST ? INFINITY : to[j];
		}
	}
}

void
ds_route(const DsView *view, const DsQuery *query, float *bound)
{
	const DsRoute *route = view->route;
	bool ip = view->meta.metric == DS_METRIC_IP;

	scan_codes(view, query, bound);
	if (!ip && !route->infinite)
		return;
	for (uint32 i = 0; i < view->centroids; i++)
	{
		uint32 list = route->list[i];
		float radius;
		float key;

		if (list == NO_LIST)
			continue;
		radius = view->entry[list].radius;
		if (!ip && radius <= FLT_MAX)
			continue;
		key = (float) ds_list_key(&view->meta, query->norm, ip ? -bound[i] : bound[i], radius);
		bound[i] = key <= FLT_MAX ? key : key > FLT_MAX ? FLT_MAX : -INFINITY;
	}
}

static float
distance_to(const DsView *view, const float *y, uint32 centroid)
{
	return ds_kernels()->l2_squared(y, ds_view_centroid(view, centroid), view->meta.dimension);
}

uint32
ds_view_nearest(const DsView *view, const float *y)
{
	uint32 places = ds_route_places(view);
	uint32 best = view->entry[0].centroid;
	float least = INFINITY;
	DsArena arena;
	DsStatus status;
	DsQuery *query;
	float *bound;

	if (view->meta.metric == DS_METRIC_IP)
	{
		/* the codes tell products, not distances */
		for (uint32 i = 0; i < view->meta.lists; i++)
		{
			float here;

			CHECK_FOR_INTERRUPTS();
			here = distance_to(view, y, view->entry[i].centroid);
			if (here < least)
			{
				least = here;
				best = view->entry[i].centroid;
			}
		}
		return view->route->list[best];
	}

	ds_server_arena(&arena, CurrentMemoryContext);
	query = ds_query_new(&view->quantizer, &arena, &status);
	if (query == NULL)
		ds_check(DS_OUT_OF_MEMORY, &status);
	ds_query_set_placed(query, y);
	ds_query_set_misses(query, NEAREST_MISSES);
	bound = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(places, sizeof(float)));
	scan_codes(view, query, bound);
	for (uint32 i = 0; i < places; i++)
		if (bound[i] < least)
		{
			least = bound[i];
			best = i;
		}

	/* the most promising one first: few others may be nearer then */
	least = distance_to(view, y, best);
	for (uint32 i = 0; i < places; i++)
		if (bound[i] < least)
		{
			float here = distance_to(view, y, i);

			if (here < least)
			{
				least = here;
				best = i;
			}
		}
	pfree(bound);
	ds_arena_free(&arena);
	return view->route->list[best];
}
