-- What the type refuses, by SQLSTATE, and nothing is left half done.
BEGIN;
SELECT plan(67);

-- text: 22P02 malformed, 22000 not an embedding, 22003 not a float4, 54000 too many
SELECT throws_ok(format('SELECT %L::embedding', t), code, NULL, format('text %L: %s', left(t, 20), code))
FROM (VALUES ('', '22P02'), ('1', '22P02'), ('[1', '22P02'), ('[1,]', '22P02'), ('[,1]', '22P02'), ('[1 2]', '22P02'),
	('[1]]', '22P02'), ('[a]', '22P02'), ('[0x1]', '22P02'), ('[1e]', '22P02'), ('{1}', '22P02'), ('[1,夏]', '22P02'),
	('[]', '22000'), ('[nan]', '22000'), ('[1,-inf]', '22000'), ('[Infinity]', '22000'),
	('[4e38]', '22003'), ('[1,-1e9999999999999999999]', '22003'),
	('[' || repeat('0,', 16000) || '0]', '54000')) v(t, code);
SELECT lives_ok(format('SELECT %L::embedding', '[' || repeat('0,', 15999) || '0]'), '16,000 dimensions are a value');
SELECT lives_ok($$SELECT '[1e-9999999999999999999]'::embedding$$, 'a number too small for a float4 is 0');

-- type modifier
SELECT throws_ok(format('SELECT %L::embedding(%s)', '[1]', m), '22023', NULL, 'embedding(' || m || ')')
FROM unnest(ARRAY['0', '-1', '16001', '1,2']) m;
SELECT throws_ok($$SELECT '[1,2]'::embedding(3)$$, '22000', 'expected 3 dimensions, not 2', 'literal of a wrong dimension');
SELECT throws_ok($$SELECT e::embedding(3) FROM (VALUES ('[1,2]'::embedding)) v(e)$$, '22000', 'expected 3 dimensions, not 2', 'cast to a wrong dimension');
SELECT throws_ok($$SELECT ARRAY[1,2]::embedding(3)$$, '22000', 'expected 3 dimensions, not 2', 'array of a wrong dimension');

-- arrays
SELECT throws_ok(format('SELECT %L::%s::embedding', a, t), code, NULL, format('%s %s: %s', t, left(a, 20), code))
FROM (VALUES ('real[]'), ('double precision[]'), ('integer[]'), ('numeric[]')) types(t),
	(VALUES ('{}', '22000'), ('{NULL}', '22004'), ('{{1,2}}', '2202E')) v(a, code);
SELECT throws_ok(format('SELECT %L::%s::embedding', a, t), code, NULL, format('%s %s: %s', t, a, code))
FROM (VALUES ('{NaN}', 'real[]', '22000'), ('{Infinity}', 'real[]', '22000'), ('{NaN}', 'double precision[]', '22000'),
	('{-Infinity}', 'double precision[]', '22000'), ('{1e39}', 'double precision[]', '22003'), ('{NaN}', 'numeric[]', '22000'),
	('{1e39}', 'numeric[]', '22003')) v(a, t, code);
SELECT throws_ok($$SELECT array_fill(0, ARRAY[16001])::embedding$$, '54000', NULL, 'an array too long');
SELECT throws_ok($$SELECT '[3e9]'::embedding::integer[]$$, '22003', NULL, 'an element too large for integer');

-- operators
SELECT throws_ok(format('SELECT %L::embedding %s %L', '[1,2]', op, '[1,2,3]'), '22000', 'different embedding dimensions: 2 and 3', 'dimensions of ' || op)
FROM unnest(ARRAY['<=>', '<->', '<#>', '<+>', '+', '-', '*']) op;
SELECT throws_ok(format('SELECT %s', x), code, NULL, format('%s: %s', x, code))
FROM (VALUES ($$'[3e38]'::embedding + '[3e38]'$$, '22003'), ($$'[1e20]'::embedding * '[1e20]'$$, '22003'),
	($$'[3e38]'::embedding * 10$$, '22003'), ($$'[1]'::embedding / 0$$, '22012'),
	($$ds_subvector('[1]', 2, 1)$$, '22000'), ($$array_fill(1, ARRAY[16000])::embedding || '[1]'$$, '54000')) v(x, code);

-- since PostgreSQL 16 a caller may ask for the error instead of its being raised
SELECT current_setting('server_version_num')::integer >= 160000 AS soft \gset
\if :soft
SELECT is((SELECT sql_error_code FROM pg_input_error_info(t, type)), code, format('%s %s: %s, not raised', type, t, coalesce(code, 'valid')))
FROM (VALUES ('[1,2]', 'embedding(2)', NULL), ('[1,2]', 'embedding(3)', '22000'), ('[1,a]', 'embedding', '22P02'),
	('[1,nan]', 'embedding', '22000'), ('[1,4e38]', 'embedding', '22003')) v(t, type, code);
\else
SELECT skip('pg_input_error_info comes with PostgreSQL 16', 5);
\endif

SELECT * FROM finish();
ROLLBACK;
