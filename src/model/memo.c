/*
 * memo.c
 *		The texts that this process has encoded lately.
 *
 * A hash table over (text, model, version, side) whose entries also stand in
 * a list, most recently used first.  deepsearch.encode_cache bounds their
 * number, and with it their memory: that many times 8 kB, whatever the texts
 * are.  The newest entry always stays, so that one statement encodes a text
 * once even where the text is huge.
 *
 * A version never changes, so entries never become wrong; those of versions
 * that are gone grow old and fall out.  Only when someone has changed the
 * stored weights by hand are all of them forgotten.
 */
#include "model/memo.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "model/catalog.h"

typedef struct Entry
{
	dlist_node node;
	struct Entry *next; /* in the bucket */
	uint64 hash;
	DsModelKey key;
	int side;
	int dims;
	size_t length;
	float x[FLEXIBLE_ARRAY_MEMBER]; /* dims, and behind them the text */
} Entry;

#define ENTRY_BYTES 8192 /* memory for each entry that is allowed */

static dlist_head entries = DLIST_STATIC_INIT(entries);
static Entry **buckets = NULL;
static uint32 bucket_mask = 0;
static int entry_count = 0;
static Size entry_bytes = 0;
static MemoryContext memo_context = NULL;
static uint64 weights_seen = 0;

static Size
entry_size(const Entry *entry)
{
	return offsetof(Entry, x) + sizeof(float) * (Size) entry->dims + entry->length;
}

static char *
entry_text(Entry *entry)
{
	return (char *) (entry->x + entry->dims);
}

static uint64
hash_of(DsModelKey key, DsSide side, const char *text, size_t length)
{
	uint64 seed = ((uint64) (uint32) key.model << 32 | (uint32) key.version) * 4 + (uint64) side;

	return hash_bytes_extended((const unsigned char *) text, (int) length, seed);
}

static void
forget(Entry *entry)
{
	Entry **place = &buckets[entry->hash & bucket_mask];

	while (*place != entry)
		place = &(*place)->next;
	*place = entry->next;
	dlist_delete(&entry->node);
	entry_count--;
	entry_bytes -= entry_size(entry);
	pfree(entry);
}

static void
forget_all(void)
{
	while (!dlist_is_empty(&entries))
		forget(dlist_tail_element(Entry, node, &entries));
}

/* Twice as many buckets as entries */
static void
grow(void)
{
	uint32 count = (bucket_mask + 1) * 2;
	Entry **grown = MemoryContextAllocZero(memo_context, sizeof(Entry *) * count);
	dlist_iter iter;

	dlist_foreach(iter, &entries)
	{
		Entry *entry = dlist_container(Entry, node, iter.cur);
		Entry **place = &grown[entry->hash & (count - 1)];

		entry->next = *place;
		*place = entry;
	}
	pfree(buckets);
	buckets = grown;
	bucket_mask = count - 1;
}

const float *
ds_memo_find(DsModelKey key, DsSide side, const char *text, size_t length, int *dims)
{
	uint64 hash;

	if (entry_count == 0)
		return NULL;
	if (weights_seen != ds_catalog_weight_changes)
	{
		forget_all();
		return NULL;
	}
	hash = hash_of(key, side, text, length);
	for (Entry *entry = buckets[hash & bucket_mask]; entry != NULL; entry = entry->next)
	{
		if (entry->hash == hash && entry->length == length && entry->side == (int) side &&
			entry->key.model == key.model && entry->key.version == key.version &&
			memcmp(entry_text(entry), text, length) == 0)
		{
			dlist_move_head(&entries, &entry->node);
			*dims = entry->dims;
			return entry->x;
		}
	}
	return NULL;
}

void
ds_memo_add(DsModelKey key, DsSide side, const char *text, size_t length, const float *x, int dims)
{
	int limit = ds_setting_encode_cache;
	Entry *entry;
	Entry **place;

	if (weights_seen != ds_catalog_weight_changes)
	{
		if (entry_count > 0)
			forget_all();
		weights_seen = ds_catalog_weight_changes;
	}
	if (limit == 0)
	{
		if (entry_count > 0)
			forget_all();
		return;
	}
	if (memo_context == NULL)
	{
		memo_context =
			AllocSetContextCreate(TopMemoryContext, "deepsearch memo", ALLOCSET_DEFAULT_SIZES);
		buckets = MemoryContextAllocZero(memo_context, sizeof(Entry *) * 64);
		bucket_mask = 63;
	}
	entry = MemoryContextAllocExtended(memo_context,
									   offsetof(Entry, x) + sizeof(float) * (Size) dims + length,
									   MCXT_ALLOC_NO_OOM | MCXT_ALLOC_HUGE);
	if (entry == NULL)
		return;
	entry->hash = hash_of(key, side, text, length);
	entry->key = key;
	entry->side = side;
	entry->dims = dims;
	entry->length = length;
	memcpy(entry->x, x, sizeof(float) * (size_t) dims);
	memcpy(entry_text(entry), text, length);
	while (entry_count > 0 &&
		   (entry_count >= limit || entry_bytes + entry_size(entry) > (Size) limit * ENTRY_BYTES))
		forget(dlist_tail_element(Entry, node, &entries));
	if ((uint32) entry_count * 2 > bucket_mask)
		grow();
	place = &buckets[entry->hash & bucket_mask];
	entry->next = *place;
	*place = entry;
	dlist_push_head(&entries, &entry->node);
	entry_count++;
	entry_bytes += entry_size(entry);
}
