/*
 * config.h
 *		What a model is made of and how it is trained, read from jsonb.
 *
 * A config names parts of a model; every part has a default.  It is checked
 * and completed when the model is created, and stored complete, so that a
 * later change of a default does not change a model.  A complete config is a
 * valid config with the same meaning.  docs/models.md lists the keys.
 *
 * The options of ds_train have the same form; a model's config has them under
 * "training" as that model's defaults.
 */
#ifndef DS_MODEL_CONFIG_H
#define DS_MODEL_CONFIG_H

#include "server.h"

#include "image/transform.h"
#include "nn/dual_encoder.h"
#include "nn/training.h"
#include "text/tokenizer.h"

#include "utils/jsonb.h"

typedef struct DsTrainOptions
{
	DsTrainConfig train; /* schedule.decay_steps 0 here means an epoch's */
	uint32 epochs;
	uint32 batch_size;
} DsTrainOptions;

/* What a document's text and picture become: nothing (it has no text), or one of DsFusion */
typedef enum DsFusionKind
{
	DS_FUSION_NONE,
	DS_FUSION_JOINED,
	DS_FUSION_BY_GATE
} DsFusionKind;

/* A tower over pictures, trained from scratch */
typedef struct DsImageConfig
{
	uint32 width; /* 0: there is none */
	uint32 height;
	int network; /* its family; what it is made of never changes */
	uint32 channels; /* of its first layer, the others in proportion */
	double mean; /* of pixels from 0 to 1 */
	double deviation;
	bool mirror; /* in training */
	uint32 move; /* pixels, in training */
	double leave_out; /* in training, of texts and of pictures each */
	int fusion; /* DsFusionKind */
} DsImageConfig;

/* By DsSide; a shared encoder has tower 0 only. */
typedef struct DsModelConfig
{
	bool shared;
	DsImageConfig image[2];
	DsTokenizerConfig tokenizer[2];
	DsTowerConfig tower[2];
	int score; /* DsScore */
	DsTrainOptions training;
} DsModelConfig;

/* 22023 with the path of the key for an unknown key, a wrong type, a value out of range */
extern void ds_config_read(Jsonb *json, DsModelConfig *config);

/* The complete config, in the current context */
extern Jsonb *ds_config_write(const DsModelConfig *config);

/* Whether the settings of a training go together: 22023 where they do not */
extern void ds_training_check(const DsTrainOptions *options);

extern const char *const ds_loss_names[];
extern const char *const ds_optimizer_names[];
extern const char *const ds_schedule_names[];

extern void ds_clean_options_read(Jsonb *json, DsCleanOptions *options);

/* The options of ds_encode_table */
typedef struct DsEncodeTableOptions
{
	bool all; /* every row, not only those without an embedding */
	bool restart; /* with all: from the first row, even where an interrupted call could go on */
	uint32 batch_size; /* rows a commit, at most */
	uint32 workers; /* processes that encode; 0: as many as pay */
	int on_error; /* of a bad picture: DS_ON_ERROR_... */
} DsEncodeTableOptions;

#define DS_ON_ERROR_ERROR 0
#define DS_ON_ERROR_NULL 1 /* the row has no embedding */

extern void ds_encode_table_options_read(Jsonb *json, DsEncodeTableOptions *options);

/* The encoder that a config describes, vocabularies given by DsSide */
extern DsDualEncoderConfig ds_config_encoder(const DsModelConfig *config,
											 const uint32_t vocabulary[2]);

/* Do the towers take features instead of texts?  Both do, or none. */
extern bool ds_config_features(const DsModelConfig *config);

/* Does a side's tower read pictures; does it read texts?  Fused documents are both. */
extern bool ds_config_has_images(const DsModelConfig *config, int side);
extern bool ds_config_has_texts(const DsModelConfig *config, int side);
/* Does one of them read pictures? */
extern bool ds_config_images(const DsModelConfig *config);

/* The network that a training trains, vocabularies given by DsSide */
extern void ds_config_net(const DsModelConfig *config, const uint32_t vocabulary[2], DsNet *net);

/* What makes a picture ready for a side's tower */
extern void ds_config_transform(const DsModelConfig *config, int side, DsImageTransform *transform);

/* The number of towers with parameters of their own, and what they are called */
extern int ds_config_towers(const DsModelConfig *config);
extern const char *ds_config_tower_name(const DsModelConfig *config, int tower);

#endif /* DS_MODEL_CONFIG_H */
