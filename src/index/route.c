/*
 * route.c
 *		Which lists are near a query.
 *
 * 1,000,000 rows of 128 dimensions have 4,000 lists, whose centroids take 2 MB:
 * to compute the distance of each is most of the work of an easy query.  So the
 * centroids have 1-bit codes of their own, as rows have them in their lists:
 * 64 lists, two blocks, are coded relative to their mean.  A query scans these
 * (a thirtieth of the bytes), and computes the exact distance for lists that
 * come near the front of the queue (scan.c).
 *
 * The groups are just the lists in their order: k-means makes neighbours one
 * after another.  Lists that are made by splits come at the end, and share
 * groups with others that are not so near; then bounds are less tight and a few
 * more exact distances are computed.
 *
 * All of it lives in the view, nothing on disk: coding a centroid takes less
 * time than reading it.
 */
#include "index/index.h"

#include <float.h>
#include <math.h>

#include "utils/memutils.h"

/* Blocks of 32 lists in a group */
#define GROUP_BLOCKS 2
#define GROUP_LISTS (GROUP_BLOCKS * DS_BLOCK_ROWS)

typedef struct DsRoute
{
	uint32 lists; /* coded */
	uint32 room; /* groups that there is room for */
	uint32 *centroid; /* [lists]: the one that is coded */
	float *mean; /* [groups, d]: placed */
	DsBlockFactors *factors; /* [groups * GROUP_BLOCKS] */
	uint8 *signs; /* the same blocks */
	double *mean_sum; /* [d], scratch */
	DsCoded coded; /* scratch */
} DsRoute;

static uint32
groups_of(uint32 lists)
{
	return lists / GROUP_LISTS + (lists % GROUP_LISTS != 0);
}

uint32
ds_route_places(const DsView *view)
{
	return Max(groups_of(view->meta.lists), 1) * GROUP_LISTS;
}

static void *
grow(DsView *view, void *array, Size count, Size size)
{
	return array == NULL ? MemoryContextAllocHuge(view->context, mul_size(count, size))
						 : repalloc_huge(array, mul_size(count, size));
}

/* The mean of the centroids of a group's lists: what it is coded relative to, once and for all */
static void
begin_group(DsView *view, uint32 group)
{
	DsRoute *route = view->route;
	uint32 d = view->meta.dimension;
	uint32 first = group * GROUP_LISTS;
	uint32 count = Min(GROUP_LISTS, view->meta.lists - first);
	float *mean = route->mean + (Size) group * d;

	memset(route->mean_sum, 0, d * sizeof(double));
	for (uint32 i = first; i < first + count; i++)
	{
		const float *centroid = ds_view_centroid(view, view->entry[i].centroid);

		for (uint32 j = 0; j < d; j++)
			route->mean_sum[j] += centroid[j];
	}
	for (uint32 j = 0; j < d; j++)
		mean[j] = (float) (route->mean_sum[j] / count);
	memset(route->factors + group * GROUP_BLOCKS, 0, GROUP_BLOCKS * sizeof(DsBlockFactors));
	memset(route->signs + (Size) group * GROUP_BLOCKS * ds_block_bytes(d), 0,
		   GROUP_BLOCKS * ds_block_bytes(d));
}

void
ds_route_refresh(DsView *view)
{
	DsRoute *route = view->route;
	uint32 d = view->meta.dimension;
	uint32 groups = groups_of(view->meta.lists);

	if (groups == 0)
		return;
	if (route == NULL)
	{
		route = MemoryContextAllocZero(view->context, sizeof(DsRoute));
		route->mean_sum = MemoryContextAlloc(view->context, d * sizeof(double));
		route->coded.signs = MemoryContextAlloc(view->context, ds_code_groups(d));
		route->coded.bytes = MemoryContextAlloc(view->context, d);
		view->route = route;
	}
	if (groups > route->room)
	{
		Size room = route->room == 0 ? groups : groups + groups / 2;

		route->centroid = grow(view, route->centroid, room * GROUP_LISTS, sizeof(uint32));
		route->mean = grow(view, route->mean, room * d, sizeof(float));
		route->factors = grow(view, route->factors, room * GROUP_BLOCKS, sizeof(DsBlockFactors));
		route->signs = grow(view, route->signs, room * GROUP_BLOCKS, ds_block_bytes(d));
		route->room = (uint32) room;
	}
	for (uint32 i = 0; i < view->meta.lists; i++)
	{
		uint32 number = view->entry[i].centroid;
		uint32 group = i / GROUP_LISTS;
		uint32 block = i / DS_BLOCK_ROWS;

		if (i < route->lists && route->centroid[i] == number)
			continue;
		if (i >= route->lists && i % GROUP_LISTS == 0)
			begin_group(view, group);
		ds_quantizer_encode(&view->quantizer, DS_PLACE_OK, ds_view_centroid(view, number),
							route->mean + (Size) group * d, &route->coded);
		ds_block_put(route->signs + block * ds_block_bytes(d), i % DS_BLOCK_ROWS,
					 route->coded.signs, ds_code_groups(d));
		ds_block_put_factors(&route->factors[block], i % DS_BLOCK_ROWS, &route->coded.sign);
		route->centroid[i] = number;
	}
	route->lists = view->meta.lists;
}

void
ds_route(const DsView *view, const DsQuery *query, float *bound)
{
	const DsRoute *route = view->route;
	uint32 d = view->meta.dimension;
	uint32 lists = view->meta.lists;
	bool ip = view->meta.metric == DS_METRIC_IP;
	float estimate[DS_BLOCK_ROWS];

	for (uint32 group = 0; group < groups_of(lists); group++)
	{
		DsProbe probe;

		ds_query_probe(query, route->mean + (Size) group * d, &probe);
		for (uint32 block = group * GROUP_BLOCKS; block < (group + 1) * GROUP_BLOCKS; block++)
			ds_query_scan(query, &probe, route->signs + block * ds_block_bytes(d),
						  &route->factors[block], estimate, bound + block * DS_BLOCK_ROWS);
	}
	for (uint32 i = 0; i < lists; i++)
	{
		float radius = view->entry[i].radius;

		if (ip || !(radius <= FLT_MAX))
			bound[i] =
				(float) ds_list_key(&view->meta, query->norm, ip ? -bound[i] : bound[i], radius);
		bound[i] = bound[i] <= FLT_MAX ? bound[i] : bound[i] > FLT_MAX ? FLT_MAX : -INFINITY;
	}
	for (uint32 i = lists; i < ds_route_places(view); i++)
		bound[i] = INFINITY;
}
