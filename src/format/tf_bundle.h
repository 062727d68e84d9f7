/*
 * tf_bundle.h
 *		Reading and writing TensorFlow V2 checkpoints: NAME.index and
 *		NAME.data-00000-of-00001.
 *
 * The index is a sorted string table (LevelDB's format) from a tensor's name to
 * a message that says type, shape, shard, place and checksum; the shards are
 * the tensors' bytes.  Everything is checked before it is believed: the
 * table's checksums, places against the shards' sizes, sizes against type and
 * shape.
 *
 * Formats: tensorflow/core/protobuf/tensor_bundle.proto, and the table format of
 * https://github.com/google/leveldb/blob/main/doc/table_format.md
 */
#ifndef DS_TF_BUNDLE_H
#define DS_TF_BUNDLE_H

#include "format/plan.h"
#include "format/tensors.h"

/* bytes of an index */
#define DS_TF_INDEX_MAX ((size_t) 16 << 20)

/* the end of a table: where its blocks are listed, and the magic number */
#define DS_TF_FOOTER_SIZE 48
#define DS_TF_TABLE_MAGIC UINT64_C(0xdb4775248b80fb57)

/*
 * Describe the tensors of a checkpoint; index is the name of its .index file.
 * Tensors of strings, and slices of partitioned variables, are left out.  Names
 * and the list go into arena; scratch is left as it was.
 * Errors: DS_BAD_DATA (what and which tensor), DS_UNSUPPORTED, DS_TOO_LARGE, DS_OUT_OF_MEMORY.
 */
extern DsCode ds_tf_bundle_open(const DsFolder *folder, const char *index, DsArena *arena,
								DsArena *scratch, DsTensorFiles *files, DsStatus *status);

/* A tensor of a checkpoint that is written: its name there, and where its numbers come from */
typedef struct DsTfTensor
{
	const char *name;
	uint32_t rank;
	uint64_t shape[4]; /* as it is written */
	DsPlanPart part;
} DsTfTensor;

/*
 * Plan the two files of a checkpoint of these tensors, which are put in the order
 * in which they are written.  Their numbers are read, for the checksums.
 * Errors: DS_INVALID for a name that is there twice or a shape that does not fit
 * its part, those of the source, DS_TOO_LARGE, DS_OUT_OF_MEMORY, DS_CANCELLED.
 */
extern DsCode ds_tf_bundle_plan(DsPlan *plan, const char *stem, DsTfTensor *tensors, size_t count,
								const DsTensorSource *source, const DsCancel *cancel,
								DsStatus *status);

/* The checksum of DsTensorInfo: CRC-32C of bytes, continued from crc (0 at first), and the masked form
 * that is stored */
extern uint32_t ds_crc32c(uint32_t crc, const void *bytes, size_t length);
extern uint32_t ds_crc32c_mask(uint32_t crc);

#endif /* DS_TF_BUNDLE_H */
