/*
 * encoder_product.h
 *		Matrix products with weights in panels (see encoder_kernels.h); included
 *		by encoder_loops.h.
 *
 * TILE_ROWS and TILE_PANELS say how much of c stays in registers: 8 x 48 with 32
 * registers of AVX-512 (24 sums, 3 of b, a broadcast of a), 6 x 16 with 16 of
 * AVX2.  A tile reads 3 registers of b and 8 values of a for 24 multiplications
 * and additions, so b may come from the second level of cache, and nothing is
 * blocked over ins.
 */
#define PANEL_VECTORS (DS_PANEL / LANES)
#define FETCH_MOST ((size_t) 12 << 10) /* bytes fetched ahead with a tile */

/* int8: the sum of (a - zero) b of a row and a register's columns, times their scales */
INLINE vector
scaled(integers sum, const DsProduct *p, size_t row, size_t column)
{
	integers sums;

	memcpy(&sums, p->column_sums + column, sizeof(sums));
	return __builtin_convertvector(sum - p->row_zeros[row] * sums, vector) *
		   load(p->column_scales + column);
}

/* Values from row to row of a tile's own place, in the first level of cache */
#if HAVE_AMX
#define EDGE ((size_t) 4 * DS_PANEL)
#else
#define EDGE ((size_t) TILE_PANELS * DS_PANEL)
#endif

/*
 * What is left to do for a tile behind its sums; c may be where these are.
 * counted: they are whole numbers, as the matrix unit leaves them.
 */
INLINE void
finish_rows(const DsProduct *p, size_t row, size_t column, size_t rows, size_t vectors,
			const float *sums, float *c, size_t ldc, uint32_t activation, bool counted)
{
	for (size_t r = 0; r < rows; r++)
	{
		const float *other = p->residual != NULL ? p->residual + (row + r) * p->ldr + column : NULL;
		float scale = p->row_scales != NULL ? p->row_scales[row + r] : 1.0f;

#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
		{
			vector x = load(sums + r * EDGE + v * LANES);

			if (counted)
				x = scaled((integers) x, p, row + r, column + v * LANES);
			x = unfused(x * scale);
			if (p->bias != NULL)
				x += load(p->bias + column + v * LANES);
			x = unfused(act_on(x, activation));
			if (other != NULL)
				x += load(other + v * LANES);
			store(c + r * ldc + v * LANES, x);
		}
	}
}

/* The loops are compiled for the common activations */
INLINE void
finish_wide(const DsProduct *p, size_t row, size_t column, size_t rows, size_t vectors,
			const float *sums, float *c, bool rough, bool counted)
{
	if (p->activation == DS_ACT_IDENTITY)
		finish_rows(p, row, column, rows, vectors, sums, c, p->ldc, DS_ACT_IDENTITY, counted);
	else if (p->activation == DS_ACT_GELU && rough)
		finish_rows(p, row, column, rows, vectors, sums, c, p->ldc, ROUGH_GELU, counted);
	else if (p->activation == DS_ACT_GELU)
		finish_rows(p, row, column, rows, vectors, sums, c, p->ldc, DS_ACT_GELU, counted);
	else
		finish_rows(p, row, column, rows, vectors, sums, c, p->ldc, p->activation, counted);
}

/* A tile that is inside of c: compiled for the common widths too */
INLINE void
finish_tile(const DsProduct *p, size_t row, size_t column, size_t rows, size_t panels,
			const float *sums, float *c, bool rough, bool counted)
{
	if (panels == TILE_PANELS)
		finish_wide(p, row, column, rows, TILE_PANELS * PANEL_VECTORS, sums, c, rough, counted);
	else if (HAVE_AMX && panels == 2)
		finish_wide(p, row, column, rows, 2 * PANEL_VECTORS, sums, c, rough, counted);
	else if (HAVE_AMX && panels == 4)
		finish_wide(p, row, column, rows, 4 * PANEL_VECTORS, sums, c, rough, counted);
	else
		finish_rows(p, row, column, rows, panels * PANEL_VECTORS, sums, c, p->ldc,
					rough && p->activation == DS_ACT_GELU ? ROUGH_GELU : p->activation, counted);
}

/* One that sticks out of c, in place: values, not registers, of what is not rounded up */
static void
finish_edge(const DsProduct *p, size_t row, size_t column, size_t rows, size_t columns, float *c,
			bool rough, bool counted)
{
	DsProduct plain = *p;
	size_t vectors = (columns + LANES - 1) / LANES;
	uint32_t activation = rough && p->activation == DS_ACT_GELU ? ROUGH_GELU : p->activation;

	plain.residual = NULL;
	if (counted)
		finish_rows(&plain, row, column, rows, vectors, c, c, EDGE, activation, true);
	else
		finish_rows(&plain, row, column, rows, vectors, c, c, EDGE, activation, false);
	for (size_t r = 0; p->residual != NULL && r < rows; r++)
		for (size_t i = 0; i < columns; i++)
			c[r * EDGE + i] += p->residual[(row + r) * p->ldr + column + i];
}

/*
 * The loops over tiles: tile(rows, panels, ...) writes sums to a place of whole
 * panels, which is c itself unless the last panel sticks out of it.
 */
typedef void (*TileFunction)(const DsProduct *p, size_t row, size_t panel, float *c, size_t ldc);

/*
 * The panels that come next are fetched into the second level of cache while
 * these are in use, a piece with each row of tiles: weights come from memory,
 * and the first tile that meets them would wait for each line.
 */
static void
fetch_ahead(const char *next, size_t size, size_t row, size_t height, size_t rows)
{
	size_t from = row * size / rows / 64 * 64;
	size_t to = row + height < rows ? (row + height) * size / rows / 64 * 64 : size;

	/* with few rows there is no time for it, and the tile would wait for its own lines */
	if (to - from > FETCH_MOST)
		return;
	for (size_t i = from; i < to; i += 64)
		__builtin_prefetch(next + i, 0, 2);
}

/* finished: the tiles' sums are all there is to do; rough: see ROUGH_GELU */
static void
product(const DsProduct *given, size_t value_size, TileFunction tiles[TILE_PANELS][TILE_ROWS],
		bool finished, bool rough)
{
	DsProduct with_stride = *given;
	const DsProduct *p = &with_stride;
	size_t panels = (p->outs + DS_PANEL - 1) / DS_PANEL;
	_Alignas(64) float edge[TILE_ROWS * EDGE];

	if (with_stride.stride == 0)
		with_stride.stride = p->ins * DS_PANEL;
	finished = finished && p->activation == DS_ACT_IDENTITY && p->residual == NULL;
	for (size_t panel = 0; panel < panels;)
	{
		size_t left = panels - panel;
		/* of four, two and two: a single one leaves half of the registers idle */
		size_t wide = left < TILE_PANELS		? left
					  : left == TILE_PANELS + 1 ? (left + 1) / 2
												: TILE_PANELS;
		size_t column = panel * DS_PANEL;
		size_t columns = wide * DS_PANEL;
		bool out = column + columns > p->outs;

		size_t after = left - wide < TILE_PANELS ? left - wide : TILE_PANELS;
		const char *next = (const char *) p->b + (panel + wide) * p->stride * value_size;

		if (out)
			columns = p->outs - column;
		for (size_t row = 0; row < p->rows; row += TILE_ROWS)
		{
			size_t rows = p->rows - row < TILE_ROWS ? p->rows - row : TILE_ROWS;
			float *c = p->c + row * p->ldc + column;

			fetch_ahead(next, after * p->stride * value_size, row, TILE_ROWS, p->rows);
			if (!out && finished)
			{
				tiles[wide - 1][rows - 1](p, row, panel, c, p->ldc);
				continue;
			}
			tiles[wide - 1][rows - 1](p, row, panel, edge, EDGE);
			if (!out)
			{
				finish_tile(p, row, column, rows, wide, edge, c, rough, false);
				continue;
			}
			if (!finished)
				finish_edge(p, row, column, rows, columns, edge, rough, false);
			for (size_t r = 0; r < rows; r++)
				memcpy(c + r * p->ldc, edge + r * EDGE, columns * sizeof(float));
		}
		panel += wide;
	}
}

#if HAVE_BF16

/* Rows of bf16, two products and sums an instruction */
INLINE void
tile_bf16(size_t rows, size_t panels, const DsProduct *p, size_t row, size_t panel, float *c,
		  size_t ldc)
{
	__m512 sum[TILE_ROWS][TILE_PANELS];
	const uint16_t *a = (const uint16_t *) p->a + row * p->lda;
	const uint16_t *b = (const uint16_t *) p->b + panel * p->stride;
	size_t next = p->stride;

#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t v = 0; v < panels; v++)
			sum[r][v] = _mm512_setzero_ps();
	for (size_t k = 0; k < p->ins; k += 2)
	{
		__m512i w[TILE_PANELS];

#pragma GCC unroll 16
		for (size_t v = 0; v < panels; v++)
			w[v] = _mm512_loadu_si512(b + v * next + k * DS_PANEL);
#pragma GCC unroll 16
		for (size_t r = 0; r < rows; r++)
		{
			int32_t pair;
			__m512i x;

			memcpy(&pair, a + r * p->lda + k, sizeof(pair));
			x = _mm512_set1_epi32(pair);
#pragma GCC unroll 16
			for (size_t v = 0; v < panels; v++)
				sum[r][v] = _mm512_dpbf16_ps(sum[r][v], (__m512bh) x, (__m512bh) w[v]);
		}
	}
#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t v = 0; v < panels; v++)
			_mm512_storeu_ps(c + r * ldc + v * DS_PANEL, sum[r][v]);
}

#else

/* Rows of f32; a bf16 is the upper half of a float */
INLINE void
tile_bf16(size_t rows, size_t panels, const DsProduct *p, size_t row, size_t panel, float *c,
		  size_t ldc)
{
	vector sum[TILE_ROWS][TILE_PANELS * PANEL_VECTORS];
	const float *a = (const float *) p->a + row * p->lda;
	const uint16_t *b = (const uint16_t *) p->b + panel * p->stride;
	size_t next = p->stride;
	size_t vectors = panels * PANEL_VECTORS;

#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			sum[r][v] = (vector){0};
	for (size_t k = 0; k < p->ins; k += 2)
	{
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
		{
			const uint16_t *pairs =
				b + v / PANEL_VECTORS * next + k * DS_PANEL + v % PANEL_VECTORS * LANES * 2;
			words w;
			vector even;
			vector odd;

			memcpy(&w, pairs, sizeof(w));
			even = (vector) (w << 16);
			odd = (vector) (w & 0xffff0000u);
#pragma GCC unroll 16
			for (size_t r = 0; r < rows; r++)
			{
				sum[r][v] += a[r * p->lda + k] * even;
				sum[r][v] += a[r * p->lda + k + 1] * odd;
			}
		}
	}
#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			store(c + r * ldc + v * LANES, sum[r][v]);
}

#endif

/*
 * sum + four products a lane.  Where there is no instruction for it, pairs are
 * added up in 16 bits, which QUANTIZE_TOP = 127 keeps from overflowing:
 * 2 * 127 * 127 < 32768.
 */
INLINE integers
dot_four(integers sum, integers a, integers b)
{
#if HAVE_VNNI
	return (integers) _mm512_dpbusd_epi32((__m512i) sum, (__m512i) a, (__m512i) b);
#elif VECTOR_BYTES == 64
	__m512i pairs = _mm512_maddubs_epi16((__m512i) a, (__m512i) b);

	return sum + (integers) _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
#elif VECTOR_BYTES == 32
	__m256i pairs = _mm256_maddubs_epi16((__m256i) a, (__m256i) b);

	return sum + (integers) _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#else
	/* by shifts: bytes of b keep their sign */
	for (int shift = 0; shift < 32; shift += 8)
		sum += ((a >> shift) & 255) * ((b << (24 - shift)) >> 24);
	return sum;
#endif
}

INLINE void
tile_int8(size_t rows, size_t panels, const DsProduct *p, size_t row, size_t panel, float *c,
		  size_t ldc)
{
	integers sum[TILE_ROWS][TILE_PANELS * PANEL_VECTORS];
	const uint8_t *a = (const uint8_t *) p->a + row * p->lda;
	const int8_t *b = (const int8_t *) p->b + panel * p->stride;
	size_t next = p->stride;
	size_t vectors = panels * PANEL_VECTORS;

#pragma GCC unroll 16
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			sum[r][v] = (integers){0};
	for (size_t k = 0; k < p->ins; k += 4)
	{
		integers w[TILE_PANELS * PANEL_VECTORS];

#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			memcpy(&w[v],
				   b + v / PANEL_VECTORS * next + k * DS_PANEL + v % PANEL_VECTORS * LANES * 4,
				   sizeof(w[v]));
#pragma GCC unroll 16
		for (size_t r = 0; r < rows; r++)
		{
			int32_t four;

			memcpy(&four, a + r * p->lda + k, sizeof(four));
#pragma GCC unroll 16
			for (size_t v = 0; v < vectors; v++)
				sum[r][v] = dot_four(sum[r][v], four - (integers){0}, w[v]);
		}
	}
	/* the row's scale comes with the finish */
#pragma GCC unroll 16
	for (size_t v = 0; v < vectors; v++)
#pragma GCC unroll 16
		for (size_t r = 0; r < rows; r++)
			store(c + r * ldc + v * LANES,
				  scaled(sum[r][v], p, row + r, panel * DS_PANEL + v * LANES));
}

#define TILE(type, rows, panels)                                                              \
	static void tile_##type##_##rows##_##panels(const DsProduct *p, size_t row, size_t panel, \
												float *c, size_t ldc)                         \
	{                                                                                         \
		tile_##type(rows, panels, p, row, panel, c, ldc);                                     \
	}

#if TILE_ROWS == 8
#define TILE_HEIGHTS(type, panels) \
	TILE(type, 1, panels)          \
	TILE(type, 2, panels)          \
	TILE(type, 3, panels)          \
	TILE(type, 4, panels)          \
	TILE(type, 5, panels)          \
	TILE(type, 6, panels)          \
	TILE(type, 7, panels)          \
	TILE(type, 8, panels)
#define TILE_NAMES(type, panels)                                                          \
	{                                                                                     \
		tile_##type##_1_##panels, tile_##type##_2_##panels, tile_##type##_3_##panels,     \
			tile_##type##_4_##panels, tile_##type##_5_##panels, tile_##type##_6_##panels, \
			tile_##type##_7_##panels, tile_##type##_8_##panels                            \
	}
#elif TILE_ROWS == 6
#define TILE_HEIGHTS(type, panels) \
	TILE(type, 1, panels)          \
	TILE(type, 2, panels)          \
	TILE(type, 3, panels)          \
	TILE(type, 4, panels)          \
	TILE(type, 5, panels)          \
	TILE(type, 6, panels)
#define TILE_NAMES(type, panels)                                                         \
	{                                                                                    \
		tile_##type##_1_##panels, tile_##type##_2_##panels, tile_##type##_3_##panels,    \
			tile_##type##_4_##panels, tile_##type##_5_##panels, tile_##type##_6_##panels \
	}
#else
#define TILE_HEIGHTS(type, panels) TILE(type, 1, panels) TILE(type, 2, panels) TILE(type, 3, panels)
#define TILE_NAMES(type, panels)                                                     \
	{                                                                                \
		tile_##type##_1_##panels, tile_##type##_2_##panels, tile_##type##_3_##panels \
	}
#endif

#if TILE_PANELS == 3
#define TILES(type)                                              \
	TILE_HEIGHTS(type, 1)                                        \
	TILE_HEIGHTS(type, 2)                                        \
	TILE_HEIGHTS(type, 3)                                        \
	static TileFunction tiles_##type[TILE_PANELS][TILE_ROWS] = { \
		TILE_NAMES(type, 1), TILE_NAMES(type, 2), TILE_NAMES(type, 3)};
#else
#define TILES(type)       \
	TILE_HEIGHTS(type, 1) \
	static TileFunction tiles_##type[TILE_PANELS][TILE_ROWS] = {TILE_NAMES(type, 1)};
#endif

TILES(bf16)
TILES(int8)

static void
product_bf16(const DsProduct *p)
{
	product(p, sizeof(uint16_t), tiles_bf16, p->bias == NULL && p->row_scales == NULL, true);
}

static void
product_int8(const DsProduct *p)
{
	product(p, 1, tiles_int8, false, true);
}
