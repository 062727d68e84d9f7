/*
 * training_loss.c
 *		A shard's part of the loss: from vectors to gradients by them.
 *
 * Losses over the whole batch (softmax, contrastive) compare the shard's queries
 * with all documents.  Their gradient by the shard's queries is whole, that by all
 * documents is this shard's part of it, which the shards add up on their way back:
 * 256 pairs, 32 other documents: shard 1 has the pairs 64 to 127, its scores are
 * [64, 288]; the gradient by document 100 is (d0 + d1) + (d2 + d3), each from the
 * 64 queries of one shard, and is used by shard 1.
 *
 * Losses over a pair's own list need nothing of other shards.
 *
 * Matryoshka repeats the loss for the first m components of all vectors; with
 * cosine these are normalised again, and the gradient goes back through that.
 *
 * Limits.  A shard's scores are computed as many rows at a time as 16 MB hold.
 */
#include <math.h>
#include <string.h>

#include "nn/matrix.h"
#include "nn/simd.h"
#include "nn/training_private.h"

/* The vectors that a loss looks at, whole or shortened, and where gradients go */
typedef struct View
{
	size_t dims;
	double weight; /* of this length */
	const ds_real *query; /* [pairs, dims] */
	const ds_real *document; /* [documents, dims] */
	ds_real *own_query; /* [own pairs, dims] */
	ds_real *own_document; /* [own documents, dims]; symmetric: of the own pairs */
	ds_real *part_query; /* [pairs, dims]; symmetric */
	ds_real *part_document; /* [documents, dims]; in-batch losses */
} View;

static size_t
shard_pairs(const Shard *shard)
{
	return shard->pair_end - shard->pair_begin;
}

static size_t
shard_documents(const Shard *shard)
{
	return shard_pairs(shard) + shard->other_end - shard->other_begin;
}

double
ds_training_scale(const DsTrainer *trainer)
{
	return trainer->scale != DS_NO_PARAMETER
			   ? exp((double) parameter_value(trainer, trainer->scale)[0])
			   : 1 / trainer->head->config.temperature;
}

/*
 * How many rows of the scores are computed at a time: what is between two
 * looks at the cancel callback, some 30 ms for the largest batches, and what
 * the scores take of memory.  Ordinary batches are one piece.
 */
#ifdef DS_NN_DOUBLE
#define PANEL_WORK 256 /* tests compare several pieces */
#define PANEL_NUMBERS 64
#else
#define PANEL_WORK ((size_t) 1 << 28) /* products of two numbers */
#define PANEL_NUMBERS ((size_t) 1 << 22)
#endif

static size_t
panel_rows(size_t columns, size_t dims)
{
	size_t by_work = PANEL_WORK / columns / dims;
	size_t by_memory = PANEL_NUMBERS / columns;
	size_t rows = by_work < by_memory ? by_work : by_memory;

	return rows > 0 ? rows : 1;
}

/*
 * Losses over the batch
 */

/* What rows first to ... of the batch leave out of the loss */
static DsLossMask
loss_mask(const DsTrainer *trainer, size_t first, bool transposed)
{
	const DsNet *net = &trainer->head->net;
	const DsTrainBatch *batch = &trainer->batch;
	const uint64_t *query = batch->query.keys;
	const uint64_t *document = batch->document.keys;

	return (DsLossMask){
		.row_query = query != NULL ? query + first : NULL,
		.row_document = document != NULL ? document + first : NULL,
		.column_query = query,
		.column_document = document,
		.paired = batch->pairs,
		.known_offsets = batch->known_offsets,
		.known = batch->known,
		.first = first,
		.transposed = transposed,
		.one_kind = net->shared && net->tower[0].body == DS_BODY_IMAGE,
	};
}

/*
 * The softmax loss of the shard's rows of "from" over all "columns" of "to", whose
 * row i belongs to row i of "from".  own[rows, dims] gets the gradient by these
 * rows of "from", part[columns, dims] this shard's part of that by "to".
 */
static DsCode
softmax_rows(const DsTrainer *trainer, Shard *shard, const View *view, const ds_real *from,
			 const ds_real *to, size_t columns, double weight, size_t *correct, ds_real *own,
			 ds_real *part)
{
	const DsTrainBatch *batch = &trainer->batch;
	size_t rows = shard_pairs(shard);
	size_t dims = view->dims;
	size_t n;

	for (size_t at = 0; at < rows; at += n)
	{
		size_t first = shard->pair_begin + at;
		const ds_real *x = from + first * dims;
		DsLossMask mask = loss_mask(trainer, first, from == view->document);
		double d_scale;
		size_t right;

		n = rows - at < shard->panel ? rows - at : shard->panel;
		if (at > 0 && ds_cancelled(trainer->cancel))
			return DS_CANCELLED;
		matrix_product(0, 1, n, columns, dims, x, dims, to, dims, 0, shard->scores, columns);
		shard->loss += ds_softmax_loss(
			shard->scores, n, columns, first, &mask, ds_training_scale(trainer), weight,
			batch->weights != NULL ? batch->weights + first : NULL, &d_scale, &right);
		shard->d_scale += d_scale;
		if (correct != NULL)
			*correct += right;
		matrix_product(0, 0, n, dims, columns, shard->scores, columns, to, dims, 0, own + at * dims,
					   dims);
		matrix_product(1, 0, columns, dims, n, shard->scores, columns, x, dims, at > 0 ? 1 : 0,
					   part, dims);
	}
	return DS_OK;
}

/* d[dims] = 2 * (sum * x - d): what is left to do when d is the sum of gradients times vectors */
static void
finish_distance(ds_real *d, const ds_real *x, double sum, size_t dims)
{
	for (size_t c = 0; c < dims; c++)
		d[c] = 2 * ((ds_real) sum * x[c] - d[c]);
}

/*
 * The contrastive loss of the rows at to at + n - 1 of the shard.
 * |q - p|^2 = |q|^2 + |p|^2 - 2 <q, p>; the gradients follow from that of the distances.
 */
static void
contrastive_panel(const DsTrainer *trainer, Shard *shard, const View *view, size_t at, size_t n)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	const DsTrainBatch *batch = &trainer->batch;
	size_t first = shard->pair_begin + at;
	size_t columns = batch->documents;
	size_t dims = view->dims;
	const ds_real *query = view->query + first * dims;
	const ds_real *norms = shard->norms;
	ds_real *sums = shard->norms + columns;
	DsLossMask mask = loss_mask(trainer, first, false);
	size_t right;

	matrix_product(0, 1, n, columns, dims, query, dims, view->document, dims, 0, shard->scores,
				   columns);
	for (size_t i = 0; i < n; i++)
	{
		ds_real norm = kernels->dot(query + i * dims, query + i * dims, dims);

		for (size_t j = 0; j < columns; j++)
		{
			ds_real square = norm + norms[j] - 2 * shard->scores[i * columns + j];

			shard->scores[i * columns + j] = square < 0 ? 0 : square;
		}
	}
	shard->loss +=
		ds_contrastive_loss(shard->scores, n, columns, first, &mask, trainer->head->config.margin,
							view->weight / (double) batch->pairs,
							batch->weights != NULL ? batch->weights + first : NULL, &right);
	shard->correct += right;
	matrix_product(0, 0, n, dims, columns, shard->scores, columns, view->document, dims, 0,
				   view->own_query + at * dims, dims);
	matrix_product(1, 0, columns, dims, n, shard->scores, columns, query, dims, at > 0 ? 1 : 0,
				   view->part_document, dims);
	for (size_t i = 0; i < n; i++)
	{
		double sum = 0;

		for (size_t j = 0; j < columns; j++)
			sum += (double) shard->scores[i * columns + j];
		kernels->add(sums, shard->scores + i * columns, columns);
		finish_distance(view->own_query + (at + i) * dims, query + i * dims, sum, dims);
	}
}

static DsCode
contrastive_rows(const DsTrainer *trainer, Shard *shard, const View *view)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	size_t rows = shard_pairs(shard);
	size_t columns = trainer->batch.documents;
	size_t dims = view->dims;
	ds_real *norms = shard->norms; /* of the documents */
	ds_real *sums = shard->norms + columns; /* of the columns' gradients */
	size_t n;

	for (size_t j = 0; j < columns; j++)
		norms[j] = kernels->dot(view->document + j * dims, view->document + j * dims, dims);
	memset(sums, 0, columns * sizeof(ds_real));
	for (size_t at = 0; at < rows; at += n)
	{
		n = rows - at < shard->panel ? rows - at : shard->panel;
		if (at > 0 && ds_cancelled(trainer->cancel))
			return DS_CANCELLED;
		contrastive_panel(trainer, shard, view, at, n);
	}
	for (size_t j = 0; j < columns; j++)
		finish_distance(view->part_document + j * dims, view->document + j * dims, (double) sums[j],
						dims);
	return DS_OK;
}

static DsCode
batch_loss(const DsTrainer *trainer, Shard *shard, const View *view)
{
	const DsTrainBatch *batch = &trainer->batch;
	const DsTrainConfig *config = &trainer->head->config;
	double weight = view->weight / (double) batch->pairs;
	DsCode code;

	if (shard_pairs(shard) == 0)
	{
		/* fewer pairs than shards: nothing to add to the others' gradients */
		memset(view->part_document, 0, batch->documents * view->dims * sizeof(ds_real));
		if (view->part_query != NULL)
			memset(view->part_query, 0, batch->pairs * view->dims * sizeof(ds_real));
		return DS_OK;
	}
	if (config->loss == DS_LOSS_CONTRASTIVE)
		return contrastive_rows(trainer, shard, view);
	if (both_ways(config))
	{
		weight /= 2;
		code = softmax_rows(trainer, shard, view, view->document, view->query, batch->pairs, weight,
							NULL, view->own_document, view->part_query);
		if (code != DS_OK)
			return code;
	}
	return softmax_rows(trainer, shard, view, view->query, view->document, batch->documents, weight,
						&shard->correct, view->own_query, view->part_document);
}

/*
 * Losses over lists
 */

/* The place of document k of a shard's pair among the batch's documents */
static size_t
list_document(const DsTrainBatch *batch, size_t pair, size_t k)
{
	return k == 0 ? pair : batch->pairs + batch->others[pair] + k - 1;
}

static size_t
list_length(const DsTrainBatch *batch, size_t pair)
{
	return 1 + (batch->others != NULL ? batch->others[pair + 1] - batch->others[pair] : 0);
}

/* ... and of a document of the batch among the shard's own */
static size_t
own_place(const DsTrainBatch *batch, const Shard *shard, size_t document)
{
	return document < batch->pairs ? document - shard->pair_begin
								   : shard_pairs(shard) + document - shard->other_begin;
}

static DsListLoss
list_loss_of(const DsTrainer *trainer)
{
	const DsTrainConfig *config = &trainer->head->config;
	bool scales = trainer->head->net.kind == DS_NET_DUAL && ds_loss_scales(config->loss);

	return (DsListLoss){.loss = config->loss,
						.scale = scales ? ds_training_scale(trainer) : 1,
						.margin = config->margin,
						.teacher_temperature = config->teacher_temperature};
}

/* One pair of a dual network: its query with its own documents */
static void
dual_list(const DsTrainer *trainer, Shard *shard, const View *view, const DsListLoss *list,
		  size_t pair, ds_real *scores, float *labels)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	const DsTrainBatch *batch = &trainer->batch;
	bool distance = list->loss == DS_LOSS_TRIPLET || list->loss == DS_LOSS_PAIR_CONTRASTIVE;
	size_t n = list_length(batch, pair);
	size_t dims = view->dims;
	ds_real *gradient = scores + n;
	const ds_real *q = view->query + pair * dims;
	ds_real *dq = view->own_query + (pair - shard->pair_begin) * dims;
	double weight = view->weight / (double) batch->pairs *
					(batch->weights != NULL ? (double) batch->weights[pair] : 1);
	double d_scale;
	bool right;

	for (size_t k = 0; k < n; k++)
	{
		size_t document = list_document(batch, pair, k);
		const ds_real *x = view->document + document * dims;

		if (distance)
		{
			double square = 0;

			for (size_t c = 0; c < dims; c++)
				square += ((double) q[c] - (double) x[c]) * ((double) q[c] - (double) x[c]);
			scores[k] = (ds_real) sqrt(square);
		}
		else
			scores[k] = kernels->dot(q, x, dims);
		if (batch->labels != NULL)
			labels[k] = batch->labels[document];
	}
	shard->loss += weight * ds_list_loss(list, scores, labels, n, gradient, &d_scale, &right);
	shard->d_scale += weight * d_scale;
	shard->correct += right;
	memset(dq, 0, dims * sizeof(ds_real));
	for (size_t k = 0; k < n; k++)
	{
		size_t document = list_document(batch, pair, k);
		const ds_real *x = view->document + document * dims;
		ds_real *dx = view->own_document + own_place(batch, shard, document) * dims;
		ds_real g = (ds_real) weight * gradient[k];

		if (distance)
		{
			/* d |q - x| / dq = (q - x) / |q - x|; of equal vectors nothing is known */
			ds_real by = scores[k] > 0 ? g / scores[k] : 0;

			for (size_t c = 0; c < dims; c++)
			{
				dx[c] = by * (x[c] - q[c]);
				dq[c] -= dx[c];
			}
		}
		else
			for (size_t c = 0; c < dims; c++)
			{
				dx[c] = g * q[c];
				dq[c] += g * x[c];
			}
	}
}

/* One pair of a single network: outputs of its documents */
static void
single_list(const DsTrainer *trainer, Shard *shard, const View *view, const DsListLoss *list,
			size_t pair, ds_real *scores, float *labels)
{
	const DsTrainBatch *batch = &trainer->batch;
	size_t n = list_length(batch, pair);
	size_t outs = view->dims;
	double weight = view->weight / (double) batch->pairs *
					(batch->weights != NULL ? (double) batch->weights[pair] : 1);
	bool each = list->loss == DS_LOSS_CLASSES || list->loss == DS_LOSS_BINARY;
	bool all_right = true;
	bool right;

	for (size_t k = 0; k < n; k++)
	{
		size_t document = list_document(batch, pair, k);
		const ds_real *out = view->document + document * outs;
		ds_real *d = view->own_document + own_place(batch, shard, document) * outs;

		if (!each)
		{
			scores[k] = out[0];
			if (batch->labels != NULL)
				labels[k] = batch->labels[document];
			continue;
		}
		shard->loss +=
			weight / (double) n *
			ds_list_loss(list, out,
						 batch->labels + document * (list->loss == DS_LOSS_CLASSES ? 1 : outs),
						 outs, d, NULL, &right);
		for (size_t c = 0; c < outs; c++)
			d[c] *= (ds_real) (weight / (double) n);
		all_right = all_right && right;
	}
	if (!each)
	{
		ds_real *gradient = scores + n;

		shard->loss += weight * ds_list_loss(list, scores, labels, n, gradient, NULL, &all_right);
		for (size_t k = 0; k < n; k++)
			view->own_document[own_place(batch, shard, list_document(batch, pair, k))] =
				(ds_real) weight * gradient[k];
	}
	shard->correct += all_right;
}

static DsCode
own_lists(const DsTrainer *trainer, Shard *shard, const View *view)
{
	DsListLoss list = list_loss_of(trainer);
	bool dual = trainer->head->net.kind == DS_NET_DUAL;
	/* begin has made room for the longest list */
	ds_real *scores = shard->scores;
	float *labels = (float *) (void *) shard->norms;

	for (size_t pair = shard->pair_begin; pair < shard->pair_end; pair++)
	{
		if (pair % 64 == 0 && ds_cancelled(trainer->cancel))
			return DS_CANCELLED;
		if (dual)
			dual_list(trainer, shard, view, &list, pair, scores, labels);
		else
			single_list(trainer, shard, view, &list, pair, scores, labels);
	}
	return DS_OK;
}

static DsCode
view_loss(const DsTrainer *trainer, Shard *shard, const View *view)
{
	return in_batch(trainer->head->config.loss) ? batch_loss(trainer, shard, view)
												: own_lists(trainer, shard, view);
}

/*
 * Matryoshka
 */

/* rows of x[rows, dims], their first "shorter" components, normalised if asked for */
static void
shorten(const ds_real *x, size_t rows, size_t dims, size_t shorter, ds_real *out, ds_real *inverse)
{
	for (size_t r = 0; r < rows; r++)
		memcpy(out + r * shorter, x + r * dims, shorter * sizeof(ds_real));
	if (inverse != NULL)
		ds_normalize_forward(out, rows, shorter, out, inverse);
}

/* The gradient by shortened rows, on top of that by the whole ones; d is overwritten */
static void
lengthen(const ds_real *out, const ds_real *inverse, ds_real *d, size_t rows, size_t dims,
		 size_t shorter, ds_real *total)
{
	const DsNnKernels *kernels = ds_nn_kernels();

	if (inverse != NULL)
		ds_normalize_backward(out, inverse, d, rows, shorter, d);
	for (size_t r = 0; r < rows; r++)
		kernels->add(total + r * dims, d + r * shorter, shorter);
}

static DsCode
matryoshka_loss(const DsTrainer *trainer, Shard *shard, const View *whole, size_t length,
				View *view)
{
	const DsTrainBatch *batch = &trainer->batch;
	size_t dims = whole->dims;
	size_t m = view->dims;
	size_t own = shard_documents(shard);
	bool cosine = trainer->head->net.score == DS_SCORE_COSINE;
	ds_real *at = shard->prefix;
	ds_real *query = at;
	ds_real *document = query + batch->pairs * dims;
	ds_real *own_query = document + batch->documents * dims;
	ds_real *own_document = own_query + shard_pairs(shard) * dims;
	ds_real *part_document = own_document + own * dims;
	ds_real *part_query = part_document + batch->documents * dims;
	ds_real *inverse = part_query + batch->pairs * dims;
	ds_real *by_query = cosine ? inverse : NULL;
	ds_real *by_document = cosine ? inverse + batch->pairs : NULL;
	size_t first = shard->pair_begin;
	DsCode code;

	shorten(whole->query, batch->pairs, dims, m, query, by_query);
	shorten(whole->document, batch->documents, dims, m, document, by_document);
	view->query = query;
	view->document = document;
	view->own_query = own_query;
	view->own_document = own_document;
	view->part_document = whole->part_document != NULL ? part_document : NULL;
	view->part_query = whole->part_query != NULL ? part_query : NULL;
	if (length > 0)
		shard->correct = 0; /* that of the last length counts */
	code = view_loss(trainer, shard, view);
	if (code != DS_OK)
		return code;
	if (shard_pairs(shard) > 0)
		lengthen(query + first * m, cosine ? by_query + first : NULL, own_query, shard_pairs(shard),
				 dims, m, whole->own_query);
	if (whole->part_document != NULL)
	{
		lengthen(document, by_document, part_document, batch->documents, dims, m,
				 whole->part_document);
		if (whole->part_query != NULL)
		{
			lengthen(query, by_query, part_query, batch->pairs, dims, m, whole->part_query);
			if (shard_pairs(shard) > 0)
				lengthen(document + first * m, cosine ? by_document + first : NULL, own_document,
						 shard_pairs(shard), dims, m, whole->own_document);
		}
		return DS_OK;
	}
	lengthen(document + first * m, cosine ? by_document + first : NULL, own_document,
			 shard_pairs(shard), dims, m, whole->own_document);
	lengthen(document + shard->other_begin * m, cosine ? by_document + shard->other_begin : NULL,
			 own_document + shard_pairs(shard) * m, own - shard_pairs(shard), dims, m,
			 whole->own_document + shard_pairs(shard) * dims);
	return DS_OK;
}

/* Scratch of a shard's loss; false: no memory */
static bool
reserve_loss(DsTrainer *trainer, Shard *shard)
{
	const BlockHeader *head = trainer->head;
	const DsTrainBatch *batch = &trainer->batch;
	DsArena *arena = trainer->arena;
	Room *room = shard->room;
	size_t dims = head->dims;
	size_t pairs = shard_pairs(shard);
	size_t own = shard_documents(shard);
	size_t scores = 0;

	shard->panel = panel_rows(batch->documents, dims);
	if (shard->panel > pairs)
		shard->panel = pairs;
	if (in_batch(head->config.loss))
		scores = shard->panel * batch->documents;
	else
		for (size_t pair = shard->pair_begin; pair < shard->pair_end; pair++)
			if (2 * list_length(batch, pair) > scores)
				scores = 2 * list_length(batch, pair);
	if (!ds_training_reserve(arena, room++, scores, 1, sizeof(ds_real), &shard->scores) ||
		!ds_training_reserve(arena, room++, pairs, dims, sizeof(ds_real), &shard->d_own_query) ||
		!ds_training_reserve(arena, room++, own, dims, sizeof(ds_real), &shard->d_own_document) ||
		!ds_training_reserve(arena, room++, 2 * batch->documents, 1, sizeof(ds_real),
							 &shard->norms))
		return false;
	return head->config.matryoshka_count == 0 ||
		   ds_training_reserve(arena, room++,
							   2 * (batch->pairs + batch->documents) + pairs + own + 1, dims + 1,
							   sizeof(ds_real), &shard->prefix);
}

DsCode
ds_training_loss(DsTrainer *trainer, int number, DsStatus *status)
{
	BlockHeader *head = trainer->head;
	const DsTrainConfig *config = &head->config;
	const DsTrainBatch *batch = &trainer->batch;
	Shard *shard = &trainer->shard[number];
	bool whole_batch = in_batch(config->loss);
	View whole = {.dims = head->dims, .weight = 1};
	DsCode code = DS_OK;

	if (!reserve_loss(trainer, shard))
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for a batch of %zu pairs",
					   batch->pairs);
	whole.query = head->query > 0 ? block_reals(trainer, head->query) : NULL;
	whole.document = block_reals(trainer, head->document);
	whole.own_query = shard->d_own_query;
	whole.own_document = shard->d_own_document;
	if (whole_batch)
		whole.part_document = block_reals(trainer, head->d_document[number]);
	if (both_ways(config))
		whole.part_query = block_reals(trainer, head->d_query[number]);
	shard->loss = 0;
	shard->d_scale = 0;
	shard->correct = 0;
	if (config->matryoshka_count == 0)
		code = view_loss(trainer, shard, &whole);
	else
	{
		size_t row = head->dims * sizeof(ds_real);

		memset(whole.own_query, 0, shard_pairs(shard) * row);
		memset(whole.own_document, 0, shard_documents(shard) * row);
		if (whole.part_document != NULL)
			memset(whole.part_document, 0, batch->documents * row);
		if (whole.part_query != NULL)
			memset(whole.part_query, 0, batch->pairs * row);
	}
	for (uint32_t i = 0; i < config->matryoshka_count && code == DS_OK; i++)
	{
		View view = {.dims = config->matryoshka[i], .weight = config->matryoshka_weight[i]};

		code = matryoshka_loss(trainer, shard, &whole, i, &view);
	}
	if (code == DS_CANCELLED)
		return ds_fail(status, DS_CANCELLED, "cancelled");
	return code;
}
