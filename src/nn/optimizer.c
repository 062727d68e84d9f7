/*
 * optimizer.c
 *		Adam, and the schedule of its learning rate.
 */
#include "nn/optimizer.h"

#include <math.h>

#include "nn/simd.h"

double
ds_schedule_rate(const DsSchedule *schedule, uint64_t step)
{
	double t = (double) step;
	double exponent = t / schedule->decay_steps;
	double rate;

	if (schedule->staircase)
		exponent = floor(exponent);
	rate = schedule->initial * pow(schedule->decay, exponent);
	if (rate < schedule->minimum)
		rate = schedule->minimum;
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
factors_of(const DsAdam *adam, double rate, uint64_t step, double gradient_scale)
{
	double correction1 = 1 - pow(adam->beta1, (double) step);
	double correction2 = sqrt(1 - pow(adam->beta2, (double) step));
	DsAdamFactors factors = {
		.gradient_scale = (ds_real) gradient_scale,
		.beta1 = (ds_real) adam->beta1,
		.one_minus_beta1 = (ds_real) (1 - adam->beta1),
		.beta2 = (ds_real) adam->beta2,
		.one_minus_beta2 = (ds_real) (1 - adam->beta2),
		.rate = (ds_real) (rate * correction2 / correction1),
		.epsilon = (ds_real) (adam->epsilon * correction2),
		.keep = (ds_real) (1 - rate * adam->weight_decay),
	};

	return factors;
}

void
ds_adam_update(const DsAdam *adam, double rate, uint64_t step, double gradient_scale, size_t n,
			   const ds_real *gradient, ds_real *value, ds_real *mean, ds_real *variance)
{
	DsAdamFactors factors = factors_of(adam, rate, step, gradient_scale);

	ds_nn_kernels()->adam(&factors, n, gradient, value, mean, variance);
}

void
ds_adam_update_rows(const DsAdam *adam, double rate, uint64_t step, double gradient_scale,
					size_t row_count, size_t dims, const uint32_t *rows, const ds_real *gradient,
					ds_real *value, ds_real *mean, ds_real *variance)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	DsAdamFactors factors = factors_of(adam, rate, step, gradient_scale);

	for (size_t r = 0; r < row_count; r++)
	{
		size_t at = (size_t) rows[r] * dims;

		kernels->adam(&factors, dims, gradient + r * dims, value + at, mean + at, variance + at);
	}
}
