/*
 * winograd.h
 *		Convolutions of 3 x 3 with stride 1 by Winograd's method, F(4 x 4, 3 x 3): 36
 *		multiplications for 16 outputs where the definition has 144.
 *
 * Lavin & Gray, Fast Algorithms for Convolutional Neural Networks (CVPR 2016).  winograd_body.h
 * has the one source, which winograd.c, winograd_avx2.c and winograd_avx512.c compile with other
 * instructions.
 */
#ifndef DS_NN_WINOGRAD_H
#define DS_NN_WINOGRAD_H

#include <stdbool.h>
#include <stddef.h>

#include "nn/real.h"

/* Some pictures, rows of positions with their channels behind each other */
typedef struct DsPictures
{
	const ds_real *at; /* position (0, 0) of the first */
	size_t picture; /* numbers from one to the next, */
	size_t row; /* from row to row, */
	size_t column; /* from position to position */
} DsPictures;

typedef struct DsWinograd
{
	size_t pictures;
	DsPictures x;
	size_t in_height; /* positions that are there; beyond them are zeros */
	size_t in_width;
	size_t pad; /* rows and columns that the first window begins before position (0, 0) */
	size_t ins; /* >= DS_WINOGRAD_CHANNELS */
	size_t outs; /* likewise */
	size_t height; /* of what comes out */
	size_t width;
	/*
	 * Weights in panels of panel_width outputs, a multiple of the registers' lanes: [outs /
	 * panel_width, rounded up][9][ins][panel_width]
	 */
	const ds_real *panels;
	size_t panel_width;
	const ds_real *bias; /* [outs]; NULL: none */
	DsPictures residual; /* added before the activation, or at is NULL */
	bool relu;
	DsPictures y; /* written to */
	ds_real *scratch; /* ds_winograd_scratch() numbers */
} DsWinograd;

typedef struct DsWinogradKernels
{
	/*
	 * y = act(conv(x) + bias + residual) of the tiles from first on, at most
	 * ds_winograd_group().  Tiles of 4 x 4 outputs are counted row by row, picture by picture;
	 * what is in one does not depend on the others.
	 */
	void (*run)(const DsWinograd *w, size_t first, size_t tiles);
	/*
	 * From x and, at y, the gradient by what comes out: points[36, ins, ds_winograd_padded(outs)] +=
	 * the gradient by the weight, transformed, of at most ds_winograd_gradient_group() tiles
	 */
	void (*gradient)(const DsWinograd *w, size_t first, size_t tiles, ds_real *points);
	/* d_weight[9, n] = transformed back from points[36, n]; n a multiple of 16 */
	void (*collect)(const ds_real *points, size_t n, ds_real *d_weight);
} DsWinogradKernels;

#define DS_WINOGRAD_CHANNELS 16

extern const DsWinogradKernels ds_winograd_portable;
#if defined(__x86_64__) && !defined(DS_NN_DOUBLE)
extern const DsWinogradKernels ds_winograd_avx2;
extern const DsWinogradKernels ds_winograd_avx512;
#endif

/*
 * Is this worth while for a convolution of ins to outs channels with an output of height x width,
 * of which at least so many pictures go together?  The answer is the same for every processor.
 */
extern bool ds_winograd_pays(size_t ins, size_t outs, size_t height, size_t width, size_t pictures);

/* tiles of a picture */
static inline size_t
ds_winograd_tiles(size_t height, size_t width)
{
	return ((height + 3) / 4) * ((width + 3) / 4);
}

static inline size_t
ds_winograd_padded(size_t outs)
{
	return (outs + 15) / 16 * 16;
}

/* as many tiles at once as stay in the second level of cache */
extern size_t ds_winograd_group(size_t ins, size_t outs);

/* numbers of scratch for groups of so many channels */
extern size_t ds_winograd_scratch(size_t ins, size_t outs);

/* the same for the gradient by the weight */
extern size_t ds_winograd_gradient_group(size_t ins, size_t outs);
extern size_t ds_winograd_gradient_scratch(size_t ins, size_t outs);

#endif /* DS_NN_WINOGRAD_H */
