/*
 * code_loops.h
 *		Loops over the dimensions of one vector, compiled once a CPU level.
 *
 * Plain C with a fixed number of partial sums, which a compiler turns into
 * vectors of the level of the file that includes this (scan.c and its like).
 * The sums are the same at every level to the bit: same lanes, same tree, and
 * the room is built without fused operations.
 */
#ifndef DS_QUANT_CODE_LOOPS_H
#define DS_QUANT_CODE_LOOPS_H

#include <math.h>

#include "quant/scan.h"

#define LANES 8

/* 1.5 * 2^52: adding and subtracting it rounds a double to an integer, halves to even */
#define ROUND_TO_INTEGER 0x1.8p52

static inline double
add_lanes(const double *sum)
{
	return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

static void
residual_sums(const float *y, const float *centroid, size_t d, DsResidualSums *out)
{
	double square[LANES] = {0};
	double magnitude[LANES] = {0};
	double signs_centroid[LANES] = {0};
	double centroid_residual[LANES] = {0};
	double low[LANES];
	double high[LANES];

	for (int l = 0; l < LANES; l++)
	{
		low[l] = INFINITY;
		high[l] = -INFINITY;
	}

#define STEP(i, l)                              \
	do                                          \
	{                                           \
		double c = centroid[i];                 \
		double r = (double) y[i] - c;           \
                                                \
		square[l] += r * r;                     \
		magnitude[l] += fabs(r);                \
		signs_centroid[l] += r >= 0.0 ? c : -c; \
		centroid_residual[l] += c * r;          \
		low[l] = r < low[l] ? r : low[l];       \
		high[l] = r > high[l] ? r : high[l];    \
	} while (0)

	for (size_t i = 0; i < d / LANES * LANES; i += LANES)
		for (int l = 0; l < LANES; l++)
			STEP(i + (size_t) l, l);
	for (size_t i = d / LANES * LANES; i < d; i++)
		STEP(i, i % LANES);
#undef STEP

	out->square = add_lanes(square);
	out->magnitude = add_lanes(magnitude);
	out->signs_centroid = add_lanes(signs_centroid);
	out->centroid_residual = add_lanes(centroid_residual);
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
	double error[LANES] = {0};
	double rounding[LANES] = {0};
	double norm[LANES] = {0};
	double norm_terms[LANES] = {0};
	double coded_error[LANES] = {0};
	double coded_terms[LANES] = {0};
	double centroid_error[LANES] = {0};
	double centroid_terms[LANES] = {0};

#define STEP(i, l)                                                                 \
	do                                                                             \
	{                                                                              \
		double c = centroid[i];                                                    \
		double r = (double) y[i] - c;                                              \
		double byte = ((r - mid) * inverse + ROUND_TO_INTEGER) - ROUND_TO_INTEGER; \
		double coded;                                                              \
		double e;                                                                  \
		double size;                                                               \
                                                                                   \
		byte = byte < -128.0 ? -128.0 : byte;                                      \
		byte = byte > 127.0 ? 127.0 : byte;                                        \
		bytes[i] = (int8_t) (int) byte;                                            \
		coded = mid + step * byte;                                                 \
		e = r - coded;                                                             \
		/* what r, coded and e may be off by is 2^-53 of this each */              \
		size = fabs(r) + fabs(coded);                                              \
		error[l] += e * e;                                                         \
		rounding[l] += size * size;                                                \
		norm[l] += coded * (2.0 * c + coded);                                      \
		norm_terms[l] += fabs(coded) * (2.0 * fabs(c) + fabs(coded));              \
		coded_error[l] += coded * e;                                               \
		coded_terms[l] += fabs(coded) * (SUM_ERROR * fabs(e) + 0x1p-51 * size);    \
		centroid_error[l] += c * e;                                                \
		centroid_terms[l] += fabs(c) * (SUM_ERROR * fabs(e) + 0x1p-51 * size);     \
	} while (0)

	for (size_t i = 0; i < d / LANES * LANES; i += LANES)
		for (int l = 0; l < LANES; l++)
			STEP(i + (size_t) l, l);
	for (size_t i = d / LANES * LANES; i < d; i++)
		STEP(i, i % LANES);
#undef STEP

	out->error = sqrt(add_lanes(error)) + 0x1p-51 * sqrt(add_lanes(rounding));
	out->norm = add_lanes(norm);
	out->norm_rounding = SUM_ERROR * add_lanes(norm_terms);
	out->coded_error = add_lanes(coded_error);
	out->coded_rounding = add_lanes(coded_terms);
	out->centroid_error = add_lanes(centroid_error);
	out->centroid_rounding = add_lanes(centroid_terms);
}

static void
vector_sums(const float *x, size_t d, DsVectorSums *out)
{
	double square[LANES] = {0};
	double sum[LANES] = {0};
	double magnitude[LANES] = {0};

#define STEP(i, l)               \
	do                           \
	{                            \
		double v = x[i];         \
                                 \
		square[l] += v * v;      \
		sum[l] += v;             \
		magnitude[l] += fabs(v); \
	} while (0)

	for (size_t i = 0; i < d / LANES * LANES; i += LANES)
		for (int l = 0; l < LANES; l++)
			STEP(i + (size_t) l, l);
	for (size_t i = d / LANES * LANES; i < d; i++)
		STEP(i, i % LANES);
#undef STEP

	out->square = add_lanes(square);
	out->sum = add_lanes(sum);
	out->magnitude = add_lanes(magnitude);
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
