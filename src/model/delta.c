/*
 * delta.c
 *		Versions that are stored as changes of another one.
 */
#include "model/delta.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "model/catalog.h"

int32
ds_delta_base(DsModelKey key, int64 *step)
{
	Relation relation = table_open(ds_catalog()->model_version, AccessShareLock);
	TupleDesc desc = RelationGetDescr(relation);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;
	int32 base = 0;

	*step = 0;
	ScanKeyInit(&keys[0], DS_VERSION_MODEL, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(key.model));
	ScanKeyInit(&keys[1], DS_VERSION_VERSION, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(key.version));
	scan = systable_beginscan(relation, ds_catalog()->version_index, true, GetActiveSnapshot(), 2,
							  keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool null;
		Datum value = heap_getattr(tuple, DS_VERSION_BASE, desc, &null);

		if (!null)
			base = DatumGetInt32(value);
		value = heap_getattr(tuple, DS_VERSION_STEP, desc, &null);
		if (!null)
			*step = DatumGetInt64(value);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return base;
}

void
ds_delta_open(DsReader *reader, DsModelKey key)
{
	int64 step;
	int32 base = ds_delta_base(key, &step);
	DsModelKey full = {key.model, base != 0 ? base : key.version};

	ds_reader_open(reader, full);
	reader->last = key.version;
}

/* The changes that one version makes to a tensor */
static void
apply(DsModelKey key, const DsStored *whole, char *to)
{
	DsReader reader;
	DsStored part;
	DsStored numbers;
	char *name = psprintf("%s" DS_DELTA_ROWS, whole->name);

	ds_reader_open(&reader, key);
	if (!ds_reader_find(&reader, whole->name, &part))
	{
		ds_reader_close(&reader);
		return;
	}
	if (!ds_reader_find(&reader, name, &numbers))
	{
		if (part.bytes != whole->bytes)
			ds_store_damaged(key, whole->name, "has another size than its base");
		ds_reader_all(&reader, &part, to);
	}
	else
	{
		size_t width = (size_t) (whole->bytes / (uint64) whole->shape[0]);
		uint32 *rows = MemoryContextAllocHuge(CurrentMemoryContext, numbers.bytes);
		char *values = MemoryContextAllocHuge(CurrentMemoryContext, part.bytes);

		if (numbers.dtype != DS_DTYPE_U32 || numbers.elements != (uint64) part.shape[0] ||
			part.bytes != numbers.elements * width)
			ds_store_damaged(key, whole->name, "does not fit its base");
		ds_reader_all(&reader, &numbers, rows);
		ds_reader_all(&reader, &part, values);
		for (uint64 i = 0; i < numbers.elements; i++)
		{
			if ((int64) rows[i] >= whole->shape[0])
				ds_store_damaged(key, name, "has a row that its base has not");
			memcpy(to + (size_t) rows[i] * width, values + i * width, width);
		}
		pfree(rows);
		pfree(values);
	}
	ds_reader_close(&reader);
}

static void
apply_all(DsReader *reader, const DsStored *stored, void *to)
{
	for (int32 version = reader->key.version + 1; version <= reader->last; version++)
	{
		DsModelKey key = {reader->key.model, version};

		CHECK_FOR_INTERRUPTS();
		apply(key, stored, to);
	}
}

void
ds_delta_read(DsReader *reader, const DsStored *stored, void *to)
{
	ds_reader_all(reader, stored, to);
	apply_all(reader, stored, to);
}

void
ds_delta_read_sparse(DsReader *reader, const DsStored *stored, void *to)
{
	DsStored there;

	if (ds_reader_find(reader, stored->name, &there))
	{
		if (there.bytes != stored->bytes)
			ds_store_damaged(reader->key, stored->name, "has another size than its parameter");
		ds_reader_all(reader, &there, to);
	}
	apply_all(reader, stored, to);
}

void
ds_delta_write(DsModelKey key, const char *name, const float *values, int rank, const int64 *shape,
			   const uint32 *rows, size_t count)
{
	DsTensorData tensor = {0};
	size_t width = 1;
	float *picked;

	tensor.name = name;
	tensor.dtype = DS_DTYPE_F32;
	tensor.shape_count = rank;
	memcpy(tensor.shape, shape, sizeof(int64) * (size_t) rank);
	for (int d = 1; d < rank; d++)
		width *= (size_t) shape[d];
	tensor.data = values;
	tensor.bytes = sizeof(float) * width * (size_t) shape[0];
	if (rows == NULL)
	{
		ds_store_write(key, &tensor, 1);
		return;
	}
	if (count == 0)
		return;
	picked = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(float) * width * count);
	for (size_t i = 0; i < count; i++)
		memcpy(picked + i * width, values + (size_t) rows[i] * width, sizeof(float) * width);
	tensor.shape[0] = (int64) count;
	tensor.data = picked;
	tensor.bytes = sizeof(float) * width * count;
	ds_store_write(key, &tensor, 1);
	tensor.name = psprintf("%s" DS_DELTA_ROWS, name);
	tensor.dtype = DS_DTYPE_U32;
	tensor.shape_count = 1;
	tensor.data = rows;
	tensor.bytes = sizeof(uint32) * count;
	ds_store_write(key, &tensor, 1);
	pfree(picked);
}
