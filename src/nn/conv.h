/*
 * conv.h
 *		Layers over pictures, forward and backward: convolution, batch normalisation,
 *		pooling.
 *
 * Pictures are [height, width, channels] numbers, channels last, some of them behind each other.
 * Weights of a convolution are as PyTorch has them, [outs, ins, kernel_height, kernel_width].
 */
#ifndef DS_NN_CONV_H
#define DS_NN_CONV_H

#include "base/arena.h"
#include "base/status.h"
#include "nn/conv_kernels.h"
#include "nn/real.h"

typedef struct DsConvShape
{
	size_t height; /* of what comes in */
	size_t width;
	size_t ins;
	size_t outs;
	size_t kernel_height;
	size_t kernel_width;
	size_t stride; /* >= 1 */
	size_t pad; /* rows and columns of zeros on each side; below both of the kernel's sides */
} DsConvShape;

/* numbers along one side of what comes out; 0: the window does not fit */
static inline size_t
ds_conv_out(size_t side, size_t kernel, size_t stride, size_t pad)
{
	return side + 2 * pad < kernel ? 0 : (side + 2 * pad - kernel) / stride + 1;
}

/* A convolution ready to run: its windows and its scratch.  For one thread. */
typedef struct DsConv
{
	DsConvShape shape;
	size_t out_height;
	size_t out_width;
	size_t group; /* pictures that go through at once */
	uint32_t *at; /* [group, out pixels] windows of the forward pass */
	ds_real *padded; /* [group, height + 2 pad, width + 2 pad, ins], or NULL: no pad */
	ds_real *panels; /* the weight, packed */
	bool winograd; /* instead of windows; of what follows then back_panels and d_weight alone */
	ds_real *scratch;
	ds_real *framed; /* pictures with zeros around, up to whole tiles */
	ds_real *d_framed;
	ds_real *points; /* [36, ins, d_row] gradients */
	/* the way back */
	uint32_t *back_at; /* [group, pixels] windows over d */
	ds_real *back_panels;
	ds_real *d_padded; /* stride 1: d with zeros around it */
	ds_real *columns; /* other strides: [group, out pixels, window, ins] gradients by windows */
	ds_real *d_picture; /* ... and by padded pictures */
	ds_real *d_aligned; /* [group, out pixels, outs up to whole registers], or NULL */
	size_t d_row;
	ds_real *d_weight; /* [window, ins, outs (winograd: d_row)] since ds_conv_load() */
} DsConv;

/*
 * Errors: DS_INVALID (a shape without an output), DS_TOO_LARGE, DS_OUT_OF_MEMORY.
 * backward: the way back is wanted, too.
 */
extern DsCode ds_conv_plan(DsConv *conv, const DsConvShape *shape, bool backward, DsArena *arena,
						   DsStatus *status);

/* Takes the weight's values of this moment; backward: also for ds_conv_backward() by the input */
extern void ds_conv_load(DsConv *conv, const ds_real *weight, bool backward);

/* out[pictures, out_height, out_width, outs] = conv(x[pictures, height, width, ins]) + bias[outs]
 * (NULL: none); pictures <= conv->group */
extern void ds_conv_forward(DsConv *conv, const ds_real *x, size_t pictures, const ds_real *bias,
							ds_real *out);

/*
 * From d, the gradient by out: d_x by the input (NULL: not wanted) is set, that by the weight
 * (if learns) is gathered in conv.  pictures <= conv->group.
 */
extern void ds_conv_backward(DsConv *conv, const ds_real *x, const ds_real *d, size_t pictures,
							 ds_real *d_x, bool learns);

/* d_weight[outs, ins, kernel_height, kernel_width] += what was gathered since ds_conv_load() */
extern void ds_conv_gradient(const DsConv *conv, ds_real *d_weight);

/*
 * Batch normalisation (Ioffe & Szegedy, ICML 2015): y = (x - mean) / sqrt(variance + epsilon) *
 * weight + bias, moments by channel over all pixels of a batch, variance without Bessel's
 * correction.  Moments are gathered picture by picture, by the formula of Chan, Golub & LeVeque
 * (1979), so that nothing cancels.
 */
typedef struct DsMoments
{
	size_t channels;
	double count;
	double *mean; /* [channels] */
	double *squares; /* [channels] sums of squared distances from it */
	ds_real *scratch; /* [2 channels] */
} DsMoments;

/* false: out of memory */
extern bool ds_moments_allocate(DsMoments *moments, size_t channels, DsArena *arena);
extern void ds_moments_clear(DsMoments *moments);
extern void ds_moments_add(DsMoments *moments, const ds_real *x, size_t pixels);

/*
 * y = x * scale + shift is the normalisation; mean and inverse[channels], 1 / sqrt(variance +
 * epsilon), are left for the way back.
 */
extern void ds_batch_norm_scales(const DsMoments *moments, const ds_real *weight,
								 const ds_real *bias, double epsilon, ds_real *scale,
								 ds_real *shift, ds_real *mean, ds_real *inverse);

/*
 * From the sums that affine_sums() leaves, sum of g and of g (x - mean), over count pixels: the
 * gradients by weight and bias (added to; NULL: not wanted), and a and b of affine_backward().
 */
extern void ds_batch_norm_backward(size_t channels, double count, const double *sum,
								   const double *product, const ds_real *scale,
								   const ds_real *inverse, ds_real *d_weight, ds_real *d_bias,
								   ds_real *a, ds_real *b);

typedef struct DsPoolShape
{
	size_t height; /* of what comes in */
	size_t width;
	size_t channels;
	size_t kernel_height; /* at most 256 places of a window, for the largest */
	size_t kernel_width;
	size_t stride;
	size_t pad; /* for the largest only; what is outside does not count */
} DsPoolShape;

/*
 * One picture's x[height, width, channels] to the largest number of each window; which[out
 * pixels, channels] gets its place in the window (rows first), for the way back: d_x is set.
 */
extern void ds_max_pool(const DsPoolShape *shape, const ds_real *x, ds_real *out, uint8_t *which);
extern void ds_max_pool_backward(const DsPoolShape *shape, const ds_real *d, const uint8_t *which,
								 ds_real *d_x);

/* The mean of each window; d_x is set */
extern void ds_average_pool(const DsPoolShape *shape, const ds_real *x, ds_real *out);
extern void ds_average_pool_backward(const DsPoolShape *shape, const ds_real *d, ds_real *d_x);

/* out[channels]: means over all pixels; and its gradient, d_x[pixels, channels] */
extern void ds_global_average(const ds_real *x, size_t pixels, size_t channels, ds_real *out);
extern void ds_global_average_backward(const ds_real *d, size_t pixels, size_t channels,
									   ds_real *d_x);

#endif /* DS_NN_CONV_H */
