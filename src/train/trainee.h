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
#include "model/version.h"
#include "nn/training.h"
#include "train/options.h"
#include "train/pairs.h"

typedef struct DsTrainee DsTrainee;

/* What differs between kinds of models; see the functions of the same names below. */
typedef struct DsTraineeKind
{
	void (*find)(DsTrainee *trainee, DsRunOptions *run); /* with the defaults of options */
	/* of a side of the source; and how its pictures are made ready, where there are some */
	DsSpoolKind (*reads)(const DsTrainee *trainee, DsSide side);
	void (*transform)(const DsTrainee *trainee, DsSide side, DsImageTransform *transform);
	void (*split)(DsTrainee *trainee); /* one tower for both sides becomes two, if it is one */
	void (*open)(DsTrainee *trainee);
	DsPairs *(*pairs)(DsTrainee *trainee, DsSpool *source, const char *sql); /* plans the net too */
	void (*load)(DsTrainee *trainee, DsTrainer *trainer); /* unless it is fresh */
	void (*describe)(const DsTrainee *trainee, DsVersionRow *row);
	/*
	 * A parameter in a version: its name and shape, which are given as those of training;
	 * false: it is not part of one.
	 */
	bool (*stored)(const DsTrainee *trainee, DsTensorData *tensor);
	void (*write_tokenizers)(const DsTrainee *trainee, DsModelKey key);
	void (*save)(const DsTrainee *trainee, DsModelKey key);
	void (*restore)(DsTrainee *trainee, DsReader *reader);
} DsTraineeKind;

extern const DsTraineeKind ds_trainee_bag; /* trainee_bag.c */
extern const DsTraineeKind ds_trainee_encoder; /* trainee_encoder.c */

struct DsTrainee
{
	const char *name;
	const DsTraineeKind *kind;
	bool exists;
	DsModelRow row;
	DsModel *start; /* the version that the training begins from, pinned; or NULL */
	bool fresh; /* with random weights, not those of start */
	bool split; /* start has one tower for both sides, the new version two */
	double dropout; /* of transformers */
	bool mirror; /* of imported networks over pictures */
	uint32 move;
	bool batch_moments;
	bool bad_is_none; /* a bad picture is none */
	const DsSpoolParameters *parameters; /* of the source; NULL: it has none */
	DsLoss loss;
	uint32 vocabulary; /* of queries */

	MemoryContext context;
	DsArena arena;
	DsNet net;

	/* embedding bags */
	DsModelConfig config; /* of the new version */
	DsTokenizer tokenizer[2]; /* by DsSide */
	const void *tokenizer_blob[2];
	size_t tokenizer_size[2];
	DsTokenScratch scratch[2];
	DsPictures *pictures[2]; /* by DsSide; NULL: it reads none */

	/* encoders */
	DsImportedConfig pretrained; /* of the new version */
};

/*
 * The model of this name, or a new one, and the options for it.  The caller has
 * the model's lock.  Everything lives in the current context.  Errors: those
 * of options; 42501 where the model is someone else's.
 */
extern void ds_trainee_find(DsTrainee *trainee, const char *name, Jsonb *options,
							DsRunOptions *run);

/* Its version, unless the training begins from nothing or from a checkpoint */
extern void ds_trainee_open(DsTrainee *trainee, const DsRunOptions *run);
extern void ds_trainee_open_start(DsTrainee *trainee);
extern void ds_trainee_close(DsTrainee *trainee);

/* Does it take features instead of texts?  Does a tower read pictures? */
extern bool ds_trainee_features(const DsTrainee *trainee);
extern bool ds_trainee_images(const DsTrainee *trainee);

/*
 * The source's rows as tokens; what has no tokenizer yet learns one from them.  bad: pictures
 * that could not be read, where the options say that these are no error.
 */
extern DsPairs *ds_trainee_pairs(DsTrainee *trainee, const char *source, int64 *rows,
								 int64 *skipped, int64 *bad);

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
