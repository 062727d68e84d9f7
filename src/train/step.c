/*
 * step.c
 *		ds_train_step(): one step of training on a live model, as a function.
 *
 * It is an ordinary part of the caller's transaction.  It takes the model's lock
 * for as long as that lasts, waiting for whoever has it: steps of other sessions
 * come one after the other, and each begins from what the one before has
 * committed.  It leaves a new version, which the caller's next statement uses,
 * and everybody else's from the commit on; a rollback takes it back.
 *
 * A version is usually stored as changes of the last full one (model/delta.h):
 * the rows that the step has touched, of the parameters and of the optimizer's
 * state, which makes the next step go on where this one stopped.  When the
 * changes have become as large as the model, or many, the version is a full one
 * again, and the chain behind it goes with ds_version_finish().  A full version
 * that ds_train has made has no state: the optimizer begins anew there.
 *
 * The state of a parameter stands beside it, as "NAME#adam0", "NAME#adam1" or
 * "NAME#sgd0": each optimizer has its own, and meets it again after a change of
 * the option.
 */
#include "server.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "model/catalog.h"
#include "model/delta.h"
#include "model/version.h"
#include "train/team.h"
#include "train/trainee.h"

/* A chain longer than this is folded, however small its changes */
#define CHAIN_MAX 64

typedef struct Step
{
	DsTrainee trainee;
	DsRunOptions options;
	DsPairs *pairs;
	int64 skipped;
	DsPairsBounds bounds;
	DsOrder *order;
	DsTeam *team;

	/* the version that it begins from */
	DsModelKey from;
	DsVersionRow row;
	int32 base; /* of the new version; 0: it will be a full one */

	DsModelKey key; /* the new version */
	DsStepResult result;
} Step;

/* ---- the batch ---- */

static void
bad_shape(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
			 errmsg("%s must have as many elements as queries", what),
			 errdetail("There is one for each query; in an array of two dimensions, a row.")));
}

#define ARRAYS 8 /* arguments that are columns */

/* The source that is made of the arguments: its columns, and what they come from */
typedef struct Source
{
	int count; /* rows */
	StringInfoData columns;
	StringInfoData arrays; /* of one dimension, unnested side by side */
	StringInfoData names; /* of their elements */
	DsSpoolParameters parameters;
	Oid types[ARRAYS];
	Datum values[ARRAYS];
} Source;

/*
 * An argument as a column of the source: row i of it is element i, or row i of an
 * array of two dimensions.
 */
static void
add_column(Source *source, ArrayType *array, Oid type, const char *name)
{
	const char *comma = source->columns.len > 0 ? ", " : "";
	int number = source->parameters.count + 1;

	if (ARR_NDIM(array) < 1 || ARR_NDIM(array) > 2 || ARR_DIMS(array)[0] != source->count)
		bad_shape(name);
	source->types[source->parameters.count] = type;
	source->values[source->parameters.count++] = PointerGetDatum(array);
	if (ARR_NDIM(array) == 1)
	{
		appendStringInfo(&source->columns, "%s%s", comma, name);
		appendStringInfo(&source->arrays, "%spg_catalog.unnest($%d)", comma, number);
		appendStringInfo(&source->names, "%s%s", comma, name);
	}
	else
	{
		int before = ARR_LBOUND(array)[0] - 1;

		appendStringInfo(&source->columns,
						 "%sARRAY(SELECT pg_catalog.unnest($%d[place + %d : place + %d])) AS %s",
						 comma, number, before, before, name);
	}
}

/* Elements of an argument that is queries, or -1 where it is NULL */
static int
count_queries(FunctionCallInfo fcinfo, int argument)
{
	ArrayType *array;
	int count;

	if (PG_ARGISNULL(argument))
		return -1;
	array = PG_GETARG_ARRAYTYPE_P(argument);
	count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (count > 0 && ARR_NDIM(array) != 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("queries must be an array of one dimension")));
	return count;
}

/* The arguments as a source, whose text it returns; NULL where there are no queries. */
static char *
make_source(FunctionCallInfo fcinfo, Source *source)
{
	/* in the order in which ds_train wants them */
	static const struct
	{
		int argument;
		Oid type;
		const char *name;
	} columns[ARRAYS] = {{1, TEXTARRAYOID, "queries"},	 {9, BYTEAARRAYOID, "query_images"},
						 {2, TEXTARRAYOID, "positives"}, {7, BYTEAARRAYOID, "images"},
						 {3, TEXTARRAYOID, "negatives"}, {8, BYTEAARRAYOID, "negative_images"},
						 {5, FLOAT4ARRAYOID, "label"},	 {6, FLOAT4ARRAYOID, "weight"}};

	source->count = Max(count_queries(fcinfo, 1), count_queries(fcinfo, 9));
	if (source->count <= 0)
		return NULL;
	if (source->count > DS_TRAIN_BATCH_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a step takes at most %d queries", DS_TRAIN_BATCH_MAX)));
	if (PG_ARGISNULL(2) && PG_ARGISNULL(7))
		bad_shape("positives");
	source->parameters = (DsSpoolParameters){0, source->types, source->values};
	initStringInfo(&source->columns);
	initStringInfo(&source->arrays);
	initStringInfo(&source->names);
	for (size_t c = 0; c < lengthof(columns); c++)
		if (!PG_ARGISNULL(columns[c].argument))
			add_column(source, PG_GETARG_ARRAYTYPE_P(columns[c].argument), columns[c].type,
					   columns[c].name);
	return psprintf("SELECT %s FROM ROWS FROM (%s) WITH ORDINALITY AS step (%s, place)",
					source->columns.data, source->arrays.data, source->names.data);
}

static void
fill_batch(void *context, DsBatch *batch)
{
	Step *step = context;
	const uint32 *numbers;

	ds_order_begin(step->order, 1);
	(void) ds_order_next(step->order, &numbers);
	ds_batch_fill(batch, step->pairs, step->order, &step->bounds, numbers, step->pairs->count);
}

static bool
compares_pairs(DsLoss loss)
{
	return loss == DS_LOSS_SOFTMAX || loss == DS_LOSS_CONTRASTIVE;
}

static bool
compares_documents(DsLoss loss)
{
	return loss == DS_LOSS_TRIPLET || loss == DS_LOSS_RANK_MARGIN || loss == DS_LOSS_MARGIN_MSE ||
		   loss == DS_LOSS_RANKNET || loss == DS_LOSS_LISTNET || loss == DS_LOSS_LIST_SOFTMAX ||
		   loss == DS_LOSS_KL;
}

/* ---- options ---- */

/* What speaks of a whole training is refused rather than ignored. */
static void
check_options(Jsonb *options)
{
	static const char *const training[] = {"epochs",
										   "batch_size",
										   "accumulate",
										   "schedule",
										   "decay",
										   "decay_steps",
										   "staircase",
										   "min_learning_rate",
										   "warmup_steps",
										   "duplicates",
										   "on_error",
										   "balance",
										   "evaluate",
										   "evaluate_steps",
										   "goal",
										   "patience",
										   "min_improvement",
										   "workers",
										   "resume",
										   "from_scratch",
										   "checkpoint_steps",
										   "checkpoint_seconds",
										   "activate"};
	JsonbValue place;

	if (!JB_ROOT_IS_OBJECT(options))
		return; /* the reader of the options says so */
	for (size_t i = 0; i < lengthof(training); i++)
		if (getKeyJsonValueFromContainer(&options->root, training[i], strlen(training[i]),
										 &place) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" is one of ds_train, not of a step", training[i])));
}

/* The rate is what the caller says, or what the model's trainings begin with. */
static DsTrainConfig
step_config(const DsRunOptions *options)
{
	DsTrainConfig config = options->training.train;

	config.accumulate = 1;
	config.schedule.kind = DS_SCHEDULE_CONSTANT;
	config.schedule.warmup_steps = 0;
	config.schedule.total_steps = 1;
	if (config.schedule.decay_steps == 0)
		config.schedule.decay_steps = 1;
	return config;
}

/* ---- where it begins ---- */

static void
read_row(Step *step)
{
	static const Oid types[2] = {INT4OID, INT4OID};
	Datum values[2] = {Int32GetDatum(step->from.model), Int32GetDatum(step->from.version)};
	DsVersionRow *row = &step->row;
	Datum value;
	bool null;

	if (ds_catalog_execute("SELECT config, dims, \"precision\", parameters, bytes, trained_on,"
						   " coalesce(pairs, 0), coalesce(base, 0), coalesce(step, 0)"
						   " FROM @.ds_model_version WHERE model = $1 AND version = $2",
						   2, types, values, NULL) != 1)
		/* by a transaction that a repeatable one does not see */
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("could not serialize access due to a concurrent step of model "
							   "\"%s\"",
							   step->trainee.name)));
	value = ds_catalog_value(0, 1, &null);
	row->config = (Jsonb *) PG_DETOAST_DATUM_COPY(value);
	row->dims = DatumGetInt32(ds_catalog_value(0, 2, &null));
	row->precision = TextDatumGetCString(ds_catalog_value(0, 3, &null));
	row->parameters = DatumGetInt64(ds_catalog_value(0, 4, &null));
	row->bytes = DatumGetInt64(ds_catalog_value(0, 5, &null));
	value = ds_catalog_value(0, 6, &null);
	row->source = null ? "ds_train_step" : TextDatumGetCString(value);
	row->pairs = DatumGetInt64(ds_catalog_value(0, 7, &null));
	row->base = DatumGetInt32(ds_catalog_value(0, 8, &null));
	row->step = DatumGetInt64(ds_catalog_value(0, 9, &null));
}

/* Bytes of the changes behind a full version, up to the one that the step begins from */
static int64
chain_bytes(const Step *step, int32 base)
{
	static const Oid types[3] = {INT4OID, INT4OID, INT4OID};
	Datum values[3] = {Int32GetDatum(step->from.model), Int32GetDatum(base),
					   Int32GetDatum(step->from.version)};
	bool null;

	/* of a value that stands out of line, its length is known without reading it */
	ds_catalog_execute("SELECT coalesce(sum(pg_catalog.octet_length(data)), 0)::bigint"
					   " FROM @.ds_tensor WHERE model = $1 AND version > $2 AND version <= $3",
					   3, types, values, NULL);
	return DatumGetInt64(ds_catalog_value(0, 1, &null));
}

static int32
newest_version(const Step *step)
{
	static const Oid types[1] = {INT4OID};
	Datum values[1] = {Int32GetDatum(step->from.model)};
	bool null;

	ds_catalog_execute("SELECT max(version) FROM @.ds_model_version WHERE model = $1", 1, types,
					   values, NULL);
	return DatumGetInt32(ds_catalog_value(0, 1, &null));
}

static bool
is_bag(const DsNet *net)
{
	return net->kind == DS_NET_DUAL && net->tower[0].body == DS_BODY_BAG &&
		   (net->shared || net->tower[1].body == DS_BODY_BAG);
}

/* As changes of which version?  0: none, whole. */
static int32
choose_base(const Step *step)
{
	int32 base = step->row.base != 0 ? step->row.base : step->from.version;
	int64 full = step->row.bytes * (int64) (1 + ds_trainer_states(ds_team_trainer(step->team)));

	/* a chain's versions follow each other */
	if (newest_version(step) != step->from.version || step->trainee.split ||
		!is_bag(&step->trainee.net) || strcmp(step->row.precision, "f32") != 0 ||
		step->from.version - base >= CHAIN_MAX || chain_bytes(step, base) > full)
		return 0;
	return base;
}

/* ---- the optimizer's state ---- */

static const char *
state_name(const Step *step, const char *parameter, size_t k)
{
	return psprintf(
		"%s#%s%zu", parameter,
		step->options.training.train.optimizer.kind == DS_OPTIMIZER_SGD ? "sgd" : "adam", k);
}

static void
describe(const DsTrained *parameter, const char *name, DsStored *stored)
{
	memset(stored, 0, sizeof(*stored));
	strlcpy(stored->name, name, sizeof(stored->name));
	stored->dtype = DS_DTYPE_F32;
	stored->rank = (int) parameter->shape_count;
	for (uint32 d = 0; d < parameter->shape_count; d++)
		stored->shape[d] = (int64) parameter->shape[d];
	ds_stored_size(stored);
}

static void
load_states(Step *step)
{
	DsTrainer *trainer = ds_team_trainer(step->team);
	DsReader reader;

	ds_delta_open(&reader, step->from);
	for (size_t i = 0; i < ds_trainer_parameters(trainer); i++)
	{
		DsTrained parameter = ds_trainer_parameter(trainer, i);
		DsStored stored;

		/* a temperature that is trained goes on, too */
		if (!parameter.frozen && strcmp(parameter.name, "log_scale") == 0 &&
			ds_reader_find(&reader, parameter.name, &stored))
			ds_delta_read(&reader, &stored, parameter.value);
		for (size_t k = 0; k < ds_trainer_states(trainer); k++)
		{
			float *state = ds_trainer_state(trainer, i, k);

			if (state == NULL)
				continue;
			describe(&parameter, state_name(step, parameter.name, k), &stored);
			ds_delta_read_sparse(&reader, &stored, state);
		}
	}
	ds_reader_close(&reader);
	ds_trainer_set_steps(trainer, (uint64) step->row.step);
	ds_trainer_forget_changes(trainer);
}

/* ---- the new version ---- */

static void
write_changes(Step *step)
{
	DsTrainer *trainer = ds_team_trainer(step->team);

	step->row.base = step->base;
	step->row.step = (int64) step->result.step;
	step->row.same[DS_SIDE_QUERY] = ds_trainee_same(&step->trainee, trainer, DS_SIDE_QUERY);
	step->row.same[DS_SIDE_DOCUMENT] = ds_trainee_same(&step->trainee, trainer, DS_SIDE_DOCUMENT);
	step->key = ds_version_insert(step->from.model, step->trainee.name, &step->row);
	for (size_t i = 0; i < ds_trainer_parameters(trainer); i++)
	{
		DsTrained parameter = ds_trainer_parameter(trainer, i);
		uint32 *rows = NULL;
		size_t count = parameter.shape[0];
		DsStored stored;

		if (parameter.frozen)
			continue;
		describe(&parameter, parameter.name, &stored);
		if (parameter.sparse)
		{
			rows = palloc_extended(sizeof(uint32) * Max(parameter.shape[0], 1), MCXT_ALLOC_HUGE);
			count = ds_trainer_changes(trainer, i, rows);
		}
		ds_delta_write(step->key, parameter.name, parameter.value, stored.rank, stored.shape, rows,
					   count);
		for (size_t k = 0; k < ds_trainer_states(trainer); k++)
			ds_delta_write(step->key, state_name(step, parameter.name, k),
						   ds_trainer_state(trainer, i, k), stored.rank, stored.shape, rows, count);
		if (rows != NULL)
			pfree(rows);
	}
}

/* State of a parameter that is frozen in this step and was not in an earlier one stays, too. */
static void
write_states(Step *step)
{
	DsTrainer *trainer = ds_team_trainer(step->team);
	DsReader reader;

	ds_delta_open(&reader, step->from);
	for (size_t i = 0; i < ds_trainer_parameters(trainer); i++)
	{
		DsTrained parameter = ds_trainer_parameter(trainer, i);

		for (size_t k = 0; k < ds_trainer_states(trainer); k++)
		{
			const char *name = state_name(step, parameter.name, k);
			float *state = ds_trainer_state(trainer, i, k);
			float *read = NULL;
			DsStored stored;
			bool any = state != NULL;

			describe(&parameter, name, &stored);
			if (state == NULL)
			{
				state = read = palloc_extended(stored.bytes, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
				ds_delta_read_sparse(&reader, &stored, read);
				for (size_t n = 0; n < parameter.count && !any; n++)
					any = read[n] != 0;
			}
			if (any)
				ds_delta_write(step->key, name, state, stored.rank, stored.shape, NULL, 0);
			if (read != NULL)
				pfree(read);
		}
	}
	ds_reader_close(&reader);
}

static void
write_whole(Step *step)
{
	static const Oid types[3] = {INT4OID, INT4OID, INT8OID};
	Datum values[3];

	step->key = ds_trainee_write(&step->trainee, ds_team_trainer(step->team), NULL, 0,
								 step->row.source, step->row.pairs);
	write_states(step);
	values[0] = Int32GetDatum(step->key.model);
	values[1] = Int32GetDatum(step->key.version);
	values[2] = Int64GetDatum((int64) step->result.step);
	ds_catalog_execute("UPDATE @.ds_model_version SET step = $3 WHERE model = $1 AND version = $2",
					   3, types, values, NULL);
}

/*
 * Versions of the chain stay as long as the newest one needs them, but the files
 * that were laid out for them need not.
 */
static void
drop_files(const Step *step, uint32 keep)
{
	int64 last = (int64) step->key.version - keep;

	for (int64 version = Max(last - CHAIN_MAX, 1); version <= last; version++)
		ds_shared_dropped(step->key.model, (int32) version);
}

/* ---- the function ---- */

static void
close_start(void *argument)
{
	Step *step = argument;

	ds_trainee_close(&step->trainee);
}

static void
find_model(Step *step, char *name, Jsonb *options)
{
	DsModelRow row;

	check_options(options);
	ds_model_find_owned(name, &row);
	if (row.version == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("model \"%s\" is not trained", name),
						errhint("A step changes a model that there is: begin with ds_train.")));
	ds_trainee_find(&step->trainee, name, options, &step->options);
	step->from = (DsModelKey){step->trainee.row.id, step->trainee.row.version};
	read_row(step);
	ds_trainee_open(&step->trainee, &step->options);
}

static void
make_step(Step *step, const char *source, const DsSpoolParameters *parameters)
{
	DsTrainConfig config = step_config(&step->options);
	DsTrainLimits limits;
	int64 rows;
	int64 bad;
	uint32 n;

	step->trainee.parameters = parameters;
	step->pairs = ds_trainee_pairs(&step->trainee, source, &rows, &step->skipped, &bad);
	n = step->pairs->count;
	if (n == 0)
		return;
	if (n == 1 && step->pairs->documents_max < 2 && compares_pairs(config.loss))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a step on one pair without negatives has nothing to compare it with")));
	if (compares_documents(config.loss) && step->pairs->documents_max < 2)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("loss \"%s\" compares documents of a query, and every query has one",
							   ds_loss_names[config.loss])));
	step->bounds = ds_pairs_bounds(step->pairs, n);
	/* a few pictures do not say what the mean of all is: batch norm keeps the training's */
	for (int t = 0; t < 2 && !step->options.batch_moments; t++)
		step->trainee.net.tower[t].fixed_moments = true;
	limits = (DsTrainLimits){n, step->bounds.documents, step->bounds.tokens, step->bounds.longest};
	/* all of them in one batch */
	step->order = ds_order_create(step->pairs, n, 1, DS_DUPLICATES_ALLOW, config.seed);
	step->team =
		ds_team_create(&step->trainee.net, &config, &limits, ds_batch_size(n, &step->bounds), 1);
	ds_trainee_load(&step->trainee, ds_team_trainer(step->team));
	load_states(step);
	step->base = choose_base(step);
	ds_team_step(step->team, fill_batch, step, &step->result);
	if (step->base != 0)
		write_changes(step);
	else
		write_whole(step);
	ds_version_finish(step->key, step->options.keep_versions, true);
	drop_files(step, step->options.keep_versions);
	ds_team_end(step->team);
}

static Datum
result_row(TupleDesc desc, const Step *step)
{
	Datum values[8];
	bool nulls[8];

	memset(nulls, step == NULL || step->key.version == 0, sizeof(nulls));
	memset(values, 0, sizeof(values));
	if (step != NULL)
	{
		values[0] = Int32GetDatum(step->key.version);
		values[1] = Int64GetDatum((int64) step->result.step);
		values[2] = Int32GetDatum((int32) step->pairs->count);
		values[3] = Int64GetDatum(step->skipped);
		values[4] = Float8GetDatum(step->result.loss);
		values[5] = Float8GetDatum(step->result.accuracy);
		values[6] = Float8GetDatum(step->result.gradient_norm);
		values[7] = Float8GetDatum(step->result.learning_rate);
		nulls[2] = nulls[3] = false;
	}
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

DS_FUNCTION(ds_sql_train_step);
Datum
ds_sql_train_step(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContextCallback *callback;
	TupleDesc desc;
	Source arguments;
	char *source;
	char *name;
	Step *step;
	Datum result;

	PreventCommandIfReadOnly("ds_train_step()");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(4))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be NULL", PG_ARGISNULL(0) ? "model" : "options")));
	source = make_source(fcinfo, &arguments);
	if (source == NULL)
		return result_row(desc, NULL);
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	SPI_connect();
	step = palloc0(sizeof(Step));
	callback = palloc(sizeof(MemoryContextCallback));
	callback->func = close_start;
	callback->arg = step;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	ds_model_lock_wait(name);
	/* while we waited, others may have committed steps */
	AcceptInvalidationMessages();
	PushActiveSnapshot(GetLatestSnapshot());
	find_model(step, name, PG_GETARG_JSONB_P(4));
	make_step(step, source, &arguments.parameters);
	PopActiveSnapshot();
	MemoryContextSwitchTo(caller);
	result = result_row(desc, step);
	SPI_finish();
	PG_RETURN_DATUM(result);
}
