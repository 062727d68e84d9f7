/*
 * fusion.c
 *		The vector of a document from those of its text and of its picture.
 */
#include "nn/fusion.h"

#include <math.h>
#include <string.h>

#include "nn/layers.h"

void
ds_fusion_infer(const DsFusionWeights *w, const ds_real *text, const ds_real *image,
				ds_real *joined, ds_real *out)
{
	memcpy(joined, text != NULL ? text : w->no_text, w->text * sizeof(ds_real));
	memcpy(joined + w->text, image != NULL ? image : w->no_image, w->image * sizeof(ds_real));
	ds_dense_infer(joined, w->weight, w->bias, 1, w->text + w->image, w->dims, out);
	for (size_t c = 0; w->fusion == DS_FUSION_GATED && c < w->dims; c++)
	{
		ds_real gate = (ds_real) (1 / (1 + exp(-(double) out[c])));

		out[c] = gate * joined[c] + (1 - gate) * joined[w->dims + c];
	}
}
