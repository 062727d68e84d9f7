/*
 * onnx_graph.c
 *		The operations of graph.h as operators of ONNX's opset 17.
 *
 * With int8 what weights are multiplied with is quantised by DynamicQuantizeLinear, one
 * scale for all of a batch.
 *
 * Batch norm stays an operator of its own, as other exporters leave it: runtimes fold it
 * into the convolution before it.
 */
#include "format/graph.h"
#include "format/onnx.h"

#include <string.h>

typedef struct File
{
	DsOnnx onnx;
	/* what was quantised last, and its three values */
	DsGraphValue quantized_from;
	DsGraphValue quantized;
} File;

static DsOnnx *
onnx_of(DsGraph *g)
{
	return &((File *) g->file)->onnx;
}

static bool
begin(DsGraph *g)
{
	File *file = ds_arena_zero(g->arena, 1, sizeof(File));

	g->file = file;
	if (file != NULL)
		ds_onnx_init(&file->onnx, g->arena);
	return file != NULL;
}

static DsCode
plan(DsGraph *g)
{
	return ds_onnx_plan(onnx_of(g), g->target->plan, g->target->name, g->status);
}

/* ---- inputs, constants, weights ---- */

static int
type_of(DsGraphType type)
{
	return type == DS_GRAPH_FLOAT ? DS_ONNX_FLOAT : DS_ONNX_INT64;
}

static DsGraphValue
input(DsGraph *g, const char *name, DsGraphType type, const char *const *axes,
	  const uint64_t *sizes, size_t rank)
{
	return ds_onnx_input(onnx_of(g), name, type_of(type), axes, sizes, rank);
}

static void
output(DsGraph *g, DsGraphValue value, const char *name, uint64_t dims)
{
	ds_onnx_output(onnx_of(g), value, name, dims);
}

static DsGraphValue
integers(DsGraph *g, const int64_t *values, size_t count, size_t rank)
{
	return rank > 0 ? ds_onnx_integers(onnx_of(g), values, count)
					: ds_onnx_integer(onnx_of(g), values[0]);
}

static DsGraphValue
floats(DsGraph *g, const float *values, const uint64_t *shape, size_t rank)
{
	return ds_onnx_floats(onnx_of(g), values, shape, rank);
}

static DsGraphValue
weight_value(DsGraph *g, const DsGraphWeight *weight)
{
	return ds_onnx_weight(onnx_of(g), weight->part, weight->shape, weight->rank);
}

/* ---- operations ---- */

static const char *const names[DS_OP_COUNT] = {
	[DS_OP_ADD] = "Add",		 [DS_OP_SUB] = "Sub",		  [DS_OP_MUL] = "Mul",
	[DS_OP_DIV] = "Div",		 [DS_OP_MAX] = "Max",		  [DS_OP_MIN] = "Min",
	[DS_OP_MATMUL] = "MatMul",	 [DS_OP_GREATER] = "Greater", [DS_OP_EQUAL] = "Equal",
	[DS_OP_NOT] = "Not",		 [DS_OP_WHERE] = "Where",	  [DS_OP_ABS] = "Abs",
	[DS_OP_SQRT] = "Sqrt",		 [DS_OP_ERF] = "Erf",		  [DS_OP_TANH] = "Tanh",
	[DS_OP_SIGMOID] = "Sigmoid", [DS_OP_RELU] = "Relu",		  [DS_OP_COS] = "Cos",
	[DS_OP_SIN] = "Sin",		 [DS_OP_SOFTMAX] = "Softmax", [DS_OP_SHAPE] = "Shape",
	[DS_OP_RANGE] = "Range",	 [DS_OP_EXPAND] = "Expand",
};

/* of up to three inputs (0: none), without attributes */
static DsGraphValue
node(DsGraph *g, const char *op, DsGraphValue a, DsGraphValue b, DsGraphValue c)
{
	const DsGraphValue inputs[DS_ONNX_INPUTS] = {a, b, c};

	return ds_onnx_node(onnx_of(g), op, inputs, NULL, 1);
}

/* of one or two, with one attribute; the first of its outputs */
static DsGraphValue
node_with(DsGraph *g, const char *op, DsGraphValue a, DsGraphValue b, const char *name,
		  int64_t value, unsigned outputs)
{
	const DsGraphValue inputs[DS_ONNX_INPUTS] = {a, b};
	const DsOnnxAttribute attributes[] = {{.name = name, .kind = 'i', .integer = value},
										  {.name = NULL}};

	return ds_onnx_node(onnx_of(g), op, inputs, attributes, outputs);
}

/* the last axis is what Softmax has where nothing else is said */
static DsGraphValue
apply(DsGraph *g, DsGraphOp op, const DsGraphValue inputs[DS_GRAPH_INPUTS])
{
	return ds_onnx_node(onnx_of(g), names[op], inputs, NULL, 1);
}

static DsGraphValue
gather(DsGraph *g, DsGraphValue from, DsGraphValue at, int64_t axis)
{
	return node_with(g, "Gather", from, at, "axis", axis, 1);
}

static DsGraphValue
pick(DsGraph *g, DsGraphValue x, DsGraphValue at)
{
	return node_with(g, "GatherND", x, ds_graph_unsqueeze(g, at, 1, -1), "batch_dims", 1, 1);
}

static DsGraphValue
cast(DsGraph *g, DsGraphValue a, DsGraphType type)
{
	return node_with(g, "Cast", a, 0, "to", type_of(type), 1);
}

static DsGraphValue
unsqueeze(DsGraph *g, DsGraphValue a, const int64_t *axes, size_t count)
{
	return node(g, "Unsqueeze", a, ds_onnx_integers(onnx_of(g), axes, count), 0);
}

static DsGraphValue
transpose(DsGraph *g, DsGraphValue a, const int64_t *axes, size_t rank)
{
	const DsGraphValue inputs[DS_ONNX_INPUTS] = {a};
	DsOnnxAttribute attributes[] = {{.name = "perm", .kind = 'l', .list_count = rank},
									{.name = NULL}};

	memcpy(attributes[0].list, axes, rank * sizeof(axes[0]));
	return ds_onnx_node(onnx_of(g), "Transpose", inputs, attributes, 1);
}

static DsGraphValue
reshape(DsGraph *g, DsGraphValue a, const int64_t *shape, size_t rank)
{
	return node(g, "Reshape", a, ds_onnx_integers(onnx_of(g), shape, rank), 0);
}

static DsGraphValue
slice(DsGraph *g, DsGraphValue a, int64_t axis, int64_t begin_at, int64_t end)
{
	DsOnnx *onnx = onnx_of(g);
	const DsGraphValue inputs[DS_ONNX_INPUTS] = {a, ds_onnx_integers(onnx, &begin_at, 1),
												 ds_onnx_integers(onnx, &end, 1),
												 ds_onnx_integers(onnx, &axis, 1)};

	return ds_onnx_node(onnx, "Slice", inputs, NULL, 1);
}

static DsGraphValue
split(DsGraph *g, DsGraphValue x, const int64_t *sizes, size_t count)
{
	return node_with(g, "Split", x, ds_onnx_integers(onnx_of(g), sizes, count), "axis", -1,
					 (unsigned) count);
}

static DsGraphValue
concat(DsGraph *g, const DsGraphValue inputs[DS_GRAPH_INPUTS], int64_t axis)
{
	const DsOnnxAttribute attributes[] = {{.name = "axis", .kind = 'i', .integer = axis},
										  {.name = NULL}};

	return ds_onnx_node(onnx_of(g), "Concat", inputs, attributes, 1);
}

/* In this opset the axis is an attribute, other than that of ReduceSum. */
static DsGraphValue
reduce(DsGraph *g, DsGraphReduction how, DsGraphValue x, int64_t axis, bool keep)
{
	static const char *const ops[] = {"ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"};
	const DsGraphValue inputs[DS_ONNX_INPUTS] = {x};
	const DsOnnxAttribute attributes[] = {
		{.name = "axes", .kind = 'l', .list = {axis}, .list_count = 1},
		{.name = "keepdims", .kind = 'i', .integer = keep},
		{.name = NULL}};

	if (how == DS_REDUCE_SUM)
		return node_with(g, ops[how], x, ds_onnx_integers(onnx_of(g), &axis, 1), "keepdims", keep,
						 1);
	return ds_onnx_node(onnx_of(g), ops[how], inputs, attributes, 1);
}

static DsGraphValue
norm(DsGraph *g, DsGraphValue x, DsGraphValue weight, DsGraphValue bias, float epsilon)
{
	const DsGraphValue inputs[DS_ONNX_INPUTS] = {x, weight, bias};
	const DsOnnxAttribute attributes[] = {{.name = "axis", .kind = 'i', .integer = -1},
										  {.name = "epsilon", .kind = 'f', .real = epsilon},
										  {.name = NULL}};

	return ds_onnx_node(onnx_of(g), "LayerNormalization", inputs, attributes, 1);
}

/* ---- int8 ---- */

static DsGraphValue
product_int8(DsGraph *g, DsGraphValue x, const DsGraphWeight *weight, bool weight_only)
{
	File *file = g->file;
	const DsGraphValue inputs[DS_ONNX_INPUTS] = {x};
	DsGraphValue matrix = weight_value(g, weight);
	DsGraphValue factor = floats(g, weight->part->scales, &weight->shape[1], 1);

	if (weight_only)
		return ds_graph_2(g, DS_OP_MUL, ds_graph_2(g, DS_OP_MATMUL, x, ds_graph_float(g, matrix)),
						  factor);
	if (file->quantized_from != x)
	{
		file->quantized = ds_onnx_node(&file->onnx, "DynamicQuantizeLinear", inputs, NULL, 3);
		file->quantized_from = x;
	}
	factor = ds_graph_2(g, DS_OP_MUL, factor, file->quantized + 1);
	return ds_graph_2(
		g, DS_OP_MUL,
		ds_graph_float(g, node(g, "MatMulInteger", file->quantized, matrix, file->quantized + 2)),
		factor);
}

static DsGraphValue
rows_int8(DsGraph *g, const DsGraphWeight *table, DsGraphValue ids)
{
	return ds_graph_2(
		g, DS_OP_MUL, ds_graph_float(g, gather(g, weight_value(g, table), ids, 0)),
		ds_graph_unsqueeze(g, gather(g, floats(g, table->part->scales, table->shape, 1), ids, 0),
						   -1, -2));
}

/* ---- pictures: [batch, channels, height, width] ---- */

/* Conv, MaxPool, AveragePool */
static DsGraphValue
windowed(DsGraph *g, const char *op, const DsGraphValue inputs[DS_ONNX_INPUTS],
		 const DsImageLayer *layer)
{
	int64_t p = layer->padding;
	const DsOnnxAttribute attributes[] = {
		{.name = "kernel_shape",
		 .kind = 'l',
		 .list = {layer->kernel_height, layer->kernel_width},
		 .list_count = 2},
		{.name = "strides", .kind = 'l', .list = {layer->stride, layer->stride}, .list_count = 2},
		{.name = "pads", .kind = 'l', .list = {p, p, p, p}, .list_count = 4},
		{.name = NULL}};

	return ds_onnx_node(onnx_of(g), op, inputs, attributes, 1);
}

static DsGraphValue
convolve(DsGraph *g, DsGraphValue x, DsGraphValue weight, DsGraphValue bias,
		 const DsImageLayer *layer)
{
	const DsGraphValue inputs[DS_ONNX_INPUTS] = {x, weight, bias};

	return windowed(g, "Conv", inputs, layer);
}

static DsGraphValue
batch_norm(DsGraph *g, DsGraphValue x, const DsGraphValue parts[4], float epsilon)
{
	const DsGraphValue inputs[DS_ONNX_INPUTS] = {x, parts[0], parts[1], parts[2], parts[3]};
	const DsOnnxAttribute attributes[] = {{.name = "epsilon", .kind = 'f', .real = epsilon},
										  {.name = NULL}};

	return ds_onnx_node(onnx_of(g), "BatchNormalization", inputs, attributes, 1);
}

static DsGraphValue
pool(DsGraph *g, DsGraphValue x, const DsImageLayer *layer)
{
	const DsGraphValue inputs[DS_ONNX_INPUTS] = {x};

	return windowed(g, layer->kind == DS_LAYER_MAX_POOL ? "MaxPool" : "AveragePool", inputs, layer);
}

static DsGraphValue
average(DsGraph *g, DsGraphValue x)
{
	return node(g, "GlobalAveragePool", x, 0, 0);
}

static DsGraphValue
shortcut(DsGraph *g, DsGraphValue x, uint32_t stride, int64_t before, int64_t behind)
{
	DsOnnx *onnx = onnx_of(g);
	const int64_t from[2] = {0, 0}, end[2] = {INT32_MAX, INT32_MAX}, axes[2] = {2, 3};
	const int64_t steps[2] = {stride, stride};
	const int64_t pads[8] = {0, before, 0, 0, 0, behind, 0, 0};
	const DsGraphValue inputs[DS_ONNX_INPUTS] = {
		x, ds_onnx_integers(onnx, from, 2), ds_onnx_integers(onnx, end, 2),
		ds_onnx_integers(onnx, axes, 2), ds_onnx_integers(onnx, steps, 2)};

	x = ds_onnx_node(onnx, "Slice", inputs, NULL, 1);
	return node(g, "Pad", x, ds_onnx_integers(onnx, pads, 8), 0);
}

const DsGraphFormat ds_onnx_format = {
	.name = "ONNX",
	.begin = begin,
	.plan = plan,
	.input = input,
	.output = output,
	.integers = integers,
	.floats = floats,
	.weight = weight_value,
	.apply = apply,
	.gather = gather,
	.pick = pick,
	.cast = cast,
	.unsqueeze = unsqueeze,
	.transpose = transpose,
	.reshape = reshape,
	.slice = slice,
	.split = split,
	.concat = concat,
	.reduce = reduce,
	.norm = norm,
	.product_int8 = product_int8,
	.rows_int8 = rows_int8,
	.convolve = convolve,
	.batch_norm = batch_norm,
	.pool = pool,
	.average = average,
	.shortcut = shortcut,
};
