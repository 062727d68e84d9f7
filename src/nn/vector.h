/*
 * vector.h
 *		Registers of VECTOR_BYTES for the kernels of this room, by GCC's vector types.
 *
 * A file that compiles kernels for a kind of processor says VECTOR_BYTES first.
 */
#ifndef DS_NN_VECTOR_H
#define DS_NN_VECTOR_H

#include <stddef.h>
#include <string.h>

#include "nn/real.h"

#define LANES ((size_t) VECTOR_BYTES / sizeof(ds_real))
#define INLINE static inline __attribute__((always_inline))

typedef ds_real vector __attribute__((vector_size(VECTOR_BYTES)));

INLINE vector
load(const ds_real *p)
{
	vector v;

	memcpy(&v, p, sizeof(v));
	return v;
}

INLINE void
store(ds_real *p, vector v)
{
	memcpy(p, &v, sizeof(v));
}

/*
 * The same, but a compiler will not make one operation of what comes before and
 * behind: where it fuses a product with a sum in one copy of a loop and not in
 * another, a row's result would depend on which of them it went through.
 */
INLINE vector
unfused(vector x)
{
#if defined(__x86_64__)
	__asm__("" : "+v"(x));
#elif defined(__aarch64__)
	__asm__("" : "+w"(x));
#endif
	return x;
}

#endif /* DS_NN_VECTOR_H */
