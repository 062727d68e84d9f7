/*
 * upload.c
 *		ds_upload(name, file, offset, data) and ds_drop_upload(name).
 *
 * A client without access to the server's files sends a model's files in
 * pieces, in any order.  A piece that is sent again replaces what it was; one
 * that overlaps another is refused.  Whether the pieces make whole files is
 * seen when they are read (files.c).
 */
#include "model/upload.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "access/xact.h"
#include "model/catalog.h"

#define PIECE_SIZE 1048576
#define UPLOAD_MAX ((int64) 64 << 30) /* bytes of one file */
#define FILES_MAX 1000 /* of one upload */
#define NAME_MAX_BYTES 200
#define PARTS_MAX 4 /* of a file's name */

static void
check_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) > NAME_MAX_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("the name of an upload must have from 1 to %d bytes", NAME_MAX_BYTES)));
}

/* "config.json", "1_Pooling/config.json" */
static void
check_file(const char *file)
{
	char shown[DS_SHOWN_SIZE];
	const char *part = file;
	int parts = 0;

	for (;;)
	{
		size_t length = strcspn(part, "/");

		if (strlen(file) > DS_FOLDER_NAME_MAX || ++parts > PARTS_MAX ||
			!ds_folder_plain_name(part, length))
			ereport(ERROR, (errcode(ERRCODE_INVALID_NAME),
							errmsg("\"%s\" is not the name of a file in a model's folder",
								   ds_shown(shown, file)),
							errhint("Names are relative, as in \"config.json\" or "
									"\"1_Pooling/config.json\".")));
		if (part[length] == '\0')
			break;
		part += length + 1;
	}
}

/* Does it exist, and may the current user have it? */
static bool
find_upload(const char *name, Oid user)
{
	static const Oid types[1] = {TEXTOID};
	Datum values[1] = {CStringGetTextDatum(name)};
	bool null;
	Oid owner;

	if (ds_catalog_run("SELECT owner FROM @.ds_upload WHERE name = $1", 1, types, values, NULL) ==
		0)
		return false;
	owner = get_role_oid(NameStr(*DatumGetName(ds_catalog_value(0, 1, &null))), true);
	if (!superuser_arg(user) && !(OidIsValid(owner) && has_privs_of_role(user, owner)))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("must be owner of upload \"%s\"", name)));
	return true;
}

static void
make_upload(const char *name, Oid user)
{
	static const Oid types[2] = {TEXTOID, NAMEOID};
	Datum values[2];

	values[0] = CStringGetTextDatum(name);
	values[1] = DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(user, false)));
	ds_catalog_run("INSERT INTO @.ds_upload (name, owner) VALUES ($1, $2)"
				   " ON CONFLICT (name) DO NOTHING",
				   2, types, values, NULL);
}

static void
check_limits(const char *name, const char *file)
{
	static const Oid types[2] = {TEXTOID, TEXTOID};
	Datum values[2] = {CStringGetTextDatum(name), CStringGetTextDatum(file)};
	bool null;

	/* the files there are, each found by one descent of the index */
	ds_catalog_run("WITH RECURSIVE f (file) AS ((SELECT min(p.file) FROM @.ds_upload_piece p"
				   " WHERE p.upload = $1) UNION ALL SELECT (SELECT min(p.file)"
				   " FROM @.ds_upload_piece p WHERE p.upload = $1 AND p.file > f.file) FROM f"
				   " WHERE f.file IS NOT NULL)"
				   " SELECT count(*) FROM f WHERE file <> $2",
				   2, types, values, NULL);
	if (DatumGetInt64(ds_catalog_value(0, 1, &null)) >= FILES_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("upload \"%s\" has %d files already", name, FILES_MAX)));
}

static void
store_piece(const char *name, const char *file, int64 offset, const char *data, size_t size)
{
	static const Oid types[5] = {TEXTOID, TEXTOID, INT8OID, BYTEAOID, INT4OID};
	bytea *piece = palloc(VARHDRSZ + size);
	Datum values[5];

	SET_VARSIZE(piece, VARHDRSZ + size);
	memcpy(VARDATA(piece), data, size);
	values[0] = CStringGetTextDatum(name);
	values[1] = CStringGetTextDatum(file);
	values[2] = Int64GetDatum(offset);
	values[3] = PointerGetDatum(piece);
	values[4] = Int32GetDatum((int32) size);
	/* the neighbours: the last that begins before, the first that begins behind */
	if (ds_catalog_run("SELECT FROM (SELECT p.\"offset\", p.data FROM @.ds_upload_piece p"
					   "  WHERE p.upload = $1 AND p.file = $2 AND p.\"offset\" < $3"
					   "  ORDER BY p.\"offset\" DESC LIMIT 1) b"
					   " WHERE b.\"offset\" + octet_length(b.data) > $3"
					   " UNION ALL SELECT FROM @.ds_upload_piece p"
					   "  WHERE p.upload = $1 AND p.file = $2 AND p.\"offset\" > $3"
					   "  AND p.\"offset\" < $3 + $5"
					   " UNION ALL SELECT FROM @.ds_upload_piece p"
					   "  WHERE p.upload = $1 AND p.file = $2 AND p.\"offset\" = $3"
					   "  AND octet_length(p.data) > $5",
					   5, types, values, NULL) > 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("bytes " INT64_FORMAT " to " INT64_FORMAT
							   " of file \"%s\" overlap a piece that begins elsewhere",
							   offset, offset + (int64) size - 1, file),
						errhint("A piece can be sent again as it was; to begin anew, call "
								"ds_drop_upload().")));
	ds_catalog_run("INSERT INTO @.ds_upload_piece (upload, file, \"offset\", data)"
				   " VALUES ($1, $2, $3, $4)"
				   " ON CONFLICT (upload, file, \"offset\") DO UPDATE SET data = excluded.data",
				   4, types, values, NULL);
	pfree(piece);
}

DS_FUNCTION(ds_sql_upload);
Datum
ds_sql_upload(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *file = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int64 offset = PG_GETARG_INT64(2);
	bytea *data = PG_GETARG_BYTEA_PP(3);
	size_t size = VARSIZE_ANY_EXHDR(data);
	size_t begin = 0;
	Oid user = GetUserId();
	DsCatalogScope scope;

	PreventCommandIfReadOnly("ds_upload()");
	check_name(name);
	check_file(file);
	if (offset < 0 || offset > UPLOAD_MAX - (int64) size)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("offset " INT64_FORMAT " is outside of a file", offset),
						errdetail("A file has from 0 to " INT64_FORMAT " bytes.", UPLOAD_MAX)));
	SPI_connect();
	ds_catalog_enter(&scope);
	if (!find_upload(name, user))
	{
		make_upload(name, user);
		/* someone else may have made it in this moment */
		(void) find_upload(name, user);
	}
	check_limits(name, file);
	/* an empty file is a file */
	do
	{
		size_t length = Min(size - begin, (size_t) PIECE_SIZE);

		CHECK_FOR_INTERRUPTS();
		store_piece(name, file, offset + (int64) begin, VARDATA_ANY(data) + begin, length);
		begin += length;
	} while (begin < size);
	ds_catalog_leave(&scope);
	SPI_finish();
	PG_RETURN_VOID();
}

DS_FUNCTION(ds_sql_drop_upload);
Datum
ds_sql_drop_upload(PG_FUNCTION_ARGS)
{
	static const Oid types[1] = {TEXTOID};
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum values[1] = {CStringGetTextDatum(name)};
	Oid user = GetUserId();
	DsCatalogScope scope;

	PreventCommandIfReadOnly("ds_drop_upload()");
	SPI_connect();
	ds_catalog_enter(&scope);
	if (!find_upload(name, user))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("upload \"%s\" does not exist", name)));
	ds_catalog_run("DELETE FROM @.ds_upload WHERE name = $1", 1, types, values, NULL);
	ds_catalog_run("DELETE FROM @.ds_upload_piece WHERE upload = $1", 1, types, values, NULL);
	ds_catalog_leave(&scope);
	SPI_finish();
	PG_RETURN_VOID();
}
