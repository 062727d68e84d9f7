/*
 * fuzz_subword.c
 *		The tokenizers of trained models: JSON, tokenizer.json, vocab.txt, damaged
 *		blobs, any texts.
 *
 * The first byte says what the rest is (modulo 6):
 *		0: a JSON text, walked through
 *		1: a tokenizer.json, a zero byte, a text to encode
 *		2: a vocab.txt, a zero byte, a text
 *		3: number of a sample, number of changes (place: two bytes, new byte),
 *		   which are made to its JSON; then a text
 *		4: the same with changes to its blob
 *		5: number of a sample, then a pair of texts with a zero byte between
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/subword_samples.h"
#include "base/json.h"
#include "text/regex.h"
#include "text/subword.h"

static const char sample_text[] =
	"The running, 夏季 ab  abc ½ ﬁ don't <mask> e\xcc\x81 12 \xff[MASK]\n";

static void
walk(DsJson value)
{
	char buffer[64];
	double number;
	int64_t integer;
	bool flag;

	switch (ds_json_kind(value))
	{
		case DS_JSON_STRING:
		{
			size_t size = ds_json_string_size(value);
			char *copy = malloc(size + !size);

			if (ds_json_string_copy(value, copy) > size)
				abort();
			free(copy);
			ds_json_string_is(value, "model");
			break;
		}
		case DS_JSON_NUMBER:
			if (!ds_json_double(value, &number))
				abort();
			ds_json_integer(value, &integer);
			break;
		case DS_JSON_BOOL:
			if (!ds_json_bool(value, &flag))
				abort();
			break;
		default:
			break;
	}
	for (DsJsonItem item = ds_json_items(value); ds_json_next(&item);)
	{
		if (item.key.at != NULL && ds_json_string_size(item.key) < sizeof(buffer))
			ds_json_string_copy(item.key, buffer);
		walk(item.value);
	}
}

/* open the blob and encode; all ids and places must be in range */
static void
use(const void *blob, size_t size, const char *text, size_t length, const char *second,
	size_t second_length)
{
	DsSubword tokenizer;
	DsSubwordScratch *scratch;
	DsArena arena;
	DsStatus status;
	DsSubwordTokens tokens;
	DsSubwordOptions options = {.special = length % 2 == 0, .max_length = UINT32_MAX};
	size_t n;

	if (ds_subword_open(&tokenizer, blob, size, &status) != DS_OK)
		return;
	ds_arena_init(&arena, NULL);
	if (ds_subword_scratch(&arena, &scratch, &status) != DS_OK)
		abort();
	for (int round = 0; round < 2; round++)
	{
		if (ds_subword_encode(&tokenizer, scratch, text, length, second, second_length, &options,
							  &tokens, &status) == DS_OK)
		{
			size_t most = length > second_length ? length : second_length;

			for (size_t i = 0; i < tokens.count; i++)
				if (tokens.ids[i] >= tokenizer.vocabulary || tokens.begins[i] > tokens.ends[i] ||
					tokens.ends[i] > most || tokens.types[i] > 1)
					abort();
			if (options.max_length == 5 && tokens.count > 5 && options.special == false)
				abort();
		}
		options.max_length = 5;
		options.special = false;
	}
	ds_subword_token(&tokenizer, 3, &n);
	ds_subword_find(&tokenizer, text, length);
	ds_arena_free(&arena);
}

static void
compile_and_use(const char *json, size_t json_length, bool vocab, const char *text, size_t length,
				const char *second, size_t second_length)
{
	DsArena arena;
	DsStatus status;
	DsVocabOptions options = {.lowercase = true, .strip_accents = -1, .chinese = true};
	void *blob;
	size_t size;
	DsCode code;

	ds_arena_init(&arena, NULL);
	code = vocab ? ds_subword_compile_vocab(json, json_length, "fuzz", &options, &arena, &arena,
											NULL, &blob, &size, &status)
				 : ds_subword_compile(json, json_length, "fuzz", &arena, &arena, NULL, &blob, &size,
									  &status);
	if (code == DS_OK)
		use(blob, size, text, length, second, second_length);
	ds_arena_free(&arena);
}

/* the sample whose number data[0] is, compiled once */
static const void *
sample_blob(size_t which, size_t *size)
{
	static void *blobs[SUBWORD_SAMPLES];
	static size_t sizes[SUBWORD_SAMPLES];
	static DsArena arena;

	if (blobs[which] == NULL)
	{
		DsStatus status;

		if (arena.allocator.allocate == NULL)
			ds_arena_init(&arena, NULL);
		if (ds_subword_compile(subword_samples[which].json, strlen(subword_samples[which].json),
							   "sample", &arena, &arena, NULL, &blobs[which], &sizes[which],
							   &status) != DS_OK)
			abort();
	}
	*size = sizes[which];
	return blobs[which];
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int mode;
	char *copy;
	size_t n;
	size_t which;
	const char *zero;

	if (size < 3)
		return 0;
	mode = data[0] % 6;
	data++;
	size--;
	if (mode <= 2)
	{
		/* a copy of exactly this size, so that a byte too far is seen */
		zero = mode == 0 ? NULL : memchr(data, 0, size);
		n = zero != NULL ? (size_t) (zero - (const char *) data) : size;
		copy = malloc(n + !n);
		memcpy(copy, data, n);
		if (mode == 0)
		{
			DsJson root;
			DsStatus status;

			if (ds_json_parse(copy, n, "fuzz", &root, &status) == DS_OK)
				walk(root);
		}
		else if (zero != NULL)
			compile_and_use(copy, n, mode == 2, zero + 1, size - n - 1, NULL, 0);
		else
			compile_and_use(copy, n, mode == 2, sample_text, sizeof(sample_text) - 1, NULL, 0);
		free(copy);
		return 0;
	}
	which = data[0] % SUBWORD_SAMPLES;
	data++;
	size--;
	if (mode == 5)
	{
		const void *blob = sample_blob(which, &n);

		zero = memchr(data, 0, size);
		if (zero == NULL)
			use(blob, n, (const char *) data, size, NULL, 0);
		else
			use(blob, n, (const char *) data, (size_t) (zero - (const char *) data), zero + 1,
				size - (size_t) (zero + 1 - (const char *) data));
		return 0;
	}
	{
		const void *original =
			mode == 3 ? (const void *) subword_samples[which].json : sample_blob(which, &n);
		size_t changes = data[0] % 16;

		if (mode == 3)
			n = strlen(subword_samples[which].json);
		copy = malloc(n);
		memcpy(copy, original, n);
		data++;
		size--;
		for (; changes > 0 && size >= 3; changes--, data += 3, size -= 3)
		{
			size_t place = (size_t) data[0] << 8 | data[1];

			/* most of a blob is its tables; its head deserves as many changes */
			copy[(mode == 4 && place % 2 == 0 ? place / 2 % 1024 : place) % n] = (char) data[2];
		}
		if (mode == 3)
			compile_and_use(copy, n, false, (const char *) data, size, sample_text,
							sizeof(sample_text) - 1);
		else
			use(copy, n, (const char *) data, size, NULL, 0);
		free(copy);
	}
	return 0;
}
