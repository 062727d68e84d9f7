/*
 * training_values.c
 *		First values of a trainer's parameters, and those that come from and go to a source.
 */
#include "nn/image_tower.h"
#include "nn/training_private.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* deviation of a transformer's first weights, BERT's */
#define INITIAL_DEVIATION 0.02

/* values read from a source at once */
#define LOAD_VALUES ((size_t) 1 << 18)

/* The parameter as dual_encoder.c knows it */
static DsParameter
as_dense(const DsTrainer *trainer, size_t number)
{
	const BlockParameter *p = &trainer->parameter[number];

	return (DsParameter){.shape_count = p->shape_count,
						 .shape = {p->shape[0], p->shape[1]},
						 .count = p->count,
						 .sparse = p->sparse,
						 .value = parameter_value(trainer, number)};
}

/* A linear layer's or a table's weights and a class token normal, norms one, biases zero */
static void
initialize_transformer(const DsTrainer *trainer, size_t number)
{
	const BlockParameter *p = &trainer->parameter[number];
	ds_real *value = parameter_value(trainer, number);
	const char *last = strrchr(p->name, '.');
	DsRandom random;

	ds_random_init(&random, trainer->head->config.seed, number);
	for (uint64_t k = 0; k < p->count; k++)
		value[k] = p->shape_count == 2 || strcmp(strchr(p->name, '.'), ".class.weight") == 0
					   ? (ds_real) (INITIAL_DEVIATION * ds_random_normal(&random))
				   : strcmp(last, ".weight") == 0 ? 1
												  : 0;
}

void
ds_trainer_initialize(DsTrainer *trainer)
{
	const BlockHeader *head = trainer->head;

	for (size_t i = 0; i < head->parameters; i++)
	{
		const BlockParameter *p = &trainer->parameter[i];
		DsParameter dense = as_dense(trainer, i);

		if (p->tower == 2)
			dense.value[0] = (ds_real) -log(head->config.temperature);
		else if (tower_transformer(&head->net.tower[p->tower]) != NULL)
			initialize_transformer(trainer, i);
		else if (has_pictures(&head->net.tower[p->tower]) &&
				 (strstr(p->name, ".layer.") != NULL || strstr(p->name, ".module.") != NULL))
			ds_image_initialize(trainer, i);
		else if (strstr(p->name, ".fusion.weight") != NULL)
			ds_fusion_initialize(trainer, i);
		else
			ds_parameter_init(&dense, head->config.seed, i);
	}
}

/* Name of a parameter within its tower */
static const char *
name_within(const BlockParameter *p)
{
	return strchr(p->name, '.') + 1;
}

/* Values of one parameter; "transposed" has the source's shape reversed */
static DsCode
load_one(DsTrainer *trainer, size_t number, const DsTensorSource *source, const char *name,
		 bool transposed, float *buffer, DsStatus *status)
{
	const BlockParameter *p = &trainer->parameter[number];
	ds_real *value = parameter_value(trainer, number);
	uint64_t rows = p->shape[0];
	uint64_t columns = p->shape[1];

	for (uint64_t at = 0; at < p->count;)
	{
		size_t n = p->count - at < LOAD_VALUES ? (size_t) (p->count - at) : LOAD_VALUES;
		DsCode code = source->read(source->context, name, at, n, buffer, status);

		if (code != DS_OK)
			return code;
		for (size_t i = 0; i < n; i++)
		{
			uint64_t k = at + i;

			if (!isfinite(buffer[i]))
				return ds_fail(status, DS_BAD_DATA, "%s has a value that is not finite", name);
			value[transposed ? k % rows * columns + k / rows : k] = (ds_real) buffer[i];
		}
		at += n;
	}
	return DS_OK;
}

DsCode
ds_trainer_load(DsTrainer *trainer, size_t tower, const DsTensorSource *source, bool missing_ok,
				const DsCancel *cancel, DsStatus *status)
{
	DsArenaMark mark = ds_arena_mark(trainer->arena);
	float *buffer = ds_arena_alloc(trainer->arena, LOAD_VALUES, sizeof(float));
	DsCode code = DS_OK;

	if (buffer == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	for (size_t i = 0; i < trainer->head->parameters && code == DS_OK; i++)
	{
		const BlockParameter *p = &trainer->parameter[i];
		char name[sizeof(p->name) + 2];
		uint64_t values;
		bool transposed = false;

		if (p->tower != tower)
			continue;
		snprintf(name, sizeof(name), "%s", name_within(p));
		if (!source->find(source->context, name, &values))
		{
			snprintf(name, sizeof(name), "%s_t", name_within(p));
			transposed = p->shape_count == 2 && source->find(source->context, name, &values);
			if (!transposed && missing_ok)
				continue;
			if (!transposed)
				code = ds_fail(status, DS_BAD_DATA, "there is no tensor \"%s\"", name_within(p));
		}
		if (code == DS_OK && values != p->count)
			code = ds_fail(status, DS_BAD_DATA, "tensor \"%s\" has %llu values, not %llu", name,
						   (unsigned long long) values, (unsigned long long) p->count);
		if (code == DS_OK && ds_cancelled(cancel))
			code = ds_fail(status, DS_CANCELLED, "cancelled");
		if (code == DS_OK)
			code = load_one(trainer, i, source, name, transposed, buffer, status);
	}
	ds_arena_rewind(trainer->arena, mark);
	return code;
}

/* Number of the parameter that a tower's source calls name */
static size_t
find_within(const DsTrainer *trainer, uint32_t tower, const char *name)
{
	for (size_t i = 0; i < trainer->head->parameters; i++)
		if (trainer->parameter[i].tower == tower &&
			strcmp(name_within(&trainer->parameter[i]), name) == 0)
			return i;
	return DS_NO_PARAMETER;
}

static bool
source_find(void *context, const char *name, uint64_t *values)
{
	const TowerSource *from = context;
	size_t number = find_within(from->trainer, from->tower, name);

	if (number == DS_NO_PARAMETER)
		return false;
	*values = from->trainer->parameter[number].count;
	return true;
}

static DsCode
source_read(void *context, const char *name, uint64_t first, size_t count, float *out,
			DsStatus *status)
{
	const TowerSource *from = context;
	size_t number = find_within(from->trainer, from->tower, name);
	const ds_real *value;

	if (number == DS_NO_PARAMETER || first + count > from->trainer->parameter[number].count)
		return ds_fail(status, DS_BAD_DATA, "there is no tensor \"%s\"", name);
	value = parameter_value(from->trainer, number) + first;
	for (size_t i = 0; i < count; i++)
		out[i] = (float) value[i];
	return DS_OK;
}

DsTensorSource
ds_trainer_source(DsTrainer *trainer, size_t tower)
{
	TowerSource *source = &trainer->source[tower];

	source->trainer = trainer;
	source->tower = (uint32_t) tower;
	return (DsTensorSource){.context = source, .find = source_find, .read = source_read};
}
