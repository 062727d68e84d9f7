-- Evaluation: the metrics over arrays, and ds_evaluate over statements.

CREATE FUNCTION ds_precision_at(retrieved anyarray, relevant anyarray, k integer)
RETURNS double precision
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_precision_at(anyarray, anyarray, integer) IS
'share of the first k places that hold a relevant id (P@k); null when no id is relevant';

CREATE FUNCTION ds_recall_at(retrieved anyarray, relevant anyarray, k integer)
RETURNS double precision
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_recall_at(anyarray, anyarray, integer) IS
'share of the relevant ids that are among the first k (R@k); null when no id is relevant';

CREATE FUNCTION ds_mrr_at(retrieved anyarray, relevant anyarray, k integer)
RETURNS double precision
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_mrr_at(anyarray, anyarray, integer) IS
'1 / rank of the first relevant id among the first k, or 0; its mean over queries is MRR@k';

CREATE FUNCTION ds_hit_at(retrieved anyarray, relevant anyarray, k integer)
RETURNS double precision
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_hit_at(anyarray, anyarray, integer) IS
'1 when a relevant id is among the first k, else 0; its mean over queries is the hit rate';

CREATE FUNCTION ds_ndcg_at(retrieved anyarray, relevant anyarray, k integer)
RETURNS double precision
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_ndcg_at(anyarray, anyarray, integer) IS
'normalised discounted cumulative gain of the first k (nDCG@k), every relevant id of grade 1';

CREATE FUNCTION ds_ndcg_at(retrieved anyarray, relevant anyarray, grades double precision[],
	k integer, gain text DEFAULT 'linear')
RETURNS double precision
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_ndcg_at(anyarray, anyarray, double precision[], integer, text) IS
'nDCG@k with one grade a relevant id; gain is linear (the grade) or exponential (2^grade - 1)';

CREATE FUNCTION ds_average_precision(retrieved anyarray, relevant anyarray)
RETURNS double precision
AS 'MODULE_PATHNAME', 'ds_average_precision_of' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_average_precision(anyarray, anyarray) IS
'mean over the relevant ids of the precision at their ranks; its mean over queries is MAP';

CREATE FUNCTION ds_average_precision(retrieved anyarray, relevant anyarray, k integer)
RETURNS double precision
AS 'MODULE_PATHNAME', 'ds_average_precision_of' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ds_average_precision(anyarray, anyarray, integer) IS
'average precision of the first k; its mean over queries is MAP@k';

-- The three statements are the caller's, so they run under the caller's
-- search_path: no SET clause here.  Volatile, because they measure time.
CREATE FUNCTION ds_evaluate(query_sql text, search_sql text, relevance_sql text,
	k integer DEFAULT 10, warmup integer DEFAULT 0, gain text DEFAULT 'linear')
RETURNS TABLE (
	grp text,
	queries bigint,
	left_out bigint,
	"precision" double precision,
	recall double precision,
	mrr double precision,
	ndcg double precision,
	map double precision,
	hit_rate double precision,
	p50_ms double precision,
	p95_ms double precision,
	p99_ms double precision)
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION ds_evaluate(text, text, text, integer, integer, text) IS
'run each query of query_sql through search_sql and compare with relevance_sql: mean P@k, R@k, MRR@k, nDCG@k, MAP@k, hit rate, latency percentiles';

CREATE FUNCTION ds_evaluate_queries(query_sql text, search_sql text, relevance_sql text,
	k integer DEFAULT 10, warmup integer DEFAULT 0, gain text DEFAULT 'linear')
RETURNS TABLE (
	query_id text,
	grp text,
	retrieved integer,
	relevant integer,
	"precision" double precision,
	recall double precision,
	reciprocal_rank double precision,
	ndcg double precision,
	average_precision double precision,
	hit double precision,
	ms double precision)
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION ds_evaluate_queries(text, text, text, integer, integer, text) IS
'like ds_evaluate, one row a query';
