-- Training over pictures: models with a tower of their own over pictures, alone or beside a text
SET client_min_messages = warning;
SET max_parallel_maintenance_workers = 0;
CREATE SCHEMA pictures;
SET search_path = pictures, public;

-- a PNG of one byte a pixel and channel, not compressed
CREATE FUNCTION crc32(bytea) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	c bigint := 4294967295;
BEGIN
	FOR i IN 0 .. length($1) - 1 LOOP
		c := c # get_byte($1, i);
		FOR k IN 1 .. 8 LOOP
			c := CASE WHEN c & 1 = 1 THEN (c >> 1) # 3988292384 ELSE c >> 1 END;
		END LOOP;
	END LOOP;
	RETURN c # 4294967295;
END $$;
CREATE FUNCTION be32(bigint) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$ SELECT decode(lpad(to_hex($1), 8, '0'), 'hex') $$;
CREATE FUNCTION chunk(text, bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS
	$$ SELECT be32(length($2)) || convert_to($1, 'UTF8') || $2 || be32(crc32(convert_to($1, 'UTF8') || $2)) $$;
CREATE FUNCTION adler32(bytea) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	a bigint := 1;
	b bigint := 0;
BEGIN
	FOR i IN 0 .. length($1) - 1 LOOP
		a := (a + get_byte($1, i)) % 65521;
		b := (b + a) % 65521;
	END LOOP;
	RETURN b * 65536 + a;
END $$;
CREATE FUNCTION le16(int) RETURNS bytea LANGUAGE sql IMMUTABLE AS
	$$ SELECT decode(lpad(to_hex($1 & 255), 2, '0') || lpad(to_hex($1 >> 8), 2, '0'), 'hex') $$;
CREATE FUNCTION png(width int, height int, pixels bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
	SELECT '\x89504e470d0a1a0a'::bytea || chunk('IHDR', be32(width) || be32(height) || '\x0802000000')
		|| chunk('IDAT', '\x7801' || '\x01'::bytea || le16(length(raw)) || le16(65535 - length(raw)) || raw || be32(adler32(raw))) || chunk('IEND', '')
	FROM (SELECT string_agg('\x00'::bytea || substr(pixels, y * 3 * width + 1, 3 * width), '' ORDER BY y) AS raw FROM generate_series(0, height - 1) y) r
$$;
-- stripes along or across, of a colour, with some noise that depends on n
CREATE FUNCTION picture(colour text, form text, n int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
	SELECT png(8, 8, string_agg(decode(lpad(to_hex(v), 6, '0'), 'hex'), '' ORDER BY y, x)) FROM generate_series(0, 7) x, generate_series(0, 7) y,
		LATERAL (SELECT CASE WHEN (CASE form WHEN 'rows' THEN y ELSE x END + n) % 4 < 2 THEN 15790320 ELSE
			CASE colour WHEN 'red' THEN 13639680 WHEN 'green' THEN 2144288 ELSE 2113744 END END + (x * 7 + y * 13 + n * 5) % 16 AS v) p
$$;
CREATE TABLE goods AS SELECT row_number() OVER () AS id, c AS colour, f AS form, n, c || ' ' || f AS name, 'no ' || n || ' in ' || c AS title, picture(c, f, n) AS image
	FROM unnest(ARRAY['red', 'green', 'blue']) c, unnest(ARRAY['rows', 'columns']) f, generate_series(0, 7) n ORDER BY n, c, f;
ALTER TABLE goods ADD PRIMARY KEY (id);
SELECT count(*), count(DISTINCT image) AS pictures FROM goods;

-- what a model is made of
SELECT ds_create_model('look', '{"image": {"width": 8, "height": 8, "channels": 16}, "dense": [16], "embedding": {"dims": 16},
	"tokenizer": {"vocabulary": 256, "buckets": 32, "min_count": 1}, "training": {"epochs": 20, "batch_size": 16, "learning_rate": 0.005}}');
SELECT jsonb_pretty(ds_model_config('look') - 'training' #- '{query,cleaning}' #- '{query,tokenizer}');
SELECT ds_create_model('again', ds_model_config('look'));
SELECT t -> 'epochs' AS epochs, t -> 'schedule' AS schedule, t -> 'symmetric' AS symmetric, t -> 'temperature' AS temperature FROM (VALUES ('look'), ('again')) v (name), LATERAL (SELECT ds_model_config(name) -> 'training' AS t) c;
SELECT ds_model_config('look') = ds_model_config('again') AS same;
SELECT name, family, dims, version FROM ds_models ORDER BY name;
SELECT ds_create_model('bad', '{"image": {"width": 4}}');
SELECT ds_create_model('bad', '{"image": {"channels": 1}}');
SELECT ds_create_model('bad', '{"image": {"size": 1}}');
SELECT ds_create_model('bad', '{"fusion": "gated"}');
SELECT ds_create_model('bad', '{"image": {}, "fusion": "late"}');
SELECT ds_create_model('bad', '{"image": {"move": 64}}');
SELECT ds_create_model('bad', '{"image": {}, "features": 3}');
SELECT ds_create_model('bad', '{"image": {}, "query": {"dense": [64]}}');
\set VERBOSITY sqlstate
SELECT ds_create_model('bad', '{"fusion": "gated"}');
SELECT ds_create_model('bad', '{"image": {"move": 64}}');
\set VERBOSITY default

-- texts that find pictures
SELECT ds_encode('\x'::bytea, 'look');
CALL ds_train('look', 'SELECT name, image FROM goods WHERE n < 6');
SELECT name, family, dims, version, pairs FROM ds_models WHERE name = 'look';
ALTER TABLE goods ADD emb embedding(16);
CALL ds_encode_table('goods', 'image', 'emb', 'look');
-- (two pictures of each kind have not been seen)
SELECT round(avg((g.name = q.name)::int), 1) >= 0.8 AS found FROM (SELECT DISTINCT name FROM goods) q,
	LATERAL (SELECT name FROM goods WHERE n >= 6 ORDER BY emb <=> ds_encode(q.name, 'look') LIMIT 2) g;
-- pictures that find pictures
SELECT round(avg((g.name = q.name)::int), 1) >= 0.8 AS found FROM goods q,
	LATERAL (SELECT name FROM goods p WHERE p.id <> q.id ORDER BY emb <=> ds_encode(q.image, 'look') LIMIT 5) g WHERE n >= 6;
SELECT bool_and(emb = ds_encode(image, 'look')) AS same, bool_and(abs(ds_norm(emb) - 1) < 1e-5) AS normal FROM goods;
SELECT ds_encode('red rows', 'look', 'document');
SELECT ds_encode('red rows', NULL::bytea, 'look');
SELECT ds_encode('not a picture'::bytea, 'look');
SELECT ds_encode('not a picture'::bytea, 'look', 'null') IS NULL AS null;
CALL ds_encode_table('goods', 'title', 'emb', 'look', options => '{"all": true}');
CALL ds_encode_table('goods', 'title, image', 'emb', 'look', options => '{"all": true}');
CALL ds_encode_table('goods', 'name', 'emb', 'look', side => 'query', options => '{"all": true}');
SELECT count(*) FROM goods WHERE emb = ds_encode(name, 'look');

-- two models, weighed late: titles know the colour only, and one product has no picture
SELECT ds_create_model('titles', '{"dense": [16], "embedding": {"dims": 16}, "tokenizer": {"vocabulary": 256, "buckets": 32, "min_count": 1}}');
CALL ds_train('titles', 'SELECT colour, title FROM goods WHERE n < 6', '{"epochs": 20, "batch_size": 16, "learning_rate": 0.01}');
CREATE TABLE late AS SELECT id, name, title, CASE WHEN id > 6 THEN image END AS image, NULL::embedding(16) AS title_emb, NULL::embedding(16) AS image_emb FROM goods;
CALL ds_encode_table('late', 'title', 'title_emb', 'titles');
CALL ds_encode_table('late', 'image', 'image_emb', 'look');
SELECT count(*) FROM late WHERE title_emb IS NULL OR (image_emb IS NULL) <> (id <= 6);
CREATE FUNCTION late(query text, weight float8) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT name FROM (SELECT * FROM late ORDER BY title_emb <=> ds_encode(query, 'titles') LIMIT 24) nearest
	ORDER BY weight * (title_emb <=> ds_encode(query, 'titles')) + (1 - weight) * coalesce(image_emb <=> ds_encode(query, 'look'), 1) LIMIT 5
$$;
SELECT round(avg((late = name)::int) FILTER (WHERE weight = 1), 1) <= 0.7 AS titles, round(avg((late = name)::int) FILTER (WHERE weight < 1), 1) >= 0.9 AS both
	FROM (SELECT DISTINCT name FROM goods) q, (VALUES (1), (0.4)) w (weight), late(name, weight);

-- what a source must be
CALL ds_train('look', 'SELECT name, title FROM goods');
CALL ds_train('look', 'SELECT image, image FROM goods');
CALL ds_train('look', 'SELECT name, image, title FROM goods');
CALL ds_train('look', 'SELECT name, image, image, image FROM goods');
CALL ds_train('look', $$SELECT name, CASE WHEN n = 3 THEN 'x'::bytea ELSE image END FROM goods ORDER BY id$$);
CALL ds_train('again', 'SELECT name, image FROM goods', '{"dropout": 0.1}');
CREATE TABLE texts AS SELECT name, title FROM goods;
SELECT ds_create_model('plain', '{"dense": [16]}');
CALL ds_train('plain', 'SELECT name, title FROM texts', '{"on_error": "null"}');
CALL ds_train('plain', 'SELECT name, title FROM texts', '{"epochs": 1}');

-- pictures that are bad, not there, or several
SET client_min_messages = notice;
CALL ds_train('again', $$SELECT name, CASE WHEN n = 3 THEN 'x'::bytea WHEN n <> 4 THEN image END FROM goods ORDER BY id$$, '{"epochs": 1, "on_error": "null"}');
SET client_min_messages = warning;
CALL ds_train('again', $$SELECT a.name, ARRAY[a.image, b.image], ARRAY[c.image, NULL] FROM goods a JOIN goods b ON (b.name, b.n) = (a.name, a.n + 1)
	JOIN goods c ON c.name <> a.name AND c.n = a.n ORDER BY a.id, c.id$$, '{"epochs": 1, "loss": "triplet"}');
-- wrong pictures, weights, another order; what goes on gets better
CALL ds_train('again', $$SELECT a.name, a.image, c.image, 2 AS weight FROM goods a JOIN goods c ON c.name <> a.name AND c.n = a.n ORDER BY a.id, c.id$$,
	'{"epochs": 2, "duplicates": "avoid", "freeze": "query"}');
SELECT version, current, document_since FROM ds_model_versions WHERE model = 'again' ORDER BY version;

-- a text and a picture
SELECT ds_create_model('both', '{"image": {"width": 8, "height": 8, "channels": 16, "leave_out": 0.2}, "fusion": "concatenate", "dense": [16], "embedding": {"dims": 16},
	"tokenizer": {"vocabulary": 256, "buckets": 32, "min_count": 1}, "training": {"epochs": 20, "batch_size": 16, "learning_rate": 0.005}}');
SELECT ds_create_model('gated', ds_model_config('both') || jsonb_build_object('document', ds_model_config('both') -> 'document' || '{"fusion": "gated"}'));
SELECT ds_model_config('gated') -> 'document' -> 'fusion' AS fusion;
CALL ds_train('both', 'SELECT name, title, image FROM goods WHERE n < 6');
CALL ds_train('gated', 'SELECT name, image, title FROM goods WHERE n < 6');
UPDATE goods SET emb = NULL;
CALL ds_encode_table('goods', 'title, image', 'emb', 'both');
SELECT round(avg((g.name = q.name)::int), 1) >= 0.8 AS found FROM (SELECT DISTINCT name FROM goods) q,
	LATERAL (SELECT name FROM goods WHERE n >= 6 ORDER BY emb <=> ds_encode(q.name, 'both') LIMIT 2) g;
SELECT bool_and(emb = ds_encode(title, image, 'both')) AS same FROM goods;
-- one of them alone, which the model has learned to do with; neither
SELECT bool_and(ds_encode(title, NULL::bytea, 'both') = ds_encode(title, 'both', 'document')) AS texts, bool_and(ds_encode(NULL, image, 'both') = ds_encode(image, 'both')) AS pictures,
	bool_and(ds_encode('', image, 'both') = ds_encode(image, 'both')) AS empty, bool_or(emb = ds_encode(image, 'both')) AS other FROM goods;
SELECT ds_encode(NULL, NULL::bytea, 'both') IS NULL AS null;
SELECT ds_dims(ds_encode(title, image, 'gated')) FROM goods WHERE id = 1;
SET deepsearch.model = 'both';
SELECT ds_encode(title, image) = emb AS same FROM goods WHERE id = 1;
RESET deepsearch.model;
SELECT ds_encode('red', 'no picture'::bytea, 'both');
SELECT ds_encode('red', 'no picture'::bytea, 'both', 'null') IS NULL AS null;
SELECT ds_encode('red', image, 'plain') FROM goods WHERE id = 1;
CALL ds_train('both', $$SELECT name, CASE WHEN n = 1 THEN title END, CASE WHEN n = 2 THEN image END FROM goods ORDER BY id$$, '{"epochs": 1}');
SELECT pairs, skipped FROM ds_training_runs ORDER BY run DESC LIMIT 1;
-- what has been encoded is remembered
SELECT ds_encode_count() AS count \gset
SELECT count(ds_encode(title, image, 'both')) FROM goods WHERE id <= 5;
SELECT count(ds_encode(title, image, 'both')) FROM goods WHERE id <= 5;
SELECT ds_encode_count() - :count AS encoded;

-- tables: an order of their own, rows that lack something, bad pictures, all again
UPDATE goods SET emb = NULL;
UPDATE goods SET title = NULL WHERE id = 3;
UPDATE goods SET image = NULL WHERE id = 4;
UPDATE goods SET title = NULL, image = NULL WHERE id = 5;
UPDATE goods SET image = 'bad' WHERE id = 6;
CALL ds_encode_table('goods', 'image, upper(title) -- both', 'emb', 'both');
CALL ds_encode_table('goods', 'image, upper(title) -- both', 'emb', 'both', options => '{"on_error": "null"}');
SELECT id, emb IS NULL AS null FROM goods WHERE emb IS NULL OR id = 3 OR id = 4 ORDER BY id;
SELECT bool_and(emb = ds_encode(upper(title), image, 'both')) AS same FROM goods WHERE id <> 6;
CALL ds_encode_table('goods', 'title, image', 'emb', 'both', options => '{"on_error": "null", "all": true, "batch_size": 7}');
SELECT bool_and(emb = ds_encode(title, image, 'both')) AS same FROM goods WHERE id <> 6;
CALL ds_encode_table('goods', 'title, image, id', 'emb', 'both');
CALL ds_encode_table('goods', 'title, name', 'emb', 'both');
CALL ds_encode_table('goods', 'title AS t, image', 'emb', 'both');

-- triggers
CREATE TABLE shop (id int, title text, image bytea, emb embedding(16));
CREATE TRIGGER encode BEFORE INSERT OR UPDATE ON shop FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger('title, image', 'emb', 'both');
INSERT INTO shop SELECT id, title, image FROM goods WHERE id IN (1, 3, 4, 5);
SELECT id, emb = ds_encode(title, image, 'both') AS same, emb IS NULL AS null FROM shop ORDER BY id;
SELECT ds_encode_count() AS count \gset
UPDATE shop SET id = id + 1;
SELECT ds_encode_count() - :count AS encoded;
UPDATE shop SET image = NULL WHERE id = 2;
SELECT emb = ds_encode(title, NULL::bytea, 'both') AS same FROM shop WHERE id = 2;
INSERT INTO shop VALUES (9, 'x', 'bad');

-- pictures on both sides; pictures that find texts
SELECT ds_create_model('twins', '{"towers": "shared", "image": {"width": 8, "channels": 16}, "dense": [16], "training": {"epochs": 2, "batch_size": 16}}');
CALL ds_train('twins', 'SELECT a.image, b.image FROM goods a JOIN goods b ON a.name = b.name AND a.n + 1 = b.n WHERE a.n BETWEEN 1 AND 5');
SELECT ds_dims(ds_encode(image, 'twins')) FROM goods WHERE id = 1;
SELECT ds_encode('red', 'twins');
SELECT ds_create_model('caption', '{"query": {"image": {"width": 8, "height": 16, "channels": 16}}, "dense": [16], "embedding": {"dims": 16},
	"tokenizer": {"vocabulary": 256, "buckets": 32, "min_count": 1}, "training": {"epochs": 2, "batch_size": 16}}');
CALL ds_train('caption', 'SELECT image, name FROM goods WHERE n > 1');
SELECT ds_encode('red', 'caption', 'document') <=> ds_encode(image, 'caption') BETWEEN 0 AND 2 AS compared FROM goods WHERE id = 1;
SELECT ds_encode('red', 'caption');

-- steps on live models: a new word for a colour, while pictures keep their embeddings
CREATE TABLE batch AS SELECT array_agg(replace(name, 'red', 'crimson') ORDER BY id) AS queries, array_agg(title ORDER BY id) AS titles, array_agg(image ORDER BY id) AS images
	FROM goods WHERE n BETWEEN 2 AND 5;
UPDATE goods SET emb = ds_encode(image, 'look') WHERE n >= 2;
SELECT version, step, pairs, skipped, loss > 0 AS loss FROM batch, ds_train_step('look', queries, images => images, options => '{"freeze": "document", "learning_rate": 0.02}');
DO $$ BEGIN
	FOR i IN 2 .. 20 LOOP
		PERFORM ds_train_step('look', queries, images => images, options => '{"freeze": "document", "learning_rate": 0.02}') FROM batch;
	END LOOP;
END $$;
SELECT count(*) FILTER (WHERE emb = ds_encode(image, 'look')) AS same, count(*) FROM goods WHERE n >= 2;
SELECT round(avg((g.name = replace(q.name, 'crimson', 'red'))::int), 1) >= 0.8 AS found FROM (SELECT DISTINCT unnest(queries) AS name FROM batch) q,
	LATERAL (SELECT name FROM goods WHERE n >= 6 ORDER BY emb <=> ds_encode(q.name, 'look') LIMIT 2) g;
-- both sides: batch norm keeps the means of the training, everything else moves; one picture is enough
SELECT version, step, pairs FROM ds_train_step('look', ARRAY['red rows', 'blue rows'], images => (SELECT ARRAY[images[1], images[2]] FROM batch));
SELECT count(*) FILTER (WHERE a.name ~ 'norm.(mean|var)$' AND a.data <> b.data) AS means, string_agg(a.name, ' ' ORDER BY a.name) FILTER (WHERE a.name !~ 'norm.(mean|var)$' AND a.data = b.data) AS same
	FROM ds_tensor a JOIN ds_tensor b USING (model, name, chunk) JOIN ds_model m ON m.id = a.model WHERE m.name = 'look' AND (a.version, b.version) = (21, 22);
BEGIN;
SELECT version, step, pairs FROM ds_train_step('look', ARRAY['red rows'], images => (SELECT images[1:1] FROM batch), negative_images => (SELECT images[2:2] FROM batch), options => '{"loss": "triplet"}');
SELECT ds_encode(image, 'look') <> ds_encode(image, 'look@22') AS other FROM goods WHERE id = 20;
ROLLBACK;
SELECT ds_encode(image, 'look') = ds_encode(image, 'look@22') AS same FROM goods WHERE id = 20;
-- a text and a picture, either of which may be missing; wrong ones; pictures that ask
SELECT version, step, pairs, skipped, loss > 0 AS loss FROM batch, ds_train_step('both', queries, titles, images => images);
SELECT version, step, pairs, skipped FROM batch, ds_train_step('both', queries[1:3], ARRAY[titles[1], NULL, NULL], images => ARRAY[NULL, images[2], NULL]);
SELECT version, step, pairs FROM batch, ds_train_step('both', queries[1:2], titles[1:2], titles[3:4], images => images[1:2], negative_images => images[3:4], options => '{"loss": "triplet"}');
SELECT version, step, pairs FROM batch, ds_train_step('twins', NULL, images => images[1:4], query_images => images[3:6]);
SELECT version, step, pairs FROM batch, ds_train_step('caption', NULL, queries, query_images => images);
SELECT * FROM ds_train_step('caption', NULL, NULL);
-- what does not fit the model, or each other
SELECT ds_train_step('look', ARRAY['red'], ARRAY['rows']);
SELECT ds_train_step('plain', ARRAY['red', 'blue'], images => images[1:2]) FROM batch;
SELECT ds_train_step('both', queries, titles) FROM batch;
SELECT ds_train_step('twins', queries, images => images) FROM batch;
SELECT ds_train_step('look', queries, images => images[1:2]) FROM batch;
SELECT ds_train_step('look', queries) FROM batch;
SELECT ds_train_step('twins', NULL, images => images, query_images => ARRAY[images[1:2], images[2:3]]) FROM batch;
SELECT ds_train_step('look', ARRAY['red', 'blue'], images => ARRAY[images[1], 'bad']) FROM batch;
SELECT version, step FROM ds_model_versions WHERE model = 'look' AND current;

-- training in a transaction, and the same again
BEGIN;
CALL ds_train('twins', 'SELECT a.image, b.image FROM goods a JOIN goods b ON a.name = b.name AND a.n + 1 = b.n WHERE a.n BETWEEN 1 AND 5', '{"epochs": 1}');
SELECT ds_encode(image, 'twins') <> ds_encode(image, 'twins@2') AS other FROM goods WHERE id = 1;
ROLLBACK;
SELECT ds_encode(image, 'twins') = ds_encode(image, 'twins@2') AS same FROM goods WHERE id = 1;
SELECT count(ds_drop_model(name)) FROM ds_models;
DROP SCHEMA pictures CASCADE;
