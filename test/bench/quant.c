/*
 * quant.c
 *		How fast codes are made, scanned and refined, and lists are found.
 *
 * Figures of one thread, in its processor time.  Scans run over blocks that lie in the second-level
 * cache (some 256 kB), and, as an index does, go through estimate and bound.
 * Clustering takes 40 rows a list of data made of 1,000 clusters with 20
 * directions each, and is compared with Lloyd's iteration in one level.
 *
 * build/bench/quant [lists [assigned rows]]
 */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/random.h"
#include "quant/kmeans.h"
#include "quant/query.h"
#include "quant/scan.h"

#define SECONDS 0.3 /* a measurement */
#define TURNS 9

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

static int
compare(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return (x > y) - (x < y);
}

/* what is timed */
typedef struct Work
{
	DsQuantizer quantizer;
	DsQuery *query;
	DsProbe probe;
	DsCoded coded;
	size_t d;
	size_t n; /* rows */
	const float *x; /* [n, d] */
	float *y; /* [n, d] */
	float *centroid;
	uint8_t *codes; /* blocks */
	DsBlockFactors *factors;
	DsRowFactors *row;
	int8_t *bytes;
	double sum; /* keeps results alive */
} Work;

static void
place(Work *w, size_t i)
{
	ds_quantizer_place(&w->quantizer, w->x + i % w->n * w->d, w->y + i % w->n * w->d);
}

static void
encode(Work *w, size_t i)
{
	ds_quantizer_encode(&w->quantizer, DS_PLACE_OK, w->y + i % w->n * w->d, w->centroid, &w->coded);
}

static void
set(Work *w, size_t i)
{
	ds_query_set(w->query, w->x + i % w->n * w->d);
}

static void
probe(Work *w, size_t i)
{
	ds_query_probe(w->query, w->y + i % w->n * w->d, &w->probe);
}

static void
scan(Work *w, size_t i)
{
	size_t block = i % (w->n / DS_BLOCK_ROWS);
	float estimate[DS_BLOCK_ROWS];
	float bound[DS_BLOCK_ROWS];

	ds_query_scan(w->query, &w->probe, w->codes + block * ds_block_bytes(w->d), w->factors + block,
				  estimate, bound);
	w->sum += bound[0];
}

static void
refine(Work *w, size_t i)
{
	DsRefined refined;
	size_t row = i * 7 % w->n;

	ds_query_refine(w->query, &w->probe, w->row + row,
					ds_query_dot(w->query, 0, w->bytes + row * w->d, w->d), &refined);
	w->sum += refined.bound;
}

/* seconds a call, the median of TURNS */
static double
measure(Work *w, void (*work)(Work *, size_t))
{
	double turn[TURNS];
	size_t calls = 16;
	size_t i = 0;

	for (double seconds = 0.0; seconds < SECONDS / TURNS / 2;)
	{
		double start = now();

		calls *= 2;
		for (size_t end = i + calls; i < end; i++)
			work(w, i);
		seconds = now() - start;
	}
	for (int t = 0; t < TURNS; t++)
	{
		double start = now();

		for (size_t end = i + calls; i < end; i++)
			work(w, i);
		turn[t] = (now() - start) / (double) calls;
	}
	qsort(turn, TURNS, sizeof(double), compare);
	return turn[TURNS / 2];
}

static void
bench_codes(size_t d)
{
	DsArenaMark mark = ds_arena_mark(&arena);
	Work w = {.d = d};
	DsRandom random;
	float *x;

	w.n = (262144 / d * 8 + DS_BLOCK_ROWS) / DS_BLOCK_ROWS * DS_BLOCK_ROWS;
	ds_random_init(&random, 1, d);
	ds_quantizer_init(&w.quantizer, DS_METRIC_L2, (uint32_t) d, 1, NULL, &arena, NULL);
	w.query = ds_query_new(&w.quantizer, &arena, NULL);
	w.coded.signs = take(ds_code_groups(d), 1);
	w.coded.bytes = take(d, 1);
	w.x = x = take(w.n * d, sizeof(float));
	w.y = take(w.n * d, sizeof(float));
	w.centroid = take(d, sizeof(float));
	w.codes = take(w.n / DS_BLOCK_ROWS, ds_block_bytes(d));
	w.factors = take(w.n / DS_BLOCK_ROWS, sizeof(DsBlockFactors));
	w.row = take(w.n, sizeof(DsRowFactors));
	w.bytes = take(w.n, d);
	for (size_t i = 0; i < w.n * d; i++)
		x[i] = (float) ds_random_normal(&random);
	for (size_t i = 0; i < w.n; i++)
	{
		size_t block = i / DS_BLOCK_ROWS;

		place(&w, i);
		encode(&w, i);
		ds_block_put(w.codes + block * ds_block_bytes(d), i % DS_BLOCK_ROWS, w.coded.signs,
					 ds_code_groups(d));
		ds_block_put_factors(w.factors + block, i % DS_BLOCK_ROWS, &w.coded.sign);
		w.row[i] = w.coded.row;
		memcpy(w.bytes + i * d, w.coded.bytes, d);
	}
	set(&w, 0);

	printf("%5zu  %9.2f %9.2f %9.2f %9.2f", d, 1e6 * measure(&w, place), 1e6 * measure(&w, encode),
		   1e6 * measure(&w, set), 1e6 * measure(&w, probe));
	set(&w, 0);
	ds_query_probe(w.query, w.centroid, &w.probe);
	for (int level = DS_CPU_PORTABLE; level <= DS_CPU_AVX512; level++)
	{
		w.query->loops = ds_scan_loops_at((DsCpuLevel) level);
		if (w.query->loops != NULL)
		{
			double seconds = measure(&w, scan);

			printf("  %8.0f %6.1f", 1e-6 * DS_BLOCK_ROWS / seconds,
				   1e-9 * (double) (ds_block_bytes(d) + sizeof(DsBlockFactors)) / seconds);
		}
	}
	w.query->loops = ds_scan_loops();
	printf("  %8.1f\n", 1e9 * measure(&w, refine));
	ds_arena_rewind(&arena, mark);
}

/* rows [n, d] of 1,000 clusters, each spread along 20 directions of its own */
static float *
make_rows(size_t n, size_t d)
{
	const size_t clusters = 1000;
	const size_t directions = 20;
	float *rows = take(n * d, sizeof(float));
	float *center = take(clusters * d, sizeof(float));
	float *direction = take(directions * 50 * d, sizeof(float));
	DsRandom random;

	ds_random_init(&random, 2, d);
	for (size_t i = 0; i < clusters * d; i++)
		center[i] = (float) ds_random_normal(&random);
	for (size_t i = 0; i < directions * 50 * d; i++)
		direction[i] = (float) ds_random_normal(&random);
	for (size_t i = 0; i < n; i++)
	{
		size_t which = ds_random_below(&random, clusters);
		float *row = rows + i * d;

		memcpy(row, center + which * d, d * sizeof(float));
		for (size_t k = 0; k < directions; k++)
		{
			const float *along = direction + (which % 50 * directions + k) * d;
			float z = (float) (0.25 * ds_random_normal(&random));

			for (size_t c = 0; c < d; c++)
				row[c] += z * along[c];
		}
	}
	return rows;
}

static double
mean(const float *x, size_t n)
{
	double sum = 0.0;

	for (size_t i = 0; i < n; i++)
		sum += x[i];
	return sum / (double) n;
}

static void
bench_lists(size_t d, uint32_t k, size_t n)
{
	size_t sample = (size_t) k * 40;
	float *rows = make_rows(n > sample ? n : sample, d);
	float *centroids = take((size_t) k * d, sizeof(float));
	uint32_t *list = take(n, sizeof(uint32_t));
	uint32_t *exact = take(n, sizeof(uint32_t));
	float *distance = take(n, sizeof(float));
	DsKmeansOptions options = {.lists = k, .seed = 3};
	uint32_t lists = 0;
	uint32_t largest = 0;
	size_t same = 0;
	DsRouter router;
	double start = now();
	uint32_t *sizes;

	ds_kmeans(rows, sample, d, &options, &arena, centroids, &lists, NULL);
	printf("\nk-means, %zu x %zu, %u lists: %.1f s\n", sample, d, lists, now() - start);
	start = now();
	ds_router_init(&router, centroids, lists, d, 0, NULL, &arena, NULL);
	printf("router of %u coarse centroids: %.2f s\n", router.coarse, now() - start);

	for (uint32_t effort = 4; effort <= 32; effort *= 2)
	{
		start = now();
		ds_router_assign(&router, rows, n, effort, 0, NULL, &arena, list, distance, NULL);
		printf("assign %zu rows, effort %2u: %.1f s, mean squared residual %.4f\n", n, effort,
			   now() - start, mean(distance, n));
		if (effort == DS_ROUTER_EFFORT)
			memcpy(exact, list, n * sizeof(uint32_t));
	}
	memcpy(list, exact, n * sizeof(uint32_t));
	start = now();
	ds_router_assign(&router, rows, n, 0, 0, NULL, &arena, exact, distance, NULL);
	sizes = take(lists, sizeof(uint32_t));
	for (size_t i = 0; i < n; i++)
	{
		same += list[i] == exact[i];
		sizes[exact[i]]++;
	}
	for (uint32_t i = 0; i < lists; i++)
		largest = sizes[i] > largest ? sizes[i] : largest;
	printf("assign %zu rows, exact: %.1f s, mean squared residual %.4f; effort %d found the same "
		   "list for %.2f %%; largest list %.1f times the mean\n",
		   n, now() - start, mean(distance, n), DS_ROUTER_EFFORT,
		   100.0 * (double) same / (double) n, (double) largest * lists / (double) n);

	/* one level, from the first rows */
	start = now();
	memcpy(centroids, rows, (size_t) k * d * sizeof(float));
	for (int iteration = 0; iteration < 10; iteration++)
	{
		DsArenaMark mark = ds_arena_mark(&arena);
		double *sums = take((size_t) k * d, sizeof(double));
		uint32_t *count = take(k, sizeof(uint32_t));
		uint32_t *nearest = take(sample, sizeof(uint32_t));

		ds_router_init(&router, centroids, k, d, 1, NULL, &arena, NULL);
		ds_router_assign(&router, rows, sample, 0, 0, NULL, &arena, nearest, NULL, NULL);
		for (size_t i = 0; i < sample; i++)
		{
			count[nearest[i]]++;
			for (size_t c = 0; c < d; c++)
				sums[nearest[i] * d + c] += rows[i * d + c];
		}
		for (size_t i = 0; i < k * d; i++)
			if (count[i / d] > 0)
				centroids[i] = (float) (sums[i] / count[i / d]);
		ds_arena_rewind(&arena, mark);
	}
	printf("Lloyd in one level, random rows, 10 rounds: %.1f s", now() - start);
	ds_router_init(&router, centroids, k, d, 1, NULL, &arena, NULL);
	ds_router_assign(&router, rows, n, 0, 0, NULL, &arena, list, distance, NULL);
	printf(", mean squared residual %.4f\n", mean(distance, n));
}

int
main(int argc, char **argv)
{
	static const size_t dimensions[] = {64, 100, 128, 384, 768, 1000, 1536, 3072};
	uint32_t lists = argc > 1 ? (uint32_t) atoi(argv[1]) : 1024;
	size_t rows = argc > 2 ? (size_t) atol(argv[2]) : 100000;

	ds_arena_init(&arena, NULL);
	printf("       us a row or query: place, encode, set query, probe;"
		   " scan, million rows/s and GB/s of codes and factors at each level; ns a refinement\n");
	for (size_t i = 0; i < sizeof(dimensions) / sizeof(dimensions[0]); i++)
		bench_codes(dimensions[i]);
	bench_lists(128, lists, rows);
	ds_arena_free(&arena);
	return 0;
}
