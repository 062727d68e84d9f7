/*
 * recent.c
 *		Where the pages of a relation were last in shared buffers.
 */
#include "index/recent.h"

#include "pgstat.h"
#include "utils/memutils.h"

/* Pages remembered at most, a power of two; four bytes each */
#define PAGES_MOST (256 * 1024)

#define LOOK_UP_EVERY 32

void
ds_recent_open(DsRecent *recent, Relation relation, MemoryContext context)
{
	uint64 pages;
	uint32 slots = 1024;

	if (RelationUsesLocalBuffers(relation))
		return;
	pages = RelationGetNumberOfBlocks(relation);
	while (slots < pages && slots < PAGES_MOST)
		slots *= 2;
	if (recent->buffer != NULL && slots <= recent->mask + 1)
		return;
	if (recent->buffer != NULL)
		pfree(recent->buffer);
	recent->buffer = NULL;
	recent->buffer = MemoryContextAllocZero(context, slots * sizeof(Buffer));
	recent->mask = slots - 1;
}

Buffer
ds_recent_pin(DsRecent *recent, Relation relation, BlockNumber block)
{
	Buffer buffer = recent->buffer != NULL ? recent->buffer[block & recent->mask] : InvalidBuffer;

	if (!BufferIsValid(buffer) || ++recent->reads % LOOK_UP_EVERY == 0 ||
		!DS_READ_RECENT_BUFFER(relation, block, buffer))
		return InvalidBuffer;
	pgstat_count_buffer_read(relation);
	pgstat_count_buffer_hit(relation);
	return buffer;
}
