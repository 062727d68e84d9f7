/*
 * router.c
 *		From a row to its list in two levels.
 *
 * Comparing a row with all of k centroids costs k d multiplications: a million
 * rows of 128 dimensions and 4,096 lists take 11 s of BLAS at 100 GFLOP/s.  So
 * the centroids are themselves clustered, about sqrt(k) coarse ones; a row
 * is compared with those, and with the lists of the `effort' nearest.  With
 * 64 coarse centroids and an effort of 16 that is 64 + 16 * 64 products instead
 * of 4,096, a quarter.
 *
 * A product of a few rows with a few centroids is slow in BLAS, so rows are
 * handled by the chunk:
 *
 *	1. Products of the chunk with all coarse centroids; each row keeps its
 *	   nearest `effort', a small sorted array.
 *	2. Turned over: for each coarse centroid, which rows want it (a counting
 *	   sort of (row, coarse) pairs).
 *	3. For each coarse centroid: gather those rows into a tile, multiply with
 *	   its lists, keep the best of each row.
 *
 * Example: a chunk of 8,192 rows, 64 coarse, effort 16: 2,048 rows meet each
 * coarse centroid on average, eight tiles of 256 rows by 64 lists.
 */
#include "quant/kmeans.h"

#include <math.h>
#include <string.h>

#include "base/blas.h"
#include "quant/nearest.h"

/* up to here, one flat product is as fast */
#define FLAT_LISTS 511

/* rows that are turned over at once */
#define CHUNK_ROWS 8192

#define MAX_EFFORT 64

/* Lloyd iterations of the k-means over centroids */
#define COARSE_ITERATIONS 10

static DsCode
out_of_memory(DsStatus *status)
{
	return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for routing rows to lists");
}

/* a flat router */
static DsCode
init_flat(DsRouter *router, const float *centroids, uint32_t lists, size_t d, DsArena *arena,
		  DsStatus *status)
{
	float *norms;

	memset(router, 0, sizeof(*router));
	if (lists == 0 || d == 0)
		return ds_fail(status, DS_INVALID, "routing needs at least one list and one dimension");
	norms = ds_arena_alloc(arena, lists, sizeof(float));
	if (norms == NULL)
		return out_of_memory(status);
	ds_squared_norms(centroids, lists, d, norms);
	router->dimension = d;
	router->lists = lists;
	router->centroids = centroids;
	router->norms = norms;
	return DS_OK;
}

DsCode
ds_router_group(DsRouter *router, const float *centroids, uint32_t lists, size_t d,
				const float *coarse_centroids, uint32_t coarse, const uint32_t *group,
				DsArena *arena, DsStatus *status)
{
	DsCode code = init_flat(router, centroids, lists, d, arena, status);
	uint32_t *start;
	uint32_t *member;
	float *packed;
	float *packed_norms;
	float *coarse_norms;
	size_t floats;

	if (code != DS_OK || coarse <= 1)
		return code;
	for (uint32_t i = 0; i < lists; i++)
		if (group[i] >= coarse)
			return ds_fail(status, DS_BAD_DATA, "list %u belongs to coarse centroid %u of %u",
						   (unsigned) i, (unsigned) group[i], (unsigned) coarse);
	if (!ds_size_mul(lists, d, &floats))
		return out_of_memory(status);
	start = ds_arena_zero(arena, (size_t) coarse + 2, sizeof(uint32_t));
	member = ds_arena_alloc(arena, lists, sizeof(uint32_t));
	packed = ds_arena_alloc(arena, floats, sizeof(float));
	packed_norms = ds_arena_alloc(arena, lists, sizeof(float));
	coarse_norms = ds_arena_alloc(arena, coarse, sizeof(float));
	if (start == NULL || member == NULL || packed == NULL || packed_norms == NULL ||
		coarse_norms == NULL)
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
		memcpy(packed + (size_t) place * d, centroids + (size_t) i * d, d * sizeof(float));
	}
	ds_squared_norms(coarse_centroids, coarse, d, coarse_norms);
	router->coarse = coarse;
	router->coarse_centroids = coarse_centroids;
	router->coarse_norms = coarse_norms;
	router->start = start;
	router->member = member;
	router->packed = packed;
	router->packed_norms = packed_norms;
	return DS_OK;
}

DsCode
ds_router_init(DsRouter *router, const float *centroids, uint32_t lists, size_t d, uint32_t coarse,
			   uint64_t seed, const DsCancel *cancel, DsArena *arena, DsStatus *status)
{
	DsKmeansOptions options = {.seed = seed, .iterations = COARSE_ITERATIONS};
	DsCode code = init_flat(router, centroids, lists, d, arena, status);
	DsArenaMark mark;
	DsRouter flat;
	float *coarse_centroids;
	uint32_t *group;

	if (code != DS_OK)
		return code;
	if (coarse == 0 && lists > FLAT_LISTS)
		coarse = (uint32_t) lround(sqrt((double) lists));
	if (coarse <= 1)
		return DS_OK;
	if (coarse > lists)
		coarse = lists;

	coarse_centroids = ds_arena_alloc(arena, (size_t) coarse * d, sizeof(float));
	group = ds_arena_alloc(arena, lists, sizeof(uint32_t));
	if (coarse_centroids == NULL || group == NULL)
		return out_of_memory(status);
	options.lists = coarse;
	if (cancel != NULL)
		options.cancel = *cancel;
	code = ds_kmeans(centroids, lists, d, &options, arena, coarse_centroids, &coarse, status);
	if (code != DS_OK)
		return code;

	/* where each list belongs */
	mark = ds_arena_mark(arena);
	code = init_flat(&flat, coarse_centroids, coarse, d, arena, status);
	if (code == DS_OK)
		code = ds_router_assign(&flat, centroids, lists, 0, 0, cancel, arena, group, NULL, status);
	ds_arena_rewind(arena, mark);
	if (code != DS_OK)
		return code;
	return ds_router_group(router, centroids, lists, d, coarse_centroids, coarse, group, arena,
						   status);
}

/* what a chunk of rows needs beside the tile */
typedef struct Chunk
{
	size_t rows;
	uint32_t *nearest; /* [rows, effort]: coarse numbers */
	uint32_t *start; /* [coarse + 2] */
	uint32_t *wanting; /* [rows * effort]: rows of the chunk, by coarse centroid */
	float *value; /* [rows] */
	float *coarse_products; /* [tile->rows, coarse] */
	uint32_t *tile_number; /* [tile->rows] */
	float *tile_value; /* [tile->rows] */
} Chunk;

/* Step 1: numbers of the `effort' least values, nearest first */
static void
keep_nearest(const float *products, const float *norms, uint32_t coarse, uint32_t effort,
			 uint32_t *number)
{
	float value[MAX_EFFORT];
	uint32_t kept = 0;

	for (uint32_t g = 0; g < coarse; g++)
	{
		float v = norms[g] - 2.0f * products[g];
		uint32_t place;

		/* cppcheck-suppress uninitvar ; kept values are set */
		if (kept == effort && !(v < value[effort - 1]))
			continue;
		place = kept < effort ? kept++ : effort - 1;
		for (; place > 0 && v < value[place - 1]; place--)
		{
			value[place] = value[place - 1];
			number[place] = number[place - 1];
		}
		value[place] = v;
		number[place] = g;
	}
}

/* Steps 1 to 3 for the chunk's rows [m, d] */
static DsCode
assign_chunk(const DsRouter *router, const DsTile *tile, Chunk *chunk, const float *rows, size_t m,
			 uint32_t effort, const DsCancel *cancel, uint32_t *list)
{
	size_t d = router->dimension;

	for (size_t i = 0; i < m; i += tile->rows)
	{
		size_t count = tile->rows < m - i ? tile->rows : m - i;

		if (ds_cancelled(cancel))
			return DS_CANCELLED;
		ds_gemm(0, 1, count, router->coarse, d, 1.0f, rows + i * d, d, router->coarse_centroids, d,
				0.0f, chunk->coarse_products, router->coarse);
		for (size_t j = 0; j < count; j++)
			keep_nearest(chunk->coarse_products + j * router->coarse, router->coarse_norms,
						 router->coarse, effort, chunk->nearest + (i + j) * effort);
	}

	memset(chunk->start, 0, ((size_t) router->coarse + 2) * sizeof(uint32_t));
	for (size_t i = 0; i < m * effort; i++)
		chunk->start[chunk->nearest[i] + 2]++;
	for (uint32_t g = 0; g < router->coarse; g++)
		chunk->start[g + 2] += chunk->start[g + 1];
	for (size_t i = 0; i < m * effort; i++)
		chunk->wanting[chunk->start[chunk->nearest[i] + 1]++] = (uint32_t) (i / effort);

	for (uint32_t g = 0; g < router->coarse; g++)
	{
		size_t first = router->start[g];
		size_t lists = router->start[g + 1] - first;

		for (size_t i = chunk->start[g]; lists > 0 && i < chunk->start[g + 1]; i += tile->rows)
		{
			const uint32_t *wanting = chunk->wanting + i;
			size_t count = chunk->start[g + 1] - i;
			DsCode code;

			count = tile->rows < count ? tile->rows : count;
			for (size_t j = 0; j < count; j++)
			{
				memcpy(tile->gathered + j * d, rows + wanting[j] * d, d * sizeof(float));
				chunk->tile_number[j] = list[wanting[j]];
				chunk->tile_value[j] = chunk->value[wanting[j]];
			}
			/* numbers are places in member until the chunk is done */
			code = ds_nearest(tile, tile->gathered, count, d, router->packed + first * d,
							  router->packed_norms + first, lists, (uint32_t) first, cancel,
							  chunk->tile_number, chunk->tile_value);
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

static DsCode
assign(const DsRouter *router, const float *rows, size_t n, uint32_t effort, size_t memory,
	   const DsCancel *cancel, DsArena *arena, uint32_t *list, float *distance, DsStatus *status)
{
	size_t d = router->dimension;
	/* small products are so much slower that all of them are faster than two fifths */
	bool flat = router->coarse == 0 || effort == 0 ||
				(uint64_t) effort * 5 >= (uint64_t) router->coarse * 2;
	Chunk chunk = {.rows = n < CHUNK_ROWS ? n : CHUNK_ROWS};
	uint32_t widest = 1;
	DsTile tile;
	DsCode code;

	if (effort > MAX_EFFORT)
		effort = MAX_EFFORT;
	for (uint32_t g = 0; !flat && g < router->coarse; g++)
		if (router->start[g + 1] - router->start[g] > widest)
			widest = router->start[g + 1] - router->start[g];
	code = ds_tile_init(&tile, chunk.rows, d, flat ? router->lists : widest, memory, arena, status);
	if (code != DS_OK)
		return code;
	if (!flat)
	{
		chunk.coarse_products = ds_arena_alloc(arena, tile.rows * router->coarse, sizeof(float));
		chunk.nearest = ds_arena_alloc(arena, chunk.rows * effort, sizeof(uint32_t));
		chunk.wanting = ds_arena_alloc(arena, chunk.rows * effort, sizeof(uint32_t));
		chunk.start = ds_arena_alloc(arena, (size_t) router->coarse + 2, sizeof(uint32_t));
		chunk.tile_number = ds_arena_alloc(arena, tile.rows, sizeof(uint32_t));
		chunk.tile_value = ds_arena_alloc(arena, tile.rows, sizeof(float));
		if (chunk.coarse_products == NULL || chunk.nearest == NULL || chunk.wanting == NULL ||
			chunk.start == NULL || chunk.tile_number == NULL || chunk.tile_value == NULL)
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
		if (flat)
			for (size_t j = 0; code == DS_OK && j < m; j += tile.rows)
				code = ds_nearest(&tile, chunk_rows + j * d, tile.rows < m - j ? tile.rows : m - j,
								  d, router->centroids, router->norms, router->lists, 0, cancel,
								  list + i + j, chunk.value + j);
		else
			code = assign_chunk(router, &tile, &chunk, chunk_rows, m, effort, cancel, list + i);
		if (code != DS_OK)
			return code;
		if (distance != NULL)
		{
			ds_squared_norms(chunk_rows, m, d, distance + i);
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
