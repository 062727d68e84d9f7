/*
 * encoder_loops.h
 *		The source of the encoders' kernels (see encoder_kernels.h); included by
 *		each file that compiles it for a kind of processor.
 *
 * VECTOR_BYTES is the width of a register, TILE_ROWS and TILE_PANELS the tile of
 * a product, HAVE_VNNI, HAVE_BF16 and HAVE_AMX say which instructions there are,
 * KERNELS_NAME and KERNELS_TITLE name the table.
 */
#include "nn/encoder_kernels.h"
#include "nn/encoder_spec.h"
#include "nn/encoder_vector.h"

#include "nn/encoder_pack.h"
#include "nn/encoder_product.h"
#include "nn/encoder_product_f32.h"
#if HAVE_AMX
#include "nn/encoder_amx.h"
#endif

static void
quantize(const float *x, size_t n, uint32_t top, uint8_t *out, float *scale, int32_t *zero)
{
	/* several at once: each waits for the one before it */
	vector low[4] = {{0}};
	vector high[4] = {{0}};
	float least;
	float most;
	float inverse;
	size_t i = 0;

	for (; i + 4 * LANES <= n; i += 4 * LANES)
#pragma GCC unroll 4
		for (size_t k = 0; k < 4; k++)
		{
			vector v = load(x + i + k * LANES);

			low[k] = smaller_of(low[k], v);
			high[k] = larger_of(high[k], v);
		}
	for (; i < n; i += LANES)
	{
		vector v = n - i < LANES ? load_part(x + i, n - i) : load(x + i);

		low[0] = smaller_of(low[0], v);
		high[0] = larger_of(high[0], v);
	}
	low[0] = smaller_of(smaller_of(low[0], low[1]), smaller_of(low[2], low[3]));
	high[0] = larger_of(larger_of(high[0], high[1]), larger_of(high[2], high[3]));
	least = -top_of(-low[0]);
	most = top_of(high[0]);
	*scale = (most - least) / (float) top;
	/* all zero, or too small for a scale: every value is the one that stands for zero */
	inverse = *scale > 1e-30f ? 1.0f / *scale : 0.0f;
	*zero = (int32_t) (-least * inverse + 0.5f);
	i = 0;
#if VECTOR_BYTES == 64
	for (; i + LANES <= n; i += LANES)
	{
		/* within 0 .. top up to one rounding, which saturation takes off at 255 */
		vector v = smaller_of(load(x + i) * inverse + (float) *zero, all((float) top));

		_mm_storeu_si128((__m128i *) (out + i),
						 _mm512_cvtusepi32_epi8((__m512i) to_integers(larger_of(v, (vector){0}))));
	}
#endif
	for (; i < n; i++)
	{
		float v = x[i] * inverse + (float) *zero + 0.5f;

		v = v < (float) top ? v : (float) top;
		out[i] = (uint8_t) (v > 0 ? v : 0);
	}
}

static void
norm(const float *x, size_t n, const float *weight, const float *bias, float epsilon, float *out)
{
	vector sum[4] = {{0}};
	float mean;
	float factor;
	size_t i = 0;

	for (; i + 4 * LANES <= n; i += 4 * LANES)
#pragma GCC unroll 4
		for (size_t k = 0; k < 4; k++)
			sum[k] += load(x + i + k * LANES);
	for (; i < n; i += LANES)
		sum[0] += n - i < LANES ? load_part(x + i, n - i) : load(x + i);
	mean = sum_of((sum[0] + sum[1]) + (sum[2] + sum[3])) / (float) n;
	memset(sum, 0, sizeof(sum));
	for (i = 0; i + 4 * LANES <= n; i += 4 * LANES)
#pragma GCC unroll 4
		for (size_t k = 0; k < 4; k++)
		{
			vector d = load(x + i + k * LANES) - mean;

			sum[k] += d * d;
		}
	for (; i + LANES <= n; i += LANES)
	{
		vector d = load(x + i) - mean;

		sum[0] += d * d;
	}
	factor = sum_of((sum[0] + sum[1]) + (sum[2] + sum[3]));
	for (; i < n; i++)
		factor += (x[i] - mean) * (x[i] - mean);
	factor = 1.0f / sqrtf(factor / (float) n + epsilon);
	for (i = 0; i + LANES <= n; i += LANES)
	{
		vector v = (load(x + i) - mean) * factor * load(weight + i);

		store(out + i, bias != NULL ? v + load(bias + i) : v);
	}
	for (; i < n; i++)
		out[i] = (x[i] - mean) * factor * weight[i] + (bias != NULL ? bias[i] : 0.0f);
}

/* narrow: NULL, or the place for the result in bf16 */
INLINE float
softmax_to(float *x, size_t n, float scale, const float *bias, uint16_t *narrow)
{
	vector top = all(-INFINITY);
	vector sum = {0};
	float greatest;
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
	{
		vector v = load(x + i) * scale;

		if (bias != NULL)
		{
			v += load(bias + i);
			store(x + i, v);
		}
		top = larger_of(top, v);
	}
	greatest = top_of(top);
	for (size_t k = i; k < n; k++)
	{
		float v = x[k] * scale;

		if (bias != NULL)
			x[k] = v = v + bias[k];
		greatest = v > greatest ? v : greatest;
	}
	if (bias != NULL)
		scale = 1;
	for (i = 0; i + LANES <= n; i += LANES)
	{
		vector e = exponential(load(x + i) * scale - greatest);

		if (narrow == NULL)
			store(x + i, e);
		else
			store_bf16(narrow + i, e);
		sum += e;
	}
	if (i < n)
	{
		vector e = exponential(load_part(x + i, n - i) * scale - greatest);

		for (size_t k = 0; k < n - i; k++)
		{
			sum[k] += e[k];
			if (narrow != NULL)
				narrow[i + k] = bf16_of(e[k]);
		}
		if (narrow == NULL)
			store_part(x + i, e, n - i);
	}
	return sum_of(sum);
}

static float
softmax(float *x, size_t n, float scale, const float *bias)
{
	return softmax_to(x, n, scale, bias, NULL);
}

static float
softmax_bf16(float *x, size_t n, float scale, const float *bias, uint16_t *out)
{
	return softmax_to(x, n, scale, bias, out);
}

static void
activate(float *x, size_t n, uint32_t activation)
{
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		store(x + i, act_on(load(x + i), activation));
	if (i < n)
		store_part(x + i, act_on(load_part(x + i, n - i), activation), n - i);
}

static void
gate(float *restrict gates, const float *restrict up, size_t n, uint32_t activation)
{
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		store(gates + i, act_on(load(gates + i), activation) * load(up + i));
	if (i < n)
		store_part(gates + i,
				   act_on(load_part(gates + i, n - i), activation) * load_part(up + i, n - i),
				   n - i);
}

static void
add(float *restrict x, const float *restrict y, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] += y[i];
}

static void
larger(float *restrict x, const float *restrict y, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = y[i] > x[i] ? y[i] : x[i];
}

static void
add_scaled(float *restrict x, const float *restrict y, size_t n, float factor)
{
	for (size_t i = 0; i < n; i++)
		x[i] += factor * y[i];
}

static void
add_scaled_bf16(float *restrict x, const uint16_t *restrict y, size_t n, float factor)
{
	for (size_t i = 0; i < n; i++)
	{
		uint32_t bits = (uint32_t) y[i] << 16;
		float value;

		memcpy(&value, &bits, sizeof(value));
		x[i] += factor * value;
	}
}

static void
rotate(float *restrict x, const float *restrict cosines, const float *restrict sines, size_t half)
{
	for (size_t c = 0; c < half; c++)
	{
		float a = x[c];
		float b = x[half + c];

		x[c] = a * cosines[c] - b * sines[c];
		x[half + c] = b * cosines[c] + a * sines[c];
	}
}

static float
dot(const float *x, const float *y, size_t n)
{
	vector sum[2] = {{0}, {0}};
	float tail = 0;
	size_t i = 0;

	for (; i + 2 * LANES <= n; i += 2 * LANES)
	{
		sum[0] += load(x + i) * load(y + i);
		sum[1] += load(x + i + LANES) * load(y + i + LANES);
	}
	for (; i < n; i++)
		tail += x[i] * y[i];
	return sum_of(sum[0] + sum[1]) + tail;
}

const DsEncoderKernels KERNELS_NAME = {
	.name = KERNELS_TITLE,
	.bf16_rows = HAVE_BF16,
	.quantize_top = HAVE_VNNI ? 255 : 127,
	.product_f32 = product_f32,
#if HAVE_AMX
	.bf16_ins = AMX_BYTES / sizeof(uint16_t),
	.product_bf16 = product_bf16_amx,
	.product_int8 = product_int8_amx,
#else
	.bf16_ins = 2,
	.product_bf16 = product_bf16,
	.product_int8 = product_int8,
#endif
	.to_bf16 = to_bf16,
	.quantize = quantize,
	.norm = norm,
	.softmax = softmax,
	.softmax_bf16 = softmax_bf16,
	.activate = activate,
	.gate = gate,
	.add = add,
	.larger = larger,
	.add_scaled = add_scaled,
	.add_scaled_bf16 = add_scaled_bf16,
	.transpose = transpose,
	.transpose_bf16 = transpose_bf16,
	.columns = columns,
	.columns_bf16 = columns_bf16,
	.rotate = rotate,
	.dot = dot,
};
