/*
 * page.c
 *		Pages of an index, the changes to them, and the chains: see page.h.
 */
#include "index/index.h"

#include "access/xloginsert.h"
#include "miscadmin.h"
#include "storage/indexfsm.h"
#include "storage/lmgr.h"

void
ds_layout_init(DsLayout *layout, const DsMeta *meta)
{
	uint32 dimension = meta->dimension;
	Size fixed;
	Size rows = (Size) DS_BLOCK_ROWS * ds_row_bytes(dimension);

	memset(layout, 0, sizeof(*layout));
	layout->dimension = dimension;
	layout->groups = ds_code_groups(dimension);
	layout->row_bytes = ds_row_bytes(dimension);
	layout->filters = meta->filters;
	for (uint32 i = 0; i < layout->filters; i++)
	{
		layout->order_slot[i] =
			(meta->filter[i] & DS_FILTER_ORDER) != 0 ? layout->slots++ : DS_NO_SLOT;
		layout->hash_slot[i] =
			(meta->filter[i] & DS_FILTER_HASH) != 0 ? layout->slots++ : DS_NO_SLOT;
	}
	if (layout->filters > 0)
		layout->filter_size = sizeof(int64) * (1 + layout->slots);
	layout->slots_at = sizeof(DsBlock);
	layout->nulls_at = layout->slots_at + sizeof(int64) * DS_BLOCK_ROWS * layout->slots;

	/*
	 * How many sign bytes stand in the record depends on the length of
	 * code_page[], which depends on how many do not: start from all of them
	 * in the area, which makes code_page[] a little longer than needed.
	 */
	layout->pages_at = layout->nulls_at + sizeof(uint32) * layout->filters;
	layout->code_pages = (DS_PAGE_SPACE - 1 + rows + DS_PAGE_SPACE - 1) / DS_PAGE_SPACE;
	fixed = layout->pages_at + sizeof(BlockNumber) * layout->code_pages + sizeof(DsBlockFactors);
	if (MAXALIGN(fixed + ds_block_bytes(dimension)) <= DS_PAGE_SPACE)
		layout->inline_groups = layout->groups;
	else
	{
		layout->code_pages =
			(DS_PAGE_SPACE - 1 + rows + ds_block_bytes(dimension) + DS_PAGE_SPACE - 1) /
			DS_PAGE_SPACE;
		fixed =
			layout->pages_at + sizeof(BlockNumber) * layout->code_pages + sizeof(DsBlockFactors);
		layout->inline_groups =
			Min(layout->groups, (DS_PAGE_SPACE - MAXALIGN(fixed)) / DS_BLOCK_ROWS);
	}
	layout->factors_at = layout->pages_at + sizeof(BlockNumber) * layout->code_pages;
	layout->signs_at = layout->factors_at + sizeof(DsBlockFactors);
	layout->block_size = MAXALIGN(layout->signs_at + (Size) layout->inline_groups * DS_BLOCK_ROWS);
	layout->blocks_per_page = DS_PAGE_SPACE / layout->block_size;
	layout->rows_at = (Size) (layout->groups - layout->inline_groups) * DS_BLOCK_ROWS;
	layout->area_size = layout->rows_at + rows;
	Assert(layout->blocks_per_page > 0);
}

/* ---- changes ---- */

void
ds_log_begin(DsLog *log, Relation index, bool direct)
{
	log->index = index;
	log->direct = direct;
	log->pages = 0;
	log->state = direct ? NULL : GenericXLogStart(index);
}

static void
finish(DsLog *log)
{
	if (log->direct)
		for (int i = 0; i < log->pages; i++)
			MarkBufferDirty(log->buffers[i]);
	else if (log->pages > 0)
		GenericXLogFinish(log->state);
	else
		GenericXLogAbort(log->state);
	for (int i = 0; i < log->pages; i++)
		UnlockReleaseBuffer(log->buffers[i]);
	log->pages = 0;
	log->state = NULL;
}

Page
ds_log_page(DsLog *log, Buffer buffer, bool fresh)
{
	if (log->pages == DS_LOG_PAGES)
	{
		finish(log);
		log->state = log->direct ? NULL : GenericXLogStart(log->index);
	}
	log->buffers[log->pages++] = buffer;
	if (log->direct)
		return BufferGetPage(buffer);
	return GenericXLogRegisterBuffer(log->state, buffer, fresh ? GENERIC_XLOG_FULL_IMAGE : 0);
}

void
ds_log_end(DsLog *log)
{
	finish(log);
}

void
ds_page_init(Page page, DsPageKind kind, uint32 list, uint32 generation, uint32 ordinal)
{
	DsPageOpaque *opaque;

	PageInit(page, BLCKSZ, sizeof(DsPageOpaque));
	((PageHeader) page)->pd_lower = MAXALIGN(SizeOfPageHeaderData);
	opaque = ds_page_opaque(page);
	memset(opaque, 0, sizeof(*opaque));
	opaque->list = list;
	opaque->generation = generation;
	opaque->next = InvalidBlockNumber;
	opaque->ordinal = ordinal;
	opaque->kind = kind;
	opaque->page_id = DS_PAGE_ID;
}

Buffer
ds_page_allocate(Relation index, bool direct)
{
	Buffer buffer;

	/* a build has a file of its own, without a free page */
	while (!direct)
	{
		BlockNumber block = GetFreeIndexPage(index);

		if (block == InvalidBlockNumber)
			break;
		buffer = ReadBuffer(index, block);

		/* The free space map is not to be believed: another may have been faster. */
		if (ConditionalLockBuffer(buffer))
		{
			Page page = BufferGetPage(buffer);

			if (PageIsNew(page))
				return buffer;
			if (ds_page_check(index, buffer)->kind == DS_PAGE_FREE)
				return buffer;
			LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		}
		ReleaseBuffer(buffer);
	}

	if (RELATION_IS_LOCAL(index))
		buffer = ReadBuffer(index, P_NEW);
	else
	{
		/*
		 * The page is locked before another can see that it exists: VACUUM
		 * would take it for one that a crash left unused.
		 */
		LockRelationForExtension(index, ExclusiveLock);
		buffer = ReadBuffer(index, P_NEW);
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		UnlockRelationForExtension(index, ExclusiveLock);
		return buffer;
	}
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	return buffer;
}

/* ---- reading ---- */

void
ds_page_corrupted(Relation index, BlockNumber block, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
					errmsg("index \"%s\" has a damaged page at block %u: %s",
						   RelationGetRelationName(index), block, what),
					errhint("REINDEX it.")));
}

DsPageOpaque *
ds_page_check(Relation index, Buffer buffer)
{
	Page page = BufferGetPage(buffer);
	PageHeader header = (PageHeader) page;
	DsPageOpaque *opaque;

	if (unlikely(PageIsNew(page)))
		ds_page_corrupted(index, BufferGetBlockNumber(buffer), "it is empty");
	if (unlikely(header->pd_special != BLCKSZ - MAXALIGN(sizeof(DsPageOpaque)) ||
				 header->pd_lower < MAXALIGN(SizeOfPageHeaderData) ||
				 header->pd_lower > header->pd_special))
		ds_page_corrupted(index, BufferGetBlockNumber(buffer), "bad page header");
	opaque = ds_page_opaque(page);
	if (unlikely(opaque->page_id != DS_PAGE_ID || opaque->kind < DS_PAGE_META ||
				 opaque->kind > DS_PAGE_FREE))
		ds_page_corrupted(index, BufferGetBlockNumber(buffer), "not a page of this kind of index");
	return opaque;
}

Buffer
ds_page_read(Relation index, BlockNumber block, DsPageKind kind, int lockmode)
{
	Buffer buffer = ReadBuffer(index, block);

	LockBuffer(buffer, lockmode);
	if (unlikely(ds_page_check(index, buffer)->kind != kind))
		ds_page_corrupted(index, block, "another kind of page was expected");
	return buffer;
}

bool
ds_page_is_list(Relation index, Buffer buffer, DsPageKind kind, uint32 list, uint32 generation)
{
	DsPageOpaque *opaque;

	/* recovery may have given the page back to the file system's zeros */
	if (unlikely(PageIsNew(BufferGetPage(buffer))))
		return false;
	opaque = ds_page_check(index, buffer);
	return opaque->kind == kind && opaque->list == list && opaque->generation == generation;
}

uint32
ds_page_blocks_checked(const DsLayout *layout, Relation index, Buffer buffer)
{
	Page page = BufferGetPage(buffer);
	uint32 used = ds_page_used(page);
	uint32 blocks = used / layout->block_size;

	if (unlikely(blocks > layout->blocks_per_page || blocks * layout->block_size != used))
		ds_page_corrupted(index, BufferGetBlockNumber(buffer), "it ends within a block");
	return blocks;
}

/* ---- metapage ---- */

static void
meta_check(Relation index, Buffer buffer)
{
	Page page = BufferGetPage(buffer);
	DsMeta *meta;
	uint32 slots = 0;

	if (ds_page_check(index, buffer)->kind != DS_PAGE_META ||
		ds_page_used(page) < offsetof(DsMeta, version) + sizeof(uint32))
		ds_page_corrupted(index, DS_META_BLOCK, "not a metapage");
	meta = ds_page_meta(page);
	if (meta->magic != DS_META_MAGIC)
		ds_page_corrupted(index, DS_META_BLOCK, "not a metapage");
	if (meta->version != DS_INDEX_VERSION)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("index \"%s\" has format %u, this version of deepsearch reads %u",
							   RelationGetRelationName(index), meta->version, DS_INDEX_VERSION),
						errhint("REINDEX it.")));
	for (uint32 i = 0; i < Min(meta->filters, DS_FILTER_COLUMNS); i++)
		slots +=
			((meta->filter[i] & DS_FILTER_ORDER) != 0) + ((meta->filter[i] & DS_FILTER_HASH) != 0);
	if (ds_page_used(page) != sizeof(DsMeta) || slots > DS_FILTER_SLOTS ||
		meta->filters + 1 != IndexRelationGetNumberOfKeyAttributes(index) ||
		meta->dimension > DS_ROTATION_MAX_DIMENSION || meta->metric > DS_METRIC_IP ||
		(meta->dimension == 0 && meta->lists > 0) || meta->lists > DS_MAX_LISTS ||
		meta->vectors > PG_INT32_MAX)
		ds_page_corrupted(index, DS_META_BLOCK, "impossible contents");
}

void
ds_meta_read(Relation index, DsMeta *meta)
{
	Buffer buffer = ReadBuffer(index, DS_META_BLOCK);

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	meta_check(index, buffer);
	memcpy(meta, ds_page_meta(BufferGetPage(buffer)), sizeof(DsMeta));
	UnlockReleaseBuffer(buffer);
}

Buffer
ds_meta_lock(Relation index)
{
	Buffer buffer = ReadBuffer(index, DS_META_BLOCK);

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	meta_check(index, buffer);
	return buffer;
}

void
ds_meta_init(DsMeta *meta, Relation index, DsMetric metric, uint32 dimension)
{
	DsOptions *options = (DsOptions *) index->rd_options;

	memset(meta, 0, sizeof(*meta));
	meta->magic = DS_META_MAGIC;
	meta->version = DS_INDEX_VERSION;
	if (!pg_strong_random(&meta->build_id, sizeof(meta->build_id)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a random number")));

	/* fixed, so that two builds from the same rows make the same lists */
	meta->seed = UINT64CONST(0x6473696e64657831);
	meta->dimension = dimension;
	meta->metric = metric;
	meta->wanted_lists = options ? options->lists : 0;
	meta->directory_version = 1;
	meta->next_generation = 1;
	meta->vectors_head = meta->vectors_tail = InvalidBlockNumber;
	meta->directory_head = meta->directory_tail = InvalidBlockNumber;
	meta->routes_head = InvalidBlockNumber;
	for (int i = 0; i < 2; i++)
		meta->tids_head[i] = meta->tids_insert[i] = InvalidBlockNumber;
	ds_filter_describe(index, meta);
}

void
ds_meta_create(Relation index, ForkNumber fork, const DsMeta *meta)
{
	Buffer buffer;
	Page page;

	/* nobody else knows of this fork yet */
	buffer = ReadBufferExtended(index, fork, P_NEW, RBM_NORMAL, NULL);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	Assert(BufferGetBlockNumber(buffer) == DS_META_BLOCK);
	page = BufferGetPage(buffer);
	START_CRIT_SECTION();
	ds_page_init(page, DS_PAGE_META, 0, 0, 0);
	memcpy(ds_page_meta(page), meta, sizeof(DsMeta));
	((PageHeader) page)->pd_lower += sizeof(DsMeta);
	MarkBufferDirty(buffer);

	/* the init fork is copied at every crash recovery: it must survive one itself */
	if (fork == INIT_FORKNUM)
		log_newpage_buffer(buffer, true);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
}

/* ---- chains ---- */

/*
 * The page behind tail in a chain, made if there is none; head and tail are
 * moved.  A page that was linked before a crash, or an error, is there already
 * and unused.
 */
static void
chain_extend(Relation index, bool direct, DsPageKind kind, BlockNumber *head, BlockNumber *tail)
{
	DsLog log;
	Buffer buffer;
	Buffer previous = InvalidBuffer;
	BlockNumber block;
	uint32 ordinal = 0;

	if (BlockNumberIsValid(*tail))
	{
		DsPageOpaque *opaque;

		previous = ds_page_read(index, *tail, kind, BUFFER_LOCK_EXCLUSIVE);
		opaque = ds_page_opaque(BufferGetPage(previous));
		if (BlockNumberIsValid(opaque->next))
		{
			*tail = opaque->next;
			UnlockReleaseBuffer(previous);
			return;
		}
		ordinal = opaque->ordinal + 1;
	}
	buffer = ds_page_allocate(index, direct);
	block = BufferGetBlockNumber(buffer);
	ds_log_begin(&log, index, direct);
	ds_page_init(ds_log_page(&log, buffer, true), kind, 0, 0, ordinal);
	if (BufferIsValid(previous))
		ds_page_opaque(ds_log_page(&log, previous, false))->next = block;
	else
		*head = block;
	ds_log_end(&log);
	*tail = block;
}

void
ds_vectors_append(Relation index, bool direct, DsMeta *meta, const float *vectors, uint32 count,
				  BlockNumber *page)
{
	const char *data = (const char *) vectors;
	Size size = sizeof(float) * (Size) meta->dimension;
	uint64 position = (uint64) meta->vectors * size;
	uint64 begin = position;
	uint64 end = position + (uint64) count * size;

	while (position < end)
	{
		Size offset = position % DS_PAGE_SPACE;
		Size part = Min(DS_PAGE_SPACE - offset, end - position);
		DsLog log;
		Page image;
		PageHeader header;

		CHECK_FOR_INTERRUPTS();
		if (offset == 0)
			chain_extend(index, direct, DS_PAGE_VECTORS, &meta->vectors_head, &meta->vectors_tail);
		ds_log_begin(&log, index, direct);
		image = ds_log_page(
			&log, ds_page_read(index, meta->vectors_tail, DS_PAGE_VECTORS, BUFFER_LOCK_EXCLUSIVE),
			false);
		header = (PageHeader) image;
		header->pd_lower = MAXALIGN(SizeOfPageHeaderData) + offset + part;
		memcpy(PageGetContents(image) + offset, data, part);
		ds_log_end(&log);
		if (page != NULL)
			for (uint64 i = (position - begin + size - 1) / size;
				 i < count && begin + i * size < position + part; i++)
				page[i] = meta->vectors_tail;
		data += part;
		position += part;
	}
	meta->vectors += count;
}

void
ds_stream_read(Relation index, DsPageKind kind, BlockNumber head, DsStreamCursor *cursor, Size size,
			   void *data)
{
	char *to = data;

	if (cursor->position == 0)
		cursor->block = head;
	while (size > 0)
	{
		Size offset = cursor->position % DS_PAGE_SPACE;
		Size part = Min(DS_PAGE_SPACE - offset, size);
		Buffer buffer;
		Page page;

		CHECK_FOR_INTERRUPTS();
		if (!BlockNumberIsValid(cursor->block))
			ds_page_corrupted(index, DS_META_BLOCK,
							  kind == DS_PAGE_VECTORS ? "the chain of centroids is too short"
													  : "the chain of routes is too short");
		buffer = ds_page_read(index, cursor->block, kind, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);

		/* the page behind a full one may not exist yet: move on when it is needed */
		if (offset == 0 && cursor->position > 0 &&
			ds_page_opaque(page)->ordinal + 1 == cursor->position / DS_PAGE_SPACE)
		{
			cursor->block = ds_page_opaque(page)->next;
			UnlockReleaseBuffer(buffer);
			continue;
		}
		if (ds_page_opaque(page)->ordinal != cursor->position / DS_PAGE_SPACE ||
			ds_page_used(page) < offset + part)
			ds_page_corrupted(index, cursor->block,
							  kind == DS_PAGE_VECTORS ? "the chain of centroids is broken"
													  : "the chain of routes is broken");
		memcpy(to, PageGetContents(page) + offset, part);
		UnlockReleaseBuffer(buffer);
		to += part;
		cursor->position += part;
		size -= part;
	}
}

/* Page number `ordinal` of a chain, made if it is the next one; *from: one that is not behind it */
static BlockNumber
chain_page(Relation index, bool direct, DsPageKind kind, BlockNumber *head, BlockNumber from,
		   uint32 ordinal)
{
	BlockNumber block = BlockNumberIsValid(from) ? from : *head;

	if (!BlockNumberIsValid(block))
		chain_extend(index, direct, kind, head, &block);
	for (;;)
	{
		Buffer buffer = ds_page_read(index, block, kind, BUFFER_LOCK_SHARE);
		uint32 here = ds_page_opaque(BufferGetPage(buffer))->ordinal;
		BlockNumber next = ds_page_opaque(BufferGetPage(buffer))->next;

		UnlockReleaseBuffer(buffer);
		CHECK_FOR_INTERRUPTS();
		if (here == ordinal)
			return block;
		if (here > ordinal)
			ds_page_corrupted(index, block, "a chain is broken");
		if (BlockNumberIsValid(next))
			block = next;
		else
			chain_extend(index, direct, kind, head, &block);
	}
}

void
ds_stream_write(Relation index, bool direct, DsPageKind kind, BlockNumber *head,
				DsStreamCursor *cursor, Size size, const void *data)
{
	const char *from = data;

	if (cursor->position == 0)
		cursor->block = *head;
	while (size > 0)
	{
		Size offset = cursor->position % DS_PAGE_SPACE;
		Size part = Min(DS_PAGE_SPACE - offset, size);
		DsLog log;
		Page page;
		PageHeader header;

		cursor->block = chain_page(index, direct, kind, head, cursor->block,
								   (uint32) (cursor->position / DS_PAGE_SPACE));
		ds_log_begin(&log, index, direct);
		page = ds_log_page(&log, ds_page_read(index, cursor->block, kind, BUFFER_LOCK_EXCLUSIVE),
						   false);
		header = (PageHeader) page;
		header->pd_lower = Max(header->pd_lower, MAXALIGN(SizeOfPageHeaderData) + offset + part);
		memcpy(PageGetContents(page) + offset, from, part);
		ds_log_end(&log);
		from += part;
		cursor->position += part;
		size -= part;
	}
}

BlockNumber
ds_directory_page(Relation index, bool direct, DsMeta *meta, uint32 list)
{
	Assert(list == meta->lists);
	if (list % DS_ENTRIES_PER_PAGE == 0)
		chain_extend(index, direct, DS_PAGE_DIRECTORY, &meta->directory_head,
					 &meta->directory_tail);
	return meta->directory_tail;
}

DsListEntry *
ds_directory_entry(Relation index, Buffer buffer, Page page, uint32 list)
{
	uint32 i = list % DS_ENTRIES_PER_PAGE;

	if (ds_page_opaque(page)->ordinal != list / DS_ENTRIES_PER_PAGE ||
		ds_page_used(page) < (i + 1) * sizeof(DsListEntry))
		ds_page_corrupted(index, BufferGetBlockNumber(buffer), "the directory is broken");
	return (DsListEntry *) PageGetContents(page) + i;
}

/*
 * Row ids need no order, so a new one goes to the first page with room from
 * the hint on.  VACUUM moves the hint back when it makes room.
 */
void
ds_tids_insert(Relation index, int chain, ItemPointer tid)
{
	DsLog log;
	DsMeta meta;
	BlockNumber block;
	Buffer buffer;
	Page page;

	ds_meta_read(index, &meta);
	block = meta.tids_insert[chain];
	if (!BlockNumberIsValid(block))
	{
		Buffer first = ds_page_allocate(index, false);
		Buffer lock = ds_meta_lock(index);
		DsMeta *now = ds_page_meta(BufferGetPage(lock));

		if (BlockNumberIsValid(now->tids_head[chain]))
		{
			/* another one was faster; the page goes to whoever wants one next */
			block = now->tids_insert[chain];
			UnlockReleaseBuffer(lock);
			ds_log_begin(&log, index, false);
			ds_page_init(ds_log_page(&log, first, true), DS_PAGE_FREE, 0, 0, 0);
			ds_log_end(&log);
		}
		else
		{
			block = BufferGetBlockNumber(first);
			ds_log_begin(&log, index, false);
			ds_page_init(ds_log_page(&log, first, true), DS_PAGE_TIDS, chain, 0, 0);
			now = ds_page_meta(ds_log_page(&log, lock, false));
			now->tids_head[chain] = now->tids_insert[chain] = block;
			ds_log_end(&log);
		}
	}

	for (uint32 before = PG_UINT32_MAX;;)
	{
		DsPageOpaque *opaque;
		BlockNumber next;

		CHECK_FOR_INTERRUPTS();
		buffer = ds_page_read(index, block, DS_PAGE_TIDS, BUFFER_LOCK_EXCLUSIVE);
		page = BufferGetPage(buffer);
		opaque = ds_page_opaque(page);
		if (opaque->list != (uint32) chain)
			ds_page_corrupted(index, block, "row ids of another kind");
		if (before != PG_UINT32_MAX && opaque->ordinal != before + 1)
			ds_page_corrupted(index, block, "the chain of row ids is broken");
		before = opaque->ordinal;
		if (ds_page_used(page) / sizeof(ItemPointerData) < DS_TIDS_PER_PAGE)
		{
			ds_log_begin(&log, index, false);
			page = ds_log_page(&log, buffer, false);
			ds_page_tids(page)[ds_page_used(page) / sizeof(ItemPointerData)] = *tid;
			((PageHeader) page)->pd_lower += sizeof(ItemPointerData);
			ds_log_end(&log);
			break;
		}
		next = opaque->next;
		if (!BlockNumberIsValid(next))
		{
			Buffer fresh = ds_page_allocate(index, false);
			uint32 ordinal = opaque->ordinal + 1;

			next = BufferGetBlockNumber(fresh);
			ds_log_begin(&log, index, false);
			ds_page_init(ds_log_page(&log, fresh, true), DS_PAGE_TIDS, chain, 0, ordinal);
			ds_page_opaque(ds_log_page(&log, buffer, false))->next = next;
			ds_log_end(&log);
		}
		else
			UnlockReleaseBuffer(buffer);
		block = next;
	}

	if (block != meta.tids_insert[chain])
	{
		Buffer lock = ds_meta_lock(index);

		ds_log_begin(&log, index, false);
		ds_page_meta(ds_log_page(&log, lock, false))->tids_insert[chain] = block;
		ds_log_end(&log);
	}
}
