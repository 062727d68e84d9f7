/*
 * recent.h
 *		Where the pages of a relation were last in shared buffers.
 *
 * To find a page's buffer in the server's table means three or four misses of
 * the processor's cache, which takes longer than what a scan does with the
 * page.  So a backend remembers where pages were, and the server only has to
 * confirm it (ReadRecentBuffer); and what is going to be needed can be loaded
 * into the processor's cache beforehand.
 */
#ifndef DS_INDEX_RECENT_H
#define DS_INDEX_RECENT_H

#include "server.h"
#include "storage/buf_internals.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

typedef struct DsRecent
{
	Buffer *buffer; /* [mask + 1], by block number; NULL: nothing is remembered */
	uint32 mask;
	uint32 reads;
} DsRecent;

/* Remember for all pages that the relation has now, or as many as is reasonable. */
extern void ds_recent_open(DsRecent *recent, Relation relation, MemoryContext context);

/*
 * The page, pinned, if it is where it was last; else InvalidBuffer, now and
 * then all the same: then the caller looks it up, which is how the server sees
 * that it is in use.
 */
extern Buffer ds_recent_pin(DsRecent *recent, Relation relation, BlockNumber block);

/* Remember where it is. */
static inline void
ds_recent_note(DsRecent *recent, BlockNumber block, Buffer buffer)
{
	if (recent->buffer != NULL && !BufferIsLocal(buffer))
		recent->buffer[block & recent->mask] = buffer;
}

/* A page, pinned. */
static inline Buffer
ds_recent_read(DsRecent *recent, Relation relation, BlockNumber block)
{
	Buffer buffer = ds_recent_pin(recent, relation, block);

	if (likely(BufferIsValid(buffer)))
		return buffer;
	buffer = ReadBuffer(relation, block);
	ds_recent_note(recent, block, buffer);
	return buffer;
}

/*
 * Load what is there into the processor's cache.  A function that does nothing
 * else has no effect in the eyes of gcc, which leaves its calls out: the empty
 * assembly is there to be one.
 */
static inline void
ds_prefetch(const void *from)
{
	__builtin_prefetch(from);
	__asm__ volatile("");
}

static inline void
ds_touch(const char *from, Size size)
{
	for (Size i = 0; i < size; i += 64)
		ds_prefetch(from + i);
}

/*
 * What is where the page was last, or NULL: it may be another page by now, and
 * changes at any time, so this is for prefetching, as which it begins with the
 * buffer's descriptor.
 */
static inline const char *
ds_recent_page(const DsRecent *recent, BlockNumber block)
{
	Buffer buffer = recent->buffer != NULL ? recent->buffer[block & recent->mask] : InvalidBuffer;

	if (!BufferIsValid(buffer))
		return NULL;
	ds_prefetch(GetBufferDescriptor(buffer - 1));
	return (const char *) BufferGetBlock(buffer);
}

#endif /* DS_INDEX_RECENT_H */
