/*
 * flatbuffer.h
 *		Writing FlatBuffers from their beginning to their end.
 *
 * An offset of a FlatBuffer counts forwards from the place that it stands at.
 * The usual builders go from the last byte to the first, children before their
 * parents, and so hold the whole file.  Here a parent is written first, with
 * zeros where its children will be named, and a child names itself when it is
 * written.  What is large can come last then, and need not be in memory:
 * ds_flat_point() takes any place behind the slot.
 *
 *     slot = where a table or vector wants an offset
 *     ds_flat_point(flat, slot, ds_flat_string(flat, "name"));
 *
 * A table is preceded by its vtable.  Everything is little-endian and aligned to
 * its own size from the beginning of the file.
 */
#ifndef DS_FLATBUFFER_H
#define DS_FLATBUFFER_H

#include "format/buffer.h"

/* The places of a file whose offsets are signed 32-bit numbers for some readers */
#define DS_FLAT_MAX INT32_MAX

typedef struct DsFlat
{
	DsBuffer buffer;
	bool far; /* an offset did not fit */
} DsFlat;

/* A field of a table; those of an array are the table's, in the schema's order */
typedef struct DsFlatField
{
	unsigned size; /* bytes, 1, 2, 4 or 8; 0: the field is not there, and has its default */
	uint64_t value; /* a float as its bits */
	size_t *slot; /* or an offset, size 4: where it stands is told here */
} DsFlatField;

#define DS_FLAT_FIELDS 16

/* Begins a file: its root must be pointed to from the place returned.  identifier: 4 bytes */
extern size_t ds_flat_begin(DsFlat *flat, DsArena *arena, const char *identifier);
/* A table, of at most DS_FLAT_FIELDS fields; each of these returns where it stands. */
extern size_t ds_flat_table(DsFlat *flat, const DsFlatField *fields, size_t count);
extern size_t ds_flat_string(DsFlat *flat, const char *text);
/* count numbers of 1, 2, 4 or 8 bytes, that lie at values as this machine has them */
extern size_t ds_flat_numbers(DsFlat *flat, const void *values, size_t count, unsigned size);
/* count offsets, to be pointed; the first stands at *slot, the others 4 bytes apart */
extern size_t ds_flat_offsets(DsFlat *flat, size_t count, size_t *slot);
/* slot names target, which lies behind it */
extern void ds_flat_point(DsFlat *flat, size_t slot, uint64_t target);
/* DS_OUT_OF_MEMORY, DS_TOO_LARGE: asked for once, at the end */
extern DsCode ds_flat_check(const DsFlat *flat, DsStatus *status);

#endif /* DS_FLATBUFFER_H */
