/*
 * folder_config.h
 *		What the writers of folders share: encoder_folder.c, image_folder.c,
 *		folder_config.c.
 */
#ifndef DS_FOLDER_CONFIG_H
#define DS_FOLDER_CONFIG_H

#include "format/buffer.h"
#include "format/folder.h"
#include "format/plan.h"
#include "nn/encoder_spec.h"

/*
 * The config.json of a family; head: the class of a cross-encoder's last
 * activation.  DS_UNSUPPORTED for what the family's config cannot say.
 */
extern DsCode ds_folder_config(const DsEncoderSpec *spec, const char *head, DsBuffer *out,
							   DsStatus *status);

/* What the names of an encoder's tensors begin with; the class of its tokenizer */
extern const char *ds_folder_prefix(const DsEncoderSpec *spec);
extern const char *ds_folder_tokenizer_class(const char *family);

/* The planned files, to be read back: all but the numbers of tensors */
extern DsFolder ds_plan_folder(DsPlan *plan);

/* DS_UNSUPPORTED with the member's name where two descriptions (objects of JSON) differ */
extern DsCode ds_folder_same(const char *written, const char *read, DsStatus *status);

#endif /* DS_FOLDER_CONFIG_H */
