/*
 * nearest.c
 *		The nearest of many centroids, for tiles of rows.
 *
 * rows * columns products (products.h), then each row of them is searched for
 * the least (scan.h).
 *
 * A tile is limited by memory and by TILE_WORK multiplications, 5 to 10 ms,
 * between which somebody may cancel.
 */
#include "quant/nearest.h"

#include <string.h>

#include "quant/scan.h"
#include "vector/kernels.h"

#define TILE_ROWS 256
#define TILE_COLUMNS 1024
#define TILE_WORK ((size_t) 1 << 28)

/* floats that are read or copied between polls */
#define POLL_FLOATS ((size_t) 1 << 18)

static size_t
smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t
larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

DsCode
ds_tile_init(DsTile *tile, size_t n, size_t d, size_t k, size_t memory, DsArena *arena,
			 DsStatus *status)
{
	/* in floats; what a caller takes beside the tile is small */
	size_t budget = (memory == 0 ? NEAREST_DEFAULT_MEMORY : memory) / sizeof(float);

	tile->rows = larger(1, smaller(n, TILE_ROWS));
	tile->columns = smaller(ds_panel_columns(larger(k, 1)), TILE_COLUMNS);
	tile->columns = smaller(tile->columns, ds_panel_columns(TILE_WORK / tile->rows / d));
	tile->columns = larger(tile->columns, DS_PANEL);
	tile->rows = larger(1, smaller(tile->rows, budget / tile->columns));
	tile->row = ds_arena_alloc(arena, tile->rows, sizeof(float *));
	tile->products = ds_arena_alloc(arena, tile->rows * tile->columns, sizeof(float));
	if (tile->row == NULL || tile->products == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for assigning rows to lists");
	return DS_OK;
}

DsCode
ds_tile_products(const DsTile *tile, size_t m, size_t d, const float *packed, size_t columns,
				 float *out, const DsCancel *cancel)
{
	DsProducts products = ds_products();
	size_t step = TILE_WORK / larger(m, 1) / d / DS_PANEL * DS_PANEL;

	step = larger(step, DS_PANEL);
	for (size_t c = 0; c < columns; c += step)
	{
		if (ds_cancelled(cancel))
			return DS_CANCELLED;
		products(tile->row, m, d, packed + c * d, smaller(step, columns - c) / DS_PANEL, out + c,
				 columns);
	}
	return DS_OK;
}

DsCode
ds_squared_norms(const float *rows, size_t n, size_t d, float *out, const DsCancel *cancel)
{
	const DsKernels *kernels = ds_kernels();
	size_t step = larger(POLL_FLOATS / d, 1);

	for (size_t i = 0; i < n; i++)
	{
		if (i % step == 0 && ds_cancelled(cancel))
			return DS_CANCELLED;
		out[i] = (float) kernels->squared_norm_wide(rows + i * d, d);
	}
	return DS_OK;
}

DsCode
ds_pack(const float *centroids, const uint32_t *which, size_t k, size_t d, float *packed,
		const DsCancel *cancel)
{
	for (size_t i = 0; i < k; i += DS_PANEL)
	{
		size_t count = smaller(DS_PANEL, k - i);

		if (ds_cancelled(cancel))
			return DS_CANCELLED;
		if (which != NULL)
			ds_panels_gather(centroids, which + i, count, d, packed + i * d);
		else
			ds_panels_pack(centroids + i * d, count, d, packed + i * d);
	}
	return DS_OK;
}

DsCode
ds_copy(float *to, const float *from, size_t floats, const DsCancel *cancel)
{
	for (size_t i = 0; i < floats; i += POLL_FLOATS)
	{
		if (ds_cancelled(cancel))
			return DS_CANCELLED;
		memcpy(to + i, from + i, smaller(POLL_FLOATS, floats - i) * sizeof(float));
	}
	return DS_OK;
}

DsCode
ds_nearest(const DsTile *tile, size_t m, size_t d, const float *packed, const float *norms,
		   size_t k, uint32_t first, const DsCancel *cancel, uint32_t *number, float *value)
{
	const DsScanLoops *loops = ds_scan_loops();
	DsProducts products = ds_products();

	for (size_t start = 0; start < k; start += tile->columns)
	{
		size_t count = smaller(tile->columns, k - start);
		size_t columns = ds_panel_columns(count);

		if (ds_cancelled(cancel))
			return DS_CANCELLED;
		products(tile->row, m, d, packed + start * d, columns / DS_PANEL, tile->products, columns);
		for (size_t i = 0; i < m; i++)
		{
			float here;
			uint32_t where =
				loops->least(tile->products + i * columns, norms + start, count, &here);

			if (here < value[i])
			{
				value[i] = here;
				number[i] = first + (uint32_t) start + where;
			}
		}
	}
	return DS_OK;
}

DsCode
ds_nearest_rows(const DsTile *tile, const float *rows, size_t m, size_t d, const float *packed,
				const float *norms, size_t k, uint32_t first, const DsCancel *cancel,
				uint32_t *number, float *value)
{
	for (size_t i = 0; i < m; i++)
		tile->row[i] = rows + i * d;
	return ds_nearest(tile, m, d, packed, norms, k, first, cancel, number, value);
}

void
ds_keep_nearest(const float *products, const float *norms, uint32_t coarse, uint32_t effort,
				uint32_t *number)
{
	float value[DS_MOST_NEAREST];
	uint32_t kept = 0;

	for (uint32_t g = 0; g < coarse; g++)
	{
		float v = norms[g] - 2.0f * products[g];
		uint32_t place;

		/* cppcheck-suppress uninitvar ; kept values are set */
		if (kept == effort && !(v < value[effort - 1]))
			continue;
		place = kept < effort ? kept++ : effort - 1;
		for (; place > 0 && v < value[place - 1]; place--)
		{
			value[place] = value[place - 1];
			number[place] = number[place - 1];
		}
		value[place] = v;
		number[place] = g;
	}
}
