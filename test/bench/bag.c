/*
 * bag.c
 *		A text's mean over a table of tokens, by the numbers that the table is kept in.
 *
 *	 bag [ROWS...]		(default 32768 262144)
 *
 * Prints for each number of rows of 128: nanoseconds of processor time a text of 12
 * features, drawn from all of the table; the best of eight rounds, in which the types
 * take turns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/random.h"
#include "nn/simd.h"

#define DIMS ((size_t) 128)
#define TOKENS ((size_t) 12)
#define TEXTS ((size_t) 100000)
#define ROUNDS 8

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double) t.tv_sec * 1e9 + (double) t.tv_nsec;
}

static void
measure(size_t rows)
{
	static const DsDtype dtypes[] = {DS_DTYPE_F32, DS_DTYPE_F16, DS_DTYPE_BF16, DS_DTYPE_I8};
	static uint32_t ids[TEXTS * TOKENS];
	static float out[DIMS];
	const DsNnKernels *kernels = ds_nn_kernels();
	float *table = malloc(rows * DIMS * sizeof(float));
	float *scales = malloc(rows * sizeof(float));
	void *shorter[4];
	double best[4] = {0};
	DsRandom random;

	ds_random_init(&random, 1, 0);
	for (size_t i = 0; i < rows * DIMS; i++)
		table[i] = (float) ds_random_below(&random, 255) - 127;
	for (size_t i = 0; i < rows; i++)
		scales[i] = 0.01f;
	for (size_t i = 0; i < TEXTS * TOKENS; i++)
		ids[i] = (uint32_t) ds_random_below(&random, (uint32_t) rows);
	for (size_t d = 1; d < 4; d++)
	{
		shorter[d] = malloc(rows * DIMS * (ds_dtype_bits(dtypes[d]) / 8));
		ds_dtype_from_float(dtypes[d], table, rows * DIMS, shorter[d]);
	}
	for (int round = 0; round < ROUNDS; round++)
		for (size_t d = 0; d < 4; d++)
		{
			DsShortTable as = {dtypes[d], d > 0 ? shorter[d] : NULL, d == 3 ? scales : NULL};
			double spent = now();

			for (size_t t = 0; t < TEXTS; t++)
				if (d == 0)
					kernels->bag(table, DIMS, ids + t * TOKENS, TOKENS, 0.1f, out);
				else
					kernels->bag_short(&as, DIMS, ids + t * TOKENS, TOKENS, 0.1f, out);
			spent = (now() - spent) / (double) TEXTS;
			if (round == 0 || spent < best[d])
				best[d] = spent;
		}
	printf("%7zu rows: f32 %5.0f  f16 %5.0f  bf16 %5.0f  i8 %5.0f ns a text\n", rows, best[0],
		   best[1], best[2], best[3]);
	for (size_t d = 1; d < 4; d++)
		free(shorter[d]);
	free(table);
	free(scales);
}

int
main(int argc, char **argv)
{
	if (argc < 2)
	{
		measure(32768);
		measure(262144);
	}
	for (int i = 1; i < argc; i++)
		measure((size_t) atol(argv[i]));
	return 0;
}
