/*
 * folder.h
 *		The files of a model, wherever they are: a folder of the server, uploaded
 *		pieces, large objects.
 *
 * The caller gives callbacks that look for a file by its name and read any
 * part of it; nothing here keeps a file open or maps one.  Names are relative,
 * with slashes ("1_Pooling/config.json").  A name that comes from inside of a
 * file (the parts of a sharded model, the path of a module) has passed
 * ds_folder_plain_name() before a callback sees it, so it cannot lead out of
 * the folder; symbolic links are the caller's business.
 */
#ifndef DS_FOLDER_H
#define DS_FOLDER_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"

typedef struct DsFolder
{
	/* DS_OK with *exists false when there is no such file; anything but a plain file is an error */
	DsCode (*look)(void *context, const char *name, bool *exists, uint64_t *size, DsStatus *status);
	/* exactly length bytes from offset, or an error; only asked for what is inside of the size */
	DsCode (*read)(void *context, const char *name, uint64_t offset, void *buffer, size_t length,
				   DsStatus *status);
	/* the i-th file of the top level, in any order, NULL behind the last; may be NULL */
	const char *(*name)(void *context, size_t i);
	void *context;
} DsFolder;

#define DS_FOLDER_NAME_MAX 255

/*
 * A whole small file into the arena, with a zero byte behind it.  *text is
 * NULL when there is none.  DS_TOO_LARGE beyond limit bytes.
 */
extern DsCode ds_folder_load(const DsFolder *folder, const char *name, size_t limit, DsArena *arena,
							 char **text, size_t *length, DsStatus *status);

/* an empty or missing file is no error: false */
extern DsCode ds_folder_has(const DsFolder *folder, const char *name, bool *has, DsStatus *status);

/*
 * Whether a name from inside of a file names one file of a folder: 1 to 255
 * bytes, no slash, backslash or control character, not "." nor "..".
 */
extern bool ds_folder_plain_name(const char *name, size_t length);

/*
 * A name from outside as it may stand in a message: cut at 100 bytes, without
 * control characters.  Returns buffer.
 */
#define DS_SHOWN_SIZE 108
extern const char *ds_shown(char *buffer, const char *name);

/*
 * What the first bytes of a file of weights say that it is.  A pickle (and the
 * zip that PyTorch wraps around it) is a program, not data, and is never read.
 */
typedef enum DsFileKind
{
	DS_FILE_OTHER = 0,
	DS_FILE_PICKLE, /* pytorch_model.bin of old: a bare pickle */
	DS_FILE_ZIP, /* pytorch_model.bin since PyTorch 1.6, .npz, .keras */
	DS_FILE_HDF5, /* tf_model.h5 */
	DS_FILE_SAFETENSORS,
	DS_FILE_GGUF
} DsFileKind;

extern DsFileKind ds_file_kind(const void *bytes, size_t length);

/*
 * Fail with DS_UNSUPPORTED: the weights in this file are of a kind that is not read, and
 * how to convert them.
 */
extern DsCode ds_fail_file_kind(DsStatus *status, const char *file, DsFileKind kind);

#endif /* DS_FOLDER_H */
