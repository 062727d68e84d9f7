/*
 * trie.h
 *		A set of byte strings with a number each, as a double array that is used
 *		where it lies.
 */
#ifndef DS_TRIE_H
#define DS_TRIE_H

#include "base/arena.h"
#include "base/status.h"
#include "text/blob.h"

/*
 * A unit is 8 bytes, little-endian: from the lowest bit, the label (8), the
 * value + 1 (25; 0: none), the base (30), one bit that is set when the unit is
 * taken.  The child of a node by the byte b is unit base ^ b, if that is taken
 * and has the label b.  No two nodes have the same base, so nothing else needs
 * to be checked; a base of 0 means no children.  The root is unit 0.
 */
#define DS_TRIE_UNIT 8
#define DS_TRIE_VALUE_MAX ((UINT32_C(1) << 25) - 2)
/* 128 MB; XLM-RoBERTa's 250,002 tokens take 800,000 */
#define DS_TRIE_UNITS_MAX (UINT32_C(1) << 24)

#define DS_TRIE_TAKEN (UINT64_C(1) << 63)
#define DS_TRIE_BASE(unit) ((uint32_t) ((unit) >> 33) & 0x3FFFFFFF)
#define DS_TRIE_VALUE(unit) ((uint32_t) ((unit) >> 8) & 0x1FFFFFF) /* + 1 */

typedef struct DsTrie
{
	const unsigned char *units;
	uint32_t count; /* a multiple of 256, 0 for an empty set */
} DsTrie;

typedef struct DsTrieKey
{
	const char *bytes;
	uint32_t length;
	uint32_t value; /* at most DS_TRIE_VALUE_MAX */
} DsTrieKey;

/*
 * Sorts keys, which must be different and not empty (of equal ones the last in
 * the order of values stays), and builds the units from arena.
 */
extern DsCode ds_trie_build(DsTrieKey *keys, size_t count, DsArena *arena, const DsCancel *cancel,
							unsigned char **units, uint32_t *unit_count, DsStatus *status);

/* whether no walk can leave the units or find a value of limit or more */
extern bool ds_trie_check(const DsTrie *trie, uint32_t limit);

/* The unit of the root; 0 when there is none.  A unit stands for its node. */
static inline uint64_t
ds_trie_root(const DsTrie *trie)
{
	return trie->count > 0 ? ds_read_u64(trie->units) : 0;
}

/* the child's unit, 0 when there is none */
static inline uint64_t
ds_trie_step(const DsTrie *trie, uint64_t unit, unsigned char byte)
{
	uint32_t base = DS_TRIE_BASE(unit);
	uint64_t child;

	if (base == 0)
		return 0;
	child = ds_read_u64(trie->units + (size_t) (base ^ byte) * DS_TRIE_UNIT);
	return (child & (DS_TRIE_TAKEN | 0xFF)) == (DS_TRIE_TAKEN | byte) ? child : 0;
}

static inline uint64_t
ds_trie_walk(const DsTrie *trie, uint64_t unit, const char *bytes, size_t length)
{
	for (size_t i = 0; i < length && unit != 0; i++)
		unit = ds_trie_step(trie, unit, (unsigned char) bytes[i]);
	return unit;
}

#endif /* DS_TRIE_H */
