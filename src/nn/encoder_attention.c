/*
 * encoder_attention.c
 *		Softmax attention of one text.
 *
 * For each head the keys are transposed to panels and the values copied to
 * panels, so that scores and weighted sums are products like all others
 * (encoder_kernels.h); then for 32 queries at a time: scores, softmax over the
 * keys that each query sees, weighted sum.  No score of another text is ever
 * computed, and of a window or behind a causal mask none but those in the
 * border's panels.
 */
#include "nn/encoder_positions.h"
#include "nn/encoder_private.h"

#include <math.h>
#include <string.h>

static void
prepare_angles(DsPass *pass, size_t n)
{
	const DsEncoderSpec *spec = &pass->encoder->spec;
	double base = (double) spec->rotary_base;
	size_t count = pass->longest > n ? pass->longest : n;

	if (spec->rotary_scaling > 0)
	{
		double s = (double) spec->rotary_scaling;

		count = n;
		if (n > spec->rotary_trained)
			base *= pow(s * (double) n / spec->rotary_trained - (s - 1),
						spec->rotary_dims / (spec->rotary_dims - 2.0));
	}
	ds_rotary_angles(spec, base, count, pass->cosines[0], pass->sines[0]);
	if (spec->window > 0 && spec->window_base > 0)
		ds_rotary_angles(spec, (double) spec->window_base, count, pass->cosines[1], pass->sines[1]);
	pass->rotated = n;
}

/* n tokens as the rows of panels of values */
static size_t
value_rows(size_t n)
{
	return (n + DS_VALUE_ROWS - 1) / DS_VALUE_ROWS * DS_VALUE_ROWS;
}

DsCode
ds_attention_prepare(DsPass *pass, DsArena *arena, DsStatus *status)
{
	const DsEncoderSpec *spec = &pass->encoder->spec;
	size_t n = pass->longest;
	size_t panels = (n + DS_PANEL - 1) / DS_PANEL;
	size_t value_panels = (spec->head_dims + DS_PANEL - 1) / DS_PANEL;
	size_t half = spec->rotary_dims / 2;

	pass->ldc = ds_stride(n);
	pass->keys = ds_arena_alloc(arena, panels * DS_PANEL * spec->head_dims, sizeof(float));
	pass->values = ds_arena_alloc(arena, value_panels * DS_PANEL * value_rows(n), sizeof(float));
	pass->scores = ds_arena_alloc(arena, DS_SCORE_ROWS * pass->ldc, sizeof(float));
	pass->sums = ds_arena_alloc(arena, DS_SCORE_ROWS, sizeof(float));
	pass->narrow = pass->encoder->precision != DS_PRECISION_F32 &&
				   pass->encoder->kernels->bf16_rows && spec->head_dims % 2 == 0;
	if (pass->narrow)
	{
		pass->queries = ds_arena_alloc(arena, DS_SCORE_ROWS * spec->head_dims, sizeof(uint16_t));
		pass->weights = ds_arena_alloc(arena, DS_SCORE_ROWS * pass->ldc, sizeof(uint16_t));
	}
	if (pass->keys == NULL || pass->values == NULL || pass->scores == NULL || pass->sums == NULL ||
		(pass->narrow && (pass->queries == NULL || pass->weights == NULL)))
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for the attention of %zu tokens",
					   n);
	if (spec->relative_buckets > 0)
	{
		size_t distances = 2 * n - 1;

		pass->bias = ds_arena_alloc(arena, spec->heads * distances, sizeof(float));
		if (pass->bias == NULL)
			return ds_fail(status, DS_OUT_OF_MEMORY,
						   "out of memory for the attention of %zu tokens", n);
		for (size_t i = 0; i < distances; i++)
		{
			const float *row =
				pass->encoder->relative +
				(size_t) ds_relative_bucket((int64_t) i - (int64_t) (n - 1), spec->relative_buckets,
											spec->relative_distance) *
					spec->heads;

			for (size_t h = 0; h < spec->heads; h++)
				pass->bias[h * distances + i] = row[h];
		}
	}
	for (int local = 0; half > 0 && local < (spec->window > 0 && spec->window_base > 0 ? 2 : 1);
		 local++)
	{
		pass->cosines[local] = ds_arena_alloc(arena, n * half, sizeof(float));
		pass->sines[local] = ds_arena_alloc(arena, n * half, sizeof(float));
		if (pass->cosines[local] == NULL || pass->sines[local] == NULL)
			return ds_fail(status, DS_OUT_OF_MEMORY,
						   "out of memory for the attention of %zu tokens", n);
	}
	pass->rotated = 0;
	if (half > 0 && !(spec->rotary_scaling > 0))
		prepare_angles(pass, n);
	return DS_OK;
}

/* Turn queries and keys of all heads by their positions */
static void
rotate_all(DsPass *pass, bool local, float *qkv, size_t n)
{
	const DsEncoderSpec *spec = &pass->encoder->spec;
	size_t half = spec->rotary_dims / 2;
	int table = local && pass->cosines[1] != NULL;

	if (spec->rotary_scaling > 0 && pass->rotated != n)
		prepare_angles(pass, n);
	for (size_t t = 0; t < n; t++)
	{
		const float *cosines = pass->cosines[table] + t * half;
		const float *sines = pass->sines[table] + t * half;

		/* queries, and behind them keys: heads are head_dims apart through both */
		for (size_t h = 0; h < 2 * (size_t) spec->heads; h++)
		{
			float *x = qkv + t * pass->ldq + h * spec->head_dims;

			if (!spec->rotary_interleaved)
				pass->encoder->kernels->rotate(x, cosines, sines, half);
			else
				for (size_t c = 0; c < half; c++)
				{
					float a = x[2 * c];
					float b = x[2 * c + 1];

					x[2 * c] = a * cosines[c] - b * sines[c];
					x[2 * c + 1] = b * cosines[c] + a * sines[c];
				}
		}
	}
}

/* Keys and values of one head as panels; the missing rows of the last one are zero */
static void
pack_head(DsPass *pass, const float *keys, const float *values, size_t n)
{
	const DsEncoderKernels *kernels = pass->encoder->kernels;
	size_t dims = pass->encoder->spec.head_dims;

	for (size_t t = 0; t < n; t += DS_PANEL)
	{
		size_t rows = n - t < DS_PANEL ? n - t : DS_PANEL;

		if (pass->narrow)
			kernels->transpose_bf16(keys + t * pass->ldq, rows, pass->ldq, dims,
									(uint16_t *) pass->keys + t * dims);
		else
			kernels->transpose(keys + t * pass->ldq, rows, pass->ldq, dims,
							   (float *) pass->keys + t * dims);
	}
	if (pass->narrow)
		kernels->columns_bf16(values, n, pass->ldq, dims, pass->values);
	else
		kernels->columns(values, n, pass->ldq, dims, pass->values);
}

/* values from .. to - 1 of a row of weights */
static void
clear(const DsPass *pass, size_t row, size_t from, size_t to)
{
	if (to <= from)
		return;
	if (pass->narrow)
		memset(pass->weights + row * pass->ldc + from, 0, (to - from) * sizeof(uint16_t));
	else
		memset(pass->scores + row * pass->ldc + from, 0, (to - from) * sizeof(float));
}

/* Queries first .. first + count - 1 (at most DS_SCORE_ROWS) of one head */
static void
attend(DsPass *pass, bool local, size_t head, float *queries, size_t n, size_t first, size_t count)
{
	const DsEncoderSpec *spec = &pass->encoder->spec;
	const DsEncoderKernels *kernels = pass->encoder->kernels;
	void (*multiply)(const DsProduct *) =
		pass->narrow ? kernels->product_bf16 : kernels->product_f32;
	size_t size = pass->narrow ? sizeof(uint16_t) : sizeof(float);
	size_t dims = spec->head_dims;
	size_t reach = local ? spec->window / 2 : n;
	size_t low = first > reach ? (first - reach) / DS_VALUE_ROWS * DS_VALUE_ROWS : 0;
	size_t end = spec->causal ? first + count : first + count + reach;
	size_t ins;
	float scale = 1.0f / sqrtf((float) dims);
	DsProduct product = {.rows = count, .ins = dims, .a = queries + first * pass->ldq};

	if (end > n)
		end = n;
	product.lda = pass->ldq;
	if (pass->narrow)
	{
		for (size_t r = 0; r < count; r++)
			kernels->to_bf16(queries + (first + r) * pass->ldq, dims, pass->queries + r * dims);
		product.a = pass->queries;
		product.lda = dims;
	}
	product.b = (char *) pass->keys + low * dims * size;
	product.outs = end - low;
	product.c = pass->scores;
	product.ldc = pass->ldc;
	multiply(&product);
	/* in bf16, pairs or whole tiles: the values behind the last one are zero, and their weights too */
	ins = end - low;
	if (pass->narrow)
		ins = (ins + kernels->bf16_ins - 1) / kernels->bf16_ins * kernels->bf16_ins;
	for (size_t r = 0; r < count; r++)
	{
		size_t query = first + r;
		size_t from = query > reach ? query - reach : 0;
		size_t to = spec->causal ? query + 1 : query + reach + 1;
		float *row = pass->scores + r * pass->ldc + from - low;
		const float *bias = NULL;
		float sum;

		if (to > n)
			to = n;
		if (pass->bias != NULL)
			bias = pass->bias + head * (2 * pass->longest - 1) + (pass->longest - 1) + from - query;
		sum = pass->narrow ? kernels->softmax_bf16(row, to - from, scale, bias,
												   pass->weights + r * pass->ldc + from - low)
						   : kernels->softmax(row, to - from, scale, bias);
		pass->sums[r] = 1.0f / sum;
		clear(pass, r, 0, from - low);
		clear(pass, r, to - low, ins);
	}
	product = (DsProduct){.rows = count,
						  .ins = ins,
						  .outs = dims,
						  .a = pass->scores,
						  .lda = pass->ldc,
						  .b = (char *) pass->values + low * DS_PANEL * size,
						  .stride = value_rows(n) * DS_PANEL,
						  .c = queries + first * pass->ldq,
						  .ldc = pass->ldq,
						  .row_scales = pass->sums};
	if (pass->narrow)
		product.a = pass->weights;
	multiply(&product);
}

DsCode
ds_attention_run(DsPass *pass, uint32_t layer, float *qkv, size_t n, size_t first, size_t count)
{
	const DsEncoderSpec *spec = &pass->encoder->spec;
	size_t width = (size_t) spec->heads * spec->head_dims;
	bool local = spec->window > 0 && layer % spec->global_every != 0;

	if (spec->rotary_dims > 0)
		rotate_all(pass, local, qkv, n);
	for (size_t head = 0; head < spec->heads; head++)
	{
		float *queries = qkv + head * spec->head_dims;

		pack_head(pass, queries + width, queries + 2 * width, n);
		for (size_t done = 0; done < count; done += DS_SCORE_ROWS)
		{
			size_t rows = count - done < DS_SCORE_ROWS ? count - done : DS_SCORE_ROWS;

			/* 32 x 64k x 64 products: some milliseconds */
			if (ds_cancelled(pass->cancel))
				return DS_CANCELLED;
			attend(pass, local, head, queries, n, first + done, rows);
		}
	}
	return DS_OK;
}
