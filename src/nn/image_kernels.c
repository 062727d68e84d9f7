/*
 * image_kernels.c
 *		The portable kernels of convolutional networks, and the choice between
 *		them and the others.
 */
#include "nn/image_kernels.h"

#include "base/cpu.h"

#define VECTOR_BYTES 16
#define TILE_ROWS 3
#define TILE_PANELS 1
#define KERNELS_NAME ds_image_kernels_portable
#define KERNELS_TITLE "portable"
#define KERNELS_WINOGRAD ds_winograd_portable

extern const DsImageKernels ds_image_kernels_portable;

#include "nn/image_loops.h"

#if defined(__x86_64__)
extern const DsImageKernels ds_image_kernels_avx2;
extern const DsImageKernels ds_image_kernels_avx512;
#endif

const DsImageKernels *
ds_image_kernels_number(size_t i)
{
	if (i == 0)
		return &ds_image_kernels_portable;
#if defined(__x86_64__)
	if (i == 1 && ds_cpu_level() >= DS_CPU_AVX2)
		return &ds_image_kernels_avx2;
	if (i == 2 && ds_cpu_level() >= DS_CPU_AVX512)
		return &ds_image_kernels_avx512;
#endif
	return NULL;
}

const DsImageKernels *
ds_image_kernels(void)
{
	static const DsImageKernels *known = NULL;

	if (known == NULL)
		for (size_t i = 0; ds_image_kernels_number(i) != NULL; i++)
			known = ds_image_kernels_number(i);
	return known;
}
