/*
 * evaluate.c
 *		ds_evaluate(): run a set of queries and measure what they return.
 *
 * Three statements of the caller say what to do: which queries there are, how
 * one is searched for, and which documents are relevant to which query.  They
 * run as the caller, under the caller's search_path, one snapshot for all, in
 * a read-only transaction.  Ids are compared by their text form, so that the
 * statements may disagree about integer and bigint, or integer and text.
 *
 * Memory: everything that lives for the whole evaluation (queries, judgements)
 * is in the context that is current before SPI_connect(); SPI frees the rest.
 */
#include "server.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"

#include "eval/evaluate.h"
#include "eval/metrics.h"

/* What was found for one query, and the mean over several */
typedef struct Measures
{
	double precision;
	double recall;
	double mrr;
	double ndcg;
	double map;
	double hit_rate;
} Measures;

#define NO_QUERY SIZE_MAX

/* Queries that a third column of query_sql names alike: a list in their order */
typedef struct QueryGroup
{
	const char *name;
	size_t first;
	size_t last;
} QueryGroup;

typedef struct EvalQuery
{
	char *id;
	Datum query;
	int group; /* -1 without a third column */
	size_t next; /* of the group; NO_QUERY: the last */
	double *ideal; /* grades of its relevant documents */
	uint32 relevant;
	uint32 capacity;
	uint32 retrieved;
	Measures measures;
	double ms; /* below 0: not measured */
} EvalQuery;

typedef struct Evaluation
{
	const char *query_sql;
	const char *search_sql;
	const char *relevance_sql;
	size_t k;
	size_t warmup;
	DsGain gain;
	MemoryContext context;
	MemoryContext scratch; /* for one portion of rows */
	EvalQuery *queries;
	size_t n_queries;
	size_t capacity;
	Oid query_type;
	QueryGroup *groups;
	int n_groups;
	int group_capacity;
	struct queries_hash *by_id;
	struct queries_hash *groups_by_name;
	struct documents_hash *documents;
} Evaluation;

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
	bool seen; /* was in the retrieved list already */
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
	errcontext("%s of ds_evaluate", (const char *) name);
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

typedef void (*RowCallback)(Evaluation *eval, HeapTuple tuple, TupleDesc desc);

static void
read_rows(Evaluation *eval, SPIPlanPtr plan, RowCallback add)
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
add_to_group(Evaluation *eval, const char *name, size_t index)
{
	bool found;
	QueryEntry *entry = queries_lookup(eval->groups_by_name, name);
	QueryGroup *group;

	if (entry == NULL)
	{
		if (eval->n_groups == eval->group_capacity)
		{
			eval->group_capacity = Max(8, 2 * eval->group_capacity);
			eval->groups =
				eval->groups
					? repalloc_huge(eval->groups, sizeof(QueryGroup) * (Size) eval->group_capacity)
					: MemoryContextAlloc(eval->context,
										 sizeof(QueryGroup) * (Size) eval->group_capacity);
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
add_query(Evaluation *eval, HeapTuple tuple, TupleDesc desc)
{
	char *id = SPI_getvalue(tuple, desc, 1);
	EvalQuery *query;
	QueryEntry *entry;
	bool null;
	bool found;
	Datum value;
	int16 length;
	bool by_value;
	MemoryContext caller;

	value = SPI_getbinval(tuple, desc, 2, &null);
	if (id == NULL || null)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("query_sql returned a null %s", id ? "query" : "query id")));

	if (eval->n_queries == eval->capacity)
	{
		eval->capacity = Max(256, 2 * eval->capacity);
		eval->queries =
			eval->queries
				? repalloc_huge(eval->queries, sizeof(EvalQuery) * eval->capacity)
				: MemoryContextAllocHuge(eval->context, sizeof(EvalQuery) * eval->capacity);
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
	query->next = NO_QUERY;
	query->ms = -1;

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
read_queries(Evaluation *eval)
{
	TupleDesc desc;
	SPIPlanPtr plan = prepare("query_sql", eval->query_sql, 0, NULL, 2, 3,
							  "(query id, query) or (query id, query, group)", &desc);

	eval->query_type = getBaseType(TupleDescAttr(desc, 1)->atttypid);
	read_rows(eval, plan, add_query);
}

static void
add_judgement(Evaluation *eval, HeapTuple tuple, TupleDesc desc)
{
	char *query_id = SPI_getvalue(tuple, desc, 1);
	char *id = SPI_getvalue(tuple, desc, 2);
	double grade = 1;
	QueryEntry *found_query;
	EvalQuery *query;
	DocumentEntry *entry;
	bool found;
	DsStatus status;

	if (query_id == NULL || id == NULL)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("relevance_sql returned a null %s id",
							   query_id == NULL ? "query" : "document")));
	if (desc->natts > 2)
	{
		char *text = SPI_getvalue(tuple, desc, 3);

		if (text == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("relevance_sql returned a null grade for query id %s", query_id)));
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
	entry->seen = false;
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
read_relevance(Evaluation *eval)
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
search(Evaluation *eval, size_t index, SPIPlanPtr plan)
{
	EvalQuery *query = &eval->queries[index];
	Datum values[2] = {query->query, Int32GetDatum((int32) eval->k)};
	instr_time start;
	instr_time end;
	size_t n;
	double *grade;
	MemoryContext caller;
	int result;

	INSTR_TIME_SET_CURRENT(start);
	result = SPI_execute_plan(plan, values, NULL, true, (long) eval->k);
	INSTR_TIME_SET_CURRENT(end);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
	INSTR_TIME_SUBTRACT(end, start);
	query->ms = INSTR_TIME_GET_MILLISEC(end);

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
		grade[i] = entry && !entry->seen ? entry->grade : 0;
		if (entry)
			entry->seen = true;
	}
	MemoryContextSwitchTo(caller);
	SPI_freetuptable(SPI_tuptable);

	query->retrieved = (uint32) n;
	ds_sort_grades(query->ideal, query->relevant);
	query->measures = (Measures){
		.precision = ds_precision(grade, n, eval->k),
		.recall = ds_recall(grade, n, query->relevant, eval->k),
		.mrr = ds_reciprocal_rank(grade, n, eval->k),
		.ndcg = ds_ndcg(grade, n, query->ideal, query->relevant, eval->k, eval->gain),
		.map = ds_average_precision(grade, n, query->relevant, eval->k),
		.hit_rate = ds_hit(grade, n, eval->k) ? 1 : 0,
	};
}

static void
search_all(Evaluation *eval)
{
	TupleDesc desc;
	Oid types[2] = {eval->query_type, INT4OID};
	SPIPlanPtr plan = prepare("search_sql", eval->search_sql, 2, types, 1, 0,
							  "document ids in its first column", &desc);
	size_t done = 0;

	for (size_t i = 0; i < eval->n_queries; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (eval->queries[i].relevant == 0)
			continue;
		search(eval, i, plan);
		if (done++ < eval->warmup)
			eval->queries[i].ms = -1;
		MemoryContextReset(eval->scratch);
	}
	if (done == 0)
		ereport(WARNING,
				(errmsg("no query has a relevant document, so there is nothing to measure"),
				 errhint("Query ids of query_sql and relevance_sql are compared by their text "
						 "form.")));
}

static void
evaluate(Evaluation *eval)
{
	struct
	{
		const char *name;
		void (*step)(Evaluation *);
	} steps[] = {
		{"query_sql", read_queries}, {"relevance_sql", read_relevance}, {"search_sql", search_all}};
	bool before;

	eval->by_id = queries_create(eval->context, 256, NULL);
	eval->groups_by_name = queries_create(eval->context, 16, NULL);
	eval->documents = documents_create(eval->context, 1024, NULL);

	/* functions that the statements call must not write either */
	before = ds_read_only_begin();
	SPI_connect();
	for (size_t i = 0; i < lengthof(steps); i++)
	{
		ErrorContextCallback callback = {.previous = error_context_stack,
										 .callback = add_context,
										 .arg = (void *) steps[i].name};

		error_context_stack = &callback;
		steps[i].step(eval);
		error_context_stack = callback.previous;
	}
	SPI_finish();
	ds_read_only_end(before);
}

/* A text argument that must be there */
static const char *
text_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("\"%s\" must not be null", name)));
	return text_to_cstring(PG_GETARG_TEXT_PP(number));
}

static int
integer_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("\"%s\" must not be null", name)));
	return PG_GETARG_INT32(number);
}

/* Read the arguments that both functions have, and run. */
static void
evaluate_arguments(FunctionCallInfo fcinfo, Evaluation *eval)
{
	int warmup;

	memset(eval, 0, sizeof(*eval));
	eval->query_sql = text_argument(fcinfo, 0, "query_sql");
	eval->search_sql = text_argument(fcinfo, 1, "search_sql");
	eval->relevance_sql = text_argument(fcinfo, 2, "relevance_sql");
	eval->k = ds_check_k(integer_argument(fcinfo, 3, "k"));
	warmup = integer_argument(fcinfo, 4, "warmup");
	if (warmup < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("warmup must be at least 0, not %d", warmup)));
	eval->warmup = (size_t) warmup;
	eval->gain = ds_check_gain(text_argument(fcinfo, 5, "gain"));
	eval->context =
		AllocSetContextCreate(CurrentMemoryContext, "ds_evaluate", ALLOCSET_DEFAULT_SIZES);
	eval->scratch =
		AllocSetContextCreate(eval->context, "ds_evaluate rows", ALLOCSET_DEFAULT_SIZES);
	evaluate(eval);
}

static void
measures_to_values(const Measures *measures, Datum *values)
{
	values[0] = Float8GetDatum(measures->precision);
	values[1] = Float8GetDatum(measures->recall);
	values[2] = Float8GetDatum(measures->mrr);
	values[3] = Float8GetDatum(measures->ndcg);
	values[4] = Float8GetDatum(measures->map);
	values[5] = Float8GetDatum(measures->hit_rate);
}

#define N_MEASURES 6

/* One row: the mean over the queries of a group, or over all for group -1 */
static void
put_group(Evaluation *eval, int group, double *ms, Tuplestorestate *store, TupleDesc desc)
{
	Datum values[3 + N_MEASURES + 3];
	bool nulls[lengthof(values)] = {false};
	const double shares[3] = {0.50, 0.95, 0.99};
	Measures sum = {0};
	size_t n = 0;
	size_t left_out = 0;
	size_t n_ms = 0;

	for (size_t i = group >= 0 ? eval->groups[group].first : 0; i < eval->n_queries;
		 i = group >= 0 ? eval->queries[i].next : i + 1)
	{
		const EvalQuery *query = &eval->queries[i];

		if (query->relevant == 0)
		{
			left_out++;
			continue;
		}
		n++;
		sum.precision += query->measures.precision;
		sum.recall += query->measures.recall;
		sum.mrr += query->measures.mrr;
		sum.ndcg += query->measures.ndcg;
		sum.map += query->measures.map;
		sum.hit_rate += query->measures.hit_rate;
		if (query->ms >= 0)
			ms[n_ms++] = query->ms;
	}
	if (n > 0)
	{
		sum.precision /= (double) n;
		sum.recall /= (double) n;
		sum.mrr /= (double) n;
		sum.ndcg /= (double) n;
		sum.map /= (double) n;
		sum.hit_rate /= (double) n;
	}
	if (group >= 0)
		values[0] = CStringGetTextDatum(eval->groups[group].name);
	else
		nulls[0] = true;
	values[1] = Int64GetDatum((int64) n);
	values[2] = Int64GetDatum((int64) left_out);
	measures_to_values(&sum, values + 3);
	for (int i = 0; i < N_MEASURES; i++)
		nulls[3 + i] = n == 0;
	ds_sort_values(ms, n_ms);
	for (int i = 0; i < 3; i++)
	{
		nulls[3 + N_MEASURES + i] = n_ms == 0;
		if (n_ms > 0)
			values[3 + N_MEASURES + i] = Float8GetDatum(ds_percentile(ms, n_ms, shares[i]));
	}
	tuplestore_putvalues(store, desc, values, nulls);
}

DS_FUNCTION(ds_evaluate);
Datum
ds_evaluate(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Tuplestorestate *store = ds_materialize(fcinfo, &desc);
	Evaluation eval;
	double *ms;

	evaluate_arguments(fcinfo, &eval);
	ms = MemoryContextAllocHuge(eval.context, sizeof(double) * Max(eval.n_queries, 1));
	for (int group = 0; group < eval.n_groups; group++)
	{
		CHECK_FOR_INTERRUPTS();
		put_group(&eval, group, ms, store, desc);
	}
	put_group(&eval, -1, ms, store, desc);
	MemoryContextDelete(eval.context);
	return (Datum) 0;
}

DS_FUNCTION(ds_evaluate_queries);
Datum
ds_evaluate_queries(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Tuplestorestate *store = ds_materialize(fcinfo, &desc);
	Evaluation eval;

	evaluate_arguments(fcinfo, &eval);
	for (size_t i = 0; i < eval.n_queries; i++)
	{
		const EvalQuery *query = &eval.queries[i];
		Datum values[4 + N_MEASURES + 1];
		bool nulls[lengthof(values)] = {false};

		values[0] = CStringGetTextDatum(query->id);
		nulls[1] = query->group < 0;
		if (query->group >= 0)
			values[1] = CStringGetTextDatum(eval.groups[query->group].name);
		values[2] = Int32GetDatum((int32) query->retrieved);
		nulls[2] = query->relevant == 0;
		values[3] = Int32GetDatum((int32) query->relevant);
		measures_to_values(&query->measures, values + 4);
		for (int m = 0; m < N_MEASURES; m++)
			nulls[4 + m] = query->relevant == 0;
		values[4 + N_MEASURES] = Float8GetDatum(query->ms);
		nulls[4 + N_MEASURES] = query->ms < 0;
		tuplestore_putvalues(store, desc, values, nulls);
	}
	MemoryContextDelete(eval.context);
	return (Datum) 0;
}
