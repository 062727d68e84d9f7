/*
 * dual_encoder.c
 *		Parameters and inference of a dual encoder.
 *
 * A dual encoder maps a query and a document to vectors by two functions, the
 * towers, such that the documents that answer a query are near it.  Documents
 * are encoded once and indexed; a query costs one pass through its tower and a
 * search.  This is the small, classic kind of tower:
 *
 *     "夏季连衣裙" -> ids of n-grams: 夏 夏季 夏季连 季 季连 ... 裙
 *                  -> their rows of the embedding table, averaged     [128]
 *                  -> dense layers, ReLU between them                 [128]
 *                  -> divided by its length (score "cosine")          [128]
 *
 * With the averages of rows that training has shaped, "夏季" pulls towards
 * everything for summer and "连衣裙" towards dresses, and their sum towards both.
 * Order of words is not seen beyond the n-grams: the price of an encoder that
 * takes a few microseconds.
 *
 * The parameters are a flat list with names, which is how they are stored,
 * trained and shown.  Layout: each tower's table, then weight and bias of each
 * dense layer, then one number for the temperature.
 *
 * Inference goes through a batch text by text, so that a text's vector is the
 * same in any company; its matrix products are short (a few times 128 x 128)
 * and take a microsecond each.
 */
#include "nn/dual_encoder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "nn/simd.h"

const DsDualEncoderConfig ds_dual_encoder_defaults = {
	.shared = true,
	.tower =
		{{.embedding_dims = 128, .pooling = DS_POOLING_MEAN, .dense_count = 1, .dense = {128}},
		 {.embedding_dims = 128, .pooling = DS_POOLING_MEAN, .dense_count = 1, .dense = {128}}},
	.score = DS_SCORE_COSINE,
};

/* how far a square layer is from the identity at the beginning: this share of the usual weights */
#define SQUARE_NOISE 0.1

/* texts between two questions whether to stop */
#define INFER_CHUNK 256

static const char *const side_names[] = {"query", "document"};

static size_t
tower_count(const DsDualEncoderConfig *config)
{
	return config->shared ? 1 : 2;
}

static size_t
tower_dims(const DsTowerConfig *tower)
{
	return tower->dense_count > 0 ? tower->dense[tower->dense_count - 1] : tower->embedding_dims;
}

static DsCode
check_tower(const DsTowerConfig *tower, const char *name, DsStatus *status)
{
	if (!tower->features && tower->vocabulary < 1)
		return ds_fail(status, DS_INVALID, "%s tower: vocabulary must be at least 1", name);
	if (tower->embedding_dims < 1 || tower->embedding_dims > DS_WIDTH_MAX)
		return ds_fail(status, DS_INVALID,
					   "%s tower: embedding_dims must be between 1 and %d, not %u", name,
					   DS_WIDTH_MAX, tower->embedding_dims);
	if ((unsigned) tower->pooling > DS_POOLING_SQRTN)
		return ds_fail(status, DS_INVALID, "%s tower: unknown pooling", name);
	if ((tower->features || tower->last_relu) && tower->dense_count == 0)
		return ds_fail(status, DS_INVALID, "%s tower: a tower on features must have a dense layer",
					   name);
	if (tower->dense_count > DS_DENSE_MAX)
		return ds_fail(status, DS_INVALID, "%s tower: there can be %d dense layers, not %u", name,
					   DS_DENSE_MAX, tower->dense_count);
	for (uint32_t i = 0; i < tower->dense_count; i++)
		if (tower->dense[i] < 1 || tower->dense[i] > DS_WIDTH_MAX)
			return ds_fail(status, DS_INVALID,
						   "%s tower: the width of a dense layer must be between 1 and %d, not %u",
						   name, DS_WIDTH_MAX, tower->dense[i]);
	return DS_OK;
}

DsCode
ds_dual_encoder_check(const DsDualEncoderConfig *config, DsStatus *status)
{
	for (size_t t = 0; t < tower_count(config); t++)
	{
		DsCode code =
			check_tower(&config->tower[t], config->shared ? "shared" : side_names[t], status);

		if (code != DS_OK)
			return code;
	}
	if (!config->shared && tower_dims(&config->tower[0]) != tower_dims(&config->tower[1]))
		return ds_fail(status, DS_INVALID,
					   "both towers must give vectors of the same width, not %zu (query) and %zu "
					   "(document)",
					   tower_dims(&config->tower[0]), tower_dims(&config->tower[1]));
	if ((unsigned) config->score > DS_SCORE_DOT)
		return ds_fail(status, DS_INVALID, "unknown score");
	return DS_OK;
}

static DsCode
append(DsDualEncoder *encoder, const char *tower, const char *part, size_t rows, size_t columns,
	   bool sparse, DsStatus *status)
{
	DsParameter *parameter = &encoder->parameter[encoder->parameter_count++];
	size_t bytes;

	memset(parameter, 0, sizeof(*parameter));
	snprintf(parameter->name, sizeof(parameter->name), "%s%s%s", tower, *tower != '\0' ? "." : "",
			 part);
	parameter->shape_count = rows > 0 ? 2 : 1;
	parameter->shape[0] = rows > 0 ? rows : columns;
	parameter->shape[1] = rows > 0 ? columns : 1;
	parameter->sparse = sparse;
	if (!ds_size_mul(parameter->shape[0], parameter->shape[1], &parameter->count) ||
		!ds_size_mul(parameter->count, sizeof(ds_real), &bytes))
		return ds_fail(status, DS_TOO_LARGE, "%s is too large", parameter->name);
	return DS_OK;
}

DsCode
ds_dual_encoder_plan(const DsDualEncoderConfig *config, DsDualEncoder *encoder, DsStatus *status)
{
	DsCode code = ds_dual_encoder_check(config, status);

	if (code != DS_OK)
		return code;
	memset(encoder, 0, sizeof(*encoder));
	encoder->config = *config;
	if (config->shared)
		encoder->config.tower[1] = config->tower[0];
	encoder->dims = tower_dims(&config->tower[0]);
	for (size_t t = 0; t < tower_count(config) && code == DS_OK; t++)
	{
		const DsTowerConfig *tower = &config->tower[t];
		const char *name = config->shared ? "shared" : side_names[t];
		size_t ins = tower->embedding_dims;
		char part[32];

		encoder->first_parameter[t] = encoder->parameter_count;
		if (!tower->features)
			code = append(encoder, name, "embedding", tower->vocabulary, ins, true, status);
		for (uint32_t i = 0; i < tower->dense_count && code == DS_OK; i++)
		{
			snprintf(part, sizeof(part), "dense.%u.weight", i);
			code = append(encoder, name, part, ins, tower->dense[i], false, status);
			if (code != DS_OK)
				break;
			snprintf(part, sizeof(part), "dense.%u.bias", i);
			code = append(encoder, name, part, 0, tower->dense[i], false, status);
			ins = tower->dense[i];
		}
	}
	if (config->shared)
		encoder->first_parameter[1] = encoder->first_parameter[0];
	encoder->scale_parameter = encoder->parameter_count;
	if (code == DS_OK)
		code = append(encoder, "", "log_scale", 0, 1, false, status);
	return code;
}

DsCode
ds_dual_encoder_allocate(DsDualEncoder *encoder, DsArena *arena, DsStatus *status)
{
	for (size_t i = 0; i < encoder->parameter_count; i++)
	{
		DsParameter *parameter = &encoder->parameter[i];

		parameter->value = ds_arena_alloc(arena, parameter->count, sizeof(ds_real));
		if (parameter->value == NULL)
			return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	}
	return DS_OK;
}

static void
fill_uniform(ds_real *value, size_t n, double bound, DsRandom *random)
{
	for (size_t i = 0; i < n; i++)
		value[i] = (ds_real) ((2 * ds_random_double(random) - 1) * bound);
}

void
ds_parameter_init(DsParameter *parameter, uint64_t seed, size_t number)
{
	DsRandom random;

	ds_random_init(&random, seed, number);
	if (parameter->sparse)
		fill_uniform(parameter->value, parameter->count, sqrt(3.0 / (double) parameter->shape[1]),
					 &random);
	else if (parameter->shape_count == 2)
	{
		size_t ins = parameter->shape[0];
		size_t outs = parameter->shape[1];

		fill_uniform(parameter->value, parameter->count, sqrt(6.0 / (double) (ins + outs)),
					 &random);
		/* a square layer begins as almost nothing, so that the table learns from the first step */
		for (size_t k = 0; ins == outs && k < parameter->count; k++)
			parameter->value[k] *= (ds_real) SQUARE_NOISE;
		for (size_t k = 0; ins == outs && k < ins; k++)
			parameter->value[k * outs + k] += 1;
	}
	else
		memset(parameter->value, 0, parameter->count * sizeof(ds_real));
}

void
ds_dual_encoder_init(DsDualEncoder *encoder, uint64_t seed, double temperature)
{
	for (size_t i = 0; i < encoder->parameter_count; i++)
		ds_parameter_init(&encoder->parameter[i], seed, i);
	encoder->parameter[encoder->scale_parameter].value[0] = (ds_real) -log(temperature);
}

DsParameter *
ds_dual_encoder_parameter(DsDualEncoder *encoder, const char *name)
{
	for (size_t i = 0; i < encoder->parameter_count; i++)
		if (strcmp(encoder->parameter[i].name, name) == 0)
			return &encoder->parameter[i];
	return NULL;
}

void
ds_parameter_read(const DsParameter *parameter, size_t first, size_t count, float *out)
{
	if (parameter->shorter != NULL)
		ds_short_numbers(parameter->shorter, parameter->shape[1], first, count, out);
	else
		for (size_t i = 0; i < count; i++)
			out[i] = (float) parameter->value[first + i];
}

static size_t
widest(const DsTowerConfig *tower)
{
	size_t width = tower->embedding_dims;

	for (uint32_t i = 0; i < tower->dense_count; i++)
		if (tower->dense[i] > width)
			width = tower->dense[i];
	return width;
}

size_t
ds_dual_encoder_scratch(const DsDualEncoder *encoder)
{
	size_t query = widest(&encoder->config.tower[0]);
	size_t document = widest(&encoder->config.tower[1]);

	return 2 * (query > document ? query : document);
}

/*
 * What comes behind the pooled table or the features: x [embedding_dims], which
 * may be scratch or the caller's, to result.
 */
static void
infer_dense(const DsDualEncoder *encoder, DsSide side, const ds_real *x, ds_real *scratch,
			ds_real *result)
{
	const DsTowerConfig *tower = &encoder->config.tower[side];
	const DsParameter *dense =
		&encoder->parameter[encoder->first_parameter[side] + !tower->features];
	size_t width = ds_dual_encoder_scratch(encoder) / 2;
	size_t ins = tower->embedding_dims;
	ds_real inverse;

	for (uint32_t i = 0; i < tower->dense_count; i++)
	{
		ds_real *y = x == scratch ? scratch + width : scratch;

		ds_dense_infer(x, dense[2 * i].value, dense[2 * i + 1].value, 1, ins, tower->dense[i], y);
		ins = tower->dense[i];
		if (i + 1 < tower->dense_count || tower->last_relu)
			ds_relu_forward(y, ins);
		x = y;
	}
	if (encoder->config.score == DS_SCORE_COSINE)
		ds_normalize_forward(x, 1, ins, result, &inverse);
	else
		memcpy(result, x, ins * sizeof(ds_real));
}

DsCode
ds_dual_encoder_infer(const DsDualEncoder *encoder, DsSide side, const uint32_t *ids,
					  const size_t *offsets, size_t texts, ds_real *scratch, ds_real *out,
					  const DsCancel *cancel, DsStatus *status)
{
	const DsTowerConfig *tower = &encoder->config.tower[side];
	const DsParameter *table = &encoder->parameter[encoder->first_parameter[side]];

	if (tower->features)
		return ds_fail(status, DS_INVALID, "the tower takes features, not texts");
	for (size_t t = 0; t < texts; t++)
	{
		if (t % INFER_CHUNK == 0 && ds_cancelled(cancel))
			return ds_fail(status, DS_CANCELLED, "cancelled");
		for (size_t i = offsets[t]; i < offsets[t + 1]; i++)
			if (ids[i] >= tower->vocabulary)
				return ds_fail(status, DS_BAD_DATA,
							   "token id %u is outside the embedding table of %u rows", ids[i],
							   tower->vocabulary);
		if (table->shorter != NULL)
			ds_bag_infer_short(table->shorter, tower->embedding_dims, ids + offsets[t],
							   offsets[t + 1] - offsets[t], tower->pooling, scratch);
		else
			ds_bag_forward(table->value, tower->embedding_dims, ids, offsets + t, 1, tower->pooling,
						   scratch);
		infer_dense(encoder, side, scratch, scratch, out + t * encoder->dims);
	}
	return DS_OK;
}

DsCode
ds_dual_encoder_infer_features(const DsDualEncoder *encoder, DsSide side, const ds_real *features,
							   size_t count, ds_real *scratch, ds_real *out, const DsCancel *cancel,
							   DsStatus *status)
{
	const DsTowerConfig *tower = &encoder->config.tower[side];

	if (!tower->features)
		return ds_fail(status, DS_INVALID, "the tower takes texts, not features");
	for (size_t i = 0; i < count; i++)
	{
		if (i % INFER_CHUNK == 0 && ds_cancelled(cancel))
			return ds_fail(status, DS_CANCELLED, "cancelled");
		infer_dense(encoder, side, features + i * tower->embedding_dims, scratch,
					out + i * encoder->dims);
	}
	return DS_OK;
}
