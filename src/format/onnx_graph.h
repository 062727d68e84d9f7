/*
 * onnx_graph.h
 *		A graph of ONNX while it is put together: what the writers of models share.
 *
 * For the files of this room that know a model (onnx_encoder.c, onnx_image.c,
 * onnx_tower.c).  One function for each operation, which gives its result; the first
 * failure stays in the graph, and one look at the end tells what went wrong.
 */
#ifndef DS_ONNX_GRAPH_H
#define DS_ONNX_GRAPH_H

#include "format/onnx.h"
#include "format/onnx_model.h"

typedef struct DsOnnxGraph
{
	DsOnnx onnx;
	const DsOnnxTarget *target;
	DsStatus *status;
	DsCode code; /* the first failure */
	/* what was quantised last, and its three values */
	DsOnnxValue quantized_from;
	DsOnnxValue quantized;
} DsOnnxGraph;

extern void ds_ox_begin(DsOnnxGraph *g, const DsOnnxTarget *target, DsStatus *status);
/* The file, or the first failure */
extern DsCode ds_ox_plan(DsOnnxGraph *g);
/* Fails with a sentence, unless it has failed before */
extern void ds_ox_fail(DsOnnxGraph *g, DsCode code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Nodes of so many inputs, without attributes */
extern DsOnnxValue ds_ox_1(DsOnnxGraph *g, const char *op, DsOnnxValue a);
extern DsOnnxValue ds_ox_2(DsOnnxGraph *g, const char *op, DsOnnxValue a, DsOnnxValue b);
extern DsOnnxValue ds_ox_3(DsOnnxGraph *g, const char *op, DsOnnxValue a, DsOnnxValue b,
						   DsOnnxValue c);
/* ... of one or two (b 0), with one attribute; the first of its outputs */
extern DsOnnxValue ds_ox_with(DsOnnxGraph *g, const char *op, DsOnnxValue a, DsOnnxValue b,
							  const char *name, int64_t value, unsigned outputs);
extern DsOnnxValue ds_ox_gather(DsOnnxGraph *g, DsOnnxValue from, DsOnnxValue at, int64_t axis);
extern DsOnnxValue ds_ox_float(DsOnnxGraph *g, DsOnnxValue a);
extern DsOnnxValue ds_ox_int64(DsOnnxGraph *g, DsOnnxValue a);
/* an axis of 1 at first, and at second unless that is negative */
extern DsOnnxValue ds_ox_unsqueeze(DsOnnxGraph *g, DsOnnxValue a, int64_t first, int64_t second);
/* of four axes, or three: s is -1 */
extern DsOnnxValue ds_ox_transpose(DsOnnxGraph *g, DsOnnxValue a, int64_t p, int64_t q, int64_t r,
								   int64_t s);
extern DsOnnxValue ds_ox_reshape(DsOnnxGraph *g, DsOnnxValue a, const int64_t *shape, size_t rank);
extern DsOnnxValue ds_ox_scaled(DsOnnxGraph *g, DsOnnxValue a, float factor);
/* components from begin to end of an axis */
extern DsOnnxValue ds_ox_slice(DsOnnxGraph *g, DsOnnxValue a, int64_t axis, int64_t begin,
							   int64_t end);
/* parts of the last axis; the first of them */
extern DsOnnxValue ds_ox_split(DsOnnxGraph *g, DsOnnxValue x, const int64_t *sizes, size_t count);
/* along an axis, inputs up to the first 0 */
extern DsOnnxValue ds_ox_concat(DsOnnxGraph *g, const DsOnnxValue inputs[DS_ONNX_INPUTS],
								int64_t axis);
extern DsOnnxValue ds_ox_sum(DsOnnxGraph *g, DsOnnxValue x, int64_t axis, bool keep);
/* ReduceMax, ReduceMean, ReduceL2 */
extern DsOnnxValue ds_ox_reduce(DsOnnxGraph *g, const char *op, DsOnnxValue x, int64_t axis,
								bool keep);

/*
 * Weights, by the names that the source has them under.  f32 [rows, columns], or [rows]
 * where columns is 1; of another shape: ds_ox_shaped().
 */
extern DsOnnxValue ds_ox_weight(DsOnnxGraph *g, const char *name, uint64_t rows, uint64_t columns);
extern DsOnnxValue ds_ox_shaped(DsOnnxGraph *g, const char *name, const uint64_t *shape,
								size_t rank);
/* Rows of a table, in i8 where that is asked for */
extern DsOnnxValue ds_ox_rows(DsOnnxGraph *g, const char *name, uint64_t rows, uint64_t columns,
							  DsOnnxValue ids);

/*
 * x W + b: W is name + ".weight", [outs, ins] (or ".weight_t", [ins, outs]); turned:
 * ".weight" itself is [ins, outs]; b is name + ".bias".  In i8 where that is asked for,
 * unless exact; with x as it is where weight_only.
 */
typedef struct DsOnnxLinear
{
	const char *name;
	uint64_t ins;
	uint64_t outs;
	bool bias;
	bool turned;
	bool exact;
	bool weight_only;
} DsOnnxLinear;

extern DsOnnxValue ds_ox_linear(DsOnnxGraph *g, DsOnnxValue x, const DsOnnxLinear *linear);

/* DsActivation */
extern DsOnnxValue ds_ox_activate(DsOnnxGraph *g, DsOnnxValue x, uint32_t activation);
/* Layer normalisation of the last axis by name + ".weight" and ".bias", [dims] */
extern DsOnnxValue ds_ox_norm(DsOnnxGraph *g, DsOnnxValue x, const char *name, uint64_t dims,
							  bool bias, float epsilon);
/* To length one; a vector of zeros stays */
extern DsOnnxValue ds_ox_normalize(DsOnnxGraph *g, DsOnnxValue x);
/* "module.0" and so on */
extern DsOnnxValue ds_ox_modules(DsOnnxGraph *g, DsOnnxValue v, const DsSpecModule *modules,
								 uint32_t count);

/* onnx_encoder.c: patches [batch, tokens, patch_dims] to a vector, by a transformer over patches */
extern DsOnnxValue ds_ox_patches(DsOnnxGraph *g, const DsEncoderSpec *spec, DsOnnxValue patches);
/* onnx_image.c: pixels [batch, channels, height, width] to a vector */
extern DsOnnxValue ds_ox_image(DsOnnxGraph *g, const DsImageSpec *spec, DsOnnxValue pixels);

#endif /* DS_ONNX_GRAPH_H */
