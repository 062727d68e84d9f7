/*
 * checkpoint.h
 *		The state of a training in the tables, so that it can go on after a crash
 *		or a cancel.
 *
 * What the arithmetic goes on from (parameters, the optimizer's state, the
 * tokenizers) stands in ds_tensor, as tensors of "model" - run, version 0; where
 * in the data it stood, and how the evaluations went, in the run's row.  There
 * is one checkpoint a model: that of its last run, until a run of it finishes.
 */
#ifndef DS_TRAIN_CHECKPOINT_H
#define DS_TRAIN_CHECKPOINT_H

#include "server.h"

#include "train/trainee.h"

/* Where a training stands, between two steps */
typedef struct DsProgress
{
	uint64 step; /* steps made */
	uint32 epoch; /* from 1 */
	uint64 batch; /* batches of this epoch that have been used */
	double loss_sum; /* over the epoch's steps */
	uint64 loss_count;
	bool has_best;
	double best; /* metric */
	uint64 best_step;
	uint32 since_best; /* evaluations */
} DsProgress;

/* What the data and the settings were; a run goes on only with the same */
typedef struct DsIdentity
{
	const char *source;
	const char *options;
	int32 version; /* of the model when it began */
} DsIdentity;

/* best[parameter], NULL for those without; all NULL when the current values are the best, or there are none */
extern void ds_checkpoint_write(int32 run, const DsIdentity *identity, const DsProgress *progress,
								uint64 digest, const DsTrainee *trainee, DsTrainer *trainer,
								float *const *best);

/* The interrupted run of this model that has one, is the current user's, and had the same identity */
extern bool ds_checkpoint_find(const char *model, const DsIdentity *identity, int32 *run,
							   DsProgress *progress, uint64 *digest);

/* Its tensors, before and after there is a trainer; best[parameter] are filled where it has them. */
extern void ds_checkpoint_read_trainee(int32 run, DsTrainee *trainee);
extern void ds_checkpoint_read_trainer(int32 run, DsTrainer *trainer, float *const *best,
									   bool *has_best);

/* A run of the model has finished. */
extern void ds_checkpoint_drop(const char *model);

#endif /* DS_TRAIN_CHECKPOINT_H */
