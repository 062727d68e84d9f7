/*
 * encoder.h
 *		The forward pass of pretrained encoders: BERT and its kin.
 *
 * Laying out makes one block of bytes (a "blob") of a description and its
 * tensors: weights in the order in which the products read them, in the
 * precision asked for.  The blob has no pointers, so it can be a file that many
 * processes map; it is the same for every x86 processor, and stays valid as long
 * as DS_ENCODER_IDENTITY does.  Opening it copies nothing.
 *
 *     ds_encoder_size(&spec, precision, &size, status);
 *     ds_encoder_layout(&spec, precision, &source, &writer, arena, cancel, status);
 *     ...
 *     ds_encoder_open(blob, size, arena, &encoder, status);
 *     ds_encoder_run(encoder, &batch, out, arena, cancel, status);
 *
 * No thread is ever started, and no library called.
 */
#ifndef DS_ENCODER_H
#define DS_ENCODER_H

#include "base/arena.h"
#include "base/status.h"
#include "nn/encoder_spec.h"

/* what a blob depends on besides its model; at most 31 letters */
#define DS_ENCODER_IDENTITY "deepsearch encoder 2"

/*
 * F32: as the model is.  BF16: weights and the rows they are multiplied with are
 * rounded to 8 bits of mantissa where the processor multiplies such numbers,
 * otherwise only the weights.  INT8: weights to -127 .. 127 with a scale for
 * each output, rows to 0 .. 255 (127 without VNNI) with a scale for each row, at
 * run time.  The products of attention are f32 in F32, and otherwise bf16 where
 * the processor multiplies such numbers; GELU is exact to 1 part in 10,000 where
 * its result is rounded anyway.  Sums, norms and everything else are f32 in each;
 * tables of tokens are f32 in F32 and bf16 otherwise, modules behind the pooling
 * f32.
 */
typedef enum DsPrecision
{
	DS_PRECISION_F32 = 1,
	DS_PRECISION_BF16,
	DS_PRECISION_INT8
} DsPrecision;

/* "f32", "bf16", "int8"; NULL when it is none */
extern const char *ds_precision_name(uint32_t precision);

/* Where the tensors come from, by their neutral names (encoder_spec.h) */
typedef struct DsTensorSource
{
	void *context;
	/* is it there, and how many values has it? */
	bool (*find)(void *context, const char *name, uint64_t *values);
	/*
	 * Values first .. first + count - 1, row-major, whatever the stored type is.
	 * Each tensor is read from its beginning to its end, at most 8 MB at a time;
	 * one that is stored as "_t" may be read several times.
	 */
	DsCode (*read)(void *context, const char *name, uint64_t first, size_t count, float *out,
				   DsStatus *status);
} DsTensorSource;

/* Where the blob goes: called with one piece after the other, from the first byte to the last */
typedef struct DsBlobWriter
{
	void *context;
	DsCode (*write)(void *context, const void *bytes, size_t size, DsStatus *status);
} DsBlobWriter;

/* Bytes of a blob; the spec must have passed ds_spec_check() */
extern DsCode ds_encoder_size(const DsEncoderSpec *spec, DsPrecision precision, uint64_t *size,
							  DsStatus *status);

/*
 * Write the blob.  Needs at most 24 MB of the arena at any time, whatever the
 * model's size, and gives it back.  DS_BAD_DATA with the tensor's name when one
 * is missing, has another number of values, or a value that is not finite;
 * DS_UNSUPPORTED for bf16 and int8 of a model whose widths are no multiples of 4.
 */
extern DsCode ds_encoder_layout(const DsEncoderSpec *spec, DsPrecision precision,
								const DsTensorSource *source, const DsBlobWriter *writer,
								DsArena *arena, const DsCancel *cancel, DsStatus *status);

typedef struct DsEncoder DsEncoder;

/*
 * blob must be aligned to 64 bytes and stay where it is.  DS_BAD_DATA when it is
 * not one of this identity, or size differs from what its description needs
 * (contents beyond that are not looked at: the caller has a checksum).  The
 * encoder, some kilobytes, lives in the arena.
 */
extern DsCode ds_encoder_open(const void *blob, uint64_t size, DsArena *arena, DsEncoder **encoder,
							  DsStatus *status);

extern const DsEncoderSpec *ds_encoder_spec(const DsEncoder *encoder);
extern DsPrecision ds_encoder_precision(const DsEncoder *encoder);
/* which kernels run, "avx512_vnni" for example */
extern const char *ds_encoder_kernel_name(const DsEncoder *encoder);

/*
 * Some texts: the tokens of all of them behind each other, special tokens
 * included, nothing between; text t has tokens starts[t] .. starts[t + 1] - 1.
 */
typedef struct DsEncoderBatch
{
	size_t texts;
	const uint32_t *starts; /* texts + 1 */
	const uint32_t *ids;
	const uint8_t *types; /* token types, or NULL: all zero; ignored where the model has none */
	/*
	 * A model over patches reads no ids but [tokens][patch_dims] values, where the
	 * class token that each picture's tokens begin with has none.
	 */
	const float *patches;
} DsEncoderBatch;

/*
 * out[texts, ds_spec_dims()] = the embeddings, or the scores.  A text without
 * tokens is pooled to zeros.  A text's result does not depend, to the last bit,
 * on the texts beside it.  DS_INVALID when a text is longer than max_tokens, or
 * an id or type is beyond its table.  Memory from the arena, given back: for
 * 256 tokens, or the longest text if that is more.  Polls cancel at least every
 * few milliseconds.
 */
extern DsCode ds_encoder_run(const DsEncoder *encoder, const DsEncoderBatch *batch, float *out,
							 DsArena *arena, const DsCancel *cancel, DsStatus *status);

#endif /* DS_ENCODER_H */
