/*
 * subword_compile.h
 *		What the files that compile a tokenizer share.
 */
#ifndef DS_SUBWORD_COMPILE_H
#define DS_SUBWORD_COMPILE_H

#include "base/json.h"
#include "text/subword_private.h"

typedef struct Buffer
{
	unsigned char *bytes;
	size_t n;
	size_t capacity;
} Buffer;

typedef struct String
{
	const char *bytes;
	uint32_t length;
} String;

typedef struct Compiler
{
	const char *name; /* of the file */
	DsArena *arena; /* for all but the blob */
	const DsCancel *cancel;
	DsStatus *status;
	DsCode code; /* of the first failure */
	Buffer sections[SECTION_COUNT];
	uint32_t header[HEADER_WORDS];
	/* strings that had escapes: the piece of memory that is being filled */
	char *pool;
	size_t pool_used;
	size_t pool_size;
	/* tokens by id; bytes NULL: none */
	String *tokens;
	size_t tokens_capacity;
	uint32_t vocabulary; /* the largest id + 1 */
	/* the model's own tokens, for its trie */
	DsTrieKey *keys;
	size_t key_count;
	size_t keys_capacity;
	DsTrie trie; /* once it has been built */
	double lowest_score; /* Unigram */
} Compiler;

/* Note the first failure; returns false.  The message begins with the file's name. */
extern bool compile_fail(Compiler *c, DsCode code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
extern bool compile_no_memory(Compiler *c);

extern bool compile_add(Compiler *c, Section section, const void *bytes, size_t n);
/* room for so many bytes more, and no more than that */
extern bool compile_reserve(Compiler *c, Section section, size_t n);
extern bool compile_add_word(Compiler *c, Section section, uint32_t word);
/* put a string into SECTION_DATA; words gets offset and length */
extern bool compile_data(Compiler *c, const void *bytes, size_t n, uint32_t words[2]);
/* a JSON string (what: for the message when it is none) */
extern bool compile_string(Compiler *c, DsJson value, const char *what, String *string);
/* a member that may be absent or null */
extern bool compile_flag(Compiler *c, DsJson value, const char *what, bool otherwise, bool *flag);
/* a number of at most most, which may be absent or null */
extern bool compile_number(Compiler *c, DsJson value, const char *what, uint32_t most,
						   uint32_t otherwise, uint32_t *number);
/* the short text of a value of "type", for messages */
extern const char *compile_type(DsJson component, char *out, size_t size);

extern bool compile_token(Compiler *c, uint32_t id, String token);
/* the id of a token of the model, once its trie has been built, or DS_SUBWORD_NONE */
extern uint32_t compile_find(const Compiler *c, const char *token, size_t length);

extern bool compile_normalizer(Compiler *c, DsJson normalizer, int depth);
extern bool compile_splitter(Compiler *c, DsJson pre_tokenizer, int depth);
/* BERT's steps, for vocab.txt */
extern bool compile_bert(Compiler *c, bool clean, bool chinese, bool strip_accents, bool lowercase);
extern bool compile_step(Compiler *c, const uint32_t words[STEP_WORDS]);

/* a token of the model's own vocabulary */
extern bool compile_key(Compiler *c, String token, uint32_t id);
/* BERT's model from the keys, for vocab.txt */
extern bool compile_wordpiece(Compiler *c);
extern bool compile_model(Compiler *c, DsJson model);
extern bool compile_model_finish(Compiler *c);

extern bool compile_added(Compiler *c, DsJson added_tokens);
/* CLS and SEP around texts, as BERT or RoBERTa do it */
extern bool compile_around(Compiler *c, uint32_t first, uint32_t second, bool roberta);
extern bool compile_processor(Compiler *c, DsJson post_processor);

#endif /* DS_SUBWORD_COMPILE_H */
