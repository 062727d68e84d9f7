/*
 * decode_png.c
 *		PNG by libpng: every colour type and depth, interlaced or not.
 *
 * The library takes its memory from the scratch arena, up to a budget that its
 * rows and zlib's window need; chunks that pixels do not depend on (texts,
 * profiles, times: some are compressed, and may grow a thousandfold) are passed
 * over.
 */
#include "image/decode.h"

#include <setjmp.h>
#include <string.h>

#include <png.h>

/* the library's own, zlib's window and state, tables; rows come on top */
#define BUDGET ((size_t) 1 << 20)

typedef struct Png
{
	png_structp library;
	png_infop info;
	jmp_buf failed;
	DsDecoding *decoding;
	DsCode code;
	size_t at; /* bytes of the file that are read */
	size_t budget; /* bytes that the library may still take */
	bool ended; /* the library has asked for more than there is */
	bool exhausted; /* it has asked for more memory than it may have, or there is none */
} Png;

static void fail_with(Png *png, DsCode code) __attribute__((noreturn));

static void
fail_with(Png *png, DsCode code)
{
	png->code = code;
	longjmp(png->failed, 1);
}

static void on_error(png_structp library, png_const_charp text) __attribute__((noreturn));

static void
on_error(png_structp library, png_const_charp text)
{
	Png *png = png_get_error_ptr(library);
	DsStatus *status = png->decoding->status;

	if (png->exhausted)
		fail_with(png, ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for a PNG"));
	if (png->ended)
		fail_with(png, ds_fail(status, DS_BAD_DATA, "the PNG is cut off"));
	fail_with(png, ds_fail(status, DS_BAD_DATA, "the PNG cannot be decoded: %s", text));
}

static void
on_warning(png_structp library, png_const_charp text)
{
	Png *png = png_get_error_ptr(library);

	if (png->decoding->limits->strict)
		on_error(library, text);
}

static void
on_read(png_structp library, png_bytep out, size_t length)
{
	Png *png = png_get_io_ptr(library);

	if (length > png->decoding->size - png->at)
	{
		png->ended = true;
		png_error(library, "the file ends");
	}
	memcpy(out, png->decoding->bytes + png->at, length);
	png->at += length;
}

static png_voidp
on_allocate(png_structp library, png_alloc_size_t size)
{
	Png *png = png_get_mem_ptr(library);
	void *memory = size <= png->budget ? ds_arena_alloc(png->decoding->scratch, size, 1) : NULL;

	if (memory == NULL)
		png->exhausted = true;
	else
		png->budget -= size;
	return memory;
}

/* the arena goes as a whole */
static void
on_free(png_structp library, png_voidp memory)
{
	(void) library;
	(void) memory;
}

/* over white; [n][4] to [n][3] */
static void
over_white(const uint8_t *in, size_t n, uint8_t *out)
{
	for (size_t i = 0; i < n; i++, in += 4, out += 3)
		for (size_t c = 0; c < 3; c++)
		{
			uint32_t x = (uint32_t) in[c] * in[3] + 255 * (255 - (uint32_t) in[3]) + 128;

			out[c] = (uint8_t) ((x + (x >> 8)) >> 8);
		}
}

static void
check_cancel(Png *png)
{
	if (ds_cancelled(png->decoding->cancel))
		fail_with(png, ds_fail(png->decoding->status, DS_CANCELLED, "cancelled"));
}

static void
read_rows(Png *png, int passes)
{
	DsDecoding *decoding = png->decoding;
	size_t width = decoding->width;
	size_t channels = png_get_channels(png->library, png->info);
	size_t stored = channels == 4 ? (passes > 1 ? decoding->height : 1) : 0;
	uint8_t *rows = NULL;

	if ((channels != 3 && channels != 4) || png_get_bit_depth(png->library, png->info) != 8 ||
		png_get_rowbytes(png->library, png->info) != width * channels)
		fail_with(png, ds_fail(decoding->status, DS_BAD_DATA,
							   "the PNG cannot be decoded: its pixels are of no known form"));
	if (stored > 0)
	{
		rows = ds_arena_alloc(decoding->scratch, width * 4, stored);
		if (rows == NULL)
			fail_with(png, ds_fail(decoding->status, DS_OUT_OF_MEMORY, "out of memory for a PNG"));
	}
	for (int pass = 0; pass < passes; pass++)
		for (size_t y = 0; y < decoding->height; y++)
		{
			uint8_t *to = decoding->pixels + y * width * 3;
			uint8_t *row = stored == 0 ? to : rows + (stored > 1 ? y * width * 4 : 0);

			check_cancel(png);
			png_read_row(png->library, row, NULL);
			if (stored > 0 && pass == passes - 1)
				over_white(row, width, to);
		}
}

/* everything that may jump */
static void
decode(Png *png)
{
	/* the chunks that pixels depend on are the critical ones and tRNS */
	static const png_byte passed_over[] = "acTL\0bKGD\0cHRM\0cICP\0cLLI\0eXIf\0fcTL\0fdAT\0gAMA\0"
										  "hIST\0iCCP\0iTXt\0mDCV\0oFFs\0pCAL\0pHYs\0sBIT\0sCAL\0"
										  "sPLT\0sRGB\0sTER\0tEXt\0tIME\0zTXt";
	DsDecoding *decoding = png->decoding;
	uint32_t width, height;
	int passes;
	DsCode code;

	png->library = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, png, on_error, on_warning, png,
											on_allocate, on_free);
	if (png->library != NULL)
		png->info = png_create_info_struct(png->library);
	if (png->info == NULL)
		fail_with(png, ds_fail(decoding->status, DS_OUT_OF_MEMORY, "out of memory for a PNG"));
	png_set_read_fn(png->library, png, on_read);
	png_set_keep_unknown_chunks(png->library, PNG_HANDLE_CHUNK_NEVER, NULL, 0);
	png_set_keep_unknown_chunks(png->library, PNG_HANDLE_CHUNK_NEVER, passed_over,
								(int) (sizeof(passed_over) / 5));
	/* sizes are checked here, with a message of our own */
	png_set_user_limits(png->library, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
	png_set_benign_errors(png->library, 1);
	png_read_info(png->library, png->info);
	width = png_get_image_width(png->library, png->info);
	height = png_get_image_height(png->library, png->info);
	code = ds_decoding_begin(decoding, width, height);
	if (code != DS_OK)
		fail_with(png, code);
	/* two rows as they are stored, of 8 bytes a pixel at most, and what the library adds */
	png->budget += 2 * ((size_t) width * 8 + 1024);

	png_set_expand(png->library); /* palettes, fewer than 8 bits, tRNS */
	png_set_scale_16(png->library);
	png_set_gray_to_rgb(png->library);
	passes = png_set_interlace_handling(png->library);
	png_read_update_info(png->library, png->info);
	read_rows(png, passes);
	/* the checksum of the last pixels is still to come */
	png_read_end(png->library, NULL);
}

DsCode
ds_decode_png(DsDecoding *decoding)
{
	Png *png = ds_arena_zero(decoding->scratch, 1, sizeof(Png));

	if (png == NULL)
		return ds_fail(decoding->status, DS_OUT_OF_MEMORY, "out of memory for a PNG");
	png->decoding = decoding;
	png->budget = BUDGET;
	if (setjmp(png->failed) == 0)
		decode(png);
	if (png->library != NULL)
		png_destroy_read_struct(&png->library, &png->info, NULL);
	return png->code;
}
