/*
 * subword_split.c
 *		The pre-tokenizer's steps: cutting the normalized text into the parts that
 *		the model sees one at a time.
 *
 * A step reads the list of parts and writes another; parts that are added
 * tokens already stay as they are.  Two steps change the characters too
 * (ByteLevel and Metaspace), and write all of them anew.
 */
#include "text/subword_private.h"

#include <string.h>

#include "text/forms.h"
#include "text/utf8.h"

static DsCode
no_memory(DsStatus *status)
{
	return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for a text");
}

/*
 * What becomes of the pieces of a part, matches of a pattern and what is
 * between them, in turn.
 */
typedef struct Cutter
{
	Splits *out;
	SplitBehavior behavior;
	bool invert;
	bool before; /* the piece before was a match */
	bool any; /* there is a piece before */
	bool pending; /* a match that waits for the piece behind it: */
	uint32_t pending_first;
	uint32_t pending_last;
	bool failed;
} Cutter;

static void
cut_start(Cutter *cutter)
{
	cutter->before = cutter->any = cutter->pending = false;
}

static void
cut_push(Cutter *cutter, uint32_t first, uint32_t last)
{
	if (!splits_add(cutter->out, first, last, DS_SUBWORD_NONE))
		cutter->failed = true;
	cutter->any = true;
}

static void
cut_piece(Cutter *cutter, uint32_t first, uint32_t last, bool match)
{
	if (first == last)
		return;
	match = match != cutter->invert;
	switch (cutter->behavior)
	{
		case SPLIT_REMOVED:
			if (!match)
				cut_push(cutter, first, last);
			break;
		case SPLIT_CONTIGUOUS:
			if (match == cutter->before && cutter->any)
				cutter->out->s[cutter->out->n - 1].last = last;
			else
				cut_push(cutter, first, last);
			break;
		case SPLIT_MERGED_WITH_PREVIOUS:
			if (match && !cutter->before && cutter->any)
				cutter->out->s[cutter->out->n - 1].last = last;
			else
				cut_push(cutter, first, last);
			break;
		case SPLIT_MERGED_WITH_NEXT:
			if (cutter->pending && match)
				cut_push(cutter, cutter->pending_first, cutter->pending_last);
			else if (cutter->pending)
				first = cutter->pending_first;
			cutter->pending = match;
			cutter->pending_first = first;
			cutter->pending_last = last;
			if (!match)
				cut_push(cutter, first, last);
			break;
		default:
			cut_push(cutter, first, last);
			break;
	}
	cutter->before = match;
}

static void
cut_end(Cutter *cutter)
{
	if (cutter->pending)
		cut_push(cutter, cutter->pending_first, cutter->pending_last);
}

static DsCode
cut_by_pattern(Cutter *cutter, const unsigned char *program, const Split *part,
			   DsSubwordScratch *scratch, DsStatus *status)
{
	const uint32_t *text = scratch->all.c + part->first;
	size_t n = part->last - part->first;
	size_t done = 0;

	scratch->regex.steps = 10000 + 200 * n;
	for (size_t at = 0; at < n;)
	{
		size_t end;
		DsCode code = ds_regex_match(program, text, n, at, &scratch->regex, &end, status);

		if (code != DS_OK)
			return code;
		if (end == DS_REGEX_NO_MATCH)
		{
			at++;
			continue;
		}
		/* an empty match only cuts */
		cut_piece(cutter, part->first + (uint32_t) done, part->first + (uint32_t) at, false);
		cut_piece(cutter, part->first + (uint32_t) at, part->first + (uint32_t) end, true);
		done = end;
		at = end > at ? end : at + 1;
	}
	cut_piece(cutter, part->first + (uint32_t) done, part->last, false);
	return DS_OK;
}

static void
cut_by_string(Cutter *cutter, const unsigned char *string, uint32_t length, const Split *part,
			  const Characters *text)
{
	uint32_t done = part->first;

	for (uint32_t at = part->first; at < part->last;)
	{
		const unsigned char *p = string;
		uint32_t i = at;

		while (p < string + length && i < part->last)
		{
			size_t n;

			if (ds_utf8_read(p, string + length, &n) != text->c[i])
				break;
			p += n;
			i++;
		}
		if (p < string + length || i == at)
			at++;
		else
		{
			cut_piece(cutter, done, at, false);
			cut_piece(cutter, at, i, true);
			done = at = i;
		}
	}
	cut_piece(cutter, done, part->last, false);
}

/* by a property of single characters, each a match of its own */
static void
cut_by_character(Cutter *cutter, bool (*matches)(uint32_t c), const Split *part,
				 const Characters *text)
{
	uint32_t done = part->first;

	for (uint32_t at = part->first; at < part->last; at++)
		if (matches(text->c[at]))
		{
			cut_piece(cutter, done, at, false);
			cut_piece(cutter, at, at + 1, true);
			done = at + 1;
		}
	cut_piece(cutter, done, part->last, false);
}

static bool
is_space(uint32_t c)
{
	return ds_is_space(c);
}

static bool
is_punctuation(uint32_t c)
{
	return ds_is_punctuation(c);
}

static bool
is_number(uint32_t c)
{
	return c < 0x80 ? c - '0' < 10 : (ds_category(c) & DS_NUMBER) != 0;
}

/* white space is removed, punctuation stands alone */
static void
cut_for_bert(Cutter *cutter, const Split *part, const Characters *text)
{
	uint32_t done = part->first;

	for (uint32_t at = part->first; at < part->last; at++)
	{
		bool space = ds_is_space(text->c[at]);

		if (!space && !ds_is_punctuation(text->c[at]))
			continue;
		if (done < at)
			cut_push(cutter, done, at);
		if (!space)
			cut_push(cutter, at, at + 1);
		done = at + 1;
	}
	if (done < part->last)
		cut_push(cutter, done, part->last);
}

static DsCode
cut(const unsigned char *step, const unsigned char *data, DsSubwordScratch *scratch,
	DsStatus *status)
{
	StepKind kind = (StepKind) ds_read_u32(step);
	const unsigned char *string = data + ds_read_u32(step + 4);
	uint32_t length = ds_read_u32(step + 8);
	Cutter cutter = {.out = &scratch->other};
	Splits swap;

	scratch->other.n = 0;
	cutter.behavior = SPLIT_REMOVED;
	if (kind == STEP_SPLIT || kind == STEP_SPLIT_STRING || kind == STEP_PUNCTUATION ||
		kind == STEP_DIGITS)
		cutter.behavior = (SplitBehavior) ds_read_u32(step + 12);
	else if (kind == STEP_BYTELEVEL)
		cutter.behavior = SPLIT_ISOLATED;
	else if (kind == STEP_METASPACE)
		cutter.behavior = SPLIT_MERGED_WITH_NEXT;
	cutter.invert =
		(kind == STEP_SPLIT || kind == STEP_SPLIT_STRING) && ds_read_u32(step + 16) == 1;
	for (size_t i = 0; i < scratch->splits.n; i++)
	{
		Split part = scratch->splits.s[i];
		DsCode code = DS_OK;

		cut_start(&cutter);
		if (part.token != DS_SUBWORD_NONE)
		{
			if (!splits_add(&scratch->other, part.first, part.last, part.token))
				return no_memory(status);
			continue;
		}
		switch (kind)
		{
			case STEP_BERT:
				cut_for_bert(&cutter, &part, &scratch->all);
				break;
			case STEP_SPACES:
				cut_by_character(&cutter, is_space, &part, &scratch->all);
				break;
			case STEP_PUNCTUATION:
				cut_by_character(&cutter, is_punctuation, &part, &scratch->all);
				break;
			case STEP_DIGITS:
				cut_by_character(&cutter, is_number, &part, &scratch->all);
				break;
			case STEP_SPLIT:
			case STEP_BYTELEVEL:
				code = cut_by_pattern(&cutter, string, &part, scratch, status);
				break;
			case STEP_SPLIT_STRING:
				cut_by_string(&cutter, string, length, &part, &scratch->all);
				break;
			case STEP_METASPACE:
			{
				char replacement[4];

				length = (uint32_t) ds_utf8_write(ds_read_u32(step + 4), replacement);
				cut_by_string(&cutter, (const unsigned char *) replacement, length, &part,
							  &scratch->all);
				break;
			}
			case STEP_FIXED_LENGTH:
				for (uint32_t at = part.first; at < part.last;)
				{
					uint32_t n = ds_read_u32(step + 4);

					n = n < part.last - at ? n : part.last - at;
					cut_push(&cutter, at, at + n);
					at += n;
				}
				break;
			default:
				return ds_fail(status, DS_BAD_DATA,
							   "tokenizer is damaged: a step of the pre-tokenizer");
		}
		cut_end(&cutter);
		if (code != DS_OK)
			return code;
		if (cutter.failed)
			return no_memory(status);
		if (i % 1024 == 1023 && ds_cancelled(scratch->cancel))
			return ds_fail(status, DS_CANCELLED, "cancelled");
	}
	swap = scratch->splits;
	scratch->splits = scratch->other;
	scratch->other = swap;
	return DS_OK;
}

/* What rewrite() makes of a part's characters */
typedef enum Rewrite
{
	REWRITE_SPACE_BEFORE, /* a space before, unless there is one */
	REWRITE_BYTES,
	REWRITE_METASPACE
} Rewrite;

static DsCode
rewrite(Rewrite what, uint32_t replacement, PrependScheme scheme, DsSubwordScratch *scratch,
		DsStatus *status)
{
	const Characters *in = &scratch->all;
	Characters *out = &scratch->work;
	Characters swap;

	out->n = 0;
	for (size_t i = 0; i < scratch->splits.n; i++)
	{
		Split *part = &scratch->splits.s[i];
		uint32_t first = (uint32_t) out->n;
		bool token = part->token != DS_SUBWORD_NONE;
		uint32_t c0 = part->first < part->last ? in->c[part->first] : 0;
		bool ok = true;

		if (!token && part->first < part->last)
		{
			uint32_t begin = in->begin[part->first];

			if (what == REWRITE_SPACE_BEFORE && c0 != ' ')
				ok = characters_add(out, ' ', begin, begin);
			else if (what == REWRITE_METASPACE && c0 != ' ' && c0 != replacement &&
					 (scheme == PREPEND_ALWAYS || (scheme == PREPEND_FIRST && begin == 0)))
				ok = characters_add(out, replacement, begin, begin);
		}
		for (uint32_t j = part->first; j < part->last && ok; j++)
		{
			uint32_t c = in->c[j];

			if (!token && what == REWRITE_METASPACE && c == ' ')
				c = replacement;
			if (token || what != REWRITE_BYTES)
				ok = characters_add(out, c, in->begin[j], in->end[j]);
			else
			{
				char bytes[4];
				size_t n = ds_utf8_write(c, bytes);

				for (size_t k = 0; k < n && ok; k++)
					ok = characters_add(out, byte_character((unsigned char) bytes[k]), in->begin[j],
										in->end[j]);
			}
		}
		if (!ok)
			return no_memory(status);
		part->first = first;
		part->last = (uint32_t) out->n;
	}
	swap = scratch->all;
	scratch->all = scratch->work;
	scratch->work = swap;
	return DS_OK;
}

DsCode
subword_split(const unsigned char *steps, uint32_t count, const unsigned char *data,
			  DsSubwordScratch *scratch, DsStatus *status)
{
	scratch->regex.cancel = scratch->cancel;
	for (uint32_t i = 0; i < count; i++)
	{
		const unsigned char *step = steps + (size_t) i * STEP_WORDS * 4;
		DsCode code = DS_OK;

		switch ((StepKind) ds_read_u32(step))
		{
			case STEP_BYTELEVEL:
				if (ds_read_u32(step + 12) == 1)
					code = rewrite(REWRITE_SPACE_BEFORE, 0, PREPEND_NEVER, scratch, status);
				if (code == DS_OK && ds_read_u32(step + 8) > 0)
					code = cut(step, data, scratch, status);
				if (code == DS_OK)
					code = rewrite(REWRITE_BYTES, 0, PREPEND_NEVER, scratch, status);
				break;
			case STEP_METASPACE:
				code = rewrite(REWRITE_METASPACE, ds_read_u32(step + 4),
							   (PrependScheme) ds_read_u32(step + 8), scratch, status);
				if (code == DS_OK && ds_read_u32(step + 12) == 1)
					code = cut(step, data, scratch, status);
				break;
			default:
				code = cut(step, data, scratch, status);
				break;
		}
		if (code != DS_OK)
			return code;
	}
	return DS_OK;
}
