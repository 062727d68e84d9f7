-- Models as files that other programs read.

CREATE FUNCTION ds_export_model(name text, path text, format text DEFAULT 'huggingface', options jsonb DEFAULT '{}')
	RETURNS TABLE (file text, size bigint)
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'ds_sql_export_model';
COMMENT ON FUNCTION ds_export_model(text, text, text, jsonb) IS
	'write a model, or NAME@VERSION, into a new folder of the server; returns the files';

CREATE FUNCTION ds_export_files(name text, format text DEFAULT 'huggingface', options jsonb DEFAULT '{}')
	RETURNS TABLE (file text, "offset" bigint, data bytea)
	LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'ds_sql_export_files';
COMMENT ON FUNCTION ds_export_files(text, text, jsonb) IS
	'the same files for a client, in pieces of at most 1 MB, each with the place that it begins at';
