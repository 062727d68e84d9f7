-- ds_duplicates: the same rows, nearly the same rows.
\set VERBOSITY default
CREATE TABLE titles (id int PRIMARY KEY, title text);
INSERT INTO titles VALUES
	(1, 'Red summer dress with long sleeves'),
	(2, 'red  SUMMER dress with long sleeves '),
	(3, 'Red summer dress with long sleeve'),
	(4, 'Blue winter coat'),
	(5, '夏季红色连衣裙长袖'),
	(6, '夏季红色连衣裙长袖款'),
	(7, 'ＢＬＵＥ winter coat'),
	(8, NULL), (9, ''), (10, '   '),
	(11, 'Blue winter coats'),
	(12, 'ab'), (13, 'ab'), (14, 'ac');
\set source '''SELECT id, title FROM titles ORDER BY id'''
SELECT id, duplicate_of, round(similarity::numeric, 3) AS similarity, exact FROM ds_duplicates(:source);
-- all pairs: 2 and 3 are like 1 and like each other
SELECT id, duplicate_of, round(similarity::numeric, 3) AS similarity, exact FROM ds_duplicates(:source, pairs => true) ORDER BY id::int, duplicate_of::int;
SELECT id, duplicate_of FROM ds_duplicates(:source, 1.0);
-- words in any order
SELECT * FROM ds_duplicates('VALUES (1, ''summer dress red''), (2, ''red summer dress''), (3, ''red summer coat'')', 0.9, 'words');
SELECT * FROM ds_duplicates('VALUES (1, ''summer dress red''), (2, ''red summer dress'')', 0.9, 'words', 2);
-- cleaning decides what is the same
SELECT * FROM ds_duplicates('VALUES (1, ''Red''), (2, ''red'')', cleaning => '{"fold_case": false}');
SELECT * FROM ds_duplicates('VALUES (1, ''Red dress''), (2, ''<b>red</b> dress'')', cleaning => '{"strip_html": true}');
-- nothing at all
SELECT * FROM ds_duplicates('SELECT 1, ''x'' WHERE false');

-- Against every row compared with every kept row before it: texts of a small alphabet, and copies with some letters changed.
CREATE FUNCTION shingle_set(t text) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN length(t) < 3 THEN ARRAY[t] ELSE (SELECT array_agg(DISTINCT substr(t, i, 3)) FROM generate_series(1, length(t) - 2) i) END $$;
CREATE FUNCTION jaccard(a text[], b text[]) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT x.both / (cardinality(a) + cardinality(b) - x.both)
	FROM (SELECT count(*)::float8 AS both FROM (SELECT unnest(a) INTERSECT SELECT unnest(b)) i) x $$;
CREATE TABLE texts (id int PRIMARY KEY, original int, t text);
INSERT INTO texts SELECT i, i, (SELECT string_agg(chr(97 + (get_byte(decode(md5(i || '-' || j), 'hex'), 0)) % 16), '' ORDER BY j) FROM generate_series(1, 20 + i % 30) j)
FROM generate_series(1, 70) i;
INSERT INTO texts SELECT 70 + i, i % 70 + 1, overlay(t PLACING substr(md5(i::text), 1, 1 + i % 4) FROM 1 + i % length(t) FOR i % 5)
FROM generate_series(1, 210) i JOIN texts ON id = i % 70 + 1;
-- in an order in which copies come before their originals too
CREATE TABLE shuffled AS SELECT row_number() OVER (ORDER BY md5(id::text)) AS n, id, t, shingle_set(t) AS s FROM texts;
CREATE FUNCTION brute_force(threshold float8) RETURNS TABLE (id int, duplicate_of int, similarity float8) LANGUAGE plpgsql AS $$
DECLARE
	kept int[] := '{}';
	r record;
	best record;
BEGIN
	FOR r IN SELECT * FROM shuffled ORDER BY n LOOP
		SELECT k.id, jaccard(k.s, r.s) AS j INTO best FROM shuffled k WHERE k.id = ANY (kept) ORDER BY 2 DESC, k.n LIMIT 1;
		IF best.j >= threshold THEN
			id := r.id; duplicate_of := best.id; similarity := best.j;
			RETURN NEXT;
		ELSE
			kept := kept || r.id;
		END IF;
	END LOOP;
END $$;
CREATE TABLE by_hand AS SELECT threshold, b.* FROM unnest('{0.5,0.7,0.9}'::float8[]) threshold, brute_force(threshold) b;
SELECT threshold, count(*) FROM by_hand GROUP BY 1 ORDER BY 1;
SELECT threshold, count(*) AS differ FROM (
	(SELECT threshold, id::text, duplicate_of::text, similarity FROM by_hand EXCEPT
	 SELECT threshold, d.id, d.duplicate_of, d.similarity FROM unnest('{0.5,0.7,0.9}'::float8[]) threshold,
		ds_duplicates('SELECT id, t FROM shuffled ORDER BY n', threshold, recall => 0.99999) d)
	UNION ALL
	(SELECT threshold, d.id, d.duplicate_of, d.similarity FROM unnest('{0.5,0.7,0.9}'::float8[]) threshold,
		ds_duplicates('SELECT id, t FROM shuffled ORDER BY n', threshold, recall => 0.99999) d
	 EXCEPT SELECT threshold, id::text, duplicate_of::text, similarity FROM by_hand)) x GROUP BY 1;
-- all pairs
CREATE TABLE all_pairs AS SELECT b.id AS id, a.id AS duplicate_of, jaccard(a.s, b.s) AS similarity FROM shuffled a JOIN shuffled b ON a.n < b.n;
SELECT count(*) AS pairs FROM all_pairs WHERE similarity >= 0.6;
SELECT count(*) AS found, count(a.id) AS right FROM ds_duplicates('SELECT id, t FROM shuffled ORDER BY n', 0.6, pairs => true, recall => 0.99999) d
LEFT JOIN all_pairs a ON a.id = d.id::int AND a.duplicate_of = d.duplicate_of::int AND a.similarity = d.similarity;

-- The result does not depend on the memory: many passes over a temporary file.
CREATE TABLE many AS SELECT i AS id, md5((i % 7000)::text) || CASE WHEN i > 7000 AND i % 3 = 0 THEN 'x' ELSE '' END AS t FROM generate_series(1, 12000) i;
CREATE TABLE with_memory AS SELECT * FROM ds_duplicates('SELECT id, t FROM many ORDER BY id');
CREATE TABLE pairs_with_memory AS SELECT * FROM ds_duplicates('SELECT id, t FROM many ORDER BY id', 0.9, pairs => true);
SELECT count(*), count(*) FILTER (WHERE exact) AS exact, count(*) FILTER (WHERE id::int - duplicate_of::int = 7000) AS right FROM with_memory;
SELECT count(*), count(DISTINCT (id, duplicate_of)) FROM pairs_with_memory;
SET maintenance_work_mem = '1MB';
SELECT count(*) AS differ FROM ((TABLE with_memory EXCEPT SELECT * FROM ds_duplicates('SELECT id, t FROM many ORDER BY id'))
	UNION ALL (SELECT * FROM ds_duplicates('SELECT id, t FROM many ORDER BY id') EXCEPT TABLE with_memory)) x;
SELECT count(*) AS differ FROM ((TABLE pairs_with_memory EXCEPT SELECT * FROM ds_duplicates('SELECT id, t FROM many ORDER BY id', 0.9, pairs => true))
	UNION ALL (SELECT * FROM ds_duplicates('SELECT id, t FROM many ORDER BY id', 0.9, pairs => true) EXCEPT TABLE pairs_with_memory)) x;
-- a row that is larger than the memory
SELECT id, duplicate_of, exact FROM ds_duplicates('SELECT i, (SELECT string_agg(md5((j + i / 4)::text), '''') FROM generate_series(1, 20000) j) FROM generate_series(1, 4) i');
-- it can be cancelled
SET statement_timeout = '300ms';
SELECT count(*) FROM ds_duplicates('SELECT i, (SELECT string_agg(md5((j + i)::text), '''') FROM generate_series(1, 2000) j) FROM generate_series(1, 100000) i');
RESET statement_timeout;
RESET maintenance_work_mem;

-- Errors
SELECT * FROM ds_duplicates('DELETE FROM titles');
SELECT * FROM ds_duplicates('SELECT 1; SELECT 2');
SELECT * FROM ds_duplicates('SELECT 1');
SELECT * FROM ds_duplicates('SELECT FROM nowhere');
SELECT * FROM ds_duplicates(NULL);
SELECT * FROM ds_duplicates(:source, 0);
SELECT * FROM ds_duplicates(:source, 1.5);
SELECT * FROM ds_duplicates(:source, 0.01);
SELECT * FROM ds_duplicates(:source, shingles => 'letters');
SELECT * FROM ds_duplicates(:source, size => 0);
SELECT * FROM ds_duplicates(:source, recall => 1);
SELECT * FROM ds_duplicates(:source, cleaning => '{"html": true}');
SELECT * FROM ds_duplicates(:source, cleaning => NULL);
-- a function that writes may not be called
CREATE FUNCTION remember(x text) RETURNS text LANGUAGE sql AS 'INSERT INTO titles VALUES (1000, $1); SELECT $1';
SELECT * FROM ds_duplicates('SELECT id, remember(title) FROM titles');
DROP FUNCTION remember(text), brute_force(float8), jaccard(text[], text[]), shingle_set(text);
DROP TABLE titles, texts, shuffled, by_hand, all_pairs, many, with_memory, pairs_with_memory;

-- ds_clean with a text search configuration: stop words go, stems stay.
SELECT ds_clean('The RUNNING dogs are in the <b>houses</b> &amp; gardens!', '{"strip_html": true}', 'pg_catalog.english');
SELECT ds_clean('Ｔｈｅ　ＲＵＮＮＩＮＧ　ｄｏｇｓ', '{}', 'pg_catalog.english') AS width, ds_clean('The dogs', '{}', 'pg_catalog.simple') AS simple,
	ds_clean('the of and', '{}', 'pg_catalog.english') = '' AS nothing_left, ds_clean('', '{}', 'pg_catalog.english') = '' AS empty;
-- one place, one word, in the order of the text; what a hyphen joins comes whole and in parts
SELECT ds_clean('state-of-the-art lamps', '{}', 'pg_catalog.english');
-- the server leaves out words of 2047 bytes and more; here they stay
SELECT length(w), left(w, 12), right(w, 12) FROM ds_clean('the lamps ' || repeat('连', 700) || ' of houses ' || repeat('x', 3000) || ' running', '{}', 'pg_catalog.english') w;
-- without any configuration nothing of this happens
SELECT ds_clean('The RUNNING dogs');
-- it may stand in an index and in a generated column
CREATE TABLE cleaned (t text, c text GENERATED ALWAYS AS (ds_clean(t, '{}', 'pg_catalog.english')) STORED);
INSERT INTO cleaned VALUES ('Summer dresses for the beach'), (NULL);
SELECT * FROM cleaned;
DROP TABLE cleaned;
-- a configuration of one's own: stop words without stemming
CREATE TEXT SEARCH DICTIONARY only_stop (TEMPLATE = pg_catalog.simple, STOPWORDS = english);
CREATE TEXT SEARCH CONFIGURATION stop_words (COPY = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION stop_words ALTER MAPPING FOR asciiword WITH only_stop;
SELECT ds_clean('The running dogs', '{}', 'stop_words');
DROP TEXT SEARCH CONFIGURATION stop_words;
DROP TEXT SEARCH DICTIONARY only_stop;
SELECT ds_clean('x', '{"html": 1}', 'pg_catalog.english');
SELECT ds_clean('x', '{}', 'nowhere');
-- the sum of the words of a text is what to_tsvector makes of it
SELECT t, (SELECT array_agg(DISTINCT w COLLATE "C" ORDER BY w COLLATE "C") FROM regexp_split_to_table(ds_clean(t, '{}', 'pg_catalog.english'), ' ') w)
	= (SELECT array_agg(DISTINCT w COLLATE "C" ORDER BY w COLLATE "C") FROM unnest(tsvector_to_array(to_tsvector('pg_catalog.english', lower(t)))) w) AS same
FROM (VALUES ('A quick brown fox jumped over 3 lazy dogs, twice.'), ('mail to somebody@example.com about https://example.com/a/b?c=d'), ('夏季连衣裙 for women')) v (t);
