/*
 * kernels_half_tables.h
 *		The versions, for the dispatch.  NULL where the build lacks one.
 */
#ifndef DS_KERNELS_HALF_TABLES_H
#define DS_KERNELS_HALF_TABLES_H

#include "vector/kernels_half.h"

extern const DsHalfKernels ds_half_kernels_portable;
extern const DsHalfKernels *const ds_half_kernels_avx2;
extern const DsHalfKernels *const ds_half_kernels_avx512;

#endif /* DS_KERNELS_HALF_TABLES_H */
