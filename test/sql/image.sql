-- Pictures: a small residual network that is imported, ds_encode(bytea), tables and triggers with a column of pictures
SET client_min_messages = warning;
CREATE TABLE pictures (id int PRIMARY KEY, name text, file bytea, emb embedding(8));
INSERT INTO pictures VALUES
	(1, 'red', '\x89504e470d0a1a0a0000000d494844520000000400000004080200000026930929000000104944415478da633821a701470cc47100c10310e15c8b41810000000049454e44ae426082'),
	(2, 'blue', '\x89504e470d0a1a0a0000000d494844520000000400000004080200000026930929000000104944415478da6390b3b904470cc47100dc8312c1c5cf128c0000000049454e44ae426082'),
	(3, 'grey', '\x89504e470d0a1a0a0000000d4948445200000006000000030800000000956a21270000001e4944415478da6360d008a8587082e1838443c6841d0c0f380c221a5600004e2507e9a612fc2f0000000049454e44ae426082'),
	(4, 'none', NULL), (5, 'cut', substr('\x89504e470d0a1a0a0000000d494844520000000400000004080200000026930929000000104944415478da633821a701470cc47100c10310e15c8b41810000000049454e44ae426082'::bytea, 1, 50)), (6, 'text', 'no picture');

-- a file of weights: 8 bytes of length, a header of JSON, numbers
CREATE FUNCTION safetensors(text[]) RETURNS bytea LANGUAGE sql AS $$
	WITH t AS (SELECT split_part(x, ' ', 1) AS name, string_to_array(split_part(x, ' ', 2), 'x')::int[] AS shape, i
		FROM unnest($1) WITH ORDINALITY u(x, i)),
	n AS (SELECT name, shape, i, (SELECT round(exp(sum(ln(s))))::int FROM unnest(shape) s) AS n FROM t),
	-- 0.125, -0.25, 0.5, 0.0625, -0.5 in turns; variances are 1
	d AS (SELECT name, shape, i, 4 * n AS bytes, (SELECT string_agg(CASE WHEN name LIKE '%var' THEN '\x0000803f' ELSE
			(ARRAY['\x0000003e', '\x000080be', '\x0000003f', '\x0000803d', '\x000000bf']::bytea[])[(k * k + i) % 5 + 1] END, '' ORDER BY k)
			FROM generate_series(1, n) k) AS data FROM n),
	o AS (SELECT *, sum(bytes) OVER (ORDER BY i) - bytes AS at FROM d),
	h AS (SELECT convert_to('{' || string_agg(format('%s:{"dtype":"F32","shape":%s,"data_offsets":[%s,%s]}', to_json(name), to_json(shape), at, at + bytes), ',' ORDER BY i) || '}', 'UTF8') AS header,
		string_agg(data, '' ORDER BY i) AS data FROM o)
	SELECT decode(string_agg(lpad(to_hex((length(header) >> (8 * b)) & 255), 2, '0'), '' ORDER BY b), 'hex') || '\x00000000'::bytea || header || data
	FROM h, generate_series(0, 3) b GROUP BY header, data
$$;
CREATE FUNCTION norm(text, int) RETURNS text[] LANGUAGE sql AS
	$$ SELECT array_agg($1 || '.' || p || ' ' || $2) FROM unnest(ARRAY['weight', 'bias', 'running_mean', 'running_var']) p $$;
CREATE FUNCTION resnet() RETURNS text[] LANGUAGE sql AS $$
	SELECT ARRAY['conv1.weight 4x3x3x3', 'layer1.0.conv1.weight 4x4x3x3', 'layer1.0.conv2.weight 4x4x3x3',
		'layer2.0.conv1.weight 8x4x3x3', 'layer2.0.conv2.weight 8x8x3x3', 'fc.weight 3x8', 'fc.bias 3']
		|| norm('bn1', 4) || norm('layer1.0.bn1', 4) || norm('layer1.0.bn2', 4) || norm('layer2.0.bn1', 8) || norm('layer2.0.bn2', 8)
$$;
SELECT ds_upload('small', 'small.safetensors', 0, safetensors(resnet()));
SELECT ds_import_model('small', upload => 'small');
SELECT ds_import_model('classes', upload => 'small', options => '{"output": "classes"}');
SELECT name, family, dims, "precision", parameters FROM ds_models ORDER BY name;
SELECT ds_model_config('small') -> 'image' -> 'transform' AS transform;

-- one picture, several, with and without a name
SET deepsearch.model = 'small';
SELECT id, ds_dims(ds_encode(file)) AS dims, ds_encode(file) = ds_encode(file, 'small') AS same FROM pictures WHERE id <= 3 ORDER BY id;
SELECT id, round((ds_encode(file) <=> (SELECT ds_encode(file) FROM pictures WHERE id = 1))::numeric, 3) AS distance FROM pictures WHERE id <= 4 ORDER BY id;
SELECT bool_and(one = ds_encode(file)) AS same FROM pictures, unnest(ds_encode(ARRAY(SELECT file FROM pictures WHERE id <= 4 ORDER BY id))) WITH ORDINALITY u(one, n) WHERE id = n AND id <= 3;
SELECT ds_encode(ARRAY[NULL, NULL]::bytea[]) AS nulls, ds_encode(ARRAY[]::bytea[]) AS none, ds_encode(NULL::bytea) AS null;
SELECT round(x::numeric, 3) AS score FROM pictures, unnest(ds_encode(file, 'classes')::real[]) x WHERE id = 1;
-- what is bad
SELECT ds_encode(file) FROM pictures WHERE id = 5;
SELECT ds_encode(file) FROM pictures WHERE id = 6;
SELECT ds_encode('\x'::bytea);
\set VERBOSITY sqlstate
SELECT ds_encode(file) FROM pictures WHERE id = 6;
SELECT ds_encode('GIF89a'::bytea);
\set VERBOSITY default
SELECT id, ds_encode(file, on_error => 'null') IS NULL AS null FROM pictures ORDER BY id;
SELECT array_agg(e IS NULL) FROM unnest(ds_encode(ARRAY(SELECT file FROM pictures ORDER BY id), on_error => 'null')) e;
SELECT ds_encode(ARRAY(SELECT file FROM pictures ORDER BY id));
SELECT ds_encode('\x'::bytea, on_error => 'ignore');
SELECT ds_encode('\x'::bytea, on_error => NULL);
-- limits
-- (a picture that is remembered is not read again)
SET deepsearch.image_max_pixels = 17;
SELECT ds_dims(ds_encode(file)) FROM pictures WHERE id = 3;
SELECT ds_encode(file || '\x00') FROM pictures WHERE id = 3;
SELECT ds_encode(file || '\x00', on_error => 'null') IS NULL AS null FROM pictures WHERE id = 3;
RESET deepsearch.image_max_pixels;
SET deepsearch.image_max_bytes = '1kB';
SELECT ds_encode(file || decode(repeat('00', 2000), 'hex')) FROM pictures WHERE id = 1;
RESET deepsearch.image_max_bytes;
-- texts and pictures are not the same
SELECT ds_encode('red');
SELECT ds_encode(ARRAY['red']);
SELECT ds_tokenize('red', 'small');
SELECT ds_score('red', 'blue', 'small');
SELECT ds_create_model('text', '{"embedding": {"dims": 8}, "dense": [8], "tokenizer": {"vocabulary": 1024, "buckets": 128}}');
CALL ds_train('text', 'SELECT name, name FROM pictures', '{"epochs": 1}');
SELECT ds_encode(file, 'text') FROM pictures WHERE id = 1;
CALL ds_train('small', 'SELECT name, name FROM pictures');

-- what has been encoded is remembered
SELECT ds_encode_count() AS count \gset
SELECT count(ds_encode(file)) FROM pictures WHERE id <= 4;
SELECT ds_encode_count() - :count AS encoded;
SELECT count(ds_encode(file || '\x01')), count(ds_encode(file || '\x01', 'classes')) FROM pictures, generate_series(1, 5) WHERE id <= 4;
SELECT ds_encode_count() - :count AS encoded;
-- without that, a call in a statement remembers its last one
SET deepsearch.encode_cache = 0;
SELECT count(ds_encode(file || '\x02')) FROM (SELECT file FROM pictures, generate_series(1, 5) WHERE id <= 4 ORDER BY id) x;
SELECT ds_encode_count() - :count AS encoded;
RESET deepsearch.encode_cache;

-- a table
CALL ds_encode_table('pictures', 'file', 'emb');
SELECT count(emb) FROM pictures;
CALL ds_encode_table('pictures', 'file', 'emb', options => '{"on_error": "null"}');
SELECT id, emb = ds_encode(file, on_error => 'null') AS same FROM pictures ORDER BY id;
UPDATE pictures SET emb = '[1,2,3,4,5,6,7,8]';
CALL ds_encode_table('pictures', 'file', 'emb', options => '{"on_error": "null", "all": true}');
SELECT id, emb = ds_encode(file, on_error => 'null') AS same FROM pictures ORDER BY id;
UPDATE pictures SET emb = NULL;
CALL ds_encode_table('pictures', 'CASE WHEN id = 2 THEN file END', 'emb');
SELECT id FROM pictures WHERE emb IS NOT NULL;
CALL ds_encode_table('pictures', 'name', 'emb');
CALL ds_encode_table('pictures', 'file', 'emb', 'text');
CALL ds_encode_table('pictures', 'file', 'emb', options => '{"on_error": "ignore"}');
-- by workers
CREATE TABLE many AS SELECT i AS id, file, NULL::embedding(8) AS emb FROM pictures, generate_series(1, 40) i WHERE pictures.id <= 5;
CALL ds_encode_table('many', 'file', 'emb', options => '{"on_error": "null", "workers": 2}');
SELECT count(*), count(file), count(emb), count(DISTINCT emb) FROM many;

-- a trigger
CREATE TRIGGER encode BEFORE INSERT OR UPDATE ON pictures FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger('file', 'emb');
INSERT INTO pictures SELECT 10 + id, name, file FROM pictures WHERE id IN (1, 4);
INSERT INTO pictures SELECT 10 + id, name, file FROM pictures WHERE id = 5;
UPDATE pictures SET file = (SELECT file FROM pictures WHERE id = 2) WHERE id = 14;
SELECT id, emb = ds_encode(file) AS same FROM pictures WHERE id > 10 ORDER BY id;
DROP TRIGGER encode ON pictures;
CREATE TRIGGER encode BEFORE INSERT OR UPDATE ON pictures FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger('coalesce(file, NULL)', 'emb');
INSERT INTO pictures SELECT 20 + id, name, file FROM pictures WHERE id = 3;
SELECT emb = ds_encode(file) AS same FROM pictures WHERE id = 23;

-- what cannot be imported leaves nothing
SELECT ds_upload('bad', 'model.safetensors', 0, safetensors(array_remove(resnet(), 'layer2.0.bn2.running_mean 8')));
SELECT ds_import_model('bad', upload => 'bad');
SELECT ds_import_model('bad', upload => 'small', options => '{"max_tokens": 10}');
SELECT ds_import_model('bad', upload => 'small', options => '{"output": "vectors"}');
SELECT ds_import_model('bad', upload => 'small', options => '{"precision": "int8"}');
SELECT count(*) FROM ds_model WHERE name = 'bad';
SELECT ds_drop_upload('small'), ds_drop_upload('bad');
SELECT ds_drop_model('small'), ds_drop_model('classes'), ds_drop_model('text');
DROP TABLE pictures, many;
