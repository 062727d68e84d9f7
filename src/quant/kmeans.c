/*
 * kmeans.c
 *		Centroids for the lists of an index.
 *
 * The idea.  k-means minimises the sum of squared residuals, which is just
 * what the codes want: the error of both codes is proportional to the length
 * of the residual.  Lloyd's iteration (assign each row to the nearest
 * centroid, move each centroid to the mean of its rows) costs n k d a round;
 * with n = 40 k rows of sample, k = 4,096 and d = 128 that is two seconds,
 * twenty for ten rounds.  Divided by levels it takes one, for nearly the same
 * sum (docs/internals/quant.md).
 *
 * Stages, for more than FLAT_LISTS lists:
 *
 *	1. Coarse: k-means of a part of the rows into at most LEAF_LISTS clusters,
 *	   then all rows to theirs.
 *	2. Shares: each coarse cluster gets lists in proportion to its rows; one
 *	   with more than LEAF_LISTS is divided in its turn, from stage 1 on.
 *	3. Fine: k-means within each coarse cluster.
 *	4. Refinement: REFINE_ITERATIONS rounds of Lloyd over all lists, in which a
 *	   row is compared with the NEIGHBOURS centroids nearest to its own, so that
 *	   rows near a coarse border find their list on the other side of it.
 *	   Neighbours are found by comparing all centroids with each other: k k d,
 *	   the price of k / n = 1 / 40 of a round without them.
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
 * Memory: 16 bytes a row, a tile (nearest.h), and the centroids twice more in
 * stage 4: where they were, and packed.  Rows are read in place; a subset of
 * them is a list of numbers.
 */
#include "quant/kmeans.h"

#include <math.h>
#include <string.h>

#include "quant/clusters.h"
#include "quant/nearest.h"
#include "vector/kernels.h"

/* up to here one level is as good */
#define FLAT_LISTS 256

/* lists that a coarse cluster gets at most; beyond, it is divided again */
#define LEAF_LISTS 48

/* centroids that a row is compared with in refinement, its own among them */
#define NEIGHBOURS 48

/* centroids whose neighbours are looked for at once */
#define NEIGHBOUR_ROWS 256

#define DEFAULT_ITERATIONS 10
#define REFINE_ITERATIONS 4

/* rows a list that the first centroids are chosen from */
#define SEED_SAMPLE 16

/* rows a coarse cluster that the coarse level is made of */
#define COARSE_SAMPLE 256

/* a round that moves fewer than one row in this many is the last */
#define SETTLED 1000

/* every row of the set to the nearest of all k centroids; how many changed */
static DsCode
assign_flat(Kmeans *km, Clusters *clusters, const DsTile *tile, float *packed, float *norms,
			uint32_t *number, float *value, size_t *changed)
{
	size_t d = km->d;
	DsCode code;

	*changed = 0;
	code = ds_squared_norms(clusters->centroids, clusters->k, d, norms, &km->options->cancel);
	if (code == DS_OK)
		code = ds_pack(clusters->centroids, NULL, clusters->k, d, packed, &km->options->cancel);
	if (code != DS_OK)
		return code;
	for (size_t i = 0; i < clusters->n; i += tile->rows)
	{
		size_t m = tile->rows < clusters->n - i ? tile->rows : clusters->n - i;

		for (size_t j = 0; j < m; j++)
		{
			tile->row[j] = ds_clusters_row(km, clusters, i + j);
			number[j] = 0;
			value[j] = INFINITY;
		}
		code = ds_nearest(tile, m, d, packed, norms, clusters->k, 0, &km->options->cancel, number,
						  value);
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
		return ds_kmeans_out_of_memory(km->status);
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
		memcpy(centroid, ds_clusters_row(km, clusters, clusters->order[place]), d * sizeof(float));
		if (km->options->spherical)
			ds_kmeans_normalise(centroid, d);

		total = 0.0;
		for (size_t i = 0; i < sampled; i++)
		{
			float here;

			if (i % 64 == 0 && ds_cancelled(&km->options->cancel))
				return DS_CANCELLED;
			here = ds_kernels()->l2_squared(ds_clusters_row(km, clusters, clusters->order[i]),
											centroid, d);
			if (here < distance[i])
				distance[i] = here;
			total += distance[i];
		}
	}
	return DS_OK;
}

static uint32_t
iterations_of(const DsKmeansOptions *options)
{
	return options->iterations > 0 ? options->iterations : DEFAULT_ITERATIONS;
}

/* Lloyd's iteration, one level; clusters->k <= clusters->n.  counted: its rounds are progress */
static DsCode
lloyd(Kmeans *km, Clusters *clusters, bool counted)
{
	uint32_t iterations = iterations_of(km->options);
	float *norms = ds_arena_alloc(km->arena, clusters->k, sizeof(float));
	float *packed = ds_arena_alloc(km->arena, ds_panel_columns(clusters->k) * km->d, sizeof(float));
	uint32_t *number;
	float *value;
	DsTile tile;
	DsCode code;

	if (norms == NULL || packed == NULL)
		return ds_kmeans_out_of_memory(km->status);
	code = ds_tile_init(&tile, clusters->n, km->d, clusters->k, km->options->memory, km->arena,
						km->status);
	if (code != DS_OK)
		return code;
	number = ds_arena_alloc(km->arena, tile.rows, sizeof(uint32_t));
	value = ds_arena_alloc(km->arena, tile.rows, sizeof(float));
	if (number == NULL || value == NULL)
		return ds_kmeans_out_of_memory(km->status);

	code = choose_rows(km, clusters);
	if (code != DS_OK)
		return code;
	for (uint32_t iteration = 1;; iteration++)
	{
		size_t changed;
		uint32_t given;

		code = assign_flat(km, clusters, &tile, packed, norms, number, value, &changed);
		if (code != DS_OK)
			return code;
		if (counted)
			ds_kmeans_progress(km, clusters->n);
		ds_clusters_sort(clusters);
		code = ds_clusters_move(km, clusters);
		if (code != DS_OK || iteration == iterations)
			break;
		code = ds_clusters_repair(km, clusters, NULL, &given);
		if (code != DS_OK)
			break;
		if (given == 0 && iteration > 1 && changed * SETTLED <= clusters->n)
		{
			if (counted)
				ds_kmeans_progress(km, (uint64_t) (iterations - iteration) * clusters->n);
			break;
		}
	}
	return code == DS_OK ? ds_clusters_drop_empty(km, clusters, NULL) : code;
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
		uint32_t size = ds_cluster_size(coarse, g);
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

/* Stages 1 and 2: clusters of a part of the rows, then all rows in order of their cluster */
static DsCode
coarse_level(Kmeans *km, Clusters *coarse)
{
	size_t sampled = (size_t) coarse->k * COARSE_SAMPLE;
	DsArenaMark mark = ds_arena_mark(km->arena);
	Clusters part;
	DsTile tile;
	float *packed;
	float *norms;
	uint32_t *number;
	float *value;
	size_t changed;
	DsCode code;

	if (coarse->n <= sampled)
		code = lloyd(km, coarse, false);
	else
	{
		uint32_t *subset = ds_arena_alloc(km->arena, sampled, sizeof(uint32_t));

		if (subset == NULL)
			return ds_kmeans_out_of_memory(km->status);
		/* evenly over the rows, whatever their order is */
		for (size_t i = 0; i < sampled; i++)
		{
			uint32_t place = (uint32_t) ((uint64_t) i * coarse->n / sampled);

			subset[i] = coarse->subset != NULL ? coarse->subset[place] : place;
		}
		code = ds_clusters_init(km, &part, sampled, subset, coarse->k, coarse->centroids);
		if (code == DS_OK)
			code = lloyd(km, &part, false);
		coarse->k = part.k;
	}
	if (code != DS_OK)
		return code;

	/* once more, with all rows and where the centroids have come to */
	packed = ds_arena_alloc(km->arena, ds_panel_columns(coarse->k) * km->d, sizeof(float));
	norms = ds_arena_alloc(km->arena, coarse->k, sizeof(float));
	code = ds_tile_init(&tile, coarse->n, km->d, coarse->k, km->options->memory, km->arena,
						km->status);
	if (code != DS_OK)
		return code;
	number = ds_arena_alloc(km->arena, tile.rows, sizeof(uint32_t));
	value = ds_arena_alloc(km->arena, tile.rows, sizeof(float));
	if (packed == NULL || norms == NULL || number == NULL || value == NULL)
		return ds_kmeans_out_of_memory(km->status);
	code = assign_flat(km, coarse, &tile, packed, norms, number, value, &changed);
	if (code == DS_OK)
		ds_clusters_sort(coarse);
	ds_arena_rewind(km->arena, mark);
	return code;
}

/* Stage 4: near[k, neighbours], the centroids nearest to each of home [k, d] */
static DsCode
find_neighbours(Kmeans *km, const Clusters *clusters, const float *home, const float *norms,
				uint32_t neighbours, uint32_t *near)
{
	size_t d = km->d;
	uint32_t k = clusters->k;
	size_t columns = ds_panel_columns(k);
	size_t budget = km->options->memory > 0 ? km->options->memory : NEAREST_DEFAULT_MEMORY;
	size_t rows = budget / sizeof(float) / columns;
	size_t step = d < 1024 ? 256 : DS_PANEL;
	DsArenaMark mark = ds_arena_mark(km->arena);
	float *packed = ds_arena_alloc(km->arena, columns * d, sizeof(float));
	float *products;
	const float *row[NEIGHBOUR_ROWS];
	DsCode code;

	rows = rows < 1 ? 1 : rows > NEIGHBOUR_ROWS ? NEIGHBOUR_ROWS : rows;
	products = ds_arena_alloc(km->arena, rows * columns, sizeof(float));
	if (packed == NULL || products == NULL)
		return ds_kmeans_out_of_memory(km->status);
	code = ds_pack(clusters->centroids, NULL, k, d, packed, &km->options->cancel);
	if (code != DS_OK)
		return code;
	for (size_t i = 0; i < k; i += rows)
	{
		size_t m = rows < k - i ? rows : k - i;

		for (size_t j = 0; j < m; j++)
			row[j] = home + (i + j) * d;
		/* one panel after the other: 256 rows of 16,000 dimensions take 1 ms */
		for (size_t c = 0; c < columns; c += DS_PANEL)
		{
			if (c % step == 0 && ds_cancelled(&km->options->cancel))
				return DS_CANCELLED;
			ds_products()(row, m, d, packed + c * d, 1, products + c, columns);
		}
		for (size_t j = 0; j < m; j++)
		{
			if (j % 16 == 0 && ds_cancelled(&km->options->cancel))
				return DS_CANCELLED;
			ds_keep_nearest(products + j * columns, norms, k, neighbours,
							near + (i + j) * neighbours);
		}
	}
	ds_arena_rewind(km->arena, mark);
	return DS_OK;
}

/* Each row to the nearest of its list's neighbours; order is by list, as it was */
static DsCode
assign_neighbours(Kmeans *km, Clusters *clusters, const float *norms, uint32_t neighbours,
				  const uint32_t *near, size_t *changed)
{
	size_t d = km->d;
	DsArenaMark mark = ds_arena_mark(km->arena);
	float *packed = ds_arena_alloc(km->arena, ds_panel_columns(neighbours) * d, sizeof(float));
	float *near_norms = ds_arena_alloc(km->arena, neighbours, sizeof(float));
	uint32_t *number;
	float *value;
	DsTile tile;
	DsCode code;

	*changed = 0;
	code =
		ds_tile_init(&tile, clusters->n, d, neighbours, km->options->memory, km->arena, km->status);
	if (code != DS_OK)
		return code;
	number = ds_arena_alloc(km->arena, tile.rows, sizeof(uint32_t));
	value = ds_arena_alloc(km->arena, tile.rows, sizeof(float));
	if (packed == NULL || near_norms == NULL || number == NULL || value == NULL)
		return ds_kmeans_out_of_memory(km->status);
	for (uint32_t a = 0; a < clusters->k; a++)
	{
		const uint32_t *here = near + (size_t) a * neighbours;

		if (ds_cluster_size(clusters, a) == 0)
			continue;
		code = ds_pack(clusters->centroids, here, neighbours, d, packed, &km->options->cancel);
		if (code != DS_OK)
			return code;
		for (uint32_t j = 0; j < neighbours; j++)
			near_norms[j] = norms[here[j]];
		for (size_t i = clusters->start[a]; i < clusters->start[a + 1]; i += tile.rows)
		{
			size_t m = clusters->start[a + 1] - i;

			m = tile.rows < m ? tile.rows : m;
			for (size_t j = 0; j < m; j++)
			{
				tile.row[j] = ds_clusters_row(km, clusters, clusters->order[i + j]);
				number[j] = 0;
				value[j] = INFINITY;
			}
			code = ds_nearest(&tile, m, d, packed, near_norms, neighbours, 0, &km->options->cancel,
							  number, value);
			if (code != DS_OK)
				return code;
			for (size_t j = 0; j < m; j++)
			{
				*changed += here[number[j]] != a;
				clusters->list[clusters->order[i + j]] = here[number[j]];
			}
		}
		ds_kmeans_progress(km, ds_cluster_size(clusters, a));
	}
	ds_arena_rewind(km->arena, mark);
	return DS_OK;
}

/* Stage 4 */
static DsCode
refine(Kmeans *km, Clusters *clusters, uint32_t *group)
{
	size_t d = km->d;
	uint32_t k = clusters->k;
	uint32_t neighbours = NEIGHBOURS < k ? NEIGHBOURS : k;
	float *home = ds_arena_alloc(km->arena, (size_t) k * d, sizeof(float));
	float *norms = ds_arena_alloc(km->arena, k, sizeof(float));
	uint32_t *near = ds_arena_alloc(km->arena, (size_t) k * neighbours, sizeof(uint32_t));

	if (home == NULL || norms == NULL || near == NULL)
		return ds_kmeans_out_of_memory(km->status);
	ds_clusters_sort(clusters);
	for (int iteration = 1;; iteration++)
	{
		size_t changed;
		uint32_t given;
		DsCode code;

		/* a place that is given away leaves its rows behind: they look around where they are */
		code = ds_copy(home, clusters->centroids, (size_t) k * d, &km->options->cancel);
		if (code == DS_OK)
			code = ds_clusters_repair(km, clusters, group, &given);
		if (code == DS_OK)
			code = ds_squared_norms(clusters->centroids, k, d, norms, &km->options->cancel);
		if (code == DS_OK)
			code = find_neighbours(km, clusters, home, norms, neighbours, near);
		if (code == DS_OK)
			code = assign_neighbours(km, clusters, norms, neighbours, near, &changed);
		if (code != DS_OK)
			return code;
		ds_clusters_sort(clusters);
		code = ds_clusters_move(km, clusters);
		if (code != DS_OK || iteration == REFINE_ITERATIONS ||
			(given == 0 && changed * SETTLED <= clusters->n))
			return code;
	}
}

/* Lists of one coarse cluster next to each other, as kmeans.h promises */
static DsCode
order_by_group(const Kmeans *km, Clusters *clusters, uint32_t coarse, const uint32_t *group)
{
	size_t d = km->d;
	float *copy = ds_arena_alloc(km->arena, (size_t) clusters->k * d, sizeof(float));
	uint32_t *place = ds_arena_zero(km->arena, (size_t) coarse + 1, sizeof(uint32_t));
	DsCode code;

	if (copy == NULL || place == NULL)
		return ds_kmeans_out_of_memory(km->status);
	code = ds_copy(copy, clusters->centroids, (size_t) clusters->k * d, &km->options->cancel);
	for (uint32_t i = 0; i < clusters->k; i++)
		place[group[i] + 1]++;
	for (uint32_t g = 0; g < coarse; g++)
		place[g + 1] += place[g];
	for (uint32_t i = 0; i < clusters->k && code == DS_OK; i++)
		code = ds_copy(clusters->centroids + (size_t) place[group[i]]++ * d, copy + (size_t) i * d,
					   d, &km->options->cancel);
	return code;
}

/* Stages 1 to 3 for a set of rows: numbers from *made on, centroids, and list of each row */
static DsCode
divide(Kmeans *km, const uint32_t *subset, size_t n, uint32_t k, Clusters *all, uint32_t *group,
	   uint32_t *groups, uint32_t *made)
{
	DsArenaMark mark = ds_arena_mark(km->arena);
	size_t d = km->d;
	Clusters coarse;
	uint32_t coarse_k = (k + LEAF_LISTS / 2 - 1) / (LEAF_LISTS / 2);
	float *centroids;
	uint32_t *share;
	DsCode code;

	if (k <= LEAF_LISTS)
	{
		code = ds_clusters_init(km, &coarse, n, subset, k, all->centroids + *made * d);
		if (code == DS_OK)
			code = lloyd(km, &coarse, true);
		for (size_t i = 0; i < n && code == DS_OK; i++)
			all->list[subset != NULL ? subset[i] : i] = *made + coarse.list[i];
		for (uint32_t i = 0; i < coarse.k && code == DS_OK; i++)
			group[(*made)++] = *groups;
		(*groups)++;
		ds_arena_rewind(km->arena, mark);
		return code;
	}

	coarse_k = coarse_k > LEAF_LISTS ? LEAF_LISTS : coarse_k;
	centroids = ds_arena_alloc(km->arena, coarse_k * d, sizeof(float));
	share = ds_arena_alloc(km->arena, coarse_k, sizeof(uint32_t));
	if (centroids == NULL || share == NULL)
		return ds_kmeans_out_of_memory(km->status);
	code = ds_clusters_init(km, &coarse, n, subset, coarse_k, centroids);
	if (code == DS_OK)
		code = coarse_level(km, &coarse);
	if (code != DS_OK)
		return code;
	share_lists(&coarse, k, share);
	/* order holds places in the set: the rows' own numbers from here on */
	for (size_t i = 0; subset != NULL && i < n; i++)
		coarse.order[i] = subset[coarse.order[i]];
	for (uint32_t g = 0; g < coarse.k && code == DS_OK; g++)
		if (share[g] > 0)
			code = divide(km, coarse.order + coarse.start[g], ds_cluster_size(&coarse, g), share[g],
						  all, group, groups, made);
	ds_arena_rewind(km->arena, mark);
	return code;
}

static DsCode
many_lists(Kmeans *km, Clusters *clusters)
{
	uint32_t *group = ds_arena_alloc(km->arena, clusters->k, sizeof(uint32_t));
	uint32_t groups = 0;
	uint32_t made = 0;
	DsCode code;

	if (group == NULL)
		return ds_kmeans_out_of_memory(km->status);
	code = divide(km, NULL, clusters->n, clusters->k, clusters, group, &groups, &made);
	clusters->k = made;
	if (code == DS_OK)
		code = refine(km, clusters, group);
	if (code == DS_OK)
		code = ds_clusters_drop_empty(km, clusters, group);
	return code == DS_OK ? order_by_group(km, clusters, groups, group) : code;
}

DsCode
ds_kmeans(const float *rows, size_t n, size_t d, const DsKmeansOptions *options, DsArena *arena,
		  float *centroids, uint32_t *lists, DsStatus *status)
{
	Kmeans km = {rows, d, options, arena, status, {{0}}, NULL, 0, 0};
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
	km.total = (uint64_t) n * iterations_of(options);
	if (k > FLAT_LISTS)
		km.total += (uint64_t) n * REFINE_ITERATIONS;
	km.mean = ds_arena_alloc(arena, d, sizeof(double));
	code = km.mean == NULL ? ds_kmeans_out_of_memory(status)
						   : ds_clusters_init(&km, &clusters, n, NULL, k, centroids);
	if (code == DS_OK)
		code = k <= FLAT_LISTS ? lloyd(&km, &clusters, true) : many_lists(&km, &clusters);
	ds_arena_rewind(arena, mark);
	if (code == DS_CANCELLED)
		return ds_fail(status, code, "cancelled while clustering");
	if (code == DS_OK)
		*lists = clusters.k;
	return code;
}
