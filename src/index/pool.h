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

/*
 * Many bounds, of which the least are wanted, some at a time: those up to some
 * limit apart, in the order of their places, and all others as they came.  What
 * is apart or was taken has the bound infinity.  Nothing is ever sorted: those
 * to take are told by a limit that lets about as many pass as are wanted, which
 * is found by counting, without a branch that depends on a bound.
 */
typedef struct Pool
{
	MemoryContext arrays; /* of the arrays */
	float *bound; /* [count]: blocks of 32; an unused place has infinity */
	uint64 count;
	uint64 room;
	uint64 left; /* places that hold something, apart or not */
	uint64 wanted; /* about how many are put apart the next time */
	float *near_bound; /* [nears]: blocks of 32; those apart, infinity where they were taken */
	uint32 *near_place; /* [nears] */
	uint64 nears;
	uint64 near_room;
	uint64 place_room;
	uint64 near_left; /* of these, not taken */
	float limit; /* of those apart, while there are any */
	float least; /* of those apart */
} Pool;

/*
 * Put about pool->wanted of the least bounds apart.  Queries differ in how many
 * they need, so the next time it is four times as many.  Always at least one,
 * if one is left.
 */
extern void ds_pool_order(Pool *pool);

/* The least bound; infinity when nothing is left */
static inline float
ds_pool_least(Pool *pool)
{
	while (pool->near_left == 0 && pool->left > 0)
		ds_pool_order(pool);
	return pool->near_left > 0 ? pool->least : INFINITY;
}

/*
 * Take about `wanted` of those with the least bounds, one at least and most[] at
 * most, after ds_pool_least() has said that there are any.  Returns how many;
 * their places mostly are in ascending order.
 */
extern uint32 ds_pool_take(Pool *pool, uint32 wanted, uint32 *place, uint32 most);

#endif /* DS_INDEX_POOL_H */
