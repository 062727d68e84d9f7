/*
 * kernels_loops.h
 *		The distance loops as one would write them first, compiled several ways
 *		(test/bench/Makefile) as the measure for the kernels.
 */
#ifndef DS_BENCH_KERNELS_LOOPS_H
#define DS_BENCH_KERNELS_LOOPS_H

#include <stddef.h>

typedef struct Loops
{
	const char *flags; /* what it was compiled with */
	float (*l2_squared)(const float *a, const float *b, size_t d);
	float (*inner_product)(const float *a, const float *b, size_t d);
	float (*taxicab)(const float *a, const float *b, size_t d);
	double (*cosine_distance)(const float *a, const float *b, size_t d);
} Loops;

extern const Loops loops_plain; /* -O2 */
extern const Loops loops_clones; /* -O2, float sums may be reordered, FMA clones chosen at load */
extern const Loops loops_native; /* everything: -O3 -ffast-math -march=native */
extern const Loops loops_clang; /* the same by clang, which unrolls; flags is NULL without clang */

#endif /* DS_BENCH_KERNELS_LOOPS_H */
