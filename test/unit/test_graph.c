/*
 * test_graph.c
 *		Models as graphs of ONNX and of TensorFlow, of each kind: well-formed protocol
 *		buffers, in which every value that a node reads has been made; the weights of a
 *		SavedModel by a reader of checkpoints.  What they compute is compared by make
 *		test-export.
 */
#include <string.h>

#include "format/graph_model.h"
#include "format/tf_bundle.h"
#include "memory_folder.h"
#include "nn/image_small.h"
#include "nn/resnet.h"
#include "unit.h"

/* every tensor is there as f32: those of what is set */
static const DsEncoderSpec *current;
static const DsImageSpec *current_image;
static const DsTowerConfig *current_bag;
static uint32_t fusion_dims;

static bool
tower_tensor(const char *name, uint64_t shape[4])
{
	uint64_t ins = current_bag->embedding_dims;
	uint32_t layer;
	char what[16];

	shape[0] = shape[1] = 1;
	if (strcmp(name, "embedding") == 0)
	{
		shape[0] = current_bag->vocabulary;
		shape[1] = ins;
		return !current_bag->features;
	}
	if (strcmp(name, "fusion.weight") == 0)
	{
		shape[0] = 2 * (uint64_t) fusion_dims;
		shape[1] = fusion_dims;
		return fusion_dims > 0;
	}
	if (strncmp(name, "fusion.", 7) == 0)
	{
		shape[0] = fusion_dims;
		return fusion_dims > 0;
	}
	if (sscanf(name, "dense.%u.%15s", &layer, what) != 2 || layer >= current_bag->dense_count)
		return false;
	if (layer > 0)
		ins = current_bag->dense[layer - 1];
	shape[0] = strcmp(what, "weight") == 0 ? ins : current_bag->dense[layer];
	shape[1] = strcmp(what, "weight") == 0 ? current_bag->dense[layer] : 1;
	return true;
}

static bool
describe(void *context, const char *name, DsDtype *dtype, uint32_t *rank, uint64_t shape[4])
{
	DsSpecTensor tensor;
	DsImageTensor image;

	(void) context;
	*dtype = DS_DTYPE_F32;
	*rank = 2;
	if (strstr(name, "_t") == name + strlen(name) - 2)
		return false;
	if (current_bag != NULL && tower_tensor(name, shape))
		return true;
	if (current != NULL && ds_spec_find(current, name, &tensor))
	{
		*rank = tensor.rank;
		shape[0] = tensor.shape[0];
		shape[1] = tensor.shape[1];
		return true;
	}
	if (current_image == NULL || !ds_image_spec_find(current_image, name, &image))
		return false;
	*rank = image.rank;
	for (int d = 0; d < 4; d++)
		shape[d] = image.shape[d];
	return true;
}

static bool
find(void *context, const char *name, uint64_t *values)
{
	uint64_t shape[4] = {1, 1, 1, 1};
	uint32_t rank;
	DsDtype dtype;

	if (!describe(context, name, &dtype, &rank, shape))
		return false;
	*values = shape[0];
	for (uint32_t d = 1; d < rank; d++)
		*values *= shape[d];
	return true;
}

/* A whole number, which all types have */
static float
number_of(const char *name, uint64_t at)
{
	return (float) (((uint64_t) ds_crc32c(0, name, strlen(name)) + at * 31) % 1009);
}

static DsCode
read_numbers(void *context, const char *name, uint64_t first, size_t count, float *out,
			 DsStatus *status)
{
	(void) context;
	(void) status;
	for (size_t i = 0; i < count; i++)
		out[i] = number_of(name, first + i);
	return DS_OK;
}

static const DsPlanStored stored = {NULL, describe};
static const DsTensorSource source = {NULL, find, read_numbers};

typedef struct Bytes
{
	unsigned char *at;
	size_t size;
} Bytes;

static DsCode
write_bytes(void *context, const void *bytes, size_t size, DsStatus *status)
{
	Bytes *to = context;

	(void) status;
	memcpy(to->at + to->size, bytes, size);
	to->size += size;
	return DS_OK;
}

/* ---- reading the message ---- */

typedef struct Field
{
	unsigned number;
	unsigned kind;
	uint64_t value; /* or the length */
	const unsigned char *bytes;
} Field;

static bool
read_varint(const unsigned char **p, const unsigned char *end, uint64_t *value)
{
	*value = 0;
	for (unsigned shift = 0; *p < end && shift < 64; shift += 7)
	{
		unsigned char c = *(*p)++;

		*value |= (uint64_t) (c & 127) << shift;
		if (c < 128)
			return true;
	}
	return false;
}

static bool
next(const unsigned char **p, const unsigned char *end, Field *field)
{
	uint64_t tag;

	if (*p >= end || !read_varint(p, end, &tag))
		return false;
	field->number = (unsigned) (tag >> 3);
	field->kind = (unsigned) (tag & 7);
	field->bytes = *p;
	if (field->kind == 5)
		*p += 4;
	else if (!read_varint(p, end, &field->value))
		return false;
	if (field->kind == 2)
	{
		field->bytes = *p;
		if (field->value > (uint64_t) (end - *p))
			return false;
		*p += field->value;
	}
	return *p <= end;
}

#define NAMES 4096
static char names[NAMES][96];
static int name_count;

static int
find_name(const Field *field)
{
	for (int i = 0; i < name_count; i++)
		if (strlen(names[i]) == field->value &&
			memcmp(names[i], field->bytes, (size_t) field->value) == 0)
			return i;
	return -1;
}

static void
add_name(const Field *field)
{
	if (name_count < NAMES && field->value < sizeof(names[0]))
		snprintf(names[name_count++], sizeof(names[0]), "%.*s", (int) field->value, field->bytes);
}

/* initializers and inputs make values, too; returns the number of nodes, -1 for nonsense */
static int
check_graph(const Field *graph)
{
	const unsigned char *end = graph->bytes + graph->value;
	int nodes = 0;
	Field field, inner;

	name_count = 0;
	for (const unsigned char *p = graph->bytes; p < end;)
	{
		const unsigned char *q;

		if (!next(&p, end, &field))
			return -1;
		for (q = field.bytes; (field.number == 5 || field.number == 11) && q < p;)
		{
			if (!next(&q, p, &inner))
				return -1;
			if (inner.number == (field.number == 5 ? 8 : 1) && inner.kind == 2)
				add_name(&inner);
		}
	}
	for (const unsigned char *p = graph->bytes; p < end;)
	{
		if (!next(&p, end, &field))
			return -1;
		for (const unsigned char *q = field.bytes; field.number == 1 && q < p;)
		{
			if (!next(&q, p, &inner))
				return -1;
			if (inner.number == 1 && inner.value > 0 && find_name(&inner) < 0)
				return -1;
			if (inner.number == 2)
			{
				if (find_name(&inner) >= 0)
					return -1;
				add_name(&inner);
			}
		}
		nodes += field.number == 1;
	}
	return nodes;
}

static unsigned char *
write_file(const DsPlanFile *file, size_t *size)
{
	Bytes bytes = {malloc(file->size + 1), 0};
	DsBlobWriter writer = {&bytes, write_bytes};
	DsStatus status = {0};
	DsArena arena;

	ds_arena_init(&arena, NULL);
	if (ds_plan_write(file, &source, &writer, &arena, NULL, &status) != DS_OK ||
		bytes.size != file->size)
		bytes.size = 0;
	ds_arena_free(&arena);
	*size = bytes.size;
	return bytes.at;
}

static int
check_onnx(const DsPlan *plan)
{
	size_t size;
	unsigned char *at = write_file(&plan->files[0], &size);
	const unsigned char *p = at;
	int nodes = -1;
	Field field;

	while (p < at + size && next(&p, at + size, &field))
		if (field.number == 7)
			nodes = check_graph(&field);
	if (p != at + size || plan->file_count != 1)
		nodes = -1;
	free(at);
	return nodes;
}

/* ---- SavedModel ---- */

/* The field of a message with this number, for the n-th time */
static bool
get(const Field *message, unsigned number, size_t n, Field *field)
{
	const unsigned char *end = message->bytes + message->value;

	for (const unsigned char *p = message->bytes; p < end;)
	{
		if (!next(&p, end, field))
			return false;
		if (field->number == number && n-- == 0)
			return true;
	}
	return false;
}

static bool
is_text(const Field *field, const char *text)
{
	return field->kind == 2 && field->value == strlen(text) &&
		   memcmp(field->bytes, text, strlen(text)) == 0;
}

/* The value of a map's entry */
static bool
get_entry(const Field *message, unsigned number, const char *key, Field *value)
{
	Field entry = {0}, name;

	for (size_t n = 0; get(message, number, n, &entry); n++)
		if (get(&entry, 1, 0, &name) && is_text(&name, key))
			return get(&entry, 2, 0, value);
	return false;
}

/*
 * Names of nodes are there once, and what they read is there (NODE, NODE:1 or ^NODE); the
 * number of them, and of variables
 */
static int
check_nodes(const Field *graph, size_t *variables)
{
	Field node, field;
	int nodes = 0;

	name_count = 0;
	*variables = 0;
	for (; get(graph, 1, (size_t) nodes, &node); nodes++)
	{
		if (!get(&node, 1, 0, &field) || find_name(&field) >= 0)
			return -1;
		add_name(&field);
		if (get(&node, 2, 0, &field) && is_text(&field, "VarHandleOp"))
			++*variables;
	}
	for (int i = 0; get(graph, 1, (size_t) i, &node); i++)
		for (size_t n = 0; get(&node, 3, n, &field); n++)
		{
			const unsigned char *colon = memchr(field.bytes, ':', (size_t) field.value);

			if (colon != NULL)
				field.value = (uint64_t) (colon - field.bytes);
			if (field.value > 0 && field.bytes[0] == '^')
			{
				field.bytes++;
				field.value--;
			}
			if (find_name(&field) < 0)
				return -1;
		}
	return name_count == nodes ? nodes : -1;
}

/* Where in a tensor as it is stored a number stands that is written at a place */
static uint64_t
stored_at(const DsTensorInfo *tensor, uint64_t at)
{
	const uint64_t *shape = tensor->shape;
	const char *name = tensor->name;
	size_t length = strlen(name);
	bool turned = strncmp(name, "dense.", 6) == 0 || strncmp(name, "fusion.", 7) == 0;

	if (tensor->rank == 4)
	{
		/* [height][width][in][out] of [out][in][height][width] */
		uint64_t out = at % shape[3], in = at / shape[3] % shape[2];

		return (out * shape[2] + in) * shape[0] * shape[1] + at / shape[3] / shape[2];
	}
	/* [in][out] of [out][in]: what is multiplied with, but for what a tower has so */
	if (tensor->rank == 2 && !turned && length > 7 && strcmp(name + length - 7, ".weight") == 0 &&
		strcmp(name, "token.weight") != 0 && strcmp(name, "position.weight") != 0 &&
		strcmp(name, "type.weight") != 0 && strcmp(name, "relative.weight") != 0 &&
		strcmp(name, "class.weight") != 0)
		return at % shape[1] * shape[0] + at / shape[1];
	return at;
}

/* All numbers of a checkpoint are those of the model */
static bool
same_numbers(const DsTensorFiles *files)
{
	DsStatus status = {0};

	for (size_t t = 0; t < files->count; t++)
	{
		const DsTensorInfo *tensor = &files->tensors[t];
		float *values = malloc(sizeof(float) * (size_t) tensor->elements);
		bool same = ds_tensors_read_floats(files, tensor, 0, (size_t) tensor->elements, values,
										   &status) == DS_OK;

		for (uint64_t i = 0; i < tensor->elements && same; i++)
			same = values[i] == number_of(tensor->name, stored_at(tensor, i));
		free(values);
		if (!same)
		{
			printf("# %s has other numbers\n", tensor->name);
			return false;
		}
	}
	return true;
}

/* The number of nodes, or -1: the graph, what restores it, its signature, and its weights */
static int
check_saved_model(const DsPlan *plan, const char *output)
{
	static const char *const input_names[] = {"input_ids", "attention_mask", "pixel_values",
											  "features"};
	MemoryFolder memory;
	DsTensorFiles files = {0};
	DsArena arena, scratch;
	DsStatus status = {0};
	Field saved = {0}, meta, graph, field, info, inner;
	size_t size, variables = 0, inputs = 0;
	unsigned char *at = write_file(&plan->files[0], &size);
	int nodes = -1;

	saved.bytes = at;
	saved.value = size;
	memory_open(&memory);
	ds_arena_init(&arena, NULL);
	ds_arena_init(&scratch, NULL);
	for (size_t i = 1; i < plan->file_count; i++)
	{
		size_t length;
		unsigned char *bytes = write_file(&plan->files[i], &length);

		memory_put(&memory, plan->files[i].name, bytes, length);
		free(bytes);
	}
	if (plan->file_count == 3 && strcmp(plan->files[0].name, "m") == 0 &&
		get(&saved, 2, 0, &meta) && !get(&saved, 2, 1, &field) && get(&meta, 1, 0, &info) &&
		get(&info, 4, 0, &field) && is_text(&field, "serve") && get(&meta, 2, 0, &graph) &&
		get(&meta, 3, 0, &info) && get(&info, 1, 0, &field) && is_text(&field, "save/Const:0") &&
		get(&info, 3, 0, &field) && is_text(&field, "save/restore_all") &&
		get_entry(&meta, 5, "serving_default", &info) && get_entry(&info, 2, output, &field) &&
		get(&field, 1, 0, &inner) && get(&info, 3, 0, &field) &&
		is_text(&field, "tensorflow/serving/predict") &&
		ds_tf_bundle_open(&memory.folder, "variables/variables.index", &arena, &scratch, &files,
						  &status) == DS_OK)
	{
		nodes = check_nodes(&graph, &variables);
		for (size_t i = 0; i < sizeof(input_names) / sizeof(input_names[0]); i++)
			inputs += get_entry(&info, 1, input_names[i], &field);
		for (size_t i = 0; i < files.count; i++)
		{
			field = (Field){.bytes = (const unsigned char *) files.tensors[i].name,
							.value = strlen(files.tensors[i].name)};
			if (find_name(&field) < 0)
				nodes = -1;
		}
		if (inputs == 0 || variables == 0 || variables != files.count || !same_numbers(&files))
			nodes = -1;
	}
	free(at);
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	memory_close(&memory);
	return nodes;
}

/* One of the two, in all formats; int8 too unless that is to be refused */
static void
check_either(const DsEncoderSpec *spec, const DsGraphTower *tower, const char *what)
{
	static const char *const names_of[] = {"ONNX", "ONNX, int8", "TensorFlow", "TensorFlow, int8"};

	for (int i = 0; i < 4; i++)
	{
		bool int8 = i % 2 == 1, onnx = i < 2;
		DsArena arena;
		DsPlan plan;
		DsGraphTarget target = {.format = onnx ? &ds_onnx_format : &ds_tensorflow_format,
								.int8 = int8,
								.stored = &stored,
								.source = &source,
								.plan = &plan,
								.name = "m"};
		DsStatus status = {0};
		DsCode code;
		int nodes = -1;

		ds_arena_init(&arena, NULL);
		ds_plan_init(&plan, &arena);
		current = spec;
		current_image = tower != NULL ? tower->image : NULL;
		current_bag = tower != NULL ? tower->bag : NULL;
		if (spec != NULL)
			code = ds_spec_check(spec, &status);
		else
			code = tower->image != NULL ? ds_image_spec_check(tower->image, &status) : DS_OK;
		if (code == DS_OK && spec != NULL)
			code = ds_graph_encoder(&target, spec, 1, &status);
		else if (code == DS_OK)
			code = ds_graph_tower(&target, tower, &status);
		if (code == DS_OK)
			nodes = onnx ? check_onnx(&plan)
						 : check_saved_model(&plan,
											 spec != NULL && spec->scores ? "scores" : "embedding");
		if (int8 && (!onnx || (tower != NULL && tower->image != NULL)))
			CHECK(code == DS_UNSUPPORTED && plan.file_count == 0, "%s: %s is refused: %s", what,
				  names_of[i], status.message);
		else
			CHECK(code == DS_OK && nodes > 2, "%s: %s: %d nodes%s", what, names_of[i], nodes,
				  status.message);
		ds_arena_free(&arena);
	}
}

/* ---- out of memory at each allocation ---- */

static size_t allocations_left;

static void *
allocate(void *context, size_t size)
{
	(void) context;
	return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void
release(void *context, void *pointer)
{
	(void) context;
	free(pointer);
}

static void
check_memory(const DsEncoderSpec *spec, const struct DsGraphFormat *format, const char *what)
{
	const DsAllocator allocator = {allocate, release, NULL};
	DsCode code = DS_OUT_OF_MEMORY;
	size_t n = 0, refusals = 0;

	current = spec;
	for (; code != DS_OK && n < 1000; n++)
	{
		DsArena small;
		DsPlan plan;
		DsGraphTarget target = {
			.format = format, .stored = &stored, .source = &source, .plan = &plan, .name = "m"};
		DsStatus status = {0};

		allocations_left = n;
		ds_arena_init(&small, &allocator);
		ds_plan_init(&plan, &small);
		code = ds_graph_encoder(&target, spec, DS_SPEC_NO_ID, &status);
		refusals += code == DS_OUT_OF_MEMORY;
		ds_arena_free(&small);
	}
	CHECK(code == DS_OK && n > 1 && refusals == n - 1,
		  "%s: out of memory at each of %zu allocations", what, n);
}

static void
check(const DsEncoderSpec *spec, const char *what)
{
	check_either(spec, NULL, what);
}

/* A vision transformer, of which little is like others */
static void
vit(DsImageSpec *spec)
{
	DsEncoderSpec *t = &spec->transformer;

	ds_image_spec_init(spec, DS_IMAGE_VIT);
	strcpy(spec->family, "vit");
	spec->height = 8;
	spec->width = 12;
	spec->channels = 3;
	spec->patch = 4;
	strcpy(t->family, "vit");
	t->patch_dims = 48;
	t->patch_bias = t->class_token = 1;
	t->hidden = 16;
	t->positions = t->max_tokens = 7;
	t->layers = 2;
	t->heads = 2;
	t->head_dims = 8;
	t->intermediate = 24;
	t->activation = DS_ACT_GELU;
	t->norm_first = t->final_norm = 1;
	t->norm_epsilon = 1e-12f;
	t->norm_bias = t->qkv_bias = t->out_bias = t->up_bias = t->down_bias = 1;
	t->pooling = DS_POOL_CLS;
}

/* What has no weights has no checkpoint, and nothing that restores one */
static void
check_without_weights(void)
{
	DsImageSpec image;
	DsGraphTower tower = {.image = &image};
	DsArena arena;
	DsPlan plan;
	DsGraphTarget target = {.format = &ds_tensorflow_format,
							.stored = &stored,
							.source = &source,
							.plan = &plan,
							.name = "m"};
	DsStatus status = {0};
	Field saved = {0}, meta = {0}, field;
	unsigned char *at;
	size_t size;

	ds_image_spec_init(&image, DS_IMAGE_CONV);
	strcpy(image.family, "mean");
	image.height = image.width = 8;
	image.channels = image.layers[0].out = 3;
	image.layer_count = 1;
	image.layers[0].kind = DS_LAYER_GLOBAL_AVERAGE;
	ds_arena_init(&arena, NULL);
	ds_plan_init(&plan, &arena);
	CHECK(ds_image_spec_check(&image, &status) == DS_OK &&
			  ds_graph_tower(&target, &tower, &status) == DS_OK && plan.file_count == 1,
		  "a mean of pixels has one file: %s", status.message);
	at = write_file(&plan.files[0], &size);
	saved.bytes = at;
	saved.value = size;
	CHECK(get(&saved, 2, 0, &meta) && get(&meta, 2, 0, &field) && !get(&meta, 3, 0, &field) &&
			  !get(&meta, 4, 0, &field) && get(&meta, 5, 0, &field),
		  "of a graph and a signature");
	free(at);
	ds_arena_free(&arena);
}

static void
check_towers(void)
{
	DsTowerConfig bag = {.vocabulary = 40,
						 .embedding_dims = 12,
						 .pooling = DS_POOLING_SQRTN,
						 .dense_count = 2,
						 .dense = {10, 8}};
	DsImageSpec image;
	DsResNet net;
	DsStatus status;
	DsGraphTower tower = {.bag = &bag, .normalize = true};

	check_either(NULL, &tower, "a table and dense layers");
	bag.dense_count = 0;
	check_either(NULL, &tower, "a table");
	bag.features = bag.last_relu = true;
	bag.dense_count = 1;
	check_either(NULL, &tower, "features");
	bag = (DsTowerConfig){.vocabulary = 40, .embedding_dims = 8, .pooling = DS_POOLING_MEAN};
	CHECK(ds_image_spec_small(&image, 24, 32, 16, 8, &status) == DS_OK, "%s", status.message);
	tower = (DsGraphTower){.image = &image, .normalize = true};
	check_either(NULL, &tower, "the small network");
	fusion_dims = tower.fusion_dims = 8;
	tower.bag = &bag;
	check_either(NULL, &tower, "fused, joined");
	tower.fusion = DS_FUSION_GATED;
	check_either(NULL, &tower, "fused, by a gate");
	tower = (DsGraphTower){.image = &image};
	(void) ds_resnet_depth(20, &net);
	CHECK(ds_resnet_spec(&net, &image, NULL, &status) == DS_OK, "%s", status.message);
	check_either(NULL, &tower, "ResNet of CIFAR");
	(void) ds_resnet_depth(50, &net);
	net.height = net.width = 64;
	for (int s = 0; s < 4; s++)
		net.blocks[s] = 1;
	CHECK(ds_resnet_spec(&net, &image, NULL, &status) == DS_OK, "%s", status.message);
	check_either(NULL, &tower, "ResNet with bottlenecks");
	vit(&image);
	check_either(NULL, &tower, "ViT");
	image.transformer.pooling = DS_POOL_MEAN;
	image.transformer.embedding_norm = 1;
	image.transformer.class_token = 0;
	image.transformer.positions = image.transformer.max_tokens = 6;
	check_either(NULL, &tower, "ViT by means");
}

static DsEncoderSpec
bert(void)
{
	DsEncoderSpec spec;

	ds_spec_init(&spec, DS_ENCODER_TRANSFORMER);
	strcpy(spec.family, "bert");
	spec.vocabulary = 50;
	spec.hidden = 16;
	spec.layers = 2;
	spec.heads = 2;
	spec.head_dims = 8;
	spec.intermediate = 24;
	spec.activation = DS_ACT_GELU;
	spec.positions = spec.max_tokens = 20;
	spec.types = 2;
	spec.embedding_norm = 1;
	spec.norm_epsilon = 1e-12f;
	spec.norm_bias = spec.qkv_bias = spec.out_bias = spec.up_bias = spec.down_bias = 1;
	spec.pooling = DS_POOL_MEAN;
	return spec;
}

static void
refused(DsEncoderSpec spec, const char *what)
{
	DsArena arena;
	DsPlan plan;
	DsGraphTarget target = {.format = &ds_onnx_format,
							.stored = &stored,
							.source = &source,
							.plan = &plan,
							.name = "m"};
	DsStatus status = {0};

	current = &spec;
	ds_arena_init(&arena, NULL);
	ds_plan_init(&plan, &arena);
	CHECK(ds_graph_encoder(&target, &spec, DS_SPEC_NO_ID, &status) == DS_UNSUPPORTED &&
			  plan.file_count == 0,
		  "%s is refused: %s", what, status.message);
	ds_arena_free(&arena);
}

int
main(void)
{
	DsEncoderSpec spec = bert();

	check_towers();
	check_without_weights();
	check(&spec, "BERT");
	check_memory(&spec, &ds_onnx_format, "ONNX");
	check_memory(&spec, &ds_tensorflow_format, "TensorFlow");
	spec.pooling = DS_POOL_CLS | DS_POOL_MAX | DS_POOL_MEAN_SQRT | DS_POOL_LAST;
	spec.module_count = 3;
	spec.modules[0] = (DsSpecModule){DS_MODULE_DENSE, 64, 12, DS_ACT_TANH, 1, 0};
	spec.modules[1] = (DsSpecModule){DS_MODULE_NORM, 12, 12, 0, 1, 1e-5f};
	spec.modules[2] = (DsSpecModule){DS_MODULE_NORMALIZE, 12, 12, 0, 0, 0};
	check(&spec, "four poolings, modules");
	spec = bert();
	spec.types = 0;
	spec.position_offset = 2;
	spec.max_tokens = 18;
	spec.relative_buckets = 8;
	spec.relative_distance = 16;
	spec.pooling = DS_POOL_WEIGHTED_MEAN;
	check(&spec, "relative positions");
	spec = bert();
	spec.types = 0;
	spec.norm_first = spec.final_norm = spec.causal = spec.qkv_fused = 1;
	spec.embedding_norm = 0;
	spec.pooling = DS_POOL_EOT;
	spec.eot_id = 49;
	spec.activation = DS_ACT_QUICK_GELU;
	check(&spec, "CLIP");
	spec = bert();
	spec.types = spec.positions = 0;
	spec.norm_first = spec.final_norm = spec.first_norm_absent = spec.gated = 1;
	spec.qkv_fused = spec.gate_up_fused = 1;
	spec.rotary_dims = 4;
	spec.rotary_base = 10000;
	spec.window = 6;
	spec.window_base = 100;
	spec.global_every = 2;
	spec.activation = DS_ACT_SILU;
	check(&spec, "ModernBERT");
	spec.rotary_interleaved = 1;
	check(&spec, "interleaved rotation");
	spec.rotary_scaling = 2;
	spec.rotary_trained = 10;
	refused(spec, "a rotation that depends on the text's length");
	spec = bert();
	spec.pooling = 127;
	spec.eot_id = 49;
	spec.pool_skip = 2;
	check(&spec, "all poolings, without the first tokens");
	ds_spec_init(&spec, DS_ENCODER_STATIC);
	strcpy(spec.family, "model2vec");
	spec.vocabulary = 30;
	spec.static_rows = 20;
	spec.token_weights = 1;
	spec.hidden = 8;
	spec.max_tokens = 100;
	check(&spec, "a static encoder");
	spec = bert();
	spec.kind = DS_ENCODER_PATCHES;
	refused(spec, "a transformer over patches");
	return unit_done();
}
