/*
 * kernels_avx512.c
 *		The kernels with AVX-512.
 */
#include "vector/kernels_tables.h"

const DsKernels *const ds_kernels_avx512 = NULL;
