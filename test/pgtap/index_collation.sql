-- Equality of texts under a collation that takes different bytes for equal
BEGIN;
CREATE FUNCTION collated() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		CREATE COLLATION letters (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
	EXCEPTION WHEN feature_not_supported OR undefined_object OR invalid_parameter_value THEN
		RETURN QUERY SELECT skip('the server has no ICU', 2);
		RETURN;
	END;
	CREATE TABLE words (a text COLLATE letters, b character(12) COLLATE letters, emb embedding(8));
	INSERT INTO words SELECT w, w, (SELECT array_agg(sin(i * 12.9898 + j))::real[] FROM generate_series(1, 8) j)::embedding
		FROM generate_series(1, 1200) i, LATERAL (SELECT (ARRAY['eclair', 'Eclair', 'ECLAIR', 'other'])[i % 4 + 1]) e(w);
	CREATE INDEX ON words USING deepsearch (emb embedding_l2_ops, a, b) WITH (lists = 20);
	SET LOCAL enable_seqscan = off;
	RETURN NEXT is((SELECT count(*) FROM (SELECT FROM words WHERE a = 'eclair' ORDER BY emb <-> (SELECT emb FROM words LIMIT 1)) s), 900::bigint, 'text');
	RETURN NEXT is((SELECT count(*) FROM (SELECT FROM words WHERE b = 'eclair' ORDER BY emb <-> (SELECT emb FROM words LIMIT 1)) s), 900::bigint, 'character');
END $$;
SELECT plan(2);
SELECT collated();
SELECT * FROM finish();
ROLLBACK;
