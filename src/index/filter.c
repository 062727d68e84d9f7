/*
 * filter.c
 *		Filter columns: numbers of values, and tests of them.  See filter.h.
 */
#include "index/filter.h"

#include "access/stratnum.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

/* ---- rows ---- */

void
ds_filter_describe(Relation index, DsMeta *meta)
{
	int columns = IndexRelationGetNumberOfKeyAttributes(index) - 1;
	uint32 slots = 0;

	StaticAssertStmt(DS_FILTER_COLUMNS == INDEX_MAX_KEYS - 1, "filter columns");
	meta->filters = (uint8) columns;
	for (int i = 0; i < columns; i++)
	{
		AttrNumber attribute = i + 2;
		Oid collation = index->rd_indcollation[attribute - 1];
		uint8 kind = 0;

		if (OidIsValid(index_getprocid(index, attribute, DS_FILTER_ORDER_PROC)) &&
			(!OidIsValid(collation) || DS_COLLATION_IS_C(collation) ||
			 DS_COLLATION_HAS_PREFIX(collation)))
			kind |= DS_FILTER_ORDER;
		if (OidIsValid(index_getprocid(index, attribute, DS_FILTER_HASH_PROC)))
			kind |= DS_FILTER_HASH;
		if (kind == 0)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("column %d of index \"%s\" cannot be a filter column", attribute,
								   RelationGetRelationName(index)),
							errdetail("Its operator class has no numbers to filter by.")));
		meta->filter[i] = kind;
		slots += ((kind & DS_FILTER_ORDER) != 0) + ((kind & DS_FILTER_HASH) != 0);
	}
	if (slots > DS_FILTER_SLOTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" has too many filter columns", RelationGetRelationName(index)),
				 errdetail("Its columns need %u numbers for each row, %d are possible.", slots,
						   DS_FILTER_SLOTS)));
}

void
ds_filter_row(Relation index, const DsLayout *layout, const Datum *values, const bool *isnull,
			  void *row)
{
	char *to = row;
	uint64 nulls = 0;

	for (uint32 i = 0; i < layout->filters; i++)
	{
		AttrNumber attribute = (AttrNumber) (i + 2);
		Oid collation = index->rd_indcollation[attribute - 1];
		uint8 slot[2] = {layout->order_slot[i], layout->hash_slot[i]};

		if (isnull[attribute - 1])
			nulls |= UINT64CONST(1) << i;
		for (int p = 0; p < DS_FILTER_PROCS; p++)
		{
			int64 number = 0;

			if (slot[p] == DS_NO_SLOT)
				continue;
			if (!isnull[attribute - 1])
				number = DatumGetInt64(FunctionCall1Coll(index_getprocinfo(index, attribute, p + 1),
														 collation, values[attribute - 1]));
			memcpy(to + sizeof(int64) * (1 + slot[p]), &number, sizeof(number));
		}
	}
	if (layout->filters > 0)
		memcpy(to, &nulls, sizeof(nulls));
}

void
ds_block_put_filter(const DsLayout *layout, DsBlock *block, uint32 row, const void *filter)
{
	const char *from = filter;
	uint64 nulls;

	if (layout->filters == 0)
		return;
	memcpy(&nulls, from, sizeof(nulls));
	for (uint32 i = 0; i < layout->filters; i++)
	{
		uint32 *word = ds_block_nulls(layout, block) + i;

		*word = (*word & ~((uint32) 1 << row)) | (uint32) (nulls >> i & 1) << row;
	}
	for (uint32 slot = 0; slot < layout->slots; slot++)
		memcpy(ds_block_slot(layout, block, slot) + row, from + sizeof(int64) * (1 + slot),
			   sizeof(int64));
}

void
ds_block_get_filter(const DsLayout *layout, DsBlock *block, uint32 row, void *filter)
{
	char *to = filter;
	uint64 nulls = 0;

	if (layout->filters == 0)
		return;
	for (uint32 i = 0; i < layout->filters; i++)
		nulls |= (uint64) (ds_block_nulls(layout, block)[i] >> row & 1) << i;
	memcpy(to, &nulls, sizeof(nulls));
	for (uint32 slot = 0; slot < layout->slots; slot++)
		memcpy(to + sizeof(int64) * (1 + slot), ds_block_slot(layout, block, slot) + row,
			   sizeof(int64));
}

/* ---- scan keys ---- */

/* arrays of the right side may have millions of elements: the server's quicksort looks at interrupts */
#define ST_SORT sort_numbers
#define ST_ELEMENT_TYPE int64
#define ST_COMPARE(a, b) (*(a) < *(b) ? -1 : *(a) > *(b))
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* What a key's right side becomes: nothing if there is no function for its type. */
typedef struct RightSide
{
	FmgrInfo function;
	bool exact; /* different values give different numbers, but at the ends of the range */
} RightSide;

static bool
right_side(Relation index, const ScanKeyData *key, int proc, RightSide *side)
{
	Oid left = index->rd_opcintype[key->sk_attno - 1];
	Oid right = OidIsValid(key->sk_subtype) ? key->sk_subtype : left;
	Oid function = get_opfamily_proc(index->rd_opfamily[key->sk_attno - 1], left, right, proc);

	if (!OidIsValid(function))
		return false;
	fmgr_info(function, &side->function);
	side->exact = proc == DS_FILTER_ORDER_PROC && get_typbyval(left) &&
				  (left == right || get_typbyval(right));
	return true;
}

static int64
number_of(const RightSide *side, Relation index, const ScanKeyData *key, Datum value)
{
	return DatumGetInt64(FunctionCall1Coll((FmgrInfo *) &side->function,
										   index->rd_indcollation[key->sk_attno - 1], value));
}

/* The numbers of a key's right side, or of its elements that are not NULL */
static int64 *
numbers_of(const RightSide *side, Relation index, const ScanKeyData *key, uint32 *count)
{
	ArrayType *array;
	ArrayIterator iterator;
	Datum element;
	bool isnull;
	int64 *numbers;

	*count = 0;
	if ((key->sk_flags & SK_SEARCHARRAY) == 0)
	{
		numbers = palloc(sizeof(int64));
		numbers[(*count)++] = number_of(side, index, key, key->sk_argument);
		return numbers;
	}
	array = DatumGetArrayTypeP(key->sk_argument);
	numbers = palloc_extended(
		sizeof(int64) * Max(ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)), 1), MCXT_ALLOC_HUGE);
	iterator = array_create_iterator(array, 0, NULL);
	while (array_iterate(iterator, &element, &isnull))
	{
		CHECK_FOR_INTERRUPTS();
		if (!isnull)
			numbers[(*count)++] = number_of(side, index, key, element);
	}
	array_free_iterator(iterator);
	return numbers;
}

/*
 * A comparison.  false: it says nothing that the numbers could tell.
 */
static bool
compare_key(Relation index, const DsLayout *layout, const ScanKeyData *key, DsFilterTest *test)
{
	RightSide side;
	uint32 count;
	uint32 kept = 0;
	int64 *numbers;

	if (key->sk_strategy == BTEqualStrategyNumber &&
		layout->hash_slot[test->column] != DS_NO_SLOT &&
		right_side(index, key, DS_FILTER_HASH_PROC, &side))
		test->slot = layout->hash_slot[test->column];
	else if (layout->order_slot[test->column] != DS_NO_SLOT &&
			 right_side(index, key, DS_FILTER_ORDER_PROC, &side))
		test->slot = layout->order_slot[test->column];
	else
		return false;

	numbers = numbers_of(&side, index, key, &count);
	if (count == 0)
	{
		/* compared with nothing: no row */
		test->kind = DS_TEST_SET;
		return true;
	}
	sort_numbers(numbers, count);
	if (key->sk_strategy == BTEqualStrategyNumber)
	{
		for (uint32 i = 0; i < count; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (kept == 0 || numbers[kept - 1] != numbers[i])
				numbers[kept++] = numbers[i];
		}
		test->kind = kept == 1 ? DS_TEST_RANGE : DS_TEST_SET;
		test->low = numbers[0];
		test->high = numbers[kept - 1];
		test->value = numbers;
		test->values = kept;
		return true;
	}

	/* < ANY means the largest, > ANY the least */
	test->kind = DS_TEST_RANGE;
	test->low = PG_INT64_MIN;
	test->high = PG_INT64_MAX;
	switch (key->sk_strategy)
	{
		case BTLessStrategyNumber:
			test->high = numbers[count - 1];
			if (side.exact && test->high > PG_INT64_MIN + 2 && test->high < PG_INT64_MAX - 2)
				test->high--;
			break;
		case BTLessEqualStrategyNumber:
			test->high = numbers[count - 1];
			break;
		case BTGreaterEqualStrategyNumber:
			test->low = numbers[0];
			break;
		case BTGreaterStrategyNumber:
			test->low = numbers[0];
			if (side.exact && test->low > PG_INT64_MIN + 2 && test->low < PG_INT64_MAX - 2)
				test->low++;
			break;
		default:
			elog(ERROR, "unexpected strategy %d of a filter column", key->sk_strategy);
	}
	return true;
}

DsFilter *
ds_filter_prepare(IndexScanDesc scan, const DsLayout *layout)
{
	Relation index = scan->indexRelation;
	DsFilter *filter;

	if (scan->numberOfKeys == 0)
		return NULL;
	filter = palloc0(sizeof(DsFilter));
	filter->test = palloc0(sizeof(DsFilterTest) * scan->numberOfKeys);
	for (int i = 0; i < scan->numberOfKeys; i++)
	{
		const ScanKeyData *key = &scan->keyData[i];
		DsFilterTest *test = &filter->test[filter->tests];

		if (key->sk_attno == 1)
		{
			/* of the embedding: rows without one stand in a chain of their own */
			if (key->sk_flags & SK_SEARCHNULL)
				filter->null_vectors = true;
			continue;
		}
		if ((key->sk_flags & SK_ISNULL) != 0 &&
			(key->sk_flags & (SK_SEARCHNULL | SK_SEARCHNOTNULL)) == 0)
		{
			filter->never = true;
			continue;
		}
		memset(test, 0, sizeof(*test));
		test->column = (uint32) key->sk_attno - 2;
		if (test->column >= layout->filters)
			continue; /* there is no row in a list yet */
		if (key->sk_flags & SK_SEARCHNULL)
			test->kind = DS_TEST_NULL;
		else if (key->sk_flags & SK_SEARCHNOTNULL)
			test->kind = DS_TEST_NOT_NULL;
		else if (!compare_key(index, layout, key, test))
			test->kind = DS_TEST_NOT_NULL;
		else if (test->kind == DS_TEST_SET && test->values == 0)
			filter->never = true;
		filter->tests++;
	}
	return filter;
}

/* ---- blocks ---- */

/* Which of 32 numbers are in [low, high] */
static inline uint32
in_range(const int64 *number, int64 low, int64 high)
{
	uint64 span = (uint64) high - (uint64) low;
	uint32 mask = 0;

	for (int i = 0; i < DS_BLOCK_ROWS; i++)
		mask |= (uint32) ((uint64) number[i] - (uint64) low <= span) << i;
	return mask;
}

/* Which of the rows `live` have a number that is in a set */
static uint32
in_set(const int64 *number, const DsFilterTest *test, uint32 live)
{
	uint32 mask = 0;

	live &= in_range(number, test->low, test->high);
	while (live != 0)
	{
		int row = pg_rightmost_one_pos32(live);
		uint32 low = 0;
		uint32 high = test->values;

		live &= live - 1;
		while (low < high)
		{
			uint32 middle = low + (high - low) / 2;

			if (test->value[middle] < number[row])
				low = middle + 1;
			else
				high = middle;
		}
		if (low < test->values && test->value[low] == number[row])
			mask |= (uint32) 1 << row;
	}
	return mask;
}

uint32
ds_filter_block(const DsFilter *filter, const DsLayout *layout, DsBlock *block, uint32 live)
{
	for (uint32 i = 0; i < filter->tests && live != 0; i++)
	{
		const DsFilterTest *test = &filter->test[i];
		uint32 nulls = ds_block_nulls(layout, block)[test->column];

		if (test->kind == DS_TEST_NULL)
		{
			live &= nulls;
			continue;
		}
		live &= ~nulls;
		if (test->kind == DS_TEST_RANGE)
			live &= test->low > test->high
						? 0
						: in_range(ds_block_slot(layout, block, test->slot), test->low, test->high);
		else if (test->kind == DS_TEST_SET)
			live = in_set(ds_block_slot(layout, block, test->slot), test, live);
	}
	return live;
}
