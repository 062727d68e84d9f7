/*
 * trainer_shard.c
 *		One shard's part of a step: forward, loss, backward.
 *
 * What a shard computes depends on the batch, the parameters and its number,
 * and on nothing that another worker may be doing: matrices have the shard's
 * shapes, random numbers come from the stream (seed, step, shard).  Shards read
 * each other's results only behind a barrier: the vectors after forward, the
 * parts of the vectors' gradients after the loss.
 */
#include "nn/trainer_shard.h"

#include <math.h>
#include <string.h>

#include "nn/matrix.h"
#include "nn/simd.h"

double
ds_shard_scale(const DsTrainer *trainer)
{
	return exp((double) trainer->encoder->parameter[trainer->encoder->scale_parameter].value[0]);
}

/* out[n] = a + b, where one of them may be absent, or both: 0 */
static void
sum_two(const DsNnKernels *kernels, const ds_real *a, const ds_real *b, size_t n, ds_real *out)
{
	const ds_real *first = a != NULL ? a : b;

	if (first == NULL)
		memset(out, 0, n * sizeof(ds_real));
	else if (first != out)
		memcpy(out, first, n * sizeof(ds_real));
	if (a != NULL && b != NULL)
		kernels->add(out, b, n);
}

/* In blocks, so that the sum of the second two needs little room */
void
ds_shard_sum(const ds_real *const part[DS_SHARDS], size_t n, ds_real *out)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	ds_real second[256];
	const size_t block = sizeof(second) / sizeof(second[0]);
	bool right = part[2] != NULL || part[3] != NULL;

	for (size_t at = 0; at < n; at += block)
	{
		size_t m = n - at < block ? n - at : block;
		const ds_real *p[DS_SHARDS];

		for (size_t s = 0; s < DS_SHARDS; s++)
			p[s] = part[s] != NULL ? part[s] + at : NULL;
		if (right)
			sum_two(kernels, p[2], p[3], m, second);
		sum_two(kernels, p[0], p[1], m, out + at);
		if (right)
			kernels->add(out + at, second, m);
	}
}

/* Append texts begin to end - 1 of a ragged array to the pass, some features left out */
static void
take_texts(Pass *pass, const uint32_t *ids, const size_t *offsets, size_t begin, size_t end,
		   double dropout, DsRandom *random)
{
	size_t n = pass->offsets[pass->texts];
	uint64_t threshold = (uint64_t) (dropout * 0x1p32);

	for (size_t t = begin; t < end; t++)
	{
		size_t first = n;

		for (size_t i = offsets[t]; i < offsets[t + 1]; i++)
		{
			pass->ids[n] = ids[i];
			/* the first one stands in while no other has come through */
			if (threshold == 0 || ds_random_next(random) >> 32 >= threshold)
				n++;
		}
		if (n == first && offsets[t + 1] > offsets[t])
			pass->ids[n++] = ids[offsets[t]];
		pass->offsets[++pass->texts] = n;
	}
}

/* Which texts each id occurs in: rows, row_offsets, row_texts, from ids and offsets */
static void
transpose(Pass *pass, size_t vocabulary)
{
	size_t tokens = pass->offsets[pass->texts];
	uint32_t count = 0;
	uint32_t sum = 0;

	for (size_t i = 0; i < tokens; i++)
		pass->bits[pass->ids[i] >> 6] |= UINT64_C(1) << (pass->ids[i] & 63);
	for (size_t w = 0; w < (vocabulary + 63) / 64; w++)
	{
		for (uint64_t word = pass->bits[w]; word != 0; word &= word - 1)
		{
			uint32_t id = (uint32_t) (w * 64 + (size_t) __builtin_ctzll(word));

			pass->places[id] = count;
			pass->rows[count++] = id;
		}
		pass->bits[w] = 0;
	}
	pass->row_count = count;
	memset(pass->row_offsets, 0, (count + (size_t) 1) * sizeof(uint32_t));
	for (size_t i = 0; i < tokens; i++)
		pass->row_offsets[pass->places[pass->ids[i]]]++;
	for (uint32_t r = 0; r <= count; r++)
	{
		uint32_t n = pass->row_offsets[r];

		pass->row_offsets[r] = sum;
		sum += n;
	}
	/* each row's begin walks to its end, which is the next one's begin: shift them back after */
	for (size_t t = 0; t < pass->texts; t++)
		for (size_t i = pass->offsets[t]; i < pass->offsets[t + 1]; i++)
			pass->row_texts[pass->row_offsets[pass->places[pass->ids[i]]]++] = (uint32_t) t;
	memmove(pass->row_offsets + 1, pass->row_offsets, count * sizeof(uint32_t));
	pass->row_offsets[0] = 0;
}

/* The pass's vectors: [texts, dims] */
static ds_real *
pass_output(const Pass *pass, const DsTowerConfig *tower)
{
	return tower->dense_count > 0 ? pass->layer[tower->dense_count - 1] : pass->pooled;
}

static void
pass_forward(DsTrainer *trainer, Pass *pass, size_t t)
{
	const DsDualEncoder *encoder = trainer->encoder;
	const DsTowerConfig *tower = &encoder->config.tower[t];
	const DsParameter *parameter = &encoder->parameter[encoder->first_parameter[t]];
	const ds_real *x = pass->pooled;
	size_t ins = tower->embedding_dims;

	ds_bag_forward(parameter[0].value, ins, pass->ids, pass->offsets, pass->texts, tower->pooling,
				   pass->pooled);
	for (uint32_t i = 0; i < tower->dense_count; i++)
	{
		ds_dense_forward(x, parameter[1 + 2 * i].value, parameter[2 + 2 * i].value, pass->texts,
						 ins, tower->dense[i], pass->layer[i]);
		ins = tower->dense[i];
		x = pass->layer[i];
		if (i + 1 < tower->dense_count)
			ds_relu_forward(pass->layer[i], pass->texts * ins);
	}
	if (encoder->config.score == DS_SCORE_COSINE)
		ds_normalize_forward(x, pass->texts, ins, pass_output(pass, tower), pass->inverse);
}

void
ds_trainer_forward_shard(DsTrainer *trainer, int number)
{
	const DsDualEncoder *encoder = trainer->encoder;
	const DsTrainBatch *batch = &trainer->batch;
	Shard *shard = &trainer->shard[number];
	size_t towers = trainer_towers(trainer);
	size_t pairs = shard->pair_end - shard->pair_begin;
	size_t negatives = shard->negative_end - shard->negative_begin;
	size_t dims = encoder->dims;
	Pass *queries = &shard->pass[0];
	Pass *documents = &shard->pass[towers - 1];
	size_t first = towers == 1 ? pairs : 0; /* of the documents in their pass */
	double dropout = trainer->config.feature_dropout;
	DsRandom random;
	const ds_real *out;

	ds_random_init(&random, trainer->config.seed,
				   (trainer->steps + 1) * DS_SHARDS + (uint64_t) number);
	for (size_t t = 0; t < towers; t++)
	{
		shard->pass[t].texts = 0;
		shard->pass[t].offsets[0] = 0;
	}
	take_texts(queries, batch->query_ids, batch->query_offsets, shard->pair_begin, shard->pair_end,
			   dropout, &random);
	take_texts(documents, batch->document_ids, batch->document_offsets, shard->pair_begin,
			   shard->pair_end, dropout, &random);
	take_texts(documents, batch->document_ids, batch->document_offsets, shard->negative_begin,
			   shard->negative_end, dropout, &random);
	for (size_t t = 0; t < towers; t++)
		pass_forward(trainer, &shard->pass[t], t);
	out = pass_output(queries, &encoder->config.tower[0]);
	memcpy(trainer->query + shard->pair_begin * dims, out, pairs * dims * sizeof(ds_real));
	out = pass_output(documents, &encoder->config.tower[1]) + first * dims;
	memcpy(trainer->document + shard->pair_begin * dims, out, pairs * dims * sizeof(ds_real));
	memcpy(trainer->document + shard->negative_begin * dims, out + pairs * dims,
		   negatives * dims * sizeof(ds_real));
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

size_t
ds_shard_panel(size_t columns, size_t dims)
{
	size_t by_work = PANEL_WORK / columns / dims;
	size_t by_memory = PANEL_NUMBERS / columns;
	size_t rows = by_work < by_memory ? by_work : by_memory;

	return rows > 0 ? rows : 1;
}

/* What rows first to ... of the shard's pairs leave out of the loss */
static DsLossMask
loss_mask(const DsTrainBatch *batch, size_t first)
{
	return (DsLossMask){
		.row_query = batch->query_keys != NULL ? batch->query_keys + first : NULL,
		.row_document = batch->document_keys != NULL ? batch->document_keys + first : NULL,
		.column_query = batch->query_keys,
		.column_document = batch->document_keys,
		.paired = batch->pairs,
	};
}

/*
 * The softmax loss of the shard's rows of "from" over all "columns" of "to",
 * whose row i belongs to row i of "from".  Adds to the shard's loss.
 * own[rows, dims] gets the gradient by these rows of "from", part[columns,
 * dims] this shard's part of that by "to".  What a cancelled one leaves is unfinished.
 */
static void
softmax_rows(const DsTrainer *trainer, Shard *shard, const ds_real *from, const ds_real *to,
			 size_t columns, double weight, size_t *correct, ds_real *own, ds_real *part)
{
	size_t rows = shard->pair_end - shard->pair_begin;
	size_t dims = trainer->encoder->dims;
	size_t n;

	for (size_t at = 0; at < rows; at += n)
	{
		size_t first = shard->pair_begin + at;
		const ds_real *x = from + first * dims;
		DsLossMask mask = loss_mask(&trainer->batch, first);
		double d_scale;
		size_t right;

		n = rows - at < shard->panel ? rows - at : shard->panel;
		if (at > 0 && ds_cancelled(trainer->cancel))
		{
			shard->cancelled = true;
			return;
		}
		matrix_product(0, 1, n, columns, dims, x, dims, to, dims, 0, shard->scores, columns);
		shard->loss += ds_softmax_loss(shard->scores, n, columns, first, &mask,
									   ds_shard_scale(trainer), weight, &d_scale, &right);
		shard->d_scale += d_scale;
		if (correct != NULL)
			*correct += right;
		matrix_product(0, 0, n, dims, columns, shard->scores, columns, to, dims, 0, own + at * dims,
					   dims);
		matrix_product(1, 0, columns, dims, n, shard->scores, columns, x, dims, at > 0 ? 1 : 0,
					   part, dims);
	}
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
contrastive_panel(const DsTrainer *trainer, Shard *shard, size_t at, size_t n)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	const DsTrainBatch *batch = &trainer->batch;
	size_t first = shard->pair_begin + at;
	size_t columns = batch->documents;
	size_t dims = trainer->encoder->dims;
	const ds_real *query = trainer->query + first * dims;
	const ds_real *norms = shard->norms;
	ds_real *sums = shard->norms + columns;
	DsLossMask mask = loss_mask(batch, first);
	size_t right;

	matrix_product(0, 1, n, columns, dims, query, dims, trainer->document, dims, 0, shard->scores,
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
	shard->loss += ds_contrastive_loss(shard->scores, n, columns, first, &mask,
									   trainer->config.margin, 1.0 / (double) batch->pairs, &right);
	shard->correct += right;
	matrix_product(0, 0, n, dims, columns, shard->scores, columns, trainer->document, dims, 0,
				   shard->d_own_query + at * dims, dims);
	matrix_product(1, 0, columns, dims, n, shard->scores, columns, query, dims, at > 0 ? 1 : 0,
				   shard->d_document, dims);
	for (size_t i = 0; i < n; i++)
	{
		double sum = 0;

		for (size_t j = 0; j < columns; j++)
			sum += (double) shard->scores[i * columns + j];
		kernels->add(sums, shard->scores + i * columns, columns);
		finish_distance(shard->d_own_query + (at + i) * dims, query + i * dims, sum, dims);
	}
}

/* Like softmax_rows() */
static void
contrastive_rows(const DsTrainer *trainer, Shard *shard)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	size_t rows = shard->pair_end - shard->pair_begin;
	size_t columns = trainer->batch.documents;
	size_t dims = trainer->encoder->dims;
	ds_real *norms = shard->norms; /* of the documents */
	ds_real *sums = shard->norms + columns; /* of the columns' gradients */
	size_t n;

	for (size_t j = 0; j < columns; j++)
		norms[j] = kernels->dot(trainer->document + j * dims, trainer->document + j * dims, dims);
	memset(sums, 0, columns * sizeof(ds_real));
	for (size_t at = 0; at < rows; at += n)
	{
		n = rows - at < shard->panel ? rows - at : shard->panel;
		if (at > 0 && ds_cancelled(trainer->cancel))
		{
			shard->cancelled = true;
			return;
		}
		contrastive_panel(trainer, shard, at, n);
	}
	for (size_t j = 0; j < columns; j++)
		finish_distance(shard->d_document + j * dims, trainer->document + j * dims,
						(double) sums[j], dims);
}

void
ds_trainer_loss_shard(DsTrainer *trainer, int number)
{
	const DsTrainBatch *batch = &trainer->batch;
	Shard *shard = &trainer->shard[number];
	size_t dims = trainer->encoder->dims;
	size_t rows = shard->pair_end - shard->pair_begin;
	double weight = 1.0 / (double) batch->pairs;

	shard->cancelled = false;
	shard->loss = 0;
	shard->d_scale = 0;
	shard->correct = 0;
	if (rows == 0)
	{
		/* fewer pairs than shards: nothing to add to the others' gradients */
		memset(shard->d_document, 0, batch->documents * dims * sizeof(ds_real));
		memset(shard->d_query, 0, batch->pairs * dims * sizeof(ds_real));
		return;
	}
	if (trainer->config.loss == DS_LOSS_CONTRASTIVE)
	{
		contrastive_rows(trainer, shard);
		return;
	}
	if (trainer->config.symmetric)
	{
		softmax_rows(trainer, shard, trainer->document, trainer->query, batch->pairs, weight / 2,
					 NULL, shard->d_own_document, shard->d_query);
		weight /= 2;
	}
	softmax_rows(trainer, shard, trainer->query, trainer->document, batch->documents, weight,
				 &shard->correct, shard->d_own_query, shard->d_document);
}

/* The gradients of a tower's parameters from that of the pass's vectors, in d_one */
static void
pass_backward(DsTrainer *trainer, Pass *pass, size_t t)
{
	const DsDualEncoder *encoder = trainer->encoder;
	const DsTowerConfig *tower = &encoder->config.tower[t];
	const DsParameter *parameter = &encoder->parameter[encoder->first_parameter[t]];
	ds_real *d = pass->d_one;
	ds_real *d_in = pass->d_two;

	if (encoder->config.score == DS_SCORE_COSINE)
		ds_normalize_backward(pass_output(pass, tower), pass->inverse, d, pass->texts,
							  encoder->dims, d);
	for (uint32_t i = tower->dense_count; i-- > 0;)
	{
		size_t ins = i > 0 ? tower->dense[i - 1] : tower->embedding_dims;
		const ds_real *in = i > 0 ? pass->layer[i - 1] : pass->pooled;
		ds_real *swap = d;

		ds_dense_backward(in, parameter[1 + 2 * i].value, d, pass->texts, ins, tower->dense[i],
						  d_in, pass->d_weight[i], pass->d_bias[i]);
		if (i > 0)
			ds_relu_backward(in, d_in, pass->texts * ins);
		d = d_in;
		d_in = swap;
	}
	transpose(pass, tower->vocabulary);
	ds_bag_backward(d, tower->embedding_dims, pass->offsets, pass->texts, tower->pooling,
					pass->row_texts, pass->row_offsets, pass->row_count, d, pass->d_rows);
}

/* Rows begin to begin + n - 1 of the shards' parts, summed into out[n, dims] */
static void
sum_parts(const DsTrainer *trainer, bool document, size_t begin, size_t n, ds_real *out)
{
	size_t dims = trainer->encoder->dims;
	const ds_real *part[DS_SHARDS];

	for (size_t s = 0; s < DS_SHARDS; s++)
		part[s] =
			(document ? trainer->shard[s].d_document : trainer->shard[s].d_query) + begin * dims;
	ds_shard_sum(part, n * dims, out);
}

void
ds_trainer_backward_shard(DsTrainer *trainer, int number)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	Shard *shard = &trainer->shard[number];
	size_t towers = trainer_towers(trainer);
	size_t pairs = shard->pair_end - shard->pair_begin;
	size_t negatives = shard->negative_end - shard->negative_begin;
	size_t dims = trainer->encoder->dims;
	bool symmetric = trainer->config.loss == DS_LOSS_SOFTMAX && trainer->config.symmetric;
	ds_real *d_query = shard->pass[0].d_one;
	ds_real *d_document = shard->pass[towers - 1].d_one + (towers == 1 ? pairs * dims : 0);

	if (pairs > 0)
		memcpy(d_query, shard->d_own_query, pairs * dims * sizeof(ds_real));
	sum_parts(trainer, true, shard->pair_begin, pairs, d_document);
	sum_parts(trainer, true, shard->negative_begin, negatives, d_document + pairs * dims);
	if (symmetric && pairs > 0)
	{
		/* own rows are no longer needed: their room takes the sum over shards */
		kernels->add(d_document, shard->d_own_document, pairs * dims);
		sum_parts(trainer, false, shard->pair_begin, pairs, shard->d_own_query);
		kernels->add(d_query, shard->d_own_query, pairs * dims);
	}
	for (size_t t = 0; t < towers; t++)
		pass_backward(trainer, &shard->pass[t], t);
}
