/*
 * onnx.h
 *		Writing ONNX files: the graph is made node by node, weights are parts of a
 *		plan.
 *
 * Only what a model needs of ONNX's protocol buffer (protobuf.h) is written here.
 *
 * Format: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 */
#ifndef DS_ONNX_H
#define DS_ONNX_H

#include "format/plan.h"

#define DS_ONNX_OPSET 17
#define DS_ONNX_IR 8
#define DS_ONNX_INPUTS 5 /* of a node, at most */

/* A value of the graph: an input, a weight, what a node gives.  0: none. */
typedef uint32_t DsOnnxValue;

typedef struct DsOnnxPiece
{
	const void *head; /* the initializer's message up to its bytes, these announced */
	size_t head_length;
	const void *bytes; /* or */
	DsPlanPart part;
	uint64_t length;
} DsOnnxPiece;

typedef struct DsOnnx
{
	DsArena *arena;
	DsBuffer nodes; /* fields of the graph: nodes, inputs, outputs */
	DsOnnxPiece *pieces; /* initializers */
	size_t piece_count;
	size_t piece_capacity;
	uint32_t values; /* the last one given */
	char names[8][32]; /* of inputs and outputs */
	DsOnnxValue named[8];
	size_t named_count;
	bool failed; /* memory was out */
} DsOnnx;

extern void ds_onnx_init(DsOnnx *onnx, DsArena *arena);

/* element types of ONNX */
#define DS_ONNX_FLOAT 1
#define DS_ONNX_INT8 3
#define DS_ONNX_INT64 7

/* An input of any size along axes that have names, and of sizes along the others (NULL) */
extern DsOnnxValue ds_onnx_input(DsOnnx *onnx, const char *name, int type, const char *const *axes,
								 const uint64_t *sizes, size_t rank);
/* One output [first axis, dims] by this name */
extern void ds_onnx_output(DsOnnx *onnx, DsOnnxValue value, const char *name, uint64_t dims);

typedef struct DsOnnxAttribute
{
	const char *name; /* NULL behind the last */
	char kind; /* 'i', 'f', 'l': a list of integers */
	int64_t integer;
	float real;
	int64_t list[6];
	size_t list_count;
} DsOnnxAttribute;

/* A node of up to DS_ONNX_INPUTS inputs (0: none, at the end); the first of its outputs, which are numbered on */
extern DsOnnxValue ds_onnx_node(DsOnnx *onnx, const char *op,
								const DsOnnxValue inputs[DS_ONNX_INPUTS],
								const DsOnnxAttribute *attributes, unsigned outputs);

/* Constants */
extern DsOnnxValue ds_onnx_integers(DsOnnx *onnx, const int64_t *values, size_t count);
extern DsOnnxValue ds_onnx_integer(DsOnnx *onnx, int64_t value); /* of no dimensions */
extern DsOnnxValue ds_onnx_real(DsOnnx *onnx, float value);
/* copied into the arena */
extern DsOnnxValue ds_onnx_floats(DsOnnx *onnx, const float *values, const uint64_t *shape,
								  size_t rank);
/* a weight, whose numbers come when the file is written: of f32 or i8 */
extern DsOnnxValue ds_onnx_weight(DsOnnx *onnx, const DsPlanPart *part, const uint64_t *shape,
								  size_t rank);

/* The file.  DS_TOO_LARGE beyond 2 GB, which is all that a protocol buffer can have. */
extern DsCode ds_onnx_plan(DsOnnx *onnx, DsPlan *plan, const char *name, DsStatus *status);

#endif /* DS_ONNX_H */
