-- Encoding: from texts to embeddings.

CREATE FUNCTION ds_encode(input text) RETURNS embedding
	LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10000 AS 'MODULE_PATHNAME', 'ds_sql_encode';
CREATE FUNCTION ds_encode(input text, model text) RETURNS embedding
	LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10000 AS 'MODULE_PATHNAME', 'ds_sql_encode_model';
CREATE FUNCTION ds_encode(input text, model text, side text) RETURNS embedding
	LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10000 AS 'MODULE_PATHNAME', 'ds_sql_encode_side';
CREATE FUNCTION ds_encode(input text[]) RETURNS embedding[]
	LANGUAGE c STABLE STRICT PARALLEL SAFE COST 100000 AS 'MODULE_PATHNAME', 'ds_sql_encode_array';
CREATE FUNCTION ds_encode(input text[], model text) RETURNS embedding[]
	LANGUAGE c STABLE STRICT PARALLEL SAFE COST 100000 AS 'MODULE_PATHNAME', 'ds_sql_encode_array_model';
CREATE FUNCTION ds_encode(input text[], model text, side text) RETURNS embedding[]
	LANGUAGE c STABLE STRICT PARALLEL SAFE COST 100000 AS 'MODULE_PATHNAME', 'ds_sql_encode_array_side';
COMMENT ON FUNCTION ds_encode(text) IS 'embedding of a query by the default model';
COMMENT ON FUNCTION ds_encode(text, text) IS 'embedding of a query by a model';
COMMENT ON FUNCTION ds_encode(text, text, text) IS 'embedding of a text as query or document';
COMMENT ON FUNCTION ds_encode(text[]) IS 'embeddings of queries by the default model';
COMMENT ON FUNCTION ds_encode(text[], text) IS 'embeddings of queries by a model';
COMMENT ON FUNCTION ds_encode(text[], text, text) IS 'embeddings of texts as queries or documents';

CREATE FUNCTION ds_encode_count() RETURNS bigint
	LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ds_sql_encode_count';
COMMENT ON FUNCTION ds_encode_count() IS
	'number of texts that this session has really encoded, not remembered';

CREATE FUNCTION ds_clean(input text, options jsonb DEFAULT '{}') RETURNS text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_sql_clean';
COMMENT ON FUNCTION ds_clean(text, jsonb) IS 'a text cleaned as a tokenizer does it';

CREATE FUNCTION ds_tokenize(input text, model text, side text DEFAULT 'query',
	OUT id integer, OUT token text, OUT learned boolean) RETURNS SETOF record
	LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_sql_tokenize';
COMMENT ON FUNCTION ds_tokenize(text, text, text) IS
	'the features of a text, as the model''s encoder gets them; learned: with a row of its own in the embedding table';
