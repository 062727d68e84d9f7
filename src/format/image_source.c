/*
 * image_source.c
 *		A trained network over pictures as it lies in a folder.
 */
#include "format/image_source.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "format/families.h"
#include "format/image_families.h"
#include "format/safetensors.h"

#define CONFIG_MAX ((size_t) 4 << 20)

/* ---- which kind of model is it? ---- */

/* The only .safetensors of the folder's top level; NULL when there are none or several */
static const char *
only_weights(const DsFolder *folder)
{
	const char *found = NULL;
	const char *name;

	if (folder->name == NULL)
		return NULL;
	for (size_t i = 0; (name = folder->name(folder->context, i)) != NULL; i++)
	{
		size_t length = strlen(name);

		if (length <= strlen(".safetensors") ||
			strcmp(name + length - strlen(".safetensors"), ".safetensors") != 0 ||
			!ds_folder_plain_name(name, length))
			continue;
		if (found != NULL)
			return NULL;
		found = name;
	}
	return found;
}

static DsCode
open_weights(Source *source)
{
	static const char *const usual[] = {"model.safetensors", "open_clip_model.safetensors",
										"model.safetensors.index.json"};
	const char *name = only_weights(source->folder);

	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
	{
		bool has;

		TRY(ds_folder_has(source->folder, usual[i], &has, source->status));
		if (has)
			return ds_source_open_weights(source, "", &source->files);
	}
	if (name == NULL)
		return ds_source_open_weights(source, "", &source->files);
	source->files = ds_arena_zero(source->arena, 1, sizeof(DsTensorFiles));
	if (source->files == NULL)
		return ds_source_no_memory(source);
	return ds_safetensors_open(source->folder, name, source->arena, source->scratch, source->files,
							   source->status);
}

/*
 * The family, with config and weights open; NULL when it has nothing to do with
 * pictures.
 */
static DsCode
find_family(Source *source, const ImageFamily **family)
{
	DsJson open_clip;
	DsJson type;
	bool modules;

	*family = NULL;
	source->config_name = "config.json";
	TRY(ds_source_json(source, "config.json", &source->config));
	type = ds_json_member(source->config, "model_type");
	if (ds_json_kind(type) == DS_JSON_STRING)
	{
		*family = ds_image_family_find(type);
		return *family != NULL ? open_weights(source) : DS_OK;
	}
	TRY(ds_source_json(source, "open_clip_config.json", &open_clip));
	if (ds_json_kind(open_clip) == DS_JSON_OBJECT)
	{
		source->config = open_clip;
		source->config_name = "open_clip_config.json";
		*family = ds_image_family_open_clip();
		return open_weights(source);
	}
	/* sentence-transformers and TensorFlow checkpoints are texts' */
	TRY(ds_folder_has(source->folder, "modules.json", &modules, source->status));
	if (modules || only_weights(source->folder) == NULL)
		return DS_OK;
	TRY(open_weights(source));
	if (ds_tensors_find(source->files, "conv1.weight") != NULL &&
		ds_tensors_find(source->files, "layer1.0.conv1.weight") != NULL)
		*family = ds_image_family_torchvision();
	return DS_OK;
}

DsCode
ds_source_reads(const DsFolder *folder, DsArena *scratch, uint32_t *reads, DsStatus *status)
{
	DsArena arena;
	const ImageFamily *family;
	DsCode code;
	Source source = {.folder = folder, .scratch = scratch, .status = status, .prefix = ""};

	*reads = DS_READS_TEXTS;
	ds_arena_init(&arena, &scratch->allocator);
	source.arena = &arena;
	code = find_family(&source, &family);
	if (code == DS_OK && family != NULL)
	{
		*reads = family->texts ? DS_READS_TEXTS : 0;
		if (!family->texts || family->usable(&source))
			*reads |= DS_READS_IMAGES;
	}
	ds_arena_free(&arena);
	return code;
}

/* ---- pictures to what the network reads ---- */

static DsCode
load_json(Source *source, const char *name, char **text, size_t *length)
{
	return ds_folder_load(source->folder, name, CONFIG_MAX, source->arena, text, length,
						  source->status);
}

static DsCode
read_transform(Source *source, const ImageFamily *family, DsImageTransform *transform)
{
	DsImageTransform defaults = *transform;
	char *text;
	size_t length;

	TRY(load_json(source, "preprocessor_config.json", &text, &length));
	if (text != NULL)
		return ds_image_transform_preprocessor(text, length, "preprocessor_config.json", &defaults,
											   transform, source->status);
	if (family != ds_image_family_open_clip())
		return DS_OK;
	TRY(load_json(source, "open_clip_config.json", &text, &length));
	return ds_image_transform_open_clip(text, length, "open_clip_config.json", transform,
										source->status);
}

/* A network takes pictures of one size, which the transform must give */
static DsCode
check_size(Source *source, DsImageSource *out, bool any)
{
	const DsImageTransform *transform = &out->transform;
	uint32_t height = transform->crop_height;
	uint32_t width = transform->crop_width;

	if (height == 0 && transform->fit == DS_FIT_EXACT)
	{
		height = transform->height;
		width = transform->width;
	}
	if (height == 0 || width == 0)
		return ds_fail(source->status, DS_UNSUPPORTED,
					   "pictures of no fixed size (preprocessor_config.json without crop) are not "
					   "supported");
	if (any)
	{
		out->spec.height = height;
		out->spec.width = width;
	}
	if (out->spec.height != height || out->spec.width != width)
		return ds_fail(source->status, DS_BAD_DATA,
					   "the network takes pictures of %u x %u, but they are made %u x %u",
					   out->spec.width, out->spec.height, width, height);
	return DS_OK;
}

/* ---- tensors ---- */

/* A linear layer may be stored as a convolution over a patch, a vector with ones before it */
static bool
fits(const DsTensorInfo *info, const DsImageTensor *wanted)
{
	uint32_t d = 0;
	uint64_t elements = 1;

	for (uint32_t i = 0; i < wanted->rank; i++)
		elements *= wanted->shape[i];
	if (info->elements != elements)
		return false;
	if (wanted->rank == 4)
	{
		for (; d < 4 && info->rank == 4; d++)
			if (info->shape[d] != wanted->shape[d])
				return false;
		return info->rank == 4;
	}
	while (d < info->rank && info->shape[d] == 1 && wanted->shape[0] != 1)
		d++;
	return d < info->rank ? info->shape[d] == wanted->shape[0] : elements == 1;
}

static DsCode
add_tensor(Source *source, const ImageFamily *family, const DsImageTensor *wanted,
		   DsSourceTensor *entry)
{
	DsImageTensor tensor = *wanted;
	const DsTensorInfo *info = NULL;
	char expected[256] = "";
	char shown[DS_SHOWN_SIZE];

	/* OpenCLIP's module 0 may be a norm, or a projection that is stored the other way round */
	if (tensor.linear && strlen(tensor.name) + 3 < sizeof(tensor.name))
	{
		strcat(tensor.name, "_t");
		info = family->tensor(source, tensor.name, expected, sizeof(expected));
		if (info != NULL)
		{
			tensor.shape[0] = wanted->shape[1];
			tensor.shape[1] = wanted->shape[0];
		}
	}
	if (info == NULL)
	{
		memcpy(tensor.name, wanted->name, sizeof(tensor.name));
		info = family->tensor(source, tensor.name, expected, sizeof(expected));
	}
	if (info == NULL)
		return ds_fail(source->status, DS_BAD_DATA, "tensor \"%s\" is missing",
					   expected[0] != '\0' ? expected : wanted->name);
	if (!fits(info, &tensor))
		return ds_fail(source->status, DS_BAD_DATA,
					   "tensor \"%s\" has another shape than [%u, %u, %u, %u], or %" PRIu64
					   " values instead",
					   ds_shown(shown, info->name), tensor.shape[0], tensor.shape[1],
					   tensor.shape[2], tensor.shape[3], info->elements);
	if (info->dtype != DS_DTYPE_F32 && info->dtype != DS_DTYPE_F16 &&
		info->dtype != DS_DTYPE_BF16 && info->dtype != DS_DTYPE_F64)
		return ds_fail(source->status, DS_UNSUPPORTED,
					   "tensor \"%s\" has the type %s, which is not supported",
					   ds_shown(shown, info->name), ds_dtype_name(info->dtype));
	snprintf(entry->name, sizeof(entry->name), "%s", tensor.name);
	entry->info = info;
	entry->files = source->files;
	return DS_OK;
}

DsCode
ds_image_source_open(const DsFolder *folder, bool classes, DsArena *arena, DsArena *scratch,
					 DsImageSource *out, DsStatus *status)
{
	Source source = {
		.folder = folder, .arena = arena, .scratch = scratch, .status = status, .prefix = ""};
	const ImageFamily *family;
	size_t count;

	memset(out, 0, sizeof(*out));
	ds_image_transform_init(&out->transform);
	TRY(find_family(&source, &family));
	if (family == NULL)
		return ds_fail(status, DS_UNSUPPORTED,
					   "this is no model of pictures that is known; these are: %s",
					   ds_image_family_names());
	TRY(family->read(&source, classes, &out->spec, &out->transform));
	TRY(read_transform(&source, family, &out->transform));
	TRY(check_size(&source, out, out->spec.kind == DS_IMAGE_CONV));
	TRY(ds_image_transform_check(&out->transform, status));
	TRY(ds_image_spec_check(&out->spec, status));
	count = ds_image_spec_tensors(&out->spec);
	out->tensors = ds_arena_zero(arena, count, sizeof(DsSourceTensor));
	if (out->tensors == NULL)
		return ds_source_no_memory(&source);
	for (size_t i = 0; i < count; i++)
	{
		DsImageTensor wanted;

		if (ds_image_spec_tensor(&out->spec, i, &wanted))
			TRY(add_tensor(&source, family, &wanted, &out->tensors[out->tensor_count++]));
	}
	return DS_OK;
}
