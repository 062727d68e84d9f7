/*
 * train.c
 *		CALL ds_train(model, source_sql, options).
 *
 * Called outside of a transaction block, the training commits as it goes: the
 * run's row first, then the steps about once a second, so that others can
 * watch; the new version, the model itself if it is new, and the end of the
 * run in one last commit.  Whatever stops it before, an error, a cancel, a
 * crash, the model stays as it was.  Inside a transaction block all of it is
 * part of that transaction.
 *
 * What lies between two commits is a subtransaction, so that after an error
 * the run can still be written down as failed or cancelled before the error
 * goes on its way.  A process that just dies leaves a run that says "running"
 * while nobody has the model's lock: ds_training_runs shows it as crashed.
 */
#include "server.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "base/random.h"
#include "model/catalog.h"
#include "model/create.h"
#include "model/model.h"
#include "model/version.h"
#include "train/pairs.h"
#include "train/run.h"

typedef struct Training
{
	char *name;
	char *source;
	DsRunOptions options;
	DsModelConfig config;
	bool atomic;
	bool exists; /* the model does */
	DsModelRow row;
	DsModel *start; /* the version that the training continues, or NULL */

	MemoryContext context; /* lives as long as the call */
	DsArena arena;
	ResourceOwner owner;
	bool in_segment;
	bool recorded; /* the run's row is committed */

	DsTokenizer tokenizer[2];
	const void *tokenizer_blob[2];
	size_t tokenizer_size[2];
	DsPairs *pairs;
	DsTrainer *trainer;
	DsDualEncoder encoder; /* of the trainer's values */
	DsRun run;
	int32 version;
} Training;

/* ---- transactions ---- */

static void
begin_segment(Training *t)
{
	if (t->atomic)
		return;
	t->owner = CurrentResourceOwner;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(t->context);
	t->in_segment = true;
}

/* Commit what the segment has written. */
static void
end_segment(Training *t)
{
	if (t->atomic)
		return;
	ReleaseCurrentSubTransaction();
	t->in_segment = false;
	CurrentResourceOwner = t->owner;
	SPI_commit();
	MemoryContextSwitchTo(t->context);
}

/* After an error outside of a transaction block: note how the run ended, and go on with the error. */
static void
record_failure(Training *t)
{
	ErrorData *error;

	MemoryContextSwitchTo(t->context);
	error = CopyErrorData();
	FlushErrorState();
	if (t->in_segment)
	{
		RollbackAndReleaseCurrentSubTransaction();
		t->in_segment = false;
		MemoryContextSwitchTo(t->context);
		CurrentResourceOwner = t->owner;
	}
	if (t->recorded)
	{
		/* should this fail too, the first error is the one to report */
		ResourceOwner owner = CurrentResourceOwner;

		BeginInternalSubTransaction(NULL);
		PG_TRY();
		{
			MemoryContextSwitchTo(t->context);
			ds_run_flush(&t->run);
			ds_run_end(&t->run,
					   error->sqlerrcode == ERRCODE_QUERY_CANCELED ? "cancelled" : "failed", 0,
					   error->message);
			ReleaseCurrentSubTransaction();
			MemoryContextSwitchTo(t->context);
			CurrentResourceOwner = owner;
			SPI_commit();
		}
		PG_CATCH();
		{
			MemoryContextSwitchTo(t->context);
			FlushErrorState();
			if (GetCurrentTransactionNestLevel() > 1)
				RollbackAndReleaseCurrentSubTransaction();
			MemoryContextSwitchTo(t->context);
			CurrentResourceOwner = owner;
		}
		PG_END_TRY();
	}
	ReThrowError(error);
}

/* ---- the parts ---- */

static void
unpin_start(void *argument)
{
	Training *t = argument;

	if (t->start != NULL)
		ds_model_unpin(t->start);
	t->start = NULL;
}

static void
find_or_plan(Training *t, Jsonb *options)
{
	t->exists = ds_model_find(t->name, &t->row);
	if (t->exists)
	{
		ds_model_find_owned(t->name, &t->row);
		if (ds_config_is_imported(t->row.config))
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("model \"%s\" was imported and cannot be trained", t->name)));
		ds_config_read(t->row.config, &t->config);
	}
	else
		ds_config_read(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))),
					   &t->config);
	t->options.training = t->config.training;
	ds_run_options_read(options, &t->options);
	if (t->exists && t->row.version != 0 && !t->options.from_scratch)
	{
		DsModelKey key = {t->row.id, t->row.version};

		t->start = ds_model_open(key);
		ds_model_pin(t->start);
	}
}

static void *
arena_alloc(Training *t, size_t count, size_t size)
{
	void *memory = ds_arena_alloc(&t->arena, count, size);

	if (memory == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
						errdetail("Training needs %zu bytes more.", count * size)));
	return memory;
}

/* Read the source; learn the tokenizers, or take those of the version that is continued. */
static void
read_pairs(Training *t)
{
	int towers = ds_config_towers(&t->config);
	DsLearners learners = {{NULL, NULL}};
	DsTokenScratch scratch[2];
	DsStatus status;
	DsArena learning;
	MemoryContext learning_context =
		AllocSetContextCreate(t->context, "deepsearch vocabulary", ALLOCSET_DEFAULT_SIZES);

	ds_server_arena(&learning, learning_context);
	for (int i = 0; i < towers && t->start == NULL; i++)
	{
		DsTokenizerConfig config = t->config.tokenizer[i];

		config.learn_memory = (size_t) maintenance_work_mem * 1024 / (size_t) towers;
		ds_check(ds_tokenizer_learn_begin(&config, &learning, &learners.learner[i], &status),
				 &status);
	}
	if (t->config.shared)
		learners.learner[1] = learners.learner[0];
	t->pairs = ds_pairs_create();
	ds_pairs_read(t->pairs, t->source, &learners);

	for (int i = 0; i < towers; i++)
	{
		if (t->start != NULL)
		{
			t->tokenizer_blob[i] = t->start->tokenizer_blob[i];
			t->tokenizer_size[i] = t->start->tokenizer_size[i];
		}
		else
		{
			void *blob;

			ds_check(ds_tokenizer_learn_finish(learners.learner[i], &t->arena, &blob,
											   &t->tokenizer_size[i], &status),
					 &status);
			t->tokenizer_blob[i] = blob;
		}
		ds_check(ds_tokenizer_open(&t->tokenizer[i], t->tokenizer_blob[i], t->tokenizer_size[i],
								   &status),
				 &status);
		ds_check(ds_tokenizer_scratch(&t->tokenizer[i], &t->arena, &scratch[i], &status), &status);
		scratch[i].cancel = &ds_server_cancel;
	}
	MemoryContextDelete(learning_context);
	if (t->config.shared)
	{
		t->tokenizer[1] = t->tokenizer[0];
		scratch[1] = scratch[0];
	}
	ds_pairs_tokenize(t->pairs, &t->tokenizer[0], &scratch[0], &t->tokenizer[1], &scratch[1]);
	if (t->pairs->skipped > 0)
		ereport(NOTICE, (errmsg("skipped " INT64_FORMAT " of " INT64_FORMAT
								" rows, which have no query or no positive text",
								t->pairs->skipped, t->pairs->rows)));
	if (t->pairs->count < 2)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the training source gives too few pairs: %u", t->pairs->count),
						errdetail("Training compares pairs with each other, so it needs two.")));
}

static uint32
steps_per_epoch(const Training *t)
{
	uint32 count = t->pairs->count;
	uint32 batch_size = Min(t->options.training.batch_size, count);

	/* a remainder of one pair has nothing to be compared with */
	return count / batch_size + (count % batch_size >= 2 ? 1 : 0);
}

static void
prepare_encoder(Training *t)
{
	uint32_t vocabulary[2] = {t->tokenizer[0].vocabulary, t->tokenizer[1].vocabulary};
	DsDualEncoderConfig config = ds_config_encoder(&t->config, vocabulary);
	DsNet net = {.kind = DS_NET_DUAL, .shared = config.shared, .score = config.score};
	DsTrainConfig train = t->options.training.train;
	uint32 count = t->pairs->count;
	DsTrainLimits limits;
	size_t size;
	void *block;
	DsStatus status;

	for (int i = 0; i < 2; i++)
		net.tower[i] = (DsTower){.body = DS_BODY_BAG, .bag = config.tower[i]};
	if (train.schedule.decay_steps == 0)
		train.schedule.decay_steps = steps_per_epoch(t);
	limits.longest = 0;
	for (uint32 i = 0; i < count; i++)
		limits.longest = Max(limits.longest, t->pairs->places[i + 1] - t->pairs->places[i]);
	/* negatives are of all pairs, and cut into shards apart from them */
	limits.longest *= 2;
	limits.pairs = Min(t->options.training.batch_size, count);
	limits.documents = 2 * limits.pairs;
	limits.tokens = Min(limits.longest * limits.pairs, PG_UINT32_MAX);
	ds_check(ds_trainer_size(&net, &train, &limits, &size, &status), &status);
	block = ds_arena_zero(&t->arena, size, 1);
	if (block == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	ds_check(ds_trainer_format(block, size, &net, &train, &limits, &status), &status);
	ds_check(ds_trainer_attach(block, size, &t->arena, &t->trainer, &status), &status);
	ds_trainer_initialize(t->trainer);
	ds_trainer_dual_encoder(t->trainer, &t->encoder);
	if (t->start == NULL)
		return;
	for (size_t i = 0; i < t->encoder.parameter_count; i++)
	{
		DsParameter *to = &t->encoder.parameter[i];
		const DsParameter *from = &t->start->encoder.parameter[i];

		/* the temperature is an option of each training */
		if (i != t->encoder.scale_parameter)
			memcpy(to->value, from->value, sizeof(float) * to->count);
	}
}

static void
train_epochs(Training *t)
{
	DsTrainConfig config = t->options.training.train;
	uint32 count = t->pairs->count;
	uint32 batch_size = Min(t->options.training.batch_size, count);
	uint32 per_epoch = steps_per_epoch(t);
	uint32 epochs = t->options.training.epochs;
	DsBatchBuffers *buffers = ds_batch_create(batch_size);
	uint32_t *order = arena_alloc(t, count, sizeof(uint32_t));
	DsStatus status;
	int64 step = 0;

	ds_run_source(&t->run, count, t->pairs->skipped, (int64) per_epoch * epochs);
	ereport(NOTICE,
			(errmsg("training model \"%s\" on %u pairs: %u epochs of %u steps, vocabulary of %u",
					t->name, count, epochs, per_epoch, t->tokenizer[0].vocabulary)));
	end_segment(t);

	begin_segment(t);
	for (uint32 epoch = 1; epoch <= epochs; epoch++)
	{
		DsRandom random;

		/* steps use streams from 0 upwards */
		ds_random_init(&random, config.seed, UINT64_MAX - epoch);
		ds_random_permutation(&random, order, count);
		for (uint32 b = 0; b < per_epoch; b++)
		{
			uint32 begin = b * batch_size;
			DsStepResult result;
			const DsTrainBatch *batch =
				ds_batch_fill(buffers, t->pairs, order + begin, Min(batch_size, count - begin));

			CHECK_FOR_INTERRUPTS();
			ds_check(ds_trainer_step(t->trainer, batch, &result, &ds_server_cancel, &status),
					 &status);
			if (ds_run_step(&t->run, &result, ++step, epoch))
			{
				ds_run_flush(&t->run);
				end_segment(t);
				begin_segment(t);
			}
		}
		ds_run_epoch(&t->run, epoch);
	}
	ds_run_flush(&t->run);
}

/* ---- the new version ---- */

static int
list_tensors(Training *t, DsTensorData *tensors, int64 *parameters, int64 *bytes)
{
	int count = 0;

	*parameters = *bytes = 0;
	for (int i = 0; i < ds_config_towers(&t->config); i++)
	{
		DsTensorData *tensor = &tensors[count++];

		tensor->name = psprintf("%s.tokenizer", ds_config_tower_name(&t->config, i));
		tensor->dtype = DS_DTYPE_U8;
		tensor->shape_count = 1;
		tensor->shape[0] = (int64) t->tokenizer_size[i];
		tensor->data = t->tokenizer_blob[i];
		tensor->bytes = t->tokenizer_size[i];
	}
	for (size_t i = 0; i < t->encoder.parameter_count; i++)
	{
		const DsParameter *parameter = &t->encoder.parameter[i];
		DsTensorData *tensor = &tensors[count++];

		tensor->name = parameter->name;
		tensor->dtype = DS_DTYPE_F32;
		tensor->shape_count = (int) parameter->shape_count;
		for (uint32 d = 0; d < parameter->shape_count; d++)
			tensor->shape[d] = (int64) parameter->shape[d];
		tensor->data = parameter->value;
		tensor->bytes = sizeof(float) * parameter->count;
		*parameters += (int64) parameter->count;
	}
	for (int i = 0; i < count; i++)
		*bytes += (int64) tensors[i].bytes;
	return count;
}

static void
write_version(Training *t)
{
	DsTensorData tensors[DS_PARAMETERS_MAX + 2];
	DsVersionRow row = {.precision = "f32", .pairs = t->pairs->count, .run = t->run.id};
	DsModelKey key;
	int count = list_tensors(t, tensors, &row.parameters, &row.bytes);

	row.config = ds_config_write(&t->config);
	row.dims = (int32) t->encoder.dims;
	row.source = t->source;
	key = ds_version_insert(
		t->exists ? t->row.id
				  : ds_model_create(t->name, ds_config_write(&t->config), (int32) t->encoder.dims),
		t->name, &row);
	ds_store_write(key, tensors, count);
	ds_version_finish(key, t->options.keep_versions);
	t->version = key.version;
}

static void
train(Training *t, Jsonb *options)
{
	ds_model_check_name(t->name);
	begin_segment(t);
	ds_model_lock(t->name, !t->atomic);
	find_or_plan(t, options);
	ds_run_begin(&t->run, t->name, t->source, ds_run_options_write(&t->options),
				 t->options.training.epochs);
	end_segment(t);
	t->recorded = !t->atomic;

	begin_segment(t);
	read_pairs(t);
	prepare_encoder(t);
	train_epochs(t);
	write_version(t);
	ds_run_end(&t->run, "finished", t->version, NULL);
	end_segment(t);
	t->recorded = false;
	if (!t->atomic)
		ds_model_unlock(t->name);
	ereport(NOTICE, (errmsg("model \"%s\" has version %d", t->name, t->version)));
}

static void
refuse_null(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be NULL", what)));
}

DS_FUNCTION(ds_sql_train);
Datum
ds_sql_train(PG_FUNCTION_ARGS)
{
	bool atomic = fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
				  castNode(CallContext, fcinfo->context)->atomic;
	Training *t;
	Jsonb *options;
	MemoryContextCallback *callback;

	PreventCommandIfReadOnly("ds_train()");
	refuse_null(fcinfo, 0, "model");
	refuse_null(fcinfo, 1, "source_sql");
	refuse_null(fcinfo, 2, "options");
	SPI_connect_ext(atomic ? 0 : SPI_OPT_NONATOMIC);

	/* in SPI's context, which outlives the commits */
	t = palloc0(sizeof(Training));
	t->context = CurrentMemoryContext;
	t->atomic = atomic;
	t->name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	t->source = text_to_cstring(PG_GETARG_TEXT_PP(1));
	options = (Jsonb *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(2));
	callback = palloc(sizeof(MemoryContextCallback));
	callback->func = unpin_start;
	callback->arg = t;
	MemoryContextRegisterResetCallback(t->context, callback);
	ds_server_arena(&t->arena, t->context);
	if (atomic)
		train(t, options);
	else
	{
		PG_TRY();
		{
			train(t, options);
		}
		PG_CATCH();
		{
			record_failure(t);
		}
		PG_END_TRY();
	}
	SPI_finish();
	PG_RETURN_VOID();
}
