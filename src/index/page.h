/*
 * page.h
 *		The index on disk.
 *
 * An index is a set of lists.  A list has a centroid, by which a query or a
 * new row finds it, and rows.  A row is never stored as a vector, only as the
 * two codes of quant/code.h, each relative to a centroid of its own: that of
 * its block.  Usually that is the list's, but a list that was split keeps the
 * blocks that were coded before.
 *
 *	page 0		DS_PAGE_META: what the index is, where the chains begin, the
 *				recall curve
 *	vectors		DS_PAGE_VECTORS, a chain: float32 vectors one after another as
 *				one stream of bytes, cut at page ends: the origin (if
 *				DS_META_ORIGIN), then the centroids.  Only ever appended to.
 *	routes		DS_PAGE_ROUTES, a chain: 1-bit codes of the centroids, and where each
 *				centroid begins, as one stream of bytes: a record for each 64 of
 *				them (route.c).  Only ever appended to.
 *	directory	DS_PAGE_DIRECTORY, a chain: DsListEntry, as many as fit a page
 *	lists		DS_PAGE_BLOCKS, a chain a list: blocks of 32 rows, what a scan
 *				reads; and DS_PAGE_CODES, named by the blocks: what a refinement
 *				reads
 *	row ids		DS_PAGE_TIDS, two chains: rows that have no vector (NULL), and
 *				under cosine those of length zero
 *	free		DS_PAGE_FREE: waits until nobody can be reading it, then for
 *				another use
 *
 * A block of 32 rows is one record on a DS_PAGE_BLOCKS page,
 *
 *		DsBlock | int64 slots[][32] | uint32 nulls[] | BlockNumber code_page[] |
 *		DsBlockFactors | signs
 *
 * (slots and nulls are those of the filter columns) and an area of bytes on DS_PAGE_CODES pages: the sign bytes that found no
 * room above (from about 1,750 dimensions on), then 32 times what refines a
 * row.  The area begins at code_start on code_page[0] and goes on at the
 * beginning of the next page; pages nobody wrote to yet are missing
 * (InvalidBlockNumber).  Two neighbouring blocks of a list may share a page,
 * two lists never do.
 *
 * What holds, so that readers need one page lock at a time (more than one would
 * be wrong: recovery locks a record's pages in the order of the record):
 *
 * - A row exists when its bit in DsBlock.live is set.  All its other bytes are
 *	 written in the same WAL record or in earlier ones.  A cleared bit frees the
 *	 row's place for another.
 * - A page of blocks or codes says which list and which generation of it it
 *	 belongs to.  A list is rewritten (split, compacted) by writing all its rows
 *	 to new pages under a new generation and then changing its directory entry,
 *	 and the directory's version in the metapage, in one record.  The old pages
 *	 stay as they are, so a scan that began before goes on reading them.  VACUUM
 *	 finds pages of a generation that its list has left, stamps them, and frees
 *	 them when no snapshot from before that can be in use any more.  A standby's
 *	 snapshots are not counted, so a scan compares generations on each page; if
 *	 the page is another one's, the scan drops what it has of the list and reads
 *	 what has become of it.
 * - Rows go from a list to another one (merge.c) in the same way: both are
 *	 written anew, and one record changes both entries.  An empty list is
 *	 dropped by giving its number to the last list, written anew under it.  Both
 *	 raise DsMeta.merges: what has become of one list of an older directory
 *	 cannot be said any more, and a scan on a standby that would have to know
 *	 ends as in any conflict with recovery.
 * - Everything that stands between pd_lower and pd_upper is lost in recovery.
 *
 * Why is a row id that a scan copied safe after its page is unlocked?  VACUUM
 * may remove the heap row, and another row may take its place, before the scan
 * returns the id.  Such a row was inserted by a transaction that began after
 * the scan's snapshot was taken, so the executor does not see it.  That is why
 * only MVCC snapshots are served.  For the same reason the codes of a row
 * whose place was given to another one may be read: the bound is wrong, but
 * for a row that the executor does not see.
 *
 * Locks.  Pages: blocks before codes, codes in the order of the area, then the
 * directory, then the metapage.  Two heavyweight locks (lock.c) stand before
 * all pages: one a list, shared by those who insert into it, exclusive for
 * rewriting it; and the index's shape, exclusive for anyone who adds lists or
 * rewrites them, shared by VACUUM, for which rows must not wander.
 */
#ifndef DS_INDEX_PAGE_H
#define DS_INDEX_PAGE_H

#include "server.h"

#include "quant/code.h"
#include "storage/block.h"
#include "storage/bufpage.h"
#include "storage/itemptr.h"

#define DS_META_BLOCK 0
#define DS_META_MAGIC 0x44536978
#define DS_INDEX_VERSION 3
#define DS_PAGE_ID 0xD51D

typedef enum DsPageKind
{
	DS_PAGE_META = 1,
	DS_PAGE_VECTORS,
	DS_PAGE_DIRECTORY,
	DS_PAGE_BLOCKS,
	DS_PAGE_CODES,
	DS_PAGE_TIDS,
	DS_PAGE_ROUTES,
	DS_PAGE_FREE
} DsPageKind;

/* At the end of every page */
typedef struct DsPageOpaque
{
	uint32 list; /* blocks, codes: the list; row ids: DS_TIDS_NULL or _ZERO */
	uint32 generation; /* blocks, codes: of the list */
	BlockNumber next; /* chains: InvalidBlockNumber at the end */
	uint32 ordinal; /* chains: position in the chain, from 0 */
	uint64
		stale; /* blocks, codes: full transaction id when VACUUM found that the list has left it */
	uint16 kind; /* DsPageKind */
	uint16 unused[2];
	uint16 page_id; /* DS_PAGE_ID */
} DsPageOpaque;

/* functions, because the server's macros look at their argument more than once */
static inline DsPageOpaque *
ds_page_opaque(Page page)
{
	return (DsPageOpaque *) PageGetSpecialPointer(page);
}

/* Bytes of a page for us */
#define DS_PAGE_SPACE (BLCKSZ - MAXALIGN(SizeOfPageHeaderData) - MAXALIGN(sizeof(DsPageOpaque)))

/* The recall curve: lists to open for the first k rows at a recall */
#define DS_CURVE_ROWS 3
#define DS_CURVE_RECALLS 10

extern const uint32 ds_curve_rows[DS_CURVE_ROWS];
extern const double ds_curve_recalls[DS_CURVE_RECALLS];

#define DS_META_ORIGIN 0x0001 /* the first vector is the origin of the quantizer */
#define DS_META_CALIBRATED 0x0002 /* the curve is of the user's own queries */

/*
 * Filter columns: the index columns behind the embedding.  Of each value the
 * index keeps one or two numbers of 64 bits (filter.h), and whether it is NULL.
 */
#define DS_FILTER_COLUMNS 31 /* INDEX_MAX_KEYS less one */
#define DS_FILTER_SLOTS 24 /* numbers in all: what leaves room for the rest of a block */
#define DS_FILTER_ORDER 0x01 /* a number in the order of the values */
#define DS_FILTER_HASH 0x02 /* a number that differs when values do */

typedef struct DsMeta
{
	uint32 magic;
	uint32 version;
	uint64 build_id; /* random: an index is not mistaken for the one before a REINDEX */
	uint64 seed; /* of the rotation */
	uint32 dimension; /* 0: not known yet (no row, no type modifier) */
	uint16 metric; /* DsMetric */
	uint16 flags;
	uint32 wanted_lists; /* WITH (lists) of the build; 0: chosen */

	uint32 directory_version; /* raised by every change that cached directories must see */
	uint32 next_generation;
	uint32 lists; /* entries in the directory */
	uint32 vectors; /* in the chain, origin included */

	BlockNumber vectors_head;
	BlockNumber vectors_tail; /* page of the last vector's last byte */
	BlockNumber directory_head;
	BlockNumber directory_tail; /* page of the last entry */
	BlockNumber tids_head[2]; /* DS_TIDS_NULL, DS_TIDS_ZERO */
	BlockNumber tids_insert[2]; /* where to look for room */

	uint32 curve_lists; /* lists when the curve was measured; 0: never */
	uint32 curve_queries; /* rows that were asked */
	uint32 curve[DS_CURVE_ROWS][DS_CURVE_RECALLS];
	double built_rows; /* rows when the index was built */
	uint32 rewrites; /* lists rewritten so far: they left pages behind */
	uint32 cleaned; /* rewrites when VACUUM last found no page left behind */

	/* the same as a distance: how far beyond the nearest list's key (ds_list_gap()) */
	float curve_gap[DS_CURVE_ROWS][DS_CURVE_RECALLS];
	uint64 reserved[11];
	uint8 filters; /* filter columns */
	uint8 filter[DS_FILTER_COLUMNS]; /* DS_FILTER_... of each */
	uint32 merges; /* times that rows went from one list to another, other than by a split */
	float built_slack; /* mean of DsSignFactors.slack at the build: how far rows were; 0: none */
	BlockNumber routes_head;
	float curve_opened[DS_CURVE_RECALLS]; /* lists within curve_gap[0], on average */
} DsMeta;

/* Centroids in the chain of vectors */
static inline uint32
ds_meta_centroids(const DsMeta *meta)
{
	return meta->vectors - ((meta->flags & DS_META_ORIGIN) ? 1 : 0);
}

static inline DsMeta *
ds_page_meta(Page page)
{
	return (DsMeta *) PageGetContents(page);
}

#define DS_TIDS_NULL 0
#define DS_TIDS_ZERO 1

typedef struct DsListEntry
{
	uint32 centroid; /* number among the vectors, origin not counted */
	uint32 generation;
	uint32 parent; /* the list that this one was split from; itself if none */
	BlockNumber head; /* InvalidBlockNumber: no row yet */
	BlockNumber insert; /* where to look for room; a hint */
	uint32 run; /* so many pages from head on follow each other; for prefetching */
	uint32 rows; /* places in its blocks, roughly; exact after VACUUM */
	uint32 split_at; /* do not try to split below so many rows; 0: as chosen */
	float radius; /* >= |y - centroid| of every row; may be infinite */
	uint32 reserved[7];
} DsListEntry;

#define DS_ENTRIES_PER_PAGE (DS_PAGE_SPACE / sizeof(DsListEntry))

/* The head of a block; see above for what follows. */
typedef struct DsBlock
{
	uint32 live; /* bit i: row i exists */
	uint32 centroid; /* that the rows are coded for */
	uint16 code_start; /* offset of the area on code_page[0] */
	uint16 unused;
	uint32 unused2;
	ItemPointerData tid[DS_BLOCK_ROWS];
} DsBlock;

/* Sizes that follow from the dimension and the filter columns */
typedef struct DsLayout
{
	uint32 dimension;
	uint32 filters; /* filter columns */
	uint32 slots; /* numbers that are kept of them */
	uint8 order_slot[DS_FILTER_COLUMNS]; /* which; DS_NO_SLOT: none */
	uint8 hash_slot[DS_FILTER_COLUMNS];
	Size filter_size; /* of what a row has for filters, outside of a block; 0: no filters */
	Size slots_at; /* offset of the numbers in the record */
	Size nulls_at;
	uint32 groups; /* of sign bytes */
	uint32 inline_groups; /* those that stand in the block's record */
	uint32 code_pages; /* length of code_page[] */
	Size pages_at; /* offset of code_page[] in the record */
	Size factors_at;
	Size signs_at;
	Size block_size; /* of the record */
	uint32 blocks_per_page;
	Size row_bytes; /* in the area */
	Size rows_at; /* offset of row 0 in the area, behind the other sign bytes */
	Size area_size;
} DsLayout;

#define DS_NO_SLOT 0xFF

/* Of an index whose dimension is known */
extern void ds_layout_init(DsLayout *layout, const DsMeta *meta);

/* Numbers of a filter column, [DS_BLOCK_ROWS] */
static inline int64 *
ds_block_slot(const DsLayout *layout, DsBlock *block, uint32 slot)
{
	return (int64 *) ((char *) block + layout->slots_at) + slot * DS_BLOCK_ROWS;
}

/* Which rows are NULL: a bit a row, for each filter column */
static inline uint32 *
ds_block_nulls(const DsLayout *layout, DsBlock *block)
{
	return (uint32 *) ((char *) block + layout->nulls_at);
}

static inline BlockNumber *
ds_block_pages(const DsLayout *layout, DsBlock *block)
{
	return (BlockNumber *) ((char *) block + layout->pages_at);
}

static inline DsBlockFactors *
ds_block_factors(const DsLayout *layout, DsBlock *block)
{
	return (DsBlockFactors *) ((char *) block + layout->factors_at);
}

static inline uint8 *
ds_block_signs(const DsLayout *layout, DsBlock *block)
{
	return (uint8 *) block + layout->signs_at;
}

static inline DsBlock *
ds_page_block(const DsLayout *layout, Page page, uint32 i)
{
	return (DsBlock *) (PageGetContents(page) + (Size) i * layout->block_size);
}

static inline uint32
ds_page_used(Page page)
{
	return ((PageHeader) page)->pd_lower - MAXALIGN(SizeOfPageHeaderData);
}

static inline uint32
ds_page_blocks(const DsLayout *layout, Page page)
{
	return ds_page_used(page) / layout->block_size;
}

/* Row ids on a page */
#define DS_TIDS_PER_PAGE (DS_PAGE_SPACE / sizeof(ItemPointerData))

static inline ItemPointer
ds_page_tids(Page page)
{
	return (ItemPointer) PageGetContents(page);
}

#endif /* DS_INDEX_PAGE_H */
