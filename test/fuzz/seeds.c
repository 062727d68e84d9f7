/*
 * seeds.c
 *		First inputs for fuzz_weights, fuzz_folder, fuzz_subword, fuzz_image, fuzz_image_source
 *		and fuzz_vectors: seeds DIR writes them into DIR/fuzz_weights.corpus and so on.
 */
#include <sys/stat.h>

#include "../unit/family_folder.h"
#include "../unit/subword_samples.h"
#include "../unit/image_samples.h"
#include "folder_names.h"

static char directory[1024];
static int written = 0;

static void
write_seed(const char *target, const void *bytes, size_t size)
{
	char path[1200];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.corpus", directory, target);
	mkdir(path, 0777);
	snprintf(path, sizeof(path), "%s/%s.corpus/seed-%d", directory, target, written++);
	file = fopen(path, "wb");
	if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
	{
		perror(path);
		exit(1);
	}
}

/* the folder as any_folder.h reads it */
static void
write_folder(const char *target)
{
	static unsigned char out[200000];
	size_t n = 0;

	for (size_t i = 0; i < file_count; i++)
		for (size_t k = 0; k < NAMES; k++)
			if (strcmp(files[i].name, names[k]) == 0 && files[i].size < 65536)
			{
				out[n++] = (unsigned char) k;
				out[n++] = (unsigned char) files[i].size;
				out[n++] = (unsigned char) (files[i].size >> 8);
				memcpy(out + n, files[i].bytes, files[i].size);
				n += files[i].size;
			}
	write_seed(target, out, n);
	clear();
}

/* a folder file as fuzz_weights reads it */
static void
write_weights(int kind, size_t data, const void *bytes, size_t size)
{
	unsigned char *out = malloc(size + 3);
	size_t n = 0;

	out[n++] = (unsigned char) kind;
	if (kind == 1 || kind == 4)
	{
		out[n++] = (unsigned char) data;
		out[n++] = (unsigned char) (data >> 8);
	}
	memcpy(out + n, bytes, size);
	write_seed("fuzz_weights", out, n + size);
	free(out);
}

#define CONFIG                                                                                     \
	"\"hidden_size\":2,\"num_hidden_layers\":1,\"num_attention_heads\":1,\"intermediate_size\":3," \
	"\"vocab_size\":4,\"max_position_embeddings\":5,\"type_vocab_size\":2"

static void
bert(const char *prefix)
{
	static const char *const linear[] = {"attention.self.query", "attention.self.key",
										 "attention.self.value", "attention.output.dense"};
	char name[128];

#define NAMED(stem) (snprintf(name, sizeof(name), "%s%s", prefix, stem), name)
	begin_weights();
	weight(NAMED("embeddings.word_embeddings.weight"), 4, 2);
	weight(NAMED("embeddings.position_embeddings.weight"), 5, 2);
	weight(NAMED("embeddings.token_type_embeddings.weight"), 2, 2);
	pair(NAMED("embeddings.LayerNorm"), 2, 0);
	for (size_t i = 0; i < 4; i++)
	{
		char stem[96];

		snprintf(stem, sizeof(stem), "encoder.layer.0.%s", linear[i]);
		pair(NAMED(stem), 2, 2);
	}
	pair(NAMED("encoder.layer.0.attention.output.LayerNorm"), 2, 0);
	pair(NAMED("encoder.layer.0.intermediate.dense"), 3, 2);
	pair(NAMED("encoder.layer.0.output.dense"), 2, 3);
	pair(NAMED("encoder.layer.0.output.LayerNorm"), 2, 0);
}

/* a tokenizer's file and a text, as fuzz_subword reads them */
static void
write_tokenizer(int mode, const char *json)
{
	static char out[65536];
	int n = snprintf(out, sizeof(out), "%c%s%cThe running, \xe5\xa4\x8f\xe5\xad\xa3 <mask>", mode,
					 json, 0);

	write_seed("fuzz_subword", out, (size_t) n);
}

/* the first bytes as fuzz_image reads them, then a file */
static void
write_image(int kind, int way, const void *bytes, size_t size)
{
	unsigned char *out = malloc(size + 2);
	size_t n = 0;

	out[n++] = (unsigned char) kind;
	if (kind < 6)
		out[n++] = (unsigned char) way;
	memcpy(out + n, bytes, size);
	write_seed("fuzz_image", out, n + size);
	free(out);
}

static void
images(void)
{
	static const char processor[] =
		"{\"image_processor_type\":\"CLIPImageProcessor\",\"do_resize\":true,\"size\":{"
		"\"shortest_edge\":224},\"resample\":3,\"do_center_crop\":true,\"crop_size\":{\"height\":224,"
		"\"width\":224},\"do_rescale\":true,\"rescale_factor\":0.00392,\"do_normalize\":true,"
		"\"image_mean\":[0.5,0.5,0.5],\"image_std\":[0.5,0.5,0.5],\"do_convert_rgb\":true}";
	static const char share[] = "{\"feature_extractor_type\":\"ConvNextFeatureExtractor\",\"size\":"
								"224,\"crop_pct\":0.875,\"resample\":3}";
	static const char open_clip[] =
		"{\"model_cfg\":{\"vision_cfg\":{\"image_size\":8}},\"preprocess_cfg\":{\"size\":[8,9],"
		"\"mode\":\"RGB\",\"mean\":[0.4,0.5,0.6],\"std\":0.2,\"interpolation\":\"bicubic\","
		"\"resize_mode\":\"longest\",\"fill_color\":0}}";
	PngForm form;

	for (size_t i = 0; i < JPEG_FORMS; i++)
	{
		Sample sample = sample_jpeg(37, 23, &jpeg_forms[i]);

		write_image((int) i % 2, (int) i * 17, sample.bytes, sample.size);
		free(sample.bytes);
	}
	for (size_t i = 0; png_form(i, &form); i++)
	{
		Sample sample = sample_png(19, 13, &form);

		write_image(i % 5 == 0 ? 1 : 4, (int) i * 5, sample.bytes, sample.size);
		free(sample.bytes);
	}
	write_image(6, 0, processor, sizeof(processor) - 1);
	write_image(6, 0, share, sizeof(share) - 1);
	write_image(7, 0, open_clip, sizeof(open_clip) - 1);
}

#define VIT_SIZES                                                                           \
	"\"hidden_size\":4,\"num_hidden_layers\":1,\"num_attention_heads\":2,\"patch_size\":4," \
	"\"intermediate_size\":8,\"image_size\":8"

/* networks over pictures */
static void
image_sources(void)
{
	for (unsigned stem = 3; stem <= 7; stem += 4)
	{
		begin_weights();
		conv_norm("conv1", "bn1", 2, 3, stem);
		conv_norm("layer1.0.conv1", "layer1.0.bn1", 2, 2, 3);
		conv_norm("layer1.0.conv2", "layer1.0.bn2", 2, 2, 3);
		conv_norm("layer2.0.conv1", "layer2.0.bn1", 4, 2, 3);
		conv_norm("layer2.0.conv2", "layer2.0.bn2", 4, 4, 3);
		if (stem == 7)
			conv_norm("layer2.0.downsample.0", "layer2.0.downsample.1", 4, 2, 1);
		pair(stem == 7 ? "fc" : "linear", 3, 4);
		end_weights(stem == 7 ? "model.safetensors" : "mine.safetensors");
		if (stem == 7)
			put_text("preprocessor_config.json",
					 "{\"do_resize\":true,\"size\":{\"height\":40,\"width\":40},"
					 "\"do_center_crop\":false,\"do_normalize\":true,\"image_mean\":[0.5,0.5,0.5],"
					 "\"image_std\":[0.5,0.5,0.5],\"do_rescale\":true,\"resample\":3}");
		write_folder("fuzz_image_source");
	}

	begin_weights();
	conv_norm("resnet.embedder.embedder.convolution", "resnet.embedder.embedder.normalization", 2,
			  3, 7);
	conv_norm("resnet.encoder.stages.0.layers.0.layer.0.convolution",
			  "resnet.encoder.stages.0.layers.0.layer.0.normalization", 2, 2, 3);
	conv_norm("resnet.encoder.stages.0.layers.0.layer.1.convolution",
			  "resnet.encoder.stages.0.layers.0.layer.1.normalization", 2, 2, 3);
	pair("classifier.1", 5, 2);
	end_weights("model.safetensors");
	put_text("config.json", "{\"model_type\":\"resnet\",\"layer_type\":\"basic\","
							"\"hidden_act\":\"relu\",\"num_channels\":3}");
	write_folder("fuzz_image_source");

	begin_weights();
	shaped_weight("vit.embeddings.cls_token", "1,1,4");
	shaped_weight("vit.embeddings.position_embeddings", "1,5,4");
	shaped_weight("vit.embeddings.patch_embeddings.projection.weight", "4,3,4,4");
	one_weight("vit.embeddings.patch_embeddings.projection.bias", 4, 0);
	pair("vit.encoder.layer.0.attention.attention.query", 4, 4);
	pair("vit.encoder.layer.0.attention.attention.key", 4, 4);
	pair("vit.encoder.layer.0.attention.attention.value", 4, 4);
	pair("vit.encoder.layer.0.attention.output.dense", 4, 4);
	pair("vit.encoder.layer.0.layernorm_before", 4, 0);
	pair("vit.encoder.layer.0.layernorm_after", 4, 0);
	pair("vit.encoder.layer.0.intermediate.dense", 8, 4);
	pair("vit.encoder.layer.0.output.dense", 4, 8);
	pair("vit.layernorm", 4, 0);
	pair("classifier", 3, 4);
	end_weights("model.safetensors");
	put_text("config.json", "{\"model_type\":\"vit\"," VIT_SIZES "}");
	write_folder("fuzz_image_source");

	begin_weights();
	one_weight("vision_model.embeddings.class_embedding", 4, 0);
	one_weight("vision_model.embeddings.position_embedding.weight", 5, 4);
	shaped_weight("vision_model.embeddings.patch_embedding.weight", "4,3,4,4");
	pair("vision_model.pre_layrnorm", 4, 0);
	pair("vision_model.encoder.layers.0.self_attn.q_proj", 4, 4);
	pair("vision_model.encoder.layers.0.self_attn.k_proj", 4, 4);
	pair("vision_model.encoder.layers.0.self_attn.v_proj", 4, 4);
	pair("vision_model.encoder.layers.0.self_attn.out_proj", 4, 4);
	pair("vision_model.encoder.layers.0.layer_norm1", 4, 0);
	pair("vision_model.encoder.layers.0.layer_norm2", 4, 0);
	pair("vision_model.encoder.layers.0.mlp.fc1", 8, 4);
	pair("vision_model.encoder.layers.0.mlp.fc2", 4, 8);
	pair("vision_model.post_layernorm", 4, 0);
	weight("visual_projection.weight", 6, 4);
	end_weights("model.safetensors");
	put_text("config.json", "{\"model_type\":\"clip\",\"vision_config\":{" VIT_SIZES "}}");
	write_folder("fuzz_image_source");

	begin_weights();
	one_weight("visual.class_embedding", 4, 0);
	one_weight("visual.positional_embedding", 5, 4);
	shaped_weight("visual.conv1.weight", "4,3,4,4");
	pair("visual.ln_pre", 4, 0);
	weight("visual.transformer.resblocks.0.attn.in_proj_weight", 12, 4);
	weight("visual.transformer.resblocks.0.attn.in_proj_bias", 12, 0);
	pair("visual.transformer.resblocks.0.attn.out_proj", 4, 4);
	pair("visual.transformer.resblocks.0.ln_1", 4, 0);
	pair("visual.transformer.resblocks.0.ln_2", 4, 0);
	pair("visual.transformer.resblocks.0.mlp.c_fc", 16, 4);
	pair("visual.transformer.resblocks.0.mlp.c_proj", 4, 16);
	pair("visual.ln_post", 4, 0);
	weight("visual.proj", 4, 6);
	end_weights("open_clip_model.safetensors");
	put_text("open_clip_config.json",
			 "{\"model_cfg\":{\"embed_dim\":6,\"vision_cfg\":{\"image_size\":8,\"patch_size\":4,"
			 "\"width\":4,\"layers\":1,\"head_width\":2},\"text_cfg\":{}}}");
	write_folder("fuzz_image_source");
}

/* type and type modifier as fuzz_vectors reads them, then a text */
static void
vectors(void)
{
	static const char *const texts[] = {"[1,2.5,-3e-05]",
										"[ 1e38 , -1.17549435e-38,+.5,1e-46,65519.9]",
										"[nan]",
										"[inf,1]",
										"[0.1,1234567890123456789012e-20]",
										"[]",
										"[1,2",
										"{1:0.5,3:-2}/10",
										"{}/5",
										"{3:1e-40, 1:2 ,2:0}/1000000000",
										"{1:1,1:2}/3",
										"{-1:1}/3",
										"{1:nan}/4",
										"{5:1}/4"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		for (int type = texts[i][0] == '{' ? 2 : 0; type < (texts[i][0] == '{' ? 3 : 2); type++)
		{
			char out[80];
			int n = snprintf(out, sizeof(out), "%c%c%s", type, 0, texts[i]);

			write_seed("fuzz_vectors", out, (size_t) n);
		}
}

int
main(int argc, char **argv)
{
	static const char index[] =
		"{\"metadata\":{},\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}}";
	static const char entries[] =
		"\0\0\6\x08\1\x1a\2\x08\1"
		"\0\1\x12w\x08\1\x12\x04\x12\x02\x08\x02\x20\0\x28\x08\x35\1\2\3\4"
		"\1\1\x0dq\x08\3\x12\0\x20\x08\x28\4\x35\1\2\3\4";

	if (argc != 2)
	{
		fprintf(stderr, "usage: seeds DIR\n");
		return 2;
	}
	snprintf(directory, sizeof(directory), "%s", argv[1]);
	put_text("config.json", "{\"model_type\":\"bert\"," CONFIG "}");
	put_text("tokenizer.json", "{\"model\":{\"vocab\":{\"a\":0}}}");
	put_text("modules.json", "[{\"path\":\"\",\"type\":\"m.Transformer\"},{\"path\":\"1_Pooling\","
							 "\"type\":\"m.Pooling\"},{\"path\":\"2_Dense\",\"type\":\"m.Dense\"},"
							 "{\"path\":\"3\",\"type\":\"m.Normalize\"}]");
	put_text("1_Pooling/config.json", "{\"pooling_mode_mean_tokens\":true}");
	put_text("2_Dense/config.json", "{\"in_features\":2,\"out_features\":3}");
	put_text("sentence_bert_config.json", "{\"max_seq_length\":4,\"do_lower_case\":true}");
	put_text("config_sentence_transformers.json",
			 "{\"prompts\":{\"query\":\"q: \"},\"default_prompt_name\":\"query\"}");
	bert("");
	end_weights("model.safetensors");
	begin_weights();
	pair("linear", 3, 2);
	end_weights("2_Dense/model.safetensors");
	write_folder("fuzz_folder");

	put_text("config.json", "{\"model_type\":\"bert\",\"architectures\":"
							"[\"BertForSequenceClassification\"]," CONFIG "}");
	put_text("tokenizer.json", "{}");
	bert("bert.");
	pair("bert.pooler.dense", 2, 2);
	pair("classifier", 1, 2);
	end_weights("model.safetensors");
	write_folder("fuzz_folder");

	put_text("config.json", "{\"model_type\":\"model2vec\",\"normalize\":true}");
	put_text("tokenizer.json", "{\"model\":{\"unk_token\":\"a\",\"vocab\":{\"a\":0}}}");
	begin_weights();
	weight("embeddings", 4, 2);
	weight("mapping", 6, 0);
	weight("weights", 6, 0);
	end_weights("model.safetensors");
	write_weights(0, 0, find("model.safetensors")->bytes, find("model.safetensors")->size);
	write_weights(1, 80, find("model.safetensors")->bytes + 8,
				  find("model.safetensors")->size - 88);
	write_folder("fuzz_folder");

	put_text("config.json", "{\"model_type\":\"modernbert\",\"layer_types\":[\"full_attention\"],"
							"\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\","
							"\"rope_theta\":5.0}}," CONFIG "}");
	put_text("tokenizer.json", "{}");
	begin_weights();
	weight("model.embeddings.tok_embeddings.weight", 4, 2);
	weight("model.embeddings.norm.weight", 2, 0);
	weight("model.layers.0.attn.Wqkv.weight", 6, 2);
	weight("model.layers.0.attn.Wo.weight", 2, 2);
	weight("model.layers.0.mlp_norm.weight", 2, 0);
	weight("model.layers.0.mlp.Wi.weight", 6, 2);
	weight("model.layers.0.mlp.Wo.weight", 2, 3);
	weight("model.final_norm.weight", 2, 0);
	end_weights("model.safetensors");
	write_folder("fuzz_folder");

	write_weights(2, 0, index, sizeof(index) - 1);
	tf_weights();
	end_checkpoint();
	write_weights(3, 0, find("bert_model.ckpt.index")->bytes, find("bert_model.ckpt.index")->size);
	clear();
	write_weights(4, 12, entries, sizeof(entries) - 1);
	for (size_t i = 0; i < SUBWORD_SAMPLES; i++)
		write_tokenizer(1, subword_samples[i].json);
	write_tokenizer(2, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nrun\n##ning\n,\n\xe5\xa4\x8f\n");

	images();
	image_sources();
	vectors();
	return 0;
}
