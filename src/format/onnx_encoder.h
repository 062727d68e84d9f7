/*
 * onnx_encoder.h
 *		An encoder of texts as one ONNX file: tokens in, embedding (or scores) out.
 *
 * Inputs are int64 [batch, length]: input_ids, attention_mask (1 for tokens, 0
 * for padding behind them), and token_type_ids where the model has several
 * types.  The output is f32 [batch, dims]: "embedding" or "scores".  Batch and
 * length are free, up to the model's max_tokens.
 */
#ifndef DS_ONNX_ENCODER_H
#define DS_ONNX_ENCODER_H

#include "format/plan.h"

typedef struct DsOnnxOptions
{
	bool int8; /* layers and the table of tokens in i8, rows of products quantised as they come */
} DsOnnxOptions;

/*
 * Plan the file.  Numbers are read for int8 only, whose scales are needed first.
 * Errors: DS_UNSUPPORTED with the part that has no counterpart, DS_TOO_LARGE,
 * DS_BAD_DATA for a tensor that is missing, DS_OUT_OF_MEMORY, the source's.
 */
extern DsCode ds_onnx_encoder(const DsEncoderSpec *spec, uint32_t drop_id,
							  const DsOnnxOptions *options, const DsPlanStored *stored,
							  const DsTensorSource *source, DsPlan *plan, const char *name,
							  const DsCancel *cancel, DsStatus *status);

#endif /* DS_ONNX_ENCODER_H */
