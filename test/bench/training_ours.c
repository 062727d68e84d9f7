/*
 * training_ours.c
 *		Training, for test/bench/training to compare with PyTorch: the speed of a
 *		step, and the parameters after some steps.
 *
 *     build/bench/training_ours speed STEPS PAIRS TOKENS DROPOUT
 *         steps of a dual encoder of MiniLM's shape (6 layers of 384, 12 heads, vocabulary
 *         30522), shared towers, in-batch cross-entropy, Adam over all parameters; random
 *         weights and texts, ids by Zipf's law.  Prints seconds of the fastest and the median step.
 *     build/bench/training_ours bags STEPS PAIRS TOKENS VOCABULARY DIMS
 *         the same for embedding bags with one dense layer
 *     build/bench/training_ours workers N speed|bags ... (as above)
 *         the same by N processes that share a step, as ds_train's do; seconds of wall time,
 *         the fastest and the median step
 *     build/bench/training_ours steps FILE
 *         reads an architecture, weights and batches, and writes the weights after these
 *         steps to FILE.out
 *
 * FILE holds little-endian numbers: the architecture (an int32 each, see
 * read_architecture()), then the parameters in the trainer's order as float32, then for
 * each step and side offsets (int32) and ids (int32), or features, and labels (float32).
 */
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/random.h"
#include "nn/training.h"

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static double
processor_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static void
check(DsCode code, const DsStatus *status)
{
	if (code != DS_OK)
	{
		fprintf(stderr, "error: %s\n", status->message);
		exit(1);
	}
}

static void *
checked(void *pointer)
{
	if (pointer == NULL)
	{
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	return pointer;
}

/* processes that share a step; set by "workers" */
static int workers = 1;

static DsTrainer *
make_trainer(const DsNet *net, const DsTrainConfig *config, const DsTrainLimits *limits,
			 DsArena *arena)
{
	DsStatus status;
	DsTrainer *trainer;
	size_t size;
	void *block;

	check(ds_trainer_size(net, config, limits, &size, &status), &status);
	if (workers > 1)
	{
		block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		block = checked(block == MAP_FAILED ? NULL : block);
	}
	else
		block = checked(ds_arena_zero(arena, size, 1));
	check(ds_trainer_format(block, size, net, config, limits, &status), &status);
	check(ds_trainer_attach(block, size, arena, &trainer, &status), &status);
	ds_trainer_initialize(trainer);
	return trainer;
}

/*
 * Several processes
 */

typedef struct Team
{
	_Atomic unsigned arrived;
	_Atomic unsigned generation;
} Team;

/* Wait for all; a short wait spins, as that of src/train/team.c */
static void
wait_for_all(Team *team, unsigned workers)
{
	unsigned generation = team->generation;

	if (++team->arrived == workers)
	{
		team->arrived = 0;
		team->generation++;
		return;
	}
	for (unsigned long spins = 0; team->generation == generation; spins++)
		if (spins > 1000000)
			sched_yield();
}

/* Worker "index" of a step */
static void
step_together(DsTrainer *trainer, const DsTrainBatch *batch, Team *team, int index, int workers)
{
	static DsCode (*const parts[])(DsTrainer *, int, DsStatus *) = {
		ds_trainer_forward_shard, ds_trainer_loss_shard, ds_trainer_backward_shard};
	DsStepResult result;
	DsStatus status;

	check(ds_trainer_begin(trainer, batch, 0, &status), &status);
	for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++)
	{
		for (int s = index; s < DS_SHARDS; s += workers)
			check(parts[p](trainer, s, &status), &status);
		wait_for_all(team, (unsigned) workers);
	}
	ds_trainer_reduce(trainer, index, workers);
	wait_for_all(team, (unsigned) workers);
	check(ds_trainer_result(trainer, &result, &status), &status);
	ds_trainer_update(trainer, index, workers);
	wait_for_all(team, (unsigned) workers);
}

static DsEncoderSpec
bert(uint32_t vocabulary, uint32_t hidden, uint32_t layers, uint32_t heads, uint32_t intermediate)
{
	DsEncoderSpec spec;

	ds_spec_init(&spec, DS_ENCODER_TRANSFORMER);
	spec.vocabulary = vocabulary;
	spec.hidden = hidden;
	spec.positions = 512;
	spec.types = 2;
	spec.embedding_norm = 1;
	spec.layers = layers;
	spec.heads = heads;
	spec.head_dims = hidden / heads;
	spec.intermediate = intermediate;
	spec.activation = DS_ACT_GELU;
	spec.norm_epsilon = 1e-12f;
	spec.norm_bias = spec.qkv_bias = spec.out_bias = spec.up_bias = spec.down_bias = 1;
	spec.max_tokens = 512;
	spec.pooling = DS_POOL_MEAN;
	return spec;
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return (x > y) - (x < y);
}

/* Random texts of equal length, the first step to warm up */
static void
speed(const DsNet *net, const DsTrainConfig *config, int steps, size_t pairs, size_t tokens,
	  uint32_t vocabulary)
{
	DsTrainLimits limits = {pairs, pairs, 2 * pairs * tokens, 2 * tokens};
	DsArena arena;
	DsTrainer *trainer;
	DsRandom random;
	uint32_t *ids = checked(malloc(2 * pairs * tokens * sizeof(uint32_t)));
	size_t *offsets = checked(malloc((pairs + 1) * sizeof(size_t)));
	double *wall = checked(malloc((size_t) steps * sizeof(double)));
	double *processor = checked(malloc((size_t) steps * sizeof(double)));
	DsTrainBatch batch = {.pairs = pairs,
						  .documents = pairs,
						  .query = {.ids = ids, .offsets = offsets},
						  .document = {.ids = ids + pairs * tokens, .offsets = offsets}};
	DsStepResult result;
	DsStatus status;
	Team *team =
		mmap(NULL, sizeof(Team), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int index = 0;

	checked(team == MAP_FAILED ? NULL : team);
	ds_arena_init(&arena, NULL);
	ds_random_init(&random, 1, 0);
	trainer = make_trainer(net, config, &limits, &arena);
	/* each makes the same batches */
	for (int i = 1; i < workers && index == 0; i++)
		if (fork() == 0)
			index = i;
	for (size_t i = 0; i <= pairs; i++)
		offsets[i] = i * tokens;
	for (int step = -1; step < steps; step++)
	{
		double t0;
		double p0;

		for (size_t i = 0; i < 2 * pairs * tokens; i++)
			/* as frequent as words are: Zipf's law */
			ids[i] = (uint32_t) (pow(vocabulary, ds_random_double(&random)) - 1);
		/* the step is measured, not who makes the same batch first */
		if (workers > 1)
			wait_for_all(team, (unsigned) workers);
		t0 = now();
		p0 = processor_time();
		if (workers > 1)
			step_together(trainer, &batch, team, index, workers);
		else
			check(ds_trainer_step(trainer, &batch, &result, NULL, &status), &status);
		if (step < 0)
			continue;
		wall[step] = now() - t0;
		processor[step] = processor_time() - p0;
	}
	if (index > 0)
		exit(0);
	qsort(wall, (size_t) steps, sizeof(double), by_value);
	qsort(processor, (size_t) steps, sizeof(double), by_value);
	printf("%.6f %.6f %.6f %.6f\n", wall[0], wall[steps / 2], processor[0], processor[steps / 2]);
	ds_arena_free(&arena);
	free(ids);
	free(offsets);
	free(wall);
	free(processor);
}

/*
 * Steps from given weights and batches
 */

static void
get(FILE *file, void *data, size_t size)
{
	if (fread(data, 1, size, file) != size)
	{
		fprintf(stderr, "the file ends early\n");
		exit(1);
	}
}

static int32_t
number(FILE *file)
{
	int32_t n;

	get(file, &n, sizeof(n));
	return n;
}

typedef struct Architecture
{
	DsNet net;
	DsTrainConfig config;
	size_t pairs;
	size_t documents;
	size_t labels; /* a document */
	int steps;
} Architecture;

/* body, single, shared, loss, symmetric, optimizer, pairs, documents, labels, steps, then sizes */
static Architecture
read_architecture(FILE *file)
{
	Architecture a = {.config = ds_train_defaults};
	DsTower tower = {.body = (DsBodyKind) number(file)};

	a.net.kind = number(file) != 0 ? DS_NET_SINGLE : DS_NET_DUAL;
	a.net.shared = number(file) != 0;
	a.config.loss = (DsLoss) number(file);
	a.config.symmetric = number(file) != 0;
	a.config.optimizer.kind = (DsOptimizerKind) number(file);
	a.pairs = (size_t) number(file);
	a.documents = (size_t) number(file);
	a.labels = (size_t) number(file);
	a.steps = number(file);
	if (tower.body == DS_BODY_TRANSFORMER)
	{
		uint32_t sizes[5];

		for (int i = 0; i < 5; i++)
			sizes[i] = (uint32_t) number(file);
		tower.spec = bert(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]);
		if (a.net.kind == DS_NET_SINGLE)
		{
			/* BERT's pooler and a classifier */
			uint32_t outs = (uint32_t) number(file);

			tower.spec.pooling = DS_POOL_CLS;
			tower.spec.scores = 1;
			tower.spec.module_count = 2;
			tower.spec.modules[0] =
				(DsSpecModule){DS_MODULE_DENSE, sizes[1], sizes[1], DS_ACT_TANH, 1, 0};
			tower.spec.modules[1] =
				(DsSpecModule){DS_MODULE_DENSE, sizes[1], outs, DS_ACT_IDENTITY, 1, 0};
		}
	}
	else
	{
		tower.bag.vocabulary = (uint32_t) number(file);
		tower.bag.embedding_dims = (uint32_t) number(file);
		tower.bag.dense_count = (uint32_t) number(file);
		for (uint32_t i = 0; i < tower.bag.dense_count; i++)
			tower.bag.dense[i] = (uint32_t) number(file);
		tower.bag.last_relu = number(file) != 0;
	}
	a.net.tower[0] = a.net.tower[1] = tower;
	a.config.schedule.kind = DS_SCHEDULE_CONSTANT;
	a.config.schedule.initial = 1e-3;
	a.config.optimizer.weight_decay = a.config.optimizer.kind == DS_OPTIMIZER_ADAMW ? 0.01 : 0;
	/* BERT's: with 1e-8 Adam makes steps of what is rounding in the smallest gradients */
	a.config.optimizer.epsilon = 1e-6;
	a.config.exact_rows = true;
	return a;
}

static DsTrainTexts
read_texts(FILE *file, const DsTower *tower, size_t count)
{
	DsTrainTexts texts = {0};

	if (tower->body == DS_BODY_FEATURES)
	{
		size_t n = count * tower->bag.embedding_dims;
		float *features = checked(malloc(n * sizeof(float)));

		get(file, features, n * sizeof(float));
		texts.features = features;
	}
	else
	{
		size_t *offsets = checked(malloc((count + 1) * sizeof(size_t)));
		uint32_t *ids;

		for (size_t i = 0; i <= count; i++)
			offsets[i] = (size_t) number(file);
		ids = checked(malloc((offsets[count] + 1) * sizeof(uint32_t)));
		get(file, ids, offsets[count] * sizeof(uint32_t));
		texts.offsets = offsets;
		texts.ids = ids;
	}
	return texts;
}

static void
run_steps(const char *path)
{
	FILE *file = checked(fopen(path, "rb"));
	Architecture a = read_architecture(file);
	DsTrainLimits limits = {a.pairs, a.documents, 1 << 20, 1 << 20};
	size_t *others = checked(malloc((a.pairs + 1) * sizeof(size_t)));
	char out_path[1000];
	DsArena arena;
	DsTrainer *trainer;
	DsStatus status;

	ds_arena_init(&arena, NULL);
	trainer = make_trainer(&a.net, &a.config, &limits, &arena);
	for (size_t i = 0; i < ds_trainer_parameters(trainer); i++)
	{
		DsTrained p = ds_trainer_parameter(trainer, i);

		if (strcmp(p.name, "log_scale") != 0)
			get(file, p.value, p.count * sizeof(float));
	}
	for (size_t i = 0; i <= a.pairs; i++)
		others[i] = (a.documents - a.pairs) * i / a.pairs;
	for (int step = 0; step < a.steps; step++)
	{
		DsTrainBatch batch = {.pairs = a.pairs, .documents = a.documents, .others = others};
		DsStepResult result;
		float *labels = checked(malloc((a.documents * a.labels + 1) * sizeof(float)));

		if (a.net.kind == DS_NET_DUAL)
			batch.query = read_texts(file, &a.net.tower[0], a.pairs);
		batch.document = read_texts(file, &a.net.tower[1], a.documents);
		get(file, labels, a.documents * a.labels * sizeof(float));
		batch.labels = labels;
		check(ds_trainer_step(trainer, &batch, &result, NULL, &status), &status);
		printf("%.6f\n", result.loss);
		free((void *) (uintptr_t) batch.query.ids);
		free((void *) (uintptr_t) batch.query.offsets);
		free((void *) (uintptr_t) batch.query.features);
		free((void *) (uintptr_t) batch.document.ids);
		free((void *) (uintptr_t) batch.document.offsets);
		free((void *) (uintptr_t) batch.document.features);
		free(labels);
	}
	fclose(file);
	snprintf(out_path, sizeof(out_path), "%s.out", path);
	file = checked(fopen(out_path, "wb"));
	for (size_t i = 0; i < ds_trainer_parameters(trainer); i++)
	{
		DsTrained p = ds_trainer_parameter(trainer, i);

		if (strcmp(p.name, "log_scale") != 0 &&
			fwrite(p.value, sizeof(float), p.count, file) != p.count)
			exit(1);
	}
	fclose(file);
	free(others);
	ds_arena_free(&arena);
}

int
main(int argc, char **argv)
{
	DsNet net = {.kind = DS_NET_DUAL, .shared = true, .score = DS_SCORE_COSINE};
	DsTrainConfig config = ds_train_defaults;

	config.schedule.initial = 1e-4;
	config.exact_rows = true;
	if (argc > 3 && strcmp(argv[1], "workers") == 0)
	{
		workers = atoi(argv[2]);
		if (workers < 1 || workers > DS_SHARDS)
			return 2;
		argc -= 2;
		argv += 2;
	}
	if (argc == 6 && strcmp(argv[1], "speed") == 0)
	{
		net.tower[0].body = DS_BODY_TRANSFORMER;
		net.tower[0].spec = bert(30522, 384, 6, 12, 1536);
		net.tower[0].dropout = net.tower[0].attention_dropout = atof(argv[5]);
		speed(&net, &config, atoi(argv[2]), (size_t) atoi(argv[3]), (size_t) atoi(argv[4]), 30522);
		return 0;
	}
	if (argc == 7 && strcmp(argv[1], "bags") == 0)
	{
		uint32_t dims = (uint32_t) atoi(argv[6]);

		config.exact_rows = false;
		net.tower[0].bag = (DsTowerConfig){.vocabulary = (uint32_t) atoi(argv[5]),
										   .embedding_dims = dims,
										   .dense_count = 1,
										   .dense = {dims}};
		speed(&net, &config, atoi(argv[2]), (size_t) atoi(argv[3]), (size_t) atoi(argv[4]),
			  net.tower[0].bag.vocabulary);
		return 0;
	}
	if (argc == 3 && strcmp(argv[1], "steps") == 0)
	{
		run_steps(argv[2]);
		return 0;
	}
	fprintf(stderr, "usage: see the top of test/bench/training_ours.c\n");
	return 2;
}
