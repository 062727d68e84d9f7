/*
 * encoder_folder.c
 *		An encoder of texts as a folder of Hugging Face and sentence-transformers,
 *		or as one of Google's checkpoints of BERT.
 *
 * The files, in this order: config.json of the family (folder_config.c),
 * modules.json with pooling and dense layers, or the head of a cross-encoder;
 * lengths, prompts, tokenizer; the weights under the family's names for them,
 * in the type that the model has them in.  Then all of it is read back.
 */
#include "format/encoder_folder.h"

#include <stdio.h>
#include <string.h>

#include "format/encoder_source.h"
#include "format/families.h"
#include "format/folder_config.h"
#include "format/safetensors.h"
#include "format/tf_bundle.h"

typedef struct Writer
{
	const DsEncoderFolder *in;
	const DsEncoderSpec *spec;
	const Family *family;
	DsPlan *plan;
	DsStatus *status;
	const char *prefix; /* of the names of tensors */
	bool static_file; /* config.json, modules.json: StaticEmbedding in a folder of its own */
} Writer;

static DsCode
no_memory(Writer *writer)
{
	return ds_fail(writer->status, DS_OUT_OF_MEMORY, "out of memory");
}

static DsCode
refuse(Writer *writer, const char *part)
{
	return ds_fail(writer->status, DS_UNSUPPORTED,
				   "%s has no counterpart in a folder of sentence-transformers", part);
}

/* ---- modules behind the encoder ---- */

static const char *
dense_class(uint32_t activation)
{
	switch (activation)
	{
		case DS_ACT_IDENTITY:
			return "torch.nn.modules.linear.Identity";
		case DS_ACT_TANH:
			return "torch.nn.modules.activation.Tanh";
		case DS_ACT_RELU:
			return "torch.nn.modules.activation.ReLU";
		case DS_ACT_GELU:
			return "torch.nn.modules.activation.GELU";
		case DS_ACT_SILU:
			return "torch.nn.modules.activation.SiLU";
		case DS_ACT_SIGMOID:
			return "torch.nn.modules.activation.Sigmoid";
		default:
			return NULL;
	}
}

static const char *
module_file(Writer *writer, const char *folder, const char *name)
{
	size_t size = strlen(folder) + strlen(name) + 2;
	char *out = ds_arena_alloc(writer->plan->arena, size, 1);

	if (out != NULL)
		snprintf(out, size, "%s/%s", folder, name);
	return out;
}

/* The part that a tensor of the description is */
static DsCode
tensor_part(Writer *writer, const char *neutral, DsPlanPart *part)
{
	DsSpecTensor wanted;

	if (!ds_spec_find(writer->spec, neutral, &wanted))
		return ds_fail(writer->status, DS_INVALID, "there is no tensor \"%s\"", neutral);
	if (!ds_plan_part(writer->in->stored, neutral, wanted.shape[0], wanted.shape[1], wanted.linear,
					  part))
		return ds_fail(writer->status, DS_BAD_DATA, "tensor \"%s\" is missing", neutral);
	return DS_OK;
}

static DsCode
describe_tensor(Writer *writer, const char *neutral, const char *name, DsSafetensor *tensor)
{
	DsSpecTensor wanted;
	DsCode code = tensor_part(writer, neutral, &tensor->part);

	if (code != DS_OK)
		return code;
	(void) ds_spec_find(writer->spec, neutral, &wanted);
	tensor->name = name;
	tensor->rank = wanted.rank;
	tensor->shape[0] = wanted.shape[0];
	tensor->shape[1] = wanted.shape[1];
	return DS_OK;
}

/* A folder of its own for module number m, with config.json and weights */
static DsCode
write_module(Writer *writer, uint32_t m, const char *folder)
{
	const DsSpecModule *module = &writer->spec->modules[m];
	bool dense = module->kind == DS_MODULE_DENSE;
	DsSafetensor tensors[2];
	DsBuffer config;
	char neutral[DS_SPEC_NAME];
	const char *name = module_file(writer, folder, "config.json");
	const char *weights = module_file(writer, folder, "model.safetensors");

	if (name == NULL || weights == NULL)
		return no_memory(writer);
	memset(tensors, 0, sizeof(tensors));
	ds_buffer_init(&config, writer->plan->arena);
	if (dense)
	{
		if (dense_class(module->activation) == NULL)
			return refuse(writer, "the activation of a dense layer");
		ds_buffer_printf(&config,
						 "{\n  \"in_features\": %u,\n  \"out_features\": %u,\n  \"bias\": %s,\n"
						 "  \"activation_function\": \"%s\"\n}\n",
						 module->in, module->out, module->bias ? "true" : "false",
						 dense_class(module->activation));
	}
	else
		ds_buffer_printf(&config, "{\n  \"dimension\": %u\n}\n", module->in);
	TRY(ds_plan_text(writer->plan, name, &config, writer->status));
	snprintf(neutral, sizeof(neutral), "module.%u.weight", m);
	TRY(describe_tensor(writer, neutral, dense ? "linear.weight" : "norm.weight", &tensors[0]));
	if (module->bias)
	{
		snprintf(neutral, sizeof(neutral), "module.%u.bias", m);
		TRY(describe_tensor(writer, neutral, dense ? "linear.bias" : "norm.bias", &tensors[1]));
	}
	return ds_safetensors_plan(writer->plan, weights, tensors, module->bias ? 2 : 1,
							   writer->status);
}

static DsCode
write_pooling(Writer *writer, const char *folder)
{
	static const struct
	{
		const char *key;
		uint32_t pooling;
	} modes[] = {{"pooling_mode_cls_token", DS_POOL_CLS},
				 {"pooling_mode_mean_tokens", DS_POOL_MEAN},
				 {"pooling_mode_max_tokens", DS_POOL_MAX},
				 {"pooling_mode_mean_sqrt_len_tokens", DS_POOL_MEAN_SQRT},
				 {"pooling_mode_weightedmean_tokens", DS_POOL_WEIGHTED_MEAN},
				 {"pooling_mode_lasttoken", DS_POOL_LAST}};
	const char *name = module_file(writer, folder, "config.json");
	DsBuffer config;

	if (name == NULL)
		return no_memory(writer);
	ds_buffer_init(&config, writer->plan->arena);
	ds_buffer_printf(&config, "{\n  \"word_embedding_dimension\": %u,\n", writer->spec->hidden);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		ds_buffer_printf(&config, "  \"%s\": %s,\n", modes[i].key,
						 writer->spec->pooling & modes[i].pooling ? "true" : "false");
	ds_buffer_text(&config, "  \"include_prompt\": true\n}\n");
	return ds_plan_text(writer->plan, name, &config, writer->status);
}

#define MODULES "sentence_transformers.models."

static DsCode
write_modules(Writer *writer)
{
	const DsEncoderSpec *spec = writer->spec;
	DsBuffer list;
	unsigned number = 1;

	ds_buffer_init(&list, writer->plan->arena);
	ds_buffer_printf(
		&list, "[\n  {\"idx\": 0, \"name\": \"0\", \"path\": \"%s\", \"type\": \"" MODULES "%s\"}",
		writer->static_file ? "0_StaticEmbedding" : "",
		writer->static_file ? "StaticEmbedding" : "Transformer");
	if (!writer->static_file)
	{
		ds_buffer_text(&list,
					   ",\n  {\"idx\": 1, \"name\": \"1\", \"path\": \"1_Pooling\", \"type\": "
					   "\"" MODULES "Pooling\"}");
		TRY(write_pooling(writer, "1_Pooling"));
		number = 2;
	}
	for (uint32_t m = 0; m < spec->module_count; m++, number++)
	{
		static const char *const types[] = {[DS_MODULE_DENSE] = "Dense",
											[DS_MODULE_NORM] = "LayerNorm",
											[DS_MODULE_NORMALIZE] = "Normalize"};
		const char *type =
			spec->modules[m].kind <= DS_MODULE_NORMALIZE ? types[spec->modules[m].kind] : NULL;
		char *folder = ds_arena_alloc(writer->plan->arena, 32, 1);

		if (folder == NULL)
			return no_memory(writer);
		if (type == NULL)
			return refuse(writer, "a module that cuts vectors short");
		snprintf(folder, 32, "%u_%s", number, type);
		ds_buffer_printf(&list,
						 ",\n  {\"idx\": %u, \"name\": \"%u\", \"path\": \"%s\", \"type\": "
						 "\"" MODULES "%s\"}",
						 number, number, folder, type);
		if (spec->modules[m].kind != DS_MODULE_NORMALIZE)
			TRY(write_module(writer, m, folder));
	}
	ds_buffer_text(&list, "\n]\n");
	return ds_plan_text(writer->plan, "modules.json", &list, writer->status);
}

/* ---- the files around ---- */

static DsCode
write_lengths(Writer *writer)
{
	const DsEncoderSpec *spec = writer->spec;
	DsBuffer text;

	ds_buffer_init(&text, writer->plan->arena);
	ds_buffer_printf(&text, "{\n  \"max_seq_length\": %u,\n  \"do_lower_case\": false\n}\n",
					 spec->max_tokens);
	TRY(ds_plan_text(writer->plan, "sentence_bert_config.json", &text, writer->status));

	ds_buffer_init(&text, writer->plan->arena);
	ds_buffer_text(&text, "{\n  \"prompts\": {");
	for (int side = 0; side < 2; side++)
		if (writer->in->prompt[side][0] != '\0')
		{
			ds_buffer_printf(
				&text, "%s\n    \"%s\": ", side == 1 && writer->in->prompt[0][0] != '\0' ? "," : "",
				side == 0 ? "query" : "document");
			ds_buffer_json(&text, writer->in->prompt[side]);
		}
	ds_buffer_printf(&text,
					 "%s},\n  \"default_prompt_name\": null,\n"
					 "  \"similarity_fn_name\": \"cosine\"\n}\n",
					 writer->in->prompt[0][0] != '\0' || writer->in->prompt[1][0] != '\0' ? "\n  "
																						  : "");
	return ds_plan_text(writer->plan, "config_sentence_transformers.json", &text, writer->status);
}

static DsCode
write_tokenizer(Writer *writer)
{
	const DsEncoderFolder *in = writer->in;
	const char *folder = writer->static_file ? "0_StaticEmbedding/" : "";
	const char *base = in->vocab ? "vocab.txt" : "tokenizer.json";
	size_t size = strlen(folder) + strlen(base) + 1;
	char *name = ds_arena_alloc(writer->plan->arena, size, 1);
	DsPlanFile *file;
	DsBuffer text;

	if (name == NULL)
		return no_memory(writer);
	snprintf(name, size, "%s%s", folder, base);
	TRY(ds_plan_begin(writer->plan, name, &file, writer->status));
	TRY(ds_plan_bytes(writer->plan, file, in->tokenizer, in->tokenizer_size, writer->status));
	if (writer->static_file)
		return DS_OK;
	ds_buffer_init(&text, writer->plan->arena);
	ds_buffer_printf(&text, "{\n  \"tokenizer_class\": \"%s\",\n  \"model_max_length\": %u",
					 ds_folder_tokenizer_class(writer->spec->family), writer->spec->max_tokens);
	if (strcmp(writer->spec->family, "modernbert") == 0)
		ds_buffer_text(&text, ",\n  \"pad_token\": \"[PAD]\",\n  \"unk_token\": \"[UNK]\",\n"
							  "  \"cls_token\": \"[CLS]\",\n  \"sep_token\": \"[SEP]\",\n"
							  "  \"mask_token\": \"[MASK]\"");
	if (in->vocab)
	{
		const DsVocabOptions *options = in->vocab_options;

		ds_buffer_printf(&text, ",\n  \"do_lower_case\": %s,\n  \"tokenize_chinese_chars\": %s",
						 options->lowercase ? "true" : "false",
						 options->chinese ? "true" : "false");
		if (options->strip_accents >= 0)
			ds_buffer_printf(&text, ",\n  \"strip_accents\": %s",
							 options->strip_accents ? "true" : "false");
	}
	ds_buffer_text(&text, "\n}\n");
	return ds_plan_text(writer->plan, "tokenizer_config.json", &text, writer->status);
}

/* ---- the weights ---- */

/* As a checkpoint of TensorFlow, where kernels are stored the other way round */
static DsCode
write_checkpoint(Writer *writer)
{
	const DsEncoderSpec *spec = writer->spec;
	size_t count = ds_spec_tensors(spec);
	DsTfTensor *tensors = ds_arena_zero(writer->plan->arena, count, sizeof(DsTfTensor));

	if (tensors == NULL)
		return no_memory(writer);
	for (size_t i = 0; i < count; i++)
	{
		DsTfTensor *tensor = &tensors[i];
		DsSpecTensor wanted;
		const size_t size = 256;
		char *name = ds_arena_alloc(writer->plan->arena, size, 1);
		char neutral[DS_SPEC_NAME + 2];

		if (name == NULL)
			return no_memory(writer);
		(void) ds_spec_tensor(spec, i, &wanted);
		snprintf(neutral, sizeof(neutral), "%s%s", wanted.name, wanted.linear ? "_t" : "");
		if (!ds_source_name(writer->family, false, false, "", neutral, name, size))
			return ds_fail(writer->status, DS_UNSUPPORTED,
						   "tensor \"%s\" has no counterpart in a checkpoint of TensorFlow",
						   wanted.name);
		TRY(tensor_part(writer, wanted.name, &tensor->part));
		tensor->name = name;
		tensor->rank = wanted.rank;
		tensor->shape[0] = wanted.shape[wanted.linear ? 1 : 0];
		tensor->shape[1] = wanted.shape[wanted.linear ? 0 : 1];
		if (wanted.linear)
			tensor->part.transpose = !tensor->part.transpose;
	}
	return ds_tf_bundle_plan(writer->plan, "bert_model.ckpt", tensors, count,
							 writer->in->checkpoint, writer->in->cancel, writer->status);
}

/* What of a model such a checkpoint cannot have */
static DsCode
check_checkpoint(Writer *writer)
{
	const DsEncoderSpec *spec = writer->spec;

	if (strcmp(spec->family, "bert") != 0)
		return ds_fail(writer->status, DS_UNSUPPORTED,
					   "a model of the family \"%s\" has no counterpart in a checkpoint of "
					   "TensorFlow: BERT alone has",
					   spec->family);
	if (spec->scores != 0)
		return ds_fail(writer->status, DS_UNSUPPORTED,
					   "a head that scores has no counterpart in a checkpoint of TensorFlow");
	for (uint32_t m = 0; m < spec->module_count; m++)
		if (spec->modules[m].kind != DS_MODULE_NORMALIZE)
			return ds_fail(writer->status, DS_UNSUPPORTED,
						   "a layer behind the pooling has no counterpart in a checkpoint of "
						   "TensorFlow");
	return DS_OK;
}

static DsCode
write_weights(Writer *writer)
{
	const DsEncoderSpec *spec = writer->spec;
	size_t count = ds_spec_tensors(spec);
	DsSafetensor *tensors = ds_arena_zero(writer->plan->arena, count, sizeof(DsSafetensor));
	size_t used = 0;

	if (tensors == NULL)
		return no_memory(writer);
	for (size_t i = 0; i < count; i++)
	{
		DsSpecTensor wanted;
		const size_t size = 256;
		char *name = ds_arena_alloc(writer->plan->arena, size, 1);
		bool module;

		if (name == NULL)
			return no_memory(writer);
		(void) ds_spec_tensor(spec, i, &wanted);
		module = strncmp(wanted.name, "module.", 7) == 0;
		/* those of modules have files of their own, unless they are a head */
		if (module && !spec->scores && spec->pooling != DS_POOL_EOT)
			continue;
		/* a static file of sentence-transformers, and nomic's as transformers has it, come last */
		if (!ds_source_name(writer->family, spec->scores != 0 && module,
							writer->static_file || !spec->qkv_fused, module ? "" : writer->prefix,
							wanted.name, name, size))
			return ds_fail(writer->status, DS_UNSUPPORTED,
						   "tensor \"%s\" has no counterpart in a %s of this format", wanted.name,
						   writer->family->model_type);
		TRY(describe_tensor(writer, wanted.name, name, &tensors[used]));
		used++;
	}
	return ds_safetensors_plan(writer->plan,
							   writer->static_file ? "0_StaticEmbedding/model.safetensors"
												   : "model.safetensors",
							   tensors, used, writer->status);
}

/* ---- reading it back ---- */

/* The files of the plan, of which the weights' numbers are not read */
static DsCode
look(void *context, const char *name, bool *exists, uint64_t *size, DsStatus *status)
{
	const DsPlanFile *file = ds_plan_find(context, name);

	(void) status;
	*exists = file != NULL;
	*size = file != NULL ? file->size : 0;
	return DS_OK;
}

static DsCode
read_part(void *context, const char *name, uint64_t offset, void *buffer, size_t length,
		  DsStatus *status)
{
	const DsPlanFile *file = ds_plan_find(context, name);
	uint64_t begin = 0;
	char *out = buffer;

	for (size_t i = 0; i < file->part_count && length > 0; i++)
	{
		const DsPlanPart *part = &file->parts[i];

		if (offset < begin + part->length)
		{
			uint64_t within = offset - begin;
			size_t n = part->length - within < length ? (size_t) (part->length - within) : length;

			if (part->tensor[0] != '\0')
				return ds_fail(status, DS_UNSUPPORTED, "numbers of \"%s\" are not read",
							   part->tensor);
			memcpy(out, (const char *) part->bytes + within, n);
			out += n;
			offset += n;
			length -= n;
		}
		begin += part->length;
	}
	return DS_OK;
}

static const char *
name_of(void *context, size_t number)
{
	const DsPlan *plan = context;

	for (size_t i = 0; i < plan->file_count; i++)
		if (strchr(plan->files[i].name, '/') == NULL && number-- == 0)
			return plan->files[i].name;
	return NULL;
}

DsFolder
ds_plan_folder(DsPlan *plan)
{
	return (DsFolder){look, read_part, name_of, plan};
}

/* The first member that differs, or NULL; both are objects of one writer, so of one order */
static const char *
difference(DsJson a, DsJson b, char *out, size_t size)
{
	for (int pass = 0; pass < 2; pass++)
		for (DsJsonItem item = ds_json_items(pass == 0 ? a : b); ds_json_next(&item);)
		{
			char key[64] = "";
			DsJson other;
			size_t n;

			if (ds_json_string_size(item.key) >= sizeof(key))
				continue;
			key[ds_json_string_copy(item.key, key)] = '\0';
			other = ds_json_member(pass == 0 ? b : a, key);
			n = (size_t) (ds_json_skip(item.value) - item.value.at);
			if (ds_json_kind(other) == DS_JSON_ABSENT ||
				(size_t) (ds_json_skip(other) - other.at) != n ||
				memcmp(other.at, item.value.at, n) != 0)
			{
				snprintf(out, size, "%s", key);
				return out;
			}
		}
	return NULL;
}

DsCode
ds_folder_same(const char *written, const char *read, DsStatus *status)
{
	DsJson a, b;
	char key[64];
	DsCode code = ds_json_parse(written, strlen(written), "description", &a, status);

	if (code == DS_OK)
		code = ds_json_parse(read, strlen(read), "description", &b, status);
	if (code != DS_OK)
		return code;
	if (difference(a, b, key, sizeof(key)) != NULL)
		return ds_fail(status, DS_UNSUPPORTED,
					   "the model's \"%s\" has no counterpart in a folder of this format", key);
	return DS_OK;
}

static DsCode
check(Writer *writer, DsArena *arena, DsArena *scratch)
{
	const DsEncoderFolder *in = writer->in;
	DsFolder folder = ds_plan_folder(writer->plan);
	DsEncoderSource source;
	size_t sizes[2];
	char *texts[2];
	DsCode code = ds_encoder_source_open(&folder, arena, scratch, &source, writer->status);

	if (code == DS_OUT_OF_MEMORY)
		return code;
	if (code != DS_OK)
	{
		DsStatus reason = *writer->status;

		return ds_fail(writer->status, DS_UNSUPPORTED,
					   "the model has no counterpart in a folder of this format: %s",
					   reason.message);
	}
	for (int i = 0; i < 2; i++)
	{
		const DsEncoderSpec *spec = i == 0 ? writer->spec : &source.spec;
		DsEncoderSpec plain = *spec;

		/* nobody reads these */
		plain.pad_id = plain.cls_id = plain.sep_id = DS_SPEC_NO_ID;
		/* one tower of two becomes one alone */
		if (strcmp(plain.family, "clip") == 0)
			snprintf(plain.family, sizeof(plain.family), "clip_text_model");
		sizes[i] = ds_spec_write(&plain, NULL, 0) + 1;
		texts[i] = ds_arena_alloc(arena, sizes[i], 1);
		if (texts[i] == NULL)
			return no_memory(writer);
		ds_spec_write(&plain, texts[i], sizes[i]);
	}
	TRY(ds_folder_same(texts[0], texts[1], writer->status));
	if (source.special != in->special || source.unk_id != in->drop_id)
		return refuse(writer, "which tokens of a text are left out");
	for (int side = 0; side < 2; side++)
		if (strcmp(source.prompt[side] != NULL ? source.prompt[side] : "", in->prompt[side]) != 0)
			return refuse(writer, "the model's prompt");
	if (source.vocab != in->vocab || (in->vocab && memcmp(&source.vocab_options, in->vocab_options,
														  sizeof(DsVocabOptions)) != 0))
		return refuse(writer, "how the model reads its vocabulary");
	return DS_OK;
}

DsCode
ds_encoder_folder(const DsEncoderFolder *folder, DsPlan *plan, DsStatus *status)
{
	const DsEncoderSpec *spec = folder->spec;
	Writer writer = {.in = folder, .spec = spec, .plan = plan, .status = status};
	DsArena arena, scratch;
	DsBuffer config;
	DsCode code;

	writer.family = ds_family_named(spec->family);
	if (writer.family == NULL)
		return ds_fail(status, DS_UNSUPPORTED,
					   "a model of the family \"%s\" has no counterpart in this format",
					   spec->family);
	if (folder->checkpoint != NULL)
	{
		TRY(check_checkpoint(&writer));
		writer.family = ds_family_tf_bert();
	}
	writer.static_file = strcmp(spec->family, "static") == 0;
	if (writer.static_file && (spec->token_weights || spec->static_rows != spec->vocabulary))
		return refuse(&writer, "a table whose tokens have weights or share rows");
	writer.prefix = ds_folder_prefix(spec);
	ds_buffer_init(&config, plan->arena);
	TRY(ds_folder_config(spec,
						 dense_class(spec->module_count > 0
										 ? spec->modules[spec->module_count - 1].activation
										 : DS_ACT_IDENTITY),
						 &config, status));
	if (!writer.static_file)
		TRY(ds_plan_text(plan, folder->checkpoint != NULL ? "bert_config.json" : "config.json",
						 &config, status));
	if (!spec->scores && spec->pooling != DS_POOL_EOT && strcmp(spec->family, "model2vec") != 0)
		TRY(write_modules(&writer));
	TRY(write_lengths(&writer));
	TRY(write_tokenizer(&writer));
	TRY(folder->checkpoint != NULL ? write_checkpoint(&writer) : write_weights(&writer));
	ds_arena_init(&arena, &plan->arena->allocator);
	ds_arena_init(&scratch, &plan->arena->allocator);
	code = check(&writer, &arena, &scratch);
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	return code;
}
