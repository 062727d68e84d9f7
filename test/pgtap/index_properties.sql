-- What must hold for every search through an index, over random vectors of many dimensions.
BEGIN;
SELECT plan(165);
SELECT setseed(0.75);

CREATE FUNCTION pg_temp.vector(d integer, scale double precision) RETURNS embedding LANGUAGE sql VOLATILE AS
	'SELECT array_agg((random() - 0.5) * scale)::embedding FROM generate_series(1, d)';

-- Distances of the first `lim` rows, in the order in which the index gives them ...
CREATE FUNCTION pg_temp.by_index(t regclass, op text, q embedding, lim integer, OUT ids integer[], OUT dists double precision[])
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'on', true);
	EXECUTE format('SELECT array_agg(id), array_agg(dist) FROM (SELECT id, emb %s $1 AS dist FROM %s ORDER BY emb %s $1 LIMIT %s) s',
		op, t, op, lim) INTO ids, dists USING q;
	IF (SELECT returned FROM ds_index_last_scan()) < least(lim, cardinality(ids)) THEN
		RAISE EXCEPTION 'the index was not used';
	END IF;
END $$;
-- ... and by a sequential scan
CREATE FUNCTION pg_temp.exact(t regclass, op text, q embedding, lim integer, OUT ids integer[], OUT dists double precision[])
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true);
	EXECUTE format('SELECT array_agg(id), array_agg(dist) FROM (SELECT id, emb %s $1 AS dist FROM %s ORDER BY emb %s $1 LIMIT %s) s',
		op, t, op, lim) INTO ids, dists USING q;
END $$;

-- A table of n rows of d dimensions around some centres, and the odd ones: duplicates,
-- zeros, tiny and huge numbers, NULL
CREATE FUNCTION pg_temp.fill(t text, d integer, n integer, odd boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE %I (id serial, emb embedding(%s))', t, d);
	EXECUTE format('CREATE TEMP TABLE centres AS SELECT i, pg_temp.vector(%s, 2) AS c FROM generate_series(0, 29) i', d);
	EXECUTE format('INSERT INTO %I (emb) SELECT c + pg_temp.vector(%s, 1) FROM generate_series(1, %s) i JOIN centres ON centres.i = i.i %% 30',
		t, d, n);
	DROP TABLE centres;
	IF odd THEN
		EXECUTE format('INSERT INTO %I (emb) SELECT emb FROM %I WHERE id %% 50 = 0', t, t);
		EXECUTE format('INSERT INTO %I (emb) SELECT (SELECT emb FROM %I WHERE id = 7) FROM generate_series(1, 100)', t, t);
		EXECUTE format('INSERT INTO %I (emb) SELECT array_fill(0::real, ARRAY[%s])::embedding FROM generate_series(1, 5)', t, d);
		EXECUTE format('INSERT INTO %I (emb) SELECT NULL FROM generate_series(1, 7)', t);
		EXECUTE format('INSERT INTO %I (emb) SELECT pg_temp.vector(%s, s) FROM (VALUES (1e-44), (1e-30), (1e-10), (1e10), (1e18), (1e19), (1e30), (3e38)) v(s), generate_series(1, 3)',
			t, d);
	END IF;
END $$;

CREATE FUNCTION pg_temp.check_all(d integer, n integer) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	t text := 't' || d;
	m record;
	q embedding;
	a record;
	b record;
	total integer;
	found double precision;
	same boolean;
	once boolean;
	i integer;
BEGIN
	PERFORM pg_temp.fill(t, d, n, true);
	EXECUTE format('SELECT count(*) FROM %I', t) INTO total;
	FOR m IN SELECT * FROM (VALUES ('<=>', 'embedding_cosine_ops'), ('<->', 'embedding_l2_ops'), ('<#>', 'embedding_ip_ops')) v(op, class)
	LOOP
		EXECUTE format('CREATE INDEX ON %I USING deepsearch (emb %s)', t, m.class);
		same := true;
		once := true;
		found := 0;
		FOR i IN 1 .. 8 LOOP
			q := CASE i WHEN 6 THEN pg_temp.vector(d, 1e-30) WHEN 7 THEN pg_temp.vector(d, 1e25)
				WHEN 8 THEN array_fill(0::real, ARRAY[d])::embedding END;
			IF i < 6 THEN
				EXECUTE format('SELECT emb + pg_temp.vector($1, 0.5) FROM %I WHERE id = $2', t) INTO q USING d, 11 * i;
			END IF;
			b := pg_temp.exact(t, m.op, q, total);

			PERFORM set_config('deepsearch.target_recall', '1', true);
			a := pg_temp.by_index(t, m.op, q, total);
			-- equal distances may come in any order, so the distances are compared
			same := same AND a.dists IS NOT DISTINCT FROM b.dists;
			once := once AND (SELECT count(DISTINCT x) = total AND count(*) = total FROM unnest(a.ids) x);
			a := pg_temp.by_index(t, m.op, q, 20);
			same := same AND a.dists IS NOT DISTINCT FROM b.dists[1:20];

			PERFORM set_config('deepsearch.target_recall', '0.95', true);
			a := pg_temp.by_index(t, m.op, q, total);
			once := once AND (SELECT count(DISTINCT x) = total AND count(*) = total FROM unnest(a.ids) x);
			IF i < 6 THEN
				a := pg_temp.by_index(t, m.op, q, 10);
				found := found + (SELECT count(*) FROM unnest(a.dists) x WHERE x <= b.dists[10]) / 50.0;
			END IF;
		END LOOP;
		RETURN NEXT ok(same, format('%s dimensions, %s: target_recall = 1 gives the order of a sequential scan', d, m.op));
		RETURN NEXT ok(once, format('%s dimensions, %s: every row exactly once', d, m.op));
		RETURN NEXT ok(found >= 0.9, format('%s dimensions, %s: recall of the first ten %s', d, m.op, round(found::numeric, 3)));
		EXECUTE format('DROP INDEX %I', t || '_emb_idx');
	END LOOP;
	EXECUTE format('DROP TABLE %I', t);
END $$;

SELECT pg_temp.check_all(d, n) FROM (VALUES (1, 1000), (2, 2000), (3, 1500), (8, 1000), (17, 1000), (31, 1000), (64, 2000),
	(100, 1500), (128, 2000), (255, 500), (768, 700), (1000, 300), (1500, 200), (1800, 200), (2000, 150), (5000, 80), (16000, 40)) v(d, n);

-- The same after rows came one by one into an empty index, which splits its lists
CREATE FUNCTION pg_temp.check_growth(d integer, n integer) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	t text := 'g' || d;
	a record;
	b record;
	q embedding;
	total integer;
	same boolean := true;
	once boolean := true;
	lists integer;
BEGIN
	EXECUTE format('CREATE TABLE %I (id serial, emb embedding)', t);
	EXECUTE format('CREATE INDEX %I ON %I USING deepsearch (emb embedding_l2_ops)', t || '_idx', t);
	PERFORM pg_temp.fill('s', d, n, true);
	EXECUTE format('INSERT INTO %I SELECT * FROM s', t);
	SELECT s.lists INTO lists FROM ds_index_stats((t || '_idx')::regclass) s;
	total := (SELECT count(*) FROM s);
	FOR i IN 1 .. 5 LOOP
		EXECUTE format('SELECT emb + pg_temp.vector($1, 0.5) FROM %I WHERE id = $2', t) INTO q USING d, 11 * i;
		b := pg_temp.exact(t, '<->', q, total);
		PERFORM set_config('deepsearch.target_recall', '1', true);
		a := pg_temp.by_index(t, '<->', q, total);
		same := same AND a.dists IS NOT DISTINCT FROM b.dists;
		PERFORM set_config('deepsearch.target_recall', '0.95', true);
		a := pg_temp.by_index(t, '<->', q, total);
		once := once AND (SELECT count(DISTINCT x) = total AND count(*) = total FROM unnest(a.ids) x);
	END LOOP;
	RETURN NEXT ok(lists > 1, format('%s dimensions: an index made on an empty table has %s lists', d, lists));
	RETURN NEXT ok(same, format('%s dimensions, grown: target_recall = 1 gives the order of a sequential scan', d));
	RETURN NEXT ok(once, format('%s dimensions, grown: every row exactly once', d));
	EXECUTE format('DROP TABLE %I', t);
	DROP TABLE s;
END $$;
SELECT pg_temp.check_growth(d, n) FROM (VALUES (3, 3000), (64, 4000), (768, 600), (2000, 300)) v(d, n);

SELECT * FROM finish();
ROLLBACK;
