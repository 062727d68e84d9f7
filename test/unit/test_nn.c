/*
 * test_nn.c
 *		The kernels of every processor level, losses by hand, optimizers against plain
 *		versions, schedules, the encoder's parameters and inference.
 *		(Gradients: test_nn_gradient.c; training: test_training.c.)
 */
#include "unit.h"

#include <float.h>

#include "base/cpu.h"
#include "base/random.h"
#include "nn/simd.h"
#include "nn/training.h"

static DsRandom dice;

static void
fill(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (float) ds_random_normal(&dice);
}

/* the largest difference, relative to the largest number of the reference, or to 1 */
static double
difference(const float *x, const double *reference, size_t n)
{
	double worst = 0;
	double largest = 1;

	for (size_t i = 0; i < n; i++)
	{
		double d = fabs((double) x[i] - reference[i]);

		if (!(d <= worst))
			worst = isnan(d) ? HUGE_VAL : d;
		if (fabs(reference[i]) > largest)
			largest = fabs(reference[i]);
	}
	return worst / largest;
}

/*
 * Kernels
 */

#define MOST 300

static void
test_level(DsCpuLevel level)
{
	const DsNnKernels *k = ds_nn_kernels_at((int) level);
	const char *name = ds_cpu_level_name(level);
	static float table[50 * MOST + 1];
	static float x[MOST + 1];
	static float y[MOST + 1];
	static float out[MOST + 1];
	static double reference[MOST];
	double worst_bag = 0;
	double worst_dense = 0;
	double worst_dot = 0;
	double worst_exp = 0;
	double worst_sum = 0;
	double worst_simple = 0;
	int right_max = 1;

	for (size_t n = 1; n <= MOST; n = n < 140 ? n + 1 : n + 37)
	{
		uint32_t ids[13];
		/* odd lengths also begin at odd addresses */
		float *t = table + n % 2;
		float *a = x + n % 2;
		float *b = y + n % 2;
		float *o = out + n % 2;
		double dot = 0;
		double absolute = 0;
		double sum;
		double weighted;
		double sum_reference = 0;
		double weighted_reference = 0;
		float top;

		fill(t, 50 * n);
		fill(a, n);
		fill(b, n);
		for (size_t i = 0; i < 13; i++)
			ids[i] = (uint32_t) ds_random_below(&dice, 50);
		for (size_t c = 0; c < n; c++)
		{
			reference[c] = 0;
			for (size_t i = 0; i < 13; i++)
				reference[c] += 0.25 * (double) t[ids[i] * n + c];
		}
		k->bag(t, n, ids, 13, 0.25f, o);
		worst_bag = fmax(worst_bag, difference(o, reference, n));
		/* 50 inputs, n outputs */
		for (size_t c = 0; c < n; c++)
		{
			reference[c] = (double) b[c];
			for (size_t i = 0; i < 50; i++)
				reference[c] += (double) table[i] * (double) t[i * n + c];
		}
		k->dense_row(table, t, b, 50, n, o);
		worst_dense = fmax(worst_dense, difference(o, reference, n));
		for (size_t i = 0; i < n; i++)
		{
			dot += (double) a[i] * (double) b[i];
			absolute += fabs((double) a[i] * (double) b[i]);
		}
		worst_dot = fmax(worst_dot, fabs(dot - (double) k->dot(a, b, n)) / absolute);
		top = a[0];
		for (size_t i = 0; i < n; i++)
			top = a[i] > top ? a[i] : top;
		right_max = right_max && k->max(a, n) == top;

		memcpy(o, a, n * sizeof(float));
		if (n > 3)
			o[n / 2] = -HUGE_VALF;
		for (size_t i = 0; i < n; i++)
		{
			reference[i] = exp(20.0 * ((double) o[i] - (double) top));
			sum_reference += reference[i];
			weighted_reference += reference[i] > 0 ? reference[i] * (double) o[i] : 0;
		}
		k->exponentials(o, n, 20, top, &sum, &weighted);
		for (size_t i = 0; i < n; i++)
			/* 20 * (x - top) is rounded, which counts for the more the further down it is */
			worst_exp = fmax(worst_exp,
							 fabs((double) o[i] - reference[i]) /
								 fmax(reference[i] * (1 - log(fmax(reference[i], 1e-30))), 1e-30));
		worst_sum = fmax(worst_sum, fabs(sum - sum_reference) / sum_reference);
		worst_sum = fmax(worst_sum, fabs(weighted - weighted_reference) / (sum_reference * 3));

		for (size_t i = 0; i < n; i++)
			reference[i] = (double) a[i] * 3 + (double) b[i];
		memcpy(o, a, n * sizeof(float));
		k->scale(o, n, 3);
		k->add(o, b, n);
		worst_simple = fmax(worst_simple, difference(o, reference, n));
	}
	CHECK(worst_bag < 1e-6, "%s: bag: %.1e", name, worst_bag);
	CHECK(worst_dense < 2e-6, "%s: dense row: %.1e", name, worst_dense);
	CHECK(worst_dot < 1e-6, "%s: dot: %.1e", name, worst_dot);
	CHECK(right_max, "%s: max", name);
	CHECK(worst_exp < 3e-7, "%s: exponential: %.1e", name, worst_exp);
	CHECK(worst_sum < 1e-6, "%s: sums of exponentials: %.1e", name, worst_sum);
	CHECK(worst_simple < 1e-6, "%s: scale, add: %.1e", name, worst_simple);
}

/* Tables of shorter numbers give what their rows as floats do, to the bit */
static void
test_short_tables(DsCpuLevel level)
{
	static const DsDtype dtypes[] = {DS_DTYPE_F16, DS_DTYPE_BF16, DS_DTYPE_I8, DS_DTYPE_I8};
	const DsNnKernels *k = ds_nn_kernels_at((int) level);
	static float table[50 * MOST];
	static float out[MOST];
	static float expected[MOST];
	static char rows[50 * MOST * 2 + 1];
	static float scales[50];
	int different = 0;
	int compared = 0;

	for (size_t n = 1; n <= MOST; n = n < 140 ? n + 1 : n + 37)
		for (size_t d = 0; d < 4; d++)
		{
			DsShortTable shorter = {dtypes[d], rows + n % 2, d == 2 ? scales : NULL};
			uint32_t ids[13];
			size_t count = n % 3 == 0 ? 0 : n % 13 + 1;

			fill(table, 50 * n);
			fill(scales, 50);
			for (size_t i = 0; i < 50 * n; i++)
				table[i] *= dtypes[d] == DS_DTYPE_I8 ? 60 : 1;
			ds_dtype_from_float(dtypes[d], table, 50 * n, rows + n % 2);
			for (size_t i = 0; i < 13; i++)
				ids[i] = (uint32_t) ds_random_below(&dice, 50);
			/* in two parts, of which the first ends within a row */
			ds_short_numbers(&shorter, n, 0, 7, table);
			ds_short_numbers(&shorter, n, 7, 50 * n - 7, table + 7);
			k->bag(table, n, ids, count, 0.3f, expected);
			k->bag_short(&shorter, n, ids, count, 0.3f, out);
			different += memcmp(out, expected, n * sizeof(float)) != 0;
			compared += count > 0 && expected[0] != 0;
		}
	CHECK(different == 0 && compared > 100, "%s: %d of %d bags over shorter numbers differ",
		  ds_cpu_level_name(level), different, compared);
}

/*
 * Layers and losses, by hand
 */

static void
test_by_hand(void)
{
	const float table[] = {1, 2, 3, 4, 5, 6};
	const uint32_t ids[] = {0, 2, 2, 1};
	const size_t offsets[] = {0, 3, 3, 4};
	float out[6];
	float inverse[3];
	float rows[] = {3, 4, 0, 0, 1e-30f, 0};
	float huge[] = {3e30f, 4e30f};
	float scores[] = {1, 2, 0, 3};
	float masked[] = {1, 5, 0, 3};
	float distances[] = {1, 4, 0.25f, 1};
	static const uint64_t keys[] = {7, 7};
	const DsLossMask mask = {.row_query = keys,
							 .row_document = keys,
							 .column_query = keys,
							 .column_document = keys,
							 .paired = 2};
	/* document 1 is right for query 0, too: of its own row nothing else is left */
	float known[] = {1, 5, 0, 3};
	float transposed[] = {1, 5, 0, 3};
	static const size_t known_offsets[] = {0, 1, 1};
	static const uint32_t known_columns[] = {1};
	DsLossMask told = {.known_offsets = known_offsets, .known = known_columns};
	/* pairs (5, 6) and (6, 9): the first document is the second query itself */
	static const uint64_t pictures[] = {5, 6};
	static const uint64_t answers[] = {6, 9};
	DsLossMask itself = {.row_query = pictures,
						 .row_document = answers,
						 .column_query = pictures,
						 .column_document = answers,
						 .paired = 2,
						 .one_kind = true};
	float pairs[] = {1, 5, 0, 3};
	float turned[] = {1, 5, 0, 3};
	size_t correct;
	double loss;

	ds_bag_forward(table, 2, ids, offsets, 3, DS_POOLING_SUM, out);
	CHECK(out[0] == 11 && out[1] == 14 && out[2] == 0 && out[3] == 0 && out[4] == 3,
		  "bag: sums, an empty text gives zeros");
	ds_bag_forward(table, 2, ids, offsets, 1, DS_POOLING_MEAN, out);
	CHECK(fabsf(out[0] - 11 / 3.f) < 1e-6f, "bag: mean");
	ds_bag_forward(table, 2, ids, offsets, 1, DS_POOLING_SQRTN, out);
	CHECK(fabsf(out[1] - 14 / sqrtf(3)) < 1e-5f, "bag: by the root of n");
	ds_normalize_forward(rows, 3, 2, rows, inverse);
	CHECK(fabsf(rows[0] - 0.6f) < 1e-6f && rows[2] == 0 && inverse[1] == 0 &&
			  fabsf(rows[4] - 1) < 1e-6f,
		  "normalise: a row, a zero row, a tiny row");
	ds_normalize_forward(huge, 1, 2, huge, inverse);
	CHECK(fabsf(huge[1] - 0.8f) < 1e-6f, "normalise: a row whose squares overflow");

	/* rows (1, 2) and (0, 3), own columns 0 and 1: ln(1 + e) and ln(1 + e^-3) */
	loss = ds_softmax_loss(scores, 2, 2, 0, NULL, 1, 0.5, NULL, NULL, &correct);
	CHECK(fabs(loss - 0.5 * (log(1 + exp(1)) + log(1 + exp(-3)))) < 1e-6 && correct == 1,
		  "softmax loss: %.6f, one of two correct", loss);
	CHECK(fabs((double) scores[1] - 0.5 / (1 + exp(-1))) < 1e-6 &&
			  fabs((double) scores[0] + 0.5 / (1 + exp(-1))) < 1e-6,
		  "its gradient");
	loss = ds_softmax_loss(masked, 2, 2, 0, &mask, 1, 1, NULL, NULL, &correct);
	CHECK(loss == 0 && correct == 2 && masked[1] == 0, "all else masked: no loss");
	loss = ds_softmax_loss(known, 2, 2, 0, &told, 1, 1, NULL, NULL, &correct);
	CHECK(fabs(loss - log(1 + exp(-3))) < 1e-6 && correct == 2 && known[1] == 0 && known[2] > 0,
		  "a document that is known to be right is no negative");
	told.transposed = true;
	loss = ds_softmax_loss(transposed, 2, 2, 0, &told, 1, 1, NULL, NULL, &correct);
	CHECK(fabs(loss - log(1 + exp(4))) < 1e-6 && transposed[1] > 0 && transposed[2] == 0,
		  "nor is its query, the other way round");
	loss = ds_softmax_loss(pairs, 2, 2, 0, &itself, 1, 1, NULL, NULL, &correct);
	CHECK(fabs(loss - log(1 + exp(4))) < 1e-6 && pairs[2] == 0,
		  "a document that is the query itself is no negative");
	itself.transposed = true;
	loss = ds_softmax_loss(turned, 2, 2, 0, &itself, 1, 1, NULL, NULL, &correct);
	CHECK(fabs(loss - log(1 + exp(-3))) < 1e-6 && turned[1] == 0 && turned[2] > 0,
		  "nor the other way round");
	/* own 1/2 d^2 = 0.5 and 0.5; negatives 1/2 (1.5 - 2)^2 -> 0 and 1/2 (1.5 - 0.5)^2 = 0.5 */
	loss = ds_contrastive_loss(distances, 2, 2, 0, NULL, 1.5, 1, NULL, &correct);
	CHECK(fabs(loss - 1.5) < 1e-6 && correct == 1 && distances[1] == 0 && distances[0] == 0.5f &&
			  fabsf(distances[2] + 1) < 1e-6f,
		  "contrastive loss: %.6f", loss);
}

/*
 * Optimizer
 */

enum
{
	ROWS = 9,
	DIMS = 21,
	N = ROWS * DIMS
};

/* 50 steps of all values, then one of three rows, beside the algorithms as printed, in double */
static void
test_one_optimizer(const DsOptimizer *optimizer, const char *name)
{
	static const uint32_t rows[] = {1, 4, 8};
	bool sgd = optimizer->kind == DS_OPTIMIZER_SGD;
	float value[N];
	float first[N] = {0};
	float second[N] = {0};
	float gradient[N];
	double w[N];
	double m[N] = {0};
	double v[N] = {0};
	float before[N];
	const float *row_gradients[3];
	int untouched = 1;

	fill(value, N);
	for (int i = 0; i < 3; i++)
		row_gradients[i] = gradient + rows[i] * DIMS;
	for (int i = 0; i < N; i++)
		w[i] = (double) value[i];
	for (uint64_t t = 1; t <= 51; t++)
	{
		DsUpdate update = {optimizer, 0.01, t, 0.5, true};

		fill(gradient, N);
		memcpy(before, value, sizeof(value));
		if (t <= 50)
			ds_optimizer_update(&update, N, gradient, value, first, second);
		else
			ds_optimizer_update_rows(&update, rows, 3, DIMS, row_gradients, value, first, second);
		for (int i = 0; i < N; i++)
		{
			double g = 0.5 * (double) gradient[i];
			double mh;
			double vh;

			if (t > 50 && i / DIMS != 1 && i / DIMS != 4 && i / DIMS != 8)
				continue;
			if (optimizer->kind == DS_OPTIMIZER_ADAMW)
				w[i] -= 0.01 * 0.1 * w[i];
			else
				g += 0.1 * w[i];
			if (sgd)
			{
				m[i] = 0.9 * m[i] + g;
				w[i] -= 0.01 * m[i];
				continue;
			}
			m[i] = 0.9 * m[i] + 0.1 * g;
			v[i] = 0.99 * v[i] + 0.01 * g * g;
			mh = m[i] / (1 - pow(0.9, (double) t));
			vh = v[i] / (1 - pow(0.99, (double) t));
			w[i] -= 0.01 * mh / (sqrt(vh) + 1e-8);
		}
	}
	for (int i = 0; i < N; i++)
		if (i / DIMS != 1 && i / DIMS != 4 && i / DIMS != 8)
			untouched = untouched && value[i] == before[i];
	CHECK(difference(value, w, N) < 1e-5, "%s, 50 steps and one of some rows: %.1e", name,
		  difference(value, w, N));
	CHECK(untouched && value[DIMS] != before[DIMS], "%s leaves the other rows as they were", name);
}

/* What gets no gradient comes to rest at 0, and not at a number that is slow to compute with */
static void
test_rest(const DsOptimizer *optimizer, const char *name)
{
	enum
	{
		REST = 40
	};
	float value[REST];
	float first[REST];
	float second[REST];
	float gradient[REST] = {0};
	int rest = 0;
	double half = 1.0;

	for (int i = 0; i < REST; i++)
		value[i] = first[i] = second[i] = 1;
	for (uint64_t t = 1; t <= 2000; t++)
		ds_optimizer_update(&(DsUpdate){optimizer, 0.001, t, 1, true}, REST, gradient, value, first,
							second);
	for (int i = 0; i < REST; i++)
		rest += first[i] == 0;
	CHECK(rest == REST, "%s: %d of %d momenta are 0 after 2000 steps", name, rest, REST);
	/* the caller's numbers are as before */
	half *= (double) FLT_MIN / 4;
	CHECK((float) half > 0, "subnormal numbers are left to others");
}

static void
test_optimizer(void)
{
	const DsOptimizer adamw = {DS_OPTIMIZER_ADAMW, 0.9, 0.99, 1e-8, 0, 0.1};
	const DsOptimizer adam = {DS_OPTIMIZER_ADAM, 0.9, 0.99, 1e-8, 0, 0.1};
	const DsOptimizer sgd = {DS_OPTIMIZER_SGD, 0, 0, 0, 0.9, 0.1};
	const DsSchedule schedule = {.initial = 0.1, .decay = 0.5, .decay_steps = 10, .minimum = 0.02};
	DsSchedule other;

	test_one_optimizer(&adamw, "AdamW");
	test_one_optimizer(&adam, "Adam");
	test_one_optimizer(&sgd, "SGD");
	test_rest(&(DsOptimizer){DS_OPTIMIZER_ADAMW, 0.9, 0.999, 1e-8, 0, 0}, "AdamW");
	test_rest(&(DsOptimizer){DS_OPTIMIZER_SGD, 0, 0, 0, 0.9, 0}, "SGD");

	CHECK(ds_schedule_rate(&schedule, 0) == 0.1 &&
			  fabs(ds_schedule_rate(&schedule, 10) - 0.05) < 1e-12 &&
			  fabs(ds_schedule_rate(&schedule, 5) - 0.1 * sqrt(0.5)) < 1e-12 &&
			  ds_schedule_rate(&schedule, 1000) == 0.02,
		  "exponential decay down to the minimum");
	other = schedule;
	other.staircase = 1;
	CHECK(ds_schedule_rate(&other, 9) == 0.1 && fabs(ds_schedule_rate(&other, 19) - 0.05) < 1e-12,
		  "staircase");
	other = schedule;
	other.kind = DS_SCHEDULE_CONSTANT;
	other.warmup_steps = 4;
	CHECK(fabs(ds_schedule_rate(&other, 0) - 0.025) < 1e-12 && ds_schedule_rate(&other, 4) == 0.1 &&
			  ds_schedule_rate(&other, 1000) == 0.1,
		  "constant, with warm-up");
	other.kind = DS_SCHEDULE_LINEAR;
	other.total_steps = 24;
	CHECK(fabs(ds_schedule_rate(&other, 1) - 0.05) < 1e-12 && ds_schedule_rate(&other, 4) == 0.1 &&
			  fabs(ds_schedule_rate(&other, 14) - 0.06) < 1e-12 &&
			  fabs(ds_schedule_rate(&other, 24) - 0.02) < 1e-12 &&
			  fabs(ds_schedule_rate(&other, 99) - 0.02) < 1e-12,
		  "linear: warm-up, halfway, minimum");
	other.kind = DS_SCHEDULE_COSINE;
	CHECK(ds_schedule_rate(&other, 4) == 0.1 && fabs(ds_schedule_rate(&other, 14) - 0.06) < 1e-12 &&
			  fabs(ds_schedule_rate(&other, 9) - (0.06 + 0.04 * sqrt(0.5))) < 1e-12 &&
			  fabs(ds_schedule_rate(&other, 99) - 0.02) < 1e-12,
		  "cosine: warm-up, a quarter, halfway, minimum");
}

/*
 * The encoder
 */

#define VOCABULARY 300
#define MAX_TEXTS 64
#define MAX_TOKENS 30

typedef struct Ragged
{
	uint32_t ids[MAX_TEXTS * MAX_TOKENS];
	size_t offsets[MAX_TEXTS + 1];
	uint64_t keys[MAX_TEXTS];
} Ragged;

static void
random_texts(Ragged *texts, size_t n)
{
	texts->offsets[0] = 0;
	for (size_t t = 0; t < n; t++)
	{
		size_t length = 1 + ds_random_below(&dice, MAX_TOKENS);

		for (size_t i = 0; i < length; i++)
			texts->ids[texts->offsets[t] + i] = (uint32_t) ds_random_below(&dice, VOCABULARY);
		texts->offsets[t + 1] = texts->offsets[t] + length;
		texts->keys[t] = t;
	}
}

static DsDualEncoderConfig
small_config(bool shared)
{
	DsDualEncoderConfig c = ds_dual_encoder_defaults;

	c.shared = shared;
	for (int t = 0; t < 2; t++)
		c.tower[t] = (DsTowerConfig){.vocabulary = VOCABULARY,
									 .embedding_dims = t == 0 || shared ? 24 : 33,
									 .dense_count = 2,
									 .dense = {40, 37}};
	return c;
}

static void
make_encoder(DsDualEncoder *encoder, const DsDualEncoderConfig *config, DsArena *arena)
{
	DsStatus status;

	if (ds_dual_encoder_plan(config, encoder, &status) != DS_OK ||
		ds_dual_encoder_allocate(encoder, arena, &status) != DS_OK)
	{
		printf("Bail out! %s\n", status.message);
		exit(1);
	}
	ds_dual_encoder_init(encoder, 5, 0.05);
}

static bool
always(void *context)
{
	(void) context;
	return true;
}

static void
test_encoder(void)
{
	DsDualEncoderConfig c = small_config(false);
	DsDualEncoder e;
	DsDualEncoder again;
	DsArena arena;
	DsStatus status;
	DsCancel cancel = {always, NULL};
	Ragged texts;
	static float together[MAX_TEXTS * 37];
	static float alone[MAX_TEXTS * 37 + 1];
	float *scratch;
	double worst = 0;
	int same = 1;

	ds_arena_init(&arena, NULL);
	make_encoder(&e, &c, &arena);
	CHECK(e.parameter_count == 11 && e.dims == 37 &&
			  strcmp(e.parameter[0].name, "query.embedding") == 0 &&
			  strcmp(e.parameter[8].name, "document.dense.1.weight") == 0 &&
			  e.parameter[8].shape_count == 2 && e.parameter[8].shape[0] == 40 &&
			  e.parameter[8].shape[1] == 37 && e.parameter[9].shape_count == 1 &&
			  e.parameter[9].count == 37 && strcmp(e.parameter[10].name, "log_scale") == 0 &&
			  e.parameter[0].sparse && !e.parameter[1].sparse,
		  "two towers: names and shapes");
	CHECK(ds_dual_encoder_parameter(&e, "document.embedding") == &e.parameter[5] &&
			  e.first_parameter[1] == 5 && ds_dual_encoder_parameter(&e, "x") == NULL,
		  "a parameter by its name");
	CHECK(fabsf(e.parameter[10].value[0] - logf(20)) < 1e-6f,
		  "log_scale is that of the temperature");
	make_encoder(&again, &c, &arena);
	for (size_t i = 0; i < e.parameter_count; i++)
		same = same && memcmp(e.parameter[i].value, again.parameter[i].value,
							  e.parameter[i].count * sizeof(float)) == 0;
	CHECK(same && e.parameter[0].value[0] != e.parameter[5].value[0],
		  "a seed gives the same values, towers have others");

	random_texts(&texts, MAX_TEXTS);
	scratch = ds_arena_alloc(&arena, ds_dual_encoder_scratch(&e), sizeof(float));
	for (int side = 0; side < 2; side++)
	{
		CHECK(ds_dual_encoder_infer(&e, (DsSide) side, texts.ids, texts.offsets, MAX_TEXTS, scratch,
									together, NULL, &status) == DS_OK,
			  "inference, side %d", side);
		same = 1;
		for (size_t t = 0; t < MAX_TEXTS; t++)
		{
			double norm = 0;

			ds_dual_encoder_infer(&e, (DsSide) side, texts.ids, texts.offsets + t, 1, scratch,
								  alone + 1, NULL, &status);
			same = same && memcmp(alone + 1, together + t * 37, 37 * sizeof(float)) == 0;
			for (size_t i = 0; i < 37; i++)
				norm += (double) alone[1 + i] * (double) alone[1 + i];
			worst = fmax(worst, fabs(norm - 1));
		}
		CHECK(same, "a text's vector does not depend on its company");
		CHECK(worst < 1e-6, "and has length 1: %.1e", worst);
	}
	texts.ids[3] = VOCABULARY;
	CHECK(ds_dual_encoder_infer(&e, DS_SIDE_QUERY, texts.ids, texts.offsets, 1, scratch, alone,
								NULL, &status) == DS_BAD_DATA,
		  "an id outside the table: %s", status.message);
	CHECK(ds_dual_encoder_infer(&e, DS_SIDE_QUERY, texts.ids, texts.offsets, 1, scratch, alone,
								&cancel, &status) == DS_CANCELLED,
		  "inference is cancelled");

#define REFUSED(change, what)                                                          \
	do                                                                                 \
	{                                                                                  \
		c = small_config(false);                                                       \
		change;                                                                        \
		CHECK(ds_dual_encoder_plan(&c, &again, &status) == DS_INVALID, "%s: %s", what, \
			  status.message);                                                         \
	} while (0)
	REFUSED(c.tower[1].vocabulary = 0, "no vocabulary");
	REFUSED(c.tower[0].embedding_dims = 0, "no dimensions");
	REFUSED(c.tower[0].embedding_dims = 20000, "too many dimensions");
	REFUSED(c.tower[0].dense_count = 9, "too many layers");
	REFUSED(c.tower[0].dense[0] = 0, "a layer without width");
	REFUSED(c.tower[0].dense[1] = 36, "towers of different width");
	REFUSED(c.tower[0].pooling = (DsBagPooling) 7, "an unknown pooling");
	REFUSED(c.score = (DsScore) 7, "an unknown score");
	CHECK(ds_dual_encoder_check(&ds_dual_encoder_defaults, &status) == DS_INVALID &&
			  strstr(status.message, "vocabulary") != NULL,
		  "the defaults lack the vocabulary only");
	ds_arena_free(&arena);
}

static void
test_classes(void)
{
	float x[3] = {1, 3, 2};
	float far[2] = {-1000, 1000};
	float p[3];

	CHECK(ds_classes_of(x, 3, p) == 1 && fabsf(p[0] - 0.09003057f) < 1e-6f &&
			  fabsf(p[1] - 0.66524096f) < 1e-6f && fabsf(p[2] - 0.24472847f) < 1e-6f,
		  "probabilities of classes");
	CHECK(ds_classes_of(far, 2, far) == 1 && far[0] == 0 && far[1] == 1, "logits far apart");
}

int
main(void)
{
	test_classes();
	ds_random_init(&dice, 21, 0);
	for (int level = 0; level <= (int) ds_cpu_level(); level++)
		if (level <= DS_CPU_AVX512)
		{
			test_level((DsCpuLevel) level);
			test_short_tables((DsCpuLevel) level);
		}
	test_by_hand();
	test_optimizer();
	test_encoder();
	return unit_done();
}
