/*
 * filter.h
 *		Filter columns: the index columns behind the embedding.
 *
 * A block has, for each of its rows and each filter column, one or two numbers
 * of 64 bits that support functions of the operator class make of the value:
 *
 *		FUNCTION 1	the order: a <= b gives order(a) <= order(b)
 *		FUNCTION 2	the hash: a = b gives hash(a) = hash(b)
 *
 * Neither needs to tell all values apart, so a test of these numbers may let a
 * row pass that the clause does not mean, but never keeps one out that it
 * means; the executor checks the clause again for the few rows that it gets
 * (xs_recheck).  In exchange any type has a form that 32 rows are compared in
 * with a few instructions, before any distance is computed.
 *
 * An operator class has the strategies of a B-tree, any of them, and one of the
 * functions at least.  For an operator whose right side has another type,
 * FUNCTION n (left, right) says what the right side becomes.  If the type has
 * collations, the functions go by the one that they are called with.  The order
 * is asked for under collations of bytes ("C") and under those of ICU since
 * server 16 (compat.h); ranges under others are left to the executor.  What the
 * order was is remembered by the index: with another version of ICU it is wrong
 * until REINDEX, as that of a B-tree is, and the server warns of it.
 */
#ifndef DS_INDEX_FILTER_H
#define DS_INDEX_FILTER_H

#include "index/index.h"

#include "access/relscan.h"

#define DS_FILTER_ORDER_PROC 1
#define DS_FILTER_HASH_PROC 2
#define DS_FILTER_PROCS 2

typedef enum DsFilterKind
{
	DS_TEST_NULL,
	DS_TEST_NOT_NULL,
	DS_TEST_RANGE, /* low <= number <= high */
	DS_TEST_SET /* number in value[values] */
} DsFilterKind;

typedef struct DsFilterTest
{
	DsFilterKind kind;
	uint32 column; /* filter column, from 0 */
	uint32 slot;
	int64 low;
	int64 high;
	int64 *value; /* sorted, no two equal */
	uint32 values;
} DsFilterTest;

/* The conditions of a scan: all must hold. */
typedef struct DsFilter
{
	bool never; /* no row can pass: a comparison with NULL */
	bool null_vectors; /* only rows without a vector can pass */
	uint32 tests;
	DsFilterTest *test;
} DsFilter;

/*
 * What a scan's keys say about rows.  NULL when they say nothing.  In the
 * current memory context.
 */
extern DsFilter *ds_filter_prepare(IndexScanDesc scan, const DsLayout *layout);

/* Those of the rows `live` of a block that pass */
extern uint32 ds_filter_block(const DsFilter *filter, const DsLayout *layout, DsBlock *block,
							  uint32 live);

#endif /* DS_INDEX_FILTER_H */
