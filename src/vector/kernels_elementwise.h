/*
 * kernels_elementwise.h
 *		Loops that a compiler vectorises by itself, included by each version's
 *		file so that they are compiled with its instructions.
 *
 * Nothing is reordered here, so every level gives the same bits.
 */
#ifndef DS_KERNELS_ELEMENTWISE_H
#define DS_KERNELS_ELEMENTWISE_H

#include <stdint.h>
#include <string.h>

#include "vector/kernels.h"

/* bits of |x|; infinities and NaN are the ones from 0x7f800000 up */
static inline int32_t
magnitude_bits(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof bits);
	return (int32_t) (bits & UINT32_C(0x7fffffff));
}

#define INFINITY_BITS INT32_C(0x7f800000)

#define ELEMENTWISE(name, arguments, expression) \
	static bool name arguments                   \
	{                                            \
		int32_t worst = 0;                       \
                                                 \
		for (size_t i = 0; i < d; i++)           \
		{                                        \
			float x = (float) (expression);      \
			int32_t bits = magnitude_bits(x);    \
                                                 \
			out[i] = x;                          \
			worst = bits > worst ? bits : worst; \
		}                                        \
		return worst < INFINITY_BITS;            \
	}

ELEMENTWISE(elementwise_add, (const float *a, const float *b, float *out, size_t d), a[i] + b[i])
ELEMENTWISE(elementwise_sub, (const float *a, const float *b, float *out, size_t d), a[i] - b[i])
ELEMENTWISE(elementwise_mul, (const float *a, const float *b, float *out, size_t d), a[i] * b[i])
ELEMENTWISE(elementwise_scale, (const float *a, double factor, float *out, size_t d), a[i] * factor)

static bool
elementwise_all_finite(const float *a, size_t d)
{
	int32_t worst = 0;

	for (size_t i = 0; i < d; i++)
	{
		int32_t bits = magnitude_bits(a[i]);

		worst = bits > worst ? bits : worst;
	}
	return worst < INFINITY_BITS;
}

static void
elementwise_accumulate(double *restrict sum, const float *restrict a, size_t d)
{
	for (size_t i = 0; i < d; i++)
		sum[i] += a[i];
}

#undef ELEMENTWISE

/* the members that every version fills with this file's functions */
#define ELEMENTWISE_MEMBERS                                                 \
	.add = elementwise_add, .sub = elementwise_sub, .mul = elementwise_mul, \
	.scale = elementwise_scale, .all_finite = elementwise_all_finite,       \
	.accumulate = elementwise_accumulate

#endif /* DS_KERNELS_ELEMENTWISE_H */
