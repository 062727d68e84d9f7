/*
 * halfembedding_compare.c
 *		The type halfembedding: order, equality and hashing, as those of
 *		embedding: -0 equals 0, and a beginning comes before what continues it.
 */
#include "vector/halfembedding.h"

#include "common/hashfn.h"
#include "utils/sortsupport.h"

/* a half's place among all halves, as an unsigned integer above 0; -0 as 0 */
static inline uint16
rank_of(DsHalf half)
{
	if (half == 0x8000)
		half = 0;
	return half & 0x8000 ? (uint16) ~half : half | 0x8000;
}

static int
compare(const DsHalfView *a, const DsHalfView *b)
{
	int shared = Min(a->dim, b->dim);

	for (int i = 0; i < shared; i++)
	{
		if (a->x[i] != b->x[i])
		{
			int difference = (int) rank_of(a->x[i]) - (int) rank_of(b->x[i]);

			if (difference != 0)
				return difference < 0 ? -1 : 1;
		}
	}
	return (a->dim > b->dim) - (a->dim < b->dim);
}

static int
compare_datums(Datum a, Datum b)
{
	DsHalfView left;
	DsHalfView right;
	int result;

	ds_halfembedding_view(a, &left);
	ds_halfembedding_view(b, &right);
	result = compare(&left, &right);
	/* btree and sorts call this in memory that lives long */
	ds_halfembedding_done(&left);
	ds_halfembedding_done(&right);
	return result;
}

#define COMPARISON(name, condition)                                         \
	DS_FUNCTION(ds_halfembedding_##name);                                   \
	Datum ds_halfembedding_##name(PG_FUNCTION_ARGS)                         \
	{                                                                       \
		int order = compare_datums(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)); \
                                                                            \
		PG_RETURN_BOOL(order condition 0);                                  \
	}

COMPARISON(eq, ==)
COMPARISON(ne, !=)
COMPARISON(lt, <)
COMPARISON(le, <=)
COMPARISON(gt, >)
COMPARISON(ge, >=)

/* halfembedding_cmp(halfembedding, halfembedding) -> integer: -1, 0, 1 */
DS_FUNCTION(ds_halfembedding_cmp);
Datum
ds_halfembedding_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_datums(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)));
}

static int
compare_for_sort(Datum a, Datum b, SortSupport ssup)
{
	(void) ssup;
	return compare_datums(a, b);
}

/* The abbreviated key: the ranks of as many elements as a Datum has room for, 0 for missing ones. */
static Datum
abbreviate(Datum value, SortSupport ssup)
{
	DsHalfView view;
	Datum key = 0;

	(void) ssup;
	ds_halfembedding_view(value, &view);
	for (int i = 0; i < (int) (sizeof(Datum) / sizeof(DsHalf)); i++)
		key = key << 16 | (i < view.dim ? rank_of(view.x[i]) : 0);
	ds_halfembedding_done(&view);
	return key;
}

static int
compare_abbreviated(Datum a, Datum b, SortSupport ssup)
{
	(void) ssup;
	return (a > b) - (a < b);
}

static bool
abort_abbreviation(int count, SortSupport ssup)
{
	(void) count;
	(void) ssup;
	return false;
}

/* halfembedding_sortsupport(internal) -> void */
DS_FUNCTION(ds_halfembedding_sortsupport);
Datum
ds_halfembedding_sortsupport(PG_FUNCTION_ARGS)
{
	SortSupport ssup = (SortSupport) PG_GETARG_POINTER(0);

	ssup->comparator = compare_for_sort;
	if (ssup->abbreviate)
	{
		ssup->comparator = compare_abbreviated;
		ssup->abbrev_converter = abbreviate;
		ssup->abbrev_abort = abort_abbreviation;
		ssup->abbrev_full_comparator = compare_for_sort;
	}
	PG_RETURN_VOID();
}

uint64
ds_halfembedding_hash64(Datum datum, uint64 seed)
{
	DsHalfView view;
	uint16 block[128];

	ds_halfembedding_view(datum, &view);
	for (int start = 0; start < view.dim; start += lengthof(block))
	{
		int count = Min((int) lengthof(block), view.dim - start);

		for (int i = 0; i < count; i++)
			block[i] = rank_of(view.x[start + i]);
		seed =
			hash_bytes_extended((const unsigned char *) block, count * (int) sizeof(uint16), seed);
	}
	ds_halfembedding_done(&view);
	return seed;
}

/* halfembedding_hash(halfembedding) -> integer: the low half of the extended hash with seed 0 */
DS_FUNCTION(ds_halfembedding_hash);
Datum
ds_halfembedding_hash(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32((int32) (uint32) ds_halfembedding_hash64(PG_GETARG_DATUM(0), 0));
}

/* halfembedding_hash_extended(halfembedding, bigint) -> bigint */
DS_FUNCTION(ds_halfembedding_hash_extended);
Datum
ds_halfembedding_hash_extended(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(
		(int64) ds_halfembedding_hash64(PG_GETARG_DATUM(0), (uint64) PG_GETARG_INT64(1)));
}
