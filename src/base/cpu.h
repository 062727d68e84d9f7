/*
 * cpu.h
 *		Which instructions this processor has.
 */
#ifndef DS_CPU_H
#define DS_CPU_H

/*
 * Levels are ordered: a processor of one level has everything of the ones
 * below.  DS_CPU_AVX2 means AVX2, FMA and F16C; DS_CPU_AVX512 means F, BW, DQ,
 * VL and CD (Skylake-X and later); DS_CPU_AVX512_VNNI adds VNNI and VBMI
 * (Ice Lake, Zen 4 and later).
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
extern const char *ds_cpu_level_name(DsCpuLevel level);

#endif /* DS_CPU_H */
