/*
 * test_quant_code.c
 *		Codes and estimates against double precision; scans equal at every level.
 */
#include "quant/query.h"
#include "quant/scan.h"

#include <stdint.h>

#include "base/random.h"
#include "unit.h"

static DsArena arena;

static void *
take(size_t count, size_t size)
{
	void *memory = ds_arena_zero(&arena, count, size);

	if (memory == NULL)
		abort();
	return memory;
}

static void
random_vector(DsRandom *random, float *x, size_t d)
{
	for (size_t i = 0; i < d; i++)
		x[i] = (float) ds_random_normal(random);
}

static DsCoded
coded_new(size_t d)
{
	DsCoded coded = {.signs = take(ds_code_groups(d), 1), .bytes = take(d, 1)};

	return coded;
}

static void
test_blocks(void)
{
	int wrong = 0;
	DsRandom random;

	ds_random_init(&random, 1, 1);
	for (size_t d = 1; d < 70; d += 3)
	{
		size_t groups = ds_code_groups(d);
		size_t cut = groups / 2;
		uint8_t *codes = take(ds_block_bytes(d), 1);
		uint8_t *signs = take(32 * groups, 1);
		uint8_t *back = take(groups, 1);

		/* rubbish, as in a reused block; each row twice, the second time for good */
		for (size_t i = 0; i < ds_block_bytes(d); i++)
			codes[i] = (uint8_t) ds_random_next(&random);
		for (int pass = 0; pass < 2; pass++)
			for (unsigned row = 0; row < 32; row++)
			{
				for (size_t g = 0; g < groups; g++)
					signs[row * groups + g] = (uint8_t) ds_random_next(&random);
				/* in two parts, as over a page's end */
				ds_block_put(codes, row, signs + row * groups, cut);
				ds_block_put(codes + cut * 32, row, signs + row * groups + cut, groups - cut);
			}
		for (unsigned row = 0; row < 32; row++)
		{
			ds_block_get(codes, row, back, groups);
			wrong += memcmp(back, signs + row * groups, groups) != 0;
		}
	}
	CHECK(wrong == 0, "rows come out of blocks as they went in");
	CHECK(ds_block_bytes(16000) == 64000 && ds_block_bytes(1) == 32 &&
			  ds_row_bytes(768) == 768 + 20 && sizeof(DsBlockFactors) == 384,
		  "sizes");
}

static void
test_refused(void)
{
	DsQuantizer quantizer;
	DsStatus status;
	float origin[4] = {0};

	CHECK(ds_quantizer_init(&quantizer, (DsMetric) 7, 4, 1, NULL, &arena, &status) == DS_INVALID,
		  "%s", status.message);
	CHECK(ds_quantizer_init(&quantizer, DS_METRIC_IP, 4, 1, origin, &arena, &status) == DS_INVALID,
		  "%s", status.message);
	CHECK(ds_quantizer_init(&quantizer, DS_METRIC_L2, 0, 1, NULL, &arena, &status) == DS_INVALID,
		  "%s", status.message);
}

static void
test_places(void)
{
	DsQuantizer quantizer;
	float x[3] = {3.0f, 0.0f, -4.0f};
	float origin[3] = {1.0f, 1.0f, 1.0f};
	float y[3];
	double norm = 0.0;

	ds_quantizer_init(&quantizer, DS_METRIC_COSINE, 3, 1, NULL, &arena, NULL);
	CHECK(ds_quantizer_place(&quantizer, x, y) == DS_PLACE_OK, "a vector has a place");
	for (int i = 0; i < 3; i++)
		norm += (double) y[i] * y[i];
	CHECK(fabs(norm - 1.0) < 1e-6, "cosine: length one");
	x[0] = x[2] = 0.0f;
	CHECK(ds_quantizer_place(&quantizer, x, y) == DS_PLACE_ZERO, "cosine: zero has none");
	x[0] = 1e-45f;
	CHECK(ds_quantizer_place(&quantizer, x, y) == DS_PLACE_OK, "cosine: the smallest has");
	x[0] = 3e38f;
	x[1] = 3e38f;
	CHECK(ds_quantizer_place(&quantizer, x, y) == DS_PLACE_OK, "cosine: the largest has");
	x[1] = INFINITY;
	CHECK(ds_quantizer_place(&quantizer, x, y) == DS_PLACE_OUTSIDE && y[0] == 0.0f,
		  "infinity is outside");
	x[1] = NAN;
	CHECK(ds_quantizer_place(&quantizer, x, y) == DS_PLACE_OUTSIDE && y[0] == 0.0f,
		  "NaN is outside");

	ds_quantizer_init(&quantizer, DS_METRIC_L2, 3, 1, origin, &arena, NULL);
	CHECK(ds_quantizer_place(&quantizer, origin, y) == DS_PLACE_OK && y[0] == 0.0f &&
			  y[1] == 0.0f && y[2] == 0.0f,
		  "the origin is at zero");
	x[0] = 1e30f;
	x[1] = 0.0f;
	CHECK(ds_quantizer_place(&quantizer, x, y) == DS_PLACE_OUTSIDE && y[0] == 0.0f,
		  "1e30 is outside of l2");
}

/* the factors mean what code.h says, and the 8-bit code is as near as error says */
static void
test_factors(DsMetric metric)
{
	static const uint32_t dimensions[] = {1, 2, 3, 8, 17, 100, 128, 768, 2000, 16000};
	int above = 0;
	int loose = 0;
	int radius = 0;
	int norms = 0;
	int crosses = 0;
	double relative = 0.0;
	DsRandom random;

	ds_random_init(&random, 2, metric);
	for (size_t k = 0; k < sizeof(dimensions) / sizeof(dimensions[0]); k++)
	{
		uint32_t d = dimensions[k];
		DsArenaMark mark = ds_arena_mark(&arena);
		DsQuantizer quantizer;
		DsCoded coded = coded_new(d);
		float *x = take(d, sizeof(float));
		float *y = take(d, sizeof(float));
		float *c = take(d, sizeof(float));
		float *back = take(d, sizeof(float));

		ds_quantizer_init(&quantizer, metric, d, 3, NULL, &arena, NULL);
		for (int trial = 0; trial < 20; trial++)
		{
			double e2 = 0.0;
			double r2 = 0.0;
			double norm = 0.0;
			double cross = 0.0;
			double size = 0.0;
			DsPlace place;

			random_vector(&random, x, d);
			random_vector(&random, c, d);
			for (uint32_t i = 0; i < d; i++)
			{
				if (trial < 4)
					c[i] = x[i] + 0.01f * c[i];
				else if (trial < 8)
					c[i] *= 1000.0f;
			}
			place = ds_quantizer_place(&quantizer, x, y);
			if (trial == 0)
				memcpy(c, y, d * sizeof(float)); /* no residual at all */
			ds_quantizer_encode(&quantizer, place, y, c, &coded);
			ds_quantizer_decode(&quantizer, &coded.row, coded.bytes, c, back);
			for (uint32_t i = 0; i < d; i++)
			{
				double coded_r = coded.row.mid + (double) coded.row.step * coded.bytes[i];
				double r = (double) y[i] - c[i];
				double e = r - coded_r;

				r2 += r * r;
				e2 += e * e;
				if (metric == DS_METRIC_IP)
				{
					norm += (double) y[i] * y[i];
					cross += c[i] * e;
				}
				else
				{
					norm += coded_r * (2.0 * c[i] + coded_r);
					cross += coded_r * e;
				}
				size += (fabs(c[i]) + fabs(coded_r)) * (fabs(c[i]) + fabs(coded_r));
				if (fabs(back[i] - (c[i] + coded_r)) > 1e-6 * (fabs(c[i]) + fabs(coded_r)))
					above++;
			}
			above += sqrt(e2) > coded.row.error;
			loose += coded.row.error > 1.00001 * sqrt(e2) + 1e-12 * sqrt(size);
			radius += sqrt(r2) > coded.radius || coded.radius > 1.00001 * sqrt(r2);
			if (metric == DS_METRIC_IP)
			{
				norms += sqrt(norm) > coded.row.norm || coded.row.norm > 1.00001 * sqrt(norm);
				crosses += cross > coded.row.cross ||
						   coded.row.cross > cross + 1e-6 * fabs(cross) + 1e-11 * size;
			}
			else
			{
				norms += norm < coded.row.norm ||
						 coded.row.norm < norm - 1e-6 * fabs(norm) - 1e-11 * size;
				crosses += cross < coded.row.cross ||
						   coded.row.cross < cross - 1e-6 * fabs(cross) - 1e-11 * size;
			}
			if (d >= 100 && trial >= 8)
				relative = fmax(relative, sqrt(e2 / r2));
		}
		ds_arena_rewind(&arena, mark);
	}
	CHECK(above == 0, "metric %d: error is never below |e|", metric);
	CHECK(loose == 0, "... and not above it by more than rounding");
	CHECK(relative < 0.012 && relative > 0.003, "... which is %.4f |r| at most", relative);
	CHECK(radius == 0, "... the radius is |r|");
	CHECK(norms == 0 && crosses == 0, "... norm and cross are right, rounded to the safe side");
}

/*
 * The 1-bit estimate over many rotations of the same three points: unbiased,
 * with the error that the bound is made of; and over many rows: the bound
 * fails rarely.
 */
static void
test_estimator(DsMetric metric, uint32_t d, bool sparse)
{
	const int seeds = 400;
	DsRandom random;
	float *x = take(32 * d, sizeof(float));
	float *c0 = take(d, sizeof(float));
	float *c = take(d, sizeof(float));
	float *q = take(d, sizeof(float));
	float *y = take(d, sizeof(float));
	double sum = 0.0;
	double squares = 0.0;
	double fails = 0.0;
	double bias;
	double deviation;
	double refined_worst = 0.0;
	double gap = 0.0;

	ds_random_init(&random, 4, d);
	random_vector(&random, q, d);
	random_vector(&random, c0, d);
	random_vector(&random, x, 32 * d);
	for (uint32_t i = 0; i < d; i++)
	{
		c0[i] *= 0.5f;
		for (int row = 0; row < 32; row++)
		{
			float *value = x + row * d + i;

			/* a residual with few large coordinates needs the rotation to be good */
			if (sparse)
				*value = c0[i] + (i % 64 == (uint32_t) row % 8 ? 8.0f * *value : 0.0f);
			else
				*value = c0[i] + 0.7f * *value;
		}
	}
	if (metric == DS_METRIC_COSINE)
		for (uint32_t i = 0; i < d; i++)
			c0[i] /= 0.8f * sqrtf((float) d); /* about where normalised rows are */

	for (int seed = 0; seed < seeds; seed++)
	{
		DsArenaMark mark = ds_arena_mark(&arena);
		DsQuantizer quantizer;
		DsQuery *query;
		DsProbe probe;
		DsCoded coded = coded_new(d);
		DsBlockFactors *factors = take(1, sizeof(DsBlockFactors));
		uint8_t *codes = take(ds_block_bytes(d), 1);
		float estimate[32];
		float bound[32];
		double truth[32];
		double scale[32];

		ds_quantizer_init(&quantizer, metric, d, (uint64_t) seed, NULL, &arena, NULL);
		query = ds_query_new(&quantizer, &arena, NULL);
		ds_rotate(&quantizer.rotation, c0, c);
		ds_query_set(query, q);
		ds_query_probe(query, c, &probe);
		for (unsigned row = 0; row < 32; row++)
		{
			DsPlace place = ds_quantizer_place(&quantizer, x + row * d, y);
			DsRefined refined;

			ds_quantizer_encode(&quantizer, place, y, c, &coded);
			ds_block_put(codes, row, coded.signs, ds_code_groups(d));
			ds_block_put_factors(factors, row, &coded.sign);
			truth[row] = 0.0;
			for (uint32_t i = 0; i < d; i++)
			{
				double difference = (double) query->placed[i] - y[i];

				truth[row] += metric == DS_METRIC_IP ? -(double) query->placed[i] * y[i]
													 : difference * difference;
			}
			scale[row] = (metric == DS_METRIC_IP ? 1.0 : 2.0) * coded.radius * probe.distance /
						 sqrt((double) d);
			ds_query_refine(query, &probe, &coded.row, ds_query_dot(query, 0, coded.bytes, d),
							&refined);
			refined_worst = fmax(refined_worst, fabs(refined.key - truth[row]) / scale[row]);
		}
		ds_query_scan(query, &probe, codes, factors, estimate, bound);
		for (unsigned row = 0; row < 32; row++)
		{
			double error = (estimate[row] - truth[row]) / scale[row];

			sum += error;
			squares += error * error;
			fails += bound[row] > truth[row];
			gap += (estimate[row] - bound[row]) / scale[row];
		}
		ds_arena_rewind(&arena, mark);
	}
	bias = sum / (32.0 * seeds);
	deviation = sqrt(squares / (32.0 * seeds));
	fails /= 32.0 * seeds;
	gap /= 32.0 * seeds;
	/* rows of one seed share the query and are not independent: allow for 400 samples, not 12,800 */
	CHECK(fabs(bias) < 4.0 * deviation / sqrt((double) seeds),
		  "metric %d, d = %u%s: unbiased, %.4f with deviation %.3f (in |r| |w| / sqrt d)", metric,
		  d, sparse ? ", sparse" : "", bias, deviation);
	/* sqrt(pi / 2 - 1) = 0.755 for a uniform direction, and a little for the table */
	CHECK(deviation < 0.85 && deviation > (d < 32 ? 0.3 : 0.65), "... error as in the paper");
	CHECK(fails < 0.06 && fails > 0.0, "... the bound (%.2f wide) fails for %.2f %% of the rows",
		  gap, 100 * fails);
	CHECK(refined_worst < 0.1, "... 8 bits: at most %.4f", refined_worst);
}

/* every level, whole and in parts, gives the bits of the portable version, which is right */
static void
test_levels(void)
{
	static const uint32_t dimensions[] = {1,	3,	  8,	9,	  16,	17,	  100,
										  128,	129,  768,	1000, 1024, 1028, 1032,
										  1040, 1536, 2000, 2056, 4096, 16000};
	int unequal = 0;
	int unequal_parts = 0;
	int wrong = 0;
	int dots = 0;
	int levels = 0;
	double table_worst = 0.0;
	DsRandom random;

	ds_random_init(&random, 5, 5);
	for (size_t k = 0; k < sizeof(dimensions) / sizeof(dimensions[0]); k++)
		for (int trial = 0; trial < 3; trial++)
		{
			uint32_t d = dimensions[k];
			size_t groups = ds_code_groups(d);
			DsArenaMark mark = ds_arena_mark(&arena);
			DsQuantizer quantizer;
			DsQuery *query;
			DsProbe probe;
			DsBlockFactors *factors = take(1, sizeof(DsBlockFactors));
			uint8_t *codes = (uint8_t *) take(ds_block_bytes(d) + 1, 1) + 1; /* unaligned */
			int8_t *bytes = (int8_t *) take(d + 1, 1) + 1;
			float *q = take(d, sizeof(float));
			float estimate[3][32];
			float bound[3][32];
			float *e0 = estimate[0];
			float *b0 = bound[0];

			ds_quantizer_init(&quantizer, DS_METRIC_L2, d, 3, NULL, &arena, NULL);
			query = ds_query_new(&quantizer, &arena, NULL);
			random_vector(&random, q, d);
			ds_query_set(query, q);
			for (size_t i = 0; i < ds_block_bytes(d); i++)
				codes[i] = (uint8_t) (trial == 1 ? 0xff : ds_random_next(&random));
			/* all entries 255: the fullest that 16 bits can become */
			if (trial == 1)
				memset(query->table, 255, groups * 32);
			for (int j = 0; j < 32; j++)
			{
				factors->offset[j] = (float) ds_random_normal(&random);
				factors->scale[j] = (float) ds_random_normal(&random);
				factors->slack[j] = (float) ds_random_normal(&random);
			}
			for (uint32_t i = 0; i < d; i++)
				bytes[i] = (int8_t) ds_random_next(&random);
			ds_query_probe(query, q, &probe);
			probe.base = 3.25f;
			probe.distance = 1.7f;

			query->loops = ds_scan_loops_at(DS_CPU_PORTABLE);
			ds_query_scan(query, &probe, codes, factors, e0, b0);

			/* the portable version against the definition */
			for (unsigned row = 0; row < 32; row++)
			{
				uint8_t *signs = take(groups, 1);
				uint32_t sum = 0;
				double product = 0.0;
				double t;
				double estimated;

				ds_block_get(codes, row, signs, groups);
				for (size_t g = 0; g < groups; g++)
				{
					sum += query->table[32 * g + (signs[g] & 15)];
					sum += query->table[32 * g + 16 + (signs[g] >> 4)];
				}
				t = (double) query->table_step * sum + query->table_offset;
				for (uint32_t i = 0; i < d; i++)
					product += signs[i / 8] >> (i % 8) & 1 ? query->placed[i] : -query->placed[i];
				if (trial != 1 && d >= 128)
					table_worst = fmax(table_worst, fabs(t - product) / query->table_error);
				estimated = probe.base + factors->offset[row] - factors->scale[row] * t;
				t = fabs(query->table_step * sum) + fabs(query->table_offset);
				if (!(fabs(estimated - e0[row]) <= 1e-6 * (10 + fabs(factors->scale[row]) * t)))
					wrong++;
			}

			levels = 0;
			for (int level = DS_CPU_PORTABLE; level <= DS_CPU_AVX512; level++)
			{
				const DsScanLoops *loops = ds_scan_loops_at((DsCpuLevel) level);
				double exact = 0.0;
				double magnitude = 0.0;

				if (loops == NULL)
					continue;
				levels++;
				query->loops = loops;
				ds_query_scan(query, &probe, codes, factors, estimate[1], bound[1]);
				unequal += memcmp(e0, estimate[1], sizeof(estimate[1])) != 0 ||
						   memcmp(b0, bound[1], sizeof(bound[1])) != 0;

				for (size_t cut = 0; cut <= groups; cut += groups / 3 + 1)
				{
					uint32_t sums[32] = {0};

					ds_query_scan_part(query, 0, codes, cut, sums);
					ds_query_scan_part(query, cut, codes + cut * 32, groups - cut, sums);
					ds_query_scan_finish(query, &probe, sums, factors, estimate[2], bound[2]);
					unequal_parts += memcmp(e0, estimate[2], sizeof(estimate[2])) != 0 ||
									 memcmp(b0, bound[2], sizeof(bound[2])) != 0;
				}

				for (uint32_t i = 0; i < d; i++)
				{
					exact += (double) query->placed[i] * bytes[i];
					magnitude += fabs((double) query->placed[i] * bytes[i]);
				}
				if (!(fabs(ds_query_dot(query, 0, bytes, d) - exact) <= 1e-6 * magnitude))
					dots++;
				if (!(fabs(ds_query_dot(query, 0, bytes, d / 3) +
						   ds_query_dot(query, d / 3, bytes + d / 3, d - d / 3) - exact) <=
					  1e-6 * magnitude))
					dots++;
			}
			ds_arena_rewind(&arena, mark);
		}
	CHECK(wrong == 0, "a scan computes what it says");
	CHECK(table_worst < 1.3 && table_worst > 0.1,
		  "... the table's error is what the query says: %.2f of it at most", table_worst);
	CHECK(unequal == 0 && levels > 0, "... equal to the bit at %d levels", levels);
	CHECK(unequal_parts == 0, "... and for blocks cut anywhere");
	CHECK(dots == 0, "the product of floats and bytes, whole and cut");
}

/* so are codes, tables and the choice of a list; and the least value is the first of the least */
static void
test_loop_levels(void)
{
	int unequal = 0;
	int wrong = 0;
	int levels = 0;
	DsRandom random;

	ds_random_init(&random, 6, 6);
	for (uint32_t d = 1; d < 400; d = d * 5 / 4 + 1)
	{
		DsArenaMark mark = ds_arena_mark(&arena);
		float *y = (float *) take(4 * ((d + 3) / 4) + 1, sizeof(float)) + 1;
		float *c = (float *) take(d + 1, sizeof(float)) + 1;
		float *scaled = take(d, sizeof(float));
		float *first_scaled = take(d, sizeof(float));
		int8_t *bytes = take(d, 1);
		int8_t *first_bytes = take(d, 1);
		uint8_t *signs = take(ds_code_groups(d), 1);
		uint8_t *first_signs = take(ds_code_groups(d), 1);
		size_t nibbles = (d + 3) / 4;
		uint8_t *table = take(nibbles, 16);
		uint8_t *first_table = take(nibbles, 16);
		DsResidualSums first_residual;
		DsByteSums first_byte;
		DsVectorSums first_vector;
		double first_error = 0.0;
		double first_square = 0.0;
		uint32_t least = 0;

		random_vector(&random, y, d);
		random_vector(&random, c, d);
		for (uint32_t i = 0; i < d; i += 3)
			c[i] = y[i]; /* zeros have a sign too */
		for (uint32_t i = 0; i < d; i++)
		{
			if (d > 20)
				y[i] = rintf(2 * y[i]); /* equal values for least() */
			if (c[i] - 2.0f * y[i] < c[least] - 2.0f * y[least])
				least = i;
		}

		levels = 0;
		for (int level = DS_CPU_PORTABLE; level <= DS_CPU_AVX512; level++)
		{
			const DsScanLoops *loops = ds_scan_loops_at((DsCpuLevel) level);
			DsResidualSums residual;
			DsByteSums byte;
			DsVectorSums vector;
			double error;
			double square;
			float value;

			if (loops == NULL)
				continue;
			levels++;
			loops->residual_sums(y, c, d, &residual);
			loops->encode_bytes(y, c, d, 0.1, 0.02, bytes, &byte);
			loops->vector_sums(y, d, &vector);
			loops->scale_vector(y, d, 1.0 / 3.0, scaled);
			loops->signs(y, c, d, signs);
			loops->make_table(y, nibbles, 11.0f, table, &error, &square);
			wrong += loops->least(y, c, d, &value) != least || value != c[least] - 2.0f * y[least];
			for (uint32_t i = 0; i < d; i++)
				wrong += (signs[i / 8] >> (i % 8) & 1) != (y[i] >= c[i]);
			if (level == DS_CPU_PORTABLE)
			{
				first_residual = residual;
				first_byte = byte;
				first_vector = vector;
				first_error = error;
				first_square = square;
				memcpy(first_bytes, bytes, d);
				memcpy(first_signs, signs, ds_code_groups(d));
				memcpy(first_table, table, 16 * nibbles);
				memcpy(first_scaled, scaled, d * sizeof(float));
			}
			unequal += memcmp(&residual, &first_residual, sizeof(residual)) != 0 ||
					   memcmp(&byte, &first_byte, sizeof(byte)) != 0 ||
					   memcmp(&vector, &first_vector, sizeof(vector)) != 0 ||
					   error != first_error || square != first_square ||
					   memcmp(bytes, first_bytes, d) != 0 ||
					   memcmp(signs, first_signs, ds_code_groups(d)) != 0 ||
					   memcmp(table, first_table, 16 * nibbles) != 0 ||
					   memcmp(scaled, first_scaled, d * sizeof(float)) != 0;
		}
		ds_arena_rewind(&arena, mark);
	}
	CHECK(unequal == 0 && levels > 0, "encoding and tables: equal to the bit at %d levels", levels);
	CHECK(wrong == 0, "signs and the least value are right");
}

static void
test_outside(void)
{
	DsQuantizer quantizer;
	DsQuery *query;
	DsProbe probe;
	DsRefined refined;
	DsCoded coded = coded_new(5);
	DsBlockFactors factors;
	uint8_t codes[32] = {0};
	float x[5] = {1e30f, 2.0f, 0.0f, -4.0f, 1.0f};
	float y[5];
	float c[5] = {0};
	float estimate[32];
	float bound[32];
	int wrong = 0;

	memset(&factors, 0, sizeof(factors));
	ds_quantizer_init(&quantizer, DS_METRIC_L2, 5, 1, NULL, &arena, NULL);
	query = ds_query_new(&quantizer, &arena, NULL);
	ds_quantizer_encode(&quantizer, ds_quantizer_place(&quantizer, x, y), y, c, &coded);
	for (unsigned row = 0; row < 32; row++)
	{
		ds_block_put(codes, row, coded.signs, 1);
		ds_block_put_factors(&factors, row, &coded.sign);
	}
	CHECK(isinf(coded.radius) && isinf(coded.row.error), "a row outside says so");
	for (int i = 0; i < 2; i++)
	{
		CHECK(ds_query_set(query, x) == (i == 0 ? DS_PLACE_OUTSIDE : DS_PLACE_OK),
			  i == 0 ? "a query outside" : "a query inside");
		ds_query_probe(query, c, &probe);
		ds_query_scan(query, &probe, codes, &factors, estimate, bound);
		for (int row = 0; row < 32; row++)
			wrong += estimate[row] != -INFINITY || bound[row] != -INFINITY;
		ds_query_refine(query, &probe, &coded.row, ds_query_dot(query, 0, coded.bytes, 5),
						&refined);
		wrong += refined.bound != 0.0 || refined.key != -INFINITY;
		wrong += ds_query_list_bound(query, &probe, coded.radius) != 0.0;
		x[0] = 1.0f;
	}
	CHECK(wrong == 0, "nothing is claimed about a row outside");
}

/* Probes of many centroids at once differ from exact ones by rounding, to the safe side. */
static void
test_probes_near(void)
{
	enum
	{
		D = 100,
		STRIDE = 107,
		N = 9
	};
	const DsMetric metrics[] = {DS_METRIC_L2, DS_METRIC_COSINE, DS_METRIC_IP};
	static float c[N * STRIDE];
	float x[D];
	int unsafe = 0;
	int far = 0;

	for (size_t m = 0; m < 3; m++)
	{
		DsRandom random;
		DsQuantizer quantizer;
		DsQuery *query;
		float square[N];
		float product[N];

		ds_random_init(&random, 37, m);
		random_vector(&random, x, D);
		for (int i = 0; i < N; i++)
			random_vector(&random, c + i * STRIDE, D);
		ds_quantizer_init(&quantizer, metrics[m], D, 5, NULL, &arena, NULL);
		query = ds_query_new(&quantizer, &arena, NULL);
		ds_query_set(query, x);
		/* as near as its rounding, and the query itself */
		memcpy(c, query->placed, sizeof(x));
		memcpy(c + STRIDE, query->placed, sizeof(x));
		c[STRIDE] *= 1.0001f;
		ds_query_distances(query, c, STRIDE, N, square, product);
		for (int i = 0; i < N; i++)
		{
			DsProbe near;
			DsProbe exact;

			ds_query_probe_near(query, square[i], product[i], &near);
			ds_query_probe(query, c + i * STRIDE, &exact);
			unsafe += near.exact_distance < exact.exact_distance * (1 - 1e-12);
			if (metrics[m] != DS_METRIC_IP)
				unsafe += near.exact_base > exact.exact_base;
			far += fabs(near.exact_distance - exact.exact_distance) > 1e-5 * exact.exact_distance;
			far += fabs(near.exact_base - exact.exact_base) > 1e-5 * (1 + fabs(exact.exact_base));
		}
	}
	CHECK(unsafe == 0, "probes of many centroids are on the safe side");
	CHECK(far == 0, "probes of many centroids are near the exact ones");
}

/* A query that is placed already is the query that is not. */
static void
test_placed_query(void)
{
	enum
	{
		D = 100
	};
	float x[D];
	float y[D];
	DsRandom random;
	DsStatus status;
	DsQuantizer quantizer;
	DsQuery *query;
	DsQuery *placed;

	ds_random_init(&random, 31, 0);
	random_vector(&random, x, D);
	ds_quantizer_init(&quantizer, DS_METRIC_COSINE, D, 5, NULL, &arena, &status);
	query = ds_query_new(&quantizer, &arena, &status);
	placed = ds_query_new(&quantizer, &arena, &status);
	ds_query_set(query, x);
	ds_quantizer_place(&quantizer, x, y);
	ds_query_set_placed(placed, y);
	CHECK(placed->place == DS_PLACE_OK && placed->norm == query->norm &&
			  placed->table_step == query->table_step &&
			  memcmp(placed->placed, query->placed, sizeof(y)) == 0 &&
			  memcmp(placed->table, query->table, 32 * ds_code_groups(D)) == 0,
		  "a placed query is prepared as any other");
}

int
main(void)
{
	ds_arena_init(&arena, NULL);
	test_blocks();
	test_refused();
	test_places();
	for (int metric = DS_METRIC_COSINE; metric <= DS_METRIC_IP; metric++)
		test_factors((DsMetric) metric);
	for (int metric = DS_METRIC_COSINE; metric <= DS_METRIC_IP; metric++)
	{
		test_estimator((DsMetric) metric, 20, false);
		test_estimator((DsMetric) metric, 128, false);
		test_estimator((DsMetric) metric, 100, true);
		test_estimator((DsMetric) metric, 768, true);
	}
	test_levels();
	test_loop_levels();
	test_outside();
	test_probes_near();
	test_placed_query();
	ds_arena_free(&arena);
	return unit_done();
}
