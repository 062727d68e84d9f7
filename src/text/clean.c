/*
 * clean.c
 *		Text cleaning.
 *
 * People write one word in many ways: "ＮＩＫＥ", "Nike", "nike ", a product title
 * pasted from a web page with its tags.  Cleaning maps these to one text, so
 * that a tokenizer need not learn each.  It goes through the text once, one
 * character at a time:
 *
 *   1. read a character (what is no UTF-8 becomes U+FFFD), or a tag or an
 *      entity of HTML
 *   2. fold its width; a halfwidth katakana and the voicing mark behind it
 *      become one character
 *   3. fold its case
 *   4. drop it when it is a control, hold it back when it is white space
 *   5. write it
 *
 * For example, with strip_html:
 *
 *     "<b>ＮＩＫＥ</b>&nbsp; Air\t Max\n"  becomes  "nike air max"
 *     "ｶﾞﾝﾀﾞﾑ"                            becomes  "ガンダム"
 *
 * Limits.  Folding is simple: one character to one, so "ß" stays "ß" and
 * nothing is composed or decomposed; who needs NFC or NFKC does it before
 * (the server has unicode_normalize).  HTML is not parsed, only stripped, in
 * one pass whose time is linear whatever the text.  Without strip_html,
 * cleaning a clean text changes nothing.
 */
#include "text/clean.h"

#include <string.h>

#include "text/unicode.h"
#include "text/utf8.h"

/* characters, some milliseconds, between two looks at the cancel callback */
#define CANCEL_CHARACTERS 65536

const DsCleanOptions ds_clean_defaults = {
	.fold_width = true,
	.fold_case = true,
	.strip_controls = true,
	.collapse_space = true,
	.strip_html = false,
};

typedef struct Entity
{
	const char *name;
	uint32_t c;
} Entity;

static const Entity entities[] = {
	{"amp", '&'},	   {"lt", '<'},		  {"gt", '>'},		 {"quot", '"'},		{"apos", '\''},
	{"nbsp", 0xA0},	   {"copy", 0xA9},	  {"reg", 0xAE},	 {"trade", 0x2122}, {"hellip", 0x2026},
	{"mdash", 0x2014}, {"ndash", 0x2013}, {"lsquo", 0x2018}, {"rsquo", 0x2019}, {"ldquo", 0x201C},
	{"rdquo", 0x201D}, {"laquo", 0xAB},	  {"raquo", 0xBB},	 {"bull", 0x2022},	{"middot", 0xB7},
	{"euro", 0x20AC},  {"pound", 0xA3},	  {"yen", 0xA5},	 {"cent", 0xA2},	{"times", 0xD7},
	{"divide", 0xF7},  {"deg", 0xB0},	  {"plusmn", 0xB1},	 {"frac12", 0xBD},	{"micro", 0xB5},
	{"sup2", 0xB2},	   {"sup3", 0xB3},	  {"ensp", 0x2002},	 {"emsp", 0x2003},	{"thinsp", 0x2009},
	{"shy", 0xAD},	   {"agrave", 0xE0},  {"aacute", 0xE1},	 {"acirc", 0xE2},	{"atilde", 0xE3},
	{"auml", 0xE4},	   {"aring", 0xE5},	  {"aelig", 0xE6},	 {"ccedil", 0xE7},	{"egrave", 0xE8},
	{"eacute", 0xE9},  {"ecirc", 0xEA},	  {"euml", 0xEB},	 {"iacute", 0xED},	{"icirc", 0xEE},
	{"ntilde", 0xF1},  {"oacute", 0xF3},  {"ocirc", 0xF4},	 {"ouml", 0xF6},	{"oslash", 0xF8},
	{"szlig", 0xDF},   {"uacute", 0xFA},  {"ucirc", 0xFB},	 {"uuml", 0xFC},	{"Auml", 0xC4},
	{"Ouml", 0xD6},	   {"Uuml", 0xDC},	  {"Eacute", 0xC9},	 {"Ccedil", 0xC7},
};

const char *
ds_clean_entity(size_t number, uint32_t *c)
{
	if (number >= sizeof(entities) / sizeof(entities[0]))
		return NULL;
	*c = entities[number].c;
	return entities[number].name;
}

/* "&" + the longest name or number that is looked at + ";" */
#define ENTITY_MAX 12

typedef struct Cleaner
{
	const DsCleanOptions *options;
	const unsigned char *p;
	const unsigned char *end;
	char *out;
	size_t used;
	size_t capacity;
	bool space; /* white space was seen and not written */
	/* searches that came to the end of the text once need not be made again */
	bool no_greater;
	bool no_quote_end;
	bool no_comment_end;
	bool no_script_end;
	bool no_style_end;
} Cleaner;

static bool
is_space(uint32_t c)
{
	if (c < 0x80)
		return c == ' ' || (c >= '\t' && c <= '\r');
	return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
		   c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static bool
is_control(uint32_t c)
{
	if (c < 0x80)
		return c < 0x20 || c == 0x7F;
	return c < 0xA0 || c == 0xAD || (c >= 0x200B && c <= 0x200F) || (c >= 0x202A && c <= 0x202E) ||
		   (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB);
}

static bool
is_letter(unsigned char c)
{
	return (unsigned) ((c | 32) - 'a') < 26;
}

/* false when the character does not fit any more */
static bool
put(Cleaner *cleaner, uint32_t c)
{
	const DsCleanOptions *options = cleaner->options;
	size_t need;

	if (options->fold_width)
		c = ds_fold_width(c);
	if (options->fold_case)
		c = ds_fold_case(c);
	if (is_space(c))
	{
		if (options->collapse_space)
		{
			cleaner->space = true;
			return true;
		}
	}
	else if (options->strip_controls && is_control(c))
		return true;
	need = ds_utf8_size(c);
	if (cleaner->space && cleaner->used > 0)
		need++;
	if (need > cleaner->capacity - cleaner->used)
		return false;
	if (cleaner->space && cleaner->used > 0)
		cleaner->out[cleaner->used++] = ' ';
	cleaner->space = false;
	cleaner->used += ds_utf8_write(c, cleaner->out + cleaner->used);
	return true;
}

/* The first place in p .. end where the text goes on with word (lower case), or NULL */
static const unsigned char *
find(const unsigned char *p, const unsigned char *end, const char *word)
{
	size_t n = strlen(word);

	for (; (size_t) (end - p) >= n; p++)
	{
		size_t i = 0;

		while (i < n && (is_letter(p[i]) ? p[i] | 32 : p[i]) == (unsigned char) word[i])
			i++;
		if (i == n)
			return p;
	}
	return NULL;
}

/* find(), but when a search was in vain once it is not made again */
static const unsigned char *
find_once(const unsigned char *p, const unsigned char *end, const char *word, bool *in_vain)
{
	const unsigned char *found = *in_vain ? NULL : find(p, end, word);

	if (found == NULL)
		*in_vain = true;
	return found;
}

/* the place behind the ">" that ends the tag that begins at p, or NULL */
static const unsigned char *
tag_end(Cleaner *cleaner, const unsigned char *p)
{
	unsigned char quote = 0;

	if (cleaner->no_greater)
		return NULL;
	/* a ">" within quotes is none, but a quote that never ends is no quote */
	if (!cleaner->no_quote_end)
	{
		for (const unsigned char *q = p; q < cleaner->end; q++)
		{
			if (quote != 0)
				quote = *q == quote ? 0 : quote;
			else if (*q == '>')
				return q + 1;
			else if ((*q == '"' || *q == '\'') && q > p && (q[-1] == '=' || q[-1] == ' '))
				quote = *q;
		}
		cleaner->no_quote_end = true;
	}
	p = memchr(p, '>', (size_t) (cleaner->end - p));
	if (p == NULL)
	{
		cleaner->no_greater = true;
		return NULL;
	}
	return p + 1;
}

static bool
begins_with(const Cleaner *cleaner, const char *word)
{
	size_t n = strlen(word);

	return (size_t) (cleaner->end - cleaner->p) > n &&
		   find(cleaner->p, cleaner->p + n, word) != NULL && !is_letter(cleaner->p[n]);
}

/* At a "<": skip a tag, a comment, a script; false when it is just that sign */
static bool
skip_tag(Cleaner *cleaner)
{
	const unsigned char *p = cleaner->p + 1;
	const unsigned char *after;
	const unsigned char *close = NULL;

	if (p >= cleaner->end || !(is_letter(*p) || *p == '/' || *p == '!' || *p == '?'))
		return false;
	if (*p == '/' && (p + 1 >= cleaner->end || !is_letter(p[1])))
		return false;
	if (cleaner->end - p >= 3 && memcmp(p, "!--", 3) == 0)
	{
		close = find_once(p + 3, cleaner->end, "-->", &cleaner->no_comment_end);
		if (close != NULL)
		{
			cleaner->p = close + 3;
			return true;
		}
	}
	after = tag_end(cleaner, p);
	if (after == NULL)
		return false;
	if (begins_with(cleaner, "<script"))
		close = find_once(after, cleaner->end, "</script", &cleaner->no_script_end);
	else if (begins_with(cleaner, "<style"))
		close = find_once(after, cleaner->end, "</style", &cleaner->no_style_end);
	/* the end tag itself is skipped next time */
	cleaner->p = close != NULL ? close : after;
	return true;
}

/* At a "&": read an entity into *c; false when it is just that sign */
static bool
read_entity(Cleaner *cleaner, uint32_t *c)
{
	const unsigned char *p = cleaner->p + 1;
	size_t left = (size_t) (cleaner->end - p);
	const unsigned char *semicolon = memchr(p, ';', left < ENTITY_MAX ? left : ENTITY_MAX);
	size_t n;

	if (semicolon == NULL || semicolon == p)
		return false;
	n = (size_t) (semicolon - p);
	if (p[0] == '#')
	{
		bool hex = n > 1 && (p[1] | 32) == 'x';
		size_t i = hex ? 2 : 1;
		uint32_t value = 0;

		if (i == n)
			return false;
		for (; i < n; i++)
		{
			uint32_t digit;

			if ((unsigned) (p[i] - '0') < 10)
				digit = p[i] - (uint32_t) '0';
			else if (hex && (unsigned) ((p[i] | 32) - 'a') < 6)
				digit = (p[i] | 32u) - 'a' + 10;
			else
				return false;
			value = value * (hex ? 16 : 10) + digit;
			if (value > 0x10FFFF)
				value = 0x110000;
		}
		if (value == 0 || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
			value = DS_UTF8_REPLACEMENT;
		*c = value;
		cleaner->p = semicolon + 1;
		return true;
	}
	for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++)
		if (strlen(entities[i].name) == n && memcmp(entities[i].name, p, n) == 0)
		{
			*c = entities[i].c;
			cleaner->p = semicolon + 1;
			return true;
		}
	return false;
}

size_t
ds_clean_bound(size_t length)
{
	/* a byte that is no character becomes the three of U+FFFD; nothing grows by more */
	return length > SIZE_MAX / 3 ? SIZE_MAX : length * 3;
}

size_t
ds_clean(const DsCleanOptions *options, const char *text, size_t length, char *out, size_t capacity)
{
	return ds_clean_long(options, text, length, out, capacity, NULL);
}

size_t
ds_clean_long(const DsCleanOptions *options, const char *text, size_t length, char *out,
			  size_t capacity, const DsCancel *cancel)
{
	uint32_t number = 0;
	Cleaner cleaner = {.options = options, .out = out, .capacity = capacity};

	if (length == 0)
		return 0;
	cleaner.p = (const unsigned char *) text;
	cleaner.end = cleaner.p + length;
	while (cleaner.p < cleaner.end)
	{
		uint32_t c;
		size_t size;

		if (++number % CANCEL_CHARACTERS == 0 && ds_cancelled(cancel))
			break;
		if (options->strip_html && *cleaner.p == '<' && skip_tag(&cleaner))
			c = ' ';
		else if (!(options->strip_html && *cleaner.p == '&' && read_entity(&cleaner, &c)))
		{
			c = ds_utf8_read(cleaner.p, cleaner.end, &size);
			cleaner.p += size;
			if (options->fold_width && c >= 0xFF66 && c <= 0xFF9D && cleaner.p < cleaner.end)
			{
				uint32_t mark = ds_utf8_read(cleaner.p, cleaner.end, &size);
				uint32_t joined = 0;

				if (mark == 0xFF9E || mark == 0xFF9F)
					joined = ds_join_voiced(c, mark);
				if (joined != 0)
				{
					c = joined;
					cleaner.p += size;
				}
			}
		}
		if (!put(&cleaner, c))
			break;
	}
	return cleaner.used;
}
