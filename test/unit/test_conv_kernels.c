/*
 * test_conv_kernels.c
 *		The kernels of convolutions at every level of processor against plain loops in
 *		double precision.
 */
#include "unit.h"

#include <math.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/random.h"
#include "nn/conv_kernels.h"

#define MOST 4096

static DsRandom dice;
static float x[MOST * 4];
static float d[MOST * 4];
static float w[MOST * 4];
static float panels[MOST * 16];
static float out[MOST * 4];
static float other[4][256];
static double expected[MOST * 4];

static void
fill(float *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		at[i] = (float) ds_random_normal(&dice);
}

/* the largest difference */
static double
apart(const float *a, size_t n)
{
	double worst = 0;

	for (size_t i = 0; i < n; i++)
		worst = fmax(worst, isfinite(a[i]) ? fabs((double) a[i] - expected[i]) : HUGE_VAL);
	return worst;
}

static void
test_products(const DsConvKernels *kernels, const char *level, size_t pixels, size_t segments,
			  size_t length, size_t outs)
{
	uint32_t at[64];
	size_t depth = segments * length;
	size_t ldd = (outs + kernels->lanes - 1) / kernels->lanes * kernels->lanes;
	DsWindows windows = {x, at, pixels, segments, length, 37};

	for (size_t p = 0; p < pixels; p++)
		at[p] = (uint32_t) ds_random_below(&dice, 300);
	fill(x, MOST);
	fill(w, depth * outs);
	fill(d, pixels * ldd);
	fill(other[0], outs);
	kernels->pack(w, outs, 1, depth, outs, panels);
	kernels->forward(&windows, panels, outs, other[0], out, outs);
	for (size_t p = 0; p < pixels; p++)
		for (size_t o = 0; o < outs; o++)
		{
			double sum = (double) other[0][o];

			for (size_t k = 0; k < depth; k++)
				sum += (double) x[at[p] + k / length * 37 + k % length] * (double) w[k * outs + o];
			expected[p * outs + o] = sum;
		}
	CHECK(apart(out, pixels * outs) < 1e-4, "%s: %zu windows of %zu x %zu to %zu", level, pixels,
		  segments, length, outs);
	/* the same weight, turned */
	for (size_t k = 0; k < depth; k++)
		for (size_t o = 0; o < outs; o++)
			out[o * depth + k] = w[k * outs + o];
	memcpy(w, out, depth * outs * sizeof(float));
	memset(panels, 0xff, ds_panels_size(kernels, depth, outs) * sizeof(float));
	kernels->pack(w, 1, depth, depth, outs, panels);
	kernels->forward(&windows, panels, outs, other[0], out, outs);
	CHECK(apart(out, pixels * outs) < 1e-4, "%s: the same, packed by columns", level);

	fill(w, depth * outs);
	for (size_t k = 0; k < depth; k++)
		for (size_t o = 0; o < outs; o++)
		{
			double sum = (double) w[k * outs + o];

			for (size_t p = 0; p < pixels; p++)
				sum += (double) x[at[p] + k / length * 37 + k % length] * (double) d[p * ldd + o];
			expected[k * outs + o] = sum;
		}
	kernels->weight(&windows, d, ldd, outs, w);
	CHECK(apart(w, depth * outs) < 1e-4, "%s: the gradient by the weight", level);
}

static void
test_channels(const DsConvKernels *kernels, const char *level, size_t pixels, size_t channels)
{
	size_t n = pixels * channels;
	float *sum = other[0];
	float *product = other[1];
	float *mean = other[2];
	float *scale = other[3];
	static float shift[256];
	static float a[256];

	fill(x, n);
	fill(mean, channels);
	fill(scale, channels);
	fill(shift, channels);
	fill(a, channels);
	fill(d, n);
	memset(expected, 0, channels * sizeof(double));
	memset(sum, 0, channels * sizeof(float));
	for (size_t i = 0; i < n; i++)
		expected[i % channels] += (double) x[i];
	kernels->sums(x, pixels, channels, sum);
	CHECK(apart(sum, channels) < 1e-4, "%s: sums of %zu x %zu", level, pixels, channels);
	memset(expected, 0, channels * sizeof(double));
	memset(sum, 0, channels * sizeof(float));
	for (size_t i = 0; i < n; i++)
		expected[i % channels] += pow((double) (x[i] - mean[i % channels]), 2);
	kernels->squares(x, pixels, channels, mean, sum);
	CHECK(apart(sum, channels) < 1e-3, "%s: squares", level);
	for (int relu = 0; relu < 2; relu++)
	{
		for (size_t i = 0; i < n; i++)
		{
			double v = (double) x[i] * (double) scale[i % channels] + (double) shift[i % channels];

			expected[i] = relu && v < 0 ? 0 : v;
		}
		kernels->affine(x, pixels, channels, scale, shift, relu, out);
		CHECK(apart(out, n) < 1e-5, "%s: scaled (%d)", level, relu);
		memset(sum, 0, channels * sizeof(float));
		memset(product, 0, channels * sizeof(float));
		kernels->affine_sums(x, pixels, channels, scale, shift, relu, mean, d, sum, product);
		memset(expected, 0, channels * sizeof(double));
		for (size_t i = 0; i < n; i++)
			expected[i % channels] += relu && out[i] <= 0 ? 0 : (double) d[i];
		CHECK(apart(sum, channels) < 1e-4, "%s: sums of gradients (%d)", level, relu);
		memset(expected, 0, channels * sizeof(double));
		for (size_t i = 0; i < n; i++)
			expected[i % channels] +=
				relu && out[i] <= 0 ? 0 : (double) d[i] * (double) (x[i] - mean[i % channels]);
		CHECK(apart(product, channels) < 1e-4, "%s: and of products (%d)", level, relu);
		for (size_t i = 0; i < n; i++)
		{
			size_t c = i % channels;

			expected[i] = (relu && out[i] <= 0 ? 0 : (double) d[i] * (double) scale[c]) -
						  (double) ((x[i] - mean[c]) * a[c]) - (double) shift[c];
		}
		memcpy(w, d, n * sizeof(float));
		kernels->affine_backward(x, pixels, channels, scale, shift, relu, mean, a, shift, w);
		CHECK(apart(w, n) < 1e-5, "%s: and back (%d)", level, relu);
	}
}

static void
test_halves(const DsConvKernels *kernels, const char *level, size_t height, size_t width,
			size_t channels)
{
	size_t high = height / 2;
	size_t wide = width / 2;

	fill(x, height * width * channels);
	for (size_t i = 0; i < high * wide * channels; i++)
	{
		size_t c = i % channels;
		size_t row = i / channels / wide * 2;
		size_t column = i / channels % wide * 2;

		expected[i] = 0;
		for (size_t k = 0; k < 4; k++)
			expected[i] += (double) x[((row + k / 2) * width + column + k % 2) * channels + c] / 4;
	}
	kernels->halve(x, height, width, channels, out);
	CHECK(apart(out, high * wide * channels) < 1e-6, "%s: means of squares, %zu x %zu x %zu", level,
		  height, width, channels);
	for (size_t i = 0; i < height * width * channels; i++)
	{
		size_t row = i / channels / width / 2;
		size_t column = i / channels % width / 2;

		expected[i] = row < high && column < wide
						  ? (double) out[(row * wide + column) * channels + i % channels] / 4
						  : 0;
	}
	kernels->halve_backward(out, height, width, channels, x);
	CHECK(apart(x, height * width * channels) < 1e-6, "%s: and back", level);
}

int
main(void)
{
	static const char *const names[] = {"portable", "AVX2", "AVX-512"};

	ds_random_init(&dice, 3, 0);
	for (int level = DS_CPU_PORTABLE; level <= (int) ds_cpu_level() && level <= DS_CPU_AVX512;
		 level++)
	{
		const DsConvKernels *kernels = ds_conv_kernels_at(level);
		const char *name = names[level];

		for (size_t pixels = 1; pixels < 20; pixels += pixels < 9 ? 1 : 5)
			test_products(kernels, name, pixels, 1 + pixels % 4, 1 + pixels * 5 % 13,
						  1 + pixels * 7 % 60);
		test_products(kernels, name, 17, 3, 9, 32);
		test_products(kernels, name, 16, 3, 12, 48);
		for (size_t channels = 1; channels < 50; channels += 15)
			test_channels(kernels, name, 11, channels);
		test_channels(kernels, name, 9, 48);
		test_halves(kernels, name, 6, 8, 16);
		test_halves(kernels, name, 5, 7, 19);
	}
	return unit_done();
}
