/*
 * products.c
 *		Packing of centroids, products in plain C, and the choice of a level.
 */
#include "quant/products.h"

#include <string.h>

/* rows handled together, so that a coordinate of a panel is loaded once for them */
#define ROWS 4

static void
pack_one(const float *centroid, size_t d, float *column)
{
	for (size_t c = 0; c < d; c++)
		column[c * DS_PANEL] = centroid[c];
}

/* what stands behind the last centroid must not be NaN, for it is multiplied too */
static float *
last_panel(size_t k, size_t d, float *packed)
{
	if (k % DS_PANEL != 0)
		memset(packed + k / DS_PANEL * DS_PANEL * d, 0, DS_PANEL * d * sizeof(float));
	return packed;
}

void
ds_panels_pack(const float *centroids, size_t k, size_t d, float *packed)
{
	last_panel(k, d, packed);
	for (size_t i = 0; i < k; i++)
		pack_one(centroids + i * d, d, packed + i / DS_PANEL * DS_PANEL * d + i % DS_PANEL);
}

void
ds_panels_gather(const float *centroids, const uint32_t *which, size_t k, size_t d, float *packed)
{
	last_panel(k, d, packed);
	for (size_t i = 0; i < k; i++)
		pack_one(centroids + which[i] * d, d, packed + i / DS_PANEL * DS_PANEL * d + i % DS_PANEL);
}

/* count is ROWS, or less in the last call */
static inline void
multiply(const float *const *row, size_t count, size_t d, const float *panel, float *out,
		 size_t columns)
{
	float sum[ROWS][DS_PANEL] = {{0}};

	for (size_t c = 0; c < d; c++)
		for (size_t i = 0; i < count; i++)
			for (size_t j = 0; j < DS_PANEL; j++)
				sum[i][j] += row[i][c] * panel[c * DS_PANEL + j];
	for (size_t i = 0; i < count; i++)
		memcpy(out + i * columns, sum[i], sizeof(sum[i]));
}

static void
products(const float *const *row, size_t m, size_t d, const float *packed, size_t panels,
		 float *out, size_t columns)
{
	for (size_t i = 0; i < m; i += ROWS)
		for (size_t p = 0; p < panels; p++)
		{
			const float *panel = packed + p * DS_PANEL * d;
			float *to = out + i * columns + p * DS_PANEL;

			if (m - i >= ROWS)
				multiply(row + i, ROWS, d, panel, to, columns);
			else
				multiply(row + i, m - i, d, panel, to, columns);
		}
}

DsProducts
ds_products_at(DsCpuLevel level)
{
	if (level > ds_cpu_level())
		return NULL;
	switch (level)
	{
		case DS_CPU_PORTABLE:
			return products;
		case DS_CPU_AVX2:
			return ds_products_avx2;
		case DS_CPU_AVX512:
		case DS_CPU_AVX512_VNNI:
			return ds_products_avx512;
	}
	return NULL;
}

DsProducts
ds_products(void)
{
	static DsProducts chosen = NULL;

	if (chosen == NULL)
	{
		DsProducts found = NULL;

		for (int level = (int) ds_cpu_level(); found == NULL; level--)
			found = ds_products_at((DsCpuLevel) level);
		chosen = found;
	}
	return chosen;
}
