-- Trained models from files: uploads from a client, and the import.
--
-- An upload is on its way to become a model: its pieces are not logged, and so
-- are gone after a crash of the server, and neither dumped nor replicated.

CREATE UNLOGGED TABLE ds_upload (
	name text COLLATE "C" PRIMARY KEY,
	owner name NOT NULL,
	created timestamptz NOT NULL DEFAULT now()
);

CREATE UNLOGGED TABLE ds_upload_piece (
	upload text COLLATE "C",
	file text COLLATE "C",
	"offset" bigint CHECK ("offset" >= 0),
	data bytea NOT NULL CHECK (octet_length(data) BETWEEN 0 AND 1048576),
	PRIMARY KEY (upload, file, "offset")
);
ALTER TABLE ds_upload_piece ALTER COLUMN data SET STORAGE EXTERNAL;

REVOKE ALL ON TABLE ds_upload, ds_upload_piece FROM PUBLIC;
COMMENT ON TABLE ds_upload IS 'models whose files clients are uploading';
COMMENT ON TABLE ds_upload_piece IS 'pieces of uploaded files, of at most 1 MB';

CREATE FUNCTION ds_upload(name text, file text, "offset" bigint, data bytea) RETURNS void
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'ds_sql_upload';
COMMENT ON FUNCTION ds_upload(text, text, bigint, bytea) IS
	'store bytes of a model''s file, from an offset on; the first call for a name makes the upload, owned by the caller';

CREATE FUNCTION ds_drop_upload(name text) RETURNS void
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'ds_sql_drop_upload';
COMMENT ON FUNCTION ds_drop_upload(text) IS 'remove an upload and its files';

CREATE VIEW ds_uploads WITH (security_barrier) AS
	SELECT u.name, p.file, pg_catalog.sum(octet_length(p.data))::bigint AS size, u.owner, u.created
	FROM ds_upload u LEFT JOIN ds_upload_piece p ON p.upload = u.name
	WHERE ds_may_use_model(u.owner, NULL)
	GROUP BY u.name, p.file;
GRANT SELECT ON ds_uploads TO PUBLIC;
COMMENT ON VIEW ds_uploads IS 'the files that the current user has uploaded';

CREATE FUNCTION ds_import_model(name text, path text DEFAULT NULL, options jsonb DEFAULT '{}',
	upload text DEFAULT NULL, large_objects jsonb DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ds_sql_import_model';
COMMENT ON FUNCTION ds_import_model(text, text, jsonb, text, jsonb) IS
	'make a model, owned by the caller, of trained weights: a folder of the server, an upload, or large objects by file name';

CREATE FUNCTION ds_import_images(path text, recursive boolean DEFAULT true,
	OUT name text, OUT image bytea, OUT error text) RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT ROWS 1000 COST 1000000 AS 'MODULE_PATHNAME', 'ds_sql_import_images';
COMMENT ON FUNCTION ds_import_images(text, boolean) IS
	'the pictures (JPEG, PNG) of a folder of the server, which only roles with pg_read_server_files may read: name below the folder, the file, or what is wrong with it';
