/*
 * lookahead.h
 *		Asking for the next row's vector before the executor comes to it.
 *
 * A sequential scan over a table that is larger than the cache spends its time
 * waiting for memory: the rows of a heap page are stored from its end towards
 * its start, each shorter than what a hardware prefetcher needs to find its
 * direction, so every row begins with a miss.  A distance function sees the
 * addresses go by and can tell how they go on: the next row lies one stride
 * below this one, and the next page, in a buffer pool that was filled in
 * order, one page before or after this one.
 *
 * All this is a guess.  A prefetch of a wrong address costs some bandwidth and
 * can neither fail nor change a result, so nothing here is checked.  Where
 * rows are met at random, as in an index scan, no run of neighbours is seen
 * and nothing is prefetched.
 */
#ifndef DS_LOOKAHEAD_H
#define DS_LOOKAHEAD_H

#include <stddef.h>
#include <stdint.h>

/* how far ahead: enough rows, or bytes, to cover the latency of memory */
#ifndef DS_LOOKAHEAD_ROWS
#define DS_LOOKAHEAD_ROWS 3
#endif
#ifndef DS_LOOKAHEAD_BYTES
#define DS_LOOKAHEAD_BYTES 8192
#endif

/* no page has more rows */
#define DS_LOOKAHEAD_PER_PAGE 4096

/* the row's header and the columns before the vector, as far as one may guess */
#define DS_LOOKAHEAD_HEADER 40

/*
 * Into the second-level cache: a first-level prefetch of some fifty lines
 * waits for the few miss registers of that cache, this one does not.  The test
 * looks at what is asked for.
 */
#ifndef DS_LOOKAHEAD_PREFETCH
#define DS_LOOKAHEAD_PREFETCH(address) __builtin_prefetch((const void *) (address), 0, 2)
#endif

typedef struct DsLookahead
{
	uintptr_t last; /* the vector seen last */
	uintptr_t page; /* the page that it lies in */
	uintptr_t first; /* the first vector of that page */
	intptr_t stride; /* from row to row */
	intptr_t page_step; /* from that page's predecessor to it */
	int index; /* of the vector seen last in its page */
	int per_page; /* rows in the page before */
} DsLookahead;

static inline void
ds_lookahead_fetch(uintptr_t vector, size_t size)
{
	for (uintptr_t p = vector - DS_LOOKAHEAD_HEADER; p < vector + size; p += 64)
		DS_LOOKAHEAD_PREFETCH(p);
}

/* The vector at x, of size bytes and in the page that begins at page, is read now. */
static inline void
ds_lookahead(DsLookahead *state, const void *x, size_t size, const void *page)
{
	uintptr_t now = (uintptr_t) x;
	int ahead = size >= DS_LOOKAHEAD_BYTES ? 1 : (int) (DS_LOOKAHEAD_BYTES / size);
	int target;

	/* the side of the comparison that stays */
	if (now == state->last)
		return;
	if (ahead > DS_LOOKAHEAD_ROWS)
		ahead = DS_LOOKAHEAD_ROWS;
	if ((uintptr_t) page == state->page)
	{
		state->stride = (intptr_t) (now - state->last);
		/* a nested loop may stay in one page for ever */
		state->index = now == state->first ? 0 : state->index + 1;
		if (state->index > DS_LOOKAHEAD_PER_PAGE)
			state->index = DS_LOOKAHEAD_PER_PAGE;
	}
	else
	{
		intptr_t page_step = (intptr_t) ((uintptr_t) page - state->page);
		int regular = page_step == state->page_step;

		state->page = (uintptr_t) page;
		state->page_step = page_step;
		state->first = now;
		state->per_page = state->index + 1;
		state->index = 0;
		if (!regular)
		{
			/* what was fetched for this page was wrong: catch up */
			for (int i = 1; i < ahead && i < state->per_page; i++)
				ds_lookahead_fetch(now + (uintptr_t) (i * state->stride), size);
			if (state->per_page == 1)
			{
				state->last = now;
				return;
			}
		}
		/* the line pointers of the next page */
		DS_LOOKAHEAD_PREFETCH((uintptr_t) page + (uintptr_t) page_step);
	}
	state->last = now;

	target = state->index + ahead;
	if (target < state->per_page)
		ds_lookahead_fetch(now + (uintptr_t) (ahead * state->stride), size);
	else
	{
		int pages = target / state->per_page;

		ds_lookahead_fetch(state->first + (uintptr_t) (pages * state->page_step +
													   target % state->per_page * state->stride),
						   size);
	}
}

#endif /* DS_LOOKAHEAD_H */
