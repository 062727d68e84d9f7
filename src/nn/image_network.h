/*
 * image_network.h
 *		The forward pass of networks over pictures: residual networks and other
 *		convolutional ones, vision transformers.
 *
 * As encoder.h: laying out makes one block of bytes without pointers of a
 * description and its tensors, batch norm folded into the convolutions before
 * it; opening it copies nothing.  A vision transformer's block has an encoder's
 * in it.  No thread is ever started, and no library called.
 */
#ifndef DS_IMAGE_NETWORK_H
#define DS_IMAGE_NETWORK_H

#include "nn/encoder.h"
#include "nn/image_spec.h"

/* what a blob depends on besides its model; at most 31 letters */
#define DS_IMAGE_IDENTITY "deepsearch image 1"

/*
 * Bytes of a blob; the spec must have passed ds_image_spec_check().
 * DS_UNSUPPORTED for a convolutional network in bf16 or int8.
 */
extern DsCode ds_image_network_size(const DsImageSpec *spec, DsPrecision precision, uint64_t *size,
									DsStatus *status);

/* As ds_encoder_layout(); a negative variance of batch norm is DS_BAD_DATA too */
extern DsCode ds_image_network_layout(const DsImageSpec *spec, DsPrecision precision,
									  const DsTensorSource *source, const DsBlobWriter *writer,
									  DsArena *arena, const DsCancel *cancel, DsStatus *status);

typedef struct DsImageNetwork DsImageNetwork;

/* As ds_encoder_open() */
extern DsCode ds_image_network_open(const void *blob, uint64_t size, DsArena *arena,
									DsImageNetwork **network, DsStatus *status);

extern const DsImageSpec *ds_image_network_spec(const DsImageNetwork *network);
extern DsPrecision ds_image_network_precision(const DsImageNetwork *network);
extern const char *ds_image_network_kernel_name(const DsImageNetwork *network);

/*
 * pixels[pictures][height][width][channels], normalised; out[pictures][dims].  A
 * picture's result does not depend, to the last bit, on the pictures beside it.
 * Memory from the arena, given back: activations of some pictures at once.
 * Polls cancel at least every few milliseconds.
 */
extern DsCode ds_image_network_run(const DsImageNetwork *network, size_t pictures,
								   const float *pixels, float *out, DsArena *arena,
								   const DsCancel *cancel, DsStatus *status);

#endif /* DS_IMAGE_NETWORK_H */
