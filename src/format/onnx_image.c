/*
 * onnx_image.c
 *		A network over pictures: the layers of image_spec.h as operators of ONNX.
 *
 * Batch norm stays an operator of its own, as other exporters leave it: runtimes fold it
 * into the convolution before it.  Patches are cut by transposing, so that their product
 * is that of any linear layer.
 */
#include "format/onnx_graph.h"

#include <stdio.h>
#include <string.h>

/* Conv, MaxPool, AveragePool */
static DsOnnxValue
windowed(DsOnnxGraph *g, const char *op, const DsOnnxValue inputs[DS_ONNX_INPUTS],
		 const DsImageLayer *layer)
{
	int64_t p = layer->padding;
	const DsOnnxAttribute attributes[] = {
		{.name = "kernel_shape",
		 .kind = 'l',
		 .list = {layer->kernel_height, layer->kernel_width},
		 .list_count = 2},
		{.name = "strides", .kind = 'l', .list = {layer->stride, layer->stride}, .list_count = 2},
		{.name = "pads", .kind = 'l', .list = {p, p, p, p}, .list_count = 4},
		{.name = NULL}};

	return ds_onnx_node(&g->onnx, op, inputs, attributes, 1);
}

static DsOnnxValue
batch_norm(DsOnnxGraph *g, DsOnnxValue x, uint32_t number, const DsImageLayer *layer)
{
	static const char *const parts[] = {"weight", "bias", "mean", "var"};
	DsOnnxValue inputs[DS_ONNX_INPUTS] = {x};
	const DsOnnxAttribute attributes[] = {{.name = "epsilon", .kind = 'f', .real = layer->epsilon},
										  {.name = NULL}};

	for (int i = 0; i < 4; i++)
	{
		char name[DS_SPEC_NAME];

		snprintf(name, sizeof(name), "layer.%u.norm.%s", number, parts[i]);
		inputs[i + 1] = ds_ox_weight(g, name, layer->out, 1);
	}
	return ds_onnx_node(&g->onnx, "BatchNormalization", inputs, attributes, 1);
}

static DsOnnxValue
convolution(DsOnnxGraph *g, DsOnnxValue x, uint32_t number, const DsImageLayer *layer,
			uint32_t channels, DsOnnxValue other)
{
	const uint64_t shape[4] = {layer->out, channels, layer->kernel_height, layer->kernel_width};
	DsOnnxValue inputs[DS_ONNX_INPUTS] = {x};
	char name[DS_SPEC_NAME];

	snprintf(name, sizeof(name), "layer.%u.weight", number);
	inputs[1] = ds_ox_shaped(g, name, shape, 4);
	snprintf(name, sizeof(name), "layer.%u.bias", number);
	if (layer->bias)
		inputs[2] = ds_ox_weight(g, name, layer->out, 1);
	x = windowed(g, "Conv", inputs, layer);
	if (layer->norm)
		x = batch_norm(g, x, number, layer);
	if (layer->add > 0)
		x = ds_ox_2(g, "Add", x, other);
	return ds_ox_activate(g, x, layer->activation);
}

/* Every stride-th row and column, with channels of zeros around its own */
static DsOnnxValue
shortcut(DsOnnxGraph *g, DsOnnxValue x, const DsImageLayer *layer, uint32_t channels)
{
	int64_t before = (layer->out - channels) / 2;
	int64_t behind = (int64_t) layer->out - channels - before;
	const int64_t begin[2] = {0, 0}, end[2] = {INT32_MAX, INT32_MAX}, axes[2] = {2, 3};
	const int64_t steps[2] = {layer->stride, layer->stride};
	const int64_t pads[8] = {0, before, 0, 0, 0, behind, 0, 0};
	const DsOnnxValue inputs[DS_ONNX_INPUTS] = {
		x, ds_onnx_integers(&g->onnx, begin, 2), ds_onnx_integers(&g->onnx, end, 2),
		ds_onnx_integers(&g->onnx, axes, 2), ds_onnx_integers(&g->onnx, steps, 2)};

	x = ds_onnx_node(&g->onnx, "Slice", inputs, NULL, 1);
	return ds_ox_2(g, "Pad", x, ds_onnx_integers(&g->onnx, pads, 8));
}

static DsOnnxValue
run_conv(DsOnnxGraph *g, const DsImageSpec *spec, DsOnnxValue pixels)
{
	const int64_t flat[2] = {0, -1};
	size_t count = (size_t) spec->layer_count + 1;
	DsImageShape *shapes = ds_arena_alloc(g->onnx.arena, count, sizeof(DsImageShape));
	DsOnnxValue *results = ds_arena_alloc(g->onnx.arena, count, sizeof(DsOnnxValue));

	if (shapes == NULL || results == NULL)
	{
		ds_ox_fail(g, DS_OUT_OF_MEMORY, "out of memory");
		return pixels;
	}
	ds_image_shapes(spec, shapes);
	results[0] = pixels;
	for (uint32_t l = 0; l < spec->layer_count; l++)
	{
		const DsImageLayer *layer = &spec->layers[l];
		const DsOnnxValue inputs[DS_ONNX_INPUTS] = {results[layer->input]};
		uint32_t channels = shapes[layer->input].channels;

		switch (layer->kind)
		{
			case DS_LAYER_CONV:
				results[l + 1] = convolution(g, inputs[0], l, layer, channels, results[layer->add]);
				break;
			case DS_LAYER_SHORTCUT:
				results[l + 1] = shortcut(g, inputs[0], layer, channels);
				break;
			case DS_LAYER_GLOBAL_AVERAGE:
				results[l + 1] = ds_ox_1(g, "GlobalAveragePool", inputs[0]);
				break;
			default:
				results[l + 1] = windowed(
					g, layer->kind == DS_LAYER_MAX_POOL ? "MaxPool" : "AveragePool", inputs, layer);
				break;
		}
	}
	return ds_ox_modules(g, ds_ox_reshape(g, results[spec->layer_count], flat, 2), spec->modules,
						 spec->module_count);
}

/* [batch, channels, height, width] to [batch, patches, channels * patch * patch] */
static DsOnnxValue
cut(DsOnnxGraph *g, const DsImageSpec *spec, DsOnnxValue pixels)
{
	int64_t patch = spec->patch;
	int64_t down = spec->height / spec->patch;
	int64_t across = spec->width / spec->patch;
	const int64_t six[6] = {0, spec->channels, down, patch, across, patch};
	const int64_t three[3] = {0, down * across, spec->channels * patch * patch};
	const DsOnnxValue inputs[DS_ONNX_INPUTS] = {ds_ox_reshape(g, pixels, six, 6)};
	const DsOnnxAttribute attributes[] = {
		{.name = "perm", .kind = 'l', .list = {0, 2, 4, 1, 3, 5}, .list_count = 6}, {.name = NULL}};

	return ds_ox_reshape(g, ds_onnx_node(&g->onnx, "Transpose", inputs, attributes, 1), three, 3);
}

DsOnnxValue
ds_ox_image(DsOnnxGraph *g, const DsImageSpec *spec, DsOnnxValue pixels)
{
	if (spec->kind == DS_IMAGE_VIT)
		return ds_ox_patches(g, &spec->transformer, cut(g, spec, pixels));
	return run_conv(g, spec, pixels);
}
