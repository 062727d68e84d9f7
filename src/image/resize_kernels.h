/*
 * resize_kernels.h
 *		The two loops of resizing, for each kind of processor; for the files of this room
 *		only.
 *
 * Every version gives the same bytes: sums are of whole numbers.
 */
#ifndef DS_RESIZE_KERNELS_H
#define DS_RESIZE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* weights are whole numbers, 1 is 2^22 (Pillow's: 8 bits of pixel, 2 of room) */
#define DS_RESIZE_BITS 22
/* the AVX2 kernels multiply 16-bit numbers: a weight is high * 2^11 + low */
#define DS_RESIZE_LOW_BITS 11
/* bytes that the horizontal loop may read behind the pixels that it uses */
#define DS_RESIZE_OVERREAD 16

/* how one axis is filtered: output i is the sum over taps t of source[first[i] + t] * weight */
typedef struct DsResizeAxis
{
	uint32_t count; /* outputs */
	uint32_t stride; /* weights from output to output, a multiple of 4 */
	const uint32_t *first;
	const uint32_t *taps; /* at least 1 */
	const int32_t *weights; /* [count][stride], zeros behind the taps */
	/* the same for 16-bit products */
	const int16_t *high;
	const int16_t *low; /* 0 to 2047 */
} DsResizeAxis;

typedef struct DsResizeKernels
{
	/*
	 * rows (1 to 4) rows of pixels along x: out[r][count][3].  DS_RESIZE_OVERREAD
	 * bytes behind the last pixel of each row in may be read.
	 */
	void (*horizontal)(const DsResizeAxis *axis, const uint8_t *const *in, uint8_t *const *out,
					   size_t rows);
	/*
	 * One output row: out[bytes] from the taps rows that begin at in, stride bytes
	 * apart.  Nothing but these rows is read.
	 */
	void (*vertical)(const uint8_t *in, size_t stride, size_t bytes, uint32_t taps,
					 const int32_t *weights, const int16_t *high, const int16_t *low, uint8_t *out);
} DsResizeKernels;

/* the best for this processor */
extern const DsResizeKernels *ds_resize_kernels(void);
/* the one of a level, for tests; NULL when the program was built without it */
extern const DsResizeKernels *ds_resize_kernels_at(int level);

extern const DsResizeKernels ds_resize_kernels_portable;
#if defined(__x86_64__)
extern const DsResizeKernels ds_resize_kernels_avx2;
#endif

/* a sum of weighted bytes, half added, to a byte */
static inline uint8_t
ds_resize_round(int32_t sum)
{
	sum >>= DS_RESIZE_BITS;
	return (uint8_t) (sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

#endif /* DS_RESIZE_KERNELS_H */
