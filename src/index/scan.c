/*
 * scan.c
 *		Rows in the order of their distance, without knowing how many are wanted.
 *
 * A scan goes in rounds.  A round opens the lists whose centroids are nearest
 * among those not opened yet, reads all their 1-bit codes and keeps a bound for
 * each row.  Then, one row at a time: as long as the least 1-bit bound is below
 * the least true bound, its row is refined, that is, its 8-bit code is read and
 * gives a true bound; otherwise the row with the least true bound is fetched,
 * which gives what the operator says of it (heap.c).  A row goes to the
 * executor, with that value, when no bound is below it any more.
 *
 * Where the value cannot be computed here, because the index is on an expression
 * or the table is not a heap, the row goes to the executor with its bound.  The
 * executor computes the value, and holds the row back until a bound says that
 * no nearer one can come (xs_recheckorderby; IndexNextWithReorder() in
 * nodeIndexscan.c).  A bound that is too low costs a longer queue, and one that
 * is too high is an error there; the bounds of quant/query.h are never too high.
 *
 * How many lists a round opens comes from the recall curve: enough for the
 * first ten rows at deepsearch.target_recall, more when the executor goes on
 * (round_rows[]), and so on until all lists are open.  Bounds of a later round
 * may be below those returned before: then rows come in a slightly different
 * order than their distances, which is what a recall below one means.  When
 * target_recall is 1, no row leaves before every list that could have a nearer
 * one was read: lists are taken in the order of the true bound of all their
 * rows, and every row is refined, because 1-bit bounds fail now and then.
 *
 * After the lists come the rows of length zero (cosine), whose distance is NaN,
 * then the rows that are NULL.  If the query is NULL, or of length zero under
 * cosine, all rows are equal and the lists are read as they stand; likewise if
 * no order is asked for, as the planner may do with a partial index.
 */
#include "index/scan.h"

#include <float.h>
#include <math.h>

#include "access/relscan.h"
#include "catalog/pg_type.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_bitutils.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "vector/embedding.h"
#include "vector/kernels.h"

DsScanCounts ds_last_scan;

/*
 * Rows returned when the lists for 10, 100, 1000 rows are no longer enough.
 * A few rows more than ten or a hundred should not cost a round: the executor
 * takes some more where it computes the distances, and conditions leave some out.
 */
static const uint64 round_rows[DS_CURVE_ROWS] = {24, 130, 1200};

/* Rows and lists that are put in order at first; most queries need fewer. */
#define NEAR_ROWS 64
#define NEAR_LISTS 32

/* Lists whose exact keys are computed at a time, about */
#define LISTS_SETTLED 8

/*
 * 1-bit bounds that may be too high, as a part of what the target lets miss.
 * A row is lost to it only if the bound is beyond the last row returned, which
 * is one in eight or so: this leaves a tenth of what may be missed to bounds.
 */
#define MISSES_ALLOWED 0.8

/* Rows refined at a time: at first, later at least, and what part of those refined so far */
#define REFINE_FIRST 24
#define REFINE_LEAST 12
#define REFINE_PART 3

/* Lists ahead whose first pages are loaded into the processor's cache */
#define TOUCHED 2

DS_HEAP(Waiting, waiting, key)
DS_HEAP(Refined, refined, bound)

/* ---- memory ---- */

/*
 * The arrays of a scan are large for what the C library gives back to the
 * operating system, and to get them anew, page by page, would take as long as
 * the scan.  So those of the last scan are kept for the next one.
 */
#define KEPT_MOST (8 * 1024 * 1024)

static DsScan kept; /* arrays and their rooms only; free while kept.arrays is not NULL */

#define FOR_ARRAYS(DO)                     \
	DO(waiting, waiting_room)              \
	DO(lists.bound, lists.room)            \
	DO(lists.near_bound, lists.near_room)  \
	DO(lists.near_place, lists.place_room) \
	DO(probe, probe_room)                  \
	DO(refs, ref_room)                     \
	DO(rows.bound, rows.room)              \
	DO(rows.near_bound, rows.near_room)    \
	DO(rows.near_place, rows.place_room)   \
	DO(row_tid, row_tid_room)              \
	DO(refined, refined_room)              \
	DO(known, known_room)                  \
	DO(batch, batch_room)                  \
	DO(tid, tid_room)                      \
	DO(spill, spill_room)                  \
	DO(page, page_room)

/* The end of state->context, however it comes */
static void
leave_arrays(void *pointer)
{
	DsScan *state = pointer;

	if (kept.arrays != NULL || MemoryContextMemAllocated(state->arrays, false) > KEPT_MOST)
		MemoryContextDelete(state->arrays);
	else
	{
#define LEAVE(array, room_)    \
	kept.array = state->array; \
	kept.room_ = state->room_;
		FOR_ARRAYS(LEAVE)
		kept.arrays = state->arrays;
	}
	state->arrays = NULL;
}

static void
take_arrays(DsScan *state)
{
	MemoryContextCallback *callback =
		MemoryContextAllocZero(state->context, sizeof(MemoryContextCallback));

	if (kept.arrays != NULL)
	{
#define TAKE(array, room_)     \
	state->array = kept.array; \
	state->room_ = kept.room_;
		FOR_ARRAYS(TAKE)
		state->arrays = kept.arrays;
		kept.arrays = NULL;
	}
	else
		state->arrays = AllocSetContextCreate(CacheMemoryContext, "deepsearch scan arrays",
											  ALLOCSET_SMALL_SIZES);
	state->rows.arrays = state->lists.arrays = state->arrays;
	callback->func = leave_arrays;
	callback->arg = state;
	MemoryContextRegisterResetCallback(state->context, callback);
}

/* ---- begin, end ---- */

IndexScanDesc
ds_index_begin(Relation index, int keys, int orderbys)
{
	IndexScanDesc scan = RelationGetIndexScan(index, keys, orderbys);
	DsScan *state = palloc0(sizeof(DsScan));

	state->context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch scan", ALLOCSET_DEFAULT_SIZES);
	scan->opaque = state;
	if (orderbys > 0)
	{
		scan->xs_orderbyvals = palloc0(sizeof(Datum) * orderbys);
		scan->xs_orderbynulls = palloc(sizeof(bool) * orderbys);
		memset(scan->xs_orderbynulls, true, sizeof(bool) * orderbys);
	}
	return scan;
}

void
ds_index_rescan(IndexScanDesc scan, ScanKey keys, int nkeys pg_attribute_unused(), ScanKey orderbys,
				int norderbys pg_attribute_unused())
{
	DsScan *state = scan->opaque;
	MemoryContext context = state->context;

	if (state->started)
		ds_last_scan = state->counts;
	MemoryContextReset(context);
	memset(state, 0, sizeof(*state));
	state->context = context;
	if (keys != NULL && scan->numberOfKeys > 0)
		memmove(scan->keyData, keys, scan->numberOfKeys * sizeof(ScanKeyData));
	if (orderbys != NULL && scan->numberOfOrderBys > 0)
		memmove(scan->orderByData, orderbys, scan->numberOfOrderBys * sizeof(ScanKeyData));
}

void
ds_index_end(IndexScanDesc scan)
{
	DsScan *state = scan->opaque;

	if (state->started)
		ds_last_scan = state->counts;
	MemoryContextDelete(state->context);
	pfree(state);
	scan->opaque = NULL;
}

/* ---- rounds ---- */

static double
list_key(const DsScan *state, uint32 list)
{
	const DsView *view = state->view;
	const DsListEntry *entry = &view->entry[list];
	const float *centroid = ds_view_centroid(view, entry->centroid);
	uint32 d = view->meta.dimension;
	float key = 0;

	/* one vector of many, for it rounds as the measurement of the curve does */
	(view->meta.metric == DS_METRIC_IP
		 ? ds_kernels()->inner_product_many
		 : ds_kernels()->l2_squared_many)(state->query->placed, centroid, d, 1, d, &key);
	return ds_list_key(&view->meta, state->query->norm, key, entry->radius);
}

static void
push_waiting(DsScan *state, double key, uint32 list)
{
	state->waiting = ds_scan_grow(state, state->waiting, &state->waiting_room, state->waitings + 1,
								  sizeof(Waiting));
	state->waiting[state->waitings].key = key;
	state->waiting[state->waitings].list = list;
	waiting_up(state->waiting, state->waitings++);
}

/*
 * Put the lists in order.  An exact scan has them in the order of the least
 * bound of their rows.  Otherwise it is that of ds_list_key(): bounds of all
 * from 1-bit codes of their centroids (route.c), the exact key when a list
 * comes near the front.
 */
static void
rank_lists(DsScan *state)
{
	DsView *view = state->view;
	uint32 lists = view->meta.lists;

	state->waits = lists;
	if (state->exact)
		for (uint32 i = 0; i < lists; i++)
		{
			DsProbe probe;
			double key;

			CHECK_FOR_INTERRUPTS();
			ds_query_probe(state->query, ds_view_centroid(view, view->entry[i].centroid), &probe);
			key = ds_query_list_bound(state->query, &probe, view->entry[i].radius);
			push_waiting(state, key == key ? key : state->least, i);
		}
	else
	{
		state->lists.count = ds_route_places(view);
		state->lists.bound = ds_scan_grow(state, state->lists.bound, &state->lists.room,
										  state->lists.count, sizeof(float));
		state->lists.left = lists;
		ds_route(view, state->query, state->lists.bound);
	}
}

/* Make the nearest list that is not open the top of the heap; there must be one. */
static void
settle_waiting(DsScan *state)
{
	while (state->lists.left > 0)
	{
		float least = ds_pool_least(&state->lists);
		uint32 list[LISTS_SETTLED * 2];
		uint32 count;

		if (state->waitings > 0 && !(least < state->waiting[0].key))
			break;
		count = ds_pool_take(&state->lists, LISTS_SETTLED, list, lengthof(list));
		for (uint32 i = 0; i < count; i++)
		{
			list[i] = ds_route_list(state->view, list[i]);
			ds_view_touch_centroid(state->view, state->view->entry[list[i]].centroid);
		}
		for (uint32 i = 0; i < count; i++)
			push_waiting(state, list_key(state, list[i]), list[i]);
	}
}

static uint32
next_waiting(DsScan *state)
{
	uint32 list;

	settle_waiting(state);
	list = state->waiting[0].list;
	if (isinf(state->nearest) && !isinf(state->waiting[0].key))
		state->nearest = state->waiting[0].key;
	state->waiting[0] = state->waiting[--state->waitings];
	waiting_down(state->waiting, state->waitings, 0);
	state->waits--;
	state->opened++;
	return list;
}

/*
 * Which lists should be open in a round: at least so many, at most so many, and
 * those up to a gap.
 */
typedef struct Target
{
	uint32 least;
	uint32 most;
	double gap;
} Target;

/*
 * Where on the recall curve a round is: 0 for the first ten rows, 1 for a
 * hundred, 2 for a thousand; then each round doubles them.  The rows that pass
 * a filter are farther away than the nearest of all: to find ten where one row
 * of a hundred passes is to look as far as for a thousand.  How many pass is
 * seen in the lists opened so far.
 */
static double
curve_stage(const DsScan *state)
{
	double last = DS_CURVE_ROWS - 1;
	double passed = (double) state->counts.codes;
	double stage = Min(state->round, last) + log10(2) * Max(state->round - last, 0);

	if (state->filter != NULL)
		stage += log10((passed + state->counts.filtered + 1) / (passed + 1));
	return stage;
}

static Target
target_of_round(const DsScan *state)
{
	const DsMeta *meta = &state->view->meta;
	double recall = ds_setting_target_recall;
	Target target = {0, 0, INFINITY};
	double most;

	if (ds_setting_probes > 0)
		most = (double) ((uint64) ds_setting_probes << Min(2 * state->round, 31));
	else
	{
		double stage = curve_stage(state);
		int low = Min((int) stage, DS_CURVE_ROWS - 2);
		double part = stage - low; /* above 1 beyond the curve's end */
		double gap[2];

		most = ds_probes_at(meta, stage, recall);
		for (int i = 0; i < 2; i++)
			gap[i] = ds_gap_for(meta, low + i, recall);
		if (!isinf(gap[1]) && (part <= 1 || state->filter != NULL))
		{
			target.gap = gap[0] + part * (gap[1] - gap[0]);
			most *= DS_MOST_TIMES;
			target.least = ds_least_probes(recall);
		}
	}
	target.most = (uint32) Min(Max(most, state->opened), meta->lists);
	if (isinf(target.gap))
		target.least = target.most;
	return target;
}

static bool
enough_open(DsScan *state, const Target *target)
{
	if (state->opened < target->least)
		return false;
	if (state->opened >= target->most || state->waits == 0)
		return true;
	settle_waiting(state);
	return ds_list_gap(&state->view->meta, state->query->norm, state->nearest,
					   state->waiting[0].key) > target->gap;
}

/* How many rows may wait before no more are collected */
static uint64
row_limit(void)
{
	return Max((uint64) work_mem * 1024 / (sizeof(float) + sizeof(ItemPointerData)), 4096);
}

/* Open the lists of a round until something was found, or memory is used up. */
static void
open_round(Relation index, DsScan *state)
{
	Target target = target_of_round(state);
	uint64 limit = row_limit();
	uint32 ahead[16];
	uint32 first = 0;
	uint32 count = 0;
	int64 misses = pgBufferUsage.shared_blks_read + pgBufferUsage.local_blks_read;

	state->lists.wanted = Max(2 * (uint64) target.least, NEAR_LISTS);
	if (state->rows.left == 0)
		state->rows.count = state->ref_count = state->probes = 0;
	while (state->waits > 0 || count > 0)
	{
		/* take a few lists, to ask for their pages if pages turn out not to be cached */
		if (count == 0)
		{
			bool cold = pgBufferUsage.shared_blks_read + pgBufferUsage.local_blks_read != misses;

			if (state->filter != NULL)
				target = target_of_round(state);
			if ((state->rows.left > 0 && enough_open(state, &target)) || state->rows.left > limit)
				break;
			first = 0;
			while (count < lengthof(ahead) && state->waits > 0 &&
				   (count == 0 || !enough_open(state, &target)))
			{
				ahead[count] = next_waiting(state);
				if (count < TOUCHED)
					ds_scan_touch(state, ahead[count]);
				count++;
			}
			if (cold)
				for (uint32 i = 0; i < count; i++)
					ds_scan_prefetch(index, state, ahead[i]);
		}
		if (count > TOUCHED)
			ds_scan_touch(state, ahead[first + TOUCHED]);
		ds_scan_read_list(index, state, ahead[first++], READ_CANDIDATES);
		count--;
	}
	state->rows.wanted = NEAR_ROWS;
	ds_pool_order(&state->rows);
}

/*
 * Refine the next rows.  A page of codes is looked up once for all of them
 * that it has, so it pays to take more than one at a time; more the more
 * were needed so far.
 */
static void
refine_next(Relation index, DsScan *state)
{
	uint32 place[DS_REFINE_MOST];
	uint64 done = (uint64) state->counts.refined;
	uint64 wanted = done == 0 ? REFINE_FIRST : Max(done / REFINE_PART, REFINE_LEAST);
	uint32 count;

	CHECK_FOR_INTERRUPTS();
	count = ds_pool_take(&state->rows, (uint32) Min(wanted, DS_REFINE_MOST), place, DS_REFINE_MOST);
	ds_scan_refine(index, state, place, count);
	for (uint32 i = 0; i < count; i++)
	{
		refined_up(state->refined, state->refineds);
		state->refineds++;
	}
}

/* ---- the next row ---- */

static Refined
pop(Refined *heap, uint64 *count)
{
	Refined top = heap[0];

	heap[0] = heap[--*count];
	refined_down(heap, *count, 0);
	return top;
}

static void
push(DsScan *state, Refined **heap, uint64 *count, uint64 *room, const Refined *row)
{
	*heap = ds_scan_grow(state, *heap, room, *count + 1, sizeof(Refined));
	(*heap)[*count] = *row;
	refined_up(*heap, (*count)++);
}

/* The least bound of a row that was refined, and whose distance is not known yet */
static double
least_bound(const DsScan *state)
{
	double least = state->refineds > 0 ? state->refined[0].bound : INFINITY;

	return state->aheads > 0 ? Min(least, state->ahead[0].bound) : least;
}

/*
 * The nearest rows whose bounds are at most top go ahead: first where they are
 * on their pages is loaded, then the rows, so that several are under way at a
 * time.  A row refined later that is nearer takes the place of the last.
 */
static void
load_ahead(DsScan *state, double top)
{
	while (state->refineds > 0 && !(state->refined[0].bound > top))
	{
		Refined row;
		uint32 at;

		if (state->aheads == DS_AHEAD)
		{
			if (!(state->refined[0].bound < state->ahead[DS_AHEAD - 1].bound))
				break;
			row = state->ahead[--state->aheads];
			push(state, &state->refined, &state->refineds, &state->refined_room, &row);
		}
		row = pop(state->refined, &state->refineds);
		for (at = state->aheads++; at > 0 && row.bound < state->ahead[at - 1].bound; at--)
			state->ahead[at] = state->ahead[at - 1];
		state->ahead[at] = row;
		state->touched = Min(state->touched, at);
		ds_heap_expect(state, &row.tid);
	}
	for (; state->touched < Min(state->aheads, DS_AHEAD_TOUCHED); state->touched++)
		ds_heap_touch(state, &state->ahead[state->touched].tid);
}

static Refined
next_ahead(DsScan *state)
{
	Refined row = state->ahead[0];

	state->aheads--;
	state->touched -= state->touched > 0;
	memmove(state->ahead, state->ahead + 1, state->aheads * sizeof(Refined));
	return row;
}

/*
 * The next row that a distance decides about, with the distance if that is
 * known, else with a bound; false when there is none left.
 */
static bool
next_by_distance(IndexScanDesc scan, Refined *row, bool *known)
{
	DsScan *state = scan->opaque;
	Relation index = scan->indexRelation;

	for (;;)
	{
		double top;

		if (state->exact)
		{
			while (state->waits > 0)
			{
				double least = least_bound(state);
				uint64 before;

				if (state->knowns > 0)
					least = Min(least, state->known[0].bound);
				if (!(state->waiting[0].key <= least))
					break;

				before = state->refineds;
				ds_scan_read_list(index, state, next_waiting(state), READ_REFINED);
				for (uint64 i = before; i < state->refineds; i++)
					refined_up(state->refined, i);
			}
		}
		else if (state->waits > 0)
		{
			bool empty = state->rows.left == 0 && state->refineds == 0 && state->aheads == 0 &&
						 state->knowns == 0;

			if (state->counts.returned >= (int64) state->round_until || empty)
			{
				if (state->counts.returned >= (int64) state->round_until)
				{
					state->round++;
					state->round_until = state->round < DS_CURVE_ROWS ? round_rows[state->round]
																	  : state->round_until * 2;
				}
				if (empty || state->rows.left <= row_limit())
					open_round(index, state);
				continue;
			}
		}

		/* 1-bit bounds of rows that are not refined; true bounds of those that are */
		top = state->rows.left > 0
				  ? ds_query_key_to_operator(state->query, ds_pool_least(&state->rows))
				  : INFINITY;
		if (state->knowns > 0 && state->known[0].bound <= Min(top, least_bound(state)))
		{
			*row = pop(state->known, &state->knowns);
			*known = true;
			return true;
		}
		load_ahead(state, top);
		if (state->aheads > 0 && !(state->ahead[0].bound > top))
		{
			DsHeapRow kind;
			double distance;

			*row = next_ahead(state);
			kind = ds_heap_distance(scan, &row->tid, &distance);
			state->counts.fetched++;
			if (kind == DS_HEAP_UNKNOWN)
			{
				*known = false;
				return true;
			}
			if (kind == DS_HEAP_KNOWN)
			{
				row->bound = distance;
				push(state, &state->known, &state->knowns, &state->known_room, row);
			}
			CHECK_FOR_INTERRUPTS();
			continue;
		}
		if (state->rows.left > 0)
		{
			refine_next(index, state);
			continue;
		}
		if (state->waits == 0 && state->refineds == 0 && state->aheads == 0 && state->knowns == 0)
			return false;
	}
}

/* The next row of lists and chains as they stand */
static bool
next_as_stored(Relation index, DsScan *state, ItemPointer tid)
{
	while (state->tid_next >= state->tids)
	{
		state->tids = state->tid_next = 0;
		if (state->chain < 0 && state->next_list < state->view->meta.lists)
			ds_scan_read_list(index, state, state->next_list++, READ_TIDS);
		else if (state->chain < 0 || !ds_scan_read_tids(index, state))
		{
			/* the zero ones, then the NULL ones, then the end */
			if (state->chain == DS_TIDS_NULL)
				return false;
			state->chain = state->chain < 0 ? DS_TIDS_ZERO : DS_TIDS_NULL;
			state->tid_page = state->view->meta.tids_head[state->chain];
			state->tid_ordinal = 0;
		}
		CHECK_FOR_INTERRUPTS();
	}
	*tid = state->tid[state->tid_next++];
	return true;
}

static void
start(IndexScanDesc scan)
{
	DsScan *state = scan->opaque;
	DsView *view;
	DsArena arena;
	DsStatus status;
	DsEmbeddingView vector;
	ScanKey key;

	/*
	 * Row ids are returned after their page was unlocked, so the row may be
	 * another one by then: only a snapshot hides that (page.h).
	 */
	if (!IsMVCCSnapshot(scan->xs_snapshot))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("access method \"deepsearch\" needs an MVCC snapshot")));

	if (scan->xs_want_itup)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("access method \"deepsearch\" has no index-only scans")));

	DS_COUNT_INDEX_SCAN(scan);
	state->started = true;
	state->chain = -1;
	take_arrays(state);
	view = state->view = ds_view_get(scan->indexRelation);
	ds_view_pin(view, state->context);
	ds_heap_begin(scan);
	state->ordered = scan->numberOfOrderBys > 0;
	if (scan->numberOfKeys > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(state->context);

		state->filter = ds_filter_prepare(scan, &view->layout);
		MemoryContextSwitchTo(old);
		if (state->filter->never || state->filter->null_vectors)
			return;
	}
	if (!state->ordered)
	{
		state->same = true;
		return;
	}
	key = &scan->orderByData[0];
	if (key->sk_flags & SK_ISNULL)
	{
		state->same = state->same_null = true;
		return;
	}
	ds_index_vector(view->half, key->sk_argument, &vector);
	ds_view_check_dimension(view, vector.dim);
	if (view->meta.dimension == 0 || view->meta.lists == 0)
	{
		/* no row has a distance: NULL rows, or zero ones */
		return;
	}

	ds_server_arena(&arena, state->context);
	state->query = ds_query_new(&view->quantizer, &arena, &status);
	if (state->query == NULL)
		ds_check(DS_OUT_OF_MEMORY, &status);
	if (ds_query_set(state->query, vector.x) == DS_PLACE_ZERO)
	{
		state->same = true;
		ds_embedding_done(&vector);
		return;
	}
	ds_heap_query(scan, key->sk_argument);
	ds_embedding_done(&vector);
	ds_query_set_misses(state->query, MISSES_ALLOWED * (1 - ds_setting_target_recall));
	state->least = view->meta.metric == DS_METRIC_IP ? -INFINITY : 0.0;
	state->exact = ds_setting_target_recall >= 1 && ds_setting_probes == 0;
	state->ref_size =
		MAXALIGN(offsetof(BlockRef, page) + view->layout.code_pages * sizeof(BlockNumber));
	state->page = ds_scan_grow(state, state->page, &state->page_room, BLCKSZ, 1);
	state->spill = ds_scan_grow(state, state->spill, &state->spill_room, view->layout.rows_at, 1);
	rank_lists(state);
	if (!state->exact)
	{
		state->round_until = round_rows[0];
		state->nearest = INFINITY;
		open_round(scan->indexRelation, state);
	}
}

/* Give a row to the executor, with its value if that is known, else with a bound of it. */
static bool
give(IndexScanDesc scan, ItemPointer tid, double value, bool null, bool known)
{
	DsScan *state = scan->opaque;

	state->counts.returned++;
	scan->xs_heaptid = *tid;
	ds_heap_give(scan, tid);

	/* numbers of filter columns do not tell all values apart, and rows in chains have none */
	scan->xs_recheck = state->filter != NULL;
	scan->xs_recheckorderby = false;
	if (state->ordered)
	{
		IndexOrderByDistance distance[INDEX_MAX_KEYS];
		Oid type[INDEX_MAX_KEYS];

		/* further orders on the same column: the executor sorts out ties */
		for (int i = 0; i < scan->numberOfOrderBys; i++)
		{
			type[i] = FLOAT8OID;
			distance[i].value = i == 0 ? value : -get_float8_infinity();
			distance[i].isnull = i == 0 && null;
		}
		index_store_float8_orderby_distances(scan, type, distance, !known);
	}
	return true;
}

bool
ds_index_next(IndexScanDesc scan, ScanDirection direction)
{
	DsScan *state = scan->opaque;
	Refined row;
	bool known;
	bool null;

	Assert(ScanDirectionIsForward(direction));
	(void) direction;
	if (!state->started)
		start(scan);
	if (state->filter != NULL && state->filter->never)
		return false;
	if (!state->same)
	{
		if (state->query != NULL && next_by_distance(scan, &row, &known))
			return give(scan, &row.tid, row.bound, false, known);

		/* only what has no distance is left: past the lists, which were read */
		if (state->chain < 0)
			state->next_list = state->view->meta.lists;
	}
	if (!next_as_stored(scan->indexRelation, state, &row.tid))
		return false;
	null = state->same_null || state->chain == DS_TIDS_NULL;
	state->counts.fetched++;
	return give(scan, &row.tid, get_float8_nan(), null, false);
}
