/*
 * encoder_product_f32.h
 *		Products of f32; included by encoder_loops.h behind encoder_product.h.
 *
 * Here what takes time besides the tiles is that weights come from memory, so two
 * things differ from encoder_product.h:
 *
 * Lines of the panels that come next are asked for one by one, evenly through the
 * loop over ins.  A processor has some sixteen places for lines that are under way;
 * asked for in a bunch they fill all of them, and the tile waits for its own lines.
 *
 * ins are blocked by DEPTH, so that a block of a (256 rows of it) stays in the second
 * level of cache while the panels pass.  A tile goes on from the sums that the block
 * before it left in c, so the order of additions is still that of ins.
 */
#define DEPTH ((size_t) 768)

typedef struct Sums
{
	const float *a;
	size_t lda;
	const float *b;
	size_t stride;
	size_t depth;
	const float *from; /* sums of the blocks before this one, or NULL */
	float *to;
	size_t ld_from;
	size_t ld_to;
	const char *next; /* what is asked for, and how much further with each of depth */
	size_t step;
} Sums;

typedef void (*SumsFunction)(const Sums *s);

#if TILE_PANELS == 3
#define NARROW_ROWS ((size_t) 24) /* a multiple of 8 */
#define MOST_ROWS NARROW_ROWS
#else
#define MOST_ROWS ((size_t) TILE_ROWS)
#endif

/* near: 0, or how far ahead b is asked for from the second level of cache */
INLINE void
sums_f32(size_t rows, size_t panels, const Sums *s, size_t lda, size_t near)
{
	vector sum[MOST_ROWS][TILE_PANELS * PANEL_VECTORS];
	const float *a = s->a;
	const float *b = s->b;
	const char *next = s->next;
	size_t stride = s->stride;
	size_t step = s->step;
	size_t depth = s->depth;
	size_t vectors = panels * PANEL_VECTORS;

#pragma GCC unroll 32
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			sum[r][v] = s->from != NULL ? load(s->from + r * s->ld_from + v * LANES) : (vector){0};
	for (size_t k = 0; k < depth; k++)
	{
		vector w[TILE_PANELS * PANEL_VECTORS];

		__builtin_prefetch(next, 0, 2);
		next += step;
		if (near > 0)
			__builtin_prefetch((const char *) (b + k * DS_PANEL) + near, 0, 3);
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			w[v] = load(b + v / PANEL_VECTORS * stride + k * DS_PANEL + v % PANEL_VECTORS * LANES);
#pragma GCC unroll 32
		for (size_t r = 0; r < rows; r++)
		{
			float x = a[r * lda + k];

#pragma GCC unroll 16
			for (size_t v = 0; v < vectors; v++)
				sum[r][v] += x * w[v];
		}
	}
#pragma GCC unroll 32
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			store(s->to + r * s->ld_to + v * LANES, sum[r][v]);
}

#define SUMS(rows, panels)                            \
	static void sums_##rows##_##panels(const Sums *s) \
	{                                                 \
		sums_f32(rows, panels, s, s->lda, 0);         \
	}
#if TILE_ROWS == 8
#define SUMS_HEIGHTS(panels) \
	SUMS(1, panels)          \
	SUMS(2, panels)          \
	SUMS(3, panels) SUMS(4, panels) SUMS(5, panels) SUMS(6, panels) SUMS(7, panels) SUMS(8, panels)
#define SUMS_NAMES(panels)                                                                   \
	{                                                                                        \
		sums_1_##panels, sums_2_##panels, sums_3_##panels, sums_4_##panels, sums_5_##panels, \
			sums_6_##panels, sums_7_##panels, sums_8_##panels                                \
	}
#elif TILE_ROWS == 6
#define SUMS_HEIGHTS(panels) \
	SUMS(1, panels)          \
	SUMS(2, panels) SUMS(3, panels) SUMS(4, panels) SUMS(5, panels) SUMS(6, panels)
#define SUMS_NAMES(panels)                                                                   \
	{                                                                                        \
		sums_1_##panels, sums_2_##panels, sums_3_##panels, sums_4_##panels, sums_5_##panels, \
			sums_6_##panels                                                                  \
	}
#else
#define SUMS_HEIGHTS(panels) SUMS(1, panels) SUMS(2, panels) SUMS(3, panels)
#define SUMS_NAMES(panels)                                \
	{                                                     \
		sums_1_##panels, sums_2_##panels, sums_3_##panels \
	}
#endif

SUMS_HEIGHTS(1)
#if TILE_PANELS == 3
SUMS_HEIGHTS(2)
SUMS_HEIGHTS(3)
static const SumsFunction sums[TILE_PANELS][TILE_ROWS] = {SUMS_NAMES(1), SUMS_NAMES(2),
														  SUMS_NAMES(3)};
#else
static const SumsFunction sums[TILE_PANELS][TILE_ROWS] = {SUMS_NAMES(1)};
#endif

/* A tile of c, finished if it is the last block of ins */
static void
tile_f32(const DsProduct *p, SumsFunction function, Sums *s, size_t row, size_t panel, size_t rows,
		 size_t panels, bool last)
{
	_Alignas(64) float edge[MOST_ROWS * EDGE];
	size_t column = panel * DS_PANEL;
	size_t columns = p->outs - column < panels * DS_PANEL ? p->outs - column : panels * DS_PANEL;
	bool out = columns < panels * DS_PANEL;
	bool plain = p->bias == NULL && p->row_scales == NULL && p->activation == DS_ACT_IDENTITY &&
				 p->residual == NULL;
	float *c = p->c + row * p->ldc + column;

	s->to = c;
	s->ld_to = p->ldc;
	if (out || (last && !plain))
	{
		s->to = edge;
		s->ld_to = EDGE;
	}
	function(s);
	if (s->to == c)
		return;
	if (!out)
	{
		finish_tile(p, row, column, rows, panels, edge, c, false, false);
		return;
	}
	if (!plain)
		finish_edge(p, row, column, rows, columns, edge, false, false);
	for (size_t r = 0; r < rows; r++)
		memcpy(c + r * p->ldc, edge + r * EDGE, columns * sizeof(float));
}

#if TILE_PANELS == 3

/*
 * Up to 24 rows.  Now memory decides, which is as fast as one core can read it when
 * the weights are read in one go: a tile has all rows and one panel, and every line
 * of b is used once.  a is copied, so that its rows are at constant distances (there
 * are not enough registers for so many addresses), and blocked by 256, so that it
 * stays in the first level of cache.
 */
#define NARROW_DEPTH ((size_t) 256)
#define NARROW_LDA (NARROW_DEPTH + 16)
#define NARROW_PANELS ((size_t) 8) /* that a copy of a is used for */
#define NARROW_NEAR ((size_t) 1024)
#define NARROW_LEAST ((size_t) 1 << 16) /* weights; fewer are in a cache */

#define NARROW(rows)                                   \
	static void narrow_##rows(const Sums *s)           \
	{                                                  \
		sums_f32(rows, 1, s, NARROW_LDA, NARROW_NEAR); \
	}
NARROW(1)
NARROW(2)
NARROW(3)
NARROW(4)
NARROW(5)
NARROW(6)
NARROW(7)
NARROW(8)
NARROW(9)
NARROW(10)
NARROW(11)
NARROW(12)
NARROW(13)
NARROW(14)
NARROW(15)
NARROW(16)
NARROW(17)
NARROW(18)
NARROW(19)
NARROW(20)
NARROW(21)
NARROW(22)
NARROW(23)
NARROW(24)

static const SumsFunction narrow[NARROW_ROWS] = {
	narrow_1,  narrow_2,  narrow_3,	 narrow_4,	narrow_5,  narrow_6,  narrow_7,	 narrow_8,
	narrow_9,  narrow_10, narrow_11, narrow_12, narrow_13, narrow_14, narrow_15, narrow_16,
	narrow_17, narrow_18, narrow_19, narrow_20, narrow_21, narrow_22, narrow_23, narrow_24};

static void
product_narrow(const DsProduct *p)
{
	_Alignas(64) float a[NARROW_ROWS * NARROW_LDA];
	const float *b = p->b;
	size_t panels = p->outs / DS_PANEL;

	for (size_t group = 0; group < panels; group += NARROW_PANELS)
	{
		size_t end = panels - group < NARROW_PANELS ? panels : group + NARROW_PANELS;

		for (size_t k = 0; k < p->ins; k += NARROW_DEPTH)
		{
			size_t depth = p->ins - k < NARROW_DEPTH ? p->ins - k : NARROW_DEPTH;
			bool last = k + depth == p->ins;

			for (size_t r = 0; r < p->rows; r++)
				memcpy(a + r * NARROW_LDA, (const float *) p->a + r * p->lda + k,
					   depth * sizeof(float));
			for (size_t panel = group; panel < end; panel++)
			{
				const float *now = b + panel * p->stride + k * DS_PANEL;
				const float *next = panel + 1 < end ? now + p->stride
									: last			? b + end * p->stride
										   : b + group * p->stride + (k + depth) * DS_PANEL;
				Sums s = {.a = a,
						  .b = now,
						  .depth = depth,
						  .from = k > 0 ? p->c + panel * DS_PANEL : NULL,
						  .ld_from = p->ldc,
						  .next = (const char *) next,
						  .step = DS_PANEL * sizeof(float)};

				tile_f32(p, narrow[p->rows - 1], &s, 0, panel, p->rows, 1, last);
			}
		}
	}
}

#endif

/* One block of ins, and some panels, for all rows; next: the panels that come then */
static void
panels_f32(const DsProduct *p, size_t k, size_t depth, size_t panel, size_t panels,
		   const float *next)
{
	size_t tiles = (p->rows + TILE_ROWS - 1) / TILE_ROWS;
	size_t row = 0;

	for (size_t t = 0; t < tiles; t++)
	{
		/* of much the same height; tiles share the lines of a panel */
		size_t rows = (p->rows - row + tiles - t - 1) / (tiles - t);
		size_t part = t * panels / tiles;
		size_t first = (part * tiles + panels - 1) / panels;
		size_t sharers = ((part + 1) * tiles + panels - 1) / panels - first;
		size_t step = (DS_PANEL * sizeof(float) + sharers - 1) / sharers;
		Sums s = {.a = (const float *) p->a + row * p->lda + k,
				  .lda = p->lda,
				  .b = (const float *) p->b + panel * p->stride + k * DS_PANEL,
				  .stride = p->stride,
				  .depth = depth,
				  .from = k > 0 ? p->c + row * p->ldc + panel * DS_PANEL : NULL,
				  .ld_from = p->ldc,
				  .next = (const char *) (next + part * p->stride) + (t - first) * step * depth,
				  .step = step};

		tile_f32(p, sums[panels - 1][rows - 1], &s, row, panel, rows, panels, k + depth == p->ins);
		row += rows;
	}
}

static void
product_f32(const DsProduct *given)
{
	DsProduct with_stride = *given;
	const DsProduct *p = &with_stride;
	size_t panels = (p->outs + DS_PANEL - 1) / DS_PANEL;
	size_t depth = p->ins;
	size_t k = 0;

	if (with_stride.stride == 0)
		with_stride.stride = p->ins * DS_PANEL;
	/* sums of a panel that sticks out of c cannot be kept there */
	if (p->outs % DS_PANEL == 0 && p->ins > DEPTH)
	{
		size_t blocks = (p->ins + DEPTH - 1) / DEPTH;

		depth = ((p->ins + blocks - 1) / blocks + 15) / 16 * 16;
	}
#if TILE_PANELS == 3
	if (p->rows <= NARROW_ROWS && p->outs % DS_PANEL == 0 && p->outs * p->ins >= NARROW_LEAST)
	{
		product_narrow(p);
		return;
	}
#endif
	do
	{
		size_t some = p->ins - k < depth ? p->ins - k : depth;

		for (size_t panel = 0; panel < panels;)
		{
			size_t left = panels - panel;
			/* of four, two and two: a single one leaves half of the registers idle */
			size_t wide = left < TILE_PANELS		? left
						  : left == TILE_PANELS + 1 ? (left + 1) / 2
													: TILE_PANELS;
			const float *b = p->b;
			const float *next = left > wide			? b + (panel + wide) * p->stride + k * DS_PANEL
								: k + some < p->ins ? b + (k + some) * DS_PANEL
													: b + panels * p->stride;

			panels_f32(p, k, some, panel, wide, next);
			panel += wide;
		}
		k += some;
	} while (k < p->ins);
}
