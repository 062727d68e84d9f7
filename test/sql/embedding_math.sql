\set SHOW_CONTEXT never
-- distances
SELECT '[1,2]'::embedding <-> '[4,6]', '[1,2]'::embedding <#> '[3,4]', '[1,2]'::embedding <+> '[4,-2]';
SELECT '[1,0]'::embedding <=> '[0,2]', '[1,0]'::embedding <=> '[3,0]', '[1,0]'::embedding <=> '[-2,0]';
SELECT '[0,0]'::embedding <=> '[1,2]', '[1,2]'::embedding <=> '[0,-0]', '[0,0]'::embedding <=> '[0,0]';
SELECT '[0,0]'::embedding <-> '[0,0]', '[0,1]'::embedding <#> '[1,0]', '[0,0]'::embedding <+> '[0,-0]';
SELECT ds_cosine_distance('[1,0]', '[0,2]'), ds_l2_distance('[1,2]', '[4,6]'), ds_inner_product('[1,2]', '[3,4]'),
	ds_negative_inner_product('[1,2]', '[3,4]'), ds_taxicab_distance('[1,2]', '[4,-2]');
-- huge and tiny numbers neither overflow nor vanish
SELECT round(('[3e38,3e38]'::embedding <-> '[-3e38,-3e38]')::numeric / 1e38, 5) AS l2,
	round(('[3e38,3e38]'::embedding <+> '[-3e38,-3e38]')::numeric / 1e38, 5) AS taxicab,
	round(('[3e38,3e38]'::embedding <=> '[3e38,-3e38]')::numeric, 6) AS cosine,
	('[3e38,3e38]'::embedding <#> '[3e38,3e38]') / 1e77 BETWEEN -1.80001 AND -1.79999 AS inner_product;
SELECT ('[3e-40,0]'::embedding <-> '[0,4e-40]') / 5e-40 BETWEEN 0.99999 AND 1.00001 AS l2,
	round(('[3e-40,0]'::embedding <=> '[3e-40,3e-40]')::numeric, 5) AS cosine;
SELECT '[1,2]'::embedding <-> '[1,2,3]';
SELECT '[1,2]'::embedding <=> '[1]';
SELECT '[1,2]'::embedding <#> '[1,2,3]';
SELECT '[1,2]'::embedding <+> '[1,2,3]';
SELECT NULL::embedding <=> '[1]', '[1]'::embedding <-> NULL;
-- a zero vector's cosine distance sorts after all others, NULL after that
SELECT e FROM (VALUES ('[0,0]'::embedding), (NULL), ('[-1,0]'), ('[1,0]')) v(e) ORDER BY e <=> '[1,0]';

-- arithmetic
SELECT '[1,2]'::embedding + '[0.5,-2]', '[1,2]'::embedding - '[0.5,2]', '[1,2]'::embedding * '[0.5,-2]', - '[1,0,-2]'::embedding;
SELECT '[1,2]'::embedding * 2, 0.5 * '[1,2]'::embedding, '[1,2]'::embedding / 4, '[1,2]'::embedding * '[3,4]';
SELECT '[1,2]'::embedding || '[3]';
SELECT '[1,2]'::embedding + '[1]';
SELECT '[1,2]'::embedding - '[1]';
SELECT '[1,2]'::embedding * '[1]';
SELECT '[3e38]'::embedding + '[3e38]';
SELECT '[-3e38]'::embedding - '[3e38]';
SELECT '[3e38]'::embedding * '[2]';
SELECT '[3e38]'::embedding * 2;
SELECT 1e300 * '[1]'::embedding;
SELECT '[3e38]'::embedding / 0.5;
SELECT '[1]'::embedding / 0;
SELECT '[1]'::embedding * 'NaN'::double precision;
SELECT '[1]'::embedding / 'infinity'::double precision;
SELECT '[1e-30]'::embedding * '[1e-30]' AS too_small;
SELECT array_fill(1, ARRAY[16000])::embedding || '[1]';
SELECT ds_dims(array_fill(1, ARRAY[15999])::embedding || '[1]');

-- parts
SELECT ds_dims('[1,2,3]'), ds_norm('[3,4]'), ds_norm('[0,0]'), round(ds_norm('[3e38,3e38]')::numeric / 1e38, 5);
SELECT ds_normalize('[3,4]'), ds_normalize('[0,0]'), ds_normalize('[3e38,-3e38]'), ds_normalize('[1e-45,0]');
SELECT ds_subvector('[1,2,3,4,5]', 2, 3), ds_subvector('[1,2,3,4,5]', 4, 100), ds_subvector('[1,2,3,4,5]', -1, 4),
	ds_subvector('[1,2,3,4,5]', 5, 2147483647), ds_subvector('[1,2,3,4,5]', 1, 5);
SELECT ds_subvector('[1,2,3]', 4, 1);
SELECT ds_subvector('[1,2,3]', 1, 0);
SELECT ds_subvector('[1,2,3]', 2, -1);
SELECT ds_subvector('[1,2,3]', 2147483647, 2147483647);
SELECT ds_subvector('[1,2,3]', -2147483648, -2147483648);

-- comparison
SELECT a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt, embedding_cmp(a, b) AS cmp, a, b
FROM (VALUES ('[1,2]'::embedding, '[1,2]'::embedding), ('[1,2]', '[1,3]'), ('[2]', '[1,3]'), ('[1]', '[1,-5]'),
	('[-0,1]', '[0,1]'), ('[-1]', '[1e-45]')) v(a, b);
SELECT embedding_hash('[0,1]') = embedding_hash('[-0,1]') AS equal,
	embedding_hash_extended('[0,1]', 0) & 4294967295 = embedding_hash('[0,1]')::bigint & 4294967295 AS low_half,
	embedding_hash_extended('[0,1]', 1) <> embedding_hash_extended('[0,1]', 2) AS seeded,
	embedding_hash('[0,1]') <> embedding_hash('[1,0]') AS ordered;
