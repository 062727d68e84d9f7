/*
 * tflite.h
 *		A model as one file of TensorFlow Lite (LiteRT): ids in, embedding out.
 *
 * Inputs of an encoder of texts, int32 [1, tokens]:
 *
 *   input_ids        the text's tokens, special ones included, then any id
 *   attention_mask   1 for the text's tokens, 0 behind them
 *   token_type_ids   cross-encoders with token types only: 1 for the second text
 *
 * Output: embedding [1, dims], or scores [1, dims], float32; pooling, modules and
 * normalisation are inside.  A tower of a dual encoder has the first two inputs, or
 * features [1, dims].  The signature is "serving_default".
 *
 * The file is planned (plan.h): what has no counterpart shows then, weights are
 * read once to find their scales, and again when the file is written.
 */
#ifndef DS_TFLITE_H
#define DS_TFLITE_H

#include "format/plan.h"
#include "nn/dual_encoder.h"

typedef struct DsTfliteOptions
{
	DsDtype weights; /* F32; F16: as stored; I8: dynamic range */
	uint32_t tokens; /* the fixed length of the inputs */
} DsTfliteOptions;

/*
 * Plan the file of an encoder whose spec has been checked.  Errors: DS_UNSUPPORTED
 * with what has no counterpart, DS_INVALID for options that do not fit, DS_BAD_DATA
 * for a tensor that is missing, of another size, or not finite; DS_TOO_LARGE for more than
 * 2 GB.
 */
extern DsCode ds_tflite_encoder(const DsEncoderSpec *spec, const DsTfliteOptions *options,
								const DsTensorSource *source, const char *file, DsPlan *plan,
								const DsCancel *cancel, DsStatus *status);

/* The same of one tower of a dual encoder; its tensors are called as in dual_encoder.h */
extern DsCode ds_tflite_tower(const DsDualEncoderConfig *config, DsSide side,
							  const DsTfliteOptions *options, const DsTensorSource *source,
							  const char *file, DsPlan *plan, const DsCancel *cancel,
							  DsStatus *status);

#endif /* DS_TFLITE_H */
