/*
 * test_encoder_product.c
 *		The matrix products of encoders, at every level of processor, against
 *		double arithmetic: numbers of rows, inputs and outputs around the sizes of
 *		every tile; and a row's result is the same to the bit whatever rows are
 *		beside it.
 */
#include "base/random.h"
#include "nn/encoder_kernels.h"
#include "nn/encoder_spec.h"
#include "unit.h"

#define MOST_ROWS 70
#define MOST_INS 800 /* f32 is blocked by 768, or by 256 where there are few rows */
#define MOST_OUTS 144
#define PAD 9 /* between the rows of a, of what is not a number where that can be written */

enum
{
	F32,
	BF16,
	INT8,
	KINDS
};

static const char *const kind_names[] = {"f32", "bf16", "int8"};

static float a_f32[MOST_ROWS * (MOST_INS + PAD) + PAD];
static uint16_t a_bf16[MOST_ROWS * (MOST_INS + PAD) + PAD];
static uint8_t a_int8[MOST_ROWS * (MOST_INS + PAD) + PAD];
static float b_f32[MOST_OUTS * MOST_INS];
static uint16_t b_bf16[MOST_OUTS * MOST_INS];
static int8_t b_int8[MOST_OUTS * MOST_INS];
static float bias[MOST_OUTS];
static float column_scales[MOST_OUTS];
static int32_t column_sums[MOST_OUTS];
static float row_scales[MOST_ROWS];
static int32_t row_zeros[MOST_ROWS];
static float residual[MOST_ROWS * MOST_OUTS];
static double wanted[MOST_ROWS * MOST_OUTS];

static uint16_t
upper_half(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return (uint16_t) (bits >> 16);
}

static float
whole(uint16_t half)
{
	uint32_t bits = (uint32_t) half << 16;
	float x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

/* a, b and what comes of them, the activation aside */
static void
make(DsRandom *random, int kind, const DsEncoderKernels *kernels, size_t rows, size_t ins,
	 size_t outs)
{
	size_t ld = ins + PAD;
	size_t step = kind == F32 ? 1 : kind == BF16 ? 2 : 4;

	memset(a_f32, 0xff, sizeof(a_f32));
	memset(a_bf16, 0xff, sizeof(a_bf16));
	memset(a_int8, 0xff, sizeof(a_int8));
	memset(b_f32, 0, sizeof(b_f32));
	memset(b_bf16, 0, sizeof(b_bf16));
	memset(b_int8, 0, sizeof(b_int8));
	memset(column_sums, 0, sizeof(column_sums));
	for (size_t r = 0; r < rows; r++)
	{
		row_scales[r] = 0.001f * (float) (1 + ds_random_below(random, 20));
		row_zeros[r] = (int32_t) ds_random_below(random, kernels->quantize_top + 1);
		for (size_t k = 0; k < ins; k++)
		{
			/* in bf16 either way, so that both kinds of rows are the same numbers */
			a_bf16[r * ld + k] = upper_half((float) ds_random_normal(random));
			a_f32[r * ld + k] = whole(a_bf16[r * ld + k]);
			a_int8[r * ld + k] = (uint8_t) ds_random_below(random, kernels->quantize_top + 1);
		}
	}
	memset(wanted, 0, sizeof(wanted));
	for (size_t o = 0; o < outs; o++)
	{
		bias[o] = (float) ds_random_normal(random);
		column_scales[o] = 0.001f * (float) (1 + ds_random_below(random, 20));
		for (size_t k = 0; k < ins; k++)
		{
			size_t at = o / DS_PANEL * DS_PANEL * ins + k / step * step * DS_PANEL +
						o % DS_PANEL * step + k % step;

			b_bf16[at] = upper_half((float) ds_random_normal(random));
			b_f32[at] = whole(b_bf16[at]);
			b_int8[at] = (int8_t) ((int) ds_random_below(random, 255) - 127);
			column_sums[o] += b_int8[at];
			for (size_t r = 0; r < rows; r++)
				wanted[r * outs + o] +=
					kind == INT8 ? (double) (a_int8[r * ld + k] - row_zeros[r]) * b_int8[at]
								 : (double) a_f32[r * ld + k] * b_f32[at];
		}
	}
	for (size_t i = 0; i < rows * outs; i++)
		residual[i] = (float) ds_random_normal(random);
}

static void
test_products(const DsEncoderKernels *kernels, int kind)
{
	static const size_t heights[] = {1,	 2,	 7,	 8,	 9,	 15, 16, 17,	   24,
									 31, 32, 33, 48, 63, 64, 65, MOST_ROWS};
	static const size_t widths[] = {4, 32, 52, 64, 128, 192, 320, 780, MOST_INS};
	static const size_t outputs[] = {1, 15, 16, 17, 32, 48, 50, 64, 80, 128, 133, MOST_OUTS};
	static const size_t many[] = {128, 133, MOST_OUTS};
	static float c[MOST_ROWS * (MOST_OUTS + 3)];
	static float one[MOST_ROWS * (MOST_OUTS + 3)];
	DsRandom random;
	double worst = 0;
	int different = 0;
	int outside = 0;
	size_t cases = 0;

	ds_random_init(&random, 5, 0);
	for (size_t h = 0; h < sizeof(heights) / sizeof(heights[0]); h++)
		for (size_t w = 0; w < sizeof(widths) / sizeof(widths[0]); w++)
		{
			size_t rows = heights[h];
			size_t ins = widths[w];
			size_t outs = ins > 768 ? many[(h + w) % 3]
									: outputs[(h * 5 + w) % (sizeof(outputs) / sizeof(outputs[0]))];
			size_t ldc = outs + 3;
			size_t row = ds_random_below(&random, (uint32_t) rows);
			/* a bare product, as of attention; with everything; with an activation alone */
			int how = (int) (cases++ % 3);
			DsProduct p = {
				.rows = rows, .ins = ins, .outs = outs, .lda = ins + PAD, .c = c, .ldc = ldc};
			void (*multiply)(const DsProduct *) = kind == F32	 ? kernels->product_f32
												  : kind == BF16 ? kernels->product_bf16
																 : kernels->product_int8;

			make(&random, kind, kernels, rows, ins, outs);
			p.a = kind == INT8						   ? (const void *) a_int8
				  : kind == BF16 && kernels->bf16_rows ? (const void *) a_bf16
													   : a_f32;
			p.b = kind == INT8	 ? (const void *) b_int8
				  : kind == BF16 ? (const void *) b_bf16
								 : b_f32;
			if (kind == INT8)
			{
				p.row_zeros = row_zeros;
				p.column_scales = column_scales;
				p.column_sums = column_sums;
			}
			if (kind == INT8 || how == 1)
				p.row_scales = row_scales;
			if (how > 0)
				p.bias = bias;
			if (how == 1)
			{
				p.residual = residual;
				p.ldr = outs;
			}
			if (how == 2)
				p.activation = DS_ACT_RELU;
			for (size_t i = 0; i < rows * ldc; i++)
				c[i] = one[i] = 12345.0f;
			multiply(&p);
			for (size_t r = 0; r < rows; r++)
			{
				for (size_t o = 0; o < outs; o++)
				{
					double x = wanted[r * outs + o];
					double size = sqrt((double) ins);
					double off;

					if (kind == INT8)
					{
						x *= (double) column_scales[o] * row_scales[r];
						size = 1;
					}
					else if (how == 1)
						x *= row_scales[r];
					x += p.bias != NULL ? bias[o] : 0;
					if (how == 2 && x < 0)
						x = 0;
					x += p.residual != NULL ? residual[r * outs + o] : 0;
					off = fabs(x - c[r * ldc + o]) / (size + fabs(x));
					worst = off > worst || isnan(off) ? off : worst;
				}
				for (size_t o = outs; o < ldc; o++)
					outside += c[r * ldc + o] != 12345.0f;
			}

			/* one of the rows alone */
			p.rows = 1;
			p.a = (const char *) p.a + row * p.lda *
										   (kind == INT8						 ? 1
											: kind == BF16 && kernels->bf16_rows ? 2
																				 : 4);
			p.c = one;
			p.row_scales = p.row_scales != NULL ? p.row_scales + row : NULL;
			p.row_zeros = p.row_zeros != NULL ? p.row_zeros + row : NULL;
			p.residual = p.residual != NULL ? p.residual + row * outs : NULL;
			multiply(&p);
			different += memcmp(one, c + row * ldc, outs * sizeof(float)) != 0;
		}
	CHECK(worst < 2e-6, "%s: %s products are off by %.1e", kernels->name, kind_names[kind], worst);
	CHECK(different == 0, "%s: %s: a row alone gives the same to the bit", kernels->name,
		  kind_names[kind]);
	CHECK(outside == 0, "%s: %s: nothing is written beside", kernels->name, kind_names[kind]);
}

int
main(void)
{
	for (size_t k = 0; ds_encoder_kernels_number(k) != NULL; k++)
		for (int kind = 0; kind < KINDS; kind++)
			test_products(ds_encoder_kernels_number(k), kind);
	return unit_done();
}
