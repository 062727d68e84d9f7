/*
 * ngram.h
 *		From a text to the 64-bit names of its n-gram features (ngram.c);
 *		for the files of this room only.
 */
#ifndef DS_NGRAM_H
#define DS_NGRAM_H

#include "text/blob.h"
#include "text/tokenizer.h"

/*
 * Clean the text into scratch->clean and fill features, begins and ends;
 * returns the number of features, at most config->max_tokens.
 */
extern size_t ds_ngram_features(const DsTokenizerConfig *config, DsTokenScratch *scratch,
								const char *text, size_t length);

/* Memory for that */
extern DsCode ds_ngram_scratch(const DsTokenizerConfig *config, DsArena *arena,
							   DsTokenScratch *scratch, DsStatus *status);

/*
 * Layout of an NGRAM blob, in bytes.  Header, then the counts of the learned
 * features (u32 each, not rising), then the slots of an open-addressing table
 * with linear probing: u32 tag (0 with an id of 0: free), u32 id + 1.
 */
#define NGRAM_MAGIC UINT32_C(0x4B545344) /* "DSTK" */
#define NGRAM_VERSION 1
enum
{
	NGRAM_AT_MAGIC = 0,
	NGRAM_AT_VERSION = 4,
	NGRAM_AT_KIND = 8,
	NGRAM_AT_FLAGS = 12,
	NGRAM_AT_SIZE = 16,
	NGRAM_AT_TEXTS = 24,
	NGRAM_AT_VOCABULARY = 32,
	NGRAM_AT_LEARNED = 36,
	NGRAM_AT_BUCKETS = 40,
	NGRAM_AT_MIN_COUNT = 44,
	NGRAM_AT_WORD_MIN = 48,
	NGRAM_AT_WORD_MAX = 52,
	NGRAM_AT_CJK_MIN = 56,
	NGRAM_AT_CJK_MAX = 60,
	NGRAM_AT_MAX_TOKENS = 64,
	NGRAM_AT_SLOTS = 68,
	NGRAM_HEADER_SIZE = 72
};

#define NGRAM_FLAG_FOLD_WIDTH 1u
#define NGRAM_FLAG_FOLD_CASE 2u
#define NGRAM_FLAG_STRIP_CONTROLS 4u
#define NGRAM_FLAG_COLLAPSE_SPACE 8u
#define NGRAM_FLAG_STRIP_HTML 16u
#define NGRAM_FLAG_WORDS 32u
#define NGRAM_FLAGS 63u

#define NGRAM_SLOT_SIZE 8

/* A feature's place in a table of mask + 1 slots, its tag there, and its bucket come from different
 * bits of its name. */
static inline uint32_t
ngram_home(uint64_t feature, uint32_t mask)
{
	return (uint32_t) feature & mask;
}

static inline uint32_t
ngram_tag(uint64_t feature)
{
	return (uint32_t) (feature >> 32);
}

static inline uint32_t
ngram_bucket(uint64_t feature, uint32_t buckets)
{
	return (uint32_t) (((feature >> 16 & 0xFFFFFFFF) * buckets) >> 32);
}

/* slots for so many learned features: at most half full */
static inline uint32_t
ngram_slot_count(uint32_t learned)
{
	uint32_t slots = 2;

	while (slots < 2 * learned)
		slots *= 2;
	return slots;
}

#endif /* DS_NGRAM_H */
