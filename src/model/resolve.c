/*
 * resolve.c
 *		Which version of a model a name means, for the active snapshot.
 *
 * The question is asked for every row that a query touches, so its answer is
 * remembered, for a name and a user, and given without any query.  What makes
 * an answer go away, and when may it be given?
 *
 * Every writer of ds_model sends a relcache invalidation of it, which reaches
 * the other processes after the writer's commit; all remembered answers go
 * then.  That alone is not enough, because invalidations know nothing of
 * snapshots.  A statement whose snapshot is older than the commit may well
 * process the invalidation in its midst; asking again under its snapshot
 * rightly gives the old version, but remembering that until the next
 * invalidation would keep the old version for ever.  So there are two kinds
 * of answers:
 *
 *	 bound		found under one snapshot, and given to that snapshot only
 *				(snapshots are the same when they see the same transactions
 *				and the same commands of their own one);
 *	 current	what the newest possible snapshot said after all invalidations
 *				of its time had been processed, given to that and every later
 *				snapshot until an invalidation comes.
 *
 * A commit is visible to new snapshots before its invalidations are sent.  So
 * if the newest snapshot does not see a commit, its invalidation is still to
 * come, and "until an invalidation comes" is right.  A REPEATABLE READ
 * transaction, an old cursor and a parallel worker (which may not take a
 * snapshot of its own) get bound answers, and keep seeing their version.
 *
 * A statement that takes no lock processes no invalidations by itself, so
 * the first question under another snapshot does it.
 */
#include "model/model.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "model/catalog.h"

/* What tells two MVCC snapshots apart */
typedef struct SnapshotId
{
	TransactionId xmin;
	TransactionId xmax;
	uint32 xcnt;
	int32 subxcnt;
	CommandId curcid;
	uint32 transaction; /* of this process */
} SnapshotId;

typedef struct Answer
{
	char *name; /* NULL: unused; "": the only model there is */
	Oid user;
	bool bound;
	SnapshotId snapshot;
	DsModelKey key;
} Answer;

#define ANSWERS 16

static Answer answers[ANSWERS];
static int next_answer = 0; /* the oldest goes first */
static uint64 answers_changes = 0; /* ds_catalog_model_changes when they were found */
static SnapshotId last_snapshot;
static MemoryContext answers_context = NULL;

static uint32
current_transaction(void)
{
	return (uint32) DS_MYPROC_LXID;
}

static SnapshotId
snapshot_id(Snapshot snapshot)
{
	SnapshotId id = {snapshot->xmin,	snapshot->xmax,	  snapshot->xcnt,
					 snapshot->subxcnt, snapshot->curcid, current_transaction()};

	return id;
}

static bool
same_snapshot(const SnapshotId *a, const SnapshotId *b)
{
	return a->xmin == b->xmin && a->xmax == b->xmax && a->xcnt == b->xcnt &&
		   a->subxcnt == b->subxcnt && a->curcid == b->curcid && a->transaction == b->transaction;
}

/*
 * Does a see all that b sees?  Snapshots of one cluster are ordered: xmax grows
 * with the transactions that end, and below the same xmax running ones only
 * become fewer.  Commands of the own transaction count in that one only.
 */
static bool
snapshot_includes(const SnapshotId *a, const SnapshotId *b)
{
	if (a->transaction == b->transaction && a->curcid < b->curcid)
		return false;
	if (a->xmax != b->xmax)
		return TransactionIdFollows(a->xmax, b->xmax);
	return TransactionIdFollowsOrEquals(a->xmin, b->xmin) && a->xcnt <= b->xcnt &&
		   a->subxcnt <= b->subxcnt;
}

/* ---- rights ---- */

static bool
acts_as(const char *role)
{
	Oid oid = get_role_oid(role, true);

	return OidIsValid(oid) && has_privs_of_role(GetUserId(), oid);
}

static bool
may_own(const char *owner)
{
	return superuser() || acts_as(owner);
}

static bool
may_read(ArrayType *readers)
{
	Datum *names;
	bool *nulls;
	int count;

	deconstruct_array(readers, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, &names, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		const char *role = nulls[i] ? NULL : NameStr(*DatumGetName(names[i]));

		if (role != NULL && (strcmp(role, "public") == 0 || acts_as(role)))
			return true;
	}
	return false;
}

DS_FUNCTION(ds_sql_may_use_model);
Datum
ds_sql_may_use_model(PG_FUNCTION_ARGS)
{
	if (superuser())
		PG_RETURN_BOOL(true);
	if (!PG_ARGISNULL(0) && may_own(NameStr(*PG_GETARG_NAME(0))))
		PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(!PG_ARGISNULL(1) && may_read(PG_GETARG_ARRAYTYPE_P(1)));
}

/* ---- reading ds_model ---- */

static void
read_row(HeapTuple tuple, TupleDesc desc, DsModelRow *row)
{
	/* a later version of the extension may have more columns than this library knows */
	Datum *values = palloc(sizeof(Datum) * desc->natts);
	bool *nulls = palloc(sizeof(bool) * desc->natts);

	heap_deform_tuple(tuple, desc, values, nulls);
	row->id = DatumGetInt32(values[DS_MODEL_ID - 1]);
	row->name = TextDatumGetCString(values[DS_MODEL_NAME - 1]);
	row->owner = pstrdup(NameStr(*DatumGetName(values[DS_MODEL_OWNER - 1])));
	row->config = (Jsonb *) PG_DETOAST_DATUM_COPY(values[DS_MODEL_CONFIG - 1]);
	row->version = nulls[DS_MODEL_VERSION - 1] ? 0 : DatumGetInt32(values[DS_MODEL_VERSION - 1]);
	row->may_own = may_own(row->owner);
	row->may_use = row->may_own || may_read(DatumGetArrayTypeP(values[DS_MODEL_READERS - 1]));
}

static bool
find_by_name(Relation relation, Snapshot snapshot, const char *name, DsModelRow *row)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyEntryInitialize(&key, 0, DS_MODEL_NAME, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(name));
	scan = systable_beginscan(relation, ds_catalog()->model_name_index, true, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		read_row(tuple, RelationGetDescr(relation), row);
	systable_endscan(scan);
	return HeapTupleIsValid(tuple);
}

static bool
version_exists(Snapshot snapshot, int32 model, int32 version)
{
	Relation relation = table_open(ds_catalog()->model_version, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	bool exists;

	ScanKeyInit(&keys[0], DS_VERSION_MODEL, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(model));
	ScanKeyInit(&keys[1], DS_VERSION_VERSION, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(version));
	scan = systable_beginscan(relation, ds_catalog()->version_index, true, snapshot, 2, keys);
	exists = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return exists;
}

/* A model by its name, or one of its versions by NAME@VERSION, unless a model is called that */
static bool
find_by_reference(Relation relation, Snapshot snapshot, const char *name, DsModelRow *row)
{
	const char *at;
	char *end;
	long version;

	if (find_by_name(relation, snapshot, name, row))
		return true;
	at = strrchr(name, '@');
	if (at == NULL || at[1] < '1' || at[1] > '9')
		return false;
	errno = 0;
	version = strtol(at + 1, &end, 10);
	if (*end != '\0' || errno != 0 || version > PG_INT32_MAX ||
		!find_by_name(relation, snapshot, pnstrdup(name, (Size) (at - name)), row) ||
		!version_exists(snapshot, row->id, (int32) version))
		return false;
	row->version = (int32) version;
	return true;
}

/* The only model that the user may use.  *usable and *all get the number there is. */
static void
find_only(Relation relation, Snapshot snapshot, DsModelRow *row, int *usable, int *all)
{
	SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple tuple;

	*usable = *all = 0;
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		DsModelRow found;

		read_row(tuple, RelationGetDescr(relation), &found);
		(*all)++;
		if (found.may_use)
		{
			(*usable)++;
			*row = found;
		}
	}
	systable_endscan(scan);
}

static void
no_such_model(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("model \"%s\" does not exist", name)));
}

static void
no_permission(const char *name)
{
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("permission denied for model \"%s\"", name)));
}

/* Find under a snapshot, or raise what is wrong.  No name: the only model. */
static void
find_usable(Relation relation, Snapshot snapshot, const char *name, DsModelRow *row)
{
	if (name[0] == '\0')
	{
		int usable;
		int all;

		find_only(relation, snapshot, row, &usable, &all);
		if (all == 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("there is no model"),
					 errhint("Train one: CALL ds_train('name', 'SELECT query, positive ...').")));
		if (usable == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied for every model"),
					 errhint("The owner of a model gives it with ds_grant_model(model, role).")));
		if (usable > 1)
			ereport(ERROR, (errcode(ERRCODE_AMBIGUOUS_PARAMETER),
							errmsg("there are several models, and none was named"),
							errhint("Name one, or SET deepsearch.model.")));
	}
	else if (!find_by_reference(relation, snapshot, name, row))
		no_such_model(name);
	else if (!row->may_use)
		no_permission(name);
	if (row->version == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("model \"%s\" is not trained", row->name),
						errhint("Train it: CALL ds_train('%s', 'SELECT query, positive ...').",
								row->name)));
}

bool
ds_model_find(const char *name, DsModelRow *row)
{
	Relation relation = table_open(ds_catalog()->model, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool found = find_by_name(relation, snapshot, name, row);

	UnregisterSnapshot(snapshot);
	table_close(relation, AccessShareLock);
	return found;
}

void
ds_model_find_owned(const char *name, DsModelRow *row)
{
	if (!ds_model_find(name, row))
		no_such_model(name);
	if (!row->may_own)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("must be owner of model \"%s\"", name)));
}

char *
ds_model_name(int32 id)
{
	Relation relation = table_open(ds_catalog()->model, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetActiveSnapshot());
	SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple tuple;
	char *name = NULL;

	while (name == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		DsModelRow row;

		read_row(tuple, RelationGetDescr(relation), &row);
		if (row.id == id)
			name = row.name;
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(relation, AccessShareLock);
	return name != NULL ? name : psprintf("number %d", id);
}

/* ---- answers ---- */

static void
remember(const char *name, bool bound, const SnapshotId *snapshot, DsModelKey key)
{
	Answer *answer = &answers[next_answer];

	if (answers_context == NULL)
		answers_context =
			AllocSetContextCreate(TopMemoryContext, "deepsearch model names", ALLOCSET_SMALL_SIZES);
	next_answer = (next_answer + 1) % ANSWERS;
	if (answer->name != NULL)
		pfree(answer->name);
	answer->name = NULL;
	answer->name = MemoryContextStrdup(answers_context, name);
	answer->user = GetUserId();
	answer->bound = bound;
	answer->snapshot = *snapshot;
	answer->key = key;
}

static void
forget_all(void)
{
	for (int i = 0; i < ANSWERS; i++)
		answers[i].name = NULL;
	if (answers_context != NULL)
		MemoryContextReset(answers_context);
	answers_changes = ds_catalog_model_changes;
}

static DsModelKey
ask(const char *name, Snapshot snapshot, const SnapshotId *id)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch resolve", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	Relation relation;
	DsModelRow row;
	DsModelKey key;
	uint64 changes;

	relation = table_open(ds_catalog()->model, AccessShareLock);
	AcceptInvalidationMessages();
	changes = ds_catalog_model_changes;
	find_usable(relation, snapshot, name, &row);
	key.model = row.id;
	key.version = row.version;
	if (answers_changes != changes)
		forget_all();
	remember(name, true, id, key);
	/* a parallel query has the leader's snapshot and no other */
	if (!IsInParallelMode())
	{
		Snapshot newest = RegisterSnapshot(GetLatestSnapshot());
		SnapshotId newest_id = snapshot_id(newest);
		DsModelRow now;
		bool found;

		if (name[0] == '\0')
		{
			int usable;
			int all;

			find_only(relation, newest, &now, &usable, &all);
			found = usable == 1;
		}
		else
			found = find_by_reference(relation, newest, name, &now);
		/* an invalidation in between: the next question will tell */
		if (found && now.may_use && now.version != 0 && ds_catalog_model_changes == changes)
		{
			DsModelKey current = {now.id, now.version};

			remember(name, false, &newest_id, current);
		}
		UnregisterSnapshot(newest);
	}
	table_close(relation, AccessShareLock);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return key;
}

DsModelKey
ds_model_resolve(const char *name)
{
	Snapshot snapshot;
	SnapshotId id;
	Oid user = GetUserId();
	bool pushed = false;
	DsModelKey key;

	if (name == NULL)
		name = ds_setting_model;
	else if (name[0] == '\0')
		no_such_model(name);
	if (!ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		pushed = true;
	}
	snapshot = GetActiveSnapshot();
	id = snapshot_id(snapshot);
	if (unlikely(!same_snapshot(&id, &last_snapshot)))
	{
		AcceptInvalidationMessages();
		last_snapshot = id;
	}
	if (answers_changes == ds_catalog_model_changes)
	{
		for (int i = 0; i < ANSWERS; i++)
		{
			const Answer *answer = &answers[i];

			if (answer->name != NULL && answer->user == user && strcmp(answer->name, name) == 0 &&
				(answer->bound ? same_snapshot(&id, &answer->snapshot)
							   : snapshot_includes(&id, &answer->snapshot)))
			{
				key = answer->key;
				if (pushed)
					PopActiveSnapshot();
				return key;
			}
		}
	}
	key = ask(name, snapshot, &id);
	if (pushed)
		PopActiveSnapshot();
	return key;
}

/* ---- locks ---- */

/*
 * The lock is on the name, since a model that ds_train creates has no number
 * yet.  Two names that share a number keep each other waiting, no more.
 */
uint32
ds_model_lock_id(const char *name)
{
	return DatumGetUInt32(hash_any((const unsigned char *) name, (int) strlen(name)));
}

static LOCKTAG
model_tag(const char *name)
{
	LOCKTAG tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ds_catalog()->model, ds_model_lock_id(name), 0);
	return tag;
}

void
ds_model_lock(const char *name, bool session)
{
	LOCKTAG tag = model_tag(name);

	if (LockAcquire(&tag, ExclusiveLock, session, true) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("model \"%s\" is being trained by another session", name),
						errhint("The view ds_training_runs shows it.")));
}

void
ds_model_lock_wait(const char *name)
{
	LOCKTAG tag = model_tag(name);

	LockAcquire(&tag, ExclusiveLock, false, false);
}

void
ds_model_unlock(const char *name)
{
	LOCKTAG tag = model_tag(name);

	LockRelease(&tag, ExclusiveLock, true);
}
