/*
 * cpu.h
 *		Which instructions this processor has.
 */
#ifndef DS_CPU_H
#define DS_CPU_H

#include <stdbool.h>

/*
 * Levels are ordered: a processor of one level has everything of the ones
 * below.  DS_CPU_AVX2 means AVX2, FMA and F16C; DS_CPU_AVX512 means F, BW, DQ,
 * VL and CD (Skylake-X and later); DS_CPU_AVX512_VNNI adds VNNI, VBMI and
 * VPOPCNTDQ (Ice Lake, Zen 4 and later).
 */
typedef enum DsCpuLevel
{
	DS_CPU_PORTABLE = 0,
	DS_CPU_AVX2,
	DS_CPU_AVX512,
	DS_CPU_AVX512_VNNI
} DsCpuLevel;

/*
 * The level of this processor, as far as the operating system lets programs
 * use it.  The environment variable DEEPSEARCH_CPU (portable, avx2, avx512)
 * can lower it, for tests; it is read once.
 */
extern DsCpuLevel ds_cpu_level(void);

/*
 * Whether there is a matrix unit (AMX: tiles, int8 and bf16) and the system has
 * given it to this process, which is asked for by the first call.  False where
 * DEEPSEARCH_CPU names a level.
 */
extern bool ds_cpu_amx(void);

extern const char *ds_cpu_level_name(DsCpuLevel level);

#endif /* DS_CPU_H */
