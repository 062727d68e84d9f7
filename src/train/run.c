/*
 * run.c
 *		The record of a training: ds_training_run, ds_training_step, NOTICEs.
 */
#include "train/run.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "model/catalog.h"

#define NOTICE_SECONDS 3
#define FLUSH_SECONDS 1

static double
seconds_between(TimestampTz from, TimestampTz to)
{
	return (double) (to - from) / USECS_PER_SEC;
}

void
ds_run_begin(DsRun *run, const char *model, const char *source, Jsonb *options, uint32 epochs)
{
	static const Oid types[7] = {TEXTOID, NAMEOID, TEXTOID, JSONBOID, INT4OID, INT4OID, OIDOID};
	Datum values[7];
	DsCatalogScope scope;
	bool null;

	memset(run, 0, sizeof(*run));
	run->model = model;
	run->epochs = epochs;
	values[0] = CStringGetTextDatum(model);
	values[1] = DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(GetUserId(), false)));
	values[2] = CStringGetTextDatum(source);
	values[3] = JsonbPGetDatum(options);
	values[4] = Int32GetDatum((int32) epochs);
	values[5] = Int32GetDatum(MyProcPid);
	values[6] = ObjectIdGetDatum(ds_model_lock_id(model));
	ds_catalog_enter(&scope);
	ds_catalog_run(
		"UPDATE @.ds_training_run SET state = 'crashed', finished = clock_timestamp(),"
		" message = 'the training process is gone' WHERE model = $1 AND state = 'running'",
		1, types, values, NULL);
	ds_catalog_run("INSERT INTO @.ds_training_run"
				   " (model, started_by, source, options, epochs, pid, lock_id, state)"
				   " VALUES ($1, $2, $3, $4, $5, $6, $7, 'running') RETURNING id",
				   7, types, values, NULL);
	run->id = DatumGetInt32(ds_catalog_value(0, 1, &null));
	ds_catalog_leave(&scope);
}

void
ds_run_resume(DsRun *run, int32 id, const char *model, uint32 epochs, int64 step)
{
	static const Oid types[4] = {INT4OID, INT8OID, INT4OID, TEXTOID};
	Datum values[4] = {Int32GetDatum(id), Int64GetDatum(step), Int32GetDatum(MyProcPid),
					   CStringGetTextDatum(model)};
	DsCatalogScope scope;

	memset(run, 0, sizeof(*run));
	run->id = id;
	run->model = model;
	run->epochs = epochs;
	ds_catalog_enter(&scope);
	ds_catalog_run(
		"UPDATE @.ds_training_run SET state = 'crashed', finished = clock_timestamp(),"
		" message = 'the training process is gone' WHERE model = $4 AND state = 'running'",
		4, types, values, NULL);
	ds_catalog_run(
		"UPDATE @.ds_training_run SET state = 'running', finished = NULL, message = NULL,"
		" resumed = resumed + 1, pid = $3 WHERE id = $1",
		4, types, values, NULL);
	ds_catalog_run("DELETE FROM @.ds_training_step WHERE run = $1 AND step > $2", 4, types, values,
				   NULL);
	ds_catalog_run("DELETE FROM @.ds_training_metric WHERE run = $1 AND step > $2", 4, types,
				   values, NULL);
	ds_catalog_leave(&scope);
}

void
ds_run_source(DsRun *run, int64 pairs, int64 skipped, int64 steps, int64 step, int processes)
{
	static const Oid types[5] = {INT4OID, INT8OID, INT8OID, INT8OID, INT4OID};
	Datum values[5] = {Int32GetDatum(run->id), Int64GetDatum(pairs), Int64GetDatum(skipped),
					   Int64GetDatum(steps), Int32GetDatum(processes)};

	run->steps = steps;
	ds_catalog_execute("UPDATE @.ds_training_run SET pairs = $2, skipped = $3, steps = $4,"
					   " processes = $5 WHERE id = $1",
					   5, types, values, NULL);
	run->began = run->noticed = run->flushed = run->last = GetCurrentTimestamp();
	run->began_step = run->noticed_step = step;
}

void
ds_run_pause(DsRun *run)
{
	TimestampTz now = GetCurrentTimestamp();

	/* rates are those of steps alone */
	run->began += now - run->last;
	run->noticed += now - run->last;
	run->last = now;
}

static char *
time_text(double seconds)
{
	if (seconds < 99.5)
		return psprintf("%.0f s", seconds);
	if (seconds < 99.5 * 60)
		return psprintf("%.0f min", seconds / 60);
	return psprintf("%.1f h", seconds / 3600);
}

bool
ds_run_step(DsRun *run, const DsStepResult *result, int64 step, uint32 epoch)
{
	TimestampTz now = GetCurrentTimestamp();
	DsRunStep *slot = &run->buffer[run->buffered++];

	slot->step = step;
	slot->epoch = (int32) epoch;
	slot->result = *result;
	slot->at = now;
	slot->seconds = seconds_between(run->last, now);
	run->last = now;
	run->loss_sum += result->loss;
	run->loss_count++;
	run->epoch_sum += result->loss;
	run->epoch_count++;
	if (seconds_between(run->noticed, now) >= NOTICE_SECONDS)
	{
		double rate =
			(double) (step - run->noticed_step) / Max(seconds_between(run->noticed, now), 1e-6);
		/* the time left by the rate of the whole run, which jumps less */
		double mean =
			(double) (step - run->began_step) / Max(seconds_between(run->began, now), 1e-6);

		ereport(NOTICE, (errmsg("epoch %u of %u, step " INT64_FORMAT " of " INT64_FORMAT
								": loss %.4f, learning rate %.3g, %.1f steps/s, %s left",
								epoch, run->epochs, step, run->steps,
								run->loss_sum / (double) run->loss_count, result->learning_rate,
								rate, time_text((double) (run->steps - step) / mean))));
		run->noticed = now;
		run->noticed_step = step;
		run->loss_sum = 0;
		run->loss_count = 0;
	}
	return run->buffered == DS_RUN_BUFFER || seconds_between(run->flushed, now) >= FLUSH_SECONDS;
}

void
ds_run_epoch(DsRun *run, uint32 epoch)
{
	double seconds = seconds_between(run->began, GetCurrentTimestamp());

	run->last_epoch_loss = run->epoch_sum / (double) Max(run->epoch_count, 1);
	ereport(NOTICE, (errmsg("epoch %u of %u finished after %s: mean loss %.4f", epoch, run->epochs,
							time_text(seconds), run->last_epoch_loss)));
	run->epoch_sum = 0;
	run->epoch_count = 0;
}

static Datum
real_array(Datum *elements, int count)
{
	return PointerGetDatum(construct_array(elements, count, FLOAT8OID, sizeof(float8),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

void
ds_run_flush(DsRun *run)
{
	static const Oid types[10] = {
		INT4OID,		INT8ARRAYOID,	INT4ARRAYOID,	FLOAT8ARRAYOID, FLOAT8ARRAYOID,
		FLOAT8ARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID, TIMESTAMPTZARRAYOID};
	int count = run->buffered;
	Datum values[10];
	Datum *elements;

	run->flushed = GetCurrentTimestamp();
	if (count == 0)
		return;
	elements = palloc(sizeof(Datum) * count);

#define COLLECT(expression)             \
	for (int i = 0; i < count; i++)     \
	{                                   \
		DsRunStep *s = &run->buffer[i]; \
		elements[i] = (expression);     \
	}
	values[0] = Int32GetDatum(run->id);
	COLLECT(Int64GetDatum(s->step));
	values[1] = PointerGetDatum(
		construct_array(elements, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	COLLECT(Int32GetDatum(s->epoch));
	values[2] = PointerGetDatum(
		construct_array(elements, count, INT4OID, sizeof(int32), true, TYPALIGN_INT));
	COLLECT(Float8GetDatum(s->result.loss));
	values[3] = real_array(elements, count);
	COLLECT(Float8GetDatum(s->result.accuracy));
	values[4] = real_array(elements, count);
	COLLECT(Float8GetDatum(s->result.gradient_norm));
	values[5] = real_array(elements, count);
	COLLECT(Float8GetDatum(s->result.learning_rate));
	values[6] = real_array(elements, count);
	COLLECT(Float8GetDatum(s->result.temperature));
	values[7] = real_array(elements, count);
	COLLECT(Float8GetDatum(s->seconds));
	values[8] = real_array(elements, count);
	COLLECT(TimestampTzGetDatum(s->at));
	values[9] = PointerGetDatum(construct_array(
		elements, count, TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
#undef COLLECT
	ds_catalog_execute("INSERT INTO @.ds_training_step (run, step, epoch, loss, accuracy,"
					   " gradient_norm, learning_rate, temperature, seconds, at)"
					   " SELECT $1, t.* FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10) t",
					   10, types, values, NULL);
	run->buffered = 0;
	pfree(elements);
	for (int i = 1; i < 10; i++)
		pfree(DatumGetPointer(values[i]));
}

void
ds_run_metrics(DsRun *run, const DsMetrics *metrics, int64 step, uint32 epoch, bool best)
{
	static const Oid types[7] = {INT4OID, INT8OID, TEXTOID, INT4OID, INT4OID, FLOAT8OID, BOOLOID};
	StringInfoData others;

	initStringInfo(&others);
	for (int i = 0; i < metrics->count; i++)
	{
		Datum values[7] = {Int32GetDatum(run->id),
						   Int64GetDatum(step),
						   CStringGetTextDatum(metrics->name[i]),
						   Int32GetDatum(i + 1),
						   Int32GetDatum((int32) epoch),
						   Float8GetDatum(metrics->value[i]),
						   BoolGetDatum(best)};

		/* two columns of one name: the first */
		ds_catalog_execute(
			"INSERT INTO @.ds_training_metric (run, step, name, place, epoch, value, best)"
			" VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
			7, types, values, NULL);
		if (i == 0 && best)
			ds_catalog_execute(
				"UPDATE @.ds_training_run SET metric = $6, best_step = $2 WHERE id = $1", 7, types,
				values, NULL);
		if (i > 0)
			appendStringInfo(&others, ", %s %.4f", metrics->name[i], metrics->value[i]);
	}
	ereport(NOTICE, (errmsg("step " INT64_FORMAT ": %s %.4f%s%s", step, metrics->name[0],
							metrics->value[0], others.data, best ? ", the best so far" : "")));
}

void
ds_run_end(DsRun *run, const char *state, int32 version, const char *message)
{
	static const Oid types[5] = {INT4OID, TEXTOID, INT4OID, TEXTOID, FLOAT8OID};
	Datum values[5];
	char nulls[5] = {' ', ' ', ' ', ' ', ' '};

	values[0] = Int32GetDatum(run->id);
	values[1] = CStringGetTextDatum(state);
	values[2] = Int32GetDatum(version);
	if (version == 0)
		nulls[2] = 'n';
	values[3] = message == NULL ? (Datum) 0 : CStringGetTextDatum(message);
	if (message == NULL)
		nulls[3] = 'n';
	values[4] = Float8GetDatum(run->last_epoch_loss);
	if (version == 0)
		nulls[4] = 'n';
	ds_catalog_execute("UPDATE @.ds_training_run SET state = $2, version = $3, message = $4,"
					   " loss = $5, finished = clock_timestamp() WHERE id = $1",
					   5, types, values, nulls);
}
