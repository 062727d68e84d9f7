/*
 * test_nn.c
 *		The kernels of every processor level, losses by hand, Adam against a plain
 *		version, schedule, the encoder's parameters and inference, and training.
 *		(Gradients: test_nn_gradient.c.)
 */
#include "unit.h"

#include "base/cpu.h"
#include "base/random.h"
#include "nn/simd.h"
#include "nn/trainer.h"

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
	const DsLossMask mask = {keys, keys, keys, keys, 2};
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
	loss = ds_softmax_loss(scores, 2, 2, 0, NULL, 1, 0.5, NULL, &correct);
	CHECK(fabs(loss - 0.5 * (log(1 + exp(1)) + log(1 + exp(-3)))) < 1e-6 && correct == 1,
		  "softmax loss: %.6f, one of two correct", loss);
	CHECK(fabs((double) scores[1] - 0.5 / (1 + exp(-1))) < 1e-6 &&
			  fabs((double) scores[0] + 0.5 / (1 + exp(-1))) < 1e-6,
		  "its gradient");
	loss = ds_softmax_loss(masked, 2, 2, 0, &mask, 1, 1, NULL, &correct);
	CHECK(loss == 0 && correct == 2 && masked[1] == 0, "all else masked: no loss");
	/* own 1/2 d^2 = 0.5 and 0.5; negatives 1/2 (1.5 - 2)^2 -> 0 and 1/2 (1.5 - 0.5)^2 = 0.5 */
	loss = ds_contrastive_loss(distances, 2, 2, 0, NULL, 1.5, 1, &correct);
	CHECK(fabs(loss - 1.5) < 1e-6 && correct == 1 && distances[1] == 0 && distances[0] == 0.5f &&
			  fabsf(distances[2] + 1) < 1e-6f,
		  "contrastive loss: %.6f", loss);
}

/*
 * Optimizer
 */

static void
test_optimizer(void)
{
	enum
	{
		ROWS = 9,
		DIMS = 21,
		N = ROWS * DIMS
	};
	const DsAdam adam = {0.9, 0.99, 1e-8, 0.1};
	const uint32_t rows[] = {1, 4, 8};
	float value[N];
	float mean[N] = {0};
	float variance[N] = {0};
	float gradient[N];
	double w[N];
	double m[N] = {0};
	double v[N] = {0};
	float before[N];
	int untouched = 1;
	const DsSchedule schedule = {.initial = 0.1, .decay = 0.5, .decay_steps = 10, .minimum = 0.02};
	DsSchedule other;

	fill(value, N);
	for (int i = 0; i < N; i++)
		w[i] = (double) value[i];
	for (uint64_t t = 1; t <= 50; t++)
	{
		fill(gradient, N);
		ds_adam_update(&adam, 0.01, t, 0.5, N, gradient, value, mean, variance);
		for (int i = 0; i < N; i++)
		{
			/* algorithm 1 of the paper, and decay as in AdamW */
			double g = 0.5 * (double) gradient[i];
			double mh;
			double vh;

			m[i] = 0.9 * m[i] + 0.1 * g;
			v[i] = 0.99 * v[i] + 0.01 * g * g;
			mh = m[i] / (1 - pow(0.9, (double) t));
			vh = v[i] / (1 - pow(0.99, (double) t));
			w[i] = w[i] - 0.01 * 0.1 * w[i] - 0.01 * mh / (sqrt(vh) + 1e-8);
		}
	}
	CHECK(difference(value, w, N) < 1e-5, "Adam, 50 steps: %.1e", difference(value, w, N));

	/* the lazy form is the same for its rows and leaves the others */
	memcpy(before, value, sizeof(value));
	fill(gradient, 3 * DIMS);
	for (int r = 0; r < 3; r++)
		for (int c = 0; c < DIMS; c++)
		{
			int i = (int) rows[r] * DIMS + c;
			double g = (double) gradient[r * DIMS + c];

			m[i] = 0.9 * m[i] + 0.1 * g;
			v[i] = 0.99 * v[i] + 0.01 * g * g;
			w[i] = w[i] - 0.02 * 0.1 * w[i] -
				   0.02 * (m[i] / (1 - pow(0.9, 51))) / (sqrt(v[i] / (1 - pow(0.99, 51))) + 1e-8);
		}
	ds_adam_update_rows(&adam, 0.02, 51, 1, 3, DIMS, rows, gradient, value, mean, variance);
	for (int i = 0; i < N; i++)
		if (i / DIMS != 1 && i / DIMS != 4 && i / DIMS != 8)
			untouched = untouched && value[i] == before[i];
	CHECK(difference(value, w, N) < 1e-5 && untouched && value[DIMS] != before[DIMS],
		  "Adam of some rows: %.1e, the others as they were", difference(value, w, N));

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
	other.decay = 1;
	other.warmup_steps = 4;
	CHECK(fabs(ds_schedule_rate(&other, 0) - 0.025) < 1e-12 && ds_schedule_rate(&other, 4) == 0.1,
		  "warm-up");
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

static bool
after_a_while(void *context)
{
	return --*(int *) context < 0;
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

/*
 * Training
 */

static DsTrainBatch
batch_of(const Ragged *queries, const Ragged *documents, size_t pairs, size_t all)
{
	DsTrainBatch batch = {pairs,
						  all,
						  queries->ids,
						  queries->offsets,
						  queries->keys,
						  documents->ids,
						  documents->offsets,
						  documents->keys};

	return batch;
}

static bool
same_values(const DsDualEncoder *a, const DsDualEncoder *b)
{
	for (size_t i = 0; i < a->parameter_count; i++)
		if (memcmp(a->parameter[i].value, b->parameter[i].value,
				   a->parameter[i].count * sizeof(float)) != 0)
			return false;
	return true;
}

static void
test_training(void)
{
	DsDualEncoderConfig c = small_config(true);
	DsTrainConfig t = ds_train_defaults;
	DsDualEncoder e[3];
	DsTrainer *trainer[3];
	DsArena arena;
	DsStatus status;
	DsStepResult result = {0};
	Ragged queries;
	Ragged documents;
	DsTrainBatch batch;
	double first = 0;
	int good = 1;
	static const int orders[][4] = {{0, 1, 2, 3}, {3, 1, 0, 2}, {2, 3, 1, 0}};
	static float vectors[MAX_TEXTS * 37];
	float *scratch;

	t.schedule.initial = 0.01;
	t.feature_dropout = 0.1;
	t.learn_temperature = true;
	ds_arena_init(&arena, NULL);
	for (int i = 0; i < 3; i++)
	{
		make_encoder(&e[i], &c, &arena);
		good = good && ds_trainer_create(&e[i], &t, &arena, &trainer[i], &status) == DS_OK;
	}
	random_texts(&queries, 30);
	random_texts(&documents, 37);
	batch = batch_of(&queries, &documents, 30, 37);
	for (int step = 0; step < 40; step++)
	{
		good = good && ds_trainer_step(trainer[0], &batch, &result, NULL, &status) == DS_OK;
		if (step == 0)
			first = result.loss;
	}
	CHECK(good && first > 2 && result.loss < 0.1 && result.accuracy == 1,
		  "40 steps learn 30 pairs by heart: loss %.3f to %.3f", first, result.loss);
	CHECK(result.step == 40 && ds_trainer_steps(trainer[0]) == 40 && result.temperature != 0.05 &&
			  fabs(result.learning_rate - ds_schedule_rate(&t.schedule, 39)) < 1e-12,
		  "the result of a step: temperature %.4f, rate %.5f", result.temperature,
		  result.learning_rate);
	/* what was learned is what inference computes */
	scratch = ds_arena_alloc(&arena, ds_dual_encoder_scratch(&e[0]), sizeof(float));
	ds_dual_encoder_infer(&e[0], DS_SIDE_DOCUMENT, documents.ids, documents.offsets, 37, scratch,
						  vectors, NULL, &status);
	for (size_t q = 0; q < 30; q++)
	{
		float vector[37];
		size_t best = 0;
		float top = -2;

		ds_dual_encoder_infer(&e[0], DS_SIDE_QUERY, queries.ids, queries.offsets + q, 1, scratch,
							  vector, NULL, &status);
		for (size_t d = 0; d < 37; d++)
		{
			float score = ds_nn_kernels()->dot(vector, vectors + d * 37, 37);

			if (score > top)
			{
				top = score;
				best = d;
			}
		}
		good = good && best == q;
	}
	CHECK(good, "each query finds its document");

	/* the same, the shards of every part in another order, as workers might take them */
	for (int step = 0; step < 40; step++)
	{
		ds_trainer_begin(trainer[1], &batch, &status);
		for (int s = 0; s < DS_SHARDS; s++)
			ds_trainer_forward_shard(trainer[1], orders[(step + 1) % 3][s]);
		for (int s = 0; s < DS_SHARDS; s++)
			ds_trainer_loss_shard(trainer[1], orders[(step + 2) % 3][s]);
		for (int s = 0; s < DS_SHARDS; s++)
			ds_trainer_backward_shard(trainer[1], orders[step % 3][s]);
		ds_trainer_reduce(trainer[1], &result, &status);
		ds_trainer_update(trainer[1]);
	}
	CHECK(same_values(&e[0], &e[1]), "who computes which shard when does not matter, to the bit");

	/* and with a stop after 15 steps, continued by another trainer from what a checkpoint has */
	for (int step = 0; step < 15; step++)
		ds_trainer_step(trainer[2], &batch, &result, NULL, &status);
	{
		DsParameter *from;
		DsParameter *to;
		size_t n = ds_trainer_state(trainer[2], &from);
		DsTrainer *next;

		CHECK(n == 2 * e[2].parameter_count &&
				  strcmp(from[0].name, "adam.mean.shared.embedding") == 0 &&
				  strcmp(from[n - 1].name, "adam.variance.log_scale") == 0,
			  "the state has the moments of all parameters");
		ds_trainer_create(&e[2], &t, &arena, &next, &status);
		ds_trainer_state(next, &to);
		for (size_t i = 0; i < n; i++)
			memcpy(to[i].value, from[i].value, from[i].count * sizeof(float));
		ds_trainer_set_steps(next, 15);
		for (int step = 15; step < 40; step++)
			ds_trainer_step(next, &batch, &result, NULL, &status);
	}
	CHECK(same_values(&e[0], &e[2]), "a run that was stopped and continued gives the same weights");
	ds_arena_free(&arena);
}

/* The scores of a large batch are computed in pieces: a step can be cancelled between them. */
static void
test_large_batch(DsLoss loss)
{
	enum
	{
		PAIRS = 4800
	};
	static uint32_t ids[2][PAIRS];
	static size_t offsets[PAIRS + 1];
	DsDualEncoderConfig c = small_config(true);
	DsTrainConfig t = ds_train_defaults;
	DsDualEncoder e;
	DsDualEncoder before;
	DsTrainer *trainer;
	DsArena arena;
	DsStatus status;
	DsStepResult result;
	DsTrainBatch batch = {.pairs = PAIRS,
						  .documents = PAIRS,
						  .query_ids = ids[0],
						  .query_offsets = offsets,
						  .document_ids = ids[1],
						  .document_offsets = offsets};
	int polls = 1000;
	DsCancel cancel = {after_a_while, &polls};
	int stopped = 1;

	t.loss = loss;
	for (size_t i = 0; i < PAIRS; i++)
	{
		offsets[i + 1] = i + 1;
		ids[0][i] = (uint32_t) ds_random_below(&dice, VOCABULARY);
		ids[1][i] = (uint32_t) ds_random_below(&dice, VOCABULARY);
	}
	ds_arena_init(&arena, NULL);
	make_encoder(&e, &c, &arena);
	make_encoder(&before, &c, &arena);
	CHECK(ds_trainer_create(&e, &t, &arena, &trainer, &status) == DS_OK, "a trainer");
	for (int stop = 5; stop < 8; stop++)
	{
		polls = stop;
		stopped =
			stopped && ds_trainer_step(trainer, &batch, &result, &cancel, &status) == DS_CANCELLED;
	}
	CHECK(stopped && same_values(&e, &before), "a large step is cancelled within the loss");
	polls = 1000;
	CHECK(ds_trainer_step(trainer, &batch, &result, &cancel, &status) == DS_OK &&
			  !same_values(&e, &before),
		  "and runs: %s", status.message);
	CHECK(1000 - polls > 12, "a large step looks %d times whether it is cancelled", 1000 - polls);
	ds_arena_free(&arena);
}

static void
test_training_errors(void)
{
	DsDualEncoderConfig c = small_config(false);
	DsTrainConfig t = ds_train_defaults;
	DsDualEncoder e;
	DsDualEncoder before;
	DsTrainer *trainer;
	DsArena arena;
	DsStatus status;
	DsStepResult result;
	Ragged queries;
	Ragged documents;
	DsTrainBatch batch;
	int polls;
	DsCancel cancel = {after_a_while, &polls};
	int stopped = 1;
	uint32_t kept;
	size_t kept_offset;
	float kept_value;
	int refused = 0;

	ds_arena_init(&arena, NULL);
	make_encoder(&e, &c, &arena);
	make_encoder(&before, &c, &arena);
	CHECK(ds_trainer_create(&e, &t, &arena, &trainer, &status) == DS_OK, "a trainer");
	random_texts(&queries, 20);
	random_texts(&documents, 20);
	batch = batch_of(&queries, &documents, 20, 20);
	for (int stop = 0; stop < 12; stop++)
	{
		polls = stop;
		stopped =
			stopped && ds_trainer_step(trainer, &batch, &result, &cancel, &status) == DS_CANCELLED;
	}
	CHECK(stopped && same_values(&e, &before),
		  "a cancelled step changes nothing, wherever it stops");
	kept = documents.ids[7];
	documents.ids[7] = VOCABULARY;
	CHECK(ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_BAD_DATA, "a bad id: %s",
		  status.message);
	documents.ids[7] = kept;
	kept_offset = queries.offsets[3];
	queries.offsets[3] = queries.offsets[4] + 1;
	CHECK(ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_INVALID,
		  "offsets that fall: %s", status.message);
	queries.offsets[3] = kept_offset;
	batch.documents = 19;
	CHECK(ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_INVALID,
		  "fewer documents than pairs: %s", status.message);
	batch.documents = batch.pairs = 0;
	CHECK(ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_INVALID, "an empty batch");
	batch.documents = batch.pairs = 20;
	kept_value = e.parameter[1].value[0];
	e.parameter[1].value[0] = NAN;
	CHECK(ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_OUT_OF_RANGE,
		  "not a number: %s", status.message);
	e.parameter[1].value[0] = kept_value;
	CHECK(same_values(&e, &before) && ds_trainer_steps(trainer) == 0,
		  "after all these errors the parameters are as they were");
	CHECK(ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_OK &&
			  !same_values(&e, &before),
		  "and training goes on");
	batch.pairs = 1;
	batch.documents = 1;
	CHECK(ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_OK && result.loss == 0,
		  "a batch of one pair has no negatives, and no loss");

	CHECK(ds_train_check(&ds_train_defaults, &status) == DS_OK, "the defaults are valid");
#undef REFUSED
#define REFUSED(change)                                       \
	do                                                        \
	{                                                         \
		t = ds_train_defaults;                                \
		change;                                               \
		refused += ds_train_check(&t, &status) == DS_INVALID; \
	} while (0)
	REFUSED(t.loss = (DsLoss) 5);
	REFUSED(t.temperature = 0);
	REFUSED(t.temperature = NAN);
	REFUSED(t.margin = -1);
	REFUSED(t.feature_dropout = 1);
	REFUSED(t.schedule.initial = 0);
	REFUSED(t.schedule.initial = NAN);
	REFUSED(t.schedule.decay = 1.5);
	REFUSED(t.schedule.decay_steps = 0);
	REFUSED(t.schedule.minimum = 1);
	REFUSED(t.schedule.warmup_steps = -1);
	REFUSED(t.adam.beta1 = 1);
	REFUSED(t.adam.beta2 = -0.1);
	REFUSED(t.adam.epsilon = 0);
	REFUSED(t.adam.weight_decay = -1);
	REFUSED(t.clip_norm = NAN);
	CHECK(refused == 16, "settings out of range are refused (%d of 16)", refused);
	ds_arena_free(&arena);
}

/* gradients are scaled down to clip_norm: with SGD-like settings the step shows it */
static void
test_clipping(void)
{
	DsDualEncoderConfig c = small_config(true);
	DsTrainConfig t = ds_train_defaults;
	DsDualEncoder e[2];
	DsTrainer *trainer[2];
	DsArena arena;
	DsStatus status;
	DsStepResult result[2];
	Ragged queries;
	Ragged documents;
	DsTrainBatch batch;
	double moved[2] = {0};

	ds_arena_init(&arena, NULL);
	random_texts(&queries, 20);
	random_texts(&documents, 20);
	batch = batch_of(&queries, &documents, 20, 20);
	/* an epsilon above all gradients makes Adam's step proportional to the gradient */
	t.adam.epsilon = 0.99;
	t.adam.beta2 = 0;
	for (int i = 0; i < 2; i++)
	{
		DsParameter *p;
		float *old;

		t.clip_norm = i == 0 ? 0 : 0.001;
		make_encoder(&e[i], &c, &arena);
		p = &e[i].parameter[1];
		old = ds_arena_alloc(&arena, p->count, sizeof(float));
		memcpy(old, p->value, p->count * sizeof(float));
		ds_trainer_create(&e[i], &t, &arena, &trainer[i], &status);
		ds_trainer_step(trainer[i], &batch, &result[i], NULL, &status);
		for (size_t k = 0; k < p->count; k++)
			moved[i] += fabs((double) (p->value[k] - old[k]));
	}
	CHECK(result[0].gradient_norm > 0.01 && result[0].gradient_norm == result[1].gradient_norm &&
			  fabs(moved[1] / moved[0] * result[0].gradient_norm / 0.001 - 1) < 0.2,
		  "clipping: norm %.3f, steps %.2e and %.2e", result[0].gradient_norm, moved[0], moved[1]);
	ds_arena_free(&arena);
}

int
main(void)
{
	ds_random_init(&dice, 21, 0);
	for (int level = 0; level <= (int) ds_cpu_level(); level++)
		if (level <= DS_CPU_AVX512)
			test_level((DsCpuLevel) level);
	test_by_hand();
	test_optimizer();
	test_encoder();
	test_training();
	test_large_batch(DS_LOSS_SOFTMAX);
	test_large_batch(DS_LOSS_CONTRASTIVE);
	test_training_errors();
	test_clipping();
	return unit_done();
}
