/*
 * onnx.c
 *		Writing ONNX files.
 */
#include "format/onnx.h"

#include <stdio.h>
#include <string.h>

#include "format/protobuf.h"

void
ds_onnx_init(DsOnnx *onnx, DsArena *arena)
{
	memset(onnx, 0, sizeof(*onnx));
	onnx->arena = arena;
	ds_buffer_init(&onnx->nodes, arena);
}

/* ---- values ---- */

static const char *
name_of(const DsOnnx *onnx, DsOnnxValue value, char *buffer, size_t size)
{
	for (size_t i = 0; i < onnx->named_count; i++)
		if (onnx->named[i] == value)
			return onnx->names[i];
	snprintf(buffer, size, "v%u", value);
	return buffer;
}

static DsOnnxValue
name_value(DsOnnx *onnx, DsOnnxValue value, const char *name)
{
	snprintf(onnx->names[onnx->named_count], sizeof(onnx->names[0]), "%s", name);
	onnx->named[onnx->named_count++] = value;
	return value;
}

/* ValueInfoProto; an axis without a name has a size */
static void
put_value(DsOnnx *onnx, unsigned field, const char *name, int type, const char *const *axes,
		  const uint64_t *sizes, size_t rank)
{
	DsBuffer shape, tensor, kind, value;

	ds_buffer_init(&shape, onnx->arena);
	ds_buffer_init(&tensor, onnx->arena);
	ds_buffer_init(&kind, onnx->arena);
	ds_buffer_init(&value, onnx->arena);
	for (size_t d = 0; d < rank; d++)
	{
		DsBuffer axis;

		ds_buffer_init(&axis, onnx->arena);
		if (axes[d] != NULL)
			ds_proto_text(&axis, 2, axes[d]);
		else
			ds_proto_integer(&axis, 1, (int64_t) sizes[d]);
		ds_proto_message(&shape, 1, &axis);
	}
	ds_proto_integer(&tensor, 1, type);
	ds_proto_message(&tensor, 2, &shape);
	ds_proto_message(&kind, 1, &tensor);
	ds_proto_text(&value, 1, name);
	ds_proto_message(&value, 2, &kind);
	ds_proto_message(&onnx->nodes, field, &value);
}

DsOnnxValue
ds_onnx_input(DsOnnx *onnx, const char *name, int type, const char *const *axes,
			  const uint64_t *sizes, size_t rank)
{
	put_value(onnx, 11, name, type, axes, sizes, rank);
	return name_value(onnx, ++onnx->values, name);
}

void
ds_onnx_output(DsOnnx *onnx, DsOnnxValue value, const char *name, uint64_t dims)
{
	static const char *const axes[2] = {"batch", NULL};
	static const DsOnnxAttribute none[] = {{.name = NULL}};
	uint64_t sizes[2] = {0, dims};
	DsOnnxValue inputs[DS_ONNX_INPUTS] = {value};

	/* a node that knows the name by now */
	(void) name_value(onnx, onnx->values + 1, name);
	(void) ds_onnx_node(onnx, "Identity", inputs, none, 1);
	put_value(onnx, 12, name, DS_ONNX_FLOAT, axes, sizes, 2);
}

DsOnnxValue
ds_onnx_node(DsOnnx *onnx, const char *op, const DsOnnxValue inputs[DS_ONNX_INPUTS],
			 const DsOnnxAttribute *attributes, unsigned outputs)
{
	DsBuffer node;
	char buffer[32];
	DsOnnxValue first = onnx->values + 1;
	size_t count = DS_ONNX_INPUTS;

	ds_buffer_init(&node, onnx->arena);
	while (count > 0 && inputs[count - 1] == 0)
		count--;
	for (size_t i = 0; i < count; i++)
		ds_proto_text(&node, 1,
					  inputs[i] == 0 ? "" : name_of(onnx, inputs[i], buffer, sizeof(buffer)));
	for (unsigned o = 0; o < outputs; o++)
		ds_proto_text(&node, 2, name_of(onnx, first + o, buffer, sizeof(buffer)));
	onnx->values += outputs;
	ds_proto_text(&node, 4, op);
	for (; attributes != NULL && attributes->name != NULL; attributes++)
	{
		DsBuffer attribute;

		ds_buffer_init(&attribute, onnx->arena);
		ds_proto_text(&attribute, 1, attributes->name);
		if (attributes->kind == 'f')
			ds_proto_real(&attribute, 2, attributes->real);
		else if (attributes->kind == 'i')
			ds_proto_integer(&attribute, 3, attributes->integer);
		for (size_t i = 0; attributes->kind == 'l' && i < attributes->list_count; i++)
			ds_proto_integer(&attribute, 8, attributes->list[i]);
		ds_proto_integer(&attribute, 20,
						 attributes->kind == 'f'   ? 1
						 : attributes->kind == 'i' ? 2
												   : 7);
		ds_proto_message(&node, 5, &attribute);
	}
	ds_proto_message(&onnx->nodes, 1, &node);
	return first;
}

/* ---- initializers ---- */

static DsOnnxValue
add_piece(DsOnnx *onnx, int type, const uint64_t *shape, size_t rank, DsOnnxPiece *piece)
{
	DsOnnxValue value = ++onnx->values;
	DsBuffer tensor, head;
	char buffer[32];

	if (onnx->piece_count == onnx->piece_capacity)
	{
		size_t capacity = onnx->piece_capacity > 0 ? 2 * onnx->piece_capacity : 64;
		DsOnnxPiece *pieces = ds_arena_alloc(onnx->arena, capacity, sizeof(DsOnnxPiece));

		if (pieces == NULL)
		{
			onnx->failed = true;
			return value;
		}
		if (onnx->piece_count > 0)
			memcpy(pieces, onnx->pieces, onnx->piece_count * sizeof(DsOnnxPiece));
		onnx->pieces = pieces;
		onnx->piece_capacity = capacity;
	}
	ds_buffer_init(&tensor, onnx->arena);
	for (size_t d = 0; d < rank; d++)
		ds_proto_integer(&tensor, 1, (int64_t) shape[d]);
	ds_proto_integer(&tensor, 2, type);
	ds_proto_text(&tensor, 8, name_of(onnx, value, buffer, sizeof(buffer)));
	ds_proto_length(&tensor, 9, piece->length);
	ds_buffer_init(&head, onnx->arena);
	ds_proto_length(&head, 5, tensor.length + piece->length);
	ds_buffer_put(&head, tensor.bytes, tensor.length);
	onnx->failed |= tensor.failed || head.failed;
	piece->head = head.bytes;
	piece->head_length = head.length;
	onnx->pieces[onnx->piece_count++] = *piece;
	return value;
}

static DsOnnxValue
add_bytes(DsOnnx *onnx, int type, const uint64_t *shape, size_t rank, void *bytes, size_t length)
{
	DsOnnxPiece piece = {.bytes = bytes, .length = length};

	if (bytes == NULL)
	{
		onnx->failed = true;
		return 0;
	}
	return add_piece(onnx, type, shape, rank, &piece);
}

static DsOnnxValue
add_integers(DsOnnx *onnx, const int64_t *values, size_t count, size_t rank)
{
	uint64_t shape[1] = {count};
	unsigned char *bytes = ds_arena_alloc(onnx->arena, count, 8);

	for (size_t i = 0; bytes != NULL && i < count; i++)
		for (int b = 0; b < 8; b++)
			bytes[8 * i + (size_t) b] = (unsigned char) ((uint64_t) values[i] >> (8 * b));
	return add_bytes(onnx, DS_ONNX_INT64, shape, rank, bytes, 8 * count);
}

DsOnnxValue
ds_onnx_integers(DsOnnx *onnx, const int64_t *values, size_t count)
{
	return add_integers(onnx, values, count, 1);
}

DsOnnxValue
ds_onnx_integer(DsOnnx *onnx, int64_t value)
{
	return add_integers(onnx, &value, 1, 0);
}

DsOnnxValue
ds_onnx_floats(DsOnnx *onnx, const float *values, const uint64_t *shape, size_t rank)
{
	size_t count = 1;
	unsigned char *bytes;

	for (size_t d = 0; d < rank; d++)
		count *= (size_t) shape[d];
	bytes = ds_arena_alloc(onnx->arena, count, 4);
	if (bytes != NULL)
		ds_dtype_from_float(DS_DTYPE_F32, values, count, bytes);
	return add_bytes(onnx, DS_ONNX_FLOAT, shape, rank, bytes, 4 * count);
}

DsOnnxValue
ds_onnx_real(DsOnnx *onnx, float value)
{
	return ds_onnx_floats(onnx, &value, NULL, 0);
}

DsOnnxValue
ds_onnx_weight(DsOnnx *onnx, const DsPlanPart *part, const uint64_t *shape, size_t rank)
{
	DsOnnxPiece piece = {.part = *part};

	piece.length = part->rows * part->columns * (ds_dtype_bits(part->dtype) / 8);
	return add_piece(onnx,
					 part->dtype == DS_DTYPE_I8	   ? DS_ONNX_INT8
					 : part->dtype == DS_DTYPE_I64 ? DS_ONNX_INT64
												   : DS_ONNX_FLOAT,
					 shape, rank, &piece);
}

/* ---- the file ---- */

DsCode
ds_onnx_plan(DsOnnx *onnx, DsPlan *plan, const char *name, DsStatus *status)
{
	DsPlanFile *file = NULL;
	DsBuffer model, opset;
	uint64_t graph;
	DsCode code = ds_plan_begin(plan, name, &file, status);

	if (code != DS_OK)
		return code;
	ds_proto_text(&onnx->nodes, 2, "deepsearch");
	graph = onnx->nodes.length;
	for (size_t i = 0; i < onnx->piece_count; i++)
		graph += onnx->pieces[i].head_length + onnx->pieces[i].length;
	ds_buffer_init(&model, onnx->arena);
	ds_buffer_init(&opset, onnx->arena);
	ds_proto_integer(&model, 1, DS_ONNX_IR);
	ds_proto_text(&model, 2, "deepsearch");
	ds_proto_text(&opset, 1, "");
	ds_proto_integer(&opset, 2, DS_ONNX_OPSET);
	ds_proto_message(&model, 8, &opset);
	ds_proto_length(&model, 7, graph);
	if (onnx->failed || model.failed || onnx->nodes.failed)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	if (graph + model.length >= DS_PROTO_LIMIT)
		return ds_fail(status, DS_TOO_LARGE, "%s would have more than 2 GB, which ONNX cannot have",
					   name);
	code = ds_plan_bytes(plan, file, model.bytes, model.length, status);
	if (code == DS_OK)
		code = ds_plan_bytes(plan, file, onnx->nodes.bytes, onnx->nodes.length, status);
	for (size_t i = 0; i < onnx->piece_count && code == DS_OK; i++)
	{
		const DsOnnxPiece *piece = &onnx->pieces[i];

		code = ds_plan_bytes(plan, file, piece->head, piece->head_length, status);
		if (code == DS_OK && piece->bytes != NULL)
			code = ds_plan_bytes(plan, file, piece->bytes, piece->length, status);
		else if (code == DS_OK)
			code = ds_plan_tensor(plan, file, &piece->part, status);
	}
	return code;
}
