/*
 * pool.h
 *		Heaps, and pools of bounds of which the least are wanted first.
 */
#ifndef DS_INDEX_POOL_H
#define DS_INDEX_POOL_H

#include <math.h>

#include "index/index.h"

/*
 * name_down(), name_up() and name_make() of a heap of `type`, the least `field`
 * on top; not every kind is used in every way.
 */
#define DS_HEAP(type, name, field)                                                              \
	pg_attribute_unused() static inline void name##_down(type *heap, uint64 count, uint64 hole) \
	{                                                                                           \
		type item = heap[hole];                                                                 \
		uint64 child;                                                                           \
		while ((child = 2 * hole + 1) < count)                                                  \
		{                                                                                       \
			if (child + 1 < count)                                                              \
				child += heap[child + 1].field < heap[child].field;                             \
			if (!(heap[child].field < item.field))                                              \
				break;                                                                          \
			heap[hole] = heap[child];                                                           \
			hole = child;                                                                       \
		}                                                                                       \
		heap[hole] = item;                                                                      \
	}                                                                                           \
	pg_attribute_unused() static inline void name##_up(type *heap, uint64 hole)                 \
	{                                                                                           \
		type item = heap[hole];                                                                 \
		while (hole > 0 && item.field < heap[(hole - 1) / 2].field)                             \
		{                                                                                       \
			heap[hole] = heap[(hole - 1) / 2];                                                  \
			hole = (hole - 1) / 2;                                                              \
		}                                                                                       \
		heap[hole] = item;                                                                      \
	}                                                                                           \
	pg_attribute_unused() static inline void name##_make(type *heap, uint64 count)              \
	{                                                                                           \
		for (uint64 i = count / 2; i > 0; i--)                                                  \
			name##_down(heap, count, i - 1);                                                    \
	}

extern void *ds_grow_more(MemoryContext context, void *array, uint64 *room, uint64 count,
						  Size size);

/* Room for `count` elements in an array of the context; keeps what is there. */
static inline void *
ds_grow(MemoryContext context, void *array, uint64 *room, uint64 count, Size size)
{
	if (likely(array != NULL && count <= *room))
		return array;
	return ds_grow_more(context, array, room, count, size);
}

/* Something that a 1-bit bound is known of */
typedef struct Candidate
{
	float bound; /* key, probabilistic */
	uint32 place; /* in the pool */
} Candidate;

DS_HEAP(Candidate, near, bound)

/*
 * Many bounds, of which the least are wanted one after another: a heap of those
 * up to some limit, and all others as they came.  What is in the heap or was
 * taken has the bound infinity.
 */
typedef struct Pool
{
	MemoryContext arrays; /* of bound and near */
	float *bound; /* [count]: blocks of 32; an unused place has infinity */
	uint64 count;
	uint64 room;
	uint64 left; /* places that hold something, in the heap or not */
	uint64 wanted; /* about how many go into the heap the next time */
	Candidate *near; /* the heap */
	uint64 nears;
	uint64 near_room;
	float limit; /* of the heap, while it is not empty */
} Pool;

/*
 * Take about pool->wanted of the least bounds into the heap.  Queries differ in
 * how many they need, so the next time it is four times as many.
 */
extern void ds_pool_order(Pool *pool);

/* The least bound; infinity when nothing is left */
static inline float
ds_pool_least(Pool *pool)
{
	while (pool->nears == 0 && pool->left > 0)
		ds_pool_order(pool);
	return pool->nears > 0 ? pool->near[0].bound : INFINITY;
}

/* Take the one with the least bound, which the last ds_pool_least() has put on top. */
static inline Candidate
ds_pool_pop(Pool *pool)
{
	Candidate top = pool->near[0];

	pool->near[0] = pool->near[--pool->nears];
	near_down(pool->near, pool->nears, 0);
	pool->left--;
	return top;
}

#endif /* DS_INDEX_POOL_H */
