/*
 * saved_model.c
 *		Writing SavedModel folders.
 */
#include "format/saved_model.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "format/protobuf.h"

/* Operations have the meaning that they had in TensorFlow 2.3 */
#define VERSION "2.3.0"
#define PRODUCER 440

void
ds_saved_model_init(DsSavedModel *model, DsArena *arena)
{
	memset(model, 0, sizeof(*model));
	model->arena = arena;
	model->value_count = 1;
	ds_buffer_init(&model->nodes, arena);
	ds_buffer_init(&model->signature, arena);
}

/* ---- values ---- */

/* An array of the arena with more room; false: memory is out */
static bool
grow(DsSavedModel *model, void **array, size_t used, size_t capacity, size_t size)
{
	void *larger = ds_arena_zero(model->arena, capacity, size);

	if (larger == NULL)
	{
		model->failed = true;
		return false;
	}
	if (used > 0)
		memcpy(larger, *array, used * size);
	*array = larger;
	return true;
}

static DsSavedValue
add_value(DsSavedModel *model, const char *node, unsigned number, unsigned type)
{
	if (model->value_count >= model->value_capacity)
	{
		size_t capacity = model->value_capacity > 0 ? 2 * model->value_capacity : 256;

		if (!grow(model, (void **) &model->values,
				  model->value_capacity > 0 ? model->value_count : 0, capacity,
				  sizeof(DsSavedOutput)))
			return 0;
		model->value_capacity = capacity;
	}
	model->values[model->value_count] = (DsSavedOutput){node, number, type};
	return (DsSavedValue) model->value_count++;
}

unsigned
ds_saved_model_type(const DsSavedModel *model, DsSavedValue value)
{
	return value > 0 && value < model->value_count && model->values != NULL
			   ? model->values[value].type
			   : DS_SAVED_FLOAT;
}

static const char *
keep_name(DsSavedModel *model, const char *name)
{
	size_t size = strlen(name) + 1;
	char *copy = ds_arena_alloc(model->arena, size, 1);

	if (copy == NULL)
	{
		model->failed = true;
		return "";
	}
	memcpy(copy, name, size);
	return copy;
}

/* NODE:1; brief: NODE where it is the first one */
static void
put_name(DsSavedModel *model, DsBuffer *out, unsigned field, DsSavedValue value, bool brief)
{
	char name[DS_TENSOR_NAME_MAX + 80] = "";

	if (value > 0 && value < model->value_count && model->values != NULL)
	{
		const DsSavedOutput *output = &model->values[value];

		snprintf(name, sizeof(name), brief && output->number == 0 ? "%s" : "%s:%u", output->node,
				 output->number);
	}
	ds_proto_text(out, field, name);
}

/* ---- nodes ---- */

void
ds_node_begin(DsSavedModel *model, DsSavedNode *node, const char *op, const char *name)
{
	node->model = model;
	ds_buffer_init(&node->message, model->arena);
	if (name != NULL)
		snprintf(node->name, sizeof(node->name), "%s", name);
	else
		snprintf(node->name, sizeof(node->name), "%s_%zu", op, model->value_count);
	ds_proto_text(&node->message, 1, node->name);
	ds_proto_text(&node->message, 2, op);
}

void
ds_node_input(DsSavedNode *node, DsSavedValue value)
{
	put_name(node->model, &node->message, 3, value, true);
}

void
ds_node_after(DsSavedNode *node, const char *name)
{
	ds_proto_length(&node->message, 3, strlen(name) + 1);
	ds_buffer_byte(&node->message, '^');
	ds_buffer_text(&node->message, name);
}

/* An entry of the node's attributes: its value is the field that is put by the caller */
static void
put_attribute(DsSavedNode *node, const char *name, const DsBuffer *value)
{
	DsBuffer entry;

	ds_buffer_init(&entry, node->model->arena);
	ds_proto_text(&entry, 1, name);
	ds_proto_message(&entry, 2, value);
	ds_proto_message(&node->message, 5, &entry);
}

static void
attr_number(DsSavedNode *node, const char *name, unsigned field, int64_t number)
{
	DsBuffer value;

	ds_buffer_init(&value, node->model->arena);
	ds_proto_integer(&value, field, number);
	put_attribute(node, name, &value);
}

void
ds_node_type(DsSavedNode *node, const char *name, unsigned type)
{
	attr_number(node, name, 6, type);
}

void
ds_node_integer(DsSavedNode *node, const char *name, int64_t number)
{
	attr_number(node, name, 3, number);
}

void
ds_node_bool(DsSavedNode *node, const char *name, bool number)
{
	attr_number(node, name, 5, number);
}

void
ds_node_real(DsSavedNode *node, const char *name, float number)
{
	DsBuffer value;

	ds_buffer_init(&value, node->model->arena);
	ds_proto_real(&value, 4, number);
	put_attribute(node, name, &value);
}

void
ds_node_text(DsSavedNode *node, const char *name, const char *text)
{
	DsBuffer value;

	ds_buffer_init(&value, node->model->arena);
	ds_proto_text(&value, 2, text);
	put_attribute(node, name, &value);
}

/* A list of numbers, packed as proto3 has them; field 3: integers, 6: types */
static void
attr_list(DsSavedNode *node, const char *name, unsigned field, const int64_t *values, size_t count)
{
	DsBuffer packed, list, value;

	ds_buffer_init(&packed, node->model->arena);
	ds_buffer_init(&list, node->model->arena);
	ds_buffer_init(&value, node->model->arena);
	for (size_t i = 0; i < count; i++)
		ds_proto_varint(&packed, (uint64_t) values[i]);
	ds_proto_message(&list, field, &packed);
	ds_proto_message(&value, 1, &list);
	put_attribute(node, name, &value);
}

void
ds_node_integers(DsSavedNode *node, const char *name, const int64_t *values, size_t count)
{
	attr_list(node, name, 3, values, count);
}

/* TensorShapeProto */
static void
put_shape(DsBuffer *out, unsigned field, const int64_t *shape, size_t rank)
{
	DsBuffer message;

	ds_buffer_init(&message, out->arena);
	for (size_t d = 0; d < rank; d++)
	{
		DsBuffer size;

		ds_buffer_init(&size, out->arena);
		ds_proto_integer(&size, 1, shape[d]);
		ds_proto_message(&message, 2, &size);
	}
	ds_proto_message(out, field, &message);
}

void
ds_node_shape(DsSavedNode *node, const char *name, const int64_t *shape, size_t rank)
{
	DsBuffer value;

	ds_buffer_init(&value, node->model->arena);
	put_shape(&value, 7, shape, rank);
	put_attribute(node, name, &value);
}

DsSavedValue
ds_node_end(DsSavedNode *node, unsigned type, unsigned outputs)
{
	DsSavedModel *model = node->model;
	const char *name = keep_name(model, node->name);
	DsSavedValue first = 0;

	ds_proto_message(&model->nodes, 1, &node->message);
	for (unsigned o = 0; o < outputs; o++)
	{
		DsSavedValue value = add_value(model, name, o, type);

		if (o == 0)
			first = value;
	}
	return first;
}

/* ---- constants ---- */

/* The head of a tensor, which the caller puts numbers behind */
static void
begin_tensor(DsBuffer *tensor, DsArena *arena, unsigned type, const uint64_t *shape, size_t rank)
{
	int64_t sizes[8];

	for (size_t d = 0; d < rank; d++)
		sizes[d] = (int64_t) shape[d];
	ds_buffer_init(tensor, arena);
	ds_proto_integer(tensor, 1, type);
	put_shape(tensor, 2, sizes, rank);
}

static DsSavedValue
put_const(DsSavedModel *model, const char *name, unsigned type, const DsBuffer *tensor)
{
	DsSavedNode node;
	DsBuffer value;

	ds_node_begin(model, &node, "Const", name);
	ds_node_type(&node, "dtype", type);
	ds_buffer_init(&value, model->arena);
	ds_proto_message(&value, 8, tensor);
	put_attribute(&node, "value", &value);
	return ds_node_end(&node, type, 1);
}

static size_t
count_of(const uint64_t *shape, size_t rank)
{
	size_t count = 1;

	for (size_t d = 0; d < rank; d++)
		count *= (size_t) shape[d];
	return count;
}

DsSavedValue
ds_saved_model_integers(DsSavedModel *model, unsigned type, const int64_t *values,
						const uint64_t *shape, size_t rank)
{
	size_t count = count_of(shape, rank);
	unsigned bytes = type == DS_SAVED_INT32 ? 4 : 8;
	DsBuffer tensor;

	begin_tensor(&tensor, model->arena, type, shape, rank);
	ds_proto_length(&tensor, 4, count * bytes);
	for (size_t i = 0; i < count; i++)
		for (unsigned b = 0; b < bytes; b++)
			ds_buffer_byte(&tensor, (unsigned) ((uint64_t) values[i] >> (8 * b)) & 255);
	return put_const(model, NULL, type, &tensor);
}

DsSavedValue
ds_saved_model_floats(DsSavedModel *model, const float *values, const uint64_t *shape, size_t rank)
{
	size_t count = count_of(shape, rank);
	unsigned char *bytes = ds_arena_alloc(model->arena, count, sizeof(float));
	DsBuffer tensor;

	if (bytes == NULL)
	{
		model->failed = true;
		return 0;
	}
	ds_dtype_from_float(DS_DTYPE_F32, values, count, bytes);
	begin_tensor(&tensor, model->arena, DS_SAVED_FLOAT, shape, rank);
	ds_proto_bytes(&tensor, 4, bytes, count * sizeof(float));
	return put_const(model, NULL, DS_SAVED_FLOAT, &tensor);
}

/* One text of no dimensions where count is 0 */
static DsSavedValue
put_strings(DsSavedModel *model, const char *name, const char *const *texts, size_t count)
{
	const uint64_t shape[1] = {count};
	DsBuffer tensor;

	begin_tensor(&tensor, model->arena, DS_SAVED_STRING, shape, count > 0 ? 1 : 0);
	for (size_t i = 0; i < (count > 0 ? count : 1); i++)
		ds_proto_text(&tensor, 8, texts[i]);
	return put_const(model, name, DS_SAVED_STRING, &tensor);
}

/* ---- signature ---- */

/* An entry of the signature's inputs, field 1, or outputs, 2 */
static void
put_signature(DsSavedModel *model, unsigned field, const char *name, DsSavedValue value,
			  const int64_t *shape, size_t rank)
{
	DsBuffer entry, info;

	ds_buffer_init(&entry, model->arena);
	ds_buffer_init(&info, model->arena);
	put_name(model, &info, 1, value, false);
	ds_proto_integer(&info, 2, ds_saved_model_type(model, value));
	put_shape(&info, 3, shape, rank);
	ds_proto_text(&entry, 1, name);
	ds_proto_message(&entry, 2, &info);
	ds_proto_message(&model->signature, field, &entry);
}

DsSavedValue
ds_saved_model_input(DsSavedModel *model, const char *name, unsigned type, const int64_t *shape,
					 size_t rank)
{
	DsSavedNode node;
	DsSavedValue value;

	ds_node_begin(model, &node, "Placeholder", name);
	ds_node_type(&node, "dtype", type);
	ds_node_shape(&node, "shape", shape, rank);
	value = ds_node_end(&node, type, 1);
	put_signature(model, 1, name, value, shape, rank);
	return value;
}

/* The node has another name than the output: a tower's table is called "embedding" too */
void
ds_saved_model_output(DsSavedModel *model, DsSavedValue value, const char *name,
					  const int64_t *shape, size_t rank)
{
	DsSavedNode node;
	char full[64];

	snprintf(full, sizeof(full), "output/%s", name);
	ds_node_begin(model, &node, "Identity", full);
	ds_node_input(&node, value);
	ds_node_type(&node, "T", ds_saved_model_type(model, value));
	value = ds_node_end(&node, ds_saved_model_type(model, value), 1);
	put_signature(model, 2, name, value, shape, rank);
}

/* ---- variables ---- */

static bool
grow_variables(DsSavedModel *model)
{
	size_t used = model->variable_count;
	size_t capacity = used > 0 ? 2 * used : 64;

	if (used < model->variable_capacity)
		return true;
	if (!grow(model, (void **) &model->variables, used, capacity, sizeof(DsTfTensor)) ||
		!grow(model, (void **) &model->handles, used, capacity, sizeof(DsSavedValue)) ||
		!grow(model, (void **) &model->reads, used, capacity, sizeof(DsSavedValue)))
		return false;
	model->variable_capacity = capacity;
	return true;
}

static unsigned
variable_type(const DsTfTensor *variable)
{
	return variable->part.dtype == DS_DTYPE_I64 ? DS_SAVED_INT64 : DS_SAVED_FLOAT;
}

DsSavedValue
ds_saved_model_variable(DsSavedModel *model, const char *name, const DsPlanPart *part,
						const uint64_t *shape, size_t rank)
{
	char read[DS_TENSOR_NAME_MAX + 32];
	int64_t sizes[4];
	DsTfTensor *variable;
	DsSavedNode node;
	size_t i = model->variable_count;

	if (!grow_variables(model))
		return 0;
	variable = &model->variables[i];
	variable->name = keep_name(model, name);
	variable->rank = (uint32_t) rank;
	variable->part = *part;
	for (size_t d = 0; d < rank; d++)
	{
		variable->shape[d] = shape[d];
		sizes[d] = (int64_t) shape[d];
	}
	model->variable_count++;
	ds_node_begin(model, &node, "VarHandleOp", name);
	ds_node_type(&node, "dtype", variable_type(variable));
	ds_node_shape(&node, "shape", sizes, rank);
	ds_node_text(&node, "shared_name", name);
	model->handles[i] = ds_node_end(&node, DS_SAVED_RESOURCE, 1);
	snprintf(read, sizeof(read), "%s/Read/ReadVariableOp", name);
	ds_node_begin(model, &node, "ReadVariableOp", read);
	ds_node_input(&node, model->handles[i]);
	ds_node_type(&node, "dtype", variable_type(variable));
	model->reads[i] = ds_node_end(&node, variable_type(variable), 1);
	return model->reads[i];
}

static void
assignment_name(char *name, size_t size, size_t number)
{
	snprintf(name, size, "save/AssignVariableOp_%zu", number);
}

static const char restore_name[] = "save/RestoreV2";

/* What saves and restores the variables: see the header */
static void
put_saver(DsSavedModel *model)
{
	size_t count = model->variable_count;
	const char **names = ds_arena_alloc(model->arena, count, sizeof(char *));
	const char **whole = ds_arena_alloc(model->arena, count, sizeof(char *));
	int64_t *types = ds_arena_alloc(model->arena, count, sizeof(int64_t));
	static const char *const usual[] = {"model"};
	DsSavedValue file, name_list, slices, restored;
	char name[64];
	DsSavedNode node;

	if (names == NULL || whole == NULL || types == NULL)
	{
		model->failed = true;
		return;
	}
	for (size_t i = 0; i < count; i++)
	{
		names[i] = model->variables[i].name;
		whole[i] = "";
		types[i] = variable_type(&model->variables[i]);
	}
	file = put_strings(model, "save/filename", usual, 0);
	ds_node_begin(model, &node, "PlaceholderWithDefault", "save/Const");
	ds_node_input(&node, file);
	ds_node_type(&node, "dtype", DS_SAVED_STRING);
	ds_node_shape(&node, "shape", NULL, 0);
	file = ds_node_end(&node, DS_SAVED_STRING, 1);
	name_list = put_strings(model, "save/tensor_names", names, count);
	slices = put_strings(model, "save/shape_and_slices", whole, count);

	ds_node_begin(model, &node, "SaveV2", "save/SaveV2");
	ds_node_input(&node, file);
	ds_node_input(&node, name_list);
	ds_node_input(&node, slices);
	for (size_t i = 0; i < count; i++)
		ds_node_input(&node, model->reads[i]);
	attr_list(&node, "dtypes", 6, types, count);
	(void) ds_node_end(&node, 0, 0);
	ds_node_begin(model, &node, "Identity", "save/control_dependency");
	ds_node_input(&node, file);
	ds_node_after(&node, "save/SaveV2");
	ds_node_type(&node, "T", DS_SAVED_STRING);
	(void) ds_node_end(&node, DS_SAVED_STRING, 1);

	ds_node_begin(model, &node, "RestoreV2", restore_name);
	ds_node_input(&node, file);
	ds_node_input(&node, name_list);
	ds_node_input(&node, slices);
	attr_list(&node, "dtypes", 6, types, count);
	restored = ds_node_end(&node, DS_SAVED_FLOAT, (unsigned) count);
	for (size_t i = 0; i < count; i++)
	{
		assignment_name(name, sizeof(name), i);
		ds_node_begin(model, &node, "AssignVariableOp", name);
		ds_node_input(&node, model->handles[i]);
		ds_node_input(&node, restored + (DsSavedValue) i);
		ds_node_type(&node, "dtype", (unsigned) types[i]);
		(void) ds_node_end(&node, 0, 0);
	}
	ds_node_begin(model, &node, "NoOp", "save/restore_all");
	for (size_t i = 0; i < count; i++)
	{
		assignment_name(name, sizeof(name), i);
		ds_node_after(&node, name);
	}
	(void) ds_node_end(&node, 0, 0);
}

/* A text that is put together, as a field */
static void __attribute__((format(printf, 3, 4)))
put_printf(DsBuffer *out, unsigned field, const char *format, ...)
{
	char text[DS_TENSOR_NAME_MAX + 80];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ds_proto_text(out, field, text);
}

/* A collection of VariableDef: all of them, or those that can be trained */
static void
put_collection(const DsSavedModel *model, DsBuffer *meta, const char *name, bool trainable)
{
	DsBuffer list, collection, entry;

	ds_buffer_init(&list, model->arena);
	ds_buffer_init(&collection, model->arena);
	ds_buffer_init(&entry, model->arena);
	for (size_t i = 0; i < model->variable_count; i++)
	{
		const DsTfTensor *variable = &model->variables[i];
		bool trained = variable->part.dtype != DS_DTYPE_I64;
		char assignment[64];
		DsBuffer def;

		if (trainable && !trained)
			continue;
		assignment_name(assignment, sizeof(assignment), i);
		ds_buffer_init(&def, model->arena);
		put_printf(&def, 1, "%s:0", variable->name);
		ds_proto_text(&def, 2, assignment);
		put_printf(&def, 3, "%s/Read/ReadVariableOp:0", variable->name);
		ds_proto_integer(&def, 5, 1); /* is_resource */
		put_printf(&def, 6, "%s:%zu", restore_name, i);
		ds_proto_integer(&def, 7, trained);
		ds_proto_message(&list, 1, &def);
	}
	ds_proto_message(&collection, 2, &list);
	ds_proto_text(&entry, 1, name);
	ds_proto_message(&entry, 2, &collection);
	ds_proto_message(meta, 4, &entry);
}

/* ---- the files ---- */

static void
put_saver_def(const DsSavedModel *model, DsBuffer *meta)
{
	DsBuffer saver;

	ds_buffer_init(&saver, model->arena);
	ds_proto_text(&saver, 1, "save/Const:0");
	ds_proto_text(&saver, 2, "save/control_dependency:0");
	ds_proto_text(&saver, 3, "save/restore_all");
	ds_proto_integer(&saver, 4, 5); /* max_to_keep */
	ds_proto_real(&saver, 6, 10000); /* keep_checkpoint_every_n_hours */
	ds_proto_integer(&saver, 7, 2); /* version: V2 */
	ds_proto_message(meta, 3, &saver);
	put_collection(model, meta, "variables", false);
	put_collection(model, meta, "trainable_variables", true);
}

static void
put_meta_graph(DsSavedModel *model, DsBuffer *meta)
{
	DsBuffer info, versions, signature, entry;

	ds_buffer_init(&info, model->arena);
	ds_proto_text(&info, 4, "serve");
	ds_proto_text(&info, 5, VERSION);
	ds_proto_integer(&info, 7, 1); /* stripped_default_attrs */
	ds_proto_message(meta, 1, &info);

	ds_buffer_init(&versions, model->arena);
	ds_proto_integer(&versions, 1, PRODUCER);
	ds_proto_message(&model->nodes, 4, &versions);
	ds_proto_message(meta, 2, &model->nodes);

	if (model->variable_count > 0)
		put_saver_def(model, meta);
	ds_buffer_init(&signature, model->arena);
	ds_buffer_put(&signature, model->signature.bytes, model->signature.length);
	signature.failed |= model->signature.failed;
	ds_proto_text(&signature, 3, "tensorflow/serving/predict");
	ds_buffer_init(&entry, model->arena);
	ds_proto_text(&entry, 1, "serving_default");
	ds_proto_message(&entry, 2, &signature);
	ds_proto_message(meta, 5, &entry);
}

DsCode
ds_saved_model_plan(DsSavedModel *model, DsPlan *plan, const char *name,
					const DsTensorSource *source, const DsCancel *cancel, DsStatus *status)
{
	DsPlanFile *file = NULL;
	DsBuffer meta, head;
	DsCode code;

	if (model->variable_count > 0)
		put_saver(model);
	ds_buffer_init(&meta, model->arena);
	put_meta_graph(model, &meta);
	ds_buffer_init(&head, model->arena);
	ds_proto_integer(&head, 1, 1); /* the schema's version */
	ds_proto_length(&head, 2, meta.length);
	if (model->failed || meta.failed || head.failed)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	if (head.length + (uint64_t) meta.length >= DS_PROTO_LIMIT)
		return ds_fail(status, DS_TOO_LARGE, "%s would have more than 2 GB", name);
	code = ds_plan_begin(plan, name, &file, status);
	if (code == DS_OK)
		code = ds_plan_bytes(plan, file, head.bytes, head.length, status);
	if (code == DS_OK)
		code = ds_plan_bytes(plan, file, meta.bytes, meta.length, status);
	/* loaders restore nothing where there is no index */
	if (code != DS_OK || model->variable_count == 0)
		return code;
	/* what is sorted here is not needed in its order any more */
	return ds_tf_bundle_plan(plan, "variables/variables", model->variables, model->variable_count,
							 source, cancel, status);
}
