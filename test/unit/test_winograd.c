/*
 * test_winograd.c
 *		Winograd's convolutions and their gradients at every level of processor against
 *		the definition in double precision.
 */
#include "unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/random.h"
#include "nn/conv_kernels.h"

typedef struct Case
{
	size_t height; /* of what comes in */
	size_t width;
	size_t pad;
	size_t ins;
	size_t outs;
	bool relu;
	bool residual;
} Case;

#define PICTURES 2

static DsRandom dice;

static float *
numbers(size_t n)
{
	/* rounded up to nothing: a read beyond the end is found */
	float *x = malloc(n * sizeof(float));

	for (size_t i = 0; i < n; i++)
		x[i] = (float) ds_random_normal(&dice);
	return x;
}

/* x of the window's place (a, b) of output (i, j), or zero */
static double
seen(const Case *k, const float *x, size_t g, size_t i, size_t j, size_t place, size_t c)
{
	size_t row = i + place / 3 - k->pad;
	size_t column = j + place % 3 - k->pad;

	return row < k->height && column < k->width
			   ? (double) x[((g * k->height + row) * k->width + column) * k->ins + c]
			   : 0;
}

static void
test_case(const DsConvKernels *kernels, int level, const Case *k)
{
	size_t height = k->height + 2 * k->pad - 2;
	size_t width = k->width + 2 * k->pad - 2;
	size_t outputs = PICTURES * height * width * k->outs;
	size_t tiles = PICTURES * ds_winograd_tiles(height, width);
	size_t group = ds_winograd_group(k->ins, k->outs);
	size_t padded = ds_winograd_padded(k->outs);
	float *x = numbers(PICTURES * k->height * k->width * k->ins);
	float *weight = numbers(9 * k->ins * k->outs);
	float *bias = numbers(k->outs);
	float *residual = numbers(outputs);
	float *y = numbers(outputs);
	float *again = numbers(outputs);
	size_t size = ds_panels_size(kernels, 9 * k->ins, k->outs);
	float *panels = numbers(size);
	float *points = calloc(36 * k->ins * padded, sizeof(float));
	float *gradient = numbers(9 * k->ins * padded);
	size_t scratch = ds_winograd_scratch(k->ins, k->outs);
	size_t gathers = ds_winograd_gradient_scratch(k->ins, k->outs);
	DsWinograd w = {
		.pictures = PICTURES,
		.x = {x, k->height * k->width * k->ins, k->width * k->ins, k->ins},
		.in_height = k->height,
		.in_width = k->width,
		.pad = k->pad,
		.ins = k->ins,
		.outs = k->outs,
		.height = height,
		.width = width,
		.panels = panels,
		.panel_width = kernels->width,
		.bias = bias,
		.relu = k->relu,
		.y = {y, height * width * k->outs, width * k->outs, k->outs},
		.scratch = aligned_alloc(64, (scratch > gathers ? scratch : gathers) * 4 / 64 * 64 + 64)};
	double worst = 0;
	double largest = 1;

	/* weight[place, in, out] to panels */
	memset(panels, 0, size * sizeof(float));
	for (size_t r = 0; r < 9 * k->ins; r++)
		for (size_t o = 0; o < k->outs; o++)
			panels[(o / kernels->width * 9 * k->ins + r) * kernels->width + o % kernels->width] =
				weight[r * k->outs + o];
	if (k->residual)
		w.residual = (DsPictures){residual, w.y.picture, w.y.row, w.y.column};
	for (size_t first = 0; first < tiles; first += group)
		kernels->winograd->run(&w, first, tiles - first < group ? tiles - first : group);
	for (size_t n = 0; n < outputs; n++)
	{
		size_t o = n % k->outs;
		size_t at = n / k->outs;
		double sum = (double) bias[o] + (k->residual ? (double) residual[n] : 0);

		for (size_t place = 0; place < 9; place++)
			for (size_t c = 0; c < k->ins; c++)
				sum +=
					seen(k, x, at / (height * width), at / width % height, at % width, place, c) *
					(double) weight[(place * k->ins + c) * k->outs + o];
		sum = k->relu ? fmax(sum, 0) : sum;
		largest = fmax(largest, fabs(sum));
		worst = fmax(worst, isfinite(y[n]) ? fabs((double) y[n] - sum) : HUGE_VAL);
	}
	CHECK(worst < 3e-6 * largest, "level %d, %zu x %zu, pad %zu, %zu to %zu: within %.1e of %.0f",
		  level, k->height, k->width, k->pad, k->ins, k->outs, worst, largest);
	w.y.at = again;
	for (size_t first = 0; first < tiles; first++)
		kernels->winograd->run(&w, first, 1);
	CHECK(memcmp(y, again, outputs * sizeof(float)) == 0, "each tile alone: the same to the bit");
	w.y.at = residual;
	group = ds_winograd_gradient_group(k->ins, k->outs);
	for (size_t first = 0; first < tiles; first += group)
		kernels->winograd->gradient(&w, first, tiles - first < group ? tiles - first : group,
									points);
	kernels->winograd->collect(points, k->ins * padded, gradient);
	worst = 0;
	largest = 1;
	for (size_t n = 0; n < 9 * k->ins * k->outs; n++)
	{
		size_t o = n % k->outs;
		size_t c = n / k->outs % k->ins;
		double sum = 0;
		float got = gradient[n / k->outs * padded + o];

		for (size_t at = 0; at < PICTURES * height * width; at++)
			sum += seen(k, x, at / (height * width), at / width % height, at % width,
						n / k->outs / k->ins, c) *
				   (double) residual[at * k->outs + o];
		largest = fmax(largest, fabs(sum));
		worst = fmax(worst, isfinite(got) ? fabs((double) got - sum) : HUGE_VAL);
	}
	CHECK(worst < 3e-6 * largest, "its gradient by the weight: within %.1e of %.0f", worst,
		  largest);
	free(x);
	free(weight);
	free(bias);
	free(residual);
	free(y);
	free(again);
	free(panels);
	free(points);
	free(gradient);
	free(w.scratch);
}

int
main(void)
{
	static const Case cases[] = {
		{8, 8, 1, 16, 16, false, false},  {7, 9, 1, 17, 23, true, true},
		{5, 3, 1, 24, 40, true, false},	  {6, 10, 0, 33, 50, false, true},
		{4, 5, 2, 70, 64, true, true},	  {1, 2, 1, 16, 100, false, false},
		{13, 6, 1, 130, 49, false, true}, {3, 3, 0, 31, 18, false, false},
	};

	ds_random_init(&dice, 7, 0);
	CHECK(ds_winograd_pays(64, 64, 56, 56, 1) && ds_winograd_pays(16, 16, 32, 32, 1) &&
			  !ds_winograd_pays(15, 64, 56, 56, 1) && !ds_winograd_pays(64, 15, 56, 56, 1),
		  "worth while from 16 channels on");
	CHECK(!ds_winograd_pays(512, 512, 7, 7, 1) && ds_winograd_pays(512, 512, 7, 7, 8) &&
			  !ds_winograd_pays(64, 64, 1, 1, 16),
		  "and where there are tiles enough, and not mostly empty");
	for (int level = 0; level <= (int) ds_cpu_level(); level++)
	{
		const DsConvKernels *kernels = ds_conv_kernels_at(level);

		for (size_t i = 0; kernels != NULL && i < sizeof(cases) / sizeof(cases[0]); i++)
			test_case(kernels, level, &cases[i]);
	}
	return unit_done();
}
