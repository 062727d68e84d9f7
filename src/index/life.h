/*
 * life.h
 *		Functions that look after an index: what check.c, recall.c and
 *		maintain.c share.
 */
#ifndef DS_INDEX_LIFE_H
#define DS_INDEX_LIFE_H

#include "index/index.h"

#include "access/tableam.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"

/* An index and its table, opened by a function that SQL calls */
typedef struct DsSubject
{
	Relation index;
	Relation heap;
	LOCKMODE lock;
	Oid user; /* who called */
	int security;
	int nest_level;
} DsSubject;

/*
 * Open an index and its table, for the owner of the index alone (42501 for
 * others).  Expressions and predicates of the index run as the table's owner
 * from here to ds_subject_close().
 */
extern void ds_subject_open(DsSubject *subject, Oid index, LOCKMODE lock);
extern void ds_subject_close(DsSubject *subject);

/* Go over the rows of the table that the snapshot sees, in the order of the table. */
extern double ds_subject_scan(DsSubject *subject, Snapshot snapshot, IndexBuildCallback callback,
							  void *state);

/* Reads the indexed value of rows of the table: expressions too */
typedef struct DsRowReader
{
	IndexInfo *info;
	EState *estate;
	TupleTableSlot *slot; /* of the table: put a row here */
} DsRowReader;

extern void ds_row_reader_open(DsRowReader *reader, DsSubject *subject);
extern void ds_row_reader_close(DsRowReader *reader);

/* The value of the row in reader->slot, valid until the next call; false: it is NULL */
extern bool ds_row_reader_value(DsRowReader *reader, Datum *value);

/*
 * A sample of the rows with a vector, [count, d] in the user's space, drawn by
 * seed; their row ids in tids.  *dimension gets d.  Returns the count.
 */
extern uint32 ds_sample_rows(DsSubject *subject, Snapshot snapshot, uint32 wanted, uint64 seed,
							 float **vectors, ItemPointerData **tids, uint32 *dimension);

/* What a curve was measured on */
typedef enum DsCurveSource
{
	DS_CURVE_OF_ROWS,
	DS_CURVE_OF_QUERIES
} DsCurveSource;

/*
 * Measure how many lists the queries [n, d] need and put that into the
 * metapage.  tids (or NULL) are rows not to be counted among the neighbours of
 * the query with the same number.  Returns how many queries counted.
 */
extern uint32 ds_measure_curve(DsSubject *subject, const float *queries, ItemPointer tids, uint32 n,
							   DsCurveSource source);

#endif /* DS_INDEX_LIFE_H */
