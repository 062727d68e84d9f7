/*
 * metrics_compare.c
 *		Bootstrap intervals and paired tests; see metrics_compare.h.
 */
#include "eval/metrics_compare.h"

#include <float.h>
#include <math.h>

#include "base/random.h"
#include "eval/metrics.h"

/* draws, some milliseconds, between two looks at the cancel callback */
#define CANCEL_DRAWS 1000000

/* streams of one seed: what bootstrap and test draw has nothing to do with each other */
#define STREAM_BOOTSTRAP 1
#define STREAM_SIGNS 2

/*
 * Sums of the same differences with other signs differ by rounding: sums are
 * taken for equal when they differ by less than this share of the sum of all
 * absolute values.  Measures are small sums of fractions, so sums that really
 * differ do so by far more.
 */
#define SUM_TOLERANCE 1e-12

DsCode
ds_sampling_check(const DsSampling *sampling, DsStatus *status)
{
	if (sampling->samples < 1)
		return ds_fail(status, DS_INVALID, "the number of samples must be at least 1");
	if (!(sampling->confidence > 0 && sampling->confidence < 1))
		return ds_fail(status, DS_INVALID, "the confidence must be above 0 and below 1, not %g",
					   sampling->confidence);
	return DS_OK;
}

static bool
cancelled(const DsSampling *sampling, uint64_t *draws, size_t n)
{
	*draws += n;
	if (*draws < CANCEL_DRAWS)
		return false;
	*draws = 0;
	return ds_cancelled(sampling->cancel);
}

DsCode
ds_bootstrap(const double *value, size_t n, const DsSampling *sampling, double *scratch,
			 DsInterval *interval, DsStatus *status)
{
	DsRandom random;
	uint64_t draws = 0;
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += value[i];
	interval->mean = sum / (double) n;
	ds_random_init(&random, sampling->seed, STREAM_BOOTSTRAP);
	for (uint32_t s = 0; s < sampling->samples; s++)
	{
		sum = 0;
		if (cancelled(sampling, &draws, n))
			return ds_fail(status, DS_CANCELLED, "cancelled");
		for (size_t i = 0; i < n; i++)
			sum += value[ds_random_below(&random, n)];
		scratch[s] = sum / (double) n;
	}
	ds_sort_values(scratch, sampling->samples);
	interval->low = ds_percentile(scratch, sampling->samples, (1 - sampling->confidence) / 2);
	interval->high = ds_percentile(scratch, sampling->samples, (1 + sampling->confidence) / 2);
	return DS_OK;
}

/*
 * The regularized incomplete beta function I_x(a, b): its continued fraction
 * (NIST Digital Library of Mathematical Functions, 8.17.22) by Lentz's method
 * as Thompson and Barnett have it (J. Comput. Phys. 64, 1986), which converges
 * fast for x < (a + 1) / (a + b + 2).
 */
static double
beta_fraction(double a, double b, double x)
{
	double c = 1;
	double d = 1 - (a + b) * x / (a + 1);
	double value;

	d = fabs(d) < DBL_MIN ? DBL_MIN : d;
	d = 1 / d;
	value = d;
	for (int m = 1; m < 10000; m++)
	{
		double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
		double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
		double change;

		for (int step = 0; step < 2; step++)
		{
			double term = step == 0 ? even : odd;

			d = 1 + term * d;
			d = 1 / (fabs(d) < DBL_MIN ? DBL_MIN : d);
			c = 1 + term / c;
			c = fabs(c) < DBL_MIN ? DBL_MIN : c;
			change = c * d;
			value *= change;
		}
		if (fabs(change - 1) < 4 * DBL_EPSILON)
			break;
	}
	return value;
}

static double
incomplete_beta(double a, double b, double x, double one_minus_x)
{
	int sign;
	double front;

	if (x <= 0 || one_minus_x <= 0)
		return x <= 0 ? 0 : 1;
	front = exp(lgamma_r(a + b, &sign) - lgamma_r(a, &sign) - lgamma_r(b, &sign) + a * log(x) +
				b * log(one_minus_x));
	if (x < (a + 1) / (a + b + 2))
		return front * beta_fraction(a, b, x) / a;
	return 1 - front * beta_fraction(b, a, one_minus_x) / b;
}

double
ds_student_tails(double t, double degrees)
{
	double square = t * t;

	if (isnan(t))
		return NAN;
	if (isinf(square))
		return 0;
	/* I_x(degrees / 2, 1 / 2) with x = degrees / (degrees + t^2): Abramowitz and Stegun, 26.7.1 */
	return incomplete_beta(degrees / 2, 0.5, degrees / (degrees + square),
						   square / (degrees + square));
}

static void
student(const double *difference, size_t n, DsPairedTest *test)
{
	double mean = 0;
	double squares = 0;
	double largest = 0;

	for (size_t i = 0; i < n; i++)
	{
		mean += difference[i];
		largest = fmax(largest, fabs(difference[i]));
	}
	mean /= (double) n;
	for (size_t i = 0; i < n; i++)
		squares += (difference[i] - mean) * (difference[i] - mean);
	test->t = test->p_t = NAN;
	if (n < 2 || largest == 0)
		return;
	/* differences that are all the same have a deviation of some rounding errors at most */
	if (sqrt(squares / (double) n) < SUM_TOLERANCE * largest)
		test->t = mean > 0 ? INFINITY : -INFINITY;
	else
		test->t = mean / sqrt(squares / (double) (n - 1) / (double) n);
	test->p_t = ds_student_tails(test->t, (double) (n - 1));
}

/* All 2^n ways: the bits of a number are the signs */
static DsCode
count_all(const double *value, size_t n, double seen, double tolerance, const DsSampling *sampling,
		  DsPairedTest *test, DsStatus *status)
{
	uint64_t ways = (uint64_t) 1 << n;
	uint64_t as_far = 0;
	uint64_t draws = 0;

	for (uint64_t way = 0; way < ways; way++)
	{
		double sum = 0;

		if (cancelled(sampling, &draws, n))
			return ds_fail(status, DS_CANCELLED, "cancelled");
		for (size_t i = 0; i < n; i++)
			sum += (way >> i) & 1 ? -value[i] : value[i];
		as_far += fabs(sum) >= seen - tolerance;
	}
	test->p_random = (double) as_far / (double) ways;
	test->exact = true;
	return DS_OK;
}

static DsCode
count_some(const double *value, size_t n, double seen, double tolerance, const DsSampling *sampling,
		   DsPairedTest *test, DsStatus *status)
{
	DsRandom random;
	uint64_t as_far = 0;
	uint64_t draws = 0;

	ds_random_init(&random, sampling->seed, STREAM_SIGNS);
	for (uint32_t s = 0; s < sampling->samples; s++)
	{
		uint64_t bits = 0;
		double sum = 0;

		if (cancelled(sampling, &draws, n))
			return ds_fail(status, DS_CANCELLED, "cancelled");
		for (size_t i = 0; i < n; i++, bits >>= 1)
		{
			if (i % 64 == 0)
				bits = ds_random_next(&random);
			sum += bits & 1 ? -value[i] : value[i];
		}
		as_far += fabs(sum) >= seen - tolerance;
	}
	test->p_random = (double) (1 + as_far) / (1 + (double) sampling->samples);
	test->exact = false;
	return DS_OK;
}

DsCode
ds_paired_test(const double *difference, size_t n, const DsSampling *sampling, double *scratch,
			   DsPairedTest *test, DsStatus *status)
{
	size_t signs = 0;
	double sum = 0;
	double absolute = 0;

	test->better = test->worse = 0;
	for (size_t i = 0; i < n; i++)
	{
		test->better += difference[i] > 0;
		test->worse += difference[i] < 0;
		sum += difference[i];
		absolute += fabs(difference[i]);
		if (difference[i] != 0)
			scratch[signs++] = difference[i];
	}
	student(difference, n, test);
	if (signs < 32 && ((uint64_t) 1 << signs) <= sampling->samples)
		return count_all(scratch, signs, fabs(sum), SUM_TOLERANCE * absolute, sampling, test,
						 status);
	return count_some(scratch, signs, fabs(sum), SUM_TOLERANCE * absolute, sampling, test, status);
}
