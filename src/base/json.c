/*
 * json.c
 *		A strict JSON reader without a tree.
 *
 * One recursive descent checks the text (check_value); afterwards a value is
 * skipped by looking at quotes and brackets alone.
 */
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

typedef struct Checker
{
	const char *start;
	const char *end;
	const char *what;
	DsStatus *status;
} Checker;

static const char *
skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
		p++;
	return p;
}

static const char *
bad(const Checker *c, const char *p, const char *reason)
{
	ds_fail(c->status, DS_BAD_DATA, "%s is not valid JSON: %s at byte %zu", c->what, reason,
			(size_t) (p - c->start));
	return NULL;
}

/* four hexadecimal digits, or -1 */
static int32_t
hex4(const char *p, const char *end)
{
	int32_t value = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		int digit;

		if (p[i] >= '0' && p[i] <= '9')
			digit = p[i] - '0';
		else if ((p[i] | 32) >= 'a' && (p[i] | 32) <= 'f')
			digit = (p[i] | 32) - 'a' + 10;
		else
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

/* bytes of the well-formed character at p, 0 when it is none */
static size_t
character_size(const char *p, const char *end)
{
	const unsigned char *u = (const unsigned char *) p;
	size_t left = (size_t) (end - p);

	if (u[0] >= 0xC2 && u[0] < 0xE0)
		return left >= 2 && (u[1] & 0xC0) == 0x80 ? 2 : 0;
	if (u[0] >= 0xE0 && u[0] < 0xF0)
		return left >= 3 && (u[1] & 0xC0) == 0x80 && (u[2] & 0xC0) == 0x80 &&
					   !(u[0] == 0xE0 && u[1] < 0xA0) && !(u[0] == 0xED && u[1] >= 0xA0)
				   ? 3
				   : 0;
	if (u[0] >= 0xF0 && u[0] < 0xF5)
		return left >= 4 && (u[1] & 0xC0) == 0x80 && (u[2] & 0xC0) == 0x80 &&
					   (u[3] & 0xC0) == 0x80 && !(u[0] == 0xF0 && u[1] < 0x90) &&
					   !(u[0] == 0xF4 && u[1] >= 0x90)
				   ? 4
				   : 0;
	return 0;
}

/* p is behind the opening quote; returns what is behind the closing one */
static const char *
check_string(const Checker *c, const char *p)
{
	for (;;)
	{
		unsigned char byte;

		if (p >= c->end)
			return bad(c, p, "a string does not end");
		byte = (unsigned char) *p;
		if (byte == '"')
			return p + 1;
		if (byte < 0x20)
			return bad(c, p, "a control character in a string");
		if (byte >= 0x80)
		{
			size_t n = character_size(p, c->end);

			if (n == 0)
				return bad(c, p, "bytes that are not UTF-8");
			p += n;
		}
		else if (byte != '\\')
			p++;
		else if (c->end - p < 2)
			return bad(c, p, "a string does not end");
		else if (p[1] == 'u')
		{
			int32_t unit = hex4(p + 2, c->end);

			if (unit < 0)
				return bad(c, p, "a bad \\u escape");
			if (unit >= 0xDC00 && unit <= 0xDFFF)
				return bad(c, p, "a lone surrogate");
			if (unit >= 0xD800 && unit <= 0xDBFF)
			{
				int32_t low = -1;

				if (c->end - p >= 12 && p[6] == '\\' && p[7] == 'u')
					low = hex4(p + 8, c->end);
				if (low < 0xDC00 || low > 0xDFFF)
					return bad(c, p, "a lone surrogate");
				p += 6;
			}
			p += 6;
		}
		else if (p[1] != 0 && strchr("\"\\/bfnrt", p[1]) != NULL)
			p += 2;
		else
			return bad(c, p, "a bad escape");
	}
}

static const char *
skip_digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

static const char *
check_number(const Checker *c, const char *p)
{
	const char *first = p;
	const char *digits;

	if (*p == '-')
		p++;
	digits = p;
	p = skip_digits(p, c->end);
	if (p == digits || (*digits == '0' && p - digits > 1))
		return bad(c, first, "a bad number");
	if (p < c->end && *p == '.')
	{
		digits = ++p;
		p = skip_digits(p, c->end);
		if (p == digits)
			return bad(c, first, "a bad number");
	}
	if (p < c->end && (*p == 'e' || *p == 'E'))
	{
		p++;
		if (p < c->end && (*p == '+' || *p == '-'))
			p++;
		digits = p;
		p = skip_digits(p, c->end);
		if (p == digits)
			return bad(c, first, "a bad number");
	}
	if (p - first > DS_JSON_NUMBER_LENGTH)
		return bad(c, first, "a number that is too long");
	return p;
}

static const char *
check_word(const Checker *c, const char *p, const char *word)
{
	size_t length = strlen(word);

	if ((size_t) (c->end - p) < length || memcmp(p, word, length) != 0)
		return bad(c, p, "an unknown word");
	return p + length;
}

static const char *
check_value(const Checker *c, const char *p, int depth)
{
	char close;

	if (p >= c->end)
		return bad(c, p, "a value is missing");
	switch (*p)
	{
		case '"':
			return check_string(c, p + 1);
		case 't':
			return check_word(c, p, "true");
		case 'f':
			return check_word(c, p, "false");
		case 'n':
			return check_word(c, p, "null");
		case '{':
			close = '}';
			break;
		case '[':
			close = ']';
			break;
		default:
			return check_number(c, p);
	}
	if (depth >= DS_JSON_DEPTH)
		return bad(c, p, "values are nested too deep");
	p = skip_space(p + 1, c->end);
	if (p < c->end && *p == close)
		return p + 1;
	for (;;)
	{
		if (close == '}')
		{
			if (p >= c->end || *p != '"')
				return bad(c, p, "a key is missing");
			p = check_string(c, p + 1);
			if (p == NULL)
				return NULL;
			p = skip_space(p, c->end);
			if (p >= c->end || *p != ':')
				return bad(c, p, "a colon is missing");
			p = skip_space(p + 1, c->end);
		}
		p = check_value(c, p, depth + 1);
		if (p == NULL)
			return NULL;
		p = skip_space(p, c->end);
		if (p < c->end && *p == close)
			return p + 1;
		if (p >= c->end || *p != ',')
			return bad(c, p, close == '}' ? "an object does not end" : "an array does not end");
		p = skip_space(p + 1, c->end);
	}
}

DsCode
ds_json_parse(const char *text, size_t length, const char *what, DsJson *root, DsStatus *status)
{
	Checker c = {text, text + length, what, status};
	const char *p = skip_space(text, c.end);

	root->at = p;
	root->end = c.end;
	p = check_value(&c, p, 0);
	if (p == NULL)
		return DS_BAD_DATA;
	p = skip_space(p, c.end);
	if (p < c.end)
	{
		bad(&c, p, "more follows the value");
		return DS_BAD_DATA;
	}
	return DS_OK;
}

DsJsonKind
ds_json_kind(DsJson value)
{
	if (value.at == NULL)
		return DS_JSON_ABSENT;
	switch (*value.at)
	{
		case '"':
			return DS_JSON_STRING;
		case '{':
			return DS_JSON_OBJECT;
		case '[':
			return DS_JSON_ARRAY;
		case 't':
		case 'f':
			return DS_JSON_BOOL;
		case 'n':
			return DS_JSON_NULL;
		default:
			return DS_JSON_NUMBER;
	}
}

/* p is at the opening quote */
static const char *
skip_string(const char *p, const char *end)
{
	p++;
	while (p < end && *p != '"')
		p += *p == '\\' ? 2 : 1;
	return p < end ? p + 1 : end;
}

const char *
ds_json_skip(DsJson value)
{
	const char *p = value.at;
	const char *end = value.end;
	int depth = 0;

	do
	{
		if (*p == '"')
		{
			p = skip_string(p, end);
			continue;
		}
		if (*p == '{' || *p == '[')
			depth++;
		else if (*p == '}' || *p == ']')
			depth--;
		else if (depth == 0)
		{
			/* a number or a word */
			while (p < end && strchr(",]} \n\t\r", *p) == NULL)
				p++;
			return p;
		}
		p++;
	} while (depth > 0 && p < end);
	return p;
}

DsJsonItem
ds_json_items(DsJson container)
{
	DsJsonItem item = {{NULL, NULL}, {NULL, NULL}, NULL};
	DsJsonKind kind = ds_json_kind(container);

	if (kind == DS_JSON_OBJECT || kind == DS_JSON_ARRAY)
	{
		item.value.end = container.end;
		item.next = container.at;
		if (kind == DS_JSON_OBJECT)
			item.key = container; /* that it is an object, for the first ds_json_next() */
	}
	return item;
}

bool
ds_json_next(DsJsonItem *item)
{
	const char *end = item->value.end;
	const char *p = item->next;
	bool object = item->key.at != NULL;

	if (p == NULL)
		return false;
	/* at the bracket that opens, or behind the value before */
	if (item->value.at != NULL)
		p = ds_json_skip(item->value);
	else
		p++;
	p = skip_space(p, end);
	if (item->value.at != NULL && p < end && *p == ',')
		p = skip_space(p + 1, end);
	if (p >= end || *p == ']' || *p == '}')
	{
		item->next = NULL;
		return false;
	}
	if (object)
	{
		item->key.at = p;
		item->key.end = end;
		p = skip_space(skip_string(p, end), end);
		p = skip_space(p + 1, end); /* the colon */
	}
	item->value.at = p;
	return true;
}

void
ds_json_members(DsJson object, const DsJsonWanted *wanted, size_t count)
{
	for (size_t i = 0; i < count; i++)
		wanted[i].value->at = wanted[i].value->end = NULL;
	if (ds_json_kind(object) != DS_JSON_OBJECT)
		return;
	for (DsJsonItem item = ds_json_items(object); ds_json_next(&item);)
		for (size_t i = 0; i < count; i++)
			if (ds_json_string_is(item.key, wanted[i].key))
				*wanted[i].value = item.value;
}

DsJson
ds_json_member(DsJson object, const char *key)
{
	DsJson value;
	DsJsonWanted wanted = {key, &value};

	ds_json_members(object, &wanted, 1);
	return value;
}

size_t
ds_json_string_size(DsJson string)
{
	/* every escape is longer than what it stands for */
	return (size_t) (skip_string(string.at, string.end) - string.at) - 2;
}

/* The next character of a string that has been checked, as at most 4 bytes; returns what follows */
static const char *
next_character(const char *p, char *out, size_t *length)
{
	static const char names[] = "bfnrt";
	static const char values[] = "\b\f\n\r\t";
	uint32_t c;
	const char *name;

	*length = 1;
	if (*p != '\\')
	{
		out[0] = *p;
		return p + 1;
	}
	if (p[1] != 'u')
	{
		name = strchr(names, p[1]);
		out[0] = name != NULL ? values[name - names] : p[1];
		return p + 2;
	}
	c = (uint32_t) hex4(p + 2, p + 6);
	p += 6;
	if (c >= 0xD800 && c <= 0xDBFF)
	{
		c = 0x10000 + ((c - 0xD800) << 10) + ((uint32_t) hex4(p + 2, p + 6) - 0xDC00);
		p += 6;
	}
	if (c < 0x80)
		out[0] = (char) c;
	else if (c < 0x800)
	{
		out[0] = (char) (0xC0 | c >> 6);
		out[1] = (char) (0x80 | (c & 0x3F));
		*length = 2;
	}
	else
	{
		size_t n = c < 0x10000 ? 3 : 4;

		*length = n;
		for (size_t i = n - 1; i > 0; i--, c >>= 6)
			out[i] = (char) (0x80 | (c & 0x3F));
		out[0] = (char) ((n == 3 ? 0xE0 : 0xF0) | c);
	}
	return p;
}

size_t
ds_json_string_copy(DsJson string, char *out)
{
	const char *p = string.at + 1;
	size_t n = 0;

	while (*p != '"')
	{
		char character[4];
		size_t length;

		p = next_character(p, character, &length);
		for (size_t i = 0; i < length; i++)
			out[n++] = character[i];
	}
	return n;
}

bool
ds_json_string_is(DsJson string, const char *literal)
{
	const char *p;

	if (ds_json_kind(string) != DS_JSON_STRING)
		return false;
	p = string.at + 1;
	while (*p != '"')
	{
		char character[4];
		size_t length;

		p = next_character(p, character, &length);
		for (size_t i = 0; i < length; i++)
			if (*literal == 0 || *literal++ != character[i])
				return false;
	}
	return *literal == 0;
}

bool
ds_json_bool(DsJson value, bool *result)
{
	if (ds_json_kind(value) != DS_JSON_BOOL)
		return false;
	*result = *value.at == 't';
	return true;
}

/* strtod() reads the decimal point of the locale; servers and tests run with LC_NUMERIC = C */
bool
ds_json_double(DsJson value, double *result)
{
	char copy[DS_JSON_NUMBER_LENGTH + 1];
	size_t length;

	if (ds_json_kind(value) != DS_JSON_NUMBER)
		return false;
	length = (size_t) (ds_json_skip(value) - value.at);
	if (length > DS_JSON_NUMBER_LENGTH)
		return false;
	memcpy(copy, value.at, length);
	copy[length] = 0;
	*result = strtod(copy, NULL);
	return true;
}

bool
ds_json_integer(DsJson value, int64_t *result)
{
	const char *p = value.at;
	const char *end;
	bool negative;
	uint64_t sum = 0;

	if (ds_json_kind(value) != DS_JSON_NUMBER)
		return false;
	end = ds_json_skip(value);
	negative = *p == '-';
	if (negative)
		p++;
	for (; p < end; p++)
	{
		if (*p < '0' || *p > '9' || sum > (UINT64_C(1) << 62) / 10)
			return false;
		sum = sum * 10 + (uint64_t) (*p - '0');
	}
	*result = negative ? -(int64_t) sum : (int64_t) sum;
	return true;
}
