/*
 * tower_kernels_avx512.c
 *		The kernels of transformer towers, compiled for AVX-512.
 */
#if defined(__x86_64__)

#define VECTOR_BYTES 64
#define TILE_ROWS 8
#define TILE_VECTORS 3
#define KERNELS_NAME ds_tower_kernels_avx512

#include "nn/tower_kernels.h"

extern const DsTowerKernels ds_tower_kernels_avx512;

#include "nn/tower_body.h"

#endif
