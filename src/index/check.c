/*
 * check.c
 *		ds_index_check(): is an index what page.h says, and does it hold the rows
 *		of its table?
 *
 *	1. structure	The metapage, the vectors, the directory, each list and each
 *					chain of row ids are followed from their heads.  Each page is
 *					claimed on the way, so none can be in two places.  What is
 *					found of rows is remembered: row id, place, and a hash of the
 *					codes.
 *	2. pages		All pages of the file: headers, and pages that say they belong
 *					to a chain that does not lead to them.
 *	3. rows			All rows of the table that a snapshot sees.  Each must be in the
 *					index once and where it belongs.  Codes are the same on every
 *					machine, so each row is encoded again and compared: to the bit.
 *					For some of them, bounds are computed for several queries, the
 *					row itself among them, and compared with the operator.
 *	4. leftovers	Row ids that no row of the snapshot has may be those of dead or
 *					newer rows, but not of places that hold nothing: the next row
 *					there would be found under another row's codes.
 *
 * Nothing is locked that an insert, a search or VACUUM needs.  Why is that
 * enough?  The snapshot is taken before the directory is read, so each of its
 * rows is in a list of that directory, or was moved by a rewrite after it; and
 * the pages of the lists as they were stay until no snapshot is as old as this
 * one.  A row that the snapshot sees is not removed meanwhile.  On a standby
 * pages may go earlier: then the structure is read again.
 *
 * Functions of this room raise an error for a damaged page.  Each step, a list
 * for example, runs in a subtransaction, and such an error becomes a row of
 * the result; the other steps go on.
 */
#include "index/check.h"

#include <math.h>

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "vector/kernels.h"

/* Rows for which bounds are compared, about */
#define BOUND_ROWS 2000

typedef void (*Step)(Check *check, uint32 number);

/* A row of the result */
void
ds_check_put(Check *check, const char *kind, BlockNumber block, ItemPointer tid, const char *format,
			 ...)
{
	Datum values[4];
	bool nulls[4] = {false};
	StringInfoData text;
	MemoryContext old = MemoryContextSwitchTo(check->context);

	initStringInfo(&text);
	for (;;)
	{
		va_list args;
		int more;

		va_start(args, format);
		more = appendStringInfoVA(&text, format, args);
		va_end(args);
		if (more == 0)
			break;
		enlargeStringInfo(&text, more);
	}
	values[0] = CStringGetTextDatum(kind);
	values[1] = Int64GetDatum(block);
	nulls[1] = !BlockNumberIsValid(block);
	values[2] = PointerGetDatum(tid);
	nulls[2] = tid == NULL;
	values[3] = PointerGetDatum(cstring_to_text_with_len(text.data, text.len));
	tuplestore_putvalues(check->store, check->desc, values, nulls);
	pfree(text.data);
	MemoryContextSwitchTo(old);
}

/* Do a step; false, and a row of the result, when it met damage. */
static bool
guarded(Check *check, Step step, uint32 number)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool good = true;

	CHECK_FOR_INTERRUPTS();
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		step(check, number);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode != ERRCODE_INDEX_CORRUPTED &&
			error->sqlerrcode != ERRCODE_DATA_CORRUPTED)
			ReThrowError(error);
		ds_check_put(check, "damage", InvalidBlockNumber, NULL, "%s", error->message);
		FreeErrorData(error);
		good = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return good;
}

const char *
ds_check_list_name(uint32 list)
{
	if (list == LIST_OF_CHAIN + DS_TIDS_NULL)
		return "the rows that are NULL";
	if (list == LIST_OF_CHAIN + DS_TIDS_ZERO)
		return "the rows of length zero";
	return psprintf("list %u", list);
}

/* ---- 1. structure ---- */

/* A chain has come to a page. */
static void
claim(Check *check, BlockNumber block, DsPageKind kind, uint32 list)
{
	Claim *here;

	if (block >= check->blocks)
	{
		BlockNumber blocks = RelationGetNumberOfBlocks(check->index);

		if (block >= blocks || block == InvalidBlockNumber)
			ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
							errmsg("%s goes on at block %u, which is beyond the end of the file",
								   ds_check_list_name(list), block)));
		check->claim = repalloc_huge(check->claim, blocks * sizeof(Claim));
		memset(check->claim + check->blocks, 0, (blocks - check->blocks) * sizeof(Claim));
		check->blocks = blocks;
	}
	here = &check->claim[block];

	/* blocks that are neighbours share a page of codes */
	if (here->kind != 0 &&
		!(kind == DS_PAGE_CODES && here->kind == DS_PAGE_CODES && here->list == list))
		ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
						errmsg("block %u is in two places: it was reached already (as kind %u of "
							   "list %u), and again (as kind %u of list %u)",
							   block, here->kind, here->list, kind, list)));
	here->kind = kind;
	here->list = list;
}

static void
open_view(Check *check, uint32 number pg_attribute_unused())
{
	check->view = ds_view_get(check->index);
	ds_view_pin(check->view, check->context);
}

/* Pages of a chain that holds size bytes in all; returns how many there are. */
static uint32
walk_stream(Check *check, BlockNumber head, DsPageKind kind, uint64 pages)
{
	BlockNumber block = head;

	for (uint32 i = 0; i < pages; i++)
	{
		Buffer buffer;
		DsPageOpaque *opaque;

		CHECK_FOR_INTERRUPTS();
		if (!BlockNumberIsValid(block))
			ds_page_corrupted(check->index, DS_META_BLOCK,
							  kind == DS_PAGE_VECTORS  ? "the chain of centroids is too short"
							  : kind == DS_PAGE_ROUTES ? "the chain of routes is too short"
													   : "the directory is too short");
		claim(check, block, kind, 0);
		buffer = ds_page_read(check->index, block, kind, BUFFER_LOCK_SHARE);
		opaque = ds_page_opaque(BufferGetPage(buffer));
		if (opaque->ordinal != i)
			ds_page_corrupted(check->index, block, "its number in the chain is wrong");
		block = opaque->next;
		UnlockReleaseBuffer(buffer);
	}
	return (uint32) pages;
}

static void
walk_vectors(Check *check, uint32 number pg_attribute_unused())
{
	const DsMeta *meta = &check->view->meta;
	uint64 bytes = (uint64) meta->vectors * sizeof(float) * meta->dimension;

	check->vector_pages = walk_stream(check, meta->vectors_head, DS_PAGE_VECTORS,
									  (bytes + DS_PAGE_SPACE - 1) / DS_PAGE_SPACE);
	bytes = ds_route_bytes(meta->dimension, check->view->centroids);
	check->route_pages = walk_stream(check, meta->routes_head, DS_PAGE_ROUTES,
									 (bytes + DS_PAGE_SPACE - 1) / DS_PAGE_SPACE);
	for (uint32 i = 0; i < check->view->centroids; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!ds_kernels()->all_finite(ds_view_centroid(check->view, i), meta->dimension))
			ds_check_put(check, "centroid", InvalidBlockNumber, NULL, "centroid %u is not finite",
						 i);
		else if (!ds_route_check(check->view, i))
			ds_check_put(check, "centroid", InvalidBlockNumber, NULL,
						 "the code of centroid %u is not that of the centroid", i);
	}
}

static void
walk_directory(Check *check, uint32 number pg_attribute_unused())
{
	const DsMeta *meta = &check->view->meta;

	check->directory_pages =
		walk_stream(check, meta->directory_head, DS_PAGE_DIRECTORY,
					(meta->lists + DS_ENTRIES_PER_PAGE - 1) / DS_ENTRIES_PER_PAGE);
	for (uint32 i = 0; i < meta->lists; i++)
	{
		const DsListEntry *entry = &check->view->entry[i];
		BlockNumber page = check->view->directory_page[i / DS_ENTRIES_PER_PAGE];

		if (entry->generation == 0 || entry->generation >= meta->next_generation)
			ds_check_put(check, "directory", page, NULL,
						 "list %u has generation %u, the next one is %u", i, entry->generation,
						 meta->next_generation);
		if (entry->parent > i)
			ds_check_put(check, "directory", page, NULL, "list %u was made of list %u", i,
						 entry->parent);
		if (isnan(entry->radius) || entry->radius < 0)
			ds_check_put(check, "directory", page, NULL, "list %u has radius %g", i, entry->radius);
		if (BlockNumberIsValid(entry->head) != BlockNumberIsValid(entry->insert))
			ds_check_put(check, "directory", page, NULL,
						 "list %u has a first page and no page to insert", i);
	}
	for (int stage = 0; stage < DS_CURVE_ROWS; stage++)
		for (int i = 0; i < DS_CURVE_RECALLS && meta->curve_lists > 0; i++)
			if (!(meta->curve_gap[stage][i] >= 0) ||
				(i > 0 && meta->curve_gap[stage][i] < meta->curve_gap[stage][i - 1]) ||
				meta->curve[stage][i] < 1 || meta->curve[stage][i] > meta->curve_lists ||
				(i > 0 && meta->curve[stage][i] < meta->curve[stage][i - 1]))
			{
				ds_check_put(check, "metapage", DS_META_BLOCK, NULL,
							 "the recall curve is impossible");
				return;
			}
}

/* What is known of the damage: did the list move on, or is the page wrong? */
static void
not_ours(Check *check, uint32 list, BlockNumber block, const char *what)
{
	DsView *now = ds_view_get(check->index);

	if (RecoveryInProgress() && now != check->view &&
		(list >= now->meta.lists ||
		 now->entry[list].generation != check->view->entry[list].generation))
		check->moved = true;
	else
		ds_page_corrupted(check->index, block, what);
}

/* Read an area up to `until`, each of whose bytes must have been written. */
static bool
read_area(Check *check, DsBlock *block, uint32 list, BlockNumber from, Size until, char *area)
{
	const DsLayout *layout = &check->view->layout;
	BlockNumber *pages = ds_block_pages(layout, block);
	Size done = 0;

	while (done < until)
	{
		Size position = block->code_start + done;
		Size i = position / DS_PAGE_SPACE;
		Size at = position % DS_PAGE_SPACE;
		Size part = Min(until - done, DS_PAGE_SPACE - at);
		Buffer buffer;

		if (i >= layout->code_pages || !BlockNumberIsValid(pages[i]))
			ds_page_corrupted(check->index, from, "a row without codes");
		claim(check, pages[i], DS_PAGE_CODES, list);
		buffer = ReadBuffer(check->index, pages[i]);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (!ds_page_is_list(check->index, buffer, DS_PAGE_CODES, list,
							 check->view->entry[list].generation))
		{
			UnlockReleaseBuffer(buffer);
			not_ours(check, list, pages[i], "codes of another list");
			return false;
		}
		if (ds_page_used(BufferGetPage(buffer)) < at + part)
			ds_page_corrupted(check->index, pages[i], "a row without codes");
		memcpy(area + done, PageGetContents(BufferGetPage(buffer)) + at, part);
		UnlockReleaseBuffer(buffer);
		done += part;
	}
	return true;
}

static Entry *
add_entry(Check *check, ItemPointer tid, uint32 list, BlockNumber block, uint32 place)
{
	Entry *entry;

	if (check->entries >= check->entry_room)
	{
		check->entry_room = Max(check->entry_room * 2, 1024);
		check->entry =
			check->entry == NULL
				? MemoryContextAllocHuge(check->context, check->entry_room * sizeof(Entry))
				: repalloc_huge(check->entry, check->entry_room * sizeof(Entry));
	}
	entry = &check->entry[check->entries++];
	memset(entry, 0, sizeof(*entry));
	entry->tid = *tid;
	entry->list = list;
	entry->block = block;
	entry->place = (uint16) place;
	if (!ItemPointerIsValid(tid))
		ds_check_put(check, "row", block, NULL, "%s has an impossible row id",
					 ds_check_list_name(list));
	return entry;
}

static void
add_rows(Check *check, DsBlock *block, uint32 list, BlockNumber number, uint32 first,
		 const char *area, uint8 *signs)
{
	const DsLayout *layout = &check->view->layout;
	uint32 live = block->live;

	while (live != 0)
	{
		int row = pg_rightmost_one_pos32(live);
		const char *codes = area + layout->rows_at + row * layout->row_bytes;
		DsSignFactors sign = ds_block_get_factors(ds_block_factors(layout, block), row);
		Entry *entry = add_entry(check, &block->tid[row], list, number, first + row);
		DsRowFactors factors;

		live &= live - 1;
		entry->centroid = block->centroid;
		ds_block_get(ds_block_signs(layout, block), row, signs, layout->inline_groups);
		if (layout->rows_at > 0)
			ds_block_get((uint8 *) area, row, signs + layout->inline_groups,
						 layout->groups - layout->inline_groups);
		memcpy(&factors, codes, sizeof(factors));
		ds_block_get_filter(layout, block, row, check->filter);
		entry->hash = hash_codes(layout, &sign, signs, &factors,
								 (const int8 *) codes + sizeof(DsRowFactors), check->filter);
		if (hash_bytes((unsigned char *) &block->tid[row], sizeof(ItemPointerData)) <=
			check->sample_below)
		{
			if (check->samples >= check->sample_room)
			{
				check->sample_room = Max(check->sample_room * 2, 256);
				check->sample =
					check->sample == NULL
						? MemoryContextAllocHuge(check->context,
												 check->sample_room * layout->row_bytes)
						: repalloc_huge(check->sample, check->sample_room * layout->row_bytes);
			}
			memcpy(check->sample + check->samples * layout->row_bytes, codes, layout->row_bytes);
			entry->sample = (uint32) ++check->samples;
		}
	}
}

static void
walk_list(Check *check, uint32 list)
{
	Relation index = check->index;
	const DsLayout *layout = &check->view->layout;
	const DsListEntry *entry = &check->view->entry[list];
	BlockNumber number = entry->head;
	char *copy = palloc(BLCKSZ);
	char *area = palloc(layout->area_size);
	uint8 *signs = palloc(layout->groups);
	uint64 places = 0;
	bool insert = false;
	uint32 ordinal;

	for (ordinal = 0; BlockNumberIsValid(number); ordinal++)
	{
		Buffer buffer;
		Page page = copy;
		uint32 blocks;

		CHECK_FOR_INTERRUPTS();
		claim(check, number, DS_PAGE_BLOCKS, list);
		buffer = ReadBuffer(index, number);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (!ds_page_is_list(index, buffer, DS_PAGE_BLOCKS, list, entry->generation))
		{
			UnlockReleaseBuffer(buffer);
			not_ours(check, list, number, "blocks of another list");
			return;
		}
		if (ds_page_opaque(BufferGetPage(buffer))->ordinal != ordinal)
			ds_page_corrupted(index, number, "its number in the chain is wrong");
		blocks = ds_page_blocks_checked(layout, index, buffer);
		memcpy(copy, BufferGetPage(buffer), BLCKSZ);
		UnlockReleaseBuffer(buffer);
		insert = insert || number == entry->insert;
		places += (uint64) blocks * DS_BLOCK_ROWS;

		for (uint32 i = 0; i < blocks; i++)
		{
			DsBlock *block = ds_page_block(layout, page, i);

			if (block->centroid >= check->view->centroids)
				ds_page_corrupted(index, number, "a block without a centroid");
			if (block->code_start >= DS_PAGE_SPACE)
				ds_page_corrupted(index, number, "a block without codes");
			if (block->live == 0)
				continue;
			if (!read_area(check, block, list, number,
						   layout->rows_at +
							   (pg_leftmost_one_pos32(block->live) + 1) * layout->row_bytes,
						   area))
				return;
			add_rows(check, block, list, number, i * DS_BLOCK_ROWS, area, signs);
		}
		number = ds_page_opaque(page)->next;
	}
	check->list_pages[list] = ordinal;
	if (BlockNumberIsValid(entry->insert) && !insert)
		ds_check_put(check, "directory", InvalidBlockNumber, NULL,
					 "list %u has block %u to insert, which is not one of its pages", list,
					 entry->insert);

	/* counted after a block was made, so a crash may leave it behind; never ahead */
	if (entry->rows > places)
		ds_check_put(check, "directory", InvalidBlockNumber, NULL,
					 "list %u is said to have places for %u rows, and has " UINT64_FORMAT, list,
					 entry->rows, places);
	pfree(signs);
	pfree(area);
	pfree(copy);
}

static void
walk_tids(Check *check, uint32 chain)
{
	Relation index = check->index;
	BlockNumber number = check->view->meta.tids_head[chain];
	uint32 ordinal;

	for (ordinal = 0; BlockNumberIsValid(number); ordinal++)
	{
		Buffer buffer;
		Page page;
		uint32 count;

		CHECK_FOR_INTERRUPTS();
		claim(check, number, DS_PAGE_TIDS, LIST_OF_CHAIN + chain);
		buffer = ds_page_read(index, number, DS_PAGE_TIDS, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		count = ds_page_used(page) / sizeof(ItemPointerData);
		if (ds_page_opaque(page)->list != chain || ds_page_opaque(page)->ordinal != ordinal ||
			count > DS_TIDS_PER_PAGE)
			ds_page_corrupted(index, number, "the chain of row ids is broken");
		for (uint32 i = 0; i < count; i++)
			add_entry(check, &ds_page_tids(page)[i], LIST_OF_CHAIN + chain, number, i);
		number = ds_page_opaque(page)->next;
		UnlockReleaseBuffer(buffer);
	}
	check->tid_pages[chain] = ordinal;
}

/* ---- 2. pages ---- */

static void
look_at_page(Check *check, uint32 number)
{
	Buffer buffer = ReadBuffer(check->index, number);
	DsPageOpaque opaque;
	bool lost = false;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (PageIsNew(BufferGetPage(buffer)))
	{
		/* made, and then a crash */
		UnlockReleaseBuffer(buffer);
		return;
	}
	opaque = *ds_page_check(check->index, buffer);
	UnlockReleaseBuffer(buffer);

	/* pages behind those that we saw may have been added since */
	if (check->claim[number].kind == 0)
		switch ((DsPageKind) opaque.kind)
		{
			case DS_PAGE_META:
				lost = true;
				break;
			case DS_PAGE_VECTORS:
				lost = opaque.ordinal < check->vector_pages;
				break;
			case DS_PAGE_ROUTES:
				lost = opaque.ordinal < check->route_pages;
				break;
			case DS_PAGE_DIRECTORY:
				lost = opaque.ordinal < check->directory_pages;
				break;
			case DS_PAGE_BLOCKS:
				lost = opaque.list < check->view->meta.lists &&
					   opaque.generation == check->view->entry[opaque.list].generation &&
					   opaque.ordinal < check->list_pages[opaque.list];
				break;
			case DS_PAGE_TIDS:
				lost = opaque.list > DS_TIDS_ZERO || opaque.ordinal < check->tid_pages[opaque.list];
				break;
			case DS_PAGE_CODES: /* a crash may leave one that no block names */
			case DS_PAGE_FREE:
				break;
		}
	if (lost)
		ds_check_put(
			check, "page", number, NULL,
			"the page says that it is page %u of list %u (kind %u), which does not lead to it",
			opaque.ordinal, opaque.list, opaque.kind);
}

/* ---- all of it ---- */

static void
begin_attempt(Check *check)
{
	DsArena arena;
	DsStatus status;
	const DsView *view;
	uint32 d;
	double rows;

	MemoryContextReset(check->context);
	check->row_context =
		AllocSetContextCreate(check->context, "deepsearch check row", ALLOCSET_DEFAULT_SIZES);
	check->moved = false;
	check->view = NULL;
	check->entry = NULL;
	check->entries = check->entry_room = 0;
	check->sample = NULL;
	check->samples = check->sample_room = 0;
	check->previous = NULL;
	check->vector_pages = check->route_pages = check->directory_pages = 0;
	check->tid_pages[0] = check->tid_pages[1] = 0;
	check->blocks = RelationGetNumberOfBlocks(check->index);
	check->claim = MemoryContextAllocExtended(check->context, Max(check->blocks, 1) * sizeof(Claim),
											  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	if (!guarded(check, open_view, 0))
		return;
	view = check->view;
	check->claim[DS_META_BLOCK].kind = DS_PAGE_META;
	check->list_pages =
		MemoryContextAllocExtended(check->context, Max(view->meta.lists, 1) * sizeof(uint32),
								   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	d = view->meta.dimension;
	rows = 0;
	for (uint32 i = 0; i < view->meta.lists; i++)
		rows += view->entry[i].rows;
	check->sample_below =
		rows <= BOUND_ROWS ? PG_UINT32_MAX : (uint32) (BOUND_ROWS / rows * PG_UINT32_MAX);
	if (d == 0)
		return;
	ds_server_arena(&arena, check->context);
	check->query = ds_query_new(&view->quantizer, &arena, &status);
	if (check->query == NULL)
		ds_check(DS_OUT_OF_MEMORY, &status);
	check->y = MemoryContextAlloc(check->context, sizeof(float) * d);
	check->coded.signs = MemoryContextAlloc(check->context, view->layout.groups);
	check->coded.bytes = MemoryContextAlloc(check->context, d);
	check->filter = MemoryContextAlloc(check->context, view->layout.filter_size);
	check->asked = MemoryContextAlloc(check->context, sizeof(float) * d);
}

/* Follow everything from its head; false when it has to be done again. */
static bool
walk(Check *check)
{
	begin_attempt(check);
	if (check->view == NULL)
		return true;
	(void) guarded(check, walk_vectors, 0);
	(void) guarded(check, walk_directory, 0);
	for (uint32 i = 0; i < check->view->meta.lists && !check->moved; i++)
		(void) guarded(check, walk_list, i);
	for (uint32 i = 0; i < 2 && !check->moved; i++)
		(void) guarded(check, walk_tids, i);
	return !check->moved;
}

DS_FUNCTION(ds_index_check);
Datum
ds_index_check(PG_FUNCTION_ARGS)
{
	Check check;
	int attempts = 0;

	memset(&check, 0, sizeof(check));
	check.store = ds_materialize(fcinfo, &check.desc);
	ds_subject_open(&check.subject, PG_GETARG_OID(0), AccessShareLock);
	check.index = check.subject.index;
	check.context =
		AllocSetContextCreate(CurrentMemoryContext, "deepsearch check", ALLOCSET_DEFAULT_SIZES);
	fmgr_info(ds_index_distance(check.index), &check.distance);

	/* before the directory is read: see above */
	check.snapshot = RegisterSnapshot(GetTransactionSnapshot());
	if (IsolationUsesXactSnapshot() && check.index->rd_index->indcheckxmin &&
		!TransactionIdPrecedes(HeapTupleHeaderGetXmin(check.index->rd_indextuple->t_data),
							   check.snapshot->xmin))
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("index \"%s\" cannot be verified with this transaction's snapshot",
							   RelationGetRelationName(check.index))));

	while (!walk(&check))
	{
		tuplestore_clear(check.store);
		if (++attempts == 10)
			ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
							errmsg("index \"%s\" is being changed too fast to be verified here",
								   RelationGetRelationName(check.index)),
							errhint("Try again, or on the primary server.")));
	}
	if (check.view != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(check.context);

		for (BlockNumber i = 1; i < check.blocks; i++)
			(void) guarded(&check, look_at_page, i);
		ds_check_sort(&check);
		(void) ds_subject_scan(&check.subject, check.snapshot, ds_check_row, &check);
		(void) guarded(&check, ds_check_leftovers, 0);
		MemoryContextSwitchTo(old);
	}
	UnregisterSnapshot(check.snapshot);
	MemoryContextDelete(check.context);
	ds_subject_close(&check.subject);
	return (Datum) 0;
}
