/*
 * ours.c
 *		Files of TensorFlow Lite, ONNX and TensorFlow, and what our own forward pass makes of the same
 *		weights.
 *
 *	 ours DIR
 *
 * Encoders of every family that the unit tests have (small, weights made from
 * names), a BERT of the size of MiniLM with random weights, and towers of dual
 * encoders; each in f32, f16 and int8.  DIR/NAME.PRECISION.tflite is a file,
 * DIR/NAME.in its inputs, for one text after the other, and DIR/NAME.out the
 * results; DIR/NAME.f32.onnx and the folder DIR/NAME.saved_model are the same of encoders as
 * ONNX and a SavedModel.  Prints a line for each file: name, precision, words of 4 bytes that
 * a text has as inputs, texts, components of a result; of ONNX and a SavedModel the tokens too.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "encoder_expected.h"
#include "encoder_model.h"
#include "format/graph_model.h"
#include "format/tflite.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define TEXTS LENGTH(encoder_lengths)

static const struct
{
	const char *name;
	DsDtype dtype;
} precisions[] = {{"f32", DS_DTYPE_F32}, {"f16", DS_DTYPE_F16}, {"int8", DS_DTYPE_I8}};

static const char *directory;
static DsArena arena;
static DsStatus status;

static void
check(DsCode code, const char *what)
{
	if (code == DS_OK)
		return;
	fprintf(stderr, "%s: %s\n", what, status.message);
	exit(1);
}

static FILE *
create(const char *name, const char *precision, const char *ending)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s%s%s", directory, name, precision, ending);
	file = fopen(path, "wb");
	if (file == NULL)
	{
		perror(path);
		exit(1);
	}
	return file;
}

static void
create_folder(const char *name, const char *ending)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s%s", directory, name, ending);
	if (mkdir(path, 0777) != 0)
	{
		perror(path);
		exit(1);
	}
}

static DsCode
put(void *context, const void *bytes, size_t size, DsStatus *failed)
{
	if (fwrite(bytes, 1, size, context) != size)
		return ds_fail(failed, DS_INVALID, "a file cannot be written");
	return DS_OK;
}

/* plan(context, options, plan) in each precision */
static void
write_files(const char *name, uint32_t tokens, const DsTensorSource *source,
			DsCode (*make)(const void *context, const DsTfliteOptions *options,
						   const DsTensorSource *source, DsPlan *plan),
			const void *context, size_t words, size_t texts, size_t dims)
{
	for (size_t p = 0; p < LENGTH(precisions); p++)
	{
		DsTfliteOptions options = {.weights = precisions[p].dtype, .tokens = tokens};
		DsPlan *plan = calloc(1, sizeof(DsPlan));
		char ending[32];
		FILE *file;
		DsBlobWriter writer;

		snprintf(ending, sizeof(ending), ".%s", precisions[p].name);
		file = create(name, ending, ".tflite");
		writer = (DsBlobWriter){file, put};
		ds_plan_init(plan, &arena);
		check(make(context, &options, source, plan), name);
		check(ds_plan_write(&plan->files[0], source, &writer, &arena, NULL, &status), name);
		if (ftell(file) != (long) plan->files[0].size || fclose(file) != 0)
		{
			fprintf(stderr, "%s: not the size that was planned\n", name);
			exit(1);
		}
		printf("%s %s %zu %zu %zu\n", name, precisions[p].name, words, texts, dims);
		free(plan);
		ds_arena_free(&arena);
	}
}

/* ---- encoders ---- */

/* The weights of a larger model, which take too long to make from names */
typedef struct Weights
{
	TestModel model;
	float **tensors;
} Weights;

static size_t
number_of(const DsEncoderSpec *spec, const char *name)
{
	DsSpecTensor tensor;

	for (size_t i = 0; ds_spec_tensor(spec, i, &tensor); i++)
		if (strcmp(tensor.name, name) == 0)
			return i;
	return SIZE_MAX;
}

static DsCode
read_weights(void *context, const char *name, uint64_t first, size_t count, float *out,
			 DsStatus *failed)
{
	Weights *weights = context;

	(void) failed;
	memcpy(out, weights->tensors[number_of(&weights->model.spec, name)] + first,
		   count * sizeof(float));
	return DS_OK;
}

static void
make_weights(Weights *weights)
{
	DsRandom random;
	DsSpecTensor tensor;
	size_t count = ds_spec_tensors(&weights->model.spec);

	weights->tensors = calloc(count, sizeof(float *));
	ds_random_init(&random, 1, 0);
	for (size_t i = 0; i < count; i++)
	{
		size_t n;
		bool norm;

		ds_spec_tensor(&weights->model.spec, i, &tensor);
		n = (size_t) tensor.shape[0] * tensor.shape[1];
		norm = strstr(tensor.name, "norm.weight") != NULL;
		weights->tensors[i] = malloc(n * sizeof(float));
		for (size_t k = 0; k < n; k++)
			weights->tensors[i][k] = (float) (ds_random_normal(&random) * 0.04 + norm);
	}
}

static DsCode
make_encoder(const void *context, const DsTfliteOptions *options, const DsTensorSource *source,
			 DsPlan *plan)
{
	return ds_tflite_encoder(context, options, source, "model.tflite", plan, NULL, &status);
}

/* Any tensor there is, in f32 */
static bool
describe(void *context, const char *name, DsDtype *dtype, uint32_t *rank, uint64_t shape[4])
{
	const DsTensorSource *source = context;
	uint64_t values;

	if (!source->find(source->context, name, &values))
		return false;
	*dtype = DS_DTYPE_F32;
	*rank = 1;
	shape[0] = values;
	return true;
}

/* As ONNX, or a SavedModel, whose files are in a folder */
static void
write_graph(const char *name, const struct DsGraphFormat *format, const DsEncoderSpec *spec,
			const DsTensorSource *source, size_t words, size_t texts, uint32_t tokens)
{
	bool onnx = format == &ds_onnx_format;
	DsTensorSource copy = *source;
	DsPlanStored stored = {&copy, describe};
	DsPlan *plan = calloc(1, sizeof(DsPlan));
	DsGraphTarget target = {.format = format,
							.stored = &stored,
							.source = source,
							.plan = plan,
							.name = onnx ? ".f32.onnx" : ".saved_model/saved_model.pb"};
	DsCode code;

	ds_plan_init(plan, &arena);
	code = ds_graph_encoder(&target, spec, DS_SPEC_NO_ID, &status);
	/* its angles depend on the length of the text */
	if (code == DS_UNSUPPORTED && spec->rotary_scaling > 0)
		return;
	check(code, name);
	if (!onnx)
	{
		create_folder(name, ".saved_model");
		create_folder(name, ".saved_model/variables");
	}
	for (size_t i = 0; i < plan->file_count; i++)
	{
		FILE *file = create(name, i > 0 ? ".saved_model/" : "", plan->files[i].name);
		DsBlobWriter writer = {file, put};

		check(ds_plan_write(&plan->files[i], source, &writer, &arena, NULL, &status), name);
		if (ftell(file) != (long) plan->files[i].size || fclose(file) != 0)
			exit(1);
	}
	printf("%s %s %zu %zu %zu %u\n", name, onnx ? "onnx" : "saved_model", words, texts,
		   ds_spec_dims(spec), tokens);
	free(plan);
	ds_arena_free(&arena);
}

/* Texts of several lengths up to tokens, and their results */
static void
write_texts(TestModel *model, const DsTensorSource *source, const char *name, uint32_t tokens,
			uint32_t *texts)
{
	DsBlobWriter writer = {model, model_write};
	const DsEncoderSpec *spec = &model->spec;
	bool types = spec->scores && spec->types > 0;
	FILE *in = create(name, "", ".in");
	FILE *out = create(name, "", ".out");
	float *result = calloc(ds_spec_dims(spec), sizeof(float));
	DsEncoder *encoder;
	uint64_t size;

	check(ds_encoder_size(spec, DS_PRECISION_F32, &size, &status), name);
	model->size = (size_t) size;
	model->blob = aligned_alloc(64, (model->size + 63) / 64 * 64);
	model->written = 0;
	check(ds_encoder_layout(spec, DS_PRECISION_F32, source, &writer, &arena, NULL, &status), name);
	check(ds_encoder_open(model->blob, size, &arena, &encoder, &status), name);
	*texts = 0;
	/* none at all, a few lengths, and all there is room for */
	for (size_t text = 0; text <= TEXTS + 1; text++)
	{
		uint32_t n = text == 0 ? 0 : text <= TEXTS ? encoder_lengths[text - 1] : tokens;
		uint32_t *words = calloc(3 * (size_t) tokens, sizeof(uint32_t));
		uint8_t *kinds = calloc(tokens, 1);
		uint32_t starts[2] = {0, n};
		DsEncoderBatch batch = {.texts = 1, .starts = starts, .ids = words};

		if (n <= tokens)
		{
			/* what stands behind the text must not matter: any ids, any types */
			for (uint32_t t = 0; t < tokens; t++)
			{
				words[t] =
					(uint32_t) ((model_uniform(name, text * 1000 + t) + 1) / 2 * spec->vocabulary);
				words[tokens + t] = t < n;
				words[2 * tokens + t] = spec->types > 1 && t >= (n + 1) / 2;
				kinds[t] = (uint8_t) words[2 * tokens + t];
			}
			if (text % 2 == 1 && spec->eot_id != DS_SPEC_NO_ID && n > 0)
				words[n / 2] = spec->eot_id;
			if (types)
				batch.types = kinds;
			check(ds_encoder_run(encoder, &batch, result, &arena, NULL, &status), name);
			fwrite(words, sizeof(uint32_t), (types ? 3 : 2) * (size_t) tokens, in);
			fwrite(result, sizeof(float), ds_spec_dims(spec), out);
			++*texts;
		}
		free(words);
		free(kinds);
	}
	free(model->blob);
	free(result);
	ds_arena_free(&arena);
	if (fclose(in) != 0 || fclose(out) != 0)
		exit(1);
}

static void
run_encoder(TestModel *model, const DsTensorSource *source, const char *name, uint32_t tokens)
{
	const DsEncoderSpec *spec = &model->spec;
	uint32_t texts;

	write_texts(model, source, name, tokens, &texts);
	for (int i = 0; i < 2; i++)
		write_graph(name, i == 0 ? &ds_onnx_format : &ds_tensorflow_format, spec, source,
					(spec->scores && spec->types > 0 ? 3 : 2) * (size_t) tokens, texts, tokens);
	write_files(name, tokens, source, make_encoder, spec,
				(spec->scores && spec->types > 0 ? 3 : 2) * (size_t) tokens, texts,
				ds_spec_dims(spec));
}

static void
run_families(void)
{
	for (size_t i = 0; i < LENGTH(encoder_families); i++)
	{
		TestModel model = {0};
		DsTensorSource source = {&model, model_find, model_read};
		const char *text = encoder_families[i].spec;
		char name[64];
		DsJson root;

		check(ds_json_parse(text, strlen(text), "spec", &root, &status), text);
		check(ds_spec_read(root, &model.spec, &status), text);
		if (model.spec.kind == DS_ENCODER_PATCHES)
			continue;
		snprintf(name, sizeof(name), "%s", model.spec.family);
		run_encoder(&model, &source, name,
					model.spec.rotary_scaling > 0 ? model.spec.rotary_trained : 70);
		if (i > 0)
			continue;
		/* the same, stored the other way; all poolings, some tokens left out; one token */
		model.transposed = "layer.";
		run_encoder(&model, &source, "bert-transposed", 16);
		model.spec.pooling = 127;
		model.spec.eot_id = 17;
		model.spec.pool_skip = 3;
		model.spec.module_count = 0;
		run_encoder(&model, &source, "bert-poolings", 33);
		run_encoder(&model, &source, "bert-one-token", 1);
	}
}

static void
run_large(void)
{
	Weights weights = {0};
	DsEncoderSpec *spec = &weights.model.spec;
	DsTensorSource source = {&weights, model_find, read_weights};

	ds_spec_init(spec, DS_ENCODER_TRANSFORMER);
	strcpy(spec->family, "bert");
	spec->vocabulary = 30522;
	spec->layers = 6;
	spec->hidden = 384;
	spec->heads = 12;
	spec->head_dims = 32;
	spec->intermediate = 1536;
	spec->positions = spec->max_tokens = 512;
	spec->types = 2;
	spec->activation = DS_ACT_GELU;
	spec->embedding_norm = spec->norm_bias = 1;
	spec->qkv_bias = spec->out_bias = spec->up_bias = spec->down_bias = 1;
	spec->norm_epsilon = 1e-12f;
	spec->pooling = DS_POOL_MEAN;
	spec->module_count = 1;
	spec->modules[0] = (DsSpecModule){.kind = DS_MODULE_NORMALIZE, .in = 384, .out = 384};
	make_weights(&weights);
	run_encoder(&weights.model, &source, "minilm", 128);
}

/* ---- dual encoders ---- */

typedef struct Tower
{
	const DsDualEncoderConfig *config;
	DsSide side;
} Tower;

static DsCode
make_tower(const void *context, const DsTfliteOptions *options, const DsTensorSource *source,
		   DsPlan *plan)
{
	const Tower *tower = context;

	return ds_tflite_tower(tower->config, tower->side, options, source, "model.tflite", plan, NULL,
						   &status);
}

static bool
find_parameter(void *context, const char *name, uint64_t *values)
{
	DsParameter *parameter = ds_dual_encoder_parameter(context, name);

	if (parameter == NULL)
		return false;
	*values = parameter->count;
	return true;
}

static DsCode
read_parameter(void *context, const char *name, uint64_t first, size_t count, float *out,
			   DsStatus *failed)
{
	DsParameter *parameter = ds_dual_encoder_parameter(context, name);

	(void) failed;
	for (size_t i = 0; i < count; i++)
		out[i] = (float) parameter->value[first + i];
	return DS_OK;
}

static void
run_tower(const DsDualEncoderConfig *config, DsSide side, const char *name)
{
	enum
	{
		TOKENS = 48
	};
	Tower tower = {config, side};
	DsDualEncoder encoder;
	DsTensorSource source = {&encoder, find_parameter, read_parameter};
	DsArena memory;
	const DsTowerConfig *its;
	FILE *in = create(name, "", ".in");
	FILE *out = create(name, "", ".out");
	float *scratch;
	float *result;
	float *features;
	size_t texts = 0;

	ds_arena_init(&memory, NULL);
	check(ds_dual_encoder_plan(config, &encoder, &status), name);
	check(ds_dual_encoder_allocate(&encoder, &memory, &status), name);
	ds_dual_encoder_init(&encoder, 5, 0.05);
	/* biases are not zero behind training */
	for (size_t i = 0; i < encoder.parameter_count; i++)
		if (model_ends(encoder.parameter[i].name, "bias"))
			for (size_t k = 0; k < encoder.parameter[i].count; k++)
				encoder.parameter[i].value[k] =
					(float) model_uniform(encoder.parameter[i].name, k) / 8;
	its = &encoder.config.tower[side];
	scratch = calloc(ds_dual_encoder_scratch(&encoder), sizeof(float));
	result = calloc(encoder.dims, sizeof(float));
	features = calloc(its->embedding_dims, sizeof(float));
	for (uint32_t n = 0; n <= TOKENS; n += n < 3 ? 1 : 15)
	{
		uint32_t words[2 * TOKENS];
		size_t offsets[2] = {0, n};

		texts++;
		for (uint32_t i = 0; i < its->embedding_dims; i++)
			features[i] = (float) model_uniform(name, n * 1000 + i);
		for (uint32_t t = 0; t < TOKENS; t++)
		{
			words[t] = (uint32_t) ((model_uniform(name, n * 1000 + t) + 1) / 2 * its->vocabulary);
			words[TOKENS + t] = t < n;
		}
		if (its->features)
		{
			check(ds_dual_encoder_infer_features(&encoder, side, features, 1, scratch, result, NULL,
												 &status),
				  name);
			fwrite(features, sizeof(float), its->embedding_dims, in);
		}
		else
		{
			check(ds_dual_encoder_infer(&encoder, side, words, offsets, 1, scratch, result, NULL,
										&status),
				  name);
			fwrite(words, sizeof(uint32_t), LENGTH(words), in);
		}
		fwrite(result, sizeof(float), encoder.dims, out);
	}
	if (fclose(in) != 0 || fclose(out) != 0)
		exit(1);
	write_files(name, its->features ? 0 : TOKENS, &source, make_tower, &tower,
				its->features ? its->embedding_dims : 2 * TOKENS, texts, encoder.dims);
	free(scratch);
	free(result);
	free(features);
	ds_arena_free(&memory);
}

static void
run_towers(void)
{
	DsDualEncoderConfig config = {.score = DS_SCORE_COSINE};

	config.tower[0] = (DsTowerConfig){.vocabulary = 500,
									  .embedding_dims = 64,
									  .pooling = DS_POOLING_SQRTN,
									  .dense_count = 2,
									  .dense = {96, 32}};
	config.tower[1] = (DsTowerConfig){
		.features = true, .embedding_dims = 20, .dense_count = 1, .dense = {32}, .last_relu = true};
	run_tower(&config, DS_SIDE_QUERY, "tower-sqrtn");
	run_tower(&config, DS_SIDE_DOCUMENT, "tower-features");
	config.tower[1] =
		(DsTowerConfig){.vocabulary = 300, .embedding_dims = 32, .pooling = DS_POOLING_SUM};
	config.score = DS_SCORE_DOT;
	run_tower(&config, DS_SIDE_DOCUMENT, "tower-sum");
	config.shared = true;
	config.tower[0].pooling = DS_POOLING_MEAN;
	run_tower(&config, DS_SIDE_DOCUMENT, "tower-shared");
}

int
main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	directory = argv[1];
	ds_arena_init(&arena, NULL);
	run_families();
	run_towers();
	run_large();
	return 0;
}
