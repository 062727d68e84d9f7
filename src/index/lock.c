/*
 * lock.c
 *		The heavyweight locks of an index: see page.h.
 *
 * They are of the kind that advisory locks are, told apart from SQL's by the
 * last field (SQL uses 1 and 2), because the server allows no other lock to be
 * taken while a page lock is held.  All end with the transaction.
 */
#include "index/index.h"

#include "miscadmin.h"

#define LOCK_SHAPE 0xD5
#define LOCK_LIST 0xD6

static void
tag_of(LOCKTAG *tag, Relation index, uint32 number, uint16 class)
{
	SET_LOCKTAG_ADVISORY(*tag, index->rd_lockInfo.lockRelId.dbId, RelationGetRelid(index), number,
						 class);
}

void
ds_lock_list(Relation index, uint32 list, LOCKMODE mode)
{
	LOCKTAG tag;

	tag_of(&tag, index, list, LOCK_LIST);
	(void) LockAcquire(&tag, mode, false, false);
}

void
ds_unlock_list(Relation index, uint32 list, LOCKMODE mode)
{
	LOCKTAG tag;

	tag_of(&tag, index, list, LOCK_LIST);
	LockRelease(&tag, mode, false);
}

void
ds_lock_shape(Relation index, LOCKMODE mode)
{
	LOCKTAG tag;

	tag_of(&tag, index, 0, LOCK_SHAPE);
	(void) LockAcquire(&tag, mode, false, false);
}

bool
ds_lock_shape_if_free(Relation index, LOCKMODE mode)
{
	LOCKTAG tag;

	tag_of(&tag, index, 0, LOCK_SHAPE);
	return LockAcquire(&tag, mode, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

void
ds_unlock_shape(Relation index, LOCKMODE mode)
{
	LOCKTAG tag;

	tag_of(&tag, index, 0, LOCK_SHAPE);
	LockRelease(&tag, mode, false);
}
