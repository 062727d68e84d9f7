-- Filters on texts under collations: the same rows as a sequential scan finds.
-- Equality is the collation's, and where the server has sort keys (those of ICU,
-- since 16) ranges leave out rows before any distance is computed, as under "C".
BEGIN;
SELECT plan(36);

-- upper and lower case, accents before and behind their letters, blanks, signs that collations
-- ignore, empty and long ones with equal beginnings, other scripts, and words of all of these
CREATE TABLE words (id integer, a text, b character(12), emb embedding(8));
INSERT INTO words SELECT i, w, w, (SELECT array_agg(sin(i * 12.9898 + j))::real[] FROM generate_series(1, 8) j)::embedding
	FROM generate_series(1, 600) i, LATERAL (SELECT CASE i % 13
		WHEN 0 THEN '' WHEN 1 THEN 'Zebra' || i WHEN 2 THEN 'zebra' || i % 50 WHEN 3 THEN 'éclair' || i % 7
		WHEN 4 THEN 'eclair ' || i % 9 WHEN 5 THEN 'co-op' || i % 20 WHEN 6 THEN 'coop' || i % 20
		WHEN 7 THEN repeat('same', 2) || i WHEN 8 THEN chr(1072 + i % 30) || i WHEN 9 THEN chr(20000 + i) WHEN 10 THEN i::text
		ELSE (SELECT string_agg((ARRAY['a', 'A', 'ä', 'a' || chr(776), chr(776), 'b', 'B', 'ß', 'ss', '-', '_', ' ', chr(8203), chr(173), 'z', '9', chr(128512)])
				[1 + (hashint4(i * 8 + j) & 15)], '') FROM generate_series(0, i % 7) j) END) w(w);
CREATE TABLE edges (edge text);
INSERT INTO edges VALUES (''), ('a'), ('A'), ('ä'), ('b'), ('co-op7'), ('coop7'), ('e'), ('Éclair3'), ('samesam'), ('samesame2'), ('zz'), ('10'), ('9'), ('中'), ('ж');
INSERT INTO edges SELECT a FROM words WHERE id % 50 = 11;

-- over all edges and comparisons: rows that the index does not find, and ranges at which it left rows out early
CREATE FUNCTION compared(col text, OUT wrong bigint, OUT early bigint) LANGUAGE plpgsql AS $$
DECLARE
	op text; e text; expected bigint; n bigint;
BEGIN
	wrong := 0; early := 0;
	FOREACH op IN ARRAY ARRAY['<', '<=', '>', '>=', '='] LOOP
		FOR e IN SELECT edge FROM edges LOOP
			SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off;
			EXECUTE format('SELECT count(*) FROM words WHERE %I %s %L', col, op, e) INTO expected;
			SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on;
			EXECUTE format('SELECT count(*) FROM (SELECT id FROM words WHERE %I %s %L ORDER BY emb <-> ''[1,2,3,4,5,6,7,8]'') s', col, op, e) INTO n;
			wrong := wrong + abs(expected - n);
			early := early + (op <> '=' AND (SELECT filtered > 0 FROM ds_index_last_scan()))::integer;
		END LOOP;
	END LOOP;
	SET LOCAL enable_seqscan = on;
END $$;

CREATE FUNCTION collated(name text, definition text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	col text; result record;
	sorted boolean := name = 'C' OR (coalesce(definition ~ 'icu', false) AND current_setting('server_version_num')::integer >= 160000);
BEGIN
	IF definition IS NOT NULL THEN
		BEGIN
			EXECUTE format('CREATE COLLATION %I (%s)', name, definition);
		EXCEPTION WHEN feature_not_supported OR undefined_object OR invalid_parameter_value THEN
			RETURN QUERY SELECT skip(name || ': the server does not have it', 4);
			RETURN;
		END;
	END IF;
	EXECUTE format('ALTER TABLE words ALTER a TYPE text COLLATE %1$I, ALTER b TYPE character(12) COLLATE %1$I', name);
	CREATE INDEX i ON words USING deepsearch (emb embedding_l2_ops, a, b) WITH (lists = 20);
	-- further rows find their place as those of the build
	INSERT INTO words SELECT id + 1000, b, a || 'ö', emb FROM words WHERE id % 5 = 0 AND length(a) < 12;
	FOREACH col IN ARRAY ARRAY['a', 'b'] LOOP
		SELECT * INTO result FROM compared(col);
		RETURN NEXT is(result.wrong, 0::bigint, format('%s, column %s: the rows of a sequential scan', name, col));
		IF col = 'a' THEN
			RETURN NEXT ok(CASE WHEN sorted THEN result.early > 40 ELSE result.early = 0 END,
				format('%s: %s ranges left rows out early', name, result.early));
		END IF;
	END LOOP;
	RETURN NEXT is((SELECT count(*) FROM ds_index_check('i')), 0::bigint, name || ': verified');
	DROP INDEX i;
	DELETE FROM words WHERE id > 1000;
END $$;

SELECT collated('C', NULL);
SELECT collated('libc', 'provider = libc, locale = ''C.UTF-8''');
SELECT collated('swedish', 'provider = icu, locale = ''sv''');
SELECT collated('numbers', 'provider = icu, locale = ''en-u-kn-true''');
SELECT collated('shifted', 'provider = icu, locale = ''und-u-ka-shifted''');
SELECT collated('backwards', 'provider = icu, locale = ''und-u-kb-true-kf-upper''');
SELECT collated('letters', 'provider = icu, locale = ''und-u-ks-level1'', deterministic = false');
SELECT collated('accents', 'provider = icu, locale = ''und-u-kc-true-ks-level2'', deterministic = false');
SELECT collated('loose', 'provider = icu, locale = ''und-u-ka-shifted-ks-level1'', deterministic = false');
SELECT * FROM finish();
ROLLBACK;
