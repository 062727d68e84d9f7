/*
 * simd_body.h
 *		The source of the kernels (see simd.h); included by each file that
 *		compiles it for a kind of processor.
 *
 * VECTOR_BYTES is the width of a register, KERNELS_NAME the name of the table.
 * Where values must stay in registers across a loop, GCC's vector types say
 * so; the other loops are plain, and written so that a compiler vectorises
 * them without being allowed to reorder arithmetic: sums go to LANES partial
 * sums.
 */
#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "nn/vector.h"

#define BLOCK 8 /* registers that a row's block of columns takes */
#define BAG_AHEAD 6 /* rows between the one that is fetched and the one that is added */

static void
bag(const ds_real *rows, size_t dims, const uint32_t *ids, size_t n, ds_real scale, ds_real *out)
{
	size_t c = 0;

	for (; c + BLOCK * LANES <= dims; c += BLOCK * LANES)
	{
		vector sum[BLOCK] = {{0}};

		for (size_t i = 0; i < n; i++)
		{
			const ds_real *row = rows + (size_t) ids[i] * dims + c;

			if (i + BAG_AHEAD < n)
			{
				const ds_real *next = rows + (size_t) ids[i + BAG_AHEAD] * dims + c;

#pragma GCC unroll 8
				for (size_t b = 0; b < BLOCK * VECTOR_BYTES; b += 64)
					__builtin_prefetch((const char *) next + b, 0, 3);
			}
#pragma GCC unroll 8
			for (size_t b = 0; b < BLOCK; b++)
				sum[b] += load(row + b * LANES);
		}
#pragma GCC unroll 8
		for (size_t b = 0; b < BLOCK; b++)
			store(out + c + b * LANES, sum[b] * scale);
	}
	for (; c + LANES <= dims; c += LANES)
	{
		vector sum = {0};

		for (size_t i = 0; i < n; i++)
			sum += load(rows + (size_t) ids[i] * dims + c);
		store(out + c, sum * scale);
	}
	for (; c < dims; c++)
	{
		ds_real sum = 0;

		for (size_t i = 0; i < n; i++)
			sum += rows[(size_t) ids[i] * dims + c];
		out[c] = sum * scale;
	}
}

#if !defined(DS_NN_DOUBLE) && VECTOR_BYTES == 64
#define HAVE_SHORT 1
#define load_i8(p) \
	((vector) _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *) (p)))))
#define load_f16(p) ((vector) _mm512_cvtph_ps(_mm256_loadu_si256((const void *) (p))))
#define load_bf16(p) \
	((vector) _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *) (p))), 16))
#elif !defined(DS_NN_DOUBLE) && VECTOR_BYTES == 32
#define HAVE_SHORT 1
#define load_i8(p) \
	((vector) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *) (p)))))
#define load_f16(p) ((vector) _mm256_cvtph_ps(_mm_loadu_si128((const void *) (p))))
#define load_bf16(p) \
	((vector) _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *) (p))), 16))
#endif

/* What is left of a row, or all of it where there are no such loads: columns first to dims - 1 */
static void
bag_short_rest(const DsShortTable *table, size_t dims, const uint32_t *ids, size_t n, ds_real scale,
			   size_t first, ds_real *out)
{
	size_t size = ds_dtype_bits(table->dtype) / 8;
	float numbers[64];

	for (size_t c = first; c < dims; c += 64)
	{
		size_t columns = dims - c < 64 ? dims - c : 64;
		ds_real sum[64] = {0};

		for (size_t i = 0; i < n; i++)
		{
			float factor = table->scales != NULL ? table->scales[ids[i]] : 1;

			ds_dtype_to_float(table->dtype,
							  (const char *) table->rows + ((size_t) ids[i] * dims + c) * size,
							  columns, numbers);
			for (size_t j = 0; j < columns; j++)
				numbers[j] *= factor;
			for (size_t j = 0; j < columns; j++)
				sum[j] += numbers[j];
		}
		for (size_t j = 0; j < columns; j++)
			out[c + j] = sum[j] * scale;
	}
}

#ifdef HAVE_SHORT
/* BLOCK registers of columns at once, then one */
#define BAG_COLUMNS(type, size, registers, multiply)                                         \
	for (; c + (registers) *LANES <= dims; c += (registers) *LANES)                          \
	{                                                                                        \
		vector sum[registers] = {{0}};                                                       \
		for (size_t i = 0; i < n; i++)                                                       \
		{                                                                                    \
			const char *row = rows + ((size_t) ids[i] * dims + c) * (size);                  \
			if (i + BAG_AHEAD < n)                                                           \
			{                                                                                \
				const char *next = rows + ((size_t) ids[i + BAG_AHEAD] * dims + c) * (size); \
				for (size_t b = 0; b < (registers) *LANES * (size); b += 64)                 \
					__builtin_prefetch(next + b, 0, 3);                                      \
			}                                                                                \
			_Pragma("GCC unroll 8") for (size_t b = 0; b < (registers); b++)                 \
			{                                                                                \
				vector x = load_##type(row + b * LANES * (size));                            \
				sum[b] += (multiply) ? unfused(x * table->scales[ids[i]]) : x;               \
			}                                                                                \
		}                                                                                    \
		_Pragma("GCC unroll 8") for (size_t b = 0; b < (registers); b++)                     \
			store(out + c + b * LANES, sum[b] * scale);                                      \
	}

#define BAG_SHORT(name, type, size, multiply)                                               \
	static void name(const DsShortTable *table, size_t dims, const uint32_t *ids, size_t n, \
					 ds_real scale, ds_real *out)                                           \
	{                                                                                       \
		const char *rows = table->rows;                                                     \
		size_t c = 0;                                                                       \
		BAG_COLUMNS(type, size, BLOCK, multiply)                                            \
		BAG_COLUMNS(type, size, 1, multiply)                                                \
		bag_short_rest(table, dims, ids, n, scale, c, out);                                 \
	}

BAG_SHORT(bag_i8, i8, 1, 1)
BAG_SHORT(bag_i8_plain, i8, 1, 0)
BAG_SHORT(bag_f16, f16, 2, 0)
BAG_SHORT(bag_bf16, bf16, 2, 0)
#endif

static void
bag_short(const DsShortTable *table, size_t dims, const uint32_t *ids, size_t n, ds_real scale,
		  ds_real *out)
{
#ifdef HAVE_SHORT
	if (table->dtype == DS_DTYPE_F16)
		bag_f16(table, dims, ids, n, scale, out);
	else if (table->dtype == DS_DTYPE_BF16)
		bag_bf16(table, dims, ids, n, scale, out);
	else if (table->scales != NULL)
		bag_i8(table, dims, ids, n, scale, out);
	else
		bag_i8_plain(table, dims, ids, n, scale, out);
#else
	bag_short_rest(table, dims, ids, n, scale, 0, out);
#endif
}

static void
dense_row(const ds_real *in, const ds_real *weight, const ds_real *bias, size_t ins, size_t outs,
		  ds_real *out)
{
	size_t c = 0;

	for (; c + BLOCK * LANES <= outs; c += BLOCK * LANES)
	{
		vector sum[BLOCK];

#pragma GCC unroll 8
		for (size_t b = 0; b < BLOCK; b++)
			sum[b] = load(bias + c + b * LANES);
		for (size_t i = 0; i < ins; i++)
		{
			const ds_real *row = weight + i * outs + c;

#pragma GCC unroll 8
			for (size_t b = 0; b < BLOCK; b++)
				sum[b] += in[i] * load(row + b * LANES);
		}
#pragma GCC unroll 8
		for (size_t b = 0; b < BLOCK; b++)
			store(out + c + b * LANES, sum[b]);
	}
	for (; c + LANES <= outs; c += LANES)
	{
		vector sum = load(bias + c);

		for (size_t i = 0; i < ins; i++)
			sum += in[i] * load(weight + i * outs + c);
		store(out + c, sum);
	}
	for (; c < outs; c++)
	{
		ds_real sum = bias[c];

		for (size_t i = 0; i < ins; i++)
			sum += in[i] * weight[i * outs + c];
		out[c] = sum;
	}
}

static ds_real
dot(const ds_real *a, const ds_real *b, size_t n)
{
	vector sum[4] = {{0}};
	ds_real total = 0;
	size_t i = 0;

	for (; i + 4 * LANES <= n; i += 4 * LANES)
	{
#pragma GCC unroll 4
		for (size_t k = 0; k < 4; k++)
			sum[k] += load(a + i + k * LANES) * load(b + i + k * LANES);
	}
	for (; i + LANES <= n; i += LANES)
		sum[0] += load(a + i) * load(b + i);
	sum[0] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
	for (size_t k = 0; k < LANES; k++)
		total += sum[0][k];
	for (; i < n; i++)
		total += a[i] * b[i];
	return total;
}

static ds_real
max(const ds_real *x, size_t n)
{
	ds_real lanes[LANES];
	ds_real top = x[0];
	size_t i = 0;

	for (size_t k = 0; k < LANES; k++)
		lanes[k] = top;
	for (; i + LANES <= n; i += LANES)
		for (size_t k = 0; k < LANES; k++)
			lanes[k] = x[i + k] > lanes[k] ? x[i + k] : lanes[k];
	for (; i < n; i++)
		top = x[i] > top ? x[i] : top;
	for (size_t k = 0; k < LANES; k++)
		top = lanes[k] > top ? lanes[k] : top;
	return top;
}

#ifdef DS_NN_DOUBLE
static inline vector
exponential_of(vector x)
{
	for (size_t k = 0; k < LANES; k++)
		x[k] = exp(x[k]);
	return x;
}

typedef int64_t integers __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int32_t integers __attribute__((vector_size(VECTOR_BYTES)));

/*
 * e^x for x <= 0, to about 1 part in 10^7: 2^k * 2^f with |f| <= 1/2, the second
 * by a polynomial (Taylor's, of ln 2 f), the first through the exponent's
 * bits.  Below -87 it is 0, NaN included only if x is.  A mask of -1 keeps a number,
 * 0 makes it 0.
 */
static inline vector
exponential_of(vector x)
{
	integers low = x < -87.0f;
	vector y = (vector) (((integers) x & ~low) | ((integers) ((vector){0} - 87.0f) & low));
	vector k = (y * 1.44269504f + 12582912.0f) - 12582912.0f; /* rounds to the nearest whole */
	vector r = (y - k * 0.693359375f) + k * 2.12194440e-4f; /* ln 2 in two parts */
	vector p = r * (1.0f / 5040) + 1.0f / 720;
	/* NaN must not meet the conversion to an integer */
	integers whole = __builtin_convertvector((vector) ((integers) k & (k == k)), integers);

	p = p * r + 1.0f / 120;
	p = p * r + 1.0f / 24;
	p = p * r + 1.0f / 6;
	p = p * r + 0.5f;
	p = p * r + 1.0f;
	p = p * r + 1.0f;
	return (vector) ((integers) (p * (vector) ((whole + 127) * (1 << 23))) & ~low);
}
#endif

static void
exponentials(ds_real *x, size_t n, ds_real scale, ds_real top, double *sum, double *weighted)
{
	vector sums = {0};
	vector products = {0};
	double total = 0;
	double product = 0;

	for (size_t i = 0; i < n; i += LANES)
	{
		size_t m = n - i < LANES ? n - i : LANES;
		/* what is behind the end counts as masked */
		vector old = (vector){0} - (ds_real) INFINITY;
		vector e;

		if (m == LANES)
			old = load(x + i);
		else
			memcpy(&old, x + i, m * sizeof(ds_real));
		e = exponential_of(scale * (old - top));
		if (m == LANES)
			store(x + i, e);
		else
			memcpy(x + i, &e, m * sizeof(ds_real));
		sums += e;
		/* a masked score is -infinity, and counts as 0 */
		products += (vector) ((integers) (e * old) & (e > 0));
	}
	for (size_t k = 0; k < LANES; k++)
	{
		total += (double) sums[k];
		product += (double) products[k];
	}
	*sum = total;
	*weighted = product;
}

static void
scale(ds_real *x, size_t n, ds_real factor)
{
	for (size_t i = 0; i < n; i++)
		x[i] *= factor;
}

static void
add(ds_real *restrict x, const ds_real *restrict y, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] += y[i];
}

#ifdef DS_NN_DOUBLE
#define square_root sqrt
#else
#define square_root sqrtf
#endif

#if !defined(DS_NN_DOUBLE) && VECTOR_BYTES == 64
#define HAVE_ROOTS 1
#define rough_root(x) ((vector) _mm512_rsqrt14_ps((__m512) (x)))
#define rough_inverse(x) ((vector) _mm512_rcp14_ps((__m512) (x)))
#define larger_of(x, y) ((vector) _mm512_max_ps((__m512) (x), (__m512) (y)))
#elif !defined(DS_NN_DOUBLE) && VECTOR_BYTES == 32
#define HAVE_ROOTS 1
#define rough_root(x) ((vector) _mm256_rsqrt_ps((__m256) (x)))
#define rough_inverse(x) ((vector) _mm256_rcp_ps((__m256) (x)))
#define larger_of(x, y) ((vector) _mm256_max_ps((__m256) (x), (__m256) (y)))
#endif

#ifdef HAVE_ROOTS
/*
 * 1 / (sqrt(x) + epsilon) to about 3 parts in 10^7, for x >= 0: estimates of 12 bits or
 * more, and a step of Newton's for each; a root and a division take three times as
 * long.  x below 2^-124 counts as that: its half must be a normal number, too.
 */
static inline vector
inverse_root(vector x, ds_real epsilon)
{
	vector y = larger_of(x, (vector){0} + 4.70197740e-38f);
	vector r = rough_root(y);
	vector s;
	vector q;

	r = r * (1.5f - 0.5f * y * r * r);
	s = y * r + epsilon;
	q = rough_inverse(s);
	return q * (2.0f - s * q);
}
#endif

static void
adam(const DsAdamFactors *factors, size_t n, const ds_real *restrict gradient,
	 ds_real *restrict value, ds_real *restrict mean, ds_real *restrict variance)
{
	DsAdamFactors f = *factors;
	size_t i = 0;

#ifdef HAVE_ROOTS
	for (; i + LANES <= n; i += LANES)
	{
		vector old = load(value + i);
		vector g = load(gradient + i) * f.gradient_scale + f.decay * old;
		vector m = f.beta1 * load(mean + i) + f.one_minus_beta1 * g;
		vector v = f.beta2 * load(variance + i) + f.one_minus_beta2 * g * g;

		store(mean + i, m);
		store(variance + i, v);
		store(value + i, old * f.keep - f.rate * m * inverse_root(v, f.epsilon));
	}
#endif
	for (; i < n; i++)
	{
		ds_real g = gradient[i] * f.gradient_scale + f.decay * value[i];
		ds_real m = f.beta1 * mean[i] + f.one_minus_beta1 * g;
		ds_real v = f.beta2 * variance[i] + f.one_minus_beta2 * g * g;

		mean[i] = m;
		variance[i] = v;
		value[i] = value[i] * f.keep - f.rate * m / (square_root(v) + f.epsilon);
	}
}

const DsNnKernels KERNELS_NAME = {
	.bag = bag,
	.bag_short = bag_short,
	.dense_row = dense_row,
	.dot = dot,
	.max = max,
	.exponentials = exponentials,
	.scale = scale,
	.add = add,
	.adam = adam,
};
