/*
 * router.c
 *		From a row to its list in two levels.
 *
 * Comparing a row with all of k centroids costs k d multiplications: a million
 * rows of 128 dimensions and 4,000 lists take 10 s at 100 GFLOP/s.  So the
 * centroids are themselves clustered, into groups of LISTS_TOGETHER; a row is
 * compared with the means of those, and with the lists of the `effort' nearest.
 *
 * Groups are small, so that they are as natural as the data allow: their mean
 * says where their lists are.  With sqrt(k) groups most rows looked into groups
 * two or three times as large as the mean, for where data are dense there are
 * many lists, and many rows that look for theirs (1,788 lists of 768 dimensions
 * in 42 groups: 109 lists instead of 43); and groups made equal, by cutting,
 * have means that belong to none of their parts.
 *
 * Products are fast by the panel of 16 centroids (products.h).  So lists stand
 * in panels in the order of their groups, those in an order in which neighbours
 * are near (order.h), and rows visit panels.  They do it by the chunk:
 *
 *	1. Products of the chunk with all coarse centroids; each row keeps its
 *	   nearest `effort', a small sorted array.
 *	2. Turned over: for each panel, which rows want it (a counting sort of
 *	   pairs of row and panel).
 *	3. For each panel: multiply those rows, where they stand, with its lists,
 *	   keep the best of each row.
 *
 * Example: 4,000 lists, 667 coarse centroids, effort 8: about 12 of 250 panels
 * a row, 860 products instead of 4,000; of a chunk of 2,048 rows some 100 meet
 * each panel.
 */
#include "quant/kmeans.h"

#include <math.h>
#include <string.h>

#include "quant/nearest.h"
#include "quant/order.h"

/* up to here, one flat product is as fast */
#define FLAT_LISTS 511

/* rows that are turned over at once */
#define CHUNK_ROWS 4096

/* lists a coarse centroid, on average: fewer than a panel, so that a group is natural */
#define LISTS_TOGETHER 6

/* Lloyd iterations of the k-means over centroids */
#define COARSE_ITERATIONS 10

static DsCode
out_of_memory(DsStatus *status)
{
	return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for routing rows to lists");
}

/* centroids [k, d] in panels, in the order of member if there is one */
static DsCode
pack(const float *centroids, const uint32_t *member, size_t k, size_t d, const DsCancel *cancel,
	 DsArena *arena, const float **result, DsStatus *status)
{
	float *packed = NULL;
	size_t floats;

	if (ds_size_mul(ds_panel_columns(k), d, &floats))
		packed = ds_arena_alloc(arena, floats, sizeof(float));
	*result = packed;
	return packed == NULL ? out_of_memory(status)
						  : ds_pack(centroids, member, k, d, packed, cancel);
}

/* what both kinds have */
static DsCode
init(DsRouter *router, const float *centroids, uint32_t lists, size_t d, const DsCancel *cancel,
	 DsArena *arena, DsStatus *status)
{
	float *norms;

	memset(router, 0, sizeof(*router));
	if (lists == 0 || d == 0)
		return ds_fail(status, DS_INVALID, "routing needs at least one list and one dimension");
	norms = ds_arena_alloc(arena, lists, sizeof(float));
	if (norms == NULL)
		return out_of_memory(status);
	router->dimension = d;
	router->lists = lists;
	router->centroids = centroids;
	router->norms = norms;
	return ds_squared_norms(centroids, lists, d, norms, cancel);
}

static DsCode
make(DsRouter *router, const float *centroids, uint32_t lists, size_t d,
	 const float *coarse_centroids, uint32_t coarse, const uint32_t *group, const DsCancel *cancel,
	 DsArena *arena, DsStatus *status)
{
	DsCode code = init(router, centroids, lists, d, cancel, arena, status);
	uint32_t *start;
	uint32_t *member;
	float *packed_norms;
	float *coarse_norms;

	if (code != DS_OK)
		return code;
	if (coarse <= 1)
		return pack(centroids, NULL, lists, d, cancel, arena, &router->packed, status);
	for (uint32_t i = 0; i < lists; i++)
		if (group[i] >= coarse)
			return ds_fail(status, DS_BAD_DATA, "list %u belongs to coarse centroid %u of %u",
						   (unsigned) i, (unsigned) group[i], (unsigned) coarse);
	start = ds_arena_zero(arena, (size_t) coarse + 2, sizeof(uint32_t));
	member = ds_arena_alloc(arena, lists, sizeof(uint32_t));
	packed_norms = ds_arena_alloc(arena, lists, sizeof(float));
	coarse_norms = ds_arena_alloc(arena, coarse, sizeof(float));
	if (start == NULL || member == NULL || packed_norms == NULL || coarse_norms == NULL)
		return out_of_memory(status);

	/* counting sort; start[g + 1] runs from the beginning of g to its end */
	for (uint32_t i = 0; i < lists; i++)
		start[group[i] + 2]++;
	for (uint32_t g = 0; g < coarse; g++)
		start[g + 2] += start[g + 1];
	for (uint32_t i = 0; i < lists; i++)
	{
		uint32_t place = start[group[i] + 1]++;

		member[place] = i;
		packed_norms[place] = router->norms[i];
	}
	router->coarse = coarse;
	router->coarse_centroids = coarse_centroids;
	router->coarse_norms = coarse_norms;
	router->start = start;
	router->member = member;
	router->packed_norms = packed_norms;
	code = ds_squared_norms(coarse_centroids, coarse, d, coarse_norms, cancel);
	if (code == DS_OK)
		code =
			pack(coarse_centroids, NULL, coarse, d, cancel, arena, &router->coarse_packed, status);
	if (code == DS_OK)
		code = pack(centroids, member, lists, d, cancel, arena, &router->packed, status);
	return code;
}

DsCode
ds_router_group(DsRouter *router, const float *centroids, uint32_t lists, size_t d,
				const float *coarse_centroids, uint32_t coarse, const uint32_t *group,
				const DsCancel *cancel, DsArena *arena, DsStatus *status)
{
	DsCode code =
		make(router, centroids, lists, d, coarse_centroids, coarse, group, cancel, arena, status);

	if (code == DS_CANCELLED)
		ds_fail(status, code, "cancelled while lists were put into groups");
	return code;
}

/*
 * The coarse level: k-means of the centroids into groups, which then are put
 * in an order in which neighbours are near each other, since they share panels.
 */
static DsCode
make_groups(const float *centroids, uint32_t lists, size_t d, const DsCancel *cancel,
			DsArena *arena, float *coarse_centroids, uint32_t *coarse, uint32_t *group,
			DsStatus *status)
{
	DsKmeansOptions options = {.lists = *coarse, .iterations = COARSE_ITERATIONS};
	DsRouter flat;
	DsCode code;
	float *made = ds_arena_alloc(arena, (size_t) *coarse * d, sizeof(float));
	uint32_t *place = ds_arena_alloc(arena, *coarse, sizeof(uint32_t));

	if (made == NULL || place == NULL)
		return out_of_memory(status);
	if (cancel != NULL)
		options.cancel = *cancel;
	code = ds_kmeans(centroids, lists, d, &options, arena, made, coarse, status);
	if (code == DS_OK)
		code = ds_order_near(made, *coarse, d, cancel, arena, place, status);
	if (code != DS_OK)
		return code;
	for (uint32_t g = 0; g < *coarse && code == DS_OK; g++)
		code = ds_copy(coarse_centroids + (size_t) place[g] * d, made + (size_t) g * d, d, cancel);
	if (code == DS_OK)
		code = ds_router_group(&flat, coarse_centroids, *coarse, d, NULL, 1, NULL, cancel, arena,
							   status);
	if (code == DS_OK)
		code = ds_router_assign(&flat, centroids, lists, 0, 0, cancel, arena, group, NULL, status);
	return code;
}

DsCode
ds_router_init(DsRouter *router, const float *centroids, uint32_t lists, size_t d, uint32_t coarse,
			   const DsCancel *cancel, DsArena *arena, DsStatus *status)
{
	float *coarse_centroids;
	uint32_t *group;
	DsArenaMark mark;
	DsCode code;

	if (coarse == 0 && lists > FLAT_LISTS)
		coarse = lists / LISTS_TOGETHER;
	if (coarse <= 1)
		return ds_router_group(router, centroids, lists, d, NULL, 1, NULL, cancel, arena, status);
	if (coarse > lists)
		coarse = lists;

	coarse_centroids = ds_arena_alloc(arena, (size_t) coarse * d, sizeof(float));
	group = ds_arena_alloc(arena, lists, sizeof(uint32_t));
	if (coarse_centroids == NULL || group == NULL)
		return out_of_memory(status);
	mark = ds_arena_mark(arena);
	code =
		make_groups(centroids, lists, d, cancel, arena, coarse_centroids, &coarse, group, status);
	ds_arena_rewind(arena, mark);
	if (code == DS_CANCELLED)
		return ds_fail(status, code, "cancelled while lists were put into groups");
	if (code != DS_OK)
		return code;
	return ds_router_group(router, centroids, lists, d, coarse_centroids, coarse, group, cancel,
						   arena, status);
}

/* what a chunk of rows needs beside the tile */
typedef struct Chunk
{
	size_t rows;
	uint32_t panels; /* of all lists */
	uint32_t *nearest; /* [rows, effort]: coarse numbers */
	uint32_t *start; /* [panels + 2] */
	uint32_t *wanting; /* rows of the chunk, by panel */
	uint32_t *seen; /* [panels]: the last row that wanted it, + 1 */
	float *value; /* [rows] */
	float *coarse_products; /* [tile->rows, coarse] */
	uint32_t *tile_number; /* [tile->rows] */
	float *tile_value; /* [tile->rows] */
} Chunk;

/* The panels that have lists of group g: from begin to below end */
static uint32_t
panels_begin(const DsRouter *router, uint32_t g)
{
	return router->start[g] / DS_PANEL;
}

static uint32_t
panels_end(const DsRouter *router, uint32_t g)
{
	if (router->start[g] == router->start[g + 1])
		return panels_begin(router, g);
	return (router->start[g + 1] - 1) / DS_PANEL + 1;
}

/* Step 2; twice over the rows: counted, then put */
static void
turn_over(const DsRouter *router, Chunk *chunk, size_t m, uint32_t effort)
{
	memset(chunk->start, 0, ((size_t) chunk->panels + 2) * sizeof(uint32_t));
	for (int pass = 0; pass < 2; pass++)
	{
		memset(chunk->seen, 0, chunk->panels * sizeof(uint32_t));
		for (size_t i = 0; i < m; i++)
			for (uint32_t j = 0; j < effort; j++)
			{
				uint32_t g = chunk->nearest[i * effort + j];

				for (uint32_t p = panels_begin(router, g); p < panels_end(router, g); p++)
				{
					if (chunk->seen[p] == i + 1)
						continue;
					chunk->seen[p] = (uint32_t) i + 1;
					if (pass == 0)
						chunk->start[p + 2]++;
					else
						chunk->wanting[chunk->start[p + 1]++] = (uint32_t) i;
				}
			}
		for (uint32_t p = 0; pass == 0 && p < chunk->panels; p++)
			chunk->start[p + 2] += chunk->start[p + 1];
	}
}

/* Steps 1 to 3 for the chunk's rows [m, d] */
static DsCode
assign_chunk(const DsRouter *router, const DsTile *tile, Chunk *chunk, const float *rows, size_t m,
			 uint32_t effort, const DsCancel *cancel, uint32_t *list)
{
	size_t d = router->dimension;
	size_t columns = ds_panel_columns(router->coarse);

	for (size_t i = 0; i < m; i += tile->rows)
	{
		size_t count = tile->rows < m - i ? tile->rows : m - i;
		DsCode code;

		for (size_t j = 0; j < count; j++)
			tile->row[j] = rows + (i + j) * d;
		code = ds_tile_products(tile, count, d, router->coarse_packed, columns,
								chunk->coarse_products, cancel);
		if (code != DS_OK)
			return code;
		for (size_t j = 0; j < count; j++)
			ds_keep_nearest(chunk->coarse_products + j * columns, router->coarse_norms,
							router->coarse, effort, chunk->nearest + (i + j) * effort);
	}

	turn_over(router, chunk, m, effort);
	for (uint32_t p = 0; p < chunk->panels; p++)
	{
		size_t first = (size_t) p * DS_PANEL;
		size_t lists = router->lists - first < DS_PANEL ? router->lists - first : DS_PANEL;

		for (size_t i = chunk->start[p]; i < chunk->start[p + 1]; i += tile->rows)
		{
			const uint32_t *wanting = chunk->wanting + i;
			size_t count = chunk->start[p + 1] - i;
			DsCode code;

			count = tile->rows < count ? tile->rows : count;
			for (size_t j = 0; j < count; j++)
			{
				tile->row[j] = rows + wanting[j] * d;
				chunk->tile_number[j] = list[wanting[j]];
				chunk->tile_value[j] = chunk->value[wanting[j]];
			}
			/* numbers are places in member until the chunk is done */
			code =
				ds_nearest(tile, count, d, router->packed + first * d, router->packed_norms + first,
						   lists, (uint32_t) first, cancel, chunk->tile_number, chunk->tile_value);
			if (code != DS_OK)
				return code;
			for (size_t j = 0; j < count; j++)
			{
				list[wanting[j]] = chunk->tile_number[j];
				chunk->value[wanting[j]] = chunk->tile_value[j];
			}
		}
	}
	for (size_t i = 0; i < m; i++)
		list[i] = router->member[list[i]];
	return DS_OK;
}

/* The same against all lists */
static DsCode
assign_all(const DsRouter *router, const DsTile *tile, const float *rows, size_t m,
		   const DsCancel *cancel, uint32_t *list, float *value)
{
	size_t d = router->dimension;
	DsCode code = DS_OK;

	for (size_t i = 0; i < m; i += tile->rows)
	{
		size_t count = tile->rows < m - i ? tile->rows : m - i;

		code = ds_nearest_rows(tile, rows + i * d, count, d, router->packed,
							   router->coarse == 0 ? router->norms : router->packed_norms,
							   router->lists, 0, cancel, list + i, value + i);
		if (code != DS_OK)
			return code;
	}
	for (size_t i = 0; router->coarse > 0 && i < m; i++)
		list[i] = router->member[list[i]];
	return DS_OK;
}

static DsCode
assign(const DsRouter *router, const float *rows, size_t n, uint32_t effort, size_t memory,
	   const DsCancel *cancel, DsArena *arena, uint32_t *list, float *distance, DsStatus *status)
{
	size_t d = router->dimension;
	/* a group is hardly ever alone in its panels */
	bool all = router->coarse == 0 || effort == 0 ||
			   (uint64_t) effort * DS_PANEL >= ds_panel_columns(router->lists);
	Chunk chunk = {.rows = n < CHUNK_ROWS ? n : CHUNK_ROWS};
	DsTile tile;
	DsCode code;

	if (effort > DS_MOST_NEAREST)
		effort = DS_MOST_NEAREST;
	code =
		ds_tile_init(&tile, chunk.rows, d, all ? router->lists : DS_PANEL, memory, arena, status);
	if (code != DS_OK)
		return code;
	if (!all)
	{
		size_t most = 1; /* panels that a row wants */

		chunk.panels = (uint32_t) (ds_panel_columns(router->lists) / DS_PANEL);
		for (uint32_t g = 0; g < router->coarse; g++)
			if (panels_end(router, g) - panels_begin(router, g) > most)
				most = panels_end(router, g) - panels_begin(router, g);
		most = most * effort < chunk.panels ? most * effort : chunk.panels;
		chunk.coarse_products =
			ds_arena_alloc(arena, tile.rows * ds_panel_columns(router->coarse), sizeof(float));
		chunk.nearest = ds_arena_alloc(arena, chunk.rows * effort, sizeof(uint32_t));
		chunk.wanting = ds_arena_alloc(arena, chunk.rows * most, sizeof(uint32_t));
		chunk.start = ds_arena_alloc(arena, (size_t) chunk.panels + 2, sizeof(uint32_t));
		chunk.seen = ds_arena_alloc(arena, chunk.panels, sizeof(uint32_t));
		chunk.tile_number = ds_arena_alloc(arena, tile.rows, sizeof(uint32_t));
		chunk.tile_value = ds_arena_alloc(arena, tile.rows, sizeof(float));
		if (chunk.coarse_products == NULL || chunk.nearest == NULL || chunk.wanting == NULL ||
			chunk.start == NULL || chunk.seen == NULL || chunk.tile_number == NULL ||
			chunk.tile_value == NULL)
			return out_of_memory(status);
	}
	chunk.value = ds_arena_alloc(arena, chunk.rows, sizeof(float));
	if (chunk.value == NULL)
		return out_of_memory(status);

	for (size_t i = 0; i < n; i += chunk.rows)
	{
		const float *chunk_rows = rows + i * d;
		size_t m = chunk.rows < n - i ? chunk.rows : n - i;

		for (size_t j = 0; j < m; j++)
		{
			list[i + j] = 0;
			chunk.value[j] = INFINITY;
		}
		if (all)
			code = assign_all(router, &tile, chunk_rows, m, cancel, list + i, chunk.value);
		else
			code = assign_chunk(router, &tile, &chunk, chunk_rows, m, effort, cancel, list + i);
		if (code != DS_OK)
			return code;
		if (distance != NULL)
		{
			code = ds_squared_norms(chunk_rows, m, d, distance + i, cancel);
			if (code != DS_OK)
				return code;
			for (size_t j = 0; j < m; j++)
			{
				float square = distance[i + j] + chunk.value[j];

				distance[i + j] = square > 0.0f ? square : 0.0f;
			}
		}
	}
	return DS_OK;
}

DsCode
ds_router_assign(const DsRouter *router, const float *rows, size_t n, uint32_t effort,
				 size_t memory, const DsCancel *cancel, DsArena *arena, uint32_t *list,
				 float *distance, DsStatus *status)
{
	DsArenaMark mark = ds_arena_mark(arena);
	DsCode code = assign(router, rows, n, effort, memory, cancel, arena, list, distance, status);

	ds_arena_rewind(arena, mark);
	if (code == DS_CANCELLED)
		ds_fail(status, code, "cancelled while assigning rows to lists");
	return code;
}
