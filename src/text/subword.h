/*
 * subword.h
 *		The tokenizers that trained encoders come with: WordPiece, Unigram, BPE.
 *
 * A model's tokenizer.json (or vocab.txt) states how its texts became numbers
 * when it was trained: the tokens that are cut out first, how the text is
 * normalized, where it is split, how each part becomes pieces of a vocabulary,
 * what is put around them.  It is compiled once into a position-independent
 * blob of bytes, with the tables that encoding needs (docs/internals/text.md).
 * The blob is stored with the model, opened in place without copying, from any
 * address, by any number of processes, and never trusted: opening reads all of
 * it and refuses what could make encoding misbehave.
 *
 *     import:  ds_subword_compile(tokenizer.json) -> blob
 *     use:     ds_subword_open(blob), then ds_subword_encode for each text
 *
 * The result is the one of the library that the file was written by (Hugging
 * Face tokenizers), token for token; a component that is not known here is
 * refused by name when the file is compiled, never ignored.
 */
#ifndef DS_SUBWORD_H
#define DS_SUBWORD_H

#include "base/arena.h"
#include "base/status.h"

#define DS_SUBWORD_VERSION 1 /* of the blob */
#define DS_SUBWORD_KIND 2 /* the blob's number beside DsTokenizerKind */
#define DS_SUBWORD_VOCABULARY_MAX (UINT32_C(1) << 24)
/* bytes of one text, and of a tokenizer.json */
#define DS_SUBWORD_TEXT_MAX ((size_t) 1 << 30)
#define DS_SUBWORD_FILE_MAX ((size_t) 256 << 20)
#define DS_SUBWORD_NONE UINT32_MAX

/*
 * Compile tokenizer.json; name is the file's, for messages.  The blob is taken
 * from arena, and what is needed on the way from scratch (about three
 * times the file), which the caller frees.  cancel may be NULL.
 * Errors: DS_BAD_DATA (what and where), DS_UNSUPPORTED (the component), DS_TOO_LARGE,
 * DS_OUT_OF_MEMORY, DS_CANCELLED.
 */
extern DsCode ds_subword_compile(const char *json, size_t length, const char *name, DsArena *arena,
								 DsArena *scratch, const DsCancel *cancel, void **blob,
								 size_t *size, DsStatus *status);

/*
 * Compile vocab.txt, one token a line, with BERT's rules, which vocab.txt
 * implies: [CLS] text [SEP], unknown words are [UNK], pieces inside words
 * begin with ##.
 */
typedef struct DsVocabOptions
{
	bool lowercase; /* do_lower_case of tokenizer_config.json */
	int strip_accents; /* 0, 1, or -1: as lowercase */
	bool chinese; /* tokenize_chinese_chars */
	uint32_t max_length; /* 0: texts are not cut */
} DsVocabOptions;

extern DsCode ds_subword_compile_vocab(const char *text, size_t length, const char *name,
									   const DsVocabOptions *options, DsArena *arena,
									   DsArena *scratch, const DsCancel *cancel, void **blob,
									   size_t *size, DsStatus *status);

/* An opened tokenizer: points into the blob, which must stay where it is and as it is.  Any
 * alignment.  Copyable, nothing to close. */
typedef struct DsSubword
{
	uint32_t vocabulary; /* ids are below this */
	uint32_t
		max_length; /* texts are cut to so many tokens, special ones included; 0: they are not */
	/* private */
	const unsigned char *bytes;
	size_t size;
	uint64_t
		prefix_node; /* where the vocabulary goes on behind the mark of inner pieces; 0: nowhere */
} DsSubword;

/* DS_BAD_DATA when the blob is damaged; DS_UNSUPPORTED for a version that this program does not
 * know.  Reads all of the blob, a gigabyte or two a second. */
extern DsCode ds_subword_open(DsSubword *tokenizer, const void *blob, size_t size,
							  DsStatus *status);

/* A token's text as the file has it ("##ing", "Ġthe"), not ended by a zero byte; empty for an id
 * that has none */
extern const char *ds_subword_token(const DsSubword *tokenizer, uint32_t id, size_t *length);

/* The id of a token given as the file has it, or DS_SUBWORD_NONE */
extern uint32_t ds_subword_find(const DsSubword *tokenizer, const char *token, size_t length);

/*
 * The memory that encoding writes into, and its result.  One for each thread
 * of use; made once, used for any number of texts, of any tokenizers.  It
 * grows with the longest text (about 100 bytes a character), in the arena that
 * it was made with: free that to be rid of it.
 */
typedef struct DsSubwordScratch DsSubwordScratch;

extern DsCode ds_subword_scratch(DsArena *arena, DsSubwordScratch **scratch, DsStatus *status);

typedef struct DsSubwordOptions
{
	bool special; /* what the post-processor adds ([CLS], [SEP] ...), and so in most uses true */
	uint32_t max_length; /* cut to so many tokens; 0: as the file says; UINT32_MAX: never */
	const DsCancel *cancel; /* may be NULL */
} DsSubwordOptions;

/*
 * Tokens in order.  begin and end are byte offsets in the text that the token
 * comes from (0 and 0 for what was added), type is 0 or 1 (1 for the second
 * text of a pair, where the model says so), special is 1 for what was added.
 */
typedef struct DsSubwordTokens
{
	size_t count;
	bool truncated; /* the text had more */
	const uint32_t *ids;
	const uint32_t *begins;
	const uint32_t *ends;
	const uint8_t *types;
	const uint8_t *special;
} DsSubwordTokens;

/*
 * Encode a text, or a pair of texts when second is not NULL (query and
 * document of a cross-encoder).  Any bytes: what is not UTF-8 becomes U+FFFD,
 * one for each maximal part of a character.  The result stands in scratch
 * until the next call.  The time is linear in the length of the texts (times
 * the longest token).
 * Errors: DS_TOO_LARGE (a text, or a pattern of the file that needs too many
 * steps on it), DS_OUT_OF_MEMORY, DS_CANCELLED.
 */
extern DsCode ds_subword_encode(const DsSubword *tokenizer, DsSubwordScratch *scratch,
								const char *text, size_t length, const char *second,
								size_t second_length, const DsSubwordOptions *options,
								DsSubwordTokens *tokens, DsStatus *status);

#endif /* DS_SUBWORD_H */
