/*
 * folder_config.c
 *		The config.json of each family, written: what families.c reads.
 */
#include "format/folder_config.h"

#include <string.h>

/* What has a value of its own in a family's config */
typedef struct FamilyWords
{
	const char *family;
	const char *model; /* the class of the encoder, without its last word */
	const char *prefix; /* before tensors, where there is a head */
	const char *tokenizer;
} FamilyWords;

static const FamilyWords families[] = {
	{"bert", "Bert", "bert.", "BertTokenizerFast"},
	{"roberta", "Roberta", "roberta.", "RobertaTokenizerFast"},
	{"xlm-roberta", "XLMRoberta", "roberta.", "XLMRobertaTokenizerFast"},
	{"camembert", "Camembert", "roberta.", "CamembertTokenizerFast"},
	{"distilbert", "DistilBert", "distilbert.", "DistilBertTokenizerFast"},
	{"mpnet", "MPNet", "mpnet.", "MPNetTokenizerFast"},
	{"modernbert", "ModernBert", "model.", "PreTrainedTokenizerFast"},
	{"nomic_bert", "NomicBert", "", "BertTokenizerFast"},
	{"clip", "CLIPText", "text_model.", "CLIPTokenizerFast"},
	{"clip_text_model", "CLIPText", "text_model.", "CLIPTokenizerFast"},
	{"model2vec", "Static", "", "PreTrainedTokenizerFast"},
};

static const FamilyWords *
words_of(const char *family)
{
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		if (strcmp(families[i].family, family) == 0)
			return &families[i];
	return NULL;
}

const char *
ds_folder_prefix(const DsEncoderSpec *spec)
{
	const FamilyWords *words = words_of(spec->family);

	return words != NULL && (spec->scores || strncmp(spec->family, "clip", 4) == 0) ? words->prefix
																					: "";
}

const char *
ds_folder_tokenizer_class(const char *family)
{
	const FamilyWords *words = words_of(family);

	return words != NULL ? words->tokenizer : "PreTrainedTokenizerFast";
}

static const char *
activation_word(uint32_t activation, bool gated)
{
	switch (activation)
	{
		case DS_ACT_GELU:
			return "gelu";
		case DS_ACT_GELU_TANH:
			return "gelu_pytorch_tanh";
		case DS_ACT_QUICK_GELU:
			return "quick_gelu";
		case DS_ACT_RELU:
			return "relu";
		case DS_ACT_SILU:
			return gated ? "swiglu" : "silu";
		case DS_ACT_TANH:
			return "tanh";
		default:
			return NULL;
	}
}

static void
number(DsBuffer *out, const char *key, uint32_t value)
{
	ds_buffer_printf(out, ",\n  \"%s\": %u", key, value);
}

static void
real(DsBuffer *out, const char *key, float value)
{
	ds_buffer_printf(out, ",\n  \"%s\": %.9g", key, (double) value);
}

static void
word(DsBuffer *out, const char *key, const char *value)
{
	ds_buffer_printf(out, ",\n  \"%s\": \"%s\"", key, value);
}

static void
flag(DsBuffer *out, const char *key, bool value)
{
	ds_buffer_printf(out, ",\n  \"%s\": %s", key, value ? "true" : "false");
}

static void
bert_like(DsBuffer *out, const DsEncoderSpec *spec)
{
	number(out, "hidden_size", spec->hidden);
	number(out, "num_hidden_layers", spec->layers);
	number(out, "num_attention_heads", spec->heads);
	number(out, "intermediate_size", spec->intermediate);
	real(out, "layer_norm_eps", spec->norm_epsilon);
	number(out, "max_position_embeddings", spec->positions);
	number(out, "vocab_size", spec->vocabulary);
}

static void
bert(DsBuffer *out, const DsEncoderSpec *spec)
{
	bert_like(out, spec);
	word(out, "hidden_act", activation_word(spec->activation, false));
	number(out, "type_vocab_size", spec->types);
	word(out, "position_embedding_type", "absolute");
	/* rows of positions are counted from behind it in RoBERTa and its kin */
	number(out, "pad_token_id", spec->position_offset > 0 ? spec->position_offset - 1 : 0);
}

static void
mpnet(DsBuffer *out, const DsEncoderSpec *spec)
{
	bert_like(out, spec);
	word(out, "hidden_act", activation_word(spec->activation, false));
	number(out, "relative_attention_num_buckets", spec->relative_buckets);
	number(out, "pad_token_id", 1);
}

static void
distilbert(DsBuffer *out, const DsEncoderSpec *spec)
{
	number(out, "dim", spec->hidden);
	number(out, "n_layers", spec->layers);
	number(out, "n_heads", spec->heads);
	number(out, "hidden_dim", spec->intermediate);
	word(out, "activation", activation_word(spec->activation, false));
	number(out, "max_position_embeddings", spec->positions);
	number(out, "vocab_size", spec->vocabulary);
	number(out, "pad_token_id", 0);
}

static void
modernbert(DsBuffer *out, const DsEncoderSpec *spec)
{
	number(out, "hidden_size", spec->hidden);
	number(out, "num_hidden_layers", spec->layers);
	number(out, "num_attention_heads", spec->heads);
	number(out, "intermediate_size", spec->intermediate);
	number(out, "vocab_size", spec->vocabulary);
	number(out, "max_position_embeddings", spec->max_tokens);
	real(out, "norm_eps", spec->norm_epsilon);
	flag(out, "norm_bias", spec->norm_bias != 0);
	flag(out, "attention_bias", spec->qkv_bias != 0);
	flag(out, "mlp_bias", spec->up_bias != 0);
	word(out, "hidden_activation", activation_word(spec->activation, false));
	number(out, "global_attn_every_n_layers", spec->global_every > 0 ? spec->global_every : 1);
	number(out, "local_attention", spec->window);
	real(out, "global_rope_theta", spec->rotary_base);
	if (spec->window_base > 0)
		real(out, "local_rope_theta", spec->window_base);
	if (spec->scores)
	{
		word(out, "classifier_pooling", spec->pooling == DS_POOL_MEAN ? "mean" : "cls");
		if (activation_word(spec->modules[0].activation, false) != NULL)
			word(out, "classifier_activation", activation_word(spec->modules[0].activation, false));
		flag(out, "classifier_bias", spec->modules[0].bias != 0);
	}
}

static void
nomic(DsBuffer *out, const DsEncoderSpec *spec)
{
	bool fused = spec->qkv_fused != 0;

	number(out, fused ? "n_embd" : "hidden_size", spec->hidden);
	number(out, fused ? "n_layer" : "num_hidden_layers", spec->layers);
	number(out, fused ? "n_head" : "num_attention_heads", spec->heads);
	number(out, fused ? "n_inner" : "intermediate_size", spec->intermediate);
	number(out, fused ? "n_positions" : "max_position_embeddings", spec->max_tokens);
	number(out, "type_vocab_size", spec->types);
	number(out, "vocab_size", spec->vocabulary);
	real(out, fused ? "layer_norm_epsilon" : "layer_norm_eps", spec->norm_epsilon);
	real(out, fused ? "rotary_emb_base" : "rope_theta", spec->rotary_base);
	real(out, "rotary_emb_fraction", (float) spec->rotary_dims / (float) spec->head_dims);
	flag(out, "rotary_emb_interleaved", spec->rotary_interleaved != 0);
	if (spec->rotary_scaling > 0)
	{
		real(out, "rotary_scaling_factor", spec->rotary_scaling);
		number(out, "max_trained_positions", spec->rotary_trained);
	}
	word(out, fused ? "activation_function" : "hidden_act",
		 activation_word(spec->activation, fused));
	flag(out, "qkv_proj_bias", spec->qkv_bias != 0);
	flag(out, "mlp_fc1_bias", spec->up_bias != 0);
	flag(out, "mlp_fc2_bias", spec->down_bias != 0);
	flag(out, "prenorm", false);
}

static void
clip(DsBuffer *out, const DsEncoderSpec *spec)
{
	bert_like(out, spec);
	word(out, "hidden_act", activation_word(spec->activation, false));
	number(out, "eos_token_id", spec->eot_id);
	if (spec->module_count > 0)
		number(out, "projection_dim", spec->modules[0].out);
}

static void
model2vec(DsBuffer *out, const DsEncoderSpec *spec)
{
	number(out, "hidden_dim", spec->hidden);
	number(out, "seq_length", spec->max_tokens);
	flag(out, "normalize", spec->module_count > 0 && spec->modules[0].kind == DS_MODULE_NORMALIZE);
}

/* Scores, and what is done with them */
static void
classes(DsBuffer *out, const DsEncoderSpec *spec, const char *head)
{
	uint32_t labels = (uint32_t) ds_spec_dims(spec);

	ds_buffer_text(out, ",\n  \"id2label\": {");
	for (uint32_t i = 0; i < labels; i++)
		ds_buffer_printf(out, "%s\"%u\": \"LABEL_%u\"", i > 0 ? ", " : "", i, i);
	ds_buffer_text(out, "},\n  \"label2id\": {");
	for (uint32_t i = 0; i < labels; i++)
		ds_buffer_printf(out, "%s\"LABEL_%u\": %u", i > 0 ? ", " : "", i, i);
	ds_buffer_printf(out, "},\n  \"sentence_transformers\": {\"activation_fn\": \"%s\"}", head);
}

DsCode
ds_folder_config(const DsEncoderSpec *spec, const char *head, DsBuffer *out, DsStatus *status)
{
	static const struct
	{
		const char *family;
		void (*write)(DsBuffer *out, const DsEncoderSpec *spec);
	} writers[] = {{"bert", bert},
				   {"roberta", bert},
				   {"xlm-roberta", bert},
				   {"camembert", bert},
				   {"distilbert", distilbert},
				   {"mpnet", mpnet},
				   {"modernbert", modernbert},
				   {"nomic_bert", nomic},
				   {"clip", clip},
				   {"clip_text_model", clip},
				   {"model2vec", model2vec}};
	const FamilyWords *words = words_of(spec->family);

	if (strcmp(spec->family, "static") == 0)
		return DS_OK;
	if (words == NULL)
		return ds_fail(status, DS_UNSUPPORTED, "there is no config.json for the family \"%s\"",
					   spec->family);
	if (spec->kind != DS_ENCODER_STATIC && activation_word(spec->activation, false) == NULL)
		return ds_fail(status, DS_UNSUPPORTED, "the activation \"%s\" has no name in config.json",
					   ds_activation_name(spec->activation));
	if (spec->scores && head == NULL)
		return ds_fail(status, DS_UNSUPPORTED,
					   "the activation of the scores has no counterpart in config.json");
	/* the text tower alone has a type of its own */
	ds_buffer_printf(
		out, "{\n  \"model_type\": \"%s\",\n  \"architectures\": [\"%s%s\"]",
		strcmp(spec->family, "clip") == 0 ? "clip_text_model" : spec->family, words->model,
		spec->scores ? "ForSequenceClassification"
		: strncmp(spec->family, "clip", 4) == 0 && spec->module_count > 0 ? "ModelWithProjection"
																		  : "Model");
	for (size_t i = 0; i < sizeof(writers) / sizeof(writers[0]); i++)
		if (strcmp(writers[i].family, spec->family) == 0)
			writers[i].write(out, spec);
	if (spec->scores)
		classes(out, spec, head);
	ds_buffer_text(out, "\n}\n");
	return ds_buffer_check(out, status);
}
