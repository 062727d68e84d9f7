/*
 * transformer.h
 *		A transformer tower on its way through training; for the files of the trainer
 *		only.
 */
#ifndef DS_NN_TRANSFORMER_H
#define DS_NN_TRANSFORMER_H

#include "nn/tower_kernels.h"
#include "nn/training_private.h"

/* Numbers of parameters; DS_NO_PARAMETER where a spec has none */
typedef struct LinearPlan
{
	size_t weight; /* [out, in] */
	size_t bias;
} LinearPlan;

typedef struct LayerPlan
{
	LinearPlan attention_norm;
	LinearPlan qkv[3]; /* fused: the first one alone, of three times the rows */
	LinearPlan out;
	LinearPlan mlp_norm;
	LinearPlan up;
	LinearPlan down;
	bool learns; /* has a parameter that is not frozen */
} LayerPlan;

typedef struct TransformerPlan
{
	LinearPlan token;
	LinearPlan patch;
	LinearPlan class_token;
	LinearPlan position;
	LinearPlan type;
	LinearPlan embedding_norm;
	LinearPlan final_norm;
	LinearPlan module[DS_SPEC_MODULES];
	LayerPlan *layer;
	size_t lowest; /* layer with a parameter that learns; 0 when the embeddings do too */
	bool embeddings_learn;
} TransformerPlan;

/* What a layer leaves to its way back, for each row so many numbers, h = hidden */
typedef struct LayerMemory
{
	ds_real *x; /* [h] what came in */
	ds_real *in; /* [h] norm_first: x after its norm; otherwise x */
	ds_real *qkv; /* [3 a] */
	ds_real *mix; /* [a] what attention gave, before its linear layer */
	ds_real *middle; /* [h] x + attention */
	ds_real *up_in; /* [h] what goes into the MLP */
	ds_real *up; /* [intermediate] before the activation */
	ds_real *end; /* [h] after the MLP, before a norm behind it */
	ds_real *moments[2]; /* [2] mean and inverse of the norms before or behind attention and MLP */
} LayerMemory;

/*
 * What goes through a tower is sequences: the tokens of a text, or the patches of a picture
 * behind their class token.  A row is one of these.
 */
struct TransformerPass
{
	const DsTower *tower;
	const DsEncoderSpec *spec;
	TransformerPlan *plan;
	LayerMemory *layer;
	size_t sequences;
	const size_t *starts; /* [sequences + 1] their first rows */
	size_t rows;
	ds_real *embedded; /* [rows, h] before the norm */
	ds_real *embedded_moments;
	ds_real *last; /* [rows, h] what the layers gave, before final_norm */
	ds_real *last_moments;
	ds_real *final; /* [rows, h] after it */
	ds_real *module[DS_SPEC_MODULES + 1]; /* [sequences, ..] what goes into each; the last: out */
	ds_real *module_extra[DS_SPEC_MODULES]; /* dense: before the activation; norms: moments */
	ds_real *d_module[DS_SPEC_MODULES]; /* gradients by what goes into each */
	/* scratch */
	ds_real *product; /* DS_PRODUCT_SCRATCH */
	ds_real *panel; /* [widest, DS_PRODUCT_WIDTH] */
	ds_real *weights; /* [longest, longest] of attention */
	ds_real *dropped;
	ds_real *d_weights;
	ds_real *d_one; /* [rows, h] */
	ds_real *d_two; /* forward: patches before their class tokens are among them */
	ds_real *d_wide; /* [rows, max(3 a, intermediate)] */
	ds_real *wide;
	uint64_t key; /* of this pass's random numbers */
	bool trains; /* a pass of training: with dropout, and to go backward */
	Room room[6];
};

/* Random streams of a pass: which dropout */
typedef enum DropSite
{
	DROP_EMBEDDINGS,
	DROP_ATTENTION,
	DROP_MLP,
	DROP_WEIGHTS
} DropSite;

static inline uint64_t
ds_layer_stream(uint32_t layer, DropSite site)
{
	return (uint64_t) layer << 4 | site;
}

/* one for each head of each sequence */
static inline uint64_t
ds_weights_stream(uint32_t layer, size_t sequence, size_t head)
{
	return (uint64_t) sequence << 32 | (uint64_t) head << 16 | ds_layer_stream(layer, DROP_WEIGHTS);
}

static inline size_t
attention_width(const DsEncoderSpec *spec)
{
	return (size_t) spec->heads * spec->head_dims;
}

static inline const ds_real *
plan_value(const DsTrainer *trainer, size_t number)
{
	return number != DS_NO_PARAMETER ? parameter_value(trainer, number) : NULL;
}

/* x[n] = 0 with this probability, else x / (1 - rate); the same for the same (key, stream) */
extern void ds_drop(const TransformerPass *pass, uint64_t stream, double rate, ds_real *x,
					size_t n);

/* Scores of a head for the n rows of a sequence, softmax over those that each sees: weights[n, n] */
extern void ds_attention_weights(const TransformerPass *pass, const ds_real *qkv, size_t n,
								 size_t head, ds_real *weights);

/* How many rows the one with this number in its sequence of n sees, from the first on */
static inline size_t
seen_rows(const DsEncoderSpec *spec, size_t row, size_t n)
{
	return spec->causal ? row + 1 : n;
}

typedef struct RowRange
{
	size_t begin;
	size_t end;
} RowRange;

/* The rows whose mean is a sequence's vector; none of an empty text */
static inline RowRange
pooled_rows(const TransformerPass *pass, const TowerInput *input, size_t sequence)
{
	const DsEncoderSpec *spec = pass->spec;
	size_t begin = pass->starts[sequence];
	size_t end = pass->starts[sequence + 1];
	size_t row = begin;

	if (begin == end)
		return (RowRange){begin, end};
	if (spec->pooling == DS_POOL_MEAN)
		return (RowRange){begin + (spec->pool_skip < end - begin ? spec->pool_skip : 0), end};
	if (spec->pooling == DS_POOL_LAST)
		row = end - 1;
	if (spec->pooling == DS_POOL_EOT)
		while (row + 1 < end && input->ids[row] != spec->eot_id)
			row++;
	return (RowRange){row, row + 1};
}

/* c = a b in pieces between which it is asked whether to stop */
extern DsCode ds_product_run(const DsTrainer *trainer, const DsMatrixProduct *product);

/* pass->input's sequences to out[sequences, dims] */
extern DsCode ds_transformer_forward(DsTrainer *trainer, TowerPass *pass, size_t tower,
									 uint64_t key, bool trains, const ds_real **out,
									 DsStatus *status);
/* From d[sequences, dims], which is overwritten; add: gradients of weights are added to what is there */
extern DsCode ds_transformer_backward(DsTrainer *trainer, TowerPass *pass, size_t tower, int shard,
									  bool add, ds_real *d, DsStatus *status);

#endif /* DS_NN_TRANSFORMER_H */
