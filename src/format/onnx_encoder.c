/*
 * onnx_encoder.c
 *		The graph of an encoder, of the operators of ONNX's opset 17.
 *
 * It computes what encoder_spec.h says, for texts of several lengths that are
 * padded behind their ends:
 *
 *	   x = Gather(tokens) + Gather(positions) + Gather(types)	[batch, length, hidden]
 *	   each layer: products, softmax over keys that are no padding, ...
 *	   the pooling leaves padding out
 *	   modules
 *
 * Of a picture there are as many patches as of any other, and no padding.
 */
#include "format/onnx_graph.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/encoder_positions.h"

/* what is added to a score of attention that does not count; exp() of it is 0 */
#define NEVER (-1e9f)

typedef struct Encoder
{
	DsOnnxGraph *graph;
	const DsEncoderSpec *spec;
	DsOnnxValue ids;
	DsOnnxValue mask; /* f32 [batch, length]; of patches [1, length] */
	DsOnnxValue places; /* int64 [length]: 0, 1, ... */
	DsOnnxValue attention; /* added to scores: [batch, 1, 1, length] or more; 0: nothing */
	DsOnnxValue local; /* the same of layers with a window */
	DsOnnxValue cosine[2]; /* [length, rotary_dims / 2]; of global and local layers */
	DsOnnxValue sine[2];
} Encoder;

/* ---- weights, whose shapes the description tells ---- */

static DsOnnxValue
weight(Encoder *e, const char *name)
{
	DsSpecTensor tensor = {.shape = {1, 1}};

	(void) ds_spec_find(e->spec, name, &tensor);
	return ds_ox_weight(e->graph, name, tensor.shape[0], tensor.shape[1]);
}

static DsOnnxValue
linear(Encoder *e, DsOnnxValue x, const char *name, bool bias)
{
	DsSpecTensor tensor = {.shape = {1, 1}};
	char full[DS_SPEC_NAME + 8];

	snprintf(full, sizeof(full), "%s.weight", name);
	(void) ds_spec_find(e->spec, full, &tensor);
	return ds_ox_linear(
		e->graph, x,
		&(DsOnnxLinear){
			.name = name, .ins = tensor.shape[1], .outs = tensor.shape[0], .bias = bias});
}

static DsOnnxValue
norm(Encoder *e, DsOnnxValue x, const char *name)
{
	return ds_ox_norm(e->graph, x, name, e->spec->hidden, e->spec->norm_bias != 0,
					  e->spec->norm_epsilon);
}

/* ---- attention ---- */

static void
make_rotation(Encoder *e, int kind, float base)
{
	DsOnnxGraph *g = e->graph;
	size_t half = e->spec->rotary_dims / 2;
	float *frequency = ds_arena_alloc(g->onnx.arena, half, sizeof(float));
	uint64_t shape[2] = {1, half};
	DsOnnxValue angle;

	if (frequency == NULL)
	{
		ds_ox_fail(g, DS_OUT_OF_MEMORY, "out of memory");
		return;
	}
	for (size_t c = 0; c < half; c++)
		frequency[c] = (float) (1.0 / pow((double) base, (double) (2 * c) / e->spec->rotary_dims));
	angle = ds_ox_2(g, "Mul", ds_ox_unsqueeze(g, ds_ox_float(g, e->places), 1, -1),
					ds_onnx_floats(&g->onnx, frequency, shape, 2));
	e->cosine[kind] = ds_ox_1(g, "Cos", angle);
	e->sine[kind] = ds_ox_1(g, "Sin", angle);
}

/* The first 2 half components of x's heads in two parts: halves, or neighbours apart */
static void
part_rotated(Encoder *e, DsOnnxValue x, DsOnnxValue parts[2])
{
	DsOnnxGraph *g = e->graph;
	int64_t half = e->spec->rotary_dims / 2;
	const int64_t halves[2] = {half, half}, ones[2] = {1, 1};
	const int64_t pairs[5] = {0, 0, 0, half, 2}, apart[4] = {0, 0, 0, half};

	if (e->spec->rotary_interleaved)
		x = ds_ox_reshape(g, x, pairs, 5);
	parts[0] = ds_ox_split(g, x, e->spec->rotary_interleaved ? ones : halves, 2);
	parts[1] = parts[0] + 1;
	for (int i = 0; i < 2 && e->spec->rotary_interleaved; i++)
		parts[i] = ds_ox_reshape(g, parts[i], apart, 4);
}

/* x [batch, heads, length, head_dims] */
static DsOnnxValue
rotate(Encoder *e, DsOnnxValue x, int kind)
{
	DsOnnxGraph *g = e->graph;
	int64_t half = e->spec->rotary_dims / 2;
	const int64_t sizes[2] = {2 * half, (int64_t) e->spec->head_dims - 2 * half};
	const int64_t pairs[5] = {0, 0, 0, half, 1}, joined[4] = {0, 0, 0, 2 * half};
	DsOnnxValue turned[DS_ONNX_INPUTS] = {0};
	DsOnnxValue parts[2];
	DsOnnxValue rest = 0;

	if (sizes[1] > 0)
	{
		x = ds_ox_split(g, x, sizes, 2);
		rest = x + 1;
	}
	part_rotated(e, x, parts);
	turned[0] = ds_ox_2(g, "Sub", ds_ox_2(g, "Mul", parts[0], e->cosine[kind]),
						ds_ox_2(g, "Mul", parts[1], e->sine[kind]));
	turned[1] = ds_ox_2(g, "Add", ds_ox_2(g, "Mul", parts[1], e->cosine[kind]),
						ds_ox_2(g, "Mul", parts[0], e->sine[kind]));
	if (!e->spec->rotary_interleaved)
	{
		turned[2] = rest;
		return ds_ox_concat(g, turned, -1);
	}
	for (int i = 0; i < 2; i++)
		turned[i] = ds_ox_reshape(g, turned[i], pairs, 5);
	x = ds_ox_reshape(g, ds_ox_concat(g, turned, -1), joined, 4);
	if (rest == 0)
		return x;
	turned[0] = x;
	turned[1] = rest;
	return ds_ox_concat(g, turned, -1);
}

/* a + b; a may be 0, nothing */
static DsOnnxValue
add(DsOnnxGraph *g, DsOnnxValue a, DsOnnxValue b)
{
	return a == 0 ? b : ds_ox_2(g, "Add", a, b);
}

/* What is added to scores: padding, causality, distances */
static void
make_masks(Encoder *e)
{
	DsOnnxGraph *g = e->graph;
	const DsEncoderSpec *spec = e->spec;
	DsOnnxValue never = 0;
	DsOnnxValue zero = 0;
	DsOnnxValue distance = 0; /* key - query */

	/* what no node reads would be warned of */
	if (spec->causal || spec->window > 0)
		zero = ds_onnx_real(&g->onnx, 0);
	if (spec->causal || spec->window > 0 || spec->relative_buckets > 0)
		distance = ds_ox_2(g, "Sub", ds_ox_unsqueeze(g, e->places, 0, -1),
						   ds_ox_unsqueeze(g, e->places, 1, -1));

	if (spec->causal || spec->window > 0 || spec->kind != DS_ENCODER_PATCHES)
		never = ds_onnx_real(&g->onnx, NEVER);
	if (spec->kind != DS_ENCODER_PATCHES)
		e->attention = ds_ox_2(
			g, "Mul",
			ds_ox_2(g, "Sub", ds_onnx_real(&g->onnx, 1), ds_ox_unsqueeze(g, e->mask, 1, 2)), never);
	if (spec->causal)
		e->attention =
			add(g, e->attention,
				ds_ox_3(g, "Where", ds_ox_2(g, "Greater", distance, ds_onnx_integer(&g->onnx, 0)),
						never, zero));
	if (spec->relative_buckets > 0)
	{
		size_t most = spec->max_tokens;
		int64_t *buckets = ds_arena_alloc(g->onnx.arena, 2 * most, sizeof(int64_t));
		DsOnnxValue at;

		if (buckets == NULL)
		{
			ds_ox_fail(g, DS_OUT_OF_MEMORY, "out of memory");
			return;
		}
		for (size_t i = 0; i < 2 * most; i++)
			buckets[i] = ds_relative_bucket((int64_t) i - (int64_t) most, spec->relative_buckets,
											spec->relative_distance);
		at =
			ds_ox_gather(g, ds_onnx_integers(&g->onnx, buckets, 2 * most),
						 ds_ox_2(g, "Add", distance, ds_onnx_integer(&g->onnx, (int64_t) most)), 0);
		/* [query, key, heads] */
		at = ds_ox_transpose(g, ds_ox_gather(g, weight(e, "relative.weight"), at, 0), 2, 0, 1, -1);
		e->attention = add(g, e->attention, ds_ox_unsqueeze(g, at, 0, -1));
	}
	e->local = e->attention;
	if (spec->window > 0)
		e->local = add(g, e->attention,
					   ds_ox_3(g, "Where",
							   ds_ox_2(g, "Greater", ds_ox_1(g, "Abs", distance),
									   ds_onnx_integer(&g->onnx, spec->window / 2)),
							   never, zero));
	if (spec->rotary_dims > 0)
	{
		make_rotation(e, 0, spec->rotary_base);
		if (spec->window > 0)
			make_rotation(e, 1, spec->window_base > 0 ? spec->window_base : spec->rotary_base);
	}
}

static DsOnnxValue
attention(Encoder *e, DsOnnxValue x, uint32_t layer)
{
	DsOnnxGraph *g = e->graph;
	const DsEncoderSpec *spec = e->spec;
	bool local = spec->window > 0 && spec->global_every > 0 && layer % spec->global_every != 0;
	int64_t width = (int64_t) spec->heads * spec->head_dims;
	const int64_t heads[4] = {0, 0, spec->heads, spec->head_dims};
	const int64_t joined[3] = {0, 0, width};
	DsOnnxValue part[3];
	DsOnnxValue shape = ds_onnx_integers(&g->onnx, heads, 4);
	DsOnnxValue scores;
	char name[DS_SPEC_NAME];

	if (spec->qkv_fused)
	{
		const int64_t sizes[3] = {width, width, width};

		snprintf(name, sizeof(name), "layer.%u.attention.qkv", layer);
		part[0] = ds_ox_split(g, linear(e, x, name, spec->qkv_bias != 0), sizes, 3);
		part[1] = part[0] + 1;
		part[2] = part[0] + 2;
	}
	else
		for (int i = 0; i < 3; i++)
		{
			static const char *const names[] = {"query", "key", "value"};

			snprintf(name, sizeof(name), "layer.%u.attention.%s", layer, names[i]);
			part[i] = linear(e, x, name, spec->qkv_bias != 0);
		}
	for (int i = 0; i < 3; i++)
	{
		part[i] = ds_ox_transpose(g, ds_ox_2(g, "Reshape", part[i], shape), 0, 2, 1, 3);
		if (i < 2 && spec->rotary_dims > 0)
			part[i] = rotate(e, part[i], local ? 1 : 0);
	}
	scores = ds_ox_2(g, "MatMul", ds_ox_scaled(g, part[0], 1 / sqrtf((float) spec->head_dims)),
					 ds_ox_transpose(g, part[1], 0, 1, 3, 2));
	scores = add(g, local ? e->local : e->attention, scores);
	scores = ds_ox_with(g, "Softmax", scores, 0, "axis", -1, 1);
	x = ds_ox_transpose(g, ds_ox_2(g, "MatMul", scores, part[2]), 0, 2, 1, 3);
	x = ds_ox_2(g, "Reshape", x, ds_onnx_integers(&g->onnx, joined, 3));
	snprintf(name, sizeof(name), "layer.%u.attention.out", layer);
	return linear(e, x, name, spec->out_bias != 0);
}

static DsOnnxValue
mlp(Encoder *e, DsOnnxValue x, uint32_t layer)
{
	DsOnnxGraph *g = e->graph;
	const DsEncoderSpec *spec = e->spec;
	char name[DS_SPEC_NAME];
	DsOnnxValue up;

	if (spec->gate_up_fused)
	{
		const int64_t sizes[2] = {spec->intermediate, spec->intermediate};

		snprintf(name, sizeof(name), "layer.%u.mlp.gate_up", layer);
		up = ds_ox_split(g, linear(e, x, name, spec->up_bias != 0), sizes, 2);
		up = ds_ox_2(g, "Mul", ds_ox_activate(g, up, spec->activation), up + 1);
	}
	else
	{
		snprintf(name, sizeof(name), "layer.%u.mlp.up", layer);
		up = linear(e, x, name, spec->up_bias != 0);
		if (spec->gated)
		{
			snprintf(name, sizeof(name), "layer.%u.mlp.gate", layer);
			up = ds_ox_2(
				g, "Mul",
				ds_ox_activate(g, linear(e, x, name, spec->up_bias != 0), spec->activation), up);
		}
		else
			up = ds_ox_activate(g, up, spec->activation);
	}
	snprintf(name, sizeof(name), "layer.%u.mlp.down", layer);
	return linear(e, up, name, spec->down_bias != 0);
}

static DsOnnxValue
run_layer(Encoder *e, DsOnnxValue x, uint32_t layer)
{
	DsOnnxGraph *g = e->graph;
	const DsEncoderSpec *spec = e->spec;
	char first[DS_SPEC_NAME], second[DS_SPEC_NAME];

	snprintf(first, sizeof(first), "layer.%u.attention.norm", layer);
	snprintf(second, sizeof(second), "layer.%u.mlp.norm", layer);
	if (spec->norm_first)
	{
		DsOnnxValue in = layer == 0 && spec->first_norm_absent ? x : norm(e, x, first);

		x = ds_ox_2(g, "Add", x, attention(e, in, layer));
		return ds_ox_2(g, "Add", x, mlp(e, norm(e, x, second), layer));
	}
	x = norm(e, ds_ox_2(g, "Add", x, attention(e, x, layer)), first);
	return norm(e, ds_ox_2(g, "Add", x, mlp(e, x, layer)), second);
}

/* ---- from tokens to a vector ---- */

/* Tokens' rows, or patches multiplied, x [batch, length, hidden], with what their places add */
static DsOnnxValue
embed(Encoder *e, DsOnnxValue x)
{
	DsOnnxGraph *g = e->graph;
	static const char *const axes[2] = {"batch", "length"};
	const DsEncoderSpec *spec = e->spec;

	if (spec->positions > 0)
		x = ds_ox_2(g, "Add", x,
					ds_ox_gather(g, weight(e, "position.weight"),
								 ds_ox_2(g, "Add", e->places,
										 ds_onnx_integer(&g->onnx, spec->position_offset)),
								 0));
	if (spec->types > 0)
	{
		DsOnnxValue types = spec->types == 1 ? ds_onnx_integer(&g->onnx, 0)
											 : ds_onnx_input(&g->onnx, "token_type_ids",
															 DS_ONNX_INT64, axes, NULL, 2);

		x = ds_ox_2(g, "Add", x, ds_ox_gather(g, weight(e, "type.weight"), types, 0));
	}
	if (spec->embedding_norm)
		x = norm(e, x, "embedding.norm");
	return x;
}

/* The token that a number for each text says, of x [batch, length, hidden] */
static DsOnnxValue
token_at(Encoder *e, DsOnnxValue x, DsOnnxValue at)
{
	DsOnnxGraph *g = e->graph;
	const DsOnnxValue inputs[DS_ONNX_INPUTS] = {x, ds_ox_unsqueeze(g, at, 1, -1)};
	const DsOnnxAttribute attributes[] = {{.name = "batch_dims", .kind = 'i', .integer = 1},
										  {.name = NULL}};

	return ds_onnx_node(&g->onnx, "GatherND", inputs, attributes, 1);
}

/* The token that is pooled: the last one of a text; by eot the first with eot_id, where there is one */
static DsOnnxValue
pool_token(Encoder *e, DsOnnxValue x, bool eot)
{
	DsOnnxGraph *g = e->graph;
	const int64_t any = -1;
	DsOnnxValue count =
		ds_ox_2(g, "Max", ds_ox_sum(g, e->mask, 1, true), ds_onnx_real(&g->onnx, 1));
	DsOnnxValue at = ds_ox_2(g, "Sub", ds_ox_reshape(g, ds_ox_int64(g, count), &any, 1),
							 ds_onnx_integer(&g->onnx, 1));

	if (eot)
	{
		DsOnnxValue is =
			ds_ox_2(g, "Mul", e->mask,
					ds_ox_float(g, ds_ox_2(g, "Equal", e->ids,
										   ds_onnx_integer(&g->onnx, e->spec->eot_id))));
		const DsOnnxValue inputs[DS_ONNX_INPUTS] = {is};
		const DsOnnxAttribute attributes[] = {{.name = "axis", .kind = 'i', .integer = 1},
											  {.name = "keepdims", .kind = 'i', .integer = 0},
											  {.name = NULL}};
		DsOnnxValue first = ds_onnx_node(&g->onnx, "ArgMax", inputs, attributes, 1);
		DsOnnxValue some =
			ds_ox_2(g, "Greater", ds_ox_sum(g, is, 1, false), ds_onnx_real(&g->onnx, 0));

		at = ds_ox_3(g, "Where", some, first, at);
	}
	return token_at(e, x, at);
}

/* What the maximum and the means are over */
typedef struct Kept
{
	DsOnnxValue one;
	DsOnnxValue mask; /* [batch, length]; 1 for tokens that count */
	DsOnnxValue wide; /* the same [batch, length, 1] */
	DsOnnxValue skipped; /* [batch, 1] tokens that were left out before them; 0: none */
} Kept;

/* Without pool_skip tokens at the beginning, unless a text has no others */
static Kept
keep(Encoder *e)
{
	DsOnnxGraph *g = e->graph;
	Kept kept = {.one = ds_onnx_real(&g->onnx, 1), .mask = e->mask};

	if (e->spec->pool_skip > 0)
	{
		DsOnnxValue behind =
			ds_ox_float(g, ds_ox_2(g, "Greater", e->places,
								   ds_onnx_integer(&g->onnx, (int64_t) e->spec->pool_skip - 1)));
		DsOnnxValue some =
			ds_ox_2(g, "Min", ds_ox_sum(g, ds_ox_2(g, "Mul", e->mask, behind), 1, true), kept.one);

		/* mask * (1 - some (1 - behind)) */
		kept.mask = ds_ox_2(g, "Mul", e->mask,
							ds_ox_2(g, "Sub", kept.one,
									ds_ox_2(g, "Mul", some, ds_ox_2(g, "Sub", kept.one, behind))));
		kept.skipped = ds_ox_scaled(g, some, (float) e->spec->pool_skip);
	}
	kept.wide = ds_ox_unsqueeze(g, kept.mask, 2, -1);
	return kept;
}

static DsOnnxValue
pool_kept(Encoder *e, DsOnnxValue x, const Kept *kept, uint32_t pooling)
{
	DsOnnxGraph *g = e->graph;
	DsOnnxValue weights = kept->mask;
	DsOnnxValue wide = kept->wide;
	DsOnnxValue count;

	if (pooling == DS_POOL_MAX)
		return ds_ox_reduce(
			g, "ReduceMax",
			ds_ox_2(g, "Add", x, ds_ox_scaled(g, ds_ox_2(g, "Sub", kept->one, wide), NEVER)), 1,
			false);
	if (pooling == DS_POOL_WEIGHTED_MEAN)
	{
		DsOnnxValue rank = ds_ox_2(g, "Add", ds_ox_float(g, e->places), kept->one);

		if (kept->skipped != 0)
			rank = ds_ox_2(g, "Sub", rank, kept->skipped);
		weights = ds_ox_2(g, "Mul", weights, rank);
		wide = ds_ox_unsqueeze(g, weights, 2, -1);
	}
	count = ds_ox_2(g, "Max", ds_ox_sum(g, weights, 1, true), kept->one);
	if (pooling == DS_POOL_MEAN_SQRT)
		count = ds_ox_1(g, "Sqrt", count);
	return ds_ox_2(g, "Div", ds_ox_sum(g, ds_ox_2(g, "Mul", x, wide), 1, false), count);
}

static DsOnnxValue
pool(Encoder *e, DsOnnxValue x)
{
	const uint32_t tokens = DS_POOL_CLS | DS_POOL_LAST | DS_POOL_EOT;
	DsOnnxGraph *g = e->graph;
	DsOnnxValue found[DS_ONNX_INPUTS] = {0};
	Kept kept = {0};
	size_t n = 0;

	/* what no node reads would be warned of */
	if (e->spec->pooling & ~tokens)
		kept = keep(e);
	for (uint32_t pooling = 1; pooling <= DS_POOL_EOT; pooling <<= 1)
	{
		DsOnnxValue v;

		if (!(e->spec->pooling & pooling))
			continue;
		if (pooling == DS_POOL_CLS)
			v = ds_ox_gather(g, x, ds_onnx_integer(&g->onnx, 0), 1);
		else if (pooling & tokens)
			v = pool_token(e, x, pooling == DS_POOL_EOT);
		else
			v = pool_kept(e, x, &kept, pooling);
		if (n == DS_ONNX_INPUTS)
		{
			found[0] = ds_ox_concat(g, found, -1);
			memset(found + 1, 0, sizeof(found) - sizeof(found[0]));
			n = 1;
		}
		found[n++] = v;
	}
	if (n > 1)
		found[0] = ds_ox_concat(g, found, -1);
	/* a text without tokens is zeros, as the means are by themselves */
	if (e->spec->kind != DS_ENCODER_PATCHES && (e->spec->pooling & (tokens | DS_POOL_MAX)))
		found[0] =
			ds_ox_2(g, "Mul", found[0],
					ds_ox_2(g, "Min", ds_ox_sum(g, e->mask, 1, true), ds_onnx_real(&g->onnx, 1)));
	return found[0];
}

/* The mean of tokens' rows, which may have weights and share rows */
static DsOnnxValue
run_static(Encoder *e, uint32_t drop_id)
{
	DsOnnxGraph *g = e->graph;
	const DsEncoderSpec *spec = e->spec;
	DsOnnxValue rows = e->ids;
	DsOnnxValue x;
	DsOnnxValue count;

	if (drop_id != DS_SPEC_NO_ID)
		e->mask = ds_ox_2(g, "Mul", e->mask,
						  ds_ox_float(g, ds_ox_1(g, "Not",
												 ds_ox_2(g, "Equal", e->ids,
														 ds_onnx_integer(&g->onnx, drop_id)))));
	if (spec->static_rows != spec->vocabulary)
	{
		DsPlanPart part;
		uint64_t shape[1] = {spec->vocabulary};

		if (!ds_plan_part(g->target->stored, "token.row", shape[0], 1, false, &part))
			ds_ox_fail(g, DS_BAD_DATA, "tensor \"token.row\" is missing");
		part.dtype = DS_DTYPE_I64;
		rows = ds_ox_gather(g, ds_onnx_weight(&g->onnx, &part, shape, 1), e->ids, 0);
	}
	x = ds_ox_rows(g, "token.weight", spec->static_rows, spec->hidden, rows);
	if (spec->token_weights)
		x = ds_ox_2(
			g, "Mul", x,
			ds_ox_unsqueeze(g, ds_ox_gather(g, weight(e, "token.scale"), e->ids, 0), 2, -1));
	count = ds_ox_2(g, "Max", ds_ox_sum(g, e->mask, 1, true), ds_onnx_real(&g->onnx, 1));
	return ds_ox_2(g, "Div",
				   ds_ox_sum(g, ds_ox_2(g, "Mul", x, ds_ox_unsqueeze(g, e->mask, 2, -1)), 1, false),
				   count);
}

/* Layers and pooling: x [batch, length, hidden], tokens placed and summed up, to a vector */
static DsOnnxValue
run_layers(Encoder *e, DsOnnxValue x)
{
	make_masks(e);
	for (uint32_t layer = 0; layer < e->spec->layers; layer++)
		x = run_layer(e, x, layer);
	if (e->spec->final_norm)
		x = norm(e, x, "final.norm");
	return pool(e, x);
}

/* What this writer has not; NULL: it has all */
static const char *
unsupported(const DsEncoderSpec *spec)
{
	if (spec->rotary_scaling > 0)
		return "rotation that depends on a text's length (rotary_scaling)";
	return NULL;
}

DsOnnxValue
ds_ox_patches(DsOnnxGraph *g, const DsEncoderSpec *spec, DsOnnxValue patches)
{
	Encoder encoder = {.graph = g, .spec = spec};
	Encoder *e = &encoder;
	uint64_t tokens = spec->max_tokens;
	int64_t *places = ds_arena_alloc(g->onnx.arena, tokens, sizeof(int64_t));
	float *ones = ds_arena_alloc(g->onnx.arena, tokens, sizeof(float));
	uint64_t shape[2] = {1, tokens};
	DsOnnxValue x;

	if (unsupported(spec) != NULL)
		ds_ox_fail(g, DS_UNSUPPORTED, "%s has no counterpart in ONNX", unsupported(spec));
	if (spec->pooling & (DS_POOL_LAST | DS_POOL_EOT))
		ds_ox_fail(g, DS_UNSUPPORTED, "pooling by the last patch has no counterpart in ONNX");
	if (places == NULL || ones == NULL)
		ds_ox_fail(g, DS_OUT_OF_MEMORY, "out of memory");
	if (g->code != DS_OK)
		return patches;
	for (uint64_t t = 0; t < tokens; t++)
	{
		places[t] = (int64_t) t;
		ones[t] = 1;
	}
	x = linear(e, patches, "patch", spec->patch_bias != 0);
	if (spec->class_token)
	{
		/* as often as there are pictures */
		DsOnnxValue batch = ds_ox_slice(g, ds_ox_1(g, "Shape", patches), 0, 0, 1);
		const int64_t rest[2] = {1, spec->hidden};
		const DsOnnxValue sizes[DS_ONNX_INPUTS] = {batch, ds_onnx_integers(&g->onnx, rest, 2)};
		const DsOnnxValue both[DS_ONNX_INPUTS] = {
			ds_ox_2(g, "Expand", weight(e, "class.weight"), ds_ox_concat(g, sizes, 0)), x};

		x = ds_ox_concat(g, both, 1);
	}
	e->places = ds_onnx_integers(&g->onnx, places, tokens);
	if (spec->pooling != DS_POOL_CLS)
		e->mask = ds_onnx_floats(&g->onnx, ones, shape, 2);
	return ds_ox_modules(g, run_layers(e, embed(e, x)), spec->modules, spec->module_count);
}

DsCode
ds_onnx_encoder(const DsOnnxTarget *target, const DsEncoderSpec *spec, uint32_t drop_id,
				DsStatus *status)
{
	static const char *const axes[2] = {"batch", "length"};
	DsOnnxGraph graph;
	DsOnnxGraph *g = &graph;
	Encoder encoder = {.graph = g, .spec = spec};
	Encoder *e = &encoder;
	DsOnnxValue x;

	if (spec->kind == DS_ENCODER_PATCHES)
		return ds_fail(status, DS_UNSUPPORTED, "a transformer over patches reads no texts");
	if (unsupported(spec) != NULL)
		return ds_fail(status, DS_UNSUPPORTED, "%s has no counterpart in ONNX", unsupported(spec));
	ds_ox_begin(g, target, status);
	e->ids = ds_onnx_input(&g->onnx, "input_ids", DS_ONNX_INT64, axes, NULL, 2);
	e->mask =
		ds_ox_float(g, ds_onnx_input(&g->onnx, "attention_mask", DS_ONNX_INT64, axes, NULL, 2));
	if (spec->kind == DS_ENCODER_STATIC)
		x = run_static(e, drop_id);
	else
	{
		DsOnnxValue length =
			ds_ox_gather(g, ds_ox_1(g, "Shape", e->ids), ds_onnx_integer(&g->onnx, 1), 0);

		e->places =
			ds_ox_3(g, "Range", ds_onnx_integer(&g->onnx, 0), length, ds_onnx_integer(&g->onnx, 1));
		x = ds_ox_rows(g, "token.weight", spec->vocabulary, spec->hidden, e->ids);
		x = run_layers(e, embed(e, x));
	}
	x = ds_ox_modules(g, x, spec->modules, spec->module_count);
	ds_onnx_output(&g->onnx, x, spec->scores ? "scores" : "embedding", ds_spec_dims(spec));
	return ds_ox_plan(g);
}
