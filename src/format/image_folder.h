/*
 * image_folder.h
 *		A network over pictures as others read it: the files beside its weights.
 */
#ifndef DS_IMAGE_FOLDER_H
#define DS_IMAGE_FOLDER_H

#include "format/plan.h"
#include "image/transform.h"

/*
 * Plan preprocessor_config.json, in the form of transformers' CLIPImageProcessor, which
 * knows all steps of a transform.  What ds_image_transform_preprocessor() would read back
 * as another one is DS_UNSUPPORTED (but for the side that a crop of an odd number of pixels
 * is rounded to, which the form does not say).
 */
extern DsCode ds_image_preprocessor(const DsImageTransform *transform, DsPlan *plan,
									DsStatus *status);

#endif /* DS_IMAGE_FOLDER_H */
