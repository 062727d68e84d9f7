/*
 * encoder_source.c
 *		A trained encoder as it lies in a folder.
 *
 * In this order: modules.json (sentence-transformers), which says where the
 * rest is; config.json, which names the family; the weights; the modules
 * behind the encoder; tokenizer and prompts.  Then every tensor that the
 * description asks for is looked up under the file's name for it, and its
 * shape compared.
 */
#include "format/encoder_source.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "format/families.h"

#define MODEL2VEC_TOKENS 512 /* what its library cuts texts to */

/* ---- where things are ---- */

static DsCode
read_modules_file(SourceReader *reader)
{
	reader->folder = "";
	TRY(ds_source_json(&reader->source, "modules.json", &reader->modules));
	for (DsJsonItem item = ds_json_items(reader->modules); ds_json_next(&item);)
		return ds_source_module_folder(reader, item.value, &reader->folder);
	return DS_OK;
}

static void
find_prefix(Source *source)
{
	source->prefix = "";
	for (const char *const *prefix = source->family->prefixes; *prefix != NULL; prefix++)
	{
		source->prefix = *prefix;
		for (const Name *name = source->family->names; name->neutral != NULL; name++)
		{
			char full[256];

			if (strcmp(name->neutral, "token.weight") != 0)
				continue;
			snprintf(full, sizeof(full), "%s%s", *prefix, name->file);
			if (ds_tensors_find(source->files, full) != NULL)
				return;
		}
	}
	source->prefix = "";
}

/* A graph that others run says what is computed, not what the model is */
static DsCode
refuse_graph(Source *source)
{
	static const char *const graphs[] = {"saved_model.pb", "model.onnx", "model.tflite"};

	if (ds_json_kind(source->config) != DS_JSON_ABSENT)
		return DS_OK;
	for (size_t i = 0; i < sizeof(graphs) / sizeof(graphs[0]); i++)
	{
		bool there;

		TRY(ds_folder_has(source->folder, graphs[i], &there, source->status));
		if (there)
			return ds_fail(source->status, DS_UNSUPPORTED,
						   "%s is a graph to be run, which no model can be read from", graphs[i]);
	}
	return DS_OK;
}

static DsCode
find_family(SourceReader *reader)
{
	Source *source = &reader->source;
	DsJson type;
	char module[256] = "";
	char name[64];
	const char *path = NULL;

	for (DsJsonItem item = ds_json_items(reader->modules); ds_json_next(&item);)
	{
		ds_source_module_type(item.value, module, sizeof(module));
		break;
	}
	TRY(ds_source_join(source, reader->folder, "config.json", &path));
	source->config_name = path;
	TRY(ds_source_json(source, path, &source->config));
	type = ds_json_member(source->config, "model_type");
	source->family = ds_family_find(type);
	if (source->family != NULL)
		return DS_OK;
	if (strcmp(module, "StaticEmbedding") == 0)
	{
		source->family = ds_family_static();
		return DS_OK;
	}
	if (ds_json_kind(type) != DS_JSON_STRING)
	{
		DsJson bert, open_clip;
		bool alone;

		TRY(ds_source_json(source, "bert_config.json", &bert));
		if (ds_json_kind(bert) == DS_JSON_OBJECT)
		{
			source->family = ds_family_tf_bert();
			source->config = bert;
			source->config_name = "bert_config.json";
			return DS_OK;
		}

		TRY(ds_source_json(source, "open_clip_config.json", &open_clip));
		if (ds_json_kind(open_clip) == DS_JSON_OBJECT)
		{
			source->family = ds_family_open_clip();
			source->config = open_clip;
			source->config_name = "open_clip_config.json";
			return DS_OK;
		}
		/* nothing but a table of embeddings and a tokenizer */
		TRY(ds_folder_has(source->folder, "config_sentence_transformers.json", &alone,
						  source->status));
		if (ds_json_kind(source->config) == DS_JSON_ABSENT && alone)
		{
			source->family = ds_family_static();
			return DS_OK;
		}
		TRY(refuse_graph(source));
		return ds_fail(source->status, DS_BAD_DATA,
					   ds_json_kind(source->config) == DS_JSON_ABSENT ? "there is no %s"
																	  : "%s has no model_type",
					   path);
	}
	name[0] = '\0';
	if (ds_json_string_size(type) < sizeof(name))
		name[ds_json_string_copy(type, name)] = '\0';
	{
		char shown[DS_SHOWN_SIZE];

		return ds_fail(source->status, DS_UNSUPPORTED,
					   "%s: model_type \"%s\" is not supported; these are: %s", path,
					   ds_shown(shown, name), ds_family_names());
	}
}

/* ---- tokenizer, lengths, prompts ---- */

/* The number of the unknown token of a tokenizer.json, for models that leave it out */
static DsCode
find_unknown(Source *source, uint32_t *id)
{
	DsArenaMark mark = ds_arena_mark(source->scratch);
	char *text;
	size_t length;
	DsJson root, model, unknown, vocab;
	int64_t number;
	const char *token;
	DsCode code = ds_folder_load(source->folder, source->out->tokenizer_file, DS_SUBWORD_FILE_MAX,
								 source->scratch, &text, &length, source->status);

	*id = DS_SPEC_NO_ID;
	if (code == DS_OK)
		code = ds_json_parse(text, length, source->out->tokenizer_file, &root, source->status);
	if (code == DS_OK)
	{
		model = ds_json_member(root, "model");
		vocab = ds_json_member(model, "vocab");
		unknown = ds_json_member(model, "unk_token");
		if (ds_json_integer(ds_json_member(model, "unk_id"), &number) && number >= 0)
			*id = (uint32_t) number;
		code = ds_source_string(source, unknown, &token);
		if (code == DS_OK && token != NULL &&
			ds_json_integer(ds_json_member(vocab, token), &number) && number >= 0)
			*id = (uint32_t) number;
	}
	ds_arena_rewind(source->scratch, mark);
	return code;
}

/* Google's checkpoints do not say whether texts become lower-case, but their vocabularies do. */
static DsCode
has_capitals(Source *source, bool *capitals)
{
	DsArenaMark mark = ds_arena_mark(source->scratch);
	char *text;
	size_t length;
	DsCode code = ds_folder_load(source->folder, source->out->tokenizer_file, DS_SUBWORD_FILE_MAX,
								 source->scratch, &text, &length, source->status);

	*capitals = false;
	for (size_t i = 0; code == DS_OK && i < length && !*capitals; i++)
		*capitals = (i == 0 || text[i - 1] == '\n') && text[i] >= 'A' && text[i] <= 'Z';
	ds_arena_rewind(source->scratch, mark);
	return code;
}

static DsCode
read_vocab_options(Source *source, DsJson config)
{
	DsVocabOptions *options = &source->out->vocab_options;
	bool flag;
	bool capitals = false;

	if (source->family == ds_family_tf_bert())
		TRY(has_capitals(source, &capitals));

	options->lowercase =
		ds_json_bool(ds_json_member(config, "do_lower_case"), &flag) ? flag : !capitals;
	options->strip_accents =
		ds_json_bool(ds_json_member(config, "strip_accents"), &flag) ? (int) flag : -1;
	options->chinese =
		ds_json_bool(ds_json_member(config, "tokenize_chinese_chars"), &flag) ? flag : true;
	options->max_length = 0;
	return DS_OK;
}

static DsCode
read_tokenizer(SourceReader *reader)
{
	Source *source = &reader->source;
	DsEncoderSource *out = source->out;
	const char *folders[2] = {reader->folder, ""};
	const char *path = NULL;
	DsJson config;
	bool has = false;

	for (int i = 0; i < 2 && !has; i++)
	{
		TRY(ds_source_join(source, folders[i], "tokenizer.json", &out->tokenizer_file));
		TRY(ds_folder_has(source->folder, out->tokenizer_file, &has, source->status));
	}
	TRY(ds_source_join(source, reader->folder, "tokenizer_config.json", &path));
	TRY(ds_source_json(source, path, &config));
	if (!has)
	{
		bool bert = strcmp(source->family->model_type, "bert") == 0 ||
					strcmp(source->family->model_type, "distilbert") == 0;

		TRY(ds_source_join(source, reader->folder, "vocab.txt", &out->tokenizer_file));
		TRY(ds_folder_has(source->folder, out->tokenizer_file, &has, source->status));
		if (!has || !bert)
			return ds_fail(source->status, has ? DS_UNSUPPORTED : DS_BAD_DATA,
						   has ? "there is no %stokenizer.json, and vocab.txt says too little of "
								 "this family's tokenizer"
							   : "there is no %stokenizer.json",
						   reader->folder);
		out->vocab = true;
		TRY(read_vocab_options(source, config));
	}
	out->special = out->spec.kind != DS_ENCODER_STATIC;
	out->unk_id = DS_SPEC_NO_ID;
	if (strcmp(source->family->model_type, "model2vec") == 0)
		TRY(find_unknown(source, &out->unk_id));
	/* the tokenizer's own limit, unless it is one of the huge numbers that mean none */
	if (out->spec.kind != DS_ENCODER_STATIC)
	{
		int64_t limit;

		if (ds_json_integer(ds_json_member(config, "model_max_length"), &limit) && limit > 0 &&
			limit < out->spec.max_tokens)
			out->spec.max_tokens = (uint32_t) limit;
	}
	return DS_OK;
}

static DsCode
read_lengths_and_prompts(SourceReader *reader)
{
	Source *source = &reader->source;
	DsEncoderSource *out = source->out;
	static const char *const keys[2][4] = {{"query", NULL, NULL, NULL},
										   {"document", "passage", "corpus", NULL}};
	DsJson config, prompts, standard;
	const char *path = NULL;
	const char *name;
	int64_t limit;
	bool flag;

	TRY(ds_source_join(source, reader->folder, "sentence_bert_config.json", &path));
	TRY(ds_source_json(source, path, &config));
	if (ds_json_integer(ds_json_member(config, "max_seq_length"), &limit) && limit > 0 &&
		(out->spec.max_tokens == 0 || limit < out->spec.max_tokens))
		out->spec.max_tokens = (uint32_t) limit;
	out->lowercase = ds_json_bool(ds_json_member(config, "do_lower_case"), &flag) && flag;
	if (out->lowercase && out->vocab && !out->vocab_options.lowercase)
	{
		/* lower-case, but with the accents that the tokenizer leaves */
		if (out->vocab_options.strip_accents < 0)
			out->vocab_options.strip_accents = 0;
		out->vocab_options.lowercase = true;
	}

	TRY(ds_source_json(source, "config_sentence_transformers.json", &config));
	prompts = ds_json_member(config, "prompts");
	standard = ds_json_member(config, "default_prompt_name");
	TRY(ds_source_string(source, standard, &name));
	for (int side = 0; side < 2; side++)
	{
		for (int k = 0; keys[side][k] != NULL && out->prompt[side] == NULL; k++)
			TRY(ds_source_string(source, ds_json_member(prompts, keys[side][k]),
								 &out->prompt[side]));
		if (out->prompt[side] == NULL && name != NULL)
			TRY(ds_source_string(source, ds_json_member(prompts, name), &out->prompt[side]));
	}
	return DS_OK;
}

/* ---- the tensors ---- */

static bool
same_shape(const DsTensorInfo *info, const DsSpecTensor *wanted)
{
	return info->rank == wanted->rank && info->shape[0] == wanted->shape[0] &&
		   (wanted->rank < 2 || info->shape[1] == wanted->shape[1]);
}

static void
show_shape(const DsTensorInfo *info, char *out, size_t size)
{
	size_t n = (size_t) snprintf(out, size, "[");

	for (uint32_t d = 0; d < info->rank && n < size; d++)
		n += (size_t) snprintf(out + n, size - n, "%s%" PRIu64, d > 0 ? ", " : "", info->shape[d]);
	if (n < size)
		snprintf(out + n, size - n, "]");
}

/* The tensor of a module behind the encoder, from the module's own file */
static const DsTensorInfo *
find_extra(SourceReader *reader, const char *neutral, const DsTensorFiles **files, char *expected,
		   size_t size)
{
	unsigned number;
	const char *suffix;

	if (!ds_source_match("module.#", neutral, &number, &suffix) || number >= DS_SPEC_MODULES ||
		reader->extra[number].files == NULL)
		return NULL;
	*files = reader->extra[number].files;
	snprintf(expected, size, "%s%s", reader->extra[number].stem, suffix);
	return ds_tensors_find(*files, expected);
}

static DsCode
add_tensor(SourceReader *reader, const DsSpecTensor *wanted)
{
	Source *source = &reader->source;
	DsEncoderSource *out = source->out;
	DsSpecTensor tensor = *wanted;
	const DsTensorFiles *files = source->files;
	const DsTensorInfo *info;
	DsSourceTensor *entry = &out->tensors[out->tensor_count];
	char expected[256] = "";
	char shown[DS_SHOWN_SIZE];
	char shape[128];

	info = find_extra(reader, tensor.name, &files, expected, sizeof(expected));
	if (info == NULL && expected[0] == '\0')
		info = ds_source_find(source, tensor.name, expected, sizeof(expected));
	if (info == NULL && tensor.linear && strlen(tensor.name) + 3 < sizeof(tensor.name))
	{
		strcat(tensor.name, "_t");
		info = ds_source_find(source, tensor.name, expected, sizeof(expected));
		if (info != NULL)
		{
			uint32_t swap = tensor.shape[0];

			tensor.shape[0] = tensor.shape[1];
			tensor.shape[1] = swap;
		}
	}
	if (info == NULL)
		return ds_fail(source->status, DS_BAD_DATA, "tensor \"%s\" is missing",
					   expected[0] != '\0' ? expected : wanted->name);
	if (!same_shape(info, &tensor))
	{
		show_shape(info, shape, sizeof(shape));
		return ds_fail(source->status, DS_BAD_DATA,
					   tensor.rank == 1 ? "tensor \"%s\" has the shape %s, not [%u]"
										: "tensor \"%s\" has the shape %s, not [%u, %u]",
					   ds_shown(shown, info->name), shape, tensor.shape[0], tensor.shape[1]);
	}
	/* numbers of 8 bits mean something by their scales only, which a transformer's file would have beside them */
	if (!ds_dtype_has_floats(info->dtype) ||
		(out->spec.kind == DS_ENCODER_TRANSFORMER && info->dtype != DS_DTYPE_F32 &&
		 info->dtype != DS_DTYPE_F16 && info->dtype != DS_DTYPE_BF16 &&
		 info->dtype != DS_DTYPE_F64))
		return ds_fail(source->status, DS_UNSUPPORTED,
					   "tensor \"%s\" has the type %s, which is not supported",
					   ds_shown(shown, info->name), ds_dtype_name(info->dtype));
	snprintf(entry->name, sizeof(entry->name), "%s", tensor.name);
	entry->info = info;
	entry->files = files;
	out->tensor_count++;
	return DS_OK;
}

static DsCode
add_tensors(SourceReader *reader)
{
	Source *source = &reader->source;
	DsEncoderSource *out = source->out;
	size_t count = ds_spec_tensors(&out->spec);

	out->tensors = ds_arena_zero(source->arena, count, sizeof(DsSourceTensor));
	if (out->tensors == NULL)
		return ds_source_no_memory(source);
	for (size_t i = 0; i < count; i++)
	{
		DsSpecTensor wanted;

		if (ds_spec_tensor(&out->spec, i, &wanted))
			TRY(add_tensor(reader, &wanted));
	}
	return DS_OK;
}

/* ---- all of it ---- */

static bool
is_classifier(DsJson config)
{
	for (DsJsonItem item = ds_json_items(ds_json_member(config, "architectures"));
		 ds_json_next(&item);)
	{
		char name[128];
		size_t n;

		if (ds_json_kind(item.value) != DS_JSON_STRING ||
			ds_json_string_size(item.value) >= sizeof(name))
			continue;
		n = ds_json_string_copy(item.value, name);
		name[n] = '\0';
		return strstr(name, "ForSequenceClassification") != NULL;
	}
	return false;
}

static DsCode
read_default_pooling(Source *source)
{
	bool has;

	TRY(ds_folder_has(source->folder, "1_Pooling/config.json", &has, source->status));
	if (has)
		return ds_source_pooling(source, "1_Pooling/");
	source->out->spec.pooling = DS_POOL_MEAN;
	return DS_OK;
}

static DsCode
open_source(SourceReader *reader)
{
	Source *source = &reader->source;
	DsEncoderSpec *spec = &source->out->spec;
	bool is_static;
	bool normalize = false;
	DsJson config;

	TRY(read_modules_file(reader));
	TRY(find_family(reader));
	TRY(ds_source_open_weights(source, reader->folder, &source->files));
	find_prefix(source);
	config = source->config;
	source->scores = ds_json_kind(reader->modules) == DS_JSON_ABSENT &&
					 source->family->head != NULL && is_classifier(config);
	is_static = source->family->names == ds_family_static()->names;
	ds_spec_init(spec, is_static ? DS_ENCODER_STATIC : DS_ENCODER_TRANSFORMER);
	snprintf(spec->family, sizeof(spec->family), "%s", source->family->model_type);
	TRY(source->family->read(source, spec));
	if (is_static)
		spec->max_tokens = DS_SPEC_MAX_TOKENS;
	if (source->scores)
		TRY(ds_source_head(source));
	else if (strcmp(source->family->model_type, "model2vec") == 0)
	{
		spec->max_tokens = MODEL2VEC_TOKENS;
		if (!ds_json_bool(ds_json_member(config, "normalize"), &normalize))
			normalize = ds_json_kind(reader->modules) != DS_JSON_ABSENT;
		if (normalize)
			TRY(ds_source_normalize(source));
	}
	else if (ds_json_kind(reader->modules) != DS_JSON_ABSENT)
		TRY(ds_source_modules(reader));
	else if (is_static)
	{
		/* model2vec in the way of sentence-transformers says it there */
		TRY(ds_source_json(source, "config_sentence_transformers.json", &config));
		if (ds_json_bool(ds_json_member(config, "normalize"), &normalize) && normalize)
			TRY(ds_source_normalize(source));
	}
	if (!is_static && spec->pooling == 0)
		TRY(read_default_pooling(source));
	TRY(read_tokenizer(reader));
	TRY(read_lengths_and_prompts(reader));
	TRY(ds_spec_check(spec, source->status));
	return add_tensors(reader);
}

DsCode
ds_encoder_source_open(const DsFolder *folder, DsArena *arena, DsArena *scratch,
					   DsEncoderSource *source, DsStatus *status)
{
	SourceReader reader;

	memset(&reader, 0, sizeof(reader));
	memset(source, 0, sizeof(*source));
	reader.source.folder = folder;
	reader.source.arena = arena;
	reader.source.scratch = scratch;
	reader.source.status = status;
	reader.source.out = source;
	return open_source(&reader);
}
