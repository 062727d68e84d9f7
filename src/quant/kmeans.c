/*
 * kmeans.c
 *		Centroids for the lists of an index.
 *
 * The idea.  k-means minimises the sum of squared residuals, which is just
 * what the codes want: the error of both codes is proportional to the length
 * of the residual.  Lloyd's iteration (assign each row to the nearest
 * centroid, move each centroid to the mean of its rows) costs n k d a round;
 * with n = 40 k rows of sample, k = 4,096 and d = 128 that is two seconds of
 * BLAS, twenty for ten rounds.  Two levels come within 1 % of the same sum in a
 * fraction of the time; without stage 4 it is 13 % more (1,024 lists;
 * docs/internals/quant.md).
 *
 * Stages, for more than FLAT_LISTS lists:
 *
 *	1. Coarse: k-means of all rows into about sqrt(k) clusters.
 *	2. Shares: each coarse cluster gets lists in proportion to its rows.
 *	3. Fine: k-means within each coarse cluster.
 *	4. Refinement: REFINE_ITERATIONS rounds of Lloyd over all lists, with
 *	   candidates from the DS_ROUTER_EFFORT nearest coarse clusters, so that rows
 *	   near a coarse border find their list on the other side of it.
 *
 * Each k-means starts from rows that were chosen to be far apart.  That leaves
 * some clusters small and some much too big, and a scan pays for big lists (the chance to hit one
 * grows with its size, so does the cost).  So between rounds the list of
 * clusters is put in order of size, and repaired: the place of an empty
 * cluster is given to a row of the largest; a cluster of more than `balance'
 * times the mean size does the same with the place of the smallest, if that
 * is less than half of the mean.  The following rounds sort out what belongs where.
 *
 * Example: seven rows at 0, 0, 0, 9, 9.5, 10, 10 and k = 3, starting from 0, 0
 * and 9: no row is nearer to the second 0 than to the first, so it stays
 * empty; the largest cluster, the four above 5, gives its place the row 10, and
 * the next round has 0, 10 and 9.25.
 *
 * Equal rows.  k may exceed the number of different rows.  A cluster whose
 * rows all lie on its centroid cannot give one away; what stays empty to the
 * end is dropped, and fewer centroids come back.
 *
 * Memory: 16 bytes a row, and a tile (nearest.h).  Rows are read in place; a
 * subset of them is a list of numbers.
 */
#include "quant/kmeans.h"

#include <math.h>
#include <string.h>

#include "base/random.h"
#include "quant/nearest.h"
#include "vector/kernels.h"

/* up to here one level is as good */
#define FLAT_LISTS 256

#define DEFAULT_ITERATIONS 10
#define REFINE_ITERATIONS 4
#define REFINE_EFFORT 8 /* of all but the last, which alone decides where a row counts */
#define DEFAULT_BALANCE 3.0

/* rows a list that the first centroids are chosen from */
#define SEED_SAMPLE 16

/* rows a coarse cluster that the coarse level is made of */
#define COARSE_SAMPLE 256

/* a round that moves fewer than one row in this many is the last */
#define SETTLED 1000

/* places that one big cluster may be given in one round */
#define MAX_SPLITS 8

/* rows that are tried for one that is not on the centroid */
#define MAX_TRIES 16

/* what all stages share */
typedef struct Kmeans
{
	const float *rows;
	size_t d;
	const DsKmeansOptions *options;
	DsArena *arena;
	DsStatus *status;
	DsRandom random;
	double *mean; /* [d] */
} Kmeans;

/* a set of rows, and which cluster each is in */
typedef struct Clusters
{
	size_t n;
	const uint32_t *subset; /* [n] numbers of rows; NULL: all */
	uint32_t k;
	float *centroids; /* [k, d] */
	uint32_t *list; /* [n] */
	uint32_t *order; /* [n]: places in the set, by cluster */
	uint32_t *start; /* [k + 2] */
	uint32_t *by_size; /* [k]: clusters, largest first */
} Clusters;

static DsCode
out_of_memory(DsStatus *status)
{
	return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for clustering");
}

static const float *
row_at(const Kmeans *km, const Clusters *clusters, size_t place)
{
	size_t row = clusters->subset != NULL ? clusters->subset[place] : place;

	return km->rows + row * km->d;
}

static DsCode
clusters_init(Kmeans *km, Clusters *clusters, size_t n, const uint32_t *subset, uint32_t k,
			  float *centroids)
{
	clusters->n = n;
	clusters->subset = subset;
	clusters->k = k;
	clusters->centroids = centroids;
	clusters->list = ds_arena_zero(km->arena, n, sizeof(uint32_t));
	clusters->order = ds_arena_alloc(km->arena, n, sizeof(uint32_t));
	clusters->start = ds_arena_alloc(km->arena, (size_t) k + 2, sizeof(uint32_t));
	clusters->by_size = ds_arena_alloc(km->arena, k, sizeof(uint32_t));
	if (clusters->list == NULL || clusters->order == NULL || clusters->start == NULL ||
		clusters->by_size == NULL)
		return out_of_memory(km->status);
	return DS_OK;
}

static uint32_t
cluster_size(const Clusters *clusters, uint32_t i)
{
	return clusters->start[i + 1] - clusters->start[i];
}

/* order and start from list */
static void
sort_rows(Clusters *clusters)
{
	uint32_t *start = clusters->start;

	memset(start, 0, ((size_t) clusters->k + 2) * sizeof(uint32_t));
	for (size_t i = 0; i < clusters->n; i++)
		start[clusters->list[i] + 2]++;
	for (uint32_t i = 0; i < clusters->k; i++)
		start[i + 2] += start[i + 1];
	for (size_t i = 0; i < clusters->n; i++)
		clusters->order[start[clusters->list[i] + 1]++] = (uint32_t) i;
}

/* by_size: a counting sort would need n places; k log k is nothing beside the products */
static void
sift(const Clusters *clusters, uint32_t *heap, size_t at, size_t n)
{
	for (;;)
	{
		size_t child = 2 * at + 1;
		uint32_t swap;

		if (child >= n)
			return;
		if (child + 1 < n &&
			cluster_size(clusters, heap[child + 1]) < cluster_size(clusters, heap[child]))
			child++;
		if (cluster_size(clusters, heap[at]) <= cluster_size(clusters, heap[child]))
			return;
		swap = heap[at];
		heap[at] = heap[child];
		heap[child] = swap;
		at = child;
	}
}

static void
sort_clusters(Clusters *clusters)
{
	uint32_t *heap = clusters->by_size;
	size_t k = clusters->k;

	/* a heap with the least on top, taken off to the end: largest first remains */
	for (size_t i = 0; i < k; i++)
		heap[i] = (uint32_t) i;
	for (size_t i = k / 2; i-- > 0;)
		sift(clusters, heap, i, k);
	for (size_t i = k; i-- > 1;)
	{
		uint32_t swap = heap[0];

		heap[0] = heap[i];
		heap[i] = swap;
		sift(clusters, heap, 0, i);
	}
}

static void
normalise(float *x, size_t d)
{
	double square = 0.0;

	for (size_t i = 0; i < d; i++)
		square += (double) x[i] * x[i];
	if (square > 0.0)
	{
		double scale = 1.0 / sqrt(square);

		for (size_t i = 0; i < d; i++)
			x[i] = (float) (x[i] * scale);
	}
}

/* Each centroid to the mean of its rows; an empty one stays where it is. */
static DsCode
move_centroids(Kmeans *km, Clusters *clusters)
{
	size_t d = km->d;
	double *mean = km->mean;

	for (uint32_t i = 0; i < clusters->k; i++)
	{
		float *centroid = clusters->centroids + (size_t) i * d;
		uint32_t size = cluster_size(clusters, i);

		if (size == 0)
			continue;
		memset(mean, 0, d * sizeof(double));
		for (uint32_t j = clusters->start[i]; j < clusters->start[i + 1]; j++)
		{
			const float *row = row_at(km, clusters, clusters->order[j]);

			/* 100 us to 1 ms between polls */
			if (j % 64 == 0 && ds_cancelled(&km->options->cancel))
				return DS_CANCELLED;
			ds_kernels()->accumulate(mean, row, d);
		}
		for (size_t c = 0; c < d; c++)
			centroid[c] = (float) (mean[c] / size);
		if (km->options->spherical)
			normalise(centroid, d);
	}
	return DS_OK;
}

/* A random row of a cluster that is not on its centroid, or NULL */
static const float *
row_apart(Kmeans *km, const Clusters *clusters, uint32_t cluster)
{
	const float *centroid = clusters->centroids + (size_t) cluster * km->d;
	uint32_t size = cluster_size(clusters, cluster);

	if (size < 2)
		return NULL;
	for (int attempt = 0; attempt < MAX_TRIES; attempt++)
	{
		uint32_t j = clusters->start[cluster] + (uint32_t) ds_random_below(&km->random, size);
		const float *row = row_at(km, clusters, clusters->order[j]);

		/* a mean of equal rows may be off by rounding */
		for (size_t c = 0; c < km->d; c++)
			if (fabsf(row[c] - centroid[c]) > 1e-6f * fabsf(row[c]))
				return row;
	}
	return NULL;
}

/* Give the places of empty and of small clusters to big ones; how many were given. */
static uint32_t
repair(Kmeans *km, Clusters *clusters, uint32_t *group)
{
	double balance = km->options->balance > 0.0 ? km->options->balance : DEFAULT_BALANCE;
	double mean = (double) clusters->n / clusters->k;
	uint32_t taker = clusters->k; /* places are taken from the smallest on */
	uint32_t given = 0;

	sort_clusters(clusters);
	for (uint32_t i = 0; i < taker; i++)
	{
		uint32_t giver = clusters->by_size[i];
		double size = cluster_size(clusters, giver);
		uint32_t wanted = size > balance * mean ? (uint32_t) (size / (balance * mean)) : 0;

		wanted = wanted > MAX_SPLITS ? MAX_SPLITS : wanted;
		for (uint32_t split = 0; taker > i + 1; split++)
		{
			uint32_t place = clusters->by_size[taker - 1];
			uint32_t lost = cluster_size(clusters, place);
			const float *row;

			/* an empty place goes to whoever comes first, one each; a small one to the big */
			if (lost == 0 ? split > wanted : split >= wanted || lost > 0.5 * mean)
				break;
			row = row_apart(km, clusters, giver);
			if (row == NULL)
				break;
			memcpy(clusters->centroids + (size_t) place * km->d, row, km->d * sizeof(float));
			if (km->options->spherical)
				normalise(clusters->centroids + (size_t) place * km->d, km->d);
			if (group != NULL)
				group[place] = group[giver];
			taker--;
			given++;
		}
		/* in order of size: none of the rest is big, and no place is empty */
		if (wanted == 0 && (taker == 0 || cluster_size(clusters, clusters->by_size[taker - 1]) > 0))
			break;
	}
	return given;
}

/* Close the gaps that empty clusters leave; list is no longer valid. */
static void
drop_empty(const Kmeans *km, Clusters *clusters, uint32_t *group)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < clusters->k; i++)
	{
		if (cluster_size(clusters, i) == 0)
			continue;
		if (kept != i)
		{
			memcpy(clusters->centroids + (size_t) kept * km->d,
				   clusters->centroids + (size_t) i * km->d, km->d * sizeof(float));
			if (group != NULL)
				group[kept] = group[i];
		}
		kept++;
	}
	clusters->k = kept;
}

/* every row of the set to the nearest of all k centroids; how many changed */
static DsCode
assign_flat(Kmeans *km, Clusters *clusters, const DsTile *tile, float *norms, uint32_t *number,
			float *value, size_t *changed)
{
	size_t d = km->d;

	*changed = 0;
	ds_squared_norms(clusters->centroids, clusters->k, d, norms);
	for (size_t i = 0; i < clusters->n; i += tile->rows)
	{
		size_t m = tile->rows < clusters->n - i ? tile->rows : clusters->n - i;
		const float *rows = row_at(km, clusters, i);
		DsCode code;

		if (clusters->subset != NULL)
		{
			for (size_t j = 0; j < m; j++)
				memcpy(tile->gathered + j * d, row_at(km, clusters, i + j), d * sizeof(float));
			rows = tile->gathered;
		}
		for (size_t j = 0; j < m; j++)
		{
			number[j] = 0;
			value[j] = INFINITY;
		}
		code = ds_nearest(tile, rows, m, d, clusters->centroids, norms, clusters->k, 0,
						  &km->options->cancel, number, value);
		if (code != DS_OK)
			return code;
		for (size_t j = 0; j < m; j++)
		{
			*changed += clusters->list[i + j] != number[j];
			clusters->list[i + j] = number[j];
		}
	}
	return DS_OK;
}

/*
 * The first centroids: rows of a random sample, each next one with a
 * probability in proportion to its squared distance from those chosen so far
 * (k-means++: Arthur & Vassilvitskii, SODA 2007).  order is scratch.
 */
static DsCode
choose_rows(Kmeans *km, Clusters *clusters)
{
	size_t d = km->d;
	size_t sampled = (size_t) clusters->k * SEED_SAMPLE;
	float *distance;
	double total = 0.0;

	sampled = sampled < clusters->n ? sampled : clusters->n;
	distance = ds_arena_alloc(km->arena, sampled, sizeof(float));
	if (distance == NULL)
		return out_of_memory(km->status);
	for (size_t i = 0; i < clusters->n; i++)
		clusters->order[i] = (uint32_t) i;
	for (size_t i = 0; i < sampled; i++)
	{
		size_t j = i + ds_random_below(&km->random, clusters->n - i);
		uint32_t swap = clusters->order[i];

		clusters->order[i] = clusters->order[j];
		clusters->order[j] = swap;
		distance[i] = INFINITY;
	}

	for (uint32_t chosen = 0; chosen < clusters->k; chosen++)
	{
		float *centroid = clusters->centroids + (size_t) chosen * d;
		size_t place = chosen; /* the first, or when all rows are chosen: any */
		double until = ds_random_double(&km->random) * total;

		if (chosen > 0 && total > 0.0)
			for (place = 0; place + 1 < sampled; place++)
			{
				until -= distance[place];
				if (until < 0.0)
					break;
			}
		memcpy(centroid, row_at(km, clusters, clusters->order[place]), d * sizeof(float));
		if (km->options->spherical)
			normalise(centroid, d);

		total = 0.0;
		for (size_t i = 0; i < sampled; i++)
		{
			float here;

			if (i % 64 == 0 && ds_cancelled(&km->options->cancel))
				return DS_CANCELLED;
			here = ds_kernels()->l2_squared(row_at(km, clusters, clusters->order[i]), centroid, d);
			if (here < distance[i])
				distance[i] = here;
			total += distance[i];
		}
	}
	return DS_OK;
}

/* Lloyd's iteration, one level; clusters->k <= clusters->n */
static DsCode
lloyd(Kmeans *km, Clusters *clusters)
{
	uint32_t iterations =
		km->options->iterations > 0 ? km->options->iterations : DEFAULT_ITERATIONS;
	float *norms = ds_arena_alloc(km->arena, clusters->k, sizeof(float));
	uint32_t *number;
	float *value;
	DsTile tile;
	DsCode code;

	if (norms == NULL)
		return out_of_memory(km->status);
	code = ds_tile_init(&tile, clusters->n, km->d, clusters->k, km->options->memory, km->arena,
						km->status);
	if (code != DS_OK)
		return code;
	number = ds_arena_alloc(km->arena, tile.rows, sizeof(uint32_t));
	value = ds_arena_alloc(km->arena, tile.rows, sizeof(float));
	if (number == NULL || value == NULL)
		return out_of_memory(km->status);

	code = choose_rows(km, clusters);
	if (code != DS_OK)
		return code;
	for (uint32_t iteration = 1;; iteration++)
	{
		size_t changed;
		uint32_t given;

		code = assign_flat(km, clusters, &tile, norms, number, value, &changed);
		if (code != DS_OK)
			return code;
		sort_rows(clusters);
		code = move_centroids(km, clusters);
		if (code != DS_OK || iteration == iterations)
			break;
		given = repair(km, clusters, NULL);
		if (given == 0 && iteration > 1 && changed * SETTLED <= clusters->n)
			break;
	}
	if (code == DS_OK)
		drop_empty(km, clusters, NULL);
	return code;
}

/* Stage 2: share[g] lists for each coarse cluster, together k, none more than its rows */
static void
share_lists(const Clusters *coarse, uint32_t k, uint32_t *share)
{
	uint64_t rows_before = 0;
	uint32_t given = 0;

	/* the running total is rounded, so the sum is k; every share is at least 1 at first */
	for (uint32_t g = 0; g < coarse->k; g++)
	{
		uint32_t size = cluster_size(coarse, g);
		uint64_t until;

		rows_before += size;
		until = coarse->k + (uint64_t) (k - coarse->k) * rows_before / coarse->n;
		until -= coarse->k - g - 1;
		share[g] = (uint32_t) until - given;
		given = (uint32_t) until;
		if (share[g] > size)
			share[g] = size; /* a tiny cluster cannot use more */
	}
}

/* Stage 4 */
static DsCode
refine(Kmeans *km, Clusters *clusters, const float *coarse_centroids, uint32_t coarse,
	   uint32_t *group)
{
	for (int iteration = 1;; iteration++)
	{
		DsArenaMark mark = ds_arena_mark(km->arena);
		DsRouter router;
		DsCode code = ds_router_group(&router, clusters->centroids, clusters->k, km->d,
									  coarse_centroids, coarse, group, km->arena, km->status);

		if (code == DS_OK)
			code =
				ds_router_assign(&router, km->rows, clusters->n,
								 iteration == REFINE_ITERATIONS ? DS_ROUTER_EFFORT : REFINE_EFFORT,
								 km->options->memory, &km->options->cancel, km->arena,
								 clusters->list, NULL, km->status);
		ds_arena_rewind(km->arena, mark);
		if (code != DS_OK)
			return code;
		sort_rows(clusters);
		code = move_centroids(km, clusters);
		if (code != DS_OK || iteration == REFINE_ITERATIONS)
			return code;
		repair(km, clusters, group);
	}
}

/* Lists of one coarse cluster next to each other, as kmeans.h promises */
static DsCode
order_by_group(const Kmeans *km, Clusters *clusters, uint32_t coarse, const uint32_t *group)
{
	size_t d = km->d;
	float *copy = ds_arena_alloc(km->arena, (size_t) clusters->k * d, sizeof(float));
	size_t place = 0;

	if (copy == NULL)
		return out_of_memory(km->status);
	memcpy(copy, clusters->centroids, (size_t) clusters->k * d * sizeof(float));
	for (uint32_t g = 0; g < coarse; g++)
		for (uint32_t i = 0; i < clusters->k; i++)
			if (group[i] == g)
				memcpy(clusters->centroids + place++ * d, copy + (size_t) i * d, d * sizeof(float));
	return DS_OK;
}

static DsCode
two_levels(Kmeans *km, Clusters *clusters)
{
	uint32_t k = clusters->k;
	uint32_t coarse_k = (uint32_t) lround(sqrt((double) k));
	Clusters coarse;
	float *coarse_centroids = ds_arena_alloc(km->arena, (size_t) coarse_k * km->d, sizeof(float));
	uint32_t *group = ds_arena_alloc(km->arena, k, sizeof(uint32_t));
	uint32_t *share;
	uint32_t made = 0;
	DsCode code;

	if (coarse_centroids == NULL || group == NULL)
		return out_of_memory(km->status);
	/* the set's own arrays serve the coarse level first */
	coarse = *clusters;
	coarse.k = coarse_k;
	coarse.centroids = coarse_centroids;
	if (clusters->n > (size_t) coarse_k * COARSE_SAMPLE)
	{
		DsArenaMark mark = ds_arena_mark(km->arena);
		uint32_t *subset;

		/* evenly over the rows, whatever their order is */
		coarse.n = (size_t) coarse_k * COARSE_SAMPLE;
		subset = ds_arena_alloc(km->arena, coarse.n, sizeof(uint32_t));
		if (subset == NULL)
			return out_of_memory(km->status);
		for (size_t i = 0; i < coarse.n; i++)
			subset[i] = (uint32_t) ((uint64_t) i * clusters->n / coarse.n);
		coarse.subset = subset;
		code = lloyd(km, &coarse);
		ds_arena_rewind(km->arena, mark);
		coarse.subset = NULL;
		coarse.n = clusters->n;
	}
	else
		code = lloyd(km, &coarse);
	if (code != DS_OK)
		return code;

	/* drop_empty() moved centroids: the rows' numbers are made anew, which also uses the last move */
	{
		DsArenaMark mark = ds_arena_mark(km->arena);
		DsRouter router;

		code = ds_router_group(&router, coarse_centroids, coarse.k, km->d, NULL, 1, NULL, km->arena,
							   km->status);
		if (code == DS_OK)
			code = ds_router_assign(&router, km->rows, coarse.n, 0, km->options->memory,
									&km->options->cancel, km->arena, coarse.list, NULL, km->status);
		ds_arena_rewind(km->arena, mark);
		if (code != DS_OK)
			return code;
	}
	sort_rows(&coarse);
	share = ds_arena_alloc(km->arena, coarse.k, sizeof(uint32_t));
	if (share == NULL)
		return out_of_memory(km->status);
	share_lists(&coarse, k, share);

	for (uint32_t g = 0; g < coarse.k; g++)
	{
		DsArenaMark mark = ds_arena_mark(km->arena);
		Clusters fine;

		if (share[g] == 0)
			continue;
		code = clusters_init(km, &fine, cluster_size(&coarse, g), coarse.order + coarse.start[g],
							 share[g], clusters->centroids + (size_t) made * km->d);
		if (code == DS_OK)
			code = lloyd(km, &fine);
		ds_arena_rewind(km->arena, mark);
		if (code != DS_OK)
			return code;
		for (uint32_t i = 0; i < fine.k; i++)
			group[made++] = g;
	}
	clusters->k = made;
	code = refine(km, clusters, coarse_centroids, coarse.k, group);
	if (code != DS_OK)
		return code;
	drop_empty(km, clusters, group);
	return order_by_group(km, clusters, coarse.k, group);
}

DsCode
ds_kmeans(const float *rows, size_t n, size_t d, const DsKmeansOptions *options, DsArena *arena,
		  float *centroids, uint32_t *lists, DsStatus *status)
{
	Kmeans km = {rows, d, options, arena, status, {{0}}, NULL};
	uint32_t k = options->lists;
	Clusters clusters;
	DsArenaMark mark;
	DsCode code;

	if (n == 0 || d == 0 || k == 0)
		return ds_fail(status, DS_INVALID, "clustering needs at least one row and one list");
	if (n > UINT32_MAX)
		return ds_fail(status, DS_TOO_LARGE, "too many rows for clustering: %zu", n);
	if (k > n)
		k = (uint32_t) n;

	ds_random_init(&km.random, options->seed, n);
	mark = ds_arena_mark(arena);
	km.mean = ds_arena_alloc(arena, d, sizeof(double));
	code = km.mean == NULL ? out_of_memory(status)
						   : clusters_init(&km, &clusters, n, NULL, k, centroids);
	if (code == DS_OK)
		code = k <= FLAT_LISTS ? lloyd(&km, &clusters) : two_levels(&km, &clusters);
	ds_arena_rewind(arena, mark);
	if (code == DS_CANCELLED)
		return ds_fail(status, code, "cancelled while clustering");
	if (code == DS_OK)
		*lists = clusters.k;
	return code;
}
