/*
 * ngram.c
 *		The n-gram features of a text.
 *
 * A search encoder for a shop must know words that no general vocabulary has
 * (brands, model numbers, 印度长衫), in scripts with and without spaces, from a
 * few thousand rows of training text.  Overlapping n-grams of characters do
 * that without a dictionary or a segmenter: related words share features, a
 * misspelt word keeps most of its own, and what matters is learned by the
 * embedding table.
 *
 * Stages:
 *
 *   1. clean the text (clean.c)
 *   2. cut it into runs by character class (unicode.c): words of alphabetic
 *      scripts and numbers; stretches of scripts that write no spaces; each
 *      emoji by itself.  Combining marks go with the character before them,
 *      joiners and variation selectors vanish, all else separates.
 *   3. in a run of characters without spaces: all n-grams of orders cjk_min to
 *      cjk_max
 *   4. in a word: the word; and of the word between two boundary marks the
 *      n-grams of orders word_min to word_max (but not the one that is the
 *      whole word again)
 *   5. a feature's name is a 64-bit hash of its kind and characters
 *
 * With orders 3 to 4 and 1 to 2, "Red T恤" gives
 *
 *     red  <re  <red  red  red>  ed>      the word, then by place and order
 *     t                                   <t> would be the word again
 *     恤
 *
 * What the names become is the vocabulary's matter (tokenizer.c).
 *
 * Limits.  Two features with the same hash are one feature: of 10 million,
 * 3 in a million have such a twin.  Runs of different classes share no n-gram.
 */
#include "text/ngram.h"

#include "base/random.h"
#include "text/unicode.h"
#include "text/utf8.h"

/* the bytes of clean text that are looked at, for each feature that is kept */
#define CLEAN_BYTES_PER_TOKEN 16

/* beyond all characters */
#define MARK_BEGIN UINT32_C(0x110000)
#define MARK_END UINT32_C(0x110001)

/* the kinds of features: where their hashes begin */
#define KIND_WORD UINT64_C(0x8A5CD789635D2DFF)
#define KIND_NGRAM UINT64_C(0x121FD2155C472F96)
#define KIND_SPACELESS UINT64_C(0x3C6EF372FE94F82B)
#define KIND_SYMBOL UINT64_C(0xD4E12C77B5C0E1D3)

typedef struct Output
{
	const DsTokenizerConfig *config;
	DsTokenScratch *scratch;
	size_t count;
} Output;

static inline uint64_t
extend(uint64_t hash, uint32_t c)
{
	hash = (hash ^ c) * UINT64_C(0x9FB21C651E98DF25);
	return hash ^ hash >> 32;
}

/* the feature covers the characters begin to end - 1; false: there is no room for more */
static inline bool
add(Output *output, uint64_t hash, size_t begin, size_t end)
{
	DsTokenScratch *scratch = output->scratch;

	if (output->count == output->config->max_tokens)
		return false;
	scratch->features[output->count] = ds_mix64(hash);
	scratch->begins[output->count] = scratch->places[begin];
	scratch->ends[output->count] = scratch->places[end];
	output->count++;
	return true;
}

static bool
spaceless_features(Output *output, size_t begin, size_t end)
{
	const uint32_t *c = output->scratch->characters;
	size_t lowest = output->config->cjk_min;
	size_t highest = output->config->cjk_max;

	for (size_t i = begin; i < end; i++)
	{
		uint64_t hash = KIND_SPACELESS;
		size_t most = end - i < highest ? end - i : highest;

		for (size_t n = 1; n <= most; n++)
		{
			hash = extend(hash, c[i + n - 1]);
			/* a run that is too short for the lowest order is one feature as a whole */
			if ((n >= lowest || end - begin < lowest) &&
				(n >= lowest || (i == begin && n == most)) && !add(output, hash, i, i + n))
				return false;
		}
	}
	return true;
}

static bool
word_features(Output *output, size_t begin, size_t end)
{
	const DsTokenizerConfig *config = output->config;
	const uint32_t *c = output->scratch->characters;
	size_t padded = end - begin + 2;
	uint64_t hash = KIND_WORD;

	if (config->words)
	{
		for (size_t i = begin; i < end; i++)
			hash = extend(hash, c[i]);
		if (!add(output, hash, begin, end))
			return false;
	}
	if (config->word_max == 0)
		return true;
	/* place 0 is the mark before the word, place padded - 1 the one behind it */
	for (size_t i = 0; i + 1 < padded; i++)
	{
		size_t most = padded - i < config->word_max ? padded - i : config->word_max;

		hash = KIND_NGRAM;
		for (size_t n = 1; n <= most; n++)
		{
			size_t at = i + n - 1;
			bool whole = n == padded;

			hash = extend(hash, at == 0			   ? MARK_BEGIN
								: at == padded - 1 ? MARK_END
												   : c[begin + at - 1]);
			/* (a mark alone says nothing) */
			if ((whole ? config->words : n < config->word_min) || (i == 0 && n == 1))
				continue;
			if (!add(output, hash, i == 0 ? begin : begin + i - 1,
					 at == padded - 1 ? end : begin + at))
				return false;
		}
	}
	return true;
}

size_t
ds_ngram_features(const DsTokenizerConfig *config, DsTokenScratch *scratch, const char *text,
				  size_t length)
{
	Output output = {config, scratch, 0};
	const unsigned char *base = (const unsigned char *) scratch->clean;
	const unsigned char *end;
	const unsigned char *p = base;
	size_t run = 0; /* characters of the current run are run .. n - 1 */
	size_t n = 0;
	DsCharClass run_class = DS_CHAR_SEPARATOR;
	bool room = true;

	scratch->clean_length = ds_clean_long(&config->clean, text, length, scratch->clean,
										  scratch->clean_capacity, scratch->cancel);
	end = base + scratch->clean_length;
	while (room)
	{
		DsCharClass class = DS_CHAR_SEPARATOR;
		uint32_t c = 0;
		size_t size = 0;
		uint32_t place = (uint32_t) (p - base);

		if (p < end)
		{
			c = ds_utf8_read(p, end, &size);
			p += size;
			class = ds_char_class(c);
			if (class == DS_CHAR_IGNORED)
				continue;
			if (class == DS_CHAR_MARK)
			{
				/* on a symbol a mark is decoration (a keycap), alone it is a letter */
				if (run_class == DS_CHAR_SYMBOL)
					continue;
				class = run_class == DS_CHAR_SEPARATOR ? DS_CHAR_WORD : run_class;
			}
		}
		if (class != run_class || class == DS_CHAR_SYMBOL || size == 0)
		{
			/* the run ends here; the place behind it is where its last character ended */
			if (run_class == DS_CHAR_WORD)
				room = word_features(&output, run, n);
			else if (run_class == DS_CHAR_SPACELESS && config->cjk_max > 0)
				room = spaceless_features(&output, run, n);
			else if (run_class == DS_CHAR_SYMBOL)
				room = add(&output, extend(KIND_SYMBOL, scratch->characters[run]), run, n);
			if (size == 0)
				break;
			run = n = 0;
			run_class = class;
		}
		if (class != DS_CHAR_SEPARATOR)
		{
			scratch->characters[n] = c;
			scratch->places[n] = place;
			scratch->places[++n] = (uint32_t) (p - base);
		}
	}
	return output.count;
}

DsCode
ds_ngram_scratch(const DsTokenizerConfig *config, DsArena *arena, DsTokenScratch *scratch,
				 DsStatus *status)
{
	size_t tokens = config->max_tokens;
	size_t bytes = tokens * CLEAN_BYTES_PER_TOKEN;

	scratch->clean_length = 0;
	scratch->cancel = NULL;
	scratch->clean_capacity = bytes;
	scratch->ids = ds_arena_alloc(arena, tokens, sizeof(uint32_t));
	scratch->begins = ds_arena_alloc(arena, tokens, sizeof(uint32_t));
	scratch->ends = ds_arena_alloc(arena, tokens, sizeof(uint32_t));
	scratch->features = ds_arena_alloc(arena, tokens, sizeof(uint64_t));
	scratch->clean = ds_arena_alloc(arena, bytes, 1);
	/* a run of characters has at most as many as the text has bytes */
	scratch->characters = ds_arena_alloc(arena, bytes, sizeof(uint32_t));
	scratch->places = ds_arena_alloc(arena, bytes + 1, sizeof(uint32_t));
	if (scratch->ids == NULL || scratch->begins == NULL || scratch->ends == NULL ||
		scratch->features == NULL || scratch->clean == NULL || scratch->characters == NULL ||
		scratch->places == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	return DS_OK;
}
