/*
 * test_quant_kmeans.c
 *		k-means and routing against plain loops in double precision.
 */
#include "quant/kmeans.h"

#include <stdint.h>

#include "base/random.h"
#include "quant/products.h"
#include "unit.h"

static DsArena arena;

static void *
take(size_t count, size_t size)
{
	void *memory = ds_arena_zero(&arena, count, size);

	if (memory == NULL)
		abort();
	return memory;
}

static double
distance(const float *a, const float *b, size_t d)
{
	double sum = 0.0;

	for (size_t i = 0; i < d; i++)
		sum += ((double) a[i] - b[i]) * ((double) a[i] - b[i]);
	return sum;
}

static uint32_t
nearest(const float *row, const float *centroids, uint32_t k, size_t d, double *least)
{
	uint32_t best = 0;

	*least = INFINITY;
	for (uint32_t i = 0; i < k; i++)
	{
		double here = distance(row, centroids + i * d, d);

		if (here < *least)
		{
			*least = here;
			best = i;
		}
	}
	return best;
}

/* sum over rows of the squared distance to the nearest centroid; sizes may be NULL */
static double
residuals(const float *rows, size_t n, size_t d, const float *centroids, uint32_t k,
		  uint32_t *sizes)
{
	double sum = 0.0;

	for (size_t i = 0; i < n; i++)
	{
		double least;
		uint32_t where = nearest(rows + i * d, centroids, k, d, &least);

		sum += least;
		if (sizes != NULL)
			sizes[where]++;
	}
	return sum;
}

/* Lloyd's iteration from the first k rows, in plain loops */
static double
plain_kmeans(const float *rows, size_t n, size_t d, float *centroids, uint32_t k, int iterations)
{
	double *sums = take(k * d, sizeof(double));
	uint32_t *sizes = take(k, sizeof(uint32_t));

	memcpy(centroids, rows, k * d * sizeof(float));
	for (int iteration = 0; iteration < iterations; iteration++)
	{
		memset(sums, 0, k * d * sizeof(double));
		memset(sizes, 0, k * sizeof(uint32_t));
		for (size_t i = 0; i < n; i++)
		{
			double least;
			uint32_t where = nearest(rows + i * d, centroids, k, d, &least);

			sizes[where]++;
			for (size_t c = 0; c < d; c++)
				sums[where * d + c] += rows[i * d + c];
		}
		for (uint32_t i = 0; i < k; i++)
			for (size_t c = 0; c < d && sizes[i] > 0; c++)
				centroids[i * d + c] = (float) (sums[i * d + c] / sizes[i]);
	}
	return residuals(rows, n, d, centroids, k, NULL);
}

/* rows around `centers' random points */
static float *
clustered(size_t n, size_t d, uint32_t centers, double spread, uint64_t seed)
{
	float *rows = take(n * d, sizeof(float));
	float *center = take(centers * d, sizeof(float));
	DsRandom random;

	ds_random_init(&random, seed, 0);
	for (size_t i = 0; i < centers * d; i++)
		center[i] = (float) ds_random_normal(&random);
	for (size_t i = 0; i < n; i++)
	{
		size_t which = ds_random_below(&random, centers);

		for (size_t c = 0; c < d; c++)
			rows[i * d + c] = (float) (center[which * d + c] + spread * ds_random_normal(&random));
	}
	return rows;
}

static void
test_refused(void)
{
	DsKmeansOptions options = {.lists = 3};
	DsRouter router;
	DsStatus status;
	float row = 1.0f;
	float centroids[3];
	uint32_t lists = 99;
	uint32_t group[3] = {0, 2, 1};

	CHECK(ds_kmeans(&row, 0, 1, &options, &arena, centroids, &lists, &status) == DS_INVALID,
		  "no rows: %s", status.message);
	CHECK(ds_kmeans(&row, 1, 1, &options, &arena, centroids, &lists, &status) == DS_OK &&
			  lists == 1 && centroids[0] == 1.0f,
		  "one row, one list");
	options.lists = 0;
	CHECK(ds_kmeans(&row, 1, 1, &options, &arena, centroids, &lists, &status) == DS_INVALID,
		  "no lists: %s", status.message);
	CHECK(ds_router_init(&router, centroids, 0, 1, 0, NULL, &arena, &status) == DS_INVALID, "%s",
		  status.message);
	CHECK(ds_router_group(&router, centroids, 3, 1, centroids, 2, group, NULL, &arena, &status) ==
			  DS_BAD_DATA,
		  "%s", status.message);
}

static void
test_flat(void)
{
	const size_t n = 3000;
	const size_t d = 7;
	const uint32_t k = 20;
	float *rows = clustered(n, d, 20, 0.05, 1);
	float *centroids = take(k * d, sizeof(float));
	float *again = take(k * d, sizeof(float));
	float *plain = take(k * d, sizeof(float));
	double *means = take(k * d, sizeof(double));
	uint32_t *sizes = take(k, sizeof(uint32_t));
	DsKmeansOptions options = {.lists = k, .iterations = 50, .seed = 5};
	DsArenaMark mark = ds_arena_mark(&arena);
	size_t before = arena.allocated;
	uint32_t lists = 0;
	double ours;
	double theirs;
	double worst = 0.0;
	DsCode code;

	code = ds_kmeans(rows, n, d, &options, &arena, centroids, &lists, NULL);
	CHECK(code == DS_OK && lists == k, "%u lists", lists);
	CHECK(arena.allocated == before, "no scratch memory stays");
	ds_kmeans(rows, n, d, &options, &arena, again, &lists, NULL);
	CHECK(memcmp(centroids, again, k * d * sizeof(float)) == 0, "the same seed, the same bits");

	/* settled: each centroid is the mean of the rows that are nearest to it */
	ours = residuals(rows, n, d, centroids, k, sizes);
	for (size_t i = 0; i < n; i++)
	{
		double least;
		uint32_t where = nearest(rows + i * d, centroids, k, d, &least);

		for (size_t c = 0; c < d; c++)
			means[where * d + c] += (double) rows[i * d + c] / sizes[where];
	}
	for (uint32_t i = 0; i < k * d; i++)
		worst = fmax(worst, fabs(means[i] - centroids[i]));
	CHECK(worst < 0.02, "centroids are means: %.2g off", worst);
	theirs = plain_kmeans(rows, n, d, plain, k, 50);
	/* 20 clusters of spread 0.05: 0.0175 a row when all are found */
	CHECK(ours <= 1.05 * theirs, "squared residual %.4f a row, plain Lloyd %.4f", ours / n,
		  theirs / n);
	ds_arena_rewind(&arena, mark);
}

static void
test_spherical(void)
{
	const size_t n = 500;
	const size_t d = 12;
	float *rows = clustered(n, d, 10, 0.3, 2);
	float *centroids = take(10 * d, sizeof(float));
	float *zero = take(d, sizeof(float));
	DsKmeansOptions options = {.lists = 10, .spherical = true};
	uint32_t lists = 0;
	double worst = 0.0;

	ds_kmeans(rows, n, d, &options, &arena, centroids, &lists, NULL);
	for (uint32_t i = 0; i < lists; i++)
		worst = fmax(worst, fabs(distance(centroids + i * d, zero, d) - 1.0));
	CHECK(lists == 10 && worst < 1e-6, "spherical: centroids have length one");
}

static void
test_duplicates(void)
{
	const size_t n = 1000;
	const size_t d = 5;
	float *rows = take(n * d, sizeof(float));
	float *centroids = take(400 * d, sizeof(float));

	for (size_t i = 0; i < n; i++)
		for (size_t c = 0; c < d; c++)
			rows[i * d + c] = (float) (i % 5) + 0.1f;
	for (uint32_t k = 1; k <= 400; k = k * 7 + 2)
	{
		DsKmeansOptions options = {.lists = k, .seed = k};
		uint32_t lists = 0;
		double sum;

		ds_kmeans(rows, n, d, &options, &arena, centroids, &lists, NULL);
		sum = residuals(rows, n, d, centroids, lists, NULL);
		CHECK(lists == (k < 5 ? k : 5) && (k < 5 || sum < 1e-8),
			  "five different rows, %u lists wanted, %u made, residuals %.2g", k, lists, sum);
	}
}

static void
test_balance(void)
{
	const size_t n = 6000;
	const size_t d = 6;
	const uint32_t k = 60;
	float *rows = clustered(n, d, 200, 0.2, 3);
	float *centroids = take(k * d, sizeof(float));
	DsKmeansOptions options = {.lists = k, .iterations = 15};
	DsRandom random;
	uint32_t lists = 0;
	uint32_t largest[2] = {0, 0};

	/* most rows in one narrow place */
	ds_random_init(&random, 4, 4);
	for (size_t i = 0; i < n; i++)
		if (i % 5 != 0)
			for (size_t c = 0; c < d; c++)
				rows[i * d + c] = (float) (3.0 + 0.01 * ds_random_normal(&random));
	for (int pass = 0; pass < 2; pass++)
	{
		uint32_t *sizes = take(k, sizeof(uint32_t));

		options.balance = pass == 0 ? 1e9 : 2.0;
		ds_kmeans(rows, n, d, &options, &arena, centroids, &lists, NULL);
		residuals(rows, n, d, centroids, lists, sizes);
		for (uint32_t i = 0; i < lists; i++)
			largest[pass] = sizes[i] > largest[pass] ? sizes[i] : largest[pass];
	}
	CHECK(largest[1] < largest[0] && largest[1] <= 4 * n / k,
		  "balance: the largest list has %u rows of %u on average, without it %u", largest[1],
		  (unsigned) (n / k), largest[0]);
}

static void
test_two_levels(void)
{
	const size_t n = 12000;
	const size_t d = 10;
	const uint32_t k = 300;
	float *rows = clustered(n, d, 100, 0.4, 6);
	float *centroids = take(k * d, sizeof(float));
	float *plain = take(k * d, sizeof(float));
	DsKmeansOptions options = {.lists = k, .seed = 7};
	uint32_t lists = 0;
	double ours;
	double theirs;
	double step = 0.0;
	double any = 0.0;
	DsCode code;

	code = ds_kmeans(rows, n, d, &options, &arena, centroids, &lists, NULL);
	CHECK(code == DS_OK && lists == k, "two levels: %u lists", lists);
	ours = residuals(rows, n, d, centroids, lists, NULL);
	theirs = plain_kmeans(rows, n, d, plain, k, 10);
	CHECK(ours < 1.03 * theirs, "... %.1f %% of the squared residual of plain Lloyd",
		  100 * ours / theirs);
	for (uint32_t i = 0; i + 1 < lists; i++)
	{
		step += sqrt(distance(centroids + i * d, centroids + (i + 1) * d, d));
		any += sqrt(distance(centroids + i * d, centroids + (i * 7919 + 13) % lists * d, d));
	}
	CHECK(step < 0.8 * any, "... neighbours in number are near: %.2f of any two", step / any);
}

static void
test_routing(void)
{
	const size_t n = 5000;
	const size_t d = 9;
	const uint32_t k = 900;
	float *rows = clustered(n, d, 300, 0.3, 8);
	DsRouter router;
	uint32_t *list = take(n, sizeof(uint32_t));
	float *found = take(n, sizeof(float));
	uint32_t *number = take(k, sizeof(uint32_t));
	int members = 0;
	DsCode code;

	/* centroids: just rows */
	code = ds_router_init(&router, rows, k, d, 0, NULL, &arena, NULL);
	CHECK(code == DS_OK && router.coarse > 100 && router.coarse <= 150,
		  "%u coarse centroids over %u lists", router.coarse, k);
	for (uint32_t g = 0; g < router.coarse; g++)
		for (uint32_t i = router.start[g]; i < router.start[g + 1]; i++)
			number[router.member[i]]++;
	for (uint32_t i = 0; i < k; i++)
		members += number[i] == 1;
	CHECK(members == (int) k, "... each list in one of them");

	for (int pass = 0; pass < 4; pass++)
	{
		uint32_t effort = pass == 0 ? 0 : pass == 1 ? DS_ROUTER_EFFORT : pass == 2 ? 1 : 1000;
		int exact = 0;
		int wrong = 0;

		ds_router_assign(&router, rows, n, effort, pass == 3 ? 1 : 0, NULL, &arena, list, found,
						 NULL);
		for (size_t i = 0; i < n; i++)
		{
			double least;
			double here;

			nearest(rows + i * d, router.centroids, k, d, &least);
			here = distance(rows + i * d, router.centroids + list[i] * d, d);
			/* float32 rounding of |y|^2 and of the product, some 10 each */
			exact += here <= least + 1e-5;
			wrong += fabs(here - found[i]) > 2e-5;
		}
		CHECK(wrong == 0, "effort %u: distances are right", effort);
		CHECK(effort == 0 || effort == 1000 ? exact == (int) n
											: exact > (effort == 1 ? 0.7 : 0.99) * n,
			  "... the nearest list for %.2f %% of the rows", 100.0 * exact / n);
	}
	ds_router_assign(&router, rows + 1234 * d, 1, 0, 0, NULL, &arena, list, NULL, NULL);
	ds_router_assign(&router, rows, n - 1, 0, 0, NULL, &arena, list + 1, NULL, NULL);
	CHECK(list[0] == list[1 + 1234], "one row alone goes where it goes in company");
}

static void
test_products(void)
{
	static const size_t dimensions[] = {1, 15, 128, 385, 1000};
	const size_t n = 29;
	const size_t k = 53;
	const size_t columns = ds_panel_columns(k);

	for (size_t t = 0; t < sizeof(dimensions) / sizeof(*dimensions); t++)
	{
		size_t d = dimensions[t];
		float *rows = clustered(n, d, 5, 1.0, 3);
		float *centroids = clustered(k, d, 5, 1.0, 4);
		float *packed = take(columns * d, sizeof(float));
		float *fused = NULL;
		uint32_t which[53];

		for (uint32_t i = 0; i < k; i++)
			which[i] = (uint32_t) k - 1 - i;
		for (int level = DS_CPU_PORTABLE; level <= DS_CPU_AVX512; level++)
		{
			DsProducts products = ds_products_at((DsCpuLevel) level);
			float *out = take(n * columns, sizeof(float));
			float *alone = take(columns, sizeof(float));
			const float *row[29];
			double most = 0.0;
			int other = 0;

			if (products == NULL)
				continue;
			ds_panels_pack(centroids, k, d, packed);
			for (size_t i = 0; i < n; i++)
				row[i] = rows + (i * 7) % n * d;
			products(row, n, d, packed, columns / DS_PANEL, out, columns);
			for (size_t i = 0; i < n; i++)
				for (size_t j = 0; j < k; j++)
				{
					double sum = 0.0;
					double size = 0.0;

					for (size_t c = 0; c < d; c++)
					{
						sum += (double) row[i][c] * centroids[j * d + c];
						size += fabs((double) row[i][c] * centroids[j * d + c]);
					}
					most = fmax(most, fabs(sum - out[i * columns + j]) / size);
				}
			CHECK(most < (double) d * 0x1p-23, "products of %zu dimensions, level %d: error %.1e",
				  d, level, most);

			/* the same to the bit for a row alone, a panel alone, other places, other levels */
			ds_panels_gather(centroids, which, k, d, packed);
			for (size_t i = 0; i < n; i++)
			{
				for (size_t p = 0; p < columns; p += DS_PANEL)
					products(row + i, 1, d, packed + p * d, 1, alone + p, columns);
				for (size_t j = 0; j < k; j++)
					other += alone[which[j]] != out[i * columns + j];
			}
			if (level > DS_CPU_PORTABLE && fused == NULL)
				fused = out;
			else if (level > DS_CPU_PORTABLE)
				for (size_t i = 0; i < n * columns; i++)
					other += fused[i] != out[i];
			CHECK(other == 0, "... whatever else is multiplied");
		}
	}
}

typedef struct Patience
{
	long polls;
	long limit;
} Patience;

static bool
impatient(void *context)
{
	Patience *patience = context;

	return ++patience->polls > patience->limit;
}

/* memory that runs out */
typedef struct Purse
{
	long left;
} Purse;

static void *
purse_allocate(void *context, size_t size)
{
	return ((Purse *) context)->left-- > 0 ? malloc(size) : NULL;
}

static void
purse_release(void *context, void *pointer)
{
	(void) context;
	free(pointer);
}

static void
test_interruptions(void)
{
	const size_t n = 4000;
	const size_t d = 8;
	const uint32_t k = 600;
	float *rows = clustered(n, d, 50, 0.4, 9);
	float *centroids = take(k * d, sizeof(float));
	uint32_t *list = take(n, sizeof(uint32_t));
	Patience patience = {0, 1000000};
	DsKmeansOptions options = {.lists = k, .cancel = {impatient, &patience}};
	DsRouter router;
	DsStatus status;
	uint32_t lists;
	long polls;
	int stopped = 0;
	int late = 0;
	int tried = 0;
	int out = 0;
	size_t before = arena.allocated;

	ds_kmeans(rows, n, d, &options, &arena, centroids, &lists, NULL);
	polls = patience.polls;
	CHECK(polls > 100, "a run asks %ld times whether to stop", polls);
	for (long limit = 0; limit < polls; limit += polls / 9, tried++)
	{
		patience = (Patience){0, limit};
		stopped +=
			ds_kmeans(rows, n, d, &options, &arena, centroids, &lists, &status) == DS_CANCELLED;
		late += patience.polls > limit + 1;
	}
	CHECK(stopped == tried && late == 0 && arena.allocated == before,
		  "... and stops at once when it should: %s", status.message);
	stopped = tried = 0;
	patience = (Patience){0, 1000000};
	ds_router_init(&router, rows, k, d, 0, &options.cancel, &arena, NULL);
	polls = patience.polls;
	for (long limit = 0; limit < polls; limit += polls / 50, tried++)
	{
		patience = (Patience){0, limit};
		stopped += ds_router_init(&router, rows, k, d, 0, &options.cancel, &arena, &status) ==
				   DS_CANCELLED;
	}
	CHECK(stopped == tried, "so does the making of a router: %s", status.message);
	patience = (Patience){0, 0};
	CHECK(ds_router_group(&router, rows, k, d, NULL, 1, NULL, &options.cancel, &arena, &status) ==
			  DS_CANCELLED,
		  "... and of one whose groups are known: %s", status.message);
	ds_router_init(&router, rows, k, d, 0, NULL, &arena, NULL);
	patience = (Patience){0, 3};
	CHECK(ds_router_assign(&router, rows, n, 8, 0, &options.cancel, &arena, list, NULL, &status) ==
			  DS_CANCELLED,
		  "so does an assignment: %s", status.message);

	patience = (Patience){0, 1000000000};
	for (long left = 0; left < 60; left += 3)
	{
		Purse purse = {left};
		DsAllocator allocator = {purse_allocate, purse_release, &purse};
		DsArena poor;
		DsCode code;

		ds_arena_init(&poor, &allocator);
		code = ds_kmeans(rows, n, d, &options, &poor, centroids, &lists, &status);
		if (code == DS_OUT_OF_MEMORY)
			out++;
		else if (code != DS_OK)
			out = -1000;
		ds_arena_free(&poor);
	}
	CHECK(out > 0, "no memory: %s", status.message);
}

int
main(void)
{
	ds_arena_init(&arena, NULL);
	test_refused();
	test_flat();
	test_spherical();
	test_duplicates();
	test_balance();
	test_two_levels();
	test_routing();
	test_products();
	test_interruptions();
	ds_arena_free(&arena);
	return unit_done();
}
