/*
 * tokenizer_pack.c
 *		A tokenizer in a third of its bytes, for storing.
 *
 * A blob is a table to look features up in: half of its slots are free, and each of
 * the others has a tag of 32 bits and an id.  All of it follows from a list of the
 * features in the order of their ids: how often each was counted, its tag, its slot.
 * Counts do not rise, and of features counted as often tags do not fall (that is how
 * they are numbered), so both are stored as differences, seven bits a byte, the last
 * byte below 128.  31,000 features take 5.3 bytes each instead of 21.
 *
 *	   u32 magic "DSTP"; the blob's header; of each feature the count before less its
 *	   own, its tag less the one before (of the same count: otherwise less 0), both
 *	   modulo 2^32; then the slots of all, of as few bytes each as there must be
 */
#include "text/tokenizer.h"

#include <string.h>

#include "text/ngram.h"

#define PACK_MAGIC UINT32_C(0x50545344) /* "DSTP" */
#define PACK_HEADER (4 + NGRAM_HEADER_SIZE)
#define NUMBER_MOST 5 /* bytes */

static size_t
slot_bytes(uint32_t slots)
{
	size_t n = 1;

	while (n < 4 && (slots - 1) >> (8 * n) != 0)
		n++;
	return n;
}

static unsigned char *
write_number(unsigned char *p, uint32_t x)
{
	for (; x >= 128; x >>= 7)
		*p++ = (unsigned char) (x | 128);
	*p++ = (unsigned char) x;
	return p;
}

/* false: it does not end in time */
static bool
read_number(const unsigned char **p, const unsigned char *end, uint32_t *result)
{
	uint32_t x = 0;

	for (unsigned shift = 0; shift < 7 * NUMBER_MOST && *p < end; shift += 7)
	{
		uint32_t byte = *(*p)++;

		x |= (byte & 127) << shift;
		if (byte < 128)
		{
			*result = x;
			return true;
		}
	}
	return false;
}

bool
ds_tokenizer_is_packed(const void *blob, size_t size)
{
	return size >= 4 && ds_read_u32(blob) == PACK_MAGIC;
}

DsCode
ds_tokenizer_pack(const void *blob, size_t size, DsArena *arena, void **packed, size_t *packed_size,
				  DsStatus *status)
{
	DsTokenizer tokenizer;
	DsCode code = ds_tokenizer_open(&tokenizer, blob, size, status);
	uint32_t slots;
	size_t width;
	uint32_t *places;
	unsigned char *bytes;
	unsigned char *p;
	uint32_t count = 0;
	uint32_t tag = 0;

	if (code != DS_OK)
		return code;
	slots = tokenizer.slot_mask + 1;
	width = slot_bytes(slots);
	/* the slot of each id, plus one; the limits of the vocabulary keep all this small */
	places = ds_arena_zero(arena, (size_t) tokenizer.learned + 1, sizeof(uint32_t));
	bytes = ds_arena_alloc(arena,
						   PACK_HEADER + (size_t) tokenizer.learned * (2 * NUMBER_MOST + width), 1);
	if (places == NULL || bytes == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	for (uint32_t i = 0; i < slots; i++)
	{
		uint32_t id = ds_read_u32(tokenizer.slots + (size_t) i * NGRAM_SLOT_SIZE + 4);

		if (id != 0 && places[id - 1] != 0)
			return ds_fail(status, DS_BAD_DATA, "tokenizer is damaged: feature %u is there twice",
						   id - 1);
		if (id != 0)
			places[id - 1] = i + 1;
	}
	ds_write_u32(bytes, PACK_MAGIC);
	memcpy(bytes + 4, blob, NGRAM_HEADER_SIZE);
	p = bytes + PACK_HEADER;
	for (uint32_t id = 0; id < tokenizer.learned; id++)
	{
		uint32_t own_count = ds_tokenizer_count(&tokenizer, id);
		uint32_t own = ds_read_u32(tokenizer.slots + (size_t) (places[id] - 1) * NGRAM_SLOT_SIZE);

		p = write_number(p, count - own_count);
		p = write_number(p, own_count == count ? own - tag : own);
		count = own_count;
		tag = own;
	}
	for (uint32_t id = 0; id < tokenizer.learned; id++)
		for (size_t b = 0; b < width; b++)
			*p++ = (unsigned char) ((places[id] - 1) >> (8 * b));
	*packed = bytes;
	*packed_size = (size_t) (p - bytes);
	return DS_OK;
}

static DsCode
damaged(DsStatus *status)
{
	return ds_fail(status, DS_BAD_DATA, "packed tokenizer is damaged");
}

DsCode
ds_tokenizer_unpack(const void *packed, size_t packed_size, DsArena *arena, void **blob,
					size_t *size, DsStatus *status)
{
	const unsigned char *from = packed;
	const unsigned char *end = from + packed_size;
	const unsigned char *p = from + PACK_HEADER;
	const unsigned char *places;
	uint32_t learned;
	uint32_t slots;
	size_t width;
	unsigned char *bytes;
	unsigned char *table;
	uint32_t count = 0;
	uint32_t tag = 0;
	DsTokenizer tokenizer;

	if (packed_size < PACK_HEADER || !ds_tokenizer_is_packed(packed, packed_size))
		return damaged(status);
	learned = ds_read_u32(from + 4 + NGRAM_AT_LEARNED);
	slots = ds_read_u32(from + 4 + NGRAM_AT_SLOTS);
	if (learned > DS_TOKENIZER_VOCABULARY_MAX || slots != ngram_slot_count(learned))
		return damaged(status);
	width = slot_bytes(slots);
	/* two bytes or more, and a slot; so memory is bounded by what there is */
	if ((size_t) (end - p) / (2 + width) < learned)
		return damaged(status);
	places = end - (size_t) learned * width;
	*size = NGRAM_HEADER_SIZE + (size_t) learned * 4 + (size_t) slots * NGRAM_SLOT_SIZE;
	bytes = ds_arena_zero(arena, *size, 1);
	if (bytes == NULL)
		return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory");
	memcpy(bytes, from + 4, NGRAM_HEADER_SIZE);
	table = bytes + NGRAM_HEADER_SIZE + (size_t) learned * 4;
	for (uint32_t id = 0; id < learned; id++)
	{
		uint32_t less;
		uint32_t more;
		uint32_t place = 0;

		if (!read_number(&p, places, &less) || !read_number(&p, places, &more))
			return damaged(status);
		tag = less == 0 ? tag + more : more;
		count -= less;
		for (size_t b = 0; b < width; b++)
			place |= (uint32_t) places[(size_t) id * width + b] << (8 * b);
		if (place >= slots || ds_read_u32(table + (size_t) place * NGRAM_SLOT_SIZE + 4) != 0)
			return damaged(status);
		ds_write_u32(bytes + NGRAM_HEADER_SIZE + (size_t) id * 4, count);
		ds_write_u32(table + (size_t) place * NGRAM_SLOT_SIZE, tag);
		ds_write_u32(table + (size_t) place * NGRAM_SLOT_SIZE + 4, id + 1);
	}
	if (p != places)
		return damaged(status);
	*blob = bytes;
	return ds_tokenizer_open(&tokenizer, bytes, *size, status);
}
