/*
 * nearest.h
 *		The nearest of many centroids, for tiles of rows (private to this room).
 *
 * |y - c|^2 = |y|^2 + (|c|^2 - 2 <y, c>).  The products are made a tile of rows
 * by some panels of centroids (products.h) at a time; the bracket, here called
 * the value, is enough to compare centroids of one row.
 */
#ifndef DS_QUANT_NEAREST_H
#define DS_QUANT_NEAREST_H

#include "base/arena.h"
#include "base/status.h"
#include "quant/products.h"

#define NEAREST_DEFAULT_MEMORY ((size_t) 64 << 20)

/* How much is done at once: bounded by memory, and by time between polls for cancel. */
typedef struct DsTile
{
	size_t rows;
	size_t columns; /* centroids, whole panels */
	const float **row; /* [rows]: for the caller to fill */
	float *products; /* [rows, columns] */
} DsTile;

/* For n rows of d dimensions and k centroids; the buffers stay in the arena. */
extern DsCode ds_tile_init(DsTile *tile, size_t n, size_t d, size_t k, size_t memory,
						   DsArena *arena, DsStatus *status);

/*
 * Products of the m <= tile->rows rows of tile->row with all panels, into
 * out[m, columns], by parts between which somebody may cancel.
 */
extern DsCode ds_tile_products(const DsTile *tile, size_t m, size_t d, const float *packed,
							   size_t columns, float *out, const DsCancel *cancel);

/*
 * What passes over all centroids asks now and then whether to stop: 4,000 of
 * 16,000 dimensions are 256 MB.
 */

/* out[n] = |row|^2, in double, rounded */
extern DsCode ds_squared_norms(const float *rows, size_t n, size_t d, float *out,
							   const DsCancel *cancel);

/* products.h; which may be NULL: all in their order */
extern DsCode ds_pack(const float *centroids, const uint32_t *which, size_t k, size_t d,
					  float *packed, const DsCancel *cancel);

extern DsCode ds_copy(float *to, const float *from, size_t floats, const DsCancel *cancel);

/*
 * For each of the m <= tile->rows rows of tile->row: the least value over k
 * packed centroids and its number first + 0 .. k - 1, where it is below what
 * is in value[m] already.  norms[k] = |c|^2.  DS_CANCELLED.
 */
extern DsCode ds_nearest(const DsTile *tile, size_t m, size_t d, const float *packed,
						 const float *norms, size_t k, uint32_t first, const DsCancel *cancel,
						 uint32_t *number, float *value);

/* The same for m rows that stand one after the other. */
extern DsCode ds_nearest_rows(const DsTile *tile, const float *rows, size_t m, size_t d,
							  const float *packed, const float *norms, size_t k, uint32_t first,
							  const DsCancel *cancel, uint32_t *number, float *value);

/*
 * Numbers of the `wanted' least norms[i] - 2 products[i] of k, the least first;
 * at most DS_MOST_NEAREST, and k.
 */
#define DS_MOST_NEAREST 64

extern void ds_keep_nearest(const float *products, const float *norms, uint32_t k, uint32_t wanted,
							uint32_t *number);

#endif /* DS_QUANT_NEAREST_H */
