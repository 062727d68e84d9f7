/*
 * export.c
 *		ds_export_model(name, path [, format, options]) and ds_export_files(): a
 *		model as files that others read, and ds_import_model() too.
 *
 * The writers of src/format plan the files from the model's description: what
 * has no counterpart in a format shows then, before there is a file.  Then the
 * tensors are read from ds_tensor and written a piece at a time, so that a model
 * takes no more memory the larger it is.
 */
#include "model/export.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "format/encoder_folder.h"
#include "format/onnx_encoder.h"
#include "format/tflite.h"
#include "model/delta.h"
#include "model/fields.h"
#include "model/model.h"
#include "model/stored_source.h"

typedef enum Format
{
	FORMAT_HUGGINGFACE,
	FORMAT_ONNX,
	FORMAT_TENSORFLOW,
	FORMAT_TFLITE
} Format;

static const char *const formats[] = {"huggingface", "onnx", "tensorflow", "tflite", NULL};
static const char *const precisions[] = {"f32", "int8", "fp16", NULL};
#define PRECISION_INT8 1
#define PRECISION_FP16 2
static const char *const sides[] = {"default", "query", "document", NULL};

#define TFLITE_TOKENS 128 /* where no length is asked for */

typedef struct Options
{
	int side; /* of a model whose sides have an encoder each; 0: not given */
	int precision; /* of onnx and tflite: of the weights */
	uint32 tokens; /* of tflite: the fixed length of its inputs; 0: not given */
} Options;

static const Field option_fields[] = {
	CHOICE("side", Options, side, sides),
	CHOICE("precision", Options, precision, precisions),
	UINT32("tokens", Options, tokens, 1, 8192),
	END,
};

typedef struct Export
{
	char *name;
	Format format;
	Options options;
	DsModel *model;
	DsReader reader;
	DsStoredSource stored;
	DsTensorSource source;
	DsArena arena; /* of the plan */
	DsArena scratch;
	DsPlan plan;
	/* a file on its way */
	DsGuard guard;
	DsExportSink *sink;
	const void *bytes;
	size_t size;
	/* the result of ds_export_model() */
	Tuplestorestate *store;
	TupleDesc desc;
} Export;

/* ---- what the pure code asks for ---- */

static bool
describe(void *context, const char *name, DsDtype *dtype, uint32_t *rank, uint64_t shape[4])
{
	Export *export = context;
	uint64_t values;

	if (!export->source.find(&export->stored, name, &values) || export->stored.stored.rank > 4)
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
	Export *export = argument;

	export->sink->put(export->sink, export->bytes, export->size);
}

static DsCode
put_bytes(void *context, const void *bytes, size_t size, DsStatus *status)
{
	Export *export = context;

	export->bytes = bytes;
	export->size = size;
	return ds_guard_call(&export->guard, do_put, export, status);
}

/* An error of writing, or of reading, or of its own */
static void
check(Export *export, DsCode code, const DsStatus *status)
{
	if (export->guard.error != NULL)
		ds_guard_check(&export->guard, code, status);
	ds_guard_check(&export->stored.guard, code, status);
}

/* ---- planning ---- */

static void
no_counterpart(Export *export, const char *part)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("model \"%s\" cannot be exported as \"%s\"", export->name,
						   formats[export->format]),
					errdetail("%s has no counterpart in this format.", part)));
}

static char *
load_tokenizer(Export *export, size_t *length)
{
	DsStored stored;
	char *file;

	ds_reader_need(&export->reader, DS_TOKENIZER_TENSOR, &stored);
	file = MemoryContextAllocHuge(CurrentMemoryContext, stored.bytes);
	for (uint64 offset = 0; offset < stored.bytes;)
	{
		size_t size;
		const char *bytes = ds_reader_bytes(&export->reader, &stored, offset, &size);

		memcpy(file + offset, bytes, size);
		offset += size;
	}
	*length = stored.bytes;
	return file;
}

static void
begin_source(Export *export, const char *prefix)
{
	ds_delta_open(&export->reader, export->model->key);
	export->source = ds_stored_source(&export->stored, &export->reader, prefix);
}

/* tokenizer.json beside a graph, and what the graph does not say */
static DsCode
plan_tokenizer(Export *export, const DsEncoderFolder *folder, DsStatus *status)
{
	DsPlanFile *file;
	DsBuffer text;
	DsCode code;

	if (folder->vocab)
	{
		code = ds_vocab_tokenizer(folder->tokenizer, folder->tokenizer_size, folder->vocab_options,
								  &export->plan, "tokenizer.json", status);
		if (code != DS_OK)
			return code;
	}
	else
	{
		code = ds_plan_begin(&export->plan, "tokenizer.json", &file, status);
		if (code == DS_OK)
			code = ds_plan_bytes(&export->plan, file, folder->tokenizer, folder->tokenizer_size,
								 status);
		if (code != DS_OK)
			return code;
	}
	ds_buffer_init(&text, &export->arena);
	ds_buffer_printf(&text,
					 "{\n  \"max_tokens\": %u,\n  \"special_tokens\": %s,\n  \"prompts\": {\n"
					 "    \"query\": ",
					 folder->spec->max_tokens, folder->special ? "true" : "false");
	ds_buffer_json(&text, folder->prompt[0]);
	ds_buffer_text(&text, ",\n    \"document\": ");
	ds_buffer_json(&text, folder->prompt[1]);
	ds_buffer_text(&text, "\n  }\n}\n");
	return ds_plan_text(&export->plan, "deepsearch.json", &text, status);
}

/* A graph from token ids to an embedding, or scores */
static DsCode
plan_graph(Export *export, const DsPlanStored *stored, DsStatus *status)
{
	const DsImportedConfig *config = &export->model->pretrained;
	static const DsDtype weights[] = {DS_DTYPE_F32, DS_DTYPE_I8, DS_DTYPE_F16};
	DsOnnxOptions onnx = {.int8 = export->options.precision == PRECISION_INT8};
	DsTfliteOptions tflite = {.weights = weights[export->options.precision],
							  .tokens = export->options.tokens > 0
											? export->options.tokens
											: Min(config->spec.max_tokens, TFLITE_TOKENS)};

	if (export->format == FORMAT_ONNX)
	{
		if (export->options.precision == PRECISION_FP16)
			no_counterpart(export, "fp16");
		return ds_onnx_encoder(&config->spec, config->drop_id, &onnx, stored, &export->source,
							   &export->plan, "model.onnx", &ds_server_cancel, status);
	}
	if (config->drop_id != DS_SPEC_NO_ID)
		no_counterpart(export, "A token that is left out of texts");
	return ds_tflite_encoder(&config->spec, &tflite, &export->source, "model.tflite", &export->plan,
							 &ds_server_cancel, status);
}

static void
plan_imported(Export *export)
{
	const DsImportedConfig *config = &export->model->pretrained;
	DsPlanStored stored = {export, describe};
	DsEncoderFolder folder = {.spec = &config->spec,
							  .vocab = config->vocab,
							  .vocab_options = &config->vocab_options,
							  .special = config->special,
							  .drop_id = config->drop_id,
							  .prompt = {config->prompt[0], config->prompt[1]},
							  .stored = &stored};
	DsStatus status;
	DsCode code;

	if (config->texts && config->images)
		no_counterpart(export, "A model with towers for texts and for pictures");
	if (config->images)
		no_counterpart(export, "A network over pictures");
	if (config->separate && export->options.side == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("model \"%s\" has an encoder for queries and another one for documents",
						export->name),
				 errhint("Export one after the other, with the option \"side\".")));
	begin_source(export, ds_imported_prefix(config, export->options.side - 1));
	if (export->format == FORMAT_TENSORFLOW)
	{
		folder.checkpoint = &export->source;
		folder.cancel = &ds_server_cancel;
	}
	folder.tokenizer = load_tokenizer(export, &folder.tokenizer_size);
	if (export->format == FORMAT_ONNX || export->format == FORMAT_TFLITE)
	{
		code = plan_graph(export, &stored, &status);
		if (code == DS_OK)
			code = plan_tokenizer(export, &folder, &status);
	}
	else
		code = ds_encoder_folder(&folder, &export->plan, &status);
	if (code == DS_UNSUPPORTED && export->stored.guard.error == NULL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("model \"%s\" cannot be exported as \"%s\"", export->name,
							   formats[export->format]),
						errdetail("%s.", status.message)));
	check(export, code, &status);
}

static void
plan_dual(Export *export)
{
	if (export->model->mixed != NULL)
		no_counterpart(export, "A tower over pictures that was trained here");
	if (ds_config_features(&export->model->config))
		no_counterpart(export, "A head on features");
	no_counterpart(export, "Its tokenizer, of overlapping n-grams,");
}

/* ---- writing ---- */

static void
write_files(DsExportSink *sink, void *context)
{
	Export *export = context;
	DsBlobWriter writer = {export, put_bytes};

	export->sink = sink;
	for (size_t i = 0; i < export->plan.file_count; i++)
	{
		const DsPlanFile *file = &export->plan.files[i];
		DsStatus status;

		sink->begin(sink, file->name);
		check(export,
			  ds_plan_write(file, &export->source, &writer, &export->scratch, &ds_server_cancel,
							&status),
			  &status);
		sink->end(sink);
		ds_arena_free(&export->scratch);
	}
}

/* ---- functions ---- */

static Format
format_of(const char *name)
{
	for (int i = 0; formats[i] != NULL; i++)
		if (strcmp(formats[i], name) == 0)
			return (Format) i;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown format \"%s\"", name),
					errhint("Valid formats are: huggingface, onnx, tensorflow, tflite.")));
	return FORMAT_HUGGINGFACE; /* not reached */
}

static Export *
begin_export(FunctionCallInfo fcinfo, int name, int format, int options)
{
	Export *export = palloc0(sizeof(Export));
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
		plan_imported(export);
	else
		plan_dual(export);
	return export;
}

DS_FUNCTION(ds_sql_export_model);
Datum
ds_sql_export_model(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Tuplestorestate *store = ds_materialize(fcinfo, &desc);
	Export *export;

	export = begin_export(fcinfo, 0, 2, 3);
	ds_export_folder(text_to_cstring(PG_GETARG_TEXT_PP(1)), write_files, export);
	ds_reader_close(&export->reader);
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
	Export *export = begin_export(fcinfo, 0, 1, 2);

	write_files(ds_export_rows(store, desc), export);
	ds_reader_close(&export->reader);
	return (Datum) 0;
}
