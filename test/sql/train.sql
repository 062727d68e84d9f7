-- Training: sources, options, the record.
SET client_min_messages = warning;
CREATE TABLE clicks (query text, title varchar, other name, n int);
INSERT INTO clicks SELECT
	(ARRAY['红色', '蓝色', '黑色', '白色', 'red', 'blue'])[i % 6 + 1] || (ARRAY['连衣裙', '衬衫', '鞋', 'shirt'])[i % 4 + 1],
	(ARRAY['红色', '蓝色', '黑色', '白色', 'red', 'blue'])[i % 6 + 1] || ' 新款 ' || (ARRAY['连衣裙', '衬衫', '鞋', 'shirt'])[i % 4 + 1] || i,
	'other' || i % 7, i
FROM generate_series(1, 240) i;
INSERT INTO clicks VALUES (NULL, 'no query'), ('no title', NULL), ('', 'empty'), ('...', '!!!');
SELECT ds_create_model('small', '{"embedding": {"dims": 16}, "dense": [8], "tokenizer": {"vocabulary": 1024, "buckets": 128},
	"training": {"epochs": 2, "batch_size": 32}}');

-- sources that are none
CALL ds_train('small', '');
CALL ds_train('small', 'SELEC');
CALL ds_train('small', 'SELECT query FROM clicks');
CALL ds_train('small', 'SELECT query, title, other, title FROM clicks');
CALL ds_train('small', 'SELECT query, n FROM clicks');
CALL ds_train('small', 'SELECT query, n AS "My N" FROM clicks');
CALL ds_train('small', 'SELECT query, title FROM clicks; SELECT 1');
CALL ds_train('small', 'DELETE FROM clicks RETURNING query, title');
CALL ds_train('small', 'WITH d AS (DELETE FROM clicks RETURNING query, title) SELECT * FROM d');
CALL ds_train('small', 'SELECT query, title FROM clicks FOR UPDATE');
CALL ds_train('small', 'SHOW search_path');
CALL ds_train('small', 'SELECT query, title FROM nowhere');
CALL ds_train('small', 'SELECT query, title FROM clicks WHERE false');
CALL ds_train('small', 'SELECT query, title FROM clicks WHERE n = 1');
CALL ds_train('small', 'SELECT query, title FROM clicks WHERE n IS NULL');
CREATE FUNCTION writes() RETURNS text LANGUAGE plpgsql AS $$ BEGIN DELETE FROM clicks; RETURN 'x'; END $$;
CALL ds_train('small', 'SELECT query, writes() FROM clicks');
CREATE FUNCTION fails() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'no data today' USING ERRCODE = 'P1234'; END $$;
CALL ds_train('small', 'SELECT query, fails() FROM clicks');
SELECT count(*) FROM clicks;

-- options
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"epoch": 3}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"epochs": 0}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"loss": "hinge"}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"from_scratch": 1}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '[1]');
CALL ds_train('small', 'SELECT query, title FROM clicks', NULL);
CALL ds_train(NULL, 'SELECT query, title FROM clicks');
CALL ds_train('small', NULL);
CALL ds_train('', 'SELECT query, title FROM clicks');

-- what is left of all that: runs that failed, and no version
SELECT state, count(*), bool_and(finished IS NOT NULL) AS ended, bool_and(version IS NULL) AS none FROM ds_training_runs GROUP BY 1;
SELECT message FROM ds_training_runs WHERE source LIKE '%fails%';
SELECT version FROM ds_models;
SELECT count(*) FROM ds_model_version;

-- a training
CALL ds_train('small', 'SELECT query, title FROM clicks');
SELECT name, version, dims, "precision", parameters, size > 4 * parameters AS with_tokenizer, trained_by = current_user AS mine, trained_on, pairs FROM ds_models;
SELECT version, state, pairs, skipped, epochs, steps, step, loss > 0 AS loss, message FROM ds_training_runs ORDER BY run DESC LIMIT 1;
SELECT count(*), min(step), max(step), max(epoch), bool_and(loss > 0 AND learning_rate > 0 AND gradient_norm > 0 AND accuracy BETWEEN 0 AND 1) AS sane
FROM ds_training_steps WHERE run = (SELECT max(run) FROM ds_training_runs);
SELECT name, chunk, dtype, shape FROM ds_tensor WHERE name <> 'shared.tokenizer' ORDER BY name, chunk;
SELECT ds_dims(ds_encode('红色连衣裙')), round(ds_norm(ds_encode('红色连衣裙'))::numeric, 4);

-- it goes on from there, or anew; two versions stay
CREATE VIEW sums AS SELECT version, md5(string_agg(md5(name || chunk || data), '' ORDER BY name, chunk)) AS sum FROM ds_tensor GROUP BY version;
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"epochs": 1}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"from_scratch": true}');
SELECT version FROM ds_model_version ORDER BY 1;
SELECT DISTINCT version FROM ds_tensor ORDER BY 1;
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"from_scratch": true}');
SELECT count(DISTINCT sum) AS same_seed_same_weights FROM sums;
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"from_scratch": true, "seed": 2}');
SELECT count(DISTINCT sum) AS other_seed_other_weights FROM sums;
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"from_scratch": true, "keep_versions": 3}');
SELECT version FROM ds_model_version ORDER BY 1;
-- a tokenizer learned from other texts
CALL ds_train('small', 'SELECT ''abc'' || i, ''def'' || i FROM generate_series(1, 50) i', '{"from_scratch": true}');
SELECT ds_norm(ds_encode('红色连衣裙')) >= 0 AS still_encodes;

-- the other losses, explicit negatives, separate towers, dot
CALL ds_train('small', 'SELECT query, title, other FROM clicks', '{"loss": "contrastive", "margin": 1}');
CALL ds_train('small', 'SELECT query, title, CASE WHEN n % 3 = 0 THEN title END FROM clicks', '{"symmetric": true, "feature_dropout": 0.1}');
SELECT ds_create_model('two', '{"towers": "separate", "score": "dot", "embedding": {"dims": 8}, "dense": [12, 6], "tokenizer": {"vocabulary": 512, "buckets": 64}}');
CALL ds_train('two', 'SELECT query, title FROM clicks', '{"epochs": 1}');
SELECT t.name, shape FROM ds_tensor t JOIN ds_model m ON m.id = model WHERE m.name = 'two' AND dtype = 'f32' ORDER BY 1;
SELECT ds_encode('red shirt', 'two') <> ds_encode('red shirt', 'two', 'document') AS sides_differ;

-- in a transaction block: all or nothing
BEGIN;
CALL ds_train('block', 'SELECT query, title FROM clicks', '{"epochs": 1}');
SELECT ds_dims(ds_encode('red', 'block')), (SELECT count(*) FROM ds_training_steps WHERE model = 'block') > 0 AS steps;
ROLLBACK;
SELECT ds_encode('red', 'block');
SELECT count(*) FROM ds_training_runs WHERE model = 'block';
-- a version that never was is not remembered
CREATE TABLE kept AS SELECT ds_encode('red shirt', 'small') AS e, version FROM ds_models WHERE name = 'small';
BEGIN;
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"epochs": 1, "seed": 5}');
SELECT ds_encode('red shirt', 'small') <> e AS own_version FROM kept;
ROLLBACK;
SELECT ds_encode('red shirt', 'small') = e AS old_version FROM kept;
BEGIN;
SAVEPOINT s;
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"epochs": 1, "seed": 5}');
SELECT ds_encode('red shirt', 'small') <> e AS own_version FROM kept;
ROLLBACK TO s;
SELECT ds_encode('red shirt', 'small') = e AS old_version FROM kept;
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"epochs": 1, "seed": 6, "from_scratch": true}');
CREATE TEMP TABLE six AS SELECT ds_encode('red shirt', 'small') AS e;
COMMIT;
SELECT ds_encode('red shirt', 'small') = six.e AS six FROM six;
\c -
SET client_min_messages = warning;
SELECT ds_encode('red shirt', 'small') <> e AS new_version FROM kept;
DO $$ BEGIN CALL ds_train('in do', 'SELECT query, title FROM clicks', '{"epochs": 1}'); END $$;
SELECT version FROM ds_models WHERE name = 'in do';
BEGIN TRANSACTION READ ONLY;
CALL ds_train('small', 'SELECT query, title FROM clicks');
ROLLBACK;

-- who may look
CREATE ROLE regress_ds_train;
GRANT SELECT ON clicks TO regress_ds_train;
SET ROLE regress_ds_train;
SELECT count(*) FROM ds_training_runs;
SELECT count(*) FROM ds_training_run;
CALL ds_train('mine', 'SELECT query, title FROM clicks', '{"epochs": 1}');
SELECT model, state, started_by FROM ds_training_runs;
SELECT count(*) > 0 AS steps FROM ds_training_steps;
CALL ds_train('mine', 'SELECT query, e::text FROM clicks, kept', '{"epochs": 1}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"epochs": 1}');
RESET ROLE;
SELECT owner FROM ds_models WHERE name = 'mine';
SELECT ds_drop_model(name) FROM ds_models;
SELECT count(*) FROM ds_training_runs;
SELECT count(*) FROM ds_training_step;
SELECT count(*) FROM ds_tensor;
DROP TABLE clicks, kept;
DROP VIEW sums;
DROP FUNCTION writes, fails;
DROP ROLE regress_ds_train;
