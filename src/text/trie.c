/*
 * trie.c
 *		Building double arrays.
 *
 * Nodes are placed depth first, from the sorted keys.  For a node's children a
 * base is sought such that all their units are free: candidates come from a
 * list of the free units, newest blocks first, and after TRIES of them a new
 * block is taken, where everything is free; so building takes linear time
 * whatever the keys are, and in practice leaves some percent of the units
 * unused.  (Yata, Oono, Morita, Fuketa, Sumitomo, Aoe: A compact static
 * double-array keeping character codes, 2007; the xor in place of a sum, as in
 * darts-clone, keeps the children of a node within one block of 256.)
 */
#include "text/trie.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 256
#define TRIES 64
#define OLD_TRIES 16
/* Real vocabularies take about one unit for each byte of their keys at most; the limit is for
 * those that are made to take more. */
#define UNITS_PER_BYTE 4
#define UNITS_MIN ((size_t) 1 << 16)

typedef struct Builder
{
	DsArena *arena;
	uint32_t expected; /* units, by the number of nodes */
	uint64_t *units;
	uint32_t *next_free; /* a ring through unit 0, which is never free */
	uint32_t *prev_free;
	uint8_t *base_used;
	uint32_t count;
	uint32_t capacity;
	uint32_t limit; /* of units */
} Builder;

static int
by_bytes(const void *a, const void *b)
{
	const DsTrieKey *x = a;
	const DsTrieKey *y = b;
	int order = memcmp(x->bytes, y->bytes, x->length < y->length ? x->length : y->length);

	if (order != 0)
		return order;
	if (x->length != y->length)
		return x->length < y->length ? -1 : 1;
	return x->value < y->value ? -1 : x->value > y->value;
}

/* one array after the other, so that not all of them are there twice */
static bool
resize(Builder *b, void **array, size_t capacity, size_t size)
{
	void *larger = ds_arena_alloc(b->arena, capacity, size);

	if (larger == NULL)
		return false;
	if (b->count > 0)
		memcpy(larger, *array, b->count * size);
	ds_arena_release(b->arena, *array);
	*array = larger;
	return true;
}

static bool
grow(Builder *b)
{
	uint32_t first = b->count;

	if (b->count + BLOCK > b->limit)
		return false;
	if (b->count + BLOCK > b->capacity)
	{
		uint32_t capacity = b->capacity == 0 ? b->expected : b->capacity + b->capacity / 4 + BLOCK;

		if (!resize(b, (void **) &b->units, capacity, sizeof(*b->units)) ||
			!resize(b, (void **) &b->next_free, capacity, sizeof(*b->next_free)) ||
			!resize(b, (void **) &b->prev_free, capacity, sizeof(*b->prev_free)) ||
			!resize(b, (void **) &b->base_used, capacity, sizeof(*b->base_used)))
			return false;
		b->capacity = capacity;
	}
	/* a block at a time: memory that is never touched need not be there */
	memset(b->units + first, 0, BLOCK * sizeof(*b->units));
	memset(b->next_free + first, 0, BLOCK * sizeof(*b->next_free));
	memset(b->prev_free + first, 0, BLOCK * sizeof(*b->prev_free));
	memset(b->base_used + first, 0, BLOCK);
	b->count += BLOCK;
	/* unit 0 is the root, and the anchor of the ring; the new block goes to its front */
	for (uint32_t i = b->count - 1; i >= first && i > 0; i--)
	{
		b->next_free[i] = b->next_free[0];
		b->prev_free[i] = 0;
		b->prev_free[b->next_free[0]] = i;
		b->next_free[0] = i;
	}
	return true;
}

static void
take(Builder *b, uint32_t unit)
{
	b->next_free[b->prev_free[unit]] = b->next_free[unit];
	b->prev_free[b->next_free[unit]] = b->prev_free[unit];
}

/* A base such that the units of all labels are free, among the first "tries" free units of the ring in one direction; 0: none of them */
static uint32_t
try_bases(const Builder *b, const uint32_t *next, int tries, const unsigned char *labels, size_t n)
{
	for (uint32_t unit = next[0]; unit != 0 && tries > 0; unit = next[unit], tries--)
	{
		uint32_t base = unit ^ labels[0];
		size_t i = 1;

		if (base == 0 || b->base_used[base])
			continue;
		while (i < n && !(b->units[base ^ labels[i]] & DS_TRIE_TAKEN))
			i++;
		if (i == n)
			return base;
	}
	return 0;
}

/* a base such that the units of all labels are free, 0 when memory is out */
static uint32_t
find_base(Builder *b, const unsigned char *labels, size_t n)
{
	/* only children fill the gaps that others have left */
	uint32_t base = n == 1 ? try_bases(b, b->prev_free, OLD_TRIES, labels, n) : 0;

	if (base == 0)
		base = try_bases(b, b->next_free, TRIES, labels, n);
	if (base != 0)
		return base;
	if (!grow(b))
		return 0;
	/* in a new block any base will do; in the first one, none that gives unit 0 */
	return b->count - BLOCK;
}

/* bytes that two keys begin with */
static uint32_t
common(const DsTrieKey *a, const DsTrieKey *b)
{
	uint32_t n = 0;

	while (n < a->length && n < b->length && a->bytes[n] == b->bytes[n])
		n++;
	return n;
}

/*
 * Place the children of unit, which stands for the keys [first, last) that
 * agree in their first depth bytes.  Recursion would be as deep as the longest
 * key, so the work to do is on a stack.
 */
typedef struct Task
{
	uint32_t first;
	uint32_t last;
	uint32_t depth;
	uint32_t unit;
} Task;

DsCode
ds_trie_build(DsTrieKey *keys, size_t count, DsArena *arena, const DsCancel *cancel,
			  unsigned char **units, uint32_t *unit_count, DsStatus *status)
{
	Builder b = {.arena = arena};
	Task *stack;
	size_t capacity = 1024;
	size_t n = 1;
	size_t kept = 0;
	size_t limit = UNITS_MIN;
	size_t nodes = 1;
	uint32_t work = 0;

	*units = NULL;
	*unit_count = 0;
	if (count == 0)
		return DS_OK;
	if (count > DS_TRIE_VALUE_MAX)
		return ds_fail(status, DS_TOO_LARGE, "too many tokens: %zu", count);
	qsort(keys, count, sizeof(*keys), by_bytes);
	for (size_t i = 0; i < count; i++)
	{
		/* of equal keys the last one stays */
		if (kept > 0 && keys[kept - 1].length == keys[i].length &&
			memcmp(keys[kept - 1].bytes, keys[i].bytes, keys[i].length) == 0)
			kept--;
		keys[kept++] = keys[i];
		limit += UNITS_PER_BYTE * (size_t) keys[i].length;
	}
	b.limit = limit < DS_TRIE_UNITS_MAX ? (uint32_t) limit : DS_TRIE_UNITS_MAX;
	count = kept;
	for (size_t i = 0; i < count; i++)
		nodes += keys[i].length - (i > 0 ? common(&keys[i - 1], &keys[i]) : 0);
	/* units of real vocabularies are a few percent more than their nodes */
	if (nodes > b.limit)
		return ds_fail(status, DS_TOO_LARGE,
					   "the tokens of a vocabulary are too many, or too long");
	b.expected = (uint32_t) (nodes + nodes / 16) + 2 * BLOCK;
	stack = ds_arena_alloc(arena, capacity, sizeof(*stack));
	/* two blocks: find_base() may then always take the start of a block that is not the first */
	if (stack == NULL || !grow(&b) || !grow(&b))
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	b.units[0] = DS_TRIE_TAKEN;
	stack[0] = (Task){0, (uint32_t) count, 0, 0};
	while (n > 0)
	{
		Task task = stack[--n];
		unsigned char labels[BLOCK];
		uint32_t starts[BLOCK + 1];
		size_t children = 0;
		uint32_t base;

		if (++work % 1024 == 0 && ds_cancelled(cancel))
			return ds_fail(status, DS_CANCELLED, "cancelled");
		if (keys[task.first].length == task.depth)
		{
			b.units[task.unit] |= (uint64_t) (keys[task.first].value + 1) << 8;
			task.first++;
		}
		for (uint32_t i = task.first; i < task.last; i++)
		{
			unsigned char label = (unsigned char) keys[i].bytes[task.depth];

			if (children == 0 || labels[children - 1] != label)
			{
				labels[children] = label;
				starts[children++] = i;
			}
		}
		if (children == 0)
			continue;
		starts[children] = task.last;
		base = find_base(&b, labels, children);
		if (base == 0)
			return ds_fail(status, b.count + BLOCK > b.limit ? DS_TOO_LARGE : DS_OUT_OF_MEMORY,
						   "no memory for the table of a vocabulary");
		b.base_used[base] = 1;
		b.units[task.unit] |= (uint64_t) base << 33;
		if (n + children > capacity)
		{
			Task *larger = ds_arena_alloc(arena, 2 * capacity, sizeof(*stack));

			if (larger == NULL)
				return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
			memcpy(larger, stack, n * sizeof(*stack));
			ds_arena_release(arena, stack);
			stack = larger;
			capacity *= 2;
		}
		for (size_t i = 0; i < children; i++)
		{
			uint32_t unit = base ^ labels[i];

			take(&b, unit);
			b.units[unit] = DS_TRIE_TAKEN | labels[i];
		}
		for (size_t i = children; i-- > 0;)
			stack[n++] = (Task){starts[i], starts[i + 1], task.depth + 1, base ^ labels[i]};
	}
	ds_arena_release(arena, b.next_free);
	ds_arena_release(arena, b.prev_free);
	ds_arena_release(arena, b.base_used);
	ds_arena_release(arena, stack);
	/* the same memory, in the order of bytes that is stored */
	*units = (unsigned char *) b.units;
	for (uint32_t i = 0; i < b.count; i++)
		ds_write_u64(*units + (size_t) i * DS_TRIE_UNIT, b.units[i]);
	*unit_count = b.count;
	return DS_OK;
}

bool
ds_trie_check(const DsTrie *trie, uint32_t limit)
{
	if (trie->count % BLOCK != 0 || trie->count > DS_TRIE_UNITS_MAX)
		return false;
	for (uint32_t i = 0; i < trie->count; i++)
	{
		uint64_t unit = ds_read_u64(trie->units + (size_t) i * DS_TRIE_UNIT);

		if (DS_TRIE_BASE(unit) >= trie->count || DS_TRIE_VALUE(unit) > limit)
			return false;
	}
	return true;
}
