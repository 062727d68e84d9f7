/*
 * image_families.c
 *		Families of networks over pictures: what their config says, and what their
 *		tensors are called.
 */
#include "format/image_families.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/resnet.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define LAYER "layer.#."

static const float imagenet_mean[3] = {0.485f, 0.456f, 0.406f};
static const float imagenet_deviation[3] = {0.229f, 0.224f, 0.225f};
static const float clip_mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
static const float clip_deviation[3] = {0.26862954f, 0.26130258f, 0.27577711f};

static void
set_transform(DsImageTransform *transform, DsImageFit fit, uint32_t size, uint32_t crop,
			  DsImageFilter filter, const float mean[3], const float deviation[3])
{
	transform->fit = fit;
	transform->height = transform->width = size;
	transform->crop_height = transform->crop_width = crop;
	transform->filter = filter;
	memcpy(transform->mean, mean, sizeof(transform->mean));
	memcpy(transform->deviation, deviation, sizeof(transform->deviation));
}

static DsCode
activation(Source *source, const char *key, const char *otherwise, uint32_t *out)
{
	static const struct
	{
		const char *name;
		DsActivation activation;
	} known[] = {{"gelu", DS_ACT_GELU},
				 {"gelu_new", DS_ACT_GELU_TANH},
				 {"quick_gelu", DS_ACT_QUICK_GELU},
				 {"gelu_pytorch_tanh", DS_ACT_GELU_TANH},
				 {"relu", DS_ACT_RELU},
				 {"silu", DS_ACT_SILU}};
	DsJson value = ds_json_member(source->config, key);

	for (size_t i = 0; i < LENGTH(known); i++)
		if (ds_json_kind(value) == DS_JSON_STRING ? ds_json_string_is(value, known[i].name)
												  : strcmp(otherwise, known[i].name) == 0)
		{
			*out = known[i].activation;
			return DS_OK;
		}
	return ds_fail(source->status, DS_UNSUPPORTED, "%s: its %s is not supported",
				   source->config_name, key);
}

/* ---- residual networks ---- */

#define RESNET_EPSILON 1e-5f

/* What is called by which name: parts of names by role, see DsResNetRole */
typedef struct ResNetNames
{
	const char *stem[2]; /* convolution, norm */
	const char *shortcut[2]; /* %u stage, %u block */
	const char *second_shortcut[2]; /* another name for it, or NULL */
	const char *part[2]; /* and %u part */
	uint32_t first_stage; /* number of the first stage, and of the first part */
	uint32_t first_part;
	const char *const *heads;
} ResNetNames;

static const char *const torchvision_heads[] = {"fc", "linear", NULL};
static const char *const transformers_heads[] = {"classifier.1", NULL};
static const ResNetNames torchvision_names = {
	.stem = {"conv1", "bn1"},
	.shortcut = {"layer%u.%u.downsample.0", "layer%u.%u.downsample.1"},
	.second_shortcut = {"layer%u.%u.shortcut.0", "layer%u.%u.shortcut.1"},
	.part = {"layer%u.%u.conv%u", "layer%u.%u.bn%u"},
	.first_stage = 1,
	.first_part = 1,
	.heads = torchvision_heads,
};
#define STEM "embedder.embedder."
#define BLOCK "encoder.stages.%u.layers.%u."
static const ResNetNames transformers_names = {
	.stem = {STEM "convolution", STEM "normalization"},
	.shortcut = {BLOCK "shortcut.convolution", BLOCK "shortcut.normalization"},
	.part = {BLOCK "layer.%u.convolution", BLOCK "layer.%u.normalization"},
	.heads = transformers_heads,
};

static const DsTensorInfo *
look(const Source *source, const char *name, const char *suffix, char *expected, size_t size)
{
	char full[256];
	const DsTensorInfo *info;

	snprintf(full, sizeof(full), "%s%s%s", source->prefix, name, suffix);
	info = ds_tensors_find(source->files, full);
	if (expected != NULL && expected[0] == '\0')
		snprintf(expected, size, "%s", full);
	if (info == NULL && source->prefix[0] != '\0')
		info = ds_tensors_find(source->files, full + strlen(source->prefix));
	return info;
}

/* formats are those of the tables above */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static const DsTensorInfo *
look_block(const Source *source, const char *format, uint32_t stage, uint32_t block, uint32_t part,
		   const char *suffix, char *expected, size_t size)
{
	char name[128];

	if (format == NULL)
		return NULL;
	snprintf(name, sizeof(name), format, stage, block, part);
	return look(source, name, suffix, expected, size);
}
#pragma GCC diagnostic pop

static const DsTensorInfo *
block_weight(const Source *source, const ResNetNames *names, uint32_t stage, uint32_t block,
			 uint32_t part)
{
	return look_block(source, names->part[0], stage + names->first_stage, block,
					  part - 1 + names->first_part, ".weight", NULL, 0);
}

static bool
has_shortcut(const Source *source, const ResNetNames *names, uint32_t stage)
{
	return look_block(source, names->shortcut[0], stage + names->first_stage, 0, 0, ".weight", NULL,
					  0) != NULL ||
		   look_block(source, names->second_shortcut[0], stage + names->first_stage, 0, 0,
					  ".weight", NULL, 0) != NULL;
}

/* Depth and widths, from names and shapes alone */
static DsCode
measure_resnet(Source *source, const ResNetNames *names, DsResNet *net)
{
	const DsTensorInfo *stem = look(source, names->stem[0], ".weight", NULL, 0);

	if (stem == NULL || stem->rank != 4 || (stem->shape[2] != 3 && stem->shape[2] != 7))
		return ds_fail(source->status, DS_BAD_DATA,
					   "there is no tensor \"%s.weight\" of 3 x 3 or 7 x 7", names->stem[0]);
	net->stem = (uint32_t) stem->shape[0];
	net->channels = (uint32_t) stem->shape[1];
	net->small = stem->shape[2] == 3;
	net->bottleneck = block_weight(source, names, 0, 0, 3) != NULL;
	while (net->stages < DS_RESNET_STAGES && block_weight(source, names, net->stages, 0, 1) != NULL)
	{
		uint32_t s = net->stages++;
		const DsTensorInfo *last = block_weight(source, names, s, 0, net->bottleneck ? 3 : 2);

		if (last == NULL || last->rank != 4 || last->shape[0] > DS_IMAGE_MAX_CHANNELS)
			return ds_fail(source->status, DS_BAD_DATA,
						   "the first block of stage %u is not one of a residual network", s + 1);
		net->widths[s] = (uint32_t) last->shape[0];
		while (net->blocks[s] <= DS_IMAGE_LAYERS &&
			   block_weight(source, names, s, net->blocks[s], 1) != NULL)
			net->blocks[s]++;
	}
	if (net->stages == 0)
		return ds_fail(source->status, DS_BAD_DATA, "there are no blocks of a residual network");
	net->padded = net->stages > 1 && !has_shortcut(source, names, net->stages - 1);
	return DS_OK;
}

/* The classifier, as the file calls it */
static const DsTensorInfo *
find_head(const Source *source, const ResNetNames *names, const char *suffix, char *expected,
		  size_t size)
{
	for (const char *const *head = names->heads; *head != NULL; head++)
	{
		const DsTensorInfo *info;
		Source plain = *source;

		plain.prefix = "";
		info = look(&plain, *head, suffix, expected, size);
		if (info != NULL)
			return info;
	}
	return NULL;
}

static DsCode
read_resnet(Source *source, const ResNetNames *names, bool classes, const DsResNet *net,
			DsImageSpec *spec, DsImageTransform *transform)
{
	const DsTensorInfo *head = find_head(source, names, ".weight", NULL, 0);

	TRY(ds_resnet_spec(net, spec, NULL, source->status));
	if (classes)
	{
		if (head == NULL || head->rank != 2 || head->shape[0] > DS_SPEC_MAX_HIDDEN)
			return ds_fail(source->status, DS_BAD_DATA, "there is no classifier \"%s.weight\"",
						   names->heads[0]);
		spec->module_count = 1;
		spec->modules[0] =
			(DsSpecModule){.kind = DS_MODULE_DENSE,
						   .in = (uint32_t) ds_image_pooled_dims(spec),
						   .out = (uint32_t) head->shape[0],
						   .bias = find_head(source, names, ".bias", NULL, 0) != NULL};
	}
	if (net->small)
		set_transform(transform, DS_FIT_EXACT, 32, 0, DS_FILTER_BILINEAR, imagenet_mean,
					  imagenet_deviation);
	else
		set_transform(transform, DS_FIT_SHORTEST, 256, 224, DS_FILTER_BILINEAR, imagenet_mean,
					  imagenet_deviation);
	return DS_OK;
}

static DsCode
read_torchvision(Source *source, bool classes, DsImageSpec *spec, DsImageTransform *transform)
{
	DsResNet net = {.activation = DS_ACT_RELU, .epsilon = RESNET_EPSILON};

	TRY(measure_resnet(source, &torchvision_names, &net));
	/* any size does; the transform's is taken in the end */
	net.height = net.width = net.small ? 32 : 224;
	return read_resnet(source, &torchvision_names, classes, &net, spec, transform);
}

static DsCode
read_transformers_resnet(Source *source, bool classes, DsImageSpec *spec,
						 DsImageTransform *transform)
{
	DsResNet net = {.activation = DS_ACT_RELU, .epsilon = RESNET_EPSILON};
	bool flag;

	source->prefix = "resnet.";
	TRY(measure_resnet(source, &transformers_names, &net));
	net.height = net.width = 224;
	TRY(activation(source, "hidden_act", "relu", &net.activation));
	net.first_stride =
		ds_json_bool(ds_json_member(source->config, "downsample_in_first_stage"), &flag) && flag;
	net.stride_first =
		ds_json_bool(ds_json_member(source->config, "downsample_in_bottleneck"), &flag) && flag;
	return read_resnet(source, &transformers_names, classes, &net, spec, transform);
}

/*
 * The convolutions in the order in which ds_resnet_spec() makes them: layer
 * numbers count through all kinds of layers, so the description is walked.
 */
static bool
role_of(const Source *source, const ResNetNames *names, uint32_t number, DsResNetRole *role)
{
	DsResNetRole roles[DS_IMAGE_LAYERS];
	DsImageSpec *spec = ds_arena_alloc(source->scratch, 1, sizeof(DsImageSpec));
	DsResNet net = {.height = 224, .width = 224, .epsilon = RESNET_EPSILON};
	DsStatus ignored;
	Source measured = *source;
	bool flag;

	if (spec == NULL)
		return false;
	measured.status = &ignored;
	net.first_stride =
		ds_json_bool(ds_json_member(source->config, "downsample_in_first_stage"), &flag) && flag;
	if (measure_resnet(&measured, names, &net) != DS_OK ||
		ds_resnet_spec(&net, spec, roles, &ignored) != DS_OK || number >= spec->layer_count)
		return false;
	*role = roles[number];
	return true;
}

static const DsTensorInfo *
resnet_tensor(const Source *source, const ResNetNames *names, const char *neutral, char *expected,
			  size_t size)
{
	static const char *const kinds[][2] = {{"weight", ".weight"},
										   {"norm.weight", ".weight"},
										   {"norm.bias", ".bias"},
										   {"norm.mean", ".running_mean"},
										   {"norm.var", ".running_var"}};
	DsArenaMark mark = ds_arena_mark(source->scratch);
	DsResNetRole role;
	char *end;
	unsigned long number;
	bool found;

	if (strncmp(neutral, "module.0.", 9) == 0)
		return find_head(source, names, neutral + 8, expected, size);
	if (strncmp(neutral, "layer.", 6) != 0)
		return NULL;
	number = strtoul(neutral + 6, &end, 10);
	found =
		*end == '.' && number < DS_IMAGE_LAYERS && role_of(source, names, (uint32_t) number, &role);
	ds_arena_rewind(source->scratch, mark);
	for (size_t i = 0; found && i < LENGTH(kinds); i++)
	{
		size_t norm = i > 0;
		uint32_t stage = role.stage + names->first_stage;
		const DsTensorInfo *info;

		if (strcmp(end + 1, kinds[i][0]) != 0)
			continue;
		if (role.part == DS_RESNET_STEM)
			return look(source, names->stem[norm], kinds[i][1], expected, size);
		if (role.part != DS_RESNET_SHORTCUT)
			return look_block(source, names->part[norm], stage, role.block,
							  role.part - 1 + names->first_part, kinds[i][1], expected, size);
		info = look_block(source, names->shortcut[norm], stage, role.block, 0, kinds[i][1],
						  expected, size);
		return info != NULL ? info
							: look_block(source, names->second_shortcut[norm], stage, role.block, 0,
										 kinds[i][1], expected, size);
	}
	return NULL;
}

static const DsTensorInfo *
torchvision_tensor(const Source *source, const char *neutral, char *expected, size_t size)
{
	return resnet_tensor(source, &torchvision_names, neutral, expected, size);
}

static const DsTensorInfo *
transformers_resnet_tensor(const Source *source, const char *neutral, char *expected, size_t size)
{
	return resnet_tensor(source, &transformers_names, neutral, expected, size);
}

/* ---- vision transformers ---- */

static const Name vit_names[] = {
	{"patch", "embeddings.patch_embeddings.projection"},
	{"class.weight", "embeddings.cls_token"},
	{"position.weight", "embeddings.position_embeddings"},
	{LAYER "attention.norm", "encoder.layer.#.layernorm_before"},
	{LAYER "attention.query", "encoder.layer.#.attention.attention.query"},
	{LAYER "attention.key", "encoder.layer.#.attention.attention.key"},
	{LAYER "attention.value", "encoder.layer.#.attention.attention.value"},
	{LAYER "attention.out", "encoder.layer.#.attention.output.dense"},
	{LAYER "mlp.norm", "encoder.layer.#.layernorm_after"},
	{LAYER "mlp.up", "encoder.layer.#.intermediate.dense"},
	{LAYER "mlp.down", "encoder.layer.#.output.dense"},
	{"final.norm", "layernorm"},
	{"module.0", "classifier"},
	{NULL, NULL}};

static const Name clip_names[] = {
	{"patch", "vision_model.embeddings.patch_embedding"},
	{"class.weight", "vision_model.embeddings.class_embedding"},
	{"position.weight", "vision_model.embeddings.position_embedding.weight"},
	/* the word is misspelt in the library */
	{"embedding.norm", "vision_model.pre_layrnorm"},
	{LAYER "attention.norm", "vision_model.encoder.layers.#.layer_norm1"},
	{LAYER "attention.query", "vision_model.encoder.layers.#.self_attn.q_proj"},
	{LAYER "attention.key", "vision_model.encoder.layers.#.self_attn.k_proj"},
	{LAYER "attention.value", "vision_model.encoder.layers.#.self_attn.v_proj"},
	{LAYER "attention.out", "vision_model.encoder.layers.#.self_attn.out_proj"},
	{LAYER "mlp.norm", "vision_model.encoder.layers.#.layer_norm2"},
	{LAYER "mlp.up", "vision_model.encoder.layers.#.mlp.fc1"},
	{LAYER "mlp.down", "vision_model.encoder.layers.#.mlp.fc2"},
	{"final.norm", "vision_model.post_layernorm"},
	{"module.0", "visual_projection"},
	{NULL, NULL}};

#define BLOCKS "visual.transformer.resblocks.#."
static const Name open_clip_names[] = {{"patch", "visual.conv1"},
									   {"class.weight", "visual.class_embedding"},
									   {"position.weight", "visual.positional_embedding"},
									   {"embedding.norm", "visual.ln_pre"},
									   {LAYER "attention.norm", BLOCKS "ln_1"},
									   {LAYER "attention.qkv.weight", BLOCKS "attn.in_proj_weight"},
									   {LAYER "attention.qkv.bias", BLOCKS "attn.in_proj_bias"},
									   {LAYER "attention.out", BLOCKS "attn.out_proj"},
									   {LAYER "mlp.norm", BLOCKS "ln_2"},
									   {LAYER "mlp.up", BLOCKS "mlp.c_fc"},
									   {LAYER "mlp.down", BLOCKS "mlp.c_proj"},
									   /* behind the mean of all tokens it is a module */
									   {"final.norm", "visual.ln_post"},
									   {"module.0.weight_t", "visual.proj"},
									   {"module.1.weight_t", "visual.proj"},
									   {"module.0", "visual.ln_post"},
									   {NULL, NULL}};

static const Family vit_family = {.names = vit_names};
static const Family clip_family = {.names = clip_names};
static const Family open_clip_family = {.names = open_clip_names};

static const DsTensorInfo *
table_tensor(const Source *source, const Family *family, const char *prefix, const char *neutral,
			 char *expected, size_t size)
{
	Source with = *source;

	with.family = family;
	with.prefix = prefix;
	with.scores = false;
	return ds_source_find(&with, neutral, expected, size);
}

static const DsTensorInfo *
vit_tensor(const Source *source, const char *neutral, char *expected, size_t size)
{
	return table_tensor(source, &vit_family, "vit.", neutral, expected, size);
}

static const DsTensorInfo *
clip_tensor(const Source *source, const char *neutral, char *expected, size_t size)
{
	return table_tensor(source, &clip_family, "", neutral, expected, size);
}

static const DsTensorInfo *
open_clip_tensor(const Source *source, const char *neutral, char *expected, size_t size)
{
	return table_tensor(source, &open_clip_family, "", neutral, expected, size);
}

/* What all have in common, once widths and sizes are in spec */
static DsCode
finish_vit(Source *source, DsImageSpec *spec, uint32_t size)
{
	DsEncoderSpec *t = &spec->transformer;
	uint64_t tokens;

	spec->height = spec->width = size;
	if (spec->patch == 0 || size == 0 || size > DS_IMAGE_MAX_EDGE || size % spec->patch != 0)
		return ds_fail(source->status, DS_BAD_DATA, "%s: patches of %u do not fill %u x %u",
					   source->config_name, spec->patch, size, size);
	if (t->heads == 0 || t->hidden % t->heads != 0)
		return ds_fail(source->status, DS_BAD_DATA, "%s: %u heads do not divide a width of %u",
					   source->config_name, t->heads, t->hidden);
	t->head_dims = t->hidden / t->heads;
	tokens = (uint64_t) (size / spec->patch) * (size / spec->patch) + 1;
	t->positions = t->max_tokens = (uint32_t) tokens;
	t->patch_dims = spec->patch * spec->patch * spec->channels;
	t->class_token = t->norm_first = t->norm_bias = 1;
	snprintf(t->family, sizeof(t->family), "%s", spec->family);
	return DS_OK;
}

static void
find_biases(Source *source, const ImageFamily *family, DsEncoderSpec *t)
{
	t->patch_bias = family->tensor(source, "patch.bias", NULL, 0) != NULL;
	t->qkv_bias =
		family->tensor(source,
					   t->qkv_fused ? "layer.0.attention.qkv.bias" : "layer.0.attention.query.bias",
					   NULL, 0) != NULL;
	t->out_bias = family->tensor(source, "layer.0.attention.out.bias", NULL, 0) != NULL;
	t->up_bias = family->tensor(source, "layer.0.mlp.up.bias", NULL, 0) != NULL;
	t->down_bias = family->tensor(source, "layer.0.mlp.down.bias", NULL, 0) != NULL;
}

/* image_size or patch_size: a number, or two equal ones */
static DsCode
size_member(Source *source, const char *key, uint32_t otherwise, uint32_t *out)
{
	DsJson value = ds_json_member(source->config, key);
	int64_t sizes[2] = {0, 0};
	size_t n = 0;

	if (ds_json_kind(value) != DS_JSON_ARRAY)
		return ds_source_number(source, key, NULL, otherwise, out);
	for (DsJsonItem item = ds_json_items(value); ds_json_next(&item); n++)
		if (n >= 2 || !ds_json_integer(item.value, &sizes[n]))
			break;
	if (n != 2 || sizes[0] != sizes[1] || sizes[0] <= 0 || sizes[0] > DS_IMAGE_MAX_EDGE)
		return ds_fail(source->status, DS_UNSUPPORTED, "%s: %s that is no square is not supported",
					   source->config_name, key);
	*out = (uint32_t) sizes[0];
	return DS_OK;
}

static void
add_projection(DsEncoderSpec *t, uint32_t out, bool bias)
{
	t->modules[t->module_count++] =
		(DsSpecModule){.kind = DS_MODULE_DENSE, .in = t->hidden, .out = out, .bias = bias};
}

/* hidden_size and so on, of ViT and of CLIP's vision_config */
static DsCode
read_transformers_vit(Source *source, DsImageSpec *spec, const char *act, double epsilon,
					  uint32_t patch, uint32_t *size)
{
	DsEncoderSpec *t = &spec->transformer;

	TRY(ds_source_number(source, "hidden_size", NULL, 768, &t->hidden));
	TRY(ds_source_number(source, "num_hidden_layers", NULL, 12, &t->layers));
	TRY(ds_source_number(source, "num_attention_heads", NULL, 12, &t->heads));
	TRY(ds_source_number(source, "intermediate_size", NULL, 3072, &t->intermediate));
	TRY(ds_source_number(source, "num_channels", NULL, 3, &spec->channels));
	TRY(ds_source_real(source, "layer_norm_eps", NULL, epsilon, &t->norm_epsilon));
	TRY(activation(source, "hidden_act", act, &t->activation));
	TRY(size_member(source, "patch_size", patch, &spec->patch));
	TRY(size_member(source, "image_size", 224, size));
	return finish_vit(source, spec, *size);
}

static const ImageFamily vit;
static const ImageFamily clip;
static const ImageFamily open_clip;

static DsCode
read_vit(Source *source, bool classes, DsImageSpec *spec, DsImageTransform *transform)
{
	static const float half[3] = {0.5f, 0.5f, 0.5f};
	DsEncoderSpec *t = &spec->transformer;
	uint32_t size = 0;

	ds_image_spec_init(spec, DS_IMAGE_VIT);
	strcpy(spec->family, "vit");
	TRY(read_transformers_vit(source, spec, "gelu", 1e-12, 16, &size));
	t->final_norm = 1;
	t->pooling = DS_POOL_CLS;
	find_biases(source, &vit, t);
	if (classes)
	{
		const DsTensorInfo *head = vit_tensor(source, "module.0.weight", NULL, 0);

		if (head == NULL || head->rank != 2 || head->shape[0] > DS_SPEC_MAX_HIDDEN)
			return ds_fail(source->status, DS_BAD_DATA, "there is no classifier");
		add_projection(t, (uint32_t) head->shape[0],
					   vit_tensor(source, "module.0.bias", NULL, 0) != NULL);
	}
	set_transform(transform, DS_FIT_EXACT, size, 0, DS_FILTER_BILINEAR, half, half);
	return DS_OK;
}

static DsCode
refuse_classes(Source *source)
{
	return ds_fail(source->status, DS_INVALID, "%s: a model of this family has no classes",
				   source->config_name);
}

static bool
clip_usable(Source *source)
{
	return clip_tensor(source, "patch.weight", NULL, 0) != NULL;
}

static DsCode
read_clip(Source *source, bool classes, DsImageSpec *spec, DsImageTransform *transform)
{
	DsJson vision = ds_json_member(source->config, "vision_config");
	const DsTensorInfo *projection = clip_tensor(source, "module.0.weight", NULL, 0);
	DsEncoderSpec *t = &spec->transformer;
	uint32_t size = 0;

	if (classes)
		return refuse_classes(source);
	if (ds_json_kind(vision) == DS_JSON_OBJECT)
		source->config = vision;
	ds_image_spec_init(spec, DS_IMAGE_VIT);
	strcpy(spec->family, "clip");
	TRY(read_transformers_vit(source, spec, "quick_gelu", 1e-5, 32, &size));
	t->embedding_norm = t->final_norm = 1;
	t->pooling = DS_POOL_CLS;
	find_biases(source, &clip, t);
	if (projection != NULL && projection->rank == 2 && projection->shape[0] <= DS_SPEC_MAX_HIDDEN)
		add_projection(t, (uint32_t) projection->shape[0], false);
	set_transform(transform, DS_FIT_SHORTEST, size, size, DS_FILTER_BICUBIC, clip_mean,
				  clip_deviation);
	return DS_OK;
}

/* a part of open_clip_config.json */
static DsJson
vision_cfg(const Source *source)
{
	return ds_json_member(ds_json_member(source->config, "model_cfg"), "vision_cfg");
}

static bool
open_clip_usable(Source *source)
{
	DsJson vision = vision_cfg(source);

	return ds_json_kind(vision) == DS_JSON_OBJECT &&
		   ds_json_kind(ds_json_member(vision, "layers")) == DS_JSON_NUMBER &&
		   ds_json_kind(ds_json_member(vision, "timm_model_name")) != DS_JSON_STRING &&
		   open_clip_tensor(source, "class.weight", NULL, 0) != NULL;
}

/* Which tokens become the vector, and what is done with it: OpenCLIP's ways through the years */
static DsCode
read_open_clip_pooling(Source *source, DsEncoderSpec *t)
{
	DsJson type = ds_json_member(source->config, "pool_type");
	bool average = false;
	bool last = false;
	bool behind = false;

	(void) ds_json_bool(ds_json_member(source->config, "global_average_pool"), &average);
	(void) ds_json_bool(ds_json_member(source->config, "final_ln_after_pool"), &last);
	if (ds_json_kind(type) == DS_JSON_STRING && ds_json_string_is(type, "avg"))
	{
		/* the class token is left out; older versions took it in */
		t->pooling = DS_POOL_MEAN;
		t->pool_skip = 1;
		behind = last;
	}
	else if (ds_json_kind(type) == DS_JSON_STRING && !ds_json_string_is(type, "tok"))
		return ds_fail(source->status, DS_UNSUPPORTED, "%s: its pool_type is not supported",
					   source->config_name);
	else if (average)
	{
		t->pooling = DS_POOL_MEAN;
		behind = true;
	}
	else
		t->pooling = DS_POOL_CLS;
	t->final_norm = !behind;
	if (behind)
		t->modules[t->module_count++] = (DsSpecModule){.kind = DS_MODULE_NORM,
													   .in = t->hidden,
													   .out = t->hidden,
													   .bias = 1,
													   .epsilon = t->norm_epsilon};
	return DS_OK;
}

static DsCode
read_open_clip(Source *source, bool classes, DsImageSpec *spec, DsImageTransform *transform)
{
	static const char *const refused[] = {"attentional_pool", "no_ln_pre", "timm_model_name",
										  "ls_init_value"};
	DsJson model = ds_json_member(source->config, "model_cfg");
	DsEncoderSpec *t = &spec->transformer;
	const DsTensorInfo *projection;
	uint32_t size = 0;
	uint32_t head_width = 64;
	float ratio;
	bool quick = false;

	if (classes)
		return refuse_classes(source);
	(void) ds_json_bool(ds_json_member(model, "quick_gelu"), &quick);
	source->config = vision_cfg(source);
	for (size_t i = 0; i < LENGTH(refused); i++)
	{
		DsJson value = ds_json_member(source->config, refused[i]);
		bool flag;

		if (ds_json_kind(value) != DS_JSON_ABSENT && ds_json_kind(value) != DS_JSON_NULL &&
			!(ds_json_bool(value, &flag) && !flag))
			return ds_fail(source->status, DS_UNSUPPORTED, "%s: %s is not supported",
						   source->config_name, refused[i]);
	}
	ds_image_spec_init(spec, DS_IMAGE_VIT);
	strcpy(spec->family, "open_clip");
	spec->channels = 3;
	TRY(ds_source_number(source, "width", NULL, 768, &t->hidden));
	TRY(ds_source_number(source, "layers", NULL, 12, &t->layers));
	TRY(ds_source_number(source, "head_width", NULL, 64, &head_width));
	TRY(ds_source_number(source, "heads", NULL, head_width > 0 ? t->hidden / head_width : 0,
						 &t->heads));
	TRY(size_member(source, "patch_size", 16, &spec->patch));
	TRY(size_member(source, "image_size", 224, &size));
	TRY(ds_source_real(source, "mlp_ratio", NULL, 4, &ratio));
	if (!(ratio * (float) t->hidden < DS_SPEC_MAX_INTERMEDIATE))
		return ds_fail(source->status, DS_BAD_DATA, "%s: mlp_ratio is too large",
					   source->config_name);
	t->intermediate = (uint32_t) ((float) t->hidden * ratio);
	t->activation = quick ? DS_ACT_QUICK_GELU : DS_ACT_GELU;
	t->norm_epsilon = 1e-5f;
	t->embedding_norm = t->qkv_fused = 1;
	TRY(finish_vit(source, spec, size));
	TRY(read_open_clip_pooling(source, t));
	find_biases(source, &open_clip, t);
	projection = ds_tensors_find(source->files, "visual.proj");
	if (projection != NULL && projection->rank == 2 && projection->shape[1] <= DS_SPEC_MAX_HIDDEN)
		add_projection(t, (uint32_t) projection->shape[1], false);
	set_transform(transform, DS_FIT_SHORTEST, size, size, DS_FILTER_BICUBIC, clip_mean,
				  clip_deviation);
	return DS_OK;
}

/* ---- all of them ---- */

static const ImageFamily torchvision = {"torchvision", false, NULL, read_torchvision,
										torchvision_tensor};
static const ImageFamily resnet = {"resnet", false, NULL, read_transformers_resnet,
								   transformers_resnet_tensor};
static const ImageFamily vit = {"vit", false, NULL, read_vit, vit_tensor};
static const ImageFamily clip = {"clip", true, clip_usable, read_clip, clip_tensor};
static const ImageFamily clip_vision = {"clip_vision_model", false, NULL, read_clip, clip_tensor};
static const ImageFamily open_clip = {"open_clip", true, open_clip_usable, read_open_clip,
									  open_clip_tensor};

const ImageFamily *
ds_image_family_find(DsJson model_type)
{
	static const ImageFamily *const all[] = {&resnet, &vit, &clip, &clip_vision};

	for (size_t i = 0; i < LENGTH(all); i++)
		if (ds_json_string_is(model_type, all[i]->model_type))
			return all[i];
	return NULL;
}

const ImageFamily *
ds_image_family_open_clip(void)
{
	return &open_clip;
}

const ImageFamily *
ds_image_family_torchvision(void)
{
	return &torchvision;
}

const char *
ds_image_family_names(void)
{
	return "resnet, vit, clip, OpenCLIP, residual networks with the names of torchvision";
}
