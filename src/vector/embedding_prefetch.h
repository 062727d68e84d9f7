/*
 * embedding_prefetch.h
 *		Asking for the next row's elements while this row's are worked on.
 *
 * A sequential scan hands the rows of a page to a function one after the
 * other, and waits for memory at each.  The processor does not foresee the
 * next row, for a page is filled from its end: rows go down, the elements of
 * a row go up.  But rows of a table with embeddings have nearly the same
 * width, so the next value is where the step from the last one to this one
 * leads again.  A wrong guess costs a little bandwidth and nothing else: a
 * prefetch never faults, and steps beyond a page are not believed, so index
 * scans, constants and detoasted copies ask for nothing.
 * (docs/internals/embedding.md has the measurement.)
 */
#ifndef DS_EMBEDDING_PREFETCH_H
#define DS_EMBEDDING_PREFETCH_H

#include "vector/embedding.h"

/* the processor follows by itself after this many bytes */
#define DS_PREFETCH_BYTES 1024
#define DS_CACHE_LINE 64

/* *previous: where this argument's last value was; one variable a function and argument */
static inline void
ds_embedding_prefetch(const DsEmbeddingView *view, uintptr_t *previous)
{
	uintptr_t here = (uintptr_t) view->x;
	intptr_t step = (intptr_t) (here - *previous);
	Size size = sizeof(float) * (Size) view->dim;

	*previous = here;
	if (step == 0 || step >= BLCKSZ || step <= -BLCKSZ)
		return;
	/* up to the line that the last element is in */
	size = Min(size + DS_CACHE_LINE - 1, DS_PREFETCH_BYTES);
	for (Size at = 0; at < size; at += DS_CACHE_LINE)
		__builtin_prefetch((const char *) (here + (uintptr_t) step + at), 0, 3);
}

#endif /* DS_EMBEDDING_PREFETCH_H */
