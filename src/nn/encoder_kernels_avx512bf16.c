/*
 * encoder_kernels_avx512bf16.c
 *		The encoders' kernels, compiled for AVX-512 with VNNI and BF16.
 */
#if defined(__x86_64__)

#define VECTOR_BYTES 64
#define TILE_ROWS 8
#define TILE_PANELS 3
#define HAVE_VNNI 1
#define HAVE_BF16 1
#define HAVE_AMX 0
#define KERNELS_NAME ds_encoder_kernels_avx512_bf16
#define KERNELS_TITLE "avx512_bf16"

#include "nn/encoder_kernels.h"

extern const DsEncoderKernels ds_encoder_kernels_avx512_bf16;

#include "nn/encoder_loops.h"

#endif
