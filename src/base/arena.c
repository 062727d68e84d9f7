/*
 * arena.c
 *		Chunked bump allocation.
 *
 * A chunk doubles from 8 kB to 1 MB; a request larger than the next chunk gets
 * one of its own.  ds_arena_rewind() frees the chunks made since the mark,
 * except that it keeps none: a loop that marks and rewinds around a large
 * request pays for it each time, so such a loop should allocate once, before.
 */
#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64
#define FIRST_CHUNK ((size_t) 8192)
#define LARGEST_CHUNK ((size_t) 1 << 20)

struct DsArenaChunk
{
	DsArenaChunk *next;
	size_t size; /* bytes behind the header's aligned end */
	size_t used;
	char *data; /* aligned */
};

static void *
allocate_malloc(void *context, size_t size)
{
	(void) context;
	return malloc(size);
}

static void
release_malloc(void *context, void *pointer)
{
	(void) context;
	free(pointer);
}

void
ds_arena_init(DsArena *arena, const DsAllocator *allocator)
{
	memset(arena, 0, sizeof(*arena));
	if (allocator != NULL)
		arena->allocator = *allocator;
	else
	{
		arena->allocator.allocate = allocate_malloc;
		arena->allocator.release = release_malloc;
	}
}

static void
drop_chunk(DsArena *arena)
{
	DsArenaChunk *chunk = arena->chunks;

	arena->chunks = chunk->next;
	arena->allocated -= chunk->size;
	arena->allocator.release(arena->allocator.context, chunk);
}

void
ds_arena_free(DsArena *arena)
{
	while (arena->chunks != NULL)
		drop_chunk(arena);
}

void *
ds_arena_alloc(DsArena *arena, size_t count, size_t size)
{
	size_t bytes;
	size_t total;
	DsArenaChunk *chunk = arena->chunks;
	void *result;

	if (!ds_size_mul(count, size, &bytes) || !ds_size_add(bytes, ALIGNMENT - 1, &bytes))
		return NULL;
	bytes &= ~(size_t) (ALIGNMENT - 1);
	if (chunk == NULL || chunk->size - chunk->used < bytes)
	{
		size_t chunk_size = chunk == NULL ? FIRST_CHUNK : chunk->size * 2;

		if (chunk_size > LARGEST_CHUNK)
			chunk_size = LARGEST_CHUNK;
		if (chunk_size < bytes)
			chunk_size = bytes;
		if (!ds_size_add(chunk_size, sizeof(DsArenaChunk) + ALIGNMENT, &total))
			return NULL;
		chunk = arena->allocator.allocate(arena->allocator.context, total);
		if (chunk == NULL)
			return NULL;
		chunk->next = arena->chunks;
		chunk->size = chunk_size;
		chunk->used = 0;
		chunk->data =
			(char *) (((uintptr_t) (chunk + 1) + ALIGNMENT - 1) & ~(uintptr_t) (ALIGNMENT - 1));
		arena->chunks = chunk;
		arena->allocated += chunk_size;
	}
	result = chunk->data + chunk->used;
	chunk->used += bytes;
	return result;
}

void *
ds_arena_zero(DsArena *arena, size_t count, size_t size)
{
	void *result = ds_arena_alloc(arena, count, size);

	if (result != NULL)
		memset(result, 0, count * size);
	return result;
}

void
ds_arena_release(DsArena *arena, void *pointer)
{
	for (DsArenaChunk **place = &arena->chunks; *place != NULL; place = &(*place)->next)
	{
		DsArenaChunk *chunk = *place;

		/* a chunk of this size was made for one request, and has room for no other */
		if (chunk->data == pointer && chunk->size > LARGEST_CHUNK)
		{
			*place = chunk->next;
			arena->allocated -= chunk->size;
			arena->allocator.release(arena->allocator.context, chunk);
			return;
		}
	}
}

DsArenaMark
ds_arena_mark(const DsArena *arena)
{
	DsArenaMark mark = {arena->chunks, arena->chunks != NULL ? arena->chunks->used : 0};

	return mark;
}

void
ds_arena_rewind(DsArena *arena, DsArenaMark mark)
{
	while (arena->chunks != mark.chunk)
		drop_chunk(arena);
	if (arena->chunks != NULL)
		arena->chunks->used = mark.used;
}
