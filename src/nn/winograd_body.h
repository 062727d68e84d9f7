/*
 * winograd_body.h
 *		The source of Winograd's convolutions (see winograd.h); included by each file
 *		that compiles it for a kind of processor.
 *
 * The idea: four outputs of a filter of three are the coefficients of a product of polynomials,
 * which six products of values at six points determine (Toom and Cook's way to multiply).  In two
 * dimensions, with d a tile of 6 x 6 of what comes in and g the weight,
 *
 *     y = A' [ (G g G') * (B' d B) ] A
 *
 * where * multiplies number by number.  Over channels that is 36 matrix products, one for each
 * pair of points:
 *
 *  1. V[point, tile, in] = B' d B of each tile of a group;
 *  2. for 16 to 48 outputs, DEPTH inputs at a time: U[point, in, out] = G g G' from the weight as
 *     other kernels have it, then M[point, tile, out] += V U;
 *  3. y = A' M A, with bias, residual and ReLU.
 *
 * The way back is that of each step: with D = A dy A' the gradient by U is V' D, summed up over
 * all tiles, and G' dU G that by the weight.  That by what comes in is a convolution of dy.
 *
 * V, U and M stay in the second level of cache.  U is made again for each group: that takes 90
 * operations for the 36 * tiles multiplications that it serves, and nine numbers of a weight are
 * read from memory where 36 would be.
 *
 * Points are 0, a, -a, b, -b and infinity with a = sqrt(1/2), b = sqrt(2).  Those usually taken, 1
 * and 2, have a third to a half more error.  For roots r among 0, a, -a, b, -b, the row of B' is
 * the polynomial with all roots but r, that of G is (1, r, r^2) / product of r's distances from the
 * others, that of A is (1, r, r^2, r^3).
 *
 * Limits.  A tile's numbers are summed up in an order that does not depend on what is computed
 * beside it.
 */
#include <string.h>

#include "nn/vector.h"

#define UNROLLED _Pragma("GCC unroll 16")

#define ROOT_A ((ds_real) 0.70710678118654752440)
#define ROOT_B ((ds_real) 1.41421356237309504880)

/* ---- the three transforms along one side ---- */

/* B' */
INLINE void
input_points(const vector d[6], vector t[6])
{
	vector even = d[4] - d[2] * (ds_real) 2;
	vector odd = d[3] * ROOT_A - d[1] * ROOT_B;

	t[0] = (d[0] + d[4]) - d[2] * (ds_real) 2.5;
	t[1] = even + odd;
	t[2] = even - odd;
	even = d[4] - d[2] * (ds_real) 0.5;
	odd = d[3] * ROOT_B - d[1] * ROOT_A;
	t[3] = even + odd;
	t[4] = even - odd;
	t[5] = (d[1] + d[5]) - d[3] * (ds_real) 2.5;
}

/* G */
INLINE void
weight_points(const vector g[3], vector t[6])
{
	vector even = g[0] * (ds_real) (-2.0 / 3) - g[2] * (ds_real) (1.0 / 3);
	vector odd = g[1] * ((ds_real) (2.0 / 3) * ROOT_A);

	t[0] = g[0];
	t[1] = even - odd;
	t[2] = even + odd;
	even = g[0] * (ds_real) (1.0 / 6) + g[2] * (ds_real) (1.0 / 3);
	odd = g[1] * ((ds_real) (1.0 / 6) * ROOT_B);
	t[3] = even + odd;
	t[4] = even - odd;
	t[5] = g[2];
}

/* A' */
INLINE void
output_points(const vector m[6], vector y[4])
{
	vector a = m[1] + m[2];
	vector b = m[3] + m[4];

	y[0] = (m[0] + a) + b;
	y[2] = a * (ds_real) 0.5 + b * (ds_real) 2;
	a = m[1] - m[2];
	b = m[3] - m[4];
	y[1] = a * ROOT_A + b * ROOT_B;
	y[3] = (m[5] + a * (ROOT_A * (ds_real) 0.5)) + b * (ROOT_B * (ds_real) 2);
}

/* A, the way back of A' */
INLINE void
output_points_backward(const vector y[4], vector m[6])
{
	vector even = y[0] + y[2] * (ds_real) 0.5;
	vector odd = y[1] * ROOT_A + y[3] * (ROOT_A * (ds_real) 0.5);

	m[0] = y[0];
	m[1] = even + odd;
	m[2] = even - odd;
	even = y[0] + y[2] * (ds_real) 2;
	odd = y[1] * ROOT_B + y[3] * (ROOT_B * (ds_real) 2);
	m[3] = even + odd;
	m[4] = even - odd;
	m[5] = y[3];
}

/* G', the way back of G */
INLINE void
weight_points_backward(const vector u[6], vector g[3])
{
	vector a = u[1] + u[2];
	vector b = u[3] + u[4];

	g[0] = (u[0] - a * (ds_real) (2.0 / 3)) + b * (ds_real) (1.0 / 6);
	g[2] = (u[5] - a * (ds_real) (1.0 / 3)) + b * (ds_real) (1.0 / 3);
	g[1] = (u[2] - u[1]) * ((ds_real) (2.0 / 3) * ROOT_A) +
		   (u[3] - u[4]) * ((ds_real) (1.0 / 6) * ROOT_B);
}

/* ---- tiles ---- */

typedef struct Tile
{
	size_t picture;
	size_t row; /* of its first output */
	size_t column;
} Tile;

INLINE Tile
tile_number(const DsWinograd *w, size_t number)
{
	size_t wide = (w->width + 3) / 4;
	size_t each = ds_winograd_tiles(w->height, w->width);

	return (Tile){.picture = number / each,
				  .row = number % each / wide * 4,
				  .column = number % each % wide * 4};
}

/* B' d B of one vector of channels, to places apart numbers from one to the next */
INLINE void
input_tile(const ds_real *x, size_t row, size_t column, ds_real *v, size_t apart)
{
	vector half[6][6];

	UNROLLED
	for (size_t c = 0; c < 6; c++)
	{
		vector d[6];
		vector t[6];

		UNROLLED
		for (size_t r = 0; r < 6; r++)
			d[r] = load(x + r * row + c * column);
		input_points(d, t);
		UNROLLED
		for (size_t r = 0; r < 6; r++)
			half[r][c] = t[r];
	}
	UNROLLED
	for (size_t r = 0; r < 6; r++)
	{
		vector t[6];

		input_points(half[r], t);
		UNROLLED
		for (size_t c = 0; c < 6; c++)
			store(v + (r * 6 + c) * apart, t[c]);
	}
}

/* The part of a tile that lies in a picture; [from, to) of size positions from first on */
typedef struct Part
{
	size_t from;
	size_t to;
} Part;

INLINE Part
part_of(size_t position, size_t pad, size_t there, size_t size)
{
	size_t before = position < pad ? pad - position : 0;
	size_t end = there + pad > position ? there + pad - position : 0;

	return (Part){before < size ? before : size, end < size ? end : size};
}

/*
 * size x size positions of a vector of channels, those outside of the picture zero, to a square
 * of their own
 */
INLINE void
clipped(const ds_real *x, size_t row, size_t column, Part rows, Part columns, size_t size,
		ds_real *to)
{
	memset(to, 0, size * size * LANES * sizeof(ds_real));
	for (size_t r = rows.from; r < rows.to; r++)
		for (size_t c = columns.from; c < columns.to; c++)
			store(to + (r * size + c) * LANES,
				  load(x + (r - rows.from) * row + (c - columns.from) * column));
}

/* V of one tile */
static void
transform_input(const DsWinograd *w, size_t number, ds_real *v, size_t apart)
{
	Tile tile = tile_number(w, number);
	Part rows = part_of(tile.row, w->pad, w->in_height, 6);
	Part columns = part_of(tile.column, w->pad, w->in_width, 6);
	bool whole = rows.to - rows.from == 6 && columns.to - columns.from == 6;
	/* the first position that is in the picture */
	const ds_real *x = w->x.at + tile.picture * w->x.picture +
					   (tile.row + rows.from - w->pad) * w->x.row +
					   (tile.column + columns.from - w->pad) * w->x.column;

	/* the last registers overlap where channels are no multiple of them */
	for (size_t c = 0; c < w->ins; c += LANES)
	{
		size_t at = c + LANES > w->ins ? w->ins - LANES : c;
		ds_real square[36 * LANES];

		if (whole)
			input_tile(x + at, w->x.row, w->x.column, v + at, apart);
		else
		{
			clipped(x + at, w->x.row, w->x.column, rows, columns, 6, square);
			input_tile(square, 6 * LANES, LANES, v + at, apart);
		}
	}
}

/* U[36, depth, n] of inputs from k on and outputs from first on */
static void
transform_weights(const DsWinograd *w, size_t k, size_t depth, size_t first, size_t n, ds_real *u,
				  size_t apart)
{
	size_t tap = w->ins * w->panel_width;

	for (size_t j = 0; j < n; j += LANES)
	{
		const ds_real *from = w->panels + (first + j) / w->panel_width * 9 * tap +
							  (first + j) % w->panel_width + k * w->panel_width;
		ds_real *to = u + j;

		for (size_t i = 0; i < depth; i++, from += w->panel_width, to += n)
		{
			vector half[6][3];

			UNROLLED
			for (size_t c = 0; c < 3; c++)
			{
				vector g[3];
				vector t[6];

				UNROLLED
				for (size_t r = 0; r < 3; r++)
					g[r] = load(from + (r * 3 + c) * tap);
				weight_points(g, t);
				UNROLLED
				for (size_t r = 0; r < 6; r++)
					half[r][c] = t[r];
			}
			UNROLLED
			for (size_t r = 0; r < 6; r++)
			{
				vector t[6];

				weight_points(half[r], t);
				UNROLLED
				for (size_t c = 0; c < 6; c++)
					store(to + (r * 6 + c) * apart, t[c]);
			}
		}
	}
}

/* A' M A */
INLINE void
output_tile(const ds_real *m, size_t apart, vector y[4][4])
{
	vector half[4][6];

	UNROLLED
	for (size_t c = 0; c < 6; c++)
	{
		vector d[6];
		vector t[4];

		UNROLLED
		for (size_t r = 0; r < 6; r++)
			d[r] = load(m + (r * 6 + c) * apart);
		output_points(d, t);
		UNROLLED
		for (size_t r = 0; r < 4; r++)
			half[r][c] = t[r];
	}
	UNROLLED
	for (size_t r = 0; r < 4; r++)
		output_points(half[r], y[r]);
}

INLINE vector
finish(const DsWinograd *w, vector y, vector bias, const ds_real *residual)
{
	y += bias;
	if (residual != NULL)
		y += load(residual);
	/* a NaN passes, so that it is noticed */
	return w->relu ? (vector) ((__typeof__(y < y)) y & ~(y < (ds_real) 0)) : y;
}

/* y of one tile, n outputs from first on */
static void
transform_output(const DsWinograd *w, size_t number, const ds_real *m, size_t apart, size_t first,
				 size_t n)
{
	Tile tile = tile_number(w, number);
	size_t rows = w->height - tile.row < 4 ? w->height - tile.row : 4;
	size_t columns = w->width - tile.column < 4 ? w->width - tile.column : 4;
	ds_real *to = (ds_real *) w->y.at + tile.picture * w->y.picture + tile.row * w->y.row +
				  tile.column * w->y.column + first;
	const ds_real *residual = w->residual.at;

	if (residual != NULL)
		residual += tile.picture * w->residual.picture + tile.row * w->residual.row +
					tile.column * w->residual.column + first;
	for (size_t j = 0; j < n; j += LANES)
	{
		/* the last registers overlap, or are cut where there are no others in this block */
		size_t at = j + LANES > n && n >= LANES ? n - LANES : j;
		size_t lanes = n - at < LANES ? n - at : LANES;
		vector bias = {0};
		vector y[4][4];

		if (w->bias != NULL)
			memcpy(&bias, w->bias + first + at, lanes * sizeof(ds_real));
		output_tile(m + at, apart, y);
		if (rows == 4 && columns == 4 && lanes == LANES)
		{
			UNROLLED
			for (size_t r = 0; r < 4; r++)
				UNROLLED
			for (size_t c = 0; c < 4; c++)
				store(to + r * w->y.row + c * w->y.column + at,
					  finish(w, y[r][c], bias,
							 residual == NULL
								 ? NULL
								 : residual + r * w->residual.row + c * w->residual.column + at));
			continue;
		}
		for (size_t r = 0; r < rows; r++)
			for (size_t c = 0; c < columns; c++)
			{
				ds_real other[LANES] = {0};
				vector v;

				if (residual != NULL)
					memcpy(other, residual + r * w->residual.row + c * w->residual.column + at,
						   lanes * sizeof(ds_real));
				v = finish(w, y[r][c], bias, residual == NULL ? NULL : other);
				memcpy(to + r * w->y.row + c * w->y.column + at, &v, lanes * sizeof(ds_real));
			}
	}
}

/* A d A' of one vector of channels */
INLINE void
output_tile_backward(const ds_real *d, size_t row, size_t column, ds_real *m, size_t apart)
{
	vector half[6][4];

	UNROLLED
	for (size_t c = 0; c < 4; c++)
	{
		vector y[4];
		vector t[6];

		UNROLLED
		for (size_t r = 0; r < 4; r++)
			y[r] = load(d + r * row + c * column);
		output_points_backward(y, t);
		UNROLLED
		for (size_t r = 0; r < 6; r++)
			half[r][c] = t[r];
	}
	UNROLLED
	for (size_t r = 0; r < 6; r++)
	{
		vector t[6];

		output_points_backward(half[r], t);
		UNROLLED
		for (size_t c = 0; c < 6; c++)
			store(m + (r * 6 + c) * apart, t[c]);
	}
}

/* The gradient by M of one tile, from that by y; rows of padded numbers, the last ones zero */
static void
transform_output_backward(const DsWinograd *w, size_t number, ds_real *m, size_t apart,
						  size_t padded)
{
	Tile tile = tile_number(w, number);
	Part rows = part_of(tile.row, 0, w->height, 4);
	Part columns = part_of(tile.column, 0, w->width, 4);
	bool whole = rows.to == 4 && columns.to == 4;
	const ds_real *d =
		w->y.at + tile.picture * w->y.picture + tile.row * w->y.row + tile.column * w->y.column;

	for (size_t point = 0; padded > w->outs && point < 36; point++)
		memset(m + point * apart + w->outs, 0, (padded - w->outs) * sizeof(ds_real));
	for (size_t c = 0; c < w->outs; c += LANES)
	{
		size_t at = c + LANES > w->outs ? w->outs - LANES : c;
		ds_real square[16 * LANES];

		if (whole)
			output_tile_backward(d + at, w->y.row, w->y.column, m + at, apart);
		else
		{
			clipped(d + at, w->y.row, w->y.column, rows, columns, 4, square);
			output_tile_backward(square, 4 * LANES, LANES, m + at, apart);
		}
	}
}

/* ---- products ---- */

/*
 * Weights that will be needed next, asked for while a tile is computed: one line of each panel
 * for every four inputs.  More at a time would be waited for.
 */
typedef struct Ahead
{
	const char *at;
	size_t step; /* bytes every four inputs */
	size_t panels;
	size_t panel; /* bytes from one to the next */
} Ahead;

/* c[rows, vectors] (+)= a[rows, depth] b[depth, ldb] */
INLINE void
points_tile(size_t rows, size_t vectors, size_t depth, const ds_real *a, size_t lda,
			const ds_real *b, size_t ldb, ds_real *c, bool add, Ahead ahead)
{
	vector sum[TILE_ROWS][TILE_VECTORS];

	UNROLLED
	for (size_t r = 0; r < rows; r++)
		UNROLLED
	for (size_t v = 0; v < vectors; v++)
		sum[r][v] = add ? load(c + r * ldb + v * LANES) : (vector){0};
	for (size_t k = 0; k < depth; k++, b += ldb)
	{
		vector w[TILE_VECTORS];

		if (k % 4 == 0)
		{
			for (size_t i = 0; i < ahead.panels; i++)
				__builtin_prefetch(ahead.at + i * ahead.panel, 0, 2);
			ahead.at += ahead.step;
		}
		UNROLLED
		for (size_t v = 0; v < vectors; v++)
			w[v] = load(b + v * LANES);
		UNROLLED
		for (size_t r = 0; r < rows; r++)
		{
			ds_real value = a[r * lda + k];

			UNROLLED
			for (size_t v = 0; v < vectors; v++)
				sum[r][v] += value * w[v];
		}
	}
	UNROLLED
	for (size_t r = 0; r < rows; r++)
		UNROLLED
	for (size_t v = 0; v < vectors; v++)
		store(c + r * ldb + v * LANES, sum[r][v]);
}

/* c[rows, vectors] += a[tiles, rows]' b[tiles, ldb]; lines of b and c are ldb apart */
INLINE void
gradient_tile(size_t rows, size_t vectors, size_t tiles, const ds_real *a, size_t lda,
			  const ds_real *b, size_t ldb, ds_real *c)
{
	vector sum[TILE_ROWS][TILE_VECTORS];
	/* sums come from memory, so those that are next are asked for meanwhile */
	const ds_real *next = c + rows * ldb;

	UNROLLED
	for (size_t r = 0; r < rows; r++)
		UNROLLED
	for (size_t v = 0; v < vectors; v++)
		sum[r][v] = load(c + r * ldb + v * LANES);
	for (size_t t = 0; t < tiles; t++, a += lda, b += ldb)
	{
		vector w[TILE_VECTORS];

		UNROLLED
		for (size_t v = 0; v < vectors; v++)
			w[v] = load(b + v * LANES);
		if (t < rows)
		{
			UNROLLED
			for (size_t v = 0; v < vectors; v++)
				__builtin_prefetch(next + t * ldb + v * LANES, 1, 3);
		}
		UNROLLED
		for (size_t r = 0; r < rows; r++)
		{
			ds_real value = a[r];

			UNROLLED
			for (size_t v = 0; v < vectors; v++)
				sum[r][v] += value * w[v];
		}
	}
	UNROLLED
	for (size_t r = 0; r < rows; r++)
		UNROLLED
	for (size_t v = 0; v < vectors; v++)
		store(c + r * ldb + v * LANES, sum[r][v]);
}

typedef void (*GradientTile)(size_t tiles, const ds_real *a, size_t lda, const ds_real *b,
							 size_t ldb, ds_real *c);
typedef void (*PointsTile)(size_t depth, const ds_real *a, size_t lda, const ds_real *b, size_t ldb,
						   ds_real *c, bool add, Ahead ahead);

#define TILE(rows, vectors)                                                                   \
	static void points_##rows##_##vectors(size_t depth, const ds_real *a, size_t lda,         \
										  const ds_real *b, size_t ldb, ds_real *c, bool add, \
										  Ahead ahead)                                        \
	{                                                                                         \
		points_tile(rows, vectors, depth, a, lda, b, ldb, c, add, ahead);                     \
	}                                                                                         \
	static void gradient_##rows##_##vectors(size_t tiles, const ds_real *a, size_t lda,       \
											const ds_real *b, size_t ldb, ds_real *c)         \
	{                                                                                         \
		gradient_tile(rows, vectors, tiles, a, lda, b, ldb, c);                               \
	}
#include "nn/tile_shapes.h"

static const PointsTile points_tiles[TILE_VECTORS][TILE_ROWS] = TABLE(points);
static const GradientTile gradient_tiles[TILE_VECTORS][TILE_ROWS] = TABLE(gradient);

/* c[rows, n] (+)= a[rows, depth] b[depth, n]; n a multiple of LANES, lines of b and c n apart */
static void
points_product(size_t rows, size_t depth, size_t n, const ds_real *a, size_t lda, const ds_real *b,
			   ds_real *c, bool add, Ahead ahead)
{
	size_t high_tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;

	/* in equal parts by all tiles of the first registers */
	ahead.step = (ahead.step + high_tiles - 1) / high_tiles;
	for (size_t j = 0; j < n; ahead.panels = 0)
	{
		size_t left = (n - j) / LANES;
		size_t vectors = left < TILE_VECTORS ? left : TILE_VECTORS;

		for (size_t r = 0; r < rows;)
		{
			/* of equal height, as far as that goes */
			size_t count = (rows - r + TILE_ROWS - 1) / TILE_ROWS;
			size_t high = (rows - r + count - 1) / count;

			points_tiles[vectors - 1][high - 1](depth, a + r * lda, lda, b + j, n, c + r * n + j,
												add, ahead);
			ahead.at += ahead.step * ((depth + 3) / 4);
			r += high;
		}
		j += vectors * LANES;
	}
}

/*
 * Of the weights of n outputs from out on and of the inputs from k on (or of the next outputs and
 * the first inputs, behind the last), what is asked for with the products of a point: a quarter of
 * a place of the window
 */
static Ahead
weights_ahead(const DsWinograd *w, size_t out, size_t n, size_t k, size_t depth, size_t point)
{
	size_t tap = w->ins * w->panel_width;
	size_t bytes;

	if (k >= w->ins)
	{
		out += n;
		k = 0;
		if (out >= w->outs)
			return (Ahead){.panels = 0};
	}
	depth = w->ins - k < depth ? w->ins - k : depth;
	bytes = depth * w->panel_width * sizeof(ds_real);
	return (Ahead){.at = (const char *) (w->panels + out / w->panel_width * 9 * tap +
										 point / 4 * tap + k * w->panel_width) +
						 point % 4 * (bytes / 4),
				   .step = w->panel_width * sizeof(ds_real),
				   /* wide panels have all that is asked for behind each other */
				   .panels = n / 16,
				   .panel = w->panel_width > 16 ? 16 * sizeof(ds_real) : 9 * tap * sizeof(ds_real)};
}

static void
run_tiles(const DsWinograd *w, size_t first, size_t tiles)
{
	/* whole lines, so that what follows begins with one */
	size_t v_apart = (tiles * w->ins + 15) / 16 * 16 + DS_WINOGRAD_GAP;
	size_t blocks = (w->ins + DS_WINOGRAD_DEPTH - 1) / DS_WINOGRAD_DEPTH;
	size_t depth = (w->ins + blocks - 1) / blocks;
	ds_real *v = w->scratch;
	ds_real *u = v + 36 * v_apart;
	ds_real *m = u + 36 * (DS_WINOGRAD_DEPTH * DS_WINOGRAD_WIDTH + DS_WINOGRAD_GAP);

	for (size_t t = 0; t < tiles; t++)
		transform_input(w, first + t, v + t * w->ins, v_apart);
	for (size_t out = 0; out < w->outs;)
	{
		size_t left = (w->outs - out + 15) / 16;
		/* of 64, 32 and 32: tiles of 16 leave most registers idle */
		size_t most = left == 4 ? 32 : DS_WINOGRAD_WIDTH;
		size_t n = w->outs - out < most ? w->outs - out : most;
		size_t padded = (n + LANES - 1) / LANES * LANES;
		size_t u_apart = depth * padded + DS_WINOGRAD_GAP;
		size_t m_apart = tiles * padded + DS_WINOGRAD_GAP;

		for (size_t k = 0; k < w->ins; k += depth)
		{
			size_t deep = w->ins - k < depth ? w->ins - k : depth;

			transform_weights(w, k, deep, out, padded, u, u_apart);
			for (size_t point = 0; point < 36; point++)
				points_product(tiles, deep, padded, v + point * v_apart + k, w->ins,
							   u + point * u_apart, m + point * m_apart, k > 0,
							   weights_ahead(w, out, padded, k + deep, depth, point));
		}
		for (size_t t = 0; t < tiles; t++)
			transform_output(w, first + t, m + t * padded, m_apart, out, n);
		out += n;
	}
}

static void
add_gradient(const DsWinograd *w, size_t first, size_t tiles, ds_real *points)
{
	size_t padded = ds_winograd_padded(w->outs);
	size_t v_apart = (tiles * w->ins + 15) / 16 * 16 + DS_WINOGRAD_GAP;
	size_t m_apart = tiles * padded + DS_WINOGRAD_GAP;
	ds_real *v = w->scratch;
	ds_real *m = v + 36 * v_apart;

	for (size_t t = 0; t < tiles; t++)
	{
		transform_input(w, first + t, v + t * w->ins, v_apart);
		transform_output_backward(w, first + t, m + t * padded, m_apart, padded);
	}
	for (size_t point = 0; point < 36; point++, v += v_apart, m += m_apart)
		for (size_t j = 0; j < padded;)
		{
			size_t left = (padded - j) / LANES;
			size_t vectors = left < TILE_VECTORS		? left
							 : left == TILE_VECTORS + 1 ? (left + 1) / 2
														: TILE_VECTORS;

			for (size_t i = 0, high; i < w->ins; i += high)
			{
				high = w->ins - i < TILE_ROWS ? w->ins - i : TILE_ROWS;
				gradient_tiles[vectors - 1][high - 1](tiles, v + i, w->ins, m + j, padded,
													  points + (point * w->ins + i) * padded + j);
			}
			j += vectors * LANES;
		}
}

static void
collect(const ds_real *points, size_t n, ds_real *d_weight)
{
	for (size_t j = 0; j < n; j += LANES)
	{
		vector half[3][6];

		UNROLLED
		for (size_t c = 0; c < 6; c++)
		{
			vector u[6];
			vector g[3];

			UNROLLED
			for (size_t r = 0; r < 6; r++)
				u[r] = load(points + (r * 6 + c) * n + j);
			weight_points_backward(u, g);
			UNROLLED
			for (size_t r = 0; r < 3; r++)
				half[r][c] = g[r];
		}
		UNROLLED
		for (size_t r = 0; r < 3; r++)
		{
			vector g[3];

			weight_points_backward(half[r], g);
			UNROLLED
			for (size_t c = 0; c < 3; c++)
				store(d_weight + (r * 3 + c) * n + j, g[c]);
		}
	}
}

const DsWinogradKernels KERNELS_NAME = {
	.run = run_tiles,
	.gradient = add_gradient,
	.collect = collect,
};
