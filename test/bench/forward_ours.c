/*
 * forward_ours.c
 *		Tokens a second of the forward pass, for test/bench/forward.
 *
 *	 forward_ours DIR LAYERS HIDDEN HEADS SECONDS
 *
 * Makes a BERT with random weights, writes its tensors (f32, in the order of
 * ds_spec_tensor()) to DIR/weights, token ids to DIR/ids and the embedding of
 * the first 16 of them to DIR/out, and prints a line for each precision and shape:
 * precision, texts, tokens each, tokens a second of processor time (others may
 * use the machine), least cosine to f32, runs.  PRECISIONS in the environment
 * chooses some; f32 is computed in any case, for the cosine.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/random.h"
#include "nn/encoder.h"

static DsEncoderSpec spec;
static float **tensors;
static char *blob;
static size_t written;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static size_t
number_of(const char *name)
{
	DsSpecTensor tensor;

	for (size_t i = 0; ds_spec_tensor(&spec, i, &tensor); i++)
		if (strcmp(tensor.name, name) == 0)
			return i;
	return SIZE_MAX;
}

static bool
find(void *context, const char *name, uint64_t *values)
{
	DsSpecTensor tensor;
	size_t i = number_of(name);

	(void) context;
	if (i == SIZE_MAX)
		return false;
	ds_spec_tensor(&spec, i, &tensor);
	*values = (uint64_t) tensor.shape[0] * tensor.shape[1];
	return true;
}

static DsCode
read_tensor(void *context, const char *name, uint64_t first, size_t count, float *out,
			DsStatus *status)
{
	(void) context;
	(void) status;
	memcpy(out, tensors[number_of(name)] + first, count * sizeof(float));
	return DS_OK;
}

static DsCode
write_blob(void *context, const void *bytes, size_t size, DsStatus *status)
{
	(void) context;
	(void) status;
	memcpy(blob + written, bytes, size);
	written += size;
	return DS_OK;
}

static void
save(const char *directory, const char *name, const void *bytes, size_t size, const char *mode)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, mode);
	if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
	{
		perror(path);
		exit(1);
	}
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return (x > y) - (x < y);
}

static void
make_model(const char *directory)
{
	DsRandom random;
	DsSpecTensor tensor;
	size_t count = ds_spec_tensors(&spec);

	tensors = calloc(count, sizeof(float *));
	ds_random_init(&random, 1, 0);
	for (size_t i = 0; i < count; i++)
	{
		size_t n;
		bool norm;

		ds_spec_tensor(&spec, i, &tensor);
		n = (size_t) tensor.shape[0] * tensor.shape[1];
		norm = strstr(tensor.name, "norm.weight") != NULL;
		tensors[i] = malloc(n * sizeof(float));
		/* the spread that BERT is initialised with, times two: trained weights are larger */
		for (size_t k = 0; k < n; k++)
			tensors[i][k] = (float) (ds_random_normal(&random) * 0.04 + norm);
		save(directory, "weights", tensors[i], n * sizeof(float), i == 0 ? "w" : "a");
	}
}

int
main(int argc, char **argv)
{
	static const size_t shapes[][2] = {{1, 16}, {1, 128}, {32, 32}, {32, 128}};
	static uint32_t ids[4096];
	static uint32_t starts[33];
	DsRandom random;
	DsStatus status = {0};
	double seconds;
	float *exact;
	float *out;

	if (argc != 6)
		return 2;
	seconds = atof(argv[5]);
	ds_spec_init(&spec, DS_ENCODER_TRANSFORMER);
	strcpy(spec.family, "bert");
	spec.vocabulary = 30522;
	spec.layers = (uint32_t) atoi(argv[2]);
	spec.hidden = (uint32_t) atoi(argv[3]);
	spec.heads = (uint32_t) atoi(argv[4]);
	spec.head_dims = spec.hidden / spec.heads;
	spec.intermediate = 4 * spec.hidden;
	spec.positions = spec.max_tokens = 512;
	spec.types = 2;
	spec.activation = DS_ACT_GELU;
	spec.embedding_norm = spec.norm_bias = 1;
	spec.qkv_bias = spec.out_bias = spec.up_bias = spec.down_bias = 1;
	spec.norm_epsilon = 1e-12f;
	spec.pooling = DS_POOL_MEAN;
	make_model(argv[1]);
	ds_random_init(&random, 2, 0);
	for (size_t i = 0; i < 4096; i++)
		ids[i] = (uint32_t) ds_random_below(&random, spec.vocabulary);
	save(argv[1], "ids", ids, sizeof(ids), "w");
	exact = calloc(4 * 32 * (size_t) spec.hidden, sizeof(float));
	out = calloc(32 * (size_t) spec.hidden, sizeof(float));

	for (uint32_t precision = DS_PRECISION_F32; precision <= DS_PRECISION_INT8; precision++)
	{
		DsTensorSource source = {NULL, find, read_tensor};
		DsBlobWriter writer = {NULL, write_blob};
		DsEncoder *encoder;
		DsArena arena;
		uint64_t size;
		bool timed = getenv("PRECISIONS") == NULL ||
					 strstr(getenv("PRECISIONS"), ds_precision_name(precision)) != NULL;

		if (!timed && precision != DS_PRECISION_F32)
			continue;
		ds_arena_init(&arena, NULL);
		written = 0;
		if (ds_encoder_size(&spec, precision, &size, &status) != DS_OK ||
			(blob = aligned_alloc(64, ((size_t) size + 63) / 64 * 64)) == NULL ||
			ds_encoder_layout(&spec, precision, &source, &writer, &arena, NULL, &status) != DS_OK ||
			ds_encoder_open(blob, size, &arena, &encoder, &status) != DS_OK)
		{
			fprintf(stderr, "%s\n", status.message);
			return 1;
		}
		for (size_t s = 0; s < 4; s++)
		{
			size_t texts = shapes[s][0];
			size_t tokens = shapes[s][1];
			DsEncoderBatch batch = {.texts = texts, .starts = starts, .ids = ids};
			static double times[10000];
			size_t runs = 0;
			double least = 1;
			double begun = now();

			for (size_t i = 0; i <= texts; i++)
				starts[i] = (uint32_t) (i * tokens);
			while (runs < (timed ? 10 : 1) || (timed && now() - begun < seconds && runs < 10000))
			{
				double t = now();

				if (ds_encoder_run(encoder, &batch, out, &arena, NULL, &status) != DS_OK)
					return 1;
				times[runs++] = now() - t;
				if (runs >= 3 && now() - begun > 10 * seconds)
					break;
			}
			qsort(times, runs, sizeof(double), compare);
			if (precision == DS_PRECISION_F32)
			{
				memcpy(exact + s * 32 * spec.hidden, out, texts * spec.hidden * sizeof(float));
				if (s == 0)
					save(argv[1], "out", out, spec.hidden * sizeof(float), "w");
			}
			for (size_t text = 0; text < texts; text++)
			{
				const float *a = exact + (s * 32 + text) * spec.hidden;
				const float *b = out + text * spec.hidden;
				double ab = 0;
				double aa = 0;
				double bb = 0;

				for (size_t i = 0; i < spec.hidden; i++)
				{
					ab += (double) a[i] * (double) b[i];
					aa += (double) a[i] * (double) a[i];
					bb += (double) b[i] * (double) b[i];
				}
				least = fmin(least, ab / sqrt(aa * bb));
			}
			if (timed)
				printf("%s %zu %zu %.0f %.5f %zu\n", ds_precision_name(precision), texts, tokens,
					   (double) (texts * tokens) / times[runs / 2], least, runs);
			fflush(stdout);
		}
		ds_arena_free(&arena);
		free(blob);
	}
	return 0;
}
