/*
 * tokenizer.c
 *		The vocabulary: learning it, storing it, using it.
 *
 * The names of a text's features (ngram.c) are 64-bit numbers.  A tokenizer
 * maps them to the rows of an embedding table: the features that most training
 * texts have get a row each, most frequent first, and the rest, those that
 * training has never seen among them, share the rows of some hash buckets.  So
 * nothing is lost, and how large the table is does not depend on the data.
 *
 *   1. learning counts in how many texts each feature occurs, in a hash table
 *      that doubles up to a limit and then forgets the rarest ("lossy counting"
 *      in the simple form of word2vec's vocabulary builder: whatever has a
 *      count of at most t goes, t rising until half of the table is free)
 *   2. finishing sorts what is left by count, ties by name, and writes the
 *      vocabulary as an open-addressing table that is at most half full
 *   3. opening checks all that encoding relies on: sizes, that the table is of
 *      the size that follows from the number of features, that as many slots are
 *      taken as there are features (so probing ends), and each id
 *   4. encoding looks each feature up: home slot from the low half of its name,
 *      tag from the high half; a free slot means its bucket
 *
 * A blob of 28,672 features takes 640 kB; 60 bytes of title take about 3
 * microseconds.
 *
 * Limits.  A slot keeps 32 bits of a name, its place says some more: one
 * unknown feature in a few billion is taken for a known one.  The blob has no
 * checksum: a changed tag or count is not noticed, it only means another
 * vocabulary.
 */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "text/ngram.h"

const DsTokenizerConfig ds_tokenizer_defaults = {
	.kind = DS_TOKENIZER_NGRAM,
	.clean = {.fold_width = true,
			  .fold_case = true,
			  .strip_controls = true,
			  .collapse_space = true,
			  .strip_html = false},
	.vocabulary = 32768,
	.buckets = 4096,
	.min_count = 2,
	.words = true,
	.word_min = 3,
	.word_max = 5,
	.cjk_min = 1,
	.cjk_max = 3,
	.max_tokens = 1024,
	.learn_memory = (size_t) 256 << 20,
};

/* the counting table begins with so many slots, and never has more than so many */
#define LEARN_SLOTS_MIN ((size_t) 1 << 14)
#define LEARN_SLOTS_MAX ((size_t) 1 << 26)
/* counts below this are told apart when the features that get a row are chosen */
#define COUNT_KINDS 4096

typedef struct Counter
{
	uint64_t feature;
	uint32_t count; /* 0: a free slot */
	uint32_t text; /* the last text that was counted */
} Counter;

struct DsTokenizerLearner
{
	DsTokenizerConfig config;
	DsArena *arena;
	DsTokenScratch scratch;
	Counter *table;
	Counter *spare; /* of the same size, once the table has its largest */
	size_t slots; /* a power of two */
	size_t most_slots;
	size_t used;
	uint64_t texts;
};

static DsCode
check_orders(uint32_t lowest, uint32_t highest, const char *name, DsStatus *status)
{
	if ((lowest == 0) != (highest == 0) || lowest > highest || highest > DS_TOKENIZER_ORDER_MAX)
		return ds_fail(
			status, DS_INVALID,
			"%s_min and %s_max of the tokenizer must be 1 <= min <= max <= %d, or both 0, "
			"not %u and %u",
			name, name, DS_TOKENIZER_ORDER_MAX, lowest, highest);
	return DS_OK;
}

DsCode
ds_tokenizer_check(const DsTokenizerConfig *config, DsStatus *status)
{
	DsCode code;

	if (config->kind != DS_TOKENIZER_NGRAM)
		return ds_fail(status, DS_INVALID, "unknown kind of tokenizer: %d", (int) config->kind);
	if (config->vocabulary < 1 || config->vocabulary > DS_TOKENIZER_VOCABULARY_MAX)
		return ds_fail(status, DS_INVALID,
					   "vocabulary of the tokenizer must be between 1 and %u, not %u",
					   DS_TOKENIZER_VOCABULARY_MAX, config->vocabulary);
	if (config->buckets < 1 || config->buckets > config->vocabulary)
		return ds_fail(status, DS_INVALID,
					   "buckets of the tokenizer must be between 1 and its vocabulary (%u), not %u",
					   config->vocabulary, config->buckets);
	if (config->min_count < 1)
		return ds_fail(status, DS_INVALID, "min_count of the tokenizer must be at least 1");
	if (config->max_tokens < 1 || config->max_tokens > DS_TOKENIZER_TOKENS_MAX)
		return ds_fail(status, DS_INVALID,
					   "max_tokens of the tokenizer must be between 1 and %u, not %u",
					   DS_TOKENIZER_TOKENS_MAX, config->max_tokens);
	code = check_orders(config->word_min, config->word_max, "word", status);
	if (code == DS_OK)
		code = check_orders(config->cjk_min, config->cjk_max, "cjk", status);
	if (code != DS_OK)
		return code;
	if (!config->words && config->word_max == 0 && config->cjk_max == 0)
		return ds_fail(status, DS_INVALID,
					   "the tokenizer has no features: words is off and all orders are 0");
	return DS_OK;
}

/*
 * Learning
 */

DsCode
ds_tokenizer_learn_begin(const DsTokenizerConfig *config, DsArena *arena,
						 DsTokenizerLearner **learner, DsStatus *status)
{
	DsTokenizerLearner *result;
	DsCode code = ds_tokenizer_check(config, status);
	size_t most;

	if (code != DS_OK)
		return code;
	result = ds_arena_zero(arena, 1, sizeof(*result));
	if (result == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	result->config = *config;
	result->arena = arena;
	/* the smaller tables of the past take as much as the last one, and so does the spare */
	most = config->learn_memory / 3 / sizeof(Counter);
	result->most_slots = LEARN_SLOTS_MIN;
	while (result->most_slots * 2 <= most && result->most_slots < LEARN_SLOTS_MAX)
		result->most_slots *= 2;
	result->slots = LEARN_SLOTS_MIN;
	result->table = ds_arena_zero(arena, result->slots, sizeof(Counter));
	if (result->table == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	code = ds_ngram_scratch(config, arena, &result->scratch, status);
	*learner = result;
	return code;
}

/* the slot that has the feature, or the free one where it belongs */
static Counter *
find_counter(Counter *table, size_t slots, uint64_t feature)
{
	size_t i = feature & (slots - 1);

	while (table[i].count != 0 && table[i].feature != feature)
		i = (i + 1) & (slots - 1);
	return &table[i];
}

/* Move the features with a count above the threshold to an empty table */
static size_t
move_counters(const Counter *from, size_t from_slots, Counter *to, size_t to_slots,
			  uint32_t threshold)
{
	size_t used = 0;

	for (size_t i = 0; i < from_slots; i++)
		if (from[i].count > threshold)
		{
			*find_counter(to, to_slots, from[i].feature) = from[i];
			used++;
		}
	return used;
}

/* Room for more features: a larger table, or the same without the rarest */
static DsCode
make_room(DsTokenizerLearner *learner, DsStatus *status)
{
	Counter *old = learner->table;
	size_t old_slots = learner->slots;

	if (old_slots < learner->most_slots)
	{
		learner->table = ds_arena_zero(learner->arena, old_slots * 2, sizeof(Counter));
		if (learner->table == NULL)
		{
			learner->table = old;
			return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
		}
		learner->slots = old_slots * 2;
		move_counters(old, old_slots, learner->table, learner->slots, 0);
		return DS_OK;
	}
	if (learner->spare == NULL)
	{
		learner->spare = ds_arena_alloc(learner->arena, old_slots, sizeof(Counter));
		if (learner->spare == NULL)
			return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	}
	for (uint32_t threshold = 1;; threshold++)
	{
		size_t kept = 0;

		for (size_t i = 0; i < old_slots; i++)
			kept += old[i].count > threshold;
		if (kept > old_slots / 2)
			continue;
		memset(learner->spare, 0, old_slots * sizeof(Counter));
		learner->used = move_counters(old, old_slots, learner->spare, old_slots, threshold);
		learner->table = learner->spare;
		learner->spare = old;
		return DS_OK;
	}
}

DsCode
ds_tokenizer_learn_add(DsTokenizerLearner *learner, const char *text, size_t length,
					   DsStatus *status)
{
	DsTokenScratch *scratch = &learner->scratch;
	size_t n = ds_ngram_features(&learner->config, scratch, text, length);
	uint32_t number = (uint32_t) ++learner->texts;

	for (size_t i = 0; i < n; i++)
	{
		Counter *counter = find_counter(learner->table, learner->slots, scratch->features[i]);

		if (counter->count == 0)
		{
			/* three quarters full */
			if (learner->used >= learner->slots / 4 * 3)
			{
				DsCode code = make_room(learner, status);

				if (code != DS_OK)
					return code;
				counter = find_counter(learner->table, learner->slots, scratch->features[i]);
				/* it may be one of this text that was forgotten just now: then it counts again */
			}
			counter->feature = scratch->features[i];
			counter->count = 1;
			counter->text = number;
			learner->used++;
		}
		else if (counter->text != number && counter->count < UINT32_MAX)
		{
			counter->count++;
			counter->text = number;
		}
	}
	return DS_OK;
}

/*
 * The count that a feature needs to be among the "rows" most frequent (ties
 * may make them more): sorting the rest, which is most of them, would be in
 * vain.
 */
static uint32_t
lowest_count(const DsTokenizerLearner *learner, uint32_t rows)
{
	uint32_t kinds[COUNT_KINDS] = {0};
	uint32_t least = learner->config.min_count;
	size_t found = 0;

	for (size_t i = 0; i < learner->slots; i++)
		kinds[learner->table[i].count < COUNT_KINDS ? learner->table[i].count : COUNT_KINDS - 1]++;
	for (uint32_t count = COUNT_KINDS - 1; count > least; count--)
	{
		found += kinds[count];
		if (found >= rows)
			return count;
	}
	return least;
}

static int
by_count_then_feature(const void *a, const void *b)
{
	const Counter *x = a;
	const Counter *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return x->feature < y->feature ? -1 : x->feature > y->feature;
}

static void
write_header(unsigned char *blob, size_t size, const DsTokenizerLearner *learner, uint32_t learned,
			 uint32_t slots)
{
	const DsTokenizerConfig *config = &learner->config;
	const DsCleanOptions *clean = &config->clean;
	uint32_t flags = (clean->fold_width ? NGRAM_FLAG_FOLD_WIDTH : 0) |
					 (clean->fold_case ? NGRAM_FLAG_FOLD_CASE : 0) |
					 (clean->strip_controls ? NGRAM_FLAG_STRIP_CONTROLS : 0) |
					 (clean->collapse_space ? NGRAM_FLAG_COLLAPSE_SPACE : 0) |
					 (clean->strip_html ? NGRAM_FLAG_STRIP_HTML : 0) |
					 (config->words ? NGRAM_FLAG_WORDS : 0);

	ds_write_u32(blob + NGRAM_AT_MAGIC, NGRAM_MAGIC);
	ds_write_u32(blob + NGRAM_AT_VERSION, NGRAM_VERSION);
	ds_write_u32(blob + NGRAM_AT_KIND, config->kind);
	ds_write_u32(blob + NGRAM_AT_FLAGS, flags);
	ds_write_u64(blob + NGRAM_AT_SIZE, size);
	ds_write_u64(blob + NGRAM_AT_TEXTS, learner->texts);
	ds_write_u32(blob + NGRAM_AT_VOCABULARY, config->vocabulary);
	ds_write_u32(blob + NGRAM_AT_LEARNED, learned);
	ds_write_u32(blob + NGRAM_AT_BUCKETS, config->buckets);
	ds_write_u32(blob + NGRAM_AT_MIN_COUNT, config->min_count);
	ds_write_u32(blob + NGRAM_AT_WORD_MIN, config->word_min);
	ds_write_u32(blob + NGRAM_AT_WORD_MAX, config->word_max);
	ds_write_u32(blob + NGRAM_AT_CJK_MIN, config->cjk_min);
	ds_write_u32(blob + NGRAM_AT_CJK_MAX, config->cjk_max);
	ds_write_u32(blob + NGRAM_AT_MAX_TOKENS, config->max_tokens);
	ds_write_u32(blob + NGRAM_AT_SLOTS, slots);
}

DsCode
ds_tokenizer_learn_finish(DsTokenizerLearner *learner, DsArena *arena, void **blob, size_t *size,
						  DsStatus *status)
{
	const DsTokenizerConfig *config = &learner->config;
	Counter *table = learner->table;
	size_t candidates = 0;
	uint32_t lowest;
	uint32_t rows = config->vocabulary - config->buckets;
	uint32_t learned;
	uint32_t slots;
	unsigned char *bytes;
	unsigned char *counts;
	unsigned char *slot_bytes;

	/* the table is of no further use: gather at its front what may get a row */
	lowest = lowest_count(learner, rows);
	for (size_t i = 0; i < learner->slots; i++)
		if (table[i].count >= lowest)
			table[candidates++] = table[i];
	qsort(table, candidates, sizeof(Counter), by_count_then_feature);
	learned = candidates < rows ? (uint32_t) candidates : rows;
	slots = ngram_slot_count(learned);
	*size = NGRAM_HEADER_SIZE + (size_t) learned * 4 + (size_t) slots * NGRAM_SLOT_SIZE;
	bytes = ds_arena_zero(arena, *size, 1);
	if (bytes == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	write_header(bytes, *size, learner, learned, slots);
	counts = bytes + NGRAM_HEADER_SIZE;
	slot_bytes = counts + (size_t) learned * 4;
	for (uint32_t id = 0; id < learned; id++)
	{
		uint32_t i = ngram_home(table[id].feature, slots - 1);

		ds_write_u32(counts + (size_t) id * 4, table[id].count);
		while (ds_read_u32(slot_bytes + (size_t) i * NGRAM_SLOT_SIZE + 4) != 0)
			i = (i + 1) & (slots - 1);
		ds_write_u32(slot_bytes + (size_t) i * NGRAM_SLOT_SIZE, ngram_tag(table[id].feature));
		ds_write_u32(slot_bytes + (size_t) i * NGRAM_SLOT_SIZE + 4, id + 1);
	}
	*blob = bytes;
	return DS_OK;
}

/*
 * Use
 */

DsCode
ds_tokenizer_open(DsTokenizer *tokenizer, const void *blob, size_t size, DsStatus *status)
{
	const unsigned char *bytes = blob;
	DsTokenizerConfig *config = &tokenizer->config;
	DsStatus reason;
	uint32_t flags;
	uint32_t slots;
	uint32_t taken = 0;

	memset(tokenizer, 0, sizeof(*tokenizer));
	if (size < NGRAM_HEADER_SIZE || ds_read_u32(bytes + NGRAM_AT_MAGIC) != NGRAM_MAGIC)
		return ds_fail(status, DS_BAD_DATA, "this is not a tokenizer");
	if (ds_read_u32(bytes + NGRAM_AT_VERSION) != NGRAM_VERSION)
		return ds_fail(status, DS_UNSUPPORTED,
					   "tokenizer has format version %u, this program knows %d",
					   ds_read_u32(bytes + NGRAM_AT_VERSION), NGRAM_VERSION);
	if (ds_read_u32(bytes + NGRAM_AT_KIND) != DS_TOKENIZER_NGRAM)
		return ds_fail(status, DS_UNSUPPORTED,
					   "tokenizer is of kind %u, which this program does not know",
					   ds_read_u32(bytes + NGRAM_AT_KIND));
	flags = ds_read_u32(bytes + NGRAM_AT_FLAGS);
	if ((flags & ~NGRAM_FLAGS) != 0)
		return ds_fail(status, DS_BAD_DATA, "tokenizer has unknown flags");
	config->kind = DS_TOKENIZER_NGRAM;
	config->clean.fold_width = (flags & NGRAM_FLAG_FOLD_WIDTH) != 0;
	config->clean.fold_case = (flags & NGRAM_FLAG_FOLD_CASE) != 0;
	config->clean.strip_controls = (flags & NGRAM_FLAG_STRIP_CONTROLS) != 0;
	config->clean.collapse_space = (flags & NGRAM_FLAG_COLLAPSE_SPACE) != 0;
	config->clean.strip_html = (flags & NGRAM_FLAG_STRIP_HTML) != 0;
	config->words = (flags & NGRAM_FLAG_WORDS) != 0;
	config->vocabulary = ds_read_u32(bytes + NGRAM_AT_VOCABULARY);
	config->buckets = ds_read_u32(bytes + NGRAM_AT_BUCKETS);
	config->min_count = ds_read_u32(bytes + NGRAM_AT_MIN_COUNT);
	config->word_min = ds_read_u32(bytes + NGRAM_AT_WORD_MIN);
	config->word_max = ds_read_u32(bytes + NGRAM_AT_WORD_MAX);
	config->cjk_min = ds_read_u32(bytes + NGRAM_AT_CJK_MIN);
	config->cjk_max = ds_read_u32(bytes + NGRAM_AT_CJK_MAX);
	config->max_tokens = ds_read_u32(bytes + NGRAM_AT_MAX_TOKENS);
	if (ds_tokenizer_check(config, &reason) != DS_OK)
		return ds_fail(status, DS_BAD_DATA, "tokenizer is damaged: %s", reason.message);
	tokenizer->texts = ds_read_u64(bytes + NGRAM_AT_TEXTS);
	tokenizer->learned = ds_read_u32(bytes + NGRAM_AT_LEARNED);
	slots = ds_read_u32(bytes + NGRAM_AT_SLOTS);
	/* the limits of the vocabulary keep all these products small */
	if (tokenizer->learned > config->vocabulary - config->buckets ||
		slots != ngram_slot_count(tokenizer->learned) ||
		ds_read_u64(bytes + NGRAM_AT_SIZE) != size ||
		size !=
			NGRAM_HEADER_SIZE + (size_t) tokenizer->learned * 4 + (size_t) slots * NGRAM_SLOT_SIZE)
		return ds_fail(status, DS_BAD_DATA, "tokenizer is damaged: its parts do not fit together");
	tokenizer->vocabulary = tokenizer->learned + config->buckets;
	tokenizer->counts = bytes + NGRAM_HEADER_SIZE;
	tokenizer->slots = tokenizer->counts + (size_t) tokenizer->learned * 4;
	tokenizer->slot_mask = slots - 1;
	for (uint32_t id = 0; id < tokenizer->learned; id++)
	{
		uint32_t count = ds_tokenizer_count(tokenizer, id);

		if (count < config->min_count || (id > 0 && count > ds_tokenizer_count(tokenizer, id - 1)))
			return ds_fail(status, DS_BAD_DATA, "tokenizer is damaged: count of feature %u", id);
	}
	for (uint32_t i = 0; i < slots; i++)
	{
		uint32_t tag = ds_read_u32(tokenizer->slots + (size_t) i * NGRAM_SLOT_SIZE);
		uint32_t id = ds_read_u32(tokenizer->slots + (size_t) i * NGRAM_SLOT_SIZE + 4);

		if (id > tokenizer->learned || (id == 0 && tag != 0))
			return ds_fail(status, DS_BAD_DATA, "tokenizer is damaged: slot %u", i);
		taken += id != 0;
	}
	if (taken != tokenizer->learned)
		return ds_fail(status, DS_BAD_DATA,
					   "tokenizer is damaged: it has %u features, and %u of them in the table",
					   tokenizer->learned, taken);
	return DS_OK;
}

uint32_t
ds_tokenizer_count(const DsTokenizer *tokenizer, uint32_t id)
{
	return ds_read_u32(tokenizer->counts + (size_t) id * 4);
}

DsCode
ds_tokenizer_scratch(const DsTokenizer *tokenizer, DsArena *arena, DsTokenScratch *scratch,
					 DsStatus *status)
{
	return ds_ngram_scratch(&tokenizer->config, arena, scratch, status);
}

size_t
ds_tokenizer_encode(const DsTokenizer *tokenizer, DsTokenScratch *scratch, const char *text,
					size_t length)
{
	size_t n = ds_ngram_features(&tokenizer->config, scratch, text, length);
	uint32_t mask = tokenizer->slot_mask;

	for (size_t f = 0; f < n; f++)
	{
		uint64_t feature = scratch->features[f];
		uint32_t tag = ngram_tag(feature);
		uint32_t i = ngram_home(feature, mask);

		for (;;)
		{
			const unsigned char *slot = tokenizer->slots + (size_t) i * NGRAM_SLOT_SIZE;
			uint32_t id = ds_read_u32(slot + 4);

			if (id == 0)
			{
				scratch->ids[f] =
					tokenizer->learned + ngram_bucket(feature, tokenizer->config.buckets);
				break;
			}
			if (ds_read_u32(slot) == tag)
			{
				scratch->ids[f] = id - 1;
				break;
			}
			i = (i + 1) & mask;
		}
	}
	return n;
}
