/*
 * trainer_shard.h
 *		The state of a trainer; for trainer.c and trainer_shard.c only.
 */
#ifndef DS_NN_TRAINER_SHARD_H
#define DS_NN_TRAINER_SHARD_H

#include "base/random.h"
#include "nn/trainer.h"

#ifdef DS_NN_DOUBLE
#define ds_shard_sum ds_shard_sum_f64
#define ds_shard_scale ds_shard_scale_f64
#endif

/* An array that grows; what it held is lost when it does */
typedef struct Room
{
	void *at;
	size_t bytes;
} Room;

/*
 * One shard's texts on their way through one tower.  A shared tower has one
 * pass a shard: queries first, then documents.
 */
typedef struct Pass
{
	size_t texts;
	size_t row_count; /* distinct ids */
	uint32_t *ids; /* [tokens] */
	size_t *offsets; /* [texts + 1] */
	ds_real *pooled; /* [texts, embedding_dims] */
	ds_real *layer[DS_DENSE_MAX]; /* [texts, dense[i]], after ReLU; the last one normalised */
	ds_real *inverse; /* [texts] */
	ds_real *d_one; /* [texts, widest] gradients on their way back */
	ds_real *d_two;
	/* the transposed incidence of ids and texts, and the table's gradient (layers.h) */
	uint32_t *rows; /* [row_count] rising */
	uint32_t *row_offsets; /* [row_count + 1] */
	uint32_t *row_texts; /* [tokens] */
	ds_real *d_rows; /* [row_count, embedding_dims] */
	ds_real *d_weight[DS_DENSE_MAX];
	ds_real *d_bias[DS_DENSE_MAX];
	/* by id: where it stands in rows; and one bit each, all 0 between uses */
	uint32_t *places;
	uint64_t *bits;
	Room room[11];
} Pass;

typedef struct Shard
{
	size_t pair_begin;
	size_t pair_end;
	size_t negative_begin; /* counted among the batch's documents */
	size_t negative_end;
	Pass pass[2]; /* by tower */
	size_t panel; /* rows of the scores that are computed at a time */
	ds_real *scores; /* [panel, documents] */
	ds_real *d_own_query; /* [pairs of the shard, dims] by this shard's rows of the loss */
	ds_real *d_own_document;
	ds_real *d_query; /* [pairs, dims] this shard's part of the gradient by all queries */
	ds_real *d_document; /* [documents, dims] and by all documents */
	ds_real *norms; /* [documents] squared, and as many sums */
	double loss;
	double d_scale;
	size_t correct;
	bool cancelled; /* in the midst of the loss */
	Room room[6];
} Shard;

struct DsTrainer
{
	DsDualEncoder *encoder;
	DsTrainConfig config;
	DsArena *arena;
	uint64_t steps; /* made */
	DsParameter *state; /* [2 * parameters]: means, then variances */
	DsTrainBatch batch;
	const DsCancel *cancel; /* of the step, or NULL */
	ds_real *query; /* [pairs, dims] the vectors of the batch */
	ds_real *document; /* [documents, dims] */
	Shard shard[DS_SHARDS];
	/* the gradients, summed over shards: dense by parameter, tables by tower */
	ds_real *gradient[DS_PARAMETERS_MAX];
	size_t row_count[2];
	uint32_t *rows[2];
	ds_real *d_rows[2];
	DsStepResult result;
	double gradient_scale;
	Room room[6];
};

/* number of towers with parameters of their own */
static inline size_t
trainer_towers(const DsTrainer *trainer)
{
	return trainer->encoder->config.shared ? 1 : 2;
}

/* rows of the scores, [rows, columns] from vectors of so many dims, to compute at a time */
extern size_t ds_shard_panel(size_t columns, size_t dims);

/* multiplier of the scores: 1 / temperature */
extern double ds_shard_scale(const DsTrainer *trainer);

/* out[n] = (part 0 + part 1) + (part 2 + part 3), a NULL part counting as 0; out is none of them */
extern void ds_shard_sum(const ds_real *const part[DS_SHARDS], size_t n, ds_real *out);

#endif /* DS_NN_TRAINER_SHARD_H */
