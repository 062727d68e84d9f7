/*
 * resize.c
 *		Resampling by a separable filter, as Pillow does it.
 *
 * The idea.  Output pixel i of an axis lies at (i + 1/2) * scale of the source,
 * scale = source / output.  It is the mean of the source's pixels around, weighted
 * by a filter f(distance); where the picture becomes smaller the filter is made
 * wider by scale, so that every pixel counts (antialiasing).  Weights are
 * normalised to add up to one, so pixels beyond the border are as if they were not
 * there.
 *
 * To the bit.  What Pillow rounds is rounded here, in the same place:
 *
 *	1. weights in double, in one order of operations (axis_of);
 *	2. weights to multiples of 2^-22, halves away from zero;
 *	3. first along x, sums in 32 bits, rounded to 8 bits and cut to 0 .. 255;
 *	4. then along y, likewise.
 *
 * An axis whose size does not change is left out.  Nearest takes the pixel under
 * the point; there Pillow adds scale up step by step, with the rounding of that.
 *
 * Example: 4 pixels to 2 with the bilinear filter.  scale = 2, output 0 lies at 1.0,
 * the triangle reaches 2 to each side: pixels at 0.5, 1.5, 2.5 have the weights
 * 0.75, 0.75, 0.25, divided by their sum 1.75.
 *
 * Filters: Pillow's documentation, "Concepts", "Filters"; bicubic is Keys' with
 * a = -0.5 (IEEE Trans. ASSP 29, 1981), Lanczos has three lobes.
 */
#include "image/resize.h"

#include <math.h>
#include <string.h>

#include "image/resize_kernels.h"

/* source bytes between two looks at cancel: a few ms */
#define CANCEL_BYTES ((size_t) 1 << 21)

static double
sinc(double x)
{
	if (x == 0)
		return 1;
	x *= M_PI;
	return sin(x) / x;
}

static double
filter_at(DsImageFilter filter, double x)
{
	double distance = fabs(x);

	switch (filter)
	{
		case DS_FILTER_BOX:
			return x > -0.5 && x <= 0.5 ? 1 : 0;
		case DS_FILTER_BILINEAR:
			return distance < 1 ? 1 - distance : 0;
		case DS_FILTER_HAMMING:
			if (distance == 0)
				return 1;
			if (distance >= 1)
				return 0;
			distance *= M_PI;
			return sin(distance) / distance * (0.54f + 0.46f * cos(distance));
		case DS_FILTER_BICUBIC:
			if (distance < 1)
				return ((-0.5 + 2) * distance - (-0.5 + 3)) * distance * distance + 1;
			if (distance < 2)
				return (((distance - 5) * distance + 8) * distance - 4) * -0.5;
			return 0;
		default: /* Lanczos */
			return -3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0;
	}
}

static double
support_of(DsImageFilter filter)
{
	switch (filter)
	{
		case DS_FILTER_BOX:
			return 0.5;
		case DS_FILTER_BICUBIC:
			return 2;
		case DS_FILTER_LANCZOS:
			return 3;
		default:
			return 1;
	}
}

/* the weights of outputs begin .. begin + count of an axis: source pixels to size pixels */
static DsCode
axis_of(uint32_t source, uint32_t size, uint32_t begin, uint32_t count, DsImageFilter filter,
		DsArena *scratch, DsResizeAxis *axis, DsStatus *status)
{
	double scale = (double) source / size;
	double width = scale < 1 ? 1 : scale; /* of the filter */
	double support = support_of(filter) * width;
	double narrow = 1 / width;
	size_t most = (size_t) ceil(support) * 2 + 1;
	size_t stride = (most + 3) & ~(size_t) 3;
	size_t total;
	double *exact = ds_arena_alloc(scratch, most, sizeof(double));
	uint32_t *first = ds_arena_alloc(scratch, count, sizeof(uint32_t));
	uint32_t *taps = ds_arena_alloc(scratch, count, sizeof(uint32_t));
	int32_t *weights;
	int16_t *high, *low;

	if (!ds_size_mul(count, stride, &total))
		return ds_fail(status, DS_TOO_LARGE, "the resized image is too large");
	weights = ds_arena_zero(scratch, total, sizeof(int32_t));
	high = ds_arena_zero(scratch, total, sizeof(int16_t));
	low = ds_arena_zero(scratch, total, sizeof(int16_t));
	if (exact == NULL || first == NULL || taps == NULL || weights == NULL || high == NULL ||
		low == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for resizing an image");
	for (uint32_t i = 0; i < count; i++)
	{
		double center = ((double) (begin + i) + 0.5) * scale;
		double from = floor(center - support + 0.5);
		double to = floor(center + support + 0.5);
		double sum = 0;
		size_t n;

		/* floor differs from C's conversion below zero only, where the border cuts both */
		first[i] = from < 0 ? 0 : (uint32_t) from;
		n = (to > source ? source : (size_t) to) - first[i];
		taps[i] = (uint32_t) n;
		for (size_t t = 0; t < n; t++)
		{
			exact[t] = filter_at(filter, ((double) (first[i] + t) - center + 0.5) * narrow);
			sum += exact[t];
		}
		for (size_t t = 0; t < n; t++)
		{
			size_t at = i * stride + t;
			double weight = (sum != 0 ? exact[t] / sum : exact[t]) * (1 << DS_RESIZE_BITS);

			weights[at] = (int32_t) (weight < 0 ? weight - 0.5 : weight + 0.5);
			high[at] = (int16_t) (weights[at] >> DS_RESIZE_LOW_BITS);
			low[at] = (int16_t) (weights[at] & ((1 << DS_RESIZE_LOW_BITS) - 1));
		}
	}
	*axis = (DsResizeAxis){count, (uint32_t) stride, first, taps, weights, high, low};
	return DS_OK;
}

static DsCode
cancelled(DsStatus *status)
{
	return ds_fail(status, DS_CANCELLED, "cancelled");
}

/* rows begin .. begin + count of the source along x: out[count][axis->count][3] */
static DsCode
resize_rows(const DsImage *image, uint32_t begin, uint32_t count, const DsResizeAxis *axis,
			uint8_t *out, DsArena *scratch, const DsCancel *cancel, DsStatus *status)
{
	const DsResizeKernels *kernels = ds_resize_kernels();
	size_t in_row = (size_t) image->width * 3;
	size_t out_row = (size_t) axis->count * 3;
	/* a row that has too little memory behind it is copied to where there is enough */
	uint8_t *copies = ds_arena_zero(scratch, 4, in_row + DS_RESIZE_OVERREAD);
	size_t unseen = 0;

	if (copies == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for resizing an image");
	for (uint32_t y = 0; y < count; y += 4)
	{
		const uint8_t *in[4];
		uint8_t *to[4];
		size_t rows = count - y < 4 ? count - y : 4;

		for (size_t r = 0; r < rows; r++)
		{
			size_t row = (size_t) begin + y + r;

			in[r] = image->pixels + row * in_row;
			if ((image->height - 1 - row) * in_row < DS_RESIZE_OVERREAD)
			{
				uint8_t *copy = copies + r * (in_row + DS_RESIZE_OVERREAD);

				memcpy(copy, in[r], in_row);
				in[r] = copy;
			}
			to[r] = out + (y + r) * out_row;
		}
		kernels->horizontal(axis, in, to, rows);
		unseen += 4 * in_row;
		if (unseen >= CANCEL_BYTES)
		{
			unseen = 0;
			if (ds_cancelled(cancel))
				return cancelled(status);
		}
	}
	return DS_OK;
}

static DsCode
resize_nearest(const DsImage *image, uint32_t width, uint32_t height, const DsImageWindow *window,
			   uint8_t *out, size_t stride, DsArena *scratch, const DsCancel *cancel,
			   DsStatus *status)
{
	double step = (double) image->width / width;
	double at = step * 0.5;
	uint32_t *columns = ds_arena_alloc(scratch, window->width, sizeof(uint32_t));

	if (columns == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for resizing an image");
	for (uint32_t x = 0; x < window->left + window->width; x++, at += step)
		if (x >= window->left)
			columns[x - window->left] = at < image->width ? (uint32_t) at : image->width - 1;
	step = (double) image->height / height;
	at = step * 0.5;
	for (uint32_t y = 0; y < window->top + window->height; y++, at += step)
	{
		const uint8_t *from;

		if (y < window->top)
			continue;
		from = image->pixels +
			   (size_t) (at < image->height ? (uint32_t) at : image->height - 1) * image->width * 3;
		for (uint32_t x = 0; x < window->width; x++)
			memcpy(out + (size_t) x * 3, from + (size_t) columns[x] * 3, 3);
		out += stride;
		if (ds_cancelled(cancel))
			return cancelled(status);
	}
	return DS_OK;
}

static DsCode
resize(const DsImage *image, uint32_t width, uint32_t height, DsImageFilter filter,
	   const DsImageWindow *window, uint8_t *out, size_t stride, DsArena *scratch,
	   const DsCancel *cancel, DsStatus *status)
{
	const DsResizeKernels *kernels = ds_resize_kernels();
	size_t row = (size_t) window->width * 3;
	size_t in_row = row;
	const uint8_t *in;
	DsResizeAxis x = {0}, y = {0};
	uint32_t top = window->top; /* the rows of the source that are needed */
	uint32_t rows = window->height;
	size_t unseen = 0;
	DsCode code;

	if (height != image->height)
	{
		uint32_t bottom = 0;

		code = axis_of(image->height, height, window->top, window->height, filter, scratch, &y,
					   status);
		if (code != DS_OK)
			return code;
		top = image->height;
		for (uint32_t i = 0; i < y.count; i++)
		{
			if (y.first[i] < top)
				top = y.first[i];
			if (y.first[i] + y.taps[i] > bottom)
				bottom = y.first[i] + y.taps[i];
		}
		rows = bottom - top;
	}
	if (width != image->width)
	{
		uint8_t *between = out;

		code =
			axis_of(image->width, width, window->left, window->width, filter, scratch, &x, status);
		if (code != DS_OK)
			return code;
		if (y.count > 0 || stride != row)
			between = ds_arena_alloc(scratch, row, rows);
		if (between == NULL)
			return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for resizing an image");
		code = resize_rows(image, top, rows, &x, between, scratch, cancel, status);
		if (code != DS_OK)
			return code;
		in = between;
	}
	else
	{
		in_row = (size_t) image->width * 3;
		in = image->pixels + top * in_row + (size_t) window->left * 3;
	}
	for (uint32_t i = 0; i < window->height && in != out; i++)
	{
		size_t at = (size_t) i * y.stride;

		if (y.count == 0)
			memcpy(out + i * stride, in + i * in_row, row);
		else
			kernels->vertical(in + (y.first[i] - top) * in_row, in_row, row, y.taps[i],
							  y.weights + at, y.high + at, y.low + at, out + i * stride);
		unseen += row * (y.count == 0 ? 1 : y.taps[i]);
		if (unseen >= CANCEL_BYTES)
		{
			unseen = 0;
			if (ds_cancelled(cancel))
				return cancelled(status);
		}
	}
	return DS_OK;
}

DsCode
ds_image_resize(const DsImage *image, uint32_t width, uint32_t height, DsImageFilter filter,
				const DsImageWindow *window, uint8_t *out, size_t stride, DsArena *scratch,
				const DsCancel *cancel, DsStatus *status)
{
	DsImageWindow all = {0, 0, width, height};
	DsArenaMark mark = ds_arena_mark(scratch);
	DsCode code;

	if (window == NULL)
		window = &all;
	if ((unsigned) filter > DS_FILTER_HAMMING)
		return ds_fail(status, DS_INVALID, "there is no filter %d", (int) filter);
	if (width > DS_RESIZE_EDGE_MAX || height > DS_RESIZE_EDGE_MAX ||
		image->width > DS_IMAGE_EDGE_MAX || image->height > DS_IMAGE_EDGE_MAX)
		return ds_fail(status, DS_TOO_LARGE, "an image cannot be resized to %u x %u", width,
					   height);
	if (image->width == 0 || image->height == 0 || window->width == 0 || window->height == 0 ||
		window->width > width || window->left > width - window->width || window->height > height ||
		window->top > height - window->height)
		return ds_fail(status, DS_INVALID, "a part of an image is empty or outside of it");
	if (filter == DS_FILTER_NEAREST)
		code = resize_nearest(image, width, height, window, out, stride, scratch, cancel, status);
	else
		code = resize(image, width, height, filter, window, out, stride, scratch, cancel, status);
	ds_arena_rewind(scratch, mark);
	return code;
}
