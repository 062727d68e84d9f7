-- What must hold for any embedding, over random ones.
BEGIN;
SELECT plan(33);
SELECT setseed(0.25);

-- Input against the server's own reading of float4: any number of digits and exponents ...
CREATE TABLE numbers AS
SELECT (CASE WHEN random() < 0.3 THEN '-' ELSE '' END)
	|| CASE i % 4
		WHEN 0 THEN round((random() * 10 ^ (i % 9))::numeric, i % 17)::text
		WHEN 1 THEN round((random() * 1e9)::numeric, 0) || lpad(round((random() * 1e9)::numeric, 0)::text, 9, '0') || '.'
			|| (random() * 1e9)::bigint || 'e' || (random() * 60 - 50)::integer
		WHEN 2 THEN (random() * 10 ^ (random() * 70 - 40))::text
		ELSE (random() * 10 ^ (random() * 70 - 40))::real::text END AS t
FROM generate_series(1, 60000) i;
SELECT is((SELECT count(*) FROM numbers
		WHERE float4send((('[' || t || ']')::embedding::real[])[1]) <> float4send(t::real)), 0::bigint,
	'60,000 numbers of all forms are read as the server reads a real');
-- ... and numbers at and next to the middle between two floats (2^-24 = 0.000000059604644775390625)
CREATE TABLE halves AS
SELECT (1 + (2 * (random() * 8388607)::integer + 1) * 0.000000059604644775390625
	+ (i % 3 - 1) * power(10::numeric, -(24 + i % 20)))::text || 'e' || (i % 30 - 15) AS t
FROM generate_series(1, 20000) i;
SELECT is((SELECT count(*) FROM halves
		WHERE float4send((('[' || t || ']')::embedding::real[])[1]) <> float4send(t::real)), 0::bigint,
	'20,000 numbers next to the middle of two floats too');

-- Random vectors: short and long headers, powers of two and not, one page and several
CREATE FUNCTION pg_temp.vector(d integer, scale double precision) RETURNS embedding LANGUAGE sql VOLATILE AS
	'SELECT array_agg((random() - 0.5) * scale)::embedding FROM generate_series(1, d)';
CREATE TABLE pairs AS
SELECT d, pg_temp.vector(d, s) AS a, pg_temp.vector(d, s) AS b, pg_temp.vector(d, s) AS c
FROM (VALUES (1), (2), (3), (5), (8), (15), (16), (17), (29), (30), (31), (32), (33), (63), (64), (65), (100), (127), (128),
		(129), (255), (384), (500), (768), (1000), (1536), (2000), (3000)) dims(d),
	(VALUES (1.0), (1000.0), (1e-6), (1e30), (1e-30)) scales(s), generate_series(1, 3);
INSERT INTO pairs VALUES (16000, pg_temp.vector(16000, 1), pg_temp.vector(16000, 1), pg_temp.vector(16000, 1));

-- The reference: double precision arithmetic in SQL.  eps is the error that the kernels state.
CREATE TABLE reference AS
SELECT p.*, (d / 16.0 + 20) * 1.01 / 16777216 AS eps, r.*
FROM pairs p, LATERAL (
	SELECT sqrt(sum((x - y) ^ 2)) AS l2, sum(x * y) AS ip, sum(abs(x - y)) AS l1, sqrt(sum(x * x)) AS na, sqrt(sum(y * y)) AS nb
	FROM unnest(a::double precision[], b::double precision[]) t(x, y)) r;
SELECT is((SELECT count(*) FROM reference), 421::bigint, 'pairs to compare');
SELECT is((SELECT count(*) FROM reference WHERE NOT abs((a <-> b) - l2) <= eps * l2), 0::bigint, '<-> is the Euclidean distance');
SELECT is((SELECT count(*) FROM reference WHERE NOT abs((a <#> b) + ip) <= eps * na * nb), 0::bigint, '<#> is the negative inner product');
SELECT is((SELECT count(*) FROM reference WHERE NOT abs((a <+> b) - l1) <= eps * l1), 0::bigint, '<+> is the taxicab distance');
SELECT is((SELECT count(*) FROM reference WHERE NOT abs((a <=> b) - (1 - ip / (na * nb))) <= 2 * eps), 0::bigint, '<=> is the cosine distance');
SELECT is((SELECT count(*) FROM reference WHERE NOT abs(ds_norm(a) - na) <= 1e-12 * na), 0::bigint, 'ds_norm is the length');

SELECT is((SELECT count(*) FROM pairs WHERE (a <-> b) <> (b <-> a) OR (a <=> b) <> (b <=> a) OR (a <#> b) <> (b <#> a) OR (a <+> b) <> (b <+> a)),
	0::bigint, 'distances are symmetric to the bit');
SELECT is((SELECT count(*) FROM pairs WHERE (a <-> a) <> 0 OR (a <+> a) <> 0 OR (a <=> a) > 1e-6), 0::bigint, 'a value is at distance 0 from itself');
SELECT is((SELECT count(*) FROM pairs WHERE (a <=> b) NOT BETWEEN 0 AND 2 OR (a <=> -a) < 2 - 1e-6), 0::bigint, 'cosine distance is in 0 to 2');
SELECT is((SELECT count(*) FROM reference WHERE (a <-> c) > ((a <-> b) + (b <-> c)) * (1 + 2 * eps)), 0::bigint, 'triangle inequality of <->');
SELECT is((SELECT count(*) FROM reference WHERE (a <+> c) > ((a <+> b) + (b <+> c)) * (1 + 2 * eps)), 0::bigint, 'triangle inequality of <+>');
SELECT is((SELECT count(*) FROM pairs WHERE abs(ds_norm(ds_normalize(a)) - 1) > 1e-6 OR (a <=> ds_normalize(a)) > 1e-6), 0::bigint,
	'ds_normalize keeps the direction and has length 1');

-- text and arrays: there and back
SELECT is((SELECT count(*) FROM pairs WHERE embedding_send(a::text::embedding) <> embedding_send(a)), 0::bigint, 'text and back gives the same bits');
SELECT is((SELECT count(*) FROM pairs WHERE a::text <> translate(a::real[]::text, '{}', '[]')), 0::bigint, 'the text of an element is that of a real');
SELECT is((SELECT count(*) FROM pairs WHERE embedding_send(a::real[]::embedding) <> embedding_send(a)
		OR embedding_send(a::double precision[]::embedding) <> embedding_send(a)
		OR embedding_send(a::numeric[]::embedding) <> embedding_send(a)), 0::bigint, 'arrays and back give the same bits');

-- arithmetic, element by element, against that of real
SELECT is((SELECT count(*) FROM pairs WHERE (a + b)::real[] <> (SELECT array_agg(x + y) FROM unnest(a::real[], b::real[]) t(x, y))), 0::bigint, 'a + b');
SELECT is((SELECT count(*) FROM pairs WHERE (a - b)::real[] <> (SELECT array_agg(x - y) FROM unnest(a::real[], b::real[]) t(x, y))), 0::bigint, 'a - b');
SELECT is((SELECT count(*) FROM pairs WHERE ds_norm(a) BETWEEN 1e-10 AND 1e10
		AND (a * b)::real[] <> (SELECT array_agg(x * y) FROM unnest(a::real[], b::real[]) t(x, y))), 0::bigint, 'a * b');
SELECT is((SELECT count(*) FROM pairs WHERE ds_norm(a) BETWEEN 1e-10 AND 1e10
		AND (a * 0.3)::real[] <> (SELECT array_agg((x * 0.3::double precision)::real) FROM unnest(a::real[]) t(x))), 0::bigint, 'a * 0.3');
SELECT is((SELECT count(*) FROM pairs WHERE a - a <> a * 0 OR -(-a) <> a OR a + (-b) <> a - b OR 2 * a <> a + a OR a * 2 / 2 <> a), 0::bigint, 'signs and scalars');
SELECT is((SELECT count(*) FROM pairs WHERE d > 1 AND ds_subvector(a, 1, d / 2) || ds_subvector(a, d / 2 + 1, d) <> a), 0::bigint,
	'two parts concatenated are the whole');

-- order
SELECT is((SELECT count(*) FROM pairs WHERE (a < b) <> (a::real[] < b::real[]) OR (a = b) <> (a::real[] = b::real[]) OR NOT a <= a
		OR (embedding_cmp(a, b) <> -embedding_cmp(b, a))), 0::bigint, 'the order is that of arrays');
SELECT is((SELECT array_agg(d ORDER BY a) FROM pairs), (SELECT array_agg(d ORDER BY a::real[]) FROM pairs), 'and sorting agrees, abbreviated keys included');

-- how a value is stored changes nothing
CREATE TABLE stored (id serial, plain embedding, compressed embedding, external embedding);
ALTER TABLE stored ALTER compressed SET STORAGE EXTENDED, ALTER external SET STORAGE EXTERNAL;
INSERT INTO stored (plain, compressed, external)
SELECT e, e, e FROM (SELECT array_fill(d % 7 + 0.5, ARRAY[d])::embedding FROM unnest(ARRAY[1, 30, 31, 700, 1900, 5000, 16000]) d) v(e);
SELECT ok((SELECT bool_or(pg_column_size(compressed) < 4 * ds_dims(plain) / 2) AND bool_or(pg_column_size(plain) = 4 * ds_dims(plain) + 5) FROM stored),
	'some are compressed, some have a short header');
SELECT is((SELECT count(*) FROM stored WHERE NOT (plain = compressed AND plain = external AND (plain <-> compressed) = 0 AND (compressed <-> external) = 0
		AND embedding_hash(plain) = embedding_hash(compressed) AND embedding_hash(plain) = embedding_hash(external)
		AND compressed::text = external::text AND ds_norm(compressed) = ds_norm(external))), 0::bigint,
	'short, compressed and out of line values equal the plain ones');

-- sum and avg: serial, parallel, and by hand.  Multiples of 1/1024 add up exactly in double precision.
CREATE TABLE many AS
SELECT i, (SELECT array_agg((((i * 7919 + j * 104729) % 2049) - 1024) / 1024.0) FROM generate_series(1, 40) j)::embedding AS e
FROM generate_series(1, 20000) i;
INSERT INTO many SELECT i, NULL FROM generate_series(1, 10) i;
ANALYZE many;
SET LOCAL max_parallel_workers_per_gather = 0;
CREATE TABLE serial_result AS SELECT sum(e), avg(e), count(e) FROM many;
SET LOCAL max_parallel_workers_per_gather = 2;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL parallel_leader_participation = off;
CREATE FUNCTION pg_temp.plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	result text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		result := result || line || E'\n';
	END LOOP;
	RETURN result;
END
$$;
SELECT matches(pg_temp.plan_of('SELECT sum(e), avg(e), count(e) FROM many'), 'Partial Aggregate', 'sum and avg run in parallel');
SELECT results_eq('SELECT sum(e), avg(e), count(e) FROM many', 'SELECT * FROM serial_result', 'parallel sum and avg equal the serial ones');
SELECT results_eq('SELECT sum::real[] FROM serial_result',
	'SELECT array_agg(s::real ORDER BY n) FROM (SELECT n, sum(x::double precision) AS s FROM many, unnest(e::real[]) WITH ORDINALITY u(x, n) GROUP BY n) t',
	'sum is the sum of each element');
SELECT results_eq('SELECT avg::real[] FROM serial_result',
	'SELECT array_agg(s::real ORDER BY n) FROM (SELECT n, avg(x::double precision) AS s FROM many, unnest(e::real[]) WITH ORDINALITY u(x, n) GROUP BY n) t',
	'avg is the average of each element');

-- workers may be late and find nothing to do, so states are combined for certain here: one of each partition
CREATE TABLE parts (LIKE many) PARTITION BY LIST ((i % 3));
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
CREATE TABLE parts_null PARTITION OF parts FOR VALUES IN (NULL);
INSERT INTO parts SELECT * FROM many;
INSERT INTO parts VALUES (NULL, NULL);
ANALYZE parts;
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL enable_partitionwise_aggregate = on;
SELECT matches(pg_temp.plan_of('SELECT sum(e), avg(e), count(e) FROM parts'), 'Finalize Aggregate.*Partial Aggregate', 'states of partitions are combined');
SELECT results_eq('SELECT sum(e), avg(e), count(e) FROM parts', 'SELECT * FROM serial_result', 'and the result is the serial one');

SELECT * FROM finish();
ROLLBACK;
