/*
 * training_private.h
 *		The block of a trainer, and a process's handle on it; for the files of
 *		the trainer only.
 */
#ifndef DS_NN_TRAINING_PRIVATE_H
#define DS_NN_TRAINING_PRIVATE_H

#include "base/random.h"
#include "nn/training.h"

#define TEMPERATURE_MIN 0.01
#define TEMPERATURE_MAX 10.0

/*
 * Parameters are reduced and updated in units, dealt out to workers in turn; each
 * has a place for its share of the gradient's norm, so that the sum does not depend
 * on the number of workers.
 */
#define UNIT_VALUES 16384
/*
 * Of a table the first TABLE_SINGLE rows are dealt out to its units one by one: where ids
 * stand in the order of their frequency these have most of the work, and neighbours share
 * it best.  Behind them units have TABLE_ROWS rows at a time: a processor that reads a row
 * fetches what is behind it, too, and would take it out of the cache of the one that is
 * writing it, if that were another worker's.
 */
#define TABLE_SINGLE 512
#define TABLE_ROWS 16
#define TABLE_UNITS 64

/* Offsets are bytes from the block's beginning */
typedef struct BlockParameter
{
	char name[DS_SPEC_NAME + 16];
	uint32_t shape_count;
	uint32_t tower; /* 2: none */
	uint64_t shape[2];
	uint64_t count;
	bool sparse;
	bool frozen;
	bool decays;
	bool statistic; /* a moving average of a batch norm: moved by steps, not by gradients */
	bool
		product; /* a linear layer's weight in a transformer: its gradient is one product a shard */
	double factor; /* of the learning rate */
	uint64_t value;
	uint64_t state[2];
	/*
	 * dense: where it begins in a shard's gradients; table: its reduced gradient, 0 but for
	 * touched rows, if ds_training_in_table()
	 */
	uint64_t gradient;
	uint64_t touched; /* table: a byte a row, of TOUCHED_... */
	uint64_t units;
} BlockParameter;

#define TOUCHED_NOW 1 /* has a gradient that no update has seen */
#define TOUCHED_SINCE 2 /* changed since ds_trainer_forget_changes() */

typedef struct ShardResult
{
	double loss;
	uint64_t correct;
} ShardResult;

typedef struct BlockHeader
{
	char identity[32];
	uint64_t size;
	uint64_t persistent; /* bytes that a checkpoint holds, from values on */
	uint64_t values;
	uint64_t parameters;
	uint64_t parameter; /* BlockParameter[parameters] */
	uint64_t states; /* arrays of the optimizer */
	uint64_t dims;
	uint64_t units;
	uint64_t squares; /* double[units] */
	uint64_t dense; /* values of a shard's gradients */
	uint64_t slot[DS_SHARDS]; /* the shards' gradients of dense parameters */
	/* a shard's gradients of a tower's products were added to slot[0] already */
	bool merged[DS_SHARDS][2];
	uint64_t sum; /* reduced and accumulated; slot[0] where nothing accumulates */
	/* transformers: the shards' gradients of the towers' tables: rising row numbers, and rows */
	uint64_t rows[DS_SHARDS][2];
	uint64_t d_rows[DS_SHARDS][2];
	uint64_t row_count[DS_SHARDS][2];
	uint64_t row_room[2];
	/* bags: ids of the batch after dropout, BagText[texts], [texts, embedding_dims] gradients by
	 * what is pooled, scaled for the rows */
	uint64_t bag_ids[2];
	uint64_t bag_texts[2];
	uint64_t bag_d[2];
	uint64_t query; /* [pairs, dims] vectors of the batch */
	uint64_t document; /* [documents, dims] */
	uint64_t d_query[DS_SHARDS]; /* [pairs, dims] parts of the gradient by all queries; symmetric */
	uint64_t d_document[DS_SHARDS]; /* [documents, dims] in-batch losses */
	ShardResult result[DS_SHARDS];
	uint64_t steps;
	uint64_t changed; /* steps since ds_trainer_forget_changes() */
	DsNet net;
	DsTrainConfig config;
	DsTrainLimits limits;
} BlockHeader;

/* A text's ids among bag_ids */
typedef struct BagText
{
	uint32_t begin;
	uint32_t end;
} BagText;

/* An array that grows; what it held is lost when it does */
typedef struct Room
{
	void *at;
	size_t bytes;
} Room;

/* The texts that go through a tower together */
typedef struct TowerInput
{
	size_t texts;
	uint32_t *ids;
	size_t *offsets; /* [texts + 1] */
	uint8_t *types; /* or NULL */
	ds_real *features; /* or NULL; IMAGE: [pictures], as ds_image_take() leaves them */
	size_t pictures; /* those of texts without repetitions */
	uint32_t *picture; /* [texts] which one is a text's; DS_NO_PICTURE: none */
} TowerInput;

#define INPUT_ROOMS 5

/* Embedding bag or features with dense layers: what forward leaves to backward */
typedef struct DensePass
{
	ds_real *pooled; /* [texts, embedding_dims] */
	ds_real *layer[DS_DENSE_MAX]; /* [texts, dense[i]], after ReLU */
	ds_real *d_one; /* [texts, widest] gradients on their way back */
	ds_real *d_two;
	Room room[4];
} DensePass;

/* An id of a text */
typedef struct BagFeature
{
	uint32_t id;
	uint32_t text;
} BagFeature;

/* This worker's rows of a table over bags, from reduce to update (training_rows.c) */
typedef struct BagRows
{
	size_t count;
	uint32_t *rows; /* [count] rising */
	uint32_t *offsets; /* [count + 1] of each row's texts */
	uint32_t *texts;
	ds_real *gradient; /* [count, embedding_dims] */
	BagFeature *own; /* ids of the batch that are this worker's, as they come; scratch */
} BagRows;

typedef struct TransformerPass TransformerPass;
typedef struct ImagePass ImagePass;
typedef struct FusionPass FusionPass;

/* One shard's way through one tower */
typedef struct TowerPass
{
	size_t count; /* texts */
	size_t chunk; /* texts at a time */
	TowerInput input;
	DensePass dense;
	TransformerPass *transformer;
	ImagePass *image;
	FusionPass *fusion;
	ds_real *out; /* [chunk, dims] */
	ds_real *inverse; /* [chunk] of normalisation */
	ds_real *d_out; /* [count, dims] */
	ds_real *d_pictures; /* [pictures, dims] */
	Room room[INPUT_ROOMS + 4];
} TowerPass;

typedef struct Shard
{
	size_t pair_begin;
	size_t pair_end;
	size_t other_begin; /* counted among the batch's documents */
	size_t other_end;
	TowerPass pass[2];
	size_t panel; /* rows of the scores that are computed at a time */
	ds_real *scores;
	ds_real *d_own_query; /* [pairs of the shard, dims] by this shard's rows of the loss */
	ds_real *d_own_document; /* [own documents, dims] */
	ds_real *norms;
	ds_real *prefix; /* Matryoshka: shortened vectors and gradients */
	double loss;
	double d_scale;
	size_t correct;
	Room room[6];
} Shard;

/* What ds_trainer_source() hands out */
typedef struct TowerSource
{
	const struct DsTrainer *trainer;
	uint32_t tower;
} TowerSource;

struct DsTrainer
{
	char *block;
	BlockHeader *head;
	BlockParameter *parameter;
	DsArena *arena;
	const DsCancel *cancel;
	uint64_t steps; /* made, when the step began */
	uint32_t number; /* of the batch in its step */
	int behind; /* shards, from the first on, that this process took backward in the batch */
	size_t pairs; /* of the step's batches so far */
	DsTrainBatch batch;
	DsStepResult result;
	double gradient_scale;
	size_t first[2]; /* parameter of each tower */
	size_t scale; /* log_scale, or DS_NO_PARAMETER */
	bool trains[2]; /* the tower has parameters that are not frozen */
	/*
	 * by id: where it stands among a shard's rows (transformers) or a count (bags); and one bit
	 * each; counts and bits are 0 between uses
	 */
	uint32_t *places[2];
	uint64_t *bits[2];
	BagRows bag[2];
	ds_real *zeros; /* a row of the widest table */
	Shard shard[DS_SHARDS];
	TowerPass encode[2];
	TowerSource source[2];
};

static inline size_t
net_towers(const DsNet *net)
{
	return net->kind == DS_NET_DUAL && !net->shared ? 2 : 1;
}

/* the tower of a side */
static inline size_t
side_tower(const DsNet *net, DsSide side)
{
	return net_towers(net) == 2 && side == DS_SIDE_DOCUMENT ? 1 : 0;
}

static inline ds_real *
block_reals(const DsTrainer *trainer, uint64_t offset)
{
	return (ds_real *) (void *) (trainer->block + offset);
}

static inline ds_real *
parameter_value(const DsTrainer *trainer, size_t number)
{
	return block_reals(trainer, trainer->parameter[number].value);
}

/* A shard's gradient of a dense parameter, or where it is added to; NULL when that is frozen */
static inline ds_real *
shard_gradient(const DsTrainer *trainer, int shard, size_t number)
{
	const BlockParameter *p = &trainer->parameter[number];
	const BlockHeader *head = trainer->head;

	if (p->frozen || p->sparse)
		return NULL;
	if (p->product && head->merged[shard][p->tower])
		shard = 0;
	return block_reals(trainer, head->slot[shard]) + p->gradient;
}

/* What a tower that is a transformer is, over texts or over patches of pictures; NULL: it is none */
static inline const DsEncoderSpec *
tower_transformer(const DsTower *tower)
{
	if (tower->body == DS_BODY_TRANSFORMER)
		return &tower->spec;
	return tower->body == DS_BODY_IMAGE && tower->image.kind == DS_IMAGE_VIT
			   ? &tower->image.transformer
			   : NULL;
}

/* does its input consist of ids? */
static inline bool
has_ids(const DsTower *tower)
{
	return tower->body == DS_BODY_BAG || tower->body == DS_BODY_TRANSFORMER ||
		   tower->body == DS_BODY_FUSION;
}

/* does it have a table of embeddings for bags? */
static inline bool
has_bag(const DsTower *tower)
{
	return tower->body == DS_BODY_BAG || tower->body == DS_BODY_FUSION;
}

static inline bool
has_pictures(const DsTower *tower)
{
	return tower->body == DS_BODY_IMAGE || tower->body == DS_BODY_FUSION;
}

/* width of the vectors of a bag or of features behind their dense layers */
static inline size_t
dense_width(const DsTowerConfig *bag)
{
	return bag->dense_count > 0 ? bag->dense[bag->dense_count - 1] : bag->embedding_dims;
}

/* losses over the scores of all queries with all documents */
static inline bool
in_batch(DsLoss loss)
{
	return loss == DS_LOSS_SOFTMAX || loss == DS_LOSS_CONTRASTIVE;
}

/* ... and of all documents with all queries */
static inline bool
both_ways(const DsTrainConfig *config)
{
	return config->loss == DS_LOSS_SOFTMAX && config->symmetric;
}

/* multiplier of the scores: 1 / temperature */
extern double ds_training_scale(const DsTrainer *trainer);

/* At least count * width * size bytes in *room, the array's address to *array; false: no memory */
extern bool ds_training_reserve(DsArena *arena, Room *room, size_t count, size_t width, size_t size,
								void *array);

/* out[n] = ((part 0 + part 1) + part 2) + part 3, a NULL part counting as 0; out may be part 0 */
extern void ds_training_sum(const ds_real *const part[DS_SHARDS], size_t n, ds_real *out);

/*
 * Towers.  Forward: the vectors of pass->input's texts to pass->out; random is for
 * dropout, NULL: none.  Backward: from d (overwritten) to the shard's gradients.
 */
extern DsCode ds_dense_pass_forward(DsTrainer *trainer, TowerPass *pass, size_t tower, ds_real *out,
									DsStatus *status);
/* Returns the gradient by what the bags gave, scaled for the rows; NULL when the table is frozen */
extern const ds_real *ds_dense_pass_backward(DsTrainer *trainer, TowerPass *pass, size_t tower,
											 int shard, ds_real *d);

/* Values of "fusion.weight" before training */
extern void ds_fusion_initialize(const DsTrainer *trainer, size_t parameter);
extern DsCode ds_fusion_forward(DsTrainer *trainer, TowerPass *pass, size_t tower, bool trains,
								DsStatus *status);
/* Returns what ds_dense_pass_backward() does, in *bags */
extern DsCode ds_fusion_backward(DsTrainer *trainer, TowerPass *pass, size_t tower, int shard,
								 double share, const ds_real *d, const ds_real **bags,
								 DsStatus *status);

/* Texts begin to end - 1: offsets rise, ids are in the table of the tower */
extern DsCode ds_training_check_texts(const DsTrainer *trainer, size_t tower,
									  const DsTrainTexts *texts, size_t begin, size_t end,
									  const char *what, DsStatus *status);

/* Unit by unit: those of a parameter that are a worker's */
typedef struct Share
{
	uint64_t unit; /* of the parameter's first */
	int worker;
	int workers;
} Share;

static inline bool
is_mine(const Share *share, uint64_t unit)
{
	return (share->unit + unit) % (uint64_t) share->workers == (uint64_t) share->worker;
}

/* Does the reduced gradient of a table lie in an array of the table's shape? */
extern bool ds_training_in_table(const BlockHeader *head, const BlockParameter *p);

/* A table's part of ds_trainer_reduce(), _update() and _gradient() */
extern void ds_training_reduce_rows(DsTrainer *trainer, const BlockParameter *p,
									const Share *share);
extern void ds_training_update_rows(DsTrainer *trainer, size_t number, const DsUpdate *update,
									const Share *share);
extern void ds_training_gather_rows(const DsTrainer *trainer, const BlockParameter *p,
									ds_real *out);

/* The distinct ids of a shard in a transformer become the rows of its table's gradient */
extern void ds_training_rows(DsTrainer *trainer, size_t tower, int shard);

/* In the loss: every shard's rows, see training_loss.c */
extern DsCode ds_training_loss(DsTrainer *trainer, int shard, DsStatus *status);

#endif /* DS_NN_TRAINING_PRIVATE_H */
