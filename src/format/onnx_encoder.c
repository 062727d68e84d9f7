/*
 * onnx_encoder.c
 *		The graph of an encoder of texts, of the operators of ONNX's opset 17.
 *
 * It computes what encoder_spec.h says, for texts of several lengths that are
 * padded behind their ends:
 *
 *	   x = Gather(tokens) + Gather(positions) + Gather(types)	[batch, length, hidden]
 *	   each layer: products, softmax over keys that are no padding, ...
 *	   the pooling leaves padding out
 *	   modules
 *
 * Weights of linear layers are stored as [in, out], so that a product is one
 * MatMul.  With int8 they are of i8 with a scale for each output, and what they
 * are multiplied with is quantised by DynamicQuantizeLinear.
 */
#include "format/onnx_encoder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format/onnx.h"
#include "nn/encoder_positions.h"

/* what is added to a score of attention that does not count; exp() of it is 0 */
#define NEVER (-1e9f)

typedef struct Graph
{
	DsOnnx onnx;
	const DsEncoderSpec *spec;
	const DsOnnxOptions *options;
	const DsPlanStored *stored;
	const DsTensorSource *source;
	const DsCancel *cancel;
	DsStatus *status;
	DsCode code; /* the first failure */
	DsOnnxValue ids;
	DsOnnxValue mask; /* f32 [batch, length] */
	DsOnnxValue length; /* int64, no dimensions */
	DsOnnxValue places; /* int64 [length]: 0, 1, ... */
	DsOnnxValue attention; /* added to scores: [batch, 1, 1, length] or more */
	DsOnnxValue local; /* the same of layers with a window */
	DsOnnxValue cosine[2]; /* [length, rotary_dims / 2]; of global and local layers */
	DsOnnxValue sine[2];
	/* what was quantised last, and its three values */
	DsOnnxValue quantized_from;
	DsOnnxValue quantized;
} Graph;

static DsOnnxValue
op4(Graph *g, const char *op, DsOnnxValue a, DsOnnxValue b, DsOnnxValue c, DsOnnxValue d)
{
	const DsOnnxValue inputs[4] = {a, b, c, d};

	return ds_onnx_node(&g->onnx, op, inputs, NULL, 1);
}

static DsOnnxValue
op1(Graph *g, const char *op, DsOnnxValue a)
{
	return op4(g, op, a, 0, 0, 0);
}

static DsOnnxValue
op2(Graph *g, const char *op, DsOnnxValue a, DsOnnxValue b)
{
	return op4(g, op, a, b, 0, 0);
}

static DsOnnxValue
op3(Graph *g, const char *op, DsOnnxValue a, DsOnnxValue b, DsOnnxValue c)
{
	return op4(g, op, a, b, c, 0);
}

static DsOnnxValue
with_integer(Graph *g, const char *op, DsOnnxValue a, DsOnnxValue b, const char *name,
			 int64_t value, unsigned outputs)
{
	const DsOnnxValue inputs[4] = {a, b};
	const DsOnnxAttribute attributes[] = {{.name = name, .kind = 'i', .integer = value},
										  {.name = NULL}};

	return ds_onnx_node(&g->onnx, op, inputs, attributes, outputs);
}

static DsOnnxValue
gather(Graph *g, DsOnnxValue from, DsOnnxValue at, int64_t axis)
{
	return with_integer(g, "Gather", from, at, "axis", axis, 1);
}

static DsOnnxValue
as_float(Graph *g, DsOnnxValue a)
{
	return with_integer(g, "Cast", a, 0, "to", DS_ONNX_FLOAT, 1);
}

static DsOnnxValue
unsqueeze(Graph *g, DsOnnxValue a, int64_t first, int64_t second)
{
	const int64_t axes[2] = {first, second};

	return op2(g, "Unsqueeze", a, ds_onnx_integers(&g->onnx, axes, second < 0 ? 1 : 2));
}

static DsOnnxValue
transpose(Graph *g, DsOnnxValue a, int64_t p, int64_t q, int64_t r, int64_t s)
{
	const DsOnnxValue inputs[4] = {a};
	const DsOnnxAttribute attributes[] = {
		{.name = "perm", .kind = 'l', .list = {p, q, r, s}, .list_count = s < 0 ? 3 : 4},
		{.name = NULL}};

	return ds_onnx_node(&g->onnx, "Transpose", inputs, attributes, 1);
}

static DsOnnxValue
scaled(Graph *g, DsOnnxValue a, float factor)
{
	return op2(g, "Mul", a, ds_onnx_real(&g->onnx, factor));
}

/* ---- weights ---- */

static void
fail(Graph *g, DsCode code, const char *format, const char *name)
{
	if (g->code != DS_OK)
		return;
	g->code = code;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	(void) ds_fail(g->status, code, format, name);
#pragma GCC diagnostic pop
}

/* Describes a tensor as it is stored; false when there is none */
static bool
find_part(Graph *g, const char *name, DsPlanPart *part)
{
	DsSpecTensor wanted;
	DsDtype dtype;
	uint32_t rank;
	uint64_t shape[4];

	memset(part, 0, sizeof(*part));
	if (!ds_spec_find(g->spec, name, &wanted))
		return false;
	snprintf(part->tensor, sizeof(part->tensor), "%s", name);
	part->rows = wanted.shape[0];
	part->columns = wanted.shape[1];
	part->dtype = DS_DTYPE_F32;
	if (g->stored->describe(g->stored->context, part->tensor, &dtype, &rank, shape))
		return true;
	if (!wanted.linear || strlen(name) + 3 > sizeof(part->tensor))
		return false;
	strcat(part->tensor, "_t");
	part->rows = wanted.shape[1];
	part->columns = wanted.shape[0];
	part->transpose = true; /* relative to the description */
	return g->stored->describe(g->stored->context, part->tensor, &dtype, &rank, shape);
}

/* A vector or a table, in f32 */
static DsOnnxValue
weight(Graph *g, const char *name)
{
	DsPlanPart part;
	uint64_t shape[2];

	if (!find_part(g, name, &part))
	{
		fail(g, DS_BAD_DATA, "tensor \"%s\" is missing", name);
		return 0;
	}
	shape[0] = part.rows;
	shape[1] = part.columns;
	return ds_onnx_weight(&g->onnx, &part, shape, part.columns > 1 ? 2 : 1);
}

static float *
row_scales(Graph *g, const DsPlanPart *part)
{
	float *scales = NULL;

	if (g->code == DS_OK)
		g->code = ds_plan_row_scales(part, g->source, g->onnx.arena, &scales, g->cancel, g->status);
	return g->code == DS_OK ? scales : NULL;
}

/* x W + b of a linear layer; in i8 where that is asked for */
static DsOnnxValue
linear(Graph *g, DsOnnxValue x, const char *name, bool bias, bool short_numbers)
{
	char full[DS_SPEC_NAME + 8];
	DsPlanPart part;
	uint64_t shape[2];
	DsOnnxValue y;

	snprintf(full, sizeof(full), "%s.weight", name);
	if (!find_part(g, full, &part))
	{
		fail(g, DS_BAD_DATA, "tensor \"%s\" is missing", full);
		return x;
	}
	/* written as [in, out] */
	shape[0] = part.transpose ? part.rows : part.columns;
	shape[1] = part.transpose ? part.columns : part.rows;
	/* its rows are outputs only where it is stored so */
	short_numbers = short_numbers && g->options->int8 && !part.transpose;
	part.transpose = !part.transpose;
	if (short_numbers)
	{
		float *scales = row_scales(g, &part);
		DsOnnxValue factor;
		DsOnnxValue inputs[4];

		if (scales == NULL)
			return x;
		if (g->quantized_from != x)
		{
			inputs[0] = x;
			inputs[1] = inputs[2] = inputs[3] = 0;
			g->quantized = ds_onnx_node(&g->onnx, "DynamicQuantizeLinear", inputs, NULL, 3);
			g->quantized_from = x;
		}
		part.dtype = DS_DTYPE_I8;
		part.scales = scales;
		factor = op2(g, "Mul", ds_onnx_floats(&g->onnx, scales, &shape[1], 1), g->quantized + 1);
		y = op3(g, "MatMulInteger", g->quantized, ds_onnx_weight(&g->onnx, &part, shape, 2),
				g->quantized + 2);
		y = op2(g, "Mul", as_float(g, y), factor);
	}
	else
		y = op2(g, "MatMul", x, ds_onnx_weight(&g->onnx, &part, shape, 2));
	if (!bias)
		return y;
	snprintf(full, sizeof(full), "%s.bias", name);
	return op2(g, "Add", y, weight(g, full));
}

/* A table's rows, in i8 where that is asked for */
static DsOnnxValue
rows_of(Graph *g, const char *name, DsOnnxValue ids)
{
	DsPlanPart part;
	uint64_t shape[2];
	float *scales;

	if (!g->options->int8 || !find_part(g, name, &part))
		return gather(g, weight(g, name), ids, 0);
	scales = row_scales(g, &part);
	if (scales == NULL)
		return ids;
	part.dtype = DS_DTYPE_I8;
	part.scales = scales;
	shape[0] = part.rows;
	shape[1] = part.columns;
	return op2(
		g, "Mul", as_float(g, gather(g, ds_onnx_weight(&g->onnx, &part, shape, 2), ids, 0)),
		unsqueeze(g, gather(g, ds_onnx_floats(&g->onnx, scales, &shape[0], 1), ids, 0), -1, -2));
}

/* ---- functions ---- */

static DsOnnxValue
activate(Graph *g, DsOnnxValue x, uint32_t activation)
{
	switch (activation)
	{
		case DS_ACT_IDENTITY:
			return x;
		case DS_ACT_GELU:
			return op2(g, "Mul", scaled(g, x, 0.5f),
					   op2(g, "Add", op1(g, "Erf", scaled(g, x, (float) M_SQRT1_2)),
						   ds_onnx_real(&g->onnx, 1)));
		case DS_ACT_GELU_TANH:
		{
			DsOnnxValue cube = op2(g, "Mul", op2(g, "Mul", x, x), x);
			DsOnnxValue inner = op2(g, "Add", x, scaled(g, cube, 0.044715f));

			return op2(g, "Mul", scaled(g, x, 0.5f),
					   op2(g, "Add",
						   op1(g, "Tanh", scaled(g, inner, (float) sqrt(2 / 3.14159265358979324))),
						   ds_onnx_real(&g->onnx, 1)));
		}
		case DS_ACT_QUICK_GELU:
			return op2(g, "Mul", x, op1(g, "Sigmoid", scaled(g, x, 1.702f)));
		case DS_ACT_RELU:
			return op1(g, "Relu", x);
		case DS_ACT_SILU:
			return op2(g, "Mul", x, op1(g, "Sigmoid", x));
		case DS_ACT_TANH:
			return op1(g, "Tanh", x);
		case DS_ACT_SIGMOID:
			return op1(g, "Sigmoid", x);
		default:
			fail(g, DS_UNSUPPORTED, "the activation \"%s\" has no counterpart in ONNX",
				 ds_activation_name(activation));
			return x;
	}
}

static DsOnnxValue
norm(Graph *g, DsOnnxValue x, const char *name, bool bias, float epsilon)
{
	char full[DS_SPEC_NAME + 8];
	DsOnnxValue inputs[4] = {x};
	const DsOnnxAttribute attributes[] = {{.name = "axis", .kind = 'i', .integer = -1},
										  {.name = "epsilon", .kind = 'f', .real = epsilon},
										  {.name = NULL}};

	snprintf(full, sizeof(full), "%s.weight", name);
	inputs[1] = weight(g, full);
	snprintf(full, sizeof(full), "%s.bias", name);
	if (bias)
		inputs[2] = weight(g, full);
	return ds_onnx_node(&g->onnx, "LayerNormalization", inputs, attributes, 1);
}

/* Halves and the like of the last axis; the first of them */
static DsOnnxValue
split(Graph *g, DsOnnxValue x, const int64_t *sizes, size_t count)
{
	return with_integer(g, "Split", x, ds_onnx_integers(&g->onnx, sizes, count), "axis", -1,
						(unsigned) count);
}

static DsOnnxValue
concat(Graph *g, const DsOnnxValue inputs[4])
{
	const DsOnnxAttribute attributes[] = {{.name = "axis", .kind = 'i', .integer = -1},
										  {.name = NULL}};

	return ds_onnx_node(&g->onnx, "Concat", inputs, attributes, 1);
}

static DsOnnxValue
reduce_sum(Graph *g, DsOnnxValue x, int64_t axis, bool keep)
{
	return with_integer(g, "ReduceSum", x, ds_onnx_integers(&g->onnx, &axis, 1), "keepdims", keep,
						1);
}

/* ReduceMax, ReduceL2: in this opset the axis is an attribute */
static DsOnnxValue
reduce(Graph *g, const char *op, DsOnnxValue x, int64_t axis, bool keep)
{
	const DsOnnxValue inputs[4] = {x};
	const DsOnnxAttribute attributes[] = {
		{.name = "axes", .kind = 'l', .list = {axis}, .list_count = 1},
		{.name = "keepdims", .kind = 'i', .integer = keep},
		{.name = NULL}};

	return ds_onnx_node(&g->onnx, op, inputs, attributes, 1);
}

/* ---- attention ---- */

static void
make_rotation(Graph *g, int kind, float base)
{
	size_t half = g->spec->rotary_dims / 2;
	float *frequency = ds_arena_alloc(g->onnx.arena, half, sizeof(float));
	uint64_t shape[2] = {1, half};
	DsOnnxValue angle;

	if (frequency == NULL)
	{
		fail(g, DS_OUT_OF_MEMORY, "out of memory%s", "");
		return;
	}
	for (size_t c = 0; c < half; c++)
		frequency[c] = (float) (1.0 / pow((double) base, (double) (2 * c) / g->spec->rotary_dims));
	angle = op2(g, "Mul", unsqueeze(g, as_float(g, g->places), 1, -1),
				ds_onnx_floats(&g->onnx, frequency, shape, 2));
	g->cosine[kind] = op1(g, "Cos", angle);
	g->sine[kind] = op1(g, "Sin", angle);
}

/* x [batch, heads, length, head_dims] */
static DsOnnxValue
rotate(Graph *g, DsOnnxValue x, int kind)
{
	int64_t half = g->spec->rotary_dims / 2;
	int64_t rest = (int64_t) g->spec->head_dims - 2 * half;
	const int64_t sizes[3] = {half, half, rest};
	DsOnnxValue parts = split(g, x, sizes, rest > 0 ? 3 : 2);
	DsOnnxValue first = op2(g, "Sub", op2(g, "Mul", parts, g->cosine[kind]),
							op2(g, "Mul", parts + 1, g->sine[kind]));
	DsOnnxValue second = op2(g, "Add", op2(g, "Mul", parts + 1, g->cosine[kind]),
							 op2(g, "Mul", parts, g->sine[kind]));
	const DsOnnxValue inputs[4] = {first, second, rest > 0 ? parts + 2 : 0};

	return concat(g, inputs);
}

/* What is added to scores: padding, causality, distances */
static void
make_masks(Graph *g)
{
	const DsEncoderSpec *spec = g->spec;
	DsOnnxValue never = ds_onnx_real(&g->onnx, NEVER);
	DsOnnxValue zero = 0;
	DsOnnxValue distance = 0; /* key - query */

	/* what no node reads would be warned of */
	if (spec->causal || spec->window > 0)
		zero = ds_onnx_real(&g->onnx, 0);
	if (spec->causal || spec->window > 0 || spec->relative_buckets > 0)
		distance = op2(g, "Sub", unsqueeze(g, g->places, 0, -1), unsqueeze(g, g->places, 1, -1));

	g->attention =
		op2(g, "Mul", op2(g, "Sub", ds_onnx_real(&g->onnx, 1), unsqueeze(g, g->mask, 1, 2)), never);
	if (spec->causal)
		g->attention =
			op2(g, "Add", g->attention,
				op3(g, "Where", op2(g, "Greater", distance, ds_onnx_integer(&g->onnx, 0)), never,
					zero));
	if (spec->relative_buckets > 0)
	{
		size_t most = spec->max_tokens;
		int64_t *buckets = ds_arena_alloc(g->onnx.arena, 2 * most, sizeof(int64_t));
		DsOnnxValue at;

		if (buckets == NULL)
		{
			fail(g, DS_OUT_OF_MEMORY, "out of memory%s", "");
			return;
		}
		for (size_t i = 0; i < 2 * most; i++)
			buckets[i] = ds_relative_bucket((int64_t) i - (int64_t) most, spec->relative_buckets,
											spec->relative_distance);
		at = gather(g, ds_onnx_integers(&g->onnx, buckets, 2 * most),
					op2(g, "Add", distance, ds_onnx_integer(&g->onnx, (int64_t) most)), 0);
		/* [query, key, heads] */
		at = transpose(g, gather(g, weight(g, "relative.weight"), at, 0), 2, 0, 1, -1);
		g->attention = op2(g, "Add", g->attention, unsqueeze(g, at, 0, -1));
	}
	g->local = g->attention;
	if (spec->window > 0)
		g->local = op2(g, "Add", g->attention,
					   op3(g, "Where",
						   op2(g, "Greater", op1(g, "Abs", distance),
							   ds_onnx_integer(&g->onnx, spec->window / 2)),
						   never, zero));
	if (spec->rotary_dims > 0)
	{
		make_rotation(g, 0, spec->rotary_base);
		if (spec->window > 0)
			make_rotation(g, 1, spec->window_base > 0 ? spec->window_base : spec->rotary_base);
	}
}

static DsOnnxValue
attention(Graph *g, DsOnnxValue x, uint32_t layer)
{
	const DsEncoderSpec *spec = g->spec;
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
		part[0] = split(g, linear(g, x, name, spec->qkv_bias != 0, true), sizes, 3);
		part[1] = part[0] + 1;
		part[2] = part[0] + 2;
	}
	else
		for (int i = 0; i < 3; i++)
		{
			static const char *const names[] = {"query", "key", "value"};

			snprintf(name, sizeof(name), "layer.%u.attention.%s", layer, names[i]);
			part[i] = linear(g, x, name, spec->qkv_bias != 0, true);
		}
	for (int i = 0; i < 3; i++)
	{
		part[i] = transpose(g, op2(g, "Reshape", part[i], shape), 0, 2, 1, 3);
		if (i < 2 && spec->rotary_dims > 0)
			part[i] = rotate(g, part[i], local ? 1 : 0);
	}
	scores = op2(g, "MatMul", scaled(g, part[0], 1 / sqrtf((float) spec->head_dims)),
				 transpose(g, part[1], 0, 1, 3, 2));
	scores = op2(g, "Add", scores, local ? g->local : g->attention);
	scores = with_integer(g, "Softmax", scores, 0, "axis", -1, 1);
	x = transpose(g, op2(g, "MatMul", scores, part[2]), 0, 2, 1, 3);
	x = op2(g, "Reshape", x, ds_onnx_integers(&g->onnx, joined, 3));
	snprintf(name, sizeof(name), "layer.%u.attention.out", layer);
	return linear(g, x, name, spec->out_bias != 0, true);
}

static DsOnnxValue
mlp(Graph *g, DsOnnxValue x, uint32_t layer)
{
	const DsEncoderSpec *spec = g->spec;
	char name[DS_SPEC_NAME];
	DsOnnxValue up;

	if (spec->gate_up_fused)
	{
		const int64_t sizes[2] = {spec->intermediate, spec->intermediate};

		snprintf(name, sizeof(name), "layer.%u.mlp.gate_up", layer);
		up = split(g, linear(g, x, name, spec->up_bias != 0, true), sizes, 2);
		up = op2(g, "Mul", activate(g, up, spec->activation), up + 1);
	}
	else
	{
		snprintf(name, sizeof(name), "layer.%u.mlp.up", layer);
		up = linear(g, x, name, spec->up_bias != 0, true);
		if (spec->gated)
		{
			snprintf(name, sizeof(name), "layer.%u.mlp.gate", layer);
			up = op2(g, "Mul",
					 activate(g, linear(g, x, name, spec->up_bias != 0, true), spec->activation),
					 up);
		}
		else
			up = activate(g, up, spec->activation);
	}
	snprintf(name, sizeof(name), "layer.%u.mlp.down", layer);
	return linear(g, up, name, spec->down_bias != 0, true);
}

static DsOnnxValue
run_layer(Graph *g, DsOnnxValue x, uint32_t layer)
{
	const DsEncoderSpec *spec = g->spec;
	bool bias = spec->norm_bias != 0;
	char first[DS_SPEC_NAME], second[DS_SPEC_NAME];

	snprintf(first, sizeof(first), "layer.%u.attention.norm", layer);
	snprintf(second, sizeof(second), "layer.%u.mlp.norm", layer);
	if (spec->norm_first)
	{
		DsOnnxValue in =
			layer == 0 && spec->first_norm_absent ? x : norm(g, x, first, bias, spec->norm_epsilon);

		x = op2(g, "Add", x, attention(g, in, layer));
		return op2(g, "Add", x, mlp(g, norm(g, x, second, bias, spec->norm_epsilon), layer));
	}
	x = norm(g, op2(g, "Add", x, attention(g, x, layer)), first, bias, spec->norm_epsilon);
	return norm(g, op2(g, "Add", x, mlp(g, x, layer)), second, bias, spec->norm_epsilon);
}

/* ---- from tokens to a vector ---- */

static DsOnnxValue
embed(Graph *g)
{
	static const char *const axes[2] = {"batch", "length"};
	const DsEncoderSpec *spec = g->spec;
	DsOnnxValue x = rows_of(g, "token.weight", g->ids);

	if (spec->positions > 0)
		x = op2(g, "Add", x,
				gather(g, weight(g, "position.weight"),
					   op2(g, "Add", g->places, ds_onnx_integer(&g->onnx, spec->position_offset)),
					   0));
	if (spec->types > 0)
	{
		DsOnnxValue types = spec->types == 1
								? ds_onnx_integer(&g->onnx, 0)
								: ds_onnx_input(&g->onnx, "token_type_ids", DS_ONNX_INT64, axes, 2);

		x = op2(g, "Add", x, gather(g, weight(g, "type.weight"), types, 0));
	}
	if (spec->embedding_norm)
		x = norm(g, x, "embedding.norm", spec->norm_bias != 0, spec->norm_epsilon);
	return x;
}

/* The token that a number for each text says, of x [batch, length, hidden] */
static DsOnnxValue
token_at(Graph *g, DsOnnxValue x, DsOnnxValue at)
{
	const DsOnnxValue inputs[4] = {x, unsqueeze(g, at, 1, -1)};
	const DsOnnxAttribute attributes[] = {{.name = "batch_dims", .kind = 'i', .integer = 1},
										  {.name = NULL}};

	return ds_onnx_node(&g->onnx, "GatherND", inputs, attributes, 1);
}

static DsOnnxValue
as_integer(Graph *g, DsOnnxValue a)
{
	return with_integer(g, "Cast", a, 0, "to", DS_ONNX_INT64, 1);
}

static DsOnnxValue
pool(Graph *g, DsOnnxValue x)
{
	DsOnnxValue mask = unsqueeze(g, g->mask, 2, -1);
	DsOnnxValue one = ds_onnx_real(&g->onnx, 1);
	DsOnnxValue count = op2(g, "Max", reduce_sum(g, g->mask, 1, true), one); /* [batch, 1] */
	DsOnnxValue last = 0;
	DsOnnxValue found[4] = {0};
	size_t n = 0;

	if (g->spec->pooling & (DS_POOL_LAST | DS_POOL_EOT))
	{
		const int64_t any = -1;

		last = op2(g, "Reshape", as_integer(g, count), ds_onnx_integers(&g->onnx, &any, 1));
		last = op2(g, "Sub", last, ds_onnx_integer(&g->onnx, 1));
	}
	for (uint32_t pooling = 1; pooling <= DS_POOL_EOT; pooling <<= 1)
	{
		DsOnnxValue v = 0;

		if (!(g->spec->pooling & pooling))
			continue;
		if (n == 4)
		{
			fail(g, DS_UNSUPPORTED, "more than four poolings have no counterpart%s", "");
			return x;
		}
		switch (pooling)
		{
			case DS_POOL_CLS:
				v = gather(g, x, ds_onnx_integer(&g->onnx, 0), 1);
				break;
			case DS_POOL_MAX:
				v = reduce(g, "ReduceMax",
						   op2(g, "Add", x, scaled(g, op2(g, "Sub", one, mask), NEVER)), 1, false);
				break;
			case DS_POOL_MEAN:
			case DS_POOL_MEAN_SQRT:
				v = op2(g, "Div", reduce_sum(g, op2(g, "Mul", x, mask), 1, false),
						pooling == DS_POOL_MEAN ? count : op1(g, "Sqrt", count));
				break;
			case DS_POOL_WEIGHTED_MEAN:
			{
				DsOnnxValue weights =
					op2(g, "Mul", g->mask,
						op2(g, "Add", as_float(g, g->places), one)); /* [batch, length] */

				v = op2(g, "Div",
						reduce_sum(g, op2(g, "Mul", x, unsqueeze(g, weights, 2, -1)), 1, false),
						op2(g, "Max", reduce_sum(g, weights, 1, true), one));
				break;
			}
			case DS_POOL_LAST:
				v = token_at(g, x, last);
				break;
			default:
			{
				/* the first of them; where there is none, the last token of all */
				DsOnnxValue is = as_integer(
					g, op2(g, "Equal", g->ids, ds_onnx_integer(&g->onnx, g->spec->eot_id)));
				const DsOnnxValue inputs[4] = {is};
				const DsOnnxAttribute attributes[] = {
					{.name = "axis", .kind = 'i', .integer = 1},
					{.name = "keepdims", .kind = 'i', .integer = 0},
					{.name = NULL}};
				DsOnnxValue at = ds_onnx_node(&g->onnx, "ArgMax", inputs, attributes, 1);
				DsOnnxValue any = reduce_sum(g, is, 1, false);

				at =
					op3(g, "Where", op2(g, "Greater", any, ds_onnx_integer(&g->onnx, 0)), at, last);
				v = token_at(g, x, at);
				break;
			}
		}
		found[n++] = v;
	}
	return n == 1 ? found[0] : concat(g, found);
}

static DsOnnxValue
run_modules(Graph *g, DsOnnxValue v)
{
	for (uint32_t m = 0; m < g->spec->module_count; m++)
	{
		const DsSpecModule *module = &g->spec->modules[m];
		char name[DS_SPEC_NAME];

		snprintf(name, sizeof(name), "module.%u", m);
		if (module->kind == DS_MODULE_DENSE)
			v = activate(g, linear(g, v, name, module->bias != 0, false), module->activation);
		else if (module->kind == DS_MODULE_NORM)
			v = norm(g, v, name, module->bias != 0, module->epsilon);
		else if (module->kind == DS_MODULE_NORMALIZE)
			v = op2(
				g, "Div", v,
				op2(g, "Max", reduce(g, "ReduceL2", v, -1, true), ds_onnx_real(&g->onnx, 1e-12f)));
		else
		{
			const int64_t begin = 0, end = module->out, axis = -1;

			v = op4(g, "Slice", v, ds_onnx_integers(&g->onnx, &begin, 1),
					ds_onnx_integers(&g->onnx, &end, 1), ds_onnx_integers(&g->onnx, &axis, 1));
		}
	}
	return v;
}

/* The mean of tokens' rows, which may have weights and share rows */
static DsOnnxValue
run_static(Graph *g, uint32_t drop_id)
{
	const DsEncoderSpec *spec = g->spec;
	DsOnnxValue rows = g->ids;
	DsOnnxValue x;
	DsOnnxValue count;

	if (drop_id != DS_SPEC_NO_ID)
		g->mask =
			op2(g, "Mul", g->mask,
				as_float(
					g, op1(g, "Not", op2(g, "Equal", g->ids, ds_onnx_integer(&g->onnx, drop_id)))));
	if (spec->static_rows != spec->vocabulary)
	{
		DsPlanPart part;
		uint64_t shape[1] = {spec->vocabulary};

		if (!find_part(g, "token.row", &part))
			fail(g, DS_BAD_DATA, "tensor \"%s\" is missing", "token.row");
		part.dtype = DS_DTYPE_I64;
		rows = gather(g, ds_onnx_weight(&g->onnx, &part, shape, 1), g->ids, 0);
	}
	x = rows_of(g, "token.weight", rows);
	if (spec->token_weights)
		x = op2(g, "Mul", x, unsqueeze(g, gather(g, weight(g, "token.scale"), g->ids, 0), 2, -1));
	count = op2(g, "Max", reduce_sum(g, g->mask, 1, true), ds_onnx_real(&g->onnx, 1));
	return op2(g, "Div", reduce_sum(g, op2(g, "Mul", x, unsqueeze(g, g->mask, 2, -1)), 1, false),
			   count);
}

DsCode
ds_onnx_encoder(const DsEncoderSpec *spec, uint32_t drop_id, const DsOnnxOptions *options,
				const DsPlanStored *stored, const DsTensorSource *source, DsPlan *plan,
				const char *name, const DsCancel *cancel, DsStatus *status)
{
	static const char *const axes[2] = {"batch", "length"};
	Graph graph = {.spec = spec,
				   .options = options,
				   .stored = stored,
				   .source = source,
				   .cancel = cancel,
				   .status = status};
	Graph *g = &graph;
	DsOnnxValue x;

	if (spec->kind == DS_ENCODER_PATCHES)
		return ds_fail(status, DS_UNSUPPORTED, "a transformer over patches has no writer");
	if (spec->rotary_scaling > 0)
		return ds_fail(status, DS_UNSUPPORTED,
					   "rotation that depends on a text's length (rotary_scaling) has no writer");
	if (spec->rotary_interleaved)
		return ds_fail(status, DS_UNSUPPORTED, "interleaved rotation has no writer");
	if (spec->pool_skip > 0)
		return ds_fail(status, DS_UNSUPPORTED, "pooling that skips tokens has no writer");
	ds_onnx_init(&g->onnx, plan->arena);
	g->ids = ds_onnx_input(&g->onnx, "input_ids", DS_ONNX_INT64, axes, 2);
	g->mask = as_float(g, ds_onnx_input(&g->onnx, "attention_mask", DS_ONNX_INT64, axes, 2));
	if (spec->kind == DS_ENCODER_STATIC)
		x = run_static(g, drop_id);
	else
	{
		g->length = gather(g, op1(g, "Shape", g->ids), ds_onnx_integer(&g->onnx, 1), 0);
		g->places =
			op3(g, "Range", ds_onnx_integer(&g->onnx, 0), g->length, ds_onnx_integer(&g->onnx, 1));
		x = embed(g);
		make_masks(g);
		for (uint32_t layer = 0; layer < spec->layers; layer++)
			x = run_layer(g, x, layer);
		if (spec->final_norm)
			x = norm(g, x, "final.norm", spec->norm_bias != 0, spec->norm_epsilon);
		x = pool(g, x);
	}
	x = run_modules(g, x);
	ds_onnx_output(&g->onnx, x, spec->scores ? "scores" : "embedding", ds_spec_dims(spec));
	if (g->code != DS_OK)
		return g->code;
	return ds_onnx_plan(&g->onnx, plan, name, status);
}
