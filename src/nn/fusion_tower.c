/*
 * fusion_tower.c
 *		Towers over documents that have a text and a picture, for training.
 *
 * The text goes through an embedding bag, the picture through a convolutional network, and their
 * vectors t and v become one (fusion.h).  The way back of the gated form, with
 * y = g t + (1 - g) v and g = logistic(z):
 *
 *     dz = dy (t - v) g (1 - g),  dt = dy g + ...,  dv = dy (1 - g) + ...
 *
 * where the dots are what comes through z = [t v] W + b.
 *
 * At first the joined form is t + v with some noise, for the reason that a square layer begins as
 * the identity (dual_encoder.c): tables learn from the first step.  v begins about as long as t
 * (PICTURE_SHARE in image_tower.c), which it would otherwise hide for some epochs.
 *
 * What is missing is replaced by a vector that is learned like any parameter; with leave_out both
 * learn from documents that lack nothing.
 */
#include <math.h>
#include <string.h>

#include "nn/image_tower.h"
#include "nn/layers.h"
#include "nn/simd.h"

#define FUSION_NOISE 0.1

struct FusionPass
{
	size_t weight; /* numbers of parameters */
	size_t bias;
	size_t no_text;
	size_t no_image;
	ds_real *joined; /* [texts, text + image] */
	ds_real *d_joined;
	ds_real *gate; /* [texts, dims] GATED */
	ds_real *d_gate;
	ds_real *text; /* [texts, text] */
	ds_real *d_picture; /* [pictures, image] */
	ds_real *d_through; /* [texts, text + image] GATED: what comes through the gate */
	Room room[7];
};

static FusionPass *
make_fusion(DsTrainer *trainer, size_t t)
{
	FusionPass *fp = ds_arena_zero(trainer->arena, 1, sizeof(*fp));

	for (size_t i = trainer->first[t]; fp != NULL && i < trainer->head->parameters; i++)
	{
		const BlockParameter *p = &trainer->parameter[i];
		const char *own = strchr(p->name, '.') + 1;

		if (p->tower != t)
			continue;
		if (strcmp(own, "fusion.weight") == 0)
			fp->weight = i;
		if (strcmp(own, "fusion.bias") == 0)
			fp->bias = i;
		if (strcmp(own, "fusion.no_text") == 0)
			fp->no_text = i;
		if (strcmp(own, "fusion.no_image") == 0)
			fp->no_image = i;
	}
	return fp;
}

static bool
reserve_fusion(DsTrainer *trainer, FusionPass *fp, const DsTower *tower, const TowerInput *input)
{
	DsArena *arena = trainer->arena;
	size_t text = dense_width(&tower->bag);
	size_t image = ds_image_spec_dims(&tower->image);
	size_t real = sizeof(ds_real);

	return ds_training_reserve(arena, &fp->room[0], input->texts, text + image, real,
							   &fp->joined) &&
		   ds_training_reserve(arena, &fp->room[1], input->texts, text + image, real,
							   &fp->d_joined) &&
		   ds_training_reserve(arena, &fp->room[2], input->texts, tower->fusion_dims, real,
							   &fp->gate) &&
		   ds_training_reserve(arena, &fp->room[3], input->texts, tower->fusion_dims, real,
							   &fp->d_gate) &&
		   ds_training_reserve(arena, &fp->room[4], input->texts, text, real, &fp->text) &&
		   ds_training_reserve(arena, &fp->room[6],
							   tower->fusion == DS_FUSION_GATED ? input->texts : 0, text + image,
							   real, &fp->d_through) &&
		   ds_training_reserve(arena, &fp->room[5], input->pictures, image, real, &fp->d_picture);
}

void
ds_fusion_initialize(const DsTrainer *trainer, size_t number)
{
	const BlockParameter *p = &trainer->parameter[number];
	const DsTower *tower = &trainer->head->net.tower[p->tower];
	size_t text = dense_width(&tower->bag);
	size_t image = ds_image_spec_dims(&tower->image);
	size_t dims = tower->fusion_dims;
	bool sums = tower->fusion == DS_FUSION_CONCATENATE && text == dims && image == dims;
	ds_real *value = parameter_value(trainer, number);
	DsParameter weight = {
		.shape_count = 2, .shape = {text + image, dims}, .count = p->count, .value = value};

	ds_parameter_init(&weight, trainer->head->config.seed, number);
	for (size_t k = 0; sums && k < p->count; k++)
		value[k] = (ds_real) FUSION_NOISE * value[k] + (k / dims % dims == k % dims);
}

static bool
has_text(const TowerInput *input, size_t i)
{
	return input->offsets[i + 1] > input->offsets[i];
}

DsCode
ds_fusion_forward(DsTrainer *trainer, TowerPass *pass, size_t t, bool trains, DsStatus *status)
{
	const DsTower *tower = &trainer->head->net.tower[t];
	const TowerInput *input = &pass->input;
	size_t text = dense_width(&tower->bag);
	size_t image = ds_image_spec_dims(&tower->image);
	size_t dims = tower->fusion_dims;
	FusionPass *fp = pass->fusion;
	const ds_real *vectors = NULL;
	ds_real *z;
	DsCode code;

	if (fp == NULL)
		fp = pass->fusion = make_fusion(trainer, t);
	if (fp == NULL || !reserve_fusion(trainer, fp, tower, input))
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %zu documents", input->texts);
	code = ds_dense_pass_forward(trainer, pass, t, fp->text, status);
	if (code == DS_OK && input->pictures > 0)
		code = ds_image_pass_forward(trainer, pass, t, trains, &vectors, status);
	if (code != DS_OK)
		return code;
	for (size_t i = 0; i < input->texts; i++)
	{
		ds_real *to = fp->joined + i * (text + image);

		memcpy(to, has_text(input, i) ? fp->text + i * text : parameter_value(trainer, fp->no_text),
			   text * sizeof(ds_real));
		memcpy(to + text,
			   input->picture[i] != DS_NO_PICTURE ? vectors + input->picture[i] * image
												  : parameter_value(trainer, fp->no_image),
			   image * sizeof(ds_real));
	}
	z = tower->fusion == DS_FUSION_GATED ? fp->gate : pass->out;
	ds_dense_forward(fp->joined, parameter_value(trainer, fp->weight),
					 parameter_value(trainer, fp->bias), input->texts, text + image, dims, z);
	if (tower->fusion != DS_FUSION_GATED)
		return DS_OK;
	for (size_t i = 0; i < input->texts; i++)
	{
		const ds_real *a = fp->joined + i * (text + image);
		const ds_real *b = a + text;

		for (size_t c = 0; c < dims; c++)
		{
			ds_real *gate = &fp->gate[i * dims + c];

			*gate = (ds_real) (1 / (1 + exp(-(double) *gate)));
			pass->out[i * dims + c] = *gate * a[c] + (1 - *gate) * b[c];
		}
	}
	return DS_OK;
}

/* From d to z, and to t and v directly */
static void
gate_backward(const FusionPass *fp, size_t texts, size_t dims, const ds_real *d)
{
	for (size_t i = 0; i < texts; i++)
	{
		const ds_real *a = fp->joined + 2 * i * dims;
		ds_real *da = fp->d_joined + 2 * i * dims;

		for (size_t c = 0; c < dims; c++)
		{
			ds_real gate = fp->gate[i * dims + c];
			ds_real dy = d[i * dims + c];

			fp->d_gate[i * dims + c] = dy * (a[c] - a[dims + c]) * gate * (1 - gate);
			da[c] += dy * gate;
			da[dims + c] += dy * (1 - gate);
		}
	}
}

DsCode
ds_fusion_backward(DsTrainer *trainer, TowerPass *pass, size_t t, int shard, double share,
				   const ds_real *d, const ds_real **bags, DsStatus *status)
{
	const DsTower *tower = &trainer->head->net.tower[t];
	const DsNnKernels *kernels = ds_nn_kernels();
	const TowerInput *input = &pass->input;
	size_t text = dense_width(&tower->bag);
	size_t image = ds_image_spec_dims(&tower->image);
	FusionPass *fp = pass->fusion;
	ds_real *no_text = shard_gradient(trainer, shard, fp->no_text);
	ds_real *no_image = shard_gradient(trainer, shard, fp->no_image);
	bool gated = tower->fusion == DS_FUSION_GATED;

	if (gated)
	{
		memset(fp->d_joined, 0, input->texts * (text + image) * sizeof(ds_real));
		gate_backward(fp, input->texts, tower->fusion_dims, d);
		d = fp->d_gate;
	}
	ds_dense_backward(fp->joined, parameter_value(trainer, fp->weight), d, input->texts,
					  text + image, tower->fusion_dims, gated ? fp->d_through : fp->d_joined,
					  shard_gradient(trainer, shard, fp->weight),
					  shard_gradient(trainer, shard, fp->bias));
	if (gated)
		kernels->add(fp->d_joined, fp->d_through, input->texts * (text + image));
	if (input->pictures > 0)
		memset(fp->d_picture, 0, input->pictures * image * sizeof(ds_real));
	for (size_t i = 0; i < input->texts; i++)
	{
		const ds_real *from = fp->d_joined + i * (text + image);

		if (has_text(input, i))
			memcpy(fp->text + i * text, from, text * sizeof(ds_real));
		else
		{
			memset(fp->text + i * text, 0, text * sizeof(ds_real));
			if (no_text != NULL)
				kernels->add(no_text, from, text);
		}
		if (input->picture[i] != DS_NO_PICTURE)
			kernels->add(fp->d_picture + input->picture[i] * image, from + text, image);
		else if (no_image != NULL)
			kernels->add(no_image, from + text, image);
	}
	*bags = ds_dense_pass_backward(trainer, pass, t, shard, fp->text);
	if (input->pictures == 0)
		return DS_OK;
	return ds_image_pass_backward(trainer, pass, t, shard, share, fp->d_picture, status);
}
