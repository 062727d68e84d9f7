-- ds_encode_trigger: a column of embeddings that follows its text
SET client_min_messages = warning;
CREATE TABLE products (id int PRIMARY KEY, title text, colour text, price int, emb embedding(8), code varchar(20), n numeric);
INSERT INTO products SELECT i, '新款 ' || (ARRAY['连衣裙', '衬衫', '鞋', 'shirt'])[i % 4 + 1] || i % 50, (ARRAY['红色', '蓝色', NULL, 'red'])[i % 4 + 1], i
FROM generate_series(1, 200) i;
SELECT ds_create_model('shop', '{"embedding": {"dims": 16}, "dense": [8], "tokenizer": {"vocabulary": 1024, "buckets": 128}}');
CALL ds_train('shop', 'SELECT title, title || coalesce(colour, '''') FROM products', '{"epochs": 1}');
CREATE FUNCTION wrong(source text, side text DEFAULT 'document') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint; BEGIN EXECUTE format('SELECT count(*) FROM products WHERE emb IS DISTINCT FROM ds_encode(%1$s, ''shop'', %2$L)', source, side) INTO n; RETURN n; END $$;

-- a column
CREATE TRIGGER encode BEFORE INSERT OR UPDATE ON products FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger('title', 'emb');
SELECT wrong('title') AS before;
CALL ds_encode_table('products', 'title', 'emb');
SELECT wrong('title');
INSERT INTO products (id, title, emb) VALUES (1001, '红色连衣裙', NULL), (1002, NULL, NULL), (1003, '', NULL), (1004, 'shirt', '[1,2,3,4,5,6,7,8]');
SELECT id, emb IS NULL AS null FROM products WHERE id > 1000 ORDER BY id;
SELECT wrong('title');
-- only what changes is encoded
SELECT ds_encode_count() AS count \gset
UPDATE products SET price = price + 1, colour = 'blue';
UPDATE products SET title = title;
SELECT ds_encode_count() - :count AS encoded;
UPDATE products SET title = title || ' 秋季' WHERE id <= 10;
SELECT ds_encode_count() - :count AS encoded;
SELECT wrong('title');
UPDATE products SET title = NULL WHERE id = 5;
SELECT emb IS NULL AS null FROM products WHERE id = 5;
UPDATE products SET title = 'again' WHERE id = 5;
INSERT INTO products (id, title) VALUES (5, 'and again') ON CONFLICT (id) DO UPDATE SET title = excluded.title;
SELECT wrong('title');
-- the column itself may be written
UPDATE products SET emb = NULL WHERE id = 7;
SELECT emb IS NULL AS null FROM products WHERE id = 7;
CALL ds_encode_table('products', 'title', 'emb');
SELECT wrong('title');
\copy products (id, title) from stdin
2001	衬衫
2002	鞋 red
\.
SELECT wrong('title');
-- a new version of the model is used at once
CALL ds_train('shop', 'SELECT title, title || coalesce(colour, '''') FROM products', '{"epochs": 1, "seed": 5}');
INSERT INTO products (id, title) VALUES (3001, '红色连衣裙');
SELECT emb = ds_encode(title, 'shop', 'document') AS new FROM products WHERE id = 3001;

-- an expression; an alteration of the table; columns of other types
DROP TRIGGER encode ON products;
CREATE TRIGGER encode BEFORE INSERT OR UPDATE ON products FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger('concat_ws('' '', title, products.colour, n)', 'emb', 'shop', 'query');
UPDATE products SET n = id * 1.5;
SELECT wrong('concat_ws('' '', title, colour, n)', 'query');
SELECT ds_encode_count() AS count \gset
UPDATE products SET price = 1;
SELECT ds_encode_count() - :count AS encoded;
ALTER TABLE products DROP price;
ALTER TABLE products ADD extra text DEFAULT 'x';
UPDATE products SET colour = 'green' WHERE id < 20;
SELECT wrong('concat_ws('' '', title, colour, n)', 'query');
CREATE OR REPLACE TRIGGER encode BEFORE INSERT OR UPDATE ON products FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger('n', 'emb', '');
UPDATE products SET n = n + 1;
SELECT wrong('n::text');
CREATE OR REPLACE TRIGGER encode BEFORE INSERT OR UPDATE ON products FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger('code', 'emb');
UPDATE products SET code = 'c' || id;
SELECT wrong('code');
ALTER TABLE products RENAME code TO label;
UPDATE products SET label = 'd' || id;
ALTER TABLE products RENAME label TO code;

-- partitions, whose columns may stand elsewhere
CREATE TABLE parts (id int, title text, emb embedding) PARTITION BY RANGE (id);
CREATE TABLE part1 (emb embedding, title text, id int);
ALTER TABLE parts ATTACH PARTITION part1 FOR VALUES FROM (0) TO (10);
CREATE TABLE part2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
CREATE TRIGGER encode BEFORE INSERT OR UPDATE ON parts FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger('title', 'emb', 'shop');
INSERT INTO parts VALUES (1, 'red'), (11, 'shirt');
UPDATE parts SET title = title || ' dress';
UPDATE parts SET id = 12 WHERE id = 1;
SELECT id, emb = ds_encode(title, 'shop', 'document') AS right FROM parts ORDER BY 1;

-- what does not go
SELECT ds_encode_trigger();
CREATE TABLE t (a text, b text, e embedding(3), f embedding);
CREATE FUNCTION try(trigger text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE context text; hint text;
BEGIN
	EXECUTE 'DROP TRIGGER IF EXISTS try ON t; CREATE TRIGGER try ' || trigger;
	INSERT INTO t VALUES ('red', 'shirt');
	RETURN 'no error';
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS context = pg_exception_context, hint = pg_exception_hint;
	RETURN sqlstate || ': ' || sqlerrm || E'\n  ' || split_part(context, E'\n', 1) || E'\n  ' || hint;
END $$;
\t on
SELECT try('AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger(''a'', ''f'')');
SELECT try('BEFORE INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION ds_encode_trigger(''a'', ''f'')');
SELECT try('BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger()');
SELECT try('BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger(''a'')');
SELECT try('BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger(''a'', ''f'', ''shop'', ''query'', ''more'')');
SELECT try('BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger(''nothing'', ''f'')');
SELECT try('BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger(''a, b'', ''f'')');
SELECT try('BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger(''a FROM t'', ''f'')');
SELECT try('BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger(''a'', ''nothing'')');
SELECT try('BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger(''a'', ''b'')');
SELECT try('BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger(''a'', ''e'')');
SELECT try('BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger(''a'', ''f'', ''nowhere'')');
SELECT try('BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger(''a'', ''f'', ''shop'', ''doc'')');
SELECT try('BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger(''a'', ''f'')');
\t off
-- rights are those of who writes
CREATE ROLE regress_writer;
GRANT INSERT, SELECT ON t TO regress_writer;
SET ROLE regress_writer;
INSERT INTO t (a) VALUES ('red');
RESET ROLE;
SELECT ds_grant_model('shop', 'regress_writer');
SET ROLE regress_writer;
INSERT INTO t (a) VALUES ('red');
RESET ROLE;
-- the model goes
SELECT ds_drop_model('shop');
INSERT INTO products (id, code) VALUES (5001, 'x');
UPDATE products SET code = 'y' WHERE id = 1;
UPDATE products SET colour = 'z' WHERE id = 1;
INSERT INTO parts VALUES (1, 'red');
DROP TABLE products, parts, t CASCADE;
DROP FUNCTION wrong, try;
DROP ROLE regress_writer;
