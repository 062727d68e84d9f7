/*
 * families.c
 *		Families of encoders: what their config.json says, and what their tensors
 *		are called.
 *
 * A family is a function that reads the config into a DsEncoderSpec, and a
 * table of names.  Whether there are biases is asked of the file: a tensor
 * that is there counts.  Keys that change the computation in a way that is
 * not known here are refused.
 */
#include "format/families.h"

#include <math.h>
#include <string.h>

/* ---- helpers ---- */

static void
copy_string(DsJson value, char *out, size_t size)
{
	char buffer[256] = "";
	size_t n = 0;

	if (ds_json_kind(value) == DS_JSON_STRING && ds_json_string_size(value) <= sizeof(buffer))
		n = ds_json_string_copy(value, buffer);
	if (n >= size)
		n = size - 1;
	for (size_t i = 0; i < n; i++)
		out[i] = buffer[i] >= 32 && buffer[i] < 127 ? buffer[i] : '?';
	out[n] = '\0';
}

static DsCode
activation(Source *source, const char *key, const char *second, const char *otherwise,
		   uint32_t *out)
{
	static const struct
	{
		const char *name;
		DsActivation activation;
	} known[] = {{"gelu", DS_ACT_GELU},
				 {"gelu_new", DS_ACT_GELU_TANH},
				 {"gelu_pytorch_tanh", DS_ACT_GELU_TANH},
				 {"gelu_fast", DS_ACT_GELU_TANH},
				 {"gelu_python", DS_ACT_GELU},
				 {"quick_gelu", DS_ACT_QUICK_GELU},
				 {"relu", DS_ACT_RELU},
				 {"silu", DS_ACT_SILU},
				 {"swish", DS_ACT_SILU},
				 {"swiglu", DS_ACT_SILU}, /* of a gated layer */
				 {"tanh", DS_ACT_TANH}};
	DsJson value = ds_json_member(source->config, key);
	char name[64];

	if (ds_json_kind(value) == DS_JSON_ABSENT && second != NULL)
		value = ds_json_member(source->config, second);
	if (ds_json_kind(value) == DS_JSON_ABSENT)
		strcpy(name, otherwise);
	else
		copy_string(value, name, sizeof(name));
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, name) == 0)
		{
			*out = known[i].activation;
			return DS_OK;
		}
	return ds_fail(source->status, DS_UNSUPPORTED,
				   "%s: the activation \"%s\" (%s) is not supported", source->config_name, name,
				   key);
}

/* A key may be absent, null, or this word. */
static DsCode
only(Source *source, const char *key, const char *word)
{
	DsJson value = ds_json_member(source->config, key);
	char name[64];

	if (ds_json_kind(value) == DS_JSON_ABSENT || ds_json_kind(value) == DS_JSON_NULL ||
		(ds_json_kind(value) == DS_JSON_STRING && ds_json_string_is(value, word)))
		return DS_OK;
	copy_string(value, name, sizeof(name));
	return ds_fail(source->status, DS_UNSUPPORTED, "%s: %s \"%s\" is not supported",
				   source->config_name, key, name);
}

/* A key may be absent, null, or this truth value. */
static DsCode
only_bool(Source *source, const char *key, bool expected)
{
	DsJson value = ds_json_member(source->config, key);
	bool flag;

	if (!ds_json_bool(value, &flag) || flag == expected)
		return DS_OK;
	return ds_fail(source->status, DS_UNSUPPORTED, "%s: %s %s is not supported",
				   source->config_name, key, flag ? "true" : "false");
}

/* A key may be absent, null, or this number (none if it is negative). */
static DsCode
only_number(Source *source, const char *key, int64_t expected)
{
	DsJson value = ds_json_member(source->config, key);
	int64_t number;

	if (ds_json_kind(value) == DS_JSON_ABSENT || ds_json_kind(value) == DS_JSON_NULL ||
		(ds_json_integer(value, &number) && number == expected))
		return DS_OK;
	return ds_fail(source->status, DS_UNSUPPORTED, "%s: %s is not supported", source->config_name,
				   key);
}

static DsCode
heads(Source *source, DsEncoderSpec *spec, const char *key, const char *second)
{
	TRY(ds_source_number(source, key, second, DS_REQUIRED, &spec->heads));
	if (spec->heads == 0 || spec->hidden % spec->heads != 0)
		return ds_fail(source->status, DS_BAD_DATA, "%s: %u heads do not divide a width of %u",
					   source->config_name, spec->heads, spec->hidden);
	spec->head_dims = spec->hidden / spec->heads;
	return DS_OK;
}

/* Which biases are there?  What the first layer has, all have. */
static void
find_biases(Source *source, DsEncoderSpec *spec)
{
	spec->qkv_bias =
		ds_source_tensor(source, spec->qkv_fused ? "layer.0.attention.qkv.bias"
												 : "layer.0.attention.query.bias") != NULL;
	spec->out_bias = ds_source_tensor(source, "layer.0.attention.out.bias") != NULL;
	spec->up_bias = ds_source_tensor(source, spec->gate_up_fused ? "layer.0.mlp.gate_up.bias"
																 : "layer.0.mlp.up.bias") != NULL;
	spec->down_bias = ds_source_tensor(source, "layer.0.mlp.down.bias") != NULL;
	spec->norm_bias = ds_source_tensor(source, "layer.0.mlp.norm.bias") != NULL;
}

static void
add_dense(DsEncoderSpec *spec, uint32_t in, uint32_t out, DsActivation act, bool bias)
{
	DsSpecModule *module = &spec->modules[spec->module_count++];

	*module = (DsSpecModule){
		.kind = DS_MODULE_DENSE, .in = in, .out = out, .activation = act, .bias = bias};
}

/* ---- BERT and what is built like it ---- */

static DsCode
read_bert_like(Source *source, DsEncoderSpec *spec, bool types)
{
	TRY(ds_source_number(source, "hidden_size", NULL, DS_REQUIRED, &spec->hidden));
	TRY(ds_source_number(source, "num_hidden_layers", NULL, DS_REQUIRED, &spec->layers));
	TRY(ds_source_number(source, "intermediate_size", NULL, DS_REQUIRED, &spec->intermediate));
	TRY(ds_source_number(source, "vocab_size", NULL, DS_REQUIRED, &spec->vocabulary));
	TRY(ds_source_number(source, "max_position_embeddings", NULL, DS_REQUIRED, &spec->positions));
	if (types)
		TRY(ds_source_number(source, "type_vocab_size", NULL, 2, &spec->types));
	TRY(ds_source_real(source, "layer_norm_eps", NULL, 1e-12, &spec->norm_epsilon));
	TRY(heads(source, spec, "num_attention_heads", NULL));
	TRY(activation(source, "hidden_act", NULL, "gelu", &spec->activation));
	TRY(only(source, "position_embedding_type", "absolute"));
	TRY(only_bool(source, "is_decoder", false));
	spec->embedding_norm = 1;
	spec->max_tokens = spec->positions;
	find_biases(source, spec);
	return DS_OK;
}

static DsCode
read_bert(Source *source, DsEncoderSpec *spec)
{
	return read_bert_like(source, spec, true);
}

/* positions count from the padding token's number on */
static DsCode
shift_positions(Source *source, DsEncoderSpec *spec)
{
	uint32_t pad;

	TRY(ds_source_number(source, "pad_token_id", NULL, 1, &pad));
	spec->position_offset = pad + 1;
	if (spec->position_offset >= spec->positions)
		return ds_fail(source->status, DS_BAD_DATA, "%s: pad_token_id %u leaves no positions of %u",
					   source->config_name, pad, spec->positions);
	spec->max_tokens = spec->positions - spec->position_offset;
	return DS_OK;
}

static DsCode
read_roberta(Source *source, DsEncoderSpec *spec)
{
	TRY(read_bert_like(source, spec, true));
	return shift_positions(source, spec);
}

static DsCode
read_mpnet(Source *source, DsEncoderSpec *spec)
{
	TRY(read_bert_like(source, spec, false));
	TRY(ds_source_number(source, "relative_attention_num_buckets", NULL, 32,
						 &spec->relative_buckets));
	spec->relative_distance = 128;
	/* this family has it fixed */
	spec->position_offset = 2;
	if (spec->positions <= 2)
		return ds_fail(source->status, DS_BAD_DATA, "%s: max_position_embeddings is %u",
					   source->config_name, spec->positions);
	spec->max_tokens = spec->positions - 2;
	return DS_OK;
}

static DsCode
read_distilbert(Source *source, DsEncoderSpec *spec)
{
	TRY(ds_source_number(source, "dim", "hidden_size", DS_REQUIRED, &spec->hidden));
	TRY(ds_source_number(source, "n_layers", "num_hidden_layers", DS_REQUIRED, &spec->layers));
	TRY(ds_source_number(source, "hidden_dim", "intermediate_size", DS_REQUIRED,
						 &spec->intermediate));
	TRY(ds_source_number(source, "vocab_size", NULL, DS_REQUIRED, &spec->vocabulary));
	TRY(ds_source_number(source, "max_position_embeddings", NULL, DS_REQUIRED, &spec->positions));
	TRY(heads(source, spec, "n_heads", "num_attention_heads"));
	TRY(activation(source, "activation", NULL, "gelu", &spec->activation));
	spec->norm_epsilon = 1e-12f;
	spec->embedding_norm = 1;
	spec->max_tokens = spec->positions;
	find_biases(source, spec);
	return DS_OK;
}

#define LAYER "layer.#."
#define BERT_NAMES(layers)                                                                        \
	{"token.weight", "embeddings.word_embeddings.weight"},                                        \
		{"position.weight", "embeddings.position_embeddings.weight"},                             \
		{"type.weight", "embeddings.token_type_embeddings.weight"},                               \
		{"embedding.norm", "embeddings.LayerNorm"},                                               \
		{LAYER "attention.query", layers "attention.self.query"},                                 \
		{LAYER "attention.key", layers "attention.self.key"},                                     \
		{LAYER "attention.value", layers "attention.self.value"},                                 \
		{LAYER "attention.out", layers "attention.output.dense"},                                 \
		{LAYER "attention.norm", layers "attention.output.LayerNorm"},                            \
		{LAYER "mlp.up", layers "intermediate.dense"}, {LAYER "mlp.down", layers "output.dense"}, \
	{                                                                                             \
		LAYER "mlp.norm", layers "output.LayerNorm"                                               \
	}

static const Name bert_names[] = {BERT_NAMES("encoder.layer.#."), {NULL, NULL}};

static const Name distilbert_names[] = {
	{"token.weight", "embeddings.word_embeddings.weight"},
	{"position.weight", "embeddings.position_embeddings.weight"},
	{"embedding.norm", "embeddings.LayerNorm"},
	{LAYER "attention.query", "transformer.layer.#.attention.q_lin"},
	{LAYER "attention.key", "transformer.layer.#.attention.k_lin"},
	{LAYER "attention.value", "transformer.layer.#.attention.v_lin"},
	{LAYER "attention.out", "transformer.layer.#.attention.out_lin"},
	{LAYER "attention.norm", "transformer.layer.#.sa_layer_norm"},
	{LAYER "mlp.up", "transformer.layer.#.ffn.lin1"},
	{LAYER "mlp.down", "transformer.layer.#.ffn.lin2"},
	{LAYER "mlp.norm", "transformer.layer.#.output_layer_norm"},
	{NULL, NULL}};

static const Name mpnet_names[] = {{"token.weight", "embeddings.word_embeddings.weight"},
								   {"position.weight", "embeddings.position_embeddings.weight"},
								   {"embedding.norm", "embeddings.LayerNorm"},
								   {"relative.weight", "encoder.relative_attention_bias.weight"},
								   {LAYER "attention.query", "encoder.layer.#.attention.attn.q"},
								   {LAYER "attention.key", "encoder.layer.#.attention.attn.k"},
								   {LAYER "attention.value", "encoder.layer.#.attention.attn.v"},
								   {LAYER "attention.out", "encoder.layer.#.attention.attn.o"},
								   {LAYER "attention.norm", "encoder.layer.#.attention.LayerNorm"},
								   {LAYER "mlp.up", "encoder.layer.#.intermediate.dense"},
								   {LAYER "mlp.down", "encoder.layer.#.output.dense"},
								   {LAYER "mlp.norm", "encoder.layer.#.output.LayerNorm"},
								   {NULL, NULL}};

/* TensorFlow's: kernels are stored the other way round */
#define TF_LAYER "bert/encoder/layer_#/"
static const Name tf_bert_names[] = {
	{"token.weight", "bert/embeddings/word_embeddings"},
	{"position.weight", "bert/embeddings/position_embeddings"},
	{"type.weight", "bert/embeddings/token_type_embeddings"},
	{"embedding.norm.weight", "bert/embeddings/LayerNorm/gamma"},
	{"embedding.norm.bias", "bert/embeddings/LayerNorm/beta"},
	{LAYER "attention.query.weight_t", TF_LAYER "attention/self/query/kernel"},
	{LAYER "attention.query.bias", TF_LAYER "attention/self/query/bias"},
	{LAYER "attention.key.weight_t", TF_LAYER "attention/self/key/kernel"},
	{LAYER "attention.key.bias", TF_LAYER "attention/self/key/bias"},
	{LAYER "attention.value.weight_t", TF_LAYER "attention/self/value/kernel"},
	{LAYER "attention.value.bias", TF_LAYER "attention/self/value/bias"},
	{LAYER "attention.out.weight_t", TF_LAYER "attention/output/dense/kernel"},
	{LAYER "attention.out.bias", TF_LAYER "attention/output/dense/bias"},
	{LAYER "attention.norm.weight", TF_LAYER "attention/output/LayerNorm/gamma"},
	{LAYER "attention.norm.bias", TF_LAYER "attention/output/LayerNorm/beta"},
	{LAYER "mlp.up.weight_t", TF_LAYER "intermediate/dense/kernel"},
	{LAYER "mlp.up.bias", TF_LAYER "intermediate/dense/bias"},
	{LAYER "mlp.down.weight_t", TF_LAYER "output/dense/kernel"},
	{LAYER "mlp.down.bias", TF_LAYER "output/dense/bias"},
	{LAYER "mlp.norm.weight", TF_LAYER "output/LayerNorm/gamma"},
	{LAYER "mlp.norm.bias", TF_LAYER "output/LayerNorm/beta"},
	{NULL, NULL}};

/* the heads: a dense layer over the first token, an activation, and a dense layer that gives scores */
static const Name bert_head[] = {
	{"module.0", "bert.pooler.dense"}, {"module.1", "classifier"}, {NULL, NULL}};
static const Name roberta_head[] = {
	{"module.0", "classifier.dense"}, {"module.1", "classifier.out_proj"}, {NULL, NULL}};
static const Name distilbert_head[] = {
	{"module.0", "pre_classifier"}, {"module.1", "classifier"}, {NULL, NULL}};

static DsCode
read_tanh_head(Source *source, DsEncoderSpec *spec, uint32_t labels)
{
	(void) source;
	spec->pooling = DS_POOL_CLS;
	add_dense(spec, spec->hidden, spec->hidden, DS_ACT_TANH, true);
	add_dense(spec, spec->hidden, labels, DS_ACT_IDENTITY, true);
	return DS_OK;
}

static DsCode
read_relu_head(Source *source, DsEncoderSpec *spec, uint32_t labels)
{
	TRY(read_tanh_head(source, spec, labels));
	spec->modules[0].activation = DS_ACT_RELU;
	return DS_OK;
}

/* ---- ModernBERT ---- */

/* The theta of one kind of layers as newer configs give it; other kinds of rotation are not known */
static DsCode
modernbert_theta(Source *source, const char *kind, float *theta)
{
	DsJson rope = ds_json_member(ds_json_member(source->config, "rope_parameters"), kind);
	DsJson type = ds_json_member(rope, "rope_type");
	double number;

	if (ds_json_kind(type) == DS_JSON_STRING && !ds_json_string_is(type, "default"))
		return ds_fail(source->status, DS_UNSUPPORTED, "%s: rope_type of %s is not supported",
					   source->config_name, kind);
	if (ds_json_double(ds_json_member(rope, "rope_theta"), &number))
	{
		if (!(number > 0 && number < 1e30))
			return ds_fail(source->status, DS_BAD_DATA, "%s: rope_theta of %s makes no sense",
						   source->config_name, kind);
		*theta = (float) number;
	}
	return DS_OK;
}

/* Newer configs: rope_parameters by kind of layer, and layer_types, which must be a regular pattern */
static DsCode
modernbert_ropes(Source *source, DsEncoderSpec *spec)
{
	DsJson types = ds_json_member(source->config, "layer_types");
	DsJson scaling = ds_json_member(source->config, "rope_scaling");
	bool said = ds_json_kind(ds_json_member(source->config, "global_attn_every_n_layers")) ==
				DS_JSON_NUMBER;
	uint32_t layer = 0;

	if (ds_json_kind(scaling) == DS_JSON_OBJECT)
		return ds_fail(source->status, DS_UNSUPPORTED, "%s: rope_scaling is not supported",
					   source->config_name);
	TRY(modernbert_theta(source, "full_attention", &spec->rotary_base));
	TRY(modernbert_theta(source, "sliding_attention", &spec->window_base));
	if (ds_json_kind(types) != DS_JSON_ARRAY)
		return DS_OK;
	/* the second global layer tells the distance; without one only the first is global */
	if (!said)
	{
		spec->global_every = DS_SPEC_MAX_LAYERS;
		for (DsJsonItem item = ds_json_items(types); ds_json_next(&item); layer++)
			if (layer > 0 && layer < spec->global_every &&
				ds_json_string_is(item.value, "full_attention"))
				spec->global_every = layer;
	}
	layer = 0;
	for (DsJsonItem item = ds_json_items(types); ds_json_next(&item); layer++)
		if (!ds_json_string_is(item.value, spec->global_every > 1 && layer % spec->global_every != 0
											   ? "sliding_attention"
											   : "full_attention"))
			break;
	if (layer < spec->layers)
		return ds_fail(source->status, DS_UNSUPPORTED,
					   "%s: layer_types that are no regular pattern are not supported",
					   source->config_name);
	return DS_OK;
}

static DsCode
read_modernbert(Source *source, DsEncoderSpec *spec)
{
	TRY(ds_source_number(source, "hidden_size", NULL, DS_REQUIRED, &spec->hidden));
	TRY(ds_source_number(source, "num_hidden_layers", NULL, DS_REQUIRED, &spec->layers));
	TRY(ds_source_number(source, "intermediate_size", NULL, DS_REQUIRED, &spec->intermediate));
	TRY(ds_source_number(source, "vocab_size", NULL, DS_REQUIRED, &spec->vocabulary));
	TRY(ds_source_number(source, "max_position_embeddings", NULL, 8192, &spec->max_tokens));
	TRY(ds_source_number(source, "global_attn_every_n_layers", NULL, 3, &spec->global_every));
	TRY(ds_source_number(source, "local_attention", NULL, 128, &spec->window));
	TRY(ds_source_real(source, "norm_eps", "layer_norm_eps", 1e-5, &spec->norm_epsilon));
	TRY(ds_source_real(source, "global_rope_theta", NULL, 160000, &spec->rotary_base));
	TRY(ds_source_real(source, "local_rope_theta", NULL, 10000, &spec->window_base));
	TRY(heads(source, spec, "num_attention_heads", NULL));
	TRY(activation(source, "hidden_activation", NULL, "gelu", &spec->activation));
	TRY(modernbert_ropes(source, spec));
	if (spec->global_every <= 1)
	{
		spec->global_every = spec->window = 0;
		spec->window_base = 0;
	}
	spec->embedding_norm = spec->norm_first = spec->first_norm_absent = spec->final_norm = 1;
	spec->gated = spec->qkv_fused = spec->gate_up_fused = 1;
	spec->rotary_dims = spec->head_dims;
	find_biases(source, spec);
	return DS_OK;
}

static const Name modernbert_names[] = {{"token.weight", "embeddings.tok_embeddings.weight"},
										{"embedding.norm", "embeddings.norm"},
										{LAYER "attention.norm", "layers.#.attn_norm"},
										{LAYER "attention.qkv", "layers.#.attn.Wqkv"},
										{LAYER "attention.out", "layers.#.attn.Wo"},
										{LAYER "mlp.norm", "layers.#.mlp_norm"},
										{LAYER "mlp.gate_up", "layers.#.mlp.Wi"},
										{LAYER "mlp.down", "layers.#.mlp.Wo"},
										{"final.norm", "final_norm"},
										{NULL, NULL}};
static const Name modernbert_head[] = {{"module.0", "head.dense"},
									   {"module.1", "head.norm"},
									   {"module.2", "classifier"},
									   {NULL, NULL}};

static DsCode
read_modernbert_head(Source *source, DsEncoderSpec *spec, uint32_t labels)
{
	DsJson pooling = ds_json_member(source->config, "classifier_pooling");
	uint32_t act;

	TRY(activation(source, "classifier_activation", NULL, "gelu", &act));
	if (ds_json_kind(pooling) == DS_JSON_STRING && ds_json_string_is(pooling, "mean"))
		spec->pooling = DS_POOL_MEAN;
	else
	{
		TRY(only(source, "classifier_pooling", "cls"));
		spec->pooling = DS_POOL_CLS;
	}
	add_dense(spec, spec->hidden, spec->hidden, (DsActivation) act,
			  ds_source_tensor(source, "module.0.bias") != NULL);
	spec->modules[spec->module_count++] =
		(DsSpecModule){.kind = DS_MODULE_NORM,
					   .in = spec->hidden,
					   .out = spec->hidden,
					   .bias = ds_source_tensor(source, "module.1.bias") != NULL,
					   .epsilon = spec->norm_epsilon};
	add_dense(spec, spec->hidden, labels, DS_ACT_IDENTITY,
			  ds_source_tensor(source, "module.2.bias") != NULL);
	return DS_OK;
}

/* ---- NomicBERT: as its authors write it, and as transformers does ---- */

static const Name nomic_names[] = {
	{"token.weight", "embeddings.word_embeddings.weight"},
	{"type.weight", "embeddings.token_type_embeddings.weight"},
	{"embedding.norm", "emb_ln"},
	{"embedding.norm", "embeddings.LayerNorm"},
	{LAYER "attention.qkv", "encoder.layers.#.attn.Wqkv"},
	{LAYER "attention.out", "encoder.layers.#.attn.out_proj"},
	{LAYER "attention.norm", "encoder.layers.#.norm1"},
	{LAYER "mlp.up", "encoder.layers.#.mlp.fc11"},
	{LAYER "mlp.gate", "encoder.layers.#.mlp.fc12"},
	{LAYER "mlp.down", "encoder.layers.#.mlp.fc2"},
	{LAYER "mlp.norm", "encoder.layers.#.norm2"},
	{LAYER "attention.query", "encoder.layer.#.attention.self.query"},
	{LAYER "attention.key", "encoder.layer.#.attention.self.key"},
	{LAYER "attention.value", "encoder.layer.#.attention.self.value"},
	{LAYER "attention.out", "encoder.layer.#.attention.output.dense"},
	{LAYER "attention.norm", "encoder.layer.#.attention.output.LayerNorm"},
	{LAYER "mlp.up", "encoder.layer.#.mlp.up"},
	{LAYER "mlp.gate", "encoder.layer.#.mlp.gate"},
	{LAYER "mlp.down", "encoder.layer.#.mlp.down"},
	{LAYER "mlp.norm", "encoder.layer.#.mlp.LayerNorm"},
	{NULL, NULL}};

static DsCode
read_nomic(Source *source, DsEncoderSpec *spec)
{
	float fraction;
	bool interleaved = false;

	TRY(ds_source_number(source, "n_embd", "hidden_size", DS_REQUIRED, &spec->hidden));
	TRY(ds_source_number(source, "n_layer", "num_hidden_layers", DS_REQUIRED, &spec->layers));
	TRY(ds_source_number(source, "n_inner", "intermediate_size", DS_REQUIRED, &spec->intermediate));
	TRY(ds_source_number(source, "vocab_size", NULL, DS_REQUIRED, &spec->vocabulary));
	TRY(ds_source_number(source, "n_positions", "max_position_embeddings", 2048,
						 &spec->max_tokens));
	TRY(ds_source_number(source, "type_vocab_size", NULL, 0, &spec->types));
	TRY(ds_source_real(source, "layer_norm_epsilon", "layer_norm_eps", 1e-12, &spec->norm_epsilon));
	TRY(ds_source_real(source, "rotary_emb_base", "rope_theta", 10000, &spec->rotary_base));
	TRY(ds_source_real(source, "rotary_emb_fraction", NULL, 1, &fraction));
	TRY(heads(source, spec, "n_head", "num_attention_heads"));
	TRY(activation(source, "activation_function", "hidden_act", "swiglu", &spec->activation));
	TRY(only(source, "position_embedding_type", "rotary"));
	TRY(only_bool(source, "prenorm", false));
	TRY(only_bool(source, "parallel_block", false));
	TRY(only_bool(source, "use_rms_norm", false));
	TRY(only_bool(source, "causal", false));
	TRY(only_bool(source, "rotary_head_dim", false));
	TRY(only_number(source, "moe_every_n_layers", 0));
	TRY(only_number(source, "rotary_emb_scale_base", -1));
	TRY(only_number(source, "num_heads_kv", spec->heads));
	(void) ds_json_bool(ds_json_member(source->config, "rotary_emb_interleaved"), &interleaved);
	spec->rotary_interleaved = interleaved;
	spec->rotary_dims = (uint32_t) lroundf((float) spec->head_dims * fraction);
	if (ds_json_kind(ds_json_member(source->config, "rotary_scaling_factor")) == DS_JSON_NUMBER)
	{
		TRY(ds_source_real(source, "rotary_scaling_factor", NULL, 0, &spec->rotary_scaling));
		TRY(ds_source_number(source, "max_trained_positions", NULL, 2048, &spec->rotary_trained));
	}
	spec->embedding_norm = spec->gated = 1;
	spec->qkv_fused = ds_source_tensor(source, "layer.0.attention.qkv.weight") != NULL;
	find_biases(source, spec);
	return DS_OK;
}

/* ---- the text towers of CLIP ---- */

static DsCode
finish_clip(Source *source, DsEncoderSpec *spec, const char *projection)
{
	const DsTensorInfo *tensor = ds_source_tensor(source, projection);

	spec->max_tokens = spec->positions;
	spec->norm_first = spec->final_norm = spec->causal = 1;
	spec->pooling = DS_POOL_EOT;
	find_biases(source, spec);
	if (tensor != NULL && tensor->rank == 2)
		add_dense(spec, spec->hidden,
				  (uint32_t) tensor->shape[strstr(projection, "_t") != NULL ? 1 : 0],
				  DS_ACT_IDENTITY, false);
	return DS_OK;
}

static DsCode
read_clip(Source *source, DsEncoderSpec *spec)
{
	DsJson text = ds_json_member(source->config, "text_config");

	if (ds_json_kind(text) == DS_JSON_OBJECT)
		source->config = text;
	TRY(ds_source_number(source, "hidden_size", NULL, 512, &spec->hidden));
	TRY(ds_source_number(source, "num_hidden_layers", NULL, 12, &spec->layers));
	TRY(ds_source_number(source, "intermediate_size", NULL, 2048, &spec->intermediate));
	TRY(ds_source_number(source, "vocab_size", NULL, 49408, &spec->vocabulary));
	TRY(ds_source_number(source, "max_position_embeddings", NULL, 77, &spec->positions));
	TRY(ds_source_real(source, "layer_norm_eps", NULL, 1e-5, &spec->norm_epsilon));
	TRY(ds_source_number(source, "eos_token_id", NULL, 49407, &spec->eot_id));
	if (ds_json_kind(ds_json_member(source->config, "num_attention_heads")) == DS_JSON_ABSENT)
	{
		spec->heads = 8;
		spec->head_dims = spec->hidden / 8;
	}
	else
		TRY(heads(source, spec, "num_attention_heads", NULL));
	TRY(activation(source, "hidden_act", NULL, "quick_gelu", &spec->activation));
	/* configs of old say 2, and mean the token with the highest number, which is the same one */
	if (spec->eot_id == 2)
		spec->eot_id = spec->vocabulary - 1;
	return finish_clip(source, spec, "module.0.weight");
}

static const Name clip_names[] = {{"token.weight", "embeddings.token_embedding.weight"},
								  {"position.weight", "embeddings.position_embedding.weight"},
								  {LAYER "attention.norm", "encoder.layers.#.layer_norm1"},
								  {LAYER "attention.query", "encoder.layers.#.self_attn.q_proj"},
								  {LAYER "attention.key", "encoder.layers.#.self_attn.k_proj"},
								  {LAYER "attention.value", "encoder.layers.#.self_attn.v_proj"},
								  {LAYER "attention.out", "encoder.layers.#.self_attn.out_proj"},
								  {LAYER "mlp.norm", "encoder.layers.#.layer_norm2"},
								  {LAYER "mlp.up", "encoder.layers.#.mlp.fc1"},
								  {LAYER "mlp.down", "encoder.layers.#.mlp.fc2"},
								  {"final.norm", "final_layer_norm"},
								  {"module.0.weight", "text_projection.weight"},
								  {NULL, NULL}};

static DsCode
read_open_clip(Source *source, DsEncoderSpec *spec)
{
	DsJson model = ds_json_member(source->config, "model_cfg");
	DsJson text = ds_json_member(model, "text_cfg");
	bool quick = false;
	float ratio;

	if (ds_json_kind(text) != DS_JSON_OBJECT)
		return ds_fail(source->status, DS_BAD_DATA, "%s has no model_cfg.text_cfg",
					   source->config_name);
	(void) ds_json_bool(ds_json_member(model, "quick_gelu"), &quick);
	source->config = text;
	if (ds_json_kind(ds_json_member(text, "hf_model_name")) == DS_JSON_STRING)
		return ds_fail(source->status, DS_UNSUPPORTED,
					   "%s: a text tower of another library (hf_model_name) is not supported",
					   source->config_name);
	TRY(ds_source_number(source, "width", NULL, DS_REQUIRED, &spec->hidden));
	TRY(ds_source_number(source, "layers", NULL, DS_REQUIRED, &spec->layers));
	TRY(ds_source_number(source, "vocab_size", NULL, 49408, &spec->vocabulary));
	TRY(ds_source_number(source, "context_length", NULL, 77, &spec->positions));
	TRY(ds_source_real(source, "mlp_ratio", NULL, 4, &ratio));
	TRY(heads(source, spec, "heads", NULL));
	TRY(only(source, "pool_type", "argmax"));
	TRY(only_bool(source, "embed_cls", false));
	TRY(only_bool(source, "final_ln_after_pool", false));
	TRY(only_bool(source, "proj_bias", false));
	TRY(only_number(source, "ls_init_value", -1));
	TRY(only(source, "proj_type", "linear"));
	TRY(only_bool(source, "no_causal_mask", false));
	if (!(ratio * (float) spec->hidden < DS_SPEC_MAX_INTERMEDIATE))
		return ds_fail(source->status, DS_BAD_DATA, "%s: mlp_ratio is too large",
					   source->config_name);
	spec->intermediate = (uint32_t) ((float) spec->hidden * ratio);
	spec->activation = quick ? DS_ACT_QUICK_GELU : DS_ACT_GELU;
	spec->norm_epsilon = 1e-5f;
	spec->qkv_fused = 1;
	/* the end of a text is the token with the highest number */
	spec->eot_id = spec->vocabulary - 1;
	return finish_clip(source, spec, "module.0.weight_t");
}

static const Name open_clip_names[] = {
	{"token.weight", "token_embedding.weight"},
	{"position.weight", "positional_embedding"},
	{LAYER "attention.norm", "transformer.resblocks.#.ln_1"},
	{LAYER "attention.qkv.weight", "transformer.resblocks.#.attn.in_proj_weight"},
	{LAYER "attention.qkv.bias", "transformer.resblocks.#.attn.in_proj_bias"},
	{LAYER "attention.out", "transformer.resblocks.#.attn.out_proj"},
	{LAYER "mlp.norm", "transformer.resblocks.#.ln_2"},
	{LAYER "mlp.up", "transformer.resblocks.#.mlp.c_fc"},
	{LAYER "mlp.down", "transformer.resblocks.#.mlp.c_proj"},
	{"final.norm", "ln_final"},
	{"module.0.weight_t", "text_projection"},
	{NULL, NULL}};

/* ---- static embeddings ---- */

/*
 * A table with as many rows as there are tokens has each token's row in its
 * place: that is how a description says that there is no mapping.
 */
static DsCode
check_identity(Source *source, const DsTensorInfo *rows)
{
	float values[1024];

	for (uint64_t first = 0; first < rows->elements; first += 1024)
	{
		size_t n = rows->elements - first < 1024 ? (size_t) (rows->elements - first) : 1024;

		TRY(ds_tensors_read_floats(source->files, rows, first, n, values, source->status));
		for (size_t i = 0; i < n; i++)
			if (values[i] != (float) (first + i))
				return ds_fail(
					source->status, DS_UNSUPPORTED,
					"tensor \"%s\" gives token %llu the row %g, of as many rows as there "
					"are tokens, which is not supported",
					rows->name, (unsigned long long) (first + i), (double) values[i]);
	}
	return DS_OK;
}

static DsCode
read_static(Source *source, DsEncoderSpec *spec)
{
	const DsTensorInfo *table = ds_source_tensor(source, "token.weight");
	const DsTensorInfo *rows = ds_source_tensor(source, "token.row");
	const DsTensorInfo *scale = ds_source_tensor(source, "token.scale");

	if (table == NULL)
		return ds_fail(source->status, DS_BAD_DATA, "there is no tensor \"embeddings\"");
	if (table->rank != 2 || table->shape[0] > DS_SPEC_MAX_VOCABULARY ||
		table->shape[1] > DS_SPEC_MAX_HIDDEN)
		return ds_fail(source->status, DS_BAD_DATA, "tensor \"%s\" is no table of embeddings",
					   table->name);
	spec->static_rows = spec->vocabulary = (uint32_t) table->shape[0];
	spec->hidden = (uint32_t) table->shape[1];
	if (rows != NULL)
	{
		if (rows->rank != 1 || rows->shape[0] > DS_SPEC_MAX_VOCABULARY)
			return ds_fail(source->status, DS_BAD_DATA,
						   "tensor \"%s\" is no list of the tokens' rows", rows->name);
		spec->vocabulary = (uint32_t) rows->shape[0];
		if (spec->vocabulary == spec->static_rows)
			TRY(check_identity(source, rows));
	}
	spec->token_weights = scale != NULL;
	return DS_OK;
}

static const Name static_names[] = {{"token.weight", "embeddings"},
									{"token.weight", "embedding.weight"},
									{"token.row", "mapping"},
									{"token.scale", "weights"},
									{NULL, NULL}};

/* ---- all of them ---- */

static const char *const no_prefix[] = {NULL};
static const char *const bert_prefix[] = {"bert.", "model.", "0.auto_model.", NULL};
static const char *const roberta_prefix[] = {"roberta.", "0.auto_model.", NULL};
static const char *const distilbert_prefix[] = {"distilbert.", NULL};
static const char *const mpnet_prefix[] = {"mpnet.", NULL};
static const char *const modernbert_prefix[] = {"model.", NULL};
static const char *const clip_prefix[] = {"text_model.", "clip.text_model.", NULL};
static const char *const open_clip_prefix[] = {"text.", NULL};

static const Family families[] = {
	{"bert", bert_prefix, bert_names, bert_head, read_bert, read_tanh_head},
	{"roberta", roberta_prefix, bert_names, roberta_head, read_roberta, read_tanh_head},
	{"xlm-roberta", roberta_prefix, bert_names, roberta_head, read_roberta, read_tanh_head},
	{"camembert", roberta_prefix, bert_names, roberta_head, read_roberta, read_tanh_head},
	{"distilbert", distilbert_prefix, distilbert_names, distilbert_head, read_distilbert,
	 read_relu_head},
	{"mpnet", mpnet_prefix, mpnet_names, roberta_head, read_mpnet, read_tanh_head},
	{"modernbert", modernbert_prefix, modernbert_names, modernbert_head, read_modernbert,
	 read_modernbert_head},
	{"nomic_bert", no_prefix, nomic_names, NULL, read_nomic, NULL},
	{"clip", clip_prefix, clip_names, NULL, read_clip, NULL},
	{"clip_text_model", clip_prefix, clip_names, NULL, read_clip, NULL},
	{"model2vec", no_prefix, static_names, NULL, read_static, NULL},
};
static const Family open_clip = {"open_clip", open_clip_prefix, open_clip_names,
								 NULL,		  read_open_clip,	NULL};
static const Family tf_bert = {"bert", no_prefix, tf_bert_names, NULL, read_bert, NULL};
static const Family static_embedding = {"static", no_prefix, static_names, NULL, read_static, NULL};

const Family *
ds_family_find(DsJson model_type)
{
	if (ds_json_kind(model_type) == DS_JSON_STRING)
		for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
			if (ds_json_string_is(model_type, families[i].model_type))
				return &families[i];
	return NULL;
}

const Family *
ds_family_named(const char *name)
{
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		if (strcmp(families[i].model_type, name) == 0)
			return &families[i];
	return strcmp(name, static_embedding.model_type) == 0 ? &static_embedding : NULL;
}

const Family *
ds_family_open_clip(void)
{
	return &open_clip;
}

const Family *
ds_family_tf_bert(void)
{
	return &tf_bert;
}

const Family *
ds_family_static(void)
{
	return &static_embedding;
}

const char *
ds_family_names(void)
{
	return "bert, roberta, xlm-roberta, camembert, distilbert, mpnet, modernbert, nomic_bert, "
		   "clip, OpenCLIP, model2vec, BERT of TensorFlow";
}
