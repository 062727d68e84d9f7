/*
 * tensors.h
 *		The tensors that lie in a model's files: what they are called, their type
 *		and shape, where their bytes are.
 *
 * Made by the reader of one format (safetensors.h, tf_bundle.h), which has checked
 * that every tensor's size is what shape and type say and lies inside of its
 * file.  Nothing is mapped or kept: bytes are read through the folder when
 * they are asked for.
 */
#ifndef DS_TENSORS_H
#define DS_TENSORS_H

#include "base/arena.h"
#include "base/status.h"
#include "format/dtype.h"
#include "format/folder.h"

#define DS_TENSOR_RANK_MAX 8
/* tensors of one model; the largest models that exist have some thousand */
#define DS_TENSOR_COUNT_MAX 65536
#define DS_TENSOR_FILE_MAX 1024
/* bytes of a tensor's name */
#define DS_TENSOR_NAME_MAX 1024

typedef struct DsTensorInfo
{
	const char *name; /* UTF-8 without a zero byte within */
	DsDtype dtype;
	uint32_t rank; /* 0: one number */
	uint64_t shape[DS_TENSOR_RANK_MAX];
	uint64_t elements; /* product of the shape */
	uint64_t offset; /* of the first byte in its file */
	uint64_t bytes;
	uint32_t file; /* number of the file */
	uint32_t checksum; /* masked CRC-32C of the bytes, where has_checksum */
	bool has_checksum;
} DsTensorInfo;

typedef struct DsTensorFiles
{
	const DsFolder *folder;
	const char **files; /* their names in the folder */
	size_t file_count;
	DsTensorInfo *tensors; /* by name, in the order of strcmp() */
	size_t count;
} DsTensorFiles;

/* NULL when there is none of this name */
extern const DsTensorInfo *ds_tensors_find(const DsTensorFiles *files, const char *name);

/* length stored bytes of a tensor, from the one numbered offset */
extern DsCode ds_tensors_read(const DsTensorFiles *files, const DsTensorInfo *tensor,
							  uint64_t offset, void *buffer, size_t length, DsStatus *status);

/*
 * count elements from the one numbered first, as float.  DS_UNSUPPORTED, with the
 * tensor's name, for types that have none.  Memory: a buffer on the stack.
 */
extern DsCode ds_tensors_read_floats(const DsTensorFiles *files, const DsTensorInfo *tensor,
									 uint64_t first, size_t count, float *out, DsStatus *status);

/*
 * For readers of formats: product of a shape and bytes of so many elements
 * of a type; false on overflow or when they are no whole number of bytes.
 */
extern bool ds_tensor_size(const uint64_t *shape, uint32_t rank, DsDtype dtype, uint64_t *elements,
						   uint64_t *bytes);

/*
 * For readers of formats: put the tensors in order.  DS_BAD_DATA when two have the same name.
 */
extern DsCode ds_tensors_sort(DsTensorFiles *files, const char *what, DsStatus *status);

#endif /* DS_TENSORS_H */
