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
} DsVersionRow;

/*
 * The row of a new version, whose tensors come next; locks the model's row.
 * SPI must be connected.  42704 when the model has been dropped.
 */
extern DsModelKey ds_version_insert(int32 model, const char *name, const DsVersionRow *row);

/* It is complete, and the current one from the commit on; keep is the number of versions that stay. */
extern void ds_version_finish(DsModelKey key, uint32 keep);

extern void ds_init_version(void);

#endif /* DS_MODEL_VERSION_H */
