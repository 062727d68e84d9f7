/*
 * kernels_loops.c
 *		See kernels_loops.h.  LOOPS is the table's name, FLAGS a string, CLONES
 *		an attribute for the functions; ABSENT makes an empty table.
 */
#include "kernels_loops.h"

#include <math.h>

#ifdef ABSENT

const Loops LOOPS = {0};

#else

CLONES static float
l2_squared(const float *a, const float *b, size_t d)
{
	float sum = 0;

	for (size_t i = 0; i < d; i++)
	{
		float difference = a[i] - b[i];

		sum += difference * difference;
	}
	return sum;
}

CLONES static float
inner_product(const float *a, const float *b, size_t d)
{
	float sum = 0;

	for (size_t i = 0; i < d; i++)
		sum += a[i] * b[i];
	return sum;
}

CLONES static float
taxicab(const float *a, const float *b, size_t d)
{
	float sum = 0;

	for (size_t i = 0; i < d; i++)
		sum += fabsf(a[i] - b[i]);
	return sum;
}

CLONES static double
cosine_distance(const float *a, const float *b, size_t d)
{
	float dot = 0;
	float aa = 0;
	float bb = 0;

	for (size_t i = 0; i < d; i++)
	{
		dot += a[i] * b[i];
		aa += a[i] * a[i];
		bb += b[i] * b[i];
	}
	return 1.0 - (double) dot / sqrt((double) aa * (double) bb);
}

const Loops LOOPS = {FLAGS, l2_squared, inner_product, taxicab, cosine_distance};

#endif
