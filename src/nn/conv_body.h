/*
 * conv_body.h
 *		The source of the kernels of convolutions (see conv_kernels.h); included by
 *		each file that compiles it for a kind of processor.
 *
 * A convolution is a matrix product whose left matrix is not written down ("implicit GEMM"):
 * row p of it is what the window of output pixel p sees.  TILE_ROWS pixels by TILE_VECTORS
 * registers of channels stay in registers over the whole window.  With channels last a row of
 * the window is one run of numbers, so a tile's pixels need an address each and nothing else.
 *
 * The weights' gradient is the product with that matrix turned: TILE_ROWS numbers of the
 * window by TILE_VECTORS registers of channels, over all pixels.
 */
#include "nn/vector.h"

#define WIDTH (TILE_VECTORS * LANES)

typedef __typeof__((vector){0} > (vector){0}) mask;

/* x where the mask is set, else 0 */
INLINE vector
where(mask m, vector x)
{
	return (vector) ((mask) x & m);
}

INLINE vector
above_zero(vector x)
{
	/* a NaN passes, so that it is noticed */
	return where(~(x < (ds_real) 0), x);
}

static void
pack_panels(const ds_real *weight, size_t row, size_t column, size_t depth, size_t outs,
			ds_real *panels)
{
	for (size_t first = 0; first < outs; first += WIDTH, panels += depth * WIDTH)
	{
		size_t n = outs - first < WIDTH ? outs - first : WIDTH;

		for (size_t k = 0; k < depth; k++)
		{
			const ds_real *from = weight + k * row + first * column;
			ds_real *to = panels + k * WIDTH;

			if (column == 1)
				memcpy(to, from, n * sizeof(ds_real));
			else
				for (size_t j = 0; j < n; j++)
					to[j] = from[j * column];
			for (size_t j = n; j < WIDTH; j++)
				to[j] = 0;
		}
	}
}

/*
 * Forward
 */

INLINE void
forward_tile(size_t rows, size_t vectors, const DsWindows *w, const uint32_t *at,
			 const ds_real *panel, ds_real *c, size_t ldc)
{
	vector sum[TILE_ROWS][TILE_VECTORS];
	const ds_real *x[TILE_ROWS];

#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
	{
		x[r] = w->x + at[r];
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			sum[r][v] = (vector){0};
	}
	for (size_t s = 0; s < w->segments; s++)
	{
		for (size_t k = 0; k < w->length; k++, panel += WIDTH)
		{
			vector b[TILE_VECTORS];

#pragma GCC unroll 16
			for (size_t v = 0; v < vectors; v++)
				b[v] = load(panel + v * LANES);
#pragma GCC unroll 16
			for (size_t r = 0; r < rows; r++)
			{
				ds_real a = x[r][k];

#pragma GCC unroll 16
				for (size_t v = 0; v < vectors; v++)
					sum[r][v] += a * b[v];
			}
		}
#pragma GCC unroll 16
		for (size_t r = 0; r < rows; r++)
			x[r] += w->jump;
	}
#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			store(c + r * ldc + v * LANES, sum[r][v]);
}

/*
 * The weights' gradient
 */

INLINE void
weight_tile(size_t rows, size_t vectors, const DsWindows *w, const ds_real *x, const ds_real *d,
			size_t ldd, ds_real *c, size_t ldc, bool add)
{
	vector sum[TILE_ROWS][TILE_VECTORS];

#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			sum[r][v] = add ? load(c + r * ldc + v * LANES) : (vector){0};
	for (size_t p = 0; p < w->pixels; p++, d += ldd)
	{
		const ds_real *a = x + w->at[p];
		vector b[TILE_VECTORS];

#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			b[v] = load(d + v * LANES);
#pragma GCC unroll 16
		for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
			for (size_t v = 0; v < vectors; v++)
				sum[r][v] += a[r] * b[v];
	}
#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			store(c + r * ldc + v * LANES, sum[r][v]);
}

typedef void (*ForwardTile)(const DsWindows *w, const uint32_t *at, const ds_real *panel,
							ds_real *c, size_t ldc);
typedef void (*WeightTile)(const DsWindows *w, const ds_real *x, const ds_real *d, size_t ldd,
						   ds_real *c, size_t ldc, bool add);

#define TILE(rows, vectors)                                                                       \
	static void forward_##rows##_##vectors(const DsWindows *w, const uint32_t *at,                \
										   const ds_real *panel, ds_real *c, size_t ldc)          \
	{                                                                                             \
		forward_tile(rows, vectors, w, at, panel, c, ldc);                                        \
	}                                                                                             \
	static void weight_##rows##_##vectors(const DsWindows *w, const ds_real *x, const ds_real *d, \
										  size_t ldd, ds_real *c, size_t ldc, bool add)           \
	{                                                                                             \
		weight_tile(rows, vectors, w, x, d, ldd, c, ldc, add);                                    \
	}
#include "nn/tile_shapes.h"

static const ForwardTile forward_tiles[TILE_VECTORS][TILE_ROWS] = TABLE(forward);
static const WeightTile weight_tiles[TILE_VECTORS][TILE_ROWS] = TABLE(weight);

static void
forward(const DsWindows *w, const ds_real *panels, size_t outs, const ds_real *bias, ds_real *out,
		size_t ldo)
{
	size_t depth = w->segments * w->length;

	for (size_t first = 0; first < outs; first += WIDTH, panels += depth * WIDTH)
	{
		size_t n = outs - first < WIDTH ? outs - first : WIDTH;
		size_t vectors = (n + LANES - 1) / LANES;

		for (size_t p = 0; p < w->pixels; p += TILE_ROWS)
		{
			size_t rows = w->pixels - p < TILE_ROWS ? w->pixels - p : TILE_ROWS;
			ForwardTile tile = forward_tiles[vectors - 1][rows - 1];
			ds_real *to = out + p * ldo + first;
			ds_real sums[TILE_ROWS * WIDTH];

			if (n % LANES == 0)
				tile(w, w->at + p, panels, to, ldo);
			else
			{
				tile(w, w->at + p, panels, sums, WIDTH);
				for (size_t r = 0; r < rows; r++)
					memcpy(to + r * ldo, sums + r * WIDTH, n * sizeof(ds_real));
			}
			for (size_t r = 0; bias != NULL && r < rows; r++)
				for (size_t j = 0; j < n; j++)
					to[r * ldo + j] += bias[first + j];
		}
	}
}

static void
weight(const DsWindows *w, const ds_real *d, size_t ldd, size_t outs, ds_real *d_weight)
{
	for (size_t first = 0; first < outs; first += WIDTH)
	{
		size_t n = outs - first < WIDTH ? outs - first : WIDTH;
		size_t vectors = (n + LANES - 1) / LANES;

		for (size_t s = 0; s < w->segments; s++)
			for (size_t k = 0; k < w->length; k += TILE_ROWS)
			{
				size_t rows = w->length - k < TILE_ROWS ? w->length - k : TILE_ROWS;
				WeightTile tile = weight_tiles[vectors - 1][rows - 1];
				const ds_real *x = w->x + s * w->jump + k;
				ds_real *to = d_weight + (s * w->length + k) * outs + first;
				ds_real sums[TILE_ROWS * WIDTH];

				if (n % LANES == 0)
				{
					tile(w, x, d + first, ldd, to, outs, true);
					continue;
				}
				tile(w, x, d + first, ldd, sums, WIDTH, false);
				for (size_t r = 0; r < rows; r++)
					for (size_t j = 0; j < n; j++)
						to[r * outs + j] += sums[r * WIDTH + j];
			}
	}
}

/*
 * Channel by channel
 */

/* Numbers c .. channels - 1 of a register that begins with number last: those before are there */
INLINE void
store_behind(ds_real *to, size_t c, size_t last, size_t channels, vector v)
{
	ds_real lanes[LANES];

	store(lanes, v);
	memcpy(to + c, lanes + (c - last), (channels - c) * sizeof(ds_real));
}

static void
sums(const ds_real *x, size_t pixels, size_t channels, ds_real *sum)
{
	size_t c = 0;

	for (; c + LANES <= channels; c += LANES)
	{
		vector total = load(sum + c);

		for (size_t p = 0; p < pixels; p++)
			total += load(x + p * channels + c);
		store(sum + c, total);
	}
	if (c < channels && channels >= LANES)
	{
		size_t last = channels - LANES;
		vector total = load(sum + last);

		for (size_t p = 0; p < pixels; p++)
			total += load(x + p * channels + last);
		store_behind(sum, c, last, channels, total);
		return;
	}
	for (; c < channels; c++)
		for (size_t p = 0; p < pixels; p++)
			sum[c] += x[p * channels + c];
}

static void
squares(const ds_real *x, size_t pixels, size_t channels, const ds_real *mean, ds_real *out)
{
	size_t c = 0;

	for (; c + LANES <= channels; c += LANES)
	{
		vector total = load(out + c);
		vector middle = load(mean + c);

		for (size_t p = 0; p < pixels; p++)
		{
			vector v = load(x + p * channels + c) - middle;

			total += v * v;
		}
		store(out + c, total);
	}
	for (; c < channels; c++)
		for (size_t p = 0; p < pixels; p++)
			out[c] += (x[p * channels + c] - mean[c]) * (x[p * channels + c] - mean[c]);
}

INLINE vector
affine_of(const ds_real *x, size_t c, const ds_real *scale, const ds_real *shift, bool relu)
{
	vector v = load(x + c) * load(scale + c) + load(shift + c);

	return relu ? above_zero(v) : v;
}

static void
affine(const ds_real *x, size_t pixels, size_t channels, const ds_real *scale, const ds_real *shift,
	   bool relu, ds_real *y)
{
	for (size_t p = 0; p < pixels; p++, x += channels, y += channels)
	{
		size_t c = 0;
		vector tail = {0};

		/* the last registers overlap, so they are computed before the others are written */
		if (channels % LANES != 0 && channels > LANES)
			tail = affine_of(x, channels - LANES, scale, shift, relu);
		for (; c + LANES <= channels; c += LANES)
			store(y + c, affine_of(x, c, scale, shift, relu));
		if (c < channels && channels > LANES)
		{
			store(y + channels - LANES, tail);
			continue;
		}
		for (; c < channels; c++)
		{
			ds_real v = x[c] * scale[c] + shift[c];

			y[c] = relu && v < 0 ? 0 : v;
		}
	}
}

INLINE void
affine_sums_of(const ds_real *x, size_t pixels, size_t channels, vector factor, vector offset,
			   bool relu, vector middle, const ds_real *d, vector *sum, vector *product)
{
	vector total = *sum;
	vector products = *product;

	for (size_t p = 0; p < pixels; p++)
	{
		vector v = load(x + p * channels);
		vector g = load(d + p * channels);

		if (relu)
			g = where(v * factor + offset > (ds_real) 0, g);
		total += g;
		products += g * (v - middle);
	}
	*sum = total;
	*product = products;
}

static void
affine_sums(const ds_real *x, size_t pixels, size_t channels, const ds_real *scale,
			const ds_real *shift, bool relu, const ds_real *mean, const ds_real *d, ds_real *sum,
			ds_real *product)
{
	size_t c = 0;

	for (; c + LANES <= channels || (c < channels && channels >= LANES); c += LANES)
	{
		/* the last registers overlap, and the numbers that are new are kept */
		size_t at = c + LANES <= channels ? c : channels - LANES;
		vector total = load(sum + at);
		vector products = load(product + at);

		affine_sums_of(x + at, pixels, channels, load(scale + at), load(shift + at), relu,
					   load(mean + at), d + at, &total, &products);
		store_behind(sum, c, at, at + LANES, total);
		store_behind(product, c, at, at + LANES, products);
	}
	for (; c < channels; c++)
		for (size_t p = 0; p < pixels; p++)
		{
			ds_real v = x[p * channels + c];
			ds_real g = relu && !(v * scale[c] + shift[c] > 0) ? 0 : d[p * channels + c];

			sum[c] += g;
			product[c] += g * (v - mean[c]);
		}
}

INLINE vector
affine_backward_of(const ds_real *x, size_t c, const ds_real *scale, const ds_real *shift,
				   bool relu, const ds_real *mean, const ds_real *a, const ds_real *b,
				   const ds_real *d)
{
	vector v = load(x + c);
	vector factor = load(scale + c);
	vector g = load(d + c);

	if (relu)
		g = where(v * factor + load(shift + c) > (ds_real) 0, g);
	return g * factor - (v - load(mean + c)) * load(a + c) - load(b + c);
}

static void
affine_backward(const ds_real *x, size_t pixels, size_t channels, const ds_real *scale,
				const ds_real *shift, bool relu, const ds_real *mean, const ds_real *a,
				const ds_real *b, ds_real *d)
{
	for (size_t p = 0; p < pixels; p++, x += channels, d += channels)
	{
		size_t c = 0;
		vector tail = {0};

		/* the last registers overlap, so they are computed before the others are written */
		if (channels % LANES != 0 && channels > LANES)
			tail = affine_backward_of(x, channels - LANES, scale, shift, relu, mean, a, b, d);
		for (; c + LANES <= channels; c += LANES)
			store(d + c, affine_backward_of(x, c, scale, shift, relu, mean, a, b, d));
		if (c < channels && channels > LANES)
		{
			store(d + channels - LANES, tail);
			continue;
		}
		for (; c < channels; c++)
		{
			ds_real g = relu && !(x[c] * scale[c] + shift[c] > 0) ? 0 : d[c];

			d[c] = g * scale[c] - (x[c] - mean[c]) * a[c] - b[c];
		}
	}
}

static void
halve(const ds_real *x, size_t height, size_t width, size_t channels, ds_real *y)
{
	size_t row = width * channels;

	for (size_t i = 0; i + 1 < height; i += 2)
		for (size_t j = 0; j + 1 < width; j += 2, y += channels)
		{
			const ds_real *from = x + i * row + j * channels;
			size_t c = 0;

			for (; c + LANES <= channels || (c < channels && channels >= LANES); c += LANES)
			{
				/* the last registers overlap */
				size_t at = c + LANES <= channels ? c : channels - LANES;
				const ds_real *f = from + at;

				store(y + at, ((load(f) + load(f + channels)) +
							   (load(f + row) + load(f + row + channels))) *
								  (ds_real) 0.25);
			}
			for (; c < channels; c++)
				y[c] =
					((from[c] + from[channels + c]) + (from[row + c] + from[row + channels + c])) *
					(ds_real) 0.25;
		}
}

static void
halve_backward(const ds_real *d, size_t height, size_t width, size_t channels, ds_real *d_x)
{
	size_t row = width * channels;

	if (width % 2 != 0 || height % 2 != 0)
		memset(d_x, 0, height * row * sizeof(ds_real));
	for (size_t i = 0; i + 1 < height; i += 2)
		for (size_t j = 0; j + 1 < width; j += 2, d += channels)
		{
			ds_real *to = d_x + i * row + j * channels;
			size_t c = 0;

			for (; c + LANES <= channels || (c < channels && channels >= LANES); c += LANES)
			{
				size_t at = c + LANES <= channels ? c : channels - LANES;
				vector v = load(d + at) * (ds_real) 0.25;

				store(to + at, v);
				store(to + channels + at, v);
				store(to + row + at, v);
				store(to + row + channels + at, v);
			}
			for (; c < channels; c++)
				to[c] = to[channels + c] = to[row + c] = to[row + channels + c] =
					d[c] * (ds_real) 0.25;
		}
}

const DsConvKernels KERNELS_NAME = {
	.lanes = LANES,
	.width = WIDTH,
	.winograd = &KERNELS_WINOGRAD,
	.pack = pack_panels,
	.forward = forward,
	.weight = weight,
	.sums = sums,
	.squares = squares,
	.affine = affine,
	.affine_sums = affine_sums,
	.affine_backward = affine_backward,
	.halve = halve,
	.halve_backward = halve_backward,
};
