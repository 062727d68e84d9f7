-- Looking after the texts that a model learns from.

-- The source is the caller's, so it runs under the caller's search_path: no
-- SET clause here.
CREATE FUNCTION ds_duplicates(source_sql text, threshold double precision DEFAULT 0.8,
	shingles text DEFAULT 'characters', size integer DEFAULT NULL, pairs boolean DEFAULT false,
	cleaning jsonb DEFAULT '{}', recall double precision DEFAULT 0.999, seed bigint DEFAULT 1)
RETURNS TABLE (
	id text,
	duplicate_of text,
	similarity double precision,
	exact boolean)
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE COST 1000000;
COMMENT ON FUNCTION ds_duplicates(text, double precision, text, integer, boolean, jsonb, double precision, bigint) IS
'rows (id, text) of a query that are the same as an earlier one, or nearly: Jaccard similarity of their shingles, found by MinHash and compared exactly';

-- Immutable as to_tsvector(regconfig, text) is: who alters a configuration
-- makes anew what is stored.
CREATE FUNCTION ds_clean(input text, options jsonb, configuration regconfig) RETURNS text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME', 'ds_sql_clean_words';
COMMENT ON FUNCTION ds_clean(text, jsonb, regconfig) IS
'a text cleaned, without the stop words of a text search configuration, the other words as its dictionaries leave them';

CREATE FUNCTION ds_mine_negatives(source_sql text, "table" regclass, source text, target name,
	model text DEFAULT NULL, negatives integer DEFAULT 1, margin double precision DEFAULT 0.05,
	"first" integer DEFAULT 1, "last" integer DEFAULT 100, sample boolean DEFAULT false,
	seed bigint DEFAULT 1, operator text DEFAULT '<=>')
RETURNS TABLE (
	query text,
	positive text,
	negative text,
	positive_similarity double precision,
	negative_similarity double precision,
	rank integer)
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE COST 1000000;
COMMENT ON FUNCTION ds_mine_negatives(text, regclass, text, name, text, integer, double precision, integer, integer, boolean, bigint, text) IS
'pairs (query, positive) of a query, with documents of a table that are near the query and do not answer it: rows for ds_train';
