/*
 * winograd_avx2.c
 *		Winograd's convolutions, compiled for AVX2.
 */
#if defined(__x86_64__)

#include "nn/winograd.h"

#include "nn/winograd_private.h"

#define VECTOR_BYTES 32
#define TILE_ROWS 6
#define TILE_VECTORS 2
#define KERNELS_NAME ds_winograd_avx2

#include "nn/winograd_body.h"

#endif
