/*
 * test_image_network.c
 *		The forward pass of networks over pictures against float64, at every level
 *		of processor; laying out, opening, and what is refused.
 */
#include "encoder_model.h"
#include "image_expected.h"
#include "nn/image_network_private.h"
#include "unit.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define WRITTEN 3 /* pictures with written results */
#define PICTURES 20

typedef struct ImageModel
{
	DsImageSpec spec;
	const char *missing; /* a tensor that is not there, or with */
	const char *wrong; /* a value too many, */
	const char *infinite; /* that is not finite, */
	const char *negative; /* below zero */
	char *blob;
	size_t size;
	size_t written;
} ImageModel;

static DsImageSpec
read_spec(size_t family)
{
	DsImageSpec spec = {0};
	DsStatus status = {0};
	DsJson root;
	const char *text = image_families[family].spec;

	if (ds_json_parse(text, strlen(text), "spec", &root, &status) != DS_OK ||
		ds_image_spec_read(root, &spec, &status) != DS_OK)
		CHECK(false, "description %zu: %s", family, status.message);
	return spec;
}

static bool
is(const char *name, const char *wanted)
{
	return wanted != NULL && strcmp(name, wanted) == 0;
}

static bool
image_find(void *context, const char *name, uint64_t *values)
{
	ImageModel *model = context;
	DsImageTensor tensor;

	if (!ds_image_spec_find(&model->spec, name, &tensor) || model_ends(name, "_t") ||
		is(name, model->missing))
		return false;
	*values = (uint64_t) tensor.shape[0] * tensor.shape[1] * tensor.shape[2] * tensor.shape[3];
	*values += is(name, model->wrong);
	return true;
}

static DsCode
image_read(void *context, const char *name, uint64_t first, size_t count, float *out,
		   DsStatus *status)
{
	ImageModel *model = context;
	static const TestModel none;

	(void) status;
	for (size_t i = 0; i < count; i++)
	{
		out[i] = model_ends(name, "norm.var") ? (float) (1 + model_uniform(name, first + i) / 2)
											  : model_value(&none, name, first + i);
		if (first + i == 3 && is(name, model->infinite))
			out[i] = NAN;
		if (first + i == 3 && is(name, model->negative))
			out[i] = -1;
	}
	return DS_OK;
}

static DsCode
image_write(void *context, const void *bytes, size_t size, DsStatus *status)
{
	ImageModel *model = context;

	if (model->written + size > model->size)
		return ds_fail(status, DS_INVALID, "more than %zu bytes", model->size);
	memcpy(model->blob + model->written, bytes, size);
	model->written += size;
	return DS_OK;
}

static DsCode
image_layout(ImageModel *model, DsPrecision precision, DsStatus *status)
{
	DsTensorSource source = {model, image_find, image_read};
	DsBlobWriter writer = {model, image_write};
	DsArena arena;
	uint64_t size = 0;
	DsCode code;

	model->blob = NULL;
	model->written = 0;
	code = ds_image_network_size(&model->spec, precision, &size, status);
	if (code != DS_OK)
		return code;
	model->size = size;
	model->blob = aligned_alloc(64, (size + 63) / 64 * 64);
	ds_arena_init(&arena, NULL);
	code = ds_image_network_layout(&model->spec, precision, &source, &writer, &arena, NULL, status);
	if (code == DS_OK && model->written != model->size)
		code = ds_fail(status, DS_INVALID, "%zu bytes of %zu", model->written, model->size);
	ds_arena_free(&arena);
	return code;
}

static float *
make_pictures(const DsImageSpec *spec)
{
	size_t values = ds_image_values(spec);
	float *pixels = malloc(PICTURES * values * sizeof(float));
	char name[40];

	for (size_t p = 0; p < PICTURES; p++)
	{
		snprintf(name, sizeof(name), "picture.%zu", p);
		for (size_t i = 0; i < values; i++)
			pixels[p * values + i] = 2 * (float) model_uniform(name, i);
	}
	return pixels;
}

static size_t
shown(size_t dims, size_t i)
{
	return dims <= 8 ? i : (size_t) ((double) i * (double) (dims - 1) / 7);
}

/* number k of the kernels; false behind the last */
static bool
choose_kernels(DsImageNetwork *network, size_t k)
{
	if (network->transformer != NULL)
	{
		network->transformer->kernels = ds_encoder_kernels_number(k);
		return network->transformer->kernels != NULL;
	}
	network->kernels = ds_image_kernels_number(k);
	return network->kernels != NULL;
}

static void
test_level(DsImageNetwork *network, size_t family, const float *pixels, DsArena *arena)
{
	const DsImageSpec *spec = &network->spec;
	size_t dims = ds_image_spec_dims(spec);
	size_t each = dims < 8 ? dims : 8;
	size_t held = arena->allocated;
	float *out = calloc(PICTURES * dims, sizeof(float));
	float *alone = calloc(PICTURES * dims, sizeof(float));
	double worst = 0;
	int different = 0;
	DsStatus status = {0};
	DsCode code = ds_image_network_run(network, PICTURES, pixels, out, arena, NULL, &status);

	for (size_t i = 0; i < WRITTEN * each; i++)
	{
		double wanted = image_families[family].expected[i];
		double got = (double) out[i / each * dims + shown(dims, i % each)];

		worst = fmax(worst, fabs(got - wanted) / fmax(1, fabs(wanted)));
		if (!(worst < 1))
			worst = 1;
	}
	CHECK(code == DS_OK && worst < 5e-5 && held == arena->allocated, "%s %s: within %.1e %s",
		  spec->family, ds_image_network_kernel_name(network), worst, status.message);
	for (size_t p = 0; p < PICTURES; p++)
		if (ds_image_network_run(network, 1, pixels + p * ds_image_values(spec), alone, arena, NULL,
								 &status) != DS_OK ||
			memcmp(alone, out + p * dims, dims * sizeof(float)) != 0)
			different++;
	/* and in a batch of another size, so beside others */
	if (ds_image_network_run(network, PICTURES - 3, pixels + 3 * ds_image_values(spec), alone,
							 arena, NULL, &status) != DS_OK ||
		memcmp(alone, out + 3 * dims, (PICTURES - 3) * dims * sizeof(float)) != 0)
		different++;
	CHECK(different == 0, "%s %s: a picture alone gives the same to the bit", spec->family,
		  ds_image_network_kernel_name(network));
	free(out);
	free(alone);
}

static void
test_families(void)
{
	for (size_t family = 0; family < LENGTH(image_families); family++)
	{
		ImageModel model = {.spec = read_spec(family)};
		float *pixels = make_pictures(&model.spec);
		DsStatus status = {0};
		DsImageNetwork *network;
		DsArena arena;

		ds_arena_init(&arena, NULL);
		if (image_layout(&model, DS_PRECISION_F32, &status) != DS_OK ||
			ds_image_network_open(model.blob, model.size, &arena, &network, &status) != DS_OK)
			CHECK(false, "%s: %s", model.spec.family, status.message);
		else
			for (size_t k = 0; choose_kernels(network, k); k++)
				test_level(network, family, pixels, &arena);
		ds_arena_free(&arena);
		free(model.blob);
		free(pixels);
	}
}

/* A transformer may have fewer bits, as an encoder may */
static void
test_precision(void)
{
	ImageModel model = {.spec = read_spec(4)};
	float *pixels = make_pictures(&model.spec);
	float out[3][48];
	DsStatus status = {0};

	for (uint32_t precision = DS_PRECISION_F32; precision <= DS_PRECISION_INT8; precision++)
	{
		DsImageNetwork *network;
		DsArena arena;
		double ab = 0, aa = 0, bb = 0;

		ds_arena_init(&arena, NULL);
		if (!CHECK(image_layout(&model, precision, &status) == DS_OK &&
					   ds_image_network_open(model.blob, model.size, &arena, &network, &status) ==
						   DS_OK &&
					   ds_image_network_run(network, 1, pixels, out[precision - 1], &arena, NULL,
											&status) == DS_OK,
				   "vit in %s %s", ds_precision_name(precision), status.message))
			continue;
		for (size_t i = 0; i < 48; i++)
		{
			ab += (double) out[0][i] * (double) out[precision - 1][i];
			aa += (double) out[0][i] * (double) out[0][i];
			bb += (double) out[precision - 1][i] * (double) out[precision - 1][i];
		}
		CHECK(ab / sqrt(aa * bb) > 0.99 && ds_image_network_precision(network) == precision,
			  "vit in %s: cosine %.5f", ds_precision_name(precision), ab / sqrt(aa * bb));
		ds_arena_free(&arena);
		free(model.blob);
	}
	free(pixels);
}

static bool
poll_count(void *context)
{
	return --*(int *) context < 0;
}

#define LAYOUT_REFUSED(field, value)                                            \
	do                                                                          \
	{                                                                           \
		model.field = value;                                                    \
		CHECK(image_layout(&model, DS_PRECISION_F32, &status) == DS_BAD_DATA && \
				  strstr(status.message, value) != NULL,                        \
			  #field ": %s", status.message);                                   \
		free(model.blob);                                                       \
		model.field = NULL;                                                     \
	} while (0)

/* Stopped at every look at cancel */
static void
test_cancel(size_t family, int least)
{
	ImageModel model = {.spec = read_spec(family)};
	float *pixels = make_pictures(&model.spec);
	float *out = calloc(PICTURES * ds_image_spec_dims(&model.spec), sizeof(float));
	DsStatus status = {0};
	DsImageNetwork *network;
	DsArena arena;
	int polls = 0;
	size_t held;

	ds_arena_init(&arena, NULL);
	if (image_layout(&model, DS_PRECISION_F32, &status) != DS_OK ||
		ds_image_network_open(model.blob, model.size, &arena, &network, &status) != DS_OK)
		CHECK(false, "open: %s", status.message);
	held = arena.allocated;
	for (;; polls++)
	{
		int left = polls;
		DsCancel cancel = {poll_count, &left};
		DsCode code =
			ds_image_network_run(network, PICTURES, pixels, out, &arena, &cancel, &status);

		if (code == DS_OK)
			break;
		if (code != DS_CANCELLED || arena.allocated != held)
			polls = -100000;
	}
	CHECK(polls > least, "%s: stops at each of %d points when cancelled", model.spec.family, polls);
	ds_arena_free(&arena);
	free(model.blob);
	free(pixels);
	free(out);
}

static size_t memory_left;

static void *
allocate_some(void *context, size_t size)
{
	(void) context;
	if (size > memory_left)
		return NULL;
	memory_left -= size;
	return malloc(size);
}

static void
release(void *context, void *pointer)
{
	(void) context;
	free(pointer);
}

static void
test_refused(size_t family)
{
	ImageModel model = {.spec = read_spec(family)};
	float *pixels = make_pictures(&model.spec);
	float *out = calloc(PICTURES * 1024, sizeof(float));
	DsStatus status = {0};
	DsImageNetwork *network;
	DsArena arena;
	DsAllocator few = {allocate_some, release, NULL};
	char *copy;
	int foreign = 0;
	int refused = 0;
	DsCode code = DS_OUT_OF_MEMORY;

	ds_arena_init(&arena, NULL);
	if (!CHECK(image_layout(&model, DS_PRECISION_F32, &status) == DS_OK &&
				   ds_image_network_open(model.blob, model.size, &arena, &network, &status) ==
					   DS_OK,
			   "%s opens %s", model.spec.family, status.message))
		return;
	CHECK(ds_image_network_run(network, 0, pixels, out, &arena, NULL, &status) == DS_OK,
		  "no picture at all");
	CHECK(ds_image_network_open(model.blob, model.size - 64, &arena, &network, &status) ==
				  DS_BAD_DATA &&
			  ds_image_network_open(model.blob, 100, &arena, &network, &status) == DS_BAD_DATA &&
			  ds_image_network_open(model.blob, 0, &arena, &network, &status) == DS_BAD_DATA,
		  "a blob that is cut short: %s", status.message);
	copy = aligned_alloc(64, (model.size + 63) / 64 * 64);
	for (size_t i = 0; i < 64 + sizeof(DsImageSpec); i++)
	{
		/* refused, or the description of a blob of this size, which can be run within it */
		memcpy(copy, model.blob, model.size);
		copy[i] = (char) (copy[i] ^ 0x55);
		if (i > 600 && copy[i] == 0x55 && i % 7 != 0)
			continue; /* layers that are not there: some will do */
		if (ds_image_network_open(copy, model.size, &arena, &network, &status) != DS_OK)
			refused++;
		else if (i < 18 || (i >= 32 && i < 52))
			foreign++;
		else if (ds_image_values(&network->spec) <= ds_image_values(&model.spec))
			ds_image_network_run(network, 1, pixels, out, &arena, NULL, &status);
		ds_arena_free(&arena);
	}
	CHECK(foreign == 0 && refused > 60, "a changed header is refused");
	free(copy);
	for (memory_left = 1000; code == DS_OUT_OF_MEMORY; memory_left = memory_left * 2 + 1000)
	{
		size_t now = memory_left;

		ds_arena_init(&arena, &few);
		code = ds_image_network_open(model.blob, model.size, &arena, &network, &status);
		if (code == DS_OK)
			code = ds_image_network_run(network, 2, pixels, out, &arena, NULL, &status);
		ds_arena_free(&arena);
		memory_left = now;
	}
	CHECK(code == DS_OK, "a lack of memory is an error until there is enough");
	free(model.blob);
	free(pixels);
	free(out);
}

int
main(void)
{
	ImageModel model = {.spec = read_spec(0)};
	DsStatus status = {0};

	test_families();
	test_precision();
	LAYOUT_REFUSED(missing, "layer.2.norm.var");
	LAYOUT_REFUSED(missing, "module.0.bias");
	LAYOUT_REFUSED(wrong, "layer.4.weight");
	LAYOUT_REFUSED(infinite, "layer.1.weight");
	LAYOUT_REFUSED(infinite, "layer.1.norm.bias");
	LAYOUT_REFUSED(negative, "layer.5.norm.var");
	CHECK(image_layout(&model, DS_PRECISION_INT8, &status) == DS_UNSUPPORTED,
		  "convolutions in int8: %s", status.message);
	test_refused(0);
	test_refused(5);
	test_cancel(1, 20);
	test_cancel(7, 20);
	return unit_done();
}
