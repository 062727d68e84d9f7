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

typedef struct Neighbour
{
	float key;
	uint32 list;
} Neighbour;

struct Curve
{
	uint32 queries;
	uint32 keep; /* neighbours a query */
	float *query; /* [queries, d] */
	ItemPointerData *tid;
	float *threshold; /* [queries]: keys below are kept */
	uint32 *kept; /* [queries] */
	Neighbour *neighbour; /* [queries, keep], each a heap with the farthest on top */
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
		ds_kernels()->accumulate(sum, build->sample + i * d, d);
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
		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		if (ds_quantizer_place(&build->quantizer, build->sample + i * d,
							   build->sample + kept * d) == DS_PLACE_OK)
			build->sample_tid[kept++] = build->sample_tid[i];
	}
	build->samples = kept;
}

uint64
ds_curve_begin(Build *build)
{
	uint32 d = build->meta.dimension;
	Curve *curve;

	if (build->samples < 2)
		return 0;
	curve = build->curve = palloc0(sizeof(Curve));
	curve->queries = (uint32) Min(build->samples, CURVE_QUERIES);
	curve->keep = ds_curve_rows[DS_CURVE_ROWS - 1];
	curve->query = palloc(sizeof(float) * d * curve->queries);
	curve->tid = palloc(sizeof(ItemPointerData) * curve->queries);
	curve->threshold = palloc(sizeof(float) * curve->queries);
	curve->kept = palloc0(sizeof(uint32) * curve->queries);
	curve->neighbour = palloc(sizeof(Neighbour) * curve->keep * curve->queries);

	/* a random choice: the first of a shuffle that stops there; they stay in front */
	for (uint32 i = 0; i < curve->queries; i++)
	{
		uint64 from = i + ds_random_below(&build->random, build->samples - i);
		ItemPointerData tid = build->sample_tid[from];

		memcpy(curve->query + (Size) i * d, build->sample + from * d, sizeof(float) * d);
		memcpy(build->sample + from * d, build->sample + (uint64) i * d, sizeof(float) * d);
		memcpy(build->sample + (uint64) i * d, curve->query + (Size) i * d, sizeof(float) * d);
		build->sample_tid[from] = build->sample_tid[i];
		curve->tid[i] = build->sample_tid[i] = tid;
		curve->threshold[i] = INFINITY;
	}
	return curve->queries;
}

/* Keep a neighbour of query q: the heap's farthest gives way when it is full. */
static void
keep(Curve *curve, uint32 q, float key, uint32 list)
{
	Neighbour *heap = curve->neighbour + (Size) q * curve->keep;
	uint32 count = curve->kept[q];
	uint32 hole;

	if (count < curve->keep)
	{
		hole = count;
		while (hole > 0 && heap[(hole - 1) / 2].key < key)
		{
			heap[hole] = heap[(hole - 1) / 2];
			hole = (hole - 1) / 2;
		}
		curve->kept[q] = ++count;
	}
	else
	{
		uint32 child;

		hole = 0;
		while ((child = 2 * hole + 1) < count)
		{
			if (child + 1 < count && heap[child + 1].key > heap[child].key)
				child++;
			if (heap[child].key <= key)
				break;
			heap[hole] = heap[child];
			hole = child;
		}
	}
	heap[hole].key = key;
	heap[hole].list = list;
	if (count == curve->keep)
		curve->threshold[q] = heap[0].key;
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
		curve->dot =
			MemoryContextAlloc(build->context, sizeof(float) * build->batch_room * curve->queries);
	ds_gemm(0, 1, rows, curve->queries, d, ip ? -1.0f : -2.0f, build->batch, d, curve->query, d,
			0.0f, curve->dot, curve->queries);
	for (uint32 i = 0; i < rows; i++)
	{
		const float *y = build->batch + (Size) i * d;
		const float *dot = curve->dot + (Size) i * curve->queries;
		float base = ip ? 0 : ds_kernels()->squared_norm(y, d);
		int near = 0;

		if (build->batch_place[i] != DS_PLACE_OK)
			continue;

		/* nearly all rows are far from all queries: find that out without a branch */
		for (uint32 q = 0; q < curve->queries; q++)
			near |= base + dot[q] < curve->threshold[q];
		if (!near)
			continue;
		for (uint32 q = 0; q < curve->queries; q++)
			if (base + dot[q] < curve->threshold[q] &&
				!ItemPointerEquals(&build->batch_tid[i], &curve->tid[q]))
				keep(curve, q, base + dot[q], build->batch_list[i]);
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
				MAXALIGN(sizeof(Neighbour) * shared->keep * shared->queries);

	return shared_tids(shared, d) + MAXALIGN(sizeof(ItemPointerData) * shared->queries) +
		   size * worker;
}

Size
ds_curve_shared_size(const Build *build, int workers)
{
	SharedCurve shared = {0};

	if (build->curve != NULL)
	{
		shared.queries = build->curve->queries;
		shared.keep = build->curve->keep;
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
	shared->queries = curve->queries;
	shared->keep = curve->keep;
	memcpy(shared_queries(shared), curve->query, sizeof(float) * d * curve->queries);
	memcpy(shared_tids(shared, d), curve->tid, sizeof(ItemPointerData) * curve->queries);
}

void
ds_curve_attach(Build *build, void *space)
{
	SharedCurve *shared = space;
	Curve *curve;

	if (shared->queries == 0)
		return;
	curve = build->curve = palloc0(sizeof(Curve));
	curve->queries = shared->queries;
	curve->keep = shared->keep;
	curve->query = (float *) shared_queries(shared);
	curve->tid = (ItemPointerData *) shared_tids(shared, build->meta.dimension);
	curve->threshold = palloc(sizeof(float) * curve->queries);
	curve->kept = palloc0(sizeof(uint32) * curve->queries);
	curve->neighbour = palloc(sizeof(Neighbour) * curve->keep * curve->queries);
	for (uint32 i = 0; i < curve->queries; i++)
		curve->threshold[i] = INFINITY;
}

void
ds_curve_put(const Build *build, void *space, int worker)
{
	const Curve *curve = build->curve;
	char *slot;

	if (curve == NULL)
		return;
	slot = shared_slot(space, build->meta.dimension, worker);
	memcpy(slot, curve->kept, sizeof(uint32) * curve->queries);
	memcpy(slot + MAXALIGN(sizeof(uint32) * curve->queries), curve->neighbour,
		   sizeof(Neighbour) * curve->keep * curve->queries);
}

void
ds_curve_take(Build *build, void *space, int worker)
{
	Curve *curve = build->curve;
	const uint32 *kept;
	const Neighbour *neighbour;

	if (curve == NULL)
		return;
	kept = (const uint32 *) shared_slot(space, build->meta.dimension, worker);
	neighbour =
		(const Neighbour *) ((const char *) kept + MAXALIGN(sizeof(uint32) * curve->queries));
	for (uint32 q = 0; q < curve->queries; q++, neighbour += curve->keep)
		for (uint32 i = 0; i < kept[q]; i++)
			if (neighbour[i].key < curve->threshold[q])
				keep(curve, q, neighbour[i].key, neighbour[i].list);
}

static int
compare_neighbours(const void *a, const void *b)
{
	const Neighbour *x = a;
	const Neighbour *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->list < y->list ? -1 : x->list > y->list;
}

static int
compare_floats(const void *a, const void *b)
{
	float x = *(const float *) a;
	float y = *(const float *) b;

	return x < y ? -1 : x > y;
}

void
ds_curve_finish(Build *build)
{
	Curve *curve = build->curve;
	uint32 d = build->meta.dimension;
	bool ip = build->meta.metric == DS_METRIC_IP;
	Neighbour *order;
	uint32 *rank;
	float *key;
	float *gap[DS_CURVE_ROWS]; /* of each neighbour's list */
	uint64 *hits[DS_CURVE_ROWS];
	uint64 total[DS_CURVE_ROWS] = {0};

	if (curve == NULL)
		return;
	order = palloc_extended(sizeof(Neighbour) * build->lists, MCXT_ALLOC_HUGE);
	rank = palloc_extended(sizeof(uint32) * build->lists, MCXT_ALLOC_HUGE);
	key = palloc_extended(sizeof(float) * build->lists, MCXT_ALLOC_HUGE);
	for (int s = 0; s < DS_CURVE_ROWS; s++)
	{
		gap[s] =
			palloc_extended(sizeof(float) * curve->queries * ds_curve_rows[s], MCXT_ALLOC_HUGE);
		hits[s] = palloc_extended(sizeof(uint64) * build->lists, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	}

	for (uint32 q = 0; q < curve->queries; q++)
	{
		Neighbour *neighbour = curve->neighbour + (Size) q * curve->keep;
		double norm = ds_norm(curve->query + (Size) q * d, d);
		uint32 first = 0;

		CHECK_FOR_INTERRUPTS();
		(ip ? ds_kernels()->inner_product_many : ds_kernels()->l2_squared_many)(
			curve->query + (Size) q * d, build->centroid, d, build->lists, d, key);
		for (uint32 i = 0; i < build->lists; i++)
		{
			order[i].key = (float) ds_list_key(&build->meta, norm, key[i], build->list[i].radius);
			order[i].list = i;
		}
		qsort(order, build->lists, sizeof(Neighbour), compare_neighbours);
		for (uint32 i = 0; i < build->lists; i++)
			rank[order[i].list] = i;
		/* lists that always come first are no measure */
		while (first < build->lists - 1 && isinf(order[first].key))
			first++;

		qsort(neighbour, curve->kept[q], sizeof(Neighbour), compare_neighbours);
		for (int s = 0; s < DS_CURVE_ROWS; s++)
			for (uint32 i = 0; i < Min(ds_curve_rows[s], curve->kept[q]); i++)
			{
				uint32 at = rank[neighbour[i].list];

				gap[s][total[s]] =
					at <= first
						? 0
						: (float) ds_list_gap(&build->meta, norm, order[first].key, order[at].key);
				hits[s][at]++;
				total[s]++;
			}
	}

	for (int s = 0; s < DS_CURVE_ROWS; s++)
	{
		uint64 found = 0;
		uint32 open = 0;

		qsort(gap[s], total[s], sizeof(float), compare_floats);
		for (int r = 0; r < DS_CURVE_RECALLS; r++)
		{
			uint64 last = (uint64) (ds_curve_recalls[r] * total[s]);

			build->meta.curve_gap[s][r] = total[s] > 0 ? gap[s][Min(last, total[s] - 1)] : 0;
			while (open < build->lists && found < ds_curve_recalls[r] * total[s])
				found += hits[s][open++];
			build->meta.curve[s][r] = Max(open, 1);

			/* more rows never need fewer lists */
			if (s > 0)
			{
				build->meta.curve[s][r] = Max(build->meta.curve[s][r], build->meta.curve[s - 1][r]);
				build->meta.curve_gap[s][r] =
					Max(build->meta.curve_gap[s][r], build->meta.curve_gap[s - 1][r]);
			}
		}
	}
	build->meta.curve_lists = build->lists;
	build->meta.curve_queries = curve->queries;
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
