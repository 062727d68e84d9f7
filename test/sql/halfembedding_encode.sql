-- Embeddings written into columns of halves: by ds_encode_table, by the trigger, by assignment
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE half_products (id int PRIMARY KEY, title text, emb halfembedding(8), wrong halfembedding(9));
INSERT INTO half_products SELECT i, (ARRAY['red', 'blue', 'green'])[i % 3 + 1] || ' summer ' || (ARRAY['dress', 'shirt', 'shoes', 'hat'])[i % 4 + 1] || ' ' || i FROM generate_series(1, 20) i;
SELECT ds_create_model('half', '{"embedding": {"dims": 16}, "dense": [8], "tokenizer": {"vocabulary": 1024, "buckets": 128}}');
CALL ds_train('half', 'SELECT title, title FROM half_products', '{"epochs": 1}');
CALL ds_encode_table('half_products', 'title', 'emb', model => 'half');
SELECT count(*), count(*) FILTER (WHERE emb = ds_encode(title, 'half')::halfembedding) AS same FROM half_products;
CALL ds_encode_table('half_products', 'title', 'wrong', model => 'half');
CREATE TRIGGER encode BEFORE INSERT OR UPDATE ON half_products FOR EACH ROW EXECUTE FUNCTION ds_encode_trigger('title', 'emb', 'half');
INSERT INTO half_products VALUES (21, 'blue shoes');
UPDATE half_products SET title = 'green hat' WHERE id = 1;
UPDATE half_products SET title = NULL WHERE id = 2;
SELECT id, emb = ds_encode(title, 'half')::halfembedding AS same FROM half_products WHERE id IN (1, 2, 3, 21) ORDER BY id;
-- by assignment
DROP TRIGGER encode ON half_products;
UPDATE half_products SET emb = ds_encode('a coat', 'half') WHERE id = 3;
INSERT INTO half_products (id, title, emb) VALUES (22, 'a coat', ds_encode('a coat', 'half'));
SELECT count(*) FROM half_products WHERE emb = ds_encode('a coat', 'half');
-- a search with what ds_encode gives uses the index
CREATE INDEX ON half_products USING deepsearch (emb);
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM half_products ORDER BY emb <=> ds_encode('blue shoes', 'half') LIMIT 1;
SELECT id FROM half_products ORDER BY emb <=> ds_encode('blue shoes', 'half') LIMIT 1;
DROP TABLE half_products;
SELECT ds_drop_model('half');
