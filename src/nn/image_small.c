/*
 * image_small.c
 *		A convolutional network made for training from scratch on small pictures.
 *
 * What makes it fast: nothing is computed at full size but the first layer's windows, and
 * channels are multiples of a register.  What makes it good: windows of the last layers see all
 * of the picture (docs/internals/nn.md has what was tried).
 */
#include "nn/image_small.h"

#include <string.h>

typedef struct Growing
{
	DsImageSpec *spec;
	uint32_t channels; /* of the first layer */
	uint32_t height; /* of the last result */
	uint32_t width;
} Growing;

/* out: where the first layer has 32 */
static void
add_conv(Growing *g, uint32_t out, uint32_t stride)
{
	DsImageSpec *spec = g->spec;

	out = (out * g->channels / 32 + 7) / 8 * 8;
	spec->layers[spec->layer_count] = (DsImageLayer){.kind = DS_LAYER_CONV,
													 .input = spec->layer_count,
													 .out = out,
													 .kernel_height = 3,
													 .kernel_width = 3,
													 .stride = stride,
													 .padding = 1,
													 .norm = 1,
													 .epsilon = 1e-5f,
													 .activation = DS_ACT_RELU};
	spec->layer_count++;
	g->height = (g->height - 1) / stride + 1;
	g->width = (g->width - 1) / stride + 1;
}

static void
add_means(Growing *g)
{
	DsImageSpec *spec = g->spec;

	spec->layers[spec->layer_count] = (DsImageLayer){.kind = DS_LAYER_AVERAGE_POOL,
													 .input = spec->layer_count,
													 .out = spec->layers[spec->layer_count - 1].out,
													 .kernel_height = 2,
													 .kernel_width = 2,
													 .stride = 2};
	spec->layer_count++;
	g->height /= 2;
	g->width /= 2;
}

static uint32_t
shorter(const Growing *g)
{
	return g->height < g->width ? g->height : g->width;
}

DsCode
ds_image_spec_small(DsImageSpec *spec, uint32_t height, uint32_t width, uint32_t channels,
					uint32_t dims, DsStatus *status)
{
	static const uint32_t widths[] = {48, 96, 128};
	Growing g = {spec, channels, height, width};
	const DsImageLayer *last;

	if (height < DS_IMAGE_SMALL_EDGE || width < DS_IMAGE_SMALL_EDGE)
		return ds_fail(status, DS_INVALID,
					   "pictures of %u x %u are too small, an edge must have %d pixels", width,
					   height, DS_IMAGE_SMALL_EDGE);
	ds_image_spec_init(spec, DS_IMAGE_CONV);
	strcpy(spec->family, "small");
	spec->height = height;
	spec->width = width;
	spec->channels = 3;
	add_conv(&g, 32, 2);
	for (size_t i = 0; shorter(&g) >= 12; i++)
	{
		add_conv(&g, widths[i < 2 ? i : 2], 1);
		add_means(&g);
	}
	add_conv(&g, 128, 1);
	add_conv(&g, 128, shorter(&g) >= 6 ? 2 : 1);
	add_conv(&g, 192, 1);
	add_conv(&g, 192, 1);
	last = &spec->layers[spec->layer_count - 1];
	spec->layers[spec->layer_count] = (DsImageLayer){
		.kind = DS_LAYER_GLOBAL_AVERAGE, .input = spec->layer_count, .out = last->out};
	spec->layer_count++;
	spec->module_count = 1;
	spec->modules[0] = (DsSpecModule){.kind = DS_MODULE_DENSE,
									  .in = last->out,
									  .out = dims,
									  .activation = DS_ACT_IDENTITY,
									  .bias = 1};
	return ds_image_spec_check(spec, status);
}
