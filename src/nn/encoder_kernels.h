/*
 * encoder_kernels.h
 *		The loops that the forward pass of encoders spends its time in, for each
 *		kind of processor; for the files of this room only.
 *
 * Products.  A matrix of weights [outs, ins] is stored in panels of 16 outputs:
 *
 *	 f32	[outs / 16][ins][16]			floats
 *	 bf16	[outs / 16][ins / 2][16][2]		upper halves of floats
 *	 int8	[outs / 16][ins / 4][16][4]		whole numbers, one scale an output
 *
 * the last panel filled up with zeros.  That is the order in which every
 * register width consumes them, so one layout serves all processors.  A tile
 * of some rows and one to three panels stays in registers over all of ins; its
 * sums run over ins in order, for every height of tile, so a row's result does
 * not depend on how many rows there are.
 *
 * Why not a library: see docs/internals/nn.md.
 */
#ifndef DS_ENCODER_KERNELS_H
#define DS_ENCODER_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DS_PANEL 16
/* the rows that columns() makes of some are a multiple of this */
#define DS_VALUE_ROWS 32

/*
 * c[rows, outs] = finish(a[rows, ins] b^T); ins is a multiple of 2 in bf16, of 4
 * in int8.  finish: times row_scales[row] if there are any, plus bias, the
 * activation (DsActivation), plus residual, which may not be c.
 */
typedef struct DsProduct
{
	size_t rows;
	size_t ins;
	size_t outs;
	const void *a; /* float, bf16 or uint8, as the function says */
	size_t lda; /* values from row to row */
	const void *b; /* panels */
	size_t stride; /* values from panel to panel; 0: they follow each other */
	float *c;
	size_t ldc;
	const float *bias; /* NULL, or outs values rounded up to whole panels */
	uint32_t activation;
	const float *residual; /* or NULL */
	size_t ldr;
	const float *row_scales; /* or NULL; int8: of the rows of a */
	/* int8 */
	const int32_t *row_zeros; /* the value of a that stands for zero */
	const float *column_scales; /* whole panels, as bias */
	const int32_t *column_sums; /* of b's values */
} DsProduct;

typedef struct DsEncoderKernels
{
	const char *name;
	/* product_bf16 takes rows of bf16, not of float */
	bool bf16_rows;
	/* product_bf16 is fast where ins is a multiple of this, which divides DS_VALUE_ROWS */
	uint32_t bf16_ins;
	/* rows for product_int8 are 0 .. quantize_top */
	uint32_t quantize_top;
	void (*product_f32)(const DsProduct *p);
	void (*product_bf16)(const DsProduct *p);
	void (*product_int8)(const DsProduct *p);

	/* bf16 of n floats, rounded to nearest */
	void (*to_bf16)(const float *x, size_t n, uint16_t *out);
	/* out = round(x / scale) + zero, with the smallest scale that keeps all in range */
	void (*quantize)(const float *x, size_t n, uint32_t top, uint8_t *out, float *scale,
					 int32_t *zero);

	/* out = (x - mean) / sqrt(variance + epsilon) * weight + bias (NULL: none); out may be x */
	void (*norm)(const float *x, size_t n, const float *weight, const float *bias, float epsilon,
				 float *out);
	/*
	 * x[i] = exp(scale * x[i] + bias[i] - top) with top their greatest exponent;
	 * bias may be NULL; returns their sum.  n > 0
	 */
	float (*softmax)(float *x, size_t n, float scale, const float *bias);
	/* the same to out, x being left as anything */
	float (*softmax_bf16)(float *x, size_t n, float scale, const float *bias, uint16_t *out);
	/* x = act(x), act a DsActivation */
	void (*activate)(float *x, size_t n, uint32_t activation);
	/* gate = act(gate) * up */
	void (*gate)(float *gate, const float *up, size_t n, uint32_t activation);
	/* x += y */
	void (*add)(float *x, const float *y, size_t n);
	/* x = max(x, y) */
	void (*larger)(float *x, const float *y, size_t n);
	/* x += factor * y, y of bf16 or float */
	void (*add_scaled)(float *x, const float *y, size_t n, float factor);
	void (*add_scaled_bf16)(float *x, const uint16_t *y, size_t n, float factor);
	/* rows of x (n, ld values apart) as one panel [dims][16] of f32; missing rows are zero */
	void (*transpose)(const float *x, size_t n, size_t ld, size_t dims, float *panel);
	/* ... of bf16; dims is a multiple of 2 */
	void (*transpose_bf16)(const float *x, size_t n, size_t ld, size_t dims, uint16_t *panel);
	/*
	 * rows of x (n, ld values apart) as the weights that rows of n values are
	 * multiplied with: dims / 16 panels for ins = n rounded up to a multiple of
	 * DS_VALUE_ROWS, what is missing being zero
	 */
	void (*columns)(const float *x, size_t n, size_t ld, size_t dims, float *panels);
	void (*columns_bf16)(const float *x, size_t n, size_t ld, size_t dims, uint16_t *panels);
	/* (x[c], x[half + c]) turned by the angle of cosines[c], sines[c], for c < half */
	void (*rotate)(float *x, const float *cosines, const float *sines, size_t half);
	float (*dot)(const float *x, const float *y, size_t n);
} DsEncoderKernels;

/* the best table for this processor */
extern const DsEncoderKernels *ds_encoder_kernels(void);

/* number i of the tables that this processor can run, the portable one first; NULL behind them */
extern const DsEncoderKernels *ds_encoder_kernels_number(size_t i);

#endif /* DS_ENCODER_KERNELS_H */
