-- Looking after an index: recall, calibration, maintenance, and data that drift.
BEGIN;
SELECT plan(33);
SELECT setseed(0.25);

CREATE FUNCTION pg_temp.vector(d integer, scale double precision, shift double precision DEFAULT 0) RETURNS embedding LANGUAGE sql VOLATILE AS
	'SELECT array_agg((random() - 0.5) * scale + CASE WHEN j % 2 = 0 THEN shift ELSE 0 END)::embedding FROM generate_series(1, d) j';

-- rows around some centres, which are moved by `shift` in half of the dimensions
CREATE FUNCTION pg_temp.fill(t text, d integer, n integer, clusters integer, shift double precision) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TEMP TABLE centres AS SELECT i, pg_temp.vector(%s, 2, %s) AS c FROM generate_series(0, %s) i', d, shift, clusters - 1);
	EXECUTE format('INSERT INTO %I (emb) SELECT c + pg_temp.vector(%s, 1.2) FROM generate_series(1, %s) n JOIN centres ON centres.i = n %% %s',
		t, d, n, clusters);
	DROP TABLE centres;
END $$;

CREATE FUNCTION pg_temp.check_metric(class text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	r record;
	m record;
	cal integer;
	before record;
	sound bigint;
BEGIN
	CREATE TABLE item (id serial PRIMARY KEY, emb embedding(24));
	PERFORM pg_temp.fill('item', 24, 4000, 40, 0);
	EXECUTE format('CREATE INDEX item_idx ON item USING deepsearch (emb %s)', class);
	r := ds_index_recall('item_idx', 10, 100);
	RETURN NEXT ok(r.queries = 100 AND r.recall >= 0.93, format('%s: recall after the build %s, %s rows fetched', class, round(r.recall::numeric, 3), round(r.fetched::numeric, 1)));
	RETURN NEXT ok(ds_index_recall('item_idx', 10, 50, 3) IS NOT NULL AND (ds_index_recall('item_idx', 10, 50, 3)).recall = (ds_index_recall('item_idx', 10, 50, 3)).recall,
		class || ': the same seed, the same recall');
	PERFORM set_config('deepsearch.target_recall', '1', true);
	RETURN NEXT is((ds_index_recall('item_idx', 10, 50)).recall, 1::double precision, class || ': exact at target_recall = 1');
	PERFORM set_config('deepsearch.target_recall', '0.95', true), set_config('deepsearch.probes', '1', true);
	RETURN NEXT ok((ds_index_recall('item_idx', 10, 50)).recall < r.recall, class || ': less with one list');
	PERFORM set_config('deepsearch.probes', '0', true);

	-- as many rows again, clustered differently
	PERFORM pg_temp.fill('item', 24, 4000, 15, 1.5);
	before := ds_index_recall('item_idx', 10, 200, 1);
	RETURN NEXT ok(before.recall >= 0.85, format('%s: recall after other data came %s', class, round(before.recall::numeric, 3)));
	m := ds_index_maintain('item_idx');
	RETURN NEXT ok(m.queries = 200, format('%s: maintenance split %s lists, encoded %s rows of %s lists', class, m.lists_split, m.rows_encoded, m.lists_encoded));
	r := ds_index_recall('item_idx', 10, 200, 1);
	RETURN NEXT ok(r.recall >= 0.93, format('%s: recall after maintenance %s', class, round(r.recall::numeric, 3)));
	SELECT count(*) INTO sound FROM ds_index_check('item_idx');
	RETURN NEXT is(sound, 0::bigint, class || ': sound after maintenance');
	m := ds_index_maintain('item_idx');
	RETURN NEXT ok(m.lists_split = 0 AND m.lists_merged = 0 AND m.rows_encoded = 0, class || ': nothing more to do');
	DROP TABLE item;
END $$;
SELECT pg_temp.check_metric(class) FROM unnest(ARRAY['embedding_cosine_ops', 'embedding_l2_ops', 'embedding_ip_ops']) class;

-- queries that lie elsewhere than the rows
CREATE TABLE item (id serial PRIMARY KEY, emb embedding(24));
SELECT pg_temp.fill('item', 24, 5000, 200, 0);
CREATE INDEX item_idx ON item USING deepsearch (emb embedding_l2_ops);
SELECT probes AS before FROM ds_index_stats('item_idx') \gset
SELECT is(ds_index_calibrate('item_idx', 'SELECT pg_temp.vector(24, 8), i FROM generate_series(1, 150) i'),
	150, 'calibration counts its queries');
SELECT cmp_ok(probes, '>', :before, 'queries far from all rows need more lists') FROM ds_index_stats('item_idx');
SELECT probes AS calibrated FROM ds_index_stats('item_idx') \gset
SELECT ds_index_maintain('item_idx');
SELECT cmp_ok(probes, '>=', :calibrated, 'maintenance does not forget them') FROM ds_index_stats('item_idx');
SELECT throws_ok($$SELECT ds_index_calibrate('item_idx', 'SELECT 1')$$, '42804', NULL, 'queries must be embeddings');
SELECT throws_ok($$SELECT ds_index_calibrate('item_idx', 'SELECT emb FROM item WHERE false')$$, 'P0002', NULL, 'and some');
SELECT throws_ok($$SELECT ds_index_calibrate('item_idx', 'SELECT ''[1,2]''::embedding')$$, '22000', NULL, 'of the dimension of the index');

SELECT * FROM finish();
ROLLBACK;
