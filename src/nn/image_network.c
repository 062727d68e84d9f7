/*
 * image_network.c
 *		The forward pass of networks over pictures.
 *
 * Some pictures go through the layers together: as many as keep their
 * activations in the second level of cache, and one at least.  Results that are
 * no longer read give their memory to later ones.
 *
 * Where a layer's positions are in memory is a table of offsets, the same for
 * many layers in a row, so the last few tables are kept.
 */
#include <math.h>
#include <string.h>

#include "nn/image_network_private.h"
#include "nn/winograd.h"

#define TRY(call)              \
	do                         \
	{                          \
		DsCode code_ = (call); \
		if (code_ != DS_OK)    \
			return code_;      \
	} while (0)

/* multiplications between two looks at cancel: a few milliseconds, some 20 in portable code */
#define CANCEL_WORK ((size_t) 1 << 28)
/* values of the two largest results of all pictures that go through together, and their number */
#define AT_ONCE_VALUES ((size_t) 1 << 18)
#define AT_ONCE_MOST 16
/* bytes of a convolution's weights that stay in the cache while blocks of rows go by */
#define RESIDENT_WEIGHTS ((size_t) 512 << 10)
#define BLOCK_ROWS 192 /* a multiple of every tile's height */
#define TABLES 6

/* offset of position (picture, y, x): picture * step[0] + base + y * step[1] + x * step[2] */
typedef struct Table
{
	uint32_t height;
	uint32_t width;
	uint32_t base;
	uint32_t step[3];
	uint32_t *offsets;
	uint64_t used; /* when */
} Table;

typedef struct ConvPass
{
	const DsImageNetwork *network;
	const DsCancel *cancel;
	size_t pictures;
	float **slots;
	Table tables[TABLES];
	uint64_t clock;
	uint32_t *window; /* offsets of a pool's window */
	float *winograd; /* scratch */
} ConvPass;

/* ---- the plan ---- */

static uint32_t
padded_channels(uint32_t channels)
{
	uint32_t padded = (channels + DS_PANEL - 1) / DS_PANEL * DS_PANEL;

	/* positions a page apart would share the few lines of one set of the first cache */
	return padded % 1024 == 0 ? padded + DS_PANEL : padded;
}

/* The last layer that reads a result; the last one's is never given up */
static void
find_last_uses(const DsImageSpec *spec, uint32_t *last)
{
	for (uint32_t l = 0; l < spec->layer_count; l++)
	{
		last[l + 1] = l;
		last[spec->layers[l].input] = l;
		if (spec->layers[l].add > 0)
			last[spec->layers[l].add] = l;
	}
	last[spec->layer_count] = spec->layer_count;
}

/* The slot that a result of so many values goes to: the free one that wastes least, or a new one */
static uint32_t
choose_slot(DsImageNetwork *network, const bool *taken, size_t values)
{
	uint32_t best = network->slots;

	for (uint32_t s = 0; s < network->slots; s++)
	{
		size_t have = network->slot_values[s];

		if (taken[s])
			continue;
		if (best == network->slots || (have >= values) > (network->slot_values[best] >= values) ||
			(have >= values && have < network->slot_values[best]) ||
			(have < values && network->slot_values[best] < values &&
			 have > network->slot_values[best]))
			best = s;
	}
	if (best == network->slots)
		network->slot_values[network->slots++] = 0;
	if (network->slot_values[best] < values)
		network->slot_values[best] = values;
	return best;
}

static bool
suits_winograd(const DsImageLayer *layer, const DsImageShape *in, const DsImageShape *out)
{
	return layer->kind == DS_LAYER_CONV && layer->kernel_height == 3 && layer->kernel_width == 3 &&
		   layer->stride == 1 &&
		   (layer->activation == DS_ACT_RELU || layer->activation == DS_ACT_IDENTITY) &&
		   ds_winograd_pays(in->channels, out->channels, out->height, out->width, 1);
}

DsCode
ds_image_plan(DsImageNetwork *network, DsArena *arena, DsStatus *status)
{
	const DsImageSpec *spec = &network->spec;
	DsImageShape shapes[DS_IMAGE_LAYERS + 1];
	uint32_t last[DS_IMAGE_LAYERS + 1];
	bool taken[DS_IMAGE_LAYERS + 1] = {false};
	size_t most = 1;

	network->results = ds_arena_zero(arena, spec->layer_count + 1, sizeof(DsResultLayout));
	network->slot_values = ds_arena_zero(arena, spec->layer_count + 1, sizeof(size_t));
	if (network->results == NULL || network->slot_values == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory while opening a model");
	ds_image_shapes(spec, shapes);
	for (uint32_t l = 0; l < spec->layer_count; l++)
	{
		DsResultLayout *input = &network->results[spec->layers[l].input];

		/* pools look at what is there and no further */
		if (spec->layers[l].kind == DS_LAYER_CONV && spec->layers[l].padding > input->border)
			input->border = spec->layers[l].padding;
	}
	find_last_uses(spec, last);
	for (uint32_t r = 0; r <= spec->layer_count; r++)
	{
		DsResultLayout *result = &network->results[r];

		result->shape = shapes[r];
		result->stride = r == 0 ? shapes[r].channels : padded_channels(shapes[r].channels);
		result->values = ((size_t) shapes[r].height + 2 * result->border) *
						 ((size_t) shapes[r].width + 2 * result->border) * result->stride;
		if (result->values > UINT32_MAX / AT_ONCE_MOST)
			return ds_fail(status, DS_TOO_LARGE, "image: result %u has %zu values", r,
						   result->values);
		result->slot = choose_slot(network, taken, result->values);
		taken[result->slot] = true;
		/* behind layer r - 1, which made it, what that one read last is free */
		for (uint32_t q = 0; r > 0 && q < r; q++)
			if (last[q] == r - 1)
				taken[network->results[q].slot] = false;
		if (r > 0 && network->results[r - 1].values + result->values > most)
			most = network->results[r - 1].values + result->values;
	}
	for (uint32_t l = 0; l < spec->layer_count; l++)
		network->layers[l].winograd =
			suits_winograd(&spec->layers[l], &shapes[spec->layers[l].input], &shapes[l + 1]);
	most = AT_ONCE_VALUES / most;
	network->at_once = most < 1 ? 1 : most > AT_ONCE_MOST ? AT_ONCE_MOST : (uint32_t) most;
	return DS_OK;
}

/* ---- positions ---- */

static bool
same_table(const Table *a, const Table *b)
{
	return a->height == b->height && a->width == b->width && a->base == b->base &&
		   memcmp(a->step, b->step, sizeof(a->step)) == 0;
}

/* Offsets of height x width positions of all pictures */
static const uint32_t *
table_of(ConvPass *pass, Table wanted)
{
	Table *oldest = &pass->tables[0];
	uint32_t *at;

	for (size_t i = 0; i < TABLES; i++)
	{
		Table *table = &pass->tables[i];

		if (table->used > 0 && same_table(table, &wanted))
		{
			table->used = ++pass->clock;
			return table->offsets;
		}
		if (table->used < oldest->used)
			oldest = table;
	}
	wanted.offsets = at = oldest->offsets;
	wanted.used = ++pass->clock;
	for (size_t p = 0; p < pass->pictures; p++)
		for (uint32_t y = 0; y < wanted.height; y++)
		{
			uint32_t offset = (uint32_t) p * wanted.step[0] + wanted.base + y * wanted.step[1];

			for (uint32_t x = 0; x < wanted.width; x++, offset += wanted.step[2])
				*at++ = offset;
		}
	*oldest = wanted;
	return oldest->offsets;
}

/* values from row to row */
static uint32_t
row_step(const DsResultLayout *layout)
{
	return (layout->shape.width + 2 * layout->border) * layout->stride;
}

/* The positions of a result themselves */
static const uint32_t *
own_positions(ConvPass *pass, const DsResultLayout *layout)
{
	uint32_t step = row_step(layout);

	return table_of(pass, (Table){.height = layout->shape.height,
								  .width = layout->shape.width,
								  .base = layout->border * (step + layout->stride),
								  .step = {(uint32_t) layout->values, step, layout->stride}});
}

/* The upper left corners of the windows of a layer, which begins padding before the first position */
static const uint32_t *
windows(ConvPass *pass, const DsResultLayout *in, const DsResultLayout *out, uint32_t stride,
		uint32_t padding)
{
	uint32_t step = row_step(in);

	return table_of(pass,
					(Table){.height = out->shape.height,
							.width = out->shape.width,
							.base = (in->border - padding) * (step + in->stride),
							.step = {(uint32_t) in->values, step * stride, in->stride * stride}});
}

/* ---- layers ---- */

static void
clear_border(const DsResultLayout *layout, float *x)
{
	size_t step = row_step(layout);
	size_t edge = (size_t) layout->border * layout->stride;

	if (layout->border == 0)
		return;
	memset(x, 0, layout->border * step * sizeof(float));
	x += layout->border * step;
	for (uint32_t y = 0; y < layout->shape.height; y++, x += step)
	{
		memset(x, 0, edge * sizeof(float));
		memset(x + step - edge, 0, edge * sizeof(float));
	}
	memset(x, 0, layout->border * step * sizeof(float));
}

/* Positions of a result, from so many of its border on */
static DsPictures
positions_of(const ConvPass *pass, const DsResultLayout *layout, uint32_t border)
{
	uint32_t row = row_step(layout);

	return (DsPictures){.at = pass->slots[layout->slot] +
							  (layout->border - border) * (row + layout->stride),
						.picture = layout->values,
						.row = row,
						.column = layout->stride};
}

static DsCode
run_winograd(ConvPass *pass, uint32_t number)
{
	const DsImageNetwork *network = pass->network;
	const DsImageLayer *layer = &network->spec.layers[number];
	const DsResultLayout *in = &network->results[layer->input];
	const DsResultLayout *out = &network->results[number + 1];
	size_t outs = (layer->out + DS_PANEL - 1) / DS_PANEL * (size_t) DS_PANEL;
	size_t tiles = ds_winograd_tiles(out->shape.height, out->shape.width) * pass->pictures;
	size_t group = ds_winograd_group(in->shape.channels, outs);
	size_t work = CANCEL_WORK / (36 * in->shape.channels * outs);
	DsWinograd w = {.pictures = pass->pictures,
					/* what is beyond the edge is there */
					.x = positions_of(pass, in, layer->padding),
					.in_height = in->shape.height + 2 * layer->padding,
					.in_width = in->shape.width + 2 * layer->padding,
					.ins = in->shape.channels,
					.outs = outs,
					.height = out->shape.height,
					.width = out->shape.width,
					.panels = network->layers[number].panels,
					.panel_width = DS_PANEL,
					.bias = network->layers[number].bias,
					.relu = layer->activation == DS_ACT_RELU,
					.y = positions_of(pass, out, 0),
					.scratch = pass->winograd};

	if (layer->add > 0)
		w.residual = positions_of(pass, &network->results[layer->add], 0);
	if (group > work)
		group = work > 0 ? work : 1;
	/* of equal size, as far as that goes */
	group = (tiles + (tiles + group - 1) / group - 1) / ((tiles + group - 1) / group);
	for (size_t first = 0; first < tiles; first += group)
	{
		if (ds_cancelled(pass->cancel))
			return DS_CANCELLED;
		network->kernels->winograd->run(&w, first, tiles - first < group ? tiles - first : group);
	}
	return DS_OK;
}

static DsCode
run_convolution(ConvPass *pass, uint32_t number)
{
	const DsImageNetwork *network = pass->network;
	const DsImageLayer *layer = &network->spec.layers[number];
	const DsResultLayout *in = &network->results[layer->input];
	const DsResultLayout *out = &network->results[number + 1];
	size_t rows = (size_t) out->shape.height * out->shape.width * pass->pictures;
	size_t window = (size_t) layer->kernel_height * layer->kernel_width * in->shape.channels;
	DsConvolution p = {.in_rows = windows(pass, in, out, layer->stride, layer->padding),
					   .a = pass->slots[in->slot],
					   .taps_y = layer->kernel_height,
					   .taps_x = layer->kernel_width,
					   .piece = in->shape.channels,
					   .step_y = row_step(in),
					   .step_x = in->stride,
					   .outs = (layer->out + DS_PANEL - 1) / DS_PANEL * (size_t) DS_PANEL,
					   .b = network->layers[number].panels,
					   .bias = network->layers[number].bias,
					   .out_rows = own_positions(pass, out),
					   .c = pass->slots[out->slot],
					   .activation = layer->activation};
	size_t block = CANCEL_WORK / (window * p.outs) / BLOCK_ROWS * BLOCK_ROWS;

	if (layer->add > 0)
	{
		const DsResultLayout *other = &network->results[layer->add];

		p.residual = pass->slots[other->slot];
		p.residual_rows = own_positions(pass, other);
	}
	if (in->stride == in->shape.channels)
	{
		p.piece *= p.taps_x;
		p.taps_x = 1;
	}
	if (block == 0 || window * p.outs * sizeof(float) <= RESIDENT_WEIGHTS)
		block = BLOCK_ROWS;
	for (size_t row = 0; row < rows; row += block)
	{
		DsConvolution part = p;

		if (ds_cancelled(pass->cancel))
			return DS_CANCELLED;
		part.rows = rows - row < block ? rows - row : block;
		part.in_rows += row;
		part.out_rows += row;
		if (part.residual != NULL)
			part.residual_rows += row;
		network->kernels->convolve(&part);
	}
	return DS_OK;
}

/* The part of a window from first on that is inside of 0 .. size - 1 */
static void
clip(int64_t first, uint32_t kernel, uint32_t size, uint32_t *from, uint32_t *to)
{
	*from = first < 0 ? 0 : (uint32_t) first;
	*to = first + kernel > size ? size : (uint32_t) (first + kernel);
}

/* MAX_POOL and AVERAGE_POOL */
static DsCode
run_pool(ConvPass *pass, uint32_t number)
{
	const DsImageNetwork *network = pass->network;
	const DsImageLayer *layer = &network->spec.layers[number];
	const DsResultLayout *in = &network->results[layer->input];
	const DsResultLayout *out = &network->results[number + 1];
	const uint32_t *from = own_positions(pass, in);
	const uint32_t *to = own_positions(pass, out);
	size_t positions = (size_t) in->shape.height * in->shape.width;
	uint32_t channels = (layer->out + DS_PANEL - 1) / DS_PANEL * DS_PANEL;
	float factor = 1.0f / (float) (layer->kernel_height * layer->kernel_width);

	for (size_t p = 0; p < pass->pictures; p++, from += positions)
		for (uint32_t y = 0; y < out->shape.height; y++)
		{
			uint32_t y0, y1;

			if (ds_cancelled(pass->cancel))
				return DS_CANCELLED;
			clip((int64_t) y * layer->stride - layer->padding, layer->kernel_height,
				 in->shape.height, &y0, &y1);
			for (uint32_t x = 0; x < out->shape.width; x++)
			{
				uint32_t x0, x1;
				size_t n = 0;
				float *c = pass->slots[out->slot] + *to++;

				clip((int64_t) x * layer->stride - layer->padding, layer->kernel_width,
					 in->shape.width, &x0, &x1);
				for (uint32_t yy = y0; yy < y1; yy++)
					for (uint32_t xx = x0; xx < x1; xx++)
						pass->window[n++] = from[(size_t) yy * in->shape.width + xx];
				if (layer->kind == DS_LAYER_MAX_POOL)
					network->kernels->largest(pass->slots[in->slot], pass->window, n, channels, c);
				else
					network->kernels->sum(pass->slots[in->slot], pass->window, n, channels, factor,
										  c);
			}
		}
	return DS_OK;
}

static DsCode
run_global_average(ConvPass *pass, uint32_t number)
{
	const DsImageNetwork *network = pass->network;
	const DsResultLayout *in = &network->results[network->spec.layers[number].input];
	const DsResultLayout *out = &network->results[number + 1];
	const uint32_t *from = own_positions(pass, in);
	size_t positions = (size_t) in->shape.height * in->shape.width;
	uint32_t channels = (out->shape.channels + DS_PANEL - 1) / DS_PANEL * DS_PANEL;

	for (size_t p = 0; p < pass->pictures; p++)
	{
		if (ds_cancelled(pass->cancel))
			return DS_CANCELLED;
		network->kernels->sum(pass->slots[in->slot], from + p * positions, positions, channels,
							  1.0f / (float) positions, pass->slots[out->slot] + p * out->values);
	}
	return DS_OK;
}

static DsCode
run_shortcut(ConvPass *pass, uint32_t number)
{
	const DsImageNetwork *network = pass->network;
	const DsImageLayer *layer = &network->spec.layers[number];
	const DsResultLayout *in = &network->results[layer->input];
	const DsResultLayout *out = &network->results[number + 1];
	const uint32_t *from = windows(pass, in, out, layer->stride, 0);
	const uint32_t *to = own_positions(pass, out);
	size_t rows = (size_t) out->shape.height * out->shape.width * pass->pictures;
	size_t before = (layer->out - in->shape.channels) / 2;

	for (size_t row = 0; row < rows; row++)
	{
		float *c = pass->slots[out->slot] + to[row];

		if (row % 1024 == 0 && ds_cancelled(pass->cancel))
			return DS_CANCELLED;
		memset(c, 0, layer->out * sizeof(float));
		memcpy(c + before, pass->slots[in->slot] + from[row], in->shape.channels * sizeof(float));
	}
	return DS_OK;
}

static DsCode
run_layer(ConvPass *pass, uint32_t number)
{
	const DsResultLayout *out = &pass->network->results[number + 1];

	for (size_t p = 0; p < pass->pictures; p++)
		clear_border(out, pass->slots[out->slot] + p * out->values);
	switch (pass->network->spec.layers[number].kind)
	{
		case DS_LAYER_CONV:
			return (pass->network->layers[number].winograd ? run_winograd
														   : run_convolution)(pass, number);
		case DS_LAYER_SHORTCUT:
			return run_shortcut(pass, number);
		case DS_LAYER_GLOBAL_AVERAGE:
			return run_global_average(pass, number);
		default:
			return run_pool(pass, number);
	}
}

/* The pictures into result 0 */
static void
load_pictures(ConvPass *pass, const float *pixels)
{
	const DsResultLayout *layout = &pass->network->results[0];
	size_t row = (size_t) layout->shape.width * layout->stride;
	size_t step = row_step(layout);

	for (size_t p = 0; p < pass->pictures; p++)
	{
		float *x = pass->slots[layout->slot] + p * layout->values;

		clear_border(layout, x);
		x += layout->border * (step + layout->stride);
		for (uint32_t y = 0; y < layout->shape.height; y++, x += step, pixels += row)
			memcpy(x, pixels, row * sizeof(float));
	}
}

static DsCode
prepare(ConvPass *pass, DsArena *arena)
{
	const DsImageNetwork *network = pass->network;
	const DsImageSpec *spec = &network->spec;
	size_t positions = 1;
	size_t scratch = 0;

	pass->slots = ds_arena_zero(arena, network->slots, sizeof(float *));
	pass->window =
		ds_arena_alloc(arena, (size_t) DS_IMAGE_MAX_KERNEL * DS_IMAGE_MAX_KERNEL, sizeof(uint32_t));
	if (pass->slots == NULL || pass->window == NULL)
		return DS_OUT_OF_MEMORY;
	for (uint32_t s = 0; s < network->slots; s++)
	{
		pass->slots[s] =
			ds_arena_alloc(arena, network->slot_values[s] * pass->pictures, sizeof(float));
		if (pass->slots[s] == NULL)
			return DS_OUT_OF_MEMORY;
	}
	for (uint32_t r = 0; r <= spec->layer_count; r++)
	{
		const DsImageShape *shape = &network->results[r].shape;

		if ((size_t) shape->height * shape->width > positions)
			positions = (size_t) shape->height * shape->width;
	}
	for (uint32_t l = 0; l < spec->layer_count; l++)
		if (network->layers[l].winograd)
		{
			size_t n = ds_winograd_scratch(network->results[spec->layers[l].input].shape.channels,
										   spec->layers[l].out);

			scratch = n > scratch ? n : scratch;
		}
	if (scratch > 0)
	{
		pass->winograd = ds_arena_alloc(arena, scratch, sizeof(float));
		if (pass->winograd == NULL)
			return DS_OUT_OF_MEMORY;
	}
	for (size_t i = 0; i < TABLES; i++)
	{
		pass->tables[i].offsets =
			ds_arena_alloc(arena, positions * pass->pictures, sizeof(uint32_t));
		if (pass->tables[i].offsets == NULL)
			return DS_OUT_OF_MEMORY;
	}
	return DS_OK;
}

static DsCode
run_conv(const DsImageNetwork *network, size_t pictures, const float *pixels, float *out,
		 DsArena *arena, const DsCancel *cancel, DsStatus *status)
{
	const DsImageSpec *spec = &network->spec;
	const DsResultLayout *last = &network->results[spec->layer_count];
	size_t pooled = ds_image_pooled_dims(spec);
	size_t dims = ds_image_spec_dims(spec);
	size_t widest = ds_modules_widest(&network->modules, pooled);
	ConvPass pass = {.network = network,
					 .cancel = cancel,
					 .pictures = pictures < network->at_once ? pictures : network->at_once};
	float *v = ds_arena_alloc(arena, widest, sizeof(float));
	float *next = ds_arena_alloc(arena, widest, sizeof(float));

	if (v == NULL || next == NULL || prepare(&pass, arena) != DS_OK)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %zu pictures", pass.pictures);
	while (pictures > 0)
	{
		if (pictures < pass.pictures)
			pass.pictures = pictures;
		load_pictures(&pass, pixels);
		for (uint32_t l = 0; l < spec->layer_count; l++)
			TRY(run_layer(&pass, l));
		for (size_t p = 0; p < pass.pictures; p++, out += dims)
		{
			memcpy(v, pass.slots[last->slot] + p * last->values, pooled * sizeof(float));
			TRY(ds_modules_run(&network->modules, pooled, v, next, out, cancel));
		}
		pictures -= pass.pictures;
		pixels += pass.pictures * ds_image_values(spec);
	}
	return DS_OK;
}

/* ---- vision transformers ---- */

/* One picture's patches, row by row, each [channels][patch][patch] */
static void
cut(const DsImageSpec *spec, const float *pixels, float *patches)
{
	size_t row = (size_t) spec->width * spec->channels;

	for (uint32_t y = 0; y < spec->height; y += spec->patch)
		for (uint32_t x = 0; x < spec->width; x += spec->patch)
			for (uint32_t c = 0; c < spec->channels; c++)
				for (uint32_t dy = 0; dy < spec->patch; dy++)
				{
					const float *from = pixels + (y + dy) * row + (size_t) x * spec->channels + c;

					for (uint32_t dx = 0; dx < spec->patch; dx++)
						*patches++ = from[(size_t) dx * spec->channels];
				}
}

static DsCode
run_vit(const DsImageNetwork *network, size_t pictures, const float *pixels, float *out,
		DsArena *arena, const DsCancel *cancel, DsStatus *status)
{
	const DsImageSpec *spec = &network->spec;
	size_t tokens = spec->transformer.max_tokens;
	size_t values = ds_image_values(spec);
	size_t at_once = tokens < DS_PASS_ROWS ? DS_PASS_ROWS / tokens : 1;
	float *patches;
	uint32_t *starts;

	at_once = pictures < at_once ? pictures : at_once;
	patches = ds_arena_alloc(arena, at_once * values, sizeof(float));
	starts = ds_arena_alloc(arena, at_once + 1, sizeof(uint32_t));
	if (patches == NULL || starts == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %zu pictures", at_once);
	for (size_t p = 0; p <= at_once; p++)
		starts[p] = (uint32_t) (p * tokens);
	while (pictures > 0)
	{
		DsEncoderBatch batch = {
			.texts = pictures < at_once ? pictures : at_once, .starts = starts, .patches = patches};

		for (size_t p = 0; p < batch.texts; p++, pixels += values)
			cut(spec, pixels, patches + p * values);
		TRY(ds_encoder_run(network->transformer, &batch, out, arena, cancel, status));
		out += batch.texts * ds_image_spec_dims(spec);
		pictures -= batch.texts;
	}
	return DS_OK;
}

DsCode
ds_image_network_run(const DsImageNetwork *network, size_t pictures, const float *pixels,
					 float *out, DsArena *arena, const DsCancel *cancel, DsStatus *status)
{
	DsArenaMark mark = ds_arena_mark(arena);
	DsCode code = DS_OK;

	if (pictures > 0)
		code = (network->transformer != NULL ? run_vit : run_conv)(network, pictures, pixels, out,
																   arena, cancel, status);
	ds_arena_rewind(arena, mark);
	return code;
}
