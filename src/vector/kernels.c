/*
 * kernels.c
 *		Choosing the kernels, and the operators' uncommon paths.
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

double
ds_cosine_distance_wide(const DsKernels *kernels, const float *a, const float *b, size_t d)
{
	DsCosineSumsWide sums = kernels->cosine_sums_wide(a, b, d);

	/*
	 * A product of two floats is exact in double and neither overflows nor
	 * vanishes, and so does the product of the two norms: between 2^-596 and
	 * 2^560.  Zero means a zero vector: 0 / 0 is NaN.
	 */
	return ds_cosine_from_sums(sums.dot, sums.aa, sums.bb);
}
