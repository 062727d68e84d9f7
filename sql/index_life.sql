-- Looking after an index.

CREATE FUNCTION ds_index_check(index regclass, OUT kind text, OUT block bigint, OUT row_id tid,
		OUT problem text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION ds_index_check(regclass) IS
	'compare an index with its table and with itself: a row for each problem, none when it is sound';

CREATE FUNCTION ds_index_recall(index regclass, k integer DEFAULT 10, samples integer DEFAULT 100,
		seed bigint DEFAULT 0, OUT queries integer, OUT recall double precision,
		OUT p50_ms double precision, OUT p95_ms double precision, OUT lists double precision,
		OUT fetched double precision)
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION ds_index_recall(regclass, integer, integer, bigint) IS
	'recall of index scans against an exact scan, with rows of the table as queries, at the present settings';

CREATE FUNCTION ds_index_calibrate(index regclass, query_sql text) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION ds_index_calibrate(regclass, text) IS
	'measure on your own queries (embeddings in the first column of a SELECT) how many lists a recall needs; deepsearch.target_recall goes by it from then on';

CREATE FUNCTION ds_index_maintain(index regclass, OUT lists_split integer,
		OUT lists_merged integer, OUT lists_encoded integer, OUT rows_encoded bigint, OUT queries integer)
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION ds_index_maintain(regclass) IS
	'split large lists, merge small ones, encode rows that were moved again, and measure the recall curve on the rows of today';
