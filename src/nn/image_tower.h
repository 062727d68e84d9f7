/*
 * image_tower.h
 *		A tower over pictures on its way through training; for the files of the trainer
 *		only.
 */
#ifndef DS_NN_IMAGE_TOWER_H
#define DS_NN_IMAGE_TOWER_H

#include "nn/conv.h"
#include "nn/training_private.h"

/* Share of the batch in the moving averages of batch normalisation (PyTorch's "momentum") */
#define DS_NORM_MOMENTUM 0.1

typedef struct ImageLayer
{
	/* numbers of parameters; DS_NO_PARAMETER where there is none */
	size_t weight;
	size_t bias;
	size_t norm_weight;
	size_t norm_bias;
	size_t norm_mean;
	size_t norm_var;
	bool learns; /* has a parameter that is not frozen */
	bool wanted; /* a gradient by its result is: it learns, or something that it reads does */
	bool by_batch; /* moments of the batch and not the moving averages, when training */
	bool fused; /* an average pool reads its result, and nothing else does: that is not kept */
	bool relu; /* the activation is in the affine kernels */
	DsConv conv;
	ds_real *x; /* [pictures, out] what the convolution gave */
	ds_real *result; /* [pictures, out] */
	ds_real *d; /* the gradient by it; NULL: none so far */
	size_t d_room; /* that it lies in */
	uint8_t *which; /* max_pool */
	ds_real *scale; /* [out] each: what normalising is, and what its way back needs */
	ds_real *shift;
	ds_real *mean;
	ds_real *inverse;
	ds_real *a;
	ds_real *b;
	ds_real *part[2];
	double *sum;
	double *product;
	DsMoments moments;
	Room room[3];
} ImageLayer;

struct ImagePass
{
	DsImageShape *shapes; /* [layers + 1] of results */
	ImageLayer *layer;
	size_t pictures;
	ds_real *one; /* a group of the largest result */
	ds_real *two;
	ds_real *module[DS_SPEC_MODULES + 1]; /* [pictures, ..] what goes into each; the last: out */
	ds_real *module_extra[DS_SPEC_MODULES]; /* before the activation; inverse norms */
	ds_real *d_module[DS_SPEC_MODULES + 1];
	size_t module_weight[DS_SPEC_MODULES];
	size_t module_bias[DS_SPEC_MODULES];
	Room *d_room; /* [layers + 1] gradients by results, each in use or free */
	bool *d_used;
	bool trains;
	Room room[3];
};

static inline size_t
shape_values(const DsImageShape *shape)
{
	return (size_t) shape->height * shape->width * shape->channels;
}

/* pass->input's pictures to out[pictures, dims of the spec] */
extern DsCode ds_image_pass_forward(DsTrainer *trainer, TowerPass *pass, size_t tower, bool trains,
									const ds_real **out, DsStatus *status);
/*
 * From d[pictures, dims], which is overwritten, to the shard's gradients; share of the batch's
 * moments that are this shard's
 */
extern DsCode ds_image_pass_backward(DsTrainer *trainer, TowerPass *pass, size_t tower, int shard,
									 double share, ds_real *d, DsStatus *status);

/* Values before training: weights of deviation sqrt(2 / what a unit sees), norms 1, biases 0 */
extern void ds_image_initialize(const DsTrainer *trainer, size_t parameter);

/*
 * pixels[height, width, channels] of 8 bits to out, normalised as the tower wants it, in that
 * order or for a vision transformer cut into patches; random: turned and moved at random as it
 * says, or NULL: neither
 */
extern void ds_image_take(const DsTower *tower, const uint8_t *pixels, DsRandom *random,
						  ds_real *out);

#endif /* DS_NN_IMAGE_TOWER_H */
