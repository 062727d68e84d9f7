/*
 * index.h
 *		What the files of this room share.  The index on disk: page.h.
 */
#ifndef DS_INDEX_H
#define DS_INDEX_H

#include "index/page.h"
#include "index/recent.h"
#include "quant/neighbours.h"
#include "quant/query.h"
#include "vector/embedding.h"
#include "vector/halfembedding.h"

#include "access/amapi.h"
#include "access/generic_xlog.h"
#include "access/genam.h"
#include "nodes/execnodes.h"
#include "storage/bufmgr.h"
#include "storage/lock.h"
#include "utils/rel.h"

/*
 * Strategy numbers of the operator families: one a metric and a type of vector,
 * so that they name both.  Those of half floats are DS_STRATEGY_HALF above.
 */
#define DS_STRATEGY_COSINE 1
#define DS_STRATEGY_L2 2
#define DS_STRATEGY_IP 3
#define DS_STRATEGY_HALF 3
#define DS_STRATEGIES 6

#define DS_MAX_LISTS 1000000

/* WITH (...) */
typedef struct DsOptions
{
	int32 vl_len_;
	int lists; /* 0: chosen from the number of rows */
} DsOptions;

/* index.c */
extern bytea *ds_index_options(Datum reloptions, bool validate);
extern DsMetric ds_index_metric(Relation index);
extern bool ds_index_is_half(Relation index); /* are the vectors of type halfembedding? */
extern Oid ds_index_distance(Relation index); /* the function behind the operator */

/*
 * Read a value of the first column as floats.  Where it has half floats, they
 * are converted, which is exact: the index knows floats only.
 */
static inline void
ds_index_vector(bool half, Datum value, DsEmbeddingView *vector)
{
	if (half)
		ds_halfembedding_floats(value, vector);
	else
		ds_embedding_view(value, vector);
}
extern Relation ds_index_open(Oid oid, LOCKMODE lock); /* checks kind and privilege */

/* cost.c */
extern void ds_index_cost(struct PlannerInfo *root, struct IndexPath *path, double loop_count,
						  Cost *startup, Cost *total, Selectivity *selectivity, double *correlation,
						  double *pages);

/* ---- page.c: pages, and changes to them ---- */

/*
 * A change of pages.  ds_log_page() takes over a buffer that the caller has
 * locked exclusively and gives the page to change; ds_log_end() writes the
 * record and releases the buffers.  More pages than fit one record go into
 * several, in the order in which they came, so a caller that may exceed
 * DS_LOG_PAGES names the page that makes the others count last.  A build
 * changes pages directly and logs them at its end.
 */
#define DS_LOG_PAGES MAX_GENERIC_XLOG_PAGES

typedef struct DsLog
{
	Relation index;
	bool direct;
	GenericXLogState *state;
	int pages;
	Buffer buffers[DS_LOG_PAGES];
} DsLog;

extern void ds_log_begin(DsLog *log, Relation index, bool direct);
extern Page ds_log_page(DsLog *log, Buffer buffer, bool fresh);
extern void ds_log_end(DsLog *log);

extern void ds_page_init(Page page, DsPageKind kind, uint32 list, uint32 generation,
						 uint32 ordinal);

/* A page nobody uses, locked exclusively; with whatever contents: ds_page_init() it. */
extern Buffer ds_page_allocate(Relation index, bool direct);

/* Raise XX001 for a page of ours that cannot be right. */
pg_noreturn extern void ds_page_corrupted(Relation index, BlockNumber block, const char *what);

/* Read and lock a page and check that it is one of ours, of this kind. */
extern Buffer ds_page_read(Relation index, BlockNumber block, DsPageKind kind, int lockmode);

/* The same, but any kind: for those who go over all pages.  Does not read the page. */
extern DsPageOpaque *ds_page_check(Relation index, Buffer buffer);

/* How many blocks stand on a page, checked. */
extern uint32 ds_page_blocks_checked(const DsLayout *layout, Relation index, Buffer buffer);

/*
 * A page of list and generation?  False for a page that has become another's;
 * *buffer is locked in either case.
 */
extern bool ds_page_is_list(Relation index, Buffer buffer, DsPageKind kind, uint32 list,
							uint32 generation);

extern void ds_meta_read(Relation index, DsMeta *meta);
extern Buffer ds_meta_lock(Relation index); /* exclusively; checked */
extern void ds_meta_init(DsMeta *meta, Relation index, DsMetric metric, uint32 dimension);

/* Write a metapage as the first page of a fork that has none. */
extern void ds_meta_create(Relation index, ForkNumber fork, const DsMeta *meta);

/* Where a reader or writer of a chain that is one stream of bytes stands; all zeros: at the head */
typedef struct DsStreamCursor
{
	BlockNumber block; /* page of the next byte, or the one before */
	uint64 position; /* of the next byte in the stream */
} DsStreamCursor;

/* Read on.  Pages are taken from *cursor on, so a cursor may begin anywhere. */
extern void ds_stream_read(Relation index, DsPageKind kind, BlockNumber head,
						   DsStreamCursor *cursor, Size size, void *data);

/* Write on: over what is there, then behind it.  Caller holds the shape lock. */
extern void ds_stream_write(Relation index, bool direct, DsPageKind kind, BlockNumber *head,
							DsStreamCursor *cursor, Size size, const void *data);

/*
 * Append vectors to the chain, behind the meta->vectors first ones; meta (the
 * caller's copy, to be put into the metapage with whatever makes the vectors
 * used) gets the new head, tail and number, and page[count] (may be NULL) where
 * each begins.  Caller holds the shape lock.  Centroids: ds_centroids_append().
 */
extern void ds_vectors_append(Relation index, bool direct, DsMeta *meta, const float *vectors,
							  uint32 count, BlockNumber *page);

/*
 * Make sure that the directory has a page for entry number `list`: the page,
 * which may be a new one behind the tail.  Caller holds the shape lock.
 */
extern BlockNumber ds_directory_page(Relation index, bool direct, DsMeta *meta, uint32 list);

/* The entry on its locked page, checked. */
extern DsListEntry *ds_directory_entry(Relation index, Buffer buffer, Page page, uint32 list);

/* Add a row id to a chain of row ids. */
extern void ds_tids_insert(Relation index, int chain, ItemPointer tid);

/* ---- lock.c: the heavyweight locks of page.h ---- */
extern void ds_lock_list(Relation index, uint32 list, LOCKMODE mode);
extern void ds_unlock_list(Relation index, uint32 list, LOCKMODE mode);
extern void ds_lock_shape(Relation index, LOCKMODE mode);
extern bool ds_lock_shape_if_free(Relation index, LOCKMODE mode);
extern void ds_unlock_shape(Relation index, LOCKMODE mode);

/* ---- view.c: what a backend remembers of an index ---- */

typedef struct DsView
{
	MemoryContext context; /* of the view, its arrays and the quantizer */
	int pins;
	bool current; /* still the cache's */
	bool half; /* vectors have half floats */
	DsMeta meta;
	DsLayout layout;
	DsArena arena;
	float *origin;
	DsQuantizer quantizer; /* when meta.dimension is known */
	Oid index;
	uint32 centroids;
	const float **centroid; /* [centroids]: of d floats each; NULL: not read yet */
	float *spare; /* [spares, d]: room for those read next */
	uint32 spares;
	DsListEntry *entry; /* [meta.lists] */
	BlockNumber *directory_page; /* of each DS_ENTRIES_PER_PAGE entries */
	uint32 centroid_room, entry_room, directory_room; /* sizes of the arrays */
	struct DsRoute *route; /* route.c */
	DsRecent recent; /* pages of the index */
	DsRecent heap; /* pages of the table */
} DsView;

/* Read a centroid that the view does not have yet; see there. */
extern const float *ds_view_read_centroid(DsView *view, uint32 i);

/* It is best to hold no page's lock where this may read a page. */
static inline const float *
ds_view_centroid(const DsView *view, uint32 i)
{
	const float *centroid = view->centroid[i];

	return likely(centroid != NULL) ? centroid
									: ds_view_read_centroid(unconstify(DsView *, view), i);
}

/* Load it into the processor's cache, if the view has it. */
static inline void
ds_view_touch_centroid(const DsView *view, uint32 i)
{
	const char *from = (const char *) view->centroid[i];

	for (Size at = 0; from != NULL && at < Min(view->meta.dimension * sizeof(float), 1024);
		 at += 64)
		ds_prefetch(from + at);
}

/*
 * The index as it is now: stays valid until the next call for the same index,
 * or as long as it is pinned.  A pin ends with the memory context.
 */
extern DsView *ds_view_get(Relation index);
extern void ds_view_pin(DsView *view, MemoryContext context);

/* Raise 22000: a vector does not have the index's dimension. */
extern void ds_view_check_dimension(const DsView *view, int dimension);

/* ---- filter.c: filter columns (filter.h) ---- */

/* meta gets what kinds of numbers the index's filter columns have; an error if they cannot. */
extern void ds_filter_describe(Relation index, DsMeta *meta);

/*
 * What a block keeps of a row's filter columns, outside of a block:
 * layout->filter_size bytes at any address.  values and isnull are those of
 * all columns of the index.
 */
extern void ds_filter_row(Relation index, const DsLayout *layout, const Datum *values,
						  const bool *isnull, void *row);

extern void ds_block_put_filter(const DsLayout *layout, DsBlock *block, uint32 row,
								const void *filter);
extern void ds_block_get_filter(const DsLayout *layout, DsBlock *block, uint32 row, void *filter);

/* ---- plan.c: clauses that the planner leaves out ---- */
extern void ds_init_plan(void);

/*
 * The index conditions of an ordered scan with those that the planner has left
 * out and that will be added; NIL if there are none.
 */
extern List *ds_plan_conditions(struct PlannerInfo *root, struct IndexPath *path);

/* ---- route.c: which lists are near a query ---- */

/*
 * Append centroids to the vectors, and their codes to the routes; meta as for
 * ds_vectors_append().  view is what the index has now; NULL when it is built.
 * Caller holds the shape lock.
 */
extern void ds_centroids_append(Relation index, bool direct, DsMeta *meta,
								const DsQuantizer *quantizer, const DsView *view,
								const float *centroids, uint32 count);

/* Read what meta has and the view has not; then view->entry must be new, too. */
extern void ds_route_refresh(Relation index, DsView *view);

/* Where a centroid begins in the chain of vectors */
extern BlockNumber ds_route_page(const DsView *view, uint32 centroid);

/* Are the code and the page of a centroid those that ds_centroids_append() wrote? */
extern bool ds_route_check(const DsView *view, uint32 centroid);

/* Bytes of the stream of pages for so many centroids */
extern uint64 ds_route_bytes(uint32 dimension, uint32 centroids);

/* Lists have places, here and there; how many: a multiple of 32 */
extern uint32 ds_route_places(const DsView *view);
extern uint32 ds_route_list(const DsView *view, uint32 place);

/*
 * A lower bound of ds_list_key() for the list at each place, as good as 1-bit
 * bounds are; never NaN or infinity, which stands in places without a list.
 */
extern void ds_route(const DsView *view, const DsQuery *query, float *bound);

/* The list whose centroid is nearest to a placed vector; there is at least one list. */
extern uint32 ds_view_nearest(const DsView *view, const float *y);

/* ---- write.c: whole lists ---- */

/* A row as it goes into a list */
typedef struct DsRow
{
	ItemPointerData tid;
	uint32 centroid;
	DsSignFactors sign;
	DsRowFactors factors;
	const uint8 *signs; /* [groups] */
	const int8 *bytes; /* [d] */
	const void *filter; /* [layout->filter_size] */
} DsRow;

typedef struct DsListWriter DsListWriter;

/*
 * Write a list page by page.  blocks is how many blocks the rows will fill;
 * rows of one centroid follow each other.
 */
extern DsListWriter *ds_writer_begin(Relation index, bool direct, const DsLayout *layout,
									 uint32 list, uint32 generation, uint64 blocks);
extern void ds_writer_row(DsListWriter *writer, const DsRow *row);
extern void ds_writer_end(DsListWriter *writer, DsListEntry *entry);

/* Write (part of) a row into its area: offset counts from the area's beginning. */
extern void ds_area_write(Relation index, DsLog *log, const DsLayout *layout, DsBlock *block,
						  uint32 list, uint32 generation, Size offset, const void *data, Size size);

/*
 * Read a part of an area; what was never written is zeros.  False when a page
 * has become another list's.
 */
extern bool ds_area_read(Relation index, const DsLayout *layout, DsBlock *block, uint32 list,
						 uint32 generation, Size offset, void *data, Size size);

/* Where the area of the block after this one (NULL: none) begins. */
extern void ds_area_next(const DsLayout *layout, DsBlock *previous, DsBlock *block);

/* ---- build.c, insert.c, split.c, scan.c, vacuum.c ---- */
extern IndexBuildResult *ds_index_build(Relation heap, Relation index, IndexInfo *info);
extern void ds_index_build_empty(Relation index);
extern char *ds_index_phase_name(int64 phase);
extern uint32 ds_list_rows(const DsLayout *layout, double rows); /* how many a list should have */
extern int ds_index_typmod(Relation index);

extern bool ds_index_insert(Relation index, Datum *values, bool *isnull, ItemPointer tid,
							Relation heap, IndexUniqueCheck unique, bool unchanged,
							IndexInfo *info);
/*
 * Write a list anew, in two if it is large and split is asked for.  False when
 * somebody else is changing lists; nothing was done then.
 */
extern bool ds_list_rewrite(Relation index, uint32 list, bool split);

/*
 * Write a list anew, with rows encoded for its own centroid where the callback
 * gives their vectors (as the user gave them; false: this row stays as it is).
 * Takes the locks and waits for them.  Returns how many rows were encoded; 0
 * when there was nothing to do: all rows are coded for the list's centroid
 * and no third of the places is free.
 */
typedef bool (*DsVectorCallback)(void *state, ItemPointer tid, DsEmbeddingView *vector);

extern uint64 ds_list_recode(Relation index, uint32 list, DsVectorCallback callback, void *state);

/*
 * Give the rows of lists that have few to their nearest other lists (merge.c);
 * how many lists went.  The caller's lock of the table keeps VACUUM out.
 */
extern uint32 ds_lists_merge(Relation index);

extern IndexScanDesc ds_index_begin(Relation index, int keys, int orderbys);
extern void ds_index_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys,
							int norderbys);
extern bool ds_index_next(IndexScanDesc scan, ScanDirection direction);
extern void ds_index_end(IndexScanDesc scan);
extern uint32 ds_probes_for(const DsMeta *meta, int stage, double recall);
extern double ds_probes_at(const DsMeta *meta, double stage, double recall);
extern uint32 ds_least_probes(double recall);
extern double ds_expected_recall(double recall); /* what the curve says that a target gives */
extern double ds_gap_for(const DsMeta *meta, int stage, double recall);

/* Lists that a scan for a few rows opens, on average: for the planner */
extern double ds_expected_probes(const DsMeta *meta, double recall);

/* A query may need so many times the lists that most do. */
#define DS_MOST_TIMES 4

/* What neighbours and their lists say about the curve (curve.c) */
extern void ds_curve_store(DsRanks *ranks, uint32 curve[DS_CURVE_ROWS][DS_CURVE_RECALLS],
						   float curve_gap[DS_CURVE_ROWS][DS_CURVE_RECALLS]);

/* How much farther a list is than the nearest one, from their keys */
static inline double
ds_list_gap(const DsMeta *meta, double query_norm, double nearest, double key)
{
	/* products grow with the query's length; squared distances have only a part that does */
	return meta->metric != DS_METRIC_IP ? key - nearest
		   : query_norm > 0				? (key - nearest) / query_norm
										: 0;
}
extern double ds_list_key(const DsMeta *meta, double query_norm, float key, float radius);

extern IndexBulkDeleteResult *ds_index_bulk_delete(IndexVacuumInfo *info,
												   IndexBulkDeleteResult *stats,
												   IndexBulkDeleteCallback callback, void *state);
extern IndexBulkDeleteResult *ds_index_cleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats);

#endif /* DS_INDEX_H */
