/*
 * tf_bundle.c
 *		Reading TensorFlow V2 checkpoints.
 */
#include "format/tf_bundle.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "text/blob.h"

#define TRAILER_SIZE 5 /* of a block: its compression, its checksum */
#define MASK_DELTA UINT32_C(0xa282ead8)
#define SHARDS_MAX 1024

#define TRY(call)              \
	do                         \
	{                          \
		DsCode code_ = (call); \
                               \
		if (code_ != DS_OK)    \
			return code_;      \
	} while (0)

/* Bytes that are read from the front */
typedef struct Bytes
{
	const unsigned char *at;
	const unsigned char *end;
} Bytes;

typedef struct Bundle
{
	const DsFolder *folder;
	const char *index; /* name of the file */
	DsArena *arena;
	DsStatus *status;
	DsTensorFiles *files;
	size_t capacity;
	Bytes table; /* the whole file */
	uint64_t *shard_sizes;
	uint64_t blocks; /* bytes of the blocks so far */
	bool has_header;
	char key[DS_TENSOR_NAME_MAX + 1];
	size_t key_length;
} Bundle;

/* ---- checksums ---- */

uint32_t
ds_crc32c(uint32_t crc, const void *bytes, size_t length)
{
	static uint32_t table[256];
	const unsigned char *p = bytes;

	if (table[1] == 0)
		for (uint32_t i = 0; i < 256; i++)
		{
			uint32_t c = i;

			for (int bit = 0; bit < 8; bit++)
				c = (c & 1) != 0 ? c >> 1 ^ UINT32_C(0x82f63b78) : c >> 1;
			table[i] = c;
		}
	crc = ~crc;
	while (length-- > 0)
		crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
	return ~crc;
}

uint32_t
ds_crc32c_mask(uint32_t crc)
{
	return (crc >> 15 | crc << 17) + MASK_DELTA;
}

/* ---- numbers and messages ---- */

static DsCode
damaged(Bundle *bundle, const char *what)
{
	return ds_fail(bundle->status, DS_BAD_DATA, "%s is damaged: %s", bundle->index, what);
}

static DsCode
damaged_tensor(Bundle *bundle, const char *what)
{
	char shown[DS_SHOWN_SIZE];

	return ds_fail(bundle->status, DS_BAD_DATA, "%s: tensor \"%s\" %s", bundle->index,
				   ds_shown(shown, bundle->key), what);
}

static bool
read_varint(Bytes *bytes, uint64_t *number)
{
	*number = 0;
	for (int shift = 0; shift < 64 && bytes->at < bytes->end; shift += 7)
	{
		unsigned char byte = *bytes->at++;

		*number |= (uint64_t) (byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return true;
	}
	return false;
}

/* One field of a message: its number; a number as it is, or bytes.  false at the end, or when *good is set to false. */
static bool
next_field(Bytes *message, uint64_t *field, uint64_t *number, Bytes *bytes, bool *good)
{
	uint64_t tag;
	size_t fixed;

	if (message->at == message->end)
		return false;
	*good = read_varint(message, &tag);
	if (!*good)
		return false;
	*field = tag >> 3;
	*number = 0;
	*bytes = (Bytes){NULL, NULL};
	switch (tag & 7)
	{
		case 0:
			*good = read_varint(message, number);
			break;
		case 2:
			*good =
				read_varint(message, number) && *number <= (uint64_t) (message->end - message->at);
			if (*good)
			{
				*bytes = (Bytes){message->at, message->at + *number};
				message->at += *number;
			}
			break;
		case 1:
		case 5:
			fixed = (tag & 7) == 1 ? 8 : 4;
			*good = (size_t) (message->end - message->at) >= fixed;
			if (*good)
			{
				*number = fixed == 8 ? ds_read_u64(message->at) : ds_read_u32(message->at);
				message->at += fixed;
			}
			break;
		default:
			*good = false;
	}
	return *good;
}

/* ---- entries ---- */

static DsDtype
dtype_of(uint64_t type)
{
	switch (type)
	{
		case 1:
			return DS_DTYPE_F32;
		case 2:
			return DS_DTYPE_F64;
		case 3:
			return DS_DTYPE_I32;
		case 4:
			return DS_DTYPE_U8;
		case 5:
			return DS_DTYPE_I16;
		case 6:
			return DS_DTYPE_I8;
		case 9:
			return DS_DTYPE_I64;
		case 10:
			return DS_DTYPE_BOOL;
		case 14:
			return DS_DTYPE_BF16;
		case 19:
			return DS_DTYPE_F16;
		default:
			return DS_DTYPE_NONE;
	}
}

/* The header of the bundle: the number of shards, whose sizes are asked for */
static DsCode
read_header(Bundle *bundle, Bytes message)
{
	uint64_t field, number;
	uint64_t shards = 0;
	uint64_t endianness = 0;
	Bytes bytes;
	bool good = true;
	size_t stem = strlen(bundle->index) - strlen(".index");

	while (next_field(&message, &field, &number, &bytes, &good))
	{
		if (field == 1)
			shards = number;
		else if (field == 2)
			endianness = number;
	}
	if (!good || shards < 1 || shards > SHARDS_MAX || bundle->has_header)
		return damaged(bundle, "its header");
	if (endianness != 0)
		return ds_fail(bundle->status, DS_UNSUPPORTED, "%s: big-endian tensors are not supported",
					   bundle->index);
	bundle->has_header = true;
	bundle->files->files = ds_arena_alloc(bundle->arena, shards, sizeof(char *));
	bundle->shard_sizes = ds_arena_alloc(bundle->arena, shards, sizeof(uint64_t));
	if (bundle->files->files == NULL || bundle->shard_sizes == NULL)
		return ds_fail(bundle->status, DS_OUT_OF_MEMORY, "out of memory for %s", bundle->index);
	for (uint64_t i = 0; i < shards; i++)
	{
		size_t size = stem + 64;
		char *name = ds_arena_alloc(bundle->arena, size, 1);
		bool exists;

		if (name == NULL)
			return ds_fail(bundle->status, DS_OUT_OF_MEMORY, "out of memory for %s", bundle->index);
		snprintf(name, size, "%.*s.data-%05u-of-%05u", (int) stem, bundle->index, (unsigned) i,
				 (unsigned) shards);
		TRY(bundle->folder->look(bundle->folder->context, name, &exists, &bundle->shard_sizes[i],
								 bundle->status));
		if (!exists)
			return ds_fail(bundle->status, DS_BAD_DATA, "%s is missing", name);
		bundle->files->files[i] = name;
		bundle->files->file_count++;
	}
	return DS_OK;
}

static DsCode
read_shape(Bundle *bundle, Bytes message, DsTensorInfo *tensor)
{
	uint64_t field, number;
	Bytes bytes;
	bool good = true;

	while (next_field(&message, &field, &number, &bytes, &good))
	{
		if (field == 3 && number != 0)
			return damaged_tensor(bundle, "has no known rank");
		if (field != 2)
			continue;
		if (tensor->rank == DS_TENSOR_RANK_MAX)
			return damaged_tensor(bundle, "has too many dimensions");
		tensor->shape[tensor->rank] = 0;
		while (next_field(&bytes, &field, &number, &(Bytes){NULL, NULL}, &good))
			if (field == 1)
				tensor->shape[tensor->rank] = number;
		if (!good)
			break;
		tensor->rank++;
	}
	return good ? DS_OK : damaged_tensor(bundle, "has a malformed shape");
}

static DsCode
read_entry(Bundle *bundle, Bytes message)
{
	DsTensorInfo tensor = {0};
	uint64_t field, number;
	uint64_t type = 0, shard = 0, size = 0, expected;
	Bytes bytes;
	bool good = true;
	bool sliced = false;
	char *name;

	while (next_field(&message, &field, &number, &bytes, &good))
		switch (field)
		{
			case 1:
				type = number;
				break;
			case 2:
				TRY(read_shape(bundle, bytes, &tensor));
				break;
			case 3:
				shard = number;
				break;
			case 4:
				tensor.offset = number;
				break;
			case 5:
				size = number;
				break;
			case 6:
				tensor.checksum = (uint32_t) number;
				tensor.has_checksum = true;
				break;
			case 7:
				sliced = true;
				break;
			default:
				break;
		}
	if (!good)
		return damaged_tensor(bundle, "has a malformed entry");
	tensor.dtype = dtype_of(type);
	/* strings (the graph of objects), and variables that are stored in slices */
	if (tensor.dtype == DS_DTYPE_NONE || sliced)
		return DS_OK;
	if (!ds_tensor_size(tensor.shape, tensor.rank, tensor.dtype, &tensor.elements, &expected) ||
		expected != size)
		return damaged_tensor(bundle, "has a size that is not that of its shape and type");
	if (shard >= bundle->files->file_count)
		return damaged_tensor(bundle, "is in a shard that is not there");
	if (size > bundle->shard_sizes[shard] || tensor.offset > bundle->shard_sizes[shard] - size)
		return damaged_tensor(bundle, "ends behind the end of its shard");
	tensor.bytes = size;
	tensor.file = (uint32_t) shard;
	if (bundle->files->count == DS_TENSOR_COUNT_MAX)
		return ds_fail(bundle->status, DS_TOO_LARGE, "%s names more than %d tensors", bundle->index,
					   DS_TENSOR_COUNT_MAX);
	name = ds_arena_alloc(bundle->arena, bundle->key_length + 1, 1);
	if (bundle->files->count == bundle->capacity)
	{
		size_t capacity = bundle->capacity == 0 ? 64 : 2 * bundle->capacity;
		DsTensorInfo *grown = ds_arena_alloc(bundle->arena, capacity, sizeof(DsTensorInfo));

		if (grown != NULL && bundle->files->count > 0)
			memcpy(grown, bundle->files->tensors, bundle->files->count * sizeof(DsTensorInfo));
		bundle->files->tensors = grown;
		bundle->capacity = capacity;
	}
	if (name == NULL || bundle->files->tensors == NULL)
		return ds_fail(bundle->status, DS_OUT_OF_MEMORY, "out of memory for %s", bundle->index);
	memcpy(name, bundle->key, bundle->key_length + 1);
	tensor.name = name;
	bundle->files->tensors[bundle->files->count++] = tensor;
	return DS_OK;
}

/* ---- the table ---- */

/* offset and size of a block; its checksum is compared */
static DsCode
find_block(Bundle *bundle, Bytes *handle, Bytes *block)
{
	uint64_t offset, size;
	uint64_t length = (uint64_t) (bundle->table.end - bundle->table.at);

	if (!read_varint(handle, &offset) || !read_varint(handle, &size) ||
		length < DS_TF_FOOTER_SIZE + TRAILER_SIZE ||
		offset > length - DS_TF_FOOTER_SIZE - TRAILER_SIZE ||
		size > length - DS_TF_FOOTER_SIZE - TRAILER_SIZE - offset)
		return damaged(bundle, "a block lies outside of it");
	block->at = bundle->table.at + offset;
	block->end = block->at + size;
	/* blocks do not overlap, so none is read again and again */
	bundle->blocks += size + TRAILER_SIZE;
	if (bundle->blocks > length)
		return damaged(bundle, "a block is there twice");
	if (block->end[0] != 0)
		return ds_fail(bundle->status, DS_UNSUPPORTED, "%s: compressed blocks are not supported",
					   bundle->index);
	if (ds_crc32c_mask(ds_crc32c(0, block->at, (size_t) size + 1)) != ds_read_u32(block->end + 1))
		return damaged(bundle, "a checksum does not match");
	/* behind the entries: where some of them begin, and how many those are */
	if (size < 4 || ds_read_u32(block->end - 4) > (size - 4) / 4)
		return damaged(bundle, "a block");
	block->end -= 4 + 4 * (size_t) ds_read_u32(block->end - 4);
	return DS_OK;
}

/* The next key and value of a block; the key stands in the bundle. */
static DsCode
next_entry(Bundle *bundle, Bytes *block, Bytes *value)
{
	uint64_t shared, more, length;
	uint64_t left;

	if (!read_varint(block, &shared) || !read_varint(block, &more) || !read_varint(block, &length))
		return damaged(bundle, "an entry");
	left = (uint64_t) (block->end - block->at);
	if (shared > bundle->key_length || more > left || length > left - more)
		return damaged(bundle, "an entry");
	if (more > DS_TENSOR_NAME_MAX - shared)
		return damaged(bundle, "a name is too long");
	memcpy(bundle->key + shared, block->at, (size_t) more);
	bundle->key_length = (size_t) (shared + more);
	bundle->key[bundle->key_length] = '\0';
	if (memchr(bundle->key, 0, bundle->key_length) != NULL)
		return damaged(bundle, "a name has a zero byte");
	*value = (Bytes){block->at + more, block->at + more + length};
	block->at += more + length;
	return DS_OK;
}

static DsCode
read_data_block(Bundle *bundle, Bytes handle)
{
	Bytes block;

	TRY(find_block(bundle, &handle, &block));
	bundle->key_length = 0;
	while (block.at < block.end)
	{
		Bytes value;

		TRY(next_entry(bundle, &block, &value));
		if (bundle->key_length == 0)
			TRY(read_header(bundle, value));
		else if (!bundle->has_header)
			return damaged(bundle, "it has no header");
		else
			TRY(read_entry(bundle, value));
	}
	return DS_OK;
}

static DsCode
read_table(Bundle *bundle)
{
	size_t length = (size_t) (bundle->table.end - bundle->table.at);
	Bytes footer;
	Bytes block;
	uint64_t number;

	if (length < DS_TF_FOOTER_SIZE || ds_read_u64(bundle->table.end - 8) != DS_TF_TABLE_MAGIC)
		return damaged(bundle, "it is no table of a checkpoint, or cut short");
	footer = (Bytes){bundle->table.end - DS_TF_FOOTER_SIZE, bundle->table.end - 8};
	if (!read_varint(&footer, &number) || !read_varint(&footer, &number))
		return damaged(bundle, "its footer");
	TRY(find_block(bundle, &footer, &block));
	/* its keys only separate those of the blocks that it lists */
	bundle->key_length = 0;
	while (block.at < block.end)
	{
		Bytes handle;

		TRY(next_entry(bundle, &block, &handle));
		{
			char separator[sizeof(bundle->key)];
			size_t separator_length = bundle->key_length;

			memcpy(separator, bundle->key, separator_length + 1);
			TRY(read_data_block(bundle, handle));
			memcpy(bundle->key, separator, separator_length + 1);
			bundle->key_length = separator_length;
		}
	}
	if (!bundle->has_header)
		return damaged(bundle, "it has no header");
	return ds_tensors_sort(bundle->files, bundle->index, bundle->status);
}

DsCode
ds_tf_bundle_open(const DsFolder *folder, const char *index, DsArena *arena, DsArena *scratch,
				  DsTensorFiles *files, DsStatus *status)
{
	DsArenaMark mark = ds_arena_mark(scratch);
	Bundle bundle = {
		.folder = folder, .index = index, .arena = arena, .status = status, .files = files};
	char *text;
	size_t length;
	DsCode code;

	memset(files, 0, sizeof(*files));
	files->folder = folder;
	if (strlen(index) < strlen(".index"))
		return ds_fail(status, DS_INVALID, "%s is not the name of an index", index);
	code = ds_folder_load(folder, index, DS_TF_INDEX_MAX, scratch, &text, &length, status);
	if (code == DS_OK && text == NULL)
		code = ds_fail(status, DS_BAD_DATA, "%s is missing", index);
	if (code == DS_OK)
	{
		bundle.table = (Bytes){(const unsigned char *) text, (const unsigned char *) text + length};
		code = read_table(&bundle);
	}
	ds_arena_rewind(scratch, mark);
	return code;
}
