/*
 * code_loops.h
 *		Loops over the dimensions of one vector, compiled once a CPU level.
 *
 * Written with the vector types that gcc and clang have, eight doubles wide,
 * which become whatever vectors the level of the including file has (scan.c
 * and its like).  The sums are the same at every level to the bit: the same
 * lanes, the same tree, and the room is built without fused operations.
 */
#ifndef DS_QUANT_CODE_LOOPS_H
#define DS_QUANT_CODE_LOOPS_H

#include <math.h>
#include <string.h>

#include "quant/scan.h"

#define LANES 8

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef double Doubles __attribute__((vector_size(8 * LANES)));
typedef int64_t Longs __attribute__((vector_size(8 * LANES)));
typedef int8_t Bytes __attribute__((vector_size(LANES)));

/*
 * 1.5 * 2^52: adding and subtracting it rounds a double to an integer, halves
 * to even; in between, the lowest byte is that integer's.
 */
#define ROUND_TO_INTEGER 0x1.8p52

/* macros, not functions: vectors as arguments have no ABI at the lower levels */
#define MAGNITUDE(v) ((Doubles) ((Longs) (v) &INT64_MAX))
#define SELECT(mask, a, b) ((Doubles) (((mask) & (Longs) (a)) | (~(mask) & (Longs) (b))))
#define SUM(v) ((((v)[0] + (v)[4]) + ((v)[2] + (v)[6])) + (((v)[1] + (v)[5]) + ((v)[3] + (v)[7])))

/* v = n floats from p and zeros, as doubles */
#define LOAD(v, p, n)                                  \
	do                                                 \
	{                                                  \
		Floats floats_ = {0};                          \
                                                       \
		if ((n) == LANES)                              \
			memcpy(&floats_, p, sizeof(Floats));       \
		else                                           \
			memcpy(&floats_, p, 4 * (n));              \
		v = __builtin_convertvector(floats_, Doubles); \
	} while (0)

static inline size_t
lanes_left(size_t n)
{
	return n < LANES ? n : LANES;
}

static void
residual_sums(const float *y, const float *centroid, size_t d, DsResidualSums *out)
{
	Doubles square = {0};
	Doubles magnitude = {0};
	Doubles signs_centroid = {0};
	Doubles centroid_residual = {0};
	Doubles low = {0};
	Doubles high = {0};

	low += INFINITY;
	high -= INFINITY;
	for (size_t i = 0; i < d; i += LANES)
	{
		size_t n = lanes_left(d - i);
		Doubles c;
		Doubles r;

		LOAD(r, y + i, n);
		LOAD(c, centroid + i, n);
		r -= c;
		square += r * r;
		magnitude += MAGNITUDE(r);
		signs_centroid += SELECT(r >= 0.0, c, -c);
		centroid_residual += c * r;
		/* the zeros beyond the end are not among the residuals */
		for (size_t l = n; l < LANES; l++)
			r[l] = r[0];
		low = SELECT(r < low, r, low);
		high = SELECT(r > high, r, high);
	}

	out->square = SUM(square);
	out->magnitude = SUM(magnitude);
	out->signs_centroid = SUM(signs_centroid);
	out->centroid_residual = SUM(centroid_residual);
	out->low = low[0];
	out->high = high[0];
	for (int l = 1; l < LANES; l++)
	{
		out->low = low[l] < out->low ? low[l] : out->low;
		out->high = high[l] > out->high ? high[l] : out->high;
	}
}

static void
encode_bytes(const float *y, const float *centroid, size_t d, double mid, double step,
			 int8_t *bytes, DsByteSums *out)
{
	double inverse = step > 0.0 ? 1.0 / step : 0.0;
	Doubles least = {0};
	Doubles largest = {0};
	Doubles error = {0};
	Doubles rounding = {0};
	Doubles norm = {0};
	Doubles norm_terms = {0};
	Doubles coded_error = {0};
	Doubles coded_terms = {0};
	Doubles centroid_error = {0};
	Doubles centroid_terms = {0};

	least -= 128.0;
	largest += 127.0;
	for (size_t i = 0; i < d; i += LANES)
	{
		size_t n = lanes_left(d - i);
		Doubles c;
		Doubles r;
		Doubles code;
		Doubles coded;
		Doubles e;
		Doubles size;
		Doubles off;
		Bytes packed;

		LOAD(r, y + i, n);
		LOAD(c, centroid + i, n);
		r -= c;
		code = (r - mid) * inverse;
		code = SELECT(code < least, least, code);
		code = SELECT(code > largest, largest, code);
		code += ROUND_TO_INTEGER;
		packed = __builtin_convertvector((Longs) code, Bytes);
		code -= ROUND_TO_INTEGER;
		memcpy(bytes + i, &packed, n);
		coded = mid + step * code;
		e = r - coded;
		/* what r, coded and e may be off by is 2^-53 of this each */
		size = MAGNITUDE(r) + MAGNITUDE(coded);
		for (size_t l = n; l < LANES; l++)
			coded[l] = e[l] = size[l] = 0.0;
		off = SUM_ERROR * MAGNITUDE(e) + 0x1p-51 * size;
		error += e * e;
		rounding += size * size;
		norm += coded * (2.0 * c + coded);
		norm_terms += MAGNITUDE(coded) * (2.0 * MAGNITUDE(c) + MAGNITUDE(coded));
		coded_error += coded * e;
		coded_terms += MAGNITUDE(coded) * off;
		centroid_error += c * e;
		centroid_terms += MAGNITUDE(c) * off;
	}

	out->error = sqrt(SUM(error)) + 0x1p-51 * sqrt(SUM(rounding));
	out->norm = SUM(norm);
	out->norm_rounding = SUM_ERROR * SUM(norm_terms);
	out->coded_error = SUM(coded_error);
	out->coded_rounding = SUM(coded_terms);
	out->centroid_error = SUM(centroid_error);
	out->centroid_rounding = SUM(centroid_terms);
}

static void
vector_sums(const float *x, size_t d, DsVectorSums *out)
{
	Doubles square = {0};
	Doubles sum = {0};
	Doubles magnitude = {0};

	for (size_t i = 0; i < d; i += LANES)
	{
		Doubles v;

		LOAD(v, x + i, lanes_left(d - i));
		square += v * v;
		sum += v;
		magnitude += MAGNITUDE(v);
	}
	out->square = SUM(square);
	out->sum = SUM(sum);
	out->magnitude = SUM(magnitude);
}

static void
scale_vector(const float *x, size_t d, double scale, float *out)
{
	for (size_t i = 0; i < d; i++)
		out[i] = (float) (x[i] * scale);
}

/* nibble n adds q[b] where its bit b is set and subtracts it where not */
static void
make_table(const float *q, size_t nibbles, float inverse, uint8_t *table, double *error,
		   double *square)
{
	static const float sign[4][16] = {
		{-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1},
		{-1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1},
		{-1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1},
		{-1, -1, -1, -1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1},
	};
	float errors[16] = {0};
	float squares[16] = {0};

	for (size_t k = 0; k < nibbles; k++, q += 4, table += 16)
	{
		float q0 = q[0];
		float q1 = q[1];
		float q2 = q[2];
		float q3 = q[3];
		float lowest = (fabsf(q0) + fabsf(q1)) + (fabsf(q2) + fabsf(q3));
		int32_t entries[16];

		for (int n = 0; n < 16; n++)
		{
			float low = sign[0][n] * q0 + sign[1][n] * q1;
			float high = sign[2][n] * q2 + sign[3][n] * q3;
			float steps = ((low + high) + lowest) * inverse;
			/* in 0 .. 255 but for rounding, so that + 0.5 and truncation rounds */
			int32_t entry = (int32_t) (steps + 0.5f);
			float off;

			entry = entry > 255 ? 255 : entry;
			off = (float) entry - steps;
			errors[n] += off;
			squares[n] += off * off;
			entries[n] = entry;
		}
		for (int n = 0; n < 16; n++)
			table[n] = (uint8_t) entries[n];
	}
	*error = 0.0;
	*square = 0.0;
	for (int n = 0; n < 16; n++)
	{
		*error += errors[n] / 16.0;
		*square += squares[n] / 16.0;
	}
}

#define CODE_LOOPS                                                                            \
	.residual_sums = residual_sums, .encode_bytes = encode_bytes, .vector_sums = vector_sums, \
	.scale_vector = scale_vector, .make_table = make_table

#endif /* DS_QUANT_CODE_LOOPS_H */
