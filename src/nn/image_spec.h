/*
 * image_spec.h
 *		What a network over pictures is: one description for all families, as
 *		encoder_spec.h is for texts.
 *
 * A picture is [height][width][channels], already resized and normalised
 * (src/image).  Two kinds:
 *
 * DS_IMAGE_CONV: a list of layers.  Result 0 is the picture, layer number l
 * (from 0 on) computes result l + 1 from result input, which comes before it:
 *
 *   conv             y = x * weight [+ bias]; y = batch norm(y) if norm; y = y + result add if
 *                    add > 0; y = act(y).  Padding with zeros on all four sides.
 *   max_pool         the largest of a window, what is padded not counting
 *   average_pool     the mean of a window; no padding
 *   shortcut         every stride-th row and column of x, and channels of zeros around its own:
 *                    (out - in) / 2 before them, the rest behind ("option A" of ResNet for CIFAR)
 *   global_average   the mean over all positions
 *
 * The last result must be 1 x 1; it is the vector that the modules (those of
 * encoders) continue with.  A window that sticks out on the right or below is
 * left away: out = (in + 2 padding - kernel) / stride + 1, rounded down.
 *
 * DS_IMAGE_VIT: the picture is cut into patches of patch x patch pixels, row by
 * row from the top left, values of a patch in the order channel, row, column
 * (that of a convolution's weight), and these go through the transformer, whose
 * modules are the network's (those of the struct here stay empty).
 *
 * Tensors, row-major as PyTorch prints them:
 *
 *   layer.L.weight                      [out, in, kernel_height, kernel_width]  conv
 *   layer.L.bias                        [out]                          if bias
 *   layer.L.norm.{weight,bias,mean,var} [out]                          if norm
 *   module.M.weight, .bias              as in encoder_spec.h
 *
 * of a VIT those of its transformer, where patch.weight may be stored as
 * [hidden, channels, patch, patch].
 *
 * How families map: ResNet has conv 7 x 7 stride 2 norm relu, max_pool 3 stride
 * 2 padding 1, blocks of conv norm relu, conv norm add relu with a conv norm
 * (1 x 1, stride 2) where the size changes, global_average.  Its form for CIFAR
 * has conv 3 x 3, no max_pool, and a shortcut in the place of that conv.
 */
#ifndef DS_IMAGE_SPEC_H
#define DS_IMAGE_SPEC_H

#include "nn/encoder_spec.h"

#define DS_IMAGE_SPEC_VERSION 1
#define DS_IMAGE_LAYERS 160 /* ResNet-152 has 157 */

#define DS_IMAGE_MAX_EDGE 4096 /* of the picture a network takes */
#define DS_IMAGE_MAX_CHANNELS 16384
#define DS_IMAGE_MAX_KERNEL 64
/* values of a window, over all channels */
#define DS_IMAGE_MAX_WINDOW ((uint64_t) 1 << 17)
/* values of one result: bounds the memory of a pass */
#define DS_IMAGE_MAX_VALUES ((uint64_t) 1 << 28)

typedef enum DsImageKind
{
	DS_IMAGE_CONV = 1,
	DS_IMAGE_VIT
} DsImageKind;

typedef enum DsImageLayerKind
{
	DS_LAYER_CONV = 1,
	DS_LAYER_MAX_POOL,
	DS_LAYER_AVERAGE_POOL,
	DS_LAYER_SHORTCUT,
	DS_LAYER_GLOBAL_AVERAGE
} DsImageLayerKind;

typedef struct DsImageLayer
{
	uint32_t kind; /* DsImageLayerKind */
	uint32_t input; /* the result that it reads; 0: the picture */
	uint32_t out; /* channels; those of its input unless CONV or SHORTCUT */
	uint32_t kernel_height; /* CONV, pools */
	uint32_t kernel_width;
	uint32_t stride; /* CONV, pools, SHORTCUT */
	uint32_t padding; /* CONV, MAX_POOL */
	/* CONV */
	uint32_t bias;
	uint32_t norm; /* batch norm behind it */
	float epsilon; /* of that */
	uint32_t add; /* a result that is added before the activation; 0: none */
	uint32_t activation; /* DsActivation */
} DsImageLayer;

typedef struct DsImageSpec
{
	uint32_t version; /* DS_IMAGE_SPEC_VERSION */
	uint32_t kind; /* DsImageKind */
	char family[32]; /* for people: "resnet", "vit", ...; printable ASCII */
	uint32_t height; /* of the picture that the network takes */
	uint32_t width;
	uint32_t channels;
	/* CONV */
	uint32_t layer_count;
	DsImageLayer layers[DS_IMAGE_LAYERS];
	uint32_t module_count;
	DsSpecModule modules[DS_SPEC_MODULES];
	/* VIT */
	uint32_t patch;
	DsEncoderSpec transformer; /* of kind PATCHES; all zero in CONV */
} DsImageSpec;

/* All zero, but for version and kind; a VIT's transformer is set up */
extern void ds_image_spec_init(DsImageSpec *spec, DsImageKind kind);

/*
 * Does it describe something that can be computed?  DS_INVALID with the field's
 * or layer's name.  Everything else in this room relies on it.
 */
extern DsCode ds_image_spec_check(const DsImageSpec *spec, DsStatus *status);

/* The size of a result [height][width][channels] */
typedef struct DsImageShape
{
	uint32_t height;
	uint32_t width;
	uint32_t channels;
} DsImageShape;

/* Of all results of a checked CONV: shapes[0] is the picture, layer_count + 1 of them */
extern void ds_image_shapes(const DsImageSpec *spec, DsImageShape *shapes);

/* values of a picture: height x width x channels */
extern size_t ds_image_values(const DsImageSpec *spec);
/* components behind the last module, and before the first */
extern size_t ds_image_spec_dims(const DsImageSpec *spec);
extern size_t ds_image_pooled_dims(const DsImageSpec *spec);

/* The tensors of a checked spec, in a fixed order */
typedef struct DsImageTensor
{
	char name[DS_SPEC_NAME];
	uint32_t rank; /* 1, 2 or 4 */
	uint32_t shape[4]; /* 1 beyond rank */
	bool linear; /* rank 2: may be stored under name "_t" with the shape reversed */
} DsImageTensor;

extern size_t ds_image_spec_tensors(const DsImageSpec *spec);
extern bool ds_image_spec_tensor(const DsImageSpec *spec, size_t number, DsImageTensor *tensor);
/* with "_t" behind its name, a linear layer with its shape reversed */
extern bool ds_image_spec_find(const DsImageSpec *spec, const char *name, DsImageTensor *tensor);
/* values of all of them together, those of batch norm's mean and variance included */
extern uint64_t ds_image_spec_parameters(const DsImageSpec *spec);

/* As JSON, like ds_spec_write() and ds_spec_read() */
extern size_t ds_image_spec_write(const DsImageSpec *spec, char *out, size_t size);
extern DsCode ds_image_spec_read(DsJson object, DsImageSpec *spec, DsStatus *status);

#endif /* DS_IMAGE_SPEC_H */
