/*
 * training_images_ours.c
 *		Training over pictures, for test/bench/training_images to compare with PyTorch.
 *
 *     build/bench/training_images_ours steps NETWORK FILE
 *         NETWORK 0: a residual network with batch norm, all kinds of layers; 1: the same without
 *         norm; 2: a vision transformer; 3: the same as CLIP has it; classifies PAIRS pictures of 24 x 20 into seven classes.  FILE holds little-endian
 *         float32: parameters in the trainer's order, then for each of ten steps the pictures
 *         (as numbers from 0 to 255) and the classes.  Prints losses; parameters go to FILE.out.
 *     build/bench/training_images_ours speed STEPS PAIRS REPEATED
 *         seconds of processor of the fastest step of the tower of six convolutions that
 *         training_images.py has, with in-batch cross-entropy and Adam; REPEATED pairs
 *         share each picture
 *     build/bench/training_images_ours vit STEPS PAIRS
 *         the same of its vision transformer
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/random.h"
#include "nn/training.h"

#define PAIRS 32
#define HIGH 24
#define WIDE 20
#define STEPS 10

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

static DsTrainer *
make_trainer(const DsNet *net, const DsTrainConfig *config, const DsTrainLimits *limits,
			 DsArena *arena)
{
	DsStatus status;
	DsTrainer *trainer;
	size_t size;
	void *block;

	check(ds_trainer_size(net, config, limits, &size, &status), &status);
	block = checked(ds_arena_zero(arena, size, 1));
	check(ds_trainer_format(block, size, net, config, limits, &status), &status);
	check(ds_trainer_attach(block, size, arena, &trainer, &status), &status);
	ds_trainer_initialize(trainer);
	return trainer;
}

static DsImageLayer
conv(uint32_t input, uint32_t out, uint32_t kernel, uint32_t stride, bool norm, uint32_t add)
{
	return (DsImageLayer){.kind = DS_LAYER_CONV,
						  .input = input,
						  .out = out,
						  .kernel_height = kernel,
						  .kernel_width = kernel,
						  .stride = stride,
						  .padding = kernel / 2,
						  .bias = !norm,
						  .norm = norm,
						  .epsilon = norm ? 1e-5f : 0,
						  .add = add,
						  .activation = DS_ACT_RELU};
}

static DsImageLayer
pool(uint32_t kind, uint32_t input, uint32_t out, uint32_t kernel, uint32_t padding)
{
	return (DsImageLayer){.kind = kind,
						  .input = input,
						  .out = out,
						  .kernel_height = kernel,
						  .kernel_width = kernel,
						  .stride = 2,
						  .padding = padding};
}

static DsTower
tower_of(uint32_t height, uint32_t width, const DsImageLayer *layers, uint32_t count, uint32_t outs)
{
	DsTower tower = {.body = DS_BODY_IMAGE};

	ds_image_spec_init(&tower.image, DS_IMAGE_CONV);
	tower.image.height = height;
	tower.image.width = width;
	tower.image.channels = 3;
	memcpy(tower.image.layers, layers, count * sizeof(*layers));
	tower.image.layers[count] = (DsImageLayer){
		.kind = DS_LAYER_GLOBAL_AVERAGE, .input = count, .out = layers[count - 1].out};
	tower.image.layer_count = count + 1;
	tower.image.module_count = 1;
	tower.image.modules[0] =
		(DsSpecModule){DS_MODULE_DENSE, layers[count - 1].out, outs, DS_ACT_IDENTITY, 1, 0};
	for (int c = 0; c < 3; c++)
	{
		tower.pixel_mean[c] = 0.5;
		tower.pixel_deviation[c] = 0.25;
	}
	return tower;
}

static DsTower
residual(bool norm)
{
	const DsImageLayer layers[] = {
		conv(0, 16, 5, 2, norm, 0), /* 12 x 10 */
		conv(1, 16, 3, 1, norm, 0),
		conv(2, 16, 3, 1, norm, 1),
		pool(DS_LAYER_MAX_POOL, 3, 16, 3, 1), /* 6 x 5 */
		conv(4, 24, 3, 2, norm, 0), /* 3 x 3 */
		{.kind = DS_LAYER_SHORTCUT, .input = 4, .out = 24, .stride = 2},
		conv(5, 24, 1, 1, norm, 6),
		pool(DS_LAYER_AVERAGE_POOL, 7, 24, 2, 0), /* 1 x 1 */
	};

	return tower_of(HIGH, WIDE, layers, sizeof(layers) / sizeof(layers[0]), 7);
}

static DsTower
six(void)
{
	const DsImageLayer layers[] = {
		conv(0, 24, 3, 1, false, 0),
		pool(DS_LAYER_AVERAGE_POOL, 1, 24, 2, 0),
		conv(2, 48, 3, 1, false, 0),
		pool(DS_LAYER_AVERAGE_POOL, 3, 48, 2, 0),
		conv(4, 64, 3, 1, false, 0),
		conv(5, 96, 3, 1, false, 0),
		pool(DS_LAYER_AVERAGE_POOL, 6, 96, 2, 0),
		conv(7, 128, 3, 1, false, 0),
		conv(8, 160, 3, 1, false, 0),
	};

	return tower_of(80, 60, layers, sizeof(layers) / sizeof(layers[0]), 128);
}

/* 224 x 224 is cut into 14 x 14 patches; widths and heads of ViT-Tiny, half of its layers */
static DsTower
transformer(uint32_t height, uint32_t width, uint32_t patch, uint32_t hidden, uint32_t layers,
			uint32_t outs, bool clip)
{
	DsTower tower = {.body = DS_BODY_IMAGE};
	DsImageSpec *spec = &tower.image;
	DsEncoderSpec *t = &spec->transformer;

	ds_image_spec_init(spec, DS_IMAGE_VIT);
	spec->height = height;
	spec->width = width;
	spec->channels = 3;
	spec->patch = patch;
	t->patch_dims = 3 * patch * patch;
	t->patch_bias = !clip;
	t->class_token = 1;
	t->hidden = hidden;
	t->positions = t->max_tokens = 1 + height / patch * (width / patch);
	t->embedding_norm = clip;
	t->layers = layers;
	t->heads = hidden / 64 > 0 ? hidden / 64 : 2;
	t->head_dims = hidden / t->heads;
	t->intermediate = 4 * hidden;
	t->activation = clip ? DS_ACT_QUICK_GELU : DS_ACT_GELU;
	t->norm_epsilon = 1e-5f;
	t->norm_first = t->final_norm = t->norm_bias = 1;
	t->qkv_fused = t->qkv_bias = t->out_bias = t->up_bias = t->down_bias = 1;
	t->pooling = DS_POOL_CLS;
	t->module_count = 1;
	t->modules[0] = (DsSpecModule){DS_MODULE_DENSE, hidden, outs, DS_ACT_IDENTITY, !clip, 0};
	for (int c = 0; c < 3; c++)
	{
		tower.pixel_mean[c] = 0.5;
		tower.pixel_deviation[c] = 0.25;
	}
	return tower;
}

static void
get(FILE *file, float *data, size_t n)
{
	if (fread(data, sizeof(float), n, file) != n)
	{
		fprintf(stderr, "the file ends early\n");
		exit(1);
	}
}

static void
steps(int network, const char *path)
{
	DsNet net = {.kind = DS_NET_SINGLE,
				 .tower = {network < 2 ? residual(network == 0)
									   : transformer(HIGH, WIDE, 4, 32, 2, 7, network == 3)}};
	DsTrainConfig config = ds_train_defaults;
	DsTrainLimits limits = {PAIRS, PAIRS, 0, 0};
	FILE *file = checked(fopen(path, "rb"));
	static float numbers[PAIRS][HIGH * WIDE * 3];
	static uint8_t pixels[PAIRS][HIGH * WIDE * 3];
	uint32_t pictures[PAIRS];
	float labels[PAIRS];
	char out_path[1000];
	DsArena arena;
	DsTrainer *trainer;

	config.loss = DS_LOSS_CLASSES;
	config.schedule.kind = DS_SCHEDULE_CONSTANT;
	config.schedule.initial = 1e-3;
	config.optimizer.kind = DS_OPTIMIZER_ADAM;
	config.optimizer.epsilon = 1e-6;
	ds_arena_init(&arena, NULL);
	trainer = make_trainer(&net, &config, &limits, &arena);
	for (size_t i = 0; i < ds_trainer_parameters(trainer); i++)
		get(file, ds_trainer_parameter(trainer, i).value, ds_trainer_parameter(trainer, i).count);
	for (int step = 0; step < STEPS; step++)
	{
		DsTrainBatch batch = {
			.pairs = PAIRS,
			.documents = PAIRS,
			.document = {.pixels = pixels[0], .pictures = PAIRS, .picture = pictures},
			.labels = labels};
		DsStepResult result;
		DsStatus status;

		get(file, numbers[0], sizeof(numbers) / sizeof(float));
		get(file, labels, PAIRS);
		for (size_t i = 0; i < PAIRS; i++)
		{
			for (size_t k = 0; k < sizeof(pixels[0]); k++)
				pixels[i][k] = (uint8_t) numbers[i][k];
			pictures[i] = (uint32_t) i;
		}
		check(ds_trainer_step(trainer, &batch, &result, NULL, &status), &status);
		printf("%.6f\n", result.loss);
	}
	fclose(file);
	snprintf(out_path, sizeof(out_path), "%s.out", path);
	file = checked(fopen(out_path, "wb"));
	for (size_t i = 0; i < ds_trainer_parameters(trainer); i++)
	{
		DsTrained p = ds_trainer_parameter(trainer, i);

		printf("%s %zu\n", p.name, p.count);
		if (fwrite(p.value, sizeof(float), p.count, file) != p.count)
			exit(1);
	}
	fclose(file);
	ds_arena_free(&arena);
}

static void
speed(const DsTower *tower, int count, size_t pairs, size_t repeated)
{
	size_t values = ds_image_values(&tower->image);
	DsNet net = {.kind = DS_NET_DUAL, .score = DS_SCORE_COSINE};
	DsTrainConfig config = ds_train_defaults;
	DsTrainLimits limits = {pairs, pairs, pairs * 12, 12};
	uint8_t *pixels = checked(malloc(pairs * values));
	uint32_t *pictures = checked(malloc(pairs * sizeof(uint32_t)));
	uint32_t *ids = checked(malloc(pairs * 12 * sizeof(uint32_t)));
	size_t *offsets = checked(malloc((pairs + 1) * sizeof(size_t)));
	uint64_t *keys = checked(malloc(pairs * sizeof(uint64_t)));
	DsTrainBatch batch = {
		.pairs = pairs,
		.documents = pairs,
		.query = {.ids = ids, .offsets = offsets},
		.document = {.pixels = pixels, .pictures = pairs, .picture = pictures, .keys = keys}};
	double best = 1e30;
	DsArena arena;
	DsTrainer *trainer;
	DsRandom random;

	net.tower[0].body = DS_BODY_BAG;
	net.tower[0].bag = (DsTowerConfig){
		.vocabulary = 5000, .embedding_dims = 128, .dense_count = 1, .dense = {128}};
	net.tower[1] = *tower;
	ds_arena_init(&arena, NULL);
	ds_random_init(&random, 1, 0);
	trainer = make_trainer(&net, &config, &limits, &arena);
	for (size_t i = 0; i < pairs * values; i++)
		pixels[i] = (uint8_t) ds_random_below(&random, 256);
	for (size_t i = 0; i <= pairs; i++)
		offsets[i] = i * 12;
	for (size_t i = 0; i < pairs; i++)
	{
		pictures[i] = (uint32_t) (i / repeated);
		keys[i] = i / repeated;
	}
	for (int step = -1; step < count; step++)
	{
		DsStatus status;
		double t;

		for (size_t i = 0; i < pairs * 12; i++)
			ids[i] = (uint32_t) ds_random_below(&random, 5000);
		t = processor_time();
		check(ds_trainer_step(trainer, &batch, NULL, NULL, &status), &status);
		t = processor_time() - t;
		if (step >= 0 && t < best)
			best = t;
	}
	printf("%.6f\n", best);
	ds_arena_free(&arena);
}

int
main(int argc, char **argv)
{
	DsTower tower;

	if (argc == 4 && strcmp(argv[1], "steps") == 0)
		steps(atoi(argv[2]), argv[3]);
	else if (argc == 5 && strcmp(argv[1], "speed") == 0)
	{
		tower = six();
		speed(&tower, atoi(argv[2]), (size_t) atoi(argv[3]), (size_t) atoi(argv[4]));
	}
	else if (argc == 4 && strcmp(argv[1], "vit") == 0)
	{
		tower = transformer(224, 224, 16, 192, 6, 128, false);
		speed(&tower, atoi(argv[2]), (size_t) atoi(argv[3]), 1);
	}
	else
	{
		fprintf(stderr, "usage: see the top of test/bench/training_images_ours.c\n");
		return 2;
	}
	return 0;
}
