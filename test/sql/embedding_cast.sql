\set SHOW_CONTEXT never
-- from arrays
SELECT '{1,2.5,-3}'::real[]::embedding;
SELECT ARRAY[1, 0.1, 1e-50]::double precision[]::embedding;
SELECT ARRAY[1, -2147483648, 16777217]::embedding;
SELECT ARRAY[1.5, 0.1, 123456789012345678901234567890]::numeric[]::embedding;
SELECT '[5:6]={1,2}'::integer[]::embedding;
SELECT ARRAY[1,2]::embedding(2);
SELECT ARRAY[1,2]::embedding(3);
SELECT '{}'::real[]::embedding;
SELECT '{1,NULL}'::real[]::embedding;
SELECT '{1,NULL}'::numeric[]::embedding;
SELECT '{{1,2},{3,4}}'::double precision[]::embedding;
SELECT '{1,NaN}'::real[]::embedding;
SELECT '{1,-Infinity}'::double precision[]::embedding;
SELECT '{1,NaN}'::numeric[]::embedding;
SELECT '{1,1e39}'::double precision[]::embedding;
SELECT '{1,1e39}'::numeric[]::embedding;
SELECT array_fill(0, ARRAY[16001])::embedding;

-- to arrays
SELECT '[1,0.1,-1e-45]'::embedding::real[];
SELECT '[1,0.1,-2.5]'::embedding::double precision[];
SELECT '[1.5,2.5,-2.5,0.4,-2147483648]'::embedding::integer[];
SELECT '[1,2147483648]'::embedding::integer[];
SELECT '[1,0.1,0.12345679,3.4028235e38]'::embedding::numeric[];

-- there and back
SELECT e, e = e::real[]::embedding AND e = e::double precision[]::embedding AND e = e::numeric[]::embedding AS same
FROM (VALUES ('[1,0.1,1e-45,3.4028235e38,-7.038531e-26]'::embedding)) v(e);

-- implicit to real[]; arrays keep their own operators
SELECT array_to_string('[1,2,3]'::embedding::real[], ' '), array_length('[1,2,3]'::embedding::real[], 1);
SELECT ARRAY[1,2]::real[] = ARRAY[1,2]::real[], ARRAY[1,2]::real[] || ARRAY[3]::real[], ARRAY[1]::real[] < ARRAY[2]::real[];
CREATE FUNCTION embedding_cast_takes_real(real[]) RETURNS integer LANGUAGE sql AS 'SELECT cardinality($1)';
SELECT embedding_cast_takes_real('[1,2,3]'::embedding);
DROP FUNCTION embedding_cast_takes_real(real[]);
