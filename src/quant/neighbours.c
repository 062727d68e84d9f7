/*
 * neighbours.c
 *		See neighbours.h.
 */
#include "quant/neighbours.h"

#include <math.h>
#include <stdlib.h>

DsCode
ds_neighbours_init(DsNeighbours *neighbours, uint32_t queries, uint32_t keep, DsArena *arena,
				   DsStatus *status)
{
	neighbours->queries = queries;
	neighbours->keep = keep;
	neighbours->threshold = ds_arena_alloc(arena, queries, sizeof(float));
	neighbours->kept = ds_arena_zero(arena, queries, sizeof(uint32_t));
	neighbours->neighbour = ds_arena_alloc(arena, (size_t) queries * keep, sizeof(DsNeighbour));
	if (neighbours->threshold == NULL || neighbours->kept == NULL || neighbours->neighbour == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %u neighbours of %u queries",
					   (unsigned) keep, (unsigned) queries);
	for (uint32_t i = 0; i < queries; i++)
		neighbours->threshold[i] = INFINITY;
	return DS_OK;
}

void
ds_neighbours_keep(DsNeighbours *neighbours, uint32_t query, float key, uint32_t list)
{
	DsNeighbour *heap = neighbours->neighbour + (size_t) query * neighbours->keep;
	uint32_t count = neighbours->kept[query];
	uint32_t hole;

	if (count < neighbours->keep)
	{
		hole = count;
		while (hole > 0 && heap[(hole - 1) / 2].key < key)
		{
			heap[hole] = heap[(hole - 1) / 2];
			hole = (hole - 1) / 2;
		}
		neighbours->kept[query] = ++count;
	}
	else
	{
		uint32_t child;

		hole = 0;
		while ((child = 2 * hole + 1) < count)
		{
			if (child + 1 < count && heap[child + 1].key > heap[child].key)
				child++;
			if (heap[child].key <= key)
				break;
			heap[hole] = heap[child];
			hole = child;
		}
	}
	heap[hole] = (DsNeighbour){key, list};
	if (count == neighbours->keep)
		neighbours->threshold[query] = heap[0].key;
}

static int
compare_neighbours(const void *a, const void *b)
{
	const DsNeighbour *x = a;
	const DsNeighbour *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->list < y->list ? -1 : x->list > y->list;
}

static int
compare_floats(const void *a, const void *b)
{
	float x = *(const float *) a;
	float y = *(const float *) b;

	return x < y ? -1 : x > y;
}

DsCode
ds_ranks_init(DsRanks *ranks, uint32_t lists, uint32_t queries, uint32_t stages,
			  const uint32_t *rows, DsArena *arena, DsStatus *status)
{
	bool whole;

	ranks->lists = lists;
	ranks->stages = stages;
	ranks->rows = rows;
	ranks->total = ds_arena_zero(arena, stages, sizeof(uint64_t));
	ranks->hits = ds_arena_zero(arena, stages, sizeof(uint64_t *));
	ranks->gap = ds_arena_zero(arena, stages, sizeof(float *));
	ranks->order = ds_arena_alloc(arena, lists, sizeof(DsNeighbour));
	ranks->rank = ds_arena_alloc(arena, lists, sizeof(uint32_t));
	whole = ranks->total != NULL && ranks->hits != NULL && ranks->gap != NULL &&
			ranks->order != NULL && ranks->rank != NULL;
	for (uint32_t s = 0; whole && s < stages; s++)
	{
		ranks->hits[s] = ds_arena_zero(arena, lists, sizeof(uint64_t));
		ranks->gap[s] = ds_arena_alloc(arena, (size_t) rows[s] * queries, sizeof(float));
		whole = ranks->hits[s] != NULL && ranks->gap[s] != NULL;
	}
	if (!whole)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for a recall curve of %u lists",
					   (unsigned) lists);
	return DS_OK;
}

void
ds_ranks_add(DsRanks *ranks, DsNeighbours *neighbours, uint32_t query, const float *key,
			 double scale)
{
	DsNeighbour *neighbour = neighbours->neighbour + (size_t) query * neighbours->keep;
	uint32_t kept = neighbours->kept[query];
	uint32_t lists = ranks->lists;
	uint32_t first = 0;

	for (uint32_t i = 0; i < lists; i++)
		ranks->order[i] = (DsNeighbour){key[i], i};
	qsort(ranks->order, lists, sizeof(DsNeighbour), compare_neighbours);
	for (uint32_t i = 0; i < lists; i++)
		ranks->rank[ranks->order[i].list] = i;
	/* lists that always come first are no measure */
	while (first + 1 < lists && isinf(ranks->order[first].key))
		first++;
	qsort(neighbour, kept, sizeof(DsNeighbour), compare_neighbours);
	for (uint32_t s = 0; s < ranks->stages; s++)
		for (uint32_t i = 0; i < kept && i < ranks->rows[s]; i++)
		{
			uint32_t at = ranks->rank[neighbour[i].list];
			double gap = (double) ranks->order[at].key - ranks->order[first].key;

			ranks->gap[s][ranks->total[s]++] = at <= first ? 0.0f : (float) (gap * scale);
			ranks->hits[s][at]++;
		}
}

void
ds_ranks_curve(DsRanks *ranks, uint32_t stage, const double *recall, uint32_t n, uint32_t *lists,
			   float *gap)
{
	uint64_t total = ranks->total[stage];
	float *gaps = ranks->gap[stage];
	uint64_t found = 0;
	uint32_t open = 0;

	qsort(gaps, total, sizeof(float), compare_floats);
	for (uint32_t i = 0; i < n; i++)
	{
		uint64_t last = (uint64_t) (recall[i] * (double) total);

		gap[i] = total == 0 ? 0.0f : gaps[last < total ? last : total - 1];
		while (open < ranks->lists && (double) found < recall[i] * (double) total)
			found += ranks->hits[stage][open++];
		lists[i] = open > 1 ? open : 1;
	}
}

void
ds_ranks_opened(const float *key, uint32_t lists, double scale, const float *gap, uint32_t n,
				double *opened)
{
	float nearest = INFINITY;

	for (uint32_t i = 0; i < lists; i++)
		if (!isinf(key[i]) && key[i] < nearest)
			nearest = key[i];
	for (uint32_t i = 0; i < lists; i++)
	{
		/* as in ds_ranks_add(), where the nearest one has no gap whatever the scale */
		double here = key[i] > nearest ? ((double) key[i] - nearest) * scale : 0.0;

		for (uint32_t j = n; j > 0 && here <= gap[j - 1]; j--)
			opened[j - 1] += 1.0;
	}
}
