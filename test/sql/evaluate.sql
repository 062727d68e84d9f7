-- Metrics over arrays, and ds_evaluate.
\set VERBOSITY default
SET extra_float_digits = 0;

-- One list of six, relevant at ranks 2, 3 and 6 and one not retrieved, as in the unit test.
CREATE TABLE lists AS SELECT '{10,11,12,13,14,15}'::int[] AS retrieved, '{12,15,99,11}'::int[] AS relevant;
SELECT ds_precision_at(retrieved, relevant, 3) AS p3, ds_precision_at(retrieved, relevant, 10) AS p10,
       ds_recall_at(retrieved, relevant, 3) AS r3, ds_recall_at(retrieved, relevant, 10) AS r10,
       ds_mrr_at(retrieved, relevant, 10) AS rr10, ds_mrr_at(retrieved, relevant, 1) AS rr1,
       ds_hit_at(retrieved, relevant, 1) AS hit1, ds_hit_at(retrieved, relevant, 2) AS hit2
FROM lists;
SELECT ds_average_precision(retrieved, relevant) AS ap, 5 / 12.0::float8 AS ap_by_hand,
       ds_average_precision(retrieved, relevant, 5) AS ap5, 7 / 24.0::float8 AS ap5_by_hand,
       ds_ndcg_at(retrieved, relevant, 3) AS ndcg3,
       (1 / log(2.0, 3) + 1 / log(2.0, 4)) / (1 + 1 / log(2.0, 3) + 1 / log(2.0, 4)) AS ndcg3_by_hand
FROM lists;

-- Grades: both forms of gain.
SELECT ds_ndcg_at(r, '{a,c,d,x}', '{1,3,2,2}', 10) AS linear,
       (1 + 3 / 2.0 + 2 / log(2.0, 5)) / (3 + 2 / log(2.0, 3) + 2 / 2.0 + 1 / log(2.0, 5)) AS by_hand,
       ds_ndcg_at(r, '{a,c,d,x}', '{1,3,2,2}', 10, 'exponential') AS exponential,
       (1 + 7 / 2.0 + 3 / log(2.0, 5)) / (7 + 3 / log(2.0, 3) + 3 / 2.0 + 1 / log(2.0, 5)) AS by_hand
FROM (VALUES ('{a,b,c,d,e}'::text[])) AS v(r);
-- a grade of 0 or below is not relevant
SELECT ds_ndcg_at('{1,2}'::int[], '{1,2}', '{0,1}', 10) AS ndcg, ds_ndcg_at('{1,2}'::int[], '{1,2}', '{-1,1}', 10) AS negative;

-- Null, empty, duplicate.
SELECT ds_precision_at(NULL::int[], '{1}', 10) AS null_list, ds_precision_at('{1}'::int[], '{1}', NULL) AS null_k,
       ds_precision_at('{}'::int[], '{1}', 10) AS empty_list, ds_recall_at('{}'::int[], '{1}', 10) AS empty_list_recall,
       ds_precision_at('{1}'::int[], '{}', 10) AS none_relevant, ds_average_precision('{1}'::int[], '{NULL}') AS null_relevant;
SELECT ds_precision_at('{NULL,1}'::int[], '{1,NULL}', 2) AS null_takes_a_place,
       ds_precision_at('{1,1,2}'::int[], '{1,2}', 3) AS again_earns_nothing,
       ds_recall_at('{1,1,2}'::int[], '{1,2,1}', 3) AS relevant_counts_once;

-- Any type of id: by value, by reference, with a collation, without a hash function.
SELECT ds_precision_at('{b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'::uuid[], '{b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', 1) AS uuid,
       ds_precision_at('{连衣裙,裙子}'::text[], '{裙子}', 2) AS text,
       ds_precision_at('{1.0,2}'::numeric[], '{1}', 1) AS numeric,
       ds_precision_at('{101,11}'::bit varying[], '{11,101}', 2) AS bits;
SELECT ds_precision_at(array_agg(i), array_agg(i) FILTER (WHERE i % 3 = 0), 30000) AS many FROM generate_series(1, 30000) i;

-- Errors
SELECT ds_precision_at('{1}'::int[], '{1}', 0);
SELECT ds_average_precision('{1}'::int[], '{1}', -3);
SELECT ds_precision_at('{{1},{2}}'::int[], '{1}', 1);
SELECT ds_ndcg_at('{1}'::int[], '{1,2}', '{1}', 1);
SELECT ds_ndcg_at('{1}'::int[], '{1}', '{NULL}', 1);
SELECT ds_ndcg_at('{1}'::int[], '{1}', '{NaN}', 1);
SELECT ds_ndcg_at('{1}'::int[], '{1}', '{2000}', 1, 'exponential');
SELECT ds_ndcg_at('{1}'::int[], '{1,1}', '{1,2}', 1);
SELECT ds_ndcg_at('{1}'::int[], '{1}', '{1}', 1, 'cubic');
SELECT ds_precision_at('{"(1,2)"}'::point[], '{"(1,2)"}', 1);

-- ds_evaluate: items on a line, a search returns the nearest ones.
CREATE TABLE items (id int PRIMARY KEY, x float8);
INSERT INTO items SELECT i, i FROM generate_series(1, 100) i;
CREATE TABLE queries (id int PRIMARY KEY, x float8, kind text);
INSERT INTO queries VALUES (1, 10.1, 'low'), (2, 20.1, 'low'), (3, 90.1, 'high'), (4, 50, 'nothing');
CREATE TABLE judgements (query_id bigint, item_id text, grade numeric);
-- query 1 finds 10, 11, 9, 12 (distances .1 .9 1.1 1.9): all four are relevant.
-- query 2 finds 20, 21, 19, 22: 21 is relevant, and 70, which is not found.
-- query 3 finds 90, 91, 89, 92: none of them is relevant, only 1 is.
INSERT INTO judgements VALUES (1, '9', 1), (1, '10', 3), (1, '11', 2), (1, '12', 1), (1, '12', 1),
	(2, '21', 1), (2, '70', 1), (2, '19', 0), (3, '1', 2), (77, '5', 1);
PREPARE evaluate(text, text, text) AS
	SELECT grp, queries, left_out, precision, recall, mrr, ndcg, map, hit_rate,
	       p50_ms >= 0 AND p50_ms <= p95_ms AND p95_ms <= p99_ms AS latency
	FROM ds_evaluate($1, $2, $3, k => 4);
\set queries '''SELECT id, x FROM queries ORDER BY id'''
\set groups '''SELECT id, x, kind FROM queries ORDER BY id'''
\set search '''SELECT id, x FROM items ORDER BY abs(x - $1) LIMIT $2'''
\set relevance '''SELECT query_id, item_id, grade FROM judgements'''
EXECUTE evaluate(:queries, :search, :relevance);
-- by hand, query 2: nDCG = (1 / log2(3)) / (1 + 1 / log2(3)), average precision = (1/2) / 2
SELECT (1 + (1 / log(2.0, 3)) / (1 + 1 / log(2.0, 3)) + 0) / 3 AS ndcg, (1 + 0.25 + 0) / 3 AS map;
EXECUTE evaluate(:groups, :search, :relevance);
-- one row a query
SELECT query_id, grp, retrieved, relevant, precision, recall, reciprocal_rank, ndcg, average_precision, hit, ms >= 0 AS ms
FROM ds_evaluate_queries(:groups, :search, :relevance, 4);
-- grades that differ from the order found, both forms of gain
SELECT l.ndcg AS linear, (2 + 3 / log(2.0, 3) + 1 / log(2.0, 4) + 1 / log(2.0, 5)) / (3 + 2 / log(2.0, 3) + 1 / log(2.0, 4) + 1 / log(2.0, 5)) AS by_hand,
       e.ndcg AS exponential, (3 + 7 / log(2.0, 3) + 1 / log(2.0, 4) + 1 / log(2.0, 5)) / (7 + 3 / log(2.0, 3) + 1 / log(2.0, 4) + 1 / log(2.0, 5)) AS by_hand
FROM ds_evaluate('SELECT 1, 10.6', :search, :relevance, 4) l, ds_evaluate('SELECT 1, 10.6', :search, :relevance, 4, 0, 'exponential') e;
-- a search that returns more than k rows is cut; fewer leave places empty; nulls and repetitions earn nothing
EXECUTE evaluate('SELECT 1, 10.1', 'SELECT id FROM items ORDER BY abs(x - $1)', :relevance);
EXECUTE evaluate('SELECT 1, 10.1', 'SELECT id FROM items WHERE abs(x - $1) < 0.5', :relevance);
EXECUTE evaluate('SELECT 1, 10.1', 'SELECT unnest(ARRAY[NULL, 10, 10, 11]) WHERE $1 > 0', :relevance);
-- warm-up searches count, their time does not
SELECT queries, precision, p50_ms FROM ds_evaluate(:queries, :search, :relevance, 4, warmup => 3);
SELECT count(ms) FROM ds_evaluate_queries(:queries, :search, :relevance, 4, warmup => 2);
-- nothing to measure
EXECUTE evaluate(:queries, :search, 'SELECT 1, 2 WHERE false');
EXECUTE evaluate('SELECT 1, 2.0 WHERE false', :search, :relevance);
-- the query may have any type
EXECUTE evaluate('SELECT ''a''::char(3), ARRAY[10.1, 0]', 'SELECT id FROM items ORDER BY abs(x - $1[1]) LIMIT $2', 'SELECT ''a  '', 10');
-- other statements than they should be
EXECUTE evaluate('SELECT 1', :search, :relevance);
EXECUTE evaluate('SELECT 1, 2, 3, 4', :search, :relevance);
EXECUTE evaluate('DELETE FROM items', :search, :relevance);
EXECUTE evaluate('SELECT 1; SELECT 2', :search, :relevance);
EXECUTE evaluate('', :search, :relevance);
EXECUTE evaluate('SELECT FROM nowhere', :search, :relevance);
EXECUTE evaluate('WITH d AS (DELETE FROM items RETURNING id, x) SELECT * FROM d', :search, :relevance);
EXECUTE evaluate('SELECT id, x FROM items FOR UPDATE', :search, :relevance);
EXECUTE evaluate('SELECT 1, NULL::float8', :search, :relevance);
EXECUTE evaluate('SELECT NULL::int, 1.0', :search, :relevance);
EXECUTE evaluate('SELECT 1, 1.0, NULL::text', :search, :relevance);
EXECUTE evaluate('SELECT 1, 1.0 UNION ALL SELECT 1, 2.0', :search, :relevance);
EXECUTE evaluate(:queries, 'SELECT', :relevance);
EXECUTE evaluate(:queries, 'SELECT id FROM items LIMIT $2', :relevance);
EXECUTE evaluate(:queries, 'SHOW work_mem', :relevance);
EXECUTE evaluate(:queries, :search, 'SELECT 1');
EXECUTE evaluate(:queries, :search, 'SELECT 1, 2, ''many''');
EXECUTE evaluate(:queries, :search, 'SELECT 1, 2, NULL::int');
EXECUTE evaluate(:queries, :search, 'SELECT 1, NULL');
EXECUTE evaluate(:queries, :search, 'SELECT 1, 2, float8 ''Infinity''');
EXECUTE evaluate(:queries, :search, 'SELECT 1, 2, g FROM generate_series(1, 2) g');
EXECUTE evaluate(NULL, :search, :relevance);
SELECT * FROM ds_evaluate(:queries, :search, :relevance, 0);
SELECT * FROM ds_evaluate(:queries, :search, :relevance, NULL);
SELECT * FROM ds_evaluate(:queries, :search, :relevance, 10, -1);
SELECT * FROM ds_evaluate(:queries, :search, :relevance, 10, 0, 'log');
-- a function that writes may not be called, and the transaction can write again afterwards
CREATE FUNCTION remember(x float8) RETURNS float8 LANGUAGE sql AS 'INSERT INTO queries VALUES (1000, $1); SELECT $1';
BEGIN;
SAVEPOINT before;
EXECUTE evaluate(:queries, 'SELECT id FROM items ORDER BY abs(x - remember($1)) LIMIT $2', :relevance);
ROLLBACK TO before;
SELECT count(*) FROM ds_evaluate(:queries, :search, :relevance);
INSERT INTO items VALUES (1000, 1000);
SHOW transaction_read_only;
COMMIT;
-- as the caller: a role without rights on the table is refused
CREATE ROLE regress_eval_nobody;
SET ROLE regress_eval_nobody;
EXECUTE evaluate(:queries, :search, :relevance);
RESET ROLE;
DROP ROLE regress_eval_nobody;
DROP TABLE lists, items, queries, judgements;
DROP FUNCTION remember(float8);

-- memory does not grow with the number of rows that are read
CREATE FUNCTION spi_bytes(document int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE bytes bigint := (SELECT max(total_bytes) FROM pg_backend_memory_contexts WHERE name = 'SPI Proc');
BEGIN
	IF bytes > 2000000 THEN RAISE 'too much memory: % bytes', bytes; END IF;
	RETURN true;
END $$;
SELECT queries, round("precision"::numeric, 3) AS p FROM ds_evaluate('SELECT i, i FROM generate_series(1, 20) i',
	'SELECT id FROM generate_series(1, 5000) id WHERE $1 > 0 AND (id % 5000 > 0 OR spi_bytes(id))',
	'SELECT q, d FROM generate_series(1, 20) q, generate_series(1, 5000) d', 5000);
DROP FUNCTION spi_bytes;
-- a group for each query takes no longer than one for all, and can be cancelled
CREATE TEMP TABLE many_groups AS SELECT i AS id FROM generate_series(1, 60000) i;
SET statement_timeout = '20s';
SELECT count(*), min(queries), max(queries) FROM ds_evaluate('SELECT id, id, ''g'' || id FROM many_groups',
	'SELECT $1', 'SELECT id, id FROM many_groups');
RESET statement_timeout;
DROP TABLE many_groups;

-- Intervals, two searches, and the same over arrays.
CREATE TABLE scores (q int, doc int, a float8, b float8, relevant boolean);
INSERT INTO scores SELECT q, d, (q * 37 + d * 11) % 23, (q * 29 + d * 17) % 31 + CASE WHEN (q + d) % 4 = 0 THEN 9 ELSE 0 END, (q + d) % 4 = 0
FROM generate_series(1, 40) q, generate_series(1, 20) d;
\set queries '''SELECT q, q, CASE WHEN q % 4 = 0 THEN ''''fourth'''' ELSE ''''other'''' END FROM generate_series(1, 40) q'''
\set a '''SELECT doc FROM scores WHERE q = $1 ORDER BY a DESC, doc LIMIT $2'''
\set b '''SELECT doc FROM scores WHERE q = $1 ORDER BY b DESC, doc LIMIT $2'''
\set relevance '''SELECT q, doc FROM scores WHERE relevant'''
SELECT grp, measure, queries, round(mean::numeric, 6) AS mean, low < mean AND mean < high AS inside FROM ds_evaluate_intervals(:queries, :a, :relevance, 5);
SELECT grp, measure, queries, round(a::numeric, 6) AS a, round(b::numeric, 6) AS b, round(difference::numeric, 6) AS difference,
	better, worse, round(t::numeric, 6) AS t, p_t < 0.05 AS sure, p_random < 0.05 AS sure_too, exact
FROM ds_compare(:queries, :a, :b, :relevance, 5);
-- from one row a query come the same numbers
WITH x AS (SELECT array_agg(ea.ndcg ORDER BY ea.query_id) AS a, array_agg(eb.ndcg ORDER BY ea.query_id) AS b
	FROM ds_evaluate_queries(:queries, :a, :relevance, 5) ea JOIN ds_evaluate_queries(:queries, :b, :relevance, 5) eb USING (query_id)),
one AS (SELECT t.* FROM x, ds_paired_test(x.a, x.b) t),
two AS (SELECT * FROM ds_compare(:queries, :a, :b, :relevance, 5) WHERE grp IS NULL AND measure = 'ndcg'),
three AS (SELECT i.* FROM x, ds_bootstrap(x.a) i)
SELECT one.n = two.queries AS n, abs(one.t - two.t) < 1e-9 AS t, abs(one.p_t - two.p_t) < 1e-9 AS p_t, abs(one.mean_a - two.a) < 1e-12 AS a,
	abs(one.mean_b - two.b) < 1e-12 AS b, abs(one.difference - two.difference) < 1e-12 AS difference, abs(three.mean - two.a) < 1e-12 AS mean FROM one, two, three;
-- the same seed, the same bounds; and another
SELECT x = y AS same, x <> z AS other FROM (SELECT array_agg(sqrt(i)) AS v FROM generate_series(1, 50) i) s,
	ds_bootstrap(v) x, ds_bootstrap(v) y, ds_bootstrap(v, seed => 2) z;
SELECT n, mean, low < mean AND high > mean AS inside FROM ds_bootstrap('{1,NULL,3,2}');
SELECT * FROM ds_bootstrap('{NULL}');
SELECT * FROM ds_bootstrap('{0.5}');
-- Student's example: hours of sleep, ten patients, two drugs
SELECT n, mean_a, mean_b, round(difference::numeric, 6) AS difference, better, worse, round(t::numeric, 4) AS t, round(p_t::numeric, 8) AS p_t, p_random, exact
FROM ds_paired_test('{0.7,-1.6,-0.2,-1.2,-0.1,3.4,3.7,0.8,0,2,NULL,1}', '{1.9,0.8,1.1,0.1,-0.1,4.4,5.5,1.6,4.6,3.4,1,NULL}');
SELECT * FROM ds_paired_test('{1,2,3}', '{1,2,3}');
SELECT * FROM ds_paired_test('{}', '{}');
-- a deeper list for the average precision only: 2 of 4 relevant ones at ranks 1 and 4
SELECT "precision", mrr, map FROM ds_evaluate('SELECT 1, 1', 'SELECT unnest(ARRAY[1, 9, 8, 2]) LIMIT $2 + 0 * $1', 'SELECT 1, generate_series(1, 4)', 2);
SELECT "precision", mrr, map FROM ds_evaluate('SELECT 1, 1', 'SELECT unnest(ARRAY[1, 9, 8, 2]) LIMIT $2 + 0 * $1', 'SELECT 1, generate_series(1, 4)', 2, depth => 100);
SELECT "precision", mrr, map FROM ds_evaluate('SELECT 1, 1', 'SELECT unnest(ARRAY[1, 9, 8, 2]) LIMIT $2 + 0 * $1', 'SELECT 1, generate_series(1, 4)', 2, depth => 1);
-- rows with nulls are counted in one notice, and the others are measured
SELECT queries, left_out, "precision" FROM ds_evaluate(
	'VALUES (1, 1), (NULL, 2), (3, NULL), (4, 4)', 'SELECT $1', 'VALUES (1, 1, 1), (NULL, 2, 1), (4, NULL, 1), (4, 4, NULL), (4, 5, 1)', 1);
SELECT count(*) FROM ds_compare('VALUES (1, 1), (NULL, 2)', 'SELECT $1', 'SELECT $1 + 1', 'SELECT 1, 1', 1);
-- errors
SELECT * FROM ds_compare(:queries, :a, 'SELECT 1', :relevance);
SELECT * FROM ds_compare(:queries, 'SELECT 1 / ($1 - 40)', :b, :relevance);
SELECT * FROM ds_compare(:queries, :a, 'SELECT 1 / ($1 - 40)', :relevance);
SELECT * FROM ds_compare(:queries, :a, :b, :relevance, confidence => 1);
SELECT * FROM ds_compare(:queries, :a, :b, :relevance, samples => 0);
SELECT * FROM ds_compare(:queries, :a, :b, :relevance, samples => NULL);
SELECT * FROM ds_evaluate_intervals(:queries, :a, :relevance, confidence => 'NaN');
SELECT * FROM ds_evaluate_intervals(:queries, NULL, :relevance);
SELECT * FROM ds_evaluate(:queries, :a, :relevance, depth => 0);
SELECT * FROM ds_bootstrap('{1,Infinity}');
SELECT * FROM ds_bootstrap('{{1,2},{3,4}}');
SELECT * FROM ds_paired_test('{1,2}', '{1}');
-- millions of draws can be cancelled
SET statement_timeout = '200ms';
SELECT n FROM ds_bootstrap(array_fill(1::float8, ARRAY[100000]), samples => 10000000);
SELECT n FROM ds_paired_test(array_fill(1::float8, ARRAY[100000]), array_fill(2::float8, ARRAY[100000]), samples => 10000000);
RESET statement_timeout;
DROP TABLE scores;
