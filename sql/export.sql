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

CREATE FUNCTION ds_quantize_model(name text, new_name text, "precision" text, options jsonb DEFAULT '{}',
	OUT stored_as text, OUT size_before bigint, OUT size_after bigint, OUT texts integer,
	OUT microseconds_before double precision, OUT microseconds_after double precision,
	OUT cosine_mean double precision, OUT cosine_min double precision, OUT same_nearest double precision)
	RETURNS record
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'ds_sql_quantize_model';
COMMENT ON FUNCTION ds_quantize_model(text, text, text, jsonb) IS
	'make a model of another one with its numbers in fp16, bf16 or int8; with a calibration query, what that gains and costs';
