/*
 * write.c
 *		Whole lists onto fresh pages, and the areas behind blocks: see page.h.
 */
#include "index/index.h"

#include "miscadmin.h"

/* ---- areas ---- */

/* The page of a change that this change has already, or NULL */
static Page
held(DsLog *log, BlockNumber block)
{
	for (int i = 0; i < log->pages; i++)
		if (BufferGetBlockNumber(log->buffers[i]) == block)
			return log->direct ? BufferGetPage(log->buffers[i])
							   : GenericXLogRegisterBuffer(log->state, log->buffers[i], 0);
	return NULL;
}

void
ds_area_write(Relation index, DsLog *log, const DsLayout *layout, DsBlock *block, uint32 list,
			  uint32 generation, Size offset, const void *data, Size size)
{
	BlockNumber *pages = ds_block_pages(layout, block);
	const char *from = data;
	Size position = block->code_start + offset;

	Assert(offset + size <= layout->area_size);
	while (size > 0)
	{
		Size i = position / DS_PAGE_SPACE;
		Size at = position % DS_PAGE_SPACE;
		Size part = Min(size, DS_PAGE_SPACE - at);
		Page page;
		PageHeader header;

		if (i >= layout->code_pages)
			ds_page_corrupted(index, pages[0], "an area of codes that is too long");
		if (!BlockNumberIsValid(pages[i]))
		{
			Buffer buffer = ds_page_allocate(index, log->direct);

			pages[i] = BufferGetBlockNumber(buffer);
			page = ds_log_page(log, buffer, true);
			ds_page_init(page, DS_PAGE_CODES, list, generation, 0);
		}
		else if ((page = held(log, pages[i])) == NULL)
		{
			Buffer buffer = ReadBuffer(index, pages[i]);

			LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
			if (!ds_page_is_list(index, buffer, DS_PAGE_CODES, list, generation))
				ds_page_corrupted(index, pages[i], "codes of another list");
			page = ds_log_page(log, buffer, false);
		}
		header = (PageHeader) page;
		memcpy(PageGetContents(page) + at, from, part);
		header->pd_lower = Max(header->pd_lower, MAXALIGN(SizeOfPageHeaderData) + at + part);
		from += part;
		position += part;
		size -= part;
	}
}

bool
ds_area_read(Relation index, const DsLayout *layout, DsBlock *block, uint32 list, uint32 generation,
			 Size offset, void *data, Size size)
{
	BlockNumber *pages = ds_block_pages(layout, block);
	char *to = data;
	Size position = block->code_start + offset;

	while (size > 0)
	{
		Size i = position / DS_PAGE_SPACE;
		Size at = position % DS_PAGE_SPACE;
		Size part = Min(size, DS_PAGE_SPACE - at);

		if (i >= layout->code_pages)
			ds_page_corrupted(index, pages[0], "an area of codes that is too long");
		if (!BlockNumberIsValid(pages[i]))
			memset(to, 0, part);
		else
		{
			Buffer buffer = ReadBuffer(index, pages[i]);

			LockBuffer(buffer, BUFFER_LOCK_SHARE);
			if (!ds_page_is_list(index, buffer, DS_PAGE_CODES, list, generation))
			{
				UnlockReleaseBuffer(buffer);
				return false;
			}

			/* what nobody wrote yet is below pd_lower of no page, but on ours */
			memcpy(to, PageGetContents(BufferGetPage(buffer)) + at, part);
			UnlockReleaseBuffer(buffer);
		}
		to += part;
		position += part;
		size -= part;
	}
	return true;
}

void
ds_area_next(const DsLayout *layout, DsBlock *previous, DsBlock *block)
{
	BlockNumber *pages = ds_block_pages(layout, block);

	for (uint32 i = 0; i < layout->code_pages; i++)
		pages[i] = InvalidBlockNumber;
	block->code_start = 0;
	if (previous != NULL)
	{
		Size end = previous->code_start + layout->area_size;
		Size at = end % DS_PAGE_SPACE;

		/* the rest of the last page, if it is there */
		if (at > 0 && BlockNumberIsValid(ds_block_pages(layout, previous)[end / DS_PAGE_SPACE]))
		{
			block->code_start = at;
			pages[0] = ds_block_pages(layout, previous)[end / DS_PAGE_SPACE];
		}
	}
}

/* ---- lists ---- */

struct DsListWriter
{
	Relation index;
	bool direct;
	const DsLayout *layout;
	uint32 list;
	uint32 generation;
	uint32 pages; /* of blocks */
	uint32 page; /* the one being filled */
	BlockNumber *page_number;
	PGAlignedBlock image; /* of it */
	DsBlock *block; /* being filled, in the image; NULL: none */
	uint32 rows; /* in it */
	DsBlock *last; /* copy of the block before, or NULL */
	char *last_room;
	char *area; /* [area_size], of the block being filled */
	uint64 places;
};

DsListWriter *
ds_writer_begin(Relation index, bool direct, const DsLayout *layout, uint32 list, uint32 generation,
				uint64 blocks)
{
	DsListWriter *writer = palloc0(sizeof(DsListWriter));

	writer->index = index;
	writer->direct = direct;
	writer->layout = layout;
	writer->list = list;
	writer->generation = generation;
	writer->pages = (blocks + layout->blocks_per_page - 1) / layout->blocks_per_page;
	writer->page_number =
		palloc_extended(Max(writer->pages, 1) * sizeof(BlockNumber), MCXT_ALLOC_HUGE);
	writer->last_room = palloc(layout->block_size);
	writer->area = palloc(layout->area_size);

	/* together and before the codes, so that a scan reads on from page to page */
	for (uint32 i = 0; i < writer->pages; i++)
	{
		Buffer buffer = ds_page_allocate(index, direct);
		DsLog log;

		CHECK_FOR_INTERRUPTS();
		writer->page_number[i] = BufferGetBlockNumber(buffer);
		ds_log_begin(&log, index, direct);
		ds_page_init(ds_log_page(&log, buffer, true), DS_PAGE_BLOCKS, list, generation, i);
		ds_log_end(&log);
	}
	return writer;
}

/* The codes of the block being filled go to their pages. */
static void
finish_block(DsListWriter *writer)
{
	const DsLayout *layout = writer->layout;
	DsLog log;

	if (writer->block == NULL)
		return;
	ds_log_begin(&log, writer->index, writer->direct);
	ds_area_write(writer->index, &log, layout, writer->block, writer->list, writer->generation, 0,
				  writer->area, layout->rows_at + writer->rows * layout->row_bytes);
	ds_log_end(&log);
	writer->block->live =
		writer->rows == DS_BLOCK_ROWS ? 0xFFFFFFFF : (((uint32) 1 << writer->rows) - 1);
	memcpy(writer->last_room, writer->block, layout->block_size);
	writer->last = (DsBlock *) writer->last_room;
	writer->block = NULL;
}

/* The page being filled goes to its place. */
static void
finish_page(DsListWriter *writer)
{
	Page image = writer->image.data;
	Buffer buffer;
	DsLog log;

	buffer = ReadBuffer(writer->index, writer->page_number[writer->page]);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	ds_log_begin(&log, writer->index, writer->direct);
	memcpy(ds_log_page(&log, buffer, true), image, BLCKSZ);
	ds_log_end(&log);
	writer->page++;
}

static void
start_page(DsListWriter *writer)
{
	Page image = writer->image.data;

	ds_page_init(image, DS_PAGE_BLOCKS, writer->list, writer->generation, writer->page);
	if (writer->page + 1 < writer->pages)
		ds_page_opaque(image)->next = writer->page_number[writer->page + 1];
}

void
ds_writer_row(DsListWriter *writer, const DsRow *row)
{
	const DsLayout *layout = writer->layout;
	Page image = writer->image.data;
	DsBlock *block;
	char *codes;

	if (writer->block != NULL &&
		(writer->rows == DS_BLOCK_ROWS || writer->block->centroid != row->centroid))
	{
		finish_block(writer);
		if (ds_page_blocks(layout, image) == layout->blocks_per_page)
		{
			finish_page(writer);
			if (writer->page >= writer->pages)
				elog(ERROR, "a list has more rows than were counted");
			start_page(writer);
		}
	}
	if (writer->block == NULL)
	{
		if (writer->last == NULL)
		{
			if (writer->pages == 0)
				elog(ERROR, "a list has more rows than were counted");
			start_page(writer);
		}
		block = ds_page_block(layout, image, ds_page_blocks(layout, image));
		memset(block, 0, layout->block_size);
		((PageHeader) image)->pd_lower += layout->block_size;
		memset(writer->area, 0, layout->area_size);
		block->centroid = row->centroid;
		ds_area_next(layout, writer->last, block);
		writer->block = block;
		writer->rows = 0;
		writer->places += DS_BLOCK_ROWS;
		CHECK_FOR_INTERRUPTS();
	}

	block = writer->block;
	block->tid[writer->rows] = row->tid;
	ds_block_put_filter(layout, block, writer->rows, row->filter);
	ds_block_put_factors(ds_block_factors(layout, block), writer->rows, &row->sign);
	ds_block_put(ds_block_signs(layout, block), writer->rows, row->signs, layout->inline_groups);
	if (layout->rows_at > 0)
		ds_block_put((uint8 *) writer->area, writer->rows, row->signs + layout->inline_groups,
					 layout->groups - layout->inline_groups);
	codes = writer->area + layout->rows_at + writer->rows * layout->row_bytes;
	memcpy(codes, &row->factors, sizeof(DsRowFactors));
	memcpy(codes + sizeof(DsRowFactors), row->bytes, layout->dimension);
	writer->rows++;
}

void
ds_writer_end(DsListWriter *writer, DsListEntry *entry)
{
	finish_block(writer);
	if (writer->last != NULL)
		finish_page(writer);

	entry->generation = writer->generation;
	entry->head = writer->pages > 0 ? writer->page_number[0] : InvalidBlockNumber;
	entry->insert = writer->page > 0 ? writer->page_number[writer->page - 1] : entry->head;
	entry->rows = (uint32) Min(writer->places, PG_UINT32_MAX);
	for (entry->run = 0;
		 entry->run < writer->pages && writer->page_number[entry->run] == entry->head + entry->run;
		 entry->run++)
		;
	pfree(writer->area);
	pfree(writer->last_room);
	pfree(writer->page_number);
	pfree(writer);
}
