-- Rows whose distance the scan computes from the table's row: order, versions of
-- rows, vectors out of line, and where the executor has to do it.
SELECT plan(26);
CREATE FUNCTION vec(i integer, d integer DEFAULT 24) RETURNS embedding LANGUAGE sql IMMUTABLE AS
	'SELECT array_agg(hashint4(i * 1000 + j) / 2147483648.0)::real[]::embedding FROM generate_series(1, d) j';
-- rows in the order of a query and what the operator says of them, by the index and without it
CREATE FUNCTION rows_of(query text, by_index boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	found text;
	plan text;
BEGIN
	PERFORM set_config('enable_seqscan', (NOT by_index)::text, true), set_config('enable_indexscan', by_index::text, true),
		set_config('enable_sort', 'on', true);
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	IF (plan LIKE '%"Index Scan"%') <> by_index THEN RAISE 'another plan: %', plan; END IF;
	EXECUTE 'SELECT string_agg(s::text, '' '') FROM (' || query || ') s' INTO found;
	RETURN found;
END $$;
CREATE FUNCTION same(query text) RETURNS boolean LANGUAGE sql AS 'SELECT rows_of(query, true) IS NOT DISTINCT FROM rows_of(query, false)';

SET deepsearch.target_recall = 1;
CREATE TABLE item (gone integer, id integer, note text, emb embedding(24)) WITH (fillfactor = 60, autovacuum_enabled = off);
INSERT INTO item SELECT 1, i, 'first', vec(i) FROM generate_series(1, 3000) i;
ALTER TABLE item DROP gone;
CREATE INDEX item_l2 ON item USING deepsearch (emb embedding_l2_ops);
CREATE INDEX item_cos ON item USING deepsearch (emb);
CREATE INDEX item_ip ON item USING deepsearch (emb embedding_ip_ops);
SELECT ok(same(format('SELECT id, note, emb %s vec(70007) AS d FROM item ORDER BY d LIMIT 300', op)), 'order and distances, ' || op)
	FROM unnest('{<->,<=>,<#>}'::text[]) op;
SELECT ok(same('SELECT id FROM item ORDER BY emb <-> vec(5)'), 'all rows');
DROP INDEX item_cos, item_ip;

-- versions of rows
UPDATE item SET note = 'second' WHERE id % 2 = 0;
UPDATE item SET note = 'third' WHERE id % 4 = 0;
SELECT ok(same('SELECT id, note FROM item ORDER BY emb <-> vec(80) LIMIT 200'), 'chains of versions in a page');
UPDATE item SET emb = vec(id + 100000) WHERE id % 9 = 0;
SELECT ok(same('SELECT id, note, emb <-> vec(80) AS d FROM item ORDER BY d LIMIT 200'), 'rows whose vector changed');
BEGIN;
DELETE FROM item WHERE id IN (SELECT id FROM item ORDER BY emb <-> vec(90) LIMIT 150);
SELECT ok(same('SELECT id, note FROM item ORDER BY emb <-> vec(90) LIMIT 40'), 'rows deleted by this transaction');
SET LOCAL enable_seqscan = off;
SELECT is((SELECT count(*) FROM (SELECT FROM item ORDER BY emb <-> vec(90) LIMIT 40) s), 40::bigint, 'the limit is filled');
SELECT is(returned, 40::bigint, 'the executor gets visible rows only') FROM ds_index_last_scan();
SELECT cmp_ok(fetched, '>=', 190::bigint, 'deleted ones were fetched all the same') FROM ds_index_last_scan();
SAVEPOINT s;
INSERT INTO item SELECT i, 'new', vec(i) FROM generate_series(80001, 80100) i;
SELECT ok(same('SELECT id, note FROM item ORDER BY emb <-> vec(80050) LIMIT 150'), 'rows inserted by this transaction');
ROLLBACK TO s;
SELECT ok(same('SELECT id, note FROM item ORDER BY emb <-> vec(80050) LIMIT 150'), 'rows whose insertion was rolled back');
ROLLBACK;

-- a cursor has the rows as they were when it was opened
BEGIN;
SET LOCAL enable_seqscan = off;
CREATE TEMP TABLE before AS SELECT row_number() OVER () AS n, s.* FROM (SELECT id, note, emb <-> vec(33) AS d FROM item ORDER BY d LIMIT 300) s;
CREATE FUNCTION read_on(c refcursor, rows integer) RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	FOR i IN 1 .. rows LOOP
		FETCH c INTO r;
		RETURN NEXT r;
	END LOOP;
END $$;
CREATE TEMP TABLE got (n serial, id integer, note text, d float8);
DECLARE c CURSOR FOR SELECT id, note, emb <-> vec(33) AS d FROM item ORDER BY d LIMIT 300;
INSERT INTO got (id, note, d) SELECT * FROM read_on('c', 5) AS r(id integer, note text, d float8);
UPDATE item SET note = 'later';
INSERT INTO got (id, note, d) SELECT * FROM read_on('c', 95) AS r(id integer, note text, d float8);
UPDATE item SET emb = vec(id + 200000), note = 'moved' WHERE id % 2 = 1;
INSERT INTO got (id, note, d) SELECT * FROM read_on('c', 100) AS r(id integer, note text, d float8);
DELETE FROM item;
INSERT INTO got (id, note, d) SELECT * FROM read_on('c', 100) AS r(id integer, note text, d float8);
SELECT is((SELECT count(*) FROM got), 300::bigint, 'a cursor over changes');
SELECT is((SELECT count(*) FROM got JOIN before USING (n, id, note, d)), 300::bigint, 'has what there was');
SELECT ok(same('SELECT id FROM item ORDER BY emb <-> vec(33) LIMIT 10'), 'and a scan after it what there is');
ROLLBACK;

-- rescans
SELECT ok(same('SELECT q.id AS q, s.d FROM (SELECT id, emb FROM item WHERE id <= 40 ORDER BY id OFFSET 0) q, LATERAL (SELECT i.emb <-> q.emb AS d FROM item i ORDER BY d LIMIT 7) s'), 'in a nested loop');
SELECT is((SELECT count(*) FROM (SELECT id, emb FROM item WHERE id <= 60) q, LATERAL (
		SELECT i.emb = q.emb AS same FROM item i ORDER BY i.emb <-> q.emb LIMIT 1) s WHERE same), 60::bigint, 'each finds itself');
SELECT ok(same('SELECT id FROM item WHERE note <> ''third'' AND id % 3 = 0 ORDER BY emb <-> vec(44) LIMIT 50'), 'conditions for the executor');
SELECT ok(same('SELECT id FROM item ORDER BY emb <-> vec(44), emb <-> vec(45) LIMIT 50'), 'two orders');

-- out of line, compressed
CREATE TABLE wide (id integer, emb embedding);
ALTER TABLE wide ALTER emb SET STORAGE EXTERNAL;
INSERT INTO wide SELECT i, vec(i, 900) FROM generate_series(1, 400) i;
ALTER TABLE wide ALTER emb SET STORAGE EXTENDED;
INSERT INTO wide SELECT 1000 + i, (SELECT array_agg(CASE WHEN j % 100 = 0 THEN sqrt(i * j) ELSE 1 END)::real[]::embedding FROM generate_series(1, 900) j)
	FROM generate_series(1, 200) i;
CREATE INDEX wide_idx ON wide USING deepsearch (emb embedding_l2_ops);
SELECT ok(same('SELECT id, emb <-> vec(7, 900) AS d FROM wide ORDER BY d'), 'vectors out of line, and compressed ones');
SELECT ok(same('SELECT id, emb <-> (SELECT emb FROM wide WHERE id = 1100) AS d FROM wide ORDER BY d LIMIT 100'), 'near the compressed ones');

-- an expression, partitions, a column that rows do not have
CREATE INDEX expression_idx ON wide USING deepsearch (ds_subvector(emb, 1, 32) embedding_l2_ops);
SELECT ok(same('SELECT id FROM wide ORDER BY ds_subvector(emb, 1, 32) <-> vec(9, 32) LIMIT 100'), 'an expression');
CREATE TABLE part (id integer, emb embedding(24)) PARTITION BY LIST (id);
CREATE TABLE part_0 (emb embedding(24), other text, id integer);
ALTER TABLE part_0 DROP other;
ALTER TABLE part ATTACH PARTITION part_0 FOR VALUES IN (0);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
INSERT INTO part SELECT i % 2, vec(i) FROM generate_series(1, 600) i;
CREATE INDEX ON part USING deepsearch (emb embedding_l2_ops);
SELECT ok(same('SELECT id, emb <-> vec(12) AS d FROM part ORDER BY d LIMIT 90'), 'partitions with other columns');
CREATE TABLE older AS SELECT i AS id FROM generate_series(1, 20) i;
ALTER TABLE older ADD late embedding(3) DEFAULT '[1,2,3]';
INSERT INTO older VALUES (21, '[3,2,1]'), (22, '[1,2,4]');
CREATE INDEX older_idx ON older USING deepsearch (late embedding_l2_ops);
SELECT ok(same('SELECT late, late <-> ''[1,2,5]'' AS d FROM older ORDER BY d'), 'a column that older rows have by default');

-- NULL, zero, and the largest numbers among them
CREATE TABLE odd (id integer, emb embedding(2));
INSERT INTO odd VALUES (1, '[0,0]'), (2, NULL), (3, '[3e38,3e38]'), (4, '[-3e38,1]'), (5, '[1e-45,0]'), (6, '[1,1]'), (7, '[1,2]');
CREATE INDEX odd_idx ON odd USING deepsearch (emb);
SELECT ok(same('SELECT id, emb <=> ''[1,1]'' AS d FROM odd ORDER BY d'), 'rows of length zero, NULL and large ones');

-- what a serializable transaction has read is known
BEGIN ISOLATION LEVEL SERIALIZABLE;
SET LOCAL enable_seqscan = off;
SELECT count(*) FROM (SELECT FROM item ORDER BY emb <-> vec(3) LIMIT 5) s \g /dev/null
SELECT cmp_ok((SELECT count(*) FROM pg_locks WHERE mode = 'SIReadLock' AND relation = 'item'::regclass AND pid = pg_backend_pid()), '>=', 5::bigint,
	'predicate locks of the rows');
COMMIT;
SELECT * FROM finish();
