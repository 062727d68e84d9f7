/*
 * transform.c
 *		Resize, crop, scale, normalise.
 */
#include "image/transform.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* where the picture is resized to, and which part of that is the result */
typedef struct Plan
{
	uint32_t width; /* resized */
	uint32_t height;
	uint32_t out_width;
	uint32_t out_height;
	DsImageWindow window; /* of the resized picture; may be empty on no axis */
	uint32_t left; /* where it lies in the result */
	uint32_t top;
} Plan;

void
ds_image_transform_init(DsImageTransform *transform)
{
	memset(transform, 0, sizeof(*transform));
	transform->filter = DS_FILTER_BILINEAR;
	transform->scale = 1.0 / 255;
	for (size_t c = 0; c < 3; c++)
		transform->deviation[c] = 1;
}

DsCode
ds_image_transform_check(const DsImageTransform *transform, DsStatus *status)
{
	const DsImageTransform *t = transform;
	bool sized = t->fit != DS_FIT_NONE;
	bool wide = t->fit == DS_FIT_EXACT || t->fit == DS_FIT_LONGEST;

	if ((unsigned) t->fit > DS_FIT_LONGEST || (unsigned) t->filter > DS_FILTER_HAMMING)
		return ds_fail(status, DS_INVALID, "an image transform has an unknown step");
	if ((sized && (t->height == 0 || t->height > DS_TRANSFORM_EDGE_MAX)) ||
		(wide && (t->width == 0 || t->width > DS_TRANSFORM_EDGE_MAX)) ||
		(t->crop_height == 0) != (t->crop_width == 0) || t->crop_height > DS_TRANSFORM_EDGE_MAX ||
		t->crop_width > DS_TRANSFORM_EDGE_MAX)
		return ds_fail(status, DS_INVALID,
					   "an image transform has an edge that is not between 1 and %d",
					   DS_TRANSFORM_EDGE_MAX);
	if (!isfinite(t->scale))
		return ds_fail(status, DS_INVALID, "an image transform has a scale that is no number");
	for (size_t c = 0; c < 3; c++)
		if (!isfinite(t->mean[c]) || !isfinite(t->deviation[c]) || t->deviation[c] == 0)
			return ds_fail(status, DS_INVALID,
						   "an image transform has a mean or standard deviation that makes no "
						   "sense");
	return DS_OK;
}

/* one axis of the crop */
static void
crop_axis(uint32_t size, uint32_t crop, bool half_even, uint32_t *out, uint32_t *begin,
		  uint32_t *count, uint32_t *place)
{
	*out = crop == 0 ? size : crop;
	*begin = 0;
	*place = 0;
	*count = size;
	if (crop == 0)
		return;
	if (size >= crop)
	{
		uint32_t more = size - crop;

		*begin = more / 2;
		/* an odd half: to the even one of its neighbours */
		if (half_even && more % 2 == 1 && *begin % 2 == 1)
			(*begin)++;
		*count = crop;
	}
	else
		*place = half_even ? (crop - size) / 2 : (crop - size + 1) / 2;
}

static DsCode
plan_of(const DsImageTransform *t, uint32_t width, uint32_t height, Plan *plan, DsStatus *status)
{
	uint64_t wide = width, high = height;
	DsCode code = ds_image_transform_check(t, status);

	if (code != DS_OK)
		return code;
	if (width == 0 || height == 0)
		return ds_fail(status, DS_INVALID, "the image is empty");
	switch (t->fit)
	{
		case DS_FIT_NONE:
			break;
		case DS_FIT_EXACT:
			wide = t->width;
			high = t->height;
			break;
		case DS_FIT_SHORTEST:
			/* the longer edge is rounded down */
			wide = width <= height ? t->height : (uint64_t) t->height * width / height;
			high = width <= height ? (uint64_t) t->height * height / width : t->height;
			break;
		case DS_FIT_LONGEST:
		{
			double ratio = fmax((double) height / t->height, (double) width / t->width);

			/* both to the nearest, halves to even */
			wide = (uint64_t) rint(width / ratio);
			high = (uint64_t) rint(height / ratio);
			if (wide == 0)
				wide = 1;
			if (high == 0)
				high = 1;
			break;
		}
	}
	if (wide > DS_RESIZE_EDGE_MAX || high > DS_RESIZE_EDGE_MAX)
		return ds_fail(status, DS_TOO_LARGE,
					   "an image of %" PRIu32 " x %" PRIu32 " pixels would be resized to %" PRIu64
					   " x %" PRIu64,
					   width, height, wide, high);
	plan->width = (uint32_t) wide;
	plan->height = (uint32_t) high;
	crop_axis(plan->width, t->crop_width, t->crop_half_even, &plan->out_width, &plan->window.left,
			  &plan->window.width, &plan->left);
	crop_axis(plan->height, t->crop_height, t->crop_half_even, &plan->out_height, &plan->window.top,
			  &plan->window.height, &plan->top);
	/* without a crop a thin picture could become a very long one */
	if (t->fit != DS_FIT_NONE && (uint64_t) plan->out_width * plan->out_height >
									 (uint64_t) DS_TRANSFORM_EDGE_MAX * DS_TRANSFORM_EDGE_MAX)
		return ds_fail(status, DS_TOO_LARGE,
					   "an image of %" PRIu32 " x %" PRIu32 " pixels would become one of %" PRIu32
					   " x %" PRIu32,
					   width, height, plan->out_width, plan->out_height);
	return DS_OK;
}

DsCode
ds_image_transform_size(const DsImageTransform *transform, uint32_t width, uint32_t height,
						uint32_t *out_width, uint32_t *out_height, DsStatus *status)
{
	Plan plan;
	DsCode code = plan_of(transform, width, height, &plan, status);

	if (code == DS_OK)
	{
		*out_width = plan.out_width;
		*out_height = plan.out_height;
	}
	return code;
}

static bool
changes_nothing(const Plan *plan, const DsImage *image)
{
	return plan->width == image->width && plan->height == image->height &&
		   plan->out_width == image->width && plan->out_height == image->height;
}

DsCode
ds_image_transform_pixels(const DsImageTransform *transform, const DsImage *image, DsArena *arena,
						  DsArena *scratch, const DsCancel *cancel, DsImage *out, DsStatus *status)
{
	Plan plan;
	DsArenaMark mark = ds_arena_mark(arena);
	size_t stride;
	DsCode code = plan_of(transform, image->width, image->height, &plan, status);

	memset(out, 0, sizeof(*out));
	if (code != DS_OK)
		return code;
	stride = (size_t) plan.out_width * 3;
	out->pixels = ds_arena_alloc(arena, stride, plan.out_height);
	if (out->pixels == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY,
					   "out of memory for an image of %" PRIu32 " x %" PRIu32 " pixels",
					   plan.out_width, plan.out_height);
	out->width = plan.out_width;
	out->height = plan.out_height;
	if (plan.window.width < plan.out_width || plan.window.height < plan.out_height)
		for (size_t i = 0; i < stride * plan.out_height; i += 3)
			memcpy(out->pixels + i, transform->fill, 3);
	code = ds_image_resize(image, plan.width, plan.height, transform->filter, &plan.window,
						   out->pixels + plan.top * stride + (size_t) plan.left * 3, stride,
						   scratch, cancel, status);
	if (code != DS_OK)
	{
		ds_arena_rewind(arena, mark);
		memset(out, 0, sizeof(*out));
	}
	return code;
}

void
ds_image_transform_floats(const DsImageTransform *transform, const DsImage *image,
						  DsImageLayout layout, float *out)
{
	size_t pixels = (size_t) image->width * image->height;
	float table[3][256];

	/*
	 * A byte has 256 values: with a table each result is the one that the libraries
	 * compute, in their precision (the product in double, the rest in float).
	 */
	for (size_t c = 0; c < 3; c++)
		for (size_t v = 0; v < 256; v++)
			table[c][v] = ((float) ((double) v * transform->scale) - transform->mean[c]) /
						  transform->deviation[c];
	if (layout == DS_LAYOUT_CHW)
		for (size_t i = 0; i < pixels; i++)
		{
			const uint8_t *p = image->pixels + i * 3;

			out[i] = table[0][p[0]];
			out[pixels + i] = table[1][p[1]];
			out[2 * pixels + i] = table[2][p[2]];
		}
	else
		for (size_t i = 0; i < pixels * 3; i += 3)
		{
			out[i] = table[0][image->pixels[i]];
			out[i + 1] = table[1][image->pixels[i + 1]];
			out[i + 2] = table[2][image->pixels[i + 2]];
		}
}

DsCode
ds_image_transform_apply(const DsImageTransform *transform, const DsImage *image,
						 DsImageLayout layout, float *out, DsArena *scratch, const DsCancel *cancel,
						 DsStatus *status)
{
	DsArena pixels;
	DsImage fitted;
	Plan plan;
	DsCode code = plan_of(transform, image->width, image->height, &plan, status);

	if (code != DS_OK)
		return code;
	if (changes_nothing(&plan, image))
	{
		ds_image_transform_floats(transform, image, layout, out);
		return DS_OK;
	}
	ds_arena_init(&pixels, &scratch->allocator);
	code = ds_image_transform_pixels(transform, image, &pixels, scratch, cancel, &fitted, status);
	if (code == DS_OK)
		ds_image_transform_floats(transform, &fitted, layout, out);
	ds_arena_free(&pixels);
	return code;
}
