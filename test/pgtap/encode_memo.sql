-- A constant text is encoded at most once by a process, whatever the plan;
-- training is repeatable; errors carry their SQLSTATE.
BEGIN;
SET client_min_messages = warning;
SELECT plan(46);

CREATE TABLE products (id int PRIMARY KEY, title text, emb embedding(16));
INSERT INTO products (id, title)
SELECT i, (ARRAY['红色', '蓝色', '黑色', '白色', 'green'])[i % 5 + 1] || (ARRAY['连衣裙', '衬衫', '外套', 'shoes'])[i % 4 + 1] || '新款' || i
FROM generate_series(1, 2000) i;
SELECT ds_create_model('shop', '{"embedding": {"dims": 32}, "dense": [16], "tokenizer": {"vocabulary": 2048, "buckets": 256}}');
CALL ds_train('shop', 'SELECT left(title, 5), title FROM products', '{"epochs": 2}');
CALL ds_encode_table('products', 'title', 'emb');
CREATE INDEX products_emb ON products USING deepsearch (emb);
ANALYZE products;

CREATE FUNCTION encoded(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE before bigint := ds_encode_count();
BEGIN
	EXECUTE query;
	RETURN ds_encode_count() - before;
END $$;
CREATE FUNCTION explained(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; lines text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP lines := lines || line || E'\n'; END LOOP;
	RETURN lines;
END $$;

-- each plan with a text of its own
SET enable_seqscan = off;
SELECT matches(explained($$SELECT id FROM products ORDER BY emb <=> ds_encode('plan 1') LIMIT 10$$), 'Index Scan using products_emb', 'an index scan');
SELECT is(encoded($$SELECT id FROM products ORDER BY emb <=> ds_encode('text 1') LIMIT 10$$), 1::bigint, 'an index scan with its recheck encodes once');
SELECT is(encoded($$SELECT id, emb <=> ds_encode('text 1b') FROM products WHERE emb <=> ds_encode('text 1b') < 3 ORDER BY emb <=> ds_encode('text 1b') LIMIT 10$$), 1::bigint, 'and so at three places');
RESET enable_seqscan;
SET enable_indexscan = off;
SELECT matches(explained($$SELECT id FROM products ORDER BY emb <=> ds_encode('plan 2') LIMIT 10$$), 'Seq Scan', 'a sequential scan');
SELECT is(encoded($$SELECT id FROM products ORDER BY emb <=> ds_encode('text 2') LIMIT 10$$), 1::bigint, 'a sequential scan encodes once');
SELECT is(encoded($$SELECT count(*) FROM products WHERE emb <=> ds_encode('text 3') < 0.5$$), 1::bigint, 'a filter');
SELECT is(encoded($$SELECT count(*) FROM products a, products b WHERE a.id < 20 AND b.id < 20 AND a.emb <=> ds_encode('text 4') < b.emb <=> ds_encode('text 4')$$), 1::bigint, 'a nested loop');
SELECT is(encoded($$SELECT count(*) FROM generate_series(1, 20) i, LATERAL (SELECT id FROM products ORDER BY emb <=> ds_encode('text 5') LIMIT i) x$$), 1::bigint, 'a lateral subquery, rescanned');
SELECT is(encoded($$SELECT count(*) FROM generate_series(1, 20) i, LATERAL (SELECT id FROM products ORDER BY emb <=> ds_encode('lateral ' || i % 4) LIMIT 3) x$$), 4::bigint, 'a lateral subquery with four texts');
SELECT is(encoded($$SELECT id, ds_encode('text 6', 'shop', 'query') FROM products GROUP BY id, ds_encode('text 6') HAVING ds_dims(ds_encode('text 6', 'shop')) = 16$$), 1::bigint, 'grouping; other forms of the same question');
RESET enable_indexscan;
PREPARE search (text) AS SELECT id FROM products ORDER BY emb <=> ds_encode($1) LIMIT 10;
SELECT is(encoded($$EXECUTE search ('text 7')$$) + encoded($$EXECUTE search ('text 7')$$), 1::bigint, 'a prepared statement, twice');
SET plan_cache_mode = force_generic_plan;
SELECT is(encoded($$EXECUTE search ('text 8')$$), 1::bigint, 'with a generic plan');
RESET plan_cache_mode;
SET deepsearch.encode_cache = 0;
SET enable_indexscan = off;
SELECT is(encoded($$SELECT id FROM products ORDER BY emb <=> ds_encode('text 9') LIMIT 10$$), 1::bigint, 'once even without memory: the call site remembers');
RESET enable_indexscan;
RESET deepsearch.encode_cache;

-- parallel workers: the leader's count grows by one at most, and all agree
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
SET enable_indexscan = off;
SELECT matches(explained($$SELECT id FROM products ORDER BY emb <=> ds_encode('plan 10') LIMIT 10$$), 'Gather', 'a parallel plan');
SELECT cmp_ok(encoded($$SELECT id FROM products ORDER BY emb <=> ds_encode('text 10') LIMIT 10$$), '<=', 1::bigint, 'the leader of a parallel scan encodes once at most');
CREATE TEMP TABLE parallel_answer AS SELECT array_agg(id ORDER BY d, id) AS ids FROM (SELECT id, emb <=> ds_encode('红色') AS d FROM products ORDER BY 2, 1 LIMIT 10) x;
SET max_parallel_workers_per_gather = 0;
SELECT is((SELECT ids FROM parallel_answer), (SELECT array_agg(id ORDER BY d, id) FROM (SELECT id, emb <=> ds_encode('红色') AS d FROM products ORDER BY 2, 1 LIMIT 10) x), 'workers answer as the leader');
RESET enable_indexscan;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;

-- how the functions are declared
SELECT is(count(*), 8::bigint, 'eight forms of ds_encode: stable, parallel safe, strict, expensive')
FROM pg_proc WHERE proname = 'ds_encode' AND provolatile = 's' AND proparallel = 's' AND proisstrict AND procost >= 1000;
SELECT is(count(*), 0::bigint, 'every object of the extension has a comment: ' || coalesce(string_agg(pg_describe_object(classid, objid, 0), ', '), ''))
FROM pg_depend d WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'deepsearch') AND deptype = 'e'
	AND classid IN ('pg_proc'::regclass, 'pg_class'::regclass) AND obj_description(objid, classid::regclass::name) IS NULL;
SELECT is(count(*), 0::bigint, 'the tables are closed to everyone: ' || coalesce(string_agg(relname, ', '), ''))
FROM pg_class WHERE relkind IN ('r', 'S') AND relname LIKE 'ds\_%'
	AND (has_table_privilege('pg_monitor', oid, 'SELECT') OR has_table_privilege('pg_monitor', oid, 'INSERT') OR has_table_privilege('pg_monitor', oid, 'UPDATE') OR has_table_privilege('pg_monitor', oid, 'DELETE'));
SELECT is((SELECT attstorage FROM pg_attribute WHERE attrelid = 'ds_tensor'::regclass AND attname = 'data'), 'e', 'chunks are stored without compression');
SELECT is((SELECT array_agg(x::regclass::text ORDER BY x::regclass::text) FROM pg_extension, unnest(extconfig) x WHERE extname = 'deepsearch'),
	ARRAY['ds_model', 'ds_model_id_seq', 'ds_model_version', 'ds_tensor', 'ds_training_metric', 'ds_training_run', 'ds_training_run_id_seq', 'ds_training_step'], 'what pg_dump takes along');

-- repeatable: the weights depend on seed and data, not on what the server did before or how much memory it may use
CREATE FUNCTION weights(name text) RETURNS text LANGUAGE sql AS $$
	SELECT md5(string_agg(t.name || t.chunk || md5(t.data), ',' ORDER BY t.name, t.chunk)) FROM ds_tensor t JOIN ds_model m ON m.id = t.model AND m.version = t.version WHERE m.name = $1 $$;
SELECT lives_ok(format($$CALL ds_train(%L, 'SELECT left(title, 5), title, (ARRAY[title, NULL])[id %% 2 + 1] FROM products', %L)$$, name, options), name)
FROM (VALUES ('one', '{"epochs": 2, "seed": 3}'), ('two', '{"epochs": 2, "seed": 3}'), ('three', '{"epochs": 2, "seed": 4}')) v (name, options);
SELECT is(weights('one'), weights('two'), 'the same seed gives the same weights');
SELECT isnt(weights('one'), weights('three'), 'another seed gives others');
-- from here on with the same vocabulary: pairs in memory, and in a temporary file
SELECT lives_ok($$CALL ds_train('one', 'SELECT left(title, 5), title FROM products, generate_series(1, 5)', '{"epochs": 1}')$$, 'pairs in memory');
SET maintenance_work_mem = '1MB';
SELECT lives_ok($$CALL ds_train('two', 'SELECT left(title, 5), title FROM products, generate_series(1, 5)', '{"epochs": 1}')$$, 'pairs in a file');
RESET maintenance_work_mem;
SELECT is(weights('one'), weights('two'), 'give the same weights');
-- learned
SET LOCAL deepsearch.model = 'shop';
SELECT cmp_ok((SELECT avg((emb <=> ds_encode('红色衬衫') < 0.3)::int) FROM products WHERE title ~ '红色衬衫'), '>', (SELECT avg((emb <=> ds_encode('红色衬衫') < 0.3)::int) FROM products WHERE title !~ '红色|衬衫'), 'near what belongs together');
SELECT is((SELECT sum(loss) FILTER (WHERE epoch = 1) > sum(loss) FILTER (WHERE epoch = 2) FROM ds_training_steps WHERE model = 'shop'), true, 'the loss falls');

-- SQLSTATEs
SET LOCAL deepsearch.model = '';
SELECT throws_ok($$SELECT ds_create_model('x', '{"tower": 1}')$$, '22023', NULL, 'unknown key');
SELECT throws_ok($$SELECT ds_create_model('x', '{"tokenizer": {"cjk_max": 9}}')$$, '22023', NULL, 'value out of range');
SELECT throws_ok($$SELECT ds_create_model('')$$, '42602', NULL, 'no name');
SELECT throws_ok($$SELECT ds_create_model('shop')$$, '42710', NULL, 'a name that is taken');
SELECT throws_ok($$SELECT ds_encode('a', 'nowhere')$$, '42704', NULL, 'no such model');
SELECT throws_ok($$SELECT ds_encode('a')$$, '42P08', NULL, 'several models, no default');
SELECT throws_ok($$SELECT ds_encode('a', 'shop', 'left')$$, '22023', NULL, 'no such side');
SELECT ds_create_model('untrained');
SELECT throws_ok($$SELECT ds_encode('a', 'untrained')$$, '55000', NULL, 'not trained');
SELECT throws_ok($$CALL ds_train('shop', 'SELECT 1')$$, '42804', NULL, 'wrong columns');
SELECT throws_ok($$CALL ds_train('shop', 'DELETE FROM products RETURNING title, title')$$, '42601', NULL, 'no SELECT');
SELECT throws_ok($$CALL ds_train('shop', NULL)$$, '22004', NULL, 'NULL source');
SELECT throws_ok($$CALL ds_encode_table('products', 'title', 'id', 'shop')$$, '42804', NULL, 'a target of another type');
SELECT throws_ok($$CALL ds_encode_table('products', 'title', 'nowhere', 'shop')$$, '42703', NULL, 'no such target');
CREATE ROLE pgtap_ds_stranger;
GRANT SELECT ON products TO pgtap_ds_stranger;
SET ROLE pgtap_ds_stranger;
SELECT throws_ok($$SELECT ds_encode('a', 'shop')$$, '42501', NULL, 'no right to use the model');
SELECT throws_ok($$SELECT ds_drop_model('shop')$$, '42501', NULL, 'no right to drop it');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
