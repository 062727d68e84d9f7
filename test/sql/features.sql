-- Models on given features: dense heads, two towers of them.
SET client_min_messages = warning;
CREATE FUNCTION numbers(seed text, n int) RETURNS real[] IMMUTABLE LANGUAGE sql AS $$
	SELECT array_agg(((hashtext(seed || i)::bigint & 1048575) / 1048576.0 - 0.5)::real ORDER BY i) FROM generate_series(1, n) i $$;
-- what belongs together has nothing in common that could be seen
CREATE TABLE pairs AS SELECT i AS id, numbers('q' || i, 48)::embedding AS q, numbers('d' || i, 32) AS d, numbers('d' || i % 100 + 1, 32) AS no FROM generate_series(1, 100) i;
ALTER TABLE pairs ADD PRIMARY KEY (id);
SELECT ds_create_model('heads', '{"features": 48, "dense": [64, 16], "towers": "separate", "document": {"features": 32, "dense": [16], "relu": true},
	"training": {"epochs": 60, "batch_size": 50, "learning_rate": 0.01}}');
SELECT ds_model_config('heads') - 'training' AS config;
CALL ds_train('heads', 'SELECT q, d FROM pairs ORDER BY id');
SELECT name, family, dims, parameters FROM ds_models;
SELECT name, shape FROM ds_tensor ORDER BY name;

-- encoding: the type, its text, an array's text; the table; a trigger
SELECT ds_norm(ds_encode(q, 'heads')) BETWEEN 0.9999 AND 1.0001 AS length_one, ds_encode(q::text, 'heads') = ds_encode(q, 'heads') AS text,
	ds_encode(q::real[]::text, 'heads') = ds_encode(q, 'heads') AS array, ds_encode(ARRAY[q::text, NULL], 'heads') = ARRAY[ds_encode(q, 'heads'), NULL] AS texts,
	ds_encode(NULL::embedding, 'heads') IS NULL AS null FROM pairs WHERE id = 1;
ALTER TABLE pairs ADD emb embedding(16);
CREATE FUNCTION found(model text) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM pairs p WHERE id = (SELECT o.id FROM pairs o ORDER BY o.emb <=> ds_encode(p.q, model) LIMIT 1) $$;
CALL ds_encode_table('pairs', 'd', 'emb', 'heads');
SELECT count(*) FROM pairs WHERE emb = ds_encode(d::embedding, 'heads', 'document');
SELECT min(x) >= 0 AS relu FROM pairs, unnest(emb::real[]) x;
SELECT found('heads') > 90 AS found;
CREATE TRIGGER encode BEFORE INSERT OR UPDATE ON pairs FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger('d', 'emb', 'heads');
UPDATE pairs SET d = numbers('other', 32) WHERE id = 7;
SELECT emb = ds_encode(numbers('other', 32)::embedding, 'heads', 'document') AS follows FROM pairs WHERE id = 7;
DROP TRIGGER encode ON pairs;
UPDATE pairs SET d = numbers('d7', 32), emb = NULL WHERE id = 7;
CALL ds_encode_table('pairs', 'd', 'emb', 'heads');

-- documents stay where the query tower alone is trained; by steps, too
CREATE VIEW sums AS SELECT version, md5(string_agg(md5(name || chunk || data), '' ORDER BY name, chunk)) AS sum FROM ds_tensor WHERE name NOT LIKE '%#%' GROUP BY version;
CALL ds_train('heads', 'SELECT q, d, no FROM pairs ORDER BY id', '{"freeze": "document", "epochs": 10}');
SELECT count(*) FROM pairs WHERE emb = ds_encode(d::embedding, 'heads', 'document');
SELECT found('heads') > 90 AS found;
SELECT version, step, pairs, skipped, loss > 0 AS loss FROM ds_train_step('heads', (SELECT array_agg(q::text ORDER BY id) FROM pairs), (SELECT array_agg(d::text ORDER BY id) FROM pairs),
	options => '{"freeze": "document"}');
SELECT count(*) FROM pairs WHERE emb = ds_encode(d::embedding, 'heads', 'document');
SELECT count(DISTINCT sum) FROM sums;

-- the same weights for any number of workers, for vectors of any form; several documents a row
CALL ds_train('heads', 'SELECT q, d FROM pairs ORDER BY id', '{"from_scratch": true, "epochs": 3, "workers": 1, "keep_versions": 1}');
CALL ds_train('heads', 'SELECT q::real[], d::embedding FROM pairs ORDER BY id', '{"from_scratch": true, "epochs": 3, "workers": 2}');
CALL ds_train('heads', 'SELECT q::text, d::text FROM pairs ORDER BY id', '{"from_scratch": true, "epochs": 3, "workers": 1, "keep_versions": 3}');
SELECT count(*), count(DISTINCT sum) FROM sums;
CALL ds_train('heads', 'SELECT q, ARRAY[d::embedding, no::embedding], ARRAY[1, 0.2] AS label FROM pairs ORDER BY id', '{"loss": "margin_mse", "matryoshka": [8, 16], "epochs": 1}');

-- one tower for both; on what another model has made of texts
SELECT ds_create_model('words', '{"tokenizer": {"vocabulary": 512, "buckets": 64}, "dense": [], "embedding": {"dims": 32}}');
CALL ds_train('words', 'SELECT ''query '' || i, ''document '' || i FROM generate_series(1, 40) i ORDER BY i', '{"epochs": 1}');
SELECT ds_create_model('head', '{"features": 32, "dense": [8]}');
CALL ds_train('head', $$SELECT ds_encode('query ' || i, 'words'), ds_encode('document ' || i, 'words', 'document') FROM generate_series(1, 40) i ORDER BY i$$, '{"epochs": 20}');
SELECT ds_dims(ds_encode(ds_encode('query 7', 'words'), 'head'));

-- what is wrong
SELECT ds_encode('[1,2]', 'heads');
SELECT ds_encode('[1,2]'::embedding, 'heads');
SELECT ds_encode('[1,2]'::embedding, 'heads', 'side');
SELECT ds_encode('red dress', 'heads');
SELECT ds_encode('{1,NULL}', 'heads');
SELECT ds_encode('{1,NaN}', 'heads');
SELECT ds_encode('[1,2]'::embedding, 'words');
SELECT ds_tokenize('x', 'heads');
CALL ds_train('heads', 'SELECT q, q FROM pairs');
CALL ds_train('heads', 'SELECT q, id FROM pairs');
CALL ds_train('heads', 'SELECT q, CASE WHEN id = 50 THEN ''{1}'' ELSE d END FROM pairs ORDER BY id');
CALL ds_train('heads', 'SELECT q, CASE WHEN id = 50 THEN ''{{1},{2}}'' ELSE d END FROM pairs ORDER BY id');
CALL ds_train('heads', 'SELECT q, ''text'' FROM pairs');
CALL ds_train('heads', 'SELECT q, d FROM pairs', '{"feature_dropout": 0.1}');
CALL ds_train('words', 'SELECT q, d FROM pairs');
SELECT ds_create_model('x', '{"features": 3, "pooling": "mean"}');
SELECT ds_create_model('x', '{"features": 3, "towers": "separate", "query": {"tokenizer": {}}}');
SELECT ds_create_model('x', '{"features": 3, "dense": []}');
SELECT ds_create_model('x', '{"features": 100000}');
SELECT ds_create_model('x', '{"relu": true}');
SELECT ds_create_model('x', '{"towers": "separate", "query": {"features": 3}}');
SELECT ds_drop_model(name) FROM ds_models;
DROP TABLE pairs;
DROP VIEW sums;
DROP FUNCTION numbers, found;
