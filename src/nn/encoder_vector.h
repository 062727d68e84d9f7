/*
 * encoder_vector.h
 *		Registers of VECTOR_BYTES for the kernels of the encoders, and the
 *		functions of one variable on them.
 *
 * Arithmetic is written with GCC's vector types; what these do not have is
 * named here once for each width.
 */
#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "nn/vector.h"

typedef int32_t integers __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t words __attribute__((vector_size(VECTOR_BYTES)));

INLINE vector
all(float x)
{
	return x - (vector){0};
}

#if VECTOR_BYTES == 64
#define larger_of(a, b) ((vector) _mm512_max_ps((__m512) (a), (__m512) (b)))
#define smaller_of(a, b) ((vector) _mm512_min_ps((__m512) (a), (__m512) (b)))
#define sum_of(v) _mm512_reduce_add_ps((__m512) (v))
#define top_of(v) _mm512_reduce_max_ps((__m512) (v))
#define to_integers(v) ((integers) _mm512_cvtps_epi32((__m512) (v)))
#elif VECTOR_BYTES == 32
#define larger_of(a, b) ((vector) _mm256_max_ps((__m256) (a), (__m256) (b)))
#define smaller_of(a, b) ((vector) _mm256_min_ps((__m256) (a), (__m256) (b)))
#define to_integers(v) ((integers) _mm256_cvtps_epi32((__m256) (v)))
#elif defined(__SSE2__)
#define larger_of(a, b) ((vector) _mm_max_ps((__m128) (a), (__m128) (b)))
#define smaller_of(a, b) ((vector) _mm_min_ps((__m128) (a), (__m128) (b)))
#define to_integers(v) ((integers) _mm_cvtps_epi32((__m128) (v)))
#else
INLINE vector
choose(integers mask, vector a, vector b)
{
	return (vector) (((integers) a & mask) | ((integers) b & ~mask));
}
#define larger_of(a, b) choose((a) > (b), a, b)
#define smaller_of(a, b) choose((a) < (b), a, b)
/* to the nearest whole number, for values below 2^22 */
#define to_integers(v) __builtin_convertvector(((v) + 12582912.0f) - 12582912.0f, integers)
#endif

#ifndef sum_of
INLINE float
sum_of(vector v)
{
	float sum[LANES];

	memcpy(sum, &v, sizeof(v));
	for (size_t half = LANES / 2; half > 0; half /= 2)
		for (size_t i = 0; i < half; i++)
			sum[i] += sum[i + half];
	return sum[0];
}

INLINE float
top_of(vector v)
{
	float top = v[0];

	for (size_t i = 1; i < LANES; i++)
		top = v[i] > top ? v[i] : top;
	return top;
}
#endif

/*
 * e^x to about 1 part in 10^7: 2^k 2^f with |f| <= 1/2, the second by a
 * polynomial (Taylor's, of ln 2 f), the first through the exponent's bits.
 * Below -87 it stays at e^-87, above 88 at e^88.
 */
INLINE vector
exponential(vector x)
{
	vector y = smaller_of(larger_of(x, all(-87.0f)), all(88.0f));
	integers k = to_integers(y * 1.44269504f);
	vector whole = __builtin_convertvector(k, vector);
	vector r = (y - whole * 0.693359375f) + whole * 2.12194440e-4f; /* ln 2 in two parts */
	vector p = r * (1.0f / 5040) + 1.0f / 720;

	p = p * r + 1.0f / 120;
	p = p * r + 1.0f / 24;
	p = p * r + 1.0f / 6;
	p = p * r + 0.5f;
	p = p * r + 1.0f;
	p = p * r + 1.0f;
	return p * (vector) ((k + 127) << 23);
}

/* 1 / x for x >= 1; a division takes ten times as long as a multiplication */
INLINE vector
reciprocal(vector x)
{
#if VECTOR_BYTES == 64
	vector r = (vector) _mm512_rcp14_ps((__m512) x);

	return r * (2.0f - x * r);
#else
	return 1.0f / x;
#endif
}

/* 1 / (1 + e^-x) */
INLINE vector
logistic(vector x)
{
	return reciprocal(1.0f + exponential(-x));
}

/*
 * erf(x) = x P(x^2) / Q(x^2) for |x| <= 3.92, where it is one in f32; the
 * polynomials by test/unit/tools/erf.py.  Off by at most 4e-7.
 */
INLINE vector
error_function(vector x)
{
	vector c = smaller_of(larger_of(x, all(-3.92f)), all(3.92f));
	vector u = c * c;
	vector p = u * 2.034733370237518e-06f + 0.00028747908072546124f;
	vector q = u * 3.807060420513153e-05f + 0.001188113703392446f;

	p = p * u + 0.00386832351796329f;
	q = q * u + 0.015172290615737438f;
	p = p * u + 0.05306047573685646f;
	q = q * u + 0.11508459597826004f;
	p = p * u + 0.19276399910449982f;
	q = q * u + 0.5041643381118774f;
	p = p * u + 1.128378987312317f;
	q = q * u + 1.0f;
	return c * p * reciprocal(q);
}

/*
 * GELU to 1 part in 10,000, for rows that are rounded to 8 bits anyway: the
 * normal distribution is 1/2 + x P(x^2) for |x| <= 4, to 2.1e-5 (the best
 * polynomial of its degree, by test/unit/tools/erf.py), and stays there beyond.
 */
#define ROUGH_GELU 1000 /* in the place of a DsActivation */

INLINE vector
rough_gelu(vector x)
{
	vector c = smaller_of(larger_of(x, all(-4.0f)), all(4.0f));
	vector u = c * c;
	vector p = u * -1.580783837162869e-09f + 1.217109684148454e-07f;
	p = p * u + -4.1008634070749395e-06f;
	p = p * u + 8.066735608736053e-05f;
	p = p * u + -0.0010482041398063302f;
	p = p * u + 0.009664873592555523f;
	p = p * u + -0.06617537885904312f;
	p = p * u + 0.3988475203514099f;

	return x * (c * p + 0.5f);
}

INLINE vector
act_on(vector x, uint32_t activation)
{
	switch (activation)
	{
		case ROUGH_GELU:
			return rough_gelu(x);
		case DS_ACT_GELU:
			return 0.5f * x * (1.0f + error_function(x * 0.70710678f));
		case DS_ACT_GELU_TANH:
			/* (1 + tanh(u)) / 2 is the logistic function of 2 u */
			return x * logistic(x * (1.59576912f + 0.0713548163f * x * x));
		case DS_ACT_QUICK_GELU:
			return x * logistic(1.702f * x);
		case DS_ACT_RELU:
			return larger_of(x, (vector){0});
		case DS_ACT_SILU:
			return x * logistic(x);
		case DS_ACT_TANH:
			return 2.0f * logistic(2.0f * x) - 1.0f;
		case DS_ACT_SIGMOID:
			return logistic(x);
		default:
			return x;
	}
}

/* The first n < LANES values at p, the rest zero; and back */
INLINE vector
load_part(const float *p, size_t n)
{
	vector v = {0};

	memcpy(&v, p, n * sizeof(float));
	return v;
}

INLINE void
store_part(float *p, vector v, size_t n)
{
	memcpy(p, &v, n * sizeof(float));
}

#if VECTOR_BYTES == 64

/* 16 registers of 16 values, turned */
INLINE void
turn(__m512i r[16])
{
	__m512i t[16];

#pragma GCC unroll 8
	for (size_t i = 0; i < 16; i += 2)
	{
		t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
		t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
	}
#pragma GCC unroll 4
	for (size_t i = 0; i < 16; i += 4)
	{
		r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
		r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
		r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
		r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
	/* r[4 g + j]: column 4 q + j of rows 4 g .. 4 g + 3, for each quarter q */
#pragma GCC unroll 4
	for (size_t j = 0; j < 4; j++)
	{
		__m512i a = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88);
		__m512i b = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);
		__m512i c = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);
		__m512i d = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);

		t[j] = _mm512_shuffle_i32x4(a, c, 0x88);
		t[8 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
		t[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
		t[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
	}
#pragma GCC unroll 16
	for (size_t i = 0; i < 16; i++)
		r[i] = t[i];
}

#endif
