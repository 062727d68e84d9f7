/*
 * store.c
 *		Tensors in ds_tensor, written and read in chunks.
 *
 * A tensor is cut into chunks of 1 MB, so that neither writing nor reading,
 * dumping or replicating a large model needs it in one piece of memory.  Every
 * chunk carries the tensor's type and shape.  Numbers are little-endian, as on
 * every machine that this is built for.
 */
#include "model/store.h"

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
ds_store_damaged(DsModelKey key, const char *name, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("tensor \"%s\" of model \"%s\" version %d %s", name,
						   ds_model_name(key.model), key.version, what)));
}

static bool
compute_size(DsStored *stored)
{
	uint64_t shape[DS_TENSOR_RANK_MAX];

	for (int i = 0; i < stored->rank; i++)
	{
		if (stored->shape[i] < 1)
			return false;
		shape[i] = (uint64_t) stored->shape[i];
	}
	/* chunks are counted by an integer */
	return ds_tensor_size(shape, (uint32_t) stored->rank, stored->dtype, &stored->elements,
						  &stored->bytes) &&
		   stored->bytes / DS_CHUNK_SIZE < PG_INT32_MAX;
}

void
ds_stored_size(DsStored *stored)
{
	if (!compute_size(stored))
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("tensor \"%s\" has an impossible shape", stored->name)));
}

/* ---- writing ---- */

struct DsTensorWriter
{
	const DsStored *stored;
	Datum values[7];
	bytea *data;
	size_t filled;
	uint64 written;
	int32 chunk;
};

static void
lower_case(const char *from, char *to)
{
	while (*from != '\0')
		*to++ = pg_ascii_tolower((unsigned char) *from++);
	*to = '\0';
}

DsTensorWriter *
ds_store_begin(DsModelKey key, const DsStored *stored)
{
	DsTensorWriter *writer = palloc0(sizeof(DsTensorWriter));
	Datum shape[DS_TENSOR_RANK_MAX];
	char dtype[32];

	for (int i = 0; i < stored->rank; i++)
		shape[i] = Int64GetDatum(stored->shape[i]);
	lower_case(ds_dtype_name(stored->dtype), dtype);
	writer->stored = stored;
	writer->data = palloc(VARHDRSZ + DS_CHUNK_SIZE);
	writer->values[0] = Int32GetDatum(key.model);
	writer->values[1] = Int32GetDatum(key.version);
	writer->values[2] = CStringGetTextDatum(stored->name);
	writer->values[4] = CStringGetTextDatum(dtype);
	writer->values[5] = PointerGetDatum(construct_array(shape, stored->rank, INT8OID, sizeof(int64),
														FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	writer->values[6] = PointerGetDatum(writer->data);
	return writer;
}

static void
write_chunk(DsTensorWriter *writer)
{
	static const Oid types[7] = {INT4OID, INT4OID,		TEXTOID, INT4OID,
								 TEXTOID, INT8ARRAYOID, BYTEAOID};

	CHECK_FOR_INTERRUPTS();
	writer->values[3] = Int32GetDatum(writer->chunk++);
	SET_VARSIZE(writer->data, VARHDRSZ + writer->filled);
	ds_catalog_execute("INSERT INTO @.ds_tensor (model, version, name, chunk, dtype, shape, data)"
					   " VALUES ($1, $2, $3, $4, $5, $6, $7)",
					   7, types, writer->values, NULL);
	writer->written += writer->filled;
	writer->filled = 0;
}

void
ds_store_put(DsTensorWriter *writer, const void *bytes, size_t size)
{
	const char *from = bytes;

	while (size > 0)
	{
		size_t n = Min(size, DS_CHUNK_SIZE - writer->filled);

		memcpy(VARDATA(writer->data) + writer->filled, from, n);
		writer->filled += n;
		from += n;
		size -= n;
		if (writer->filled == DS_CHUNK_SIZE)
			write_chunk(writer);
	}
}

void
ds_store_end(DsTensorWriter *writer)
{
	if (writer->filled > 0 || writer->chunk == 0)
		write_chunk(writer);
	if (writer->written != writer->stored->bytes)
		elog(ERROR, "tensor \"%s\" got " UINT64_FORMAT " bytes instead of " UINT64_FORMAT,
			 writer->stored->name, writer->written, writer->stored->bytes);
	pfree(writer->data);
	pfree(writer);
}

void
ds_store_write(DsModelKey key, const DsTensorData *tensors, int count)
{
	for (int t = 0; t < count; t++)
	{
		const DsTensorData *tensor = &tensors[t];
		DsStored stored = {.dtype = tensor->dtype, .rank = tensor->shape_count};
		DsTensorWriter *writer;

		strlcpy(stored.name, tensor->name, sizeof(stored.name));
		memcpy(stored.shape, tensor->shape, sizeof(tensor->shape));
		ds_stored_size(&stored);
		writer = ds_store_begin(key, &stored);
		ds_store_put(writer, tensor->data, tensor->bytes);
		ds_store_end(writer);
	}
}

/* ---- reading ---- */

void
ds_reader_open(DsReader *reader, DsModelKey key)
{
	memset(reader, 0, sizeof(*reader));
	reader->key = key;
	reader->last = key.version;
	reader->relation = table_open(ds_catalog()->tensor, AccessShareLock);
	reader->index = index_open(ds_catalog()->tensor_index, AccessShareLock);
	reader->chunk = -1;
	reader->data = palloc(DS_CHUNK_SIZE);
}

void
ds_reader_close(DsReader *reader)
{
	index_close(reader->index, AccessShareLock);
	table_close(reader->relation, AccessShareLock);
	pfree(reader->data);
}

/* the chunk numbered so, or (-1) the first there is */
static SysScanDesc
begin_scan(DsReader *reader, const char *name, int32 chunk)
{
	ScanKeyData keys[4];

	ScanKeyInit(&keys[0], DS_TENSOR_MODEL, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(reader->key.model));
	ScanKeyInit(&keys[1], DS_TENSOR_VERSION, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(reader->key.version));
	/* ScanKeyInit's collation is "C", the column's */
	ScanKeyInit(&keys[2], DS_TENSOR_NAME, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(name));
	ScanKeyInit(&keys[3], DS_TENSOR_CHUNK, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(chunk));
	return systable_beginscan_ordered(reader->relation, reader->index, GetActiveSnapshot(),
									  chunk < 0 ? 3 : 4, keys);
}

static void
read_description(DsReader *reader, HeapTuple tuple, DsStored *stored)
{
	TupleDesc desc = RelationGetDescr(reader->relation);
	Datum *values = palloc(sizeof(Datum) * desc->natts);
	bool *nulls = palloc(sizeof(bool) * desc->natts);
	ArrayType *shape;
	char *dtype;

	heap_deform_tuple(tuple, desc, values, nulls);
	dtype = TextDatumGetCString(values[DS_TENSOR_DTYPE - 1]);
	for (char *p = dtype; *p != '\0'; p++)
		*p = pg_toupper((unsigned char) *p);
	stored->dtype = ds_dtype_find(dtype, strlen(dtype));
	if (stored->dtype == DS_DTYPE_NONE)
		ds_store_damaged(reader->key, stored->name, "has an unknown type");
	shape = DatumGetArrayTypeP(values[DS_TENSOR_SHAPE - 1]);
	if (ARR_NDIM(shape) != 1 || ARR_DIMS(shape)[0] > DS_TENSOR_RANK_MAX || ARR_HASNULL(shape))
		ds_store_damaged(reader->key, stored->name, "has a malformed shape");
	stored->rank = ARR_DIMS(shape)[0];
	memcpy(stored->shape, ARR_DATA_PTR(shape), sizeof(int64) * (size_t) stored->rank);
	if (!compute_size(stored))
		ds_store_damaged(reader->key, stored->name, "has an impossible shape");
	pfree(dtype);
	pfree(values);
	pfree(nulls);
}

bool
ds_reader_find(DsReader *reader, const char *name, DsStored *stored)
{
	SysScanDesc scan = begin_scan(reader, name, -1);
	HeapTuple tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	bool found = HeapTupleIsValid(tuple);

	memset(stored, 0, sizeof(*stored));
	strlcpy(stored->name, name, sizeof(stored->name));
	if (found)
		read_description(reader, tuple, stored);
	systable_endscan_ordered(scan);
	return found;
}

int
ds_reader_list(DsReader *reader, DsStored **tensors)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;
	int count = 0;
	int capacity = 64;

	*tensors = palloc(sizeof(DsStored) * (Size) capacity);
	ScanKeyInit(&keys[0], DS_TENSOR_MODEL, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(reader->key.model));
	ScanKeyInit(&keys[1], DS_TENSOR_VERSION, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(reader->key.version));
	scan =
		systable_beginscan_ordered(reader->relation, reader->index, GetActiveSnapshot(), 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		TupleDesc desc = RelationGetDescr(reader->relation);
		DsStored *stored;
		bool null;

		CHECK_FOR_INTERRUPTS();
		if (DatumGetInt32(heap_getattr(tuple, DS_TENSOR_CHUNK, desc, &null)) != 0)
			continue;
		if (count == capacity)
		{
			capacity *= 2;
			*tensors = repalloc_huge(*tensors, sizeof(DsStored) * (Size) capacity);
		}
		stored = memset(&(*tensors)[count++], 0, sizeof(DsStored));
		strlcpy(stored->name, TextDatumGetCString(heap_getattr(tuple, DS_TENSOR_NAME, desc, &null)),
				sizeof(stored->name));
		read_description(reader, tuple, stored);
	}
	systable_endscan_ordered(scan);
	return count;
}

void
ds_reader_need(DsReader *reader, const char *name, DsStored *stored)
{
	if (!ds_reader_find(reader, name, stored))
		ds_store_damaged(reader->key, name, "is missing");
}

static void
read_chunk(DsReader *reader, const DsStored *stored, int32 chunk)
{
	SysScanDesc scan = begin_scan(reader, stored->name, chunk);
	HeapTuple tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	uint64 left = stored->bytes - (uint64) chunk * DS_CHUNK_SIZE;
	bool null;
	Datum value;
	struct varlena *data;

	CHECK_FOR_INTERRUPTS();
	if (!HeapTupleIsValid(tuple))
		ds_store_damaged(reader->key, stored->name, psprintf("has no chunk %d", chunk));
	reader->chunk = -1;
	value = heap_getattr(tuple, DS_TENSOR_DATA, RelationGetDescr(reader->relation), &null);
	data = PG_DETOAST_DATUM_PACKED(value);
	reader->size = VARSIZE_ANY_EXHDR(data);
	if (reader->size > left)
		ds_store_damaged(reader->key, stored->name, "is longer than its shape says");
	if (reader->size < Min(left, (uint64) DS_CHUNK_SIZE))
		ds_store_damaged(reader->key, stored->name, "is shorter than its shape says");
	memcpy(reader->data, VARDATA_ANY(data), reader->size);
	if ((Pointer) data != DatumGetPointer(value))
		pfree(data);
	systable_endscan_ordered(scan);
	strlcpy(reader->name, stored->name, sizeof(reader->name));
	reader->chunk = chunk;
}

const char *
ds_reader_bytes(DsReader *reader, const DsStored *stored, uint64 offset, size_t *size)
{
	int32 chunk = (int32) (offset / DS_CHUNK_SIZE);
	size_t within = (size_t) (offset % DS_CHUNK_SIZE);

	Assert(offset < stored->bytes);
	if (reader->chunk != chunk || strcmp(reader->name, stored->name) != 0)
		read_chunk(reader, stored, chunk);
	*size = reader->size - within;
	return reader->data + within;
}

void
ds_reader_all(DsReader *reader, const DsStored *stored, void *to)
{
	for (uint64 offset = 0; offset < stored->bytes;)
	{
		size_t size;
		const char *bytes = ds_reader_bytes(reader, stored, offset, &size);

		memcpy((char *) to + offset, bytes, size);
		offset += size;
	}
}

uint64
ds_store_copy(DsModelKey from, const char *name, DsModelKey to)
{
	DsTensorWriter *writer;
	DsReader reader;
	DsStored stored;

	PushActiveSnapshot(GetTransactionSnapshot());
	ds_reader_open(&reader, from);
	ds_reader_need(&reader, name, &stored);
	writer = ds_store_begin(to, &stored);
	for (uint64 offset = 0; offset < stored.bytes;)
	{
		size_t size;
		const char *bytes = ds_reader_bytes(&reader, &stored, offset, &size);

		ds_store_put(writer, bytes, size);
		offset += size;
	}
	ds_store_end(writer);
	ds_reader_close(&reader);
	PopActiveSnapshot();
	return stored.bytes;
}
