/*
 * build.c
 *		CREATE INDEX and REINDEX.
 *
 * Stages, each named in pg_stat_progress_create_index:
 *
 *	1. sample	Blocks of the table at random, and of their rows as many as the
 *				memory allows, at random (Vitter's reservoir, as ANALYZE does).
 *				They tell the dimension (if the column's type does not), how many
 *				rows there are, hence how many lists.
 *	2. cluster	k-means over the sample: the centroids.
 *	3. assign	One pass over the table.  A few hundred rows at a time: the
 *				nearest centroid of each, its codes for that centroid, into a
 *				sort by list.  On the way a few of the sampled rows are compared
 *				with all others, exactly: they stand for queries, and their
 *				nearest rows' lists are the recall curve.
 *	4. write	In the order of the lists, block by block, straight into
 *				buffers; the log gets whole pages at the end.
 *
 * maintenance_work_mem: the sample and the scratch of k-means get it first,
 * then the sort, less what the centroids, the router, the curve and one batch
 * take.  docs/internals/index.md has measurements.
 */
#include "index/build.h"

#include <float.h>
#include <math.h>

#include "access/genam.h"
#include "access/parallel.h"
#include "access/tableam.h"
#include "access/xloginsert.h"
#include "catalog/index.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_type_d.h"
#include "commands/progress.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "pgstat.h"
#include "utils/backend_progress.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"
#include "vector/embedding.h"

/* Rows handled at a time */
#define BATCH_BYTES (1024 * 1024)

/*
 * A run of the sort that goes to disk: it is written without a look at
 * interrupts, at about 1 GB a second.  Where the merge would have too many to
 * read at once, they are longer.
 */
#define RUN_BYTES (32 * 1024 * 1024)
#define RUNS 100

/* Memory of a row in the sort, beside its payload */
#define SORT_ROW_BYTES 80

char *
ds_index_phase_name(int64 phase)
{
	switch (phase)
	{
		case PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE:
			return "initializing";
		case DS_PHASE_SAMPLE:
			return "sampling table";
		case DS_PHASE_CLUSTER:
			return "clustering sample";
		case DS_PHASE_ASSIGN:
			return "assigning rows to lists";
		case DS_PHASE_SORT:
			return "sorting by list";
		case DS_PHASE_WRITE:
			return "writing lists";
	}
	return NULL;
}

/* All at once, so that nobody sees a phase with the counters of another */
void
ds_build_phase(int64 phase, int64 total)
{
	const int index[] = {PROGRESS_CREATEIDX_SUBPHASE, PROGRESS_CREATEIDX_TUPLES_TOTAL,
						 PROGRESS_CREATEIDX_TUPLES_DONE};
	const int64 value[] = {phase, total, 0};

	pgstat_progress_update_multi_param(3, index, value);
}

/*
 * How many rows a list should have.  Routing costs a query the number of
 * lists, reading costs it the rows of those it opens; the product is least
 * when both grow like the root of the rows.  A list should also fill a page,
 * because a page is what is read.
 */
uint32
ds_list_rows(const DsLayout *layout, double rows)
{
	uint32 page = Min(layout->blocks_per_page, 8) * DS_BLOCK_ROWS;
	double wanted = sqrt(rows) / 3;

	return (uint32) Max(wanted, Max(page, 2 * DS_BLOCK_ROWS));
}

uint32
ds_build_lists(const DsMeta *meta, double rows)
{
	DsLayout layout;
	double lists;

	ds_layout_init(&layout, meta);
	lists = meta->wanted_lists > 0 ? meta->wanted_lists : rows / ds_list_rows(&layout, rows);
	return (uint32) Max(1, Min(lists, DS_MAX_LISTS));
}

/* ---- 2. cluster ---- */

static void
cluster_progress(void *context pg_attribute_unused(), uint64_t done, uint64_t total)
{
	const int index[] = {PROGRESS_CREATEIDX_TUPLES_DONE, PROGRESS_CREATEIDX_TUPLES_TOTAL};
	const int64 value[] = {(int64) done, (int64) total};

	pgstat_progress_update_multi_param(2, index, value);
}

static void
cluster(Build *build, double rows)
{
	uint32 d = build->meta.dimension;
	uint32 lists = ds_build_lists(&build->meta, rows);
	float *origin = NULL;
	DsKmeansOptions options;
	DsStatus status;
	DsArena scratch;

	ds_build_phase(DS_PHASE_CLUSTER, 0);
	ds_server_arena(&build->arena, build->context);
	ds_server_arena(&build->router_arena, build->context);
	ds_server_arena(&scratch, build->context);

	if (build->meta.metric == DS_METRIC_L2)
		origin = ds_build_mean(build);
	ds_check(ds_quantizer_init(&build->quantizer, build->meta.metric, d, build->meta.seed, origin,
							   &build->arena, &status),
			 &status);
	if (origin != NULL)
		build->meta.flags |= DS_META_ORIGIN;

	ds_build_place_sample(build);
	build->centroid =
		MemoryContextAllocHuge(build->context, mul_size(mul_size(lists, d), sizeof(float)));
	memset(&options, 0, sizeof(options));
	options.lists = lists;
	options.seed = build->meta.seed;
	options.memory = 4 * 1024 * 1024; /* tiles: more does not make them faster */
	options.cancel = ds_server_cancel;
	options.progress = cluster_progress;
	if (build->samples > 0)
	{
		/* rows that centroids were made of are nearer to them than others: queries are not among them */
		uint64 queries = ds_curve_begin(build);
		uint64 held = queries <= build->samples / 4 ? queries : 0;

		ds_check(ds_kmeans(build->sample + held * d, build->samples - held, d, &options, &scratch,
						   build->centroid, &build->lists, &status),
				 &status);
	}
	else
	{
		/* only rows of length zero so far */
		memset(build->centroid, 0, sizeof(float) * d);
		build->lists = 1;
	}
	ds_arena_free(&scratch);
	ds_check(ds_router_init(&build->router, build->centroid, build->lists, d, 0, &ds_server_cancel,
							&build->arena, &status),
			 &status);
}

/* ---- 3. assign ---- */

/*
 * The key to sort by: the list, then the place in the table, so that the index
 * does not depend on who read which part of the table.  20 bits of list (two
 * pseudo-lists for rows without a vector stand behind DS_MAX_LISTS), 32 of
 * block, and the lowest 12 of the line, which tells lines of a block apart for
 * all sizes of pages but 32 kB, where equal keys do no harm.
 */
#define KEY_LIST_SHIFT 44

StaticAssertDecl(DS_MAX_LISTS + 2 < 1 << 20, "lists fit the sort's key");

static int64
sort_key(uint32 list, ItemPointer tid)
{
	uint64 key = (uint64) list << KEY_LIST_SHIFT |
				 (uint64) ItemPointerGetBlockNumberNoCheck(tid) << 12 |
				 (ItemPointerGetOffsetNumberNoCheck(tid) & 0xFFF);

	/* the same order for signed numbers */
	return (int64) (key ^ (uint64) PG_INT64_MIN);
}

static uint32
key_list(int64 key)
{
	return (uint32) (((uint64) key ^ (uint64) PG_INT64_MIN) >> KEY_LIST_SHIFT);
}

/* What follows goes into a new run, unless there are too many already. */
static void
end_run(Build *build)
{
	MemoryContext old;

	build->sort_bytes = 0;
	if (!ds_build_next_run(build))
		return;
	tuplesort_performsort(build->sort);
	tuplesort_end(build->sort);
	old = MemoryContextSwitchTo(build->context); /* not that of a row */
	build->sort = ds_build_sort(build->sort_memory, build->coordinate);
	MemoryContextSwitchTo(old);
}

/* A row into the sort; coded is NULL for one without a vector. */
static void
put_row(Build *build, uint32 list, ItemPointer tid, const DsCoded *coded, const char *filter)
{
	TupleTableSlot *slot = build->slot;
	char *data = VARDATA(build->payload);
	DsLayout *layout = &build->layout;

	memcpy(data, tid, sizeof(ItemPointerData));
	data += sizeof(ItemPointerData);
	if (coded != NULL)
	{
		memcpy(data, &coded->sign, sizeof(DsSignFactors));
		data += sizeof(DsSignFactors);
		memcpy(data, &coded->row, sizeof(DsRowFactors));
		data += sizeof(DsRowFactors);
		memcpy(data, coded->signs, layout->groups);
		data += layout->groups;
		memcpy(data, coded->bytes, layout->dimension);
		data += layout->dimension;
		memcpy(data, filter, layout->filter_size);
		data += layout->filter_size;
	}
	SET_VARSIZE(build->payload, data - (char *) build->payload);

	ExecClearTuple(slot);
	slot->tts_values[0] = Int64GetDatum(sort_key(list, tid));
	slot->tts_values[1] = PointerGetDatum(build->payload);
	slot->tts_isnull[0] = slot->tts_isnull[1] = false;
	ExecStoreVirtualTuple(slot);
	tuplesort_puttupleslot(build->sort, slot);
	build->sort_bytes += VARSIZE(build->payload) + SORT_ROW_BYTES;
	if (build->shared != NULL &&
		build->sort_bytes >= Min(RUN_BYTES, build->sort_memory * (Size) 1024 / 4 * 3))
		end_run(build);
}

/* The rows collected so far get their lists and codes. */
static void
flush_batch(Build *build)
{
	uint32 d = build->meta.dimension;
	uint32 n = build->batched;
	DsStatus status;
	DsArena scratch;

	if (n == 0)
		return;
	CHECK_FOR_INTERRUPTS();
	ds_server_arena(&scratch, build->batch_context);
	ds_check(ds_router_assign(&build->router, build->batch, n, DS_ROUTER_EFFORT, 4 * BATCH_BYTES,
							  &ds_server_cancel, &scratch, build->batch_list, NULL, &status),
			 &status);
	ds_curve_rows_seen(build, n);
	for (uint32 i = 0; i < n; i++)
	{
		uint32 list = build->batch_list[i];
		BuildList *stats = &build->list[list];

		ds_quantizer_encode(&build->quantizer, build->batch_place[i], build->batch + (Size) i * d,
							build->centroid + (Size) list * d, &build->coded);
		stats->rows++;
		stats->radius = Max(stats->radius, build->coded.radius);
		put_row(build, list, &build->batch_tid[i], &build->coded,
				build->batch_filter + i * build->layout.filter_size);
	}
	build->assigned += n;
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE,
								 (int64) ds_build_count_rows(build, n));
	build->batched = 0;
	ds_arena_free(&scratch);
	MemoryContextReset(build->batch_context);
}

static TupleDesc
sort_desc(void)
{
	TupleDesc desc = CreateTemplateTupleDesc(2);

	TupleDescInitEntry(desc, 1, "place", INT8OID, -1, 0);
	TupleDescInitEntry(desc, 2, "codes", BYTEAOID, -1, 0);
	return desc;
}

Tuplesortstate *
ds_build_sort(int64 memory, SortCoordinate coordinate)
{
	AttrNumber key = 1;
	Oid operator= Int8LessOperator;
	Oid collation = InvalidOid;
	bool nulls_first = false;

	/*
	 * A sort reckons with what it asked for; the allocator keeps a part of what
	 * it was given back, so that it takes an eighth more.  64 kB is the least
	 * that it may be given.
	 */
	memory = memory * 7 / 8;
	return tuplesort_begin_heap(sort_desc(), 1, &key, &operator, & collation, &nulls_first,
								(int) Max(memory, 64), coordinate, false);
}

int
ds_build_memory_less(Size taken)
{
	return (int) Max(maintenance_work_mem - (int64) (taken / 1024), maintenance_work_mem / 4);
}

/* Bytes of a batch and what goes with it */
static Size
batch_bytes(uint32 d)
{
	return 2 * Max(BATCH_BYTES, 16 * sizeof(float) * d);
}

void
ds_build_begin_rows(Build *build, int memory, SortCoordinate coordinate)
{
	uint32 d = build->meta.dimension;
	Size payload;

	ds_layout_init(&build->layout, &build->meta);
	build->slot = MakeSingleTupleTableSlot(sort_desc(), &TTSOpsVirtual);
	payload = sizeof(ItemPointerData) + sizeof(DsSignFactors) + sizeof(DsRowFactors) +
			  build->layout.groups + d + build->layout.filter_size;
	build->payload = palloc0(VARHDRSZ + payload);

	build->batch_room = Max(Min(BATCH_BYTES / (sizeof(float) * d), 1024), 16);
	build->batch = palloc(sizeof(float) * d * build->batch_room);
	build->batch_tid = palloc(sizeof(ItemPointerData) * build->batch_room);
	build->batch_list = palloc(sizeof(uint32) * build->batch_room);
	build->batch_place = palloc(sizeof(DsPlace) * build->batch_room);
	build->batch_filter = palloc(build->layout.filter_size * build->batch_room);
	build->coded.signs = palloc(build->layout.groups);
	build->coded.bytes = palloc(d);
	build->list =
		MemoryContextAllocExtended(build->context, mul_size(build->lists, sizeof(BuildList)),
								   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	build->rows_bytes = batch_bytes(d) + sizeof(BuildList) * build->lists +
						build->router_arena.allocated + ds_curve_bytes(build);
	build->sort_memory = (int) Max(memory - (int64) (build->rows_bytes / 1024), memory / 4);
	if (coordinate == NULL)
	{
		double bytes = build->expected * (payload + SORT_ROW_BYTES);

		/* what does not fit is written in any case */
		if (bytes > build->sort_memory * 1024.0 * 3 / 4)
			build->sort_memory = (int) Min(build->sort_memory, Max(bytes / RUNS, RUN_BYTES) / 1024);
	}
	build->coordinate = coordinate;
	build->sort = ds_build_sort(build->sort_memory, coordinate);
}

/* The sample found no row with a vector, and here is one: a list around it. */
static void
begin_with_row(Build *build, const DsEmbeddingView *vector, ItemPointer tid)
{
	MemoryContext old = MemoryContextSwitchTo(build->context);

	build->sample = palloc(sizeof(float) * build->meta.dimension);
	memcpy(build->sample, vector->x, sizeof(float) * build->meta.dimension);
	build->sample_tid = palloc(sizeof(ItemPointerData));
	*build->sample_tid = *tid;
	build->samples = 1;
	cluster(build, 1);
	ds_build_begin_rows(build, ds_build_memory_less(sizeof(float) * build->meta.dimension), NULL);
	MemoryContextSwitchTo(old);
}

static void
assign_row(Relation index, ItemPointer tid, Datum *values, bool *isnull,
		   bool alive pg_attribute_unused(), void *pointer)
{
	Build *build = pointer;
	DsEmbeddingView vector;
	MemoryContext old;
	DsPlace place;
	uint32 i;

	old = MemoryContextSwitchTo(build->row_context);
	build->rows++;
	if (!ds_build_vector(build, values[0], isnull[0], &vector))
	{
		if (build->sort == NULL)
			ds_tids_insert_direct(build, DS_TIDS_NULL, tid);
		else
			put_row(build, build->lists + DS_TIDS_NULL, tid, NULL, NULL);
	}
	else
	{
		if (build->lists == 0)
			begin_with_row(build, &vector, tid);
		i = build->batched;
		place = ds_quantizer_place(&build->quantizer, vector.x,
								   build->batch + (Size) i * build->meta.dimension);

		if (place == DS_PLACE_ZERO)
			put_row(build, build->lists + DS_TIDS_ZERO, tid, NULL, NULL);
		else
		{
			build->batch_place[i] = place;
			build->batch_tid[i] = *tid;
			ds_filter_row(index, &build->layout, values, isnull,
						  build->batch_filter + i * build->layout.filter_size);
			if (++build->batched == build->batch_room)
				flush_batch(build);
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(build->row_context);
}

double
ds_build_rows(Build *build, TableScanDesc scan)
{
	double scanned = table_index_build_scan(build->heap, build->index, build->info, true,
											!IsParallelWorker(), assign_row, build, scan);

	if (build->sort != NULL)
	{
		/* what follows needs the memory */
		flush_batch(build);
		ExecDropSingleTupleTableSlot(build->slot);
		pfree(build->batch);
		build->batch = NULL;
		ds_arena_free(&build->router_arena);
	}
	return scanned;
}

/* ---- 4. write ---- */

/* The next row of the sort: the beginning of its payload, NULL at the end */
static char *
next_row(Build *build, uint32 *list)
{
	bool isnull;

	if (!tuplesort_gettupleslot(build->sort, true, false, build->sorted, NULL))
		return NULL;
	*list = key_list(DatumGetInt64(slot_getattr(build->sorted, 1, &isnull)));
	return VARDATA_ANY(DatumGetPointer(slot_getattr(build->sorted, 2, &isnull)));
}

static void
write_centroids(Build *build)
{
	if (build->quantizer.origin != NULL)
		ds_vectors_append(build->index, true, &build->meta, build->quantizer.origin, 1, NULL);
	ds_centroids_append(build->index, true, &build->meta, &build->quantizer, NULL, build->centroid,
						build->lists);
}

static void
write_lists(Build *build)
{
	const DsLayout *layout = &build->layout;
	DsListEntry *entries;
	double slack = 0;
	int64 slacks = 0;
	int64 done = 0;
	uint32 next = 0;
	char *data;

	/* the server's sort does not tell how far it is: nothing, then all */
	ds_build_phase(DS_PHASE_SORT, (int64) build->assigned);
	tuplesort_performsort(build->sort);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, (int64) build->assigned);
	ds_build_phase(DS_PHASE_WRITE, (int64) build->assigned);

	if (build->assigned > 0)
		write_centroids(build);

	entries =
		MemoryContextAllocExtended(build->context, mul_size(build->lists, sizeof(DsListEntry)),
								   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	build->sorted = MakeSingleTupleTableSlot(sort_desc(), &TTSOpsMinimalTuple);
	data = next_row(build, &next);
	for (uint32 list = 0; build->assigned > 0 && list < build->lists; list++)
	{
		DsListEntry *entry = &entries[list];
		uint64 rows = build->list[list].rows;
		uint64 blocks = (rows + DS_BLOCK_ROWS - 1) / DS_BLOCK_ROWS;
		DsListWriter *writer;

		entry->centroid = list;
		entry->parent = list;
		entry->radius = build->list[list].radius;
		writer = ds_writer_begin(build->index, true, layout, list, build->meta.next_generation++,
								 blocks);
		for (uint64 i = 0; i < rows; i++)
		{
			DsRow row;

			if (data == NULL || next != list)
				elog(ERROR, "rows of list %u got lost in the sort", list);
			memcpy(&row.tid, data, sizeof(ItemPointerData));
			data += sizeof(ItemPointerData);
			memcpy(&row.sign, data, sizeof(DsSignFactors));
			data += sizeof(DsSignFactors);
			memcpy(&row.factors, data, sizeof(DsRowFactors));
			data += sizeof(DsRowFactors);
			row.centroid = list;
			row.signs = (uint8 *) data;
			row.bytes = (int8 *) data + layout->groups;
			row.filter = data + layout->groups + layout->dimension;
			ds_writer_row(writer, &row);
			if (row.sign.slack >= 0 && row.sign.slack <= FLT_MAX)
			{
				slack += row.sign.slack;
				slacks++;
			}
			data = next_row(build, &next);
			if (++done % 1024 == 0)
				pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, done);
		}
		ds_writer_end(writer, entry);
	}
	if (slacks > 0)
		build->meta.built_slack = (float) (slack / (double) slacks);
	for (; data != NULL; data = next_row(build, &next))
	{
		ItemPointerData tid;

		if (next < build->lists || next > build->lists + DS_TIDS_ZERO)
			elog(ERROR, "rows appeared in the sort");
		CHECK_FOR_INTERRUPTS();
		memcpy(&tid, data, sizeof(ItemPointerData));
		ds_tids_insert_direct(build, (int) (next - build->lists), &tid);
	}
	ExecDropSingleTupleTableSlot(build->sorted);

	for (uint32 list = 0; build->assigned > 0 && list < build->lists; list++)
	{
		BlockNumber block;
		Buffer buffer;
		Page page;

		CHECK_FOR_INTERRUPTS();
		block = ds_directory_page(build->index, true, &build->meta, list);
		buffer = ds_page_read(build->index, block, DS_PAGE_DIRECTORY, BUFFER_LOCK_EXCLUSIVE);
		page = BufferGetPage(buffer);
		((DsListEntry *) PageGetContents(page))[list % DS_ENTRIES_PER_PAGE] = entries[list];
		((PageHeader) page)->pd_lower += sizeof(DsListEntry);
		MarkBufferDirty(buffer);
		UnlockReleaseBuffer(buffer);
		build->meta.lists = list + 1;
	}
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, done);
}

/* The metapage gets what the build found out. */
static void
write_meta(Build *build)
{
	Buffer buffer = ds_meta_lock(build->index);

	memcpy(ds_page_meta(BufferGetPage(buffer)), &build->meta, sizeof(DsMeta));
	MarkBufferDirty(buffer);
	UnlockReleaseBuffer(buffer);
}

/* The dimension that the column's type gives, 0 if none */
static uint32
type_dimension(Relation index)
{
	int typmod = ds_index_typmod(index);

	return typmod > 0 ? (uint32) typmod : 0;
}

IndexBuildResult *
ds_index_build(Relation heap, Relation index, IndexInfo *info)
{
	IndexBuildResult *result = palloc(sizeof(IndexBuildResult));
	Build *build;
	MemoryContext context;
	MemoryContext old;
	double rows = 0;
	double scanned;
	int workers = 0;

	if (RelationGetNumberOfBlocks(index) != 0)
		elog(ERROR, "index \"%s\" already contains data", RelationGetRelationName(index));
	context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch build", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	build = palloc0(sizeof(Build));
	build->context = context;
	build->row_context =
		AllocSetContextCreate(context, "deepsearch build row", ALLOCSET_DEFAULT_SIZES);
	build->batch_context =
		AllocSetContextCreate(context, "deepsearch build batch", ALLOCSET_DEFAULT_SIZES);
	build->heap = heap;
	build->index = index;
	build->info = info;
	build->half = ds_index_is_half(index);
	ds_meta_init(&build->meta, index, ds_index_metric(index), type_dimension(index));
	ds_random_init(&build->random, build->meta.seed, 1);
	for (int i = 0; i < 2; i++)
		build->tids_tail[i] = InvalidBlockNumber;

	/* first, because the metapage is the first page */
	ds_meta_create(index, MAIN_FORKNUM, &build->meta);
	ds_build_sample(build, &rows);
	if (build->sample != NULL)
	{
		cluster(build, rows);
		pfree(build->sample);
		pfree(build->sample_tid);
		build->sample = NULL;
		workers = plan_create_index_workers(RelationGetRelid(heap), RelationGetRelid(index));
	}

	ds_build_phase(DS_PHASE_ASSIGN, (int64) rows);
	if (workers == 0 || !ds_build_parallel(build, workers, &scanned))
	{
		if (build->lists > 0)
			ds_build_begin_rows(
				build,
				ds_build_memory_less(sizeof(float) * build->meta.dimension * (Size) build->lists),
				NULL);
		scanned = ds_build_rows(build, NULL);
	}
	if (build->lists > 0)
	{
		if (build->assigned > 0)
			ds_curve_finish(build);
		write_lists(build);
		tuplesort_end(build->sort);
	}
	ds_build_parallel_end(build);
	build->meta.built_rows = build->rows;
	write_meta(build);
	if (RelationNeedsWAL(index))
		log_newpage_range(index, MAIN_FORKNUM, 0, RelationGetNumberOfBlocks(index), true);

	result->heap_tuples = scanned;
	result->index_tuples = build->rows;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return result;
}

void
ds_index_build_empty(Relation index)
{
	DsMeta meta;

	ds_meta_init(&meta, index, ds_index_metric(index), type_dimension(index));
	ds_meta_create(index, INIT_FORKNUM, &meta);
}
