/*
 * conv_kernels_avx512.c
 *		The kernels of convolutions, compiled for AVX-512.
 */
#if defined(__x86_64__)

#define VECTOR_BYTES 64
#define TILE_ROWS 8
#define TILE_VECTORS 3
#define KERNELS_NAME ds_conv_kernels_avx512
#define KERNELS_WINOGRAD ds_winograd_avx512

#include "nn/conv_kernels.h"

extern const DsConvKernels ds_conv_kernels_avx512;

#include "nn/conv_body.h"

#endif
