/*
 * protobuf.c
 *		Writing protocol buffers.
 */
#include "format/protobuf.h"

#include <string.h>

#include "format/dtype.h"

void
ds_proto_varint(DsBuffer *out, uint64_t number)
{
	for (; number >= 128; number >>= 7)
		ds_buffer_byte(out, (unsigned) (number & 127) | 128);
	ds_buffer_byte(out, (unsigned) number);
}

void
ds_proto_integer(DsBuffer *out, unsigned field, int64_t value)
{
	ds_proto_varint(out, (uint64_t) field << 3);
	ds_proto_varint(out, (uint64_t) value);
}

void
ds_proto_real(DsBuffer *out, unsigned field, float value)
{
	unsigned char bytes[4];

	ds_proto_varint(out, (uint64_t) field << 3 | 5);
	ds_dtype_from_float(DS_DTYPE_F32, &value, 1, bytes);
	ds_buffer_put(out, bytes, 4);
}

void
ds_proto_length(DsBuffer *out, unsigned field, uint64_t length)
{
	ds_proto_varint(out, (uint64_t) field << 3 | 2);
	ds_proto_varint(out, length);
}

void
ds_proto_bytes(DsBuffer *out, unsigned field, const void *bytes, size_t length)
{
	ds_proto_length(out, field, length);
	if (length > 0)
		ds_buffer_put(out, bytes, length);
}

void
ds_proto_text(DsBuffer *out, unsigned field, const char *text)
{
	ds_proto_bytes(out, field, text, strlen(text));
}

void
ds_proto_message(DsBuffer *out, unsigned field, const DsBuffer *message)
{
	ds_proto_bytes(out, field, message->bytes, message->length);
	out->failed |= message->failed;
}
