/*
 * test_neighbours.c
 *		The nearest rows that are kept, and the curve of their lists, against
 *		a sort of everything.
 */
#include "quant/neighbours.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "unit.h"

static DsArena arena;

static int
compare(const void *a, const void *b)
{
	float x = *(const float *) a;
	float y = *(const float *) b;

	return x < y ? -1 : x > y;
}

static void
test_keep(uint32_t keep, uint32_t rows)
{
	enum
	{
		QUERIES = 3
	};
	DsNeighbours neighbours;
	DsStatus status;
	DsRandom random;
	float *key[QUERIES];
	int wrong = 0;

	CHECK(ds_neighbours_init(&neighbours, QUERIES, keep, &arena, &status) == DS_OK, "init");
	ds_random_init(&random, keep, rows);
	for (int q = 0; q < QUERIES; q++)
		key[q] = ds_arena_alloc(&arena, rows + 1, sizeof(float));
	for (uint32_t i = 0; i < rows; i++)
		for (uint32_t q = 0; q < QUERIES; q++)
		{
			/* many are equal */
			key[q][i] = (float) ds_random_below(&random, 50);
			if (key[q][i] < neighbours.threshold[q])
				ds_neighbours_keep(&neighbours, q, key[q][i], i);
		}
	for (uint32_t q = 0; q < QUERIES; q++)
	{
		uint32_t kept = neighbours.kept[q];
		float *found = ds_arena_alloc(&arena, keep, sizeof(float));

		wrong += kept != (rows < keep ? rows : keep);
		for (uint32_t i = 0; i < kept; i++)
		{
			DsNeighbour *here = &neighbours.neighbour[q * keep + i];

			wrong += key[q][here->list] != here->key;
			found[i] = here->key;
		}
		qsort(found, kept, sizeof(float), compare);
		qsort(key[q], rows, sizeof(float), compare);
		for (uint32_t i = 0; i < kept; i++)
			wrong += found[i] != key[q][i];
		wrong += rows < keep ? !isinf(neighbours.threshold[q])
							 : neighbours.threshold[q] != key[q][keep - 1];
	}
	CHECK(wrong == 0, "%u of %u rows are the nearest", keep, rows);
}

/* Two queries, four lists: ranks and gaps by hand */
static void
test_curve(void)
{
	static const uint32_t rows[2] = {1, 3};
	static const double recall[3] = {0.5, 0.8, 1.0};
	static const float key[2][4] = {{4, 1, 9, 16}, {-INFINITY, 2, 3, 7}};
	DsNeighbours neighbours;
	DsRanks ranks;
	DsStatus status;
	uint32_t lists[3];
	float gap[3];

	CHECK(ds_neighbours_init(&neighbours, 2, 3, &arena, &status) == DS_OK &&
			  ds_ranks_init(&ranks, 4, 2, 2, rows, &arena, &status) == DS_OK,
		  "init of a curve");
	/* farthest first, for they get sorted */
	ds_neighbours_keep(&neighbours, 0, 0.3f, 2); /* rank 2, gap 8 */
	ds_neighbours_keep(&neighbours, 0, 0.2f, 1); /* rank 0, gap 0 */
	ds_neighbours_keep(&neighbours, 0, 0.1f, 0); /* rank 1, gap 3 */
	ds_neighbours_keep(&neighbours, 1, 0.3f, 3); /* rank 3, gap 5 */
	ds_neighbours_keep(&neighbours, 1, 0.1f, 1); /* rank 1, the first that counts: gap 0 */
	ds_neighbours_keep(&neighbours, 1, 0.2f, 0); /* rank 0, always open: gap 0 */
	ds_ranks_add(&ranks, &neighbours, 0, key[0], 1.0);
	ds_ranks_add(&ranks, &neighbours, 1, key[1], 2.0);
	CHECK(ranks.total[0] == 2 && ranks.total[1] == 6, "neighbours counted");
	ds_ranks_curve(&ranks, 0, recall, 3, lists, gap);
	CHECK(lists[0] == 2 && lists[2] == 2 && gap[0] == 3.0f && gap[2] == 3.0f, "one row");
	ds_ranks_curve(&ranks, 1, recall, 3, lists, gap);
	CHECK(lists[0] == 2 && lists[1] == 3 && lists[2] == 4, "three rows: lists");
	CHECK(gap[0] == 3.0f && gap[1] == 8.0f && gap[2] == 10.0f, "three rows: gaps");
}

/*
 * Ranks against a plain sort of all lists, where many keys are equal; gaps
 * against a plain sort of all gaps.
 */
enum
{
	RANKED_LISTS = 500,
	RANKED_QUERIES = 20,
	RANKED_ROWS = 100
};

static const float *sorted_by;

static int
compare_lists(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *) a;
	uint32_t y = *(const uint32_t *) b;

	if (sorted_by[x] != sorted_by[y])
		return sorted_by[x] < sorted_by[y] ? -1 : 1;
	return x < y ? -1 : x > y;
}

static void
test_ranks(uint32_t infinite)
{
	static const uint32_t rows[2] = {10, RANKED_ROWS};
	static const double recall[5] = {0, 0.3, 0.9, 0.999, 1};
	static float key[RANKED_QUERIES][RANKED_LISTS];
	static float gaps[2][RANKED_QUERIES * RANKED_ROWS];
	static uint64_t hits[2][RANKED_LISTS];
	uint64_t total[2] = {0, 0};
	DsNeighbours neighbours;
	DsRanks ranks;
	DsStatus status;
	DsRandom random;
	uint32_t wrong = 0;

	ds_random_init(&random, infinite, 1);
	memset(hits, 0, sizeof(hits));
	ds_neighbours_init(&neighbours, RANKED_QUERIES, RANKED_ROWS, &arena, &status);
	ds_ranks_init(&ranks, RANKED_LISTS, RANKED_QUERIES, 2, rows, &arena, &status);
	for (uint32_t q = 0; q < RANKED_QUERIES; q++)
	{
		uint32_t order[RANKED_LISTS];
		uint32_t rank[RANKED_LISTS];
		uint32_t near[RANKED_ROWS];
		uint32_t first = 0;
		double scale = 0.5 + q;

		for (uint32_t i = 0; i < RANKED_LISTS; i++)
		{
			key[q][i] = ds_random_below(&random, RANKED_LISTS) < infinite
							? (i % 2 == 0 ? -INFINITY : INFINITY)
							: (float) ds_random_below(&random, 50) - 10;
			order[i] = i;
		}
		sorted_by = key[q];
		qsort(order, RANKED_LISTS, sizeof(uint32_t), compare_lists);
		for (uint32_t i = 0; i < RANKED_LISTS; i++)
			rank[order[i]] = i;
		while (first + 1 < RANKED_LISTS && isinf(key[q][order[first]]))
			first++;
		for (uint32_t i = 0; i < RANKED_ROWS; i++)
		{
			near[i] = (uint32_t) ds_random_below(&random, RANKED_LISTS);
			ds_neighbours_keep(&neighbours, q, (float) i, near[i]);
		}
		for (int s = 0; s < 2; s++)
			for (uint32_t i = 0; i < rows[s]; i++)
			{
				uint32_t at = rank[near[i]];

				hits[s][at]++;
				gaps[s][total[s]++] =
					at <= first
						? 0.0f
						: (float) (((double) key[q][near[i]] - key[q][order[first]]) * scale);
			}
		ds_ranks_add(&ranks, &neighbours, q, key[q], scale);
	}
	for (uint32_t s = 0; s < 2; s++)
	{
		uint32_t lists[5];
		float gap[5];

		wrong += ranks.total[s] != total[s];
		wrong += memcmp(ranks.hits[s], hits[s], sizeof(hits[s])) != 0;
		qsort(gaps[s], total[s], sizeof(float), compare);
		ds_ranks_curve(&ranks, s, recall, 5, lists, gap);
		for (int r = 0; r < 5; r++)
		{
			uint64_t last = (uint64_t) (recall[r] * (double) total[s]);

			wrong += gap[r] != gaps[s][last < total[s] ? last : total[s] - 1];
		}
	}
	CHECK(wrong == 0, "ranks of lists, about %u of %u infinite", infinite, RANKED_LISTS);
}

/* Lists up to a gap: the nearest, and those that always come first, are always open. */
static void
test_opened(void)
{
	static const float key[5] = {-INFINITY, 2, 3, 2.5, 7};
	static const float gap[3] = {0, 2, 10};
	double opened[3] = {0, 0, 1};

	ds_ranks_opened(key, 5, 2.0, gap, 3, opened);
	CHECK(opened[0] == 2 && opened[1] == 4 && opened[2] == 6, "lists within gaps");
}

/* Nothing seen is no error. */
static void
test_empty(void)
{
	static const uint32_t rows[1] = {10};
	static const double recall[1] = {0.9};
	DsNeighbours neighbours;
	DsRanks ranks;
	DsStatus status;
	const float key[1] = {INFINITY};
	uint32_t lists = 7;
	float gap = 7;

	ds_neighbours_init(&neighbours, 1, 10, &arena, &status);
	ds_ranks_init(&ranks, 1, 1, 1, rows, &arena, &status);
	ds_ranks_add(&ranks, &neighbours, 0, key, 1.0);
	ds_ranks_curve(&ranks, 0, recall, 1, &lists, &gap);
	CHECK(lists == 1 && gap == 0.0f, "no neighbour");
}

int
main(void)
{
	ds_arena_init(&arena, NULL);
	test_keep(1, 100);
	test_keep(10, 5);
	test_keep(10, 10);
	test_keep(10, 1000);
	test_keep(1000, 3000);
	test_curve();
	test_ranks(0);
	test_ranks(RANKED_LISTS / 10);
	test_ranks(RANKED_LISTS);
	test_opened();
	test_empty();
	ds_arena_free(&arena);
	return unit_done();
}
