/*
 * resnet.h
 *		Residual networks as layers of an image_spec.h.
 *
 * He, Zhang, Ren, Sun, Deep Residual Learning for Image Recognition (2016), in
 * the forms that torchvision, transformers and the usual code for CIFAR have.
 */
#ifndef DS_RESNET_H
#define DS_RESNET_H

#include "nn/image_spec.h"

#define DS_RESNET_STAGES 8

typedef struct DsResNet
{
	uint32_t channels; /* of the picture */
	uint32_t height;
	uint32_t width;
	/*
	 * The form for CIFAR: a stem of 3 x 3 and no pooling behind it.  Otherwise 7 x 7
	 * with stride 2, and 3 x 3 pooling.
	 */
	bool small;
	bool padded; /* shortcuts without weights, padded with channels of zeros */
	bool bottleneck; /* blocks of 1 x 1, 3 x 3, 1 x 1 */
	bool stride_first; /* a bottleneck's stride is in its first convolution (2015), not the 3 x 3 */
	uint32_t stem; /* channels */
	uint32_t stages;
	uint32_t blocks[DS_RESNET_STAGES];
	uint32_t widths[DS_RESNET_STAGES]; /* channels behind a stage */
	bool first_stride; /* the first stage halves too */
	uint32_t activation;
	float epsilon; /* of batch norm */
} DsResNet;

/* What a layer is; convolutions alone have a part */
typedef struct DsResNetRole
{
	uint32_t part; /* 0: no convolution; DS_RESNET_STEM; 1 .. 3: of a block; DS_RESNET_SHORTCUT */
	uint32_t stage; /* from 0 on */
	uint32_t block;
} DsResNetRole;

#define DS_RESNET_STEM 10
#define DS_RESNET_SHORTCUT 11

/*
 * The layers, up to the global average; modules may follow.  roles may be NULL.
 * DS_INVALID when there are too many layers, or ds_image_spec_check() refuses
 * them.
 */
extern DsCode ds_resnet_spec(const DsResNet *net, DsImageSpec *spec,
							 DsResNetRole roles[DS_IMAGE_LAYERS], DsStatus *status);

/*
 * The usual ones by depth: 18, 34, 50, 101, 152 for 224 x 224 pixels; 20, 32, 44,
 * 56, 110 for CIFAR's 32 x 32.  False for other depths.
 */
extern bool ds_resnet_depth(uint32_t depth, DsResNet *net);

#endif /* DS_RESNET_H */
