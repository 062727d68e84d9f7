/*
 * transform_config.c
 *		What models' files say about their pictures.
 *
 * preprocessor_config.json names an image processor of transformers and states
 * what differs from its defaults.  The same key means different things to
 * different processors: "size": 224 is the shorter edge for CLIP and a square for
 * ViT; ConvNeXT resizes to size / crop_pct and crops, but stretches from 384 on.
 * What a processor does by itself is in the table below, from its class in
 * transformers (src/transformers/models/X/image_processing_X.py).  Those whose name
 * ends in Fast do the same by torchvision, with differences of one level.
 *
 * open_clip_config.json: open_clip's src/open_clip/transform.py, image_transform().
 */
#include "image/transform.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"

#define CLIP_MEAN                            \
	{                                        \
		0.48145466f, 0.4578275f, 0.40821073f \
	}
#define CLIP_DEVIATION                        \
	{                                         \
		0.26862954f, 0.26130258f, 0.27577711f \
	}
#define HALF             \
	{                    \
		0.5f, 0.5f, 0.5f \
	}
#define IMAGENET_MEAN          \
	{                          \
		0.485f, 0.456f, 0.406f \
	}
#define IMAGENET_DEVIATION     \
	{                          \
		0.229f, 0.224f, 0.225f \
	}

typedef struct Processor
{
	const char *name; /* without ImageProcessor or FeatureExtractor */
	DsImageFit fit; /* what one number as size means */
	uint32_t size;
	DsImageFilter filter;
	uint32_t crop; /* 0: it cannot crop, whatever the file says */
	bool crop_share; /* ConvNeXT's crop_pct */
	float mean[3];
	float deviation[3];
} Processor;

static const Processor processors[] = {
	{"CLIP", DS_FIT_SHORTEST, 224, DS_FILTER_BICUBIC, 224, false, CLIP_MEAN, CLIP_DEVIATION},
	{"Bit", DS_FIT_SHORTEST, 224, DS_FILTER_BICUBIC, 224, false, CLIP_MEAN, CLIP_DEVIATION},
	{"ViT", DS_FIT_EXACT, 224, DS_FILTER_BILINEAR, 0, false, HALF, HALF},
	{"DeiT", DS_FIT_EXACT, 256, DS_FILTER_BICUBIC, 224, false, HALF, HALF},
	{"Siglip", DS_FIT_EXACT, 224, DS_FILTER_BICUBIC, 0, false, HALF, HALF},
	{"Blip", DS_FIT_EXACT, 384, DS_FILTER_BICUBIC, 0, false, CLIP_MEAN, CLIP_DEVIATION},
	{"ConvNext", DS_FIT_SHORTEST, 384, DS_FILTER_BILINEAR, 0, true, IMAGENET_MEAN,
	 IMAGENET_DEVIATION},
};

typedef struct Reader
{
	DsJson root;
	const char *file;
	DsStatus *status;
} Reader;

#define TRY(call)                    \
	do                               \
	{                                \
		DsCode code_of_try = (call); \
		if (code_of_try != DS_OK)    \
			return code_of_try;      \
	} while (0)

static bool
given(DsJson value)
{
	return ds_json_kind(value) != DS_JSON_ABSENT && ds_json_kind(value) != DS_JSON_NULL;
}

static DsCode
read_flag(const Reader *reader, const char *key, bool *flag)
{
	DsJson value = ds_json_member(reader->root, key);

	if (given(value) && !ds_json_bool(value, flag))
		return ds_fail(reader->status, DS_BAD_DATA, "%s: %s is neither true nor false",
					   reader->file, key);
	return DS_OK;
}

static DsCode
bad_size(const Reader *reader, const char *key)
{
	return ds_fail(reader->status, DS_BAD_DATA, "%s: %s is no edge of 1 to %d pixels", reader->file,
				   key, DS_TRANSFORM_EDGE_MAX);
}

static DsCode
read_edge(const Reader *reader, const char *key, DsJson value, uint32_t *edge)
{
	int64_t number;

	if (!ds_json_integer(value, &number) || number < 1 || number > DS_TRANSFORM_EDGE_MAX)
		return bad_size(reader, key);
	*edge = (uint32_t) number;
	return DS_OK;
}

/* {"height", "width"}, {"shortest_edge"} or a number; fit says what a number means, and what it was
 */
static DsCode
read_size(const Reader *reader, const char *key, DsJson value, DsImageFit *fit, uint32_t *height,
		  uint32_t *width)
{
	DsJson high, wide, edge;
	DsJsonWanted wanted[] = {{"height", &high}, {"width", &wide}, {"shortest_edge", &edge}};

	if (ds_json_kind(value) == DS_JSON_NUMBER)
	{
		TRY(read_edge(reader, key, value, height));
		*width = *height;
		return DS_OK;
	}
	if (ds_json_kind(value) != DS_JSON_OBJECT)
		return ds_fail(reader->status, DS_UNSUPPORTED,
					   "%s: %s is neither a number nor an object; no other form is read",
					   reader->file, key);
	for (DsJsonItem item = ds_json_items(value); ds_json_next(&item);)
		if (!ds_json_string_is(item.key, "height") && !ds_json_string_is(item.key, "width") &&
			!ds_json_string_is(item.key, "shortest_edge"))
			return ds_fail(reader->status, DS_UNSUPPORTED,
						   "%s: %s may hold height and width or shortest_edge, nothing else is "
						   "supported (such as longest_edge)",
						   reader->file, key);
	ds_json_members(value, wanted, sizeof(wanted) / sizeof(wanted[0]));
	if (given(edge))
	{
		if (given(high) || given(wide))
			return ds_fail(reader->status, DS_BAD_DATA,
						   "%s: %s has shortest_edge beside height or width", reader->file, key);
		TRY(read_edge(reader, key, edge, height));
		*width = *height;
		*fit = DS_FIT_SHORTEST;
		return DS_OK;
	}
	TRY(read_edge(reader, key, high, height));
	TRY(read_edge(reader, key, wide, width));
	*fit = DS_FIT_EXACT;
	return DS_OK;
}

/* three numbers, or one for all channels */
static DsCode
read_channels(const Reader *reader, DsJson object, const char *key, float out[3])
{
	DsJson value = ds_json_member(object, key);
	double number;
	size_t count = 0;

	if (!given(value))
		return DS_OK;
	if (ds_json_double(value, &number))
	{
		out[0] = out[1] = out[2] = (float) number;
		return DS_OK;
	}
	if (ds_json_kind(value) == DS_JSON_ARRAY)
	{
		for (DsJsonItem item = ds_json_items(value); ds_json_next(&item); count++)
			if (!ds_json_double(item.value, &number))
				count = 4;
			else if (count < 3)
				out[count] = (float) number;
	}
	if (count != 3)
		return ds_fail(reader->status, DS_UNSUPPORTED,
					   "%s: %s is no list of three numbers; only pictures of three channels are "
					   "supported",
					   reader->file, key);
	return DS_OK;
}

/* what would change pixels, and is not done */
static DsCode
refuse_steps(const Reader *reader)
{
	static const char *const steps[] = {"do_pad",
										"do_thumbnail",
										"do_align_long_axis",
										"do_align_axis",
										"do_flip_channel_order",
										"do_color_quantize",
										"do_image_splitting",
										"do_crop_margin",
										"do_grayscale",
										"rescale_offset",
										"include_top",
										"do_center_crop_to_multiple",
										"keep_aspect_ratio"};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
	{
		bool flag = false;

		TRY(read_flag(reader, steps[i], &flag));
		if (flag)
			return ds_fail(reader->status, DS_UNSUPPORTED, "%s: %s is not supported", reader->file,
						   steps[i]);
	}
	return DS_OK;
}

/* the processor that the file names; NULL: none */
static DsCode
find_processor(const Reader *reader, const Processor **found)
{
	static const char *const suffixes[] = {"ImageProcessor", "ImageProcessorFast",
										   "FeatureExtractor"};
	DsJson name = ds_json_member(reader->root, "image_processor_type");
	char copy[65];
	size_t length;

	*found = NULL;
	if (!given(name))
		name = ds_json_member(reader->root, "feature_extractor_type");
	if (!given(name))
		return DS_OK;
	if (ds_json_kind(name) != DS_JSON_STRING)
		return ds_fail(reader->status, DS_BAD_DATA, "%s: the type of the processor is no string",
					   reader->file);
	for (size_t i = 0; i < sizeof(processors) / sizeof(processors[0]); i++)
		for (size_t k = 0; k < sizeof(suffixes) / sizeof(suffixes[0]); k++)
		{
			snprintf(copy, sizeof(copy), "%s%s", processors[i].name, suffixes[k]);
			if (ds_json_string_is(name, copy))
			{
				*found = &processors[i];
				return DS_OK;
			}
		}
	length = ds_json_string_size(name);
	if (length >= sizeof(copy))
		return ds_fail(reader->status, DS_UNSUPPORTED,
					   "%s: the image processor that it names is not known", reader->file);
	length = ds_json_string_copy(name, copy);
	for (size_t i = 0; i < length; i++)
		if ((unsigned char) copy[i] < 0x20 || copy[i] == 0x7f)
			copy[i] = '?';
	copy[length] = 0;
	return ds_fail(reader->status, DS_UNSUPPORTED,
				   "%s: the image processor \"%s\" is not known; known are CLIP, Bit, ViT, "
				   " DeiT, Siglip, Blip and ConvNext",
				   reader->file, copy);
}

/* ConvNeXT: size is that of the result; below 384 more is resized to, and the middle taken */
static DsCode
apply_crop_share(const Reader *reader, DsImageTransform *t, uint32_t edge)
{
	DsJson value = ds_json_member(reader->root, "crop_pct");
	double share = 224.0 / 256;

	if (given(value) && (!ds_json_double(value, &share) || !(share > 0 && share <= 1)))
		return ds_fail(reader->status, DS_BAD_DATA, "%s: crop_pct is not between 0 and 1",
					   reader->file);
	if (edge >= 384)
	{
		t->fit = DS_FIT_EXACT;
		t->height = t->width = edge;
		return DS_OK;
	}
	if (edge / share > DS_TRANSFORM_EDGE_MAX)
		return bad_size(reader, "size divided by crop_pct");
	t->fit = DS_FIT_SHORTEST;
	t->height = t->width = (uint32_t) (edge / share);
	t->crop_height = t->crop_width = edge;
	return DS_OK;
}

static DsCode
read_resize(const Reader *reader, const Processor *processor, DsImageTransform *t)
{
	DsJson size = ds_json_member(reader->root, "size");
	DsJson crop = ds_json_member(reader->root, "crop_size");
	DsJson resample = ds_json_member(reader->root, "resample");
	DsImageFit fit = t->fit;
	uint32_t height = t->height;
	uint32_t width = t->width;
	bool do_resize = fit != DS_FIT_NONE;
	bool do_crop = t->crop_height > 0;
	bool to_square = true;

	if (processor == NULL && given(size))
		do_resize = true;
	TRY(read_flag(reader, "do_resize", &do_resize));
	if (processor == NULL || do_crop)
		TRY(read_flag(reader, "do_center_crop", &do_crop));
	if (given(resample))
	{
		int64_t number;

		if (!ds_json_integer(resample, &number) || number < 0 || number > DS_FILTER_HAMMING)
			return ds_fail(reader->status, DS_UNSUPPORTED,
						   "%s: resample is none of the filters 0 (nearest), 1 (Lanczos), 2 "
						   "(bilinear), 3 (bicubic), 4 (box) and 5 (Hamming)",
						   reader->file);
		t->filter = (DsImageFilter) number;
	}
	if (given(size))
	{
		if (processor == NULL)
		{
			/* of processors without a name one number was the shorter edge if a crop followed */
			to_square = !do_crop;
			TRY(read_flag(reader, "default_to_square", &to_square));
			fit = to_square ? DS_FIT_EXACT : DS_FIT_SHORTEST;
		}
		TRY(read_size(reader, "size", size, &fit, &height, &width));
	}
	if (do_resize && height == 0)
		return ds_fail(reader->status, DS_BAD_DATA, "%s: do_resize without a size", reader->file);
	if (processor != NULL && processor->crop_share)
	{
		if (fit != DS_FIT_SHORTEST)
			return ds_fail(reader->status, DS_BAD_DATA, "%s: size has no shortest_edge",
						   reader->file);
		t->fit = DS_FIT_NONE;
		return do_resize ? apply_crop_share(reader, t, height) : DS_OK;
	}
	if (processor == NULL && given(ds_json_member(reader->root, "crop_pct")))
		return ds_fail(reader->status, DS_UNSUPPORTED,
					   "%s: crop_pct is supported where the processor is ConvNext", reader->file);
	t->fit = do_resize ? fit : DS_FIT_NONE;
	t->height = do_resize ? height : 0;
	t->width = do_resize ? width : 0;
	if (!do_crop)
	{
		t->crop_height = t->crop_width = 0;
		return DS_OK;
	}
	if (given(crop))
	{
		DsImageFit square = DS_FIT_EXACT;

		TRY(read_size(reader, "crop_size", crop, &square, &t->crop_height, &t->crop_width));
		if (square != DS_FIT_EXACT)
			return ds_fail(reader->status, DS_BAD_DATA, "%s: crop_size has no height and width",
						   reader->file);
	}
	if (t->crop_height == 0)
		return ds_fail(reader->status, DS_BAD_DATA, "%s: do_center_crop without a crop_size",
					   reader->file);
	return DS_OK;
}

static DsCode
read_scale(const Reader *reader, DsImageTransform *t)
{
	DsJson factor = ds_json_member(reader->root, "rescale_factor");
	bool do_rescale = true;
	bool do_normalize = true;

	TRY(read_flag(reader, "do_rescale", &do_rescale));
	TRY(read_flag(reader, "do_normalize", &do_normalize));
	if (given(factor) && !ds_json_double(factor, &t->scale))
		return ds_fail(reader->status, DS_BAD_DATA, "%s: rescale_factor is no number",
					   reader->file);
	TRY(read_channels(reader, reader->root, "image_mean", t->mean));
	TRY(read_channels(reader, reader->root, "image_std", t->deviation));
	if (!do_rescale)
		t->scale = 1;
	if (!do_normalize)
		for (size_t c = 0; c < 3; c++)
		{
			t->mean[c] = 0;
			t->deviation[c] = 1;
		}
	return DS_OK;
}

/* what is left: numbers that no step can work with */
static DsCode
check(const Reader *reader, const DsImageTransform *t)
{
	DsStatus reason;

	if (ds_image_transform_check(t, &reason) != DS_OK)
		return ds_fail(reader->status, DS_BAD_DATA, "%s: %s", reader->file, reason.message);
	return DS_OK;
}

static DsCode
open_root(Reader *reader, const char *json, size_t length)
{
	TRY(ds_json_parse(json, length, reader->file, &reader->root, reader->status));
	if (ds_json_kind(reader->root) != DS_JSON_OBJECT)
		return ds_fail(reader->status, DS_BAD_DATA, "%s is no JSON object", reader->file);
	return DS_OK;
}

DsCode
ds_image_transform_preprocessor(const char *json, size_t length, const char *file,
								const DsImageTransform *defaults, DsImageTransform *transform,
								DsStatus *status)
{
	Reader reader = {{NULL, NULL}, file, status};
	const Processor *processor;

	TRY(open_root(&reader, json, length));
	TRY(find_processor(&reader, &processor));
	ds_image_transform_init(transform);
	if (processor == NULL && defaults != NULL)
		*transform = *defaults;
	if (processor != NULL)
	{
		transform->fit = processor->fit;
		transform->height = transform->width = processor->size;
		transform->filter = processor->filter;
		transform->crop_height = transform->crop_width = processor->crop;
		memcpy(transform->mean, processor->mean, sizeof(transform->mean));
		memcpy(transform->deviation, processor->deviation, sizeof(transform->deviation));
	}
	TRY(refuse_steps(&reader));
	TRY(read_resize(&reader, processor, transform));
	TRY(read_scale(&reader, transform));
	return check(&reader, transform);
}

/* a number, or [height, width] */
static DsCode
read_pair(const Reader *reader, const char *key, DsJson value, uint32_t *height, uint32_t *width)
{
	DsJson parts[2] = {{NULL, NULL}, {NULL, NULL}};
	size_t count = 0;

	if (ds_json_kind(value) == DS_JSON_NUMBER)
	{
		TRY(read_edge(reader, key, value, height));
		*width = *height;
		return DS_OK;
	}
	for (DsJsonItem item = ds_json_items(value); ds_json_next(&item); count++)
		if (count < 2)
			parts[count] = item.value;
	if (ds_json_kind(value) != DS_JSON_ARRAY || count != 2)
		return bad_size(reader, key);
	TRY(read_edge(reader, key, parts[0], height));
	return read_edge(reader, key, parts[1], width);
}

DsCode
ds_image_transform_open_clip(const char *json, size_t length, const char *file,
							 DsImageTransform *transform, DsStatus *status)
{
	static const float mean[3] = CLIP_MEAN;
	static const float deviation[3] = CLIP_DEVIATION;
	Reader reader = {{NULL, NULL}, file, status};
	DsImageTransform *t = transform;
	DsJson config, vision, mode, interpolation, resize, fill, size;
	DsJsonWanted wanted[] = {{"mode", &mode},
							 {"interpolation", &interpolation},
							 {"resize_mode", &resize},
							 {"fill_color", &fill},
							 {"size", &size}};
	uint32_t height = 224, width = 224;
	int64_t grey = 0;

	TRY(open_root(&reader, json, length));
	config = ds_json_member(reader.root, "preprocess_cfg");
	vision = ds_json_member(ds_json_member(reader.root, "model_cfg"), "vision_cfg");
	ds_image_transform_init(t);
	memcpy(t->mean, mean, sizeof(mean));
	memcpy(t->deviation, deviation, sizeof(deviation));
	t->filter = DS_FILTER_BICUBIC;
	ds_json_members(config, wanted, sizeof(wanted) / sizeof(wanted[0]));
	if (!given(size))
		size = ds_json_member(vision, "image_size");
	if (given(size))
		TRY(read_pair(&reader, "the size of images", size, &height, &width));
	if (given(mode) && !ds_json_string_is(mode, "RGB"))
		return ds_fail(status, DS_UNSUPPORTED, "%s: mode is not RGB", file);
	if (ds_json_string_is(interpolation, "bilinear"))
		t->filter = DS_FILTER_BILINEAR;
	else if (given(interpolation) && !ds_json_string_is(interpolation, "bicubic") &&
			 !ds_json_string_is(interpolation, "random") && !ds_json_string_is(interpolation, ""))
		return ds_fail(status, DS_UNSUPPORTED, "%s: interpolation is neither bicubic nor bilinear",
					   file);
	if (given(fill) && (!ds_json_integer(fill, &grey) || grey < 0 || grey > 255))
		return ds_fail(status, DS_UNSUPPORTED, "%s: fill_color is no number from 0 to 255", file);
	memset(t->fill, (int) grey, sizeof(t->fill));
	t->height = height;
	t->width = width;
	if (ds_json_string_is(resize, "squash"))
		t->fit = DS_FIT_EXACT;
	else
	{
		t->crop_height = height;
		t->crop_width = width;
		t->crop_half_even = true;
		if (ds_json_string_is(resize, "longest"))
			t->fit = DS_FIT_LONGEST;
		else if (given(resize) && !ds_json_string_is(resize, "shortest"))
			return ds_fail(status, DS_UNSUPPORTED,
						   "%s: resize_mode is none of shortest, longest and squash", file);
		else if (height != width)
			return ds_fail(status, DS_UNSUPPORTED,
						   "%s: images that are no squares need resize_mode squash or longest",
						   file);
		else
			t->fit = DS_FIT_SHORTEST;
	}
	TRY(read_channels(&reader, config, "mean", t->mean));
	TRY(read_channels(&reader, config, "std", t->deviation));
	return check(&reader, t);
}
