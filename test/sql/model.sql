-- Models: configs, names, rights.
SET client_min_messages = warning;
\set VERBOSITY default
\set show 'SELECT jsonb_pretty(ds_model_config(''m'') - ''training'')'

-- every part has a default
SELECT ds_create_model('m');
:show;
SELECT ds_model_config('m') -> 'training';
SELECT name, family, dims, "precision", size, owner = current_user AS mine, readers, version FROM ds_models;

-- a complete config is a config with the same meaning
SELECT ds_create_model('again', ds_model_config('m'));
SELECT ds_model_config('again') = ds_model_config('m') AS same;
SELECT ds_create_model('towers', '{"towers": "separate", "dense": [64, 32], "score": "dot", "pooling": "sqrtn",
	"cleaning": {"strip_html": true}, "query": {"tokenizer": {"vocabulary": 5000, "buckets": 500}},
	"document": {"embedding": {"dims": 48}, "cleaning": {"fold_case": false}}, "training": {"seed": 7, "loss": "contrastive"}}');
SELECT jsonb_pretty(ds_model_config('towers') - 'training');
SELECT ds_create_model('towers again', ds_model_config('towers'));
SELECT ds_model_config('towers again') = ds_model_config('towers') AS same;
SELECT dims FROM ds_models WHERE name = 'towers';
SELECT ds_create_model('flat', '{"dense": [], "embedding": {"dims": 24}}');
SELECT dims FROM ds_models WHERE name = 'flat';
-- dot of normalised vectors is their cosine
SELECT ds_create_model('unit', '{"score": "dot", "normalize": true}');
SELECT ds_model_config('unit') -> 'score' AS score, ds_model_config('unit') -> 'normalize' AS normalize;

-- what a config may not say
SELECT ds_create_model('x', '[]');
SELECT ds_create_model('x', '1');
SELECT ds_create_model('x', '{"tower": "shared"}');
SELECT ds_create_model('x', '{"tokenizer": {"vocab": 10}}');
SELECT ds_create_model('x', '{"training": {"lr": 10}}');
SELECT ds_create_model('x', '{"towers": "separate", "query": {"training": {}}}');
SELECT ds_create_model('x', '{"towers": "both"}');
SELECT ds_create_model('x', '{"towers": 2}');
SELECT ds_create_model('x', '{"family": "bert"}');
SELECT ds_create_model('x', '{"tokenizer": {"kind": ""}}');
SELECT ds_create_model('x', '{"tokenizer": {"vocabulary": "many"}}');
SELECT ds_create_model('x', '{"tokenizer": {"vocabulary": 1.5}}');
SELECT ds_create_model('x', '{"tokenizer": {"vocabulary": 1e400}}');
SELECT ds_create_model('x', '{"tokenizer": {"vocabulary": -1}}');
SELECT ds_create_model('x', '{"tokenizer": {"vocabulary": 1000, "buckets": 2000}}');
SELECT ds_create_model('x', '{"tokenizer": {"word_min": 5, "word_max": 3}}');
SELECT ds_create_model('x', '{"tokenizer": {"words": 1}}');
SELECT ds_create_model('x', '{"tokenizer": []}');
SELECT ds_create_model('x', '{"tokenizer": null}');
SELECT ds_create_model('x', '{"embedding": {"dims": 0}}');
SELECT ds_create_model('x', '{"embedding": {"dims": 16001}}');
SELECT ds_create_model('x', '{"pooling": "max"}');
SELECT ds_create_model('x', '{"dense": 128}');
SELECT ds_create_model('x', '{"dense": {"0": 128}}');
SELECT ds_create_model('x', '{"dense": [128, 0]}');
SELECT ds_create_model('x', '{"dense": [1, 2, 3, 4, 5, 6, 7, 8, 9]}');
SELECT ds_create_model('x', '{"score": "cosine", "normalize": false}');
SELECT ds_create_model('x', '{"query": {"pooling": "sum"}}');
SELECT ds_create_model('x', '{"towers": "separate", "query": {"dense": [64]}}');
SELECT ds_create_model('x', '{"training": {"temperature": 0}}');
SELECT ds_create_model('x', '{"training": {"temperature": "NaN"}}');
SELECT ds_create_model('x', '{"training": {"decay": 1.5}}');
SELECT ds_create_model('x', '{"training": {"feature_dropout": 1}}');
SELECT ds_create_model('x', '{"training": {"loss": "hinge"}}');
SELECT ds_create_model('x', '{"training": {"seed": -1}}');
SELECT ds_create_model('');
SELECT ds_create_model(repeat('x', 201));
SELECT ds_create_model('m');
SELECT ds_create_model(NULL) IS NULL AS nothing;
SELECT count(*) FROM ds_models WHERE name = 'x';

-- names that are not there, models that are not trained
SELECT ds_drop_model('x');
SELECT ds_model_config('x');
SELECT ds_encode('a');
SELECT ds_encode('a', 'x');
SELECT ds_encode('a', '');
SELECT ds_encode('a', 'm');
SET deepsearch.model = 'm';
SELECT ds_encode('a');
SET deepsearch.model = 'x';
SELECT ds_encode('a');
RESET deepsearch.model;
SELECT ds_drop_model(name) FROM ds_models WHERE name <> 'm';
SELECT ds_encode('a');
SELECT ds_drop_model('m');
SELECT ds_encode('a');
SELECT count(*) FROM ds_models;

-- rights
CREATE ROLE regress_ds_owner;
CREATE ROLE regress_ds_reader;
CREATE ROLE regress_ds_member IN ROLE regress_ds_reader;
SET ROLE regress_ds_owner;
SELECT ds_create_model('theirs');
SELECT name, owner FROM ds_models;
SELECT count(*) FROM ds_model;
SELECT count(*) FROM ds_tensor;
INSERT INTO ds_model (name, owner, config, dims) VALUES ('forged', 'regress_ds_owner', '{}', 1);
SET ROLE regress_ds_member;
SELECT name FROM ds_models;
SELECT ds_model_config('theirs');
SELECT ds_encode('a', 'theirs');
SELECT ds_encode('a');
SELECT ds_drop_model('theirs');
SELECT ds_grant_model('theirs', 'regress_ds_member');
CALL ds_train('theirs', 'SELECT ''a'', ''b''');
SET ROLE regress_ds_owner;
SELECT ds_grant_model('theirs', 'regress_ds_nobody');
SELECT ds_grant_model('theirs', 'regress_ds_reader');
SELECT ds_grant_model('theirs', 'regress_ds_reader');
SELECT readers FROM ds_models;
SET ROLE regress_ds_member;
SELECT name FROM ds_models;
SELECT ds_model_config('theirs') ->> 'family' AS family;
SELECT ds_encode('a', 'theirs');
SELECT ds_drop_model('theirs');
CALL ds_train('theirs', 'SELECT ''a'', ''b''');
SET ROLE regress_ds_owner;
SELECT ds_revoke_model('theirs', 'regress_ds_reader');
SELECT ds_grant_model('theirs', 'public');
SET ROLE regress_ds_member;
SELECT readers FROM ds_models;
SET ROLE regress_ds_owner;
SELECT ds_revoke_model('theirs', 'public');
SET ROLE regress_ds_member;
SELECT count(*) FROM ds_models;
RESET ROLE;
-- the owner's role is gone, the model is still there for a superuser
DROP ROLE regress_ds_owner;
SELECT name, owner FROM ds_models;
SELECT ds_drop_model('theirs');
DROP ROLE regress_ds_member, regress_ds_reader;

SET client_min_messages = warning;
-- tables with more columns than this library knows, as a later version of the extension may have
BEGIN;
CALL ds_train('wide', 'SELECT ''q'' || i, ''d'' || i FROM generate_series(1, 20) i', '{"epochs": 1}');
DO $$ BEGIN FOR i IN 1..40 LOOP
	EXECUTE format('ALTER TABLE ds_model ADD later_%s text DEFAULT ''later''', i);
	EXECUTE format('ALTER TABLE ds_tensor ADD later_%s text DEFAULT ''later''', i);
END LOOP; END $$;
SELECT ds_dims(ds_encode('q1', 'wide'));
ROLLBACK;
