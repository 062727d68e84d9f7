/*
 * test_image.c
 *		Decoding: every form of JPEG and PNG that their libraries can write, the eight
 *		orientations, limits, files cut at each byte, ten thousand damaged ones, real ones.
 */
#include "unit.h"

#include "base/random.h"
#include "image/image.h"
#include "image_samples.h"
#include "png_sums.h"

static const DsImageLimits limits = {1 << 20, 1 << 20, false};
static const DsImageLimits strict = {1 << 20, 1 << 20, true};
static DsStatus status;
static DsArena arena;
static DsArena scratch;

/* from memory of exactly this size; the arena holds one picture at a time */
static DsCode
decode(const uint8_t *bytes, size_t size, const DsImageLimits *with, DsImage *image)
{
	uint8_t *exact = malloc(size + !size);
	DsCode code;

	memcpy(exact, bytes, size);
	ds_arena_free(&arena);
	status.message[0] = 0;
	code = ds_image_decode(exact, size, with, &arena, &scratch, NULL, image, &status);
	free(exact);
	return code;
}

/* the pixel of the upright picture that (x, y) of the stored one becomes, per EXIF's table 4.6.4 A */
static void
upright(unsigned orientation, uint32_t width, uint32_t height, uint32_t x, uint32_t y,
		uint32_t *to_x, uint32_t *to_y)
{
	uint32_t right = width - 1 - x, bottom = height - 1 - y;

	switch (orientation)
	{
		case 2: /* the 0th row is the top, the 0th column the right */
			*to_x = right;
			*to_y = y;
			break;
		case 3: /* bottom, right */
			*to_x = right;
			*to_y = bottom;
			break;
		case 4: /* bottom, left */
			*to_x = x;
			*to_y = bottom;
			break;
		case 5: /* left, top */
			*to_x = y;
			*to_y = x;
			break;
		case 6: /* right, top */
			*to_x = bottom;
			*to_y = x;
			break;
		case 7: /* right, bottom */
			*to_x = bottom;
			*to_y = right;
			break;
		case 8: /* left, bottom */
			*to_x = y;
			*to_y = right;
			break;
		default:
			*to_x = x;
			*to_y = y;
	}
}

/* the greatest difference between a sample's picture and what was decoded; 999: not its size */
static int
off(const DsImage *image, uint32_t width, uint32_t height, unsigned orientation,
	void (*expect)(const void *, uint32_t, uint32_t, uint32_t, uint32_t, uint8_t *),
	const void *form)
{
	bool turned = orientation >= 5;
	int most = 0;

	if (image->width != (turned ? height : width) || image->height != (turned ? width : height))
		return 999;
	for (uint32_t y = 0; y < height; y++)
		for (uint32_t x = 0; x < width; x++)
		{
			uint32_t to_x, to_y;
			uint8_t rgb[3];

			expect(form, x, y, width, height, rgb);
			upright(orientation, width, height, x, y, &to_x, &to_y);
			for (size_t c = 0; c < 3; c++)
			{
				int d = abs(image->pixels[((size_t) to_y * image->width + to_x) * 3 + c] - rgb[c]);

				most = d > most ? d : most;
			}
		}
	return most;
}

static void
expect_jpeg(const void *form, uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint8_t *rgb)
{
	const JpegForm *jpeg = form;

	sample_pixel(x, y, width, height, rgb);
	if (jpeg->space == JCS_GRAYSCALE)
		rgb[0] = rgb[1] = rgb[2] =
			(uint8_t) (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] + 0.5);
	else if (jpeg->space == JCS_CMYK || jpeg->space == JCS_YCCK)
		for (size_t c = 0; c < 3; c++)
			rgb[c] = (uint8_t) (rgb[c] * 191 / 255.0 + 0.5);
}

static void
expect_png(const void *form, uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint8_t *rgb)
{
	uint32_t stored[4];
	size_t count;

	sample_png_pixel(form, x, y, width, height, stored, &count, rgb);
}

static void
test_forms(void)
{
	static const char *const spaces[] = {"?", "grey", "RGB", "YCbCr", "CMYK", "YCCK"};
	static const uint32_t sizes[][2] = {{37, 23}, {1, 1}, {64, 40}, {200, 150}};
	PngForm png;

	for (size_t i = 0; i < JPEG_FORMS; i++)
	{
		const JpegForm *form = &jpeg_forms[i];
		int most = 0;

		for (size_t s = 0; s < 4; s++)
		{
			Sample sample = sample_jpeg(sizes[s][0], sizes[s][1], form);
			DsImage image;
			int d =
				decode(sample.bytes, sample.size, s % 2 ? &strict : &limits, &image) == DS_OK
					? off(&image, sizes[s][0], sizes[s][1], form->orientation, expect_jpeg, form)
					: 1000;

			most = d > most ? d : most;
			free(sample.bytes);
		}
		/* colours at half of the points lose a little at the borders, at a quarter everywhere */
		CHECK(most <= (form->sampling == 4 ? 20 : 8),
			  "JPEG %s%s%s%s, sampling %d, restart %d: off by %d %s", spaces[form->space],
			  form->progressive ? ", progressive" : "", form->separate ? ", scans apart" : "",
			  form->arithmetic ? ", arithmetic" : "", form->sampling, form->restart, most,
			  most >= 999 ? status.message : "");
	}
	for (size_t i = 0; png_form(i, &png); i++)
	{
		int most = 0;

		for (size_t s = 0; s < 4; s++)
		{
			Sample sample = sample_png(sizes[s][0], sizes[s][1], &png);
			DsImage image;
			int d = decode(sample.bytes, sample.size, s % 2 ? &strict : &limits, &image) == DS_OK
						? off(&image, sizes[s][0], sizes[s][1], png.orientation, expect_png, &png)
						: 1000;

			most = d > most ? d : most;
			free(sample.bytes);
		}
		/* composing from 16 bits, or from 8, rounds differently */
		CHECK(most <= (png.depth == 16 || png.type & PNG_COLOR_MASK_ALPHA ? 1 : 0),
			  "PNG type %d, %d bits%s%s%s: off by %d %s", png.type, png.depth,
			  png.interlaced ? ", interlaced" : "", png.transparent ? ", transparent" : "",
			  png.texts ? ", texts" : "", most, most > 1 ? status.message : "");
	}
	CHECK(scratch.allocated == 0, "scratch is given back");
}

static void
test_orientations(void)
{
	for (unsigned orientation = 1; orientation <= 9; orientation++)
	{
		JpegForm jpeg = {.space = JCS_YCbCr, .sampling = 1, .orientation = orientation};
		PngForm png = {.type = PNG_COLOR_TYPE_RGB, .depth = 8, .orientation = orientation};
		Sample a = sample_jpeg(70, 41, &jpeg);
		Sample b = sample_png(70, 41, &png);
		unsigned is = orientation < 9 ? orientation : 1;
		DsImage image;

		CHECK(decode(a.bytes, a.size, &strict, &image) == DS_OK &&
				  off(&image, 70, 41, is, expect_jpeg, &jpeg) <= 4,
			  "JPEG, orientation %u", orientation);
		CHECK(decode(b.bytes, b.size, &strict, &image) == DS_OK &&
				  off(&image, 70, 41, is, expect_png, &png) == 0,
			  "PNG, orientation %u", orientation);
		free(a.bytes);
		free(b.bytes);
	}
	CHECK(scratch.allocated == 0, "scratch is given back");
}

static void
refused(const void *bytes, size_t size, DsCode expected, const char *message)
{
	DsImage image;
	DsCode code = decode(bytes, size, &limits, &image);

	CHECK(code == expected && strstr(status.message, message) != NULL && image.pixels == NULL &&
			  arena.allocated == 0 && scratch.allocated == 0,
		  "refused: %s", status.message);
}

static void
set_png_size(Sample *sample, uint32_t width, uint32_t height)
{
	for (size_t i = 0; i < 4; i++)
	{
		sample->bytes[16 + i] = (uint8_t) (width >> (24 - 8 * i));
		sample->bytes[20 + i] = (uint8_t) (height >> (24 - 8 * i));
	}
	png_sums(sample->bytes, sample->size);
}

/* where the frame header of a JPEG is */
static uint8_t *
frame_of(const Sample *sample)
{
	size_t at = 2;

	while (sample->bytes[at + 1] < 0xc0 || sample->bytes[at + 1] > 0xc2)
		at += 2 + ((size_t) sample->bytes[at + 2] << 8 | sample->bytes[at + 3]);
	return sample->bytes + at;
}

static void
test_refused(void)
{
	JpegForm form = {.space = JCS_YCbCr};
	PngForm png = {.type = PNG_COLOR_TYPE_RGB, .depth = 8};
	Sample jpeg = sample_jpeg(37, 23, &form);
	Sample sample = sample_png(37, 23, &png);
	uint8_t *frame = frame_of(&jpeg);
	DsImageLimits few = {jpeg.size - 1, 1 << 20, false};
	DsImageLimits small = {1 << 20, 37 * 23 - 1, false};
	DsImageLimits enough = {1 << 20, 37 * 23, false};
	DsImage image;

	refused("", 0, DS_BAD_DATA, "it has no bytes");
	refused("hello", 5, DS_BAD_DATA, "neither JPEG nor PNG");
	refused("\xff\xd8", 2, DS_BAD_DATA, "neither JPEG nor PNG");
	refused("\xff\xd8\xff", 3, DS_BAD_DATA, "the JPEG is cut off");
	refused("\x89PNG\r\n\x1a\n", 8, DS_BAD_DATA, "the PNG is cut off");
	refused("GIF89a\1\0\1\0", 10, DS_UNSUPPORTED, "the image is a GIF; JPEG and PNG are read");
	refused("RIFF\0\0\0\0WEBPVP8 ", 16, DS_UNSUPPORTED, "a WebP");
	refused("BM\0\0\0\0", 6, DS_UNSUPPORTED, "a BMP");
	refused("II*\0\10\0\0\0", 8, DS_UNSUPPORTED, "a TIFF");
	refused("\0\0\0\x1c"
			"ftypavif",
			12, DS_UNSUPPORTED, "an AVIF");
	refused("\0\0\0\x18"
			"ftypheic",
			12, DS_UNSUPPORTED, "a HEIF");
	refused("<svg xmlns", 10, DS_UNSUPPORTED, "an SVG");
	refused("<!DOCTYPE html>", 15, DS_UNSUPPORTED, "HTML");

	CHECK(decode(jpeg.bytes, jpeg.size, &few, &image) == DS_TOO_LARGE &&
			  strstr(status.message, "bytes, at most") != NULL,
		  "%s", status.message);
	CHECK(decode(jpeg.bytes, jpeg.size, &small, &image) == DS_TOO_LARGE &&
			  decode(sample.bytes, sample.size, &small, &image) == DS_TOO_LARGE &&
			  strcmp(status.message, "the image has 37 x 23 pixels, at most 850 are allowed") == 0,
		  "%s", status.message);
	CHECK(decode(jpeg.bytes, jpeg.size, &enough, &image) == DS_OK &&
			  decode(sample.bytes, sample.size, &enough, &image) == DS_OK,
		  "exactly as many are");

	/* sizes that a few bytes lie about */
	set_png_size(&sample, 0x7fffffff, 0x7fffffff);
	refused(sample.bytes, sample.size, DS_TOO_LARGE, "an edge has at most 1048576");
	set_png_size(&sample, 1 << 20, 1 << 20);
	refused(sample.bytes, sample.size, DS_TOO_LARGE, "at most 1048576 are allowed");
	set_png_size(&sample, 0, 5);
	refused(sample.bytes, sample.size, DS_BAD_DATA, "PNG cannot be decoded");
	set_png_size(&sample, 0x80000000, 5);
	refused(sample.bytes, sample.size, DS_BAD_DATA, "PNG cannot be decoded");
	set_png_size(&sample, 37, 24);
	refused(sample.bytes, sample.size, DS_BAD_DATA, "PNG cannot be decoded");
	set_png_size(&sample, 37, 23);
	frame[5] = frame[7] = 0xff;
	refused(jpeg.bytes, jpeg.size, DS_TOO_LARGE, "at most 1048576 are allowed");
	frame[5] = frame[7] = 0;
	frame[6] = 0;
	refused(jpeg.bytes, jpeg.size, DS_BAD_DATA, "JPEG cannot be decoded");
	frame[6] = 23;
	frame[4] = 12;
	refused(jpeg.bytes, jpeg.size, DS_UNSUPPORTED, "JPEG");
	frame[4] = 8;
	frame[1] = 0xc3;
	refused(jpeg.bytes, jpeg.size, DS_UNSUPPORTED, "JPEG");
	frame[1] = 0xc0;
	CHECK(decode(jpeg.bytes, jpeg.size, &limits, &image) == DS_OK &&
			  decode(sample.bytes, sample.size, &limits, &image) == DS_OK,
		  "put right, both decode again");

	/* a checksum of pixels, and one of a chunk that is passed over */
	sample.bytes[sample.size - 13]++;
	refused(sample.bytes, sample.size, DS_BAD_DATA, "PNG cannot be decoded");
	free(jpeg.bytes);
	free(sample.bytes);
}

/* a thousand passes over one scan would be a thousand times the work */
static void
test_scans(void)
{
	JpegForm form = {.space = JCS_YCbCr, .separate = true};
	Sample sample = sample_jpeg(16, 16, &form);
	size_t scan = 0, end;

	while (sample.bytes[scan] != 0xff || sample.bytes[scan + 1] != 0xda)
		scan++;
	end = scan + 2;
	while (sample.bytes[end] != 0xff || sample.bytes[end + 1] < 0xc0)
		end++;
	for (int i = 0; i < 120; i++)
	{
		uint8_t copy[4096];

		memcpy(copy, sample.bytes + scan, end - scan);
		sample_insert(&sample, scan, copy, end - scan);
	}
	refused(sample.bytes, sample.size, DS_TOO_LARGE, "more than 100 scans");
	free(sample.bytes);
}

static size_t polls_left;

static bool
poll(void *context)
{
	(void) context;
	return polls_left-- == 0;
}

static void
test_cancel(void)
{
	DsCancel cancel = {poll, NULL};
	JpegForm jpegs[] = {{.space = JCS_YCbCr}, {.space = JCS_CMYK, .progressive = true}};
	PngForm png = {.type = PNG_COLOR_TYPE_RGBA, .depth = 8, .interlaced = true};
	Sample samples[3] = {sample_jpeg(100, 100, &jpegs[0]), sample_jpeg(100, 100, &jpegs[1]),
						 sample_png(100, 100, &png)};

	for (size_t i = 0; i < 3; i++)
	{
		DsCode code = DS_CANCELLED;
		size_t polls = 0, other = 0;

		for (; code != DS_OK && polls < 2000; polls++)
		{
			DsImage image;

			ds_arena_free(&arena);
			polls_left = polls;
			code = ds_image_decode(samples[i].bytes, samples[i].size, &limits, &arena, &scratch,
								   &cancel, &image, &status);
			other += code != DS_OK && (code != DS_CANCELLED || arena.allocated != 0);
		}
		CHECK(code == DS_OK && polls > 4 && other == 0, "cancelled at each of %zu places", polls);
		free(samples[i].bytes);
	}
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
	JpegForm jpeg = {.space = JCS_CMYK, .orientation = 6};
	PngForm png = {.type = PNG_COLOR_TYPE_RGBA, .depth = 16, .interlaced = true, .orientation = 5};
	Sample samples[2] = {sample_jpeg(600, 400, &jpeg), sample_png(600, 400, &png)};

	for (size_t i = 0; i < 2; i++)
	{
		DsCode code = DS_OUT_OF_MEMORY;
		size_t left = 0, other = 0;

		for (; code != DS_OK && left < 200; left++)
		{
			DsArena one, two;
			DsImage image;

			ds_arena_init(&one, &poor);
			ds_arena_init(&two, &poor);
			allocations_left = left;
			code = ds_image_decode(samples[i].bytes, samples[i].size, &limits, &one, &two, NULL,
								   &image, &status);
			other += code != DS_OK && (code != DS_OUT_OF_MEMORY || one.allocated != 0);
			other += two.allocated != 0;
			ds_arena_free(&one);
			ds_arena_free(&two);
		}
		CHECK(code == DS_OK && left > 2 && other == 0,
			  "memory that ends is reported at each of %zu allocations: %s", left - 1,
			  status.message);
		free(samples[i].bytes);
	}
}

static void
test_cut(void)
{
	JpegForm jpegs[] = {{.space = JCS_YCbCr},
						{.space = JCS_YCbCr, .progressive = true},
						{.space = JCS_GRAYSCALE, .restart = 1}};
	PngForm pngs[] = {{.type = PNG_COLOR_TYPE_RGB, .depth = 8},
					  {.type = PNG_COLOR_TYPE_PALETTE, .depth = 4, .interlaced = true}};
	DsImage image;

	for (size_t i = 0; i < 5; i++)
	{
		Sample sample = i < 3 ? sample_jpeg(37, 23, &jpegs[i]) : sample_png(37, 23, &pngs[i - 3]);
		size_t decoded = 0, named = 0;

		for (size_t size = 0; size < sample.size; size++)
		{
			if (decode(sample.bytes, size, &limits, &image) == DS_OK)
				decoded++;
			else
				named += strstr(status.message, "is cut off") != NULL;
		}
		/* of one scan: both bytes of the end marker may be missing */
		CHECK(decoded <= (i == 0 || i == 2 ? 2 : 0), "cut at each of %zu bytes: %zu decode",
			  sample.size, decoded);
		CHECK(named >= sample.size - 12, "%zu are said to be cut off", named);
		CHECK(decode(sample.bytes, sample.size - 1, &strict, &image) == DS_BAD_DATA,
			  "the last byte counts where all does: %s", status.message);
		free(sample.bytes);
	}
}

static void
damage(DsRandom *random, Sample *sample)
{
	size_t changes = 1 + ds_random_next(random) % 6;

	for (size_t i = 0; i < changes && sample->size > 8; i++)
	{
		size_t at = ds_random_next(random) % sample->size;
		size_t length = 1 + ds_random_next(random) % 40;
		size_t to = ds_random_next(random) % sample->size;

		/* most of what matters is at the front */
		if (ds_random_next(random) % 2 == 0)
			at = at % 200 < sample->size ? at % 200 : at;
		if (length > sample->size - at)
			length = sample->size - at;
		if (length > sample->size - to)
			length = sample->size - to;
		switch (ds_random_next(random) % 8)
		{
			case 0:
			case 1:
				sample->bytes[at] ^= (uint8_t) (1 << ds_random_next(random) % 8);
				break;
			case 2:
			case 3:
				sample->bytes[at] = (uint8_t) ds_random_next(random);
				break;
			case 4:
				memset(sample->bytes + at, ds_random_next(random) % 2 ? 0 : 255, length);
				break;
			case 5:
				memmove(sample->bytes + to, sample->bytes + at, length);
				break;
			case 6:
			{
				uint8_t copy[40];

				memcpy(copy, sample->bytes + at, length);
				sample_insert(sample, to, copy, length);
				break;
			}
			default:
				if (ds_random_next(random) % 4 == 0)
					sample->size = at + 1;
				break;
		}
	}
}

static void
test_damaged(void)
{
	enum
	{
		DAMAGED = 10000
	};
	DsRandom random;
	Sample originals[128];
	size_t count = 0, pixels = 0, errors = 0, silent = 0, left = 0;
	PngForm png;

	for (size_t i = 0; i < JPEG_FORMS; i++)
		for (uint32_t size = 0; size < 4; size++)
			originals[count++] = sample_jpeg(16 + size * 13, 9 + size * 7, &jpeg_forms[i]);
	for (size_t i = 0; png_form(i, &png); i++)
		originals[count++] = sample_png(33, 17, &png);
	ds_random_init(&random, 20, 6);
	for (size_t i = 0; i < DAMAGED; i++)
	{
		const Sample *original = &originals[i % count];
		Sample sample = {malloc(original->size), original->size};
		DsImage image;

		memcpy(sample.bytes, original->bytes, sample.size);
		damage(&random, &sample);
		/* most damage of a PNG would end at a checksum */
		if (ds_random_next(&random) % 4 != 0)
			png_sums(sample.bytes, sample.size);
		if (decode(sample.bytes, sample.size, i % 8 == 0 ? &strict : &limits, &image) == DS_OK)
		{
			volatile uint8_t seen = 0;

			pixels++;
			for (size_t k = 0; k < (size_t) image.width * image.height * 3; k++)
				seen = (uint8_t) (seen + image.pixels[k]);
		}
		else
		{
			errors++;
			silent += status.message[0] == 0;
			left += arena.allocated != 0;
		}
		left += scratch.allocated != 0;
		free(sample.bytes);
	}
	CHECK(pixels + errors == DAMAGED && pixels > DAMAGED / 10 && errors > DAMAGED / 10,
		  "%zu damaged pictures give pixels, %zu an error", pixels, errors);
	CHECK(silent == 0 && left == 0, "with a message, and nothing left behind");
	for (size_t i = 0; i < count; i++)
		free(originals[i].bytes);
}

static int
digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* the column-th field of each row is a JPEG as COPY writes bytea */
static void
test_real(const char *path, int column, uint32_t width, uint32_t height)
{
	static char line[200000];
	static uint8_t bytes[100000];
	char command[400];
	size_t rows = 0, bad = 0;
	FILE *file = fopen(path, "rb");
	double sum = 0;

	if (file == NULL)
	{
		CHECK(1, "# SKIP %s is not there", path);
		return;
	}
	fclose(file);
	snprintf(command, sizeof(command), "gzip -dc '%s'", path);
	file = popen(command, "r");
	while (fgets(line, sizeof(line), file) != NULL)
	{
		char *field = line;
		size_t size = 0;
		DsImage image;

		for (int i = 0; i < column && field != NULL; i++)
			field = strchr(field, '\t') != NULL ? strchr(field, '\t') + 1 : NULL;
		if (field == NULL || strncmp(field, "\\\\x", 3) != 0)
			continue;
		for (; digit(field[3 + size * 2]) >= 0 && size < sizeof(bytes); size++)
			bytes[size] = (uint8_t) (digit(field[3 + size * 2]) * 16 + digit(field[4 + size * 2]));
		rows++;
		if (decode(bytes, size, &strict, &image) != DS_OK)
			bad++;
		else
		{
			/* a few of the first table have another size */
			bad += (image.width != width || image.height != height) && height == 32;
			sum += image.pixels[0];
		}
	}
	pclose(file);
	CHECK(rows >= 10000 && bad == 0 && sum / (double) rows > 60,
		  "%s: %zu pictures, %zu of them not as they should be", path, rows, bad);
}

int
main(void)
{
	ds_arena_init(&arena, NULL);
	ds_arena_init(&scratch, NULL);
	test_forms();
	test_orientations();
	test_refused();
	test_scans();
	test_cancel();
	test_memory();
	test_cut();
	test_damaged();
	test_real("../shared/data/fashion/products.tsv.gz", 8, 60, 80);
	test_real("../shared/data/models/resnet-cifar10/test-images.tsv.gz", 2, 32, 32);
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	return unit_done();
}
