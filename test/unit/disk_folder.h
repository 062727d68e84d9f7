/*
 * disk_folder.h
 *		A model's files in a folder, and the tensors that were found there, for tests and
 *		benchmarks without a server.
 */
#ifndef DS_DISK_FOLDER_H
#define DS_DISK_FOLDER_H

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "format/encoder_source.h"
#include "nn/encoder.h"

#define DISK_PATH 4096

static DsCode
disk_look(void *context, const char *name, bool *exists, uint64_t *size, DsStatus *status)
{
	char path[DISK_PATH];
	struct stat file;

	(void) status;
	snprintf(path, sizeof(path), "%s/%s", (const char *) context, name);
	*exists = stat(path, &file) == 0 && S_ISREG(file.st_mode);
	*size = *exists ? (uint64_t) file.st_size : 0;
	return DS_OK;
}

static DsCode
disk_read(void *context, const char *name, uint64_t offset, void *buffer, size_t length,
		  DsStatus *status)
{
	char path[DISK_PATH];
	FILE *file;
	bool good;

	snprintf(path, sizeof(path), "%s/%s", (const char *) context, name);
	file = fopen(path, "rb");
	good = file != NULL && fseek(file, (long) offset, SEEK_SET) == 0 &&
		   fread(buffer, 1, length, file) == length;
	if (file != NULL)
		fclose(file);
	return good ? DS_OK : ds_fail(status, DS_BAD_DATA, "cannot read %s", path);
}

static const char *
disk_name(void *context, size_t i)
{
	static char name[256];
	DIR *directory = opendir(context);
	struct dirent *entry = NULL;

	if (directory == NULL)
		return NULL;
	for (size_t n = 0; n <= i && (entry = readdir(directory)) != NULL;)
		n += entry->d_name[0] != '.';
	if (entry != NULL)
		snprintf(name, sizeof(name), "%s", entry->d_name);
	closedir(directory);
	return entry != NULL ? name : NULL;
}

/* path must outlive it */
static inline DsFolder
disk_folder(char *path)
{
	return (DsFolder){disk_look, disk_read, disk_name, path};
}

/* The tensors of a tower, as sources have them */
typedef struct DiskTensors
{
	const DsSourceTensor *tensors;
	size_t count;
} DiskTensors;

static inline const DsSourceTensor *
disk_tensor(const DiskTensors *from, const char *name)
{
	for (size_t i = 0; i < from->count; i++)
		if (strcmp(from->tensors[i].name, name) == 0)
			return &from->tensors[i];
	return NULL;
}

static inline bool
disk_tensor_find(void *context, const char *name, uint64_t *values)
{
	const DsSourceTensor *tensor = disk_tensor(context, name);

	if (tensor != NULL)
		*values = tensor->info->elements;
	return tensor != NULL;
}

static inline DsCode
disk_tensor_read(void *context, const char *name, uint64_t first, size_t count, float *out,
				 DsStatus *status)
{
	const DsSourceTensor *tensor = disk_tensor(context, name);

	return ds_tensors_read_floats(tensor->files, tensor->info, first, count, out, status);
}

static inline DsTensorSource
disk_source(DiskTensors *from)
{
	return (DsTensorSource){.context = from, .find = disk_tensor_find, .read = disk_tensor_read};
}

#endif /* DS_DISK_FOLDER_H */
