/*
 * folder.c
 *		Reading whole small files; what a name and the first bytes of a file say.
 */
#include "format/folder.h"

#include <inttypes.h>
#include <string.h>

DsCode
ds_folder_load(const DsFolder *folder, const char *name, size_t limit, DsArena *arena, char **text,
			   size_t *length, DsStatus *status)
{
	bool exists;
	uint64_t size;
	DsCode code = folder->look(folder->context, name, &exists, &size, status);

	*text = NULL;
	*length = 0;
	if (code != DS_OK || !exists)
		return code;
	if (size > limit)
		return ds_fail(status, DS_TOO_LARGE, "%s has %" PRIu64 " bytes, at most %zu are read", name,
					   size, limit);
	*text = ds_arena_alloc(arena, (size_t) size + 1, 1);
	if (*text == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %s", name);
	(*text)[size] = 0;
	*length = (size_t) size;
	return size == 0 ? DS_OK : folder->read(folder->context, name, 0, *text, (size_t) size, status);
}

DsCode
ds_folder_has(const DsFolder *folder, const char *name, bool *has, DsStatus *status)
{
	bool exists = false;
	uint64_t size = 0;
	DsCode code = folder->look(folder->context, name, &exists, &size, status);

	*has = code == DS_OK && exists && size > 0;
	return code;
}

bool
ds_folder_plain_name(const char *name, size_t length)
{
	if (length == 0 || length > DS_FOLDER_NAME_MAX)
		return false;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char) name[i] < 32 || name[i] == 127 || name[i] == '/' || name[i] == '\\')
			return false;
	return !(name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.')));
}

const char *
ds_shown(char *buffer, const char *name)
{
	size_t n = strlen(name);
	size_t cut = n;

	if (n > 100)
	{
		/* at the beginning of a character */
		cut = 100;
		while (cut > 0 && ((unsigned char) name[cut] & 0xC0) == 0x80)
			cut--;
	}
	for (size_t i = 0; i < cut; i++)
		buffer[i] = (unsigned char) name[i] < 32 || name[i] == 127 ? '?' : name[i];
	strcpy(buffer + cut, cut < n ? "..." : "");
	return buffer;
}

DsFileKind
ds_file_kind(const void *bytes, size_t length)
{
	const unsigned char *p = bytes;

	if (length >= 4 && memcmp(p, "PK\3\4", 4) == 0)
		return DS_FILE_ZIP;
	if (length >= 4 && memcmp(p, "GGUF", 4) == 0)
		return DS_FILE_GGUF;
	if (length >= 8 && memcmp(p, "\211HDF\r\n\032\n", 8) == 0)
		return DS_FILE_HDF5;
	/* PROTO, then a version of 2 to 5 */
	if (length >= 2 && p[0] == 0x80 && p[1] >= 2 && p[1] <= 5)
	{
		/* a safetensors header of 640 bytes begins alike: what follows tells */
		if (length < 9 || p[8] != '{')
			return DS_FILE_PICKLE;
	}
	if (length >= 9 && p[8] == '{' && p[4] == 0 && p[5] == 0 && p[6] == 0 && p[7] == 0)
		return DS_FILE_SAFETENSORS;
	return DS_FILE_OTHER;
}

DsCode
ds_fail_file_kind(DsStatus *status, const char *file, DsFileKind kind)
{
	switch (kind)
	{
		case DS_FILE_PICKLE:
		case DS_FILE_ZIP:
			return ds_fail(status, DS_UNSUPPORTED,
						   "%s is a Python pickle, which is a program and is not read; convert it "
						   "to model.safetensors where the model came from, with "
						   "AutoModel.from_pretrained(folder).save_pretrained(folder, "
						   "safe_serialization=True)",
						   file);
		case DS_FILE_HDF5:
			return ds_fail(status, DS_UNSUPPORTED,
						   "%s is an HDF5 file, which is not read; convert it to model.safetensors",
						   file);
		case DS_FILE_GGUF:
			return ds_fail(status, DS_UNSUPPORTED,
						   "%s is a GGUF file, which is not read; use model.safetensors", file);
		default:
			return ds_fail(status, DS_UNSUPPORTED, "%s is no file of weights that is known here",
						   file);
	}
}
