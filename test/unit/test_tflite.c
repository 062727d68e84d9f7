/*
 * test_tflite.c
 *		Files of TensorFlow Lite: the FlatBuffer writer, the graphs, what is refused.
 *
 * A reader of its own walks through everything that a file names: every vtable,
 * offset, vector and string lies inside of the file and is aligned; every
 * operation reads what is there before it and everything that is made is read;
 * constants have the bytes that their shapes say.  What the numbers are is
 * compared by test/export/tflite, with Google's runtime.
 */
#include "encoder_expected.h"
#include "encoder_model.h"
#include "format/flatbuffer.h"
#include "format/tflite.h"
#include "unit.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* ---- reading ---- */

static unsigned char *file;
static size_t size;
static size_t capacity;
static int faults;
static const char *first_fault;

static void
fault(const char *what)
{
	if (faults++ == 0)
		first_fault = what;
}

static uint64_t
number(size_t at, unsigned width)
{
	uint64_t value = 0;

	if (at % width != 0)
		fault("a number that is not aligned");
	if (at > size || size - at < width)
	{
		fault("a number outside of the file");
		return 0;
	}
	for (unsigned i = 0; i < width; i++)
		value |= (uint64_t) file[at + i] << (8 * i);
	return value;
}

static size_t
follow(size_t at)
{
	uint64_t distance = number(at, 4);

	if (distance < 4 || distance >= size - at)
	{
		fault("an offset to nowhere");
		return 0;
	}
	return at + (size_t) distance;
}

/* A table, its vtable looked through */
static size_t
table(size_t at)
{
	size_t vtable = at - (size_t) (int32_t) number(at, 4);
	uint64_t entries = number(vtable, 2);
	uint64_t bytes = number(vtable + 2, 2);

	if (vtable >= at || entries < 4 || entries % 2 != 0 || bytes < 4 || at + bytes > size ||
		vtable + entries > size)
	{
		fault("a vtable that is none");
		return 0;
	}
	for (size_t i = 4; i < entries; i += 2)
		if (number(vtable + i, 2) >= bytes)
			fault("a field outside of its table");
	return at;
}

/* Where a field is; 0: it has its default */
static size_t
field(size_t at, unsigned id, unsigned width)
{
	size_t vtable = at - (size_t) (int32_t) number(at, 4);
	size_t place;

	if (at == 0 || 4 + 2 * (size_t) id >= number(vtable, 2))
		return 0;
	place = (size_t) number(vtable + 4 + 2 * (size_t) id, 2);
	if (place == 0)
		return 0;
	if (place + width > number(vtable + 2, 2) || (at + place) % width != 0)
		fault("a field that does not fit");
	return at + place;
}

static uint64_t
scalar(size_t at, unsigned id, unsigned width)
{
	size_t place = field(at, id, width);

	return place == 0 ? 0 : number(place, width);
}

/* The elements of a vector; 0 and no elements where there is none */
static size_t
vector(size_t at, unsigned id, unsigned width, size_t *count)
{
	size_t place = field(at, id, 4);
	size_t start;

	*count = 0;
	if (place == 0)
		return 0;
	start = follow(place);
	*count = (size_t) number(start, 4);
	if (*count > (size - start - 4) / width || (start + 4) % width != 0)
	{
		fault("a vector that does not fit");
		*count = 0;
	}
	return start + 4;
}

static const char *
string(size_t at, unsigned id)
{
	size_t length;
	size_t start = vector(at, id, 1, &length);

	if (start == 0 || start + length >= size || file[start + length] != 0 ||
		memchr(file + start, 0, length) != NULL)
	{
		fault("a string that is none");
		return "";
	}
	return (const char *) file + start;
}

static size_t
child(size_t elements, size_t i)
{
	return table(follow(elements + 4 * i));
}

/* ---- the tables of a model ---- */

typedef struct Graph
{
	size_t tensors;
	size_t tensor_count;
	size_t buffers;
	size_t buffer_count;
	size_t operations;
	size_t constants;
	bool uses[256]; /* of an operator */
	bool types[16]; /* of constants */
	char *known; /* 1: an input, a constant, or made; 2: read too */
} Graph;

static void
check_tensor(Graph *graph, size_t i)
{
	static const unsigned widths[16] = {4, 2, 4, 0, 0, 0, 1, 0, 0, 1};
	size_t tensor = child(graph->tensors, i);
	size_t rank;
	size_t shape = vector(tensor, 0, 4, &rank);
	uint64_t type = scalar(tensor, 1, 1);
	uint64_t buffer = scalar(tensor, 2, 4);
	size_t quantization = field(tensor, 4, 4);
	uint64_t bytes = type < 16 ? widths[type] : 0;
	size_t data;
	size_t length;

	if (bytes == 0 || rank == 0 || rank > 4 || scalar(tensor, 8, 1) != 1)
		fault("a tensor of another type or rank");
	string(tensor, 3);
	for (size_t d = 0; d < rank; d++)
		bytes *= number(shape + 4 * d, 4);
	if (buffer >= graph->buffer_count)
	{
		fault("a tensor without its buffer");
		return;
	}
	data = vector(child(graph->buffers, (size_t) buffer), 0, 1, &length);
	if (buffer > 0)
	{
		graph->known[i] = 1;
		graph->constants++;
		if (type < LENGTH(graph->types))
			graph->types[type] = true;
		if (length != bytes || data % 16 != 0)
			fault("a constant of another size than its shape's");
	}
	else if (data != 0)
		fault("the first buffer is not empty");
	if (quantization != 0)
	{
		size_t count;
		size_t zeros;
		size_t scales;

		quantization = table(follow(quantization));
		scales = vector(quantization, 2, 4, &count);
		vector(quantization, 3, 8, &zeros);
		if (type != 9 || count != number(shape, 4) || zeros != count ||
			scalar(quantization, 6, 4) != 0)
			fault("scales that do not fit");
		for (size_t s = 0; s < count; s++)
		{
			uint32_t bits = (uint32_t) number(scales + 4 * s, 4);
			float scale;

			memcpy(&scale, &bits, sizeof(scale));
			if (!(scale > 0))
				fault("a scale that is not positive");
		}
	}
}

static void
check_operation(Graph *graph, size_t codes, size_t code_count, size_t operation)
{
	size_t count;
	size_t tensors = vector(operation, 1, 4, &count);
	uint64_t code = scalar(operation, 0, 4);
	uint64_t opcode;

	if (code >= code_count)
	{
		fault("an operation without a code");
		return;
	}
	code = child(codes, (size_t) code);
	opcode = scalar((size_t) code, 3, 4);
	if (scalar((size_t) code, 0, 1) != (opcode < 127 ? opcode : 127) ||
		scalar((size_t) code, 2, 4) == 0 || opcode >= LENGTH(graph->uses))
		fault("a code of two minds");
	else
		graph->uses[opcode] = true;
	if ((field(operation, 3, 1) != 0) != (field(operation, 4, 4) != 0))
		fault("options without a type");
	if (field(operation, 4, 4) != 0)
		table(follow(field(operation, 4, 4)));
	for (size_t i = 0; i < count; i++)
	{
		uint64_t tensor = number(tensors + 4 * i, 4);

		if (tensor >= graph->tensor_count || graph->known[tensor] == 0)
			fault("an operation reads what is not there");
		else
			graph->known[tensor] = 2;
	}
	tensors = vector(operation, 2, 4, &count);
	for (size_t i = 0; i < count; i++)
	{
		uint64_t tensor = number(tensors + 4 * i, 4);

		if (tensor >= graph->tensor_count || graph->known[tensor] != 0)
			fault("an operation makes what is there");
		else
			graph->known[tensor] = 1;
	}
}

static void
check_map(const Graph *graph, size_t signature, unsigned id, size_t tensors, size_t count)
{
	size_t maps;
	size_t elements = vector(signature, id, 4, &maps);

	if (maps != count)
		fault("a signature of another number");
	for (size_t i = 0; i < maps; i++)
	{
		size_t map = child(elements, i);
		uint64_t tensor = scalar(map, 1, 4);

		if (tensor != number(tensors + 4 * i, 4) || tensor >= graph->tensor_count ||
			strcmp(string(map, 0), string(child(graph->tensors, (size_t) tensor), 3)) != 0)
			fault("a signature of another tensor");
	}
}

static Graph
check_file(void)
{
	Graph graph = {0};
	size_t model;
	size_t subgraph;
	size_t signature;
	size_t codes;
	size_t code_count;
	size_t inputs;
	size_t input_count;
	size_t outputs;
	size_t count;
	size_t operations;

	faults = 0;
	if (size < 8 || memcmp(file + 4, "TFL3", 4) != 0)
		fault("no file of TensorFlow Lite");
	model = table(follow(0));
	if (scalar(model, 0, 4) != 3)
		fault("another version of the schema");
	string(model, 3);
	codes = vector(model, 1, 4, &code_count);
	graph.buffers = vector(model, 4, 4, &graph.buffer_count);
	subgraph = vector(model, 2, 4, &count);
	if (count != 1 || faults > 0)
	{
		fault("no subgraph");
		return graph;
	}
	subgraph = child(subgraph, 0);
	string(subgraph, 4);
	graph.tensors = vector(subgraph, 0, 4, &graph.tensor_count);
	graph.known = calloc(graph.tensor_count + 1, 1);
	for (size_t i = 0; i < graph.tensor_count; i++)
		check_tensor(&graph, i);
	if (graph.constants + 1 != graph.buffer_count)
		fault("a buffer of no tensor");
	inputs = vector(subgraph, 1, 4, &input_count);
	for (size_t i = 0; i < input_count; i++)
		if (number(inputs + 4 * i, 4) < graph.tensor_count)
			graph.known[number(inputs + 4 * i, 4)] = 1;
	operations = vector(subgraph, 3, 4, &graph.operations);
	for (size_t i = 0; i < graph.operations; i++)
		check_operation(&graph, codes, code_count, child(operations, i));
	outputs = vector(subgraph, 2, 4, &count);
	if (count != 1 || number(outputs, 4) >= graph.tensor_count ||
		graph.known[number(outputs, 4)] != 1)
		fault("no output");
	else
		graph.known[number(outputs, 4)] = 2;
	for (size_t i = 0; i < graph.tensor_count; i++)
		if (graph.known[i] != 2)
			fault("a tensor that nothing reads");
	signature = vector(model, 7, 4, &count);
	if (count != 1)
		fault("no signature");
	signature = child(signature, 0);
	check_map(&graph, signature, 0, inputs, input_count);
	check_map(&graph, signature, 1, outputs, 1);
	if (strcmp(string(signature, 2), "serving_default") != 0)
		fault("another signature");
	free(graph.known);
	return graph;
}

/* ---- writing ---- */

static DsStatus status;
static size_t held; /* bytes that planning took from the arena */
static int allocations_left = -1;

static DsCode
put(void *context, const void *bytes, size_t length, DsStatus *failed)
{
	(void) context;
	(void) failed;
	if (size + length > capacity)
	{
		capacity = 2 * (size + length);
		file = realloc(file, capacity);
	}
	memcpy(file + size, bytes, length);
	size += length;
	return DS_OK;
}

static void *
allocate(void *context, size_t bytes)
{
	(void) context;
	if (allocations_left == 0)
		return NULL;
	if (allocations_left > 0)
		allocations_left--;
	return malloc(bytes);
}

static void
release(void *context, void *pointer)
{
	(void) context;
	free(pointer);
}

static bool
always(void *context)
{
	(void) context;
	return true;
}

typedef struct Wanted
{
	const DsEncoderSpec *spec;
	const DsDualEncoderConfig *config;
	DsSide side;
	DsTensorSource source;
	const DsCancel *cancel;
} Wanted;

static DsCode
make(const Wanted *wanted, DsDtype weights, uint32_t tokens)
{
	static const DsAllocator allocator = {allocate, release, NULL};
	DsTfliteOptions options = {.weights = weights, .tokens = tokens};
	DsBlobWriter writer = {NULL, put};
	DsPlan *plan = malloc(sizeof(DsPlan));
	DsArena arena;
	DsArena scratch;
	DsCode code;

	size = 0;
	status.message[0] = 0;
	ds_arena_init(&arena, &allocator);
	ds_arena_init(&scratch, &allocator);
	ds_plan_init(plan, &arena);
	code = wanted->spec != NULL
			   ? ds_tflite_encoder(wanted->spec, &options, &wanted->source, "model.tflite", plan,
								   wanted->cancel, &status)
			   : ds_tflite_tower(wanted->config, wanted->side, &options, &wanted->source,
								 "model.tflite", plan, wanted->cancel, &status);
	held = arena.allocated;
	if (code == DS_OK)
		code = ds_plan_write(&plan->files[0], &wanted->source, &writer, &scratch, wanted->cancel,
							 &status);
	if (code == DS_OK && size != plan->files[0].size)
		fault("not the size that was planned");
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	free(plan);
	return code;
}

/* ---- tests ---- */

static void
test_writer(void)
{
	DsArena arena;
	DsFlat flat;
	size_t slot[3];
	size_t root;
	size_t first;
	size_t count;
	const uint64_t longs[] = {1, UINT64_MAX};
	const uint16_t shorts[] = {7, 65535, 3};
	DsFlatField fields[] = {{1, 200, NULL}, {0, 0, NULL},	  {8, UINT64_MAX - 1, NULL},
							{2, 513, NULL}, {4, 0, &slot[0]}, {4, 0, &slot[1]},
							{4, 77, NULL},	{4, 0, &slot[2]}, {0, 0, NULL}};
	size_t at;

	ds_arena_init(&arena, NULL);
	root = ds_flat_begin(&flat, &arena, "TEST");
	ds_flat_point(&flat, root, ds_flat_table(&flat, fields, LENGTH(fields)));
	ds_flat_point(&flat, slot[0], ds_flat_string(&flat, "five!"));
	ds_flat_point(&flat, slot[1], ds_flat_numbers(&flat, longs, 2, 8));
	ds_flat_point(&flat, slot[2], ds_flat_offsets(&flat, 2, &first));
	ds_flat_point(&flat, first, ds_flat_table(&flat, NULL, 0));
	ds_flat_point(&flat, first + 4, ds_flat_numbers(&flat, shorts, 3, 2));
	CHECK(ds_flat_check(&flat, &status) == DS_OK, "a buffer is written");
	file = (unsigned char *) flat.buffer.bytes;
	size = flat.buffer.length;
	faults = 0;
	at = table(follow(0));
	CHECK(scalar(at, 0, 1) == 200 && field(at, 1, 4) == 0 && scalar(at, 2, 8) == UINT64_MAX - 1 &&
			  scalar(at, 3, 2) == 513 && scalar(at, 6, 4) == 77 && field(at, 8, 4) == 0,
		  "fields of every width have their values, those left out are not there");
	CHECK(strcmp(string(at, 4), "five!") == 0, "a string");
	first = vector(at, 5, 8, &count);
	CHECK(count == 2 && number(first, 8) == 1 && number(first + 8, 8) == UINT64_MAX,
		  "numbers of eight bytes, aligned");
	first = vector(at, 7, 4, &count);
	CHECK(count == 2 && field(child(first, 0), 0, 1) == 0, "a table without fields");
	first = follow(first + 4);
	CHECK(number(first, 4) == 3 && number(first + 6, 2) == 65535 && faults == 0,
		  "numbers of two bytes; nothing is amiss (%d%s%s)", faults, faults > 0 ? ": " : "",
		  faults > 0 ? first_fault : "");
	ds_flat_point(&flat, root, (uint64_t) DS_FLAT_MAX + 1);
	CHECK(ds_flat_check(&flat, &status) == DS_TOO_LARGE, "no offset leaves the first 2 GB");
	flat.far = false;
	ds_flat_point(&flat, root + 4, 4);
	CHECK(ds_flat_check(&flat, &status) == DS_TOO_LARGE, "no offset goes backwards");
	ds_arena_free(&arena);
	file = NULL;
	size = 0;
}

static const DsDtype types[] = {DS_DTYPE_F32, DS_DTYPE_F16, DS_DTYPE_I8};
static const char *const type_names[] = {"f32", "f16", "int8"};

static DsEncoderSpec
read_spec(size_t family)
{
	DsEncoderSpec spec = {0};
	const char *text = encoder_families[family].spec;
	DsJson root;

	if (ds_json_parse(text, strlen(text), "spec", &root, &status) != DS_OK ||
		ds_spec_read(root, &spec, &status) != DS_OK)
		CHECK(false, "description %zu: %s", family, status.message);
	return spec;
}

static Wanted
wanted_of(TestModel *model)
{
	return (Wanted){.spec = &model->spec, .source = {model, model_find, model_read}};
}

static void
test_families(void)
{
	for (size_t family = 0; family < LENGTH(encoder_families); family++)
	{
		TestModel model = {.spec = read_spec(family)};
		Wanted wanted = wanted_of(&model);

		if (model.spec.kind == DS_ENCODER_PATCHES)
			continue;
		for (size_t t = 0; t < LENGTH(types); t++)
		{
			DsCode code = make(&wanted, types[t], t == 0 ? 1 : 20);
			Graph graph = {0};

			if (code == DS_OK)
				graph = check_file();
			CHECK(code == DS_OK && faults == 0, "%s in %s: %zu tensors, %zu operations%s%s",
				  model.spec.family, type_names[t], graph.tensor_count, graph.operations,
				  code != DS_OK || faults > 0 ? ": " : "",
				  code != DS_OK ? status.message
				  : faults > 0	? first_fault
								: "");
			CHECK(graph.types[1] == (t == 1) && graph.types[9] == (t == 2),
				  "it has constants of f16 or int8 where they were asked for");
		}
	}
}

/* The reader above does find what is wrong. */
static void
test_reader(void)
{
	TestModel model = {.spec = read_spec(0)};
	Wanted wanted = wanted_of(&model);
	size_t whole;
	int unseen = 0;
	size_t tables;

	if (!CHECK(make(&wanted, DS_DTYPE_I8, 8) == DS_OK, "a file to damage"))
		return;
	whole = size;
	for (size_t cut = 1; cut < 200; cut++)
	{
		size = whole * cut / 200;
		check_file();
		unseen += faults == 0;
	}
	size = whole;
	CHECK(unseen == 0, "a file that is cut is not taken for whole");
	/* the first constant begins behind the tables */
	check_file();
	tables = follow(field(child(vector(table(follow(0)), 4, 4, &whole), 1), 0, 4));
	for (size_t at = 0; at < tables; at++)
	{
		file[at] ^= 0x80;
		check_file();
		unseen += faults > 0;
		file[at] ^= 0x80;
	}
	check_file();
	CHECK(faults == 0 && unseen > (int) (tables / 4),
		  "of %zu bytes of tables, %d are seen to be damaged", tables, unseen);
}

static void
test_poolings(void)
{
	TestModel model = {.spec = read_spec(0)};
	Wanted wanted = wanted_of(&model);

	model.spec.module_count = 0;
	model.spec.eot_id = 9;
	for (uint32_t skip = 0; skip < 2; skip++)
		for (uint32_t one = 1; one <= DS_POOL_EOT; one <<= 1)
		{
			DsCode code;

			model.spec.pooling = one;
			model.spec.pool_skip = skip;
			code = make(&wanted, DS_DTYPE_F32, 5);
			if (code == DS_OK)
				check_file();
			CHECK(code == DS_OK && faults == 0, "pooling %u, %u left out%s%s", one, skip,
				  code != DS_OK || faults > 0 ? ": " : "",
				  code != DS_OK ? status.message
				  : faults > 0	? first_fault
								: "");
		}
}

static bool
find_any(void *context, const char *name, uint64_t *values)
{
	DsDualEncoder *encoder = context;
	DsParameter *parameter = ds_dual_encoder_parameter(encoder, name);

	if (parameter == NULL)
		return false;
	*values = parameter->count;
	return true;
}

static DsCode
read_any(void *context, const char *name, uint64_t first, size_t count, float *out,
		 DsStatus *failed)
{
	(void) context;
	(void) failed;
	for (size_t i = 0; i < count; i++)
		out[i] = (float) model_uniform(name, first + i);
	return DS_OK;
}

static void
test_towers(void)
{
	DsDualEncoderConfig config = {
		.tower = {{.vocabulary = 100,
				   .embedding_dims = 16,
				   .pooling = DS_POOLING_SQRTN,
				   .dense_count = 2,
				   .dense = {24, 12}},
				  {.features = true, .embedding_dims = 20, .dense_count = 1, .dense = {12}}},
		.score = DS_SCORE_DOT};
	DsDualEncoder encoder;
	Wanted wanted = {.config = &config, .source = {&encoder, find_any, read_any}};

	CHECK(ds_dual_encoder_plan(&config, &encoder, &status) == DS_OK, "a dual encoder");
	for (size_t t = 0; t < LENGTH(types); t++)
		for (int side = 0; side < 2; side++)
		{
			DsCode code;

			wanted.side = (DsSide) side;
			code = make(&wanted, types[t], side == 0 ? 30 : 0);
			if (code == DS_OK)
				check_file();
			CHECK(code == DS_OK && faults == 0, "tower %d in %s%s%s", side, type_names[t],
				  code != DS_OK || faults > 0 ? ": " : "",
				  code != DS_OK ? status.message
				  : faults > 0	? first_fault
								: "");
		}
	wanted.side = DS_SIDE_QUERY;
	CHECK(make(&wanted, DS_DTYPE_F32, 0) == DS_INVALID && strstr(status.message, "tokens") != NULL,
		  "a tower of texts needs a number of tokens: %s", status.message);
	config.tower[0].dense_count = DS_DENSE_MAX + 1;
	CHECK(make(&wanted, DS_DTYPE_F32, 4) == DS_INVALID, "a configuration that is none: %s",
		  status.message);
}

static void
refused(const Wanted *wanted, DsDtype weights, uint32_t tokens, DsCode code, const char *words)
{
	DsCode got = make(wanted, weights, tokens);

	CHECK(got == code && strstr(status.message, words) != NULL && size == 0, "refused: %d %s",
		  (int) got, status.message);
}

/* everything is large */
static DsCode
read_large(void *context, const char *name, uint64_t first, size_t count, float *out,
		   DsStatus *failed)
{
	DsCode code = model_read(context, name, first, count, out, failed);

	for (size_t i = 0; i < count; i++)
		out[i] *= 1e6f;
	return code;
}

static void
test_refused(void)
{
	TestModel model = {.spec = read_spec(0)};
	Wanted wanted = wanted_of(&model);
	DsCancel cancel = {always, NULL};

	refused(&wanted, DS_DTYPE_F32, 0, DS_INVALID, "tokens");
	refused(&wanted, DS_DTYPE_F32, model.spec.max_tokens + 1, DS_INVALID, "tokens");
	refused(&wanted, DS_DTYPE_BF16, 8, DS_INVALID, "f32, f16 or int8");
	model.missing = "layer.1.mlp.up.weight";
	refused(&wanted, DS_DTYPE_F32, 8, DS_BAD_DATA, "layer.1.mlp.up.weight");
	model.missing = "layer.1.mlp.norm.bias";
	refused(&wanted, DS_DTYPE_F32, 8, DS_BAD_DATA, "layer.1.mlp.norm.bias");
	model.missing = NULL;
	model.wrong = "position.weight";
	refused(&wanted, DS_DTYPE_F32, 8, DS_BAD_DATA, "position.weight");
	model.wrong = "layer.0.attention.query.weight";
	refused(&wanted, DS_DTYPE_I8, 8, DS_BAD_DATA, "layer.0.attention.query.weight");
	model.wrong = NULL;
	model.infinite = "token.weight";
	refused(&wanted, DS_DTYPE_I8, 8, DS_BAD_DATA, "not finite");
	model.infinite = NULL;
	wanted.source.read = read_large;
	refused(&wanted, DS_DTYPE_F16, 8, DS_UNSUPPORTED, "too large for f16");
	wanted.source.read = model_read;
	wanted.cancel = &cancel;
	refused(&wanted, DS_DTYPE_F32, 8, DS_CANCELLED, "");
	wanted.cancel = NULL;
	model.spec.vocabulary = DS_SPEC_MAX_VOCABULARY;
	model.spec.hidden = 768;
	refused(&wanted, DS_DTYPE_F32, 8, DS_TOO_LARGE, "2 GB");
	refused(&wanted, DS_DTYPE_I8, 8, DS_TOO_LARGE, "2 GB");
	for (size_t family = 0; family < LENGTH(encoder_families); family++)
	{
		model.spec = read_spec(family);
		if (model.spec.kind == DS_ENCODER_PATCHES)
			refused(&wanted, DS_DTYPE_F32, 8, DS_UNSUPPORTED, "pictures");
		if (model.spec.rotary_scaling > 0)
			refused(&wanted, DS_DTYPE_F32, model.spec.rotary_trained + 1, DS_UNSUPPORTED,
					"rotary_scaling");
	}
	ds_spec_init(&model.spec, DS_ENCODER_PATCHES);
	model.spec.max_tokens = 50;
	refused(&wanted, DS_DTYPE_F32, 8, DS_UNSUPPORTED, "pictures");
}

static void
test_memory(void)
{
	TestModel model = {.spec = read_spec(0)};
	Wanted wanted = wanted_of(&model);
	int failed = 0;
	int other = 0;
	DsCode code;

	for (int n = 0; n < 1000; n++)
	{
		allocations_left = n;
		code = make(&wanted, DS_DTYPE_I8, 16);
		if (code == DS_OK)
			break;
		failed++;
		other += code != DS_OUT_OF_MEMORY;
	}
	allocations_left = -1;
	CHECK(code == DS_OK && failed > 2 && other == 0,
		  "memory that is out at each of %d allocations is told", failed);
	model.spec.vocabulary = 60000;
	code = make(&wanted, DS_DTYPE_F32, 16);
	CHECK(code == DS_OK && size > (size_t) 11 << 20 && held < (size_t) 4 << 20,
		  "a file of %zu bytes is planned in %zu", size, held);
}

int
main(void)
{
	test_writer();
	test_families();
	test_reader();
	test_poolings();
	test_towers();
	test_refused();
	test_memory();
	free(file);
	return unit_done();
}
