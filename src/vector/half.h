/*
 * half.h
 *		Half precision numbers: IEEE 754 binary16, one sign bit, 5 of exponent,
 *		10 of mantissa.
 *
 * Normal numbers are 2^-14 to 65504, subnormal ones multiples of 2^-24.  Every
 * half is a float; a float is rounded to the nearest half, to the even one of
 * two, and is out of range from 65520 (the middle between 65504 and 2^16) on.
 */
#ifndef DS_HALF_H
#define DS_HALF_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t DsHalf; /* its bits */

#define DS_HALF_MAX 65504.0f

/* floats of this magnitude and above are no halves any more */
#define DS_HALF_OVERFLOW 65520.0f

static inline bool
ds_half_is_finite(DsHalf half)
{
	return (half & 0x7c00) != 0x7c00;
}

static inline float
ds_half_bits_to_float(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof value);
	return value;
}

/*
 * The float of a finite half.  With its bits where a float has them, the
 * exponent is too small by the difference of the two biases, 112; this is right
 * for subnormal numbers too.
 */
static inline float
ds_half_finite_to_float(DsHalf half)
{
	float magnitude = ds_half_bits_to_float((uint32_t) (half & 0x7fff) << 13) * 0x1p112f;

	return half & 0x8000 ? -magnitude : magnitude;
}

/* The float of any half, infinities and NaN included. */
static inline float
ds_half_to_float(DsHalf half)
{
	uint32_t sign = (uint32_t) (half & 0x8000) << 16;

	if (ds_half_is_finite(half))
		return ds_half_finite_to_float(half);
	if ((half & 0x3ff) == 0)
		return ds_half_bits_to_float(sign | 0x7f800000);
	/* quiet, as a processor's conversion makes it */
	return ds_half_bits_to_float(sign | 0x7fc00000 | (uint32_t) (half & 0x3ff) << 13);
}

/* The nearest half of a float: an infinity from DS_HALF_OVERFLOW on, NaN for NaN. */
static inline DsHalf
ds_half_from_float(float value)
{
	uint32_t bits;
	uint32_t sign;

	memcpy(&bits, &value, sizeof bits);
	sign = bits >> 16 & 0x8000;
	bits &= 0x7fffffff;
	if (bits > 0x7f800000)
		return (DsHalf) (sign | 0x7e00 | (bits >> 13 & 0x3ff));
	if (bits >= 0x477ff000)
		return (DsHalf) (sign | 0x7c00);
	if (bits < 0x38800000)
	{
		/* below 2^-14: beside 1/2 a float's last place is 2^-24, so this addition rounds */
		float shifted = ds_half_bits_to_float(bits) + 0.5f;

		memcpy(&bits, &shifted, sizeof bits);
		return (DsHalf) (sign | (bits - 0x3f000000));
	}
	/* the other bias, and just under half of the last place, or half where that makes it even */
	bits += UINT32_C(0xc8000fff) + (bits >> 13 & 1);
	return (DsHalf) (sign | bits >> 13);
}

#endif /* DS_HALF_H */
