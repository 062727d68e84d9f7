/*
 * build.h
 *		The state of a build, shared by build.c and curve.c.
 */
#ifndef DS_INDEX_BUILD_H
#define DS_INDEX_BUILD_H

#include "index/index.h"

#include "base/random.h"
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
	DsMeta meta;
	DsLayout layout;
	DsRandom random;
	double rows; /* with NULL ones */

	float *sample; /* [samples, d] */
	ItemPointerData *sample_tid;
	uint64 samples;
	uint64 sample_room;
	uint64 sample_wanted;
	uint64 sampled_from; /* rows that the sample was drawn from */

	DsArena arena; /* quantizer, router */
	DsQuantizer quantizer;
	DsRouter router;
	float *centroid; /* [lists, d] */
	uint32 lists;
	BuildList *list;

	float *batch; /* [batch_room, d], placed */
	ItemPointerData *batch_tid;
	DsPlace *batch_place;
	uint32 *batch_list;
	uint32 batch_room;
	uint32 batched;
	DsCoded coded;
	uint64 assigned;

	Tuplesortstate *sort;
	TupleTableSlot *slot; /* to put */
	TupleTableSlot *sorted; /* to get */
	struct varlena *payload;

	BlockNumber tids_tail[2];
	Curve *curve;
} Build;

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
extern void ds_curve_rows_seen(Build *build, uint32 rows);
extern void ds_curve_finish(Build *build);

#endif /* DS_INDEX_BUILD_H */
