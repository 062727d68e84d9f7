/*
 * safetensors.h
 *		Reading safetensors files, whole or in parts, and writing them.
 *
 * A file is eight bytes (the header's length N), N bytes of JSON that give each
 * tensor's type, shape and place, and the tensors' bytes.  What the reference
 * implementation refuses is refused here: places outside of the file, overlaps
 * and holes, sizes that are not shape times type, names or members that are
 * there twice, unknown types, bytes behind the last tensor.  The message names
 * the tensor.
 *
 * Format: https://github.com/huggingface/safetensors, README ("Format") and
 * safetensors/src/tensor.rs (Metadata::validate).
 */
#ifndef DS_SAFETENSORS_H
#define DS_SAFETENSORS_H

#include "format/plan.h"
#include "format/tensors.h"

/*
 * Bytes of a header.  The format allows 100 MB; a header of 8 MB describes some
 * 65,000 tensors, more than DS_TENSOR_COUNT_MAX allows, and takes up to 25 MB
 * while it is read.
 */
#define DS_SAFETENSORS_HEADER_MAX ((size_t) 8 << 20)
/* bytes of model.safetensors.index.json */
#define DS_SAFETENSORS_INDEX_MAX ((size_t) 8 << 20)

/*
 * Describe the tensors of one file.  Names and the list go into arena, what is
 * needed on the way into scratch, which is left as it was.
 * Errors: DS_BAD_DATA (what and which tensor), DS_UNSUPPORTED, DS_TOO_LARGE, DS_OUT_OF_MEMORY.
 */
extern DsCode ds_safetensors_open(const DsFolder *folder, const char *file, DsArena *arena,
								  DsArena *scratch, DsTensorFiles *files, DsStatus *status);

/*
 * The same for a model in parts: index is the name of model.safetensors.index.json, whose
 * weight_map says which file has which tensor.  A part that is missing, a
 * tensor that its part lacks, and a file name that leads out of the folder are
 * refused.  Tensors that the map does not name are left out.
 */
extern DsCode ds_safetensors_open_sharded(const DsFolder *folder, const char *index, DsArena *arena,
										  DsArena *scratch, DsTensorFiles *files, DsStatus *status);

/* A tensor of a file that is written: its name there, and where its numbers come from */
typedef struct DsSafetensor
{
	const char *name;
	uint32_t rank;
	uint64_t shape[4]; /* as it is written */
	DsPlanPart part;
} DsSafetensor;

/*
 * Plan a file of these tensors, which are put in the order in which they are
 * written.  Errors: DS_INVALID for a name that is there twice or a shape that
 * does not fit its part, DS_TOO_LARGE, DS_OUT_OF_MEMORY.
 */
extern DsCode ds_safetensors_plan(DsPlan *plan, const char *file, DsSafetensor *tensors,
								  size_t count, DsStatus *status);

#endif /* DS_SAFETENSORS_H */
