/*
 * embedding_compare.c
 *		The type embedding: order, equality and hashing.
 *
 * The order is that of arrays: element by element, and a value that is the
 * beginning of another one comes before it.  There are no NaNs, so the order
 * of floats is total; -0 equals 0, so equal values may differ in their bits
 * (the btree class has no "equalimage" function) and hashing must not see the
 * sign of a zero.
 */
#include "vector/embedding.h"

#include "common/hashfn.h"
#include "utils/sortsupport.h"

int
ds_embedding_compare(const DsEmbeddingView *a, const DsEmbeddingView *b)
{
	int shared = Min(a->dim, b->dim);

	for (int i = 0; i < shared; i++)
	{
		if (a->x[i] != b->x[i])
			return a->x[i] < b->x[i] ? -1 : 1;
	}
	return (a->dim > b->dim) - (a->dim < b->dim);
}

static int
compare_datums(Datum a, Datum b)
{
	DsEmbeddingView left;
	DsEmbeddingView right;
	int result;

	ds_embedding_view(a, &left);
	ds_embedding_view(b, &right);
	result = ds_embedding_compare(&left, &right);
	/* btree and sorts call this in memory that lives long */
	ds_embedding_done(&left);
	ds_embedding_done(&right);
	return result;
}

static bool
equal_datums(Datum a, Datum b)
{
	DsEmbeddingView left;
	DsEmbeddingView right;
	bool result;

	ds_embedding_view(a, &left);
	ds_embedding_view(b, &right);
	/* values that differ do so early, and equal ones mostly in no bit */
	result =
		left.dim == right.dim && (memcmp(left.x, right.x, sizeof(float) * (Size) left.dim) == 0 ||
								  ds_embedding_compare(&left, &right) == 0);
	ds_embedding_done(&left);
	ds_embedding_done(&right);
	return result;
}

DS_FUNCTION(ds_embedding_eq);
Datum
ds_embedding_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(equal_datums(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)));
}

DS_FUNCTION(ds_embedding_ne);
Datum
ds_embedding_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!equal_datums(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)));
}

DS_FUNCTION(ds_embedding_lt);
Datum
ds_embedding_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_datums(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) < 0);
}

DS_FUNCTION(ds_embedding_le);
Datum
ds_embedding_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_datums(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) <= 0);
}

DS_FUNCTION(ds_embedding_gt);
Datum
ds_embedding_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_datums(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) > 0);
}

DS_FUNCTION(ds_embedding_ge);
Datum
ds_embedding_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_datums(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) >= 0);
}

/* embedding_cmp(embedding, embedding) -> integer: -1, 0, 1 */
DS_FUNCTION(ds_embedding_cmp);
Datum
ds_embedding_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_datums(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)));
}

static int
compare_for_sort(Datum a, Datum b, SortSupport ssup)
{
	(void) ssup;
	return compare_datums(a, b);
}

/* a float's place among all floats, as an unsigned integer; -0 as 0 */
static uint32
rank_of_float(float value)
{
	uint32 bits;

	value += 0.0f;
	memcpy(&bits, &value, sizeof(bits));
	return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}

/*
 * The abbreviated key: the ranks of the first two elements, or of one where a
 * Datum has 32 bits.  A missing second element is 0, below all ranks, so keys
 * that differ are in the order of their values.
 */
static Datum
abbreviate(Datum value, SortSupport ssup)
{
	DsEmbeddingView view;
	Datum key;

	(void) ssup;
	ds_embedding_view(value, &view);
	key = rank_of_float(view.x[0]);
#if SIZEOF_DATUM == 8
	key <<= 32;
	if (view.dim > 1)
		key |= rank_of_float(view.x[1]);
#endif
	ds_embedding_done(&view);
	return key;
}

static int
compare_abbreviated(Datum a, Datum b, SortSupport ssup)
{
	(void) ssup;
	return (a > b) - (a < b);
}

/* Making a key costs little, so it is never given up. */
static bool
abort_abbreviation(int count, SortSupport ssup)
{
	(void) count;
	(void) ssup;
	return false;
}

/* embedding_sortsupport(internal) -> void */
DS_FUNCTION(ds_embedding_sortsupport);
Datum
ds_embedding_sortsupport(PG_FUNCTION_ARGS)
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

/*
 * The elements in blocks, -0 as 0, each block's hash the next one's seed.
 */
uint64
ds_embedding_hash64(Datum datum, uint64 seed)
{
	DsEmbeddingView view;
	float block[64];

	ds_embedding_view(datum, &view);
	for (int start = 0; start < view.dim; start += lengthof(block))
	{
		int count = Min((int) lengthof(block), view.dim - start);

		for (int i = 0; i < count; i++)
			block[i] = view.x[start + i] + 0.0f;
		seed =
			hash_bytes_extended((const unsigned char *) block, count * (int) sizeof(float), seed);
	}
	ds_embedding_done(&view);
	return seed;
}

/* embedding_hash(embedding) -> integer: the low half of the extended hash with seed 0 */
DS_FUNCTION(ds_embedding_hash);
Datum
ds_embedding_hash(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32((int32) (uint32) ds_embedding_hash64(PG_GETARG_DATUM(0), 0));
}

/* embedding_hash_extended(embedding, bigint) -> bigint */
DS_FUNCTION(ds_embedding_hash_extended);
Datum
ds_embedding_hash_extended(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) ds_embedding_hash64(PG_GETARG_DATUM(0), (uint64) PG_GETARG_INT64(1)));
}
