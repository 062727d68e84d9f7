/*
 * regex_parse.c
 *		From the text of a pattern to a tree.
 *
 * What a pattern means here is what it means to Oniguruma in Ruby's syntax: ^
 * and $ match at every line, \s \d \w are those of Unicode, {n,m}+ is a
 * repetition of a repetition, not a possessive one.
 */
#include "text/regex_private.h"

#include <string.h>

#include "text/blob.h"
#include "text/forms.h"
#include "text/unicode.h"
#include "text/utf8.h"

#define MAX_REPEAT 1000
#define MAX_DEPTH 32

Node *
regex_refuse(Parser *s, DsCode code, const char *what)
{
	if (s->code == DS_OK)
		s->code = ds_fail(s->status, code, "pattern \"%.*s\": %s at byte %zu",
						  (int) (s->length < 200 ? s->length : 200), s->pattern, what,
						  (size_t) (s->p - (const unsigned char *) s->pattern));
	return NULL;
}

static Node *
make(Parser *s, NodeKind kind)
{
	Node *node = ds_arena_zero(s->arena, 1, sizeof(Node));

	if (node == NULL)
		return regex_refuse(s, DS_OUT_OF_MEMORY, "out of memory");
	node->kind = kind;
	return node;
}

static bool
add_words(Parser *s, const uint32_t *words, size_t n)
{
	if (s->set_words + n > s->set_capacity)
	{
		size_t capacity = 2 * s->set_capacity + n + 64;
		uint32_t *larger = ds_arena_alloc(s->arena, capacity, sizeof(*larger));

		if (larger == NULL)
		{
			regex_refuse(s, DS_OUT_OF_MEMORY, "out of memory");
			return false;
		}
		if (s->set_words > 0)
			memcpy(larger, s->sets, s->set_words * sizeof(*larger));
		s->sets = larger;
		s->set_capacity = capacity;
	}
	memcpy(s->sets + s->set_words, words, n * sizeof(*words));
	s->set_words += n;
	return true;
}

/*
 * Sets
 */

typedef struct Set
{
	uint32_t categories;
	uint32_t classes;
	uint32_t ranges[512];
	uint32_t n; /* ranges */
} Set;

static bool
add_range(Parser *s, Set *set, uint32_t first, uint32_t last)
{
	if (set->n >= 256)
	{
		regex_refuse(s, DS_UNSUPPORTED, "a class with too many parts");
		return false;
	}
	set->ranges[2 * set->n] = first;
	set->ranges[2 * set->n++ + 1] = last;
	return true;
}

static Node *
finish_set(Parser *s, const Set *set, bool negated)
{
	Node *node = make(s, NODE_ONE);
	uint32_t words[SET_HEAD] = {0};
	unsigned char bytes[(SET_HEAD + 512) * 4];

	if (node == NULL)
		return NULL;
	words[SET_NEGATED] = negated;
	words[SET_CATEGORIES] = set->categories;
	words[SET_CLASSES] = set->classes | (s->fold ? SET_CLASS_FOLD : 0);
	words[SET_RANGES] = set->n;
	for (uint32_t i = 0; i < SET_HEAD; i++)
		ds_write_u32(bytes + (size_t) i * 4, words[i]);
	for (uint32_t i = 0; i < 2 * set->n; i++)
		ds_write_u32(bytes + (SET_HEAD + (size_t) i) * 4, set->ranges[i]);
	for (uint32_t c = 0; c < 128; c++)
		if (regex_set_contains(bytes, c) != negated)
			words[SET_ASCII + c / 32] |= UINT32_C(1) << (c % 32);
	node->op = REGEX_SET;
	node->argument = (uint32_t) s->set_words;
	if (!add_words(s, words, SET_HEAD) || !add_words(s, set->ranges, 2 * (size_t) set->n))
		return NULL;
	return node;
}

static const struct
{
	const char *name;
	uint32_t categories;
} properties[] = {
	{"L", DS_LETTER},
	{"Lu", DS_CATEGORY(DS_LU)},
	{"Ll", DS_CATEGORY(DS_LL)},
	{"Lt", DS_CATEGORY(DS_LT)},
	{"Lm", DS_CATEGORY(DS_LM)},
	{"Lo", DS_CATEGORY(DS_LO)},
	{"M", DS_MARK},
	{"Mn", DS_CATEGORY(DS_MN)},
	{"Mc", DS_CATEGORY(DS_MC)},
	{"Me", DS_CATEGORY(DS_ME)},
	{"N", DS_NUMBER},
	{"Nd", DS_CATEGORY(DS_ND)},
	{"Nl", DS_CATEGORY(DS_NL)},
	{"No", DS_CATEGORY(DS_NO)},
	{"P", DS_PUNCTUATION},
	{"Pc", DS_CATEGORY(DS_PC)},
	{"Pd", DS_CATEGORY(DS_PD)},
	{"Ps", DS_CATEGORY(DS_PS)},
	{"Pe", DS_CATEGORY(DS_PE)},
	{"Pi", DS_CATEGORY(DS_PI)},
	{"Pf", DS_CATEGORY(DS_PF)},
	{"Po", DS_CATEGORY(DS_PO)},
	{"S", DS_SYMBOL},
	{"Sm", DS_CATEGORY(DS_SM)},
	{"Sc", DS_CATEGORY(DS_SC)},
	{"Sk", DS_CATEGORY(DS_SK)},
	{"So", DS_CATEGORY(DS_SO)},
	{"Z", DS_SEPARATOR},
	{"Zs", DS_CATEGORY(DS_ZS)},
	{"Zl", DS_CATEGORY(DS_ZL)},
	{"Zp", DS_CATEGORY(DS_ZP)},
	{"C", DS_OTHER},
	{"Cc", DS_CATEGORY(DS_CC)},
	{"Cf", DS_CATEGORY(DS_CF)},
	{"Cn", DS_CATEGORY(DS_CN)},
	{"Co", DS_CATEGORY(DS_CO)},
	{"Cs", DS_CATEGORY(DS_CS)},
};
#define ALL_CATEGORIES ((UINT32_C(1) << DS_CATEGORIES) - 1)

/* {Lu} behind \p */
static bool
parse_property(Parser *s, bool negated, Set *set)
{
	char name[16];
	size_t n = 0;
	const unsigned char *p = s->p;

	if (p < s->end && *p == '{')
		p++;
	else
	{
		regex_refuse(s, DS_UNSUPPORTED, "a property without braces");
		return false;
	}
	if (p < s->end && *p == '^')
	{
		negated = !negated;
		p++;
	}
	while (p < s->end && *p != '}' && n < sizeof(name) - 1)
		name[n++] = (char) *p++;
	name[n] = 0;
	if (p >= s->end || *p != '}')
	{
		regex_refuse(s, DS_UNSUPPORTED, "an unknown property");
		return false;
	}
	if (strcmp(name, "Han") == 0)
	{
		set->classes |= negated ? SET_CLASS_NOT_HAN : SET_CLASS_HAN;
		s->p = p + 1;
		return true;
	}
	for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++)
		if (strcmp(name, properties[i].name) == 0)
		{
			set->categories |=
				negated ? ALL_CATEGORIES & ~properties[i].categories : properties[i].categories;
			s->p = p + 1;
			return true;
		}
	regex_refuse(s, DS_UNSUPPORTED, "an unknown property");
	return false;
}

static bool
parse_hex(Parser *s, size_t digits, bool braces, uint32_t *c)
{
	size_t n = 0;

	*c = 0;
	if (braces)
		s->p++;
	while (s->p < s->end && n < digits && *s->p < 0x80 &&
		   strchr("0123456789abcdefABCDEF", *s->p) != NULL && *s->p != 0)
	{
		uint32_t digit = *s->p <= '9' ? *s->p - (uint32_t) '0' : (*s->p | 32u) - 'a' + 10;

		*c = *c << 4 | digit;
		s->p++;
		n++;
	}
	if (n == 0 || *c > 0x10FFFF || (braces && (s->p >= s->end || *s->p++ != '}')))
	{
		regex_refuse(s, DS_UNSUPPORTED, "a bad hexadecimal escape");
		return false;
	}
	return true;
}

/*
 * The escape behind a backslash that stands for characters, in a class or
 * outside: one (*single, true) or a set.  s->p is at the letter.
 */
static bool
parse_escape(Parser *s, Set *set, bool *is_single, uint32_t *single)
{
	size_t length;
	uint32_t c;

	*is_single = true;
	if (s->p >= s->end)
	{
		regex_refuse(s, DS_BAD_DATA, "a backslash at the end");
		return false;
	}
	c = ds_utf8_read(s->p, s->end, &length);
	s->p += length;
	switch (c)
	{
		case 'n':
			*single = '\n';
			return true;
		case 'r':
			*single = '\r';
			return true;
		case 't':
			*single = '\t';
			return true;
		case 'f':
			*single = '\f';
			return true;
		case 'v':
			*single = '\v';
			return true;
		case 'a':
			*single = 7;
			return true;
		case 'e':
			*single = 27;
			return true;
		case 'x':
			return parse_hex(s, s->p < s->end && *s->p == '{' ? 8 : 2,
							 s->p < s->end && *s->p == '{', single);
		case 'u':
			return parse_hex(s, 4, false, single);
		default:
			break;
	}
	*is_single = false;
	switch (c)
	{
		case 's':
			set->classes |= SET_CLASS_SPACE;
			return true;
		case 'S':
			set->classes |= SET_CLASS_NOT_SPACE;
			return true;
		case 'w':
			set->classes |= SET_CLASS_WORD;
			return true;
		case 'W':
			set->classes |= SET_CLASS_NOT_WORD;
			return true;
		case 'd':
			set->categories |= DS_CATEGORY(DS_ND);
			return true;
		case 'D':
			set->categories |= ALL_CATEGORIES & ~DS_CATEGORY(DS_ND);
			return true;
		case 'h':
			return add_range(s, set, '0', '9') && add_range(s, set, 'a', 'f') &&
				   add_range(s, set, 'A', 'F');
		case 'p':
		case 'P':
			return parse_property(s, c == 'P', set);
		default:
			break;
	}
	if (c < 0x80 && ds_is_word(c))
	{
		s->p -= length;
		regex_refuse(s, DS_UNSUPPORTED, "an unknown escape");
		return false;
	}
	*is_single = true;
	*single = c;
	return true;
}

/* s->p is behind the bracket */
static Node *
parse_class(Parser *s)
{
	Set set = {0};
	bool negated = s->p < s->end && *s->p == '^';
	bool first = true;

	if (negated)
		s->p++;
	for (;; first = false)
	{
		size_t length;
		uint32_t c;
		uint32_t last;
		bool is_single = true;

		if (s->p >= s->end)
			return regex_refuse(s, DS_BAD_DATA, "a class does not end");
		c = ds_utf8_read(s->p, s->end, &length);
		if (c == ']' && !first)
		{
			s->p++;
			break;
		}
		if (c == '[')
			return regex_refuse(s, DS_UNSUPPORTED, "a class inside a class");
		if (c == '&' && s->end - s->p > 1 && s->p[1] == '&')
			return regex_refuse(s, DS_UNSUPPORTED, "an intersection of classes");
		s->p += length;
		if (c == '\\')
		{
			if (s->p < s->end && *s->p == 'b')
			{
				s->p++;
				c = '\b';
			}
			else if (!parse_escape(s, &set, &is_single, &c))
				return NULL;
		}
		if (!is_single)
			continue;
		last = c;
		if (s->end - s->p > 1 && *s->p == '-' && s->p[1] != ']')
		{
			s->p++;
			last = ds_utf8_read(s->p, s->end, &length);
			s->p += length;
			if (last == '[')
				return regex_refuse(s, DS_UNSUPPORTED, "a class inside a class");
			if (last == '\\' && (!parse_escape(s, &set, &is_single, &last) || !is_single))
				return regex_refuse(s, DS_UNSUPPORTED, "a range that ends in a class");
			if (last < c)
				return regex_refuse(s, DS_BAD_DATA, "an empty range");
		}
		if (!add_range(s, &set, c, last))
			return NULL;
	}
	return finish_set(s, &set, negated);
}

/*
 * Nodes
 */

static Node *parse_alternatives(Parser *s);

static Node *
parse_group(Parser *s)
{
	bool fold = s->fold;
	Node *look = NULL;
	Node *body;

	if (++s->depth > MAX_DEPTH)
		return regex_refuse(s, DS_UNSUPPORTED, "groups are nested too deep");
	if (s->p < s->end && *s->p == '?')
	{
		static const struct
		{
			const char *text;
			RegexOp op;
			uint32_t negative;
		} kinds[] = {{"?:", REGEX_OPS, 0},	  {"?i:", REGEX_OPS, 1},   {"?=", REGEX_LOOK, 0},
					 {"?!", REGEX_LOOK, 1},	  {"?>", REGEX_ATOMIC, 0}, {"?<=", REGEX_BEHIND, 0},
					 {"?<!", REGEX_BEHIND, 1}};
		size_t i = 0;

		while (i < 7 && ((size_t) (s->end - s->p) < strlen(kinds[i].text) ||
						 memcmp(s->p, kinds[i].text, strlen(kinds[i].text)) != 0))
			i++;
		if (i == 7)
			return regex_refuse(s, DS_UNSUPPORTED, "an unknown kind of group");
		s->p += strlen(kinds[i].text);
		if (kinds[i].op != REGEX_OPS)
		{
			look = make(s, NODE_LOOK);
			if (look == NULL)
				return NULL;
			look->op = kinds[i].op;
			look->argument = kinds[i].negative;
		}
		else if (kinds[i].negative)
			s->fold = true;
	}
	body = parse_alternatives(s);
	if (body == NULL)
		return NULL;
	if (s->p >= s->end)
		return regex_refuse(s, DS_BAD_DATA, "a group does not end");
	s->p++;
	s->depth--;
	s->fold = fold;
	if (look == NULL)
		return body;
	if (look->op == REGEX_BEHIND && body->kind != NODE_ONE)
		return regex_refuse(s, DS_UNSUPPORTED, "a look-behind of more than one character");
	look->a = body;
	look->can_be_empty = look->op != REGEX_ATOMIC || body->can_be_empty;
	return look;
}

static Node *
test_node(Parser *s, RegexOp op, uint32_t argument)
{
	Node *node = make(s, NODE_TEST);

	if (node != NULL)
	{
		node->op = op;
		node->argument = argument;
		node->can_be_empty = true;
	}
	return node;
}

static Node *
character_node(Parser *s, uint32_t c)
{
	Node *node = make(s, NODE_ONE);

	if (node != NULL)
	{
		node->op = s->fold ? REGEX_FOLD : REGEX_CHAR;
		node->argument = s->fold ? ds_fold_case(c) : c;
	}
	return node;
}

static Node *
parse_atom(Parser *s)
{
	Set set = {0};
	size_t length;
	bool is_single;
	uint32_t c = ds_utf8_read(s->p, s->end, &length);
	Node *node;

	switch (c)
	{
		case '(':
			s->p++;
			return parse_group(s);
		case '[':
			s->p++;
			return parse_class(s);
		case '.':
			s->p++;
			node = make(s, NODE_ONE);
			if (node != NULL)
				node->op = REGEX_ANY;
			return node;
		case '^':
			s->p++;
			return test_node(s, REGEX_LINE_BEGIN, 0);
		case '$':
			s->p++;
			return test_node(s, REGEX_LINE_END, 0);
		case '*':
		case '+':
		case '?':
			return regex_refuse(s, DS_BAD_DATA, "nothing to repeat");
		default:
			break;
	}
	s->p += length;
	if (c != '\\')
		return character_node(s, c);
	if (s->p < s->end)
	{
		static const char letters[] = "AzZbB";
		static const RegexOp ops[] = {REGEX_TEXT_BEGIN, REGEX_TEXT_END, REGEX_TEXT_END_LINE,
									  REGEX_BOUNDARY, REGEX_BOUNDARY};
		const char *letter = *s->p != 0 ? strchr(letters, *s->p) : NULL;

		if (letter != NULL)
		{
			s->p++;
			return test_node(s, ops[letter - letters], *letter == 'B');
		}
	}
	if (!parse_escape(s, &set, &is_single, &c))
		return NULL;
	return is_single ? character_node(s, c) : finish_set(s, &set, false);
}

/* {n}, {n,}, {,m}, {n,m}; false, and nothing read, when it is something else */
static bool
parse_counts(Parser *s, uint32_t *least, uint32_t *most)
{
	const unsigned char *p = s->p + 1;
	uint32_t numbers[2] = {0, 0};
	bool given[2] = {false, false};
	int which = 0;

	for (; p < s->end && *p != '}'; p++)
	{
		if (*p == ',' && which == 0)
			which = 1;
		else if (*p >= '0' && *p <= '9' && numbers[which] <= MAX_REPEAT)
		{
			numbers[which] = numbers[which] * 10 + (*p - '0');
			given[which] = true;
		}
		else
			return false;
	}
	if (p >= s->end || (!given[0] && !given[1]))
		return false;
	*least = numbers[0];
	*most = which == 0 ? numbers[0] : given[1] ? numbers[1] : INFINITE;
	s->p = p + 1;
	return true;
}

static Node *
repeat(Parser *s, Node *body, uint32_t least, uint32_t most, uint32_t mode)
{
	Node *node;

	if (least > MAX_REPEAT || (most != INFINITE && (most > MAX_REPEAT || most < least)))
		return regex_refuse(s, DS_UNSUPPORTED, "a repetition like this");
	if (body->can_be_empty)
		return regex_refuse(s, DS_UNSUPPORTED, "a repetition of what can be empty");
	if (most == 0)
	{
		node = make(s, NODE_EMPTY);
		if (node != NULL)
			node->can_be_empty = true;
		return node;
	}
	node = make(s, NODE_REPEAT);
	if (node == NULL)
		return NULL;
	node->a = body;
	node->least = least;
	node->most = most;
	node->mode = mode;
	node->can_be_empty = least == 0;
	return node;
}

static Node *
parse_repeated(Parser *s)
{
	Node *node = parse_atom(s);
	int levels = 0;

	while (node != NULL && s->p < s->end)
	{
		uint32_t least = 0;
		uint32_t most = INFINITE;
		uint32_t mode = REGEX_GREEDY;
		bool counted = false;

		if (*s->p == '+')
			least = 1;
		else if (*s->p == '?')
			most = 1;
		else if (*s->p == '{')
		{
			/* a brace that is no repetition is a character */
			if (!parse_counts(s, &least, &most))
				break;
			counted = true;
		}
		else if (*s->p != '*')
			break;
		if (!counted)
			s->p++;
		if (++levels > 4)
			return regex_refuse(s, DS_UNSUPPORTED, "repetitions of repetitions");
		if (s->p < s->end && *s->p == '?' && !(counted && least == most))
		{
			mode = REGEX_LAZY;
			s->p++;
		}
		else if (s->p < s->end && *s->p == '+' && !counted)
		{
			mode = REGEX_POSSESSIVE;
			s->p++;
		}
		node = repeat(s, node, least, most, mode);
	}
	return node;
}

static Node *
parse_alternatives(Parser *s)
{
	Node *all = NULL;
	Node **place = &all;

	for (;;)
	{
		Node *list = make(s, NODE_EMPTY);
		Node *either;

		if (list == NULL)
			return NULL;
		list->can_be_empty = true;
		while (s->p < s->end && *s->p != '|' && *s->p != ')')
		{
			Node *next = parse_repeated(s);
			Node *both;

			if (next == NULL)
				return NULL;
			if (list->kind == NODE_EMPTY)
			{
				list = next;
				continue;
			}
			both = make(s, NODE_LIST);
			if (both == NULL)
				return NULL;
			both->a = list;
			both->b = next;
			both->can_be_empty = list->can_be_empty && next->can_be_empty;
			list = both;
		}
		*place = list;
		if (s->p >= s->end || *s->p != '|')
			break;
		s->p++;
		either = make(s, NODE_OR);
		if (either == NULL)
			return NULL;
		either->a = list;
		*place = either;
		place = &either->b;
	}
	/* the alternatives hang on each other's right side */
	for (bool changed = true; changed;)
	{
		changed = false;
		for (Node *node = all; node->kind == NODE_OR; node = node->b)
			if (!node->can_be_empty && (node->a->can_be_empty || node->b->can_be_empty))
				node->can_be_empty = changed = true;
	}
	return all;
}

Node *
regex_parse(Parser *s)
{
	Node *node;

	if (s->length >= 4 && memcmp(s->pattern, "(?i)", 4) == 0)
	{
		s->fold = true;
		s->p += 4;
	}
	node = parse_alternatives(s);
	if (node != NULL && s->p < s->end)
		return regex_refuse(s, DS_BAD_DATA, "a group ends that has not begun");
	return node;
}
