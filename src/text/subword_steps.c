/*
 * subword_steps.c
 *		Compiling the normalizer and the pre-tokenizer of a tokenizer.json.
 */
#include "text/subword_compile.h"

#include <string.h>

#include "text/utf8.h"

/* what the pre-tokenizers without a pattern of their own mean */
static const char gpt2_pattern[] =
	"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
static const char word_pattern[] = "\\w+|[^\\w\\s]+";

#define MAX_DEPTH 16

bool
compile_step(Compiler *c, const uint32_t words[STEP_WORDS])
{
	for (int i = 0; i < STEP_WORDS; i++)
		if (!compile_add_word(c, SECTION_STEPS, words[i]))
			return false;
	return true;
}

static bool
simple_step(Compiler *c, StepKind kind, uint32_t argument)
{
	return compile_step(c, (uint32_t[STEP_WORDS]){(uint32_t) kind, argument});
}

static bool
compile_pattern(Compiler *c, const char *pattern, size_t length, uint32_t words[2])
{
	unsigned char *program;
	size_t size;
	DsStatus reason;
	DsCode code = ds_regex_compile(pattern, length, c->arena, &program, &size, &reason);

	if (code != DS_OK)
		return compile_fail(c, code, "%s", reason.message);
	return compile_data(c, program, size, words);
}

/* {"Regex": "..."} or {"String": "..."}, or a string as older files have it */
static bool
read_pattern(Compiler *c, DsJson pattern, const char *what, String *string, bool *regex)
{
	DsJson is_regex;
	DsJson is_string;
	DsJsonWanted wanted[] = {{"Regex", &is_regex}, {"String", &is_string}};

	*regex = false;
	if (ds_json_kind(pattern) == DS_JSON_STRING)
		return compile_string(c, pattern, what, string);
	ds_json_members(pattern, wanted, 2);
	*regex = ds_json_kind(is_regex) == DS_JSON_STRING;
	return compile_string(c, *regex ? is_regex : is_string, what, string);
}

static int
base64_digit(char c)
{
	return c >= 'A' && c <= 'Z'	  ? c - 'A'
		   : c >= 'a' && c <= 'z' ? c - 'a' + 26
		   : c >= '0' && c <= '9' ? c - '0' + 52
		   : c == '+'			  ? 62
		   : c == '/'			  ? 63
								  : -1;
}

/* the map of sentencepiece: u32 size of the trie, the trie, strings */
static bool
compile_charsmap(Compiler *c, DsJson map)
{
	String text;
	unsigned char *bytes;
	size_t n = 0;
	uint32_t buffer = 0;
	uint32_t trie_size;
	uint32_t words[STEP_WORDS] = {STEP_CHARSMAP};

	/* without a map nothing is changed */
	if (ds_json_kind(map) == DS_JSON_ABSENT || ds_json_kind(map) == DS_JSON_NULL)
		return true;
	if (!compile_string(c, map, "precompiled_charsmap", &text))
		return false;
	if (text.length == 0)
		return true;
	bytes = ds_arena_alloc(c->arena, text.length, 1);
	if (bytes == NULL)
		return compile_no_memory(c);
	while (text.length > 0 && text.bytes[text.length - 1] == '=')
		text.length--;
	for (uint32_t i = 0; i < text.length; i++)
	{
		int digit = base64_digit(text.bytes[i]);

		if (digit < 0)
			return compile_fail(c, DS_BAD_DATA, "precompiled_charsmap is not base64");
		buffer = buffer << 6 | (uint32_t) digit;
		if (i % 4 != 0)
			bytes[n++] = (unsigned char) (buffer >> (6 - 2 * (i % 4)));
	}
	trie_size = n >= 4 ? ds_read_u32(bytes) : 0;
	if (n < 4 || trie_size > n - 4 || trie_size % 4 != 0)
		return compile_fail(c, DS_BAD_DATA, "precompiled_charsmap is cut short");
	return compile_data(c, bytes + 4, trie_size, words + 1) &&
		   compile_data(c, bytes + 4 + trie_size, n - 4 - trie_size, words + 3) &&
		   compile_step(c, words);
}

bool
compile_bert(Compiler *c, bool clean, bool chinese, bool strip_accents, bool lowercase)
{
	return (!clean || simple_step(c, STEP_CLEAN, 0)) &&
		   (!chinese || simple_step(c, STEP_CHINESE, 0)) &&
		   (!strip_accents ||
			(simple_step(c, STEP_FORM, 0) && simple_step(c, STEP_STRIP_NONSPACING, 0))) &&
		   (!lowercase || simple_step(c, STEP_LOWERCASE, 0));
}

static bool
compile_bert_normalizer(Compiler *c, DsJson normalizer)
{
	DsJson clean_text;
	DsJson chinese_chars;
	DsJson accents;
	DsJson lower;
	DsJsonWanted wanted[] = {{"clean_text", &clean_text},
							 {"handle_chinese_chars", &chinese_chars},
							 {"strip_accents", &accents},
							 {"lowercase", &lower}};
	bool clean;
	bool chinese;
	bool strip;
	bool lowercase;

	ds_json_members(normalizer, wanted, 4);
	return compile_flag(c, clean_text, "clean_text", true, &clean) &&
		   compile_flag(c, chinese_chars, "handle_chinese_chars", true, &chinese) &&
		   compile_flag(c, lower, "lowercase", true, &lowercase) &&
		   compile_flag(c, accents, "strip_accents", lowercase, &strip) &&
		   compile_bert(c, clean, chinese, strip, lowercase);
}

static bool
compile_replace(Compiler *c, DsJson normalizer)
{
	DsJson pattern;
	DsJson content;
	DsJsonWanted wanted[] = {{"pattern", &pattern}, {"content", &content}};
	uint32_t words[STEP_WORDS] = {STEP_REPLACE};
	String what;
	String by;
	bool regex;

	ds_json_members(normalizer, wanted, 2);
	if (!read_pattern(c, pattern, "pattern of Replace", &what, &regex) ||
		!compile_string(c, content, "content of Replace", &by))
		return false;
	words[5] = regex;
	return (regex ? compile_pattern(c, what.bytes, what.length, words + 1)
				  : compile_data(c, what.bytes, what.length, words + 1)) &&
		   compile_data(c, by.bytes, by.length, words + 3) && compile_step(c, words);
}

static bool
compile_list(Compiler *c, DsJson list, const char *what, int depth,
			 bool (*compile)(Compiler *c, DsJson component, int depth))
{
	if (ds_json_kind(list) != DS_JSON_ARRAY)
		return compile_fail(c, DS_BAD_DATA, "a Sequence without \"%s\"", what);
	if (depth >= MAX_DEPTH)
		return compile_fail(c, DS_UNSUPPORTED, "sequences are nested too deep");
	for (DsJsonItem item = ds_json_items(list); ds_json_next(&item);)
		if (!compile(c, item.value, depth + 1))
			return false;
	return true;
}

bool
compile_normalizer(Compiler *c, DsJson normalizer, int depth)
{
	static const struct
	{
		const char *name;
		StepKind step;
		uint32_t argument;
	} simple[] = {{"NFD", STEP_FORM, 0},
				  {"NFKD", STEP_FORM, 1},
				  {"NFC", STEP_FORM, 2},
				  {"NFKC", STEP_FORM, 3},
				  {"Lowercase", STEP_LOWERCASE, 0},
				  {"StripAccents", STEP_STRIP_MARKS, 0},
				  {"Nmt", STEP_NMT, 0},
				  {"ByteLevel", STEP_BYTES, 0}};
	DsJson type;
	char name[64];

	if (ds_json_kind(normalizer) == DS_JSON_ABSENT || ds_json_kind(normalizer) == DS_JSON_NULL)
		return true;
	type = ds_json_member(normalizer, "type");
	for (size_t i = 0; i < sizeof(simple) / sizeof(simple[0]); i++)
		if (ds_json_string_is(type, simple[i].name))
			return simple_step(c, simple[i].step, simple[i].argument);
	if (ds_json_string_is(type, "Sequence"))
		return compile_list(c, ds_json_member(normalizer, "normalizers"), "normalizers", depth,
							compile_normalizer);
	if (ds_json_string_is(type, "BertNormalizer"))
		return compile_bert_normalizer(c, normalizer);
	if (ds_json_string_is(type, "Replace"))
		return compile_replace(c, normalizer);
	if (ds_json_string_is(type, "Precompiled"))
		return compile_charsmap(c, ds_json_member(normalizer, "precompiled_charsmap"));
	if (ds_json_string_is(type, "Prepend"))
	{
		uint32_t words[STEP_WORDS] = {STEP_PREPEND};
		String text;

		return compile_string(c, ds_json_member(normalizer, "prepend"), "prepend", &text) &&
			   compile_data(c, text.bytes, text.length, words + 1) && compile_step(c, words);
	}
	if (ds_json_string_is(type, "Strip"))
	{
		bool left;
		bool right;

		return compile_flag(c, ds_json_member(normalizer, "strip_left"), "strip_left", true,
							&left) &&
			   compile_flag(c, ds_json_member(normalizer, "strip_right"), "strip_right", true,
							&right) &&
			   simple_step(c, STEP_STRIP, left | (uint32_t) right << 1);
	}
	return compile_fail(c, DS_UNSUPPORTED, "normalizer %s is not supported",
						compile_type(normalizer, name, sizeof(name)));
}

static bool
read_behavior(Compiler *c, DsJson value, const char *component, SplitBehavior otherwise,
			  uint32_t *behavior)
{
	static const char *const names[SPLIT_BEHAVIORS] = {"Removed", "Isolated", "MergedWithPrevious",
													   "MergedWithNext", "Contiguous"};

	*behavior = otherwise;
	if (ds_json_kind(value) == DS_JSON_ABSENT)
		return true;
	for (uint32_t i = 0; i < SPLIT_BEHAVIORS; i++)
		if (ds_json_string_is(value, names[i]))
		{
			*behavior = i;
			return true;
		}
	return compile_fail(c, DS_UNSUPPORTED, "behavior of pre-tokenizer %s is not supported",
						component);
}

static bool
compile_split(Compiler *c, DsJson splitter)
{
	DsJson pattern;
	DsJson behavior;
	DsJson invert;
	DsJsonWanted wanted[] = {{"pattern", &pattern}, {"behavior", &behavior}, {"invert", &invert}};
	uint32_t words[STEP_WORDS] = {STEP_SPLIT_STRING};
	String string;
	bool regex;
	bool inverted;

	ds_json_members(splitter, wanted, 3);
	if (!read_pattern(c, pattern, "pattern of Split", &string, &regex) ||
		!read_behavior(c, behavior, "Split", SPLIT_REMOVED, &words[3]) ||
		!compile_flag(c, invert, "invert", false, &inverted))
		return false;
	if (regex)
		words[0] = STEP_SPLIT;
	words[4] = inverted;
	return (regex ? compile_pattern(c, string.bytes, string.length, words + 1)
				  : compile_data(c, string.bytes, string.length, words + 1)) &&
		   compile_step(c, words);
}

static bool
compile_bytelevel(Compiler *c, DsJson splitter)
{
	uint32_t words[STEP_WORDS] = {STEP_BYTELEVEL};
	bool prefix;
	bool regex;

	if (!compile_flag(c, ds_json_member(splitter, "add_prefix_space"), "add_prefix_space", true,
					  &prefix) ||
		!compile_flag(c, ds_json_member(splitter, "use_regex"), "use_regex", true, &regex))
		return false;
	words[3] = prefix;
	return (!regex || compile_pattern(c, gpt2_pattern, sizeof(gpt2_pattern) - 1, words + 1)) &&
		   compile_step(c, words);
}

static bool
compile_metaspace(Compiler *c, DsJson splitter)
{
	DsJson replacement;
	DsJson scheme;
	DsJson prefix;
	DsJson split;
	DsJsonWanted wanted[] = {{"replacement", &replacement},
							 {"prepend_scheme", &scheme},
							 {"add_prefix_space", &prefix},
							 {"split", &split}};
	String string;
	bool add_prefix;
	bool do_split;
	uint32_t character;
	uint32_t prepend;
	size_t length;

	ds_json_members(splitter, wanted, 4);
	if (!compile_string(c, replacement, "replacement of Metaspace", &string) ||
		!compile_flag(c, prefix, "add_prefix_space", true, &add_prefix) ||
		!compile_flag(c, split, "split", true, &do_split))
		return false;
	if (string.length == 0)
		return compile_fail(c, DS_BAD_DATA, "replacement of Metaspace is empty");
	character = ds_utf8_read((const unsigned char *) string.bytes,
							 (const unsigned char *) string.bytes + string.length, &length);
	if (length != string.length)
		return compile_fail(c, DS_BAD_DATA, "replacement of Metaspace is not one character");
	/* older files know add_prefix_space only */
	if (ds_json_string_is(scheme, "first"))
		prepend = PREPEND_FIRST;
	else if (ds_json_string_is(scheme, "never"))
		prepend = PREPEND_NEVER;
	else if (ds_json_string_is(scheme, "always"))
		prepend = PREPEND_ALWAYS;
	else if (ds_json_kind(scheme) == DS_JSON_ABSENT || ds_json_kind(scheme) == DS_JSON_NULL)
		prepend = add_prefix ? PREPEND_ALWAYS : PREPEND_NEVER;
	else
		return compile_fail(c, DS_UNSUPPORTED, "prepend_scheme of Metaspace is not supported");
	return compile_step(c, (uint32_t[STEP_WORDS]){STEP_METASPACE, character, prepend, do_split});
}

bool
compile_splitter(Compiler *c, DsJson splitter, int depth)
{
	DsJson type;
	char name[64];
	uint32_t words[STEP_WORDS] = {0};

	if (ds_json_kind(splitter) == DS_JSON_ABSENT || ds_json_kind(splitter) == DS_JSON_NULL)
		return true;
	type = ds_json_member(splitter, "type");
	if (ds_json_string_is(type, "Sequence"))
		return compile_list(c, ds_json_member(splitter, "pretokenizers"), "pretokenizers", depth,
							compile_splitter);
	if (ds_json_string_is(type, "BertPreTokenizer"))
		return simple_step(c, STEP_BERT, 0);
	if (ds_json_string_is(type, "WhitespaceSplit"))
		return simple_step(c, STEP_SPACES, 0);
	if (ds_json_string_is(type, "Whitespace"))
	{
		words[0] = STEP_SPLIT;
		words[3] = SPLIT_REMOVED;
		words[4] = 1;
		return compile_pattern(c, word_pattern, sizeof(word_pattern) - 1, words + 1) &&
			   compile_step(c, words);
	}
	if (ds_json_string_is(type, "Punctuation"))
	{
		words[0] = STEP_PUNCTUATION;
		return read_behavior(c, ds_json_member(splitter, "behavior"), "Punctuation", SPLIT_ISOLATED,
							 &words[3]) &&
			   compile_step(c, words);
	}
	if (ds_json_string_is(type, "Digits"))
	{
		bool individual;

		words[0] = STEP_DIGITS;
		if (!compile_flag(c, ds_json_member(splitter, "individual_digits"), "individual_digits",
						  false, &individual))
			return false;
		words[3] = individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
		return compile_step(c, words);
	}
	if (ds_json_string_is(type, "CharDelimiterSplit"))
	{
		String delimiter;

		words[0] = STEP_SPLIT_STRING;
		words[3] = SPLIT_REMOVED;
		return compile_string(c, ds_json_member(splitter, "delimiter"), "delimiter", &delimiter) &&
			   compile_data(c, delimiter.bytes, delimiter.length, words + 1) &&
			   compile_step(c, words);
	}
	if (ds_json_string_is(type, "FixedLength"))
	{
		words[0] = STEP_FIXED_LENGTH;
		return compile_number(c, ds_json_member(splitter, "length"), "length of FixedLength",
							  UINT32_C(1) << 30, 5, &words[1]) &&
			   (words[1] > 0 || compile_fail(c, DS_BAD_DATA, "length of FixedLength is 0")) &&
			   compile_step(c, words);
	}
	if (ds_json_string_is(type, "Split"))
		return compile_split(c, splitter);
	if (ds_json_string_is(type, "ByteLevel"))
		return compile_bytelevel(c, splitter);
	if (ds_json_string_is(type, "Metaspace"))
		return compile_metaspace(c, splitter);
	return compile_fail(c, DS_UNSUPPORTED, "pre-tokenizer %s is not supported",
						compile_type(splitter, name, sizeof(name)));
}
