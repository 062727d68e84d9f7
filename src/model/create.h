/*
 * create.h
 *		Making a model, for ds_create_model, ds_train and ds_import_model.
 */
#ifndef DS_MODEL_CREATE_H
#define DS_MODEL_CREATE_H

#include "model/config.h"

/*
 * A new model of the current user, whose config is checked; returns its number.
 * SPI must be connected.  Errors: 42602 (name), 42710 (there is one).
 */
extern int32 ds_model_create(const char *name, Jsonb *config, int32 dims);
extern void ds_model_check_name(const char *name);

/*
 * create_encoder.c: one of a config with "encoder", which has its first version
 * then.  The caller has the model's lock.
 */
extern void ds_encoder_create(const char *name, Jsonb *json);

#endif /* DS_MODEL_CREATE_H */
