/*
 * subword_private.h
 *		Layout of a SUBWORD blob, and what the files subword_*.c share.
 *
 * The blob is a header of HEADER_WORDS numbers (u32, the indexes are AT_*),
 * then sections, each at a multiple of 8 bytes, whose offsets and lengths in
 * bytes are in the header.  All numbers are little-endian.
 */
#ifndef DS_SUBWORD_PRIVATE_H
#define DS_SUBWORD_PRIVATE_H

#include "text/blob.h"
#include "text/regex.h"
#include "text/subword.h"
#include "text/trie.h"

#define SUBWORD_MAGIC UINT32_C(0x4B545344) /* "DSTK", as every tokenizer */
#define SUBWORD_VERSION DS_SUBWORD_VERSION

typedef enum Section
{
	SECTION_STEPS, /* Step: the normalizer's, then the pre-tokenizer's */
	SECTION_DATA, /* strings, patterns, character maps, which steps point to */
	SECTION_ADDED, /* Added: tokens that are found in the text before all else */
	SECTION_ADDED_RAW, /* trie of those looked for in the text as it is */
	SECTION_ADDED_NORMALIZED, /* trie of those looked for in the normalized text */
	SECTION_TEMPLATE, /* Part: around one text, then around a pair */
	SECTION_TRIE, /* the vocabulary */
	SECTION_SCORES, /* Unigram: double by id */
	SECTION_MERGES, /* BPE: Merge, open addressing */
	SECTION_CHARACTERS, /* BPE: id + 1 of the character c by c < CHARACTERS */
	SECTION_BYTES, /* id by byte, of the tokens <0x00> to <0xFF>; empty: without byte_fallback */
	SECTION_TOKEN_ENDS, /* u32 by id: where its text ends in SECTION_TOKENS */
	SECTION_TOKENS,
	SECTION_COUNT
} Section;

enum
{
	AT_MAGIC,
	AT_VERSION,
	AT_KIND,
	AT_SIZE, /* of the blob, in bytes */
	AT_VOCABULARY,
	AT_MODEL,
	AT_MODEL_FLAGS,
	AT_UNKNOWN, /* id of the unknown token, or DS_SUBWORD_NONE */
	AT_WORD_MAX, /* WordPiece: characters of a word */
	AT_PREFIX, /* of inner pieces: offset and length in SECTION_DATA */
	AT_PREFIX_LENGTH,
	AT_SUFFIX, /* of a word's last piece */
	AT_SUFFIX_LENGTH,
	AT_NORMALIZERS, /* number of steps */
	AT_SPLITTERS,
	AT_SINGLE, /* number of parts */
	AT_PAIR,
	AT_MAX_LENGTH,
	AT_STRATEGY,
	AT_LEFT, /* cut at the left */
	AT_SECTIONS, /* offset, length of each */
	HEADER_WORDS = AT_SECTIONS + 2 * SECTION_COUNT
};

typedef enum Model
{
	MODEL_WORDPIECE = 1,
	MODEL_WORDLEVEL,
	MODEL_UNIGRAM,
	MODEL_BPE
} Model;

#define MODEL_FUSE_UNKNOWN 1u
#define MODEL_BYTE_FALLBACK 2u
#define MODEL_IGNORE_MERGES 4u
#define MODEL_FLAGS 7u

typedef enum Strategy
{
	STRATEGY_LONGEST_FIRST,
	STRATEGY_ONLY_FIRST,
	STRATEGY_ONLY_SECOND
} Strategy;

/*
 * A step: STEP_WORDS numbers, the kind and its arguments.  (offset, length)
 * pairs point into SECTION_DATA.
 */
#define STEP_WORDS 8
typedef enum StepKind
{
	/* normalizers */
	STEP_CLEAN = 1, /* BertNormalizer's clean_text */
	STEP_CHINESE, /* spaces around Chinese characters */
	STEP_STRIP_NONSPACING, /* drop category Mn */
	STEP_STRIP_MARKS, /* drop categories M* */
	STEP_LOWERCASE,
	STEP_FORM, /* [1] = SubwordForm */
	STEP_STRIP, /* [1] = 1 left, 2 right */
	STEP_REPLACE, /* [1], [2] what, [3], [4] by what (UTF-8); [5] = 1: what is a pattern */
	STEP_PREPEND, /* [1], [2] */
	STEP_NMT,
	STEP_CHARSMAP, /* [1], [2] trie of sentencepiece, [3], [4] its strings */
	STEP_BYTES, /* bytes to the characters that stand for them */
	/* pre-tokenizers */
	STEP_BERT, /* white space, punctuation */
	STEP_SPACES, /* white space */
	STEP_SPLIT, /* [1], [2] pattern, [3] = SplitBehavior, [4] = invert */
	STEP_SPLIT_STRING, /* the same with a string */
	STEP_PUNCTUATION, /* [3] */
	STEP_DIGITS, /* [3] */
	STEP_BYTELEVEL, /* [1], [2] pattern ([2] = 0: none), [3] = add a space before */
	STEP_METASPACE, /* [1] = character, [2] = PrependScheme, [3] = split */
	STEP_FIXED_LENGTH, /* [1] */
	STEP_KINDS
} StepKind;

typedef enum SplitBehavior
{
	SPLIT_REMOVED,
	SPLIT_ISOLATED,
	SPLIT_MERGED_WITH_PREVIOUS,
	SPLIT_MERGED_WITH_NEXT,
	SPLIT_CONTIGUOUS,
	SPLIT_BEHAVIORS
} SplitBehavior;

typedef enum PrependScheme
{
	PREPEND_NEVER,
	PREPEND_FIRST,
	PREPEND_ALWAYS
} PrependScheme;

/* An added token: ADDED_WORDS numbers */
#define ADDED_WORDS 2 /* id, flags */
#define ADDED_SINGLE_WORD 1u
#define ADDED_LSTRIP 2u
#define ADDED_RSTRIP 4u
#define ADDED_FLAGS 7u
/* bytes; longer ones would make every position of a text expensive */
#define ADDED_LENGTH_MAX 512

/* A part of what a text becomes: PART_WORDS numbers */
#define PART_WORDS 3 /* what, id (of PART_TOKEN), type */
#define PART_FIRST 0u
#define PART_SECOND 1u
#define PART_TOKEN 2u
#define PARTS_MAX 1024

/* slot of the table of merges: left, right, rank, result; right = DS_SUBWORD_NONE: free */
#define MERGE_SIZE 16
#define CHARACTERS 0x400

static inline uint32_t
merge_home(uint32_t left, uint32_t right, uint32_t mask)
{
	uint64_t x = ((uint64_t) left << 32 | right) * UINT64_C(0x9E3779B97F4A7C15);

	return (uint32_t) (x >> 32 ^ x >> 52) & mask;
}

static inline uint32_t
blob_word(const DsSubword *t, uint32_t at)
{
	return ds_read_u32(t->bytes + (size_t) at * 4);
}

static inline const unsigned char *
blob_section(const DsSubword *t, Section section)
{
	return t->bytes + blob_word(t, AT_SECTIONS + 2 * section);
}

static inline uint32_t
blob_length(const DsSubword *t, Section section)
{
	return blob_word(t, AT_SECTIONS + 2 * section + 1);
}

static inline DsTrie
blob_trie(const DsSubword *t, Section section)
{
	DsTrie trie = {blob_section(t, section), blob_length(t, section) / DS_TRIE_UNIT};

	return trie;
}

/* the character that stands for a byte in the vocabularies of byte-level BPE, U+0021 to U+0143 */
static inline uint32_t
byte_character(unsigned char byte)
{
	if (byte < 0x21)
		return 0x100u + byte;
	if (byte < 0x7F)
		return byte;
	if (byte < 0xA1)
		return 0x121u + byte - 0x7F;
	if (byte == 0xAD)
		return 0x143;
	return byte;
}

/*
 * A text on its way: characters, and for each the bytes of the original text
 * that it comes from.
 */
typedef struct Characters
{
	uint32_t *c;
	uint32_t *begin;
	uint32_t *end;
	size_t n;
	size_t capacity;
	DsArena *arena;
} Characters;

/* A part of it: characters [first, last), already a token or not */
typedef struct Split
{
	uint32_t first;
	uint32_t last;
	uint32_t token; /* or DS_SUBWORD_NONE */
} Split;

typedef struct Splits
{
	Split *s;
	size_t n;
	size_t capacity;
	DsArena *arena;
} Splits;

/* A token's place in the text */
typedef struct Token
{
	uint32_t id;
	uint32_t begin;
	uint32_t end;
} Token;

typedef struct Tokens
{
	Token *t;
	size_t n;
	size_t capacity;
	DsArena *arena;
} Tokens;

/* a symbol of BPE, or a place of the Viterbi lattice */
typedef struct Symbol
{
	uint32_t id;
	uint32_t first; /* characters */
	uint32_t last;
	uint32_t prev;
	uint32_t next;
	uint32_t rank; /* of the merge with the next one */
	uint32_t result; /* of that merge */
} Symbol;

typedef struct Lattice
{
	double score;
	uint32_t from; /* or DS_SUBWORD_NONE */
	uint32_t id;
} Lattice;

typedef struct HeapItem
{
	uint32_t rank;
	uint32_t at;
	uint32_t result;
} HeapItem;

struct DsSubwordScratch
{
	DsArena *arena;
	Characters text; /* the text as it came */
	Characters piece; /* between two added tokens */
	Characters work; /* the other side of a step */
	Characters all; /* what the splits count in */
	Splits splits;
	Splits other; /* the other side of a step */
	Splits found; /* added tokens in a text */
	Tokens tokens[2];
	Symbol *symbols;
	size_t symbols_capacity;
	Lattice *lattice;
	size_t lattice_capacity;
	HeapItem *heap;
	size_t heap_capacity;
	DsRegexScratch regex;
	const DsCancel *cancel;
	/* the result */
	uint32_t *ids;
	uint32_t *begins;
	uint32_t *ends;
	uint8_t *types;
	uint8_t *special;
	size_t result_capacity;
};

/* room for at least n elements in an array that grows; false: out of memory */
extern bool subword_grow(DsArena *arena, void **array, size_t *capacity, size_t n, size_t size,
						 size_t keep);
extern bool characters_reserve(Characters *text, size_t n);

static inline bool
characters_add(Characters *text, uint32_t c, uint32_t begin, uint32_t end)
{
	if (text->n == text->capacity && !characters_reserve(text, text->n + 1))
		return false;
	text->c[text->n] = c;
	text->begin[text->n] = begin;
	text->end[text->n++] = end;
	return true;
}

extern bool splits_add(Splits *splits, uint32_t first, uint32_t last, uint32_t token);
extern bool tokens_add(Tokens *tokens, uint32_t id, uint32_t begin, uint32_t end);

/* All bytes of a text as characters; what is not UTF-8 as U+FFFD */
extern DsCode characters_decode(Characters *text, const char *bytes, size_t length,
								DsStatus *status);

/* Run normalizer steps over *text in place (scratch->work is used) */
extern DsCode subword_normalize(const unsigned char *steps, uint32_t count,
								const unsigned char *data, DsSubwordScratch *scratch,
								Characters *text, DsStatus *status);
/* the charsmap step alone */
extern DsCode subword_charsmap(const unsigned char *step, const unsigned char *data,
							   const Characters *in, Characters *out, DsStatus *status);

/* Run the pre-tokenizer's steps over scratch->all and scratch->splits */
extern DsCode subword_split(const unsigned char *steps, uint32_t count, const unsigned char *data,
							DsSubwordScratch *scratch, DsStatus *status);

/* Turn the characters [first, last) of scratch->all into tokens */
extern DsCode subword_model(const DsSubword *t, DsSubwordScratch *scratch, uint32_t first,
							uint32_t last, Tokens *tokens, DsStatus *status);
extern DsCode subword_bpe(const DsSubword *t, DsSubwordScratch *scratch, uint32_t first,
						  uint32_t last, Tokens *tokens, DsStatus *status);

#endif /* DS_SUBWORD_PRIVATE_H */
