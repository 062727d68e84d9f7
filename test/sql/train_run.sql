-- Training: what a batch is, evaluation and early stopping, frozen parts, labels and weights, the drawing.
SET client_min_messages = warning;
CREATE TABLE clicks (id serial, query text, title text);
INSERT INTO clicks (query, title) SELECT
	(ARRAY['红色', '蓝色', '黑色', '白色', 'red', 'blue'])[i % 6 + 1] || (ARRAY['连衣裙', '衬衫', '鞋', 'shirt'])[i % 4 + 1],
	(ARRAY['红色', '蓝色', '黑色', '白色', 'red', 'blue'])[i % 6 + 1] || ' 新款 ' || (ARRAY['连衣裙', '衬衫', '鞋', 'shirt'])[i % 4 + 1] || i
FROM generate_series(1, 240) i;
SELECT ds_create_model('small', '{"embedding": {"dims": 16}, "dense": [8], "tokenizer": {"vocabulary": 1024, "buckets": 128},
	"training": {"epochs": 2, "batch_size": 32}}');

-- a batch
CREATE TABLE b AS SELECT * FROM ds_training_batch('SELECT query, title FROM clicks ORDER BY id', 10, duplicates => 'never');
SELECT count(*), count(DISTINCT query), count(DISTINCT source_row), min(place), max(place) FROM b;
SELECT bool_and(c.query = b.query AND c.title = b.positive) AS rows_match FROM b JOIN clicks c ON c.id = source_row;
SELECT bool_and(negatives IS NULL AND labels IS NULL AND weight = 1) FROM b;
TRUNCATE b;
INSERT INTO b SELECT * FROM ds_training_batch('SELECT query, title FROM clicks ORDER BY id', 10);
-- it can be repeated; other seeds, batches and epochs are others
SELECT count(*) FROM (SELECT * FROM b EXCEPT SELECT * FROM ds_training_batch('SELECT query, title FROM clicks ORDER BY id', 10)) x;
SELECT count(*) > 5 AS other FROM (SELECT source_row FROM b EXCEPT SELECT source_row FROM ds_training_batch('SELECT query, title FROM clicks ORDER BY id', 10, 2)) x;
SELECT count(*) = 10 AS other FROM (SELECT source_row FROM b EXCEPT SELECT source_row FROM ds_training_batch('SELECT query, title FROM clicks ORDER BY id', 10, 1, 2)) x;
SELECT count(*) > 5 AS other FROM (SELECT source_row FROM b EXCEPT SELECT source_row FROM ds_training_batch('SELECT query, title FROM clicks ORDER BY id', 10, 1, 1, 2)) x;
-- all batches of an epoch have each pair once
SELECT count(*), count(DISTINCT source_row) FROM generate_series(1, 24) n, ds_training_batch('SELECT query, title FROM clicks ORDER BY id', 10, 1, n);
SELECT count(*) FROM ds_training_batch('SELECT query, title FROM clicks ORDER BY id', 10, 1, 25);
-- duplicates: equal texts, and documents that another pair calls a positive
CREATE TABLE few (query text, title text, no text);
INSERT INTO few VALUES ('a', '1', 'x'), ('A ', '2', 'x'), ('b', '2', 'x'), ('c', '3', '1'), ('d', '4', 'y'), ('e', '5', 'z');
CREATE FUNCTION wrong_negatives(duplicates text, size int) RETURNS TABLE (batch int, pairs bigint, wrong bigint) LANGUAGE sql AS $$
	SELECT n, count(DISTINCT q.place), count(*) FILTER (WHERE q.place <> d.place AND EXISTS (
		SELECT FROM few WHERE trim(lower(few.query)) = trim(lower(q.query)) AND (few.title = d.positive OR few.title = ANY (d.negatives))))
	FROM generate_series(1, 6) n, ds_training_batch('SELECT * FROM few', size, 1, n, 1, duplicates) q,
		ds_training_batch('SELECT * FROM few', size, 1, n, 1, duplicates) d GROUP BY n ORDER BY n $$;
SELECT sum(pairs), sum(wrong) FROM wrong_negatives('never', 3);
SELECT sum(pairs) FROM wrong_negatives('avoid', 3);
SELECT sum(pairs), sum(wrong) > 0 AS wrong FROM wrong_negatives('allow', 6);
SELECT place, source_row, query, positive, negatives, labels, weight FROM
	ds_training_batch($$SELECT query, ARRAY[title, 'other'] AS titles, no, ARRAY[3, 1, 0.5] AS label, length(query) AS weight FROM few WHERE query < 'c'$$, 3) ORDER BY source_row;
-- what is wrong
SELECT * FROM ds_training_batch('SELECT query FROM clicks');
SELECT * FROM ds_training_batch('DELETE FROM clicks');
SELECT * FROM ds_training_batch('SELECT query, title FROM clicks', 0);
SELECT * FROM ds_training_batch(NULL);
SELECT * FROM ds_training_batch('SELECT query, title FROM clicks', duplicates => 'maybe');
SELECT * FROM ds_training_batch('SELECT query, title, title AS label FROM clicks');
SELECT * FROM ds_training_batch('SELECT query, title, ARRAY[1, 2] AS label FROM clicks');
SELECT * FROM ds_training_batch('SELECT query, title, -1 AS weight FROM clicks');
SELECT * FROM ds_training_batch($$SELECT query, title, 'NaN'::float AS label FROM clicks$$);
SELECT count(*) FROM ds_training_batch('SELECT query, title FROM clicks WHERE false');

-- evaluation: the query sees the weights of the moment as the model
CREATE FUNCTION similar_to(wanted text) RETURNS float LANGUAGE sql AS $$
	SELECT avg(1 - (ds_encode(query, 'small') <=> ds_encode(title, 'small', 'document'))) FROM clicks WHERE query LIKE wanted $$;
CALL ds_train('small', 'SELECT query, title FROM clicks ORDER BY id', '{"evaluate": "SELECT similar_to(''红%'') AS red, similar_to(''blue%'') AS blue, ''text'' AS other", "epochs": 3}');
SELECT name, place, count(*), min(step), max(step), count(*) FILTER (WHERE best) > 0 AS best FROM ds_training_metrics GROUP BY 1, 2 ORDER BY 2;
SELECT r.state, r.version, r.metric = m.value AS same, r.best_step = m.step AS same_step
FROM ds_training_runs r, LATERAL (SELECT * FROM ds_training_metrics m WHERE m.run = r.run AND m.place = 1 ORDER BY value DESC LIMIT 1) m;
-- the version is the best one: its metric is that of the run
SELECT round(similar_to('红%')::numeric, 9) = round(metric::numeric, 9) AS kept_best FROM ds_training_runs;
SELECT count(*) FROM ds_model_version;
-- a metric that never gets better: the first weights stay, and it stops
CREATE SEQUENCE calls;
CREATE VIEW sums AS SELECT version, md5(string_agg(md5(name || chunk || data), '' ORDER BY name, chunk)) AS sum FROM ds_tensor WHERE name <> 'log_scale' GROUP BY version;
CALL ds_train('small', 'SELECT query, title FROM clicks ORDER BY id', '{"evaluate": "SELECT 1", "epochs": 50, "patience": 3}');
SELECT state, best_step, step, steps, checkpoint_step FROM ds_training_runs ORDER BY run DESC LIMIT 1;
SELECT count(DISTINCT sum) AS same_as_before FROM sums;
CALL ds_train('small', 'SELECT query, title FROM clicks ORDER BY id', '{"evaluate": "SELECT loss FROM (SELECT similar_to(''%'') AS loss) l", "goal": "min", "evaluate_steps": 5, "epochs": 2}');
SELECT count(*), bool_and(step % 5 = 0 OR step = 16) AS steps FROM ds_training_metrics WHERE run = (SELECT max(run) FROM ds_training_runs);
-- in a transaction block, for a model that is not there yet
BEGIN;
CALL ds_train('block', 'SELECT query, title FROM clicks', '{"epochs": 2, "evaluate": "SELECT ds_norm(ds_encode(''red'', ''block''))"}');
SELECT count(*) FROM ds_training_metrics WHERE model = 'block';
ROLLBACK;
-- evaluation queries that are none
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"evaluate": "DELETE FROM clicks"}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"evaluate": "SELECT nothing"}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"evaluate": "SELECT ''x''"}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"evaluate": "SELECT 1 WHERE false", "epochs": 1}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"evaluate": "SELECT id FROM clicks", "epochs": 1}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"evaluate": "SELECT NULL::int", "epochs": 1}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"evaluate": "SELECT ''Infinity''::float", "epochs": 1}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"evaluate": "SELECT nextval(''calls'')", "epochs": 1}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"patience": 2}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"evaluate": 1}');
SELECT state, count(*) FROM ds_training_runs GROUP BY 1 ORDER BY 1;

-- one tower alone: documents keep their embeddings
CREATE TABLE kept AS SELECT id, ds_encode(title, 'small', 'document') AS document, ds_encode(query, 'small') AS query FROM clicks;
CALL ds_train('small', 'SELECT query, title FROM clicks ORDER BY id', '{"freeze": "document", "epochs": 1}');
SELECT bool_and(ds_encode(title, 'small', 'document') = document) AS documents_stay, bool_and(ds_encode(c.query, 'small') <> k.query) AS queries_learn FROM clicks c JOIN kept k USING (id);
SELECT ds_model_config('small') ->> 'towers' AS towers;
CALL ds_train('small', 'SELECT query, title FROM clicks ORDER BY id', '{"freeze": ["document", "*.embedding"], "rates": {"query.dense": 0.5}, "epochs": 1, "workers": 2}');
SELECT bool_and(ds_encode(title, 'small', 'document') = document) AS documents_stay FROM clicks c JOIN kept k USING (id);
SELECT options -> 'freeze' AS freeze, options -> 'rates' AS rates FROM ds_training_runs ORDER BY run DESC LIMIT 1;
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"freeze": "documents"}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"freeze": 1}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"rates": {"query": -1}}');
CALL ds_train('new', 'SELECT query, title FROM clicks', '{"freeze": "document"}');

-- losses, optimizers and schedules by name; labels and weights
SELECT ds_drop_model('small');
SELECT ds_create_model('small', '{"embedding": {"dims": 16}, "dense": [8], "tokenizer": {"vocabulary": 1024, "buckets": 128}, "training": {"epochs": 1, "batch_size": 32}}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"optimizer": "sgd", "momentum": 0.9, "schedule": "cosine", "warmup_steps": 3, "accumulate": 2}');
SELECT steps, step FROM ds_training_runs ORDER BY run DESC LIMIT 1;
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"optimizer": "adam", "schedule": "linear", "matryoshka": [4, 8]}');
CALL ds_train('small', 'SELECT query, title, reverse(title) FROM clicks', '{"loss": "triplet", "schedule": "constant"}');
CALL ds_train('small', 'SELECT query, title, id % 2 AS label FROM clicks', '{"loss": "binary", "balance": true}');
CALL ds_train('small', 'SELECT query, title, 0.5 AS label, 1 + id % 3 AS weight FROM clicks', '{"loss": "regression"}');
CALL ds_train('small', $$SELECT query, title, ARRAY['x', 'y'], ARRAY[1, 0.2, 0.1] AS label FROM clicks$$, '{"loss": "margin_mse"}');
SELECT state, count(*), bool_and(loss > 0) AS loss FROM ds_training_runs WHERE run > (SELECT max(run) - 6 FROM ds_training_runs) GROUP BY 1;
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"loss": "binary"}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"loss": "triplet"}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"loss": "classes"}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"balance": true}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"matryoshka": [1000]}');
CALL ds_train('small', 'SELECT query, title FROM clicks', '{"workers": 5}');

-- what the source calls right is no negative, whatever batch it stands in: here nothing is left to compare
CALL ds_train('small', $$SELECT 'query ' || q, 'document ' || d FROM generate_series(1, 3) q, generate_series(1, 4) d ORDER BY q, d$$,
	'{"duplicates": "allow", "batch_size": 3, "loss": "cross_entropy", "symmetric": true, "epochs": 5, "from_scratch": true}');
SELECT count(*) AS steps, max(loss) = 0 AS nothing_wrong FROM ds_training_steps WHERE run = (SELECT max(run) FROM ds_training_runs);
CALL ds_train('small', $$SELECT 'query ' || q, 'document ' || d, 'document ' || 5 - d FROM generate_series(1, 3) q, generate_series(1, 4) d ORDER BY q, d$$,
	'{"duplicates": "avoid", "batch_size": 6, "loss": "cross_entropy", "epochs": 5}');
SELECT count(*) > 0 AS steps, min(loss) > 0 AS named_ones_count FROM ds_training_steps WHERE run = (SELECT max(run) FROM ds_training_runs);
CALL ds_train('small', $$SELECT 'query ' || q, 'document ' || d FROM generate_series(1, 3) q, generate_series(1, 4) d WHERE (q, d) <> (2, 3) ORDER BY q, d$$,
	'{"duplicates": "allow", "batch_size": 11, "epochs": 2}');
SELECT count(*) AS steps, min(loss) > 0 AS one_is_wrong FROM ds_training_steps WHERE run = (SELECT max(run) FROM ds_training_runs);

-- the drawing
CALL ds_train('a<b', 'SELECT query, title FROM clicks', '{"epochs": 3, "evaluate": "SELECT 0.5 AS \"p&q\", 2 AS two"}');
CREATE TABLE drawing AS SELECT ds_plot_run(max(run)) AS svg FROM ds_training_runs;
SELECT xml_is_well_formed_document(svg) AS well_formed, svg ~ 'a&lt;b' AS name, svg ~ 'p&amp;q' AS metric,
	svg ~ 'Loss' AND svg ~ 'Learning rate' AND svg ~ 'Gradient norm' AND svg ~ 'Evaluation' AS panels FROM drawing;
SELECT ds_plot_run(-1);
CREATE ROLE regress_ds_plot;
SET ROLE regress_ds_plot;
SELECT ds_plot_run(1);
SELECT count(*) FROM ds_training_metrics;
RESET ROLE;
SELECT ds_drop_model(name) FROM ds_models;
SELECT count(*) FROM ds_training_metric;
DROP TABLE clicks, few, b, kept, drawing;
DROP VIEW sums;
DROP SEQUENCE calls;
DROP FUNCTION wrong_negatives, similar_to;
DROP ROLE regress_ds_plot;
