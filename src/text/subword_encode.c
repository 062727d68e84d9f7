/*
 * subword_encode.c
 *		From a text to tokens: the whole way.
 *
 *   1. the text becomes characters that know their bytes
 *   2. added tokens that are looked for in the text as it is are cut out
 *   3. what is between them is normalized, each piece by itself
 *	  (subword_normalize.c), and the other added tokens are cut out of that
 *   4. the pre-tokenizer cuts the rest into parts (subword_split.c)
 *   5. the model makes tokens of each part (subword_model.c, subword_bpe.c)
 *   6. too many tokens are cut off, and those that belong around a text are put
 *	  around it
 *
 * All memory is in the scratch, in arrays that grow and stay.
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

/* Arrays of an arena cannot be freed one by one, so they double: what was given up is as much */
bool
subword_grow(DsArena *arena, void **array, size_t *capacity, size_t n, size_t size, size_t keep)
{
	size_t larger = *capacity < 64 ? 64 : *capacity;
	void *result;

	if (n <= *capacity)
		return true;
	while (larger < n)
		larger *= 2;
	result = ds_arena_alloc(arena, larger, size);
	if (result == NULL)
		return false;
	if (keep > 0)
		memcpy(result, *array, keep * size);
	ds_arena_release(arena, *array);
	*array = result;
	*capacity = larger;
	return true;
}

bool
characters_reserve(Characters *text, size_t n)
{
	size_t capacity[3] = {text->capacity, text->capacity, text->capacity};

	if (n <= text->capacity)
		return true;
	if (!subword_grow(text->arena, (void **) &text->c, &capacity[0], n, 4, text->n) ||
		!subword_grow(text->arena, (void **) &text->begin, &capacity[1], n, 4, text->n) ||
		!subword_grow(text->arena, (void **) &text->end, &capacity[2], n, 4, text->n))
		return false;
	text->capacity = capacity[0];
	return true;
}

bool
splits_add(Splits *splits, uint32_t first, uint32_t last, uint32_t token)
{
	if (!subword_grow(splits->arena, (void **) &splits->s, &splits->capacity, splits->n + 1,
					  sizeof(Split), splits->n))
		return false;
	splits->s[splits->n++] = (Split){first, last, token};
	return true;
}

bool
tokens_add(Tokens *tokens, uint32_t id, uint32_t begin, uint32_t end)
{
	if (!subword_grow(tokens->arena, (void **) &tokens->t, &tokens->capacity, tokens->n + 1,
					  sizeof(Token), tokens->n))
		return false;
	tokens->t[tokens->n++] = (Token){id, begin, end};
	return true;
}

DsCode
ds_subword_scratch(DsArena *arena, DsSubwordScratch **scratch, DsStatus *status)
{
	DsSubwordScratch *s = ds_arena_zero(arena, 1, sizeof(*s));

	if (s == NULL)
		return no_memory(status);
	s->arena = s->text.arena = s->piece.arena = s->work.arena = s->all.arena = arena;
	s->splits.arena = s->other.arena = s->found.arena = arena;
	s->tokens[0].arena = s->tokens[1].arena = s->regex.arena = arena;
	*scratch = s;
	return DS_OK;
}

/*
 * Bytes of the maximal part of a character at p that is none: what could have
 * been the beginning of one (Unicode, section 3.9, as browsers and Python do).
 */
static size_t
broken_size(const unsigned char *p, const unsigned char *end)
{
	size_t left = (size_t) (end - p);
	size_t want = p[0] >= 0xF0 && p[0] < 0xF5 ? 4 : p[0] >= 0xE0 && p[0] < 0xF0 ? 3 : 1;
	unsigned char low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
	unsigned char high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
	size_t n = 1;

	while (n < want && n < left && p[n] >= low && p[n] <= high)
	{
		low = 0x80;
		high = 0xBF;
		n++;
	}
	return n;
}

DsCode
characters_decode(Characters *text, const char *bytes, size_t length, DsStatus *status)
{
	const unsigned char *start = (const unsigned char *) bytes;
	const unsigned char *end = start + length;
	size_t n = 0;

	if (length > DS_SUBWORD_TEXT_MAX)
		return ds_fail(status, DS_TOO_LARGE, "a text of %zu bytes is too long for a tokenizer",
					   length);
	text->n = 0;
	if (!characters_reserve(text, length))
		return no_memory(status);
	for (const unsigned char *p = start; p < end;)
	{
		size_t size = 1;
		uint32_t c = *p;

		if (c >= 0x80)
		{
			c = ds_utf8_read(p, end, &size);
			if (c == DS_UTF8_REPLACEMENT && size == 1)
				size = broken_size(p, end);
		}
		text->c[n] = c;
		text->begin[n] = (uint32_t) (p - start);
		p += size;
		text->end[n++] = (uint32_t) (p - start);
	}
	text->n = n;
	return DS_OK;
}

/*
 * Cut added tokens out of the characters [0, n) of text: fills found with what
 * is between them and the tokens themselves.  Of those that begin at a place
 * the longest counts, and the search goes on behind it.
 */
static DsCode
find_added(const DsSubword *t, Section section, const Characters *text, Splits *found,
		   DsStatus *status)
{
	DsTrie trie = blob_trie(t, section);
	uint64_t root = ds_trie_root(&trie);
	const unsigned char *added = blob_section(t, SECTION_ADDED);
	uint32_t n = (uint32_t) text->n;
	uint32_t done = 0;

	found->n = 0;
	for (uint32_t at = 0; at < n && root != 0;)
	{
		uint64_t node = root;
		uint32_t which = DS_SUBWORD_NONE;
		uint32_t first = at;
		uint32_t last = at;
		uint32_t flags;
		uint32_t id;

		for (uint32_t i = at; i < n; i++)
		{
			char bytes[4];

			node = ds_trie_walk(&trie, node, bytes, ds_utf8_write(text->c[i], bytes));
			if (node == 0)
				break;
			if (DS_TRIE_VALUE(node) != 0)
			{
				which = DS_TRIE_VALUE(node) - 1;
				last = i + 1;
			}
		}
		if (which == DS_SUBWORD_NONE)
		{
			at++;
			continue;
		}
		at = last;
		id = ds_read_u32(added + (size_t) which * ADDED_WORDS * 4);
		flags = ds_read_u32(added + ((size_t) which * ADDED_WORDS + 1) * 4);
		if (flags & ADDED_SINGLE_WORD && ((first > 0 && ds_is_word(text->c[first - 1])) ||
										  (last < n && ds_is_word(text->c[last]))))
			continue;
		if (flags & ADDED_LSTRIP)
			while (first > done && ds_is_space(text->c[first - 1]))
				first--;
		if (flags & ADDED_RSTRIP)
			while (last < n && ds_is_space(text->c[last]))
				last++;
		if (first < done)
			first = done; /* the token before has taken the white space that this one begins with */
		if (done < first && !splits_add(found, done, first, DS_SUBWORD_NONE))
			return no_memory(status);
		if (!splits_add(found, first, last, id))
			return no_memory(status);
		done = last;
		if (at < done)
			at = done;
	}
	if (done < n && !splits_add(found, done, n, DS_SUBWORD_NONE))
		return no_memory(status);
	return DS_OK;
}

static DsCode
append(Characters *to, const Characters *from, uint32_t first, uint32_t last, DsStatus *status)
{
	size_t n = last - first;

	if (!characters_reserve(to, to->n + n))
		return no_memory(status);
	if (n > 0)
	{
		memcpy(to->c + to->n, from->c + first, n * 4);
		memcpy(to->begin + to->n, from->begin + first, n * 4);
		memcpy(to->end + to->n, from->end + first, n * 4);
	}
	to->n += n;
	return DS_OK;
}

/* Steps 1 to 5 for one text; stops when there are more than limit tokens */
static DsCode
tokenize(const DsSubword *t, DsSubwordScratch *s, const char *bytes, size_t length, size_t limit,
		 Tokens *tokens, DsStatus *status)
{
	const unsigned char *steps = blob_section(t, SECTION_STEPS);
	const unsigned char *data = blob_section(t, SECTION_DATA);
	uint32_t normalizers = blob_word(t, AT_NORMALIZERS);
	DsCode code = characters_decode(&s->text, bytes, length, status);

	tokens->n = 0;
	s->all.n = 0;
	s->splits.n = 0;
	if (code == DS_OK)
		code = find_added(t, SECTION_ADDED_RAW, &s->text, &s->found, status);
	for (size_t i = 0; code == DS_OK && i < s->found.n; i++)
	{
		Split piece = s->found.s[i];
		uint32_t base = (uint32_t) s->all.n;

		if (piece.token != DS_SUBWORD_NONE)
		{
			code = append(&s->all, &s->text, piece.first, piece.last, status);
			if (code == DS_OK && !splits_add(&s->splits, base, (uint32_t) s->all.n, piece.token))
				code = no_memory(status);
			continue;
		}
		s->piece.n = 0;
		code = append(&s->piece, &s->text, piece.first, piece.last, status);
		if (code == DS_OK)
			code = subword_normalize(steps, normalizers, data, s, &s->piece, status);
		if (code == DS_OK && s->all.n + s->piece.n > UINT32_MAX / 2)
			code = ds_fail(status, DS_TOO_LARGE, "a text is too long for a tokenizer");
		if (code == DS_OK)
			code = find_added(t, SECTION_ADDED_NORMALIZED, &s->piece, &s->other, status);
		if (code == DS_OK)
			code = append(&s->all, &s->piece, 0, (uint32_t) s->piece.n, status);
		for (size_t j = 0; code == DS_OK && j < s->other.n; j++)
			if (!splits_add(&s->splits, base + s->other.s[j].first, base + s->other.s[j].last,
							s->other.s[j].token))
				code = no_memory(status);
	}
	if (code == DS_OK)
		code = subword_split(steps + (size_t) normalizers * STEP_WORDS * 4,
							 blob_word(t, AT_SPLITTERS), data, s, status);
	for (size_t i = 0; code == DS_OK && i < s->splits.n && tokens->n <= limit; i++)
	{
		Split part = s->splits.s[i];

		if (part.token == DS_SUBWORD_NONE)
			code = subword_model(t, s, part.first, part.last, tokens, status);
		else if (part.first < part.last && !tokens_add(tokens, part.token, s->all.begin[part.first],
													   s->all.end[part.last - 1]))
			code = no_memory(status);
		if (i % 1024 == 1023 && code == DS_OK && ds_cancelled(s->cancel))
			code = ds_fail(status, DS_CANCELLED, "cancelled");
	}
	return code;
}

/* How many tokens of each text stay, when together there may be max */
static void
shares(Strategy strategy, size_t max, const size_t have[2], size_t keep[2])
{
	int first = strategy == STRATEGY_ONLY_SECOND ? 1 : 0;
	int other = 1 - first;

	keep[0] = have[0];
	keep[1] = have[1];
	if (have[0] + have[1] <= max)
		return;
	if (strategy == STRATEGY_LONGEST_FIRST)
	{
		int small = have[0] > have[1];
		size_t n1 = have[small];
		/* the longer one is cut to what the shorter one leaves, or both to a half */
		size_t n2 = n1 > max ? n1 : n1 > max - n1 ? n1 : max - n1;

		if (n1 + n2 > max)
		{
			n1 = max / 2;
			n2 = n1 + max % 2;
		}
		keep[small] = n1;
		keep[1 - small] = n2;
		return;
	}
	keep[other] = have[other] < max ? have[other] : max;
	keep[first] = max - keep[other];
}

static DsCode
finish(const DsSubword *t, DsSubwordScratch *s, const unsigned char *parts, uint32_t part_count,
	   bool special, const size_t keep[2], DsSubwordTokens *result, DsStatus *status)
{
	bool left = blob_word(t, AT_LEFT) == 1;
	size_t capacity[5] = {s->result_capacity, s->result_capacity, s->result_capacity,
						  s->result_capacity, s->result_capacity};
	size_t count = 0;
	size_t n = 0;

	for (uint32_t i = 0; i < part_count; i++)
	{
		uint32_t what = ds_read_u32(parts + (size_t) i * PART_WORDS * 4);

		count += what != PART_TOKEN ? keep[what] : special;
	}
	if (!subword_grow(s->arena, (void **) &s->ids, &capacity[0], count, 4, 0) ||
		!subword_grow(s->arena, (void **) &s->begins, &capacity[1], count, 4, 0) ||
		!subword_grow(s->arena, (void **) &s->ends, &capacity[2], count, 4, 0) ||
		!subword_grow(s->arena, (void **) &s->types, &capacity[3], count, 1, 0) ||
		!subword_grow(s->arena, (void **) &s->special, &capacity[4], count, 1, 0))
		return no_memory(status);
	s->result_capacity = capacity[0];
	for (uint32_t i = 0; i < part_count; i++)
	{
		const unsigned char *part = parts + (size_t) i * PART_WORDS * 4;
		uint32_t what = ds_read_u32(part);
		uint8_t type = (uint8_t) ds_read_u32(part + 8);

		if (what == PART_TOKEN && special)
		{
			s->ids[n] = ds_read_u32(part + 4);
			s->begins[n] = s->ends[n] = 0;
			s->types[n] = type;
			s->special[n++] = 1;
		}
		else if (what != PART_TOKEN)
		{
			const Tokens *tokens = &s->tokens[what];
			size_t from = left ? tokens->n - keep[what] : 0;

			for (size_t j = from; j < from + keep[what]; j++, n++)
			{
				s->ids[n] = tokens->t[j].id;
				s->begins[n] = tokens->t[j].begin;
				s->ends[n] = tokens->t[j].end;
				s->types[n] = type;
				s->special[n] = 0;
			}
		}
	}
	result->count = n;
	result->ids = s->ids;
	result->begins = s->begins;
	result->ends = s->ends;
	result->types = s->types;
	result->special = s->special;
	return DS_OK;
}

DsCode
ds_subword_encode(const DsSubword *t, DsSubwordScratch *s, const char *text, size_t length,
				  const char *second, size_t second_length, const DsSubwordOptions *options,
				  DsSubwordTokens *result, DsStatus *status)
{
	uint32_t single = blob_word(t, AT_SINGLE);
	uint32_t part_count = second == NULL ? single : blob_word(t, AT_PAIR);
	const unsigned char *parts =
		blob_section(t, SECTION_TEMPLATE) + (second == NULL ? 0 : (size_t) single * PART_WORDS * 4);
	size_t max = options->max_length != 0 ? options->max_length : t->max_length;
	size_t added = 0;
	size_t keep[2];
	size_t have[2];
	DsCode code;

	memset(result, 0, sizeof(*result));
	s->cancel = options->cancel;
	if (max == 0 || max == UINT32_MAX)
		max = SIZE_MAX / 4;
	if (options->special)
		for (uint32_t i = 0; i < part_count; i++)
			added += ds_read_u32(parts + (size_t) i * PART_WORDS * 4) == PART_TOKEN;
	max = max > added ? max - added : 0;
	/* what is cut off at the right need not be looked at; the left needs all */
	{
		size_t limit = blob_word(t, AT_LEFT) == 1 ? SIZE_MAX : max;

		s->tokens[1].n = 0;
		code = tokenize(t, s, text, length, limit, &s->tokens[0], status);
		if (code == DS_OK && second != NULL)
			code = tokenize(t, s, second, second_length, limit, &s->tokens[1], status);
		if (code != DS_OK)
			return code;
	}
	have[0] = s->tokens[0].n;
	have[1] = s->tokens[1].n;
	if (second == NULL)
	{
		keep[0] = have[0] < max ? have[0] : max;
		keep[1] = 0;
	}
	else
		shares((Strategy) blob_word(t, AT_STRATEGY), max, have, keep);
	result->truncated = keep[0] < have[0] || keep[1] < have[1];
	return finish(t, s, parts, part_count, options->special, keep, result, status);
}
