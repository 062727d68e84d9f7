/*
 * clusters.c
 *		A set of rows in clusters: order, means, and the repair of clusters that
 *		are empty, small or too big (kmeans.c says why).
 */
#include "quant/clusters.h"

#include <math.h>
#include <string.h>

#include "vector/kernels.h"

#define DEFAULT_BALANCE 3.0

/* places that one big cluster may be given in one round */
#define MAX_SPLITS 8

/* rows that are tried for one that is not on the centroid */
#define MAX_TRIES 16

DsCode
ds_kmeans_out_of_memory(DsStatus *status)
{
	return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for clustering");
}

void
ds_kmeans_progress(Kmeans *km, uint64_t rows)
{
	km->done = rows < km->total - km->done ? km->done + rows : km->total;
	if (km->options->progress != NULL)
		km->options->progress(km->options->progress_context, km->done, km->total);
}

DsCode
ds_clusters_init(Kmeans *km, Clusters *clusters, size_t n, const uint32_t *subset, uint32_t k,
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
		return ds_kmeans_out_of_memory(km->status);
	return DS_OK;
}

void
ds_clusters_sort(Clusters *clusters)
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
			ds_cluster_size(clusters, heap[child + 1]) < ds_cluster_size(clusters, heap[child]))
			child++;
		if (ds_cluster_size(clusters, heap[at]) <= ds_cluster_size(clusters, heap[child]))
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

void
ds_kmeans_normalise(float *x, size_t d)
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

DsCode
ds_clusters_move(Kmeans *km, Clusters *clusters)
{
	size_t d = km->d;
	double *mean = km->mean;

	for (uint32_t i = 0; i < clusters->k; i++)
	{
		float *centroid = clusters->centroids + (size_t) i * d;
		uint32_t size = ds_cluster_size(clusters, i);

		if (size == 0)
			continue;
		memset(mean, 0, d * sizeof(double));
		for (uint32_t j = clusters->start[i]; j < clusters->start[i + 1]; j++)
		{
			const float *row = ds_clusters_row(km, clusters, clusters->order[j]);

			/* 100 us to 1 ms between polls */
			if (j % 64 == 0 && ds_cancelled(&km->options->cancel))
				return DS_CANCELLED;
			ds_kernels()->accumulate(mean, row, d);
		}
		for (size_t c = 0; c < d; c++)
			centroid[c] = (float) (mean[c] / size);
		if (km->options->spherical)
			ds_kmeans_normalise(centroid, d);
	}
	return DS_OK;
}

/* A random row of a cluster that is not on its centroid, or NULL */
static const float *
row_apart(Kmeans *km, const Clusters *clusters, uint32_t cluster)
{
	const float *centroid = clusters->centroids + (size_t) cluster * km->d;
	uint32_t size = ds_cluster_size(clusters, cluster);

	if (size < 2)
		return NULL;
	for (int attempt = 0; attempt < MAX_TRIES; attempt++)
	{
		uint32_t j = clusters->start[cluster] + (uint32_t) ds_random_below(&km->random, size);
		const float *row = ds_clusters_row(km, clusters, clusters->order[j]);

		/* a mean of equal rows may be off by rounding */
		for (size_t c = 0; c < km->d; c++)
			if (fabsf(row[c] - centroid[c]) > 1e-6f * fabsf(row[c]))
				return row;
	}
	return NULL;
}

DsCode
ds_clusters_repair(Kmeans *km, Clusters *clusters, uint32_t *group, uint32_t *given)
{
	double balance = km->options->balance > 0.0 ? km->options->balance : DEFAULT_BALANCE;
	double mean = (double) clusters->n / clusters->k;
	uint32_t taker = clusters->k; /* places are taken from the smallest on */

	*given = 0;
	sort_clusters(clusters);
	for (uint32_t i = 0; i < taker; i++)
	{
		uint32_t giver = clusters->by_size[i];
		double size = ds_cluster_size(clusters, giver);
		uint32_t wanted = size > balance * mean ? (uint32_t) (size / (balance * mean)) : 0;

		/* where rows are equal, all clusters are asked for one that is not */
		if (ds_cancelled(&km->options->cancel))
			return DS_CANCELLED;
		wanted = wanted > MAX_SPLITS ? MAX_SPLITS : wanted;
		for (uint32_t split = 0; taker > i + 1; split++)
		{
			uint32_t place = clusters->by_size[taker - 1];
			uint32_t lost = ds_cluster_size(clusters, place);
			const float *row;

			/* an empty place goes to whoever comes first, one each; a small one to the big */
			if (lost == 0 ? split > wanted : split >= wanted || lost > 0.5 * mean)
				break;
			row = row_apart(km, clusters, giver);
			if (row == NULL)
				break;
			memcpy(clusters->centroids + (size_t) place * km->d, row, km->d * sizeof(float));
			if (km->options->spherical)
				ds_kmeans_normalise(clusters->centroids + (size_t) place * km->d, km->d);
			if (group != NULL)
				group[place] = group[giver];
			taker--;
			(*given)++;
		}
		/* in order of size: none of the rest is big, and no place is empty */
		if (wanted == 0 &&
			(taker == 0 || ds_cluster_size(clusters, clusters->by_size[taker - 1]) > 0))
			break;
	}
	return DS_OK;
}

DsCode
ds_clusters_drop_empty(const Kmeans *km, Clusters *clusters, uint32_t *group)
{
	uint32_t *number = clusters->by_size; /* no longer needed */
	uint32_t kept = 0;

	for (uint32_t i = 0; i < clusters->k; i++)
	{
		if (ds_cluster_size(clusters, i) == 0)
			continue;
		if (kept != i)
		{
			if (i % 16 == 0 && ds_cancelled(&km->options->cancel))
				return DS_CANCELLED;
			memcpy(clusters->centroids + (size_t) kept * km->d,
				   clusters->centroids + (size_t) i * km->d, km->d * sizeof(float));
			if (group != NULL)
				group[kept] = group[i];
		}
		number[i] = kept++;
	}
	for (size_t i = 0; i < clusters->n; i++)
		clusters->list[i] = number[clusters->list[i]];
	clusters->k = kept;
	return DS_OK;
}
