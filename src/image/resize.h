/*
 * resize.h
 *		Pictures of another size, equal to those of Pillow's Image.resize.
 *
 * Image models were trained on what the Python library Pillow gives, and most
 * image processors call it; so the result here is the same in every bit, not
 * merely close: resize.c says how.
 */
#ifndef DS_IMAGE_RESIZE_H
#define DS_IMAGE_RESIZE_H

#include "image/image.h"

/* Pillow's numbers, which stand in preprocessor_config.json as "resample" */
typedef enum DsImageFilter
{
	DS_FILTER_NEAREST = 0,
	DS_FILTER_LANCZOS = 1,
	DS_FILTER_BILINEAR = 2,
	DS_FILTER_BICUBIC = 3,
	DS_FILTER_BOX = 4,
	DS_FILTER_HAMMING = 5
} DsImageFilter;

/* of an output: pixels of an edge, which may not all be asked for */
#define DS_RESIZE_EDGE_MAX ((uint32_t) 1 << 26)

/* the part of a resized picture that is wanted */
typedef struct DsImageWindow
{
	uint32_t left;
	uint32_t top;
	uint32_t width;
	uint32_t height;
} DsImageWindow;

/*
 * Resize to width x height and write the window of it (NULL: all) to
 * out[window height][stride], stride in bytes, at least 3 x window width.  Only
 * what the window needs is computed.  scratch is left as it was; it holds
 * 3 bytes for each column of the window and row of the source that it needs,
 * and the filter's weights, about 8 bytes for each of those columns and rows.
 * Antialiased where the picture becomes smaller (but DS_FILTER_NEAREST).
 * Errors: DS_INVALID (an empty window, or one outside; an unknown filter),
 * DS_TOO_LARGE, DS_OUT_OF_MEMORY, DS_CANCELLED.
 */
extern DsCode ds_image_resize(const DsImage *image, uint32_t width, uint32_t height,
							  DsImageFilter filter, const DsImageWindow *window, uint8_t *out,
							  size_t stride, DsArena *scratch, const DsCancel *cancel,
							  DsStatus *status);

#endif /* DS_IMAGE_RESIZE_H */
