/*
 * resize_kernels.c
 *		The loops of resizing for any processor, and the choice among them.
 */
#include "image/resize_kernels.h"

#include "base/cpu.h"

static void
horizontal(const DsResizeAxis *axis, const uint8_t *const *in, uint8_t *const *out, size_t rows)
{
	for (size_t r = 0; r < rows; r++)
		for (uint32_t i = 0; i < axis->count; i++)
		{
			const uint8_t *p = in[r] + (size_t) axis->first[i] * 3;
			const int32_t *weights = axis->weights + (size_t) i * axis->stride;
			int32_t sum[3] = {1 << (DS_RESIZE_BITS - 1), 1 << (DS_RESIZE_BITS - 1),
							  1 << (DS_RESIZE_BITS - 1)};

			for (uint32_t t = 0; t < axis->taps[i]; t++, p += 3)
			{
				sum[0] += p[0] * weights[t];
				sum[1] += p[1] * weights[t];
				sum[2] += p[2] * weights[t];
			}
			for (size_t c = 0; c < 3; c++)
				out[r][(size_t) i * 3 + c] = ds_resize_round(sum[c]);
		}
}

#define BLOCK 64

static void
vertical(const uint8_t *in, size_t stride, size_t bytes, uint32_t taps, const int32_t *weights,
		 const int16_t *high, const int16_t *low, uint8_t *out)
{
	(void) high;
	(void) low;
	for (size_t x = 0; x < bytes; x += BLOCK)
	{
		size_t n = bytes - x < BLOCK ? bytes - x : BLOCK;
		int32_t sum[BLOCK];

		for (size_t i = 0; i < BLOCK; i++)
			sum[i] = 1 << (DS_RESIZE_BITS - 1);
		for (uint32_t t = 0; t < taps; t++)
		{
			const uint8_t *row = in + t * stride + x;

			if (n == BLOCK)
				for (size_t i = 0; i < BLOCK; i++)
					sum[i] += row[i] * weights[t];
			else
				for (size_t i = 0; i < n; i++)
					sum[i] += row[i] * weights[t];
		}
		for (size_t i = 0; i < n; i++)
			out[x + i] = ds_resize_round(sum[i]);
	}
}

const DsResizeKernels ds_resize_kernels_portable = {horizontal, vertical};

const DsResizeKernels *
ds_resize_kernels_at(int level)
{
	if (level == DS_CPU_PORTABLE)
		return &ds_resize_kernels_portable;
#if defined(__x86_64__)
	if (level == DS_CPU_AVX2)
		return &ds_resize_kernels_avx2;
#endif
	return NULL;
}

const DsResizeKernels *
ds_resize_kernels(void)
{
	return ds_resize_kernels_at(ds_cpu_level() >= DS_CPU_AVX2 ? DS_CPU_AVX2 : DS_CPU_PORTABLE);
}
