-- Online learning: single steps on a live model.

CREATE FUNCTION ds_train_step(model text, queries text[], positives text[] DEFAULT NULL, negatives text[] DEFAULT NULL,
	options jsonb DEFAULT '{}', labels real[] DEFAULT NULL, weights real[] DEFAULT NULL,
	images bytea[] DEFAULT NULL, negative_images bytea[] DEFAULT NULL, query_images bytea[] DEFAULT NULL,
	OUT version integer, OUT step bigint, OUT pairs integer, OUT skipped bigint,
	OUT loss double precision, OUT accuracy double precision, OUT gradient_norm double precision,
	OUT learning_rate double precision)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ds_sql_train_step';
COMMENT ON FUNCTION ds_train_step(text, text[], text[], text[], jsonb, real[], real[], bytea[], bytea[], bytea[]) IS
	'one step of training on a live model, part of the transaction: queries, and the text, the picture or both that answer each';
