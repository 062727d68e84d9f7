/*
 * query.h
 *		A query against coded rows: scan, refine, bound.
 *
 *		query = ds_query_new(quantizer, arena, status)		once a scan
 *		ds_query_set(query, q)								each (re)scan
 *		for each list to read:
 *			ds_query_probe(query, centroid, &probe)
 *			for each block: ds_query_scan(query, &probe, codes, factors, estimate, bound)
 *		for each row worth it:
 *			dot = ds_query_dot(query, 0, bytes, d)
 *			ds_query_refine(query, &probe, row factors, dot, &refined)
 *		the executor gets refined.bound and rechecks
 *
 * Units.  The *key* orders rows: the squared distance of placed vectors for l2
 * and cosine (twice the cosine distance), minus the inner product for ip.
 * Estimates and 1-bit bounds are keys.  refined.bound is in the operator's own
 * units and TRUE: never above what the SQL operator computes for the row, at
 * whatever CPU level.  See query.c for why.
 */
#ifndef DS_QUANT_QUERY_H
#define DS_QUANT_QUERY_H

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "quant/code.h"

typedef struct DsScanLoops DsScanLoops; /* scan.h */

/* Read-only for callers, but for ds_query_set(). */
typedef struct DsQuery
{
	const DsQuantizer *quantizer;
	const DsScanLoops *loops; /* of this machine's level; a test may set another */
	DsPlace place; /* of the query; not DS_PLACE_OK: every bound is the least value */
	float *placed; /* [d, then zeros up to a multiple of 64] */
	uint8_t *table; /* [ds_code_groups(d)][2][16] */
	float table_step; /* <s, q> = table_step * (sum of entries) + table_offset */
	float table_offset;
	float table_error; /* ... give or take this, with high probability */
	float caution; /* 1-bit bounds are this many times as far below their estimates as usual */
	double norm; /* |placed|, rounded up */
	double sum; /* of placed */
	double sum_error;
	double relative_error; /* ds_kernel_relative_error() of the dimension */
	double cosine_error;
	double dot_error; /* of ds_query_dot() over a row, for a step of 1 */
	double
		rotation_slack; /* what placing may have changed any distance by, without the row's part */
} DsQuery;

/* DS_OUT_OF_MEMORY; NULL then.  Lives in the arena; set() allocates nothing. */
extern DsQuery *ds_query_new(const DsQuantizer *quantizer, DsArena *arena, DsStatus *status);

/*
 * Prepare for q[d]: place it and build the lookup table.  The result says what
 * kind of query it is: for DS_PLACE_ZERO the operator gives NaN for every row;
 * for DS_PLACE_OUTSIDE everything still works, but every bound is the least
 * value, so that the executor decides.
 */
extern DsPlace ds_query_set(DsQuery *query, const float *q);

/* The same for a vector that is placed already, y[d] */
extern void ds_query_set_placed(DsQuery *query, const float *y);

/*
 * How many of the rows may have a 1-bit bound above their key: 0.025 or so
 * after ds_query_set(), which is what the codes were made for; anything from
 * 1e-6 to 0.5.  Fewer means that more rows look worth a refinement.
 */
extern void ds_query_set_misses(DsQuery *query, double misses);

/* The query as seen from one centroid. */
typedef struct DsProbe
{
	float base; /* key of the centroid: |q - c|^2, or -<q, c> */
	float distance; /* |q - c| */
	double exact_base;
	double exact_distance; /* rounded up */
} DsProbe;

/* O(d), in double.  centroid [d] is placed (as k-means on placed rows gives it). */
extern void ds_query_probe(const DsQuery *query, const float *centroid, DsProbe *probe);

/*
 * The same of many centroids, in float32, for 1-bit bounds only: first
 * |q - c|^2 of n centroids, `stride` floats from one to the next, and <q, c> if
 * the metric is the inner product; then a probe of each, for
 * ds_query_scan*().  Bounds allow for the rounding of the square, not for that
 * of the product.
 */
extern void ds_query_distances(const DsQuery *query, const float *centroid, size_t stride, size_t n,
							   float *square, float *product);
extern void ds_query_probe_near(const DsQuery *query, float square, float product, DsProbe *probe);

/*
 * Estimates and lower bounds (keys) of the 32 rows of a block.  The bound is
 * probabilistic: below the key for all but about one row in forty.  Equal
 * to the bit at every CPU level.  codes may have any alignment; the block must
 * have been encoded for probe's centroid.
 */
extern void ds_query_scan(const DsQuery *query, const DsProbe *probe, const uint8_t *codes,
						  const DsBlockFactors *factors, float *estimate, float *bound);

/*
 * The same for a block cut over pages: sums[32] starts as zeros, each part
 * adds its groups [first, first + groups), finish does the rest.
 */
extern void ds_query_scan_part(const DsQuery *query, size_t first, const uint8_t *codes,
							   size_t groups, uint32_t *sums);
extern void ds_query_scan_finish(const DsQuery *query, const DsProbe *probe, const uint32_t *sums,
								 const DsBlockFactors *factors, float *estimate, float *bound);

/*
 * <q[first .. first + n), bytes>: add the parts of a row that is cut over
 * pages.  first must be a multiple of 16 for full speed, but need not be.
 */
extern double ds_query_dot(const DsQuery *query, size_t first, const int8_t *bytes, size_t n);

typedef struct DsRefined
{
	double key; /* 8-bit estimate, about 0.01 as far off as the 1-bit one */
	double bound; /* operator's units; a TRUE lower bound, or the operator's least value */
} DsRefined;

/* dot = the sum of ds_query_dot() over the row's bytes */
extern void ds_query_refine(const DsQuery *query, const DsProbe *probe, const DsRowFactors *row,
							double dot, DsRefined *refined);

/*
 * A TRUE lower bound, in the operator's units, of every row y of a list with
 * |y - c| <= radius (DsCoded.radius; the largest of the list).
 */
extern double ds_query_list_bound(const DsQuery *query, const DsProbe *probe, double radius);

/* Which of 32 numbers are at most limit: bit i for x[i] */
static inline uint32_t
ds_at_most(const float *x, float limit)
{
	uint32_t mask = 0;

#ifdef __SSE2__
	const __m128 limits = _mm_set1_ps(limit);

	for (unsigned i = 0; i < 32; i += 4)
		mask |= (uint32_t) _mm_movemask_ps(_mm_cmple_ps(_mm_loadu_ps(x + i), limits)) << i;
#else
	for (unsigned i = 0; i < 32; i++)
		mask |= (uint32_t) (x[i] <= limit) << i;
#endif
	return mask;
}

/* How many of n numbers, a multiple of 32, are at most limit */
static inline uint64_t
ds_count_at_most(const float *x, uint64_t n, float limit)
{
	uint64_t count = 0;

#ifdef __SSE2__
	const __m128 limits = _mm_set1_ps(limit);
	__m128i sum[4] = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128(),
					  _mm_setzero_si128()};
	int32_t lane[4];

	for (uint64_t i = 0; i < n; i += 16)
		for (int j = 0; j < 4; j++)
			sum[j] = _mm_sub_epi32(
				sum[j], _mm_castps_si128(_mm_cmple_ps(_mm_loadu_ps(x + i + 4 * j), limits)));
	_mm_storeu_si128((__m128i *) lane,
					 _mm_add_epi32(_mm_add_epi32(sum[0], sum[1]), _mm_add_epi32(sum[2], sum[3])));
	count = (uint64_t) lane[0] + (uint64_t) lane[1] + (uint64_t) lane[2] + (uint64_t) lane[3];
#else
	for (uint64_t i = 0; i < n; i++)
		count += x[i] <= limit;
#endif
	return count;
}

/* The least of 32 numbers, none of them NaN */
static inline float
ds_least_of(const float *x)
{
#ifdef __SSE2__
	__m128 least = _mm_loadu_ps(x);

	for (unsigned i = 4; i < 32; i += 4)
		least = _mm_min_ps(least, _mm_loadu_ps(x + i));
	least = _mm_min_ps(least, _mm_movehl_ps(least, least));
	least = _mm_min_ss(least, _mm_shuffle_ps(least, least, 1));
	return _mm_cvtss_f32(least);
#else
	float least = x[0];

	for (unsigned i = 1; i < 32; i++)
		least = x[i] < least ? x[i] : least;
	return least;
#endif
}

/* A key in the operator's units (l2: its root), clamped to the operator's range. */
extern double ds_query_key_to_operator(const DsQuery *query, double key);

#endif /* DS_QUANT_QUERY_H */
