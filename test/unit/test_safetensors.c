/*
 * test_safetensors.c
 *		Files of tensors: what is read, what is refused and in which words, models in
 *		parts, element types.
 */
#include "unit.h"

#include "base/random.h"
#include "format/safetensors.h"
#include "memory_folder.h"

static DsStatus status;
static DsArena arena;
static DsArena scratch;
static MemoryFolder memory;

#define TWO                                                                           \
	"{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"F32\",\"shape\":[2,1]," \
	"\"data_offsets\":[0,8]},\"a.weight\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[8,14]}}"

static DsCode
open_header(const char *header, size_t data, DsTensorFiles *files)
{
	memory_put_safetensors(&memory, "m.safetensors", header, data);
	status.message[0] = 0;
	return ds_safetensors_open(&memory.folder, "m.safetensors", &arena, &scratch, files, &status);
}

static void
test_open(void)
{
	DsTensorFiles files;
	const DsTensorInfo *a;
	const DsTensorInfo *b;
	unsigned char bytes[8];
	float floats[2];

	CHECK(open_header(TWO, 14, &files) == DS_OK, "a small file opens");
	a = ds_tensors_find(&files, "a.weight");
	b = ds_tensors_find(&files, "b");
	CHECK(files.count == 2 && a != NULL && b != NULL && ds_tensors_find(&files, "a") == NULL &&
			  ds_tensors_find(&files, "__metadata__") == NULL,
		  "it has two tensors");
	CHECK(b->dtype == DS_DTYPE_F32 && b->rank == 2 && b->shape[0] == 2 && b->shape[1] == 1 &&
			  b->elements == 2 && b->bytes == 8 && b->offset == 8 + strlen(TWO),
		  "type, shape and place of one");
	CHECK(a->dtype == DS_DTYPE_F16 && a->rank == 1 && a->elements == 3 &&
			  a->offset == 16 + strlen(TWO),
		  "and of the other");
	CHECK(ds_tensors_read(&files, a, 2, bytes, 4, &status) == DS_OK && bytes[0] == 10 &&
			  bytes[3] == 13,
		  "bytes are read from the middle");
	CHECK(ds_tensors_read(&files, a, 3, bytes, 4, &status) == DS_INVALID &&
			  ds_tensors_read(&files, a, UINT64_MAX, bytes, 2, &status) == DS_INVALID,
		  "not beyond the end");
	CHECK(ds_tensors_read_floats(&files, b, 1, 1, floats, &status) == DS_OK &&
			  floats[0] > 1.0e-34f && floats[0] < 2.0e-34f,
		  "floats are read from the middle");
	CHECK(ds_tensors_read_floats(&files, b, 1, 2, floats, &status) == DS_INVALID,
		  "not beyond the end");
	memory.fail_at = memory.reads + 1;
	CHECK(ds_tensors_read_floats(&files, b, 0, 2, floats, &status) == DS_BAD_DATA &&
			  strcmp(status.message, "cannot read m.safetensors") == 0,
		  "a read that fails is passed on");
	memory.fail_at = 0;

	CHECK(open_header("{}", 0, &files) == DS_OK && files.count == 0 &&
			  ds_tensors_find(&files, "a") == NULL,
		  "a file without tensors");
	CHECK(open_header("{\"s\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8],\"more\":1},"
					  "\"e\":{\"dtype\":\"F32\",\"shape\":[4,0],\"data_offsets\":[8,8]}}   \n",
					  8, &files) == DS_OK &&
			  files.tensors[1].elements == 1 && files.tensors[1].rank == 0 &&
			  files.tensors[0].elements == 0,
		  "a number, an empty tensor, white space behind the header");
	CHECK(open_header("{\"a\\u00e9\\\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
					  1, &files) == DS_OK &&
			  ds_tensors_find(&files, "aé\"") != NULL,
		  "escapes in names");
	CHECK(open_header("{\"a\":{\"dtype\":\"F4\",\"shape\":[2,3],\"data_offsets\":[0,3]}}", 3,
					  &files) == DS_OK &&
			  ds_tensors_read_floats(&files, files.tensors, 0, 1, floats, &status) ==
				  DS_UNSUPPORTED &&
			  strcmp(status.message, "tensor \"a\" is of type F4, which is not read as weights") ==
				  0,
		  "a type that is not read is refused when it is asked for: %s", status.message);
	CHECK(ds_safetensors_open(&memory.folder, "none", &arena, &scratch, &files, &status) ==
				  DS_BAD_DATA &&
			  strcmp(status.message, "none is missing") == 0,
		  "a missing file");
}

static void
refused(const char *header, size_t data, DsCode expected, const char *message)
{
	DsTensorFiles files;
	DsCode code = open_header(header, data, &files);

	CHECK(code == expected && strstr(status.message, message) != NULL, "refused: %s",
		  status.message);
}

#define ENTRY(name, dtype, shape, offsets) \
	"\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" offsets "]}"
#define ONE(name, dtype, shape, offsets) "{" ENTRY(name, dtype, shape, offsets) "}"

static void
test_refused(void)
{
	char header[4096];
	char *large;
	size_t used;
	DsTensorFiles files;

	refused(ONE("t", "F32", "2", "0,8"), 7, DS_BAD_DATA,
			"is cut short or lies about its contents: tensor \"t\" ends at byte");
	refused(ONE("t", "F32", "2", "0,8"), 9, DS_BAD_DATA, "1 bytes follow the last tensor");
	refused(ONE("t", "F32", "2", "1,9"), 9, DS_BAD_DATA,
			"1 bytes before tensor \"t\" belong to no tensor");
	refused("{" ENTRY("x", "F32", "2", "0,8") "," ENTRY("y", "F32", "2", "4,12") "}", 12,
			DS_BAD_DATA, "tensors \"x\" and \"y\" overlap");
	refused("{" ENTRY("x", "F32", "2", "0,8") "," ENTRY("y", "F32", "2", "0,8") "}", 8, DS_BAD_DATA,
			"overlap");
	refused("{" ENTRY("x", "F32", "2", "0,8") "," ENTRY("y", "F32", "0", "4,4") "}", 8, DS_BAD_DATA,
			"overlap");
	refused("{" ENTRY("x", "F32", "2", "0,8") "," ENTRY("y", "F32", "2", "9,17") "}", 17,
			DS_BAD_DATA, "1 bytes before tensor \"y\"");
	refused("{" ENTRY("x", "F32", "2", "0,8") "," ENTRY("x", "F32", "2", "8,16") "}", 16,
			DS_BAD_DATA, "tensor \"x\" is there twice");
	refused("{" ENTRY("x", "F32", "2", "0,8") "," ENTRY("\\u0078", "F32", "2", "8,16") "}", 16,
			DS_BAD_DATA, "tensor \"x\" is there twice");
	refused(ONE("t", "F32", "2", "0,12"), 12, DS_BAD_DATA,
			"tensor \"t\" has 12 bytes, but its shape and type F32 need 8");
	refused(ONE("t", "Q4", "2", "0,8"), 8, DS_UNSUPPORTED,
			"tensor \"t\" is of unknown type \"Q4\"");
	refused(ONE("t", "f32", "2", "0,8"), 8, DS_UNSUPPORTED, "unknown type \"f32\"");
	refused(ONE("t", "F4", "3", "0,2"), 2, DS_BAD_DATA, "no number of bytes");
	refused(ONE("t", "F32", "4294967296,4294967296", "0,0"), 0, DS_BAD_DATA, "overflow");
	refused(ONE("t", "F64", "1152921504606846976,1", "0,0"), 0, DS_BAD_DATA, "overflow");
	/* the product comes back to zero by a later dimension, the overflow does not go away */
	refused(ONE("t", "F32", "4294967296,4294967296,0", "0,0"), 0, DS_BAD_DATA, "overflow");
	refused(ONE("t", "F32", "99999999999999999999", "0,8"), 8, DS_BAD_DATA, "dimension");
	refused(ONE("t", "F32", "-2", "0,8"), 8, DS_BAD_DATA, "dimension");
	refused(ONE("t", "F32", "2.0", "0,8"), 8, DS_BAD_DATA, "dimension");
	refused(ONE("t", "F32", "\"2\"", "0,8"), 8, DS_BAD_DATA, "dimension");
	refused(ONE("t", "F32", "1,1,1,1,1,1,1,1,2", "0,8"), 8, DS_TOO_LARGE, "more than 8 dimensions");
	refused(ONE("t", "F32", "2", "0,8,8"), 8, DS_BAD_DATA, "data_offsets");
	refused(ONE("t", "F32", "2", "8"), 8, DS_BAD_DATA, "data_offsets");
	refused(ONE("t", "F32", "2", "8,0"), 8, DS_BAD_DATA, "data_offsets");
	refused(ONE("t", "F32", "2", "-8,0"), 8, DS_BAD_DATA, "data_offsets");
	refused(ONE("t", "F32", "2", "9223372036854775808,9223372036854775816"), 8, DS_BAD_DATA,
			"data_offsets");
	refused(ONE("t", "F32", "2", "4611686018427387900,4611686018427387908"), 8, DS_BAD_DATA,
			"tensor \"t\"");
	refused(ONE("", "F32", "2", "0,8"), 8, DS_BAD_DATA, "is empty");
	refused(ONE("a\\u0000b", "F32", "2", "0,8"), 8, DS_BAD_DATA, "zero byte");
	refused("{\"t\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, DS_BAD_DATA, "missing");
	refused("{\"t\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
			DS_BAD_DATA, "there twice");
	refused("{\"t\":[]}", 0, DS_BAD_DATA, "no object");
	refused("{\"__metadata__\":{\"a\":1}}", 0, DS_BAD_DATA, "__metadata__");
	refused("{\"__metadata__\":{},\"__metadata__\":{}}", 0, DS_BAD_DATA, "twice");
	refused("{\"__metadata__\":[]}", 0, DS_BAD_DATA, "__metadata__");
	refused("{\"t\":", 0, DS_BAD_DATA, "the header of m.safetensors is not valid JSON");
	refused("{} {}", 0, DS_BAD_DATA, "more follows");
	refused(" {}", 0, DS_BAD_DATA, "no safetensors file");
	refused("[]", 0, DS_BAD_DATA, "no safetensors file");

	/* nesting */
	used = (size_t) sprintf(header, "{\"t\":");
	for (int i = 0; i < 1000; i++)
		header[used++] = '[';
	header[used] = 0;
	refused(header, 0, DS_BAD_DATA, "nested too deep");

	/* a header's length that is a lie, or too much */
	memory_put(&memory, "m.safetensors", "\377\377\377\377\377\377\377\377{}", 10);
	CHECK(ds_safetensors_open(&memory.folder, "m.safetensors", &arena, &scratch, &files, &status) ==
			  DS_BAD_DATA,
		  "a header of 2^64 - 1 bytes: %s", status.message);
	memory_put(&memory, "m.safetensors", "\0\0\0\1\0\0\0\0{}", 10);
	CHECK(ds_safetensors_open(&memory.folder, "m.safetensors", &arena, &scratch, &files, &status) ==
			  DS_TOO_LARGE,
		  "a header of 16 MB: %s", status.message);
	memory_put(&memory, "m.safetensors", "\3\0\0\0\0\0\0\0{}", 10);
	CHECK(ds_safetensors_open(&memory.folder, "m.safetensors", &arena, &scratch, &files, &status) ==
				  DS_BAD_DATA &&
			  strstr(status.message, "cut short: its header") != NULL,
		  "cut in its header: %s", status.message);
	memory_put(&memory, "m.safetensors", "\2\0\0\0\0\0\0\0{", 9);
	CHECK(ds_safetensors_open(&memory.folder, "m.safetensors", &arena, &scratch, &files, &status) ==
			  DS_BAD_DATA,
		  "cut to nine bytes: %s", status.message);
	memory_put(&memory, "m.safetensors", "PK\3\4\0\0\0\0\0\0\0", 11);
	CHECK(ds_safetensors_open(&memory.folder, "m.safetensors", &arena, &scratch, &files, &status) ==
				  DS_UNSUPPORTED &&
			  strstr(status.message, "pickle") != NULL,
		  "a pickle under a wrong name: %s", status.message);

	/* 70,000 tensors */
	large = malloc(70000 * 80);
	used = (size_t) sprintf(large, "{");
	for (int i = 0; i < 70000; i++)
		used += (size_t) sprintf(
			large + used, "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
			i > 0 ? "," : "", i);
	strcpy(large + used, "}");
	refused(large, 0, DS_TOO_LARGE, "more than 65536 tensors");
	free(large);
	CHECK(scratch.allocated == 0, "scratch is given back");

	/* a name of control characters, 600 bytes */
	used = (size_t) sprintf(header, "{\"");
	for (int i = 0; i < 300; i++)
		used += (size_t) sprintf(header + used, i % 2 ? "\\n" : "é");
	sprintf(header + used, "\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,9]}}");
	refused(header, 9, DS_BAD_DATA, "é?é?");
	CHECK(strchr(status.message, '\n') == NULL && strlen(status.message) < 300,
		  "names are cut and cleaned in messages");
}

/* a file cut at any length, any byte changed: refused or the same number of tensors, no read outside */
static void
test_damaged(void)
{
	size_t size = 8 + strlen(TWO) + 14;
	size_t opened = 0;
	DsTensorFiles files;
	unsigned char original[512];

	memory_put_safetensors(&memory, "whole", TWO, 14);
	memcpy(original, memory_find(&memory, "whole")->bytes, size);
	for (size_t length = 0; length < size; length++)
	{
		memory_put(&memory, "cut", original, length);
		opened +=
			ds_safetensors_open(&memory.folder, "cut", &arena, &scratch, &files, &status) == DS_OK;
	}
	CHECK(opened == 0, "cut at each of %zu lengths: refused", size);
	opened = 0;
	for (size_t i = 0; i < size * 8; i++)
	{
		unsigned char copy[512];
		float floats[3];

		memcpy(copy, original, size);
		copy[i / 8] ^= (unsigned char) (1 << i % 8);
		memory_put(&memory, "flipped", copy, size);
		if (ds_safetensors_open(&memory.folder, "flipped", &arena, &scratch, &files, &status) !=
			DS_OK)
			continue;
		opened++;
		for (size_t t = 0; t < files.count; t++)
			if (ds_dtype_has_floats(files.tensors[t].dtype))
				ds_tensors_read_floats(
					&files, &files.tensors[t], 0,
					files.tensors[t].elements < 3 ? files.tensors[t].elements : 3, floats, &status);
	}
	CHECK(opened > 14 * 8 && opened < size * 8, "flipped bits: %zu of %zu still open", opened,
		  size * 8);
}

static DsCode
open_sharded(const char *index, DsTensorFiles *files)
{
	memory_put_text(&memory, "model.safetensors.index.json", index);
	status.message[0] = 0;
	return ds_safetensors_open_sharded(&memory.folder, "model.safetensors.index.json", &arena,
									   &scratch, files, &status);
}

static void
sharded_refused(const char *index, DsCode expected, const char *message)
{
	DsTensorFiles files;
	DsCode code = open_sharded(index, &files);

	CHECK(code == expected && strstr(status.message, message) != NULL, "refused: %s",
		  status.message);
}

static void
test_sharded(void)
{
	DsTensorFiles files;
	const DsTensorInfo *x;
	const DsTensorInfo *z;
	unsigned char byte;

	memory_put_safetensors(&memory, "model-1.safetensors",
						   "{" ENTRY("x", "F32", "2", "0,8") "," ENTRY("y", "I8", "4", "8,12") "}",
						   12);
	memory_put_safetensors(&memory, "model-2.safetensors",
						   "{" ENTRY("x", "I8", "1", "0,1") "," ENTRY("z", "I8", "4", "1,5") "}",
						   5);
	CHECK(open_sharded("{\"metadata\":{\"total_size\":17},\"weight_map\":{\"z\":"
					   "\"model-2.safetensors\",\"x\":\"model-1.safetensors\"}}",
					   &files) == DS_OK &&
			  files.count == 2 && files.file_count == 2,
		  "two parts");
	x = ds_tensors_find(&files, "x");
	z = ds_tensors_find(&files, "z");
	CHECK(x != NULL && x->dtype == DS_DTYPE_F32 && z != NULL &&
			  strcmp(files.files[z->file], "model-2.safetensors") == 0 &&
			  ds_tensors_find(&files, "y") == NULL,
		  "the map says where a tensor is and which there are");
	CHECK(ds_tensors_read(&files, z, 3, &byte, 1, &status) == DS_OK && byte == 4,
		  "it is read from its part");

	sharded_refused("{\"weight_map\":{\"x\":\"model-3.safetensors\"}}", DS_BAD_DATA,
					"model-3.safetensors is missing");
	sharded_refused("{\"weight_map\":{\"q\":\"model-1.safetensors\"}}", DS_BAD_DATA,
					"tensor \"q\" is not in model-1.safetensors, where "
					"model.safetensors.index.json says it is");
	sharded_refused("{\"weight_map\":{\"x\":\"../model-1.safetensors\"}}", DS_BAD_DATA,
					"the file name \"../model-1.safetensors\" is not one of this folder");
	sharded_refused("{\"weight_map\":{\"x\":\"..\"}}", DS_BAD_DATA, "not one of this folder");
	sharded_refused("{\"weight_map\":{\"x\":\"/etc/passwd\"}}", DS_BAD_DATA, "not one of this");
	sharded_refused("{\"weight_map\":{\"x\":\"a\\u002fb\"}}", DS_BAD_DATA, "not one of this");
	sharded_refused("{\"weight_map\":{\"x\":\"a\\\\b\"}}", DS_BAD_DATA, "not one of this");
	sharded_refused("{\"weight_map\":{\"x\":\"a\\nb\"}}", DS_BAD_DATA, "not one of this");
	sharded_refused("{\"weight_map\":{\"x\":\"a\\u0000\"}}", DS_BAD_DATA, "zero byte");
	sharded_refused("{\"weight_map\":{\"x\":\"\"}}", DS_BAD_DATA, "empty");
	sharded_refused("{\"weight_map\":{\"x\":1}}", DS_BAD_DATA, "no string");
	sharded_refused("{\"weight_map\":[]}", DS_BAD_DATA, "no object weight_map");
	sharded_refused("{\"weight_map\":{}}", DS_BAD_DATA, "names no tensors");
	sharded_refused("[]", DS_BAD_DATA, "no object weight_map");
	sharded_refused("{", DS_BAD_DATA, "not valid JSON");
	sharded_refused(
		"{\"weight_map\":{\"x\":\"model-1.safetensors\",\"x\":\"model-1.safetensors\"}}",
		DS_BAD_DATA, "tensor \"x\" is there twice");
	sharded_refused(
		"{\"weight_map\":{\"x\":\"model-1.safetensors\",\"x\":\"model-2.safetensors\"}}",
		DS_BAD_DATA, "tensor \"x\" is there twice");
	CHECK(scratch.allocated == 0, "scratch is given back");
	CHECK(ds_safetensors_open_sharded(&memory.folder, "none.json", &arena, &scratch, &files,
									  &status) == DS_BAD_DATA,
		  "a missing index: %s", status.message);
}

/* the definition, without tricks */
static float
half(uint32_t bits)
{
	uint32_t exponent = bits >> 10 & 31;
	double fraction = (double) (bits & 1023);
	double value = exponent == 31  ? (fraction > 0 ? NAN : INFINITY)
				   : exponent == 0 ? ldexp(fraction, -24)
								   : ldexp(1024 + fraction, (int) exponent - 25);

	return (float) (bits & 0x8000 ? -value : value);
}

static void
test_dtypes(void)
{
	size_t wrong = 0;
	static unsigned char in[65536 * 2 + 1];
	static float out[65536];
	unsigned char wide[16];
	double pi = 3.14159265358979;
	int64_t minus = -3;

	/* from an odd address */
	for (uint32_t i = 0; i < 65536; i++)
	{
		in[1 + 2 * i] = (unsigned char) i;
		in[2 + 2 * i] = (unsigned char) (i >> 8);
	}
	ds_dtype_to_float(DS_DTYPE_F16, in + 1, 65536, out);
	for (uint32_t i = 0; i < 65536; i++)
	{
		float expected = half(i);

		wrong += isnan(expected) ? !isnan(out[i]) : memcmp(&expected, &out[i], 4) != 0;
	}
	CHECK(wrong == 0, "f16: all 65536 values are exact");
	ds_dtype_to_float(DS_DTYPE_BF16, in + 1, 65536, out);
	wrong = 0;
	for (uint32_t i = 0; i < 65536; i++)
	{
		uint32_t bits = i << 16;

		wrong += memcmp(&bits, &out[i], 4) != 0;
	}
	CHECK(wrong == 0, "bf16: all 65536 values are exact");
	ds_dtype_to_float(DS_DTYPE_I8, "\200\377\0\177", 4, out);
	CHECK(out[0] == -128 && out[1] == -1 && out[2] == 0 && out[3] == 127, "i8");
	memcpy(wide, &pi, 8);
	ds_dtype_to_float(DS_DTYPE_F64, wide, 1, out);
	memcpy(wide, &minus, 8);
	ds_dtype_to_float(DS_DTYPE_I64, wide, 1, out + 1);
	ds_dtype_to_float(DS_DTYPE_I32, wide, 1, out + 2);
	CHECK(out[0] == (float) pi && out[1] == -3 && out[2] == -3, "f64, i64, i32");
	for (DsDtype dtype = DS_DTYPE_F32; dtype <= DS_DTYPE_C64; dtype++)
		wrong += ds_dtype_find(ds_dtype_name(dtype), strlen(ds_dtype_name(dtype))) != dtype ||
				 ds_dtype_bits(dtype) == 0;
	CHECK(wrong == 0 && ds_dtype_find("F3", 2) == DS_DTYPE_NONE &&
			  ds_dtype_name(DS_DTYPE_NONE) == NULL && ds_dtype_name((DsDtype) 99) == NULL,
		  "names of types");
}

/* more elements than the buffer holds, from a place inside */
static void
test_streamed(void)
{
	DsTensorFiles files;
	unsigned char *bytes;
	size_t n = 20001;
	float *out = malloc(n * sizeof(float));
	size_t wrong = 0;
	DsRandom random;
	char header[200];

	ds_random_init(&random, 1, 1);
	sprintf(header, ONE("w", "BF16", "%zu", "0,%zu"), n, n * 2);
	memory_put_safetensors(&memory, "m.safetensors", header, n * 2);
	bytes = memory_find(&memory, "m.safetensors")->bytes + 8 + strlen(header);
	for (size_t i = 0; i < n * 2; i++)
		bytes[i] = (unsigned char) ds_random_next(&random);
	CHECK(ds_safetensors_open(&memory.folder, "m.safetensors", &arena, &scratch, &files, &status) ==
			  DS_OK,
		  "a file of %zu elements", n);
	memory.largest = 0;
	CHECK(ds_tensors_read_floats(&files, files.tensors, 1, n - 1, out, &status) == DS_OK &&
			  memory.largest <= 8192,
		  "is read piece by piece");
	for (size_t i = 1; i < n; i++)
	{
		float expected;

		ds_dtype_to_float(DS_DTYPE_BF16, bytes + 2 * i, 1, &expected);
		wrong += memcmp(&expected, &out[i - 1], 4) != 0;
	}
	CHECK(wrong == 0, "with the right values");
	free(out);
}

static void
test_folder(void)
{
	char *text;
	size_t length;
	char shown[DS_SHOWN_SIZE];
	char name[400];

	memory_put_text(&memory, "small.json", "{}");
	memory_put_text(&memory, "empty", "");
	CHECK(ds_folder_load(&memory.folder, "small.json", 2, &arena, &text, &length, &status) ==
				  DS_OK &&
			  length == 2 && strcmp(text, "{}") == 0,
		  "a small file is loaded");
	CHECK(ds_folder_load(&memory.folder, "small.json", 1, &arena, &text, &length, &status) ==
				  DS_TOO_LARGE &&
			  strcmp(status.message, "small.json has 2 bytes, at most 1 are read") == 0,
		  "not beyond the limit: %s", status.message);
	CHECK(ds_folder_load(&memory.folder, "empty", 9, &arena, &text, &length, &status) == DS_OK &&
			  length == 0 && text != NULL,
		  "an empty file");
	CHECK(ds_folder_load(&memory.folder, "none", 9, &arena, &text, &length, &status) == DS_OK &&
			  text == NULL,
		  "a file that is not there");
	CHECK(ds_folder_plain_name("a-00001-of-00002.safetensors", 28) &&
			  ds_folder_plain_name(".a", 2) && ds_folder_plain_name("..a", 3) &&
			  !ds_folder_plain_name(".", 1) && !ds_folder_plain_name("..", 2) &&
			  !ds_folder_plain_name("", 0) && !ds_folder_plain_name("a/b", 3) &&
			  !ds_folder_plain_name("a\177", 2),
		  "plain names");
	memset(name, 'x', sizeof(name));
	name[399] = 0;
	CHECK(!ds_folder_plain_name(name, 256) && ds_folder_plain_name(name, 255), "their length");
	strcpy(name + 99, "é and more");
	CHECK(strlen(ds_shown(shown, name)) == 99 + 3 && strcmp(shown + 99, "...") == 0,
		  "a name is cut before a character");

	CHECK(ds_file_kind("PK\3\4", 4) == DS_FILE_ZIP &&
			  ds_file_kind("\200\2}q", 4) == DS_FILE_PICKLE &&
			  ds_file_kind("\211HDF\r\n\032\n", 8) == DS_FILE_HDF5 &&
			  ds_file_kind("GGUF", 4) == DS_FILE_GGUF &&
			  ds_file_kind("\200\2\0\0\0\0\0\0{", 9) == DS_FILE_SAFETENSORS &&
			  ds_file_kind("\2\0\0\0\0\0\0\0{}", 10) == DS_FILE_SAFETENSORS &&
			  ds_file_kind("", 0) == DS_FILE_OTHER && ds_file_kind("hello", 5) == DS_FILE_OTHER,
		  "kinds of files by their first bytes");
	CHECK(ds_fail_file_kind(&status, "pytorch_model.bin", DS_FILE_ZIP) == DS_UNSUPPORTED &&
			  strstr(status.message, "save_pretrained") != NULL,
		  "%s", status.message);
}

/* out of memory at each allocation */
static size_t allocations_left;

static void *
allocate(void *context, size_t size)
{
	(void) context;
	return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void
release(void *context, void *pointer)
{
	(void) context;
	free(pointer);
}

static void
test_memory(void)
{
	DsAllocator allocator = {allocate, release, NULL};
	size_t refusals = 0;
	size_t n = 0;

	memory_put_safetensors(&memory, "model-1.safetensors", ONE("x", "F32", "2", "0,8"), 8);
	memory_put_text(&memory, "index.json", "{\"weight_map\":{\"x\":\"model-1.safetensors\"}}");
	for (;; n++)
	{
		DsArena small;
		DsArena small_scratch;
		DsTensorFiles files;
		DsCode code;

		ds_arena_init(&small, &allocator);
		ds_arena_init(&small_scratch, &allocator);
		allocations_left = n;
		code = ds_safetensors_open_sharded(&memory.folder, "index.json", &small, &small_scratch,
										   &files, &status);
		ds_arena_free(&small);
		ds_arena_free(&small_scratch);
		if (code == DS_OK || n == 100)
			break;
		refusals += code == DS_OUT_OF_MEMORY;
	}
	CHECK(n > 2 && refusals == n && n < 100, "out of memory at each of %zu allocations", n);
}

int
main(void)
{
	ds_arena_init(&arena, NULL);
	ds_arena_init(&scratch, NULL);
	memory_open(&memory);
	test_folder();
	test_dtypes();
	test_open();
	test_refused();
	test_damaged();
	test_sharded();
	test_streamed();
	test_memory();
	memory_close(&memory);
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	return unit_done();
}
