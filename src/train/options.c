/*
 * options.c
 *		The options of ds_train.
 */
#include "train/options.h"

#include "model/training_fields.h"

#include "utils/builtins.h"

static const char *const duplicate_names[] = {"avoid", "never", "allow", "together", NULL};
static const char *const on_error_names[] = {"error", "null", NULL};
static const char *const goal_names[] = {"max", "min", NULL};

static const Field run_fields[] = {
	TRAINING_FIELDS(DsRunOptions, training.),
	BOOL("from_scratch", DsRunOptions, from_scratch),
	BOOL("activate", DsRunOptions, activate),
	UINT32("keep_versions", DsRunOptions, keep_versions, 1, 1000000),
	UINT32("workers", DsRunOptions, workers, 0, DS_SHARDS),
	CHOICE("duplicates", DsRunOptions, duplicates, duplicate_names),
	CHOICE("on_error", DsRunOptions, on_error, on_error_names),
	BOOL("balance", DsRunOptions, balance),
	REAL("dropout", DsRunOptions, dropout, 0, 1, false, true),
	BOOL("mirror", DsRunOptions, mirror),
	UINT32("move", DsRunOptions, move, 0, 1024),
	BOOL("batch_moments", DsRunOptions, batch_moments),
	TEXT("evaluate", DsRunOptions, evaluate),
	UINT32("evaluate_steps", DsRunOptions, evaluate_steps, 0, 1000000000),
	CHOICE("goal", DsRunOptions, goal, goal_names),
	UINT32("patience", DsRunOptions, patience, 0, 1000000),
	REAL("min_improvement", DsRunOptions, min_improvement, 0, 1e9, false, false),
	BOOL("resume", DsRunOptions, resume),
	UINT32("checkpoint_steps", DsRunOptions, checkpoint_steps, 0, 1000000000),
	REAL("checkpoint_seconds", DsRunOptions, checkpoint_seconds, 0, 1e9, false, false),
	END,
};

/* An option that does nothing without "evaluate" was meant to do something. */
static void
needs_evaluate(Jsonb *json, const char *key)
{
	JsonbValue place;

	if (getKeyJsonValueFromContainer(&json->root, key, strlen(key), &place) != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"%s\" needs the option \"evaluate\"", key),
						errhint("It is a SELECT that gives the metric, for example over "
								"ds_evaluate(...).")));
}

void
ds_run_options_init(DsRunOptions *options)
{
	DsTrainOptions training = options->training;

	memset(options, 0, sizeof(*options));
	options->training = training;
	options->activate = true;
	options->keep_versions = 2;
	options->dropout = 0.1;
	options->checkpoint_seconds = 60;
}

void
ds_run_options_read(Jsonb *json, DsRunOptions *options)
{
	ds_fields_read(json, "options", "option", run_fields, options);
	ds_training_check(&options->training);
	if (options->evaluate == NULL)
	{
		needs_evaluate(json, "evaluate_steps");
		needs_evaluate(json, "goal");
		needs_evaluate(json, "patience");
		needs_evaluate(json, "min_improvement");
	}
}

static char *
write_text(const DsRunOptions *options)
{
	StringInfoData out;
	bool first = true;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	ds_fields_write(&out, run_fields, options, &first);
	appendStringInfoChar(&out, '}');
	return out.data;
}

Jsonb *
ds_run_options_write(const DsRunOptions *options)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(write_text(options))));
}

char *
ds_run_options_identity(const DsRunOptions *options)
{
	DsRunOptions same = *options;

	same.activate = true;
	same.keep_versions = 0;
	same.workers = 0;
	same.resume = false;
	same.checkpoint_steps = 0;
	same.checkpoint_seconds = 0;
	return write_text(&same);
}
