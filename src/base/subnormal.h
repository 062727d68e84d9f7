/*
 * subnormal.h
 *		Numbers near zero that processors are slow with.
 *
 * x86 multiplies subnormal numbers (of float below 1.2e-38) in microcode: some 150
 * cycles, for sixteen numbers even if only one of them is.  A loop whose numbers decay
 * towards zero, as moments of a gradient that is 0 do, ends there and stays, since
 * 0.9 times the smallest of them is rounded to itself.
 */
#ifndef DS_SUBNORMAL_H
#define DS_SUBNORMAL_H

#if defined(__x86_64__)
#include <xmmintrin.h>

#define FLUSH_SUBNORMALS 0x8040u /* results to zero, and operands are read as zero */

/* From here to ds_keep_subnormals() they are 0; returns what that needs */
static inline unsigned
ds_flush_subnormals(void)
{
	unsigned before = _mm_getcsr();

	_mm_setcsr(before | FLUSH_SUBNORMALS);
	return before;
}

static inline void
ds_keep_subnormals(unsigned before)
{
	_mm_setcsr(before);
}
#else
/* others have no such trouble */
static inline unsigned
ds_flush_subnormals(void)
{
	return 0;
}

static inline void
ds_keep_subnormals(unsigned before)
{
	(void) before;
}
#endif

#endif /* DS_SUBNORMAL_H */
