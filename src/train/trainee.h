/*
 * trainee.h
 *		What a training trains: a model and its parts, from its tables to a
 *		trainer and back.
 *
 * The loop around knows no kind of model.  This file knows how texts become
 * tokens, what network that goes through, where its weights begin, and which
 * tensors a new version has.
 */
#ifndef DS_TRAIN_TRAINEE_H
#define DS_TRAIN_TRAINEE_H

#include "server.h"

#include "model/model.h"
#include "model/store.h"
#include "nn/training.h"
#include "train/options.h"
#include "train/pairs.h"

typedef struct DsTrainee
{
	const char *name;
	bool exists;
	DsModelRow row;
	DsModel *start; /* the version that the training continues, pinned; or NULL */
	DsModelConfig config; /* of the new version */
	bool split; /* start has one tower for both sides, the new version two */

	MemoryContext context;
	DsArena arena;
	DsTokenizer tokenizer[2]; /* by DsSide */
	const void *tokenizer_blob[2];
	size_t tokenizer_size[2];
	DsTokenScratch scratch[2];
	DsNet net;
} DsTrainee;

/*
 * The model of this name, or a new one, and the options for it.  The caller has
 * the model's lock.  Everything lives in the current context.  Errors: those
 * of options; 42501 where the model is someone else's.
 */
extern void ds_trainee_find(DsTrainee *trainee, const char *name, Jsonb *options,
							DsRunOptions *run);

/* Its version, unless the training begins from nothing or from a checkpoint */
extern void ds_trainee_open(DsTrainee *trainee, const DsRunOptions *run);
extern void ds_trainee_close(DsTrainee *trainee);

/* The source's rows as tokens; what has no tokenizer yet learns one from them. */
extern DsPairs *ds_trainee_pairs(DsTrainee *trainee, const char *source, int64 *rows,
								 int64 *skipped);

/* The first weights.  22023 where a rule of rates fits no parameter. */
extern void ds_trainee_load(DsTrainee *trainee, DsTrainer *trainer);

/* Do texts of this side keep the embeddings that the current version gives them? */
extern bool ds_trainee_same(const DsTrainee *trainee, const DsTrainer *trainer, DsSide side);

/*
 * Write a version: of the trainer's parameters, or those where values is not
 * NULL.  It is complete but for ds_version_finish().
 */
extern DsModelKey ds_trainee_write(DsTrainee *trainee, DsTrainer *trainer, float *const *values,
								   int32 run, const char *source, int64 pairs);

/* What a checkpoint has beside the parameters */
extern void ds_trainee_save(const DsTrainee *trainee, DsModelKey key);
extern void ds_trainee_restore(DsTrainee *trainee, DsReader *reader);

#endif /* DS_TRAIN_TRAINEE_H */
