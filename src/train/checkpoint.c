/*
 * checkpoint.c
 *		The state of a training in the tables.
 */
#include "train/checkpoint.h"

#include <float.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "model/catalog.h"
#include "model/fields.h"

typedef struct Row
{
	DsProgress progress;
	char *digest; /* 64 bits do not fit a JSON number */
	char *options;
	uint32 version;
} Row;

static const Field row_fields[] = {
	{"step", FIELD_UINT64, offsetof(Row, progress.step), 0, EXACT_MAX, false, false, NULL, NULL},
	UINT32("epoch", Row, progress.epoch, 0, PG_UINT32_MAX),
	{"batch", FIELD_UINT64, offsetof(Row, progress.batch), 0, EXACT_MAX, false, false, NULL, NULL},
	REAL("loss_sum", Row, progress.loss_sum, -DBL_MAX, DBL_MAX, false, false),
	{"loss_count", FIELD_UINT64, offsetof(Row, progress.loss_count), 0, EXACT_MAX, false, false,
	 NULL, NULL},
	BOOL("has_best", Row, progress.has_best),
	REAL("best", Row, progress.best, -DBL_MAX, DBL_MAX, false, false),
	{"best_step", FIELD_UINT64, offsetof(Row, progress.best_step), 0, EXACT_MAX, false, false, NULL,
	 NULL},
	UINT32("since_best", Row, progress.since_best, 0, PG_UINT32_MAX),
	TEXT("digest", Row, digest),
	TEXT("options", Row, options),
	UINT32("version", Row, version, 0, PG_INT32_MAX),
	END,
};

static DsModelKey
place(int32 run)
{
	DsModelKey key = {-run, 0};

	return key;
}

/* ---- writing ---- */

/* A parameter's array under a name made of its own */
static void
write_array(DsModelKey key, const DsTrained *parameter, const char *name, const float *values)
{
	DsTensorData tensor = {0};

	tensor.name = name;
	tensor.dtype = DS_DTYPE_F32;
	tensor.shape_count = (int) parameter->shape_count;
	for (uint32 d = 0; d < parameter->shape_count; d++)
		tensor.shape[d] = (int64) parameter->shape[d];
	tensor.data = values;
	tensor.bytes = sizeof(float) * parameter->count;
	ds_store_write(key, &tensor, 1);
}

void
ds_checkpoint_drop(const char *model)
{
	static const Oid types[1] = {TEXTOID};
	Datum values[1] = {CStringGetTextDatum(model)};
	DsCatalogScope scope;

	ds_catalog_enter(&scope);
	ds_catalog_run("DELETE FROM @.ds_tensor WHERE version = 0 AND model IN (SELECT - r.id"
				   " FROM @.ds_training_run r WHERE r.model = $1 AND r.checkpoint IS NOT NULL)",
				   1, types, values, NULL);
	ds_catalog_run("UPDATE @.ds_training_run SET checkpoint = NULL, checkpoint_step = NULL"
				   " WHERE model = $1 AND checkpoint IS NOT NULL",
				   1, types, values, NULL);
	ds_catalog_leave(&scope);
}

void
ds_checkpoint_write(int32 run, const DsIdentity *identity, const DsProgress *progress,
					uint64 digest, const DsTrainee *trainee, DsTrainer *trainer, float *const *best)
{
	static const Oid types[3] = {INT4OID, INT8OID, JSONBOID};
	Datum values[3] = {Int32GetDatum(run), Int64GetDatum((int64) progress->step)};
	Row row = {.progress = *progress, .version = (uint32) identity->version};
	StringInfoData json;
	bool first = true;
	DsModelKey key = place(run);

	ds_checkpoint_drop(trainee->name);
	row.digest = psprintf(UINT64_FORMAT, digest);
	row.options = unconstify(char *, identity->options);
	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	ds_fields_write(&json, row_fields, &row, &first);
	appendStringInfoChar(&json, '}');
	values[2] = JsonbPGetDatum(ds_fields_finish(&json));
	ds_catalog_execute("UPDATE @.ds_training_run SET checkpoint = $3, checkpoint_step = $2"
					   " WHERE id = $1",
					   3, types, values, NULL);
	ds_trainee_save(trainee, key);
	for (size_t i = 0; i < ds_trainer_parameters(trainer); i++)
	{
		DsTrained parameter = ds_trainer_parameter(trainer, i);

		write_array(key, &parameter, parameter.name, parameter.value);
		for (size_t k = 0; k < ds_trainer_states(trainer); k++)
		{
			const float *state = ds_trainer_state(trainer, i, k);

			if (state != NULL)
				write_array(key, &parameter, psprintf("%s#%zu", parameter.name, k), state);
		}
		if (best != NULL && best[i] != NULL)
			write_array(key, &parameter, psprintf("%s#best", parameter.name), best[i]);
	}
}

/* ---- reading ---- */

bool
ds_checkpoint_find(const char *model, const DsIdentity *identity, int32 *run, DsProgress *progress,
				   uint64 *digest)
{
	static const Oid types[2] = {TEXTOID, TEXTOID};
	Datum values[2] = {CStringGetTextDatum(model), CStringGetTextDatum(identity->source)};
	DsCatalogScope scope;
	Row row;
	Jsonb *json = NULL;
	const char *reason = NULL;
	bool found;

	memset(&row, 0, sizeof(row));
	ds_catalog_enter(&scope);
	found = ds_catalog_run("SELECT r.id, r.checkpoint, r.source = $2, r.started_by"
						   " FROM @.ds_training_run r WHERE r.model = $1"
						   " AND r.checkpoint IS NOT NULL ORDER BY r.id DESC LIMIT 1",
						   2, types, values, NULL) == 1;
	if (found)
	{
		bool null;
		MemoryContext caller = CurrentMemoryContext;

		*run = DatumGetInt32(ds_catalog_value(0, 1, &null));
		json = (Jsonb *) PG_DETOAST_DATUM_COPY(ds_catalog_value(0, 2, &null));
		if (!DatumGetBool(ds_catalog_value(0, 3, &null)))
			reason = "it had another source";
		else if (!superuser_arg(scope.user) &&
				 strcmp(NameStr(*DatumGetName(ds_catalog_value(0, 4, &null))),
						GetUserNameFromId(scope.user, false)) != 0)
			reason = "it was another user's";
		MemoryContextSwitchTo(caller);
	}
	ds_catalog_leave(&scope);
	if (!found)
	{
		ereport(
			NOTICE,
			(errmsg("model \"%s\" has no interrupted training with a checkpoint: a new one begins",
					model)));
		return false;
	}
	ds_fields_read(json, "checkpoint", "checkpoint key", row_fields, &row);
	if (reason == NULL && strcmp(row.options, identity->options) != 0)
		reason = "it had other options";
	if (reason == NULL && (int32) row.version != identity->version)
		reason = "the model has another version now";
	if (reason != NULL)
	{
		ereport(NOTICE,
				(errmsg("run %d of model \"%s\" cannot be taken up, because %s: a new one begins",
						*run, model, reason)));
		return false;
	}
	*progress = row.progress;
	*digest = strtou64(row.digest, NULL, 10);
	return true;
}

static void
read_array(DsReader *reader, const DsTrained *parameter, const char *name, float *values,
		   bool missing_ok)
{
	DsStored stored;
	char *to = (char *) values;

	if (!ds_reader_find(reader, name, &stored))
	{
		if (!missing_ok)
			ds_store_damaged(reader->key, name, "is missing");
		return;
	}
	if (stored.dtype != DS_DTYPE_F32 || stored.elements != parameter->count)
		ds_store_damaged(reader->key, name, "has another shape than the model");
	ds_reader_all(reader, &stored, to);
}

void
ds_checkpoint_read_trainee(int32 run, DsTrainee *trainee)
{
	DsReader reader;

	PushActiveSnapshot(GetTransactionSnapshot());
	ds_reader_open(&reader, place(run));
	ds_trainee_restore(trainee, &reader);
	ds_reader_close(&reader);
	PopActiveSnapshot();
}

void
ds_checkpoint_read_trainer(int32 run, DsTrainer *trainer, float *const *best, bool *has_best)
{
	DsReader reader;
	DsStored stored;

	PushActiveSnapshot(GetTransactionSnapshot());
	ds_reader_open(&reader, place(run));
	*has_best = false;
	for (size_t i = 0; i < ds_trainer_parameters(trainer); i++)
	{
		DsTrained parameter = ds_trainer_parameter(trainer, i);

		read_array(&reader, &parameter, parameter.name, parameter.value, false);
		for (size_t k = 0; k < ds_trainer_states(trainer); k++)
		{
			float *state = ds_trainer_state(trainer, i, k);

			if (state != NULL)
				read_array(&reader, &parameter, psprintf("%s#%zu", parameter.name, k), state,
						   false);
		}
		if (best != NULL && best[i] != NULL &&
			ds_reader_find(&reader, psprintf("%s#best", parameter.name), &stored))
		{
			read_array(&reader, &parameter, psprintf("%s#best", parameter.name), best[i], false);
			*has_best = true;
		}
	}
	ds_reader_close(&reader);
	PopActiveSnapshot();
}
