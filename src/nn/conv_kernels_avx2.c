/*
 * conv_kernels_avx2.c
 *		The kernels of convolutions, compiled for AVX2.
 */
#if defined(__x86_64__)

#define VECTOR_BYTES 32
#define TILE_ROWS 6
#define TILE_VECTORS 2
#define KERNELS_NAME ds_conv_kernels_avx2
#define KERNELS_WINOGRAD ds_winograd_avx2

#include "nn/conv_kernels.h"

extern const DsConvKernels ds_conv_kernels_avx2;

#include "nn/conv_body.h"

#endif
