/*
 * model.h
 *		From a model's name to weights that encode.
 *
 * Two steps.  ds_model_resolve() tells which version a name means for the
 * active snapshot, and checks the caller's rights; it is cheap, since the
 * answer is remembered until a change of ds_model (resolve.c has the rules).
 * ds_model_open() gives that version's weights, loading them where this
 * process does not have them yet.  Versions never change, so what is loaded
 * or remembered for a key stays right for ever.
 */
#ifndef DS_MODEL_MODEL_H
#define DS_MODEL_MODEL_H

#include "server.h"

#include "format/dtype.h"
#include "model/config.h"
#include "model/imported.h"
#include "model/shared.h"
#include "nn/dual_encoder.h"
#include "nn/fusion.h"
#include "text/tokenizer.h"

#include "lib/ilist.h"

typedef struct DsModelKey
{
	int32 model;
	int32 version;
} DsModelKey;

/*
 * The version of the model of this name for the active snapshot; NULL means
 * the default model.  Errors: 42704 no such model (or none at all), 42501 no
 * right to use it, 55000 never trained, 42P08 several models and no default.
 */
extern DsModelKey ds_model_resolve(const char *name);

/*
 * A tower of a dual encoder of which one side at least reads pictures (layout_mixed.c).
 * What a tower has not is NULL.
 */
typedef struct DsMixedTower
{
	DsDualEncoder *text; /* names its parameters "shared..."; before normalising where fused */
	float *text_scratch;
	DsImageNetwork *image;
	DsImageTransform transform;
	bool fused;
	DsFusionWeights fusion;
} DsMixedTower;

/*
 * A model in memory.  Weights and tokenizers are read-only and lie in the
 * file that processes share; scratch belongs to this process.
 */
typedef struct DsModel
{
	DsModelKey key;
	DsShared shared;
	int dims; /* of an embedding, or number of scores */

	/* a dual encoder */
	DsModelConfig config;
	DsTokenizer tokenizer[2]; /* by DsSide; the same for a shared encoder; none for features */
	const void *tokenizer_blob[2];
	size_t tokenizer_size[2];
	DsDualEncoder encoder; /* not of a mixed one */
	DsTokenScratch tokens[2]; /* by DsSide */
	float *scratch;
	DsMixedTower *mixed; /* [2] by DsSide; NULL: both sides are texts or features */

	/* an imported model */
	bool imported;
	DsImportedConfig pretrained;
	DsSubword subword;
	DsEncoder *network[2]; /* by DsSide; the same unless pretrained.separate */
	DsImageNetwork *image; /* NULL: it reads no pictures */
	DsArena run_arena; /* of networks */
	DsSubwordScratch *subword_scratch; /* NULL until it is needed */
	DsArena subword_arena;
	MemoryContext subword_context;

	/* private to the cache */
	MemoryContext context;
	DsArena arena;
	dlist_node node;
	int pins;
	bool listed; /* false: gone from the cache, freed with the last pin */
} DsModel;

/*
 * The weights of a version.  The pointer is good until the next call, or
 * until ds_model_unpin() after ds_model_pin().  Errors: XX001 where the tables
 * do not hold what the version needs.
 */
extern DsModel *ds_model_open(DsModelKey key);
extern void ds_model_pin(DsModel *model);
extern void ds_model_unpin(DsModel *model);

/* A row of ds_model and what the current user may do with it */
typedef struct DsModelRow
{
	int32 id;
	char *name;
	char *owner;
	Jsonb *config;
	int32 version; /* 0: never trained */
	bool may_use;
	bool may_own;
} DsModelRow;

/* false when there is none; in the current context */
extern bool ds_model_find(const char *name, DsModelRow *row);

/* The same for owners only: errors 42704, 42501 */
extern void ds_model_find_owned(const char *name, DsModelRow *row);

/* The name of the model with a number, for messages; in the current context */
extern char *ds_model_name(int32 id);

/*
 * One training, creation or drop of a model of this name at a time: an
 * exclusive lock, for the transaction, or for the session (until
 * ds_model_unlock(), an error outside of a subtransaction, or the end of the
 * process).  55006 when someone else has it.
 */
extern void ds_model_lock(const char *name, bool session);
extern void ds_model_lock_wait(const char *name); /* for the transaction; waits for others */
extern void ds_model_unlock(const char *name);
extern uint32 ds_model_lock_id(const char *name); /* objid in pg_locks */

/* query or document; 22023 for anything else */
extern DsSide ds_side_from(const char *name);

/*
 * Encode texts (UTF-8) or pictures into out[count, dims].  failed as in
 * ds_images_encode(); a text never fails alone.  Counted by ds_encode_count().
 * Cancellable.
 */
extern void ds_count_encoded(int64 texts);
extern void ds_model_encode(DsModel *model, DsSide side, const DsText *texts, size_t count,
							bool *failed, float *out);

/*
 * No side of texts, but pictures: what DsText points to are files (JPEG, PNG).
 * Memos keep them apart from texts by it.
 */
#define DS_SIDE_IMAGE ((DsSide) 2)
/* In a memo: a text and a picture together, as a document or as a query */
#define DS_SIDE_BOTH ((DsSide) 3)

/*
 * encode_image.c: pictures to embeddings.  failed (NULL: a bad picture is an
 * error: 22P03 damaged or no picture, 0A000 a kind that is not read, 54000 larger
 * than the settings allow) gets those that have none.
 */
extern void ds_images_encode(DsModel *model, const DsText *pictures, size_t count, bool *failed,
							 float *out);

/* The same for one file: what a network reads, into values; false where it is bad and failed is given */
extern bool ds_image_load(const DsImageTransform *transform, DsText file, DsArena *arena,
						  DsArena *scratch, bool *failed, float *values);
/* A picture that could not be read: its error, or where failed is given, true there */
extern void ds_image_refuse(DsCode code, const DsStatus *status, bool *failed);

/*
 * encode_mixed.c: texts, pictures, or both to embeddings of one side.  data NULL: there
 * is none, which a fused tower has a learned vector for; at least one of the two is
 * there.  Either array may be NULL: none has one.  42809 for what the side does not read.
 */
extern void ds_mixed_encode(DsModel *model, DsSide side, const DsText *texts,
							const DsText *pictures, size_t count, bool *failed, float *out);
/* The side whose pictures a picture alone is taken for: documents where they have such */
extern DsSide ds_mixed_image_side(const DsModel *model);

/* Either of a text and a picture (data NULL: none), as above, by any model that reads both as one */
extern void ds_model_encode_both(DsModel *model, DsSide side, const DsText *texts,
								 const DsText *pictures, size_t count, bool *failed, float *out);
/* 42809 where side does not make one vector of a text and a picture */
extern void ds_need_both(const DsModel *model, DsSide side);

/*
 * encode_features.c: the same of models that take features.  A text of these is
 * what the type embedding or an array of numbers writes, "[1,2]" or "{1,2}".
 */
extern void ds_features_encode(DsModel *model, DsSide side, const DsText *texts, size_t count,
							   float *out);

/* The numbers of such a text, or of an embedding or real[], in the current context: 22P02 and the like */
extern float *ds_features_from_text(DsText text, int *count);
extern float *ds_features_from_array(Datum array, int *count);

/*
 * encode_parallel.c: the same by so many processes, this one counted; it counts what it
 * did itself.  pictures NULL: as ds_model_encode(), otherwise as ds_model_encode_both().
 */
extern void ds_encode_parallel(DsModel *model, DsSide side, const DsText *texts,
							   const DsText *pictures, size_t count, int processes, bool *failed,
							   float *out);

/* 42809 for a model that does not read texts (as this side), or pictures */
extern void ds_need_texts(const DsModel *model, DsSide side);
extern void ds_need_images(const DsModel *model);

/*
 * encode_imported.c: texts to embeddings, pairs of a query and documents to
 * scores (out[count, dims]); a text, or with a second one the pair, to tokens in
 * the current context.
 */
extern void ds_imported_encode(DsModel *model, DsSide side, const DsText *texts, size_t count,
							   float *out);
extern void ds_imported_score(DsModel *model, DsText query, const DsText *documents, size_t count,
							  float *out);
extern size_t ds_imported_tokens(DsModel *model, DsSide side, DsText text, const DsText *second,
								 const uint32_t **ids, const uint8_t **types);

/* store.c: write a version (in a subtransaction or transaction of the caller) */
typedef struct DsTensorData
{
	const char *name;
	DsDtype dtype;
	int shape_count;
	int64 shape[4];
	const void *data;
	size_t bytes;
} DsTensorData;

extern void ds_store_write(DsModelKey key, const DsTensorData *tensors, int count);

/* layout.c: fill a model whose key, context and arena are set */
extern void ds_model_load(DsModel *model);

/* Remove the shared files of versions that are no longer there. */
extern void ds_model_sweep_files(void);

#endif /* DS_MODEL_MODEL_H */
