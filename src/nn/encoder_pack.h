/*
 * encoder_pack.h
 *		Rows of floats in other orders and precisions: panels, bf16; included by
 *		encoder_loops.h.
 */

/* to nearest, half way to the even one; what is not a number would become infinite: set a bit */
static inline uint16_t
bf16_of(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return (bits & 0x7fffffff) > 0x7f800000
			   ? (uint16_t) ((bits >> 16) | 0x40)
			   : (uint16_t) ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static void
to_bf16(const float *x, size_t n, uint16_t *out)
{
	size_t i = 0;

#if HAVE_BF16
	for (; i + 2 * LANES <= n; i += 2 * LANES)
	{
		__m512bh both = _mm512_cvtne2ps_pbh((__m512) load(x + i + LANES), (__m512) load(x + i));

		memcpy(out + i, &both, sizeof(both));
	}
	for (; i + LANES <= n; i += LANES)
	{
		__m256bh one = _mm512_cvtneps_pbh((__m512) load(x + i));

		memcpy(out + i, &one, sizeof(one));
	}
#endif
	for (; i < n; i++)
		out[i] = bf16_of(x[i]);
}

/* A register of floats to LANES values of bf16 */
INLINE void
store_bf16(uint16_t *p, vector v)
{
#if HAVE_BF16
	__m256bh narrow = _mm512_cvtneps_pbh((__m512) v);

	memcpy(p, &narrow, sizeof(narrow));
#else
	for (size_t i = 0; i < LANES; i++)
		p[i] = bf16_of(v[i]);
#endif
}

static void
transpose(const float *x, size_t n, size_t ld, size_t dims, float *panel)
{
	size_t c = 0;

#if VECTOR_BYTES == 64
	for (; n == DS_PANEL && c + LANES <= dims; c += LANES)
	{
		__m512i r[16];

#pragma GCC unroll 16
		for (size_t i = 0; i < 16; i++)
			r[i] = _mm512_loadu_si512(x + i * ld + c);
		turn(r);
#pragma GCC unroll 16
		for (size_t i = 0; i < 16; i++)
			_mm512_storeu_si512(panel + (c + i) * DS_PANEL, r[i]);
	}
#endif
	if (n < DS_PANEL)
		memset(panel, 0, dims * DS_PANEL * sizeof(float));
	for (; c < dims; c++)
		for (size_t i = 0; i < n; i++)
			panel[c * DS_PANEL + i] = x[i * ld + c];
}

/* As transpose(), to a panel of bf16: [dims / 2][16][2] */
static void
transpose_bf16(const float *x, size_t n, size_t ld, size_t dims, uint16_t *panel)
{
	size_t c = 0;

#if HAVE_BF16
	for (; n == DS_PANEL && c + 2 * LANES <= dims; c += 2 * LANES)
	{
		__m512i r[16];

#pragma GCC unroll 16
		for (size_t i = 0; i < 16; i++)
			r[i] = (__m512i) _mm512_cvtne2ps_pbh((__m512) load(x + i * ld + c + LANES),
												 (__m512) load(x + i * ld + c));
		turn(r);
#pragma GCC unroll 16
		for (size_t i = 0; i < 16; i++)
			_mm512_storeu_si512(panel + (c / 2 + i) * 2 * DS_PANEL, r[i]);
	}
#endif
	if (n < DS_PANEL)
		memset(panel, 0, dims * DS_PANEL * sizeof(uint16_t));
	for (; c < dims; c++)
		for (size_t i = 0; i < n; i++)
			panel[c / 2 * 2 * DS_PANEL + 2 * i + c % 2] = bf16_of(x[i * ld + c]);
}

/*
 * Rows of values as panels that are multiplied by rows of weights: panel c holds
 * columns 16 c .. of all rows, missing columns and rows (up to a multiple of
 * DS_VALUE_ROWS) are zero.
 */
static void
columns(const float *x, size_t n, size_t ld, size_t dims, float *panels)
{
	size_t rounded = (n + DS_VALUE_ROWS - 1) / DS_VALUE_ROWS * DS_VALUE_ROWS;

	for (size_t c = 0; c < dims; c += DS_PANEL)
	{
		float *panel = panels + c * rounded;
		size_t some = dims - c < DS_PANEL ? dims - c : DS_PANEL;

		if (some < DS_PANEL)
			memset(panel, 0, n * DS_PANEL * sizeof(float));
		for (size_t t = 0; t < n; t++)
			if (some == DS_PANEL)
				memcpy(panel + t * DS_PANEL, x + t * ld + c, DS_PANEL * sizeof(float));
			else
				memcpy(panel + t * DS_PANEL, x + t * ld + c, some * sizeof(float));
		memset(panel + n * DS_PANEL, 0, (rounded - n) * DS_PANEL * sizeof(float));
	}
}

/* The same to bf16: [rows / 2][16][2] */
static void
columns_bf16(const float *x, size_t n, size_t ld, size_t dims, uint16_t *panels)
{
	size_t rounded = (n + DS_VALUE_ROWS - 1) / DS_VALUE_ROWS * DS_VALUE_ROWS;

	for (size_t c = 0; c < dims; c += DS_PANEL)
	{
		uint16_t *panel = panels + c * rounded;
		size_t some = dims - c < DS_PANEL ? dims - c : DS_PANEL;
		size_t t = 0;

#if HAVE_BF16
		static const uint16_t order[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
										   21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
										   11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
		__m512i pairs = _mm512_loadu_si512(order);

		for (; some == DS_PANEL && t + 2 <= n; t += 2)
			_mm512_storeu_si512(
				panel + t * DS_PANEL,
				_mm512_permutexvar_epi16(
					pairs, (__m512i) _mm512_cvtne2ps_pbh((__m512) load(x + (t + 1) * ld + c),
														 (__m512) load(x + t * ld + c))));
#endif
		memset(panel + t * DS_PANEL, 0, (rounded - t) * DS_PANEL * sizeof(uint16_t));
		for (; t < n; t++)
			for (size_t i = 0; i < some; i++)
				panel[t / 2 * 2 * DS_PANEL + 2 * i + t % 2] = bf16_of(x[t * ld + c + i]);
	}
}
