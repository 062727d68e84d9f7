/*
 * metrics_compare.h
 *		How sure is a mean over queries, and is one search better than another?
 *
 * A measure gives one value a query.  Another set of queries would have given
 * another mean, so two questions come with each figure: between which bounds
 * would it lie, and would the difference of two searches be as large if there
 * were none?  The queries of both searches are the same, so the differences
 * query by query are looked at, not the two means.
 *
 * Bounds: the percentile bootstrap (Efron, "Bootstrap methods: another look at
 * the jackknife", Annals of Statistics 7, 1979; for search: Sakai, SIGIR
 * 2006).  n values are drawn from the n that there are, with replacement,
 * their mean taken, and this again many times; the bounds are the percentiles
 * (1 - confidence) / 2 and (1 + confidence) / 2 of these means.
 *
 * Student's paired t test (Student, "The probable error of a mean", Biometrika
 * 6, 1908): t = mean / (s / sqrt(n)) with s^2 = sum (d - mean)^2 / (n - 1);
 * its p value is the chance that |T| >= |t| for Student's distribution with
 * n - 1 degrees of freedom, both tails.
 *
 * Fisher's randomisation test (Fisher, The Design of Experiments, 1935; for
 * search: Smucker, Allan and Carterette, CIKM 2007): were the searches alike,
 * each difference could as well have the other sign.  Its p value is the share
 * of the 2^n ways to choose the signs for which |sum| is at least the |sum|
 * that was seen.  Where they are at most as many as the samples asked for, all
 * ways are counted and p is exact.  Otherwise m of them are drawn at random
 * and p = (1 + number of these) / (1 + m), never 0, because what was seen is
 * one of the ways (Phipson and Smyth, "Permutation p-values should never be
 * zero", 2010).  Differences of 0 have no sign and do not count.
 */
#ifndef DS_METRICS_COMPARE_H
#define DS_METRICS_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct DsSampling
{
	uint32_t samples; /* at least 1 */
	double confidence; /* 0 < c < 1 */
	uint64_t seed;
	const DsCancel *cancel; /* may be NULL */
} DsSampling;

/* DS_INVALID unless the settings make sense. */
extern DsCode ds_sampling_check(const DsSampling *sampling, DsStatus *status);

typedef struct DsInterval
{
	double mean;
	double low;
	double high;
} DsInterval;

/*
 * Mean and bounds of value[n]; n > 0.  scratch[samples] is overwritten.  The
 * same values, samples and seed give the same bounds on every machine.
 * DS_CANCELLED, else DS_OK.
 */
extern DsCode ds_bootstrap(const double *value, size_t n, const DsSampling *sampling,
						   double *scratch, DsInterval *interval, DsStatus *status);

typedef struct DsPairedTest
{
	double t; /* NaN where n < 2 or all differences are 0; infinite where all are equal */
	double p_t; /* NaN where t is NaN */
	double p_random;
	bool exact; /* p_random counts all ways to choose the signs */
	size_t better; /* differences above 0 */
	size_t worse; /* and below */
} DsPairedTest;

/* Tests of difference[n]; n > 0.  scratch[n] is overwritten.  DS_CANCELLED, else DS_OK. */
extern DsCode ds_paired_test(const double *difference, size_t n, const DsSampling *sampling,
							 double *scratch, DsPairedTest *test, DsStatus *status);

/* The chance that |T| >= |t| for Student's distribution with so many degrees of freedom (above 0). */
extern double ds_student_tails(double t, double degrees);

#endif /* DS_METRICS_COMPARE_H */
