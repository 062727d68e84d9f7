/*
 * test_half.c
 *		Half floats: conversion of every one of them and of every float that
 *		matters, and the kernels of each level against those for float.
 *
 * Vectors lie at the very end of a page that is followed by one without
 * access, so a load beyond the last element ends the program.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "base/random.h"
#include "unit.h"
#include "vector/kernels_half.h"

#define MAX_DIMS 2000

static const DsCpuLevel levels[] = {DS_CPU_PORTABLE, DS_CPU_AVX2, DS_CPU_AVX512};
#define LEVELS 3

/* memory whose end is where access ends */
static char *
guarded_end(size_t size)
{
	size_t page = (size_t) sysconf(_SC_PAGESIZE);
	char *base;

	size = (size + page - 1) / page * page;
	base = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED || mprotect(base + size, page, PROT_NONE) != 0)
	{
		perror("mmap");
		exit(1);
	}
	return base + size;
}

/* What the bits mean, by the definition */
static double
meaning(DsHalf half)
{
	int exponent = half >> 10 & 0x1f;
	int mantissa = half & 0x3ff;
	double magnitude = exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25);

	if (exponent == 31)
		magnitude = mantissa == 0 ? INFINITY : NAN;
	return half & 0x8000 ? -magnitude : magnitude;
}

static bool
same_half(DsHalf a, DsHalf b)
{
	bool nan_a = !ds_half_is_finite(a) && (a & 0x3ff) != 0;
	bool nan_b = !ds_half_is_finite(b) && (b & 0x3ff) != 0;

	return nan_a ? nan_b && (a & 0x8000) == (b & 0x8000) : a == b;
}

static void
test_all_halves(void)
{
	static DsHalf half[65536];
	static DsHalf back[65536];
	static float value[65536];

	for (int i = 0; i < 65536; i++)
		half[i] = (DsHalf) i;
	for (int l = 0; l < LEVELS; l++)
	{
		const DsHalfKernels *k = ds_half_kernels_at(levels[l]);
		long wrong = 0;
		long lost = 0;
		long finite = 0;

		if (k == NULL)
			continue;
		k->to_float(half, value, 65536);
		CHECK(!k->from_float(value, back, 65536), "%s: infinities and NaN are reported",
			  ds_cpu_level_name(k->level));
		for (int i = 0; i < 65536; i++)
		{
			double want = meaning(half[i]);
			float scalar = ds_half_to_float(half[i]);

			wrong += isnan(want) ? !isnan(value[i]) || !isnan(scalar)
								 : value[i] != want || scalar != want ||
									   (signbit(value[i]) != 0) != (half[i] >> 15) ||
									   (signbit(scalar) != 0) != (half[i] >> 15);
			lost += !same_half(back[i], half[i]) || !same_half(ds_half_from_float(scalar), half[i]);
			if (ds_half_is_finite(half[i]))
			{
				finite++;
				wrong += ds_half_finite_to_float(half[i]) != want;
			}
		}
		CHECK(finite == 63488 && wrong == 0, "%s: all 65,536 halves become what they mean (%ld)",
			  ds_cpu_level_name(k->level), wrong);
		CHECK(lost == 0, "%s: and come back (%ld do not)", ds_cpu_level_name(k->level), lost);
	}
}

/* The nearest half of a float, by search: ties to the even one, from 65520 on infinity */
static DsHalf
nearest(float value)
{
	double magnitude = fabs((double) value);
	DsHalf sign = signbit(value) ? 0x8000 : 0;
	int low = 0;
	int high = 0x7bff;

	if (magnitude >= DS_HALF_OVERFLOW)
		return sign | 0x7c00;
	while (low < high) /* the largest half that is not above */
	{
		int middle = (low + high + 1) / 2;

		if (meaning((DsHalf) middle) <= magnitude)
			low = middle;
		else
			high = middle - 1;
	}
	if (low < 0x7bff)
	{
		double down = magnitude - meaning((DsHalf) low);
		double up = meaning((DsHalf) (low + 1)) - magnitude;

		if (up < down || (up == down && low % 2 == 1))
			low++;
	}
	return sign | (DsHalf) low;
}

static void
test_rounding(void)
{
	/* each half, the middle between it and the next, and the floats around both */
	enum
	{
		AROUND = 7,
		COUNT = 0x7c00 * 2 * AROUND
	};
	static float value[2 * COUNT + 64];
	static DsHalf got[2 * COUNT + 64];
	size_t n = 0;
	DsRandom random;

	for (int i = 0; i < 0x7c00; i++)
	{
		float at[2];

		at[0] = (float) meaning((DsHalf) i);
		at[1] = i == 0x7bff ? DS_HALF_OVERFLOW
							: (float) ((meaning((DsHalf) i) + meaning((DsHalf) (i + 1))) / 2);
		for (int j = 0; j < 2; j++)
		{
			value[n++] = at[j];
			for (int k = 0; k < (AROUND - 1) / 2; k++)
			{
				float below = value[n - (k == 0 ? 1 : 2)];
				float above = value[n - 1];

				value[n++] = nextafterf(below, -INFINITY);
				value[n++] = nextafterf(above, INFINITY);
			}
		}
	}
	for (size_t i = 0; i < COUNT; i++)
		value[n++] = -value[i];
	value[n++] = 1e-40f;
	value[n++] = -0x1p-149f;
	value[n++] = 0x1p-25f;
	value[n++] = nextafterf(0x1p-25f, 1);
	value[n++] = FLT_MAX;
	value[n++] = -FLT_MAX;
	value[n++] = INFINITY;
	value[n++] = 65536;
	for (int l = 0; l < LEVELS; l++)
	{
		const DsHalfKernels *k = ds_half_kernels_at(levels[l]);
		long wrong = 0;

		if (k == NULL)
			continue;
		(void) k->from_float(value, got, n);
		for (size_t i = 0; i < n; i++)
		{
			DsHalf want = nearest(value[i]);

			wrong += got[i] != want || ds_half_from_float(value[i]) != want;
		}
		CHECK(wrong == 0, "%s: %zu floats at and around halves and ties are rounded to even (%ld)",
			  ds_cpu_level_name(k->level), n, wrong);
	}

	/* every bit pattern of a float, by steps that share no factor with the layout */
	ds_random_init(&random, 7, 0);
	for (int l = 0; l < LEVELS; l++)
	{
		const DsHalfKernels *k = ds_half_kernels_at(levels[l]);
		long wrong = 0;

		if (k == NULL)
			continue;
		for (size_t i = 0; i < COUNT; i++)
		{
			uint32_t bits = (uint32_t) ds_random_below(&random, UINT64_C(1) << 32);

			memcpy(&value[i], &bits, sizeof bits);
		}
		(void) k->from_float(value, got, COUNT);
		for (size_t i = 0; i < COUNT; i++)
			wrong += isnan(value[i]) ? ds_half_is_finite(got[i]) || (got[i] & 0x3ff) == 0
									 : got[i] != nearest(value[i]);
		CHECK(wrong == 0, "%s: any floats (%ld wrong)", ds_cpu_level_name(k->level), wrong);
	}
}

/* Which results are not finite is reported wherever they are, and nothing is written behind. */
static void
test_conversion_ends(char *const *end)
{
	DsRandom random;

	ds_random_init(&random, 8, 0);
	for (int l = 0; l < LEVELS; l++)
	{
		const DsHalfKernels *k = ds_half_kernels_at(levels[l]);
		long wrong = 0;

		if (k == NULL)
			continue;
		for (size_t d = 1; d <= 300; d++)
		{
			float *value = (float *) end[2] - d;
			DsHalf *half = (DsHalf *) end[0] - d;
			size_t at = ds_random_below(&random, d);

			for (size_t i = 0; i < d; i++)
				value[i] = (float) ds_random_normal(&random);
			wrong += !k->from_float(value, half, d);
			k->to_float(half, value, d);
			for (size_t i = 0; i < d; i++)
				wrong += value[i] != ds_half_to_float(half[i]);
			half[-1] = 77;
			for (int kind = 0; kind < 4; kind++)
			{
				value[at] = kind == 0	? NAN
							: kind == 1 ? -INFINITY
							: kind == 2 ? DS_HALF_OVERFLOW
										: -1e30f;
				wrong += k->from_float(value, half, d);
			}
			value[at] = nextafterf(DS_HALF_OVERFLOW, 0);
			wrong += !k->from_float(value, half, d) || half[at] != 0x7bff || half[-1] != 77;
		}
		CHECK(wrong == 0, "%s: one that is not finite among 1 to 300 (%ld wrong)",
			  ds_cpu_level_name(k->level), wrong);
	}
}

enum
{
	NORMAL,
	NEAR, /* differences of a few units in the last place */
	SUBNORMAL,
	LARGEST,
	ANY, /* any finite bits */
	KINDS
};

static void
fill(DsRandom *random, int kind, DsHalf *a, DsHalf *b, size_t d)
{
	for (size_t i = 0; i < d; i++)
	{
		uint32_t bits = (uint32_t) ds_random_below(random, UINT64_C(1) << 32);

		switch (kind)
		{
			case NORMAL:
				a[i] = ds_half_from_float((float) ds_random_normal(random));
				b[i] = ds_half_from_float((float) ds_random_normal(random));
				break;
			case NEAR:
				a[i] = ds_half_from_float(1 + (float) ds_random_double(random));
				b[i] = (DsHalf) (a[i] + bits % 3);
				break;
			case SUBNORMAL:
				a[i] = bits & 0x83ff;
				b[i] = bits >> 16 & 0x83ff;
				break;
			case LARGEST:
				a[i] = 0x7bff | (bits & 0x8000);
				b[i] = 0x7bff | (bits >> 16 & 0x8000);
				break;
			default:
				a[i] = bits & 0xfbff;
				b[i] = bits >> 16 & 0xfbff;
				break;
		}
	}
}

static bool
same(double a, double b)
{
	return isnan(a) ? isnan(b) : a == b;
}

static void
test_distances(char *const *end)
{
	static float x[MAX_DIMS];
	static float y[MAX_DIMS];
	static const char *const names[] = {"<->", "<+>", "<#>", "<=>"};
	const DsHalfKernels *portable = ds_half_kernels_at(DS_CPU_PORTABLE);

	for (int l = 0; l < LEVELS; l++)
	{
		const DsHalfKernels *k = ds_half_kernels_at(levels[l]);
		const DsKernels *floats = ds_kernels_at(levels[l]);
		long differ[4] = {0};
		long outside[4] = {0};
		long infinite = 0;
		long cases = 0;
		DsRandom random;

		if (k == NULL)
			continue;
		ds_random_init(&random, 9, 0);
		for (size_t d = 1; d <= MAX_DIMS; d += d < 300 ? 1 : 17)
			for (int kind = 0; kind < KINDS; kind++)
			{
				size_t shift = ds_random_below(&random, 16);
				DsHalf *a = (DsHalf *) end[0] - d - (d % 2 ? shift : 0);
				DsHalf *b = (DsHalf *) end[1] - d - (d % 2 ? 0 : shift);
				double e = ds_kernel_relative_error(d);
				double dot;
				double norms;
				double got[4];
				double base[4];

				fill(&random, kind, a, b, d);
				for (size_t i = 0; i < d; i++)
				{
					x[i] = ds_half_to_float(a[i]);
					y[i] = ds_half_to_float(b[i]);
				}
				cases++;
				got[0] = k->l2_squared(a, b, d);
				got[1] = k->taxicab(a, b, d);
				got[2] = k->inner_product(a, b, d);
				got[3] = k->cosine_distance(a, b, d);
				for (int i = 0; i < 3; i++)
					infinite += !isfinite(got[i]);

				/* the float kernel of this level, to the bit */
				differ[0] += got[0] != ds_l2_squared_with(floats, x, y, d);
				differ[1] += got[1] != ds_taxicab_with(floats, x, y, d);
				differ[2] += got[2] != floats->inner_product(x, y, d);
				differ[3] += !same(got[3], ds_cosine_distance_with(floats, x, y, d));

				/* the portable one, within what both may err */
				base[0] = portable->l2_squared(a, b, d);
				base[1] = portable->taxicab(a, b, d);
				base[2] = portable->inner_product(a, b, d);
				base[3] = portable->cosine_distance(a, b, d);
				norms = ds_norm_with(floats, x, d) * ds_norm_with(floats, y, d);
				dot = floats->inner_product_wide(x, y, d);
				outside[0] += !(fabs(got[0] - base[0]) <= 2 * e * base[0]);
				outside[1] += !(fabs(got[1] - base[1]) <= 2 * e * base[1]);
				outside[2] += !(fabs(got[2] - dot) <= e * norms);
				outside[3] += norms == 0 ? !isnan(got[3])
										 : !(fabs(got[3] - base[3]) <= 2 * ds_cosine_error(d));

				/* and equal vectors */
				infinite += k->l2_squared(a, a, d) != 0 || k->taxicab(b, b, d) != 0 ||
							(norms > 0 && k->cosine_distance(a, a, d) != 0) ||
							k->inner_product(a, b, d) != k->inner_product(b, a, d);
			}
		for (int i = 0; i < 4; i++)
			CHECK(cases > 0 && differ[i] == 0 && outside[i] == 0,
				  "%s: %s of halves is that of the floats (%ld of %ld differ), near the portable "
				  "one (%ld are not)",
				  ds_cpu_level_name(k->level), names[i], differ[i], cases, outside[i]);
		CHECK(infinite == 0, "%s: sums are finite, symmetric, 0 for equal vectors (%ld are not)",
			  ds_cpu_level_name(k->level), infinite);
	}
}

/* 16,000 of the largest halves: the sum that is farthest out */
static void
test_largest(void)
{
	static DsHalf a[16000];
	static DsHalf b[16000];

	for (int i = 0; i < 16000; i++)
	{
		a[i] = 0x7bff;
		b[i] = 0xfbff;
	}
	for (int l = 0; l < LEVELS; l++)
	{
		const DsHalfKernels *k = ds_half_kernels_at(levels[l]);
		double t = 16000.0 * DS_HALF_MAX * DS_HALF_MAX;

		if (k == NULL)
			continue;
		CHECK(fabs(k->l2_squared(a, b, 16000) - 4 * t) <= 4 * t * ds_kernel_relative_error(16000) &&
				  fabs(k->inner_product(a, b, 16000) + t) <= t * ds_kernel_relative_error(16000) &&
				  k->cosine_distance(a, b, 16000) == 2,
			  "%s: 16,000 of the largest", ds_cpu_level_name(k->level));
	}
}

int
main(void)
{
	char *end[3];

	for (int i = 0; i < 3; i++)
		end[i] = guarded_end((MAX_DIMS + 16) * sizeof(float));
	CHECK(ds_half_kernels() != NULL && ds_half_kernels() == ds_half_kernels(), "a table is chosen");
	CHECK(ds_half_kernels()->level == ds_kernels()->level, "it is of the level of the float one");
	CHECK(ds_half_kernels_at(DS_CPU_PORTABLE) != NULL, "there is always a portable version");
	test_all_halves();
	test_rounding();
	test_conversion_ends(end);
	test_distances(end);
	test_largest();
	return unit_done();
}
