/*
 * open.c
 *		The model versions that this process has open.
 *
 * A few versions, the least recently used one goes first.  Each has a memory
 * context of its own, whose end also unmaps the weights.  A version that has
 * been deleted from the tables goes when the next one is asked for.
 */
#include "model/model.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "model/catalog.h"

#define LOADED_MAX 8

static dlist_head loaded = DLIST_STATIC_INIT(loaded); /* most recently used first */
static int loaded_count = 0;
static uint64 weights_seen = 0; /* ds_catalog_weight_changes */
static uint64 models_seen = 0; /* ds_catalog_model_changes */

static void
unlist(DsModel *model)
{
	dlist_delete(&model->node);
	loaded_count--;
	model->listed = false;
	if (model->pins == 0)
		MemoryContextDelete(model->context);
}

/* Is the version there, with this uid (NULL: any)? */
static bool
version_exists(Relation relation, Snapshot snapshot, int32 model, int32 version,
			   const pg_uuid_t *uid)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;
	bool exists;

	ScanKeyInit(&keys[0], DS_VERSION_MODEL, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(model));
	ScanKeyInit(&keys[1], DS_VERSION_VERSION, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(version));
	scan = systable_beginscan(relation, ds_catalog()->version_index, true, snapshot, 2, keys);
	tuple = systable_getnext(scan);
	exists = HeapTupleIsValid(tuple);
	if (exists && uid != NULL)
	{
		bool null;
		Datum found = heap_getattr(tuple, DS_VERSION_UID, RelationGetDescr(relation), &null);

		exists = memcmp(DatumGetUUIDP(found), uid, sizeof(*uid)) == 0;
	}
	systable_endscan(scan);
	return exists;
}

/* Let go of what is no longer in the tables. */
static void
sweep(void)
{
	Relation relation;
	Snapshot snapshot;
	dlist_mutable_iter iter;

	if (dlist_is_empty(&loaded) || IsInParallelMode())
		return;
	relation = table_open(ds_catalog()->model_version, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	dlist_foreach_modify(iter, &loaded)
	{
		DsModel *model = dlist_container(DsModel, node, iter.cur);

		if (!version_exists(relation, snapshot, model->key.model, model->key.version, NULL))
		{
			/* on a standby no one else does */
			ds_shared_unlink(MyDatabaseId, model->key.model, model->key.version);
			unlist(model);
		}
	}
	UnregisterSnapshot(snapshot);
	table_close(relation, AccessShareLock);
	models_seen = ds_catalog_model_changes;
}

typedef struct Versions
{
	Relation relation;
	Snapshot snapshot;
} Versions;

static bool
file_is_wanted(int32 model, int32 version, const pg_uuid_t *uid, void *context)
{
	const Versions *versions = context;

	return version_exists(versions->relation, versions->snapshot, model, version, uid);
}

void
ds_model_sweep_files(void)
{
	Versions versions;

	if (IsInParallelMode())
		return;
	versions.relation = table_open(ds_catalog()->model_version, AccessShareLock);
	versions.snapshot = RegisterSnapshot(GetLatestSnapshot());
	ds_shared_sweep(file_is_wanted, &versions);
	UnregisterSnapshot(versions.snapshot);
	table_close(versions.relation, AccessShareLock);
}

static DsModel *
load(DsModelKey key)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch model", ALLOCSET_DEFAULT_SIZES);
	MemoryContext work;
	MemoryContext caller;
	DsModel *model = MemoryContextAllocZero(context, sizeof(DsModel));

	model->key = key;
	model->context = context;
	ds_server_arena(&model->arena, context);
	work = AllocSetContextCreate(CurrentMemoryContext, "deepsearch load", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(work);
	ds_model_load(model);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(work);
	/* complete: from here on it outlives the query */
	MemoryContextSetParent(context, TopMemoryContext);
	return model;
}

DsModel *
ds_model_open(DsModelKey key)
{
	dlist_mutable_iter iter;
	DsModel *model;
	bool pushed = false;

	if (weights_seen != ds_catalog_weight_changes)
	{
		weights_seen = ds_catalog_weight_changes;
		dlist_foreach_modify(iter, &loaded) unlist(dlist_container(DsModel, node, iter.cur));
	}
	if (models_seen != ds_catalog_model_changes)
		sweep();
	dlist_foreach_modify(iter, &loaded)
	{
		model = dlist_container(DsModel, node, iter.cur);
		if (model->key.model == key.model && model->key.version == key.version)
		{
			dlist_move_head(&loaded, &model->node);
			return model;
		}
	}
	if (!ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		pushed = true;
	}
	model = load(key);
	if (pushed)
		PopActiveSnapshot();
	if (loaded_count >= LOADED_MAX)
		unlist(dlist_tail_element(DsModel, node, &loaded));
	dlist_push_head(&loaded, &model->node);
	model->listed = true;
	loaded_count++;
	return model;
}

void
ds_model_pin(DsModel *model)
{
	model->pins++;
}

void
ds_model_unpin(DsModel *model)
{
	if (--model->pins == 0 && !model->listed)
		MemoryContextDelete(model->context);
}
