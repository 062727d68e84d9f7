/*
 * test_quant_rotation.c
 *		Rotations: orthonormal, repeatable, equal at every level, well mixed.
 */
#include "quant/rotation.h"

#include <stdint.h>

#include "base/random.h"
#include "unit.h"

static const uint32_t dimensions[] = {1,   2,	 3,	   4,	 5,	   7,	 8,	   15,	16,
									  17,  31,	 33,   64,	 100,  127,	 128,  129, 255,
									  768, 1000, 1024, 1536, 2000, 4097, 16000};
#define N_DIMENSIONS (sizeof(dimensions) / sizeof(dimensions[0]))

static double
dot(const float *a, const float *b, size_t d)
{
	double sum = 0.0;

	for (size_t i = 0; i < d; i++)
		sum += (double) a[i] * b[i];
	return sum;
}

static void
random_vector(DsRandom *random, float *x, size_t d, double scale)
{
	for (size_t i = 0; i < d; i++)
		x[i] = (float) (scale * ds_random_normal(random));
}

/* |R~ x - R~' x| with R~' in double: the factors are those of the rotation itself */
static void
rotate_double(const DsRotation *r, const float *x, double *out)
{
	size_t d = r->dimension;
	size_t half = (d + 1) / 2;
	double root = 0.70710678118654752440;

	for (size_t i = 0; i < d; i++)
		out[i] = x[i];
	for (uint32_t round = 0; round <= r->rounds; round++)
	{
		size_t start = round % 2 == 1 ? d - r->block : 0;

		/* only the signs: the scale is applied exactly where it belongs */
		for (size_t i = 0; i < d; i++)
			out[i] = r->factors[round * d + i] < 0 ? -out[i] : out[i];
		if (round == r->rounds)
			break;
		for (size_t h = 1; h < r->block; h *= 2)
			for (size_t i = 0; i < r->block; i++)
				if ((i & h) == 0)
				{
					double a = out[start + i];
					double b = out[start + i + h];

					out[start + i] = (a + b) * root;
					out[start + i + h] = (a - b) * root;
				}
		if (r->block < d && round == 1)
			for (size_t i = 0; i + half < d; i++)
			{
				double a = out[i];
				double b = out[i + half];

				out[i] = (a + b) * root;
				out[i + half] = (a - b) * root;
			}
	}
}

static void
test_refused(void)
{
	DsArena arena;
	DsRotation r;
	DsStatus status;

	ds_arena_init(&arena, NULL);
	CHECK(ds_rotation_init(&r, 0, 1, &arena, &status) == DS_INVALID, "no dimensions: %s",
		  status.message);
	CHECK(ds_rotation_init(&r, 16001, 1, &arena, &status) == DS_INVALID, "too many: %s",
		  status.message);
	ds_arena_free(&arena);
}

static void
test_orthonormal(void)
{
	double worst = 0.0;
	double worst_of_bound = 0.0;
	int bad_pairs = 0;
	int bad_reference = 0;
	int unequal = 0;
	int unrepeatable = 0;
	int levels = 0;

	for (size_t k = 0; k < N_DIMENSIONS; k++)
	{
		uint32_t d = dimensions[k];
		DsArena arena;
		DsRotation r;
		DsRotation again;
		DsRandom random;
		float *x;
		float *y;
		float *rx;
		float *ry;
		double *reference;

		ds_arena_init(&arena, NULL);
		ds_random_init(&random, 7, d);
		if (ds_rotation_init(&r, d, 42, &arena, NULL) != DS_OK ||
			ds_rotation_init(&again, d, 42, &arena, NULL) != DS_OK)
			abort();
		/* one float past a boundary of 64 bytes: no alignment is promised */
		x = (float *) ds_arena_alloc(&arena, d + 1, sizeof(float)) + 1;
		y = (float *) ds_arena_alloc(&arena, d + 1, sizeof(float)) + 1;
		rx = (float *) ds_arena_alloc(&arena, d + 1, sizeof(float)) + 1;
		ry = (float *) ds_arena_alloc(&arena, d + 1, sizeof(float)) + 1;
		reference = ds_arena_alloc(&arena, d, sizeof(double));

		for (int trial = 0; trial < 6; trial++)
		{
			double scale = trial == 4 ? 1e30 : trial == 5 ? 1e-41 : 1.0;
			double nx;
			double ny;
			double difference = 0.0;
			double allowed;

			random_vector(&random, x, d, scale);
			random_vector(&random, y, d, scale);
			if (trial == 3) /* one coordinate only */
			{
				memset(x, 0, d * sizeof(float));
				x[ds_random_below(&random, d)] = 1.0f;
			}
			nx = sqrt(dot(x, x, d));
			ny = sqrt(dot(y, y, d));

			ds_rotate(&r, x, rx);
			memcpy(ry, y, d * sizeof(float));
			ds_rotate(&r, ry, ry); /* in place */

			rotate_double(&r, x, reference);
			for (size_t i = 0; i < d; i++)
				difference += (rx[i] - reference[i]) * (rx[i] - reference[i]);
			difference = sqrt(difference);
			allowed = r.error * nx + r.tiny;
			if (!(difference <= allowed))
				bad_reference++;
			if (trial < 4)
			{
				worst = fmax(worst, difference / nx);
				worst_of_bound = fmax(worst_of_bound, difference / allowed);
			}
			/* inner products survive, within twice the error of a vector */
			if (!(fabs(dot(rx, ry, d) - dot(x, y, d)) <=
				  2.1 * (r.error * nx * ny + r.tiny * (nx + ny))))
				bad_pairs++;

			ds_rotate(&again, x, ry);
			if (memcmp(rx, ry, d * sizeof(float)) != 0)
				unrepeatable++;
			levels = 0;
			for (int level = DS_CPU_PORTABLE; level <= DS_CPU_AVX512_VNNI; level++)
				if (ds_rotate_at((DsCpuLevel) level, &r, x, ry))
				{
					levels++;
					if (memcmp(rx, ry, d * sizeof(float)) != 0)
						unequal++;
				}
		}
		ds_arena_free(&arena);
	}
	CHECK(bad_reference == 0, "error within its bound: %.2g of |x| at most, %.0f %% of the bound",
		  worst, 100 * worst_of_bound);
	CHECK(worst_of_bound > 1e-3, "the bound is not absurd");
	CHECK(bad_pairs == 0, "inner products are kept");
	CHECK(unrepeatable == 0, "the same seed gives the same rotation");
	CHECK(unequal == 0 && levels > 0, "equal to the bit at %d levels", levels);
}

static void
test_seeds_differ(void)
{
	DsArena arena;
	DsRotation a;
	DsRotation b;
	float x[100];
	float rx[100];
	float ry[100];
	double norm;

	ds_arena_init(&arena, NULL);
	for (int i = 0; i < 100; i++)
		x[i] = (float) (i % 7) - 3.0f;
	if (ds_rotation_init(&a, 100, 1, &arena, NULL) != DS_OK ||
		ds_rotation_init(&b, 100, 2, &arena, NULL) != DS_OK)
		abort();
	ds_rotate(&a, x, rx);
	ds_rotate(&b, x, ry);
	norm = dot(x, x, 100);
	CHECK(fabs(dot(rx, ry, 100)) < 0.5 * norm, "other seeds, other rotations: cosine %.2f",
		  dot(rx, ry, 100) / norm);
	ds_arena_free(&arena);
}

/*
 * A unit vector e_i over many seeds: the coordinates of its rotation should
 * have mean 0, variance 1 / d each, wherever they are, and the tails of a
 * normal variable: kurtosis 3 (d large), no place much above.  This fails
 * without the butterfly, or with one after each transform.
 */
static void
test_mixing(void)
{
	static const uint32_t mixed[] = {64, 100, 128, 768, 1000, 1025, 1536, 2000};
	double worst_energy = 0.0;
	double worst_kurtosis = 0.0;
	double worst_peak = 0.0;

	for (size_t k = 0; k < sizeof(mixed) / sizeof(mixed[0]); k++)
	{
		uint32_t d = mixed[k];
		const int seeds = 60;
		DsArena arena;
		double fourth = 0.0;
		double quarter[4] = {0};

		ds_arena_init(&arena, NULL);
		for (int seed = 0; seed < seeds; seed++)
		{
			DsArenaMark mark = ds_arena_mark(&arena);
			DsRotation r;
			float *x = ds_arena_zero(&arena, d, sizeof(float));

			if (x == NULL || ds_rotation_init(&r, d, (uint64_t) seed, &arena, NULL) != DS_OK)
				abort();
			x[((uint64_t) seed * 7919) % d] = 1.0f;
			ds_rotate(&r, x, x);
			for (size_t i = 0; i < d; i++)
			{
				double square = (double) x[i] * x[i] * d;

				quarter[4 * i / d] += square;
				fourth += square * square;
				worst_peak = fmax(worst_peak, sqrt(square));
			}
			ds_arena_rewind(&arena, mark);
		}
		for (int q = 0; q < 4; q++)
			worst_energy = fmax(worst_energy, fabs(quarter[q] / seeds / (d / 4.0) - 1.0));
		worst_kurtosis = fmax(worst_kurtosis, fabs(fourth / seeds / d - 3.0 * d / (d + 2.0)));
		ds_arena_free(&arena);
	}
	CHECK(worst_energy < 0.15, "a unit vector's energy is spread evenly: worst quarter %.1f %% off",
		  100 * worst_energy);
	CHECK(worst_kurtosis < 0.5, "coordinates look normal: kurtosis %.2f off", worst_kurtosis);
	CHECK(worst_peak < 6.5, "no coordinate sticks out: %.1f deviations at most", worst_peak);
}

int
main(void)
{
	test_refused();
	test_orthonormal();
	test_seeds_differ();
	test_mixing();
	return unit_done();
}
