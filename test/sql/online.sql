-- Online learning: ds_train_step, versions that wait, versions by name.
SET client_min_messages = warning;
CREATE TABLE clicks (n int PRIMARY KEY, query text, title text);
INSERT INTO clicks SELECT i, w || ' ' || g, g || ' in ' || w || ' no ' || i
FROM generate_series(1, 48) i,
	LATERAL (SELECT (ARRAY['red', 'blue', 'black', 'white', 'green', 'grey'])[i % 6 + 1] AS w,
		(ARRAY['dress', 'shirt', 'shoe', 'coat', 'skirt', 'hat', 'scarf', 'belt'])[i / 6 % 8 + 1] AS g) x;
SELECT ds_create_model('m', '{"embedding": {"dims": 16}, "dense": [8], "tokenizer": {"vocabulary": 1024, "buckets": 128},
	"training": {"epochs": 4, "batch_size": 16, "learning_rate": 0.01}}');
CREATE FUNCTION step(options jsonb DEFAULT '{}', model text DEFAULT 'm') RETURNS TABLE (version int, step bigint, pairs int, sane boolean) LANGUAGE sql AS $$
	SELECT s.version, s.step, s.pairs, s.loss > 0 AND s.accuracy BETWEEN 0 AND 1 AND s.gradient_norm > 0 AND s.learning_rate = 0.01::float8 AND s.skipped = 0
	FROM (SELECT array_agg(query ORDER BY n) AS q, array_agg(title ORDER BY n) AS t FROM clicks) c, ds_train_step(model, q, t, options => options) s $$;
CREATE FUNCTION gone(old text, new text, side text) RETURNS float8 LANGUAGE sql AS $$
	SELECT max(ds_encode(x, old, side) <-> ds_encode(x, new, side)) FROM (SELECT query AS x FROM clicks UNION SELECT title FROM clicks) t $$;

-- what is refused
SELECT ds_train_step('none', '{a,b}', '{x,y}');
SELECT ds_train_step('m', '{a,b}', '{x,y}');
CALL ds_train('m', 'SELECT query, title FROM clicks ORDER BY n');
SELECT ds_train_step('m', '{a,b}', '{x}');
SELECT ds_train_step('m', '{a,b}', '{x,y}', '{z}');
SELECT ds_train_step('m', '{a,b}', NULL);
SELECT ds_train_step('m', '{{a,b}}', '{x,y}');
SELECT ds_train_step('m', '{a}', '{x}');
SELECT ds_train_step(NULL, '{a,b}', '{x,y}');
SELECT ds_train_step('m', '{a,b}', '{x,y}', options => NULL);
SELECT ds_train_step('m', '{a,b}', '{x,y}', options => '{"epochs": 2}');
SELECT ds_train_step('m', '{a,b}', '{x,y}', options => '[]');
SELECT ds_train_step('m', '{a,b}', '{x,y}', options => '{"loss": "regression"}');
SELECT ds_train_step('m', '{a,b}', '{x,y}', options => '{"loss": "triplet"}');
SELECT version, step FROM ds_train_step('m', '{a,b}', '{x,y}', '{z,u}', options => '{"loss": "triplet"}');
SELECT ds_train_step('m', '{a,b}', '{x,y}', options => '{"freeze": "documents"}');
BEGIN READ ONLY;
SELECT ds_train_step('m', '{a,b}', '{x,y}');
ROLLBACK;
CREATE ROLE online_reader;
SELECT ds_grant_model('m', 'online_reader');
SET ROLE online_reader;
SELECT ds_train_step('m', '{a,b}', '{x,y}');
SELECT ds_use_version('m', 1);
SELECT model, version, current FROM ds_model_versions;
RESET ROLE;
-- nothing to do
SELECT * FROM ds_train_step('m', NULL, NULL);
SELECT * FROM ds_train_step('m', '{}', '{}');
SELECT version, step, pairs, skipped FROM ds_train_step('m', '{"", ..., NULL, a}', '{x, y, z, NULL}');
SELECT version, current, step, query_since, document_since FROM ds_model_versions;

-- one step: what it touches is written, and a rollback takes it back
BEGIN;
SELECT * FROM step();
SELECT gone('m@1', 'm', 'query') > 0.001 AS changed;
ROLLBACK;
SELECT version, current FROM ds_model_versions;
SELECT gone('m@2', 'm', 'query') = 0 AS as_before;
SELECT version, step, pairs, skipped FROM ds_train_step('m', '{red dress, blue coat, "", hat}', '{dress in red no 1, coat, x, NULL}',
	'{{shoe, NULL}, {hat, belt}, {a, b}, {c, d}}');
SELECT name, shape[1] BETWEEN 10 AND 100 AS few, shape[2] AS width FROM ds_tensor WHERE version = 3 AND name LIKE '%embedding%' ORDER BY name;
SELECT name, shape FROM ds_tensor WHERE version = 3 AND name NOT LIKE '%embedding%' ORDER BY name;
SELECT version, base, step FROM ds_model_version ORDER BY 1;

-- seventy steps are what a training of seventy steps is: the optimizer's state is kept, also where
-- chains of changes are folded
SELECT ds_use_version('m', 1);
CALL ds_train('m', 'SELECT query, title FROM clicks ORDER BY n',
	'{"epochs": 70, "batch_size": 48, "duplicates": "allow", "schedule": "constant", "activate": false}');
SELECT version, current FROM ds_model_versions ORDER BY 1;
SELECT min(s.step) AS first, max(s.step) AS last, bool_and(sane) AS sane, count(*) FROM generate_series(1, 70) i, step(CASE WHEN i > 0 THEN '{"keep_versions": 100}'::jsonb END) s;
SELECT count(*) FILTER (WHERE base IS NULL) >= 2 AS folded, count(*) FILTER (WHERE base IS NOT NULL) >= 10 AS changes FROM ds_model_version WHERE version > 4;
SELECT gone('m@1', 'm', 'query') > 0.3 AS changed, gone('m@4', 'm', 'query') < 1e-3 AS same_queries, gone('m@4', 'm', 'document') < 1e-3 AS same_documents;
-- another optimizer has a state of its own
SELECT step FROM step('{"optimizer": "sgd", "keep_versions": 100}');
SELECT count(*) FROM ds_tensor WHERE version = (SELECT max(version) FROM ds_model_version) AND name LIKE '%#sgd0';
-- chains go when nothing needs them
SELECT count(*) FROM generate_series(1, 20) i, step(CASE WHEN i > 0 THEN '{}'::jsonb END);
SELECT count(*) < 20 AS few, count(*) FILTER (WHERE base IS NULL) > 0 AS has_base FROM ds_model_version;
SELECT count(DISTINCT version) = (SELECT count(*) FROM ds_model_version) AS tensors_of_these FROM ds_tensor WHERE model > 0;

-- documents as they were: a table stays valid
CALL ds_train('m', 'SELECT query, title FROM clicks ORDER BY n', '{"from_scratch": true, "keep_versions": 1}');
ALTER TABLE clicks ADD emb embedding(8), ADD later embedding(8);
CALL ds_encode_table('clicks', 'title', 'emb', 'm');
SELECT version AS trained FROM ds_models \gset
SELECT bool_and(sane) AS sane FROM generate_series(1, 3) i, step(CASE WHEN i > 0 THEN '{"freeze": "document", "keep_versions": 9}'::jsonb END);
SELECT max(ds_encode(title, 'm', 'document') <-> emb) = 0 AS documents_stay FROM clicks;
SELECT max(ds_encode(query, 'm', 'query') <-> ds_encode(query, 'm@' || :trained, 'query')) > 0.01 AS queries_move FROM clicks;
SELECT version - :trained AS version, current, query_since - :trained AS query_since, document_since - :trained AS document_since FROM ds_model_versions ORDER BY 1;
UPDATE clicks SET emb = NULL WHERE n = 7;
CALL ds_encode_table('clicks', 'title', 'emb', 'm'); -- no warning: nothing is mixed
SELECT count(*) FROM clicks WHERE emb = ds_encode(title, 'm', 'document');
CALL ds_train('m', 'SELECT query, title FROM clicks ORDER BY n', '{"epochs": 1, "freeze": "document"}');
SELECT max(ds_encode(title, 'm', 'document') <-> emb) = 0 AS documents_stay FROM clicks;
SELECT DISTINCT document_since - :trained AS document_since FROM ds_model_versions;
SELECT sane FROM step();
UPDATE clicks SET emb = NULL WHERE n = 7;
CALL ds_encode_table('clicks', 'title', 'emb', 'm'); -- now it is

-- a version that waits, by name
SELECT version AS old FROM ds_models WHERE name = 'm' \gset
CALL ds_train('m', 'SELECT query, title FROM clicks ORDER BY n', '{"epochs": 1, "activate": false}');
SELECT max(version) AS new FROM ds_model_version \gset
SELECT version = :old AS old_answers FROM ds_models WHERE name = 'm';
SELECT gone('m', 'm@' || :old, 'query') = 0 AS same, gone('m', 'm@' || :new, 'query') > 0 AS other;
SELECT ds_encode('x', 'm@999');
SELECT ds_encode('x', 'm@');
SELECT ds_encode('x', 'm@0');
SELECT ds_encode('x', 'm@1x');
CALL ds_encode_table('clicks', 'title', 'later', 'm@' || :new);
SELECT ds_use_version('m', 999);
BEGIN;
SELECT ds_use_version('m', :new);
ALTER TABLE clicks RENAME emb TO before;
ALTER TABLE clicks RENAME later TO emb;
COMMIT;
SELECT max(ds_encode(title, 'm', 'document') <-> emb) = 0 AS valid FROM clicks;
-- and back
SELECT ds_use_version('m', :old);
SELECT gone('m', 'm@' || :new, 'query') > 0 AS back;
-- a step from there is no change of the newest one
SELECT version > :new AS newer FROM step('{"keep_versions": 9}');
SELECT gone('m', 'm@' || :old, 'query') BETWEEN 0.0001 AND 0.5 AS a_step_away, base FROM ds_model_version WHERE version = (SELECT max(version) FROM ds_model_version);
SELECT ds_drop_model('m');
DROP ROLE online_reader;
DROP TABLE clicks;
DROP FUNCTION step(jsonb, text), gone(text, text, text);
