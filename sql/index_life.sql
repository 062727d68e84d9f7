-- Looking after an index.

CREATE FUNCTION ds_index_check(index regclass, OUT kind text, OUT block bigint, OUT row_id tid,
		OUT problem text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION ds_index_check(regclass) IS
	'compare an index with its table and with itself: a row for each problem, none when it is sound';
