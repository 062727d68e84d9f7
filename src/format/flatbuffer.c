/*
 * flatbuffer.c
 *		Writing FlatBuffers from their beginning to their end.
 *
 * The format is that of "FlatBuffer Internals" in the project's documentation:
 * a table begins with the signed distance back to its vtable; a vtable has its
 * own size, the table's size, and for each field the distance from the table's
 * beginning, zero for one that is not there, all in 16 bits.
 */
#include "format/flatbuffer.h"

#include <string.h>

#include "text/blob.h"

/* Zeros until the next thing, which is prefix bytes further, is aligned */
static void
align(DsFlat *flat, unsigned alignment, size_t prefix)
{
	while (!flat->buffer.failed && (flat->buffer.length + prefix) % alignment != 0)
		ds_buffer_byte(&flat->buffer, 0);
}

static void
put(DsFlat *flat, uint64_t value, unsigned size)
{
	unsigned char bytes[8];

	ds_write_u64(bytes, value);
	ds_buffer_put(&flat->buffer, bytes, size);
}

size_t
ds_flat_begin(DsFlat *flat, DsArena *arena, const char *identifier)
{
	memset(flat, 0, sizeof(*flat));
	ds_buffer_init(&flat->buffer, arena);
	put(flat, 0, 4);
	ds_buffer_put(&flat->buffer, identifier, 4);
	return 0;
}

size_t
ds_flat_table(DsFlat *flat, const DsFlatField *fields, size_t count)
{
	size_t place[DS_FLAT_FIELDS] = {0};
	size_t size = 4;
	size_t vtable;
	size_t table;
	unsigned widest = 4;

	while (count > 0 && fields[count - 1].size == 0)
		count--;
	/* the distance to the vtable, then the widest fields first */
	for (unsigned width = 8; width > 0; width /= 2)
		for (size_t i = 0; i < count; i++)
			if (fields[i].size == width)
			{
				size = (size + width - 1) / width * width;
				place[i] = size;
				size += width;
				widest = width > widest ? width : widest;
			}
	align(flat, 2, 0);
	vtable = flat->buffer.length;
	put(flat, 4 + 2 * count, 2);
	put(flat, size, 2);
	for (size_t i = 0; i < count; i++)
		put(flat, place[i], 2);
	align(flat, widest, 0);
	table = flat->buffer.length;
	put(flat, table - vtable, 4);
	for (size_t at = 4; at < size;)
	{
		size_t i = 0;

		while (i < count && place[i] != at)
			i++;
		if (i == count)
		{
			put(flat, 0, 1);
			at++;
			continue;
		}
		if (fields[i].slot != NULL)
			*fields[i].slot = table + at;
		put(flat, fields[i].slot != NULL ? 0 : fields[i].value, fields[i].size);
		at += fields[i].size;
	}
	return table;
}

size_t
ds_flat_string(DsFlat *flat, const char *text)
{
	size_t length = strlen(text);
	size_t place;

	align(flat, 4, 0);
	place = flat->buffer.length;
	put(flat, length, 4);
	ds_buffer_put(&flat->buffer, text, length + 1);
	return place;
}

size_t
ds_flat_numbers(DsFlat *flat, const void *values, size_t count, unsigned size)
{
	size_t place;

	align(flat, size > 4 ? size : 4, 4);
	place = flat->buffer.length;
	put(flat, count, 4);
	for (size_t i = 0; i < count; i++)
	{
		const char *value = (const char *) values + i * size;
		uint64_t bits = 0;
		uint32_t four;
		uint16_t two;

		switch (size)
		{
			case 1:
				bits = (unsigned char) *value;
				break;
			case 2:
				memcpy(&two, value, sizeof(two));
				bits = two;
				break;
			case 4:
				memcpy(&four, value, sizeof(four));
				bits = four;
				break;
			default:
				memcpy(&bits, value, sizeof(bits));
				break;
		}
		put(flat, bits, size);
	}
	return place;
}

size_t
ds_flat_offsets(DsFlat *flat, size_t count, size_t *slot)
{
	size_t place;

	align(flat, 4, 0);
	place = flat->buffer.length;
	put(flat, count, 4);
	*slot = place + 4;
	for (size_t i = 0; i < count; i++)
		put(flat, 0, 4);
	return place;
}

void
ds_flat_point(DsFlat *flat, size_t slot, uint64_t target)
{
	if (flat->buffer.failed)
		return;
	if (target <= slot || target > DS_FLAT_MAX)
		flat->far = true;
	else
		ds_write_u32((unsigned char *) flat->buffer.bytes + slot, (uint32_t) (target - slot));
}

DsCode
ds_flat_check(const DsFlat *flat, DsStatus *status)
{
	DsCode code = ds_buffer_check(&flat->buffer, status);

	if (code == DS_OK && flat->far)
		code = ds_fail(status, DS_TOO_LARGE, "the file would be larger than 2 GB");
	return code;
}
