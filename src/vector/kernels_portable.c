/*
 * kernels_portable.c
 *		The kernels for any processor: vectors of 4 floats or 2 doubles.
 */
#include "vector/kernels_elementwise.h"
#include "vector/kernels_registers_portable.h"
#include "vector/kernels_tables.h"

typedef double Double2 __attribute__((vector_size(16)));
typedef int64_t Long2 __attribute__((vector_size(16)));

#define WIDE Double2
#define WIDE_WIDTH 2

static inline Float4
vec_load(const float *p)
{
	Float4 v;

	memcpy(&v, p, sizeof v);
	return v;
}

static inline Float4
vec_load_part(const float *p, size_t n)
{
	/* n is 1 to 3 */
	return (Float4){p[0], n > 1 ? p[1] : 0.0f, n > 2 ? p[2] : 0.0f, 0.0f};
}

#define wide_zero() ((Double2){0})
#define wide_load(p) ((Double2){(p)[0], (p)[1]})
#define wide_load_part(p, n) ((Double2){(p)[0], 0.0})
#define wide_add(a, b) ((a) + (b))
#define wide_sub(a, b) ((a) - (b))
#define wide_abs(a) ((Double2) ((Long2) (a) &INT64_C(0x7fffffffffffffff)))
#define wide_fma(a, b, c) ((a) * (b) + (c))
#define wide_sum(v) ((v)[0] + (v)[1])

static inline DsCosineSumsWide
wide_sum3(Double2 dot, Double2 aa, Double2 bb)
{
	return (DsCosineSumsWide){wide_sum(dot), wide_sum(aa), wide_sum(bb)};
}

#include "vector/kernels_simd.h"

const DsKernels ds_kernels_portable = {.level = DS_CPU_PORTABLE, SIMD_MEMBERS, ELEMENTWISE_MEMBERS};
