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

/*
 * The distinct ids of the batch that are in this worker's units, rising, and the texts
 * of each.
 */
static void
list_rows(DsTrainer *trainer, size_t t, const bool *mine)
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

	for (size_t text = 0; text < texts; text++)
		for (size_t i = place[text].begin; i < place[text].end; i++)
			if (mine[ids[i] / UNIT_ROWS] && counts[ids[i]]++ == 0)
				bits[ids[i] >> 6] |= UINT64_C(1) << (ids[i] & 63);
	bag->count = 0;
	for (size_t w = 0; w < words; w++)
	{
		for (uint64_t word = bits[w]; word != 0; word &= word - 1)
		{
			uint32_t id = (uint32_t) (w * 64 + (size_t) __builtin_ctzll(word));
			uint32_t n = counts[id];

			bag->rows[bag->count] = id;
			bag->offsets[bag->count++] = sum;
			counts[id] = sum;
			sum += n;
		}
		bits[w] = 0;
	}
	bag->offsets[bag->count] = sum;
	for (size_t text = 0; text < texts; text++)
		for (size_t i = place[text].begin; i < place[text].end; i++)
			if (mine[ids[i] / UNIT_ROWS])
				bag->texts[counts[ids[i]]++] = (uint32_t) text;
	for (size_t r = 0; r < bag->count; r++)
		counts[bag->rows[r]] = 0;
}

/* The next row of a bag's list, if it is this one: its gradient to out */
static bool
take_row(const BagRows *bag, size_t *next, size_t row, const ds_real *d, size_t dims, ds_real *out)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	size_t r = *next;

	if (r == bag->count || bag->rows[r] != row)
		return false;
	kernels->bag(d, dims, bag->texts + bag->offsets[r], bag->offsets[r + 1] - bag->offsets[r], 1,
				 out);
	*next = r + 1;
	return true;
}

/* left over from a step that went wrong */
static void
forget_row(uint8_t *touched, ds_real *gradient, size_t dims)
{
	if (*touched & TOUCHED_NOW)
		memset(gradient, 0, dims * sizeof(ds_real));
	*touched &= (uint8_t) ~TOUCHED_NOW;
}

static void
reduce_bag(DsTrainer *trainer, const BlockParameter *p, const Share *share)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	const BlockHeader *head = trainer->head;
	double *squares = (double *) (void *) (trainer->block + head->squares);
	uint8_t *touched = (uint8_t *) trainer->block + p->touched;
	size_t dims = p->shape[1];
	size_t t = p->tower;
	BagRows *bag = &trainer->bag[t];
	const ds_real *d = block_reals(trainer, head->bag_d[t]);
	bool in_table = ds_training_in_table(head, p);
	size_t next = 0;

	for (uint64_t u = 0; u < p->units; u++)
		bag->mine[u] = is_mine(share, u);
	list_rows(trainer, t, bag->mine);
	for (uint64_t u = 0; u < p->units; u++)
	{
		size_t begin = u * UNIT_ROWS;
		size_t end = begin + UNIT_ROWS < p->shape[0] ? begin + UNIT_ROWS : p->shape[0];
		double square = 0;

		if (!bag->mine[u])
			continue;
		if (!in_table)
		{
			const ds_real *first = bag->gradient + next * dims;
			size_t before = next;

			while (next < bag->count && bag->rows[next] < end)
				take_row(bag, &next, bag->rows[next], d, dims, bag->gradient + next * dims);
			square = (double) kernels->dot(first, first, (next - before) * dims);
		}
		for (size_t row = begin; in_table && row < end; row++)
		{
			ds_real *out = block_reals(trainer, p->gradient) + row * dims;

			if (trainer->number == 0)
				forget_row(&touched[row], out, dims);
			if (take_row(bag, &next, row, d, dims, bag->gradient))
			{
				/* it is 0 where the step has not met it */
				kernels->add(out, bag->gradient, dims);
				touched[row] |= TOUCHED_NOW;
			}
			if (touched[row] & TOUCHED_NOW)
				square += (double) kernels->dot(out, out, dims);
		}
		squares[share->unit + u] = square;
	}
}

/* Rows of a transformer's table: all shards' rows of a unit, merged */
static void
reduce_tokens(DsTrainer *trainer, const BlockParameter *p, const Share *share)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	const BlockHeader *head = trainer->head;
	double *squares = (double *) (void *) (trainer->block + head->squares);
	uint8_t *touched = (uint8_t *) trainer->block + p->touched;
	ds_real *gradient = block_reals(trainer, p->gradient);
	size_t dims = p->shape[1];
	size_t t = p->tower;
	const uint32_t *rows[DS_SHARDS];
	size_t next[DS_SHARDS] = {0};
	ds_real sum[256];

	for (size_t s = 0; s < DS_SHARDS; s++)
		rows[s] = (const uint32_t *) (const void *) (trainer->block + head->rows[s][t]);
	for (uint64_t u = 0; u < p->units; u++)
	{
		size_t begin = u * UNIT_ROWS;
		size_t end = begin + UNIT_ROWS < p->shape[0] ? begin + UNIT_ROWS : p->shape[0];
		double square = 0;

		if (!is_mine(share, u))
		{
			for (size_t s = 0; s < DS_SHARDS; s++)
				while (next[s] < head->row_count[s][t] && rows[s][next[s]] < end)
					next[s]++;
			continue;
		}
		for (size_t row = begin; row < end; row++)
		{
			ds_real *out = gradient + row * dims;
			const ds_real *part[DS_SHARDS] = {NULL};
			bool any = false;

			if (trainer->number == 0)
				forget_row(&touched[row], out, dims);
			for (size_t s = 0; s < DS_SHARDS; s++)
				if (next[s] < head->row_count[s][t] && rows[s][next[s]] == row)
				{
					part[s] = block_reals(trainer, head->d_rows[s][t]) + next[s]++ * dims;
					any = true;
				}
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
				square += (double) kernels->dot(out, out, dims);
		}
		squares[share->unit + u] = square;
	}
}

void
ds_training_reduce_rows(DsTrainer *trainer, const BlockParameter *p, const Share *share)
{
	if (has_bag(&trainer->head->net.tower[p->tower]))
		reduce_bag(trainer, p, share);
	else
		reduce_tokens(trainer, p, share);
}

/*
 * Rows of a unit that the optimizer sees: rows[] and, for each, where its gradient is.
 * Returns how many.
 */
static size_t
unit_rows(const DsTrainer *trainer, const BlockParameter *p, size_t begin, size_t end, size_t *next,
		  uint32_t *rows, const ds_real **gradient)
{
	const BlockHeader *head = trainer->head;
	const uint8_t *touched = (const uint8_t *) trainer->block + p->touched;
	const BagRows *bag = &trainer->bag[p->tower];
	bool in_table = ds_training_in_table(head, p);
	bool all = head->config.exact_rows;
	size_t dims = p->shape[1];
	size_t count = 0;

	while (!in_table && *next < bag->count && bag->rows[*next] < begin)
		++*next;
	for (size_t row = begin; !all && !in_table && *next < bag->count && bag->rows[*next] < end;)
	{
		row = bag->rows[*next];
		rows[count] = (uint32_t) row;
		gradient[count++] = bag->gradient + (*next)++ * dims;
	}
	for (size_t row = begin; (all || in_table) && row < end; row++)
	{
		bool now = in_table ? (touched[row] & TOUCHED_NOW) != 0
							: *next < bag->count && bag->rows[*next] == row;

		if (!all && !now)
			continue;
		rows[count] = (uint32_t) row;
		gradient[count++] = !now	   ? trainer->zeros
							: in_table ? block_reals(trainer, p->gradient) + row * dims
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
	size_t dims = p->shape[1];
	size_t next = 0;

	for (uint64_t u = 0; u < p->units; u++)
	{
		size_t begin = u * UNIT_ROWS;
		size_t end = begin + UNIT_ROWS < p->shape[0] ? begin + UNIT_ROWS : p->shape[0];
		uint32_t rows[UNIT_ROWS];
		const ds_real *gradient[UNIT_ROWS];
		size_t count;

		if (!is_mine(share, u))
			continue;
		count = unit_rows(trainer, p, begin, end, &next, rows, gradient);
		ds_optimizer_update_rows(update, rows, count, dims, gradient,
								 parameter_value(trainer, number), first, second);
		for (size_t i = 0; i < count; i++)
		{
			if (touched[rows[i]] & TOUCHED_NOW)
				memset(block_reals(trainer, p->gradient) + rows[i] * dims, 0,
					   dims * sizeof(ds_real));
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
