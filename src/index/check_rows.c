/*
 * check_rows.c
 *		ds_index_check(): the index against the rows of its table.  See check.c.
 */
#include "index/check.h"

#include <math.h>

#include "access/heapam.h"
#include "catalog/pg_am_d.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "vector/kernels.h"

/* ---- 3. rows ---- */

static int
compare_entries(const void *a, const void *b)
{
	return ItemPointerCompare((ItemPointer) & ((const Entry *) a)->tid,
							  (ItemPointer) & ((const Entry *) b)->tid);
}

/* the server's quicksort, which looks at interrupts */
#define ST_SORT sort_entries
#define ST_ELEMENT_TYPE Entry
#define ST_COMPARE(a, b) compare_entries(a, b)
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

void
ds_check_sort(Check *check)
{
	if (check->entries > 0)
		sort_entries(check->entry, check->entries);
}

/* The first entry of a row, or NULL */
static Entry *
find_entry(Check *check, ItemPointer tid)
{
	uint64 low = 0;
	uint64 high = check->entries;

	while (low < high)
	{
		uint64 middle = low + (high - low) / 2;

		if (ItemPointerCompare(&check->entry[middle].tid, tid) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < check->entries && ItemPointerEquals(&check->entry[low].tid, tid))
		return &check->entry[low];
	return NULL;
}

/* check->asked as the operator takes it; what does not fit is made to. */
static Datum
query_value(Check *check)
{
	uint32 d = check->view->meta.dimension;

	if (!check->view->half)
		return EmbeddingGetDatum(ds_embedding_from(check->asked, (int) d));
	for (uint32 i = 0; i < d; i++)
		check->asked[i] = ds_half_finite_to_float(
			ds_half_from_float(Max(Min(check->asked[i], DS_HALF_MAX), -DS_HALF_MAX)));
	return PointerGetDatum(ds_halfembedding_from(check->asked, (int) d));
}

/* Is a bound above what the operator computes for check->asked? */
static void
compare_bound(Check *check, const Entry *entry, Datum value, const char *query)
{
	DsView *view = check->view;
	const char *codes = check->sample + (Size) (entry->sample - 1) * view->layout.row_bytes;
	Datum asked = query_value(check);
	double distance = DatumGetFloat8(FunctionCall2(&check->distance, value, asked));
	DsRowFactors factors;
	DsRefined refined;
	DsProbe probe;
	double bound;

	pfree(DatumGetPointer(asked));
	if (isnan(distance) || ds_query_set(check->query, check->asked) == DS_PLACE_ZERO)
		return;
	memcpy(&factors, codes, sizeof(factors));
	ds_query_probe(check->query, ds_view_centroid(view, entry->centroid), &probe);
	ds_query_refine(
		check->query, &probe, &factors,
		ds_query_dot(check->query, 0, (const int8 *) codes + sizeof(factors), view->meta.dimension),
		&refined);
	if (refined.bound > distance)
		ds_check_put(check, "bound", entry->block, (ItemPointer) &entry->tid,
					 "the row's codes say at least %.9g for %s, the operator says %.9g",
					 refined.bound, query, distance);
	ds_query_probe(check->query, ds_view_centroid(view, view->entry[entry->list].centroid), &probe);
	bound = ds_query_list_bound(check->query, &probe, view->entry[entry->list].radius);
	if (bound > distance)
		ds_check_put(check, "bound", entry->block, (ItemPointer) &entry->tid,
					 "list %u says at least %.9g for %s, the operator says %.9g for its row",
					 entry->list, bound, query, distance);
}

static void
compare_bounds(Check *check, const Entry *entry, Datum value, const DsEmbeddingView *vector)
{
	uint32 d = check->view->meta.dimension;
	uint64 state = entry->hash;
	double size = ds_norm(vector->x, d) / sqrt(d);

	memcpy(check->asked, vector->x, sizeof(float) * d);
	compare_bound(check, entry, value, "the row itself");
	for (uint32 i = 0; i < d; i++)
	{
		state = state * UINT64CONST(6364136223846793005) + UINT64CONST(1442695040888963407);
		check->asked[i] += (float) (size * 0.3 * ((double) (state >> 11) * 0x1p-53 - 0.5));
		if (!isfinite(check->asked[i]))
			check->asked[i] = vector->x[i];
	}
	compare_bound(check, entry, value, "a vector near it");
	if (check->previous != NULL)
	{
		memcpy(check->asked, check->previous, sizeof(float) * d);
		compare_bound(check, entry, value, "another row");
	}
	else
		check->previous = MemoryContextAlloc(check->context, sizeof(float) * d);
	memcpy(check->previous, vector->x, sizeof(float) * d);
}

/* A row with a vector, and where the index has it */
static void
compare_row(Check *check, Entry *entry, const Datum *values, const bool *isnull)
{
	DsView *view = check->view;
	uint32 d = view->meta.dimension;
	const DsListEntry *list;
	DsEmbeddingView vector;
	DsPlace place;
	double reach;

	ds_index_vector(view->half, values[0], &vector);
	if ((uint32) vector.dim != d)
	{
		ds_check_put(check, "row", entry->block, &entry->tid,
					 "the row has %d dimensions, the index %u", vector.dim, d);
		return;
	}
	place = ds_quantizer_place(&view->quantizer, vector.x, check->y);
	if ((place == DS_PLACE_ZERO) != (entry->list == LIST_OF_CHAIN + DS_TIDS_ZERO) ||
		(place != DS_PLACE_ZERO && entry->list >= LIST_OF_CHAIN))
	{
		ds_check_put(check, "row", entry->block, &entry->tid,
					 "the row has%s length zero and is in %s", place == DS_PLACE_ZERO ? "" : " not",
					 ds_check_list_name(entry->list));
		return;
	}
	if (place == DS_PLACE_ZERO)
		return;

	ds_quantizer_encode(&view->quantizer, place, check->y, ds_view_centroid(view, entry->centroid),
						&check->coded);
	ds_filter_row(check->index, &view->layout, values, isnull, check->filter);
	if (hash_codes(&view->layout, &check->coded.sign, check->coded.signs, &check->coded.row,
				   check->coded.bytes, check->filter) != entry->hash)
		ds_check_put(check, "codes", entry->block, &entry->tid,
					 view->layout.filters == 0
						 ? "the index has other codes than the row's"
						 : "the index has other codes or filter columns than the row's");

	/* what a float may round is no problem */
	list = &view->entry[entry->list];
	reach = list->centroid == entry->centroid
				? check->coded.radius
				: sqrt(ds_kernels()->l2_squared_wide(check->y,
													 ds_view_centroid(view, list->centroid), d));
	if (reach * (1 - 1e-6) > list->radius)
		ds_check_put(check, "bound", entry->block, &entry->tid,
					 "the row is %.9g from the centroid of list %u, whose radius is %.9g", reach,
					 entry->list, list->radius);
	if (entry->sample > 0)
		compare_bounds(check, entry, values[0], &vector);
}

void
ds_check_row(Relation index, ItemPointer tid, Datum *values, bool *isnull,
			 bool alive pg_attribute_unused(), void *pointer)
{
	Check *check = pointer;
	Entry *entry = find_entry(check, tid);
	MemoryContext old;

	(void) index;
	if (entry == NULL)
	{
		ds_check_put(check, "row", InvalidBlockNumber, tid, "the row is not in the index");
		return;
	}
	for (Entry *other = entry;
		 other < check->entry + check->entries && ItemPointerEquals(&other->tid, tid); other++)
	{
		other->seen = true;
		if (other > entry)
			ds_check_put(check, "row", other->block, tid,
						 "the row is in the index twice, in %s and in %s",
						 ds_check_list_name(entry->list), ds_check_list_name(other->list));
	}
	old = MemoryContextSwitchTo(check->row_context);
	if (!isnull[0])
	{
		if (entry->list == LIST_OF_CHAIN + DS_TIDS_NULL)
			ds_check_put(check, "row", entry->block, tid, "the row is not NULL and is in %s",
						 ds_check_list_name(entry->list));
		else
			compare_row(check, entry, values, isnull);
	}
	else if (entry->list != LIST_OF_CHAIN + DS_TIDS_NULL)
		ds_check_put(check, "row", entry->block, tid, "the row is NULL and is in %s",
					 ds_check_list_name(entry->list));
	MemoryContextSwitchTo(old);
	MemoryContextReset(check->row_context);
}

/* ---- 4. leftovers ---- */

/* Does a place of the table hold nothing at all? */
static bool
heap_is_empty(Relation heap, ItemPointer tid)
{
	Buffer buffer;
	Page page;
	OffsetNumber offset = ItemPointerGetOffsetNumber(tid);
	bool empty;

	if (ItemPointerGetBlockNumber(tid) >= RelationGetNumberOfBlocks(heap))
		return true;
	buffer = ReadBuffer(heap, ItemPointerGetBlockNumber(tid));
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	empty = PageIsNew(page) || offset > PageGetMaxOffsetNumber(page) ||
			!ItemIdIsUsed(PageGetItemId(page, offset));
	UnlockReleaseBuffer(buffer);
	return empty;
}

/* Is the entry still in the index? */
static bool
still_there(Check *check, const Entry *entry)
{
	const DsLayout *layout = &check->view->layout;
	Buffer buffer = ReadBuffer(check->index, entry->block);
	bool there = false;
	Page page;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	if (entry->list >= LIST_OF_CHAIN)
	{
		uint32 count = ds_page_check(check->index, buffer)->kind == DS_PAGE_TIDS
						   ? ds_page_used(page) / sizeof(ItemPointerData)
						   : 0;

		for (uint32 i = 0; i < Min(count, DS_TIDS_PER_PAGE); i++)
			there = there || ItemPointerEquals(&ds_page_tids(page)[i], (ItemPointer) &entry->tid);
	}
	else if (ds_page_is_list(check->index, buffer, DS_PAGE_BLOCKS, entry->list,
							 check->view->entry[entry->list].generation) &&
			 entry->place / DS_BLOCK_ROWS < ds_page_blocks_checked(layout, check->index, buffer))
	{
		DsBlock *block = ds_page_block(layout, page, entry->place / DS_BLOCK_ROWS);
		uint32 row = entry->place % DS_BLOCK_ROWS;

		there = ((block->live >> row) & 1) != 0 &&
				ItemPointerEquals(&block->tid[row], (ItemPointer) &entry->tid);
	}
	UnlockReleaseBuffer(buffer);

	/* pages that a list has left are nobody's: VACUUM does not look at their rows */
	if (there && entry->list < LIST_OF_CHAIN)
	{
		DsView *now = ds_view_get(check->index);

		there = now == check->view ||
				(entry->list < now->meta.lists &&
				 now->entry[entry->list].generation == check->view->entry[entry->list].generation);
	}
	return there;
}

void
ds_check_leftovers(Check *check, uint32 number pg_attribute_unused())
{
	Relation heap = check->subject.heap;

	if (heap->rd_rel->relam != HEAP_TABLE_AM_OID)
		return;
	for (uint64 i = 0; i < check->entries; i++)
	{
		Entry *entry = &check->entry[i];

		if (entry->seen || !ItemPointerIsValid(&entry->tid))
			continue;
		CHECK_FOR_INTERRUPTS();

		/* VACUUM takes a row id out of the index, then frees the place: look in this order again */
		if (heap_is_empty(heap, &entry->tid) && still_there(check, entry) &&
			heap_is_empty(heap, &entry->tid))
			ds_check_put(check, "row", entry->block, &entry->tid,
						 "%s has a row id at which the table has nothing",
						 ds_check_list_name(entry->list));
	}
}
