/*
 * pool.c
 *		Bounds of which the least are wanted first; arrays that grow.
 */
#include "index/pool.h"

#include <float.h>

#include "port/pg_bitutils.h"
#include "utils/memutils.h"

void *
ds_grow_more(MemoryContext context, void *array, uint64 *room, uint64 count, Size size)
{
	count = Max(count + count / 2, 256);
	if (count > MaxAllocHugeSize / size)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("an index scan found too many rows to order")));
	array = array == NULL ? MemoryContextAllocHuge(context, count * size)
						  : repalloc_huge(array, count * size);
	*room = count;
	return array;
}

/* Bounds looked at to guess a limit, and of those at most that may be below it */
#define SAMPLE_MOST 256
#define SAMPLE_BELOW 64

/*
 * A limit below which there are about `wanted` bounds.  It is a guess from a
 * sample, and has to be right within a factor only.
 */
static float
guess_limit(const Pool *pool)
{
	uint64 samples = Min(pool->count / 8, SAMPLE_MOST);
	uint64 step = pool->count / Max(samples, 1);
	uint64 below = pool->wanted / Max(step, 1) + 2; /* one is likely to be far too small */
	float least[SAMPLE_BELOW];
	uint64 kept = 0;

	if (pool->wanted > pool->count / 4 || below > SAMPLE_BELOW || samples < 4 * below)
		return FLT_MAX;
	for (uint64 i = 0; i < samples; i++)
	{
		float here = pool->bound[i * step];
		uint64 at;

		if (kept == below && !(here < least[below - 1]))
			continue;
		kept += kept < below;
		for (at = kept - 1; at > 0 && least[at - 1] > here; at--)
			least[at] = least[at - 1];
		least[at] = here;
	}
	return Min(least[below - 1], FLT_MAX);
}

void
ds_pool_order(Pool *pool)
{
	float limit = guess_limit(pool);
	float *bound = pool->bound;

	if (pool->nears > 0)
		limit = Max(limit, pool->limit);
	for (uint64 i = 0; i < pool->count; i += DS_BLOCK_ROWS)
	{
		Candidate *to;

		pool->near = ds_grow(pool->arrays, pool->near, &pool->near_room,
							 pool->nears + DS_BLOCK_ROWS, sizeof(Candidate));
		to = pool->near + pool->nears;
		for (uint32 mask = ds_at_most(bound + i, limit); mask != 0; mask &= mask - 1)
		{
			uint64 j = i + pg_rightmost_one_pos32(mask);

			to->bound = bound[j];
			to->place = (uint32) j;
			to++;
			bound[j] = INFINITY;
		}
		pool->nears = to - pool->near;
	}
	pool->limit = limit;
	pool->wanted *= 4;
	near_make(pool->near, pool->nears);
}
