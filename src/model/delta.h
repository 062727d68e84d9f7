/*
 * delta.h
 *		Versions that are stored as changes of another one.
 *
 * A step of ds_train_step() changes some thousand rows of a table of
 * embeddings.  Its version has those rows alone: tensor "NAME" holds them, one
 * after the other, and "NAME#rows" their numbers (u32); a small tensor is there
 * whole, without "#rows"; what has not changed is absent.  The version's row says
 * which full version, its base, it begins from: the changes of all versions
 * behind the base up to it apply, in their order.  They are there as long as
 * one of them is (ds_version_finish()).
 */
#ifndef DS_MODEL_DELTA_H
#define DS_MODEL_DELTA_H

#include "model/store.h"

#define DS_DELTA_ROWS "#rows"

/* A version's base, or 0 for one that is stored in full; *step: steps made by ds_train_step() */
extern int32 ds_delta_base(DsModelKey key, int64 *step);

/*
 * A reader of a version, whatever it is stored as.  Names and shapes are those
 * of its base.  For such a version use ds_delta_read(), which gives whole
 * tensors; ds_reader_bytes() would give the base's.
 */
extern void ds_delta_open(DsReader *reader, DsModelKey key);

/* All of a tensor, to[stored->bytes], changes applied */
extern void ds_delta_read(DsReader *reader, const DsStored *stored, void *to);

/*
 * The same for a tensor that the base need not have: it begins with zeros there,
 * as an optimizer's state does.  stored: name, type and shape; to[stored->bytes]
 * is zero.
 */
extern void ds_delta_read_sparse(DsReader *reader, const DsStored *stored, void *to);

/* Write rows of a tensor of this shape (rows NULL: all of it). */
extern void ds_delta_write(DsModelKey key, const char *name, const float *values, int rank,
						   const int64 *shape, const uint32 *rows, size_t count);

#endif /* DS_MODEL_DELTA_H */
