/*
 * lists_of.c
 *		What k-means makes of rows: how long it takes, how far rows are from
 *		their centroids, how equal lists are, and how many rows a search reads.
 *
 *	index_data rows KIND DIMS 0 ROWS | lists_of DIMS ROWS LISTS ROWS_A_LIST
 *
 * The last QUERIES of the rows stand for queries and are in no list.  Times are
 * processor time of this thread.
 */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <arpa/inet.h>

#include "base/random.h"
#include "quant/kmeans.h"
#include "quant/neighbours.h"
#include "vector/kernels.h"

#define QUERIES 200
#define NEAREST 10

static DsArena arena;

static void *
take(size_t count, size_t size)
{
	void *memory = ds_arena_zero(&arena, count, size);

	if (memory == NULL)
	{
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	return memory;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static void
get(void *to, size_t size)
{
	if (fread(to, 1, size, stdin) != size)
	{
		fprintf(stderr, "the rows end too early\n");
		exit(1);
	}
}

/* binary COPY of (id, bucket, embedding) */
static void
get_rows(float *rows, size_t n, size_t d)
{
	char skipped[26];
	uint32_t *bits = take(d, sizeof(uint32_t));

	get(skipped, 19);
	for (size_t i = 0; i < n; i++)
	{
		/* number of fields, two integers, then length, dimension and a spare number */
		get(skipped, 2 + 8 + 8);
		get(skipped, 4 + 4);
		get(bits, d * sizeof(uint32_t));
		for (size_t c = 0; c < d; c++)
		{
			uint32_t host = ntohl(bits[c]);

			memcpy(&rows[i * d + c], &host, sizeof(float));
		}
	}
}

/* Rows of lists within the gap that finds so many of the nearest rows */
static void
print_reading(const float *rows, size_t n, size_t d, const float *queries, const float *centroids,
			  uint32_t lists, const uint32_t *list, const uint32_t *size)
{
	static const uint32_t wanted[1] = {NEAREST};
	static const double recall[2] = {0.95, 0.99};
	float *key = take(lists, sizeof(float));
	double read[2] = {0, 0};
	DsNeighbours neighbours;
	DsRanks ranks;
	uint32_t opened[2];
	float gap[2];

	ds_neighbours_init(&neighbours, QUERIES, NEAREST, &arena, NULL);
	ds_ranks_init(&ranks, lists, QUERIES, 1, wanted, &arena, NULL);
	for (uint32_t q = 0; q < QUERIES; q++)
	{
		const float *query = queries + q * d;

		for (size_t i = 0; i < n; i++)
		{
			float here = ds_kernels()->l2_squared(rows + i * d, query, d);

			if (here < neighbours.threshold[q])
				ds_neighbours_keep(&neighbours, q, here, list[i]);
		}
		ds_kernels()->l2_squared_many(query, centroids, d, lists, d, key);
		ds_ranks_add(&ranks, &neighbours, q, key, 1.0);
	}
	ds_ranks_curve(&ranks, 0, recall, 2, opened, gap);
	for (uint32_t q = 0; q < QUERIES; q++)
	{
		float nearest = INFINITY;

		ds_kernels()->l2_squared_many(queries + q * d, centroids, d, lists, d, key);
		for (uint32_t i = 0; i < lists; i++)
			nearest = key[i] < nearest ? key[i] : nearest;
		for (uint32_t i = 0; i < lists; i++)
			for (int r = 0; r < 2; r++)
				read[r] += key[i] - nearest <= gap[r] ? size[i] : 0;
	}
	printf(" | %.0f, %.0f |\n", read[0] / QUERIES, read[1] / QUERIES);
}

int
main(int argc, char **argv)
{
	DsKmeansOptions options = {.seed = 3, .memory = 4 * 1024 * 1024}; /* as the build has it */
	size_t d = argc > 4 ? (size_t) atol(argv[1]) : 0;
	size_t n = argc > 4 ? (size_t) atol(argv[2]) : 0;
	size_t sample;
	uint32_t lists = 0;
	float *rows;
	float *centroids;
	uint32_t *list;
	uint32_t *size;
	float *distance;
	double residual = 0;
	double squares = 0;
	double start;
	DsRouter router;

	if (d == 0 || n <= QUERIES)
	{
		fprintf(stderr, "lists_of DIMS ROWS LISTS ROWS_A_LIST\n");
		return 2;
	}
	ds_arena_init(&arena, NULL);
	options.lists = (uint32_t) atol(argv[3]);
	rows = take(n * d, sizeof(float));
	get_rows(rows, n, d);
	n -= QUERIES;
	sample = (size_t) atol(argv[4]) * options.lists;
	sample = sample < n ? sample : n;
	centroids = take(options.lists * d, sizeof(float));
	list = take(n, sizeof(uint32_t));
	distance = take(n, sizeof(float));

	start = now();
	if (ds_kmeans(rows, sample, d, &options, &arena, centroids, &lists, NULL) != DS_OK)
		return 1;
	printf("| %u | %s | %.1f", lists, argv[4], now() - start);
	start = now();
	ds_router_init(&router, centroids, lists, d, 0, NULL, &arena, NULL);
	ds_router_assign(&router, rows, n, DS_ROUTER_EFFORT, options.memory, NULL, &arena, list,
					 distance, NULL);
	printf(" | %.1f", now() - start);
	size = take(lists, sizeof(uint32_t));
	for (size_t i = 0; i < n; i++)
	{
		residual += distance[i];
		size[list[i]]++;
	}
	for (uint32_t i = 0; i < lists; i++)
		squares += (double) size[i] * size[i];
	printf(" | %.4f | %.2f", residual / (double) n, squares * lists / ((double) n * (double) n));
	print_reading(rows, n, d, rows + n * d, centroids, lists, list, size);
	ds_arena_free(&arena);
	return 0;
}
