/*
 * tflite_private.h
 *		What tflite_graph.c collects and tflite_file.c writes.
 */
#ifndef DS_TFLITE_PRIVATE_H
#define DS_TFLITE_PRIVATE_H

#include "format/flatbuffer.h"
#include "format/tflite_graph.h"

#define DS_TF_INPUTS 8
#define DS_TF_OUTPUTS 4
#define DS_TF_OPTIONS 5

typedef struct DsTfOperation
{
	DsTfOperator opcode;
	uint32_t version;
	uint32_t input_count;
	uint32_t output_count;
	DsTfTensor inputs[DS_TF_INPUTS]; /* -1: an optional one that is not there */
	DsTfTensor outputs[DS_TF_OUTPUTS];
	uint32_t options; /* number in the union BuiltinOptions */
	uint32_t option_count;
	DsFlatField option[DS_TF_OPTIONS];
} DsTfOperation;

/* What a list has grown to, in the graph's arena */
struct DsTfList
{
	size_t count;
	size_t capacity;
	size_t size; /* of an element */
	char *elements;
};

static inline void *
ds_tf_element(const struct DsTfList *list, size_t i)
{
	return list->elements + i * list->size;
}

/* A tensor of this graph; one with constant bytes, or with numbers of the model */
extern DsTfTensor ds_tf_tensor(DsTfGraph *graph, const char *name, DsTfType type, DsTfShape shape);
extern DsTfTensor ds_tf_bytes(DsTfGraph *graph, const char *name, DsTfType type, DsTfShape shape,
							  const DsPlanPart *part);
/* FULLY_CONNECTED: x [n, ins], weight [outs, ins], bias [outs] or none */
extern DsTfTensor ds_tf_product(DsTfGraph *graph, DsTfTensor x, DsTfTensor weight, DsTfTensor bias,
								bool relu);

#endif /* DS_TFLITE_PRIVATE_H */
