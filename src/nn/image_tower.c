/*
 * image_tower.c
 *		Convolutional towers over pictures, forward, for training; and how pictures enter any tower.
 *
 * A network is a list of layers (image_spec.h).  A convolution with what belongs to it,
 *
 *     x = conv(in),  y = act(x * scale + shift [+ result])
 *
 * keeps x; scale and shift are batch normalisation, or 1 and the bias.  Moments are those of a
 * shard's pictures ("ghost batches", Hoffer, Hubara & Soudry, NeurIPS 2017), so a shard's
 * arithmetic does not depend on the others.  The moving averages that inference takes
 * are parameters without a gradient: each shard leaves its moments where a gradient would be,
 * reduce adds these up, and update moves the averages.  Frozen ones are used in training, too.
 *
 * Time goes to convolutions, and to memory where pictures are large.  So pictures go through
 * one after the other as long as nothing needs them together (moments), and what
 * an average pool reads is not kept: y is made again from x on the way back.
 *
 * Pictures that are the same as the one before go through once (training_shard.c).
 *
 * Limits.  All pictures of a shard are in memory with all of their results.
 */
#include "nn/image_tower.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/layers.h"
#include "nn/matrix.h"
#include "nn/simd.h"
#include "nn/tower_kernels.h"

/*
 * A picture's vector is some fifty times as long as a text's at first, and most of that is the same for all
 * pictures.  Where both are joined it begins so much shorter.
 */
#define PICTURE_SHARE 0.03

/*
 * The plan
 */

static size_t
find_parameter(const DsTrainer *trainer, size_t t, const char *kind, unsigned number,
			   const char *part)
{
	char name[DS_SPEC_NAME];

	snprintf(name, sizeof(name), "%s.%u.%s", kind, number, part);
	for (size_t i = trainer->first[t]; i < trainer->head->parameters; i++)
	{
		const BlockParameter *p = &trainer->parameter[i];

		if (p->tower == t && strcmp(strchr(p->name, '.') + 1, name) == 0)
			return i;
	}
	return DS_NO_PARAMETER;
}

static bool
parameter_learns(const DsTrainer *trainer, size_t number)
{
	return number != DS_NO_PARAMETER && !trainer->parameter[number].frozen &&
		   !trainer->parameter[number].statistic;
}

/* Does layer l alone read the result of layer l - 1, as an average pool? */
static bool
pools_alone(const DsImageSpec *spec, uint32_t l)
{
	if (l >= spec->layer_count || spec->layers[l].kind != DS_LAYER_AVERAGE_POOL ||
		spec->layers[l].input != l)
		return false;
	for (uint32_t i = 0; i < spec->layer_count; i++)
		if (i != l && (spec->layers[i].input == l || (spec->layers[i].add == l && l > 0)))
			return false;
	return true;
}

static bool
plan_image_layer(DsTrainer *trainer, ImagePass *ip, size_t t, uint32_t l)
{
	const DsImageSpec *spec = &trainer->head->net.tower[t].image;
	const DsImageLayer *at = &spec->layers[l];
	ImageLayer *layer = &ip->layer[l];
	DsArena *arena = trainer->arena;
	const DsImageShape *in = &ip->shapes[at->input];
	size_t outs = at->out;
	ds_real **arrays[] = {&layer->scale, &layer->shift, &layer->mean,	 &layer->inverse,
						  &layer->a,	 &layer->b,		&layer->part[0], &layer->part[1]};
	DsConvShape shape = {.height = in->height,
						 .width = in->width,
						 .ins = in->channels,
						 .outs = at->out,
						 .kernel_height = at->kernel_height,
						 .kernel_width = at->kernel_width,
						 .stride = at->stride,
						 .pad = at->padding};

	layer->wanted = (at->input > 0 && ip->layer[at->input - 1].wanted) ||
					(at->add > 0 && ip->layer[at->add - 1].wanted);
	if (at->kind != DS_LAYER_CONV)
		return true;
	layer->weight = find_parameter(trainer, t, "layer", l, "weight");
	layer->bias = find_parameter(trainer, t, "layer", l, "bias");
	layer->norm_weight = find_parameter(trainer, t, "layer", l, "norm.weight");
	layer->norm_bias = find_parameter(trainer, t, "layer", l, "norm.bias");
	layer->norm_mean = find_parameter(trainer, t, "layer", l, "norm.mean");
	layer->norm_var = find_parameter(trainer, t, "layer", l, "norm.var");
	layer->learns = parameter_learns(trainer, layer->weight) ||
					parameter_learns(trainer, layer->bias) ||
					parameter_learns(trainer, layer->norm_weight) ||
					parameter_learns(trainer, layer->norm_bias);
	layer->wanted = layer->wanted || layer->learns;
	layer->by_batch = at->norm && !trainer->parameter[layer->norm_mean].frozen &&
					  !trainer->parameter[layer->norm_var].frozen;
	layer->relu = at->activation == DS_ACT_RELU && at->add == 0;
	layer->fused = pools_alone(spec, l + 1) && at->add == 0 &&
				   (at->activation == DS_ACT_RELU || at->activation == DS_ACT_IDENTITY);
	for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++)
		if ((*arrays[i] = ds_arena_zero(arena, outs, sizeof(ds_real))) == NULL)
			return false;
	layer->sum = ds_arena_zero(arena, outs, sizeof(double));
	layer->product = ds_arena_zero(arena, outs, sizeof(double));
	return layer->sum != NULL && layer->product != NULL &&
		   ds_moments_allocate(&layer->moments, outs, arena) &&
		   ds_conv_plan(&layer->conv, &shape, trainer->trains[t], arena, NULL) == DS_OK;
}

static ImagePass *
make_pass(DsTrainer *trainer, size_t t)
{
	const DsImageSpec *spec = &trainer->head->net.tower[t].image;
	DsArena *arena = trainer->arena;
	ImagePass *ip = ds_arena_zero(arena, 1, sizeof(*ip));
	size_t largest = 0;

	if (ip == NULL)
		return NULL;
	ip->shapes = ds_arena_zero(arena, spec->layer_count + (size_t) 1, sizeof(DsImageShape));
	ip->layer = ds_arena_zero(arena, spec->layer_count, sizeof(ImageLayer));
	ip->d_room = ds_arena_zero(arena, spec->layer_count + (size_t) 1, sizeof(Room));
	ip->d_used = ds_arena_zero(arena, spec->layer_count + (size_t) 1, sizeof(bool));
	if (ip->shapes == NULL || ip->layer == NULL || ip->d_room == NULL || ip->d_used == NULL)
		return NULL;
	ds_image_shapes(spec, ip->shapes);
	for (uint32_t l = 0; l < spec->layer_count; l++)
	{
		const DsImageLayer *at = &spec->layers[l];
		size_t group;
		size_t in = shape_values(&ip->shapes[at->input]);
		size_t out = shape_values(&ip->shapes[l + 1]);

		if (!plan_image_layer(trainer, ip, t, l))
			return NULL;
		group = at->kind == DS_LAYER_CONV ? ip->layer[l].conv.group : 1;
		largest = group * in > largest ? group * in : largest;
		largest = group * out > largest ? group * out : largest;
	}
	for (uint32_t m = 0; m < spec->module_count; m++)
	{
		ip->module_weight[m] = find_parameter(trainer, t, "module", m, "weight");
		ip->module_bias[m] = find_parameter(trainer, t, "module", m, "bias");
	}
	ip->one = ds_arena_alloc(arena, largest, sizeof(ds_real));
	ip->two = ds_arena_alloc(arena, largest, sizeof(ds_real));
	return ip->one != NULL && ip->two != NULL ? ip : NULL;
}

static bool
reserve_image(DsTrainer *trainer, ImagePass *ip, const DsImageSpec *spec, size_t pictures)
{
	DsArena *arena = trainer->arena;
	size_t width = 2 * ds_image_pooled_dims(spec);
	ds_real *modules;

	for (uint32_t l = 0; l < spec->layer_count; l++)
	{
		ImageLayer *layer = &ip->layer[l];
		size_t values = shape_values(&ip->shapes[l + 1]);

		if ((spec->layers[l].kind == DS_LAYER_CONV &&
			 !ds_training_reserve(arena, &layer->room[0], pictures, values, sizeof(ds_real),
								  &layer->x)) ||
			(!layer->fused && !ds_training_reserve(arena, &layer->room[1], pictures, values,
												   sizeof(ds_real), &layer->result)) ||
			(spec->layers[l].kind == DS_LAYER_MAX_POOL &&
			 !ds_training_reserve(arena, &layer->room[2], pictures, values, 1, &layer->which)))
			return false;
	}
	for (uint32_t m = 0; m < spec->module_count; m++)
		width += 3 * (size_t) spec->modules[m].out + 1;
	if (!ds_training_reserve(arena, &ip->room[0], pictures, width, sizeof(ds_real), &modules))
		return false;
	for (uint32_t m = 0; m <= spec->module_count; m++)
	{
		size_t values = m > 0 ? spec->modules[m - 1].out : ds_image_pooled_dims(spec);

		ip->module[m] = modules;
		ip->d_module[m] = modules + pictures * values;
		modules += 2 * pictures * values;
		if (m > 0)
		{
			ip->module_extra[m - 1] = modules;
			modules += pictures * (values + 1);
		}
	}
	ip->pictures = pictures;
	return true;
}

/*
 * Layers
 */

static const ds_real *
result_of(const ImagePass *ip, const TowerInput *input, uint32_t number)
{
	return number == 0 ? input->features : ip->layer[number - 1].result;
}

/* scale and shift of a layer's affine part, by the moments or by the moving averages */
static void
set_scales(const DsTrainer *trainer, const ImagePass *ip, const DsImageLayer *at, ImageLayer *layer)
{
	const ds_real *weight;
	const ds_real *bias;

	if (!at->norm)
	{
		for (size_t c = 0; c < at->out; c++)
		{
			layer->scale[c] = layer->inverse[c] = 1;
			layer->mean[c] = 0;
			layer->shift[c] =
				layer->bias != DS_NO_PARAMETER ? parameter_value(trainer, layer->bias)[c] : 0;
		}
		return;
	}
	weight = parameter_value(trainer, layer->norm_weight);
	bias = parameter_value(trainer, layer->norm_bias);
	if (ip->trains && layer->by_batch)
	{
		ds_batch_norm_scales(&layer->moments, weight, bias, (double) at->epsilon, layer->scale,
							 layer->shift, layer->mean, layer->inverse);
		return;
	}
	for (size_t c = 0; c < at->out; c++)
	{
		double variance = (double) parameter_value(trainer, layer->norm_var)[c];
		double mean = (double) parameter_value(trainer, layer->norm_mean)[c];
		double inverse = 1 / sqrt((variance > 0 ? variance : 0) + (double) at->epsilon);

		layer->mean[c] = (ds_real) mean;
		layer->inverse[c] = (ds_real) inverse;
		layer->scale[c] = (ds_real) (inverse * (double) weight[c]);
		layer->shift[c] = (ds_real) ((double) bias[c] - mean * inverse * (double) weight[c]);
	}
}

static DsPoolShape
pool_shape(const ImagePass *ip, const DsImageLayer *at)
{
	const DsImageShape *in = &ip->shapes[at->input];

	return (DsPoolShape){.height = in->height,
						 .width = in->width,
						 .channels = in->channels,
						 .kernel_height = at->kernel_height,
						 .kernel_width = at->kernel_width,
						 .stride = at->stride,
						 .pad = at->padding};
}

/* act(x * scale + shift + added) of a picture */
static void
finish_conv(const DsImageLayer *at, const ImageLayer *layer, size_t values, const ds_real *x,
			const ds_real *added, ds_real *y)
{
	ds_conv_kernels()->affine(x, values / at->out, at->out, layer->scale, layer->shift, layer->relu,
							  y);
	if (added != NULL)
		ds_nn_kernels()->add(y, added, values);
	if (!layer->relu && at->activation != DS_ACT_IDENTITY)
		ds_tower_kernels()->act(y, values, at->activation, y);
}

static DsCode
conv_layer(DsTrainer *trainer, ImagePass *ip, const DsImageSpec *spec, uint32_t l,
		   const TowerInput *input)
{
	const DsImageLayer *at = &spec->layers[l];
	ImageLayer *layer = &ip->layer[l];
	const ds_real *in = result_of(ip, input, at->input);
	size_t ins = shape_values(&ip->shapes[at->input]);
	size_t outs = shape_values(&ip->shapes[l + 1]);
	const ds_real *bias =
		at->norm && layer->bias != DS_NO_PARAMETER ? parameter_value(trainer, layer->bias) : NULL;
	DsPoolShape pool = {0};

	ds_conv_load(&layer->conv, parameter_value(trainer, layer->weight),
				 ip->trains && layer->wanted && at->input > 0 && ip->layer[at->input - 1].wanted);
	ds_moments_clear(&layer->moments);
	for (size_t first = 0; first < ip->pictures; first += layer->conv.group)
	{
		size_t n = ip->pictures - first;

		n = n < layer->conv.group ? n : layer->conv.group;
		if (ds_cancelled(trainer->cancel))
			return DS_CANCELLED;
		ds_conv_forward(&layer->conv, in + first * ins, n, bias, layer->x + first * outs);
		for (size_t i = first; i < first + n && ip->trains && layer->by_batch; i++)
			ds_moments_add(&layer->moments, layer->x + i * outs, outs / at->out);
	}
	set_scales(trainer, ip, at, layer);
	if (layer->fused)
		pool = pool_shape(ip, &spec->layers[l + 1]);
	for (size_t i = 0; i < ip->pictures; i++)
	{
		const ds_real *added = at->add > 0 ? result_of(ip, input, at->add) + i * outs : NULL;
		ds_real *y = layer->fused ? ip->one : layer->result + i * outs;

		finish_conv(at, layer, outs, layer->x + i * outs, added, y);
		if (layer->fused)
			ds_average_pool(&pool, y,
							ip->layer[l + 1].result + i * shape_values(&ip->shapes[l + 2]));
	}
	return DS_OK;
}

/* "Option A": every stride-th pixel, with channels of zeros around */
static void
shortcut(const DsImageShape *in, const DsImageShape *out, size_t stride, const ds_real *x,
		 ds_real *y)
{
	size_t before = (out->channels - in->channels) / 2;

	memset(y, 0, shape_values(out) * sizeof(ds_real));
	for (size_t i = 0; i < out->height; i++)
		for (size_t j = 0; j < out->width; j++, y += out->channels)
			memcpy(y + before, x + (i * stride * in->width + j * stride) * in->channels,
				   in->channels * sizeof(ds_real));
}

static DsCode
run_image_layer(DsTrainer *trainer, ImagePass *ip, const DsImageSpec *spec, uint32_t l,
				const TowerInput *input)
{
	const DsImageLayer *at = &spec->layers[l];
	ImageLayer *layer = &ip->layer[l];
	const DsImageShape *in = &ip->shapes[at->input];
	size_t outs = shape_values(&ip->shapes[l + 1]);
	DsPoolShape pool = pool_shape(ip, at);

	if (at->kind == DS_LAYER_CONV)
		return conv_layer(trainer, ip, spec, l, input);
	/* done with what is before it */
	if (at->input > 0 && ip->layer[at->input - 1].fused)
		return DS_OK;
	for (size_t i = 0; i < ip->pictures; i++)
	{
		const ds_real *x = result_of(ip, input, at->input) + i * shape_values(in);
		ds_real *y = layer->result + i * outs;

		if (ds_cancelled(trainer->cancel))
			return DS_CANCELLED;
		if (at->kind == DS_LAYER_MAX_POOL)
			ds_max_pool(&pool, x, y, layer->which + i * outs);
		else if (at->kind == DS_LAYER_AVERAGE_POOL)
			ds_average_pool(&pool, x, y);
		else if (at->kind == DS_LAYER_SHORTCUT)
			shortcut(in, &ip->shapes[l + 1], at->stride, x, y);
		else
			ds_global_average(x, (size_t) in->height * in->width, in->channels, y);
	}
	return DS_OK;
}

static void
run_image_modules(const DsTrainer *trainer, ImagePass *ip, const DsImageSpec *spec)
{
	size_t n = ip->pictures;

	for (uint32_t m = 0; m < spec->module_count; m++)
	{
		const DsSpecModule *module = &spec->modules[m];
		const ds_real *in = ip->module[m];
		ds_real *extra = ip->module_extra[m];

		if (module->kind == DS_MODULE_NORMALIZE)
		{
			ds_normalize_forward(in, n, module->in, ip->module[m + 1], extra);
			continue;
		}
		for (size_t i = 0; i < n; i++)
			if (ip->module_bias[m] != DS_NO_PARAMETER)
				memcpy(extra + i * module->out, parameter_value(trainer, ip->module_bias[m]),
					   module->out * sizeof(ds_real));
			else
				memset(extra + i * module->out, 0, module->out * sizeof(ds_real));
		matrix_product(0, 1, n, module->out, module->in, in, module->in,
					   parameter_value(trainer, ip->module_weight[m]), module->in, 1, extra,
					   module->out);
		ds_tower_kernels()->act(extra, n * module->out, module->activation, ip->module[m + 1]);
	}
}

DsCode
ds_image_pass_forward(DsTrainer *trainer, TowerPass *pass, size_t t, bool trains,
					  const ds_real **out, DsStatus *status)
{
	const DsImageSpec *spec = &trainer->head->net.tower[t].image;
	size_t pictures = pass->input.pictures;
	ImagePass *ip = pass->image;

	if (ip == NULL)
		ip = pass->image = make_pass(trainer, t);
	if (ip == NULL || !reserve_image(trainer, ip, spec, pictures))
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %zu pictures", pictures);
	ip->trains = trains;
	for (uint32_t l = 0; l < spec->layer_count; l++)
		if (run_image_layer(trainer, ip, spec, l, &pass->input) != DS_OK)
			return ds_fail(status, DS_CANCELLED, "cancelled");
	memcpy(ip->module[0], ip->layer[spec->layer_count - 1].result,
		   pictures * ds_image_pooled_dims(spec) * sizeof(ds_real));
	run_image_modules(trainer, ip, spec);
	*out = ip->module[spec->module_count];
	return DS_OK;
}

/*
 * Into the tower
 */

/* Where the first channel of a pixel is among a picture's patches (image_spec.h) */
static size_t
patch_value(const DsImageSpec *spec, size_t row, size_t column)
{
	size_t edge = spec->patch;
	size_t patch = row / edge * (spec->width / edge) + column / edge;

	return patch * edge * edge * spec->channels + row % edge * edge + column % edge;
}

void
ds_image_take(const DsTower *tower, const uint8_t *pixels, DsRandom *random, ds_real *out)
{
	const DsImageSpec *spec = &tower->image;
	size_t channels = spec->channels;
	/* patches one after the other, each channel by channel; without them, channels last */
	size_t patch = spec->kind == DS_IMAGE_VIT ? spec->patch : 0;
	size_t step = patch > 0 ? patch * patch : 1;
	long height = (long) spec->height;
	long width = (long) spec->width;
	ds_real scale[DS_PIXEL_CHANNELS];
	ds_real shift[DS_PIXEL_CHANNELS];
	bool turned = false;
	long down = 0;
	long right = 0;

	if (random != NULL)
	{
		uint32_t range = 2 * tower->moves + 1;

		turned = tower->mirrors && ds_random_below(random, 2) == 1;
		down = (long) ds_random_below(random, range) - (long) tower->moves;
		right = (long) ds_random_below(random, range) - (long) tower->moves;
	}
	for (size_t c = 0; c < channels; c++)
	{
		scale[c] = (ds_real) (1 / (255.0 * tower->pixel_deviation[c]));
		shift[c] = (ds_real) (-tower->pixel_mean[c] / tower->pixel_deviation[c]);
	}
	for (long i = 0; i < height; i++)
		for (long j = 0; j < width; j++)
		{
			ds_real *to = out + (patch > 0 ? patch_value(spec, (size_t) i, (size_t) j)
										   : (size_t) (i * width + j) * channels);
			/* beyond the edge its pixels are repeated */
			long row = i + down < 0 ? 0 : i + down >= height ? height - 1 : i + down;
			long column = (turned ? width - 1 - j : j) + right;
			const uint8_t *from;

			column = column < 0 ? 0 : column >= width ? width - 1 : column;
			from = pixels + (size_t) (row * width + column) * channels;
			for (size_t c = 0; c < channels; c++)
				to[c * step] = (ds_real) from[c] * scale[c] + shift[c];
		}
}

void
ds_image_initialize(const DsTrainer *trainer, size_t number)
{
	const BlockParameter *p = &trainer->parameter[number];
	ds_real *value = parameter_value(trainer, number);
	const char *last = strrchr(p->name, '.');
	bool layer = strstr(p->name, ".layer.") != NULL;
	bool fused = trainer->head->net.tower[p->tower].body == DS_BODY_FUSION;
	double deviation =
		sqrt((layer ? 2.0 : 1.0) / (double) p->shape[1]) * (!layer && fused ? PICTURE_SHARE : 1);
	bool one = strcmp(last, ".weight") == 0 || strcmp(last, ".var") == 0;
	DsRandom random;

	ds_random_init(&random, trainer->head->config.seed, number);
	for (uint64_t k = 0; k < p->count; k++)
		value[k] = p->shape_count == 2 ? (ds_real) (deviation * ds_random_normal(&random))
				   : one			   ? 1
									   : 0;
}
