/*
 * simd_avx2.c
 *		The kernels of this room, compiled for AVX2 and FMA.
 */
#include "nn/simd.h"

#if defined(__x86_64__)

#define VECTOR_BYTES 32
#define KERNELS_NAME ds_nn_kernels_avx2
extern const DsNnKernels ds_nn_kernels_avx2;

#include "nn/simd_body.h"

#endif
