/*
 * subword_open.c
 *		Opening a stored tokenizer: everything that encoding relies on is checked
 *		here, once.
 */
#include "text/subword_private.h"

#include <string.h>

/* bytes of one element of a section */
static const uint32_t element[SECTION_COUNT] = {
	[SECTION_STEPS] = STEP_WORDS * 4,
	[SECTION_DATA] = 1,
	[SECTION_ADDED] = ADDED_WORDS * 4,
	[SECTION_ADDED_RAW] = 256 * DS_TRIE_UNIT,
	[SECTION_ADDED_NORMALIZED] = 256 * DS_TRIE_UNIT,
	[SECTION_TEMPLATE] = PART_WORDS * 4,
	[SECTION_TRIE] = 256 * DS_TRIE_UNIT,
	[SECTION_SCORES] = 8,
	[SECTION_MERGES] = MERGE_SIZE,
	[SECTION_CHARACTERS] = CHARACTERS * 4,
	[SECTION_BYTES] = 256 * 4,
	[SECTION_TOKEN_ENDS] = 4,
	[SECTION_TOKENS] = 1,
};

static DsCode
damaged(DsStatus *status, const char *what)
{
	return ds_fail(status, DS_BAD_DATA, "tokenizer is damaged: %s", what);
}

static bool
in_data(const DsSubword *t, const unsigned char *words)
{
	uint32_t size = blob_length(t, SECTION_DATA);
	uint32_t offset = ds_read_u32(words);

	return offset <= size && ds_read_u32(words + 4) <= size - offset;
}

static bool
check_pattern(const DsSubword *t, const unsigned char *words)
{
	return in_data(t, words) && ds_regex_check(blob_section(t, SECTION_DATA) + ds_read_u32(words),
											   ds_read_u32(words + 4));
}

static bool
check_step(const DsSubword *t, const unsigned char *step, bool normalizer)
{
	uint32_t kind = ds_read_u32(step);

	if (kind == 0 || kind >= STEP_KINDS || (kind < STEP_BERT) != normalizer)
		return false;
	switch ((StepKind) kind)
	{
		case STEP_FORM:
		case STEP_STRIP:
			return ds_read_u32(step + 4) <= 3;
		case STEP_REPLACE:
			return in_data(t, step + 12) &&
				   (ds_read_u32(step + 20) == 1 ? check_pattern(t, step + 4)
												: in_data(t, step + 4));
		case STEP_PREPEND:
			return in_data(t, step + 4);
		case STEP_CHARSMAP:
			return in_data(t, step + 4) && in_data(t, step + 12);
		case STEP_SPLIT:
			return check_pattern(t, step + 4) && ds_read_u32(step + 12) < SPLIT_BEHAVIORS;
		case STEP_SPLIT_STRING:
			return in_data(t, step + 4) && ds_read_u32(step + 12) < SPLIT_BEHAVIORS;
		case STEP_PUNCTUATION:
		case STEP_DIGITS:
			return ds_read_u32(step + 12) < SPLIT_BEHAVIORS;
		case STEP_BYTELEVEL:
			return ds_read_u32(step + 8) == 0 || check_pattern(t, step + 4);
		case STEP_METASPACE:
			return ds_read_u32(step + 4) <= 0x10FFFF && ds_read_u32(step + 8) <= PREPEND_ALWAYS;
		case STEP_FIXED_LENGTH:
			return ds_read_u32(step + 4) > 0;
		default:
			return true;
	}
}

static DsCode
check_sections(const DsSubword *t, DsStatus *status)
{
	for (int i = 0; i < SECTION_COUNT; i++)
	{
		uint32_t offset = blob_word(t, AT_SECTIONS + 2 * (uint32_t) i);
		uint32_t length = blob_word(t, AT_SECTIONS + 2 * (uint32_t) i + 1);

		if (offset < HEADER_WORDS * 4 || offset > t->size || length > t->size - offset ||
			length % element[i] != 0)
			return damaged(status, "its parts do not fit together");
	}
	return DS_OK;
}

static DsCode
check_steps(const DsSubword *t, DsStatus *status)
{
	uint32_t normalizers = blob_word(t, AT_NORMALIZERS);
	uint32_t count = blob_length(t, SECTION_STEPS) / (STEP_WORDS * 4);

	if (normalizers > count || blob_word(t, AT_SPLITTERS) != count - normalizers)
		return damaged(status, "the number of its steps");
	for (uint32_t i = 0; i < count; i++)
		if (!check_step(t, blob_section(t, SECTION_STEPS) + (size_t) i * STEP_WORDS * 4,
						i < normalizers))
			return damaged(status, "a step");
	return DS_OK;
}

static DsCode
check_added(const DsSubword *t, DsStatus *status)
{
	uint32_t count = blob_length(t, SECTION_ADDED) / (ADDED_WORDS * 4);
	uint32_t parts = blob_length(t, SECTION_TEMPLATE) / (PART_WORDS * 4);
	uint32_t seen = 0; /* bits of the texts in a template so far */
	DsTrie raw = blob_trie(t, SECTION_ADDED_RAW);
	DsTrie normalized = blob_trie(t, SECTION_ADDED_NORMALIZED);

	for (uint32_t i = 0; i < count; i++)
	{
		const unsigned char *added = blob_section(t, SECTION_ADDED) + (size_t) i * ADDED_WORDS * 4;

		if (ds_read_u32(added) >= t->vocabulary || ds_read_u32(added + 4) > ADDED_FLAGS)
			return damaged(status, "an added token");
	}
	if (!ds_trie_check(&raw, count) || !ds_trie_check(&normalized, count))
		return damaged(status, "the table of added tokens");
	if (parts > 2 * PARTS_MAX || blob_word(t, AT_SINGLE) > parts ||
		blob_word(t, AT_PAIR) != parts - blob_word(t, AT_SINGLE))
		return damaged(status, "its template");
	for (uint32_t i = 0; i < parts; i++)
	{
		const unsigned char *part = blob_section(t, SECTION_TEMPLATE) + (size_t) i * PART_WORDS * 4;
		uint32_t what = ds_read_u32(part);

		if (i == blob_word(t, AT_SINGLE))
			seen = 0;
		/* a text comes once, or cutting it to the most tokens would not do */
		if (what < PART_TOKEN && (seen & 1u << what) != 0)
			return damaged(status, "its template");
		seen |= what < PART_TOKEN ? 1u << what : 0;
		if (what > PART_TOKEN || ds_read_u32(part + 8) > 1 ||
			(what == PART_SECOND && i < blob_word(t, AT_SINGLE)) ||
			(what == PART_TOKEN && ds_read_u32(part + 4) >= t->vocabulary))
			return damaged(status, "its template");
	}
	return DS_OK;
}

static DsCode
check_merges(const DsSubword *t, DsStatus *status)
{
	const unsigned char *slots = blob_section(t, SECTION_MERGES);
	uint32_t count = blob_length(t, SECTION_MERGES) / MERGE_SIZE;
	uint32_t taken = 0;

	if ((count & (count - 1)) != 0)
		return damaged(status, "the size of its table of merges");
	for (uint32_t i = 0; i < count; i++)
	{
		const unsigned char *slot = slots + (size_t) i * MERGE_SIZE;

		if (ds_read_u32(slot + 4) == DS_SUBWORD_NONE)
			continue;
		taken++;
		if (ds_read_u32(slot + 8) == DS_SUBWORD_NONE || ds_read_u32(slot + 12) >= t->vocabulary)
			return damaged(status, "a merge");
	}
	/* a search ends at a free slot */
	if (count > 0 && taken > count / 2)
		return damaged(status, "its table of merges is too full");
	return DS_OK;
}

static DsCode
check_model(const DsSubword *t, DsStatus *status)
{
	uint32_t model = blob_word(t, AT_MODEL);
	uint32_t unknown = blob_word(t, AT_UNKNOWN);
	DsTrie trie = blob_trie(t, SECTION_TRIE);
	const unsigned char *scores = blob_section(t, SECTION_SCORES);
	const unsigned char *ids = blob_section(t, SECTION_BYTES);
	const unsigned char *characters = blob_section(t, SECTION_CHARACTERS);
	uint32_t end = 0;

	if (model < MODEL_WORDPIECE || model > MODEL_BPE || blob_word(t, AT_MODEL_FLAGS) > MODEL_FLAGS)
		return damaged(status, "its model");
	if (unknown != DS_SUBWORD_NONE && unknown >= t->vocabulary)
		return damaged(status, "its unknown token");
	if (!in_data(t, t->bytes + AT_PREFIX * 4) || !in_data(t, t->bytes + AT_SUFFIX * 4))
		return damaged(status, "its prefix or suffix");
	if (!ds_trie_check(&trie, t->vocabulary))
		return damaged(status, "the table of its vocabulary");
	if (blob_length(t, SECTION_SCORES) !=
		(model == MODEL_UNIGRAM ? ((size_t) t->vocabulary + 1) * 8 : 0))
		return damaged(status, "its scores");
	for (size_t i = 0; i < blob_length(t, SECTION_SCORES) / 8; i++)
		/* an exponent of all ones: infinite, or not a number */
		if ((ds_read_u64(scores + i * 8) >> 52 & 0x7FF) == 0x7FF)
			return damaged(status, "a score");
	if (blob_length(t, SECTION_CHARACTERS) != (model == MODEL_BPE ? CHARACTERS * 4 : 0) ||
		blob_length(t, SECTION_BYTES) > 256 * 4)
		return damaged(status, "the table of its characters");
	for (size_t i = 0; i < blob_length(t, SECTION_CHARACTERS) / 4; i++)
		if (ds_read_u32(characters + i * 4) > t->vocabulary)
			return damaged(status, "the table of its characters");
	for (size_t i = 0; i < blob_length(t, SECTION_BYTES) / 4; i++)
		if (ds_read_u32(ids + i * 4) != DS_SUBWORD_NONE &&
			ds_read_u32(ids + i * 4) >= t->vocabulary)
			return damaged(status, "the table of its bytes");
	if (blob_length(t, SECTION_TOKEN_ENDS) != t->vocabulary * 4)
		return damaged(status, "its tokens");
	for (uint32_t i = 0; i < t->vocabulary; i++)
	{
		uint32_t next = ds_read_u32(blob_section(t, SECTION_TOKEN_ENDS) + (size_t) i * 4);

		if (next < end || next > blob_length(t, SECTION_TOKENS))
			return damaged(status, "its tokens");
		end = next;
	}
	return check_merges(t, status);
}

DsCode
ds_subword_open(DsSubword *t, const void *blob, size_t size, DsStatus *status)
{
	DsTrie trie;
	DsCode code;

	memset(t, 0, sizeof(*t));
	t->bytes = blob;
	t->size = size;
	if (size < HEADER_WORDS * 4 || blob_word(t, AT_MAGIC) != SUBWORD_MAGIC)
		return ds_fail(status, DS_BAD_DATA, "this is not a tokenizer");
	if (blob_word(t, AT_KIND) != DS_SUBWORD_KIND)
		return ds_fail(status, DS_UNSUPPORTED,
					   "tokenizer is of kind %u, which this program does not know",
					   blob_word(t, AT_KIND));
	if (blob_word(t, AT_VERSION) != SUBWORD_VERSION)
		return ds_fail(status, DS_UNSUPPORTED,
					   "tokenizer has format version %u, this program knows %d",
					   blob_word(t, AT_VERSION), SUBWORD_VERSION);
	t->vocabulary = blob_word(t, AT_VOCABULARY);
	t->max_length = blob_word(t, AT_MAX_LENGTH);
	if (blob_word(t, AT_SIZE) != size || t->vocabulary == 0 ||
		t->vocabulary > DS_SUBWORD_VOCABULARY_MAX ||
		blob_word(t, AT_STRATEGY) > STRATEGY_ONLY_SECOND || blob_word(t, AT_LEFT) > 1)
		return damaged(status, "its header");
	code = check_sections(t, status);
	if (code == DS_OK)
		code = check_steps(t, status);
	if (code == DS_OK)
		code = check_added(t, status);
	if (code == DS_OK)
		code = check_model(t, status);
	if (code != DS_OK)
		return code;
	trie = blob_trie(t, SECTION_TRIE);
	t->prefix_node =
		ds_trie_walk(&trie, ds_trie_root(&trie),
					 (const char *) blob_section(t, SECTION_DATA) + blob_word(t, AT_PREFIX),
					 blob_word(t, AT_PREFIX_LENGTH));
	return DS_OK;
}

const char *
ds_subword_token(const DsSubword *t, uint32_t id, size_t *length)
{
	const unsigned char *ends = blob_section(t, SECTION_TOKEN_ENDS);
	uint32_t begin;

	*length = 0;
	if (id >= t->vocabulary)
		return "";
	begin = id == 0 ? 0 : ds_read_u32(ends + ((size_t) id - 1) * 4);
	*length = ds_read_u32(ends + (size_t) id * 4) - begin;
	return (const char *) blob_section(t, SECTION_TOKENS) + begin;
}

uint32_t
ds_subword_find(const DsSubword *t, const char *token, size_t length)
{
	DsTrie trie = blob_trie(t, SECTION_TRIE);
	uint64_t node = ds_trie_walk(&trie, ds_trie_root(&trie), token, length);
	uint32_t count = blob_length(t, SECTION_ADDED) / (ADDED_WORDS * 4);

	if (length > 0 && DS_TRIE_VALUE(node) != 0)
		return DS_TRIE_VALUE(node) - 1;
	for (uint32_t i = 0; i < count; i++)
	{
		uint32_t id = ds_read_u32(blob_section(t, SECTION_ADDED) + (size_t) i * ADDED_WORDS * 4);
		size_t n;
		const char *text = ds_subword_token(t, id, &n);

		if (n == length && memcmp(text, token, n) == 0)
			return id;
	}
	return DS_SUBWORD_NONE;
}
