/*
 * curve.c
 *		The recall curve, measured while an index is built; and other work on
 *		the sample.
 *
 * Rows of the sample stand for queries.  Each is compared with every row of
 * the table as the build passes over it, one matrix product a batch, and keeps
 * its nearest ones with their lists.  In the end, the rank of those lists among
 * all lists, as a scan would rank them, says how many lists a scan must open.
 * A row never counts as its own neighbour.
 *
 * What 1-bit bounds lose on top is about one row in a thousand and not counted.
 */
#include "index/build.h"

#include <math.h>

#include "base/blas.h"
#include "miscadmin.h"
#include "vector/kernels.h"

/* Rows that stand for queries: 200 tell a recall of 0.95 to within 0.01. */
#define CURVE_QUERIES 200

/* What is read of centroids between two looks at interrupts */
#define POLL_FLOATS (256 * 1024)

struct Curve
{
	DsNeighbours near; /* of the queries */
	float *query; /* [queries, d] */
	ItemPointerData *tid;
	float *dot; /* [batch_room, queries] */
};

float *
ds_build_mean(Build *build)
{
	uint32 d = build->meta.dimension;
	float *mean = ds_arena_alloc(&build->arena, d, sizeof(float));
	double *sum = palloc0(sizeof(double) * d);

	if (mean == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	for (uint64 i = 0; i < build->samples; i++)
	{
		if (i % 64 == 0)
			CHECK_FOR_INTERRUPTS();
		ds_kernels()->accumulate(sum, build->sample + i * d, d);
	}
	for (uint32 i = 0; i < d; i++)
		mean[i] = (float) (sum[i] / (double) Max(build->samples, 1));
	pfree(sum);
	return mean;
}

void
ds_build_place_sample(Build *build)
{
	uint32 d = build->meta.dimension;
	uint64 kept = 0;

	for (uint64 i = 0; i < build->samples; i++)
	{
		if (i % 64 == 0)
			CHECK_FOR_INTERRUPTS();
		if (ds_quantizer_place(&build->quantizer, build->sample + i * d,
							   build->sample + kept * d) == DS_PLACE_OK)
			build->sample_tid[kept++] = build->sample_tid[i];
	}
	build->samples = kept;
}

static void
begin_neighbours(Build *build, uint32 queries, uint32 keep)
{
	DsStatus status;

	ds_check(ds_neighbours_init(&build->curve->near, queries, keep, &build->arena, &status),
			 &status);
}

uint64
ds_curve_begin(Build *build)
{
	uint32 d = build->meta.dimension;
	Curve *curve;

	if (build->samples < 2)
		return 0;
	curve = build->curve = palloc0(sizeof(Curve));
	begin_neighbours(build, (uint32) Min(build->samples, CURVE_QUERIES),
					 ds_curve_rows[DS_CURVE_ROWS - 1]);
	curve->query = palloc(sizeof(float) * d * curve->near.queries);
	curve->tid = palloc(sizeof(ItemPointerData) * curve->near.queries);

	/* a random choice: the first of a shuffle that stops there; they stay in front */
	for (uint32 i = 0; i < curve->near.queries; i++)
	{
		uint64 from = i + ds_random_below(&build->random, build->samples - i);
		ItemPointerData tid = build->sample_tid[from];

		memcpy(curve->query + (Size) i * d, build->sample + from * d, sizeof(float) * d);
		memcpy(build->sample + from * d, build->sample + (uint64) i * d, sizeof(float) * d);
		memcpy(build->sample + (uint64) i * d, curve->query + (Size) i * d, sizeof(float) * d);
		build->sample_tid[from] = build->sample_tid[i];
		curve->tid[i] = build->sample_tid[i] = tid;
	}
	return curve->near.queries;
}

Size
ds_curve_bytes(const Build *build)
{
	const Curve *curve = build->curve;

	if (curve == NULL)
		return 0;
	return curve->near.queries * (sizeof(float) * (build->meta.dimension + build->batch_room) +
								  sizeof(DsNeighbour) * curve->near.keep);
}

void
ds_curve_rows_seen(Build *build, uint32 rows)
{
	Curve *curve = build->curve;
	uint32 d = build->meta.dimension;
	bool ip = build->meta.metric == DS_METRIC_IP;

	if (curve == NULL)
		return;
	if (curve->dot == NULL)
		curve->dot = MemoryContextAlloc(build->context,
										sizeof(float) * build->batch_room * curve->near.queries);
	ds_gemm(0, 1, rows, curve->near.queries, d, ip ? -1.0f : -2.0f, build->batch, d, curve->query,
			d, 0.0f, curve->dot, curve->near.queries);
	for (uint32 i = 0; i < rows; i++)
	{
		const float *y = build->batch + (Size) i * d;
		const float *dot = curve->dot + (Size) i * curve->near.queries;
		float base = ip ? 0 : ds_kernels()->squared_norm(y, d);
		int near = 0;

		if (build->batch_place[i] != DS_PLACE_OK)
			continue;

		/* nearly all rows are far from all queries: find that out without a branch */
		for (uint32 q = 0; q < curve->near.queries; q++)
			near |= base + dot[q] < curve->near.threshold[q];
		if (!near)
			continue;
		for (uint32 q = 0; q < curve->near.queries; q++)
			if (base + dot[q] < curve->near.threshold[q] &&
				!ItemPointerEquals(&build->batch_tid[i], &curve->tid[q]))
				ds_neighbours_keep(&curve->near, q, base + dot[q], build->batch_list[i]);
	}
}

/* ---- between the processes of a parallel build ---- */

/* What they share: this, then queries, their row ids, and a slot a worker */
typedef struct SharedCurve
{
	uint32 queries;
	uint32 keep;
} SharedCurve;

static char *
shared_queries(SharedCurve *shared)
{
	return (char *) shared + MAXALIGN(sizeof(SharedCurve));
}

static char *
shared_tids(SharedCurve *shared, uint32 d)
{
	return shared_queries(shared) + MAXALIGN(sizeof(float) * d * shared->queries);
}

/* A slot: how many neighbours of each query, then the neighbours */
static char *
shared_slot(SharedCurve *shared, uint32 d, int worker)
{
	Size size = MAXALIGN(sizeof(uint32) * shared->queries) +
				MAXALIGN(sizeof(DsNeighbour) * shared->keep * shared->queries);

	return shared_tids(shared, d) + MAXALIGN(sizeof(ItemPointerData) * shared->queries) +
		   size * worker;
}

Size
ds_curve_shared_size(const Build *build, int workers)
{
	SharedCurve shared = {0};

	if (build->curve != NULL)
	{
		shared.queries = build->curve->near.queries;
		shared.keep = build->curve->near.keep;
	}
	return shared_slot(&shared, build->meta.dimension, workers) - (char *) &shared;
}

void
ds_curve_share(const Build *build, void *space)
{
	SharedCurve *shared = space;
	const Curve *curve = build->curve;
	uint32 d = build->meta.dimension;

	shared->queries = shared->keep = 0;
	if (curve == NULL)
		return;
	shared->queries = curve->near.queries;
	shared->keep = curve->near.keep;
	memcpy(shared_queries(shared), curve->query, sizeof(float) * d * curve->near.queries);
	memcpy(shared_tids(shared, d), curve->tid, sizeof(ItemPointerData) * curve->near.queries);
}

void
ds_curve_attach(Build *build, void *space)
{
	SharedCurve *shared = space;
	Curve *curve;

	if (shared->queries == 0)
		return;
	curve = build->curve = palloc0(sizeof(Curve));
	begin_neighbours(build, shared->queries, shared->keep);
	curve->query = (float *) shared_queries(shared);
	curve->tid = (ItemPointerData *) shared_tids(shared, build->meta.dimension);
}

void
ds_curve_put(const Build *build, void *space, int worker)
{
	const Curve *curve = build->curve;
	char *slot;

	if (curve == NULL)
		return;
	slot = shared_slot(space, build->meta.dimension, worker);
	memcpy(slot, curve->near.kept, sizeof(uint32) * curve->near.queries);
	memcpy(slot + MAXALIGN(sizeof(uint32) * curve->near.queries), curve->near.neighbour,
		   sizeof(DsNeighbour) * curve->near.keep * curve->near.queries);
}

void
ds_curve_take(Build *build, void *space, int worker)
{
	Curve *curve = build->curve;
	const uint32 *kept;
	const DsNeighbour *neighbour;

	if (curve == NULL)
		return;
	kept = (const uint32 *) shared_slot(space, build->meta.dimension, worker);
	neighbour = (const DsNeighbour *) ((const char *) kept +
									   MAXALIGN(sizeof(uint32) * curve->near.queries));
	for (uint32 q = 0; q < curve->near.queries; q++, neighbour += curve->near.keep)
	{
		CHECK_FOR_INTERRUPTS();
		for (uint32 i = 0; i < kept[q]; i++)
			if (neighbour[i].key < curve->near.threshold[q])
				ds_neighbours_keep(&curve->near, q, neighbour[i].key, neighbour[i].list);
	}
}

/* The keys of all lists for query q; returns what gaps are multiplied by. */
static double
list_keys(const Build *build, uint32 q, float *key)
{
	uint32 d = build->meta.dimension;
	const float *query = build->curve->query + (Size) q * d;
	double norm = ds_norm(query, d);
	uint32 step = Max(POLL_FLOATS / d, 1);

	for (uint32 i = 0; i < build->lists; i += step)
	{
		CHECK_FOR_INTERRUPTS();
		(build->meta.metric == DS_METRIC_IP ? ds_kernels()->inner_product_many
											: ds_kernels()->l2_squared_many)(
			query, build->centroid + (Size) i * d, d, Min(step, build->lists - i), d, key + i);
	}
	for (uint32 i = 0; i < build->lists; i++)
		key[i] = (float) ds_list_key(&build->meta, norm, key[i], build->list[i].radius);
	return ds_list_gap(&build->meta, norm, 0, 1);
}

void
ds_curve_finish(Build *build)
{
	Curve *curve = build->curve;
	double opened[DS_CURVE_RECALLS] = {0};
	DsRanks ranks;
	DsArena arena;
	DsStatus status;
	float *key;

	if (curve == NULL)
		return;
	ds_server_arena(&arena, CurrentMemoryContext);
	ds_check(ds_ranks_init(&ranks, build->lists, curve->near.queries, DS_CURVE_ROWS, ds_curve_rows,
						   &arena, &status),
			 &status);
	key = palloc_extended(sizeof(float) * build->lists, MCXT_ALLOC_HUGE);
	for (uint32 q = 0; q < curve->near.queries; q++)
	{
		CHECK_FOR_INTERRUPTS();
		ds_ranks_add(&ranks, &curve->near, q, key, list_keys(build, q, key));
	}
	ds_curve_store(&ranks, build->meta.curve, build->meta.curve_gap);
	for (uint32 q = 0; q < curve->near.queries; q++)
	{
		double scale = list_keys(build, q, key);

		CHECK_FOR_INTERRUPTS();
		ds_ranks_opened(key, build->lists, scale, build->meta.curve_gap[0], DS_CURVE_RECALLS,
						opened);
	}
	for (int r = 0; r < DS_CURVE_RECALLS; r++)
		build->meta.curve_opened[r] = (float) (opened[r] / Max(curve->near.queries, 1));
	build->meta.curve_lists = build->lists;
	build->meta.curve_queries = curve->near.queries;
	pfree(key);
	ds_arena_free(&arena);
}

void
ds_curve_store(DsRanks *ranks, uint32 curve[DS_CURVE_ROWS][DS_CURVE_RECALLS],
			   float curve_gap[DS_CURVE_ROWS][DS_CURVE_RECALLS])
{
	for (int s = 0; s < DS_CURVE_ROWS; s++)
	{
		ds_ranks_curve(ranks, s, ds_curve_recalls, DS_CURVE_RECALLS, curve[s], curve_gap[s]);

		/* more rows never need fewer lists */
		for (int r = 0; s > 0 && r < DS_CURVE_RECALLS; r++)
		{
			curve[s][r] = Max(curve[s][r], curve[s - 1][r]);
			curve_gap[s][r] = Max(curve_gap[s][r], curve_gap[s - 1][r]);
		}
	}
}

void
ds_tids_insert_direct(Build *build, int chain, ItemPointer tid)
{
	Relation index = build->index;
	BlockNumber *tail = &build->tids_tail[chain];
	Buffer buffer = InvalidBuffer;
	Page page = NULL;
	uint32 ordinal = 0;

	if (BlockNumberIsValid(*tail))
	{
		buffer = ds_page_read(index, *tail, DS_PAGE_TIDS, BUFFER_LOCK_EXCLUSIVE);
		page = BufferGetPage(buffer);
		ordinal = ds_page_opaque(page)->ordinal + 1;
	}
	if (page == NULL || ds_page_used(page) / sizeof(ItemPointerData) == DS_TIDS_PER_PAGE)
	{
		Buffer fresh = ds_page_allocate(index, true);

		if (page == NULL)
			build->meta.tids_head[chain] = BufferGetBlockNumber(fresh);
		else
		{
			ds_page_opaque(page)->next = BufferGetBlockNumber(fresh);
			MarkBufferDirty(buffer);
			UnlockReleaseBuffer(buffer);
		}
		buffer = fresh;
		page = BufferGetPage(buffer);
		ds_page_init(page, DS_PAGE_TIDS, chain, 0, ordinal);
		*tail = build->meta.tids_insert[chain] = BufferGetBlockNumber(buffer);
	}
	ds_page_tids(page)[ds_page_used(page) / sizeof(ItemPointerData)] = *tid;
	((PageHeader) page)->pd_lower += sizeof(ItemPointerData);
	MarkBufferDirty(buffer);
	UnlockReleaseBuffer(buffer);
}
