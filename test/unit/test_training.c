/*
 * test_training.c
 *		Training: it learns, it is the same whoever computes what, it can be stopped
 *		and continued, cancelled, frozen and accumulated.  (Gradients:
 *		test_nn_gradient.c.)
 */
#include "unit.h"

#include "base/random.h"
#include "nn/simd.h"
#include "nn/training.h"
#include "training_block.h"

static DsRandom dice;

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

static DsNet
small_net(bool shared)
{
	DsDualEncoderConfig c = ds_dual_encoder_defaults;

	c.shared = shared;
	for (int t = 0; t < 2; t++)
		c.tower[t] = (DsTowerConfig){.vocabulary = VOCABULARY,
									 .embedding_dims = t == 0 || shared ? 24 : 33,
									 .dense_count = 2,
									 .dense = {40, 37}};
	return bag_net(&c);
}

static const DsTrainLimits limits = {MAX_TEXTS, 2 * MAX_TEXTS, 2 * MAX_TEXTS *MAX_TOKENS,
									 5 * MAX_TOKENS};

static DsTrainBatch
batch_of(const Ragged *queries, const Ragged *documents, size_t pairs, size_t all)
{
	return (DsTrainBatch){
		.pairs = pairs,
		.documents = all,
		.query = {.ids = queries->ids, .offsets = queries->offsets, .keys = queries->keys},
		.document = {.ids = documents->ids, .offsets = documents->offsets, .keys = documents->keys},
	};
}

static bool
after_a_while(void *context)
{
	return --*(int *) context < 0;
}

static Memory
save(const DsTrainer *trainer, DsArena *arena)
{
	Memory m = {.most = block_size + 4096};
	DsBlobWriter writer = {&m, memory_write};

	m.bytes = ds_arena_alloc(arena, m.most, 1);
	CHECK(ds_trainer_save(trainer, &writer, NULL, NULL) == DS_OK && m.size > 0, "a checkpoint");
	return m;
}

static void
test_learning(void)
{
	DsNet net = small_net(true);
	DsTrainConfig t = ds_train_defaults;
	DsTrainer *trainer;
	DsDualEncoder encoder;
	DsArena arena;
	DsStatus status;
	DsStepResult result = {0};
	Ragged queries;
	Ragged documents;
	DsTrainBatch batch;
	double first = 0;
	int good = 1;
	static float vectors[MAX_TEXTS * 37];
	static float again[MAX_TEXTS * 37];
	double worst = 0;
	float *scratch;

	t.schedule.initial = 0.01;
	t.feature_dropout = 0.1;
	t.learn_temperature = true;
	ds_arena_init(&arena, NULL);
	trainer = make_trainer(&net, &t, &limits, &arena);
	random_texts(&queries, 30);
	random_texts(&documents, 37);
	batch = batch_of(&queries, &documents, 30, 37);
	for (int step = 0; step < 40; step++)
	{
		good = good && ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_OK;
		if (step == 0)
			first = result.loss;
	}
	CHECK(good && first > 2 && result.loss < 0.1 && result.accuracy == 1,
		  "40 steps learn 30 pairs by heart: loss %.3f to %.3f", first, result.loss);
	CHECK(result.step == 40 && ds_trainer_steps(trainer) == 40 && result.temperature != 0.05 &&
			  fabs(result.learning_rate - ds_schedule_rate(&t.schedule, 39)) < 1e-12,
		  "the result of a step: temperature %.4f, rate %.5f", result.temperature,
		  result.learning_rate);
	/* what was learned is what inference computes */
	CHECK(ds_trainer_dual_encoder(trainer, &encoder), "an encoder of the trainer's values");
	scratch = ds_arena_alloc(&arena, ds_dual_encoder_scratch(&encoder), sizeof(float));
	ds_dual_encoder_infer(&encoder, DS_SIDE_DOCUMENT, documents.ids, documents.offsets, 37, scratch,
						  vectors, NULL, &status);
	for (size_t q = 0; q < 30; q++)
	{
		float vector[37];
		size_t best = 0;
		float top = -2;

		ds_dual_encoder_infer(&encoder, DS_SIDE_QUERY, queries.ids, queries.offsets + q, 1, scratch,
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
	CHECK(ds_trainer_encode(trainer, DS_SIDE_DOCUMENT, &batch.document, 37, again, NULL, &status) ==
			  DS_OK,
		  "vectors between steps");
	for (size_t i = 0; i < 37 * (size_t) 37; i++)
		worst = fmax(worst, fabs((double) (vectors[i] - again[i])));
	CHECK(worst < 1e-6, "are those of inference: %.1e", worst);
	ds_arena_free(&arena);
}

/* 1, 2, 3 and 4 workers, explicit negatives of their own */
static void
test_workers(bool shared, uint32_t accumulate)
{
	DsNet net = small_net(shared);
	DsTrainConfig t = ds_train_defaults;
	DsArena blocks;
	DsTrainer *reference = NULL;
	Ragged queries[2];
	Ragged documents[2];
	static const size_t others[31] = {0, 2, 2, 3, 3, 3, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5,
									  5, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 7, 7};
	DsTrainBatch batch[2];
	DsStepResult one = {0};

	for (int i = 0; i < 2; i++)
	{
		random_texts(&queries[i], 30);
		random_texts(&documents[i], 37);
		batch[i] = batch_of(&queries[i], &documents[i], 30, 37);
		batch[i].others = others;
	}
	t.schedule.initial = 0.01;
	t.feature_dropout = 0.1;
	t.symmetric = true;
	t.accumulate = accumulate;
	ds_arena_init(&blocks, NULL);
	for (int n = 1; n <= 4; n++)
	{
		DsTrainer *trainer;
		DsStepResult result = {0};
		bool good = train_by_workers(n, &net, &t, &limits, batch, 12, &blocks, &trainer, &result);

		if (n == 1)
		{
			reference = trainer;
			one = result;
		}
		CHECK(good && result.loss == one.loss && result.gradient_norm == one.gradient_norm &&
				  same_values(reference, trainer),
			  "%d workers, %u batches a step: the same weights, to the bit (loss %.4f)", n,
			  accumulate, result.loss);
	}
	ds_arena_free(&blocks);
}

/* Stopped after 15 steps, continued in another block from a checkpoint, and in a copy elsewhere */
static void
test_resuming(void)
{
	DsNet net = small_net(true);
	DsTrainConfig t = ds_train_defaults;
	DsArena arena;
	DsStatus status;
	DsTrainer *trainer[3];
	DsStepResult result;
	Ragged queries;
	Ragged documents;
	DsTrainBatch batch;
	Memory m;
	Memory cut;
	DsCheckpointReader reader = {&m, memory_read};
	DsBlobWriter full = {&cut, memory_write};
	void *copy;
	DsTrainer *moved;
	DsTrainer *other;

	t.feature_dropout = 0.2;
	ds_arena_init(&arena, NULL);
	for (int i = 0; i < 3; i++)
		trainer[i] = make_trainer(&net, &t, &limits, &arena);
	random_texts(&queries, 30);
	random_texts(&documents, 37);
	batch = batch_of(&queries, &documents, 30, 37);
	for (int step = 0; step < 40; step++)
		ds_trainer_step(trainer[0], &batch, &result, NULL, &status);
	for (int step = 0; step < 15; step++)
		ds_trainer_step(trainer[1], &batch, &result, NULL, &status);
	m = save(trainer[1], &arena);
	copy = ds_arena_alloc(&arena, block_size, 1);
	memcpy(copy, *(void **) (void *) trainer[1], block_size);
	CHECK(ds_trainer_restore(trainer[2], &reader, NULL, &status) == DS_OK &&
			  ds_trainer_steps(trainer[2]) == 15 && same_values(trainer[1], trainer[2]),
		  "a checkpoint is read back");
	for (int step = 15; step < 40; step++)
		ds_trainer_step(trainer[2], &batch, &result, NULL, &status);
	CHECK(same_values(trainer[0], trainer[2]),
		  "a run that was stopped and continued gives the same weights");
	ds_trainer_attach(copy, block_size, &arena, &moved, &status);
	for (int step = 15; step < 40; step++)
		ds_trainer_step(moved, &batch, &result, NULL, &status);
	CHECK(same_values(trainer[0], moved), "a block works wherever it lies");

	m.bytes[m.size / 2] ^= 1;
	m.at = 0;
	CHECK(ds_trainer_restore(trainer[2], &reader, NULL, &status) == DS_BAD_DATA,
		  "a damaged checkpoint: %s", status.message);
	m.bytes[m.size / 2] ^= 1;
	m.at = 0;
	m.size--;
	CHECK(ds_trainer_restore(trainer[2], &reader, NULL, &status) == DS_BAD_DATA,
		  "one that ends early: %s", status.message);
	m.size++;
	m.at = 0;
	t.optimizer.kind = DS_OPTIMIZER_SGD;
	other = make_trainer(&net, &t, &limits, &arena);
	CHECK(ds_trainer_restore(other, &reader, NULL, &status) == DS_INVALID,
		  "one of another optimizer: %s", status.message);
	m.at = 0;
	net = small_net(false);
	other = make_trainer(&net, &ds_train_defaults, &limits, &arena);
	CHECK(ds_trainer_restore(other, &reader, NULL, &status) == DS_INVALID,
		  "one of another model: %s", status.message);
	cut = m;
	cut.size = 0;
	cut.most = 10000;
	CHECK(ds_trainer_save(trainer[0], &full, NULL, &status) == DS_BAD_DATA,
		  "a writer that fails: %s", status.message);
	CHECK(ds_trainer_attach(copy, 100, &arena, &moved, &status) == DS_BAD_DATA &&
			  ds_trainer_attach(m.bytes + 64, block_size / 2, &arena, &moved, &status) ==
				  DS_BAD_DATA,
		  "not a trainer's block: %s", status.message);
	ds_arena_free(&arena);
}

/* Frozen parts keep their bits; factors of the rate; rows that changed */
static void
test_rules(void)
{
	DsNet net = small_net(false);
	DsTrainConfig t = ds_train_defaults;
	DsArena arena;
	DsStatus status;
	DsTrainer *before;
	DsTrainer *trainer;
	DsTrainer *lazy;
	DsStepResult result;
	Ragged queries;
	Ragged documents;
	DsTrainBatch batch;
	uint32_t rows[VOCABULARY];
	size_t count;
	size_t occurring = 0;
	bool good = true;
	bool occurs[VOCABULARY] = {false};

	ds_arena_init(&arena, NULL);
	random_texts(&queries, 5);
	random_texts(&documents, 8);
	batch = batch_of(&queries, &documents, 5, 8);
	t.rule_count = 2;
	t.rules[0] = (DsRateRule){"document", 0};
	t.rules[1] = (DsRateRule){"*.dense.1", 0.5};
	before = make_trainer(&net, &t, &limits, &arena);
	trainer = make_trainer(&net, &t, &limits, &arena);
	CHECK(ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_OK, "a frozen tower");
	for (size_t i = 0; i < ds_trainer_parameters(trainer); i++)
	{
		DsTrained p = ds_trainer_parameter(trainer, i);
		DsTrained q = ds_trainer_parameter(before, i);
		bool same = memcmp(p.value, q.value, p.count * sizeof(float)) == 0;

		/* the last rule that fits counts: it thaws the documents' last layer */
		bool frozen = (strncmp(p.name, "document.", 9) == 0 &&
					   strncmp(p.name, "document.dense.1", 16) != 0) ||
					  strcmp(p.name, "log_scale") == 0;

		good = good && same == frozen && p.frozen == frozen &&
			   (ds_trainer_state(trainer, i, 0) == NULL) == frozen &&
			   (ds_trainer_changes(trainer, i, NULL) == 0) == frozen;
		/* the first step of Adam moves each value by the rate, nearly */
		if (strcmp(p.name, "query.dense.1.bias") == 0 || strcmp(p.name, "query.dense.0.bias") == 0)
			for (size_t k = 0; k < p.count; k++)
			{
				double moved = fabs((double) (p.value[k] - q.value[k]));
				double rate = t.schedule.initial * (p.name[12] == '1' ? 0.5 : 1);

				good = good && (moved == 0 || fabs(moved / rate - 1) < 0.01);
			}
	}
	CHECK(good, "frozen parts keep their bits and have no state; the others move at their rates");
	for (size_t i = 0; i < queries.offsets[5]; i++)
		occurs[queries.ids[i]] = true;
	for (size_t i = 0; i < VOCABULARY; i++)
		occurring += occurs[i];
	count = ds_trainer_changes(trainer, 0, rows);
	for (size_t i = 0; i < count; i++)
		good = good && occurs[rows[i]] && (i == 0 || rows[i] > rows[i - 1]);
	CHECK(good && count == occurring, "the rows that a step has changed: %zu", count);
	ds_trainer_forget_changes(trainer);
	CHECK(ds_trainer_changes(trainer, 0, rows) == 0 && ds_trainer_changes(trainer, 1, rows) == 0,
		  "and forgets");

	/* exact rows: after a second batch, those of the first one still move */
	t.rule_count = 0;
	lazy = make_trainer(&net, &t, &limits, &arena);
	t.exact_rows = true;
	trainer = make_trainer(&net, &t, &limits, &arena);
	ds_trainer_step(lazy, &batch, &result, NULL, &status);
	ds_trainer_step(trainer, &batch, &result, NULL, &status);
	CHECK(same_values(lazy, trainer), "one step of exact rows is one of lazy rows");
	random_texts(&queries, 5);
	ds_trainer_step(lazy, &batch, &result, NULL, &status);
	ds_trainer_step(trainer, &batch, &result, NULL, &status);
	CHECK(!same_values(lazy, trainer) && ds_trainer_changes(trainer, 0, NULL) == VOCABULARY,
		  "two are not");
	ds_arena_free(&arena);
}

/* Two half batches accumulated are one whole one, where no pair looks at another */
static void
test_accumulating(void)
{
	DsNet net = small_net(true);
	DsTrainConfig t = ds_train_defaults;
	DsArena arena;
	DsStatus status;
	DsTrainer *trainer[2];
	DsStepResult result[2];
	Ragged queries;
	Ragged documents;
	float labels[20];
	DsTrainBatch whole;
	DsTrainBatch half[2];
	double worst = 0;

	ds_arena_init(&arena, NULL);
	random_texts(&queries, 20);
	random_texts(&documents, 20);
	for (int i = 0; i < 20; i++)
		labels[i] = (float) ds_random_double(&dice);
	whole = batch_of(&queries, &documents, 20, 20);
	whole.labels = labels;
	for (int i = 0; i < 2; i++)
	{
		half[i] = whole;
		half[i].pairs = half[i].documents = 10;
		half[i].query.offsets += 10 * i;
		half[i].document.offsets += 10 * i;
		half[i].labels += 10 * i;
	}
	t.loss = DS_LOSS_REGRESSION;
	t.optimizer.epsilon = 0.1;
	trainer[0] = make_trainer(&net, &t, &limits, &arena);
	t.accumulate = 2;
	trainer[1] = make_trainer(&net, &t, &limits, &arena);
	for (int step = 0; step < 3; step++)
	{
		ds_trainer_step(trainer[0], &whole, &result[0], NULL, &status);
		ds_trainer_step(trainer[1], half, &result[1], NULL, &status);
	}
	for (size_t i = 0; i < ds_trainer_parameters(trainer[0]); i++)
	{
		DsTrained p = ds_trainer_parameter(trainer[0], i);
		DsTrained q = ds_trainer_parameter(trainer[1], i);

		for (size_t k = 0; k < p.count; k++)
			worst = fmax(worst, fabs((double) (p.value[k] - q.value[k])));
	}
	CHECK(worst < 1e-6 && fabs(result[0].loss - result[1].loss) < 1e-6 &&
			  fabs(result[0].gradient_norm - result[1].gradient_norm) < 1e-6 &&
			  result[0].accuracy == result[1].accuracy,
		  "two half batches are one whole one: %.1e", worst);
	ds_arena_free(&arena);
}

/* Heads on features: queries and documents are noisy copies of the same vectors; classes of them */
static void
test_features(void)
{
	enum
	{
		WIDTH = 20,
		COUNT = 40
	};
	static float query[COUNT * WIDTH];
	static float document[COUNT * WIDTH];
	float class[COUNT];
	DsTower head = {.body = DS_BODY_FEATURES,
					.bag = {.embedding_dims = WIDTH, .dense_count = 1, .dense = {16}},
					.bag.last_relu = true};
	DsNet net = {.kind = DS_NET_DUAL, .tower = {head, head}, .score = DS_SCORE_COSINE};
	DsTrainConfig t = ds_train_defaults;
	DsTrainBatch batch = {.pairs = COUNT,
						  .documents = COUNT,
						  .query = {.features = query},
						  .document = {.features = document},
						  .labels = class};
	DsTrainLimits some = {COUNT, COUNT, 0, 0};
	DsTrainer *trainer;
	DsStepResult result = {0};
	DsStatus status = {0};
	DsArena arena;
	DsDualEncoder encoder;
	float *scratch;
	float vectors[COUNT * 16];
	float again[COUNT * 16];
	bool good = true;

	for (size_t i = 0; i < COUNT * (size_t) WIDTH; i++)
	{
		query[i] = (float) ds_random_normal(&dice);
		document[i] = query[i] + 0.3f * (float) ds_random_normal(&dice);
	}
	for (size_t i = 0; i < COUNT; i++)
		class[i] = query[i * WIDTH] > 0 ? 2 : query[i * WIDTH + 1] > 0;
	ds_arena_init(&arena, NULL);
	t.schedule.initial = 0.01;
	trainer = make_trainer(&net, &t, &some, &arena);
	for (int step = 0; step < 100; step++)
		good = good && ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_OK;
	CHECK(good && result.accuracy > 0.95, "two heads on features learn pairs: %.2f%s",
		  result.accuracy, status.message);
	CHECK(ds_trainer_dual_encoder(trainer, &encoder) &&
			  ds_dual_encoder_parameter(&encoder, "query.embedding") == NULL,
		  "an encoder of their values, without a table");
	scratch = ds_arena_alloc(&arena, ds_dual_encoder_scratch(&encoder), sizeof(float));
	ds_dual_encoder_infer_features(&encoder, DS_SIDE_DOCUMENT, document, COUNT, scratch, vectors,
								   NULL, &status);
	ds_trainer_encode(trainer, DS_SIDE_DOCUMENT, &batch.document, COUNT, again, NULL, &status);
	for (size_t i = 0; i < COUNT * 16; i++)
		good = good && fabsf(vectors[i] - again[i]) < 1e-5f && vectors[i] >= 0;
	CHECK(good, "inference is what was trained, the last ReLU too");
	CHECK(ds_dual_encoder_infer(&encoder, DS_SIDE_QUERY, NULL, NULL, 1, scratch, vectors, NULL,
								&status) == DS_INVALID,
		  "texts are refused: %s", status.message);

	net.kind = DS_NET_SINGLE;
	net.tower[0].bag.last_relu = false;
	net.tower[0].bag.dense_count = 2;
	net.tower[0].bag.dense[1] = 3;
	t.loss = DS_LOSS_CLASSES;
	batch.document.features = query;
	trainer = make_trainer(&net, &t, &some, &arena);
	for (int step = 0; step < 100; step++)
		good = good && ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_OK;
	CHECK(good && result.accuracy > 0.95 &&
			  strcmp(ds_trainer_parameter(trainer, 0).name, "model.dense.0.weight") == 0,
		  "and one learns classes: %.2f%s", result.accuracy, status.message);
	class[3] = 3;
	CHECK(ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_INVALID,
		  "a class that there is not: %s", status.message);
	batch.labels = NULL;
	CHECK(ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_INVALID, "no labels: %s",
		  status.message);
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
	DsNet net = small_net(true);
	DsTrainConfig t = ds_train_defaults;
	DsTrainLimits large = {PAIRS, PAIRS, 2 * PAIRS, 2};
	DsTrainer *before;
	DsTrainer *trainer;
	DsArena arena;
	DsStatus status;
	DsStepResult result;
	DsTrainBatch batch = {.pairs = PAIRS,
						  .documents = PAIRS,
						  .query = {.ids = ids[0], .offsets = offsets},
						  .document = {.ids = ids[1], .offsets = offsets}};
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
	before = make_trainer(&net, &t, &large, &arena);
	trainer = make_trainer(&net, &t, &large, &arena);
	for (int stop = 9; stop < 12; stop++)
	{
		polls = stop;
		stopped =
			stopped && ds_trainer_step(trainer, &batch, &result, &cancel, &status) == DS_CANCELLED;
	}
	CHECK(stopped && same_values(trainer, before), "a large step is cancelled within the loss");
	polls = 1000;
	CHECK(ds_trainer_step(trainer, &batch, &result, &cancel, &status) == DS_OK &&
			  !same_values(trainer, before),
		  "and runs: %s", status.message);
	CHECK(1000 - polls > 12, "a large step looks %d times whether it is cancelled", 1000 - polls);
	ds_arena_free(&arena);
}

static void
test_training_errors(void)
{
	DsNet net = small_net(false);
	DsTrainConfig t = ds_train_defaults;
	DsTrainer *before;
	DsTrainer *trainer;
	float *bias;
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
	before = make_trainer(&net, &t, &limits, &arena);
	trainer = make_trainer(&net, &t, &limits, &arena);
	bias = ds_trainer_parameter(trainer, 1).value;
	random_texts(&queries, 20);
	random_texts(&documents, 20);
	batch = batch_of(&queries, &documents, 20, 20);
	for (int stop = 0; stop < 12; stop++)
	{
		polls = stop;
		stopped =
			stopped && ds_trainer_step(trainer, &batch, &result, &cancel, &status) == DS_CANCELLED;
	}
	CHECK(stopped && same_values(trainer, before),
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
	kept_value = bias[0];
	bias[0] = NAN;
	CHECK(ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_OUT_OF_RANGE,
		  "not a number: %s", status.message);
	bias[0] = kept_value;
	CHECK(same_values(trainer, before) && ds_trainer_steps(trainer) == 0,
		  "after all these errors the parameters are as they were");
	CHECK(ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_OK &&
			  !same_values(trainer, before),
		  "and training goes on");
	batch.pairs = 1;
	batch.documents = 1;
	CHECK(ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_OK && result.loss == 0,
		  "a batch of one pair has no negatives, and no loss");

	batch.documents = 3;
	CHECK(ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_OK,
		  "other documents of nobody, for a loss over the batch");
	batch.others = (const size_t[]){0, 1};
	CHECK(ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_INVALID,
		  "lists that do not hold all documents: %s", status.message);
	batch = batch_of(&queries, &documents, 20, 20);
	batch.pairs = MAX_TEXTS + 1;
	batch.documents = MAX_TEXTS + 1;
	CHECK(ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_INVALID,
		  "more pairs than announced: %s", status.message);

	CHECK(ds_train_check(&ds_train_defaults, &status) == DS_OK, "the defaults are valid");
#undef REFUSED
#define REFUSED(change)                                       \
	do                                                        \
	{                                                         \
		t = ds_train_defaults;                                \
		change;                                               \
		refused += ds_train_check(&t, &status) == DS_INVALID; \
	} while (0)
	REFUSED(t.loss = DS_LOSSES);
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
	REFUSED(t.optimizer.beta1 = 1);
	REFUSED(t.optimizer.beta2 = -0.1);
	REFUSED(t.optimizer.epsilon = 0);
	REFUSED(t.optimizer.weight_decay = -1);
	REFUSED(t.clip_norm = NAN);
	REFUSED(t.accumulate = 0);
	REFUSED(t.layer_decay = 0);
	REFUSED(t.teacher_temperature = 0);
	REFUSED(t.schedule.kind = DS_SCHEDULE_LINEAR);
	REFUSED(t.optimizer.momentum = 1);
	REFUSED(t.matryoshka_count = 9);
	REFUSED(t.rule_count = 17);
	CHECK(refused == 23, "settings out of range are refused (%d of 23)", refused);
	refused = 0;
#define UNSUITABLE(change)                                              \
	do                                                                  \
	{                                                                   \
		net = small_net(true);                                          \
		t = ds_train_defaults;                                          \
		change;                                                         \
		refused += ds_train_check_net(&t, &net, &status) == DS_INVALID; \
	} while (0)
	UNSUITABLE(t.loss = DS_LOSS_CLASSES);
	UNSUITABLE(t.matryoshka_count = 1; t.matryoshka[0] = 38);
	UNSUITABLE(net.kind = DS_NET_SINGLE);
	UNSUITABLE(net.kind = DS_NET_SINGLE; t.loss = DS_LOSS_TRIPLET);
	UNSUITABLE(net.kind = DS_NET_SINGLE; t.loss = DS_LOSS_RANKNET);
	CHECK(refused == 5, "and losses that do not suit the network (%d of 5)", refused);
	ds_arena_free(&arena);
}

/* gradients are scaled down to clip_norm: with SGD-like settings the step shows it */
static void
test_clipping(void)
{
	DsNet net = small_net(true);
	DsTrainConfig t = ds_train_defaults;
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
	t.optimizer.epsilon = 0.99;
	t.optimizer.beta2 = 0;
	for (int i = 0; i < 2; i++)
	{
		DsTrained p;
		float *old;

		t.clip_norm = i == 0 ? 0 : 0.001;
		trainer[i] = make_trainer(&net, &t, &limits, &arena);
		p = ds_trainer_parameter(trainer[i], 1);
		old = ds_arena_alloc(&arena, p.count, sizeof(float));
		memcpy(old, p.value, p.count * sizeof(float));
		ds_trainer_step(trainer[i], &batch, &result[i], NULL, &status);
		for (size_t k = 0; k < p.count; k++)
			moved[i] += fabs((double) (p.value[k] - old[k]));
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
	test_learning();
	test_workers(false, 2);
	test_workers(true, 1);
	test_resuming();
	test_rules();
	test_accumulating();
	test_features();
	test_large_batch(DS_LOSS_SOFTMAX);
	test_large_batch(DS_LOSS_CONTRASTIVE);
	test_training_errors();
	test_clipping();
	return unit_done();
}
