/*
 * fuzz_tokenizer.c
 *		The tokenizer on any texts, and on damaged blobs.
 *
 * The first byte says what the rest is:
 *   0   a blob
 *   1   changes to a valid blob: three bytes each, place (2) and value (1)
 *   250 a packed blob
 *   2.. a configuration (7 bytes), then texts with zero bytes between, which
 *       are learned and encoded
 *
 * An opened tokenizer must give ids below its vocabulary and places within the
 * clean text, whatever it was opened from.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char sample[] = "夏季连衣裙 Red T恤 summer dress 👗 e\xcc\x81 ｶﾞ \xff <b>&amp;";

/* what packs comes back to the byte */
static void
pack(const void *blob, size_t size)
{
	DsArena arena;
	DsStatus status;
	void *packed;
	void *again;
	size_t packed_size;
	size_t again_size;

	ds_arena_init(&arena, NULL);
	if (ds_tokenizer_pack(blob, size, &arena, &packed, &packed_size, &status) == DS_OK &&
		(!ds_tokenizer_is_packed(packed, packed_size) ||
		 ds_tokenizer_unpack(packed, packed_size, &arena, &again, &again_size, &status) != DS_OK ||
		 again_size != size || memcmp(again, blob, size) != 0))
		abort();
	ds_arena_free(&arena);
}

static void
use(const void *blob, size_t size, const char *text, size_t length)
{
	DsArena arena;
	DsTokenizer tokenizer;
	DsTokenScratch scratch;
	DsStatus status;

	if (ds_tokenizer_open(&tokenizer, blob, size, &status) != DS_OK)
	{
		if (strlen(status.message) == 0)
			abort();
		return;
	}
	ds_arena_init(&arena, NULL);
	if (ds_tokenizer_scratch(&tokenizer, &arena, &scratch, &status) == DS_OK)
	{
		size_t n = ds_tokenizer_encode(&tokenizer, &scratch, text, length);

		if (n > tokenizer.config.max_tokens)
			abort();
		for (size_t i = 0; i < n; i++)
			if (scratch.ids[i] >= tokenizer.vocabulary || scratch.begins[i] >= scratch.ends[i] ||
				scratch.ends[i] > scratch.clean_length)
				abort();
	}
	for (uint32_t id = 0; id < tokenizer.learned; id++)
		if (ds_tokenizer_count(&tokenizer, id) < tokenizer.config.min_count)
			abort();
	ds_arena_free(&arena);
	pack(blob, size);
}

/* learn from texts with zero bytes between; NULL when the configuration is refused */
static void *
learn(const DsTokenizerConfig *config, const char *texts, size_t length, DsArena *arena,
	  size_t *size)
{
	DsTokenizerLearner *learner;
	DsStatus status;
	void *blob;

	if (ds_tokenizer_learn_begin(config, arena, &learner, &status) != DS_OK)
		return NULL;
	for (size_t at = 0; at <= length;)
	{
		const char *zero = at < length ? memchr(texts + at, 0, length - at) : NULL;
		size_t n = zero != NULL ? (size_t) (zero - texts) - at : length - at;

		if (ds_tokenizer_learn_add(learner, texts + at, n, &status) != DS_OK)
			abort();
		at += n + 1;
	}
	if (ds_tokenizer_learn_finish(learner, arena, &blob, size, &status) != DS_OK)
		abort();
	return blob;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DsTokenizerConfig config = ds_tokenizer_defaults;
	DsArena arena;
	uint8_t *copy;
	void *blob;
	size_t blob_size;

	if (size < 1)
		return 0;
	if (data[0] == 0)
	{
		copy = malloc(size);
		memcpy(copy, data + 1, size - 1);
		use(copy, size - 1, sample, sizeof(sample) - 1);
		free(copy);
		return 0;
	}
	ds_arena_init(&arena, NULL);
	if (data[0] == 250)
	{
		DsStatus status;

		if (ds_tokenizer_unpack(data + 1, size - 1, &arena, &blob, &blob_size, &status) == DS_OK)
			use(blob, blob_size, sample, sizeof(sample) - 1);
	}
	else if (data[0] == 1)
	{
		config.min_count = 1;
		config.buckets = 3;
		blob = learn(&config, sample, sizeof(sample) - 1, &arena, &blob_size);
		copy = malloc(blob_size);
		memcpy(copy, blob, blob_size);
		for (size_t at = 1; at + 3 <= size; at += 3)
			copy[((size_t) data[at] << 8 | data[at + 1]) % blob_size] = data[at + 2];
		use(copy, blob_size, sample, sizeof(sample) - 1);
		free(copy);
	}
	else if (size >= 8)
	{
		config.clean.fold_width = data[1] & 1;
		config.clean.fold_case = data[1] & 2;
		config.clean.strip_controls = data[1] & 4;
		config.clean.collapse_space = data[1] & 8;
		config.clean.strip_html = data[1] & 16;
		config.words = data[1] & 32;
		config.min_count = data[2] & 3;
		config.buckets = data[3];
		config.vocabulary = (uint32_t) data[3] + (uint32_t) data[4] * 4;
		config.word_min = data[5] & 15;
		config.word_max = data[5] >> 4;
		config.cjk_min = data[6] & 15;
		config.cjk_max = data[6] >> 4;
		config.max_tokens = (uint32_t) data[7] * 2;
		blob = learn(&config, (const char *) data + 8, size - 8, &arena, &blob_size);
		if (blob != NULL)
		{
			DsTokenizer tokenizer;
			DsStatus status;

			/* what was written opens */
			if (ds_tokenizer_open(&tokenizer, blob, blob_size, &status) != DS_OK)
				abort();
			use(blob, blob_size, (const char *) data + 8, size - 8);
		}
	}
	ds_arena_free(&arena);
	return 0;
}
