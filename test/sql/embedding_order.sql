-- ORDER BY, DISTINCT, GROUP BY, joins, btree and hash indexes, statistics
CREATE TABLE embedding_order (id integer PRIMARY KEY, e embedding);
INSERT INTO embedding_order SELECT i, ARRAY[i % 7 - 3, i % 5, CASE i % 3 WHEN 0 THEN 0 WHEN 1 THEN -0.0::real ELSE 1 END]::real[]::embedding
FROM generate_series(1, 420) i;
INSERT INTO embedding_order VALUES (1000, NULL), (1001, '[-3]'), (1002, '[-3,0]'), (1003, '[9,9,9,9]');
ANALYZE embedding_order;
SELECT null_frac > 0 AS has_nulls, avg_width, n_distinct, most_common_vals IS NULL AS no_values, histogram_bounds IS NULL AS no_histogram
FROM pg_stats WHERE tablename = 'embedding_order' AND attname = 'e';

SELECT e, count(*) FROM embedding_order GROUP BY e ORDER BY e LIMIT 8;
SELECT DISTINCT e FROM embedding_order WHERE id > 999 ORDER BY e DESC;

-- 7 * 5 * 2 values where -0 and 0 are one, and the four others
SET enable_hashagg = off;
SELECT count(*) FROM (SELECT DISTINCT e FROM embedding_order) s;
RESET enable_hashagg;
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM (SELECT DISTINCT e FROM embedding_order) s;
SELECT count(*) FROM (SELECT DISTINCT e FROM embedding_order) s;
RESET enable_sort;

SET enable_mergejoin = off;
SET enable_nestloop = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM embedding_order a JOIN embedding_order b USING (e);
SELECT count(*) FROM embedding_order a JOIN embedding_order b USING (e);
RESET enable_mergejoin;
SET enable_hashjoin = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM embedding_order a JOIN embedding_order b USING (e);
SELECT count(*) FROM embedding_order a JOIN embedding_order b USING (e);
RESET enable_hashjoin;
RESET enable_nestloop;

CREATE INDEX embedding_order_btree ON embedding_order (e);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM embedding_order WHERE e = '[-3,0,-0]';
SELECT count(*) FROM embedding_order WHERE e = '[-3,0,-0]';
SELECT count(*) FROM embedding_order WHERE e < '[-3,0,0]';
SELECT count(*) FROM embedding_order WHERE e >= '[3,4,1]';
EXPLAIN (COSTS OFF) SELECT e FROM embedding_order ORDER BY e DESC LIMIT 2;
SELECT bool_and(e >= previous), count(*) FROM (SELECT e, lag(e) OVER (ORDER BY e) AS previous FROM embedding_order WHERE e IS NOT NULL) s;
DROP INDEX embedding_order_btree;
CREATE INDEX embedding_order_hash ON embedding_order USING hash (e);
EXPLAIN (COSTS OFF) SELECT id FROM embedding_order WHERE e = '[-3,0,-0]';
SELECT count(*) FROM embedding_order WHERE e = '[-3,0,-0]';
SELECT count(*) FROM embedding_order WHERE e = '[-3,0]';
DROP INDEX embedding_order_hash;
RESET enable_seqscan;
RESET enable_bitmapscan;

CREATE TABLE embedding_parts (e embedding) PARTITION BY HASH (e);
CREATE TABLE embedding_parts_0 PARTITION OF embedding_parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE embedding_parts_1 PARTITION OF embedding_parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO embedding_parts SELECT e FROM embedding_order WHERE e IS NOT NULL;
SELECT count(*) FROM embedding_parts WHERE e = '[-3,0,-0]';
DROP TABLE embedding_parts;

-- a cheap condition is tested before a distance
CREATE TABLE embedding_cost (a integer, e embedding(1536));
EXPLAIN (COSTS OFF) SELECT * FROM embedding_cost WHERE e <=> e < 0.5 AND a = 1;
DROP TABLE embedding_cost, embedding_order;

-- every object of the extension says what it is: none is without a comment (row and array types aside)
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS without_comment
FROM pg_depend d LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'deepsearch')
	AND d.deptype = 'e' AND coalesce(t.typelem = 0 AND t.typrelid = 0, true)
	AND obj_description(d.objid, d.classid::regclass::name) IS NULL
ORDER BY 1;
