/*
 * fuzz_weights.c
 *		Files of weights: safetensors, whole and in parts, checkpoints of TensorFlow.
 *
 * The first byte says what the rest is (modulo 5):
 *		0: a safetensors file
 *		1: two bytes, the size of the data; the header of a safetensors file
 *		2: model.safetensors.index.json over two good parts
 *		3: the index of a checkpoint
 *		4: two bytes, the size of a shard; the entries of its only block, around
 *		   which a table with good checksums is put
 * What opens must describe tensors that can be read to their ends, and that are the
 * same when they have been written and read again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/memory_folder.h"
#include "format/safetensors.h"
#include "format/tf_bundle.h"
#include "text/blob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char good_part[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
								"\"b\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[8,10]}}";

static void
put_header(MemoryFolder *memory, const char *name, const void *header, size_t length, size_t data)
{
	unsigned char *bytes = calloc(8 + length + data, 1);

	ds_write_u64(bytes, length);
	memcpy(bytes + 8, header, length);
	memory_put(memory, name, bytes, 8 + length + data);
	free(bytes);
}

/* compression and checksum behind a block that begins at begin */
static size_t
end_block(unsigned char *table, size_t begin, size_t size)
{
	/* no places where keys are whole */
	ds_write_u32(table + size, 0);
	size += 4;
	table[size++] = 0;
	ds_write_u32(table + size, ds_crc32c_mask(ds_crc32c(0, table + begin, size - begin)));
	return size + 4;
}

static size_t
put_varint(unsigned char *out, uint64_t number)
{
	size_t n = 0;

	for (; number >= 128; number >>= 7)
		out[n++] = (unsigned char) (number | 128);
	out[n++] = (unsigned char) number;
	return n;
}

static void
put_table(MemoryFolder *memory, const void *entries, size_t length)
{
	unsigned char *table = calloc(length + 200, 1);
	unsigned char handle[20];
	size_t size = length;
	size_t begin, n;

	memcpy(table, entries, length);
	size = end_block(table, 0, size);
	begin = size;
	n = put_varint(handle, 0);
	n += put_varint(handle + n, length + 4);
	table[size++] = 0;
	table[size++] = 1;
	table[size++] = (unsigned char) n;
	table[size++] = 'z';
	memcpy(table + size, handle, n);
	size += n;
	n = size;
	size = end_block(table, begin, size);
	/* the footer: two handles, zeros, the magic number */
	table[size] = 0;
	table[size + 1] = 0;
	put_varint(table + size + 2 + put_varint(table + size + 2, begin), n + 4 - begin);
	ds_write_u64(table + size + 40, UINT64_C(0xdb4775248b80fb57));
	memory_put(memory, "m.index", table, size + 48);
	free(table);
}

static void
use(const DsTensorFiles *files)
{
	DsStatus status;

	for (size_t i = 0; i < files->count; i++)
	{
		const DsTensorInfo *tensor = &files->tensors[i];
		size_t n = tensor->elements < 100 ? (size_t) tensor->elements : 100;
		unsigned char byte;
		float floats[100];

		if (ds_tensors_find(files, tensor->name) != tensor)
			abort();
		if (tensor->bytes > 0 &&
			ds_tensors_read(files, tensor, tensor->bytes - 1, &byte, 1, &status) != DS_OK)
			abort();
		if (ds_tensors_read(files, tensor, tensor->bytes, &byte, 1, &status) != DS_INVALID)
			abort();
		if (ds_tensors_read_floats(files, tensor, tensor->elements - n, n, floats, &status) !=
			(ds_dtype_has_floats(tensor->dtype) ? DS_OK : DS_UNSUPPORTED))
			abort();
	}
}

/* What the writer makes of these tensors is read as the same tensors again. */
static void
write_again(const DsTensorFiles *files, DsArena *arena, DsArena *scratch)
{
	DsSafetensor *tensors = ds_arena_zero(arena, files->count + 1, sizeof(DsSafetensor));
	MemoryFolder memory;
	DsTensorFiles again;
	DsPlan plan;
	DsStatus status;
	size_t count = 0;
	unsigned char *bytes;

	ds_plan_init(&plan, arena);
	for (size_t i = 0; i < files->count; i++)
	{
		const DsTensorInfo *info = &files->tensors[i];
		DsSafetensor *tensor = &tensors[count];

		if (info->rank > 4 || ds_dtype_bits(info->dtype) % 8 != 0 || info->bytes > 1 << 20)
			continue;
		tensor->name = info->name;
		tensor->rank = info->rank;
		memcpy(tensor->shape, info->shape, sizeof(tensor->shape));
		strcpy(tensor->part.tensor, "t");
		tensor->part.dtype = info->dtype;
		tensor->part.rows = info->elements;
		tensor->part.columns = 1;
		count++;
	}
	if (ds_safetensors_plan(&plan, "m", tensors, count, &status) != DS_OK ||
		plan.files[0].size > 64 << 20)
		return;
	bytes = calloc(plan.files[0].size, 1);
	memcpy(bytes, plan.files[0].parts[0].bytes, plan.files[0].parts[0].length);
	memory_open(&memory);
	memory_put(&memory, "m", bytes, plan.files[0].size);
	free(bytes);
	if (ds_safetensors_open(&memory.folder, "m", arena, scratch, &again, &status) != DS_OK ||
		again.count != count)
	{
		fprintf(stderr, "%s\n", status.message);
		abort();
	}
	for (size_t i = 0; i < count; i++)
	{
		const DsTensorInfo *info = ds_tensors_find(&again, tensors[i].name);

		if (info == NULL || info->dtype != tensors[i].part.dtype || info->rank != tensors[i].rank ||
			memcmp(info->shape, tensors[i].shape, sizeof(uint64_t) * info->rank) != 0)
			abort();
	}
	memory_close(&memory);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static MemoryFolder memory;
	DsArena arena, scratch;
	DsTensorFiles files;
	DsStatus status = {0};
	DsCode code;
	size_t shard = 0;
	int kind;

	if (size < 3)
		return 0;
	kind = data[0] % 5;
	data++;
	size--;
	if (kind == 1 || kind == 4)
	{
		shard = (size_t) data[0] | (size_t) data[1] << 8;
		data += 2;
		size -= 2;
	}
	memory_open(&memory);
	ds_arena_init(&arena, NULL);
	ds_arena_init(&scratch, NULL);
	switch (kind)
	{
		case 0:
			memory_put(&memory, "m", data, size);
			code = ds_safetensors_open(&memory.folder, "m", &arena, &scratch, &files, &status);
			break;
		case 1:
			put_header(&memory, "m", data, size, shard);
			code = ds_safetensors_open(&memory.folder, "m", &arena, &scratch, &files, &status);
			break;
		case 2:
			put_header(&memory, "1.safetensors", good_part, sizeof(good_part) - 1, 10);
			put_header(&memory, "2.safetensors", good_part, sizeof(good_part) - 1, 10);
			memory_put(&memory, "m", data, size);
			code =
				ds_safetensors_open_sharded(&memory.folder, "m", &arena, &scratch, &files, &status);
			break;
		default:
		{
			void *zeros;

			if (kind == 3)
				shard = 64;
			zeros = calloc(shard + 1, 1);
			memory_put(&memory, "m.data-00000-of-00001", zeros, shard);
			free(zeros);
			if (kind == 3)
				memory_put(&memory, "m.index", data, size);
			else
				put_table(&memory, data, size);
			code = ds_tf_bundle_open(&memory.folder, "m.index", &arena, &scratch, &files, &status);
			break;
		}
	}
	if (code == DS_OK)
	{
		use(&files);
		/* names of checkpoints may be any bytes */
		if (kind <= 2)
			write_again(&files, &arena, &scratch);
	}
	else if (status.message[0] == '\0')
		abort();
	if (scratch.allocated != 0)
		abort();
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	memory_close(&memory);
	return 0;
}
