/*
 * fusion.h
 *		The vector of a document from those of its text and of its picture.
 */
#ifndef DS_NN_FUSION_H
#define DS_NN_FUSION_H

#include <stddef.h>

#include "nn/real.h"

/*
 * With t the vector of the text, v that of the picture, and y what they make:
 *
 *     CONCATENATE  y = [t v] W + b
 *     GATED        y = g t + (1 - g) v,  g = 1 / (1 + exp(-([t v] W + b))), component by component;
 *                  t, v and y are of the same width
 *
 * A text or a picture that is missing has a learned vector instead.
 */
typedef enum DsFusion
{
	DS_FUSION_CONCATENATE,
	DS_FUSION_GATED
} DsFusion;

typedef struct DsFusionWeights
{
	DsFusion fusion;
	size_t text; /* widths */
	size_t image;
	size_t dims;
	const ds_real *weight; /* [text + image, dims] */
	const ds_real *bias; /* [dims] */
	const ds_real *no_text; /* [text] */
	const ds_real *no_image; /* [image] */
} DsFusionWeights;

/*
 * One document: text or image NULL, it has none.  joined[text + image] is scratch, and holds what
 * was joined.  out[dims], not normalised.  The order of additions depends on nothing else.
 */
extern void ds_fusion_infer(const DsFusionWeights *weights, const ds_real *text,
							const ds_real *image, ds_real *joined, ds_real *out);

#endif /* DS_NN_FUSION_H */
