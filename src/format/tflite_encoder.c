/*
 * tflite_encoder.c
 *		An encoder of texts as a file of TensorFlow Lite.
 *
 * The computation of encoder_spec.h, one text of a fixed number of tokens:
 *
 *	 x [tokens, hidden], heads [heads, tokens, head_dims], scores [heads, tokens, tokens]
 *
 * What the forward pass leaves out by having no padding, a mask leaves out here: scores
 * of keys behind the text get -1e9 before the softmax, so that nothing of them is
 * left in float; and each pooling but the maximum is a product with a row of
 * weights, zero behind the text, which are computed from the mask:
 *
 *	 v = weights [1, tokens] times x
 *
 * Position numbers start at a text's first token, so the table of positions
 * becomes a constant, and with it the row of the only token type.
 */
#include "format/tflite.h"
#include "format/tflite_graph.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/encoder_positions.h"

#define MASKED (-1e9f)

typedef struct Encoder
{
	DsTfGraph graph;
	const DsEncoderSpec *spec;
	uint32_t tokens;
	DsTfTensor ids; /* I32 [1, tokens] */
	DsTfTensor mask; /* F32 [1, tokens] */
	DsTfTensor bias[2]; /* what is added to scores: global layers, local ones */
	DsTfTensor cosines[2]; /* [tokens, rotary_dims / 2] */
	DsTfTensor sines[2];
} Encoder;

/* What this format, or this writer, has no counterpart of; NULL: all is well */
static const char *
unsupported(const DsEncoderSpec *spec, uint32_t tokens)
{
	if (spec->kind == DS_ENCODER_PATCHES)
		return "a network over pictures";
	if (spec->rotary_scaling > 0 && tokens > spec->rotary_trained)
		return "a rotation that depends on the length of the text (rotary_scaling), with more "
			   "tokens than rotary_trained";
	return NULL;
}

static DsTfTensor
add(Encoder *e, DsTfTensor a, DsTfTensor b)
{
	return ds_tf_binary(&e->graph, DS_TF_ADD, a, b);
}

static DsTfTensor
mul(Encoder *e, DsTfTensor a, DsTfTensor b)
{
	return ds_tf_binary(&e->graph, DS_TF_MUL, a, b);
}

static DsTfTensor
sub(Encoder *e, DsTfTensor a, DsTfTensor b)
{
	return ds_tf_binary(&e->graph, DS_TF_SUB, a, b);
}

static DsTfTensor
number(Encoder *e, double value)
{
	return ds_tf_number(&e->graph, value);
}

static float *
numbers(Encoder *e, size_t rows, size_t columns)
{
	size_t count;
	float *array = NULL;

	if (e->graph.code == DS_OK &&
		(!ds_size_mul(rows, columns, &count) ||
		 (array = ds_arena_zero(e->graph.arena, count, sizeof(float))) == NULL))
		ds_tf_fail(&e->graph, DS_OUT_OF_MEMORY, "out of memory");
	return array;
}

static DsTfTensor
activate(Encoder *e, DsTfTensor x, uint32_t activation)
{
	switch (activation)
	{
		case DS_ACT_GELU:
			return ds_tf_gelu(&e->graph, x, false);
		case DS_ACT_GELU_TANH:
			return ds_tf_gelu(&e->graph, x, true);
		case DS_ACT_QUICK_GELU:
			return mul(e, x, ds_tf_unary(&e->graph, DS_TF_LOGISTIC, mul(e, x, number(e, 1.702))));
		case DS_ACT_RELU:
			return ds_tf_unary(&e->graph, DS_TF_RELU, x);
		case DS_ACT_SILU:
			return mul(e, x, ds_tf_unary(&e->graph, DS_TF_LOGISTIC, x));
		case DS_ACT_TANH:
			return ds_tf_unary(&e->graph, DS_TF_TANH, x);
		case DS_ACT_SIGMOID:
			return ds_tf_unary(&e->graph, DS_TF_LOGISTIC, x);
		default: /* IDENTITY */
			return x;
	}
}

/* ---- before the layers ---- */

/* [tokens, hidden]: what each position adds to a token, whatever it is */
static DsTfTensor
positions(Encoder *e)
{
	const DsEncoderSpec *spec = e->spec;
	size_t hidden = spec->hidden;
	float *sum = numbers(e, e->tokens, hidden);
	const float *table = NULL;
	const float *type = NULL;

	if (spec->positions > 0)
		table = ds_tf_read(&e->graph, "position.weight", (uint64_t) hidden * spec->positions,
						   ((size_t) spec->position_offset + e->tokens) * hidden);
	if (spec->types > 0 && !spec->scores)
		type = ds_tf_read(&e->graph, "type.weight", (uint64_t) hidden * spec->types, hidden);
	if (e->graph.code != DS_OK)
		return DS_TF_NONE;
	for (size_t t = 0; t < e->tokens; t++)
		for (size_t i = 0; i < hidden; i++)
		{
			if (table != NULL)
				sum[t * hidden + i] += table[(spec->position_offset + t) * hidden + i];
			if (type != NULL)
				sum[t * hidden + i] += type[i];
		}
	return ds_tf_constant(&e->graph, DS_TF_F32, DS_TF_SHAPE(e->tokens, spec->hidden), sum);
}

static DsTfTensor
embed(Encoder *e)
{
	const DsEncoderSpec *spec = e->spec;
	DsTfGraph *graph = &e->graph;
	DsTfTensor x = ds_tf_lookup(graph, "token.weight", spec->vocabulary, spec->hidden,
								ds_tf_reshape(graph, e->ids, DS_TF_SHAPE(e->tokens)));

	if (spec->positions > 0 || (spec->types > 0 && !spec->scores))
		x = add(e, x, positions(e));
	if (spec->types > 0 && spec->scores)
	{
		DsTfTensor types =
			ds_tf_input(graph, "token_type_ids", DS_TF_I32, DS_TF_SHAPE(1, e->tokens));
		DsTfTensor table =
			ds_tf_stored(graph, "type.weight", DS_TF_F32, DS_TF_SHAPE(spec->types, spec->hidden));

		x = add(e, x,
				ds_tf_gather(graph, table, ds_tf_reshape(graph, types, DS_TF_SHAPE(e->tokens))));
	}
	if (spec->embedding_norm)
		x = ds_tf_norm(graph, x, "embedding.norm", spec->norm_bias, (double) spec->norm_epsilon);
	return x;
}

/* MASKED where a query [1, tokens, 1] does not look at a key [1, 1, tokens], whatever the text */
static DsTfTensor
pattern(Encoder *e, bool local)
{
	size_t n = e->tokens;
	size_t reach = local ? e->spec->window / 2 : n;
	float *cells = numbers(e, n, n);

	if (cells == NULL)
		return DS_TF_NONE;
	for (size_t query = 0; query < n; query++)
		for (size_t key = 0; key < n; key++)
			if ((key > query && (e->spec->causal || key - query > reach)) ||
				(query > key && query - key > reach))
				cells[query * n + key] = MASKED;
	return ds_tf_constant(&e->graph, DS_TF_F32, DS_TF_SHAPE(1, e->tokens, e->tokens), cells);
}

/* [heads, tokens, tokens]: the bias of relative positions */
static DsTfTensor
relative(Encoder *e)
{
	const DsEncoderSpec *spec = e->spec;
	size_t n = e->tokens;
	/* bits of integers, in an array of the same size */
	void *bits = numbers(e, n, n);
	uint32_t *buckets = bits;
	DsTfTensor rows;

	if (buckets == NULL)
		return DS_TF_NONE;
	for (size_t query = 0; query < n; query++)
		for (size_t key = 0; key < n; key++)
			buckets[query * n + key] = ds_relative_bucket(
				(int64_t) key - (int64_t) query, spec->relative_buckets, spec->relative_distance);
	rows = ds_tf_gather(
		&e->graph,
		ds_tf_stored(&e->graph, "relative.weight", DS_TF_F32,
					 DS_TF_SHAPE(spec->relative_buckets, spec->heads)),
		ds_tf_constant(&e->graph, DS_TF_I32, DS_TF_SHAPE(e->tokens, e->tokens), buckets));
	return ds_tf_transpose(&e->graph, rows, DS_TF_SHAPE(2, 0, 1));
}

static void
prepare_attention(Encoder *e)
{
	const DsEncoderSpec *spec = e->spec;
	DsTfGraph *graph = &e->graph;
	uint32_t half = spec->rotary_dims / 2;
	DsTfTensor keys = mul(e, sub(e, e->mask, number(e, 1)), number(e, -(double) MASKED));

	keys = ds_tf_reshape(graph, keys, DS_TF_SHAPE(1, 1, e->tokens));
	if (spec->relative_buckets > 0)
		keys = add(e, relative(e), keys);
	e->bias[0] = spec->causal ? add(e, pattern(e, false), keys) : keys;
	if (spec->window > 0)
		e->bias[1] = add(e, pattern(e, true), keys);
	for (int local = 0; half > 0 && local < (spec->window > 0 && spec->window_base > 0 ? 2 : 1);
		 local++)
	{
		float *cosines = numbers(e, e->tokens, half);
		float *sines = numbers(e, e->tokens, half);

		if (graph->code != DS_OK)
			return;
		ds_rotary_angles(spec, (double) (local ? spec->window_base : spec->rotary_base), e->tokens,
						 cosines, sines);
		e->cosines[local] = ds_tf_constant(graph, DS_TF_F32, DS_TF_SHAPE(e->tokens, half), cosines);
		e->sines[local] = ds_tf_constant(graph, DS_TF_F32, DS_TF_SHAPE(e->tokens, half), sines);
	}
}

/* ---- layers ---- */

static DsTfTensor
linear(Encoder *e, DsTfTensor x, uint32_t layer, const char *name, uint32_t outs, bool bias)
{
	char full[DS_SPEC_NAME];
	DsTfDense dense = {.name = full, .outs = outs, .bias = bias};

	snprintf(full, sizeof(full), "layer.%u.%s", layer, name);
	return ds_tf_dense(&e->graph, x, &dense);
}

static DsTfTensor
layer_norm(Encoder *e, DsTfTensor x, uint32_t layer, const char *name)
{
	char full[DS_SPEC_NAME];

	snprintf(full, sizeof(full), "layer.%u.%s.norm", layer, name);
	return ds_tf_norm(&e->graph, x, full, e->spec->norm_bias, (double) e->spec->norm_epsilon);
}

/* Queries, keys and values, each [heads, tokens, head_dims] */
static void
project(Encoder *e, DsTfTensor x, uint32_t layer, DsTfTensor *qkv)
{
	static const char *const names[] = {"attention.query", "attention.key", "attention.value"};
	const DsEncoderSpec *spec = e->spec;
	DsTfGraph *graph = &e->graph;
	uint32_t width = spec->heads * spec->head_dims;

	if (spec->qkv_fused)
	{
		x = linear(e, x, layer, "attention.qkv", 3 * width, spec->qkv_bias);
		x = ds_tf_reshape(graph, x, DS_TF_SHAPE(e->tokens, 3, spec->heads, spec->head_dims));
		ds_tf_unpack(graph, ds_tf_transpose(graph, x, DS_TF_SHAPE(1, 2, 0, 3)), qkv, 3);
		return;
	}
	for (int i = 0; i < 3; i++)
	{
		DsTfTensor y = linear(e, x, layer, names[i], width, spec->qkv_bias);

		y = ds_tf_reshape(graph, y, DS_TF_SHAPE(e->tokens, spec->heads, spec->head_dims));
		qkv[i] = ds_tf_transpose(graph, y, DS_TF_SHAPE(1, 0, 2));
	}
}

/* Components c and c + half of the first 2 half of each head, or 2 c and 2 c + 1: which is 0 or 1 */
static DsTfTensor
rotated_half(Encoder *e, DsTfTensor x, uint32_t which)
{
	DsTfGraph *graph = &e->graph;
	uint32_t half = e->spec->rotary_dims / 2;

	if (!e->spec->rotary_interleaved)
		return ds_tf_slice(graph, x, 2, which * half, half);
	x = ds_tf_slice(graph, x, 2, 0, 2 * half);
	x = ds_tf_reshape(graph, x, DS_TF_SHAPE(e->spec->heads, e->tokens, half, 2));
	return ds_tf_reshape(graph, ds_tf_slice(graph, x, 3, which, 1),
						 DS_TF_SHAPE(e->spec->heads, e->tokens, half));
}

/* The first rotary_dims components of each head, turned by their position */
static DsTfTensor
rotate(Encoder *e, DsTfTensor x, int table)
{
	DsTfGraph *graph = &e->graph;
	uint32_t heads = e->spec->heads;
	uint32_t half = e->spec->rotary_dims / 2;
	uint32_t rest = e->spec->head_dims - 2 * half;
	DsTfTensor a = rotated_half(e, x, 0);
	DsTfTensor b = rotated_half(e, x, 1);
	DsTfTensor parts[3];
	uint32_t count = 2;

	parts[0] = sub(e, mul(e, a, e->cosines[table]), mul(e, b, e->sines[table]));
	parts[1] = add(e, mul(e, b, e->cosines[table]), mul(e, a, e->sines[table]));
	if (e->spec->rotary_interleaved)
	{
		for (int i = 0; i < 2; i++)
			parts[i] = ds_tf_reshape(graph, parts[i], DS_TF_SHAPE(heads, e->tokens, half, 1));
		parts[0] = ds_tf_reshape(graph, ds_tf_concat(graph, parts, 2, 3),
								 DS_TF_SHAPE(heads, e->tokens, 2 * half));
		count = 1;
	}
	if (rest > 0)
		parts[count++] = ds_tf_slice(graph, x, 2, 2 * half, rest);
	return ds_tf_concat(graph, parts, count, 2);
}

static DsTfTensor
attention(Encoder *e, DsTfTensor x, uint32_t layer)
{
	const DsEncoderSpec *spec = e->spec;
	DsTfGraph *graph = &e->graph;
	bool local = spec->window > 0 && layer % spec->global_every != 0;
	DsTfTensor qkv[3] = {DS_TF_NONE, DS_TF_NONE, DS_TF_NONE};
	DsTfTensor scores;

	project(e, x, layer, qkv);
	if (spec->rotary_dims > 0)
	{
		int table = local && spec->window_base > 0;

		qkv[0] = rotate(e, qkv[0], table);
		qkv[1] = rotate(e, qkv[1], table);
	}
	qkv[0] = mul(e, qkv[0], number(e, 1 / sqrt((double) spec->head_dims)));
	scores = ds_tf_multiply(graph, qkv[0], qkv[1], true);
	scores = ds_tf_unary(graph, DS_TF_SOFTMAX, add(e, scores, e->bias[local]));
	x = ds_tf_transpose(graph, ds_tf_multiply(graph, scores, qkv[2], false), DS_TF_SHAPE(1, 0, 2));
	x = ds_tf_reshape(graph, x, DS_TF_SHAPE(e->tokens, spec->heads * spec->head_dims));
	return linear(e, x, layer, "attention.out", spec->hidden, spec->out_bias);
}

static DsTfTensor
mlp(Encoder *e, DsTfTensor x, uint32_t layer)
{
	const DsEncoderSpec *spec = e->spec;
	uint32_t inner = spec->intermediate;
	DsTfTensor up;

	if (spec->gate_up_fused)
	{
		DsTfTensor both = linear(e, x, layer, "mlp.gate_up", 2 * inner, spec->up_bias);

		up = mul(e, activate(e, ds_tf_slice(&e->graph, both, 1, 0, inner), spec->activation),
				 ds_tf_slice(&e->graph, both, 1, inner, inner));
	}
	else if (spec->gated)
	{
		DsTfTensor gate = linear(e, x, layer, "mlp.gate", inner, spec->up_bias);

		up = mul(e, activate(e, gate, spec->activation),
				 linear(e, x, layer, "mlp.up", inner, spec->up_bias));
	}
	else
		up = activate(e, linear(e, x, layer, "mlp.up", inner, spec->up_bias), spec->activation);
	return linear(e, up, layer, "mlp.down", spec->hidden, spec->down_bias);
}

static DsTfTensor
run_layer(Encoder *e, DsTfTensor x, uint32_t layer)
{
	const DsEncoderSpec *spec = e->spec;

	if (!spec->norm_first)
	{
		x = layer_norm(e, add(e, x, attention(e, x, layer)), layer, "attention");
		return layer_norm(e, add(e, x, mlp(e, x, layer)), layer, "mlp");
	}
	x = add(e, x,
			attention(
				e, layer > 0 || !spec->first_norm_absent ? layer_norm(e, x, layer, "attention") : x,
				layer));
	return add(e, x, mlp(e, layer_norm(e, x, layer, "mlp"), layer));
}

/* ---- pooling ---- */

/* [1, tokens] of values made from the number of a token */
static DsTfTensor
row(Encoder *e, float (*value)(uint32_t token, uint32_t parameter), uint32_t parameter)
{
	float *cells = numbers(e, 1, e->tokens);

	if (cells == NULL)
		return DS_TF_NONE;
	for (uint32_t t = 0; t < e->tokens; t++)
		cells[t] = value(t, parameter);
	return ds_tf_constant(&e->graph, DS_TF_F32, DS_TF_SHAPE(1, e->tokens), cells);
}

static float
is_token(uint32_t token, uint32_t which)
{
	return token == which;
}

static float
not_skipped(uint32_t token, uint32_t skip)
{
	return token >= skip;
}

/* the weights 1, 2, ... of a weighted mean, from skip on */
static float
rank_from(uint32_t token, uint32_t skip)
{
	return token >= skip ? (float) (token - skip + 1) : 0;
}

static DsTfTensor
sum(Encoder *e, DsTfTensor weights)
{
	return ds_tf_reduce(&e->graph, DS_TF_SUM, weights, 1);
}

/*
 * mask times value(token): without the tokens that are left out at the
 * beginning, unless the text has no others
 */
static DsTfTensor
kept(Encoder *e, float (*value)(uint32_t token, uint32_t parameter))
{
	uint32_t skip = e->spec->pool_skip;
	DsTfTensor all = row(e, value, 0);
	DsTfTensor more;

	if (skip == 0)
		return mul(e, e->mask, all);
	/* 1 when there are others */
	more = ds_tf_binary(&e->graph, DS_TF_MINIMUM,
						sum(e, mul(e, e->mask, row(e, not_skipped, skip))), number(e, 1));
	all = add(e, all, mul(e, more, sub(e, row(e, value, skip), all)));
	return mul(e, e->mask, all);
}

/* 1 for the last token: of a mask, which ends there */
static DsTfTensor
last_token(Encoder *e)
{
	DsTfTensor next[2];

	if (e->tokens == 1)
		return e->mask;
	next[0] = ds_tf_slice(&e->graph, e->mask, 1, 1, e->tokens - 1);
	next[1] = row(e, is_token, UINT32_MAX);
	next[1] = ds_tf_slice(&e->graph, next[1], 1, 0, 1);
	return sub(e, e->mask, ds_tf_concat(&e->graph, next, 2, 1));
}

/* 1 for the first token whose id is eot_id, or for the last one */
static DsTfTensor
end_token(Encoder *e)
{
	DsTfGraph *graph = &e->graph;
	DsTfTensor id = ds_tf_constant(graph, DS_TF_I32, DS_TF_SHAPE(1), &e->spec->eot_id);
	DsTfTensor equal = ds_tf_cast(graph, ds_tf_binary(graph, DS_TF_EQUAL, e->ids, id), DS_TF_F32);
	DsTfTensor before;
	DsTfTensor first;

	equal = mul(e, equal, e->mask);
	before = ds_tf_binary(graph, DS_TF_MINIMUM, ds_tf_cumulate(graph, equal, 1), number(e, 1));
	first = mul(e, equal, sub(e, number(e, 1), before));
	return add(e, first, mul(e, sub(e, number(e, 1), sum(e, first)), last_token(e)));
}

/* The largest of each component; zeros of a text without tokens */
static DsTfTensor
largest(Encoder *e, DsTfTensor x)
{
	DsTfGraph *graph = &e->graph;
	DsTfTensor out =
		mul(e, sub(e, kept(e, not_skipped), number(e, 1)), number(e, -(double) MASKED));

	x = add(e, x, ds_tf_reshape(graph, out, DS_TF_SHAPE(e->tokens, 1)));
	return mul(e, ds_tf_reduce(graph, DS_TF_REDUCE_MAX, x, 0),
			   ds_tf_binary(graph, DS_TF_MINIMUM, sum(e, e->mask), number(e, 1)));
}

/* What is pooled is divided by the sum of its weights; sums of weights are whole numbers */
static DsTfTensor
mean(Encoder *e, DsTfTensor weights)
{
	return ds_tf_binary(&e->graph, DS_TF_DIV, weights,
						ds_tf_binary(&e->graph, DS_TF_MAXIMUM, sum(e, weights), number(e, 1)));
}

static DsTfTensor
pool_one(Encoder *e, DsTfTensor x, uint32_t one)
{
	DsTfGraph *graph = &e->graph;
	DsTfTensor weights;

	switch (one)
	{
		case DS_POOL_MAX:
			return largest(e, x);
		case DS_POOL_CLS:
			weights = mul(e, e->mask, row(e, is_token, 0));
			break;
		case DS_POOL_LAST:
			weights = last_token(e);
			break;
		case DS_POOL_EOT:
			weights = end_token(e);
			break;
		case DS_POOL_WEIGHTED_MEAN:
			weights = mean(e, kept(e, rank_from));
			break;
		case DS_POOL_MEAN_SQRT:
			weights = kept(e, not_skipped);
			weights =
				mul(e, weights,
					ds_tf_unary(graph, DS_TF_RSQRT,
								ds_tf_binary(graph, DS_TF_MAXIMUM, sum(e, weights), number(e, 1))));
			break;
		default: /* MEAN */
			weights = mean(e, kept(e, not_skipped));
			break;
	}
	return ds_tf_multiply(graph, weights, x, false);
}

static DsTfTensor
pool(Encoder *e, DsTfTensor x)
{
	DsTfTensor parts[7];
	size_t count = 0;

	for (uint32_t one = 1; one <= DS_POOL_EOT; one <<= 1)
		if (e->spec->pooling & one)
			parts[count++] = pool_one(e, x, one);
	return ds_tf_concat(&e->graph, parts, count, 1);
}

/* Modules behind the pooling are f32, as in the forward pass */
static DsTfTensor
run_module(Encoder *e, DsTfTensor x, uint32_t number)
{
	const DsSpecModule *module = &e->spec->modules[number];
	char name[DS_SPEC_NAME];
	DsTfDense dense = {.name = name, .outs = module->out, .bias = module->bias, .exact = true};

	snprintf(name, sizeof(name), "module.%u", number);
	switch (module->kind)
	{
		case DS_MODULE_DENSE:
			return activate(e, ds_tf_dense(&e->graph, x, &dense), module->activation);
		case DS_MODULE_NORM:
			return ds_tf_norm(&e->graph, x, name, module->bias, (double) module->epsilon);
		case DS_MODULE_NORMALIZE:
			return ds_tf_unary(&e->graph, DS_TF_L2_NORMALIZATION, x);
		default: /* SLICE */
			return ds_tf_slice(&e->graph, x, 1, 0, module->out);
	}
}

/* ---- the whole ---- */

/* A static encoder: the mean of scaled rows */
static DsTfTensor
run_static(Encoder *e)
{
	const DsEncoderSpec *spec = e->spec;
	DsTfGraph *graph = &e->graph;
	DsTfTensor ids = ds_tf_reshape(graph, e->ids, DS_TF_SHAPE(e->tokens));
	DsTfTensor rows = ids;
	DsTfTensor weights = mean(e, e->mask);

	if (spec->static_rows != spec->vocabulary)
		rows = ds_tf_gather(
			graph, ds_tf_stored(graph, "token.row", DS_TF_I32, DS_TF_SHAPE(spec->vocabulary)), ids);
	if (spec->token_weights)
	{
		DsTfTensor scales = ds_tf_gather(
			graph, ds_tf_stored(graph, "token.scale", DS_TF_F32, DS_TF_SHAPE(spec->vocabulary)),
			ids);

		weights = mul(e, weights, ds_tf_reshape(graph, scales, DS_TF_SHAPE(1, e->tokens)));
	}
	return ds_tf_multiply(
		graph, weights, ds_tf_lookup(graph, "token.weight", spec->static_rows, spec->hidden, rows),
		false);
}

static DsTfTensor
run_transformer(Encoder *e)
{
	const DsEncoderSpec *spec = e->spec;
	DsTfTensor x = embed(e);

	prepare_attention(e);
	for (uint32_t layer = 0; layer < spec->layers && e->graph.code == DS_OK; layer++)
		x = run_layer(e, x, layer);
	if (spec->final_norm)
		x = ds_tf_norm(&e->graph, x, "final.norm", spec->norm_bias, (double) spec->norm_epsilon);
	return pool(e, x);
}

DsCode
ds_tflite_encoder(const DsEncoderSpec *spec, const DsTfliteOptions *options,
				  const DsTensorSource *source, const char *file, DsPlan *plan,
				  const DsCancel *cancel, DsStatus *status)
{
	Encoder e = {.spec = spec, .tokens = options->tokens};
	const char *part;
	DsTfTensor x;

	if (options->tokens == 0 || options->tokens > spec->max_tokens)
		return ds_fail(status, DS_INVALID, "tokens must be between 1 and %u, which the model takes",
					   spec->max_tokens);
	part = unsupported(spec, options->tokens);
	if (part != NULL)
		return ds_fail(status, DS_UNSUPPORTED, "%s has no counterpart in a TensorFlow Lite file",
					   part);
	ds_tf_begin(&e.graph, options->weights, source, plan->arena, cancel, status);
	e.ids = ds_tf_input(&e.graph, "input_ids", DS_TF_I32, DS_TF_SHAPE(1, e.tokens));
	e.mask = ds_tf_cast(
		&e.graph, ds_tf_input(&e.graph, "attention_mask", DS_TF_I32, DS_TF_SHAPE(1, e.tokens)),
		DS_TF_F32);
	x = spec->kind == DS_ENCODER_STATIC ? run_static(&e) : run_transformer(&e);
	for (uint32_t m = 0; m < spec->module_count; m++)
		x = run_module(&e, x, m);
	ds_tf_output(&e.graph, spec->scores ? "scores" : "embedding", x);
	return ds_tf_plan(&e.graph, file, "an encoder of deepsearch", plan);
}
