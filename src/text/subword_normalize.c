/*
 * subword_normalize.c
 *		The normalizer's steps, over characters that know where they come from.
 *
 * Each step reads one array of characters and writes another (or changes it in
 * place, where nothing moves); what a step makes of a character comes from the
 * bytes that the character comes from.  All are linear: runs of combining
 * marks are sorted by counting, as a text may consist of nothing else.
 */
#include "text/subword_private.h"

#include <string.h>

#include "text/forms.h"
#include "text/utf8.h"

/* the forms of STEP_FORM */
#define FORM_COMPATIBILITY 1u
#define FORM_COMPOSED 2u
/* runs of marks up to this length are sorted by insertion */
#define SHORT_RUN 16

static DsCode
no_memory(DsStatus *status)
{
	return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for a text");
}

static void
swap(Characters *a, Characters *b)
{
	Characters c = *a;

	*a = *b;
	*b = c;
}

static inline void
move_character(Characters *to, size_t i, const Characters *from, size_t j)
{
	to->c[i] = from->c[j];
	to->begin[i] = from->begin[j];
	to->end[i] = from->end[j];
}

/* Stable by combining class: the characters [first, last) of text; spare has room for them */
static void
sort_marks(Characters *text, size_t first, size_t last, Characters *spare)
{
	size_t starts[257] = {0};

	if (last - first <= SHORT_RUN)
	{
		for (size_t i = first + 1; i < last; i++)
		{
			uint32_t c = text->c[i];
			uint32_t begin = text->begin[i];
			uint32_t end = text->end[i];
			uint8_t class = ds_combining_class(c);
			size_t j = i;

			for (; j > first && ds_combining_class(text->c[j - 1]) > class; j--)
				move_character(text, j, text, j - 1);
			text->c[j] = c;
			text->begin[j] = begin;
			text->end[j] = end;
		}
		return;
	}
	for (size_t i = first; i < last; i++)
		starts[ds_combining_class(text->c[i]) + 1]++;
	for (size_t i = 1; i < 257; i++)
		starts[i] += starts[i - 1];
	for (size_t i = first; i < last; i++)
		move_character(spare, starts[ds_combining_class(text->c[i])]++, text, i);
	for (size_t i = first; i < last; i++)
		move_character(text, i, spare, i - first);
}

/* Canonical composition in place (Unicode Standard Annex 15) */
static void
compose(Characters *text)
{
	size_t n = 0;
	size_t starter = SIZE_MAX;
	int last_class = -1; /* of what stands between the starter and here; -1: nothing */

	for (size_t i = 0; i < text->n; i++)
	{
		uint32_t c = text->c[i];
		uint8_t class = ds_combining_class(c);

		if (starter != SIZE_MAX && last_class < (int) class)
		{
			uint32_t composite = ds_compose(text->c[starter], c);

			if (composite != 0)
			{
				text->c[starter] = composite;
				if (text->end[i] > text->end[starter])
					text->end[starter] = text->end[i];
				if (text->begin[i] < text->begin[starter])
					text->begin[starter] = text->begin[i];
				continue;
			}
		}
		if (class == 0)
		{
			starter = n;
			last_class = -1;
		}
		else
			last_class = class;
		move_character(text, n++, text, i);
	}
	text->n = n;
}

static DsCode
normal_form(uint32_t form, Characters *text, Characters *work, DsStatus *status)
{
	/* below these characters a form changes nothing */
	uint32_t limit = form == FORM_COMPOSED ? 0x300 : form & FORM_COMPATIBILITY ? 0xA0 : 0xC0;
	size_t i = 0;

	while (i < text->n && text->c[i] < limit)
		i++;
	if (i == text->n)
		return DS_OK;
	work->n = 0;
	for (i = 0; i < text->n; i++)
	{
		uint32_t out[DS_DECOMPOSED_MAX];
		size_t n = ds_decompose(text->c[i], form & FORM_COMPATIBILITY, out);

		for (size_t j = 0; j < n; j++)
			if (!characters_add(work, out[j], text->begin[i], text->end[i]))
				return no_memory(status);
	}
	if (!characters_reserve(text, work->n))
		return no_memory(status);
	for (i = 0; i < work->n;)
	{
		size_t first = i;

		while (i < work->n && ds_combining_class(work->c[i]) != 0)
			i++;
		if (i - first > 1)
			sort_marks(work, first, i, text);
		if (i == first)
			i++;
	}
	if (form & FORM_COMPOSED)
		compose(work);
	swap(text, work);
	return DS_OK;
}

/* BertNormalizer's clean_text: what is dropped, what becomes a space */
static void
clean(Characters *text)
{
	size_t n = 0;

	for (size_t i = 0; i < text->n; i++)
	{
		uint32_t c = text->c[i];

		if (c < 0x20
				? !(c == '\t' || c == '\n' || c == '\r')
				: c == 0xFFFD || (c >= 0x7F && (ds_category(c) & DS_OTHER & ~DS_CATEGORY(DS_CN))))
			continue;
		move_character(text, n, text, i);
		if (ds_is_space(c))
			text->c[n] = ' ';
		n++;
	}
	text->n = n;
}

static void
drop_categories(Characters *text, uint32_t categories)
{
	size_t n = 0;

	for (size_t i = 0; i < text->n; i++)
		if (text->c[i] < 0x300 || !(ds_category(text->c[i]) & categories))
			move_character(text, n++, text, i);
	text->n = n;
}

/* the Nmt normalizer of sentencepiece */
static void
nmt(Characters *text)
{
	size_t n = 0;

	for (size_t i = 0; i < text->n; i++)
	{
		uint32_t c = text->c[i];

		if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
			c == 0x9F)
			continue;
		move_character(text, n, text, i);
		if (c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
			(c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
			c == 0xFEFF || c == 0xFFFD)
			text->c[n] = ' ';
		n++;
	}
	text->n = n;
}

static void
strip(Characters *text, uint32_t sides)
{
	size_t first = 0;
	size_t last = text->n;

	while (sides & 1 && first < last && ds_is_space(text->c[first]))
		first++;
	while (sides & 2 && last > first && ds_is_space(text->c[last - 1]))
		last--;
	for (size_t i = first; i < last; i++)
		move_character(text, i - first, text, i);
	text->n = last - first;
}

/* a string of the file, which need not be UTF-8 as far as this code knows */
static bool
add_string(Characters *to, const unsigned char *p, size_t length, uint32_t begin, uint32_t end)
{
	const unsigned char *last = p + length;

	while (p < last)
	{
		size_t n;
		uint32_t c = ds_utf8_read(p, last, &n);

		if (!characters_add(to, c, begin, end))
			return false;
		p += n;
	}
	return true;
}

/* the characters of text from at on that are the string; 0 when they are not */
static size_t
matches_string(const Characters *text, size_t at, const unsigned char *p, size_t length)
{
	const unsigned char *last = p + length;
	size_t i = at;

	while (p < last)
	{
		size_t n;
		uint32_t c = ds_utf8_read(p, last, &n);

		if (i >= text->n || text->c[i] != c)
			return 0;
		p += n;
		i++;
	}
	return i - at;
}

static DsCode
replace(const unsigned char *step, const unsigned char *data, DsSubwordScratch *scratch,
		const Characters *in, Characters *out, DsStatus *status)
{
	const unsigned char *what = data + ds_read_u32(step + 4);
	uint32_t length = ds_read_u32(step + 8);
	const unsigned char *by = data + ds_read_u32(step + 12);
	uint32_t by_length = ds_read_u32(step + 16);
	bool pattern = ds_read_u32(step + 20) == 1;

	out->n = 0;
	scratch->regex.steps = 10000 + 100 * in->n;
	for (size_t i = 0; i < in->n;)
	{
		size_t n = 0;

		if (!pattern)
			n = matches_string(in, i, what, length);
		else
		{
			size_t end;
			DsCode code = ds_regex_match(what, in->c, in->n, i, &scratch->regex, &end, status);

			if (code != DS_OK)
				return code;
			n = end == DS_REGEX_NO_MATCH ? 0 : end - i;
		}
		if (n == 0)
		{
			if (!characters_add(out, in->c[i], in->begin[i], in->end[i]))
				return no_memory(status);
			i++;
		}
		else
		{
			if (!add_string(out, by, by_length, in->begin[i], in->end[i + n - 1]))
				return no_memory(status);
			i += n;
		}
	}
	return DS_OK;
}

/* one step; false in *moved when it changed text in place */
static DsCode
run_step(const unsigned char *step, const unsigned char *data, DsSubwordScratch *scratch,
		 Characters *text, bool *moved, DsStatus *status)
{
	Characters *out = &scratch->work;
	size_t i;

	*moved = false;
	switch ((StepKind) ds_read_u32(step))
	{
		case STEP_CLEAN:
			clean(text);
			return DS_OK;
		case STEP_STRIP_NONSPACING:
			drop_categories(text, DS_CATEGORY(DS_MN));
			return DS_OK;
		case STEP_STRIP_MARKS:
			drop_categories(text, DS_MARK);
			return DS_OK;
		case STEP_NMT:
			nmt(text);
			return DS_OK;
		case STEP_STRIP:
			strip(text, ds_read_u32(step + 4));
			return DS_OK;
		case STEP_FORM:
			return normal_form(ds_read_u32(step + 4), text, out, status);
		case STEP_LOWERCASE:
			for (i = 0; i < text->n && text->c[i] != 0x130; i++)
			{
				uint32_t lower[2];

				ds_lowercase(text->c[i], lower);
				text->c[i] = lower[0];
			}
			if (i == text->n)
				return DS_OK;
			break;
		case STEP_CHINESE:
			for (i = 0; i < text->n && !(text->c[i] >= 0x3400 && ds_is_chinese(text->c[i])); i++)
				;
			if (i == text->n)
				return DS_OK;
			break;
		default:
			break;
	}

	/* the rest writes another array */
	*moved = true;
	out->n = 0;
	switch ((StepKind) ds_read_u32(step))
	{
		case STEP_LOWERCASE:
			for (i = 0; i < text->n; i++)
			{
				uint32_t lower[2];
				size_t n = ds_lowercase(text->c[i], lower);

				for (size_t j = 0; j < n; j++)
					if (!characters_add(out, lower[j], text->begin[i], text->end[i]))
						return no_memory(status);
			}
			return DS_OK;
		case STEP_CHINESE:
			for (i = 0; i < text->n; i++)
			{
				bool chinese = text->c[i] >= 0x3400 && ds_is_chinese(text->c[i]);

				if ((chinese && !characters_add(out, ' ', text->begin[i], text->begin[i])) ||
					!characters_add(out, text->c[i], text->begin[i], text->end[i]) ||
					(chinese && !characters_add(out, ' ', text->end[i], text->end[i])))
					return no_memory(status);
			}
			return DS_OK;
		case STEP_REPLACE:
			return replace(step, data, scratch, text, out, status);
		case STEP_PREPEND:
			if (text->n > 0 && !add_string(out, data + ds_read_u32(step + 4), ds_read_u32(step + 8),
										   text->begin[0], text->begin[0]))
				return no_memory(status);
			for (i = 0; i < text->n; i++)
				if (!characters_add(out, text->c[i], text->begin[i], text->end[i]))
					return no_memory(status);
			return DS_OK;
		case STEP_BYTES:
			for (i = 0; i < text->n; i++)
			{
				char bytes[4];
				size_t n = ds_utf8_write(text->c[i], bytes);

				for (size_t j = 0; j < n; j++)
					if (!characters_add(out, byte_character((unsigned char) bytes[j]),
										text->begin[i], text->end[i]))
						return no_memory(status);
			}
			return DS_OK;
		case STEP_CHARSMAP:
			return subword_charsmap(step, data, text, out, status);
		default:
			return ds_fail(status, DS_BAD_DATA, "tokenizer is damaged: a step of the normalizer");
	}
}

DsCode
subword_normalize(const unsigned char *steps, uint32_t count, const unsigned char *data,
				  DsSubwordScratch *scratch, Characters *text, DsStatus *status)
{
	scratch->regex.cancel = scratch->cancel;
	for (uint32_t i = 0; i < count; i++)
	{
		bool moved;
		DsCode code =
			run_step(steps + (size_t) i * STEP_WORDS * 4, data, scratch, text, &moved, status);

		if (code != DS_OK)
			return code;
		if (moved)
			swap(text, &scratch->work);
		if (ds_cancelled(scratch->cancel))
			return ds_fail(status, DS_CANCELLED, "cancelled");
	}
	return DS_OK;
}

/*
 * The character map of sentencepiece (precompiled_charsmap): a double array of
 * darts-clone, whose values are offsets into strings that end with zero bytes.
 */

static inline uint32_t
darts_offset(uint32_t unit)
{
	return unit >> 10 << ((unit & 0x200) >> 6);
}

/*
 * The value of the shortest prefix of bytes[length] that the map has, or -1.
 * (The library looks for all and takes the first.)
 */
static int64_t
charsmap_find(const unsigned char *trie, uint32_t units, const char *bytes, size_t length)
{
	uint32_t at = 0;
	uint32_t unit;

	if (units == 0)
		return -1;
	unit = ds_read_u32(trie);
	at ^= darts_offset(unit);
	for (size_t i = 0; i < length; i++)
	{
		unsigned char byte = (unsigned char) bytes[i];

		if (byte == 0)
			return -1;
		at ^= byte;
		if (at >= units)
			return -1;
		unit = ds_read_u32(trie + (size_t) at * 4);
		if ((unit & 0x800000FF) != byte)
			return -1;
		at ^= darts_offset(unit);
		if (at >= units)
			return -1;
		if (unit & 0x100)
			return ds_read_u32(trie + (size_t) at * 4) & 0x7FFFFFFF;
	}
	return -1;
}

/* Apply the map to the characters [first, last); false: it does not have them.  *failed: no memory */
static bool
charsmap_apply(const unsigned char *step, const unsigned char *data, const char *bytes,
			   size_t length, uint32_t begin, uint32_t end, Characters *out, bool *failed)
{
	const unsigned char *strings = data + ds_read_u32(step + 12);
	uint32_t strings_length = ds_read_u32(step + 16);
	int64_t value =
		charsmap_find(data + ds_read_u32(step + 4), ds_read_u32(step + 8) / 4, bytes, length);
	const unsigned char *zero;

	if (value < 0 || value >= strings_length)
		return false;
	zero = memchr(strings + value, 0, strings_length - (size_t) value);
	if (zero == NULL)
		zero = strings + strings_length;
	if (!add_string(out, strings + value, (size_t) (zero - (strings + value)), begin, end))
		*failed = true;
	return true;
}

/*
 * By grapheme clusters, and where the map does not have a cluster (or it is
 * long), by characters.  That a cluster may be replaced by what the map has for
 * its beginning is how the library does it, and models have been trained so.
 */
DsCode
subword_charsmap(const unsigned char *step, const unsigned char *data, const Characters *in,
				 Characters *out, DsStatus *status)
{
	bool failed = false;
	int32_t state = 0;

	for (size_t first = 0; first < in->n;)
	{
		char bytes[8];
		size_t length = 0;
		size_t last = first;

		/* the cluster; one of 6 bytes or more is not looked up */
		do
		{
			size_t n = ds_utf8_size(in->c[last]);

			if (length < 6 && length + n <= sizeof(bytes))
				ds_utf8_write(in->c[last], bytes + length);
			length = length < 6 ? length + n : length;
			last++;
		} while (last < in->n && !ds_grapheme_break(in->c[last - 1], in->c[last], &state));

		if (length < 6 && charsmap_apply(step, data, bytes, length, in->begin[first],
										 in->end[last - 1], out, &failed))
			first = last;
		for (; first < last && !failed; first++)
		{
			size_t n = ds_utf8_write(in->c[first], bytes);

			if (!charsmap_apply(step, data, bytes, n, in->begin[first], in->end[first], out,
								&failed) &&
				!characters_add(out, in->c[first], in->begin[first], in->end[first]))
				failed = true;
		}
		if (failed)
			return no_memory(status);
	}
	return DS_OK;
}
