/*
 * encoder_positions.h
 *		Where tokens stand: the numbers that attention is given for it.
 *
 * For the forward pass, and for exporters that write them into a file.
 */
#ifndef DS_ENCODER_POSITIONS_H
#define DS_ENCODER_POSITIONS_H

#include "nn/encoder_spec.h"

/*
 * The bucket of a distance (key - query), T5's scheme: one half of the buckets
 * for keys behind the query; half of these for single distances, the others
 * for ranges that grow like a logarithm up to most.
 */
extern uint32_t ds_relative_bucket(int64_t distance, uint32_t buckets, uint32_t most);

/* Rotation: cosines and sines of positions 0 .. n - 1, each [n, rotary_dims / 2] */
extern void ds_rotary_angles(const DsEncoderSpec *spec, double base, size_t n, float *cosines,
							 float *sines);

#endif /* DS_ENCODER_POSITIONS_H */
