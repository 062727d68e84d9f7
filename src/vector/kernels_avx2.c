/*
 * kernels_avx2.c
 *		The kernels with AVX2 and FMA.
 */
#include "vector/kernels_tables.h"

const DsKernels *const ds_kernels_avx2 = NULL;
