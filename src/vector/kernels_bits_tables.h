/*
 * kernels_bits_tables.h
 *		The versions, for the dispatch.  NULL where the build lacks one.
 */
#ifndef DS_KERNELS_BITS_TABLES_H
#define DS_KERNELS_BITS_TABLES_H

#include "vector/kernels_bits.h"

extern const DsBitKernels ds_bit_kernels_portable;
extern const DsBitKernels *const ds_bit_kernels_avx2;
extern const DsBitKernels *const ds_bit_kernels_avx512popcnt;

#endif /* DS_KERNELS_BITS_TABLES_H */
