/*
 * heap.c
 *		The rows that a scan returns, before the executor asks for them.
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

#include "access/heapam.h"
#include "access/relscan.h"
#include "access/tableam.h"

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

void
ds_heap_expect(const DsScan *state, const ItemPointerData *tid)
{
	const char *page;

	if (!state->fetches)
		return;
	page = ds_recent_page(&state->view->heap, ItemPointerGetBlockNumberNoCheck(tid));
	if (page == NULL)
		return;
	__builtin_prefetch(page);
	__builtin_prefetch(page + SizeOfPageHeaderData +
					   sizeof(ItemIdData) *
						   (ItemPointerGetOffsetNumberNoCheck(tid) % MaxHeapTuplesPerPage));
}

/* The row of a page that may be any page by now */
static void
touch_row(const DsScan *state, const ItemPointerData *tid)
{
	OffsetNumber number = ItemPointerGetOffsetNumberNoCheck(tid);
	const char *page = ds_recent_page(&state->view->heap, ItemPointerGetBlockNumberNoCheck(tid));
	ItemIdData item;
	Size at;

	if (page == NULL || number < FirstOffsetNumber || number > MaxHeapTuplesPerPage)
		return;
	memcpy(&item, page + SizeOfPageHeaderData + sizeof(ItemIdData) * (number - 1), sizeof(item));
	at = ItemIdGetOffset(&item);
	if (at < BLCKSZ)
		ds_touch(page + at, Min(Min(ItemIdGetLength(&item), ROW_BYTES), BLCKSZ - at));
}

void
ds_heap_give(IndexScanDesc scan, const ItemPointerData *tid, const ItemPointerData *next)
{
	DsScan *state = scan->opaque;
	DsRecent *recent = &state->view->heap;
	IndexFetchHeapData *fetch;
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);
	BlockNumber held;

	if (!state->fetches)
		return;
	fetch = (IndexFetchHeapData *) scan->xs_heapfetch;
	held =
		BufferIsValid(fetch->xs_cbuf) ? BufferGetBlockNumber(fetch->xs_cbuf) : InvalidBlockNumber;
	if (BlockNumberIsValid(held))
		ds_recent_note(recent, held, fetch->xs_cbuf);
	if (held != block)
	{
		Buffer buffer = ds_recent_pin(recent, scan->heapRelation, block);

		if (BufferIsValid(buffer))
		{
			if (BlockNumberIsValid(held))
				ReleaseBuffer(fetch->xs_cbuf);
			fetch->xs_cbuf = buffer;

			/* the fetch does it for a page that it has not had before */
			heap_page_prune_opt(scan->heapRelation, buffer);
		}
	}
	if (next != NULL)
		touch_row(state, next);
}
