/*
 * kernels_half.c
 *		How fast distances of half floats are in cache beside those of floats,
 *		at each level, and Hamming distances of their signs.
 *
 * One query against rows that all lie in the first-level cache (floats of 768
 * and more dimensions: in the second).  Contenders take turns; the figure is the
 * median of the turns, in nanoseconds a row.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/random.h"
#include "vector/kernels_bits.h"
#include "vector/kernels_half.h"

#define TURNS 25
#define TURN_SECONDS 0.001
#define ROWS 8
#define MAX_DIMS 1536

enum
{
	COSINE,
	L2,
	DOT,
	OPERATIONS
};

static volatile double sink;
static float x[(ROWS + 1) * MAX_DIMS];
static DsHalf h[(ROWS + 1) * MAX_DIMS];
static uint8_t bits[(ROWS + 1) * MAX_DIMS / 8];

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static int
compare_doubles(const void *a, const void *b)
{
	double p = *(const double *) a;
	double q = *(const double *) b;

	return (p > q) - (p < q);
}

/* nanoseconds a row of this turn */
#define TURN(expression)                                    \
	do                                                      \
	{                                                       \
		double started = now();                             \
		double elapsed;                                     \
		double sum = 0;                                     \
		long passes = 0;                                    \
                                                            \
		do                                                  \
		{                                                   \
			for (int pass = 0; pass < 64; pass++)           \
				for (size_t row = 1; row <= ROWS; row++)    \
					sum += (double) (expression);           \
			passes += 64;                                   \
			elapsed = now() - started;                      \
		} while (elapsed < TURN_SECONDS);                   \
		sink = sum;                                         \
		turn[t] = elapsed / ((double) passes * ROWS) * 1e9; \
	} while (0)

static void
of_floats(const DsKernels *k, int operation, size_t d, double *turn, int t)
{
	if (operation == COSINE)
		TURN(k->cosine_distance(x, x + row * d, d));
	else if (operation == L2)
		TURN(k->l2_squared(x, x + row * d, d));
	else
		TURN(k->inner_product(x, x + row * d, d));
}

static void
of_halves(const DsHalfKernels *k, int operation, size_t d, double *turn, int t)
{
	if (operation == COSINE)
		TURN(k->cosine_distance(h, h + row * d, d));
	else if (operation == L2)
		TURN(k->l2_squared(h, h + row * d, d));
	else
		TURN(k->inner_product(h, h + row * d, d));
}

static void
of_bits(const DsBitKernels *k, size_t d, double *turn, int t)
{
	TURN(k->hamming(bits, bits + row * d / 8, d / 8));
}

static double
median(double *turn)
{
	qsort(turn, TURNS, sizeof(double), compare_doubles);
	return turn[TURNS / 2];
}

int
main(void)
{
	static const size_t dims[] = {128, 768, 1536};
	static const char *const names[] = {"<=>", "<->", "<#>"};
	DsRandom random;

	ds_random_init(&random, 1, 1);
	for (size_t i = 0; i < (ROWS + 1) * MAX_DIMS; i++)
		x[i] = (float) ds_random_normal(&random);
	(void) ds_half_kernels()->from_float(x, h, (ROWS + 1) * MAX_DIMS);
	ds_bits_of_signs(x, (ROWS + 1) * MAX_DIMS, bits);
	printf("nanoseconds a row\n%-12s %5s %4s %9s %9s %9s\n", "level", "dims", "", "float", "half",
		   "times");
	for (int level = DS_CPU_PORTABLE; level <= DS_CPU_AVX512_VNNI; level++)
		for (size_t j = 0; j < sizeof dims / sizeof dims[0]; j++)
		{
			const DsBitKernels *bit = ds_bit_kernels_at((DsCpuLevel) level);
			double turn[TURNS];
			double half_turn[TURNS];

			if (level < DS_CPU_AVX512_VNNI && ds_kernels_at((DsCpuLevel) level) != NULL)
				for (int o = 0; o < OPERATIONS; o++)
				{
					double floats;
					double halves;

					for (int t = 0; t < TURNS; t++)
					{
						of_floats(ds_kernels_at((DsCpuLevel) level), o, dims[j], turn, t);
						of_halves(ds_half_kernels_at((DsCpuLevel) level), o, dims[j], half_turn, t);
					}
					floats = median(turn);
					halves = median(half_turn);
					printf("%-12s %5zu %4s %9.1f %9.1f %9.2f\n",
						   ds_cpu_level_name((DsCpuLevel) level), dims[j], names[o], floats, halves,
						   halves / floats);
				}
			if (bit != NULL)
			{
				for (int t = 0; t < TURNS; t++)
					of_bits(bit, dims[j], turn, t);
				printf("%-12s %5zu %4s %9s %9.1f\n", ds_cpu_level_name((DsCpuLevel) level), dims[j],
					   "<~>", "", median(turn));
			}
		}
	return 0;
}
