/*
 * family_folder.h
 *		A model's folder in memory: files given as text, and weights of zeros, as
 *		safetensors or as a checkpoint of TensorFlow.
 */
#ifndef DS_FAMILY_FOLDER_H
#define DS_FAMILY_FOLDER_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/tf_bundle.h"
#include "text/blob.h"

/* ---- a folder in memory ---- */

#define FILES_MAX 16

typedef struct File
{
	char name[64];
	char *bytes;
	size_t size;
} File;

static File files[FILES_MAX];
static size_t file_count = 0;

static void
put(const char *name, const void *bytes, size_t size)
{
	File *file = &files[file_count++];

	snprintf(file->name, sizeof(file->name), "%s", name);
	file->bytes = malloc(size + 1);
	memcpy(file->bytes, bytes, size);
	file->size = size;
}

static void
put_text(const char *name, const char *text)
{
	put(name, text, strlen(text));
}

static void
clear(void)
{
	while (file_count > 0)
		free(files[--file_count].bytes);
}

static File *
find(const char *name)
{
	for (size_t i = 0; i < file_count; i++)
		if (strcmp(files[i].name, name) == 0)
			return &files[i];
	return NULL;
}

static DsCode
look(void *context, const char *name, bool *exists, uint64_t *size, DsStatus *status)
{
	const File *file = find(name);

	(void) context;
	(void) status;
	*exists = file != NULL;
	*size = file != NULL ? file->size : 0;
	return DS_OK;
}

static DsCode
read_part(void *context, const char *name, uint64_t offset, void *buffer, size_t length,
		  DsStatus *status)
{
	(void) context;
	(void) status;
	memcpy(buffer, find(name)->bytes + offset, length);
	return DS_OK;
}

static const char *
name_of(void *context, size_t i)
{
	(void) context;
	return i < file_count ? files[i].name : NULL;
}

static const DsFolder folder = {look, read_part, name_of, NULL};

/* ---- weights: "name rows columns" (columns 0: one dimension), '#' for layers 0 and 1 ---- */

static char header[65536];
static size_t header_length;
static uint64_t data_size;

static void
begin_weights(void)
{
	header_length = (size_t) snprintf(header, sizeof(header), "{\"__metadata__\":{}");
	data_size = 0;
}

static void
one_weight(const char *name, unsigned rows, unsigned columns)
{
	uint64_t bytes = (uint64_t) rows * (columns > 0 ? columns : 1) * 4;
	char shape[64];

	if (columns > 0)
		snprintf(shape, sizeof(shape), "%u,%u", rows, columns);
	else
		snprintf(shape, sizeof(shape), "%u", rows);
	header_length += (size_t) snprintf(
		header + header_length, sizeof(header) - header_length,
		",\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
		name, shape, data_size, data_size + bytes);
	data_size += bytes;
}

/* of any shape, as "2,3,3,3" */
__attribute__((unused)) static void
shaped_weight(const char *name, const char *shape)
{
	uint64_t bytes = 4;

	for (const char *p = shape; p != NULL; p = strchr(p, ','))
		bytes *= strtoul(p += *p == ',', NULL, 10);
	header_length += (size_t) snprintf(
		header + header_length, sizeof(header) - header_length,
		",\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
		name, shape, data_size, data_size + bytes);
	data_size += bytes;
}

static void
weight(const char *pattern, unsigned rows, unsigned columns)
{
	const char *hash = strchr(pattern, '#');
	char name[256];

	for (unsigned layer = 0; layer < (hash != NULL ? 2 : 1); layer++)
	{
		if (hash != NULL)
			snprintf(name, sizeof(name), "%.*s%u%s", (int) (hash - pattern), pattern, layer,
					 hash + 1);
		one_weight(hash != NULL ? name : pattern, rows, columns);
	}
}

/* a convolution and the batch norm behind it, of torchvision or transformers */
__attribute__((unused)) static void
conv_norm(const char *conv, const char *norm, unsigned out, unsigned in, unsigned kernel)
{
	static const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
	char name[128];
	char shape[64];

	snprintf(name, sizeof(name), "%s.weight", conv);
	snprintf(shape, sizeof(shape), "%u,%u,%u,%u", out, in, kernel, kernel);
	shaped_weight(name, shape);
	for (size_t i = 0; i < 4; i++)
	{
		snprintf(name, sizeof(name), "%s.%s", norm, parts[i]);
		one_weight(name, out, 0);
	}
}

/* a linear layer or a norm: weight and bias */
static void
pair(const char *stem, unsigned rows, unsigned columns)
{
	char name[256];

	snprintf(name, sizeof(name), "%s.weight", stem);
	weight(name, rows, columns);
	snprintf(name, sizeof(name), "%s.bias", stem);
	weight(name, rows, 0);
}

static void
end_weights(const char *file)
{
	size_t size;
	char *bytes;

	header[header_length++] = '}';
	size = 8 + header_length + data_size;
	bytes = calloc(size, 1);
	ds_write_u64((unsigned char *) bytes, header_length);
	memcpy(bytes + 8, header, header_length);
	put(file, bytes, size);
	free(bytes);
}

/* ---- a checkpoint of TensorFlow: one block of entries, in the order of their names ---- */

typedef struct Variable
{
	char name[128];
	unsigned rows;
	unsigned columns;
} Variable;

static Variable variables[64];
static size_t variable_count;

static void
variable(const char *pattern, unsigned rows, unsigned columns)
{
	const char *hash = strchr(pattern, '#');

	for (unsigned layer = 0; layer < (hash != NULL ? 2 : 1); layer++)
	{
		Variable *v = &variables[variable_count++];

		if (hash != NULL)
			snprintf(v->name, sizeof(v->name), "%.*s%u%s", (int) (hash - pattern), pattern, layer,
					 hash + 1);
		else
			snprintf(v->name, sizeof(v->name), "%s", pattern);
		v->rows = rows;
		v->columns = columns;
	}
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const Variable *) a)->name, ((const Variable *) b)->name);
}

static unsigned char table[65536];
static size_t table_size;

static void
add_bytes(const void *bytes, size_t size)
{
	memcpy(table + table_size, bytes, size);
	table_size += size;
}

static size_t
varint(unsigned char *out, uint64_t number)
{
	size_t n = 0;

	for (; number >= 128; number >>= 7)
		out[n++] = (unsigned char) (number | 128);
	out[n++] = (unsigned char) number;
	return n;
}

static void
add_varint(uint64_t number)
{
	unsigned char bytes[10];

	add_bytes(bytes, varint(bytes, number));
}

static void
add_entry(const char *key, size_t shared, const void *value, size_t size)
{
	add_varint(shared);
	add_varint(strlen(key) - shared);
	add_varint(size);
	add_bytes(key + shared, strlen(key) - shared);
	add_bytes(value, size);
}

/* restarts, compression and checksum behind the entries; handle gets where the block is */
static size_t
end_block(size_t begin, unsigned char *handle)
{
	unsigned char word[4];
	size_t n = varint(handle, begin);

	ds_write_u32(word, 0);
	add_bytes(word, 4);
	ds_write_u32(word, 1);
	add_bytes(word, 4);
	n += varint(handle + n, table_size - begin);
	add_bytes("", 1);
	ds_write_u32(word, ds_crc32c_mask(ds_crc32c(0, table + begin, table_size - begin)));
	add_bytes(word, 4);
	return n;
}

static unsigned block_copies = 1; /* how often the index of blocks lists the block of entries */

static void
end_checkpoint(void)
{
	unsigned char handle[32], index[32], footer[48] = {0};
	unsigned char value[64];
	const char *before = "";
	uint64_t offset = 0;
	size_t begin;
	char *zeros;

	qsort(variables, variable_count, sizeof(Variable), by_name);
	table_size = 0;
	add_entry("", 0, "\x08\x01\x1a\x02\x08\x01", 6);
	for (size_t i = 0; i < variable_count; i++)
	{
		const Variable *v = &variables[i];
		uint64_t size = (uint64_t) v->rows * (v->columns > 0 ? v->columns : 1) * 4;
		unsigned char shape[32];
		size_t shape_size = 0, n = 0, shared = 0;

		for (int d = 0; d < (v->columns > 0 ? 2 : 1); d++)
		{
			unsigned char number[10];
			size_t length = varint(number, d == 0 ? v->rows : v->columns);

			shape[shape_size++] = 0x12;
			shape[shape_size++] = (unsigned char) (length + 1);
			shape[shape_size++] = 0x08;
			memcpy(shape + shape_size, number, length);
			shape_size += length;
		}
		value[n++] = 0x08;
		value[n++] = 1;
		value[n++] = 0x12;
		value[n++] = (unsigned char) shape_size;
		memcpy(value + n, shape, shape_size);
		n += shape_size;
		value[n++] = 0x20;
		n += varint(value + n, offset);
		value[n++] = 0x28;
		n += varint(value + n, size);
		value[n++] = 0x35;
		ds_write_u32(value + n, 12345);
		n += 4;
		while (before[shared] != '\0' && before[shared] == v->name[shared])
			shared++;
		add_entry(v->name, shared, value, n);
		before = v->name;
		offset += size;
	}
	begin = end_block(0, handle);
	{
		size_t at = table_size;
		size_t n;

		for (unsigned copy = 0; copy < block_copies; copy++)
			add_entry("z", 0, handle, begin);
		n = end_block(at, index);
		footer[0] = 0;
		footer[1] = 0;
		memcpy(footer + 2, index, n);
		ds_write_u64(footer + 40, UINT64_C(0xdb4775248b80fb57));
		add_bytes(footer, 48);
	}
	put("bert_model.ckpt.index", table, table_size);
	zeros = calloc(offset, 1);
	put("bert_model.ckpt.data-00000-of-00001", zeros, offset);
	free(zeros);
	variable_count = 0;
}

static void
tf_weights(void)
{
#define TF "bert/encoder/layer_#/"
	variable("bert/embeddings/word_embeddings", 20, 8);
	variable("bert/embeddings/position_embeddings", 30, 8);
	variable("bert/embeddings/token_type_embeddings", 2, 8);
	variable("bert/embeddings/LayerNorm/gamma", 8, 0);
	variable("bert/embeddings/LayerNorm/beta", 8, 0);
	variable(TF "attention/self/query/kernel", 8, 8);
	variable(TF "attention/self/query/bias", 8, 0);
	variable(TF "attention/self/key/kernel", 8, 8);
	variable(TF "attention/self/key/bias", 8, 0);
	variable(TF "attention/self/value/kernel", 8, 8);
	variable(TF "attention/self/value/bias", 8, 0);
	variable(TF "attention/output/dense/kernel", 8, 8);
	variable(TF "attention/output/dense/bias", 8, 0);
	variable(TF "attention/output/LayerNorm/gamma", 8, 0);
	variable(TF "attention/output/LayerNorm/beta", 8, 0);
	variable(TF "intermediate/dense/kernel", 8, 16);
	variable(TF "intermediate/dense/bias", 16, 0);
	variable(TF "output/dense/kernel", 16, 8);
	variable(TF "output/dense/bias", 8, 0);
	variable(TF "output/LayerNorm/gamma", 8, 0);
	variable(TF "output/LayerNorm/beta", 8, 0);
	variable("bert/pooler/dense/kernel", 8, 8);
}

#endif /* DS_FAMILY_FOLDER_H */
