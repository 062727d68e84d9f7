\set SHOW_CONTEXT never
SELECT sum(e), avg(e), count(e) FROM (VALUES ('[1,2]'::embedding), ('[3,-4]'), (NULL), ('[2,2]')) v(e);
SELECT sum(e), avg(e) FROM (VALUES (NULL::embedding)) v(e);
SELECT sum(e), avg(e) FROM (VALUES ('[1]'::embedding)) v(e) WHERE false;
SELECT k, sum(e), avg(e) FROM (VALUES (1, '[1,2]'::embedding), (2, '[5]'), (1, '[3,4]'), (2, '[7]')) v(k, e) GROUP BY k ORDER BY k;
SELECT k, sum(e) OVER (ORDER BY k), avg(e) OVER (ORDER BY k ROWS 1 PRECEDING)
FROM (VALUES (1, '[1]'::embedding), (2, '[2]'), (3, '[4]')) v(k, e) ORDER BY k;
SELECT sum(DISTINCT e), avg(e ORDER BY e DESC) FILTER (WHERE e > '[1]') FROM (VALUES ('[1]'::embedding), ('[1]'), ('[3]')) v(e);
-- the sum of large and small numbers is rounded once
SELECT sum(e), avg(e) FROM (VALUES ('[16777216]'::embedding), ('[1]'), ('[1]')) v(e);
-- an intermediate sum may be larger than any real
SELECT sum(e), avg(e) FROM (VALUES ('[3e38]'::embedding), ('[3e38]'), ('[-3e38]')) v(e);
SELECT avg(e) FROM (VALUES ('[3e38]'::embedding), ('[3e38]')) v(e);
SELECT sum(e) FROM (VALUES ('[3e38]'::embedding), ('[3e38]')) v(e);
SELECT sum(e) FROM (VALUES ('[1,2]'::embedding), ('[1]')) v(e);
SELECT avg(e) FROM (VALUES ('[1]'::embedding), ('[1,2]')) v(e);
