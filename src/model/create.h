/*
 * create.h
 *		Making a model, for ds_create_model and ds_train.
 */
#ifndef DS_MODEL_CREATE_H
#define DS_MODEL_CREATE_H

#include "model/config.h"

/*
 * A new model of the current user; returns its number.  SPI must be connected.
 * Errors: 42602 (name), 42710 (there is one), what the config's checks say.
 */
extern int32 ds_model_create(const char *name, const DsModelConfig *config);
extern void ds_model_check_name(const char *name);

#endif /* DS_MODEL_CREATE_H */
