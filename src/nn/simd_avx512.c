/*
 * simd_avx512.c
 *		The kernels of this room, compiled for AVX-512.
 */
#include "nn/simd.h"

#if defined(__x86_64__)

#define VECTOR_BYTES 64
#define KERNELS_NAME ds_nn_kernels_avx512
extern const DsNnKernels ds_nn_kernels_avx512;

#include "nn/simd_body.h"

#endif
