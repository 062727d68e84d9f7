/*
 * training_fields.h
 *		The keys of DsTrainOptions: "training" of a config, and options of ds_train.
 */
#ifndef DS_MODEL_TRAINING_FIELDS_H
#define DS_MODEL_TRAINING_FIELDS_H

#include "model/config.h"
#include "model/fields.h"

/* type is a struct that holds a DsTrainOptions at base (nothing, or its member and a dot) */
#define TRAINING_FIELDS(type, base)                                                               \
	UINT32("epochs", type, base epochs, 1, 1000000),                                              \
		UINT32("batch_size", type, base batch_size, 1, DS_TRAIN_BATCH_MAX),                       \
		UINT32("accumulate", type, base train.accumulate, 1, 65536),                              \
		UINT32("cache_texts", type, base train.cache_texts, 0, 1000000000),                       \
		CHOICE("loss", type, base train.loss, ds_loss_names),                                     \
		BOOL("symmetric", type, base train.symmetric),                                            \
		REAL("temperature", type, base train.temperature, 0.01, 10, false, false),                \
		BOOL("learn_temperature", type, base train.learn_temperature),                            \
		REAL("teacher_temperature", type, base train.teacher_temperature, 0, 1e6, true, false),   \
		REAL("margin", type, base train.margin, 0, 1e6, true, false),                             \
		{"matryoshka", FIELD_SIZES, offsetof(type, base train), 1, DS_WIDTH_MAX, false, false,    \
		 NULL,		   NULL},                                                                     \
		REAL("feature_dropout", type, base train.feature_dropout, 0, 1, false, true),             \
		CHOICE("optimizer", type, base train.optimizer.kind, ds_optimizer_names),                 \
		REAL("learning_rate", type, base train.schedule.initial, 0, 1e3, true, false),            \
		CHOICE("schedule", type, base train.schedule.kind, ds_schedule_names),                    \
		REAL("decay", type, base train.schedule.decay, 0, 1, true, false),                        \
		REAL("decay_steps", type, base train.schedule.decay_steps, 0, EXACT_MAX, false, false),   \
		FLAG("staircase", type, base train.schedule.staircase),                                   \
		REAL("min_learning_rate", type, base train.schedule.minimum, 0, 1e3, false, false),       \
		REAL("warmup_steps", type, base train.schedule.warmup_steps, 0, EXACT_MAX, false, false), \
		REAL("beta1", type, base train.optimizer.beta1, 0, 1, false, true),                       \
		REAL("beta2", type, base train.optimizer.beta2, 0, 1, false, true),                       \
		REAL("epsilon", type, base train.optimizer.epsilon, 0, 1, true, false),                   \
		REAL("momentum", type, base train.optimizer.momentum, 0, 1, false, true),                 \
		REAL("weight_decay", type, base train.optimizer.weight_decay, 0, 1e3, false, false),      \
		BOOL("exact_rows", type, base train.exact_rows),                                          \
		REAL("clip_norm", type, base train.clip_norm, 0, 1e9, false, false),                      \
		REAL("layer_decay", type, base train.layer_decay, 0, 1, true, false),                     \
		{"rates", FIELD_RATES, offsetof(type, base train), 0, 0, false, false, NULL, NULL},       \
		{"freeze", FIELD_FREEZE, offsetof(type, base train), 0, 0, false, false, NULL, NULL},     \
	{                                                                                             \
		"seed", FIELD_UINT64, offsetof(type, base train.seed), 0, EXACT_MAX, false, false, NULL,  \
			NULL                                                                                  \
	}

#endif /* DS_MODEL_TRAINING_FIELDS_H */
