/*
 * random.c
 *		xoshiro256++ and what is drawn from it.
 */
#include "base/random.h"

#include <math.h>

uint64_t
ds_mix64(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

void
ds_random_init(DsRandom *random, uint64_t seed, uint64_t stream)
{
	/* mixing the stream first keeps (seed, stream + 1) away from (seed + 1, stream) */
	uint64_t x = seed ^ ds_mix64(stream + UINT64_C(0x9e3779b97f4a7c15));

	for (int i = 0; i < 4; i++)
		random->state[i] = ds_mix64(x += UINT64_C(0x9e3779b97f4a7c15));
}

static inline uint64_t
rotate_left(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

uint64_t
ds_random_next(DsRandom *random)
{
	uint64_t *s = random->state;
	uint64_t result = rotate_left(s[0] + s[3], 23) + s[0];
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return result;
}

uint64_t
ds_random_below(DsRandom *random, uint64_t bound)
{
	unsigned __int128 product = (unsigned __int128) ds_random_next(random) * bound;
	uint64_t low = (uint64_t) product;

	if (low < bound)
	{
		uint64_t threshold = -bound % bound;

		while (low < threshold)
		{
			product = (unsigned __int128) ds_random_next(random) * bound;
			low = (uint64_t) product;
		}
	}
	return (uint64_t) (product >> 64);
}

double
ds_random_double(DsRandom *random)
{
	return (double) (ds_random_next(random) >> 11) * 0x1.0p-53;
}

double
ds_random_normal(DsRandom *random)
{
	double u;
	double v;
	double s;

	/* the second value of the pair is thrown away: no hidden state */
	do
	{
		u = 2.0 * ds_random_double(random) - 1.0;
		v = 2.0 * ds_random_double(random) - 1.0;
		s = u * u + v * v;
	} while (s >= 1.0 || s == 0.0);
	return u * sqrt(-2.0 * log(s) / s);
}

void
ds_random_permutation(DsRandom *random, uint32_t *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		size_t j = ds_random_below(random, i + 1);

		out[i] = out[j];
		out[j] = (uint32_t) i;
	}
}
