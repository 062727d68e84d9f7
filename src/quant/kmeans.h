/*
 * kmeans.h
 *		Centroids for the lists of an index, and the way from a row to its list.
 *
 * Rows are placed vectors (code.h), row-major float32.  Distances are squared
 * Euclidean throughout: for cosine, rows have length one, so the order is the
 * same; for inner product, lists are made of rows near each other, and the
 * query's side ranks them by <q, c>.
 */
#ifndef DS_QUANT_KMEANS_H
#define DS_QUANT_KMEANS_H

#include "base/arena.h"
#include "base/status.h"

typedef struct DsKmeansOptions
{
	uint32_t lists; /* k wanted, > 0; fewer come back when there are fewer distinct rows */
	uint32_t iterations; /* Lloyd iterations at most, of each k-means run; 0 means 10 */
	uint64_t seed;
	bool spherical; /* scale centroids to length one */
	double balance; /* split clusters with more than this times the mean size; 0 means 3 */
	size_t memory; /* bytes of scratch beside rows and centroids; 0 means 64 MB */
	DsCancel cancel;

	/* told now and then how many rows were given to a cluster, of how many over all rounds */
	void (*progress)(void *context, uint64_t done, uint64_t total);
	void *progress_context;
} DsKmeansOptions;

/*
 * k-means of rows [n, d] into centroids [options->lists, d] (the caller's);
 * *lists is how many were made: min(lists, distinct rows found), at least 1.
 * The result depends on the rows, the options and the machine's BLAS only.
 * Centroids come in groups of neighbours (the order in which the two-level
 * method made them), so neighbours in number are near in space.
 *
 * Above 256 lists it is done level by level: some coarse clusters, k-means
 * within each, then Lloyd iterations over all of them in which rows look at
 * the neighbours of their centroid.
 *
 * DS_INVALID (n = 0, lists = 0), DS_CANCELLED, DS_OUT_OF_MEMORY.
 */
extern DsCode ds_kmeans(const float *rows, size_t n, size_t d, const DsKmeansOptions *options,
						DsArena *arena, float *centroids, uint32_t *lists, DsStatus *status);

/*
 * Two-level routing.  The coarse level is a k-means over the centroids: one
 * coarse centroid for a few lists.  A row ranks the coarse ones first and looks
 * at the lists of the best few only.
 */
typedef struct DsRouter
{
	size_t dimension;
	uint32_t lists; /* k */
	uint32_t coarse; /* number of coarse centroids; 0 means a flat search over all lists */
	const float *centroids; /* [k, d], the caller's, must live as long */
	const float *norms; /* [k]: |c|^2 */
	const float *coarse_centroids; /* [coarse, d] */
	const float *coarse_norms; /* [coarse] */
	const uint32_t *start; /* [coarse + 1]: members of coarse cluster g are member[start[g] ..] */
	const uint32_t *member; /* [k] */
	const float *coarse_packed; /* the coarse ones in panels: products.h */
	const float *packed; /* all centroids in panels, in the order of member; flat: in their own */
	const float *packed_norms; /* [k], in the order of member */
} DsRouter;

/* coarse = 0 chooses: flat below 512 lists, else a sixth of them */
extern DsCode ds_router_init(DsRouter *router, const float *centroids, uint32_t lists, size_t d,
							 uint32_t coarse, const DsCancel *cancel, DsArena *arena,
							 DsStatus *status);

/*
 * The same from a coarse level that is known already: group[k] says to which
 * of the coarse centroids each list belongs.  DS_BAD_DATA when it lies, DS_CANCELLED.
 */
extern DsCode ds_router_group(DsRouter *router, const float *centroids, uint32_t lists, size_t d,
							  const float *coarse_centroids, uint32_t coarse, const uint32_t *group,
							  const DsCancel *cancel, DsArena *arena, DsStatus *status);

/*
 * The nearest list of each of rows [n, d]: list[n], and the squared distance
 * to it in distance[n] (may be NULL; float32 rounding of |y|^2 + |c|^2 - 2<y, c>).
 * effort is how many coarse clusters are searched for each row; 0 means all
 * (the exact answer); DS_ROUTER_EFFORT finds it for more than 99 in 100 rows, and
 * for the others one that is hardly farther.
 * Scratch memory comes from the arena and is released; at most memory bytes of
 * it (0 means 64 MB), tile by tile, so n may be anything.
 */
#define DS_ROUTER_EFFORT 8

extern DsCode ds_router_assign(const DsRouter *router, const float *rows, size_t n, uint32_t effort,
							   size_t memory, const DsCancel *cancel, DsArena *arena,
							   uint32_t *list, float *distance, DsStatus *status);

#endif /* DS_QUANT_KMEANS_H */
