/*
 * check.h
 *		The state of ds_index_check(), shared by check.c (the index by itself)
 *		and check_rows.c (the index and its table).
 */
#ifndef DS_INDEX_CHECK_H
#define DS_INDEX_CHECK_H

#include "index/life.h"

#include "common/hashfn.h"
#include "vector/embedding.h"

/* Entry.list of rows without codes: LIST_OF_CHAIN + DS_TIDS_... */
#define LIST_OF_CHAIN ((uint32) 0xFFFFFFFE)

/* A row as the index has it */
typedef struct Entry
{
	ItemPointerData tid;
	uint16 place; /* on its page: block * 32 + row, or number of the row id */
	uint32 list;
	uint32 centroid;
	BlockNumber block;
	uint32 sample; /* number + 1 of the copy of its codes, 0: none */
	uint64 hash;
	bool seen;
} Entry;

typedef struct Claim
{
	uint32 list;
	uint8 kind; /* DsPageKind; 0: nothing leads here */
} Claim;

typedef struct Check
{
	DsSubject subject;
	Relation index;
	Tuplestorestate *store;
	TupleDesc desc;
	MemoryContext context; /* of this attempt */
	MemoryContext row_context;
	Snapshot snapshot;
	DsView *view;
	bool moved; /* pages went away while we looked: a standby */

	Claim *claim; /* [blocks] */
	BlockNumber blocks;
	uint32 *list_pages; /* [lists]: of blocks */
	uint32 vector_pages;
	uint32 route_pages;
	uint32 directory_pages;
	uint32 tid_pages[2];

	Entry *entry;
	uint64 entries;
	uint64 entry_room;
	char *sample; /* [samples][row_bytes] */
	uint64 samples;
	uint64 sample_room;
	uint32 sample_below; /* rows whose id's hash is below are sampled */

	float *y; /* [d], placed */
	DsCoded coded;
	char *filter; /* [filter_size] */
	DsQuery *query;
	float *asked; /* a query */
	float *previous; /* an earlier row, or NULL */
	FmgrInfo distance;
} Check;

/* A row of the result; block may be InvalidBlockNumber, tid NULL. */
extern void ds_check_put(Check *check, const char *kind, BlockNumber block, ItemPointer tid,
						 const char *format, ...) __attribute__((format(printf, 5, 6)));

/* How a message calls Entry.list */
extern const char *ds_check_list_name(uint32 list);

/* What a row's codes and filter columns are, in 64 bits */
static inline uint64
hash_codes(const DsLayout *layout, const DsSignFactors *sign, const uint8 *signs,
		   const DsRowFactors *factors, const int8 *bytes, const void *filter)
{
	uint64 hash = hash_bytes_extended((const unsigned char *) sign, sizeof(*sign), 1);

	hash = hash_bytes_extended(signs, layout->groups, hash);
	hash = hash_bytes_extended((const unsigned char *) factors, sizeof(*factors), hash);
	hash = hash_bytes_extended((const unsigned char *) bytes, layout->dimension, hash);
	return layout->filter_size == 0 ? hash
									: hash_bytes_extended((const unsigned char *) filter,
														  (int) layout->filter_size, hash);
}

/* Sort the entries, so that they can be found by row id. */
extern void ds_check_sort(Check *check);

/* An IndexBuildCallback: a row of the table; state is the Check. */
extern void ds_check_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive,
						 void *state);

/* Entries of no row that the snapshot sees. */
extern void ds_check_leftovers(Check *check, uint32 number);

#endif /* DS_INDEX_CHECK_H */
