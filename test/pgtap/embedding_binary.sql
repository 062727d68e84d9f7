-- The binary form: through COPY in both directions, and what it refuses.
BEGIN;
SELECT plan(23);

SELECT current_setting('data_directory') || '/embedding_binary' AS path \gset

SELECT is(embedding_send('[1,-2.5]'), '\x00020000' || float4send(1) || float4send(-2.5), 'dimension, zero, float4 in network order');

CREATE TABLE source AS
SELECT d AS id, (SELECT array_agg(((random() - 0.5) * 10 ^ (random() * 70 - 40))::real) FROM generate_series(1, d))::embedding AS e
FROM unnest(ARRAY[1, 2, 29, 30, 31, 32, 100, 500, 768, 2000, 2100, 16000]) d;
INSERT INTO source VALUES (20000, NULL), (20001, '[0,-0]');
CREATE TABLE target (LIKE source);
SELECT lives_ok(format('COPY source TO %L (FORMAT binary)', :'path'), 'COPY TO, binary');
SELECT lives_ok(format('COPY target FROM %L (FORMAT binary)', :'path'), 'COPY FROM, binary');
SELECT results_eq('SELECT id, embedding_send(e) FROM target ORDER BY id', 'SELECT id, embedding_send(e) FROM source ORDER BY id', 'the same bits come back');
TRUNCATE target;
SELECT lives_ok(format('COPY source TO %L', :'path'), 'COPY TO, text');
SELECT lives_ok(format('COPY target FROM %L', :'path'), 'COPY FROM, text');
SELECT results_eq('SELECT id, embedding_send(e) FROM target ORDER BY id', 'SELECT id, embedding_send(e) FROM source ORDER BY id', 'the same bits come back');

CREATE TABLE arrays (e embedding[]);
INSERT INTO arrays SELECT array_agg(e ORDER BY id) FROM source;
CREATE TABLE arrays_back (LIKE arrays);
SELECT lives_ok(format('COPY arrays TO %L (FORMAT binary)', :'path'), 'COPY TO of an array, binary');
SELECT lives_ok(format('COPY arrays_back FROM %L (FORMAT binary)', :'path'), 'COPY FROM of an array, binary');
SELECT ok((SELECT a.e = b.e FROM arrays a, arrays_back b), 'an array comes back');

-- one field of a binary COPY
CREATE TABLE received (e embedding(2));
CREATE FUNCTION pg_temp.receive(field bytea) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	path text := current_setting('data_directory') || '/embedding_binary';
	object oid := lo_from_bytea(0, '\x5047434f50590aff0d0a000000000000000000'::bytea || '\x0001'::bytea
		|| int4send(length(field)) || field || '\xffff'::bytea);
BEGIN
	PERFORM lo_export(object, path);
	PERFORM lo_unlink(object);
	EXECUTE format('COPY received FROM %L (FORMAT binary)', path);
END
$$;
SELECT lives_ok($$SELECT pg_temp.receive('\x000200003f800000c0200000')$$, 'well-formed');
SELECT is((SELECT e::text FROM received), '[1,-2.5]', 'and read');
SELECT throws_ok(format('SELECT pg_temp.receive(%L)', field), code, message, what)
FROM (VALUES ('\x'::bytea, '22P03', 'invalid binary format of type embedding', 'empty'),
	('\x000200', '22P03', 'invalid binary format of type embedding', 'half a header'),
	('\x000200003f800000c02000', '22P03', 'invalid binary format of type embedding', 'too short'),
	('\x000200003f800000c020000000', '22P03', 'invalid binary format of type embedding', 'too long'),
	('\xffff00003f800000c0200000', '22P03', 'invalid binary format of type embedding', 'negative dimension'),
	('\x000200013f800000c0200000', '22P03', 'invalid binary format of type embedding', 'unused field not zero'),
	('\x000200003f8000007fc00000', '22000', 'NaN is not allowed in an embedding', 'NaN'),
	('\x00020000ff800000c0200000', '22000', 'infinity is not allowed in an embedding', 'infinity'),
	('\x00000000', '22000', 'an embedding must have at least 1 dimension', 'no elements'),
	('\x3e810000', '54000', 'an embedding cannot have more than 16000 dimensions', '16,001 dimensions'),
	('\x000100003f800000', '22000', 'expected 2 dimensions, not 1', 'wrong dimension')) v(field, code, message, what);

SELECT * FROM finish();
ROLLBACK;
