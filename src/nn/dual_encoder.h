/*
 * dual_encoder.h
 *		The classic dual encoder: two towers, one for queries, one for documents.
 *
 * A tower is an embedding table, pooling, dense layers with ReLU between them,
 * and L2 normalisation:
 *
 *     ids of a text -> table rows -> pooled [embedding_dims]
 *         -> dense 0 -> ReLU -> dense 1 -> ... -> [dims] -> normalise
 *
 * A tower may also begin with features that are given, instead of a table: what
 * another model has made of a text or an image, or measured numbers.
 *
 * A shared encoder has one tower that serves both sides.  This header has the
 * configuration, the list of parameters and inference; training.h trains.
 */
#ifndef DS_NN_DUAL_ENCODER_H
#define DS_NN_DUAL_ENCODER_H

#include "base/arena.h"
#include "base/status.h"
#include "nn/layers.h"

typedef enum DsSide
{
	DS_SIDE_QUERY = 0,
	DS_SIDE_DOCUMENT = 1
} DsSide;

/* How the vectors are compared: normalised to length 1 before the product, or not */
typedef enum DsScore
{
	DS_SCORE_COSINE, /* the towers end in L2 normalisation */
	DS_SCORE_DOT
} DsScore;

#define DS_DENSE_MAX 8
#define DS_WIDTH_MAX 16000 /* what the type embedding can hold */
#define DS_PARAMETERS_MAX (2 * (1 + 2 * DS_DENSE_MAX) + 1)

typedef struct DsTowerConfig
{
	bool
		features; /* no table: embedding_dims features are given; vocabulary and pooling mean nothing */
	uint32_t vocabulary; /* rows of the embedding table */
	uint32_t embedding_dims;
	DsBagPooling pooling;
	uint32_t dense_count; /* 0: the pooled embedding is the result */
	uint32_t dense[DS_DENSE_MAX]; /* their widths */
	bool last_relu; /* ReLU behind the last of them too */
} DsTowerConfig;

typedef struct DsDualEncoderConfig
{
	bool shared; /* tower[0] serves both sides, tower[1] is ignored */
	DsTowerConfig tower[2]; /* by DsSide; both give vectors of the same width */
	DsScore score;
} DsDualEncoderConfig;

/* Everything but the vocabularies, which come from the tokenizers (0 here) */
extern const DsDualEncoderConfig ds_dual_encoder_defaults;

/* DS_INVALID with a sentence that names the setting */
extern DsCode ds_dual_encoder_check(const DsDualEncoderConfig *config, DsStatus *status);

/*
 * A trained array of numbers.  Names are stable, they are what a model's
 * tensors are called: "query.embedding" [vocabulary, embedding_dims] unless features are given,
 * "query.dense.0.weight" [ins, outs], "query.dense.0.bias" [outs], "document..."
 * likewise; a shared encoder's are called "shared..."; and "log_scale" [1],
 * the natural logarithm of what scores are multiplied by in training (1 /
 * temperature).
 */
typedef struct DsParameter
{
	char name[48];
	uint32_t shape_count; /* 1 or 2 */
	size_t shape[2];
	size_t count; /* product of the shape */
	bool sparse; /* an embedding table: a batch touches a few rows */
	ds_real *value; /* [count] */
	/* a table for inference may be in shorter numbers instead: value is NULL */
	const DsShortTable *shorter;
} DsParameter;

typedef struct DsDualEncoder
{
	DsDualEncoderConfig config;
	size_t dims; /* width of the result */
	size_t parameter_count;
	DsParameter parameter[DS_PARAMETERS_MAX];
	/* where each tower's parameters stand: table, then weight and bias of each dense layer */
	size_t first_parameter[2];
	size_t scale_parameter;
} DsDualEncoder;

/* Lay out the parameters: names and shapes; values are NULL.  Checks the config. */
extern DsCode ds_dual_encoder_plan(const DsDualEncoderConfig *config, DsDualEncoder *encoder,
								   DsStatus *status);

/*
 * Point the values of a planned encoder to new memory (uninitialised).  Who
 * has weights already sets parameter[i].value instead; for inference they may
 * lie in read-only memory, and log_scale is not needed.
 */
extern DsCode ds_dual_encoder_allocate(DsDualEncoder *encoder, DsArena *arena, DsStatus *status);

/*
 * Random values before training: tables normal with deviation 1 /
 * sqrt(embedding_dims); weights uniform (Glorot & Bengio, AISTATS 2010),
 * square layers near the identity; biases 0; log_scale from temperature.
 * The same seed gives the same values on every machine.
 */
extern void ds_dual_encoder_init(DsDualEncoder *encoder, uint64_t seed, double temperature);

/* One of these parameters: number is its place in the list, the stream of its random numbers */
extern void ds_parameter_init(DsParameter *parameter, uint64_t seed, size_t number);

/* The parameter of this name, or NULL */
extern DsParameter *ds_dual_encoder_parameter(DsDualEncoder *encoder, const char *name);

/* Numbers of a parameter from this one on, whichever way they are kept */
extern void ds_parameter_read(const DsParameter *parameter, size_t first, size_t count, float *out);

/* numbers (not bytes) of scratch that ds_dual_encoder_infer() needs, however many texts */
extern size_t ds_dual_encoder_scratch(const DsDualEncoder *encoder);

/*
 * Inference: out[texts, dims] from the ids of texts, offsets [texts + 1] (so
 * text t has ids[offsets[t]] .. ids[offsets[t + 1] - 1]).  A text's result does
 * not depend on its neighbours, to the last bit.  No allocation.  A text
 * without ids gives what the dense layers make of a zero vector.
 * Errors: DS_BAD_DATA for an id outside the table, DS_CANCELLED.
 */
extern DsCode ds_dual_encoder_infer(const DsDualEncoder *encoder, DsSide side, const uint32_t *ids,
									const size_t *offsets, size_t texts, ds_real *scratch,
									ds_real *out, const DsCancel *cancel, DsStatus *status);

/* The same from features [count, embedding_dims], where the side's tower takes such */
extern DsCode ds_dual_encoder_infer_features(const DsDualEncoder *encoder, DsSide side,
											 const ds_real *features, size_t count,
											 ds_real *scratch, ds_real *out, const DsCancel *cancel,
											 DsStatus *status);

#endif /* DS_NN_DUAL_ENCODER_H */
