/*
 * store.c
 *		Weights and tokenizers in ds_tensor.
 *
 * A tensor is cut into chunks of at most 1 MB, so that neither writing nor
 * reading, dumping or replicating a large model needs it in one piece of
 * memory twice.  Every chunk carries the tensor's type and shape.  Numbers
 * are little-endian, as on every machine that this is built for.
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

#include "model/catalog.h"

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

/* A tensor read back; data in the model's arena */
typedef struct Tensor
{
	int shape_count;
	int64 shape[2];
	char *data;
	size_t bytes;
} Tensor;

static void
damaged(const DsModel *model, const char *name, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("tensor \"%s\" of model \"%s\" version %d %s", name,
						   ds_model_name(model->key.model), model->key.version, what)));
}

/* Shape and size of a tensor, from its first chunk; takes the memory. */
static void
begin_tensor(DsModel *model, const char *name, const char *dtype, HeapTuple tuple, TupleDesc desc,
			 Tensor *tensor)
{
	Datum *values = palloc(sizeof(Datum) * desc->natts);
	bool *nulls = palloc(sizeof(bool) * desc->natts);
	ArrayType *shape;
	char *found;
	size_t bytes;

	heap_deform_tuple(tuple, desc, values, nulls);
	found = TextDatumGetCString(values[DS_TENSOR_DTYPE - 1]);
	if (strcmp(found, dtype) != 0)
		damaged(model, name, psprintf("has type \"%s\" instead of \"%s\"", found, dtype));
	shape = DatumGetArrayTypeP(values[DS_TENSOR_SHAPE - 1]);
	if (ARR_NDIM(shape) != 1 || ARR_DIMS(shape)[0] > 2 || ARR_HASNULL(shape))
		damaged(model, name, "has a malformed shape");
	tensor->shape_count = ARR_DIMS(shape)[0];
	bytes = strcmp(dtype, "f32") == 0 ? sizeof(float) : 1;
	for (int i = 0; i < tensor->shape_count; i++)
	{
		tensor->shape[i] = ((int64 *) ARR_DATA_PTR(shape))[i];
		if (tensor->shape[i] < 1 || !ds_size_mul(bytes, (size_t) tensor->shape[i], &bytes) ||
			bytes > MaxAllocHugeSize)
			damaged(model, name, "has an impossible shape");
	}
	tensor->bytes = bytes;
	tensor->data = ds_arena_alloc(&model->arena, 1, bytes);
	if (tensor->data == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
						errdetail("Tensor \"%s\" needs %zu bytes.", name, bytes)));
}

static void
read_tensor(DsModel *model, Relation relation, Relation index, const char *name, const char *dtype,
			Tensor *tensor)
{
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple tuple;
	size_t filled = 0;
	int32 chunk = 0;

	ScanKeyInit(&keys[0], DS_TENSOR_MODEL, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(model->key.model));
	ScanKeyInit(&keys[1], DS_TENSOR_VERSION, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(model->key.version));
	/* ScanKeyInit's collation is "C", the column's */
	ScanKeyInit(&keys[2], DS_TENSOR_NAME, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(name));
	scan = systable_beginscan_ordered(relation, index, GetActiveSnapshot(), 3, keys);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool null;
		Datum stored;
		struct varlena *data;
		size_t size;

		CHECK_FOR_INTERRUPTS();
		if (chunk == 0)
			begin_tensor(model, name, dtype, tuple, RelationGetDescr(relation), tensor);
		if (DatumGetInt32(
				heap_getattr(tuple, DS_TENSOR_CHUNK, RelationGetDescr(relation), &null)) != chunk)
			damaged(model, name, psprintf("has no chunk %d", chunk));
		stored = heap_getattr(tuple, DS_TENSOR_DATA, RelationGetDescr(relation), &null);
		data = PG_DETOAST_DATUM_PACKED(stored);
		size = VARSIZE_ANY_EXHDR(data);
		if (size > tensor->bytes - filled)
			damaged(model, name, "is longer than its shape says");
		memcpy(tensor->data + filled, VARDATA_ANY(data), size);
		filled += size;
		chunk++;
		if ((Pointer) data != DatumGetPointer(stored))
			pfree(data);
	}
	systable_endscan_ordered(scan);
	if (chunk == 0)
		damaged(model, name, "is missing");
	if (filled != tensor->bytes)
		damaged(model, name, "is shorter than its shape says");
}

static void
read_config(DsModel *model)
{
	const DsCatalog *catalog = ds_catalog();
	Relation relation = table_open(catalog->model_version, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;
	bool null;
	Datum config;

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
	config = heap_getattr(tuple, DS_VERSION_CONFIG, RelationGetDescr(relation), &null);
	ds_config_read(DatumGetJsonbP(config), &model->config);
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
}

static void
read_tokenizers(DsModel *model, Relation relation, Relation index)
{
	DsStatus status;

	for (int t = 0; t < ds_config_towers(&model->config); t++)
	{
		const char *name = psprintf("%s.tokenizer", ds_config_tower_name(&model->config, t));
		Tensor tensor;

		read_tensor(model, relation, index, name, "u8", &tensor);
		ds_check(ds_tokenizer_open(&model->tokenizer[t], tensor.data, tensor.bytes, &status),
				 &status);
		model->tokenizer_blob[t] = tensor.data;
		model->tokenizer_size[t] = tensor.bytes;
	}
	if (model->config.shared)
	{
		model->tokenizer[1] = model->tokenizer[0];
		model->tokenizer_blob[1] = model->tokenizer_blob[0];
		model->tokenizer_size[1] = model->tokenizer_size[0];
	}
}

static void
read_parameters(DsModel *model, Relation relation, Relation index)
{
	uint32_t vocabulary[2] = {model->tokenizer[0].vocabulary, model->tokenizer[1].vocabulary};
	DsDualEncoderConfig config = ds_config_encoder(&model->config, vocabulary);
	DsStatus status;

	ds_check(ds_dual_encoder_plan(&config, &model->encoder, &status), &status);
	for (size_t i = 0; i < model->encoder.parameter_count; i++)
	{
		DsParameter *parameter = &model->encoder.parameter[i];
		Tensor tensor;
		bool same;

		read_tensor(model, relation, index, parameter->name, "f32", &tensor);
		same = tensor.shape_count == (int) parameter->shape_count;
		for (int d = 0; same && d < tensor.shape_count; d++)
			same = tensor.shape[d] == (int64) parameter->shape[d];
		if (!same)
			damaged(model, parameter->name, "has another shape than the model's config");
		parameter->value = (float *) tensor.data;
	}
}

/* Fill a model whose key, context and arena are set. */
void
ds_store_load(DsModel *model)
{
	const DsCatalog *catalog = ds_catalog();
	Relation relation = table_open(catalog->tensor, AccessShareLock);
	Relation index = index_open(catalog->tensor_index, AccessShareLock);

	read_config(model);
	read_tokenizers(model, relation, index);
	read_parameters(model, relation, index);
	model->dims = (int) model->encoder.dims;
	index_close(index, AccessShareLock);
	table_close(relation, AccessShareLock);
}
