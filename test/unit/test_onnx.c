/*
 * test_onnx.c
 *		Graphs of ONNX: well-formed protocol buffers, in which every value that a node
 *		reads has been made before, for encoders of each kind.  What they compute is
 *		compared by make test-export.
 */
#include <string.h>

#include "format/onnx_encoder.h"
#include "unit.h"

/* every tensor is there as f32 and full of ones */
static const DsEncoderSpec *current;

static bool
describe(void *context, const char *name, DsDtype *dtype, uint32_t *rank, uint64_t shape[4])
{
	DsSpecTensor tensor;

	(void) context;
	if (!ds_spec_find(current, name, &tensor) || strstr(name, "_t") == name + strlen(name) - 2)
		return false;
	*dtype = DS_DTYPE_F32;
	*rank = tensor.rank;
	shape[0] = tensor.shape[0];
	shape[1] = tensor.shape[1];
	return true;
}

static bool
find(void *context, const char *name, uint64_t *values)
{
	DsSpecTensor tensor;

	(void) context;
	if (!ds_spec_find(current, name, &tensor))
		return false;
	*values = (uint64_t) tensor.shape[0] * tensor.shape[1];
	return true;
}

static DsCode
read_ones(void *context, const char *name, uint64_t first, size_t count, float *out,
		  DsStatus *status)
{
	(void) context;
	(void) name;
	(void) first;
	(void) status;
	for (size_t i = 0; i < count; i++)
		out[i] = 1;
	return DS_OK;
}

static const DsPlanStored stored = {NULL, describe};
static const DsTensorSource source = {NULL, find, read_ones};

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
static char names[NAMES][40];
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

static void
check(const DsEncoderSpec *spec, const char *what)
{
	for (int i = 0; i < 2; i++)
	{
		DsOnnxOptions options = {.int8 = i == 1};
		DsArena arena;
		DsPlan plan;
		DsStatus status = {0};
		DsCode code;
		Bytes bytes = {NULL, 0};
		DsBlobWriter writer = {&bytes, write_bytes};
		int nodes = -1;

		current = spec;
		ds_arena_init(&arena, NULL);
		ds_plan_init(&plan, &arena);
		code = ds_spec_check(spec, &status);
		if (code == DS_OK)
			code = ds_onnx_encoder(spec, 1, &options, &stored, &source, &plan, "m", NULL, &status);
		if (code == DS_OK)
		{
			const unsigned char *p;
			const unsigned char *end;
			Field field;

			bytes.at = malloc(plan.files[0].size);
			code = ds_plan_write(&plan.files[0], &source, &writer, &arena, NULL, &status);
			end = bytes.at + bytes.size;
			for (p = bytes.at; p < end && next(&p, end, &field);)
				if (field.number == 7)
					nodes = check_graph(&field);
			if (p != end || bytes.size != plan.files[0].size)
				nodes = -1;
			free(bytes.at);
		}
		CHECK(code == DS_OK && nodes > 5, "%s%s: %d nodes%s", what, i == 1 ? ", int8" : "", nodes,
			  status.message);
		ds_arena_free(&arena);
	}
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
	DsOnnxOptions options = {false};
	DsArena arena;
	DsPlan plan;
	DsStatus status = {0};

	current = &spec;
	ds_arena_init(&arena, NULL);
	ds_plan_init(&plan, &arena);
	CHECK(ds_onnx_encoder(&spec, DS_SPEC_NO_ID, &options, &stored, &source, &plan, "m", NULL,
						  &status) == DS_UNSUPPORTED &&
			  plan.file_count == 0,
		  "%s is refused: %s", what, status.message);
	ds_arena_free(&arena);
}

int
main(void)
{
	DsEncoderSpec spec = bert();

	check(&spec, "BERT");
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
	refused(spec, "interleaved rotation");
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
