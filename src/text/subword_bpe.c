/*
 * subword_bpe.c
 *		Byte pair encoding of one part of a text.
 *
 * Each character is a symbol at first; then, of all neighbours that the model
 * merges, those with the lowest rank (of these the leftmost) become one symbol,
 * until there are none.  The symbols are a linked list.  A part of up to
 * SHORT_PART characters, which almost all are, is searched for the lowest rank each
 * time; in a longer one the candidates are in a heap, and those that a merge
 * has overtaken are recognised when they come up, so that a part of n
 * characters takes n log n steps.
 */
#include "text/subword_private.h"

#include "text/utf8.h"

#define SHORT_PART 24
#define NOTHING DS_SUBWORD_NONE
#define CANCEL_EVERY 4096

static DsCode
no_memory(DsStatus *status)
{
	return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for a text");
}

typedef struct Merges
{
	const unsigned char *slots;
	uint32_t mask; /* 0: there are none */
} Merges;

/* set the rank and result of merging symbol i with the next one */
static inline void
look_up(const Merges *merges, Symbol *symbols, uint32_t i)
{
	Symbol *symbol = &symbols[i];
	uint32_t left = symbol->id;
	uint32_t right;

	symbol->rank = NOTHING;
	if (symbol->next == NOTHING || merges->mask == 0)
		return;
	right = symbols[symbol->next].id;
	for (uint32_t slot = merge_home(left, right, merges->mask);; slot = (slot + 1) & merges->mask)
	{
		const unsigned char *p = merges->slots + (size_t) slot * MERGE_SIZE;
		uint32_t slot_right = ds_read_u32(p + 4);

		if (slot_right == NOTHING)
			return;
		if (slot_right == right && ds_read_u32(p) == left)
		{
			symbol->rank = ds_read_u32(p + 8);
			symbol->result = ds_read_u32(p + 12);
			return;
		}
	}
}

/* merge symbol i with the next one */
static inline void
merge(const Merges *merges, Symbol *symbols, uint32_t i)
{
	Symbol *symbol = &symbols[i];
	Symbol *next = &symbols[symbol->next];

	symbol->id = symbol->result;
	symbol->last = next->last;
	next->id = NOTHING; /* gone */
	symbol->next = next->next;
	if (symbol->next != NOTHING)
		symbols[symbol->next].prev = i;
	look_up(merges, symbols, i);
	if (symbol->prev != NOTHING)
		look_up(merges, symbols, symbol->prev);
}

static void
merge_short(const Merges *merges, Symbol *symbols)
{
	for (;;)
	{
		uint32_t best = 0;
		uint32_t rank = NOTHING;

		for (uint32_t i = 0; i != NOTHING; i = symbols[i].next)
			if (symbols[i].rank < rank)
			{
				rank = symbols[i].rank;
				best = i;
			}
		if (rank == NOTHING)
			return;
		merge(merges, symbols, best);
	}
}

static inline bool
before(HeapItem a, HeapItem b)
{
	return a.rank < b.rank || (a.rank == b.rank && a.at < b.at);
}

static void
heap_push(HeapItem *heap, size_t *n, HeapItem item)
{
	size_t i = (*n)++;

	while (i > 0 && before(item, heap[(i - 1) / 2]))
	{
		heap[i] = heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	heap[i] = item;
}

static HeapItem
heap_pop(HeapItem *heap, size_t *n)
{
	HeapItem top = heap[0];
	HeapItem item = heap[--*n];
	size_t i = 0;

	for (;;)
	{
		size_t child = 2 * i + 1;

		if (child >= *n)
			break;
		if (child + 1 < *n && before(heap[child + 1], heap[child]))
			child++;
		if (!before(heap[child], item))
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = item;
	return top;
}

static DsCode
merge_long(const Merges *merges, DsSubwordScratch *scratch, size_t count, DsStatus *status)
{
	Symbol *symbols = scratch->symbols;
	HeapItem *heap;
	size_t n = 0;
	size_t merged = 0;

	/* count at first, and each of fewer than count merges adds at most two */
	if (!subword_grow(scratch->arena, (void **) &scratch->heap, &scratch->heap_capacity, 3 * count,
					  sizeof(HeapItem), 0))
		return no_memory(status);
	heap = scratch->heap;
	for (uint32_t i = 0; i < count; i++)
		if (symbols[i].rank != NOTHING)
			heap_push(heap, &n, (HeapItem){symbols[i].rank, i, symbols[i].result});
	while (n > 0)
	{
		HeapItem item = heap_pop(heap, &n);
		Symbol *symbol = &symbols[item.at];
		uint32_t prev;

		/* overtaken */
		if (symbol->id == NOTHING || symbol->rank != item.rank || symbol->result != item.result)
			continue;
		merge(merges, symbols, item.at);
		if (symbol->rank != NOTHING)
			heap_push(heap, &n, (HeapItem){symbol->rank, item.at, symbol->result});
		prev = symbol->prev;
		if (prev != NOTHING && symbols[prev].rank != NOTHING)
			heap_push(heap, &n, (HeapItem){symbols[prev].rank, prev, symbols[prev].result});
		if (++merged % CANCEL_EVERY == 0 && ds_cancelled(scratch->cancel))
			return ds_fail(status, DS_CANCELLED, "cancelled");
	}
	return DS_OK;
}

/* the vocabulary's id of a character with what goes before and behind it, or NOTHING */
static uint32_t
find_character(const DsSubword *t, uint32_t c, bool is_first, bool is_last)
{
	const unsigned char *data = blob_section(t, SECTION_DATA);
	DsTrie trie = blob_trie(t, SECTION_TRIE);
	uint64_t node;
	char bytes[4];
	uint32_t prefix = is_first ? 0 : blob_word(t, AT_PREFIX_LENGTH);
	uint32_t suffix = is_last ? blob_word(t, AT_SUFFIX_LENGTH) : 0;

	if (c < CHARACTERS && prefix == 0 && suffix == 0)
		return ds_read_u32(blob_section(t, SECTION_CHARACTERS) + (size_t) c * 4) - 1;
	node = prefix > 0 ? t->prefix_node : ds_trie_root(&trie);
	node = ds_trie_walk(&trie, node, bytes, ds_utf8_write(c, bytes));
	if (suffix > 0)
		node = ds_trie_walk(&trie, node, (const char *) data + blob_word(t, AT_SUFFIX), suffix);
	return DS_TRIE_VALUE(node) - 1;
}

static inline uint32_t
add_symbol(Symbol *symbols, uint32_t n, uint32_t id, uint32_t first, uint32_t last)
{
	symbols[n] = (Symbol){.id = id, .first = first, .last = last};
	return n + 1;
}

/* The characters as symbols; returns their number */
static uint32_t
first_symbols(const DsSubword *t, const Characters *text, uint32_t first, uint32_t last,
			  Symbol *symbols)
{
	uint32_t unknown = blob_word(t, AT_UNKNOWN);
	uint32_t flags = blob_word(t, AT_MODEL_FLAGS);
	const unsigned char *byte_ids = blob_section(t, SECTION_BYTES);
	bool fallback = blob_length(t, SECTION_BYTES) > 0;
	/* an unknown character waits for the next one, with which it may become one symbol */
	bool waiting = false;
	uint32_t waiting_first = 0;
	uint32_t n = 0;

	for (uint32_t i = first; i < last; i++)
	{
		uint32_t id = find_character(t, text->c[i], i == first, i + 1 == last);

		if (id != NOTHING)
		{
			if (waiting)
				n = add_symbol(symbols, n, unknown, waiting_first, i);
			waiting = false;
			n = add_symbol(symbols, n, id, i, i + 1);
			continue;
		}
		/* with a prefix or suffix its bytes count too in the library; no model has both */
		if (fallback)
		{
			char bytes[4];
			size_t length = ds_utf8_write(text->c[i], bytes);
			bool all = true;

			for (size_t j = 0; j < length; j++)
				all &= ds_read_u32(byte_ids + (size_t) (unsigned char) bytes[j] * 4) != NOTHING;
			if (all)
			{
				for (size_t j = 0; j < length; j++)
					n = add_symbol(symbols, n,
								   ds_read_u32(byte_ids + (size_t) (unsigned char) bytes[j] * 4), i,
								   i + 1);
				continue;
			}
		}
		/* without an unknown token the character vanishes */
		if (unknown == NOTHING)
			continue;
		if (waiting && !(flags & MODEL_FUSE_UNKNOWN))
			n = add_symbol(symbols, n, unknown, waiting_first, i);
		if (!waiting || !(flags & MODEL_FUSE_UNKNOWN))
			waiting_first = i;
		waiting = true;
	}
	if (waiting)
		n = add_symbol(symbols, n, unknown, waiting_first, last);
	return n;
}

DsCode
subword_bpe(const DsSubword *t, DsSubwordScratch *scratch, uint32_t first, uint32_t last,
			Tokens *tokens, DsStatus *status)
{
	const Characters *text = &scratch->all;
	Merges merges = {blob_section(t, SECTION_MERGES), 0};
	uint32_t slots = blob_length(t, SECTION_MERGES) / MERGE_SIZE;
	uint32_t count;
	Symbol *symbols;

	merges.mask = slots > 0 ? slots - 1 : 0;
	if (blob_word(t, AT_MODEL_FLAGS) & MODEL_IGNORE_MERGES)
	{
		DsTrie trie = blob_trie(t, SECTION_TRIE);
		uint64_t node = ds_trie_root(&trie);

		for (uint32_t i = first; i < last && node != 0; i++)
		{
			char bytes[4];

			node = ds_trie_walk(&trie, node, bytes, ds_utf8_write(text->c[i], bytes));
		}
		if (DS_TRIE_VALUE(node) != 0)
		{
			if (!tokens_add(tokens, DS_TRIE_VALUE(node) - 1, text->begin[first],
							text->end[last - 1]))
				return no_memory(status);
			return DS_OK;
		}
	}
	/* a character may be four bytes */
	if (!subword_grow(scratch->arena, (void **) &scratch->symbols, &scratch->symbols_capacity,
					  4 * (size_t) (last - first), sizeof(Symbol), 0))
		return no_memory(status);
	symbols = scratch->symbols;
	count = first_symbols(t, text, first, last, symbols);
	if (count == 0)
		return DS_OK;
	for (uint32_t i = 0; i < count; i++)
	{
		symbols[i].prev = i > 0 ? i - 1 : NOTHING;
		symbols[i].next = i + 1 < count ? i + 1 : NOTHING;
	}
	for (uint32_t i = 0; i < count; i++)
		look_up(&merges, symbols, i);
	if (count <= SHORT_PART)
		merge_short(&merges, symbols);
	else
	{
		DsCode code = merge_long(&merges, scratch, count, status);

		if (code != DS_OK)
			return code;
	}
	for (uint32_t i = 0; i != NOTHING; i = symbols[i].next)
		if (!tokens_add(tokens, symbols[i].id, text->begin[symbols[i].first],
						text->end[symbols[i].last - 1]))
			return no_memory(status);
	return DS_OK;
}
