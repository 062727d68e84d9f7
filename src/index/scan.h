/*
 * scan.h
 *		The state of a scan, shared by scan.c (order and rounds) and read.c
 *		(lists and rows).
 */
#ifndef DS_INDEX_SCAN_H
#define DS_INDEX_SCAN_H

#include "index/filter.h"
#include "index/pool.h"

/* What a refinement must know of a block that was scanned */
typedef struct BlockRef
{
	uint32 probe; /* number in probes */
	uint32 list;
	uint32 generation;
	uint32 code_start;
	BlockNumber page[FLEXIBLE_ARRAY_MEMBER]; /* [layout.code_pages] */
} BlockRef;

/* A row with a true bound, or with what the operator says */
typedef struct Refined
{
	double bound; /* operator's units */
	ItemPointerData tid;
} Refined;

/* A list that was not opened yet, and how near it is, exactly */
typedef struct Waiting
{
	double key; /* ds_list_key(); in an exact scan the true bound of its rows */
	uint32 list;
} Waiting;

typedef enum ReadMode
{
	READ_CANDIDATES, /* 1-bit bounds into candidates */
	READ_REFINED, /* true bounds into refined */
	READ_TIDS /* row ids alone into tids */
} ReadMode;

/* What scans have done; ds_index_last_scan() shows the last one's. */
typedef struct DsScanCounts
{
	int64 lists; /* opened */
	int64 filtered; /* rows of them that filter columns excluded */
	int64 codes; /* rows whose 1-bit code was read */
	int64 refined; /* rows whose 8-bit code was read */
	int64 returned; /* rows given to the executor */
	int64 fetched; /* rows fetched from the table, here or by the executor */
} DsScanCounts;

extern DsScanCounts ds_last_scan;

/* Rows that are being loaded into the processor's cache; of these, whose line pointer is there */
#define DS_AHEAD 12
#define DS_AHEAD_TOUCHED 4

/* What an operator computes of a row's elements and the query's, floats or half floats */
typedef double (*DsHeapOperator)(const void *row, const void *query, size_t d);

typedef struct DsScan
{
	MemoryContext context; /* of this scan between two rescans */
	MemoryContext arrays; /* of what ds_scan_grow() makes; the next scan gets them (scan.c) */
	bool started;
	DsScanCounts counts;
	DsView *view; /* pinned in context */
	DsFilter *filter; /* NULL: all rows pass */
	DsQuery *query; /* NULL: no order, or all rows are equal in it */
	bool exact;
	bool ordered;
	bool same; /* every row has the value that the query makes NULL or NaN */
	bool same_null;
	double least; /* of the operator */

	Waiting *waiting; /* a heap, nearest first */
	uint64 waitings;
	uint64 waiting_room;
	Pool lists; /* those that are not in the heap; the place is the number */
	uint32 waits; /* lists not opened, in the heap or not */
	uint32 opened;
	double nearest; /* key of the first list, leaving out those that come first in any case */
	uint32 round;
	uint64 round_until; /* rows returned at which the next round begins */

	DsProbe *probe; /* of the code lists met */
	uint32 probes;
	uint64 probe_room;

	char *refs; /* BlockRefs of ref_size each */
	Size ref_size;
	uint32 ref_count;
	uint64 ref_room; /* in bytes */

	Pool rows; /* the place is the number of the block in refs, times 32, plus the row */
	ItemPointerData *row_tid; /* [rows.count] */
	uint64 row_tid_room;

	Refined *refined; /* a heap, least bound first */
	uint64 refineds;
	uint64 refined_room;
	Refined *known; /* a heap of those whose distance is known, likewise */
	uint64 knowns;
	uint64 known_room;
	Refined ahead[DS_AHEAD]; /* the next rows, nearest first, which are being loaded */
	uint32 aheads;
	uint32 touched; /* of these, whose rows were asked for */
	Refined *batch; /* of the list being read */
	uint64 batches;
	uint64 batch_room;

	ItemPointerData *tid; /* row ids of the list or page being returned */
	uint64 tids;
	uint64 tid_room;
	uint64 tid_next;
	BlockNumber tid_page; /* next page of the chain being returned */
	uint32 tid_ordinal;
	uint32 next_list; /* when all lists are read in their order */
	int chain; /* -1: lists; DS_TIDS_ZERO, DS_TIDS_NULL, then 2: at the end */

	/* heap.c */
	bool fetches; /* from a heap, whose pages are found beforehand */
	AttrNumber column; /* of the table: the vectors */
	DsHeapOperator distance; /* or NULL */
	void *asked; /* the query's elements */
	MemoryContext row_context; /* for a vector out of line, or NULL */

	char *spill; /* [layout.rows_at] sign bytes outside of the record */
	uint64 spill_room;
	char *page; /* [BLCKSZ] copy of a page of blocks */
	uint64 page_room;
} DsScan;

/* Room for `count` elements in a scan's array; keeps what is there. */
#define ds_scan_grow(scan, array, room, count, size) \
	ds_grow((scan)->arrays, array, room, count, size)

/* Read a list, or what has become of it, whole. */
extern void ds_scan_read_list(Relation index, DsScan *scan, uint32 list, ReadMode mode);

/* Ask for the pages of a list before they are needed. */
extern void ds_scan_prefetch(Relation index, const DsScan *scan, uint32 list);

/* Load a list's first page into the processor's cache, if it was read before. */
extern void ds_scan_touch(const DsScan *scan, uint32 list);

/*
 * True bounds of rows of the pool, at most DS_REFINE_MOST, into refined[]; they come
 * behind scan->refineds, which stays as it is, in any order.
 */
#define DS_REFINE_MOST 256
extern void ds_scan_refine(Relation index, DsScan *scan, uint32 *place, uint32 count);

/* heap.c: what the executor is going to fetch; see there. */
extern void ds_heap_begin(IndexScanDesc scan);

/* The query, if what its operator says of a row can be computed here */
extern void ds_heap_query(IndexScanDesc scan, Datum query);

/* Load where a row is that will be wanted soon, then the row. */
extern void ds_heap_expect(const DsScan *scan, const ItemPointerData *tid);
extern void ds_heap_touch(const DsScan *scan, const ItemPointerData *tid);

typedef enum DsHeapRow
{
	DS_HEAP_GONE, /* the snapshot does not see it */
	DS_HEAP_KNOWN,
	DS_HEAP_UNKNOWN /* the executor must compute it */
} DsHeapRow;

/* What the operator says of a row, to the bit and never NaN */
extern DsHeapRow ds_heap_distance(IndexScanDesc scan, const ItemPointerData *tid, double *distance);

/* The row that is returned now */
extern void ds_heap_give(IndexScanDesc scan, const ItemPointerData *tid);

/* Read the next page of row ids of scan->chain; false at its end. */
extern bool ds_scan_read_tids(Relation index, DsScan *scan);

#endif /* DS_INDEX_SCAN_H */
