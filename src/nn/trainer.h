/*
 * trainer.h
 *		One training step of a dual encoder, whole or in the parts that workers share.
 *
 * A batch is cut into DS_SHARDS shards, always as many, whatever the number of
 * workers that compute them: shard s has the pairs s * n / 4 to (s + 1) * n / 4
 * - 1, and so for the explicit negatives.  All sums over shards are taken as
 * (0 + 1) + (2 + 3).  So the weights do not depend on who computes what.
 *
 * ds_trainer_step() does all of it in one process.  Workers that share the
 * trainer's memory call the parts, with a barrier between the lines:
 *
 *     ds_trainer_begin     one worker         checks and cuts the batch
 *     _forward_shard       each shard once    vectors of the shard's texts
 *     _loss_shard          each shard once    its rows of the loss; gradients by all vectors
 *     _backward_shard      each shard once    gradients of the parameters
 *     _reduce              one worker         sums over shards, norm, clipping
 *     _update              one worker         Adam
 */
#ifndef DS_NN_TRAINER_H
#define DS_NN_TRAINER_H

#include "nn/dual_encoder.h"
#include "nn/loss.h"
#include "nn/optimizer.h"

#define DS_SHARDS 4

typedef struct DsTrainConfig
{
	DsLoss loss;
	bool
		symmetric; /* softmax over documents for a query, and over queries for a document, half each */
	double temperature; /* scores are divided by it (softmax); > 0 */
	bool learn_temperature; /* it is a parameter; stays within 0.01 .. 10 */
	double margin; /* contrastive loss; > 0 */
	double feature_dropout; /* share of a text's features left out at random; 0 <= x < 1 */
	DsSchedule schedule;
	DsAdam adam;
	double clip_norm; /* gradients are scaled down to this L2 norm; 0: never */
	uint64_t seed; /* of the random numbers of training (those of a step: seed, step, shard) */
} DsTrainConfig;

extern const DsTrainConfig ds_train_defaults;

/* What goes well with these defaults, for the loop around the trainer */
#define DS_TRAIN_BATCH_DEFAULT 256
#define DS_TRAIN_EPOCHS_DEFAULT 6
#define DS_TRAIN_BATCH_MAX 65536

extern DsCode ds_train_check(const DsTrainConfig *config, DsStatus *status);

/*
 * A batch: texts as ids (below the tower's vocabulary), ragged.  The first
 * pairs documents are the positives in the order of the queries, the others
 * explicit negatives (of every query).  Keys are equal for equal texts; they
 * keep a document from being a negative of a query that it answers (loss.h).
 */
typedef struct DsTrainBatch
{
	size_t pairs;
	size_t documents; /* pairs + number of explicit negatives */
	const uint32_t *query_ids;
	const size_t *query_offsets; /* [pairs + 1] */
	const uint64_t *query_keys; /* [pairs] or NULL */
	const uint32_t *document_ids;
	const size_t *document_offsets; /* [documents + 1] */
	const uint64_t *document_keys; /* [documents] or NULL */
} DsTrainBatch;

typedef struct DsStepResult
{
	uint64_t step; /* counts from 1 */
	double loss; /* mean over pairs */
	double accuracy; /* share of queries whose own document came first */
	double gradient_norm; /* before clipping */
	double learning_rate;
	double temperature;
} DsStepResult;

typedef struct DsTrainer DsTrainer;

/*
 * encoder has its values (ds_dual_encoder_init() or loaded), and they are
 * trained in place.  Memory, the moments of Adam (twice the parameters)
 * included, comes from the arena and grows with the largest batch.
 */
extern DsCode ds_trainer_create(DsDualEncoder *encoder, const DsTrainConfig *config, DsArena *arena,
								DsTrainer **trainer, DsStatus *status);

/*
 * One step.  Errors: DS_INVALID (shape of the batch), DS_BAD_DATA (an id
 * outside the table), DS_OUT_OF_RANGE (the loss or a gradient is not finite; the
 * parameters are still those before the step), DS_OUT_OF_MEMORY, DS_CANCELLED.
 * After an error the parameters are those before the step.
 */
extern DsCode ds_trainer_step(DsTrainer *trainer, const DsTrainBatch *batch, DsStepResult *result,
							  const DsCancel *cancel, DsStatus *status);

/* The parts of a step */
extern DsCode ds_trainer_begin(DsTrainer *trainer, const DsTrainBatch *batch, DsStatus *status);
extern void ds_trainer_forward_shard(DsTrainer *trainer, int shard);
extern void ds_trainer_loss_shard(DsTrainer *trainer, int shard);
extern void ds_trainer_backward_shard(DsTrainer *trainer, int shard);
extern DsCode ds_trainer_reduce(DsTrainer *trainer, DsStepResult *result, DsStatus *status);
extern void ds_trainer_update(DsTrainer *trainer);

/*
 * What a checkpoint needs beside the parameters: the moments of Adam, listed
 * as parameters ("adam.mean.NAME", "adam.variance.NAME"), and the number of
 * steps made.  Setting both continues a run as if it had never stopped.
 */
extern size_t ds_trainer_state(DsTrainer *trainer, DsParameter **state);
extern uint64_t ds_trainer_steps(const DsTrainer *trainer);
extern void ds_trainer_set_steps(DsTrainer *trainer, uint64_t steps);

/* The gradient of the last step, reduced over shards and dense, for tests: out has the parameter's
 * shape. */
extern void ds_trainer_gradient(const DsTrainer *trainer, size_t parameter, ds_real *out);

#endif /* DS_NN_TRAINER_H */
