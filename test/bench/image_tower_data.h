/*
 * image_tower_data.h
 *		The fashion data set as image_tower.c wants it: products with pictures and titles,
 *		pairs of a query and a product, and the queries that are asked.
 */
#ifndef IMAGE_TOWER_DATA_H
#define IMAGE_TOWER_DATA_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fashion_files.h"
#include "image/image.h"
#include "image/resize.h"
#include "text/tokenizer.h"

#define ATTRIBUTES 5 /* gender, article_type, colour, season, usage */
#define WIDE 60
#define HIGH 80

typedef struct Texts
{
	size_t count;
	char **text;
	uint64_t *key;
	size_t *offsets;
	uint32_t *ids;
} Texts;

typedef struct Data
{
	Texts queries;
	Texts questions;
	Texts titles;
	char **types; /* of article */
	uint32_t *pair_product;
	size_t pairs;
	size_t products;
	uint8_t *pixels; /* [products, HIGH, WIDE, 3] */
	uint32_t *numbers; /* [products] 0, 1, .. */
	bool *held;
	uint64_t (*attributes)[ATTRIBUTES];
	uint64_t (*asked)[ATTRIBUTES];
	uint32_t *ids;
} Data;

/* Which products are asked */
enum
{
	HELD, /* those that no training pair has */
	SEEN, /* as many of the others: what the network has learned by heart is between the two */
	EVERY,
	SETS
};

static bool
in_set(const Data *d, size_t p, int set)
{
	return set == EVERY || ds_mix64(d->ids[p]) % 5 == (set == HELD ? 0 : 1);
}

/* "\\xffd8..." */
static void
picture(const char *hex, uint8_t *out, DsArena *scratch)
{
	static const DsImageLimits limits = {DS_IMAGE_BYTES_DEFAULT, DS_IMAGE_PIXELS_DEFAULT, false};
	DsArenaMark mark = ds_arena_mark(scratch);
	size_t n;
	uint8_t *bytes;
	DsArena other;
	DsImage image;
	DsStatus status;

	while (*hex == '\\' || *hex == 'x')
		hex++;
	n = strlen(hex) / 2;
	bytes = checked(ds_arena_alloc(scratch, n, 1));
	for (size_t i = 0; i < n; i++)
	{
		char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};

		bytes[i] = (uint8_t) strtoul(pair, NULL, 16);
	}
	ds_arena_init(&other, NULL);
	check(ds_image_decode(bytes, n, &limits, scratch, &other, NULL, &image, &status), &status);
	check(ds_image_resize(&image, WIDE, HIGH, DS_FILTER_BILINEAR, NULL, out, (size_t) WIDE * 3,
						  &other, NULL, &status),
		  &status);
	ds_arena_free(&other);
	ds_arena_rewind(scratch, mark);
}

static void
read_data(const char *folder, bool titles, bool types, Data *d)
{
	uint32_t *product_of = checked(calloc(1 << 20, sizeof(uint32_t)));
	char *line = NULL;
	size_t room = 0;
	char *f[9];
	FILE *file = open_data(folder, "products.tsv.gz", "gzip -dc");
	DsArena scratch;

	ds_arena_init(&scratch, NULL);
	d->pixels = checked(malloc((size_t) 21000 * WIDE * HIGH * 3));
	d->numbers = checked(calloc(1 << 16, sizeof(uint32_t)));
	d->held = checked(calloc(1 << 16, sizeof(bool)));
	d->titles.text = checked(calloc(1 << 16, sizeof(char *)));
	d->types = checked(calloc(1 << 16, sizeof(char *)));
	d->attributes = checked(calloc(1 << 16, sizeof(*d->attributes)));
	d->asked = checked(calloc(1 << 12, sizeof(*d->asked)));
	d->ids = checked(calloc(1 << 16, sizeof(*d->ids)));
	while (getline(&line, &room, file) > 0)
	{
		size_t p = d->products;

		if (split(line, f, 9) < 9 || p == 21000)
			continue;
		d->ids[p] = (uint32_t) atoi(f[0]);
		product_of[d->ids[p] & ((1 << 20) - 1)] = (uint32_t) p;
		d->held[p] = in_set(d, p, HELD);
		d->attributes[p][0] = hash(f[1]);
		for (int a = 1; a < ATTRIBUTES; a++)
			d->attributes[p][a] = hash(f[a + 2]);
		picture(f[8], d->pixels + p * WIDE * HIGH * 3, &scratch);
		d->numbers[p] = (uint32_t) p;
		d->titles.text[p] = checked(strdup(f[7]));
		d->types[p] = checked(strdup(f[3]));
		d->products++;
	}
	d->titles.count = d->products;
	pclose(file);
	d->queries.text = checked(calloc(1 << 17, sizeof(char *)));
	d->pair_product = checked(calloc(1 << 17, sizeof(uint32_t)));
	file = open_data(folder, "pairs.train.tsv.gz", "gzip -dc");
	for (bool header = true; getline(&line, &room, file) > 0; header = false)
	{
		uint32_t p;

		if (header || split(line, f, 3) < 3)
			continue;
		p = product_of[atoi(f[2]) & ((1 << 20) - 1)];
		if (d->held[p])
			continue;
		d->queries.text[d->pairs] = checked(strdup(f[1]));
		d->pair_product[d->pairs++] = p;
	}
	pclose(file);
	for (size_t p = 0; p < d->products; p++)
		for (int kind = 0; kind < 2 && !d->held[p]; kind++)
		{
			if (kind == 0 ? !titles : !types)
				continue;
			d->queries.text[d->pairs] = kind == 0 ? d->titles.text[p] : d->types[p];
			d->pair_product[d->pairs++] = (uint32_t) p;
		}
	d->queries.count = d->pairs;
	d->questions.text = checked(calloc(1 << 12, sizeof(char *)));
	file = open_data(folder, "queries.dev.tsv", "cat");
	for (bool header = true; getline(&line, &room, file) > 0; header = false)
	{
		size_t q = d->questions.count;

		if (header || split(line, f, 8) < 8)
			continue;
		d->questions.text[d->questions.count++] = checked(strdup(f[2]));
		for (int a = 0; a < ATTRIBUTES; a++)
			d->asked[q][a] = f[a + 3][0] != '\0' ? hash(f[a + 3]) : 0;
	}
	pclose(file);
	free(line);
	free(product_of);
	ds_arena_free(&scratch);
}

static void
encode_texts(Texts *texts, const DsTokenizer *tokenizer, DsTokenScratch *scratch)
{
	size_t used = 0;
	size_t room = 0;

	texts->offsets = checked(calloc(texts->count + 1, sizeof(size_t)));
	texts->key = checked(calloc(texts->count, sizeof(uint64_t)));
	for (size_t t = 0; t < texts->count; t++)
	{
		size_t n = ds_tokenizer_encode(tokenizer, scratch, texts->text[t], strlen(texts->text[t]));

		texts->key[t] = hash(texts->text[t]);
		if (used + n > room)
		{
			room = (used + n) * 2;
			texts->ids = checked(realloc(texts->ids, room * sizeof(uint32_t)));
		}
		if (n > 0)
			memcpy(texts->ids + used, scratch->ids, n * sizeof(uint32_t));
		used += n;
		texts->offsets[t + 1] = used;
	}
}

#endif /* IMAGE_TOWER_DATA_H */
