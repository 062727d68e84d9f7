/*
 * metrics_agreement.h
 *		How near two encoders of the same texts are: the same model in another precision.
 */
#ifndef DS_METRICS_AGREEMENT_H
#define DS_METRICS_AGREEMENT_H

#include <stddef.h>

#include "base/status.h"

typedef struct DsAgreement
{
	double cosine_mean; /* of each text's two embeddings; 1 where both are zero */
	double cosine_min;
	double same_nearest; /* share of each text's nearest others, by cosine, that are the same */
} DsAgreement;

/*
 * Of a[count, dims] and b[count, dims]; nearest is how many others are compared (less
 * where there are fewer texts; 0: same_nearest is 1).  neighbours has room for 2 *
 * nearest numbers, norms for 2 * count.  Takes time as count^2 * dims.
 */
extern DsCode ds_agreement(const float *a, const float *b, size_t count, size_t dims,
						   size_t nearest, size_t *neighbours, double *norms,
						   const DsCancel *cancel, DsAgreement *out, DsStatus *status);

#endif /* DS_METRICS_AGREEMENT_H */
