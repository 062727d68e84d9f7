/*
 * regex.c
 *		Running compiled patterns.
 *
 * A backtracking matcher with the stack in scratch memory.  The patterns of
 * tokenizers are alternatives of runs of character classes, on which it is
 * linear: a run (REPEAT) is one entry of the stack, whatever its length, and an
 * alternative that cannot begin with the next character is not tried.  Other
 * patterns may need more, exponentially many steps even; the caller gives a
 * number of steps, and more is an error instead of a hanging query.
 */
#include "text/regex_private.h"

#include <string.h>

#include "text/blob.h"
#include "text/forms.h"
#include "text/unicode.h"

static inline uint32_t
word(const unsigned char *program, size_t at)
{
	return ds_read_u32(program + at * 4);
}

static inline const unsigned char *
instruction(const unsigned char *program, uint32_t pc)
{
	return program + (REGEX_HEAD + (size_t) pc * REGEX_WORDS) * 4;
}

static bool
is_han(uint32_t c)
{
	static const uint32_t ranges[][2] = {
		{0x2E80, 0x2E99},	{0x2E9B, 0x2EF3},	{0x2F00, 0x2FD5},	{0x3005, 0x3005},
		{0x3007, 0x3007},	{0x3021, 0x3029},	{0x3038, 0x303B},	{0x3400, 0x4DBF},
		{0x4E00, 0x9FFF},	{0xF900, 0xFA6D},	{0xFA70, 0xFAD9},	{0x16FE2, 0x16FE3},
		{0x16FF0, 0x16FF1}, {0x20000, 0x2A6DF}, {0x2A700, 0x2B739}, {0x2B740, 0x2B81D},
		{0x2B820, 0x2CEA1}, {0x2CEB0, 0x2EBE0}, {0x2F800, 0x2FA1D}, {0x30000, 0x3134A},
		{0x31350, 0x323AF}};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]) && c >= ranges[i][0]; i++)
		if (c <= ranges[i][1])
			return true;
	return false;
}

static bool
contains_exactly(const unsigned char *set, uint32_t c)
{
	uint32_t classes = word(set, SET_CLASSES);
	uint32_t ranges = word(set, SET_RANGES);

	if (word(set, SET_CATEGORIES) != 0 && (ds_category(c) & word(set, SET_CATEGORIES)) != 0)
		return true;
	if ((classes & SET_CLASS_SPACE && ds_is_space(c)) ||
		(classes & SET_CLASS_NOT_SPACE && !ds_is_space(c)) ||
		(classes & SET_CLASS_WORD && ds_is_word(c)) ||
		(classes & SET_CLASS_NOT_WORD && !ds_is_word(c)) ||
		(classes & SET_CLASS_HAN && is_han(c)) || (classes & SET_CLASS_NOT_HAN && !is_han(c)))
		return true;
	for (uint32_t i = 0; i < ranges; i++)
		if (c >= word(set, SET_HEAD + 2 * i) && c <= word(set, SET_HEAD + 2 * i + 1))
			return true;
	return false;
}

bool
regex_set_contains(const unsigned char *set, uint32_t c)
{
	uint32_t lower[2];

	if (contains_exactly(set, c))
		return true;
	if (!(word(set, SET_CLASSES) & SET_CLASS_FOLD))
		return false;
	if (contains_exactly(set, ds_fold_case(c)))
		return true;
	if (ds_lowercase(c, lower) == 1 && contains_exactly(set, lower[0]))
		return true;
	/* upper case of ASCII; of others only folding is known */
	return c - 'a' < 26 && contains_exactly(set, c - 32);
}

/* whether the instruction, one of those of a single character, takes c */
static inline bool
takes(const unsigned char *program, const unsigned char *in, uint32_t c)
{
	uint32_t argument = ds_read_u32(in + 4);

	switch (ds_read_u32(in))
	{
		case REGEX_CHAR:
			return c == argument;
		case REGEX_FOLD:
			return ds_fold_case(c) == argument;
		case REGEX_SET:
		{
			const unsigned char *set = program + (size_t) argument * 4;

			if (c < 128)
				return (word(set, SET_ASCII + c / 32) >> (c % 32) & 1) != 0;
			return regex_set_contains(set, c) != (word(set, SET_NEGATED) != 0);
		}
		default:
			return c != '\n';
	}
}

/* whether the code at pc can begin with c (or at the end of the text); true when it is not known */
static inline bool
may_begin(const unsigned char *program, uint32_t pc, const uint32_t *text, size_t n, size_t at)
{
	const unsigned char *in = instruction(program, pc);
	uint32_t op = ds_read_u32(in);

	if (op == REGEX_REPEAT && ds_read_u32(in + 4) > 0)
	{
		in += REGEX_WORDS * 4;
		op = ds_read_u32(in);
	}
	return op > REGEX_ANY || (at < n && takes(program, in, text[at]));
}

static bool
push(DsRegexScratch *scratch, size_t *top, uint64_t item)
{
	if (*top == scratch->capacity)
	{
		size_t capacity = scratch->capacity == 0 ? 256 : 2 * scratch->capacity;
		uint64_t *stack = ds_arena_alloc(scratch->arena, capacity, sizeof(*stack));

		if (stack == NULL)
			return false;
		if (*top > 0)
			memcpy(stack, scratch->stack, *top * sizeof(*stack));
		scratch->stack = stack;
		scratch->capacity = capacity;
	}
	scratch->stack[(*top)++] = item;
	return true;
}

/*
 * Entries of the stack: "go on at pc from at" is one word, pc << 32 | at.  For a
 * repetition that may give back (greedy) or take more (lazy) it is two, below
 * the bound, on top pc << 32 | at with REPEATED set.
 */
#define REPEATED (UINT64_C(1) << 63)

static bool
at_boundary(const uint32_t *text, size_t n, size_t at)
{
	return (at > 0 && ds_is_word(text[at - 1])) != (at < n && ds_is_word(text[at]));
}

/* Back to the last choice that is left; false when there is none */
static bool
go_back(const unsigned char *program, const uint32_t *text, DsRegexScratch *scratch, size_t bottom,
		size_t *top, uint32_t *pc, size_t *at)
{
	while (*top > bottom)
	{
		uint64_t item = scratch->stack[*top - 1];
		const unsigned char *in;
		bool lazy;

		*pc = (uint32_t) (item >> 32) & 0x7FFFFFFF;
		*at = (uint32_t) item;
		if (!(item & REPEATED))
		{
			(*top)--;
			return true;
		}
		in = instruction(program, *pc);
		lazy = ds_read_u32(in + 12) == REGEX_LAZY;
		if (lazy && !takes(program, in + REGEX_WORDS * 4, text[*at]))
		{
			*top -= 2;
			continue;
		}
		*at += lazy ? 1 : (size_t) -1;
		if (*at == scratch->stack[*top - 2])
			*top -= 2;
		else
			scratch->stack[*top - 1] = REPEATED | (uint64_t) *pc << 32 | *at;
		*pc += 2;
		return true;
	}
	return false;
}

static DsCode
run(const unsigned char *program, uint32_t pc, const uint32_t *text, size_t n, size_t at,
	size_t bottom, int nesting, DsRegexScratch *scratch, size_t *end, DsStatus *status)
{
	size_t top = bottom;
	DsCode code;
	size_t inner;

	*end = DS_REGEX_NO_MATCH;
	for (;;)
	{
		const unsigned char *in = instruction(program, pc);
		uint32_t op = ds_read_u32(in);
		uint32_t a = ds_read_u32(in + 4);
		uint32_t b = ds_read_u32(in + 8);
		bool failed = false;

		if (scratch->steps-- == 0)
		{
			scratch->steps = 0;
			return ds_fail(status, DS_TOO_LARGE,
						   "a pattern of the tokenizer needs too many steps on this text");
		}
		if (scratch->steps % 65536 == 0 && ds_cancelled(scratch->cancel))
			return ds_fail(status, DS_CANCELLED, "cancelled");
		switch (op)
		{
			case REGEX_CHAR:
			case REGEX_FOLD:
			case REGEX_SET:
			case REGEX_ANY:
				if (at < n && takes(program, in, text[at]))
				{
					at++;
					pc++;
				}
				else
					failed = true;
				break;
			case REGEX_MATCH:
				*end = at;
				return DS_OK;
			case REGEX_JUMP:
				pc = a;
				break;
			case REGEX_SPLIT:
				if (!may_begin(program, a, text, n, at))
					pc = b;
				else
				{
					if (may_begin(program, b, text, n, at) &&
						!push(scratch, &top, (uint64_t) b << 32 | at))
						return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
					pc = a;
				}
				break;
			case REGEX_REPEAT:
			{
				const unsigned char *one = in + REGEX_WORDS * 4;
				uint32_t mode = ds_read_u32(in + 12);
				size_t most = n - at < b ? n - at : b;
				size_t count = 0;
				size_t until = mode == REGEX_LAZY ? a : most;

				while (count < until && count < most && takes(program, one, text[at + count]))
					count++;
				scratch->steps -= count / 8 < scratch->steps ? count / 8 : scratch->steps;
				if (count < a)
				{
					failed = true;
					break;
				}
				if (mode == REGEX_LAZY ? count < most : mode == REGEX_GREEDY && count > a)
				{
					/* the other end: what it may shrink or grow to */
					if (!push(scratch, &top, mode == REGEX_LAZY ? at + most : at + a) ||
						!push(scratch, &top, REPEATED | (uint64_t) pc << 32 | (at + count)))
						return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
				}
				at += count;
				pc += 2;
				break;
			}
			case REGEX_LOOK:
			case REGEX_ATOMIC:
				if (nesting >= REGEX_NESTING)
					return ds_fail(status, DS_BAD_DATA, "a pattern of the tokenizer is damaged");
				code = run(program, pc + 1, text, n, at, top, nesting + 1, scratch, &inner, status);
				if (code != DS_OK)
					return code;
				if (op == REGEX_ATOMIC && inner != DS_REGEX_NO_MATCH)
					at = inner;
				failed = (inner != DS_REGEX_NO_MATCH) == (op == REGEX_LOOK && a != 0);
				pc = b;
				break;
			case REGEX_BEHIND:
				failed = (at > 0 && takes(program, in + REGEX_WORDS * 4, text[at - 1])) == (a != 0);
				pc += 2;
				break;
			case REGEX_LINE_BEGIN:
				failed = at > 0 && text[at - 1] != '\n';
				pc++;
				break;
			case REGEX_LINE_END:
				failed = at < n && text[at] != '\n';
				pc++;
				break;
			case REGEX_TEXT_BEGIN:
				failed = at > 0;
				pc++;
				break;
			case REGEX_TEXT_END:
				failed = at < n;
				pc++;
				break;
			case REGEX_TEXT_END_LINE:
				failed = at < n && !(at + 1 == n && text[at] == '\n');
				pc++;
				break;
			case REGEX_BOUNDARY:
				failed = at_boundary(text, n, at) == (a != 0);
				pc++;
				break;
			default:
				return ds_fail(status, DS_BAD_DATA, "a pattern of the tokenizer is damaged");
		}
		if (failed && !go_back(program, text, scratch, bottom, &top, &pc, &at))
			return DS_OK;
	}
}

DsCode
ds_regex_match(const unsigned char *program, const uint32_t *text, size_t n, size_t start,
			   DsRegexScratch *scratch, size_t *end, DsStatus *status)
{
	return run(program, 0, text, n, start, 0, 0, scratch, end, status);
}

bool
ds_regex_check(const unsigned char *program, size_t size)
{
	uint32_t code;
	uint32_t words;

	if (size < REGEX_HEAD * 4 || size % 4 != 0)
		return false;
	code = word(program, 0);
	words = word(program, 1);
	if (code < 2 || code > DS_REGEX_CODE_MAX || words != size / 4 ||
		words < REGEX_HEAD + code * REGEX_WORDS)
		return false;
	for (uint32_t pc = 0; pc < code; pc++)
	{
		const unsigned char *in = instruction(program, pc);
		uint32_t op = ds_read_u32(in);
		uint32_t a = ds_read_u32(in + 4);
		uint32_t b = ds_read_u32(in + 8);

		if (op >= REGEX_OPS)
			return false;
		if (op == REGEX_SET)
		{
			if (a >= words || words - a < SET_HEAD ||
				word(program, a + SET_RANGES) > (words - a - SET_HEAD) / 2)
				return false;
		}
		else if (op == REGEX_JUMP || op == REGEX_SPLIT)
		{
			if (a >= code || (op == REGEX_SPLIT && b >= code))
				return false;
		}
		else if (op == REGEX_REPEAT || op == REGEX_BEHIND)
		{
			/* one character, and something behind it */
			if (pc + 2 >= code || ds_read_u32(in + REGEX_WORDS * 4) > REGEX_ANY ||
				(op == REGEX_REPEAT &&
				 (a > b || b == 0 || ds_read_u32(in + 12) > REGEX_POSSESSIVE)))
				return false;
		}
		else if (op == REGEX_LOOK || op == REGEX_ATOMIC)
		{
			if (b >= code || b <= pc)
				return false;
		}
		/* what goes on at the next instruction must have one */
		if (op != REGEX_MATCH && op != REGEX_JUMP && op != REGEX_SPLIT && pc + 1 >= code)
			return false;
	}
	return true;
}
