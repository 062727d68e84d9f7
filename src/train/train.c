/*
 * train.c
 *		CALL ds_train(model, source_sql, options).
 *
 * Called outside of a transaction block, the training commits as it goes: the
 * run's row first, then the steps about once a second, so that others can
 * watch, and checkpoints; the new version, the model itself if it is new, and
 * the end of the run in one last commit.  Whatever stops it before, an error, a
 * cancel, a crash, the model stays as it was.  Inside a transaction block all
 * of it is part of that transaction.
 *
 * What lies between two commits is a subtransaction, so that after an error
 * the run can still be written down as failed or cancelled before the error
 * goes on its way.  A process that just dies leaves a run that says "running"
 * while nobody has the model's lock: ds_training_runs shows it as crashed.
 *
 * An evaluation writes the weights of the moment as a version, in a
 * subtransaction of its own, runs the user's query, for which that version is
 * the model, and rolls back.  So the query sees the model as every query will.
 */
#include "server.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "model/create.h"
#include "model/model.h"
#include "model/version.h"
#include "train/checkpoint.h"
#include "train/metric.h"
#include "train/options.h"
#include "train/order.h"
#include "train/run.h"
#include "train/team.h"
#include "train/trainee.h"

typedef struct Training
{
	char *name;
	char *source;
	DsRunOptions options;
	bool atomic;

	MemoryContext context; /* lives as long as the call */
	ResourceOwner owner;
	int level; /* of transactions, outside of segments */
	bool in_segment;
	bool recorded; /* the run's row is committed */

	DsTrainee trainee;
	DsRun run;
	DsPairs *pairs;
	DsOrder *order;
	DsPairsBounds bounds; /* of a batch */
	DsTeam *team;
	DsIdentity identity;

	/* where it stands */
	DsProgress progress;
	const uint32 *numbers; /* the next batch; n 0: there is none */
	uint32 n;
	float **best; /* values of the best parameters; NULL before there are any */
	bool resumed;
	uint64 digest; /* of the pairs before */
	TimestampTz checkpoint_at; /* the last one, or the beginning */
} Training;

/* ---- transactions ---- */

static void
begin_segment(Training *t)
{
	if (t->atomic)
		return;
	t->owner = CurrentResourceOwner;
	t->level = GetCurrentTransactionNestLevel();
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
	if (t->team != NULL)
		ds_team_end(t->team);
	if (t->in_segment)
	{
		/* an evaluation's too */
		while (GetCurrentTransactionNestLevel() > t->level)
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
			while (GetCurrentTransactionNestLevel() > t->level)
				RollbackAndReleaseCurrentSubTransaction();
			MemoryContextSwitchTo(t->context);
			CurrentResourceOwner = owner;
		}
		PG_END_TRY();
	}
	ReThrowError(error);
}

/* ---- the order of the batches ---- */

/* On to the next batch, and to the next epoch behind the last of one */
static void
advance(Training *t)
{
	DsProgress *at = &t->progress;

	t->n = ds_order_next(t->order, &t->numbers);
	if (t->n > 0 || at->epoch >= t->options.training.epochs)
		return;
	at->epoch++;
	at->batch = 0;
	ds_order_begin(t->order, at->epoch);
	t->n = ds_order_next(t->order, &t->numbers);
}

static void
fill_batch(void *context, DsBatch *batch)
{
	Training *t = context;

	/* a step of several batches may begin with the very last one */
	if (t->n == 0)
	{
		ds_order_begin(t->order, t->options.training.epochs + 1);
		t->n = ds_order_next(t->order, &t->numbers);
	}
	ds_batch_fill(batch, t->pairs, t->order, &t->bounds, t->numbers, t->n);
	t->progress.batch++;
	advance(t);
}

/* To where a checkpoint was, or the beginning */
static void
find_place(Training *t)
{
	DsProgress *at = &t->progress;

	at->epoch = Max(at->epoch, 1);
	ds_order_begin(t->order, at->epoch);
	for (uint64 b = 0; b < at->batch; b++)
		ds_order_next(t->order, &t->numbers);
	advance(t);
}

/* ---- preparing ---- */

static void
close_start(void *argument)
{
	Training *t = argument;

	ds_trainee_close(&t->trainee);
}

static void
plan(Training *t, Jsonb *options)
{
	int32 run;
	uint64 digest;

	ds_trainee_find(&t->trainee, t->name, options, &t->options);
	if (t->options.evaluate != NULL)
		ds_metrics_check(t->options.evaluate);
	t->identity.source = t->source;
	t->identity.options = ds_run_options_identity(&t->options);
	t->identity.version = t->trainee.exists ? t->trainee.row.version : 0;
	if (t->options.resume && ds_checkpoint_find(t->name, &t->identity, &run, &t->progress, &digest))
	{
		t->resumed = true;
		ds_run_resume(&t->run, run, t->name, t->options.training.epochs, (int64) t->progress.step);
		t->run.epoch_sum = t->progress.loss_sum;
		t->run.epoch_count = (int64) t->progress.loss_count;
		ds_checkpoint_read_trainee(run, &t->trainee);
		t->digest = digest;
		return;
	}
	ds_trainee_open(&t->trainee, &t->options);
	ds_run_begin(&t->run, t->name, t->source, ds_run_options_write(&t->options),
				 t->options.training.epochs);
}

/* Does the source have what the loss compares? */
static void
check_loss(const Training *t)
{
	DsLoss loss = t->options.training.train.loss;
	bool labels = loss == DS_LOSS_PAIR_CONTRASTIVE || loss == DS_LOSS_REGRESSION ||
				  loss == DS_LOSS_RANK_MARGIN || loss == DS_LOSS_MARGIN_MSE ||
				  loss == DS_LOSS_RANKNET || loss == DS_LOSS_LISTNET || loss == DS_LOSS_KL ||
				  loss == DS_LOSS_BINARY || loss == DS_LOSS_CLASSES;
	bool lists = loss == DS_LOSS_TRIPLET || loss == DS_LOSS_RANK_MARGIN ||
				 loss == DS_LOSS_MARGIN_MSE || loss == DS_LOSS_RANKNET || loss == DS_LOSS_LISTNET ||
				 loss == DS_LOSS_LIST_SOFTMAX || loss == DS_LOSS_KL;

	if (labels && !t->pairs->labels)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("loss \"%s\" needs labels", ds_loss_names[loss]),
						errhint("The training source gives them in a column named label: a number, "
								"or an array with one for each document.")));
	if (lists && t->pairs->documents_max < 2)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("loss \"%s\" compares documents of a query, and every row has one",
							   ds_loss_names[loss]),
						errhint("The training source gives more in its third column, or arrays in "
								"its second.")));
}

static void
read_source(Training *t)
{
	int64 rows;
	int64 skipped;
	int64 bad;
	bool single;
	uint32 least;

	t->pairs = ds_trainee_pairs(&t->trainee, t->source, &rows, &skipped, &bad);
	t->pairs->skipped = skipped;
	/* a cross-encoder sees every pair by itself */
	single = t->trainee.net.kind == DS_NET_SINGLE;
	least = single ? 1 : 2;
	if (bad > 0)
		ereport(WARNING,
				(errmsg(INT64_FORMAT " pictures of the training source could not be read", bad)));
	if (skipped > 0)
		ereport(NOTICE,
				(errmsg("skipped " INT64_FORMAT " of " INT64_FORMAT
						" rows, which have no query or no positive %s",
						skipped, rows, ds_trainee_images(&t->trainee) ? "document" : "text")));
	if (t->pairs->count < least)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the training source gives too few pairs: %u", t->pairs->count),
						single ? 0
							   : errdetail("Training compares pairs with each other, so it needs "
										   "two.")));
	check_loss(t);
	if (t->options.balance)
		ds_pairs_balance(t->pairs);
	if (t->resumed && t->pairs->digest != t->digest)
	{
		ereport(NOTICE,
				(errmsg("the training source gives other rows than before: epoch %u begins anew",
						t->progress.epoch)));
		t->progress.batch = 0;
	}
	t->order =
		ds_order_create(t->pairs, Min(t->options.training.batch_size, t->pairs->count), least,
						single ? DS_DUPLICATES_ALLOW : (DsDuplicates) t->options.duplicates,
						t->options.training.train.seed);
}

static void
make_best(Training *t)
{
	DsTrainer *trainer = ds_team_trainer(t->team);
	size_t count = ds_trainer_parameters(trainer);

	t->best = palloc0(sizeof(float *) * count);
	for (size_t i = 0; i < count; i++)
	{
		DsTrained parameter = ds_trainer_parameter(trainer, i);

		if (!parameter.frozen)
			t->best[i] = MemoryContextAllocHuge(t->context, sizeof(float) * parameter.count);
	}
}

static void
keep_best(Training *t)
{
	DsTrainer *trainer = ds_team_trainer(t->team);

	if (t->best == NULL)
		make_best(t);
	for (size_t i = 0; i < ds_trainer_parameters(trainer); i++)
	{
		DsTrained parameter = ds_trainer_parameter(trainer, i);

		if (t->best[i] != NULL)
			memcpy(t->best[i], parameter.value, sizeof(float) * parameter.count);
	}
}

static void
gather_team(Training *t)
{
	DsTrainConfig config = t->options.training.train;
	size_t batch_size = Min(t->options.training.batch_size, t->pairs->count);
	DsPairsBounds bounds = ds_pairs_bounds(t->pairs, batch_size);
	DsTrainLimits limits = {batch_size, bounds.documents, bounds.tokens, bounds.longest};
	uint64 per_epoch = ds_order_count(t->order, 1);
	uint64 steps =
		(per_epoch * t->options.training.epochs + config.accumulate - 1) / config.accumulate;

	t->bounds = bounds;
	if (per_epoch == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the training source gives no batch without duplicates"),
						errhint("Set the option \"duplicates\" to \"avoid\".")));
	if (config.schedule.decay_steps == 0)
		config.schedule.decay_steps = (double) Max(per_epoch / config.accumulate, 1);
	config.schedule.total_steps = Max((double) steps, config.schedule.warmup_steps + 1);
	t->team = ds_team_create(&t->trainee.net, &config, &limits, ds_batch_size(batch_size, &bounds),
							 ds_team_wish(t->options.workers));
	ds_trainee_load(&t->trainee, ds_team_trainer(t->team));
	if (t->resumed)
	{
		bool has_best;

		make_best(t);
		ds_checkpoint_read_trainer(t->run.id, ds_team_trainer(t->team), t->best, &has_best);
		/* where the checkpoint's own values are the best */
		if (!has_best && t->progress.has_best)
			keep_best(t);
		else if (!has_best)
			t->best = NULL;
		ds_trainer_set_steps(ds_team_trainer(t->team), t->progress.step);
	}
	find_place(t);
	ds_run_source(&t->run, t->pairs->count, t->pairs->skipped, (int64) steps,
				  (int64) t->progress.step, ds_team_processes(t->team));
	t->checkpoint_at = GetCurrentTimestamp();
	if (t->resumed)
		ereport(NOTICE, (errmsg("run %d of model \"%s\" goes on behind step " UINT64_FORMAT
								" of " UINT64_FORMAT,
								t->run.id, t->name, t->progress.step, steps)));
	else
		/* features have no vocabulary */
		ereport(NOTICE,
				(errmsg("training model \"%s\" on %u pairs: %u epochs of " UINT64_FORMAT " steps%s",
						t->name, t->pairs->count, t->options.training.epochs,
						(per_epoch + config.accumulate - 1) / config.accumulate,
						t->trainee.vocabulary > 0
							? psprintf(", vocabulary of %u", t->trainee.vocabulary)
							: "")));
}

/* ---- between steps ---- */

static bool
is_better(const Training *t, double metric)
{
	const DsProgress *at = &t->progress;

	if (!at->has_best)
		return true;
	return t->options.goal == DS_GOAL_MAX ? metric > at->best + t->options.min_improvement
										  : metric < at->best - t->options.min_improvement;
}

/* The user's query, for which the weights of this moment are the model */
static void
read_metrics(Training *t, DsMetrics *metrics)
{
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext context =
		AllocSetContextCreate(t->context, "deepsearch evaluation", ALLOCSET_DEFAULT_SIZES);

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	ds_version_finish(ds_trainee_write(&t->trainee, ds_team_trainer(t->team), NULL, t->run.id,
									   t->source, t->pairs->count),
					  PG_INT32_MAX, true);
	CommandCounterIncrement();
	ds_metrics_read(t->options.evaluate, metrics);
	RollbackAndReleaseCurrentSubTransaction();
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(t->context);
	MemoryContextDelete(context);
}

/* false when it is time to stop */
static bool
evaluate(Training *t, uint32 epoch)
{
	DsProgress *at = &t->progress;
	DsMetrics metrics;
	bool better;

	read_metrics(t, &metrics);
	better = is_better(t, metrics.value[0]);
	if (better)
	{
		at->has_best = true;
		at->best = metrics.value[0];
		at->best_step = at->step;
		at->since_best = 0;
		keep_best(t);
	}
	else
		at->since_best++;
	ds_run_metrics(&t->run, &metrics, (int64) at->step, epoch, better);
	if (t->options.patience == 0 || at->since_best < t->options.patience)
		return true;
	ereport(
		NOTICE,
		(errmsg(
			"stopping early: %u evaluations without a better %s than %.4f at step " UINT64_FORMAT,
			at->since_best, metrics.name[0], at->best, at->best_step)));
	return false;
}

/* What has been written so far is there for others, and after a crash. */
static void
commit_so_far(Training *t)
{
	ds_run_flush(&t->run);
	end_segment(t);
	begin_segment(t);
}

static void
write_checkpoint(Training *t)
{
	MemoryContext context =
		AllocSetContextCreate(t->context, "deepsearch checkpoint", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);

	t->progress.loss_sum = t->run.epoch_sum;
	t->progress.loss_count = (uint64) t->run.epoch_count;
	ds_checkpoint_write(t->run.id, &t->identity, &t->progress, t->pairs->digest, &t->trainee,
						ds_team_trainer(t->team),
						t->progress.best_step == t->progress.step ? NULL : t->best);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	commit_so_far(t);
	t->checkpoint_at = GetCurrentTimestamp();
}

static bool
checkpoint_due(const Training *t, bool epoch_ended)
{
	/* in a transaction block nobody could ever see it */
	if (t->atomic || t->n == 0)
		return false;
	if (t->options.checkpoint_steps > 0 && t->progress.step % t->options.checkpoint_steps == 0)
		return true;
	return epoch_ended && (double) (GetCurrentTimestamp() - t->checkpoint_at) / USECS_PER_SEC >=
							  t->options.checkpoint_seconds;
}

static void
train_steps(Training *t)
{
	DsProgress *at = &t->progress;
	bool going_on = true;

	/* what it begins with may be the best there will be */
	if (t->options.evaluate != NULL && !t->trainee.fresh && !t->resumed)
		evaluate(t, 0);
	while (going_on && t->n > 0)
	{
		uint32 epoch = at->epoch;
		DsStepResult result;
		bool epoch_ended;
		bool paused = false;

		CHECK_FOR_INTERRUPTS();
		ds_team_step(t->team, fill_batch, t, &result);
		at->step++;
		if (ds_run_step(&t->run, &result, (int64) at->step, epoch))
			commit_so_far(t);
		epoch_ended = at->epoch != epoch || t->n == 0;
		if (epoch_ended)
			ds_run_epoch(&t->run, epoch);
		if (t->options.evaluate != NULL &&
			(t->options.evaluate_steps == 0
				 ? epoch_ended
				 : at->step % t->options.evaluate_steps == 0 || t->n == 0))
		{
			going_on = evaluate(t, epoch);
			paused = true;
		}
		if (going_on && checkpoint_due(t, epoch_ended))
		{
			write_checkpoint(t);
			paused = true;
		}
		if (paused)
			ds_run_pause(&t->run);
	}
	ds_run_flush(&t->run);
}

static void
finish(Training *t)
{
	DsModelKey key = ds_trainee_write(&t->trainee, ds_team_trainer(t->team), t->best, t->run.id,
									  t->source, t->pairs->count);

	ds_version_finish(key, t->options.keep_versions, t->options.activate || !t->trainee.exists);
	ds_checkpoint_drop(t->name);
	ds_run_end(&t->run, "finished", key.version, NULL);
	ds_team_end(t->team);
	end_segment(t);
	t->recorded = false;
	if (!t->atomic)
		ds_model_unlock(t->name);
	if (t->best != NULL && t->progress.best_step != t->progress.step)
		ereport(NOTICE, (errmsg("model \"%s\" has version %d, the weights of step " UINT64_FORMAT,
								t->name, key.version, t->progress.best_step)));
	else
		ereport(NOTICE, (errmsg("model \"%s\" has version %d", t->name, key.version)));
}

static void
train(Training *t, Jsonb *options)
{
	ds_model_check_name(t->name);
	begin_segment(t);
	ds_model_lock(t->name, !t->atomic);
	plan(t, options);
	end_segment(t);
	t->recorded = !t->atomic;

	begin_segment(t);
	read_source(t);
	gather_team(t);
	end_segment(t);

	begin_segment(t);
	train_steps(t);
	finish(t);
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
	callback->func = close_start;
	callback->arg = t;
	MemoryContextRegisterResetCallback(t->context, callback);
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
