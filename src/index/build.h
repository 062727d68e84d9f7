/*
 * build.h
 *		The state of a build, shared by build.c and curve.c.
 */
#ifndef DS_INDEX_BUILD_H
#define DS_INDEX_BUILD_H

#include "index/index.h"

#include "base/random.h"
#include "access/tableam.h"
#include "commands/progress.h"
#include "executor/tuptable.h"
#include "quant/kmeans.h"
#include "utils/tuplesort.h"

typedef struct BuildList
{
	uint64 rows;
	float radius;
} BuildList;

typedef struct Curve Curve;

typedef struct Build
{
	MemoryContext context; /* of all */
	MemoryContext row_context; /* of one row */
	MemoryContext batch_context; /* of one batch */
	Relation heap;
	Relation index;
	IndexInfo *info;
	bool half; /* vectors have half floats */
	DsMeta meta;
	DsLayout layout;
	DsRandom random;
	double rows; /* with NULL ones */

	float *sample; /* [samples, d] */
	ItemPointerData *sample_tid;
	uint64 samples;
	uint64 sample_room;
	double expected; /* rows, as the planner knows them */
	uint64 sampled_from; /* rows that the sample was drawn from */

	DsArena arena; /* quantizer, and the coarse level of the router */
	DsQuantizer quantizer;
	DsArena router_arena; /* gone after the last row */
	DsRouter router;
	float *centroid; /* [lists, d] */
	uint32 lists;
	BuildList *list;

	float *batch; /* [batch_room, d], placed */
	ItemPointerData *batch_tid;
	DsPlace *batch_place;
	char *batch_filter; /* [batch_room, layout.filter_size] */
	uint32 *batch_list;
	uint32 batch_room;
	uint32 batched;
	DsCoded coded;
	uint64 assigned;
	Size rows_bytes; /* taken for batch, router, curve */

	Tuplesortstate *sort;
	SortCoordinate coordinate; /* of a parallel build */
	int sort_memory; /* kB */
	Size sort_bytes; /* put into this run */
	TupleTableSlot *slot; /* to put */
	TupleTableSlot *sorted; /* to get */
	struct varlena *payload;

	BlockNumber tids_tail[2];
	Curve *curve;

	/* a parallel build: parallel.c */
	struct DsSharedBuild *shared; /* NULL: there is one process */
	struct BuildLeader *leader; /* in the leader only */
} Build;

/* ---- build.c, for parallel.c and sample.c ---- */

/* Phases of pg_stat_progress_create_index */
enum
{
	DS_PHASE_SAMPLE = PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE + 1,
	DS_PHASE_CLUSTER,
	DS_PHASE_ASSIGN,
	DS_PHASE_SORT,
	DS_PHASE_WRITE
};

/* A phase begins, of so many steps */
extern void ds_build_phase(int64 phase, int64 total);

/* How many lists an index of so many rows should have */
extern uint32 ds_build_lists(const DsMeta *meta, double rows);

/*
 * Get ready for rows: meta, quantizer, router, centroids and lists are there.
 * memory (kB) is what this process may use, all but the centroids: batch,
 * router, curve and sort together.
 */
extern void ds_build_begin_rows(Build *build, int memory, SortCoordinate coordinate);

/* The sort of a build, empty; memory in kB */
extern Tuplesortstate *ds_build_sort(int64 memory, SortCoordinate coordinate);

/* maintenance_work_mem in kB, less what is taken in bytes; at least a part of it */
extern int ds_build_memory_less(Size taken);

/* All rows of the table, or those that scan gives, into the sort; how many there were. */
extern double ds_build_rows(Build *build, TableScanDesc scan);

/* ---- sample.c ---- */

/* Take a row's vector; false for NULL.  Checks its dimension. */
extern bool ds_build_vector(Build *build, Datum value, bool isnull, struct DsEmbeddingView *vector);

/* Sample rows of the table; *rows gets an estimate of how many have a vector. */
extern void ds_build_sample(Build *build, double *rows);

/* ---- parallel.c ---- */

/*
 * Rows into the sort by several processes: false when there are none to be
 * had; nothing was done then.  Else build->sort, build->list, build->rows,
 * build->assigned and the curve are those of all processes, until
 * ds_build_parallel_end(), which must be called after the sort was ended.
 */
extern bool ds_build_parallel(Build *build, int workers, double *scanned);
extern void ds_build_parallel_end(Build *build);

/* May this process begin a further run of the sort?  Their number is limited. */
extern bool ds_build_next_run(Build *build);

/* In any process: it has put so many further rows.  How many all have. */
extern uint64 ds_build_count_rows(Build *build, uint64 rows);

/* The mean of the sample [d], in the arena; it becomes the origin. */
extern float *ds_build_mean(Build *build);

/* The sample becomes placed; rows that have no place leave it. */
extern void ds_build_place_sample(Build *build);

/* Row ids during a build: nobody else writes. */
extern void ds_tids_insert_direct(Build *build, int chain, ItemPointer tid);

/*
 * The recall curve: choose queries from the placed sample, where they become
 * the first rows, and return how many; compare them with each batch of rows;
 * at the end, put the curve into build->meta.
 */
extern uint64 ds_curve_begin(Build *build);
extern Size ds_curve_bytes(const Build *build); /* of one process */
extern void ds_curve_rows_seen(Build *build, uint32 rows);
extern void ds_curve_finish(Build *build);

/*
 * A parallel build's: the leader gives the queries to its workers, each puts
 * what it found into its slot, the leader takes it from there.
 */
extern Size ds_curve_shared_size(const Build *build, int workers);
extern void ds_curve_share(const Build *build, void *space);
extern void ds_curve_attach(Build *build, void *space);
extern void ds_curve_put(const Build *build, void *space, int worker);
extern void ds_curve_take(Build *build, void *space, int worker);

#endif /* DS_INDEX_BUILD_H */
