/*
 * heap.c
 *		The rows that a scan returns, before the executor asks for them.
 *
 * A scan reads the vector of a row that comes to its front, as its snapshot sees
 * the row, and computes what the operator will say (ds_heap_distance()).  So it
 * returns rows in their true order, each with its value and none that is not
 * visible: the executor evaluates no operator, keeps no queue of copied rows,
 * and fetches those alone that it returns, from pages that are in the
 * processor's cache by then.
 *
 * The executor fetches each row that the scan returns.  The rows of a query are
 * anywhere in the table, so each costs it about ten misses of the processor's
 * cache, one after another: of the server's table of buffers, the page's
 * header, the line pointer, the row.  Of an easy query that is a third, of one
 * for a hundred rows half.
 *
 * A scan knows the next rows some time before: they lead its heap.  So their
 * pages' headers and line pointers are loaded into the processor's cache when
 * they get there, and the row itself when the one before it is returned; and
 * the page is pinned where it was last (recent.h) and left in the state of the
 * table's fetch, whose first step is to see whether it holds the right page
 * already.  All of this only makes the executor's own steps faster: where it
 * cannot be done, or the page is gone, they are done as they always are.
 *
 * It needs to know the state of a fetch, which is that of the table access
 * method; for any other than the heap nothing is done.
 */
#include "index/scan.h"

#include <math.h>

#include "access/heapam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "utils/memutils.h"
#include "vector/kernels_half.h"

/* Of a row, this many bytes are loaded; the processor loads the rest by itself. */
#define ROW_BYTES 1024

void
ds_heap_begin(IndexScanDesc scan)
{
	DsScan *state = scan->opaque;
	DsView *view = state->view;

	state->fetches = scan->xs_heapfetch != NULL && scan->heapRelation != NULL &&
					 scan->heapRelation->rd_tableam == GetHeapamTableAmRoutine();
	if (state->fetches && view->heap.buffer == NULL)
		ds_recent_open(&view->heap, scan->heapRelation, view->context);
}

/* The operators, [half][metric] */
#define HEAP_OPERATOR(name, type, expression)                        \
	static double name(const void *row, const void *query, size_t d) \
	{                                                                \
		const type *a = row;                                         \
		const type *b = query;                                       \
                                                                     \
		return expression;                                           \
	}

HEAP_OPERATOR(cosine, float, ds_cosine_distance(a, b, d))
HEAP_OPERATOR(l2, float, ds_l2_distance(a, b, d))
HEAP_OPERATOR(negative_product, float, 0.0 - ds_inner_product(a, b, d))
HEAP_OPERATOR(half_cosine, DsHalf, ds_half_cosine_distance(a, b, d))
HEAP_OPERATOR(half_l2, DsHalf, ds_half_l2_distance(a, b, d))
HEAP_OPERATOR(half_negative_product, DsHalf, 0.0 - ds_half_inner_product(a, b, d))

static const DsHeapOperator operators[2][3] = {
	{[DS_METRIC_COSINE] = cosine, [DS_METRIC_L2] = l2, [DS_METRIC_IP] = negative_product},
	{[DS_METRIC_COSINE] = half_cosine,
	 [DS_METRIC_L2] = half_l2,
	 [DS_METRIC_IP] = half_negative_product},
};

void
ds_heap_query(IndexScanDesc scan, Datum query)
{
	DsScan *state = scan->opaque;
	const DsView *view = state->view;
	Size size = (view->half ? sizeof(DsHalf) : sizeof(float)) * view->meta.dimension;
	AttrNumber column = scan->indexRelation->rd_index->indkey.values[0];

	/* an expression is the executor's to compute, and so are ties between equal rows */
	if (!state->fetches || column <= 0 || scan->numberOfOrderBys > 1)
		return;
	state->column = column;
	state->asked = MemoryContextAlloc(state->context, size);
	if (view->half)
	{
		DsHalfView vector;

		ds_halfembedding_view(query, &vector);
		memcpy(state->asked, vector.x, size);
		ds_halfembedding_done(&vector);
	}
	else
	{
		DsEmbeddingView vector;

		ds_embedding_view(query, &vector);
		memcpy(state->asked, vector.x, size);
		ds_embedding_done(&vector);
	}
	state->distance = operators[view->half][view->meta.metric];
}

void
ds_heap_expect(const DsScan *state, const ItemPointerData *tid)
{
	const char *page;

	if (!state->fetches)
		return;
	page = ds_recent_page(&state->view->heap, ItemPointerGetBlockNumberNoCheck(tid));
	if (page == NULL)
		return;
	ds_prefetch(page);
	ds_prefetch(page + SizeOfPageHeaderData +
				sizeof(ItemIdData) *
					(ItemPointerGetOffsetNumberNoCheck(tid) % MaxHeapTuplesPerPage));
}

void
ds_heap_touch(const DsScan *state, const ItemPointerData *tid)
{
	OffsetNumber number = ItemPointerGetOffsetNumberNoCheck(tid);
	const char *page;
	ItemIdData item;
	Size at;

	if (!state->fetches)
		return;

	/* it may be any page by now */
	page = ds_recent_page(&state->view->heap, ItemPointerGetBlockNumberNoCheck(tid));
	if (page == NULL || number < FirstOffsetNumber || number > MaxHeapTuplesPerPage)
		return;
	memcpy(&item, page + SizeOfPageHeaderData + sizeof(ItemIdData) * (number - 1), sizeof(item));
	at = ItemIdGetOffset(&item);
	if (at < BLCKSZ)
		ds_touch(page + at, Min(Min(ItemIdGetLength(&item), ROW_BYTES), BLCKSZ - at));
}

/*
 * The page of a row becomes that of the table's fetch, pinned.  Where it is not
 * remembered, it is looked up if it must be had, else left to the fetch.
 */
static void
hold_page(IndexScanDesc scan, BlockNumber block, bool must)
{
	DsScan *state = scan->opaque;
	DsRecent *recent = &state->view->heap;
	IndexFetchHeapData *fetch = (IndexFetchHeapData *) scan->xs_heapfetch;
	BlockNumber held =
		BufferIsValid(fetch->xs_cbuf) ? BufferGetBlockNumber(fetch->xs_cbuf) : InvalidBlockNumber;
	Buffer buffer;

	if (BlockNumberIsValid(held))
		ds_recent_note(recent, held, fetch->xs_cbuf);
	if (held == block)
		return;
	buffer = ds_recent_pin(recent, scan->heapRelation, block);
	if (!BufferIsValid(buffer))
	{
		if (!must)
			return;
		buffer = ReadBuffer(scan->heapRelation, block);
	}
	if (BlockNumberIsValid(held))
		ReleaseBuffer(fetch->xs_cbuf);
	fetch->xs_cbuf = buffer;

	/* the fetch does it for a page that it has not had before */
	heap_page_prune_opt(scan->heapRelation, buffer);
}

/* What the operator says of a value that may be out of line or compressed */
static bool
distance_to(DsScan *state, Datum value, double *distance)
{
	struct varlena *stored = (struct varlena *) DatumGetPointer(value);
	bool toasted = VARATT_IS_EXTERNAL(stored) || VARATT_IS_COMPRESSED(stored);
	MemoryContext old = CurrentMemoryContext;
	int d = (int) state->view->meta.dimension;
	bool known;

	if (toasted)
	{
		if (state->row_context == NULL)
			state->row_context = AllocSetContextCreate(state->context, "deepsearch scan row",
													   ALLOCSET_DEFAULT_SIZES);
		MemoryContextSwitchTo(state->row_context);
	}
	if (state->view->half)
	{
		DsHalfView row;

		ds_halfembedding_view(value, &row);
		known = row.dim == d;
		if (known)
			*distance = state->distance(row.x, state->asked, (size_t) d);
	}
	else
	{
		DsEmbeddingView row;

		ds_embedding_view(value, &row);
		known = row.dim == d;
		if (known)
			*distance = state->distance(row.x, state->asked, (size_t) d);
	}
	if (toasted)
	{
		MemoryContextSwitchTo(old);
		MemoryContextReset(state->row_context);
	}

	/* not a number: the executor has an order for these */
	return known && !isnan(*distance);
}

DsHeapRow
ds_heap_distance(IndexScanDesc scan, const ItemPointerData *tid, double *distance)
{
	DsScan *state = scan->opaque;
	IndexFetchHeapData *fetch = (IndexFetchHeapData *) scan->xs_heapfetch;
	ItemPointerData at = *tid;
	HeapTupleData row;
	Datum value;
	bool found;
	bool null;

	if (state->distance == NULL)
		return DS_HEAP_UNKNOWN;
	hold_page(scan, ItemPointerGetBlockNumber(tid), true);
	LockBuffer(fetch->xs_cbuf, BUFFER_LOCK_SHARE);
	found = heap_hot_search_buffer(&at, scan->heapRelation, fetch->xs_cbuf, scan->xs_snapshot, &row,
								   NULL, true);
	LockBuffer(fetch->xs_cbuf, BUFFER_LOCK_UNLOCK);
	if (!found)
		return DS_HEAP_GONE;

	/* a pin is enough to read a visible row */
	value = heap_getattr(&row, state->column, RelationGetDescr(scan->heapRelation), &null);
	return !null && distance_to(state, value, distance) ? DS_HEAP_KNOWN : DS_HEAP_UNKNOWN;
}

void
ds_heap_give(IndexScanDesc scan, const ItemPointerData *tid)
{
	const DsScan *state = scan->opaque;

	if (state->fetches)
		hold_page(scan, ItemPointerGetBlockNumberNoCheck(tid), false);
}
