/*
 * test_transformer.c
 *		Transformer towers in training: the kernels of every processor level beside
 *		double arithmetic, the forward pass beside that of encoder.c, learning, workers,
 *		weights in and out.  (Gradients: test_nn_gradient.c.)
 */
#include "unit.h"

#include "base/cpu.h"
#include "base/random.h"
#include "nn/tower_kernels.h"
#include "nn/training.h"
#include "training_block.h"

static DsRandom dice;

static void
fill(float *x, size_t n, double size)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (float) (size * ds_random_normal(&dice));
}

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
		largest = fmax(largest, fabs(reference[i]));
	}
	return worst / largest;
}

/*
 * Kernels
 */

static double
product_error(const DsTowerKernels *kernels, size_t m, size_t n, size_t k, int form)
{
	float *a = malloc(m * k * sizeof(float));
	float *b = malloc(n * k * sizeof(float));
	float *c = malloc(m * (n + 3) * sizeof(float));
	float *bias = malloc(n * sizeof(float));
	float *scratch = malloc(DS_PRODUCT_SCRATCH * sizeof(float));
	double *expected = malloc(m * (n + 3) * sizeof(double));
	/* forms: a b^T + bias (forward), a b (by the input), a^T b added (by the weight) */
	DsMatrixProduct p = {.m = m,
						 .n = n,
						 .k = k,
						 .a = a,
						 .a_row = form == 2 ? 1 : k,
						 .a_column = form == 2 ? m : 1,
						 .b = b,
						 .b_row = form == 0 ? 1 : n,
						 .b_column = form == 0 ? k : 1,
						 .c = c,
						 .ldc = n + 3,
						 .bias = form == 0 ? bias : NULL,
						 .add = form == 2,
						 .scratch = scratch};
	double worst;

	fill(a, m * k, 1);
	fill(b, n * k, 1);
	fill(c, m * (n + 3), 1);
	fill(bias, n, 1);
	for (size_t i = 0; i < m * (n + 3); i++)
		expected[i] = (double) c[i];
	for (size_t i = 0; i < m; i++)
		for (size_t j = 0; j < n; j++)
		{
			double sum = form == 2 ? (double) c[i * (n + 3) + j] : form == 0 ? (double) bias[j] : 0;

			for (size_t q = 0; q < k; q++)
				sum += (double) a[i * p.a_row + q * p.a_column] *
					   (double) b[q * p.b_row + j * p.b_column];
			expected[i * (n + 3) + j] = sum;
		}
	kernels->product(&p);
	worst = difference(c, expected, m * (n + 3));
	free(a);
	free(b);
	free(c);
	free(bias);
	free(scratch);
	free(expected);
	return worst;
}

/* a b added with a panel is, to the bit, a b made elsewhere and added then; k = 0 makes zeros */
static bool
adds_whole(const DsTowerKernels *kernels, size_t m, size_t n, size_t k)
{
	size_t ldc = n + 3;
	float *a = malloc((m * k + 1) * sizeof(float));
	float *b = malloc((n * k + 1) * sizeof(float));
	float *c = malloc(m * ldc * sizeof(float));
	float *other = malloc(m * ldc * sizeof(float));
	float *scratch = malloc(DS_PRODUCT_SCRATCH * sizeof(float));
	float *panel = malloc(m * DS_PRODUCT_WIDTH * sizeof(float));
	DsMatrixProduct p = {.m = m,
						 .n = n,
						 .k = k,
						 .a = a,
						 .a_row = 1,
						 .a_column = m,
						 .b = b,
						 .b_row = n,
						 .b_column = 1,
						 .c = other,
						 .ldc = ldc,
						 .scratch = scratch,
						 .panel = panel};
	bool same = true;

	fill(a, m * k, 1);
	fill(b, n * k, 1);
	fill(c, m * ldc, 1);
	fill(other, m * ldc, 1);
	kernels->product(&p);
	for (size_t i = 0; i < m; i++)
		for (size_t j = 0; j < n; j++)
		{
			same = same && (k > 0 || other[i * ldc + j] == 0);
			other[i * ldc + j] += c[i * ldc + j];
		}
	p.c = c;
	p.add = true;
	kernels->product(&p);
	for (size_t i = 0; i < m; i++)
		same = same && memcmp(c + i * ldc, other + i * ldc, n * sizeof(float)) == 0;
	free(a);
	free(b);
	free(c);
	free(other);
	free(scratch);
	free(panel);
	return same;
}

#define MOST 70

static void
test_rows(const DsTowerKernels *kernels, int level)
{
	double norms = 0;
	double acts = 0;
	double softmaxes = 0;

	for (size_t n = 1; n < MOST; n += 1 + n / 5)
	{
		float x[MOST];
		float w[MOST];
		float b[MOST];
		float dy[MOST];
		float out[MOST];
		float dw[MOST] = {0};
		float db[MOST] = {0};
		float mean;
		float inverse;
		double e[MOST];
		double d[MOST];
		double ew[MOST];
		double average = 0;
		double variance = 0;
		double g = 0;
		double gh = 0;
		double top = -HUGE_VAL;
		double sum = 0;

		fill(x, n, 1);
		fill(w, n, 1);
		fill(b, n, 1);
		fill(dy, n, 1);
		for (size_t i = 0; i < n; i++)
			average += (double) x[i] / (double) n;
		for (size_t i = 0; i < n; i++)
			variance += ((double) x[i] - average) * ((double) x[i] - average) / (double) n;
		for (size_t i = 0; i < n; i++)
		{
			double h = ((double) x[i] - average) / sqrt(variance + 0.1);

			e[i] = h * (double) w[i] + (double) b[i];
			ew[i] = h * (double) dy[i];
			g += (double) dy[i] * (double) w[i] / (double) n;
			gh += (double) dy[i] * (double) w[i] * h / (double) n;
		}
		for (size_t i = 0; i < n; i++)
			d[i] = ((double) dy[i] * (double) w[i] - g -
					((double) x[i] - average) / sqrt(variance + 0.1) * gh) /
				   sqrt(variance + 0.1);
		kernels->norm(x, n, w, b, 0.1f, out, &mean, &inverse);
		norms = fmax(norms, difference(out, e, n));
		kernels->norm_backward(x, n, w, mean, inverse, dy, out, dw, db);
		norms = fmax(norms, fmax(difference(out, d, n), difference(dw, ew, n)));
		for (size_t i = 0; i < n; i++)
			norms = fmax(norms, fabs((double) (db[i] - dy[i])));

		/* exact GELU, by the C library */
		memcpy(out, dy, sizeof(out));
		for (size_t i = 0; i < n; i++)
		{
			double t = 3 * (double) x[i];
			double s = 0.5 * (1 + erf(t / sqrt(2)));

			x[i] = (float) t;
			e[i] = t * s;
			d[i] = (double) dy[i] * (s + t * exp(-t * t / 2) / sqrt(2 * M_PI));
		}
		kernels->act_backward(x, n, DS_ACT_GELU, out, w);
		acts = fmax(acts, fmax(difference(w, e, n), difference(out, d, n)));
		kernels->act(x, n, DS_ACT_GELU, w);
		acts = fmax(acts, difference(w, e, n));

		for (size_t i = 0; i < n; i++)
			top = fmax(top, 0.5 * (double) x[i]);
		for (size_t i = 0; i < n; i++)
			sum += e[i] = exp(0.5 * (double) x[i] - top);
		g = 0;
		for (size_t i = 0; i < n; i++)
		{
			e[i] /= sum;
			g += e[i] * (double) dy[i];
		}
		for (size_t i = 0; i < n; i++)
			d[i] = 0.5 * e[i] * ((double) dy[i] - g);
		kernels->softmax(x, n, 0.5f);
		softmaxes = fmax(softmaxes, difference(x, e, n));
		kernels->softmax_backward(x, n, 0.5f, dy);
		softmaxes = fmax(softmaxes, difference(dy, d, n));
	}
	CHECK(norms < 1e-5 && acts < 1e-5 && softmaxes < 1e-5,
		  "level %d: norms %.1e, GELU %.1e, softmax %.1e", level, norms, acts, softmaxes);
}

static void
test_level(int level)
{
	static const size_t sizes[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 48, 49, 95, 97, 130};
	const DsTowerKernels *kernels = ds_tower_kernels_at(level);
	double worst = 0;
	double deep;

	for (size_t i = 0; i < 60; i++)
	{
		size_t m = sizes[ds_random_below(&dice, 15)];
		size_t n = sizes[ds_random_below(&dice, 15)];
		size_t k = sizes[ds_random_below(&dice, 15)];

		worst = fmax(worst, product_error(kernels, m, n, k, (int) (i % 3)));
	}
	deep = fmax(product_error(kernels, 9, 50, DS_PRODUCT_DEPTH + 5, 0),
				product_error(kernels, 9, 50, DS_PRODUCT_DEPTH + 5, 2));
	CHECK(worst < 1e-5 && deep < 1e-5, "level %d: products %.1e, deep ones %.1e", level, worst,
		  deep);
	CHECK(adds_whole(kernels, 9, 50, 0) && adds_whole(kernels, 9, 50, 40) &&
			  adds_whole(kernels, 9, 96, DS_PRODUCT_DEPTH + 5) &&
			  adds_whole(kernels, 20, 50, 2 * DS_PRODUCT_DEPTH + 5),
		  "level %d: products are added whole", level);
	test_rows(kernels, level);
}

/*
 * Networks
 */

#define PAIRS 10
#define LENGTH 12

static DsEncoderSpec
small_bert(void)
{
	DsEncoderSpec spec;

	ds_spec_init(&spec, DS_ENCODER_TRANSFORMER);
	spec.vocabulary = 60;
	spec.hidden = 32;
	spec.positions = 20;
	spec.types = 2;
	spec.embedding_norm = 1;
	spec.layers = 2;
	spec.heads = 4;
	spec.head_dims = 8;
	spec.intermediate = 48;
	spec.activation = DS_ACT_GELU;
	spec.norm_epsilon = 1e-12f;
	spec.norm_bias = spec.qkv_bias = spec.out_bias = spec.up_bias = spec.down_bias = 1;
	spec.max_tokens = 20;
	spec.pooling = DS_POOL_MEAN;
	return spec;
}

typedef struct Texts
{
	uint32_t ids[PAIRS * LENGTH];
	uint32_t starts[PAIRS + 1]; /* as encoder.h wants them */
	size_t offsets[PAIRS + 1];
	uint8_t types[PAIRS * LENGTH];
} Texts;

static void
random_texts(Texts *texts)
{
	texts->offsets[0] = texts->starts[0] = 0;
	for (size_t t = 0; t < PAIRS; t++)
	{
		/* one of them has no token */
		size_t n = t == 3 ? 0 : 1 + ds_random_below(&dice, LENGTH);

		for (size_t i = texts->offsets[t]; i < texts->offsets[t] + n; i++)
		{
			texts->ids[i] = (uint32_t) ds_random_below(&dice, 60);
			texts->types[i] = (uint8_t) ds_random_below(&dice, 2);
		}
		texts->offsets[t + 1] = texts->offsets[t] + n;
		texts->starts[t + 1] = (uint32_t) texts->offsets[t + 1];
	}
}

static DsTrainTexts
as_texts(const Texts *texts)
{
	return (DsTrainTexts){.ids = texts->ids, .offsets = texts->offsets, .types = texts->types};
}

static const DsTrainLimits limits = {PAIRS, PAIRS, 2 * PAIRS *LENGTH, 2 * LENGTH};

typedef struct Buffer
{
	char *bytes;
	size_t size;
} Buffer;

static DsCode
buffer_write(void *context, const void *bytes, size_t size, DsStatus *status)
{
	Buffer *b = context;

	(void) status;
	memcpy(b->bytes + b->size, bytes, size);
	b->size += size;
	return DS_OK;
}

/* What is trained is what encoder.c makes of the weights afterwards */
static void
test_forward(const char *name, const DsEncoderSpec *spec)
{
	DsNet net = {.kind = DS_NET_SINGLE, .tower = {{.body = DS_BODY_TRANSFORMER, .spec = *spec}}};
	DsTrainConfig config = ds_train_defaults;
	DsArena arena;
	DsStatus status = {0};
	DsTrainer *trainer;
	DsTrainer *other;
	DsTensorSource source;
	DsEncoder *encoder;
	Texts texts;
	DsTrainTexts input;
	uint64_t size;
	Buffer blob = {NULL, 0};
	DsBlobWriter writer = {&blob, buffer_write};
	size_t dims = ds_spec_dims(spec);
	float ours[PAIRS * 64];
	float theirs[PAIRS * 64];
	double worst = 0;

	ds_arena_init(&arena, NULL);
	config.loss = DS_LOSS_BINARY;
	trainer = make_trainer(&net, &config, &limits, &arena);
	for (size_t i = 0; i < ds_trainer_parameters(trainer); i++)
	{
		DsTrained p = ds_trainer_parameter(trainer, i);

		for (size_t k = 0; k < p.count; k++)
			p.value[k] += (float) (0.2 * ds_random_normal(&dice));
	}
	source = ds_trainer_source(trainer, 0);
	if (ds_encoder_size(spec, DS_PRECISION_F32, &size, &status) == DS_OK)
		blob.bytes = ds_arena_alloc(&arena, size, 1);
	CHECK(blob.bytes != NULL &&
			  ds_encoder_layout(spec, DS_PRECISION_F32, &source, &writer, &arena, NULL, &status) ==
				  DS_OK &&
			  ds_encoder_open(blob.bytes, blob.size, &arena, &encoder, &status) == DS_OK,
		  "%s: the trainer's weights become an encoder %s", name, status.message);
	random_texts(&texts);
	input = as_texts(&texts);
	CHECK(
		ds_trainer_encode(trainer, DS_SIDE_DOCUMENT, &input, PAIRS, ours, NULL, &status) == DS_OK &&
			ds_encoder_run(
				encoder,
				&(DsEncoderBatch){
					.texts = PAIRS, .starts = texts.starts, .ids = texts.ids, .types = texts.types},
				theirs, &arena, NULL, &status) == DS_OK,
		"%s: both run %s", name, status.message);
	for (size_t i = 0; i < PAIRS * dims; i++)
		worst = fmax(worst, fabs((double) (ours[i] - theirs[i])));
	CHECK(worst < 1e-5, "%s: the same vectors: %.1e", name, worst);
	config.seed = 7;
	other = make_trainer(&net, &config, &limits, &arena);
	CHECK(!same_values(trainer, other) &&
			  ds_trainer_load(other, 0, &source, false, NULL, &status) == DS_OK &&
			  same_values(trainer, other),
		  "%s: weights in and out %s", name, status.message);
	ds_arena_free(&arena);
}

static bool
after_a_while(void *context)
{
	return --*(int *) context < 0;
}

/* It learns; 1, 2 and 4 workers make the same weights, with and without cached gradients */
static void
test_learning(void)
{
	DsTower tower = {.body = DS_BODY_TRANSFORMER,
					 .spec = small_bert(),
					 .dropout = 0.1,
					 .attention_dropout = 0.1};
	DsNet net = {.kind = DS_NET_DUAL, .shared = true, .tower = {tower, tower}};
	DsTrainConfig t = ds_train_defaults;
	DsArena arena;
	DsArena local[4];
	DsStatus status = {0};
	Texts queries;
	Texts documents;
	DsTrainBatch batch = {.pairs = PAIRS, .documents = PAIRS};
	DsStepResult result = {0};
	DsTrainer *plain = NULL;

	ds_arena_init(&arena, NULL);
	random_texts(&queries);
	random_texts(&documents);
	/* the empty text finds another one */
	queries.offsets[3] -= 1;
	batch.query = as_texts(&queries);
	batch.document = as_texts(&documents);
	t.schedule.initial = 0.005;
	for (int cached = 0; cached < 2; cached++)
	{
		DsTrainer *reference = NULL;

		t.cache_texts = cached ? 3 : 0;
		for (int n = 1; n <= 4; n *= 2)
		{
			DsTrainer *worker[4];
			DsCode code = DS_OK;

			worker[0] = make_trainer(&net, &t, &limits, &arena);
			for (int w = 1; w < n; w++)
			{
				ds_arena_init(&local[w], NULL);
				ds_trainer_attach(*(void **) (void *) worker[0], block_size, &local[w], &worker[w],
								  &status);
			}
			for (int step = 0; step < 40 && code == DS_OK; step++)
			{
				for (int w = 0; w < n && code == DS_OK; w++)
					code = ds_trainer_begin(worker[w], &batch, 0, &status);
				for (int s = 0; s < DS_SHARDS && code == DS_OK; s++)
					code = ds_trainer_forward_shard(worker[s % n], s, &status);
				for (int s = 0; s < DS_SHARDS && code == DS_OK; s++)
					code = ds_trainer_loss_shard(worker[s % n], s, &status);
				/* one alone adds up gradients as it goes, in this order; the others cannot */
				for (int i = 0; i < DS_SHARDS && code == DS_OK; i++)
				{
					int s = n == 1 ? i : DS_SHARDS - 1 - i;

					code = ds_trainer_backward_shard(worker[s % n], s, &status);
				}
				for (int w = 0; w < n && code == DS_OK; w++)
					ds_trainer_reduce(worker[w], w, n);
				for (int w = 0; w < n && code == DS_OK; w++)
					code = ds_trainer_result(worker[w], &result, &status);
				for (int w = 0; w < n && code == DS_OK; w++)
					ds_trainer_update(worker[w], w, n);
			}
			if (n == 1)
				reference = worker[0];
			CHECK(code == DS_OK && result.accuracy >= 0.8 && same_values(reference, worker[0]),
				  "%d workers%s: learned (%.2f), the same weights to the bit %s", n,
				  cached ? ", cached gradients" : "", result.accuracy, status.message);
			for (int w = 1; w < n; w++)
				ds_arena_free(&local[w]);
		}
		if (!cached)
			plain = reference;
		else
			/* not the same random numbers of dropout, so only of the same kind */
			CHECK(!same_values(plain, reference), "cached runs are runs of their own");
	}
	/* a cancelled step changes nothing */
	{
		DsTrainer *trainer = make_trainer(&net, &t, &limits, &arena);
		DsTrainer *before = make_trainer(&net, &t, &limits, &arena);
		int polls;
		DsCancel cancel = {after_a_while, &polls};
		bool stopped = true;

		for (int stop = 0; stop < 300; stop += 7)
		{
			polls = stop;
			stopped = stopped &&
					  ds_trainer_step(trainer, &batch, &result, &cancel, &status) == DS_CANCELLED;
		}
		CHECK(stopped && same_values(trainer, before), "a step is cancelled wherever it is");
	}
	ds_arena_free(&arena);
}

/* Without dropout, cached gradients are the plain ones to rounding */
static void
test_cached(void)
{
	DsTower tower = {.body = DS_BODY_TRANSFORMER, .spec = small_bert()};
	DsNet net = {.kind = DS_NET_DUAL, .shared = true, .tower = {tower, tower}};
	DsTrainConfig t = ds_train_defaults;
	DsArena arena;
	Texts queries;
	Texts documents;
	DsTrainBatch batch = {.pairs = PAIRS, .documents = PAIRS};
	DsStepResult result;
	DsTrainer *trainer[2];
	double worst = 0;
	double largest = 0;

	ds_arena_init(&arena, NULL);
	random_texts(&queries);
	random_texts(&documents);
	batch.query = as_texts(&queries);
	batch.document = as_texts(&documents);
	for (int i = 0; i < 2; i++)
	{
		t.cache_texts = i == 0 ? 0 : 2;
		trainer[i] = make_trainer(&net, &t, &limits, &arena);
		forward_backward(trainer[i], &batch, 0, &result);
	}
	for (size_t i = 0; i < ds_trainer_parameters(trainer[0]); i++)
	{
		DsTrained p = ds_trainer_parameter(trainer[0], i);
		float *g[2];

		if (p.frozen)
			continue;
		for (int k = 0; k < 2; k++)
		{
			g[k] = ds_arena_alloc(&arena, p.count, sizeof(float));
			ds_trainer_gradient(trainer[k], i, g[k]);
		}
		for (size_t k = 0; k < p.count; k++)
		{
			worst = fmax(worst, fabs((double) (g[0][k] - g[1][k])));
			largest = fmax(largest, fabs((double) g[0][k]));
		}
	}
	CHECK(worst < 1e-5 * largest, "cached gradients: %.1e of %.1e", worst, largest);
	ds_arena_free(&arena);
}

static void
test_refusals(void)
{
	DsNet net = {.kind = DS_NET_SINGLE, .tower = {{.body = DS_BODY_TRANSFORMER}}};
	DsStatus status = {0};
	int refused = 0;

#define REFUSED(change)                                           \
	do                                                            \
	{                                                             \
		net.tower[0].spec = small_bert();                         \
		change;                                                   \
		refused += ds_net_check(&net, &status) == DS_UNSUPPORTED; \
	} while (0)
	REFUSED(net.tower[0].spec.window = 8; net.tower[0].spec.global_every = 2);
	REFUSED(net.tower[0].spec.gated = 1; net.tower[0].spec.activation = DS_ACT_SILU);
	REFUSED(net.tower[0].spec.pooling = DS_POOL_MAX);
	REFUSED(net.tower[0].spec.rotary_dims = 8; net.tower[0].spec.rotary_base = 10000);
	CHECK(refused == 4, "encoders that cannot be trained are refused (%d of 4): %s", refused,
		  status.message);
	net.tower[0].spec = small_bert();
	CHECK(ds_net_check(&net, &status) == DS_OK, "BERT can");
	net.tower[0].dropout = 1;
	CHECK(ds_net_check(&net, &status) == DS_INVALID, "dropout of everything: %s", status.message);
}

int
main(void)
{
	DsEncoderSpec spec = small_bert();

	ds_random_init(&dice, 31, 0);
	for (int level = 0; level <= (int) ds_cpu_level(); level++)
		if (level <= DS_CPU_AVX512)
			test_level(level);
	test_forward("BERT", &spec);
	spec.norm_first = 1;
	spec.final_norm = 1;
	spec.first_norm_absent = 1;
	spec.qkv_fused = 1;
	spec.activation = DS_ACT_QUICK_GELU;
	spec.position_offset = 0;
	spec.types = 0;
	test_forward("norms first", &spec);
	spec = small_bert();
	spec.pooling = DS_POOL_CLS;
	spec.scores = 1;
	spec.module_count = 2;
	spec.modules[0] = (DsSpecModule){DS_MODULE_DENSE, 32, 32, DS_ACT_TANH, 1, 0};
	spec.modules[1] = (DsSpecModule){DS_MODULE_DENSE, 32, 3, DS_ACT_IDENTITY, 1, 0};
	test_forward("cross-encoder", &spec);
	test_learning();
	test_cached();
	test_refusals();
	return unit_done();
}
