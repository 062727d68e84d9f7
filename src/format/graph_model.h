/*
 * graph_model.h
 *		A model as a graph that others run: tokens, pixels or features in, embedding (or
 *		scores) out.  One file of ONNX, or a SavedModel of TensorFlow.
 *
 * Batch and length of texts are free, up to the model's max_tokens.  The output is f32
 * [batch, dims]: "embedding" or "scores".  Inputs:
 *
 *   input_ids, attention_mask   int64 [batch, length]; 1 for tokens, 0 for padding behind them
 *   token_type_ids              int64 [batch, length]; where the model has several types
 *   pixel_values                f32 [batch, channels, height, width], normalised
 *   image_mask                  int64 [batch]; of towers that read a text and a picture: 1 where
 *                               there is one, 0 where there is none (whatever pixel_values are)
 *   features                    f32 [batch, dims]
 */
#ifndef DS_GRAPH_MODEL_H
#define DS_GRAPH_MODEL_H

#include "format/plan.h"
#include "nn/dual_encoder.h"
#include "nn/fusion.h"
#include "nn/image_spec.h"

struct DsGraphFormat; /* graph.h */
extern const struct DsGraphFormat ds_onnx_format;
extern const struct DsGraphFormat ds_tensorflow_format;

/* The file that is planned, and where numbers come from */
typedef struct DsGraphTarget
{
	const struct DsGraphFormat *format;
	bool int8; /* of ONNX: layers and tables in i8, rows of products quantised as they come */
	const DsPlanStored *stored;
	const DsTensorSource *source;
	DsPlan *plan;
	const char *name; /* of TensorFlow there are the weights in variables/ too */
	const DsCancel *cancel;
} DsGraphTarget;

/*
 * Plan the files of an encoder of texts.  Numbers are read for int8, whose scales are needed
 * first, and for the checksums of TensorFlow's weights.  Errors: DS_UNSUPPORTED with the part that has no counterpart,
 * DS_TOO_LARGE, DS_BAD_DATA for a tensor that is missing, DS_OUT_OF_MEMORY, the source's.
 */
extern DsCode ds_graph_encoder(const DsGraphTarget *target, const DsEncoderSpec *spec,
							   uint32_t drop_id, DsStatus *status);

/* A tower of a dual encoder, or a network over pictures: of what is there */
typedef struct DsGraphTower
{
	/* a table, or features; its tensors are "embedding", "dense.0.weight", "dense.0.bias", ... */
	const DsTowerConfig *bag;
	const DsImageSpec *image; /* its tensors as in image_spec.h */
	/* of both: "fusion.weight" and so on as in fusion.h; an empty text counts as none */
	DsFusion fusion;
	uint32_t fusion_dims;
	bool normalize; /* at the end */
} DsGraphTower;

/* The same of it */
extern DsCode ds_graph_tower(const DsGraphTarget *target, const DsGraphTower *tower,
							 DsStatus *status);

#endif /* DS_GRAPH_MODEL_H */
