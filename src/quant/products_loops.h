/*
 * products_loops.h
 *		The loops around a kernel of products, for the levels with vectors wide
 *		enough.  The file that includes it defines
 *
 *		VECTOR, WIDTH	a register of floats, and how many those are
 *		ROWS, PANELS	what the kernel handles at once: ROWS rows, PANELS panels
 *		LOAD, STORE, SET, ADD_PRODUCT
 *
 * ROWS * PANELS * DS_PANEL / WIDTH sums stand in registers; for each coordinate
 * the kernel loads PANELS panels and broadcasts ROWS numbers.  BLOCK
 * coordinates of the rows stay in the first-level cache while all panels pass
 * by; between blocks the sums are put into out.
 */
#include <string.h>

#include "quant/products.h"

#define BLOCK 384
#define REGISTERS (DS_PANEL / WIDTH)

/* rows and panels are constants where it matters: this is always inlined */
static inline __attribute__((always_inline)) void
kernel(const float *const *row, size_t start, size_t count, const float *packed, size_t stride,
	   float *out, size_t columns, const int rows, const int panels, int first)
{
	VECTOR sum[ROWS][PANELS * REGISTERS];
	const float *x[ROWS];

	for (int i = 0; i < rows; i++)
		x[i] = row[i] + start;
	for (int i = 0; i < rows; i++)
		for (int j = 0; j < panels * REGISTERS; j++)
			sum[i][j] = first ? SET(0.0f) : LOAD(out + (size_t) i * columns + j * WIDTH);
	for (size_t c = 0; c < count; c++)
	{
		VECTOR column[PANELS * REGISTERS];

		for (int p = 0; p < panels; p++)
			for (int j = 0; j < REGISTERS; j++)
				column[p * REGISTERS + j] =
					LOAD(packed + (size_t) p * stride + c * DS_PANEL + j * WIDTH);
		for (int i = 0; i < rows; i++)
		{
			VECTOR value = SET(x[i][c]);

			for (int j = 0; j < panels * REGISTERS; j++)
				sum[i][j] = ADD_PRODUCT(value, column[j], sum[i][j]);
		}
	}
	for (int i = 0; i < rows; i++)
		for (int j = 0; j < panels * REGISTERS; j++)
			STORE(out + (size_t) i * columns + j * WIDTH, sum[i][j]);
}

/* all panels for one set of rows */
static inline __attribute__((always_inline)) void
strip(const float *const *row, size_t start, size_t count, const float *packed, size_t d,
	  size_t panels, float *out, size_t columns, const int rows, int first)
{
	size_t p = 0;

	for (; p + PANELS <= panels; p += PANELS)
		kernel(row, start, count, packed + (p * d + start) * DS_PANEL, d * DS_PANEL,
			   out + p * DS_PANEL, columns, rows, PANELS, first);
	for (; p < panels; p++)
		kernel(row, start, count, packed + (p * d + start) * DS_PANEL, d * DS_PANEL,
			   out + p * DS_PANEL, columns, rows, 1, first);
}

static void
products(const float *const *row, size_t m, size_t d, const float *packed, size_t panels,
		 float *out, size_t columns)
{
	for (size_t start = 0; start < d; start += BLOCK)
	{
		size_t count = d - start < BLOCK ? d - start : BLOCK;
		size_t i = 0;

		for (; i + ROWS <= m; i += ROWS)
			strip(row + i, start, count, packed, d, panels, out + i * columns, columns, ROWS,
				  start == 0);
		for (; i + ROWS / 3 <= m; i += ROWS / 3)
			strip(row + i, start, count, packed, d, panels, out + i * columns, columns, ROWS / 3,
				  start == 0);
		for (; i < m; i++)
			strip(row + i, start, count, packed, d, panels, out + i * columns, columns, 1,
				  start == 0);
	}
}
