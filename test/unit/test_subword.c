/*
 * test_subword.c
 *		The tokenizers of trained models: every component by small files, damaged
 *		files, damaged blobs, hostile texts.
 *
 * The ids expected here are those of the library that defines the format, for
 * the files in subword_samples.h; test/bench/tokenizers compares with it on many
 * texts.
 */
#include "unit.h"

#include <time.h>

#include "base/random.h"
#include "subword_samples.h"
#include "text/forms.h"
#include "text/regex.h"
#include "text/subword.h"
#include "text/trie.h"
#include "text/utf8.h"

static DsStatus status;
static const DsSubwordOptions usual = {.special = true};

typedef struct Opened
{
	DsArena arena;
	DsSubword tokenizer;
	DsSubwordScratch *scratch;
	void *blob;
	size_t size;
} Opened;

static DsCode
open_json(Opened *o, const char *json)
{
	DsArena scratch;
	DsCode code;

	memset(o, 0, sizeof(*o));
	ds_arena_init(&o->arena, NULL);
	ds_arena_init(&scratch, NULL);
	code = ds_subword_compile(json, strlen(json), "test.json", &o->arena, &scratch, NULL, &o->blob,
							  &o->size, &status);
	ds_arena_free(&scratch);
	if (code == DS_OK)
		code = ds_subword_open(&o->tokenizer, o->blob, o->size, &status);
	if (code == DS_OK)
		code = ds_subword_scratch(&o->arena, &o->scratch, &status);
	return code;
}

/* the ids as text, or the message */
static const char *
encode(Opened *o, const char *text, size_t length, const char *second,
	   const DsSubwordOptions *options, DsSubwordTokens *tokens)
{
	static char out[4000];
	size_t n = 0;

	out[0] = 0;
	if (ds_subword_encode(&o->tokenizer, o->scratch, text, length, second,
						  second != NULL ? strlen(second) : 0, options, tokens, &status) != DS_OK)
		return status.message;
	for (size_t i = 0; i < tokens->count && n < sizeof(out) - 20; i++)
		n += (size_t) snprintf(out + n, sizeof(out) - n, i == 0 ? "%u" : " %u", tokens->ids[i]);
	return out;
}

static const struct
{
	int sample;
	const char *text;
	size_t length;
	const char *second;
	const char *ids;
} cases[] = {
	{0, "The running, RÚNS!", 19, NULL, "2 5 6 7 13 6 8 3"},
	{0, "夏季un", 8, NULL, "2 11 12 9 3"},
	{0, "  [MASK]the[MASK]  e\u0301é", 24, NULL, "2 4 5 4 15 16 3"},
	{0, "uuuuuuuuuuuuuu x", 16, NULL, "2 1 1 3"},
	{0, "a\0the\uFFFD \007 run\u200Bs", 18, NULL, "2 1 6 8 3"},
	{0, "the the the the the the the the", 31, NULL, "2 5 5 5 5 5 5 3"},
	{0, "the run", 7, "un run run run run run", "2 5 6 3 9 6 6 3"},
	{0, "", 0, NULL, "2 3"},
	{1, "the  thing's", 12, NULL, "0 108 97 104 74 110 9 85 1"},
	{1, " 夏é\n\n x", 10, NULL, "0 97 101 102 103 99 100 98 98 97 90 1"},
	{1, "a <mask>the</s>", 15, NULL, "0 67 2 108 1 1"},
	{1, "word words word, ab     z", 25, NULL, "0 113 97 89 81 84 70 85 97 113 14 97 114 92 1"},
	{1, "12 1   ", 7, NULL, "0 19 20 111 112 97 1"},
	{1, "a", 1, "the", "0 67 1 1 108 1"},
	{2, "ab abc", 6, NULL, "1 265 265 262"},
	{2, "夏季 d", 8, NULL, "1 259 267 232 176 166 259 103"},
	{2, "</s>a<unk>", 10, NULL, "1 2 264 0"},
	{2, "", 0, NULL, "1"},
	{2, "😀😀", 8, NULL, "1 259 243 162 155 131 243 162 155 131"},
	{3, "ab abc ½ ﬁ", 13, NULL, "3 6 3 9 3 11 14 1"},
	{3, "é\u0301 Å\t\u3000xx yy", 16, NULL, "3 12 3 13 3 2 3 2 1"},
	{3, "<unk>a</s>", 10, NULL, "2 3 4 1 1"},
	{3, "e\u0301é", 5, NULL, "3 2 12 1"},
	{4, "  a  b １2 ", 12, NULL, "258 257 260 257 261"},
	{4, "a<extra> a季", 13, NULL, "259 263 258 230 174 164"},
	{4, "\uFEFFa\u2028b", 8, NULL, "258 257 260"},
	{5, "Café DON'T 12x", 15, NULL, "9 1 2 3 4 5 6 11 8"},
	{5, "hello-world_ é", 15, NULL, "9 8 10 9 0 0 8"},
	{5, "hello", 5, "world", "9 8 8 9 8"},
	{6, "The RUN   running's 夏", 23, NULL, "0 193 195 173 194 79 191 8 178 197 1"},
	{6, "<|StartOfText|>the<|endoftext|>", 31, NULL, "0 0 193 1 1"},
	{6, "don't 12", 8, NULL, "0 69 80 173 8 179 112 113 1"},
	{7, "it's IT'S  a\n\t1234 e\u0301", 22, NULL,
	 "72 83 102 94 40 51 6 50 94 100 95 98 99 19 94 103 104"},
	{7, "whole   a  \n", 12, NULL, "101 96 100 96 95"},
	{8, "abc_ab__bcd", 11, NULL, "9 7 2 6 0"},
	{8, "_", 1, NULL, ""},
};

static void
test_samples(void)
{
	for (size_t s = 0; s < SUBWORD_SAMPLES; s++)
	{
		Opened o;
		size_t bad = 0;
		size_t count = 0;
		DsSubwordTokens tokens;

		if (!CHECK(open_json(&o, subword_samples[s].json) == DS_OK, "%s: compiles",
				   subword_samples[s].name))
		{
			printf("# %s\n", status.message);
			continue;
		}
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		{
			const char *ids;

			if (cases[i].sample != (int) s)
				continue;
			ids = encode(&o, cases[i].text, cases[i].length, cases[i].second, &usual, &tokens);
			count++;
			if (strcmp(ids, cases[i].ids) == 0)
				continue;
			printf("# \"%s\": %s instead of %s\n", cases[i].text, ids, cases[i].ids);
			bad++;
		}
		CHECK(bad == 0, "%s: %zu texts", subword_samples[s].name, count);
		ds_arena_free(&o.arena);
	}
}

static void
test_details(void)
{
	Opened o;
	DsSubwordTokens tokens;
	DsSubwordOptions options = usual;
	const char *token;
	size_t length;
	void *shifted;

	open_json(&o, subword_samples[0].json);
	encode(&o, "Ｘ  rúnning", 13, "un", &usual, &tokens);
	CHECK(tokens.count == 7 && tokens.begins[1] == 0 && tokens.ends[1] == 3 &&
			  tokens.begins[2] == 5 && tokens.ends[2] == 9 && tokens.begins[3] == 9 &&
			  tokens.ends[3] == 13 && tokens.begins[5] == 0 && tokens.ends[5] == 2,
		  "places in the text, in bytes");
	CHECK(tokens.types[4] == 0 && tokens.types[5] == 1 && tokens.types[6] == 1 &&
			  tokens.special[0] == 1 && tokens.special[1] == 0 && tokens.special[6] == 1,
		  "types, and what was added");
	CHECK(!tokens.truncated, "nothing was cut");
	encode(&o, "the the the the the the the the", 31, NULL, &usual, &tokens);
	CHECK(tokens.count == 8 && tokens.truncated, "cut to the length of the file");
	options.max_length = 5;
	CHECK(strcmp(encode(&o, "the run the run the", 19, NULL, &options, &tokens), "2 5 6 5 3") == 0,
		  "cut to a length of the caller's");
	CHECK(strcmp(encode(&o, "the run", 7, "un un un", &options, &tokens), "2 5 3 9 3") == 0,
		  "a pair is cut to halves");
	options.max_length = 2;
	CHECK(strcmp(encode(&o, "the run", 7, NULL, &options, &tokens), "2 3") == 0,
		  "cut to what is added");
	options.max_length = UINT32_MAX;
	encode(&o, "the the the the the the the the the", 35, NULL, &options, &tokens);
	CHECK(tokens.count == 11 && !tokens.truncated, "not cut");
	options.special = false;
	CHECK(strcmp(encode(&o, "the run", 7, NULL, &options, &tokens), "5 6") == 0,
		  "without special tokens");
	token = ds_subword_token(&o.tokenizer, 7, &length);
	CHECK(length == 6 && memcmp(token, "##ning", 6) == 0, "the text of a token");
	ds_subword_token(&o.tokenizer, 1000, &length);
	CHECK(length == 0, "of an id that does not exist");
	CHECK(ds_subword_find(&o.tokenizer, "##s", 3) == 8 &&
			  ds_subword_find(&o.tokenizer, "zz", 2) == DS_SUBWORD_NONE,
		  "the id of a token");

	/* any address */
	shifted = malloc(o.size + 3);
	memcpy((char *) shifted + 3, o.blob, o.size);
	CHECK(ds_subword_open(&o.tokenizer, (char *) shifted + 3, o.size, &status) == DS_OK &&
			  strcmp(encode(&o, "the run", 7, NULL, &usual, &tokens), "2 5 6 3") == 0,
		  "a blob at an odd address");
	free(shifted);
	ds_arena_free(&o.arena);

	/* bytes that are not UTF-8: one U+FFFD for each maximal part */
	open_json(&o, subword_samples[2].json);
	CHECK(strcmp(encode(&o, "a\xe5\xa4|\xf0\x9f\x98\xff\xc0\x80", 10, NULL, &usual, &tokens),
				 "1 264 242 194 192 127 242 194 192 242 194 192 242 194 192 242 194 192") == 0,
		  "invalid bytes");
	ds_arena_free(&o.arena);
}

/* in model, with "?" for the part that the row gives */
static void
refused(const char *json, const char *expected)
{
	Opened o;
	DsCode code = open_json(&o, json);

	if (!CHECK(code != DS_OK && strstr(status.message, expected) != NULL, "refused: %s", expected))
		printf("# %s\n", code == DS_OK ? "not refused" : status.message);
	ds_arena_free(&o.arena);
}

#define WORDS "\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0,\"b\":1},\"unk_token\":\"a\"}"

static void
test_refused(void)
{
	refused("", "test.json is not valid JSON");
	refused("[]", "this is not a tokenizer");
	refused("{}", "there is no model");
	refused("{\"model\":{\"type\":\"CRF\",\"vocab\":{}}}", "model CRF is not supported");
	refused("{\"model\":{\"type\":\"WordLevel\",\"vocab\":{}}}", "the vocabulary is empty");
	refused("{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":-1}}}", "\"a\" has no valid id");
	refused("{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":1e3}}}", "\"a\" has no valid id");
	refused("{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":9999999}}}", "id 9999999");
	refused("{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":1}}}", "no unk_token");
	refused("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",\"b\"]]}}",
			"pair of text and score");
	refused("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1e999]]}}",
			"pair of text and score");
	refused("{\"model\":{\"type\":\"Unigram\",\"unk_id\":7,\"vocab\":[[\"a\",1]]}}", "unk_id 7");
	refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}", "no merges");
	refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}",
			"merge 0 (\"a\" and \"a\")");
	refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}",
			"merge 0 is not a pair");
	refused("{\"model\":{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{\"a\":0},\"merges\":[]}}",
			"dropout");
	refused("{\"normalizer\":{\"type\":\"Magic\"}," WORDS "}", "normalizer Magic is not supported");
	refused("{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":"
			"\"X\"}]}," WORDS "}",
			"normalizer X is not supported");
	refused("{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"////\"}," WORDS
			"}",
			"cut short");
	refused("{\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}," WORDS "}",
			"pre-tokenizer UnicodeScripts is not supported");
	refused("{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a)\\\\1\"}}," WORDS
			"}",
			"pattern \"(a)\\1\": an unknown escape at byte 4");
	refused(
		"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}},"
		"{\"Sequence\":{\"id\":\"A\"}}],\"pair\":[]}," WORDS "}",
		"a template that has a sequence twice");
	refused("{\"post_processor\":{\"type\":\"Y\"}," WORDS "}", "post-processor Y is not supported");
	refused("{\"added_tokens\":[{\"content\":\"x\"}]," WORDS "}", "an added token has no id");
	refused("{\"truncation\":{\"max_length\":5,\"strategy\":\"Z\"}," WORDS "}",
			"strategy of truncation");
}

/*
 * Patterns: where the match at the beginning of the text ends, in characters
 * (-1: no match), as Oniguruma has it.
 */
static void
test_patterns(void)
{
	static const struct
	{
		const char *pattern;
		const char *text;
		int end;
	} rows[] = {
		{"abc", "abcd", 3},
		{"abc", "abd", -1},
		{"a|ab", "ab", 1},
		{"ab|a", "ab", 2},
		{"", "x", 0},
		{"a*", "aaab", 3},
		{"a*?", "aaab", 0},
		{"a+?b", "aaab", 4},
		{"a++a", "aaa", -1},
		{"a?a", "a", 1},
		{"a{2}", "aaa", 2},
		{"a{2,}", "aaaa", 4},
		{"a{,2}", "aaaa", 2},
		{"a{1,3}", "aaaa", 3},
		{"a{1,3}?", "aaaa", 1},
		{"a{2}?b", "b", 1},
		{"a{2}+", "aaaaa", 4},
		{"a{x", "a{x", 3},
		{"(?:ab)+", "ababa", 4},
		{"(?:ab|a){2,3}c", "abaabc", 6},
		{"(?:ab){1,2}?", "abab", 2},
		{"(?>a|ab)c", "abc", -1},
		{"(?:a|ab)c", "abc", 3},
		{"(?:ab)*+a", "abab", -1},
		{"x(?=y)", "xy", 1},
		{"x(?!y)", "xy", -1},
		{"x(?!y)", "xz", 1},
		{"\\s+(?!\\S)", "   a", 2},
		{"\\s+(?!\\S)", "   ", 3},
		{"a(?<=a)b", "ab", 2},
		{"a(?<!a)b", "ab", -1},
		{"^a$", "a", 1},
		{"a$\\nb", "a\nb", 3},
		{"\\Aa\\z", "ab", -1},
		{"a\\Z", "a\n", 1},
		{"a\\b", "a b", 1},
		{"a\\b", "ab", -1},
		{"a\\B", "ab", 1},
		{"[abc]+", "cabd", 3},
		{"[^abc]+", "xyza", 3},
		{"[]a]+", "]a", 2},
		{"[a-c\\]\\-]+", "b-]d", 3},
		{"[a-]+", "a-", 2},
		{"\\p{L}+", "aé夏1", 3},
		{"\\p{Lu}\\P{Lu}", "Éa", 2},
		{"\\p{^L}", "1", 1},
		{"\\p{N}{1,3}", "1234", 3},
		{"[^\\s\\p{L}\\p{N}]+", "!?…a", 3},
		{"[^\\r\\n\\p{L}\\p{N}]?\\p{L}+", "!ab", 3},
		{"\\d+", "12٣a", 3},
		{"\\w+", "a_é夏\u0301-", 5},
		{"\\s+", " \t\u00A0\u3000\u2028a", 5},
		{"\\s", "\uFEFF", -1},
		{"(?i:'S|'LL)", "'ll", 3},
		{"(?i:[a-c]+)d", "AbCd", 4},
		{"(?i)straße", "STRAßE", 6},
		{"(?i:k)", "\u212A", 1},
		{"\\p{Han}+", "夏季a", 2},
		{"[\\u4e00-\\u9fa5]+", "夏季a", 2},
		{"\\x41\\x{590F}\\t", "A夏\t", 3},
		{".+", "ab\nc", 2},
		{"😀+", "😀😀", 2},
	};
	static const char *const unsupported[] = {
		"(",	")",	   "[a",	 "[b-a]", "a**b(", "*",		  "(?<name>a)",
		"\\1",	"\\k<a>",  "[a&&b]", "[[a]]", "(a*)*", "(?<=ab)", "\\p{Greek}",
		"\\pL", "a{1001}", "\\",	 "(?#x)", "\\q"};
	DsArena arena;
	DsRegexScratch scratch = {.arena = &arena};
	size_t bad = 0;

	ds_arena_init(&arena, NULL);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		unsigned char *program;
		size_t size;
		uint32_t text[64];
		size_t n = 0;
		size_t end;
		const unsigned char *p = (const unsigned char *) rows[i].text;

		for (size_t length; *p != 0; p += length)
			text[n++] = ds_utf8_read(p, p + strlen((const char *) p), &length);
		scratch.steps = 10000;
		if (ds_regex_compile(rows[i].pattern, strlen(rows[i].pattern), &arena, &program, &size,
							 &status) != DS_OK ||
			!ds_regex_check(program, size) ||
			ds_regex_match(program, text, n, 0, &scratch, &end, &status) != DS_OK)
			printf("# %s: %s\n", rows[i].pattern, status.message);
		else if (end == (rows[i].end < 0 ? DS_REGEX_NO_MATCH : (size_t) rows[i].end))
			continue;
		else
			printf("# %s on \"%s\": %d\n", rows[i].pattern, rows[i].text, (int) end);
		bad++;
	}
	CHECK(bad == 0, "%zu patterns", sizeof(rows) / sizeof(rows[0]));
	for (size_t i = 0; i < sizeof(unsupported) / sizeof(unsupported[0]); i++)
	{
		unsigned char *program;
		size_t size;

		if (ds_regex_compile(unsupported[i], strlen(unsupported[i]), &arena, &program, &size,
							 &status) == DS_OK)
		{
			printf("# taken: %s\n", unsupported[i]);
			bad++;
		}
	}
	CHECK(bad == 0, "%zu patterns that are refused", sizeof(unsupported) / sizeof(unsupported[0]));
	{
		unsigned char *program;
		size_t size;
		size_t end;
		uint32_t text[40];

		for (size_t i = 0; i < 40; i++)
			text[i] = 'a';
		scratch.steps = 100000;
		CHECK(ds_regex_compile("(?:a+)+b", 8, &arena, &program, &size, &status) == DS_OK &&
				  ds_regex_match(program, text, 40, 0, &scratch, &end, &status) == DS_TOO_LARGE,
			  "an exponential pattern is stopped");
	}
	ds_arena_free(&arena);
}

static void
test_trie(void)
{
	DsArena arena;
	DsRandom random;
	DsTrieKey keys[3000];
	static char bytes[3000][12];
	unsigned char *units;
	uint32_t count;
	DsTrie trie;
	size_t bad = 0;

	ds_arena_init(&arena, NULL);
	ds_random_init(&random, 3, 1);
	for (uint32_t i = 0; i < 3000; i++)
	{
		size_t n = 3 + ds_random_below(&random, 6);

		/* few letters, so that prefixes are shared, and the number, so that all differ */
		for (size_t j = 0; j < n; j++)
			bytes[i][j] = (char) (ds_random_below(&random, 4) * 85);
		memcpy(bytes[i] + n, &i, 3);
		keys[i] = (DsTrieKey){bytes[i], (uint32_t) n + 3, i};
	}
	CHECK(ds_trie_build(keys, 3000, &arena, NULL, &units, &count, &status) == DS_OK &&
			  count < 30000,
		  "a trie of 3,000 keys");
	printf("# %u units\n", count);
	trie = (DsTrie){units, count};
	CHECK(ds_trie_check(&trie, 3000) && !ds_trie_check(&trie, 2999), "its values are in range");
	for (size_t i = 0; i < 3000; i++)
	{
		uint64_t node = ds_trie_walk(&trie, ds_trie_root(&trie), keys[i].bytes, keys[i].length);

		bad += DS_TRIE_VALUE(node) != keys[i].value + 1;
		bad += ds_trie_step(&trie, node, 7) != 0;
		node = ds_trie_walk(&trie, ds_trie_root(&trie), keys[i].bytes, keys[i].length - 1);
		bad += node == 0 || DS_TRIE_VALUE(node) != 0;
	}
	CHECK(bad == 0, "all are found, nothing else is");
	ds_arena_free(&arena);
}

/* a file of one normalizer, whose result is seen as one token of the vocabulary */
static void
normalizes(const char *normalizer, const char *text, const char *expected)
{
	char json[2000];
	Opened o;
	DsSubwordTokens tokens;
	DsSubwordOptions options = {.special = false};

	snprintf(json, sizeof(json),
			 "{\"normalizer\":%s,\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"?\",\"vocab\":"
			 "{\"?\":0,\"%s\":1}}}",
			 normalizer, expected);
	if (!CHECK(open_json(&o, json) == DS_OK &&
				   strcmp(encode(&o, text, strlen(text), NULL, &options, &tokens), "1") == 0,
			   "%s: %s", normalizer, text))
		printf("# %s\n", status.message);
	ds_arena_free(&o.arena);
}

static void
test_normalizers(void)
{
	normalizes("{\"type\":\"NFC\"}", "e\u0301A\u030A\u1100\u1161\u11A8\u0B47\u0B3E",
			   "é\u00C5\uAC01\u0B4B");
	normalizes("{\"type\":\"NFD\"}", "é\uAC01", "e\u0301\u1100\u1161\u11A8");
	normalizes("{\"type\":\"NFC\"}", "a\u0323\u0307\u0301", "ạ\u0307\u0301");
	normalizes("{\"type\":\"NFC\"}", "a\u0307\u0323", "ạ\u0307");
	normalizes("{\"type\":\"NFC\"}", "\u2126\u0958", "Ω\u0915\u093C");
	normalizes("{\"type\":\"NFKC\"}", "ﬁ①Ⅳｶﾞ㍿", "fi1IVガ株式会社");
	normalizes("{\"type\":\"NFKD\"}", "ﬁé", "fie\u0301");
	normalizes("{\"type\":\"Lowercase\"}", "ÀΣΣİ", "àσσi\u0307");
	normalizes("{\"type\":\"StripAccents\"}", "e\u0301\u0903x", "ex");
	normalizes("{\"type\":\"Strip\"}", " \u3000x y\t", "x y");
	normalizes("{\"type\":\"Strip\",\"strip_left\":false}", " x ", " x");
	normalizes("{\"type\":\"Replace\",\"pattern\":{\"String\":\"aa\"},\"content\":\"é\"}", "aaab",
			   "éab");
	normalizes("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"[ab]+\"},\"content\":\"\"}", "abxba",
			   "x");
	normalizes("{\"type\":\"Prepend\",\"prepend\":\"_夏\"}", "x", "_夏x");
	normalizes("{\"type\":\"Nmt\"}", "\x01x\u200By\x7f", "x y");
	normalizes("{\"type\":\"ByteLevel\"}", "é ", "Ã©Ġ");
	normalizes("{\"type\":\"BertNormalizer\"}", "ÀB夏\x07\n", "ab 夏  ");
	normalizes("{\"type\":\"BertNormalizer\",\"strip_accents\":false,\"lowercase\":false}", "Àb",
			   "Àb");
	normalizes("{\"type\":\"Sequence\",\"normalizers\":[]}", "x", "x");
}

/* a file of one pre-tokenizer; the parts are seen by their ends */
static void
splits(const char *splitter, const char *text, const char *expected)
{
	char json[2000];
	char out[200] = "";
	Opened o;
	DsSubwordTokens tokens;
	DsSubwordOptions options = {.special = false};

	snprintf(
		json, sizeof(json),
		"{\"pre_tokenizer\":%s,\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"?\",\"vocab\":"
		"{\"?\":0}}}",
		splitter);
	if (open_json(&o, json) == DS_OK)
	{
		encode(&o, text, strlen(text), NULL, &options, &tokens);
		for (size_t i = 0; i < tokens.count; i++)
			snprintf(out + strlen(out), sizeof(out) - strlen(out), "[%.*s]",
					 (int) (tokens.ends[i] - tokens.begins[i]), text + tokens.begins[i]);
	}
	if (!CHECK(strcmp(out, expected) == 0, "%s: %s", splitter, expected))
		printf("# %s\n", out);
	ds_arena_free(&o.arena);
}

#define SPLIT(behavior, invert)                                                   \
	"{\"type\":\"Split\",\"pattern\":{\"String\":\"-\"},\"behavior\":\"" behavior \
	"\",\"invert\":" invert "}"

static void
test_splitters(void)
{
	splits("null", "a b", "[a b]");
	splits("{\"type\":\"BertPreTokenizer\"}", "Hi, a…b  $", "[Hi][,][a][…][b][$]");
	splits("{\"type\":\"Whitespace\"}", "a_b c!? é", "[a_b][c][!?][é]");
	splits("{\"type\":\"WhitespaceSplit\"}", " a,b\u3000c ", "[a,b][c]");
	splits("{\"type\":\"Punctuation\"}", "a,,b", "[a][,][,][b]");
	splits("{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}", "a,,b", "[a][,,][b]");
	splits("{\"type\":\"Digits\"}", "a12½b", "[a][12½][b]");
	splits("{\"type\":\"Digits\",\"individual_digits\":true}", "a12", "[a][1][2]");
	splits("{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"夏\"}", "a夏夏b", "[a][b]");
	splits("{\"type\":\"FixedLength\",\"length\":2}", "夏季abc", "[夏季][ab][c]");
	splits("{\"type\":\"Metaspace\",\"replacement\":\"_\"}", "ab c  d", "[ab][ c][ ][ d]");
	splits("{\"type\":\"ByteLevel\"}", "I'll  go1!", "[I]['ll][ ][ go][1][!]");
	splits(SPLIT("Removed", "false"), "-a--b", "[a][b]");
	splits(SPLIT("Isolated", "false"), "-a--b", "[-][a][-][-][b]");
	splits(SPLIT("Contiguous", "false"), "-a--b", "[-][a][--][b]");
	splits(SPLIT("MergedWithPrevious", "false"), "-a--b", "[-][a-][-][b]");
	splits(SPLIT("MergedWithNext", "false"), "-a--b-", "[-a][-][-b][-]");
	splits(SPLIT("Removed", "true"), "-a--b", "[-][-][-]");
	splits("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},{\"type\":"
		   "\"Digits\"}]}",
		   "a1 2", "[a][1][2]");
}

/* blobs: cut short, every byte changed */
static void
test_damaged(void)
{
	static const char text[] = "The running 夏季 ab abc ½ it's 12 \n<mask>";
	size_t taken = 0;
	size_t crashed = 0;

	for (size_t s = 0; s < SUBWORD_SAMPLES; s++)
	{
		Opened o;
		unsigned char *copy;
		DsArena arena;
		DsSubwordTokens tokens;

		open_json(&o, subword_samples[s].json);
		copy = malloc(o.size);
		for (size_t n = 0; n < o.size; n += 1 + n / 50)
		{
			DsSubword t;

			memcpy(copy, o.blob, n);
			taken += ds_subword_open(&t, copy, n, &status) == DS_OK;
		}
		CHECK(taken == 0, "%s: a blob that is cut short is refused", subword_samples[s].name);
		memcpy(copy, o.blob, o.size);
		for (size_t i = 0; i < o.size; i += 1 + i / 200)
		{
			for (int bit = 0; bit < 8; bit++)
			{
				DsSubword t;
				DsSubwordScratch *scratch;

				copy[i] ^= (unsigned char) (1 << bit);
				ds_arena_init(&arena, NULL);
				if (ds_subword_open(&t, copy, o.size, &status) == DS_OK &&
					ds_subword_scratch(&arena, &scratch, &status) == DS_OK &&
					ds_subword_encode(&t, scratch, text, sizeof(text) - 1, NULL, 0, &usual, &tokens,
									  &status) == DS_OK)
					for (size_t j = 0; j < tokens.count; j++)
						crashed += tokens.ids[j] >= t.vocabulary ||
								   tokens.begins[j] > tokens.ends[j] ||
								   tokens.ends[j] >= sizeof(text);
				ds_arena_free(&arena);
				copy[i] ^= (unsigned char) (1 << bit);
			}
		}
		CHECK(crashed == 0, "%s: one that is damaged does no harm", subword_samples[s].name);
		free(copy);
		ds_arena_free(&o.arena);
	}
}

/* texts of 200 kB that would be slow if anything were quadratic */
static void
test_hostile(void)
{
	static const char *const units[] = {"a",	"ab", " ",		"夏",	  "\u0301",	 "\u0323\u0301",
										"\xff", "!",  "[MASK]", "\u1100", "👩\u200D", "a \n"};
	size_t n = 200000;
	char *text = malloc(n + 8);

	for (size_t s = 0; s < SUBWORD_SAMPLES; s++)
	{
		Opened o;
		clock_t slowest = 0;
		size_t worst = 0;
		size_t failed = 0;
		DsSubwordOptions options = {.special = true, .max_length = UINT32_MAX};

		open_json(&o, subword_samples[s].json);
		for (size_t u = 0; u < sizeof(units) / sizeof(units[0]); u++)
		{
			DsSubwordTokens tokens;
			clock_t started = clock();

			for (size_t i = 0; i < n; i += strlen(units[u]))
				memcpy(text + i, units[u], strlen(units[u]));
			failed += ds_subword_encode(&o.tokenizer, o.scratch, text, n, NULL, 0, &options,
										&tokens, &status) != DS_OK;
			if (clock() - started > slowest)
			{
				slowest = clock() - started;
				worst = u;
			}
		}
		/* a few hundredths of a second; quadratic would be minutes */
		if (!CHECK(failed == 0 && slowest < 5 * CLOCKS_PER_SEC, "%s: long texts take linear time",
				   subword_samples[s].name))
			printf("# %.2f s for unit %zu, %zu failed: %s\n", (double) slowest / CLOCKS_PER_SEC,
				   worst, failed, status.message);
		ds_arena_free(&o.arena);
	}
	free(text);
}

static void
test_vocab(void)
{
	static const char text[] = "[PAD]\r\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nrun\n##ning\n\né\ne";
	DsVocabOptions options = {.lowercase = true, .strip_accents = -1, .chinese = true};
	DsArena arena;
	Opened o;
	DsSubwordTokens tokens;

	ds_arena_init(&arena, NULL);
	CHECK(ds_subword_compile_vocab(text, sizeof(text) - 1, "vocab.txt", &options, &arena, &arena,
								   NULL, &o.blob, &o.size, &status) == DS_OK &&
			  ds_subword_open(&o.tokenizer, o.blob, o.size, &status) == DS_OK &&
			  ds_subword_scratch(&arena, &o.scratch, &status) == DS_OK,
		  "vocab.txt compiles");
	CHECK(strcmp(encode(&o, "The Running [MASK] É x", 23, NULL, &usual, &tokens),
				 "2 5 6 7 4 10 1 3") == 0,
		  "and encodes as BERT does");
	options.strip_accents = 0;
	CHECK(ds_subword_compile_vocab(text, sizeof(text) - 1, "vocab.txt", &options, &arena, &arena,
								   NULL, &o.blob, &o.size, &status) == DS_OK &&
			  ds_subword_open(&o.tokenizer, o.blob, o.size, &status) == DS_OK &&
			  strcmp(encode(&o, "É", 2, NULL, &usual, &tokens), "2 9 3") == 0,
		  "accents stay when the options say so");
	CHECK(ds_subword_compile_vocab("a\nb\n", 4, "vocab.txt", &options, &arena, &arena, NULL,
								   &o.blob, &o.size, &status) == DS_BAD_DATA &&
			  strcmp(status.message, "vocab.txt: there is no token [UNK]") == 0,
		  "a vocabulary without [UNK] is refused");
	ds_arena_free(&arena);
}

static bool
always(void *context)
{
	(void) context;
	return true;
}

static void
test_cancel(void)
{
	DsCancel cancel = {always, NULL};
	DsSubwordOptions options = {.special = true, .cancel = &cancel};
	Opened o;
	DsArena arena;
	DsSubwordTokens tokens;
	void *blob;
	size_t size;

	ds_arena_init(&arena, NULL);
	open_json(&o, subword_samples[0].json);
	CHECK(ds_subword_encode(&o.tokenizer, o.scratch, "a", 1, NULL, 0, &options, &tokens, &status) ==
			  DS_CANCELLED,
		  "encoding can be cancelled");
	CHECK(ds_subword_compile(subword_samples[0].json, strlen(subword_samples[0].json), "x", &arena,
							 &arena, &cancel, &blob, &size, &status) == DS_CANCELLED,
		  "compiling can be cancelled");
	ds_arena_free(&arena);
	ds_arena_free(&o.arena);
}

/* memory that is taken now, and the most that was */
static size_t taken, most;

static void *
count_allocate(void *context, size_t size)
{
	size_t *memory = malloc(size + 64);

	(void) context;
	if (memory == NULL)
		return NULL;
	memory[0] = size;
	taken += size;
	most = taken > most ? taken : most;
	return memory + 8;
}

static void
count_release(void *context, void *pointer)
{
	size_t *memory = (size_t *) pointer - 8;

	(void) context;
	taken -= memory[0];
	free(memory);
}

/* a vocabulary as large as those of many languages */
static void
test_memory(void)
{
	enum
	{
		TOKENS = 100000
	};
	DsAllocator allocator = {count_allocate, count_release, NULL};
	DsArena arena, scratch;
	char *json = malloc(TOKENS * 40 + 1000);
	size_t n = (size_t) sprintf(
		json, "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"?\",0]");
	void *blob;
	size_t size = 0;

	for (uint32_t i = 0; i < TOKENS; i++)
	{
		char word[12];
		uint32_t mixed = i * UINT32_C(2654435761);
		int length = 4 + (int) (mixed % 5);

		/* the first letters tell the tokens apart */
		for (int k = 0; k < length; k++)
			word[k] = (char) (k < 4 ? 'a' + i / (uint32_t[]){1, 26, 676, 17576}[k] % 26
									: 'a' + (mixed >> (4 * k)) % 26);
		n += (size_t) sprintf(json + n, ",[\"%.*s\",-%u.%08u]", length, word, mixed % 17,
							  mixed % 100000000);
	}
	n += (size_t) sprintf(json + n, "]}}");
	ds_arena_init(&arena, &allocator);
	ds_arena_init(&scratch, &allocator);
	CHECK(ds_subword_compile(json, n, "large", &arena, &scratch, NULL, &blob, &size, &status) ==
			  DS_OK,
		  "a large vocabulary compiles");
	CHECK(most < 5 * size,
		  "and takes less than five times the blob: file %zu, blob %zu, at most %zu", n, size,
		  most);
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	free(json);
}

int
main(void)
{
	test_samples();
	test_details();
	test_refused();
	test_patterns();
	test_trie();
	test_normalizers();
	test_splitters();
	test_vocab();
	test_cancel();
	test_damaged();
	test_hostile();
	test_memory();
	return unit_done();
}
