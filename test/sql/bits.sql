-- Bits of vectors, and distances between bit strings
\set SHOW_CONTEXT never
SELECT ds_binarize('[1,0,-1,0.001,-0]'), ds_binarize('[1,0,-1,6e-8,-5,2,3,4,-1]'::halfembedding), ds_binarize('[0]');
SELECT length(ds_binarize(array_fill(1, ARRAY[16000])::embedding)), ds_binarize(array_fill(1, ARRAY[16000])::embedding) <~> repeat('0', 16000)::varbit::bit(16000);
CREATE TABLE coded (id integer, emb embedding(4), code bit(4) GENERATED ALWAYS AS (ds_binarize(emb)) STORED);
INSERT INTO coded VALUES (1, '[1,2,3,4]'), (2, '[1,-2,3,-4]'), (3, '[-1,-2,-3,-4]'), (4, NULL);
INSERT INTO coded VALUES (5, '[1,2]');
SELECT id, code, code <~> '1010' AS hamming, code <%> '1010' AS jaccard FROM coded ORDER BY id;
-- nearest by bits first, then by exact distance
SELECT id FROM (SELECT id, emb FROM coded ORDER BY code <~> ds_binarize('[2,-1,3,-3]') LIMIT 2) c ORDER BY emb <=> '[2,-1,3,-3]' LIMIT 1;
SELECT ds_hamming_distance(B'1111', B'0000'), ds_jaccard_distance(B'1100', B'0110'), B'' <~> B'', B'' <%> B'', B'000' <%> B'000', B'1' <%> B'1', B'1' <%> B'0';
SELECT B'111' <~> B'00';
SELECT B'111' <%> B'00';
DROP TABLE coded;
-- against counting character by character
CREATE TABLE strings AS SELECT n, string_agg((hashint4(i * 7919 + n) & 1)::text, '' ORDER BY i) AS a, string_agg((hashint4(i * 104729 + n) & 1)::text, '' ORDER BY i) AS b
	FROM unnest(ARRAY[1, 2, 7, 8, 9, 63, 64, 65, 127, 255, 256, 257, 511, 512, 513, 768, 1000, 1024, 4096, 5000, 16000]) n, generate_series(1, n) i GROUP BY n;
SELECT count(*), count(*) FILTER (WHERE (a::varbit::bit(16000) <~> b::varbit::bit(16000)) = differ AND (a::varbit::bit(16000) <%> b::varbit::bit(16000)) = CASE WHEN both_set = 0 THEN 1 ELSE 1 - both_set / either_set END) AS right
FROM (SELECT a, b, (SELECT count(*) FILTER (WHERE x <> y) FROM unnest(string_to_array(a, NULL), string_to_array(b, NULL)) u(x, y)) AS differ,
	(SELECT count(*) FILTER (WHERE x = '1' AND y = '1')::double precision FROM unnest(string_to_array(a, NULL), string_to_array(b, NULL)) u(x, y)) AS both_set,
	(SELECT count(*) FILTER (WHERE x = '1' OR y = '1')::double precision FROM unnest(string_to_array(a, NULL), string_to_array(b, NULL)) u(x, y)) AS either_set FROM strings) s;
DROP TABLE strings;
