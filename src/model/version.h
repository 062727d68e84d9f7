/*
 * version.h
 *		Writing a version of a model: ds_train and ds_import_model.
 */
#ifndef DS_MODEL_VERSION_H
#define DS_MODEL_VERSION_H

#include "model/model.h"

typedef struct DsVersionRow
{
	Jsonb *config;
	int32 dims;
	const char *precision;
	int64 parameters;
	int64 bytes;
	int32 run; /* 0: none */
	const char *source; /* what it was trained on */
	int64 pairs; /* 0: none */
	int32 base; /* 0: it is stored in full */
	int64 step; /* 0: none */
	bool same[2]; /* by DsSide: its embeddings are those of the current version */
} DsVersionRow;

/*
 * The row of a new version, whose tensors come next; locks the model's row.
 * SPI must be connected.  42704 when the model has been dropped.
 */
extern DsModelKey ds_version_insert(int32 model, const char *name, const DsVersionRow *row);

/*
 * It is complete, and the current one from the commit on if activate says so; keep
 * is the number of versions that stay, beside the current one.
 */
extern void ds_version_finish(DsModelKey key, uint32 keep, bool activate);

/* Make it the current one; false when there is no such version. */
extern bool ds_version_activate(DsModelKey key);

/* The first version whose embeddings of this side are those of this one */
extern int32 ds_version_since(DsModelKey key, DsSide side);

extern void ds_init_version(void);

#endif /* DS_MODEL_VERSION_H */
