/*
 * test_minhash.c
 *		Shingles against sets made by hand, MinHash and banding against their probabilities.
 */
#include "unit.h"

#include <stdlib.h>

#include "base/random.h"
#include "data/minhash.h"

static uint64_t set_a[10000];
static uint64_t set_b[10000];

static double
similarity(DsShingleKind kind, uint32_t size, const char *a, const char *b)
{
	size_t na = ds_shingles(kind, size, a, strlen(a), set_a);
	size_t nb = ds_shingles(kind, size, b, strlen(b), set_b);

	return ds_jaccard(set_a, na, set_b, nb);
}

static void
test_shingles(void)
{
	CHECK(ds_shingles(DS_SHINGLE_CHARACTERS, 3, "", 0, set_a) == 0, "an empty text");
	CHECK(ds_shingles(DS_SHINGLE_CHARACTERS, 3, "abcdef", 6, set_a) == 4, "abc bcd cde def");
	CHECK(ds_shingles(DS_SHINGLE_CHARACTERS, 3, "aaaaaa", 6, set_a) == 1, "each once");
	CHECK(ds_shingles(DS_SHINGLE_CHARACTERS, 3, "ab", 2, set_a) == 1, "a short text");
	CHECK(ds_shingles(DS_SHINGLE_CHARACTERS, 2, "夏季连衣裙", 15, set_a) == 4,
		  "characters, not bytes");
	CHECK(ds_shingles(DS_SHINGLE_WORDS, 2, "to be or not to be", 18, set_a) == 4,
		  "to be, be or, or not, not to");
	CHECK(ds_shingles(DS_SHINGLE_WORDS, 1, "  ", 2, set_a) == 0, "no words");
	ds_shingles(DS_SHINGLE_CHARACTERS, 3, "the quick brown fox jumps", 25, set_a);
	for (int i = 1; i < 20; i++)
		if (set_a[i - 1] >= set_a[i])
			CHECK(0, "not sorted at %d", i);
	/* {abc bcd cde} and {abc bcd cdx}: 2 of 4 */
	CHECK(similarity(DS_SHINGLE_CHARACTERS, 3, "abcde", "abcdx") == 0.5, "half");
	CHECK(similarity(DS_SHINGLE_CHARACTERS, 3, "abcde", "abcde") == 1, "the same");
	CHECK(similarity(DS_SHINGLE_CHARACTERS, 3, "abcde", "vwxyz") == 0, "nothing in common");
	CHECK(similarity(DS_SHINGLE_WORDS, 1, "red dress summer", "summer dress blue") == 0.5,
		  "words in any order");
	CHECK(similarity(DS_SHINGLE_WORDS, 2, "red dress", "dress red") == 0, "pairs have an order");
	CHECK(similarity(DS_SHINGLE_CHARACTERS, 3, "ab", "abc") == 0, "short ones are whole");
}

static void
test_banding(void)
{
	DsStatus status;
	DsBanding banding;

	DsCode code = ds_banding_choose(0.8, 0.999, &banding, &status);

	CHECK(code == DS_OK && banding.rows == 5 && banding.bands == 18, "0.8: %u bands of %u",
		  banding.bands, banding.rows);
	for (int i = 4; i <= 20; i++)
	{
		double t = i / 20.0;
		double found;

		code = ds_banding_choose(t, 0.99, &banding, &status);
		CHECK(code == DS_OK, "a banding for %g", t);
		found = 1 - pow(1 - pow(t, banding.rows), banding.bands);
		CHECK(found >= 0.99 && banding.rows * banding.bands <= DS_MINHASH_MAX,
			  "%g: %u bands of %u find %g", t, banding.bands, banding.rows, found);
	}
	CHECK(ds_banding_choose(1, 0.999, &banding, &status) == DS_OK && banding.bands == 1,
		  "equal sets agree in any band");
	CHECK(ds_banding_choose(0.01, 0.999, &banding, &status) == DS_INVALID, "%s", status.message);
	CHECK(ds_banding_choose(0, 0.9, &banding, &status) == DS_INVALID, "%s", status.message);
	CHECK(ds_banding_choose(NAN, 0.9, &banding, &status) == DS_INVALID, "NaN");
	CHECK(ds_banding_choose(0.5, 1, &banding, &status) == DS_INVALID, "%s", status.message);
}

/* pairs of sets of a known similarity agree in a band as often as theory says */
static void
test_probability(void)
{
	DsRandom random;
	DsMinHash hash;
	uint64_t a[200];
	uint64_t b[200];
	uint32_t bands_a[DS_MINHASH_MAX];
	uint32_t bands_b[DS_MINHASH_MAX];

	ds_random_init(&random, 3, 0);
	for (uint32_t common = 0; common <= 60; common += 15)
	{
		/* 60 in each, so many in both */
		double s = common / (120.0 - common);
		double expected = s * s;
		int agreed = 0;
		int trials = 0;

		for (uint64_t round = 0; round < 200; round++)
		{
			ds_minhash_init(&hash, (DsBanding){.rows = 2, .bands = 50}, round);
			for (uint32_t i = 0; i < 60; i++)
			{
				a[i] = ds_mix64(ds_random_next(&random));
				b[i] = i < common ? a[i] : ds_mix64(ds_random_next(&random));
			}
			ds_minhash_bands(&hash, a, 60, bands_a);
			ds_minhash_bands(&hash, b, 60, bands_b);
			for (int i = 0; i < 50; i++, trials++)
				agreed += bands_a[i] == bands_b[i];
		}
		/* the bands of one pair are not independent, so the bound is wider than of 10,000 throws */
		CHECK(fabs((double) agreed / trials - expected) < 0.03,
			  "similarity %.2f: %.4f agree, %.4f expected", s, (double) agreed / trials, expected);
	}
}

static void
test_keys(void)
{
	DsTextKey a = ds_text_key("summer dress", 12);
	DsTextKey b = ds_text_key("summer dress", 12);
	DsTextKey c = ds_text_key("summer dresT", 12);
	DsTextKey d = ds_text_key("summer dress\0", 13);

	CHECK(memcmp(&a, &b, sizeof(a)) == 0, "equal texts");
	CHECK(a.word[0] != c.word[0] && a.word[1] != c.word[1] && a.word[0] != d.word[0] &&
			  a.word[1] != d.word[1],
		  "other texts");
}

int
main(void)
{
	test_shingles();
	test_banding();
	test_probability();
	test_keys();
	return unit_done();
}
