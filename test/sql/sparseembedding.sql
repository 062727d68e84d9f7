-- The type sparseembedding
\set SHOW_CONTEXT never
SELECT '{1:0.5,3:-2}/10'::sparseembedding, ' { 3 : -2 , 1:5e-1 , 2:0 } / 10 '::sparseembedding(10), '{}/5'::sparseembedding, '{7:-0}/1000000000'::sparseembedding, format_type('sparseembedding'::regtype, 30522);
-- refused
SELECT '1:2/3'::sparseembedding;
SELECT '{1:2'::sparseembedding;
SELECT '{1:2}'::sparseembedding;
SELECT '{1:2}/'::sparseembedding;
SELECT '{1:2}/3x'::sparseembedding;
SELECT '{1:2,}/3'::sparseembedding;
SELECT '{a:2}/3'::sparseembedding;
SELECT '{1}/3'::sparseembedding;
SELECT '{1:}/3'::sparseembedding;
SELECT '{1:x}/3'::sparseembedding;
SELECT '{1:2 2:3}/3'::sparseembedding;
SELECT '{1:NaN}/3'::sparseembedding;
SELECT '{1:-inf}/3'::sparseembedding;
SELECT '{1:4e38}/3'::sparseembedding;
SELECT '{0:1}/3'::sparseembedding;
SELECT '{-1:1}/3'::sparseembedding;
SELECT '{4:1}/3'::sparseembedding;
SELECT '{99999999999:1}/3'::sparseembedding;
SELECT '{2:1,1:3,2:0}/3'::sparseembedding;
SELECT '{}/0'::sparseembedding;
SELECT '{}/1000000001'::sparseembedding;
SELECT '{1:1}/3'::sparseembedding(4);
SELECT '{}/3'::sparseembedding(0);
SELECT '{}/3'::sparseembedding(1000000001);
SELECT ('{' || string_agg(i || ':1', ',') || '}/16001')::sparseembedding FROM generate_series(1, 16001) i;
SELECT ds_nonzero(('{' || string_agg(i || ':1', ',') || '}/16001')::sparseembedding) FROM generate_series(1, 16000) i;
-- binary: dimension, elements, zero, indices from 0, values
SELECT sparseembedding_send('{1:1,3:-2.5}/10');
-- casts
SELECT '[0,1.5,0,-2]'::embedding::sparseembedding, '[0,1.5,0,-2]'::halfembedding::sparseembedding, '{2:1.5,4:-2}/4'::sparseembedding::embedding, '{2:1.1}/2'::sparseembedding::halfembedding,
	'{2:1.1}/2'::sparseembedding::real[], ARRAY[0,0.1]::real[]::sparseembedding, ARRAY[0,0.1]::double precision[]::sparseembedding, ARRAY[0,1]::sparseembedding, ARRAY[0,0.1]::numeric[]::sparseembedding(2);
SELECT '{1:1}/16001'::sparseembedding::embedding;
SELECT '{1:70000}/2'::sparseembedding::halfembedding;
SELECT '{1:1}/2'::sparseembedding::embedding(3);
SELECT '[1,2]'::embedding::sparseembedding(3);
SELECT ARRAY[1,NULL]::sparseembedding;
-- distances
CREATE TABLE sparse_rows (id integer, s sparseembedding(6));
INSERT INTO sparse_rows VALUES (1, '{1:3,4:4}/6'), (2, '{2:1}/6'), (3, '{}/6'), (4, NULL), (5, '[0,0,0,0,1,1]'::embedding), (6, '{1:6,4:8}/6');
SELECT id, s <-> '{1:3,5:1}/6' AS l2, s <=> '{1:3,5:1}/6' AS cosine, s <#> '{1:3,5:1}/6' AS ip, s <+> '{1:3,5:1}/6' AS l1 FROM sparse_rows ORDER BY id;
SELECT ds_inner_product(s, '{4:2}/6'), ds_l2_distance(s, s), ds_cosine_distance(s, '{1:6,4:8}/6'), ds_taxicab_distance(s, '{}/6'), ds_negative_inner_product(s, '{2:1}/6') FROM sparse_rows WHERE id = 1;
SELECT '{1:1}/3'::sparseembedding <-> '{1:1}/4';
SELECT '{1:3e38}/1'::sparseembedding <-> '{1:-3e38}/1', '{1:1e-40}/1'::sparseembedding <=> '{1:1e-40}/1';
SELECT ds_dims(s), ds_nonzero(s), ds_norm(s), ds_normalize(s) FROM sparse_rows ORDER BY id;
-- order
SELECT s FROM sparse_rows ORDER BY s DESC;
SELECT '{1:1}/3'::sparseembedding = '{1:1,2:0}/3', '{1:1}/3'::sparseembedding < '{1:1}/4', '{2:-1}/3'::sparseembedding < '{}/3', '{2:1}/3'::sparseembedding < '{1:1}/3', sparseembedding_cmp('{1:1,3:-1}/3', '{1:1}/3'),
	'{}/3'::sparseembedding <> '{}/4', '{}/3'::sparseembedding >= '{3:-1}/3', '{}/3'::sparseembedding > '{3:1}/3', '{}/3'::sparseembedding <= '{}/3';
CREATE INDEX sparse_btree ON sparse_rows (s);
CREATE INDEX sparse_hash ON sparse_rows USING hash (s);
SET enable_seqscan = off;
SELECT id FROM sparse_rows WHERE s = '{2:1}/6';
SELECT id FROM sparse_rows WHERE s > '{2:1}/6' ORDER BY s;
RESET enable_seqscan;
SELECT count(DISTINCT s) FROM sparse_rows;
ANALYZE sparse_rows;
SELECT null_frac, n_distinct FROM pg_stats WHERE tablename = 'sparse_rows' AND attname = 's';
DROP TABLE sparse_rows;
