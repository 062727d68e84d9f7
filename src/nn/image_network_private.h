/*
 * image_network_private.h
 *		An open network over pictures; for its own files only.
 */
#ifndef DS_IMAGE_NETWORK_PRIVATE_H
#define DS_IMAGE_NETWORK_PRIVATE_H

#include "nn/encoder_private.h"
#include "nn/image_kernels.h"
#include "nn/image_network.h"

/* Of a convolution, batch norm folded in; outputs rounded up to whole panels */
typedef struct DsConvWeights
{
	const float *panels;
	const float *bias;
	bool winograd; /* how it is computed */
} DsConvWeights;

/*
 * How a result lies in memory: height + 2 border rows of width + 2 border
 * positions of stride values, of which the first channels count.
 */
typedef struct DsResultLayout
{
	DsImageShape shape;
	uint32_t border;
	uint32_t stride;
	size_t values; /* of one picture */
	uint32_t slot; /* of memory */
} DsResultLayout;

struct DsImageNetwork
{
	DsImageSpec spec;
	DsPrecision precision;
	/* CONV */
	const DsImageKernels *kernels;
	DsConvWeights *layers;
	DsResultLayout *results; /* [layer_count + 1] */
	uint32_t slots;
	size_t *slot_values; /* of one picture */
	uint32_t at_once; /* pictures that go through together */
	DsModules modules;
	/* VIT */
	DsEncoder *transformer;
};

/* Layouts, and which results may share memory, of a network whose spec is set */
extern DsCode ds_image_plan(DsImageNetwork *network, DsArena *arena, DsStatus *status);

#endif /* DS_IMAGE_NETWORK_PRIVATE_H */
