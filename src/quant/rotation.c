/*
 * rotation.c
 *		A seeded random rotation of d dimensions in O(d log d).
 *
 * The idea.  A one-bit code keeps the sign of each coordinate.  That is a good
 * code of a direction only if no coordinate matters much more than another,
 * which real data do not grant: a text encoder has a few coordinates ten times
 * as large as the rest, one-hot parts are zero but for one place.  Rotate at
 * random first, and every direction looks the same: its coordinates behave
 * like independent normal ones, whatever the data were.  Distances and inner
 * products stay what they were.
 *
 * A random orthonormal matrix would cost d^2 multiplications a vector (256
 * million at 16,000 dimensions).  Instead (Ailon & Chazelle, "The fast
 * Johnson-Lindenstrauss transform", SIAM J. Comput. 2009):
 *
 *	1. Flip the sign of each coordinate at random.
 *	2. Take the Hadamard transform: log2(n) stages of n / 2 butterflies
 *	   (a, b) -> (a + b, a - b).  It spreads every coordinate over all.
 *	3. Do both again with other signs: the first pass makes coordinates equal
 *	   in size, the second makes them look normal, a third is insurance.
 *
 * The transform needs n to be a power of two.  Padding 768 to 1,024 would cost
 * a third more bytes in every code, so for other d there is no padding but
 * two overlapping transforms, n the largest power of two below d: of the first
 * n coordinates, then of the last n.  When the overlap is small (d = 1,000:
 * n = 512, overlap 24) little passes from one half to the other, so one stage
 * of butterflies between i and i + ceil(d / 2) follows the pair: it leaves
 * either half with half of the energy of both.  Then the pair again, for every
 * coordinate to have gone through two transforms.  (A butterfly after each
 * transform is worse: a coordinate that the first transform does not touch is
 * split in two, one part of which the second does not touch, and so on; after
 * four rounds an eighth of its energy still stood in one place.)
 *
 * Worked example, d = 3: n = 2.  Round 1 flips signs, then transforms places
 * 0 and 1, (a, b, c) -> ((a + b) / r, (a - b) / r, c) with r = sqrt(2); round 2
 * flips and transforms places 1 and 2; then the butterfly of places 0 and 2;
 * then rounds 3 and 4 as 1 and 2, and a last flip.
 *
 * Scaling.  Each step is orthonormal up to a power of sqrt(2).  The scale goes
 * into the signs, so that a round begins with one multiplication a coordinate,
 * by +-1 / sqrt(n) where the transform will be and by the 1 / sqrt(2) that the
 * last butterfly owes.  Scaling before the additions, not after, keeps every
 * intermediate value at most |x|, so that nothing overflows that need not.
 *
 * Rounding.  An addition has a relative error of at most u = 2^-24 of its
 * result, so a stage turns the vector by at most u of its length; so do the
 * multiplication and the rounding of its factor.  The steps are orthonormal,
 * so these add up: m = rounds * (log2(n) + 3) + 2 of them (the 3: two for the
 * factor, one for a butterfly).  Additions never lose anything to underflow;
 * a multiplication may lose half of the last subnormal bit, 2^-150, in each
 * coordinate, which the scaling that is still to come multiplies by sqrt(n).
 *
 * Every CPU level does the same additions in the same tree and no fused
 * multiplication (the room is built with -ffp-contract=off), so the results
 * are equal to the bit and an index can move between machines.
 *
 * Limits: ROUNDS_POWER_OF_TWO, ROUNDS_OTHER; docs/internals/quant.md has the
 * measurements behind them.
 */
#include "quant/rotation.h"

#include <math.h>
#include <string.h>

#include "base/random.h"
#include "quant/rotation_loops.h"

#define ROUNDS_POWER_OF_TWO 3
#define ROUNDS_OTHER 4

/* the random stream of the signs, so that other users of the seed differ */
#define SIGN_STREAM UINT64_C(0x726f746174696f6e)

static const DsRotationLoops *chosen = NULL;

static void
portable_transform(float *x, size_t n)
{
	for (size_t h = 1; h < n; h *= 2)
		for (size_t i = 0; i < n; i += 2 * h)
			for (size_t j = i; j < i + h; j++)
			{
				float a = x[j];
				float b = x[j + h];

				x[j] = a + b;
				x[j + h] = a - b;
			}
}

DEFINE_MULTIPLY(portable_multiply)
DEFINE_BUTTERFLY(portable_butterfly)

static const DsRotationLoops portable = {portable_transform, portable_multiply, portable_butterfly};

static const DsRotationLoops *
loops_at(DsCpuLevel level)
{
	if (level > ds_cpu_level())
		return NULL;
	switch (level)
	{
		case DS_CPU_PORTABLE:
			return &portable;
		case DS_CPU_AVX2:
			return ds_rotation_loops_avx2;
		case DS_CPU_AVX512:
		case DS_CPU_AVX512_VNNI:
			return ds_rotation_loops_avx512;
	}
	return NULL;
}

static const DsRotationLoops *
choose(void)
{
	const DsRotationLoops *loops = NULL;

	for (int level = (int) ds_cpu_level(); loops == NULL; level--)
		loops = loops_at((DsCpuLevel) level);
	chosen = loops;
	return loops;
}

/* between the pairs of transforms: before rounds 2, 4, ... but not after the last */
static bool
has_butterfly(size_t dimension, size_t block, uint32_t rounds, uint32_t before)
{
	return block < dimension && before > 0 && before < rounds && before % 2 == 0;
}

DsCode
ds_rotation_init(DsRotation *rotation, uint32_t dimension, uint64_t seed, DsArena *arena,
				 DsStatus *status)
{
	uint32_t block = 1;
	uint32_t stages = 0;
	uint32_t rounds;
	size_t count;
	size_t half = ((size_t) dimension + 1) / 2;
	float *factors;
	DsRandom random;
	uint64_t bits = 0;
	unsigned left = 0;

	if (dimension == 0 || dimension > DS_ROTATION_MAX_DIMENSION)
		return ds_fail(status, DS_INVALID, "a rotation must have 1 to %d dimensions, not %u",
					   DS_ROTATION_MAX_DIMENSION, (unsigned) dimension);
	while (block <= dimension / 2)
	{
		block *= 2;
		stages++;
	}
	rounds = block == dimension ? ROUNDS_POWER_OF_TWO : ROUNDS_OTHER;

	count = (size_t) (rounds + 1) * dimension; /* at most 5 * 16,000 */
	factors = ds_arena_alloc(arena, count, sizeof(float));
	if (factors == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for a rotation of %u dimensions",
					   (unsigned) dimension);

	ds_random_init(&random, seed, SIGN_STREAM);
	for (uint32_t round = 0; round <= rounds; round++)
	{
		/* where this round's transform will be; nowhere after the last */
		size_t start = block < dimension && round % 2 == 1 ? dimension - block : 0;
		size_t end = round < rounds ? start + block : 0;

		for (size_t i = 0; i < dimension; i++)
		{
			double factor = 1.0;

			if (i >= start && i < end)
				factor /= sqrt((double) block);
			/* what a butterfly before this round owes; with an odd d, half - 1 has no partner */
			if (has_butterfly(dimension, block, rounds, round) &&
				(i >= half || i + half < dimension))
				factor *= 0.70710678118654752440;
			if (left == 0)
			{
				bits = ds_random_next(&random);
				left = 64;
			}
			factors[round * (size_t) dimension + i] = (float) (bits & 1 ? -factor : factor);
			bits >>= 1;
			left--;
		}
	}

	rotation->dimension = dimension;
	rotation->block = block;
	rotation->rounds = rounds;
	rotation->seed = seed;
	rotation->factors = factors;
	/* (1 + u)^m - 1 <= 1.01 m u for the m that occur, at most 66 */
	rotation->error = 1.01 * (double) (rounds * (stages + 3) + 2) * 0x1p-24;
	rotation->tiny = (double) (rounds + 1) * dimension * 0x1p-148;
	return DS_OK;
}

static void
rotate(const DsRotationLoops *loops, const DsRotation *rotation, const float *x, float *out)
{
	size_t d = rotation->dimension;
	size_t block = rotation->block;
	const float *factors = rotation->factors;

	if (out != x)
		memmove(out, x, d * sizeof(float));
	for (uint32_t round = 0; round < rotation->rounds; round++)
	{
		loops->multiply(out, factors, d);
		factors += d;
		loops->transform(round % 2 == 1 ? out + (d - block) : out, block);
		if (has_butterfly(d, block, rotation->rounds, round + 1))
			loops->butterfly(out, d);
	}
	loops->multiply(out, factors, d);
}

void
ds_rotate(const DsRotation *rotation, const float *x, float *out)
{
	rotate(chosen != NULL ? chosen : choose(), rotation, x, out);
}

bool
ds_rotate_at(DsCpuLevel level, const DsRotation *rotation, const float *x, float *out)
{
	const DsRotationLoops *loops = loops_at(level);

	if (loops == NULL)
		return false;
	rotate(loops, rotation, x, out);
	return true;
}
