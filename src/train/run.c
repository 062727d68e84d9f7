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
ds_run_source(DsRun *run, int64 pairs, int64 skipped, int64 steps)
{
	static const Oid types[4] = {INT4OID, INT8OID, INT8OID, INT8OID};
	Datum values[4] = {Int32GetDatum(run->id), Int64GetDatum(pairs), Int64GetDatum(skipped),
					   Int64GetDatum(steps)};

	run->steps = steps;
	ds_catalog_execute("UPDATE @.ds_training_run SET pairs = $2, skipped = $3, steps = $4"
					   " WHERE id = $1",
					   4, types, values, NULL);
	run->began = run->noticed = run->flushed = GetCurrentTimestamp();
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
	run->loss_sum += result->loss;
	run->loss_count++;
	run->epoch_sum += result->loss;
	run->epoch_count++;
	if (seconds_between(run->noticed, now) >= NOTICE_SECONDS)
	{
		double rate =
			(double) (step - run->noticed_step) / Max(seconds_between(run->noticed, now), 1e-6);
		/* the time left by the rate of the whole run, which jumps less */
		double mean = (double) step / Max(seconds_between(run->began, now), 1e-6);

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
	static const Oid types[9] = {INT4OID,		 INT8ARRAYOID,	 INT4ARRAYOID,
								 FLOAT8ARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID,
								 FLOAT8ARRAYOID, FLOAT8ARRAYOID, TIMESTAMPTZARRAYOID};
	int count = run->buffered;
	Datum values[9];
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
	COLLECT(TimestampTzGetDatum(s->at));
	values[8] = PointerGetDatum(construct_array(
		elements, count, TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
#undef COLLECT
	ds_catalog_execute("INSERT INTO @.ds_training_step (run, step, epoch, loss, accuracy,"
					   " gradient_norm, learning_rate, temperature, at)"
					   " SELECT $1, t.* FROM unnest($2, $3, $4, $5, $6, $7, $8, $9) t",
					   9, types, values, NULL);
	run->buffered = 0;
	pfree(elements);
	for (int i = 1; i < 9; i++)
		pfree(DatumGetPointer(values[i]));
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
