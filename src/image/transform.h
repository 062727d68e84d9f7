/*
 * transform.h
 *		From a picture to what an image model reads: resize, crop, scale, normalise.
 *
 * What the steps do, and with which rounding, is what the libraries do that models
 * were trained with: the image processors of transformers, and open_clip's
 * transforms (torchvision's).  See transform_config.c for their files.
 */
#ifndef DS_IMAGE_TRANSFORM_H
#define DS_IMAGE_TRANSFORM_H

#include "image/resize.h"

typedef enum DsImageFit
{
	DS_FIT_NONE = 0, /* the size stays */
	DS_FIT_EXACT, /* to height x width, whatever the shape */
	DS_FIT_SHORTEST, /* the shape stays, the shorter edge becomes height; width counts for nothing */
	DS_FIT_LONGEST /* the shape stays, the largest that height x width holds */
} DsImageFit;

/* edges that a transform may ask for */
#define DS_TRANSFORM_EDGE_MAX 16384

typedef struct DsImageTransform
{
	DsImageFit fit;
	uint32_t height;
	uint32_t width;
	DsImageFilter filter;
	/* then the middle, filled up where the picture is smaller; 0: no crop */
	uint32_t crop_height;
	uint32_t crop_width;
	/*
	 * Where the middle is when an odd number of pixels is too many: torchvision rounds
	 * half to even (true), transformers rounds down (false).
	 */
	bool crop_half_even;
	uint8_t fill[3];
	/* then (pixel * scale - mean) / deviation, by channel */
	double scale;
	float mean[3];
	float deviation[3];
} DsImageTransform;

/* no step but scaling by 1/255 */
extern void ds_image_transform_init(DsImageTransform *transform);

/* DS_INVALID when a size or a number makes no sense */
extern DsCode ds_image_transform_check(const DsImageTransform *transform, DsStatus *status);

/* the size that a picture of width x height will have; DS_TOO_LARGE */
extern DsCode ds_image_transform_size(const DsImageTransform *transform, uint32_t width,
									  uint32_t height, uint32_t *out_width, uint32_t *out_height,
									  DsStatus *status);

/*
 * The steps up to the crop: pixels of the size that ds_image_transform_size()
 * says, into arena.  scratch, another arena, is left as it was.
 */
extern DsCode ds_image_transform_pixels(const DsImageTransform *transform, const DsImage *image,
										DsArena *arena, DsArena *scratch, const DsCancel *cancel,
										DsImage *out, DsStatus *status);

typedef enum DsImageLayout
{
	DS_LAYOUT_CHW, /* [3][height][width] */
	DS_LAYOUT_HWC /* [height][width][3] */
} DsImageLayout;

/* The last step: pixels to 3 x height x width floats */
extern void ds_image_transform_floats(const DsImageTransform *transform, const DsImage *image,
									  DsImageLayout layout, float *out);

/*
 * All steps: out has room for 3 x height x width floats of
 * ds_image_transform_size().  scratch is left as it was.
 */
extern DsCode ds_image_transform_apply(const DsImageTransform *transform, const DsImage *image,
									   DsImageLayout layout, float *out, DsArena *scratch,
									   const DsCancel *cancel, DsStatus *status);

/*
 * preprocessor_config.json of transformers.  defaults (NULL: those of
 * ds_image_transform_init()) count where the file names no processor and leaves a
 * key out; a processor that it names has defaults of its own.
 * Errors: DS_BAD_DATA, DS_UNSUPPORTED with what is not done; file stands in messages.
 */
extern DsCode ds_image_transform_preprocessor(const char *json, size_t length, const char *file,
											  const DsImageTransform *defaults,
											  DsImageTransform *transform, DsStatus *status);

/* preprocess_cfg and model_cfg.vision_cfg.image_size of open_clip_config.json */
extern DsCode ds_image_transform_open_clip(const char *json, size_t length, const char *file,
										   DsImageTransform *transform, DsStatus *status);

#endif /* DS_IMAGE_TRANSFORM_H */
