/*
 * fuzz_image.c
 *		Pictures of any bytes, and the files that say what to do with them.
 *
 * The first byte says what the rest is (modulo 8):
 *		0 to 5: a picture; odd: strict; 4 and 5: checksums of a PNG are put right; it is
 *			then resized in a way that the second byte chooses
 *		6: a preprocessor_config.json
 *		7: an open_clip_config.json
 * Either there is an error with a message, or pixels that can all be read; nothing
 * is left in scratch.
 */
#include <stdlib.h>
#include <string.h>

#include "../unit/png_sums.h"
#include "image/transform.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
picture(const uint8_t *data, size_t size, bool strict, bool sums, unsigned way)
{
	/* small, so that many are tried */
	DsImageLimits limits = {1 << 20, 1 << 18, strict};
	DsImageTransform transform;
	DsImage image;
	DsArena arena, scratch;
	DsStatus status = {0};
	uint8_t *exact = malloc(size + !size);

	memcpy(exact, data, size);
	if (sums)
		png_sums(exact, size);
	ds_arena_init(&arena, NULL);
	ds_arena_init(&scratch, NULL);
	if (ds_image_decode(exact, size, &limits, &arena, &scratch, NULL, &image, &status) != DS_OK)
	{
		if (status.message[0] == 0 || image.pixels != NULL || arena.allocated != 0)
			abort();
	}
	else
	{
		size_t n = (size_t) image.width * image.height * 3;
		volatile uint8_t seen = 0;
		uint32_t width, height;

		if (n == 0 || n > limits.max_pixels * 3)
			abort();
		for (size_t i = 0; i < n; i++)
			seen = (uint8_t) (seen + image.pixels[i]);
		/* the same pixels where no memory follows them */
		{
			uint8_t *pixels = malloc(n);

			memcpy(pixels, image.pixels, n);
			image.pixels = pixels;
		}
		ds_image_transform_init(&transform);
		transform.fit = (DsImageFit) (way % 4);
		transform.filter = (DsImageFilter) (way / 4 % 6);
		transform.height = 1 + way % 61;
		transform.width = 1 + way % 53;
		if (way >= 64)
		{
			transform.crop_height = 1 + way % 47;
			transform.crop_width = 1 + way % 43;
			transform.crop_half_even = way % 2;
		}
		if (ds_image_transform_size(&transform, image.width, image.height, &width, &height,
									&status) == DS_OK &&
			(uint64_t) width * height <= limits.max_pixels)
		{
			float *out = malloc((size_t) width * height * 3 * sizeof(float));

			if (ds_image_transform_apply(&transform, &image,
										 way % 5 ? DS_LAYOUT_CHW : DS_LAYOUT_HWC, out, &scratch,
										 NULL, &status) != DS_OK)
				abort();
			for (size_t i = 0; i < (size_t) width * height * 3; i++)
				if (!(out[i] >= 0 && out[i] <= 1))
					abort();
			free(out);
		}
		free(image.pixels);
	}
	if (scratch.allocated != 0)
		abort();
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	free(exact);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	if (data[0] % 8 < 6)
		picture(data + 2, size - 2, data[0] % 2, data[0] % 8 >= 4, data[1]);
	else
	{
		DsImageTransform transform;
		DsStatus status = {0};
		char *exact = malloc(size - 1);
		DsCode code;

		memcpy(exact, data + 1, size - 1);
		code = data[0] % 8 == 6
				   ? ds_image_transform_preprocessor(exact, size - 1, "p.json", NULL, &transform,
													 &status)
				   : ds_image_transform_open_clip(exact, size - 1, "o.json", &transform, &status);
		if (code == DS_OK ? ds_image_transform_check(&transform, &status) != DS_OK
						  : status.message[0] == 0)
			abort();
		free(exact);
	}
	return 0;
}
