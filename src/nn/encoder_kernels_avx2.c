/*
 * encoder_kernels_avx2.c
 *		The encoders' kernels, compiled for AVX2.
 */
#if defined(__x86_64__)

#define VECTOR_BYTES 32
#define TILE_ROWS 6
#define TILE_PANELS 1
#define HAVE_VNNI 0
#define HAVE_BF16 0
#define HAVE_AMX 0
#define KERNELS_NAME ds_encoder_kernels_avx2
#define KERNELS_TITLE "avx2"

#include "nn/encoder_kernels.h"

extern const DsEncoderKernels ds_encoder_kernels_avx2;

#include "nn/encoder_loops.h"

#endif
