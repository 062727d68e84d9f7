-- Models: their tables, rights and life.
--
-- The tables are closed to PUBLIC; the functions below check who may do what.
-- They are marked for pg_dump, so that a dump of the database has the models.
-- There are no foreign keys among them: a parallel pg_restore loads the tables
-- of an extension at once, in any order, and would fail.  The functions delete
-- what belongs together.

CREATE SEQUENCE ds_model_id_seq AS integer;

CREATE TABLE ds_model (
	id integer PRIMARY KEY DEFAULT nextval('ds_model_id_seq'),
	name text COLLATE "C" NOT NULL UNIQUE CHECK (name <> '' AND octet_length(name) <= 200),
	owner name NOT NULL,
	readers name[] NOT NULL DEFAULT '{}',
	config jsonb NOT NULL,
	dims integer NOT NULL,
	version integer,
	created timestamptz NOT NULL DEFAULT now()
);
ALTER SEQUENCE ds_model_id_seq OWNED BY ds_model.id;

CREATE TABLE ds_model_version (
	model integer,
	version integer CHECK (version > 0),
	config jsonb NOT NULL,
	uid uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
	dims integer NOT NULL,
	"precision" text NOT NULL,
	parameters bigint NOT NULL,
	bytes bigint NOT NULL,
	run integer,
	trained_by name,
	trained_on text,
	pairs bigint,
	trained timestamptz,
	base integer,
	step bigint,
	query_since integer,
	document_since integer,
	report jsonb,
	PRIMARY KEY (model, version)
);

CREATE TABLE ds_tensor (
	model integer,
	version integer,
	name text COLLATE "C",
	chunk integer CHECK (chunk >= 0),
	dtype text NOT NULL,
	shape bigint[] NOT NULL,
	data bytea NOT NULL CHECK (octet_length(data) <= 1048576),
	PRIMARY KEY (model, version, name, chunk)
);
ALTER TABLE ds_tensor ALTER COLUMN data SET STORAGE EXTERNAL;

REVOKE ALL ON SEQUENCE ds_model_id_seq FROM PUBLIC;
REVOKE ALL ON TABLE ds_model, ds_model_version, ds_tensor FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('ds_model_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('ds_model', '');
SELECT pg_catalog.pg_extension_config_dump('ds_model_version', '');
SELECT pg_catalog.pg_extension_config_dump('ds_tensor', '');

COMMENT ON SEQUENCE ds_model_id_seq IS 'numbers of models';
COMMENT ON TABLE ds_model IS 'models: owner, access list, configuration, current version';
COMMENT ON COLUMN ds_model.owner IS 'role that may train, grant and drop the model';
COMMENT ON COLUMN ds_model.readers IS 'roles that may encode with the model beside its owner; public means every role';
COMMENT ON COLUMN ds_model.config IS 'every part of the model by name, defaults filled in';
COMMENT ON COLUMN ds_model.dims IS 'dimensions of the embeddings';
COMMENT ON COLUMN ds_model.version IS 'the version that encodes; NULL before the first training';
COMMENT ON TABLE ds_model_version IS 'versions of models: what they are and how they were made; never changed';
COMMENT ON COLUMN ds_model_version.uid IS 'new whenever the weights are; the files that processes share are known by it';
COMMENT ON COLUMN ds_model_version.base IS 'the full version that this one is stored as changes of; NULL: it is a full one';
COMMENT ON COLUMN ds_model_version.step IS 'steps that ds_train_step has made since the last training';
COMMENT ON COLUMN ds_model_version.query_since IS
	'the first version that gives queries the embeddings of this one; NULL: this one';
COMMENT ON COLUMN ds_model_version.document_since IS
	'the same of documents: what that version has encoded stays valid';
COMMENT ON COLUMN ds_model_version.report IS 'what ds_quantize_model measured';
COMMENT ON TABLE ds_tensor IS 'weights and tokenizers of model versions, in chunks of at most 1 MB; never changed';
COMMENT ON COLUMN ds_tensor.dtype IS 'f32, f16, bf16: little-endian numbers; i8: integers, times the scale of their row in NAME#scale where that is there; u8: bytes (a tokenizer); u32: numbers of rows (of a version that has a base)';

-- Every writer makes other sessions look again which version is current:
-- the functions do it themselves, and these triggers for everyone else.
CREATE FUNCTION ds_model_changed() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'ds_sql_model_changed';
COMMENT ON FUNCTION ds_model_changed() IS 'trigger: tells all sessions that the table has changed';

CREATE TRIGGER ds_model_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ds_model
	FOR EACH STATEMENT EXECUTE FUNCTION ds_model_changed();
CREATE TRIGGER ds_model_version_changed AFTER UPDATE OR DELETE OR TRUNCATE ON ds_model_version
	FOR EACH STATEMENT EXECUTE FUNCTION ds_model_changed();
CREATE TRIGGER ds_tensor_changed AFTER UPDATE OR DELETE OR TRUNCATE ON ds_tensor
	FOR EACH STATEMENT EXECUTE FUNCTION ds_model_changed();
COMMENT ON TRIGGER ds_model_changed ON ds_model IS 'sessions resolve model names again';
COMMENT ON TRIGGER ds_model_version_changed ON ds_model_version IS 'sessions load weights again';
COMMENT ON TRIGGER ds_tensor_changed ON ds_tensor IS 'sessions load weights again';

CREATE FUNCTION ds_create_model(name text, config jsonb DEFAULT '{}') RETURNS void
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'ds_sql_create_model';
COMMENT ON FUNCTION ds_create_model(text, jsonb) IS 'create an untrained model, owned by the caller';

CREATE FUNCTION ds_drop_model(name text) RETURNS void
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'ds_sql_drop_model';
COMMENT ON FUNCTION ds_drop_model(text) IS 'drop a model with all its versions and the record of its training';

CREATE FUNCTION ds_use_version(model text, version integer) RETURNS void
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'ds_sql_use_version';
COMMENT ON FUNCTION ds_use_version(text, integer) IS
	'make a version of a model the current one: a newer one that waits, or an older one that is still there';

CREATE FUNCTION ds_model_config(name text) RETURNS jsonb
	LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'ds_sql_model_config';
COMMENT ON FUNCTION ds_model_config(text) IS 'the configuration of a model, defaults filled in';

CREATE FUNCTION ds_grant_model(model text, role name) RETURNS void
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'ds_sql_grant_model';
COMMENT ON FUNCTION ds_grant_model(text, name) IS 'let a role (or public) encode with a model';

CREATE FUNCTION ds_revoke_model(model text, role name) RETURNS void
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'ds_sql_revoke_model';
COMMENT ON FUNCTION ds_revoke_model(text, name) IS 'take back what ds_grant_model gave';

CREATE FUNCTION ds_may_use_model(owner name, readers name[]) RETURNS boolean
	LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ds_sql_may_use_model';
COMMENT ON FUNCTION ds_may_use_model(name, name[]) IS
	'whether the current user may encode with a model of this owner and access list; without a list, whether it acts as the owner';

CREATE VIEW ds_models WITH (security_barrier) AS
	SELECT m.name, m.config ->> 'family' AS family, m.dims, v."precision", v.parameters, v.bytes AS size,
		m.owner, m.readers, m.version, v.trained_by, v.trained_on, v.pairs, v.trained, m.created
	FROM ds_model m LEFT JOIN ds_model_version v ON v.model = m.id AND v.version = m.version
	WHERE ds_may_use_model(m.owner, m.readers);
GRANT SELECT ON ds_models TO PUBLIC;
COMMENT ON VIEW ds_models IS 'the models that the current user may use';
COMMENT ON COLUMN ds_models.size IS 'bytes of weights and tokenizers';
COMMENT ON COLUMN ds_models.trained_on IS 'the query that gave the training pairs';
COMMENT ON COLUMN ds_models.pairs IS 'number of training pairs';

CREATE VIEW ds_model_versions WITH (security_barrier) AS
	SELECT m.name AS model, v.version, v.version IS NOT DISTINCT FROM m.version AS current, v.step,
		coalesce(v.query_since, v.version) AS query_since,
		coalesce(v.document_since, v.version) AS document_since,
		v.dims, v.run, v.trained_by, v.trained_on, v.pairs, v.trained, v."precision", v.bytes AS size, v.report
	FROM ds_model m JOIN ds_model_version v ON v.model = m.id
	WHERE ds_may_use_model(m.owner, m.readers);
GRANT SELECT ON ds_model_versions TO PUBLIC;
COMMENT ON VIEW ds_model_versions IS 'the versions of the models that the current user may use';
COMMENT ON COLUMN ds_model_versions.current IS 'whether the name alone means this version; others are called NAME@VERSION';
COMMENT ON COLUMN ds_model_versions.report IS 'what ds_quantize_model measured: sizes, speed, how near its embeddings are to those of the model that it was made of';
COMMENT ON COLUMN ds_model_versions.step IS 'steps that ds_train_step has made since the last training';
COMMENT ON COLUMN ds_model_versions.query_since IS 'the first version that gives queries the same embeddings';
COMMENT ON COLUMN ds_model_versions.document_since IS 'the first version that gives documents the same embeddings: what it has encoded stays valid';
