/*
 * optimizer.h
 *		Optimizers and the learning rate's schedule.
 */
#ifndef DS_NN_OPTIMIZER_H
#define DS_NN_OPTIMIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nn/real.h"

typedef enum DsScheduleKind
{
	DS_SCHEDULE_EXPONENTIAL, /* max(initial * decay^(t / decay_steps), minimum); staircase rounds t /
							  * decay_steps down */
	DS_SCHEDULE_CONSTANT,
	DS_SCHEDULE_LINEAR, /* in a line from initial behind the warm-up to minimum at total_steps */
	DS_SCHEDULE_COSINE /* likewise, in half a cosine */
} DsScheduleKind;

/* All rise in a line over the first warmup_steps.  t counts from 0. */
typedef struct DsSchedule
{
	DsScheduleKind kind;
	double initial;
	double decay; /* 0 < decay <= 1 */
	double decay_steps; /* > 0 */
	double minimum;
	double warmup_steps; /* 0: none */
	double
		total_steps; /* LINEAR, COSINE: > warmup_steps; the rate stays at its minimum behind them */
	int staircase;
} DsSchedule;

typedef enum DsOptimizerKind
{
	DS_OPTIMIZER_ADAMW, /* decay decoupled: weights shrink by rate * weight_decay a step */
	DS_OPTIMIZER_ADAM, /* decay is part of the gradient */
	DS_OPTIMIZER_SGD /* with momentum, as PyTorch has it; decay is part of the gradient */
} DsOptimizerKind;

/* Weights decay, biases, norms and the temperature never do */
typedef struct DsOptimizer
{
	DsOptimizerKind kind;
	double beta1;
	double beta2;
	double epsilon;
	double momentum; /* SGD; 0: none */
	double weight_decay; /* 0: none */
} DsOptimizer;

extern double ds_schedule_rate(const DsSchedule *schedule, uint64_t step);

/*
 * One step over n numbers of one array.  step counts from 1; gradient is multiplied by
 * gradient_scale first (clipping).  first and second are the optimizer's arrays: mean and variance
 * of Adam (Kingma & Ba, ICLR 2015, algorithm 1), the momentum of SGD in the first (NULL without).
 * On x86 subnormal numbers count as 0 here: base/subnormal.h.
 */
typedef struct DsUpdate
{
	const DsOptimizer *optimizer;
	double rate;
	uint64_t step;
	double gradient_scale;
	bool decays; /* weight_decay counts */
} DsUpdate;

extern void ds_optimizer_update(const DsUpdate *update, size_t n, const ds_real *gradient,
								ds_real *value, ds_real *first, ds_real *second);

/* The same for some rows of a table of this width; gradient[i] is that of rows[i] */
extern void ds_optimizer_update_rows(const DsUpdate *update, const uint32_t *rows, size_t row_count,
									 size_t dims, const ds_real *const *gradient, ds_real *value,
									 ds_real *first, ds_real *second);

#endif /* DS_NN_OPTIMIZER_H */
