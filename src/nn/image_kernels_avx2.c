/*
 * image_kernels_avx2.c
 *		The kernels of convolutional networks, compiled for AVX2 with FMA.
 */
#if defined(__x86_64__)

#define VECTOR_BYTES 32
#define TILE_ROWS 6
#define TILE_PANELS 1
#define KERNELS_NAME ds_image_kernels_avx2
#define KERNELS_TITLE "avx2"
#define KERNELS_WINOGRAD ds_winograd_avx2

#include "nn/image_kernels.h"

extern const DsImageKernels ds_image_kernels_avx2;

#include "nn/image_loops.h"

#endif
