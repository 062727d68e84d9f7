/*
 * life.h
 *		Functions that look after an index: what check.c, recall.c and
 *		maintain.c share.
 */
#ifndef DS_INDEX_LIFE_H
#define DS_INDEX_LIFE_H

#include "index/index.h"

#include "access/tableam.h"

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

#endif /* DS_INDEX_LIFE_H */
