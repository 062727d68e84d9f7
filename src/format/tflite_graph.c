/*
 * tflite_graph.c
 *		Putting a graph together: tensors, constants, operations.
 */
#include "format/tflite_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* numbers in the union BuiltinOptions */
enum
{
	OPTIONS_FULLY_CONNECTED = 8,
	OPTIONS_SOFTMAX = 9,
	OPTIONS_CONCATENATION = 10,
	OPTIONS_ADD = 11,
	OPTIONS_L2_NORM = 12,
	OPTIONS_RESHAPE = 17,
	OPTIONS_MUL = 21,
	OPTIONS_GATHER = 23,
	OPTIONS_TRANSPOSE = 26,
	OPTIONS_REDUCER = 27,
	OPTIONS_SUB = 28,
	OPTIONS_DIV = 29,
	OPTIONS_CAST = 37,
	OPTIONS_DEQUANTIZE = 38,
	OPTIONS_MAXIMUM_MINIMUM = 39,
	OPTIONS_SLICE = 48,
	OPTIONS_EQUAL = 53,
	OPTIONS_UNPACK = 64,
	OPTIONS_SQUARED_DIFFERENCE = 76,
	OPTIONS_BATCH_MATMUL = 101,
	OPTIONS_CUMSUM = 102,
	OPTIONS_GELU = 116
};

/* ---- lists ---- */

static struct DsTfList *
new_list(DsTfGraph *graph, size_t size)
{
	struct DsTfList *list = ds_arena_zero(graph->arena, 1, sizeof(struct DsTfList));

	if (list == NULL)
		ds_tf_fail(graph, DS_OUT_OF_MEMORY, "out of memory");
	else
		list->size = size;
	return list;
}

/* Room for one more, zeroed; NULL after a failure */
static void *
append(DsTfGraph *graph, struct DsTfList *list)
{
	void *element;

	if (graph->code != DS_OK)
		return NULL;
	if (list->count == list->capacity)
	{
		size_t capacity = list->capacity > 0 ? 2 * list->capacity : 64;
		char *elements = ds_arena_alloc(graph->arena, capacity, list->size);

		if (elements == NULL)
		{
			ds_tf_fail(graph, DS_OUT_OF_MEMORY, "out of memory");
			return NULL;
		}
		if (list->count > 0)
			memcpy(elements, list->elements, list->count * list->size);
		list->elements = elements;
		list->capacity = capacity;
	}
	element = ds_tf_element(list, list->count++);
	memset(element, 0, list->size);
	return element;
}

void
ds_tf_begin(DsTfGraph *graph, DsDtype weights, const DsTensorSource *source, DsArena *arena,
			const DsCancel *cancel, DsStatus *status)
{
	memset(graph, 0, sizeof(*graph));
	graph->arena = arena;
	graph->source = source;
	graph->cancel = cancel;
	graph->status = status;
	graph->weights = weights;
	graph->output = DS_TF_NONE;
	graph->tensors = new_list(graph, sizeof(DsTfInfo));
	graph->constants = new_list(graph, sizeof(DsPlanPart));
	graph->operations = new_list(graph, sizeof(DsTfOperation));
	if (weights != DS_DTYPE_F32 && weights != DS_DTYPE_F16 && weights != DS_DTYPE_I8)
		ds_tf_fail(graph, DS_INVALID, "weights of a TensorFlow Lite file are f32, f16 or int8");
}

void
ds_tf_fail(DsTfGraph *graph, DsCode code, const char *format, ...)
{
	char message[DS_MESSAGE_SIZE];
	va_list args;

	if (graph->code != DS_OK)
		return;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	graph->code = ds_fail(graph->status, code, "%s", message);
}

/* ---- tensors ---- */

static DsTfInfo *
info_of(const DsTfGraph *graph, DsTfTensor tensor)
{
	return ds_tf_element(graph->tensors, (size_t) tensor);
}

DsTfShape
ds_tf_shape(const DsTfGraph *graph, DsTfTensor tensor)
{
	return graph->code == DS_OK ? info_of(graph, tensor)->shape : (DsTfShape){0};
}

DsTfTensor
ds_tf_tensor(DsTfGraph *graph, const char *name, DsTfType type, DsTfShape shape)
{
	DsTfInfo *info = append(graph, graph->tensors);
	uint64_t values = 1;

	if (info == NULL)
		return DS_TF_NONE;
	for (uint32_t d = 0; d < shape.rank; d++)
		if (__builtin_mul_overflow(values, shape.dims[d], &values) || values > DS_FLAT_MAX)
		{
			ds_tf_fail(graph, DS_TOO_LARGE, "the file would have a tensor of more than 2 GB");
			return DS_TF_NONE;
		}
	snprintf(info->name, sizeof(info->name), "%s", name);
	info->type = type;
	info->shape = shape;
	info->constant = -1;
	return (DsTfTensor) (graph->tensors->count - 1);
}

DsTfTensor
ds_tf_input(DsTfGraph *graph, const char *name, DsTfType type, DsTfShape shape)
{
	DsTfTensor tensor = ds_tf_tensor(graph, name, type, shape);

	if (tensor != DS_TF_NONE)
		graph->inputs[graph->input_count++] = tensor;
	return tensor;
}

void
ds_tf_output(DsTfGraph *graph, const char *name, DsTfTensor tensor)
{
	if (graph->code != DS_OK)
		return;
	graph->output = tensor;
	snprintf(info_of(graph, tensor)->name, DS_SPEC_NAME, "%s", name);
}

DsTfTensor
ds_tf_bytes(DsTfGraph *graph, const char *name, DsTfType type, DsTfShape shape,
			const DsPlanPart *part)
{
	DsPlanPart *constant = append(graph, graph->constants);
	DsTfTensor tensor = ds_tf_tensor(graph, name, type, shape);

	if (tensor == DS_TF_NONE)
		return DS_TF_NONE;
	*constant = *part;
	info_of(graph, tensor)->constant = (int32_t) graph->constants->count - 1;
	return tensor;
}

DsTfTensor
ds_tf_constant(DsTfGraph *graph, DsTfType type, DsTfShape shape, const void *numbers)
{
	size_t count = 1;
	DsPlanPart part = {0};
	unsigned char *bytes;

	if (graph->code != DS_OK)
		return DS_TF_NONE;
	for (uint32_t d = 0; d < shape.rank; d++)
		count *= shape.dims[d];
	bytes = ds_arena_alloc(graph->arena, count, 4);
	if (bytes == NULL)
	{
		ds_tf_fail(graph, DS_OUT_OF_MEMORY, "out of memory");
		return DS_TF_NONE;
	}
	for (size_t i = 0; i < count; i++)
	{
		uint32_t bits;

		memcpy(&bits, (const char *) numbers + 4 * i, sizeof(bits));
		for (unsigned b = 0; b < 4; b++)
			bytes[4 * i + b] = (unsigned char) (bits >> (8 * b));
	}
	part.bytes = bytes;
	part.length = 4 * (uint64_t) count;
	return ds_tf_bytes(graph, "", type, shape, &part);
}

DsTfTensor
ds_tf_number(DsTfGraph *graph, double number)
{
	float value = (float) number;

	return ds_tf_constant(graph, DS_TF_F32, DS_TF_SHAPE(1), &value);
}

static DsTfTensor
integers(DsTfGraph *graph, const uint32_t *numbers, uint32_t count)
{
	return ds_tf_constant(graph, DS_TF_I32, DS_TF_SHAPE(count), numbers);
}

/* ---- operations ---- */

static DsFlatField
byte_option(unsigned value)
{
	return (DsFlatField){.size = 1, .value = value};
}

static DsFlatField
int_option(uint32_t value)
{
	return (DsFlatField){.size = 4, .value = value};
}

/* An operation whose inputs are all there; what follows may add options */
static DsTfOperation *
operation(DsTfGraph *graph, DsTfOperator opcode, uint32_t version, uint32_t options,
		  const DsTfTensor *inputs, size_t count)
{
	DsTfOperation *op;

	if (graph->code != DS_OK)
		return NULL;
	if (count > DS_TF_INPUTS)
	{
		ds_tf_fail(graph, DS_INVALID, "an operation with %zu inputs", count);
		return NULL;
	}
	op = append(graph, graph->operations);
	if (op == NULL)
		return NULL;
	op->opcode = opcode;
	op->version = version;
	op->options = options;
	op->input_count = (uint32_t) count;
	memcpy(op->inputs, inputs, count * sizeof(DsTfTensor));
	return op;
}

static DsTfTensor
result(DsTfGraph *graph, DsTfOperation *op, DsTfType type, DsTfShape shape)
{
	DsTfTensor tensor;

	if (op == NULL)
		return DS_TF_NONE;
	tensor = ds_tf_tensor(graph, "", type, shape);
	op->outputs[op->output_count++] = tensor;
	return tensor;
}

DsTfTensor
ds_tf_binary(DsTfGraph *graph, DsTfOperator opcode, DsTfTensor a, DsTfTensor b)
{
	static const struct
	{
		DsTfOperator opcode;
		uint32_t options;
		bool activation; /* the options begin with a fused activation */
	} kinds[] = {{DS_TF_ADD, OPTIONS_ADD, true},
				 {DS_TF_MUL, OPTIONS_MUL, true},
				 {DS_TF_SUB, OPTIONS_SUB, true},
				 {DS_TF_DIV, OPTIONS_DIV, true},
				 {DS_TF_MAXIMUM, OPTIONS_MAXIMUM_MINIMUM, false},
				 {DS_TF_MINIMUM, OPTIONS_MAXIMUM_MINIMUM, false},
				 {DS_TF_EQUAL, OPTIONS_EQUAL, false},
				 {DS_TF_SQUARED_DIFFERENCE, OPTIONS_SQUARED_DIFFERENCE, false}};
	DsTfTensor inputs[] = {a, b};
	DsTfShape shape;
	DsTfShape other;
	DsTfOperation *op;
	size_t k = 0;

	if (graph->code != DS_OK)
		return DS_TF_NONE;
	while (kinds[k].opcode != opcode)
		k++;
	shape = info_of(graph, a)->shape;
	other = info_of(graph, b)->shape;
	if (shape.rank < other.rank)
	{
		DsTfShape swap = shape;

		shape = other;
		other = swap;
	}
	for (uint32_t d = 1; d <= other.rank; d++)
	{
		uint32_t *mine = &shape.dims[shape.rank - d];
		uint32_t theirs = other.dims[other.rank - d];

		if (*mine != theirs && *mine != 1 && theirs != 1)
			ds_tf_fail(graph, DS_INVALID, "shapes of %u and %u do not fit", *mine, theirs);
		*mine = *mine > theirs ? *mine : theirs;
	}
	op = operation(graph, opcode, 1, kinds[k].options, inputs, 2);
	if (op != NULL && kinds[k].activation)
		op->option[op->option_count++] = byte_option(0);
	return result(graph, op, opcode == DS_TF_EQUAL ? DS_TF_BOOL : DS_TF_F32, shape);
}

DsTfTensor
ds_tf_unary(DsTfGraph *graph, DsTfOperator opcode, DsTfTensor x)
{
	DsTfOperation *op;
	float one = 1;
	uint32_t bits;

	switch (opcode)
	{
		case DS_TF_SOFTMAX:
			op = operation(graph, opcode, 1, OPTIONS_SOFTMAX, &x, 1);
			memcpy(&bits, &one, sizeof(bits));
			if (op != NULL)
				op->option[op->option_count++] = int_option(bits);
			break;
		case DS_TF_L2_NORMALIZATION:
			op = operation(graph, opcode, 1, OPTIONS_L2_NORM, &x, 1);
			if (op != NULL)
				op->option[op->option_count++] = byte_option(0);
			break;
		case DS_TF_DEQUANTIZE:
			op = operation(graph, opcode, 3, OPTIONS_DEQUANTIZE, &x, 1);
			break;
		default: /* LOGISTIC, TANH, RELU, RSQRT */
			op = operation(graph, opcode, 1, 0, &x, 1);
			break;
	}
	return result(graph, op, DS_TF_F32, ds_tf_shape(graph, x));
}

DsTfTensor
ds_tf_gelu(DsTfGraph *graph, DsTfTensor x, bool approximate)
{
	DsTfOperation *op = operation(graph, DS_TF_GELU, 1, OPTIONS_GELU, &x, 1);

	if (op != NULL)
		op->option[op->option_count++] = byte_option(approximate);
	return result(graph, op, DS_TF_F32, ds_tf_shape(graph, x));
}

DsTfTensor
ds_tf_cast(DsTfGraph *graph, DsTfTensor x, DsTfType type)
{
	DsTfOperation *op;
	DsTfType from;

	if (graph->code != DS_OK)
		return DS_TF_NONE;
	from = info_of(graph, x)->type;
	op = operation(graph, DS_TF_CAST, 1, OPTIONS_CAST, &x, 1);
	if (op != NULL)
	{
		op->option[op->option_count++] = byte_option(from);
		op->option[op->option_count++] = byte_option(type);
	}
	return result(graph, op, type, ds_tf_shape(graph, x));
}

DsTfTensor
ds_tf_reshape(DsTfGraph *graph, DsTfTensor x, DsTfShape shape)
{
	DsTfTensor inputs[] = {x, integers(graph, shape.dims, shape.rank)};

	return result(graph, operation(graph, DS_TF_RESHAPE, 1, OPTIONS_RESHAPE, inputs, 2),
				  graph->code == DS_OK ? info_of(graph, x)->type : DS_TF_F32, shape);
}

DsTfTensor
ds_tf_transpose(DsTfGraph *graph, DsTfTensor x, DsTfShape order)
{
	DsTfTensor inputs[] = {x, integers(graph, order.dims, order.rank)};
	DsTfShape from = ds_tf_shape(graph, x);
	DsTfShape shape = {.rank = order.rank};

	for (uint32_t d = 0; d < order.rank; d++)
		shape.dims[d] = from.dims[order.dims[d]];
	return result(graph, operation(graph, DS_TF_TRANSPOSE, 1, OPTIONS_TRANSPOSE, inputs, 2),
				  DS_TF_F32, shape);
}

DsTfTensor
ds_tf_multiply(DsTfGraph *graph, DsTfTensor a, DsTfTensor b, bool adjoint)
{
	DsTfTensor inputs[] = {a, b};
	DsTfShape shape = ds_tf_shape(graph, a);
	DsTfShape right = ds_tf_shape(graph, b);
	DsTfOperation *op;

	if (graph->code != DS_OK)
		return DS_TF_NONE;
	if (shape.dims[shape.rank - 1] != right.dims[right.rank - (adjoint ? 1 : 2)])
		ds_tf_fail(graph, DS_INVALID, "a product of shapes that do not fit");
	shape.dims[shape.rank - 1] = right.dims[right.rank - (adjoint ? 2 : 1)];
	op = operation(graph, DS_TF_BATCH_MATMUL, 1, OPTIONS_BATCH_MATMUL, inputs, 2);
	if (op != NULL)
	{
		op->option[op->option_count++] = byte_option(0);
		op->option[op->option_count++] = byte_option(adjoint);
	}
	return result(graph, op, DS_TF_F32, shape);
}

DsTfTensor
ds_tf_reduce(DsTfGraph *graph, DsTfOperator opcode, DsTfTensor x, uint32_t axis)
{
	DsTfTensor inputs[] = {x, integers(graph, &axis, 1)};
	DsTfShape shape = ds_tf_shape(graph, x);
	DsTfOperation *op = operation(graph, opcode, 1, OPTIONS_REDUCER, inputs, 2);

	if (graph->code != DS_OK)
		return DS_TF_NONE;
	shape.dims[axis] = 1;
	if (op != NULL)
		op->option[op->option_count++] = byte_option(1);
	return result(graph, op, DS_TF_F32, shape);
}

DsTfTensor
ds_tf_cumulate(DsTfGraph *graph, DsTfTensor x, uint32_t axis)
{
	DsTfTensor inputs[] = {x, integers(graph, &axis, 1)};
	DsTfOperation *op = operation(graph, DS_TF_CUMSUM, 1, OPTIONS_CUMSUM, inputs, 2);

	if (op != NULL)
	{
		op->option[op->option_count++] = byte_option(1);
		op->option[op->option_count++] = byte_option(0);
	}
	return result(graph, op, DS_TF_F32, ds_tf_shape(graph, x));
}

DsTfTensor
ds_tf_gather(DsTfGraph *graph, DsTfTensor x, DsTfTensor rows)
{
	DsTfTensor inputs[] = {x, rows};
	DsTfShape shape = ds_tf_shape(graph, x);
	DsTfShape taken = ds_tf_shape(graph, rows);
	DsTfShape out = {.rank = taken.rank + shape.rank - 1};
	DsTfType type = graph->code == DS_OK ? info_of(graph, x)->type : DS_TF_F32;
	DsTfOperation *op;

	if (graph->code != DS_OK)
		return DS_TF_NONE;
	for (uint32_t d = 0; d < out.rank; d++)
		out.dims[d] = d < taken.rank ? taken.dims[d] : shape.dims[d - taken.rank + 1];
	op = operation(graph, DS_TF_GATHER, type == DS_TF_I8 ? 2 : 1, OPTIONS_GATHER, inputs, 2);
	if (op != NULL)
		op->option[op->option_count++] = int_option(0);
	return result(graph, op, type, out);
}

DsTfTensor
ds_tf_slice(DsTfGraph *graph, DsTfTensor x, uint32_t axis, uint32_t first, uint32_t count)
{
	DsTfShape shape = ds_tf_shape(graph, x);
	uint32_t begin[DS_TF_RANK] = {0};
	DsTfTensor inputs[3] = {x};

	begin[axis] = first;
	shape.dims[axis] = count;
	inputs[1] = integers(graph, begin, shape.rank);
	inputs[2] = integers(graph, shape.dims, shape.rank);
	return result(graph, operation(graph, DS_TF_SLICE, 1, OPTIONS_SLICE, inputs, 3), DS_TF_F32,
				  shape);
}

DsTfTensor
ds_tf_concat(DsTfGraph *graph, const DsTfTensor *parts, size_t count, uint32_t axis)
{
	DsTfShape shape = ds_tf_shape(graph, parts[0]);
	DsTfOperation *op;

	if (count == 1)
		return parts[0];
	for (size_t i = 1; i < count; i++)
		shape.dims[axis] += ds_tf_shape(graph, parts[i]).dims[axis];
	op = operation(graph, DS_TF_CONCATENATION, 1, OPTIONS_CONCATENATION, parts, count);
	if (op != NULL)
	{
		op->option[op->option_count++] = int_option(axis);
		op->option[op->option_count++] = byte_option(0);
	}
	return result(graph, op, DS_TF_F32, shape);
}

void
ds_tf_unpack(DsTfGraph *graph, DsTfTensor x, DsTfTensor *parts, size_t count)
{
	DsTfOperation *op = operation(graph, DS_TF_UNPACK, 1, OPTIONS_UNPACK, &x, 1);
	DsTfShape from = ds_tf_shape(graph, x);
	DsTfShape shape = {.rank = from.rank - 1};

	memcpy(shape.dims, from.dims + 1, sizeof(shape.dims) - sizeof(shape.dims[0]));
	if (op != NULL)
	{
		op->option[op->option_count++] = int_option((uint32_t) count);
		op->option[op->option_count++] = int_option(0);
	}
	for (size_t i = 0; i < count; i++)
		parts[i] = result(graph, op, DS_TF_F32, shape);
}

DsTfTensor
ds_tf_product(DsTfGraph *graph, DsTfTensor x, DsTfTensor weight, DsTfTensor bias, bool relu)
{
	DsTfTensor inputs[] = {x, weight, bias};
	DsTfShape shape = ds_tf_shape(graph, x);
	bool quantized;
	DsTfOperation *op;

	if (graph->code != DS_OK)
		return DS_TF_NONE;
	quantized = info_of(graph, weight)->type == DS_TF_I8;
	shape.dims[shape.rank - 1] = info_of(graph, weight)->shape.dims[0];
	op = operation(graph, DS_TF_FULLY_CONNECTED,
				   quantized			? 12
				   : bias == DS_TF_NONE ? 6
										: 1,
				   OPTIONS_FULLY_CONNECTED, inputs, bias == DS_TF_NONE ? 2 : 3);
	if (op != NULL)
	{
		op->option[op->option_count++] = byte_option(relu);
		op->option[op->option_count++] = byte_option(0); /* weights_format */
		op->option[op->option_count++] = byte_option(0); /* keep_num_dims */
		op->option[op->option_count++] = byte_option(quantized); /* asymmetric_quantize_inputs */
	}
	return result(graph, op, DS_TF_F32, shape);
}
