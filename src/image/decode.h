/*
 * decode.h
 *		One picture being decoded; for the decoders only.
 *
 * libjpeg and libpng report an error by a function that may not return.  Their
 * setjmp and longjmp stay inside of decode_jpeg.c and decode_png.c: no frame but
 * those of the library and of the function that called it is ever skipped, and
 * what lives across the jump is in memory of the arena, not in registers.
 */
#ifndef DS_IMAGE_DECODE_H
#define DS_IMAGE_DECODE_H

#include "image/image.h"

typedef struct DsDecoding
{
	const uint8_t *bytes;
	size_t size;
	const DsImageLimits *limits;
	DsArena *arena;
	DsArena *scratch;
	const DsCancel *cancel;
	DsStatus *status;
	uint32_t orientation; /* EXIF: 1 to 8 */
	/* set by ds_decoding_begin() */
	uint32_t width; /* as stored, before it is turned */
	uint32_t height;
	uint8_t *pixels; /* [height][width][3], in arena if it stays, in scratch if it is turned */
} DsDecoding;

/* the size is known: check it and allocate pixels */
extern DsCode ds_decoding_begin(DsDecoding *decoding, uint64_t width, uint64_t height);

/* fill pixels, or fail; nothing of the library is left */
extern DsCode ds_decode_jpeg(DsDecoding *decoding);
extern DsCode ds_decode_png(DsDecoding *decoding);

/* the orientation that a JPEG's or PNG's EXIF block states, 1 if none does */
extern uint32_t ds_jpeg_orientation(const uint8_t *bytes, size_t size);
extern uint32_t ds_png_orientation(const uint8_t *bytes, size_t size);

#endif /* DS_IMAGE_DECODE_H */
