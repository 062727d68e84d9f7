/*
 * regex.h
 *		The regular expressions of tokenizer.json, over arrays of characters.
 *
 * Such patterns are written for Oniguruma (Ruby's syntax); what tokenizers use
 * of it is understood: literals, escapes, classes with properties, groups,
 * alternatives, greedy, lazy and possessive repetition, look-ahead, look-behind
 * of one character, atomic groups, anchors, (?i:...).  The rest is refused by
 * name: back references, captures by name, nested classes and intersections,
 * conditions, scripts other than Han.
 */
#ifndef DS_REGEX_H
#define DS_REGEX_H

#include "base/arena.h"
#include "base/status.h"

/* instructions of a compiled pattern */
#define DS_REGEX_CODE_MAX 8192

typedef struct DsRegexScratch
{
	DsArena *arena;
	uint64_t *stack;
	size_t capacity;
	size_t steps; /* that may still be made; the caller sets it */
	const DsCancel *cancel;
} DsRegexScratch;

/* The program is a position-independent piece of bytes of size bytes; DS_UNSUPPORTED names what
 * is not understood */
extern DsCode ds_regex_compile(const char *pattern, size_t length, DsArena *arena,
							   unsigned char **program, size_t *size, DsStatus *status);

/* whether running the program cannot leave it */
extern bool ds_regex_check(const unsigned char *program, size_t size);

#define DS_REGEX_NO_MATCH SIZE_MAX

/*
 * The end of the match of text[n] that begins at start, by the rules of
 * backtracking matchers (the first alternative that leads to a match), or
 * DS_REGEX_NO_MATCH.  Errors: DS_TOO_LARGE when the steps are used up,
 * DS_OUT_OF_MEMORY, DS_CANCELLED.
 */
extern DsCode ds_regex_match(const unsigned char *program, const uint32_t *text, size_t n,
							 size_t start, DsRegexScratch *scratch, size_t *end, DsStatus *status);

#endif /* DS_REGEX_H */
