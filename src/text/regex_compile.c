/*
 * regex_compile.c
 *		From the tree of a pattern to instructions.
 *
 * A repetition of one character becomes REPEAT, any other a loop of SPLIT and
 * JUMP, or copies where it is counted.
 */
#include "text/regex_private.h"

#include "text/blob.h"

static uint32_t
emit(Parser *s, RegexOp op, uint32_t a, uint32_t b, uint32_t c)
{
	uint32_t at = s->count;

	if (at >= DS_REGEX_CODE_MAX)
	{
		regex_refuse(s, DS_UNSUPPORTED, "it is too large");
		return 0;
	}
	s->instructions[at * REGEX_WORDS] = (uint32_t) op;
	s->instructions[at * REGEX_WORDS + 1] = a;
	s->instructions[at * REGEX_WORDS + 2] = b;
	s->instructions[at * REGEX_WORDS + 3] = c;
	s->count++;
	return at;
}

static void emit_node(Parser *s, const Node *node);

static void
emit_repeat(Parser *s, const Node *node)
{
	uint32_t atomic = 0;
	uint32_t before = INFINITE;
	uint32_t split;
	uint32_t in = node->mode == REGEX_LAZY ? 2 : 1;
	uint32_t out = 3 - in;

	if (node->a->kind == NODE_ONE)
	{
		emit(s, REGEX_REPEAT, node->least, node->most, node->mode);
		emit_node(s, node->a);
		return;
	}
	if (node->mode == REGEX_POSSESSIVE)
		atomic = emit(s, REGEX_ATOMIC, 0, 0, 0);
	for (uint32_t i = 0; i < node->least && s->code == DS_OK; i++)
		emit_node(s, node->a);
	/* the way out of each optional copy is the end; until that is known, its place holds the one before */
	for (uint32_t i = node->least; i < node->most && s->code == DS_OK; i++)
	{
		split = emit(s, REGEX_SPLIT, 0, 0, 0);
		s->instructions[(size_t) split * REGEX_WORDS + in] = s->count;
		s->instructions[(size_t) split * REGEX_WORDS + out] = before;
		before = split;
		emit_node(s, node->a);
		if (node->most == INFINITE)
		{
			emit(s, REGEX_JUMP, split, 0, 0);
			break;
		}
	}
	while (before != INFINITE && s->code == DS_OK)
	{
		uint32_t *place = &s->instructions[(size_t) before * REGEX_WORDS + out];

		before = *place;
		*place = s->count;
	}
	if (node->mode == REGEX_POSSESSIVE && s->code == DS_OK)
	{
		emit(s, REGEX_MATCH, 0, 0, 0);
		s->instructions[(size_t) atomic * REGEX_WORDS + 2] = s->count;
	}
}

static void
emit_node(Parser *s, const Node *node)
{
	uint32_t at;
	uint32_t jump;

	if (s->code != DS_OK)
		return;
	switch (node->kind)
	{
		case NODE_EMPTY:
			break;
		case NODE_ONE:
		case NODE_TEST:
			emit(s, node->op, node->argument, 0, 0);
			break;
		case NODE_LIST:
			emit_node(s, node->a);
			emit_node(s, node->b);
			break;
		case NODE_OR:
			at = emit(s, REGEX_SPLIT, s->count + 1, 0, 0);
			emit_node(s, node->a);
			jump = emit(s, REGEX_JUMP, 0, 0, 0);
			s->instructions[(size_t) at * REGEX_WORDS + 2] = s->count;
			emit_node(s, node->b);
			s->instructions[(size_t) jump * REGEX_WORDS + 1] = s->count;
			break;
		case NODE_REPEAT:
			emit_repeat(s, node);
			break;
		case NODE_LOOK:
			at = emit(s, node->op, node->argument, 0, 0);
			emit_node(s, node->a);
			if (node->op == REGEX_BEHIND)
				break;
			emit(s, REGEX_MATCH, 0, 0, 0);
			s->instructions[(size_t) at * REGEX_WORDS + 2] = s->count;
			break;
	}
}

DsCode
ds_regex_compile(const char *pattern, size_t length, DsArena *arena, unsigned char **program,
				 size_t *size, DsStatus *status)
{
	Parser s = {.pattern = pattern,
				.length = length,
				.p = (const unsigned char *) pattern,
				.end = (const unsigned char *) pattern + length,
				.arena = arena,
				.status = status};
	Node *node;
	size_t words;
	uint32_t first_set;

	if (length > 8192)
		return ds_fail(status, DS_UNSUPPORTED, "a pattern of %zu bytes is too long", length);
	node = regex_parse(&s);
	if (node == NULL)
		return s.code;
	s.instructions = ds_arena_zero(arena, DS_REGEX_CODE_MAX + 1, REGEX_WORDS * sizeof(uint32_t));
	if (s.instructions == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	emit_node(&s, node);
	emit(&s, REGEX_MATCH, 0, 0, 0);
	/* may_begin() and REPEAT look two instructions on */
	emit(&s, REGEX_MATCH, 0, 0, 0);
	if (s.code != DS_OK)
		return s.code;
	first_set = REGEX_HEAD + s.count * REGEX_WORDS;
	words = first_set + s.set_words;
	*size = words * 4;
	*program = ds_arena_alloc(arena, words, 4);
	if (*program == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	ds_write_u32(*program, s.count);
	ds_write_u32(*program + 4, (uint32_t) words);
	for (uint32_t i = 0; i < s.count * REGEX_WORDS; i++)
	{
		uint32_t value = s.instructions[i];

		if (i % REGEX_WORDS == 1 && s.instructions[i - 1] == REGEX_SET)
			value += first_set;
		ds_write_u32(*program + (REGEX_HEAD + (size_t) i) * 4, value);
	}
	for (size_t i = 0; i < s.set_words; i++)
		ds_write_u32(*program + (first_set + i) * 4, s.sets[i]);
	return DS_OK;
}
