/*
 * blob_walk.h
 *		Laying out weights as one block of bytes without pointers, and opening
 *		it; for the files of this room that have such a block.
 *
 * The order of everything in a blob follows from its description alone.  One
 * function walks through it in three roles: to count bytes, to write them, and
 * to set the pointers of what was opened.  So there is no table of offsets that
 * could be wrong.  Each part starts at a multiple of 64.
 */
#ifndef DS_BLOB_WALK_H
#define DS_BLOB_WALK_H

#include "nn/encoder_private.h"

#define DS_BLOB_ALIGNMENT 64
#define DS_BLOB_BLOCK ((size_t) 8 << 20) /* bytes of a tensor in memory */

/* At the beginning, and behind it the description */
typedef struct DsBlobHeader
{
	char identity[32];
	uint32_t precision;
	uint32_t spec_size;
	uint64_t size;
	uint32_t byte_order; /* 0x01020304 */
	uint32_t zero[3];
} DsBlobHeader;

typedef struct DsBlobWalk
{
	uint64_t offset;
	const char *base; /* opening: the blob */
	/* laying out */
	const DsTensorSource *source;
	const DsBlobWriter *writer;
	const DsCancel *cancel;
	DsArena *arena;
	DsStatus *status;
	float *block; /* DS_BLOB_BLOCK, and behind it a row of a tensor that is stored the other way */
} DsBlobWalk;

/* Begin and end: header and description are written, or read and compared with what is expected */
extern DsCode ds_blob_begin(DsBlobWalk *walk, const char *identity, uint32_t precision,
							uint64_t size, const void *spec, size_t spec_size);
extern DsCode ds_blob_check(const void *blob, uint64_t size, const char *identity, void *spec,
							size_t spec_size, uint32_t *precision, DsStatus *status);

/* The next part, of size bytes: its address when opening */
extern DsCode ds_blob_part(DsBlobWalk *walk, uint64_t size, const void **address);
extern DsCode ds_blob_write(DsBlobWalk *walk, const void *bytes, size_t size);
/*
 * Values of a tensor that must be there with so many in all; all of them
 * finite, or DS_BAD_DATA with its name.
 */
extern DsCode ds_blob_values(DsBlobWalk *walk, const char *name, uint64_t total, uint64_t first,
							 size_t count, float *out);
/* A tensor as it is, in f32 or bf16 */
extern DsCode ds_blob_table(DsBlobWalk *walk, const void **address, const char *name,
							uint64_t values, bool bf16);
extern DsCode ds_blob_floats(DsBlobWalk *walk, const float **address, const char *name,
							 uint64_t values);
/* prefix.weight, prefix.bias */
extern DsCode ds_blob_norm(DsBlobWalk *walk, DsNorm *norm, const char *prefix, size_t dims,
						   bool bias);

/*
 * A linear layer that is stored as one to three tensors, outputs of the second
 * behind those of the first.
 */
typedef struct DsBlobParts
{
	size_t count;
	char names[3][DS_SPEC_NAME]; /* without ".weight" */
	size_t outs; /* of each */
	size_t ins;
	bool bias;
} DsBlobParts;

extern DsCode ds_blob_linear(DsBlobWalk *walk, DsLinear *linear, const DsBlobParts *parts,
							 uint32_t precision);
extern DsCode ds_blob_modules(DsBlobWalk *walk, DsModules *modules);

#endif /* DS_BLOB_WALK_H */
