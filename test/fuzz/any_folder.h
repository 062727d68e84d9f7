/*
 * any_folder.h
 *		A model's folder whose files are any bytes, for the targets that open one.
 *
 * The input is a list of files: a byte that chooses the name, two for the
 * length, the bytes.
 */
#ifndef DS_ANY_FOLDER_H
#define DS_ANY_FOLDER_H

#include <stdlib.h>
#include <string.h>

#include "folder_names.h"
#include "format/folder.h"

static const uint8_t *file[NAMES];
static size_t length[NAMES];

static size_t
number(const char *name)
{
	for (size_t i = 0; i < NAMES; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return NAMES;
}

static DsCode
look(void *context, const char *name, bool *exists, uint64_t *size, DsStatus *status)
{
	size_t i = number(name);

	(void) context;
	(void) status;
	*exists = i < NAMES && file[i] != NULL;
	*size = *exists ? length[i] : 0;
	return DS_OK;
}

static DsCode
read_part(void *context, const char *name, uint64_t offset, void *buffer, size_t size,
		  DsStatus *status)
{
	size_t i = number(name);

	(void) context;
	(void) status;
	if (i >= NAMES || file[i] == NULL || offset > length[i] || size > length[i] - offset)
		abort();
	memcpy(buffer, file[i] + offset, size);
	return DS_OK;
}

static const char *
name_of(void *context, size_t i)
{
	(void) context;
	for (size_t n = 0; n < NAMES; n++)
		if (file[n] != NULL && strchr(names[n], '/') == NULL && i-- == 0)
			return names[n];
	return NULL;
}

static const DsFolder folder = {look, read_part, name_of, NULL};

/* The folder becomes what the input says */
static void
fill_folder(const uint8_t *data, size_t size)
{
	memset(file, 0, sizeof(file));
	while (size >= 3)
	{
		size_t i = data[0] % NAMES;
		size_t n = (size_t) data[1] | (size_t) data[2] << 8;

		data += 3;
		size -= 3;
		if (n > size)
			n = size;
		file[i] = data;
		length[i] = n;
		data += n;
		size -= n;
	}
}

#endif /* DS_ANY_FOLDER_H */
