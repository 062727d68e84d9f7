/*
 * conv.c
 *		Layers over pictures, forward and backward.
 *
 * A convolution is y[p, o] = sum over k, c of x[p + k, c] W[k, c, o], p a pixel and k a place of
 * the window.  Its way back (dy is the gradient by y):
 *
 *     dW[k, c, o] = sum over p of x[p + k, c] dy[p, o]
 *     dx[q, c]    = sum over k, o of dy[q - k, o] W[k, c, o]
 *
 * The second is for stride 1 a convolution of dy, with zeros around it, by the turned weight
 * W'[k, o, c] = W[last - k, c, o]; so all three run over windows (conv_kernels.h).  With other
 * strides the gradients by all windows' numbers are a product, and are added up where
 * windows lie ("col2im").
 *
 * Pictures with a pad are copied into zeros before: a copy costs some percent of the
 * convolution, and windows need no borders then.  Some pictures go at once, as many as make
 * tiles that are full also where pictures are small; what they leave stays in the second level of
 * cache for what comes next.
 *
 * Limits.  A group's padded pictures have less than 2^32 numbers.
 */
#include "nn/conv.h"

#include <math.h>
#include <string.h>

/* output pixels of a group, at least */
#define GROUP_PIXELS 64
#define GROUP_MOST 16
/* tiles of Winograd's method, which shares the weights' transform among them */
#define GROUP_TILES 48

static size_t
padded_side(size_t side, size_t pad)
{
	return side + 2 * pad;
}

/* a * b * c * d, or SIZE_MAX where that does not fit */
static size_t
product_of(size_t a, size_t b, size_t c, size_t d)
{
	size_t n;

	if (!ds_size_mul(a, b, &n) || !ds_size_mul(n, c, &n) || !ds_size_mul(n, d, &n))
		return SIZE_MAX;
	return n;
}

/*
 * Where the windows of pictures of rows x columns pixels of c numbers, stride apart, begin:
 * at[pictures, high, wide]
 */
static void
place_windows(uint32_t *at, size_t pictures, size_t rows, size_t columns, size_t c, size_t stride,
			  size_t high, size_t wide)
{
	for (size_t g = 0; g < pictures; g++)
		for (size_t i = 0; i < high; i++)
			for (size_t j = 0; j < wide; j++)
				*at++ = (uint32_t) (((g * rows + i * stride) * columns + j * stride) * c);
}

/*
 * Is it 3 x 3 with stride 1, and Winograd's method worth while?  Then also on the way back, which
 * looks from 2 - pad before a picture on
 */
static bool
plan_winograd(DsConv *conv)
{
	const DsConvShape *s = &conv->shape;
	size_t tiles = ds_winograd_tiles(conv->out_height, conv->out_width);
	size_t group = (GROUP_TILES + tiles - 1) / tiles;

	group = group > GROUP_MOST ? GROUP_MOST : group;
	if (s->kernel_height != 3 || s->kernel_width != 3 || s->stride != 1 || s->pad > 2 ||
		!ds_winograd_pays(s->ins, s->outs, conv->out_height, conv->out_width, group) ||
		!ds_winograd_pays(s->outs, s->ins, s->height, s->width, group))
		return false;
	conv->group = group;
	return true;
}

/* Of pictures of height x width outputs, what Winograd's tiles look at */
static ds_real *
allocate_frames(const DsConv *conv, size_t height, size_t width, size_t channels, DsArena *arena)
{
	size_t sides = ((height + 3) / 4 * 4 + 2) * ((width + 3) / 4 * 4 + 2);

	return ds_arena_zero(arena, conv->group * sides, channels * sizeof(ds_real));
}

/* What that needs; the panels are there */
static bool
allocate_winograd(DsConv *conv, bool backward, DsArena *arena)
{
	const DsConvShape *s = &conv->shape;
	size_t sizes[] = {ds_winograd_scratch(s->ins, s->outs), ds_winograd_scratch(s->outs, s->ins),
					  ds_winograd_gradient_scratch(s->ins, s->outs)};
	size_t scratch = sizes[0];

	conv->framed = allocate_frames(conv, conv->out_height, conv->out_width, s->ins, arena);
	if (conv->framed == NULL)
		return false;
	if (!backward)
	{
		conv->scratch = ds_arena_alloc(arena, scratch, sizeof(ds_real));
		return conv->scratch != NULL;
	}
	for (size_t i = 1; i < 3; i++)
		scratch = sizes[i] > scratch ? sizes[i] : scratch;
	conv->d_row = ds_winograd_padded(s->outs);
	conv->d_framed = allocate_frames(conv, s->height, s->width, s->outs, arena);
	conv->scratch = ds_arena_alloc(arena, scratch, sizeof(ds_real));
	conv->points = ds_arena_alloc(arena, 36 * s->ins, conv->d_row * sizeof(ds_real));
	conv->d_weight = ds_arena_alloc(arena, 9 * s->ins, conv->d_row * sizeof(ds_real));
	conv->back_panels = ds_arena_alloc(
		arena, ds_panels_size(ds_conv_kernels(), 9 * s->outs, s->ins), sizeof(ds_real));
	return conv->d_framed != NULL && conv->scratch != NULL && conv->points != NULL &&
		   conv->d_weight != NULL && conv->back_panels != NULL;
}

static bool
plan_back(DsConv *conv, DsArena *arena)
{
	const DsConvShape *s = &conv->shape;
	const DsConvKernels *kernels = ds_conv_kernels();
	size_t outs = conv->out_height * conv->out_width;
	size_t window = s->kernel_height * s->kernel_width;

	conv->d_row = (s->outs + kernels->lanes - 1) / kernels->lanes * kernels->lanes;
	conv->d_weight = ds_arena_zero(arena, window * s->ins, s->outs * sizeof(ds_real));
	if (conv->d_weight == NULL)
		return false;
	if (conv->d_row != s->outs)
	{
		conv->d_aligned = ds_arena_zero(arena, conv->group * outs, conv->d_row * sizeof(ds_real));
		if (conv->d_aligned == NULL)
			return false;
	}
	if (s->stride == 1)
	{
		size_t rows = padded_side(conv->out_height, s->kernel_height - 1 - s->pad);
		size_t columns = padded_side(conv->out_width, s->kernel_width - 1 - s->pad);

		conv->back_panels = ds_arena_alloc(arena, ds_panels_size(kernels, window * s->outs, s->ins),
										   sizeof(ds_real));
		conv->back_at = ds_arena_alloc(arena, conv->group * s->height * s->width, sizeof(uint32_t));
		conv->d_padded =
			ds_arena_zero(arena, conv->group * rows * columns, s->outs * sizeof(ds_real));
		if (conv->back_panels == NULL || conv->back_at == NULL || conv->d_padded == NULL)
			return false;
		place_windows(conv->back_at, conv->group, rows, columns, s->outs, 1, s->height, s->width);
		return true;
	}
	conv->back_panels =
		ds_arena_alloc(arena, ds_panels_size(kernels, s->outs, window * s->ins), sizeof(ds_real));
	conv->back_at = ds_arena_alloc(arena, conv->group * outs, sizeof(uint32_t));
	conv->columns = ds_arena_alloc(arena, conv->group * outs, window * s->ins * sizeof(ds_real));
	conv->d_picture =
		ds_arena_alloc(arena, padded_side(s->height, s->pad) * padded_side(s->width, s->pad),
					   s->ins * sizeof(ds_real));
	if (conv->back_panels == NULL || conv->back_at == NULL || conv->columns == NULL ||
		conv->d_picture == NULL)
		return false;
	place_windows(conv->back_at, conv->group, conv->out_height, conv->out_width, s->outs, 1,
				  conv->out_height, conv->out_width);
	return true;
}

DsCode
ds_conv_plan(DsConv *conv, const DsConvShape *shape, bool backward, DsArena *arena,
			 DsStatus *status)
{
	const DsConvKernels *kernels = ds_conv_kernels();
	size_t rows = padded_side(shape->height, shape->pad);
	size_t columns = padded_side(shape->width, shape->pad);
	size_t outs;
	size_t most;

	memset(conv, 0, sizeof(*conv));
	if (shape->height < 1 || shape->width < 1 || shape->ins < 1 || shape->outs < 1 ||
		shape->kernel_height < 1 || shape->kernel_width < 1 || shape->stride < 1 ||
		shape->pad >= shape->kernel_height || shape->pad >= shape->kernel_width ||
		rows < shape->kernel_height || columns < shape->kernel_width)
		return ds_fail(status, DS_INVALID,
					   "a convolution of %zu x %zu windows does not fit a picture of %zu x %zu",
					   shape->kernel_height, shape->kernel_width, shape->height, shape->width);
	conv->shape = *shape;
	conv->out_height = ds_conv_out(shape->height, shape->kernel_height, shape->stride, shape->pad);
	conv->out_width = ds_conv_out(shape->width, shape->kernel_width, shape->stride, shape->pad);
	outs = conv->out_height * conv->out_width;
	conv->group = outs >= GROUP_PIXELS ? 1 : (GROUP_PIXELS + outs - 1) / outs;
	if (conv->group > GROUP_MOST)
		conv->group = GROUP_MOST;
	conv->winograd = plan_winograd(conv);
	/* what is addressed by 32 bits, here and on the way back */
	most = shape->ins > shape->outs ? shape->ins : shape->outs;
	if (product_of(conv->group, rows + shape->kernel_height, columns + shape->kernel_width, most) >
			UINT32_MAX ||
		product_of(conv->group * outs, shape->kernel_height * shape->kernel_width, most, 8) >
			UINT32_MAX)
		return ds_fail(status, DS_TOO_LARGE,
					   "a convolution over %zu x %zu pixels of %zu channels is too large",
					   shape->height, shape->width, most);
	conv->panels = ds_arena_alloc(
		arena,
		ds_panels_size(kernels, shape->kernel_height * shape->kernel_width * shape->ins,
					   shape->outs),
		sizeof(ds_real));
	if (conv->winograd)
	{
		if (conv->panels == NULL || !allocate_winograd(conv, backward, arena))
			return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for a convolution");
		return DS_OK;
	}
	conv->at = ds_arena_alloc(arena, conv->group * outs, sizeof(uint32_t));
	if (shape->pad > 0)
		conv->padded =
			ds_arena_zero(arena, conv->group * rows * columns, shape->ins * sizeof(ds_real));
	if (conv->at == NULL || conv->panels == NULL || (shape->pad > 0 && conv->padded == NULL) ||
		(backward && !plan_back(conv, arena)))
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for a convolution");
	place_windows(conv->at, conv->group, rows, columns, shape->ins, shape->stride, conv->out_height,
				  conv->out_width);
	return DS_OK;
}

/*
 * Place by place of the window a matrix, row and column apart in the weight, to panels;
 * turned: the last place first
 */
static void
pack_places(const DsConvShape *s, const ds_real *weight, size_t rows, size_t row, size_t columns,
			size_t column, bool turned, ds_real *panels)
{
	const DsConvKernels *kernels = ds_conv_kernels();
	size_t window = s->kernel_height * s->kernel_width;

	for (size_t first = 0; first < columns; first += kernels->width)
	{
		size_t n = columns - first < kernels->width ? columns - first : kernels->width;

		for (size_t k = 0; k < window; k++, panels += rows * kernels->width)
			kernels->pack(weight + first * column + (turned ? window - 1 - k : k), row, column,
						  rows, n, panels);
	}
}

void
ds_conv_load(DsConv *conv, const ds_real *weight, bool backward)
{
	const DsConvShape *s = &conv->shape;
	size_t window = s->kernel_height * s->kernel_width;

	pack_places(s, weight, s->ins, window, s->outs, s->ins * window, false, conv->panels);
	if (conv->points != NULL)
		memset(conv->points, 0, 36 * s->ins * conv->d_row * sizeof(ds_real));
	else if (conv->d_weight != NULL)
		memset(conv->d_weight, 0, window * s->ins * s->outs * sizeof(ds_real));
	if (!backward)
		return;
	if (s->stride == 1)
		pack_places(s, weight, s->outs, s->ins * window, s->ins, window, true, conv->back_panels);
	else
	{
		/* [outs, window, ins], of which columns are not evenly apart in the weight */
		const DsConvKernels *kernels = ds_conv_kernels();
		size_t width = kernels->width;
		size_t columns = window * s->ins;

		memset(conv->back_panels, 0, ds_panels_size(kernels, s->outs, columns) * sizeof(ds_real));
		for (size_t c = 0; c < columns; c++)
			for (size_t o = 0; o < s->outs; o++)
				conv->back_panels[(c / width * s->outs + o) * width + c % width] =
					weight[(o * s->ins + c % s->ins) * window + c / s->ins];
	}
}

void
ds_conv_gradient(const DsConv *conv, ds_real *d_weight)
{
	const DsConvShape *s = &conv->shape;
	size_t window = s->kernel_height * s->kernel_width;
	size_t row = conv->winograd ? conv->d_row : s->outs;

	if (conv->winograd)
		ds_conv_kernels()->winograd->collect(conv->points, s->ins * row, conv->d_weight);
	for (size_t o = 0; o < s->outs; o++)
		for (size_t c = 0; c < s->ins; c++)
			for (size_t k = 0; k < window; k++)
				*d_weight++ += conv->d_weight[(k * s->ins + c) * row + o];
}

/* Pictures of high x wide pixels of c numbers into the midst of zeros that are there already */
static void
surround(const ds_real *x, size_t pictures, size_t high, size_t wide, size_t c, size_t above,
		 size_t beside, ds_real *out)
{
	size_t row = padded_side(wide, beside) * c;

	for (size_t g = 0; g < pictures; g++)
	{
		ds_real *to = out + (g * padded_side(high, above) + above) * row + beside * c;

		for (size_t i = 0; i < high; i++, x += wide * c, to += row)
			memcpy(to, x, wide * c * sizeof(ds_real));
	}
}

/* The windows of the forward pass over these pictures */
static DsWindows
windows_of(DsConv *conv, const ds_real *x, size_t pictures)
{
	const DsConvShape *s = &conv->shape;

	if (conv->padded != NULL)
	{
		surround(x, pictures, s->height, s->width, s->ins, s->pad, s->pad, conv->padded);
		x = conv->padded;
	}
	return (DsWindows){.x = x,
					   .at = conv->at,
					   .pixels = pictures * conv->out_height * conv->out_width,
					   .segments = s->kernel_height,
					   .length = s->kernel_width * s->ins,
					   .jump = padded_side(s->width, s->pad) * s->ins};
}

static DsPictures
pictures_of(const ds_real *x, size_t height, size_t width, size_t channels)
{
	return (DsPictures){x, height * width * channels, width * channels, channels};
}

/*
 * Into the midst of zeros, so that no tile is cut by a picture's edge: x becomes what a window
 * sees that begins pad before it
 */
static void
frame(DsWinograd *w, ds_real *frames)
{
	size_t high = (w->height + 3) / 4 * 4 + 2;
	size_t wide = (w->width + 3) / 4 * 4 + 2;

	for (size_t g = 0; g < w->pictures; g++)
		for (size_t i = 0; i < w->in_height; i++)
			memcpy(frames + ((g * high + w->pad + i) * wide + w->pad) * w->ins,
				   w->x.at + g * w->x.picture + i * w->x.row,
				   w->in_width * w->ins * sizeof(ds_real));
	w->x = pictures_of(frames, high, wide, w->ins);
	w->in_height = high;
	w->in_width = wide;
	w->pad = 0;
}

/* y = conv(x), or turned around: x the gradient by y, y that by x */
static void
run_winograd(DsConv *conv, const ds_real *x, size_t pictures, const ds_real *bias, bool turned,
			 ds_real *y)
{
	const DsConvShape *s = &conv->shape;
	DsPictures in = pictures_of(turned ? y : x, s->height, s->width, s->ins);
	DsPictures out = pictures_of(turned ? x : y, conv->out_height, conv->out_width, s->outs);
	DsWinograd w = {.pictures = pictures,
					.x = turned ? out : in,
					.in_height = turned ? conv->out_height : s->height,
					.in_width = turned ? conv->out_width : s->width,
					.pad = turned ? 2 - s->pad : s->pad,
					.ins = turned ? s->outs : s->ins,
					.outs = turned ? s->ins : s->outs,
					.height = turned ? s->height : conv->out_height,
					.width = turned ? s->width : conv->out_width,
					.panels = turned ? conv->back_panels : conv->panels,
					.panel_width = ds_conv_kernels()->width,
					.bias = bias,
					.y = turned ? in : out,
					.scratch = conv->scratch};
	size_t tiles = pictures * ds_winograd_tiles(w.height, w.width);
	size_t group = ds_winograd_group(w.ins, w.outs);

	frame(&w, turned ? conv->d_framed : conv->framed);
	/* of equal size, as far as that goes */
	group = (tiles + (tiles + group - 1) / group - 1) / ((tiles + group - 1) / group);
	for (size_t first = 0; first < tiles; first += group)
		ds_conv_kernels()->winograd->run(&w, first, tiles - first < group ? tiles - first : group);
}

static void
gather_winograd(DsConv *conv, const ds_real *x, const ds_real *d, size_t pictures)
{
	const DsConvShape *s = &conv->shape;
	DsWinograd w = {.pictures = pictures,
					.x = pictures_of(x, s->height, s->width, s->ins),
					.in_height = s->height,
					.in_width = s->width,
					.pad = s->pad,
					.ins = s->ins,
					.outs = s->outs,
					.height = conv->out_height,
					.width = conv->out_width,
					.y = pictures_of(d, conv->out_height, conv->out_width, s->outs),
					.scratch = conv->scratch};
	size_t tiles = pictures * ds_winograd_tiles(w.height, w.width);
	size_t group = ds_winograd_gradient_group(w.ins, w.outs);

	frame(&w, conv->framed);
	group = (tiles + (tiles + group - 1) / group - 1) / ((tiles + group - 1) / group);
	for (size_t first = 0; first < tiles; first += group)
		ds_conv_kernels()->winograd->gradient(
			&w, first, tiles - first < group ? tiles - first : group, conv->points);
}

void
ds_conv_forward(DsConv *conv, const ds_real *x, size_t pictures, const ds_real *bias, ds_real *out)
{
	DsWindows windows;

	if (conv->winograd)
	{
		run_winograd(conv, x, pictures, bias, false, out);
		return;
	}
	windows = windows_of(conv, x, pictures);
	ds_conv_kernels()->forward(&windows, conv->panels, conv->shape.outs, bias, out,
							   conv->shape.outs);
}

/* Gradients by the windows' numbers to where the windows lie */
static void
add_columns(DsConv *conv, size_t picture, ds_real *d_x)
{
	const DsConvShape *s = &conv->shape;
	size_t run = s->kernel_width * s->ins;
	size_t row = padded_side(s->width, s->pad) * s->ins;
	const ds_real *columns =
		conv->columns + picture * conv->out_height * conv->out_width * s->kernel_height * run;

	memset(conv->d_picture, 0, padded_side(s->height, s->pad) * row * sizeof(ds_real));
	for (size_t i = 0; i < conv->out_height; i++)
		for (size_t j = 0; j < conv->out_width; j++)
			for (size_t k = 0; k < s->kernel_height; k++, columns += run)
			{
				ds_real *to = conv->d_picture + (i * s->stride + k) * row + j * s->stride * s->ins;

				for (size_t c = 0; c < run; c++)
					to[c] += columns[c];
			}
	for (size_t i = 0; i < s->height; i++)
		memcpy(d_x + i * s->width * s->ins, conv->d_picture + (i + s->pad) * row + s->pad * s->ins,
			   s->width * s->ins * sizeof(ds_real));
}

static void
input_backward(DsConv *conv, const ds_real *d, size_t pictures, ds_real *d_x)
{
	const DsConvKernels *kernels = ds_conv_kernels();
	const DsConvShape *s = &conv->shape;
	size_t above = s->kernel_height - 1 - s->pad;
	size_t beside = s->kernel_width - 1 - s->pad;
	size_t window = s->kernel_height * s->kernel_width;
	DsWindows windows = {.x = d,
						 .at = conv->back_at,
						 .pixels = pictures * conv->out_height * conv->out_width,
						 .segments = 1,
						 .length = s->outs,
						 .jump = 0};

	if (s->stride > 1)
	{
		kernels->forward(&windows, conv->back_panels, window * s->ins, NULL, conv->columns,
						 window * s->ins);
		for (size_t g = 0; g < pictures; g++)
			add_columns(conv, g, d_x + g * s->height * s->width * s->ins);
		return;
	}
	if (above > 0 || beside > 0)
	{
		surround(d, pictures, conv->out_height, conv->out_width, s->outs, above, beside,
				 conv->d_padded);
		windows.x = conv->d_padded;
	}
	windows.pixels = pictures * s->height * s->width;
	windows.segments = s->kernel_height;
	windows.length = s->kernel_width * s->outs;
	windows.jump = padded_side(conv->out_width, beside) * s->outs;
	kernels->forward(&windows, conv->back_panels, s->ins, NULL, d_x, s->ins);
}

void
ds_conv_backward(DsConv *conv, const ds_real *x, const ds_real *d, size_t pictures, ds_real *d_x,
				 bool learns)
{
	const DsConvShape *s = &conv->shape;

	if (conv->winograd)
	{
		if (learns)
			gather_winograd(conv, x, d, pictures);
		if (d_x != NULL)
			run_winograd(conv, d, pictures, NULL, true, d_x);
		return;
	}
	if (learns)
	{
		DsWindows windows = windows_of(conv, x, pictures);
		const ds_real *rows = d;

		if (conv->d_aligned != NULL)
		{
			for (size_t p = 0; p < windows.pixels; p++)
				memcpy(conv->d_aligned + p * conv->d_row, d + p * s->outs,
					   s->outs * sizeof(ds_real));
			rows = conv->d_aligned;
		}
		ds_conv_kernels()->weight(&windows, rows, conv->d_row, s->outs, conv->d_weight);
	}
	if (d_x != NULL)
		input_backward(conv, d, pictures, d_x);
}

/*
 * Batch normalisation
 */

bool
ds_moments_allocate(DsMoments *moments, size_t channels, DsArena *arena)
{
	moments->channels = channels;
	moments->mean = ds_arena_alloc(arena, channels, sizeof(double));
	moments->squares = ds_arena_alloc(arena, channels, sizeof(double));
	moments->scratch = ds_arena_alloc(arena, channels, 2 * sizeof(ds_real));
	return moments->mean != NULL && moments->squares != NULL && moments->scratch != NULL;
}

void
ds_moments_clear(DsMoments *moments)
{
	moments->count = 0;
	memset(moments->mean, 0, moments->channels * sizeof(double));
	memset(moments->squares, 0, moments->channels * sizeof(double));
}

void
ds_moments_add(DsMoments *moments, const ds_real *x, size_t pixels)
{
	const DsConvKernels *kernels = ds_conv_kernels();
	size_t channels = moments->channels;
	ds_real *mean = moments->scratch;
	ds_real *squares = moments->scratch + channels;
	double n = (double) pixels;
	double total = moments->count + n;

	memset(mean, 0, 2 * channels * sizeof(ds_real));
	kernels->sums(x, pixels, channels, mean);
	for (size_t c = 0; c < channels; c++)
		mean[c] /= (ds_real) n;
	kernels->squares(x, pixels, channels, mean, squares);
	for (size_t c = 0; c < channels; c++)
	{
		double apart = (double) mean[c] - moments->mean[c];

		moments->squares[c] += (double) squares[c] + apart * apart * moments->count * n / total;
		moments->mean[c] += apart * n / total;
	}
	moments->count = total;
}

void
ds_batch_norm_scales(const DsMoments *moments, const ds_real *weight, const ds_real *bias,
					 double epsilon, ds_real *scale, ds_real *shift, ds_real *mean,
					 ds_real *inverse)
{
	for (size_t c = 0; c < moments->channels; c++)
	{
		double variance = moments->count > 0 ? moments->squares[c] / moments->count : 0;
		double inverted = 1 / sqrt(variance + epsilon);

		mean[c] = (ds_real) moments->mean[c];
		inverse[c] = (ds_real) inverted;
		scale[c] = (ds_real) (inverted * (double) weight[c]);
		shift[c] = (ds_real) ((double) bias[c] - moments->mean[c] * inverted * (double) weight[c]);
	}
}

void
ds_batch_norm_backward(size_t channels, double count, const double *sum, const double *product,
					   const ds_real *scale, const ds_real *inverse, ds_real *d_weight,
					   ds_real *d_bias, ds_real *a, ds_real *b)
{
	for (size_t c = 0; c < channels; c++)
	{
		double i = (double) inverse[c];

		if (d_weight != NULL)
			d_weight[c] += (ds_real) (i * product[c]);
		if (d_bias != NULL)
			d_bias[c] += (ds_real) sum[c];
		a[c] = (ds_real) ((double) scale[c] * i * i * product[c] / count);
		b[c] = (ds_real) ((double) scale[c] * sum[c] / count);
	}
}

/*
 * Pooling
 */

static size_t
pool_height(const DsPoolShape *s)
{
	return ds_conv_out(s->height, s->kernel_height, s->stride, s->pad);
}

static size_t
pool_width(const DsPoolShape *s)
{
	return ds_conv_out(s->width, s->kernel_width, s->stride, s->pad);
}

void
ds_max_pool(const DsPoolShape *s, const ds_real *x, ds_real *out, uint8_t *which)
{
	size_t high = pool_height(s);
	size_t wide = pool_width(s);
	size_t channels = s->channels;

	for (size_t i = 0; i < high; i++)
		for (size_t j = 0; j < wide; j++, out += channels, which += channels)
		{
			bool any = false;

			for (size_t k = 0; k < s->kernel_height * s->kernel_width; k++)
			{
				/* below 0 they wrap around to far outside */
				size_t row = i * s->stride + k / s->kernel_width - s->pad;
				size_t column = j * s->stride + k % s->kernel_width - s->pad;
				const ds_real *from = x + (row * s->width + column) * channels;

				if (row >= s->height || column >= s->width)
					continue;
				for (size_t c = 0; c < channels; c++)
				{
					/* a NaN counts as larger, so that it is noticed */
					bool larger = !any || !(from[c] <= out[c]);

					out[c] = larger ? from[c] : out[c];
					which[c] = larger ? (uint8_t) k : which[c];
				}
				any = true;
			}
		}
}

void
ds_max_pool_backward(const DsPoolShape *s, const ds_real *d, const uint8_t *which, ds_real *d_x)
{
	size_t high = pool_height(s);
	size_t wide = pool_width(s);
	size_t channels = s->channels;

	memset(d_x, 0, s->height * s->width * channels * sizeof(ds_real));
	for (size_t i = 0; i < high; i++)
		for (size_t j = 0; j < wide; j++, d += channels, which += channels)
			for (size_t c = 0; c < channels; c++)
			{
				size_t row = i * s->stride + which[c] / s->kernel_width - s->pad;
				size_t column = j * s->stride + which[c] % s->kernel_width - s->pad;

				d_x[(row * s->width + column) * channels + c] += d[c];
			}
}

/* The usual case, with a kernel of its own */
static bool
halves(const DsPoolShape *s)
{
	return s->kernel_height == 2 && s->kernel_width == 2 && s->stride == 2;
}

void
ds_average_pool(const DsPoolShape *s, const ds_real *x, ds_real *out)
{
	size_t wide = pool_width(s);
	size_t window = s->kernel_height * s->kernel_width;
	ds_real share = (ds_real) (1.0 / (double) window);

	if (halves(s))
	{
		ds_conv_kernels()->halve(x, s->height, s->width, s->channels, out);
		return;
	}
	for (size_t p = 0; p < pool_height(s) * wide; p++, out += s->channels)
	{
		memset(out, 0, s->channels * sizeof(ds_real));
		for (size_t k = 0; k < window; k++)
		{
			size_t row = p / wide * s->stride + k / s->kernel_width;
			size_t column = p % wide * s->stride + k % s->kernel_width;
			const ds_real *from = x + (row * s->width + column) * s->channels;

			for (size_t c = 0; c < s->channels; c++)
				out[c] += from[c] * share;
		}
	}
}

void
ds_average_pool_backward(const DsPoolShape *s, const ds_real *d, ds_real *d_x)
{
	size_t wide = pool_width(s);
	size_t window = s->kernel_height * s->kernel_width;
	ds_real share = (ds_real) (1.0 / (double) window);

	if (halves(s))
	{
		ds_conv_kernels()->halve_backward(d, s->height, s->width, s->channels, d_x);
		return;
	}
	memset(d_x, 0, s->height * s->width * s->channels * sizeof(ds_real));
	for (size_t p = 0; p < pool_height(s) * wide; p++, d += s->channels)
		for (size_t k = 0; k < window; k++)
		{
			size_t row = p / wide * s->stride + k / s->kernel_width;
			size_t column = p % wide * s->stride + k % s->kernel_width;
			ds_real *to = d_x + (row * s->width + column) * s->channels;

			for (size_t c = 0; c < s->channels; c++)
				to[c] += d[c] * share;
		}
}

void
ds_global_average(const ds_real *x, size_t pixels, size_t channels, ds_real *out)
{
	memset(out, 0, channels * sizeof(ds_real));
	ds_conv_kernels()->sums(x, pixels, channels, out);
	for (size_t c = 0; c < channels; c++)
		out[c] /= (ds_real) pixels;
}

void
ds_global_average_backward(const ds_real *d, size_t pixels, size_t channels, ds_real *d_x)
{
	ds_real share = (ds_real) (1.0 / (double) pixels);

	for (size_t c = 0; c < channels; c++)
		d_x[c] = d[c] * share;
	for (size_t p = 1; p < pixels; p++)
		memcpy(d_x + p * channels, d_x, channels * sizeof(ds_real));
}
