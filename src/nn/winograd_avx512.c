/*
 * winograd_avx512.c
 *		Winograd's convolutions, compiled for AVX-512.
 */
#if defined(__x86_64__)

#include "nn/winograd.h"

#include "nn/winograd_private.h"

#define VECTOR_BYTES 64
#define TILE_ROWS 8
#define TILE_VECTORS 3
#define KERNELS_NAME ds_winograd_avx512

#include "nn/winograd_body.h"

#endif
