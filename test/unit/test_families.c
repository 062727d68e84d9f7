/*
 * test_families.c
 *		Folders of every family, as their libraries name things, become the same
 *		description.
 *
 * A folder is made in memory: files given as text, and weights of zeros whose
 * names and shapes are listed here as the families' libraries write them.
 */
#include <string.h>

#include "family_folder.h"
#include "format/encoder_source.h"
#include "unit.h"

/* ---- checks ---- */

static DsArena arena;
static DsArena scratch;
static DsEncoderSource source;
static DsStatus status;

static DsCode
open_folder(void)
{
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	return ds_encoder_source_open(&folder, &arena, &scratch, &source, &status);
}

/* It opens, with all tensors of its description; then the folder is emptied. */
static void
opens(const char *what)
{
	DsCode code;

	if (find("tokenizer.json") == NULL && find("vocab.txt") == NULL)
		put_text("tokenizer.json",
				 "{\"model\":{\"unk_token\":\"[UNK]\",\"vocab\":{\"a\":0,\"[UNK]\":7}}}");
	code = open_folder();
	CHECK(code == DS_OK, "%s opens: %s", what, code == DS_OK ? "" : status.message);
	if (code == DS_OK)
		CHECK(source.tensor_count == ds_spec_tensors(&source.spec), "%s: %zu of %zu tensors", what,
			  source.tensor_count, ds_spec_tensors(&source.spec));
	clear();
}

/* It is refused with these words; then the folder is emptied. */
static void
refused(DsCode expected, const char *words)
{
	DsCode code;

	if (find("tokenizer.json") == NULL && find("vocab.txt") == NULL)
		put_text("tokenizer.json", "{}");
	code = open_folder();
	CHECK(code == expected && strstr(status.message, words) != NULL, "refused for %s: %d %s", words,
		  (int) code, code == DS_OK ? "" : status.message);
	clear();
}

static const char *
file_of(const char *neutral)
{
	for (size_t i = 0; i < source.tensor_count; i++)
		if (strcmp(source.tensors[i].name, neutral) == 0)
			return source.tensors[i].info->name;
	return "";
}

/* ---- the families: 8 wide, 2 layers of 2 heads, 16 between, 20 tokens ---- */

#define BERT_CONFIG                                                              \
	"\"hidden_size\":8,\"num_hidden_layers\":2,\"num_attention_heads\":2,"       \
	"\"intermediate_size\":16,\"hidden_act\":\"gelu\",\"layer_norm_eps\":1e-12," \
	"\"type_vocab_size\":2,\"max_position_embeddings\":30,\"pad_token_id\":1,\"vocab_size\":20"

static void
bert_weights(const char *prefix, unsigned types)
{
	static const char *const linear[] = {"attention.self.query", "attention.self.key",
										 "attention.self.value", "attention.output.dense"};
	char name[128];

#define NAMED(stem) (snprintf(name, sizeof(name), "%s%s", prefix, stem), name)
	begin_weights();
	weight(NAMED("embeddings.word_embeddings.weight"), 20, 8);
	weight(NAMED("embeddings.position_embeddings.weight"), 30, 8);
	weight(NAMED("embeddings.token_type_embeddings.weight"), types, 8);
	pair(NAMED("embeddings.LayerNorm"), 8, 0);
	for (size_t i = 0; i < 4; i++)
	{
		char stem[96];

		snprintf(stem, sizeof(stem), "encoder.layer.#.%s", linear[i]);
		pair(NAMED(stem), 8, 8);
	}
	pair(NAMED("encoder.layer.#.attention.output.LayerNorm"), 8, 0);
	pair(NAMED("encoder.layer.#.intermediate.dense"), 16, 8);
	pair(NAMED("encoder.layer.#.output.dense"), 8, 16);
	pair(NAMED("encoder.layer.#.output.LayerNorm"), 8, 0);
}

static void
test_bert(void)
{
	put_text("config.json", "{\"model_type\":\"bert\"," BERT_CONFIG "}");
	bert_weights("", 2);
	end_weights("model.safetensors");
	opens("BERT");
	CHECK(source.spec.pooling == DS_POOL_MEAN && source.spec.module_count == 0 &&
			  source.spec.max_tokens == 30 && source.spec.types == 2 && source.special &&
			  source.spec.scores == 0,
		  "BERT alone: the mean of its tokens");
	CHECK(strcmp(file_of("layer.1.mlp.down.weight"), "encoder.layer.1.output.dense.weight") == 0,
		  "its names");

	put_text("config.json", "{\"model_type\":\"bert\"," BERT_CONFIG "}");
	put_text("vocab.txt", "a\n");
	put_text("tokenizer_config.json",
			 "{\"do_lower_case\":false,\"strip_accents\":true,\"model_max_length\":25}");
	bert_weights("bert.", 2);
	end_weights("model.safetensors");
	opens("BERT with a prefix and vocab.txt");
	CHECK(source.vocab && !source.vocab_options.lowercase &&
			  source.vocab_options.strip_accents == 1 && source.vocab_options.chinese &&
			  source.spec.max_tokens == 25,
		  "the options of vocab.txt");

	put_text("config.json", "{\"model_type\":\"xlm-roberta\"," BERT_CONFIG "}");
	bert_weights("roberta.", 2);
	end_weights("model.safetensors");
	opens("XLM-RoBERTa");
	CHECK(source.spec.position_offset == 2 && source.spec.max_tokens == 28,
		  "its positions begin behind the padding's number");
}

static void
test_sentence(void)
{
	put_text("config.json", "{\"model_type\":\"bert\"," BERT_CONFIG "}");
	put_text("modules.json",
			 "[{\"path\":\"\",\"type\":\"sentence_transformers.models.Transformer\"},"
			 "{\"path\":\"1_Pooling\",\"type\":\"sentence_transformers.models.Pooling\"},"
			 "{\"path\":\"2_Dense\",\"type\":\"sentence_transformers.models.Dense\"},"
			 "{\"path\":\"3_Normalize\",\"type\":\"sentence_transformers.models.Normalize\"}]");
	put_text("1_Pooling/config.json",
			 "{\"pooling_mode_cls_token\":true,\"pooling_mode_mean_tokens\":true}");
	put_text("2_Dense/config.json",
			 "{\"in_features\":16,\"out_features\":4,\"bias\":false,"
			 "\"activation_function\":\"torch.nn.modules.linear.Identity\"}");
	begin_weights();
	weight("linear.weight", 4, 16);
	end_weights("2_Dense/model.safetensors");
	put_text("sentence_bert_config.json", "{\"max_seq_length\":12,\"do_lower_case\":false}");
	put_text("config_sentence_transformers.json",
			 "{\"prompts\":{\"query\":\"q: \",\"passage\":\"p: \"},\"default_prompt_name\":null}");
	bert_weights("", 2);
	end_weights("model.safetensors");
	opens("a sentence transformer");
	CHECK(source.spec.pooling == (DS_POOL_CLS | DS_POOL_MEAN) && source.spec.module_count == 2 &&
			  source.spec.modules[0].kind == DS_MODULE_DENSE &&
			  source.spec.modules[0].activation == DS_ACT_IDENTITY &&
			  source.spec.modules[0].bias == 0 &&
			  source.spec.modules[1].kind == DS_MODULE_NORMALIZE &&
			  ds_spec_dims(&source.spec) == 4 && source.spec.max_tokens == 12,
		  "poolings, dense, normalisation, length");
	CHECK(strcmp(file_of("module.0.weight"), "linear.weight") == 0, "the dense layer's own file");
	CHECK(strcmp(source.prompt[0], "q: ") == 0 && strcmp(source.prompt[1], "p: ") == 0, "prompts");
}

static void
test_heads(void)
{
	put_text("config.json", "{\"model_type\":\"bert\",\"architectures\":"
							"[\"BertForSequenceClassification\"]," BERT_CONFIG "}");
	bert_weights("bert.", 2);
	pair("bert.pooler.dense", 8, 8);
	pair("classifier", 1, 8);
	end_weights("model.safetensors");
	opens("a cross-encoder of BERT");
	CHECK(source.spec.scores == 1 && source.spec.pooling == DS_POOL_CLS &&
			  source.spec.modules[0].activation == DS_ACT_TANH &&
			  source.spec.modules[1].activation == DS_ACT_SIGMOID &&
			  ds_spec_dims(&source.spec) == 1,
		  "one score, between 0 and 1");

	put_text(
		"config.json",
		"{\"model_type\":\"roberta\",\"architectures\":[\"RobertaForSequenceClassification\"],"
		"\"sentence_transformers\":{\"activation_fn\":\"torch.nn.modules.linear.Identity\"}," BERT_CONFIG
		"}");
	bert_weights("roberta.", 2);
	pair("classifier.dense", 8, 8);
	pair("classifier.out_proj", 1, 8);
	end_weights("model.safetensors");
	opens("a cross-encoder of RoBERTa");
	CHECK(source.spec.modules[1].activation == DS_ACT_IDENTITY, "a score as it is");
}

static void
test_distilbert(void)
{
	put_text("config.json", "{\"model_type\":\"distilbert\",\"dim\":8,\"n_layers\":2,\"n_heads\":2,"
							"\"hidden_dim\":16,\"activation\":\"gelu\",\"vocab_size\":20,"
							"\"max_position_embeddings\":30}");
	begin_weights();
	weight("distilbert.embeddings.word_embeddings.weight", 20, 8);
	weight("distilbert.embeddings.position_embeddings.weight", 30, 8);
	pair("distilbert.embeddings.LayerNorm", 8, 0);
	pair("distilbert.transformer.layer.#.attention.q_lin", 8, 8);
	pair("distilbert.transformer.layer.#.attention.k_lin", 8, 8);
	pair("distilbert.transformer.layer.#.attention.v_lin", 8, 8);
	pair("distilbert.transformer.layer.#.attention.out_lin", 8, 8);
	pair("distilbert.transformer.layer.#.sa_layer_norm", 8, 0);
	pair("distilbert.transformer.layer.#.ffn.lin1", 16, 8);
	pair("distilbert.transformer.layer.#.ffn.lin2", 8, 16);
	pair("distilbert.transformer.layer.#.output_layer_norm", 8, 0);
	end_weights("model.safetensors");
	opens("DistilBERT");
	CHECK(source.spec.types == 0 && source.spec.positions == 30, "no types");
}

static void
test_mpnet(void)
{
	put_text("config.json",
			 "{\"model_type\":\"mpnet\",\"relative_attention_num_buckets\":32," BERT_CONFIG "}");
	begin_weights();
	weight("embeddings.word_embeddings.weight", 20, 8);
	weight("embeddings.position_embeddings.weight", 30, 8);
	pair("embeddings.LayerNorm", 8, 0);
	weight("encoder.relative_attention_bias.weight", 32, 2);
	pair("encoder.layer.#.attention.attn.q", 8, 8);
	pair("encoder.layer.#.attention.attn.k", 8, 8);
	pair("encoder.layer.#.attention.attn.v", 8, 8);
	pair("encoder.layer.#.attention.attn.o", 8, 8);
	pair("encoder.layer.#.attention.LayerNorm", 8, 0);
	pair("encoder.layer.#.intermediate.dense", 16, 8);
	pair("encoder.layer.#.output.dense", 8, 16);
	pair("encoder.layer.#.output.LayerNorm", 8, 0);
	end_weights("model.safetensors");
	opens("MPNet");
	CHECK(source.spec.relative_buckets == 32 && source.spec.position_offset == 2 &&
			  source.spec.max_tokens == 28,
		  "relative positions");
}

/* a folder of two layers with more of a config */
static void
modernbert(const char *more)
{
	char config[2048];

	snprintf(config, sizeof(config),
			 "{\"model_type\":\"modernbert\",\"hidden_size\":8,\"num_hidden_layers\":2,"
			 "\"num_attention_heads\":2,\"intermediate_size\":16,\"vocab_size\":20,"
			 "\"max_position_embeddings\":64,\"norm_eps\":1e-5,%s}",
			 more);
	put_text("config.json", config);
	begin_weights();
	weight("model.embeddings.tok_embeddings.weight", 20, 8);
	weight("model.embeddings.norm.weight", 8, 0);
	one_weight("model.layers.1.attn_norm.weight", 8, 0);
	weight("model.layers.#.attn.Wqkv.weight", 24, 8);
	weight("model.layers.#.attn.Wo.weight", 8, 8);
	weight("model.layers.#.mlp_norm.weight", 8, 0);
	weight("model.layers.#.mlp.Wi.weight", 32, 8);
	weight("model.layers.#.mlp.Wo.weight", 8, 16);
	weight("model.final_norm.weight", 8, 0);
	end_weights("model.safetensors");
}

static void
test_modernbert(void)
{
	modernbert("\"global_attn_every_n_layers\":3,\"local_attention\":16,"
			   "\"global_rope_theta\":160000.0,\"local_rope_theta\":10000.0");
	opens("ModernBERT");
	CHECK(source.spec.norm_bias == 0 && source.spec.qkv_bias == 0 && source.spec.window == 16 &&
			  source.spec.global_every == 3 && source.spec.rotary_dims == 4 &&
			  source.spec.window_base == 10000.0F && source.spec.rotary_base == 160000.0F &&
			  source.spec.gated == 1,
		  "local and global layers, rotation, no biases");

	/* the same as newer versions write it */
	modernbert("\"layer_types\":[\"full_attention\",\"sliding_attention\"],\"rope_parameters\":"
			   "{\"full_attention\":{\"rope_type\":\"default\",\"rope_theta\":170000.0},"
			   "\"sliding_attention\":{\"rope_type\":\"default\",\"rope_theta\":20000}}");
	opens("ModernBERT with rope_parameters");
	CHECK(source.spec.window_base == 20000.0F && source.spec.rotary_base == 170000.0F &&
			  source.spec.global_every > 1 && source.spec.window == 128,
		  "their theta, and a layer that is local");
	modernbert("\"layer_types\":[\"full_attention\",\"full_attention\"]");
	opens("ModernBERT with global layers");
	CHECK(source.spec.window == 0 && source.spec.global_every == 0, "which have no window");
	modernbert("\"layer_types\":[\"sliding_attention\",\"full_attention\"]");
	refused(DS_UNSUPPORTED, "layer_types");
	modernbert("\"global_attn_every_n_layers\":1,"
			   "\"layer_types\":[\"full_attention\",\"sliding_attention\"]");
	refused(DS_UNSUPPORTED, "layer_types");
	modernbert("\"layer_types\":[\"full_attention\"]");
	refused(DS_UNSUPPORTED, "layer_types");
	modernbert("\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"yarn\"}}");
	refused(DS_UNSUPPORTED, "rope_type of full_attention");
}

static void
test_nomic(void)
{
	put_text(
		"config.json",
		"{\"model_type\":\"nomic_bert\",\"n_embd\":8,\"n_layer\":2,\"n_head\":2,\"n_inner\":16,"
		"\"activation_function\":\"swiglu\",\"vocab_size\":20,\"type_vocab_size\":2,"
		"\"n_positions\":64,\"rotary_emb_fraction\":1.0,\"rotary_emb_base\":1000,"
		"\"rotary_emb_interleaved\":false,\"rotary_scaling_factor\":null,\"prenorm\":false,"
		"\"layer_norm_epsilon\":1e-12}");
	begin_weights();
	weight("embeddings.word_embeddings.weight", 20, 8);
	weight("embeddings.token_type_embeddings.weight", 2, 8);
	pair("emb_ln", 8, 0);
	weight("encoder.layers.#.attn.Wqkv.weight", 24, 8);
	weight("encoder.layers.#.attn.out_proj.weight", 8, 8);
	pair("encoder.layers.#.norm1", 8, 0);
	weight("encoder.layers.#.mlp.fc11.weight", 16, 8);
	weight("encoder.layers.#.mlp.fc12.weight", 16, 8);
	weight("encoder.layers.#.mlp.fc2.weight", 8, 16);
	pair("encoder.layers.#.norm2", 8, 0);
	end_weights("model.safetensors");
	opens("NomicBERT");
	CHECK(source.spec.gated == 1 && source.spec.activation == DS_ACT_SILU &&
			  source.spec.rotary_base == 1000.0F && source.spec.qkv_fused == 1 &&
			  source.spec.norm_bias == 1 && source.spec.up_bias == 0,
		  "gated, rotated");
	CHECK(strcmp(file_of("layer.0.mlp.gate.weight"), "encoder.layers.0.mlp.fc12.weight") == 0 &&
			  strcmp(file_of("layer.0.attention.norm.bias"), "encoder.layers.0.norm1.bias") == 0,
		  "the gate and the norms");
}

static void
test_clip(void)
{
	put_text("config.json",
			 "{\"model_type\":\"clip\",\"text_config\":{\"hidden_size\":8,\"num_hidden_layers\":2,"
			 "\"num_attention_heads\":2,\"intermediate_size\":16,\"vocab_size\":20,"
			 "\"max_position_embeddings\":30,\"hidden_act\":\"quick_gelu\",\"eos_token_id\":2}}");
	begin_weights();
	weight("text_model.embeddings.token_embedding.weight", 20, 8);
	weight("text_model.embeddings.position_embedding.weight", 30, 8);
	pair("text_model.encoder.layers.#.layer_norm1", 8, 0);
	pair("text_model.encoder.layers.#.self_attn.q_proj", 8, 8);
	pair("text_model.encoder.layers.#.self_attn.k_proj", 8, 8);
	pair("text_model.encoder.layers.#.self_attn.v_proj", 8, 8);
	pair("text_model.encoder.layers.#.self_attn.out_proj", 8, 8);
	pair("text_model.encoder.layers.#.layer_norm2", 8, 0);
	pair("text_model.encoder.layers.#.mlp.fc1", 16, 8);
	pair("text_model.encoder.layers.#.mlp.fc2", 8, 16);
	pair("text_model.final_layer_norm", 8, 0);
	weight("text_projection.weight", 6, 8);
	weight("vision_model.embeddings.class_embedding", 8, 0);
	end_weights("model.safetensors");
	opens("CLIP");
	CHECK(source.spec.causal == 1 && source.spec.pooling == DS_POOL_EOT &&
			  source.spec.eot_id == 19 && ds_spec_dims(&source.spec) == 6 &&
			  source.spec.activation == DS_ACT_QUICK_GELU && source.spec.norm_epsilon == 1e-5F,
		  "its end of text and its projection");

	put_text(
		"open_clip_config.json",
		"{\"model_cfg\":{\"embed_dim\":6,\"text_cfg\":{\"context_length\":30,\"vocab_size\":20,"
		"\"width\":8,\"heads\":2,\"layers\":2}}}");
	begin_weights();
	weight("token_embedding.weight", 20, 8);
	weight("positional_embedding", 30, 8);
	pair("transformer.resblocks.#.ln_1", 8, 0);
	weight("transformer.resblocks.#.attn.in_proj_weight", 24, 8);
	weight("transformer.resblocks.#.attn.in_proj_bias", 24, 0);
	pair("transformer.resblocks.#.attn.out_proj", 8, 8);
	pair("transformer.resblocks.#.ln_2", 8, 0);
	pair("transformer.resblocks.#.mlp.c_fc", 32, 8);
	pair("transformer.resblocks.#.mlp.c_proj", 8, 32);
	pair("ln_final", 8, 0);
	weight("text_projection", 8, 6);
	end_weights("open_clip_model.safetensors");
	opens("OpenCLIP");
	CHECK(source.spec.qkv_fused == 1 && source.spec.intermediate == 32 &&
			  ds_spec_dims(&source.spec) == 6 &&
			  strcmp(file_of("module.0.weight_t"), "text_projection") == 0,
		  "a projection stored the other way round");
}

static void
test_static(void)
{
	put_text("config.json", "{\"model_type\":\"model2vec\",\"normalize\":true}");
	begin_weights();
	weight("embeddings", 20, 8);
	end_weights("model.safetensors");
	opens("model2vec");
	CHECK(source.spec.kind == DS_ENCODER_STATIC && source.unk_id == 7 && !source.special &&
			  source.spec.max_tokens == 512 && source.spec.module_count == 1,
		  "unknown tokens are left out");
	put_text("config.json", "{\"model_type\":\"model2vec\",\"normalize\":true}");
	begin_weights();
	weight("embeddings", 20, 8);
	weight("mapping", 30, 0);
	end_weights("model.safetensors");
	opens("model2vec with shared rows");
	CHECK(source.spec.vocabulary == 30 && source.spec.static_rows == 20, "more tokens than rows");
	for (unsigned columns = 0; columns < 2; columns++)
	{
		put_text("config.json", "{\"model_type\":\"model2vec\"}");
		begin_weights();
		weight("embeddings", 20, 8);
		weight("mapping", 20, columns);
		end_weights("model.safetensors");
		if (columns == 0)
			refused(DS_UNSUPPORTED, "tensor \"mapping\" gives token 1 the row 0");
		else
			refused(DS_BAD_DATA, "tensor \"mapping\" is no list of the tokens' rows");
	}

	put_text(
		"modules.json",
		"[{\"path\":\"0_StaticEmbedding\",\"type\":\"sentence_transformers.models.StaticEmbedding\"}]");
	put_text("0_StaticEmbedding/tokenizer.json", "{\"model\":{\"vocab\":{}}}");
	begin_weights();
	weight("embedding.weight", 20, 8);
	end_weights("0_StaticEmbedding/model.safetensors");
	opens("a static model of sentence-transformers");
	CHECK(source.unk_id == DS_SPEC_NO_ID && source.spec.module_count == 0 &&
			  strcmp(source.tokenizer_file, "0_StaticEmbedding/tokenizer.json") == 0,
		  "in a folder of its own");
}

static void
test_tensorflow(void)
{
	size_t changes = 0;
	size_t noticed = 0;

	CHECK(ds_crc32c(0, "123456789", 9) == 0xe3069283, "CRC-32C");
	put_text("bert_config.json", "{" BERT_CONFIG "}");
	put_text("vocab.txt", "[PAD]\n[UNK]\na\nB\n");
	tf_weights();
	end_checkpoint();
	opens("BERT of TensorFlow");
	CHECK(source.vocab && !source.vocab_options.lowercase && source.spec.norm_epsilon == 1e-12F,
		  "a vocabulary with capitals");
	CHECK(strcmp(file_of("layer.1.mlp.up.weight_t"),
				 "bert/encoder/layer_1/intermediate/dense/kernel") == 0,
		  "kernels are the other way round");
	CHECK(source.tensors[0].info->has_checksum && source.tensors[0].info->checksum == 12345,
		  "checksums of tensors");

	/* every byte of an index matters: its checksums say so */
	put_text("bert_config.json", "{" BERT_CONFIG "}");
	put_text("vocab.txt", "a\n");
	tf_weights();
	end_checkpoint();
	for (size_t i = 0; i < find("bert_model.ckpt.index")->size; i++)
	{
		char *byte = find("bert_model.ckpt.index")->bytes + i;

		*byte ^= 0x11;
		changes++;
		noticed += open_folder() != DS_OK;
		*byte ^= 0x11;
	}
	/* but for the unused bytes of the footer, and where the index of other things is */
	CHECK(noticed + 40 >= changes, "changed bytes: %zu of %zu noticed", noticed, changes);
	noticed = 0;
	for (size_t length = find("bert_model.ckpt.index")->size; length-- > 0;)
	{
		find("bert_model.ckpt.index")->size = length;
		noticed += open_folder() == DS_OK;
	}
	CHECK(noticed == 0, "cut at any length");
	clear();

	/* an index that lists its only block again and again */
	put_text("bert_config.json", "{" BERT_CONFIG "}");
	put_text("vocab.txt", "a\n");
	block_copies = 3;
	tf_weights();
	end_checkpoint();
	block_copies = 1;
	refused(DS_BAD_DATA, "a block is there twice");
	put_text("bert_config.json", "{" BERT_CONFIG "}");
	put_text("vocab.txt", "a\n");
	tf_weights();
	end_checkpoint();
	find("bert_model.ckpt.data-00000-of-00001")->size -= 1;
	refused(DS_BAD_DATA, "ends behind the end of its shard");
	put_text("bert_config.json", "{" BERT_CONFIG "}");
	put_text("vocab.txt", "a\n");
	tf_weights();
	end_checkpoint();
	strcpy(find("bert_model.ckpt.data-00000-of-00001")->name, "other");
	refused(DS_BAD_DATA, "bert_model.ckpt.data-00000-of-00001 is missing");
}

static void
test_refused(void)
{
	refused(DS_BAD_DATA, "there is no config.json");
	put_text("saved_model.pb", "graph");
	refused(DS_UNSUPPORTED, "saved_model.pb is a graph to be run");
	put_text("config.json", "{}");
	refused(DS_BAD_DATA, "config.json has no model_type");
	put_text("config.json", "{\"model_type\":\"t5\"}");
	refused(DS_UNSUPPORTED, "model_type \"t5\" is not supported");
	put_text("config.json", "[1,");
	refused(DS_BAD_DATA, "config.json");
	put_text("config.json", "{\"model_type\":\"bert\"," BERT_CONFIG "}");
	refused(DS_BAD_DATA, "there is no model.safetensors");
	put_text("config.json", "{\"model_type\":\"bert\"," BERT_CONFIG "}");
	put_text("pytorch_model.bin", "PK\3\4 a pickle in a zip file");
	refused(DS_UNSUPPORTED, "pickle");

#define WITH_BERT(config, words, code)                                   \
	do                                                                   \
	{                                                                    \
		put_text("config.json", "{\"model_type\":\"bert\"," config "}"); \
		bert_weights("", 2);                                             \
		end_weights("model.safetensors");                                \
		refused(code, words);                                            \
	} while (0)
	WITH_BERT(BERT_CONFIG ",\"hidden_act\":\"magic\"", "the activation \"magic\"", DS_UNSUPPORTED);
	WITH_BERT(BERT_CONFIG ",\"position_embedding_type\":\"relative_key\"", "relative_key",
			  DS_UNSUPPORTED);
	WITH_BERT(BERT_CONFIG ",\"hidden_size\":-5", "hidden_size", DS_BAD_DATA);
	WITH_BERT(BERT_CONFIG ",\"hidden_size\":1000000000", "", DS_INVALID);
	WITH_BERT(BERT_CONFIG ",\"num_attention_heads\":3", "heads", DS_BAD_DATA);
	WITH_BERT(BERT_CONFIG ",\"num_attention_heads\":0", "heads", DS_BAD_DATA);
	WITH_BERT(BERT_CONFIG ",\"intermediate_size\":17",
			  "tensor \"encoder.layer.0.intermediate.dense.weight\" has the shape [16, 8], not "
			  "[17, 8]",
			  DS_BAD_DATA);
	WITH_BERT(BERT_CONFIG ",\"num_hidden_layers\":3", "is missing", DS_BAD_DATA);
	WITH_BERT("\"vocab_size\":20", "hidden_size", DS_BAD_DATA);

	put_text("config.json", "{\"model_type\":\"bert\"," BERT_CONFIG "}");
	put_text("modules.json", "[{\"path\":\"\",\"type\":\"a.Transformer\"},"
							 "{\"path\":\"1_Magic\",\"type\":\"a.Magic\"}]");
	bert_weights("", 2);
	end_weights("model.safetensors");
	refused(DS_UNSUPPORTED, "the module \"Magic\"");
	put_text("config.json", "{\"model_type\":\"bert\"," BERT_CONFIG "}");
	put_text("modules.json", "[{\"path\":\"../..\",\"type\":\"a.Transformer\"}]");
	refused(DS_BAD_DATA, "is not a folder of this one");

	/* each module's config is read: so many of them would fill the memory */
	put_text("config.json", "{\"model_type\":\"bert\"," BERT_CONFIG "}");
	put_text("1_Pooling/config.json", "{\"pooling_mode\":\"mean\"}");
	{
		char modules[8192] = "[{\"path\":\"\",\"type\":\"a.Transformer\"}";

		for (int i = 0; i < 100; i++)
			strcat(modules, ",{\"path\":\"1_Pooling\",\"type\":\"a.Pooling\"}");
		strcat(modules, "]");
		put_text("modules.json", modules);
	}
	bert_weights("", 2);
	end_weights("model.safetensors");
	refused(DS_TOO_LARGE, "more than 32 modules");
	put_text("config.json", "{\"model_type\":\"bert\",\"architectures\":"
							"[\"BertForSequenceClassification\"]," BERT_CONFIG "}");
	bert_weights("bert.", 2);
	pair("classifier", 1, 8);
	end_weights("model.safetensors");
	refused(DS_BAD_DATA, "tensor \"bert.pooler.dense.weight\" is missing");
	put_text("config.json",
			 "{\"model_type\":\"nomic_bert\",\"moe_every_n_layers\":2,"
			 "\"n_embd\":8,\"n_layer\":2,\"n_inner\":16,\"n_head\":2,\"vocab_size\":20}");
	bert_weights("", 2);
	end_weights("model.safetensors");
	refused(DS_UNSUPPORTED, "moe_every_n_layers is not supported");
}

/* ---- texts that become lower-case before the tokenizer ---- */

/* the ids of a text, as one number in base 10 */
static long
tokens_of(const char *json)
{
	DsSubword tokenizer;
	DsSubwordScratch *scratch;
	DsSubwordTokens tokens;
	DsSubwordOptions options = {.special = false};
	DsArena memory, work;
	const char *text;
	size_t length, size;
	void *blob;
	long ids = 0;

	ds_arena_init(&memory, NULL);
	ds_arena_init(&work, NULL);
	if (ds_source_tokenizer_text(&source, json, strlen(json), &memory, &text, &length, &status) ==
			DS_OK &&
		ds_subword_compile(text, length, "tokenizer.json", &memory, &work, NULL, &blob, &size,
						   &status) == DS_OK &&
		ds_subword_open(&tokenizer, blob, size, &status) == DS_OK &&
		ds_subword_scratch(&memory, &scratch, &status) == DS_OK &&
		ds_subword_encode(&tokenizer, scratch, "a A \303\204", 6, NULL, 0, &options, &tokens,
						  &status) == DS_OK)
		for (size_t i = 0; i < tokens.count; i++)
			ids = ids * 10 + (long) tokens.ids[i];
	else
		ids = -1;
	ds_arena_free(&memory);
	ds_arena_free(&work);
	return ids;
}

static void
test_lowercase(void)
{
#define WORDS                                                                        \
	"\"pre_tokenizer\":{\"type\":\"Whitespace\"},\"model\":{\"type\":\"WordLevel\"," \
	"\"unk_token\":\"?\",\"vocab\":{\"?\":1,\"a\":2,\"A\":3,\"ä\":4,\"Ä\":5,\"x\":6}}}"
#define REPLACE "{\"type\":\"Replace\",\"pattern\":{\"String\":\"ä\"},\"content\":\"x\"}"
	put_text("config.json", "{\"model_type\":\"bert\"," BERT_CONFIG "}");
	bert_weights("", 2);
	end_weights("model.safetensors");
	opens("BERT");
	CHECK(!source.lowercase && tokens_of("{" WORDS) == 235, "texts as they are");

	put_text("config.json", "{\"model_type\":\"bert\"," BERT_CONFIG "}");
	put_text("sentence_bert_config.json", "{\"do_lower_case\":true}");
	bert_weights("", 2);
	end_weights("model.safetensors");
	opens("BERT for lower-case texts");
	CHECK(source.lowercase && tokens_of("{" WORDS) == 224, "lower-case: no normalizer");
	CHECK(tokens_of(" { \"normalizer\" : null ," WORDS) == 224, "a normalizer that is null");
	CHECK(tokens_of("{\"normalizer\":" REPLACE "," WORDS) == 226, "one that comes behind");
	CHECK(tokens_of("{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[" REPLACE
					"]}," WORDS) == 226,
		  "a sequence");
	CHECK(tokens_of("[]") == -1 && tokens_of("{") == -1 && tokens_of("{}") == -1,
		  "no tokenizer at all");

	put_text("config.json", "{\"model_type\":\"bert\"," BERT_CONFIG "}");
	put_text("sentence_bert_config.json", "{\"do_lower_case\":true}");
	put_text("tokenizer_config.json", "{\"do_lower_case\":false}");
	put_text("vocab.txt", "a\n");
	bert_weights("", 2);
	end_weights("model.safetensors");
	opens("the same with vocab.txt");
	CHECK(source.vocab_options.lowercase && source.vocab_options.strip_accents == 0,
		  "lower-case, with accents");
}

int
main(void)
{
	ds_arena_init(&arena, NULL);
	ds_arena_init(&scratch, NULL);
	test_bert();
	test_sentence();
	test_heads();
	test_distilbert();
	test_mpnet();
	test_modernbert();
	test_nomic();
	test_clip();
	test_static();
	test_tensorflow();
	test_lowercase();
	test_refused();
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	return unit_done();
}
