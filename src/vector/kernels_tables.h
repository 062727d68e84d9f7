/*
 * kernels_tables.h
 *		The versions, for the dispatch.  NULL where the build lacks one.
 */
#ifndef DS_KERNELS_TABLES_H
#define DS_KERNELS_TABLES_H

#include "vector/kernels.h"

extern const DsKernels ds_kernels_portable;
extern const DsKernels *const ds_kernels_avx2;
extern const DsKernels *const ds_kernels_avx512;

#endif /* DS_KERNELS_TABLES_H */
