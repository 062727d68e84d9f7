/*
 * tower_kernels_avx2.c
 *		The kernels of transformer towers, compiled for AVX2.
 */
#if defined(__x86_64__)

#define VECTOR_BYTES 32
#define TILE_ROWS 6
#define TILE_VECTORS 2
#define KERNELS_NAME ds_tower_kernels_avx2

#include "nn/tower_kernels.h"

extern const DsTowerKernels ds_tower_kernels_avx2;

#include "nn/tower_body.h"

#endif
