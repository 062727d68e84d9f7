/*
 * real.h
 *		The number type of this room: float.
 *
 * A finite difference in float32 is good to three digits at best, too few to
 * tell a wrong gradient from a right one.  So the test of the gradients
 * compiles the sources of this room once more with DS_NN_DOUBLE, which makes
 * ds_real a double and gives every function another name.  Everyone else
 * reads ds_real as float.
 */
#ifndef DS_NN_REAL_H
#define DS_NN_REAL_H

#ifdef DS_NN_DOUBLE
typedef double ds_real;
#include "nn/real_double.h"
#else
typedef float ds_real;
#endif

#endif /* DS_NN_REAL_H */
