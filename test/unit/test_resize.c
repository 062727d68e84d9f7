/*
 * test_resize.c
 *		Resizing: the bytes that Pillow gives, windows, every kernel, what is refused;
 *		whole transforms and the files that describe them.
 */
#include "unit.h"

#include "base/random.h"
#include "image/resize_kernels.h"
#include "image/transform.h"
#include "resize_expected.h"

static DsStatus status;
static DsArena arena;
static DsArena scratch;

/* exactly its size, from malloc: the sanitizer sees a byte too far */
static DsImage
picture(uint32_t width, uint32_t height)
{
	DsImage image = {width, height, malloc((size_t) width * height * 3)};
	uint32_t state = 12345;

	for (size_t i = 0; i < (size_t) width * height * 3; i++)
	{
		state = state * 1664525 + 1013904223;
		image.pixels[i] = (uint8_t) (state >> 24);
	}
	return image;
}

static uint64_t
digest(const uint8_t *bytes, size_t size)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < size; i++)
		h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
	return h;
}

static void
test_pillow(void)
{
	static const char *const names[] = {"nearest", "Lanczos", "bilinear",
										"bicubic", "box",	  "Hamming"};
	size_t cases = sizeof(resize_cases) / sizeof(resize_cases[0]);

	for (int filter = 0; filter < 6; filter++)
	{
		DsImage image = picture(13, 9);
		uint8_t out[60];
		size_t right = 0, count = 0;

		CHECK(ds_image_resize(&image, 5, 4, (DsImageFilter) filter, NULL, out, 15, &scratch, NULL,
							  &status) == DS_OK &&
				  memcmp(out, resize_small[filter], sizeof(out)) == 0,
			  "%s: 13 x 9 to 5 x 4 is what Pillow gives", names[filter]);
		free(image.pixels);
		for (size_t i = 0; i < cases; i++)
		{
			const uint32_t *to = resize_cases[i].to;
			size_t size = (size_t) to[0] * to[1] * 3;
			uint8_t *bytes;

			if (resize_cases[i].filter != filter)
				continue;
			image = picture(resize_cases[i].from[0], resize_cases[i].from[1]);
			bytes = malloc(size);
			count++;
			right += ds_image_resize(&image, to[0], to[1], (DsImageFilter) filter, NULL, bytes,
									 (size_t) to[0] * 3, &scratch, NULL, &status) == DS_OK &&
					 digest(bytes, size) == resize_cases[i].digest;
			free(bytes);
			free(image.pixels);
		}
		CHECK(right == count && count > 5, "%s: so are %zu of %zu other sizes", names[filter],
			  right, count);
	}
	CHECK(scratch.allocated == 0, "scratch is given back");
}

static void
test_windows(void)
{
	DsRandom random;
	size_t wrong = 0;
	size_t touched = 0;

	ds_random_init(&random, 3, 1);
	for (int i = 0; i < 300; i++)
	{
		DsImage image = picture(1 + (uint32_t) ds_random_next(&random) % 70,
								1 + (uint32_t) ds_random_next(&random) % 70);
		uint32_t width = i % 7 == 0 ? image.width : 1 + (uint32_t) ds_random_next(&random) % 90;
		uint32_t height = i % 5 == 0 ? image.height : 1 + (uint32_t) ds_random_next(&random) % 90;
		DsImageFilter filter = (DsImageFilter) (i % 6);
		DsImageWindow window;
		size_t stride;
		uint8_t *all = malloc((size_t) width * height * 3);
		uint8_t *part;

		window.left = (uint32_t) ds_random_next(&random) % width;
		window.top = (uint32_t) ds_random_next(&random) % height;
		window.width = 1 + (uint32_t) ds_random_next(&random) % (width - window.left);
		window.height = 1 + (uint32_t) ds_random_next(&random) % (height - window.top);
		stride = (size_t) window.width * 3 + (size_t) i % 4;
		part = malloc(stride * window.height);
		memset(part, 77, stride * window.height);
		ds_image_resize(&image, width, height, filter, NULL, all, (size_t) width * 3, &scratch,
						NULL, &status);
		ds_image_resize(&image, width, height, filter, &window, part, stride, &scratch, NULL,
						&status);
		for (uint32_t y = 0; y < window.height; y++)
		{
			wrong += memcmp(part + y * stride,
							all + ((size_t) (window.top + y) * width + window.left) * 3,
							(size_t) window.width * 3) != 0;
			for (size_t x = (size_t) window.width * 3; x < stride; x++)
				touched += part[y * stride + x] != 77;
		}
		free(part);
		free(all);
		free(image.pixels);
	}
	CHECK(wrong == 0, "a window is the part of the whole");
	CHECK(touched == 0, "nothing is written beside it");
}

static void
test_kernels(void)
{
	const DsResizeKernels *portable = ds_resize_kernels_at(0);

	for (int level = 1; level < 4; level++)
	{
		const DsResizeKernels *kernels = ds_resize_kernels_at(level);
		DsRandom random;
		size_t wrong = 0;

		if (kernels == NULL || !(ds_resize_kernels() == kernels))
			continue;
		ds_random_init(&random, 5, (uint64_t) level);
		for (int i = 0; i < 500; i++)
		{
			/* any weights whose sums fit, not only those of filters */
			uint32_t taps = 1 + (uint32_t) ds_random_next(&random) % 23;
			size_t bytes = 1 + ds_random_next(&random) % 150;
			size_t stride = bytes + ds_random_next(&random) % 3;
			uint32_t count = 1 + (uint32_t) ds_random_next(&random) % 9;
			size_t n = (size_t) (taps + 3) / 4 * 4;
			size_t row = (size_t) (taps + count) * 3;
			uint8_t *in = malloc(stride * taps + row * 4 + DS_RESIZE_OVERREAD);
			int32_t *weights = calloc(n * count, sizeof(int32_t));
			int16_t *high = calloc(n * count, sizeof(int16_t));
			int16_t *low = calloc(n * count, sizeof(int16_t));
			uint32_t first[10], used[10];
			uint8_t *one = malloc(bytes), *two = malloc(bytes);
			uint8_t mine[4][30], other[4][30];
			DsResizeAxis axis = {count, (uint32_t) n, first, used, weights, high, low};
			const uint8_t *rows[4];
			uint8_t *to[2][4];

			for (size_t k = 0; k < stride * taps + row * 4 + DS_RESIZE_OVERREAD; k++)
				in[k] = i % 3 == 0 ? 255 : (uint8_t) ds_random_next(&random);
			for (uint32_t k = 0; k < count; k++)
			{
				first[k] = (uint32_t) ds_random_next(&random) % count;
				used[k] = taps;
				for (size_t t = 0; t < taps; t++)
				{
					int32_t w = (int32_t) (ds_random_next(&random) % (1 << 23)) - (1 << 22);

					w = i % 3 == 0 ? (int32_t) ((1u << 22) / taps) : w / (int32_t) taps * 2;
					weights[k * n + t] = w;
					high[k * n + t] = (int16_t) (w >> DS_RESIZE_LOW_BITS);
					low[k * n + t] = (int16_t) (w & ((1 << DS_RESIZE_LOW_BITS) - 1));
				}
			}
			portable->vertical(in, stride, bytes, taps, weights, high, low, one);
			kernels->vertical(in, stride, bytes, taps, weights, high, low, two);
			wrong += memcmp(one, two, bytes) != 0;
			for (size_t r = 0; r < 4; r++)
			{
				rows[r] = in + r * row;
				to[0][r] = mine[r];
				to[1][r] = other[r];
			}
			memset(mine, 9, sizeof(mine));
			memset(other, 9, sizeof(other));
			portable->horizontal(&axis, rows, to[0], 1 + (size_t) i % 4);
			kernels->horizontal(&axis, rows, to[1], 1 + (size_t) i % 4);
			wrong += memcmp(mine, other, sizeof(mine)) != 0;
			free(in);
			free(weights);
			free(high);
			free(low);
			free(one);
			free(two);
		}
		CHECK(wrong == 0, "kernels of level %d give the portable ones' bytes", level);
	}
}

static bool
always(void *context)
{
	(void) context;
	return true;
}

static void
test_refused(void)
{
	DsImage image = picture(4, 4);
	DsImage long_one = {1, 1 << 20, calloc(3, 1 << 20)};
	DsImage too_long = {1, (1 << 20) + 1, long_one.pixels};
	DsImageWindow outside = {3, 0, 2, 1};
	DsImageWindow empty = {0, 0, 0, 1};
	DsCancel cancel = {always, NULL};
	uint8_t out[300];

	CHECK(ds_image_resize(&image, 4, 4, (DsImageFilter) 6, NULL, out, 12, &scratch, NULL,
						  &status) == DS_INVALID,
		  "an unknown filter: %s", status.message);
	CHECK(ds_image_resize(&image, 4, 4, DS_FILTER_BOX, &outside, out, 12, &scratch, NULL,
						  &status) == DS_INVALID &&
			  ds_image_resize(&image, 4, 4, DS_FILTER_BOX, &empty, out, 12, &scratch, NULL,
							  &status) == DS_INVALID &&
			  ds_image_resize(&image, 0, 4, DS_FILTER_BOX, NULL, out, 12, &scratch, NULL,
							  &status) == DS_INVALID,
		  "windows that are none: %s", status.message);
	CHECK(ds_image_resize(&too_long, 4, 4, DS_FILTER_BOX, NULL, out, 12, &scratch, NULL, &status) ==
				  DS_TOO_LARGE &&
			  ds_image_resize(&image, UINT32_MAX, 4, DS_FILTER_BOX, NULL, out, 12, &scratch, NULL,
							  &status) == DS_TOO_LARGE,
		  "too large: %s", status.message);
	CHECK(ds_image_resize(&long_one, 2, 3, DS_FILTER_LANCZOS, NULL, out, 6, &scratch, &cancel,
						  &status) == DS_CANCELLED &&
			  scratch.allocated == 0,
		  "cancelled");
	CHECK(ds_image_resize(&long_one, 2, 3, DS_FILTER_LANCZOS, NULL, out, 6, &scratch, NULL,
						  &status) == DS_OK &&
			  out[0] == 0 && out[17] == 0,
		  "the longest edge");
	free(image.pixels);
	free(long_one.pixels);
}

static size_t allocations_left;

static void *
allocate(void *context, size_t size)
{
	(void) context;
	return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void
release(void *context, void *pointer)
{
	(void) context;
	free(pointer);
}

static void
test_memory(void)
{
	DsAllocator poor = {allocate, release, NULL};
	DsImage image = picture(300, 200);
	DsImageTransform transform;
	float *out = malloc(sizeof(float) * 3 * 224 * 224);
	size_t failures = 0, other = 0;
	DsCode code = DS_OUT_OF_MEMORY;

	ds_image_transform_init(&transform);
	transform.fit = DS_FIT_SHORTEST;
	transform.height = 190;
	transform.crop_height = transform.crop_width = 224;
	for (size_t left = 0; code != DS_OK && left < 100; left++)
	{
		DsArena own;

		ds_arena_init(&own, &poor);
		allocations_left = left;
		code =
			ds_image_transform_apply(&transform, &image, DS_LAYOUT_CHW, out, &own, NULL, &status);
		failures += code == DS_OUT_OF_MEMORY;
		other += code != DS_OUT_OF_MEMORY && code != DS_OK;
		other += own.allocated != 0;
		ds_arena_free(&own);
	}
	CHECK(code == DS_OK && failures > 2 && other == 0,
		  "memory that ends is reported at each of %zu allocations", failures);
	free(out);
	free(image.pixels);
}

static bool
becomes(const DsImageTransform *t, uint32_t width, uint32_t height, uint32_t to_width,
		uint32_t to_height)
{
	uint32_t w, h;

	return ds_image_transform_size(t, width, height, &w, &h, &status) == DS_OK && w == to_width &&
		   h == to_height;
}

static void
test_transform(void)
{
	DsImageTransform t;
	DsImage image = picture(5, 3);
	DsImage out;
	float floats[3 * 8 * 7];
	size_t wrong = 0;
	uint32_t w, h;

	ds_image_transform_init(&t);
	CHECK(becomes(&t, 5, 3, 5, 3) && ds_image_transform_apply(&t, &image, DS_LAYOUT_HWC, floats,
															  &scratch, NULL, &status) == DS_OK,
		  "no step");
	for (size_t i = 0; i < 45; i++)
		wrong += fabsf(floats[i] - (float) image.pixels[i] / 255) > 1e-7f;
	CHECK(wrong == 0, "is scaling");
	t.mean[1] = 0.25f;
	t.deviation[2] = 0.5f;
	t.crop_height = 8;
	t.crop_width = 7;
	t.fill[0] = 51;
	ds_image_transform_apply(&t, &image, DS_LAYOUT_CHW, floats, &scratch, NULL, &status);
	/* three rows in eight: (8 - 3 + 1) / 2 = 3 above; five columns in seven: one to the left */
	for (uint32_t y = 0; y < 8; y++)
		for (uint32_t x = 0; x < 7; x++)
		{
			bool inside = y >= 3 && y < 6 && x >= 1 && x < 6;
			const uint8_t *p = inside ? image.pixels + ((y - 3) * 5 + x - 1) * 3 : t.fill;

			wrong += fabsf(floats[y * 7 + x] - (float) p[0] / 255) > 1e-6f;
			wrong += fabsf(floats[56 + y * 7 + x] - ((float) p[1] / 255 - 0.25f)) > 1e-6f;
			wrong += fabsf(floats[112 + y * 7 + x] - (float) p[2] / 255 * 2) > 1e-6f;
		}
	CHECK(wrong == 0, "a crop larger than the picture is filled up; channels are normalised");
	t.crop_half_even = true;
	CHECK(ds_image_transform_pixels(&t, &image, &arena, &scratch, NULL, &out, &status) == DS_OK &&
			  out.width == 7 && out.height == 8 &&
			  memcmp(out.pixels + (2 * 7 + 1) * 3, image.pixels, 15) == 0 && out.pixels[0] == 51,
		  "torchvision has the larger part below");
	free(image.pixels);
	image = picture(3, 9);
	t.crop_height = 4;
	t.crop_width = 2;
	ds_image_transform_pixels(&t, &image, &arena, &scratch, NULL, &out, &status);
	CHECK(memcmp(out.pixels, image.pixels + (2 * 3 + 0) * 3, 6) == 0,
		  "halves go to the even one: 2.5 to 2, 0.5 to 0");
	t.crop_height = 2;
	ds_image_transform_pixels(&t, &image, &arena, &scratch, NULL, &out, &status);
	CHECK(memcmp(out.pixels, image.pixels + 4 * 9, 6) == 0, "3.5 to 4");
	t.crop_half_even = false;
	ds_image_transform_pixels(&t, &image, &arena, &scratch, NULL, &out, &status);
	CHECK(memcmp(out.pixels, image.pixels + 3 * 9, 6) == 0, "or down");

	t.crop_height = t.crop_width = 0;
	t.fit = DS_FIT_SHORTEST;
	t.height = 224;
	CHECK(becomes(&t, 640, 480, 298, 224) && becomes(&t, 480, 641, 224, 299) &&
			  becomes(&t, 7, 7, 224, 224),
		  "the shorter edge");
	CHECK(ds_image_transform_size(&t, 1, 1 << 20, &w, &h, &status) == DS_TOO_LARGE,
		  "a thin one would be too large: %s", status.message);
	t.crop_height = t.crop_width = 4;
	CHECK(becomes(&t, 1, 1 << 18, 4, 4), "but not its middle");
	t.fit = DS_FIT_LONGEST;
	t.crop_height = t.crop_width = 0;
	t.width = 100;
	CHECK(becomes(&t, 200, 100, 100, 50) && becomes(&t, 100, 448, 50, 224) &&
			  becomes(&t, 100000, 1, 100, 1),
		  "the longer edge");
	t.deviation[0] = 0;
	CHECK(ds_image_transform_check(&t, &status) == DS_INVALID, "%s", status.message);
	t.deviation[0] = 1;
	t.width = 0;
	CHECK(ds_image_transform_check(&t, &status) == DS_INVALID, "%s", status.message);
	free(image.pixels);
	CHECK(scratch.allocated == 0, "scratch is given back");
}

static DsImageTransform t;

static DsCode
read_json(const char *json)
{
	char *exact = malloc(strlen(json));
	DsCode code;

	memcpy(exact, json, strlen(json));
	status.message[0] = 0;
	code = ds_image_transform_preprocessor(exact, strlen(json), "p.json", NULL, &t, &status);
	free(exact);
	return code;
}

static DsCode
read_open_clip(const char *json)
{
	status.message[0] = 0;
	return ds_image_transform_open_clip(json, strlen(json), "o.json", &t, &status);
}

static bool
is(DsImageFit fit, uint32_t height, uint32_t width, DsImageFilter filter, uint32_t crop)
{
	return t.fit == fit && t.height == height && t.width == width && t.filter == filter &&
		   t.crop_height == crop && t.crop_width == crop;
}

static void
refused(DsCode (*read)(const char *), const char *json, DsCode expected, const char *message)
{
	CHECK(read(json) == expected && strstr(status.message, message) != NULL, "refused: %s",
		  status.message);
}

static void
test_preprocessor(void)
{
	DsImageTransform defaults;

	CHECK(read_json("{\"image_processor_type\":\"CLIPImageProcessor\"}") == DS_OK &&
			  is(DS_FIT_SHORTEST, 224, 224, DS_FILTER_BICUBIC, 224) && !t.crop_half_even &&
			  t.mean[0] == 0.48145466f && t.deviation[2] == 0.27577711f,
		  "CLIP's defaults");
	CHECK(read_json("{\"feature_extractor_type\":\"CLIPFeatureExtractor\",\"do_resize\":true,"
					"\"size\":336,\"resample\":1,\"do_center_crop\":true,\"crop_size\":335,"
					"\"do_convert_rgb\":true,\"do_normalize\":true,\"image_mean\":[0.1,0.2,0.3],"
					"\"image_std\":0.5}") == DS_OK &&
			  is(DS_FIT_SHORTEST, 336, 336, DS_FILTER_LANCZOS, 335) && t.mean[1] == 0.2f &&
			  t.deviation[1] == 0.5f && t.scale == 1.0 / 255,
		  "CLIP of old: numbers as sizes");
	CHECK(read_json("{\"image_processor_type\":\"CLIPImageProcessorFast\",\"size\":{"
					"\"shortest_edge\":64},\"crop_size\":{\"height\":32,\"width\":48},"
					"\"do_rescale\":true,\"rescale_factor\":0.5}") == DS_OK &&
			  t.height == 64 && t.crop_height == 32 && t.crop_width == 48 && t.scale == 0.5,
		  "sizes as objects, another scale");
	CHECK(read_json("{\"image_processor_type\":\"CLIPImageProcessor\",\"do_center_crop\":false,"
					"\"do_resize\":false,\"do_rescale\":false,\"do_normalize\":false}") == DS_OK &&
			  is(DS_FIT_NONE, 0, 0, DS_FILTER_BICUBIC, 0) && t.scale == 1 && t.mean[0] == 0 &&
			  t.deviation[0] == 1,
		  "steps left out");
	CHECK(read_json("{\"image_processor_type\":\"ViTImageProcessor\",\"size\":{\"height\":384,"
					"\"width\":256},\"resample\":3,\"crop_size\":null}") == DS_OK &&
			  t.fit == DS_FIT_EXACT && t.height == 384 && t.width == 256 &&
			  t.filter == DS_FILTER_BICUBIC && t.crop_height == 0 && t.mean[0] == 0.5f,
		  "ViT");
	CHECK(read_json("{\"feature_extractor_type\":\"ViTFeatureExtractor\",\"size\":224}") == DS_OK &&
			  is(DS_FIT_EXACT, 224, 224, DS_FILTER_BILINEAR, 0),
		  "ViT of old: a number is a square");
	CHECK(read_json("{\"feature_extractor_type\":\"ConvNextFeatureExtractor\",\"crop_pct\":0.875,"
					"\"size\":224,\"resample\":3,\"do_resize\":true}") == DS_OK &&
			  is(DS_FIT_SHORTEST, 256, 256, DS_FILTER_BICUBIC, 224) && t.mean[2] == 0.406f,
		  "ResNet: 224 / 0.875 = 256, then the middle");
	CHECK(read_json("{\"image_processor_type\":\"ConvNextImageProcessor\",\"crop_pct\":0.95,"
					"\"size\":{\"shortest_edge\":288}}") == DS_OK &&
			  is(DS_FIT_SHORTEST, 303, 303, DS_FILTER_BILINEAR, 288),
		  "288 / 0.95, rounded down");
	CHECK(read_json("{\"image_processor_type\":\"ConvNextImageProcessor\"}") == DS_OK &&
			  is(DS_FIT_EXACT, 384, 384, DS_FILTER_BILINEAR, 0),
		  "ConvNext from 384 on: all of it");
	CHECK(read_json("{\"do_normalize\":true}") == DS_OK &&
			  is(DS_FIT_NONE, 0, 0, DS_FILTER_BILINEAR, 0),
		  "no processor, no steps");
	CHECK(read_json("{\"size\":50,\"do_center_crop\":true,\"crop_size\":40}") == DS_OK &&
			  is(DS_FIT_SHORTEST, 50, 50, DS_FILTER_BILINEAR, 40),
		  "no processor: with a crop a number is the shorter edge");
	CHECK(read_json("{\"size\":50}") == DS_OK && is(DS_FIT_EXACT, 50, 50, DS_FILTER_BILINEAR, 0),
		  "without, a square");
	ds_image_transform_init(&defaults);
	defaults.mean[0] = 0.485f;
	defaults.fit = DS_FIT_EXACT;
	defaults.height = defaults.width = 32;
	CHECK(ds_image_transform_preprocessor("{\"resample\":4}", 14, "p", &defaults, &t, &status) ==
				  DS_OK &&
			  is(DS_FIT_EXACT, 32, 32, DS_FILTER_BOX, 0) && t.mean[0] == 0.485f,
		  "the caller's defaults");

#define CLIP "{\"image_processor_type\":\"CLIPImageProcessor\","
	refused(read_json, "[]", DS_BAD_DATA, "p.json is no JSON object");
	refused(read_json, "{", DS_BAD_DATA, "p.json is not valid JSON");
	refused(read_json, "{\"image_processor_type\":\"LlavaNextImageProcessor\"}", DS_UNSUPPORTED,
			"\"LlavaNextImageProcessor\" is not known");
	refused(read_json, "{\"image_processor_type\":\"a\\nb\"}", DS_UNSUPPORTED, "\"a?b\"");
	refused(read_json, "{\"image_processor_type\":4}", DS_BAD_DATA, "is no string");
	refused(read_json, CLIP "\"size\":{\"longest_edge\":5}}", DS_UNSUPPORTED, "longest_edge");
	refused(read_json, CLIP "\"size\":{\"height\":5}}", DS_BAD_DATA, "size is no edge");
	refused(read_json, CLIP "\"size\":{\"height\":5,\"width\":5,\"shortest_edge\":5}}", DS_BAD_DATA,
			"beside");
	refused(read_json, CLIP "\"size\":0}", DS_BAD_DATA, "1 to 16384");
	refused(read_json, CLIP "\"size\":1e9}", DS_BAD_DATA, "1 to 16384");
	refused(read_json, CLIP "\"size\":22.5}", DS_BAD_DATA, "1 to 16384");
	refused(read_json, CLIP "\"size\":[224,224]}", DS_UNSUPPORTED, "no other form");
	refused(read_json, CLIP "\"resample\":6}", DS_UNSUPPORTED, "resample is none of");
	refused(read_json, CLIP "\"resample\":\"bicubic\"}", DS_UNSUPPORTED, "resample is none of");
	refused(read_json, CLIP "\"do_resize\":1}", DS_BAD_DATA, "do_resize is neither true nor false");
	refused(read_json, CLIP "\"do_pad\":true}", DS_UNSUPPORTED, "do_pad is not supported");
	refused(read_json, CLIP "\"rescale_offset\":true}", DS_UNSUPPORTED, "rescale_offset");
	refused(read_json, CLIP "\"image_mean\":[0.5]}", DS_UNSUPPORTED, "image_mean");
	refused(read_json, CLIP "\"image_std\":[1,1,1,1]}", DS_UNSUPPORTED, "three channels");
	refused(read_json, CLIP "\"image_std\":[1,0,1]}", DS_BAD_DATA, "standard deviation");
	refused(read_json, CLIP "\"rescale_factor\":\"1\"}", DS_BAD_DATA, "rescale_factor");
	refused(read_json, CLIP "\"crop_size\":{\"shortest_edge\":4}}", DS_BAD_DATA, "crop_size");
	refused(read_json, "{\"do_center_crop\":true}", DS_BAD_DATA, "without a crop_size");
	refused(read_json, "{\"do_resize\":true}", DS_BAD_DATA, "without a size");
	refused(read_json, "{\"size\":224,\"crop_pct\":0.9}", DS_UNSUPPORTED, "crop_pct");
	refused(read_json,
			"{\"image_processor_type\":\"ConvNextImageProcessor\",\"size\":4,\"crop_pct\":0}",
			DS_BAD_DATA, "crop_pct");
}

static void
test_open_clip(void)
{
	CHECK(read_open_clip("{\"model_cfg\":{\"vision_cfg\":{\"image_size\":8}},\"preprocess_cfg\":{"
						 "\"mean\":[0.4,0.5,0.6],\"std\":[0.1,0.2,0.3],\"interpolation\":"
						 "\"bicubic\"}}") == DS_OK &&
			  is(DS_FIT_SHORTEST, 8, 8, DS_FILTER_BICUBIC, 8) && t.crop_half_even &&
			  t.mean[0] == 0.4f && t.deviation[2] == 0.3f,
		  "open_clip: the size of the model");
	CHECK(read_open_clip("{\"preprocess_cfg\":{\"size\":[384,384],\"mode\":\"RGB\","
						 "\"interpolation\":\"bilinear\",\"resize_mode\":\"squash\"}}") == DS_OK &&
			  is(DS_FIT_EXACT, 384, 384, DS_FILTER_BILINEAR, 0) && t.mean[0] == 0.48145466f,
		  "open_clip: stretched");
	CHECK(read_open_clip("{\"preprocess_cfg\":{\"size\":[20,30],\"resize_mode\":\"longest\","
						 "\"fill_color\":7}}") == DS_OK &&
			  t.fit == DS_FIT_LONGEST && t.height == 20 && t.width == 30 && t.crop_height == 20 &&
			  t.crop_width == 30 && t.fill[1] == 7,
		  "open_clip: the longest edge, filled up");
	CHECK(read_open_clip("{}") == DS_OK && is(DS_FIT_SHORTEST, 224, 224, DS_FILTER_BICUBIC, 224),
		  "open_clip: nothing said");
	refused(read_open_clip, "{\"preprocess_cfg\":{\"size\":[20,30]}}", DS_UNSUPPORTED,
			"no squares");
	refused(read_open_clip, "{\"preprocess_cfg\":{\"size\":[20,30,3]}}", DS_BAD_DATA, "no edge");
	refused(read_open_clip, "{\"preprocess_cfg\":{\"size\":-3}}", DS_BAD_DATA, "no edge");
	refused(read_open_clip, "{\"preprocess_cfg\":{\"mode\":\"L\"}}", DS_UNSUPPORTED, "not RGB");
	refused(read_open_clip, "{\"preprocess_cfg\":{\"interpolation\":\"area\"}}", DS_UNSUPPORTED,
			"interpolation");
	refused(read_open_clip, "{\"preprocess_cfg\":{\"resize_mode\":\"pad\"}}", DS_UNSUPPORTED,
			"resize_mode");
	refused(read_open_clip, "{\"preprocess_cfg\":{\"fill_color\":[1,2,3]}}", DS_UNSUPPORTED,
			"fill_color");
}

int
main(void)
{
	ds_arena_init(&arena, NULL);
	ds_arena_init(&scratch, NULL);
	test_pillow();
	test_windows();
	test_kernels();
	test_refused();
	test_memory();
	test_transform();
	test_preprocessor();
	test_open_clip();
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	return unit_done();
}
