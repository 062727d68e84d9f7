/*
 * tensorflow_graph.c
 *		The operations of graph.h as operations of TensorFlow, in a SavedModel.
 *
 * Operations that TensorFlow has on all its processors and TensorFlow.js too, of f32.
 * Numbers of axes are constants of int32, shapes and ids of int64.
 *
 * Pictures go in as [batch, channels, height, width], as in ONNX, and are turned once:
 * convolutions and pools are computed with the channels last, since TensorFlow on a
 * processor has no others.  Their weights are variables [height, width, in, out], turned
 * when they are written, so that nothing is turned at each run.
 *
 * A product of a text's tokens by a weight is a BatchMatMulV2 whose second factor is
 * broadcast.  A shape whose first sizes stay is taken from the value's own (Shape,
 * StridedSlice, ConcatV2).
 */
#include "format/graph.h"
#include "format/saved_model.h"

#include <float.h>

static DsSavedModel *
model_of(DsGraph *g)
{
	return g->file;
}

static bool
begin(DsGraph *g)
{
	DsSavedModel *model = ds_arena_alloc(g->arena, 1, sizeof(DsSavedModel));

	g->file = model;
	if (model != NULL)
		ds_saved_model_init(model, g->arena);
	return model != NULL;
}

static DsCode
plan(DsGraph *g)
{
	return ds_saved_model_plan(model_of(g), g->target->plan, g->target->name, g->target->source,
							   g->target->cancel, g->status);
}

/* ---- inputs, constants, weights ---- */

static unsigned
type_of(DsGraphType type)
{
	return type == DS_GRAPH_FLOAT ? DS_SAVED_FLOAT : DS_SAVED_INT64;
}

static DsGraphValue
input(DsGraph *g, const char *name, DsGraphType type, const char *const *axes,
	  const uint64_t *sizes, size_t rank)
{
	int64_t shape[4];

	for (size_t d = 0; d < rank; d++)
		shape[d] = axes[d] != NULL ? -1 : (int64_t) sizes[d];
	return ds_saved_model_input(model_of(g), name, type_of(type), shape, rank);
}

static void
output(DsGraph *g, DsGraphValue value, const char *name, uint64_t dims)
{
	const int64_t shape[2] = {-1, (int64_t) dims};

	ds_saved_model_output(model_of(g), value, name, shape, 2);
}

static DsGraphValue
integers(DsGraph *g, const int64_t *values, size_t count, size_t rank)
{
	const uint64_t shape[1] = {count};

	return ds_saved_model_integers(model_of(g), DS_SAVED_INT64, values, shape, rank);
}

/* The numbers of axes */
static DsGraphValue
axes_of(DsGraph *g, const int64_t *values, size_t count)
{
	const uint64_t shape[1] = {count};

	return ds_saved_model_integers(model_of(g), DS_SAVED_INT32, values, shape, 1);
}

static DsGraphValue
axis_of(DsGraph *g, int64_t axis)
{
	return ds_saved_model_integers(model_of(g), DS_SAVED_INT32, &axis, NULL, 0);
}

static DsGraphValue
floats(DsGraph *g, const float *values, const uint64_t *shape, size_t rank)
{
	return ds_saved_model_floats(model_of(g), values, shape, rank);
}

static DsGraphValue
weight_value(DsGraph *g, const DsGraphWeight *weight)
{
	return ds_saved_model_variable(model_of(g), weight->name, weight->part, weight->shape,
								   weight->rank);
}

/* ---- operations ---- */

typedef struct Operation
{
	const char *name;
	const char *type; /* the attribute that has the type of what it is given; NULL: none */
	bool gives_bool;
} Operation;

static const Operation operations[DS_OP_COUNT] = {
	[DS_OP_ADD] = {"AddV2", "T", false},
	[DS_OP_SUB] = {"Sub", "T", false},
	[DS_OP_MUL] = {"Mul", "T", false},
	[DS_OP_DIV] = {"RealDiv", "T", false},
	[DS_OP_MAX] = {"Maximum", "T", false},
	[DS_OP_MIN] = {"Minimum", "T", false},
	[DS_OP_MATMUL] = {"BatchMatMulV2", "T", false},
	[DS_OP_GREATER] = {"Greater", "T", true},
	[DS_OP_EQUAL] = {"Equal", "T", true},
	[DS_OP_NOT] = {"LogicalNot", NULL, true},
	[DS_OP_WHERE] = {"SelectV2", "T", false}, /* of its second input */
	[DS_OP_ABS] = {"Abs", "T", false},
	[DS_OP_SQRT] = {"Sqrt", "T", false},
	[DS_OP_ERF] = {"Erf", "T", false},
	[DS_OP_TANH] = {"Tanh", "T", false},
	[DS_OP_SIGMOID] = {"Sigmoid", "T", false},
	[DS_OP_RELU] = {"Relu", "T", false},
	[DS_OP_COS] = {"Cos", "T", false},
	[DS_OP_SIN] = {"Sin", "T", false},
	[DS_OP_SOFTMAX] = {"Softmax", "T", false},
	[DS_OP_SHAPE] = {"Shape", "T", false},
	[DS_OP_RANGE] = {"Range", "Tidx", false},
	[DS_OP_EXPAND] = {"BroadcastTo", "T", false},
};

static unsigned
type(DsGraph *g, DsGraphValue value)
{
	return ds_saved_model_type(model_of(g), value);
}

/* A node of these inputs up to the first 0, whose attribute has a type (NULL: it has none) */
static void
begin_node(DsGraph *g, DsSavedNode *node, const char *op,
		   const DsGraphValue inputs[DS_GRAPH_INPUTS], const char *attribute, unsigned its_type)
{
	ds_node_begin(model_of(g), node, op, NULL);
	for (size_t i = 0; i < DS_GRAPH_INPUTS && inputs[i] != 0; i++)
		ds_node_input(node, inputs[i]);
	if (attribute != NULL)
		ds_node_type(node, attribute, its_type);
}

/* The same of two inputs or one (b 0), of the first one's type */
static void
begin_two(DsGraph *g, DsSavedNode *node, const char *op, const char *attribute, DsGraphValue a,
		  DsGraphValue b)
{
	const DsGraphValue inputs[DS_GRAPH_INPUTS] = {a, b};

	begin_node(g, node, op, inputs, attribute, type(g, a));
}

static DsGraphValue
apply(DsGraph *g, DsGraphOp op, const DsGraphValue inputs[DS_GRAPH_INPUTS])
{
	const Operation *operation = &operations[op];
	unsigned of = type(g, inputs[op == DS_OP_WHERE ? 1 : 0]);
	unsigned gives = operation->gives_bool ? DS_SAVED_BOOL : of;
	DsSavedNode node;

	begin_node(g, &node, operation->name, inputs, operation->type, of);
	if (op == DS_OP_SHAPE)
	{
		gives = DS_SAVED_INT64;
		ds_node_type(&node, "out_type", gives);
	}
	if (op == DS_OP_EXPAND)
		ds_node_type(&node, "Tidx", type(g, inputs[1]));
	return ds_node_end(&node, gives, 1);
}

static DsGraphValue
gather_batches(DsGraph *g, DsGraphValue from, DsGraphValue at, int64_t axis, int64_t batch_axes)
{
	const DsGraphValue inputs[DS_GRAPH_INPUTS] = {from, at, axis_of(g, axis)};
	DsSavedNode node;

	begin_node(g, &node, "GatherV2", inputs, "Tparams", type(g, from));
	ds_node_type(&node, "Tindices", type(g, at));
	ds_node_type(&node, "Taxis", DS_SAVED_INT32);
	if (batch_axes > 0)
		ds_node_integer(&node, "batch_dims", batch_axes);
	return ds_node_end(&node, type(g, from), 1);
}

static DsGraphValue
gather(DsGraph *g, DsGraphValue from, DsGraphValue at, int64_t axis)
{
	return gather_batches(g, from, at, axis, 0);
}

static DsGraphValue
pick(DsGraph *g, DsGraphValue x, DsGraphValue at)
{
	return gather_batches(g, x, at, 1, 1);
}

static DsGraphValue
cast(DsGraph *g, DsGraphValue a, DsGraphType to)
{
	DsSavedNode node;

	begin_two(g, &node, "Cast", "SrcT", a, 0);
	ds_node_type(&node, "DstT", type_of(to));
	return ds_node_end(&node, type_of(to), 1);
}

static DsGraphValue
unsqueeze(DsGraph *g, DsGraphValue a, const int64_t *axes, size_t count)
{
	for (size_t i = 0; i < count; i++)
	{
		DsSavedNode node;

		begin_two(g, &node, "ExpandDims", "T", a, axis_of(g, axes[i]));
		ds_node_type(&node, "Tdim", DS_SAVED_INT32);
		a = ds_node_end(&node, type(g, a), 1);
	}
	return a;
}

static DsGraphValue
transpose(DsGraph *g, DsGraphValue a, const int64_t *axes, size_t rank)
{
	DsSavedNode node;

	begin_two(g, &node, "Transpose", "T", a, axes_of(g, axes, rank));
	ds_node_type(&node, "Tperm", DS_SAVED_INT32);
	return ds_node_end(&node, type(g, a), 1);
}

static DsGraphValue
concat(DsGraph *g, const DsGraphValue inputs[DS_GRAPH_INPUTS], int64_t axis)
{
	DsSavedNode node;
	int64_t count = 0;

	while (count < DS_GRAPH_INPUTS && inputs[count] != 0)
		count++;
	begin_node(g, &node, "ConcatV2", inputs, "T", type(g, inputs[0]));
	ds_node_input(&node, axis_of(g, axis));
	ds_node_type(&node, "Tidx", DS_SAVED_INT32);
	ds_node_integer(&node, "N", count);
	return ds_node_end(&node, type(g, inputs[0]), 1);
}

/* ---- shapes ---- */

/* StridedSlice; the masks' bits are axes that go from their beginning, to their end, and "..." */
typedef struct Strides
{
	DsGraphValue begin;
	DsGraphValue end;
	DsGraphValue step;
	int64_t begin_mask;
	int64_t end_mask;
	int64_t ellipsis_mask;
} Strides;

static DsGraphValue
strided(DsGraph *g, DsGraphValue a, const Strides *strides)
{
	const DsGraphValue inputs[DS_GRAPH_INPUTS] = {a, strides->begin, strides->end, strides->step};
	DsSavedNode node;

	begin_node(g, &node, "StridedSlice", inputs, "T", type(g, a));
	ds_node_type(&node, "Index", DS_SAVED_INT64);
	ds_node_integer(&node, "begin_mask", strides->begin_mask);
	ds_node_integer(&node, "end_mask", strides->end_mask);
	ds_node_integer(&node, "ellipsis_mask", strides->ellipsis_mask);
	return ds_node_end(&node, type(g, a), 1);
}

static DsGraphValue
slice(DsGraph *g, DsGraphValue a, int64_t axis, int64_t begin_at, int64_t end)
{
	const int64_t first[2] = {axis < 0 ? 0 : begin_at, begin_at};
	const int64_t behind[2] = {axis < 0 ? 0 : end, end}, steps[2] = {1, 1};
	/* of the last axis, "..." stands for those before it */
	size_t count = axis < 0 ? 2 : 1;
	const Strides strides = {.begin = integers(g, first, count, 1),
							 .end = integers(g, behind, count, 1),
							 .step = integers(g, steps, count, 1),
							 .ellipsis_mask = axis < 0 ? 1 : 0};

	return strided(g, a, &strides);
}

static DsGraphValue
reshape(DsGraph *g, DsGraphValue a, const int64_t *shape, size_t rank)
{
	int64_t sizes[8] = {0};
	DsGraphValue to;
	DsSavedNode node;
	size_t kept = 0;
	bool open = false; /* a size is left open */

	while (kept < rank && shape[kept] == 0)
		kept++;
	for (size_t d = 0; d < rank; d++)
	{
		open |= shape[d] < 0;
		sizes[d] = shape[d];
	}
	if (kept == 1 && !open)
	{
		sizes[0] = -1;
		kept = 0;
	}
	to = integers(g, sizes + kept, rank - kept, 1);
	if (kept > 0)
	{
		const DsGraphValue parts[DS_GRAPH_INPUTS] = {
			slice(g, ds_graph_1(g, DS_OP_SHAPE, a), 0, 0, (int64_t) kept), to};

		to = concat(g, parts, 0);
	}
	begin_two(g, &node, "Reshape", "T", a, to);
	ds_node_type(&node, "Tshape", DS_SAVED_INT64);
	return ds_node_end(&node, type(g, a), 1);
}

static DsGraphValue
split(DsGraph *g, DsGraphValue x, const int64_t *sizes, size_t count)
{
	const DsGraphValue inputs[DS_GRAPH_INPUTS] = {x, integers(g, sizes, count, 1), axis_of(g, -1)};
	DsSavedNode node;

	begin_node(g, &node, "SplitV", inputs, "T", type(g, x));
	ds_node_type(&node, "Tlen", DS_SAVED_INT64);
	ds_node_integer(&node, "num_split", (int64_t) count);
	return ds_node_end(&node, type(g, x), (unsigned) count);
}

static DsGraphValue
reduce_axes(DsGraph *g, const char *op, DsGraphValue x, const int64_t *axes, size_t count,
			bool keep)
{
	DsSavedNode node;

	begin_two(g, &node, op, "T", x, axes_of(g, axes, count));
	ds_node_type(&node, "Tidx", DS_SAVED_INT32);
	if (keep)
		ds_node_bool(&node, "keep_dims", true);
	return ds_node_end(&node, type(g, x), 1);
}

static DsGraphValue
unary(DsGraph *g, const char *op, DsGraphValue x)
{
	DsSavedNode node;

	begin_two(g, &node, op, "T", x, 0);
	return ds_node_end(&node, type(g, x), 1);
}

static DsGraphValue
reduce(DsGraph *g, DsGraphReduction how, DsGraphValue x, int64_t axis, bool keep)
{
	static const char *const ops[] = {"Sum", "Max", "Min"};

	if (how == DS_REDUCE_L2)
		return ds_graph_1(g, DS_OP_SQRT,
						  reduce_axes(g, "Sum", unary(g, "Square", x), &axis, 1, keep));
	return reduce_axes(g, ops[how], x, &axis, 1, keep);
}

static DsGraphValue
norm(DsGraph *g, DsGraphValue x, DsGraphValue weight, DsGraphValue bias, float epsilon)
{
	static const int64_t last = -1;
	DsGraphValue centred = ds_graph_2(g, DS_OP_SUB, x, reduce_axes(g, "Mean", x, &last, 1, true));
	DsGraphValue variance = reduce_axes(g, "Mean", unary(g, "Square", centred), &last, 1, true);
	DsGraphValue factor =
		unary(g, "Rsqrt", ds_graph_2(g, DS_OP_ADD, variance, ds_graph_real(g, epsilon)));
	DsGraphValue y = ds_graph_2(g, DS_OP_MUL, ds_graph_2(g, DS_OP_MUL, centred, factor), weight);

	return bias != 0 ? ds_graph_2(g, DS_OP_ADD, y, bias) : y;
}

/* ---- pictures: [batch, height, width, channels] ---- */

/* Conv2D, MaxPool, AvgPool have the sizes of batch and channels in the midst of theirs */
static void
attr_window(DsSavedNode *node, const char *name, uint32_t height, uint32_t width)
{
	const int64_t sizes[4] = {1, height, width, 1};

	ds_node_integers(node, name, sizes, 4);
}

static DsGraphValue
convolve(DsGraph *g, DsGraphValue x, DsGraphValue weight, DsGraphValue bias,
		 const DsImageLayer *layer)
{
	int64_t p = layer->padding;
	const int64_t pads[8] = {0, 0, p, p, p, p, 0, 0};
	DsSavedNode node;

	begin_two(g, &node, "Conv2D", "T", x, weight);
	attr_window(&node, "strides", layer->stride, layer->stride);
	ds_node_text(&node, "padding", p > 0 ? "EXPLICIT" : "VALID");
	if (p > 0)
		ds_node_integers(&node, "explicit_paddings", pads, 8);
	x = ds_node_end(&node, DS_SAVED_FLOAT, 1);
	if (bias == 0)
		return x;
	begin_two(g, &node, "BiasAdd", "T", x, bias);
	return ds_node_end(&node, DS_SAVED_FLOAT, 1);
}

static DsGraphValue
batch_norm(DsGraph *g, DsGraphValue x, const DsGraphValue parts[4], float epsilon)
{
	const DsGraphValue inputs[DS_GRAPH_INPUTS] = {x, parts[0], parts[1], parts[2], parts[3]};
	DsSavedNode node;

	begin_node(g, &node, "FusedBatchNormV3", inputs, "T", DS_SAVED_FLOAT);
	ds_node_type(&node, "U", DS_SAVED_FLOAT);
	ds_node_real(&node, "epsilon", epsilon);
	ds_node_bool(&node, "is_training", false);
	return ds_node_end(&node, DS_SAVED_FLOAT, 6);
}

/* In front of a pool: what is padded there never is the largest, and means have no padding */
static DsGraphValue
pad_least(DsGraph *g, DsGraphValue x, int64_t p)
{
	const uint64_t shape[2] = {4, 2};
	const int64_t pads[8] = {0, 0, p, p, p, p, 0, 0};
	const DsGraphValue inputs[DS_GRAPH_INPUTS] = {
		x, ds_saved_model_integers(model_of(g), DS_SAVED_INT32, pads, shape, 2),
		ds_graph_real(g, -FLT_MAX)};
	DsSavedNode node;

	begin_node(g, &node, "PadV2", inputs, "T", DS_SAVED_FLOAT);
	ds_node_type(&node, "Tpaddings", DS_SAVED_INT32);
	return ds_node_end(&node, DS_SAVED_FLOAT, 1);
}

static DsGraphValue
pool(DsGraph *g, DsGraphValue x, const DsImageLayer *layer)
{
	DsSavedNode node;

	if (layer->padding > 0)
		x = pad_least(g, x, layer->padding);
	begin_two(g, &node, layer->kind == DS_LAYER_MAX_POOL ? "MaxPool" : "AvgPool", "T", x, 0);
	attr_window(&node, "ksize", layer->kernel_height, layer->kernel_width);
	attr_window(&node, "strides", layer->stride, layer->stride);
	ds_node_text(&node, "padding", "VALID");
	return ds_node_end(&node, DS_SAVED_FLOAT, 1);
}

static DsGraphValue
average(DsGraph *g, DsGraphValue x)
{
	static const int64_t inner[2] = {1, 2};

	return reduce_axes(g, "Mean", x, inner, 2, true);
}

static DsGraphValue
shortcut(DsGraph *g, DsGraphValue x, uint32_t stride, int64_t before, int64_t behind)
{
	const int64_t zeros[4] = {0, 0, 0, 0}, steps[4] = {1, stride, stride, 1};
	const uint64_t shape[2] = {4, 2};
	const int64_t pads[8] = {0, 0, 0, 0, 0, 0, before, behind};
	DsGraphValue all = integers(g, zeros, 4, 1);
	const Strides strides = {.begin = all,
							 .end = all,
							 .step = integers(g, steps, 4, 1),
							 .begin_mask = 15,
							 .end_mask = 15};
	DsSavedNode node;

	x = strided(g, x, &strides);
	begin_two(g, &node, "Pad", "T", x,
			  ds_saved_model_integers(model_of(g), DS_SAVED_INT32, pads, shape, 2));
	ds_node_type(&node, "Tpaddings", DS_SAVED_INT32);
	return ds_node_end(&node, DS_SAVED_FLOAT, 1);
}

const DsGraphFormat ds_tensorflow_format = {
	.name = "TensorFlow",
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
	.channels_last = true,
	.convolve = convolve,
	.batch_norm = batch_norm,
	.pool = pool,
	.average = average,
	.shortcut = shortcut,
};
