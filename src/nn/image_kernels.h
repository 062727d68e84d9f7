/*
 * image_kernels.h
 *		The loops that convolutional networks spend their time in, for each kind
 *		of processor; for the files of this room only.
 *
 * Results are [rows][columns][channels] with a border of zeros around them as
 * wide as the padding of what reads them.  So what a convolution reads for one
 * output is, for each row of its window, one piece of memory: kernel_width x
 * channels values behind each other.  A convolution is a matrix product then
 * whose rows are made of pieces that lie step_y apart, and nothing is copied.
 * Where channels have gaps between them (their number is rounded up to whole
 * panels), pieces are single positions.
 *
 * Weights are in panels of 16 outputs as those of encoder_kernels.h are, in the
 * order row of the window, column, channel.  A tile of some outputs and one to
 * three panels stays in registers over all of them, in the same order for every
 * height of tile: an output does not depend on what is computed beside it.
 */
#ifndef DS_IMAGE_KERNELS_H
#define DS_IMAGE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "nn/encoder_kernels.h"
#include "nn/winograd.h"

typedef struct DsConvolution
{
	size_t rows; /* positions of the output */
	const uint32_t *in_rows; /* [rows] the first value that each reads, from a */
	const float *a;
	size_t taps_y; /* pieces of a window */
	size_t taps_x;
	size_t piece; /* values of one */
	size_t step_y; /* values from piece to piece */
	size_t step_x;
	size_t outs; /* multiple of 16 */
	const float *b; /* panels [outs / 16][taps_y * taps_x * piece][16] */
	const float *bias; /* [outs] */
	const uint32_t *out_rows; /* [rows] where each goes, from c */
	float *c;
	const float *residual; /* added before the activation, at residual_rows; or NULL */
	const uint32_t *residual_rows;
	uint32_t activation; /* DsActivation */
} DsConvolution;

typedef struct DsImageKernels
{
	const char *name;
	void (*convolve)(const DsConvolution *p);
	const DsWinogradKernels *winograd;
	/* out = max of n vectors, of channels values (multiple of 16) at offsets from x */
	void (*largest)(const float *x, const uint32_t *offsets, size_t n, size_t channels, float *out);
	/* out = factor * their sum */
	void (*sum)(const float *x, const uint32_t *offsets, size_t n, size_t channels, float factor,
				float *out);
} DsImageKernels;

/* the best table for this processor */
extern const DsImageKernels *ds_image_kernels(void);

/* number i of the tables that this processor can run, the portable one first; NULL behind them */
extern const DsImageKernels *ds_image_kernels_number(size_t i);

#endif /* DS_IMAGE_KERNELS_H */
