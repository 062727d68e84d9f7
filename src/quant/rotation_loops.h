/*
 * rotation_loops.h
 *		The loops of a rotation, one set a CPU level.
 */
#ifndef DS_ROTATION_LOOPS_H
#define DS_ROTATION_LOOPS_H

#include <stddef.h>

typedef struct DsRotationLoops
{
	/* x[n], n a power of two: the Hadamard transform without scaling, stages of 1, 2, 4, ... */
	void (*transform)(float *x, size_t n);
	void (*multiply)(float *x, const float *factors, size_t d); /* in place */
	/* places i and i + ceil(d / 2) become their sum and difference */
	void (*butterfly)(float *x, size_t d);
} DsRotationLoops;

/* NULL where the build lacks one */
extern const DsRotationLoops *const ds_rotation_loops_avx2;
extern const DsRotationLoops *const ds_rotation_loops_avx512;

/* Plain loops that a compiler vectorises for the level of the file. */
#define DEFINE_MULTIPLY(name)                                                    \
	static void name(float *restrict x, const float *restrict factors, size_t d) \
	{                                                                            \
		for (size_t i = 0; i < d; i++)                                           \
			x[i] *= factors[i];                                                  \
	}

#define DEFINE_BUTTERFLY(name)                \
	static void name(float *x, size_t d)      \
	{                                         \
		size_t half = (d + 1) / 2;            \
		float *restrict low = x;              \
		float *restrict high = x + half;      \
                                              \
		for (size_t i = 0; i + half < d; i++) \
		{                                     \
			float a = low[i];                 \
			float b = high[i];                \
                                              \
			low[i] = a + b;                   \
			high[i] = a - b;                  \
		}                                     \
	}

/*
 * The transform for a level with vectors of LANES floats: the stages below
 * LANES inside a register, where (a, b) -> (a + b, a - b) is "the neighbour
 * plus myself, with my sign flipped in the upper half"; then two stages at a
 * time, which halves the trips to memory; then one if one is left.
 */
#define DEFINE_TRANSFORM(name, VEC, LANES, LOAD, STORE, ADD, SUB, INSIDE) \
	static void name(float *x, size_t n)                                  \
	{                                                                     \
		size_t h = LANES;                                                 \
                                                                          \
		if (n < LANES)                                                    \
		{                                                                 \
			for (h = 1; h < n; h *= 2)                                    \
				for (size_t i = 0; i < n; i += 2 * h)                     \
					for (size_t j = i; j < i + h; j++)                    \
					{                                                     \
						float a = x[j];                                   \
						float b = x[j + h];                               \
                                                                          \
						x[j] = a + b;                                     \
						x[j + h] = a - b;                                 \
					}                                                     \
			return;                                                       \
		}                                                                 \
		for (size_t i = 0; i < n; i += LANES)                             \
			STORE(x + i, INSIDE(LOAD(x + i)));                            \
		for (; 4 * h <= n; h *= 4)                                        \
			for (size_t i = 0; i < n; i += 4 * h)                         \
				for (size_t j = i; j < i + h; j += LANES)                 \
				{                                                         \
					VEC a = LOAD(x + j);                                  \
					VEC b = LOAD(x + j + h);                              \
					VEC c = LOAD(x + j + 2 * h);                          \
					VEC e = LOAD(x + j + 3 * h);                          \
					VEC ab = ADD(a, b);                                   \
					VEC ba = SUB(a, b);                                   \
					VEC ce = ADD(c, e);                                   \
					VEC ec = SUB(c, e);                                   \
                                                                          \
					STORE(x + j, ADD(ab, ce));                            \
					STORE(x + j + h, ADD(ba, ec));                        \
					STORE(x + j + 2 * h, SUB(ab, ce));                    \
					STORE(x + j + 3 * h, SUB(ba, ec));                    \
				}                                                         \
		if (h < n)                                                        \
			for (size_t j = 0; j < h; j += LANES)                         \
			{                                                             \
				VEC a = LOAD(x + j);                                      \
				VEC b = LOAD(x + j + h);                                  \
                                                                          \
				STORE(x + j, ADD(a, b));                                  \
				STORE(x + j + h, SUB(a, b));                              \
			}                                                             \
	}

#endif /* DS_ROTATION_LOOPS_H */
