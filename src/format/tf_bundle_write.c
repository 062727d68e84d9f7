/*
 * tf_bundle_write.c
 *		Writing TensorFlow V2 checkpoints of one shard.
 *
 * As TensorFlow writes them: tensors in the order of their names, one behind the
 * other; the index a sorted table with blocks of 256 kB that are not compressed,
 * where every sixteenth key stands whole.  The index has a checksum of each
 * tensor, so all of them are read once more than for the data.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/protobuf.h"
#include "format/tf_bundle.h"
#include "text/blob.h"

#define BLOCK_BYTES 262144
#define WHOLE_KEYS 16 /* of a block's keys one in so many is whole */

typedef struct Table
{
	DsBuffer *out;
	DsBuffer block;
	DsBuffer restarts; /* uint32 each */
	DsBuffer handles; /* keys and places of the blocks, as a block of its own */
	DsBuffer handle_restarts;
	unsigned entries; /* of the block */
	char last[DS_TENSOR_NAME_MAX + 1];
} Table;

static void
put_u32(DsBuffer *out, uint32_t number)
{
	unsigned char bytes[4];

	ds_write_u32(bytes, number);
	ds_buffer_put(out, bytes, sizeof(bytes));
}

/* ---- the table ---- */

static void
put_entry(DsBuffer *block, const char *key, size_t shared, const DsBuffer *value)
{
	size_t length = strlen(key);

	ds_proto_varint(block, shared);
	ds_proto_varint(block, length - shared);
	ds_proto_varint(block, value->length);
	ds_buffer_put(block, key + shared, length - shared);
	ds_buffer_put(block, value->bytes, value->length);
}

/* A block's entries and whole keys to the file, with its checksum; where it is to handle */
static void
put_block(DsBuffer *out, DsBuffer *block, DsBuffer *restarts, DsBuffer *handle)
{
	size_t begin = out->length;
	size_t count;

	/* an empty one has a restart, too */
	if (restarts->length == 0)
		put_u32(restarts, 0);
	count = restarts->length / sizeof(uint32_t);
	ds_buffer_put(out, block->bytes, block->length);
	ds_buffer_put(out, restarts->bytes, restarts->length);
	put_u32(out, (uint32_t) count);
	ds_proto_varint(handle, begin);
	ds_proto_varint(handle, out->length - begin);
	ds_buffer_byte(out, 0); /* not compressed */
	if (!out->failed)
		put_u32(out, ds_crc32c_mask(ds_crc32c(0, out->bytes + begin, out->length - begin)));
	block->length = restarts->length = 0;
}

/* The block is full: separator is not before its keys, and before those to come. */
static void
end_block(Table *table, const char *separator)
{
	DsBuffer handle;

	ds_buffer_init(&handle, table->out->arena);
	put_block(table->out, &table->block, &table->restarts, &handle);
	put_u32(&table->handle_restarts, (uint32_t) table->handles.length);
	put_entry(&table->handles, separator, 0, &handle);
	table->entries = 0;
}

static void
add_entry(Table *table, const char *key, const DsBuffer *value)
{
	size_t shared = 0;

	if (table->block.length >= BLOCK_BYTES)
		end_block(table, table->last);
	if (table->entries % WHOLE_KEYS == 0)
		put_u32(&table->restarts, (uint32_t) table->block.length);
	else
		while (key[shared] != '\0' && key[shared] == table->last[shared])
			shared++;
	table->entries++;
	put_entry(&table->block, key, shared, value);
	snprintf(table->last, sizeof(table->last), "%s", key);
}

static void
end_table(Table *table)
{
	size_t begin;
	DsBuffer footer;
	unsigned char *last = (unsigned char *) table->last;

	/* any name behind all others will do: the shortest */
	while (*last == 0xff)
		last++;
	if (*last != '\0')
	{
		(*last)++;
		last[1] = '\0';
	}
	end_block(table, table->last);
	ds_buffer_init(&footer, table->out->arena);
	put_block(table->out, &table->block, &table->restarts, &footer); /* of other things: none */
	put_block(table->out, &table->handles, &table->handle_restarts, &footer);
	begin = table->out->length;
	ds_buffer_put(table->out, footer.bytes, footer.length);
	while (table->out->length - begin < DS_TF_FOOTER_SIZE - 8 && !table->out->failed)
		ds_buffer_byte(table->out, 0);
	put_u32(table->out, (uint32_t) DS_TF_TABLE_MAGIC);
	put_u32(table->out, (uint32_t) (DS_TF_TABLE_MAGIC >> 32));
}

/* ---- entries ---- */

static unsigned
type_of(DsDtype dtype)
{
	switch (dtype)
	{
		case DS_DTYPE_F32:
			return 1;
		case DS_DTYPE_I32:
			return 3;
		case DS_DTYPE_I8:
			return 6;
		case DS_DTYPE_I64:
			return 9;
		case DS_DTYPE_BF16:
			return 14;
		case DS_DTYPE_F16:
			return 19;
		default:
			return 0;
	}
}

static void
put_tensor(DsBuffer *entry, const DsTfTensor *tensor, uint64_t offset, uint64_t bytes, uint32_t crc)
{
	DsBuffer shape;

	ds_buffer_init(&shape, entry->arena);
	for (uint32_t d = 0; d < tensor->rank; d++)
	{
		DsBuffer size;

		ds_buffer_init(&size, entry->arena);
		ds_buffer_byte(&size, 1 << 3);
		ds_proto_varint(&size, tensor->shape[d]);
		ds_buffer_byte(&shape, 2 << 3 | 2);
		ds_proto_varint(&shape, size.length);
		ds_buffer_put(&shape, size.bytes, size.length);
	}
	ds_buffer_byte(entry, 1 << 3);
	ds_proto_varint(entry, type_of(tensor->part.dtype));
	ds_buffer_byte(entry, 2 << 3 | 2);
	ds_proto_varint(entry, shape.length);
	ds_buffer_put(entry, shape.bytes, shape.length);
	if (offset > 0)
	{
		ds_buffer_byte(entry, 4 << 3);
		ds_proto_varint(entry, offset);
	}
	ds_buffer_byte(entry, 5 << 3);
	ds_proto_varint(entry, bytes);
	ds_buffer_byte(entry, 6 << 3 | 5);
	put_u32(entry, ds_crc32c_mask(crc));
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const DsTfTensor *) a)->name, ((const DsTfTensor *) b)->name);
}

static DsCode
add_bytes(void *context, const void *bytes, size_t length, DsStatus *status)
{
	uint32_t *crc = context;

	(void) status;
	*crc = ds_crc32c(*crc, bytes, length);
	return DS_OK;
}

/* The checksum of a tensor as it will be written */
static DsCode
checksum(DsPlan *plan, const DsPlanPart *part, const DsTensorSource *source, const DsCancel *cancel,
		 uint32_t *crc, DsStatus *status)
{
	DsPlanPart copy = *part;
	DsPlanFile file = {.name = "", .part_count = 1, .parts = &copy};
	DsBlobWriter writer = {crc, add_bytes};

	*crc = 0;
	return ds_plan_write(&file, source, &writer, plan->arena, cancel, status);
}

static const char *
name_of(DsPlan *plan, const char *stem, const char *end)
{
	size_t size = strlen(stem) + strlen(end) + 1;
	char *name = ds_arena_alloc(plan->arena, size, 1);

	if (name != NULL)
		snprintf(name, size, "%s%s", stem, end);
	return name;
}

DsCode
ds_tf_bundle_plan(DsPlan *plan, const char *stem, DsTfTensor *tensors, size_t count,
				  const DsTensorSource *source, const DsCancel *cancel, DsStatus *status)
{
	/* one shard; TensorFlow's version of the format */
	static const unsigned char header[] = {1 << 3, 1, 3 << 3 | 2, 2, 1 << 3, 1};
	const char *index = name_of(plan, stem, ".index");
	const char *data = name_of(plan, stem, ".data-00000-of-00001");
	DsPlanFile *file;
	DsBuffer out, value;
	Table table = {.out = &out};
	uint64_t offset = 0;
	DsCode code;

	if (index == NULL || data == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	if (count > 0)
		qsort(tensors, count, sizeof(DsTfTensor), by_name);
	ds_buffer_init(&out, plan->arena);
	ds_buffer_init(&table.block, plan->arena);
	ds_buffer_init(&table.restarts, plan->arena);
	ds_buffer_init(&table.handles, plan->arena);
	ds_buffer_init(&table.handle_restarts, plan->arena);
	ds_buffer_init(&value, plan->arena);
	ds_buffer_put(&value, header, sizeof(header));
	add_entry(&table, "", &value);
	code = ds_plan_begin(plan, data, &file, status);
	for (size_t i = 0; i < count && code == DS_OK; i++)
	{
		const DsTfTensor *tensor = &tensors[i];
		uint64_t elements;
		uint64_t bytes;
		uint32_t crc;

		if (type_of(tensor->part.dtype) == 0 || tensor->name[0] == '\0' ||
			strlen(tensor->name) > DS_TENSOR_NAME_MAX ||
			!ds_tensor_size(tensor->shape, tensor->rank, tensor->part.dtype, &elements, &bytes) ||
			elements != tensor->part.rows * tensor->part.columns ||
			(i > 0 && strcmp(tensors[i - 1].name, tensor->name) == 0))
			return ds_fail(status, DS_INVALID, "tensor \"%s\" cannot be written", tensor->name);
		code = checksum(plan, &tensor->part, source, cancel, &crc, status);
		if (code != DS_OK)
			return code;
		value.length = 0;
		put_tensor(&value, tensor, offset, bytes, crc);
		add_entry(&table, tensor->name, &value);
		offset += bytes;
		code = ds_plan_tensor(plan, file, &tensor->part, status);
	}
	if (code != DS_OK)
		return code;
	end_table(&table);
	/* what the others lost they did not give to the table */
	if (value.failed || table.block.failed || table.restarts.failed || table.handles.failed ||
		table.handle_restarts.failed)
		out.failed = true;
	return ds_plan_text(plan, index, &out, status);
}
