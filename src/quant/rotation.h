/*
 * rotation.h
 *		A seeded random rotation of d dimensions in O(d log d).
 *
 * The codes of this room are good for directions that look random: a rotation
 * makes them so whatever the data look like.  See rotation.c for the method.
 */
#ifndef DS_ROTATION_H
#define DS_ROTATION_H

#include <stdint.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/status.h"

#define DS_ROTATION_MAX_DIMENSION 16000

/* Read-only after ds_rotation_init(): many users may share one. */
typedef struct DsRotation
{
	uint32_t dimension; /* d */
	uint32_t block; /* the largest power of two that is at most d */
	uint32_t rounds; /* transforms, each with its own signs */
	uint64_t seed;
	const float *factors; /* [rounds + 1][d]: signs and scales, see rotation.c */

	/*
	 * For every x whose rotation is finite, |ds_rotate(x) - R x| is at most
	 * error * |x| + tiny, where R is an exactly orthonormal matrix that
	 * depends on (d, seed) alone.
	 */
	double error;
	double tiny;
} DsRotation;

/*
 * The rotation for (dimension, seed): the same on every machine.  The factors
 * live in the arena.  DS_INVALID for a dimension of 0 or above
 * DS_ROTATION_MAX_DIMENSION, DS_OUT_OF_MEMORY.
 */
extern DsCode ds_rotation_init(DsRotation *rotation, uint32_t dimension, uint64_t seed,
							   DsArena *arena, DsStatus *status);

/*
 * out[d] = R x[d]; out may be x.  Any alignment.  Equal to the bit at every
 * CPU level.  An input near FLT_MAX may give infinity or NaN in out.
 */
extern void ds_rotate(const DsRotation *rotation, const float *x, float *out);

/* The same by the kernel of one level, for tests; false when this machine lacks it. */
extern bool ds_rotate_at(DsCpuLevel level, const DsRotation *rotation, const float *x, float *out);

#endif /* DS_ROTATION_H */
