/*
 * test_metrics_compare.c
 *		Bootstrap intervals and paired tests, against tables and counts made by hand.
 */
#include "unit.h"

#include "base/random.h"
#include "eval/metrics_compare.h"

static int
near(double a, double b, double tolerance)
{
	return fabs(a - b) <= tolerance * fmax(1e-300, fabs(b));
}

static const DsSampling defaults = {.samples = 10000, .confidence = 0.95, .seed = 1};
static double scratch[100000];

static void
test_student(void)
{
	/* two-sided critical values of the printed tables (three decimals) */
	static const struct
	{
		double t, degrees, p;
	} table[] = {{12.706, 1, 0.05}, {4.303, 2, 0.05},	{2.228, 10, 0.05},	{3.169, 10, 0.01},
				 {2.042, 30, 0.05}, {1.980, 120, 0.05}, {3.291, 1e7, 0.001}};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		CHECK(near(ds_student_tails(table[i].t, table[i].degrees), table[i].p, 2e-3),
			  "Student's distribution at %g, %g degrees: %g", table[i].t, table[i].degrees,
			  ds_student_tails(table[i].t, table[i].degrees));
	/* closed forms: 1 degree is Cauchy's, p = 1 - 2 atan(t) / pi; 2 degrees: 1 - t / sqrt(2 + t^2) */
	for (double t = 0.001; t < 1000; t *= 3)
	{
		double one = 1 - 2 * atan(t) / acos(-1.0);
		double two = 1 - t / sqrt(2 + t * t);

		CHECK(fabs(ds_student_tails(t, 1) - one) < 1e-13 &&
				  fabs(ds_student_tails(-t, 2) - two) < 1e-13,
			  "closed forms at %g: %g %g", t, ds_student_tails(t, 1) - one,
			  ds_student_tails(t, 2) - two);
	}
	CHECK(ds_student_tails(0, 5) == 1 && ds_student_tails(INFINITY, 5) == 0 &&
			  ds_student_tails(1e200, 5) == 0,
		  "at 0 and far away");
	/* with very many degrees it is the normal distribution */
	CHECK(near(ds_student_tails(3, 1e9), erfc(3 / sqrt(2)), 1e-6), "the normal distribution");
}

static void
test_t(void)
{
	/* Student's own example (1908, p. 20): hours of sleep gained, ten patients, two drugs */
	static const double sleep[10] = {1.2, 2.4, 1.3, 1.3, 0, 1.0, 1.8, 0.8, 4.6, 1.4};
	DsPairedTest test;
	DsStatus status;

	CHECK(ds_paired_test(sleep, 10, &defaults, scratch, &test, &status) == DS_OK, "a test");
	/* the values that statistics packages print for it */
	CHECK(near(test.t, 4.0621, 1e-5) && near(test.p_t, 0.00283289, 1e-5),
		  "Student's sleep data: t %.6f p %.8f", test.t, test.p_t);
	CHECK(test.better == 9 && test.worse == 0 && test.exact, "better and worse");
	/* all nine differences have one sign: of 512 ways two are as far */
	CHECK(test.p_random == 2.0 / 512, "randomisation: %g", test.p_random);
}

/* the same by counting all ways with another loop */
static double
count_by_hand(const double *d, int n, int i, double sum, double seen)
{
	if (i == n)
		return fabs(sum) >= seen - 1e-9;
	return count_by_hand(d, n, i + 1, sum + d[i], seen) +
		   count_by_hand(d, n, i + 1, sum - d[i], seen);
}

static void
test_random(void)
{
	DsPairedTest test;
	DsPairedTest sampled;
	DsStatus status;
	DsSampling few = defaults;
	double d[200];
	DsRandom random;

	ds_random_init(&random, 5, 0);
	for (int round = 0; round < 20; round++)
	{
		double sum = 0;

		for (int i = 0; i < 13; i++)
		{
			/* few different values, so that sums are often equal */
			d[i] = (double) ds_random_below(&random, 7) / 10 - 0.2;
			sum += d[i];
		}
		ds_paired_test(d, 13, &defaults, scratch, &test, &status);
		CHECK(test.exact &&
				  near(test.p_random, count_by_hand(d, 13, 0, 0, fabs(sum)) / 8192, 1e-12),
			  "all ways are counted: %g", test.p_random);
		few.samples = 8000;
		for (int i = 0; i < 13; i++)
			d[i] = d[i] == 0 ? 0.05 : d[i];
		ds_paired_test(d, 13, &defaults, scratch, &test, &status);
		ds_paired_test(d, 13, &few, scratch, &sampled, &status);
		CHECK(test.exact && !sampled.exact && fabs(test.p_random - sampled.p_random) < 0.03,
			  "drawn ways come near: %g %g", test.p_random, sampled.p_random);
	}
	/* zeros have no sign: with 200 differences, 3 of them not 0, there are 8 ways */
	memset(d, 0, sizeof(d));
	d[3] = d[77] = d[199] = 0.5;
	ds_paired_test(d, 200, &defaults, scratch, &test, &status);
	CHECK(test.exact && test.p_random == 0.25 && test.better == 3, "zeros do not count: %g",
		  test.p_random);
	for (int i = 0; i < 200; i++)
		d[i] = 0.25;
	ds_paired_test(d, 200, &defaults, scratch, &test, &status);
	CHECK(!test.exact && test.p_random == 1.0 / 10001 && isinf(test.t) && test.p_t == 0,
		  "never 0: %g, t %g", test.p_random, test.t);
	ds_paired_test(d, 200, &defaults, scratch, &sampled, &status);
	CHECK(test.p_random == sampled.p_random && test.t == sampled.t && test.p_t == sampled.p_t,
		  "the same seed gives the same");
	memset(d, 0, sizeof(d));
	ds_paired_test(d, 200, &defaults, scratch, &test, &status);
	CHECK(test.p_random == 1 && isnan(test.t) && isnan(test.p_t), "no difference at all");
	d[0] = 1;
	ds_paired_test(d, 1, &defaults, scratch, &test, &status);
	CHECK(test.p_random == 1 && isnan(test.t), "one query says nothing");
	/* 0.1 eleven times is not 1.1 exactly: still as far as what was seen */
	for (int i = 0; i < 11; i++)
		d[i] = i % 2 ? 0.1 : -0.1;
	ds_paired_test(d, 11, &defaults, scratch, &test, &status);
	CHECK(test.p_random == 1, "equal sums in spite of rounding: %g", test.p_random);
}

static bool
always(void *context)
{
	++*(int *) context;
	return true;
}

static void
test_bootstrap(void)
{
	DsInterval interval;
	DsInterval again;
	DsStatus status;
	DsSampling sampling = defaults;
	DsRandom random;
	double value[1000];
	int asked = 0;
	DsCancel cancel = {always, &asked};
	int covered = 0;

	/* a mean of 500 draws of 0 and 1 has the deviation sqrt(p q / n) */
	for (int i = 0; i < 500; i++)
		value[i] = i % 5 == 0;
	ds_bootstrap(value, 500, &sampling, scratch, &interval, &status);
	CHECK(near(interval.mean, 0.2, 1e-12) &&
			  near(interval.high - interval.low, 2 * 1.96 * sqrt(0.2 * 0.8 / 500), 0.05) &&
			  fabs((interval.high + interval.low) / 2 - 0.2) < 0.002,
		  "width as theory has it: %g to %g", interval.low, interval.high);
	ds_bootstrap(value, 500, &sampling, scratch, &again, &status);
	CHECK(memcmp(&interval, &again, sizeof(again)) == 0, "the same seed gives the same");
	sampling.seed = 2;
	ds_bootstrap(value, 500, &sampling, scratch, &again, &status);
	CHECK(again.low != interval.low || again.high != interval.high, "another seed does not");
	sampling.confidence = 0.5;
	ds_bootstrap(value, 500, &sampling, scratch, &again, &status);
	CHECK(again.low > interval.low && again.high < interval.high, "less confidence is narrower");

	/* of many samples from a distribution of known mean, about 95 in 100 intervals have it inside */
	sampling = defaults;
	sampling.samples = 1000;
	ds_random_init(&random, 7, 0);
	for (int round = 0; round < 400; round++)
	{
		for (int i = 0; i < 60; i++)
			value[i] = ds_random_double(&random);
		ds_bootstrap(value, 60, &sampling, scratch, &interval, &status);
		covered += interval.low <= 0.5 && interval.high >= 0.5;
	}
	CHECK(covered > 364 && covered < 396, "%d of 400 intervals have the true mean inside", covered);

	value[0] = 3;
	ds_bootstrap(value, 1, &sampling, scratch, &interval, &status);
	CHECK(interval.low == 3 && interval.high == 3 && interval.mean == 3, "one value");
	sampling = defaults;
	sampling.cancel = &cancel;
	CHECK(ds_bootstrap(value, 1000, &sampling, scratch, &interval, &status) == DS_CANCELLED &&
			  asked == 1,
		  "cancelled");
	CHECK(ds_paired_test(value, 1000, &sampling, scratch, &(DsPairedTest){0}, &status) ==
			  DS_CANCELLED,
		  "a test is cancelled too");
}

static void
test_settings(void)
{
	DsStatus status;
	DsSampling sampling = defaults;

	CHECK(ds_sampling_check(&sampling, &status) == DS_OK, "the defaults");
	sampling.confidence = 1;
	CHECK(ds_sampling_check(&sampling, &status) == DS_INVALID, "%s", status.message);
	sampling.confidence = NAN;
	CHECK(ds_sampling_check(&sampling, &status) == DS_INVALID, "NaN");
	sampling = defaults;
	sampling.samples = 0;
	CHECK(ds_sampling_check(&sampling, &status) == DS_INVALID, "%s", status.message);
}

int
main(void)
{
	test_student();
	test_t();
	test_random();
	test_bootstrap();
	test_settings();
	return unit_done();
}
