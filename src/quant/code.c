/*
 * code.c
 *		Codes of vectors: one bit a dimension to scan, eight to refine.
 *
 * The idea (RaBitQ: Gao & Long, SIGMOD 2024; its multi-bit form, SIGMOD 2025).
 * A vector y of a list is near the list's centroid c, so what distinguishes
 * the rows of a list is the residual r = y - c.  After a random rotation the
 * direction of r is as good as uniform on the sphere, and a direction in many
 * dimensions is well described by the signs of its coordinates: with
 * s = sign(r), the angle between s and r is always about 37 degrees
 * (cosine sqrt(2 / pi) = 0.80), whatever r is.  So s, plus a few numbers a row,
 * gives an estimate of <r, w> for any w that is unbiased over rotations and
 * has a known error.
 *
 * Stages of encoding one row:
 *
 *	1. r = y - c, in double.
 *	2. Signs: s[i] = +1 where r[i] >= 0, else -1; a = <s, r> / (sqrt(d) |r|) is
 *	   the cosine of their angle, and f = |r|^2 / <s, r> the length that makes
 *	   f s the point on the line of s that projects onto r: <f s, r> = |r|^2.
 *	   For a query w = q - c the estimate of <r, w> is f <s, w>; its error is
 *	   |r| |w| sqrt(1 - a^2) / a times a number that behaves like a normal
 *	   variable over sqrt(d - 1); BOUND_DEVIATIONS of it make the bound.
 *	3. A query must not be rotated or tabulated per list, so <s, w> is split
 *	   into <s, q> - <s, c>; the second part is known now and becomes a
 *	   constant of the row.  It is taken with s, not with r: the errors of the
 *	   two parts are then one error, that of <s, w>.
 *
 *		l2:		|q - y|^2 = |w|^2 + |r|^2 - 2 <r, w>
 *					~ |w|^2 + (|r|^2 + 2 f <s, c>) - 2 f <s, q>
 *		ip:		-<q, y> = -<q, c> - <c, r> - <w, r>
 *					~ -<q, c> + (f <s, c> - <c, r>) - f <s, q>
 *
 *	   Both are base + offset - scale * <s, q>: one scan serves all.
 *	4. Eight bits: the range of r is cut into 255 steps, r' = mid + step * byte,
 *	   and e = r - r' is what is left out: about 0.007 |r| long at 128
 *	   dimensions.  Its length is kept exactly, for query.c turns it into a
 *	   true bound.  Exactly means: rounded up, after every rounding of the
 *	   factors themselves (r' is what a reader of the factors will compute).
 *
 * Worked example, d = 4, c = 0, y = r = (3, -1, 1, 1), |r|^2 = 12:
 * s = (+, -, +, +), <s, r> = 6, a = 6 / (2 sqrt(12)) = 0.87, f = 2.  For
 * q = (1, 0, 0, 1): <s, q> = 2, the estimate of <r, q> is 4, and so it is.
 * For q = (1, 0, 0, 0) it is 2 where 3 is true: one direction of four.  In 8
 * bits: step = 4 / 255, mid = -1 + 128 step = 1.0078, bytes (127, -128, -1, -1),
 * and e is nothing in the first two places and half a step in the others.
 *
 * Blocks.  A scan handles 32 rows at once with byte shuffles (Andre, Kermarrec
 * & Le Scouarnec, "Cache locality is not enough", VLDB 2015): four signs are a
 * number 0 .. 15, a 16-byte table in a register says what they contribute to
 * <s, q>, and one instruction looks up 16, 32 or 64 of them.  So codes of a
 * block are stored by dimension first:
 *
 *		group g (dimensions 8g .. 8g + 7), 32 bytes:
 *			byte j		dimensions 8g .. 8g + 3; row j low, row j + 16 high nibble
 *			byte 16 + j	dimensions 8g + 4 .. 8g + 7; likewise
 *
 * Within a nibble the bit of dimension 8g + b (+ 4) is bit b, set for plus.
 * Row j and row j + 16 share a byte, not the two nibbles of one row: then the
 * two tables of a group lie in memory as they are loaded.
 *
 * What cannot be encoded.  PLACE_LIMIT keeps squares and their sums inside
 * float32.  A row beyond it has offset = minus infinity and error = infinity,
 * which every formula that uses them carries through to "no bound".
 */
#include "quant/code.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/scan.h"

/* A placed vector longer than this is not encoded: 4 * (1e18)^2 is below FLT_MAX. */
#define PLACE_LIMIT 1e18

DsCode
ds_quantizer_init(DsQuantizer *quantizer, DsMetric metric, uint32_t dimension, uint64_t seed,
				  const float *origin, DsArena *arena, DsStatus *status)
{
	const double unit = 0x1p-24;
	DsCode code;

	if (metric != DS_METRIC_COSINE && metric != DS_METRIC_L2 && metric != DS_METRIC_IP)
		return ds_fail(status, DS_INVALID, "unknown metric %d", (int) metric);
	if (origin != NULL && metric == DS_METRIC_IP)
		return ds_fail(status, DS_INVALID, "inner products are not taken from another origin");

	code = ds_rotation_init(&quantizer->rotation, dimension, seed, arena, status);
	if (code != DS_OK)
		return code;
	quantizer->metric = metric;
	quantizer->dimension = dimension;
	quantizer->origin = origin;

	/*
	 * The rotation errs by error * (length of what it was given), which is
	 * the placed length but for a factor of 1 + error < 1.0001.  x - origin
	 * is rounded once.  Scaling to length one rounds each coordinate once,
	 * relative to it or in the last subnormal bit.
	 */
	quantizer->place_error = 1.001 * quantizer->rotation.error;
	quantizer->place_tiny = quantizer->rotation.tiny;
	if (origin != NULL)
		quantizer->place_error += 1.001 * unit;
	if (metric == DS_METRIC_COSINE)
		quantizer->place_tiny += 1.001 * unit + (double) dimension * 0x1p-149;
	return DS_OK;
}

DsPlace
ds_quantizer_place(const DsQuantizer *quantizer, const float *x, float *y)
{
	const DsScanLoops *loops = ds_scan_loops();
	size_t d = quantizer->dimension;
	DsVectorSums sums;

	if (quantizer->metric == DS_METRIC_COSINE)
	{
		/* neither overflows nor vanishes in double */
		loops->vector_sums(x, d, &sums);
		if (sums.square == 0.0 || !(sums.square <= DBL_MAX))
		{
			memset(y, 0, d * sizeof(float));
			return sums.square == 0.0 ? DS_PLACE_ZERO : DS_PLACE_OUTSIDE;
		}
		loops->scale_vector(x, d, 1.0 / sqrt(sums.square), y);
	}
	else if (y != x)
		memcpy(y, x, d * sizeof(float));

	if (quantizer->origin != NULL)
		for (size_t i = 0; i < d; i++)
			y[i] -= quantizer->origin[i];

	ds_rotate(&quantizer->rotation, y, y);

	loops->vector_sums(y, d, &sums);
	if (!(sums.square <= PLACE_LIMIT * PLACE_LIMIT))
	{
		memset(y, 0, d * sizeof(float));
		return DS_PLACE_OUTSIDE;
	}
	return DS_PLACE_OK;
}

static float
round_down(double x)
{
	float y = (float) x;

	return (double) y > x ? nextafterf(y, -INFINITY) : y;
}

static float
round_up(double x)
{
	float y = (float) x;

	return (double) y < x ? nextafterf(y, INFINITY) : y;
}

static void
encode_nothing(size_t d, DsCoded *coded)
{
	coded->sign = (DsSignFactors){-INFINITY, 0.0f, 0.0f};
	coded->row = (DsRowFactors){0.0f, 0.0f, 0.0f, INFINITY, 0.0f};
	coded->radius = INFINITY;
	memset(coded->signs, 0, ds_code_groups(d));
	memset(coded->bytes, 0, d);
}

/* Stages 2 and 3: signs and their factors */
static void
encode_signs(const DsQuantizer *quantizer, const DsResidualSums *sums, DsCoded *coded)
{
	size_t d = quantizer->dimension;
	double length = sqrt(sums->square);
	double factor = 0.0;
	double slack = 0.0;

	if (sums->magnitude > 0.0)
	{
		/* 1 - a^2 with a = <s, r> / (sqrt(d) |r|), at most 1 but for rounding */
		double rest = 1.0 - sums->magnitude / (double) d * (sums->magnitude / sums->square);

		rest = fmax(0.0, rest);
		factor = sums->square / sums->magnitude;
		if (d > 1)
			slack = BOUND_DEVIATIONS * length * sqrt(rest / (1.0 - rest) / (double) (d - 1));
	}

	if (quantizer->metric == DS_METRIC_IP)
	{
		coded->sign.offset = (float) (factor * sums->signs_centroid - sums->centroid_residual);
		coded->sign.scale = (float) factor;
		coded->sign.slack = (float) slack;
	}
	else
	{
		coded->sign.offset = (float) (sums->square + 2.0 * factor * sums->signs_centroid);
		coded->sign.scale = (float) (2.0 * factor);
		coded->sign.slack = (float) (2.0 * slack);
	}
	coded->radius = round_up(length * (1.0 + SUM_ERROR));
}

/* Stage 4: bytes and their factors */
static void
encode_row(const DsQuantizer *quantizer, const DsScanLoops *loops, const float *y,
		   const float *centroid, const DsResidualSums *residual, DsCoded *coded)
{
	size_t d = quantizer->dimension;
	DsRowFactors *row = &coded->row;
	DsByteSums sums;

	row->step = round_up((residual->high - residual->low) / 255.0);
	row->mid = (float) (0.5 * (residual->high + residual->low) + 0.5 * row->step);
	loops->encode_bytes(y, centroid, d, row->mid, row->step, coded->bytes, &sums);
	row->error = round_up(sums.error * (1.0 + SUM_ERROR));
	if (quantizer->metric == DS_METRIC_IP)
	{
		DsVectorSums length;

		loops->vector_sums(y, d, &length);
		row->norm = round_up(sqrt(length.square) * (1.0 + SUM_ERROR));
		row->cross = round_up(sums.centroid_error + sums.centroid_rounding);
	}
	else
	{
		row->norm = round_down(sums.norm - sums.norm_rounding);
		row->cross = round_down(sums.coded_error - sums.coded_rounding);
	}
}

void
ds_quantizer_encode(const DsQuantizer *quantizer, DsPlace place, const float *y,
					const float *centroid, DsCoded *coded)
{
	const DsScanLoops *loops = ds_scan_loops();
	size_t d = quantizer->dimension;
	DsResidualSums sums;

	if (place != DS_PLACE_OK)
	{
		encode_nothing(d, coded);
		return;
	}
	loops->residual_sums(y, centroid, d, &sums);
	if (!(sums.square <= FLT_MAX) || !(fabs(sums.signs_centroid) <= FLT_MAX))
	{
		encode_nothing(d, coded);
		return;
	}
	loops->signs(y, centroid, d, coded->signs);
	encode_signs(quantizer, &sums, coded);
	encode_row(quantizer, loops, y, centroid, &sums, coded);

	/* only a centroid that is not one of placed rows can lead here */
	if (!isfinite(coded->sign.offset) || !isfinite(coded->sign.scale) ||
		!isfinite(coded->sign.slack) || !isfinite(coded->row.step) || !isfinite(coded->row.mid) ||
		!isfinite(coded->row.norm) || !isfinite(coded->row.error) || !isfinite(coded->row.cross) ||
		!isfinite(coded->radius))
		encode_nothing(d, coded);
}

void
ds_quantizer_decode(const DsQuantizer *quantizer, const DsRowFactors *row, const int8_t *bytes,
					const float *centroid, float *y)
{
	for (size_t i = 0; i < quantizer->dimension; i++)
		y[i] = (float) ((double) centroid[i] + row->mid + (double) row->step * bytes[i]);
}

void
ds_block_put(uint8_t *codes, unsigned row, const uint8_t *signs, size_t groups)
{
	unsigned shift = row < 16 ? 0 : 4;
	uint8_t keep = (uint8_t) (0xf0 >> shift);

	codes += row % 16;
	for (size_t g = 0; g < groups; g++)
	{
		uint8_t *low = codes + g * DS_BLOCK_ROWS;
		uint8_t *high = low + 16;

		*low = (uint8_t) ((*low & keep) | (signs[g] & 15) << shift);
		*high = (uint8_t) ((*high & keep) | (signs[g] >> 4) << shift);
	}
}

void
ds_block_get(const uint8_t *codes, unsigned row, uint8_t *signs, size_t groups)
{
	unsigned shift = row < 16 ? 0 : 4;

	codes += row % 16;
	for (size_t g = 0; g < groups; g++)
	{
		const uint8_t *low = codes + g * DS_BLOCK_ROWS;

		signs[g] = (uint8_t) ((low[0] >> shift & 15) | (low[16] >> shift & 15) << 4);
	}
}
