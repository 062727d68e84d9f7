/*
 * products.h
 *		Inner products of rows with centroids (private to this room).
 *
 * Assigning rows to lists multiplies some rows, gathered from anywhere, with
 * some tens of centroids, again and again.  A product of such a shape takes
 * BLAS two to three times as long as the multiplications in it, because it
 * copies both sides into an order of its own each time, and its callers copy
 * the rows together before.  Here the centroids are packed once, and rows are
 * read where they stand.
 *
 * Packed: panels of 16 centroids, [panels][d][16], the last filled up with
 * zeros; so one instruction multiplies a coordinate of a row with 16 (or 8)
 * centroids at once.
 *
 * A product is summed up from the first coordinate to the last in float32, and
 * does not depend on what else is multiplied in the same call.  So nothing
 * that is made of products depends on the size of tiles or on who computes
 * which of them.  Products differ between levels with fused multiplication (AVX2
 * and AVX-512, the same to the bit) and the portable one.
 */
#ifndef DS_QUANT_PRODUCTS_H
#define DS_QUANT_PRODUCTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"

#define DS_PANEL 16

/* k, rounded up to whole panels: columns of products, and rows of d floats of packed ones */
static inline size_t
ds_panel_columns(size_t k)
{
	return (k + DS_PANEL - 1) / DS_PANEL * DS_PANEL;
}

/* centroids [k, d] into packed [ds_panel_columns(k) * d] */
extern void ds_panels_pack(const float *centroids, size_t k, size_t d, float *packed);

/* the same where they are not next to each other */
extern void ds_panels_gather(const float *centroids, const uint32_t *which, size_t k, size_t d,
							 float *packed);

/*
 * out[i, j] = <row[i], centroid j> for m rows and all columns of so many
 * panels; columns is how many out [m, columns] has, that many at least.
 */
typedef void (*DsProducts)(const float *const *row, size_t m, size_t d, const float *packed,
						   size_t panels, float *out, size_t columns);

/* Of a level, NULL when this machine lacks it; and of this machine. */
extern DsProducts ds_products_at(DsCpuLevel level);
extern DsProducts ds_products(void);

extern const DsProducts ds_products_avx2;
extern const DsProducts ds_products_avx512;

#endif /* DS_QUANT_PRODUCTS_H */
