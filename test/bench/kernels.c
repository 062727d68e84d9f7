/*
 * kernels.c
 *		How fast the distance kernels are in cache, beside loads alone and
 *		beside the loops that a compiler vectorises by itself.
 *
 * One query against rows that all lie in the first-level cache, or in the
 * second.  Bytes are those of both vectors.  Every contender runs in short
 * turns, one after the other, so that a change of the clock hits all of them;
 * the figure is the median of its turns.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/random.h"
#include "kernels_loops.h"
#include "vector/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define TURNS 25
#define TURN_SECONDS 0.002

typedef enum Operation
{
	LOADS,
	L2,
	DOT,
	TAXICAB,
	COSINE,
	L2_MANY,
	DOT_MANY,
	COSINE_WIDE
} Operation;

static const char *const operation_names[] = {
	"loads only", "<-> l2_squared",		   "<#> inner_product",		   "<+> taxicab",
	"<=> cosine", "l2_squared, many rows", "inner_product, many rows", "cosine sums in double"};

typedef struct Contender
{
	const char *name;
	const DsKernels *kernels; /* or */
	const Loops *loops;
	double turn[TURNS]; /* seconds a call */
	double seconds; /* their median */
} Contender;

typedef struct Rows
{
	const float *query;
	const float *rows;
	size_t stride;
	size_t n;
	size_t d;
	float *out;
} Rows;

static volatile double sink;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

/* nothing but loads, as wide as the level has */
#if defined(__x86_64__)
#define DEFINE_LOADS(name, isa, width, instruction)                                          \
	__attribute__((target(isa), noinline)) static void name(const float *a, const float *b,  \
															size_t d)                        \
	{                                                                                        \
		for (size_t i = 0; i < d; i += 4 * (width))                                          \
			__asm__ volatile(                                                                \
				instruction " (%0), %%" REG "0\n\t" instruction " (%1), %%" REG              \
							"1\n\t" instruction " %c2(%0), %%" REG "2\n\t" instruction       \
							" %c2(%1), %%" REG "3\n\t" instruction " %c3(%0), %%" REG        \
							"4\n\t" instruction " %c3(%1), %%" REG "5\n\t" instruction       \
							" %c4(%0), %%" REG "6\n\t" instruction " %c4(%1), %%" REG "7"    \
				:                                                                            \
				: "r"(a + i), "r"(b + i), "i"((width) *4), "i"((width) *8), "i"((width) *12) \
				: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "memory"); \
	}
#define REG "xmm"
DEFINE_LOADS(loads_sse, "sse2", 4, "movups")
#undef REG
#define REG "ymm"
DEFINE_LOADS(loads_avx2, "avx2", 8, "vmovups")
#undef REG
#define REG "zmm"
DEFINE_LOADS(loads_avx512, "avx512f", 16, "vmovups")
#endif

static void
loads(DsCpuLevel level, const float *a, const float *b, size_t d)
{
#if defined(__x86_64__)
	if (level >= DS_CPU_AVX512)
		loads_avx512(a, b, d);
	else if (level >= DS_CPU_AVX2)
		loads_avx2(a, b, d);
	else
		loads_sse(a, b, d);
#else
	uint64_t bits = 0;
	uint64_t word;

	(void) level;
	for (size_t i = 0; i < d; i += 2)
	{
		memcpy(&word, a + i, sizeof word);
		bits |= word;
		memcpy(&word, b + i, sizeof word);
		bits |= word;
	}
	sink = (double) bits;
#endif
}

/* one pass over the rows */
static double
pass(const Contender *c, Operation operation, const Rows *r)
{
	const DsKernels *k = c->kernels;
	double sum = 0;

#define EACH_ROW(expression)                        \
	for (size_t i = 0; i < r->n; i++)               \
	{                                               \
		const float *row = r->rows + i * r->stride; \
                                                    \
		sum += (expression);                        \
	}

	switch (operation)
	{
		case LOADS:
			for (size_t i = 0; i < r->n; i++)
				loads(k->level, r->query, r->rows + i * r->stride, r->d);
			break;
		case L2:
			if (k != NULL)
				EACH_ROW(k->l2_squared(r->query, row, r->d))
			else
				EACH_ROW(c->loops->l2_squared(r->query, row, r->d))
			break;
		case DOT:
			if (k != NULL)
				EACH_ROW(k->inner_product(r->query, row, r->d))
			else
				EACH_ROW(c->loops->inner_product(r->query, row, r->d))
			break;
		case TAXICAB:
			if (k != NULL)
				EACH_ROW(k->taxicab(r->query, row, r->d))
			else
				EACH_ROW(c->loops->taxicab(r->query, row, r->d))
			break;
		case COSINE:
			/* with everything that the operator does to the sums */
			if (k != NULL)
				EACH_ROW(ds_cosine_distance_with(k, r->query, row, r->d))
			else
				EACH_ROW(c->loops->cosine_distance(r->query, row, r->d))
			break;
		case L2_MANY:
			k->l2_squared_many(r->query, r->rows, r->stride, r->n, r->d, r->out);
			sum = r->out[0];
			break;
		case DOT_MANY:
			k->inner_product_many(r->query, r->rows, r->stride, r->n, r->d, r->out);
			sum = r->out[0];
			break;
		case COSINE_WIDE:
			EACH_ROW(k->cosine_sums_wide(r->query, row, r->d).dot)
			break;
	}
	return sum;
}

static int
compare_doubles(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return (x > y) - (x < y);
}

static void
measure(Contender *contenders, size_t count, Operation operation, const Rows *rows)
{
	for (int turn = -1; turn < TURNS; turn++)
		for (size_t i = 0; i < count; i++)
		{
			long passes = 0;
			double sum = 0;
			double started = now();
			double elapsed;

			do
			{
				for (int j = 0; j < 16; j++)
					sum += pass(&contenders[i], operation, rows);
				passes += 16;
				elapsed = now() - started;
			} while (elapsed < TURN_SECONDS);
			sink = sum;
			if (turn >= 0) /* the first one warms up */
				contenders[i].turn[turn] = elapsed / ((double) passes * (double) rows->n);
		}
	for (size_t i = 0; i < count; i++)
	{
		qsort(contenders[i].turn, TURNS, sizeof(double), compare_doubles);
		contenders[i].seconds = contenders[i].turn[TURNS / 2];
	}
}

int
main(void)
{
	static const size_t dims[] = {128, 768, 1536};
	static const struct
	{
		const char *name;
		size_t bytes;
		size_t offset; /* of every row from a multiple of 64, in floats */
	} places[] = {
		{"first-level cache", 20 * 1024, 0},
		{"first-level cache, rows 8 bytes off a cache line, as in a table", 20 * 1024, 2},
		{"second-level cache", 384 * 1024, 0},
	};
	static const Loops *const peers[] = {&loops_plain, &loops_clones, &loops_native, &loops_clang};
	static const char *const peer_names[] = {"cc -O2", "cc clones", "cc native", "clang native"};
	static const Operation operations[] = {COSINE,		L2,		 DOT,	  TAXICAB,
										   COSINE_WIDE, L2_MANY, DOT_MANY};
	const DsKernels *best = ds_kernels();
	Contender c[8] = {0};
	size_t ours = 0;
	size_t count;
	float *memory;
	DsRandom random;

	for (int level = DS_CPU_PORTABLE; level <= DS_CPU_AVX512; level++)
		if (ds_kernels_at((DsCpuLevel) level) != NULL)
		{
			c[ours].kernels = ds_kernels_at((DsCpuLevel) level);
			c[ours++].name = ds_cpu_level_name((DsCpuLevel) level);
		}
	count = ours;
	for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++)
		if (peers[i]->flags != NULL)
		{
			c[count].loops = peers[i];
			c[count++].name = peer_names[i];
			printf("%-12s %s%s\n", peer_names[i], peers[i]->flags,
				   peers[i] == &loops_clones ? ", clones for FMA" : "");
		}
	printf("GB/s of both vectors; in brackets, %s beside the loop (times)\n",
		   ds_cpu_level_name(best->level));

	memory = aligned_alloc(64, 1024 * 1024);
	if (memory == NULL)
		return 1;
	ds_random_init(&random, 1, 1);
	for (size_t i = 0; i < 1024 * 1024 / sizeof(float); i++)
		memory[i] = (float) ds_random_normal(&random);

	for (size_t p = 0; p < sizeof places / sizeof places[0]; p++)
	{
		printf("\n%s\n%6s %-26s %7s", places[p].name, "dims", "", "loads");
		for (size_t i = 0; i < count; i++)
			printf(i < ours ? " %9s" : " %15s", c[i].name);
		printf("\n");
		for (size_t j = 0; j < sizeof dims / sizeof dims[0]; j++)
		{
			size_t d = dims[j];
			size_t n = places[p].bytes / (d * sizeof(float)) - 1;
			static float out[1024];
			Rows rows = {memory + places[p].offset, memory + d + places[p].offset, d, n, d, out};
			Contender load = {.kernels = best};
			double bytes = 2 * (double) d * sizeof(float);

			measure(&load, 1, LOADS, &rows);
			for (size_t o = 0; o < sizeof operations / sizeof operations[0]; o++)
			{
				Operation operation = operations[o];
				bool has_peer = operation == L2 || operation == DOT || operation == TAXICAB ||
								operation == COSINE;
				size_t contenders = has_peer ? count : ours;

				measure(c, contenders, operation, &rows);
				printf("%6zu %-26s %7.1f", d, operation_names[operation],
					   1e-9 * bytes / load.seconds);
				for (size_t i = 0; i < contenders; i++)
				{
					printf(" %9.1f", 1e-9 * bytes / c[i].seconds);
					if (i >= ours)
						printf(" (%3.1f)", c[i].seconds / c[ours - 1].seconds);
				}
				printf("\n");
				fflush(stdout);
			}
		}
	}
	free(memory);
	return 0;
}
