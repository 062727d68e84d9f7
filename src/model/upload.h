/*
 * upload.h
 *		A model's files, wherever they are: a folder of the server, an upload,
 *		large objects.
 */
#ifndef DS_MODEL_UPLOAD_H
#define DS_MODEL_UPLOAD_H

#include "server.h"

#include "format/folder.h"
#include "utils/jsonb.h"

/*
 * A folder for the pure rooms, over the server's files.  Its callbacks never
 * raise an error, since they are called from pure code: they keep what was
 * raised, fail, and ds_files_check() raises it when that code has returned.
 */
typedef struct DsFiles DsFiles;

/* 42501 without pg_read_server_files; 58P01 (and the like) when path is no folder that can be read */
extern DsFiles *ds_files_server(const char *path);
/* 42704 no such upload, 42501 someone else's, XX001 a file with gaps */
extern DsFiles *ds_files_upload(const char *name);
/* an object of file names and large objects' numbers: 22023, 42704, 42501 */
extern DsFiles *ds_files_large_objects(Jsonb *objects);

extern const DsFolder *ds_files_folder(DsFiles *files);
/* where the files are, for messages */
extern const char *ds_files_place(const DsFiles *files);

/* when all is read; after an error the transaction's end does it */
extern void ds_files_close(DsFiles *files);

/* As ds_check(), or the error that a callback has kept */
extern void ds_files_check(DsFiles *files, DsCode code, const DsStatus *status);

#endif /* DS_MODEL_UPLOAD_H */
