/*
 * encoder_kernels.c
 *		The portable kernels of the encoders, and the choice between them and
 *		the others.
 */
#include "nn/encoder_kernels.h"

#include "base/cpu.h"

#define VECTOR_BYTES 16
#define TILE_ROWS 3
#define TILE_PANELS 1
#define HAVE_VNNI 0
#define HAVE_BF16 0
#define HAVE_AMX 0
#define KERNELS_NAME ds_encoder_kernels_portable
#define KERNELS_TITLE "portable"

extern const DsEncoderKernels ds_encoder_kernels_portable;

#include "nn/encoder_loops.h"

#if defined(__x86_64__)
extern const DsEncoderKernels ds_encoder_kernels_avx2;
extern const DsEncoderKernels ds_encoder_kernels_avx512;
extern const DsEncoderKernels ds_encoder_kernels_avx512_vnni;
extern const DsEncoderKernels ds_encoder_kernels_avx512_bf16;
extern const DsEncoderKernels ds_encoder_kernels_amx;
#endif

const DsEncoderKernels *
ds_encoder_kernels_number(size_t i)
{
	if (i == 0)
		return &ds_encoder_kernels_portable;
#if defined(__x86_64__)
	if (i == 1 && ds_cpu_level() >= DS_CPU_AVX2)
		return &ds_encoder_kernels_avx2;
	if (i == 2 && ds_cpu_level() >= DS_CPU_AVX512)
		return &ds_encoder_kernels_avx512;
	if (i == 3 && ds_cpu_level() >= DS_CPU_AVX512_VNNI)
		return &ds_encoder_kernels_avx512_vnni;
	if (i == 4 && ds_cpu_level() >= DS_CPU_AVX512_VNNI && __builtin_cpu_supports("avx512bf16"))
		return &ds_encoder_kernels_avx512_bf16;
	if (i == 5 && ds_encoder_kernels_number(4) != NULL && ds_cpu_amx())
		return &ds_encoder_kernels_amx;
#endif
	return NULL;
}

const DsEncoderKernels *
ds_encoder_kernels(void)
{
	static const DsEncoderKernels *known = NULL;

	if (known == NULL)
		for (size_t i = 0; ds_encoder_kernels_number(i) != NULL; i++)
			known = ds_encoder_kernels_number(i);
	return known;
}
