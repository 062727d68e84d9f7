/*
 * training_dense.c
 *		Towers of dense layers, over an embedding bag or over given features.
 *
 * (layers.c has the layers and an example of their derivatives.)
 */
#include <string.h>

#include "nn/layers.h"
#include "nn/training_private.h"

static bool
reserve_dense(DsTrainer *trainer, DensePass *pass, const DsTowerConfig *bag, size_t texts)
{
	DsArena *arena = trainer->arena;
	size_t widest = bag->embedding_dims;
	size_t layers = 0;
	ds_real *layer;
	Room *room = pass->room;

	for (uint32_t i = 0; i < bag->dense_count; i++)
	{
		widest = bag->dense[i] > widest ? bag->dense[i] : widest;
		layers += bag->dense[i];
	}
	if (!ds_training_reserve(arena, room++, texts, bag->embedding_dims, sizeof(ds_real),
							 &pass->pooled) ||
		!ds_training_reserve(arena, room++, texts, layers, sizeof(ds_real), &layer) ||
		!ds_training_reserve(arena, room++, texts, widest, sizeof(ds_real), &pass->d_one) ||
		!ds_training_reserve(arena, room++, texts, widest, sizeof(ds_real), &pass->d_two))
		return false;
	for (uint32_t i = 0; i < bag->dense_count; i++)
	{
		pass->layer[i] = layer;
		layer += texts * bag->dense[i];
	}
	return true;
}

/* Parameters of a tower: the table, if there is one, then weight and bias of each layer */
static size_t
first_dense(const DsTrainer *trainer, size_t t)
{
	return trainer->first[t] + has_bag(&trainer->head->net.tower[t]);
}

DsCode
ds_dense_pass_forward(DsTrainer *trainer, TowerPass *pass, size_t t, ds_real *out, DsStatus *status)
{
	const DsTower *tower = &trainer->head->net.tower[t];
	const DsTowerConfig *bag = &tower->bag;
	const TowerInput *input = &pass->input;
	DensePass *dense = &pass->dense;
	size_t texts = input->texts;
	size_t parameter = first_dense(trainer, t);
	size_t ins = bag->embedding_dims;
	const ds_real *x = input->features;

	if (!reserve_dense(trainer, dense, bag, texts))
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %zu texts", texts);
	if (has_bag(tower))
	{
		ds_bag_forward(parameter_value(trainer, trainer->first[t]), ins, input->ids, input->offsets,
					   texts, bag->pooling, dense->pooled);
		x = dense->pooled;
	}
	for (uint32_t i = 0; i < bag->dense_count; i++, parameter += 2)
	{
		ds_dense_forward(x, parameter_value(trainer, parameter),
						 parameter_value(trainer, parameter + 1), texts, ins, bag->dense[i],
						 dense->layer[i]);
		ins = bag->dense[i];
		x = dense->layer[i];
		if (i + 1 < bag->dense_count || bag->last_relu)
			ds_relu_forward(dense->layer[i], texts * ins);
	}
	if (texts > 0)
		memcpy(out, x, texts * ins * sizeof(ds_real));
	return DS_OK;
}

/* Does anything below dense layer i learn? */
static bool
learns_below(const DsTrainer *trainer, size_t t, uint32_t i)
{
	for (size_t p = trainer->first[t]; p < first_dense(trainer, t) + 2 * i; p++)
		if (!trainer->parameter[p].frozen)
			return true;
	return false;
}

const ds_real *
ds_dense_pass_backward(DsTrainer *trainer, TowerPass *pass, size_t t, int number, ds_real *d)
{
	const DsTower *tower = &trainer->head->net.tower[t];
	const DsTowerConfig *bag = &tower->bag;
	const TowerInput *input = &pass->input;
	DensePass *dense = &pass->dense;
	size_t parameter = first_dense(trainer, t);
	size_t texts = input->texts;
	ds_real *d_in = dense->d_one;

	for (uint32_t i = bag->dense_count; i-- > 0;)
	{
		size_t ins = i > 0 ? bag->dense[i - 1] : bag->embedding_dims;
		const ds_real *in = i > 0			 ? dense->layer[i - 1]
							: has_bag(tower) ? dense->pooled
											 : input->features;
		size_t weight = parameter + 2 * i;
		bool below = learns_below(trainer, t, i);

		if (i + 1 < bag->dense_count || bag->last_relu)
			ds_relu_backward(dense->layer[i], d, texts * bag->dense[i]);
		ds_dense_backward(in, parameter_value(trainer, weight), d, texts, ins, bag->dense[i],
						  below ? d_in : NULL, shard_gradient(trainer, number, weight),
						  shard_gradient(trainer, number, weight + 1));
		if (!below)
			return NULL;
		d = d_in;
		d_in = d == dense->d_one ? dense->d_two : dense->d_one;
	}
	if (!has_bag(tower) || trainer->places[t] == NULL)
		return NULL;
	ds_bag_scale(d, bag->embedding_dims, input->offsets, texts, bag->pooling);
	return d;
}
