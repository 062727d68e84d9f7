/*
 * encoder_kernels_avx512amx.c
 *		The encoders' kernels, compiled for AVX-512 with VNNI, BF16 and the matrix
 *		unit (AMX).
 */
#if defined(__x86_64__)

#define VECTOR_BYTES 64
#define TILE_ROWS 8
#define TILE_PANELS 3
#define HAVE_VNNI 1
#define HAVE_BF16 1
#define HAVE_AMX 1
#define KERNELS_NAME ds_encoder_kernels_amx
#define KERNELS_TITLE "amx"

#include "nn/encoder_kernels.h"

extern const DsEncoderKernels ds_encoder_kernels_amx;

#include "nn/encoder_loops.h"

#endif
