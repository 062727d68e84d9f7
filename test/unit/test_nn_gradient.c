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
#include "nn/loss_list.c"
#include "nn/optimizer.c"
#include "nn/dual_encoder.c"
#include "nn/training_check.c"
#include "nn/training_dense.c"
#include "nn/training_layout.c"
#include "nn/training_loss.c"
#include "nn/training_rows.c"
#include "nn/training_values.c"
#include "nn/training_shard.c"
#include "nn/training.c"
#include "nn/tower_kernels.c"
#include "nn/transformer.c"
#include "nn/transformer_backward.c"
#include "nn/conv_kernels.c"
#include "nn/winograd.c"
#include "nn/conv.c"
#include "nn/image_tower.c"
#include "nn/image_tower_backward.c"
#include "nn/fusion_tower.c"

#include "training_block.h"

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

/*
 * All numbers of an array are looked at; under sanitizers, which are slow and learn nothing from the
 * same path again, every fifth of a long one.
 */
#ifdef __SANITIZE_ADDRESS__
#define STRIDE(n) ((n) > 16 ? 5 : 1)
#else
#define STRIDE(n) 1
#endif

/* relative error of gradient[n] by x[n] of function */
static double
error_of(Function function, void *context, double *x, const double *gradient, size_t n)
{
	double worst = 0;
	double largest = 1e-9;

	for (size_t i = 0; i < n; i += STRIDE(n))
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
	double d_weight[INS * OUTS] = {0};
	double d_bias[OUTS] = {0};
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
		memcpy(scaled, b.c, sizeof(scaled));
		ds_bag_scale(scaled, DIMS, bag_offsets, TEXTS, b.pooling);
		ds_bag_backward(scaled, DIMS, bag_row_texts, bag_row_offsets, 6, d_rows);
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

static const float row_weights[PAIRS] = {1, 0.5f, 2, 0};

static double
softmax_of(void *context)
{
	Losses *l = context;
	double work[PAIRS * DOCUMENTS];

	memcpy(work, l->scores, sizeof(work));
	return ds_softmax_loss(work, PAIRS, DOCUMENTS, TARGET, l->mask, l->scale, 0.3, row_weights,
						   NULL, NULL);
}

static double
contrastive_of(void *context)
{
	Losses *l = context;
	double work[PAIRS * DOCUMENTS];

	memcpy(work, l->scores, sizeof(work));
	return ds_contrastive_loss(work, PAIRS, DOCUMENTS, TARGET, l->mask, 1.5, 0.3, row_weights,
							   NULL);
}

static void
test_losses(void)
{
	/* row 0 and 2 have the same document, row 1 and 3 the same query */
	static const uint64_t query_keys[] = {9, 1, 2, 3, 2};
	static const uint64_t document_keys[] = {8, 5, 6, 5, 7, 6, 5};
	const DsLossMask mask = {.row_query = query_keys + TARGET,
							 .row_document = document_keys + TARGET,
							 .column_query = query_keys,
							 .column_document = document_keys,
							 .paired = TARGET + PAIRS};
	Losses l = {.scale = 2.5};

	for (int masked = 0; masked < 2; masked++)
	{
		double gradient[PAIRS * DOCUMENTS];
		double d_scale;
		double e;

		l.mask = masked ? &mask : NULL;
		fill(l.scores, PAIRS * DOCUMENTS, 1);
		memcpy(gradient, l.scores, sizeof(gradient));
		ds_softmax_loss(gradient, PAIRS, DOCUMENTS, TARGET, l.mask, l.scale, 0.3, row_weights,
						&d_scale, NULL);
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
		ds_contrastive_loss(gradient, PAIRS, DOCUMENTS, TARGET, l.mask, 1.5, 0.3, row_weights,
							NULL);
		e = error_of(contrastive_of, &l, l.scores, gradient, PAIRS * DOCUMENTS);
		CHECK(e < TOLERANCE, "contrastive loss%s: %.1e", masked ? ", masked" : "", e);
	}
}

/*
 * Losses over lists
 */

#define LIST 5

typedef struct ListCase
{
	DsListLoss list;
	double scores[LIST];
	float labels[LIST];
	size_t n;
} ListCase;

static double
list_of(void *context)
{
	ListCase *c = context;
	double gradient[LIST];
	bool right;

	return ds_list_loss(&c->list, c->scores, c->labels, c->n, gradient, NULL, &right);
}

static void
test_list(DsLoss loss, const char *name)
{
	/* a class for CLASSES, labels within 0 .. 1 for the others; two of them equal */
	ListCase c = {.list = {loss, 1, 0.7, 0.6}, .labels = {1, 0.2f, 0.8f, 0.2f, 0}, .n = LIST};
	double worst = 0;
	double d_scale;
	double e;
	bool right;

	for (int round = 0; round < 4; round++)
	{
		double gradient[LIST];

		c.n = round < 3 ? LIST : 2;
		c.list.scale = ds_loss_scales(loss) ? 1.7 : 1;
		for (size_t i = 0; i < LIST; i++)
			c.scores[i] = 0.2 + ds_random_double(&dice);
		ds_list_loss(&c.list, c.scores, c.labels, c.n, gradient, &d_scale, &right);
		e = error_of(list_of, &c, c.scores, gradient, c.n);
		worst = fmax(worst, e);
		if (ds_loss_scales(loss))
			worst = fmax(worst, error_of(list_of, &c, &c.list.scale, &d_scale, 1));
	}
	CHECK(worst < TOLERANCE, "%s: %.1e", name, worst);
}

/* Values worked out by hand, and who is called right */
static void
test_list_values(void)
{
	const double two[] = {2, 1};
	const float up[] = {0, 1};
	const float down[] = {1, 0};
	const float same[] = {1, 1};
	double g[2];
	bool right;
	DsListLoss list = {DS_LOSS_TRIPLET, 1, 0.5, 1};

#define VALUE(kind, labels, expected, is_right)                                                \
	do                                                                                         \
	{                                                                                          \
		double value;                                                                          \
                                                                                               \
		list.loss = kind;                                                                      \
		value = ds_list_loss(&list, two, labels, 2, g, NULL, &right);                          \
		CHECK(fabs(value - (expected)) < 1e-12 && right == (is_right), #kind ": %.6f", value); \
	} while (0)
	VALUE(DS_LOSS_TRIPLET, up, 1.5, false);
	VALUE(DS_LOSS_PAIR_CONTRASTIVE, up, 0.25, false);
	VALUE(DS_LOSS_REGRESSION, up, 2, false);
	VALUE(DS_LOSS_RANK_MARGIN, up, 1.5, false);
	VALUE(DS_LOSS_RANK_MARGIN, down, 0, true);
	VALUE(DS_LOSS_RANK_MARGIN, same, 0, true);
	VALUE(DS_LOSS_MARGIN_MSE, up, 4, false);
	VALUE(DS_LOSS_MARGIN_MSE, down, 0, true);
	VALUE(DS_LOSS_RANKNET, down, log(1 + exp(-1)), true);
	VALUE(DS_LOSS_LIST_SOFTMAX, up, log(1 + exp(-1)), true);
	VALUE(DS_LOSS_LISTNET, same, log(exp(2) + exp(1)) - 1.5, true);
	VALUE(DS_LOSS_KL, down, 0, true);
	VALUE(DS_LOSS_BINARY, down, (log(1 + exp(-2)) + log(1 + exp(1))) / 2, false);
	VALUE(DS_LOSS_CLASSES, down, log(1 + exp(1)), false);
	VALUE(DS_LOSS_CLASSES, up, log(1 + exp(-1)), true);
}

static void
test_lists(void)
{
	test_list(DS_LOSS_TRIPLET, "triplet");
	test_list(DS_LOSS_PAIR_CONTRASTIVE, "contrastive of pairs");
	test_list(DS_LOSS_REGRESSION, "regression");
	test_list(DS_LOSS_RANK_MARGIN, "margin ranking");
	test_list(DS_LOSS_MARGIN_MSE, "margin MSE");
	test_list(DS_LOSS_RANKNET, "RankNet");
	test_list(DS_LOSS_LISTNET, "ListNet");
	test_list(DS_LOSS_LIST_SOFTMAX, "softmax of a list");
	test_list(DS_LOSS_KL, "KL");
	test_list(DS_LOSS_BINARY, "binary cross-entropy");
	test_list(DS_LOSS_CLASSES, "multi-class cross-entropy");
	test_list_values();
}

/*
 * Whole networks: the trainer's gradient against differences of its loss
 */

#define MAX_PAIRS 10
#define MAX_DOCUMENTS 15
#define MAX_LENGTH 8
#define FEATURES 6
#define PIXELS (9 * 8 * 3)

typedef struct Whole
{
	DsTrainer *trainer;
	const DsTrainBatch *batches;
} Whole;

static DsCode
all_batches(Whole *w, DsStepResult *result)
{
	DsCode code = DS_OK;

	for (uint32_t i = 0; i < ds_trainer_config(w->trainer)->accumulate && code == DS_OK; i++)
		code = forward_backward(w->trainer, &w->batches[i], i, result);
	return code;
}

static double
whole_loss(void *context)
{
	DsStepResult result = {0};

	return all_batches(context, &result) == DS_OK ? result.loss : HUGE_VAL;
}

/* One batch's arrays */
typedef struct Arrays
{
	uint32_t ids[2][MAX_DOCUMENTS * MAX_LENGTH];
	uint8_t types[2][MAX_DOCUMENTS * MAX_LENGTH];
	size_t offsets[2][MAX_DOCUMENTS + 1];
	uint64_t keys[2][MAX_DOCUMENTS];
	float features[2][MAX_DOCUMENTS * FEATURES];
	float labels[MAX_DOCUMENTS * 5];
	float weights[MAX_PAIRS];
	size_t others[MAX_PAIRS + 1];
	uint8_t pixels[2][MAX_DOCUMENTS][PIXELS];
	uint32_t picture[2][MAX_DOCUMENTS];
} Arrays;

static void
random_texts(Arrays *a, int side, size_t texts, uint32_t vocabulary, size_t fewest, bool fusion)
{
	size_t *offsets = a->offsets[side];

	offsets[0] = 0;
	for (size_t t = 0; t < texts; t++)
	{
		size_t n = fewest + ds_random_below(&dice, MAX_LENGTH - fewest);

		for (size_t i = 0; i < n; i++)
		{
			a->ids[side][offsets[t] + i] = (uint32_t) ds_random_below(&dice, vocabulary);
			a->types[side][offsets[t] + i] = (uint8_t) ds_random_below(&dice, 2);
		}
		offsets[t + 1] = offsets[t] + n;
		a->keys[side][t] = ds_random_below(&dice, side == 0 ? 12 : 20);
	}
	for (size_t i = 0; i < texts * FEATURES; i++)
		a->features[side][i] = (float) ds_random_normal(&dice);
	for (size_t t = 0; t < texts; t++)
	{
		for (size_t i = 0; i < PIXELS; i++)
			a->pixels[side][t][i] = (uint8_t) ds_random_below(&dice, 256);
		/* some are the same as that before */
		a->picture[side][t] = t % 3 == 2 ? a->picture[side][t - 1] : (uint32_t) t;
		if (fusion && t % 4 == 3)
			a->picture[side][t] = DS_NO_PICTURE;
	}
}

static uint32_t
vocabulary_of(const DsTower *tower)
{
	return tower->body == DS_BODY_TRANSFORMER ? tower->spec.vocabulary
		   : tower->body == DS_BODY_IMAGE	  ? 1
											  : tower->bag.vocabulary;
}

static DsTrainBatch
random_batch(Arrays *a, const DsNet *net, const DsTrainConfig *train, size_t pairs,
			 size_t documents)
{
	DsTrainBatch batch = {.pairs = pairs, .documents = documents, .labels = a->labels};
	bool own = net->kind == DS_NET_DUAL && !net->shared;
	/* some texts are empty; but a distance has no gradient where it is 0, as between two of these */
	size_t fewest = train->loss == DS_LOSS_CONTRASTIVE || train->loss == DS_LOSS_TRIPLET ||
							train->loss == DS_LOSS_PAIR_CONTRASTIVE
						? 1
						: 0;
	size_t outs = net->kind == DS_NET_SINGLE ? ds_net_dims(net) : 1;

	random_texts(a, 0, pairs, vocabulary_of(&net->tower[0]), fewest,
				 net->tower[0].body == DS_BODY_FUSION);
	random_texts(a, 1, documents, vocabulary_of(&net->tower[own ? 1 : 0]), fewest,
				 net->tower[own ? 1 : 0].body == DS_BODY_FUSION);
	for (size_t i = 0; i < documents * outs; i++)
		a->labels[i] = train->loss == DS_LOSS_CLASSES ? (float) ds_random_below(&dice, outs)
													  : (float) ds_random_double(&dice);
	for (size_t i = 0; i < pairs; i++)
		a->weights[i] = (float) (0.5 + ds_random_double(&dice));
	/* the first pair has all but one of the others */
	for (size_t i = 0; i <= pairs; i++)
		a->others[i] = i == 0 ? 0 : i < pairs ? (documents - pairs) * 2 / 3 : documents - pairs;
	batch.others = a->others;
	batch.weights = a->weights;
	batch.query = (DsTrainTexts){.ids = a->ids[0],
								 .offsets = a->offsets[0],
								 .types = a->types[0],
								 .features = a->features[0],
								 .pixels = a->pixels[0][0],
								 .pictures = MAX_DOCUMENTS,
								 .picture = a->picture[0],
								 .keys = a->keys[0]};
	batch.document = (DsTrainTexts){.ids = a->ids[1],
									.offsets = a->offsets[1],
									.types = a->types[1],
									.features = a->features[1],
									.pixels = a->pixels[1][0],
									.pictures = MAX_DOCUMENTS,
									.picture = a->picture[1],
									.keys = a->keys[1]};
	return batch;
}

static void
test_whole(const char *name, const DsNet *net, const DsTrainConfig *train, size_t pairs,
		   size_t documents)
{
	Arrays arrays[2];
	DsTrainBatch batches[2];
	DsTrainLimits limits = {MAX_PAIRS, MAX_DOCUMENTS, 2 * MAX_DOCUMENTS * MAX_LENGTH,
							MAX_DOCUMENTS * MAX_LENGTH};
	DsArena arena;
	Whole whole = {NULL, batches};
	DsStepResult result = {0};
	double worst = 0;
	int complete = 1;

	ds_arena_init(&arena, NULL);
	for (uint32_t i = 0; i < train->accumulate; i++)
		batches[i] = random_batch(&arrays[i], net, train, pairs, documents);
	whole.trainer = make_trainer(net, train, &limits, &arena);
	/* biases of zero would hide errors, and make empty texts zero vectors, which have no gradient */
	for (size_t i = 0; i < ds_trainer_parameters(whole.trainer); i++)
	{
		DsTrained p = ds_trainer_parameter(whole.trainer, i);
		bool norm = strstr(p.name, "norm.weight") != NULL;

		if (strcmp(p.name, "log_scale") == 0)
			continue;
		if (p.shape_count == 1 || strchr(p.name, '.') == NULL)
			fill(p.value, p.count, 0.5);
		else if (strstr(p.name, "layer.") != NULL || strstr(p.name, "token") != NULL ||
				 strstr(p.name, "module") != NULL || strstr(p.name, "fusion") != NULL ||
				 strstr(p.name, "patch") != NULL)
			fill(p.value, p.count, 0.4);
		for (size_t k = 0; norm && k < p.count; k++)
			p.value[k] += 1;
		for (size_t k = 0; strstr(p.name, ".norm.var") != NULL && k < p.count; k++)
			p.value[k] = 1 + fabs(p.value[k]);
	}
	for (size_t i = 0; i < ds_trainer_parameters(whole.trainer); i++)
	{
		DsTrained p = ds_trainer_parameter(whole.trainer, i);
		double *gradient = ds_arena_alloc(&arena, p.count, sizeof(double));
		double largest = 0;
		double e;

		if (p.frozen)
			continue;
		if (all_batches(&whole, &result) != DS_OK)
		{
			CHECK(0, "%s", name);
			return;
		}
		ds_trainer_gradient(whole.trainer, i, gradient);
		for (size_t k = 0; k < p.count; k++)
		{
			gradient[k] /= train->accumulate;
			largest = fmax(largest, fabs(gradient[k]));
		}
		if (strstr(p.name, ".norm.mean") != NULL || strstr(p.name, ".norm.var") != NULL)
			continue; /* no gradient: the moments of the batch */
		/* what shifts all scores that are compared alike: its gradient is rounding */
		if (strstr(p.name, "key.bias") != NULL ||
			(net->kind == DS_NET_SINGLE && ds_net_dims(net) == 1 && p.count == 1 &&
			 train->loss != DS_LOSS_REGRESSION && train->loss != DS_LOSS_BINARY))
		{
			complete = complete && largest < 1e-12;
			continue;
		}
		complete = complete && largest > 1e-6;
		e = error_of(whole_loss, &whole, p.value, gradient, p.count);
		if (e > worst)
			worst = e;
		if (!(e < TOLERANCE))
			printf("# %s: %.1e, largest %.1e\n", p.name, e, largest);
	}
	CHECK(worst < TOLERANCE && complete && result.loss > 0, "%s: %.1e (loss %.3f)", name, worst,
		  result.loss);
	ds_arena_free(&arena);
}

static void
test_bags(void)
{
	const DsTowerConfig plain = {.vocabulary = 23, .embedding_dims = 5};
	const DsTowerConfig one = {
		.vocabulary = 23, .embedding_dims = 5, .dense_count = 1, .dense = {6}};
	const DsTowerConfig three = {.vocabulary = 70,
								 .embedding_dims = 7,
								 .pooling = DS_POOLING_SQRTN,
								 .dense_count = 3,
								 .dense = {8, 9, 6}};
	DsNet n = {.kind = DS_NET_DUAL,
			   .shared = true,
			   .tower = {{.bag = one}, {.bag = one}},
			   .score = DS_SCORE_COSINE};
	DsTrainConfig t = ds_train_defaults;

	t.temperature = 0.3;
	t.margin = 1.2;
	test_whole("shared, one dense layer, cosine", &n, &t, 8, 8);
	test_whole("the same with explicit negatives", &n, &t, 8, 13);
	test_whole("the same, shards of unequal size", &n, &t, 10, 15);
	test_whole("the same, fewer pairs than shards", &n, &t, 3, 6);
	n.score = DS_SCORE_DOT;
	test_whole("shared, dot", &n, &t, 8, 13);
	t.symmetric = true;
	test_whole("shared, dot, symmetric", &n, &t, 8, 13);
	n.score = DS_SCORE_COSINE;
	t.learn_temperature = true;
	test_whole("shared, cosine, symmetric, temperature learned", &n, &t, 8, 13);
	test_whole("the same, fewer pairs than shards", &n, &t, 2, 5);
	t.accumulate = 2;
	test_whole("the same, two batches a step", &n, &t, 8, 13);
	t.accumulate = 1;
	t.matryoshka_count = 3;
	t.matryoshka[0] = 6;
	t.matryoshka[1] = 4;
	t.matryoshka[2] = 2;
	t.matryoshka_weight[0] = 1;
	t.matryoshka_weight[1] = 0.7;
	t.matryoshka_weight[2] = 0.4;
	test_whole("the same, Matryoshka", &n, &t, 8, 13);
	n.score = DS_SCORE_DOT;
	t.loss = DS_LOSS_MARGIN_MSE;
	t.learn_temperature = false;
	test_whole("margin MSE, dot, Matryoshka", &n, &t, 8, 13);
	t.loss = DS_LOSS_CONTRASTIVE;
	n.score = DS_SCORE_COSINE;
	/* (equal texts would make distances of 0, whose rounding is no derivative) */
	n.tower[0].bag.vocabulary = n.tower[1].bag.vocabulary = 300;
	test_whole("contrastive, cosine, Matryoshka", &n, &t, 8, 13);
	t.loss = DS_LOSS_SOFTMAX;
	t.learn_temperature = true;
	t.matryoshka_count = 0;
	t.symmetric = false;
	n.tower[0].bag = n.tower[1].bag = plain;
	test_whole("no dense layers, temperature learned", &n, &t, 8, 13);
	n.shared = false;
	n.tower[0].bag = three;
	n.tower[1].bag = one;
	test_whole("two towers, three and one dense layers", &n, &t, 8, 13);
	t.feature_dropout = 0.3;
	test_whole("the same with dropout", &n, &t, 8, 13);
	t.feature_dropout = 0;
	t.rule_count = 1;
	t.rules[0] = (DsRateRule){"document", 0};
	test_whole("the same, documents frozen", &n, &t, 8, 13);
	t.rules[0] = (DsRateRule){"*.embedding", 0};
	test_whole("the same, tables frozen", &n, &t, 8, 13);
	t.rule_count = 0;
	t.symmetric = true;
	n.score = DS_SCORE_DOT;
	n.tower[0].bag.pooling = DS_POOLING_SUM;
	test_whole("two towers, dot, sums, symmetric", &n, &t, 8, 8);
	t.symmetric = false;
	t.learn_temperature = false;
	t.loss = DS_LOSS_CONTRASTIVE;
	n.score = DS_SCORE_COSINE;
	n.tower[0].bag = n.tower[1].bag = one;
	test_whole("two towers, contrastive, cosine", &n, &t, 8, 13);
	n.score = DS_SCORE_DOT;
	t.margin = 3;
	test_whole("two towers, contrastive, dot", &n, &t, 9, 9);
	/* (a shared tower's last bias moves both ends of a distance alike: no gradient to test) */
	n.shared = true;
	n.tower[0].bag = n.tower[1].bag = plain;
	test_whole("shared, no dense layers, contrastive, dot", &n, &t, 8, 13);
	test_whole("the same, fewer pairs than shards", &n, &t, 3, 5);
}

/* Heads on features, with every loss over lists; and networks of one tower */
static void
test_heads(void)
{
	static const struct
	{
		DsLoss loss;
		const char *name;
		size_t documents; /* for 6 pairs */
	} lists[] = {{DS_LOSS_TRIPLET, "two heads, triplet", 12},
				 {DS_LOSS_PAIR_CONTRASTIVE, "two heads, contrastive of pairs", 6},
				 {DS_LOSS_REGRESSION, "two heads, regression of cosines", 6},
				 {DS_LOSS_RANK_MARGIN, "two heads, margin ranking", 13},
				 {DS_LOSS_MARGIN_MSE, "two heads, margin MSE", 13},
				 {DS_LOSS_RANKNET, "two heads, RankNet", 13},
				 {DS_LOSS_LISTNET, "two heads, ListNet", 13},
				 {DS_LOSS_LIST_SOFTMAX, "two heads, softmax of a list", 13},
				 {DS_LOSS_KL, "two heads, KL", 13},
				 {DS_LOSS_BINARY, "two heads, binary cross-entropy", 9}};
	const DsTower head = {.body = DS_BODY_FEATURES,
						  .bag = {.embedding_dims = FEATURES, .dense_count = 2, .dense = {7, 5}}};
	DsNet n = {.kind = DS_NET_DUAL, .tower = {head, head}, .score = DS_SCORE_COSINE};
	DsTrainConfig t = ds_train_defaults;

	t.temperature = 0.4;
	t.margin = 1.5;
	t.teacher_temperature = 0.5;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
	{
		t.loss = lists[i].loss;
		t.learn_temperature = ds_loss_scales(t.loss);
		test_whole(lists[i].name, &n, &t, 6, lists[i].documents);
	}
	n.score = DS_SCORE_DOT;
	n.tower[0].bag.last_relu = n.tower[1].bag.last_relu = true;
	t.loss = DS_LOSS_SOFTMAX;
	test_whole("two heads that end in ReLU, dot, softmax", &n, &t, 8, 13);
	n.kind = DS_NET_SINGLE;
	n.tower[0].bag.last_relu = false;
	t.loss = DS_LOSS_CLASSES;
	test_whole("one head, classes", &n, &t, 8, 13);
	t.loss = DS_LOSS_BINARY;
	test_whole("one head, several binary labels", &n, &t, 8, 13);
	n.tower[0].bag.dense[1] = 1;
	for (size_t i = 2; i < 9; i++)
	{
		char name[64];

		t.loss = lists[i].loss;
		snprintf(name, sizeof(name), "one head,%s", strchr(lists[i].name, ',') + 1);
		test_whole(name, &n, &t, 6, 13);
	}
}

static DsEncoderSpec
small_bert(void)
{
	DsEncoderSpec spec;

	ds_spec_init(&spec, DS_ENCODER_TRANSFORMER);
	spec.vocabulary = 19;
	spec.hidden = 8;
	spec.positions = 12;
	spec.types = 2;
	spec.embedding_norm = 1;
	spec.layers = 2;
	spec.heads = 2;
	spec.head_dims = 3; /* another width than the hidden one */
	spec.intermediate = 11;
	spec.activation = DS_ACT_GELU;
	spec.norm_epsilon = 1e-3f;
	spec.norm_bias = spec.qkv_bias = spec.out_bias = spec.up_bias = spec.down_bias = 1;
	spec.max_tokens = 10;
	spec.pooling = DS_POOL_MEAN;
	return spec;
}

static void
test_transformers(void)
{
	DsTower bert = {.body = DS_BODY_TRANSFORMER, .spec = small_bert()};
	DsNet n = {.kind = DS_NET_DUAL, .shared = true, .tower = {bert, bert}};
	DsTrainConfig t = ds_train_defaults;

	t.temperature = 0.3;
	test_whole("transformer, shared, mean", &n, &t, 8, 13);
	n.tower[0].dropout = 0.2;
	n.tower[0].attention_dropout = 0.3;
	test_whole("the same with dropout", &n, &t, 5, 6);
	t.cache_texts = 2;
	test_whole("the same with cached gradients", &n, &t, 8, 9);
	t.cache_texts = 0;
	n.tower[0].spec.activation = DS_ACT_GELU_TANH;
	n.tower[0].spec.qkv_fused = 1;
	t.rule_count = 2;
	t.rules[0] = (DsRateRule){"*.layer.0", 0};
	t.rules[1] = (DsRateRule){"*.token", 0};
	test_whole("the same, some of it frozen", &n, &t, 5, 6);
	t.rules[0] = (DsRateRule){"*", 0};
	t.rules[1] = (DsRateRule){"*.layer.1", 0.5};
	test_whole("the same, all but the last layer frozen", &n, &t, 5, 6);
	n.shared = false;
	t.rule_count = 0;
	n.tower[0].spec.activation = DS_ACT_QUICK_GELU;
	n.tower[0].spec.position_offset = 2;
	n.tower[0].spec.types = 0;
	n.tower[1].spec.activation = DS_ACT_SILU;
	n.tower[1].spec.pooling = DS_POOL_CLS;
	n.tower[1].spec.norm_first = 1;
	n.tower[1].spec.final_norm = 1;
	test_whole("two of them, one with norms first", &n, &t, 6, 8);
	t.rule_count = 2;
	t.rules[0] = (DsRateRule){"document", 0};
	t.rules[1] = (DsRateRule){"document.layer.1.attention", 1};
	test_whole("the same, one but for an attention frozen", &n, &t, 6, 8);
	t.rule_count = 0;
	n.tower[1].spec.first_norm_absent = 1;
	n.tower[1].spec.module_count = 5;
	n.tower[1].spec.modules[0] = (DsSpecModule){DS_MODULE_DENSE, 8, 9, DS_ACT_TANH, 1, 0};
	n.tower[1].spec.modules[1] = (DsSpecModule){DS_MODULE_NORM, 9, 9, 0, 1, 1e-3f};
	n.tower[1].spec.modules[2] = (DsSpecModule){DS_MODULE_SLICE, 9, 7, 0, 0, 0};
	n.tower[1].spec.modules[3] = (DsSpecModule){DS_MODULE_NORMALIZE, 7, 7, 0, 0, 0};
	n.tower[1].spec.modules[4] = (DsSpecModule){DS_MODULE_DENSE, 7, 8, DS_ACT_IDENTITY, 0, 0};
	test_whole("the same with modules", &n, &t, 6, 8);

	/* a cross-encoder: BERT's pooler, one score */
	n.kind = DS_NET_SINGLE;
	n.tower[0] = bert;
	n.tower[0].spec.pooling = DS_POOL_CLS;
	n.tower[0].spec.scores = 1;
	n.tower[0].spec.module_count = 2;
	n.tower[0].spec.modules[0] = (DsSpecModule){DS_MODULE_DENSE, 8, 8, DS_ACT_TANH, 1, 0};
	n.tower[0].spec.modules[1] = (DsSpecModule){DS_MODULE_DENSE, 8, 1, DS_ACT_IDENTITY, 1, 0};
	t.loss = DS_LOSS_BINARY;
	test_whole("cross-encoder, binary cross-entropy", &n, &t, 6, 6);
	t.loss = DS_LOSS_LISTNET;
	test_whole("cross-encoder, ListNet", &n, &t, 4, 9);
	n.tower[0].spec.modules[1].out = 3;
	t.loss = DS_LOSS_CLASSES;
	test_whole("cross-encoder, three classes", &n, &t, 6, 6);
}

#define CONV(from, outs, size, by, around)                                          \
	.kind = DS_LAYER_CONV, .input = (from), .out = (outs), .kernel_height = (size), \
	.kernel_width = (size), .stride = (by), .padding = (around)

/* Pools of all kinds, and what a residual network has, in 9 x 8 pixels */
static DsImageSpec
small_network(void)
{
	const DsImageLayer layers[] = {
		{CONV(0, 5, 3, 1, 1), .norm = 1, .epsilon = 1e-2f, .activation = DS_ACT_RELU},
		{.kind = DS_LAYER_AVERAGE_POOL,
		 .input = 1,
		 .out = 5,
		 .kernel_height = 2,
		 .kernel_width = 2,
		 .stride = 2}, /* 4 x 4 */
		{CONV(2, 5, 3, 1, 1), .norm = 1, .epsilon = 1e-2f, .activation = DS_ACT_RELU},
		{CONV(3, 5, 3, 1, 1), .norm = 1, .epsilon = 1e-2f, .add = 2, .activation = DS_ACT_RELU},
		{.kind = DS_LAYER_SHORTCUT, .input = 4, .out = 8, .stride = 2}, /* 2 x 2 */
		{CONV(4, 8, 3, 2, 1), .norm = 1, .epsilon = 1e-2f, .activation = DS_ACT_SILU},
		{CONV(6, 8, 1, 1, 0), .bias = 1, .add = 5, .activation = DS_ACT_TANH},
		{.kind = DS_LAYER_MAX_POOL,
		 .input = 7,
		 .out = 8,
		 .kernel_height = 2,
		 .kernel_width = 1,
		 .stride = 1,
		 .padding = 0}, /* 1 x 2 */
		{.kind = DS_LAYER_GLOBAL_AVERAGE, .input = 8, .out = 8},
	};
	DsImageSpec spec;

	ds_image_spec_init(&spec, DS_IMAGE_CONV);
	spec.height = 9;
	spec.width = 8;
	spec.channels = 3;
	spec.layer_count = sizeof(layers) / sizeof(layers[0]);
	memcpy(spec.layers, layers, sizeof(layers));
	spec.module_count = 2;
	spec.modules[0] = (DsSpecModule){DS_MODULE_DENSE, 8, 6, DS_ACT_GELU, 1, 0};
	spec.modules[1] = (DsSpecModule){DS_MODULE_NORMALIZE, 6, 6, 0, 0, 0};
	return spec;
}

static void
test_images(void)
{
	DsTower image = {.body = DS_BODY_IMAGE,
					 .image = small_network(),
					 .pixel_mean = {0.5, 0.4, 0.3},
					 .pixel_deviation = {0.3, 0.3, 0.2},
					 .mirrors = true,
					 .moves = 2};
	DsTower bag = {.body = DS_BODY_BAG,
				   .bag = {.vocabulary = 17, .embedding_dims = 5, .dense_count = 1, .dense = {6}}};
	DsNet n = {.kind = DS_NET_DUAL, .tower = {bag, image}, .score = DS_SCORE_COSINE};
	DsTrainConfig t = ds_train_defaults;

	t.temperature = 0.4;
	test_whole("texts and pictures", &n, &t, 8, 8);
	test_whole("the same with explicit negatives", &n, &t, 8, 13);
	test_whole("the same, fewer pairs than shards", &n, &t, 3, 6);
	t.symmetric = true;
	t.accumulate = 2;
	t.learn_temperature = true;
	test_whole("the same both ways, two batches a step", &n, &t, 6, 9);
	t.accumulate = 1;
	t.rule_count = 1;
	t.rules[0] = (DsRateRule){"document.layer.0", 0};
	test_whole("the same, the first layer frozen", &n, &t, 6, 9);
	t.rules[0] = (DsRateRule){"*.layer.2.norm.mean", 0};
	test_whole("the same, one layer by its averages", &n, &t, 6, 9);
	t.rule_count = 0;
	n.tower[1].fixed_moments = true;
	test_whole("the same, all layers by their averages", &n, &t, 6, 9);
	n.tower[1].fixed_moments = false;
	t.rule_count = 3;
	t.rules[0] = (DsRateRule){"document", 0};
	t.rules[1] = (DsRateRule){"document.layer.3.norm", 1};
	t.rules[2] = (DsRateRule){"document.layer.6", 1};
	test_whole("the same, a norm and a layer alone", &n, &t, 6, 9);
	t.rule_count = 0;
	n.tower[1].body = DS_BODY_FUSION;
	n.tower[1].bag = bag.bag;
	n.tower[1].fusion_dims = 6;
	test_whole("texts and documents of both, joined", &n, &t, 8, 13);
	n.tower[1].fusion = DS_FUSION_GATED;
	n.tower[1].leave_out = 0.3;
	test_whole("the same by a gate, some left out", &n, &t, 8, 13);
	n.shared = true;
	n.tower[0] = image;
	test_whole("pictures and pictures, one tower", &n, &t, 6, 9);
	n.kind = DS_NET_SINGLE;
	n.tower[0].image.module_count = 1;
	t.symmetric = t.learn_temperature = false;
	t.loss = DS_LOSS_CLASSES;
	test_whole("classes of pictures", &n, &t, 8, 8);
}

/* 4 x 3 patches of 2 x 2 pixels, as CLIP reads them: norms first and behind the embeddings */
static DsImageSpec
small_vit(void)
{
	DsImageSpec spec;
	DsEncoderSpec *t = &spec.transformer;

	ds_image_spec_init(&spec, DS_IMAGE_VIT);
	spec.height = 8;
	spec.width = 6;
	spec.channels = 3;
	spec.patch = 2;
	t->patch_dims = 12;
	t->class_token = 1;
	t->hidden = 8;
	t->positions = t->max_tokens = 13;
	t->embedding_norm = t->norm_first = t->final_norm = 1;
	t->layers = 2;
	t->heads = 2;
	t->head_dims = 3;
	t->intermediate = 11;
	t->activation = DS_ACT_QUICK_GELU;
	t->norm_epsilon = 1e-3f;
	t->norm_bias = t->qkv_bias = t->out_bias = t->up_bias = t->down_bias = 1;
	t->pooling = DS_POOL_CLS;
	t->module_count = 1;
	t->modules[0] = (DsSpecModule){DS_MODULE_DENSE, 8, 6, DS_ACT_IDENTITY, 0, 0};
	return spec;
}

/* The texts of CLIP: what comes later is not seen, the end of a text is its vector */
static DsEncoderSpec
small_clip(void)
{
	DsEncoderSpec spec = small_bert();

	spec.types = spec.embedding_norm = 0;
	spec.norm_first = spec.final_norm = spec.causal = 1;
	spec.activation = DS_ACT_QUICK_GELU;
	spec.pooling = DS_POOL_EOT;
	spec.eot_id = 5;
	spec.module_count = 1;
	spec.modules[0] = (DsSpecModule){DS_MODULE_DENSE, 8, 6, DS_ACT_IDENTITY, 0, 0};
	return spec;
}

static void
test_clip(void)
{
	DsTower text = {.body = DS_BODY_TRANSFORMER, .spec = small_clip()};
	DsTower image = {.body = DS_BODY_IMAGE,
					 .image = small_vit(),
					 .pixel_mean = {0.5, 0.4, 0.3},
					 .pixel_deviation = {0.3, 0.3, 0.2},
					 .mirrors = true,
					 .moves = 1};
	DsNet n = {.kind = DS_NET_DUAL, .tower = {text, image}, .score = DS_SCORE_COSINE};
	DsEncoderSpec *t1 = &n.tower[1].image.transformer;
	DsTrainConfig t = ds_train_defaults;

	t.temperature = 0.4;
	test_whole("CLIP", &n, &t, 8, 8);
	t.symmetric = t.learn_temperature = true;
	test_whole("CLIP, both ways, with explicit negatives", &n, &t, 8, 13);
	test_whole("the same, fewer pairs than shards", &n, &t, 3, 6);
	for (int side = 0; side < 2; side++)
	{
		n.tower[side].dropout = 0.2;
		n.tower[side].attention_dropout = 0.3;
	}
	t.accumulate = 2;
	test_whole("the same with dropout, two batches a step", &n, &t, 6, 8);
	t.accumulate = 1;
	t.cache_texts = 2;
	test_whole("the same with cached gradients", &n, &t, 8, 9);
	t.cache_texts = 0;
	t.rule_count = 3;
	t.rules[0] = (DsRateRule){"*", 0};
	t.rules[1] = (DsRateRule){"*.layer.1", 1};
	t.rules[2] = (DsRateRule){"*.module", 1};
	test_whole("the same, the last layers and the projections alone", &n, &t, 6, 8);
	t.rules[1] = (DsRateRule){"document.class", 1};
	t.rules[2] = (DsRateRule){"document.patch.bias", 1};
	t1->patch_bias = 1;
	test_whole("the same, class token and bias of patches alone", &n, &t, 6, 8);
	t.rules[0] = (DsRateRule){"*.patch", 0};
	t.rules[1] = (DsRateRule){"*.class", 0};
	t.rules[2] = (DsRateRule){"*.token", 0};
	test_whole("the same, these and the tokens frozen", &n, &t, 6, 8);
	t.rule_count = 0;

	/* OpenCLIP: the mean of the patches, a norm behind it; other sets of biases */
	t1->pooling = DS_POOL_MEAN;
	t1->pool_skip = 1;
	t1->qkv_fused = 1;
	t1->final_norm = 0;
	t1->activation = DS_ACT_GELU;
	t1->module_count = 2;
	t1->modules[1] = t1->modules[0];
	t1->modules[0] = (DsSpecModule){DS_MODULE_NORM, 8, 8, 0, 1, 1e-3f};
	n.tower[0].spec.qkv_fused = 1;
	n.tower[0].spec.qkv_bias = n.tower[0].spec.up_bias = 0;
	n.tower[0].spec.pooling = DS_POOL_LAST;
	test_whole("OpenCLIP", &n, &t, 6, 8);
	/* without a class token, with norms behind the layers */
	t1->class_token = t1->pool_skip = t1->norm_first = 0;
	t1->positions = 15;
	t1->max_tokens = 12;
	t1->position_offset = 3;
	test_whole("patches alone, norms behind", &n, &t, 6, 8);
	n.tower[1].image = small_vit();
	n.tower[1].image.transformer.embedding_norm = 0;
	n.tower[1].image.transformer.modules[0].out = 8;
	n.shared = true;
	n.tower[0] = n.tower[1];
	test_whole("pictures and pictures, one tower", &n, &t, 6, 9);
	n.kind = DS_NET_SINGLE;
	n.tower[0].image.transformer.modules[0].out = 5;
	n.tower[0].image.transformer.modules[0].bias = 1;
	t.symmetric = t.learn_temperature = false;
	t.loss = DS_LOSS_CLASSES;
	test_whole("classes of pictures, ViT", &n, &t, 8, 8);
}

int
main(void)
{
	ds_random_init(&dice, 11, 0);
	test_dense();
	test_bag();
	test_losses();
	test_lists();
	test_bags();
	test_heads();
	test_transformers();
	test_images();
	test_clip();
	return unit_done();
}
