/*
 * store.c
 *		Weights and tokenizers in ds_tensor, and from there to shared memory.
 *
 * A tensor is cut into chunks of at most 1 MB, so that neither writing nor
 * reading, dumping or replicating a large model needs it in one piece of
 * memory.  Every chunk carries the tensor's type and shape.  Numbers are
 * little-endian, as on every machine that this is built for.
 *
 * Loading a version maps its file (shared.c); who finds none copies the
 * tensors into a new one, each a section of the tensor's name, checks that
 * the model works with them, and only then lets others see it.
 */
#include "model/model.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "model/catalog.h"
#include "model/shared.h"

#ifdef WORDS_BIGENDIAN
#error "tensors are stored little-endian; this machine would have to swap them"
#endif

void
ds_store_write(DsModelKey key, const DsTensorData *tensors, int count)
{
	static const Oid types[7] = {INT4OID, INT4OID,		TEXTOID, INT4OID,
								 TEXTOID, INT8ARRAYOID, BYTEAOID};
	DsCatalogScope scope;

	ds_catalog_enter(&scope);
	for (int t = 0; t < count; t++)
	{
		const DsTensorData *tensor = &tensors[t];
		size_t begin = 0;
		Datum shape[2];
		Datum values[7];
		bytea *data = palloc(VARHDRSZ + Min(tensor->bytes, (size_t) DS_CHUNK_SIZE));

		for (int i = 0; i < tensor->shape_count; i++)
			shape[i] = Int64GetDatum(tensor->shape[i]);
		values[0] = Int32GetDatum(key.model);
		values[1] = Int32GetDatum(key.version);
		values[2] = CStringGetTextDatum(tensor->name);
		values[4] = CStringGetTextDatum(tensor->dtype);
		values[5] = PointerGetDatum(construct_array(
			shape, tensor->shape_count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
		values[6] = PointerGetDatum(data);
		for (int32 chunk = 0; chunk == 0 || begin < tensor->bytes; chunk++)
		{
			size_t size = Min(tensor->bytes - begin, (size_t) DS_CHUNK_SIZE);

			CHECK_FOR_INTERRUPTS();
			values[3] = Int32GetDatum(chunk);
			SET_VARSIZE(data, VARHDRSZ + size);
			memcpy(VARDATA(data), (const char *) tensor->data + begin, size);
			begin += size;
			ds_catalog_run(
				"INSERT INTO @.ds_tensor (model, version, name, chunk, dtype, shape, data)"
				" VALUES ($1, $2, $3, $4, $5, $6, $7)",
				7, types, values, NULL);
		}
		pfree(data);
	}
	ds_catalog_leave(&scope);
}

/* A tensor's type and shape, from the table */
typedef struct Tensor
{
	const char *name;
	int shape_count;
	int64 shape[2];
	size_t bytes;
} Tensor;

/* Reading the tensors of a version */
typedef struct Reader
{
	DsModelKey key;
	Relation relation;
	Relation index;
} Reader;

static void
damaged(DsModelKey key, const char *name, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("tensor \"%s\" of model \"%s\" version %d %s", name,
						   ds_model_name(key.model), key.version, what)));
}

static SysScanDesc
begin_scan(Reader *reader, const char *name)
{
	ScanKeyData keys[3];

	ScanKeyInit(&keys[0], DS_TENSOR_MODEL, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(reader->key.model));
	ScanKeyInit(&keys[1], DS_TENSOR_VERSION, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(reader->key.version));
	/* ScanKeyInit's collation is "C", the column's */
	ScanKeyInit(&keys[2], DS_TENSOR_NAME, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(name));
	return systable_beginscan_ordered(reader->relation, reader->index, GetActiveSnapshot(), 3,
									  keys);
}

/* Type and shape of a tensor, from its first chunk */
static void
describe(Reader *reader, const char *name, const char *dtype, Tensor *tensor)
{
	TupleDesc desc = RelationGetDescr(reader->relation);
	Datum *values = palloc(sizeof(Datum) * desc->natts);
	bool *nulls = palloc(sizeof(bool) * desc->natts);
	SysScanDesc scan = begin_scan(reader, name);
	HeapTuple tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	ArrayType *shape;
	char *found;
	size_t bytes;

	if (!HeapTupleIsValid(tuple))
		damaged(reader->key, name, "is missing");
	heap_deform_tuple(tuple, desc, values, nulls);
	found = TextDatumGetCString(values[DS_TENSOR_DTYPE - 1]);
	if (strcmp(found, dtype) != 0)
		damaged(reader->key, name, psprintf("has type \"%s\" instead of \"%s\"", found, dtype));
	shape = DatumGetArrayTypeP(values[DS_TENSOR_SHAPE - 1]);
	if (ARR_NDIM(shape) != 1 || ARR_DIMS(shape)[0] > 2 || ARR_HASNULL(shape))
		damaged(reader->key, name, "has a malformed shape");
	tensor->name = name;
	tensor->shape_count = ARR_DIMS(shape)[0];
	bytes = strcmp(dtype, "f32") == 0 ? sizeof(float) : 1;
	for (int i = 0; i < tensor->shape_count; i++)
	{
		tensor->shape[i] = ((int64 *) ARR_DATA_PTR(shape))[i];
		if (tensor->shape[i] < 1 || !ds_size_mul(bytes, (size_t) tensor->shape[i], &bytes) ||
			bytes > MaxAllocHugeSize)
			damaged(reader->key, name, "has an impossible shape");
	}
	tensor->bytes = bytes;
	systable_endscan_ordered(scan);
}

/* Copy a tensor to out[tensor->bytes]. */
static void
copy_tensor(Reader *reader, const Tensor *tensor, char *out)
{
	TupleDesc desc = RelationGetDescr(reader->relation);
	SysScanDesc scan = begin_scan(reader, tensor->name);
	HeapTuple tuple;
	size_t filled = 0;
	int32 chunk = 0;

	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool null;
		Datum stored;
		struct varlena *data;
		size_t size;

		CHECK_FOR_INTERRUPTS();
		if (DatumGetInt32(heap_getattr(tuple, DS_TENSOR_CHUNK, desc, &null)) != chunk)
			damaged(reader->key, tensor->name, psprintf("has no chunk %d", chunk));
		stored = heap_getattr(tuple, DS_TENSOR_DATA, desc, &null);
		data = PG_DETOAST_DATUM_PACKED(stored);
		size = VARSIZE_ANY_EXHDR(data);
		if (size > tensor->bytes - filled)
			damaged(reader->key, tensor->name, "is longer than its shape says");
		memcpy(out + filled, VARDATA_ANY(data), size);
		filled += size;
		chunk++;
		if ((Pointer) data != DatumGetPointer(stored))
			pfree(data);
	}
	systable_endscan_ordered(scan);
	if (filled != tensor->bytes)
		damaged(reader->key, tensor->name, "is shorter than its shape says");
}

static void
read_version(DsModel *model, DsSharedKey *key)
{
	const DsCatalog *catalog = ds_catalog();
	Relation relation = table_open(catalog->model_version, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;
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
	key->uid =
		*DatumGetUUIDP(heap_getattr(tuple, DS_VERSION_UID, RelationGetDescr(relation), &null));
	ds_config_read(
		DatumGetJsonbP(heap_getattr(tuple, DS_VERSION_CONFIG, RelationGetDescr(relation), &null)),
		&model->config);
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
}

/* ---- dual encoders ---- */

static char *
tokenizer_name(const DsModel *model, int tower)
{
	return psprintf("%s.tokenizer", ds_config_tower_name(&model->config, tower));
}

/* The section's memory; tensor is NULL for a file that has been made before. */
static const char *
section_data(const DsModel *model, const char *name, size_t bytes)
{
	const DsSection *section = ds_shared_section(&model->shared, name);

	if (section == NULL || (bytes != 0 && section->size != bytes))
		damaged(model->key, name, "has another shape than the model's config");
	return model->shared.base + section->offset;
}

/* Point tokenizers and encoder into the mapping. */
static void
attach(DsModel *model)
{
	uint32_t vocabulary[2];
	DsDualEncoderConfig config;
	DsStatus status;

	for (int t = 0; t < ds_config_towers(&model->config); t++)
	{
		const char *name = tokenizer_name(model, t);

		model->tokenizer_blob[t] = section_data(model, name, 0);
		model->tokenizer_size[t] = ds_shared_section(&model->shared, name)->size;
		ds_check(ds_tokenizer_open(&model->tokenizer[t], model->tokenizer_blob[t],
								   model->tokenizer_size[t], &status),
				 &status);
	}
	if (model->config.shared)
	{
		model->tokenizer[1] = model->tokenizer[0];
		model->tokenizer_blob[1] = model->tokenizer_blob[0];
		model->tokenizer_size[1] = model->tokenizer_size[0];
	}
	vocabulary[0] = model->tokenizer[0].vocabulary;
	vocabulary[1] = model->tokenizer[1].vocabulary;
	config = ds_config_encoder(&model->config, vocabulary);
	ds_check(ds_dual_encoder_plan(&config, &model->encoder, &status), &status);
	for (size_t i = 0; i < model->encoder.parameter_count; i++)
	{
		DsParameter *parameter = &model->encoder.parameter[i];

		/* inference only reads */
		parameter->value = (float *) unconstify(
			char *, section_data(model, parameter->name, sizeof(float) * parameter->count));
	}
	model->dims = (int) model->encoder.dims;
}

static void
check_shapes(const DsModel *model, const Tensor *tensors)
{
	for (size_t i = 0; i < model->encoder.parameter_count; i++)
	{
		const DsParameter *parameter = &model->encoder.parameter[i];
		const Tensor *tensor = &tensors[i];
		bool same = tensor->shape_count == (int) parameter->shape_count;

		for (int d = 0; same && d < tensor->shape_count; d++)
			same = tensor->shape[d] == (int64) parameter->shape[d];
		if (!same)
			damaged(model->key, parameter->name, "has another shape than the model's config");
	}
}

/* Copy the tensors from the tables, and check that they make a model. */
static void
lay_out(DsModel *model, const DsSharedKey *key)
{
	/* names do not depend on the vocabulary, which the tokenizer will tell */
	static const uint32_t any[2] = {1, 1};
	DsDualEncoderConfig config = ds_config_encoder(&model->config, any);
	DsDualEncoder *names = palloc(sizeof(DsDualEncoder));
	Tensor *tensors = palloc(sizeof(Tensor) * (DS_PARAMETERS_MAX + 2));
	DsSection *sections = palloc0(sizeof(DsSection) * (DS_PARAMETERS_MAX + 2));
	int count = 0;
	Reader reader = {model->key, NULL, NULL};
	DsSharedBuild *build;
	DsStatus status;

	reader.relation = table_open(ds_catalog()->tensor, AccessShareLock);
	reader.index = index_open(ds_catalog()->tensor_index, AccessShareLock);
	ds_check(ds_dual_encoder_plan(&config, names, &status), &status);
	for (size_t i = 0; i < names->parameter_count; i++)
		describe(&reader, names->parameter[i].name, "f32", &tensors[count++]);
	for (int t = 0; t < ds_config_towers(&model->config); t++)
		describe(&reader, tokenizer_name(model, t), "u8", &tensors[count++]);
	for (int i = 0; i < count; i++)
	{
		strlcpy(sections[i].name, tensors[i].name, DS_SECTION_NAME);
		sections[i].size = tensors[i].bytes;
	}
	build = ds_shared_begin(key, sections, count, model->context, &model->shared);
	for (int i = 0; i < count; i++)
		copy_tensor(&reader, &tensors[i], ds_shared_writable(build, &model->shared.sections[i]));
	attach(model);
	check_shapes(model, tensors);
	ds_shared_finish(build);
	index_close(reader.index, AccessShareLock);
	table_close(reader.relation, AccessShareLock);
}

/* Fill a model whose key, context and arena are set. */
void
ds_store_load(DsModel *model)
{
	DsSharedKey key;

	read_version(model, &key);
	if (!ds_shared_map(&key, model->context, &model->shared))
	{
		ds_shared_lock(&key);
		/* someone may have made it while we waited */
		if (!ds_shared_map(&key, model->context, &model->shared))
		{
			lay_out(model, &key);
			ds_shared_unlock(&key);
			ds_model_sweep_files();
			return;
		}
		ds_shared_unlock(&key);
	}
	attach(model);
}
