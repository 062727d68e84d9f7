/*
 * conv_kernels.h
 *		The loops that convolutions spend their time in, for each kind of processor;
 *		for the files of this room only.
 *
 * conv_body.h has the one source, which conv_kernels.c, conv_kernels_avx2.c and
 * conv_kernels_avx512.c compile with other instructions.
 */
#ifndef DS_NN_CONV_KERNELS_H
#define DS_NN_CONV_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nn/real.h"
#include "nn/winograd.h"

/*
 * Windows of a picture.  Output pixel p looks at segments runs of length numbers each: run s
 * begins at x + at[p] + s * jump.  (Of a 3 x 3 window over rows of pixels with their channels
 * behind each other: three runs of 3 * channels numbers, a padded row apart.)
 */
typedef struct DsWindows
{
	const ds_real *x;
	const uint32_t *at; /* [pixels] */
	size_t pixels;
	size_t segments;
	size_t length;
	size_t jump;
} DsWindows;

typedef struct DsConvKernels
{
	size_t lanes; /* numbers of a register */
	size_t width; /* columns of a panel */
	const DsWinogradKernels *winograd;
	/*
	 * A weight [depth, outs], element (k, o) at k * row + o * column, to panels of width columns
	 * [depth, width], the last one filled up with zeros: ds_panels_size() numbers
	 */
	void (*pack)(const ds_real *weight, size_t row, size_t column, size_t depth, size_t outs,
				 ds_real *panels);
	/* out[pixels, outs], rows ldo apart, = windows * panels + bias[outs] (NULL: none) */
	void (*forward)(const DsWindows *windows, const ds_real *panels, size_t outs,
					const ds_real *bias, ds_real *out, size_t ldo);
	/*
	 * d_weight[segments * length, outs] += windows^T * d; rows of d are ldd apart, a multiple of
	 * lanes that is not below outs, and what is in them behind outs does not matter
	 */
	void (*weight)(const DsWindows *windows, const ds_real *d, size_t ldd, size_t outs,
				   ds_real *d_weight);
	/* sum[c] += sum over p of x[p, c]; squares[c] += that of (x[p, c] - mean[c])^2 */
	void (*sums)(const ds_real *x, size_t pixels, size_t channels, ds_real *sum);
	void (*squares)(const ds_real *x, size_t pixels, size_t channels, const ds_real *mean,
					ds_real *squares);
	/* y[p, c] = x[p, c] * scale[c] + shift[c]; below 0 it is 0 if relu; y may be x */
	void (*affine)(const ds_real *x, size_t pixels, size_t channels, const ds_real *scale,
				   const ds_real *shift, bool relu, ds_real *y);
	/*
	 * The way back of that, where x was normalised.  g[p, c] is d, but 0 where relu and
	 * x * scale + shift <= 0.  First: sum[c] += g, product[c] += g * (x - mean).  Then:
	 * d = g * scale[c] - (x - mean[c]) * a[c] - b[c]
	 */
	void (*affine_sums)(const ds_real *x, size_t pixels, size_t channels, const ds_real *scale,
						const ds_real *shift, bool relu, const ds_real *mean, const ds_real *d,
						ds_real *sum, ds_real *product);
	void (*affine_backward)(const ds_real *x, size_t pixels, size_t channels, const ds_real *scale,
							const ds_real *shift, bool relu, const ds_real *mean, const ds_real *a,
							const ds_real *b, ds_real *d);
	/* means of 2 x 2 squares: x[height, width, c] to y[height / 2, width / 2, c]; a last odd row or
	 * column is left out */
	void (*halve)(const ds_real *x, size_t height, size_t width, size_t channels, ds_real *y);
	/* d_x of that */
	void (*halve_backward)(const ds_real *d, size_t height, size_t width, size_t channels,
						   ds_real *d_x);
} DsConvKernels;

/* the best table for this processor */
extern const DsConvKernels *ds_conv_kernels(void);

/* the one of a level, for tests; NULL when the program was built without it */
extern const DsConvKernels *ds_conv_kernels_at(int level);

static inline size_t
ds_panels_size(const DsConvKernels *kernels, size_t depth, size_t outs)
{
	return (outs + kernels->width - 1) / kernels->width * kernels->width * depth;
}

#endif /* DS_NN_CONV_KERNELS_H */
