-- What must hold for any halfembedding: it is the embedding of the same numbers,
-- in half the space.
BEGIN;
SELECT plan(33);
SELECT setseed(0.25);

CREATE FUNCTION pg_temp.vector(d integer, scale double precision) RETURNS embedding LANGUAGE sql VOLATILE AS
	'SELECT array_agg((random() - 0.5) * scale)::embedding FROM generate_series(1, d)';
CREATE TABLE pairs AS
SELECT d, s, pg_temp.vector(d, s) AS e, h, f, h::embedding AS he, f::embedding AS fe
FROM (SELECT d, s, pg_temp.vector(d, s)::halfembedding AS h, pg_temp.vector(d, s)::halfembedding AS f
	FROM (VALUES (1), (2), (3), (5), (8), (15), (16), (17), (29), (30), (31), (32), (33), (60), (61), (62), (63), (64), (65), (100), (127), (128),
			(129), (255), (384), (500), (768), (1000), (1536), (2000), (3000), (5000)) dims(d),
		(VALUES (1.0), (1000.0), (1e-3), (1e-6), (131000.0)) scales(s), generate_series(1, 3)) v;
INSERT INTO pairs SELECT 16000, 1, e, e, f, e::halfembedding::embedding, f::halfembedding::embedding FROM (SELECT pg_temp.vector(16000, 1), pg_temp.vector(16000, 1)) v(e, f);
SELECT is((SELECT count(*) FROM pairs), 481::bigint, 'pairs to compare');

-- distances, to the bit: both are kernels of the same level
SELECT is((SELECT count(*) FROM pairs WHERE (h <-> f) <> (he <-> fe)), 0::bigint, '<-> is that of the embeddings');
SELECT is((SELECT count(*) FROM pairs WHERE (h <=> f) <> (he <=> fe)), 0::bigint, '<=> is that of the embeddings');
SELECT is((SELECT count(*) FROM pairs WHERE (h <+> f) <> (he <+> fe)), 0::bigint, '<+> is that of the embeddings');
SELECT is((SELECT count(*) FROM pairs WHERE (h <#> f) <> (he <#> fe)), 0::bigint, '<#> is that of the embeddings');
SELECT is((SELECT count(*) FROM pairs WHERE (h <-> h) <> 0 OR (h <+> h) <> 0 OR (ds_norm(h) > 0 AND (h <=> h) <> 0)), 0::bigint, 'a value is at distance 0 from itself');
SELECT is((SELECT count(*) FROM pairs WHERE ds_norm(h) <> ds_norm(he) OR ds_dims(h) <> d), 0::bigint, 'ds_norm and ds_dims are those of the embeddings');

-- rounding: no half is nearer, and what is one stays
SELECT is((SELECT count(*) FROM pairs, unnest(e::real[], e::halfembedding::real[]) u(x, y)
		WHERE abs(x - y) > greatest(abs(x) * 2 ^ -11, 2 ^ -25)), 0::bigint, 'an element is rounded to the nearest half');
SELECT is((SELECT count(*) FROM pairs WHERE halfembedding_send(he::halfembedding) <> halfembedding_send(h)), 0::bigint, 'to embedding and back gives the same bits');

-- text and arrays, there and back
SELECT is((SELECT count(*) FROM pairs WHERE halfembedding_send(h::text::halfembedding) <> halfembedding_send(h)), 0::bigint, 'text and back gives the same bits');
SELECT is((SELECT count(*) FROM pairs WHERE h::text <> he::text), 0::bigint, 'the text is that of the embedding');
SELECT is((SELECT count(*) FROM pairs WHERE halfembedding_send(e::text::halfembedding) <> halfembedding_send(e::halfembedding)
		OR halfembedding_send(e::double precision[]::halfembedding) <> halfembedding_send(e::halfembedding)), 0::bigint, 'text and arrays are rounded as an embedding is');
SELECT is((SELECT count(*) FROM pairs WHERE halfembedding_send(h::real[]::halfembedding) <> halfembedding_send(h)
		OR halfembedding_send(h::double precision[]::halfembedding) <> halfembedding_send(h)
		OR h::numeric[]::halfembedding <> h), 0::bigint, 'arrays and back give the same value');

-- every finite half through text and binary form (63,488 of 65,536)
CREATE TABLE halves AS SELECT i, h FROM (SELECT i, ('\x0001' || '\x0000' || substring(int4send(i) from 3))::bytea AS b FROM generate_series(0, 65535) i) s,
	LATERAL (SELECT (CASE WHEN i & 31744 = 31744 THEN NULL ELSE
		((CASE WHEN i >= 32768 THEN -1 ELSE 1 END) * CASE WHEN i & 31744 = 0 THEN (i & 1023) * 2.0 ^ -24 ELSE (1024 + (i & 1023)) * 2.0 ^ ((i >> 10 & 31) - 25) END)::real END) AS x) v,
	LATERAL (SELECT ARRAY[CASE WHEN i = 32768 THEN '-0'::real ELSE x END]::halfembedding AS h) w WHERE x IS NOT NULL;
SELECT is((SELECT count(*) FROM halves), 63488::bigint, 'all finite halves');
SELECT is((SELECT count(*) FROM halves WHERE halfembedding_send(h) <> '\x00010000' || substring(int4send(i) from 3)), 0::bigint, 'have the bits of their value');
SELECT is((SELECT count(*) FROM halves WHERE halfembedding_send(h::text::halfembedding) <> halfembedding_send(h)), 0::bigint, 'and come back from text');
SELECT is((SELECT count(*) FROM (SELECT h, lag(h) OVER (ORDER BY h::real[]) AS before FROM halves) s WHERE NOT before <= h OR (before = h) <> (before::real[] = h::real[])), 0::bigint, 'and are in order');

-- arithmetic: the embedding's, rounded
SELECT is((SELECT count(*) FROM pairs WHERE s < 131000 AND (h + f <> (he + fe)::halfembedding OR h - f <> (he - fe)::halfembedding
		OR h * 0.3 <> (he * 0.3)::halfembedding OR h / 7 <> (he / 7)::halfembedding OR -h <> (-he)::halfembedding
		OR ds_normalize(h) <> ds_normalize(he)::halfembedding OR (d < 8000 AND (h || f) <> (he || fe)::halfembedding))), 0::bigint, 'arithmetic is that of the embeddings');
SELECT is((SELECT count(*) FROM pairs WHERE s <= 1 AND h * f <> (he * fe)::halfembedding), 0::bigint, 'products too');
SELECT is((SELECT count(*) FROM pairs WHERE d > 1 AND ds_subvector(h, 1, d / 2) || ds_subvector(h, d / 2 + 1, d) <> h), 0::bigint, 'two parts concatenated are the whole');

-- order
SELECT is((SELECT count(*) FROM pairs WHERE (h < f) <> (he < fe) OR (h = f) <> (he = fe) OR halfembedding_cmp(h, f) <> embedding_cmp(he, fe)), 0::bigint, 'the order is that of the embeddings');
SELECT is((SELECT array_agg(d ORDER BY h) FROM pairs), (SELECT array_agg(d ORDER BY he) FROM pairs), 'and sorting agrees, abbreviated keys included');

-- how a value is stored changes nothing
CREATE TABLE stored (id serial, plain halfembedding, compressed halfembedding, external halfembedding);
ALTER TABLE stored ALTER compressed SET STORAGE EXTENDED, ALTER external SET STORAGE EXTERNAL;
INSERT INTO stored (plain, compressed, external)
SELECT e, e, e FROM (SELECT array_fill(d % 7 + 0.5, ARRAY[d])::halfembedding FROM unnest(ARRAY[1, 61, 62, 1400, 3900, 8000, 16000]) d) v(e);
SELECT ok((SELECT bool_or(pg_column_size(compressed) < ds_dims(plain)) AND bool_or(pg_column_size(plain) = 2 * ds_dims(plain) + 5) FROM stored),
	'some are compressed, some have a short header');
SELECT is((SELECT count(*) FROM stored WHERE NOT (plain = compressed AND plain = external AND (plain <-> compressed) = 0 AND (compressed <-> external) = 0
		AND halfembedding_hash(plain) = halfembedding_hash(compressed) AND halfembedding_hash(plain) = halfembedding_hash(external)
		AND compressed::text = external::text AND ds_norm(compressed) = ds_norm(external))), 0::bigint,
	'short, compressed and out of line values equal the plain ones');

-- sum and avg, in one process and in several
CREATE TABLE many AS SELECT i, pg_temp.vector(40, 1)::halfembedding AS h FROM generate_series(1, 20000) i;
ANALYZE many;
SET LOCAL max_parallel_workers_per_gather = 0;
CREATE TABLE serial_result AS SELECT sum(h), avg(h), sum(h::embedding) AS sum_e, avg(h::embedding) AS avg_e FROM many;
SELECT ok((SELECT sum = sum_e::halfembedding AND avg = avg_e::halfembedding FROM serial_result), 'sum and avg are those of the embeddings, rounded');
SET LOCAL max_parallel_workers_per_gather = 2;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SELECT results_eq('SELECT sum(h), avg(h) FROM many', 'SELECT sum, avg FROM serial_result', 'parallel sum and avg equal the serial ones');

-- COPY, text and binary
SELECT current_setting('data_directory') || '/half_properties' AS path \gset
CREATE TABLE target (d integer, h halfembedding);
SELECT lives_ok(format('COPY (SELECT d, h FROM pairs) TO %L (FORMAT binary)', :'path'), 'COPY TO, binary');
SELECT lives_ok(format('COPY target FROM %L (FORMAT binary)', :'path'), 'COPY FROM, binary');
SELECT results_eq('SELECT halfembedding_send(h) FROM target ORDER BY 1', 'SELECT halfembedding_send(h) FROM pairs ORDER BY 1', 'the same bits come back');
TRUNCATE target;
SELECT lives_ok(format('COPY (SELECT d, h FROM pairs) TO %L', :'path'), 'COPY TO, text');
SELECT lives_ok(format('COPY target FROM %L', :'path'), 'COPY FROM, text');
SELECT results_eq('SELECT halfembedding_send(h) FROM target ORDER BY 1', 'SELECT halfembedding_send(h) FROM pairs ORDER BY 1', 'the same bits come back');

-- half the space
CREATE TABLE as_embedding AS SELECT pg_temp.vector(768, 1) AS v FROM generate_series(1, 2000);
CREATE TABLE as_half AS SELECT v::halfembedding FROM as_embedding;
SELECT cmp_ok(pg_relation_size('as_half'), '<=', pg_relation_size('as_embedding') * 51 / 100, 'a table takes half the space');

SELECT * FROM finish();
ROLLBACK;
