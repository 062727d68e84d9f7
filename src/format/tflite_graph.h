/*
 * tflite_graph.h
 *		A graph of TensorFlow Lite, while it is put together.
 *
 * For the files of this room that know a model (tflite_encoder.c,
 * tflite_tower.c).  They call one function for each operation, which gives the
 * tensor that comes out; shapes are worked out here.  The first failure stays in
 * the graph, and everything after it does nothing: so the calls read like the
 * formula, and one look at the end tells what went wrong.
 *
 * Numbers of the schema (operators, their versions, options, types) are those of
 * schema.fbs as TensorFlow publishes it; only builtin operators are used.
 */
#ifndef DS_TFLITE_GRAPH_H
#define DS_TFLITE_GRAPH_H

#include "format/plan.h"

typedef int32_t DsTfTensor; /* number of a tensor; -1: none */

#define DS_TF_NONE (-1)
#define DS_TF_RANK 4

typedef enum DsTfType /* TensorType */
{
	DS_TF_F32 = 0,
	DS_TF_F16 = 1,
	DS_TF_I32 = 2,
	DS_TF_BOOL = 6,
	DS_TF_I8 = 9
} DsTfType;

typedef enum DsTfOperator /* BuiltinOperator */
{
	DS_TF_ADD = 0,
	DS_TF_CONCATENATION = 2,
	DS_TF_DEQUANTIZE = 6,
	DS_TF_FULLY_CONNECTED = 9,
	DS_TF_L2_NORMALIZATION = 11,
	DS_TF_LOGISTIC = 14,
	DS_TF_MUL = 18,
	DS_TF_RELU = 19,
	DS_TF_RESHAPE = 22,
	DS_TF_SOFTMAX = 25,
	DS_TF_TANH = 28,
	DS_TF_GATHER = 36,
	DS_TF_TRANSPOSE = 39,
	DS_TF_MEAN = 40,
	DS_TF_SUB = 41,
	DS_TF_DIV = 42,
	DS_TF_CAST = 53,
	DS_TF_MAXIMUM = 55,
	DS_TF_MINIMUM = 57,
	DS_TF_SLICE = 65,
	DS_TF_EQUAL = 71,
	DS_TF_SUM = 74,
	DS_TF_RSQRT = 76,
	DS_TF_REDUCE_MAX = 82,
	DS_TF_UNPACK = 88,
	DS_TF_SQUARED_DIFFERENCE = 99,
	DS_TF_BATCH_MATMUL = 126,
	DS_TF_CUMSUM = 128,
	DS_TF_GELU = 150
} DsTfOperator;

typedef struct DsTfShape
{
	uint32_t rank;
	uint32_t dims[DS_TF_RANK];
} DsTfShape;

typedef struct DsTfInfo
{
	DsTfType type;
	DsTfShape shape;
	char name[DS_SPEC_NAME]; /* "": has a number for a name */
	int32_t constant; /* number of its bytes, or -1 */
	const float *scales; /* I8 only: one for each of dims[0], or NULL */
} DsTfInfo;

typedef struct DsTfGraph
{
	DsArena *arena; /* everything lives here */
	const DsTensorSource *source;
	const DsCancel *cancel;
	DsStatus *status;
	DsCode code;
	DsDtype weights; /* F32, F16, I8 */
	struct DsTfList *tensors; /* DsTfInfo */
	struct DsTfList *constants;
	struct DsTfList *operations;
	float *numbers; /* a piece of a tensor */
	uint64_t claimed; /* bytes of the model's tensors in the file */
	DsTfTensor inputs[4];
	size_t input_count;
	DsTfTensor output;
} DsTfGraph;

#define DS_TF_SHAPE(...) \
	((DsTfShape){sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), {__VA_ARGS__}})

extern void ds_tf_begin(DsTfGraph *graph, DsDtype weights, const DsTensorSource *source,
						DsArena *arena, const DsCancel *cancel, DsStatus *status);
/* Fails with a sentence, unless it has failed before */
extern void ds_tf_fail(DsTfGraph *graph, DsCode code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

extern DsTfTensor ds_tf_input(DsTfGraph *graph, const char *name, DsTfType type, DsTfShape shape);
extern void ds_tf_output(DsTfGraph *graph, const char *name, DsTfTensor tensor);

/* Numbers that are given: of 4 bytes, F32 or I32; they are copied. */
extern DsTfTensor ds_tf_constant(DsTfGraph *graph, DsTfType type, DsTfShape shape,
								 const void *numbers);
extern DsTfTensor ds_tf_number(DsTfGraph *graph, double number);

/*
 * Tensors of the model, by their neutral names, checked for their number of values;
 * they are written when the file is.  As they are: of type F32 or I32.
 */
extern DsTfTensor ds_tf_stored(DsTfGraph *graph, const char *name, DsTfType type, DsTfShape shape);
/* count numbers of it, from the beginning on, in the arena; total: all that it must have */
extern const float *ds_tf_read(DsTfGraph *graph, const char *name, uint64_t total, size_t count);

/*
 * out[..., outs] = act(weight x + bias): weight [outs, ins] is name + ".weight" (or
 * ".weight_t" of the other shape), bias name + ".bias".  transposed: ".weight" itself
 * is [ins, outs].  The weight's type is the graph's; exact: F32 in any case.
 */
typedef struct DsTfDense
{
	const char *name;
	uint32_t outs;
	bool bias;
	bool transposed;
	bool relu;
	bool exact;
} DsTfDense;

extern DsTfTensor ds_tf_dense(DsTfGraph *graph, DsTfTensor x, const DsTfDense *dense);
/* rows of a table [rows, columns] of the model, of the graph's type: [ids, columns] */
extern DsTfTensor ds_tf_lookup(DsTfGraph *graph, const char *name, uint32_t rows, uint32_t columns,
							   DsTfTensor ids);

/* Operations.  Shapes are broadcast from behind, as everywhere. */
extern DsTfTensor ds_tf_binary(DsTfGraph *graph, DsTfOperator opcode, DsTfTensor a, DsTfTensor b);
extern DsTfTensor ds_tf_unary(DsTfGraph *graph, DsTfOperator opcode, DsTfTensor x);
extern DsTfTensor ds_tf_gelu(DsTfGraph *graph, DsTfTensor x, bool approximate);
extern DsTfTensor ds_tf_cast(DsTfGraph *graph, DsTfTensor x, DsTfType type);
extern DsTfTensor ds_tf_reshape(DsTfGraph *graph, DsTfTensor x, DsTfShape shape);
extern DsTfTensor ds_tf_transpose(DsTfGraph *graph, DsTfTensor x, DsTfShape order);
/* [..., n, k] times [..., k, m], or [..., m, k] if adjoint */
extern DsTfTensor ds_tf_multiply(DsTfGraph *graph, DsTfTensor a, DsTfTensor b, bool adjoint);
/* MEAN, SUM, REDUCE_MAX over one axis, which stays with one component */
extern DsTfTensor ds_tf_reduce(DsTfGraph *graph, DsTfOperator opcode, DsTfTensor x, uint32_t axis);
extern DsTfTensor ds_tf_cumulate(DsTfGraph *graph, DsTfTensor x, uint32_t axis); /* exclusive */
/* rows of x */
extern DsTfTensor ds_tf_gather(DsTfGraph *graph, DsTfTensor x, DsTfTensor rows);
/* components first .. first + count - 1 of one axis */
extern DsTfTensor ds_tf_slice(DsTfGraph *graph, DsTfTensor x, uint32_t axis, uint32_t first,
							  uint32_t count);
extern DsTfTensor ds_tf_concat(DsTfGraph *graph, const DsTfTensor *parts, size_t count,
							   uint32_t axis);
/* the parts of the first axis, which goes: dims[0] of them */
extern void ds_tf_unpack(DsTfGraph *graph, DsTfTensor x, DsTfTensor *parts, size_t count);
/* Layer normalisation of the last axis; bias may be "" */
extern DsTfTensor ds_tf_norm(DsTfGraph *graph, DsTfTensor x, const char *name, bool bias,
							 double epsilon);

extern DsTfShape ds_tf_shape(const DsTfGraph *graph, DsTfTensor tensor);

/* The graph as a file of the plan: tables first, weights last */
extern DsCode ds_tf_plan(DsTfGraph *graph, const char *file, const char *description, DsPlan *plan);

#endif /* DS_TFLITE_GRAPH_H */
