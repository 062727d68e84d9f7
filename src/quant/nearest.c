/*
 * nearest.c
 *		The nearest of many centroids, for tiles of rows.
 *
 * One pass of BLAS over a tile makes rows * columns products, then each row of
 * them is searched for the least (scan.h).
 *
 * A tile is limited by memory and by TILE_WORK multiplications, about 10 ms,
 * since nothing can be cancelled inside of BLAS.
 */
#include "quant/nearest.h"

#include "base/blas.h"
#include "quant/scan.h"
#include "vector/kernels.h"

#define TILE_ROWS 256
#define TILE_COLUMNS 1024
#define TILE_WORK ((size_t) 1 << 28)

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
	tile->columns = larger(1, smaller(k, TILE_COLUMNS));
	tile->columns =
		larger(smaller(tile->columns, 32), smaller(tile->columns, TILE_WORK / tile->rows / d));
	tile->rows = larger(1, smaller(tile->rows, budget / (d + tile->columns)));
	tile->gathered = ds_arena_alloc(arena, tile->rows * d, sizeof(float));
	tile->products = ds_arena_alloc(arena, tile->rows * tile->columns, sizeof(float));
	if (tile->gathered == NULL || tile->products == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for assigning rows to lists");
	return DS_OK;
}

void
ds_squared_norms(const float *rows, size_t n, size_t d, float *out)
{
	const DsKernels *kernels = ds_kernels();

	for (size_t i = 0; i < n; i++)
		out[i] = (float) kernels->squared_norm_wide(rows + i * d, d);
}

DsCode
ds_nearest(const DsTile *tile, const float *rows, size_t m, size_t d, const float *centroids,
		   const float *norms, size_t k, uint32_t first, const DsCancel *cancel, uint32_t *number,
		   float *value)
{
	const DsScanLoops *loops = ds_scan_loops();

	for (size_t start = 0; start < k; start += tile->columns)
	{
		size_t columns = smaller(tile->columns, k - start);

		if (ds_cancelled(cancel))
			return DS_CANCELLED;
		ds_gemm(0, 1, m, columns, d, 1.0f, rows, d, centroids + start * d, d, 0.0f, tile->products,
				columns);
		for (size_t i = 0; i < m; i++)
		{
			float here;
			uint32_t where =
				loops->least(tile->products + i * columns, norms + start, columns, &here);

			if (here < value[i])
			{
				value[i] = here;
				number[i] = first + (uint32_t) start + where;
			}
		}
	}
	return DS_OK;
}
