/*
 * code.h
 *		Codes of vectors: one bit a dimension to scan, eight to refine.
 *
 * How a vector goes into an index:
 *
 *		ds_quantizer_place(quantizer, x, y)			x as the user gave it -> y, placed
 *		a list is chosen for y (kmeans.h); its centroid c lives in the same
 *		space as y, so centroids are never rotated: k-means runs on placed rows
 *		ds_quantizer_encode(quantizer, place, y, c, &coded)
 *		ds_block_put() and the factors of coded into the row's block
 *
 * "Placed" means: for cosine, scaled to length one; less the origin; rotated.
 * Everything below and in query.h speaks of placed vectors.  See code.c for
 * the method, query.h for the other half.
 *
 * What an index stores, with d the dimension and G = ds_code_groups(d):
 *
 *		a block of 32 rows	G * 32 bytes of signs, one array that may be cut
 *							between any two groups of 32 bytes (at a page's end),
 *							and one DsBlockFactors
 *		a row				DsRowFactors and d bytes (int8_t), addressed by row:
 *							a refinement reads these and nothing else
 *
 * All of it is in the machine's byte order and needs no alignment beyond that
 * of its own C type; sign bytes need none.
 */
#ifndef DS_QUANT_CODE_H
#define DS_QUANT_CODE_H

#include "quant/rotation.h"

/* The operator that an index answers: <=>, <->, <#> */
typedef enum DsMetric
{
	DS_METRIC_COSINE = 0,
	DS_METRIC_L2 = 1,
	DS_METRIC_IP = 2
} DsMetric;

#define DS_BLOCK_ROWS 32

/* Groups of eight dimensions: sign bytes of one row, and rows of 32 bytes in a block. */
static inline size_t
ds_code_groups(size_t dimension)
{
	return (dimension + 7) / 8;
}

/* Sign bytes of one block */
static inline size_t
ds_block_bytes(size_t dimension)
{
	return ds_code_groups(dimension) * DS_BLOCK_ROWS;
}

/*
 * The 1-bit estimate of a row, in units of the key (query.h), is
 *		base + offset - scale * <s, q>		s the signs, q the placed query
 * give or take slack * |q - c|, with high probability.
 */
typedef struct DsSignFactors
{
	float offset;
	float scale;
	float slack;
} DsSignFactors;

/* The same for the rows of a block; whatever stands at unused rows is ignored by the caller. */
typedef struct DsBlockFactors
{
	float offset[DS_BLOCK_ROWS];
	float scale[DS_BLOCK_ROWS];
	float slack[DS_BLOCK_ROWS];
} DsBlockFactors;

/*
 * The 8-bit code: y = c + r' + e with r'[i] = mid + step * byte[i] in exact
 * arithmetic.  error >= |e|; it is infinite for a row that could not be encoded.
 */
typedef struct DsRowFactors
{
	float step;
	float mid;
	float norm; /* l2, cosine: |c + r'|^2 - |c|^2, rounded down.  ip: |y|, rounded up */
	float error;
	float cross; /* l2, cosine: <r', e>, rounded down.  ip: <c, e>, rounded up */
} DsRowFactors;

/* Bytes of a row that a refinement reads */
static inline size_t
ds_row_bytes(size_t dimension)
{
	return sizeof(DsRowFactors) + dimension;
}

typedef struct DsQuantizer
{
	DsMetric metric;
	uint32_t dimension;
	DsRotation rotation;
	const float *origin; /* [d], in the user's space, or NULL */

	/* |placed - R(x - origin)| <= place_error * |placed| + place_tiny, x of length one for cosine */
	double place_error;
	double place_tiny;
} DsQuantizer;

/*
 * origin [d] is subtracted before rotating; NULL means none.  It makes bounds
 * of data far from zero tight (the mean of a sample is right); DS_INVALID when
 * given for DS_METRIC_IP.  It is not copied and must live as long.  The
 * rotation is made in the arena.
 */
extern DsCode ds_quantizer_init(DsQuantizer *quantizer, DsMetric metric, uint32_t dimension,
								uint64_t seed, const float *origin, DsArena *arena,
								DsStatus *status);

typedef enum DsPlace
{
	DS_PLACE_OK = 0,
	DS_PLACE_ZERO, /* cosine only: a vector of length zero; has no place in any list */
	DS_PLACE_OUTSIDE /* too large, or not finite: it can be stored, but not encoded */
} DsPlace;

/*
 * y[d] from x[d]; y may be x.  y is all zeros unless the result is
 * DS_PLACE_OK, so that a list can be chosen for a row outside.
 */
extern DsPlace ds_quantizer_place(const DsQuantizer *quantizer, const float *x, float *y);

/* What one row becomes.  signs and bytes are the caller's. */
typedef struct DsCoded
{
	DsSignFactors sign;
	DsRowFactors row;
	float radius; /* >= |y - c|; infinite when the row could not be encoded */
	uint8_t *signs; /* [ds_code_groups(d)] */
	int8_t *bytes; /* [d] */
} DsCoded;

/*
 * Encode y[d], whose place() was place, for the list with centroid c[d].  A
 * row that cannot be encoded (outside, or the squares of its residual leave
 * float32) gets factors whose bounds are minus infinity (or the least value of
 * the operator): it is always refined and always rechecked.
 */
extern void ds_quantizer_encode(const DsQuantizer *quantizer, DsPlace place, const float *y,
								const float *centroid, DsCoded *coded);

/* y[d] as the 8-bit code remembers it: c + r'.  For re-assigning rows without the heap. */
extern void ds_quantizer_decode(const DsQuantizer *quantizer, const DsRowFactors *row,
								const int8_t *bytes, const float *centroid, float *y);

/*
 * Put the groups [0, groups) of one row's sign bytes into (or take them from)
 * row 0 .. 31 of a block part: codes points at the 32 bytes of signs[0]'s
 * group.  For a block cut over pages, call once a part.  Rows of a fresh block
 * must start as zeros only in so far as the caller wants stable bytes.
 */
extern void ds_block_put(uint8_t *codes, unsigned row, const uint8_t *signs, size_t groups);
extern void ds_block_get(const uint8_t *codes, unsigned row, uint8_t *signs, size_t groups);

/* Factors of one row in a block, by the same index */
static inline void
ds_block_put_factors(DsBlockFactors *block, unsigned row, const DsSignFactors *sign)
{
	block->offset[row] = sign->offset;
	block->scale[row] = sign->scale;
	block->slack[row] = sign->slack;
}

static inline DsSignFactors
ds_block_get_factors(const DsBlockFactors *block, unsigned row)
{
	return (DsSignFactors){block->offset[row], block->scale[row], block->slack[row]};
}

#endif /* DS_QUANT_CODE_H */
