/*
 * trainer.c
 *		Training steps of a dual encoder.
 *
 * A step takes a batch of pairs and moves the parameters a little such that
 * each query comes nearer to its document than to the others' (loss.c).  It is
 * cut into shards so that several workers can share it and still get, to the
 * last bit, the weights that one alone would get:
 *
 *   1. begin: check the batch, cut it, make room for everything
 *   2. forward (each shard): copy the shard's ids, some features dropped out;
 *      through the tower; vectors to where all see them
 *   3. loss (each shard): scores of the shard's queries with all documents;
 *      gradient by the shard's queries, whole, and by all documents, in part
 *   4. backward (each shard): sum the parts for the shard's own documents; back
 *      through the tower to gradients of the parameters
 *   5. reduce: sum the shards' gradients, in a fixed order; the norm of the
 *      result; refuse numbers that are not finite
 *   6. update: Adam
 *
 * Example: 256 pairs, 32 explicit negatives.  Shard 1 has the pairs 64 to 127
 * and the documents 64 to 127 and 264 to 271; its scores are [64, 288].  The
 * gradient by document 100 is (d0 + d1) + (d2 + d3), each from the 64 queries
 * of one shard, and is used by shard 1.
 *
 * The gradient of an embedding table has as many rows as the batch has distinct
 * ids (some thousands), in rising order of ids in each shard; reduce merges the
 * four lists.  Adam then touches those rows only, so a step's cost does not
 * depend on the size of the table.
 *
 * Limits.  A batch is held in memory whole, with (pairs + documents) * dims numbers
 * of gradients a shard; of its scores, as many rows as 16 MB hold.  Memory grows
 * to what the largest batch needs and stays.
 */
#include "nn/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/simd.h"
#include "nn/trainer_shard.h"

#define TEMPERATURE_MIN 0.01
#define TEMPERATURE_MAX 10.0

const DsTrainConfig ds_train_defaults = {
	.loss = DS_LOSS_SOFTMAX,
	.symmetric = false,
	.temperature = 0.05,
	.learn_temperature = false,
	.margin = 1,
	.feature_dropout = 0,
	.schedule = {.initial = 0.002, .decay = 0.5, .decay_steps = 1000, .minimum = 1e-5},
	.adam = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0},
	.clip_norm = 1,
	.seed = 1,
};

DsCode
ds_train_check(const DsTrainConfig *config, DsStatus *status)
{
	const DsSchedule *schedule = &config->schedule;
	const DsAdam *adam = &config->adam;

	/* comparisons are written so that NaN fails them */
	if ((unsigned) config->loss > DS_LOSS_CONTRASTIVE)
		return ds_fail(status, DS_INVALID, "unknown loss");
	if (!(config->temperature >= TEMPERATURE_MIN && config->temperature <= TEMPERATURE_MAX))
		return ds_fail(status, DS_INVALID, "temperature must be between %g and %g, not %g",
					   TEMPERATURE_MIN, TEMPERATURE_MAX, config->temperature);
	if (!(config->margin > 0 && config->margin <= 1e6))
		return ds_fail(status, DS_INVALID, "margin must be above 0, not %g", config->margin);
	if (!(config->feature_dropout >= 0 && config->feature_dropout < 1))
		return ds_fail(status, DS_INVALID, "feature_dropout must be at least 0 and below 1, not %g",
					   config->feature_dropout);
	if (!(schedule->initial > 0 && schedule->initial <= 10))
		return ds_fail(status, DS_INVALID, "learning_rate must be above 0 and at most 10, not %g",
					   schedule->initial);
	if (!(schedule->decay > 0 && schedule->decay <= 1))
		return ds_fail(status, DS_INVALID, "decay must be above 0 and at most 1, not %g",
					   schedule->decay);
	if (!(schedule->decay_steps > 0 && schedule->decay_steps < HUGE_VAL))
		return ds_fail(status, DS_INVALID, "decay_steps must be above 0, not %g",
					   schedule->decay_steps);
	if (!(schedule->minimum >= 0 && schedule->minimum <= schedule->initial))
		return ds_fail(status, DS_INVALID,
					   "the minimum of the learning rate must be between 0 and its beginning (%g), "
					   "not %g",
					   schedule->initial, schedule->minimum);
	if (!(schedule->warmup_steps >= 0 && schedule->warmup_steps < HUGE_VAL))
		return ds_fail(status, DS_INVALID, "warmup_steps must not be negative, but is %g",
					   schedule->warmup_steps);
	if (!(adam->beta1 >= 0 && adam->beta1 < 1) || !(adam->beta2 >= 0 && adam->beta2 < 1))
		return ds_fail(status, DS_INVALID, "beta1 and beta2 must be at least 0 and below 1");
	if (!(adam->epsilon > 0 && adam->epsilon < 1))
		return ds_fail(status, DS_INVALID, "epsilon must be between 0 and 1, not %g",
					   adam->epsilon);
	if (!(adam->weight_decay >= 0 && adam->weight_decay * schedule->initial < 1))
		return ds_fail(status, DS_INVALID,
					   "weight_decay must not be negative, and below 1 / learning_rate, not %g",
					   adam->weight_decay);
	if (!(config->clip_norm >= 0))
		return ds_fail(status, DS_INVALID, "clip_norm must not be negative, but is %g",
					   config->clip_norm);
	return DS_OK;
}

DsCode
ds_trainer_create(DsDualEncoder *encoder, const DsTrainConfig *config, DsArena *arena,
				  DsTrainer **result, DsStatus *status)
{
	DsCode code = ds_train_check(config, status);
	size_t count = encoder->parameter_count;
	DsTrainer *trainer;

	if (code != DS_OK)
		return code;
	trainer = ds_arena_zero(arena, 1, sizeof(*trainer));
	if (trainer == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	trainer->encoder = encoder;
	trainer->config = *config;
	trainer->arena = arena;
	trainer->state = ds_arena_zero(arena, 2 * count, sizeof(DsParameter));
	if (trainer->state == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	for (size_t i = 0; i < count; i++)
	{
		const DsParameter *parameter = &encoder->parameter[i];

		for (size_t k = 0; k < 2; k++)
		{
			DsParameter *moment = &trainer->state[k * count + i];

			*moment = *parameter;
			snprintf(moment->name, sizeof(moment->name), "adam.%s.%.30s",
					 k == 0 ? "mean" : "variance", parameter->name);
			moment->value = ds_arena_zero(arena, moment->count, sizeof(ds_real));
			if (moment->value == NULL)
				return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
		}
		if (!parameter->sparse)
		{
			trainer->gradient[i] = ds_arena_zero(arena, parameter->count, sizeof(ds_real));
			if (trainer->gradient[i] == NULL)
				return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
		}
	}
	for (size_t s = 0; s < DS_SHARDS; s++)
		for (size_t t = 0; t < trainer_towers(trainer); t++)
		{
			const DsTowerConfig *tower = &encoder->config.tower[t];
			Pass *pass = &trainer->shard[s].pass[t];
			size_t ins = tower->embedding_dims;

			pass->places = ds_arena_alloc(arena, tower->vocabulary, sizeof(uint32_t));
			pass->bits = ds_arena_zero(arena, tower->vocabulary / 64 + 1, sizeof(uint64_t));
			if (pass->places == NULL || pass->bits == NULL)
				return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
			for (uint32_t i = 0; i < tower->dense_count; i++)
			{
				pass->d_weight[i] = ds_arena_alloc(arena, ins * tower->dense[i], sizeof(ds_real));
				pass->d_bias[i] = ds_arena_alloc(arena, tower->dense[i], sizeof(ds_real));
				if (pass->d_weight[i] == NULL || pass->d_bias[i] == NULL)
					return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
				ins = tower->dense[i];
			}
		}
	if (!config->learn_temperature)
		encoder->parameter[encoder->scale_parameter].value[0] = (ds_real) -log(config->temperature);
	*result = trainer;
	return DS_OK;
}

size_t
ds_trainer_state(DsTrainer *trainer, DsParameter **state)
{
	*state = trainer->state;
	return 2 * trainer->encoder->parameter_count;
}

uint64_t
ds_trainer_steps(const DsTrainer *trainer)
{
	return trainer->steps;
}

void
ds_trainer_set_steps(DsTrainer *trainer, uint64_t steps)
{
	trainer->steps = steps;
}

/*
 * Begin
 */

static DsCode
check_texts(const uint32_t *ids, const size_t *offsets, size_t texts, uint32_t vocabulary,
			const char *what, DsStatus *status)
{
	uint32_t highest = 0;

	for (size_t t = 0; t < texts; t++)
		if (offsets[t] > offsets[t + 1])
			return ds_fail(status, DS_INVALID, "the batch's %s offsets fall at text %zu", what, t);
	if (offsets[texts] - offsets[0] > UINT32_MAX)
		return ds_fail(status, DS_TOO_LARGE, "the batch has too many %s tokens", what);
	for (size_t i = offsets[0]; i < offsets[texts]; i++)
		highest = ids[i] > highest ? ids[i] : highest;
	if (highest >= vocabulary)
		return ds_fail(status, DS_BAD_DATA,
					   "%s token id %u is outside the embedding table of %u rows", what, highest,
					   vocabulary);
	return DS_OK;
}

/* At least count * width * size bytes in *room, the array's address to *array; false: no memory */
static bool
reserve(DsArena *arena, Room *room, size_t count, size_t width, size_t size, void *array)
{
	size_t bytes;

	if (!ds_size_mul(count, width, &bytes) || !ds_size_mul(bytes, size, &bytes))
		return false;
	if (room->at == NULL || room->bytes < bytes)
	{
		/* a quarter more, so that slowly growing batches do not leave a trail of arrays */
		size_t more;

		if (!ds_size_add(bytes, bytes / 4, &more))
			return false;
		room->at = ds_arena_alloc(arena, more, 1);
		if (room->at == NULL)
			return false;
		room->bytes = more;
	}
	memcpy(array, &room->at, sizeof(void *));
	return true;
}

static size_t
smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool
reserve_pass(DsTrainer *trainer, Pass *pass, const DsTowerConfig *tower, size_t texts,
			 size_t tokens)
{
	DsArena *arena = trainer->arena;
	size_t widest = tower->embedding_dims;
	size_t rows = smaller(tokens, tower->vocabulary);
	size_t layers = 0;
	ds_real *layer;
	Room *room = pass->room;

	for (uint32_t i = 0; i < tower->dense_count; i++)
	{
		widest = tower->dense[i] > widest ? tower->dense[i] : widest;
		layers += tower->dense[i];
	}
	/* one id more: a dropped one is written before it is dropped */
	if (!reserve(arena, room++, tokens + 1, 1, sizeof(uint32_t), &pass->ids) ||
		!reserve(arena, room++, texts + 1, 1, sizeof(size_t), &pass->offsets) ||
		!reserve(arena, room++, texts, tower->embedding_dims, sizeof(ds_real), &pass->pooled) ||
		!reserve(arena, room++, texts, layers, sizeof(ds_real), &layer) ||
		!reserve(arena, room++, texts, 1, sizeof(ds_real), &pass->inverse) ||
		!reserve(arena, room++, texts, widest, sizeof(ds_real), &pass->d_one) ||
		!reserve(arena, room++, texts, widest, sizeof(ds_real), &pass->d_two) ||
		!reserve(arena, room++, rows, 1, sizeof(uint32_t), &pass->rows) ||
		!reserve(arena, room++, rows + 1, 1, sizeof(uint32_t), &pass->row_offsets) ||
		!reserve(arena, room++, tokens, 1, sizeof(uint32_t), &pass->row_texts) ||
		!reserve(arena, room++, rows, tower->embedding_dims, sizeof(ds_real), &pass->d_rows))
		return false;
	for (uint32_t i = 0; i < tower->dense_count; i++)
	{
		pass->layer[i] = layer;
		layer += texts * tower->dense[i];
	}
	return true;
}

static size_t
tokens_between(const size_t *offsets, size_t begin, size_t end)
{
	return offsets[end] - offsets[begin];
}

/* Cut shard s out of the batch; false: no memory */
static bool
reserve_shard(DsTrainer *trainer, const DsTrainBatch *batch, size_t s)
{
	const DsDualEncoder *encoder = trainer->encoder;
	Shard *shard = &trainer->shard[s];
	DsArena *arena = trainer->arena;
	Room *room = shard->room;
	size_t negatives = batch->documents - batch->pairs;
	size_t dims = encoder->dims;
	size_t rows;
	size_t query_tokens;
	size_t document_tokens;
	size_t documents;

	shard->pair_begin = batch->pairs * s / DS_SHARDS;
	shard->pair_end = batch->pairs * (s + 1) / DS_SHARDS;
	shard->negative_begin = batch->pairs + negatives * s / DS_SHARDS;
	shard->negative_end = batch->pairs + negatives * (s + 1) / DS_SHARDS;
	rows = shard->pair_end - shard->pair_begin;
	documents = rows + shard->negative_end - shard->negative_begin;
	query_tokens = tokens_between(batch->query_offsets, shard->pair_begin, shard->pair_end);
	document_tokens =
		tokens_between(batch->document_offsets, shard->pair_begin, shard->pair_end) +
		tokens_between(batch->document_offsets, shard->negative_begin, shard->negative_end);
	shard->panel = ds_shard_panel(batch->documents, dims);
	if (shard->panel > rows)
		shard->panel = rows;
	if (!reserve(arena, room++, shard->panel, batch->documents, sizeof(ds_real), &shard->scores) ||
		!reserve(arena, room++, rows, dims, sizeof(ds_real), &shard->d_own_query) ||
		!reserve(arena, room++, rows, dims, sizeof(ds_real), &shard->d_own_document) ||
		!reserve(arena, room++, batch->pairs, dims, sizeof(ds_real), &shard->d_query) ||
		!reserve(arena, room++, batch->documents, dims, sizeof(ds_real), &shard->d_document) ||
		!reserve(arena, room++, 2, batch->documents, sizeof(ds_real), &shard->norms))
		return false;
	if (encoder->config.shared)
		return reserve_pass(trainer, &shard->pass[0], &encoder->config.tower[0], rows + documents,
							query_tokens + document_tokens);
	return reserve_pass(trainer, &shard->pass[0], &encoder->config.tower[0], rows, query_tokens) &&
		   reserve_pass(trainer, &shard->pass[1], &encoder->config.tower[1], documents,
						document_tokens);
}

DsCode
ds_trainer_begin(DsTrainer *trainer, const DsTrainBatch *batch, DsStatus *status)
{
	const DsDualEncoder *encoder = trainer->encoder;
	size_t tokens[2];
	bool room;
	DsCode code;

	if (batch->pairs < 1 || batch->documents < batch->pairs ||
		batch->documents > 2 * (size_t) DS_TRAIN_BATCH_MAX)
		return ds_fail(status, DS_INVALID,
					   "a batch must have a pair at least and %d documents at most, not %zu pairs "
					   "and %zu documents",
					   2 * DS_TRAIN_BATCH_MAX, batch->pairs, batch->documents);
	code = check_texts(batch->query_ids, batch->query_offsets, batch->pairs,
					   encoder->config.tower[0].vocabulary, "query", status);
	if (code == DS_OK)
		code = check_texts(batch->document_ids, batch->document_offsets, batch->documents,
						   encoder->config.tower[1].vocabulary, "document", status);
	if (code != DS_OK)
		return code;
	trainer->batch = *batch;
	room = reserve(trainer->arena, &trainer->room[0], batch->pairs, encoder->dims, sizeof(ds_real),
				   &trainer->query) &&
		   reserve(trainer->arena, &trainer->room[1], batch->documents, encoder->dims,
				   sizeof(ds_real), &trainer->document);
	for (size_t s = 0; room && s < DS_SHARDS; s++)
		room = reserve_shard(trainer, batch, s);
	tokens[0] = tokens_between(batch->query_offsets, 0, batch->pairs);
	tokens[1] = tokens_between(batch->document_offsets, 0, batch->documents);
	if (encoder->config.shared)
		tokens[0] += tokens[1];
	for (size_t t = 0; room && t < trainer_towers(trainer); t++)
	{
		const DsTowerConfig *tower = &encoder->config.tower[t];
		size_t rows = smaller(tokens[t], tower->vocabulary);

		room = reserve(trainer->arena, &trainer->room[2 + t], rows, 1, sizeof(uint32_t),
					   &trainer->rows[t]) &&
			   reserve(trainer->arena, &trainer->room[4 + t], rows, tower->embedding_dims,
					   sizeof(ds_real), &trainer->d_rows[t]);
	}
	if (!room)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for a batch of %zu pairs",
					   batch->pairs);
	return DS_OK;
}

/*
 * Reduce
 */

/* Merge the shards' rows of tower t; returns the sum of their squares */
static double
reduce_rows(DsTrainer *trainer, size_t t)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	size_t dims = trainer->encoder->config.tower[t].embedding_dims;
	size_t next[DS_SHARDS] = {0};
	size_t count = 0;
	double square = 0;

	for (;;)
	{
		const ds_real *part[DS_SHARDS];
		ds_real *out = trainer->d_rows[t] + count * dims;
		uint32_t row = UINT32_MAX;
		bool any = false;

		for (size_t s = 0; s < DS_SHARDS; s++)
		{
			const Pass *pass = &trainer->shard[s].pass[t];

			if (next[s] < pass->row_count && pass->rows[next[s]] <= row)
			{
				row = pass->rows[next[s]];
				any = true;
			}
		}
		if (!any)
			break;
		for (size_t s = 0; s < DS_SHARDS; s++)
		{
			const Pass *pass = &trainer->shard[s].pass[t];

			part[s] = NULL;
			if (next[s] < pass->row_count && pass->rows[next[s]] == row)
				part[s] = pass->d_rows + next[s]++ * dims;
		}
		ds_shard_sum(part, dims, out);
		square += (double) kernels->dot(out, out, dims);
		trainer->rows[t][count++] = row;
	}
	trainer->row_count[t] = count;
	return square;
}

/* Sum one dense array over the shards; returns the sum of its squares */
static double
reduce_dense(DsTrainer *trainer, size_t parameter, const ds_real *const part[DS_SHARDS])
{
	size_t n = trainer->encoder->parameter[parameter].count;
	ds_real *out = trainer->gradient[parameter];

	ds_shard_sum(part, n, out);
	return (double) ds_nn_kernels()->dot(out, out, n);
}

DsCode
ds_trainer_reduce(DsTrainer *trainer, DsStepResult *result, DsStatus *status)
{
	const DsDualEncoder *encoder = trainer->encoder;
	const Shard *shard = trainer->shard;
	const DsTrainConfig *config = &trainer->config;
	DsStepResult *r = &trainer->result;
	double scale = ds_shard_scale(trainer);
	double square = 0;
	size_t correct = 0;

	for (size_t t = 0; t < trainer_towers(trainer); t++)
	{
		size_t first = encoder->first_parameter[t];

		square += reduce_rows(trainer, t);
		for (uint32_t i = 0; i < encoder->config.tower[t].dense_count; i++)
		{
			const ds_real *part[2][DS_SHARDS];

			for (size_t s = 0; s < DS_SHARDS; s++)
			{
				part[0][s] = shard[s].pass[t].d_weight[i];
				part[1][s] = shard[s].pass[t].d_bias[i];
			}
			square += reduce_dense(trainer, first + 1 + 2 * i, part[0]);
			square += reduce_dense(trainer, first + 2 + 2 * i, part[1]);
		}
	}
	if (config->learn_temperature && config->loss == DS_LOSS_SOFTMAX)
	{
		/* d loss / d log scale = scale * d loss / d scale */
		double d =
			scale * ((shard[0].d_scale + shard[1].d_scale) + (shard[2].d_scale + shard[3].d_scale));

		trainer->gradient[encoder->scale_parameter][0] = (ds_real) d;
		square += d * d;
	}
	for (size_t s = 0; s < DS_SHARDS; s++)
		correct += shard[s].correct;
	r->step = trainer->steps + 1;
	r->loss = (shard[0].loss + shard[1].loss) + (shard[2].loss + shard[3].loss);
	r->accuracy = (double) correct / (double) trainer->batch.pairs;
	r->gradient_norm = sqrt(square);
	r->learning_rate = ds_schedule_rate(&config->schedule, trainer->steps);
	r->temperature = 1 / scale;
	trainer->gradient_scale = config->clip_norm > 0 && r->gradient_norm > config->clip_norm
								  ? config->clip_norm / r->gradient_norm
								  : 1;
	if (result != NULL)
		*result = *r;
	if (!isfinite(r->loss) || !isfinite(r->gradient_norm))
		return ds_fail(status, DS_OUT_OF_RANGE,
					   "training diverged at step %llu: the %s is not a finite number",
					   (unsigned long long) r->step, isfinite(r->loss) ? "gradient" : "loss");
	return DS_OK;
}

void
ds_trainer_update(DsTrainer *trainer)
{
	DsDualEncoder *encoder = trainer->encoder;
	const DsAdam *adam = &trainer->config.adam;
	size_t count = encoder->parameter_count;
	double rate = trainer->result.learning_rate;
	uint64_t step = ++trainer->steps;

	for (size_t i = 0; i < count; i++)
	{
		DsParameter *parameter = &encoder->parameter[i];
		ds_real *mean = trainer->state[i].value;
		ds_real *variance = trainer->state[count + i].value;

		if (parameter->sparse)
		{
			size_t t = i == encoder->first_parameter[0] ? 0 : 1;

			ds_adam_update_rows(adam, rate, step, trainer->gradient_scale, trainer->row_count[t],
								parameter->shape[1], trainer->rows[t], trainer->d_rows[t],
								parameter->value, mean, variance);
		}
		else if (i != encoder->scale_parameter)
			ds_adam_update(adam, rate, step, trainer->gradient_scale, parameter->count,
						   trainer->gradient[i], parameter->value, mean, variance);
		else if (trainer->config.learn_temperature && trainer->config.loss == DS_LOSS_SOFTMAX)
		{
			DsAdam plain = *adam;
			double highest = -log(TEMPERATURE_MIN);
			double lowest = -log(TEMPERATURE_MAX);

			/* decay would pull the temperature towards 1 */
			plain.weight_decay = 0;
			ds_adam_update(&plain, rate, step, trainer->gradient_scale, 1, trainer->gradient[i],
						   parameter->value, mean, variance);
			if ((double) parameter->value[0] > highest)
				parameter->value[0] = (ds_real) highest;
			if ((double) parameter->value[0] < lowest)
				parameter->value[0] = (ds_real) lowest;
		}
	}
}

void
ds_trainer_gradient(const DsTrainer *trainer, size_t parameter, ds_real *out)
{
	const DsDualEncoder *encoder = trainer->encoder;
	const DsParameter *p = &encoder->parameter[parameter];
	size_t t = parameter == encoder->first_parameter[0] ? 0 : 1;

	if (!p->sparse)
	{
		memcpy(out, trainer->gradient[parameter], p->count * sizeof(ds_real));
		return;
	}
	memset(out, 0, p->count * sizeof(ds_real));
	for (size_t r = 0; r < trainer->row_count[t]; r++)
		memcpy(out + trainer->rows[t][r] * p->shape[1], trainer->d_rows[t] + r * p->shape[1],
			   p->shape[1] * sizeof(ds_real));
}

DsCode
ds_trainer_step(DsTrainer *trainer, const DsTrainBatch *batch, DsStepResult *result,
				const DsCancel *cancel, DsStatus *status)
{
	static void (*const parts[])(DsTrainer *, int) = {
		ds_trainer_forward_shard, ds_trainer_loss_shard, ds_trainer_backward_shard};
	DsCode code = ds_trainer_begin(trainer, batch, status);

	if (code != DS_OK)
		return code;
	trainer->cancel = cancel;
	for (int s = 0; s < DS_SHARDS; s++)
		trainer->shard[s].cancelled = false;
	for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++)
		for (int s = 0; s < DS_SHARDS; s++)
		{
			if (ds_cancelled(cancel))
				return ds_fail(status, DS_CANCELLED, "cancelled");
			parts[p](trainer, s);
			if (trainer->shard[s].cancelled)
				return ds_fail(status, DS_CANCELLED, "cancelled");
		}
	code = ds_trainer_reduce(trainer, result, status);
	if (code == DS_OK)
		ds_trainer_update(trainer);
	return code;
}
