/*
 * encoder_model.h
 *		Encoders with weights made from the names of their tensors, as
 *		test/unit/tools/encoder_expected.py makes them, laid out in memory.
 */
#ifndef DS_ENCODER_MODEL_H
#define DS_ENCODER_MODEL_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "nn/encoder.h"

typedef struct TestModel
{
	DsEncoderSpec spec;
	const char *missing; /* a tensor that is not there */
	const char *wrong; /* one with a value too many */
	const char *infinite; /* one with a value that is not finite */
	const char *transposed; /* one that is stored as "_t" */
	char *blob;
	size_t size;
	size_t written;
} TestModel;

/* number i of the values in [-1, 1) that belong to a name */
static inline double
model_uniform(const char *name, uint64_t i)
{
	uint64_t hash = 0xCBF29CE484222325u;

	for (; *name != 0; name++)
		hash = (hash ^ (unsigned char) *name) * 0x100000001B3u;
	return (double) (ds_mix64(hash + i * 0x9E3779B97F4A7C15u) >> 40) / (1 << 23) - 1.0;
}

static inline bool
model_ends(const char *name, const char *end)
{
	size_t n = strlen(name);
	size_t m = strlen(end);

	return n >= m && strcmp(name + n - m, end) == 0;
}

static inline float
model_value(const TestModel *model, const char *name, uint64_t i)
{
	double u = model_uniform(name, i);

	if (strcmp(name, "token.row") == 0)
		return (float) (int) ((u + 1) / 2 * model->spec.static_rows);
	if (model_ends(name, "norm.weight") || strcmp(name, "token.scale") == 0)
		return (float) (1 + u / 4);
	if (model_ends(name, "bias"))
		return (float) (u / 8);
	if (strcmp(name, "token.weight") == 0 || strcmp(name, "position.weight") == 0 ||
		strcmp(name, "type.weight") == 0)
		return (float) (u / 2);
	return (float) (strcmp(name, "relative.weight") == 0 ? u : u / 4);
}

static inline bool
model_find(void *context, const char *name, uint64_t *values)
{
	TestModel *model = context;
	DsSpecTensor tensor;
	bool transposed = model_ends(name, "_t");
	char plain[100];

	strcpy(plain, name);
	if (transposed)
		plain[strlen(plain) - 2] = 0;
	if (!ds_spec_find(&model->spec, name, &tensor) ||
		(model->missing != NULL && strcmp(model->missing, plain) == 0))
		return false;
	if (transposed !=
		(model->transposed != NULL && tensor.linear && strstr(name, model->transposed) != NULL))
		return false;
	*values = (uint64_t) tensor.shape[0] * tensor.shape[1];
	if (model->wrong != NULL && strcmp(model->wrong, plain) == 0)
		++*values;
	return true;
}

static inline DsCode
model_read(void *context, const char *name, uint64_t first, size_t count, float *out,
		   DsStatus *status)
{
	TestModel *model = context;
	DsSpecTensor tensor;
	bool transposed = model_ends(name, "_t");
	char plain[100];

	if (!ds_spec_find(&model->spec, name, &tensor) ||
		first + count > (uint64_t) tensor.shape[0] * tensor.shape[1])
		return ds_fail(status, DS_INVALID, "%s: nothing to read", name);
	strcpy(plain, name);
	if (transposed)
		plain[strlen(plain) - 2] = 0;
	for (size_t i = 0; i < count; i++)
	{
		uint64_t at = first + i;

		if (transposed)
			at = at % tensor.shape[1] * tensor.shape[0] + at / tensor.shape[1];
		out[i] = model_value(model, plain, at);
		if (model->infinite != NULL && strcmp(model->infinite, plain) == 0 && at == 3)
			out[i] = (float) INFINITY;
	}
	return DS_OK;
}

static inline DsCode
model_write(void *context, const void *bytes, size_t size, DsStatus *status)
{
	TestModel *model = context;

	if (model->written + size > model->size)
		return ds_fail(status, DS_INVALID, "more than %zu bytes", model->size);
	memcpy(model->blob + model->written, bytes, size);
	model->written += size;
	return DS_OK;
}

/* Fills model->blob (free() it) from model->spec; what is missing etc. must be set before */
static inline DsCode
model_layout(TestModel *model, DsPrecision precision, size_t *memory, DsStatus *status)
{
	DsTensorSource source = {.context = model, .find = model_find, .read = model_read};
	DsBlobWriter writer = {.context = model, .write = model_write};
	DsArena arena;
	uint64_t size;
	DsCode code;

	model->blob = NULL;
	model->written = 0;
	code = ds_encoder_size(&model->spec, precision, &size, status);
	if (code != DS_OK)
		return code;
	model->size = (size_t) size;
	model->blob = aligned_alloc(64, (model->size + 63) / 64 * 64);
	ds_arena_init(&arena, NULL);
	code = ds_encoder_layout(&model->spec, precision, &source, &writer, &arena, NULL, status);
	if (memory != NULL)
		*memory = arena.allocated;
	ds_arena_free(&arena);
	if (code == DS_OK && model->written != model->size)
		return ds_fail(status, DS_INVALID, "%zu of %zu bytes", model->written, model->size);
	return code;
}

#endif /* DS_ENCODER_MODEL_H */
