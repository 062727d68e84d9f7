/*
 * resize_kernels_avx2.c
 *		The loops of resizing with AVX2.
 *
 * A weight of 23 bits and a sign does not fit into the 16-bit products of vpmaddwd,
 * which add two taps in one instruction.  So it is cut in two, high * 2^11 + low,
 * and both halves have sums of their own: two instructions for two taps, as many
 * as 32-bit products would take, without their latency and their unpacking, and
 * still every bit of the sum.  Sums: |high| < 2^12, low < 2^11, pixels < 2^8, and a
 * filter's weights add up to one, so neither comes near 2^31 (256 bounds the sum
 * of |weights| / 2^22 that would be needed).
 *
 * Horizontally, one load holds four pixels (and a third of the fifth), and one
 * shuffle makes of them words in the order that weights w0 w1 w2 w3, repeated,
 * need:
 *
 *	 r0 r1 | r2 r3 | g0 g1 | g2 g3 || b0 b1 | b2 b3 | - | -
 *
 * so that the sum of red is in the first two 32-bit lanes, and so on.  Four rows
 * go at once: the weights are loaded once, and eight sums hide the latency.
 *
 * Vertically, bytes of two rows are interleaved.  Unpacking and packing both work
 * within 128 bits, so what one takes apart the other puts together again.
 */
#if defined(__x86_64__)

#include "image/resize_kernels.h"

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

/* the sum of both halves, still one for each of two taps: r r g g || b b - - */
static inline __m256i
whole(__m256i high, __m256i low)
{
	return _mm256_add_epi32(_mm256_slli_epi32(high, DS_RESIZE_LOW_BITS), low);
}

/* taps of two pixels added, rounded: r0 g0 r1 g1 || b0 - b1 - */
static inline __m256i
rounded(__m256i first, __m256i second)
{
	const __m256i half = _mm256_set1_epi32(1 << (DS_RESIZE_BITS - 1));

	return _mm256_srai_epi32(_mm256_add_epi32(_mm256_hadd_epi32(first, second), half),
							 DS_RESIZE_BITS);
}

/* four pixels, one in each 32 bits: of a = rounded(p0, p1) and b = rounded(p2, p3) */
static inline __m128i
pack(__m256i a, __m256i b)
{
	const __m128i order = _mm_setr_epi8(0, 1, 8, -1, 2, 3, 10, -1, 4, 5, 12, -1, 6, 7, 14, -1);
	__m256i words = _mm256_packs_epi32(a, b);

	return _mm_shuffle_epi8(
		_mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)), order);
}

static inline void
store(uint32_t pixel, bool last, uint8_t *out)
{
	/* a fourth byte is written over by the next pixel */
	if (last)
		memcpy(out, &pixel, 3);
	else
		memcpy(out, &pixel, 4);
}

static inline __m256i
load_pixels(const uint8_t *p)
{
	const __m256i order =
		_mm256_setr_epi8(0, -1, 3, -1, 6, -1, 9, -1, 1, -1, 4, -1, 7, -1, 10, -1, 2, -1, 5, -1, 8,
						 -1, 11, -1, -1, -1, -1, -1, -1, -1, -1, -1);

	return _mm256_shuffle_epi8(
		_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *) (const void *) p)), order);
}

static inline __m256i
load_weights(const int16_t *p)
{
	int64_t four;

	memcpy(&four, p, sizeof(four));
	return _mm256_set1_epi64x(four);
}

/* rows is a constant at each call: the arrays are registers */
static inline __attribute__((always_inline)) void
horizontal_rows(const DsResizeAxis *axis, const uint8_t *const *in, uint8_t *const *out,
				const size_t rows)
{
	for (uint32_t i = 0; i < axis->count; i++)
	{
		const int16_t *high_weights = axis->high + (size_t) i * axis->stride;
		const int16_t *low_weights = axis->low + (size_t) i * axis->stride;
		size_t at = (size_t) axis->first[i] * 3;
		__m256i high[4], low[4];

		for (size_t r = 0; r < rows; r++)
			high[r] = low[r] = _mm256_setzero_si256();
		for (uint32_t t = 0; t < axis->taps[i]; t += 4, at += 12)
		{
			__m256i h = load_weights(high_weights + t);
			__m256i l = load_weights(low_weights + t);

			for (size_t r = 0; r < rows; r++)
			{
				__m256i pixels = load_pixels(in[r] + at);

				high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(pixels, h));
				low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(pixels, l));
			}
		}
		if (rows == 4)
		{
			__m128i pixels = pack(rounded(whole(high[0], low[0]), whole(high[1], low[1])),
								  rounded(whole(high[2], low[2]), whole(high[3], low[3])));
			bool last = i + 1 == axis->count;

			store((uint32_t) _mm_cvtsi128_si32(pixels), last, out[0] + (size_t) i * 3);
			store((uint32_t) _mm_extract_epi32(pixels, 1), last, out[1] + (size_t) i * 3);
			store((uint32_t) _mm_extract_epi32(pixels, 2), last, out[2] + (size_t) i * 3);
			store((uint32_t) _mm_extract_epi32(pixels, 3), last, out[3] + (size_t) i * 3);
		}
		else
		{
			__m256i one = rounded(whole(high[0], low[0]), _mm256_setzero_si256());

			store((uint32_t) _mm_cvtsi128_si32(pack(one, one)), true, out[0] + (size_t) i * 3);
		}
	}
}

static void
horizontal(const DsResizeAxis *axis, const uint8_t *const *in, uint8_t *const *out, size_t rows)
{
	if (rows == 4)
		horizontal_rows(axis, in, out, 4);
	else
		for (size_t r = 0; r < rows; r++)
			horizontal_rows(axis, in + r, out + r, 1);
}

/* 32 columns */
static inline void
vertical_block(const uint8_t *in, size_t stride, uint32_t taps, const int16_t *high_weights,
			   const int16_t *low_weights, uint8_t *out)
{
	const __m256i zero = _mm256_setzero_si256();
	const __m256i half = _mm256_set1_epi32(1 << (DS_RESIZE_BITS - 1));
	__m256i high[4] = {zero, zero, zero, zero};
	__m256i low[4] = {half, half, half, half};

	for (uint32_t t = 0; t < taps; t += 2)
	{
		const uint8_t *second = in + (t + 1 < taps ? stride : 0); /* times a weight of zero */
		__m256i a = _mm256_loadu_si256((const __m256i *) (const void *) in);
		__m256i b = _mm256_loadu_si256((const __m256i *) (const void *) second);
		__m256i left = _mm256_unpacklo_epi8(a, b);
		__m256i right = _mm256_unpackhi_epi8(a, b);
		__m256i pairs[4] = {_mm256_unpacklo_epi8(left, zero), _mm256_unpackhi_epi8(left, zero),
							_mm256_unpacklo_epi8(right, zero), _mm256_unpackhi_epi8(right, zero)};
		int32_t two;
		__m256i h, l;

		memcpy(&two, high_weights + t, sizeof(two));
		h = _mm256_set1_epi32(two);
		memcpy(&two, low_weights + t, sizeof(two));
		l = _mm256_set1_epi32(two);
		for (size_t i = 0; i < 4; i++)
		{
			high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(pairs[i], h));
			low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(pairs[i], l));
		}
		in += 2 * stride;
	}
	for (size_t i = 0; i < 4; i++)
		high[i] = _mm256_srai_epi32(
			_mm256_add_epi32(_mm256_slli_epi32(high[i], DS_RESIZE_LOW_BITS), low[i]),
			DS_RESIZE_BITS);
	_mm256_storeu_si256((__m256i *) (void *) out,
						_mm256_packus_epi16(_mm256_packs_epi32(high[0], high[1]),
											_mm256_packs_epi32(high[2], high[3])));
}

static void
vertical(const uint8_t *in, size_t stride, size_t bytes, uint32_t taps, const int32_t *weights,
		 const int16_t *high, const int16_t *low, uint8_t *out)
{
	size_t x = 0;

	for (; x + 32 <= bytes; x += 32)
		vertical_block(in + x, stride, taps, high, low, out + x);
	if (x == bytes)
		return;
	if (bytes >= 32) /* some columns twice */
		vertical_block(in + bytes - 32, stride, taps, high, low, out + bytes - 32);
	else
		ds_resize_kernels_portable.vertical(in, stride, bytes, taps, weights, high, low, out);
}

const DsResizeKernels ds_resize_kernels_avx2 = {horizontal, vertical};

#endif
