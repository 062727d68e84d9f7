/*
 * graph.h
 *		A model as a graph of operations, while it is put together.
 *
 * The files of this room that know a model (graph_encoder.c, graph_image.c,
 * graph_tower.c) say here what is computed, and a format says how: ONNX
 * (onnx_graph.c), a SavedModel of TensorFlow (tensorflow_graph.c).  One function for
 * each operation, which gives its result; the first failure stays in the graph, and one
 * look at the end tells what went wrong.
 *
 * Operations are those that both formats have, with the meaning of numpy: shapes are
 * broadcast, negative axes count from the end.
 */
#ifndef DS_GRAPH_H
#define DS_GRAPH_H

#include "format/graph_model.h"

#define DS_GRAPH_INPUTS 5 /* of an operation, at most */

/* A value of the graph: an input, a weight, what an operation gives.  0: none. */
typedef uint32_t DsGraphValue;

typedef enum DsGraphType
{
	DS_GRAPH_FLOAT = 1,
	DS_GRAPH_INT64
} DsGraphType;

/* Operations that have inputs only */
typedef enum DsGraphOp
{
	DS_OP_ADD,
	DS_OP_SUB,
	DS_OP_MUL,
	DS_OP_DIV,
	DS_OP_MAX,
	DS_OP_MIN,
	DS_OP_MATMUL, /* of the last two axes; the others are broadcast */
	DS_OP_GREATER,
	DS_OP_EQUAL,
	DS_OP_NOT,
	DS_OP_WHERE, /* condition, what where it is true, what elsewhere */
	DS_OP_ABS,
	DS_OP_SQRT,
	DS_OP_ERF,
	DS_OP_TANH,
	DS_OP_SIGMOID,
	DS_OP_RELU,
	DS_OP_COS,
	DS_OP_SIN,
	DS_OP_SOFTMAX, /* of the last axis */
	DS_OP_SHAPE, /* int64 [rank] */
	DS_OP_RANGE, /* int64: begin, end, step */
	DS_OP_EXPAND, /* what, to which shape */
	DS_OP_COUNT
} DsGraphOp;

typedef enum DsGraphReduction
{
	DS_REDUCE_SUM,
	DS_REDUCE_MAX,
	DS_REDUCE_MIN,
	DS_REDUCE_L2
} DsGraphReduction;

typedef struct DsGraph
{
	const struct DsGraphFormat *format;
	const DsGraphTarget *target;
	DsArena *arena; /* the plan's */
	DsStatus *status;
	DsCode code; /* the first failure */
	void *file; /* what the format has of it */
} DsGraph;

extern DsCode ds_graph_begin(DsGraph *g, const DsGraphTarget *target, DsStatus *status);
/* The file, or files, or the first failure */
extern DsCode ds_graph_plan(DsGraph *g);
/* Fails with a sentence, unless it has failed before */
extern void ds_graph_fail(DsGraph *g, DsCode code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* DS_UNSUPPORTED: what has no counterpart in the format */
extern void ds_graph_refuse(DsGraph *g, const char *what);

/* An input of any size along axes that have names, and of sizes along the others (NULL) */
extern DsGraphValue ds_graph_input(DsGraph *g, const char *name, DsGraphType type,
								   const char *const *axes, const uint64_t *sizes, size_t rank);
/* The one output, f32 [batch, dims], by this name */
extern void ds_graph_output(DsGraph *g, DsGraphValue value, const char *name, uint64_t dims);

/* Constants, for which numbers are copied into the arena */
extern DsGraphValue ds_graph_integers(DsGraph *g, const int64_t *values, size_t count);
extern DsGraphValue ds_graph_integer(DsGraph *g, int64_t value); /* of no dimensions */
extern DsGraphValue ds_graph_real(DsGraph *g, float value);
extern DsGraphValue ds_graph_floats(DsGraph *g, const float *values, const uint64_t *shape,
									size_t rank);

extern DsGraphValue ds_graph_1(DsGraph *g, DsGraphOp op, DsGraphValue a);
extern DsGraphValue ds_graph_2(DsGraph *g, DsGraphOp op, DsGraphValue a, DsGraphValue b);
extern DsGraphValue ds_graph_3(DsGraph *g, DsGraphOp op, DsGraphValue a, DsGraphValue b,
							   DsGraphValue c);
extern DsGraphValue ds_graph_gather(DsGraph *g, DsGraphValue from, DsGraphValue at, int64_t axis);
/* of x [batch, length, ...] the one at a place for each of the batch: at [batch] */
extern DsGraphValue ds_graph_pick(DsGraph *g, DsGraphValue x, DsGraphValue at);
extern DsGraphValue ds_graph_float(DsGraph *g, DsGraphValue a);
extern DsGraphValue ds_graph_int64(DsGraph *g, DsGraphValue a);
/* an axis of 1 at first, and at second unless that is negative */
extern DsGraphValue ds_graph_unsqueeze(DsGraph *g, DsGraphValue a, int64_t first, int64_t second);
extern DsGraphValue ds_graph_transpose(DsGraph *g, DsGraphValue a, const int64_t *axes,
									   size_t rank);
/* sizes of 0 at the beginning stay as they are; one may be -1, what is left */
extern DsGraphValue ds_graph_reshape(DsGraph *g, DsGraphValue a, const int64_t *shape, size_t rank);
extern DsGraphValue ds_graph_scaled(DsGraph *g, DsGraphValue a, float factor);
/* components from begin to end of the first axis, 0, or the last one, -1 */
extern DsGraphValue ds_graph_slice(DsGraph *g, DsGraphValue a, int64_t axis, int64_t begin,
								   int64_t end);
/* parts of the last axis; the first of them, the others are numbered on */
extern DsGraphValue ds_graph_split(DsGraph *g, DsGraphValue x, const int64_t *sizes, size_t count);
/* along an axis, inputs up to the first 0 */
extern DsGraphValue ds_graph_concat(DsGraph *g, const DsGraphValue inputs[DS_GRAPH_INPUTS],
									int64_t axis);
extern DsGraphValue ds_graph_reduce(DsGraph *g, DsGraphReduction how, DsGraphValue x, int64_t axis,
									bool keep);
extern DsGraphValue ds_graph_sum(DsGraph *g, DsGraphValue x, int64_t axis, bool keep);

/*
 * Weights, by the names that the source has them under.  f32 [rows, columns], or [rows]
 * where columns is 1.
 */
extern DsGraphValue ds_graph_weight(DsGraph *g, const char *name, uint64_t rows, uint64_t columns);
/* The same of integers [rows] */
extern DsGraphValue ds_graph_weight_int64(DsGraph *g, const char *name, uint64_t rows);
/* Rows of a table, in i8 where that is asked for */
extern DsGraphValue ds_graph_rows(DsGraph *g, const char *name, uint64_t rows, uint64_t columns,
								  DsGraphValue ids);

/*
 * x W + b: W is name + ".weight", [outs, ins] (or ".weight_t", [ins, outs]); turned:
 * ".weight" itself is [ins, outs]; b is name + ".bias".  In i8 where that is asked for,
 * unless exact; with x as it is where weight_only.
 */
typedef struct DsGraphLinear
{
	const char *name;
	uint64_t ins;
	uint64_t outs;
	bool bias;
	bool turned;
	bool exact;
	bool weight_only;
} DsGraphLinear;

extern DsGraphValue ds_graph_linear(DsGraph *g, DsGraphValue x, const DsGraphLinear *linear);

/* DsActivation */
extern DsGraphValue ds_graph_activate(DsGraph *g, DsGraphValue x, uint32_t activation);
/* Layer normalisation of the last axis by name + ".weight" and ".bias", [dims] */
extern DsGraphValue ds_graph_norm(DsGraph *g, DsGraphValue x, const char *name, uint64_t dims,
								  bool bias, float epsilon);
/* To length one; a vector of zeros stays */
extern DsGraphValue ds_graph_normalize(DsGraph *g, DsGraphValue x);
/* "module.0" and so on */
extern DsGraphValue ds_graph_modules(DsGraph *g, DsGraphValue v, const DsSpecModule *modules,
									 uint32_t count);

/*
 * Pictures, from [batch, channels, height, width] to the order of axes that the format works
 * in, and layers of image_spec.h; a convolution without what is added and the activation.
 */
extern DsGraphValue ds_graph_picture(DsGraph *g, DsGraphValue pixels);
extern DsGraphValue ds_graph_convolve(DsGraph *g, DsGraphValue x, uint32_t number,
									  const DsImageLayer *layer, uint32_t channels);
extern DsGraphValue ds_graph_pool(DsGraph *g, DsGraphValue x, const DsImageLayer *layer);
extern DsGraphValue ds_graph_average(DsGraph *g, DsGraphValue x);
extern DsGraphValue ds_graph_shortcut(DsGraph *g, DsGraphValue x, const DsImageLayer *layer,
									  uint32_t channels);

/* graph_encoder.c: patches [batch, tokens, patch_dims] to a vector, by a transformer over patches */
extern DsGraphValue ds_graph_patches(DsGraph *g, const DsEncoderSpec *spec, DsGraphValue patches);
/* graph_image.c: pixels [batch, channels, height, width] to a vector */
extern DsGraphValue ds_graph_image(DsGraph *g, const DsImageSpec *spec, DsGraphValue pixels);

/* ---- for the formats ---- */

/* A weight as it is written: its numbers are the part's, in the order of this shape */
typedef struct DsGraphWeight
{
	const char *name;
	const DsPlanPart *part;
	const uint64_t *shape;
	size_t rank;
} DsGraphWeight;

/* What a format has: each as the function of the same name above says it, of inputs that are there */
typedef struct DsGraphFormat
{
	const char *name; /* in messages */
	bool (*begin)(DsGraph *g); /* false: memory was out */
	DsCode (*plan)(DsGraph *g);
	DsGraphValue (*input)(DsGraph *g, const char *name, DsGraphType type, const char *const *axes,
						  const uint64_t *sizes, size_t rank);
	void (*output)(DsGraph *g, DsGraphValue value, const char *name, uint64_t dims);
	DsGraphValue (*integers)(DsGraph *g, const int64_t *values, size_t count, size_t rank);
	DsGraphValue (*floats)(DsGraph *g, const float *values, const uint64_t *shape, size_t rank);
	DsGraphValue (*weight)(DsGraph *g, const DsGraphWeight *weight);
	DsGraphValue (*apply)(DsGraph *g, DsGraphOp op, const DsGraphValue inputs[DS_GRAPH_INPUTS]);
	DsGraphValue (*gather)(DsGraph *g, DsGraphValue from, DsGraphValue at, int64_t axis);
	DsGraphValue (*pick)(DsGraph *g, DsGraphValue x, DsGraphValue at);
	DsGraphValue (*cast)(DsGraph *g, DsGraphValue a, DsGraphType type);
	DsGraphValue (*unsqueeze)(DsGraph *g, DsGraphValue a, const int64_t *axes, size_t count);
	DsGraphValue (*transpose)(DsGraph *g, DsGraphValue a, const int64_t *axes, size_t rank);
	DsGraphValue (*reshape)(DsGraph *g, DsGraphValue a, const int64_t *shape, size_t rank);
	DsGraphValue (*slice)(DsGraph *g, DsGraphValue a, int64_t axis, int64_t begin, int64_t end);
	DsGraphValue (*split)(DsGraph *g, DsGraphValue x, const int64_t *sizes, size_t count);
	DsGraphValue (*concat)(DsGraph *g, const DsGraphValue inputs[DS_GRAPH_INPUTS], int64_t axis);
	DsGraphValue (*reduce)(DsGraph *g, DsGraphReduction how, DsGraphValue x, int64_t axis,
						   bool keep);
	/* bias 0: none */
	DsGraphValue (*norm)(DsGraph *g, DsGraphValue x, DsGraphValue weight, DsGraphValue bias,
						 float epsilon);
	/*
	 * What i8 makes of a product and of a table: scales are there, of the columns as they are
	 * written, or of the rows.  NULL: the format has no i8 here.
	 */
	DsGraphValue (*product_int8)(DsGraph *g, DsGraphValue x, const DsGraphWeight *weight,
								 bool weight_only);
	DsGraphValue (*rows_int8)(DsGraph *g, const DsGraphWeight *table, DsGraphValue ids);
	/* Channels behind rows and columns: pictures and weights of convolutions are turned so */
	bool channels_last;
	DsGraphValue (*convolve)(DsGraph *g, DsGraphValue x, DsGraphValue weight, DsGraphValue bias,
							 const DsImageLayer *layer);
	/* norm: weight, bias, mean, variance */
	DsGraphValue (*batch_norm)(DsGraph *g, DsGraphValue x, const DsGraphValue norm[4],
							   float epsilon);
	DsGraphValue (*pool)(DsGraph *g, DsGraphValue x, const DsImageLayer *layer);
	DsGraphValue (*average)(DsGraph *g,
							DsGraphValue x); /* over rows and columns, which stay as 1 */
	/* every stride-th row and column, with so many channels of zeros before and behind */
	DsGraphValue (*shortcut)(DsGraph *g, DsGraphValue x, uint32_t stride, int64_t before,
							 int64_t behind);
} DsGraphFormat;

#endif /* DS_GRAPH_H */
