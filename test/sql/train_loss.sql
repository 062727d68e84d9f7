-- Every loss, of every kind of model, by SQL: it ends in what it is for.
SET client_min_messages = warning;
-- twelve queries; each has a document that answers it, one that does by half, and one that does not
CREATE TABLE lists AS
SELECT i AS id, 'query' || i AS query, ARRAY['right' || i, 'half' || i, 'wrong' || i] AS docs, ARRAY[1, 0.5, 0]::real[] AS grades
FROM generate_series(1, 12) i;
CREATE TABLE rows AS
SELECT id, query, docs[1 + 2 * n] AS doc, 1 - n AS label FROM lists, generate_series(0, 1) n;
CREATE TABLE features AS
SELECT w, array_agg(CASE WHEN i = n THEN 3 ELSE 0 END + 0.2 * (((i * n * 7919) % 13) / 13.0 - 0.5) ORDER BY i)::real[]::embedding AS f
FROM (SELECT w, row_number() OVER (ORDER BY w) AS n FROM (SELECT query AS w FROM lists UNION SELECT unnest(docs) FROM lists) x) y, generate_series(1, 48) i GROUP BY w;

CREATE FUNCTION f(word text) RETURNS embedding STABLE LANGUAGE sql AS $$ SELECT f FROM features WHERE w = word $$;
-- similarity of a query and a document by a model of any kind, by the first components alone if that is said
CREATE FUNCTION likeness(model text, query text, doc text, width int) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE q embedding; d embedding;
BEGIN
	IF model LIKE 'cross%' THEN
		RETURN ds_score(query, doc, model);
	ELSIF model LIKE 'features%' THEN
		q := ds_encode(f(query), model); d := ds_encode(f(doc), model, 'document');
	ELSE
		q := ds_encode(query, model); d := ds_encode(doc, model, 'document');
	END IF;
	IF width > 0 THEN q := ds_subvector(q, 1, width); d := ds_subvector(d, 1, width); END IF;
	RETURN 1 - (q <=> d);
END $$;
-- how many of the twelve are as the loss wants them
CREATE FUNCTION good(model text, loss text, width int) RETURNS bigint LANGUAGE sql AS $$
	SELECT CASE
		WHEN loss IN ('cross_entropy', 'contrastive') THEN
			(SELECT count(*) FROM lists l WHERE id = (SELECT o.id FROM lists o ORDER BY likeness(model, l.query, o.docs[1], width) DESC LIMIT 1))
		WHEN loss IN ('triplet', 'list_cross_entropy') THEN
			(SELECT count(*) FROM lists WHERE likeness(model, query, docs[1], width) > likeness(model, query, docs[3], width))
		-- vectors of length 1 whose distance is half the margin of 1
		WHEN loss = 'pair_contrastive' THEN
			(SELECT count(*) / 2 FROM rows WHERE (sqrt(greatest(2 - 2 * likeness(model, query, doc, width), 0)) < 0.5) = (label = 1))
		WHEN loss = 'binary' THEN
			(SELECT count(*) / 2 FROM rows WHERE (likeness(model, query, doc, width) > CASE WHEN model LIKE 'cross%' THEN 0.5 ELSE 0 END) = (label = 1))
		WHEN loss = 'regression' THEN
			(SELECT count(*) / 3 FROM lists, generate_subscripts(docs, 1) n WHERE abs(likeness(model, query, docs[n], width) - grades[n]) < 0.25)
		ELSE
			(SELECT count(*) FROM lists WHERE likeness(model, query, docs[1], width) > likeness(model, query, docs[2], width)
				AND likeness(model, query, docs[2], width) > likeness(model, query, docs[3], width))
		END $$;
CREATE FUNCTION source(kind text, loss text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN kind LIKE 'features%' THEN
		CASE WHEN loss IN ('cross_entropy', 'contrastive') THEN 'SELECT f(query), f(docs[1]) FROM lists ORDER BY id'
			WHEN loss IN ('triplet', 'list_cross_entropy') THEN 'SELECT f(query), f(docs[1]), ARRAY[f(docs[3])] FROM lists ORDER BY id'
			WHEN loss IN ('pair_contrastive', 'binary') THEN 'SELECT f(query), f(doc), label FROM rows ORDER BY id, label'
			ELSE 'SELECT f(query), ARRAY[f(docs[1]), f(docs[2]), f(docs[3])], grades AS label FROM lists ORDER BY id' END
		ELSE
		CASE WHEN loss IN ('cross_entropy', 'contrastive') THEN 'SELECT query, docs[1] FROM lists ORDER BY id'
			WHEN loss IN ('triplet', 'list_cross_entropy') THEN 'SELECT query, docs[1], docs[3] FROM lists ORDER BY id'
			WHEN loss IN ('pair_contrastive', 'binary') THEN 'SELECT query, doc, label FROM rows ORDER BY id, label'
			ELSE 'SELECT query, docs, grades AS label FROM lists ORDER BY id' END
		END $$;

CREATE TABLE vocab AS SELECT string_agg(w, E'\n' ORDER BY n) AS lines
FROM (SELECT ordinality AS n, w FROM unnest(ARRAY['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'query', 'right', 'half', 'wrong']) WITH ORDINALITY u (w)
	UNION ALL SELECT 8 + i, '##' || i FROM generate_series(1, 12) i) x;
CREATE FUNCTION make(name text) RETURNS void LANGUAGE sql AS $$
	SELECT ds_create_model(name, CASE
		WHEN name LIKE 'bags%' THEN '{"embedding": {"dims": 16}, "dense": [16], "tokenizer": {"vocabulary": 256, "buckets": 1, "min_count": 1, "word_min": 0, "word_max": 0}}'::jsonb
		WHEN name LIKE 'features%' THEN '{"features": 48, "dense": [32, 16], "towers": "separate"}'::jsonb
		ELSE jsonb_build_object('tokenizer', (SELECT jsonb_build_object('vocab', lines) FROM vocab),
			'encoder', jsonb_build_object('layers', 1, 'hidden', 16, 'heads', 2, 'intermediate', 32, 'max_tokens', 12,
				'outputs', CASE WHEN name LIKE 'cross%' THEN 1 ELSE 0 END)) END) $$;
CREATE FUNCTION learn(kind text, loss text, more jsonb DEFAULT '{}', width int DEFAULT 0) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result bigint;
BEGIN
	PERFORM make(kind);
	CALL ds_train(kind, source(kind, loss), jsonb_build_object('loss', loss, 'epochs', 150, 'learning_rate', 0.01, 'schedule', 'linear',
		'batch_size', 36, 'workers', 1, 'temperature', 0.2, 'teacher_temperature', 0.2)
		|| CASE WHEN kind LIKE 'bags%' OR kind LIKE 'features%' THEN '{}' ELSE '{"dropout": 0, "epochs": 300}'::jsonb END || more);
	result := good(kind, loss, width);
	PERFORM ds_drop_model(kind);
	RETURN CASE WHEN result = 12 THEN 'all' WHEN result >= 11 THEN 'nearly all' ELSE result::text END;
END $$;

-- two towers, over bags of n-grams, given features, tokens of a transformer; the whole vectors, and by their first half
SELECT loss, learn('bags', loss) AS bags, learn('features', loss) AS features, learn('transformer', loss) AS transformer,
	learn('bags', loss, '{"matryoshka": [8, 16]}', 8) AS matryoshka
FROM unnest(ARRAY['cross_entropy', 'contrastive', 'triplet', 'pair_contrastive', 'regression', 'rank_margin', 'margin_mse', 'ranknet', 'listnet',
	'list_cross_entropy', 'kl', 'binary']) loss;
-- which is nothing that random weights have
SELECT count(*) FILTER (WHERE learn('bags', loss, '{"epochs": 1, "learning_rate": 1e-9, "min_learning_rate": 0}') = 'all') AS already
FROM unnest(ARRAY['cross_entropy', 'contrastive', 'triplet', 'pair_contrastive', 'regression', 'rank_margin', 'binary']) loss;
-- query and document together
SELECT loss, learn('cross', loss) AS "cross-encoder"
FROM unnest(ARRAY['regression', 'rank_margin', 'margin_mse', 'ranknet', 'listnet', 'list_cross_entropy', 'kl', 'binary']) loss;
-- with memory for two texts of a shard at a time; SGD; accumulated; layers at rates of their own
SELECT learn('transformer', 'cross_entropy', '{"cache_texts": 2, "symmetric": true}') AS cached, learn('features', 'cross_entropy', '{"optimizer": "sgd", "learning_rate": 0.3}') AS sgd,
	learn('transformer', 'cross_entropy', '{"accumulate": 2, "batch_size": 6, "learn_temperature": true, "clip_norm": 0.5, "warmup_steps": 20}') AS accumulated,
	learn('transformer', 'cross_entropy', '{"layer_decay": 0.7, "rates": {"*.token": 2}, "optimizer": "adam", "schedule": "cosine"}') AS rates;

-- classes
SELECT ds_create_model('classes', jsonb_build_object('tokenizer', (SELECT jsonb_build_object('vocab', lines) FROM vocab),
	'encoder', '{"layers": 1, "hidden": 16, "heads": 2, "intermediate": 32, "max_tokens": 12, "outputs": 3}'::jsonb));
SELECT ds_score('query1', 'right1', 'classes');
CALL ds_train('classes', 'SELECT query, docs, ARRAY[2, 1, 0] AS label FROM lists', '{"epochs": 300, "learning_rate": 0.01, "dropout": 0, "balance": true}');
SELECT count(*), count(*) FILTER (WHERE class = 3 - n) AS right, bool_and(probability > 0.5 AND probability = probabilities[class + 1]) AS sure,
	bool_and(abs((SELECT sum(p) FROM unnest(probabilities) p) - 1) < 1e-5 AND cardinality(probabilities) = 3) AS sums
FROM lists, generate_subscripts(docs, 1) n, ds_classify(query, docs[n], 'classes');
CALL ds_train('classes', 'SELECT query, docs[1], 1 AS label FROM lists', '{"loss": "binary"}');
CALL ds_train('classes', 'SELECT query, docs[1], 3 AS label FROM lists');
CALL ds_train('classes', 'SELECT query, docs[1], 0.5 AS label FROM lists');
CALL ds_train('classes', 'SELECT query, docs[1], 1 AS label FROM lists', '{"loss": "ranknet"}');
SELECT ds_train_step('classes', '{query1}', '{right1}', labels => '{1}', options => '{"loss": "binary"}');
SELECT version, pairs, loss < 0.1 AS loss FROM ds_train_step('classes', '{query1,query2}', '{right1,wrong2}', labels => '{2,0}');
SELECT ds_classify('query1', NULL, 'classes') IS NULL AS null_is_null;
SELECT make('cross');
SELECT ds_classify('query1', 'right1', 'cross');
SELECT make('transformer');
SELECT ds_classify('query1', 'right1', 'transformer');
SELECT ds_drop_model(name) FROM ds_models;
DROP TABLE lists, rows, features, vocab;
DROP FUNCTION learn, make, source, good, likeness, f;
