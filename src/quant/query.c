/*
 * query.c
 *		A query against coded rows: scan, refine, bound.
 *
 * The idea.  An index that keeps codes only cannot know a distance; it can
 * know that a distance is *at least* something.  PostgreSQL's executor is made
 * for that: a scan hands out rows with a lower bound each, the executor
 * computes the distance from the heap row and holds a row back until the
 * bounds say that nothing nearer can come.  If a bound is ever above the
 * distance that the operator computes, the executor raises an error.  So there
 * are two kinds of bound here: a cheap one, which fails for a row in forty and
 * only decides which rows are worth a second look, and a true one, which may
 * not fail at all.
 *
 * Stages:
 *
 *	1. ds_query_set(): the query is placed (code.h), and the table is made: for
 *	   each four dimensions the 16 values of +-q[0] +-q[1] +-q[2] +-q[3], less
 *	   the smallest, in steps that make the largest range of all 255.  One
 *	   table serves all lists, since code.c put what depends on the centroid
 *	   into the row.  Each entry is off by at most half a step, by chance; what
 *	   the rounding errors add up to for a random row has a mean and a variance
 *	   that come from the entries themselves: the mean goes into table_offset,
 *	   TABLE_DEVIATIONS deviations into table_error.
 *	2. ds_query_probe(): the query as seen from one centroid, in double.
 *	3. ds_query_scan(): keys of 32 rows, see scan.h.  Integer sums and float
 *	   operations in a fixed order, so every CPU level gives the same bits.
 *	4. ds_query_refine(): with the 8-bit code, y = c + r' + e.  Let
 *	   z = q - c - r', what the code says q - y is.  Then q - y = z - e and
 *
 *		|q - y|  >=  |z| - |e|									(triangle)
 *		|q - y|^2 = |z|^2 - 2 <z, e> + |e|^2, <z, e> = <w, e> - <r', e>
 *				 >=  |z|^2 - 2 (|w| |e| - <r', e>)				(w = q - c)
 *
 *	   The larger is taken.  The first is the better one for a row that is
 *	   nearer to the query than its centroid is, which the rows are that
 *	   matter.  |z|^2 itself needs neither the centroid nor the row:
 *
 *		|z|^2 = |w|^2 + (|c + r'|^2 - |c|^2) - 2 <q, r'>
 *		<q, r'> = mid * (sum of q) + step * <q, bytes>
 *
 *	   with the bracket stored in the row.  For inner products
 *
 *		<q, y> = <q, c> + <q, r'> + <q, e>
 *		<q, e> <= min(|q| |e|, |w| |e| + <c, e>)
 *
 *	   The key is the same without the bounds: <w, e> = 0 is as good a guess as
 *	   any, <r', e> and <c, e> are known.
 *
 *	5. From placed vectors to what the operator computes.  In order:
 *	   - the rounding of everything above.  Sums in double are off by
 *	     SUM_ERROR of the sum of magnitudes; the dot product of floats and
 *	     bytes by ds_kernel_relative_error() of |q| |bytes|, |bytes| at most
 *	     128 sqrt(d);
 *	   - placing: |q~ - R q| <= place_error |q~| + place_tiny, for y likewise, and
 *	     |y~| <= |q~| + |z| + |e|.  A rotation keeps distances, so this much is
 *	     taken from the distance (not from its square);
 *	   - the operator's own rounding, ds_kernel_relative_error() and its kin
 *	     (vector/kernels.h), at any CPU level;
 *	   - the operator's range: a distance is at least 0, so is the bound;
 *	   - for <-> there is no root left to take, as the steps above work on
 *	     the distance itself; the operator takes its root last.
 *
 * Worked example, d = 1, no rotation but a sign: c = 0, y = 3 with step = 0,
 * mid = 3 and e = 0, q = 5: base = |w|^2 = 25, norm = |c + r'|^2 = 9, <q, r'> =
 * 15, |z|^2 = 25 + 9 - 30 = 4, so |z| = 2 and the bound is 2 less some 1e-6.
 *
 * The rounding allowances are about 1e-6 of the lengths involved, |e| is about
 * 1e-2 of the residual: the bound is as tight as eight bits allow, except for
 * data whose distance from the origin is a thousand times their spread.  That
 * is what DsQuantizer.origin is for.
 */
#include "quant/query.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/scan.h"
#include "vector/kernels.h"

/* deviations of the table's rounding that a 1-bit bound allows */
#define TABLE_DEVIATIONS 4.0

/* placed queries are padded to whole vectors of the widest kind, times four */
#define PLACED_PADDING 64

DsQuery *
ds_query_new(const DsQuantizer *quantizer, DsArena *arena, DsStatus *status)
{
	size_t d = quantizer->dimension; /* at most 16,000 */
	size_t padded = (d + PLACED_PADDING - 1) / PLACED_PADDING * PLACED_PADDING;
	DsQuery *query = ds_arena_zero(arena, 1, sizeof(DsQuery));
	float *placed = ds_arena_zero(arena, padded, sizeof(float));
	uint8_t *table = ds_arena_zero(arena, ds_code_groups(d), 32);

	if (query == NULL || placed == NULL || table == NULL)
	{
		ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for a query of %u dimensions",
				(unsigned) d);
		return NULL;
	}
	query->quantizer = quantizer;
	query->loops = ds_scan_loops();
	query->place = DS_PLACE_OUTSIDE; /* until set */
	query->placed = placed;
	query->table = table;
	return query;
}

/* the lookup table of query->placed; see stage 1 */
static void
make_table(DsQuery *query, double magnitude)
{
	size_t nibbles = 2 * ds_code_groups(query->quantizer->dimension);
	float range = 0.0f; /* half of it */
	float inverse = 0.0f;
	double error;
	double square;

	for (size_t k = 0; k < nibbles; k++)
	{
		const float *q = query->placed + 4 * k;
		float sum = (fabsf(q[0]) + fabsf(q[1])) + (fabsf(q[2]) + fabsf(q[3]));

		range = sum > range ? sum : range;
	}
	query->table_step = range / 127.5f;
	/* a query of zeros, or of subnormal numbers: all entries are zero */
	if (query->table_step >= FLT_MIN)
		inverse = 1.0f / query->table_step;
	else
		query->table_step = 0.0f;

	query->loops->make_table(query->placed, nibbles, inverse, query->table, &error, &square);
	query->table_offset = (float) (-magnitude - error * query->table_step);
	query->table_error = (float) (TABLE_DEVIATIONS * sqrt(square) * query->table_step);
}

/* What follows from query->placed */
static void
prepare(DsQuery *query)
{
	const DsQuantizer *quantizer = query->quantizer;
	size_t d = quantizer->dimension;
	DsVectorSums sums;

	query->loops->vector_sums(query->placed, d, &sums);
	query->norm = sqrt(sums.square) * (1.0 + SUM_ERROR);
	query->sum = sums.sum;
	query->sum_error = SUM_ERROR * sums.magnitude;
	query->relative_error = ds_kernel_relative_error(d);
	query->cosine_error = ds_cosine_error(d);
	query->dot_error =
		query->relative_error * query->norm * 128.0 * sqrt((double) d) + (double) d * 0x1p-149;
	/* the query's own part, and what the row's part takes for certain */
	query->rotation_slack = 2.0 * (quantizer->place_error * query->norm + quantizer->place_tiny);
	make_table(query, sums.magnitude);
	query->caution = 1.0f;
}

DsPlace
ds_query_set(DsQuery *query, const float *q)
{
	query->place = ds_quantizer_place(query->quantizer, q, query->placed);
	prepare(query);
	return query->place;
}

void
ds_query_set_placed(DsQuery *query, const float *y)
{
	query->place = DS_PLACE_OK;
	memcpy(query->placed, y, query->quantizer->dimension * sizeof(float));
	prepare(query);
}

/*
 * The deviations of one side that leave a part p of a normal distribution
 * beyond (Abramowitz & Stegun, 26.2.23; p <= 0.5).
 */
static double
normal_deviations(double p)
{
	double t = sqrt(-2.0 * log(p));

	return t - (2.515517 + t * (0.802853 + t * 0.010328)) /
				   (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
}

void
ds_query_set_misses(DsQuery *query, double misses)
{
	misses = misses > 1e-6 ? (misses < 0.5 ? misses : 0.5) : 1e-6;
	query->caution = (float) (normal_deviations(misses) / BOUND_DEVIATIONS);
}

void
ds_query_probe(const DsQuery *query, const float *centroid, DsProbe *probe)
{
	const float *q = query->placed;
	size_t d = query->quantizer->dimension;
	double square;
	double product = 0.0;

	if (query->quantizer->metric == DS_METRIC_IP)
		product = ds_kernels()->inner_product_wide(q, centroid, d);
	square = ds_kernels()->l2_squared_wide(q, centroid, d);
	probe->exact_distance = sqrt(square) * (1.0 + SUM_ERROR);
	probe->distance = (float) probe->exact_distance;
	probe->exact_base = query->quantizer->metric == DS_METRIC_IP ? -product : square;
	probe->base = (float) probe->exact_base;
}

void
ds_query_distances(const DsQuery *query, const float *centroid, size_t stride, size_t n,
				   float *square, float *product)
{
	size_t d = query->quantizer->dimension;

	ds_kernels()->l2_squared_many(query->placed, centroid, stride, n, d, square);
	if (query->quantizer->metric == DS_METRIC_IP)
		ds_kernels()->inner_product_many(query->placed, centroid, stride, n, d, product);
	else
		memset(product, 0, n * sizeof(float));
}

void
ds_query_probe_near(const DsQuery *query, float square, float product, DsProbe *probe)
{
	double rounding = ds_kernel_relative_error(query->quantizer->dimension);

	probe->exact_distance = sqrt(square * (1.0 + rounding));
	probe->distance = (float) probe->exact_distance;
	probe->exact_base =
		query->quantizer->metric == DS_METRIC_IP ? -(double) product : square * (1.0 - rounding);
	probe->base = (float) probe->exact_base;
}

static DsScanScale
scan_scale(const DsQuery *query, const DsProbe *probe)
{
	return (DsScanScale){probe->base, probe->distance * query->caution, query->table_step,
						 query->table_offset, query->table_error * query->caution};
}

/* nothing is known: every row must be looked at */
static void
keys_unknown(float *estimate, float *bound)
{
	for (int j = 0; j < DS_BLOCK_ROWS; j++)
		estimate[j] = bound[j] = -INFINITY;
}

void
ds_query_scan(const DsQuery *query, const DsProbe *probe, const uint8_t *codes,
			  const DsBlockFactors *factors, float *estimate, float *bound)
{
	DsScanScale scale = scan_scale(query, probe);

	if (query->place != DS_PLACE_OK)
		keys_unknown(estimate, bound);
	else
		query->loops->block(&scale, query->table, codes,
							ds_code_groups(query->quantizer->dimension), factors, estimate, bound);
}

void
ds_query_scan_part(const DsQuery *query, size_t first, const uint8_t *codes, size_t groups,
				   uint32_t *sums)
{
	query->loops->part(query->table + 32 * first, codes, groups, sums);
}

void
ds_query_scan_finish(const DsQuery *query, const DsProbe *probe, const uint32_t *sums,
					 const DsBlockFactors *factors, float *estimate, float *bound)
{
	DsScanScale scale = scan_scale(query, probe);

	if (query->place != DS_PLACE_OK)
		keys_unknown(estimate, bound);
	else
		query->loops->finish(&scale, sums, factors, estimate, bound);
}

double
ds_query_dot(const DsQuery *query, size_t first, const int8_t *bytes, size_t n)
{
	return query->loops->dot(query->placed + first, bytes, n);
}

/* the least value of the operator */
static double
least(DsMetric metric)
{
	return metric == DS_METRIC_IP ? -INFINITY : 0.0;
}

/*
 * Stage 5 for l2 and cosine: the bound for a row whose placed distance is at
 * least low and at most high.
 */
static double
distance_bound(const DsQuery *query, double low, double high)
{
	const DsQuantizer *quantizer = query->quantizer;
	double distance;
	double bound;

	/* rotation_slack has |q~| for the part of |y~| that is at most |q~| + high */
	distance = low - query->rotation_slack - quantizer->place_error * high;
	if (!(distance > 0.0)) /* NaN too */
		return 0.0;

	if (quantizer->metric == DS_METRIC_L2)
		return distance * (1.0 - query->relative_error);

	bound = 0.5 * distance * distance * (1.0 - SUM_ERROR) - query->cosine_error;
	if (!(bound > 0.0))
		return 0.0;
	return bound < 2.0 ? bound : 2.0;
}

/* Stage 5 for ip: <q~, y~> is at most high, |y~| at most norm */
static double
product_bound(const DsQuery *query, double high, double norm)
{
	const DsQuantizer *quantizer = query->quantizer;
	double query_error = quantizer->place_error * query->norm + quantizer->place_tiny;
	double row_error = quantizer->place_error * norm + quantizer->place_tiny;
	double bound;

	/* |<a + da, b + db> - <a, b>|, then the operator's rounding on the true lengths */
	high += query_error * norm + query->norm * row_error + query_error * row_error;
	high +=
		ds_inner_product_error(quantizer->dimension, query->norm + query_error, norm + row_error);
	bound = -high - SUM_ERROR * fabs(high);
	return bound > -INFINITY ? bound : -INFINITY; /* NaN becomes the least value */
}

void
ds_query_refine(const DsQuery *query, const DsProbe *probe, const DsRowFactors *row, double dot,
				DsRefined *refined)
{
	const DsQuantizer *quantizer = query->quantizer;
	double by_mid = row->mid * query->sum;
	double by_step = row->step * dot;
	double e = row->error;
	double w = probe->exact_distance;
	double magnitude;
	double rounding;

	if (query->place != DS_PLACE_OK || !(e <= FLT_MAX))
	{
		refined->key = -INFINITY;
		refined->bound = least(quantizer->metric);
		return;
	}

	/* of <q, r'> */
	magnitude = fabs(by_mid) + fabs(by_step);
	rounding = fabs(row->mid) * query->sum_error + row->step * query->dot_error;

	if (quantizer->metric == DS_METRIC_IP)
	{
		double product = -probe->exact_base + by_mid + by_step;
		double rest = fmin(query->norm * e, w * e + row->cross);

		/* |q| (|q| + |w|) bounds the terms of <q, c> */
		magnitude += query->norm * (query->norm + w) + query->norm * e + fabs(row->cross);
		refined->key = -(product + row->cross);
		refined->bound =
			product_bound(query, product + rest + rounding + SUM_ERROR * magnitude, row->norm);
	}
	else
	{
		double square = probe->exact_base + row->norm - 2.0 * (by_mid + by_step);
		double low;
		double high;
		double other;

		magnitude = probe->exact_base + fabs(row->norm) + 2.0 * magnitude;
		rounding = 2.0 * rounding + SUM_ERROR * magnitude;
		/* |w|^2 + |r|^2 - 2 <w, r'>: nothing but <w, e> is missing, and that is as often + as - */
		refined->key = fmax(0.0, square + 2.0 * row->cross + e * e);

		/* row->norm was rounded down, which is right for low but not for high */
		low = square - rounding;
		high = square + rounding + 0x1p-22 * fabs(row->norm) + 0x1p-149;
		other = low - 2.0 * (w * e - row->cross) - SUM_ERROR * (low + w * e + fabs(row->cross));
		low = low > 0.0 ? sqrt(low) * (1.0 - 0x1p-50) - e : 0.0;
		if (other > 0.0)
			low = fmax(low, sqrt(other) * (1.0 - 0x1p-50));
		high = sqrt(fmax(high, 0.0)) * (1.0 + 0x1p-50) + e;
		refined->bound = distance_bound(query, low, high);
	}
}

double
ds_query_list_bound(const DsQuery *query, const DsProbe *probe, double radius)
{
	DsMetric metric = query->quantizer->metric;
	double w = probe->exact_distance;

	if (query->place != DS_PLACE_OK || !(radius <= FLT_MAX))
		return least(metric);
	if (metric == DS_METRIC_IP)
	{
		/* <q, y> = <q, c> + <q, y - c>; |y| <= |q| + |w| + radius */
		double high = -probe->exact_base + query->norm * radius;

		high += SUM_ERROR * (query->norm * (query->norm + w) + query->norm * radius);
		return product_bound(query, high, (query->norm + w + radius) * (1.0 + SUM_ERROR));
	}
	/* w was rounded up */
	return distance_bound(query, w * (1.0 - 3.0 * SUM_ERROR) - radius, w + radius);
}

double
ds_query_key_to_operator(const DsQuery *query, double key)
{
	switch (query->quantizer->metric)
	{
		case DS_METRIC_L2:
			return key > 0.0 ? sqrt(key) : 0.0;
		case DS_METRIC_COSINE:
			key *= 0.5;
			return key > 0.0 ? (key < 2.0 ? key : 2.0) : 0.0;
		case DS_METRIC_IP:
			break;
	}
	return key;
}
