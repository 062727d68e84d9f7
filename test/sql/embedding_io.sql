-- text
SELECT '[1,2,3]'::embedding;
SELECT ' [ 1 ,	2.50 , -3e2
] '::embedding;
SELECT '[+1,.5,5.,1E3,1e+3,1e-3,-0,0,007]'::embedding;
SELECT '[0.1,0.30000001192092896,16777217,16777219,1234567890123456789012345,0.0000000000000000000000000000001]'::embedding;
SELECT '[3.4028235e38,-3.4028235e38,1.17549435e-38,1e-45,1e-46,-1e-400]'::embedding;
-- digits that lie next to the middle of two floats
SELECT '[1.00000005960464477539062,1.00000005960464477539063,1.000000059604644775390625,1.00000017881393432617187499,1.00000017881393432617187500]'::embedding;
SELECT '{"[1,2]",NULL,"[3]"}'::embedding[];

-- refused
\set SHOW_CONTEXT never
SELECT ''::embedding;
SELECT '1,2'::embedding;
SELECT '{1,2}'::embedding;
SELECT '['::embedding;
SELECT '[1'::embedding;
SELECT '[1,'::embedding;
SELECT '[1,]'::embedding;
SELECT '[,1]'::embedding;
SELECT '[1,,2]'::embedding;
SELECT '[1 2]'::embedding;
SELECT '[1;2]'::embedding;
SELECT '[1,2]x'::embedding;
SELECT '[1,2][3]'::embedding;
SELECT '[[1],[2]]'::embedding;
SELECT '[1,a]'::embedding;
SELECT '[1,夏]'::embedding;
SELECT '[0x10]'::embedding;
SELECT '[1e]'::embedding;
SELECT '[1e+]'::embedding;
SELECT '[.]'::embedding;
SELECT '[-]'::embedding;
SELECT '[--1]'::embedding;
SELECT '[1.2.3]'::embedding;
SELECT ('[1,2,3,4,5,6,7,8,9,10,夏季连衣裙夏季连衣裙夏季连衣裙夏季连衣裙夏季连衣裙]')::embedding;
SELECT '[]'::embedding;
SELECT '[ ]'::embedding;
SELECT '[NaN]'::embedding;
SELECT '[1,nan]'::embedding;
SELECT '[1,inf]'::embedding;
SELECT '[-Infinity]'::embedding;
SELECT '[1,4e38]'::embedding;
SELECT '[-1e400]'::embedding;
SELECT ('[' || repeat('1,', 16000) || '1]')::embedding;
SELECT '[1,2,3]'::embedding(2);
SELECT '[1]'::embedding(0);
SELECT '[1]'::embedding(-1);
SELECT '[1]'::embedding(16001);
SELECT '[1]'::embedding(1,2);
SELECT '[1]'::embedding('a');

SELECT ds_dims(('[' || repeat('1,', 15999) || '1]')::embedding);
SELECT ds_dims(('[' || repeat('1,', 15999) || '1]')::embedding(16000));
SELECT '[1,2,3]'::embedding(3), format_type('embedding'::regtype, 3);

-- binary: int16 dimension, int16 zero, float4 in network order
SELECT embedding_send('[1,-2.5,0]');

-- columns
CREATE TABLE embedding_io (id integer, e embedding(3));
INSERT INTO embedding_io VALUES (1, '[1,2,3]'), (2, NULL), (3, '[0.1,-0,1e-45]'), (4, '{4,5,6}'::real[]);
INSERT INTO embedding_io VALUES (5, '[1,2]');
INSERT INTO embedding_io VALUES (5, '[1,2]'::embedding);
INSERT INTO embedding_io VALUES (5, ARRAY[1,2]);
COPY embedding_io TO STDOUT;
COPY embedding_io FROM STDIN;
6	[7,8,9]
7	\N
\.
COPY embedding_io FROM STDIN;
8	[7,8,9]
9	[7,8]
\.
SELECT * FROM embedding_io ORDER BY id;
ALTER TABLE embedding_io ALTER e TYPE embedding(2);
ALTER TABLE embedding_io ALTER e TYPE embedding;
INSERT INTO embedding_io VALUES (8, '[1,2]');
ALTER TABLE embedding_io ALTER e TYPE embedding(2);
DELETE FROM embedding_io WHERE id = 8;
ALTER TABLE embedding_io ALTER e TYPE real[];
ALTER TABLE embedding_io ALTER e TYPE embedding(3);
SELECT * FROM embedding_io ORDER BY id;
DROP TABLE embedding_io;
