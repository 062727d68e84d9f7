/*
 * tower_body.h
 *		The source of the kernels of transformer towers (see tower_kernels.h);
 *		included by each file that compiles it for a kind of processor.
 *
 * TILE_ROWS x TILE_VECTORS registers of c stay in registers over all of k (8 x 48
 * numbers with 32 registers of AVX-512, 6 x 16 with 16 of AVX2).  The columns of b
 * that a tile needs are packed behind each other first, once for all rows, and
 * stay in the second level of cache: weights change with every step, so there is
 * nothing to gain from packing them for longer.
 */
#include <math.h>
#include <string.h>

#ifndef DS_NN_DOUBLE
#include "nn/encoder_vector.h"
#else
/* the same functions for double, by those of the C library */
#include "nn/vector.h"

INLINE vector
load_part(const double *p, size_t n)
{
	vector v = {0};

	memcpy(&v, p, n * sizeof(double));
	return v;
}

INLINE void
store_part(double *p, vector v, size_t n)
{
	memcpy(p, &v, n * sizeof(double));
}

INLINE double
sum_of(vector v)
{
	double sum = 0;

	for (size_t i = 0; i < LANES; i++)
		sum += v[i];
	return sum;
}

#define BY_LANE(name, expression)          \
	INLINE vector name(vector x)           \
	{                                      \
		for (size_t i = 0; i < LANES; i++) \
			x[i] = expression;             \
		return x;                          \
	}
BY_LANE(exponential, exp(x[i]))
BY_LANE(logistic, 1 / (1 + exp(-x[i])))
BY_LANE(error_function, erf(x[i]))
#endif

#define WIDTH (TILE_VECTORS * LANES)
#define GROUP ((size_t) 4) /* panels of WIDTH columns that are packed at once */
/* rows of a transposed a that are packed at once, and what a tile of them takes */
#define BLOCK_ROWS ((size_t) DS_PRODUCT_ROWS)
#define BLOCK_TILES (BLOCK_ROWS / TILE_ROWS)
#define TURNED(depth) ((depth) *TILE_ROWS + LINE)
#define FETCH_ROWS 64 /* with fewer there is no time for it */
#define LINE (64 / sizeof(ds_real))

/* 1 where x > 0, else 0 */
INLINE vector
step_of(vector x)
{
	for (size_t i = 0; i < LANES; i++)
		x[i] = x[i] > 0 ? 1 : 0;
	return x;
}

/*
 * Products
 */

INLINE void
tile(size_t rows, size_t vectors, const ds_real *a, size_t row, size_t step, const ds_real *packed,
	 size_t depth, const ds_real *other, size_t ldo, ds_real *c, size_t ldc)
{
	vector sum[TILE_ROWS][TILE_VECTORS];

#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			sum[r][v] = (vector){0};
	for (size_t k = 0; k < depth; k++)
	{
		vector w[TILE_VECTORS];

#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			w[v] = load(packed + k * WIDTH + v * LANES);
#pragma GCC unroll 16
		for (size_t r = 0; r < rows; r++)
		{
			ds_real x = a[r * row + k * step];

#pragma GCC unroll 16
			for (size_t v = 0; v < vectors; v++)
				sum[r][v] += x * w[v];
		}
	}
	if (other != NULL)
#pragma GCC unroll 16
		for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
			for (size_t v = 0; v < vectors; v++)
				sum[r][v] += load(other + r * ldo + v * LANES);
#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			store(c + r * ldc + v * LANES, sum[r][v]);
}

typedef void (*TileFunction)(const ds_real *a, size_t row, size_t step, const ds_real *packed,
							 size_t depth, const ds_real *other, size_t ldo, ds_real *c,
							 size_t ldc);

#define TILE(rows, vectors)                                                                        \
	static void tile_##rows##_##vectors(const ds_real *a, size_t row, size_t step,                 \
										const ds_real *packed, size_t depth, const ds_real *other, \
										size_t ldo, ds_real *c, size_t ldc)                        \
	{                                                                                              \
		tile(rows, vectors, a, row, step, packed, depth, other, ldo, c, ldc);                      \
	}
#include "nn/tile_shapes.h"

static const TileFunction tiles[TILE_VECTORS][TILE_ROWS] = TABLE(tile);

/* Columns first to first + columns - 1 of b, depth rows of it from k on: packed[depth, WIDTH] */
static void
pack(const DsMatrixProduct *p, size_t k, size_t depth, size_t first, size_t columns,
	 ds_real *packed)
{
	const ds_real *b = p->b + k * p->b_row + first * p->b_column;

	if (columns % LANES != 0)
		memset(packed, 0, depth * WIDTH * sizeof(ds_real));
	if (p->b_column == 1)
	{
		if (columns == WIDTH)
			for (size_t i = 0; i < depth; i++)
				memcpy(packed + i * WIDTH, b + i * p->b_row, WIDTH * sizeof(ds_real));
		else
			for (size_t i = 0; i < depth; i++)
				memcpy(packed + i * WIDTH, b + i * p->b_row, columns * sizeof(ds_real));
		return;
	}
#if VECTOR_BYTES == 64 && !defined(DS_NN_DOUBLE)
	if (p->b_row == 1 && columns % LANES == 0)
	{
		size_t i = 0;

		for (; i + LANES <= depth; i += LANES)
			for (size_t j = 0; j < columns; j += LANES)
			{
				__m512i r[16];
				const ds_real *from = b + j * p->b_column + i;
				ds_real *to = packed + i * WIDTH + j;

#pragma GCC unroll 16
				for (size_t q = 0; q < 16; q++)
					r[q] = _mm512_loadu_si512(from + q * p->b_column);
				turn(r);
#pragma GCC unroll 16
				for (size_t q = 0; q < 16; q++)
					_mm512_storeu_si512(to + q * WIDTH, r[q]);
			}
		for (; i < depth; i++)
			for (size_t j = 0; j < columns; j++)
				packed[i * WIDTH + j] = b[j * p->b_column + i];
		return;
	}
#endif
	/* in pieces that stay in the first level of cache */
	for (size_t i = 0; i < depth; i += 16)
	{
		size_t n = depth - i < 16 ? depth - i : 16;

		for (size_t j = 0; j < columns; j++)
		{
			const ds_real *from = b + j * p->b_column + i * p->b_row;
			ds_real *to = packed + i * WIDTH + j;

			if (n == 16 && p->b_row == 1)
#pragma GCC unroll 16
				for (size_t q = 0; q < 16; q++)
					to[q * WIDTH] = from[q];
			else
				for (size_t q = 0; q < n; q++)
					to[q * WIDTH] = from[q * p->b_row];
		}
	}
}

/*
 * The columns of b that come next are fetched while these are in use, some of their
 * rows with each tile: packing would wait for every line.
 */
static void
fetch_ahead(const DsMatrixProduct *p, size_t k, size_t first, size_t from, size_t to)
{
	size_t columns = p->n - first < GROUP * WIDTH ? p->n - first : GROUP * WIDTH;
	const ds_real *b = p->b + k * p->b_row + first * p->b_column;

	if (p->b_column == 1)
	{
		for (size_t i = from; i < to; i++)
			for (size_t j = 0; j < columns; j += LINE)
				__builtin_prefetch(b + i * p->b_row + j, 0, 2);
		return;
	}
	for (size_t i = (from + LINE - 1) / LINE * LINE; i < to; i += LINE)
		for (size_t j = 0; j < columns; j++)
			__builtin_prefetch(b + j * p->b_column + i * p->b_row, 0, 2);
}

/*
 * Some tiles' rows of a transposed a, tile by tile: packed[tiles][TURNED(depth)], of
 * which each begins with [depth, TILE_ROWS].
 */
static void
pack_rows(const DsMatrixProduct *p, const ds_real *a, size_t rows, size_t depth, ds_real *packed)
{
	size_t whole = rows / TILE_ROWS * TILE_ROWS;

	for (size_t k = 0; k < depth; k++)
	{
		const ds_real *from = a + k * p->a_column;
		ds_real *to = packed + k * TILE_ROWS;
		size_t r = 0;

		for (; r < whole; r += TILE_ROWS, to += TURNED(depth))
			memcpy(to, from + r, TILE_ROWS * sizeof(ds_real));
		for (size_t i = 0; r + i < rows; i++)
			to[i] = from[r + i];
	}
}

/* With each tile, a part of the next block of rows of a transposed a */
static void
fetch_rows(const DsMatrixProduct *p, size_t k, size_t row, size_t depth)
{
	size_t tile = row / TILE_ROWS % BLOCK_TILES;
	size_t next = row - tile * TILE_ROWS + BLOCK_ROWS;
	size_t end = p->m - next < BLOCK_ROWS ? p->m : next + BLOCK_ROWS;

	if (next >= p->m)
		return;
	for (size_t i = tile * depth / BLOCK_TILES; i < (tile + 1) * depth / BLOCK_TILES; i++)
		for (size_t r = next; r < end; r += LINE)
			__builtin_prefetch(p->a + r + (k + i) * p->a_column, 0, 2);
}

/* What the sums of a tile become in c */
INLINE void
finish_tile(const ds_real *sums, ds_real *c, size_t ldc, size_t rows, size_t columns,
			const ds_real *bias, bool add)
{
	for (size_t r = 0; r < rows; r++)
	{
		const ds_real *from = sums + r * WIDTH;
		ds_real *to = c + r * ldc;

		if (add)
			for (size_t j = 0; j < columns; j++)
				to[j] += from[j];
		else if (bias != NULL)
			for (size_t j = 0; j < columns; j++)
				to[j] = from[j] + bias[j];
		else
			memcpy(to, from, columns * sizeof(ds_real));
	}
}

/* One tile of c, from "column" on */
static void
product_tile(const DsMatrixProduct *p, const ds_real *a, size_t row, size_t step,
			 const ds_real *packed, size_t depth, size_t rows, size_t column, ds_real *c,
			 size_t ldc, bool add)
{
	size_t columns = p->n - column < WIDTH ? p->n - column : WIDTH;
	const TileFunction *heights = tiles[(columns + LANES - 1) / LANES - 1];
	const ds_real *bias = p->bias != NULL && !add ? p->bias + column : NULL;
	ds_real sums[TILE_ROWS * WIDTH];

	for (size_t r = 0; add && r < rows; r++)
		for (size_t j = 0; j < columns; j += LINE)
			__builtin_prefetch(c + r * ldc + j, 1, 3);
	if (columns % LANES == 0)
	{
		/* what is added last, the bias or what was there */
		heights[rows - 1](a, row, step, packed, depth, add ? c : bias, add ? ldc : 0, c, ldc);
		return;
	}
	heights[rows - 1](a, row, step, packed, depth, NULL, 0, sums, WIDTH);
	finish_tile(sums, c, ldc, rows, columns, bias, add);
}

/* A group of columns of c, by depth values of k; c is where the first of them is */
static void
product_group(const DsMatrixProduct *p, size_t k, size_t depth, size_t first, ds_real *c,
			  size_t ldc, bool add)
{
	size_t end = p->n - first < GROUP * WIDTH ? p->n : first + GROUP * WIDTH;
	/* what a tile reads of a transposed a lies far apart, and would be read for each panel */
	bool turns = p->a_row == 1 && p->a_column != 1 && p->n > WIDTH;
	ds_real *turned = p->scratch + DS_PRODUCT_DEPTH * GROUP * WIDTH;

	for (size_t column = first; column < end; column += WIDTH)
		pack(p, k, depth, column, end - column < WIDTH ? end - column : WIDTH,
			 p->scratch + (column - first) * depth);
	for (size_t row = 0; row < p->m; row += TILE_ROWS, c += TILE_ROWS * ldc)
	{
		size_t after = row + TILE_ROWS < p->m ? row + TILE_ROWS : p->m;
		size_t rows = after - row;
		const ds_real *a = p->a + row * p->a_row + k * p->a_column;
		size_t tile = row / TILE_ROWS % BLOCK_TILES;

		if (turns && tile == 0)
			pack_rows(p, a, p->m - row < BLOCK_ROWS ? p->m - row : BLOCK_ROWS, depth, turned);
		if (turns)
			fetch_rows(p, k, row, depth);
		if (end < p->n && p->m >= FETCH_ROWS)
			fetch_ahead(p, k, end, row * depth / p->m, after * depth / p->m);
		for (size_t column = first; column < end; column += WIDTH)
			product_tile(p, turns ? turned + tile * TURNED(depth) : a, turns ? 1 : p->a_row,
						 turns ? TILE_ROWS : p->a_column, p->scratch + (column - first) * depth,
						 depth, rows, column, c + (column - first), ldc, add);
	}
}

static size_t
depth_at(const DsMatrixProduct *p, size_t k)
{
	return p->k - k < DS_PRODUCT_DEPTH ? p->k - k : DS_PRODUCT_DEPTH;
}

static void
product(const DsMatrixProduct *p)
{
	for (size_t row = 0; p->k == 0 && !p->add && row < p->m; row++)
		for (size_t j = 0; j < p->n; j++)
			p->c[row * p->ldc + j] = p->bias != NULL ? p->bias[j] : 0;
	if (p->panel == NULL || !p->add || p->k <= DS_PRODUCT_DEPTH)
	{
		for (size_t k = 0; k < p->k; k += DS_PRODUCT_DEPTH)
			for (size_t column = 0; column < p->n; column += GROUP * WIDTH)
				product_group(p, k, depth_at(p, k), column, p->c + column, p->ldc, p->add || k > 0);
		return;
	}
	for (size_t column = 0; column < p->n; column += GROUP * WIDTH)
	{
		size_t columns = p->n - column < GROUP * WIDTH ? p->n - column : GROUP * WIDTH;

		for (size_t k = 0; k < p->k; k += DS_PRODUCT_DEPTH)
			product_group(p, k, depth_at(p, k), column, p->panel, GROUP * WIDTH, k > 0);
		for (size_t row = 0; row < p->m; row++)
			for (size_t j = 0; j < columns; j++)
				p->c[row * p->ldc + column + j] += p->panel[row * GROUP * WIDTH + j];
	}
}

/*
 * Norms
 */

static void
norm(const ds_real *x, size_t n, const ds_real *weight, const ds_real *bias, ds_real epsilon,
	 ds_real *out, ds_real *mean, ds_real *inverse)
{
	vector sum = {0};
	ds_real total = 0;
	ds_real square = 0;
	size_t whole = n / LANES * LANES;

	for (size_t i = 0; i < whole; i += LANES)
		sum += load(x + i);
	total = sum_of(sum);
	for (size_t i = whole; i < n; i++)
		total += x[i];
	total /= (ds_real) n;
	sum = (vector){0};
	for (size_t i = 0; i < whole; i += LANES)
	{
		vector d = load(x + i) - total;

		sum += d * d;
	}
	square = sum_of(sum);
	for (size_t i = whole; i < n; i++)
		square += (x[i] - total) * (x[i] - total);
	*mean = total;
	*inverse = (ds_real) (1 / sqrt((double) (square / (ds_real) n + epsilon)));
	for (size_t i = 0; i < whole; i += LANES)
	{
		vector v = (load(x + i) - total) * *inverse * load(weight + i);

		store(out + i, bias != NULL ? v + load(bias + i) : v);
	}
	for (size_t i = whole; i < n; i++)
		out[i] = (x[i] - total) * *inverse * weight[i] + (bias != NULL ? bias[i] : 0);
}

/*
 * With h = (x - mean) * inverse and g = dy * weight:
 * dx = inverse * (g - mean of g - h * mean of g h)
 */
static void
norm_backward(const ds_real *x, size_t n, const ds_real *weight, ds_real mean, ds_real inverse,
			  const ds_real *dy, ds_real *dx, ds_real *d_weight, ds_real *d_bias)
{
	vector sums = {0};
	vector products = {0};
	ds_real sum;
	ds_real product_sum;
	size_t whole = n / LANES * LANES;

	for (size_t i = 0; i < whole; i += LANES)
	{
		vector d = load(dy + i);
		vector h = (load(x + i) - mean) * inverse;
		vector g = d * load(weight + i);

		sums += g;
		products += g * h;
		if (d_weight != NULL)
			store(d_weight + i, load(d_weight + i) + d * h);
		if (d_bias != NULL)
			store(d_bias + i, load(d_bias + i) + d);
	}
	sum = sum_of(sums);
	product_sum = sum_of(products);
	for (size_t i = whole; i < n; i++)
	{
		ds_real h = (x[i] - mean) * inverse;

		sum += dy[i] * weight[i];
		product_sum += dy[i] * weight[i] * h;
		if (d_weight != NULL)
			d_weight[i] += dy[i] * h;
		if (d_bias != NULL)
			d_bias[i] += dy[i];
	}
	sum /= (ds_real) n;
	product_sum /= (ds_real) n;
	for (size_t i = 0; i < whole; i += LANES)
	{
		vector h = (load(x + i) - mean) * inverse;

		store(dx + i, (load(dy + i) * load(weight + i) - sum - h * product_sum) * inverse);
	}
	for (size_t i = whole; i < n; i++)
		dx[i] = (dy[i] * weight[i] - sum - (x[i] - mean) * inverse * product_sum) * inverse;
}

/*
 * Activations
 */

#define ROOT_HALF ((ds_real) 0.70710678118654752)
#define ROOT_TWO_PI ((ds_real) 0.39894228040143268) /* 1 / sqrt(2 pi) */
#define TANH_ONE ((ds_real) 1.5957691216057308) /* 2 sqrt(2 / pi) */
#define TANH_THREE ((ds_real) 0.071354816272600248) /* that times 0.044715 */

/* act(x) and its derivative */
INLINE void
act_of(vector x, uint32_t activation, vector *value, vector *slope)
{
	vector s;

	switch (activation)
	{
		case DS_ACT_GELU:
			s = (ds_real) 0.5 * (error_function(x * ROOT_HALF) + (ds_real) 1);
			*value = x * s;
			*slope = s + x * ROOT_TWO_PI * exponential(x * x * (ds_real) -0.5);
			return;
		case DS_ACT_GELU_TANH:
			s = logistic(x * (TANH_ONE + TANH_THREE * x * x));
			*value = x * s;
			*slope = s + x * s * ((ds_real) 1 - s) * (TANH_ONE + (ds_real) 3 * TANH_THREE * x * x);
			return;
		case DS_ACT_QUICK_GELU:
			s = logistic((ds_real) 1.702 * x);
			*value = x * s;
			*slope = s + (ds_real) 1.702 * x * s * ((ds_real) 1 - s);
			return;
		case DS_ACT_SILU:
			s = logistic(x);
			*value = x * s;
			*slope = s + x * s * ((ds_real) 1 - s);
			return;
		case DS_ACT_RELU:
			s = step_of(x);
			*value = x * s;
			*slope = s;
			return;
		case DS_ACT_TANH:
			s = (ds_real) 2 * logistic((ds_real) 2 * x) - (ds_real) 1;
			*value = s;
			*slope = (ds_real) 1 - s * s;
			return;
		case DS_ACT_SIGMOID:
			s = logistic(x);
			*value = s;
			*slope = s * ((ds_real) 1 - s);
			return;
		default:
			*value = x;
			*slope = x * 0 + (ds_real) 1;
			return;
	}
}

static void
act(const ds_real *x, size_t n, uint32_t activation, ds_real *out)
{
	for (size_t i = 0; i < n; i += LANES)
	{
		size_t m = n - i < LANES ? n - i : LANES;
		vector value;
		vector slope;

		act_of(m == LANES ? load(x + i) : load_part(x + i, m), activation, &value, &slope);
		if (m == LANES)
			store(out + i, value);
		else
			store_part(out + i, value, m);
	}
}

static void
act_backward(const ds_real *x, size_t n, uint32_t activation, ds_real *d, ds_real *out)
{
	for (size_t i = 0; i < n; i += LANES)
	{
		size_t m = n - i < LANES ? n - i : LANES;
		vector value;
		vector slope;

		act_of(m == LANES ? load(x + i) : load_part(x + i, m), activation, &value, &slope);
		if (m == LANES)
		{
			store(out + i, value);
			store(d + i, load(d + i) * slope);
		}
		else
		{
			store_part(out + i, value, m);
			store_part(d + i, load_part(d + i, m) * slope, m);
		}
	}
}

/*
 * Softmax
 */

static void
softmax(ds_real *x, size_t n, ds_real scale)
{
	ds_real tops[LANES];
	ds_real top = x[0];
	vector sums = {0};
	ds_real sum = 0;
	size_t whole = n / LANES * LANES;

	for (size_t k = 0; k < LANES; k++)
		tops[k] = top;
	for (size_t i = 0; i < whole; i += LANES)
		for (size_t k = 0; k < LANES; k++)
			tops[k] = x[i + k] > tops[k] ? x[i + k] : tops[k];
	for (size_t k = 0; k < LANES; k++)
		top = tops[k] > top ? tops[k] : top;
	for (size_t i = whole; i < n; i++)
		top = x[i] > top ? x[i] : top;
	for (size_t i = 0; i < whole; i += LANES)
	{
		vector e = exponential((load(x + i) - top) * scale);

		store(x + i, e);
		sums += e;
	}
	sum = sum_of(sums);
	if (whole < n)
	{
		vector e = exponential((load_part(x + whole, n - whole) - top) * scale);

		store_part(x + whole, e, n - whole);
		for (size_t i = 0; i < n - whole; i++)
			sum += e[i];
	}
	sum = 1 / sum;
	for (size_t i = 0; i < n; i++)
		x[i] *= sum;
}

static void
softmax_backward(const ds_real *p, size_t n, ds_real scale, ds_real *d)
{
	vector sums = {0};
	ds_real sum;
	size_t whole = n / LANES * LANES;

	for (size_t i = 0; i < whole; i += LANES)
		sums += load(p + i) * load(d + i);
	sum = sum_of(sums);
	for (size_t i = whole; i < n; i++)
		sum += p[i] * d[i];
	for (size_t i = 0; i < n; i++)
		d[i] = scale * p[i] * (d[i] - sum);
}

const DsTowerKernels KERNELS_NAME = {
	.product = product,
	.norm = norm,
	.norm_backward = norm_backward,
	.act = act,
	.act_backward = act_backward,
	.softmax = softmax,
	.softmax_backward = softmax_backward,
};
