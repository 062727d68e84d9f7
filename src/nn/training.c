/*
 * training.c
 *		A training step, and what of it belongs to no shard.
 *
 * A step takes a batch of pairs and moves the parameters a little such that the
 * loss falls.  It is cut into shards so that several workers can share it and
 * still get, to the last bit, the weights that one alone would get:
 *
 *   1. begin: check the batch, cut it
 *   2. forward (each shard): texts through their towers; vectors to where all see them
 *   3. loss (each shard): gradients by the vectors
 *   4. backward (each shard): back through the towers to gradients of the parameters
 *   5. reduce (parameters dealt out to workers): sum the shards' gradients, in a
 *      fixed order, onto those of the step's earlier batches; squares for the norm
 *   6. result: the norm; refuse numbers that are not finite
 *   7. update (parameters dealt out to workers): the optimizer
 *
 * The gradient of a table of embeddings has as many rows as the batch has distinct ids
 * (some thousands); training_rows.c finds and adds them up.  An optimizer that is lazy
 * touches these only.
 *
 * Reduce and update go through units (training_private.h), unit u by worker
 * u % workers; unit by unit the squares are added up, so the norm is the same for
 * any number of workers.
 *
 * Limits.  A batch's texts, vectors and gradients are held in memory whole, with
 * (pairs + documents) * dims numbers of gradients a shard; dense parameters have a
 * gradient for each of the four shards.
 */
#include "nn/training.h"

#include <math.h>
#include <string.h>

#include "base/pages.h"
#include "nn/image_tower.h"
#include "nn/simd.h"
#include "nn/training_private.h"

bool
ds_training_reserve(DsArena *arena, Room *room, size_t count, size_t width, size_t size,
					void *array)
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
		if (room->at != NULL)
			ds_arena_release(arena, room->at);
		room->at = ds_arena_alloc(arena, more, 1);
		room->bytes = room->at != NULL ? more : 0;
		if (room->at == NULL)
			return false;
		ds_prefer_large_pages(room->at, more);
	}
	memcpy(array, &room->at, sizeof(void *));
	return true;
}

void
ds_training_sum(const ds_real *const part[DS_SHARDS], size_t n, ds_real *out)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	bool any = false;

	for (size_t s = 0; s < DS_SHARDS; s++)
	{
		if (part[s] == NULL)
			continue;
		if (any)
			kernels->add(out, part[s], n);
		else if (part[s] != out && n > 0)
			memcpy(out, part[s], n * sizeof(ds_real));
		any = true;
	}
	if (!any && n > 0)
		memset(out, 0, n * sizeof(ds_real));
}

/*
 * Begin
 */

DsCode
ds_training_check_texts(const DsTrainer *trainer, size_t tower, const DsTrainTexts *texts,
						size_t begin, size_t end, const char *what, DsStatus *status)
{
	const DsTower *t = &trainer->head->net.tower[tower];
	bool transformer = t->body == DS_BODY_TRANSFORMER;
	uint32_t vocabulary = transformer ? t->spec.vocabulary : t->bag.vocabulary;
	const size_t *offsets = texts->offsets;
	uint32_t highest = 0;

	for (size_t i = begin; has_pictures(t) && i < end; i++)
	{
		uint32_t picture = texts->picture != NULL ? texts->picture[i] : DS_NO_PICTURE;

		if (picture == DS_NO_PICTURE && t->body == DS_BODY_IMAGE)
			return ds_fail(status, DS_INVALID, "%s %zu has no picture", what, i);
		if (picture != DS_NO_PICTURE && picture >= texts->pictures)
			return ds_fail(status, DS_INVALID, "%s %zu has picture %u of %zu", what, i, picture,
						   texts->pictures);
	}
	for (size_t i = begin; has_ids(t) && i < end; i++)
	{
		if (offsets[i] > offsets[i + 1])
			return ds_fail(status, DS_INVALID, "the batch's %s offsets fall at text %zu", what, i);
		if (transformer && offsets[i + 1] - offsets[i] > t->spec.max_tokens)
			return ds_fail(status, DS_INVALID, "a %s has %zu tokens, the model takes %u", what,
						   offsets[i + 1] - offsets[i], t->spec.max_tokens);
	}
	if (!has_ids(t))
		return DS_OK;
	for (size_t i = offsets[begin]; i < offsets[end]; i++)
		highest = texts->ids[i] > highest ? texts->ids[i] : highest;
	if (highest >= vocabulary)
		return ds_fail(status, DS_BAD_DATA,
					   "%s token id %u is outside the embedding table of %u rows", what, highest,
					   vocabulary);
	if (transformer && texts->types != NULL && t->spec.types > 0)
		for (size_t i = offsets[begin]; i < offsets[end]; i++)
			if (texts->types[i] >= t->spec.types)
				return ds_fail(status, DS_INVALID, "token type %u, the model has %u",
							   texts->types[i], t->spec.types);
	return DS_OK;
}

static size_t
length(const DsTrainTexts *texts, size_t text)
{
	return texts->offsets != NULL ? texts->offsets[text + 1] - texts->offsets[text] : 0;
}

/* Others of pair i: those before it, counted from pairs on */
static size_t
others_before(const DsTrainBatch *batch, size_t pair)
{
	if (batch->others != NULL)
		return batch->others[pair];
	return (batch->documents - batch->pairs) * pair / batch->pairs;
}

/* tokens of a pair with all its documents */
static size_t
pair_tokens(const DsTrainer *trainer, const DsTrainBatch *batch, size_t pair)
{
	size_t tokens = length(&batch->document, pair);

	if (trainer->head->net.kind == DS_NET_DUAL)
		tokens += length(&batch->query, pair);
	for (size_t k = others_before(batch, pair); k < others_before(batch, pair + 1); k++)
		tokens += length(&batch->document, batch->pairs + k);
	return tokens;
}

static DsCode
check_batch(const DsTrainer *trainer, const DsTrainBatch *batch, DsStatus *status)
{
	const BlockHeader *head = trainer->head;
	const DsNet *net = &head->net;
	bool dual = net->kind == DS_NET_DUAL;
	DsLoss loss = head->config.loss;
	size_t t = side_tower(net, DS_SIDE_DOCUMENT);
	DsCode code = DS_OK;

	if (batch->pairs < 1 || batch->documents < batch->pairs || batch->pairs > head->limits.pairs ||
		batch->documents > head->limits.documents)
		return ds_fail(status, DS_INVALID,
					   "a batch must have a pair at least, and %zu pairs and %zu documents at "
					   "most, not %zu pairs and %zu documents",
					   head->limits.pairs, head->limits.documents, batch->pairs, batch->documents);
	for (size_t i = 0; batch->others != NULL && i < batch->pairs; i++)
		if (batch->others[i] > batch->others[i + 1])
			return ds_fail(status, DS_INVALID, "the batch's lists are not in order");
	if (batch->others != NULL ? batch->others[0] != 0 ||
									batch->others[batch->pairs] != batch->documents - batch->pairs
							  : batch->documents > batch->pairs && !in_batch(loss))
		return ds_fail(status, DS_INVALID, "the batch's lists do not hold all of its documents");
	for (size_t i = 0; batch->known_offsets != NULL && i < batch->pairs; i++)
		for (size_t k = batch->known_offsets[i]; k < batch->known_offsets[i + 1]; k++)
			if (batch->known[k] >= batch->documents)
				return ds_fail(status, DS_INVALID, "document %u is not in the batch",
							   batch->known[k]);
	if (dual)
		code = ds_training_check_texts(trainer, 0, &batch->query, 0, batch->pairs, "query", status);
	if (code == DS_OK)
		code = ds_training_check_texts(trainer, t, &batch->document, 0, batch->documents,
									   "document", status);
	if (code != DS_OK)
		return code;
	if (ds_loss_labels(loss) && batch->labels == NULL)
		return ds_fail(status, DS_INVALID, "the loss needs labels");
	for (size_t i = 0; loss == DS_LOSS_CLASSES && i < batch->documents; i++)
		if (!(batch->labels[i] >= 0 && batch->labels[i] < (float) head->dims &&
			  batch->labels[i] == floorf(batch->labels[i])))
			return ds_fail(status, DS_INVALID, "a label must be a class from 0 to %zu, not %g",
						   (size_t) head->dims - 1, (double) batch->labels[i]);
	return DS_OK;
}

/* A text counts as one token more; tokens cost next to nothing beside pictures */
static uint64_t
pair_work(const DsTrainer *trainer, const DsTrainBatch *batch, size_t pair)
{
	const DsNet *net = &trainer->head->net;

	for (size_t t = 0; t < net_towers(net); t++)
		if (has_pictures(&net->tower[t]))
			return 1 + (others_before(batch, pair + 1) - others_before(batch, pair));
	return pair_tokens(trainer, batch, pair) + 1;
}

/* Where shards begin: at equal shares of the work */
static DsCode
cut_batch(DsTrainer *trainer, const DsTrainBatch *batch, DsStatus *status)
{
	const DsTrainLimits *limits = &trainer->head->limits;
	uint64_t tokens = 0;
	uint64_t total = 0;
	uint64_t before = 0;
	size_t shard = 0;

	for (size_t i = 0; i < batch->pairs; i++)
	{
		size_t n = pair_tokens(trainer, batch, i);

		if (n > limits->longest)
			return ds_fail(status, DS_INVALID, "a pair has %zu tokens, at most %zu were announced",
						   n, limits->longest);
		tokens += n;
		total += pair_work(trainer, batch, i);
	}
	if (tokens > limits->tokens)
		return ds_fail(status, DS_INVALID, "a batch has %llu tokens, at most %zu were announced",
					   (unsigned long long) tokens, limits->tokens);
	for (size_t i = 0; i < batch->pairs; i++)
	{
		uint64_t work = pair_work(trainer, batch, i);

		/* the first one behind the share, or halfway over it */
		while (shard < DS_SHARDS && (2 * before + work) * DS_SHARDS > 2 * total * shard)
			trainer->shard[shard++].pair_begin = i;
		before += work;
	}
	for (; shard < DS_SHARDS; shard++)
		trainer->shard[shard].pair_begin = batch->pairs;
	for (size_t s = 0; s < DS_SHARDS; s++)
	{
		Shard *at = &trainer->shard[s];

		at->pair_end = s + 1 < DS_SHARDS ? at[1].pair_begin : batch->pairs;
		at->other_begin = batch->pairs + others_before(batch, at->pair_begin);
		at->other_end = batch->pairs + others_before(batch, at->pair_end);
	}
	return DS_OK;
}

void
ds_trainer_cancel(DsTrainer *trainer, const DsCancel *cancel)
{
	trainer->cancel = cancel;
}

DsCode
ds_trainer_begin(DsTrainer *trainer, const DsTrainBatch *batch, uint32_t number, DsStatus *status)
{
	DsCode code = check_batch(trainer, batch, status);

	if (code == DS_OK)
		code = cut_batch(trainer, batch, status);
	if (code != DS_OK)
		return code;
	trainer->batch = *batch;
	trainer->pairs = batch->pairs + (number > 0 ? trainer->pairs : 0);
	trainer->number = number;
	trainer->behind = 0;
	trainer->steps = trainer->head->steps;
	return DS_OK;
}

/*
 * Reduce
 */

static void
reduce_dense(DsTrainer *trainer, const BlockParameter *p, const Share *share)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	const BlockHeader *head = trainer->head;
	double *squares = (double *) (void *) (trainer->block + head->squares);
	ds_real scratch[256];

	for (uint64_t u = 0; u < p->units; u++)
	{
		size_t begin = u * UNIT_VALUES;
		size_t end = begin + UNIT_VALUES < p->count ? begin + UNIT_VALUES : p->count;
		ds_real *out = block_reals(trainer, head->sum) + p->gradient;
		size_t block = 256; /* so that sums stay in the first level of cache */

		if (!is_mine(share, u))
			continue;
		for (size_t at = begin; at < end; at += block)
		{
			size_t n = end - at < block ? end - at : block;
			const ds_real *part[DS_SHARDS];

			for (size_t s = 0; s < DS_SHARDS; s++)
				part[s] = p->product && head->merged[s][p->tower]
							  ? NULL
							  : block_reals(trainer, head->slot[s]) + p->gradient + at;
			if (trainer->number == 0)
			{
				ds_training_sum(part, n, out + at);
				continue;
			}
			ds_training_sum(part, n, scratch);
			kernels->add(out + at, scratch, n);
		}
		squares[share->unit + u] =
			p->statistic ? 0 : (double) kernels->dot(out + begin, out + begin, end - begin);
	}
}

void
ds_trainer_reduce(DsTrainer *trainer, int worker, int workers)
{
	const BlockHeader *head = trainer->head;
	Share share = {0, worker, workers};

	for (uint64_t i = 0; i < head->parameters; i++)
	{
		const BlockParameter *p = &trainer->parameter[i];

		if (p->frozen)
			continue;
		if (p->sparse)
			ds_training_reduce_rows(trainer, p, &share);
		else
			reduce_dense(trainer, p, &share);
		share.unit += p->units;
	}
}

DsCode
ds_trainer_result(DsTrainer *trainer, DsStepResult *result, DsStatus *status)
{
	const BlockHeader *head = trainer->head;
	const DsTrainConfig *config = &head->config;
	const double *squares = (const double *) (const void *) (trainer->block + head->squares);
	const ShardResult *shard = head->result;
	DsStepResult *r = &trainer->result;
	double batches = trainer->number + 1.0;
	double square = 0;
	uint64_t correct = 0;

	for (uint64_t u = 0; u < head->units; u++)
		square += squares[u];
	for (size_t s = 0; s < DS_SHARDS; s++)
		correct += shard[s].correct;
	r->step = trainer->steps + 1;
	r->loss = ((shard[0].loss + shard[1].loss) + (shard[2].loss + shard[3].loss)) / batches;
	r->accuracy = (double) correct / (double) trainer->pairs;
	r->gradient_norm = sqrt(square) / batches;
	r->learning_rate = ds_schedule_rate(&config->schedule, trainer->steps);
	r->temperature = 1 / ds_training_scale(trainer);
	trainer->gradient_scale = 1 / batches;
	if (config->clip_norm > 0 && r->gradient_norm > config->clip_norm)
		trainer->gradient_scale *= config->clip_norm / r->gradient_norm;
	if (result != NULL)
		*result = *r;
	if (!isfinite(r->loss) || !isfinite(r->gradient_norm))
		return ds_fail(status, DS_OUT_OF_RANGE,
					   "training diverged at step %llu: the %s is not a finite number",
					   (unsigned long long) r->step, isfinite(r->loss) ? "gradient" : "loss");
	return DS_OK;
}

/*
 * Update
 */

static void
update_dense(DsTrainer *trainer, size_t number, const DsUpdate *update, const Share *share)
{
	const BlockHeader *head = trainer->head;
	const BlockParameter *p = &trainer->parameter[number];
	const ds_real *gradient = block_reals(trainer, head->sum) + p->gradient;
	ds_real *value = parameter_value(trainer, number);
	ds_real *first = head->states > 0 ? block_reals(trainer, p->state[0]) : NULL;
	ds_real *second = head->states > 1 ? block_reals(trainer, p->state[1]) : NULL;

	for (uint64_t u = 0; u < p->units; u++)
	{
		size_t at = u * UNIT_VALUES;
		size_t n = p->count - at < UNIT_VALUES ? p->count - at : UNIT_VALUES;

		if (is_mine(share, u))
			ds_optimizer_update(update, n, gradient + at, value + at,
								first != NULL ? first + at : NULL,
								second != NULL ? second + at : NULL);
	}
	if (number == trainer->scale && is_mine(share, 0))
	{
		double highest = -log(TEMPERATURE_MIN);
		double lowest = -log(TEMPERATURE_MAX);

		if ((double) value[0] > highest)
			value[0] = (ds_real) highest;
		if ((double) value[0] < lowest)
			value[0] = (ds_real) lowest;
	}
}

/* A moving average: what the shards left adds up to the batch's moments */
static void
update_average(DsTrainer *trainer, size_t number, const Share *share)
{
	const BlockHeader *head = trainer->head;
	const BlockParameter *p = &trainer->parameter[number];
	const ds_real *moments = block_reals(trainer, head->sum) + p->gradient;
	ds_real *value = parameter_value(trainer, number);
	double batches = trainer->number + 1.0;

	for (uint64_t u = 0; u < p->units; u++)
		for (size_t i = u * UNIT_VALUES;
			 is_mine(share, u) && i < p->count && i < (u + 1) * UNIT_VALUES; i++)
			value[i] +=
				(ds_real) (DS_NORM_MOMENTUM * ((double) moments[i] / batches - (double) value[i]));
}

void
ds_trainer_update(DsTrainer *trainer, int worker, int workers)
{
	BlockHeader *head = trainer->head;
	Share share = {0, worker, workers};

	for (uint64_t i = 0; i < head->parameters; i++)
	{
		const BlockParameter *p = &trainer->parameter[i];
		DsUpdate update = {.optimizer = &head->config.optimizer,
						   .rate = trainer->result.learning_rate * p->factor,
						   .step = trainer->steps + 1,
						   .gradient_scale = trainer->gradient_scale,
						   .decays = p->decays};

		if (p->frozen)
			continue;
		if (p->statistic)
			update_average(trainer, i, &share);
		else if (p->sparse)
			ds_training_update_rows(trainer, i, &update, &share);
		else
			update_dense(trainer, i, &update, &share);
		share.unit += p->units;
	}
	/* the others look at it behind the barrier */
	if (worker == 0)
	{
		head->steps = trainer->steps + 1;
		head->changed++;
	}
}

DsCode
ds_trainer_step(DsTrainer *trainer, const DsTrainBatch *batches, DsStepResult *result,
				const DsCancel *cancel, DsStatus *status)
{
	static DsCode (*const parts[])(DsTrainer *, int, DsStatus *) = {
		ds_trainer_forward_shard, ds_trainer_loss_shard, ds_trainer_backward_shard};
	DsCode code = DS_OK;

	ds_trainer_cancel(trainer, cancel);
	for (uint32_t i = 0; i < trainer->head->config.accumulate; i++)
	{
		code = ds_trainer_begin(trainer, &batches[i], i, status);
		if (code != DS_OK)
			return code;
		for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++)
			for (int s = 0; s < DS_SHARDS; s++)
			{
				if (ds_cancelled(cancel))
					return ds_fail(status, DS_CANCELLED, "cancelled");
				code = parts[p](trainer, s, status);
				if (code != DS_OK)
					return code;
			}
		ds_trainer_reduce(trainer, 0, 1);
	}
	code = ds_trainer_result(trainer, result, status);
	if (code == DS_OK)
		ds_trainer_update(trainer, 0, 1);
	return code;
}

/*
 * Looking at what steps did
 */

size_t
ds_trainer_changes(const DsTrainer *trainer, size_t parameter, uint32_t *rows)
{
	const BlockParameter *p = &trainer->parameter[parameter];
	const uint8_t *touched = (const uint8_t *) trainer->block + p->touched;
	size_t count = 0;

	if (p->frozen || trainer->head->changed == 0)
		return 0;
	for (size_t row = 0; row < p->shape[0]; row++)
	{
		if (p->sparse && !(touched[row] & TOUCHED_SINCE))
			continue;
		if (rows != NULL)
			rows[count] = (uint32_t) row;
		count++;
	}
	return count;
}

void
ds_trainer_forget_changes(DsTrainer *trainer)
{
	trainer->head->changed = 0;
	for (uint64_t i = 0; i < trainer->head->parameters; i++)
	{
		const BlockParameter *p = &trainer->parameter[i];
		uint8_t *touched = (uint8_t *) trainer->block + p->touched;

		for (size_t row = 0; p->sparse && !p->frozen && row < p->shape[0]; row++)
			touched[row] &= (uint8_t) ~TOUCHED_SINCE;
	}
}

void
ds_trainer_gradient(const DsTrainer *trainer, size_t parameter, ds_real *out)
{
	const BlockParameter *p = &trainer->parameter[parameter];

	if (p->sparse)
		ds_training_gather_rows(trainer, p, out);
	else
		memcpy(out, block_reals(trainer, trainer->head->sum) + p->gradient,
			   p->count * sizeof(ds_real));
}
