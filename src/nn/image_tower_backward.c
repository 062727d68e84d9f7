/*
 * image_tower_backward.c
 *		Convolutional towers over pictures, backward.
 *
 * The chain rule through image_tower.c, last layer first.  A result that several layers read
 * gets the sum of what they give back.  Where a convolution is normalised by the moments
 * of the batch, the gradient goes through all pictures twice: for two sums over all of them
 * (ds_batch_norm_backward()), then picture by picture to the convolution's input.
 */
#include "nn/image_tower.h"

#include <math.h>
#include <string.h>

#include "nn/layers.h"
#include "nn/matrix.h"
#include "nn/simd.h"
#include "nn/tower_kernels.h"

typedef struct ImageBack
{
	DsTrainer *trainer;
	ImagePass *ip;
	const DsImageSpec *spec;
	const TowerInput *input;
	int shard;
	double share;
} ImageBack;

static ds_real *
image_gradient(const ImageBack *back, size_t number)
{
	return number != DS_NO_PARAMETER ? shard_gradient(back->trainer, back->shard, number) : NULL;
}

/* A place for the gradient by a result, in memory that no other one has; *fresh: it is empty */
static DsCode
gradient_by(const ImageBack *back, uint32_t result, ds_real **d, bool *fresh)
{
	ImagePass *ip = back->ip;
	ImageLayer *layer = &ip->layer[result - 1];
	size_t room = 0;

	*fresh = layer->d == NULL;
	if (*fresh)
	{
		while (ip->d_used[room])
			room++;
		if (!ds_training_reserve(back->trainer->arena, &ip->d_room[room], ip->pictures,
								 shape_values(&ip->shapes[result]), sizeof(ds_real), &layer->d))
			return DS_OUT_OF_MEMORY;
		ip->d_used[room] = true;
		layer->d_room = room;
	}
	*d = layer->d;
	return DS_OK;
}

static void
release_gradient(const ImageBack *back, ImageLayer *layer)
{
	if (layer->d != NULL)
		back->ip->d_used[layer->d_room] = false;
	layer->d = NULL;
}

static bool
result_wanted(const ImageBack *back, uint32_t result)
{
	return result > 0 && back->ip->layer[result - 1].wanted;
}

/* d, the gradient by a layer's result, becomes that by what is before its activation */
static DsCode
image_activation_backward(const ImageBack *back, uint32_t l, ds_real *d)
{
	const DsImageLayer *at = &back->spec->layers[l];
	ImagePass *ip = back->ip;
	const ImageLayer *layer = &ip->layer[l];
	size_t values = shape_values(&ip->shapes[l + 1]);

	if (at->activation == DS_ACT_RELU)
		ds_relu_backward(layer->result, d, ip->pictures * values);
	else if (at->activation != DS_ACT_IDENTITY)
		for (size_t i = 0; i < ip->pictures; i++)
		{
			ds_conv_kernels()->affine(layer->x + i * values, values / at->out, at->out,
									  layer->scale, layer->shift, false, ip->one);
			if (at->add > 0)
				ds_nn_kernels()->add(ip->one, ip->layer[at->add - 1].result + i * values, values);
			ds_tower_kernels()->act_backward(ip->one, values, at->activation, d + i * values,
											 ip->one);
		}
	if (at->add > 0 && result_wanted(back, at->add))
	{
		ds_real *other;
		bool fresh;
		DsCode code = gradient_by(back, at->add, &other, &fresh);

		if (code != DS_OK)
			return code;
		if (fresh)
			memcpy(other, d, ip->pictures * values * sizeof(ds_real));
		else
			ds_nn_kernels()->add(other, d, ip->pictures * values);
	}
	return DS_OK;
}

/* The gradient by a picture's y = x * scale + shift, in memory that may be written to */
static ds_real *
picture_gradient(const ImageBack *back, uint32_t l, size_t picture, ds_real *scratch)
{
	ImagePass *ip = back->ip;
	const ImageLayer *layer = &ip->layer[l];
	DsPoolShape pool;
	const DsImageLayer *next;
	const DsImageShape *in;

	if (!layer->fused)
		return layer->d + picture * shape_values(&ip->shapes[l + 1]);
	next = &back->spec->layers[l + 1];
	in = &ip->shapes[l + 1];
	pool = (DsPoolShape){.height = in->height,
						 .width = in->width,
						 .channels = in->channels,
						 .kernel_height = next->kernel_height,
						 .kernel_width = next->kernel_width,
						 .stride = next->stride};
	ds_average_pool_backward(&pool, ip->layer[l + 1].d + picture * shape_values(&ip->shapes[l + 2]),
							 scratch);
	return scratch;
}

/* Over all pictures: gradients of norm and bias, a and b of the way back; and moments */
static void
sum_affine(const ImageBack *back, uint32_t l)
{
	const DsConvKernels *kernels = ds_conv_kernels();
	const DsImageLayer *at = &back->spec->layers[l];
	ImagePass *ip = back->ip;
	ImageLayer *layer = &ip->layer[l];
	size_t values = shape_values(&ip->shapes[l + 1]);
	size_t pixels = values / at->out;
	double count = (double) (ip->pictures * pixels);
	ds_real *d_bias = image_gradient(back, layer->bias);

	memset(layer->sum, 0, at->out * sizeof(double));
	memset(layer->product, 0, at->out * sizeof(double));
	for (size_t i = 0; i < ip->pictures; i++)
	{
		memset(layer->part[0], 0, at->out * sizeof(ds_real));
		memset(layer->part[1], 0, at->out * sizeof(ds_real));
		kernels->affine_sums(layer->x + i * values, pixels, at->out, layer->scale, layer->shift,
							 layer->relu, layer->mean, picture_gradient(back, l, i, ip->one),
							 layer->part[0], layer->part[1]);
		for (size_t c = 0; c < at->out; c++)
		{
			layer->sum[c] += (double) layer->part[0][c];
			layer->product[c] += (double) layer->part[1][c];
		}
	}
	if (!at->norm)
	{
		ds_batch_norm_backward(at->out, HUGE_VAL, layer->sum, layer->product, layer->scale,
							   layer->inverse, NULL, d_bias, layer->a, layer->b);
		return;
	}
	ds_batch_norm_backward(at->out, layer->by_batch ? count : HUGE_VAL, layer->sum, layer->product,
						   layer->scale, layer->inverse, image_gradient(back, layer->norm_weight),
						   image_gradient(back, layer->norm_bias), layer->a, layer->b);
	/* a bias before the moments of the batch changes nothing */
	for (size_t c = 0; d_bias != NULL && !layer->by_batch && c < at->out; c++)
		d_bias[c] += (ds_real) (layer->sum[c] * (double) layer->scale[c]);
	for (size_t c = 0; layer->by_batch && c < at->out; c++)
	{
		double variance = layer->moments.squares[c] / (count > 1 ? count - 1 : 1);

		image_gradient(back, layer->norm_mean)[c] =
			(ds_real) (back->share * layer->moments.mean[c]);
		image_gradient(back, layer->norm_var)[c] = (ds_real) (back->share * variance);
	}
}

static DsCode
conv_layer_backward(const ImageBack *back, uint32_t l)
{
	const DsImageLayer *at = &back->spec->layers[l];
	ImagePass *ip = back->ip;
	ImageLayer *layer = &ip->layer[l];
	size_t ins = shape_values(&ip->shapes[at->input]);
	size_t outs = shape_values(&ip->shapes[l + 1]);
	const ds_real *in = at->input == 0 ? back->input->features : ip->layer[at->input - 1].result;
	ds_real *d_weight = image_gradient(back, layer->weight);
	ds_real *d_in = NULL;
	bool fresh = true;
	DsCode code = DS_OK;

	if (!layer->relu)
		code = image_activation_backward(back, l, layer->d);
	if (code == DS_OK && result_wanted(back, at->input))
		code = gradient_by(back, at->input, &d_in, &fresh);
	if (code != DS_OK)
		return code;
	sum_affine(back, l);
	if (d_in == NULL && d_weight == NULL)
		return DS_OK;
	for (size_t first = 0; first < ip->pictures; first += layer->conv.group)
	{
		size_t n = ip->pictures - first;
		ds_real *d = NULL;
		ds_real *to = d_in != NULL ? (fresh ? d_in + first * ins : ip->two) : NULL;

		n = n < layer->conv.group ? n : layer->conv.group;
		if (ds_cancelled(back->trainer->cancel))
			return DS_CANCELLED;
		for (size_t i = first; i < first + n; i++)
		{
			ds_real *at_picture = picture_gradient(back, l, i, ip->one + (i - first) * outs);

			d = i == first ? at_picture : d;
			ds_conv_kernels()->affine_backward(layer->x + i * outs, outs / at->out, at->out,
											   layer->scale, layer->shift, layer->relu, layer->mean,
											   layer->a, layer->b, at_picture);
		}
		ds_conv_backward(&layer->conv, in + first * ins, d, n, to, d_weight != NULL);
		if (!fresh && to != NULL)
			ds_nn_kernels()->add(d_in + first * ins, to, n * ins);
	}
	if (d_weight != NULL)
		ds_conv_gradient(&layer->conv, d_weight);
	return DS_OK;
}

static void
shortcut_backward(const DsImageShape *in, const DsImageShape *out, size_t stride, const ds_real *d,
				  ds_real *d_x)
{
	size_t before = (out->channels - in->channels) / 2;

	memset(d_x, 0, shape_values(in) * sizeof(ds_real));
	for (size_t i = 0; i < out->height; i++)
		for (size_t j = 0; j < out->width; j++, d += out->channels)
			memcpy(d_x + (i * stride * in->width + j * stride) * in->channels, d + before,
				   in->channels * sizeof(ds_real));
}

/* Layers without parameters */
static DsCode
plain_backward(const ImageBack *back, uint32_t l)
{
	const DsImageLayer *at = &back->spec->layers[l];
	ImagePass *ip = back->ip;
	ImageLayer *layer = &ip->layer[l];
	const DsImageShape *in = &ip->shapes[at->input];
	size_t ins = shape_values(in);
	size_t outs = shape_values(&ip->shapes[l + 1]);
	DsPoolShape pool = {.height = in->height,
						.width = in->width,
						.channels = in->channels,
						.kernel_height = at->kernel_height,
						.kernel_width = at->kernel_width,
						.stride = at->stride,
						.pad = at->padding};
	ds_real *d_in;
	bool fresh;
	DsCode code = gradient_by(back, at->input, &d_in, &fresh);

	if (code != DS_OK)
		return code;
	for (size_t i = 0; i < ip->pictures; i++)
	{
		const ds_real *d = layer->d + i * outs;
		ds_real *to = fresh ? d_in + i * ins : ip->two;

		if (ds_cancelled(back->trainer->cancel))
			return DS_CANCELLED;
		if (at->kind == DS_LAYER_MAX_POOL)
			ds_max_pool_backward(&pool, d, layer->which + i * outs, to);
		else if (at->kind == DS_LAYER_AVERAGE_POOL)
			ds_average_pool_backward(&pool, d, to);
		else if (at->kind == DS_LAYER_SHORTCUT)
			shortcut_backward(in, &ip->shapes[l + 1], at->stride, d, to);
		else
			ds_global_average_backward(d, (size_t) in->height * in->width, in->channels, to);
		if (!fresh)
			ds_nn_kernels()->add(d_in + i * ins, to, ins);
	}
	return DS_OK;
}

static ds_real *
image_modules_backward(const ImageBack *back, ds_real *d)
{
	ImagePass *ip = back->ip;
	size_t n = ip->pictures;

	for (uint32_t m = back->spec->module_count; m-- > 0;)
	{
		const DsSpecModule *module = &back->spec->modules[m];
		const ds_real *in = ip->module[m];
		ds_real *extra = ip->module_extra[m];
		ds_real *d_in = ip->d_module[m];
		ds_real *d_weight = image_gradient(back, ip->module_weight[m]);
		ds_real *d_bias = image_gradient(back, ip->module_bias[m]);

		if (module->kind == DS_MODULE_NORMALIZE)
		{
			ds_normalize_backward(ip->module[m + 1], extra, d, n, module->in, d_in);
			d = d_in;
			continue;
		}
		ds_tower_kernels()->act_backward(extra, n * module->out, module->activation, d, extra);
		if (d_weight != NULL)
			matrix_product(1, 0, module->out, module->in, n, d, module->out, in, module->in, 1,
						   d_weight, module->in);
		for (size_t i = 0; d_bias != NULL && i < n; i++)
			ds_nn_kernels()->add(d_bias, d + i * module->out, module->out);
		matrix_product(0, 0, n, module->in, module->out, d, module->out,
					   parameter_value(back->trainer, ip->module_weight[m]), module->in, 0, d_in,
					   module->in);
		d = d_in;
	}
	return d;
}

static DsCode
run_image_backward(const ImageBack *back, ds_real *d)
{
	ImagePass *ip = back->ip;
	const DsImageSpec *spec = back->spec;
	uint32_t last = spec->layer_count;
	bool fresh;
	ds_real *at;
	DsCode code;

	memset(ip->d_used, 0, (spec->layer_count + (size_t) 1) * sizeof(bool));
	for (uint32_t l = 0; l < spec->layer_count; l++)
		ip->layer[l].d = NULL;
	d = image_modules_backward(back, d);
	if (!result_wanted(back, last))
		return DS_OK;
	code = gradient_by(back, last, &at, &fresh);
	if (code != DS_OK)
		return code;
	memcpy(at, d, ip->pictures * ds_image_pooled_dims(spec) * sizeof(ds_real));
	for (uint32_t l = last; l-- > 0 && code == DS_OK;)
	{
		ImageLayer *layer = &ip->layer[l];
		bool conv = spec->layers[l].kind == DS_LAYER_CONV;
		uint32_t input = spec->layers[l].input;

		/* goes back with the convolution that it belongs to */
		if (!conv && input > 0 && ip->layer[input - 1].fused)
			continue;
		if (!layer->wanted || (layer->fused ? ip->layer[l + 1].d : layer->d) == NULL)
			continue;
		code = conv ? conv_layer_backward(back, l) : plain_backward(back, l);
		release_gradient(back, layer->fused ? &ip->layer[l + 1] : layer);
	}
	return code;
}

DsCode
ds_image_pass_backward(DsTrainer *trainer, TowerPass *pass, size_t t, int shard, double share,
					   ds_real *d, DsStatus *status)
{
	ImageBack back = {.trainer = trainer,
					  .ip = pass->image,
					  .spec = &trainer->head->net.tower[t].image,
					  .input = &pass->input,
					  .shard = shard,
					  .share = share};
	DsCode code = run_image_backward(&back, d);

	if (code == DS_CANCELLED)
		return ds_fail(status, code, "cancelled");
	if (code != DS_OK)
		return ds_fail(status, code, "out of memory for %zu pictures", pass->image->pictures);
	return DS_OK;
}
