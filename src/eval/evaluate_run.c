/*
 * evaluate_run.c
 *		Run a set of queries through one search or two, and measure what they find.
 *
 * The caller's statements say what to do: which queries there are, how one is
 * searched for, and which documents are relevant to which query.  They run as
 * the caller, under the caller's search_path, one snapshot for all, in a
 * read-only transaction.  Ids are compared by their text form, so that the
 * statements may disagree about integer and bigint, or integer and text.
 *
 * Missing values: a row of query_sql without an id or a query, and a row of
 * relevance_sql without an id or a grade, say nothing that could be measured.
 * They are left out, and a NOTICE says how many they were.
 *
 * Memory: everything that lives for the whole evaluation (queries, judgements)
 * is in the evaluation's context; SPI frees the rest.
 */
#include "server.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"

#include "eval/evaluate.h"

/* query id -> index in queries, or name -> index in groups */
typedef struct QueryEntry
{
	const char *id;
	size_t index;
	uint32 hash;
	char status;
} QueryEntry;

#define SH_PREFIX queries
#define SH_ELEMENT_TYPE QueryEntry
#define SH_KEY_TYPE const char *
#define SH_KEY id
#define SH_HASH_KEY(tb, key) hash_bytes((const unsigned char *) (key), (int) strlen(key))
#define SH_EQUAL(tb, a, b) (strcmp(a, b) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) (a)->hash
#define SH_SCOPE static pg_attribute_unused() inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* (query, document id) -> grade */
typedef struct DocumentKey
{
	size_t query;
	const char *id;
} DocumentKey;

typedef struct DocumentEntry
{
	DocumentKey key;
	double grade;
	uint8 seen; /* a bit for each search: was in its list already */
	uint32 hash;
	char status;
} DocumentEntry;

static uint32
hash_document(DocumentKey key)
{
	return hash_combine(hash_bytes((const unsigned char *) key.id, (int) strlen(key.id)),
						murmurhash32((uint32) key.query));
}

#define SH_PREFIX documents
#define SH_ELEMENT_TYPE DocumentEntry
#define SH_KEY_TYPE DocumentKey
#define SH_KEY key
#define SH_HASH_KEY(tb, key) hash_document(key)
#define SH_EQUAL(tb, a, b) ((a).query == (b).query && strcmp((a).id, (b).id) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) (a)->hash
#define SH_SCOPE static pg_attribute_unused() inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* Says which of the three statements an error comes from */
static void
add_context(void *name)
{
	errcontext("%s", (const char *) name);
}

static bool
uses_parameter(Node *node, int *number)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param))
		return ((Param *) node)->paramkind == PARAM_EXTERN && ((Param *) node)->paramid == *number;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, uses_parameter, number, 0);
	return expression_tree_walker(node, uses_parameter, number);
}

/*
 * Prepare one of the statements: it must be one SELECT that only reads, with
 * at least min_columns and, when max_columns is not 0, at most that many.
 */
static SPIPlanPtr
prepare(const char *name, const char *sql, int n_types, Oid *types, int min_columns,
		int max_columns, const char *columns, TupleDesc *desc)
{
	SPIPlanPtr plan = SPI_prepare_cursor(sql, n_types, types, CURSOR_OPT_PARALLEL_OK);
	CachedPlanSource *source;
	Query *query;
	int first = 1;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s", SPI_result_code_string(SPI_result));
	if (list_length(SPI_plan_get_plan_sources(plan)) != 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be one SELECT statement", name)));
	source = linitial(SPI_plan_get_plan_sources(plan));
	/* a rule may have made several queries of one; only INSERT and its like have such rules */
	query = list_length(source->query_list) == 1 ? linitial_node(Query, source->query_list) : NULL;
	if (query == NULL || query->commandType != CMD_SELECT || query->hasModifyingCTE ||
		query->rowMarks != NIL || source->resultDesc == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be one SELECT statement that only reads", name)));
	*desc = source->resultDesc;
	if ((*desc)->natts < min_columns || (max_columns > 0 && (*desc)->natts > max_columns))
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("%s has the wrong number of columns: %d", name, (*desc)->natts),
						errdetail("It must return %s.", columns)));
	if (n_types > 0 && !uses_parameter((Node *) query, &first))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s does not use $1, the query", name),
						errhint("For example: SELECT id FROM items ORDER BY emb <=> "
								"ds_encode($1) LIMIT $2")));
	return plan;
}

/* Rows are fetched in portions, so that SPI holds few of them at a time. */
#define FETCH_ROWS 1000

typedef void (*RowCallback)(DsEvaluation *eval, HeapTuple tuple, TupleDesc desc);

static void
read_rows(DsEvaluation *eval, SPIPlanPtr plan, RowCallback add)
{
	Portal portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);

	do
	{
		MemoryContext caller;

		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		/* SPI has made its own context current, which lives until SPI_finish() */
		caller = MemoryContextSwitchTo(eval->scratch);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			CHECK_FOR_INTERRUPTS();
			add(eval, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		}
		MemoryContextSwitchTo(caller);
		SPI_freetuptable(SPI_tuptable);
		MemoryContextReset(eval->scratch);
	} while (SPI_processed > 0);
	SPI_cursor_close(portal);
	SPI_freeplan(plan);
}

/* Put a query, the newest one, into the group of this name. */
static void
add_to_group(DsEvaluation *eval, const char *name, size_t index)
{
	bool found;
	QueryEntry *entry = queries_lookup(eval->groups_by_name, name);
	DsEvalGroup *group;

	if (entry == NULL)
	{
		if (eval->n_groups == eval->group_capacity)
		{
			eval->group_capacity = Max(8, 2 * eval->group_capacity);
			eval->groups =
				eval->groups
					? repalloc_huge(eval->groups, sizeof(DsEvalGroup) * (Size) eval->group_capacity)
					: MemoryContextAlloc(eval->context,
										 sizeof(DsEvalGroup) * (Size) eval->group_capacity);
		}
		group = &eval->groups[eval->n_groups];
		group->name = MemoryContextStrdup(eval->context, name);
		group->first = group->last = index;
		entry = queries_insert(eval->groups_by_name, group->name, &found);
		entry->index = (size_t) eval->n_groups++;
	}
	else
	{
		group = &eval->groups[entry->index];
		eval->queries[group->last].next = index;
		group->last = index;
	}
	eval->queries[index].group = (int) entry->index;
}

static void
add_query(DsEvaluation *eval, HeapTuple tuple, TupleDesc desc)
{
	char *id = SPI_getvalue(tuple, desc, 1);
	DsEvalQuery *query;
	QueryEntry *entry;
	bool null;
	bool found;
	Datum value;
	int16 length;
	bool by_value;
	MemoryContext caller;

	value = SPI_getbinval(tuple, desc, 2, &null);
	if (id == NULL || null)
	{
		eval->null_queries++;
		return;
	}

	if (eval->n_queries == eval->capacity)
	{
		eval->capacity = Max(256, 2 * eval->capacity);
		eval->queries =
			eval->queries
				? repalloc_huge(eval->queries, sizeof(DsEvalQuery) * eval->capacity)
				: MemoryContextAllocHuge(eval->context, sizeof(DsEvalQuery) * eval->capacity);
	}
	query = &eval->queries[eval->n_queries];
	memset(query, 0, sizeof(*query));
	query->id = MemoryContextStrdup(eval->context, id);
	entry = queries_insert(eval->by_id, query->id, &found);
	if (found)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("query_sql returned query id %s twice", id)));
	entry->index = eval->n_queries++;
	query->group = -1;
	query->next = DS_NO_QUERY;
	for (int s = 0; s < DS_SEARCHES; s++)
		query->found[s].ms = -1;

	get_typlenbyval(eval->query_type, &length, &by_value);
	caller = MemoryContextSwitchTo(eval->context);
	/* a value that is stored outside its row is read now, not in the measured time */
	query->query = length == -1 ? PointerGetDatum(PG_DETOAST_DATUM_COPY(value))
								: datumCopy(value, by_value, length);
	MemoryContextSwitchTo(caller);

	if (desc->natts > 2)
	{
		char *group = SPI_getvalue(tuple, desc, 3);

		if (group == NULL)
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("query_sql returned a null group for query id %s", id),
							errhint("The row without a group is the mean of all queries; "
									"use coalesce() to name a group.")));
		add_to_group(eval, group, eval->n_queries - 1);
	}
}

static void
read_queries(DsEvaluation *eval)
{
	TupleDesc desc;
	SPIPlanPtr plan = prepare("query_sql", eval->query_sql, 0, NULL, 2, 3,
							  "(query id, query) or (query id, query, group)", &desc);

	eval->query_type = getBaseType(TupleDescAttr(desc, 1)->atttypid);
	read_rows(eval, plan, add_query);
}

static void
add_judgement(DsEvaluation *eval, HeapTuple tuple, TupleDesc desc)
{
	char *query_id = SPI_getvalue(tuple, desc, 1);
	char *id = SPI_getvalue(tuple, desc, 2);
	char *text = desc->natts > 2 ? SPI_getvalue(tuple, desc, 3) : NULL;
	double grade = 1;
	QueryEntry *found_query;
	DsEvalQuery *query;
	DocumentEntry *entry;
	bool found;
	DsStatus status;

	if (query_id == NULL || id == NULL || (desc->natts > 2 && text == NULL))
	{
		eval->null_judgements++;
		return;
	}
	if (text != NULL)
	{
		grade = DatumGetFloat8(DirectFunctionCall1(float8in, CStringGetDatum(text)));
		ds_check(ds_grade_check(grade, eval->gain, &status), &status);
	}
	/* judgements often cover more queries than are evaluated */
	found_query = queries_lookup(eval->by_id, query_id);
	if (found_query == NULL)
		return;
	query = &eval->queries[found_query->index];
	entry = documents_lookup(eval->documents, (DocumentKey){found_query->index, id});
	if (entry != NULL)
	{
		/* a join makes the same row twice easily; contradictions are another matter */
		if (entry->grade != grade)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("relevance_sql returned two grades, %g and %g, for query id %s and "
							"document id %s",
							entry->grade, grade, query_id, id)));
		return;
	}
	entry = documents_insert(
		eval->documents, (DocumentKey){found_query->index, MemoryContextStrdup(eval->context, id)},
		&found);
	entry->grade = grade;
	entry->seen = 0;
	if (grade > 0)
	{
		if (query->relevant == query->capacity)
		{
			query->capacity = Max(16, 2 * query->capacity);
			query->ideal =
				query->ideal ? repalloc_huge(query->ideal, sizeof(double) * query->capacity)
							 : MemoryContextAlloc(eval->context, sizeof(double) * query->capacity);
		}
		query->ideal[query->relevant++] = grade;
	}
}

static void
read_relevance(DsEvaluation *eval)
{
	TupleDesc desc;
	SPIPlanPtr plan = prepare("relevance_sql", eval->relevance_sql, 0, NULL, 2, 3,
							  "(query id, document id) or (query id, document id, grade)", &desc);

	if (desc->natts > 2)
	{
		Oid type = TupleDescAttr(desc, 2)->atttypid;
		char category;
		bool preferred;

		get_type_category_preferred(type, &category, &preferred);
		if (category != TYPCATEGORY_NUMERIC)
			ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
							errmsg("the third column of relevance_sql, the grade, must be a "
								   "number, not %s",
								   format_type_be(type))));
	}
	read_rows(eval, plan, add_judgement);
}

/* Search for one query and measure what comes. */
static void
search(DsEvaluation *eval, size_t index, int which, SPIPlanPtr plan)
{
	DsEvalQuery *query = &eval->queries[index];
	DsFound *found = &query->found[which];
	Datum values[2] = {query->query, Int32GetDatum((int32) eval->depth)};
	uint8 bit = (uint8) (1 << which);
	instr_time start;
	instr_time end;
	size_t n;
	double *grade;
	MemoryContext caller;
	int result;

	INSTR_TIME_SET_CURRENT(start);
	result = SPI_execute_plan(plan, values, NULL, true, (long) eval->depth);
	INSTR_TIME_SET_CURRENT(end);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
	INSTR_TIME_SUBTRACT(end, start);
	found->ms = INSTR_TIME_GET_MILLISEC(end);

	n = (size_t) SPI_processed;
	caller = MemoryContextSwitchTo(eval->scratch);
	grade = MemoryContextAllocHuge(eval->scratch, sizeof(double) * Max(n, 1));
	for (size_t i = 0; i < n; i++)
	{
		char *id = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		DocumentEntry *entry =
			id ? documents_lookup(eval->documents, (DocumentKey){index, id}) : NULL;

		CHECK_FOR_INTERRUPTS();
		/* a document that comes again takes a place and earns nothing */
		grade[i] = entry && !(entry->seen & bit) ? entry->grade : 0;
		if (entry)
			entry->seen |= bit;
	}
	MemoryContextSwitchTo(caller);
	SPI_freetuptable(SPI_tuptable);

	found->retrieved = (uint32) n;
	ds_sort_grades(query->ideal, query->relevant);
	found->measure[DS_MEASURE_PRECISION] = ds_precision(grade, n, eval->k);
	found->measure[DS_MEASURE_RECALL] = ds_recall(grade, n, query->relevant, eval->k);
	found->measure[DS_MEASURE_MRR] = ds_reciprocal_rank(grade, n, eval->k);
	found->measure[DS_MEASURE_NDCG] =
		ds_ndcg(grade, n, query->ideal, query->relevant, eval->k, eval->gain);
	found->measure[DS_MEASURE_MAP] = ds_average_precision(grade, n, query->relevant, eval->depth);
	found->measure[DS_MEASURE_HIT] = ds_hit(grade, n, eval->k) ? 1 : 0;
}

static void
search_all(DsEvaluation *eval, int which)
{
	TupleDesc desc;
	Oid types[2] = {eval->query_type, INT4OID};
	SPIPlanPtr plan = prepare(eval->search_name[which], eval->search_sql[which], 2, types, 1, 0,
							  "document ids in its first column", &desc);
	size_t done = 0;

	for (size_t i = 0; i < eval->n_queries; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (eval->queries[i].relevant == 0)
			continue;
		search(eval, i, which, plan);
		if (done++ < eval->warmup)
			eval->queries[i].found[which].ms = -1;
		MemoryContextReset(eval->scratch);
	}
	if (done == 0 && which == 0)
		ereport(WARNING,
				(errmsg("no query has a relevant document, so there is nothing to measure"),
				 errhint("Query ids of query_sql and relevance_sql are compared by their text "
						 "form.")));
}

static void
read_queries_step(DsEvaluation *eval, int unused)
{
	(void) unused;
	read_queries(eval);
}

static void
read_relevance_step(DsEvaluation *eval, int unused)
{
	(void) unused;
	read_relevance(eval);
}

static void
tell_nulls(const DsEvaluation *eval)
{
	if (eval->null_queries + eval->null_judgements > 0)
		ereport(NOTICE, (errmsg("%s left out rows with a null: " UINT64_FORMAT
								" of query_sql, " UINT64_FORMAT " of relevance_sql",
								eval->function, eval->null_queries, eval->null_judgements)));
}

void
ds_evaluation_run(DsEvaluation *eval)
{
	struct
	{
		const char *name;
		void (*step)(DsEvaluation *, int);
		int which;
	} steps[] = {{"query_sql", read_queries_step, 0},
				 {"relevance_sql", read_relevance_step, 0},
				 {eval->search_name[0], search_all, 0},
				 {eval->search_name[1], search_all, 1}};
	bool before;

	eval->context =
		AllocSetContextCreate(CurrentMemoryContext, "ds_evaluate", ALLOCSET_DEFAULT_SIZES);
	eval->scratch =
		AllocSetContextCreate(eval->context, "ds_evaluate rows", ALLOCSET_DEFAULT_SIZES);
	eval->by_id = queries_create(eval->context, 256, NULL);
	eval->groups_by_name = queries_create(eval->context, 16, NULL);
	eval->documents = documents_create(eval->context, 1024, NULL);

	/* functions that the statements call must not write either */
	before = ds_read_only_begin();
	SPI_connect();
	for (int i = 0; i < 2 + eval->n_searches; i++)
	{
		ErrorContextCallback callback = {.previous = error_context_stack,
										 .callback = add_context,
										 .arg =
											 psprintf("%s of %s", steps[i].name, eval->function)};

		error_context_stack = &callback;
		steps[i].step(eval, steps[i].which);
		error_context_stack = callback.previous;
		if (i == 1)
			tell_nulls(eval);
	}
	SPI_finish();
	ds_read_only_end(before);
}
