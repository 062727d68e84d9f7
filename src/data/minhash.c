/*
 * minhash.c
 *		Shingles, MinHash, banding; see minhash.h.
 */
#include "data/minhash.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "text/utf8.h"

#define SEED_CHARACTERS 0x9E3779B97F4A7C15u
#define SEED_WORDS 0xD1B54A32D192ED03u

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *) a;
	uint64_t y = *(const uint64_t *) b;

	return (x > y) - (x < y);
}

static size_t
sort_once_each(uint64_t *value, size_t n)
{
	size_t kept = 0;

	if (n < 2)
		return n;
	qsort(value, n, sizeof(uint64_t), compare);
	for (size_t i = 0; i < n; i++)
	{
		if (kept == 0 || value[i] != value[kept - 1])
			value[kept++] = value[i];
	}
	return kept;
}

size_t
ds_shingles_bound(size_t length)
{
	/* at least one byte a character; a word ends with a space, or the text does */
	return length;
}

/*
 * out[] holds the units (characters, or hashes of words) first: the shingle
 * that begins at unit i overwrites unit i, which no later one needs.
 */
size_t
ds_shingles(DsShingleKind kind, uint32_t size, const char *text, size_t length, uint64_t *out)
{
	const unsigned char *p = (const unsigned char *) text;
	const unsigned char *end = p + length;
	uint64_t seed = kind == DS_SHINGLE_WORDS ? SEED_WORDS : SEED_CHARACTERS;
	size_t units = 0;
	size_t count;

	if (length == 0)
		return 0;
	if (kind == DS_SHINGLE_CHARACTERS)
	{
		while (p < end)
		{
			size_t bytes;

			out[units++] = ds_utf8_read(p, end, &bytes);
			p += bytes;
		}
	}
	else
	{
		while (p < end)
		{
			const unsigned char *space = memchr(p, ' ', (size_t) (end - p));
			const unsigned char *stop = space != NULL ? space : end;

			if (stop > p)
				out[units++] = ds_text_key((const char *) p, (size_t) (stop - p)).word[0];
			p = space != NULL ? space + 1 : end;
		}
	}
	if (units == 0)
		return 0;
	count = units > size ? units - size + 1 : 1;
	for (size_t i = 0; i < count; i++)
	{
		uint64_t h = seed;

		for (size_t j = i; j < units && j - i < size; j++)
			h = ds_mix64(h ^ out[j]);
		out[i] = h;
	}
	return sort_once_each(out, count);
}

double
ds_jaccard(const uint64_t *a, size_t na, const uint64_t *b, size_t nb)
{
	size_t i = 0;
	size_t j = 0;
	size_t both = 0;

	while (i < na && j < nb)
	{
		uint64_t x = a[i];
		uint64_t y = b[j];

		both += x == y;
		i += x <= y;
		j += y <= x;
	}
	return (double) both / (double) (na + nb - both);
}

DsCode
ds_banding_choose(double threshold, double recall, DsBanding *banding, DsStatus *status)
{
	if (!(threshold > 0 && threshold <= 1))
		return ds_fail(status, DS_INVALID, "the threshold must be above 0 and at most 1, not %g",
					   threshold);
	if (!(recall > 0 && recall < 1))
		return ds_fail(status, DS_INVALID, "the recall must be above 0 and below 1, not %g",
					   recall);
	for (uint32_t rows = 16; rows >= 1; rows--)
	{
		double agrees = pow(threshold, rows); /* in one band */
		double bands = agrees >= 1 ? 1 : ceil(log(1 - recall) / log1p(-agrees));

		if (bands * rows <= DS_MINHASH_MAX)
		{
			banding->rows = rows;
			banding->bands = bands < 1 ? 1 : (uint32_t) bands;
			return DS_OK;
		}
	}
	return ds_fail(status, DS_INVALID,
				   "a threshold of %g is too low to find a share of %g of the pairs", threshold,
				   recall);
}

void
ds_minhash_init(DsMinHash *hash, DsBanding banding, uint64_t seed)
{
	DsRandom random;

	hash->banding = banding;
	ds_random_init(&random, seed, 0);
	for (uint32_t i = 0; i < DS_MINHASH_MAX; i++)
	{
		hash->a[i] = ds_random_next(&random) | 1;
		hash->b[i] = ds_random_next(&random);
	}
}

void
ds_minhash_bands(const DsMinHash *hash, const uint64_t *shingles, size_t n, uint32_t *bands)
{
	uint32_t rows = hash->banding.rows;

	for (uint32_t band = 0; band < hash->banding.bands; band++)
	{
		uint64_t h = band;

		for (uint32_t i = band * rows; i < (band + 1) * rows; i++)
		{
			uint64_t a = hash->a[i];
			uint64_t b = hash->b[i];
			uint32_t smallest = UINT32_MAX;

			for (size_t s = 0; s < n; s++)
			{
				uint32_t value = (uint32_t) ((a * shingles[s] + b) >> 32);

				smallest = value < smallest ? value : smallest;
			}
			h = ds_mix64(h ^ ((uint64_t) smallest << 16));
		}
		bands[band] = (uint32_t) (h >> 32);
	}
}

DsTextKey
ds_text_key(const char *text, size_t length)
{
	DsTextKey key = {{length, ~(uint64_t) length}};

	for (size_t i = 0; i < length; i += 8)
	{
		uint64_t word = 0;

		memcpy(&word, text + i, length - i < 8 ? length - i : 8);
		key.word[0] = ds_mix64(key.word[0] ^ word);
		key.word[1] = ds_mix64(key.word[1] + word * SEED_WORDS);
	}
	return key;
}
