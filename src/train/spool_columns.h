/*
 * spool_columns.h
 *		The columns of a training's source, for the files of the spool only.
 */
#ifndef DS_TRAIN_SPOOL_COLUMNS_H
#define DS_TRAIN_SPOOL_COLUMNS_H

#include "train/spool.h"

#define DS_SPOOL_SHAPE \
	"It gives rows (query, positive) or (query, positive, negative), and may have columns label and weight."

typedef struct DsSpoolColumn
{
	int number; /* 0: there is none */
	Oid type; /* of the column, or of its elements */
	bool array;
} DsSpoolColumn;

typedef struct DsSpoolColumns
{
	DsSpoolColumn text[3]; /* query, positive, negative; number 0: there is none */
	DsSpoolColumn picture[3];
	DsSpoolColumn label;
	DsSpoolColumn weight;
} DsSpoolColumns;

/* Which columns have what, by places and names.  42804 where they do not fit. */
extern void ds_spool_find_columns(DsSpool *source, TupleDesc desc, DsSpoolColumns *columns);

#endif /* DS_TRAIN_SPOOL_COLUMNS_H */
