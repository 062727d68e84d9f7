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
	uint64 nears = pool->near_left > 0 ? pool->nears : 0;
	float least = pool->near_left > 0 ? pool->least : INFINITY;

	if (pool->near_left > 0)
		limit = Max(limit, pool->limit);
	for (uint64 i = 0; i < pool->count; i += DS_BLOCK_ROWS)
	{
		uint32 mask = ds_at_most(bound + i, limit);

		pool->near_bound = ds_grow(pool->arrays, pool->near_bound, &pool->near_room,
								   nears + 2 * DS_BLOCK_ROWS, sizeof(float));
		pool->near_place = ds_grow(pool->arrays, pool->near_place, &pool->place_room,
								   nears + 2 * DS_BLOCK_ROWS, sizeof(uint32));
		pool->near_left += (uint64) pg_popcount32(mask);
		for (; mask != 0; mask &= mask - 1)
		{
			uint64 j = i + pg_rightmost_one_pos32(mask);

			pool->near_bound[nears] = bound[j];
			pool->near_place[nears++] = (uint32) j;
			least = Min(least, bound[j]);
			bound[j] = INFINITY;
		}
	}
	while (nears % DS_BLOCK_ROWS != 0)
		pool->near_bound[nears++] = INFINITY;
	pool->nears = nears;
	pool->limit = limit;
	pool->least = least;
	pool->wanted *= 4;
}

/* ---- those to take ---- */

/* Numbers in the order of floats that are not NaN, and back; it is its own inverse. */
static inline int32
order_of(int32 bits)
{
	return bits ^ (int32) ((uint32) (bits >> 31) >> 1);
}

static inline int32
to_order(float x)
{
	int32 bits;

	memcpy(&bits, &x, sizeof(bits));
	return order_of(bits);
}

static inline float
from_order(int32 order)
{
	int32 bits = order_of(order);
	float x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

/*
 * A limit that about `wanted` of the bounds do not exceed, from half of it to
 * one and a half times as many where ties allow it; at least one does not.
 */
static float
limit_for(const Pool *pool, uint64 wanted)
{
	int32 low = to_order(pool->least); /* too few are below */
	int32 high = to_order(Min(pool->limit, FLT_MAX)); /* all are */

	/* bounds may all be the same, so the first limit to try is the least of them */
	if (ds_count_at_most(pool->near_bound, pool->nears, pool->least) >= wanted)
		return pool->least;
	while ((int64) high - low > 1)
	{
		int32 middle = (int32) (((int64) low + high) / 2);
		uint64 count = ds_count_at_most(pool->near_bound, pool->nears, from_order(middle));

		if (count > wanted + wanted / 2)
			high = middle;
		else if (count < wanted - wanted / 4)
			low = middle;
		else
			return from_order(middle);
	}
	return from_order(high);
}

uint32
ds_pool_take(Pool *pool, uint32 wanted, uint32 *place, uint32 most)
{
	float limit = pool->near_left <= wanted ? INFINITY : limit_for(pool, wanted);
	float least = INFINITY;
	uint32 count = 0;

	for (uint64 i = 0; i < pool->nears; i += DS_BLOCK_ROWS)
	{
		float *bound = pool->near_bound + i;
		uint32 mask = ds_at_most(bound, Min(limit, FLT_MAX));

		for (; mask != 0 && count < most; mask &= mask - 1)
		{
			int j = pg_rightmost_one_pos32(mask);

			place[count++] = pool->near_place[i + (uint64) j];
			bound[j] = INFINITY;
		}
		least = Min(least, ds_least_of(bound));
	}
	pool->near_left -= count;
	pool->left -= count;
	pool->least = least;
	return count;
}
