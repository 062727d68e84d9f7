/*
 * embedding_prefetch.h
 *		Asking for the next rows' elements while this row's are worked on.
 *
 * See lookahead.h for the idea.  It needs to know which page a value lies in:
 * values in shared buffers only, so constants, detoasted copies and temporary
 * tables ask for nothing.
 */
#ifndef DS_EMBEDDING_PREFETCH_H
#define DS_EMBEDDING_PREFETCH_H

#include "miscadmin.h"
#include "storage/bufmgr.h"

#include "vector/embedding.h"
#include "vector/lookahead.h"

/*
 * The elements at x, size bytes, are read now.  *ahead: what is known of this
 * argument's rows; one static variable a function and argument.
 */
static inline void
ds_elements_prefetch(const void *x, Size size, DsLookahead *ahead)
{
	Size offset = (Size) ((uintptr_t) x - (uintptr_t) BufferBlocks);

	if (offset < (Size) NBuffers * BLCKSZ)
		ds_lookahead(ahead, x, size, BufferBlocks + offset / BLCKSZ * BLCKSZ);
}

static inline void
ds_embedding_prefetch(const DsEmbeddingView *view, DsLookahead *ahead)
{
	ds_elements_prefetch(view->x, sizeof(float) * (Size) view->dim, ahead);
}

#endif /* DS_EMBEDDING_PREFETCH_H */
