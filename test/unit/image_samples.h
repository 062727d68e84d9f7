/*
 * image_samples.h
 *		JPEG and PNG files of every form, made by the libraries themselves, for tests
 *		and fuzzing.
 *
 * The picture is smooth, so that what JPEG loses is little: sample_pixel() says
 * what each pixel is.
 */
#ifndef DS_IMAGE_SAMPLES_H
#define DS_IMAGE_SAMPLES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

typedef struct Sample
{
	uint8_t *bytes; /* from malloc */
	size_t size;
} Sample;

/* no symmetry: each orientation gives another picture */
static void
sample_pixel(uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint8_t rgb[3])
{
	rgb[0] = (uint8_t) (40 + 180 * x / width);
	rgb[1] = (uint8_t) (220 - 190 * y / height);
	rgb[2] = (uint8_t) (60 + 120 * (x + 2 * y) / (width + 2 * height));
}

static void
sample_insert(Sample *sample, size_t at, const void *bytes, size_t size)
{
	uint8_t *out = malloc(sample->size + size);

	if (at > 0)
		memcpy(out, sample->bytes, at);
	memcpy(out + at, bytes, size);
	if (at < sample->size)
		memcpy(out + at + size, sample->bytes + at, sample->size - at);
	free(sample->bytes);
	sample->bytes = out;
	sample->size += size;
}

/* the TIFF part of EXIF: one directory of two entries */
static size_t
sample_tiff(unsigned orientation, bool little, uint8_t out[64])
{
	static const uint8_t big[] = {'M', 'M', 0, '*', 0, 0, 0, 8, 0, 2, 1,	0x0e, 0,
								  2,   0,	0, 0,	1, 0, 0, 0, 0, 1, 0x12, 0,	  3,
								  0,   0,	0, 1,	0, 0, 0, 0, 0, 0, 0,	0};
	static const uint8_t small[] = {'I', 'I', '*', 0, 8, 0, 0, 0, 2, 0,	   0x0e, 1, 2,
									0,	 1,	  0,   0, 0, 0, 0, 0, 0, 0x12, 1,	 3, 0,
									1,	 0,	  0,   0, 0, 0, 0, 0, 0, 0,	   0,	 0};

	memcpy(out, little ? small : big, sizeof(big));
	out[little ? 30 : 31] = (uint8_t) orientation;
	return sizeof(big);
}

typedef struct JpegForm
{
	J_COLOR_SPACE space; /* of the file */
	bool progressive;
	bool separate; /* sequential, a scan for each component */
	bool adobe; /* the marker, for CMYK */
	bool arithmetic;
	int sampling; /* of the first component, across; down, 2 at most */
	int restart; /* blocks */
	unsigned orientation; /* 0: no EXIF */
} JpegForm;

static Sample
sample_jpeg(uint32_t width, uint32_t height, const JpegForm *form)
{
	struct jpeg_compress_struct library;
	struct jpeg_error_mgr errors;
	unsigned char *out = NULL;
	unsigned long size = 0;
	Sample sample;
	bool four = form->space == JCS_CMYK || form->space == JCS_YCCK;
	uint8_t *row = malloc((size_t) width * 4);
	jpeg_scan_info scans[4];

	library.err = jpeg_std_error(&errors);
	jpeg_create_compress(&library);
	jpeg_mem_dest(&library, &out, &size);
	library.image_width = width;
	library.image_height = height;
	library.input_components = four ? 4 : 3;
	library.in_color_space = four ? JCS_CMYK : JCS_RGB;
	jpeg_set_defaults(&library);
	jpeg_set_colorspace(&library, form->space);
	jpeg_set_quality(&library, 95, TRUE);
	library.write_Adobe_marker = four ? form->adobe : form->space == JCS_RGB;
	library.arith_code = form->arithmetic;
	library.restart_interval = (unsigned) form->restart;
	if (form->sampling > 0)
	{
		/* a unit has at most ten blocks */
		library.comp_info[0].h_samp_factor = form->sampling;
		library.comp_info[0].v_samp_factor = form->sampling < 2 ? form->sampling : 2;
	}
	if (form->progressive)
		jpeg_simple_progression(&library);
	if (form->separate)
	{
		memset(scans, 0, sizeof(scans));
		for (int i = 0; i < library.num_components; i++)
			scans[i] = (jpeg_scan_info){1, {i, 0, 0, 0}, 0, 63, 0, 0};
		library.scan_info = scans;
		library.num_scans = library.num_components;
	}
	jpeg_start_compress(&library, TRUE);
	if (form->orientation > 0)
	{
		uint8_t block[80] = "Exif\0";

		jpeg_write_marker(
			&library, JPEG_APP0 + 1, block,
			(unsigned) (6 + sample_tiff(form->orientation, form->orientation % 2 == 0, block + 6)));
	}
	for (uint32_t y = 0; y < height; y++)
	{
		for (uint32_t x = 0; x < width; x++)
		{
			uint8_t rgb[3];

			sample_pixel(x, y, width, height, rgb);
			if (four) /* inverted: light, with a quarter of it taken away by black */
			{
				for (size_t c = 0; c < 3; c++)
					row[x * 4 + c] = rgb[c];
				row[x * 4 + 3] = 191;
			}
			else
				memcpy(row + x * 3, rgb, 3);
		}
		jpeg_write_scanlines(&library, &row, 1);
	}
	jpeg_finish_compress(&library);
	jpeg_destroy_compress(&library);
	free(row);
	sample.bytes = malloc(size);
	sample.size = size;
	memcpy(sample.bytes, out, size);
	free(out);
	return sample;
}

typedef struct PngForm
{
	int type; /* PNG_COLOR_TYPE_... */
	int depth;
	bool interlaced;
	bool transparent; /* a tRNS chunk */
	bool texts; /* chunks that do not matter, one of them compressed */
	unsigned orientation;
} PngForm;

static void
sample_png_write(png_structp library, png_bytep bytes, size_t size)
{
	sample_insert(png_get_io_ptr(library), ((Sample *) png_get_io_ptr(library))->size, bytes, size);
}

static void
sample_png_flush(png_structp library)
{
	(void) library;
}

/* put a sample of depth bits */
static void
sample_put(uint8_t *row, size_t i, int depth, uint32_t value)
{
	if (depth == 16)
	{
		row[i * 2] = (uint8_t) (value >> 8);
		row[i * 2 + 1] = (uint8_t) value;
	}
	else if (depth == 8)
		row[i] = (uint8_t) value;
	else
		row[i * (size_t) depth / 8] |=
			(uint8_t) (value << (8 - depth - (int) (i * (size_t) depth % 8)));
}

/*
 * What a PNG stores, and what the decoder should give: grey is the green of the
 * picture, alpha the share of x; a palette has 2^depth colours between black and
 * yellow, entry i of them with alpha i * 15.
 */
static void
sample_png_pixel(const PngForm *form, uint32_t x, uint32_t y, uint32_t width, uint32_t height,
				 uint32_t stored[4], size_t *count, uint8_t expected[3])
{
	uint32_t most = (1u << form->depth) - 1;
	uint8_t rgb[3];
	double alpha = 1;

	sample_pixel(x, y, width, height, rgb);
	if (form->type == PNG_COLOR_TYPE_PALETTE)
	{
		uint32_t index = rgb[1] * most / 255;

		*count = 1;
		stored[0] = index;
		rgb[0] = rgb[1] = (uint8_t) (index * 255 / most);
		rgb[2] = 0;
		if (form->transparent && index < 16)
			alpha = index * 15 / 255.0;
	}
	else
	{
		size_t colours = form->type & PNG_COLOR_MASK_COLOR ? 3 : 1;

		if (colours == 1)
			rgb[0] = rgb[2] = rgb[1];
		*count = colours;
		for (size_t c = 0; c < colours; c++)
		{
			stored[c] = form->depth == 16 ? rgb[c] * 257u + (x % 3) : rgb[c] * most / 255;
			if (form->depth < 8)
				rgb[0] = rgb[1] = rgb[2] = (uint8_t) (stored[c] * 255 / most);
		}
		if (form->type & PNG_COLOR_MASK_ALPHA)
		{
			uint32_t a = 255 * x / width;

			stored[(*count)++] = form->depth == 16 ? a * 257 : a;
			alpha = a / 255.0;
		}
		else if (form->transparent && x == 1 && y == 1)
		{
			/* the colour of the tRNS chunk; no other pixel has it */
			for (size_t c = 0; c < colours; c++)
				stored[c] = c == 0 ? most : 0;
			alpha = 0;
		}
	}
	for (size_t c = 0; c < 3; c++)
		expected[c] = (uint8_t) (rgb[c] * alpha + 255 * (1 - alpha) + 0.5);
}

static Sample
sample_png(uint32_t width, uint32_t height, const PngForm *form)
{
	Sample sample = {NULL, 0};
	png_structp library = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
	png_infop info = png_create_info_struct(library);
	size_t row_bytes = (size_t) width * 8;
	uint8_t *pixels = calloc(height, row_bytes);
	png_bytep *rows = malloc(height * sizeof(png_bytep));
	uint32_t most = (1u << form->depth) - 1;

	png_set_write_fn(library, &sample, sample_png_write, sample_png_flush);
	png_set_IHDR(library, info, width, height, form->depth, form->type,
				 form->interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
				 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
	if (form->type == PNG_COLOR_TYPE_PALETTE)
	{
		png_color palette[256];

		for (uint32_t i = 0; i <= most; i++)
			palette[i] = (png_color){(png_byte) (i * 255 / most), (png_byte) (i * 255 / most), 0};
		png_set_PLTE(library, info, palette, (int) most + 1);
	}
	if (form->transparent)
	{
		png_byte alphas[16];
		png_color_16 colour = {0, (png_uint_16) most, 0, 0, (png_uint_16) most};

		for (int i = 0; i < 16; i++)
			alphas[i] = (png_byte) (i * 15);
		png_set_tRNS(library, info, form->type == PNG_COLOR_TYPE_PALETTE ? alphas : NULL,
					 most < 15 ? (int) most + 1 : 16, &colour);
	}
	if (form->texts)
	{
		char text[2000];
		png_text texts[2] = {{.compression = PNG_TEXT_COMPRESSION_NONE, .key = "a", .text = "b"},
							 {.compression = PNG_TEXT_COMPRESSION_zTXt, .key = "c", .text = text}};

		memset(text, 'x', sizeof(text) - 1);
		text[sizeof(text) - 1] = 0;
		png_set_text(library, info, texts, 2);
		png_set_gAMA(library, info, 0.3);
	}
	if (form->orientation > 0)
	{
		uint8_t block[64];
		size_t size = sample_tiff(form->orientation, form->orientation % 2 == 0, block);

		png_set_eXIf_1(library, info, (png_uint_32) size, block);
	}
	for (uint32_t y = 0; y < height; y++)
	{
		rows[y] = pixels + y * row_bytes;
		for (uint32_t x = 0; x < width; x++)
		{
			uint32_t stored[4];
			uint8_t expected[3];
			size_t count;

			sample_png_pixel(form, x, y, width, height, stored, &count, expected);
			for (size_t c = 0; c < count; c++)
				sample_put(rows[y], x * count + c, form->depth, stored[c]);
		}
	}
	png_write_info(library, info);
	png_write_image(library, rows);
	png_write_end(library, info);
	png_destroy_write_struct(&library, &info);
	free(rows);
	free(pixels);
	return sample;
}

static const JpegForm jpeg_forms[] = {
	{.space = JCS_YCbCr},
	{.space = JCS_YCbCr, .sampling = 1},
	{.space = JCS_YCbCr, .sampling = 4},
	{.space = JCS_YCbCr, .progressive = true},
	{.space = JCS_YCbCr, .separate = true},
	{.space = JCS_YCbCr, .restart = 3},
	{.space = JCS_YCbCr, .arithmetic = true},
	{.space = JCS_YCbCr, .arithmetic = true, .progressive = true},
	{.space = JCS_RGB},
	{.space = JCS_GRAYSCALE},
	{.space = JCS_GRAYSCALE, .progressive = true},
	{.space = JCS_CMYK, .adobe = true},
	{.space = JCS_CMYK},
	{.space = JCS_YCCK, .adobe = true},
	{.space = JCS_YCCK, .adobe = true, .progressive = true, .orientation = 6},
	{.space = JCS_YCbCr, .orientation = 3},
};

#define JPEG_FORMS (sizeof(jpeg_forms) / sizeof(jpeg_forms[0]))

/* the i-th form of PNG; false behind the last */
static bool
png_form(size_t i, PngForm *form)
{
	static const struct
	{
		int type;
		int depth;
	} kinds[] = {
		{PNG_COLOR_TYPE_GRAY, 1},		 {PNG_COLOR_TYPE_GRAY, 2},
		{PNG_COLOR_TYPE_GRAY, 4},		 {PNG_COLOR_TYPE_GRAY, 8},
		{PNG_COLOR_TYPE_GRAY, 16},		 {PNG_COLOR_TYPE_RGB, 8},
		{PNG_COLOR_TYPE_RGB, 16},		 {PNG_COLOR_TYPE_PALETTE, 1},
		{PNG_COLOR_TYPE_PALETTE, 2},	 {PNG_COLOR_TYPE_PALETTE, 4},
		{PNG_COLOR_TYPE_PALETTE, 8},	 {PNG_COLOR_TYPE_GRAY_ALPHA, 8},
		{PNG_COLOR_TYPE_GRAY_ALPHA, 16}, {PNG_COLOR_TYPE_RGBA, 8},
		{PNG_COLOR_TYPE_RGBA, 16},
	};
	size_t n = sizeof(kinds) / sizeof(kinds[0]);
	bool alpha;

	if (i >= n * 4)
		return false;
	memset(form, 0, sizeof(*form));
	form->type = kinds[i / 4].type;
	form->depth = kinds[i / 4].depth;
	form->interlaced = i % 2 == 1;
	alpha = form->type & PNG_COLOR_MASK_ALPHA;
	/* where there is alpha, texts and another orientation instead */
	form->transparent = !alpha && i % 4 >= 2;
	form->texts = alpha && i % 4 >= 2;
	form->orientation = alpha && i % 4 == 3 ? 8 : 0;
	return true;
}

#endif /* DS_IMAGE_SAMPLES_H */
