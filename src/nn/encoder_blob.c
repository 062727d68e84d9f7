/*
 * encoder_blob.c
 *		Laying out an encoder, and opening what was laid out.
 *
 * The order of everything in a blob follows from the description alone.
 * place_encoder() walks through it in three roles: to count bytes, to write
 * them, and to set the pointers of an open encoder.  So there is no table of
 * offsets that could be wrong.
 *
 *	 header, description, tables of tokens, positions, types, relative
 *	 positions, norm; for each layer norm, qkv, out, norm, up, down; norm;
 *	 modules.  Each part starts at a multiple of 64.
 */
#include "nn/encoder_private.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ALIGNMENT 64
#define BLOCK_BYTES ((size_t) 8 << 20) /* of a tensor in memory */

typedef struct BlobHeader
{
	char identity[32];
	uint32_t precision;
	uint32_t spec_size;
	uint64_t size;
	uint32_t byte_order; /* 0x01020304 */
	uint32_t zero[3];
} BlobHeader;

/* the widest input is that of a module behind all seven poolings */
_Static_assert(DS_PANEL * 7 * DS_SPEC_MAX_HIDDEN * sizeof(float) <= BLOCK_BYTES,
			   "a panel fits a block");
_Static_assert(sizeof(BlobHeader) == ALIGNMENT, "the description begins behind it");

/* One walk through a blob */
typedef struct Walk
{
	uint64_t offset;
	const char *base; /* opening: the blob */
	/* laying out */
	const DsTensorSource *source;
	const DsBlobWriter *writer;
	const DsCancel *cancel;
	DsArena *arena;
	DsStatus *status;
	float *block; /* BLOCK_BYTES */
} Walk;

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

static DsCode
write_bytes(Walk *walk, const void *bytes, size_t size)
{
	return walk->writer->write(walk->writer->context, bytes, size, walk->status);
}

/* The next part, of size bytes: its address when opening */
static DsCode
begin_part(Walk *walk, uint64_t size, const void **address)
{
	static const char zeros[ALIGNMENT];
	uint64_t start = (walk->offset + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

	if (walk->writer != NULL && start > walk->offset)
		TRY(write_bytes(walk, zeros, (size_t) (start - walk->offset)));
	*address = walk->base != NULL ? walk->base + start : NULL;
	walk->offset = start + size;
	return DS_OK;
}

/* Values of a tensor that must be there with so many in all */
static DsCode
read_values(Walk *walk, const char *name, uint64_t total, uint64_t first, size_t count, float *out)
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
static DsCode
place_table(Walk *walk, const void **address, const char *name, uint64_t values, bool bf16)
{
	size_t size = bf16 ? sizeof(uint16_t) : sizeof(float);
	size_t most = BLOCK_BYTES / sizeof(float);
	uint16_t *halves = (void *) walk->block;

	TRY(begin_part(walk, values * size, address));
	if (walk->writer == NULL)
		return DS_OK;
	for (uint64_t first = 0; first < values; first += most)
	{
		size_t n = values - first < most ? (size_t) (values - first) : most;

		TRY(read_values(walk, name, values, first, n, walk->block));
		/* in place: a half never gets ahead of the float that it comes from */
		if (bf16)
			for (size_t i = 0; i < n; i++)
			{
				float value = walk->block[i];

				ds_encoder_kernels_number(0)->to_bf16(&value, 1, halves + i);
			}
		TRY(write_bytes(walk, walk->block, n * size));
	}
	return DS_OK;
}

static DsCode
place_floats(Walk *walk, const float **address, const char *name, uint64_t values)
{
	const void *place;

	TRY(place_table(walk, &place, name, values, false));
	*address = place;
	return DS_OK;
}

/* rows of a table that each id of a static encoder has */
static DsCode
place_rows(Walk *walk, const uint32_t **address, const char *name, uint64_t values, uint32_t rows)
{
	const void *place;
	size_t most = BLOCK_BYTES / sizeof(float);

	TRY(begin_part(walk, values * sizeof(uint32_t), &place));
	*address = place;
	if (walk->writer == NULL)
		return DS_OK;
	for (uint64_t first = 0; first < values; first += most)
	{
		size_t n = values - first < most ? (size_t) (values - first) : most;

		TRY(read_values(walk, name, values, first, n, walk->block));
		for (size_t i = 0; i < n; i++)
		{
			float value = walk->block[i];
			uint32_t row;

			if (!(value >= 0 && value < (float) rows) || value != floorf(value))
				return ds_fail(walk->status, DS_BAD_DATA,
							   "tensor \"%s\" names row %g of a table of %u", name, (double) value,
							   rows);
			row = (uint32_t) value;
			memcpy(walk->block + i, &row, sizeof(row));
		}
		TRY(write_bytes(walk, walk->block, n * sizeof(uint32_t)));
	}
	return DS_OK;
}

static DsCode
place_norm(Walk *walk, DsNorm *norm, const char *prefix, size_t dims, bool bias)
{
	char name[DS_SPEC_NAME + 16];

	snprintf(name, sizeof(name), "%s.weight", prefix);
	TRY(place_floats(walk, &norm->weight, name, dims));
	if (!bias)
		return DS_OK;
	snprintf(name, sizeof(name), "%s.bias", prefix);
	return place_floats(walk, &norm->bias, name, dims);
}

/*
 * A linear layer that is stored as one to three tensors, outputs of the second
 * behind those of the first.
 */
typedef struct Parts
{
	size_t count;
	char names[3][DS_SPEC_NAME]; /* without ".weight" */
	size_t outs; /* of each */
	size_t ins;
	bool bias;
} Parts;

/* rows first .. first + count - 1 of part's weight into out[count][ins] */
static DsCode
read_rows(Walk *walk, const Parts *parts, size_t part, size_t first, size_t count, float *out)
{
	char name[DS_SPEC_NAME + 16];
	uint64_t values;
	uint64_t total = (uint64_t) parts->outs * parts->ins;

	snprintf(name, sizeof(name), "%s.weight_t", parts->names[part]);
	if (walk->source->find(walk->source->context, name, &values))
	{
		/* columns of it; the buffer behind the block holds a piece of a row */
		float *row = walk->block + BLOCK_BYTES / sizeof(float);

		for (size_t k = 0; k < parts->ins; k++)
		{
			if (k == 0 && values != total)
				return ds_fail(walk->status, DS_BAD_DATA,
							   "tensor \"%s\" has %llu values instead of %llu", name,
							   (unsigned long long) values, (unsigned long long) total);
			TRY(read_values(walk, name, total, (uint64_t) k * parts->outs + first, count, row));
			for (size_t r = 0; r < count; r++)
				out[r * parts->ins + k] = row[r];
		}
		return DS_OK;
	}
	name[strlen(name) - 2] = 0;
	return read_values(walk, name, total, (uint64_t) first * parts->ins, count * parts->ins, out);
}

/* Output rows of all parts together; rows beyond them are zero */
static DsCode
read_block(Walk *walk, const Parts *parts, size_t first, size_t count, float *out)
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
write_panels(Walk *walk, const Parts *parts, const DsLinear *linear, float *scales, int32_t *sums)
{
	size_t ins = parts->ins;
	size_t panels = (linear->outs + DS_PANEL - 1) / DS_PANEL;
	size_t at_once = BLOCK_BYTES / (DS_PANEL * ins * sizeof(float));
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

			TRY(write_bytes(walk, packed, size));
		}
	}
	return DS_OK;
}

static DsCode
write_bias(Walk *walk, const Parts *parts, size_t padded, float *bias)
{
	char name[DS_SPEC_NAME + 16];

	memset(bias, 0, padded * sizeof(float));
	for (size_t part = 0; part < parts->count; part++)
	{
		snprintf(name, sizeof(name), "%s.bias", parts->names[part]);
		TRY(read_values(walk, name, parts->outs, 0, parts->outs, bias + part * parts->outs));
	}
	return write_bytes(walk, bias, padded * sizeof(float));
}

static DsCode
place_linear(Walk *walk, DsLinear *linear, const Parts *parts, uint32_t precision)
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
	TRY(begin_part(walk,
				   values * (precision == DS_PRECISION_F32	  ? sizeof(float)
							 : precision == DS_PRECISION_BF16 ? sizeof(uint16_t)
															  : 1),
				   &linear->panels));
	if (walk->writer != NULL)
		TRY(write_panels(walk, parts, linear, floats, sums));
	if (precision == DS_PRECISION_INT8)
	{
		TRY(begin_part(walk, padded * sizeof(float), &place));
		linear->scales = place;
		if (walk->writer != NULL)
			TRY(write_bytes(walk, floats, padded * sizeof(float)));
		TRY(begin_part(walk, padded * sizeof(int32_t), &place));
		linear->sums = place;
		if (walk->writer != NULL)
			TRY(write_bytes(walk, sums, padded * sizeof(int32_t)));
	}
	if (parts->bias)
	{
		TRY(begin_part(walk, padded * sizeof(float), &place));
		linear->bias = place;
		if (walk->writer != NULL)
			TRY(write_bias(walk, parts, padded, floats));
	}
	if (walk->writer != NULL)
		ds_arena_rewind(walk->arena, mark);
	return DS_OK;
}

/* names: up to three, separated by blanks, behind "layer.L." */
static Parts
parts_of(uint32_t layer, const char *names, size_t outs, size_t ins, bool bias)
{
	Parts parts = {.outs = outs, .ins = ins, .bias = bias};

	while (*names != 0)
	{
		size_t length = strcspn(names, " ");

		snprintf(parts.names[parts.count++], DS_SPEC_NAME, "layer.%u.%.*s", layer, (int) length,
				 names);
		names += length + strspn(names + length, " ");
	}
	return parts;
}

static DsCode
place_layer(Walk *walk, DsEncoder *encoder, uint32_t number)
{
	const DsEncoderSpec *spec = &encoder->spec;
	DsEncoderLayer *layer = &encoder->layers[number];
	size_t width = (size_t) spec->heads * spec->head_dims;
	char prefix[DS_SPEC_NAME];
	Parts parts;

	if (number > 0 || !spec->first_norm_absent)
	{
		snprintf(prefix, sizeof(prefix), "layer.%u.attention.norm", number);
		TRY(place_norm(walk, &layer->attention_norm, prefix, spec->hidden, spec->norm_bias));
	}
	parts = spec->qkv_fused
				? parts_of(number, "attention.qkv", 3 * width, spec->hidden, spec->qkv_bias)
				: parts_of(number, "attention.query attention.key attention.value", width,
						   spec->hidden, spec->qkv_bias);
	TRY(place_linear(walk, &layer->qkv, &parts, encoder->precision));
	parts = parts_of(number, "attention.out", spec->hidden, width, spec->out_bias);
	TRY(place_linear(walk, &layer->out, &parts, encoder->precision));
	snprintf(prefix, sizeof(prefix), "layer.%u.mlp.norm", number);
	TRY(place_norm(walk, &layer->mlp_norm, prefix, spec->hidden, spec->norm_bias));
	parts = spec->gate_up_fused ? parts_of(number, "mlp.gate_up", 2 * (size_t) spec->intermediate,
										   spec->hidden, spec->up_bias)
								: parts_of(number, spec->gated ? "mlp.gate mlp.up" : "mlp.up",
										   spec->intermediate, spec->hidden, spec->up_bias);
	TRY(place_linear(walk, &layer->up, &parts, encoder->precision));
	parts = parts_of(number, "mlp.down", spec->hidden, spec->intermediate, spec->down_bias);
	return place_linear(walk, &layer->down, &parts, encoder->precision);
}

static DsCode
place_embeddings(Walk *walk, DsEncoder *encoder)
{
	const DsEncoderSpec *spec = &encoder->spec;
	uint64_t hidden = spec->hidden;
	bool bf16 = encoder->precision != DS_PRECISION_F32;

	if (spec->kind == DS_ENCODER_STATIC)
	{
		TRY(place_table(walk, &encoder->tokens, "token.weight", hidden * spec->static_rows, bf16));
		if (spec->static_rows != spec->vocabulary)
			TRY(place_rows(walk, &encoder->token_rows, "token.row", spec->vocabulary,
						   spec->static_rows));
		if (spec->token_weights)
			TRY(place_floats(walk, &encoder->token_scales, "token.scale", spec->vocabulary));
		return DS_OK;
	}
	TRY(place_table(walk, &encoder->tokens, "token.weight", hidden * spec->vocabulary, bf16));
	if (spec->positions > 0)
		TRY(place_floats(walk, &encoder->positions, "position.weight", hidden * spec->positions));
	if (spec->types > 0)
		TRY(place_floats(walk, &encoder->types, "type.weight", hidden * spec->types));
	if (spec->relative_buckets > 0)
		TRY(place_floats(walk, &encoder->relative, "relative.weight",
						 (uint64_t) spec->relative_buckets * spec->heads));
	if (spec->embedding_norm)
		TRY(place_norm(walk, &encoder->embedding_norm, "embedding.norm", spec->hidden,
					   spec->norm_bias));
	return DS_OK;
}

static DsCode
place_modules(Walk *walk, DsEncoder *encoder)
{
	for (uint32_t m = 0; m < encoder->spec.module_count; m++)
	{
		const DsSpecModule *module = &encoder->spec.modules[m];
		Parts parts = {.count = 1, .outs = module->out, .ins = module->in, .bias = module->bias};

		snprintf(parts.names[0], DS_SPEC_NAME, "module.%u", m);
		if (module->kind == DS_MODULE_DENSE)
			TRY(place_linear(walk, &encoder->modules[m], &parts, DS_PRECISION_F32));
		else if (module->kind == DS_MODULE_NORM)
			TRY(place_norm(walk, &encoder->module_norms[m], parts.names[0], module->in,
						   module->bias));
	}
	return DS_OK;
}

static DsCode
place_encoder(Walk *walk, DsEncoder *encoder)
{
	walk->offset = sizeof(BlobHeader) + sizeof(DsEncoderSpec);
	TRY(place_embeddings(walk, encoder));
	for (uint32_t layer = 0; layer < encoder->spec.layers; layer++)
		TRY(place_layer(walk, encoder, layer));
	if (encoder->spec.final_norm)
		TRY(place_norm(walk, &encoder->final_norm, "final.norm", encoder->spec.hidden,
					   encoder->spec.norm_bias));
	return place_modules(walk, encoder);
}

static DsCode
new_encoder(const DsEncoderSpec *spec, uint32_t precision, DsArena *arena, DsEncoder **encoder,
			DsStatus *status)
{
	DsEncoder *e;

	if (ds_precision_name(precision) == NULL)
		return ds_fail(status, DS_INVALID, "encoder: unknown precision %u", precision);
	TRY(ds_spec_check(spec, status));
	e = ds_arena_zero(arena, 1, sizeof(DsEncoder));
	if (e == NULL ||
		(e->layers = ds_arena_zero(arena, spec->layers + 1, sizeof(DsEncoderLayer))) == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory while opening a model");
	e->spec = *spec;
	e->precision = precision;
	e->kernels = ds_encoder_kernels();
	*encoder = e;
	return DS_OK;
}

DsCode
ds_encoder_size(const DsEncoderSpec *spec, DsPrecision precision, uint64_t *size, DsStatus *status)
{
	DsArena arena;
	DsEncoder *encoder = NULL;
	Walk walk = {.status = status};
	DsCode code;

	ds_arena_init(&arena, NULL);
	code = new_encoder(spec, precision, &arena, &encoder, status);
	if (code == DS_OK)
		code = place_encoder(&walk, encoder);
	ds_arena_free(&arena);
	*size = walk.offset;
	return code;
}

DsCode
ds_encoder_layout(const DsEncoderSpec *spec, DsPrecision precision, const DsTensorSource *source,
				  const DsBlobWriter *writer, DsArena *arena, const DsCancel *cancel,
				  DsStatus *status)
{
	DsArenaMark mark = ds_arena_mark(arena);
	BlobHeader header = {.identity = DS_ENCODER_IDENTITY,
						 .precision = precision,
						 .spec_size = sizeof(DsEncoderSpec),
						 .byte_order = 0x01020304};
	Walk walk = {
		.source = source, .writer = writer, .cancel = cancel, .arena = arena, .status = status};
	DsEncoder *encoder = NULL;
	DsCode code = ds_encoder_size(spec, precision, &header.size, status);

	if (code == DS_OK)
		code = new_encoder(spec, precision, arena, &encoder, status);
	if (code == DS_OK)
	{
		/* a block, and behind it a row of a tensor that is stored the other way round */
		walk.block = ds_arena_alloc(
			arena, BLOCK_BYTES / sizeof(float) + 3 * DS_SPEC_MAX_INTERMEDIATE, sizeof(float));
		if (walk.block == NULL)
			code = ds_fail(status, DS_OUT_OF_MEMORY, "out of memory while laying out a model");
	}
	if (code == DS_OK)
		code = write_bytes(&walk, &header, sizeof(header));
	if (code == DS_OK)
		code = write_bytes(&walk, spec, sizeof(*spec));
	if (code == DS_OK)
		code = place_encoder(&walk, encoder);
	ds_arena_rewind(arena, mark);
	return code;
}

DsCode
ds_encoder_open(const void *blob, uint64_t size, DsArena *arena, DsEncoder **encoder,
				DsStatus *status)
{
	BlobHeader header;
	DsEncoderSpec spec;
	Walk walk = {.base = blob, .status = status};

	if (size < sizeof(header) + sizeof(spec))
		return ds_fail(status, DS_BAD_DATA, "the weights of an encoder are cut short");
	memcpy(&header, blob, sizeof(header));
	memcpy(&spec, (const char *) blob + sizeof(header), sizeof(spec));
	if (memchr(header.identity, 0, sizeof(header.identity)) == NULL ||
		strcmp(header.identity, DS_ENCODER_IDENTITY) != 0 || header.spec_size != sizeof(spec) ||
		header.byte_order != 0x01020304)
		return ds_fail(status, DS_BAD_DATA,
					   "the weights of an encoder were laid out by another version");
	if (header.size != size || (uintptr_t) blob % ALIGNMENT != 0)
		return ds_fail(status, DS_BAD_DATA, "the weights of an encoder are damaged");
	TRY(new_encoder(&spec, header.precision, arena, encoder, status));
	TRY(place_encoder(&walk, *encoder));
	if (walk.offset != size)
		return ds_fail(status, DS_BAD_DATA, "the weights of an encoder are damaged");
	return DS_OK;
}

const DsEncoderSpec *
ds_encoder_spec(const DsEncoder *encoder)
{
	return &encoder->spec;
}

DsPrecision
ds_encoder_precision(const DsEncoder *encoder)
{
	return encoder->precision;
}

const char *
ds_encoder_kernel_name(const DsEncoder *encoder)
{
	return encoder->kernels->name;
}
