/*
 * resnet.c
 *		Residual networks as layers of an image_spec.h.
 */
#include "nn/resnet.h"

#include <string.h>

typedef struct Builder
{
	DsImageSpec *spec;
	DsResNetRole *roles;
	const DsResNet *net;
	bool full; /* more layers than there is room for */
} Builder;

/* Append a layer; returns the number of its result */
static uint32_t
append(Builder *b, DsImageLayer layer, DsResNetRole role)
{
	if (b->spec->layer_count == DS_IMAGE_LAYERS)
	{
		b->full = true;
		return 0;
	}
	if (b->roles != NULL)
		b->roles[b->spec->layer_count] = role;
	b->spec->layers[b->spec->layer_count++] = layer;
	return b->spec->layer_count;
}

static uint32_t
append_conv(Builder *b, uint32_t input, uint32_t out, uint32_t kernel, uint32_t stride,
			uint32_t add, uint32_t activation, DsResNetRole role)
{
	DsImageLayer layer = {.kind = DS_LAYER_CONV,
						  .input = input,
						  .out = out,
						  .kernel_height = kernel,
						  .kernel_width = kernel,
						  .stride = stride,
						  .padding = kernel / 2,
						  .norm = 1,
						  .epsilon = b->net->epsilon,
						  .add = add,
						  .activation = activation};

	return append(b, layer, role);
}

/* One block behind result input, which has in channels; returns its result */
static uint32_t
append_block(Builder *b, uint32_t input, uint32_t in, uint32_t stage, uint32_t block)
{
	const DsResNet *net = b->net;
	uint32_t out = net->widths[stage];
	uint32_t stride = block == 0 && (stage > 0 || net->first_stride) ? 2 : 1;
	uint32_t act = net->activation;
	uint32_t shortcut = input;
	uint32_t x;
	DsResNetRole role = {.part = DS_RESNET_SHORTCUT, .stage = stage, .block = block};

	if (stride > 1 || in != out)
	{
		if (net->padded)
			shortcut =
				append(b,
					   (DsImageLayer){
						   .kind = DS_LAYER_SHORTCUT, .input = input, .out = out, .stride = stride},
					   (DsResNetRole){0, stage, block});
		else
			shortcut = append_conv(b, input, out, 1, stride, 0, DS_ACT_IDENTITY, role);
	}
	role.part = 1;
	if (!net->bottleneck)
	{
		x = append_conv(b, input, out, 3, stride, 0, act, role);
		role.part = 2;
		return append_conv(b, x, out, 3, 1, shortcut, act, role);
	}
	x = append_conv(b, input, out / 4, 1, net->stride_first ? stride : 1, 0, act, role);
	role.part = 2;
	x = append_conv(b, x, out / 4, 3, net->stride_first ? 1 : stride, 0, act, role);
	role.part = 3;
	return append_conv(b, x, out, 1, 1, shortcut, act, role);
}

DsCode
ds_resnet_spec(const DsResNet *net, DsImageSpec *spec, DsResNetRole roles[DS_IMAGE_LAYERS],
			   DsStatus *status)
{
	Builder b = {.spec = spec, .roles = roles, .net = net};
	uint32_t channels = net->stem;
	uint32_t x;

	ds_image_spec_init(spec, DS_IMAGE_CONV);
	strcpy(spec->family, "resnet");
	spec->height = net->height;
	spec->width = net->width;
	spec->channels = net->channels;
	x = append_conv(&b, 0, net->stem, net->small ? 3 : 7, net->small ? 1 : 2, 0, net->activation,
					(DsResNetRole){DS_RESNET_STEM, 0, 0});
	if (!net->small)
		x = append(&b,
				   (DsImageLayer){.kind = DS_LAYER_MAX_POOL,
								  .input = x,
								  .out = channels,
								  .kernel_height = 3,
								  .kernel_width = 3,
								  .stride = 2,
								  .padding = 1},
				   (DsResNetRole){0, 0, 0});
	for (uint32_t stage = 0; stage < net->stages && !b.full; stage++)
		for (uint32_t block = 0; block < net->blocks[stage] && !b.full; block++)
		{
			x = append_block(&b, x, channels, stage, block);
			channels = net->widths[stage];
		}
	append(&b, (DsImageLayer){.kind = DS_LAYER_GLOBAL_AVERAGE, .input = x, .out = channels},
		   (DsResNetRole){0, 0, 0});
	if (b.full)
		return ds_fail(status, DS_INVALID, "image: a residual network of more than %d layers",
					   DS_IMAGE_LAYERS);
	return ds_image_spec_check(spec, status);
}

bool
ds_resnet_depth(uint32_t depth, DsResNet *net)
{
	static const struct
	{
		uint32_t depth;
		bool bottleneck;
		uint32_t blocks[4];
	} large[] = {{18, false, {2, 2, 2, 2}},
				 {34, false, {3, 4, 6, 3}},
				 {50, true, {3, 4, 6, 3}},
				 {101, true, {3, 4, 23, 3}},
				 {152, true, {3, 8, 36, 3}}};

	memset(net, 0, sizeof(*net));
	net->channels = 3;
	net->activation = DS_ACT_RELU;
	net->epsilon = 1e-5f;
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++)
		if (large[i].depth == depth)
		{
			net->height = net->width = 224;
			net->bottleneck = large[i].bottleneck;
			net->stem = 64;
			net->stages = 4;
			for (uint32_t s = 0; s < 4; s++)
			{
				net->blocks[s] = large[i].blocks[s];
				net->widths[s] = (net->bottleneck ? 256u : 64u) << s;
			}
			return true;
		}
	if (depth != 20 && depth != 32 && depth != 44 && depth != 56 && depth != 110)
		return false;
	net->height = net->width = 32;
	net->small = net->padded = true;
	net->stem = 16;
	net->stages = 3;
	for (uint32_t s = 0; s < 3; s++)
	{
		net->blocks[s] = (depth - 2) / 6;
		net->widths[s] = 16u << s;
	}
	return true;
}
