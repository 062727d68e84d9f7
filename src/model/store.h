/*
 * store.h
 *		Tensors in ds_tensor, written and read in chunks.
 */
#ifndef DS_MODEL_STORE_H
#define DS_MODEL_STORE_H

#include "model/model.h"

#include "format/dtype.h"
#include "format/tensors.h"
#include "nn/encoder_spec.h"
#include "utils/relcache.h"

/* The size of every chunk of a tensor but the last */
#define DS_CHUNK_SIZE 1048576

/* What ds_tensor says of a tensor */
typedef struct DsStored
{
	char name[DS_SPEC_NAME];
	DsDtype dtype;
	int rank;
	int64 shape[DS_TENSOR_RANK_MAX];
	uint64 elements;
	uint64 bytes;
} DsStored;

/* dtype, rank and shape are given; elements and bytes are computed.  54000 when they are absurd. */
extern void ds_stored_size(DsStored *stored);

/*
 * Write a tensor, its bytes put one after the other, to the last one.  SPI
 * must be connected.  Memory: one chunk.
 */
typedef struct DsTensorWriter DsTensorWriter;

extern DsTensorWriter *ds_store_begin(DsModelKey key, const DsStored *stored);
extern void ds_store_put(DsTensorWriter *writer, const void *bytes, size_t size);
extern void ds_store_end(DsTensorWriter *writer);

/* Read the tensors of a version under the active snapshot.  Memory: one chunk. */
typedef struct DsReader
{
	DsModelKey key;
	int32 last; /* changes up to this version apply (delta.h) */
	Relation relation;
	Relation index;
	/* the chunk that was read last */
	char name[DS_SPEC_NAME];
	int32 chunk; /* -1: none */
	size_t size;
	char *data;
} DsReader;

extern void ds_reader_open(DsReader *reader, DsModelKey key);
extern void ds_reader_close(DsReader *reader);

/* false when there is none of this name; XX001 when its description is damaged */
extern bool ds_reader_find(DsReader *reader, const char *name, DsStored *stored);
/* XX001 instead of false */
extern void ds_reader_need(DsReader *reader, const char *name, DsStored *stored);

/* All tensors of the reader's version itself, in the order of their names: their number, and each */
extern int ds_reader_list(DsReader *reader, DsStored **tensors);

/*
 * Some of a tensor's bytes from offset on, at least one: those that its chunk
 * has.  They stand until the next call.  XX001 when the chunk is damaged.
 */
extern const char *ds_reader_bytes(DsReader *reader, const DsStored *stored, uint64 offset,
								   size_t *size);

/* All of them, to[stored->bytes] */
extern void ds_reader_all(DsReader *reader, const DsStored *stored, void *to);

/* Write a tensor of one version, which is stored in full, into another one.  Returns its bytes. */
extern uint64 ds_store_copy(DsModelKey from, const char *name, DsModelKey to);

/* "tensor ... of model ... version ... WHAT", XX001 */
extern void ds_store_damaged(DsModelKey key, const char *name, const char *what);

#endif /* DS_MODEL_STORE_H */
