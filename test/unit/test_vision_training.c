/*
 * test_vision_training.c
 *		Training of vision transformers and of both towers of CLIP: vectors beside those of
 *		inference, masks and poolings, shared by workers, resumed, frozen in part, what it
 *		learns, and its errors.  (Gradients: test_nn_gradient.c.)
 */
#include "unit.h"

#include "base/random.h"
#include "disk_folder.h"
#include "format/image_source.h"
#include "nn/image_network.h"
#include "nn/training.h"
#include "training_block.h"

#define PAIRS 24
#define HEIGHT 12
#define WIDTH 8
#define VALUES ((size_t) HEIGHT * WIDTH * 3)
#define LONGEST 9
#define VOCABULARY 50
#define EOT 40
#define DIMS 12

static DsRandom dice;
static uint8_t pixels[PAIRS][VALUES];
static uint32_t pictures[PAIRS];
static uint32_t ids[PAIRS * LONGEST];
static size_t offsets[PAIRS + 1];
static uint64_t keys[2][PAIRS];

static const DsTrainLimits limits = {PAIRS, PAIRS, (size_t) PAIRS *LONGEST, LONGEST};

/* 3 x 2 patches of 4 x 4 pixels */
static DsImageSpec
vision(void)
{
	DsImageSpec spec;
	DsEncoderSpec *t = &spec.transformer;

	ds_image_spec_init(&spec, DS_IMAGE_VIT);
	spec.height = HEIGHT;
	spec.width = WIDTH;
	spec.channels = 3;
	spec.patch = 4;
	t->patch_dims = 48;
	t->class_token = 1;
	t->hidden = 32;
	t->positions = t->max_tokens = 7;
	t->embedding_norm = t->norm_first = t->final_norm = 1;
	t->layers = 2;
	t->heads = 4;
	t->head_dims = 8;
	t->intermediate = 40;
	t->activation = DS_ACT_QUICK_GELU;
	t->norm_epsilon = 1e-5f;
	t->norm_bias = t->qkv_bias = t->out_bias = t->up_bias = t->down_bias = 1;
	t->pooling = DS_POOL_CLS;
	t->module_count = 1;
	t->modules[0] = (DsSpecModule){DS_MODULE_DENSE, 32, DIMS, DS_ACT_IDENTITY, 0, 0};
	return spec;
}

static DsEncoderSpec
language(void)
{
	DsEncoderSpec spec;

	ds_spec_init(&spec, DS_ENCODER_TRANSFORMER);
	spec.vocabulary = VOCABULARY;
	spec.hidden = 24;
	spec.positions = spec.max_tokens = LONGEST;
	spec.norm_first = spec.final_norm = spec.causal = 1;
	spec.layers = 2;
	spec.heads = 3;
	spec.head_dims = 8;
	spec.intermediate = 40;
	spec.activation = DS_ACT_QUICK_GELU;
	spec.norm_epsilon = 1e-5f;
	spec.norm_bias = spec.qkv_bias = spec.out_bias = spec.up_bias = spec.down_bias = 1;
	spec.pooling = DS_POOL_EOT;
	spec.eot_id = EOT;
	spec.module_count = 1;
	spec.modules[0] = (DsSpecModule){DS_MODULE_DENSE, 24, DIMS, DS_ACT_IDENTITY, 0, 0};
	return spec;
}

static DsNet
clip(void)
{
	DsNet net = {.kind = DS_NET_DUAL,
				 .score = DS_SCORE_COSINE,
				 .tower = {{.body = DS_BODY_TRANSFORMER, .spec = language()},
						   {.body = DS_BODY_IMAGE,
							.image = vision(),
							.pixel_mean = {0.5, 0.5, 0.5},
							.pixel_deviation = {0.25, 0.25, 0.25},
							.mirrors = true,
							.moves = 1}}};

	return net;
}

static float
normalised(uint8_t pixel)
{
	return ((float) pixel / 255 - 0.5f) / 0.25f;
}

/* Text i says i and ends, some with more behind the end; picture i is of a colour of its own */
static DsTrainBatch
make_batch(bool repeated)
{
	for (size_t i = 0; i < PAIRS; i++)
	{
		size_t own = repeated && i % 2 == 1 ? i - 1 : i;
		size_t words = 1 + ds_random_below(&dice, LONGEST - 3);
		uint32_t *text = ids + offsets[i];

		for (size_t k = 0; k < VALUES; k++)
			pixels[i][k] = (uint8_t) ((own * 37 * (k % 3 + 1) + ds_random_below(&dice, 40)) % 256);
		pictures[i] = (uint32_t) own;
		for (size_t k = 0; k < words; k++)
			text[k] = (uint32_t) own;
		text[words++] = EOT;
		if (i % 4 == 3)
			text[words++] = (uint32_t) ds_random_below(&dice, VOCABULARY);
		offsets[i + 1] = offsets[i] + words;
		keys[0][i] = keys[1][i] = own + 1;
	}
	return (DsTrainBatch){
		.pairs = PAIRS,
		.documents = PAIRS,
		.query = {.ids = ids, .offsets = offsets, .keys = keys[0]},
		.document = {.pixels = pixels[0], .pictures = PAIRS, .picture = pictures, .keys = keys[1]}};
}

static DsTrained
parameter_of(DsTrainer *trainer, const char *name)
{
	return ds_trainer_parameter(trainer, ds_trainer_find(trainer, name));
}

/* Weights that are far from those of the beginning */
static void
shake(DsTrainer *trainer)
{
	for (size_t i = 0; i < ds_trainer_parameters(trainer); i++)
	{
		DsTrained p = ds_trainer_parameter(trainer, i);

		for (size_t k = 0; k < p.count && strchr(p.name, '.') != NULL; k++)
			p.value[k] += (float) (0.2 * ds_random_normal(&dice));
	}
}

/* The largest difference of rows of length one */
static double
difference(const float *x, const float *y, size_t rows, size_t dims)
{
	double worst = 0;

	for (size_t r = 0; r < rows; r++, x += dims, y += dims)
	{
		double squares[2] = {0};

		for (size_t c = 0; c < dims; c++)
		{
			squares[0] += (double) x[c] * (double) x[c];
			squares[1] += (double) y[c] * (double) y[c];
		}
		for (size_t c = 0; c < dims; c++)
		{
			double d = fabs((double) x[c] / sqrt(squares[0]) - (double) y[c] / sqrt(squares[1]));

			worst = d <= worst ? worst : isnan(d) ? HUGE_VAL : d;
		}
	}
	return worst;
}

static DsImageNetwork *
serve_pictures(DsTrainer *trainer, size_t tower, DsArena *arena, DsStatus *status)
{
	const DsImageSpec *spec = &ds_trainer_net(trainer)->tower[tower].image;
	DsTensorSource source = ds_trainer_source(trainer, tower);
	Memory m = {0};
	DsBlobWriter writer = {&m, memory_write};
	DsImageNetwork *network = NULL;
	uint64_t size = 0;

	if (ds_image_network_size(spec, DS_PRECISION_F32, &size, status) == DS_OK)
		m.bytes = ds_arena_alloc(arena, size, 1);
	if (m.bytes == NULL || ds_image_network_layout(spec, DS_PRECISION_F32, &source, &writer, arena,
												   NULL, status) != DS_OK)
		return NULL;
	return ds_image_network_open(m.bytes, m.size, arena, &network, status) == DS_OK ? network
																					: NULL;
}

static DsEncoder *
serve_texts(DsTrainer *trainer, size_t tower, DsArena *arena, DsStatus *status)
{
	const DsEncoderSpec *spec = &ds_trainer_net(trainer)->tower[tower].spec;
	DsTensorSource source = ds_trainer_source(trainer, tower);
	Memory m = {0};
	DsBlobWriter writer = {&m, memory_write};
	DsEncoder *encoder = NULL;
	uint64_t size = 0;

	if (ds_encoder_size(spec, DS_PRECISION_F32, &size, status) == DS_OK)
		m.bytes = ds_arena_alloc(arena, size, 1);
	if (m.bytes == NULL ||
		ds_encoder_layout(spec, DS_PRECISION_F32, &source, &writer, arena, NULL, status) != DS_OK)
		return NULL;
	return ds_encoder_open(m.bytes, m.size, arena, &encoder, status) == DS_OK ? encoder : NULL;
}

/* What was trained is what encoder.c and image_network.c serve; and its weights come back */
static void
test_serving(const char *name, const DsNet *net)
{
	DsTrainBatch batch = make_batch(false);
	DsTrainConfig t = ds_train_defaults;
	DsArena arena;
	DsStatus status = {0};
	DsTrainer *trainer;
	DsTrainer *other;
	DsImageNetwork *network;
	DsEncoder *encoder;
	size_t dims = ds_net_dims(net);
	float *ours;
	float *theirs;
	uint32_t starts[PAIRS + 1];
	static float x[PAIRS][VALUES];
	bool loaded = true;

	ds_arena_init(&arena, NULL);
	trainer = make_trainer(net, &t, &limits, &arena);
	t.seed = 5;
	other = make_trainer(net, &t, &limits, &arena);
	shake(trainer);
	for (int step = 0; step < 3; step++)
		loaded = loaded && ds_trainer_step(trainer, &batch, NULL, NULL, &status) == DS_OK;
	CHECK(loaded, "%s: steps %s", name, status.message);
	ours = ds_arena_alloc(&arena, PAIRS * dims, sizeof(float));
	theirs = ds_arena_alloc(&arena, PAIRS * dims, sizeof(float));
	network = serve_pictures(trainer, 1, &arena, &status);
	encoder = serve_texts(trainer, 0, &arena, &status);
	CHECK(network != NULL && encoder != NULL, "%s: trained towers are laid out %s", name,
		  status.message);
	if (network != NULL && encoder != NULL)
	{
		for (size_t i = 0; i < PAIRS; i++)
			for (size_t k = 0; k < VALUES; k++)
				x[i][k] = normalised(pixels[i][k]);
		for (size_t i = 0; i <= PAIRS; i++)
			starts[i] = (uint32_t) offsets[i];
		ds_image_network_run(network, PAIRS, x[0], theirs, &arena, NULL, &status);
		ds_trainer_encode(trainer, DS_SIDE_DOCUMENT, &batch.document, PAIRS, ours, NULL, &status);
		CHECK(difference(ours, theirs, PAIRS, dims) < 1e-5, "%s: pictures as in training: %.1e off",
			  name, difference(ours, theirs, PAIRS, dims));
		ds_encoder_run(encoder, &(DsEncoderBatch){.texts = PAIRS, .starts = starts, .ids = ids},
					   theirs, &arena, NULL, &status);
		ds_trainer_encode(trainer, DS_SIDE_QUERY, &batch.query, PAIRS, ours, NULL, &status);
		CHECK(difference(ours, theirs, PAIRS, dims) < 1e-5, "%s: texts as in training: %.1e off",
			  name, difference(ours, theirs, PAIRS, dims));
	}
	for (size_t tower = 0; tower < 2; tower++)
	{
		DsTensorSource source = ds_trainer_source(trainer, tower);

		loaded = loaded && ds_trainer_load(other, tower, &source, false, NULL, &status) == DS_OK;
	}
	parameter_of(other, "log_scale").value[0] = parameter_of(trainer, "log_scale").value[0];
	CHECK(loaded && same_values(trainer, other), "%s: weights in and out %s", name, status.message);
	ds_arena_free(&arena);
}

static void
encode_text(DsTrainer *trainer, const uint32_t *text, size_t n, float *out)
{
	size_t ends[2] = {0, n};
	DsTrainTexts texts = {.ids = text, .offsets = ends};
	DsStatus status;

	if (ds_trainer_encode(trainer, DS_SIDE_QUERY, &texts, 1, out, NULL, &status) != DS_OK)
		memset(out, 255, DIMS * sizeof(float));
}

/* Do two texts have the same vector, to the bit? */
static bool
same_vector(DsTrainer *trainer, const uint32_t *one, size_t n, const uint32_t *two, size_t m)
{
	float x[2][DIMS];

	encode_text(trainer, one, n, x[0]);
	encode_text(trainer, two, m, x[1]);
	return memcmp(x[0], x[1], sizeof(x[0])) == 0;
}

/* A later token does not change what an earlier one becomes, nor learns from it */
static void
test_mask(void)
{
	static const uint32_t text[] = {3, 9, EOT, 7, 8};
	static const uint32_t behind[] = {3, 9, EOT, 21, 4, EOT, 6};
	static const uint32_t before[] = {3, 11, EOT, 7, 8};
	DsNet net = clip();
	DsTrainConfig t = ds_train_defaults;
	DsArena arena;
	DsTrainer *masked;
	DsTrainer *first;
	DsTrainer *open;
	DsTensorSource source;
	DsStatus status = {0};
	size_t ends[3] = {0, 5, 12};
	uint32_t both[12];
	DsTrainBatch batch = make_batch(false);
	float gradient[LONGEST * 24];
	bool zero = true;
	bool learns = true;

	ds_arena_init(&arena, NULL);
	masked = make_trainer(&net, &t, &limits, &arena);
	shake(masked);
	source = ds_trainer_source(masked, 0);
	net.tower[0].spec.pooling = DS_POOL_CLS;
	first = make_trainer(&net, &t, &limits, &arena);
	net.tower[0].spec.causal = 0;
	net.tower[0].spec.pooling = DS_POOL_EOT;
	open = make_trainer(&net, &t, &limits, &arena);
	CHECK(ds_trainer_load(first, 0, &source, false, NULL, &status) == DS_OK &&
			  ds_trainer_load(open, 0, &source, false, NULL, &status) == DS_OK,
		  "the same weights %s", status.message);
	CHECK(same_vector(masked, text, 5, text, 3) && same_vector(masked, text, 5, behind, 7),
		  "what stands behind the end of a text does not count");
	CHECK(!same_vector(masked, text, 5, before, 5), "what stands before it does");
	CHECK(same_vector(first, text, 5, text, 1) && same_vector(first, text, 5, before, 5),
		  "the first token sees itself alone");
	CHECK(!same_vector(open, text, 5, text, 3) && !same_vector(open, text, 5, behind, 7),
		  "without a mask all of it counts");

	memcpy(both, text, sizeof(text));
	memcpy(both + 5, behind, sizeof(behind));
	batch.pairs = batch.documents = 2;
	batch.query = (DsTrainTexts){.ids = both, .offsets = ends};
	batch.document.keys = NULL;
	forward_backward(masked, &batch, 0, NULL);
	ds_trainer_gradient(masked, ds_trainer_find(masked, "query.position.weight"), gradient);
	for (size_t k = 0; k < sizeof(gradient) / sizeof(gradient[0]); k++)
	{
		learns = learns && (k >= 3 * (size_t) 24 || gradient[k] != 0);
		zero = zero && (k < 3 * (size_t) 24 || gradient[k] == 0);
	}
	CHECK(zero && learns, "positions behind the end get no gradient, those before it do");
	ds_arena_free(&arena);
}

/* The first end of a text; where there is none, its last token */
static void
test_end(void)
{
	static const uint32_t two[] = {3, EOT, 9, EOT};
	static const uint32_t none[] = {3, 9, 17, 8};
	static const uint32_t last[] = {3, 9, 17, EOT};
	DsNet net = clip();
	DsArena arena;
	DsTrainer *trainer[3];
	DsStatus status = {0};
	float x[3][DIMS];

	/* all of a text is seen, so that poolings alone differ */
	net.tower[0].spec.causal = 0;
	ds_arena_init(&arena, NULL);
	for (int i = 0; i < 3; i++)
	{
		DsTensorSource source;

		net.tower[0].spec.pooling = i == 0 ? DS_POOL_EOT : i == 1 ? DS_POOL_LAST : DS_POOL_CLS;
		trainer[i] = make_trainer(&net, &ds_train_defaults, &limits, &arena);
		if (i == 0)
			shake(trainer[0]);
		source = ds_trainer_source(trainer[0], 0);
		ds_trainer_load(trainer[i], 0, &source, false, NULL, &status);
	}
	for (int i = 0; i < 3; i++)
		encode_text(trainer[i], none, 4, x[i]);
	CHECK(memcmp(x[0], x[1], sizeof(x[0])) == 0 && memcmp(x[0], x[2], sizeof(x[0])) != 0,
		  "without an end the last token");
	for (int i = 0; i < 3; i++)
		encode_text(trainer[i], last, 4, x[i]);
	CHECK(memcmp(x[0], x[1], sizeof(x[0])) == 0, "an end that comes last");
	for (int i = 0; i < 3; i++)
		encode_text(trainer[i], two, 4, x[i]);
	CHECK(memcmp(x[0], x[1], sizeof(x[0])) != 0 && memcmp(x[0], x[2], sizeof(x[0])) != 0,
		  "of two ends the first, which is neither the first nor the last token");
	ds_arena_free(&arena);
}

/* 1 to 4 workers make the same weights, to the bit, and learn */
static void
test_workers(uint32_t cached, bool repeated)
{
	DsNet net = clip();
	DsTrainConfig t = ds_train_defaults;
	DsTrainBatch batch = make_batch(repeated);
	DsTrainer *reference = NULL;
	DsArena blocks;

	for (int side = 0; side < 2; side++)
		net.tower[side].dropout = net.tower[side].attention_dropout = 0.1;
	t.symmetric = t.learn_temperature = true;
	t.cache_texts = cached;
	ds_arena_init(&blocks, NULL);
	for (int n = 1; n <= 4; n++)
	{
		DsTrainer *trainer;
		DsStepResult result = {0};
		bool good = train_by_workers(n, &net, &t, &limits, &batch, 10, &blocks, &trainer, &result);

		reference = n == 1 ? trainer : reference;
		CHECK(good && same_values(reference, trainer), "%d workers give the same weights%s%s", n,
			  cached > 0 ? ", cached gradients" : "", repeated ? ", pictures twice" : "");
	}
	ds_arena_free(&blocks);
}

/* Gradients of two trainers: the largest difference, relative to the largest of all */
static double
gradient_difference(DsTrainer *a, DsTrainer *b, DsArena *arena)
{
	double worst = 0;
	double largest = 1e-30;

	for (size_t i = 0; i < ds_trainer_parameters(a); i++)
	{
		DsTrained p = ds_trainer_parameter(a, i);
		float *g[2];

		if (p.frozen)
			continue;
		for (int k = 0; k < 2; k++)
		{
			g[k] = ds_arena_alloc(arena, p.count, sizeof(float));
			ds_trainer_gradient(k == 0 ? a : b, i, g[k]);
		}
		for (size_t k = 0; k < p.count; k++)
		{
			worst = fmax(worst, fabs((double) (g[0][k] - g[1][k])));
			largest = fmax(largest, fabs((double) g[0][k]));
		}
	}
	return worst / largest;
}

/* Cached gradients, and pictures that go through once for two pairs, are the plain ones */
static void
test_shortcuts(void)
{
	DsNet net = clip();
	DsTrainConfig t = ds_train_defaults;
	DsTrainBatch batch = make_batch(true);
	DsArena arena;
	DsTrainer *trainer[3];

	net.tower[1].mirrors = false;
	net.tower[1].moves = 0;
	ds_arena_init(&arena, NULL);
	for (int i = 0; i < 3; i++)
	{
		t.cache_texts = i == 1 ? 2 : 0;
		trainer[i] = make_trainer(&net, &t, &limits, &arena);
		for (size_t k = 0; i == 2 && k < PAIRS; k++)
		{
			memcpy(pixels[k], pixels[pictures[k]], VALUES);
			pictures[k] = (uint32_t) k;
		}
		forward_backward(trainer[i], &batch, 0, NULL);
	}
	CHECK(gradient_difference(trainer[0], trainer[1], &arena) < 3e-5, "cached gradients: %.1e",
		  gradient_difference(trainer[0], trainer[1], &arena));
	CHECK(gradient_difference(trainer[0], trainer[2], &arena) < 3e-5,
		  "a picture for two pairs: %.1e", gradient_difference(trainer[0], trainer[2], &arena));
	ds_arena_free(&arena);
}

static void
test_resuming(void)
{
	DsNet net = clip();
	DsTrainConfig t = ds_train_defaults;
	DsTrainBatch batch = make_batch(false);
	DsArena arena;
	DsStatus status;
	DsTrainer *trainer[3];
	Memory m = {0};
	DsBlobWriter writer = {&m, memory_write};
	DsCheckpointReader reader = {&m, memory_read};

	ds_arena_init(&arena, NULL);
	for (int i = 0; i < 3; i++)
	{
		t.seed = i == 2 ? 9 : 1;
		trainer[i] = make_trainer(&net, &t, &limits, &arena);
	}
	m.bytes = ds_arena_alloc(&arena, block_size + 4096, 1);
	for (int step = 0; step < 3; step++)
		for (int i = 0; i < 2; i++)
			ds_trainer_step(trainer[i], &batch, NULL, NULL, &status);
	CHECK(ds_trainer_save(trainer[1], &writer, NULL, &status) == DS_OK &&
			  ds_trainer_restore(trainer[2], &reader, NULL, &status) == DS_OK &&
			  same_values(trainer[1], trainer[2]),
		  "a checkpoint");
	/* mirrors and moves follow from the seed, which the configuration has and not the checkpoint */
	CHECK(ds_trainer_step(trainer[0], &batch, NULL, NULL, &status) == DS_OK &&
			  ds_trainer_step(trainer[1], &batch, NULL, NULL, &status) == DS_OK &&
			  ds_trainer_step(trainer[2], &batch, NULL, NULL, &status) == DS_OK &&
			  same_values(trainer[0], trainer[1]) && !same_values(trainer[0], trainer[2]),
		  "saving changes nothing, other random numbers do");
	t.seed = 1;
	trainer[2] = make_trainer(&net, &t, &limits, &arena);
	m.at = 0;
	CHECK(ds_trainer_restore(trainer[2], &reader, NULL, &status) == DS_OK &&
			  ds_trainer_step(trainer[2], &batch, NULL, NULL, &status) == DS_OK &&
			  same_values(trainer[0], trainer[2]),
		  "continued, it gives the same weights");
	ds_arena_free(&arena);
}

/* Does a name begin with one of these, separated by blanks? */
static bool
begins(const char *name, const char *prefixes)
{
	for (; *prefixes != 0; prefixes += strcspn(prefixes, " "), prefixes += strspn(prefixes, " "))
		if (strncmp(name, prefixes, strcspn(prefixes, " ")) == 0)
			return true;
	return false;
}

/* What rules freeze keeps its bits; the rest moves as its factor says */
static void
test_rates(void)
{
	static const char *const frozen[] = {"document.patch.", "document.class.", "document.position.",
										 "document.embedding.", "document.layer.0."};
	static const struct
	{
		const char *prefixes;
		double factor;
	} factors[] = {{"document.patch. document.class. document.position. document.embedding. "
					"query.token. query.position.",
					0.125},
				   {"document.layer.0. query.layer.0.", 0.25},
				   {"document.layer.1. query.layer.1.", 0.5},
				   {"document.final. document.module. query.final. query.module.", 1}};
	DsNet net = clip();
	DsTrainConfig t = ds_train_defaults;
	DsTrainBatch batch = make_batch(false);
	DsArena arena[3];
	DsTrainer *trainer[3];
	DsTrainer *before;
	DsStatus status;
	size_t wrong = 0;
	size_t off = 0;

	t.optimizer = (DsOptimizer){.kind = DS_OPTIMIZER_SGD, .epsilon = 1e-8};
	t.schedule.initial = 1;
	t.clip_norm = 0;
	for (int i = 0; i < 3; i++)
	{
		ds_arena_init(&arena[i], NULL);
		t.layer_decay = i == 1 ? 0.5 : 1;
		t.rule_count = i == 2 ? sizeof(frozen) / sizeof(frozen[0]) : 0;
		for (uint32_t r = 0; r < t.rule_count; r++)
			snprintf(t.rules[r].prefix, sizeof(t.rules[r].prefix), "%.*s",
					 (int) strlen(frozen[r]) - 1, frozen[r]);
		trainer[i] = make_trainer(&net, &t, &limits, &arena[i]);
		ds_trainer_step(trainer[i], &batch, NULL, NULL, &status);
	}
	before = make_trainer(&net, &t, &limits, &arena[0]);
	for (size_t i = 0; i < ds_trainer_parameters(before); i++)
	{
		DsTrained p = ds_trainer_parameter(before, i);
		DsTrained q = ds_trainer_parameter(trainer[2], i);
		bool keeps = strcmp(p.name, "log_scale") == 0;

		for (size_t k = 0; k < sizeof(frozen) / sizeof(frozen[0]); k++)
			keeps = keeps || begins(p.name, frozen[k]);
		wrong += (memcmp(p.value, q.value, p.count * sizeof(float)) == 0) != keeps;
		wrong += q.frozen != keeps;
		for (size_t k = 0; k < sizeof(factors) / sizeof(factors[0]); k++)
			for (size_t c = 0; begins(p.name, factors[k].prefixes) && c < p.count; c++)
			{
				double whole = (double) (ds_trainer_parameter(trainer[0], i).value[c] - p.value[c]);
				double part = (double) (ds_trainer_parameter(trainer[1], i).value[c] - p.value[c]);

				off += fabs(part - factors[k].factor * whole) > 1e-6;
			}
	}
	CHECK(wrong == 0, "what is frozen keeps its weights, the rest does not: %zu are wrong", wrong);
	CHECK(off == 0, "rates fall from layer to layer: %zu values are off", off);
	for (int i = 0; i < 3; i++)
		ds_arena_free(&arena[i]);
}

/* Layers that nothing goes back to share the memory of one */
static void
test_memory(void)
{
	DsNet net = clip();
	DsEncoderSpec *spec = &net.tower[1].image.transformer;
	DsTrainConfig t = ds_train_defaults;
	DsTrainBatch batch = make_batch(false);
	DsStatus status;
	size_t memory[2];

	spec->layers = 16;
	spec->intermediate = 512;
	t.rules[0] = (DsRateRule){"document", 0};
	t.rules[1] = (DsRateRule){"document.layer.15", 1};
	for (uint32_t i = 0; i < 2; i++)
	{
		DsArena block;
		DsArena arena;
		DsTrainer *trainer;

		ds_arena_init(&block, NULL);
		ds_arena_init(&arena, NULL);
		t.rule_count = 2 * i;
		trainer = make_trainer(&net, &t, &limits, &block);
		ds_trainer_attach(*(void **) (void *) trainer, block_size, &arena, &trainer, NULL);
		CHECK(ds_trainer_step(trainer, &batch, NULL, NULL, &status) == DS_OK, "a step");
		memory[i] = arena.allocated;
		ds_arena_free(&arena);
		ds_arena_free(&block);
	}
	/* six pictures of seven rows a shard; of a row there are 9 times the hidden width and the MLP */
	CHECK(memory[0] > memory[1] + 15 * DS_SHARDS * 6 * 7 * (9 * 32 + 512) * sizeof(float),
		  "fifteen of sixteen layers frozen: %zu of %zu bytes", memory[1], memory[0]);
}

static bool
after_a_while(void *context)
{
	return --*(int *) context < 0;
}

static void
test_learning(void)
{
	DsNet net = clip();
	DsTrainConfig t = ds_train_defaults;
	DsTrainBatch batch = make_batch(false);
	DsArena arena;
	DsStatus status;
	DsTrainer *trainer;
	DsTrainer *before;
	DsStepResult result = {0};
	float queries[PAIRS * DIMS];
	float documents[PAIRS * DIMS];
	float alone[DIMS];
	size_t right = 0;
	int polls;
	DsCancel cancel = {after_a_while, &polls};
	bool stopped = true;

	t.schedule.initial = 0.003;
	t.schedule.decay = 0.1;
	t.schedule.decay_steps = 600;
	t.symmetric = true;
	ds_arena_init(&arena, NULL);
	trainer = make_trainer(&net, &t, &limits, &arena);
	before = make_trainer(&net, &t, &limits, &arena);
	for (int stop = 0; stop < 200; stop += 7)
	{
		polls = stop;
		stopped =
			stopped && ds_trainer_step(trainer, &batch, &result, &cancel, &status) == DS_CANCELLED;
	}
	CHECK(stopped && same_values(trainer, before), "a step is cancelled wherever it is");
	for (int step = 0; step < 600; step++)
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

			for (size_t c = 0; c < DIMS; c++)
				score += queries[q * DIMS + c] * documents[d * DIMS + c];
			best = score > top ? d : best;
			top = score > top ? score : top;
		}
		right += best == q;
	}
	CHECK(right > PAIRS * 9 / 10, "and so does what it encodes: %zu of %d", right, PAIRS);
	ds_trainer_encode(
		trainer, DS_SIDE_DOCUMENT,
		&(DsTrainTexts){.pixels = pixels[0], .pictures = PAIRS, .picture = pictures + 7}, 1, alone,
		NULL, &status);
	CHECK(difference(alone, documents + (size_t) 7 * DIMS, 1, DIMS) < 1e-6,
		  "a picture alone and among others");
	ds_arena_free(&arena);
}

/* A shard may get nearly all tokens where pictures decide how a batch is cut */
static void
test_uneven(void)
{
	DsNet net = clip();
	DsTrainBatch batch = make_batch(false);
	DsTrainLimits most;
	DsTrainConfig t = ds_train_defaults;
	DsArena arena;
	DsStatus status = {0};
	DsTrainer *trainer[2];
	bool good = true;

	/* the first shard has texts of all tokens, each of them once, the others one token each */
	for (size_t i = 0, n = 0; i < PAIRS; i++)
	{
		for (size_t k = 0; k < (i < PAIRS / 4 ? LONGEST - 1 : 1); k++, n++)
			ids[n] = (uint32_t) (i < PAIRS / 4 ? n : EOT);
		offsets[i + 1] = n;
	}
	most = (DsTrainLimits){PAIRS, PAIRS, offsets[PAIRS], LONGEST - 1};
	ds_arena_init(&arena, NULL);
	t.optimizer.kind = DS_OPTIMIZER_SGD;
	for (int i = 0; i < 2; i++)
	{
		trainer[i] = make_trainer(&net, &t, i == 0 ? &most : &limits, &arena);
		good = good && ds_trainer_step(trainer[i], &batch, NULL, NULL, &status) == DS_OK;
	}
	CHECK(good && same_values(trainer[0], trainer[1]), "long texts in one shard %s",
		  status.message);
	ds_arena_free(&arena);
}

static void
test_refusals(void)
{
	DsNet net = clip();
	DsStatus status = {0};

	CHECK(ds_net_check(&net, &status) == DS_OK, "CLIP can be trained %s", status.message);
	net.tower[1].image.transformer.window = 4;
	net.tower[1].image.transformer.global_every = 2;
	CHECK(ds_net_check(&net, &status) == DS_UNSUPPORTED, "a window over patches: %s",
		  status.message);
	net = clip();
	net.tower[1].image.transformer.pooling = DS_POOL_MAX;
	CHECK(ds_net_check(&net, &status) == DS_UNSUPPORTED, "the largest of patches: %s",
		  status.message);
	net = clip();
	net.tower[1].attention_dropout = 1;
	CHECK(ds_net_check(&net, &status) == DS_INVALID, "dropout of everything: %s", status.message);
	net = clip();
	net.tower[1].pixel_deviation[2] = 0;
	CHECK(ds_net_check(&net, &status) == DS_INVALID, "no deviation: %s", status.message);
	net = clip();
	net.tower[0].spec = net.tower[1].image.transformer;
	CHECK(ds_net_check(&net, &status) == DS_INVALID, "patches as texts: %s", status.message);
	net = clip();
	net.tower[1].body = DS_BODY_FUSION;
	net.tower[1].bag = (DsTowerConfig){.vocabulary = 9, .embedding_dims = DIMS};
	net.tower[1].fusion_dims = DIMS;
	CHECK(ds_net_check(&net, &status) == DS_UNSUPPORTED, "a document's text and picture: %s",
		  status.message);
	net = clip();
	net.tower[0].spec.modules[0].out = DIMS + 1;
	CHECK(ds_net_check(&net, &status) == DS_INVALID, "towers of two widths: %s", status.message);
}

/*
 * A folder of OpenCLIP
 */

#define FOLDER "../shared/data/models/tiny-openclip-random"

/* Both towers of a model that another program wrote, trained and served */
static void
test_folder(void)
{
	static char path[] = FOLDER;
	DsFolder folder = disk_folder(path);
	DsEncoderSource text;
	DsImageSource image;
	DsArena arena;
	DsArena scratch;
	DsStatus status = {0};
	DsNet net = {.kind = DS_NET_DUAL, .score = DS_SCORE_COSINE};
	DsTrainConfig t = ds_train_defaults;
	DsTrainLimits some = {8, 8, 64, 8};
	DsTrainTexts texts = {.ids = ids, .offsets = offsets};
	uint8_t bytes[8 * 8 * 8 * 3];
	DsTrainTexts shown = {.pixels = bytes, .pictures = 8, .picture = pictures};
	DsTrainBatch batch = {.pairs = 8, .documents = 8};
	uint32_t starts[9];
	float x[8 * 8 * 8 * 3];
	float ours[8 * 16];
	float theirs[8 * 16];
	DsStepResult first = {0};
	DsStepResult last = {0};
	DsTrainer *trainer;
	struct stat there;

	if (stat(FOLDER, &there) != 0)
	{
		CHECK(true, "# SKIP " FOLDER " is not there");
		return;
	}
	ds_arena_init(&arena, NULL);
	ds_arena_init(&scratch, NULL);
	if (!CHECK(ds_encoder_source_open(&folder, &arena, &scratch, &text, &status) == DS_OK &&
				   ds_image_source_open(&folder, false, &arena, &scratch, &image, &status) == DS_OK,
			   "a folder of OpenCLIP opens %s", status.message))
		return;
	net.tower[0].body = DS_BODY_TRANSFORMER;
	net.tower[0].spec = text.spec;
	net.tower[1].body = DS_BODY_IMAGE;
	net.tower[1].image = image.spec;
	for (int c = 0; c < 3; c++)
	{
		net.tower[1].pixel_mean[c] = 0.5;
		net.tower[1].pixel_deviation[c] = 0.25;
	}
	t.schedule.initial = 1e-3;
	t.symmetric = true;
	trainer = make_trainer(&net, &t, &some, &arena);
	for (size_t tower = 0; tower < 2; tower++)
	{
		DiskTensors from = {tower == 0 ? text.tensors : image.tensors,
							tower == 0 ? text.tensor_count : image.tensor_count};
		DsTensorSource source = disk_source(&from);

		CHECK(ds_trainer_load(trainer, tower, &source, false, NULL, &status) == DS_OK,
			  "tower %zu: all weights are there %s", tower, status.message);
	}
	for (size_t i = 0; i < 8; i++)
	{
		for (size_t k = 0; k < 8; k++)
			ids[8 * i + k] = k == 7 ? text.spec.eot_id : (uint32_t) ds_random_below(&dice, 95);
		offsets[i] = 8 * i;
		pictures[i] = (uint32_t) i;
	}
	offsets[8] = 64;
	for (size_t i = 0; i < sizeof(bytes); i++)
	{
		bytes[i] = (uint8_t) ds_random_below(&dice, 256);
		x[i] = normalised(bytes[i]);
	}
	batch.query = texts;
	batch.document = shown;
	for (int trained = 0; trained < 2; trained++)
	{
		DsImageNetwork *network = serve_pictures(trainer, 1, &arena, &status);
		DsEncoder *encoder = serve_texts(trainer, 0, &arena, &status);
		double worst;

		for (size_t i = 0; i <= 8; i++)
			starts[i] = (uint32_t) offsets[i];
		ds_image_network_run(network, 8, x, theirs, &arena, NULL, &status);
		ds_trainer_encode(trainer, DS_SIDE_DOCUMENT, &shown, 8, ours, NULL, &status);
		worst = difference(ours, theirs, 8, 16);
		ds_encoder_run(encoder, &(DsEncoderBatch){.texts = 8, .starts = starts, .ids = ids}, theirs,
					   &arena, NULL, &status);
		ds_trainer_encode(trainer, DS_SIDE_QUERY, &texts, 8, ours, NULL, &status);
		worst = fmax(worst, difference(ours, theirs, 8, 16));
		CHECK(worst < 1e-5, "%s: vectors of training and of inference are %.1e apart",
			  trained ? "trained" : "as it was", worst);
		for (int step = 0; step < 30; step++)
			ds_trainer_step(trainer, &batch, trained == 0 && step == 0 ? &first : &last, NULL,
							&status);
	}
	CHECK(last.loss < first.loss / 2, "it learns: from %.3f to %.3f", first.loss, last.loss);
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
}

int
main(void)
{
	DsNet net = clip();
	DsEncoderSpec *t = &net.tower[1].image.transformer;

	ds_random_init(&dice, 23, 0);
	test_serving("CLIP", &net);
	t->embedding_norm = 0;
	t->patch_bias = 1;
	t->activation = DS_ACT_GELU;
	t->norm_epsilon = 1e-12f;
	t->module_count = 0;
	net.tower[0].spec.modules[0].out = 32;
	net.tower[0].spec.pooling = DS_POOL_LAST;
	test_serving("ViT, the last token", &net);
	net = clip();
	t->qkv_fused = 1;
	t->pooling = DS_POOL_MEAN;
	t->pool_skip = 1;
	t->final_norm = 0;
	t->activation = DS_ACT_GELU;
	t->module_count = 2;
	t->modules[1] = t->modules[0];
	t->modules[0] = (DsSpecModule){DS_MODULE_NORM, 32, 32, 0, 1, 1e-5f};
	net.tower[0].spec.qkv_fused = 1;
	net.tower[0].spec.qkv_bias = 0;
	net.tower[0].spec.pooling = DS_POOL_MEAN;
	net.tower[0].spec.pool_skip = 1;
	test_serving("OpenCLIP, means without the first", &net);
	t->class_token = t->pool_skip = t->norm_first = 0;
	t->position_offset = 1;
	t->max_tokens = 6;
	test_serving("patches alone, norms behind", &net);
	test_mask();
	test_end();
	test_workers(0, false);
	test_workers(0, true);
	test_workers(2, true);
	test_shortcuts();
	test_resuming();
	test_rates();
	test_memory();
	test_learning();
	test_uneven();
	test_refusals();
	test_folder();
	return unit_done();
}
