/*
 * plan.h
 *		The files of a model that is exported, before their weights are there.
 *
 * A file is a list of parts: bytes that are known, and tensors whose numbers
 * are read from the model when the file is written, a piece at a time.  So the
 * size of each file is known beforehand, what cannot be exported shows before
 * the first byte is written, and no file is ever held in memory.
 */
#ifndef DS_PLAN_H
#define DS_PLAN_H

#include "format/buffer.h"
#include "format/dtype.h"
#include "nn/encoder.h"

/* What a tensor is as the model has it; false when there is none */
typedef struct DsPlanStored
{
	void *context;
	/* the type that its numbers keep all their digits in: f32, f16, bf16, i8, i64 or i32 */
	bool (*describe)(void *context, const char *name, DsDtype *dtype, uint32_t *rank,
					 uint64_t shape[4]);
} DsPlanStored;

typedef struct DsPlanPart
{
	/* bytes, or */
	const void *bytes;
	uint64_t length; /* of either */
	/* the numbers of a tensor, in this type */
	char tensor[DS_SPEC_NAME]; /* "": bytes */
	DsDtype dtype;
	uint64_t rows; /* as it is stored; columns 1: no matrix */
	uint64_t columns;
	bool transpose; /* written as [columns][rows] */
	/* above 1, transposed only: columns are [columns / inner][inner], and written as
	 * [inner][columns / inner][rows] */
	uint64_t inner;
	/* I8 only: numbers are divided by their row's (before transposing), or their column's, and
	 * rounded */
	const float *scales;
	bool column_scales;
} DsPlanPart;

typedef struct DsPlanFile
{
	const char *name; /* with a slash where it is in a folder of its own */
	uint64_t size;
	size_t part_count;
	size_t part_capacity;
	DsPlanPart *parts;
} DsPlanFile;

#define DS_PLAN_FILES 32

typedef struct DsPlan
{
	DsArena *arena;
	size_t file_count;
	DsPlanFile files[DS_PLAN_FILES];
} DsPlan;

extern void ds_plan_init(DsPlan *plan, DsArena *arena);

/* The next file.  Errors: DS_OUT_OF_MEMORY, DS_TOO_LARGE. */
extern DsCode ds_plan_begin(DsPlan *plan, const char *name, DsPlanFile **file, DsStatus *status);
/* Parts of it, one behind the other; bytes are not copied, of a tensor all but length is given. */
extern DsCode ds_plan_bytes(DsPlan *plan, DsPlanFile *file, const void *bytes, uint64_t length,
							DsStatus *status);
extern DsCode ds_plan_tensor(DsPlan *plan, DsPlanFile *file, const DsPlanPart *part,
							 DsStatus *status);
/* A file of what is in a buffer */
extern DsCode ds_plan_text(DsPlan *plan, const char *name, const DsBuffer *text, DsStatus *status);

extern const DsPlanFile *ds_plan_find(const DsPlan *plan, const char *name);

/*
 * Write a file, byte after byte.  Takes at most 24 MB of the arena at any time, and
 * gives it back.  Errors: those of source and writer, DS_BAD_DATA for a tensor of
 * another size, DS_CANCELLED.
 */
extern DsCode ds_plan_write(const DsPlanFile *file, const DsTensorSource *source,
							const DsBlobWriter *writer, DsArena *arena, const DsCancel *cancel,
							DsStatus *status);

/*
 * The part that a tensor [rows, columns] is (columns 1: no matrix), in the type that it is
 * stored in: as it is, or where a linear layer's weight is stored the other way round, under
 * its name with "_t" behind it, to be transposed.  False: there is none.
 */
extern bool ds_plan_part(const DsPlanStored *stored, const char *name, uint64_t rows,
						 uint64_t columns, bool linear, DsPlanPart *part);

/*
 * For i8: the largest magnitude of each row as it is stored over 127, or of each column where
 * part->column_scales, in the arena.  Sets part->scales.
 */
extern DsCode ds_plan_scales(DsPlanPart *part, const DsTensorSource *source, DsArena *arena,
							 const DsCancel *cancel, DsStatus *status);

#endif /* DS_PLAN_H */
