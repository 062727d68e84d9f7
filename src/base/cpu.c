/*
 * cpu.c
 *		Processor detection.
 */
#include "base/cpu.h"

#include <stdlib.h>
#include <string.h>

static const char *const level_names[] = {"portable", "avx2", "avx512", "avx512_vnni"};

static DsCpuLevel
detect(void)
{
#if defined(__x86_64__)
	/* __builtin_cpu_supports also asks XGETBV whether the system saves the registers */
	__builtin_cpu_init();
	if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")))
		return DS_CPU_PORTABLE;
	if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
		  __builtin_cpu_supports("avx512cd")))
		return DS_CPU_AVX2;
	if (!(__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi")))
		return DS_CPU_AVX512;
	return DS_CPU_AVX512_VNNI;
#else
	return DS_CPU_PORTABLE;
#endif
}

DsCpuLevel
ds_cpu_level(void)
{
	static int known = -1;

	if (known < 0)
	{
		DsCpuLevel level = detect();
		const char *limit = getenv("DEEPSEARCH_CPU");

		if (limit != NULL)
			for (int i = 0; i < (int) level; i++)
				if (strcmp(limit, level_names[i]) == 0)
					level = (DsCpuLevel) i;
		known = (int) level;
	}
	return (DsCpuLevel) known;
}

const char *
ds_cpu_level_name(DsCpuLevel level)
{
	return level_names[level];
}
