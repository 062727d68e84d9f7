/*
 * training_rows.c
 *		Gradients of tables of embeddings, from the shards to the optimizer.
 *
 * Bags.  A row's gradient is the sum, over the texts that have its feature, of the
 * gradients by these texts' pooled vectors: an embedding bag the other way round
 * (layers.c).  Shards leave ids and gradients of their texts in the block; then rows
 * are dealt out to workers by units, as all parameters are, and whose row it is adds
 * up its texts in the order of the batch, whatever shard they are of.  So the result
 * does not depend on the number of workers, each row is written once, and it stays in
 * its worker's memory, row behind row, until the update.
 *
 * Example: texts {7 3}, {3}, {7 7} have rows {3 7}, which begin at {0 2} of the texts
 * {0 1, 0 2 2}.
 *
 * Transformers.  A row's gradient is a sum over tokens, of which each shard has its
 * own, in rising order of rows; these lists are merged here.
 *
 * Where gradients of several batches are added up, and for transformers, the sums lie
 * in an array of the table's shape that is 0 everywhere else, with marks on the rows.
 */
#include <string.h>

#include "nn/layers.h"
#include "nn/simd.h"
#include "nn/training_private.h"

#define UPDATE_ROWS 256 /* that the optimizer gets at once */

bool
ds_training_in_table(const BlockHeader *head, const BlockParameter *p)
{
	return !has_bag(&head->net.tower[p->tower]) || head->config.accumulate > 1;
}

/* Texts that go through a tower */
static size_t
tower_texts(const DsTrainer *trainer, size_t t)
{
	const DsNet *net = &trainer->head->net;
	size_t texts = 0;

	if (net->kind == DS_NET_DUAL && side_tower(net, DS_SIDE_QUERY) == t)
		texts += trainer->batch.pairs;
	if (side_tower(net, DS_SIDE_DOCUMENT) == t)
		texts += trainer->batch.documents;
	return texts;
}

/* The unit that a row is in */
static inline size_t
unit_of(size_t row)
{
	return (row < TABLE_SINGLE ? row : row / TABLE_ROWS) % TABLE_UNITS;
}

/* Which of a table's units are this worker's, a bit each */
static uint64_t
own_units(const Share *share)
{
	uint64_t own = 0;

	for (uint64_t u = 0; u < TABLE_UNITS; u++)
		own |= (uint64_t) is_mine(share, u) << u;
	return own;
}

static inline bool
owns(uint64_t own, size_t row)
{
	return (own >> unit_of(row) & 1) != 0;
}

/*
 * The distinct ids of the batch that are in this worker's units, rising, and the texts
 * of each.  Half of the ids are another's, in no order that a processor could guess:
 * the first look at them has no branch and keeps the own ones for the second.
 */
static void
list_rows(DsTrainer *trainer, size_t t, uint64_t own)
{
	const BlockHeader *head = trainer->head;
	const uint32_t *ids = (const uint32_t *) (const void *) (trainer->block + head->bag_ids[t]);
	const BagText *place = (const BagText *) (const void *) (trainer->block + head->bag_texts[t]);
	BagRows *bag = &trainer->bag[t];
	size_t texts = tower_texts(trainer, t);
	size_t words = head->net.tower[t].bag.vocabulary / 64 + (size_t) 1;
	uint32_t *counts = trainer->places[t];
	uint64_t *bits = trainer->bits[t];
	uint32_t sum = 0;
	size_t n = 0;

	for (size_t text = 0; text < texts; text++)
		for (size_t i = place[text].begin; i < place[text].end; i++)
		{
			uint32_t id = ids[i];
			uint64_t mine = owns(own, id);

			bag->own[n] = (BagFeature){id, (uint32_t) text};
			n += mine;
			counts[id] += (uint32_t) mine;
			bits[id >> 6] |= mine << (id & 63);
		}
	bag->count = 0;
	for (size_t w = 0; w < words; w++)
	{
		for (uint64_t word = bits[w]; word != 0; word &= word - 1)
		{
			uint32_t id = (uint32_t) (w * 64 + (size_t) __builtin_ctzll(word));
			uint32_t texts_of_it = counts[id];

			bag->rows[bag->count] = id;
			bag->offsets[bag->count++] = sum;
			counts[id] = sum;
			sum += texts_of_it;
		}
		bits[w] = 0;
	}
	bag->offsets[bag->count] = sum;
	for (size_t i = 0; i < n; i++)
		bag->texts[counts[bag->own[i].id]++] = bag->own[i].text;
	for (size_t r = 0; r < bag->count; r++)
		counts[bag->rows[r]] = 0;
}

/* The gradient of row r of a bag's list */
static void
sum_texts(const BagRows *bag, size_t r, const ds_real *d, size_t dims, ds_real *out)
{
	ds_nn_kernels()->bag(d, dims, bag->texts + bag->offsets[r],
						 bag->offsets[r + 1] - bag->offsets[r], 1, out);
}

/* left over from a step that went wrong */
static void
forget_row(uint8_t *touched, ds_real *gradient, size_t dims)
{
	if (*touched & TOUCHED_NOW)
		memset(gradient, 0, dims * sizeof(ds_real));
	*touched &= (uint8_t) ~TOUCHED_NOW;
}

/* Rows of a table over bags: those of the batch, or where sums lie in the table all */
static void
reduce_bag(DsTrainer *trainer, const BlockParameter *p, uint64_t own, double *squares)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	const BlockHeader *head = trainer->head;
	uint8_t *touched = (uint8_t *) trainer->block + p->touched;
	size_t dims = p->shape[1];
	BagRows *bag = &trainer->bag[p->tower];
	const ds_real *d = block_reals(trainer, head->bag_d[p->tower]);
	bool in_table = ds_training_in_table(head, p);
	size_t next = 0;

	list_rows(trainer, p->tower, own);
	for (size_t row = 0; in_table && row < p->shape[0]; row++)
	{
		ds_real *out = block_reals(trainer, p->gradient) + row * dims;

		if (!owns(own, row))
			continue;
		if (trainer->number == 0)
			forget_row(&touched[row], out, dims);
		if (next < bag->count && bag->rows[next] == row)
		{
			sum_texts(bag, next++, d, dims, bag->gradient);
			/* it is 0 where the step has not met it */
			kernels->add(out, bag->gradient, dims);
			touched[row] |= TOUCHED_NOW;
		}
		if (touched[row] & TOUCHED_NOW)
			squares[unit_of(row)] += (double) kernels->dot(out, out, dims);
	}
	for (size_t r = 0; !in_table && r < bag->count; r++)
	{
		ds_real *out = bag->gradient + r * dims;

		sum_texts(bag, r, d, dims, out);
		squares[unit_of(bag->rows[r])] += (double) kernels->dot(out, out, dims);
	}
}

/* Rows of a transformer's table: all shards' rows, merged */
static void
reduce_tokens(DsTrainer *trainer, const BlockParameter *p, uint64_t own, double *squares)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	const BlockHeader *head = trainer->head;
	uint8_t *touched = (uint8_t *) trainer->block + p->touched;
	size_t dims = p->shape[1];
	size_t t = p->tower;
	const uint32_t *rows[DS_SHARDS];
	size_t next[DS_SHARDS] = {0};
	ds_real sum[256];

	for (size_t s = 0; s < DS_SHARDS; s++)
		rows[s] = (const uint32_t *) (const void *) (trainer->block + head->rows[s][t]);
	for (size_t row = 0; row < p->shape[0]; row++)
	{
		ds_real *out = block_reals(trainer, p->gradient) + row * dims;
		const ds_real *part[DS_SHARDS] = {NULL};
		bool any = false;

		for (size_t s = 0; s < DS_SHARDS; s++)
			if (next[s] < head->row_count[s][t] && rows[s][next[s]] == row)
			{
				part[s] = block_reals(trainer, head->d_rows[s][t]) + next[s]++ * dims;
				any = true;
			}
		if (!owns(own, row))
			continue;
		if (trainer->number == 0)
			forget_row(&touched[row], out, dims);
		if (any && !(touched[row] & TOUCHED_NOW))
			/* it is 0 */
			ds_training_sum(part, dims, out);
		for (size_t at = 0; any && (touched[row] & TOUCHED_NOW) && at < dims; at += 256)
		{
			size_t n = dims - at < 256 ? dims - at : 256;

			ds_training_sum(part, n, sum);
			kernels->add(out + at, sum, n);
			for (size_t s = 0; s < DS_SHARDS; s++)
				part[s] = part[s] != NULL ? part[s] + 256 : NULL;
		}
		if (any)
			touched[row] |= TOUCHED_NOW;
		if (touched[row] & TOUCHED_NOW)
			squares[unit_of(row)] += (double) kernels->dot(out, out, dims);
	}
}

void
ds_training_reduce_rows(DsTrainer *trainer, const BlockParameter *p, const Share *share)
{
	const BlockHeader *head = trainer->head;
	double *squares = (double *) (void *) (trainer->block + head->squares) + share->unit;
	uint64_t own = own_units(share);
	double sums[TABLE_UNITS] = {0};

	if (has_bag(&head->net.tower[p->tower]))
		reduce_bag(trainer, p, own, sums);
	else
		reduce_tokens(trainer, p, own, sums);
	for (size_t u = 0; u < TABLE_UNITS; u++)
		if (own >> u & 1)
			squares[u] = sums[u];
}

/*
 * This worker's next rows, from *row on (exact or in the table) or *next on in a bag's
 * list, that the optimizer sees: rows[] and, for each, where its gradient is.  Returns
 * how many, 0 at the end.
 */
static size_t
next_rows(const DsTrainer *trainer, const BlockParameter *p, uint64_t own, size_t *row,
		  size_t *next, uint32_t *rows, const ds_real **gradient)
{
	const BlockHeader *head = trainer->head;
	const uint8_t *touched = (const uint8_t *) trainer->block + p->touched;
	const BagRows *bag = &trainer->bag[p->tower];
	bool in_table = ds_training_in_table(head, p);
	bool all = head->config.exact_rows;
	size_t dims = p->shape[1];
	size_t count = 0;

	for (; !all && !in_table && *next < bag->count && count < UPDATE_ROWS; ++*next)
	{
		rows[count] = bag->rows[*next];
		gradient[count++] = bag->gradient + *next * dims;
	}
	for (; (all || in_table) && *row < p->shape[0] && count < UPDATE_ROWS; ++*row)
	{
		bool now;

		if (!owns(own, *row))
			continue;
		now = in_table ? (touched[*row] & TOUCHED_NOW) != 0
					   : *next < bag->count && bag->rows[*next] == *row;
		if (!all && !now)
			continue;
		rows[count] = (uint32_t) *row;
		gradient[count++] = !now	   ? trainer->zeros
							: in_table ? block_reals(trainer, p->gradient) + *row * dims
									   : bag->gradient + (*next)++ * dims;
	}
	return count;
}

void
ds_training_update_rows(DsTrainer *trainer, size_t number, const DsUpdate *update,
						const Share *share)
{
	const BlockHeader *head = trainer->head;
	const BlockParameter *p = &trainer->parameter[number];
	uint8_t *touched = (uint8_t *) trainer->block + p->touched;
	ds_real *first = head->states > 0 ? block_reals(trainer, p->state[0]) : NULL;
	ds_real *second = head->states > 1 ? block_reals(trainer, p->state[1]) : NULL;
	uint64_t own = own_units(share);
	size_t dims = p->shape[1];
	uint32_t rows[UPDATE_ROWS];
	const ds_real *gradient[UPDATE_ROWS];
	size_t row = 0;
	size_t next = 0;
	size_t count;

	while ((count = next_rows(trainer, p, own, &row, &next, rows, gradient)) > 0)
	{
		ds_optimizer_update_rows(update, rows, count, dims, gradient,
								 parameter_value(trainer, number), first, second);
		for (size_t i = 0; i < count; i++)
		{
			if (touched[rows[i]] & TOUCHED_NOW)
				memset(block_reals(trainer, p->gradient) + rows[i] * dims, 0,
					   dims * sizeof(ds_real));
			/* a byte beside those of other workers: it is not written in vain */
			if (touched[rows[i]] != TOUCHED_SINCE)
				touched[rows[i]] = TOUCHED_SINCE;
		}
	}
}

void
ds_training_gather_rows(const DsTrainer *trainer, const BlockParameter *p, ds_real *out)
{
	const BagRows *bag = &trainer->bag[p->tower];
	size_t dims = p->shape[1];

	if (ds_training_in_table(trainer->head, p))
	{
		memcpy(out, block_reals(trainer, p->gradient), p->count * sizeof(ds_real));
		return;
	}
	memset(out, 0, p->count * sizeof(ds_real));
	for (size_t r = 0; r < bag->count; r++)
		memcpy(out + bag->rows[r] * dims, bag->gradient + r * dims, dims * sizeof(ds_real));
}
