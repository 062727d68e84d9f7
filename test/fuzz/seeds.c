/*
 * seeds.c
 *		First inputs for fuzz_weights, fuzz_folder, fuzz_subword and fuzz_image: seeds
 *		DIR writes them into DIR/fuzz_weights.corpus and so on.
 */
#include <sys/stat.h>

#include "../unit/family_folder.h"
#include "../unit/subword_samples.h"
#include "../unit/image_samples.h"

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

/* the folder as fuzz_folder reads it; its list of names */
static void
write_folder(void)
{
	static const char *const names[] = {"config.json",
										"model.safetensors",
										"tokenizer.json",
										"modules.json",
										"1_Pooling/config.json",
										"2_Dense/config.json",
										"2_Dense/model.safetensors",
										"sentence_bert_config.json",
										"config_sentence_transformers.json",
										"model.safetensors.index.json",
										"bert_config.json",
										"m.index",
										"m.data-00000-of-00001",
										"vocab.txt"};
	static unsigned char out[200000];
	size_t n = 0;

	for (size_t i = 0; i < file_count; i++)
		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
			if (strcmp(files[i].name, names[k]) == 0 && files[i].size < 65536)
			{
				out[n++] = (unsigned char) k;
				out[n++] = (unsigned char) files[i].size;
				out[n++] = (unsigned char) (files[i].size >> 8);
				memcpy(out + n, files[i].bytes, files[i].size);
				n += files[i].size;
			}
	write_seed("fuzz_folder", out, n);
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
	write_folder();

	put_text("config.json", "{\"model_type\":\"bert\",\"architectures\":"
							"[\"BertForSequenceClassification\"]," CONFIG "}");
	put_text("tokenizer.json", "{}");
	bert("bert.");
	pair("bert.pooler.dense", 2, 2);
	pair("classifier", 1, 2);
	end_weights("model.safetensors");
	write_folder();

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
	write_folder();

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
	write_folder();

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
	return 0;
}
