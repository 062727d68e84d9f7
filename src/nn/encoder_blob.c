/*
 * encoder_blob.c
 *		Laying out an encoder, and opening what was laid out (blob_walk.h).
 *
 *	 header, description, tables of tokens (or how patches enter, and the class
 *	 token), positions, types, relative positions, norm; for each layer norm,
 *	 qkv, out, norm, up, down; norm; modules.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/blob_walk.h"

#define TRY(call)              \
	do                         \
	{                          \
		DsCode code_ = (call); \
		if (code_ != DS_OK)    \
			return code_;      \
	} while (0)

/* rows of a table that each id of a static encoder has */
static DsCode
place_rows(DsBlobWalk *walk, const uint32_t **address, const char *name, uint64_t values,
		   uint32_t rows)
{
	const void *place;
	size_t most = DS_BLOB_BLOCK / sizeof(float);

	TRY(ds_blob_part(walk, values * sizeof(uint32_t), &place));
	*address = place;
	if (walk->writer == NULL)
		return DS_OK;
	for (uint64_t first = 0; first < values; first += most)
	{
		size_t n = values - first < most ? (size_t) (values - first) : most;

		TRY(ds_blob_values(walk, name, values, first, n, walk->block));
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
		TRY(ds_blob_write(walk, walk->block, n * sizeof(uint32_t)));
	}
	return DS_OK;
}

/* names: up to three, separated by blanks, behind "layer.L." */
static DsBlobParts
parts_of(uint32_t layer, const char *names, size_t outs, size_t ins, bool bias)
{
	DsBlobParts parts = {.outs = outs, .ins = ins, .bias = bias};

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
place_layer(DsBlobWalk *walk, DsEncoder *encoder, uint32_t number)
{
	const DsEncoderSpec *spec = &encoder->spec;
	DsEncoderLayer *layer = &encoder->layers[number];
	size_t width = (size_t) spec->heads * spec->head_dims;
	char prefix[DS_SPEC_NAME];
	DsBlobParts parts;

	if (number > 0 || !spec->first_norm_absent)
	{
		snprintf(prefix, sizeof(prefix), "layer.%u.attention.norm", number);
		TRY(ds_blob_norm(walk, &layer->attention_norm, prefix, spec->hidden, spec->norm_bias));
	}
	parts = spec->qkv_fused
				? parts_of(number, "attention.qkv", 3 * width, spec->hidden, spec->qkv_bias)
				: parts_of(number, "attention.query attention.key attention.value", width,
						   spec->hidden, spec->qkv_bias);
	TRY(ds_blob_linear(walk, &layer->qkv, &parts, encoder->precision));
	parts = parts_of(number, "attention.out", spec->hidden, width, spec->out_bias);
	TRY(ds_blob_linear(walk, &layer->out, &parts, encoder->precision));
	snprintf(prefix, sizeof(prefix), "layer.%u.mlp.norm", number);
	TRY(ds_blob_norm(walk, &layer->mlp_norm, prefix, spec->hidden, spec->norm_bias));
	parts = spec->gate_up_fused ? parts_of(number, "mlp.gate_up", 2 * (size_t) spec->intermediate,
										   spec->hidden, spec->up_bias)
								: parts_of(number, spec->gated ? "mlp.gate mlp.up" : "mlp.up",
										   spec->intermediate, spec->hidden, spec->up_bias);
	TRY(ds_blob_linear(walk, &layer->up, &parts, encoder->precision));
	parts = parts_of(number, "mlp.down", spec->hidden, spec->intermediate, spec->down_bias);
	return ds_blob_linear(walk, &layer->down, &parts, encoder->precision);
}

static DsCode
place_embeddings(DsBlobWalk *walk, DsEncoder *encoder)
{
	const DsEncoderSpec *spec = &encoder->spec;
	uint64_t hidden = spec->hidden;
	bool bf16 = encoder->precision != DS_PRECISION_F32;

	if (spec->kind == DS_ENCODER_STATIC)
	{
		TRY(ds_blob_table(walk, &encoder->tokens, "token.weight", hidden * spec->static_rows,
						  bf16));
		if (spec->static_rows != spec->vocabulary)
			TRY(place_rows(walk, &encoder->token_rows, "token.row", spec->vocabulary,
						   spec->static_rows));
		if (spec->token_weights)
			TRY(ds_blob_floats(walk, &encoder->token_scales, "token.scale", spec->vocabulary));
		return DS_OK;
	}
	if (spec->kind == DS_ENCODER_PATCHES)
	{
		DsBlobParts parts = {.count = 1,
							 .names = {"patch"},
							 .outs = spec->hidden,
							 .ins = spec->patch_dims,
							 .bias = spec->patch_bias};

		TRY(ds_blob_linear(walk, &encoder->patch, &parts, encoder->precision));
		if (spec->class_token)
			TRY(ds_blob_floats(walk, &encoder->class_token, "class.weight", hidden));
	}
	else
		TRY(ds_blob_table(walk, &encoder->tokens, "token.weight", hidden * spec->vocabulary, bf16));
	if (spec->positions > 0)
		TRY(ds_blob_floats(walk, &encoder->positions, "position.weight", hidden * spec->positions));
	if (spec->types > 0)
		TRY(ds_blob_floats(walk, &encoder->types, "type.weight", hidden * spec->types));
	if (spec->relative_buckets > 0)
		TRY(ds_blob_floats(walk, &encoder->relative, "relative.weight",
						   (uint64_t) spec->relative_buckets * spec->heads));
	if (spec->embedding_norm)
		TRY(ds_blob_norm(walk, &encoder->embedding_norm, "embedding.norm", spec->hidden,
						 spec->norm_bias));
	return DS_OK;
}

static DsCode
place_encoder(DsBlobWalk *walk, DsEncoder *encoder, uint64_t size)
{
	TRY(ds_blob_begin(walk, DS_ENCODER_IDENTITY, encoder->precision, size, &encoder->spec,
					  sizeof(encoder->spec)));
	TRY(place_embeddings(walk, encoder));
	for (uint32_t layer = 0; layer < encoder->spec.layers; layer++)
		TRY(place_layer(walk, encoder, layer));
	if (encoder->spec.final_norm)
		TRY(ds_blob_norm(walk, &encoder->final_norm, "final.norm", encoder->spec.hidden,
						 encoder->spec.norm_bias));
	return ds_blob_modules(walk, &encoder->modules);
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
	e->modules =
		(DsModules){.kernels = e->kernels, .count = e->spec.module_count, .specs = e->spec.modules};
	*encoder = e;
	return DS_OK;
}

DsCode
ds_encoder_size(const DsEncoderSpec *spec, DsPrecision precision, uint64_t *size, DsStatus *status)
{
	DsArena arena;
	DsEncoder *encoder = NULL;
	DsBlobWalk walk = {.status = status};
	DsCode code;

	ds_arena_init(&arena, NULL);
	code = new_encoder(spec, precision, &arena, &encoder, status);
	if (code == DS_OK)
		code = place_encoder(&walk, encoder, 0);
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
	DsBlobWalk walk = {
		.source = source, .writer = writer, .cancel = cancel, .arena = arena, .status = status};
	DsEncoder *encoder = NULL;
	uint64_t size;
	DsCode code = ds_encoder_size(spec, precision, &size, status);

	if (code == DS_OK)
		code = new_encoder(spec, precision, arena, &encoder, status);
	if (code == DS_OK)
		code = place_encoder(&walk, encoder, size);
	ds_arena_rewind(arena, mark);
	return code;
}

DsCode
ds_encoder_open(const void *blob, uint64_t size, DsArena *arena, DsEncoder **encoder,
				DsStatus *status)
{
	DsEncoderSpec spec;
	uint32_t precision;
	DsBlobWalk walk = {.base = blob, .status = status};

	TRY(ds_blob_check(blob, size, DS_ENCODER_IDENTITY, &spec, sizeof(spec), &precision, status));
	TRY(new_encoder(&spec, precision, arena, encoder, status));
	TRY(place_encoder(&walk, *encoder, size));
	if (walk.offset != size)
		return ds_fail(status, DS_BAD_DATA, "the weights of a model are damaged");
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
