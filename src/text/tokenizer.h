/*
 * tokenizer.h
 *		From a text to numbers: row numbers of an embedding table.
 *
 * A tokenizer is one position-independent blob of bytes, which holds
 * everything that turns a text into ids, cleaning included.  It is stored with
 * the model, opened in place without copying, and never trusted: opening reads
 * all of it and refuses anything that could make encoding misbehave.  After
 * that encoding cannot fail and allocates nothing.
 *
 *     learn:   ds_tokenizer_learn_begin, _add for every text, _finish -> blob
 *     use:     ds_tokenizer_open(blob), ds_tokenizer_scratch, then
 *              ds_tokenizer_encode for each text
 *
 * The first kind, NGRAM, learns its vocabulary from the training texts
 * (docs/internals/text.md).  Others join behind the same functions.
 */
#ifndef DS_TOKENIZER_H
#define DS_TOKENIZER_H

#include "base/arena.h"
#include "base/status.h"
#include "text/clean.h"

typedef enum DsTokenizerKind
{
	DS_TOKENIZER_NGRAM = 1
} DsTokenizerKind;

/*
 * The configuration of an NGRAM tokenizer; ds_tokenizer_defaults has the
 * defaults, ds_tokenizer_check() the limits.
 */
typedef struct DsTokenizerConfig
{
	DsTokenizerKind kind;
	DsCleanOptions clean;
	uint32_t vocabulary; /* ids are below this: learned features and buckets together */
	uint32_t buckets; /* of these, rows that features without an own row share by hash */
	uint32_t min_count; /* a feature with an own row occurs in this many texts, at least */
	bool words; /* a whole word is a feature */
	uint32_t word_min; /* orders of the n-grams inside words of alphabetic scripts, */
	uint32_t word_max; /* boundary marks counted; both 0: none */
	uint32_t cjk_min; /* orders of the n-grams in scripts without spaces (Chinese, Japanese, */
	uint32_t cjk_max; /* Korean, Thai ...); both 0: none */
	uint32_t max_tokens; /* the features after this many are dropped */
	size_t learn_memory; /* bytes for counting, but 1 MB at least; not part of the blob */
} DsTokenizerConfig;

extern const DsTokenizerConfig ds_tokenizer_defaults;

#define DS_TOKENIZER_ORDER_MAX 8
#define DS_TOKENIZER_VOCABULARY_MAX (UINT32_C(1) << 24)
#define DS_TOKENIZER_TOKENS_MAX (UINT32_C(1) << 16)

/* DS_INVALID with a sentence that names the setting */
extern DsCode ds_tokenizer_check(const DsTokenizerConfig *config, DsStatus *status);

/*
 * Learning.  Texts are counted as they come (each feature once a text); when
 * the counting table has reached learn_memory, the rarest features are
 * forgotten, as often as needed.  The same texts in the same order give the
 * same blob to the byte, on every machine; without forgetting, the order does
 * not matter either.
 *
 * Everything lives in the arena given to _begin.  _finish writes the blob
 * into another (or the same) one; the learner cannot be used after it.
 * Errors: DS_INVALID (config), DS_OUT_OF_MEMORY.
 */
typedef struct DsTokenizerLearner DsTokenizerLearner;

extern DsCode ds_tokenizer_learn_begin(const DsTokenizerConfig *config, DsArena *arena,
									   DsTokenizerLearner **learner, DsStatus *status);
extern DsCode ds_tokenizer_learn_add(DsTokenizerLearner *learner, const char *text, size_t length,
									 DsStatus *status);
extern DsCode ds_tokenizer_learn_finish(DsTokenizerLearner *learner, DsArena *arena, void **blob,
										size_t *size, DsStatus *status);

/*
 * An opened tokenizer: points into the blob, which must stay where it is and
 * as it is.  Any alignment.  Copyable; nothing to close.
 */
typedef struct DsTokenizer
{
	DsTokenizerConfig config; /* learn_memory is 0 */
	uint32_t vocabulary; /* ids are below this */
	uint32_t learned; /* ids below this are learned features, the rest are buckets */
	uint64_t texts; /* number of texts it was learned from */
	/* private */
	const unsigned char *slots;
	const unsigned char *counts;
	uint32_t slot_mask;
} DsTokenizer;

/* DS_BAD_DATA when the blob is not one that _finish could have written; DS_UNSUPPORTED for a kind or
 * version that this program does not know. */
extern DsCode ds_tokenizer_open(DsTokenizer *tokenizer, const void *blob, size_t size,
								DsStatus *status);

/*
 * A blob in fewer bytes, for storing (tokenizer_pack.c), and back to the byte; in the
 * arena.  DS_BAD_DATA as ds_tokenizer_open(), which what comes back has passed.
 */
extern bool ds_tokenizer_is_packed(const void *blob, size_t size);
extern DsCode ds_tokenizer_pack(const void *blob, size_t size, DsArena *arena, void **packed,
								size_t *packed_size, DsStatus *status);
extern DsCode ds_tokenizer_unpack(const void *packed, size_t packed_size, DsArena *arena,
								  void **blob, size_t *size, DsStatus *status);

/* In how many of the training texts learned feature id < tokenizer->learned occurred */
extern uint32_t ds_tokenizer_count(const DsTokenizer *tokenizer, uint32_t id);

/*
 * The memory that encoding writes into, and its result.  One for each thread
 * of use; made once, used for any number of texts.
 */
typedef struct DsTokenScratch
{
	uint32_t *ids; /* [max_tokens] */
	uint32_t *begins; /* [max_tokens] the feature's first byte in clean, */
	uint32_t *ends; /* [max_tokens] and the one behind its last */
	char *clean; /* the cleaned text (as much of it as was looked at) */
	size_t clean_length;
	/* NULL at first; once it says so, long texts are cut short, and the caller looks again */
	const DsCancel *cancel;
	/* private */
	size_t clean_capacity;
	uint32_t *characters;
	uint32_t *places;
	uint64_t *features;
} DsTokenScratch;

extern DsCode ds_tokenizer_scratch(const DsTokenizer *tokenizer, DsArena *arena,
								   DsTokenScratch *scratch, DsStatus *status);

/*
 * Encode text[length], any bytes, into scratch->ids; returns their number,
 * which is 0 for a text without a letter, digit or symbol.  A feature that
 * occurs twice is there twice.  Only as much of a long text is read as gives
 * 16 * max_tokens bytes of clean text.
 */
extern size_t ds_tokenizer_encode(const DsTokenizer *tokenizer, DsTokenScratch *scratch,
								  const char *text, size_t length);

#endif /* DS_TOKENIZER_H */
