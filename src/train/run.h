/*
 * run.h
 *		The record of a training: ds_training_run, ds_training_step, NOTICEs.
 */
#ifndef DS_TRAIN_RUN_H
#define DS_TRAIN_RUN_H

#include "server.h"

#include "model/model.h"
#include "nn/training.h"
#include "train/metric.h"

#include "utils/timestamp.h"

#define DS_RUN_BUFFER 1024

typedef struct DsRunStep
{
	int64 step;
	int32 epoch;
	DsStepResult result;
	double seconds;
	TimestampTz at;
} DsRunStep;

typedef struct DsRun
{
	int32 id;
	const char *model;
	int64 steps; /* in all */
	uint32 epochs;

	DsRunStep buffer[DS_RUN_BUFFER]; /* steps that are not written down yet */
	int buffered;
	TimestampTz flushed;

	TimestampTz began; /* the first step of this process */
	int64 began_step;
	TimestampTz last; /* the end of the last step, or of what came between */
	TimestampTz noticed;
	int64 noticed_step;
	double loss_sum; /* since the last notice */
	int64 loss_count;
	double epoch_sum;
	int64 epoch_count;
	double last_epoch_loss;
} DsRun;

/*
 * All of these write as the tables' owner; SPI must be connected.
 */

/* A new run in state running.  Runs that say so and are not, because their process is gone, become
 * crashed: the caller has the model's lock. */
extern void ds_run_begin(DsRun *run, const char *model, const char *source, Jsonb *options,
						 uint32 epochs);

/* An interrupted one goes on behind a step; what it did after that is forgotten. */
extern void ds_run_resume(DsRun *run, int32 id, const char *model, uint32 epochs, int64 step);

/* What is known after the source has been read; step is the last one that was made before */
extern void ds_run_source(DsRun *run, int64 pairs, int64 skipped, int64 steps, int64 step,
						  int processes);

/* Remember a step, and say something about it from time to time; true when ds_run_flush() is due */
extern bool ds_run_step(DsRun *run, const DsStepResult *result, int64 step, uint32 epoch);
extern void ds_run_epoch(DsRun *run, uint32 epoch);
extern void ds_run_flush(DsRun *run);

/* The time since the last step is not the next one's. */
extern void ds_run_pause(DsRun *run);

extern void ds_run_metrics(DsRun *run, const DsMetrics *metrics, int64 step, uint32 epoch,
						   bool best);

extern void ds_run_end(DsRun *run, const char *state, int32 version, const char *message);

#endif /* DS_TRAIN_RUN_H */
