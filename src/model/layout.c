/*
 * layout.c
 *		From the tables to the file that processes share, and from there to a
 *		model that encodes.
 *
 * Loading a version maps its file (shared.c).  Who finds none makes it from
 * the tables, checks that the model works with it, and only then lets others
 * see it.
 */
#include "model/layout.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "model/catalog.h"
#include "model/delta.h"

const char *
ds_layout_section(const DsModel *model, const char *name, size_t size)
{
	const DsSection *section = ds_shared_section(&model->shared, name);

	if (section == NULL || (size != 0 && section->size != size))
		ds_store_damaged(model->key, name, "has another shape than the model's config");
	return model->shared.base + section->offset;
}

void
ds_layout_copy(DsReader *reader, const DsStored *stored, DsSharedBuild *build)
{
	if (reader->last != reader->key.version)
	{
		char *whole = MemoryContextAllocHuge(CurrentMemoryContext, stored->bytes);

		ds_delta_read(reader, stored, whole);
		ds_shared_append(build, whole, stored->bytes);
		pfree(whole);
		return;
	}
	for (uint64 offset = 0; offset < stored->bytes;)
	{
		size_t size;
		const char *bytes = ds_reader_bytes(reader, stored, offset, &size);

		ds_shared_append(build, bytes, size);
		offset += size;
	}
}

void *
ds_layout_tokenizer(DsReader *reader, const DsStored *stored, size_t *size)
{
	char *bytes = MemoryContextAllocHuge(CurrentMemoryContext, stored->bytes);
	DsArena arena;
	DsStatus status;
	void *blob;

	if (stored->dtype != DS_DTYPE_U8)
		ds_store_damaged(reader->key, stored->name,
						 psprintf("has type %s", ds_dtype_name(stored->dtype)));
	ds_reader_all(reader, stored, bytes);
	*size = stored->bytes;
	if (!ds_tokenizer_is_packed(bytes, stored->bytes))
		return bytes;
	ds_server_arena(&arena, CurrentMemoryContext);
	ds_check(ds_tokenizer_unpack(bytes, stored->bytes, &arena, &blob, size, &status), &status);
	pfree(bytes);
	return blob;
}

/* Fill in the model's config, and what its file is known by. */
static void
read_version(DsModel *model, DsSharedKey *key)
{
	const DsCatalog *catalog = ds_catalog();
	Relation relation = table_open(catalog->model_version, AccessShareLock);
	TupleDesc desc = RelationGetDescr(relation);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;
	Jsonb *config;
	bool null;

	ScanKeyInit(&keys[0], DS_VERSION_MODEL, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(model->key.model));
	ScanKeyInit(&keys[1], DS_VERSION_VERSION, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(model->key.version));
	scan = systable_beginscan(relation, catalog->version_index, true, GetActiveSnapshot(), 2, keys);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED), errmsg("version %d of model %d is missing",
														 model->key.version, model->key.model)));
	memset(key, 0, sizeof(*key));
	key->database = MyDatabaseId;
	key->model = model->key.model;
	key->version = model->key.version;
	key->uid = *DatumGetUUIDP(heap_getattr(tuple, DS_VERSION_UID, desc, &null));
	config = DatumGetJsonbP(heap_getattr(tuple, DS_VERSION_CONFIG, desc, &null));
	model->imported = ds_config_is_imported(config);
	if (model->imported)
	{
		MemoryContext caller = MemoryContextSwitchTo(model->context);

		ds_imported_config_read(config, &model->pretrained);
		MemoryContextSwitchTo(caller);
		ds_imported_packing(&model->pretrained, config, key->packing, sizeof(key->packing));
	}
	else
	{
		ds_config_read(config, &model->config);
		if (ds_config_images(&model->config))
			strlcpy(key->packing, DS_IMAGE_IDENTITY, sizeof(key->packing));
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
}

static void
make(DsModel *model, const DsLayout *layout, const DsSharedKey *key)
{
	DsSection *sections = palloc0(sizeof(DsSection) * DS_SECTIONS_MAX);
	DsSharedBuild *build;
	DsReader reader;
	void *state = NULL;
	int count;

	ds_delta_open(&reader, model->key);
	count = layout->sections(model, &reader, sections, &state);
	build = ds_shared_begin(key, sections, count);
	layout->fill(model, &reader, build, state);
	ds_reader_close(&reader);
	ds_shared_map_build(build, model->context, &model->shared);
	layout->attach(model);
	ds_shared_publish(build);
}

/* Fill a model whose key, context and arena are set. */
void
ds_model_load(DsModel *model)
{
	const DsLayout *layout;
	DsSharedKey key;
	bool made = false;

	read_version(model, &key);
	if (model->imported)
		layout = &ds_layout_imported;
	else
		layout = ds_config_images(&model->config) ? &ds_layout_mixed : &ds_layout_dual;
	if (ds_shared_map(&key, model->context, &model->shared))
	{
		layout->attach(model);
		return;
	}
	ds_shared_lock(&key);
	/* someone may have made it while we waited */
	if (ds_shared_map(&key, model->context, &model->shared))
		layout->attach(model);
	else
	{
		make(model, layout, &key);
		made = true;
	}
	ds_shared_unlock(&key);
	if (made)
		ds_model_sweep_files();
}
