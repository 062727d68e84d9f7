-- Rows that one session asks for again and again while their pages change: a
-- backend remembers in which buffers the pages of the table were.
SELECT plan(19);
CREATE FUNCTION vec(i integer) RETURNS embedding LANGUAGE sql IMMUTABLE AS
	'SELECT array_agg(sin(i * 12.9898 + j * j))::real[]::embedding FROM generate_series(1, 16) j';
CREATE TABLE item (id integer, note text, emb embedding(16)) WITH (fillfactor = 60);
INSERT INTO item SELECT i, repeat('x', 200), vec(i) FROM generate_series(1, 3000) i;
CREATE INDEX item_idx ON item USING deepsearch (emb embedding_l2_ops);

-- nearest rows of some queries by the index, and by looking at all rows
CREATE FUNCTION nearest(q embedding, n integer) RETURNS text LANGUAGE sql VOLATILE AS
	'SELECT string_agg(id || note, '','') FROM (SELECT id, right(note, 9) AS note FROM item ORDER BY emb <-> q LIMIT n) s';
CREATE FUNCTION differ() RETURNS bigint LANGUAGE plpgsql VOLATILE SET deepsearch.target_recall = 1 AS $$
DECLARE
	wrong bigint := 0;
	found text;
	query embedding;
BEGIN
	FOR q IN 1 .. 40 LOOP
		query := vec(q * 71);
		SET LOCAL enable_seqscan = off;
		SET LOCAL enable_indexscan = on;
		found := nearest(query, 1 + q * 3);
		SET LOCAL enable_seqscan = on;
		SET LOCAL enable_indexscan = off;
		wrong := wrong + (found IS DISTINCT FROM nearest(query, 1 + q * 3))::integer;
	END LOOP;
	RETURN wrong;
END $$;
SELECT is(differ(), 0::bigint, 'as built');
SELECT is(differ(), 0::bigint, 'again');
UPDATE item SET note = note || 'hot' WHERE id % 3 = 0;
SELECT is(differ(), 0::bigint, 'rows updated in their pages');
UPDATE item SET note = repeat('moved', 150) WHERE id % 7 = 0;
SELECT is(differ(), 0::bigint, 'rows moved to other pages');
UPDATE item SET emb = vec(id + 20000) WHERE id % 11 = 0;
SELECT is(differ(), 0::bigint, 'rows with other vectors');
DELETE FROM item WHERE id % 5 = 0;
SELECT is(differ(), 0::bigint, 'rows deleted');
VACUUM item;
SELECT is(differ(), 0::bigint, 'after VACUUM');
INSERT INTO item SELECT i, 'new' || i, vec(i) FROM generate_series(6001, 7500) i;
SELECT is(differ(), 0::bigint, 'their places filled with other rows');
DELETE FROM item WHERE id > 6500;
VACUUM (INDEX_CLEANUP ON) item;
SELECT is(differ(), 0::bigint, 'the end of the table cut off');
VACUUM FULL item;
SELECT is(differ(), 0::bigint, 'after VACUUM FULL');
ALTER TABLE item ADD PRIMARY KEY (id);
CLUSTER item USING item_pkey;
SELECT is(differ(), 0::bigint, 'after CLUSTER');
ALTER TABLE item ALTER id TYPE bigint;
SELECT is(differ(), 0::bigint, 'after ALTER TABLE');
BEGIN;
SAVEPOINT s;
DELETE FROM item WHERE id % 2 = 0;
SELECT is(differ(), 0::bigint, 'rows deleted in a subtransaction');
ROLLBACK TO s;
SELECT is(differ(), 0::bigint, 'which was rolled back');
DECLARE c CURSOR FOR SELECT id FROM item ORDER BY emb <-> vec(9) LIMIT 400;
FETCH 5 FROM c \g /dev/null
UPDATE item SET note = 'later';
SELECT is(differ(), 0::bigint, 'rows changed under a cursor');
MOVE ALL c;
COMMIT;
TRUNCATE item;
INSERT INTO item SELECT i, 'after', vec(i) FROM generate_series(1, 700) i;
SELECT is(differ(), 0::bigint, 'after TRUNCATE');

-- what was read is counted as what is read without remembering
CREATE FUNCTION fetched() RETURNS bigint LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT id FROM item ORDER BY emb <-> vec(9) LIMIT 20' INTO plan;
	IF plan::text NOT LIKE '%item_idx%' THEN
		RETURN -1;
	END IF;
	RETURN (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint;
END $$;
SELECT cmp_ok(fetched(), '>', 15::bigint, 'the index is used, buffers are counted');
CREATE TEMP TABLE item AS SELECT i AS id, 'temporary' AS note, vec(i) AS emb FROM generate_series(1, 900) i;
CREATE INDEX item_temp_idx ON pg_temp.item USING deepsearch (emb embedding_l2_ops);
SELECT is(differ(), 0::bigint, 'a temporary table');
DROP TABLE pg_temp.item;
SELECT is(differ(), 0::bigint, 'and the other one again');
SELECT * FROM finish();
