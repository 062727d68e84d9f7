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

INLINE void
tile(size_t rows, size_t panels, const DsConvolution *p, size_t row, size_t column)
{
	vector sum[TILE_ROWS][TILE_PANELS * PANEL_VECTORS];
	const float *a[TILE_ROWS];
	size_t next = p->taps_y * p->taps_x * p->piece * DS_PANEL;
	const float *b = p->b + column / DS_PANEL * next;
	size_t vectors = panels * PANEL_VECTORS;

#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
	{
		a[r] = p->a + p->in_rows[row + r];
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			sum[r][v] = (vector){0};
	}
	for (size_t y = 0; y < p->taps_y; y++)
		for (size_t x = 0; x < p->taps_x; x++)
		{
			size_t from = y * p->step_y + x * p->step_x;
			size_t to = from + p->piece;

			for (size_t k = from; k < to; k++, b += DS_PANEL)
			{
				vector w[TILE_PANELS * PANEL_VECTORS];

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
	if (p->activation == DS_ACT_RELU)
		finish_tile(p, row, column, rows, vectors, sum, DS_ACT_RELU);
	else if (p->activation == DS_ACT_IDENTITY)
		finish_tile(p, row, column, rows, vectors, sum, DS_ACT_IDENTITY);
	else
		finish_tile(p, row, column, rows, vectors, sum, p->activation);
}

typedef void (*TileFunction)(const DsConvolution *p, size_t row, size_t column);

#define TILE(rows, panels)                                                                \
	static void tile_##rows##_##panels(const DsConvolution *p, size_t row, size_t column) \
	{                                                                                     \
		tile(rows, panels, p, row, column);                                               \
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

static void
convolve(const DsConvolution *p)
{
	size_t panels = p->outs / DS_PANEL;

	for (size_t panel = 0; panel < panels;)
	{
		size_t left = panels - panel;
		/* of four, two and two: a single one leaves half of the registers idle */
		size_t wide = left < TILE_PANELS		? left
					  : left == TILE_PANELS + 1 ? (left + 1) / 2
												: TILE_PANELS;

		for (size_t row = 0; row < p->rows;)
		{
			/* of equal height, as far as that goes: a last tile of one row waits for its weights */
			size_t tiles_left = (p->rows - row + TILE_ROWS - 1) / TILE_ROWS;
			size_t rows =
				tiles_left > 7 ? TILE_ROWS : (p->rows - row + tiles_left - 1) / tiles_left;

			tiles[wide - 1][rows - 1](p, row, panel * DS_PANEL);
			row += rows;
		}
		panel += wide;
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
