/*
 * tower_kernels.c
 *		The portable kernels of transformer towers, and the choice between them and
 *		the others.
 */
#include "nn/tower_kernels.h"

#include "base/cpu.h"

#ifdef DS_NN_DOUBLE
#define ds_tower_kernels ds_tower_kernels_f64
#define ds_tower_kernels_at ds_tower_kernels_at_f64
#define ds_tower_kernels_portable ds_tower_kernels_portable_f64
/* of simd_body.h, which the test of the gradients has included before */
#undef KERNELS_NAME
#undef exponential
#endif

#define VECTOR_BYTES 16
#define TILE_ROWS 4
#define TILE_VECTORS 2
#define KERNELS_NAME ds_tower_kernels_portable
extern const DsTowerKernels ds_tower_kernels_portable;

#include "nn/tower_body.h"

#if defined(__x86_64__) && !defined(DS_NN_DOUBLE)
#define HAVE_TOWER_LEVELS 1
extern const DsTowerKernels ds_tower_kernels_avx2;
extern const DsTowerKernels ds_tower_kernels_avx512;
#endif

const DsTowerKernels *
ds_tower_kernels_at(int level)
{
#ifdef HAVE_TOWER_LEVELS
	if (level >= DS_CPU_AVX512)
		return &ds_tower_kernels_avx512;
	if (level == DS_CPU_AVX2)
		return &ds_tower_kernels_avx2;
	return &ds_tower_kernels_portable;
#else
	return level == DS_CPU_PORTABLE ? &ds_tower_kernels_portable : NULL;
#endif
}

const DsTowerKernels *
ds_tower_kernels(void)
{
#ifdef HAVE_TOWER_LEVELS
	return ds_tower_kernels_at((int) ds_cpu_level());
#else
	return &ds_tower_kernels_portable;
#endif
}
