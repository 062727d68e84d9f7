/*
 * encoder_positions.c
 *		Where tokens stand: the numbers that attention is given for it.
 */
#include "nn/encoder_positions.h"

#include <math.h>

uint32_t
ds_relative_bucket(int64_t distance, uint32_t buckets, uint32_t most)
{
	uint32_t half = buckets / 2;
	uint32_t exact = half / 2;
	uint32_t behind = distance > 0 ? half : 0;
	uint32_t n = (uint32_t) (distance < 0 ? -distance : distance);
	uint32_t bucket;

	if (n < exact)
		return behind + n;
	/* in single precision, as those who trained such models computed it */
	bucket = exact + (uint32_t) (logf((float) n / (float) exact) /
								 (float) log((double) most / exact) * (float) (half - exact));
	return behind + (bucket < half ? bucket : half - 1);
}

void
ds_rotary_angles(const DsEncoderSpec *spec, double base, size_t n, float *cosines, float *sines)
{
	size_t half = spec->rotary_dims / 2;

	for (size_t c = 0; c < half; c++)
	{
		/* single precision again: at position 8,000 the rounding of the angle is visible */
		float frequency = (float) (1.0 / pow(base, (double) (2 * c) / spec->rotary_dims));

		for (size_t t = 0; t < n; t++)
		{
			float angle = (float) t * frequency;

			cosines[t * half + c] = cosf(angle);
			sines[t * half + c] = sinf(angle);
		}
	}
}
