/*
 * scan.h
 *		The inner loops of codes and queries, one set a CPU level (private to
 *		this room).
 */
#ifndef DS_QUANT_SCAN_H
#define DS_QUANT_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"
#include "quant/query.h"

/*
 * A table entry is at most 255, so sums of 16 bits hold 257 nibbles: they are
 * added up in 32 bits after this many groups of two (1,024 dimensions).
 */
#define SCAN_FLUSH_GROUPS 128

/*
 * How much of the error's scale the 1-bit bound allows, as in the paper,
 * section 5.2.4.  Times the deviation of a normal variable it is below the
 * truth for 97 or 98 rows of 100 (test_quant_code.c); the rest are found one
 * refinement later than they should be, or not, when ten others were nearer.
 * It is in the factors of the rows; DsQuery.caution changes it for a query.
 */
#define BOUND_DEVIATIONS 1.9

/* What turns sums into keys; see ds_query_scan() */
typedef struct DsScanScale
{
	float base;
	float distance;
	float table_step;
	float table_offset;
	float table_error;
} DsScanScale;

/* relative rounding of a double sum of up to 16,000 terms (16,000 * 2^-53), and some */
#define SUM_ERROR 4e-12

/* of a residual r = y - c */
typedef struct DsResidualSums
{
	double square; /* |r|^2 */
	double magnitude; /* sum of |r[i]| */
	double signs_centroid; /* <s, c>, s[i] = r[i] >= 0 ? 1 : -1 */
	double centroid_residual; /* <c, r> */
	double low; /* least r[i] */
	double high; /* largest */
} DsResidualSums;

/* of the 8-bit code: coded = r', e = r - r'; *_rounding is what the sum may be off by */
typedef struct DsByteSums
{
	double error; /* |e|, but for the rounding of the sum */
	double norm; /* <r', 2 c + r'> */
	double norm_rounding;
	double coded_error; /* <r', e> */
	double coded_rounding;
	double centroid_error; /* <c, e> */
	double centroid_rounding;
} DsByteSums;

typedef struct DsVectorSums
{
	double square;
	double sum;
	double magnitude;
} DsVectorSums;

struct DsScanLoops
{
	DsCpuLevel level;

	/* sums[32] += for each row the table entries of its nibbles; table [groups][32] */
	void (*part)(const uint8_t *table, const uint8_t *codes, size_t groups, uint32_t *sums);

	/*
	 * For each of 32 rows, in float32, each operation rounded on its own:
	 *		t = table_step * sum + table_offset
	 *		estimate = (base + offset) - scale * t
	 *		bound = estimate - (slack * distance + scale * table_error)
	 */
	void (*finish)(const DsScanScale *scale, const uint32_t *sums, const DsBlockFactors *factors,
				   float *estimate, float *bound);

	/* part and finish in one, sums starting at zero */
	void (*block)(const DsScanScale *scale, const uint8_t *table, const uint8_t *codes,
				  size_t groups, const DsBlockFactors *factors, float *estimate, float *bound);

	/*
	 * sum of q[i] * bytes[i], n <= 16,000; rounding as of ds_kernel_relative_error(n):
	 * at least 16 partial sums, added in a tree
	 */
	float (*dot)(const float *q, const int8_t *bytes, size_t n);

	/* the first j with the least norms[j] - 2 products[j], which is put in *value; k > 0 */
	uint32_t (*least)(const float *products, const float *norms, size_t k, float *value);

	/* signs[(d + 7) / 8]: bit i % 8 of byte i / 8 is set where y[i] >= c[i] */
	void (*signs)(const float *y, const float *c, size_t d, uint8_t *signs);

	/* code_loops.h; in double, equal to the bit at every level */
	void (*residual_sums)(const float *y, const float *c, size_t d, DsResidualSums *out);
	void (*encode_bytes)(const float *y, const float *c, size_t d, double mid, double step,
						 int8_t *bytes, DsByteSums *out);
	void (*vector_sums)(const float *x, size_t d, DsVectorSums *out);
	void (*scale_vector)(const float *x, size_t d, double scale, float *out); /* rounded once */

	/*
	 * table[nibbles][16] = q[4 k ..] with the signs of each nibble, less the
	 * least, times inverse, rounded.  error and square: the mean over the 16
	 * entries of what rounding adds, and of its square, summed over nibbles.
	 */
	void (*make_table)(const float *q, size_t nibbles, float inverse, uint8_t *table, double *error,
					   double *square);
};

extern const DsScanLoops ds_scan_loops_portable;
extern const DsScanLoops *const ds_scan_loops_avx2;
extern const DsScanLoops *const ds_scan_loops_avx512;

/* The loops of a level, NULL when this machine lacks it; and those of this machine. */
extern const DsScanLoops *ds_scan_loops_at(DsCpuLevel level);
extern const DsScanLoops *ds_scan_loops(void);

#endif /* DS_QUANT_SCAN_H */
