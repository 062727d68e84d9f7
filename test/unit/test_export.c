/*
 * test_export.c
 *		Writing what the readers of src/format read: numbers, safetensors, plans.
 */
#include <string.h>

#include "base/random.h"
#include "format/safetensors.h"
#include "memory_folder.h"
#include "text/blob.h"
#include "unit.h"

/* ---- numbers ---- */

static void
test_halves(void)
{
	int wrong[2] = {0, 0};
	DsRandom random;

	for (int kind = 0; kind < 2; kind++)
	{
		DsDtype dtype = kind == 0 ? DS_DTYPE_F16 : DS_DTYPE_BF16;

		for (unsigned h = 0; h < 65536; h++)
		{
			unsigned char in[2] = {(unsigned char) h, (unsigned char) (h >> 8)};
			unsigned char out[2];
			float value;

			ds_dtype_to_float(dtype, in, 1, &value);
			ds_dtype_from_float(dtype, &value, 1, out);
			if (value == value ? memcmp(in, out, 2) != 0 : (out[1] & 0x7C) != 0x7C)
				wrong[kind]++;
		}
		CHECK(wrong[kind] == 0, "%s: all 65,536 values come back", ds_dtype_name(dtype));
	}
	/* the nearest of both neighbours, and the even one of two that are as near */
	ds_random_init(&random, 7, 0);
	for (int kind = 0; kind < 2; kind++)
	{
		DsDtype dtype = kind == 0 ? DS_DTYPE_F16 : DS_DTYPE_BF16;
		int far = 0;

		for (int i = 0; i < 300000; i++)
		{
			uint32_t bits = (uint32_t) ds_random_next(&random);
			float value;
			double error;
			unsigned char out[2];

			if (i % 3 == 0)
				bits = (bits & 0x80000FFF) | (0x33000000 + (bits >> 4) % 0x16000000);
			if (i % 3 == 1) /* ties */
				bits =
					(bits & (kind == 0 ? 0xFFFFE000 : 0xFFFF0000)) | (kind == 0 ? 0x1000 : 0x8000);
			memcpy(&value, &bits, 4);
			/* beside the largest bf16 there is nothing to compare with */
			if (value != value || (kind == 1 && fabsf(value) > 3e38f))
				continue;
			ds_dtype_from_float(dtype, &value, 1, out);
			error = -1;
			for (int step = -1; step <= 1; step++)
			{
				unsigned h = (unsigned) out[0] | (unsigned) out[1] << 8;
				unsigned near = h + (unsigned) step;
				unsigned char other[2] = {(unsigned char) near, (unsigned char) (near >> 8)};
				float back;
				double e;

				ds_dtype_to_float(dtype, other, 1, &back);
				/* an infinity stands for the number behind the largest */
				if (isinf(back))
					back = copysignf(65536.0f, back);
				if (back != back || (h ^ near) & 0x8000)
					continue;
				e = fabs((double) back -
						 (double) (isinf(value) ? copysignf(3.4e38f, value) : value));
				if (step == -1)
					error = e;
				else if (step == 0)
				{
					if (error >= 0 && (error < e || (error == e && (h & 1))))
						far++;
					error = e;
				}
				else if (e < error || (e == error && (h & 1)))
					far += !isinf(value);
			}
		}
		CHECK(far == 0, "%s: rounded to the nearest, ties to even (%d wrong)", ds_dtype_name(dtype),
			  far);
	}
}

static void
test_integers(void)
{
	const float in[] = {0, 1.5f, 2.5f, -2.5f, 127.4f, 300, -300, -1e30f, 1e30f, NAN};
	const int expected[] = {0, 2, 2, -2, 127, 127, -127, -127, 127, 0};
	signed char small[10];
	unsigned char large[80];
	int wrong = 0;

	ds_dtype_from_float(DS_DTYPE_I8, in, 10, small);
	for (int i = 0; i < 10; i++)
		wrong += small[i] != expected[i];
	CHECK(wrong == 0, "i8 is rounded and limited");
	ds_dtype_from_float(DS_DTYPE_I64, in, 6, large);
	CHECK((int64_t) ds_read_u64(large + 8) == 2 && (int64_t) ds_read_u64(large + 48 - 8) == 300 &&
			  (int64_t) ds_read_u64(large + 24) == -2,
		  "i64");
	ds_dtype_from_float(DS_DTYPE_I32, in, 9, large);
	CHECK((int32_t) ds_read_u32(large + 28) == INT32_MIN && (int32_t) ds_read_u32(large + 4) == 2,
		  "i32");
}

/* ---- files ---- */

/* Tensor "t" is of these numbers: value i is i / 4 - 100 */
static uint64_t source_values;
static size_t source_largest;

static bool
find(void *context, const char *name, uint64_t *values)
{
	(void) context;
	*values = source_values;
	return strcmp(name, "missing") != 0;
}

static DsCode
read_values(void *context, const char *name, uint64_t first, size_t count, float *out,
			DsStatus *status)
{
	(void) context;
	if (strcmp(name, "broken") == 0)
		return ds_fail(status, DS_BAD_DATA, "broken");
	for (size_t i = 0; i < count; i++)
		out[i] = (float) (first + i) / 4 - 100;
	if (count > source_largest)
		source_largest = count;
	return DS_OK;
}

static const DsTensorSource source = {NULL, find, read_values};

typedef struct Written
{
	unsigned char *bytes;
	size_t size;
	size_t capacity;
} Written;

static DsCode
write_bytes(void *context, const void *bytes, size_t size, DsStatus *status)
{
	Written *written = context;

	if (size > written->capacity - written->size)
		return ds_fail(status, DS_TOO_LARGE, "more than was planned");
	memcpy(written->bytes + written->size, bytes, size);
	written->size += size;
	return DS_OK;
}

static Written
write_file(const DsPlanFile *file, DsCode expected)
{
	Written written = {malloc(file->size + 1), 0, file->size};
	DsBlobWriter writer = {&written, write_bytes};
	DsArena arena;
	DsStatus status;
	DsCode code;

	ds_arena_init(&arena, NULL);
	code = ds_plan_write(file, &source, &writer, &arena, NULL, &status);
	if (code != expected)
		printf("# code %d: %s\n", code, status.message);
	CHECK(code == expected && (code != DS_OK || written.size == file->size),
		  "%s: written as it was planned, or the right error", file->name);
	CHECK(arena.chunks == NULL || arena.allocated <= 24u << 20, "its memory");
	ds_arena_free(&arena);
	return written;
}

static void
test_safetensors(void)
{
	static const DsDtype dtypes[] = {DS_DTYPE_I8, DS_DTYPE_F16, DS_DTYPE_F32, DS_DTYPE_BF16,
									 DS_DTYPE_I64};
	DsSafetensor tensors[6];
	const char *names[] = {
		"b \"quoted\" \\ \xe5\xa4\x8f", "a", "layer.10", "layer.9", "z", "again"};
	MemoryFolder memory;
	DsTensorFiles files;
	DsArena arena, scratch;
	DsPlan plan;
	DsStatus status;
	Written written;
	int wrong = 0;

	ds_arena_init(&arena, NULL);
	ds_arena_init(&scratch, NULL);
	ds_plan_init(&plan, &arena);
	memset(tensors, 0, sizeof(tensors));
	source_values = 600;
	for (int i = 0; i < 6; i++)
	{
		DsSafetensor *t = &tensors[i];

		t->name = names[i];
		t->rank = 2;
		t->shape[0] = 30;
		t->shape[1] = 20;
		strcpy(t->part.tensor, "t");
		t->part.dtype = dtypes[i % 5];
		t->part.rows = i == 5 ? 20 : 30;
		t->part.columns = i == 5 ? 30 : 20;
		t->part.transpose = i == 5;
		t->part.dtype = i == 5 ? DS_DTYPE_F32 : t->part.dtype;
	}
	CHECK(ds_safetensors_plan(&plan, "m", tensors, 6, &status) == DS_OK, "six tensors are planned");
	written = write_file(&plan.files[0], DS_OK);
	memory_open(&memory);
	memory_put(&memory, "m", written.bytes, written.size);
	free(written.bytes);
	CHECK(ds_safetensors_open(&memory.folder, "m", &arena, &scratch, &files, &status) == DS_OK &&
			  files.count == 6,
		  "and read");
	for (int i = 0; i < 6; i++)
	{
		const DsTensorInfo *info = ds_tensors_find(&files, names[i]);
		float values[600];

		if (info == NULL || info->offset % (ds_dtype_bits(info->dtype) / 8) != 0 ||
			ds_tensors_read_floats(&files, info, 0, 600, values, &status) != DS_OK)
		{
			wrong++;
			continue;
		}
		for (int k = 0; k < 600; k++)
		{
			int at = i == 5 ? k % 20 * 30 + k / 20 : k;
			double expected = at / 4.0 - 100;

			/* i8 and i64 are rounded; all of these have few enough digits for the rest */
			if (info->dtype == DS_DTYPE_I8 || info->dtype == DS_DTYPE_I64)
				expected = rint(expected);
			wrong += info->dtype == DS_DTYPE_BF16 ? fabs(values[k] - expected) > 0.25
												  : values[k] != (float) expected;
		}
	}
	CHECK(wrong == 0, "with names, alignment and numbers (%d wrong)", wrong);
	memory_close(&memory);

	tensors[1].name = tensors[0].name;
	tensors[1].part.dtype = tensors[0].part.dtype;
	ds_plan_init(&plan, &arena);
	CHECK(ds_safetensors_plan(&plan, "m", tensors, 2, &status) == DS_INVALID,
		  "a name that is there twice is refused");
	ds_plan_init(&plan, &arena);
	tensors[0].shape[0] = 29;
	CHECK(ds_safetensors_plan(&plan, "m", tensors, 1, &status) == DS_INVALID,
		  "so is another shape than the part's");
	ds_plan_init(&plan, &arena);
	tensors[0].shape[0] = 30;
	strcpy(tensors[0].part.tensor, "missing");
	CHECK(ds_safetensors_plan(&plan, "missing", tensors, 1, &status) == DS_OK, "a plan");
	free(write_file(&plan.files[0], DS_BAD_DATA).bytes);
	strcpy(plan.files[0].parts[1].tensor, "broken");
	free(write_file(&plan.files[0], DS_BAD_DATA).bytes);
	strcpy(plan.files[0].parts[1].tensor, "t");
	source_values = 599;
	free(write_file(&plan.files[0], DS_BAD_DATA).bytes);
	CHECK(scratch.allocated == 0, "scratch memory is given back");
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
}

/* Larger than a piece and than a block, transposed, in rows that are scaled */
static void
test_large(void)
{
	DsArena arena;
	DsPlan plan;
	DsPlanFile *file;
	DsStatus status;
	DsPlanPart part = {
		.tensor = "t", .dtype = DS_DTYPE_F32, .rows = 1500, .columns = 3001, .transpose = true};
	float *scales;
	Written written;
	uint64_t wrong = 0;

	ds_arena_init(&arena, NULL);
	ds_plan_init(&plan, &arena);
	source_values = part.rows * part.columns;
	source_largest = 0;
	scales = ds_arena_alloc(&arena, part.rows, sizeof(float));
	CHECK(ds_plan_begin(&plan, "large", &file, &status) == DS_OK &&
			  ds_plan_bytes(&plan, file, "head", 4, &status) == DS_OK &&
			  ds_plan_tensor(&plan, file, &part, &status) == DS_OK &&
			  ds_plan_bytes(&plan, file, "tail", 4, &status) == DS_OK &&
			  file->size == 8 + 4 * source_values,
		  "a large file is planned");
	written = write_file(file, DS_OK);
	for (uint64_t i = 0; i < source_values; i++)
	{
		float value;

		ds_dtype_to_float(DS_DTYPE_F32, written.bytes + 4 + 4 * i, 1, &value);
		wrong += value != (float) (i % part.rows * part.columns + i / part.rows) / 4 - 100;
	}
	CHECK(wrong == 0 && memcmp(written.bytes, "head", 4) == 0 &&
			  memcmp(written.bytes + written.size - 4, "tail", 4) == 0,
		  "and written, transposed");
	CHECK(source_largest <= 2u << 20, "at most 8 MB at a time are read");
	free(written.bytes);

	for (uint64_t r = 0; r < part.rows; r++)
		scales[r] = r == 7 ? 0 : 30000.0f / (float) (r + 1);
	part.scales = scales;
	part.dtype = DS_DTYPE_I8;
	part.transpose = false;
	CHECK(ds_plan_begin(&plan, "scaled", &file, &status) == DS_OK &&
			  ds_plan_tensor(&plan, file, &part, &status) == DS_OK,
		  "a table of i8");
	written = write_file(file, DS_OK);
	wrong = 0;
	for (uint64_t i = 0; i < source_values; i++)
	{
		uint64_t r = i / part.columns;
		float value = ((float) i / 4 - 100) / scales[r];
		float limited = value > 127 ? 127 : value < -127 ? -127 : value;

		wrong += (signed char) written.bytes[i] != (r == 7 ? 0 : (int) rintf(limited));
	}
	CHECK(wrong == 0, "by the scales of its rows");
	free(written.bytes);
	ds_arena_free(&arena);
}

int
main(void)
{
	test_halves();
	test_integers();
	test_safetensors();
	test_large();
	return unit_done();
}
