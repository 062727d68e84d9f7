/*
 * encoder_private.h
 *		An open encoder: where in the blob everything is; for the files of the
 *		encoder only.
 */
#ifndef DS_ENCODER_PRIVATE_H
#define DS_ENCODER_PRIVATE_H

#include "nn/encoder.h"
#include "nn/encoder_kernels.h"

/* y = x W^T + b, W in panels (encoder_kernels.h) */
typedef struct DsLinear
{
	uint32_t precision; /* DsPrecision */
	uint32_t ins;
	uint32_t outs;
	const void *panels;
	const float *bias; /* NULL: none; otherwise whole panels */
	const float *scales; /* int8: of each output */
	const int32_t *sums; /* int8: of each output's weights */
} DsLinear;

typedef struct DsNorm
{
	const float *weight; /* NULL: there is no norm */
	const float *bias; /* or NULL */
} DsNorm;

/* What comes behind a network's last layer: see encoder_spec.h */
typedef struct DsModules
{
	const DsEncoderKernels *kernels;
	uint32_t count;
	const DsSpecModule *specs;
	DsLinear linear[DS_SPEC_MODULES];
	DsNorm norms[DS_SPEC_MODULES];
} DsModules;

/*
 * v through all of them to out.  v has room for ds_modules_widest() values, and
 * next too; both are left as anything.
 */
extern DsCode ds_modules_run(const DsModules *modules, size_t dims, float *v, float *next,
							 float *out, const DsCancel *cancel);
extern size_t ds_modules_widest(const DsModules *modules, size_t dims);

typedef struct DsEncoderLayer
{
	DsNorm attention_norm;
	DsLinear qkv; /* outs: queries, keys, values of all heads */
	DsLinear out;
	DsNorm mlp_norm;
	DsLinear up; /* gated: outs are the gates, then what they gate */
	DsLinear down;
} DsEncoderLayer;

struct DsEncoder
{
	DsEncoderSpec spec;
	DsPrecision precision;
	const DsEncoderKernels *kernels;
	const void *tokens; /* [vocabulary or static_rows, hidden], f32 or bf16 */
	const uint32_t *token_rows; /* static encoders; or NULL */
	const float *token_scales; /* static encoders; or NULL */
	DsLinear patch; /* in the place of tokens, PATCHES */
	const float *class_token; /* or NULL */
	const float *positions;
	const float *types;
	const float *relative; /* [relative_buckets, heads] */
	DsNorm embedding_norm;
	DsEncoderLayer *layers;
	DsNorm final_norm;
	DsModules modules;
};

/* One forward pass, over some whole texts: sizes and scratch memory */
typedef struct DsPass
{
	const DsEncoder *encoder;
	const DsCancel *cancel;
	size_t longest; /* tokens of the longest text */
	/*
	 * Rows of floats have a stride that is not a multiple of a page, or the rows
	 * of a tile would share the few lines of one set of the first cache.
	 */
	float *x; /* [rows][ldx]: the stream */
	float *y; /* [rows][ldx] */
	float *qkv; /* [rows][ldq] */
	float *mid; /* [DS_PASS_ROWS][ldm] */
	size_t ldx;
	size_t ldq;
	size_t ldm;
	void *stage; /* [DS_PASS_ROWS] rows of bf16 or bytes */
	size_t lds; /* values from row to row */
	float *row_scales;
	int32_t *row_zeros;
	/* attention */
	bool narrow; /* products of attention in bf16 */
	void *keys; /* panels of one head */
	void *values;
	uint16_t *queries; /* bf16: [DS_SCORE_ROWS][head_dims] */
	uint16_t *weights; /* bf16: [DS_SCORE_ROWS][ldc] */
	float *scores; /* [DS_SCORE_ROWS][ldc] */
	size_t ldc;
	float *sums; /* [DS_SCORE_ROWS] */
	float *bias; /* [heads][2 longest - 1], by distance; NULL: none */
	/* [longest][rotary_dims / 2] of global and local layers; NULL: none */
	float *cosines[2];
	float *sines[2];
	size_t rotated; /* the length that they are for, where that matters */
} DsPass;

/* rows that go through a product at once, and tokens of a pass unless a text has more */
#define DS_PASS_ROWS 256
/* queries whose scores are computed at once */
#define DS_SCORE_ROWS 32

/* strides: see DsPass */
static inline size_t
ds_stride(size_t n)
{
	return (n + 15) / 16 * 16 + 16;
}

/*
 * c[rows, outs] = act(a linear) + residual.  DS_CANCELLED, or DS_OK.  Any number
 * of rows.
 */
extern DsCode ds_linear_run(DsPass *pass, const DsLinear *linear, size_t rows, const float *a,
							size_t lda, float *c, size_t ldc, uint32_t activation,
							const float *residual, size_t ldr);

/* Memory of attention in a pass, and the tables that depend on positions */
extern DsCode ds_attention_prepare(DsPass *pass, DsArena *arena, DsStatus *status);

/*
 * The attention of one text of n tokens in a layer: qkv[n][ldq] holds queries,
 * keys and values of all heads; the result takes the place of the queries.  Only
 * rows first .. first + count - 1 get one.
 */
extern DsCode ds_attention_run(DsPass *pass, uint32_t layer, float *qkv, size_t n, size_t first,
							   size_t count);

#endif /* DS_ENCODER_PRIVATE_H */
