/*
 * metrics.h
 *		How good is a ranked list?  The measures of information retrieval.
 *
 * All of them look at one query: the list that a search returned, and the
 * documents that are relevant to it.  The list comes as an array of grades,
 * one a rank: grade[i] is the grade of the document at rank i + 1, 0 for a
 * document that is not relevant.  A document is relevant when its grade is
 * above 0.  Definitions are those of trec_eval (the program of the Text
 * REtrieval Conference), so that figures can be compared with published ones:
 *
 *		measure here				trec_eval
 *		precision at k				P_k
 *		recall at k					recall_k
 *		reciprocal rank at k		recip_rank, of the first k documents
 *		average precision at k		map_cut_k; map with k = n
 *		nDCG at k, linear gain		ndcg_cut_k
 *		hit at k					success_k
 *
 * The mean over queries is the caller's business, as is the list's order:
 * trec_eval sorts by score, here the order is what the search returned.
 */
#ifndef DS_METRICS_H
#define DS_METRICS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/*
 * What a document of grade g is worth: g (Jarvelin and Kekalainen, ACM TOIS
 * 2002, and trec_eval), or 2^g - 1 (Burges et al., ICML 2005; usual in
 * learning to rank).
 */
typedef enum DsGain
{
	DS_GAIN_LINEAR,
	DS_GAIN_EXPONENTIAL
} DsGain;

/* DS_INVALID unless the grade is finite and its gain cannot overflow a sum. */
extern DsCode ds_grade_check(double grade, DsGain gain, DsStatus *status);

/* (number of i < k with grade[i] > 0) / k: a list shorter than k misses the rest.  k > 0 */
extern double ds_precision(const double *grade, size_t n, size_t k);

/* (number of i < k with grade[i] > 0) / relevant.  relevant > 0 */
extern double ds_recall(const double *grade, size_t n, size_t relevant, size_t k);

/* 1 / (rank of the first relevant document), 0 when there is none among the first k. */
extern double ds_reciprocal_rank(const double *grade, size_t n, size_t k);

/* Is there a relevant document among the first k? */
extern bool ds_hit(const double *grade, size_t n, size_t k);

/*
 * (sum over relevant ranks r <= k of precision at r) / relevant.  relevant > 0.
 * A relevant document that was not retrieved contributes 0.
 */
extern double ds_average_precision(const double *grade, size_t n, size_t relevant, size_t k);

/*
 * DCG / ideal DCG, where DCG = sum over ranks r <= k of gain(grade at r) /
 * log2(r + 1), and the ideal list has every relevant document, the best first:
 * ideal[n_ideal], sorted by ds_sort_grades().  ideal[0] > 0.
 */
extern double ds_ndcg(const double *grade, size_t n, const double *ideal, size_t n_ideal, size_t k,
					  DsGain gain);

/* Sort from the largest to the smallest. */
extern void ds_sort_grades(double *grade, size_t n);

/* Sort from the smallest to the largest. */
extern void ds_sort_values(double *value, size_t n);

/*
 * The value below which a share p (0 to 1) of the sorted values lies, linear
 * between neighbours: what percentile_cont() of SQL computes.  n > 0
 */
extern double ds_percentile(const double *sorted, size_t n, double p);

#endif /* DS_METRICS_H */
