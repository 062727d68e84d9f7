/*
 * source_modules.c
 *		modules.json of sentence-transformers, and what comes behind the encoder:
 *		pooling, dense layers, norms, the head of a cross-encoder.
 */
#include <stdio.h>
#include <string.h>

#include "format/families.h"

#define MODULES_MAX 32 /* of modules.json */

/* A path from modules.json: empty, "." or one folder; with a slash behind it */
DsCode
ds_source_module_folder(SourceReader *reader, DsJson module, const char **folder)
{
	Source *source = &reader->source;
	const char *path = NULL;
	char shown[DS_SHOWN_SIZE];

	TRY(ds_source_string(source, ds_json_member(module, "path"), &path));
	*folder = "";
	if (path == NULL || path[0] == '\0' || strcmp(path, ".") == 0 || strcmp(path, "./") == 0)
		return DS_OK;
	if (!ds_folder_plain_name(path, strlen(path)))
		return ds_fail(source->status, DS_BAD_DATA,
					   "modules.json: the path \"%s\" is not a folder of this one",
					   ds_shown(shown, path));
	return ds_source_join(source, path, "/", folder);
}

/* "sentence_transformers.models.Pooling": the word behind the last dot, "" for none */
void
ds_source_module_type(DsJson module, char *out, size_t size)
{
	DsJson type = ds_json_member(module, "type");
	char full[256];
	size_t n = 0;
	const char *last;

	if (ds_json_kind(type) == DS_JSON_STRING && ds_json_string_size(type) < sizeof(full))
		n = ds_json_string_copy(type, full);
	full[n] = '\0';
	last = strrchr(full, '.');
	snprintf(out, size, "%s", last != NULL ? last + 1 : full);
}

/* ---- modules behind the encoder ---- */

static DsCode
add_module(Source *source, DsSpecModule module)
{
	DsEncoderSpec *spec = &source->out->spec;

	if (spec->module_count == DS_SPEC_MODULES)
		return ds_fail(source->status, DS_UNSUPPORTED, "there are more than %d modules",
					   DS_SPEC_MODULES);
	spec->modules[spec->module_count++] = module;
	return DS_OK;
}

static uint32_t
current_dims(const DsEncoderSpec *spec)
{
	return spec->module_count > 0 ? spec->modules[spec->module_count - 1].out
								  : (uint32_t) ds_spec_pooled_dims(spec);
}

DsCode
ds_source_pooling(Source *source, const char *folder)
{
	static const struct
	{
		const char *key;
		const char *word;
		uint32_t pooling;
	} modes[] = {{"pooling_mode_cls_token", "cls", DS_POOL_CLS},
				 {"pooling_mode_max_tokens", "max", DS_POOL_MAX},
				 {"pooling_mode_mean_tokens", "mean", DS_POOL_MEAN},
				 {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", DS_POOL_MEAN_SQRT},
				 {"pooling_mode_weightedmean_tokens", "weightedmean", DS_POOL_WEIGHTED_MEAN},
				 {"pooling_mode_lasttoken", "lasttoken", DS_POOL_LAST}};
	const char *path = NULL;
	DsJson config, word;
	uint32_t pooling = 0;
	bool flag;

	TRY(ds_source_join(source, folder, "config.json", &path));
	TRY(ds_source_json(source, path, &config));
	if (ds_json_kind(config) != DS_JSON_OBJECT)
		return ds_fail(source->status, DS_BAD_DATA, "there is no %s", path);
	word = ds_json_member(config, "pooling_mode");
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if ((ds_json_bool(ds_json_member(config, modes[i].key), &flag) && flag) ||
			(ds_json_kind(word) == DS_JSON_STRING && ds_json_string_is(word, modes[i].word)))
			pooling |= modes[i].pooling;
	if (pooling == 0)
		return ds_fail(source->status, DS_UNSUPPORTED, "%s names no pooling that is supported",
					   path);
	if (ds_json_bool(ds_json_member(config, "include_prompt"), &flag) && !flag)
		return ds_fail(source->status, DS_UNSUPPORTED,
					   "%s: pooling without the prompt (include_prompt false) is not supported",
					   path);
	source->out->spec.pooling = pooling;
	return DS_OK;
}

static DsCode
dense_activation(Source *source, const char *path, DsJson value, uint32_t *out)
{
	static const struct
	{
		const char *name;
		uint32_t activation;
	} known[] = {{"torch.nn.modules.linear.Identity", DS_ACT_IDENTITY},
				 {"torch.nn.modules.activation.Tanh", DS_ACT_TANH},
				 {"torch.nn.modules.activation.ReLU", DS_ACT_RELU},
				 {"torch.nn.modules.activation.GELU", DS_ACT_GELU},
				 {"torch.nn.modules.activation.SiLU", DS_ACT_SILU},
				 {"torch.nn.modules.activation.Sigmoid", DS_ACT_SIGMOID}};

	/* what the library takes where nothing is said */
	*out = DS_ACT_TANH;
	if (ds_json_kind(value) == DS_JSON_ABSENT || ds_json_kind(value) == DS_JSON_NULL)
		return DS_OK;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (ds_json_kind(value) == DS_JSON_STRING && ds_json_string_is(value, known[i].name))
		{
			*out = known[i].activation;
			return DS_OK;
		}
	return ds_fail(source->status, DS_UNSUPPORTED, "%s: this activation function is not supported",
				   path);
}

static DsCode
read_dense(SourceReader *reader, const char *folder)
{
	Source *source = &reader->source;
	DsEncoderSpec *spec = &source->out->spec;
	uint32_t number = spec->module_count;
	DsSpecModule module = {.kind = DS_MODULE_DENSE};
	const char *path = NULL;
	Source own = *source;

	TRY(ds_source_join(source, folder, "config.json", &path));
	TRY(ds_source_json(source, path, &own.config));
	own.config_name = path;
	TRY(ds_source_number(&own, "in_features", NULL, DS_REQUIRED, &module.in));
	TRY(ds_source_number(&own, "out_features", NULL, DS_REQUIRED, &module.out));
	TRY(dense_activation(source, path, ds_json_member(own.config, "activation_function"),
						 &module.activation));
	if (number == DS_SPEC_MODULES)
		return add_module(source, module);
	TRY(ds_source_open_weights(source, folder, &reader->extra[number].files));
	reader->extra[number].stem = "linear";
	module.bias = ds_tensors_find(reader->extra[number].files, "linear.bias") != NULL;
	return add_module(source, module);
}

static DsCode
read_norm(SourceReader *reader, const char *folder)
{
	Source *source = &reader->source;
	uint32_t number = source->out->spec.module_count;
	uint32_t dims = current_dims(&source->out->spec);
	DsSpecModule module = {
		.kind = DS_MODULE_NORM, .in = dims, .out = dims, .bias = 1, .epsilon = 1e-5f};

	if (number < DS_SPEC_MODULES)
		TRY(ds_source_open_weights(source, folder, &reader->extra[number].files));
	reader->extra[number < DS_SPEC_MODULES ? number : 0].stem = "norm";
	return add_module(source, module);
}

DsCode
ds_source_normalize(Source *source)
{
	uint32_t dims = current_dims(&source->out->spec);

	return add_module(source, (DsSpecModule){.kind = DS_MODULE_NORMALIZE, .in = dims, .out = dims});
}

DsCode
ds_source_modules(SourceReader *reader)
{
	Source *source = &reader->source;
	bool first = true;

	size_t count = 0;

	for (DsJsonItem item = ds_json_items(reader->modules); ds_json_next(&item); first = false)
	{
		char type[256];
		char shown[DS_SHOWN_SIZE];
		const char *folder;

		/* each one's config is read into memory */
		if (++count > MODULES_MAX)
			return ds_fail(source->status, DS_TOO_LARGE, "modules.json has more than %d modules",
						   MODULES_MAX);

		ds_source_module_type(item.value, type, sizeof(type));
		TRY(ds_source_module_folder(reader, item.value, &folder));
		if (first && (strcmp(type, "Transformer") == 0 || strcmp(type, "CLIPModel") == 0 ||
					  strcmp(type, "StaticEmbedding") == 0))
			continue;
		if (strcmp(type, "Pooling") == 0)
			TRY(ds_source_pooling(source, folder));
		else if (strcmp(type, "Dense") == 0)
			TRY(read_dense(reader, folder));
		else if (strcmp(type, "LayerNorm") == 0)
			TRY(read_norm(reader, folder));
		else if (strcmp(type, "Normalize") == 0)
			TRY(ds_source_normalize(source));
		else if (strcmp(type, "Dropout") != 0)
			return ds_fail(source->status, DS_UNSUPPORTED,
						   "modules.json: the module \"%s\" is not supported",
						   ds_shown(shown, type));
	}
	return DS_OK;
}

/* The head of a cross-encoder: what its library puts behind the scores */
DsCode
ds_source_head(Source *source)
{
	DsEncoderSpec *spec = &source->out->spec;
	DsJson said =
		ds_json_member(ds_json_member(source->config, "sentence_transformers"), "activation_fn");
	const DsTensorInfo *last = NULL;
	uint32_t act;

	for (const Name *name = source->family->head; name->neutral != NULL; name++)
	{
		char weight[64];

		snprintf(weight, sizeof(weight), "%s.weight", name->neutral);
		last = ds_source_tensor(source, weight);
	}
	if (last == NULL || last->rank != 2 || last->shape[0] > DS_SPEC_MAX_HIDDEN)
		return ds_fail(source->status, DS_BAD_DATA,
					   "the classifier of a %s for sequence classification is missing",
					   source->family->model_type);
	spec->scores = 1;
	TRY(source->family->read_head(source, spec, (uint32_t) last->shape[0]));
	if (ds_json_kind(said) == DS_JSON_ABSENT)
		said = ds_json_member(source->config, "sbert_ce_default_activation_function");
	if (ds_json_kind(said) == DS_JSON_STRING)
		TRY(dense_activation(source, source->config_name, said, &act));
	else
		act = last->shape[0] == 1 ? DS_ACT_SIGMOID : DS_ACT_IDENTITY;
	spec->modules[spec->module_count - 1].activation = act;
	return DS_OK;
}
