/*
 * export_dual.c
 *		The files of a dual encoder that was trained here.
 *
 * Others know no such model, so that its folder has a form of its own, which
 * ds_import_model() reads (import_dual.c): config.json with the config, the tensors as
 * ds_tensor has them in model.safetensors, and each tokenizer.  A graph is one tower.
 */
#include "model/export_private.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "format/image_folder.h"
#include "format/ngram_rules.h"
#include "format/safetensors.h"
#include "format/tflite.h"
#include "model/dual_folder.h"

#define TFLITE_TOKENS 512 /* where no length is asked for */

/* The tower that a graph is of */
static int
choose_tower(DsExport *export)
{
	const DsModelConfig *config = &export->model->config;

	if (config->shared)
		return 0;
	if (export->options.side == 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("model \"%s\" has a tower for queries and another one for documents",
							   export->name),
						errhint("Export one after the other, with the option \"side\".")));
	return export->options.side - 1;
}

/* ---- numbers of a version that is stored as changes, from the mapping ---- */

static bool
find_mapped(void *context, const char *name, uint64_t *values)
{
	DsExport *export = context;
	const DsParameter *parameter = ds_dual_encoder_parameter(
		&export->model->encoder, psprintf("%s%s", export->stored.prefix, name));

	if (parameter != NULL)
		*values = parameter->count;
	return parameter != NULL;
}

static DsCode
read_mapped(void *context, const char *name, uint64_t first, size_t count, float *out,
			DsStatus *status)
{
	DsExport *export = context;
	const DsParameter *parameter = ds_dual_encoder_parameter(
		&export->model->encoder, psprintf("%s%s", export->stored.prefix, name));

	if (parameter == NULL || first > parameter->count || count > parameter->count - first)
		return ds_fail(status, DS_BAD_DATA, "tensor \"%s\" is missing", name);
	ds_parameter_read(parameter, first, count, out);
	return DS_OK;
}

static void
begin_source(DsExport *export, const char *prefix)
{
	ds_export_begin_source(export, prefix);
	/* steps are taken by models of texts or features, all of whose numbers are mapped */
	if (export->reader.last != export->reader.key.version)
		export->source = (DsTensorSource){export, find_mapped, read_mapped};
}

/* ---- a folder ---- */

static DsCode
plan_tokenizer(DsExport *export, int tower, const char *prefix, DsStatus *status)
{
	return ds_ngram_rules(&export->model->tokenizer[tower], export->model->tokenizer_blob[tower],
						  export->model->tokenizer_size[tower],
						  psprintf("%s" DS_NGRAM_RULES, prefix),
						  psprintf("%s" DS_NGRAM_TABLE, prefix), &export->plan, status);
}

static DsCode
plan_weights(DsExport *export, DsStatus *status)
{
	DsStored *stored;
	int count = ds_reader_list(&export->reader, &stored);
	DsSafetensor *tensors = palloc0(sizeof(DsSafetensor) * (Size) count);
	size_t used = 0;

	for (int i = 0; i < count; i++)
	{
		DsSafetensor *tensor = &tensors[used];
		uint32_t rank;

		/* tokenizers have files of their own; scales go into their tensors' numbers */
		if (stored[i].dtype == DS_DTYPE_U8 || strchr(stored[i].name, '#') != NULL)
			continue;
		if (!ds_export_describe(export, stored[i].name, &tensor->part.dtype, &rank, tensor->shape))
			ds_store_damaged(export->model->key, stored[i].name, "cannot be read");
		tensor->rank = rank;
		tensor->name = stored[i].name;
		strlcpy(tensor->part.tensor, stored[i].name, sizeof(tensor->part.tensor));
		tensor->part.rows = rank > 0 ? tensor->shape[0] : 1;
		tensor->part.columns = stored[i].elements / tensor->part.rows;
		used++;
	}
	return ds_safetensors_plan(&export->plan, "model.safetensors", tensors, used, status);
}

static DsCode
plan_folder(DsExport *export, DsStatus *status)
{
	const DsModelConfig *config = &export->model->config;
	Jsonb *json = ds_config_write(config);
	DsBuffer text;
	DsCode code;

	ds_buffer_init(&text, &export->arena);
	ds_buffer_printf(&text,
					 "{\n  \"model_type\": \"" DS_DUAL_FAMILY "\",\n  \"version\": %d,\n"
					 "  \"config\": ",
					 DS_DUAL_VERSION);
	ds_buffer_text(&text, JsonbToCString(NULL, &json->root, (int) VARSIZE(json)));
	ds_buffer_text(&text, "\n}\n");
	code = ds_plan_text(&export->plan, "config.json", &text, status);
	for (int t = 0; t < ds_config_towers(config) && code == DS_OK; t++)
		if (ds_config_has_texts(config, t))
			code =
				plan_tokenizer(export, t, psprintf("%s.", ds_config_tower_name(config, t)), status);
	return code == DS_OK ? plan_weights(export, status) : code;
}

/* ---- a graph ---- */

static DsCode
plan_tflite(DsExport *export, int tower, DsStatus *status)
{
	static const DsDtype weights[] = {DS_DTYPE_F32, DS_DTYPE_I8, DS_DTYPE_F16};
	const DsModel *model = export->model;
	DsTfliteOptions options = {.weights = weights[export->options.precision],
							   .tokens = export->options.tokens};

	if (model->mixed != NULL && ds_config_has_images(&model->config, tower))
		ds_export_no_counterpart(export, "A tower over pictures");
	if (options.tokens == 0)
		options.tokens = Min(model->config.tokenizer[tower].max_tokens, TFLITE_TOKENS);
	begin_source(export, "");
	if (model->mixed != NULL)
	{
		/* the tower for texts beside one for pictures, which has no place in the config */
		uint32_t vocabulary[2] = {model->tokenizer[0].vocabulary, model->tokenizer[1].vocabulary};
		DsDualEncoderConfig config = ds_config_encoder(&model->config, vocabulary);

		config.tower[1 - tower] = config.tower[tower];
		return ds_tflite_tower(&config, (DsSide) tower, &options, &export->source, "model.tflite",
							   &export->plan, &ds_server_cancel, status);
	}
	return ds_tflite_tower(&model->encoder.config, (DsSide) tower, &options, &export->source,
						   "model.tflite", &export->plan, &ds_server_cancel, status);
}

static DsCode
plan_graph(DsExport *export, int t, DsStatus *status)
{
	const DsModelConfig *config = &export->model->config;
	DsPlanStored stored = {export, ds_export_describe};
	DsGraphTarget target;
	DsNet *net = palloc(sizeof(DsNet));
	DsGraphTower tower = {.normalize = config->score == DS_SCORE_COSINE};
	uint32_t vocabulary[2];
	DsCode code;

	for (int side = 0; side < 2; side++)
		vocabulary[side] = Max(export->model->tokenizer[side].vocabulary, 1);
	ds_config_net(config, vocabulary, net);
	if (ds_config_has_texts(config, t) || ds_config_features(config))
		tower.bag = &net->tower[t].bag;
	if (ds_config_has_images(config, t))
	{
		tower.image = &net->tower[t].image;
		tower.fusion = net->tower[t].fusion;
		tower.fusion_dims = net->tower[t].fusion_dims;
	}
	begin_source(export, psprintf("%s.", ds_config_tower_name(config, t)));
	target = ds_export_target(export, &stored);
	code = ds_graph_tower(&target, &tower, status);
	if (code == DS_OK && tower.image != NULL)
	{
		DsImageTransform transform;

		ds_config_transform(config, t, &transform);
		code = ds_image_preprocessor(&transform, &export->plan, status);
	}
	return code;
}

/* What the graph does not say */
static DsCode
plan_about(DsExport *export, int tower, DsStatus *status)
{
	DsBuffer text;
	DsCode code = DS_OK;

	if (!ds_config_has_texts(&export->model->config, tower))
		return DS_OK;
	code = plan_tokenizer(export, tower, "", status);
	if (code != DS_OK)
		return code;
	ds_buffer_init(&text, &export->arena);
	ds_buffer_printf(&text,
					 "{\n  \"tokenizer\": \"" DS_NGRAM_RULES "\",\n  \"max_tokens\": %u\n}\n",
					 export->model->tokenizer[tower].config.max_tokens);
	return ds_plan_text(&export->plan, "deepsearch.json", &text, status);
}

void
ds_export_dual(DsExport *export)
{
	DsStatus status;
	DsCode code;
	int tower;

	if (export->options.tower != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"tower\" is for models with a tower for texts and one for "
							   "pictures that serve both sides"),
						errhint("The towers of this model are told by the option \"side\".")));
	if (export->format == DS_EXPORT_TENSORFLOW)
		ds_export_no_counterpart(export, "A dual encoder that was trained here");
	if (export->format == DS_EXPORT_HUGGINGFACE)
	{
		begin_source(export, "");
		code = plan_folder(export, &status);
	}
	else
	{
		tower = choose_tower(export);
		code = ds_export_graph(export) ? plan_graph(export, tower, &status)
									   : plan_tflite(export, tower, &status);
		if (code == DS_OK)
			code = plan_about(export, tower, &status);
	}
	ds_export_check(export, code, &status);
}
