/*
 * memory_folder.h
 *		A model's files in memory, for tests and fuzzing: each is a copy of exactly its
 *		size, so that the sanitizer sees a byte too far.
 */
#ifndef DS_MEMORY_FOLDER_H
#define DS_MEMORY_FOLDER_H

#include <stdlib.h>
#include <string.h>

#include "format/folder.h"

#define MEMORY_FILES 64

typedef struct MemoryFile
{
	char name[300];
	unsigned char *bytes;
	size_t size;
} MemoryFile;

typedef struct MemoryFolder
{
	MemoryFile files[MEMORY_FILES];
	size_t count;
	size_t reads; /* calls */
	size_t largest; /* bytes of one call */
	size_t fail_at; /* the number of a call that fails, 0: none */
	DsFolder folder;
} MemoryFolder;

static MemoryFile *
memory_find(MemoryFolder *memory, const char *name)
{
	for (size_t i = 0; i < memory->count; i++)
		if (strcmp(memory->files[i].name, name) == 0)
			return &memory->files[i];
	return NULL;
}

static DsCode
memory_look(void *context, const char *name, bool *exists, uint64_t *size, DsStatus *status)
{
	MemoryFile *file = memory_find(context, name);

	(void) status;
	*exists = file != NULL;
	*size = file != NULL ? file->size : 0;
	return DS_OK;
}

static DsCode
memory_read(void *context, const char *name, uint64_t offset, void *buffer, size_t length,
			DsStatus *status)
{
	MemoryFolder *memory = context;
	MemoryFile *file = memory_find(memory, name);

	/* the contract of DsFolder: nobody asks for more than there is */
	if (file == NULL || offset > file->size || length > file->size - offset)
		abort();
	if (++memory->reads == memory->fail_at)
		return ds_fail(status, DS_BAD_DATA, "cannot read %s", name);
	if (length > memory->largest)
		memory->largest = length;
	memcpy(buffer, file->bytes + offset, length);
	return DS_OK;
}

static const char *
memory_name(void *context, size_t i)
{
	MemoryFolder *memory = context;
	size_t seen = 0;

	for (size_t n = 0; n < memory->count; n++)
		if (strchr(memory->files[n].name, '/') == NULL && seen++ == i)
			return memory->files[n].name;
	return NULL;
}

__attribute__((unused)) static void
memory_open(MemoryFolder *memory)
{
	memset(memory, 0, sizeof(*memory));
	memory->folder.look = memory_look;
	memory->folder.read = memory_read;
	memory->folder.name = memory_name;
	memory->folder.context = memory;
}

/* a new file, or other contents of one that is there */
__attribute__((unused)) static void
memory_put(MemoryFolder *memory, const char *name, const void *bytes, size_t size)
{
	MemoryFile *file = memory_find(memory, name);

	if (file == NULL)
	{
		if (memory->count == MEMORY_FILES || strlen(name) >= sizeof(file->name))
			abort();
		file = &memory->files[memory->count++];
		strcpy(file->name, name);
	}
	free(file->bytes);
	file->bytes = malloc(size + !size);
	if (size > 0)
		memcpy(file->bytes, bytes, size);
	file->size = size;
}

__attribute__((unused)) static void
memory_put_text(MemoryFolder *memory, const char *name, const char *text)
{
	memory_put(memory, name, text, strlen(text));
}

/* a safetensors file: the header's length, the header, then data bytes 0, 1, 2, ... */
__attribute__((unused)) static void
memory_put_safetensors(MemoryFolder *memory, const char *name, const char *header, size_t data)
{
	size_t length = strlen(header);
	unsigned char *bytes = malloc(8 + length + data);

	for (int i = 0; i < 8; i++)
		bytes[i] = (unsigned char) ((uint64_t) length >> (8 * i));
	memcpy(bytes + 8, header, length);
	for (size_t i = 0; i < data; i++)
		bytes[8 + length + i] = (unsigned char) i;
	memory_put(memory, name, bytes, 8 + length + data);
	free(bytes);
}

__attribute__((unused)) static void
memory_close(MemoryFolder *memory)
{
	for (size_t i = 0; i < memory->count; i++)
		free(memory->files[i].bytes);
	memory->count = 0;
}

#endif /* DS_MEMORY_FOLDER_H */
