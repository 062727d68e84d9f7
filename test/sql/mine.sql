-- ds_mine_negatives, with a model that has learned something.
SET client_min_messages = warning;
CREATE TABLE products (id int PRIMARY KEY, title text, emb embedding(16));
INSERT INTO products (id, title)
SELECT i, (ARRAY['red', 'blue', 'black', 'white', 'green'])[i % 5 + 1] || ' ' || (ARRAY['dress', 'shirt', 'shoes', 'coat', 'hat', 'bag'])[i / 5 % 6 + 1]
	|| ' ' || (ARRAY['cotton', 'silk', 'wool', 'linen'])[i / 30 % 4 + 1] || ' ' || i
FROM generate_series(0, 359) i;
CREATE TABLE clicks AS SELECT p.id, split_part(title, ' ', 1) || ' ' || split_part(title, ' ', 2) AS query, title FROM products p WHERE id % 3 > 0;
SELECT ds_create_model('shop', '{"embedding": {"dims": 32}, "dense": [16], "tokenizer": {"vocabulary": 2048, "buckets": 256}, "training": {"epochs": 4, "batch_size": 32}}');
CALL ds_train('shop', 'SELECT query, title FROM clicks ORDER BY id');
CALL ds_encode_table('products', 'title', 'emb');
SET client_min_messages = notice;
\set source '''SELECT query, title FROM clicks ORDER BY query, id'''
CREATE TABLE mined AS SELECT * FROM ds_mine_negatives(:source, 'products', 'title', 'emb', negatives => 3, margin => 0.1, "last" => 200);
-- every pair is there, with three negatives where there are so many
SELECT count(DISTINCT (query, positive)) = (SELECT count(*) FROM clicks) AS all_pairs, count(*) = 3 * (SELECT count(*) FROM clicks) AS three_each,
	count(*) FILTER (WHERE negative IS NULL) AS without FROM mined;
-- none of them answers the query, none is as near as the positive, and the model finds them near
SELECT count(*) FILTER (WHERE EXISTS (SELECT FROM clicks c WHERE c.query = m.query AND c.title = m.negative)) AS known_answers,
	count(*) FILTER (WHERE NOT negative_similarity <= positive_similarity - 0.1) AS too_near,
	count(*) FILTER (WHERE rank NOT BETWEEN 1 AND 200) AS ranks FROM mined m;
-- the same by comparing everything
CREATE TABLE by_hand AS
SELECT c.query, c.title AS positive, x.negative, x.similarity, p.similarity AS positive_similarity, x.n
FROM clicks c, LATERAL (SELECT 1 - (ds_encode(c.query, 'shop', 'query') <=> ds_encode(c.title, 'shop', 'document')) AS similarity) p,
	LATERAL (SELECT *, row_number() OVER (ORDER BY rank) AS n FROM (
		SELECT title AS negative, 1 - (emb <=> ds_encode(c.query, 'shop', 'query')) AS similarity, row_number() OVER (ORDER BY emb <=> ds_encode(c.query, 'shop', 'query')) AS rank
		FROM products) r
	WHERE rank <= 200 AND r.similarity <= p.similarity - 0.1 AND NOT EXISTS (SELECT FROM clicks k WHERE k.query = c.query AND k.title = r.negative)) x
WHERE x.n <= 3;
SELECT count(*) AS differ FROM mined m FULL JOIN by_hand h USING (query, positive, negative)
WHERE abs(m.negative_similarity - h.similarity) > 1e-5 OR abs(m.positive_similarity - h.positive_similarity) > 1e-5 OR m.negative IS NULL OR h.negative IS NULL;
-- a larger margin leaves less similar ones
SELECT max(negative_similarity - positive_similarity) <= -0.4 AS margin FROM ds_mine_negatives(:source, 'products', 'title', 'emb', margin => 0.4, "last" => 300);
-- ranks
SELECT min(rank) >= 50 AND max(rank) <= 80 AS ranks FROM ds_mine_negatives(:source, 'products', 'title', 'emb', "first" => 50, "last" => 80);
-- drawn at random from those ranks: by the seed
CREATE TABLE one AS SELECT * FROM ds_mine_negatives(:source, 'products', 'title', 'emb', margin => 0, sample => true, "last" => 200);
SELECT count(*) FILTER (WHERE a.negative = b.negative) = count(*) AS same_seed FROM (SELECT row_number() OVER (), * FROM one) a
JOIN (SELECT row_number() OVER (), * FROM ds_mine_negatives(:source, 'products', 'title', 'emb', margin => 0, sample => true, "last" => 200)) b USING (row_number);
SELECT count(*) FILTER (WHERE a.negative = b.negative) < count(*) / 4 AS other_seed FROM (SELECT row_number() OVER (), * FROM one) a
JOIN (SELECT row_number() OVER (), * FROM ds_mine_negatives(:source, 'products', 'title', 'emb', margin => 0, sample => true, "last" => 200, seed => 2)) b USING (row_number);
-- where nothing is left the pair stays, without a negative; rows with nulls are left out; a notice counts both
SELECT query, positive, negative FROM ds_mine_negatives('VALUES (''red dress'', ''red dress cotton 0''), (NULL, ''x''), (''y'', NULL), ('''', ''z'')', 'products', 'title', 'emb', margin => 5);
-- an expression over the row, a view, and the index
CREATE VIEW shirts AS SELECT * FROM products WHERE title LIKE '%shirt%';
SELECT bool_and(negative LIKE '% shirt%!') AS view FROM ds_mine_negatives(:source, 'shirts', 'title || ''!''', 'emb', margin => -5);
CREATE INDEX products_emb ON products USING deepsearch (emb);
SET enable_seqscan = off;
BEGIN;
SELECT count(*) FILTER (WHERE negative IS NULL) AS without FROM ds_mine_negatives(:source, 'products', 'title', 'emb');
-- the source is sorted, so a query is searched for once
SELECT pg_stat_get_xact_numscans('products_emb'::regclass) = (SELECT count(DISTINCT query) FROM clicks) AS index_scans;
COMMIT;
RESET enable_seqscan;
-- what comes out is what ds_train takes
SET client_min_messages = warning;
CALL ds_train('shop', $$SELECT query, positive, negative FROM ds_mine_negatives('SELECT query, title FROM clicks ORDER BY query, id', 'products', 'title', 'emb')$$, '{"epochs": 1}');
SELECT state, pairs, skipped FROM ds_training_runs ORDER BY run DESC LIMIT 1;
SET client_min_messages = notice;
-- errors
SELECT * FROM ds_mine_negatives('SELECT query FROM clicks', 'products', 'title', 'emb');
SELECT * FROM ds_mine_negatives('DELETE FROM clicks', 'products', 'title', 'emb');
SELECT * FROM ds_mine_negatives(:source, 'products', 'nothing', 'emb');
SELECT * FROM ds_mine_negatives(:source, 'products', 'title', 'title');
SELECT * FROM ds_mine_negatives(:source, 'products', 'title', 'emb', model => 'nowhere');
SELECT * FROM ds_mine_negatives(:source, 'products', 'title', 'emb', negatives => 0);
SELECT * FROM ds_mine_negatives(:source, 'products', 'title', 'emb', "first" => 20, "last" => 10);
SELECT * FROM ds_mine_negatives(:source, 'products', 'title', 'emb', margin => 'NaN');
SELECT * FROM ds_mine_negatives(:source, 'products', 'title', 'emb', operator => '<->');
SELECT * FROM ds_mine_negatives(:source, NULL, 'title', 'emb');
SELECT * FROM ds_mine_negatives(NULL, 'products', 'title', 'emb');
CREATE ROLE regress_mine_nobody;
SET ROLE regress_mine_nobody;
SELECT * FROM ds_mine_negatives('VALUES (''a'', ''b'')', 'products', 'title', 'emb', model => 'shop');
RESET ROLE;
DROP ROLE regress_mine_nobody;
SELECT ds_drop_model('shop');
DROP VIEW shirts;
DROP TABLE products, clicks, mined, by_hand, one;
