/*
 * dtype.h
 *		The element types of stored tensors, and their values as float.
 *
 * Stored numbers are little-endian.  Weights are used in f32, f16, bf16 and
 * i8; the other types exist so that a file that holds them beside the weights
 * (position ids in i64, token weights in f64) can be described and checked.
 */
#ifndef DS_DTYPE_H
#define DS_DTYPE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef enum DsDtype
{
	DS_DTYPE_NONE = 0,
	DS_DTYPE_F32,
	DS_DTYPE_F16,
	DS_DTYPE_BF16,
	DS_DTYPE_I8,
	DS_DTYPE_U8,
	DS_DTYPE_F64,
	DS_DTYPE_I64,
	DS_DTYPE_I32,
	DS_DTYPE_I16,
	DS_DTYPE_U64,
	DS_DTYPE_U32,
	DS_DTYPE_U16,
	DS_DTYPE_BOOL,
	DS_DTYPE_F8_E4M3,
	DS_DTYPE_F8_E5M2,
	DS_DTYPE_F8_E8M0,
	DS_DTYPE_F8_E4M3FNUZ,
	DS_DTYPE_F8_E5M2FNUZ,
	DS_DTYPE_F6_E2M3,
	DS_DTYPE_F6_E3M2,
	DS_DTYPE_F4,
	DS_DTYPE_C64
} DsDtype;

/* as safetensors writes it ("BF16"), NULL for none */
extern const char *ds_dtype_name(DsDtype dtype);
extern DsDtype ds_dtype_find(const char *name, size_t length);
/* bits of one element; 0 for none */
extern unsigned ds_dtype_bits(DsDtype dtype);

/* f32, f16, bf16, i8, i32, i64, f64 */
extern bool ds_dtype_has_floats(DsDtype dtype);

/*
 * count stored elements as float: exact for f32, f16 (subnormals, infinities, NaN), bf16 and i8,
 * rounded for f64, i32 and i64.  in may have any alignment and must not overlap out.
 */
extern void ds_dtype_to_float(DsDtype dtype, const void *in, size_t count, float *out);

/*
 * And back, rounded to the nearest (ties to even): for f32, f16 (what is too
 * large becomes an infinity), bf16, i8 (limited to -127 .. 127), i32 and i64.
 * NaN is a NaN, and 0 as an integer.  Other types give zeros.
 */
extern void ds_dtype_from_float(DsDtype dtype, const float *in, size_t count, void *out);

#endif /* DS_DTYPE_H */
