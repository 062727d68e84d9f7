/*
 * test_image_source.c
 *		Folders of networks over pictures, as their libraries name things, become
 *		the same description.
 */
#include <string.h>

#include "format/image_source.h"
#include "unit.h"

/* what checkpoints of TensorFlow need */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "family_folder.h"

static DsArena arena;
static DsArena scratch;
static DsImageSource source;
static DsStatus status;

static DsCode
open_folder(bool classes)
{
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	return ds_image_source_open(&folder, classes, &arena, &scratch, &source, &status);
}

static void
opens(const char *what, bool classes, uint32_t wanted)
{
	uint32_t reads = 0;
	DsCode code = ds_source_reads(&folder, &scratch, &reads, &status);

	CHECK(code == DS_OK && reads == wanted, "%s reads %u %s", what, reads,
		  code == DS_OK ? "" : status.message);
	code = open_folder(classes);
	CHECK(code == DS_OK && source.tensor_count == ds_image_spec_tensors(&source.spec),
		  "%s opens with %zu tensors: %s", what, source.tensor_count,
		  code == DS_OK ? "" : status.message);
	clear();
}

static void
refused(DsCode expected, const char *words, bool classes)
{
	DsCode code = open_folder(classes);

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

/* ---- residual networks ---- */

/* two stages of blocks[] blocks each, of two convolutions, 8 and 16 channels */
static void
small_resnet(unsigned first, unsigned second, unsigned stem, const char *shortcut)
{
	unsigned blocks[2] = {first, second};

	begin_weights();
	conv_norm("conv1", "bn1", 8, 3, stem);
	for (unsigned s = 0; s < 2; s++)
		for (unsigned b = 0; b < blocks[s]; b++)
		{
			unsigned out = 8u << s;
			char conv[64], norm[64];

			for (unsigned k = 1; k <= 2; k++)
			{
				snprintf(conv, sizeof(conv), "layer%u.%u.conv%u", s + 1, b, k);
				snprintf(norm, sizeof(norm), "layer%u.%u.bn%u", s + 1, b, k);
				conv_norm(conv, norm, out, s > 0 && b == 0 && k == 1 ? 8 : out, 3);
			}
			if (s > 0 && b == 0 && shortcut != NULL)
			{
				snprintf(conv, sizeof(conv), "layer2.0.%s.0", shortcut);
				snprintf(norm, sizeof(norm), "layer2.0.%s.1", shortcut);
				conv_norm(conv, norm, out, 8, 1);
			}
		}
}

static void
test_torchvision(void)
{
	uint32_t reads;

	small_resnet(2, 1, 3, NULL);
	pair("linear", 10, 16);
	end_weights("mine.safetensors");
	opens("the form for CIFAR", false, DS_READS_IMAGES);
	CHECK(source.spec.height == 32 && ds_image_spec_dims(&source.spec) == 16 &&
			  source.spec.layers[0].kernel_height == 3 && source.spec.layer_count == 9 &&
			  source.spec.layers[5].kind == DS_LAYER_SHORTCUT &&
			  source.transform.fit == DS_FIT_EXACT && source.transform.height == 32,
		  "its layers: %u", source.spec.layer_count);
	CHECK(strcmp(file_of("layer.6.norm.var"), "layer2.0.bn1.running_var") == 0 &&
			  strcmp(file_of("layer.0.weight"), "conv1.weight") == 0,
		  "its names: %s", file_of("layer.6.norm.var"));

	small_resnet(1, 2, 7, "downsample");
	pair("fc", 10, 16);
	end_weights("model.safetensors");
	opens("torchvision's, with its classes", true, DS_READS_IMAGES);
	CHECK(source.spec.height == 224 && ds_image_spec_dims(&source.spec) == 10 &&
			  source.transform.fit == DS_FIT_SHORTEST && source.transform.height == 256 &&
			  source.transform.crop_height == 224,
		  "256, and of that the middle");
	CHECK(strcmp(file_of("module.0.weight"), "fc.weight") == 0 &&
			  strcmp(file_of("layer.4.weight"), "layer2.0.downsample.0.weight") == 0,
		  "its names: %s", file_of("layer.4.weight"));

	small_resnet(1, 1, 3, "shortcut");
	end_weights("model.safetensors");
	put_text("preprocessor_config.json",
			 "{\"do_resize\":true,\"size\":{\"height\":40,\"width\":40},\"do_center_crop\":false,"
			 "\"do_normalize\":true,\"image_mean\":[0.5,0.5,0.5],\"image_std\":[0.5,0.5,0.5],"
			 "\"do_rescale\":true,\"resample\":3}");
	opens("a small stem with convolutions as shortcuts", false, DS_READS_IMAGES);
	CHECK(source.spec.height == 40 && source.transform.filter == DS_FILTER_BICUBIC,
		  "pictures as preprocessor_config.json says: %u", source.spec.height);

	small_resnet(1, 1, 7, "downsample");
	end_weights("model.safetensors");
	refused(DS_BAD_DATA, "no classifier", true);

	small_resnet(1, 1, 7, "downsample");
	shaped_weight("layer2.1.conv1.weight", "16,16,3,3");
	end_weights("model.safetensors");
	refused(DS_BAD_DATA, "layer2.1.bn1.weight", false);

	begin_weights();
	conv_norm("conv1", "bn1", 8, 3, 5);
	shaped_weight("layer1.0.conv1.weight", "8,8,3,3");
	end_weights("model.safetensors");
	refused(DS_BAD_DATA, "3 x 3 or 7 x 7", false);

	/* two files, none of which is the usual one */
	small_resnet(1, 1, 3, NULL);
	end_weights("a.safetensors");
	put("b.safetensors", files[0].bytes, files[0].size);
	CHECK(ds_source_reads(&folder, &scratch, &reads, &status) == DS_OK && reads == DS_READS_TEXTS,
		  "of two files none is chosen");
	clear();
}

static void
test_transformers_resnet(bool bottleneck)
{
	char name[3][64];

	begin_weights();
	conv_norm("resnet.embedder.embedder.convolution", "resnet.embedder.embedder.normalization", 8,
			  3, 7);
	for (unsigned s = 0; s < 2; s++)
	{
		unsigned out = 16u << s;
		unsigned in = s == 0 ? 8 : 16;
		unsigned inner = bottleneck ? out / 4 : out;

#define AT(i, what) \
	(snprintf(name[i], sizeof(name[i]), "resnet.encoder.stages.%u.layers.0.%s", s, what), name[i])
		conv_norm(AT(0, "shortcut.convolution"), AT(1, "shortcut.normalization"), out, in, 1);
		conv_norm(AT(0, "layer.0.convolution"), AT(1, "layer.0.normalization"), inner, in,
				  bottleneck ? 1 : 3);
		conv_norm(AT(0, "layer.1.convolution"), AT(1, "layer.1.normalization"), inner, inner, 3);
		if (bottleneck)
			conv_norm(AT(0, "layer.2.convolution"), AT(1, "layer.2.normalization"), out, inner, 1);
	}
	pair("classifier.1", 5, 32);
	end_weights("model.safetensors");
	put_text("config.json",
			 bottleneck ? "{\"model_type\":\"resnet\",\"hidden_act\":\"relu\",\"num_channels\":3,"
						  "\"layer_type\":\"bottleneck\",\"downsample_in_bottleneck\":true}"
						: "{\"model_type\":\"resnet\",\"layer_type\":\"basic\","
						  "\"downsample_in_first_stage\":true}");
	opens("transformers' ResNet", true, DS_READS_IMAGES);
	CHECK(strcmp(file_of("module.0.weight"), "classifier.1.weight") == 0 &&
			  strcmp(file_of("layer.4.norm.mean"),
					 "resnet.encoder.stages.0.layers.0.layer.1.normalization.running_mean") == 0,
		  "its names: %s", file_of("layer.4.norm.mean"));
	/* layers: stem, pool, shortcut, two or three, shortcut, ... */
	CHECK(bottleneck ? source.spec.layers[7].stride == 2 && source.spec.layers[8].stride == 1
					 : source.spec.layers[2].stride == 2 && source.spec.layers[3].stride == 2,
		  "its strides");
}

/* ---- vision transformers: 8 wide, 2 layers of 2 heads, 5 tokens ---- */

#define VIT_SIZES                                                                           \
	"\"hidden_size\":8,\"num_hidden_layers\":2,\"num_attention_heads\":2,\"patch_size\":4," \
	"\"intermediate_size\":16,\"image_size\":8"

static void
test_vit(void)
{
	for (int prefix = 0; prefix < 2; prefix++)
	{
		char name[128];

#undef NAMED
#define NAMED(stem) (snprintf(name, sizeof(name), "%s%s", prefix ? "vit." : "", stem), name)
		begin_weights();
		shaped_weight(NAMED("embeddings.cls_token"), "1,1,8");
		shaped_weight(NAMED("embeddings.position_embeddings"), "1,5,8");
		shaped_weight(NAMED("embeddings.patch_embeddings.projection.weight"), "8,3,4,4");
		one_weight(NAMED("embeddings.patch_embeddings.projection.bias"), 8, 0);
		pair(NAMED("encoder.layer.#.attention.attention.query"), 8, 8);
		pair(NAMED("encoder.layer.#.attention.attention.key"), 8, 8);
		pair(NAMED("encoder.layer.#.attention.attention.value"), 8, 8);
		pair(NAMED("encoder.layer.#.attention.output.dense"), 8, 8);
		pair(NAMED("encoder.layer.#.layernorm_before"), 8, 0);
		pair(NAMED("encoder.layer.#.layernorm_after"), 8, 0);
		pair(NAMED("encoder.layer.#.intermediate.dense"), 16, 8);
		pair(NAMED("encoder.layer.#.output.dense"), 8, 16);
		pair(NAMED("layernorm"), 8, 0);
		pair("classifier", 3, 8);
		end_weights("model.safetensors");
		put_text("config.json", "{\"model_type\":\"vit\"," VIT_SIZES "}");
		opens("ViT", prefix == 1, DS_READS_IMAGES);
		CHECK(source.spec.transformer.max_tokens == 5 && source.spec.transformer.patch_bias &&
				  source.spec.transformer.qkv_bias && source.transform.height == 8 &&
				  ds_image_spec_dims(&source.spec) == (prefix ? 3 : 8),
			  "ViT's sizes");
		CHECK(strcmp(file_of("patch.weight"),
					 NAMED("embeddings.patch_embeddings.projection.weight")) == 0,
			  "and names");
	}
	begin_weights();
	end_weights("model.safetensors");
	put_text("config.json", "{\"model_type\":\"vit\"," VIT_SIZES "}");
	refused(DS_BAD_DATA, "embeddings.patch_embeddings.projection.weight", false);
	begin_weights();
	end_weights("model.safetensors");
	put_text("config.json", "{\"model_type\":\"vit\",\"image_size\":[8,16]}");
	refused(DS_UNSUPPORTED, "image_size", false);
	begin_weights();
	end_weights("model.safetensors");
	put_text("config.json", "{\"model_type\":\"vit\",\"image_size\":9,\"patch_size\":4}");
	refused(DS_BAD_DATA, "do not fill", false);
}

static void
clip_weights(void)
{
	begin_weights();
	one_weight("vision_model.embeddings.class_embedding", 8, 0);
	one_weight("vision_model.embeddings.position_embedding.weight", 5, 8);
	shaped_weight("vision_model.embeddings.patch_embedding.weight", "8,3,4,4");
	pair("vision_model.pre_layrnorm", 8, 0);
	pair("vision_model.encoder.layers.#.self_attn.q_proj", 8, 8);
	pair("vision_model.encoder.layers.#.self_attn.k_proj", 8, 8);
	pair("vision_model.encoder.layers.#.self_attn.v_proj", 8, 8);
	pair("vision_model.encoder.layers.#.self_attn.out_proj", 8, 8);
	pair("vision_model.encoder.layers.#.layer_norm1", 8, 0);
	pair("vision_model.encoder.layers.#.layer_norm2", 8, 0);
	pair("vision_model.encoder.layers.#.mlp.fc1", 16, 8);
	pair("vision_model.encoder.layers.#.mlp.fc2", 8, 16);
	pair("vision_model.post_layernorm", 8, 0);
	weight("visual_projection.weight", 6, 8);
	end_weights("model.safetensors");
}

static void
test_clip(void)
{
	clip_weights();
	put_text("config.json", "{\"model_type\":\"clip\",\"vision_config\":{" VIT_SIZES "}}");
	opens("CLIP", false, DS_READS_TEXTS | DS_READS_IMAGES);
	CHECK(ds_image_spec_dims(&source.spec) == 6 && !source.spec.transformer.patch_bias &&
			  source.spec.transformer.embedding_norm &&
			  source.spec.transformer.activation == DS_ACT_QUICK_GELU &&
			  source.transform.filter == DS_FILTER_BICUBIC && source.transform.crop_height == 8,
		  "CLIP's vision tower");
	clip_weights();
	put_text("config.json", "{\"model_type\":\"clip_vision_model\"," VIT_SIZES "}");
	opens("the vision tower alone", false, DS_READS_IMAGES);
	clip_weights();
	put_text("config.json", "{\"model_type\":\"clip\",\"vision_config\":{" VIT_SIZES "}}");
	refused(DS_INVALID, "no classes", true);
	clip_weights();
	put_text("config.json", "{\"model_type\":\"clip\",\"vision_config\":{" VIT_SIZES "}}");
	put_text("preprocessor_config.json",
			 "{\"do_resize\":true,\"size\":{\"height\":40,\"width\":40},\"do_center_crop\":false}");
	refused(DS_BAD_DATA, "40 x 40", false);
}

static void
open_clip_weights(bool projection)
{
	begin_weights();
	one_weight("visual.class_embedding", 8, 0);
	one_weight("visual.positional_embedding", 5, 8);
	shaped_weight("visual.conv1.weight", "8,3,4,4");
	pair("visual.ln_pre", 8, 0);
	weight("visual.transformer.resblocks.#.attn.in_proj_weight", 24, 8);
	weight("visual.transformer.resblocks.#.attn.in_proj_bias", 24, 0);
	pair("visual.transformer.resblocks.#.attn.out_proj", 8, 8);
	pair("visual.transformer.resblocks.#.ln_1", 8, 0);
	pair("visual.transformer.resblocks.#.ln_2", 8, 0);
	pair("visual.transformer.resblocks.#.mlp.c_fc", 32, 8);
	pair("visual.transformer.resblocks.#.mlp.c_proj", 8, 32);
	pair("visual.ln_post", 8, 0);
	if (projection)
		weight("visual.proj", 8, 6);
	end_weights("open_clip_model.safetensors");
}

#define OPEN_CLIP(more)                                                                  \
	"{\"model_cfg\":{\"embed_dim\":6,\"vision_cfg\":{\"image_size\":8,\"patch_size\":4," \
	"\"width\":8,\"layers\":2,\"head_width\":4" more "},\"text_cfg\":{}}}"

static void
test_open_clip(void)
{
	const DsEncoderSpec *t = &source.spec.transformer;

	open_clip_weights(true);
	put_text("open_clip_config.json", OPEN_CLIP(""));
	opens("OpenCLIP", false, DS_READS_TEXTS | DS_READS_IMAGES);
	CHECK(ds_image_spec_dims(&source.spec) == 6 && t->heads == 2 && t->qkv_fused && t->final_norm &&
			  t->pooling == DS_POOL_CLS && t->activation == DS_ACT_GELU &&
			  strcmp(file_of("module.0.weight_t"), "visual.proj") == 0,
		  "its class token behind a norm");
	open_clip_weights(true);
	put_text("open_clip_config.json", OPEN_CLIP(",\"global_average_pool\":true"));
	opens("OpenCLIP of old with an average", false, DS_READS_TEXTS | DS_READS_IMAGES);
	CHECK(!t->final_norm && t->pooling == DS_POOL_MEAN && t->pool_skip == 0 &&
			  strcmp(file_of("module.0.weight"), "visual.ln_post.weight") == 0 &&
			  strcmp(file_of("module.1.weight_t"), "visual.proj") == 0,
		  "a norm behind the mean of all tokens");
	open_clip_weights(false);
	put_text("open_clip_config.json", OPEN_CLIP(",\"pool_type\":\"avg\""));
	opens("OpenCLIP with an average", false, DS_READS_TEXTS | DS_READS_IMAGES);
	CHECK(t->final_norm && t->pooling == DS_POOL_MEAN && t->pool_skip == 1 && t->module_count == 0,
		  "the mean of all but the class token, behind a norm");
	open_clip_weights(true);
	put_text("open_clip_config.json", OPEN_CLIP(",\"pool_type\":\"map\""));
	refused(DS_UNSUPPORTED, "pool_type", false);
	open_clip_weights(true);
	put_text("open_clip_config.json", OPEN_CLIP(",\"attentional_pool\":true"));
	refused(DS_UNSUPPORTED, "attentional_pool", false);
	open_clip_weights(true);
	put_text("open_clip_config.json", OPEN_CLIP(",\"timm_model_name\":\"x\""));
	{
		uint32_t reads;

		CHECK(ds_source_reads(&folder, &scratch, &reads, &status) == DS_OK &&
				  reads == DS_READS_TEXTS,
			  "of a vision tower of another library the texts are left");
		clear();
	}
}

int
main(void)
{
	ds_arena_init(&arena, NULL);
	ds_arena_init(&scratch, NULL);
	test_torchvision();
	test_transformers_resnet(true);
	test_transformers_resnet(false);
	test_vit();
	test_clip();
	test_open_clip();
	put_text("config.json", "{\"model_type\":\"bert\"}");
	refused(DS_UNSUPPORTED, "no model of pictures", false);
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	return unit_done();
}
