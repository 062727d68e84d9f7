/*
 * graph_encoder.c
 *		The graph of an encoder.
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
#include "format/graph.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/encoder_positions.h"

/* what is added to a score of attention that does not count; exp() of it is 0 */
#define NEVER (-1e9f)

typedef struct Encoder
{
	DsGraph *graph;
	const DsEncoderSpec *spec;
	DsGraphValue ids;
	DsGraphValue mask; /* f32 [batch, length]; of patches [1, length] */
	DsGraphValue places; /* int64 [length]: 0, 1, ... */
	DsGraphValue attention; /* added to scores: [batch, 1, 1, length] or more; 0: nothing */
	DsGraphValue local; /* the same of layers with a window */
	DsGraphValue cosine[2]; /* [length, rotary_dims / 2]; of global and local layers */
	DsGraphValue sine[2];
} Encoder;

/* ---- weights, whose shapes the description tells ---- */

static DsGraphValue
weight(Encoder *e, const char *name)
{
	DsSpecTensor tensor = {.shape = {1, 1}};

	(void) ds_spec_find(e->spec, name, &tensor);
	return ds_graph_weight(e->graph, name, tensor.shape[0], tensor.shape[1]);
}

static DsGraphValue
linear(Encoder *e, DsGraphValue x, const char *name, bool bias)
{
	DsSpecTensor tensor = {.shape = {1, 1}};
	char full[DS_SPEC_NAME + 8];

	snprintf(full, sizeof(full), "%s.weight", name);
	(void) ds_spec_find(e->spec, full, &tensor);
	return ds_graph_linear(
		e->graph, x,
		&(DsGraphLinear){
			.name = name, .ins = tensor.shape[1], .outs = tensor.shape[0], .bias = bias});
}

static DsGraphValue
norm(Encoder *e, DsGraphValue x, const char *name)
{
	return ds_graph_norm(e->graph, x, name, e->spec->hidden, e->spec->norm_bias != 0,
						 e->spec->norm_epsilon);
}

/* ---- attention ---- */

static void
make_rotation(Encoder *e, int kind, float base)
{
	DsGraph *g = e->graph;
	size_t half = e->spec->rotary_dims / 2;
	float *frequency = ds_arena_alloc(g->arena, half, sizeof(float));
	uint64_t shape[2] = {1, half};
	DsGraphValue angle;

	if (frequency == NULL)
	{
		ds_graph_fail(g, DS_OUT_OF_MEMORY, "out of memory");
		return;
	}
	for (size_t c = 0; c < half; c++)
		frequency[c] = (float) (1.0 / pow((double) base, (double) (2 * c) / e->spec->rotary_dims));
	angle = ds_graph_2(g, DS_OP_MUL, ds_graph_unsqueeze(g, ds_graph_float(g, e->places), 1, -1),
					   ds_graph_floats(g, frequency, shape, 2));
	e->cosine[kind] = ds_graph_1(g, DS_OP_COS, angle);
	e->sine[kind] = ds_graph_1(g, DS_OP_SIN, angle);
}

/* The first 2 half components of x's heads in two parts: halves, or neighbours apart */
static void
part_rotated(Encoder *e, DsGraphValue x, DsGraphValue parts[2])
{
	DsGraph *g = e->graph;
	int64_t half = e->spec->rotary_dims / 2;
	const int64_t halves[2] = {half, half}, ones[2] = {1, 1};
	const int64_t pairs[5] = {0, 0, 0, half, 2}, apart[4] = {0, 0, 0, half};

	if (e->spec->rotary_interleaved)
		x = ds_graph_reshape(g, x, pairs, 5);
	parts[0] = ds_graph_split(g, x, e->spec->rotary_interleaved ? ones : halves, 2);
	parts[1] = parts[0] + 1;
	for (int i = 0; i < 2 && e->spec->rotary_interleaved; i++)
		parts[i] = ds_graph_reshape(g, parts[i], apart, 4);
}

/* x [batch, heads, length, head_dims] */
static DsGraphValue
rotate(Encoder *e, DsGraphValue x, int kind)
{
	DsGraph *g = e->graph;
	int64_t half = e->spec->rotary_dims / 2;
	const int64_t sizes[2] = {2 * half, (int64_t) e->spec->head_dims - 2 * half};
	const int64_t pairs[5] = {0, 0, 0, half, 1}, joined[4] = {0, 0, 0, 2 * half};
	DsGraphValue turned[DS_GRAPH_INPUTS] = {0};
	DsGraphValue parts[2];
	DsGraphValue rest = 0;

	if (sizes[1] > 0)
	{
		x = ds_graph_split(g, x, sizes, 2);
		rest = x + 1;
	}
	part_rotated(e, x, parts);
	turned[0] = ds_graph_2(g, DS_OP_SUB, ds_graph_2(g, DS_OP_MUL, parts[0], e->cosine[kind]),
						   ds_graph_2(g, DS_OP_MUL, parts[1], e->sine[kind]));
	turned[1] = ds_graph_2(g, DS_OP_ADD, ds_graph_2(g, DS_OP_MUL, parts[1], e->cosine[kind]),
						   ds_graph_2(g, DS_OP_MUL, parts[0], e->sine[kind]));
	if (!e->spec->rotary_interleaved)
	{
		turned[2] = rest;
		return ds_graph_concat(g, turned, -1);
	}
	for (int i = 0; i < 2; i++)
		turned[i] = ds_graph_reshape(g, turned[i], pairs, 5);
	x = ds_graph_reshape(g, ds_graph_concat(g, turned, -1), joined, 4);
	if (rest == 0)
		return x;
	turned[0] = x;
	turned[1] = rest;
	return ds_graph_concat(g, turned, -1);
}

/* a + b; a may be 0, nothing */
static DsGraphValue
add(DsGraph *g, DsGraphValue a, DsGraphValue b)
{
	return a == 0 ? b : ds_graph_2(g, DS_OP_ADD, a, b);
}

/* What is added to scores: padding, causality, distances */
static void
make_masks(Encoder *e)
{
	DsGraph *g = e->graph;
	const DsEncoderSpec *spec = e->spec;
	DsGraphValue never = 0;
	DsGraphValue zero = 0;
	DsGraphValue distance = 0; /* key - query */

	/* what no node reads would be warned of */
	if (spec->causal || spec->window > 0)
		zero = ds_graph_real(g, 0);
	if (spec->causal || spec->window > 0 || spec->relative_buckets > 0)
		distance = ds_graph_2(g, DS_OP_SUB, ds_graph_unsqueeze(g, e->places, 0, -1),
							  ds_graph_unsqueeze(g, e->places, 1, -1));

	if (spec->causal || spec->window > 0 || spec->kind != DS_ENCODER_PATCHES)
		never = ds_graph_real(g, NEVER);
	if (spec->kind != DS_ENCODER_PATCHES)
		e->attention = ds_graph_2(
			g, DS_OP_MUL,
			ds_graph_2(g, DS_OP_SUB, ds_graph_real(g, 1), ds_graph_unsqueeze(g, e->mask, 1, 2)),
			never);
	if (spec->causal)
		e->attention =
			add(g, e->attention,
				ds_graph_3(g, DS_OP_WHERE,
						   ds_graph_2(g, DS_OP_GREATER, distance, ds_graph_integer(g, 0)), never,
						   zero));
	if (spec->relative_buckets > 0)
	{
		size_t most = spec->max_tokens;
		int64_t *buckets = ds_arena_alloc(g->arena, 2 * most, sizeof(int64_t));
		static const int64_t by_head[3] = {2, 0, 1};
		DsGraphValue at;

		if (buckets == NULL)
		{
			ds_graph_fail(g, DS_OUT_OF_MEMORY, "out of memory");
			return;
		}
		for (size_t i = 0; i < 2 * most; i++)
			buckets[i] = ds_relative_bucket((int64_t) i - (int64_t) most, spec->relative_buckets,
											spec->relative_distance);
		at = ds_graph_gather(
			g, ds_graph_integers(g, buckets, 2 * most),
			ds_graph_2(g, DS_OP_ADD, distance, ds_graph_integer(g, (int64_t) most)), 0);
		/* [query, key, heads] */
		at = ds_graph_transpose(g, ds_graph_gather(g, weight(e, "relative.weight"), at, 0), by_head,
								3);
		e->attention = add(g, e->attention, ds_graph_unsqueeze(g, at, 0, -1));
	}
	e->local = e->attention;
	if (spec->window > 0)
		e->local = add(g, e->attention,
					   ds_graph_3(g, DS_OP_WHERE,
								  ds_graph_2(g, DS_OP_GREATER, ds_graph_1(g, DS_OP_ABS, distance),
											 ds_graph_integer(g, spec->window / 2)),
								  never, zero));
	if (spec->rotary_dims > 0)
	{
		make_rotation(e, 0, spec->rotary_base);
		if (spec->window > 0)
			make_rotation(e, 1, spec->window_base > 0 ? spec->window_base : spec->rotary_base);
	}
}

static DsGraphValue
attention(Encoder *e, DsGraphValue x, uint32_t layer)
{
	DsGraph *g = e->graph;
	const DsEncoderSpec *spec = e->spec;
	bool local = spec->window > 0 && spec->global_every > 0 && layer % spec->global_every != 0;
	int64_t width = (int64_t) spec->heads * spec->head_dims;
	const int64_t heads[4] = {0, 0, spec->heads, spec->head_dims};
	const int64_t joined[3] = {0, 0, width};
	static const int64_t inner[4] = {0, 2, 1, 3}, turned[4] = {0, 1, 3, 2};
	DsGraphValue part[3];
	DsGraphValue scores;
	char name[DS_SPEC_NAME];

	if (spec->qkv_fused)
	{
		const int64_t sizes[3] = {width, width, width};

		snprintf(name, sizeof(name), "layer.%u.attention.qkv", layer);
		part[0] = ds_graph_split(g, linear(e, x, name, spec->qkv_bias != 0), sizes, 3);
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
		part[i] = ds_graph_transpose(g, ds_graph_reshape(g, part[i], heads, 4), inner, 4);
		if (i < 2 && spec->rotary_dims > 0)
			part[i] = rotate(e, part[i], local ? 1 : 0);
	}
	scores =
		ds_graph_2(g, DS_OP_MATMUL, ds_graph_scaled(g, part[0], 1 / sqrtf((float) spec->head_dims)),
				   ds_graph_transpose(g, part[1], turned, 4));
	scores = add(g, local ? e->local : e->attention, scores);
	scores = ds_graph_1(g, DS_OP_SOFTMAX, scores);
	x = ds_graph_transpose(g, ds_graph_2(g, DS_OP_MATMUL, scores, part[2]), inner, 4);
	x = ds_graph_reshape(g, x, joined, 3);
	snprintf(name, sizeof(name), "layer.%u.attention.out", layer);
	return linear(e, x, name, spec->out_bias != 0);
}

static DsGraphValue
mlp(Encoder *e, DsGraphValue x, uint32_t layer)
{
	DsGraph *g = e->graph;
	const DsEncoderSpec *spec = e->spec;
	char name[DS_SPEC_NAME];
	DsGraphValue up;

	if (spec->gate_up_fused)
	{
		const int64_t sizes[2] = {spec->intermediate, spec->intermediate};

		snprintf(name, sizeof(name), "layer.%u.mlp.gate_up", layer);
		up = ds_graph_split(g, linear(e, x, name, spec->up_bias != 0), sizes, 2);
		up = ds_graph_2(g, DS_OP_MUL, ds_graph_activate(g, up, spec->activation), up + 1);
	}
	else
	{
		snprintf(name, sizeof(name), "layer.%u.mlp.up", layer);
		up = linear(e, x, name, spec->up_bias != 0);
		if (spec->gated)
		{
			snprintf(name, sizeof(name), "layer.%u.mlp.gate", layer);
			up = ds_graph_2(
				g, DS_OP_MUL,
				ds_graph_activate(g, linear(e, x, name, spec->up_bias != 0), spec->activation), up);
		}
		else
			up = ds_graph_activate(g, up, spec->activation);
	}
	snprintf(name, sizeof(name), "layer.%u.mlp.down", layer);
	return linear(e, up, name, spec->down_bias != 0);
}

static DsGraphValue
run_layer(Encoder *e, DsGraphValue x, uint32_t layer)
{
	DsGraph *g = e->graph;
	const DsEncoderSpec *spec = e->spec;
	char first[DS_SPEC_NAME], second[DS_SPEC_NAME];

	snprintf(first, sizeof(first), "layer.%u.attention.norm", layer);
	snprintf(second, sizeof(second), "layer.%u.mlp.norm", layer);
	if (spec->norm_first)
	{
		DsGraphValue in = layer == 0 && spec->first_norm_absent ? x : norm(e, x, first);

		x = ds_graph_2(g, DS_OP_ADD, x, attention(e, in, layer));
		return ds_graph_2(g, DS_OP_ADD, x, mlp(e, norm(e, x, second), layer));
	}
	x = norm(e, ds_graph_2(g, DS_OP_ADD, x, attention(e, x, layer)), first);
	return norm(e, ds_graph_2(g, DS_OP_ADD, x, mlp(e, x, layer)), second);
}

/* ---- from tokens to a vector ---- */

/* Tokens' rows, or patches multiplied, x [batch, length, hidden], with what their places add */
static DsGraphValue
embed(Encoder *e, DsGraphValue x)
{
	DsGraph *g = e->graph;
	static const char *const axes[2] = {"batch", "length"};
	const DsEncoderSpec *spec = e->spec;

	if (spec->positions > 0)
		x = ds_graph_2(g, DS_OP_ADD, x,
					   ds_graph_gather(g, weight(e, "position.weight"),
									   ds_graph_2(g, DS_OP_ADD, e->places,
												  ds_graph_integer(g, spec->position_offset)),
									   0));
	if (spec->types > 0)
	{
		DsGraphValue types =
			spec->types == 1 ? ds_graph_integer(g, 0)
							 : ds_graph_input(g, "token_type_ids", DS_GRAPH_INT64, axes, NULL, 2);

		x = ds_graph_2(g, DS_OP_ADD, x, ds_graph_gather(g, weight(e, "type.weight"), types, 0));
	}
	if (spec->embedding_norm)
		x = norm(e, x, "embedding.norm");
	return x;
}

/* The token that is pooled: the last one of a text; by eot the first with eot_id, where there is one */
static DsGraphValue
pool_token(Encoder *e, DsGraphValue x, bool eot)
{
	DsGraph *g = e->graph;
	const int64_t any = -1;
	DsGraphValue count =
		ds_graph_2(g, DS_OP_MAX, ds_graph_sum(g, e->mask, 1, true), ds_graph_real(g, 1));
	DsGraphValue at = ds_graph_2(g, DS_OP_SUB, ds_graph_int64(g, count), ds_graph_integer(g, 1));

	if (eot)
	{
		DsGraphValue is =
			ds_graph_2(g, DS_OP_MUL, e->mask,
					   ds_graph_float(g, ds_graph_2(g, DS_OP_EQUAL, e->ids,
													ds_graph_integer(g, e->spec->eot_id))));

		/* the least of the places where it is, and of the last one */
		at = ds_graph_3(g, DS_OP_WHERE, ds_graph_2(g, DS_OP_GREATER, is, ds_graph_real(g, 0)),
						e->places, at);
		at = ds_graph_reduce(g, DS_REDUCE_MIN, at, 1, false);
	}
	else
		at = ds_graph_reshape(g, at, &any, 1);
	return ds_graph_pick(g, x, at);
}

/* What the maximum and the means are over */
typedef struct Kept
{
	DsGraphValue one;
	DsGraphValue mask; /* [batch, length]; 1 for tokens that count */
	DsGraphValue wide; /* the same [batch, length, 1] */
	DsGraphValue skipped; /* [batch, 1] tokens that were left out before them; 0: none */
} Kept;

/* Without pool_skip tokens at the beginning, unless a text has no others */
static Kept
keep(Encoder *e)
{
	DsGraph *g = e->graph;
	Kept kept = {.one = ds_graph_real(g, 1), .mask = e->mask};

	if (e->spec->pool_skip > 0)
	{
		DsGraphValue behind =
			ds_graph_float(g, ds_graph_2(g, DS_OP_GREATER, e->places,
										 ds_graph_integer(g, (int64_t) e->spec->pool_skip - 1)));
		DsGraphValue some = ds_graph_2(
			g, DS_OP_MIN, ds_graph_sum(g, ds_graph_2(g, DS_OP_MUL, e->mask, behind), 1, true),
			kept.one);

		/* mask * (1 - some (1 - behind)) */
		kept.mask = ds_graph_2(
			g, DS_OP_MUL, e->mask,
			ds_graph_2(g, DS_OP_SUB, kept.one,
					   ds_graph_2(g, DS_OP_MUL, some, ds_graph_2(g, DS_OP_SUB, kept.one, behind))));
		kept.skipped = ds_graph_scaled(g, some, (float) e->spec->pool_skip);
	}
	kept.wide = ds_graph_unsqueeze(g, kept.mask, 2, -1);
	return kept;
}

static DsGraphValue
pool_kept(Encoder *e, DsGraphValue x, const Kept *kept, uint32_t pooling)
{
	DsGraph *g = e->graph;
	DsGraphValue weights = kept->mask;
	DsGraphValue wide = kept->wide;
	DsGraphValue count;

	if (pooling == DS_POOL_MAX)
		return ds_graph_reduce(
			g, DS_REDUCE_MAX,
			ds_graph_2(g, DS_OP_ADD, x,
					   ds_graph_scaled(g, ds_graph_2(g, DS_OP_SUB, kept->one, wide), NEVER)),
			1, false);
	if (pooling == DS_POOL_WEIGHTED_MEAN)
	{
		DsGraphValue rank = ds_graph_2(g, DS_OP_ADD, ds_graph_float(g, e->places), kept->one);

		if (kept->skipped != 0)
			rank = ds_graph_2(g, DS_OP_SUB, rank, kept->skipped);
		weights = ds_graph_2(g, DS_OP_MUL, weights, rank);
		wide = ds_graph_unsqueeze(g, weights, 2, -1);
	}
	count = ds_graph_2(g, DS_OP_MAX, ds_graph_sum(g, weights, 1, true), kept->one);
	if (pooling == DS_POOL_MEAN_SQRT)
		count = ds_graph_1(g, DS_OP_SQRT, count);
	return ds_graph_2(g, DS_OP_DIV, ds_graph_sum(g, ds_graph_2(g, DS_OP_MUL, x, wide), 1, false),
					  count);
}

static DsGraphValue
pool(Encoder *e, DsGraphValue x)
{
	const uint32_t tokens = DS_POOL_CLS | DS_POOL_LAST | DS_POOL_EOT;
	DsGraph *g = e->graph;
	DsGraphValue found[DS_GRAPH_INPUTS] = {0};
	Kept kept = {0};
	size_t n = 0;

	/* what no node reads would be warned of */
	if (e->spec->pooling & ~tokens)
		kept = keep(e);
	for (uint32_t pooling = 1; pooling <= DS_POOL_EOT; pooling <<= 1)
	{
		DsGraphValue v;

		if (!(e->spec->pooling & pooling))
			continue;
		if (pooling == DS_POOL_CLS)
			v = ds_graph_gather(g, x, ds_graph_integer(g, 0), 1);
		else if (pooling & tokens)
			v = pool_token(e, x, pooling == DS_POOL_EOT);
		else
			v = pool_kept(e, x, &kept, pooling);
		if (n == DS_GRAPH_INPUTS)
		{
			found[0] = ds_graph_concat(g, found, -1);
			memset(found + 1, 0, sizeof(found) - sizeof(found[0]));
			n = 1;
		}
		found[n++] = v;
	}
	if (n > 1)
		found[0] = ds_graph_concat(g, found, -1);
	/* a text without tokens is zeros, as the means are by themselves */
	if (e->spec->kind != DS_ENCODER_PATCHES && (e->spec->pooling & (tokens | DS_POOL_MAX)))
		found[0] = ds_graph_2(
			g, DS_OP_MUL, found[0],
			ds_graph_2(g, DS_OP_MIN, ds_graph_sum(g, e->mask, 1, true), ds_graph_real(g, 1)));
	return found[0];
}

/* The mean of tokens' rows, which may have weights and share rows */
static DsGraphValue
run_static(Encoder *e, uint32_t drop_id)
{
	DsGraph *g = e->graph;
	const DsEncoderSpec *spec = e->spec;
	DsGraphValue rows = e->ids;
	DsGraphValue x;
	DsGraphValue count;

	if (drop_id != DS_SPEC_NO_ID)
		e->mask =
			ds_graph_2(g, DS_OP_MUL, e->mask,
					   ds_graph_float(g, ds_graph_1(g, DS_OP_NOT,
													ds_graph_2(g, DS_OP_EQUAL, e->ids,
															   ds_graph_integer(g, drop_id)))));
	if (spec->static_rows != spec->vocabulary)
		rows =
			ds_graph_gather(g, ds_graph_weight_int64(g, "token.row", spec->vocabulary), e->ids, 0);
	x = ds_graph_rows(g, "token.weight", spec->static_rows, spec->hidden, rows);
	if (spec->token_weights)
		x = ds_graph_2(
			g, DS_OP_MUL, x,
			ds_graph_unsqueeze(g, ds_graph_gather(g, weight(e, "token.scale"), e->ids, 0), 2, -1));
	count = ds_graph_2(g, DS_OP_MAX, ds_graph_sum(g, e->mask, 1, true), ds_graph_real(g, 1));
	return ds_graph_2(
		g, DS_OP_DIV,
		ds_graph_sum(g, ds_graph_2(g, DS_OP_MUL, x, ds_graph_unsqueeze(g, e->mask, 2, -1)), 1,
					 false),
		count);
}

/* Layers and pooling: x [batch, length, hidden], tokens placed and summed up, to a vector */
static DsGraphValue
run_layers(Encoder *e, DsGraphValue x)
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

DsGraphValue
ds_graph_patches(DsGraph *g, const DsEncoderSpec *spec, DsGraphValue patches)
{
	Encoder encoder = {.graph = g, .spec = spec};
	Encoder *e = &encoder;
	uint64_t tokens = spec->max_tokens;
	int64_t *places = ds_arena_alloc(g->arena, tokens, sizeof(int64_t));
	float *ones = ds_arena_alloc(g->arena, tokens, sizeof(float));
	uint64_t shape[2] = {1, tokens};
	DsGraphValue x;

	if (unsupported(spec) != NULL)
		ds_graph_refuse(g, unsupported(spec));
	if (spec->pooling & (DS_POOL_LAST | DS_POOL_EOT))
		ds_graph_refuse(g, "pooling by the last patch");
	if (places == NULL || ones == NULL)
		ds_graph_fail(g, DS_OUT_OF_MEMORY, "out of memory");
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
		DsGraphValue batch = ds_graph_slice(g, ds_graph_1(g, DS_OP_SHAPE, patches), 0, 0, 1);
		const int64_t rest[2] = {1, spec->hidden};
		const DsGraphValue sizes[DS_GRAPH_INPUTS] = {batch, ds_graph_integers(g, rest, 2)};
		const DsGraphValue both[DS_GRAPH_INPUTS] = {
			ds_graph_2(g, DS_OP_EXPAND, weight(e, "class.weight"), ds_graph_concat(g, sizes, 0)),
			x};

		x = ds_graph_concat(g, both, 1);
	}
	e->places = ds_graph_integers(g, places, tokens);
	if (spec->pooling != DS_POOL_CLS)
		e->mask = ds_graph_floats(g, ones, shape, 2);
	return ds_graph_modules(g, run_layers(e, embed(e, x)), spec->modules, spec->module_count);
}

DsCode
ds_graph_encoder(const DsGraphTarget *target, const DsEncoderSpec *spec, uint32_t drop_id,
				 DsStatus *status)
{
	static const char *const axes[2] = {"batch", "length"};
	DsGraph graph;
	DsGraph *g = &graph;
	Encoder encoder = {.graph = g, .spec = spec};
	Encoder *e = &encoder;
	DsGraphValue x;

	if (spec->kind == DS_ENCODER_PATCHES)
		return ds_fail(status, DS_UNSUPPORTED, "a transformer over patches reads no texts");
	if (ds_graph_begin(g, target, status) != DS_OK)
		return g->code;
	if (unsupported(spec) != NULL)
	{
		ds_graph_refuse(g, unsupported(spec));
		return g->code;
	}
	e->ids = ds_graph_input(g, "input_ids", DS_GRAPH_INT64, axes, NULL, 2);
	e->mask = ds_graph_float(g, ds_graph_input(g, "attention_mask", DS_GRAPH_INT64, axes, NULL, 2));
	if (spec->kind == DS_ENCODER_STATIC)
		x = run_static(e, drop_id);
	else
	{
		DsGraphValue length =
			ds_graph_gather(g, ds_graph_1(g, DS_OP_SHAPE, e->ids), ds_graph_integer(g, 1), 0);

		e->places =
			ds_graph_3(g, DS_OP_RANGE, ds_graph_integer(g, 0), length, ds_graph_integer(g, 1));
		x = ds_graph_rows(g, "token.weight", spec->vocabulary, spec->hidden, e->ids);
		x = run_layers(e, embed(e, x));
	}
	x = ds_graph_modules(g, x, spec->modules, spec->module_count);
	ds_graph_output(g, x, spec->scores ? "scores" : "embedding", ds_spec_dims(spec));
	return ds_graph_plan(g);
}
