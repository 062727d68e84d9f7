-- Filter columns: the index columns behind the embedding.
SET client_min_messages = warning;
CREATE FUNCTION fvec(d integer, seed integer) RETURNS embedding LANGUAGE sql IMMUTABLE SET search_path = public AS
	'SELECT array_agg(round((sin((seed % 50 * 1000 + j) * 12.9898) + 0.4 * sin(seed * 78.233 + j * j * 3.7))::numeric, 4))::embedding
	 FROM generate_series(1, d) j';
CREATE TYPE colour AS ENUM ('red', 'green', 'blue');
CREATE TABLE goods (
	id integer PRIMARY KEY, emb embedding(16),
	i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision, num numeric(10,2),
	b boolean, d date, ts timestamp, tz timestamptz, t time, tt timetz, iv interval,
	txt text COLLATE "C", vc varchar(20), bp character(8) COLLATE "C", u uuid, e colour);
INSERT INTO goods SELECT i, fvec(16, i),
	i % 7, i % 100, i * 10000000000, (i % 13) / 4.0 - 1, (i % 31) / 8.0, (i % 500) / 4.0,
	i % 3 = 0, date '2024-01-01' + i % 200, timestamp '2024-01-01' + i % 300 * interval '5 hours',
	timestamptz '2024-01-01 00:00+00' + i % 300 * interval '5 hours', time '00:00' + i % 1000 * interval '1 minute',
	timetz '00:00+00' + i % 1000 * interval '1 minute', i % 50 * interval '1 day',
	'kind' || i % 40, 'sort-' || i % 20, 'g' || i % 9, md5((i % 60)::text)::uuid,
	(ARRAY['red', 'green', 'blue'])[1 + i % 3]::colour
FROM generate_series(1, 4000) i;
-- a few of each that are NULL, vectors too
UPDATE goods SET i2 = NULL, i4 = NULL, i8 = NULL, f4 = NULL, f8 = NULL, num = NULL, b = NULL, d = NULL, ts = NULL,
	tz = NULL, t = NULL, tt = NULL, iv = NULL, txt = NULL, vc = NULL, bp = NULL, u = NULL, e = NULL WHERE id % 97 = 0;
UPDATE goods SET emb = NULL WHERE id % 501 = 0;
UPDATE goods SET emb = '[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]' WHERE id % 777 = 0;
UPDATE goods SET f4 = 'NaN', f8 = '-Infinity', num = 'NaN', d = 'infinity', ts = '-infinity', tz = 'infinity' WHERE id % 331 = 0;
CREATE INDEX goods_a ON goods USING deepsearch (emb, i4, b, txt, num);
ANALYZE goods;
SET enable_seqscan = off;
SET enable_sort = off;

-- Conditions of the index
CREATE FUNCTION plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ 'Index Scan|Index Cond|Filter|Sort|Seq' THEN
			RETURN NEXT regexp_replace(ltrim(line), ' on goods| goods$', '');
		END IF;
	END LOOP;
END $$;
SELECT plan_of('SELECT id FROM goods WHERE i4 = 7 ORDER BY emb <=> fvec(16, 5) LIMIT 5');
SELECT plan_of('SELECT id FROM goods WHERE i4 BETWEEN 7 AND 12 AND num < 20 ORDER BY emb <=> fvec(16, 5) LIMIT 5');
SELECT plan_of('SELECT id FROM goods WHERE i4 = 7::bigint AND txt >= ''kind2'' ORDER BY emb <=> fvec(16, 5) LIMIT 5');
SELECT plan_of('SELECT id FROM goods WHERE i4 IS NULL AND b IS NOT NULL ORDER BY emb <=> fvec(16, 5) LIMIT 5');
SELECT plan_of('SELECT id FROM goods WHERE i4 = ANY (''{1,2,3}'') ORDER BY emb <=> fvec(16, 5) LIMIT 5');
SELECT plan_of('SELECT id FROM goods WHERE i4 IN (1, 2, 3) AND num IS NOT NULL ORDER BY emb <=> fvec(16, 5) LIMIT 5');
SELECT plan_of('SELECT id FROM goods WHERE b ORDER BY emb <=> fvec(16, 5) LIMIT 5');
SELECT plan_of('SELECT id FROM goods WHERE NOT b AND i4 = 3 ORDER BY emb <=> fvec(16, 5) LIMIT 5');
SELECT plan_of('SELECT id FROM goods WHERE b IS TRUE ORDER BY emb <=> fvec(16, 5) LIMIT 5');
SELECT plan_of('SELECT id FROM goods WHERE i4 = 7 AND i8 > 0 ORDER BY emb <=> fvec(16, 5) LIMIT 5');
PREPARE near(integer, integer[]) AS SELECT id FROM goods WHERE i4 > $1 AND i4 = ANY ($2) ORDER BY emb <=> fvec(16, 5) LIMIT 5;
SET plan_cache_mode = force_generic_plan;
SELECT plan_of('EXECUTE near(3, ''{1,4,7}'')');
EXECUTE near(3, '{1,4,7}');
EXECUTE near(3, '{1,4,7}');
EXECUTE near(3, '{1,NULL,9}');
EXECUTE near(NULL, '{1,4,7}');
EXECUTE near(3, NULL);
EXECUTE near(3, '{}');
RESET plan_cache_mode;

-- The same rows as a sequential scan, in the same order, whatever the condition.  The scan is exact here.
SET deepsearch.target_recall = 1;
CREATE FUNCTION differ(condition text, OUT rows bigint, OUT differ bigint, OUT used boolean) LANGUAGE plpgsql AS $$
DECLARE
	query text := format('SELECT row_number() OVER () AS n, id, dist FROM (SELECT id, emb <=> fvec(16, 17) AS dist FROM goods
		WHERE %s ORDER BY emb <=> fvec(16, 17)) x', condition);
	line text;
BEGIN
	EXECUTE 'CREATE TEMP TABLE by_index AS ' || query;
	used := false;
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		used := used OR line ~ 'Index Cond';
	END LOOP;
	SET LOCAL enable_indexscan = off;
	SET LOCAL enable_seqscan = on;
	SET LOCAL enable_sort = on;
	EXECUTE 'CREATE TEMP TABLE by_scan AS ' || query;
	SELECT count(*), count(*) FILTER (WHERE i.dist IS DISTINCT FROM s.dist) INTO rows, differ
		FROM by_index i FULL JOIN by_scan s USING (n);
	differ := differ + (SELECT count(*) FROM (SELECT id FROM by_index EXCEPT ALL SELECT id FROM by_scan) x)
		+ (SELECT count(*) FROM (SELECT id FROM by_scan EXCEPT ALL SELECT id FROM by_index) x);
	DROP TABLE by_index, by_scan;
	SET LOCAL enable_indexscan = on;
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
END $$;
SELECT condition, (differ(condition)).* FROM unnest(ARRAY[
	'i4 = 7', 'i4 < 5', 'i4 <= 5', 'i4 > 95', 'i4 >= 95', 'i4 = 7::smallint', 'i4 < 5::bigint', 'i4 IN (3, 50, 99, 1000)',
	'i4 IS NULL', 'i4 IS NOT NULL AND b IS NULL', 'i4 > 10 AND i4 < 5', 'i4 = ANY (NULL::integer[])', 'i4 < ANY (''{3,8}'')',
	'b', 'NOT b', 'b IS TRUE', 'b IS FALSE', 'b IS NOT TRUE AND i4 = 6', 'b = false AND i4 < 10',
	'txt = ''kind7''', 'txt < ''kind2''', 'txt >= ''kind38''', 'txt = ANY (''{kind1,kind2,other}'')', 'txt = ''kind7'' COLLATE "C"',
	'num = 12.25', 'num < 10', 'num > 120.5', 'num = ''NaN''', 'num <= 0.25 AND i4 IS NOT NULL',
	'emb IS NULL', 'emb IS NOT NULL AND i4 = 4', 'i4 = 4 AND emb IS NULL']) condition;
DROP INDEX goods_a;
CREATE INDEX goods_b ON goods USING deepsearch (emb, i2, i8, f4, f8, d, ts, tz, u, e);
SELECT condition, (differ(condition)).* FROM unnest(ARRAY[
	'i2 = 3', 'i2 > 5::bigint', 'i8 = 50000000000', 'i8 < 300000000000', 'i8 = 5 AND i2 = 5',
	'f4 = 0.25', 'f4 < 0', 'f4 > 1.5::double precision', 'f4 = ''NaN''', 'f8 >= 3.5', 'f8 = ''-Infinity''', 'f8 = 0',
	'd = ''2024-02-03''', 'd < ''2024-01-05''', 'd = ''infinity''', 'd > timestamp ''2024-07-10 12:00''',
	'ts < ''2024-01-02''', 'ts = ''-infinity''', 'ts >= date ''2024-03-01''', 'tz = ''infinity''', 'tz < ''2024-01-02 00:00+00''',
	'tz >= date ''2024-03-01''', 'tz < timestamp ''2024-01-03 05:00''',
	'u = md5(''7'')::uuid', 'u < ''10000000-0000-0000-0000-000000000000''', 'e = ''green''', 'e IN (''red'', ''blue'') AND i2 = 1']) condition;
-- an enum's order may change, and local times depend on the day: such clauses are the executor's
SELECT plan_of('SELECT id FROM goods WHERE e < ''blue'' AND i2 = 1 ORDER BY emb <=> fvec(16, 5) LIMIT 5');
SELECT plan_of('SELECT id FROM goods WHERE d < now() AND i2 = 1 ORDER BY emb <=> fvec(16, 5) LIMIT 5');
DROP INDEX goods_b;
CREATE INDEX goods_c ON goods USING deepsearch (emb, t, tt, iv, vc, bp);
SELECT condition, (differ(condition)).* FROM unnest(ARRAY[
	't = ''00:17''', 't > ''16:00''', 'tt < ''00:09+00''', 'tt = ''00:17+00''', 'tt <= ''02:17+02''', 'iv = ''24 hours''', 'iv >= ''47 days''',
	'vc = ''sort-7''', 'vc IN (''sort-3'', ''none'')', 'bp = ''g3''', 'bp < ''g2''']) condition;
DROP INDEX goods_c;
CREATE INDEX goods_a ON goods USING deepsearch (emb, i4, b, txt, num);

-- Fewer lists, and no order
RESET deepsearch.target_recall;
SELECT count(*) = 10 AS full FROM (SELECT id FROM goods WHERE i4 = 7 AND b ORDER BY emb <=> fvec(16, 5) LIMIT 10) x;
SELECT filtered > 0 AS filtered, codes < 4000 AS codes, returned FROM ds_index_last_scan();
SELECT count(*), bool_and(i4 = 7) FROM (SELECT id, i4 FROM goods WHERE i4 = 7 ORDER BY emb <=> fvec(16, 5)) x;
SELECT count(*) FROM (SELECT id FROM goods WHERE i4 = 7 ORDER BY emb <=> NULL::embedding) x;
SELECT q, (SELECT count(*) FROM (SELECT 1 FROM goods WHERE i4 = q AND emb IS NOT NULL ORDER BY emb <=> fvec(16, 5) LIMIT 50) x) FROM generate_series(1, 3) q;

-- Rows that come, go, change, and move to other lists
CREATE TABLE growing (id serial, emb embedding(8), kind integer, name text);
CREATE INDEX growing_emb ON growing USING deepsearch (emb embedding_l2_ops, kind, name) WITH (lists = 40);
INSERT INTO growing (emb, kind, name) SELECT fvec(8, i), i % 10, 'n' || i % 4 FROM generate_series(1, 6000) i;
UPDATE growing SET kind = 100 WHERE id % 50 = 0;
DELETE FROM growing WHERE id % 3 = 0;
VACUUM growing;
INSERT INTO growing (emb, kind, name) SELECT fvec(8, i), 200, NULL FROM generate_series(1, 500) i;
SELECT lists > 1 AS split FROM ds_index_stats('growing_emb');
SELECT count(*) FROM ds_index_check('growing_emb');
SELECT condition, (SELECT count(*) FROM growing WHERE CASE condition WHEN 1 THEN kind = 100 WHEN 2 THEN kind = 4 AND name = 'n2' ELSE name IS NULL END)
	AS rows FROM generate_series(1, 3) condition;
SELECT (SELECT count(*) FROM (SELECT 1 FROM growing WHERE kind = 100 ORDER BY emb <-> fvec(8, 1)) x) AS a,
	(SELECT count(*) FROM (SELECT 1 FROM growing WHERE kind = 4 AND name = 'n2' ORDER BY emb <-> fvec(8, 1)) x) AS b,
	(SELECT count(*) FROM (SELECT 1 FROM growing WHERE name IS NULL ORDER BY emb <-> fvec(8, 1)) x) AS c;
SELECT lists_split >= 0 AS maintained FROM ds_index_maintain('growing_emb');
SELECT count(*) FROM ds_index_check('growing_emb');
REINDEX INDEX growing_emb;
SELECT count(*) FROM ds_index_check('growing_emb');
SELECT (SELECT count(*) FROM (SELECT 1 FROM growing WHERE kind = 4 AND name = 'n2' ORDER BY emb <-> fvec(8, 1)) x) AS b;

-- Expressions, and columns in an index of many dimensions
CREATE TABLE wide AS SELECT i AS id, fvec(2000, i)::embedding(2000) AS emb, i % 5 AS kind, 'name ' || i % 7 AS name FROM generate_series(1, 200) i;
CREATE INDEX wide_emb ON wide USING deepsearch (emb, (kind + 1), upper(name), name);
ANALYZE wide;
SELECT plan_of('SELECT id FROM wide WHERE kind + 1 = 3 AND upper(name) = ''NAME 4'' ORDER BY emb <=> fvec(2000, 5) LIMIT 5');
SELECT count(*) FROM (SELECT id FROM wide WHERE kind + 1 = 3 AND upper(name) = 'NAME 4' ORDER BY emb <=> fvec(2000, 5)) x;
SELECT count(*) FROM wide WHERE kind + 1 = 3 AND upper(name) = 'NAME 4';
SELECT count(*) FROM ds_index_check('wide_emb');

-- Two indexes on one embedding: that with the column is taken, whichever is older
CREATE TABLE twice AS SELECT i AS id, fvec(16, i)::embedding(16) AS emb, i % 20 AS kind, i % 10 = 0 AS rare FROM generate_series(1, 3000) i;
CREATE INDEX twice_plain ON twice USING deepsearch (emb);
CREATE INDEX twice_both ON twice USING deepsearch (emb, kind, rare);
ANALYZE twice;
SELECT plan_of('SELECT id FROM twice WHERE kind = ANY (''{3,4}'') ORDER BY emb <=> fvec(16, 5) LIMIT 5');
SELECT plan_of('SELECT id FROM twice WHERE rare ORDER BY emb <=> fvec(16, 5) LIMIT 5');
DROP INDEX twice_plain;
CREATE INDEX twice_plain ON twice USING deepsearch (emb);
SELECT plan_of('SELECT id FROM twice WHERE kind = ANY (''{3,4}'') ORDER BY emb <=> fvec(16, 5) LIMIT 5');
SELECT plan_of('SELECT id FROM twice WHERE rare ORDER BY emb <=> fvec(16, 5) LIMIT 5');
DROP INDEX twice_both;
CREATE INDEX twice_kind ON twice USING deepsearch (emb, kind);
CREATE INDEX twice_rare ON twice USING deepsearch (emb, rare);
SELECT plan_of('SELECT id FROM twice WHERE kind = ANY (''{3,4}'') ORDER BY emb <=> fvec(16, 5) LIMIT 5');
SELECT plan_of('SELECT id FROM twice WHERE NOT rare AND kind < 3 ORDER BY emb <=> fvec(16, 5) LIMIT 5');
SELECT plan_of('SELECT id FROM twice WHERE rare AND kind < 15 ORDER BY emb <=> fvec(16, 5) LIMIT 5');
DROP TABLE twice;

-- What cannot be
CREATE INDEX ON goods USING deepsearch (i4, emb);
CREATE INDEX ON goods USING deepsearch (emb, emb);
CREATE INDEX ON goods USING deepsearch (emb, point(i4, i4));
CREATE INDEX ON goods USING deepsearch (emb, txt, txt, txt, txt, txt, txt, txt, txt, txt, txt, txt, txt, txt);
CREATE INDEX ON goods USING deepsearch (emb, i4 DESC);
CREATE INDEX ON goods USING deepsearch (emb) INCLUDE (i4);
-- every operator class keeps the access method's rules
SELECT opcname FROM pg_opclass WHERE opcmethod = (SELECT oid FROM pg_am WHERE amname = 'deepsearch') AND NOT amvalidate(oid);
DROP TABLE goods, growing, wide;
DROP FUNCTION differ, plan_of, fvec;
DROP TYPE colour;
