/*
 * decode.c
 *		Which decoder a file is for, limits, turning a picture upright.
 */
#include "image/decode.h"

#include <inttypes.h>
#include <string.h>

typedef struct Signature
{
	const char *name;
	size_t offset;
	size_t length;
	const char *bytes;
} Signature;

/* what is not decoded is named, so that its owner knows what to convert */
static const Signature others[] = {
	{"a GIF", 0, 4, "GIF8"},
	{"a WebP", 8, 4, "WEBP"},
	{"a TIFF", 0, 4, "II*\0"},
	{"a TIFF", 0, 4, "MM\0*"},
	{"an AVIF", 4, 8, "ftypavif"},
	{"an AVIF", 4, 8, "ftypavis"},
	{"a HEIF", 4, 7, "ftyphei"},
	{"a HEIF", 4, 7, "ftyphev"},
	{"a HEIF", 4, 8, "ftypmif1"},
	{"a JPEG XL", 0, 2, "\xff\x0a"},
	{"a JPEG XL", 0, 12, "\0\0\0\x0cJXL \r\n\x87\n"},
	{"a JPEG 2000", 0, 12, "\0\0\0\x0cjP  \r\n\x87\n"},
	{"a JPEG 2000", 0, 4, "\xff\x4f\xff\x51"},
	{"a Windows icon", 0, 4, "\0\0\1\0"},
	{"a Photoshop file", 0, 4, "8BPS"},
	{"a PDF", 0, 5, "%PDF-"},
	{"an SVG", 0, 4, "<svg"},
	{"text (XML or HTML)", 0, 5, "<?xml"},
	{"text (XML or HTML)", 0, 2, "<!"},
	{"text (XML or HTML)", 0, 5, "<html"},
	{"a BMP", 0, 2, "BM"},
};

static DsCode
refuse(const uint8_t *bytes, size_t size, DsStatus *status)
{
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (size >= others[i].offset + others[i].length &&
			memcmp(bytes + others[i].offset, others[i].bytes, others[i].length) == 0)
			return ds_fail(status, DS_UNSUPPORTED, "the image is %s; JPEG and PNG are read",
						   others[i].name);
	return ds_fail(status, DS_BAD_DATA, "the image is neither JPEG nor PNG");
}

DsCode
ds_decoding_begin(DsDecoding *decoding, uint64_t width, uint64_t height)
{
	DsArena *arena = decoding->orientation == 1 ? decoding->arena : decoding->scratch;

	if (width == 0 || height == 0)
		return ds_fail(decoding->status, DS_BAD_DATA,
					   "the image is empty: %" PRIu64 " x %" PRIu64 " pixels", width, height);
	if (width > DS_IMAGE_EDGE_MAX || height > DS_IMAGE_EDGE_MAX)
		return ds_fail(decoding->status, DS_TOO_LARGE,
					   "the image has %" PRIu64 " x %" PRIu64
					   " pixels, an edge has at most %" PRIu32,
					   width, height, DS_IMAGE_EDGE_MAX);
	if (width * height > decoding->limits->max_pixels)
		return ds_fail(decoding->status, DS_TOO_LARGE,
					   "the image has %" PRIu64 " x %" PRIu64 " pixels, at most %" PRIu64
					   " are allowed",
					   width, height, decoding->limits->max_pixels);
	decoding->width = (uint32_t) width;
	decoding->height = (uint32_t) height;
	decoding->pixels = ds_arena_alloc(arena, (size_t) width * 3, (size_t) height);
	if (decoding->pixels == NULL)
		return ds_fail(decoding->status, DS_OUT_OF_MEMORY,
					   "out of memory for an image of %" PRIu64 " x %" PRIu64 " pixels", width,
					   height);
	return DS_OK;
}

#define TILE 32

/*
 * Pixel (x, y) of the upright picture is the stored one at start + x across + y
 * down.  In tiles, as one of the two walks through memory by columns.
 */
static void
turn(const DsDecoding *decoding, DsImage *image)
{
	ptrdiff_t row = (ptrdiff_t) decoding->width * 3;
	ptrdiff_t last_column = row - 3;
	ptrdiff_t last_row = row * ((ptrdiff_t) decoding->height - 1);
	ptrdiff_t start = 0;
	ptrdiff_t across, down;

	switch (decoding->orientation)
	{
		case 2: /* mirrored */
			start = last_column;
			across = -3;
			down = row;
			break;
		case 3: /* upside down */
			start = last_row + last_column;
			across = -3;
			down = -row;
			break;
		case 4: /* upside down and mirrored */
			start = last_row;
			across = 3;
			down = -row;
			break;
		case 5: /* rows are columns */
			across = row;
			down = 3;
			break;
		case 6: /* a quarter turn to the right is due */
			start = last_row;
			across = -row;
			down = 3;
			break;
		case 7:
			start = last_row + last_column;
			across = -row;
			down = -3;
			break;
		default: /* 8: a quarter turn to the left */
			start = last_column;
			across = row;
			down = -3;
			break;
	}
	for (uint32_t top = 0; top < image->height; top += TILE)
		for (uint32_t left = 0; left < image->width; left += TILE)
			for (uint32_t y = top; y < image->height && y < top + TILE; y++)
			{
				const uint8_t *from = decoding->pixels + start + down * (ptrdiff_t) y;
				uint8_t *to = image->pixels + (size_t) y * image->width * 3;

				for (uint32_t x = left; x < image->width && x < left + TILE; x++)
					memcpy(to + (size_t) x * 3, from + across * (ptrdiff_t) x, 3);
			}
}

static DsCode
decode(DsDecoding *decoding, DsImage *image)
{
	static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
	DsStatus *status = decoding->status;
	size_t size = decoding->size;
	DsCode code;

	if (size == 0)
		return ds_fail(status, DS_BAD_DATA, "the image is empty: it has no bytes");
	if (size > decoding->limits->max_bytes)
		return ds_fail(status, DS_TOO_LARGE, "the image has %zu bytes, at most %zu are allowed",
					   size, decoding->limits->max_bytes);
	if (size >= 3 && memcmp(decoding->bytes, "\xff\xd8\xff", 3) == 0)
	{
		decoding->orientation = ds_jpeg_orientation(decoding->bytes, size);
		code = ds_decode_jpeg(decoding);
	}
	else if (size >= sizeof(png) && memcmp(decoding->bytes, png, sizeof(png)) == 0)
	{
		decoding->orientation = ds_png_orientation(decoding->bytes, size);
		code = ds_decode_png(decoding);
	}
	else
		return refuse(decoding->bytes, size, status);
	if (code != DS_OK)
		return code;
	image->width = decoding->width;
	image->height = decoding->height;
	image->pixels = decoding->pixels;
	if (decoding->orientation == 1)
		return DS_OK;
	if (decoding->orientation >= 5)
	{
		image->width = decoding->height;
		image->height = decoding->width;
	}
	image->pixels = ds_arena_alloc(decoding->arena, (size_t) image->width * 3, image->height);
	if (image->pixels == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY,
					   "out of memory for an image of %" PRIu32 " x %" PRIu32 " pixels",
					   image->width, image->height);
	turn(decoding, image);
	return DS_OK;
}

DsCode
ds_image_decode(const void *bytes, size_t size, const DsImageLimits *limits, DsArena *arena,
				DsArena *scratch, const DsCancel *cancel, DsImage *image, DsStatus *status)
{
	DsDecoding decoding = {.bytes = bytes,
						   .size = size,
						   .limits = limits,
						   .arena = arena,
						   .scratch = scratch,
						   .cancel = cancel,
						   .status = status,
						   .orientation = 1};
	DsArenaMark mark = ds_arena_mark(arena);
	DsArenaMark scratch_mark = ds_arena_mark(scratch);
	DsCode code = decode(&decoding, image);

	ds_arena_rewind(scratch, scratch_mark);
	if (code != DS_OK)
	{
		ds_arena_rewind(arena, mark);
		memset(image, 0, sizeof(*image));
	}
	return code;
}
