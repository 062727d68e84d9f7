/*
 * loss_list.c
 *		Losses over one list: the scores of a query's own documents, or the
 *		outputs of one document.
 *
 * With s the scores, times a scale, and l the labels or a teacher's scores:
 *
 *   two of a list       triplet, margin MSE: the first against each other one
 *   all pairs of it     RankNet (Burges et al., ICML 2005), margin: where one label is higher
 *   the list as a whole ListNet (Cao et al., ICML 2007), KL: softmax of s under that of l
 *   each for itself     regression, binary cross-entropy, contrastive
 *
 * Every one is a mean, over the pairs or the members that count, so that long lists
 * weigh as much as short ones.  A list with nothing to compare has loss 0.
 *
 * Lists are short (some, at most some hundred documents), so all arithmetic is in
 * double and takes no time beside the network's.
 */
#include "nn/loss.h"

#include <math.h>

#ifdef DS_NN_DOUBLE
#define same_distance(d) 0
#else
/* the gradient of a distance has no direction at 0 */
#define same_distance(d) ((d) < 1e-6)
#endif

bool
ds_loss_scales(DsLoss loss)
{
	return loss == DS_LOSS_SOFTMAX || loss == DS_LOSS_RANKNET || loss == DS_LOSS_LISTNET ||
		   loss == DS_LOSS_LIST_SOFTMAX || loss == DS_LOSS_KL || loss == DS_LOSS_BINARY;
}

bool
ds_loss_labels(DsLoss loss)
{
	return loss != DS_LOSS_SOFTMAX && loss != DS_LOSS_CONTRASTIVE && loss != DS_LOSS_TRIPLET &&
		   loss != DS_LOSS_LIST_SOFTMAX;
}

/* log(1 + e^x) without overflow */
static double
softplus(double x)
{
	return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static double
logistic_of(double x)
{
	return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

/* Is the greatest score one of the greatest label's? */
static bool
best_first(const ds_real *s, const float *l, size_t n)
{
	size_t best = 0;

	for (size_t i = 1; i < n; i++)
		best = l[i] > l[best] || (l[i] == l[best] && s[i] > s[best]) ? i : best;
	for (size_t i = 0; i < n; i++)
		if (!(s[i] <= s[best]))
			return false;
	return true;
}

static bool
own_first(const ds_real *s, size_t n, bool nearest)
{
	for (size_t i = 1; i < n; i++)
		if (nearest ? !(s[0] <= s[i]) : !(s[0] >= s[i]))
			return false;
	return true;
}

static double
triplet(const DsListLoss *list, const ds_real *d, size_t n, ds_real *gradient)
{
	double share = n > 1 ? 1.0 / (double) (n - 1) : 0;
	double loss = 0;

	for (size_t j = 1; j < n; j++)
	{
		double behind = list->margin + (double) d[0] - (double) d[j];

		/* NaN goes through */
		if (behind <= 0)
			continue;
		loss += share * behind;
		gradient[0] += (ds_real) share;
		gradient[j] -= (ds_real) share;
	}
	return loss;
}

static double
pair_contrastive(const DsListLoss *list, const ds_real *d, const float *l, size_t n,
				 ds_real *gradient, bool *right)
{
	double share = 1.0 / (double) n;
	double loss = 0;

	*right = true;
	for (size_t i = 0; i < n; i++)
	{
		double x = (double) d[i];
		double short_of = list->margin - x > 0 ? list->margin - x : 0;
		double label = (double) l[i];

		loss += share * (label * x * x + (1 - label) * short_of * short_of) / 2;
		if (!same_distance(x))
			gradient[i] = (ds_real) (share * (label * x - (1 - label) * short_of));
		*right = *right && (x < list->margin / 2) == (label > 0.5);
	}
	return loss;
}

static double
regression(const ds_real *s, const float *l, size_t n, ds_real *gradient, bool *right)
{
	double loss = 0;

	*right = true;
	for (size_t i = 0; i < n; i++)
	{
		double off = (double) s[i] - (double) l[i];

		loss += off * off / (double) n;
		gradient[i] = (ds_real) (2 * off / (double) n);
		*right = *right && fabs(off) < 0.25;
	}
	return loss;
}

static double
margin_mse(const ds_real *s, const float *l, size_t n, ds_real *gradient)
{
	double share = n > 1 ? 1.0 / (double) (n - 1) : 0;
	double loss = 0;

	for (size_t j = 1; j < n; j++)
	{
		double off = ((double) s[0] - (double) s[j]) - ((double) l[0] - (double) l[j]);

		loss += share * off * off;
		gradient[0] += (ds_real) (2 * share * off);
		gradient[j] -= (ds_real) (2 * share * off);
	}
	return loss;
}

/* RankNet and margin: over pairs of which one has the higher label */
static double
pairwise(const DsListLoss *list, const ds_real *s, const float *l, size_t n, ds_real *gradient)
{
	size_t pairs = 0;
	double loss = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			pairs += l[i] > l[j];
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
		{
			double ahead = list->scale * ((double) s[i] - (double) s[j]);
			double by_ahead;

			if (!(l[i] > l[j]))
				continue;
			if (list->loss == DS_LOSS_RANKNET)
			{
				loss += softplus(-ahead) / (double) pairs;
				by_ahead = -logistic_of(-ahead) / (double) pairs;
			}
			else if (ahead >= list->margin)
				continue;
			else
			{
				loss += (list->margin - ahead) / (double) pairs;
				by_ahead = -1.0 / (double) pairs;
			}
			gradient[i] += (ds_real) (list->scale * by_ahead);
			gradient[j] -= (ds_real) (list->scale * by_ahead);
		}
	return loss;
}

/* log of the sum of e^(factor x) */
static double
log_sum(const ds_real *x, size_t n, double factor)
{
	double top = (double) x[0];
	double sum = 0;

	for (size_t i = 1; i < n; i++)
		top = (double) x[i] > top ? (double) x[i] : top;
	for (size_t i = 0; i < n; i++)
		sum += exp(factor * ((double) x[i] - top));
	/* the greatest adds 1 */
	return factor * top + log(sum < 1 ? 1 : sum);
}

/* Cross-entropy of the softmax of scores under a distribution; for "one", all of it at that place */
static double
softmax_of_list(const DsListLoss *list, const ds_real *s, const float *l, size_t n, size_t one,
				ds_real *gradient)
{
	double total = log_sum(s, n, list->scale);
	double top = 0;
	double sum = 0;
	double loss = 0;

	for (size_t i = 0; one == n && i < n; i++)
		top = i == 0 || (double) l[i] > top ? (double) l[i] : top;
	for (size_t i = 0; one == n && i < n; i++)
		sum += exp(((double) l[i] - top) / list->teacher_temperature);
	for (size_t i = 0; i < n; i++)
	{
		double logit = one == n ? ((double) l[i] - top) / list->teacher_temperature : 0;
		double p = one == n ? exp(logit) / sum : i == one;
		double log_q = list->scale * (double) s[i] - total;

		loss -= p > 0 ? p * log_q : 0;
		if (list->loss == DS_LOSS_KL)
			loss += p * (logit - log(sum));
		gradient[i] = (ds_real) (list->scale * (exp(log_q) - p));
	}
	return loss;
}

static double
binary(const DsListLoss *list, const ds_real *s, const float *l, size_t n, ds_real *gradient,
	   bool *right)
{
	double loss = 0;

	*right = true;
	for (size_t i = 0; i < n; i++)
	{
		double x = list->scale * (double) s[i];
		double label = (double) l[i];

		loss += (softplus(x) - label * x) / (double) n;
		gradient[i] = (ds_real) (list->scale * (logistic_of(x) - label) / (double) n);
		*right = *right && (x > 0) == (label > 0.5);
	}
	return loss;
}

double
ds_list_loss(const DsListLoss *list, const ds_real *scores, const float *labels, size_t n,
			 ds_real *gradient, double *d_scale, bool *right)
{
	double loss = 0;
	double by_scale = 0;

	for (size_t i = 0; i < n; i++)
		gradient[i] = 0;
	switch (list->loss)
	{
		case DS_LOSS_TRIPLET:
			loss = triplet(list, scores, n, gradient);
			*right = own_first(scores, n, true);
			break;
		case DS_LOSS_PAIR_CONTRASTIVE:
			loss = pair_contrastive(list, scores, labels, n, gradient, right);
			break;
		case DS_LOSS_REGRESSION:
			loss = regression(scores, labels, n, gradient, right);
			break;
		case DS_LOSS_RANKNET:
		case DS_LOSS_RANK_MARGIN:
			loss = pairwise(list, scores, labels, n, gradient);
			*right = best_first(scores, labels, n);
			break;
		case DS_LOSS_MARGIN_MSE:
			loss = margin_mse(scores, labels, n, gradient);
			*right = best_first(scores, labels, n);
			break;
		case DS_LOSS_LISTNET:
		case DS_LOSS_KL:
			loss = softmax_of_list(list, scores, labels, n, n, gradient);
			*right = best_first(scores, labels, n);
			break;
		case DS_LOSS_LIST_SOFTMAX:
			loss = softmax_of_list(list, scores, labels, n, 0, gradient);
			*right = own_first(scores, n, false);
			break;
		case DS_LOSS_CLASSES:
		{
			size_t class = (size_t) labels[0];

			loss = softmax_of_list(list, scores, labels, n, class, gradient);
			*right = true;
			for (size_t i = 0; i < n; i++)
				*right = *right && scores[i] <= scores[class];
			break;
		}
		case DS_LOSS_BINARY:
			loss = binary(list, scores, labels, n, gradient, right);
			break;
		default: /* in-batch losses are no list's */
			*right = false;
			break;
	}
	/* scores count as scale * score only, so the gradient by one follows from that by the other */
	for (size_t i = 0; i < n; i++)
		by_scale += (double) gradient[i] * (double) scores[i] / list->scale;
	if (d_scale != NULL)
		*d_scale = by_scale;
	return loss;
}

size_t
ds_classes_of(const float *logits, size_t n, float *probabilities)
{
	size_t best = 0;
	double sum = 0;
	double top;

	for (size_t i = 1; i < n; i++)
		best = logits[i] > logits[best] ? i : best;
	top = (double) logits[best];
	for (size_t i = 0; i < n; i++)
		sum += exp((double) logits[i] - top);
	for (size_t i = 0; i < n; i++)
		probabilities[i] = (float) (exp((double) logits[i] - top) / sum);
	return best;
}
