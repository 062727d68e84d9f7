/*
 * vision_ours.c
 *		Our forward pass over pictures, for test/bench/vision.
 *
 *	 vision_ours DIR SECONDS PRECISION [AT_ONCE]
 *
 * DIR has spec.json (ds_image_spec_write()), weights (the tensors one after the
 * other, in the order of the description, as floats) and pixels (pictures, as
 * floats).  Writes DIR/out, and prints: pictures a second of processor time, of the
 * median call with AT_ONCE pictures (all by default), and the kernels' name.
 * SECONDS 0: no times.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "nn/image_network.h"

static DsImageSpec spec;
static float *weights;
static char *blob;
static size_t written;

static void *
read_file(const char *directory, const char *name, size_t *size)
{
	char path[1000];
	FILE *file;
	char *bytes;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "rb");
	if (file == NULL || fseek(file, 0, SEEK_END) != 0)
	{
		perror(path);
		exit(1);
	}
	*size = (size_t) ftell(file);
	rewind(file);
	bytes = aligned_alloc(64, (*size + 64) / 64 * 64);
	if (bytes == NULL || fread(bytes, 1, *size, file) != *size)
		exit(1);
	fclose(file);
	return bytes;
}

static void
check(DsCode code, const DsStatus *status)
{
	if (code == DS_OK)
		return;
	fprintf(stderr, "%s\n", status->message);
	exit(1);
}

/* where a tensor begins in the file of weights */
static bool
place_of(const char *name, uint64_t *first, uint64_t *values)
{
	DsImageTensor tensor;

	*first = 0;
	for (size_t i = 0; ds_image_spec_tensor(&spec, i, &tensor); i++, *first += *values)
	{
		*values = (uint64_t) tensor.shape[0] * tensor.shape[1] * tensor.shape[2] * tensor.shape[3];
		if (strcmp(tensor.name, name) == 0)
			return true;
	}
	return false;
}

static bool
find(void *context, const char *name, uint64_t *values)
{
	uint64_t first;

	(void) context;
	return place_of(name, &first, values);
}

static DsCode
read_values(void *context, const char *name, uint64_t first, size_t count, float *out,
			DsStatus *status)
{
	uint64_t begin = 0;
	uint64_t values;

	(void) context;
	(void) status;
	place_of(name, &begin, &values);
	memcpy(out, weights + begin + first, count * sizeof(float));
	return DS_OK;
}

static DsCode
write_bytes(void *context, const void *bytes, size_t size, DsStatus *status)
{
	(void) context;
	(void) status;
	memcpy(blob + written, bytes, size);
	written += size;
	return DS_OK;
}

static double
seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return (x > y) - (x < y);
}

int
main(int argc, char **argv)
{
	DsStatus status = {0};
	DsArena arena;
	DsTensorSource source = {NULL, find, read_values};
	DsBlobWriter writer = {NULL, write_bytes};
	DsImageNetwork *network;
	DsPrecision precision = DS_PRECISION_F32;
	DsJson root;
	size_t size;
	size_t pictures;
	size_t at_once;
	uint64_t blob_size;
	char *text;
	float *pixels;
	float *out;
	char path[1000];
	FILE *file;

	if (argc < 4)
		return 1;
	ds_arena_init(&arena, NULL);
	text = read_file(argv[1], "spec.json", &size);
	check(ds_json_parse(text, size, "spec.json", &root, &status), &status);
	check(ds_image_spec_read(root, &spec, &status), &status);
	weights = read_file(argv[1], "weights", &size);
	if (size != ds_image_spec_parameters(&spec) * sizeof(float))
	{
		fprintf(stderr, "weights: %zu bytes instead of %zu\n", size,
				(size_t) ds_image_spec_parameters(&spec) * sizeof(float));
		return 1;
	}
	pixels = read_file(argv[1], "pixels", &size);
	pictures = size / sizeof(float) / ds_image_values(&spec);
	at_once = argc > 4 ? (size_t) atol(argv[4]) : pictures;
	for (uint32_t p = 1; ds_precision_name(p) != NULL; p++)
		if (strcmp(ds_precision_name(p), argv[3]) == 0)
			precision = p;
	check(ds_image_network_size(&spec, precision, &blob_size, &status), &status);
	blob = aligned_alloc(64, (blob_size + 63) / 64 * 64);
	check(ds_image_network_layout(&spec, precision, &source, &writer, &arena, NULL, &status),
		  &status);
	check(ds_image_network_open(blob, blob_size, &arena, &network, &status), &status);
	out = calloc(pictures * ds_image_spec_dims(&spec), sizeof(float));
	check(ds_image_network_run(network, pictures, pixels, out, &arena, NULL, &status), &status);
	snprintf(path, sizeof(path), "%s/out", argv[1]);
	file = fopen(path, "wb");
	fwrite(out, sizeof(float), pictures * ds_image_spec_dims(&spec), file);
	fclose(file);
	if (atof(argv[2]) > 0)
	{
		static double times[100000];
		size_t n = 0;
		size_t first = 0;
		double begin = seconds(CLOCK_MONOTONIC);

		while (n < 5 || (n < 100000 && seconds(CLOCK_MONOTONIC) - begin < atof(argv[2])))
		{
			double before = seconds(CLOCK_PROCESS_CPUTIME_ID);

			check(ds_image_network_run(network, at_once, pixels + first * ds_image_values(&spec),
									   out, &arena, NULL, &status),
				  &status);
			times[n++] = seconds(CLOCK_PROCESS_CPUTIME_ID) - before;
			first = first + 2 * at_once <= pictures ? first + at_once : 0;
		}
		qsort(times, n, sizeof(double), compare);
		printf("%.2f %s\n", (double) at_once / times[n / 2], ds_image_network_kernel_name(network));
	}
	ds_arena_free(&arena);
	return 0;
}
