/*
 * files.c
 *		A model's files as the readers of formats want them: a folder of the
 *		server, an upload, large objects.
 *
 * Nothing of a file is held beyond one piece of at most 1 MB.
 */
#include "model/upload.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "libpq/libpq-fs.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/large_object.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "model/catalog.h"
#include "model/guard.h"

#define NAMES_MAX 10000 /* files of a folder */

typedef struct Entry
{
	char *name;
	uint64 size;
	Oid object; /* a large object */
} Entry;

struct DsFiles
{
	DsFolder folder;
	MemoryContext context;
	char *place;
	DsGuard guard;

	/* what a reader asks for; one of the next three */
	bool (*look)(DsFiles *files, const char *name, uint64 *size);
	void (*read)(DsFiles *files, const char *name, uint64 offset, char *buffer, size_t length);

	/* the files there are (of the server's folder: of its top level) */
	Entry *entries;
	int count;

	/* the server: the file that was read last */
	char *path;
	char *only; /* the one file that was named; NULL: all of the folder */
	char *open_name;
	int fd;

	/* an upload: the piece that was read last */
	char *upload;
	char *piece_file;
	uint64 piece_begin;
	size_t piece_size;
	char *piece;

	LargeObjectDesc *object;
	Oid open_object;
};

/* ---- callbacks ---- */

typedef struct Request
{
	DsFiles *files;
	const char *name;
	bool exists;
	uint64 size;
	uint64 offset;
	char *buffer;
	size_t length;
} Request;

static void
do_look(void *argument)
{
	Request *request = argument;

	request->exists = request->files->look(request->files, request->name, &request->size);
}

static void
do_read(void *argument)
{
	Request *request = argument;

	CHECK_FOR_INTERRUPTS();
	request->files->read(request->files, request->name, request->offset, request->buffer,
						 request->length);
}

static DsCode
look(void *context, const char *name, bool *exists, uint64_t *size, DsStatus *status)
{
	Request request = {.files = context, .name = name};
	DsCode code = ds_guard_call(&request.files->guard, do_look, &request, status);

	*exists = request.exists;
	*size = request.size;
	return code;
}

static DsCode
read_part(void *context, const char *name, uint64_t offset, void *buffer, size_t length,
		  DsStatus *status)
{
	Request request = {
		.files = context, .name = name, .offset = offset, .buffer = buffer, .length = length};

	return ds_guard_call(&request.files->guard, do_read, &request, status);
}

void
ds_files_check(DsFiles *files, DsCode code, const DsStatus *status)
{
	ds_guard_check(&files->guard, code, status);
}

static const char *
entry_name(void *context, size_t i)
{
	const DsFiles *files = context;

	return i < (size_t) files->count ? files->entries[i].name : NULL;
}

static void
add_entry(DsFiles *files, const char *name, uint64 size, Oid object)
{
	if (files->count >= NAMES_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("%s has more than %d files", files->place, NAMES_MAX)));
	if (files->entries == NULL)
		files->entries = palloc(sizeof(Entry) * 16);
	else if (files->count >= 16 && (files->count & (files->count - 1)) == 0)
		files->entries = repalloc(files->entries, sizeof(Entry) * (Size) files->count * 2);
	files->entries[files->count].name = pstrdup(name);
	files->entries[files->count].size = size;
	files->entries[files->count++].object = object;
}

static const Entry *
find_entry(const DsFiles *files, const char *name)
{
	for (int i = 0; i < files->count; i++)
		if (strcmp(files->entries[i].name, name) == 0)
			return &files->entries[i];
	return NULL;
}

static bool
look_entry(DsFiles *files, const char *name, uint64 *size)
{
	const Entry *entry = find_entry(files, name);

	if (entry != NULL)
		*size = entry->size;
	return entry != NULL;
}

static DsFiles *
make_files(const char *place)
{
	DsFiles *files = palloc0(sizeof(DsFiles));

	files->context = files->guard.context = CurrentMemoryContext;
	files->place = pstrdup(place);
	files->fd = -1;
	files->look = look_entry;
	files->folder.look = look;
	files->folder.read = read_part;
	files->folder.name = entry_name;
	files->folder.context = files;
	return files;
}

const DsFolder *
ds_files_folder(DsFiles *files)
{
	return &files->folder;
}

void
ds_files_close(DsFiles *files)
{
	if (files->fd >= 0)
		CloseTransientFile(files->fd);
	files->fd = -1;
	files->open_name = NULL;
	if (OidIsValid(files->open_object))
		inv_close(files->object);
	files->open_object = InvalidOid;
}

const char *
ds_files_place(const DsFiles *files)
{
	return files->place;
}

/* ---- a folder of the server ---- */

static bool
look_server(DsFiles *files, const char *name, uint64 *size)
{
	char *path = psprintf("%s/%s", files->path, name);
	struct stat found;

	if (files->only != NULL && strcmp(files->only, name) != 0)
		return false;
	if (stat(path, &found) != 0)
	{
		if (errno == ENOENT || errno == ENOTDIR)
			return false;
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not stat file \"%s\": %m", path)));
	}
	if (!S_ISREG(found.st_mode))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a plain file", path)));
	*size = (uint64) found.st_size;
	pfree(path);
	return true;
}

static void
read_server(DsFiles *files, const char *name, uint64 offset, char *buffer, size_t length)
{
	if (files->open_name == NULL || strcmp(files->open_name, name) != 0)
	{
		char *path = psprintf("%s/%s", files->path, name);
		struct stat found;

		ds_files_close(files);
		/* what was a plain file a moment ago may be a pipe now, whose open would wait */
		files->fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
		if (files->fd < 0)
			ereport(ERROR,
					(errcode_for_file_access(), errmsg("could not open file \"%s\": %m", path)));
		if (fstat(files->fd, &found) != 0 || !S_ISREG(found.st_mode))
			ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
							errmsg("\"%s\" is not a plain file", path)));
		files->open_name = MemoryContextStrdup(files->context, name);
		pfree(path);
	}
	while (length > 0)
	{
		ssize_t n = pread(files->fd, buffer, length, (off_t) offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			ereport(ERROR, (n < 0 ? errcode_for_file_access() : errcode(ERRCODE_DATA_CORRUPTED),
							n < 0 ? errmsg("could not read file \"%s/%s\": %m", files->path, name)
								  : errmsg("file \"%s/%s\" became shorter while it was read",
										   files->path, name)));
		buffer += n;
		offset += (uint64) n;
		length -= (size_t) n;
	}
}

DsFiles *
ds_files_server(const char *path)
{
	DsFiles *files;
	DIR *dir;
	struct dirent *entry;
	struct stat file;

	if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to read files of the server"),
				 errdetail("Only roles with privileges of pg_read_server_files may do this."),
				 errhint("From a client, send the files with ds_upload().")));
	files = make_files(psprintf("folder \"%s\"", path));
	files->path = pstrdup(path);
	canonicalize_path(files->path);
	if (!is_absolute_path(files->path))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("path \"%s\" is not absolute", path)));
	files->look = look_server;
	files->read = read_server;
	if (stat(files->path, &file) == 0 && S_ISREG(file.st_mode))
	{
		/* one file of weights is a folder of this file */
		char *slash = strrchr(files->path, '/');

		files->place = psprintf("file \"%s\"", path);
		files->only = pstrdup(slash + 1);
		add_entry(files, files->only, (uint64) file.st_size, InvalidOid);
		*slash = '\0';
		return files;
	}
	dir = AllocateDir(files->path);
	while ((entry = ReadDir(dir, files->path)) != NULL)
	{
		char *full = psprintf("%s/%s", files->path, entry->d_name);
		struct stat found;

		if (stat(full, &found) == 0 && S_ISREG(found.st_mode))
			add_entry(files, entry->d_name, (uint64) found.st_size, InvalidOid);
		pfree(full);
	}
	FreeDir(dir);
	return files;
}

/* ---- an upload ---- */

static void
read_upload(DsFiles *files, const char *name, uint64 offset, char *buffer, size_t length)
{
	static const Oid types[3] = {TEXTOID, TEXTOID, INT8OID};

	while (length > 0)
	{
		size_t within;
		size_t n;

		if (files->piece_file == NULL || strcmp(files->piece_file, name) != 0 ||
			offset < files->piece_begin || offset - files->piece_begin >= files->piece_size)
		{
			Datum values[3];
			bool null;
			bytea *data;

			if (files->piece == NULL)
				files->piece = MemoryContextAlloc(files->context, 1048576);
			if (files->piece_file != NULL)
				pfree(files->piece_file);
			files->piece_file = NULL;
			SPI_connect();
			values[0] = CStringGetTextDatum(files->upload);
			values[1] = CStringGetTextDatum(name);
			values[2] = Int64GetDatum((int64) offset);
			if (ds_catalog_execute("SELECT p.\"offset\", p.data FROM @.ds_upload_piece p"
								   " WHERE p.upload = $1 AND p.file = $2 AND p.\"offset\" <= $3"
								   " ORDER BY p.\"offset\" DESC LIMIT 1",
								   3, types, values, NULL) != 1)
				elog(ERROR, "a piece of file \"%s\" is gone", name);
			files->piece_begin = (uint64) DatumGetInt64(ds_catalog_value(0, 1, &null));
			data = DatumGetByteaPP(ds_catalog_value(0, 2, &null));
			files->piece_size = VARSIZE_ANY_EXHDR(data);
			memcpy(files->piece, VARDATA_ANY(data), files->piece_size);
			SPI_finish();
			files->piece_file = MemoryContextStrdup(files->context, name);
			if (offset - files->piece_begin >= files->piece_size)
				elog(ERROR, "a piece of file \"%s\" is gone", name);
		}
		within = (size_t) (offset - files->piece_begin);
		n = Min(length, files->piece_size - within);
		memcpy(buffer, files->piece + within, n);
		buffer += n;
		offset += n;
		length -= n;
	}
}

DsFiles *
ds_files_upload(const char *name)
{
	static const Oid types[1] = {TEXTOID};
	Datum values[1] = {CStringGetTextDatum(name)};
	DsFiles *files = make_files(psprintf("upload \"%s\"", name));
	Oid owner = InvalidOid;
	uint64 count;
	uint64 end = 0;
	bool null;
	MemoryContext caller;

	files->upload = pstrdup(name);
	files->read = read_upload;
	SPI_connect();
	if (ds_catalog_execute("SELECT owner FROM @.ds_upload WHERE name = $1", 1, types, values,
						   NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("upload \"%s\" does not exist", name)));
	owner = get_role_oid(NameStr(*DatumGetName(ds_catalog_value(0, 1, &null))), true);
	if (!superuser() && !(OidIsValid(owner) && has_privs_of_role(GetUserId(), owner)))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("must be owner of upload \"%s\"", name)));
	count = ds_catalog_execute("SELECT p.file, p.\"offset\", octet_length(p.data)"
							   " FROM @.ds_upload_piece p WHERE p.upload = $1"
							   " ORDER BY p.file, p.\"offset\"",
							   1, types, values, NULL);
	caller = MemoryContextSwitchTo(files->context);
	for (uint64 i = 0; i < count; i++)
	{
		char *file = TextDatumGetCString(ds_catalog_value(i, 1, &null));
		uint64 offset = (uint64) DatumGetInt64(ds_catalog_value(i, 2, &null));
		int32 size = DatumGetInt32(ds_catalog_value(i, 3, &null));
		bool same = files->count > 0 && strcmp(files->entries[files->count - 1].name, file) == 0;

		if (!same)
		{
			add_entry(files, file, 0, InvalidOid);
			end = 0;
		}
		if (offset != end)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("file \"%s\" of upload \"%s\" is not complete", file, name),
					 offset > end
						 ? errdetail("Bytes " UINT64_FORMAT " to " UINT64_FORMAT " are missing.",
									 end, offset - 1)
						 : errdetail("Its pieces overlap at byte " UINT64_FORMAT ".", offset)));
		end = offset + (uint64) size;
		files->entries[files->count - 1].size = end;
		pfree(file);
	}
	MemoryContextSwitchTo(caller);
	SPI_finish();
	return files;
}

/* ---- large objects ---- */

static void
open_object(DsFiles *files, Oid object)
{
	if (files->open_object == object)
		return;
	ds_files_close(files);
	files->object = inv_open(object, INV_READ, files->context);
	files->open_object = object;
}

static void
read_object(DsFiles *files, const char *name, uint64 offset, char *buffer, size_t length)
{
	open_object(files, find_entry(files, name)->object);
	inv_seek(files->object, (int64) offset, SEEK_SET);
	while (length > 0)
	{
		int n = inv_read(files->object, buffer, (int) Min(length, (size_t) 1 << 20));

		if (n <= 0)
			elog(ERROR, "large object %u is too short", files->open_object);
		buffer += n;
		length -= (size_t) n;
	}
}

DsFiles *
ds_files_large_objects(Jsonb *objects)
{
	DsFiles *files = make_files("the large objects");
	JsonbIterator *iterator = JsonbIteratorInit(&objects->root);
	JsonbIteratorToken token;
	JsonbValue value;
	char *name = NULL;

	files->read = read_object;
	if (!JB_ROOT_IS_OBJECT(objects))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("large_objects must be an object of file names and numbers"),
						errhint("For example {\"config.json\": 16401, \"model.safetensors\": "
								"16402}.")));
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
		{
			int64 number = 0;

			if (value.type == jbvNumeric)
			{
				bool failed = false;
				Datum text = DirectFunctionCall1(numeric_out, NumericGetDatum(value.val.numeric));
				char *end;

				errno = 0;
				number = strtoll(DatumGetCString(text), &end, 10);
				failed = errno != 0 || *end != '\0' || number <= 0 || number > PG_UINT32_MAX;
				if (failed)
					number = 0;
			}
			if (number == 0)
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("large_objects: \"%s\" must be the number of a large object",
									   name)));
			open_object(files, (Oid) number);
			add_entry(files, name, (uint64) inv_seek(files->object, 0, SEEK_END), (Oid) number);
		}
	}
	return files;
}
