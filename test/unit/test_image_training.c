/*
 * test_image_training.c
 *		Training of towers over pictures: shared by workers, resumed, its moving averages,
 *		what it learns, and its errors.  (Gradients: test_nn_gradient.c.)
 */
#include "unit.h"

#include <math.h>

#include "base/random.h"
#include "nn/conv.h"
#include "nn/fusion.h"
#include "nn/image_network.h"
#include "nn/image_small.h"
#include "nn/training.h"
#include "training_block.h"

#define PAIRS 24
#define SIDE 12
#define PIXELS ((size_t) SIDE * SIDE * 3)

static DsRandom dice;
static uint8_t pixels[PAIRS][PIXELS];
static uint32_t pictures[PAIRS];
static uint32_t ids[2][PAIRS * 3];
static size_t offsets[2][PAIRS + 1];
static uint64_t keys[2][PAIRS];

static const DsTrainLimits limits = {PAIRS, PAIRS, (size_t) PAIRS * 8, 8};

static DsImageSpec
network(bool norm)
{
	DsImageSpec spec;

	ds_image_spec_init(&spec, DS_IMAGE_CONV);
	spec.height = spec.width = SIDE;
	spec.channels = 3;
	spec.layer_count = 4;
	for (uint32_t l = 0; l < 3; l += 2)
		spec.layers[l] = (DsImageLayer){.kind = DS_LAYER_CONV,
										.input = l,
										.out = l == 0 ? 10 : 16,
										.kernel_height = 3,
										.kernel_width = 3,
										.stride = 1,
										.padding = 1,
										.bias = !norm,
										.norm = norm,
										.epsilon = norm ? 1e-5f : 0,
										.activation = DS_ACT_RELU};
	spec.layers[1] = (DsImageLayer){.kind = DS_LAYER_AVERAGE_POOL,
									.input = 1,
									.out = 10,
									.kernel_height = 2,
									.kernel_width = 2,
									.stride = 2};
	spec.layers[3] = (DsImageLayer){.kind = DS_LAYER_GLOBAL_AVERAGE, .input = 3, .out = 16};
	spec.module_count = 1;
	spec.modules[0] = (DsSpecModule){DS_MODULE_DENSE, 16, 12, DS_ACT_IDENTITY, 1, 0};
	return spec;
}

static DsNet
make_net(DsBodyKind body, bool norm)
{
	DsTower bag = {
		.body = DS_BODY_BAG,
		.bag = {.vocabulary = 50, .embedding_dims = 12, .dense_count = 1, .dense = {12}}};
	DsNet net = {.kind = DS_NET_DUAL, .tower = {bag, bag}, .score = DS_SCORE_COSINE};

	net.tower[1].body = body;
	net.tower[1].image = network(norm);
	for (int c = 0; c < 3; c++)
	{
		net.tower[1].pixel_mean[c] = 0.5;
		net.tower[1].pixel_deviation[c] = 0.25;
	}
	net.tower[1].mirrors = true;
	net.tower[1].moves = 1;
	net.tower[1].fusion_dims = 12;
	net.tower[1].leave_out = body == DS_BODY_FUSION ? 0.2 : 0;
	return net;
}

/* Query i has word i; picture i is of a colour of its own, with noise; some lie there twice */
static DsTrainBatch
make_batch(bool repeated, bool missing)
{
	for (size_t i = 0; i < PAIRS; i++)
	{
		size_t own = repeated && i % 2 == 1 ? i - 1 : i;

		for (size_t k = 0; k < PIXELS; k++)
			pixels[i][k] = (uint8_t) ((own * 37 * (k % 3 + 1) + ds_random_below(&dice, 40)) % 256);
		pictures[i] = missing && i % 5 == 0 ? DS_NO_PICTURE : (uint32_t) own;
		for (int s = 0; s < 2; s++)
		{
			ids[s][2 * i] = (uint32_t) own;
			ids[s][2 * i + 1] = (uint32_t) (25 + i);
			offsets[s][i + 1] = offsets[s][i] + 2;
			keys[s][i] = own + 1;
		}
	}
	return (DsTrainBatch){.pairs = PAIRS,
						  .documents = PAIRS,
						  .query = {.ids = ids[0], .offsets = offsets[0], .keys = keys[0]},
						  .document = {.ids = ids[1],
									   .offsets = offsets[1],
									   .pixels = pixels[0],
									   .pictures = PAIRS,
									   .picture = pictures,
									   .keys = keys[1]}};
}

static void
test_workers(DsBodyKind body, bool repeated, const char *name)
{
	DsNet net = make_net(body, true);
	DsTrainConfig t = ds_train_defaults;
	DsTrainBatch batch = make_batch(repeated, body == DS_BODY_FUSION);
	DsTrainer *reference = NULL;
	DsArena blocks;

	t.schedule.initial = 0.01;
	t.symmetric = true;
	ds_arena_init(&blocks, NULL);
	for (int n = 1; n <= 4; n++)
	{
		DsTrainer *trainer;
		DsStepResult result = {0};
		bool good = train_by_workers(n, &net, &t, &limits, &batch, 5, &blocks, &trainer, &result);

		reference = n == 1 ? trainer : reference;
		CHECK(good && same_values(reference, trainer), "%s: %d workers give the same weights", name,
			  n);
	}
	ds_arena_free(&blocks);
}

static void
test_resuming(void)
{
	DsNet net = make_net(DS_BODY_FUSION, true);
	DsTrainBatch batch = make_batch(false, true);
	DsArena arena;
	DsStatus status;
	DsTrainer *trainer[3];
	Memory m = {0};
	DsBlobWriter writer = {&m, memory_write};
	DsCheckpointReader reader = {&m, memory_read};

	ds_arena_init(&arena, NULL);
	for (int i = 0; i < 3; i++)
		trainer[i] = make_trainer(&net, &ds_train_defaults, &limits, &arena);
	m.bytes = ds_arena_alloc(&arena, block_size + 4096, 1);
	for (int step = 0; step < 8; step++)
		ds_trainer_step(trainer[0], &batch, NULL, NULL, &status);
	for (int step = 0; step < 3; step++)
		ds_trainer_step(trainer[1], &batch, NULL, NULL, &status);
	CHECK(ds_trainer_save(trainer[1], &writer, NULL, &status) == DS_OK &&
			  ds_trainer_restore(trainer[2], &reader, NULL, &status) == DS_OK,
		  "a checkpoint, averages included");
	for (int step = 3; step < 8; step++)
		ds_trainer_step(trainer[2], &batch, NULL, NULL, &status);
	CHECK(same_values(trainer[0], trainer[2]), "continued, it gives the same weights");
	ds_arena_free(&arena);
}

static const float *
value_of(DsTrainer *trainer, const char *name, size_t *count)
{
	DsTrained p = ds_trainer_parameter(trainer, ds_trainer_find(trainer, name));

	*count = p.count;
	return p.value;
}

/* After one step the averages are a tenth of the way to the moments of what the layer gave */
static void
test_averages(void)
{
	DsNet net = make_net(DS_BODY_IMAGE, true);
	DsTrainConfig t = ds_train_defaults;
	DsTrainBatch batch = make_batch(false, false);
	DsArena arena;
	DsStatus status;
	DsTrainer *trainer;
	DsConv conv;
	DsConvShape shape = {SIDE, SIDE, 3, 10, 3, 3, 1, 1};
	size_t count;
	const float *weight;
	double mean[10] = {0};
	double variance[10] = {0};
	double worst = 0;

	net.tower[1].mirrors = false;
	net.tower[1].moves = 0;
	ds_arena_init(&arena, NULL);
	trainer = make_trainer(&net, &t, &limits, &arena);
	weight = value_of(trainer, "document.layer.0.weight", &count);
	ds_conv_plan(&conv, &shape, false, &arena, &status);
	ds_conv_load(&conv, weight, false);
	/* six pictures a shard */
	for (size_t s = 0; s < DS_SHARDS; s++)
	{
		static float y[6][SIDE * SIDE * 10];
		double n = 6.0 * SIDE * SIDE;

		for (size_t i = 0; i < 6; i++)
		{
			float x[PIXELS];

			for (size_t k = 0; k < PIXELS; k++)
				x[k] = ((float) pixels[6 * s + i][k] / 255 - 0.5f) / 0.25f;
			ds_conv_forward(&conv, x, 1, NULL, y[i]);
		}
		for (size_t c = 0; c < 10; c++)
		{
			double sum = 0;
			double squares = 0;

			for (size_t k = c; k < 6 * SIDE * SIDE * 10; k += 10)
				sum += (double) y[k / (SIDE * SIDE * 10)][k % (SIDE * SIDE * 10)];
			for (size_t k = c; k < 6 * SIDE * SIDE * 10; k += 10)
				squares +=
					pow((double) y[k / (SIDE * SIDE * 10)][k % (SIDE * SIDE * 10)] - sum / n, 2);
			mean[c] += sum / n / DS_SHARDS;
			variance[c] += squares / (n - 1) / DS_SHARDS;
		}
	}
	CHECK(ds_trainer_step(trainer, &batch, NULL, NULL, &status) == DS_OK, "a step");
	for (size_t c = 0; c < 10; c++)
	{
		worst =
			fmax(worst, fabs((double) value_of(trainer, "document.layer.0.norm.mean", &count)[c] -
							 0.1 * mean[c]));
		worst =
			fmax(worst, fabs((double) value_of(trainer, "document.layer.0.norm.var", &count)[c] -
							 (0.9 + 0.1 * variance[c])));
	}
	CHECK(worst < 1e-4, "moving averages are those of the shards: %.1e off", worst);
	ds_arena_free(&arena);
}

/* Frozen: neither weights nor averages move */
static void
test_freezing(void)
{
	DsNet net = make_net(DS_BODY_IMAGE, true);
	DsTrainConfig t = ds_train_defaults;
	DsTrainBatch batch = make_batch(false, false);
	DsArena arena;
	DsStatus status;
	DsTrainer *trainer[2];
	bool same = true;
	bool moved = true;

	t.rule_count = 1;
	t.rules[0] = (DsRateRule){"document.layer.0", 0};
	ds_arena_init(&arena, NULL);
	for (int i = 0; i < 2; i++)
		trainer[i] = make_trainer(&net, &t, &limits, &arena);
	for (int step = 0; step < 3; step++)
		ds_trainer_step(trainer[0], &batch, NULL, NULL, &status);
	for (size_t i = 0; i < ds_trainer_parameters(trainer[0]); i++)
	{
		DsTrained p = ds_trainer_parameter(trainer[0], i);
		bool equal = memcmp(p.value, ds_trainer_parameter(trainer[1], i).value,
							p.count * sizeof(float)) == 0;

		if (strstr(p.name, "layer.0.") != NULL)
			same = same && equal && p.frozen;
		if (strstr(p.name, "layer.2.") != NULL)
			moved = moved && !equal;
	}
	CHECK(same && moved, "a frozen layer keeps its weights and its averages, another does not");
	ds_arena_free(&arena);
}

/* Averages that are to stay do, and training sees what inference will: no other pictures' moments */
static void
test_fixed_moments(void)
{
	DsNet net = make_net(DS_BODY_IMAGE, true);
	DsTrainBatch batch = make_batch(false, false);
	DsTrainConfig t = ds_train_defaults;
	DsArena arena;
	DsStatus status;
	DsTrainer *trainer;
	DsStepResult result;
	static float vectors[2][PAIRS * 12];
	size_t count;
	double loss = 0;
	bool stay = true;

	net.tower[1].fixed_moments = true;
	net.tower[1].mirrors = false;
	net.tower[1].moves = 0;
	ds_arena_init(&arena, NULL);
	trainer = make_trainer(&net, &t, &limits, &arena);
	for (int step = 0; step < 3; step++)
		ds_trainer_step(trainer, &batch, NULL, NULL, &status);
	for (size_t c = 0; c < 10; c++)
		stay = stay && value_of(trainer, "document.layer.0.norm.mean", &count)[c] == 0 &&
			   value_of(trainer, "document.layer.0.norm.var", &count)[c] == 1;
	CHECK(stay && value_of(trainer, "document.layer.0.norm.weight", &count)[0] != 1,
		  "fixed averages stay, and norms learn");
	CHECK(ds_trainer_encode(trainer, DS_SIDE_QUERY, &batch.query, PAIRS, vectors[0], NULL,
							&status) == DS_OK &&
			  ds_trainer_encode(trainer, DS_SIDE_DOCUMENT, &batch.document, PAIRS, vectors[1], NULL,
								&status) == DS_OK,
		  "vectors without training");
	for (size_t i = 0; i < PAIRS; i++)
	{
		double sum = 0;
		double own = 0;

		for (size_t j = 0; j < PAIRS; j++)
		{
			double score = 0;

			for (size_t k = 0; k < 12; k++)
				score += (double) vectors[0][i * 12 + k] * (double) vectors[1][j * 12 + k];
			sum += exp(score / t.temperature);
			own = j == i ? score / t.temperature : own;
		}
		loss += (log(sum) - own) / PAIRS;
	}
	CHECK(ds_trainer_step(trainer, &batch, &result, NULL, &status) == DS_OK &&
			  fabs(result.loss - loss) < 1e-4 * (1 + loss),
		  "the loss of a step is that of these vectors: %.6f, %.6f", result.loss, loss);
	ds_arena_free(&arena);
}

static void
test_learning(DsBodyKind body, bool norm)
{
	DsNet net = make_net(body, norm);
	DsTrainConfig t = ds_train_defaults;
	DsTrainBatch batch = make_batch(false, false);
	DsArena arena;
	DsStatus status;
	DsTrainer *trainer;
	DsStepResult result = {0};
	float queries[PAIRS * 12];
	float documents[PAIRS * 12];
	size_t right = 0;

	t.schedule.initial = 0.01;
	t.schedule.decay = 1;
	ds_arena_init(&arena, NULL);
	trainer = make_trainer(&net, &t, &limits, &arena);
	for (int step = 0; step < 120; step++)
		ds_trainer_step(trainer, &batch, &result, NULL, &status);
	CHECK(result.accuracy > 0.9, "training finds the pictures: %.3f", result.accuracy);
	ds_trainer_encode(trainer, DS_SIDE_QUERY, &batch.query, PAIRS, queries, NULL, &status);
	ds_trainer_encode(trainer, DS_SIDE_DOCUMENT, &batch.document, PAIRS, documents, NULL, &status);
	for (size_t q = 0; q < PAIRS; q++)
	{
		size_t best = 0;
		float top = -2;

		for (size_t d = 0; d < PAIRS; d++)
		{
			float score = 0;

			for (size_t c = 0; c < 12; c++)
				score += queries[q * 12 + c] * documents[d * 12 + c];
			best = score > top ? d : best;
			top = score > top ? score : top;
		}
		right += best == q;
	}
	CHECK(right >= PAIRS / 3, "inference, by moving averages of moments of six pictures: %zu of %d",
		  right, PAIRS);
	/* a picture's vector does not depend on its neighbours */
	if (body == DS_BODY_IMAGE)
	{
		float alone[12];
		DsTrainTexts one = {.pixels = pixels[0], .pictures = PAIRS, .picture = pictures + 7};

		ds_trainer_encode(trainer, DS_SIDE_DOCUMENT, &one, 1, alone, NULL, &status);
		right = 0;
		for (size_t c = 0; c < 12; c++)
			right += fabsf(alone[c] - documents[7 * 12 + c]) < 1e-5f;
		CHECK(right == 12, "a picture alone and among others");
	}
	ds_arena_free(&arena);
}

/* What was trained is what image_network.c serves */
static void
test_serving(void)
{
	DsNet net = make_net(DS_BODY_IMAGE, true);
	DsTrainBatch batch = make_batch(false, false);
	DsArena arena;
	DsStatus status = {0};
	DsTrainer *trainer;
	DsTensorSource source;
	Memory m = {0};
	DsBlobWriter writer = {&m, memory_write};
	DsImageNetwork *network = NULL;
	uint64_t size = 0;
	static float x[PAIRS][PIXELS];
	float served[PAIRS * 12];
	float trained[PAIRS * 12];
	double worst = 0;

	ds_arena_init(&arena, NULL);
	trainer = make_trainer(&net, &ds_train_defaults, &limits, &arena);
	for (int step = 0; step < 20; step++)
		ds_trainer_step(trainer, &batch, NULL, NULL, &status);
	source = ds_trainer_source(trainer, 1);
	ds_image_network_size(&net.tower[1].image, DS_PRECISION_F32, &size, &status);
	m.bytes = ds_arena_alloc(&arena, size, 1);
	CHECK(ds_image_network_layout(&net.tower[1].image, DS_PRECISION_F32, &source, &writer, &arena,
								  NULL, &status) == DS_OK &&
			  ds_image_network_open(m.bytes, m.size, &arena, &network, &status) == DS_OK,
		  "a trained tower is laid out: %s", status.message);
	for (size_t i = 0; i < PAIRS; i++)
		for (size_t k = 0; k < PIXELS; k++)
			x[i][k] = ((float) pixels[i][k] / 255 - 0.5f) / 0.25f;
	ds_image_network_run(network, PAIRS, x[0], served, &arena, NULL, &status);
	ds_trainer_encode(trainer, DS_SIDE_DOCUMENT, &batch.document, PAIRS, trained, NULL, &status);
	for (size_t i = 0; i < PAIRS; i++)
	{
		double square = 0;

		for (size_t c = 0; c < 12; c++)
			square += (double) served[i * 12 + c] * (double) served[i * 12 + c];
		for (size_t c = 0; c < 12; c++)
			worst = fmax(worst, fabs((double) served[i * 12 + c] / sqrt(square) -
									 (double) trained[i * 12 + c]));
	}
	CHECK(worst < 1e-5, "and gives the vectors of training: %.1e off", worst);
	ds_arena_free(&arena);
}

/* The parts of a trained tower on texts and pictures, put together as they are served */
static void
test_fusion(DsFusion fusion)
{
	DsNet net = make_net(DS_BODY_FUSION, true);
	DsTrainBatch batch;
	DsArena arena;
	DsStatus status = {0};
	DsTrainer *trainer;
	DsTensorSource source;
	Memory m = {0};
	DsBlobWriter writer = {&m, memory_write};
	DsImageNetwork *network = NULL;
	uint64_t size = 0;
	size_t n;
	static float x[PIXELS];
	float trained[PAIRS * 12];
	double worst = 0;
	DsDualEncoderConfig config = {.score = DS_SCORE_DOT};
	DsDualEncoder encoder;
	DsFusionWeights weights = {.fusion = fusion, .text = 12, .image = 12, .dims = 12};

	net.tower[1].fusion = fusion;
	batch = make_batch(false, true);
	offsets[1][3] = offsets[1][2]; /* a text that is missing */
	ds_arena_init(&arena, NULL);
	trainer = make_trainer(&net, &ds_train_defaults, &limits, &arena);
	for (int step = 0; step < 20; step++)
		ds_trainer_step(trainer, &batch, NULL, NULL, &status);
	source = ds_trainer_source(trainer, 1);
	ds_image_network_size(&net.tower[1].image, DS_PRECISION_F32, &size, &status);
	m.bytes = ds_arena_alloc(&arena, size, 1);
	ds_image_network_layout(&net.tower[1].image, DS_PRECISION_F32, &source, &writer, &arena, NULL,
							&status);
	ds_image_network_open(m.bytes, m.size, &arena, &network, &status);
	weights.weight = value_of(trainer, "document.fusion.weight", &n);
	weights.bias = value_of(trainer, "document.fusion.bias", &n);
	weights.no_text = value_of(trainer, "document.fusion.no_text", &n);
	weights.no_image = value_of(trainer, "document.fusion.no_image", &n);
	for (int t = 0; t < 2; t++)
		config.tower[t] = net.tower[t].bag;
	ds_dual_encoder_plan(&config, &encoder, &status);
	for (size_t i = 0; i < encoder.parameter_count; i++)
		encoder.parameter[i].value =
			(float *) (uintptr_t) value_of(trainer, encoder.parameter[i].name, &n);
	ds_trainer_encode(trainer, DS_SIDE_DOCUMENT, &batch.document, PAIRS, trained, NULL, &status);
	for (size_t i = 0; i < PAIRS; i++)
	{
		float text[12];
		float image[12];
		float joined[24];
		float out[12];
		float scratch[64];
		double square = 0;
		bool has_image = pictures[i] != DS_NO_PICTURE;
		bool has_text = offsets[1][i + 1] > offsets[1][i];

		ds_dual_encoder_infer(&encoder, DS_SIDE_DOCUMENT, ids[1], offsets[1] + i, 1, scratch, text,
							  NULL, &status);
		for (size_t k = 0; has_image && k < PIXELS; k++)
			x[k] = ((float) pixels[pictures[i]][k] / 255 - 0.5f) / 0.25f;
		ds_image_network_run(network, 1, x, image, &arena, NULL, &status);
		ds_fusion_infer(&weights, has_text ? text : NULL, has_image ? image : NULL, joined, out);
		for (size_t c = 0; c < 12; c++)
			square += (double) out[c] * (double) out[c];
		for (size_t c = 0; c < 12; c++)
			worst =
				fmax(worst, fabs((double) out[c] / sqrt(square) - (double) trained[i * 12 + c]));
	}
	CHECK(worst < 1e-5, "fusion %d is served as it was trained: %.1e off", (int) fusion, worst);
	ds_arena_free(&arena);
}

static void
test_small(void)
{
	static const uint32_t sizes[][2] = {{80, 60}, {8, 8}, {9, 200}, {224, 224}, {32, 32}};
	DsImageSpec spec;
	DsStatus status;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
	{
		DsCode code = ds_image_spec_small(&spec, sizes[i][0], sizes[i][1], 32, 64, &status);

		CHECK(code == DS_OK && ds_image_spec_dims(&spec) == 64 && spec.height == sizes[i][0],
			  "a network for %u x %u: %u layers, %llu parameters", sizes[i][0], sizes[i][1],
			  spec.layer_count, (unsigned long long) ds_image_spec_parameters(&spec));
	}
	CHECK(ds_image_spec_small(&spec, 7, 100, 32, 64, &status) == DS_INVALID, "too small: %s",
		  status.message);
}

/* Before training a document's picture and its text count about the same */
static void
test_begin(DsFusion fusion)
{
	DsTower bag = {
		.body = DS_BODY_BAG,
		.bag = {.vocabulary = 2000, .embedding_dims = 128, .dense_count = 1, .dense = {128}}};
	DsNet net = {.kind = DS_NET_DUAL, .tower = {bag, bag}, .score = DS_SCORE_DOT};
	size_t lots = 40;
	uint32_t words[PAIRS * 40];
	size_t begin[PAIRS + 1];
	uint32_t some[PAIRS];
	uint32_t none[PAIRS];
	size_t empty[PAIRS + 1] = {0};
	uint8_t *noise = calloc(PAIRS, (size_t) 24 * 24 * 3);
	ds_real *out = malloc(3 * PAIRS * 128 * sizeof(ds_real));
	double length[3] = {0};
	DsTrainer *trainer;
	DsStatus status;
	DsArena arena;

	net.tower[1].body = DS_BODY_FUSION;
	net.tower[1].fusion = fusion;
	net.tower[1].fusion_dims = 128;
	for (int c = 0; c < 3; c++)
		net.tower[1].pixel_deviation[c] = 0.25;
	CHECK(ds_image_spec_small(&net.tower[1].image, 24, 24, 32, 128, &status) == DS_OK, "a network");
	ds_arena_init(&arena, NULL);
	trainer = make_trainer(&net, &ds_train_defaults,
						   &(DsTrainLimits){PAIRS, PAIRS, PAIRS * (lots + 1), lots + 1}, &arena);
	for (size_t i = 0; i < PAIRS; i++)
	{
		begin[i + 1] = (i + 1) * lots;
		begin[0] = 0;
		some[i] = (uint32_t) i;
		none[i] = DS_NO_PICTURE;
	}
	for (size_t i = 0; i < PAIRS * lots; i++)
		words[i] = (uint32_t) ds_random_below(&dice, 2000);
	for (size_t i = 0; i < (size_t) PAIRS * 24 * 24 * 3; i++)
		noise[i] = (uint8_t) ds_random_below(&dice, 256);
	for (int which = 0; which < 3; which++)
	{
		DsTrainTexts texts = {.ids = words,
							  .offsets = which == 1 ? empty : begin,
							  .pixels = noise,
							  .pictures = PAIRS,
							  .picture = which == 0 ? none : some};
		ds_real *vectors = out + (size_t) which * PAIRS * 128;

		CHECK(ds_trainer_encode(trainer, DS_SIDE_DOCUMENT, &texts, PAIRS, vectors, NULL, &status) ==
				  DS_OK,
			  "vectors of documents");
		for (size_t k = 0; k < (size_t) PAIRS * 128; k++)
			length[which] += (double) (vectors[k] * vectors[k]);
		length[which] = sqrt(length[which]);
	}
	CHECK(length[1] < 3 * length[0] && length[0] < 3 * length[1],
		  "fusion %d: at first vectors of texts have length %.3g, those of pictures %.3g, of both "
		  "%.3g",
		  (int) fusion, length[0], length[1], length[2]);
	free(noise);
	free(out);
	ds_arena_free(&arena);
}

static void
test_errors(void)
{
	DsNet net = make_net(DS_BODY_IMAGE, true);
	DsTrainBatch batch = make_batch(false, true);
	DsArena arena;
	DsStatus status;
	DsTrainer *trainer;
	size_t size;

	ds_arena_init(&arena, NULL);
	trainer = make_trainer(&net, &ds_train_defaults, &limits, &arena);
	CHECK(ds_trainer_step(trainer, &batch, NULL, NULL, &status) == DS_INVALID &&
			  strcmp(status.message, "document 0 has no picture") == 0,
		  "a picture is missing: %s", status.message);
	batch = make_batch(false, false);
	batch.document.pictures = PAIRS - 1;
	CHECK(ds_trainer_step(trainer, &batch, NULL, NULL, &status) == DS_INVALID,
		  "a picture behind the last: %s", status.message);
	net.tower[1].moves = SIDE;
	CHECK(ds_trainer_size(&net, &ds_train_defaults, &limits, &size, &status) == DS_INVALID,
		  "moved too far: %s", status.message);
	net.tower[1].moves = 0;
	net.tower[1].pixel_deviation[1] = 0;
	CHECK(ds_trainer_size(&net, &ds_train_defaults, &limits, &size, &status) == DS_INVALID,
		  "no deviation: %s", status.message);
	net = make_net(DS_BODY_FUSION, true);
	net.tower[1].fusion = DS_FUSION_GATED;
	net.tower[1].fusion_dims = 9;
	net.tower[0].bag.dense[0] = 9;
	CHECK(ds_trainer_size(&net, &ds_train_defaults, &limits, &size, &status) == DS_INVALID,
		  "a gate between widths: %s", status.message);
	ds_arena_free(&arena);
}

int
main(void)
{
	ds_random_init(&dice, 17, 0);
	test_workers(DS_BODY_IMAGE, false, "pictures");
	test_workers(DS_BODY_IMAGE, true, "pictures, each twice");
	test_workers(DS_BODY_FUSION, true, "texts and pictures");
	test_resuming();
	test_averages();
	test_freezing();
	test_fixed_moments();
	test_learning(DS_BODY_IMAGE, true);
	test_learning(DS_BODY_IMAGE, false);
	test_learning(DS_BODY_FUSION, true);
	test_serving();
	test_fusion(DS_FUSION_CONCATENATE);
	test_fusion(DS_FUSION_GATED);
	test_small();
	test_begin(DS_FUSION_CONCATENATE);
	test_begin(DS_FUSION_GATED);
	test_errors();
	return unit_done();
}
