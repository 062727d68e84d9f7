/*
 * training_shard.c
 *		A shard's way through the towers, forward and backward.
 *
 * What a shard computes depends on the batch, the parameters and its number,
 * and on nothing that another worker may be doing: matrices have the shard's
 * shapes, random numbers come from (seed, step, shard).  Shards read each other's
 * results only behind a barrier: the vectors after forward, the parts of the
 * vectors' gradients after the loss.
 *
 * In a shared tower a shard's queries come first, then its documents.  The texts
 * of a tower go through it all at once, or config.cache_texts at a time (gradient
 * caching, in transformers): then the activations of a piece are made a second time on the way
 * back, by the same random numbers.
 */
#include <string.h>

#include "nn/image_tower.h"
#include "nn/simd.h"
#include "nn/training_private.h"
#include "nn/transformer.h"

/* What goes through a tower for a shard: up to three runs of texts */
typedef struct Run
{
	const DsTrainTexts *texts;
	size_t begin;
	size_t end;
	ds_real *vectors; /* of the batch's side, [.., dims] */
	/* of all texts of the tower, queries first: what is before text 0 */
	size_t texts_before;
	size_t tokens_before;
} Run;

typedef struct Runs
{
	Run run[3];
	size_t count;
	size_t texts;
} Runs;

static Runs
shard_runs(const DsTrainer *trainer, const Shard *shard, size_t tower)
{
	const BlockHeader *head = trainer->head;
	const DsNet *net = &head->net;
	Runs runs = {.count = 0};

	size_t texts = 0;
	size_t tokens = 0;

	if (net->kind == DS_NET_DUAL && side_tower(net, DS_SIDE_QUERY) == tower)
	{
		const DsTrainTexts *query = &trainer->batch.query;

		runs.run[runs.count++] = (Run){
			query, shard->pair_begin, shard->pair_end, block_reals(trainer, head->query), 0, 0};
		texts = trainer->batch.pairs;
		tokens = query->offsets != NULL ? query->offsets[texts] - query->offsets[0] : 0;
	}
	if (side_tower(net, DS_SIDE_DOCUMENT) == tower)
	{
		const DsTrainTexts *document = &trainer->batch.document;
		ds_real *vectors = block_reals(trainer, head->document);

		runs.run[runs.count++] =
			(Run){document, shard->pair_begin, shard->pair_end, vectors, texts, tokens};
		runs.run[runs.count++] =
			(Run){document, shard->other_begin, shard->other_end, vectors, texts, tokens};
	}
	for (size_t r = 0; r < runs.count; r++)
		runs.texts += runs.run[r].end - runs.run[r].begin;
	return runs;
}

/* Texts first to last - 1 of the runs, run by run: what is left of run r */
static bool
overlap(const Runs *runs, size_t r, size_t first, size_t last, size_t *begin, size_t *end)
{
	size_t before = 0;

	for (size_t i = 0; i < r; i++)
		before += runs->run[i].end - runs->run[i].begin;
	*begin = first > before ? first - before : 0;
	*end = last > before ? last - before : 0;
	if (*end > runs->run[r].end - runs->run[r].begin)
		*end = runs->run[r].end - runs->run[r].begin;
	if (*begin >= *end)
		return false;
	*begin += runs->run[r].begin;
	*end += runs->run[r].begin;
	return true;
}

/* Append texts begin to end - 1 of a ragged array to the input, some features left out */
static void
take_texts(TowerInput *input, const DsTrainTexts *texts, size_t begin, size_t end, double dropout,
		   DsRandom *random)
{
	size_t n = input->offsets[input->texts];
	uint64_t threshold = (uint64_t) (dropout * 0x1p32);

	for (size_t t = begin; t < end; t++)
	{
		size_t first = n;

		for (size_t i = texts->offsets[t]; i < texts->offsets[t + 1]; i++)
		{
			input->ids[n] = texts->ids[i];
			input->types[n] = texts->types != NULL ? texts->types[i] : 0;
			/* the first one stands in while no other has come through */
			if (random == NULL || threshold == 0 || ds_random_next(random) >> 32 >= threshold)
				n++;
		}
		if (n == first && texts->offsets[t + 1] > texts->offsets[t])
			input->ids[n++] = texts->ids[texts->offsets[t]];
		input->offsets[++input->texts] = n;
	}
}

static void
take_features(TowerInput *input, const DsTrainTexts *texts, size_t begin, size_t end, size_t width)
{
	ds_real *out = input->features + input->texts * width;
	const float *in = texts->features + begin * width;

	for (size_t i = 0; i < (end - begin) * width; i++)
		out[i] = (ds_real) in[i];
	input->texts += end - begin;
}

/*
 * Pictures of texts begin to end - 1, behind those that are there, which are of texts first and
 * following; one that is the same as
 * that before it is not taken again.  random: see ds_image_take().
 */
static void
take_pictures(const DsTower *tower, TowerInput *input, size_t first, const DsTrainTexts *texts,
			  size_t begin, size_t end, DsRandom *random)
{
	size_t values = ds_image_values(&tower->image);
	uint32_t last = DS_NO_PICTURE;

	for (size_t i = begin; i < end; i++)
	{
		uint32_t picture = texts->picture != NULL ? texts->picture[i] : DS_NO_PICTURE;

		if (picture != last && picture != DS_NO_PICTURE)
			ds_image_take(tower, texts->pixels + picture * values, random,
						  input->features + input->pictures++ * values);
		input->picture[first++] =
			picture != DS_NO_PICTURE ? (uint32_t) (input->pictures - 1) : DS_NO_PICTURE;
		last = picture;
	}
}

/* Some texts from first on without ids, others without their picture */
static void
leave_out(const DsTower *tower, TowerInput *input, size_t first, DsRandom *random)
{
	uint64_t threshold = (uint64_t) (tower->leave_out * 0x1p31);
	size_t n = input->offsets[first];

	for (size_t i = first, begin = n; i < input->texts; i++)
	{
		size_t end = input->offsets[i + 1];
		uint64_t draw = ds_random_next(random) >> 32;

		if (draw < threshold && input->picture[i] != DS_NO_PICTURE)
			begin = end;
		else if (draw >= threshold && draw < 2 * threshold && end > begin)
			input->picture[i] = DS_NO_PICTURE;
		memmove(input->ids + n, input->ids + begin, (end - begin) * sizeof(uint32_t));
		n += end - begin;
		begin = end;
		input->offsets[i + 1] = n;
	}
}

/* Texts first to last - 1 of the runs into pass->input */
static DsCode
gather(DsTrainer *trainer, TowerPass *pass, const DsTower *tower, const Runs *runs, size_t first,
	   size_t last, double dropout, DsRandom *random, DsStatus *status)
{
	TowerInput *input = &pass->input;
	size_t tokens = 0;
	size_t begin;
	size_t end;
	bool features = tower->body == DS_BODY_FEATURES;
	bool image = has_pictures(tower);
	bool room;

	for (size_t r = 0; r < runs->count && has_ids(tower); r++)
		if (overlap(runs, r, first, last, &begin, &end))
			tokens += runs->run[r].texts->offsets[end] - runs->run[r].texts->offsets[begin];
	/* one id more: a dropped one is written before it is dropped */
	room = ds_training_reserve(trainer->arena, &pass->room[0], tokens + 1, 1, sizeof(uint32_t),
							   &input->ids) &&
		   ds_training_reserve(trainer->arena, &pass->room[1], last - first + 1, 1, sizeof(size_t),
							   &input->offsets) &&
		   ds_training_reserve(trainer->arena, &pass->room[2], tokens + 1, 1, 1, &input->types) &&
		   (!features ||
			ds_training_reserve(trainer->arena, &pass->room[3], last - first,
								tower->bag.embedding_dims, sizeof(ds_real), &input->features)) &&
		   (!image || (ds_training_reserve(trainer->arena, &pass->room[3], last - first,
										   ds_image_values(&tower->image), sizeof(ds_real),
										   &input->features) &&
					   ds_training_reserve(trainer->arena, &pass->room[4], last - first, 1,
										   sizeof(uint32_t), &input->picture)));
	if (!room)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %zu texts", last - first);
	input->texts = 0;
	input->pictures = 0;
	input->offsets[0] = 0;
	for (size_t r = 0; r < runs->count; r++)
	{
		if (!overlap(runs, r, first, last, &begin, &end))
			continue;
		if (features)
			take_features(input, runs->run[r].texts, begin, end, tower->bag.embedding_dims);
		else if (tower->body == DS_BODY_IMAGE)
		{
			take_pictures(tower, input, input->texts, runs->run[r].texts, begin, end, random);
			input->texts += end - begin;
		}
		else
		{
			size_t before = input->texts;

			take_texts(input, runs->run[r].texts, begin, end, dropout, random);
			if (!image)
				continue;
			take_pictures(tower, input, before, runs->run[r].texts, begin, end, random);
			if (tower->leave_out > 0 && random != NULL)
				leave_out(tower, input, before, random);
		}
	}
	return DS_OK;
}

/* A bag's ids to the block, where the rows of its table are looked for */
static void
leave_ids(const DsTrainer *trainer, const TowerPass *pass, size_t t, const Runs *runs)
{
	const BlockHeader *head = trainer->head;
	const TowerInput *input = &pass->input;
	uint32_t *ids = (uint32_t *) (void *) (trainer->block + head->bag_ids[t]);
	BagText *texts = (BagText *) (void *) (trainer->block + head->bag_texts[t]);
	size_t at = 0;

	for (size_t r = 0; r < runs->count; r++)
	{
		const Run *run = &runs->run[r];
		const size_t *offsets = run->texts->offsets;

		for (size_t i = run->begin; i < run->end; i++, at++)
		{
			size_t n = input->offsets[at + 1] - input->offsets[at];
			size_t begin = run->tokens_before + (offsets[i] - offsets[0]);

			memcpy(ids + begin, input->ids + input->offsets[at], n * sizeof(uint32_t));
			texts[run->texts_before + i] = (BagText){(uint32_t) begin, (uint32_t) (begin + n)};
		}
	}
}

/* ... and the gradients d by what is pooled of them */
static void
leave_gradients(const DsTrainer *trainer, size_t t, const Runs *runs, const ds_real *d)
{
	const BlockHeader *head = trainer->head;
	size_t dims = head->net.tower[t].bag.embedding_dims;
	ds_real *out = block_reals(trainer, head->bag_d[t]);

	for (size_t r = 0; r < runs->count; r++)
	{
		const Run *run = &runs->run[r];
		size_t n = (run->end - run->begin) * dims;

		if (n > 0)
			memcpy(out + (run->texts_before + run->begin) * dims, d, n * sizeof(ds_real));
		d += n;
	}
}

/* Vectors of texts, or of pictures to the texts that they are of */
static void
give_vectors(const DsTower *tower, const TowerPass *pass, const ds_real *vectors, size_t dims)
{
	const TowerInput *input = &pass->input;

	if (has_pictures(tower))
		for (size_t i = 0; i < input->texts; i++)
			memcpy(pass->out + i * dims, vectors + input->picture[i] * dims,
				   dims * sizeof(ds_real));
	else if (input->texts > 0)
		memcpy(pass->out, vectors, input->texts * dims * sizeof(ds_real));
}

/* What part of a batch's texts that go through a tower are a shard's */
static double
share_of(const DsTrainer *trainer, const TowerPass *pass, size_t t)
{
	const DsNet *net = &trainer->head->net;
	size_t all =
		(side_tower(net, DS_SIDE_DOCUMENT) == t ? trainer->batch.documents : 0) +
		(net->kind == DS_NET_DUAL && side_tower(net, DS_SIDE_QUERY) == t ? trainer->batch.pairs
																		 : 0);

	return (double) pass->count / (double) all;
}

/* The gradient by pictures' vectors from that by those of their texts */
static DsCode
collect_pictures(DsTrainer *trainer, TowerPass *pass, const ds_real *d, DsStatus *status)
{
	size_t dims = trainer->head->dims;
	const TowerInput *input = &pass->input;

	if (!ds_training_reserve(trainer->arena, &pass->room[INPUT_ROOMS + 3], input->pictures, dims,
							 sizeof(ds_real), &pass->d_pictures))
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %zu pictures", input->pictures);
	memset(pass->d_pictures, 0, input->pictures * dims * sizeof(ds_real));
	for (size_t i = 0; i < input->texts; i++)
		ds_nn_kernels()->add(pass->d_pictures + input->picture[i] * dims, d + i * dims, dims);
	return DS_OK;
}

/*
 * pass->input to pass->out; key is that of the random numbers of dropout, trains
 * whether it is a pass of training
 */
static DsCode
tower_forward(DsTrainer *trainer, TowerPass *pass, size_t t, uint64_t key, bool trains,
			  DsStatus *status)
{
	const BlockHeader *head = trainer->head;
	const DsTower *tower = &head->net.tower[t];
	size_t texts = pass->input.texts;
	const ds_real *vectors = NULL;
	DsCode code;

	if (!ds_training_reserve(trainer->arena, &pass->room[INPUT_ROOMS], texts, head->dims,
							 sizeof(ds_real), &pass->out) ||
		!ds_training_reserve(trainer->arena, &pass->room[INPUT_ROOMS + 1], texts, 1,
							 sizeof(ds_real), &pass->inverse))
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %zu texts", texts);
	if (tower_transformer(tower) != NULL)
		code = ds_transformer_forward(trainer, pass, t, key, trains, &vectors, status);
	else if (tower->body == DS_BODY_IMAGE)
		code = ds_image_pass_forward(trainer, pass, t, trains, &vectors, status);
	else if (tower->body == DS_BODY_FUSION)
		code = ds_fusion_forward(trainer, pass, t, trains, status);
	else
		code = ds_dense_pass_forward(trainer, pass, t, pass->out, status);
	if (code == DS_OK && vectors != NULL)
		give_vectors(tower, pass, vectors, head->dims);
	if (code == DS_OK && head->net.kind == DS_NET_DUAL && head->net.score == DS_SCORE_COSINE)
		ds_normalize_forward(pass->out, texts, head->dims, pass->out, pass->inverse);
	return code;
}

/* The input of a piece of a shard and its way forward */
static DsCode
piece_forward(DsTrainer *trainer, TowerPass *pass, size_t t, int number, const Runs *runs,
			  size_t first, size_t last, DsStatus *status)
{
	const BlockHeader *head = trainer->head;
	const DsTower *tower = &head->net.tower[t];
	DsRandom random;
	DsCode code;

	ds_random_init(&random, head->config.seed,
				   ds_mix64((trainer->steps + 1) * head->config.accumulate + trainer->number) +
					   ((uint64_t) number << 40 | (uint64_t) t << 36 | first));
	code = gather(trainer, pass, tower, runs, first, last,
				  has_bag(tower) ? head->config.feature_dropout : 0, &random, status);
	if (code != DS_OK)
		return code;
	if (has_bag(tower) && trainer->places[t] != NULL)
		leave_ids(trainer, pass, t, runs);
	return tower_forward(trainer, pass, t, ds_random_next(&random), true, status);
}

/* pass->out to the batch's vectors, or (gather) gradients the other way */
static void
copy_vectors(const TowerPass *pass, const Runs *runs, size_t first, size_t last, size_t dims)
{
	const ds_real *out = pass->out;
	size_t begin;
	size_t end;

	for (size_t r = 0; r < runs->count; r++)
	{
		size_t n;

		if (!overlap(runs, r, first, last, &begin, &end))
			continue;
		n = (end - begin) * dims;
		memcpy(runs->run[r].vectors + begin * dims, out, n * sizeof(ds_real));
		out += n;
	}
}

/* texts that go through a tower at once */
static size_t
piece_size(const DsTrainer *trainer, size_t tower, size_t texts)
{
	uint32_t cached = trainer->head->config.cache_texts;

	/* bags keep so little that there is nothing to gain */
	if (cached == 0 || tower_transformer(&trainer->head->net.tower[tower]) == NULL ||
		texts < cached)
		return texts > 0 ? texts : 1;
	return cached;
}

DsCode
ds_trainer_forward_shard(DsTrainer *trainer, int number, DsStatus *status)
{
	Shard *shard = &trainer->shard[number];

	for (size_t t = 0; t < net_towers(&trainer->head->net); t++)
	{
		TowerPass *pass = &shard->pass[t];
		Runs runs = shard_runs(trainer, shard, t);
		size_t last;

		pass->count = runs.texts;
		pass->chunk = piece_size(trainer, t, runs.texts);
		for (size_t first = 0; first < runs.texts; first = last)
		{
			DsCode code;

			last = first + pass->chunk < runs.texts ? first + pass->chunk : runs.texts;
			if (ds_cancelled(trainer->cancel))
				return ds_fail(status, DS_CANCELLED, "cancelled");
			code = piece_forward(trainer, pass, t, number, &runs, first, last, status);
			if (code != DS_OK)
				return code;
			copy_vectors(pass, &runs, first, last, trainer->head->dims);
		}
	}
	return DS_OK;
}

DsCode
ds_trainer_loss_shard(DsTrainer *trainer, int shard, DsStatus *status)
{
	return ds_training_loss(trainer, shard, status);
}

/*
 * The distinct ids of the shard's texts in rising order become the rows of its
 * gradient of the table.
 */
void
ds_training_rows(DsTrainer *trainer, size_t tower, int number)
{
	BlockHeader *head = trainer->head;
	const BlockParameter *table = &trainer->parameter[trainer->first[tower]];
	const TowerPass *pass = &trainer->shard[number].pass[tower];
	const TowerInput *input = &pass->input;
	const Runs runs = shard_runs(trainer, &trainer->shard[number], tower);
	bool whole = pass->chunk >= pass->count;
	uint32_t *rows = (uint32_t *) (void *) (trainer->block + head->rows[number][tower]);
	uint64_t *bits = trainer->bits[tower];
	uint32_t count = 0;

	/* dropout may have left some ids out */
	for (size_t i = 0; whole && pass->count > 0 && i < input->offsets[input->texts]; i++)
		bits[input->ids[i] >> 6] |= UINT64_C(1) << (input->ids[i] & 63);
	for (size_t r = 0; !whole && r < runs.count; r++)
	{
		const DsTrainTexts *texts = runs.run[r].texts;

		if (runs.run[r].begin == runs.run[r].end)
			continue;
		for (size_t i = texts->offsets[runs.run[r].begin]; i < texts->offsets[runs.run[r].end]; i++)
			bits[texts->ids[i] >> 6] |= UINT64_C(1) << (texts->ids[i] & 63);
	}
	for (size_t w = 0; w < (table->shape[0] + 63) / 64; w++)
	{
		for (uint64_t word = bits[w]; word != 0; word &= word - 1)
		{
			uint32_t id = (uint32_t) (w * 64 + (size_t) __builtin_ctzll(word));

			trainer->places[tower][id] = count;
			rows[count++] = id;
		}
		bits[w] = 0;
	}
	head->row_count[number][tower] = count;
}

/* Rows begin to end - 1 of the shards' parts, summed into out[end - begin, dims] */
static void
sum_parts(const DsTrainer *trainer, const uint64_t offset[DS_SHARDS], size_t begin, size_t end,
		  ds_real *out)
{
	size_t dims = trainer->head->dims;
	const ds_real *part[DS_SHARDS];

	for (size_t s = 0; s < DS_SHARDS; s++)
		part[s] = block_reals(trainer, offset[s]) + begin * dims;
	ds_training_sum(part, (end - begin) * dims, out);
}

/* The gradient by the vectors of a tower's texts, in their order */
static void
collect_gradient(DsTrainer *trainer, Shard *shard, size_t t, ds_real *d)
{
	const DsNnKernels *kernels = ds_nn_kernels();
	const BlockHeader *head = trainer->head;
	const DsNet *net = &head->net;
	bool whole_batch = in_batch(head->config.loss);
	bool symmetric = both_ways(&head->config) && shard->pair_end > shard->pair_begin;
	size_t dims = head->dims;
	size_t pairs = (shard->pair_end - shard->pair_begin) * dims;
	size_t others = (shard->other_end - shard->other_begin) * dims;

	if (net->kind == DS_NET_DUAL && side_tower(net, DS_SIDE_QUERY) == t)
	{
		if (symmetric)
		{
			sum_parts(trainer, head->d_query, shard->pair_begin, shard->pair_end, d);
			kernels->add(d, shard->d_own_query, pairs);
		}
		else if (pairs > 0)
			memcpy(d, shard->d_own_query, pairs * sizeof(ds_real));
		d += pairs;
	}
	if (side_tower(net, DS_SIDE_DOCUMENT) != t)
		return;
	if (!whole_batch)
	{
		if (pairs > 0)
			memcpy(d, shard->d_own_document, (pairs + others) * sizeof(ds_real));
		return;
	}
	sum_parts(trainer, head->d_document, shard->pair_begin, shard->pair_end, d);
	if (symmetric)
		kernels->add(d, shard->d_own_document, pairs);
	sum_parts(trainer, head->d_document, shard->other_begin, shard->other_end, d + pairs);
}

static DsCode
tower_backward(DsTrainer *trainer, int number, size_t t, DsStatus *status)
{
	const BlockHeader *head = trainer->head;
	const DsTower *tower = &head->net.tower[t];
	Shard *shard = &trainer->shard[number];
	TowerPass *pass = &shard->pass[t];
	Runs runs = shard_runs(trainer, shard, t);
	size_t dims = head->dims;
	size_t last;

	if (!ds_training_reserve(trainer->arena, &pass->room[INPUT_ROOMS + 2], pass->count, dims,
							 sizeof(ds_real), &pass->d_out))
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for %zu texts", pass->count);
	collect_gradient(trainer, shard, t, pass->d_out);
	if (trainer->places[t] != NULL && tower->body == DS_BODY_TRANSFORMER)
	{
		const BlockParameter *table = &trainer->parameter[trainer->first[t]];

		ds_training_rows(trainer, t, number);
		memset(block_reals(trainer, head->d_rows[number][t]), 0,
			   head->row_count[number][t] * table->shape[1] * sizeof(ds_real));
	}
	for (size_t first = 0; first < pass->count; first = last)
	{
		ds_real *d = pass->d_out + first * dims;
		DsCode code = DS_OK;

		last = first + pass->chunk < pass->count ? first + pass->chunk : pass->count;
		if (ds_cancelled(trainer->cancel))
			return ds_fail(status, DS_CANCELLED, "cancelled");
		if (pass->chunk < pass->count)
			code = piece_forward(trainer, pass, t, number, &runs, first, last, status);
		if (code != DS_OK)
			return code;
		if (head->net.kind == DS_NET_DUAL && head->net.score == DS_SCORE_COSINE)
			ds_normalize_backward(pass->out, pass->inverse, d, last - first, dims, d);
		if (tower->body == DS_BODY_IMAGE)
		{
			code = collect_pictures(trainer, pass, d, status);
			d = pass->d_pictures;
		}
		if (code == DS_OK && tower_transformer(tower) != NULL)
			code = ds_transformer_backward(trainer, pass, t, number,
										   first > 0 || head->merged[number][t], d, status);
		else if (code == DS_OK && tower->body == DS_BODY_IMAGE)
			code = ds_image_pass_backward(trainer, pass, t, number, share_of(trainer, pass, t), d,
										  status);
		else if (code == DS_OK)
		{
			const ds_real *pooled = NULL;

			if (tower->body == DS_BODY_FUSION)
				code = ds_fusion_backward(trainer, pass, t, number, share_of(trainer, pass, t), d,
										  &pooled, status);
			else
				pooled = ds_dense_pass_backward(trainer, pass, t, number, d);
			if (pooled != NULL)
				leave_gradients(trainer, t, &runs, pooled);
		}
		if (code != DS_OK)
			return code;
	}
	return DS_OK;
}

/*
 * Who takes shards 0, 1, 2 .. backward alone, adds gradients of weights to those of the
 * shards before, to the bit as a sum of separate ones, and leaves most of the others'
 * memory untouched.  A gradient in pieces is a sum of its own and cannot be added so.
 */
static bool
merges(const DsTrainer *trainer, int number, size_t t)
{
	const BlockHeader *head = trainer->head;
	const TowerPass *pass = &trainer->shard[number].pass[t];

	return tower_transformer(&head->net.tower[t]) != NULL && number > 0 &&
		   trainer->behind == number && (number == 1 || head->merged[number - 1][t]) &&
		   pass->chunk >= pass->count;
}

/* Zeros for what is added to; weights are written by the first product */
static void
clear_gradients(DsTrainer *trainer, int number)
{
	const BlockHeader *head = trainer->head;

	for (uint64_t i = 0; i < head->parameters; i++)
	{
		const BlockParameter *p = &trainer->parameter[i];
		ds_real *gradient = shard_gradient(trainer, number, i);

		if (gradient == NULL || (p->product && (head->merged[number][p->tower] ||
												trainer->shard[number].pass[p->tower].count > 0)))
			continue;
		memset(gradient, 0, p->count * sizeof(ds_real));
	}
}

DsCode
ds_trainer_backward_shard(DsTrainer *trainer, int number, DsStatus *status)
{
	BlockHeader *head = trainer->head;
	Shard *shard = &trainer->shard[number];
	ShardResult *result = &head->result[number];

	for (size_t t = 0; t < net_towers(&head->net); t++)
		head->merged[number][t] = merges(trainer, number, t);
	clear_gradients(trainer, number);
	for (size_t t = 0; t < net_towers(&head->net); t++)
		if (trainer->trains[t])
		{
			DsCode code = tower_backward(trainer, number, t, status);

			if (code != DS_OK)
				return code;
		}
	if (trainer->scale != DS_NO_PARAMETER && !trainer->parameter[trainer->scale].frozen)
		/* d loss / d log scale = scale * d loss / d scale */
		shard_gradient(trainer, number, trainer->scale)[0] =
			(ds_real) (ds_training_scale(trainer) * shard->d_scale);
	if (trainer->behind == number)
		trainer->behind++;
	result->loss = shard->loss + (trainer->number > 0 ? result->loss : 0);
	result->correct = shard->correct + (trainer->number > 0 ? result->correct : 0);
	return DS_OK;
}

/* pieces of ds_trainer_encode(): texts or pictures, patches of these at most */
#define ENCODE_TEXTS 64
#define ENCODE_PATCHES 4096

static size_t
encode_piece(const DsTower *tower)
{
	const DsEncoderSpec *spec = tower_transformer(tower);
	size_t most = ENCODE_TEXTS;

	if (spec != NULL && spec->kind == DS_ENCODER_PATCHES)
		most = ENCODE_PATCHES / spec->max_tokens;
	return most < 1 ? 1 : most < ENCODE_TEXTS ? most : ENCODE_TEXTS;
}

DsCode
ds_trainer_encode(DsTrainer *trainer, DsSide side, const DsTrainTexts *texts, size_t count,
				  ds_real *out, const DsCancel *cancel, DsStatus *status)
{
	size_t t = side_tower(&trainer->head->net, side);
	const DsTower *tower = &trainer->head->net.tower[t];
	TowerPass *pass = &trainer->encode[t];
	size_t dims = trainer->head->dims;
	size_t piece = encode_piece(tower);
	size_t last;

	for (size_t first = 0; first < count; first = last)
	{
		Runs runs = {.run = {{texts, 0, count, out, 0, 0}}, .count = 1, .texts = count};
		DsCode code;

		last = first + piece < count ? first + piece : count;
		if (ds_cancelled(cancel))
			return ds_fail(status, DS_CANCELLED, "cancelled");
		code = ds_training_check_texts(trainer, t, texts, first, last, "text", status);
		if (code != DS_OK)
			return code;
		code = gather(trainer, pass, tower, &runs, first, last, 0, NULL, status);
		if (code != DS_OK)
			return code;
		trainer->cancel = cancel;
		code = tower_forward(trainer, pass, t, 0, false, status);
		if (code != DS_OK)
			return code;
		copy_vectors(pass, &runs, first, last, dims);
	}
	return DS_OK;
}
