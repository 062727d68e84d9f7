/*
 * export_sink.c
 *		Where the files of a model go.
 */
#include "model/export.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_authid.h"
#include "common/file_perm.h"
#include "common/file_utils.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#define PIECE ((size_t) 1 << 20)

/* ---- a folder of the server ---- */

typedef struct Folder
{
	DsExportSink sink;
	char *path;
	char *temporary;
	char *file; /* the one that is being written */
	int fd;
} Folder;

static void
folder_begin(DsExportSink *sink, const char *name)
{
	Folder *folder = (Folder *) sink;
	const char *slash = strchr(name, '/');

	if (slash != NULL)
	{
		char *inner = psprintf("%s/%.*s", folder->temporary, (int) (slash - name), name);

		if (mkdir(inner, S_IRWXU | S_IRWXG | S_IRWXO) != 0 && errno != EEXIST)
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("could not create directory \"%s\": %m", inner)));
		pfree(inner);
	}
	folder->file = psprintf("%s/%s", folder->temporary, name);
	folder->fd = OpenTransientFilePerm(folder->file, O_WRONLY | O_CREAT | O_EXCL | PG_BINARY,
									   S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH);
	if (folder->fd < 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not create file \"%s\": %m", folder->file)));
}

static void
folder_put(DsExportSink *sink, const void *bytes, size_t size)
{
	Folder *folder = (Folder *) sink;
	const char *from = bytes;

	CHECK_FOR_INTERRUPTS();
	while (size > 0)
	{
		ssize_t n = write(folder->fd, from, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
		{
			if (n == 0)
				errno = ENOSPC;
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("could not write file \"%s\": %m", folder->file)));
		}
		from += n;
		size -= (size_t) n;
	}
}

static void
folder_end(DsExportSink *sink)
{
	Folder *folder = (Folder *) sink;

	if (pg_fsync(folder->fd) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not fsync file \"%s\": %m", folder->file)));
	if (CloseTransientFile(folder->fd) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not close file \"%s\": %m", folder->file)));
	pfree(folder->file);
}

/* An error, or the end of the process, leaves nothing. */
static void
remove_temporary(int code pg_attribute_unused(), Datum argument)
{
	const Folder *folder = (const Folder *) DatumGetPointer(argument);

	(void) rmtree(folder->temporary, true);
}

static void
sync_folders(const char *path)
{
	DIR *dir = AllocateDir(path);
	struct dirent *entry;

	while ((entry = ReadDir(dir, path)) != NULL)
	{
		char *inner = psprintf("%s/%s", path, entry->d_name);
		struct stat found;

		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
			lstat(inner, &found) == 0 && S_ISDIR(found.st_mode))
			fsync_fname(inner, true);
		pfree(inner);
	}
	FreeDir(dir);
	fsync_fname(path, true);
}

static char *
parent_of(const char *path)
{
	char *parent = pstrdup(path);

	get_parent_directory(parent);
	return parent[0] == '\0' ? pstrdup("/") : parent;
}

static void
refuse_existing(const char *path)
{
	struct stat found;

	if (lstat(path, &found) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_FILE), errmsg("\"%s\" already exists", path),
				 errhint("Models are exported to new folders: name another one, or remove it.")));
	if (errno != ENOENT)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not stat \"%s\": %m", path)));
}

void
ds_export_folder(const char *path, void (*work)(DsExportSink *sink, void *context), void *context)
{
	Folder *folder = palloc0(sizeof(Folder));
	mode_t mask;
	int made;

	if (!has_privs_of_role(GetUserId(), ROLE_PG_WRITE_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to write files of the server"),
				 errdetail("Only roles with privileges of pg_write_server_files may do this."),
				 errhint("To a client, ds_export_files() gives the files as rows.")));
	folder->path = pstrdup(path);
	canonicalize_path(folder->path);
	if (!is_absolute_path(folder->path) || strcmp(folder->path, "/") == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("path \"%s\" is not absolute", path)));
	refuse_existing(folder->path);
	folder->temporary = psprintf("%s.%d.tmp", folder->path, MyProcPid);
	folder->sink = (DsExportSink){folder_begin, folder_put, folder_end};
	/* as COPY TO does: others may read what they may read, and write nothing */
	mask = umask(S_IWGRP | S_IWOTH);
	made = mkdir(folder->temporary, S_IRWXU | S_IRWXG | S_IRWXO);
	if (made != 0)
	{
		(void) umask(mask);
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not create directory \"%s\": %m", folder->temporary)));
	}
	PG_ENSURE_ERROR_CLEANUP(remove_temporary, PointerGetDatum(folder));
	{
		PG_TRY();
		{
			work(&folder->sink, context);
		}
		PG_FINALLY();
		{
			(void) umask(mask);
		}
		PG_END_TRY();
		sync_folders(folder->temporary);
		refuse_existing(folder->path);
		if (rename(folder->temporary, folder->path) != 0)
			ereport(ERROR,
					(errcode_for_file_access(), errmsg("could not rename \"%s\" to \"%s\": %m",
													   folder->temporary, folder->path)));
		fsync_fname(parent_of(folder->path), true);
	}
	PG_END_ENSURE_ERROR_CLEANUP(remove_temporary, PointerGetDatum(folder));
}

/* ---- rows ---- */

typedef struct Rows
{
	DsExportSink sink;
	Tuplestorestate *store;
	TupleDesc desc;
	Datum file;
	int64 offset;
	bytea *piece;
	size_t filled;
} Rows;

static void
rows_begin(DsExportSink *sink, const char *name)
{
	Rows *rows = (Rows *) sink;

	rows->file = CStringGetTextDatum(name);
	rows->offset = 0;
}

static void
rows_flush(Rows *rows)
{
	Datum values[3] = {rows->file, Int64GetDatum(rows->offset), PointerGetDatum(rows->piece)};
	bool nulls[3] = {false, false, false};

	CHECK_FOR_INTERRUPTS();
	SET_VARSIZE(rows->piece, VARHDRSZ + rows->filled);
	tuplestore_putvalues(rows->store, rows->desc, values, nulls);
	rows->offset += (int64) rows->filled;
	rows->filled = 0;
}

static void
rows_put(DsExportSink *sink, const void *bytes, size_t size)
{
	Rows *rows = (Rows *) sink;
	const char *from = bytes;

	while (size > 0)
	{
		size_t n = Min(size, PIECE - rows->filled);

		memcpy(VARDATA(rows->piece) + rows->filled, from, n);
		rows->filled += n;
		from += n;
		size -= n;
		if (rows->filled == PIECE)
			rows_flush(rows);
	}
}

static void
rows_end(DsExportSink *sink)
{
	Rows *rows = (Rows *) sink;

	if (rows->filled > 0 || rows->offset == 0)
		rows_flush(rows);
}

DsExportSink *
ds_export_rows(Tuplestorestate *store, TupleDesc desc)
{
	Rows *rows = palloc0(sizeof(Rows));

	rows->sink = (DsExportSink){rows_begin, rows_put, rows_end};
	rows->store = store;
	rows->desc = desc;
	rows->piece = palloc(VARHDRSZ + PIECE);
	return &rows->sink;
}
