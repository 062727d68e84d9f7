/*
 * parallel.c
 *		Stage 3 of a build (build.c) by several processes.
 *
 * The leader has the centroids.  It and its workers share one scan of the
 * table; each assigns and codes the rows of the blocks that it is given, sorts
 * them, and leaves sorted runs; the leader merges the runs and writes the
 * lists alone, for pages are written at the speed of memory.  This is how a
 * B-tree is built (access/nbtree/nbtsort.c), with the centroids in addition,
 * and with more than one run of a process: a run is written without a look at
 * interrupts, so it must not be long.
 *
 * In the shared segment: DsSharedBuild with the scan behind it, the shared part
 * of the sort, vectors (the origin if there is one, centroids, coarse
 * centroids), what coarse cluster each list belongs to, rows and radius of each
 * list, the curve, and what each worker did to the log and to buffers.
 *
 * Rows and radius are raised without a lock: floats that are not negative have
 * the order of their bits.
 */
#include "index/build.h"

#include "access/parallel.h"
#include "access/tableam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/spin.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

enum
{
	KEY_SHARED = 1,
	KEY_SORT,
	KEY_VECTORS,
	KEY_GROUPS,
	KEY_LISTS,
	KEY_CURVE,
	KEY_QUERY,
	KEY_WAL,
	KEY_BUFFERS
};

/* Runs of the sort at most, beside one for each process */
#define RUNS_MORE 128

typedef struct SharedList
{
	pg_atomic_uint32 rows;
	pg_atomic_uint32 radius; /* bits of a float >= 0 */
} SharedList;

typedef struct DsSharedBuild
{
	Oid heap;
	Oid index;
	bool concurrent;
	int memory; /* kB of each process while rows are assigned */
	int merge_memory; /* kB of the leader afterwards */
	DsMeta meta;
	uint32 lists;
	uint32 coarse;
	pg_atomic_uint64 progress; /* rows put so far */
	pg_atomic_uint32 runs; /* of the sort, begun */
	pg_atomic_uint32 more; /* asked for, beside the first of each process */

	slock_t mutex; /* of what follows */
	ConditionVariable changed;
	int done;
	double scanned;
	double rows;
	uint64 assigned;
	bool broken_hot_chain;
} DsSharedBuild;

typedef struct BuildLeader
{
	ParallelContext *context;
	Sharedsort *sort;
	Snapshot snapshot;
	WalUsage *wal;
	BufferUsage *buffers;
	SharedList *lists;
	void *curve;
} BuildLeader;

static ParallelTableScanDesc
shared_scan(DsSharedBuild *shared)
{
	return (ParallelTableScanDesc) ((char *) shared + BUFFERALIGN(sizeof(DsSharedBuild)));
}

uint64
ds_build_count_rows(Build *build, uint64 rows)
{
	if (build->shared == NULL)
		return build->assigned;
	return pg_atomic_add_fetch_u64(&build->shared->progress, (int64) rows);
}

bool
ds_build_next_run(Build *build)
{
	DsSharedBuild *shared = build->shared;

	/* taken as long as there are any; each process has its first one */
	if (pg_atomic_read_u32(&shared->more) >= RUNS_MORE ||
		pg_atomic_fetch_add_u32(&shared->more, 1) >= RUNS_MORE)
		return false;
	pg_atomic_fetch_add_u32(&shared->runs, 1);
	return true;
}

/* One process's part; the same for the leader. */
static void
take_part(Build *build, Sharedsort *sort, SharedList *lists, void *curve)
{
	DsSharedBuild *shared = build->shared;
	SortCoordinate coordinate = MemoryContextAllocZero(build->context, sizeof(SortCoordinateData));
	double scanned;

	coordinate->isWorker = true;
	coordinate->nParticipants = -1;
	coordinate->sharedsort = sort;
	pg_atomic_fetch_add_u32(&shared->runs, 1);
	ds_build_begin_rows(build, shared->memory, coordinate);
	scanned = ds_build_rows(build, table_beginscan_parallel(build->heap, shared_scan(shared)));
	tuplesort_performsort(build->sort);

	for (uint32 i = 0; i < build->lists; i++)
	{
		uint32 bits;
		uint32 old;

		if (build->list[i].rows == 0)
			continue;
		pg_atomic_fetch_add_u32(&lists[i].rows, (int32) build->list[i].rows);
		memcpy(&bits, &build->list[i].radius, sizeof(bits));
		old = pg_atomic_read_u32(&lists[i].radius);
		while (old < bits && !pg_atomic_compare_exchange_u32(&lists[i].radius, &old, bits))
			;
	}
	if (IsParallelWorker())
		ds_curve_put(build, curve, ParallelWorkerNumber);

	SpinLockAcquire(&shared->mutex);
	shared->done++;
	shared->scanned += scanned;
	shared->rows += build->rows;
	shared->assigned += build->assigned;
	shared->broken_hot_chain |= build->info->ii_BrokenHotChain;
	SpinLockRelease(&shared->mutex);
	ConditionVariableSignal(&shared->changed);
	tuplesort_end(build->sort);
	build->sort = NULL;
}

/* The worker's main function, found by its name */
extern PGDLLEXPORT void ds_index_build_worker(dsm_segment *segment, shm_toc *toc);

void
ds_index_build_worker(dsm_segment *segment, shm_toc *toc)
{
	DsSharedBuild *shared = shm_toc_lookup(toc, KEY_SHARED, false);
	Sharedsort *sort = shm_toc_lookup(toc, KEY_SORT, false);
	const float *vectors = shm_toc_lookup(toc, KEY_VECTORS, false);
	const uint32 *groups = shm_toc_lookup(toc, KEY_GROUPS, false);
	void *curve = shm_toc_lookup(toc, KEY_CURVE, false);
	WalUsage *wal = shm_toc_lookup(toc, KEY_WAL, false);
	BufferUsage *buffers = shm_toc_lookup(toc, KEY_BUFFERS, false);
	uint32 d = shared->meta.dimension;
	LOCKMODE heap_lock = shared->concurrent ? ShareUpdateExclusiveLock : ShareLock;
	LOCKMODE index_lock = shared->concurrent ? RowExclusiveLock : AccessExclusiveLock;
	const float *origin = NULL;
	DsStatus status;
	Build *build;

	debug_query_string = shm_toc_lookup(toc, KEY_QUERY, true);
	pgstat_report_activity(STATE_RUNNING, debug_query_string);

	build = palloc0(sizeof(Build));
	build->context = CurrentMemoryContext;
	build->row_context =
		AllocSetContextCreate(build->context, "deepsearch build row", ALLOCSET_DEFAULT_SIZES);
	build->batch_context =
		AllocSetContextCreate(build->context, "deepsearch build batch", ALLOCSET_DEFAULT_SIZES);
	build->heap = table_open(shared->heap, heap_lock);
	build->index = index_open(shared->index, index_lock);
	build->info = BuildIndexInfo(build->index);
	build->info->ii_Concurrent = shared->concurrent;
	build->meta = shared->meta;
	build->half = ds_index_is_half(build->index);
	build->shared = shared;

	if (build->meta.flags & DS_META_ORIGIN)
	{
		origin = vectors;
		vectors += d;
	}
	ds_server_arena(&build->arena, build->context);
	ds_server_arena(&build->router_arena, build->context);
	ds_check(ds_quantizer_init(&build->quantizer, build->meta.metric, d, build->meta.seed, origin,
							   &build->arena, &status),
			 &status);
	build->lists = shared->lists;
	build->centroid = unconstify(float *, vectors);
	ds_check(ds_router_group(&build->router, build->centroid, build->lists, d,
							 vectors + (Size) build->lists * d, shared->coarse, groups,
							 &ds_server_cancel, &build->router_arena, &status),
			 &status);
	ds_curve_attach(build, curve);
	tuplesort_attach_shared(sort, segment);

	InstrStartParallelQuery();
	take_part(build, sort, shm_toc_lookup(toc, KEY_LISTS, false), curve);
	InstrEndParallelQuery(&buffers[ParallelWorkerNumber], &wal[ParallelWorkerNumber]);

	index_close(build->index, index_lock);
	table_close(build->heap, heap_lock);
}

static void
estimate(ParallelContext *context, Size size)
{
	shm_toc_estimate_chunk(&context->estimator, size);
	shm_toc_estimate_keys(&context->estimator, 1);
}

static void *
allocate(ParallelContext *context, uint64 key, Size size)
{
	void *space = shm_toc_allocate(context->toc, size);

	shm_toc_insert(context->toc, key, space);
	return space;
}

/* Everything that workers need, into the segment */
static void
share(Build *build, BuildLeader *leader, ParallelContext *context, const Size *sizes,
	  Snapshot snapshot)
{
	const DsRouter *router = &build->router;
	uint32 d = build->meta.dimension;
	DsSharedBuild *shared;
	float *vectors;
	uint32 *groups;

	shared = build->shared = allocate(context, KEY_SHARED, sizes[KEY_SHARED]);
	memset(shared, 0, sizeof(*shared));
	shared->heap = RelationGetRelid(build->heap);
	shared->index = RelationGetRelid(build->index);
	shared->concurrent = build->info->ii_Concurrent;
	shared->meta = build->meta;
	shared->lists = build->lists;
	shared->coarse = router->coarse;
	pg_atomic_init_u64(&shared->progress, 0);
	pg_atomic_init_u32(&shared->runs, 0);
	pg_atomic_init_u32(&shared->more, 0);
	SpinLockInit(&shared->mutex);
	ConditionVariableInit(&shared->changed);
	table_parallelscan_initialize(build->heap, shared_scan(shared), snapshot);

	leader->sort = allocate(context, KEY_SORT, sizes[KEY_SORT]);
	tuplesort_initialize_shared(leader->sort, RUNS_MORE + context->nworkers + 1, context->seg);

	vectors = allocate(context, KEY_VECTORS, sizes[KEY_VECTORS]);
	if (build->quantizer.origin != NULL)
	{
		memcpy(vectors, build->quantizer.origin, sizeof(float) * d);
		vectors += d;
	}
	for (uint32 i = 0; i < build->lists; i++, vectors += d)
	{
		CHECK_FOR_INTERRUPTS();
		memcpy(vectors, build->centroid + (Size) i * d, sizeof(float) * d);
	}
	for (uint32 g = 0; g < router->coarse; g++, vectors += d)
	{
		CHECK_FOR_INTERRUPTS();
		memcpy(vectors, router->coarse_centroids + (Size) g * d, sizeof(float) * d);
	}

	groups = allocate(context, KEY_GROUPS, sizes[KEY_GROUPS]);
	memset(groups, 0, sizes[KEY_GROUPS]);
	for (uint32 g = 0; g < router->coarse; g++)
		for (uint32 i = router->start[g]; i < router->start[g + 1]; i++)
			groups[router->member[i]] = g;

	leader->lists = allocate(context, KEY_LISTS, sizes[KEY_LISTS]);
	for (uint32 i = 0; i < build->lists; i++)
	{
		pg_atomic_init_u32(&leader->lists[i].rows, 0);
		pg_atomic_init_u32(&leader->lists[i].radius, 0);
	}
	leader->curve = allocate(context, KEY_CURVE, sizes[KEY_CURVE]);
	ds_curve_share(build, leader->curve);
	leader->wal = allocate(context, KEY_WAL, sizes[KEY_WAL]);
	leader->buffers = allocate(context, KEY_BUFFERS, sizes[KEY_BUFFERS]);
	if (debug_query_string != NULL)
		strcpy(allocate(context, KEY_QUERY, sizes[KEY_QUERY]), debug_query_string);
}

static void
leave(ParallelContext *context, Snapshot snapshot)
{
	if (IsMVCCSnapshot(snapshot))
		UnregisterSnapshot(snapshot);
	DestroyParallelContext(context);
	ExitParallelMode();
}

/* The leader has done its part: wait for the others and take what they have. */
static void
collect(Build *build, int participants, double *scanned)
{
	DsSharedBuild *shared = build->shared;
	BuildLeader *leader = build->leader;
	SortCoordinate coordinate = palloc0(sizeof(SortCoordinateData));

	for (;;)
	{
		bool all;

		SpinLockAcquire(&shared->mutex);
		all = shared->done == participants;
		SpinLockRelease(&shared->mutex);
		if (all)
			break;
		ConditionVariableSleep(&shared->changed, WAIT_EVENT_PARALLEL_CREATE_INDEX_SCAN);
	}
	ConditionVariableCancelSleep();

	*scanned = shared->scanned;
	build->rows = shared->rows;
	build->assigned = shared->assigned;
	build->info->ii_BrokenHotChain |= shared->broken_hot_chain;
	for (uint32 i = 0; i < build->lists; i++)
	{
		uint32 bits = pg_atomic_read_u32(&leader->lists[i].radius);

		build->list[i].rows = pg_atomic_read_u32(&leader->lists[i].rows);
		memcpy(&build->list[i].radius, &bits, sizeof(bits));
	}
	for (int i = 0; i < participants - 1; i++)
	{
		CHECK_FOR_INTERRUPTS();
		ds_curve_take(build, leader->curve, i);
	}

	coordinate->isWorker = false;
	coordinate->nParticipants = (int) pg_atomic_read_u32(&shared->runs);
	coordinate->sharedsort = leader->sort;

	/* the allocator may have kept what was given back */
	build->sort = ds_build_sort(
		Max(shared->merge_memory - (int64) (build->rows_bytes / 1024), shared->merge_memory / 4),
		coordinate);
}

bool
ds_build_parallel(Build *build, int workers, double *scanned)
{
	uint32 d = build->meta.dimension;
	Size sizes[KEY_BUFFERS + 1];
	Size scan_size;
	Size vectors;
	Size shared_size = 0;
	Size centroids = mul_size(build->lists, sizeof(float) * d); /* the leader's own */
	ParallelContext *context;
	BuildLeader *leader = palloc0(sizeof(BuildLeader));
	Snapshot snapshot;
	int participants;

	EnterParallelMode();
	context = CreateParallelContext("deepsearch", "ds_index_build_worker", workers);
	snapshot =
		build->info->ii_Concurrent ? RegisterSnapshot(GetTransactionSnapshot()) : SnapshotAny;

	vectors = add_size(build->lists, build->router.coarse);
	if (build->quantizer.origin != NULL)
		vectors = add_size(vectors, 1);
	scan_size = table_parallelscan_estimate(build->heap, snapshot);
	sizes[KEY_SHARED] = add_size(BUFFERALIGN(sizeof(DsSharedBuild)), scan_size);
	sizes[KEY_SORT] = tuplesort_estimate_shared(RUNS_MORE + workers + 1);
	sizes[KEY_VECTORS] = mul_size(vectors, sizeof(float) * d);
	sizes[KEY_GROUPS] = mul_size(build->lists, sizeof(uint32));
	sizes[KEY_LISTS] = mul_size(build->lists, sizeof(SharedList));
	sizes[KEY_CURVE] = ds_curve_shared_size(build, workers);
	sizes[KEY_QUERY] = debug_query_string != NULL ? strlen(debug_query_string) + 1 : 0;
	sizes[KEY_WAL] = mul_size(sizeof(WalUsage), workers);
	sizes[KEY_BUFFERS] = mul_size(sizeof(BufferUsage), workers);
	for (int key = KEY_SHARED; key <= KEY_BUFFERS; key++)
	{
		estimate(context, sizes[key]);
		shared_size = add_size(shared_size, sizes[key]);
	}

	InitializeParallelDSM(context);
	if (context->seg == NULL)
	{
		leave(context, snapshot);
		return false;
	}
	share(build, leader, context, sizes, snapshot);

	/* as many shares of the memory as there may be processes; fewer get no more */
	build->shared->merge_memory = ds_build_memory_less(add_size(shared_size, centroids));
	build->shared->memory = build->shared->merge_memory / (workers + 1);
	LaunchParallelWorkers(context);
	participants = context->nworkers_launched + 1;
	ereport(DEBUG1,
			(errmsg_internal("index \"%s\" is built by %d processes, of %d wanted",
							 RelationGetRelationName(build->index), participants, workers + 1)));
	if (participants == 1)
	{
		build->shared = NULL;
		WaitForParallelWorkersToFinish(context);
		leave(context, snapshot);
		return false;
	}
	leader->context = context;
	leader->snapshot = snapshot;
	build->leader = leader;

	take_part(build, leader->sort, leader->lists, leader->curve);
	/* or an error if one of them could not begin */
	WaitForParallelWorkersToAttach(context);
	collect(build, participants, scanned);
	return true;
}

void
ds_build_parallel_end(Build *build)
{
	BuildLeader *leader = build->leader;

	if (leader == NULL)
		return;
	WaitForParallelWorkersToFinish(leader->context);
	for (int i = 0; i < leader->context->nworkers_launched; i++)
		InstrAccumParallelQuery(&leader->buffers[i], &leader->wal[i]);
	leave(leader->context, leader->snapshot);
	build->leader = NULL;
	build->shared = NULL;
}
