/*
 * measure.c
 *		The recall curve of an index that is in use, and ds_index_calibrate().
 *
 * As in a build (curve.c), queries are compared with every row of the table,
 * one matrix product a batch, and keep their nearest ones; the ranks of the
 * lists that these are in, in the order in which a scan would open them, are
 * the curve.  Here rows are where inserts and splits have put them, so the
 * lists are read first, for their row ids: 12 bytes of memory a row.
 */
#include "index/life.h"

#include <math.h>

#include "base/blas.h"
#include "access/relation.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "vector/embedding.h"
#include "vector/kernels.h"

/* Rows compared at a time, and queries of the user's at most */
#define BATCH_ROWS 256
#define MAX_QUERIES 1000

/* Multiplications between two looks at interrupts: a few milliseconds */
#define POLL_PRODUCTS (256 * 1024 * 1024)

typedef struct Located
{
	ItemPointerData tid;
	uint32 list;
} Located;

typedef struct Measure
{
	Relation index;
	const DsView *view;
	uint32 queries;
	const float *query; /* [queries, d], placed */
	const ItemPointerData *tid; /* or NULL */
	DsNeighbours near;

	Located *located; /* [rows], by row id */
	uint64 rows;
	uint64 room;

	float *batch; /* [BATCH_ROWS, d] */
	Located row[BATCH_ROWS];
	uint32 batched;
	float *dot; /* [BATCH_ROWS, queries] */
	MemoryContext row_context;
} Measure;

/* ---- where the rows are ---- */

static int
compare_located(const void *a, const void *b)
{
	return ItemPointerCompare((ItemPointer) & ((const Located *) a)->tid,
							  (ItemPointer) & ((const Located *) b)->tid);
}

/* the server's quicksort, which looks at interrupts */
#define ST_SORT sort_located
#define ST_ELEMENT_TYPE Located
#define ST_COMPARE(a, b) compare_located(a, b)
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* The rows of all lists; pages of the view stay as long as our snapshot. */
static void
locate_rows(Measure *measure)
{
	const DsView *view = measure->view;

	for (uint32 list = 0; list < view->meta.lists; list++)
	{
		BlockNumber number = view->entry[list].head;
		uint32 ordinal = 0;

		while (BlockNumberIsValid(number))
		{
			Buffer buffer = ReadBuffer(measure->index, number);
			Page page = BufferGetPage(buffer);
			uint32 blocks;

			CHECK_FOR_INTERRUPTS();
			LockBuffer(buffer, BUFFER_LOCK_SHARE);
			if (!ds_page_is_list(measure->index, buffer, DS_PAGE_BLOCKS, list,
								 view->entry[list].generation))
				ds_page_corrupted(measure->index, number, "blocks of another list");
			if (ds_page_opaque(page)->ordinal != ordinal++)
				ds_page_corrupted(measure->index, number, "the chain of a list is broken");
			blocks = ds_page_blocks_checked(&view->layout, measure->index, buffer);
			for (uint32 i = 0; i < blocks; i++)
			{
				DsBlock *block = ds_page_block(&view->layout, page, i);

				if (measure->rows + DS_BLOCK_ROWS > measure->room)
				{
					measure->room = Max(measure->room * 2, 4096);
					measure->located =
						measure->located == NULL
							? MemoryContextAllocHuge(CurrentMemoryContext,
													 measure->room * sizeof(Located))
							: repalloc_huge(measure->located, measure->room * sizeof(Located));
				}
				for (uint32 live = block->live; live != 0; live &= live - 1)
				{
					Located *to = &measure->located[measure->rows++];

					to->tid = block->tid[pg_rightmost_one_pos32(live)];
					to->list = list;
				}
			}
			number = ds_page_opaque(page)->next;
			UnlockReleaseBuffer(buffer);
		}
	}
	if (measure->rows > 0)
		sort_located(measure->located, measure->rows);
}

/* ---- neighbours ---- */

static void
flush_batch(Measure *measure)
{
	uint32 d = measure->view->meta.dimension;
	uint32 n = measure->queries;
	bool ip = measure->view->meta.metric == DS_METRIC_IP;
	uint32 step = Max(POLL_PRODUCTS / BATCH_ROWS / d, 1);

	for (uint32 q = 0; q < n; q += step)
	{
		CHECK_FOR_INTERRUPTS();
		ds_gemm(0, 1, measure->batched, Min(step, n - q), d, ip ? -1.0f : -2.0f, measure->batch, d,
				measure->query + (Size) q * d, d, 0.0f, measure->dot + q, n);
	}
	for (uint32 i = 0; i < measure->batched; i++)
	{
		const float *dot = measure->dot + (Size) i * n;
		float base = ip ? 0 : ds_kernels()->squared_norm(measure->batch + (Size) i * d, d);

		for (uint32 q = 0; q < n; q++)
			if (base + dot[q] < measure->near.threshold[q] &&
				(measure->tid == NULL ||
				 !ItemPointerEquals(&measure->row[i].tid, (ItemPointer) &measure->tid[q])))
				ds_neighbours_keep(&measure->near, q, base + dot[q], measure->row[i].list);
	}
	measure->batched = 0;
}

static void
see_row(Relation index, ItemPointer tid, Datum *values, bool *isnull,
		bool alive pg_attribute_unused(), void *pointer)
{
	Measure *measure = pointer;
	const DsView *view = measure->view;
	Located wanted = {*tid, 0};
	Located *found;
	DsEmbeddingView vector;
	MemoryContext old;

	(void) index;
	if (isnull[0] || measure->rows == 0)
		return;
	found = bsearch(&wanted, measure->located, measure->rows, sizeof(Located), compare_located);
	if (found == NULL)
		return; /* of length zero */
	old = MemoryContextSwitchTo(measure->row_context);
	ds_index_vector(view->half, values[0], &vector);
	ds_view_check_dimension(view, vector.dim);
	if (ds_quantizer_place(&view->quantizer, vector.x,
						   measure->batch + (Size) measure->batched * vector.dim) == DS_PLACE_OK)
	{
		measure->row[measure->batched++] = *found;
		if (measure->batched == BATCH_ROWS)
			flush_batch(measure);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(measure->row_context);
}

/* ---- the curve ---- */

/* The keys of all lists for query q; returns what gaps are multiplied by. */
static double
list_keys(const Measure *measure, uint32 q, float *key)
{
	const DsView *view = measure->view;
	const DsMeta *meta = &view->meta;
	uint32 d = meta->dimension;
	const float *query = measure->query + (Size) q * d;
	double norm = ds_norm(query, d);

	for (uint32 i = 0; i < meta->lists; i++)
	{
		const float *centroid = ds_view_centroid(view, view->entry[i].centroid);

		CHECK_FOR_INTERRUPTS();
		/* one vector of many: rounded as a scan does */
		(meta->metric == DS_METRIC_IP
			 ? ds_kernels()->inner_product_many
			 : ds_kernels()->l2_squared_many)(query, centroid, d, 1, d, &key[i]);
		key[i] = (float) ds_list_key(meta, norm, key[i], view->entry[i].radius);
	}
	return ds_list_gap(meta, norm, 0, 1);
}

/* What the metapage has of it */
typedef struct Curve
{
	uint32 lists[DS_CURVE_ROWS][DS_CURVE_RECALLS];
	float gap[DS_CURVE_ROWS][DS_CURVE_RECALLS];
	float opened[DS_CURVE_RECALLS];
} Curve;

static void
make_curve(Measure *measure, DsArena *arena, Curve *curve)
{
	uint32 lists = measure->view->meta.lists;
	float *key = palloc_extended(sizeof(float) * lists, MCXT_ALLOC_HUGE);
	double opened[DS_CURVE_RECALLS] = {0};
	DsRanks ranks;
	DsStatus status;

	ds_check(ds_ranks_init(&ranks, lists, measure->queries, DS_CURVE_ROWS, ds_curve_rows, arena,
						   &status),
			 &status);
	for (uint32 q = 0; q < measure->queries; q++)
	{
		CHECK_FOR_INTERRUPTS();
		ds_ranks_add(&ranks, &measure->near, q, key, list_keys(measure, q, key));
	}
	ds_curve_store(&ranks, curve->lists, curve->gap);
	for (uint32 q = 0; q < measure->queries; q++)
	{
		double scale = list_keys(measure, q, key);

		CHECK_FOR_INTERRUPTS();
		ds_ranks_opened(key, lists, scale, curve->gap[0], DS_CURVE_RECALLS, opened);
	}
	for (int r = 0; r < DS_CURVE_RECALLS; r++)
		curve->opened[r] = (float) (opened[r] / measure->queries);
}

static void
store_curve(Relation index, uint32 lists, uint32 queries, Curve *curve, DsCurveSource source)
{
	Buffer buffer = ds_meta_lock(index);
	DsLog log;
	DsMeta *meta;

	ds_log_begin(&log, index, false);
	meta = ds_page_meta(ds_log_page(&log, buffer, false));

	/*
	 * Queries that the user gave stay in force: what rows say now can only ask
	 * for more.
	 */
	if (source == DS_CURVE_OF_ROWS && (meta->flags & DS_META_CALIBRATED) != 0 &&
		meta->curve_lists > 0)
		for (int s = 0; s < DS_CURVE_ROWS; s++)
			for (int r = 0; r < DS_CURVE_RECALLS; r++)
			{
				double before = (double) meta->curve[s][r] * lists / meta->curve_lists;

				curve->lists[s][r] = Max(curve->lists[s][r], (uint32) Min(ceil(before), lists));
				curve->gap[s][r] = Max(curve->gap[s][r], meta->curve_gap[s][r]);
				curve->opened[r] = Max(curve->opened[r],
									   meta->curve_opened[r] * (float) lists / meta->curve_lists);
			}
	memcpy(meta->curve, curve->lists, sizeof(meta->curve));
	memcpy(meta->curve_gap, curve->gap, sizeof(meta->curve_gap));
	memcpy(meta->curve_opened, curve->opened, sizeof(meta->curve_opened));
	meta->curve_lists = lists;
	if (source == DS_CURVE_OF_QUERIES || (meta->flags & DS_META_CALIBRATED) == 0)
		meta->curve_queries = queries;
	if (source == DS_CURVE_OF_QUERIES)
		meta->flags |= DS_META_CALIBRATED;
	ds_log_end(&log);
}

uint32
ds_measure_curve(DsSubject *subject, const float *queries, ItemPointer tids, uint32 n,
				 DsCurveSource source)
{
	Relation index = subject->index;
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch measure", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Snapshot snapshot = RegisterSnapshot(GetTransactionSnapshot());
	DsView *view;
	Measure measure;
	float *placed;
	ItemPointerData *excluded;
	DsArena arena;
	DsStatus status;
	Curve curve;
	uint32 d;

	memset(&measure, 0, sizeof(measure));
	measure.index = index;
	view = ds_view_get(index);
	measure.view = view;
	ds_view_pin(view, context);
	d = view->meta.dimension;
	if (view->meta.lists > 0 && n > 0)
	{
		/* queries without a place have no order */
		placed = palloc_extended(sizeof(float) * d * (Size) n, MCXT_ALLOC_HUGE);
		excluded = palloc(sizeof(ItemPointerData) * n);
		for (uint32 i = 0; i < n; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (ds_quantizer_place(&view->quantizer, queries + (Size) i * d,
								   placed + (Size) measure.queries * d) == DS_PLACE_OK)
			{
				if (tids != NULL)
					excluded[measure.queries] = tids[i];
				measure.queries++;
			}
		}
		measure.query = placed;
		measure.tid = tids != NULL ? excluded : NULL;
	}
	if (measure.queries > 0)
	{
		ds_server_arena(&arena, context);
		ds_check(ds_neighbours_init(&measure.near, measure.queries,
									ds_curve_rows[DS_CURVE_ROWS - 1], &arena, &status),
				 &status);
		measure.batch = palloc(sizeof(float) * BATCH_ROWS * d);
		measure.dot =
			palloc_extended(sizeof(float) * BATCH_ROWS * (Size) measure.queries, MCXT_ALLOC_HUGE);
		measure.row_context =
			AllocSetContextCreate(context, "deepsearch measure row", ALLOCSET_DEFAULT_SIZES);
		locate_rows(&measure);
		(void) ds_subject_scan(subject, snapshot, see_row, &measure);
		if (measure.batched > 0)
			flush_batch(&measure);
		make_curve(&measure, &arena, &curve);
		store_curve(index, view->meta.lists, measure.queries, &curve, source);
	}
	UnregisterSnapshot(snapshot);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return measure.queries;
}

/* ---- the user's own queries ---- */

/*
 * The first column of the statement's rows, run as the caller.  Values that may
 * be assigned to a column of the type do: embeddings for half floats.
 */
static uint32
read_queries(const char *sql, Oid type, bool half, float **queries, uint32 *dimension)
{
	MemoryContext context = CurrentMemoryContext;
	Oid cast = InvalidOid;
	Oid found;
	uint32 n = 0;

	SPI_connect();
	if (SPI_execute(sql, true, MAX_QUERIES) != SPI_OK_SELECT)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("query_sql must be a SELECT that returns embeddings")));
	found = SPI_tuptable->tupdesc->natts < 1 ? InvalidOid
											 : getBaseType(SPI_gettypeid(SPI_tuptable->tupdesc, 1));
	if (found != type &&
		(!OidIsValid(found) ||
		 find_coercion_pathway(type, found, COERCION_ASSIGNMENT, &cast) != COERCION_PATH_FUNC))
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("query_sql must return embeddings in its first column"),
						errhint("For texts: SELECT ds_encode(text) FROM ...")));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		DsEmbeddingView vector;
		bool isnull;
		Datum value = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);

		if (isnull)
			continue;
		if (OidIsValid(cast))
			value = OidFunctionCall3(cast, value, Int32GetDatum(-1), BoolGetDatum(false));
		ds_index_vector(half, value, &vector);
		if (n == 0)
		{
			*dimension = vector.dim;
			*queries = MemoryContextAllocHuge(
				context, mul_size(sizeof(float) * vector.dim, (Size) SPI_processed));
		}
		else if ((uint32) vector.dim != *dimension)
			ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
							errmsg("different dimensions: %u and %d", *dimension, vector.dim)));
		memcpy(*queries + (Size) n++ * vector.dim, vector.x, sizeof(float) * vector.dim);
		ds_embedding_done(&vector);
	}
	SPI_finish();
	return n;
}

DS_FUNCTION(ds_index_calibrate);
Datum
ds_index_calibrate(PG_FUNCTION_ARGS)
{
	char *sql = text_to_cstring(PG_GETARG_TEXT_PP(1));
	DsSubject subject;
	DsMeta meta;
	float *queries = NULL;
	Relation index;
	bool half;
	Oid type;
	uint32 d = 0;
	uint32 n;
	uint32 used;

	PreventCommandIfReadOnly("ds_index_calibrate()");
	PreventCommandDuringRecovery("ds_index_calibrate()");
	index = ds_index_open(PG_GETARG_OID(0), AccessShareLock);
	type = index->rd_opcintype[0];
	half = ds_index_is_half(index);
	relation_close(index, AccessShareLock);
	n = read_queries(sql, type, half, &queries, &d);
	if (n == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND), errmsg("query_sql returned no query")));
	ds_subject_open(&subject, PG_GETARG_OID(0), ShareUpdateExclusiveLock);
	ds_meta_read(subject.index, &meta);
	if (meta.dimension != 0 && meta.dimension != d)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("different dimensions: %u, and %u in the index", d, meta.dimension)));
	used = ds_measure_curve(&subject, queries, NULL, n, DS_CURVE_OF_QUERIES);
	ds_subject_close(&subject);
	PG_RETURN_INT32((int32) used);
}
