-- What must hold for any sparseembedding, and for any bits: distances are those of double arithmetic
-- over all elements, text, binary form and casts come back; half floats beside double arithmetic too.
BEGIN;
SELECT plan(31);
SELECT setseed(0.75);

-- one element in some is not zero
CREATE FUNCTION pg_temp.numbers(d integer, scale double precision, one_in integer) RETURNS real[] LANGUAGE sql VOLATILE AS
	'SELECT array_agg(CASE WHEN random() * one_in < 1 THEN (random() - 0.5) * scale ELSE 0 END::real) FROM generate_series(1, d)';
CREATE TABLE pairs AS
SELECT row_number() OVER () AS id, d, s, a, b, a::sparseembedding AS x, b::sparseembedding AS y
FROM (SELECT d, s, pg_temp.numbers(d, s, n) AS a, pg_temp.numbers(d, s, n) AS b
	FROM (VALUES (1), (2), (3), (7), (16), (33), (100), (257), (1000), (4096)) dims(d), (VALUES (1.0), (1e-3), (1e6)) scales(s), (VALUES (1), (3), (20)) parts(n)) v;
SELECT is((SELECT count(*) FROM pairs), 90::bigint, 'pairs to compare');
CREATE TABLE truth AS
SELECT id, sum(u * v) AS ip, sum(abs(u * v)) AS ip_size, sqrt(sum((u - v) ^ 2)) AS l2, sum(abs(u - v)) AS l1, sqrt(sum(u * u)) AS norm, sqrt(sum(u * u)) * sqrt(sum(v * v)) AS norms, count(*) FILTER (WHERE u <> 0) AS kept
FROM pairs, unnest(a::double precision[], b::double precision[]) w(u, v) GROUP BY id;

SELECT is((SELECT count(*) FROM pairs JOIN truth USING (id) WHERE abs((x <#> y) + ip) > 1e-12 * ip_size), 0::bigint, '<#> is that of doubles');
SELECT is((SELECT count(*) FROM pairs JOIN truth USING (id) WHERE abs((x <-> y) - l2) > 1e-12 * l2), 0::bigint, '<-> is that of doubles');
SELECT is((SELECT count(*) FROM pairs JOIN truth USING (id) WHERE abs((x <+> y) - l1) > 1e-12 * l1), 0::bigint, '<+> is that of doubles');
SELECT is((SELECT count(*) FROM pairs JOIN truth USING (id) WHERE norms > 0 AND abs((x <=> y) - (1 - ip / norms)) > 1e-12), 0::bigint, '<=> is that of doubles');
SELECT is((SELECT count(*) FROM pairs JOIN truth USING (id) WHERE norms = 0 AND (x <=> y) IS DISTINCT FROM 'NaN'), 0::bigint, 'and NaN for a zero vector');
SELECT is((SELECT count(*) FROM pairs JOIN truth USING (id) WHERE abs(ds_norm(x) - norm) > 1e-12 * norm), 0::bigint, 'ds_norm is that of doubles');
SELECT is((SELECT count(*) FROM pairs WHERE (x <#> y) <> (y <#> x) OR (x <-> y) <> (y <-> x) OR (x <+> y) <> (y <+> x) OR (x <=> y) <> (y <=> x)), 0::bigint, 'distances are symmetric');
SELECT is((SELECT count(*) FROM pairs WHERE (x <-> x) <> 0 OR (x <+> x) <> 0 OR (ds_norm(x) > 0 AND abs(x <=> x) > 1e-15)), 0::bigint, 'a value is at distance 0 from itself');
SELECT is((SELECT count(*) FROM pairs WHERE ds_norm(x) > 0 AND abs(ds_norm(ds_normalize(x)) - 1) > 1e-6), 0::bigint, 'ds_normalize gives length 1');
SELECT is((SELECT count(*) FROM pairs JOIN truth USING (id) WHERE ds_dims(x) <> d OR ds_nonzero(x) <> kept), 0::bigint, 'ds_dims and ds_nonzero count');

-- there and back
SELECT is((SELECT count(*) FROM pairs WHERE sparseembedding_send(x::text::sparseembedding) <> sparseembedding_send(x)), 0::bigint, 'text and back gives the same bits');
SELECT is((SELECT count(*) FROM pairs WHERE x::real[] <> a), 0::bigint, 'arrays and back too');
SELECT is((SELECT count(*) FROM pairs WHERE embedding_send(x::embedding) <> embedding_send(a::embedding) OR x::embedding::sparseembedding <> x), 0::bigint, 'embeddings and back too');
SELECT is((SELECT count(*) FROM pairs WHERE s < 1e6 AND x::halfembedding <> a::halfembedding), 0::bigint, 'half floats are those of the array');
SELECT is((SELECT count(*) FROM pairs p, LATERAL (SELECT ('{' || string_agg(n || ':' || v::text, ',' ORDER BY n DESC) || '}/' || d)::sparseembedding AS z FROM unnest(a) WITH ORDINALITY w(v, n)) q WHERE z <> x), 0::bigint,
	'indices come in any order, zeros too');
SELECT is((SELECT count(*) FROM pairs p JOIN pairs q ON p.d = q.d WHERE (p.x < q.x) <> (p.a::embedding < q.a::embedding) OR (p.x = q.x) <> (p.a = q.a)), 0::bigint, 'the order is that of all elements');
SELECT is((SELECT count(*) FROM pairs p JOIN pairs q ON p.x = q.x WHERE sparseembedding_hash(p.x) <> sparseembedding_hash(q.x)), 0::bigint, 'equal values have equal hashes');
SELECT current_setting('data_directory') || '/sparse_properties' AS path \gset
CREATE TABLE target (id bigint, x sparseembedding);
SELECT lives_ok(format('COPY (SELECT id, x FROM pairs) TO %L (FORMAT binary)', :'path'), 'COPY TO, binary');
SELECT lives_ok(format('COPY target FROM %L (FORMAT binary)', :'path'), 'COPY FROM, binary');
SELECT is((SELECT count(*) FROM target t JOIN pairs USING (id) WHERE sparseembedding_send(t.x) = sparseembedding_send(pairs.x)), 90::bigint, 'the same bits come back');

-- bits
CREATE TABLE bits AS SELECT id, d, ds_binarize(a::embedding) AS x, ds_binarize(b::embedding) AS y, a, b FROM pairs;
CREATE TABLE bits_truth AS
SELECT id, count(*) FILTER (WHERE (u > 0) <> (v > 0)) AS differ, count(*) FILTER (WHERE u > 0 AND v > 0) AS common, count(*) FILTER (WHERE u > 0 OR v > 0) AS either, string_agg((u > 0)::int::text, '' ORDER BY n) AS digits
FROM bits, unnest(a, b) WITH ORDINALITY w(u, v, n) GROUP BY id;
SELECT is((SELECT count(*) FROM bits JOIN bits_truth USING (id) WHERE x::text <> digits), 0::bigint, 'ds_binarize gives 1 for what is above zero');
SELECT is((SELECT count(*) FROM bits JOIN bits_truth USING (id) WHERE (x <~> y) <> differ), 0::bigint, '<~> counts the bits that differ');
SELECT is((SELECT count(*) FROM bits JOIN bits_truth USING (id) WHERE abs((x <%> y) - CASE WHEN common = 0 THEN 1 ELSE 1 - common / either::double precision END) > 1e-15), 0::bigint, '<%> is 1 - both / either');
SELECT is((SELECT count(*) FROM bits WHERE (x <~> y) <> (y <~> x) OR (x <%> y) <> (y <%> x) OR (x <~> x) <> 0), 0::bigint, 'both are symmetric');
SELECT is((SELECT count(*) FROM bits p JOIN bits q USING (d) JOIN bits r USING (d) WHERE d <= 33 AND (p.x <~> r.x) > (p.x <~> q.x) + (q.x <~> r.x)), 0::bigint, 'no way is shorter than the direct one');
SELECT is((SELECT count(*) FROM bits WHERE CASE WHEN (SELECT max(abs(v)) FROM unnest(a) v) < 65000 THEN ds_binarize(a::halfembedding) <> ds_binarize(a::halfembedding::embedding) END), 0::bigint, 'of half floats as of the same embedding');

-- half floats beside doubles: sums in float differ by their rounding
CREATE TABLE halves AS SELECT id, d, a::halfembedding AS x, b::halfembedding AS y FROM pairs WHERE s <= 1;
CREATE TABLE halves_truth AS
SELECT id, sum(u * v) AS ip, sum(abs(u * v)) AS ip_size, sqrt(sum((u - v) ^ 2)) AS l2, sum(abs(u - v)) AS l1, sqrt(sum(u * u)) * sqrt(sum(v * v)) AS norms
FROM halves, unnest(x::real[]::double precision[], y::real[]::double precision[]) w(u, v) GROUP BY id;
SELECT is((SELECT count(*) FROM halves JOIN halves_truth USING (id) WHERE abs((x <#> y) + ip) > 1e-6 * ip_size), 0::bigint, 'halves: <#> is that of doubles, to rounding');
SELECT is((SELECT count(*) FROM halves JOIN halves_truth USING (id) WHERE abs((x <-> y) - l2) > 1e-6 * l2 OR abs((x <+> y) - l1) > 1e-6 * l1), 0::bigint, 'halves: <-> and <+> too');
SELECT is((SELECT count(*) FROM halves JOIN halves_truth USING (id) WHERE norms > 1e-12 AND abs((x <=> y) - (1 - ip / norms)) > 1e-6), 0::bigint, 'halves: <=> too');
SELECT is((SELECT count(*) FROM halves WHERE (x <#> y) <> (y <#> x) OR (x <-> y) <> (y <-> x) OR (x <+> y) <> (y <+> x) OR (x <=> y) <> (y <=> x)), 0::bigint, 'halves: distances are symmetric');

SELECT * FROM finish();
ROLLBACK;
