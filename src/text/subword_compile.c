/*
 * subword_compile.c
 *		Compiling tokenizer.json and vocab.txt into a blob: the frame.
 *
 *   1. the model's vocabulary becomes a trie, its merges a hash table
 *	  (subword_vocabulary.c)
 *   2. the normalizer and the pre-tokenizer become lists of steps
 *	  (subword_steps.c)
 *   3. the added tokens become two tries: of those that are looked for in the
 *	  text as it is, and of those that are looked for after normalizing; the
 *	  latter are normalized themselves, by the steps of 2 (here)
 *   4. the post-processor becomes a list of parts (subword_template.c)
 *   5. the sections are joined behind a header, and the result is opened, so
 *	  that nothing is stored that could not be used
 */
#include "text/subword_compile.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text/utf8.h"

/* strings are short and many; the arena would begin each at a cache line */
#define POOL_SIZE ((size_t) 65536)

bool
compile_fail(Compiler *c, DsCode code, const char *format, ...)
{
	char message[DS_MESSAGE_SIZE];
	va_list args;

	if (c->code != DS_OK)
		return false;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	c->code = ds_fail(c->status, code, "%s: %s", c->name, message);
	return false;
}

bool
compile_no_memory(Compiler *c)
{
	return compile_fail(c, DS_OUT_OF_MEMORY, "out of memory");
}

bool
compile_add(Compiler *c, Section section, const void *bytes, size_t n)
{
	Buffer *buffer = &c->sections[section];

	if (n > UINT32_MAX / 2 - buffer->n)
		return compile_fail(c, DS_TOO_LARGE, "the tokenizer is too large");
	if (!subword_grow(c->arena, (void **) &buffer->bytes, &buffer->capacity, buffer->n + n, 1,
					  buffer->n))
		return compile_no_memory(c);
	if (n > 0)
		memcpy(buffer->bytes + buffer->n, bytes, n);
	buffer->n += n;
	return true;
}

bool
compile_reserve(Compiler *c, Section section, size_t n)
{
	Buffer *buffer = &c->sections[section];
	unsigned char *bytes;

	if (n > UINT32_MAX / 2 - buffer->n)
		return compile_fail(c, DS_TOO_LARGE, "the tokenizer is too large");
	if (n <= buffer->capacity - buffer->n)
		return true;
	bytes = ds_arena_alloc(c->arena, buffer->n + n, 1);
	if (bytes == NULL)
		return compile_no_memory(c);
	if (buffer->n > 0)
		memcpy(bytes, buffer->bytes, buffer->n);
	ds_arena_release(c->arena, buffer->bytes);
	buffer->bytes = bytes;
	buffer->capacity = buffer->n + n;
	return true;
}

bool
compile_add_word(Compiler *c, Section section, uint32_t word)
{
	unsigned char bytes[4];

	ds_write_u32(bytes, word);
	return compile_add(c, section, bytes, 4);
}

bool
compile_data(Compiler *c, const void *bytes, size_t n, uint32_t words[2])
{
	words[0] = (uint32_t) c->sections[SECTION_DATA].n;
	words[1] = (uint32_t) n;
	return compile_add(c, SECTION_DATA, bytes, n);
}

bool
compile_string(Compiler *c, DsJson value, const char *what, String *string)
{
	size_t size;

	*string = (String){NULL, 0};
	if (ds_json_kind(value) != DS_JSON_STRING)
		return compile_fail(c, DS_BAD_DATA, "%s is missing, or no string", what);
	size = ds_json_string_size(value);
	/* most strings stand in the file as they are */
	if (memchr(value.at + 1, '\\', size) == NULL)
	{
		*string = (String){value.at + 1, (uint32_t) size};
		return true;
	}
	if (c->pool == NULL || size > c->pool_size - c->pool_used)
	{
		c->pool_used = 0;
		c->pool_size = size > POOL_SIZE ? size : POOL_SIZE;
		c->pool = ds_arena_alloc(c->arena, c->pool_size, 1);
		if (c->pool == NULL)
		{
			c->pool_size = 0;
			return compile_no_memory(c);
		}
	}
	string->bytes = c->pool + c->pool_used;
	string->length = (uint32_t) ds_json_string_copy(value, c->pool + c->pool_used);
	c->pool_used += string->length;
	return true;
}

bool
compile_flag(Compiler *c, DsJson value, const char *what, bool otherwise, bool *flag)
{
	*flag = otherwise;
	if (ds_json_kind(value) == DS_JSON_ABSENT || ds_json_kind(value) == DS_JSON_NULL)
		return true;
	return ds_json_bool(value, flag) ||
		   compile_fail(c, DS_BAD_DATA, "%s is neither true nor false", what);
}

bool
compile_number(Compiler *c, DsJson value, const char *what, uint32_t most, uint32_t otherwise,
			   uint32_t *number)
{
	int64_t n;

	*number = otherwise;
	if (ds_json_kind(value) == DS_JSON_ABSENT || ds_json_kind(value) == DS_JSON_NULL)
		return true;
	if (!ds_json_integer(value, &n) || n < 0 || n > most)
		return compile_fail(c, DS_BAD_DATA, "%s is not a number of at most %u", what, most);
	*number = (uint32_t) n;
	return true;
}

const char *
compile_type(DsJson component, char *out, size_t size)
{
	DsJson type = ds_json_member(component, "type");

	if (ds_json_kind(type) != DS_JSON_STRING || ds_json_string_size(type) >= size)
		return "of unknown type";
	out[ds_json_string_copy(type, out)] = 0;
	return out;
}

bool
compile_token(Compiler *c, uint32_t id, String token)
{
	if (id >= c->tokens_capacity)
	{
		size_t before = c->tokens_capacity;

		if (!subword_grow(c->arena, (void **) &c->tokens, &c->tokens_capacity, (size_t) id + 1,
						  sizeof(String), before))
			return compile_no_memory(c);
		memset(c->tokens + before, 0, (c->tokens_capacity - before) * sizeof(String));
	}
	c->tokens[id] = token;
	if (id >= c->vocabulary)
		c->vocabulary = id + 1;
	return true;
}

/*
 * Added tokens
 */

typedef struct AddedTries
{
	DsTrieKey *keys[2]; /* as it is, normalized */
	size_t count[2];
	size_t capacity[2];
	DsSubwordScratch *scratch;
	Characters text;
	uint32_t count_all;
} AddedTries;

/* the token's content as it is looked for in normalized text */
static bool
normalize_content(Compiler *c, AddedTries *tries, String *content)
{
	Buffer *steps = &c->sections[SECTION_STEPS];
	char *out;
	size_t n = 0;
	DsStatus reason;
	DsCode code = characters_decode(&tries->text, content->bytes, content->length, &reason);

	if (code == DS_OK)
		code = subword_normalize(steps->bytes, c->header[AT_NORMALIZERS],
								 c->sections[SECTION_DATA].bytes, tries->scratch, &tries->text,
								 &reason);
	if (code != DS_OK)
		return compile_fail(c, code, "%s", reason.message);
	out = ds_arena_alloc(c->arena, tries->text.n, 4);
	if (out == NULL)
		return compile_no_memory(c);
	for (size_t i = 0; i < tries->text.n; i++)
		n += ds_utf8_write(tries->text.c[i], out + n);
	*content = (String){out, (uint32_t) n};
	return true;
}

static bool
add_added(Compiler *c, AddedTries *tries, String content, uint32_t id, uint32_t flags,
		  bool normalized)
{
	if (content.length == 0)
		return true;
	if (!compile_token(c, id, content))
		return false;
	if (normalized && !normalize_content(c, tries, &content))
		return false;
	if (content.length > ADDED_LENGTH_MAX)
		return compile_fail(c, DS_UNSUPPORTED, "added token %u is longer than %d bytes", id,
							ADDED_LENGTH_MAX);
	if (!subword_grow(c->arena, (void **) &tries->keys[normalized], &tries->capacity[normalized],
					  tries->count[normalized] + 1, sizeof(DsTrieKey), tries->count[normalized]))
		return compile_no_memory(c);
	if (content.length > 0)
		tries->keys[normalized][tries->count[normalized]++] =
			(DsTrieKey){content.bytes, content.length, tries->count_all};
	tries->count_all++;
	return compile_add_word(c, SECTION_ADDED, id) && compile_add_word(c, SECTION_ADDED, flags);
}

static bool
start_added(Compiler *c, AddedTries *tries)
{
	DsStatus reason;

	memset(tries, 0, sizeof(*tries));
	tries->text.arena = c->arena;
	if (ds_subword_scratch(c->arena, &tries->scratch, &reason) != DS_OK)
		return compile_no_memory(c);
	tries->scratch->cancel = c->cancel;
	return true;
}

static bool
finish_added(Compiler *c, AddedTries *tries)
{
	for (int i = 0; i < 2; i++)
	{
		unsigned char *units;
		uint32_t count;
		DsStatus reason;
		DsCode code = ds_trie_build(tries->keys[i], tries->count[i], c->arena, c->cancel, &units,
									&count, &reason);

		if (code != DS_OK)
			return compile_fail(c, code, "%s", reason.message);
		if (!compile_add(c, i == 0 ? SECTION_ADDED_RAW : SECTION_ADDED_NORMALIZED, units,
						 (size_t) count * DS_TRIE_UNIT))
			return false;
	}
	return true;
}

bool
compile_added(Compiler *c, DsJson added_tokens)
{
	AddedTries tries;

	if (!start_added(c, &tries))
		return false;
	for (DsJsonItem item = ds_json_items(added_tokens); ds_json_next(&item);)
	{
		DsJson id_value;
		DsJson content_value;
		DsJson special_value;
		DsJson values[4];
		DsJsonWanted wanted[] = {{"id", &id_value},			  {"content", &content_value},
								 {"special", &special_value}, {"single_word", &values[0]},
								 {"lstrip", &values[1]},	  {"rstrip", &values[2]},
								 {"normalized", &values[3]}};
		String content;
		uint32_t id;
		bool special;
		bool flags[4];

		ds_json_members(item.value, wanted, sizeof(wanted) / sizeof(wanted[0]));
		if (!compile_string(c, content_value, "content of an added token", &content) ||
			!compile_number(c, id_value, "id of an added token", DS_SUBWORD_VOCABULARY_MAX - 1,
							DS_SUBWORD_NONE, &id))
			return false;
		if (id == DS_SUBWORD_NONE)
			return compile_fail(c, DS_BAD_DATA, "an added token has no id");
		if (id > c->vocabulary + 65536)
			return compile_fail(c, DS_BAD_DATA, "id %u of an added token is far beyond the others",
								id);
		if (!compile_flag(c, special_value, "special", false, &special))
			return false;
		for (int i = 0; i < 4; i++)
			if (!compile_flag(c, values[i], wanted[3 + i].key, i == 3 && !special, &flags[i]))
				return false;
		if (!add_added(c, &tries, content, id,
					   (flags[0] ? ADDED_SINGLE_WORD : 0) | (flags[1] ? ADDED_LSTRIP : 0) |
						   (flags[2] ? ADDED_RSTRIP : 0),
					   flags[3]))
			return false;
	}
	return finish_added(c, &tries);
}

static bool
compile_truncation(Compiler *c, DsJson truncation)
{
	DsJson max_length;
	DsJson strategy;
	DsJson direction;
	DsJsonWanted wanted[] = {
		{"max_length", &max_length}, {"strategy", &strategy}, {"direction", &direction}};
	static const char *const strategies[] = {"LongestFirst", "OnlyFirst", "OnlySecond"};
	uint32_t i = 0;

	if (ds_json_kind(truncation) == DS_JSON_ABSENT || ds_json_kind(truncation) == DS_JSON_NULL)
		return true;
	ds_json_members(truncation, wanted, 3);
	if (!compile_number(c, max_length, "max_length of truncation", UINT32_MAX - 1, 512,
						&c->header[AT_MAX_LENGTH]))
		return false;
	if (ds_json_kind(strategy) != DS_JSON_ABSENT)
		while (i < 3 && !ds_json_string_is(strategy, strategies[i]))
			i++;
	if (i == 3)
		return compile_fail(c, DS_UNSUPPORTED, "strategy of truncation is not supported");
	c->header[AT_STRATEGY] = i;
	c->header[AT_LEFT] = ds_json_string_is(direction, "Left");
	if (ds_json_kind(direction) != DS_JSON_ABSENT && !c->header[AT_LEFT] &&
		!ds_json_string_is(direction, "Right"))
		return compile_fail(c, DS_UNSUPPORTED, "direction of truncation is not supported");
	return true;
}

/* The number of steps so far */
static uint32_t
step_count(const Compiler *c)
{
	return (uint32_t) (c->sections[SECTION_STEPS].n / (STEP_WORDS * 4));
}

static DsCode
finish(Compiler *c, DsArena *arena, void **blob, size_t *size)
{
	size_t total = HEADER_WORDS * 4;
	unsigned char *bytes;
	DsSubword opened;
	DsStatus reason;
	DsCode code;

	c->header[AT_MAGIC] = SUBWORD_MAGIC;
	c->header[AT_VERSION] = SUBWORD_VERSION;
	c->header[AT_KIND] = DS_SUBWORD_KIND;
	for (uint32_t i = 0; i < SECTION_COUNT; i++)
	{
		total = (total + 7) & ~(size_t) 7;
		c->header[AT_SECTIONS + 2 * i] = (uint32_t) total;
		c->header[AT_SECTIONS + 2 * i + 1] = (uint32_t) c->sections[i].n;
		total += c->sections[i].n;
		if (total > UINT32_MAX)
		{
			compile_fail(c, DS_TOO_LARGE, "the tokenizer is too large");
			return c->code;
		}
	}
	c->header[AT_SIZE] = (uint32_t) total;
	bytes = ds_arena_zero(arena, total, 1);
	if (bytes == NULL)
	{
		compile_no_memory(c);
		return c->code;
	}
	for (uint32_t i = 0; i < HEADER_WORDS; i++)
		ds_write_u32(bytes + (size_t) i * 4, c->header[i]);
	for (uint32_t i = 0; i < SECTION_COUNT; i++)
	{
		if (c->sections[i].n > 0)
			memcpy(bytes + c->header[AT_SECTIONS + 2 * i], c->sections[i].bytes, c->sections[i].n);
		ds_arena_release(c->arena, c->sections[i].bytes);
	}
	code = ds_subword_open(&opened, bytes, total, &reason);
	if (code != DS_OK)
	{
		compile_fail(c, code, "%s", reason.message);
		return c->code;
	}
	*blob = bytes;
	*size = total;
	return DS_OK;
}

static bool
start(Compiler *c, const char *name, size_t length, DsArena *scratch, const DsCancel *cancel,
	  DsStatus *status)
{
	memset(c, 0, sizeof(*c));
	c->name = name;
	c->arena = scratch;
	c->cancel = cancel;
	c->status = status;
	c->header[AT_UNKNOWN] = DS_SUBWORD_NONE;
	if (length > DS_SUBWORD_FILE_MAX)
		return compile_fail(c, DS_TOO_LARGE, "%zu bytes are too many, at most %zu are read", length,
							DS_SUBWORD_FILE_MAX);
	return true;
}

DsCode
ds_subword_compile(const char *json, size_t length, const char *name, DsArena *arena,
				   DsArena *scratch, const DsCancel *cancel, void **blob, size_t *size,
				   DsStatus *status)
{
	Compiler c;
	DsJson root;
	DsJson model;
	DsJson normalizer;
	DsJson splitter;
	DsJson processor;
	DsJson added;
	DsJson truncation;
	DsJsonWanted wanted[] = {{"model", &model},
							 {"normalizer", &normalizer},
							 {"pre_tokenizer", &splitter},
							 {"post_processor", &processor},
							 {"added_tokens", &added},
							 {"truncation", &truncation}};
	DsCode code;

	if (!start(&c, name, length, scratch, cancel, status))
		return c.code;
	code = ds_json_parse(json, length, name, &root, status);
	if (code != DS_OK)
		return code;
	if (ds_json_kind(root) != DS_JSON_OBJECT)
		return ds_fail(status, DS_BAD_DATA, "%s: this is not a tokenizer", name);
	ds_json_members(root, wanted, sizeof(wanted) / sizeof(wanted[0]));
	if (!compile_model(&c, model) || !compile_normalizer(&c, normalizer, 0))
		return c.code;
	c.header[AT_NORMALIZERS] = step_count(&c);
	if (!compile_splitter(&c, splitter, 0))
		return c.code;
	c.header[AT_SPLITTERS] = step_count(&c) - c.header[AT_NORMALIZERS];
	if (!compile_added(&c, added) || !compile_processor(&c, processor) ||
		!compile_truncation(&c, truncation) || !compile_model_finish(&c))
		return c.code;
	return finish(&c, arena, blob, size);
}

DsCode
ds_subword_compile_vocab(const char *text, size_t length, const char *name,
						 const DsVocabOptions *options, DsArena *arena, DsArena *scratch,
						 const DsCancel *cancel, void **blob, size_t *size, DsStatus *status)
{
	static const char *const special[] = {"[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"};
	uint32_t ids[5];
	Compiler c;
	AddedTries tries;
	uint32_t id = 0;

	if (!start(&c, name, length, scratch, cancel, status))
		return c.code;
	for (size_t at = 0; at < length; id++)
	{
		const char *end = memchr(text + at, '\n', length - at);
		size_t n = end != NULL ? (size_t) (end - text) - at : length - at;
		size_t next = at + n + 1;

		if (n > 0 && text[at + n - 1] == '\r')
			n--;
		if (id >= DS_SUBWORD_VOCABULARY_MAX)
			return ds_fail(status, DS_TOO_LARGE, "%s: more than %u lines", name,
						   DS_SUBWORD_VOCABULARY_MAX);
		if (!compile_key(&c, (String){text + at, (uint32_t) n}, id))
			return c.code;
		at = next;
	}
	if (!compile_wordpiece(&c) ||
		!compile_bert(&c, true, options->chinese,
					  options->strip_accents < 0 ? options->lowercase : options->strip_accents > 0,
					  options->lowercase))
		return c.code;
	c.header[AT_NORMALIZERS] = step_count(&c);
	c.header[AT_SPLITTERS] = 1;
	c.header[AT_MAX_LENGTH] = options->max_length;
	if (!compile_step(&c, (uint32_t[STEP_WORDS]){STEP_BERT}) || !start_added(&c, &tries))
		return c.code;
	for (int i = 0; i < 5; i++)
	{
		String content = {special[i], (uint32_t) strlen(special[i])};

		ids[i] = compile_find(&c, content.bytes, content.length);
		if (i < 3 && ids[i] == DS_SUBWORD_NONE)
		{
			compile_fail(&c, DS_BAD_DATA, "there is no token %s", special[i]);
			return c.code;
		}
		if (ids[i] != DS_SUBWORD_NONE && !add_added(&c, &tries, content, ids[i], 0, false))
			return c.code;
	}
	if (!finish_added(&c, &tries) || !compile_around(&c, ids[1], ids[2], false) ||
		!compile_model_finish(&c))
		return c.code;
	return finish(&c, arena, blob, size);
}
