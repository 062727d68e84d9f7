/*
 * test_sparse.c
 *		Sparse vectors against the same sums over all their elements.
 */
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "unit.h"
#include "vector/kernels_sparse.h"

#define DIMS 400

typedef struct Vector
{
	int32_t index[DIMS];
	float value[DIMS];
	float all[DIMS];
	DsSparse sparse;
} Vector;

static void
make(DsRandom *random, Vector *v, double share)
{
	size_t n = 0;

	for (int i = 0; i < DIMS; i++)
	{
		v->all[i] =
			ds_random_double(random) < share ? (float) (int) (3 * ds_random_normal(random)) : 0;
		if (v->all[i] != 0)
		{
			v->index[n] = i;
			v->value[n++] = v->all[i];
		}
	}
	v->sparse = (DsSparse){v->index, v->value, n};
}

int
main(void)
{
	static Vector a;
	static Vector b;
	long wrong = 0;
	long cosine_wrong = 0;
	long order_wrong = 0;
	long equal = 0;
	DsRandom random;

	ds_random_init(&random, 1, 0);
	for (int trial = 0; trial < 3000; trial++)
	{
		double dot = 0;
		double l2 = 0;
		double l1 = 0;
		double aa = 0;
		double bb = 0;
		int order = 0;
		double cosine;

		make(&random, &a, trial % 7 / 7.0);
		make(&random, &b, trial % 5 / 5.0);
		if (trial % 11 == 0)
			b = a, b.sparse.index = b.index, b.sparse.value = b.value;
		for (int i = 0; i < DIMS; i++)
		{
			double x = a.all[i];
			double y = b.all[i];

			/* whole numbers: every sum is exact */
			dot += x * y;
			l2 += (x - y) * (x - y);
			l1 += fabs(x - y);
			aa += x * x;
			bb += y * y;
			if (order == 0)
				order = (x > y) - (x < y);
		}
		wrong += ds_sparse_inner_product(&a.sparse, &b.sparse) != dot ||
				 ds_sparse_l2_squared(&a.sparse, &b.sparse) != l2 ||
				 ds_sparse_taxicab(&a.sparse, &b.sparse) != l1 ||
				 ds_sparse_squared_norm(&a.sparse) != aa;
		cosine = ds_sparse_cosine_distance(&a.sparse, &b.sparse);
		cosine_wrong += aa == 0 || bb == 0
							? !isnan(cosine)
							: !(fabs(cosine - (1 - dot / sqrt(aa) / sqrt(bb))) < 1e-14) ||
								  cosine < 0 || cosine > 2;
		order_wrong += ds_sparse_compare(&a.sparse, &b.sparse) != order ||
					   ds_sparse_compare(&b.sparse, &a.sparse) != -order;
		equal += order == 0;
	}
	CHECK(wrong == 0, "sums are those over all elements (%ld are not)", wrong);
	CHECK(cosine_wrong == 0, "cosine distances too (%ld)", cosine_wrong);
	CHECK(order_wrong == 0 && equal > 200, "the order is that of all elements (%ld is not)",
		  order_wrong);
	return unit_done();
}
