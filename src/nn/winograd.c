/*
 * winograd.c
 *		Winograd's convolutions: the portable kernels, and when they are worth while.
 */
#include "nn/winograd.h"

#include "nn/winograd_private.h"

#ifdef DS_NN_DOUBLE
/* the test of the gradients has the other kernels in the same file */
#undef KERNELS_NAME
#undef TILE_ROWS
#undef TILE_VECTORS
#endif

#define VECTOR_BYTES 16
#define TILE_ROWS 4
#define TILE_VECTORS 2
#define KERNELS_NAME ds_winograd_portable

#include "nn/winograd_body.h"

/* numbers of V: 1 MB in f32 */
#define GROUP_VALUES ((size_t) 1 << 18)
#define TILES_MOST 64

bool
ds_winograd_pays(size_t ins, size_t outs, size_t height, size_t width, size_t pictures)
{
	size_t tiles = ds_winograd_tiles(height, width);

	/*
	 * Products are 9 of each pixel and 36 of each tile, and transforms take their time as well:
	 * that of the weights as much as the products of some tiles
	 */
	return ins >= DS_WINOGRAD_CHANNELS && outs >= DS_WINOGRAD_CHANNELS &&
		   6 * tiles <= height * width && tiles * pictures >= 8;
}

size_t
ds_winograd_group(size_t ins, size_t outs)
{
	size_t tiles = GROUP_VALUES / 36 / ins;

	(void) outs;
	return tiles > TILES_MOST ? TILES_MOST : tiles < 1 ? 1 : tiles;
}

size_t
ds_winograd_scratch(size_t ins, size_t outs)
{
	size_t tiles = ds_winograd_group(ins, outs);

	return 36 * (tiles * ins + 15 + DS_WINOGRAD_GAP +
				 (DS_WINOGRAD_DEPTH + tiles) * DS_WINOGRAD_WIDTH + 2 * DS_WINOGRAD_GAP);
}

size_t
ds_winograd_gradient_group(size_t ins, size_t outs)
{
	/* sums are read and written for each group, so there should not be too many */
	size_t tiles = GROUP_VALUES * 3 / 2 / 36 / (ins + ds_winograd_padded(outs));

	return tiles > TILES_MOST ? TILES_MOST : tiles < 1 ? 1 : tiles;
}

size_t
ds_winograd_gradient_scratch(size_t ins, size_t outs)
{
	size_t tiles = ds_winograd_gradient_group(ins, outs);

	return 36 * (tiles * ins + 15 + tiles * ds_winograd_padded(outs) + 2 * DS_WINOGRAD_GAP);
}
