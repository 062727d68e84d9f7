-- The type halfembedding
-- text
SELECT '[1,2,3]'::halfembedding, ' [ 1 ,	2.50 , -3e2 ] '::halfembedding(3), format_type('halfembedding'::regtype, 3);
SELECT '[0.1,65504,-65504,65519.99,6e-8,5.9604645e-8,2.9802322e-8,2.99e-8,-0,1e-30]'::halfembedding;
-- ties go to the even half: between 1 and 1 + 2^-10, and the next
SELECT '[1.00048828125,1.00146484375,2049,2051,2053]'::halfembedding;
SELECT '{"[1,2]",NULL,"[3]"}'::halfembedding[];
\set SHOW_CONTEXT never
SELECT '1,2'::halfembedding;
SELECT '[1,a]'::halfembedding;
SELECT '[]'::halfembedding;
SELECT '[NaN]'::halfembedding;
SELECT '[1,-inf]'::halfembedding;
SELECT '[1,65520]'::halfembedding;
SELECT '[-1e5]'::halfembedding;
SELECT '[1,4e38]'::halfembedding;
SELECT ('[' || repeat('1,', 16000) || '1]')::halfembedding;
SELECT '[1,2,3]'::halfembedding(2);
SELECT '[1]'::halfembedding(0);
SELECT '[1]'::halfembedding(16001);
SELECT '[1]'::halfembedding(1,2);
SELECT ds_dims(('[' || repeat('1,', 15999) || '1]')::halfembedding(16000));
-- binary: int16 dimension, int16 zero, half floats in network order
SELECT halfembedding_send('[1,-2.5,0,65504]');

-- casts
SELECT '[1.1,2.2]'::embedding::halfembedding, '[1.1,2.2]'::halfembedding::embedding;
SELECT '[1,70000]'::embedding::halfembedding;
SELECT '[1,2]'::embedding::halfembedding(3);
SELECT '[1,2]'::halfembedding::embedding(3);
SELECT ARRAY[1.5, 2]::real[]::halfembedding, ARRAY[1.5, 2]::double precision[]::halfembedding, ARRAY[1, 2]::halfembedding, ARRAY[1.5, 2]::numeric[]::halfembedding(2);
SELECT ARRAY[1, 1e300]::double precision[]::halfembedding;
SELECT ARRAY[1, 65520]::halfembedding;
SELECT ARRAY[1, NULL]::real[]::halfembedding;
SELECT '{{1,2}}'::real[]::halfembedding;
SELECT '{}'::real[]::halfembedding;
SELECT '{1,NaN}'::real[]::halfembedding;
SELECT '[1.5,2.5,-2.5]'::halfembedding::real[], '[1.5]'::halfembedding::double precision[], '[1.5,2.5]'::halfembedding::integer[], '[0.1]'::halfembedding::numeric[];
CREATE TABLE half_rows (id integer, h halfembedding(3), e embedding(3));
INSERT INTO half_rows VALUES (1, '[1,2,3]', '[1,2,3]'), (2, ARRAY[4,5,6], '[4,5,6]'), (3, '[1,1,1]'::embedding, '[1,1,1]'), (4, NULL, NULL);
INSERT INTO half_rows VALUES (5, '[1,2]', NULL);
UPDATE half_rows SET e = h WHERE id = 1;

-- distances
SELECT id, h <=> '[1,2,3]' AS cosine, h <-> '[1,2,3]' AS l2, h <#> '[1,2,3]' AS ip, h <+> '[1,2,3]' AS l1 FROM half_rows ORDER BY id;
SELECT ds_cosine_distance(h, '[1,0,0]'), ds_l2_distance(h, '[1,0,0]'), ds_inner_product(h, '[1,0,0]'), ds_negative_inner_product(h, '[1,0,0]'), ds_taxicab_distance(h, '[1,0,0]')
	FROM half_rows WHERE id = 2;
SELECT '[0,0]'::halfembedding <=> '[1,1]', '[65504,65504]'::halfembedding <-> '[-65504,-65504]', '[6e-8]'::halfembedding <-> '[0]', '[6e-8]'::halfembedding <#> '[6e-8]';
SELECT '[1,2]'::halfembedding <-> '[1,2,3]'::halfembedding;
-- beside an embedding it is the distance of halves
SELECT '[1,2,3]'::halfembedding <-> '[1.00001,2,3]'::embedding, '[1.00001,2,3]'::embedding <-> '[1,2,3]'::halfembedding, pg_typeof('[1]'::halfembedding + '[1]'::embedding);
-- a literal alone is an embedding
SELECT ds_norm('[3,4]'), pg_typeof(ds_normalize('[3,4]'));

-- functions and arithmetic
SELECT ds_dims(h), ds_norm(h), ds_normalize(h), ds_subvector(h, 2, 5), h || h FROM half_rows WHERE id = 2;
SELECT ds_normalize('[0,0]'::halfembedding);
SELECT h + h, h - '[1,1,1]', h * h, h * 0.5, 2 * h, h / 3, -h FROM half_rows WHERE id = 1;
SELECT '[65504]'::halfembedding + '[100]';
SELECT '[300]'::halfembedding * '[300]';
SELECT '[300]'::halfembedding * 1e300;
SELECT '[1]'::halfembedding / 0;
SELECT '[1]'::halfembedding * 'NaN'::double precision;
SELECT ds_subvector('[1,2]'::halfembedding, 3, 1);
SELECT '[6e-8]'::halfembedding / 2, '[6e-8]'::halfembedding * '[0.5]';

-- order
SELECT h FROM half_rows ORDER BY h DESC NULLS LAST;
SELECT '[0]'::halfembedding = '[-0]', '[1,2]'::halfembedding < '[1,2,3]', '[1]'::halfembedding > '[-1]', '[-2]'::halfembedding < '[-1]', '[1]'::halfembedding <> '[2]',
	'[1]'::halfembedding <= '[1]', '[1]'::halfembedding >= '[2]', halfembedding_cmp('[1]', '[2]'), halfembedding_hash('[0,1]') = halfembedding_hash('[-0,1]');
CREATE INDEX half_btree ON half_rows (h);
CREATE INDEX half_hash ON half_rows USING hash (h);
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM half_rows WHERE h = '[4,5,6]';
SELECT id FROM half_rows WHERE h = '[4,5,6]';
SELECT id FROM half_rows WHERE h > '[1,1,2]' ORDER BY h;
RESET enable_seqscan;
SELECT count(DISTINCT h) FROM half_rows;

-- sum and avg
SELECT sum(h), avg(h) FROM half_rows;
SELECT sum(h), avg(h) FROM half_rows WHERE id > 100;
SELECT avg(h) FROM (VALUES ('[65504]'::halfembedding), ('[65504]')) v(h);
SELECT sum(h) FROM (VALUES ('[65504]'::halfembedding), ('[65504]')) v(h);
ANALYZE half_rows;
SELECT attname, null_frac, avg_width, n_distinct, histogram_bounds IS NULL AS no_histogram FROM pg_stats WHERE tablename = 'half_rows' AND attname = 'h';
DROP TABLE half_rows;
