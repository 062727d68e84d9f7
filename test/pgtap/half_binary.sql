-- The binary form of halfembedding: what it refuses.
BEGIN;
SELECT plan(13);

CREATE TABLE received (h halfembedding(2));
CREATE FUNCTION pg_temp.receive(field bytea) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	path text := current_setting('data_directory') || '/half_binary';
	object oid := lo_from_bytea(0, '\x5047434f50590aff0d0a000000000000000000'::bytea || '\x0001'::bytea
		|| int4send(length(field)) || field || '\xffff'::bytea);
BEGIN
	PERFORM lo_export(object, path);
	PERFORM lo_unlink(object);
	EXECUTE format('COPY received FROM %L (FORMAT binary)', path);
END
$$;
SELECT lives_ok($$SELECT pg_temp.receive('\x000200003c00c100')$$, 'well-formed');
SELECT is((SELECT h::text FROM received), '[1,-2.5]', 'and read');
SELECT throws_ok(format('SELECT pg_temp.receive(%L)', field), code, message, what)
FROM (VALUES ('\x'::bytea, '22P03', 'invalid binary format of type halfembedding', 'empty'),
	('\x000200', '22P03', 'invalid binary format of type halfembedding', 'half a header'),
	('\x000200003c00c1', '22P03', 'invalid binary format of type halfembedding', 'too short'),
	('\x000200003c00c10000', '22P03', 'invalid binary format of type halfembedding', 'too long'),
	('\xffff00003c00c100', '22P03', 'invalid binary format of type halfembedding', 'negative dimension'),
	('\x000200013c00c100', '22P03', 'invalid binary format of type halfembedding', 'unused field not zero'),
	('\x000200003c007e00', '22000', 'NaN is not allowed in an embedding', 'NaN'),
	('\x00020000fc003c00', '22000', 'infinity is not allowed in an embedding', 'infinity'),
	('\x00000000', '22000', 'an embedding must have at least 1 dimension', 'no elements'),
	('\x3e810000', '54000', 'an embedding cannot have more than 16000 dimensions', '16,001 dimensions'),
	('\x000100003c00', '22000', 'expected 2 dimensions, not 1', 'wrong dimension')) v(field, code, message, what);

SELECT * FROM finish();
ROLLBACK;
