-- ds_encode_table
SET client_min_messages = warning;
CREATE TABLE products (id int PRIMARY KEY, title text, colour text, n int, emb embedding(8), filler text);
INSERT INTO products (id, title, colour, n) SELECT i, '新款 ' || (ARRAY['连衣裙', '衬衫', '鞋', 'shirt'])[i % 4 + 1] || i % 50,
	(ARRAY['红色', '蓝色', NULL, 'red'])[i % 4 + 1], i FROM generate_series(1, 1000) i;
UPDATE products SET title = NULL WHERE id % 100 = 0;
SELECT ds_create_model('shop', '{"embedding": {"dims": 16}, "dense": [8], "tokenizer": {"vocabulary": 1024, "buckets": 128}}');
CALL ds_encode_table('products', 'title', 'emb');
CALL ds_train('shop', 'SELECT title, title || coalesce(colour, '''') FROM products WHERE title IS NOT NULL', '{"epochs": 1}');
CREATE FUNCTION wrong(source text) RETURNS TABLE (missing bigint, wrong bigint) LANGUAGE plpgsql AS $$
BEGIN RETURN QUERY EXECUTE format('SELECT count(*) FILTER (WHERE (%1$s) IS NOT NULL AND emb IS NULL),
	count(*) FILTER (WHERE emb IS DISTINCT FROM ds_encode(%1$s, ''shop'', ''document'')) FROM products', source); END $$;

-- what does not go
CALL ds_encode_table('nowhere', 'title', 'emb');
CALL ds_encode_table('products', 'title', 'embedding');
CALL ds_encode_table('products', 'title', 'title');
CALL ds_encode_table('products', 'title', 'ctid');
CALL ds_encode_table('products', 'name', 'emb');
CALL ds_encode_table('products', 'title || ', 'emb');
CALL ds_encode_table('products', '', 'emb');
CALL ds_encode_table('products', 'title, colour', 'emb');
CALL ds_encode_table('products', 'title) FROM products --', 'emb');
CALL ds_encode_table('products', 'title FROM products', 'emb');
CALL ds_encode_table('products', 'title; DROP TABLE products', 'emb');
CALL ds_encode_table('products', 'max(title)', 'emb');
CALL ds_encode_table('products', 'title', 'emb', 'nowhere');
CALL ds_encode_table('products', 'title', 'emb', side => 'doc');
CALL ds_encode_table('products', 'title', 'emb', options => '{"batch": 1}');
CALL ds_encode_table('products', 'title', 'emb', options => '{"batch_size": 0}');
CALL ds_encode_table(NULL, 'title', 'emb');
CALL ds_encode_table('products', NULL, 'emb');
CALL ds_encode_table('products', 'title', NULL);
CREATE VIEW product_view AS SELECT * FROM products;
CALL ds_encode_table('product_view', 'title', 'emb');
ALTER TABLE products ADD wide embedding(16);
CALL ds_encode_table('products', 'title', 'wide');
SELECT count(emb) FROM products;
SELECT count(*) FROM ds_encoded_column;

-- the rows that have none
CALL ds_encode_table('products', 'title', 'emb');
SELECT count(emb), (wrong('title')).* FROM products GROUP BY 2, 3;
SELECT relation::regclass, target, side, source, mode, rows, finished FROM ds_encoded_column;
CREATE TEMP TABLE before AS SELECT id, ctid AS place FROM products;
CALL ds_encode_table('products', 'title', 'emb');
SELECT count(*) AS touched FROM before JOIN products p USING (id) WHERE p.ctid <> place;
UPDATE products SET emb = NULL WHERE id % 7 = 0;
CALL ds_encode_table('products', 'title', 'emb');
SELECT * FROM wrong('title');

-- an expression may end in a comment
UPDATE products SET emb = NULL WHERE id % 9 = 0;
CALL ds_encode_table('products', 'title -- the best we have', 'emb');
SELECT * FROM wrong('title');

-- an expression over the row, in small chunks
UPDATE products SET emb = NULL;
CALL ds_encode_table('products', 'concat_ws('' '', title, products.colour)', 'emb', 'shop', 'document', '{"batch_size": 7}');
SELECT * FROM wrong('concat_ws('' '', title, products.colour)');

-- another source in the same column is worth a warning
UPDATE products SET emb = NULL WHERE id = 1;
CALL ds_encode_table('products', 'title', 'emb');
-- all rows again
CALL ds_encode_table('products', 'title', 'emb', options => '{"all": true, "batch_size": 90}');
SELECT * FROM wrong('title');
SELECT count(*) FILTER (WHERE emb IS NOT NULL) AS without_text FROM products WHERE title IS NULL;
SELECT mode, rows, finished, last_key FROM ds_encoded_column;
-- stopped in the midst and continued
CREATE FUNCTION stumble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'enough'; END $$;
CREATE TRIGGER stumble BEFORE UPDATE ON products FOR EACH ROW WHEN (new.id = 500) EXECUTE FUNCTION stumble();
UPDATE products SET title = title || '!' WHERE id <> 500;
CALL ds_encode_table('products', 'title', 'emb', options => '{"all": true, "batch_size": 90}');
SELECT mode, rows, finished, last_key FROM ds_encoded_column;
CREATE TEMP TABLE stopped AS SELECT id, ctid AS place FROM products;
DROP TRIGGER stumble ON products;
CALL ds_encode_table('products', 'title', 'emb', options => '{"all": true, "batch_size": 90}');
SELECT count(*) FILTER (WHERE p.ctid = place) AS not_again, min(id) FILTER (WHERE p.ctid <> place) AS went_on_at FROM stopped JOIN products p USING (id);
SELECT * FROM wrong('title');
SELECT mode, rows, finished, last_key FROM ds_encoded_column;
CREATE TABLE nokey (title text, emb embedding);
INSERT INTO nokey SELECT title FROM products;
CALL ds_encode_table('nokey', 'title', 'emb', options => '{"all": true}');
CALL ds_encode_table('nokey', 'title', 'emb');
SELECT count(*) - count(title) AS none, count(*) - count(emb) AS none FROM nokey;

-- keys of several columns, quoting, text keys, partitions, children, odd names
CREATE TABLE "Odd table" ("Key ""1""" text COLLATE "C", "Key 2" date, "The text" varchar(50), "The emb" embedding(8),
	PRIMARY KEY ("Key ""1""", "Key 2"));
INSERT INTO "Odd table" SELECT chr(39) || i % 10 || '\', date '2020-01-01' + i, 'text ' || i FROM generate_series(1, 100) i;
CALL ds_encode_table('"Odd table"', 'The text', 'The emb', options => '{"batch_size": 3}');
UPDATE "Odd table" SET "The text" = "The text" || '?';
CALL ds_encode_table('"Odd table"', '"The text"', 'The emb', options => '{"all": true, "batch_size": 3}');
SELECT count(*) FILTER (WHERE "The emb" = ds_encode("The text", 'shop', 'document')) FROM "Odd table";
-- keys whose text loses digits, or means something else in another session
SET extra_float_digits = 0;
SET datestyle = 'SQL, DMY';
CREATE TABLE exact (k float8, d date, title text, emb embedding(8), PRIMARY KEY (k, d));
INSERT INTO exact SELECT 0.1234567890123 + i * 1e-16, date '2024-02-01' + i, 'text ' || i FROM generate_series(1, 40) i;
CREATE TRIGGER stumble BEFORE UPDATE ON exact FOR EACH ROW WHEN (new.title = 'text 25') EXECUTE FUNCTION stumble();
SET statement_timeout = '20s';
CALL ds_encode_table('exact', 'title', 'emb', options => '{"all": true, "batch_size": 7}');
DROP TRIGGER stumble ON exact;
SET datestyle = 'SQL, MDY';
CALL ds_encode_table('exact', 'title', 'emb', options => '{"all": true, "batch_size": 7}');
RESET statement_timeout;
RESET extra_float_digits;
RESET datestyle;
SELECT count(*) FILTER (WHERE emb = ds_encode(title, 'shop', 'document')) FROM exact;
SELECT finished, rows FROM ds_encoded_column WHERE relation = 'exact'::regclass;

CREATE TABLE parts (id int, title text, emb embedding(8)) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (50);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (50) TO (200) PARTITION BY LIST (id);
CREATE TABLE parts_2_default PARTITION OF parts_2 DEFAULT;
INSERT INTO parts SELECT i, 'text ' || i FROM generate_series(0, 99) i;
CALL ds_encode_table('parts', 'title', 'emb');
SELECT count(*) FILTER (WHERE emb = ds_encode(title, 'shop', 'document')) FROM parts;
CREATE TABLE base (title text, emb embedding(8));
CREATE TABLE derived () INHERITS (base);
INSERT INTO base VALUES ('base');
INSERT INTO derived VALUES ('derived');
CALL ds_encode_table('base', 'title', 'emb');
SELECT tableoid::regclass, emb = ds_encode(title, 'shop', 'document') AS good FROM base ORDER BY 1;

-- in a transaction block, and by a function's rights
UPDATE products SET emb = NULL;
BEGIN;
CALL ds_encode_table('products', 'title', 'emb');
SELECT count(emb) FROM products;
ROLLBACK;
SELECT count(emb) FROM products;
CREATE ROLE regress_ds_table;
SET ROLE regress_ds_table;
CALL ds_encode_table('products', 'title', 'emb', 'shop');
RESET ROLE;
SELECT ds_grant_model('shop', 'regress_ds_table');
SET ROLE regress_ds_table;
CALL ds_encode_table('products', 'title', 'emb', 'shop');
-- and what the owner has begun stays as it is
CALL ds_encode_table('products', 'title', 'emb', 'shop', options => '{"all": true}');
RESET ROLE;
SELECT mode, finished FROM ds_encoded_column WHERE relation = 'products'::regclass;
GRANT SELECT, UPDATE (emb) ON products TO regress_ds_table;
ALTER TABLE products ENABLE ROW LEVEL SECURITY;
CREATE POLICY ten ON products TO regress_ds_table USING (id <= 10);
SET ROLE regress_ds_table;
CALL ds_encode_table('products', 'title', 'emb', 'shop');
RESET ROLE;
SELECT count(emb) FROM products;

-- dims of the type are checked before a row is touched
ALTER TABLE products ADD any_dims embedding;
CALL ds_encode_table('products', 'title', 'any_dims', 'shop');
SELECT DISTINCT ds_dims(any_dims) FROM products WHERE any_dims IS NOT NULL;
CREATE DOMAIN shop_embedding AS embedding(8);
ALTER TABLE products ADD domained shop_embedding;
CALL ds_encode_table('products', 'title', 'domained', 'shop');
SELECT count(domained) FROM products;
DROP TABLE products, "Odd table", exact, parts, base, nokey CASCADE;
DROP DOMAIN shop_embedding;
DROP FUNCTION wrong, stumble;
DROP ROLE regress_ds_table;
SELECT ds_drop_model('shop');
