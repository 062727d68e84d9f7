/*
 * simd.c
 *		The portable kernels, and the choice between them and the others.
 */
#include "nn/simd.h"

#include "base/cpu.h"

#ifdef DS_NN_DOUBLE
#define ds_nn_kernels ds_nn_kernels_f64
#define ds_nn_kernels_at ds_nn_kernels_at_f64
#define ds_nn_kernels_portable ds_nn_kernels_portable_f64
#endif

#define VECTOR_BYTES 16
#define KERNELS_NAME ds_nn_kernels_portable
extern const DsNnKernels ds_nn_kernels_portable;

#include "nn/simd_body.h"

#if defined(__x86_64__) && !defined(DS_NN_DOUBLE)
#define HAVE_LEVELS 1
extern const DsNnKernels ds_nn_kernels_avx2;
extern const DsNnKernels ds_nn_kernels_avx512;
#endif

const DsNnKernels *
ds_nn_kernels_at(int level)
{
#ifdef HAVE_LEVELS
	if (level >= DS_CPU_AVX512)
		return &ds_nn_kernels_avx512;
	if (level == DS_CPU_AVX2)
		return &ds_nn_kernels_avx2;
	return &ds_nn_kernels_portable;
#else
	return level == DS_CPU_PORTABLE ? &ds_nn_kernels_portable : NULL;
#endif
}

const DsNnKernels *
ds_nn_kernels(void)
{
#ifdef HAVE_LEVELS
	return ds_nn_kernels_at((int) ds_cpu_level());
#else
	return &ds_nn_kernels_portable;
#endif
}
