/*
 * buffer.c
 *		Bytes that grow in an arena.
 */
#include "format/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIRST 512

void
ds_buffer_init(DsBuffer *buffer, DsArena *arena)
{
	memset(buffer, 0, sizeof(*buffer));
	buffer->arena = arena;
}

/* Room for so many more bytes, and a zero byte */
static bool
make_room(DsBuffer *buffer, size_t more)
{
	size_t needed;
	size_t capacity = buffer->capacity > 0 ? buffer->capacity : FIRST;
	char *bytes;

	if (buffer->failed || !ds_size_add(buffer->length, more, &needed) ||
		!ds_size_add(needed, 1, &needed))
		return !(buffer->failed = true);
	if (needed <= buffer->capacity)
		return true;
	while (capacity < needed)
		if (!ds_size_mul(capacity, 2, &capacity))
			return !(buffer->failed = true);
	bytes = ds_arena_alloc(buffer->arena, capacity, 1);
	if (bytes == NULL)
		return !(buffer->failed = true);
	if (buffer->length > 0)
		memcpy(bytes, buffer->bytes, buffer->length);
	if (buffer->bytes != NULL)
		ds_arena_release(buffer->arena, buffer->bytes);
	buffer->bytes = bytes;
	buffer->capacity = capacity;
	return true;
}

void
ds_buffer_put(DsBuffer *buffer, const void *bytes, size_t length)
{
	if (!make_room(buffer, length))
		return;
	if (length > 0)
		memcpy(buffer->bytes + buffer->length, bytes, length);
	buffer->length += length;
	buffer->bytes[buffer->length] = '\0';
}

void
ds_buffer_byte(DsBuffer *buffer, unsigned byte)
{
	unsigned char c = (unsigned char) byte;

	ds_buffer_put(buffer, &c, 1);
}

void
ds_buffer_text(DsBuffer *buffer, const char *text)
{
	ds_buffer_put(buffer, text, strlen(text));
}

void
ds_buffer_printf(DsBuffer *buffer, const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0 || !make_room(buffer, (size_t) length))
	{
		buffer->failed = true;
		return;
	}
	va_start(args, format);
	vsnprintf(buffer->bytes + buffer->length, (size_t) length + 1, format, args);
	va_end(args);
	buffer->length += (size_t) length;
}

void
ds_buffer_json_bytes(DsBuffer *buffer, const char *text, size_t length)
{
	ds_buffer_byte(buffer, '"');
	for (size_t i = 0; i < length; i++)
	{
		unsigned char c = (unsigned char) text[i];

		if (c == '"' || c == '\\')
		{
			ds_buffer_byte(buffer, '\\');
			ds_buffer_byte(buffer, c);
		}
		else if (c < 0x20 || c == 0x7F)
			ds_buffer_printf(buffer, "\\u%04x", c);
		else
			ds_buffer_byte(buffer, c);
	}
	ds_buffer_byte(buffer, '"');
}

void
ds_buffer_json(DsBuffer *buffer, const char *text)
{
	ds_buffer_json_bytes(buffer, text, strlen(text));
}

DsCode
ds_buffer_check(const DsBuffer *buffer, DsStatus *status)
{
	return buffer->failed ? ds_fail(status, DS_OUT_OF_MEMORY, "out of memory") : DS_OK;
}
