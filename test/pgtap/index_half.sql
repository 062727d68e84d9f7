-- Indexes on halfembedding: order and bounds, whatever the numbers, and what looks after them.
SELECT setseed(0.5);
SELECT no_plan();

CREATE FUNCTION vector(d integer, scale double precision) RETURNS embedding LANGUAGE sql VOLATILE AS
	'SELECT array_agg((random() - 0.5) * scale)::embedding FROM generate_series(1, d)';

CREATE FUNCTION by_index(t regclass, op text, q halfembedding, lim integer, used boolean, OUT ids integer[], OUT dists double precision[])
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('enable_seqscan', (NOT used)::text, true), set_config('enable_indexscan', used::text, true);
	EXECUTE format('SELECT array_agg(id), array_agg(dist) FROM (SELECT id, h %s $1 AS dist FROM %s ORDER BY h %s $1 LIMIT %s) s',
		op, t, op, lim) INTO ids, dists USING q;
	IF used AND (SELECT returned FROM ds_index_last_scan()) < least(lim, cardinality(ids)) THEN
		RAISE EXCEPTION 'the index was not used';
	END IF;
END $$;

-- Rows around some centres, and the odd ones: duplicates, zeros, subnormal and the largest halves, NULL
CREATE FUNCTION fill(t text, d integer, n integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE %I (id serial, h halfembedding(%s))', t, d);
	EXECUTE format('CREATE TEMP TABLE centres AS SELECT i, vector(%s, 2) AS c FROM generate_series(0, 29) i', d);
	EXECUTE format('INSERT INTO %I (h) SELECT c + vector(%s, 1) FROM generate_series(1, %s) i JOIN centres ON centres.i = i.i %% 30', t, d, n);
	DROP TABLE centres;
	EXECUTE format('INSERT INTO %I (h) SELECT h FROM %I WHERE id %% 50 = 0', t, t);
	EXECUTE format('INSERT INTO %I (h) SELECT (SELECT h FROM %I WHERE id = 7) FROM generate_series(1, 100)', t, t);
	EXECUTE format('INSERT INTO %I (h) SELECT array_fill(0::real, ARRAY[%s])::halfembedding FROM generate_series(1, 5)', t, d);
	EXECUTE format('INSERT INTO %I (h) SELECT NULL FROM generate_series(1, 7)', t);
	EXECUTE format('INSERT INTO %I (h) SELECT vector(%s, s) FROM (VALUES (5e-7), (1e-5), (1e-3), (1e3), (131000.0)) v(s), generate_series(1, 4)', t, d);
	EXECUTE format('INSERT INTO %I (h) SELECT array_fill(x::real, ARRAY[%s])::halfembedding FROM (VALUES (65504), (-65504), (6e-8)) v(x)', t, d);
END $$;

CREATE FUNCTION check_all(d integer, n integer) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	t text := 'half_' || d;
	m record;
	q halfembedding;
	a record;
	b record;
	total integer;
	found double precision;
	same boolean;
	once boolean;
	problems text;
BEGIN
	PERFORM fill(t, d, n);
	EXECUTE format('SELECT count(*) FROM %I', t) INTO total;
	FOR m IN SELECT * FROM (VALUES ('<=>', 'halfembedding_cosine_ops'), ('<->', 'halfembedding_l2_ops'), ('<#>', 'halfembedding_ip_ops')) v(op, class)
	LOOP
		EXECUTE format('CREATE INDEX ON %I USING deepsearch (h %s)', t, m.class);
		same := true;
		once := true;
		found := 0;
		FOR i IN 1 .. 9 LOOP
			q := CASE i WHEN 6 THEN vector(d, 1e-6)::halfembedding WHEN 7 THEN vector(d, 131000)::halfembedding WHEN 8 THEN array_fill(0::real, ARRAY[d])::halfembedding
				WHEN 9 THEN array_fill(65504::real, ARRAY[d])::halfembedding END;
			IF i < 6 THEN
				EXECUTE format('SELECT h + vector($1, 0.5) FROM %I WHERE id = $2', t) INTO q USING d, 11 * i;
			END IF;
			b := by_index(t, m.op, q, total, false);
			PERFORM set_config('deepsearch.target_recall', '1', true);
			a := by_index(t, m.op, q, total, true);
			same := same AND a.dists IS NOT DISTINCT FROM b.dists;
			once := once AND (SELECT count(DISTINCT x) = total AND count(*) = total FROM unnest(a.ids) x);
			a := by_index(t, m.op, q, 20, true);
			same := same AND a.dists IS NOT DISTINCT FROM b.dists[1:20];
			PERFORM set_config('deepsearch.target_recall', '0.95', true);
			a := by_index(t, m.op, q, total, true);
			once := once AND (SELECT count(DISTINCT x) = total AND count(*) = total FROM unnest(a.ids) x);
			IF i < 6 THEN
				a := by_index(t, m.op, q, 10, true);
				found := found + (SELECT count(*) FROM unnest(a.dists) x WHERE x <= b.dists[10]) / 50.0;
			END IF;
		END LOOP;
		RETURN NEXT ok(same, format('%s dimensions, %s: target_recall = 1 gives the order of a sequential scan', d, m.op));
		RETURN NEXT ok(once, format('%s dimensions, %s: every row exactly once', d, m.op));
		RETURN NEXT ok(found >= 0.9, format('%s dimensions, %s: recall of the first ten %s', d, m.op, round(found::numeric, 3)));
		-- every row's codes, and its bounds against what the operator says of halves
		SELECT string_agg(c::text, E'\n') INTO problems FROM ds_index_check((t || '_h_idx')::regclass) c;
		RETURN NEXT is(problems, NULL, format('%s dimensions, %s: ds_index_check finds nothing', d, m.op));
		EXECUTE format('DROP INDEX %I', t || '_h_idx');
	END LOOP;
	EXECUTE format('DROP TABLE %I', t);
END $$;
SELECT check_all(d, n) FROM (VALUES (1, 800), (3, 1500), (17, 1000), (64, 2000), (100, 1000), (128, 2000), (768, 500), (2000, 100), (16000, 30)) v(d, n);

-- a table that grows under its index, is deleted from, updated, vacuumed and looked after
CREATE TABLE grown (id serial, category integer, h halfembedding) WITH (autovacuum_enabled = off);
CREATE INDEX grown_idx ON grown USING deepsearch (h halfembedding_l2_ops, category);
SELECT fill('source', 64, 4000);
INSERT INTO grown SELECT id, id % 5, h FROM source;
SELECT cmp_ok(lists, '>', 1, 'an index made on an empty table splits its lists') FROM ds_index_stats('grown_idx');
DELETE FROM grown WHERE id % 3 = 0;
UPDATE grown SET h = h + vector(64, 0.1) WHERE id % 7 = 0 AND ds_norm(h) BETWEEN 1e-4 AND 1e4;
VACUUM grown;
SELECT lives_ok($$SELECT ds_index_maintain('grown_idx')$$, 'ds_index_maintain');
SELECT is((SELECT string_agg(c::text, E'\n') FROM ds_index_check('grown_idx') c), NULL, 'ds_index_check finds nothing after that');
SELECT cmp_ok((SELECT recall FROM ds_index_recall('grown_idx', 10, 100)), '>=', 0.9::double precision, 'ds_index_recall');
SELECT is(ds_index_calibrate('grown_idx', 'SELECT h FROM grown WHERE id % 10 = 1 AND ds_norm(h) > 0 LIMIT 50'), 50, 'ds_index_calibrate with halves');
SELECT is(ds_index_calibrate('grown_idx', 'SELECT h::embedding FROM grown WHERE id % 10 = 1 AND ds_norm(h) > 0 LIMIT 50'), 50, 'and with embeddings');
SELECT throws_ok($$SELECT ds_index_calibrate('grown_idx', 'SELECT 1')$$, '42804', NULL, 'and nothing else');
SET deepsearch.target_recall = 1;
SELECT is((SELECT array_agg(d) FROM (SELECT h <-> (SELECT h FROM source WHERE id = 8) AS d FROM grown WHERE category = 2 ORDER BY d LIMIT 50) s),
	(SELECT array_agg(d ORDER BY d) FROM (SELECT (h <-> (SELECT h FROM source WHERE id = 8)) + 0 AS d FROM grown WHERE category = 2 ORDER BY d LIMIT 50) s), 'a filter column');
SET enable_seqscan = off;
CREATE FUNCTION plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	result text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		result := result || line || E'\n';
	END LOOP;
	RETURN result;
END
$$;
SELECT alike(plan_of($$SELECT id FROM grown WHERE category = 2 ORDER BY h <-> '[1,2]' LIMIT 5$$), '%Index Cond: (category = 2)%', 'is an index condition');
SELECT alike(plan_of($$SELECT id FROM grown ORDER BY h <-> '[1,2]'::embedding LIMIT 5$$), '%Order By: (h <-> %', 'a query that is an embedding uses the index');
SELECT throws_ok($$SELECT id FROM grown ORDER BY h <-> '[1,2]'::embedding LIMIT 5$$, '22000', NULL, 'of another dimension it is refused');
-- vectors out of line
ALTER TABLE grown ALTER h SET STORAGE EXTERNAL, SET (toast_tuple_target = 128);
UPDATE grown SET category = category;
SELECT is((SELECT array_agg(h <-> q.v) FROM (SELECT h, q.v FROM grown, (SELECT h AS v FROM source WHERE id = 8) q ORDER BY grown.h <-> (SELECT h FROM source WHERE id = 8) LIMIT 50) q),
	(SELECT array_agg(d ORDER BY d) FROM (SELECT grown.h <-> s.h AS d FROM grown, source s WHERE s.id = 8 ORDER BY d LIMIT 50) q), 'vectors out of line');
-- an expression of embeddings, indexed as halves
CREATE TABLE full_size AS SELECT id, h::embedding(64) AS e FROM source;
CREATE INDEX full_idx ON full_size USING deepsearch ((e::halfembedding(64)) halfembedding_cosine_ops);
SELECT is((SELECT count(*) FROM (SELECT id FROM full_size ORDER BY e::halfembedding(64) <=> (SELECT h FROM source WHERE id = 5) LIMIT 10) s), 10::bigint, 'an expression index');
SELECT is((SELECT string_agg(c::text, E'\n') FROM ds_index_check('full_idx') c), NULL, 'ds_index_check of it');
SELECT throws_ok('CREATE INDEX ON source USING deepsearch (h embedding_l2_ops)', '42804', NULL, 'classes of the two types are not mixed');
CREATE TABLE mixed AS SELECT '[1,2]'::halfembedding AS h UNION ALL SELECT '[1,2,3]';
SELECT throws_ok('CREATE INDEX ON mixed USING deepsearch (h)', '22000', NULL, 'one dimension an index');
-- built by workers
SET max_parallel_maintenance_workers = 2;
SET min_parallel_table_scan_size = 0;
ALTER TABLE source SET (parallel_workers = 2);
CREATE INDEX source_idx ON source USING deepsearch (h);
SELECT is((SELECT string_agg(c::text, E'\n') FROM ds_index_check('source_idx') c), NULL, 'ds_index_check of an index that workers built');
SELECT * FROM finish();
