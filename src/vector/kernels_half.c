/*
 * kernels_half.c
 *		Choosing the kernels for half floats.
 */
#include "vector/kernels_half_tables.h"

const DsHalfKernels *ds_half_kernels_chosen = NULL;

const DsHalfKernels *
ds_half_kernels_at(DsCpuLevel level)
{
	if (level > ds_cpu_level())
		return NULL;
	switch (level)
	{
		case DS_CPU_PORTABLE:
			return &ds_half_kernels_portable;
		case DS_CPU_AVX2:
			return ds_half_kernels_avx2;
		case DS_CPU_AVX512:
		case DS_CPU_AVX512_VNNI:
			return ds_half_kernels_avx512;
	}
	return NULL;
}

const DsHalfKernels *
ds_half_kernels_choose(void)
{
	const DsHalfKernels *kernels = NULL;

	for (int level = (int) ds_cpu_level(); kernels == NULL; level--)
		kernels = ds_half_kernels_at((DsCpuLevel) level);
	ds_half_kernels_chosen = kernels;
	return kernels;
}
