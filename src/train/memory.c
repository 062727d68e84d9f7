/*
 * memory.c
 *		How much memory a training may take.
 *
 * Activations of a batch of pictures can be larger than the machine's memory, and most
 * systems promise memory that they do not have: a process that uses it is killed, and
 * the whole server restarts.  So training asks first what there is.
 */
#include "train/memory.h"

#include "storage/fd.h"

#define SYSTEM "/proc/meminfo"
#define CONTAINER "/sys/fs/cgroup/memory.max"

/* Of the lines "NAME: NUMBER kB" those with either name, in bytes; 0: there are none */
static uint64
read_system(const char *one, const char *other)
{
	FILE *file = AllocateFile(SYSTEM, "r");
	char line[256];
	char name[64];
	unsigned long long number;
	uint64 sum = 0;

	if (file == NULL)
		return 0;
	while (fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "%63[^:]: %llu kB", name, &number) == 2 &&
			(strcmp(name, one) == 0 || strcmp(name, other) == 0))
			sum += (uint64) number * 1024;
	FreeFile(file);
	return sum;
}

/* The limit of the container, in bytes; 0: there is none */
static uint64
read_container(void)
{
	FILE *file = AllocateFile(CONTAINER, "r");
	unsigned long long number = 0;

	if (file == NULL)
		return 0;
	/* "max" is no number */
	if (fscanf(file, "%llu", &number) != 1)
		number = 0;
	FreeFile(file);
	return (uint64) number;
}

Size
ds_training_memory(void)
{
	uint64 machine;
	uint64 container;

	if (ds_setting_training_memory > 0)
		return (Size) ds_setting_training_memory * 1024 * 1024;
	machine = read_system("MemAvailable", "SwapFree");
	container = read_container();
	if (container > 0 && (machine == 0 || container < machine))
		machine = container;
	return machine > 0 && machine < SIZE_MAX ? (Size) machine : SIZE_MAX;
}
