/*
 * evaluate.h
 *		What the functions of this room share.
 */
#ifndef DS_EVALUATE_H
#define DS_EVALUATE_H

#include "server.h"

#include "eval/metrics.h"
#include "eval/metrics_compare.h"

/* The measures of a query, in the order of the results' columns */
enum
{
	DS_MEASURE_PRECISION,
	DS_MEASURE_RECALL,
	DS_MEASURE_MRR,
	DS_MEASURE_NDCG,
	DS_MEASURE_MAP,
	DS_MEASURE_HIT,
	DS_MEASURES
};

/* What one search has found for one query */
typedef struct DsFound
{
	double measure[DS_MEASURES];
	uint32 retrieved;
	double ms; /* below 0: not measured */
} DsFound;

#define DS_SEARCHES 2
#define DS_NO_QUERY SIZE_MAX

typedef struct DsEvalQuery
{
	char *id;
	Datum query;
	int group; /* -1 without a third column */
	size_t next; /* of the group; DS_NO_QUERY: the last */
	double *ideal; /* grades of its relevant documents */
	uint32 relevant;
	uint32 capacity;
	DsFound found[DS_SEARCHES];
} DsEvalQuery;

/* Queries that a third column of query_sql names alike: a list in their order */
typedef struct DsEvalGroup
{
	const char *name;
	size_t first;
	size_t last;
} DsEvalGroup;

/*
 * An evaluation: the caller fills in the first part, ds_evaluation_run() the
 * second.  Everything is in a memory context that is the evaluation's own.
 */
typedef struct DsEvaluation
{
	const char *function; /* its name, for messages */
	const char *query_sql;
	const char *search_sql[DS_SEARCHES];
	const char *search_name[DS_SEARCHES]; /* the name of the argument */
	int n_searches;
	const char *relevance_sql;
	size_t k;
	size_t depth; /* at least k: rows that a search is asked for */
	size_t warmup;
	DsGain gain;

	MemoryContext context;
	MemoryContext scratch; /* for one portion of rows */
	DsEvalQuery *queries;
	size_t n_queries;
	size_t capacity;
	Oid query_type;
	DsEvalGroup *groups;
	int n_groups;
	int group_capacity;
	uint64 null_queries; /* rows that had a null where there must be none */
	uint64 null_judgements;
	struct queries_hash *by_id;
	struct queries_hash *groups_by_name;
	struct documents_hash *documents;
} DsEvaluation;

extern void ds_evaluation_run(DsEvaluation *eval);

/* Walk over the queries of a group, or over all for group -1. */
static inline size_t
ds_first_query(const DsEvaluation *eval, int group)
{
	if (group >= 0)
		return eval->groups[group].first;
	return eval->n_queries > 0 ? 0 : DS_NO_QUERY;
}

static inline size_t
ds_next_query(const DsEvaluation *eval, int group, size_t i)
{
	if (group >= 0)
		return eval->queries[i].next;
	return i + 1 < eval->n_queries ? i + 1 : DS_NO_QUERY;
}

/* Check arguments that several functions have: an error that says what is wrong. */
extern size_t ds_check_k(int k);
extern DsGain ds_check_gain(const char *name);

#endif /* DS_EVALUATE_H */
