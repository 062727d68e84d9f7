/*
 * layout_numbers.c
 *		Tensors of dual encoders in the file that processes share.
 *
 * A tensor is used in f32 however it is stored, in a section that is called as it is.
 * But for tables of tokens, of which a text reads a few rows: in shorter numbers they
 * stay as they are, in a section NAME#TYPE, with NAME#scale for the rows of i8.
 */
#include "model/layout.h"

#include "model/stored_source.h"

#define FLOATS ((uint64) 1 << 18) /* converted at once */

static const struct
{
	DsDtype dtype;
	const char *suffix;
} kinds[] = {{DS_DTYPE_F16, "#f16"}, {DS_DTYPE_BF16, "#bf16"}, {DS_DTYPE_I8, "#i8"}};

/* NULL: f32 */
static const char *
short_suffix(const DsStored *stored, bool table)
{
	for (size_t i = 0; i < lengthof(kinds) && table; i++)
		if (kinds[i].dtype == stored->dtype)
			return kinds[i].suffix;
	return NULL;
}

static void
add_section(const char *name, const char *suffix, uint64 size, DsSection *out)
{
	strlcpy(out->name, psprintf("%s%s", name, suffix), DS_SECTION_NAME);
	out->size = size;
}

int
ds_layout_numbers(DsReader *reader, const DsStored *stored, bool table, DsSection *out)
{
	const char *suffix = short_suffix(stored, table);
	DsStored scales;

	if (!ds_dtype_has_floats(stored->dtype))
		ds_store_damaged(reader->key, stored->name,
						 psprintf("has type %s", ds_dtype_name(stored->dtype)));
	if (suffix == NULL)
	{
		add_section(stored->name, "", stored->elements * sizeof(float), out);
		return 1;
	}
	add_section(stored->name, suffix, stored->bytes, out);
	if (stored->dtype != DS_DTYPE_I8 ||
		!ds_reader_find(reader, psprintf("%s" DS_SCALE_SUFFIX, stored->name), &scales))
		return 1;
	add_section(stored->name, DS_SCALE_SUFFIX, (uint64) stored->shape[0] * sizeof(float), out + 1);
	return 2;
}

/* Numbers of another type, or with scales */
static void
append_floats(DsReader *reader, const DsStored *stored, DsSharedBuild *build)
{
	DsStoredSource state;
	DsTensorSource source = ds_stored_source(&state, reader, "");
	float *values = palloc(sizeof(float) * FLOATS);

	for (uint64 first = 0; first < stored->elements; first += FLOATS)
	{
		size_t n = Min(stored->elements - first, FLOATS);
		DsStatus status;

		ds_guard_check(&state.guard,
					   source.read(source.context, stored->name, first, n, values, &status),
					   &status);
		ds_shared_append(build, values, n * sizeof(float));
	}
	pfree(values);
}

void
ds_layout_fill_numbers(DsReader *reader, const DsStored *stored, bool table, DsSharedBuild *build)
{
	float *scales;

	if (short_suffix(stored, table) == NULL)
	{
		/* a version that is stored as changes has f32 */
		if (stored->dtype == DS_DTYPE_F32)
			ds_layout_copy(reader, stored, build);
		else
			append_floats(reader, stored, build);
		return;
	}
	ds_layout_copy(reader, stored, build);
	scales = ds_stored_scales(reader, stored);
	if (scales != NULL)
	{
		ds_shared_append(build, scales, sizeof(float) * (Size) stored->shape[0]);
		pfree(scales);
	}
}

void
ds_layout_attach_numbers(DsModel *model, const char *name, DsParameter *parameter)
{
	DsShortTable *shorter;

	for (size_t i = 0; i < lengthof(kinds); i++)
	{
		const char *section = psprintf("%s%s", name, kinds[i].suffix);
		const char *scales = psprintf("%s" DS_SCALE_SUFFIX, name);

		if (ds_shared_section(&model->shared, section) == NULL)
			continue;
		shorter = MemoryContextAlloc(model->context, sizeof(DsShortTable));
		shorter->dtype = kinds[i].dtype;
		shorter->rows = ds_layout_section(model, section,
										  parameter->count * (ds_dtype_bits(shorter->dtype) / 8));
		shorter->scales = NULL;
		if (ds_shared_section(&model->shared, scales) != NULL)
			shorter->scales = (const float *) ds_layout_section(
				model, scales, sizeof(float) * parameter->shape[0]);
		parameter->shorter = shorter;
		return;
	}
	/* inference only reads */
	parameter->value = (float *) unconstify(
		char *, ds_layout_section(model, name, sizeof(float) * parameter->count));
}
