/*
 * nearest.h
 *		The nearest of many centroids, for tiles of rows (private to this room).
 *
 * |y - c|^2 = |y|^2 + (|c|^2 - 2 <y, c>).  The products come from BLAS, a tile
 * of rows by a tile of centroids at a time; the bracket, here called the
 * value, is enough to compare centroids of one row.
 */
#ifndef DS_QUANT_NEAREST_H
#define DS_QUANT_NEAREST_H

#include "base/arena.h"
#include "base/status.h"

#define NEAREST_DEFAULT_MEMORY ((size_t) 64 << 20)

/* How much is done at once: bounded by memory, and by time between polls for cancel. */
typedef struct DsTile
{
	size_t rows;
	size_t columns; /* centroids */
	float *gathered; /* [rows, d] */
	float *products; /* [rows, columns] */
} DsTile;

/* For n rows of d dimensions and k centroids; the buffers stay in the arena. */
extern DsCode ds_tile_init(DsTile *tile, size_t n, size_t d, size_t k, size_t memory,
						   DsArena *arena, DsStatus *status);

/* out[n] = |row|^2, in double, rounded */
extern void ds_squared_norms(const float *rows, size_t n, size_t d, float *out);

/*
 * For each of m <= tile->rows rows [m, d]: the least value over the k
 * centroids and its number first + 0 .. k - 1, where it is below what is in
 * value[m] already.  norms[k] = |c|^2.  DS_CANCELLED.
 */
extern DsCode ds_nearest(const DsTile *tile, const float *rows, size_t m, size_t d,
						 const float *centroids, const float *norms, size_t k, uint32_t first,
						 const DsCancel *cancel, uint32_t *number, float *value);

#endif /* DS_QUANT_NEAREST_H */
