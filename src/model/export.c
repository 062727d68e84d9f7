/*
 * export.c
 *		ds_export_model(name, path [, format, options]) and ds_export_files(): a
 *		model as files that others read, and ds_import_model() too.
 *
 * The writers of src/format plan the files from the model's description: what
 * has no counterpart in a format shows then, before there is a file.  Then the
 * tensors are read from ds_tensor, or from the mapped file, and written a piece at a
 * time, so that a model takes no more memory the larger it is.
 */
#include "model/export_private.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "model/delta.h"
#include "model/fields.h"

static const char *const formats[] = {"huggingface", "onnx",   "saved_model",
									  "tensorflow",	 "tflite", NULL};
static const char *const precisions[] = {"f32", "int8", "fp16", NULL};
static const char *const sides[] = {"default", "query", "document", NULL};
static const char *const towers[] = {"default", "text", "image", NULL};

static const Field option_fields[] = {
	CHOICE("side", DsExportOptions, side, sides),
	CHOICE("tower", DsExportOptions, tower, towers),
	CHOICE("precision", DsExportOptions, precision, precisions),
	UINT32("tokens", DsExportOptions, tokens, 1, 8192),
	END,
};

/* ---- what the pure code asks for ---- */

bool
ds_export_describe(void *context, const char *name, DsDtype *dtype, uint32_t *rank,
				   uint64_t shape[4])
{
	DsExport *export = context;
	uint64_t values;

	if (!export->tables.find(&export->stored, name, &values) || export->stored.stored.rank > 4)
		return false;
	*dtype = export->stored.stored.dtype;
	/* no writer has numbers that long, nor scales beside them */
	if (*dtype == DS_DTYPE_F64 || export->stored.scales != NULL)
		*dtype = DS_DTYPE_F32;
	*rank = (uint32_t) export->stored.stored.rank;
	for (uint32_t d = 0; d < *rank; d++)
		shape[d] = (uint64_t) export->stored.stored.shape[d];
	return true;
}

static void
do_put(void *argument)
{
	DsExport *export = argument;

	export->sink->put(export->sink, export->bytes, export->size);
}

static DsCode
put_bytes(void *context, const void *bytes, size_t size, DsStatus *status)
{
	DsExport *export = context;

	export->bytes = bytes;
	export->size = size;
	return ds_guard_call(&export->guard, do_put, export, status);
}

void
ds_export_check(DsExport *export, DsCode code, const DsStatus *status)
{
	if (export->guard.error != NULL)
		ds_guard_check(&export->guard, code, status);
	if (code == DS_UNSUPPORTED && export->stored.guard.error == NULL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("model \"%s\" cannot be exported as \"%s\"", export->name,
							   formats[export->format]),
						errdetail("%s.", status->message)));
	ds_guard_check(&export->stored.guard, code, status);
}

/* ---- planning ---- */

void
ds_export_no_counterpart(const DsExport *export, const char *part)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("model \"%s\" cannot be exported as \"%s\"", export->name,
						   formats[export->format]),
					errdetail("%s has no counterpart in this format.", part)));
	pg_unreachable();
}

void
ds_export_begin_source(DsExport *export, const char *prefix)
{
	if (!export->reading)
		ds_delta_open(&export->reader, export->model->key);
	export->reading = true;
	export->source = export->tables = ds_stored_source(&export->stored, &export->reader, prefix);
}

bool
ds_export_graph(const DsExport *export)
{
	return export->format == DS_EXPORT_ONNX || export->format == DS_EXPORT_SAVED_MODEL;
}

DsGraphTarget
ds_export_target(DsExport *export, const DsPlanStored *stored)
{
	bool onnx = export->format == DS_EXPORT_ONNX;
	DsGraphTarget target = {.format = onnx ? &ds_onnx_format : &ds_tensorflow_format,
							.int8 = export->options.precision == DS_EXPORT_INT8,
							.stored = stored,
							.source = &export->source,
							.plan = &export->plan,
							.name = onnx ? "model.onnx" : "saved_model.pb",
							.cancel = &ds_server_cancel};

	if (export->options.precision == DS_EXPORT_FP16)
		ds_export_no_counterpart(export, "fp16");
	return target;
}

/* ---- writing ---- */

static void
write_files(DsExportSink *sink, void *context)
{
	DsExport *export = context;
	DsBlobWriter writer = {export, put_bytes};

	export->sink = sink;
	for (size_t i = 0; i < export->plan.file_count; i++)
	{
		const DsPlanFile *file = &export->plan.files[i];
		DsStatus status;

		sink->begin(sink, file->name);
		ds_export_check(export,
						ds_plan_write(file, &export->source, &writer, &export->scratch,
									  &ds_server_cancel, &status),
						&status);
		sink->end(sink);
		ds_arena_free(&export->scratch);
	}
}

/* ---- functions ---- */

static DsExportFormat
format_of(const char *name)
{
	for (int i = 0; formats[i] != NULL; i++)
		if (strcmp(formats[i], name) == 0)
			return (DsExportFormat) i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown format \"%s\"", name),
			 errhint("Valid formats are: huggingface, onnx, saved_model, tensorflow, tflite.")));
	return DS_EXPORT_HUGGINGFACE; /* not reached */
}

static DsExport *
begin_export(FunctionCallInfo fcinfo, int name, int format, int options)
{
	DsExport *export = palloc0(sizeof(DsExport));
	DsModelRow row;
	DsModelKey key;

	export->name = text_to_cstring(PG_GETARG_TEXT_PP(name));
	export->format = format_of(text_to_cstring(PG_GETARG_TEXT_PP(format)));
	ds_fields_read(PG_GETARG_JSONB_P(options), "options", "option", option_fields,
				   &export->options);
	key = ds_model_resolve(export->name);
	/* to use a model is not to have it */
	ds_model_find_owned(ds_model_name(key.model), &row);
	export->model = ds_model_open(key);
	ds_server_arena(&export->arena, CurrentMemoryContext);
	ds_server_arena(&export->scratch, CurrentMemoryContext);
	export->guard.context = CurrentMemoryContext;
	ds_plan_init(&export->plan, &export->arena);
	if (export->model->imported)
		ds_export_imported(export);
	else
		ds_export_dual(export);
	return export;
}

static void
end_export(DsExport *export)
{
	if (export->reading)
		ds_reader_close(&export->reader);
}

DS_FUNCTION(ds_sql_export_model);
Datum
ds_sql_export_model(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Tuplestorestate *store = ds_materialize(fcinfo, &desc);
	DsExport *export;

	export = begin_export(fcinfo, 0, 2, 3);
	ds_export_folder(text_to_cstring(PG_GETARG_TEXT_PP(1)), write_files, export);
	end_export(export);
	for (size_t i = 0; i < export->plan.file_count; i++)
	{
		const DsPlanFile *file = &export->plan.files[i];
		Datum values[2] = {CStringGetTextDatum(file->name), Int64GetDatum((int64) file->size)};
		bool nulls[2] = {false, false};

		tuplestore_putvalues(store, desc, values, nulls);
	}
	return (Datum) 0;
}

DS_FUNCTION(ds_sql_export_files);
Datum
ds_sql_export_files(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Tuplestorestate *store = ds_materialize(fcinfo, &desc);
	DsExport *export = begin_export(fcinfo, 0, 1, 2);

	write_files(ds_export_rows(store, desc), export);
	end_export(export);
	return (Datum) 0;
}
