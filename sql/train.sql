-- Training: its record, and the procedure.

CREATE SEQUENCE ds_training_run_id_seq AS integer;

CREATE TABLE ds_training_run (
	id integer PRIMARY KEY DEFAULT nextval('ds_training_run_id_seq'),
	model text COLLATE "C" NOT NULL,
	version integer,
	state text NOT NULL CHECK (state IN ('running', 'finished', 'failed', 'cancelled', 'crashed')),
	started_by name NOT NULL,
	source text NOT NULL,
	options jsonb NOT NULL,
	pairs bigint,
	skipped bigint,
	epochs integer NOT NULL,
	steps bigint,
	loss double precision,
	message text,
	pid integer NOT NULL,
	lock_id oid NOT NULL,
	started timestamptz NOT NULL DEFAULT clock_timestamp(),
	finished timestamptz
);
ALTER SEQUENCE ds_training_run_id_seq OWNED BY ds_training_run.id;
CREATE INDEX ds_training_run_model_idx ON ds_training_run (model);

CREATE TABLE ds_training_step (
	run integer,
	step bigint,
	epoch integer NOT NULL,
	loss double precision NOT NULL,
	accuracy double precision NOT NULL,
	gradient_norm double precision NOT NULL,
	learning_rate double precision NOT NULL,
	temperature double precision NOT NULL,
	at timestamptz NOT NULL,
	PRIMARY KEY (run, step)
);

REVOKE ALL ON SEQUENCE ds_training_run_id_seq FROM PUBLIC;
REVOKE ALL ON TABLE ds_training_run, ds_training_step FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('ds_training_run_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('ds_training_run', '');
SELECT pg_catalog.pg_extension_config_dump('ds_training_step', '');

COMMENT ON SEQUENCE ds_training_run_id_seq IS 'numbers of training runs';
COMMENT ON TABLE ds_training_run IS 'trainings of models, running and past';
COMMENT ON COLUMN ds_training_run.version IS 'the version that it made';
COMMENT ON COLUMN ds_training_run.state IS
	'running, finished, failed, cancelled or crashed; a run of a server that has stopped says running until the model is trained again (ds_training_runs knows better)';
COMMENT ON COLUMN ds_training_run.skipped IS 'rows of the source without a query or a positive text';
COMMENT ON COLUMN ds_training_run.steps IS 'number of steps that the run has in all';
COMMENT ON COLUMN ds_training_run.lock_id IS 'objid in pg_locks of the lock that a running training holds';
COMMENT ON TABLE ds_training_step IS 'steps of trainings, written while they run';
COMMENT ON COLUMN ds_training_step.accuracy IS
	'share of the batch''s queries whose own document had the best score';
COMMENT ON COLUMN ds_training_step.gradient_norm IS 'L2 norm of the gradient before clipping';

CREATE VIEW ds_training_runs WITH (security_barrier) AS
	SELECT r.id AS run, r.model, r.version,
		CASE WHEN r.state = 'running' AND NOT EXISTS (
			SELECT FROM pg_catalog.pg_locks l
			WHERE l.locktype = 'object' AND l.classid = 'ds_model'::regclass AND l.objid = r.lock_id
				AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
								  WHERE d.datname = pg_catalog.current_database())
				AND l.pid = r.pid AND l.granted)
		THEN 'crashed' ELSE r.state END AS state,
		r.started_by, r.source, r.options, r.pairs, r.skipped, r.epochs, r.steps,
		(SELECT max(s.step) FROM ds_training_step s WHERE s.run = r.id) AS step,
		r.loss, r.message, r.pid, r.started, r.finished
	FROM ds_training_run r
	WHERE ds_may_use_model(r.started_by, NULL);
CREATE VIEW ds_training_steps WITH (security_barrier) AS
	SELECT r.model, s.*
	FROM ds_training_step s JOIN ds_training_run r ON r.id = s.run
	WHERE ds_may_use_model(r.started_by, NULL);
GRANT SELECT ON ds_training_runs, ds_training_steps TO PUBLIC;
COMMENT ON VIEW ds_training_runs IS 'the trainings that the current user has started';
COMMENT ON COLUMN ds_training_runs.steps IS 'number of steps that the run has in all';
COMMENT ON COLUMN ds_training_runs.step IS 'the last step that has been made and written down';
COMMENT ON VIEW ds_training_steps IS 'the steps of the trainings that the current user has started';

CREATE PROCEDURE ds_train(model text, source_sql text, options jsonb DEFAULT '{}')
	LANGUAGE c AS 'MODULE_PATHNAME', 'ds_sql_train';
COMMENT ON PROCEDURE ds_train(text, text, jsonb) IS
	'train a model on the rows (query, positive [, negative]) of a query; creates the model if there is none';
