/*
 * protobuf.h
 *		Writing protocol buffers: fields of (number, kind) and a value, messages within
 *		messages by their length.
 *
 * Format: https://protobuf.dev/programming-guides/encoding/
 */
#ifndef DS_PROTOBUF_H
#define DS_PROTOBUF_H

#include "format/buffer.h"

/* A message has less than this many bytes, or nobody reads it */
#define DS_PROTO_LIMIT ((uint64_t) 1 << 31)

extern void ds_proto_varint(DsBuffer *out, uint64_t number);
extern void ds_proto_integer(DsBuffer *out, unsigned field, int64_t value);
extern void ds_proto_real(DsBuffer *out, unsigned field, float value);
/* The head of a field of so many bytes, which follow */
extern void ds_proto_length(DsBuffer *out, unsigned field, uint64_t length);
extern void ds_proto_bytes(DsBuffer *out, unsigned field, const void *bytes, size_t length);
extern void ds_proto_text(DsBuffer *out, unsigned field, const char *text);
/* What is in message, whose failures are handed on */
extern void ds_proto_message(DsBuffer *out, unsigned field, const DsBuffer *message);

#endif /* DS_PROTOBUF_H */
