/*
 * subword_vocabulary.c
 *		Compiling the model of a tokenizer.json: its vocabulary and what goes with
 *		it.
 */
#include "text/subword_compile.h"

#include <math.h>
#include <string.h>

#define CANCEL_EVERY 65536

bool
compile_key(Compiler *c, String token, uint32_t id)
{
	if (!subword_grow(c->arena, (void **) &c->keys, &c->keys_capacity, c->key_count + 1,
					  sizeof(DsTrieKey), c->key_count))
		return compile_no_memory(c);
	if (c->key_count % CANCEL_EVERY == 0 && ds_cancelled(c->cancel))
		return compile_fail(c, DS_CANCELLED, "cancelled");
	if (!compile_token(c, id, token))
		return false;
	/* an empty token can never be found */
	if (token.length > 0)
		c->keys[c->key_count++] = (DsTrieKey){token.bytes, token.length, id};
	return true;
}

/* {"token": id, ...} */
static bool
read_vocabulary(Compiler *c, DsJson vocabulary)
{
	size_t count = 0;

	if (ds_json_kind(vocabulary) != DS_JSON_OBJECT)
		return compile_fail(c, DS_BAD_DATA, "the model has no vocabulary");
	for (DsJsonItem item = ds_json_items(vocabulary); ds_json_next(&item); count++)
	{
		String token;
		int64_t id;

		if (!compile_string(c, item.key, "a token", &token))
			return false;
		if (!ds_json_integer(item.value, &id) || id < 0 || id >= DS_SUBWORD_VOCABULARY_MAX)
			return compile_fail(c, DS_BAD_DATA, "token \"%.*s\" has no valid id",
								(int) (token.length < 64 ? token.length : 64), token.bytes);
		if (!compile_key(c, token, (uint32_t) id))
			return false;
	}
	if (count == 0)
		return compile_fail(c, DS_BAD_DATA, "the vocabulary is empty");
	/* tables are as long as the largest id */
	if (c->vocabulary > 8 * count + 65536)
		return compile_fail(c, DS_BAD_DATA, "id %u in a vocabulary of %zu tokens",
							c->vocabulary - 1, count);
	return true;
}

/* [["token", score], ...], the id is the place */
static bool
read_scores(Compiler *c, DsJson vocabulary)
{
	uint32_t id = 0;
	double lowest = INFINITY;

	if (ds_json_kind(vocabulary) != DS_JSON_ARRAY)
		return compile_fail(c, DS_BAD_DATA, "the model has no vocabulary");
	for (DsJsonItem item = ds_json_items(vocabulary); ds_json_next(&item); id++)
	{
		DsJsonItem pair = ds_json_items(item.value);
		String token;
		double score = 0;
		unsigned char bytes[8];
		uint64_t bits;

		if (id >= DS_SUBWORD_VOCABULARY_MAX)
			return compile_fail(c, DS_TOO_LARGE, "more than %u tokens", DS_SUBWORD_VOCABULARY_MAX);
		if (ds_json_kind(item.value) != DS_JSON_ARRAY || !ds_json_next(&pair) ||
			ds_json_kind(pair.value) != DS_JSON_STRING)
			return compile_fail(c, DS_BAD_DATA, "token %u is not a pair of text and score", id);
		if (!compile_string(c, pair.value, "a token", &token))
			return false;
		if (!ds_json_next(&pair) || !ds_json_double(pair.value, &score) || !isfinite(score))
			return compile_fail(c, DS_BAD_DATA, "token %u is not a pair of text and score", id);
		if (!compile_key(c, token, id))
			return false;
		if (score < lowest)
			lowest = score;
		memcpy(&bits, &score, sizeof(bits));
		ds_write_u64(bytes, bits);
		if (!compile_add(c, SECTION_SCORES, bytes, 8))
			return false;
	}
	if (id == 0)
		return compile_fail(c, DS_BAD_DATA, "the vocabulary is empty");
	c->lowest_score = lowest;
	return true;
}

static bool
build_trie(Compiler *c)
{
	unsigned char *units;
	uint32_t count;
	DsStatus reason;
	DsCode code =
		ds_trie_build(c->keys, c->key_count, c->arena, c->cancel, &units, &count, &reason);

	if (code != DS_OK)
		return compile_fail(c, code, "%s", reason.message);
	c->trie = (DsTrie){units, count};
	c->sections[SECTION_TRIE] =
		(Buffer){units, (size_t) count * DS_TRIE_UNIT, (size_t) count * DS_TRIE_UNIT};
	ds_arena_release(c->arena, c->keys);
	c->keys = NULL;
	c->key_count = c->keys_capacity = 0;
	return true;
}

uint32_t
compile_find(const Compiler *c, const char *token, size_t length)
{
	uint64_t node = ds_trie_walk(&c->trie, ds_trie_root(&c->trie), token, length);

	return length > 0 ? DS_TRIE_VALUE(node) - 1 : DS_SUBWORD_NONE;
}

/* the token that the member names, which must be in the vocabulary */
static bool
find_unknown(Compiler *c, DsJson value, bool required)
{
	String token;

	c->header[AT_UNKNOWN] = DS_SUBWORD_NONE;
	if (ds_json_kind(value) == DS_JSON_ABSENT || ds_json_kind(value) == DS_JSON_NULL)
		return !required || compile_fail(c, DS_BAD_DATA, "the model has no unk_token");
	if (!compile_string(c, value, "unk_token", &token))
		return false;
	c->header[AT_UNKNOWN] = compile_find(c, token.bytes, token.length);
	/* without it, a text that needs it is an error */
	return true;
}

/* the ids of <0x00> to <0xFF> */
static bool
add_byte_tokens(Compiler *c)
{
	static const char digits[] = "0123456789ABCDEF";

	for (int byte = 0; byte < 256; byte++)
	{
		char token[6] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};

		if (!compile_add_word(c, SECTION_BYTES, compile_find(c, token, 6)))
			return false;
	}
	c->header[AT_MODEL_FLAGS] |= MODEL_BYTE_FALLBACK;
	return true;
}

/* the member's string to the data, its place to the header; absent: empty */
static bool
add_affix(Compiler *c, DsJson value, const char *what, const char *otherwise, uint32_t at)
{
	String affix = {otherwise, (uint32_t) strlen(otherwise)};

	if (ds_json_kind(value) != DS_JSON_ABSENT && ds_json_kind(value) != DS_JSON_NULL &&
		!compile_string(c, value, what, &affix))
		return false;
	return compile_data(c, affix.bytes, affix.length, &c->header[at]);
}

/*
 * Merges
 */

typedef struct Merge
{
	uint32_t left;
	uint32_t right;
	uint32_t result;
} Merge;

/* "a b", or ["a", "b"] */
static bool
read_merge(Compiler *c, DsJson value, String parts[2])
{
	if (ds_json_kind(value) == DS_JSON_STRING)
	{
		String both;
		const char *space;

		if (!compile_string(c, value, "a merge", &both))
			return false;
		space = memchr(both.bytes, ' ', both.length);
		if (space == NULL ||
			memchr(space + 1, ' ', both.length - (size_t) (space + 1 - both.bytes)) != NULL)
			return false;
		parts[0] = (String){both.bytes, (uint32_t) (space - both.bytes)};
		parts[1] = (String){space + 1, both.length - parts[0].length - 1};
		return true;
	}
	if (ds_json_kind(value) == DS_JSON_ARRAY)
	{
		DsJsonItem item = ds_json_items(value);

		for (int i = 0; i < 2; i++)
			if (!ds_json_next(&item) || ds_json_kind(item.value) != DS_JSON_STRING ||
				!compile_string(c, item.value, "a merge", &parts[i]))
				return false;
		return !ds_json_next(&item);
	}
	return false;
}

static bool
add_merges(Compiler *c, DsJson merges, uint32_t prefix)
{
	uint32_t count = 0;
	uint32_t slots = 2;
	uint32_t rank = 0;
	unsigned char *table;
	char *joined = NULL;
	size_t joined_size = 0;

	if (ds_json_kind(merges) != DS_JSON_ARRAY)
		return compile_fail(c, DS_BAD_DATA, "the model has no merges");
	for (DsJsonItem item = ds_json_items(merges); ds_json_next(&item); count++)
		if (count >= DS_SUBWORD_VOCABULARY_MAX)
			return compile_fail(c, DS_TOO_LARGE, "more than %u merges", DS_SUBWORD_VOCABULARY_MAX);
	if (count == 0)
		return true;
	while (slots < 2 * count)
		slots *= 2;
	table = ds_arena_alloc(c->arena, slots, MERGE_SIZE);
	if (table == NULL)
		return compile_no_memory(c);
	memset(table, 0xFF, (size_t) slots * MERGE_SIZE);
	for (DsJsonItem item = ds_json_items(merges); ds_json_next(&item); rank++)
	{
		String parts[2];
		uint32_t left;
		uint32_t right;
		uint32_t result = DS_SUBWORD_NONE;
		uint32_t slot;

		if (!read_merge(c, item.value, parts))
			return c->code != DS_OK
					   ? false
					   : compile_fail(c, DS_BAD_DATA, "merge %u is not a pair of tokens", rank);
		left = compile_find(c, parts[0].bytes, parts[0].length);
		right = compile_find(c, parts[1].bytes, parts[1].length);
		if (left != DS_SUBWORD_NONE && right != DS_SUBWORD_NONE && parts[1].length >= prefix)
		{
			size_t n = (size_t) parts[0].length + parts[1].length - prefix;

			if (!subword_grow(c->arena, (void **) &joined, &joined_size, n, 1, 0))
				return compile_no_memory(c);
			memcpy(joined, parts[0].bytes, parts[0].length);
			memcpy(joined + parts[0].length, parts[1].bytes + prefix, parts[1].length - prefix);
			result = compile_find(c, joined, n);
		}
		if (result == DS_SUBWORD_NONE)
			return compile_fail(c, DS_BAD_DATA,
								"merge %u (\"%.*s\" and \"%.*s\") is of tokens that are not in "
								"the vocabulary",
								rank, (int) (parts[0].length < 64 ? parts[0].length : 64),
								parts[0].bytes, (int) (parts[1].length < 64 ? parts[1].length : 64),
								parts[1].bytes);
		slot = merge_home(left, right, slots - 1);
		while (ds_read_u32(table + (size_t) slot * MERGE_SIZE + 4) != DS_SUBWORD_NONE &&
			   !(ds_read_u32(table + (size_t) slot * MERGE_SIZE) == left &&
				 ds_read_u32(table + (size_t) slot * MERGE_SIZE + 4) == right))
			slot = (slot + 1) & (slots - 1);
		/* of a pair that is there twice the last rank counts */
		ds_write_u32(table + (size_t) slot * MERGE_SIZE, left);
		ds_write_u32(table + (size_t) slot * MERGE_SIZE + 4, right);
		ds_write_u32(table + (size_t) slot * MERGE_SIZE + 8, rank);
		ds_write_u32(table + (size_t) slot * MERGE_SIZE + 12, result);
		if (rank % CANCEL_EVERY == 0 && ds_cancelled(c->cancel))
			return compile_fail(c, DS_CANCELLED, "cancelled");
	}
	c->sections[SECTION_MERGES] =
		(Buffer){table, (size_t) slots * MERGE_SIZE, (size_t) slots * MERGE_SIZE};
	return true;
}

static bool
add_characters(Compiler *c)
{
	for (uint32_t character = 0; character < CHARACTERS; character++)
	{
		char bytes[2];
		size_t n = 1;

		bytes[0] = (char) character;
		if (character >= 0x80)
		{
			bytes[0] = (char) (0xC0 | character >> 6);
			bytes[1] = (char) (0x80 | (character & 0x3F));
			n = 2;
		}
		if (!compile_add_word(c, SECTION_CHARACTERS, compile_find(c, bytes, n) + 1))
			return false;
	}
	return true;
}

typedef struct ModelMembers
{
	DsJson type;
	DsJson vocab;
	DsJson merges;
	DsJson unk_token;
	DsJson unk_id;
	DsJson prefix;
	DsJson suffix;
	DsJson max_chars;
	DsJson fuse_unk;
	DsJson byte_fallback;
	DsJson ignore_merges;
	DsJson dropout;
} ModelMembers;

static bool
compile_bpe(Compiler *c, const ModelMembers *m)
{
	bool fuse;
	bool fallback;
	bool ignore;
	double dropout = 0;

	c->header[AT_MODEL] = MODEL_BPE;
	if (ds_json_double(m->dropout, &dropout) && dropout > 0)
		return compile_fail(c, DS_UNSUPPORTED, "dropout of model BPE is not supported");
	if (!compile_flag(c, m->fuse_unk, "fuse_unk", false, &fuse) ||
		!compile_flag(c, m->byte_fallback, "byte_fallback", false, &fallback) ||
		!compile_flag(c, m->ignore_merges, "ignore_merges", false, &ignore) ||
		!read_vocabulary(c, m->vocab) || !build_trie(c) || !find_unknown(c, m->unk_token, false) ||
		!add_affix(c, m->prefix, "continuing_subword_prefix", "", AT_PREFIX) ||
		!add_affix(c, m->suffix, "end_of_word_suffix", "", AT_SUFFIX))
		return false;
	c->header[AT_MODEL_FLAGS] =
		(fuse ? MODEL_FUSE_UNKNOWN : 0) | (ignore ? MODEL_IGNORE_MERGES : 0);
	return (!fallback || add_byte_tokens(c)) && add_characters(c) &&
		   add_merges(c, m->merges, c->header[AT_PREFIX_LENGTH]);
}

static bool
compile_unigram(Compiler *c, const ModelMembers *m)
{
	bool fallback;

	c->header[AT_MODEL] = MODEL_UNIGRAM;
	if (!compile_flag(c, m->byte_fallback, "byte_fallback", false, &fallback) ||
		!compile_number(c, m->unk_id, "unk_id", DS_SUBWORD_VOCABULARY_MAX - 1, DS_SUBWORD_NONE,
						&c->header[AT_UNKNOWN]) ||
		!read_scores(c, m->vocab))
		return false;
	if (c->header[AT_UNKNOWN] != DS_SUBWORD_NONE && c->header[AT_UNKNOWN] >= c->vocabulary)
		return compile_fail(c, DS_BAD_DATA, "unk_id %u is not in the vocabulary",
							c->header[AT_UNKNOWN]);
	return build_trie(c) && (!fallback || add_byte_tokens(c));
}

static bool
compile_words(Compiler *c, const ModelMembers *m, Model model)
{
	c->header[AT_MODEL] = model;
	return read_vocabulary(c, m->vocab) && build_trie(c) && find_unknown(c, m->unk_token, true) &&
		   (model == MODEL_WORDLEVEL ||
			(add_affix(c, m->prefix, "continuing_subword_prefix", "##", AT_PREFIX) &&
			 compile_number(c, m->max_chars, "max_input_chars_per_word", UINT32_C(1) << 20, 100,
							&c->header[AT_WORD_MAX])));
}

bool
compile_wordpiece(Compiler *c)
{
	c->header[AT_MODEL] = MODEL_WORDPIECE;
	c->header[AT_WORD_MAX] = 100;
	if (!build_trie(c) || !compile_data(c, "##", 2, &c->header[AT_PREFIX]))
		return false;
	c->header[AT_UNKNOWN] = compile_find(c, "[UNK]", 5);
	return c->header[AT_UNKNOWN] != DS_SUBWORD_NONE ||
		   compile_fail(c, DS_BAD_DATA, "there is no token [UNK]");
}

bool
compile_model(Compiler *c, DsJson model)
{
	ModelMembers m;
	DsJsonWanted wanted[] = {{"type", &m.type},
							 {"vocab", &m.vocab},
							 {"merges", &m.merges},
							 {"unk_token", &m.unk_token},
							 {"unk_id", &m.unk_id},
							 {"continuing_subword_prefix", &m.prefix},
							 {"end_of_word_suffix", &m.suffix},
							 {"max_input_chars_per_word", &m.max_chars},
							 {"fuse_unk", &m.fuse_unk},
							 {"byte_fallback", &m.byte_fallback},
							 {"ignore_merges", &m.ignore_merges},
							 {"dropout", &m.dropout}};
	char name[64];

	if (ds_json_kind(model) != DS_JSON_OBJECT)
		return compile_fail(c, DS_BAD_DATA, "there is no model");
	ds_json_members(model, wanted, sizeof(wanted) / sizeof(wanted[0]));
	if (ds_json_string_is(m.type, "BPE"))
		return compile_bpe(c, &m);
	if (ds_json_string_is(m.type, "Unigram"))
		return compile_unigram(c, &m);
	if (ds_json_string_is(m.type, "WordPiece"))
		return compile_words(c, &m, MODEL_WORDPIECE);
	if (ds_json_string_is(m.type, "WordLevel"))
		return compile_words(c, &m, MODEL_WORDLEVEL);
	if (ds_json_kind(m.type) != DS_JSON_ABSENT)
		return compile_fail(c, DS_UNSUPPORTED, "model %s is not supported",
							compile_type(model, name, sizeof(name)));
	/* old files leave the type out: it shows in the members */
	if (ds_json_kind(m.merges) != DS_JSON_ABSENT)
		return compile_bpe(c, &m);
	if (ds_json_kind(m.vocab) == DS_JSON_ARRAY)
		return compile_unigram(c, &m);
	return compile_words(
		c, &m, ds_json_kind(m.max_chars) != DS_JSON_ABSENT ? MODEL_WORDPIECE : MODEL_WORDLEVEL);
}

/* When all tokens are known, the added ones too: what is as long as the ids */
bool
compile_model_finish(Compiler *c)
{
	uint32_t end = 0;
	size_t size = 0;

	if (c->header[AT_MODEL] == MODEL_UNIGRAM)
	{
		static const unsigned char zero[8] = {0};
		unsigned char lowest[8];
		uint64_t bits;

		/* added tokens are not in the trie, so their score is never looked at */
		while (c->sections[SECTION_SCORES].n < (size_t) c->vocabulary * 8)
			if (!compile_add(c, SECTION_SCORES, zero, 8))
				return false;
		/* the lowest one stands behind those of all ids */
		memcpy(&bits, &c->lowest_score, sizeof(bits));
		ds_write_u64(lowest, bits);
		if (!compile_add(c, SECTION_SCORES, lowest, 8))
			return false;
	}
	c->header[AT_VOCABULARY] = c->vocabulary;
	for (uint32_t id = 0; id < c->vocabulary; id++)
		size += c->tokens[id].bytes != NULL ? c->tokens[id].length : 0;
	if (!compile_reserve(c, SECTION_TOKENS, size) ||
		!compile_reserve(c, SECTION_TOKEN_ENDS, (size_t) c->vocabulary * 4))
		return false;
	for (uint32_t id = 0; id < c->vocabulary; id++)
	{
		String token = c->tokens[id];

		if (token.bytes != NULL && !compile_add(c, SECTION_TOKENS, token.bytes, token.length))
			return false;
		end += token.bytes != NULL ? token.length : 0;
		if (!compile_add_word(c, SECTION_TOKEN_ENDS, end))
			return false;
	}
	ds_arena_release(c->arena, c->tokens);
	c->tokens = NULL;
	return true;
}
