/*
 * regex_private.h
 *		What the files regex*.c share: the program, and the tree that it is made
 *		from.
 */
#ifndef DS_REGEX_PRIVATE_H
#define DS_REGEX_PRIVATE_H

#include "text/regex.h"

/*
 * A program is words: the number of
 * instructions, the number of words, then instructions of four words (kind and
 * three arguments), then sets.
 */
#define REGEX_HEAD 2
#define REGEX_WORDS 4

typedef enum RegexOp
{
	/* one character each */
	REGEX_CHAR, /* [1] the character */
	REGEX_FOLD, /* [1] the character, folded */
	REGEX_SET, /* [1] word where the set begins */
	REGEX_ANY, /* not a line feed */
	/* control */
	REGEX_MATCH,
	REGEX_JUMP, /* [1] to */
	REGEX_SPLIT, /* [1] try first, [2] then */
	REGEX_REPEAT, /* the next instruction (one character) [1] to [2] times, [3] how */
	REGEX_LOOK, /* [1] negative, [2] where it goes on; the body follows and ends with MATCH */
	REGEX_ATOMIC, /* [2] where it goes on; the same */
	REGEX_BEHIND, /* [1] negative; one character before matches the next instruction */
	REGEX_LINE_BEGIN,
	REGEX_LINE_END,
	REGEX_TEXT_BEGIN,
	REGEX_TEXT_END,
	REGEX_TEXT_END_LINE, /* or before a line feed at the end */
	REGEX_BOUNDARY, /* [1] negative */
	REGEX_OPS
} RegexOp;

#define REGEX_GREEDY 0
#define REGEX_LAZY 1
#define REGEX_POSSESSIVE 2

/* bodies of LOOK and ATOMIC inside each other */
#define REGEX_NESTING 16

/* a set: words */
enum
{
	SET_NEGATED, /* only when folding or ranges demand it at run time */
	SET_CATEGORIES, /* bits */
	SET_CLASSES, /* SET_CLASS_* bits */
	SET_ASCII, /* 4 words: the answer for c < 128, negation included */
	SET_RANGES = SET_ASCII + 4, /* number of them */
	SET_HEAD /* then first, last of each */
};
#define SET_CLASS_SPACE 1u
#define SET_CLASS_NOT_SPACE 2u
#define SET_CLASS_WORD 4u
#define SET_CLASS_NOT_WORD 8u
#define SET_CLASS_FOLD 16u /* a character's other case is looked for, too */
#define SET_CLASS_HAN 32u
#define SET_CLASS_NOT_HAN 64u

/* the answer without the ASCII table and negation */
extern bool regex_set_contains(const unsigned char *set, uint32_t c);

#define INFINITE UINT32_MAX

typedef enum NodeKind
{
	NODE_EMPTY,
	NODE_ONE, /* one character: op, argument */
	NODE_TEST, /* no character: op, argument */
	NODE_LIST, /* a then b */
	NODE_OR, /* a or b */
	NODE_REPEAT,
	NODE_LOOK, /* op = LOOK, ATOMIC or BEHIND */
} NodeKind;

typedef struct Node Node;
struct Node
{
	NodeKind kind;
	RegexOp op;
	uint32_t argument;
	uint32_t least;
	uint32_t most;
	uint32_t mode;
	bool can_be_empty;
	Node *a;
	Node *b;
};

typedef struct Parser
{
	const char *pattern;
	size_t length;
	const unsigned char *p;
	const unsigned char *end;
	bool fold;
	int depth;
	DsArena *arena;
	DsStatus *status;
	DsCode code; /* of the first failure */
	/* the sets, as words; their offsets are counted from the first set */
	uint32_t *sets;
	size_t set_words;
	size_t set_capacity;
	/* the instructions */
	uint32_t *instructions;
	uint32_t count;
} Parser;

/* Note the first failure, with the place in the pattern; returns NULL */
extern Node *regex_refuse(Parser *s, DsCode code, const char *what);

/* The tree of the whole pattern, and its sets; NULL: s->code says why */
extern Node *regex_parse(Parser *s);

#endif /* DS_REGEX_PRIVATE_H */
