/*
 * kernels_registers_portable.h
 *		What kernels_sums.h is told for any processor: vectors of 4 floats, which
 *		the compiler turns into what there is (SSE2, NEON, or scalars).
 */
#include <stdint.h>
#include <string.h>

typedef float Float4 __attribute__((vector_size(16)));
typedef int32_t Int4 __attribute__((vector_size(16)));

#define VEC Float4
#define WIDTH 4
#define CHAINS 4

#define vec_zero() ((Float4){0})
#define vec_add(a, b) ((a) + (b))
#define vec_sub(a, b) ((a) - (b))
#define vec_fma(a, b, c) ((a) * (b) + (c))

static inline Float4
vec_abs(Float4 v)
{
	return (Float4) ((Int4) v & INT32_C(0x7fffffff));
}

static inline float
vec_sum(Float4 v)
{
	return (v[0] + v[2]) + (v[1] + v[3]);
}

static inline DsCosineSums
vec_sum3(Float4 dot, Float4 aa, Float4 bb)
{
	return (DsCosineSums){vec_sum(dot), vec_sum(aa), vec_sum(bb)};
}
