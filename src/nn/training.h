/*
 * training.h
 *		Training of every kind of model, in one process or in several.
 *
 * What is trained is a network: one or two towers, each of which makes a vector
 * of a text (or of given features), and a loss over the vectors of a batch.
 *
 *   dual    queries and documents go through towers, shared or separate, and are
 *           compared: embedding bags, dense heads on features, transformers
 *   single  each document, a pair of texts in one sequence for a cross-encoder,
 *           goes through one tower to outputs: scores, logits of classes
 *
 * The block.  All that workers share lies in one block of memory without
 * pointers: parameters, the optimizer's state, gradients, the vectors of the
 * batch.  It may be mapped at another address in each process.  Who wants to
 * work attaches, which gives a DsTrainer in that process's own memory; so are
 * activations and scratch.
 *
 *     ds_trainer_size(&net, &config, &limits, &size, status);
 *     ds_trainer_format(block, size, &net, &config, &limits, status);    one process
 *     ds_trainer_attach(block, size, arena, &trainer, status);           each process
 *     ds_trainer_initialize(trainer); or ds_trainer_load(trainer, ...);  one process
 *     for each batch:
 *         ds_trainer_step(trainer, &batch, 1, &result, cancel, status);
 *
 * Shards.  A batch is always cut into DS_SHARDS shards of whole pairs, by the
 * number of their tokens, whoever computes them.  A shard's arithmetic depends on
 * the batch, the parameters and the shard's number; its random numbers come from
 * (seed, step, shard).  Sums over shards are taken as ((0 + 1) + 2) + 3.  So
 * any number of workers gives the same weights, to the bit, on one kind of
 * processor.
 *
 * A step in parts.  Worker w of n does what follows; a shard is always the same
 * worker's within a step, because its activations are in that worker's memory
 * (shard s of worker s % n, say).  "--" is a barrier for all workers.
 *
 *     for each of config.accumulate batches, i = 0, 1, ...:
 *         ds_trainer_begin(t, &batch, i, status)     the same batch in every worker
 *         ds_trainer_forward_shard(t, s, status)     its shards
 *         --
 *         ds_trainer_loss_shard(t, s, status)        its shards
 *         --
 *         ds_trainer_backward_shard(t, s, status)    its shards
 *         --
 *         ds_trainer_reduce(t, w, n)                 its part of all parameters
 *         --
 *     ds_trainer_result(t, &result, status)          every worker gets the same answer
 *     ds_trainer_update(t, w, n)                     its part of all parameters
 *     --
 *
 * Where one worker fails (DS_CANCELLED, DS_OUT_OF_MEMORY, DS_BAD_DATA) the others
 * are told by the caller, and nobody goes on: before _update the parameters are
 * those before the step, and the step can be made again with _begin.  Errors of
 * _begin and _result are the same in every worker.
 *
 * Checkpoints.  What a run needs to go on as if it had never stopped is the
 * parameters, the optimizer's state and the number of steps (random numbers
 * follow from that): ds_trainer_save() writes it, ds_trainer_restore() reads it
 * into a block formatted with the same network and optimizer.
 *
 * Tables.  The gradient of a table of embeddings has the rows that a batch has.
 * With config.exact_rows false an optimizer touches these alone ("lazy": the other
 * rows keep value and moments, and a step costs the same for any vocabulary);
 * with exact_rows all rows, as a framework's dense gradient does.
 * Default by ds_train_defaults: lazy.
 *
 * Batch normalisation in towers over pictures takes the moments of a shard's pictures; the moving
 * averages that inference uses are parameters, too, which steps move without a gradient.  Those of
 * a layer whose other parameters are all frozen, or which a rule freezes, stay, and are what
 * training uses; with the tower's fixed_moments those of all layers.
 *
 * Gradient caching (Gao, Zhang, Han & Callan, "Scaling Deep Contrastive Learning
 * Batch Size under Memory Limited Setup", 2021).  With config.cache_texts = k a
 * shard's texts, or pictures of a vision transformer, go forward k at a time and nothing but their
 * vectors is kept; the backward pass makes the activations of k texts again, with the same
 * random numbers.  Memory for k texts, and the same gradients but for rounding.
 */
#ifndef DS_NN_TRAINING_H
#define DS_NN_TRAINING_H

#include "nn/dual_encoder.h"
#include "nn/encoder.h"
#include "nn/fusion.h"
#include "nn/image_spec.h"
#include "nn/loss.h"
#include "nn/optimizer.h"

#define DS_SHARDS 4

/*
 * The network
 */

typedef enum DsNetKind
{
	DS_NET_DUAL,
	DS_NET_SINGLE
} DsNetKind;

typedef enum DsBodyKind
{
	DS_BODY_BAG, /* an embedding bag, then dense layers */
	DS_BODY_FEATURES, /* given vectors, then dense layers */
	DS_BODY_TRANSFORMER, /* of the shape of BERT or of CLIP's texts, then the spec's modules */
	DS_BODY_IMAGE, /* over pictures: convolutional or a vision transformer, then its modules */
	DS_BODY_FUSION /* BAG for the text and a convolutional IMAGE for the picture of a document */
} DsBodyKind;

#define DS_PIXEL_CHANNELS 4 /* of a tower over pictures, at most */

typedef struct DsTower
{
	DsBodyKind body;
	/* BAG.  FEATURES: embedding_dims is their width; bag.features itself says what body says. */
	DsTowerConfig bag;
	/*
	 * TRANSFORMER.  Trained can be: layers with norms behind them or before them,
	 * absolute positions, any activation, with or without a causal mask, not gated, no
	 * rotation, window or relative bias; pooling CLS, MEAN, LAST or EOT; all modules.
	 * DS_UNSUPPORTED otherwise.
	 */
	DsEncoderSpec spec;
	/* transformers, over texts or pictures: behind the embeddings, attention and MLP; 0 <= x < 1 */
	double dropout;
	double attention_dropout; /* of the attention's weights */
	/*
	 * IMAGE: of kind DS_IMAGE_CONV, modules DENSE and NORMALIZE; or of kind DS_IMAGE_VIT, with a
	 * transformer as above.  A picture of 8 bits becomes
	 * (pixel / 255 - pixel_mean) / pixel_deviation, channel by channel.  In training it is mirrored
	 * left to right at random, half of the times, and moved by up to moves pixels each way.
	 */
	DsImageSpec image;
	double pixel_mean[DS_PIXEL_CHANNELS];
	double pixel_deviation[DS_PIXEL_CHANNELS];
	bool mirrors;
	uint32_t moves;
	bool fixed_moments; /* IMAGE: batch norm by its moving averages, which stay, in training too */
	/* FUSION (fusion.h) */
	DsFusion fusion;
	uint32_t fusion_dims; /* width of what both make */
	/* a document's text or else its picture is left out at random in training; 0 <= x < 1 */
	double leave_out;
} DsTower;

typedef struct DsNet
{
	DsNetKind kind;
	bool shared; /* DUAL: tower[0] serves both sides */
	DsTower tower[2]; /* DUAL: by DsSide.  SINGLE: the first. */
	DsScore score; /* DUAL; COSINE: what comes out of the towers is normalised */
} DsNet;

/* DS_INVALID or DS_UNSUPPORTED with a sentence that names the setting */
extern DsCode ds_net_check(const DsNet *net, DsStatus *status);

/* width of a tower's result */
extern size_t ds_net_dims(const DsNet *net);

/*
 * How it is trained
 */

#define DS_MATRYOSHKA_MAX 8
#define DS_RULES_MAX 16

/*
 * The rate of all parameters whose name is prefix or begins with prefix and a
 * dot; "*" stands for any tower ("*.token", "query", "shared.layer.0").  Factor 0
 * freezes them: no gradient, no memory for it, the same bits for ever.  Of several
 * rules the last that fits counts.
 */
typedef struct DsRateRule
{
	char prefix[DS_SPEC_NAME + 16];
	double factor;
} DsRateRule;

typedef struct DsTrainConfig
{
	DsLoss loss; /* loss.h says what each needs of a batch */
	bool symmetric; /* SOFTMAX: also over queries for a document, half each */
	double
		temperature; /* scores are divided by it: SOFTMAX, LIST_SOFTMAX, LISTNET, BINARY, KL of a dual */
	bool learn_temperature; /* it is a parameter; stays within 0.01 .. 10 */
	double margin; /* of the losses that have one; > 0 */
	double teacher_temperature; /* KL, LISTNET: labels are divided by it before their softmax */
	/*
	 * Matryoshka (Kusupati et al., NeurIPS 2022), DUAL: the loss is summed over the
	 * first matryoshka[i] components of the vectors (normalised again for COSINE),
	 * times weights.  None: the whole vectors alone.
	 */
	uint32_t matryoshka_count;
	uint32_t matryoshka[DS_MATRYOSHKA_MAX];
	double matryoshka_weight[DS_MATRYOSHKA_MAX];
	double feature_dropout; /* BAG: share of a text's features left out at random; 0 <= x < 1 */
	DsSchedule schedule;
	DsOptimizer optimizer;
	bool exact_rows;
	double clip_norm; /* gradients are scaled down to this L2 norm; 0: never */
	uint32_t accumulate; /* batches of a step; their losses are averaged; >= 1 */
	uint32_t cache_texts; /* gradient caching in transformers, pictures counting as texts; 0: off */
	double layer_decay; /* the rate of layer L is multiplied by this^(layers - L), of embeddings by
						 * ^(layers + 1); 1: none */
	uint32_t rule_count;
	DsRateRule rules[DS_RULES_MAX];
	uint64_t seed;
} DsTrainConfig;

extern const DsTrainConfig ds_train_defaults;

/* What goes well with these defaults, for the loop around the trainer */
#define DS_TRAIN_BATCH_DEFAULT 256
#define DS_TRAIN_EPOCHS_DEFAULT 6
#define DS_TRAIN_BATCH_MAX 65536

extern DsCode ds_train_check(const DsTrainConfig *config, DsStatus *status);

/* Does the loss suit the network?  Called by ds_trainer_size(). */
extern DsCode ds_train_check_net(const DsTrainConfig *config, const DsNet *net, DsStatus *status);

/* The largest batch: sizes of the block follow from it */
typedef struct DsTrainLimits
{
	size_t pairs;
	size_t documents;
	size_t tokens; /* of a batch, queries and documents; nothing for FEATURES and IMAGE */
	size_t longest; /* tokens of a pair with all its documents */
} DsTrainLimits;

/*
 * A batch
 */

#define DS_NO_PICTURE UINT32_MAX

/* Some texts: ids (below the vocabulary), ragged; or features */
typedef struct DsTrainTexts
{
	const uint32_t *ids;
	const size_t *offsets; /* [count + 1]; not needed with features */
	const uint8_t *types; /* TRANSFORMER: token types, or NULL: all 0 */
	const float *features; /* FEATURES: [count, embedding_dims] */
	/*
	 * IMAGE, FUSION: pixels[pictures, height, width, channels] of 8 bits, and picture[count], which
	 * of them is a document's.  One that is that of the document before, too, goes through the
	 * tower once for both.  DS_NO_PICTURE, for a FUSION: there is none; so does picture NULL.
	 */
	const uint8_t *pixels;
	size_t pictures;
	const uint32_t *picture;
	/*
	 * Equal for equal texts, or NULL: keep a document from being a negative of a
	 * query that it answers (SOFTMAX, CONTRASTIVE; see loss.h)
	 */
	const uint64_t *keys;
} DsTrainTexts;

/*
 * Pair i has query i (DUAL) and a list of documents: document i, its first, the
 * positive where a loss wants one; and those from pairs + others[i] to pairs +
 * others[i + 1] - 1, its explicit negatives or the rest of a list to be ranked.
 * Documents stand in that order: first those of all pairs, then the others.
 */
typedef struct DsTrainBatch
{
	size_t pairs;
	size_t documents;
	DsTrainTexts query; /* [pairs]; nothing for SINGLE */
	DsTrainTexts document; /* [documents] */
	const size_t *others; /* [pairs + 1]; NULL when documents = pairs */
	/*
	 * [documents]: what the loss says about them (a grade, a class, the teacher's
	 * score); SINGLE with several outputs and BINARY: [documents, outputs]
	 */
	const float *labels;
	const float *weights; /* [pairs] of the loss; NULL: 1 */
	/*
	 * What keys do not tell (SOFTMAX, CONTRASTIVE), or NULL: documents known[known_offsets[i]] to
	 * known[known_offsets[i + 1] - 1] of the batch answer query i, too, and are no negatives of it
	 */
	const size_t *known_offsets; /* [pairs + 1] */
	const uint32_t *known;
} DsTrainBatch;

typedef struct DsStepResult
{
	uint64_t step; /* counts from 1 */
	double loss; /* mean over pairs */
	double accuracy; /* share of pairs that the loss calls right (loss.h) */
	double gradient_norm; /* before clipping */
	double learning_rate; /* without factors */
	double temperature;
} DsStepResult;

/*
 * The trainer
 */

typedef struct DsTrainer DsTrainer;

/* DS_INVALID, DS_UNSUPPORTED, DS_TOO_LARGE */
extern DsCode ds_trainer_size(const DsNet *net, const DsTrainConfig *config,
							  const DsTrainLimits *limits, size_t *size, DsStatus *status);

/*
 * Makes a trainer of the block, which is aligned to 64 bytes and all zero (fresh
 * pages of the system are; untouched, they cost nothing).  Parameters are 0.
 */
extern DsCode ds_trainer_format(void *block, size_t size, const DsNet *net,
								const DsTrainConfig *config, const DsTrainLimits *limits,
								DsStatus *status);

/*
 * This process's handle, in the arena, where scratch memory will come from too;
 * it grows with the largest batch.  DS_BAD_DATA when the block is none.
 */
extern DsCode ds_trainer_attach(void *block, size_t size, DsArena *arena, DsTrainer **trainer,
								DsStatus *status);

extern const DsNet *ds_trainer_net(const DsTrainer *trainer);
extern const DsTrainConfig *ds_trainer_config(const DsTrainer *trainer);

/*
 * Parameters, in a fixed order.  Names: the tower ("query", "document", "shared",
 * SINGLE: "model"), a dot, and for BAG and FEATURES "embedding", "dense.N.weight"
 * [ins, outs], "dense.N.bias"; for TRANSFORMER and IMAGE the neutral names of
 * encoder_spec.h and image_spec.h with their shapes (beyond two dimensions: the first, and the
 * rest in one); for FUSION those of BAG, then those of IMAGE, then "fusion.weight" [ins, outs],
 * "fusion.bias", "fusion.no_text" and "fusion.no_image".  At last "log_scale" [1] (DUAL): the
 * logarithm of 1 / temperature.
 */
typedef struct DsTrained
{
	const char *name;
	uint32_t shape_count; /* 1 or 2 */
	size_t shape[2];
	size_t count;
	bool sparse; /* a table of embeddings, of which a batch touches some rows */
	bool frozen;
	ds_real *value; /* [count], in the block */
} DsTrained;

extern size_t ds_trainer_parameters(const DsTrainer *trainer);
extern DsTrained ds_trainer_parameter(const DsTrainer *trainer, size_t number);
/* the number of a name; DS_NO_PARAMETER when there is none */
#define DS_NO_PARAMETER ((size_t) -1)
extern size_t ds_trainer_find(const DsTrainer *trainer, const char *name);

/*
 * Random values from config.seed, the same on every machine: tables of bags and
 * dense layers as ds_dual_encoder_init(); transformers normal with deviation 0.02,
 * norms 1, biases 0, as BERT and ViT.
 */
extern void ds_trainer_initialize(DsTrainer *trainer);

/*
 * Values from elsewhere.  Parameters of tower t are asked for by their names
 * without the tower ("layer.0.mlp.up.weight", or that with "_t" behind it: see
 * encoder_spec.h).  Those that the source has not keep their values if missing_ok
 * (a new head), otherwise DS_BAD_DATA.
 */
extern DsCode ds_trainer_load(DsTrainer *trainer, size_t tower, const DsTensorSource *source,
							  bool missing_ok, const DsCancel *cancel, DsStatus *status);

/*
 * The parameters of tower t as a source, by their names without the tower: what
 * ds_encoder_layout() wants.  Lives as long as the trainer.
 */
extern DsTensorSource ds_trainer_source(DsTrainer *trainer, size_t tower);

/*
 * A dual encoder of embedding bags or features whose values are these parameters, for
 * inference between steps as it will be afterwards; false when the network is of
 * another kind.
 */
extern bool ds_trainer_dual_encoder(DsTrainer *trainer, DsDualEncoder *encoder);

/*
 * One step in one process: batches[config.accumulate].  Errors: DS_INVALID (shape
 * of a batch, beyond the limits), DS_BAD_DATA (an id outside its table),
 * DS_OUT_OF_RANGE (the loss or a gradient is not finite), DS_OUT_OF_MEMORY,
 * DS_CANCELLED.  Behind an error the parameters are those before the step.
 */
extern DsCode ds_trainer_step(DsTrainer *trainer, const DsTrainBatch *batches, DsStepResult *result,
							  const DsCancel *cancel, DsStatus *status);

/*
 * The parts of a step, see above.  A batch's arrays stay where they are until the
 * shards have gone backward.  cancel: polled in the parts from then on, at least
 * every 20 ms; may be NULL.
 */
extern void ds_trainer_cancel(DsTrainer *trainer, const DsCancel *cancel);
extern DsCode ds_trainer_begin(DsTrainer *trainer, const DsTrainBatch *batch, uint32_t number,
							   DsStatus *status);
extern DsCode ds_trainer_forward_shard(DsTrainer *trainer, int shard, DsStatus *status);
extern DsCode ds_trainer_loss_shard(DsTrainer *trainer, int shard, DsStatus *status);
extern DsCode ds_trainer_backward_shard(DsTrainer *trainer, int shard, DsStatus *status);
extern void ds_trainer_reduce(DsTrainer *trainer, int worker, int workers);
extern DsCode ds_trainer_result(DsTrainer *trainer, DsStepResult *result, DsStatus *status);
extern void ds_trainer_update(DsTrainer *trainer, int worker, int workers);

/* Steps made so far; setting it is for who keeps checkpoints in a form of his own */
extern uint64_t ds_trainer_steps(const DsTrainer *trainer);
extern void ds_trainer_set_steps(DsTrainer *trainer, uint64_t steps);

/*
 * Vectors (or outputs) of texts by the parameters of this moment, without
 * dropout: for evaluation between steps.  out[count, dims].  The texts' tokens go
 * through the same code as in training.
 */
extern DsCode ds_trainer_encode(DsTrainer *trainer, DsSide side, const DsTrainTexts *texts,
								size_t count, ds_real *out, const DsCancel *cancel,
								DsStatus *status);

/*
 * Rows of a table that steps have changed since ds_trainer_forget_changes(): their
 * numbers, rising, go to rows (room for shape[0], or NULL: count only).  Of a
 * dense parameter, or with exact_rows: all rows, if there was a step.
 */
extern size_t ds_trainer_changes(const DsTrainer *trainer, size_t parameter, uint32_t *rows);
extern void ds_trainer_forget_changes(DsTrainer *trainer);

/* The optimizer's arrays, k < ds_trainer_states(); each has its parameter's shape, and is NULL where
 * that is frozen */
extern size_t ds_trainer_states(const DsTrainer *trainer);
extern ds_real *ds_trainer_state(const DsTrainer *trainer, size_t parameter, size_t k);

/*
 * A checkpoint, between steps: pieces one after the other, with a checksum at the
 * end.  Reading checks that it is of a network of the same parameters and the
 * same optimizer (DS_INVALID) and whole (DS_BAD_DATA); behind an error the
 * parameters are neither here nor there.  read gives exactly size bytes or fails.
 */
typedef struct DsCheckpointReader
{
	void *context;
	DsCode (*read)(void *context, void *bytes, size_t size, DsStatus *status);
} DsCheckpointReader;

extern DsCode ds_trainer_save(const DsTrainer *trainer, const DsBlobWriter *writer,
							  const DsCancel *cancel, DsStatus *status);
extern DsCode ds_trainer_restore(DsTrainer *trainer, const DsCheckpointReader *reader,
								 const DsCancel *cancel, DsStatus *status);

/* The gradient of the last step, reduced, for tests: out has the parameter's shape */
extern void ds_trainer_gradient(const DsTrainer *trainer, size_t parameter, ds_real *out);

#endif /* DS_NN_TRAINING_H */
