/*
 * subword.c
 *		Tokenizers of trained models: encode a file of texts, and measure it.
 *
 *     subword TOKENIZER.json TEXTS [IDS]
 *
 * TEXTS is a list of records, u32 length (little-endian) and bytes.  IDS gets
 * for each text u32 number and the ids.  Prints what compiling, opening and
 * encoding took (processor time, the best of five).  Without arguments, says
 * how to use it; test/bench/tokenizers does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text/blob.h"
#include "text/subword.h"

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double) now.tv_sec + (double) now.tv_nsec * 1e-9;
}

static char *
slurp(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	char *bytes = NULL;
	size_t capacity = 0;

	if (file == NULL)
	{
		perror(path);
		exit(1);
	}
	*size = 0;
	do
	{
		capacity = capacity == 0 ? 1 << 20 : 2 * capacity;
		bytes = realloc(bytes, capacity);
		if (bytes == NULL)
			abort();
		*size += fread(bytes + *size, 1, capacity - *size, file);
	} while (*size == capacity);
	fclose(file);
	return bytes;
}

int
main(int argc, char **argv)
{
	DsArena blob_arena;
	DsArena arena;
	DsStatus status;
	DsSubword tokenizer;
	DsSubwordScratch *scratch;
	DsSubwordOptions options = {.special = true, .max_length = UINT32_MAX};
	char *json;
	char *texts;
	void *blob;
	size_t json_size;
	size_t texts_size;
	size_t blob_size;
	double compile;
	double open;
	double best = 1e9;
	size_t count = 0;
	size_t bytes = 0;
	size_t tokens = 0;
	FILE *out = NULL;

	if (argc < 3)
	{
		printf("usage: subword TOKENIZER.json TEXTS [IDS] (see test/bench/tokenizers)\n");
		return 0;
	}
	json = slurp(argv[1], &json_size);
	texts = slurp(argv[2], &texts_size);
	ds_arena_init(&blob_arena, NULL);
	ds_arena_init(&arena, NULL);
	compile = seconds();
	if (ds_subword_compile(json, json_size, argv[1], &blob_arena, &arena, NULL, &blob, &blob_size,
						   &status) != DS_OK)
	{
		fprintf(stderr, "%s\n", status.message);
		return 1;
	}
	compile = seconds() - compile;
	printf("compiled %.1f MB in %.0f ms (%.0f MB of scratch), blob %.1f MB",
		   (double) json_size / 1e6, compile * 1e3, (double) arena.allocated / 1e6,
		   (double) blob_size / 1e6);
	ds_arena_free(&arena);
	open = seconds();
	if (ds_subword_open(&tokenizer, blob, blob_size, &status) != DS_OK)
		abort();
	printf(", opened in %.1f ms\n", (seconds() - open) * 1e3);
	ds_arena_init(&arena, NULL);
	if (ds_subword_scratch(&arena, &scratch, &status) != DS_OK)
		abort();
	if (argc > 3)
		out = fopen(argv[3], "wb");
	for (int round = 0; round < 6; round++)
	{
		double started = seconds();

		count = bytes = tokens = 0;
		for (size_t at = 0; at + 4 <= texts_size; count++)
		{
			size_t length = ds_read_u32((unsigned char *) texts + at);
			DsSubwordTokens result;

			if (ds_subword_encode(&tokenizer, scratch, texts + at + 4, length, NULL, 0, &options,
								  &result, &status) != DS_OK)
			{
				fprintf(stderr, "text %zu: %s\n", count, status.message);
				return 1;
			}
			at += 4 + length;
			bytes += length;
			tokens += result.count;
			if (out != NULL)
			{
				uint32_t n = (uint32_t) result.count;

				fwrite(&n, 4, 1, out);
				fwrite(result.ids, 4, n, out);
			}
		}
		if (out != NULL)
			fclose(out);
		else if (seconds() - started < best)
			best = seconds() - started;
		out = NULL;
	}
	printf("%zu texts, %.1f MB, %zu tokens: %.1f MB/s, %.2f million tokens/s\n", count,
		   (double) bytes / 1e6, tokens, (double) bytes / 1e6 / best, (double) tokens / 1e6 / best);
	ds_arena_free(&arena);
	ds_arena_free(&blob_arena);
	return 0;
}
