/*
 * image_blob.c
 *		Laying out a network over pictures, and opening what was laid out
 *		(blob_walk.h).
 *
 *	 CONV	header, description; for each convolution panels and bias; modules
 *	 VIT	header, description, the transformer's own blob
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/blob_walk.h"
#include "nn/image_network_private.h"

#define TRY(call)              \
	do                         \
	{                          \
		DsCode code_ = (call); \
		if (code_ != DS_OK)    \
			return code_;      \
	} while (0)

_Static_assert(DS_IMAGE_MAX_WINDOW *DS_PANEL * sizeof(float) <= DS_BLOB_BLOCK,
			   "sixteen windows fit a block");

/* What a convolution's outputs are multiplied with, and what is added: bias and batch norm */
static DsCode
read_factors(DsBlobWalk *walk, const DsImageLayer *layer, uint32_t number, size_t padded,
			 float *factors, float *bias)
{
	size_t n = layer->out;
	float *values = walk->block;
	char name[DS_SPEC_NAME];

	memset(bias, 0, padded * sizeof(float));
	for (size_t i = 0; i < n; i++)
		factors[i] = 1;
	if (layer->bias)
	{
		snprintf(name, sizeof(name), "layer.%u.bias", number);
		TRY(ds_blob_values(walk, name, n, 0, n, bias));
	}
	if (!layer->norm)
		return DS_OK;
	snprintf(name, sizeof(name), "layer.%u.norm.mean", number);
	TRY(ds_blob_values(walk, name, n, 0, n, values));
	for (size_t i = 0; i < n; i++)
		bias[i] -= values[i];
	snprintf(name, sizeof(name), "layer.%u.norm.weight", number);
	TRY(ds_blob_values(walk, name, n, 0, n, factors));
	snprintf(name, sizeof(name), "layer.%u.norm.var", number);
	TRY(ds_blob_values(walk, name, n, 0, n, values));
	for (size_t i = 0; i < n; i++)
	{
		if (values[i] < 0)
			return ds_fail(walk->status, DS_BAD_DATA, "tensor \"%s\" has a negative value", name);
		factors[i] =
			(float) ((double) factors[i] / sqrt((double) values[i] + (double) layer->epsilon));
		if (!isfinite(factors[i]))
			return ds_fail(walk->status, DS_BAD_DATA, "tensor \"%s\" leads to infinite weights",
						   name);
	}
	snprintf(name, sizeof(name), "layer.%u.norm.bias", number);
	TRY(ds_blob_values(walk, name, n, 0, n, values));
	for (size_t i = 0; i < n; i++)
		bias[i] = (float) ((double) bias[i] * (double) factors[i] + (double) values[i]);
	return DS_OK;
}

/* Weights [out][in][rows][columns] of the file to panels in the order rows, columns, in */
static DsCode
write_panels(DsBlobWalk *walk, const DsImageLayer *layer, uint32_t number, size_t ins,
			 const float *factors, float *panel)
{
	size_t taps = (size_t) layer->kernel_height * layer->kernel_width;
	size_t window = taps * ins;
	uint64_t total = (uint64_t) window * layer->out;
	char name[DS_SPEC_NAME];

	snprintf(name, sizeof(name), "layer.%u.weight", number);
	for (size_t first = 0; first < layer->out; first += DS_PANEL)
	{
		size_t n = layer->out - first < DS_PANEL ? layer->out - first : DS_PANEL;

		TRY(ds_blob_values(walk, name, total, (uint64_t) first * window, n * window, walk->block));
		memset(panel, 0, window * DS_PANEL * sizeof(float));
		for (size_t r = 0; r < n; r++)
			for (size_t i = 0; i < ins; i++)
				for (size_t t = 0; t < taps; t++)
					panel[(t * ins + i) * DS_PANEL + r] =
						walk->block[r * window + i * taps + t] * factors[first + r];
		TRY(ds_blob_write(walk, panel, window * DS_PANEL * sizeof(float)));
	}
	return DS_OK;
}

static DsCode
place_convolution(DsBlobWalk *walk, const DsImageNetwork *network, uint32_t number)
{
	const DsImageLayer *layer = &network->spec.layers[number];
	DsConvWeights *weights = &network->layers[number];
	size_t ins = network->results[layer->input].shape.channels;
	size_t window = (size_t) layer->kernel_height * layer->kernel_width * ins;
	size_t padded = (layer->out + DS_PANEL - 1) / DS_PANEL * (size_t) DS_PANEL;
	DsArenaMark mark = {0};
	float *factors = NULL;
	float *bias = NULL;
	float *panel = NULL;
	const void *place;

	if (walk->writer != NULL)
	{
		mark = ds_arena_mark(walk->arena);
		factors = ds_arena_alloc(walk->arena, padded, sizeof(float));
		bias = ds_arena_alloc(walk->arena, padded, sizeof(float));
		panel = ds_arena_alloc(walk->arena, window * DS_PANEL, sizeof(float));
		if (factors == NULL || bias == NULL || panel == NULL)
			return ds_fail(walk->status, DS_OUT_OF_MEMORY,
						   "out of memory while laying out a model");
		TRY(read_factors(walk, layer, number, padded, factors, bias));
	}
	TRY(ds_blob_part(walk, (uint64_t) window * padded * sizeof(float), &place));
	weights->panels = place;
	if (walk->writer != NULL)
		TRY(write_panels(walk, layer, number, ins, factors, panel));
	TRY(ds_blob_part(walk, padded * sizeof(float), &place));
	weights->bias = place;
	if (walk->writer == NULL)
		return DS_OK;
	TRY(ds_blob_write(walk, bias, padded * sizeof(float)));
	ds_arena_rewind(walk->arena, mark);
	return DS_OK;
}

/* Header, description, and of a CONV everything */
static DsCode
place_network(DsBlobWalk *walk, DsImageNetwork *network, uint64_t size)
{
	TRY(ds_blob_begin(walk, DS_IMAGE_IDENTITY, network->precision, size, &network->spec,
					  sizeof(network->spec)));
	for (uint32_t l = 0; l < network->spec.layer_count; l++)
		if (network->spec.layers[l].kind == DS_LAYER_CONV)
			TRY(place_convolution(walk, network, l));
	return ds_blob_modules(walk, &network->modules);
}

static DsCode
new_network(const DsImageSpec *spec, uint32_t precision, DsArena *arena, DsImageNetwork **network,
			DsStatus *status)
{
	DsImageNetwork *n;

	if (ds_precision_name(precision) == NULL)
		return ds_fail(status, DS_INVALID, "image: unknown precision %u", precision);
	TRY(ds_image_spec_check(spec, status));
	if (spec->kind == DS_IMAGE_CONV && precision != DS_PRECISION_F32)
		return ds_fail(status, DS_UNSUPPORTED, "convolutional networks are computed in f32, not %s",
					   ds_precision_name(precision));
	n = ds_arena_zero(arena, 1, sizeof(DsImageNetwork));
	if (n == NULL ||
		(n->layers = ds_arena_zero(arena, spec->layer_count + 1, sizeof(DsConvWeights))) == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory while opening a model");
	n->spec = *spec;
	n->precision = precision;
	n->kernels = ds_image_kernels();
	n->modules = (DsModules){
		.kernels = ds_encoder_kernels(), .count = spec->module_count, .specs = n->spec.modules};
	*network = n;
	return spec->kind == DS_IMAGE_CONV ? ds_image_plan(n, arena, status) : DS_OK;
}

/* where the transformer's blob begins */
static uint64_t
transformer_offset(void)
{
	return (sizeof(DsBlobHeader) + sizeof(DsImageSpec) + DS_BLOB_ALIGNMENT - 1) /
		   DS_BLOB_ALIGNMENT * DS_BLOB_ALIGNMENT;
}

DsCode
ds_image_network_size(const DsImageSpec *spec, DsPrecision precision, uint64_t *size,
					  DsStatus *status)
{
	DsArena arena;
	DsImageNetwork *network = NULL;
	DsBlobWalk walk = {.status = status};
	DsCode code;

	ds_arena_init(&arena, NULL);
	code = new_network(spec, precision, &arena, &network, status);
	if (code == DS_OK)
		code = place_network(&walk, network, 0);
	ds_arena_free(&arena);
	*size = walk.offset;
	if (code == DS_OK && spec->kind == DS_IMAGE_VIT)
	{
		code = ds_encoder_size(&spec->transformer, precision, size, status);
		*size += transformer_offset();
	}
	return code;
}

DsCode
ds_image_network_layout(const DsImageSpec *spec, DsPrecision precision,
						const DsTensorSource *source, const DsBlobWriter *writer, DsArena *arena,
						const DsCancel *cancel, DsStatus *status)
{
	static const char zeros[DS_BLOB_ALIGNMENT];
	DsArenaMark mark = ds_arena_mark(arena);
	DsBlobWalk walk = {
		.source = source, .writer = writer, .cancel = cancel, .arena = arena, .status = status};
	DsImageNetwork *network = NULL;
	uint64_t size;
	DsCode code = ds_image_network_size(spec, precision, &size, status);

	if (code == DS_OK)
		code = new_network(spec, precision, arena, &network, status);
	if (code == DS_OK)
		code = place_network(&walk, network, size);
	ds_arena_rewind(arena, mark);
	if (code != DS_OK || spec->kind != DS_IMAGE_VIT)
		return code;
	code = ds_blob_write(&walk, zeros, (size_t) (transformer_offset() - walk.offset));
	if (code == DS_OK)
		code =
			ds_encoder_layout(&spec->transformer, precision, source, writer, arena, cancel, status);
	return code;
}

DsCode
ds_image_network_open(const void *blob, uint64_t size, DsArena *arena, DsImageNetwork **network,
					  DsStatus *status)
{
	DsImageSpec *spec = ds_arena_alloc(arena, 1, sizeof(DsImageSpec));
	uint32_t precision;
	DsBlobWalk walk = {.base = blob, .status = status};
	uint64_t offset = transformer_offset();

	if (spec == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory while opening a model");
	TRY(ds_blob_check(blob, size, DS_IMAGE_IDENTITY, spec, sizeof(*spec), &precision, status));
	TRY(new_network(spec, precision, arena, network, status));
	TRY(place_network(&walk, *network, size));
	if (spec->kind == DS_IMAGE_VIT)
		return ds_encoder_open((const char *) blob + offset, size > offset ? size - offset : 0,
							   arena, &(*network)->transformer, status);
	if (walk.offset != size)
		return ds_fail(status, DS_BAD_DATA, "the weights of a model are damaged");
	return DS_OK;
}

const DsImageSpec *
ds_image_network_spec(const DsImageNetwork *network)
{
	return &network->spec;
}

DsPrecision
ds_image_network_precision(const DsImageNetwork *network)
{
	return network->precision;
}

const char *
ds_image_network_kernel_name(const DsImageNetwork *network)
{
	return network->transformer != NULL ? ds_encoder_kernel_name(network->transformer)
										: network->kernels->name;
}
