-- The index as a user sees it.
SET client_min_messages = warning;
SET enable_sort = on;
-- (since 17 an index is built with a search path of pg_catalog alone)
CREATE FUNCTION vec(d integer, seed integer) RETURNS embedding LANGUAGE sql IMMUTABLE SET search_path = public AS
	'SELECT array_agg(round((sin((seed % 20 * 1000 + j) * 12.9898) + 0.4 * sin(seed * 78.233 + j * j * 3.7))::numeric, 4))::embedding
	 FROM generate_series(1, d) j';
CREATE TABLE items (id integer PRIMARY KEY, kind integer, emb embedding(16));
INSERT INTO items SELECT i, i % 3, vec(16, i) FROM generate_series(1, 3000) i;
CREATE INDEX items_cosine ON items USING deepsearch (emb);
CREATE INDEX items_l2 ON items USING deepsearch (emb embedding_l2_ops);
CREATE INDEX items_ip ON items USING deepsearch (emb embedding_ip_ops);
ANALYZE items;

-- The planner takes it for each operator and any kind of query
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY emb <=> '[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY emb <-> vec(16, 5) LIMIT 5;
-- a subquery's value has another name since 17
DO $$
DECLARE
	line text;
BEGIN
	FOR line IN EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY emb <#> (SELECT emb FROM items WHERE id = 3) LIMIT 5
	LOOP
		RAISE INFO '%', regexp_replace(line, ' \(returns \$0\)|<#> .*\)', '');
	END LOOP;
END $$;
PREPARE near(embedding) AS SELECT id FROM items ORDER BY emb <=> $1 LIMIT 5;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE near(vec(16, 5));
EXECUTE near(vec(16, 5));
EXECUTE near(vec(16, 77));
RESET plan_cache_mode;
EXPLAIN (COSTS OFF) SELECT id FROM items WHERE kind = 1 ORDER BY emb <=> vec(16, 5) LIMIT 5;
-- ... but not without an order, in the other direction, for another operator, or where nothing is gained
EXPLAIN (COSTS OFF) SELECT count(*) FROM items;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY emb <=> vec(16, 5) DESC LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY emb <+> vec(16, 5) LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY emb <=> vec(16, 5);
CREATE TABLE tiny AS SELECT * FROM items WHERE id <= 20;
CREATE INDEX ON tiny USING deepsearch (emb);
ANALYZE tiny;
EXPLAIN (COSTS OFF) SELECT id FROM tiny ORDER BY emb <=> vec(16, 5) LIMIT 5;
-- ... nor where another index leaves few rows to sort, for a constant or a parameter
CREATE INDEX items_id ON items (id);
EXPLAIN (COSTS OFF) SELECT id FROM items WHERE id = 7 ORDER BY emb <=> vec(16, 5) LIMIT 5;
PREPARE one(integer, embedding) AS SELECT id FROM items WHERE id = $1 ORDER BY emb <=> $2 LIMIT 5;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE one(7, vec(16, 5));
RESET plan_cache_mode;
DEALLOCATE one;
DROP INDEX items_id;

-- Answers
SELECT id, round((emb <=> vec(16, 5))::numeric, 5) AS cosine FROM items ORDER BY emb <=> vec(16, 5) LIMIT 5;
SELECT id, round((emb <-> vec(16, 5))::numeric, 5) AS l2 FROM items ORDER BY emb <-> vec(16, 5) LIMIT 5;
SELECT id, round((emb <#> vec(16, 5))::numeric, 5) AS ip FROM items ORDER BY emb <#> vec(16, 5) LIMIT 5;
SELECT id FROM items WHERE kind = 1 ORDER BY emb <=> vec(16, 5) LIMIT 5;
SELECT lists > 0 AS lists, returned >= 5 AS returned FROM ds_index_last_scan();
-- a join that asks again for each row
SELECT q.id, array_agg(n.id ORDER BY n.dist) FROM (SELECT * FROM items WHERE id IN (7, 8, 9)) q,
	LATERAL (SELECT id, emb <-> q.emb AS dist FROM items ORDER BY emb <-> q.emb LIMIT 3) n GROUP BY q.id ORDER BY q.id;
-- a cursor
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM items ORDER BY emb <=> vec(16, 5);
SET LOCAL enable_seqscan = off;
DECLARE d NO SCROLL CURSOR FOR SELECT id FROM items ORDER BY emb <=> vec(16, 5);
FETCH 2 FROM d;
INSERT INTO items VALUES (5000, 1, vec(16, 5));
DELETE FROM items WHERE id = 5;
FETCH 2 FROM d;
MOVE FORWARD ALL IN d;
ROLLBACK;

-- NULL, zero, and queries that are
INSERT INTO items VALUES (4001, 1, NULL), (4002, 1, array_fill(0::real, ARRAY[16])::embedding), (4003, 1, NULL);
SET enable_seqscan = off;
SELECT id, dist FROM (SELECT id, emb <=> vec(16, 5) AS dist FROM items ORDER BY emb <=> vec(16, 5)) s WHERE dist IS NULL OR dist = 'NaN';
SELECT id, dist FROM (SELECT id, row_number() OVER () AS n, emb <=> vec(16, 5) AS dist FROM items ORDER BY emb <=> vec(16, 5)) s WHERE n > 3000 ORDER BY n, id;
SELECT count(*), count(dist) FROM (SELECT emb <=> NULL AS dist FROM items ORDER BY emb <=> NULL) s;
SELECT count(*), count(dist) FILTER (WHERE dist = 'NaN') AS nan, count(*) FILTER (WHERE dist IS NULL) AS null
	FROM (SELECT emb <=> array_fill(0::real, ARRAY[16])::embedding AS dist FROM items ORDER BY emb <=> array_fill(0::real, ARRAY[16])::embedding) s;
SELECT id FROM items ORDER BY emb <-> array_fill(0::real, ARRAY[16])::embedding LIMIT 1;
SELECT null_rows, zero_rows, rows FROM ds_index_stats('items_cosine');
SELECT null_rows, zero_rows, rows FROM ds_index_stats('items_l2');
SELECT id FROM items ORDER BY emb <=> '[1,2,3]' LIMIT 1;

-- Update, delete, vacuum, and the place is used again
UPDATE items SET emb = vec(16, id + 1) WHERE id % 10 = 0;
DELETE FROM items WHERE id % 10 = 1;
SELECT count(*) = count(DISTINCT id) AND count(*) = (SELECT count(*) FROM items) AS whole FROM (SELECT id FROM items ORDER BY emb <=> vec(16, 9)) s;
VACUUM items;
SELECT rows, null_rows, zero_rows FROM ds_index_stats('items_cosine');
SELECT count(*) = count(DISTINCT id) AND count(*) = (SELECT count(*) FROM items) AS whole FROM (SELECT id FROM items ORDER BY emb <=> vec(16, 9)) s;
INSERT INTO items SELECT i, i % 3, vec(16, i) FROM generate_series(6001, 6250) i;
SELECT count(*) = count(DISTINCT id) AND count(*) = (SELECT count(*) FROM items) AS whole FROM (SELECT id FROM items ORDER BY emb <=> vec(16, 9)) s;
DELETE FROM items WHERE id % 2 = 0;
VACUUM items;
SELECT rows, null_rows FROM ds_index_stats('items_l2');
SELECT count(*) = count(DISTINCT id) AND count(*) = (SELECT count(*) FROM items) AS whole FROM (SELECT id FROM items ORDER BY emb <-> vec(16, 9)) s;
DELETE FROM items;
VACUUM items;
SELECT id FROM items ORDER BY emb <=> vec(16, 9) LIMIT 3;
INSERT INTO items SELECT i, i % 3, vec(16, i) FROM generate_series(1, 50) i;
SELECT id FROM items ORDER BY emb <=> vec(16, 9) LIMIT 3;
TRUNCATE items;
SELECT id FROM items ORDER BY emb <=> vec(16, 9) LIMIT 3;
INSERT INTO items SELECT i, i % 3, vec(16, i) FROM generate_series(1, 1500) i;
SELECT id FROM items ORDER BY emb <=> vec(16, 9) LIMIT 3;
DROP INDEX items_l2, items_ip;

-- Rolled back
BEGIN;
INSERT INTO items SELECT i, 9, vec(16, i) FROM generate_series(7001, 7300) i;
SELECT count(*) FROM (SELECT id FROM items ORDER BY emb <=> vec(16, 9)) s;
ROLLBACK;
SELECT count(*) FROM (SELECT id FROM items ORDER BY emb <=> vec(16, 9)) s;
VACUUM items;

-- Ways to make one
REINDEX INDEX items_cosine;
REINDEX INDEX CONCURRENTLY items_cosine;
CREATE INDEX CONCURRENTLY items_again ON items USING deepsearch (emb embedding_l2_ops) WITH (lists = 7);
SELECT metric, dimensions, lists, rows FROM ds_index_stats('items_again');
SELECT id FROM items ORDER BY emb <-> vec(16, 9) LIMIT 3;
CREATE INDEX items_some ON items USING deepsearch ((emb * vec(16, 3)) embedding_ip_ops) WHERE kind = 2;
SELECT rows FROM ds_index_stats('items_some');
EXPLAIN (COSTS OFF) SELECT id FROM items WHERE kind = 2 ORDER BY (emb * vec(16, 3)) <#> vec(16, 9) LIMIT 3;
SELECT id FROM items WHERE kind = 2 ORDER BY (emb * vec(16, 3)) <#> vec(16, 9) LIMIT 3;
SELECT count(*) FROM items WHERE kind = 2;
CREATE TABLE parts (id integer, emb embedding(16)) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (1000) TO (2000);
CREATE INDEX ON parts USING deepsearch (emb);
INSERT INTO parts SELECT i, vec(16, i) FROM generate_series(0, 1999) i;
EXPLAIN (COSTS OFF) SELECT id FROM parts ORDER BY emb <=> vec(16, 9) LIMIT 3;
SELECT id FROM parts ORDER BY emb <=> vec(16, 9) LIMIT 3;
CREATE UNLOGGED TABLE quick (emb embedding);
CREATE INDEX quick_idx ON quick USING deepsearch (emb);
INSERT INTO quick SELECT vec(5, i) FROM generate_series(1, 1000) i;
SELECT metric, dimensions, lists > 1 AS split, rows FROM ds_index_stats('quick_idx');
CREATE TEMP TABLE mine AS SELECT vec(5, i) AS emb FROM generate_series(1, 100) i;
CREATE INDEX mine_idx ON mine USING deepsearch (emb);
SELECT emb <=> vec(5, 9) < 1e-6 AS found FROM mine ORDER BY emb <=> vec(5, 9) LIMIT 1;

-- What is refused
INSERT INTO quick VALUES ('[1,2]');
CREATE TABLE mixed (emb embedding);
INSERT INTO mixed VALUES ('[1,2]'), ('[1,2,3]');
CREATE INDEX ON mixed USING deepsearch (emb);
CREATE INDEX ON mixed USING deepsearch (emb) WHERE ds_dims(emb) = 3;
CREATE INDEX ON items USING deepsearch (id);
CREATE INDEX ON items USING deepsearch (emb, id);
CREATE UNIQUE INDEX ON items USING deepsearch (emb);
CREATE INDEX ON items USING deepsearch (emb) WITH (lists = -1);
CREATE INDEX ON items USING deepsearch (emb) WITH (nlists = 5);
SELECT * FROM ds_index_stats('items');
SELECT * FROM ds_index_stats('items_pkey');
SET deepsearch.target_recall = 1.5;
SET deepsearch.probes = -1;
SET deepsearch.probes = 1;
SELECT id FROM items ORDER BY emb <=> vec(16, 9) LIMIT 1;
SELECT lists FROM ds_index_last_scan();
RESET deepsearch.probes;
CREATE ROLE regress_index_user;
GRANT USAGE ON SCHEMA public TO regress_index_user;
SET ROLE regress_index_user;
SELECT rows FROM ds_index_stats('items_cosine');
RESET ROLE;
REVOKE USAGE ON SCHEMA public FROM regress_index_user;
DROP ROLE regress_index_user;

-- The catalogs are in order
SELECT opcname, opcdefault, amvalidate(c.oid) FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod WHERE amname = 'deepsearch' ORDER BY 1;

DROP TABLE items, tiny, parts, quick, mine, mixed;
DROP FUNCTION vec;
