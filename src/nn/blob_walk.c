/*
 * blob_walk.c
 *		Laying out weights as one block of bytes, and opening it.
 */
#include "nn/blob_walk.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* the widest input is that of a module behind all seven poolings */
_Static_assert(DS_PANEL * 7 * DS_SPEC_MAX_HIDDEN * sizeof(float) <= DS_BLOB_BLOCK,
			   "a panel fits a block");
_Static_assert(DS_PANEL *DS_SPEC_MAX_PATCH * sizeof(float) <= DS_BLOB_BLOCK,
			   "a panel fits a block");
_Static_assert(sizeof(DsBlobHeader) == DS_BLOB_ALIGNMENT, "the description begins behind it");

#define TRY(call)              \
	do                         \
	{                          \
		DsCode code_ = (call); \
		if (code_ != DS_OK)    \
			return code_;      \
	} while (0)

const char *
ds_precision_name(uint32_t precision)
{
	static const char *const names[] = {NULL, "f32", "bf16", "int8"};

	return precision < 4 ? names[precision] : NULL;
}

DsCode
ds_blob_begin(DsBlobWalk *walk, const char *identity, uint32_t precision, uint64_t size,
			  const void *spec, size_t spec_size)
{
	DsBlobHeader header = {.precision = precision,
						   .spec_size = (uint32_t) spec_size,
						   .size = size,
						   .byte_order = 0x01020304};

	walk->offset = sizeof(header) + spec_size;
	if (walk->writer == NULL)
		return DS_OK;
	snprintf(header.identity, sizeof(header.identity), "%s", identity);
	walk->block = ds_arena_alloc(
		walk->arena, DS_BLOB_BLOCK / sizeof(float) + 3 * DS_SPEC_MAX_INTERMEDIATE, sizeof(float));
	if (walk->block == NULL)
		return ds_fail(walk->status, DS_OUT_OF_MEMORY, "out of memory while laying out a model");
	TRY(ds_blob_write(walk, &header, sizeof(header)));
	return ds_blob_write(walk, spec, spec_size);
}

DsCode
ds_blob_check(const void *blob, uint64_t size, const char *identity, void *spec, size_t spec_size,
			  uint32_t *precision, DsStatus *status)
{
	DsBlobHeader header;

	if (size < sizeof(header) + spec_size)
		return ds_fail(status, DS_BAD_DATA, "the weights of a model are cut short");
	memcpy(&header, blob, sizeof(header));
	memcpy(spec, (const char *) blob + sizeof(header), spec_size);
	if (memchr(header.identity, 0, sizeof(header.identity)) == NULL ||
		strcmp(header.identity, identity) != 0 || header.spec_size != spec_size ||
		header.byte_order != 0x01020304)
		return ds_fail(status, DS_BAD_DATA,
					   "the weights of a model were laid out by another version");
	if (header.size != size || (uintptr_t) blob % DS_BLOB_ALIGNMENT != 0)
		return ds_fail(status, DS_BAD_DATA, "the weights of a model are damaged");
	*precision = header.precision;
	return DS_OK;
}

DsCode
ds_blob_write(DsBlobWalk *walk, const void *bytes, size_t size)
{
	return walk->writer->write(walk->writer->context, bytes, size, walk->status);
}

/* The next part, of size bytes: its address when opening */
DsCode
ds_blob_part(DsBlobWalk *walk, uint64_t size, const void **address)
{
	static const char zeros[DS_BLOB_ALIGNMENT];
	uint64_t start = (walk->offset + DS_BLOB_ALIGNMENT - 1) / DS_BLOB_ALIGNMENT * DS_BLOB_ALIGNMENT;

	if (walk->writer != NULL && start > walk->offset)
		TRY(ds_blob_write(walk, zeros, (size_t) (start - walk->offset)));
	*address = walk->base != NULL ? walk->base + start : NULL;
	walk->offset = start + size;
	return DS_OK;
}

/* Values of a tensor that must be there with so many in all */
DsCode
ds_blob_values(DsBlobWalk *walk, const char *name, uint64_t total, uint64_t first, size_t count,
			   float *out)
{
	uint64_t values = 0;

	if (first == 0)
	{
		if (!walk->source->find(walk->source->context, name, &values))
			return ds_fail(walk->status, DS_BAD_DATA, "tensor \"%s\" is missing", name);
		if (values != total)
			return ds_fail(walk->status, DS_BAD_DATA,
						   "tensor \"%s\" has %llu values instead of %llu", name,
						   (unsigned long long) values, (unsigned long long) total);
	}
	if (ds_cancelled(walk->cancel))
		return DS_CANCELLED;
	TRY(walk->source->read(walk->source->context, name, first, count, out, walk->status));
	for (size_t i = 0; i < count; i++)
		if (!isfinite(out[i]))
			return ds_fail(walk->status, DS_BAD_DATA,
						   "tensor \"%s\" has a value that is not finite, number %llu", name,
						   (unsigned long long) (first + i));
	return DS_OK;
}

/* A tensor as it is, in f32 or bf16 */
DsCode
ds_blob_table(DsBlobWalk *walk, const void **address, const char *name, uint64_t values, bool bf16)
{
	size_t size = bf16 ? sizeof(uint16_t) : sizeof(float);
	size_t most = DS_BLOB_BLOCK / sizeof(float);
	uint16_t *halves = (void *) walk->block;

	TRY(ds_blob_part(walk, values * size, address));
	if (walk->writer == NULL)
		return DS_OK;
	for (uint64_t first = 0; first < values; first += most)
	{
		size_t n = values - first < most ? (size_t) (values - first) : most;

		TRY(ds_blob_values(walk, name, values, first, n, walk->block));
		/* in place: a half never gets ahead of the float that it comes from */
		if (bf16)
			for (size_t i = 0; i < n; i++)
			{
				float value = walk->block[i];

				ds_encoder_kernels_number(0)->to_bf16(&value, 1, halves + i);
			}
		TRY(ds_blob_write(walk, walk->block, n * size));
	}
	return DS_OK;
}

DsCode
ds_blob_floats(DsBlobWalk *walk, const float **address, const char *name, uint64_t values)
{
	const void *place;

	TRY(ds_blob_table(walk, &place, name, values, false));
	*address = place;
	return DS_OK;
}

DsCode
ds_blob_norm(DsBlobWalk *walk, DsNorm *norm, const char *prefix, size_t dims, bool bias)
{
	char name[DS_SPEC_NAME + 16];

	snprintf(name, sizeof(name), "%s.weight", prefix);
	TRY(ds_blob_floats(walk, &norm->weight, name, dims));
	if (!bias)
		return DS_OK;
	snprintf(name, sizeof(name), "%s.bias", prefix);
	return ds_blob_floats(walk, &norm->bias, name, dims);
}

/* rows first .. first + count - 1 of part's weight into out[count][ins] */
static DsCode
read_rows(DsBlobWalk *walk, const DsBlobParts *parts, size_t part, size_t first, size_t count,
		  float *out)
{
	char name[DS_SPEC_NAME + 16];
	uint64_t values;
	uint64_t total = (uint64_t) parts->outs * parts->ins;

	snprintf(name, sizeof(name), "%s.weight_t", parts->names[part]);
	if (walk->source->find(walk->source->context, name, &values))
	{
		/* columns of it; the buffer behind the block holds a piece of a row */
		float *row = walk->block + DS_BLOB_BLOCK / sizeof(float);

		for (size_t k = 0; k < parts->ins; k++)
		{
			if (k == 0 && values != total)
				return ds_fail(walk->status, DS_BAD_DATA,
							   "tensor \"%s\" has %llu values instead of %llu", name,
							   (unsigned long long) values, (unsigned long long) total);
			TRY(ds_blob_values(walk, name, total, (uint64_t) k * parts->outs + first, count, row));
			for (size_t r = 0; r < count; r++)
				out[r * parts->ins + k] = row[r];
		}
		return DS_OK;
	}
	name[strlen(name) - 2] = 0;
	return ds_blob_values(walk, name, total, (uint64_t) first * parts->ins, count * parts->ins,
						  out);
}

/* Output rows of all parts together; rows beyond them are zero */
static DsCode
read_block(DsBlobWalk *walk, const DsBlobParts *parts, size_t first, size_t count, float *out)
{
	size_t outs = parts->count * parts->outs;

	while (count > 0 && first < outs)
	{
		size_t part = first / parts->outs;
		size_t row = first % parts->outs;
		size_t n = parts->outs - row < count ? parts->outs - row : count;

		TRY(read_rows(walk, parts, part, row, n, out));
		first += n;
		count -= n;
		out += n * parts->ins;
	}
	memset(out, 0, count * parts->ins * sizeof(float));
	return DS_OK;
}

/* Sixteen rows of a weight as a panel; returns its size */
static size_t
pack_panel(const float *rows, size_t ins, uint32_t precision, void *panel, float *scales,
		   int32_t *sums)
{
	uint16_t *halves = panel;
	int8_t *bytes = panel;
	float *floats = panel;

	for (size_t r = 0; r < DS_PANEL; r++)
	{
		const float *row = rows + r * ins;
		float most = 0;
		float inverse;

		switch (precision)
		{
			case DS_PRECISION_F32:
				for (size_t k = 0; k < ins; k++)
					floats[k * DS_PANEL + r] = row[k];
				break;
			case DS_PRECISION_BF16:
				for (size_t k = 0; k < ins; k++)
					ds_encoder_kernels_number(0)->to_bf16(
						row + k, 1, halves + (k / 2 * DS_PANEL + r) * 2 + k % 2);
				break;
			default:
				for (size_t k = 0; k < ins; k++)
					most = fmaxf(most, fabsf(row[k]));
				scales[r] = most / 127.0f;
				inverse = most > 1e-30f ? 127.0f / most : 0.0f;
				sums[r] = 0;
				for (size_t k = 0; k < ins; k++)
				{
					int32_t value = (int32_t) lrintf(row[k] * inverse);

					bytes[(k / 4 * DS_PANEL + r) * 4 + k % 4] = (int8_t) value;
					sums[r] += value;
				}
		}
	}
	return DS_PANEL * ins *
		   (precision == DS_PRECISION_F32	 ? sizeof(float)
			: precision == DS_PRECISION_BF16 ? sizeof(uint16_t)
											 : 1);
}

static DsCode
write_panels(DsBlobWalk *walk, const DsBlobParts *parts, const DsLinear *linear, float *scales,
			 int32_t *sums)
{
	size_t ins = parts->ins;
	size_t panels = (linear->outs + DS_PANEL - 1) / DS_PANEL;
	size_t at_once = DS_BLOB_BLOCK / (DS_PANEL * ins * sizeof(float));
	void *packed = ds_arena_alloc(walk->arena, DS_PANEL * ins, sizeof(float));

	if (packed == NULL)
		return ds_fail(walk->status, DS_OUT_OF_MEMORY, "out of memory while laying out a model");
	for (size_t panel = 0; panel < panels; panel += at_once)
	{
		size_t n = panels - panel < at_once ? panels - panel : at_once;

		TRY(read_block(walk, parts, panel * DS_PANEL, n * DS_PANEL, walk->block));
		for (size_t i = 0; i < n; i++)
		{
			size_t first = (panel + i) * DS_PANEL;
			size_t size = pack_panel(walk->block + i * DS_PANEL * ins, ins, linear->precision,
									 packed, scales + first, sums + first);

			TRY(ds_blob_write(walk, packed, size));
		}
	}
	return DS_OK;
}

static DsCode
write_bias(DsBlobWalk *walk, const DsBlobParts *parts, size_t padded, float *bias)
{
	char name[DS_SPEC_NAME + 16];

	memset(bias, 0, padded * sizeof(float));
	for (size_t part = 0; part < parts->count; part++)
	{
		snprintf(name, sizeof(name), "%s.bias", parts->names[part]);
		TRY(ds_blob_values(walk, name, parts->outs, 0, parts->outs, bias + part * parts->outs));
	}
	return ds_blob_write(walk, bias, padded * sizeof(float));
}

DsCode
ds_blob_linear(DsBlobWalk *walk, DsLinear *linear, const DsBlobParts *parts, uint32_t precision)
{
	size_t outs = parts->count * parts->outs;
	size_t padded = (outs + DS_PANEL - 1) / DS_PANEL * DS_PANEL;
	uint64_t values = (uint64_t) padded * parts->ins;
	DsArenaMark mark = {0};
	float *floats = NULL;
	int32_t *sums = NULL;
	const void *place;

	linear->precision = precision;
	linear->ins = (uint32_t) parts->ins;
	linear->outs = (uint32_t) outs;
	if (precision != DS_PRECISION_F32 && parts->ins % 4 != 0)
		return ds_fail(walk->status, DS_UNSUPPORTED,
					   "%s needs widths that are multiples of 4, and \"%s\" has %zu inputs",
					   ds_precision_name(precision), parts->names[0], parts->ins);
	if (walk->writer != NULL)
	{
		mark = ds_arena_mark(walk->arena);
		floats = ds_arena_alloc(walk->arena, padded, sizeof(float));
		sums = ds_arena_alloc(walk->arena, padded, sizeof(int32_t));
		if (floats == NULL || sums == NULL)
			return ds_fail(walk->status, DS_OUT_OF_MEMORY,
						   "out of memory while laying out a model");
	}
	TRY(ds_blob_part(walk,
					 values * (precision == DS_PRECISION_F32	? sizeof(float)
							   : precision == DS_PRECISION_BF16 ? sizeof(uint16_t)
																: 1),
					 &linear->panels));
	if (walk->writer != NULL)
		TRY(write_panels(walk, parts, linear, floats, sums));
	if (precision == DS_PRECISION_INT8)
	{
		TRY(ds_blob_part(walk, padded * sizeof(float), &place));
		linear->scales = place;
		if (walk->writer != NULL)
			TRY(ds_blob_write(walk, floats, padded * sizeof(float)));
		TRY(ds_blob_part(walk, padded * sizeof(int32_t), &place));
		linear->sums = place;
		if (walk->writer != NULL)
			TRY(ds_blob_write(walk, sums, padded * sizeof(int32_t)));
	}
	if (parts->bias)
	{
		TRY(ds_blob_part(walk, padded * sizeof(float), &place));
		linear->bias = place;
		if (walk->writer != NULL)
			TRY(write_bias(walk, parts, padded, floats));
	}
	if (walk->writer != NULL)
		ds_arena_rewind(walk->arena, mark);
	return DS_OK;
}

DsCode
ds_blob_modules(DsBlobWalk *walk, DsModules *modules)
{
	for (uint32_t m = 0; m < modules->count; m++)
	{
		const DsSpecModule *module = &modules->specs[m];
		DsBlobParts parts = {
			.count = 1, .outs = module->out, .ins = module->in, .bias = module->bias};

		snprintf(parts.names[0], DS_SPEC_NAME, "module.%u", m);
		if (module->kind == DS_MODULE_DENSE)
			TRY(ds_blob_linear(walk, &modules->linear[m], &parts, DS_PRECISION_F32));
		else if (module->kind == DS_MODULE_NORM)
			TRY(ds_blob_norm(walk, &modules->norms[m], parts.names[0], module->in, module->bias));
	}
	return DS_OK;
}
