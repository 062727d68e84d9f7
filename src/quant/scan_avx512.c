/*
 * scan_avx512.c
 *		The inner loops of codes and queries with AVX-512 (F, BW).
 */
#include "quant/scan.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
#include <immintrin.h>

#include "quant/code_loops.h"

/* as in scan_avx2.c, four nibbles of each row (two groups) at a time */
static inline void
sum_bytes(__m512i bytes, __m512i *both, __m512i *odd)
{
	*both = _mm512_add_epi16(*both, bytes);
	*odd = _mm512_add_epi16(*odd, _mm512_srli_epi16(bytes, 8));
}

/* 16 rows' sums in order, in 32 bits */
static inline __m512i
flush(__m512i both, __m512i odd)
{
	__m512i even = _mm512_sub_epi16(both, _mm512_slli_epi16(odd, 8));
	__m512i low = _mm512_unpacklo_epi16(even, odd); /* rows 0 .. 7 in each lane */
	__m512i high = _mm512_unpackhi_epi16(even, odd); /* rows 8 .. 15 */
	/* lanes: rows 0 .. 7 of lanes 0, 1, then of 2, 3; and so for 8 .. 15 */
	__m256i low_rows =
		_mm256_add_epi16(_mm512_castsi512_si256(low), _mm512_extracti64x4_epi64(low, 1));
	__m256i high_rows =
		_mm256_add_epi16(_mm512_castsi512_si256(high), _mm512_extracti64x4_epi64(high, 1));
	__m256i rows = _mm256_add_epi16(_mm256_permute2x128_si256(low_rows, high_rows, 0x20),
									_mm256_permute2x128_si256(low_rows, high_rows, 0x31));

	return _mm512_cvtepu16_epi32(rows);
}

static inline void
accumulate(const uint8_t *table, const uint8_t *codes, size_t groups, __m512i *sums)
{
	const __m512i nibble = _mm512_set1_epi8(15);

	while (groups > 0)
	{
		size_t count = groups < SCAN_FLUSH_GROUPS ? groups : SCAN_FLUSH_GROUPS;
		__m512i low_both = _mm512_setzero_si512();
		__m512i low_odd = _mm512_setzero_si512();
		__m512i high_both = _mm512_setzero_si512();
		__m512i high_odd = _mm512_setzero_si512();

		for (size_t g = 0; g + 2 <= count; g += 2)
		{
			__m512i code = _mm512_loadu_si512(codes);
			__m512i entries = _mm512_loadu_si512(table);
			__m512i low = _mm512_and_si512(code, nibble);
			__m512i high = _mm512_and_si512(_mm512_srli_epi16(code, 4), nibble);

			sum_bytes(_mm512_shuffle_epi8(entries, low), &low_both, &low_odd);
			sum_bytes(_mm512_shuffle_epi8(entries, high), &high_both, &high_odd);
			table += 64;
			codes += 64;
		}
		if (count % 2 != 0)
		{
			/* half a register; the zeros of the other half's table add nothing */
			__m512i code = _mm512_maskz_loadu_epi64(0x0f, codes);
			__m512i entries = _mm512_maskz_loadu_epi64(0x0f, table);
			__m512i low = _mm512_and_si512(code, nibble);
			__m512i high = _mm512_and_si512(_mm512_srli_epi16(code, 4), nibble);

			sum_bytes(_mm512_shuffle_epi8(entries, low), &low_both, &low_odd);
			sum_bytes(_mm512_shuffle_epi8(entries, high), &high_both, &high_odd);
			table += 32;
			codes += 32;
		}
		sums[0] = _mm512_add_epi32(sums[0], flush(low_both, low_odd));
		sums[1] = _mm512_add_epi32(sums[1], flush(high_both, high_odd));
		groups -= count;
	}
}

static inline void
keys(const DsScanScale *scale, const __m512i *sums, const DsBlockFactors *factors, float *estimate,
	 float *bound)
{
	const __m512 base = _mm512_set1_ps(scale->base);
	const __m512 distance = _mm512_set1_ps(scale->distance);
	const __m512 table_step = _mm512_set1_ps(scale->table_step);
	const __m512 table_offset = _mm512_set1_ps(scale->table_offset);
	const __m512 table_error = _mm512_set1_ps(scale->table_error);

	for (int k = 0; k < 2; k++)
	{
		__m512 row_offset = _mm512_loadu_ps(factors->offset + 16 * k);
		__m512 row_scale = _mm512_loadu_ps(factors->scale + 16 * k);
		__m512 row_slack = _mm512_loadu_ps(factors->slack + 16 * k);
		__m512 t =
			_mm512_add_ps(_mm512_mul_ps(table_step, _mm512_cvtepi32_ps(sums[k])), table_offset);
		__m512 key = _mm512_sub_ps(_mm512_add_ps(base, row_offset), _mm512_mul_ps(row_scale, t));
		__m512 slack = _mm512_add_ps(_mm512_mul_ps(row_slack, distance),
									 _mm512_mul_ps(row_scale, table_error));

		_mm512_storeu_ps(estimate + 16 * k, key);
		_mm512_storeu_ps(bound + 16 * k, _mm512_sub_ps(key, slack));
	}
}

static void
part(const uint8_t *table, const uint8_t *codes, size_t groups, uint32_t *sums)
{
	__m512i registers[2] = {_mm512_loadu_si512(sums), _mm512_loadu_si512(sums + 16)};

	accumulate(table, codes, groups, registers);
	_mm512_storeu_si512(sums, registers[0]);
	_mm512_storeu_si512(sums + 16, registers[1]);
}

static void
finish(const DsScanScale *scale, const uint32_t *sums, const DsBlockFactors *factors,
	   float *estimate, float *bound)
{
	__m512i registers[2] = {_mm512_loadu_si512(sums), _mm512_loadu_si512(sums + 16)};

	keys(scale, registers, factors, estimate, bound);
}

static void
block(const DsScanScale *scale, const uint8_t *table, const uint8_t *codes, size_t groups,
	  const DsBlockFactors *factors, float *estimate, float *bound)
{
	__m512i registers[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};

	accumulate(table, codes, groups, registers);
	keys(scale, registers, factors, estimate, bound);
}

static float
dot(const float *q, const int8_t *bytes, size_t n)
{
	__m512 sum[4];
	size_t i = 0;

	for (int k = 0; k < 4; k++)
		sum[k] = _mm512_setzero_ps();
	for (; i + 64 <= n; i += 64)
		for (size_t k = 0; k < 4; k++)
		{
			__m128i packed = _mm_loadu_si128((const __m128i *) (bytes + i + 16 * k));

			sum[k] = _mm512_fmadd_ps(_mm512_loadu_ps(q + i + 16 * k),
									 _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(packed)), sum[k]);
		}
	for (size_t k = 0; i < n; i += 16, k++)
	{
		__mmask16 mask = (__mmask16) (n - i >= 16 ? 0xffff : (1u << (n - i)) - 1);
		__m128i packed = _mm_maskz_loadu_epi8(mask, bytes + i);

		sum[k] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, q + i),
								 _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(packed)), sum[k]);
	}
	sum[0] = _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3]));
	return _mm512_reduce_add_ps(sum[0]);
}

static uint32_t
least(const float *products, const float *norms, size_t k, float *value)
{
	const __m512i sixteen = _mm512_set1_epi32(16);
	__m512i here = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	__m512i where = _mm512_setzero_si512();
	__m512 best = _mm512_set1_ps(INFINITY);
	float lane_best;
	__mmask16 equal;

	for (size_t i = 0; i < k; i += 16)
	{
		__mmask16 mask = (__mmask16) (k - i >= 16 ? 0xffff : (1u << (k - i)) - 1);
		__m512 product = _mm512_maskz_loadu_ps(mask, products + i);
		/* doubling is exact: this is norm - 2 * product however it is rounded */
		__m512 v =
			_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, norms + i), _mm512_add_ps(product, product));
		__mmask16 less = _mm512_mask_cmp_ps_mask(mask, v, best, _CMP_LT_OQ);

		best = _mm512_mask_mov_ps(best, less, v);
		where = _mm512_mask_mov_epi32(where, less, here);
		here = _mm512_add_epi32(here, sixteen);
	}
	lane_best = _mm512_reduce_min_ps(best);
	equal = _mm512_cmp_ps_mask(best, _mm512_set1_ps(lane_best), _CMP_EQ_OQ);
	*value = lane_best;
	return _mm512_mask_reduce_min_epu32(equal, where);
}

static void
signs(const float *y, const float *c, size_t d, uint8_t *out)
{
	for (size_t i = 0; i < d; i += 16)
	{
		size_t left = d - i;
		__mmask16 mask = (__mmask16) (left >= 16 ? 0xffff : (1u << left) - 1);
		__mmask16 plus = _mm512_mask_cmp_ps_mask(mask, _mm512_maskz_loadu_ps(mask, y + i),
												 _mm512_maskz_loadu_ps(mask, c + i), _CMP_GE_OQ);

		out[i / 8] = (uint8_t) plus;
		if (left > 8)
			out[i / 8 + 1] = (uint8_t) (plus >> 8);
	}
}

static const DsScanLoops loops = {
	.level = DS_CPU_AVX512,
	.part = part,
	.finish = finish,
	.block = block,
	.dot = dot,
	.least = least,
	.signs = signs,
	CODE_LOOPS,
};
const DsScanLoops *const ds_scan_loops_avx512 = &loops;
#else
const DsScanLoops *const ds_scan_loops_avx512 = NULL;
#endif
