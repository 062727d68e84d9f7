/*
 * test_quant_bounds.c
 *		No bound is ever above what an operator computes, at any pair of CPU levels.
 *
 * A bound above the operator's value is an error in the executor ("index
 * returned tuples in wrong order"), so this is a property test over every kind
 * of vector that float32 has, for each metric, for bounds computed at each
 * level against operators computed at each level.  It also says how tight the
 * bounds are: a bound of zero would never be wrong.
 */
#include "quant/query.h"
#include "quant/scan.h"

#include <float.h>
#include <stdint.h>

#include "base/random.h"
#include "unit.h"
#include "vector/kernels_half.h"

static DsArena arena;
static const DsKernels *kernels[4];
static int n_kernels = 0;
static const DsScanLoops *loops[4];
static int n_loops = 0;
static bool halves = false; /* vectors are of half floats, and so is the operator */

/* what the SQL operator returns */
static double
operator_value(const DsKernels *k, DsMetric metric, const float *q, const float *x, size_t d)
{
	if (halves)
	{
		const DsHalfKernels *half = ds_half_kernels_at(k->level);
		static DsHalf a[16000];
		static DsHalf b[16000];

		if (!half->from_float(q, a, d) || !half->from_float(x, b, d))
			abort();
		switch (metric)
		{
			case DS_METRIC_COSINE:
				return half->cosine_distance(a, b, d);
			case DS_METRIC_L2:
				return sqrt(half->l2_squared(a, b, d));
			case DS_METRIC_IP:
				return 0.0 - half->inner_product(a, b, d);
		}
	}
	switch (metric)
	{
		case DS_METRIC_COSINE:
			return ds_cosine_distance_with(k, q, x, d);
		case DS_METRIC_L2:
			return ds_l2_distance_with(k, q, x, d);
		case DS_METRIC_IP:
			return -ds_inner_product_with(k, q, x, d);
	}
	abort();
}

typedef struct Count
{
	long bounds;
	long above; /* bounds above the operator's value: must stay 0 */
	long lists_above; /* the same for the bounds of whole lists */
	long below_range;
	long estimates_above; /* 8-bit estimates above it: shows that the allowance is needed */
	long vacuous; /* nothing claimed */
	double gap; /* sum over counted pairs of (value - bound) / value */
	long gaps;
} Count;

static void
check_pair(const DsQuantizer *quantizer, DsQuery *query, const float *q, const float *x,
		   const float *centroid, bool count_gap, Count *count)
{
	uint32_t d = quantizer->dimension;
	DsArenaMark mark = ds_arena_mark(&arena);
	DsCoded coded = {.signs = ds_arena_alloc(&arena, ds_code_groups(d), 1),
					 .bytes = ds_arena_alloc(&arena, d, 1)};
	float *y = ds_arena_alloc(&arena, d, sizeof(float));
	DsPlace place;
	DsPlace query_place;
	DsProbe probe;
	double least = quantizer->metric == DS_METRIC_IP ? -INFINITY : 0.0;

	if (coded.signs == NULL || coded.bytes == NULL || y == NULL)
		abort();
	query_place = ds_query_set(query, q);
	place = ds_quantizer_place(quantizer, x, y);
	ds_quantizer_encode(quantizer, place, y, centroid, &coded);
	ds_query_probe(query, centroid, &probe);

	for (int l = 0; l < n_loops; l++)
	{
		DsRefined refined;
		double list_bound;

		query->loops = loops[l];
		/* in two parts, as for a row cut over pages: at the middle or not at all */
		ds_query_refine(query, &probe, &coded.row,
						l == 1 ? ds_query_dot(query, 0, coded.bytes, d / 2) +
									 ds_query_dot(query, d / 2, coded.bytes + d / 2, d - d / 2)
							   : ds_query_dot(query, 0, coded.bytes, d),
						&refined);
		list_bound = ds_query_list_bound(query, &probe, coded.radius);
		if (!(refined.bound >= least) ||
			(quantizer->metric == DS_METRIC_COSINE && refined.bound > 2))
			count->below_range++;
		for (int k = 0; k < n_kernels; k++)
		{
			double value = operator_value(kernels[k], quantizer->metric, q, x, d);

			count->bounds++;
			if (isnan(value)) /* sorts after all numbers */
				continue;
			count->above += !(refined.bound <= value);
			count->lists_above += !(list_bound <= value);
			count->vacuous += refined.bound == least;
			if (query_place == DS_PLACE_OK && place == DS_PLACE_OK)
				count->estimates_above += ds_query_key_to_operator(query, refined.key) > value;
			if (count_gap && value != 0.0)
			{
				count->gap += (value - refined.bound) / fabs(value);
				count->gaps++;
			}
		}
	}
	ds_arena_rewind(&arena, mark);
}

typedef enum Kind
{
	NORMAL,
	UNIFORM_POSITIVE,
	ONE_HOT,
	CONSTANT,
	ZERO,
	SUBNORMAL,
	TINY, /* squares vanish in float32 */
	SMALL, /* squares are subnormal */
	LARGE, /* inside of what is encoded: lengths around 1e17 */
	HUGE_30,
	HUGE_38,
	MIXED, /* every coordinate of another magnitude */
	SPIKE, /* one huge among small ones */
	INTEGERS,
	N_KINDS
} Kind;

static float
magnitude(DsRandom *random, double low, double high)
{
	double exponent = low + (high - low) * ds_random_double(random);
	double value = pow(10.0, exponent);

	return (float) (ds_random_next(random) & 1 ? value : -value);
}

static void
make_vector(DsRandom *random, Kind kind, float *x, size_t d)
{
	for (size_t i = 0; i < d; i++)
	{
		double z = ds_random_normal(random);

		switch (kind)
		{
			case NORMAL:
				x[i] = (float) z;
				break;
			case UNIFORM_POSITIVE:
				x[i] = (float) ds_random_double(random);
				break;
			case CONSTANT:
				x[i] = 0.1f;
				break;
			case ONE_HOT:
			case ZERO:
				x[i] = 0.0f;
				break;
			case SUBNORMAL:
				x[i] = (float) (z * 1e-43);
				break;
			case TINY:
				x[i] = (float) (z * 1e-30);
				break;
			case SMALL:
				x[i] = (float) (z * 1e-20);
				break;
			case LARGE:
				x[i] = (float) (z * 1e17 / sqrt((double) d));
				break;
			case HUGE_30:
				x[i] = (float) (z * 1e30);
				break;
			case HUGE_38:
				x[i] = (float) (fmax(-3.0, fmin(3.0, z)) * 1e38);
				break;
			case MIXED:
				x[i] = magnitude(random, -44, 38);
				break;
			case SPIKE:
				x[i] = (float) (z * 1e-3);
				break;
			case INTEGERS:
				x[i] = (float) (int) (4 * z);
				break;
			case N_KINDS:
				abort();
		}
	}
	if (kind == ONE_HOT)
		x[ds_random_below(random, d)] = 1.0f;
	if (kind == SPIKE)
		x[ds_random_below(random, d)] = (float) (1e4 * ds_random_normal(random));
}

/* ways to make the row from the query */
enum
{
	OTHER_KIND,
	SAME_KIND,
	EQUAL,
	OPPOSITE,
	DOUBLED,
	ONE_ULP, /* one coordinate, one unit in the last place */
	NEAR, /* a relative change of 1e-6 .. 1e-2 everywhere */
	N_RELATIONS
};

static void
make_row(DsRandom *random, int relation, Kind kind, const float *q, float *x, size_t d)
{
	double size = pow(10.0, -6.0 + 4.0 * ds_random_double(random));

	switch (relation)
	{
		case OTHER_KIND:
			make_vector(random, (Kind) ds_random_below(random, N_KINDS), x, d);
			return;
		case SAME_KIND:
			make_vector(random, kind, x, d);
			return;
		default:
			break;
	}
	memcpy(x, q, d * sizeof(float));
	for (size_t i = 0; i < d; i++)
	{
		if (relation == OPPOSITE)
			x[i] = -x[i];
		else if (relation == DOUBLED && fabsf(x[i]) < 1e38f)
			x[i] *= 2.0f;
		else if (relation == NEAR)
			x[i] = (float) (x[i] * (1.0 + size * ds_random_normal(random)));
		if (!isfinite(x[i]))
			x[i] = FLT_MAX;
	}
	if (relation == ONE_ULP)
	{
		size_t i = ds_random_below(random, d);

		x[i] = nextafterf(x[i], 0.0f);
	}
}

/* The vector as one of halves: what lies outside their range is brought somewhere into it. */
static void
make_halves(DsRandom *random, float *x, size_t d)
{
	double largest = 0;
	double factor = 1;

	for (size_t i = 0; i < d; i++)
		largest = fmax(largest, fabs((double) x[i]));
	if (largest > 0 && (largest < 1e-7 || largest > DS_HALF_MAX))
		factor = pow(10.0, -7.2 + 12.0 * ds_random_double(random)) / largest;
	for (size_t i = 0; i < d; i++)
		x[i] = ds_half_to_float(
			ds_half_from_float((float) fmax(fmin(x[i] * factor, DS_HALF_MAX), -DS_HALF_MAX)));
}

/* centroids, in placed space */
enum
{
	AT_ZERO,
	AT_ROW, /* the row itself: no residual */
	AT_QUERY,
	NEAR_ROW,
	FAR_AWAY,
	N_CENTROIDS
};

static void
make_centroid(DsRandom *random, int where, const DsQuantizer *quantizer, const float *q,
			  const float *x, float *c)
{
	size_t d = quantizer->dimension;

	if (where == AT_QUERY)
		ds_quantizer_place(quantizer, q, c);
	else if (where != AT_ZERO)
		ds_quantizer_place(quantizer, x, c);
	for (size_t i = 0; i < d; i++)
	{
		if (where == AT_ZERO)
			c[i] = 0.0f;
		else if (where == NEAR_ROW)
			c[i] = (float) (c[i] * (1.0 + 0.5 * ds_random_normal(random)));
		else if (where == FAR_AWAY)
			c[i] = (float) (100.0 * (c[i] + 0.1 * ds_random_normal(random)));
	}
}

static const uint32_t dimensions[] = {1,   2,	3,	 7,	   8,	 31,   64,	 100,
									  127, 128, 768, 1000, 1536, 2000, 16000};
#define N_DIMENSIONS (sizeof(dimensions) / sizeof(dimensions[0]))

static void
test_every_kind(DsMetric metric)
{
	Count count = {0};
	DsRandom random;

	ds_random_init(&random, 11, metric);
	for (size_t k = 0; k < N_DIMENSIONS; k++)
	{
		uint32_t d = dimensions[k];
		int trials = d <= 8 ? 60 : d <= 128 ? 12 : 2;
		DsArenaMark mark = ds_arena_mark(&arena);
		DsQuantizer quantizer;
		DsQuery *query;
		float *q = ds_arena_alloc(&arena, d, sizeof(float));
		float *x = ds_arena_alloc(&arena, d, sizeof(float));
		float *c = ds_arena_alloc(&arena, d, sizeof(float));

		if (ds_quantizer_init(&quantizer, metric, d, 5, NULL, &arena, NULL) != DS_OK)
			abort();
		query = ds_query_new(&quantizer, &arena, NULL);
		if (query == NULL || q == NULL || x == NULL || c == NULL)
			abort();
		for (int kind = 0; kind < N_KINDS; kind++)
			for (int relation = 0; relation < N_RELATIONS; relation++)
				for (int trial = 0; trial < trials; trial++)
				{
					/* at large d each pair sees one centroid, else all */
					int first = d > 128 ? (int) ds_random_below(&random, N_CENTROIDS) : 0;
					int last = d > 128 ? first : N_CENTROIDS - 1;

					if (d == 16000 && ds_random_below(&random, 3) != 0)
						continue;
					make_vector(&random, (Kind) kind, q, d);
					if (halves)
						make_halves(&random, q, d);
					make_row(&random, relation, (Kind) kind, q, x, d);
					if (halves)
						make_halves(&random, x, d);
					for (int where = first; where <= last; where++)
					{
						make_centroid(&random, where, &quantizer, q, x, c);
						check_pair(&quantizer, query, q, x, c, false, &count);
					}
				}
		ds_arena_rewind(&arena, mark);
	}
	CHECK(count.above == 0, "metric %d%s: %ld bounds at %d x %d levels, %ld above the operator",
		  metric, halves ? " of halves" : "", count.bounds, n_loops, n_kernels, count.above);
	CHECK(count.lists_above == 0, "... nor are bounds of lists: %ld", count.lists_above);
	CHECK(count.below_range == 0, "... nor outside of the operator's range");
	CHECK(count.estimates_above > 1000, "... while %ld estimates were above",
		  count.estimates_above);
}

/* small differences far from zero, where float32 cancels; with the mean as origin and without */
static void
test_offsets(DsMetric metric, bool with_origin)
{
	Count count = {0};
	DsRandom random;

	ds_random_init(&random, 12, metric);
	for (size_t k = 0; k < N_DIMENSIONS; k++)
	{
		uint32_t d = dimensions[k];
		DsArenaMark mark = ds_arena_mark(&arena);
		DsQuantizer quantizer;
		DsQuery *query;
		float *q = ds_arena_alloc(&arena, d, sizeof(float));
		float *x = ds_arena_alloc(&arena, d, sizeof(float));
		float *c = ds_arena_alloc(&arena, d, sizeof(float));
		float *center = ds_arena_alloc(&arena, d, sizeof(float));

		if (q == NULL || x == NULL || c == NULL || center == NULL)
			abort();
		make_vector(&random, UNIFORM_POSITIVE, center, d);
		if (ds_quantizer_init(&quantizer, metric, d, 6, with_origin ? center : NULL, &arena,
							  NULL) != DS_OK)
			abort();
		query = ds_query_new(&quantizer, &arena, NULL);
		if (query == NULL)
			abort();
		for (int trial = 0; trial < (d > 2000 ? 3 : d > 128 ? 12 : 60); trial++)
		{
			double spread = pow(10.0, -(double) (trial % 8));

			for (uint32_t i = 0; i < d; i++)
			{
				q[i] = (float) (center[i] + spread * ds_random_normal(&random));
				x[i] = (float) (center[i] + spread * ds_random_normal(&random));
				c[i] = (float) (center[i] + spread * ds_random_normal(&random));
			}
			ds_quantizer_place(&quantizer, c, c);
			check_pair(&quantizer, query, q, x, c, trial % 8 == 4 && d >= 100, &count);
		}
		ds_arena_rewind(&arena, mark);
	}
	CHECK(count.above == 0 && count.lists_above == 0,
		  "metric %d: %ld bounds far from zero%s, %ld above the operator", metric, count.bounds,
		  with_origin ? ", origin there" : "", count.above + count.lists_above);
	if (metric == DS_METRIC_L2)
		CHECK(count.gap / (double) count.gaps < (with_origin ? 0.04 : 0.3),
			  "... %.2f %% below the distance at a spread of 1e-4 of the offset",
			  100.0 * count.gap / (double) count.gaps);
}

/* how far below: rows of a cluster, the query in it */
static void
test_tightness(DsMetric metric, uint32_t d)
{
	Count count = {0};
	DsArenaMark mark = ds_arena_mark(&arena);
	DsQuantizer quantizer;
	DsQuery *query;
	DsRandom random;
	float *q = ds_arena_alloc(&arena, d, sizeof(float));
	float *x = ds_arena_alloc(&arena, d, sizeof(float));
	float *c = ds_arena_alloc(&arena, d, sizeof(float));
	double limit = metric == DS_METRIC_COSINE ? 0.03 : 0.015;

	ds_random_init(&random, 13, d);
	if (ds_quantizer_init(&quantizer, metric, d, 7, NULL, &arena, NULL) != DS_OK)
		abort();
	query = ds_query_new(&quantizer, &arena, NULL);
	if (q == NULL || x == NULL || c == NULL || query == NULL)
		abort();
	for (int trial = 0; trial < 100; trial++)
	{
		make_vector(&random, NORMAL, c, d);
		for (uint32_t i = 0; i < d; i++)
		{
			q[i] = (float) (c[i] + 0.5 * ds_random_normal(&random));
			x[i] = (float) (c[i] + 0.5 * ds_random_normal(&random));
		}
		ds_quantizer_place(&quantizer, c, c);
		check_pair(&quantizer, query, q, x, c, true, &count);
	}
	CHECK(count.above == 0 && count.vacuous == 0 && count.gap / (double) count.gaps < limit,
		  "metric %d, d = %u: bounds are %.3f %% below the operator's value", metric, d,
		  100.0 * count.gap / (double) count.gaps);
	ds_arena_rewind(&arena, mark);
}

/* Counting and the least of bounds, as the scan's pool takes them */
static void
test_counting(void)
{
	DsRandom random;
	float x[96];
	uint32_t wrong = 0;

	ds_random_init(&random, 3, 0);
	for (int trial = 0; trial < 1000; trial++)
	{
		/* few values, so that many are the limit itself; infinities of both signs among them */
		float limit = (float) ds_random_below(&random, 9) - 4.0f;
		uint64_t below = 0;

		for (int i = 0; i < 96; i++)
		{
			x[i] = (float) ds_random_below(&random, 9) - 4.0f;
			if (ds_random_below(&random, 10) == 0)
				x[i] = ds_random_below(&random, 2) ? INFINITY : -INFINITY;
			below += x[i] <= limit;
		}
		wrong += ds_count_at_most(x, 96, limit) != below;
		for (int block = 0; block < 96; block += 32)
		{
			uint32_t mask = 0;
			float least = INFINITY;

			for (int i = 0; i < 32; i++)
			{
				mask |= (uint32_t) (x[block + i] <= limit) << i;
				least = x[block + i] < least ? x[block + i] : least;
			}
			wrong += ds_at_most(x + block, limit) != mask;
			wrong += ds_least_of(x + block) != least;
		}
	}
	CHECK(wrong == 0, "bounds at most a limit, and the least one: %u of 7,000 are wrong", wrong);
}

int
main(void)
{
	for (int level = DS_CPU_PORTABLE; level <= DS_CPU_AVX512; level++)
	{
		if (ds_kernels_at((DsCpuLevel) level) != NULL)
			kernels[n_kernels++] = ds_kernels_at((DsCpuLevel) level);
		if (ds_scan_loops_at((DsCpuLevel) level) != NULL)
			loops[n_loops++] = ds_scan_loops_at((DsCpuLevel) level);
	}
	ds_arena_init(&arena, NULL);
	test_counting();
	for (int metric = DS_METRIC_COSINE; metric <= DS_METRIC_IP; metric++)
	{
		test_every_kind((DsMetric) metric);
		halves = true;
		test_every_kind((DsMetric) metric);
		halves = false;
		test_offsets((DsMetric) metric, false);
		if (metric != DS_METRIC_IP)
			test_offsets((DsMetric) metric, true);
		test_tightness((DsMetric) metric, 128);
		test_tightness((DsMetric) metric, 768);
		test_tightness((DsMetric) metric, 2000);
	}
	ds_arena_free(&arena);
	return unit_done();
}
