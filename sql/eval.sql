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

-- The statements are the caller's, so they run under the caller's
-- search_path: no SET clause here.  Volatile, because they measure time.
CREATE FUNCTION ds_evaluate(query_sql text, search_sql text, relevance_sql text,
	k integer DEFAULT 10, warmup integer DEFAULT 0, gain text DEFAULT 'linear',
	depth integer DEFAULT NULL)
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
COMMENT ON FUNCTION ds_evaluate(text, text, text, integer, integer, text, integer) IS
'run each query of query_sql through search_sql and compare with relevance_sql: mean P@k, R@k, MRR@k, nDCG@k, MAP, hit rate, latency percentiles';

CREATE FUNCTION ds_evaluate_queries(query_sql text, search_sql text, relevance_sql text,
	k integer DEFAULT 10, warmup integer DEFAULT 0, gain text DEFAULT 'linear',
	depth integer DEFAULT NULL)
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
COMMENT ON FUNCTION ds_evaluate_queries(text, text, text, integer, integer, text, integer) IS
'like ds_evaluate, one row a query';

CREATE FUNCTION ds_evaluate_intervals(query_sql text, search_sql text, relevance_sql text,
	k integer DEFAULT 10, gain text DEFAULT 'linear', depth integer DEFAULT NULL,
	confidence double precision DEFAULT 0.95, samples integer DEFAULT 10000,
	seed bigint DEFAULT 1)
RETURNS TABLE (
	grp text,
	measure text,
	queries bigint,
	mean double precision,
	low double precision,
	high double precision)
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION ds_evaluate_intervals(text, text, text, integer, text, integer, double precision, integer, bigint) IS
'like ds_evaluate, one row a measure, with a bootstrap confidence interval of its mean';

CREATE FUNCTION ds_compare(query_sql text, search_a text, search_b text, relevance_sql text,
	k integer DEFAULT 10, gain text DEFAULT 'linear', depth integer DEFAULT NULL,
	confidence double precision DEFAULT 0.95, samples integer DEFAULT 10000,
	seed bigint DEFAULT 1)
RETURNS TABLE (
	grp text,
	measure text,
	queries bigint,
	a double precision,
	b double precision,
	difference double precision,
	low double precision,
	high double precision,
	better bigint,
	worse bigint,
	t double precision,
	p_t double precision,
	p_random double precision,
	exact boolean)
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION ds_compare(text, text, text, text, integer, text, integer, double precision, integer, bigint) IS
'two searches over the same queries: the means of each measure, b minus a with a bootstrap confidence interval, paired t test and randomisation test';

CREATE FUNCTION ds_bootstrap("values" double precision[],
	confidence double precision DEFAULT 0.95, samples integer DEFAULT 10000,
	seed bigint DEFAULT 1,
	OUT n bigint, OUT mean double precision, OUT low double precision,
	OUT high double precision)
AS 'MODULE_PATHNAME', 'ds_sql_bootstrap' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10000;
COMMENT ON FUNCTION ds_bootstrap(double precision[], double precision, integer, bigint) IS
'mean of values, without the nulls, and its bootstrap confidence interval';

CREATE FUNCTION ds_paired_test(a double precision[], b double precision[],
	confidence double precision DEFAULT 0.95, samples integer DEFAULT 10000,
	seed bigint DEFAULT 1,
	OUT n bigint, OUT mean_a double precision, OUT mean_b double precision,
	OUT difference double precision, OUT low double precision, OUT high double precision,
	OUT better bigint, OUT worse bigint, OUT t double precision, OUT p_t double precision,
	OUT p_random double precision, OUT exact boolean)
AS 'MODULE_PATHNAME', 'ds_sql_paired_test' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10000;
COMMENT ON FUNCTION ds_paired_test(double precision[], double precision[], double precision, integer, bigint) IS
'values a and b of the same queries, in the same order: b minus a with a bootstrap confidence interval, paired t test and randomisation test';
