/*
 * options.h
 *		The options of ds_train.
 */
#ifndef DS_TRAIN_OPTIONS_H
#define DS_TRAIN_OPTIONS_H

#include "server.h"

#include "model/config.h"

typedef enum DsDuplicates
{
	DS_DUPLICATES_AVOID, /* apart where there is room */
	DS_DUPLICATES_NEVER, /* apart, even if batches are small */
	DS_DUPLICATES_ALLOW, /* as the order has them */
	DS_DUPLICATES_TOGETHER /* all pairs of a document behind each other */
} DsDuplicates;

/* Beside those that a model has defaults for */
typedef struct DsRunOptions
{
	DsTrainOptions training;
	bool from_scratch; /* a new vocabulary and new weights instead of the current version's */
	bool activate; /* the new version becomes the current one */
	uint32 keep_versions; /* versions that stay, the new one counted */
	int duplicates; /* DsDuplicates; the caller's default */
	int on_error; /* of a bad picture in the source: DS_ON_ERROR_... */
	double dropout; /* of a transformer */
	bool mirror; /* half of the pictures are turned left to right; of imported models */
	uint32 move; /* and moved by up to so many pixels */
	bool batch_moments; /* batch norm of imported models by the batch */
	bool balance; /* classes of labels count the same, whatever their number of rows */

	char *evaluate; /* SELECT that gives the metric; NULL: none */
	uint32 evaluate_steps; /* 0: at the end of each epoch */
	int goal; /* DsGoal of the metric */
	uint32 patience; /* evaluations without a better metric, after which it stops; 0: never */
	double min_improvement; /* what counts as better */

	uint32 workers; /* processes that train; 0: as many as pay */
	bool resume; /* an interrupted run */
	uint32 checkpoint_steps; /* 0: at ends of epochs only */
	double checkpoint_seconds; /* ends of epochs sooner than this after a checkpoint make none */
} DsRunOptions;

typedef enum DsGoal
{
	DS_GOAL_MAX,
	DS_GOAL_MIN
} DsGoal;

/* The defaults, but for options->training, which stays */
extern void ds_run_options_init(DsRunOptions *options);

/*
 * Read over defaults.
 * 22023 for an unknown key, a wrong type, a value out of range, and for
 * options that do not go together.
 */
extern void ds_run_options_read(Jsonb *json, DsRunOptions *options);

/* All of them */
extern Jsonb *ds_run_options_write(const DsRunOptions *options);

/* Those that the resulting weights depend on: runs that differ in others are the same run. */
extern char *ds_run_options_identity(const DsRunOptions *options);

#endif /* DS_TRAIN_OPTIONS_H */
