/*
 * export_imported.c
 *		The files of a model that was trained elsewhere, or made of layers here.
 */
#include "model/export_private.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "format/encoder_folder.h"
#include "format/image_folder.h"
#include "format/tflite.h"

#define TFLITE_TOKENS 128 /* where no length is asked for */

static char *
load_tokenizer(DsExport *export, size_t *length)
{
	DsStored stored;
	char *file;

	ds_reader_need(&export->reader, DS_TOKENIZER_TENSOR, &stored);
	file = MemoryContextAllocHuge(CurrentMemoryContext, stored.bytes);
	ds_reader_all(&export->reader, &stored, file);
	*length = stored.bytes;
	return file;
}

/* tokenizer.json beside a graph, and what the graph does not say */
static DsCode
plan_tokenizer(DsExport *export, const DsEncoderFolder *folder, DsStatus *status)
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
plan_graph(DsExport *export, const DsPlanStored *stored, DsStatus *status)
{
	const DsImportedConfig *config = &export->model->pretrained;
	static const DsDtype weights[] = {DS_DTYPE_F32, DS_DTYPE_I8, DS_DTYPE_F16};
	DsTfliteOptions tflite = {.weights = weights[export->options.precision],
							  .tokens = export->options.tokens > 0
											? export->options.tokens
											: Min(config->spec.max_tokens, TFLITE_TOKENS)};

	if (ds_export_graph(export))
	{
		DsGraphTarget target = ds_export_target(export, stored);

		return ds_graph_encoder(&target, &config->spec, config->drop_id, status);
	}
	if (config->drop_id != DS_SPEC_NO_ID)
		ds_export_no_counterpart(export, "A token that is left out of texts");
	return ds_tflite_encoder(&config->spec, &tflite, &export->source, "model.tflite", &export->plan,
							 &ds_server_cancel, status);
}

static void
plan_texts(DsExport *export)
{
	const DsImportedConfig *config = &export->model->pretrained;
	DsPlanStored stored = {export, ds_export_describe};
	DsEncoderFolder folder = {.spec = &config->spec,
							  .vocab = config->vocab,
							  .vocab_options = &config->vocab_options,
							  .special = config->special,
							  .drop_id = config->drop_id,
							  .prompt = {config->prompt[0], config->prompt[1]},
							  .stored = &stored};
	DsStatus status;
	DsCode code;

	if (config->separate && export->options.side == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("model \"%s\" has an encoder for queries and another one for documents",
						export->name),
				 errhint("Export one after the other, with the option \"side\".")));
	ds_export_begin_source(export, ds_imported_prefix(config, export->options.side - 1));
	if (export->format == DS_EXPORT_TENSORFLOW)
	{
		folder.checkpoint = &export->source;
		folder.cancel = &ds_server_cancel;
	}
	folder.tokenizer = load_tokenizer(export, &folder.tokenizer_size);
	if (ds_export_graph(export) || export->format == DS_EXPORT_TFLITE)
	{
		code = plan_graph(export, &stored, &status);
		if (code == DS_OK)
			code = plan_tokenizer(export, &folder, &status);
	}
	else
		code = ds_encoder_folder(&folder, &export->plan, &status);
	ds_export_check(export, code, &status);
}

static void
plan_images(DsExport *export)
{
	const DsImportedConfig *config = &export->model->pretrained;
	DsPlanStored stored = {export, ds_export_describe};
	DsGraphTower tower = {.image = &config->image};
	DsStatus status;
	DsCode code;

	if (!ds_export_graph(export))
		ds_export_no_counterpart(export, "A network over pictures");
	ds_export_begin_source(export, DS_IMAGE_PREFIX);
	{
		DsGraphTarget target = ds_export_target(export, &stored);

		code = ds_graph_tower(&target, &tower, &status);
	}
	if (code == DS_OK)
		code = ds_image_preprocessor(&config->transform, &export->plan, &status);
	ds_export_check(export, code, &status);
}

void
ds_export_imported(DsExport *export)
{
	const DsImportedConfig *config = &export->model->pretrained;
	int tower = export->options.tower;

	if (config->texts && config->images && tower == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("model \"%s\" has a tower for texts and another one for pictures",
						export->name),
				 errhint("Export one after the other, with the option \"tower\": \"text\" or "
						 "\"image\".")));
	if ((tower == 1 && !config->texts) || (tower == 2 && !config->images))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("model \"%s\" has no tower for %s", export->name,
							   tower == 1 ? "texts" : "pictures")));
	if (tower == 2 || !config->texts)
		plan_images(export);
	else
		plan_texts(export);
}
