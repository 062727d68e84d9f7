/*
 * test_text.c
 *		Cleaning, character classes, the n-gram tokenizer.
 */
#include "unit.h"

#include "base/random.h"
#include "text/clean.h"
#include "text/tokenizer.h"
#include "text/unicode.h"
#include "text/utf8.h"

static const DsCleanOptions html = {true, true, true, true, true};
static const DsCleanOptions nothing = {false, false, false, false, false};

static void
cleans(const DsCleanOptions *options, const char *text, const char *expected, const char *what)
{
	char out[3000];
	size_t n = ds_clean(options, text, strlen(text), out, sizeof(out) - 1);

	out[n] = '\0';
	if (!CHECK(strcmp(out, expected) == 0, "clean: %s", what))
		printf("# \"%s\" instead of \"%s\"\n", out, expected);
}

static void
test_clean(void)
{
	const DsCleanOptions *o = &ds_clean_defaults;
	char out[100];
	int same = 1;

	cleans(o, "", "", "nothing");
	cleans(o, "Nike Air", "nike air", "ASCII case");
	cleans(o, "ＮＩＫＥ　Ａｉｒ１２３（女）", "nike air123(女)", "fullwidth forms");
	cleans(o, "ｶﾞﾝﾀﾞﾑ ﾊﾟﾝ ﾊﾞｯｸﾞ ｳﾞ ﾜﾞ ﾞ", "ガンダム パン バッグ ヴ ヷ \u3099",
		   "halfwidth katakana and their marks");
	cleans(o, "￥100 ￦", "¥100 ₩", "fullwidth signs");
	cleans(o, "ΣΊΣΥΦΟΣ ς ЖЁЛТЫЙ ÀÉÎÕÜ Ø Ÿ Þ", "σίσυφοσ σ жёлтый àéîõü ø ÿ þ",
		   "case of Greek, Cyrillic, Latin");
	cleans(o, "ẞ ß Ǆ ԱՐԵՒ Ⓐ ꭰ 𐐀", "ß ß ǆ արեւ ⓐ Ꭰ 𐐨", "case further away");
	cleans(o, "  a \t\n b\u00A0\u3000\u2003c\r\n ", "a b c", "white space");
	cleans(o,
		   "a\x01"
		   "b\x7f"
		   "c\u200Bd\uFEFFe\u00ADf\xc2\x85g",
		   "abcdef g", "controls and invisible characters");
	cleans(o, "<b>a</b> &amp; b", "<b>a</b> &amp; b", "HTML stays unless asked for");
	cleans(o, "夏季连衣裙", "夏季连衣裙", "Chinese is left alone");
	cleans(o, "e\u0301 👗👩‍👧", "e\u0301 👗👩👧", "combining marks stay, joiners go");
	cleans(&nothing, "ＡB \t c\x01 ", "ＡB \t c\x01 ", "all options off: nothing changes");

	cleans(&html, "<p class=\"a>b\">Nike</p>&nbsp;<BR/>Air&#x4e00;&#20108;&lt;b&gt;",
		   "nike air一二<b>", "tags and entities");
	cleans(&html, "a<!-- x > y -->b <script>if (a<b) x();</script>c<style>p{}</STYLE>d", "a b c d",
		   "comments, scripts, styles");
	cleans(&html, "3 < 4 and 5 > 2, a<b", "3 < 4 and 5 > 2, a<b", "signs that are no tags");
	cleans(&html, "<a href='x y>text", "text", "a quote that never ends");
	cleans(&html, "x <script>y", "x y", "a script that never ends");
	cleans(&html, "&bogus; & &# &#x; &#xZZ; &; &#0; &#x110000; &#xD800;",
		   "&bogus; & &# &#x; &#xzz; &; \uFFFD \uFFFD \uFFFD", "what is no entity");
	cleans(&html, "caf&eacute; &Ouml;l &trade;", "café öl ™", "named entities, folded");

	/* bytes that are not UTF-8 */
	cleans(o,
		   "a\xff"
		   "b\xc3",
		   "a\uFFFDb\uFFFD", "stray bytes");
	cleans(o, "\xc0\xaf|\xe0\x80\xaf|\xed\xa0\x80|\xf4\x90\x80\x80|\xf8",
		   "\uFFFD\uFFFD|\uFFFD\uFFFD\uFFFD|\uFFFD\uFFFD\uFFFD|\uFFFD\uFFFD\uFFFD\uFFFD|\uFFFD",
		   "overlong forms, surrogates, numbers that are too large");
	cleans(o, "夏\xe5\xad", "夏\uFFFD\uFFFD", "a character cut in two");

	CHECK(ds_clean(o, "夏季连衣裙", 15, out, 7) == 6 && memcmp(out, "夏季", 6) == 0,
		  "a short buffer ends between characters");
	CHECK(ds_clean(o, "a b", 3, out, 2) == 1, "no space at the end of a short buffer");
	CHECK(ds_clean(o, "a\0b", 3, out, 10) == 2 && memcmp(out, "ab", 2) == 0, "a zero byte");
	CHECK(ds_clean_bound(SIZE_MAX / 2) == SIZE_MAX && ds_clean_bound(5) == 15, "the bound");

	/* a clean text stays as it is, and nothing exceeds the bound */
	for (uint64_t round = 0; round < 20000; round++)
	{
		static const uint32_t interesting[] = {0x20,   0x41,	0xFF76, 0xFF9E, 0xFF9F,
											   0x3000, 0x200B,	0x23A,	0x130,	0x1E9E,
											   0x345,  0x10400, 0xFFFD, 0x85};
		DsRandom random;
		char text[64];
		char once[200];
		char twice[200];
		size_t n = 0;
		size_t first;
		size_t second;

		ds_random_init(&random, 7, round);
		while (n < 50)
		{
			uint64_t kind = ds_random_below(&random, 3);

			if (kind == 0)
				text[n++] = (char) ds_random_next(&random);
			else if (kind == 1)
				n += ds_utf8_write(interesting[ds_random_below(&random, 14)], text + n);
			else
				n += ds_utf8_write((uint32_t) ds_random_below(&random, 0x3100), text + n);
		}
		first = ds_clean(o, text, n, once, sizeof(once));
		second = ds_clean(o, once, first, twice, sizeof(twice));
		if (first > ds_clean_bound(n) || first != second || memcmp(once, twice, first) != 0)
			same = 0;
	}
	CHECK(same, "cleaning a clean text changes nothing (20,000 random texts)");
}

/* time stays linear on text that was made to be slow */
static void
test_hostile(void)
{
	static const char *const units[] = {"<a", "<a '", "<!--",	  "<script>",
										"&",  "&#",	  "<style><", "<a='"};
	size_t n = 1 << 21;
	char *text = malloc(n);
	char *out = malloc(ds_clean_bound(n));
	size_t total = 0;

	for (size_t u = 0; u < sizeof(units) / sizeof(units[0]); u++)
	{
		for (size_t i = 0; i < n; i++)
			text[i] = units[u][i % strlen(units[u])];
		total += ds_clean(&html, text, n, out, ds_clean_bound(n)) > 0;
	}
	CHECK(total > 0, "2 MB of unfinished tags (this ends)");
	free(text);
	free(out);
}

static void
test_unicode(void)
{
	int stable = 1;
	int small = 1;

	for (uint32_t c = 0; c < 0x110000; c++)
	{
		uint32_t folded = ds_fold_case(c);

		stable = stable && ds_fold_case(folded) == folded;
		small = small && ds_utf8_size(folded) <= 3 * ds_utf8_size(c) &&
				ds_utf8_size(ds_fold_width(c)) <= ds_utf8_size(c);
	}
	CHECK(stable, "folding case twice changes nothing more");
	CHECK(small, "folding does not exceed the bound of cleaning");
	CHECK(ds_fold_case(0x10FFFF) == 0x10FFFF && ds_fold_case(0x1E921) == 0x1E943 &&
			  ds_fold_case(0x10C7) == 0x2D27,
		  "the ends of the table");
	CHECK(ds_char_class('a') == DS_CHAR_WORD && ds_char_class('-') == DS_CHAR_SEPARATOR &&
			  ds_char_class(0xE9) == DS_CHAR_WORD && ds_char_class(0x0416) == DS_CHAR_WORD &&
			  ds_char_class(0x05D0) == DS_CHAR_WORD && ds_char_class(0x0967) == DS_CHAR_WORD &&
			  ds_char_class(0x3001) == DS_CHAR_SEPARATOR &&
			  ds_char_class(0x2014) == DS_CHAR_SEPARATOR,
		  "classes: words and separators");
	CHECK(ds_char_class(0x590F) == DS_CHAR_SPACELESS &&
			  ds_char_class(0x30AC) == DS_CHAR_SPACELESS &&
			  ds_char_class(0xD55C) == DS_CHAR_SPACELESS &&
			  ds_char_class(0x0E01) == DS_CHAR_SPACELESS &&
			  ds_char_class(0x20000) == DS_CHAR_SPACELESS &&
			  ds_char_class(0x3005) == DS_CHAR_SPACELESS,
		  "classes: scripts without spaces");
	CHECK(ds_char_class(0x1F457) == DS_CHAR_SYMBOL && ds_char_class(0x0301) == DS_CHAR_MARK &&
			  ds_char_class(0x200D) == DS_CHAR_IGNORED &&
			  ds_char_class(0xFE0F) == DS_CHAR_IGNORED && ds_char_class(0x1F3FD) == DS_CHAR_IGNORED,
		  "classes: emoji, marks, joiners");
}

/* A tokenizer learned from some texts, in memory of its own */
typedef struct Learned
{
	DsArena arena;
	DsTokenizer tokenizer;
	DsTokenScratch scratch;
	void *blob;
	size_t size;
} Learned;

static DsCode
learn(Learned *l, const DsTokenizerConfig *config, const char *const *texts, size_t n,
	  DsStatus *status)
{
	DsTokenizerLearner *learner;
	DsCode code;

	ds_arena_init(&l->arena, NULL);
	code = ds_tokenizer_learn_begin(config, &l->arena, &learner, status);
	for (size_t t = 0; t < n && code == DS_OK; t++)
		code = ds_tokenizer_learn_add(learner, texts[t], strlen(texts[t]), status);
	if (code == DS_OK)
		code = ds_tokenizer_learn_finish(learner, &l->arena, &l->blob, &l->size, status);
	if (code == DS_OK)
		code = ds_tokenizer_open(&l->tokenizer, l->blob, l->size, status);
	if (code == DS_OK)
		code = ds_tokenizer_scratch(&l->tokenizer, &l->arena, &l->scratch, status);
	return code;
}

/* the features of a text, as the pieces of clean text that they cover, with "|" between */
static void
has_features(const DsTokenizerConfig *config, const char *text, const char *expected,
			 const char *what)
{
	static char out[100000];
	Learned l;
	DsStatus status;
	size_t n;
	size_t used = 0;

	if (learn(&l, config, &text, 1, &status) != DS_OK)
	{
		CHECK(0, "features: %s: %s", what, status.message);
		return;
	}
	n = ds_tokenizer_encode(&l.tokenizer, &l.scratch, text, strlen(text));
	for (size_t i = 0; i < n; i++)
	{
		if (i > 0)
			out[used++] = '|';
		memcpy(out + used, l.scratch.clean + l.scratch.begins[i],
			   l.scratch.ends[i] - l.scratch.begins[i]);
		used += l.scratch.ends[i] - l.scratch.begins[i];
	}
	out[used] = '\0';
	if (!CHECK(strcmp(out, expected) == 0, "features: %s", what))
		printf("# %s\n# instead of\n# %s\n", out, expected);
	ds_arena_free(&l.arena);
}

static void
test_features(void)
{
	DsTokenizerConfig c = ds_tokenizer_defaults;
	char *many;
	Learned l;
	DsStatus status;
	const char *text;

	c.min_count = 1;
	c.word_max = 4;
	c.cjk_max = 2;
	has_features(&c, "Red", "red|re|red|red|red|ed", "a word, by place and order, marks invisible");
	has_features(&c, "a", "a", "a word of one letter");
	has_features(&c, "ab", "ab|ab|ab", "a word of two letters");
	has_features(&c, "夏季裙", "夏|夏季|季|季裙|裙", "Chinese");
	has_features(&c, "T恤 42", "t|恤|42|42|42", "mixed scripts and a number");
	has_features(&c, "!?, --", "", "punctuation only");
	has_features(&c, "", "", "an empty text");
	has_features(&c, "👗👗 ⌚️", "👗|👗|⌚", "emoji, a variation selector");
	has_features(&c, "👩‍👧 👍🏽", "👩|👧|👍", "joined emoji, a skin tone");
	has_features(&c, "e\u0301", "e\u0301|e\u0301|e\u0301", "a letter with a combining mark");
	has_features(&c, "\u0301", "\u0301", "a mark alone");
	has_features(&c, "スカート", "ス|スカ|カ|カー|ー|ート|ト", "katakana");
	has_features(&c, "조끼", "조|조끼|끼", "Korean");
	c.words = false;
	has_features(&c, "a red", "a|re|red|red|red|ed",
				 "words off: the whole word comes as an n-gram");
	c.words = true;
	c.word_min = 1;
	c.word_max = 2;
	has_features(&c, "red", "red|r|r|re|e|ed|d|d", "orders 1 and 2: no mark alone");
	c.word_min = c.word_max = 0;
	has_features(&c, "red T恤", "red|t|恤", "no n-grams in words");
	c.cjk_min = 2;
	has_features(&c, "夏 夏季裙", "夏|夏季|季裙", "a run that is shorter than the lowest order");
	c.cjk_min = c.cjk_max = 0;
	has_features(&c, "red 夏", "red", "no n-grams in Chinese");

	/* long texts stop at max_tokens */
	c = ds_tokenizer_defaults;
	c.max_tokens = 100;
	many = malloc(3000001);
	for (size_t i = 0; i < 1000000; i++)
		memcpy(many + 3 * i, "夏", 3);
	many[3000000] = '\0';
	text = many;
	CHECK(learn(&l, &c, &text, 1, &status) == DS_OK &&
			  ds_tokenizer_encode(&l.tokenizer, &l.scratch, text, 3000000) == 100,
		  "a million characters give max_tokens features");
	memset(many, 'x', 3000000);
	CHECK(ds_tokenizer_encode(&l.tokenizer, &l.scratch, text, 3000000) == 100 &&
			  l.scratch.clean_length == 1600,
		  "and so does a word of three million letters");
	ds_arena_free(&l.arena);
	free(many);
}

static const char *const corpus[] = {
	"夏季女士连衣裙",
	"女士红色连衣裙",
	"red summer dress for women",
	"Men's running shoes",
	"男士跑步鞋",
	"NIKE Air Max running shoe",
	"蓝色男士T恤",
	"blue T-shirt",
	"夏季 T恤 blue dress",
	"👗 summer",
};
#define CORPUS (sizeof(corpus) / sizeof(corpus[0]))

static void
test_vocabulary(void)
{
	DsTokenizerConfig c = ds_tokenizer_defaults;
	Learned a;
	Learned b;
	DsStatus status;
	const char *reversed[CORPUS];
	size_t n;
	int inside = 1;
	int ordered = 1;
	uint32_t dress[3];
	char *moved;
	DsTokenizer at_odd_address;

	c.buckets = 16;
	CHECK(learn(&a, &c, corpus, CORPUS, &status) == DS_OK, "learn from %zu texts", CORPUS);
	CHECK(a.tokenizer.texts == CORPUS && a.tokenizer.vocabulary == a.tokenizer.learned + 16 &&
			  a.tokenizer.learned > 20,
		  "%u features have a row of their own", a.tokenizer.learned);
	CHECK(a.tokenizer.config.cjk_max == c.cjk_max && a.tokenizer.config.min_count == 2 &&
			  a.tokenizer.config.clean.fold_case && !a.tokenizer.config.clean.strip_html &&
			  a.tokenizer.config.words,
		  "the configuration comes back from the blob");
	for (uint32_t id = 0; id < a.tokenizer.learned; id++)
		ordered = ordered && ds_tokenizer_count(&a.tokenizer, id) >= 2 &&
				  (id == 0 || ds_tokenizer_count(&a.tokenizer, id) <=
								  ds_tokenizer_count(&a.tokenizer, id - 1));
	CHECK(ordered, "ids are in order of frequency, all of at least min_count");
	/* 士 occurs in 4 texts, as often as 女/男 together; 士 + 色 in fewer */
	n = ds_tokenizer_encode(&a.tokenizer, &a.scratch, "士", strlen("士"));
	CHECK(n == 1 && a.scratch.ids[0] < a.tokenizer.learned &&
			  ds_tokenizer_count(&a.tokenizer, a.scratch.ids[0]) == 4,
		  "a count is that of the texts");
	n = ds_tokenizer_encode(&a.tokenizer, &a.scratch, "dress", 5);
	dress[0] = a.scratch.ids[0];
	CHECK(n > 0 && dress[0] < a.tokenizer.learned, "a known word has a row");
	ds_tokenizer_encode(&a.tokenizer, &a.scratch, " ＤＲＥＳＳ!", strlen(" ＤＲＥＳＳ!"));
	CHECK(a.scratch.ids[0] == dress[0], "the same one in other dress");
	n = ds_tokenizer_encode(&a.tokenizer, &a.scratch, "裤", 3);
	CHECK(n == 1 && a.scratch.ids[0] >= a.tokenizer.learned &&
			  a.scratch.ids[0] < a.tokenizer.vocabulary,
		  "an unknown feature has a bucket");
	for (uint64_t round = 0; round < 2000; round++)
	{
		char text[100];
		DsRandom random;

		ds_random_init(&random, 3, round);
		for (size_t i = 0; i < sizeof(text); i++)
			text[i] = (char) ds_random_next(&random);
		n = ds_tokenizer_encode(&a.tokenizer, &a.scratch, text, sizeof(text));
		for (size_t i = 0; i < n; i++)
			inside = inside && a.scratch.ids[i] < a.tokenizer.vocabulary &&
					 a.scratch.begins[i] < a.scratch.ends[i] &&
					 a.scratch.ends[i] <= a.scratch.clean_length;
	}
	CHECK(inside, "ids and places stay inside, whatever the bytes");

	/* the blob works from any address, on its own */
	moved = malloc(a.size + 1);
	memcpy(moved + 1, a.blob, a.size);
	CHECK(ds_tokenizer_open(&at_odd_address, moved + 1, a.size, &status) == DS_OK &&
			  ds_tokenizer_encode(&at_odd_address, &a.scratch, "dress", 5) > 0 &&
			  a.scratch.ids[0] == dress[0],
		  "a moved blob gives the same ids");
	free(moved);

	/* packed, it is shorter, and comes back to the byte; cut or changed, it is refused or another one */
	{
		void *packed;
		void *again;
		size_t packed_size;
		size_t again_size;
		DsArena memory;
		int refused = 0;

		ds_arena_init(&memory, NULL);
		CHECK(ds_tokenizer_pack(a.blob, a.size, &memory, &packed, &packed_size, &status) == DS_OK &&
				  packed_size < a.size / 2 && ds_tokenizer_is_packed(packed, packed_size) &&
				  !ds_tokenizer_is_packed(a.blob, a.size) &&
				  ds_tokenizer_unpack(packed, packed_size, &memory, &again, &again_size, &status) ==
					  DS_OK &&
				  again_size == a.size && memcmp(again, a.blob, a.size) == 0,
			  "packed: %zu of %zu bytes", packed_size, a.size);
		for (size_t n = 0; n < packed_size; n++)
		{
			char *cut = malloc(n + 1);

			memcpy(cut, packed, n);
			refused +=
				ds_tokenizer_unpack(cut, n, &memory, &again, &again_size, &status) == DS_BAD_DATA;
			free(cut);
		}
		CHECK(refused == (int) packed_size, "%d of %zu cut ones are refused", refused, packed_size);
		/* the last slot is that of the first feature too */
		memcpy((char *) packed + packed_size - 1,
			   (char *) packed + packed_size - a.tokenizer.learned, 1);
		CHECK(ds_tokenizer_unpack(packed, packed_size, &memory, &again, &again_size, &status) ==
				  DS_BAD_DATA,
			  "a slot that two features have");
		ds_arena_free(&memory);
	}

	for (size_t i = 0; i < CORPUS; i++)
		reversed[i] = corpus[CORPUS - 1 - i];
	CHECK(learn(&b, &c, corpus, CORPUS, &status) == DS_OK && a.size == b.size &&
			  memcmp(a.blob, b.blob, a.size) == 0,
		  "the same texts give the same blob");
	ds_arena_free(&b.arena);
	CHECK(learn(&b, &c, reversed, CORPUS, &status) == DS_OK && a.size == b.size &&
			  memcmp(a.blob, b.blob, a.size) == 0,
		  "in any order");
	ds_arena_free(&b.arena);
	c.vocabulary = 26;
	CHECK(learn(&b, &c, corpus, CORPUS, &status) == DS_OK && b.tokenizer.learned == 10 &&
			  b.tokenizer.vocabulary == 26 &&
			  ds_tokenizer_count(&b.tokenizer, 9) == ds_tokenizer_count(&a.tokenizer, 9),
		  "a small vocabulary keeps the most frequent");
	ds_arena_free(&b.arena);
	c.buckets = 26;
	CHECK(learn(&b, &c, corpus, CORPUS, &status) == DS_OK && b.tokenizer.learned == 0 &&
			  ds_tokenizer_encode(&b.tokenizer, &b.scratch, "dress", 5) > 0 &&
			  b.scratch.ids[0] < 26,
		  "buckets only");
	ds_arena_free(&b.arena);
	CHECK(learn(&b, &c, corpus, 0, &status) == DS_OK && b.tokenizer.learned == 0,
		  "no texts at all");
	ds_arena_free(&b.arena);
	ds_arena_free(&a.arena);
}

/* with less memory than features, the frequent ones survive */
static void
test_bounded(void)
{
	DsTokenizerConfig c = ds_tokenizer_defaults;
	DsArena arena;
	DsArena other;
	DsTokenizerLearner *learner;
	DsTokenizer tokenizer;
	DsTokenScratch scratch;
	DsStatus status;
	void *blob[2];
	size_t size[2];
	char text[200];
	int known = 1;
	size_t highest = 0;

	c.learn_memory = 0; /* the least that it works with */
	ds_arena_init(&other, NULL);
	for (int run = 0; run < 2; run++)
	{
		DsRandom random;

		ds_arena_init(&arena, NULL);
		ds_random_init(&random, 5, 0);
		ds_tokenizer_learn_begin(&c, &arena, &learner, &status);
		for (int i = 0; i < 30000; i++)
		{
			/* every text has one of 20 frequent words, and three that never come back */
			snprintf(text, sizeof(text), "word%llu %llx %llx %llx", (unsigned long long) i % 20,
					 (unsigned long long) ds_random_next(&random),
					 (unsigned long long) ds_random_next(&random),
					 (unsigned long long) ds_random_next(&random));
			ds_tokenizer_learn_add(learner, text, strlen(text), &status);
		}
		ds_tokenizer_learn_finish(learner, &other, &blob[run], &size[run], &status);
		highest = arena.allocated;
		ds_arena_free(&arena);
	}
	CHECK(highest < (2u << 20), "millions of features in %zu bytes", highest);
	CHECK(size[0] == size[1] && memcmp(blob[0], blob[1], size[0]) == 0,
		  "what is forgotten is the same each time");
	CHECK(ds_tokenizer_open(&tokenizer, blob[0], size[0], &status) == DS_OK &&
			  ds_tokenizer_scratch(&tokenizer, &other, &scratch, &status) == DS_OK,
		  "the result opens");
	for (int i = 0; i < 20; i++)
	{
		snprintf(text, sizeof(text), "word%d", i);
		ds_tokenizer_encode(&tokenizer, &scratch, text, strlen(text));
		known = known && scratch.ids[0] < tokenizer.learned &&
				ds_tokenizer_count(&tokenizer, scratch.ids[0]) > 1000;
	}
	CHECK(known, "frequent words survive");
	ds_arena_free(&other);
}

static void
test_damage(void)
{
	DsTokenizerConfig c = ds_tokenizer_defaults;
	Learned l;
	DsStatus status;
	DsTokenizer t;
	int refused = 1;
	int harmless = 1;
	size_t header_flips = 0;
	unsigned char *copy;

	c.buckets = 4;
	learn(&l, &c, corpus, CORPUS, &status);
	for (size_t size = 0; size < l.size; size++)
	{
		/* a block of its own: reading behind it is found by the sanitizer */
		copy = malloc(size > 0 ? size : 1);
		memcpy(copy, l.blob, size);
		refused = refused && ds_tokenizer_open(&t, copy, size, &status) != DS_OK;
		free(copy);
	}
	CHECK(refused, "a blob cut short at any of %zu lengths is refused", l.size);
	copy = malloc(l.size + 8);
	memcpy(copy, l.blob, l.size);
	memset(copy + l.size, 0, 8);
	CHECK(ds_tokenizer_open(&t, copy, l.size + 8, &status) == DS_BAD_DATA, "a longer one too");
	free(copy);
	copy = malloc(l.size);
	for (size_t bit = 0; bit < l.size * 8; bit++)
	{
		memcpy(copy, l.blob, l.size);
		copy[bit / 8] ^= (unsigned char) (1 << bit % 8);
		if (ds_tokenizer_open(&t, copy, l.size, &status) == DS_OK)
		{
			DsArenaMark mark = ds_arena_mark(&l.arena);
			DsTokenScratch scratch;

			header_flips += bit < 72 * 8;
			if (ds_tokenizer_scratch(&t, &l.arena, &scratch, &status) == DS_OK)
				for (size_t i = 0; i < CORPUS; i++)
				{
					size_t n = ds_tokenizer_encode(&t, &scratch, corpus[i], strlen(corpus[i]));

					for (size_t k = 0; k < n; k++)
						harmless = harmless && scratch.ids[k] < t.vocabulary;
				}
			ds_arena_rewind(&l.arena, mark);
		}
	}
	/* of the header, another value of an option can still be a tokenizer */
	CHECK(harmless, "a flipped bit is refused or harmless (%zu bits, %zu of the header's accepted)",
		  l.size * 8, header_flips);
	memcpy(copy, l.blob, l.size);
	for (size_t i = 0; i < 8; i++)
	{
		memcpy(copy, l.blob, l.size);
		copy[i] ^= 0x40;
		refused = refused && ds_tokenizer_open(&t, copy, l.size, &status) != DS_OK;
	}
	CHECK(refused, "wrong magic and version are refused");
	/* fill every free slot: probing would not end */
	memcpy(copy, l.blob, l.size);
	for (size_t at = l.size - 8 * ((size_t) l.tokenizer.slot_mask + 1); at < l.size; at += 8)
		copy[at + 4] = 1;
	CHECK(ds_tokenizer_open(&t, copy, l.size, &status) == DS_BAD_DATA, "a full table: %s",
		  status.message);
	free(copy);
	ds_arena_free(&l.arena);
}

/*
 * A blob of format version 1 as it was first written: every later version
 * opens it and gives the same ids, and this one still writes it, on every
 * machine.
 */
static void
test_fixture(void)
{
	static const uint32_t expected[] = {22, 20, 22, 21, 21, 22, 22, 8,	20, 21, 22, 20, 19,
										22, 23, 5,	21, 22, 21, 9,	12, 21, 23, 10, 21};
	const char *path = "test/data/tokenizer_ngram_v1.bin";
	const char *text = "Red 连衣裙 dress";
	DsTokenizerConfig c = ds_tokenizer_defaults;
	Learned l;
	DsStatus status;
	DsTokenizer t;
	unsigned char bytes[4096];
	FILE *file = fopen(path, "rb");
	size_t size = file != NULL ? fread(bytes, 1, sizeof(bytes), file) : 0;
	size_t n = 0;

	if (file != NULL)
		fclose(file);
	c.buckets = 4;
	c.vocabulary = 24;
	learn(&l, &c, corpus, CORPUS, &status);
	CHECK(size == l.size && memcmp(bytes, l.blob, size) == 0, "%s is written as ever", path);
	if (CHECK(ds_tokenizer_open(&t, bytes, size, &status) == DS_OK, "and opens"))
		n = ds_tokenizer_encode(&t, &l.scratch, text, strlen(text));
	CHECK(n == sizeof(expected) / sizeof(expected[0]) &&
			  memcmp(l.scratch.ids, expected, sizeof(expected)) == 0,
		  "its ids are those of then");
	ds_arena_free(&l.arena);
}

static void
test_config(void)
{
	DsStatus status;
	DsTokenizerConfig c;
	int refused = 0;
	static const uint32_t orders[][2] = {{0, 3}, {3, 0}, {4, 3}, {1, 9}};

	CHECK(ds_tokenizer_check(&ds_tokenizer_defaults, &status) == DS_OK, "the defaults are valid");
#define REFUSED(change)                                           \
	do                                                            \
	{                                                             \
		c = ds_tokenizer_defaults;                                \
		change;                                                   \
		refused += ds_tokenizer_check(&c, &status) == DS_INVALID; \
	} while (0)
	REFUSED(c.kind = 9);
	REFUSED(c.vocabulary = 0);
	REFUSED(c.vocabulary = DS_TOKENIZER_VOCABULARY_MAX + 1);
	REFUSED(c.buckets = 0);
	REFUSED(c.buckets = c.vocabulary + 1);
	REFUSED(c.min_count = 0);
	REFUSED(c.max_tokens = 0);
	REFUSED(c.max_tokens = DS_TOKENIZER_TOKENS_MAX + 1);
	REFUSED((c.words = false, c.word_min = c.word_max = c.cjk_min = c.cjk_max = 0));
	CHECK(refused == 9, "settings out of range are refused");
	refused = 0;
	for (size_t i = 0; i < 4; i++)
	{
		REFUSED((c.word_min = orders[i][0], c.word_max = orders[i][1]));
		REFUSED((c.cjk_min = orders[i][0], c.cjk_max = orders[i][1]));
	}
	CHECK(refused == 8 && strstr(status.message, "cjk_min") != NULL, "and so are orders: %s",
		  status.message);
}

int
main(void)
{
	test_clean();
	test_hostile();
	test_unicode();
	test_features();
	test_vocabulary();
	test_bounded();
	test_damage();
	test_fixture();
	test_config();
	return unit_done();
}
