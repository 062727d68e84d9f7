/*
 * decode_jpeg.c
 *		JPEG by libjpeg-turbo: baseline, extended, progressive; grey, YCbCr, RGB, CMYK,
 *		YCCK.
 *
 * Its library's defaults are kept (the accurate integer transform, smooth
 * upsampling, no decoding at a reduced size), so that pixels are those that every
 * other user of the library gets.
 *
 * What a hostile file can cost: memory for coefficients, which the header tells
 * (8 bytes a pixel at most, counted in whole blocks of 32 x 32) and which the
 * library is then held to; time, which grows with the number of scans: SCANS_MAX.
 */
#include "image/decode.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

/* programs write about ten; each may touch every coefficient */
#define SCANS_MAX 100
/* rows that the library gives in one call: at most the lines of its largest unit */
#define ROWS 16

typedef struct Jpeg
{
	struct jpeg_decompress_struct library;
	struct jpeg_error_mgr errors;
	struct jpeg_source_mgr source;
	struct jpeg_progress_mgr progress;
	jmp_buf failed;
	DsDecoding *decoding;
	DsCode code;
	bool ended; /* the library has read beyond the last byte */
	bool lost; /* the data of a scan ended before its blocks did */
	uint8_t *row; /* CMYK: [width][4] */
} Jpeg;

static void fail_with(Jpeg *jpeg, DsCode code) __attribute__((noreturn));

static void
fail_with(Jpeg *jpeg, DsCode code)
{
	jpeg->code = code;
	longjmp(jpeg->failed, 1);
}

static DsCode
code_of(int message)
{
	switch (message)
	{
		case JERR_OUT_OF_MEMORY:
			return DS_OUT_OF_MEMORY;
		case JERR_NO_BACKING_STORE:
			return DS_TOO_LARGE;
		case JERR_ARITH_NOTIMPL:
		case JERR_BAD_PRECISION:
		case JERR_CONVERSION_NOTIMPL:
		case JERR_NOTIMPL:
		case JERR_NOT_COMPILED:
		case JERR_SOF_UNSUPPORTED:
			return DS_UNSUPPORTED;
		default:
			return DS_BAD_DATA;
	}
}

static void
on_error(j_common_ptr library)
{
	Jpeg *jpeg = library->client_data;
	char text[JMSG_LENGTH_MAX];

	library->err->format_message(library, text);
	if (jpeg->ended)
		fail_with(jpeg,
				  ds_fail(jpeg->decoding->status, DS_BAD_DATA, "the JPEG is cut off (%s)", text));
	fail_with(jpeg, ds_fail(jpeg->decoding->status, code_of(library->err->msg_code),
							"the JPEG cannot be decoded: %s", text));
}

/* level -1 is a warning: the data are damaged, and the library goes on */
static void
on_message(j_common_ptr library, int level)
{
	Jpeg *jpeg = library->client_data;

	if (level >= 0)
		return;
	library->err->num_warnings++;
	if (library->err->msg_code == JWRN_HIT_MARKER)
		jpeg->lost = true;
	if (jpeg->decoding->limits->strict)
		on_error(library);
}

static void
on_output(j_common_ptr library)
{
	(void) library;
}

/* after every row of blocks of every scan */
static void
on_progress(j_common_ptr library)
{
	Jpeg *jpeg = library->client_data;

	if (ds_cancelled(jpeg->decoding->cancel))
		fail_with(jpeg, ds_fail(jpeg->decoding->status, DS_CANCELLED, "cancelled"));
	if (jpeg->library.input_scan_number > SCANS_MAX)
		fail_with(jpeg, ds_fail(jpeg->decoding->status, DS_TOO_LARGE,
								"the JPEG has more than %d scans", SCANS_MAX));
}

static void
start_source(j_decompress_ptr library)
{
	(void) library;
}

/* the file is over: an end marker in its place, so that the rows so far are finished */
static boolean
fill_source(j_decompress_ptr library)
{
	static const JOCTET end[2] = {0xff, JPEG_EOI};
	Jpeg *jpeg = library->client_data;

	jpeg->ended = true;
	library->src->next_input_byte = end;
	library->src->bytes_in_buffer = sizeof(end);
	return TRUE;
}

static void
skip_source(j_decompress_ptr library, long bytes)
{
	struct jpeg_source_mgr *source = library->src;

	if (bytes <= 0)
		return;
	if ((unsigned long) bytes > source->bytes_in_buffer)
		fill_source(library);
	else
	{
		source->next_input_byte += bytes;
		source->bytes_in_buffer -= (size_t) bytes;
	}
}

/* bytes of coefficients, should all of them have to be kept */
static size_t
coefficient_bytes(const struct jpeg_decompress_struct *library)
{
	size_t blocks = 0;

	/* edges are at most 65,500 and padded to 32: no overflow */
	for (int i = 0; i < library->num_components; i++)
	{
		const jpeg_component_info *component = &library->comp_info[i];
		size_t wide = component->width_in_blocks + (size_t) component->h_samp_factor;
		size_t high = component->height_in_blocks + (size_t) component->v_samp_factor;

		blocks += wide * high;
	}
	return blocks * DCTSIZE2 * sizeof(JCOEF);
}

/* x / 255 to the nearest, for x up to 255 * 255 */
static inline uint8_t
by_255(uint32_t x)
{
	x += 128;
	return (uint8_t) ((x + (x >> 8)) >> 8);
}

/* stored inverted: 255 is no ink.  Light left is (1 - ink) (1 - black) */
static void
from_cmyk(const uint8_t *in, size_t n, uint8_t *out)
{
	for (size_t i = 0; i < n; i++)
		for (size_t c = 0; c < 3; c++)
			out[i * 3 + c] = by_255((uint32_t) in[i * 4 + c] * in[i * 4 + 3]);
}

static void
read_rows(Jpeg *jpeg)
{
	struct jpeg_decompress_struct *library = &jpeg->library;
	DsDecoding *decoding = jpeg->decoding;
	size_t width = decoding->width;

	while (library->output_scanline < library->output_height)
	{
		uint8_t *to = decoding->pixels + library->output_scanline * width * 3;
		JSAMPROW rows[ROWS];

		if (jpeg->row != NULL)
		{
			rows[0] = jpeg->row;
			if (jpeg_read_scanlines(library, rows, 1) == 1)
				from_cmyk(jpeg->row, width, to);
			continue;
		}
		for (size_t i = 0; i < ROWS; i++)
			rows[i] =
				to + (library->output_scanline + i < library->output_height ? i : 0) * width * 3;
		jpeg_read_scanlines(library, rows,
							library->output_height - library->output_scanline < ROWS
								? library->output_height - library->output_scanline
								: ROWS);
	}
}

/* everything that may jump */
static void
decode(Jpeg *jpeg)
{
	struct jpeg_decompress_struct *library = &jpeg->library;
	DsDecoding *decoding = jpeg->decoding;
	bool scans;
	DsCode code;

	jpeg_create_decompress(library);
	library->progress = &jpeg->progress;
	library->src = &jpeg->source;
	jpeg_read_header(library, TRUE);
	if (library->data_precision != 8 || library->num_components == 2 || library->num_components > 4)
		fail_with(jpeg, ds_fail(decoding->status, DS_UNSUPPORTED,
								"the JPEG has %d components of %d bits; 1, 3 or 4 of 8 are decoded",
								library->num_components, library->data_precision));
	code = ds_decoding_begin(decoding, library->image_width, library->image_height);
	if (code != DS_OK)
		fail_with(jpeg, code);
	/* the rest, some rows of samples and tables, takes less than this */
	library->mem->max_memory_to_use =
		(long) (coefficient_bytes(library) + ((size_t) 1 << 20) + (size_t) decoding->width * 1024);
	if (library->num_components == 4)
	{
		library->out_color_space = JCS_CMYK;
		jpeg->row = ds_arena_alloc(decoding->scratch, decoding->width, 4);
		if (jpeg->row == NULL)
			fail_with(jpeg, ds_fail(decoding->status, DS_OUT_OF_MEMORY, "out of memory"));
	}
	else
		library->out_color_space = JCS_RGB;
	scans = jpeg_has_multiple_scans(library);
	jpeg_start_decompress(library);
	read_rows(jpeg);
	/* a file of one scan that lacks its end marker only has all of its pixels */
	if (jpeg->ended && (scans || jpeg->lost || decoding->limits->strict))
		fail_with(jpeg, ds_fail(decoding->status, DS_BAD_DATA, "the JPEG is cut off"));
}

DsCode
ds_decode_jpeg(DsDecoding *decoding)
{
	Jpeg *jpeg = ds_arena_zero(decoding->scratch, 1, sizeof(Jpeg));
	DsCode code;

	if (jpeg == NULL)
		return ds_fail(decoding->status, DS_OUT_OF_MEMORY, "out of memory");
	jpeg->decoding = decoding;
	jpeg->library.err = jpeg_std_error(&jpeg->errors);
	jpeg->library.client_data = jpeg;
	jpeg->errors.error_exit = on_error;
	jpeg->errors.emit_message = on_message;
	jpeg->errors.output_message = on_output;
	jpeg->progress.progress_monitor = on_progress;
	jpeg->source.init_source = start_source;
	jpeg->source.fill_input_buffer = fill_source;
	jpeg->source.skip_input_data = skip_source;
	jpeg->source.resync_to_restart = jpeg_resync_to_restart;
	jpeg->source.term_source = start_source;
	jpeg->source.next_input_byte = decoding->bytes;
	jpeg->source.bytes_in_buffer = decoding->size;
	if (setjmp(jpeg->failed) == 0)
		decode(jpeg);
	code = jpeg->code;
	jpeg_destroy_decompress(&jpeg->library);
	return code;
}
