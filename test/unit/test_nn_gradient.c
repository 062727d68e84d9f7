/*
 * test_nn_gradient.c
 *		Every gradient of src/nn against finite differences, in double precision.
 *
 * The sources of the room are compiled here once more with double numbers
 * (nn/real.h), so what is tested is the code that ships.  A gradient g passes
 * when max |g - (f(x + h) - f(x - h)) / 2h| is below 1e-5 of max |g|.
 */
#define DS_NN_DOUBLE 1

#include "unit.h"

#include "nn/simd.c"
#include "nn/layers.c"
#include "nn/loss.c"
#include "nn/optimizer.c"
#include "nn/dual_encoder.c"
#include "nn/trainer_shard.c"
#include "nn/trainer.c"

#define TOLERANCE 1e-5
#define STEP 1e-6

static DsRandom dice;

static void
fill(double *x, size_t n, double size)
{
	for (size_t i = 0; i < n; i++)
		x[i] = size * ds_random_normal(&dice);
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
		double down;
		double difference;

		x[i] = kept + STEP;
		up = function(context);
		x[i] = kept - STEP;
		down = function(context);
		x[i] = kept;
		difference = (up - down) / (2 * STEP);
		worst = fmax(worst, fabs(difference - gradient[i]));
		largest = fmax(largest, fabs(gradient[i]));
		/* NaN must not pass */
		if (!(fabs(difference - gradient[i]) < HUGE_VAL))
			return HUGE_VAL;
	}
	return worst / largest;
}

/* sum over i of c[i] * y[i]: a loss whose gradient by y is c */
static double
weighted_sum(const double *c, const double *y, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += c[i] * y[i];
	return sum;
}

/*
 * Layers
 */

#define ROWS 5
#define INS 7
#define OUTS 9

typedef struct Dense
{
	double in[ROWS * INS];
	double weight[INS * OUTS];
	double bias[OUTS];
	double out[ROWS * OUTS];
	double c[ROWS * OUTS];
	double inverse[ROWS];
} Dense;

static double
dense_loss(void *context)
{
	Dense *d = context;

	ds_dense_forward(d->in, d->weight, d->bias, ROWS, INS, OUTS, d->out);
	return weighted_sum(d->c, d->out, ROWS * OUTS);
}

static double
infer_loss(void *context)
{
	Dense *d = context;

	ds_dense_infer(d->in, d->weight, d->bias, ROWS, INS, OUTS, d->out);
	return weighted_sum(d->c, d->out, ROWS * OUTS);
}

static double
relu_loss(void *context)
{
	Dense *d = context;

	memcpy(d->out, d->in, sizeof(d->in));
	ds_relu_forward(d->out, ROWS * INS);
	return weighted_sum(d->c, d->out, ROWS * INS);
}

static double
normalize_loss(void *context)
{
	Dense *d = context;

	ds_normalize_forward(d->in, ROWS, INS, d->out, d->inverse);
	return weighted_sum(d->c, d->out, ROWS * INS);
}

static void
test_dense(void)
{
	Dense d;
	double d_in[ROWS * INS];
	double d_weight[INS * OUTS];
	double d_bias[OUTS];
	double e;

	fill(d.in, ROWS * INS, 1);
	fill(d.weight, INS * OUTS, 1);
	fill(d.bias, OUTS, 1);
	fill(d.c, ROWS * OUTS, 1);
	ds_dense_backward(d.in, d.weight, d.c, ROWS, INS, OUTS, d_in, d_weight, d_bias);
	e = error_of(dense_loss, &d, d.in, d_in, ROWS * INS);
	CHECK(e < TOLERANCE, "dense, by the input: %.1e", e);
	e = error_of(dense_loss, &d, d.weight, d_weight, INS * OUTS);
	CHECK(e < TOLERANCE, "dense, by the weight: %.1e", e);
	e = error_of(dense_loss, &d, d.bias, d_bias, OUTS);
	CHECK(e < TOLERANCE, "dense, by the bias: %.1e", e);
	e = error_of(infer_loss, &d, d.weight, d_weight, INS * OUTS);
	CHECK(e < TOLERANCE, "dense, the form for inference is the same function: %.1e", e);

	memcpy(d_in, d.c, sizeof(d_in));
	memcpy(d.out, d.in, sizeof(d.in));
	ds_relu_forward(d.out, ROWS * INS);
	ds_relu_backward(d.out, d_in, ROWS * INS);
	e = error_of(relu_loss, &d, d.in, d_in, ROWS * INS);
	CHECK(e < TOLERANCE, "ReLU: %.1e", e);

	normalize_loss(&d);
	ds_normalize_backward(d.out, d.inverse, d.c, ROWS, INS, d_in);
	e = error_of(normalize_loss, &d, d.in, d_in, ROWS * INS);
	CHECK(e < TOLERANCE, "normalisation: %.1e", e);
}

#define VOCABULARY 11
#define DIMS 6
#define TEXTS 4

typedef struct Bag
{
	double table[VOCABULARY * DIMS];
	double out[TEXTS * DIMS];
	double c[TEXTS * DIMS];
	DsBagPooling pooling;
} Bag;

/* text 1 is empty, text 2 has a feature twice, features 0, 2, 6, 8, 10 do not occur */
static const uint32_t bag_ids[] = {3, 7, 1, 7, 9, 7, 4, 5};
static const size_t bag_offsets[TEXTS + 1] = {0, 3, 3, 6, 8};
static const uint32_t bag_rows[] = {1, 3, 4, 5, 7, 9};
static const uint32_t bag_row_offsets[] = {0, 1, 2, 3, 4, 7, 8};
static const uint32_t bag_row_texts[] = {0, 0, 3, 3, 0, 2, 2, 2};

static double
bag_loss(void *context)
{
	Bag *b = context;

	ds_bag_forward(b->table, DIMS, bag_ids, bag_offsets, TEXTS, b->pooling, b->out);
	return weighted_sum(b->c, b->out, TEXTS * DIMS);
}

static void
test_bag(void)
{
	static const char *const names[] = {"mean", "sum", "sqrt n"};
	Bag b;
	double scaled[TEXTS * DIMS];
	double d_rows[6 * DIMS];
	double d_table[VOCABULARY * DIMS] = {0};

	fill(b.table, VOCABULARY * DIMS, 1);
	fill(b.c, TEXTS * DIMS, 1);
	for (int p = 0; p < 3; p++)
	{
		double e;

		b.pooling = (DsBagPooling) p;
		ds_bag_backward(b.c, DIMS, bag_offsets, TEXTS, b.pooling, bag_row_texts, bag_row_offsets, 6,
						scaled, d_rows);
		for (size_t r = 0; r < 6; r++)
			memcpy(d_table + bag_rows[r] * DIMS, d_rows + r * DIMS, DIMS * sizeof(double));
		e = error_of(bag_loss, &b, b.table, d_table, VOCABULARY * DIMS);
		CHECK(e < TOLERANCE && b.out[DIMS] == 0, "embedding bag, %s: %.1e", names[p], e);
	}
}

/*
 * Losses
 */

#define PAIRS 4
#define DOCUMENTS 7
#define TARGET 1

typedef struct Losses
{
	double scores[PAIRS * DOCUMENTS];
	double scale;
	const DsLossMask *mask;
} Losses;

static double
softmax_of(void *context)
{
	Losses *l = context;
	double work[PAIRS * DOCUMENTS];

	memcpy(work, l->scores, sizeof(work));
	return ds_softmax_loss(work, PAIRS, DOCUMENTS, TARGET, l->mask, l->scale, 0.3, NULL, NULL);
}

static double
contrastive_of(void *context)
{
	Losses *l = context;
	double work[PAIRS * DOCUMENTS];

	memcpy(work, l->scores, sizeof(work));
	return ds_contrastive_loss(work, PAIRS, DOCUMENTS, TARGET, l->mask, 1.5, 0.3, NULL);
}

static void
test_losses(void)
{
	/* row 0 and 2 have the same document, row 1 and 3 the same query */
	static const uint64_t query_keys[] = {9, 1, 2, 3, 2};
	static const uint64_t document_keys[] = {8, 5, 6, 5, 7, 6, 5};
	const DsLossMask mask = {query_keys + TARGET, document_keys + TARGET, query_keys, document_keys,
							 TARGET + PAIRS};
	Losses l = {.scale = 2.5};

	for (int masked = 0; masked < 2; masked++)
	{
		double gradient[PAIRS * DOCUMENTS];
		double d_scale;
		double e;

		l.mask = masked ? &mask : NULL;
		fill(l.scores, PAIRS * DOCUMENTS, 1);
		memcpy(gradient, l.scores, sizeof(gradient));
		ds_softmax_loss(gradient, PAIRS, DOCUMENTS, TARGET, l.mask, l.scale, 0.3, &d_scale, NULL);
		e = error_of(softmax_of, &l, l.scores, gradient, PAIRS * DOCUMENTS);
		CHECK(e < TOLERANCE, "softmax loss%s, by the scores: %.1e", masked ? ", masked" : "", e);
		e = error_of(softmax_of, &l, &l.scale, &d_scale, 1);
		CHECK(e < TOLERANCE, "softmax loss%s, by the scale: %.1e", masked ? ", masked" : "", e);
		if (masked)
			CHECK(gradient[0 * DOCUMENTS + 3] == 0 && gradient[0 * DOCUMENTS + 6] == 0 &&
					  gradient[1 * DOCUMENTS + 4] == 0 && gradient[1 * DOCUMENTS + 5] == 0 &&
					  gradient[0 * DOCUMENTS + 1] != 0 && gradient[0 * DOCUMENTS + 2] != 0,
				  "masked columns have no gradient, the others do");
		for (size_t i = 0; i < PAIRS * DOCUMENTS; i++)
			l.scores[i] = 0.1 + 3 * ds_random_double(&dice);
		memcpy(gradient, l.scores, sizeof(gradient));
		ds_contrastive_loss(gradient, PAIRS, DOCUMENTS, TARGET, l.mask, 1.5, 0.3, NULL);
		e = error_of(contrastive_of, &l, l.scores, gradient, PAIRS * DOCUMENTS);
		CHECK(e < TOLERANCE, "contrastive loss%s: %.1e", masked ? ", masked" : "", e);
	}
}

/*
 * The whole encoder: the trainer's gradient against differences of its loss
 */

typedef struct Whole
{
	DsTrainer *trainer;
	const DsTrainBatch *batch;
} Whole;

static DsCode
forward_backward(DsTrainer *trainer, const DsTrainBatch *batch, DsStepResult *result)
{
	DsStatus status;
	DsCode code = ds_trainer_begin(trainer, batch, &status);

	for (int s = 0; s < DS_SHARDS && code == DS_OK; s++)
		ds_trainer_forward_shard(trainer, s);
	for (int s = 0; s < DS_SHARDS && code == DS_OK; s++)
		ds_trainer_loss_shard(trainer, s);
	for (int s = 0; s < DS_SHARDS && code == DS_OK; s++)
		ds_trainer_backward_shard(trainer, s);
	return code == DS_OK ? ds_trainer_reduce(trainer, result, &status) : code;
}

static double
whole_loss(void *context)
{
	Whole *w = context;
	DsStepResult result;

	return forward_backward(w->trainer, w->batch, &result) == DS_OK ? result.loss : HUGE_VAL;
}

#define MAX_PAIRS 10
#define MAX_DOCUMENTS 15

static void
random_texts(uint32_t *ids, size_t *offsets, size_t texts, uint32_t vocabulary, size_t fewest)
{
	offsets[0] = 0;
	for (size_t t = 0; t < texts; t++)
	{
		size_t n = fewest + ds_random_below(&dice, 8 - fewest);

		for (size_t i = 0; i < n; i++)
			ids[offsets[t] + i] = (uint32_t) ds_random_below(&dice, vocabulary);
		offsets[t + 1] = offsets[t] + n;
	}
}

static void
test_whole(const char *name, const DsDualEncoderConfig *config, const DsTrainConfig *train,
		   size_t pairs, size_t documents)
{
	uint32_t query_ids[MAX_PAIRS * 8];
	size_t query_offsets[MAX_PAIRS + 1];
	uint64_t query_keys[MAX_PAIRS];
	uint32_t document_ids[MAX_DOCUMENTS * 8];
	size_t document_offsets[MAX_DOCUMENTS + 1];
	uint64_t document_keys[MAX_DOCUMENTS];
	DsTrainBatch batch = {pairs,	  documents,	query_ids,		  query_offsets,
						  query_keys, document_ids, document_offsets, document_keys};
	DsDualEncoder encoder;
	DsArena arena;
	DsStatus status = {0};
	Whole whole = {NULL, &batch};
	DsStepResult result;
	double worst = 0;
	int complete = 1;

	/* some texts are empty; but a distance has no gradient where it is 0, as between two of these */
	size_t fewest = train->loss == DS_LOSS_CONTRASTIVE ? 1 : 0;

	ds_arena_init(&arena, NULL);
	random_texts(query_ids, query_offsets, pairs, config->tower[0].vocabulary, fewest);
	random_texts(document_ids, document_offsets, documents,
				 config->tower[config->shared ? 0 : 1].vocabulary, fewest);
	for (size_t i = 0; i < pairs; i++)
		query_keys[i] = ds_random_below(&dice, 12);
	for (size_t i = 0; i < documents; i++)
		document_keys[i] = ds_random_below(&dice, 20);
	if (ds_dual_encoder_plan(config, &encoder, &status) != DS_OK ||
		ds_dual_encoder_allocate(&encoder, &arena, &status) != DS_OK)
	{
		CHECK(0, "%s: %s", name, status.message);
		return;
	}
	ds_dual_encoder_init(&encoder, 3, train->temperature);
	/* biases of zero would hide errors, and make empty texts zero vectors, which have no gradient */
	for (size_t i = 0; i < encoder.parameter_count; i++)
		if (encoder.parameter[i].shape_count == 1 && i != encoder.scale_parameter)
			fill(encoder.parameter[i].value, encoder.parameter[i].count, 0.5);
	if (ds_trainer_create(&encoder, train, &arena, &whole.trainer, &status) != DS_OK ||
		forward_backward(whole.trainer, &batch, &result) != DS_OK)
	{
		CHECK(0, "%s: %s", name, status.message);
		return;
	}
	for (size_t i = 0; i < encoder.parameter_count; i++)
	{
		DsParameter *p = &encoder.parameter[i];
		double *gradient = ds_arena_alloc(&arena, p->count, sizeof(double));
		double largest = 0;
		double e;

		if (i == encoder.scale_parameter && !train->learn_temperature)
			continue;
		forward_backward(whole.trainer, &batch, &result);
		ds_trainer_gradient(whole.trainer, i, gradient);
		for (size_t k = 0; k < p->count; k++)
			largest = fmax(largest, fabs(gradient[k]));
		complete = complete && largest > 1e-6;
		e = error_of(whole_loss, &whole, p->value, gradient, p->count);
		if (e > worst)
			worst = e;
	}
	CHECK(worst < TOLERANCE && complete && result.loss > 0, "%s: %.1e (loss %.3f)", name, worst,
		  result.loss);
	ds_arena_free(&arena);
}

static void
test_encoders(void)
{
	const DsTowerConfig plain = {.vocabulary = 23, .embedding_dims = 5};
	const DsTowerConfig one = {
		.vocabulary = 23, .embedding_dims = 5, .dense_count = 1, .dense = {6}};
	const DsTowerConfig three = {.vocabulary = 70,
								 .embedding_dims = 7,
								 .pooling = DS_POOLING_SQRTN,
								 .dense_count = 3,
								 .dense = {8, 9, 6}};
	DsDualEncoderConfig c = {.shared = true, .tower = {one, one}, .score = DS_SCORE_COSINE};
	DsTrainConfig t = ds_train_defaults;

	t.temperature = 0.3;
	t.margin = 1.2;
	test_whole("shared, one dense layer, cosine", &c, &t, 8, 8);
	test_whole("the same with explicit negatives", &c, &t, 8, 13);
	test_whole("the same, shards of unequal size", &c, &t, 10, 15);
	test_whole("the same, fewer pairs than shards", &c, &t, 3, 6);
	c.score = DS_SCORE_DOT;
	test_whole("shared, dot", &c, &t, 8, 13);
	t.symmetric = true;
	test_whole("shared, dot, symmetric", &c, &t, 8, 13);
	c.score = DS_SCORE_COSINE;
	t.learn_temperature = true;
	test_whole("shared, cosine, symmetric, temperature learned", &c, &t, 8, 13);
	test_whole("the same, fewer pairs than shards", &c, &t, 2, 5);
	t.symmetric = false;
	c.tower[0] = c.tower[1] = plain;
	test_whole("no dense layers, temperature learned", &c, &t, 8, 13);
	c.shared = false;
	c.tower[0] = three;
	c.tower[1] = one;
	test_whole("two towers, three and one dense layers", &c, &t, 8, 13);
	t.feature_dropout = 0.3;
	test_whole("the same with dropout", &c, &t, 8, 13);
	t.feature_dropout = 0;
	t.symmetric = true;
	c.score = DS_SCORE_DOT;
	c.tower[0].pooling = DS_POOLING_SUM;
	test_whole("two towers, dot, sums, symmetric", &c, &t, 8, 8);
	t.symmetric = false;
	t.learn_temperature = false;
	t.loss = DS_LOSS_CONTRASTIVE;
	c.score = DS_SCORE_COSINE;
	c.tower[0] = c.tower[1] = one;
	test_whole("two towers, contrastive, cosine", &c, &t, 8, 13);
	c.score = DS_SCORE_DOT;
	t.margin = 3;
	test_whole("two towers, contrastive, dot", &c, &t, 9, 9);
	/* (a shared tower's last bias moves both ends of a distance alike: no gradient to test) */
	c.shared = true;
	c.tower[0] = c.tower[1] = plain;
	test_whole("shared, no dense layers, contrastive, dot", &c, &t, 8, 13);
	test_whole("the same, fewer pairs than shards", &c, &t, 3, 5);
}

int
main(void)
{
	ds_random_init(&dice, 11, 0);
	test_dense();
	test_bag();
	test_losses();
	test_encoders();
	return unit_done();
}
