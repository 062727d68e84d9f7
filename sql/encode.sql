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
CREATE FUNCTION ds_encode(features embedding, model text) RETURNS embedding
	LANGUAGE c STABLE STRICT PARALLEL SAFE COST 1000 AS 'MODULE_PATHNAME', 'ds_sql_encode_features';
CREATE FUNCTION ds_encode(features embedding, model text, side text) RETURNS embedding
	LANGUAGE c STABLE STRICT PARALLEL SAFE COST 1000 AS 'MODULE_PATHNAME', 'ds_sql_encode_features_side';
COMMENT ON FUNCTION ds_encode(embedding, text) IS 'embedding of a query that is given as features';
COMMENT ON FUNCTION ds_encode(embedding, text, text) IS
	'embedding of a query or document that is given as features';
COMMENT ON FUNCTION ds_encode(text) IS 'embedding of a query by the default model';
COMMENT ON FUNCTION ds_encode(text, text) IS 'embedding of a query by a model';
COMMENT ON FUNCTION ds_encode(text, text, text) IS 'embedding of a text as query or document';
COMMENT ON FUNCTION ds_encode(text[]) IS 'embeddings of queries by the default model';
COMMENT ON FUNCTION ds_encode(text[], text) IS 'embeddings of queries by a model';
COMMENT ON FUNCTION ds_encode(text[], text, text) IS 'embeddings of texts as queries or documents';

CREATE FUNCTION ds_encode(image bytea, model text DEFAULT NULL, on_error text DEFAULT 'error') RETURNS embedding
	LANGUAGE c STABLE PARALLEL SAFE COST 1000000 AS 'MODULE_PATHNAME', 'ds_sql_encode_image';
CREATE FUNCTION ds_encode(images bytea[], model text DEFAULT NULL, on_error text DEFAULT 'error') RETURNS embedding[]
	LANGUAGE c STABLE PARALLEL SAFE COST 10000000 AS 'MODULE_PATHNAME', 'ds_sql_encode_images';
COMMENT ON FUNCTION ds_encode(bytea, text, text) IS
	'embedding of a picture (JPEG or PNG); on_error: error, or null for no embedding of a bad one';
COMMENT ON FUNCTION ds_encode(bytea[], text, text) IS
	'embeddings of pictures (JPEG or PNG); on_error: error, or null for no embedding of bad ones';

CREATE FUNCTION ds_encode(input text, image bytea, model text DEFAULT NULL, on_error text DEFAULT 'error') RETURNS embedding
	LANGUAGE c STABLE PARALLEL SAFE COST 1000000 AS 'MODULE_PATHNAME', 'ds_sql_encode_both';
COMMENT ON FUNCTION ds_encode(text, bytea, text, text) IS
	'embedding of a document that has a text and a picture (JPEG or PNG), either of which may be NULL; on_error: error, or null for no embedding where the picture is bad';

CREATE FUNCTION ds_encode_count() RETURNS bigint
	LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ds_sql_encode_count';
COMMENT ON FUNCTION ds_encode_count() IS
	'number of texts and pictures that this session has really encoded, not remembered';

CREATE FUNCTION ds_clean(input text, options jsonb DEFAULT '{}') RETURNS text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_sql_clean';
COMMENT ON FUNCTION ds_clean(text, jsonb) IS 'a text cleaned as a tokenizer does it';

CREATE FUNCTION ds_tokenize(input text, model text, side text DEFAULT 'query',
	OUT id integer, OUT token text, OUT learned boolean) RETURNS SETOF record
	LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_sql_tokenize';
COMMENT ON FUNCTION ds_tokenize(text, text, text) IS
	'the features or tokens of a text, as the model''s encoder gets them; learned: with a row of its own in the embedding table';

-- What ds_encode_table has put into which column, and how far a re-encoding
-- has come.  It speaks of this database's tables by number, so it is not
-- dumped.
CREATE TABLE ds_encoded_column (
	relation oid,
	target smallint,
	model integer NOT NULL,
	version integer NOT NULL,
	side text NOT NULL,
	source text NOT NULL,
	mode text NOT NULL CHECK (mode IN ('missing', 'all')),
	last_key text[],
	rows bigint NOT NULL DEFAULT 0,
	finished boolean NOT NULL DEFAULT false,
	changed timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (relation, target)
);
REVOKE ALL ON TABLE ds_encoded_column FROM PUBLIC;
COMMENT ON TABLE ds_encoded_column IS 'what ds_encode_table has put into which column, and how far it has come';
COMMENT ON COLUMN ds_encoded_column.target IS 'number of the column, which a renaming does not change';
COMMENT ON COLUMN ds_encoded_column.mode IS 'missing: rows without an embedding; all: every row, in the order of the primary key';
COMMENT ON COLUMN ds_encoded_column.last_key IS 'primary key of the last row that a re-encoding has committed';

CREATE PROCEDURE ds_encode_table("table" regclass, source text, target name, model text DEFAULT NULL,
	side text DEFAULT 'document', options jsonb DEFAULT '{}')
	LANGUAGE c AS 'MODULE_PATHNAME', 'ds_sql_encode_table';
COMMENT ON PROCEDURE ds_encode_table(regclass, text, name, text, text, jsonb) IS
	'encode a column, an expression over the row, or a text and a picture, into an embedding column: the rows that have no embedding yet, or all';

CREATE FUNCTION ds_encode_trigger() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'ds_sql_encode_trigger';
COMMENT ON FUNCTION ds_encode_trigger() IS
	'trigger before insert or update, for each row: encode a column, an expression, or a text and a picture into an embedding column; arguments: source, target, model, side';

CREATE FUNCTION ds_score(query text, document text, model text DEFAULT NULL) RETURNS real
	LANGUAGE c STABLE PARALLEL SAFE COST 100000 AS 'MODULE_PATHNAME', 'ds_sql_score';
COMMENT ON FUNCTION ds_score(text, text, text) IS
	'how well a document answers a query, by a cross-encoder';

CREATE FUNCTION ds_rerank(query text, documents text[], model text DEFAULT NULL,
	OUT "position" integer, OUT document text, OUT score real) RETURNS SETOF record
	LANGUAGE c STABLE PARALLEL SAFE COST 1000000 ROWS 100 AS 'MODULE_PATHNAME', 'ds_sql_rerank';
COMMENT ON FUNCTION ds_rerank(text, text[], text) IS
	'documents in the order of their scores by a cross-encoder, the best first; position: in the array';

CREATE FUNCTION ds_classify(query text, document text, model text DEFAULT NULL,
	OUT class integer, OUT probability real, OUT probabilities real[])
	LANGUAGE c STABLE PARALLEL SAFE COST 100000 AS 'MODULE_PATHNAME', 'ds_sql_classify';
COMMENT ON FUNCTION ds_classify(text, text, text) IS
	'what a query and a document are to each other, by a cross-encoder of several classes: the likeliest class, from 0 on, and how probable it and each class is';
