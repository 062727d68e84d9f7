/*
 * test_neighbours.c
 *		The nearest rows that are kept, and the curve of their lists, against
 *		a sort of everything.
 */
#include "quant/neighbours.h"

#include <math.h>
#include <stdlib.h>

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
	test_opened();
	test_empty();
	ds_arena_free(&arena);
	return unit_done();
}
