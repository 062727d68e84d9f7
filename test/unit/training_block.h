/*
 * training_block.h
 *		A trainer in a block of its own, for unit tests.
 */
#ifndef TRAINING_BLOCK_H
#define TRAINING_BLOCK_H

#include "nn/training.h"

/* The last block's size, for tests that copy it */
__attribute__((unused)) static size_t block_size;

__attribute__((unused)) static DsTrainer *
make_trainer(const DsNet *net, const DsTrainConfig *config, const DsTrainLimits *limits,
			 DsArena *arena)
{
	DsStatus status = {0};
	DsTrainer *trainer;
	void *block;

	if (ds_trainer_size(net, config, limits, &block_size, &status) != DS_OK ||
		(block = ds_arena_zero(arena, block_size, 1)) == NULL ||
		ds_trainer_format(block, block_size, net, config, limits, &status) != DS_OK ||
		ds_trainer_attach(block, block_size, arena, &trainer, &status) != DS_OK)
	{
		printf("Bail out! %s\n", status.message);
		exit(1);
	}
	ds_trainer_initialize(trainer);
	return trainer;
}

/* The values of two trainers of the same network, to the bit */
__attribute__((unused)) static bool
same_values(const DsTrainer *a, const DsTrainer *b)
{
	for (size_t i = 0; i < ds_trainer_parameters(a); i++)
	{
		DsTrained p = ds_trainer_parameter(a, i);

		if (memcmp(p.value, ds_trainer_parameter(b, i).value, p.count * sizeof(*p.value)) != 0)
			return false;
	}
	return true;
}

__attribute__((unused)) static DsNet
bag_net(const DsDualEncoderConfig *config)
{
	DsNet net = {.kind = DS_NET_DUAL, .shared = config->shared, .score = config->score};

	for (int t = 0; t < 2; t++)
		net.tower[t] = (DsTower){.body = DS_BODY_BAG, .bag = config->tower[t]};
	return net;
}

/* One batch's way to the gradients, without the update; the shards in some order */
__attribute__((unused)) static DsCode
forward_backward(DsTrainer *trainer, const DsTrainBatch *batch, uint32_t number,
				 DsStepResult *result)
{
	DsStatus status;
	DsCode code = ds_trainer_begin(trainer, batch, number, &status);

	for (int s = 0; s < DS_SHARDS && code == DS_OK; s++)
		code = ds_trainer_forward_shard(trainer, s, &status);
	for (int s = 0; s < DS_SHARDS && code == DS_OK; s++)
		code = ds_trainer_loss_shard(trainer, s, &status);
	for (int s = 0; s < DS_SHARDS && code == DS_OK; s++)
		code = ds_trainer_backward_shard(trainer, s, &status);
	if (code == DS_OK)
		ds_trainer_reduce(trainer, 0, 1);
	if (code == DS_OK && number + 1 == ds_trainer_config(trainer)->accumulate)
		code = ds_trainer_result(trainer, result, &status);
	if (code != DS_OK)
		printf("# %s\n", status.message);
	return code;
}

/*
 * A step that n workers share, each with a handle of its own on one block, over as many batches as
 * it takes.  One alone takes its shards backward in the order in which it adds up products'
 * gradients as it goes, several in one in which they cannot; order means nothing otherwise.
 */
__attribute__((unused)) static DsCode
step_of_workers(DsTrainer **workers, int n, const DsTrainBatch *batches, DsStepResult *result)
{
	DsStatus status;
	DsCode code = DS_OK;
	uint32_t accumulate = ds_trainer_config(workers[0])->accumulate;

	for (uint32_t b = 0; b < accumulate; b++)
	{
		for (int w = 0; w < n && code == DS_OK; w++)
			code = ds_trainer_begin(workers[w], &batches[b], b, &status);
		for (int s = DS_SHARDS; s-- > 0 && code == DS_OK;)
			code = ds_trainer_forward_shard(workers[s % n], s, &status);
		for (int s = 0; s < DS_SHARDS && code == DS_OK; s++)
			code = ds_trainer_loss_shard(workers[s % n], s, &status);
		for (int i = 0; i < DS_SHARDS && code == DS_OK; i++)
		{
			int s = n == 1 ? i : DS_SHARDS - 1 - i;

			code = ds_trainer_backward_shard(workers[s % n], s, &status);
		}
		for (int w = n; w-- > 0 && code == DS_OK;)
			ds_trainer_reduce(workers[w], w, n);
	}
	for (int w = 0; w < n && code == DS_OK; w++)
		code = ds_trainer_result(workers[w], result, &status);
	for (int w = n; w-- > 0 && code == DS_OK;)
		ds_trainer_update(workers[w], w, n);
	return code;
}

/*
 * Steps by n workers (at most 4) on a new block in blocks, each with a handle of its own; the first
 * one's stays, in *trainer.  False: something failed.
 */
__attribute__((unused)) static bool
train_by_workers(int n, const DsNet *net, const DsTrainConfig *config, const DsTrainLimits *limits,
				 const DsTrainBatch *batches, int steps, DsArena *blocks, DsTrainer **trainer,
				 DsStepResult *result)
{
	DsTrainer *worker[4];
	DsArena arena[4];
	bool good = true;

	worker[0] = *trainer = make_trainer(net, config, limits, blocks);
	for (int w = 1; w < n; w++)
	{
		ds_arena_init(&arena[w], NULL);
		/* the block is the first thing that the handle points to */
		good = good && ds_trainer_attach(*(void **) (void *) worker[0], block_size, &arena[w],
										 &worker[w], NULL) == DS_OK;
	}
	for (int step = 0; step < steps; step++)
		good = good && step_of_workers(worker, n, batches, result) == DS_OK;
	for (int w = 1; w < n; w++)
		ds_arena_free(&arena[w]);
	return good;
}

/* What is written to a file or read from one */
typedef struct Memory
{
	char *bytes;
	size_t size;
	size_t at;
	size_t most; /* then the disk is full; 0: there is room for all */
} Memory;

__attribute__((unused)) static DsCode
memory_write(void *context, const void *bytes, size_t size, DsStatus *status)
{
	Memory *m = context;

	if (m->most > 0 && m->size + size > m->most)
		return ds_fail(status, DS_BAD_DATA, "disk full");
	memcpy(m->bytes + m->size, bytes, size);
	m->size += size;
	return DS_OK;
}

__attribute__((unused)) static DsCode
memory_read(void *context, void *bytes, size_t size, DsStatus *status)
{
	Memory *m = context;

	if (m->at + size > m->size)
		return ds_fail(status, DS_BAD_DATA, "the file ends early");
	memcpy(bytes, m->bytes + m->at, size);
	m->at += size;
	return DS_OK;
}

#endif /* TRAINING_BLOCK_H */
