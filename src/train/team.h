/*
 * team.h
 *		The processes that train together: a leader, which is the session, and its workers.
 *
 * All that they share lies in one piece of memory: the trainer's block, one
 * batch, and where they wait for each other.  With one process that is private
 * memory, with more it is dynamic shared memory, and each worker is a dynamic
 * background worker that knows nothing else: no table, no file.  A shard is
 * computed in the same way by whoever has it, and sums are taken in a fixed
 * order (nn/training.h), so the number of processes changes the time, and not
 * one bit of the weights.
 *
 * Between the parts of a step all wait for all.  Where something goes wrong in
 * one (an error, a cancel, its end) it says so in shared memory; the others see
 * that at the next barrier or poll, the workers leave, and the leader raises the
 * error.
 */
#ifndef DS_TRAIN_TEAM_H
#define DS_TRAIN_TEAM_H

#include "server.h"

#include "train/batch.h"

typedef struct DsTeam DsTeam;

/*
 * A team of so many processes, fewer when no more background workers can be
 * had.  Workers and memory go when the current context does, or with
 * ds_team_end().
 */
extern DsTeam *ds_team_create(const DsNet *net, const DsTrainConfig *config,
							  const DsTrainLimits *limits, Size batch_size, int processes);
extern void ds_team_end(DsTeam *team);

/* The trainer, for everything between steps */
extern DsTrainer *ds_team_trainer(DsTeam *team);
extern int ds_team_processes(const DsTeam *team);

/*
 * One step, over config.accumulate batches, which fill() puts into batch one
 * after the other.
 */
extern void ds_team_step(DsTeam *team, void (*fill)(void *context, DsBatch *batch), void *context,
						 DsStepResult *result);

/* How many processes pay: what is wished (0: what the settings and the machine allow) */
extern int ds_team_wish(uint32 wish);

#endif /* DS_TRAIN_TEAM_H */
