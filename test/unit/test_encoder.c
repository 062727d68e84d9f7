/*
 * test_encoder.c
 *		The forward pass of every family against float64, at every level of
 *		processor and in every precision; laying out, opening, and what is
 *		refused.
 */
#include <dirent.h>
#include <unistd.h>

#include "nn/encoder_private.h"
#include "encoder_expected.h"
#include "encoder_model.h"
#include "unit.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define TEXTS LENGTH(encoder_lengths)

static DsEncoderSpec
read_spec(size_t family)
{
	DsEncoderSpec spec = {0};
	DsStatus status = {0};
	DsJson root;
	const char *text = encoder_families[family].spec;

	if (ds_json_parse(text, strlen(text), "spec", &root, &status) != DS_OK ||
		ds_spec_read(root, &spec, &status) != DS_OK)
		CHECK(false, "description %zu: %s", family, status.message);
	return spec;
}

typedef struct Texts
{
	DsEncoderBatch batch;
	uint32_t starts[TEXTS + 1];
	uint32_t ids[1024];
	uint8_t types[1024];
} Texts;

static void
make_texts(const DsEncoderSpec *spec, Texts *texts)
{
	uint32_t at = 0;

	for (size_t text = 0; text < TEXTS; text++)
	{
		char name[100];
		uint32_t n = encoder_lengths[text];

		snprintf(name, sizeof(name), "ids.%s.%zu", spec->family, text);
		texts->starts[text] = at;
		for (uint32_t t = 0; t < n; t++)
		{
			texts->ids[at + t] = (uint32_t) ((model_uniform(name, t) + 1) / 2 * spec->vocabulary);
			texts->types[at + t] = t >= (n + 1) / 2 && spec->types > 1;
		}
		if (text % 2 == 1 && spec->eot_id != DS_SPEC_NO_ID)
			texts->ids[at + n / 2] = spec->eot_id;
		at += n;
	}
	texts->starts[TEXTS] = at;
	texts->batch = (DsEncoderBatch){
		.texts = TEXTS, .starts = texts->starts, .ids = texts->ids, .types = texts->types};
}

/* component i of the 8 that are written down */
static size_t
shown(size_t dims, size_t i)
{
	return dims <= 8 ? i : (size_t) ((double) i * (double) (dims - 1) / 7);
}

static double
cosine(const float *a, const float *b, size_t n)
{
	double ab = 0;
	double aa = 0;
	double bb = 0;

	for (size_t i = 0; i < n; i++)
	{
		ab += (double) a[i] * b[i];
		aa += (double) a[i] * a[i];
		bb += (double) b[i] * b[i];
	}
	return ab / sqrt(aa * bb);
}

static void
test_families(void)
{
	for (size_t family = 0; family < LENGTH(encoder_families); family++)
	{
		TestModel model = {.spec = read_spec(family)};
		size_t dims = ds_spec_dims(&model.spec);
		float *exact = calloc(TEXTS * dims, sizeof(float));
		float *out = calloc(TEXTS * dims, sizeof(float));
		float *alone = calloc(dims, sizeof(float));
		Texts texts;

		make_texts(&model.spec, &texts);
		for (uint32_t precision = DS_PRECISION_F32; precision <= DS_PRECISION_INT8; precision++)
		{
			DsStatus status = {0};
			DsArena arena;
			DsEncoder *encoder;

			ds_arena_init(&arena, NULL);
			if (model_layout(&model, precision, NULL, &status) != DS_OK ||
				ds_encoder_open(model.blob, model.size, &arena, &encoder, &status) != DS_OK)
			{
				CHECK(false, "%s %s: %s", model.spec.family, ds_precision_name(precision),
					  status.message);
				continue;
			}
			for (size_t k = 0; ds_encoder_kernels_number(k) != NULL; k++)
			{
				double worst = 0;
				double least = 1;
				int different = 0;
				size_t held = arena.allocated;
				DsCode code;

				encoder->kernels = ds_encoder_kernels_number(k);
				code = ds_encoder_run(encoder, &texts.batch, out, &arena, NULL, &status);
				if (code != DS_OK)
					printf("# %s\n", status.message);
				if (precision == DS_PRECISION_F32)
				{
					memcpy(exact, out, TEXTS * dims * sizeof(float));
					for (size_t i = 0; i < TEXTS * (dims < 8 ? dims : 8); i++)
					{
						size_t each = dims < 8 ? dims : 8;
						double wanted = encoder_families[family].expected[i];
						double got = out[i / each * dims + shown(dims, i % each)];

						worst = fmax(worst, fabs(got - wanted) / fmax(1, fabs(wanted)));
						if (!(worst < 1))
							worst = 1;
					}
					CHECK(code == DS_OK && worst < 1e-5 && held == arena.allocated,
						  "%s f32 %s: within %.1e", model.spec.family, encoder->kernels->name,
						  worst);
				}
				else
				{
					double goal = precision == DS_PRECISION_BF16 && dims > 1 ? 0.999 : 0.99;

					for (size_t text = 0; text < TEXTS; text++)
						least = fmin(
							least, dims > 1 ? cosine(out + text * dims, exact + text * dims, dims)
											: 1 - fabs((double) out[text] - (double) exact[text]));
					CHECK(code == DS_OK && least >= goal, "%s %s %s: cosine at least %.5f",
						  model.spec.family, ds_precision_name(precision), encoder->kernels->name,
						  least);
				}
				for (size_t text = 0; text < TEXTS; text++)
				{
					DsEncoderBatch one = {.texts = 1,
										  .starts = texts.starts + text,
										  .ids = texts.ids,
										  .types = texts.types};

					if (ds_encoder_run(encoder, &one, alone, &arena, NULL, &status) != DS_OK ||
						memcmp(alone, out + text * dims, dims * sizeof(float)) != 0)
						different++;
				}
				CHECK(different == 0, "%s %s %s: a text alone gives the same to the bit",
					  model.spec.family, ds_precision_name(precision), encoder->kernels->name);
			}
			ds_arena_free(&arena);
			free(model.blob);
		}
		free(exact);
		free(out);
		free(alone);
	}
}

/* Weights that are stored the other way round make the same blob */
static void
test_transposed(void)
{
	for (size_t family = 0; family < LENGTH(encoder_families); family++)
	{
		TestModel plain = {.spec = read_spec(family)};
		TestModel turned = {.spec = plain.spec, .transposed = ""};
		DsStatus status = {0};
		bool same = model_layout(&plain, DS_PRECISION_INT8, NULL, &status) == DS_OK &&
					model_layout(&turned, DS_PRECISION_INT8, NULL, &status) == DS_OK &&
					plain.size == turned.size && memcmp(plain.blob, turned.blob, plain.size) == 0;

		CHECK(same, "%s: the same blob from [in, out] %s", plain.spec.family, status.message);
		free(plain.blob);
		free(turned.blob);
	}
}

static bool
poll_count(void *context)
{
	return --*(int *) context < 0;
}

static void
test_refused(void)
{
	TestModel model = {.spec = read_spec(0)};
	DsStatus status = {0};
	DsArena arena;
	DsEncoder *encoder = NULL;
	float out[4 * 48];
	uint32_t ids[300] = {0};
	uint8_t types[300] = {0};
	uint32_t starts[] = {0, 0, 3, 3, 10};
	DsEncoderBatch batch = {.texts = 4, .starts = starts, .ids = ids, .types = types};
	char *copy;
	int foreign = 0;
	int polls;

	ds_arena_init(&arena, NULL);
	model.missing = "layer.1.mlp.up.bias";
	CHECK(model_layout(&model, DS_PRECISION_F32, NULL, &status) == DS_BAD_DATA &&
			  strstr(status.message, "layer.1.mlp.up.bias") != NULL,
		  "a tensor is missing: %s", status.message);
	free(model.blob);
	model.missing = NULL;
	model.wrong = "position.weight";
	CHECK(model_layout(&model, DS_PRECISION_F32, NULL, &status) == DS_BAD_DATA &&
			  strstr(status.message, "position.weight") != NULL,
		  "a tensor is too large: %s", status.message);
	free(model.blob);
	model.wrong = NULL;
	model.infinite = "layer.2.attention.key.weight";
	CHECK(model_layout(&model, DS_PRECISION_F32, NULL, &status) == DS_BAD_DATA &&
			  strstr(status.message, "layer.2.attention.key.weight") != NULL,
		  "a value is not finite: %s", status.message);
	free(model.blob);
	model.infinite = NULL;
	model.spec.intermediate = 81;
	CHECK(model_layout(&model, DS_PRECISION_INT8, NULL, &status) == DS_UNSUPPORTED,
		  "an odd width in int8: %s", status.message);
	free(model.blob);
	CHECK(model_layout(&model, DS_PRECISION_F32, NULL, &status) == DS_OK, "but not in f32");
	free(model.blob);
	model.spec.intermediate = 80;

	if (!CHECK(model_layout(&model, DS_PRECISION_F32, NULL, &status) == DS_OK &&
				   ds_encoder_open(model.blob, model.size, &arena, &encoder, &status) == DS_OK,
			   "open"))
		return;
	CHECK(ds_encoder_open(model.blob, model.size - 64, &arena, &encoder, &status) == DS_BAD_DATA &&
			  ds_encoder_open(model.blob, 100, &arena, &encoder, &status) == DS_BAD_DATA &&
			  ds_encoder_open(model.blob, 0, &arena, &encoder, &status) == DS_BAD_DATA,
		  "a blob that is cut short: %s", status.message);
	copy = aligned_alloc(64, (model.size + 63) / 64 * 64);
	memcpy(copy, model.blob, model.size);
	copy[3] ^= 1;
	CHECK(ds_encoder_open(copy, model.size, &arena, &encoder, &status) == DS_BAD_DATA,
		  "a foreign one: %s", status.message);
	copy[3] ^= 1;
	for (int i = 32; i < 64 + (int) sizeof(DsEncoderSpec); i++)
	{
		/*
		 * Any byte of the header or description changed: refused, or a description
		 * of a blob of this size, which can be run without leaving it.
		 */
		DsEncoderBatch few = {.texts = 2, .starts = starts, .ids = ids, .types = types};
		float *room;

		memcpy(copy, model.blob, model.size);
		copy[i] = (char) (copy[i] ^ 0x55);
		if (ds_encoder_open(copy, model.size, &arena, &encoder, &status) != DS_OK)
			continue;
		if (i < 52)
			foreign++;
		room = calloc(2 * ds_spec_dims(ds_encoder_spec(encoder)), sizeof(float));
		ds_encoder_run(encoder, &few, room, &arena, NULL, &status);
		free(room);
	}
	CHECK(foreign == 0, "a changed header is refused");
	free(copy);
	ds_encoder_open(model.blob, model.size, &arena, &encoder, &status);

	memset(out, 1, sizeof(out));
	CHECK(ds_encoder_run(encoder, &batch, out, &arena, NULL, &status) == DS_OK && out[0] == 0 &&
			  out[47] == 0 && out[48] != 0 && out[2 * 48] == 0 && out[3 * 48] != 0,
		  "texts without tokens are zeros");
	batch.texts = 0;
	CHECK(ds_encoder_run(encoder, &batch, out, &arena, NULL, &status) == DS_OK, "no text at all");
	batch.texts = 1;
	starts[1] = 201;
	CHECK(ds_encoder_run(encoder, &batch, out, &arena, NULL, &status) == DS_INVALID, "too long: %s",
		  status.message);
	starts[1] = 200;
	CHECK(ds_encoder_run(encoder, &batch, out, &arena, NULL, &status) == DS_OK, "the longest");
	ids[199] = 101;
	CHECK(ds_encoder_run(encoder, &batch, out, &arena, NULL, &status) == DS_INVALID, "%s",
		  status.message);
	ids[199] = 100;
	types[7] = 2;
	CHECK(ds_encoder_run(encoder, &batch, out, &arena, NULL, &status) == DS_INVALID, "%s",
		  status.message);
	types[7] = 0;
	starts[0] = 201;
	CHECK(ds_encoder_run(encoder, &batch, out, &arena, NULL, &status) == DS_INVALID, "%s",
		  status.message);
	starts[0] = 0;
	for (polls = 0;; polls++)
	{
		int left = polls;
		DsCancel cancel = {poll_count, &left};
		DsCode code = ds_encoder_run(encoder, &batch, out, &arena, &cancel, &status);

		if (code == DS_OK)
			break;
		if (code != DS_CANCELLED)
			polls = -1000;
	}
	CHECK(polls > 20, "stops at each of %d points when cancelled", polls);
	ds_arena_free(&arena);
	free(model.blob);
}

/* Laying out takes little memory whatever the size of a tensor is */
static void
test_memory(void)
{
	TestModel model = {.spec = read_spec(0)};
	DsStatus status = {0};
	size_t memory = 0;

	model.spec.vocabulary = 150000;
	model.spec.intermediate = 40000;
	model.transposed = "mlp";
	CHECK(model_layout(&model, DS_PRECISION_BF16, &memory, &status) == DS_OK && memory <= 24u << 20,
		  "%.1f MB for a model of %.1f MB %s", (double) memory / 1e6, (double) model.size / 1e6,
		  status.message);
	free(model.blob);
}

/* every function of the kernels, off the multiples of the registers, against double */
static void
test_kernels(const DsEncoderKernels *kernels)
{
	enum
	{
		MOST = 131
	};
	float x[MOST];
	float y[MOST];
	double worst[DS_ACTIVATIONS] = {0};
	double norm_off = 0;
	double softmax_off = 0;
	double quantize_off = 0;
	int outside = 0;

	for (int act = 0; act < DS_ACTIVATIONS; act++)
		for (int i = -120000; i <= 120000; i += 7)
		{
			float value = (float) i / 10000;
			double v = (double) value;
			double wanted[] = {v,
							   v * (1 + erf(v / sqrt(2))) / 2,
							   v * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v))) / 2,
							   v / (1 + exp(-1.702 * v)),
							   v > 0 ? v : 0,
							   v / (1 + exp(-v)),
							   tanh(v),
							   1 / (1 + exp(-v))};

			kernels->activate(&value, 1, (uint32_t) act);
			worst[act] =
				fmax(worst[act], fabs((double) value - wanted[act]) / fmax(1, fabs(wanted[act])));
		}
	for (int act = 0; act < DS_ACTIVATIONS; act++)
		CHECK(worst[act] < 1e-6, "%s: %s is off by %.1e at most", kernels->name,
			  ds_activation_name((uint32_t) act), worst[act]);
	for (size_t n = 1; n < MOST; n++)
	{
		double mean = 0;
		double variance = 0;
		double top = -INFINITY;
		double sum = 0;
		float scale;
		float low = 0;
		float high = 0;
		int32_t zero;
		uint8_t bytes[MOST + 1];
		float weights[MOST];
		double wanted[MOST];

		for (size_t i = 0; i < n; i++)
		{
			x[i] = (float) (model_uniform("x", i + 1000 * n) * 5 + 2);
			weights[i] = (float) model_uniform("w", i + 1000 * n);
			mean += (double) x[i] / (double) n;
			low = fminf(low, x[i]);
			high = fmaxf(high, x[i]);
		}
		for (size_t i = 0; i < n; i++)
			variance += ((double) x[i] - mean) * ((double) x[i] - mean) / (double) n;
		kernels->norm(x, n, weights, n % 2 ? weights : NULL, 1e-5f, y);
		for (size_t i = 0; i < n; i++)
			norm_off = fmax(norm_off,
							fabs((double) y[i] - (((double) x[i] - mean) / sqrt(variance + 1e-5) *
													  (double) weights[i] +
												  (n % 2 ? (double) weights[i] : 0))));
		memcpy(y, x, sizeof(x));
		for (size_t i = 0; i < n; i++)
		{
			wanted[i] = 0.5 * (double) x[i] + (n % 2 ? (double) weights[i] : 0);
			top = fmax(top, wanted[i]);
		}
		for (size_t i = 0; i < n; i++)
			sum += exp(wanted[i] - top);
		softmax_off =
			fmax(softmax_off,
				 fabs((double) kernels->softmax(y, n, 0.5f, n % 2 ? weights : NULL) - sum) / sum);
		for (size_t i = 0; i < n; i++)
			softmax_off = fmax(softmax_off, fabs((double) y[i] - exp(wanted[i] - top)));
		bytes[n] = 77;
		kernels->quantize(x, n, kernels->quantize_top, bytes, &scale, &zero);
		if (bytes[n] != 77 || zero < 0 || zero > (int32_t) kernels->quantize_top)
			outside++;
		for (size_t i = 0; i < n; i++)
		{
			quantize_off = fmax(quantize_off,
								fabs((double) (bytes[i] - zero) * (double) scale - (double) x[i]) /
									(double) ((high - low) / (float) kernels->quantize_top));
			if (bytes[i] > kernels->quantize_top)
				outside++;
		}
	}
	CHECK(norm_off < 2e-6, "%s: layer normalisation is off by %.1e", kernels->name, norm_off);
	CHECK(softmax_off < 1e-6, "%s: softmax is off by %.1e", kernels->name, softmax_off);
	CHECK(quantize_off < 1.01 && outside == 0, "%s: quantised within %.2f of a step", kernels->name,
		  quantize_off);
}

/* No library starts a thread: there is one task, and was never another (its number would be used) */
static void
test_threads(void)
{
	DIR *tasks = opendir("/proc/self/task");
	int count = 0;

	if (tasks == NULL)
	{
		CHECK(true, "no /proc here # SKIP");
		return;
	}
	while (readdir(tasks) != NULL)
		count++;
	closedir(tasks);
	CHECK(count == 3, "one thread (. and .. beside it): %d", count);
}

int
main(void)
{
	for (size_t k = 0; ds_encoder_kernels_number(k) != NULL; k++)
		test_kernels(ds_encoder_kernels_number(k));
	test_families();
	test_transposed();
	test_refused();
	test_memory();
	test_threads();
	return unit_done();
}
