/*
 * clusters.h
 *		A set of rows in clusters: what k-means does with them between rounds
 *		(private to this room).
 */
#ifndef DS_QUANT_CLUSTERS_H
#define DS_QUANT_CLUSTERS_H

#include "base/random.h"
#include "quant/kmeans.h"

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
	uint64_t done; /* rows, over all rounds that count as progress */
	uint64_t total;
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

/* a row of the set by its place in it */
static inline const float *
ds_clusters_row(const Kmeans *km, const Clusters *clusters, size_t place)
{
	size_t row = clusters->subset != NULL ? clusters->subset[place] : place;

	return km->rows + row * km->d;
}

static inline uint32_t
ds_cluster_size(const Clusters *clusters, uint32_t i)
{
	return clusters->start[i + 1] - clusters->start[i];
}

extern DsCode ds_kmeans_out_of_memory(DsStatus *status);

/* x[d] to length one, if it has any */
extern void ds_kmeans_normalise(float *x, size_t d);

/* So many further rows are done. */
extern void ds_kmeans_progress(Kmeans *km, uint64_t rows);

/* All rows in cluster 0; centroids [k, d] are the caller's, the rest is in the arena. */
extern DsCode ds_clusters_init(Kmeans *km, Clusters *clusters, size_t n, const uint32_t *subset,
							   uint32_t k, float *centroids);

/* order and start from list */
extern void ds_clusters_sort(Clusters *clusters);

/* Each centroid to the mean of its rows; an empty one stays where it is.  DS_CANCELLED. */
extern DsCode ds_clusters_move(Kmeans *km, Clusters *clusters);

/*
 * Give the places of empty and of small clusters to big ones: a place's
 * centroid becomes a row of the big one, its group (if there are any) that
 * one's too.  *given is how many were given.  DS_CANCELLED.
 */
extern DsCode ds_clusters_repair(Kmeans *km, Clusters *clusters, uint32_t *group, uint32_t *given);

/* Close the gaps that empty clusters leave, in list and group too.  DS_CANCELLED. */
extern DsCode ds_clusters_drop_empty(const Kmeans *km, Clusters *clusters, uint32_t *group);

#endif /* DS_QUANT_CLUSTERS_H */
