/*
 * buffer.h
 *		Bytes that grow in an arena: what writers of formats write into.
 *
 * A lack of memory is remembered, so that it is asked for once, at the end.
 */
#ifndef DS_BUFFER_H
#define DS_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"

typedef struct DsBuffer
{
	DsArena *arena;
	char *bytes;
	size_t length;
	size_t capacity;
	bool failed; /* memory was out, or a size overflowed: what was put since is lost */
} DsBuffer;

extern void ds_buffer_init(DsBuffer *buffer, DsArena *arena);
extern void ds_buffer_put(DsBuffer *buffer, const void *bytes, size_t length);
extern void ds_buffer_byte(DsBuffer *buffer, unsigned byte);
extern void ds_buffer_text(DsBuffer *buffer, const char *text);
extern void ds_buffer_printf(DsBuffer *buffer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* a string of JSON, with its quotes; the text must be valid UTF-8 */
extern void ds_buffer_json(DsBuffer *buffer, const char *text);
/* the same of length bytes, some of which may be zero */
extern void ds_buffer_json_bytes(DsBuffer *buffer, const char *text, size_t length);
/* DS_OUT_OF_MEMORY where that has happened */
extern DsCode ds_buffer_check(const DsBuffer *buffer, DsStatus *status);

#endif /* DS_BUFFER_H */
