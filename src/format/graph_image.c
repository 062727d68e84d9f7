/*
 * graph_image.c
 *		The graph of a network over pictures: the layers of image_spec.h.
 *
 * Patches are cut by transposing, so that their product is that of any linear layer.
 */
#include "format/graph.h"

static DsGraphValue
convolution(DsGraph *g, DsGraphValue x, uint32_t number, const DsImageLayer *layer,
			uint32_t channels, DsGraphValue other)
{
	x = ds_graph_convolve(g, x, number, layer, channels);
	if (layer->add > 0)
		x = ds_graph_2(g, DS_OP_ADD, x, other);
	return ds_graph_activate(g, x, layer->activation);
}

static DsGraphValue
run_conv(DsGraph *g, const DsImageSpec *spec, DsGraphValue pixels)
{
	const int64_t flat[2] = {0, -1};
	size_t count = (size_t) spec->layer_count + 1;
	DsImageShape *shapes = ds_arena_alloc(g->arena, count, sizeof(DsImageShape));
	DsGraphValue *results = ds_arena_alloc(g->arena, count, sizeof(DsGraphValue));

	if (shapes == NULL || results == NULL)
	{
		ds_graph_fail(g, DS_OUT_OF_MEMORY, "out of memory");
		return pixels;
	}
	ds_image_shapes(spec, shapes);
	results[0] = ds_graph_picture(g, pixels);
	for (uint32_t l = 0; l < spec->layer_count; l++)
	{
		const DsImageLayer *layer = &spec->layers[l];
		DsGraphValue x = results[layer->input];
		uint32_t channels = shapes[layer->input].channels;

		switch (layer->kind)
		{
			case DS_LAYER_CONV:
				results[l + 1] = convolution(g, x, l, layer, channels, results[layer->add]);
				break;
			case DS_LAYER_SHORTCUT:
				results[l + 1] = ds_graph_shortcut(g, x, layer, channels);
				break;
			case DS_LAYER_GLOBAL_AVERAGE:
				results[l + 1] = ds_graph_average(g, x);
				break;
			default:
				results[l + 1] = ds_graph_pool(g, x, layer);
				break;
		}
	}
	return ds_graph_modules(g, ds_graph_reshape(g, results[spec->layer_count], flat, 2),
							spec->modules, spec->module_count);
}

/* [batch, channels, height, width] to [batch, patches, channels * patch * patch] */
static DsGraphValue
cut(DsGraph *g, const DsImageSpec *spec, DsGraphValue pixels)
{
	int64_t patch = spec->patch;
	int64_t down = spec->height / spec->patch;
	int64_t across = spec->width / spec->patch;
	const int64_t six[6] = {0, spec->channels, down, patch, across, patch};
	const int64_t three[3] = {0, down * across, spec->channels * patch * patch};
	static const int64_t by_patch[6] = {0, 2, 4, 1, 3, 5};

	return ds_graph_reshape(
		g, ds_graph_transpose(g, ds_graph_reshape(g, pixels, six, 6), by_patch, 6), three, 3);
}

DsGraphValue
ds_graph_image(DsGraph *g, const DsImageSpec *spec, DsGraphValue pixels)
{
	if (spec->kind == DS_IMAGE_VIT)
		return ds_graph_patches(g, &spec->transformer, cut(g, spec, pixels));
	return run_conv(g, spec, pixels);
}
