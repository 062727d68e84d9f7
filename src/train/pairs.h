/*
 * pairs.h
 *		Training data: the rows of the source, as token ids.
 *
 * One record a row, in memory up to maintenance_work_mem and in a temporary
 * file beyond.  Beside them, numbers for the distinct queries and documents:
 * the order of the batches goes by these (order.h).
 */
#ifndef DS_TRAIN_PAIRS_H
#define DS_TRAIN_PAIRS_H

#include "server.h"

#include "train/spool.h"

/* A text as numbers; bit 31 of an id is its token type.  Features: the bits of floats. */
typedef struct DsTokens
{
	const uint32_t *ids;
	size_t count;
	uint64 key; /* of what the model sees of it, the picture too: equal for equal ones */
	uint32 picture; /* its number in the pictures of its side, or DS_NO_PICTURE */
} DsTokens;

/*
 * Turns text i of a row into numbers, which stand until the next call.  i = 0
 * is the query; a model that sees query and document in one sequence makes that
 * for i > 0.
 */
typedef struct DsTextReader
{
	void *context;
	void (*read)(void *context, const DsSpoolRow *row, uint32 i, DsTokens *tokens);
	bool joint; /* records have no query of their own */
} DsTextReader;

typedef struct DsPairs
{
	MemoryContext context;
	uint32 count;
	bool labels; /* each document has one */
	bool weights; /* rows have one */
	bool features; /* texts are vectors */
	DsPictures *pictures[2]; /* of queries, of documents; NULL: they have none */
	int64
		skipped; /* rows of the source of which no tokens were left, more than those that it skipped */
	uint64 digest; /* of all records: the same for the same data */
	/* of one record: the most */
	uint32 documents_max;
	uint64 tokens_max;

	int64 *rows; /* [count] number in the source */
	uint64 *places; /* [count + 1] first number of each record */
	/* numbers of distinct texts, by their keys */
	uint32 *query; /* [count] */
	uint64 *documents; /* [count + 1] first of each pair in document */
	uint32 *document; /* the first of a pair is its positive */
	uint32 queries_distinct;
	uint32 documents_distinct;
	uint64 document_count;

	/* labels as classes, for ds_pairs_balance() */
	bool balanced;
	int classes;
	float *class_label; /* [classes] rising */
	double *class_weight;

	/* private */
	size_t rows_allocated;
	size_t places_allocated;
	size_t query_allocated;
	size_t documents_allocated;
	size_t document_allocated;
	uint32 *memory; /* the records, while they fit */
	size_t memory_allocated; /* in numbers */
	BufFile *file; /* all of them, when they do not */
	uint64 used; /* in numbers */
	uint32 *record; /* the one that was read last */
	size_t record_allocated;
} DsPairs;

/* A record, where it stands or was read to; until the next one is asked for */
typedef struct DsPair
{
	uint32 documents;
	float weight;
	uint32 labels; /* 0 or documents */
	const float *label;
	const uint32 *counts; /* [1 + documents] numbers of each text, the query first */
	const uint64 *keys; /* [1 + documents] */
	const uint32 *pictures; /* [1 + documents], or NULL: there are none */
	const uint32 *ids; /* of all texts, one after the other */
} DsPair;

/* All rows of the source; files are closed with the context below the current one. */
extern DsPairs *ds_pairs_create(DsSpool *source, const DsTextReader *reader);
extern void ds_pairs_get(DsPairs *pairs, uint32 number, DsPair *pair);

/*
 * From now on each class, that is, each distinct label of the first document,
 * weighs the same in sum.  22023 where there are no labels or too many.
 */
extern void ds_pairs_balance(DsPairs *pairs);

/*
 * What a batch of n pairs can have at the most: as much as the n largest
 * records.  longest: tokens of one record.
 */
typedef struct DsPairsBounds
{
	size_t documents;
	size_t tokens;
	size_t longest;
	size_t pictures[2]; /* by side */
	size_t pixels[2]; /* bytes of one */
	size_t known; /* documents that are right for a query by other pairs: entries of all lists */
} DsPairsBounds;

extern DsPairsBounds ds_pairs_bounds(const DsPairs *pairs, size_t n);

#endif /* DS_TRAIN_PAIRS_H */
