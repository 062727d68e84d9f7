/*
 * image_small.h
 *		A convolutional network made for training from scratch on small pictures.
 */
#ifndef DS_NN_IMAGE_SMALL_H
#define DS_NN_IMAGE_SMALL_H

#include "nn/image_spec.h"

#define DS_IMAGE_SMALL_EDGE 8 /* pixels of an edge, at least */

/*
 * For pictures of height x width with three channels, to dims components: 3 x 3 convolutions
 * with batch norm and ReLU, the first with stride 2 and so many channels (the others have 1.5
 * to 6 times as many, in multiples of 8; 32 is what they were chosen for), 2 x 2 means between them until the
 * shorter edge is below 12, then three more and the mean over all positions, and a dense layer.
 * DS_INVALID for smaller pictures, or where ds_image_spec_check() says so.
 */
extern DsCode ds_image_spec_small(DsImageSpec *spec, uint32_t height, uint32_t width,
								  uint32_t channels, uint32_t dims, DsStatus *status);

#endif /* DS_NN_IMAGE_SMALL_H */
