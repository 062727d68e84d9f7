/*
 * tflite_file.c
 *		A graph as a file of TensorFlow Lite.
 *
 * The tables of schema.fbs that a graph needs: Model, OperatorCode, SubGraph,
 * Tensor, QuantizationParameters, Operator, Buffer, SignatureDef, TensorMap.  Fields
 * are given in the order in which the schema declares them; what is left out has
 * its default.  Bytes of the buffers come behind all tables, each aligned to 16,
 * and are parts of the plan: nothing of a model's weights is held here.
 */
#include "format/tflite_private.h"

#include <stdio.h>
#include <string.h>

#define SCHEMA_VERSION 3
#define BUFFER_ALIGNMENT 16
#define FLAG(x)                 \
	{                           \
		.size = 1, .value = (x) \
	}
#define NUMBER(x)                          \
	{                                      \
		.size = 4, .value = (uint32_t) (x) \
	}
#define OFFSET(at)              \
	{                           \
		.size = 4, .slot = (at) \
	}
#define ABSENT \
	{          \
		0      \
	}
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
/* where the byte of old readers says that the code is in the new field */
#define OPERATORS_OF_A_BYTE 127

/* ---- tables ---- */

typedef struct Writer
{
	DsTfGraph *graph;
	DsFlat flat;
	const DsTfOperation **codes; /* one operation of each code and version */
	size_t code_count;
	size_t *buffer_slots; /* of each constant: where its bytes are to be named */
} Writer;

static size_t
code_of(const Writer *w, const DsTfOperation *op)
{
	size_t i = 0;

	while (i < w->code_count &&
		   (w->codes[i]->opcode != op->opcode || w->codes[i]->version != op->version))
		i++;
	return i;
}

/* A vector of offsets at the slot that names it; returns its first one */
static size_t
vector(Writer *w, size_t slot, size_t count)
{
	size_t first;

	ds_flat_point(&w->flat, slot, ds_flat_offsets(&w->flat, count, &first));
	return first;
}

static void
numbers(Writer *w, size_t slot, const void *values, size_t count, unsigned size)
{
	ds_flat_point(&w->flat, slot, ds_flat_numbers(&w->flat, values, count, size));
}

static void
put_codes(Writer *w, size_t slot)
{
	size_t first = vector(w, slot, w->code_count);

	for (size_t i = 0; i < w->code_count; i++)
	{
		const DsTfOperation *op = w->codes[i];
		uint32_t opcode = op->opcode;
		DsFlatField fields[] = {
			FLAG(opcode < OPERATORS_OF_A_BYTE ? opcode : OPERATORS_OF_A_BYTE),
			ABSENT, /* custom_code */
			NUMBER(op->version),
			NUMBER(opcode),
		};

		ds_flat_point(&w->flat, first + 4 * i, ds_flat_table(&w->flat, fields, LENGTH(fields)));
	}
}

static void
put_quantization(Writer *w, size_t slot, const DsTfInfo *info)
{
	size_t scale = 0;
	size_t zero_point = 0;
	DsFlatField fields[] = {ABSENT, ABSENT, OFFSET(&scale), OFFSET(&zero_point)};
	/* as many zero points as scales */
	uint64_t *zeros = ds_arena_zero(w->graph->arena, info->shape.dims[0], sizeof(uint64_t));

	if (zeros == NULL)
	{
		w->flat.buffer.failed = true;
		return;
	}
	ds_flat_point(&w->flat, slot, ds_flat_table(&w->flat, fields, LENGTH(fields)));
	numbers(w, scale, info->scales, info->shape.dims[0], 4);
	numbers(w, zero_point, zeros, info->shape.dims[0], 8);
}

static void
put_tensor(Writer *w, size_t slot, size_t number)
{
	const DsTfInfo *info = ds_tf_element(w->graph->tensors, number);
	size_t shape = 0;
	size_t name = 0;
	size_t quantization = 0;
	DsFlatField fields[] = {
		OFFSET(&shape),
		FLAG(info->type),
		NUMBER(info->constant + 1), /* the first buffer is empty */
		OFFSET(&name),
		OFFSET(&quantization),
		ABSENT, /* is_variable */
		ABSENT, /* sparsity */
		ABSENT, /* shape_signature */
		FLAG(1), /* has_rank */
	};
	char numbered[DS_SPEC_NAME];

	if (info->scales == NULL)
		fields[4] = (DsFlatField) ABSENT;
	ds_flat_point(&w->flat, slot, ds_flat_table(&w->flat, fields, LENGTH(fields)));
	numbers(w, shape, info->shape.dims, info->shape.rank, 4);
	snprintf(numbered, sizeof(numbered), "t%zu", number);
	ds_flat_point(&w->flat, name,
				  ds_flat_string(&w->flat, info->name[0] != '\0' ? info->name : numbered));
	if (info->scales != NULL)
		put_quantization(w, quantization, info);
}

static void
put_operation(Writer *w, size_t slot, const DsTfOperation *op)
{
	size_t inputs = 0;
	size_t outputs = 0;
	size_t options = 0;
	DsFlatField fields[] = {
		NUMBER(code_of(w, op)), OFFSET(&inputs),  OFFSET(&outputs),
		FLAG(op->options),		OFFSET(&options),
	};

	ds_flat_point(&w->flat, slot,
				  ds_flat_table(&w->flat, fields, op->options != 0 ? LENGTH(fields) : 3));
	numbers(w, inputs, op->inputs, op->input_count, 4);
	numbers(w, outputs, op->outputs, op->output_count, 4);
	if (op->options != 0)
		ds_flat_point(&w->flat, options, ds_flat_table(&w->flat, op->option, op->option_count));
}

static void
put_subgraph(Writer *w, size_t slot)
{
	const DsTfGraph *graph = w->graph;
	size_t tensors = 0;
	size_t inputs = 0;
	size_t outputs = 0;
	size_t operators = 0;
	size_t name = 0;
	DsFlatField fields[] = {OFFSET(&tensors), OFFSET(&inputs), OFFSET(&outputs), OFFSET(&operators),
							OFFSET(&name)};
	size_t first = vector(w, slot, 1);

	ds_flat_point(&w->flat, first, ds_flat_table(&w->flat, fields, LENGTH(fields)));
	first = vector(w, tensors, graph->tensors->count);
	for (size_t i = 0; i < graph->tensors->count; i++)
		put_tensor(w, first + 4 * i, i);
	numbers(w, inputs, graph->inputs, graph->input_count, 4);
	numbers(w, outputs, &graph->output, 1, 4);
	first = vector(w, operators, graph->operations->count);
	for (size_t i = 0; i < graph->operations->count; i++)
		put_operation(w, first + 4 * i, ds_tf_element(graph->operations, i));
	ds_flat_point(&w->flat, name, ds_flat_string(&w->flat, "main"));
}

static void
put_buffers(Writer *w, size_t slot)
{
	size_t count = w->graph->constants->count;
	size_t first = vector(w, slot, count + 1);

	ds_flat_point(&w->flat, first, ds_flat_table(&w->flat, NULL, 0));
	for (size_t i = 0; i < count; i++)
	{
		DsFlatField data = OFFSET(&w->buffer_slots[i]);

		ds_flat_point(&w->flat, first + 4 * (i + 1), ds_flat_table(&w->flat, &data, 1));
	}
}

static void
put_map(Writer *w, size_t slot, const DsTfTensor *tensors, size_t count)
{
	size_t first = vector(w, slot, count);

	for (size_t i = 0; i < count; i++)
	{
		const DsTfInfo *info = ds_tf_element(w->graph->tensors, (size_t) tensors[i]);
		size_t name = 0;
		DsFlatField fields[] = {OFFSET(&name), NUMBER(tensors[i])};

		ds_flat_point(&w->flat, first + 4 * i, ds_flat_table(&w->flat, fields, LENGTH(fields)));
		ds_flat_point(&w->flat, name, ds_flat_string(&w->flat, info->name));
	}
}

static void
put_signature(Writer *w, size_t slot)
{
	size_t inputs = 0;
	size_t outputs = 0;
	size_t key = 0;
	DsFlatField fields[] = {OFFSET(&inputs), OFFSET(&outputs), OFFSET(&key), ABSENT, NUMBER(0)};
	size_t first = vector(w, slot, 1);

	ds_flat_point(&w->flat, first, ds_flat_table(&w->flat, fields, LENGTH(fields)));
	put_map(w, inputs, w->graph->inputs, w->graph->input_count);
	put_map(w, outputs, &w->graph->output, 1);
	ds_flat_point(&w->flat, key, ds_flat_string(&w->flat, "serving_default"));
}

static void
put_model(Writer *w, const char *description)
{
	size_t codes = 0;
	size_t subgraphs = 0;
	size_t words = 0;
	size_t buffers = 0;
	size_t signatures = 0;
	DsFlatField fields[] = {
		NUMBER(SCHEMA_VERSION),
		OFFSET(&codes),
		OFFSET(&subgraphs),
		OFFSET(&words),
		OFFSET(&buffers),
		ABSENT,
		ABSENT,
		OFFSET(&signatures),
	};
	size_t root = ds_flat_begin(&w->flat, w->graph->arena, "TFL3");

	ds_flat_point(&w->flat, root, ds_flat_table(&w->flat, fields, LENGTH(fields)));
	put_codes(w, codes);
	put_subgraph(w, subgraphs);
	ds_flat_point(&w->flat, words, ds_flat_string(&w->flat, description));
	put_buffers(w, buffers);
	put_signature(w, signatures);
}

/* ---- the file ---- */

static DsCode
find_codes(Writer *w)
{
	const struct DsTfList *operations = w->graph->operations;

	w->codes = ds_arena_alloc(w->graph->arena, operations->count + 1, sizeof(*w->codes));
	w->buffer_slots =
		ds_arena_zero(w->graph->arena, w->graph->constants->count + 1, sizeof(*w->buffer_slots));
	if (w->codes == NULL || w->buffer_slots == NULL)
		return ds_fail(w->graph->status, DS_OUT_OF_MEMORY, "out of memory");
	for (size_t i = 0; i < operations->count; i++)
	{
		const DsTfOperation *op = ds_tf_element(operations, i);

		if (code_of(w, op) == w->code_count)
			w->codes[w->code_count++] = op;
	}
	return DS_OK;
}

/* Where the bytes of each constant will lie: a length before them, and zeros before that */
static DsCode
place_constants(Writer *w, uint64_t *end)
{
	uint64_t at = w->flat.buffer.length;

	for (size_t i = 0; i < w->graph->constants->count; i++)
	{
		const DsPlanPart *part = ds_tf_element(w->graph->constants, i);

		at = (at + 4 + BUFFER_ALIGNMENT - 1) / BUFFER_ALIGNMENT * BUFFER_ALIGNMENT;
		ds_flat_point(&w->flat, w->buffer_slots[i], at - 4);
		if (__builtin_add_overflow(at, part->length, &at) || at > DS_FLAT_MAX)
			return ds_fail(w->graph->status, DS_TOO_LARGE,
						   "the file would be larger than 2 GB, which this format does not have");
	}
	*end = at;
	return ds_flat_check(&w->flat, w->graph->status);
}

static DsCode
plan_constants(Writer *w, DsPlan *plan, DsPlanFile *file)
{
	for (size_t i = 0; i < w->graph->constants->count; i++)
	{
		const DsPlanPart *part = ds_tf_element(w->graph->constants, i);
		size_t pad =
			(BUFFER_ALIGNMENT - (size_t) (file->size + 4) % BUFFER_ALIGNMENT) % BUFFER_ALIGNMENT;
		unsigned char *before = ds_arena_zero(plan->arena, pad + 4, 1);
		DsCode code;

		if (before == NULL)
			return ds_fail(w->graph->status, DS_OUT_OF_MEMORY, "out of memory");
		for (unsigned b = 0; b < 4; b++)
			before[pad + b] = (unsigned char) (part->length >> (8 * b));
		code = ds_plan_bytes(plan, file, before, pad + 4, w->graph->status);
		if (code == DS_OK)
			code = part->tensor[0] == '\0'
					   ? ds_plan_bytes(plan, file, part->bytes, part->length, w->graph->status)
					   : ds_plan_tensor(plan, file, part, w->graph->status);
		if (code != DS_OK)
			return code;
	}
	return DS_OK;
}

DsCode
ds_tf_plan(DsTfGraph *graph, const char *file, const char *description, DsPlan *plan)
{
	Writer w = {.graph = graph};
	DsPlanFile *planned = NULL;
	uint64_t end = 0;
	DsCode code = graph->code;

	if (code == DS_OK)
		code = find_codes(&w);
	if (code != DS_OK)
		return code;
	put_model(&w, description);
	code = ds_flat_check(&w.flat, graph->status);
	if (code == DS_OK)
		code = place_constants(&w, &end);
	if (code == DS_OK)
		code = ds_plan_begin(plan, file, &planned, graph->status);
	if (code == DS_OK)
		code =
			ds_plan_bytes(plan, planned, w.flat.buffer.bytes, w.flat.buffer.length, graph->status);
	if (code == DS_OK)
		code = plan_constants(&w, plan, planned);
	return code;
}
