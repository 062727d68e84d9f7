/*
 * scan.h
 *		The inner loops of a query, one set a CPU level (private to this room).
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

/* What turns sums into keys; see ds_query_scan() */
typedef struct DsScanScale
{
	float base;
	float distance;
	float table_step;
	float table_offset;
	float table_error;
} DsScanScale;

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
};

extern const DsScanLoops ds_scan_loops_portable;
extern const DsScanLoops *const ds_scan_loops_avx2;
extern const DsScanLoops *const ds_scan_loops_avx512;

/* The loops of a level, NULL when this machine lacks it; and those of this machine. */
extern const DsScanLoops *ds_scan_loops_at(DsCpuLevel level);
extern const DsScanLoops *ds_scan_loops(void);

#endif /* DS_QUANT_SCAN_H */
