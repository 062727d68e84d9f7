/*
 * image_source.h
 *		A trained network over pictures as it lies in a folder: transformers (ResNet,
 *		ViT, CLIP), OpenCLIP, and files with the names of torchvision.
 *
 * As encoder_source.h does for texts: the description (nn/image_spec.h), where
 * each of its tensors is, and how a picture becomes what the network reads.
 *
 * A folder without a config, or a file alone, is read where its tensors have
 * torchvision's names (conv1, bn1, layer1.0.conv1, ..., fc): depth, widths, and
 * whether it has the form for CIFAR follow from the names and shapes.
 */
#ifndef DS_IMAGE_SOURCE_H
#define DS_IMAGE_SOURCE_H

#include "format/encoder_source.h"
#include "image/transform.h"
#include "nn/image_spec.h"

typedef struct DsImageSource
{
	DsImageSpec spec;
	DsImageTransform transform; /* its result has the size of the spec */
	size_t tensor_count;
	DsSourceTensor *tensors;
} DsImageSource;

/* what a folder's model reads, a set */
#define DS_READS_TEXTS 1u
#define DS_READS_IMAGES 2u

/*
 * CLIP and OpenCLIP read both, where their vision tower is one that is known
 * here.  What is not recognised counts as a model of texts, whose reader then
 * says what is wrong with it.
 */
extern DsCode ds_source_reads(const DsFolder *folder, DsArena *scratch, uint32_t *reads,
							  DsStatus *status);

/*
 * classes: with the classifier, whose scores are the result; otherwise what comes
 * before it.  Memory and errors as ds_encoder_source_open().
 */
extern DsCode ds_image_source_open(const DsFolder *folder, bool classes, DsArena *arena,
								   DsArena *scratch, DsImageSource *source, DsStatus *status);

#endif /* DS_IMAGE_SOURCE_H */
