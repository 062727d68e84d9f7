/*
 * neighbours.c
 *		See neighbours.h.
 */
#include "quant/neighbours.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

DsCode
ds_ranks_init(DsRanks *ranks, uint32_t lists, uint32_t queries, uint32_t stages,
			  const uint32_t *rows, DsArena *arena, DsStatus *status)
{
	uint32_t most = stages > 0 ? rows[stages - 1] : 0;
	bool whole;

	ranks->lists = lists;
	ranks->stages = stages;
	ranks->rows = rows;
	ranks->total = ds_arena_zero(arena, stages, sizeof(uint64_t));
	ranks->hits = ds_arena_zero(arena, stages, sizeof(uint64_t *));
	ranks->gap = ds_arena_zero(arena, stages, sizeof(float *));
	ranks->asked = ds_arena_alloc(arena, most, sizeof(DsNeighbour));
	ranks->rank = ds_arena_alloc(arena, (size_t) most + 1, sizeof(uint32_t));
	whole = ranks->total != NULL && ranks->hits != NULL && ranks->gap != NULL &&
			ranks->asked != NULL && ranks->rank != NULL;
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

/* How many of n lists, which are sorted, come before x or are x */
static uint32_t
count_until(const DsNeighbour *list, uint32_t n, DsNeighbour x)
{
	uint32_t low = 0;

	while (n > 0)
	{
		uint32_t half = n / 2;

		if (compare_neighbours(&list[low + half], &x) <= 0)
		{
			low += half + 1;
			n -= half + 1;
		}
		else
			n = half;
	}
	return low;
}

/*
 * Ranks of the neighbours' lists only, for there may be a million others: each
 * list counts for the first of those that is behind it.
 */
static uint32_t
rank_lists(DsRanks *ranks, const DsNeighbour *neighbour, uint32_t n, const float *key)
{
	DsNeighbour *asked = ranks->asked;
	uint32_t *rank = ranks->rank;
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++)
		asked[i] = (DsNeighbour){key[neighbour[i].list], neighbour[i].list};
	qsort(asked, n, sizeof(DsNeighbour), compare_neighbours);
	for (uint32_t i = 0; i < n; i++)
		if (count == 0 || asked[count - 1].list != asked[i].list)
			asked[count++] = asked[i];
	memset(rank, 0, ((size_t) count + 1) * sizeof(uint32_t));
	for (uint32_t i = 0; count > 0 && i < ranks->lists; i++)
		if (key[i] <= asked[count - 1].key)
			rank[count_until(asked, count, (DsNeighbour){key[i], i})]++;
	for (uint32_t i = 1; i < count; i++)
		rank[i] += rank[i - 1];
	return count;
}

void
ds_ranks_add(DsRanks *ranks, DsNeighbours *neighbours, uint32_t query, const float *key,
			 double scale)
{
	DsNeighbour *neighbour = neighbours->neighbour + (size_t) query * neighbours->keep;
	uint32_t kept = neighbours->kept[query];
	uint32_t most = ranks->rows[ranks->stages - 1];
	uint32_t first = 0; /* rank of the nearest list; those that always come first are no measure */
	float nearest = INFINITY;
	uint32_t count;

	qsort(neighbour, kept, sizeof(DsNeighbour), compare_neighbours);
	kept = kept < most ? kept : most;
	count = rank_lists(ranks, neighbour, kept, key);
	for (uint32_t i = 0; i < ranks->lists; i++)
	{
		first += isinf(key[i]) && key[i] < 0;
		if (!isinf(key[i]) && key[i] < nearest)
			nearest = key[i];
	}
	for (uint32_t i = 0; i < kept; i++)
	{
		uint32_t list = neighbour[i].list;
		uint32_t at =
			ranks->rank[count_until(ranks->asked, count, (DsNeighbour){key[list], list}) - 1];
		double gap = at <= first || isinf(nearest) ? 0.0 : ((double) key[list] - nearest) * scale;

		for (uint32_t s = 0; s < ranks->stages; s++)
			if (i < ranks->rows[s])
			{
				ranks->gap[s][ranks->total[s]++] = (float) gap;
				ranks->hits[s][at]++;
			}
	}
}

/*
 * The one of n gaps that has so many before it: they are not negative, so they
 * have the order of their bits, which are found eleven at a time.
 */
static float
gap_at(const float *gap, uint64_t n, uint64_t before)
{
	uint32_t found = 0;
	uint32_t known = 0; /* mask of the bits found so far */
	float result;

	for (int shift = 22; shift >= 0; shift -= 11)
	{
		uint64_t count[2048] = {0};
		uint32_t digit = 0;

		for (uint64_t i = 0; i < n; i++)
		{
			uint32_t bits;

			memcpy(&bits, &gap[i], sizeof(bits));
			count[bits >> shift & 2047] += (bits & known) == found;
		}
		while (before >= count[digit])
			before -= count[digit++];
		found |= digit << shift;
		known |= (uint32_t) 2047 << shift;
	}
	memcpy(&result, &found, sizeof(result));
	return result;
}

void
ds_ranks_curve(DsRanks *ranks, uint32_t stage, const double *recall, uint32_t n, uint32_t *lists,
			   float *gap)
{
	uint64_t total = ranks->total[stage];
	uint64_t found = 0;
	uint32_t open = 0;

	for (uint32_t i = 0; i < n; i++)
	{
		uint64_t last = (uint64_t) (recall[i] * (double) total);

		gap[i] =
			total == 0 ? 0.0f : gap_at(ranks->gap[stage], total, last < total ? last : total - 1);
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
