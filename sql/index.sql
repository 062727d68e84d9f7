-- The access method deepsearch and its operator classes.

CREATE FUNCTION ds_index_handler(internal) RETURNS index_am_handler
	AS 'MODULE_PATHNAME' LANGUAGE C STRICT;
COMMENT ON FUNCTION ds_index_handler(internal) IS
	'deepsearch index access method handler';

CREATE ACCESS METHOD deepsearch TYPE INDEX HANDLER ds_index_handler;
COMMENT ON ACCESS METHOD deepsearch IS
	'index for nearest neighbours of embeddings';

-- The strategy number says which distance it is.
CREATE OPERATOR CLASS embedding_cosine_ops DEFAULT FOR TYPE embedding USING deepsearch AS
	OPERATOR 1 <=> (embedding, embedding) FOR ORDER BY pg_catalog.float_ops;
COMMENT ON OPERATOR CLASS embedding_cosine_ops USING deepsearch IS
	'cosine distance, ORDER BY embedding <=> query';
COMMENT ON OPERATOR FAMILY embedding_cosine_ops USING deepsearch IS
	'cosine distance';

CREATE OPERATOR CLASS embedding_l2_ops FOR TYPE embedding USING deepsearch AS
	OPERATOR 2 <-> (embedding, embedding) FOR ORDER BY pg_catalog.float_ops;
COMMENT ON OPERATOR CLASS embedding_l2_ops USING deepsearch IS
	'Euclidean distance, ORDER BY embedding <-> query';
COMMENT ON OPERATOR FAMILY embedding_l2_ops USING deepsearch IS
	'Euclidean distance';

CREATE OPERATOR CLASS embedding_ip_ops FOR TYPE embedding USING deepsearch AS
	OPERATOR 3 <#> (embedding, embedding) FOR ORDER BY pg_catalog.float_ops;
COMMENT ON OPERATOR CLASS embedding_ip_ops USING deepsearch IS
	'inner product, ORDER BY embedding <#> query';
COMMENT ON OPERATOR FAMILY embedding_ip_ops USING deepsearch IS
	'inner product';

CREATE FUNCTION ds_index_last_scan(OUT lists bigint, OUT filtered bigint, OUT codes bigint,
		OUT refined bigint, OUT returned bigint, OUT fetched bigint)
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION ds_index_last_scan() IS
	'what the last finished index scan of this session did: lists opened, rows that filter columns excluded, codes scanned, rows refined, rows returned to the executor, rows fetched from the table';

CREATE FUNCTION ds_index_stats(index regclass, OUT metric text, OUT dimensions integer,
		OUT rows bigint, OUT dead_rows bigint, OUT null_rows bigint, OUT zero_rows bigint, OUT free_places bigint,
		OUT rows_at_build bigint, OUT lists integer, OUT empty_lists integer, OUT least_rows bigint,
		OUT most_rows bigint, OUT mean_rows double precision, OUT rows_cv double precision,
		OUT rows_elsewhere bigint, OUT drift double precision, OUT lists_measured integer,
		OUT probes integer, OUT expected_recall double precision, OUT bytes bigint,
		OUT pages bigint, OUT vector_pages bigint, OUT directory_pages bigint,
		OUT block_pages bigint, OUT code_pages bigint, OUT row_id_pages bigint,
		OUT stale_pages bigint, OUT free_pages bigint)
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_index_stats(regclass) IS
	'contents of an index: rows, and how many of them are dead in the table; lists and their balance; drift since the build; the lists that a scan opens first and the recall that was measured for that; pages by use';
