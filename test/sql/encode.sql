-- ds_encode and what shows how it works.
SET client_min_messages = warning;
CREATE TABLE clicks AS SELECT
	(ARRAY['红色', '蓝色', '黑色', '白色', 'red', 'blue'])[i % 6 + 1] || (ARRAY['连衣裙', '衬衫', '鞋', 'shirt'])[i % 4 + 1] AS query,
	(ARRAY['红色', '蓝色', '黑色', '白色', 'red', 'blue'])[i % 6 + 1] || ' 新款 ' || (ARRAY['连衣裙', '衬衫', '鞋', 'shirt'])[i % 4 + 1] || i AS title
FROM generate_series(1, 240) i;
SELECT ds_create_model('shop', '{"embedding": {"dims": 16}, "dense": [8], "tokenizer": {"vocabulary": 1024, "buckets": 128}}');
CALL ds_train('shop', 'SELECT query, title FROM clicks');

-- the forms agree
SELECT ds_encode('red shirt') = ds_encode('red shirt', 'shop') AS default_model,
	ds_encode('red shirt') = ds_encode('red shirt', 'shop', 'query') AS default_side,
	ds_encode(ARRAY['red shirt', 'x']) = ARRAY[ds_encode('red shirt'), ds_encode('x')] AS arrays,
	ds_encode(ARRAY['red shirt', 'x'], 'shop') = ds_encode(ARRAY['red shirt', 'x'], 'shop', 'document') AS sides_of_a_shared_tower;
-- a text's embedding does not depend on its neighbours, to the last bit
SELECT count(*) AS differing FROM (SELECT array_agg(title) AS titles FROM clicks) a, unnest(titles, ds_encode(titles)) AS b (title, e)
WHERE e::text <> ds_encode(title)::text;

-- NULL, empty, nothing to see, long, any bytes
SELECT ds_encode(NULL::text) IS NULL, ds_encode('x', NULL) IS NULL, ds_encode('x', 'shop', NULL) IS NULL, ds_encode(NULL::text[]) IS NULL;
SELECT ds_dims(ds_encode('')), ds_dims(ds_encode('...')), ds_dims(ds_encode(repeat('红色连衣裙 ', 100000)));
SELECT ds_encode(ARRAY[]::text[]), ds_encode(ARRAY[NULL, NULL]::text[]);
SELECT (ds_encode(ARRAY['a', NULL, 'b']))[2] IS NULL AS null_stays, (ds_encode(ARRAY['a', NULL, 'b']))[3] = ds_encode('b') AS order_stays;
SELECT array_dims(ds_encode('[2:3][0:1]={{a,b},{c,NULL}}'::text[])), (ds_encode('[2:3][0:1]={{a,b},{c,NULL}}'::text[]))[3][0] = ds_encode('c') AS place_stays;
SELECT ds_encode(E'\u200b\ufeff\u202e red\tSHIRT') = ds_encode('red shirt') AS cleaned;
SELECT ds_encode('ＲＥＤ　ｓｈｉｒｔ') = ds_encode('red shirt') AS width;

-- errors
SELECT ds_encode('a', 'nowhere');
SELECT ds_encode('a', 'shop', 'left');
SELECT ds_encode(ARRAY['a'], 'nowhere');
SELECT ds_encode(ARRAY['a'], 'shop', 'Query');
SELECT ds_encode('a', 1);

-- each text is encoded once
CREATE FUNCTION encoded(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE before bigint := ds_encode_count();
BEGIN
	EXECUTE query;
	RETURN ds_encode_count() - before;
END $$;
SELECT encoded('SELECT ds_encode(''one''), ds_encode(''one''), ds_encode(''two'')');
SELECT encoded('SELECT ds_encode(''one'')');
SELECT encoded('SELECT ds_encode(''one'', ''shop'', ''document'')') AS other_side;
SELECT encoded('SELECT ds_encode(ARRAY[''one'', ''two'', ''three'', ''three''])') AS array_knows_two;
SELECT encoded('SELECT count(ds_encode(''constant'')) FROM generate_series(1, 1000)');
SELECT encoded('SELECT count(ds_encode(''t'' || i % 100)) FROM generate_series(1, 1000) i') AS hundred;
SET deepsearch.encode_cache = 0;
SELECT encoded('SELECT count(ds_encode(''no memory'')) FROM generate_series(1, 1000)') AS call_site_remembers;
SELECT encoded('SELECT count(ds_encode(''t'' || i % 10)) FROM generate_series(1, 100) i') AS every_one;
SET deepsearch.encode_cache = 10;
SELECT encoded('SELECT count(ds_encode(''t'' || i % 10)) FROM generate_series(1, 100) i') AS ten;
SELECT encoded('SELECT count(ds_encode(''t'' || i % 11)) FROM generate_series(0, 109) i') AS least_recently_used_goes;
RESET deepsearch.encode_cache;
-- a function's variable is no constant
CREATE FUNCTION two(a text, b text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE e embedding[]; t text;
BEGIN
	FOREACH t IN ARRAY ARRAY[a, b] LOOP
		e := e || ds_encode(t);
	END LOOP;
	RETURN e[1] = ds_encode(a) AND e[2] = ds_encode(b) AND e[1] <> e[2];
END $$;
SELECT two('red', 'blue');
PREPARE q (text) AS SELECT ds_encode($1) = ds_encode($1, 'shop') AND ds_encode($1)::text = (ds_encode(ARRAY[$1]))[1]::text;
EXECUTE q ('red');
EXECUTE q ('blue');
DEALLOCATE q;

-- a model is resolved for the current user, and again when the setting changes
SELECT ds_create_model('other', '{"embedding": {"dims": 4}, "dense": [], "tokenizer": {"vocabulary": 1024, "buckets": 128}}');
CALL ds_train('other', 'SELECT query, title FROM clicks', '{"epochs": 1}');
SELECT ds_dims(ds_encode('red'));
SET deepsearch.model = 'other';
SELECT ds_dims(ds_encode('red'));
SELECT ds_dims(ds_encode('red')), set_config('deepsearch.model', 'shop', false), ds_dims(ds_encode('red'));
RESET deepsearch.model;
CREATE ROLE regress_ds_encode;
SELECT ds_grant_model('other', 'regress_ds_encode');
SELECT ds_dims(ds_encode('red', 'shop'));
SET ROLE regress_ds_encode;
SELECT ds_dims(ds_encode('red'));
SELECT ds_dims(ds_encode('red', 'shop'));
SELECT * FROM ds_tokenize('red', 'shop');
RESET ROLE;
SELECT ds_revoke_model('other', 'regress_ds_encode');
SET ROLE regress_ds_encode;
SELECT ds_dims(ds_encode('red', 'other'));
RESET ROLE;
SELECT ds_drop_model('other');
SELECT ds_dims(ds_encode('red'));
DROP ROLE regress_ds_encode;

-- old cursors and repeatable transactions keep their version
CREATE TEMP TABLE first AS SELECT ds_encode('red') AS e;
BEGIN;
DECLARE c CURSOR FOR SELECT ds_encode('red') = (SELECT e FROM first) FROM generate_series(1, 3);
FETCH c;
CALL ds_train('shop', 'SELECT query, title FROM clicks', '{"epochs": 1, "seed": 9}');
SELECT ds_encode('red') = (SELECT e FROM first) AS new_statement;
FETCH c;
SELECT ds_encode('red') = (SELECT e FROM first) AS new_statement;
FETCH c;
ROLLBACK;
SELECT ds_encode('red') = (SELECT e FROM first) AS rolled_back;

-- changes by hand are seen
UPDATE ds_model SET name = 'renamed' WHERE name = 'shop';
SELECT ds_encode('red', 'shop');
SELECT ds_encode('red', 'renamed') = (SELECT e FROM first) AS renamed;
BEGIN;
UPDATE ds_tensor SET data = decode(repeat('00', octet_length(data)), 'hex') WHERE dtype = 'f32';
SELECT ds_encode('red');
ROLLBACK;
BEGIN;
DELETE FROM ds_tensor WHERE name = 'shared.embedding';
SELECT ds_encode('red');
ROLLBACK;
BEGIN;
UPDATE ds_tensor SET data = substr(data, 2) WHERE name = 'shared.embedding';
SELECT ds_encode('red');
ROLLBACK;
BEGIN;
UPDATE ds_tensor SET data = data || '\x00' WHERE name = 'shared.dense.0.bias';
SELECT ds_encode('red');
ROLLBACK;
BEGIN;
UPDATE ds_tensor SET shape = '{4,2}' WHERE name = 'shared.dense.0.bias';
SELECT ds_encode('red');
ROLLBACK;
BEGIN;
UPDATE ds_tensor SET shape = '{9000000000000000000}' WHERE name = 'shared.dense.0.bias';
SELECT ds_encode('red');
ROLLBACK;
BEGIN;
UPDATE ds_tensor SET dtype = 'f16' WHERE name = 'shared.dense.0.bias';
SELECT ds_encode('red');
ROLLBACK;
BEGIN;
UPDATE ds_tensor SET data = overlay(data PLACING '\xffffffff' FROM 9) WHERE name = 'shared.tokenizer';
SELECT ds_encode('red');
ROLLBACK;
SELECT ds_encode('red') = (SELECT e FROM first) AS back;

-- looking at texts
SELECT * FROM ds_tokenize('Red 衬衫', 'renamed') ORDER BY token;
SELECT count(*) FROM ds_tokenize('', 'renamed');
SELECT ds_tokenize('x', 'renamed', 'middle');
SELECT ds_clean('  Ｒｅｄ　SHIRT' || chr(9) || '衬衫  ') || '|';
SELECT ds_clean(' <b>Red</b> &amp; blue ', '{"strip_html": true, "fold_case": false}') || '|';
SELECT ds_clean('x', '{"html": true}');
SELECT ds_clean('x', '{"strip_html": 1}');
SELECT ds_clean('') = '' AS empty;
SELECT ds_drop_model('renamed');
DROP TABLE clicks;
DROP FUNCTION encoded, two;

-- long texts can be cancelled
CREATE TABLE spaces AS SELECT repeat(' ', 100000000) AS t;
SET statement_timeout = '100ms';
DO $$
DECLARE
	began timestamptz := clock_timestamp();
BEGIN
	PERFORM length(ds_clean(t)) FROM spaces;
	RAISE 'cleaning was faster than this test expects';
EXCEPTION WHEN query_canceled THEN
	IF clock_timestamp() - began > interval '1.5 s' THEN RAISE 'cancelled too late'; END IF;
END $$;
RESET statement_timeout;
DROP TABLE spaces;
