/*
 * image.h
 *		Pictures from their files: JPEG and PNG in memory to pixels.
 *
 * Pixels are 8-bit red, green, blue, interleaved, upright: the orientation that
 * EXIF states has been applied.  What becomes of the other kinds:
 *
 *	 grey			three equal channels
 *	 CMYK, YCCK		inverted, as Adobe's programs write them, whether a marker says so
 *					or not; converted without a colour profile
 *	 palette		its colours
 *	 16 bits		rounded to 8
 *	 transparent	over white
 *
 * Profiles and gamma are left alone, as they are by what image models were
 * trained with.
 */
#ifndef DS_IMAGE_H
#define DS_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"

typedef struct DsImage
{
	uint32_t width;
	uint32_t height;
	uint8_t *pixels; /* [height][width][3], no gaps between rows */
} DsImage;

/* what a caller without an opinion gives */
#define DS_IMAGE_BYTES_DEFAULT ((size_t) 32 << 20)
#define DS_IMAGE_PIXELS_DEFAULT ((uint64_t) 50000000)
/* pixels of an edge: a row is the least that is decoded between two looks at cancel */
#define DS_IMAGE_EDGE_MAX ((uint32_t) 1 << 20)

typedef struct DsImageLimits
{
	size_t max_bytes; /* of the file */
	uint64_t max_pixels; /* width times height */
	/*
	 * Is a file refused for what its library only warns about?  Otherwise damage that
	 * leaves every row in place (a wrong bit in the middle of a JPEG) gives pixels.
	 * Missing rows and wrong checksums of pixels are errors in any case.
	 */
	bool strict;
} DsImageLimits;

/*
 * Decode a whole file.  Pixels go into arena (nothing does on failure); scratch,
 * another arena, is left as it was.  Memory besides the pixels: as much again when
 * the picture is turned; 4 bytes a pixel for an interlaced PNG with transparency;
 * 8 bytes a pixel for a progressive JPEG, from malloc.
 *
 * Errors: DS_BAD_DATA (damaged, cut off, of no known type, empty), DS_UNSUPPORTED
 * (another type of picture, which the message names; a form of JPEG that is not
 * decoded), DS_TOO_LARGE (limits, before pixels are allocated), DS_OUT_OF_MEMORY,
 * DS_CANCELLED.
 */
extern DsCode ds_image_decode(const void *bytes, size_t size, const DsImageLimits *limits,
							  DsArena *arena, DsArena *scratch, const DsCancel *cancel,
							  DsImage *image, DsStatus *status);

#endif /* DS_IMAGE_H */
