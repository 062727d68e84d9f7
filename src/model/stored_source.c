/*
 * stored_source.c
 *		The tensors of a version as floats, for the pure rooms.
 */
#include "model/stored_source.h"

float *
ds_stored_scales(DsReader *reader, const DsStored *stored)
{
	DsStored scales;
	float *result;
	char *bytes;

	if (stored->dtype != DS_DTYPE_I8 || stored->rank < 2 ||
		!ds_reader_find(reader, psprintf("%s" DS_SCALE_SUFFIX, stored->name), &scales))
		return NULL;
	if ((scales.dtype != DS_DTYPE_F32 && scales.dtype != DS_DTYPE_BF16) ||
		scales.elements != (uint64) stored->shape[0])
		ds_store_damaged(reader->key, scales.name, "does not fit its tensor");
	bytes = MemoryContextAllocHuge(CurrentMemoryContext, scales.bytes);
	ds_reader_all(reader, &scales, bytes);
	result = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(float) * (Size) scales.elements);
	ds_dtype_to_float(scales.dtype, bytes, (size_t) scales.elements, result);
	pfree(bytes);
	return result;
}

/* Of a tensor that was found */
static void
load_scales(DsStoredSource *source)
{
	MemoryContext caller = MemoryContextSwitchTo(source->guard.context);

	if (source->scales != NULL)
		pfree(source->scales);
	source->scales = NULL;
	if (source->found)
		source->scales = ds_stored_scales(source->reader, &source->stored);
	MemoryContextSwitchTo(caller);
}

/* Numbers of the tensor from this one on, times their rows' scales */
static void
scale(const DsStoredSource *source, uint64 first, size_t count, float *values)
{
	uint64 width = source->stored.elements / (uint64) source->stored.shape[0];

	for (size_t i = 0; i < count; i++)
		values[i] *= source->scales[(first + i) / width];
}

static void
do_find(void *argument)
{
	DsStoredSource *source = argument;
	char name[DS_SPEC_NAME * 2];

	snprintf(name, sizeof(name), "%s%s", source->prefix, source->name);
	/* asked for again and again as it is read */
	if (strcmp(source->stored.name, name) != 0 || source->stored.elements == 0)
	{
		source->found = ds_reader_find(source->reader, name, &source->stored);
		load_scales(source);
	}
	else
		source->found = true;
}

static bool
find(void *context, const char *name, uint64_t *values)
{
	DsStoredSource *source = context;
	DsStatus status;

	source->name = name;
	if (ds_guard_call(&source->guard, do_find, source, &status) != DS_OK || !source->found)
	{
		source->stored.elements = 0;
		return false;
	}
	*values = source->stored.elements;
	return true;
}

static void
do_read(void *argument)
{
	DsStoredSource *source = argument;
	unsigned size;
	uint64 offset;
	uint64 left;
	uint64 first = source->first;
	float *out = source->out;

	do_find(source);
	if (!source->found)
		ds_store_damaged(source->reader->key, source->name, "is missing");
	if (!ds_dtype_has_floats(source->stored.dtype))
		ds_store_damaged(source->reader->key, source->name, "has a type that is no number");
	size = ds_dtype_bits(source->stored.dtype) / 8;
	offset = source->first * size;
	left = (uint64) source->count * size;
	if (source->first > source->stored.elements ||
		source->count > source->stored.elements - source->first)
		ds_store_damaged(source->reader->key, source->name, "is shorter than the model needs");
	while (left > 0)
	{
		size_t length;
		const char *bytes = ds_reader_bytes(source->reader, &source->stored, offset, &length);

		/* a chunk has whole elements: its size is a multiple of theirs */
		length = Min(length, left);
		ds_dtype_to_float(source->stored.dtype, bytes, length / size, out);
		if (source->scales != NULL)
			scale(source, first, length / size, out);
		first += length / size;
		out += length / size;
		offset += length;
		left -= length;
	}
}

static DsCode
read_values(void *context, const char *name, uint64_t first, size_t count, float *out,
			DsStatus *status)
{
	DsStoredSource *source = context;

	source->name = name;
	source->first = first;
	source->count = count;
	source->out = out;
	return ds_guard_call(&source->guard, do_read, source, status);
}

DsTensorSource
ds_stored_source(DsStoredSource *stored, DsReader *reader, const char *prefix)
{
	DsTensorSource source = {stored, find, read_values};

	memset(stored, 0, sizeof(*stored));
	stored->guard.context = CurrentMemoryContext;
	stored->reader = reader;
	stored->prefix = prefix;
	return source;
}
