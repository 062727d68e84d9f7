/*
 * encoder_kernels_avx512vnni.c
 *		The encoders' kernels, compiled for AVX-512 with VNNI.
 */
#if defined(__x86_64__)

#define VECTOR_BYTES 64
#define TILE_ROWS 8
#define TILE_PANELS 3
#define HAVE_VNNI 1
#define HAVE_BF16 0
#define HAVE_AMX 0
#define KERNELS_NAME ds_encoder_kernels_avx512_vnni
#define KERNELS_TITLE "avx512_vnni"

#include "nn/encoder_kernels.h"

extern const DsEncoderKernels ds_encoder_kernels_avx512_vnni;

#include "nn/encoder_loops.h"

#endif
