/*
 * random.h
 *		Random numbers that are the same on every machine.
 *
 * xoshiro256++ (Blackman & Vigna, "Scrambled linear pseudorandom number
 * generators", ACM TOMS 2021), seeded through splitmix64.  Streams with other
 * (seed, stream) pairs are independent for all practical purposes, so a
 * training shard uses ds_random_init(&r, seed, step * 4 + shard).
 */
#ifndef DS_RANDOM_H
#define DS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct DsRandom
{
	uint64_t state[4];
} DsRandom;

extern void ds_random_init(DsRandom *random, uint64_t seed, uint64_t stream);

/* uniform over 64 bits */
extern uint64_t ds_random_next(DsRandom *random);

/* uniform in 0 .. bound - 1, without bias (Lemire's method); bound > 0 */
extern uint64_t ds_random_below(DsRandom *random, uint64_t bound);

/* uniform in [0, 1), 53 bits */
extern double ds_random_double(DsRandom *random);

/* standard normal (polar method) */
extern double ds_random_normal(DsRandom *random);

/* a random permutation of 0 .. n - 1 (Fisher-Yates) */
extern void ds_random_permutation(DsRandom *random, uint32_t *out, size_t n);

/* splitmix64's finaliser: a good 64-bit mix of one word */
extern uint64_t ds_mix64(uint64_t x);

#endif /* DS_RANDOM_H */
