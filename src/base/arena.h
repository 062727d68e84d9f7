/*
 * arena.h
 *		Memory for pure rooms.
 *
 * The caller of a pure function gives it an arena; everything that the
 * function returns lives there and goes in one ds_arena_free().  Memory comes
 * in chunks from a pair of callbacks, malloc and free by default.  A server
 * room passes callbacks over a memory context that return NULL instead of
 * raising an error (ds_server_arena() in server.h), so that no longjmp leaves
 * a pure room and an error frees the arena with its context.
 */
#ifndef DS_ARENA_H
#define DS_ARENA_H

#include <stddef.h>
#include <stdint.h>

typedef struct DsAllocator
{
	void *(*allocate)(void *context, size_t size); /* NULL when out of memory */
	void (*release)(void *context, void *pointer);
	void *context;
} DsAllocator;

typedef struct DsArenaChunk DsArenaChunk;

typedef struct DsArena
{
	DsAllocator allocator;
	DsArenaChunk *chunks; /* newest first */
	size_t allocated; /* bytes taken from the allocator */
} DsArena;

/* allocator may be NULL: malloc and free */
extern void ds_arena_init(DsArena *arena, const DsAllocator *allocator);
extern void ds_arena_free(DsArena *arena);

/*
 * count * size bytes, aligned to 64 (a cache line, and an AVX-512 register).
 * NULL when the product overflows or memory is out.  A size of zero gives a
 * pointer that must not be followed.
 */
extern void *ds_arena_alloc(DsArena *arena, size_t count, size_t size);
extern void *ds_arena_zero(DsArena *arena, size_t count, size_t size);

/*
 * Give back memory that is no longer used, if it is large (more than 1 MB, and so
 * a chunk of its own); otherwise nothing happens.  For arrays that have grown.
 * Not for memory from before a mark that will be rewound to.
 */
extern void ds_arena_release(DsArena *arena, void *pointer);

/*
 * A point to come back to: everything allocated since is released.  Used
 * around the scratch memory of one training step or one query.
 */
typedef struct DsArenaMark
{
	DsArenaChunk *chunk;
	size_t used;
} DsArenaMark;

extern DsArenaMark ds_arena_mark(const DsArena *arena);
extern void ds_arena_rewind(DsArena *arena, DsArenaMark mark);

/* Overflow-checked size arithmetic: false when the result does not fit. */
static inline int
ds_size_mul(size_t a, size_t b, size_t *result)
{
	return !__builtin_mul_overflow(a, b, result);
}

static inline int
ds_size_add(size_t a, size_t b, size_t *result)
{
	return !__builtin_add_overflow(a, b, result);
}

#endif /* DS_ARENA_H */
