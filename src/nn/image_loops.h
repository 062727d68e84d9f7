/*
 * image_loops.h
 *		The source of the kernels of convolutional networks (image_kernels.h);
 *		included by each file that compiles it for a kind of processor.
 *
 * VECTOR_BYTES is the width of a register, TILE_ROWS and TILE_PANELS the tile;
 * KERNELS_NAME and KERNELS_TITLE name the table, KERNELS_WINOGRAD that of winograd.h.
 */
#include "nn/encoder_spec.h"
#include "nn/encoder_vector.h"
#include "nn/image_kernels.h"

#define PANEL_VECTORS (DS_PANEL / LANES)
#define PART_VALUES ((size_t) 1024) /* of a window at a time */

/* Sums to their places: bias, residual, activation */
INLINE void
finish_tile(const DsConvolution *p, size_t row, size_t column, size_t rows, size_t vectors,
			vector sum[TILE_ROWS][TILE_PANELS * PANEL_VECTORS], uint32_t activation)
{
#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
	{
		float *c = p->c + p->out_rows[row + r] + column;
		const float *other =
			p->residual != NULL ? p->residual + p->residual_rows[row + r] + column : NULL;

#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
		{
			vector x = sum[r][v] + load(p->bias + column + v * LANES);

			if (other != NULL)
				x += load(other + v * LANES);
			store(c + v * LANES, act_on(x, activation));
		}
	}
}

/* Of a tile's window, the part that is taken at a time */
typedef struct Part
{
	size_t taps_y;
	size_t piece;
	size_t first; /* number of its first weight in the window */
	size_t offset; /* of its first value from the window's first */
	bool add; /* to what is there */
	bool last;
	/* what will be needed next, asked for step bytes at a time while a tile is computed */
	const char *ahead;
	size_t step;
} Part;

INLINE void
tile(size_t rows, size_t panels, const DsConvolution *p, size_t row, size_t column,
	 const Part *part)
{
	vector sum[TILE_ROWS][TILE_PANELS * PANEL_VECTORS];
	const float *a[TILE_ROWS];
	size_t next = p->taps_y * p->taps_x * p->piece * DS_PANEL;
	const float *b = p->b + column / DS_PANEL * next + part->first * DS_PANEL;
	const char *ahead = part->ahead;
	size_t step = part->step;
	size_t vectors = panels * PANEL_VECTORS;

#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
	{
		const float *c = p->c + p->out_rows[row + r] + column;

		a[r] = p->a + p->in_rows[row + r] + part->offset;
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			sum[r][v] = part->add ? load(c + v * LANES) : (vector){0};
	}
	for (size_t y = 0; y < part->taps_y; y++)
		for (size_t x = 0; x < p->taps_x; x++)
		{
			size_t from = y * p->step_y + x * p->step_x;
			size_t to = from + part->piece;

			for (size_t k = from; k < to; k++, b += DS_PANEL, ahead += step)
			{
				vector w[TILE_PANELS * PANEL_VECTORS];

				__builtin_prefetch(ahead, 0, 2);
#pragma GCC unroll 16
				for (size_t v = 0; v < vectors; v++)
					w[v] = load(b + v / PANEL_VECTORS * next + v % PANEL_VECTORS * LANES);
#pragma GCC unroll 16
				for (size_t r = 0; r < rows; r++)
				{
					float value = a[r][k];

#pragma GCC unroll 16
					for (size_t v = 0; v < vectors; v++)
						sum[r][v] += value * w[v];
				}
			}
		}
	if (!part->last)
	{
#pragma GCC unroll 16
		for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
			for (size_t v = 0; v < vectors; v++)
				store(p->c + p->out_rows[row + r] + column + v * LANES, sum[r][v]);
		return;
	}
	if (p->activation == DS_ACT_RELU)
		finish_tile(p, row, column, rows, vectors, sum, DS_ACT_RELU);
	else if (p->activation == DS_ACT_IDENTITY)
		finish_tile(p, row, column, rows, vectors, sum, DS_ACT_IDENTITY);
	else
		finish_tile(p, row, column, rows, vectors, sum, p->activation);
}

typedef void (*TileFunction)(const DsConvolution *p, size_t row, size_t column, const Part *part);

#define TILE(rows, panels)                                                                \
	static void tile_##rows##_##panels(const DsConvolution *p, size_t row, size_t column, \
									   const Part *part)                                  \
	{                                                                                     \
		tile(rows, panels, p, row, column, part);                                         \
	}

#if TILE_ROWS == 8
#define TILE_HEIGHTS(panels) \
	TILE(1, panels)          \
	TILE(2, panels)          \
	TILE(3, panels)          \
	TILE(4, panels)          \
	TILE(5, panels)          \
	TILE(6, panels)          \
	TILE(7, panels)          \
	TILE(8, panels)
#define TILE_NAMES(panels)                                                                   \
	{                                                                                        \
		tile_1_##panels, tile_2_##panels, tile_3_##panels, tile_4_##panels, tile_5_##panels, \
			tile_6_##panels, tile_7_##panels, tile_8_##panels                                \
	}
#elif TILE_ROWS == 6
#define TILE_HEIGHTS(panels) \
	TILE(1, panels)          \
	TILE(2, panels)          \
	TILE(3, panels)          \
	TILE(4, panels)          \
	TILE(5, panels)          \
	TILE(6, panels)
#define TILE_NAMES(panels)                                                                   \
	{                                                                                        \
		tile_1_##panels, tile_2_##panels, tile_3_##panels, tile_4_##panels, tile_5_##panels, \
			tile_6_##panels                                                                  \
	}
#else
#define TILE_HEIGHTS(panels) TILE(1, panels) TILE(2, panels) TILE(3, panels)
#define TILE_NAMES(panels)                                \
	{                                                     \
		tile_1_##panels, tile_2_##panels, tile_3_##panels \
	}
#endif

#if TILE_PANELS == 3
TILE_HEIGHTS(1)
TILE_HEIGHTS(2)
TILE_HEIGHTS(3)
static const TileFunction tiles[TILE_PANELS][TILE_ROWS] = {TILE_NAMES(1), TILE_NAMES(2),
														   TILE_NAMES(3)};
#else
TILE_HEIGHTS(1)
static const TileFunction tiles[TILE_PANELS][TILE_ROWS] = {TILE_NAMES(1)};
#endif

/*
 * Part number i of a window's parts.  A window of which a tile's panels do not fit the second level of
 * cache twice is cut, so that the next part's weights come while this one is computed.
 */
static Part
part_of(const DsConvolution *p, size_t parts, size_t i)
{
	size_t cuts = parts / p->taps_y;
	size_t from;

	if (parts == 1)
		return (Part){.taps_y = p->taps_y, .piece = p->piece, .last = true};
	from = p->piece * (i % cuts) / cuts;
	return (Part){.taps_y = 1,
				  .piece = p->piece * (i % cuts + 1) / cuts - from,
				  .first = i / cuts * p->piece + from,
				  .offset = i / cuts * p->step_y + from,
				  .add = i > 0,
				  .last = i + 1 == parts};
}

static void
convolve(const DsConvolution *p)
{
	size_t panels = p->outs / DS_PANEL;
	size_t window = p->taps_y * p->taps_x * p->piece;
	size_t high = (p->rows + TILE_ROWS - 1) / TILE_ROWS;
	size_t parts = window <= PART_VALUES || p->taps_x > 1
					   ? 1
					   : p->taps_y * ((p->piece + PART_VALUES - 1) / PART_VALUES);

	for (size_t panel = 0, wide; panel < panels; panel += wide)
	{
		size_t left = panels - panel;

		/* of four, two and two: a single one leaves half of the registers idle */
		wide = left < TILE_PANELS ? left : left == TILE_PANELS + 1 ? (left + 1) / 2 : TILE_PANELS;
		for (size_t i = 0; i < parts; i++)
		{
			Part part = part_of(p, parts, i);
			Part next = part_of(p, parts, i + 1 < parts ? i + 1 : 0);
			/* of the panels behind these, or of these: each tile asks for one tile's share */
			size_t first = i + 1 < parts ? panel : panel + wide;
			size_t length = (parts == 1 ? window : next.piece) * DS_PANEL * sizeof(float);
			size_t share = (wide * length + high - 1) / high;
			size_t tile_number = 0;

			part.step = first < panels ? share / (length / DS_PANEL / sizeof(float)) + 1 : 0;
			for (size_t row = 0; row < p->rows; tile_number++)
			{
				/* of equal height, as far as that goes: a last tile of one row waits for its weights */
				size_t tiles_left = (p->rows - row + TILE_ROWS - 1) / TILE_ROWS;
				size_t rows =
					tiles_left > 7 ? TILE_ROWS : (p->rows - row + tiles_left - 1) / tiles_left;
				size_t at = tile_number * share;

				part.ahead =
					(const char *) (p->b + ((first < panels ? first + at / length : 0) * window +
											next.first) *
											   DS_PANEL) +
					at % length;
				tiles[wide - 1][rows - 1](p, row, panel * DS_PANEL, &part);
				row += rows;
			}
		}
	}
}

static void
largest(const float *x, const uint32_t *offsets, size_t n, size_t channels, float *out)
{
	for (size_t c = 0; c < channels; c += LANES)
	{
		vector top = load(x + offsets[0] + c);

		for (size_t i = 1; i < n; i++)
			top = larger_of(load(x + offsets[i] + c), top);
		store(out + c, top);
	}
}

static void
sum(const float *x, const uint32_t *offsets, size_t n, size_t channels, float factor, float *out)
{
	for (size_t c = 0; c < channels; c += LANES)
	{
		vector total = load(x + offsets[0] + c);

		for (size_t i = 1; i < n; i++)
			total += load(x + offsets[i] + c);
		store(out + c, total * factor);
	}
}

const DsImageKernels KERNELS_NAME = {
	.name = KERNELS_TITLE,
	.convolve = convolve,
	.winograd = &KERNELS_WINOGRAD,
	.largest = largest,
	.sum = sum,
};
