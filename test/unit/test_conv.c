/*
 * test_conv.c
 *		Layers over pictures: gradients against finite differences in double precision
 *		(as test_nn_gradient.c), and every kernel of every level against plain loops.
 */
#define DS_NN_DOUBLE 1

#include "unit.h"

#include "base/cpu.h"
#include "base/random.h"
#include "nn/conv_kernels.c"
#include "nn/winograd.c"
#include "nn/conv.c"

#define TOLERANCE 1e-5
#define STEP 1e-6

static DsRandom dice;
static DsArena arena;

static void
fill(double *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = ds_random_normal(&dice);
}

static double *
numbers(size_t n)
{
	double *x = ds_arena_zero(&arena, n + 1, sizeof(double));

	fill(x, n);
	return x;
}

typedef double (*Function)(void *context);

/* relative error of gradient[n] by x[n] of function */
static double
error_of(Function function, void *context, double *x, const double *gradient, size_t n)
{
	double worst = 0;
	double largest = 1e-9;

	for (size_t i = 0; i < n; i++)
	{
		double kept = x[i];
		double up;
		double difference;

		x[i] = kept + STEP;
		up = function(context);
		x[i] = kept - STEP;
		difference = (up - function(context)) / (2 * STEP);
		x[i] = kept;
		worst = fmax(worst, fabs(difference - gradient[i]));
		largest = fmax(largest, fabs(gradient[i]));
		if (!(fabs(difference - gradient[i]) < HUGE_VAL))
			return HUGE_VAL;
	}
	return worst / largest;
}

static double
weighted_sum(const double *c, const double *y, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += c[i] * y[i];
	return sum;
}

/*
 * Convolutions
 */

typedef struct Case
{
	DsConv conv;
	size_t pictures;
	double *weight;
	double *bias;
	double *x;
	double *y;
	double *c;
	size_t outputs;
} Case;

/* y, by the definition */
static void
plain(const Case *k, double *y)
{
	const DsConvShape *s = &k->conv.shape;

	for (size_t g = 0; g < k->pictures; g++)
		for (size_t i = 0; i < k->conv.out_height; i++)
			for (size_t j = 0; j < k->conv.out_width; j++)
				for (size_t o = 0; o < s->outs; o++)
				{
					double sum = k->bias[o];

					for (size_t a = 0; a < s->kernel_height; a++)
						for (size_t b = 0; b < s->kernel_width; b++)
							for (size_t c = 0; c < s->ins; c++)
							{
								size_t row = i * s->stride + a - s->pad;
								size_t column = j * s->stride + b - s->pad;

								if (row < s->height && column < s->width)
									sum +=
										k->x[((g * s->height + row) * s->width + column) * s->ins +
											 c] *
										k->weight[((o * s->ins + c) * s->kernel_height + a) *
													  s->kernel_width +
												  b];
							}
					*y++ = sum;
				}
}

static double
conv_loss(void *context)
{
	Case *k = context;

	ds_conv_load(&k->conv, k->weight, false);
	ds_conv_forward(&k->conv, k->x, k->pictures, k->bias, k->y);
	return weighted_sum(k->c, k->y, k->outputs);
}

static void
test_conv(DsConvShape shape)
{
	Case k = {0};
	DsStatus status;
	size_t weights = shape.outs * shape.ins * shape.kernel_height * shape.kernel_width;
	size_t inputs;
	double *expected;
	double *d_x;
	double *d_weight;
	double worst = 0;
	double e;
	char name[100];

	snprintf(name, sizeof(name),
			 "convolution %zu x %zu, %zu -> %zu, window %zu x %zu / %zu, pad %zu", shape.height,
			 shape.width, shape.ins, shape.outs, shape.kernel_height, shape.kernel_width,
			 shape.stride, shape.pad);
	CHECK(ds_conv_plan(&k.conv, &shape, true, &arena, &status) == DS_OK, "%s", name);
	k.pictures = k.conv.group < 3 ? k.conv.group : 3;
	inputs = k.pictures * shape.height * shape.width * shape.ins;
	k.outputs = k.pictures * k.conv.out_height * k.conv.out_width * shape.outs;
	k.weight = numbers(weights);
	k.bias = numbers(shape.outs);
	k.x = numbers(inputs);
	k.y = numbers(k.outputs);
	k.c = numbers(k.outputs);
	expected = numbers(k.outputs);
	d_x = numbers(inputs);
	d_weight = ds_arena_zero(&arena, weights, sizeof(double));
	plain(&k, expected);
	conv_loss(&k);
	for (size_t i = 0; i < k.outputs; i++)
		worst = fmax(worst, fabs(k.y[i] - expected[i]));
	CHECK(worst < 1e-12, "%s: forward, %.1e off", name, worst);
	ds_conv_load(&k.conv, k.weight, true);
	ds_conv_backward(&k.conv, k.x, k.c, k.pictures, d_x, true);
	ds_conv_gradient(&k.conv, d_weight);
	e = error_of(conv_loss, &k, k.x, d_x, inputs);
	CHECK(e < TOLERANCE, "%s, by the input: %.1e", name, e);
	e = error_of(conv_loss, &k, k.weight, d_weight, weights);
	CHECK(e < TOLERANCE, "%s, by the weight: %.1e", name, e);
}

static void
test_refusals(void)
{
	DsConv conv;
	DsStatus status;
	DsConvShape bad[] = {{4, 4, 1, 1, 5, 5, 1, 0},
						 {4, 4, 1, 1, 3, 3, 0, 1},
						 {4, 4, 0, 1, 3, 3, 1, 1},
						 {4, 4, 1, 1, 3, 3, 1, 3},
						 {4, 4, 1, 1, 3, 2, 1, 2},
						 {0, 4, 1, 1, 1, 1, 1, 0},
						 {4096, 4096, 4096, 4096, 3, 3, 1, 1}};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(ds_conv_plan(&conv, &bad[i], true, &arena, &status) ==
				  (i == 6 ? DS_TOO_LARGE : DS_INVALID),
			  "convolution %zu is refused", i);
}

/*
 * Batch normalisation, with and without ReLU
 */

#define PIXELS 7
#define PICTURES 4

typedef struct Norm
{
	size_t channels;
	bool relu;
	double *x;
	double *weight;
	double *bias;
	double *y;
	double *c;
	double *scale;
	double *shift;
	double *mean;
	double *inverse;
	DsMoments moments;
} Norm;

static double
norm_loss(void *context)
{
	Norm *n = context;

	ds_moments_clear(&n->moments);
	for (size_t g = 0; g < PICTURES; g++)
		ds_moments_add(&n->moments, n->x + g * PIXELS * n->channels, PIXELS);
	ds_batch_norm_scales(&n->moments, n->weight, n->bias, 1e-3, n->scale, n->shift, n->mean,
						 n->inverse);
	ds_conv_kernels()->affine(n->x, PICTURES * PIXELS, n->channels, n->scale, n->shift, n->relu,
							  n->y);
	return weighted_sum(n->c, n->y, PICTURES * PIXELS * n->channels);
}

static void
test_norm(size_t channels, bool relu)
{
	size_t all = PICTURES * PIXELS * channels;
	Norm n = {.channels = channels,
			  .relu = relu,
			  .x = numbers(all),
			  .weight = numbers(channels),
			  .bias = numbers(channels),
			  .y = numbers(all),
			  .c = numbers(all),
			  .scale = numbers(channels),
			  .shift = numbers(channels),
			  .mean = numbers(channels),
			  .inverse = numbers(channels)};
	double *d = numbers(all);
	double *sum = ds_arena_zero(&arena, channels, sizeof(double));
	double *product = ds_arena_zero(&arena, channels, sizeof(double));
	double *d_weight = ds_arena_zero(&arena, channels, sizeof(double));
	double *d_bias = ds_arena_zero(&arena, channels, sizeof(double));
	double *a = numbers(channels);
	double *b = numbers(channels);
	double e;

	for (size_t i = 0; i < all; i++)
		n.x[i] = n.x[i] * 3 + 100; /* squares would cancel */
	ds_moments_allocate(&n.moments, channels, &arena);
	norm_loss(&n);
	if (!relu)
	{
		double worst = 0;

		for (size_t c = 0; c < channels; c++)
		{
			double mean = 0;
			double square = 0;

			for (size_t i = c; i < all; i += channels)
				mean += (n.y[i] - n.bias[c]) / n.weight[c] / (PICTURES * PIXELS);
			for (size_t i = c; i < all; i += channels)
				square += pow((n.y[i] - n.bias[c]) / n.weight[c], 2) / (PICTURES * PIXELS);
			worst = fmax(worst, fmax(fabs(mean), fabs(square - 1)));
		}
		CHECK(worst < 1e-3, "batch normalisation, moments of what comes out: %.1e off", worst);
	}
	memcpy(d, n.c, all * sizeof(double));
	ds_conv_kernels()->affine_sums(n.x, PICTURES * PIXELS, channels, n.scale, n.shift, relu, n.mean,
								   d, sum, product);
	ds_batch_norm_backward(channels, PICTURES * PIXELS, sum, product, n.scale, n.inverse, d_weight,
						   d_bias, a, b);
	ds_conv_kernels()->affine_backward(n.x, PICTURES * PIXELS, channels, n.scale, n.shift, relu,
									   n.mean, a, b, d);
	e = error_of(norm_loss, &n, n.x, d, all);
	CHECK(e < TOLERANCE, "batch normalisation (%d) of %zu, by the input: %.1e", relu, channels, e);
	e = error_of(norm_loss, &n, n.weight, d_weight, channels);
	CHECK(e < TOLERANCE, "batch normalisation (%d) of %zu, by the weight: %.1e", relu, channels, e);
	e = error_of(norm_loss, &n, n.bias, d_bias, channels);
	CHECK(e < TOLERANCE, "batch normalisation (%d) of %zu, by the bias: %.1e", relu, channels, e);
}

/*
 * Pooling
 */

typedef struct Pool
{
	DsPoolShape shape;
	double *x;
	double *y;
	double *c;
	uint8_t *which;
	size_t outputs;
} Pool;

static double
max_loss(void *context)
{
	Pool *p = context;

	ds_max_pool(&p->shape, p->x, p->y, p->which);
	return weighted_sum(p->c, p->y, p->outputs);
}

static double
average_loss(void *context)
{
	Pool *p = context;

	ds_average_pool(&p->shape, p->x, p->y);
	return weighted_sum(p->c, p->y, p->outputs);
}

static double
global_loss(void *context)
{
	Pool *p = context;

	ds_global_average(p->x, p->shape.height * p->shape.width, p->shape.channels, p->y);
	return weighted_sum(p->c, p->y, p->shape.channels);
}

static void
test_pools(DsPoolShape shape)
{
	size_t inputs = shape.height * shape.width * shape.channels;
	size_t room = 4 * inputs;
	Pool p = {shape, numbers(inputs), numbers(room), numbers(room), ds_arena_zero(&arena, room, 1),
			  0};
	double *d = numbers(inputs);
	double e;

	p.outputs = pool_height(&shape) * pool_width(&shape) * shape.channels;
	max_loss(&p);
	ds_max_pool_backward(&shape, p.c, p.which, d);
	e = error_of(max_loss, &p, p.x, d, inputs);
	CHECK(e < TOLERANCE, "the largest of %zu x %zu / %zu pad %zu of %zu x %zu: %.1e",
		  shape.kernel_height, shape.kernel_width, shape.stride, shape.pad, shape.height,
		  shape.width, e);
	ds_global_average_backward(p.c, shape.height * shape.width, shape.channels, d);
	e = error_of(global_loss, &p, p.x, d, inputs);
	CHECK(e < TOLERANCE, "mean of %zu x %zu: %.1e", shape.height, shape.width, e);
	if (shape.pad > 0)
		return;
	ds_average_pool_backward(&shape, p.c, d);
	e = error_of(average_loss, &p, p.x, d, inputs);
	CHECK(e < TOLERANCE, "means of %zu x %zu / %zu of %zu x %zu: %.1e", shape.kernel_height,
		  shape.kernel_width, shape.stride, shape.height, shape.width, e);
}

int
main(void)
{
	static const DsConvShape shapes[] = {
		{6, 5, 3, 4, 3, 3, 1, 1},
		{7, 5, 2, 3, 3, 3, 2, 1},
		{3, 3, 5, 7, 1, 1, 1, 0},
		{5, 6, 3, 2, 1, 1, 2, 0},
		{9, 8, 1, 5, 5, 5, 2, 2},
		{5, 7, 3, 6, 3, 2, 1, 0},
		{5, 7, 2, 3, 2, 4, 1, 1},
		{4, 4, 2, 9, 4, 4, 4, 0},
		{3, 2, 4, 1, 3, 2, 1, 1},
		{12, 9, 2, 3, 3, 3, 3, 2},
		{1, 1, 3, 3, 3, 3, 1, 1},
		/* by Winograd's method */
		{6, 5, 16, 17, 3, 3, 1, 1},
		{8, 7, 18, 16, 3, 3, 1, 0},
		{3, 4, 16, 16, 3, 3, 1, 2},
	};

	ds_random_init(&dice, 5, 0);
	ds_arena_init(&arena, NULL);
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		test_conv(shapes[i]);
	test_refusals();
	for (size_t channels = 1; channels <= 5; channels += 2)
	{
		test_norm(channels, false);
		test_norm(channels, true);
	}
	test_pools((DsPoolShape){4, 6, 3, 2, 2, 2, 0});
	test_pools((DsPoolShape){5, 7, 2, 2, 2, 2, 0});
	test_pools((DsPoolShape){5, 7, 2, 3, 2, 1, 0});
	test_pools((DsPoolShape){7, 7, 2, 3, 3, 2, 1});
	test_pools((DsPoolShape){2, 3, 5, 3, 3, 1, 2});
	ds_arena_free(&arena);
	return unit_done();
}
