/*
 * dtype.c
 *		Element types of stored tensors.
 */
#include "format/dtype.h"

#include <math.h>
#include <string.h>

#include "text/blob.h"

static const struct
{
	const char *name;
	unsigned bits;
} dtypes[] = {
	[DS_DTYPE_NONE] = {NULL, 0},
	[DS_DTYPE_F32] = {"F32", 32},
	[DS_DTYPE_F16] = {"F16", 16},
	[DS_DTYPE_BF16] = {"BF16", 16},
	[DS_DTYPE_I8] = {"I8", 8},
	[DS_DTYPE_U8] = {"U8", 8},
	[DS_DTYPE_F64] = {"F64", 64},
	[DS_DTYPE_I64] = {"I64", 64},
	[DS_DTYPE_I32] = {"I32", 32},
	[DS_DTYPE_I16] = {"I16", 16},
	[DS_DTYPE_U64] = {"U64", 64},
	[DS_DTYPE_U32] = {"U32", 32},
	[DS_DTYPE_U16] = {"U16", 16},
	[DS_DTYPE_BOOL] = {"BOOL", 8},
	[DS_DTYPE_F8_E4M3] = {"F8_E4M3", 8},
	[DS_DTYPE_F8_E5M2] = {"F8_E5M2", 8},
	[DS_DTYPE_F8_E8M0] = {"F8_E8M0", 8},
	[DS_DTYPE_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8},
	[DS_DTYPE_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8},
	[DS_DTYPE_F6_E2M3] = {"F6_E2M3", 6},
	[DS_DTYPE_F6_E3M2] = {"F6_E3M2", 6},
	[DS_DTYPE_F4] = {"F4", 4},
	[DS_DTYPE_C64] = {"C64", 64},
};

#define DTYPES (sizeof(dtypes) / sizeof(dtypes[0]))

const char *
ds_dtype_name(DsDtype dtype)
{
	return (size_t) dtype < DTYPES ? dtypes[dtype].name : NULL;
}

unsigned
ds_dtype_bits(DsDtype dtype)
{
	return (size_t) dtype < DTYPES ? dtypes[dtype].bits : 0;
}

DsDtype
ds_dtype_find(const char *name, size_t length)
{
	for (size_t i = 1; i < DTYPES; i++)
		if (strlen(dtypes[i].name) == length && memcmp(dtypes[i].name, name, length) == 0)
			return (DsDtype) i;
	return DS_DTYPE_NONE;
}

bool
ds_dtype_has_floats(DsDtype dtype)
{
	switch (dtype)
	{
		case DS_DTYPE_F32:
		case DS_DTYPE_F16:
		case DS_DTYPE_BF16:
		case DS_DTYPE_I8:
		case DS_DTYPE_I32:
		case DS_DTYPE_I64:
		case DS_DTYPE_F64:
			return true;
		default:
			return false;
	}
}

static float
float_of_bits(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/*
 * Without branches, so that the loop over it becomes vector code: the
 * exponent is moved to its new place and bias; subnormals are made by
 * subtracting two normal numbers, which is exact.
 */
static float
float_of_half(uint32_t half)
{
	uint32_t magnitude = (half & 0x7FFF) << 13;
	uint32_t exponent = magnitude & 0x0F800000;
	float value = float_of_bits(magnitude + (112u << 23));
	float special = float_of_bits(magnitude + (224u << 23));
	float subnormal = float_of_bits(magnitude + (113u << 23)) - float_of_bits(113u << 23);
	uint32_t bits;

	value = exponent == 0x0F800000 ? special : value;
	value = exponent == 0 ? subnormal : value;
	memcpy(&bits, &value, sizeof(bits));
	return float_of_bits(bits | (half & 0x8000) << 16);
}

void
ds_dtype_to_float(DsDtype dtype, const void *in, size_t count, float *out)
{
	const unsigned char *restrict p = in;
	float *restrict result = out;

	switch (dtype)
	{
		case DS_DTYPE_F32:
			for (size_t i = 0; i < count; i++)
				result[i] = float_of_bits(ds_read_u32(p + 4 * i));
			break;
		case DS_DTYPE_F16:
			for (size_t i = 0; i < count; i++)
				result[i] = float_of_half((uint32_t) p[2 * i] | (uint32_t) p[2 * i + 1] << 8);
			break;
		case DS_DTYPE_BF16:
			for (size_t i = 0; i < count; i++)
				result[i] =
					float_of_bits((uint32_t) p[2 * i] << 16 | (uint32_t) p[2 * i + 1] << 24);
			break;
		case DS_DTYPE_I8:
			for (size_t i = 0; i < count; i++)
				result[i] = (float) (int8_t) p[i];
			break;
		case DS_DTYPE_I32:
			for (size_t i = 0; i < count; i++)
				result[i] = (float) (int32_t) ds_read_u32(p + 4 * i);
			break;
		case DS_DTYPE_I64:
			for (size_t i = 0; i < count; i++)
				result[i] = (float) (int64_t) ds_read_u64(p + 8 * i);
			break;
		case DS_DTYPE_F64:
			for (size_t i = 0; i < count; i++)
			{
				uint64_t bits = ds_read_u64(p + 8 * i);
				double value;

				memcpy(&value, &bits, sizeof(value));
				result[i] = (float) value;
			}
			break;
		default:
			memset(out, 0, count * sizeof(float));
			break;
	}
}

static uint32_t
bits_of_float(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static uint32_t
half_of_float(float value)
{
	uint32_t bits = bits_of_float(value);
	uint32_t sign = bits >> 16 & 0x8000;
	uint32_t magnitude = bits & 0x7FFFFFFF;
	float rounded;

	if (magnitude > 0x7F800000)
		return sign | 0x7E00;
	/* 65520 and more round to infinity */
	if (magnitude >= 0x477FF000)
		return sign | 0x7C00;
	if (magnitude >= 0x38800000)
		return sign | ((magnitude + 0xFFF + (magnitude >> 13 & 1) - (112u << 23)) >> 13);
	/* subnormal: adding a number whose last bit is the smallest half rounds as it should */
	rounded = float_of_bits(magnitude) + float_of_bits(126u << 23);
	return sign | (bits_of_float(rounded) - (126u << 23));
}

static uint32_t
bf16_of_float(float value)
{
	uint32_t bits = bits_of_float(value);

	if ((bits & 0x7FFFFFFF) > 0x7F800000)
		return bits >> 16 | 0x40;
	return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}

static int64_t
integer_of(float value, float least, float most)
{
	if (!(value >= least))
		return value < least ? (int64_t) least : 0;
	return value > most ? (int64_t) most : (int64_t) rintf(value);
}

void
ds_dtype_from_float(DsDtype dtype, const float *in, size_t count, void *out)
{
	unsigned char *p = out;

	switch (dtype)
	{
		case DS_DTYPE_F32:
			for (size_t i = 0; i < count; i++)
				ds_write_u32(p + 4 * i, bits_of_float(in[i]));
			break;
		case DS_DTYPE_F16:
		case DS_DTYPE_BF16:
			for (size_t i = 0; i < count; i++)
			{
				uint32_t half = dtype == DS_DTYPE_F16 ? half_of_float(in[i]) : bf16_of_float(in[i]);

				p[2 * i] = (unsigned char) half;
				p[2 * i + 1] = (unsigned char) (half >> 8);
			}
			break;
		case DS_DTYPE_I8:
			for (size_t i = 0; i < count; i++)
				p[i] = (unsigned char) integer_of(in[i], -127, 127);
			break;
		case DS_DTYPE_I32:
			for (size_t i = 0; i < count; i++)
				ds_write_u32(p + 4 * i,
							 (uint32_t) integer_of(in[i], -2147483648.0f, 2147483520.0f));
			break;
		case DS_DTYPE_I64:
			for (size_t i = 0; i < count; i++)
				ds_write_u64(p + 8 * i, (uint64_t) integer_of(in[i], -9.2e18f, 9.2e18f));
			break;
		default:
			memset(out, 0, count * (ds_dtype_bits(dtype) / 8));
			break;
	}
}
