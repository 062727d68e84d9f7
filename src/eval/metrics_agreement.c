/*
 * metrics_agreement.c
 *		How near two encoders of the same texts are.
 */
#include "eval/metrics_agreement.h"

#include <math.h>

static double
product(const float *x, const float *y, size_t dims)
{
	double sum = 0;

	for (size_t d = 0; d < dims; d++)
		sum += (double) x[d] * (double) y[d];
	return sum;
}

/* The nearest others of a text, nearest first: the first of those that are as near */
static size_t
find_nearest(const float *rows, const double *norms, size_t count, size_t dims, size_t text,
			 size_t wanted, size_t *out, double *cosines)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++)
	{
		double cosine;
		size_t place;

		if (i == text)
			continue;
		cosine = norms[i] > 0 && norms[text] > 0
					 ? product(rows + i * dims, rows + text * dims, dims) / (norms[i] * norms[text])
					 : -2;
		if (found == wanted && cosine <= cosines[found - 1])
			continue;
		place = found < wanted ? found++ : found - 1;
		for (; place > 0 && cosines[place - 1] < cosine; place--)
		{
			cosines[place] = cosines[place - 1];
			out[place] = out[place - 1];
		}
		cosines[place] = cosine;
		out[place] = i;
	}
	return found;
}

#define NEAREST_MAX 100

DsCode
ds_agreement(const float *a, const float *b, size_t count, size_t dims, size_t nearest,
			 size_t *neighbours, double *norms, const DsCancel *cancel, DsAgreement *out,
			 DsStatus *status)
{
	double cosines[NEAREST_MAX];
	size_t same = 0;
	size_t all = 0;

	if (count == 0 || dims == 0 || nearest > NEAREST_MAX)
		return ds_fail(status, DS_INVALID, "nothing to compare");
	*out = (DsAgreement){0, 1, 1};
	for (size_t i = 0; i < count; i++)
	{
		const float *x = a + i * dims;
		const float *y = b + i * dims;
		double cosine;

		norms[i] = sqrt(product(x, x, dims));
		norms[count + i] = sqrt(product(y, y, dims));
		if (norms[i] > 0 && norms[count + i] > 0)
			cosine = product(x, y, dims) / (norms[i] * norms[count + i]);
		else
			cosine = norms[i] == norms[count + i] ? 1 : 0;
		out->cosine_mean += cosine / (double) count;
		if (cosine < out->cosine_min)
			out->cosine_min = cosine;
	}
	for (size_t i = 0; i < count && nearest > 0; i++)
	{
		size_t n;

		if (ds_cancelled(cancel))
			return ds_fail(status, DS_CANCELLED, "cancelled");
		n = find_nearest(a, norms, count, dims, i, nearest, neighbours, cosines);
		(void) find_nearest(b, norms + count, count, dims, i, nearest, neighbours + nearest,
							cosines);
		for (size_t k = 0; k < n; k++)
			for (size_t l = 0; l < n; l++)
				same += neighbours[k] == neighbours[nearest + l];
		all += n;
	}
	if (all > 0)
		out->same_nearest = (double) same / (double) all;
	return DS_OK;
}
