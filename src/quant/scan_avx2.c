/*
 * scan_avx2.c
 *		The inner loops of codes and queries with AVX2.
 */
#include "quant/scan.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

#include "quant/code_loops.h"

/*
 * Sums of bytes in pairs.  A register of bytes is added as if it held 16-bit
 * numbers, even byte + 256 * odd byte, and its odd bytes are added once more
 * on their own; at the end 256 times the second sum, taken from the first,
 * leaves the even bytes' sum, for it fits in 16 bits whatever overflowed.
 */
static inline void
sum_bytes(__m256i bytes, __m256i *both, __m256i *odd)
{
	*both = _mm256_add_epi16(*both, bytes);
	*odd = _mm256_add_epi16(*odd, _mm256_srli_epi16(bytes, 8));
}

/* 16 rows' sums in order, in 32 bits, added to sums[2]: lanes hold the two nibbles of a group */
static inline void
flush(__m256i both, __m256i odd, __m256i *sums)
{
	__m256i even = _mm256_sub_epi16(both, _mm256_slli_epi16(odd, 8));
	__m128i even_rows =
		_mm_add_epi16(_mm256_castsi256_si128(even), _mm256_extracti128_si256(even, 1));
	__m128i odd_rows = _mm_add_epi16(_mm256_castsi256_si128(odd), _mm256_extracti128_si256(odd, 1));

	sums[0] =
		_mm256_add_epi32(sums[0], _mm256_cvtepu16_epi32(_mm_unpacklo_epi16(even_rows, odd_rows)));
	sums[1] =
		_mm256_add_epi32(sums[1], _mm256_cvtepu16_epi32(_mm_unpackhi_epi16(even_rows, odd_rows)));
}

static inline void
accumulate(const uint8_t *table, const uint8_t *codes, size_t groups, __m256i *sums)
{
	const __m256i nibble = _mm256_set1_epi8(15);

	while (groups > 0)
	{
		size_t count = groups < SCAN_FLUSH_GROUPS ? groups : SCAN_FLUSH_GROUPS;
		__m256i low_both = _mm256_setzero_si256();
		__m256i low_odd = _mm256_setzero_si256();
		__m256i high_both = _mm256_setzero_si256();
		__m256i high_odd = _mm256_setzero_si256();

		for (size_t g = 0; g < count; g++)
		{
			__m256i code = _mm256_loadu_si256((const __m256i *) codes);
			__m256i entries = _mm256_loadu_si256((const __m256i *) table);
			__m256i low = _mm256_and_si256(code, nibble);
			__m256i high = _mm256_and_si256(_mm256_srli_epi16(code, 4), nibble);

			sum_bytes(_mm256_shuffle_epi8(entries, low), &low_both, &low_odd);
			sum_bytes(_mm256_shuffle_epi8(entries, high), &high_both, &high_odd);
			table += 32;
			codes += 32;
		}
		flush(low_both, low_odd, sums);
		flush(high_both, high_odd, sums + 2);
		groups -= count;
	}
}

static inline void
keys(const DsScanScale *scale, const __m256i *sums, const DsBlockFactors *factors, float *estimate,
	 float *bound)
{
	const __m256 base = _mm256_set1_ps(scale->base);
	const __m256 distance = _mm256_set1_ps(scale->distance);
	const __m256 table_step = _mm256_set1_ps(scale->table_step);
	const __m256 table_offset = _mm256_set1_ps(scale->table_offset);
	const __m256 table_error = _mm256_set1_ps(scale->table_error);

	for (int k = 0; k < 4; k++)
	{
		__m256 row_offset = _mm256_loadu_ps(factors->offset + 8 * k);
		__m256 row_scale = _mm256_loadu_ps(factors->scale + 8 * k);
		__m256 row_slack = _mm256_loadu_ps(factors->slack + 8 * k);
		__m256 t =
			_mm256_add_ps(_mm256_mul_ps(table_step, _mm256_cvtepi32_ps(sums[k])), table_offset);
		__m256 key = _mm256_sub_ps(_mm256_add_ps(base, row_offset), _mm256_mul_ps(row_scale, t));
		__m256 slack = _mm256_add_ps(_mm256_mul_ps(row_slack, distance),
									 _mm256_mul_ps(row_scale, table_error));

		_mm256_storeu_ps(estimate + 8 * k, key);
		_mm256_storeu_ps(bound + 8 * k, _mm256_sub_ps(key, slack));
	}
}

static void
part(const uint8_t *table, const uint8_t *codes, size_t groups, uint32_t *sums)
{
	__m256i registers[4];

	for (int k = 0; k < 4; k++)
		registers[k] = _mm256_loadu_si256((const __m256i *) (sums + 8 * k));
	accumulate(table, codes, groups, registers);
	for (int k = 0; k < 4; k++)
		_mm256_storeu_si256((__m256i *) (sums + 8 * k), registers[k]);
}

static void
finish(const DsScanScale *scale, const uint32_t *sums, const DsBlockFactors *factors,
	   float *estimate, float *bound)
{
	__m256i registers[4];

	for (int k = 0; k < 4; k++)
		registers[k] = _mm256_loadu_si256((const __m256i *) (sums + 8 * k));
	keys(scale, registers, factors, estimate, bound);
}

static void
block(const DsScanScale *scale, const uint8_t *table, const uint8_t *codes, size_t groups,
	  const DsBlockFactors *factors, float *estimate, float *bound)
{
	__m256i registers[4];

	for (int k = 0; k < 4; k++)
		registers[k] = _mm256_setzero_si256();
	accumulate(table, codes, groups, registers);
	keys(scale, registers, factors, estimate, bound);
}

static inline __m256
bytes_as_floats(const int8_t *bytes)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *) bytes)));
}

static float
dot(const float *q, const int8_t *bytes, size_t n)
{
	__m256 sum[4];
	__m128 half;
	float tail = 0.0f;
	size_t i = 0;

	for (int k = 0; k < 4; k++)
		sum[k] = _mm256_setzero_ps();
	for (; i + 32 <= n; i += 32)
		for (size_t k = 0; k < 4; k++)
			sum[k] = _mm256_fmadd_ps(_mm256_loadu_ps(q + i + 8 * k),
									 bytes_as_floats(bytes + i + 8 * k), sum[k]);
	for (; i + 8 <= n; i += 8)
		sum[0] = _mm256_fmadd_ps(_mm256_loadu_ps(q + i), bytes_as_floats(bytes + i), sum[0]);
	for (; i < n; i++)
		tail += q[i] * (float) bytes[i];
	sum[0] = _mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3]));
	half = _mm_add_ps(_mm256_castps256_ps128(sum[0]), _mm256_extractf128_ps(sum[0], 1));
	half = _mm_add_ps(half, _mm_movehl_ps(half, half));
	half = _mm_add_ss(half, _mm_movehdup_ps(half));
	return _mm_cvtss_f32(half) + tail;
}

static uint32_t
least(const float *products, const float *norms, size_t k, float *value)
{
	const __m256i eight = _mm256_set1_epi32(8);
	__m256i here = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	__m256i where = _mm256_setzero_si256();
	__m256 best = _mm256_set1_ps(INFINITY);
	float lane_best[8];
	uint32_t lane_where[8];
	size_t i = 0;

	for (; i + 8 <= k; i += 8)
	{
		__m256 product = _mm256_loadu_ps(products + i);
		__m256 v = _mm256_sub_ps(_mm256_loadu_ps(norms + i), _mm256_add_ps(product, product));
		__m256 less = _mm256_cmp_ps(v, best, _CMP_LT_OQ);

		best = _mm256_blendv_ps(best, v, less);
		where = _mm256_blendv_epi8(where, here, _mm256_castps_si256(less));
		here = _mm256_add_epi32(here, eight);
	}
	_mm256_storeu_ps(lane_best, best);
	_mm256_storeu_si256((__m256i *) lane_where, where);
	for (; i < k; i++)
	{
		float v = norms[i] - 2.0f * products[i];

		if (v < lane_best[i % 8])
		{
			lane_best[i % 8] = v;
			lane_where[i % 8] = (uint32_t) i;
		}
	}
	for (int l = 1; l < 8; l++)
		if (lane_best[l] < lane_best[0] ||
			(lane_best[l] == lane_best[0] && lane_where[l] < lane_where[0]))
		{
			lane_best[0] = lane_best[l];
			lane_where[0] = lane_where[l];
		}
	*value = lane_best[0];
	return lane_where[0];
}

static void
signs(const float *y, const float *c, size_t d, uint8_t *out)
{
	size_t i = 0;

	for (; i + 8 <= d; i += 8)
		out[i / 8] = (uint8_t) _mm256_movemask_ps(
			_mm256_cmp_ps(_mm256_loadu_ps(y + i), _mm256_loadu_ps(c + i), _CMP_GE_OQ));
	if (i < d)
	{
		unsigned bits = 0;

		for (size_t b = 0; i + b < d; b++)
			bits |= (unsigned) (y[i + b] >= c[i + b]) << b;
		out[i / 8] = (uint8_t) bits;
	}
}

static const DsScanLoops loops = {
	.level = DS_CPU_AVX2,
	.part = part,
	.finish = finish,
	.block = block,
	.dot = dot,
	.least = least,
	.signs = signs,
	CODE_LOOPS,
};
const DsScanLoops *const ds_scan_loops_avx2 = &loops;
#else
const DsScanLoops *const ds_scan_loops_avx2 = NULL;
#endif
