/*
 * images_ours.c
 *		Pictures for test/bench/images.
 *
 *	 images_ours decode FILE OUT
 *			the pixels of a JPEG or PNG; prints width and height
 *	 images_ours resize FILE WIDTH HEIGHT FILTER LEFT TOP WIDTH HEIGHT OUT
 *			a window of it, resized
 *	 images_ours transform FILE CONFIG OUT
 *			the floats (CHW) that a preprocessor_config.json asks for
 *	 images_ours speed FILE WIDTH HEIGHT FILTER SECONDS
 *	 images_ours speed FILE CONFIG - - SECONDS
 *	 images_ours speed FILE - - - SECONDS
 *			pictures a second of processor time: resizing alone; decoding and all of the
 *			transform; decoding alone
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "image/transform.h"

static DsArena arena;
static DsArena scratch;
static DsStatus status;

static void
check(DsCode code)
{
	if (code != DS_OK)
	{
		fprintf(stderr, "%s\n", status.message);
		exit(1);
	}
}

static void *
load(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	char *bytes = malloc((size_t) 1 << 26);

	if (file == NULL || bytes == NULL)
	{
		perror(path);
		exit(1);
	}
	*size = fread(bytes, 1, (size_t) 1 << 26, file);
	fclose(file);
	return bytes;
}

static void
save(const char *path, const void *bytes, size_t size)
{
	FILE *file = fopen(path, "wb");

	if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
	{
		perror(path);
		exit(1);
	}
}

static DsImage
decode(const void *bytes, size_t size)
{
	static const DsImageLimits limits = {DS_IMAGE_BYTES_DEFAULT, DS_IMAGE_PIXELS_DEFAULT, false};
	DsImage image;

	check(ds_image_decode(bytes, size, &limits, &arena, &scratch, NULL, &image, &status));
	return image;
}

static DsImageTransform
configure(const char *path)
{
	DsImageTransform transform;
	size_t size;
	char *json = load(path, &size);

	check(ds_image_transform_preprocessor(json, size, path, NULL, &transform, &status));
	free(json);
	return transform;
}

static float *
apply(const DsImageTransform *transform, const DsImage *image, size_t *count)
{
	uint32_t width, height;
	float *out;

	check(
		ds_image_transform_size(transform, image->width, image->height, &width, &height, &status));
	*count = (size_t) 3 * width * height;
	out = ds_arena_alloc(&arena, *count, sizeof(float));
	check(ds_image_transform_apply(transform, image, DS_LAYOUT_CHW, out, &scratch, NULL, &status));
	return out;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static void
speed(char **argv)
{
	size_t size;
	void *bytes = load(argv[2], &size);
	bool resizing = strcmp(argv[4], "-") != 0;
	bool transforming = !resizing && strcmp(argv[3], "-") != 0;
	uint32_t width = (uint32_t) atoi(argv[3]), height = (uint32_t) atoi(argv[4]);
	double seconds = atof(argv[6]);
	DsImageTransform transform = {0};
	DsImage image;
	uint8_t *out = malloc((size_t) width * height * 3 + 1);
	float *floats = NULL; /* a network's input: allocated once */
	double start;
	size_t n = 0;

	if (transforming)
		transform = configure(argv[3]);
	image = decode(bytes, size);
	if (transforming)
	{
		size_t count;

		floats = apply(&transform, &image, &count);
	}
	start = now();
	do
	{
		if (resizing)
			check(ds_image_resize(&image, width, height, (DsImageFilter) atoi(argv[5]), NULL, out,
								  (size_t) width * 3, &scratch, NULL, &status));
		else
		{
			DsArenaMark mark = ds_arena_mark(&arena);
			DsImage one = decode(bytes, size);

			if (transforming)
				check(ds_image_transform_apply(&transform, &one, DS_LAYOUT_CHW, floats, &scratch,
											   NULL, &status));
			ds_arena_rewind(&arena, mark);
		}
		n++;
	} while (now() - start < seconds);
	printf("%.1f\n", (double) n / (now() - start));
	free(out);
	free(bytes);
}

int
main(int argc, char **argv)
{
	size_t size;

	ds_arena_init(&arena, NULL);
	ds_arena_init(&scratch, NULL);
	if (argc == 4 && strcmp(argv[1], "decode") == 0)
	{
		void *bytes = load(argv[2], &size);
		DsImage image = decode(bytes, size);

		printf("%u %u\n", image.width, image.height);
		save(argv[3], image.pixels, (size_t) image.width * image.height * 3);
		free(bytes);
	}
	else if (argc == 11 && strcmp(argv[1], "resize") == 0)
	{
		void *bytes = load(argv[2], &size);
		DsImage image = decode(bytes, size);
		DsImageWindow window = {(uint32_t) atoi(argv[6]), (uint32_t) atoi(argv[7]),
								(uint32_t) atoi(argv[8]), (uint32_t) atoi(argv[9])};
		uint8_t *out = malloc((size_t) window.width * window.height * 3);

		check(ds_image_resize(&image, (uint32_t) atoi(argv[3]), (uint32_t) atoi(argv[4]),
							  (DsImageFilter) atoi(argv[5]), &window, out,
							  (size_t) window.width * 3, &scratch, NULL, &status));
		save(argv[10], out, (size_t) window.width * window.height * 3);
		free(out);
		free(bytes);
	}
	else if (argc == 5 && strcmp(argv[1], "transform") == 0)
	{
		void *bytes = load(argv[2], &size);
		DsImage image = decode(bytes, size);
		DsImageTransform transform = configure(argv[3]);
		size_t count;
		float *out = apply(&transform, &image, &count);

		save(argv[4], out, count * sizeof(float));
		free(bytes);
	}
	else if (argc == 7 && strcmp(argv[1], "speed") == 0)
		speed(argv);
	else
	{
		fprintf(stderr, "see the head of images_ours.c\n");
		return 2;
	}
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	return 0;
}
