/*
 * kernels_half_portable.c
 *		The kernels for half floats, for any processor.
 */
#include "vector/kernels_half_tables.h"
#include "vector/kernels_registers_portable.h"

typedef uint32_t Unsigned4 __attribute__((vector_size(16)));

/* ds_half_finite_to_float(), four at a time */
static inline Float4
floats_of(Unsigned4 half)
{
	Float4 magnitude = (Float4) ((half & 0x7fff) << 13) * 0x1p112f;

	return (Float4) ((Unsigned4) magnitude | (half & 0x8000) << 16);
}

static inline Float4
vec_load(const DsHalf *p)
{
	return floats_of((Unsigned4){p[0], p[1], p[2], p[3]});
}

static inline Float4
vec_load_part(const DsHalf *p, size_t n)
{
	/* n is 1 to 3 */
	return floats_of((Unsigned4){p[0], n > 1 ? p[1] : 0, n > 2 ? p[2] : 0, 0});
}

static void
to_float(const DsHalf *a, float *out, size_t d)
{
	for (size_t i = 0; i < d; i++)
		out[i] = ds_half_to_float(a[i]);
}

static bool
from_float(const float *a, DsHalf *out, size_t d)
{
	bool finite = true;

	for (size_t i = 0; i < d; i++)
	{
		out[i] = ds_half_from_float(a[i]);
		finite &= ds_half_is_finite(out[i]);
	}
	return finite;
}

#include "vector/kernels_half_simd.h"

const DsHalfKernels ds_half_kernels_portable = {.level = DS_CPU_PORTABLE, HALF_MEMBERS};
