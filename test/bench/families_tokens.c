/*
 * families_tokens.c
 *		What every token of some texts becomes, for test/bench/families.
 *
 *	 families_tokens FOLDER IDS OUT
 *
 * FOLDER is a model's, as it would be imported.  IDS has a line a text:
 * id:type of each token.  OUT gets three numbers (levels of processor, components
 * of an embedding, of a token's vector; uint32) and then, for each level and text,
 * the embedding or score, and the vector behind the last layer of each token that is
 * the first one with its id, all float32.
 *
 *	 families_tokens FOLDER IDS PRECISION ROUNDS
 *
 * prints the milliseconds of ds_encoder_run() for each text alone instead, a line
 * a run, as test/bench/encode wants them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../unit/disk_folder.h"
#include "nn/encoder_private.h"

#define TEXTS_MAX 1000
#define TOKENS_MAX 100000

static const char *base;
static char *blob;
static size_t written;

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
must(DsCode code, const DsStatus *status)
{
	if (code == DS_OK)
		return;
	fprintf(stderr, "%s: %s\n", base, status->message);
	exit(1);
}

static size_t
read_texts(const char *path, uint32_t *starts, uint32_t *ids, uint8_t *types)
{
	FILE *file = fopen(path, "r");
	size_t texts = 0;
	uint32_t at = 0;
	int c;

	if (file == NULL)
	{
		perror(path);
		exit(1);
	}
	starts[0] = 0;
	while ((c = getc(file)) != EOF)
	{
		unsigned id;
		unsigned type;

		if (c == '\n')
			starts[++texts] = at;
		else if (c != ' ')
		{
			ungetc(c, file);
			if (fscanf(file, "%u:%u", &id, &type) != 2 || at == TOKENS_MAX || texts == TEXTS_MAX)
				exit(1);
			ids[at] = id;
			types[at++] = (uint8_t) type;
		}
	}
	fclose(file);
	return texts;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec * 1e3 + (double) t.tv_nsec * 1e-6;
}

/* Each text by itself, again and again */
static void
measure(const DsEncoder *encoder, const DsEncoderBatch *batch, float *out, DsArena *arena,
		int rounds)
{
	DsStatus status;

	for (int round = 0; round < rounds; round++)
		for (size_t text = 0; text < batch->texts; text++)
		{
			DsEncoderBatch one = {.texts = 1,
								  .starts = batch->starts + text,
								  .ids = batch->ids,
								  .types = batch->types};
			double begun = now();

			must(ds_encoder_run(encoder, &one, out, arena, NULL, &status), &status);
			printf("%.4f\n", now() - begun);
		}
}

int
main(int argc, char **argv)
{
	static uint32_t starts[TEXTS_MAX + 1];
	static uint32_t ids[TOKENS_MAX];
	static uint8_t types[TOKENS_MAX];
	DsFolder folder;
	DsEncoderSource source;
	DiskTensors found;
	DsTensorSource tensors = disk_source(&found);
	DsBlobWriter writer = {NULL, write_blob};
	DsEncoder *encoder;
	DsEncoderBatch batch = {.starts = starts, .ids = ids, .types = types};
	DsEncoderSpec spec;
	DsStatus status = {0};
	DsArena arena;
	DsArena scratch;
	uint64_t size;
	uint32_t numbers[3] = {0};
	DsPrecision precision = DS_PRECISION_F32;
	size_t dims;
	float *out;
	FILE *file;

	if (argc != 4 && argc != 5)
		return 2;
	if (argc == 5)
		for (uint32_t p = 1; ds_precision_name(p) != NULL; p++)
			if (strcmp(argv[3], ds_precision_name(p)) == 0)
				precision = (DsPrecision) p;
	base = argv[1];
	folder = disk_folder(argv[1]);
	ds_arena_init(&arena, NULL);
	ds_arena_init(&scratch, NULL);
	must(ds_encoder_source_open(&folder, &arena, &scratch, &source, &status), &status);
	found = (DiskTensors){source.tensors, source.tensor_count};
	must(ds_encoder_size(&source.spec, precision, &size, &status), &status);
	blob = aligned_alloc(64, ((size_t) size + 63) / 64 * 64);
	must(ds_encoder_layout(&source.spec, precision, &tensors, &writer, &scratch, NULL, &status),
		 &status);
	must(ds_encoder_open(blob, size, &arena, &encoder, &status), &status);
	spec = encoder->spec;
	dims = ds_spec_dims(&spec);
	batch.texts = read_texts(argv[2], starts, ids, types);
	out = calloc(batch.texts * dims + spec.hidden, sizeof(float));
	if (argc == 5)
	{
		measure(encoder, &batch, out, &arena, atoi(argv[4]));
		return 0;
	}
	file = fopen(argv[3], "wb");
	if (file == NULL || out == NULL)
		return 1;
	while (ds_encoder_kernels_number(numbers[0]) != NULL)
		numbers[0]++;
	numbers[1] = (uint32_t) dims;
	numbers[2] = spec.hidden;
	fwrite(numbers, sizeof(numbers), 1, file);
	for (size_t k = 0; k < numbers[0]; k++)
	{
		encoder->kernels = ds_encoder_kernels_number(k);
		must(ds_encoder_run(encoder, &batch, out, &arena, NULL, &status), &status);
		for (size_t text = 0; text < batch.texts; text++)
		{
			float *row = out + batch.texts * dims;

			fwrite(out + text * dims, sizeof(float), dims, file);
			if (spec.kind == DS_ENCODER_STATIC)
				continue;
			/* a token alone is found by its id: so only the first one of an id */
			encoder->spec.module_count = encoder->modules.count = 0;
			encoder->spec.pooling = DS_POOL_EOT;
			for (uint32_t t = starts[text]; t < starts[text + 1]; t++)
			{
				DsEncoderBatch one = {
					.texts = 1, .starts = starts + text, .ids = ids, .types = types};
				uint32_t first = starts[text];

				while (ids[first] != ids[t])
					first++;
				if (first < t)
					continue;
				encoder->spec.eot_id = ids[t];
				must(ds_encoder_run(encoder, &one, row, &arena, NULL, &status), &status);
				fwrite(row, sizeof(float), spec.hidden, file);
			}
			encoder->spec = spec;
			encoder->modules.count = spec.module_count;
		}
	}
	return fclose(file) == 0 ? 0 : 1;
}
