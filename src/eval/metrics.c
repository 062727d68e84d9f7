/*
 * metrics.c
 *		The measures of information retrieval; see metrics.h.
 */
#include "eval/metrics.h"

#include <math.h>
#include <stdlib.h>

/*
 * Limits that keep every sum over a list finite: 2^1000 leaves room for some
 * 10^7 documents below the largest double, 1e15 is where counts stop to be
 * exact anyway.
 */
#define GRADE_MAX_LINEAR 1e15
#define GRADE_MAX_EXPONENTIAL 1000.0

DsCode
ds_grade_check(double grade, DsGain gain, DsStatus *status)
{
	double max = gain == DS_GAIN_EXPONENTIAL ? GRADE_MAX_EXPONENTIAL : GRADE_MAX_LINEAR;

	if (!isfinite(grade))
		return ds_fail(status, DS_INVALID, "a grade must be a finite number");
	if (grade > max)
		return ds_fail(status, DS_INVALID, "grade %g is above %g, the largest for %s gain", grade,
					   max, gain == DS_GAIN_EXPONENTIAL ? "exponential" : "linear");
	return DS_OK;
}

static size_t
smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t
count_relevant(const double *grade, size_t n, size_t k)
{
	size_t found = 0;

	for (size_t i = 0; i < smaller(n, k); i++)
		found += grade[i] > 0;
	return found;
}

double
ds_precision(const double *grade, size_t n, size_t k)
{
	return (double) count_relevant(grade, n, k) / (double) k;
}

double
ds_recall(const double *grade, size_t n, size_t relevant, size_t k)
{
	return (double) count_relevant(grade, n, k) / (double) relevant;
}

double
ds_reciprocal_rank(const double *grade, size_t n, size_t k)
{
	for (size_t i = 0; i < smaller(n, k); i++)
	{
		if (grade[i] > 0)
			return 1.0 / (double) (i + 1);
	}
	return 0;
}

bool
ds_hit(const double *grade, size_t n, size_t k)
{
	return count_relevant(grade, n, k) > 0;
}

double
ds_average_precision(const double *grade, size_t n, size_t relevant, size_t k)
{
	size_t found = 0;
	double sum = 0;

	for (size_t i = 0; i < smaller(n, k); i++)
	{
		if (grade[i] > 0)
			sum += (double) ++found / (double) (i + 1);
	}
	return sum / (double) relevant;
}

static double
discounted_gain(const double *grade, size_t n, size_t k, DsGain gain)
{
	double sum = 0;

	for (size_t i = 0; i < smaller(n, k); i++)
	{
		if (grade[i] > 0)
			sum += (gain == DS_GAIN_EXPONENTIAL ? exp2(grade[i]) - 1 : grade[i]) /
				   log2((double) i + 2);
	}
	return sum;
}

double
ds_ndcg(const double *grade, size_t n, const double *ideal, size_t n_ideal, size_t k, DsGain gain)
{
	return discounted_gain(grade, n, k, gain) / discounted_gain(ideal, n_ideal, k, gain);
}

static int
compare_ascending(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return (x > y) - (x < y);
}

static int
compare_descending(const void *a, const void *b)
{
	return compare_ascending(b, a);
}

void
ds_sort_grades(double *grade, size_t n)
{
	if (n > 1)
		qsort(grade, n, sizeof(double), compare_descending);
}

void
ds_sort_values(double *value, size_t n)
{
	if (n > 1)
		qsort(value, n, sizeof(double), compare_ascending);
}

double
ds_percentile(const double *sorted, size_t n, double p)
{
	double position = p * (double) (n - 1);
	size_t low = (size_t) position;

	if (low + 1 >= n)
		return sorted[n - 1];
	return sorted[low] + (position - (double) low) * (sorted[low + 1] - sorted[low]);
}
