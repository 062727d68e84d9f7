/*
 * loss.c
 *		Losses over the scores of a batch.
 *
 * A batch of (query, document) pairs gives every query one right answer and
 * many wrong ones for nothing: the documents of the other pairs.  With n pairs
 * the scores of all queries with all documents are a matrix of which the
 * diagonal should be large and the rest small, and a loss says how far from it
 * that is.  Both functions turn the matrix into its gradient in place, as the
 * matrix is the largest array of a step.
 *
 * Click logs repeat themselves: with 512 pairs of a few thousand products and
 * some popular queries, other rows often hold the same document or the same
 * query.  These are no wrong answers, and DsLossMask takes them out.  (With a
 * query text that half of the log shares this can empty a row; its loss is
 * then 0.)
 *
 * What is right for a query by a pair of another batch is for the caller to tell.
 */
#include "nn/loss.h"

#include <math.h>

#include "nn/simd.h"

/* vectors nearer than this share of the margin are the same */
#define SAME_DISTANCE 1e-4

#ifdef DS_NN_DOUBLE
#define MINUS_INFINITY (-HUGE_VAL)
#else
#define MINUS_INFINITY (-HUGE_VALF)
#endif

/* Set the masked columns of row i to value */
static void
mask_row(ds_real *row, size_t i, size_t columns, size_t own, const DsLossMask *mask, ds_real value)
{
	ds_real kept = row[own];

	if (mask == NULL)
		return;
	if (mask->row_document != NULL && mask->column_document != NULL)
	{
		uint64_t key = mask->row_document[i];

		for (size_t j = 0; j < columns; j++)
			row[j] = mask->column_document[j] == key ? value : row[j];
	}
	if (mask->row_query != NULL && mask->column_query != NULL)
	{
		uint64_t key = mask->row_query[i];
		size_t paired = mask->paired < columns ? mask->paired : columns;

		for (size_t j = 0; j < paired; j++)
			row[j] = mask->column_query[j] == key ? value : row[j];
	}
	if (mask->one_kind && mask->row_query != NULL && mask->column_document != NULL)
	{
		uint64_t key = mask->transposed ? mask->row_document[i] : mask->row_query[i];
		const uint64_t *keys = mask->transposed ? mask->column_query : mask->column_document;

		for (size_t j = 0; j < columns; j++)
			row[j] = keys[j] == key ? value : row[j];
	}
	if (mask->known_offsets != NULL && !mask->transposed)
	{
		for (size_t k = mask->known_offsets[mask->first + i];
			 k < mask->known_offsets[mask->first + i + 1]; k++)
			row[mask->known[k]] = value;
	}
	else if (mask->known_offsets != NULL)
	{
		for (size_t j = 0; j < columns; j++)
			for (size_t k = mask->known_offsets[j]; k < mask->known_offsets[j + 1]; k++)
				row[j] = mask->known[k] == mask->first + i ? value : row[j];
	}
	row[own] = kept;
}

double
ds_softmax_loss(ds_real *scores, size_t rows, size_t columns, size_t target, const DsLossMask *mask,
				double scale, double weight, const float *weights, double *d_scale, size_t *correct)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	double loss = 0;
	double by_scale = 0;
	size_t right = 0;

	for (size_t i = 0; i < rows; i++)
	{
		ds_real *row = scores + i * columns;
		double own = (double) row[target + i];
		double share = weights != NULL ? weight * (double) weights[i] : weight;
		double sum;
		double weighted;
		ds_real top;

		mask_row(row, i, columns, target + i, mask, MINUS_INFINITY);
		top = kernels->max(row, columns);
		right += (double) top <= own;
		/* softmax through exp(s - max): no overflow, and the sum is at least 1 */
		kernels->exponentials(row, columns, (ds_real) scale, top, &sum, &weighted);
		loss += share * (log(sum) - scale * (own - (double) top));
		by_scale += share * (weighted / sum - own);
		/* d loss / d score_j = scale * (softmax_j - [j is the target]) */
		kernels->scale(row, columns, (ds_real) (scale * share / sum));
		row[target + i] -= (ds_real) (scale * share);
	}
	if (d_scale != NULL)
		*d_scale = by_scale;
	if (correct != NULL)
		*correct = right;
	return loss;
}

double
ds_contrastive_loss(ds_real *distances, size_t rows, size_t columns, size_t target,
					const DsLossMask *mask, double margin, double weight, const float *weights,
					size_t *correct)
{
	double loss = 0;
	size_t right = 0;

	for (size_t i = 0; i < rows; i++)
	{
		ds_real *row = distances + i * columns;
		double own = (double) row[target + i];
		/* an infinite distance is no negative: nothing pulls it further away */
		size_t near = 0;
		double row_weight = weights != NULL ? weight * (double) weights[i] : weight;
		double share;
		int first = 1;

		mask_row(row, i, columns, target + i, mask, -MINUS_INFINITY);
		/* the mean is over those that have a loss, so that the many far ones do not drown them */
		for (size_t j = 0; j < columns; j++)
			near += j != target + i && (double) row[j] < margin * margin;
		share = near > 0 ? 1.0 / (double) near : 0;
		loss += 0.5 * row_weight * own;
		for (size_t j = 0; j < columns; j++)
		{
			double square = (double) row[j];
			double distance;

			if (j == target + i)
			{
				row[j] = (ds_real) (0.5 * row_weight);
				continue;
			}
			first &= !(square < own);
			if (square >= margin * margin)
			{
				row[j] = 0;
				continue;
			}
			distance = sqrt(square);
			loss += 0.5 * row_weight * share * (margin - distance) * (margin - distance);
			/*
			 * d/d(d^2) of 1/2 (m - d)^2 is -(m - d) / (2 d).  Where the vectors are equal the direction
			 * of q - p is noise of rounding, and nothing is pulled apart.
			 */
			if (distance < SAME_DISTANCE * margin)
			{
				row[j] = 0;
				continue;
			}
			row[j] = (ds_real) (-0.5 * row_weight * share * (margin - distance) / distance);
		}
		right += (size_t) first;
	}
	if (correct != NULL)
		*correct = right;
	return loss;
}
