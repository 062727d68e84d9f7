/*
 * optimizer.c
 *		Adam, AdamW and SGD, and the schedule of their learning rate.
 */
#include "nn/optimizer.h"

#include <math.h>

#include "base/subnormal.h"
#include "nn/simd.h"

#define ROWS_AHEAD 4 /* rows between the one that is fetched and the one that is updated */

double
ds_schedule_rate(const DsSchedule *schedule, uint64_t step)
{
	double t = (double) step;
	double rate = schedule->initial;
	double way = (t - schedule->warmup_steps) / (schedule->total_steps - schedule->warmup_steps);
	double exponent;

	way = way < 0 ? 0 : way > 1 ? 1 : way;
	switch (schedule->kind)
	{
		case DS_SCHEDULE_EXPONENTIAL:
			exponent = t / schedule->decay_steps;
			if (schedule->staircase)
				exponent = floor(exponent);
			rate *= pow(schedule->decay, exponent);
			if (rate < schedule->minimum)
				rate = schedule->minimum;
			break;
		case DS_SCHEDULE_CONSTANT:
			break;
		case DS_SCHEDULE_LINEAR:
			rate += (schedule->minimum - rate) * way;
			break;
		case DS_SCHEDULE_COSINE:
			rate = schedule->minimum + (rate - schedule->minimum) * (1 + cos(M_PI * way)) / 2;
			break;
	}
	if (t < schedule->warmup_steps)
		rate *= (t + 1) / schedule->warmup_steps;
	return rate;
}

/*
 * The bias corrections 1 / (1 - beta^t) of both moments are folded into the
 * rate and epsilon, as the paper proposes in section 2, but with epsilon
 * scaled too, so that the result is that of algorithm 1.
 */
static DsAdamFactors
factors_of(const DsUpdate *update)
{
	const DsOptimizer *adam = update->optimizer;
	double correction1 = 1 - pow(adam->beta1, (double) update->step);
	double correction2 = sqrt(1 - pow(adam->beta2, (double) update->step));
	double decay = update->decays ? adam->weight_decay : 0;
	DsAdamFactors factors = {
		.gradient_scale = (ds_real) update->gradient_scale,
		.beta1 = (ds_real) adam->beta1,
		.one_minus_beta1 = (ds_real) (1 - adam->beta1),
		.beta2 = (ds_real) adam->beta2,
		.one_minus_beta2 = (ds_real) (1 - adam->beta2),
		.rate = (ds_real) (update->rate * correction2 / correction1),
		.epsilon = (ds_real) (adam->epsilon * correction2),
		.keep = (ds_real) (adam->kind == DS_OPTIMIZER_ADAMW ? 1 - update->rate * decay : 1),
		.decay = (ds_real) (adam->kind == DS_OPTIMIZER_ADAM ? decay : 0),
	};

	return factors;
}

/* As PyTorch: the momentum is a sum that decays, and begins with the first gradient */
static void
descend(const DsUpdate *update, size_t n, const ds_real *gradient, ds_real *value,
		ds_real *momentum)
{
	const DsOptimizer *sgd = update->optimizer;
	ds_real decay = (ds_real) (update->decays ? sgd->weight_decay : 0);
	ds_real scale = (ds_real) update->gradient_scale;
	ds_real keep = (ds_real) sgd->momentum;
	ds_real rate = (ds_real) update->rate;

	for (size_t i = 0; i < n; i++)
	{
		ds_real g = gradient[i] * scale + decay * value[i];

		if (momentum != NULL)
			g = momentum[i] = keep * momentum[i] + g;
		value[i] -= rate * g;
	}
}

void
ds_optimizer_update(const DsUpdate *update, size_t n, const ds_real *gradient, ds_real *value,
					ds_real *first, ds_real *second)
{
	unsigned subnormals = ds_flush_subnormals();

	if (update->optimizer->kind == DS_OPTIMIZER_SGD)
		descend(update, n, gradient, value, first);
	else
	{
		DsAdamFactors factors = factors_of(update);

		ds_nn_kernels()->adam(&factors, n, gradient, value, first, second);
	}
	ds_keep_subnormals(subnormals);
}

void
ds_optimizer_update_rows(const DsUpdate *update, const uint32_t *rows, size_t row_count,
						 size_t dims, const ds_real *const *gradient, ds_real *value,
						 ds_real *first, ds_real *second)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	bool adam = update->optimizer->kind != DS_OPTIMIZER_SGD;
	DsAdamFactors factors = {0};
	unsigned subnormals = ds_flush_subnormals();

	if (adam)
		factors = factors_of(update);
	for (size_t r = 0; r < row_count; r++)
	{
		size_t at = (size_t) rows[r] * dims;

		/* rows that are in no order a processor could guess */
		if (r + ROWS_AHEAD < row_count)
		{
			size_t next = (size_t) rows[r + ROWS_AHEAD] * dims;

			for (size_t i = 0; i < dims; i += 64 / sizeof(ds_real))
			{
				__builtin_prefetch(value + next + i, 1, 3);
				if (first != NULL)
					__builtin_prefetch(first + next + i, 1, 3);
				if (second != NULL)
					__builtin_prefetch(second + next + i, 1, 3);
			}
		}
		if (adam)
			kernels->adam(&factors, dims, gradient[r], value + at, first + at, second + at);
		else
			descend(update, dims, gradient[r], value + at, first != NULL ? first + at : NULL);
	}
	ds_keep_subnormals(subnormals);
}
