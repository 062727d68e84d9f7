/*
 * kernels.c
 *		Choosing the kernels.
 */
#include "vector/kernels.h"
#include "vector/kernels_tables.h"

const DsKernels *ds_kernels_chosen = NULL;

const DsKernels *
ds_kernels_at(DsCpuLevel level)
{
	if (level > ds_cpu_level())
		return NULL;
	switch (level)
	{
		case DS_CPU_PORTABLE:
			return &ds_kernels_portable;
		case DS_CPU_AVX2:
			return ds_kernels_avx2;
		case DS_CPU_AVX512:
		case DS_CPU_AVX512_VNNI:
			/* VNNI adds nothing to float arithmetic */
			return ds_kernels_avx512;
	}
	return NULL;
}

const DsKernels *
ds_kernels_choose(void)
{
	const DsKernels *kernels = NULL;

	for (int level = (int) ds_cpu_level(); kernels == NULL; level--)
		kernels = ds_kernels_at((DsCpuLevel) level);
	ds_kernels_chosen = kernels;
	return kernels;
}
