/*
 * test_kernels.c
 *		Every version of the distance kernels against sums in extended
 *		precision, for dimensions 1 to 2000 and vectors that start anywhere.
 *
 * Vectors lie at the very end of a page that is followed by one without
 * access, so a load beyond the last element ends the program.
 */
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/random.h"
#include "unit.h"
#include "vector/kernels.h"

#define MAX_DIMS 2000

/* a float array that ends where access ends */
typedef struct Guarded
{
	float *end;
} Guarded;

static Guarded
guarded_make(size_t count)
{
	size_t page = (size_t) sysconf(_SC_PAGESIZE);
	size_t size = (count * sizeof(float) + page - 1) / page * page;
	char *base =
		mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (base == MAP_FAILED || mprotect(base + size, page, PROT_NONE) != 0)
	{
		perror("mmap");
		exit(1);
	}
	return (Guarded){(float *) (base + size)};
}

static const DsCpuLevel levels[] = {DS_CPU_PORTABLE, DS_CPU_AVX2, DS_CPU_AVX512};
#define LEVELS 3

/* exact enough: 64 bits of mantissa on x86, and at most 2000 terms */
typedef struct Reference
{
	long double l2; /* sum (a - b)^2 */
	long double dot;
	long double magnitudes; /* sum |a b| */
	long double taxicab;
	long double aa;
	long double bb;
} Reference;

static Reference
reference(const float *a, const float *b, size_t d)
{
	Reference r = {0};

	for (size_t i = 0; i < d; i++)
	{
		long double x = a[i];
		long double y = b[i];

		r.l2 += (x - y) * (x - y);
		r.dot += x * y;
		r.magnitudes += fabsl(x * y);
		r.taxicab += fabsl(x - y);
		r.aa += x * x;
		r.bb += y * y;
	}
	return r;
}

static long double
reference_cosine(const Reference *r)
{
	return 1 - r->dot / (sqrtl(r->aa) * sqrtl(r->bb));
}

/* the kinds of vectors */
enum
{
	NORMAL, /* independent */
	NEAR, /* b is a with a little noise: differences and angles are small */
	POSITIVE, /* every term has the same sign, nothing cancels */
	DRIFT, /* large terms, then ones that each lose nearly half a bit */
	KINDS
};

static void
fill(DsRandom *random, int kind, float *a, float *b, size_t d)
{
	for (size_t i = 0; i < d; i++)
	{
		switch (kind)
		{
			case NORMAL:
				a[i] = (float) ds_random_normal(random);
				b[i] = (float) ds_random_normal(random);
				break;
			case NEAR:
				a[i] = (float) ds_random_normal(random);
				b[i] = a[i] + 1e-3f * (float) ds_random_normal(random);
				break;
			case POSITIVE:
				a[i] = (float) ds_random_double(random) + 0.5f;
				b[i] = (float) ds_random_double(random);
				break;
			default:
				/*
				 * The other products are just under half an ulp of the first
				 * ones, so a long chain loses every one of them.
				 */
				a[i] = i < 16 ? 1.0f : 0x1.6p-13f;
				b[i] = -a[i];
				break;
		}
	}
}

/* worst error as a share of what is allowed, and how often it was more */
typedef struct Verdict
{
	double worst;
	double largest_share; /* worst error divided by its bound */
	long bad;
	long cases;
} Verdict;

static void
judge(Verdict *v, long double got, long double want, long double bound)
{
	long double error = fabsl(got - want);

	v->cases++;
	if (!(error <= bound))
		v->bad++;
	if (error > v->worst)
		v->worst = (double) error;
	if (bound > 0 && error / bound > v->largest_share)
		v->largest_share = (double) (error / bound);
}

enum
{
	RAW_L2,
	RAW_DOT,
	RAW_TAXICAB,
	RAW_NORM,
	RAW_COSINE,
	WIDE_ALL,
	OP_L2,
	OP_DOT,
	OP_TAXICAB,
	OP_NORM,
	OP_COSINE,
	VERDICTS
};

static const char *const verdict_names[] = {
	"l2_squared",	"inner_product", "taxicab",		 "squared_norm", "cosine_sums",	 "wide forms",
	"<-> operator", "<#> operator",	 "<+> operator", "norm",		 "<=> operator",
};

static void
check_pair(const DsKernels *k, Verdict *v, const float *a, const float *b, size_t d,
		   const Reference *r)
{
	double e = ds_kernel_relative_error(d);
	double wide = (double) d * 0x1p-52;
	DsCosineSums sums = k->cosine_sums(a, b, d);
	DsCosineSumsWide wide_sums = k->cosine_sums_wide(a, b, d);

	judge(&v[RAW_L2], k->l2_squared(a, b, d), r->l2, e * r->l2);
	judge(&v[RAW_DOT], k->inner_product(a, b, d), r->dot, e * r->magnitudes);
	judge(&v[RAW_TAXICAB], k->taxicab(a, b, d), r->taxicab, e * r->taxicab);
	judge(&v[RAW_NORM], k->squared_norm(a, d), r->aa, e * r->aa);
	judge(&v[RAW_COSINE], sums.dot, r->dot, e * r->magnitudes);
	judge(&v[RAW_COSINE], sums.aa, r->aa, e * r->aa);
	judge(&v[RAW_COSINE], sums.bb, r->bb, e * r->bb);

	judge(&v[WIDE_ALL], k->l2_squared_wide(a, b, d), r->l2, wide * r->l2);
	judge(&v[WIDE_ALL], k->inner_product_wide(a, b, d), r->dot, wide * r->magnitudes);
	judge(&v[WIDE_ALL], k->taxicab_wide(a, b, d), r->taxicab, wide * r->taxicab);
	judge(&v[WIDE_ALL], k->squared_norm_wide(a, d), r->aa, wide * r->aa);
	judge(&v[WIDE_ALL], wide_sums.dot, r->dot, wide * r->magnitudes);
	judge(&v[WIDE_ALL], wide_sums.aa, r->aa, wide * r->aa);
	judge(&v[WIDE_ALL], wide_sums.bb, r->bb, wide * r->bb);
}

/* what the operators promise, whatever the size of the numbers */
static void
check_operators(const DsKernels *k, Verdict *v, const float *a, const float *b, size_t d,
				const Reference *r)
{
	double e = ds_kernel_relative_error(d);
	double norm_a = (double) sqrtl(r->aa);
	double norm_b = (double) sqrtl(r->bb);

	judge(&v[OP_L2], ds_l2_squared_with(k, a, b, d), r->l2, e * r->l2);
	judge(&v[OP_L2], ds_l2_distance_with(k, a, b, d), sqrtl(r->l2), e * sqrtl(r->l2));
	judge(&v[OP_DOT], ds_inner_product_with(k, a, b, d), r->dot,
		  ds_inner_product_error(d, norm_a, norm_b));
	judge(&v[OP_TAXICAB], ds_taxicab_with(k, a, b, d), r->taxicab, e * r->taxicab);
	judge(&v[OP_NORM], ds_norm_with(k, a, d), sqrtl(r->aa), e * sqrtl(r->aa));
	if (r->aa > 0 && r->bb > 0)
		judge(&v[OP_COSINE], ds_cosine_distance_with(k, a, b, d), reference_cosine(r),
			  ds_cosine_error(d));
	else if (!isnan(ds_cosine_distance_with(k, a, b, d)))
		v[OP_COSINE].bad++;
}

static void
report(const DsKernels *k, const Verdict *v, const char *what, int first)
{
	for (int i = first; i < VERDICTS; i++)
		CHECK(v[i].bad == 0 && v[i].cases > 0,
			  "%s %s: %s: %ld of %ld outside the error bound, largest share of it %.3f",
			  ds_cpu_level_name(k->level), what, verdict_names[i], v[i].bad, v[i].cases,
			  v[i].largest_share);
}

static void
test_dimensions(const Guarded *space)
{
	static Verdict verdicts[LEVELS][VERDICTS];
	DsRandom random;

	ds_random_init(&random, 1, 0);
	for (size_t d = 1; d <= MAX_DIMS; d++)
		for (int kind = 0; kind < KINDS; kind++)
		{
			/* the end is exact for one of them, the other moves off it */
			size_t shift = ds_random_below(&random, 16);
			bool swap = ds_random_below(&random, 2) != 0;
			float *a = space[0].end - d - (swap ? shift : 0);
			float *b = space[1].end - d - (swap ? 0 : shift);
			Reference r;

			fill(&random, kind, a, b, d);
			r = reference(a, b, d);
			for (int i = 0; i < LEVELS; i++)
			{
				const DsKernels *k = ds_kernels_at(levels[i]);

				if (k == NULL)
					continue;
				check_pair(k, verdicts[i], a, b, d, &r);
				check_operators(k, verdicts[i], a, b, d, &r);
			}
		}
	for (int i = 0; i < LEVELS; i++)
		if (ds_kernels_at(levels[i]) != NULL)
			report(ds_kernels_at(levels[i]), verdicts[i], "dimensions 1 to 2000", 0);
}

/*
 * Numbers at the ends of the float range, alone and mixed: the operators stay
 * finite, within their bound, symmetric, and in range.
 */
static void
test_extremes(const Guarded *space)
{
	static const float sizes[] = {FLT_MAX, 1e38f,	2e19f,	  1.8e19f,	 1e15f,
								  1.0f,	   1e-15f,	0x1p-50f, 0x1p-51f,	 1e-19f,
								  1e-22f,  FLT_MIN, 1e-40f,	  0x1p-149f, 0.0f};
	const size_t size_count = sizeof sizes / sizeof sizes[0];
	static const size_t dims[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 64, 100, 129, 768, 2000};
	DsRandom random;

	ds_random_init(&random, 2, 0);
	for (int i = 0; i < LEVELS; i++)
	{
		const DsKernels *k = ds_kernels_at(levels[i]);
		Verdict verdicts[VERDICTS] = {0};
		long asymmetric = 0;
		long outside = 0;
		long not_zero = 0;
		long zero_vectors = 0;

		if (k == NULL)
			continue;
		for (size_t s = 0; s < size_count; s++)
			for (size_t t = 0; t < size_count; t++)
				for (size_t n = 0; n < sizeof dims / sizeof dims[0]; n++)
					for (int mixed = 0; mixed < 3; mixed++)
					{
						size_t d = dims[n];
						float *a = space[0].end - d;
						float *b = space[1].end - d;
						Reference r;
						double results[5];
						double swapped[5];

						for (size_t j = 0; j < d; j++)
						{
							float p = sizes[mixed == 2 ? ds_random_below(&random, size_count) : s];
							float q = sizes[mixed >= 1 ? ds_random_below(&random, size_count) : t];

							/* the full size, so that FLT_MAX itself occurs */
							a[j] = ds_random_below(&random, 2) ? p : -p;
							b[j] = ds_random_below(&random, 3) ? q : -q;
						}
						r = reference(a, b, d);
						check_operators(k, verdicts, a, b, d, &r);
						results[0] = ds_l2_distance_with(k, a, b, d);
						results[1] = ds_inner_product_with(k, a, b, d);
						results[2] = ds_taxicab_with(k, a, b, d);
						results[3] = ds_norm_with(k, a, d);
						results[4] = ds_cosine_distance_with(k, a, b, d);
						swapped[0] = ds_l2_distance_with(k, b, a, d);
						swapped[1] = ds_inner_product_with(k, b, a, d);
						swapped[2] = ds_taxicab_with(k, b, a, d);
						swapped[3] = results[3];
						swapped[4] = ds_cosine_distance_with(k, b, a, d);
						for (int j = 0; j < 5; j++)
						{
							if (isnan(results[j]) ? !isnan(swapped[j]) : results[j] != swapped[j])
								asymmetric++;
							if (j < 4 && !isfinite(results[j]))
								outside++;
						}
						if (isnan(results[4]))
						{
							zero_vectors++;
							if (r.aa > 0 && r.bb > 0)
								outside++;
						}
						else if (!(results[4] >= 0 && results[4] <= 2))
							outside++;
						if (ds_l2_distance_with(k, a, a, d) != 0 ||
							ds_taxicab_with(k, a, a, d) != 0 ||
							(r.aa > 0 && ds_cosine_distance_with(k, a, a, d) != 0))
							not_zero++;
					}
		report(k, verdicts, "extremes", OP_L2);
		CHECK(asymmetric == 0, "%s: operators are symmetric to the bit (%ld are not)",
			  ds_cpu_level_name(k->level), asymmetric);
		CHECK(outside == 0, "%s: results are finite and in range (%ld are not)",
			  ds_cpu_level_name(k->level), outside);
		CHECK(not_zero == 0, "%s: a vector is at distance 0 from itself (%ld are not)",
			  ds_cpu_level_name(k->level), not_zero);
		CHECK(zero_vectors > 0, "%s: %ld zero vectors gave NaN", ds_cpu_level_name(k->level),
			  zero_vectors);
	}
}

/* results that are known without a reference */
static void
test_known(const Guarded *space)
{
	float *a = space[0].end - 5;
	float *b = space[1].end - 5;

	memcpy(a, (float[]){3, 0, -4, 0, 0}, 5 * sizeof(float));
	memcpy(b, (float[]){0, 5, -4, 12, 0}, 5 * sizeof(float));
	for (int i = 0; i < LEVELS; i++)
	{
		const DsKernels *k = ds_kernels_at(levels[i]);

		if (k == NULL)
			continue;
		CHECK(k->level == levels[i], "%s: the table knows its level", ds_cpu_level_name(levels[i]));
		CHECK(ds_norm_with(k, a, 5) == 5 && ds_inner_product_with(k, a, b, 5) == 16 &&
				  ds_taxicab_with(k, a, b, 5) == 20 && ds_l2_squared_with(k, a, b, 5) == 178,
			  "%s: small whole numbers are exact", ds_cpu_level_name(levels[i]));
		CHECK(ds_cosine_distance_with(k, (float[]){1, 0}, (float[]){0, 2}, 2) == 1 &&
				  ds_cosine_distance_with(k, (float[]){1, 1}, (float[]){-2, -2}, 2) == 2 &&
				  ds_cosine_distance_with(k, (float[]){1, 1}, (float[]){4, 4}, 2) == 0,
			  "%s: right, opposite and equal angles", ds_cpu_level_name(levels[i]));
		CHECK(isnan(ds_cosine_distance_with(k, (float[]){0, 0}, (float[]){1, 1}, 2)) &&
				  isnan(ds_cosine_distance_with(k, (float[]){0, -0.0f}, (float[]){0, 0}, 2)),
			  "%s: the cosine distance of a zero vector is NaN", ds_cpu_level_name(levels[i]));
		CHECK(fabs(ds_l2_distance_with(k, (float[]){FLT_MAX}, (float[]){-FLT_MAX}, 1) /
					   (2 * (double) FLT_MAX) -
				   1) < 1e-15 &&
				  ds_l2_distance_with(k, (float[]){0x1p-149f}, (float[]){0}, 1) == 0x1p-149,
			  "%s: the ends of the float range", ds_cpu_level_name(levels[i]));
	}
}

static void
test_many(const Guarded *space)
{
	const size_t rows_max = 11;
	Guarded block = guarded_make(rows_max * (MAX_DIMS + 24));
	DsRandom random;

	ds_random_init(&random, 3, 0);
	for (int i = 0; i < LEVELS; i++)
	{
		const DsKernels *k = ds_kernels_at(levels[i]);
		Verdict verdicts[2] = {0};
		long overrun = 0;

		if (k == NULL)
			continue;
		for (size_t d = 1; d <= MAX_DIMS; d += d < 140 ? 1 : 37)
		{
			size_t n = ds_random_below(&random, rows_max + 1);
			size_t stride = d + ds_random_below(&random, 24);
			/* the last row ends where access ends, with no room for its padding */
			float *rows = block.end - (n > 0 ? (n - 1) * stride + d : 0);
			float *query = space[0].end - d;
			float l2[12];
			float dot[12];

			for (size_t j = 0; j < d; j++)
				query[j] = (float) ds_random_normal(&random);
			for (float *p = rows; p < block.end; p++)
				*p = (float) ds_random_normal(&random);
			for (size_t j = 0; j <= rows_max; j++)
				l2[j] = dot[j] = -77;
			k->l2_squared_many(query, rows, stride, n, d, l2);
			k->inner_product_many(query, rows, stride, n, d, dot);
			for (size_t j = 0; j < n; j++)
			{
				Reference r = reference(query, rows + j * stride, d);
				double e = ds_kernel_relative_error(d);

				judge(&verdicts[0], l2[j], r.l2, e * r.l2);
				judge(&verdicts[1], dot[j], r.dot, e * r.magnitudes);
			}
			for (size_t j = n; j <= rows_max; j++)
				overrun += l2[j] != -77 || dot[j] != -77;
		}
		for (int j = 0; j < 2; j++)
			CHECK(verdicts[j].bad == 0 && verdicts[j].cases > 0,
				  "%s: %s against many rows: %ld of %ld outside the bound",
				  ds_cpu_level_name(k->level), j == 0 ? "l2_squared" : "inner_product",
				  verdicts[j].bad, verdicts[j].cases);
		CHECK(overrun == 0, "%s: many rows write n results", ds_cpu_level_name(k->level));
	}
}

static void
test_elementwise(const Guarded *space)
{
	static double sum[MAX_DIMS];
	static double sum_before[MAX_DIMS];
	DsRandom random;

	ds_random_init(&random, 4, 0);
	for (int i = 0; i < LEVELS; i++)
	{
		const DsKernels *k = ds_kernels_at(levels[i]);
		long wrong[6] = {0};
		long unseen = 0;

		if (k == NULL)
			continue;
		for (size_t d = 1; d <= MAX_DIMS; d += d < 140 ? 1 : 41)
		{
			float *a = space[0].end - d;
			float *b = space[1].end - d;
			float *out = space[2].end - d;
			double factor = ds_random_normal(&random);
			size_t at = ds_random_below(&random, d);

			for (size_t j = 0; j < d; j++)
			{
				a[j] = (float) ds_random_normal(&random);
				b[j] = (float) ds_random_normal(&random);
				sum[j] = sum_before[j] = ds_random_normal(&random);
			}
			wrong[0] += !k->add(a, b, out, d);
			for (size_t j = 0; j < d; j++)
				wrong[0] += out[j] != a[j] + b[j];
			wrong[1] += !k->sub(a, b, out, d);
			for (size_t j = 0; j < d; j++)
				wrong[1] += out[j] != a[j] - b[j];
			wrong[2] += !k->mul(a, b, out, d);
			for (size_t j = 0; j < d; j++)
				wrong[2] += out[j] != a[j] * b[j];
			wrong[3] += !k->scale(a, factor, out, d);
			for (size_t j = 0; j < d; j++)
				wrong[3] += out[j] != (float) (a[j] * factor);
			k->accumulate(sum, a, d);
			for (size_t j = 0; j < d; j++)
				wrong[4] += sum[j] != sum_before[j] + a[j];
			/* in place */
			memcpy(out, a, d * sizeof(float));
			wrong[5] += !k->add(out, b, out, d);
			for (size_t j = 0; j < d; j++)
				wrong[5] += out[j] != a[j] + b[j];

			/* one result that is not finite, anywhere */
			unseen += !k->all_finite(a, d);
			a[at] = b[at] = ds_random_below(&random, 2) ? FLT_MAX : -FLT_MAX;
			unseen += k->add(a, b, out, d) || k->mul(a, b, out, d) || k->scale(a, 1.5, out, d);
			b[at] = -b[at];
			unseen += k->sub(a, b, out, d) || !k->add(a, b, out, d);
			a[at] = ds_random_below(&random, 2) ? (float) NAN : -INFINITY;
			unseen += k->all_finite(a, d) || k->sub(a, b, out, d);
		}
		for (int j = 0; j < 6; j++)
		{
			static const char *const names[] = {"add",	 "sub",		   "mul",
												"scale", "accumulate", "add in place"};

			CHECK(wrong[j] == 0, "%s: %s (%ld wrong)", ds_cpu_level_name(k->level), names[j],
				  wrong[j]);
		}
		CHECK(unseen == 0, "%s: results that are not finite are reported (%ld missed)",
			  ds_cpu_level_name(k->level), unseen);
	}
}

int
main(void)
{
	Guarded space[3];

	for (int i = 0; i < 3; i++)
		space[i] = guarded_make(MAX_DIMS + 16);

	CHECK(ds_kernels() != NULL && ds_kernels() == ds_kernels(), "a table is chosen");
	CHECK(ds_kernels()->level ==
			  (ds_cpu_level() == DS_CPU_AVX512_VNNI ? DS_CPU_AVX512 : ds_cpu_level()),
		  "it is the one for this processor: %s", ds_cpu_level_name(ds_kernels()->level));
	CHECK(ds_kernels_at(DS_CPU_PORTABLE) != NULL, "there is always a portable version");
	CHECK(ds_cpu_level() == DS_CPU_AVX512_VNNI ||
			  ds_kernels_at((DsCpuLevel) (ds_cpu_level() + 1)) == NULL,
		  "none is offered that the processor lacks");

	test_known(space);
	test_dimensions(space);
	test_extremes(space);
	test_many(space);
	test_elementwise(space);
	return unit_done();
}
