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
	metric double precision,
	best_step bigint,
	message text,
	processes integer,
	resumed integer NOT NULL DEFAULT 0,
	checkpoint_step bigint,
	checkpoint jsonb,
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
	seconds double precision NOT NULL,
	at timestamptz NOT NULL,
	PRIMARY KEY (run, step)
);

CREATE TABLE ds_training_metric (
	run integer,
	step bigint,
	name text COLLATE "C",
	place integer NOT NULL,
	epoch integer NOT NULL,
	value double precision NOT NULL,
	best boolean NOT NULL,
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (run, step, name)
);

REVOKE ALL ON SEQUENCE ds_training_run_id_seq FROM PUBLIC;
REVOKE ALL ON TABLE ds_training_run, ds_training_step, ds_training_metric FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('ds_training_run_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('ds_training_run', '');
SELECT pg_catalog.pg_extension_config_dump('ds_training_step', '');
SELECT pg_catalog.pg_extension_config_dump('ds_training_metric', '');

COMMENT ON SEQUENCE ds_training_run_id_seq IS 'numbers of training runs';
COMMENT ON TABLE ds_training_run IS 'trainings of models, running and past';
COMMENT ON COLUMN ds_training_run.version IS 'the version that it made';
COMMENT ON COLUMN ds_training_run.state IS
	'running, finished, failed, cancelled or crashed; a run of a server that has stopped says running until the model is trained again (ds_training_runs knows better)';
COMMENT ON COLUMN ds_training_run.skipped IS 'rows of the source without a query or a positive text';
COMMENT ON COLUMN ds_training_run.steps IS 'number of steps that the run has in all';
COMMENT ON COLUMN ds_training_run.metric IS 'the best metric so far';
COMMENT ON COLUMN ds_training_run.best_step IS 'the step behind which it was measured, whose weights the version has';
COMMENT ON COLUMN ds_training_run.processes IS 'number of processes that train, the session counted';
COMMENT ON COLUMN ds_training_run.resumed IS 'how often it was taken up again';
COMMENT ON COLUMN ds_training_run.checkpoint_step IS 'the step that it would go on from';
COMMENT ON COLUMN ds_training_run.checkpoint IS
	'what a checkpoint has beside its tensors, which stand in ds_tensor as those of model - id';
COMMENT ON COLUMN ds_training_run.lock_id IS 'objid in pg_locks of the lock that a running training holds';
COMMENT ON TABLE ds_training_step IS 'steps of trainings, written while they run';
COMMENT ON COLUMN ds_training_step.accuracy IS
	'share of the batch''s queries whose own document had the best score';
COMMENT ON COLUMN ds_training_step.gradient_norm IS 'L2 norm of the gradient before clipping';
COMMENT ON COLUMN ds_training_step.seconds IS 'how long the step took';
COMMENT ON TABLE ds_training_metric IS 'what the evaluation queries of trainings have said';
COMMENT ON COLUMN ds_training_metric.place IS 'number of the column, from 1; the first one decides';
COMMENT ON COLUMN ds_training_metric.best IS 'whether the run''s metric was the best so far';

CREATE VIEW ds_training_runs WITH (security_barrier) AS
	SELECT r.id AS run, r.model, r.version, s.state,
		r.started_by, r.source, r.options, r.pairs, r.skipped, r.epochs, r.steps, l.step,
		l.epoch, r.loss, r.metric, r.best_step, r.message, r.processes, l.steps_per_second,
		CASE WHEN s.state = 'running'
			THEN pg_catalog.make_interval(secs => (r.steps - l.step) / nullif(l.steps_per_second, 0)) END AS time_left,
		r.checkpoint_step, r.resumed, r.pid, r.started, r.finished
	FROM ds_training_run r
		CROSS JOIN LATERAL (SELECT CASE WHEN r.state = 'running' AND NOT EXISTS (
			SELECT FROM pg_catalog.pg_locks l
			WHERE l.locktype = 'object' AND l.classid = 'ds_model'::regclass AND l.objid = r.lock_id
				AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
								  WHERE d.datname = pg_catalog.current_database())
				AND l.pid = r.pid AND l.granted)
			THEN 'crashed' ELSE r.state END) s(state)
		-- by the last hundred steps
		LEFT JOIN LATERAL (SELECT last.step, last.epoch,
				(SELECT count(*) / nullif(sum(t.seconds), 0) FROM ds_training_step t
				 WHERE t.run = r.id AND t.step > last.step - 100)
			FROM (SELECT t.step, t.epoch FROM ds_training_step t WHERE t.run = r.id
				  ORDER BY t.step DESC LIMIT 1) last) l(step, epoch, steps_per_second) ON true
	WHERE ds_may_use_model(r.started_by, NULL);
CREATE VIEW ds_training_steps WITH (security_barrier) AS
	SELECT r.model, s.*, 1 / nullif(s.seconds, 0) AS steps_per_second
	FROM ds_training_step s JOIN ds_training_run r ON r.id = s.run
	WHERE ds_may_use_model(r.started_by, NULL);
CREATE VIEW ds_training_metrics WITH (security_barrier) AS
	SELECT r.model, m.*
	FROM ds_training_metric m JOIN ds_training_run r ON r.id = m.run
	WHERE ds_may_use_model(r.started_by, NULL);
GRANT SELECT ON ds_training_runs, ds_training_steps, ds_training_metrics TO PUBLIC;
COMMENT ON VIEW ds_training_runs IS 'the trainings that the current user has started';
COMMENT ON COLUMN ds_training_runs.steps IS 'number of steps that the run has in all';
COMMENT ON COLUMN ds_training_runs.step IS 'the last step that has been made and written down';
COMMENT ON COLUMN ds_training_runs.epoch IS 'the epoch of that step';
COMMENT ON COLUMN ds_training_runs.steps_per_second IS 'by the last hundred steps';
COMMENT ON COLUMN ds_training_runs.time_left IS 'of a running one, at that rate';
COMMENT ON VIEW ds_training_steps IS 'the steps of the trainings that the current user has started';
COMMENT ON VIEW ds_training_metrics IS
	'the numbers of the evaluation queries of trainings that the current user has started';

CREATE PROCEDURE ds_train(model text, source_sql text, options jsonb DEFAULT '{}')
	LANGUAGE c AS 'MODULE_PATHNAME', 'ds_sql_train';
COMMENT ON PROCEDURE ds_train(text, text, jsonb) IS
	'train a model on the rows (query, positive [, negative]) of a query; creates the model if there is none';

CREATE FUNCTION ds_training_batch(source_sql text, size integer DEFAULT 256, seed bigint DEFAULT 1,
	batch integer DEFAULT 1, epoch integer DEFAULT 1, duplicates text DEFAULT 'avoid')
RETURNS TABLE (
	place integer,
	source_row bigint,
	query text,
	positive text,
	negatives text[],
	labels real[],
	weight real)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ds_sql_training_batch';
COMMENT ON FUNCTION ds_training_batch(text, integer, bigint, integer, integer, text) IS
	'the pairs that stand together in a batch, as ds_train would make it of this source, size and seed';

CREATE FUNCTION ds_plot_run(run integer) RETURNS text
	LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'ds_sql_plot_run';
COMMENT ON FUNCTION ds_plot_run(integer) IS
	'an SVG drawing of a training: loss, learning rate, and the metrics of its evaluations';
