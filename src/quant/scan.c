/*
 * scan.c
 *		The inner loops of codes and queries in plain C, and the choice of a level.
 */
#include "quant/scan.h"

#include "quant/code_loops.h"

static void
part(const uint8_t *table, const uint8_t *codes, size_t groups, uint32_t *sums)
{
	while (groups > 0)
	{
		size_t count = groups < SCAN_FLUSH_GROUPS ? groups : SCAN_FLUSH_GROUPS;
		uint16_t low[16] = {0};
		uint16_t high[16] = {0};

		for (size_t g = 0; g < 2 * count; g++)
		{
			for (int j = 0; j < 16; j++)
			{
				low[j] = (uint16_t) (low[j] + table[codes[j] & 15]);
				high[j] = (uint16_t) (high[j] + table[codes[j] >> 4]);
			}
			table += 16;
			codes += 16;
		}
		for (int j = 0; j < 16; j++)
		{
			sums[j] += low[j];
			sums[j + 16] += high[j];
		}
		groups -= count;
	}
}

static void
finish(const DsScanScale *scale, const uint32_t *sums, const DsBlockFactors *factors,
	   float *estimate, float *bound)
{
	for (int j = 0; j < DS_BLOCK_ROWS; j++)
	{
		/* a sum is at most 4,000 * 255: exact as an int32 and as a float */
		float t = scale->table_step * (float) (int32_t) sums[j] + scale->table_offset;
		float key = (scale->base + factors->offset[j]) - factors->scale[j] * t;

		estimate[j] = key;
		bound[j] =
			key - (factors->slack[j] * scale->distance + factors->scale[j] * scale->table_error);
	}
}

static void
block(const DsScanScale *scale, const uint8_t *table, const uint8_t *codes, size_t groups,
	  const DsBlockFactors *factors, float *estimate, float *bound)
{
	uint32_t sums[DS_BLOCK_ROWS] = {0};

	part(table, codes, groups, sums);
	finish(scale, sums, factors, estimate, bound);
}

static float
dot(const float *q, const int8_t *bytes, size_t n)
{
	float sum[16] = {0};
	size_t start = 0;

	for (; start + 16 <= n; start += 16)
		for (size_t j = 0; j < 16; j++)
			sum[j] += q[start + j] * (float) bytes[start + j];
	for (size_t i = start; i < n; i++)
		sum[i - start] += q[i] * (float) bytes[i];
	for (int width = 8; width > 0; width /= 2)
		for (int j = 0; j < width; j++)
			sum[j] += sum[j + width];
	return sum[0];
}

static uint32_t
least(const float *products, const float *norms, size_t k, float *value)
{
	float best[16];
	uint32_t where[16];
	size_t start = 0;

	for (int l = 0; l < 16; l++)
	{
		best[l] = INFINITY;
		where[l] = 0;
	}
	for (; start < k; start += 16)
		for (size_t l = 0; l < (k - start < 16 ? k - start : 16); l++)
		{
			float v = norms[start + l] - 2.0f * products[start + l];

			where[l] = v < best[l] ? (uint32_t) (start + l) : where[l];
			best[l] = v < best[l] ? v : best[l];
		}
	for (int l = 1; l < 16; l++)
		if (best[l] < best[0] || (best[l] == best[0] && where[l] < where[0]))
		{
			best[0] = best[l];
			where[0] = where[l];
		}
	*value = best[0];
	return where[0];
}

static void
signs(const float *y, const float *c, size_t d, uint8_t *out)
{
	for (size_t i = 0; i < d; i += 8)
	{
		unsigned bits = 0;

		for (size_t b = 0; b < 8 && i + b < d; b++)
			bits |= (unsigned) (y[i + b] >= c[i + b]) << b;
		out[i / 8] = (uint8_t) bits;
	}
}

const DsScanLoops ds_scan_loops_portable = {
	.level = DS_CPU_PORTABLE,
	.part = part,
	.finish = finish,
	.block = block,
	.dot = dot,
	.least = least,
	.signs = signs,
	CODE_LOOPS,
};

const DsScanLoops *
ds_scan_loops_at(DsCpuLevel level)
{
	if (level > ds_cpu_level())
		return NULL;
	switch (level)
	{
		case DS_CPU_PORTABLE:
			return &ds_scan_loops_portable;
		case DS_CPU_AVX2:
			return ds_scan_loops_avx2;
		case DS_CPU_AVX512:
		case DS_CPU_AVX512_VNNI:
			return ds_scan_loops_avx512;
	}
	return NULL;
}

const DsScanLoops *
ds_scan_loops(void)
{
	static const DsScanLoops *chosen = NULL;

	if (chosen == NULL)
	{
		const DsScanLoops *loops = NULL;

		for (int level = (int) ds_cpu_level(); loops == NULL; level--)
			loops = ds_scan_loops_at((DsCpuLevel) level);
		chosen = loops;
	}
	return chosen;
}
