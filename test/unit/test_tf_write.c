/*
 * test_tf_write.c
 *		Checkpoints of TensorFlow that are written, read back.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/tf_bundle.h"
#include "memory_folder.h"
#include "unit.h"

#define MANY 6000

static DsArena arena;
static DsArena scratch;
static DsStatus status;
static DsPlan plan;
static size_t reads;
static MemoryFolder memory;

/* The number at a place of a tensor: its name decides */
static float
number_of(const char *name, uint64_t at)
{
	uint32_t hash = ds_crc32c(0, name, strlen(name)) + (uint32_t) at * 2654435761u;

	return (float) (int32_t) (hash >> 8) / 4096;
}

static bool
find_tensor(void *context, const char *name, uint64_t *values)
{
	(void) context;
	*values = strcmp(name, "matrix") == 0 ? 35 : strcmp(name, "absent") == 0 ? 0 : 3;
	return *values > 0;
}

static DsCode
read_tensor(void *context, const char *name, uint64_t first, size_t count, float *out,
			DsStatus *failed)
{
	(void) context;
	(void) failed;
	reads++;
	for (size_t i = 0; i < count; i++)
		out[i] = number_of(name, first + i);
	return DS_OK;
}

static const DsTensorSource source = {NULL, find_tensor, read_tensor};

static DsTfTensor
vector_of(const char *name, DsDtype dtype)
{
	DsTfTensor tensor = {.name = name, .rank = 1, .shape = {3}};

	tensor.part = (DsPlanPart){.dtype = dtype, .rows = 3, .columns = 1};
	snprintf(tensor.part.tensor, sizeof(tensor.part.tensor), "%s", name);
	return tensor;
}

static DsCode
append(void *context, const void *bytes, size_t size, DsStatus *failed)
{
	FILE *file = context;

	(void) failed;
	fwrite(bytes, 1, size, file);
	return DS_OK;
}

/* The planned files as files in memory */
static void
write_files(void)
{
	for (size_t i = 0; i < plan.file_count; i++)
	{
		char *bytes = NULL;
		size_t size = 0;
		FILE *file = open_memstream(&bytes, &size);
		DsBlobWriter writer = {file, append};
		DsCode code = ds_plan_write(&plan.files[i], &source, &writer, &scratch, NULL, &status);

		fclose(file);
		CHECK(code == DS_OK && size == plan.files[i].size, "%s is written, %zu bytes",
			  plan.files[i].name, size);
		memory_put(&memory, plan.files[i].name, bytes, size);
		free(bytes);
	}
}

static DsCode
plan_of(DsTfTensor *tensors, size_t count)
{
	ds_plan_init(&plan, &arena);
	return ds_tf_bundle_plan(&plan, "model.ckpt", tensors, count, &source, NULL, &status);
}

static void
test_types_and_shapes(void)
{
	DsTfTensor tensors[] = {vector_of("layer_1/bias", DS_DTYPE_F32),
							vector_of("layer_1/half", DS_DTYPE_F16),
							vector_of("layer", DS_DTYPE_BF16), vector_of("matrix", DS_DTYPE_F32),
							vector_of("kernel", DS_DTYPE_F32)};
	DsTensorFiles files;
	const DsTensorInfo *info;
	float numbers[35];
	size_t wrong = 0;

	/* one as it is stored, one the other way round */
	tensors[3].rank = 2;
	tensors[3].shape[0] = tensors[3].part.rows = 5;
	tensors[3].shape[1] = tensors[3].part.columns = 7;
	tensors[4] = tensors[3];
	tensors[4].name = "kernel";
	tensors[4].shape[0] = 7;
	tensors[4].shape[1] = 5;
	tensors[4].part.transpose = true;
	CHECK(plan_of(tensors, 5) == DS_OK, "a checkpoint is planned");
	write_files();
	CHECK(ds_tf_bundle_open(&memory.folder, "model.ckpt.index", &arena, &scratch, &files,
							&status) == DS_OK &&
			  files.count == 5,
		  "it is read back");
	info = ds_tensors_find(&files, "kernel");
	CHECK(info != NULL && info->rank == 2 && info->shape[0] == 7 && info->shape[1] == 5 &&
			  ds_tensors_read_floats(&files, info, 0, 35, numbers, &status) == DS_OK,
		  "a matrix that is turned");
	for (size_t i = 0; i < 35; i++)
		wrong += numbers[i] != number_of("matrix", i % 5 * 7 + i / 5);
	info = ds_tensors_find(&files, "matrix");
	CHECK(info != NULL && info->shape[0] == 5 &&
			  ds_tensors_read_floats(&files, info, 0, 35, numbers, &status) == DS_OK,
		  "and one as it is");
	for (size_t i = 0; i < 35; i++)
		wrong += numbers[i] != number_of("matrix", i);
	CHECK(wrong == 0, "the numbers are the same");
	info = ds_tensors_find(&files, "layer_1/half");
	CHECK(info != NULL && info->dtype == DS_DTYPE_F16, "types are kept");
	for (size_t i = 0; i < files.count; i++)
	{
		unsigned char bytes[35 * 4];

		wrong += ds_tensors_read(&files, &files.tensors[i], 0, bytes, files.tensors[i].bytes,
								 &status) != DS_OK ||
				 !files.tensors[i].has_checksum ||
				 files.tensors[i].checksum !=
					 ds_crc32c_mask(ds_crc32c(0, bytes, files.tensors[i].bytes));
	}
	CHECK(wrong == 0, "the checksums are those of the bytes");
}

/* More names than a block of the table has room for */
static void
test_many(void)
{
	DsTfTensor *tensors = calloc(MANY, sizeof(DsTfTensor));
	char(*names)[120] = calloc(MANY, sizeof(*names));
	DsTensorFiles files;
	size_t wrong = 0;

	for (size_t i = 0; i < MANY; i++)
	{
		/* a part that is no prefix of the next name's makes them long */
		snprintf(names[i], sizeof(names[i]), "%08x/an_embedding/of_a_layer/with_a_long_name/%zu",
				 (unsigned) (i * 2654435761u), i);
		tensors[i] = vector_of(names[i], DS_DTYPE_F32);
	}
	CHECK(plan_of(tensors, MANY) == DS_OK, "%d tensors are planned", MANY);
	write_files();
	CHECK(ds_plan_find(&plan, "model.ckpt.index")->size > 262144, "they need some blocks");
	CHECK(ds_tf_bundle_open(&memory.folder, "model.ckpt.index", &arena, &scratch, &files,
							&status) == DS_OK &&
			  files.count == MANY,
		  "all of them are read back");
	for (size_t i = 0; i < MANY && wrong == 0; i++)
	{
		const DsTensorInfo *info = ds_tensors_find(&files, names[i]);
		float numbers[3];

		wrong += info == NULL ||
				 ds_tensors_read_floats(&files, info, 0, 3, numbers, &status) != DS_OK ||
				 numbers[2] != number_of(names[i], 2);
	}
	CHECK(wrong == 0, "with their numbers");
	free(names);
	free(tensors);
}

static void
test_refused(void)
{
	DsTfTensor twice[] = {vector_of("a", DS_DTYPE_F32), vector_of("b", DS_DTYPE_F32),
						  vector_of("a", DS_DTYPE_F32)};
	DsTfTensor one = vector_of("a", DS_DTYPE_F32);

	CHECK(plan_of(twice, 3) == DS_INVALID, "a name twice: %s", status.message);
	one.shape[0] = 4;
	CHECK(plan_of(&one, 1) == DS_INVALID, "a shape of another size: %s", status.message);
	one = vector_of("a", DS_DTYPE_U8);
	CHECK(plan_of(&one, 1) == DS_INVALID, "a type without a counterpart: %s", status.message);
	one = vector_of("absent", DS_DTYPE_F32);
	CHECK(plan_of(&one, 1) == DS_BAD_DATA, "a tensor that is not there: %s", status.message);
	one = vector_of("", DS_DTYPE_F32);
	CHECK(plan_of(&one, 1) == DS_INVALID, "no name: %s", status.message);
	CHECK(plan_of(NULL, 0) == DS_OK, "no tensor at all");
}

int
main(void)
{
	memory_open(&memory);
	ds_arena_init(&arena, NULL);
	ds_arena_init(&scratch, NULL);
	test_types_and_shapes();
	test_many();
	test_refused();
	CHECK(reads > 2 * MANY, "numbers are read for the checksums, and for the file");
	memory_close(&memory);
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	return unit_done();
}
