/*
 * encoder_amx.h
 *		Matrix products of bf16 and int8 by the matrix unit of a processor (AMX);
 *		included by encoder_loops.h behind encoder_product.h.
 *
 * A tile register has 16 rows of 64 bytes.  As rows of a it holds 64 bytes of
 * ins for 16 rows; as weights, 64 bytes of ins for one panel, whose order is that
 * of memory already (encoder_kernels.h).  Four of the eight hold sums: 32 rows by
 * two panels, or, where there are no more than 16 rows, 16 by four, since a product
 * takes 16 cycles and its sum is ready after 52.
 *
 * A row's sums run over ins in order, whatever the height.  When the last rows do
 * not fill a block, the block begins further up and some are computed again.
 */
#include <immintrin.h>

#define AMX_BYTES ((size_t) 64) /* of ins that a tile holds */
#define AMX_WEIGHTS ((size_t) 1024) /* bytes of a tile of weights */
#define AMX_HEIGHT ((size_t) 16)
#define AMX_SUMS (EDGE * sizeof(float)) /* from row to row of sums */

typedef struct AmxConfig
{
	uint8_t palette;
	uint8_t start_row;
	uint8_t reserved[14];
	uint16_t row_bytes[16];
	uint8_t rows[16];
} AmxConfig;

/* Tiles 0 .. 3: sums; of a, 4 and, in tall blocks, 5; the others weights */
static void
amx_configure(size_t height)
{
	AmxConfig config = {.palette = 1};
	bool tall = height > AMX_HEIGHT;
	uint8_t upper = (uint8_t) (tall ? AMX_HEIGHT : height);
	uint8_t lower = (uint8_t) (tall ? height - AMX_HEIGHT : height);

	for (size_t i = 0; i < 8; i++)
	{
		config.row_bytes[i] = AMX_BYTES;
		config.rows[i] = i < 2 || i == 4			 ? upper
						 : i < 4 || (tall && i == 5) ? lower
													 : (uint8_t) AMX_HEIGHT;
	}
	/* the instruction is not known to read all of it */
	__asm__ volatile("" : : "r"(&config) : "memory");
	_tile_loadconfig(&config);
}

#define AMX_DOT(bytes, sum, a, b)      \
	do                                 \
	{                                  \
		if (bytes)                     \
			_tile_dpbusd(sum, a, b);   \
		else                           \
			_tile_dpbf16ps(sum, a, b); \
	} while (0)

/* Where the sums of a block go, and what they are made of; distances in bytes */
typedef struct AmxBlock
{
	const char *a;
	size_t lda;
	const char *b;
	size_t next; /* to the next panel */
	size_t steps;
	char *c;
	size_t ldc;
} AmxBlock;

INLINE void
amx_tall(bool bytes, bool two, const AmxBlock *block)
{
	const char *upper = block->a;
	const char *lower = block->a + AMX_HEIGHT * block->lda;
	const char *b = block->b;
	char *c = block->c;

	_tile_zero(0);
	_tile_zero(1);
	_tile_zero(2);
	_tile_zero(3);
	for (size_t k = 0; k < block->steps; k++, b += AMX_WEIGHTS)
	{
		_tile_loadd(6, b, AMX_BYTES);
		_tile_loadd(4, upper + k * AMX_BYTES, block->lda);
		AMX_DOT(bytes, 0, 4, 6);
		_tile_loadd(5, lower + k * AMX_BYTES, block->lda);
		AMX_DOT(bytes, 2, 5, 6);
		if (two)
		{
			_tile_loadd(7, b + block->next, AMX_BYTES);
			AMX_DOT(bytes, 1, 4, 7);
			AMX_DOT(bytes, 3, 5, 7);
		}
	}
	_tile_stored(0, c, block->ldc);
	_tile_stored(2, c + AMX_HEIGHT * block->ldc, block->ldc);
	if (two)
	{
		_tile_stored(1, c + AMX_BYTES, block->ldc);
		_tile_stored(3, c + AMX_HEIGHT * block->ldc + AMX_BYTES, block->ldc);
	}
}

INLINE void
amx_flat(bool bytes, size_t panels, const AmxBlock *block)
{
	const char *b = block->b;
	char *c = block->c;

	_tile_zero(0);
	_tile_zero(1);
	_tile_zero(2);
	_tile_zero(3);
	for (size_t k = 0; k < block->steps; k++, b += AMX_WEIGHTS)
	{
		_tile_loadd(4, block->a + k * AMX_BYTES, block->lda);
		_tile_loadd(5, b, AMX_BYTES);
		AMX_DOT(bytes, 0, 4, 5);
		if (panels > 1)
		{
			_tile_loadd(6, b + block->next, AMX_BYTES);
			AMX_DOT(bytes, 1, 4, 6);
		}
		if (panels > 2)
		{
			_tile_loadd(7, b + 2 * block->next, AMX_BYTES);
			AMX_DOT(bytes, 2, 4, 7);
		}
		if (panels > 3)
		{
			_tile_loadd(5, b + 3 * block->next, AMX_BYTES);
			AMX_DOT(bytes, 3, 4, 5);
		}
	}
	_tile_stored(0, c, block->ldc);
	if (panels > 1)
		_tile_stored(1, c + AMX_BYTES, block->ldc);
	if (panels > 2)
		_tile_stored(2, c + 2 * AMX_BYTES, block->ldc);
	if (panels > 3)
		_tile_stored(3, c + 3 * AMX_BYTES, block->ldc);
}

INLINE void
amx_block(bool bytes, bool tall, size_t panels, const AmxBlock *block)
{
	if (tall && panels == 2)
		amx_tall(bytes, true, block);
	else if (tall)
		amx_tall(bytes, false, block);
	else if (panels == 4)
		amx_flat(bytes, 4, block);
	else
		amx_flat(bytes, panels, block);
}

/* ins is a multiple of what a tile holds; rows > 0 */
INLINE void
product_amx(const DsProduct *p, bool bytes)
{
	size_t value_size = bytes ? 1 : sizeof(uint16_t);
	size_t stride = (p->stride != 0 ? p->stride : p->ins * DS_PANEL) * value_size;
	size_t panels = (p->outs + DS_PANEL - 1) / DS_PANEL;
	size_t height = p->rows < 2 * AMX_HEIGHT ? p->rows : 2 * AMX_HEIGHT;
	bool tall = height > AMX_HEIGHT;
	size_t most = tall ? 2 : 4;
	bool finished = !bytes && p->bias == NULL && p->row_scales == NULL && p->residual == NULL &&
					p->activation == DS_ACT_IDENTITY;
	_Alignas(64) float edge[2 * 16 * EDGE];

	amx_configure(height);
	for (size_t panel = 0, wide; panel < panels; panel += wide)
	{
		size_t left = panels - panel;
		size_t column = panel * DS_PANEL;
		size_t columns;
		const char *b = (const char *) p->b + panel * stride;
		size_t after;

		wide = left < most ? left : most;
		after = left - wide < most ? left - wide : most;
		columns = p->outs - column < wide * DS_PANEL ? p->outs - column : wide * DS_PANEL;
		for (size_t done = 0; done < p->rows; done += height)
		{
			size_t row = done + height <= p->rows ? done : p->rows - height;
			float *c = p->c + row * p->ldc + column;
			bool out = columns < wide * DS_PANEL;
			AmxBlock block = {.a = (const char *) p->a + row * p->lda * value_size,
							  .lda = p->lda * value_size,
							  .b = b,
							  .next = stride,
							  .steps = p->ins * value_size / AMX_BYTES,
							  .c = (char *) edge,
							  .ldc = AMX_SUMS};

			fetch_ahead(b + wide * stride, after * stride, done, height, p->rows);
			if (finished && !out)
			{
				block.c = (char *) c;
				block.ldc = p->ldc * sizeof(float);
				amx_block(bytes, tall, wide, &block);
				continue;
			}
			amx_block(bytes, tall, wide, &block);
			if (!out)
			{
				finish_tile(p, row, column, height, wide, edge, c, true, bytes);
				continue;
			}
			finish_edge(p, row, column, height, columns, edge, true, bytes);
			for (size_t r = 0; r < height; r++)
				memcpy(c + r * p->ldc, edge + r * EDGE, columns * sizeof(float));
		}
	}
	_tile_release();
}

static void
product_bf16_amx(const DsProduct *p)
{
	if (p->ins * sizeof(uint16_t) % AMX_BYTES != 0 || p->rows == 0)
		product_bf16(p);
	else
		product_amx(p, false);
}

static void
product_int8_amx(const DsProduct *p)
{
	if (p->ins % AMX_BYTES != 0 || p->rows == 0)
		product_int8(p);
	else
		product_amx(p, true);
}
