/*
 * conv_kernels.c
 *		The portable kernels of convolutions, and the choice between them and the
 *		others.
 */
#include "nn/conv_kernels.h"

#include "base/cpu.h"

#ifdef DS_NN_DOUBLE
/* the test of the gradients has the other kernels in the same file */
#undef KERNELS_NAME
#undef TILE_ROWS
#undef TILE_VECTORS
#endif

#define VECTOR_BYTES 16
#define TILE_ROWS 4
#define TILE_VECTORS 2
#define KERNELS_NAME ds_conv_kernels_portable
#define KERNELS_WINOGRAD ds_winograd_portable
extern const DsConvKernels ds_conv_kernels_portable;

#include "nn/conv_body.h"

#if defined(__x86_64__) && !defined(DS_NN_DOUBLE)
#define HAVE_CONV_LEVELS 1
extern const DsConvKernels ds_conv_kernels_avx2;
extern const DsConvKernels ds_conv_kernels_avx512;
#endif

const DsConvKernels *
ds_conv_kernels_at(int level)
{
#ifdef HAVE_CONV_LEVELS
	if (level >= DS_CPU_AVX512)
		return &ds_conv_kernels_avx512;
	if (level == DS_CPU_AVX2)
		return &ds_conv_kernels_avx2;
	return &ds_conv_kernels_portable;
#else
	return level == DS_CPU_PORTABLE ? &ds_conv_kernels_portable : NULL;
#endif
}

const DsConvKernels *
ds_conv_kernels(void)
{
#ifdef HAVE_CONV_LEVELS
	return ds_conv_kernels_at((int) ds_cpu_level());
#else
	return &ds_conv_kernels_portable;
#endif
}
