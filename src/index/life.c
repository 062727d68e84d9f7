/*
 * life.c
 *		Opening an index and its table for functions that look after it.
 */
#include "index/life.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "vector/embedding.h"

void
ds_subject_open(DsSubject *subject, Oid index, LOCKMODE lock)
{
	Oid table = IndexGetRelation(index, true);

	/* the table first, as everybody does; not an index: let ds_index_open() say so */
	memset(subject, 0, sizeof(*subject));
	subject->lock = lock;
	if (OidIsValid(table))
		subject->heap = table_open(table, lock);
	subject->index = ds_index_open(index, lock);
	if (subject->heap == NULL || table != IndexGetRelation(index, false))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("table of index \"%s\" cannot be opened",
							   RelationGetRelationName(subject->index))));
	if (!ds_owns_class(index, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX, RelationGetRelationName(subject->index));
	if (!subject->index->rd_index->indisready || !subject->index->rd_index->indisvalid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" is not valid", RelationGetRelationName(subject->index)),
				 errhint("REINDEX it.")));

	GetUserIdAndSecContext(&subject->user, &subject->security);
	SetUserIdAndSecContext(subject->heap->rd_rel->relowner,
						   subject->security | SECURITY_RESTRICTED_OPERATION);
	subject->nest_level = NewGUCNestLevel();
}

void
ds_subject_close(DsSubject *subject)
{
	AtEOXact_GUC(false, subject->nest_level);
	SetUserIdAndSecContext(subject->user, subject->security);

	/* who changed something keeps the lock as long as the change may be undone */
	index_close(subject->index, subject->lock == AccessShareLock ? subject->lock : NoLock);
	table_close(subject->heap, subject->lock == AccessShareLock ? subject->lock : NoLock);
}

double
ds_subject_scan(DsSubject *subject, Snapshot snapshot, IndexBuildCallback callback, void *state)
{
	IndexInfo *info = BuildIndexInfo(subject->index);
	TableScanDesc scan;

	/* rows that a snapshot sees: nothing to wait for */
	info->ii_Concurrent = true;
	info->ii_Unique = false;
	info->ii_ExclusionOps = NULL;
	info->ii_ExclusionProcs = NULL;
	info->ii_ExclusionStrats = NULL;
	scan = table_beginscan_strat(subject->heap, snapshot, 0, NULL, true, true);
	return table_index_build_scan(subject->heap, subject->index, info, true, false, callback, state,
								  scan);
}

void
ds_row_reader_open(DsRowReader *reader, DsSubject *subject)
{
	reader->info = BuildIndexInfo(subject->index);
	reader->estate = CreateExecutorState();
	reader->slot = table_slot_create(subject->heap, NULL);
	GetPerTupleExprContext(reader->estate)->ecxt_scantuple = reader->slot;
}

void
ds_row_reader_close(DsRowReader *reader)
{
	ExecDropSingleTupleTableSlot(reader->slot);
	FreeExecutorState(reader->estate);
}

bool
ds_row_reader_value(DsRowReader *reader, Datum *value)
{
	Datum values[INDEX_MAX_KEYS];
	bool isnull[INDEX_MAX_KEYS];
	MemoryContext old;

	ResetPerTupleExprContext(reader->estate);
	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(reader->estate));
	FormIndexDatum(reader->info, reader->slot, reader->estate, values, isnull);
	MemoryContextSwitchTo(old);
	*value = values[0];
	return !isnull[0];
}
