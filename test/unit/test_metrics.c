/*
 * test_metrics.c
 *		The retrieval measures, against values computed by hand.
 */
#include "unit.h"

#include "eval/metrics.h"

static int
near(double a, double b)
{
	return fabs(a - b) < 1e-12;
}

/*
 * One list of six documents; relevant are those at ranks 2, 3 and 6, and one
 * more that was not retrieved: four in all.
 */
static const double list[6] = {0, 1, 1, 0, 0, 1};

static void
test_binary(void)
{
	CHECK(near(ds_precision(list, 6, 1), 0) && near(ds_precision(list, 6, 3), 2.0 / 3) &&
			  near(ds_precision(list, 6, 6), 0.5),
		  "precision");
	CHECK(near(ds_precision(list, 6, 10), 0.3), "a short list misses the ranks that it lacks");
	CHECK(near(ds_recall(list, 6, 4, 3), 0.5) && near(ds_recall(list, 6, 4, 100), 0.75), "recall");
	CHECK(near(ds_reciprocal_rank(list, 6, 10), 0.5) && near(ds_reciprocal_rank(list, 6, 2), 0.5),
		  "reciprocal rank");
	CHECK(ds_reciprocal_rank(list, 6, 1) == 0, "reciprocal rank is 0 beyond k");
	CHECK(!ds_hit(list, 6, 1) && ds_hit(list, 6, 2), "hit");
	/* (1/2 + 2/3 + 3/6) / 4 */
	CHECK(near(ds_average_precision(list, 6, 4, 6), 5.0 / 12), "average precision");
	/* (1/2 + 2/3) / 4 */
	CHECK(near(ds_average_precision(list, 6, 4, 5), 7.0 / 24), "average precision at 5");
}

static void
test_graded(void)
{
	const double grades[5] = {1, 0, 3, 2, 0};
	double ideal[4] = {1, 3, 2, 2}; /* one document of grade 2 was not retrieved */
	double dcg;
	double best;

	ds_sort_grades(ideal, 4);
	CHECK(ideal[0] == 3 && ideal[1] == 2 && ideal[2] == 2 && ideal[3] == 1, "grades are sorted");

	/* log2 of 2, 4 and 5 for ranks 1, 3 and 4 */
	dcg = 1 / 1.0 + 3 / 2.0 + 2 / 2.321928094887362;
	best = 3 / 1.0 + 2 / 1.5849625007211562 + 2 / 2.0 + 1 / 2.321928094887362;
	CHECK(near(ds_ndcg(grades, 5, ideal, 4, 10, DS_GAIN_LINEAR), dcg / best),
		  "nDCG, linear gain: %.6f", dcg / best);

	dcg = 1 / 1.0 + 7 / 2.0 + 3 / 2.321928094887362;
	best = 7 / 1.0 + 3 / 1.5849625007211562 + 3 / 2.0 + 1 / 2.321928094887362;
	CHECK(near(ds_ndcg(grades, 5, ideal, 4, 10, DS_GAIN_EXPONENTIAL), dcg / best),
		  "nDCG, exponential gain: %.6f", dcg / best);

	/* at 3 both lists are cut: (1 + 3/2) / (3 + 2/log2(3) + 2/2) */
	CHECK(near(ds_ndcg(grades, 5, ideal, 4, 3, DS_GAIN_LINEAR), 2.5 / (4 + 2 / 1.5849625007211562)),
		  "nDCG at 3");
	CHECK(ds_ndcg(ideal, 4, ideal, 4, 4, DS_GAIN_LINEAR) == 1, "the ideal list has nDCG 1");
	CHECK(ds_ndcg((const double[]){0, -2}, 2, ideal, 4, 10, DS_GAIN_LINEAR) == 0,
		  "a grade below 0 costs nothing, as in trec_eval");
}

static void
test_grades(void)
{
	DsStatus status;
	double huge[100];

	CHECK(ds_grade_check(3, DS_GAIN_LINEAR, &status) == DS_OK &&
			  ds_grade_check(-1, DS_GAIN_EXPONENTIAL, &status) == DS_OK,
		  "ordinary grades");
	CHECK(ds_grade_check(NAN, DS_GAIN_LINEAR, &status) == DS_INVALID &&
			  ds_grade_check(INFINITY, DS_GAIN_LINEAR, &status) == DS_INVALID,
		  "NaN and infinity: %s", status.message);
	CHECK(ds_grade_check(1001, DS_GAIN_EXPONENTIAL, &status) == DS_INVALID &&
			  ds_grade_check(1001, DS_GAIN_LINEAR, &status) == DS_OK,
		  "a gain that would overflow: %s", status.message);
	for (int i = 0; i < 100; i++)
		huge[i] = 1000;
	CHECK(ds_ndcg(huge, 100, huge, 100, 100, DS_GAIN_EXPONENTIAL) == 1, "the largest grades");
}

static void
test_percentile(void)
{
	double values[5] = {40, 10, 50, 20, 30};

	ds_sort_values(values, 5);
	CHECK(values[0] == 10 && values[4] == 50, "values are sorted");
	CHECK(ds_percentile(values, 5, 0.5) == 30 && ds_percentile(values, 5, 0) == 10 &&
			  ds_percentile(values, 5, 1) == 50,
		  "percentiles at values");
	CHECK(near(ds_percentile(values, 5, 0.95), 48) && near(ds_percentile(values, 4, 0.5), 25),
		  "percentiles between values");
	CHECK(ds_percentile(values, 1, 0.95) == 10, "one value is every percentile");
}

int
main(void)
{
	test_binary();
	test_graded();
	test_grades();
	test_percentile();
	CHECK(ds_precision(list, 0, 10) == 0 && ds_recall(list, 0, 4, 10) == 0 &&
			  ds_reciprocal_rank(list, 0, 10) == 0 && ds_average_precision(list, 0, 4, 10) == 0,
		  "an empty list");
	return unit_done();
}
