/*
 * import_images.c
 *		ds_import_images(): the pictures of a folder of the server, as rows.
 *
 * Files whose names end as those of JPEG and PNG do, in the order of their names, with the
 * folders below.  Each is decoded once, so that a row either has a picture that every model
 * can read, or says what is wrong with it.  A name that is no text of this database's
 * encoding is warned about and left out.  Links to folders are not followed, since they may
 * lead in a circle.
 */
#include "model/model.h"

#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_authid.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "image/image.h"

#define DEPTH_MAX 64 /* folders in folders */

typedef struct Walk
{
	Tuplestorestate *store;
	TupleDesc desc;
	bool recursive;
	MemoryContext file_context; /* of one file */
} Walk;

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* The names in a folder, sorted */
static char **
list_folder(const char *path, int *count)
{
	DIR *folder = AllocateDir(path);
	struct dirent *entry;
	int allocated = 64;
	char **names = palloc(sizeof(char *) * (Size) allocated);

	*count = 0;
	while ((entry = ReadDir(folder, path)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (*count == allocated)
		{
			allocated *= 2;
			names = repalloc_huge(names, sizeof(char *) * (Size) allocated);
		}
		names[(*count)++] = pstrdup(entry->d_name);
	}
	FreeDir(folder);
	qsort(names, (size_t) *count, sizeof(char *), by_name);
	return names;
}

static bool
is_picture(const char *name)
{
	static const char *const ends[] = {".jpg", ".jpeg", ".jpe", ".png"};
	size_t length = strlen(name);

	for (size_t i = 0; i < lengthof(ends); i++)
		if (length > strlen(ends[i]) &&
			pg_strcasecmp(name + length - strlen(ends[i]), ends[i]) == 0)
			return true;
	return false;
}

/* The file's bytes; NULL where it cannot be read, with the reason */
static bytea *
read_file(const char *path, uint64 size, char **error)
{
	int fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	bytea *file;
	ssize_t n;

	if (fd < 0)
	{
		*error = psprintf("could not open the file: %s", strerror(errno));
		return NULL;
	}
	file = palloc(VARHDRSZ + size);
	n = read(fd, VARDATA(file), size);
	if (n < 0)
		*error = psprintf("could not read the file: %s", strerror(errno));
	else if ((uint64) n != size)
		*error = pstrdup("the file became shorter while it was read");
	CloseTransientFile(fd);
	SET_VARSIZE(file, VARHDRSZ + size);
	return *error == NULL ? file : NULL;
}

/* What is wrong with a picture, or NULL */
static char *
find_fault(const bytea *file)
{
	DsImageLimits limits = {.max_bytes = (size_t) ds_setting_image_max_bytes * 1024,
							.max_pixels = (uint64_t) ds_setting_image_max_pixels};
	DsArena arena;
	DsArena scratch;
	DsImage image;
	DsStatus status;
	DsCode code;
	bool failed = false;

	ds_server_arena(&arena, CurrentMemoryContext);
	ds_server_arena(&scratch, CurrentMemoryContext);
	code = ds_image_decode(VARDATA_ANY(file), VARSIZE_ANY_EXHDR(file), &limits, &arena, &scratch,
						   &ds_server_cancel, &image, &status);
	if (code != DS_OK)
		/* an interrupt, or no memory, is nothing about the picture */
		ds_image_refuse(code, &status, &failed);
	return failed ? pstrdup(status.message) : NULL;
}

static void
put_file(Walk *walk, const char *path, const char *name, uint64 size)
{
	MemoryContext caller = MemoryContextSwitchTo(walk->file_context);
	uint64 limit = (uint64) ds_setting_image_max_bytes * 1024;
	Datum values[3] = {0};
	bool nulls[3] = {false, true, true};
	bytea *file = NULL;
	char *error = NULL;

	if (size > limit)
		error = psprintf("the image has " UINT64_FORMAT " bytes, the limit is " UINT64_FORMAT, size,
						 limit);
	else
		file = read_file(path, size, &error);
	if (file != NULL)
		error = find_fault(file);
	values[0] = CStringGetTextDatum(name);
	if (error != NULL)
		values[2] = CStringGetTextDatum(error);
	else
		values[1] = PointerGetDatum(file);
	nulls[1] = error != NULL;
	nulls[2] = error == NULL;
	tuplestore_putvalues(walk->store, walk->desc, values, nulls);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(walk->file_context);
}

/* path, whose name below the first folder is prefix (with a slash behind it, or empty) */
static void
walk_folder(Walk *walk, const char *path, const char *prefix, int depth)
{
	int count;
	char **names = list_folder(path, &count);

	for (int i = 0; i < count; i++)
	{
		char *whole = psprintf("%s/%s", path, names[i]);
		char *name = psprintf("%s%s", prefix, names[i]);
		struct stat state;
		bool folder;

		CHECK_FOR_INTERRUPTS();
		/* gone again, or not to be looked at */
		if (lstat(whole, &state) != 0)
			continue;
		folder = S_ISDIR(state.st_mode);
		if (S_ISLNK(state.st_mode) && stat(whole, &state) != 0)
			continue;
		if (!pg_verifymbstr(names[i], (int) strlen(names[i]), true))
		{
			if (folder || is_picture(names[i]))
				ereport(WARNING,
						(errmsg("a file name in \"%s\" is no text of encoding %s: left out", path,
								GetDatabaseEncodingName())));
		}
		else if (folder && walk->recursive)
		{
			if (depth == DEPTH_MAX)
				ereport(ERROR,
						(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						 errmsg("more than %d folders in each other at \"%s\"", DEPTH_MAX, path)));
			walk_folder(walk, whole, psprintf("%s/", name), depth + 1);
		}
		else if (S_ISREG(state.st_mode) && is_picture(names[i]))
			put_file(walk, whole, name, (uint64) state.st_size);
		pfree(whole);
		pfree(name);
		pfree(names[i]);
	}
	pfree(names);
}

DS_FUNCTION(ds_sql_import_images);
Datum
ds_sql_import_images(PG_FUNCTION_ARGS)
{
	char *path = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Walk walk = {.recursive = PG_GETARG_BOOL(1)};
	struct stat state;

	if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to read files of the server"),
				 errdetail("Only roles with privileges of pg_read_server_files may do this."),
				 errhint("Clients send pictures as bytea.")));
	canonicalize_path(path);
	if (!is_absolute_path(path))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("path \"%s\" is not absolute", path)));
	if (stat(path, &state) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not read \"%s\": %m", path)));
	if (!S_ISDIR(state.st_mode))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is no folder", path)));
	walk.store = ds_materialize(fcinfo, &walk.desc);
	walk.file_context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch file", ALLOCSET_DEFAULT_SIZES);
	walk_folder(&walk, path, "", 0);
	return (Datum) 0;
}
