/*
 * cpu.c
 *		Processor detection.
 */
#include "base/cpu.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

/* arch_prctl(2): a permission to use an extended state, and the number of tiles' data */
#define REQUEST_STATE 0x1023
#define STATE_TILES 18
/* CPUID leaf 7, EDX: bf16, tiles, int8 */
#define AMX_BITS (1u << 22 | 1u << 24 | 1u << 25)
#endif

static const char *const level_names[] = {"portable", "avx2", "avx512", "avx512_vnni"};

#if defined(__x86_64__)
/* not among what every compiler's __builtin_cpu_supports() knows; needs no state beyond AVX's */
static bool
has_f16c(void)
{
	unsigned int a;
	unsigned int b;
	unsigned int c;
	unsigned int d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
}
#endif

static DsCpuLevel
detect(void)
{
#if defined(__x86_64__)
	/* __builtin_cpu_supports also asks XGETBV whether the system saves the registers */
	__builtin_cpu_init();
	if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c()))
		return DS_CPU_PORTABLE;
	if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
		  __builtin_cpu_supports("avx512cd")))
		return DS_CPU_AVX2;
	if (!(__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi") &&
		  __builtin_cpu_supports("avx512vpopcntdq")))
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

bool
ds_cpu_amx(void)
{
#if defined(__x86_64__) && defined(__linux__)
	static int known = -1;

	if (known < 0)
	{
		unsigned int a;
		unsigned int b;
		unsigned int c;
		unsigned int d;

		known = getenv("DEEPSEARCH_CPU") == NULL && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
				(d & AMX_BITS) == AMX_BITS &&
				syscall(SYS_arch_prctl, REQUEST_STATE, STATE_TILES) == 0;
	}
	return known == 1;
#else
	return false;
#endif
}

const char *
ds_cpu_level_name(DsCpuLevel level)
{
	return level_names[level];
}
