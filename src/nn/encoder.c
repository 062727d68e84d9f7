/*
 * encoder.c
 *		The forward pass of pretrained encoders.
 *
 * Texts are taken as they come, some at a time until there are 256 tokens (160 in
 * f32), and their tokens put behind each other: everything but attention works token
 * by token, so there is nothing to pad and no need to sort by length.  So many rows
 * make good use of a weight once it is in the cache, and their activations stay
 * in the second and third level (docs/internals/nn.md has the measurement).
 */
#include "nn/encoder_private.h"

#include <math.h>
#include <string.h>

#define TRY(call)              \
	do                         \
	{                          \
		DsCode code_ = (call); \
		if (code_ != DS_OK)    \
			return code_;      \
	} while (0)

/* multiplications between two looks at cancel: a few milliseconds, some 20 in portable code */
#define CANCEL_WORK ((size_t) 1 << 28)

/*
 * Tokens of a pass in f32, where a product waits for its rows when these and their
 * results do not fit into the second level of cache
 */
#define F32_PASS_ROWS 160

/* The rows that a product of this precision reads, made from rows of floats */
static void
stage_rows(DsPass *pass, const DsLinear *linear, size_t rows, const float *a, size_t lda)
{
	const DsEncoderKernels *kernels = pass->encoder->kernels;

	for (size_t r = 0; r < rows; r++)
		if (linear->precision == DS_PRECISION_BF16)
			kernels->to_bf16(a + r * lda, linear->ins, (uint16_t *) pass->stage + r * pass->lds);
		else
			kernels->quantize(a + r * lda, linear->ins, kernels->quantize_top,
							  (uint8_t *) pass->stage + r * pass->lds, &pass->row_scales[r],
							  &pass->row_zeros[r]);
}

/* Up to DS_PASS_ROWS rows */
static DsCode
run_some(DsPass *pass, const DsLinear *linear, DsProduct *product)
{
	const DsEncoderKernels *kernels = pass->encoder->kernels;
	void (*multiply)(const DsProduct *) = kernels->product_f32;
	size_t size = sizeof(float);
	size_t step;

	if (linear->precision == DS_PRECISION_BF16)
	{
		multiply = kernels->product_bf16;
		size = sizeof(uint16_t);
	}
	else if (linear->precision == DS_PRECISION_INT8)
	{
		multiply = kernels->product_int8;
		size = 1;
	}
	if (linear->precision == DS_PRECISION_INT8 ||
		(linear->precision == DS_PRECISION_BF16 && kernels->bf16_rows))
	{
		stage_rows(pass, linear, product->rows, product->a, product->lda);
		product->a = pass->stage;
		product->lda = pass->lds;
	}
	/* outputs at once, in threes of panels */
	step = CANCEL_WORK / (product->rows * linear->ins) / (3 * DS_PANEL) * (3 * DS_PANEL);
	if (step == 0)
		step = 3 * DS_PANEL;
	for (size_t out = 0; out < linear->outs; out += step)
	{
		DsProduct part = *product;

		if (ds_cancelled(pass->cancel))
			return DS_CANCELLED;
		part.outs = linear->outs - out < step ? linear->outs - out : step;
		part.b = (const char *) linear->panels + out * linear->ins * size;
		part.c += out;
		if (linear->bias != NULL)
			part.bias = linear->bias + out;
		if (part.residual != NULL)
			part.residual += out;
		if (linear->precision == DS_PRECISION_INT8)
		{
			part.row_scales = pass->row_scales;
			part.row_zeros = pass->row_zeros;
			part.column_scales = linear->scales + out;
			part.column_sums = linear->sums + out;
		}
		multiply(&part);
	}
	return DS_OK;
}

DsCode
ds_linear_run(DsPass *pass, const DsLinear *linear, size_t rows, const float *a, size_t lda,
			  float *c, size_t ldc, uint32_t activation, const float *residual, size_t ldr)
{
	for (size_t row = 0; row < rows; row += DS_PASS_ROWS)
	{
		DsProduct product = {.rows = rows - row < DS_PASS_ROWS ? rows - row : DS_PASS_ROWS,
							 .ins = linear->ins,
							 .a = a + row * lda,
							 .lda = lda,
							 .c = c + row * ldc,
							 .ldc = ldc,
							 .activation = activation,
							 .residual = residual != NULL ? residual + row * ldr : NULL,
							 .ldr = ldr};

		TRY(run_some(pass, linear, &product));
	}
	return DS_OK;
}

static void
norm_rows(const DsPass *pass, const DsNorm *norm, size_t rows, const float *x, float *out)
{
	const DsEncoderSpec *spec = &pass->encoder->spec;

	for (size_t r = 0; r < rows; r++)
		pass->encoder->kernels->norm(x + r * pass->ldx, spec->hidden, norm->weight, norm->bias,
									 spec->norm_epsilon, out + r * pass->ldx);
}

/* The row of a token in the table of tokens, times factor, on top of x */
static void
add_token(const DsEncoder *encoder, uint32_t row, float factor, float *x)
{
	size_t hidden = encoder->spec.hidden;

	if (encoder->precision == DS_PRECISION_F32)
		encoder->kernels->add_scaled(x, (const float *) encoder->tokens + row * hidden, hidden,
									 factor);
	else
		encoder->kernels->add_scaled_bf16(x, (const uint16_t *) encoder->tokens + row * hidden,
										  hidden, factor);
}

/* Pictures first .. last - 1 of a batch: the patches' first vectors */
static DsCode
embed_patches(DsPass *pass, const DsEncoderBatch *batch, size_t first, size_t last)
{
	const DsEncoder *encoder = pass->encoder;
	const DsEncoderSpec *spec = &encoder->spec;
	size_t hidden = spec->hidden;
	float *x = pass->x;

	for (size_t text = first; text < last; text++)
	{
		size_t n = batch->starts[text + 1] - batch->starts[text];
		/* each picture before this one has a class token that is no patch */
		size_t patch = batch->starts[text] - (spec->class_token ? text : 0);
		const float *positions = encoder->positions;

		if (n == 0)
			continue;
		if (positions != NULL)
			positions += spec->position_offset * hidden;
		if (spec->class_token)
		{
			memcpy(x, encoder->class_token, hidden * sizeof(float));
			if (positions != NULL)
			{
				encoder->kernels->add(x, positions, hidden);
				positions += hidden;
			}
			x += pass->ldx;
			n--;
		}
		TRY(ds_linear_run(pass, &encoder->patch, n, batch->patches + patch * spec->patch_dims,
						  spec->patch_dims, x, pass->ldx, DS_ACT_IDENTITY, positions, hidden));
		x += n * pass->ldx;
	}
	if (spec->embedding_norm)
		norm_rows(pass, &encoder->embedding_norm, batch->starts[last] - batch->starts[first],
				  pass->x, pass->x);
	return DS_OK;
}

/* Texts first .. last - 1 of a batch: the tokens' first vectors */
static void
embed(DsPass *pass, const DsEncoderBatch *batch, size_t first, size_t last)
{
	const DsEncoder *encoder = pass->encoder;
	const DsEncoderSpec *spec = &encoder->spec;
	size_t hidden = spec->hidden;
	float *x = pass->x;

	for (size_t text = first; text < last; text++)
		for (uint32_t t = batch->starts[text]; t < batch->starts[text + 1]; t++, x += pass->ldx)
		{
			size_t position = spec->position_offset + (t - batch->starts[text]);
			size_t type = batch->types != NULL ? batch->types[t] : 0;

			memset(x, 0, hidden * sizeof(float));
			add_token(encoder, batch->ids[t], 1, x);
			if (spec->positions > 0)
				encoder->kernels->add(x, encoder->positions + position * hidden, hidden);
			if (spec->types > 0)
				encoder->kernels->add(x, encoder->types + type * hidden, hidden);
			if (spec->embedding_norm)
				encoder->kernels->norm(x, hidden, encoder->embedding_norm.weight,
									   encoder->embedding_norm.bias, spec->norm_epsilon, x);
		}
}

/* x = mlp(x) with its norm and residual, of some rows; y is scratch */
static DsCode
run_mlp(DsPass *pass, const DsEncoderLayer *layer, size_t rows)
{
	const DsEncoderSpec *spec = &pass->encoder->spec;
	float *swap = pass->x;

	for (size_t row = 0; row < rows; row += DS_PASS_ROWS)
	{
		size_t n = rows - row < DS_PASS_ROWS ? rows - row : DS_PASS_ROWS;
		float *x = pass->x + row * pass->ldx;
		float *y = pass->y + row * pass->ldx;
		const float *in = x;

		if (spec->norm_first)
		{
			norm_rows(pass, &layer->mlp_norm, n, x, y);
			in = y;
		}
		TRY(ds_linear_run(pass, &layer->up, n, in, pass->ldx, pass->mid, pass->ldm,
						  spec->gated ? (uint32_t) DS_ACT_IDENTITY : spec->activation, NULL, 0));
		for (size_t r = 0; spec->gated && r < n; r++)
			pass->encoder->kernels->gate(pass->mid + r * pass->ldm,
										 pass->mid + r * pass->ldm + spec->intermediate,
										 spec->intermediate, spec->activation);
		TRY(ds_linear_run(pass, &layer->down, n, pass->mid, pass->ldm, y, pass->ldx,
						  DS_ACT_IDENTITY, x, pass->ldx));
		if (!spec->norm_first)
			norm_rows(pass, &layer->mlp_norm, n, y, y);
	}
	pass->x = pass->y;
	pass->y = swap;
	return DS_OK;
}

/*
 * One layer.  starts[0 .. texts] are the texts' first rows in the pass.  With
 * only != NULL (the last layer, when the pooling looks at some tokens only),
 * what follows the keys and values is computed for row only[t] of text t alone,
 * and x has a row for each text then.
 */
static DsCode
run_layer(DsPass *pass, uint32_t number, const uint32_t *starts, size_t texts, const uint32_t *only)
{
	const DsEncoder *encoder = pass->encoder;
	const DsEncoderSpec *spec = &encoder->spec;
	const DsEncoderLayer *layer = &encoder->layers[number];
	size_t rows = starts[texts] - starts[0];
	const float *in = pass->x;
	float *swap;

	if (spec->norm_first && layer->attention_norm.weight != NULL)
	{
		norm_rows(pass, &layer->attention_norm, rows, pass->x, pass->y);
		in = pass->y;
	}
	TRY(ds_linear_run(pass, &layer->qkv, rows, in, pass->ldx, pass->qkv, pass->ldq, DS_ACT_IDENTITY,
					  NULL, 0));
	for (size_t text = 0; text < texts; text++)
	{
		size_t n = starts[text + 1] - starts[text];
		float *qkv = pass->qkv + (starts[text] - starts[0]) * pass->ldq;

		if (n == 0)
			continue;
		if (only == NULL)
			TRY(ds_attention_run(pass, number, qkv, n, 0, n));
		else
			TRY(ds_attention_run(pass, number, qkv, n, only[text], 1));
	}
	if (only != NULL)
	{
		size_t kept = 0;

		for (size_t text = 0; text < texts; text++)
		{
			size_t row = starts[text] - starts[0] + only[text];

			if (starts[text + 1] == starts[text])
				continue;
			/* downwards, and never behind what is read */
			memmove(pass->qkv + kept * pass->ldq, pass->qkv + row * pass->ldq,
					(size_t) spec->heads * spec->head_dims * sizeof(float));
			memmove(pass->x + kept * pass->ldx, pass->x + row * pass->ldx,
					spec->hidden * sizeof(float));
			kept++;
		}
		rows = kept;
	}
	TRY(ds_linear_run(pass, &layer->out, rows, pass->qkv, pass->ldq, pass->y, pass->ldx,
					  DS_ACT_IDENTITY, pass->x, pass->ldx));
	if (!spec->norm_first)
		norm_rows(pass, &layer->attention_norm, rows, pass->y, pass->y);
	swap = pass->x;
	pass->x = pass->y;
	pass->y = swap;
	return run_mlp(pass, layer, rows);
}

/* The token of a text that DS_POOL_EOT stands for */
static size_t
eot_row(const DsEncoderSpec *spec, const uint32_t *ids, size_t n)
{
	for (size_t t = 0; t < n; t++)
		if (ids[t] == spec->eot_id)
			return t;
	return n - 1;
}

/* n rows of x to the vector of a text */
static void
pool(const DsPass *pass, const float *x, size_t n, const uint32_t *ids, float *out)
{
	const DsEncoderSpec *spec = &pass->encoder->spec;
	const DsEncoderKernels *kernels = pass->encoder->kernels;
	size_t hidden = spec->hidden;

	memset(out, 0, ds_spec_pooled_dims(spec) * sizeof(float));
	if (n == 0)
		return;
	for (uint32_t one = 1; one <= DS_POOL_EOT; one <<= 1)
	{
		size_t skip = spec->pool_skip < n ? spec->pool_skip : 0;
		double count = (double) (n - skip);
		double sum = one == DS_POOL_MEAN			? count
					 : one == DS_POOL_MEAN_SQRT		? sqrt(count)
					 : one == DS_POOL_WEIGHTED_MEAN ? count * (count + 1) / 2
													: 0;

		if (!(spec->pooling & one))
			continue;
		if (sum > 0)
			for (size_t t = skip; t < n; t++)
				kernels->add_scaled(
					out, x + t * pass->ldx, hidden,
					(float) ((one == DS_POOL_WEIGHTED_MEAN ? (double) (t - skip + 1) : 1) / sum));
		else
		{
			size_t row = one == DS_POOL_LAST  ? n - 1
						 : one == DS_POOL_EOT ? eot_row(spec, ids, n)
						 : one == DS_POOL_MAX ? skip
											  : 0;

			memcpy(out, x + row * pass->ldx, hidden * sizeof(float));
			for (size_t t = skip + 1; one == DS_POOL_MAX && t < n; t++)
				kernels->larger(out, x + t * pass->ldx, hidden);
		}
		out += hidden;
	}
}

static DsCode
check_batch(const DsEncoderSpec *spec, const DsEncoderBatch *batch, DsStatus *status)
{
	for (size_t text = 0; text < batch->texts; text++)
	{
		uint32_t start = batch->starts[text];
		uint32_t end = batch->starts[text + 1];

		if (end < start)
			return ds_fail(status, DS_INVALID, "the texts of a batch are not in order");
		if (end - start > spec->max_tokens)
			return ds_fail(status, DS_INVALID, "a text has %u tokens, the model takes %u",
						   end - start, spec->max_tokens);
		if (spec->kind == DS_ENCODER_PATCHES)
		{
			if (end == start)
				return ds_fail(status, DS_INVALID, "a picture has no patches");
			continue;
		}
		for (uint32_t t = start; t < end; t++)
		{
			if (batch->ids[t] >= spec->vocabulary)
				return ds_fail(status, DS_INVALID, "token %u is not in a vocabulary of %u",
							   batch->ids[t], spec->vocabulary);
			if (spec->types > 0 && batch->types != NULL && batch->types[t] >= spec->types)
				return ds_fail(status, DS_INVALID, "token type %u, the model has %u",
							   batch->types[t], spec->types);
		}
	}
	return DS_OK;
}

/* The end of the texts that go through the layers together, from first on */
static size_t
pass_end(const DsEncoder *encoder, const DsEncoderBatch *batch, size_t first)
{
	size_t last = first + 1;
	size_t most = encoder->precision == DS_PRECISION_F32 ? F32_PASS_ROWS : DS_PASS_ROWS;

	while (last < batch->texts && batch->starts[last + 1] - batch->starts[first] <= most)
		last++;
	return last;
}

static DsCode
run_static(DsPass *pass, const DsEncoderBatch *batch, float *v, float *next, float *out)
{
	const DsEncoder *encoder = pass->encoder;
	const DsEncoderSpec *spec = &encoder->spec;

	for (size_t text = 0; text < batch->texts; text++, out += ds_spec_dims(spec))
	{
		uint32_t n = batch->starts[text + 1] - batch->starts[text];

		if (text % 64 == 0 && ds_cancelled(pass->cancel))
			return DS_CANCELLED;
		memset(v, 0, spec->hidden * sizeof(float));
		for (uint32_t t = batch->starts[text]; t < batch->starts[text + 1]; t++)
		{
			uint32_t id = batch->ids[t];
			uint32_t row = encoder->token_rows != NULL ? encoder->token_rows[id] : id;
			float scale = encoder->token_scales != NULL ? encoder->token_scales[id] : 1.0f;

			/* the file of weights may have been damaged since */
			if (row < spec->static_rows)
				add_token(encoder, row, scale / (float) n, v);
		}
		TRY(ds_modules_run(&encoder->modules, ds_spec_pooled_dims(spec), v, next, out,
						   pass->cancel));
	}
	return DS_OK;
}

/* Scratch memory for rows tokens at once, and for modules */
static DsCode
prepare(DsPass *pass, size_t rows, DsArena *arena, DsStatus *status)
{
	const DsEncoder *encoder = pass->encoder;
	const DsEncoderSpec *spec = &encoder->spec;
	size_t width = (size_t) spec->heads * spec->head_dims;
	size_t some = rows < DS_PASS_ROWS ? rows : DS_PASS_ROWS;
	size_t inner = (size_t) spec->intermediate * (spec->gated ? 2 : 1);
	size_t widest = spec->hidden;

	widest = widest > width ? widest : width;
	widest = widest > spec->intermediate ? widest : spec->intermediate;
	widest = widest > spec->patch_dims ? widest : spec->patch_dims;
	pass->ldx = ds_stride(spec->hidden);
	pass->ldq = ds_stride(3 * width);
	pass->ldm = ds_stride(inner);
	/* in bytes 64 more than a multiple of 64, so that rows do not share a set of the cache */
	pass->lds = (widest + 63) / 64 * 64 + 64;
	pass->x = ds_arena_alloc(arena, rows * pass->ldx, sizeof(float));
	pass->y = ds_arena_alloc(arena, rows * pass->ldx, sizeof(float));
	pass->qkv = ds_arena_alloc(arena, rows * pass->ldq, sizeof(float));
	pass->mid = ds_arena_alloc(arena, some * pass->ldm, sizeof(float));
	pass->stage = ds_arena_alloc(arena, some * pass->lds, sizeof(uint16_t));
	pass->row_scales = ds_arena_alloc(arena, some, sizeof(float));
	pass->row_zeros = ds_arena_alloc(arena, some, sizeof(int32_t));
	if (pass->x == NULL || pass->y == NULL || pass->qkv == NULL || pass->mid == NULL ||
		pass->stage == NULL || pass->row_scales == NULL || pass->row_zeros == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %zu tokens", rows);
	return ds_attention_prepare(pass, arena, status);
}

/* The token that alone matters behind the last layer; false if several do */
static bool
only_rows(const DsEncoderSpec *spec, const DsEncoderBatch *batch, size_t first, size_t last,
		  uint32_t *only)
{
	if (spec->pooling != DS_POOL_CLS && spec->pooling != DS_POOL_LAST &&
		spec->pooling != DS_POOL_EOT)
		return false;
	for (size_t text = first; text < last; text++)
	{
		size_t n = batch->starts[text + 1] - batch->starts[text];

		only[text - first] = n == 0 || spec->pooling == DS_POOL_CLS ? 0
							 : spec->pooling == DS_POOL_LAST
								 ? (uint32_t) (n - 1)
								 : (uint32_t) eot_row(spec, batch->ids + batch->starts[text], n);
	}
	return true;
}

/* Texts first .. last - 1, with all memory there */
static DsCode
run_pass(DsPass *pass, const DsEncoderBatch *batch, size_t first, size_t last, uint32_t *only,
		 float *v, float *next, float *out)
{
	const DsEncoder *encoder = pass->encoder;
	const DsEncoderSpec *spec = &encoder->spec;
	const uint32_t *starts = batch->starts + first;
	size_t texts = last - first;
	bool few = only_rows(spec, batch, first, last, only);
	size_t rows = starts[texts] - starts[0];
	size_t row = 0;

	if (spec->kind == DS_ENCODER_PATCHES)
		TRY(embed_patches(pass, batch, first, last));
	else
		embed(pass, batch, first, last);
	for (uint32_t layer = 0; layer < spec->layers; layer++)
		TRY(run_layer(pass, layer, starts, texts, few && layer + 1 == spec->layers ? only : NULL));
	if (few)
	{
		rows = 0;
		for (size_t text = 0; text < texts; text++)
			rows += starts[text + 1] > starts[text];
	}
	if (spec->final_norm)
		norm_rows(pass, &encoder->final_norm, rows, pass->x, pass->x);
	for (size_t text = 0; text < texts; text++, out += ds_spec_dims(spec))
	{
		size_t n = starts[text + 1] - starts[text];
		size_t kept = few && n > 0 ? 1 : n;

		pool(pass, pass->x + row * pass->ldx, kept,
			 few || batch->ids == NULL ? &spec->eot_id : batch->ids + starts[text], v);
		row += kept;
		TRY(ds_modules_run(&encoder->modules, ds_spec_pooled_dims(spec), v, next, out,
						   pass->cancel));
	}
	return DS_OK;
}

static DsCode
run_batch(DsPass *pass, const DsEncoderBatch *batch, float *out, DsArena *arena, DsStatus *status)
{
	const DsEncoderSpec *spec = &pass->encoder->spec;
	size_t dims = ds_spec_dims(spec);
	size_t widest = ds_modules_widest(&pass->encoder->modules, ds_spec_pooled_dims(spec));
	size_t rows = 1;
	size_t texts = 1;
	float *v;
	float *next;
	uint32_t *only;

	TRY(check_batch(spec, batch, status));
	pass->longest = 1;
	for (size_t first = 0; first < batch->texts;)
	{
		size_t last = pass_end(pass->encoder, batch, first);
		size_t n = batch->starts[last] - batch->starts[first];

		rows = n > rows ? n : rows;
		texts = last - first > texts ? last - first : texts;
		for (size_t text = first; text < last; text++)
		{
			n = batch->starts[text + 1] - batch->starts[text];
			pass->longest = n > pass->longest ? n : pass->longest;
		}
		first = last;
	}
	v = ds_arena_alloc(arena, widest, sizeof(float));
	next = ds_arena_alloc(arena, widest, sizeof(float));
	only = ds_arena_alloc(arena, texts, sizeof(uint32_t));
	if (v == NULL || next == NULL || only == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %zu texts", texts);
	if (spec->kind == DS_ENCODER_STATIC)
		return run_static(pass, batch, v, next, out);
	TRY(prepare(pass, rows, arena, status));
	for (size_t first = 0; first < batch->texts;)
	{
		size_t last = pass_end(pass->encoder, batch, first);

		TRY(run_pass(pass, batch, first, last, only, v, next, out + first * dims));
		first = last;
	}
	return DS_OK;
}

DsCode
ds_encoder_run(const DsEncoder *encoder, const DsEncoderBatch *batch, float *out, DsArena *arena,
			   const DsCancel *cancel, DsStatus *status)
{
	DsPass pass = {.encoder = encoder, .cancel = cancel};
	DsArenaMark mark = ds_arena_mark(arena);
	DsCode code = run_batch(&pass, batch, out, arena, status);

	ds_arena_rewind(arena, mark);
	return code;
}
