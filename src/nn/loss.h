/*
 * loss.h
 *		Losses over a batch of pairs, from the matrix of their scores.
 *
 * Row i of a score matrix is query i, column j is document j; query i's own
 * document is column target + i.  The other columns are its negatives, unless
 * they are masked: a document that equals query i's own one, or that belongs
 * to an equal query, is no negative (equal: the same 64-bit key).  Nor is one that
 * the caller knows to be right, though no pair of the batch says so.
 *
 * Both losses overwrite the scores by the gradient of the loss by them.
 */
#ifndef DS_NN_LOSS_H
#define DS_NN_LOSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nn/real.h"

/*
 * What each needs of a batch (training.h), and what counts as right.
 * "s" are the scores of a pair's own list of documents, by the query (DUAL) or as they
 * come out (SINGLE); "l" their labels.
 */
typedef enum DsLoss
{
	/* DUAL, over the scores of all queries with all documents; no labels */
	DS_LOSS_SOFTMAX, /* in-batch softmax cross-entropy; right: own document first */
	DS_LOSS_CONTRASTIVE, /* margin contrastive (Hadsell, Chopra & LeCun, CVPR 2006); likewise */
	/* DUAL, over a pair's own list */
	DS_LOSS_TRIPLET, /* mean over others j: max(0, margin + d_0 - d_j), d Euclidean; no labels;
					  * right: the first is nearest */
	DS_LOSS_PAIR_CONTRASTIVE, /* mean: l d^2 / 2 + (1 - l) max(0, margin - d)^2 / 2; right: d < margin / 2
							   * where l > 1/2 */
	/* DUAL (scores without temperature) or SINGLE with one output */
	DS_LOSS_REGRESSION, /* mean: (s - l)^2, for DUAL with cosine a regression of cosines; right: |s -
						 * l| < 1/4 */
	DS_LOSS_RANK_MARGIN, /* mean over i, j with l_i > l_j: max(0, margin - (s_i - s_j)); right: the
						  * first of the highest label has the highest score */
	DS_LOSS_MARGIN_MSE, /* mean over others j: ((s_0 - s_j) - (l_0 - l_j))^2; right as before */
	/* DUAL (scores divided by temperature) or SINGLE with one output */
	DS_LOSS_RANKNET, /* mean over i, j with l_i > l_j: log(1 + exp(s_j - s_i)) */
	DS_LOSS_LISTNET, /* cross-entropy of softmax(s) under softmax(l / teacher_temperature) */
	DS_LOSS_LIST_SOFTMAX, /* -log softmax(s) of the first; no labels */
	DS_LOSS_KL, /* LISTNET less the teacher's entropy: KL(teacher | student) */
	/* DUAL (scores divided by temperature, one label a document) or SINGLE, a label an output */
	DS_LOSS_BINARY, /* mean: cross-entropy of the logistic of s under l in 0 .. 1; right: all on l's
					 * side of 1/2 */
	/* SINGLE, one label (a class 0 .. outputs - 1) a document */
	DS_LOSS_CLASSES, /* mean over documents: -log softmax(outputs) of the class; right: the greatest */
	DS_LOSSES
} DsLoss;

/*
 * Which columns a row leaves out.  A NULL array masks nothing.
 * row_query[rows], row_document[rows]: keys of row i's query and own document;
 * column_query[columns], column_document[columns]: keys of column j's query
 * and document.  column_query is compared for the first paired columns only:
 * the ones behind them are explicit negatives, which belong to no query.
 * known: query i of the batch has the columns known[known_offsets[i]] to
 * known[known_offsets[i + 1] - 1] for right answers; row 0 is query first.
 * transposed: rows are documents and columns queries, column j is query j.
 * one_kind: queries and documents are of one kind and have keys in common, so a document
 * that is the query itself is no negative of it.
 */
typedef struct DsLossMask
{
	const uint64_t *row_query;
	const uint64_t *row_document;
	const uint64_t *column_query;
	const uint64_t *column_document;
	size_t paired;
	const size_t *known_offsets;
	const uint32_t *known;
	size_t first;
	bool transposed;
	bool one_kind;
} DsLossMask;

/*
 * Softmax cross-entropy:
 *
 *     loss = weight * sum over i of  -log(exp(s_it) / sum over unmasked j of exp(s_ij)),
 *     s = scale * scores,  t = target + i
 *
 * weights [rows], or NULL, multiply the rows' losses.  scores [rows, columns] become d loss / d scores (scale included).
 * *d_scale, if not NULL, becomes d loss / d scale.  *correct, if not NULL,
 * gets the number of rows whose own document has the highest score.
 * Returns the loss.
 */
extern double ds_softmax_loss(ds_real *scores, size_t rows, size_t columns, size_t target,
							  const DsLossMask *mask, double scale, double weight,
							  const float *weights, double *d_scale, size_t *correct);

/*
 * Contrastive, over squared Euclidean distances d_ij^2 between the vectors:
 *
 *     loss = weight * sum over i of  1/2 d_it^2 + mean over j of 1/2 (margin - d_ij)^2
 *
 * where j runs over the unmasked other columns nearer than the margin.
 * distances [rows, columns] hold d_ij^2 (not negative) and become
 * d loss / d (d_ij^2).
 */
extern double ds_contrastive_loss(ds_real *distances, size_t rows, size_t columns, size_t target,
								  const DsLossMask *mask, double margin, double weight,
								  const float *weights, size_t *correct);

/* Are scores divided by the temperature? */
extern bool ds_loss_scales(DsLoss loss);
/* Does it want labels? */
extern bool ds_loss_labels(DsLoss loss);

typedef struct DsListLoss
{
	DsLoss loss; /* none of the in-batch ones */
	double scale; /* scores are multiplied by it first: 1 / temperature, or 1 */
	double margin;
	double teacher_temperature;
} DsListLoss;

/*
 * The loss of one list: of n documents' scores (TRIPLET, PAIR_CONTRASTIVE: distances, not
 * negative), and labels where the loss wants them.  n > 0.  gradient[n] becomes d loss / d scores
 * (scale included), *d_scale, if not NULL, d loss / d scale.  *right says whether it was right.
 * BINARY with several outputs and CLASSES: n are the outputs of one document, for CLASSES with one
 * label.
 */
extern double ds_list_loss(const DsListLoss *list, const ds_real *scores, const float *labels,
						   size_t n, ds_real *gradient, double *d_scale, bool *right);

/*
 * What CLASSES trains the outputs of one document to be: probabilities[n], the softmax of
 * logits[n], n > 0; may be the same array.  Returns the greatest one's number, the first of several.
 */
extern size_t ds_classes_of(const float *logits, size_t n, float *probabilities);

#endif /* DS_NN_LOSS_H */
