/*
 * image_kernels_avx512.c
 *		The kernels of convolutional networks, compiled for AVX-512.
 */
#if defined(__x86_64__)

#define VECTOR_BYTES 64
#define TILE_ROWS 8
#define TILE_PANELS 3
#define KERNELS_NAME ds_image_kernels_avx512
#define KERNELS_TITLE "avx512"
#define KERNELS_WINOGRAD ds_winograd_avx512

#include "nn/image_kernels.h"

extern const DsImageKernels ds_image_kernels_avx512;

#include "nn/image_loops.h"

#endif
