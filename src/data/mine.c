/*
 * mine.c
 *		ds_mine_negatives(): documents that a model takes for the answer, and that are none.
 *
 * For each pair (query, positive) of the source the nearest documents of a
 * table are asked for, through SQL, so that whatever index the table has is
 * used.  The negatives are those that are near, but
 *
 *   - not known to answer the query: no pair of the source says so (texts are
 *     compared as ds_clean() leaves them);
 *   - less similar to the query than its positive by a margin at least: what is
 *     as near as the positive is often an answer that nobody has clicked yet
 *     (Qu et al., "RocketQA", NAACL 2021, on such false negatives; Moreira et
 *     al., "NV-Retriever", 2024, who compare ways to keep them out and find a
 *     threshold relative to the positive's similarity the best);
 *   - of a rank from `first` to `last`.
 *
 * The source is read once into a tuplestore, because the first pair's answers
 * may stand in the last row; the pairs are known by 128-bit keys.
 */
#include "server.h"

#include <math.h>

#include "access/table.h"
#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/random.h"
#include "data/minhash.h"
#include "data/source.h"
#include "model/catalog.h"
#include "model/column.h"
#include "model/model.h"
#include "text/clean.h"

typedef struct PairEntry
{
	DsTextKey key;
	char status;
} PairEntry;

#define SH_PREFIX pairs
#define SH_ELEMENT_TYPE PairEntry
#define SH_KEY_TYPE DsTextKey
#define SH_KEY key
#define SH_HASH_KEY(tb, key) ((uint32) (key).word[0])
#define SH_EQUAL(tb, a, b) ((a).word[0] == (b).word[0] && (a).word[1] == (b).word[1])
#define SH_SCOPE static pg_attribute_unused() inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct Candidate
{
	char *text;
	DsTextKey key; /* of the text */
	double similarity;
	int rank;
} Candidate;

typedef struct Mine
{
	char *model;
	int negatives;
	double margin;
	int first;
	int last;
	bool sample;
	bool inner_product;
	uint64 seed;
	Size memory;

	MemoryContext context; /* of the whole call */
	MemoryContext query_context; /* of the candidates of one query */
	MemoryContext row_context;
	Tuplestorestate *source;
	TupleDesc source_desc;
	struct pairs_hash *known;
	uint64 rows;
	uint64 left_out;
	uint64 without; /* pairs for which nothing was found */

	SPIPlanPtr encode;
	SPIPlanPtr distance;
	SPIPlanPtr search;
	char *query; /* that the candidates belong to */
	Datum embedding;
	Candidate *candidates;
	int n_candidates;

	Tuplestorestate *store;
	TupleDesc desc;
} Mine;

static DsTextKey
clean_key(const char *text)
{
	DsText utf8 = ds_text_utf8(text, strlen(text));
	size_t bound = ds_clean_bound(utf8.length);
	char *clean = MemoryContextAllocHuge(CurrentMemoryContext, Max(bound, 1));
	size_t length =
		ds_clean_long(&ds_clean_defaults, utf8.data, utf8.length, clean, bound, &ds_server_cancel);
	DsTextKey key;

	CHECK_FOR_INTERRUPTS();
	key = ds_text_key(clean, length);
	pfree(clean);
	return key;
}

static DsTextKey
pair_key(DsTextKey query, DsTextKey text)
{
	return (DsTextKey){{ds_mix64(query.word[0] ^ ds_mix64(text.word[0])),
						ds_mix64(query.word[1] ^ ds_mix64(text.word[1]))}};
}

static void
add_pair(void *context, char **column, int columns)
{
	Mine *mine = context;
	Datum values[2];
	bool nulls[2] = {false, false};
	bool found;

	(void) columns;
	mine->rows++;
	if (column[0] == NULL || column[1] == NULL || column[0][0] == 0 || column[1][0] == 0)
	{
		mine->left_out++;
		return;
	}
	pairs_insert(mine->known, pair_key(clean_key(column[0]), clean_key(column[1])), &found);
	/* simplehash doubles when it is nine tenths full */
	if (!found && (Size) mine->known->members * sizeof(PairEntry) * 3 > mine->memory)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("source_sql of ds_mine_negatives returns too many pairs"),
						errdetail("%u different pairs need more than maintenance_work_mem.",
								  mine->known->members),
						errhint("Raise maintenance_work_mem.")));
	values[0] = CStringGetTextDatum(column[0]);
	values[1] = CStringGetTextDatum(column[1]);
	tuplestore_putvalues(mine->source, mine->source_desc, values, nulls);
}

/* ---- statements ---- */

static SPIPlanPtr
prepare(const char *sql, int count, Oid *types)
{
	SPIPlanPtr plan = SPI_prepare_cursor(sql, count, types, CURSOR_OPT_PARALLEL_OK);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s", SPI_result_code_string(SPI_result));
	return plan;
}

static void
prepare_all(Mine *mine, Oid relation, const char *source, const char *target)
{
	const char *schema = quote_identifier(get_namespace_name(ds_catalog()->schema));
	const char *model = quote_literal_cstr(mine->model);
	char *operator= psprintf("OPERATOR(%s.%s)", schema, mine->inner_product ? "<#>" : "<=>");
	const char *column = quote_identifier(target);
	Oid embedding = ds_catalog()->embedding;
	char *sql;

	sql = psprintf("SELECT %s.ds_encode($1, %s, 'query')", schema, model);
	mine->encode = prepare(sql, 1, (Oid[]){TEXTOID});
	sql = psprintf("SELECT ($1 %s %s.ds_encode($2, %s, 'document'))::pg_catalog.float8", operator,
				   schema, model);
	mine->distance = prepare(sql, 2, (Oid[]){embedding, TEXTOID});
	sql = psprintf("SELECT (%s)::pg_catalog.text, (%s %s $1)::pg_catalog.float8 FROM %s"
				   " ORDER BY %s %s $1 LIMIT $2",
				   ds_source_expression(relation, source), column, operator,
				   quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
											  get_rel_name(relation)),
				   column, operator);
	mine->search = prepare(sql, 2, (Oid[]){embedding, INT4OID});
}

static double
to_similarity(const Mine *mine, double distance)
{
	return mine->inner_product ? -distance : 1 - distance;
}

static void
execute(SPIPlanPtr plan, Datum *values, long limit)
{
	int result = SPI_execute_plan(plan, values, NULL, true, limit);

	if (result != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
}

/* The nearest documents of a query; those of the query before serve again when it is the same. */
static void
find_candidates(Mine *mine, const char *query)
{
	Datum values[2];
	bool null;
	int n;

	if (mine->query != NULL && strcmp(mine->query, query) == 0)
		return;
	MemoryContextReset(mine->query_context);
	mine->query = MemoryContextStrdup(mine->query_context, query);
	values[0] = PointerGetDatum(cstring_to_text(query));
	execute(mine->encode, values, 1);
	MemoryContextSwitchTo(mine->query_context);
	mine->embedding = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null);
	mine->embedding = PointerGetDatum(PG_DETOAST_DATUM_COPY(mine->embedding));
	SPI_freetuptable(SPI_tuptable);

	values[0] = mine->embedding;
	values[1] = Int32GetDatum(mine->last);
	execute(mine->search, values, mine->last);
	MemoryContextSwitchTo(mine->query_context);
	n = (int) SPI_processed;
	mine->candidates = MemoryContextAllocHuge(mine->query_context, sizeof(Candidate) * Max(n, 1));
	mine->n_candidates = 0;
	for (int i = mine->first - 1; i < n; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		char *text = SPI_getvalue(tuple, SPI_tuptable->tupdesc, 1);
		Datum distance = SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &null);
		Candidate *candidate = &mine->candidates[mine->n_candidates];
		bool again = false;

		CHECK_FOR_INTERRUPTS();
		if (null || text == NULL || text[0] == 0)
			continue;
		*candidate = (Candidate){text, clean_key(text),
								 to_similarity(mine, DatumGetFloat8(distance)), i + 1};
		/* many documents may have one text */
		for (int j = 0; j < mine->n_candidates && !again; j++)
			again = memcmp(&mine->candidates[j].key, &candidate->key, sizeof(DsTextKey)) == 0;
		mine->n_candidates += !again;
	}
	SPI_freetuptable(SPI_tuptable);
}

static void
put_row(Mine *mine, const char *query, const char *positive, double similarity,
		const Candidate *negative)
{
	Datum values[6];
	bool nulls[6] = {false};

	values[0] = CStringGetTextDatum(query);
	values[1] = CStringGetTextDatum(positive);
	values[3] = Float8GetDatum(similarity);
	nulls[2] = nulls[4] = nulls[5] = negative == NULL;
	if (negative != NULL)
	{
		values[2] = CStringGetTextDatum(negative->text);
		values[4] = Float8GetDatum(negative->similarity);
		values[5] = Int32GetDatum(negative->rank);
	}
	tuplestore_putvalues(mine->store, mine->desc, values, nulls);
}

static void
mine_pair(Mine *mine, const char *query, const char *positive, uint64 number)
{
	Datum values[2];
	double similarity;
	DsTextKey query_key;
	const Candidate **eligible;
	int n = 0;
	int put = 0;
	bool null;

	find_candidates(mine, query);
	MemoryContextSwitchTo(mine->row_context);
	values[0] = mine->embedding;
	values[1] = PointerGetDatum(cstring_to_text(positive));
	execute(mine->distance, values, 1);
	MemoryContextSwitchTo(mine->row_context);
	similarity = to_similarity(mine, DatumGetFloat8(SPI_getbinval(
										 SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null)));
	SPI_freetuptable(SPI_tuptable);

	query_key = clean_key(query);
	eligible = palloc(sizeof(Candidate *) * (Size) Max(mine->n_candidates, 1));
	for (int i = 0; i < mine->n_candidates; i++)
	{
		const Candidate *candidate = &mine->candidates[i];

		/* what is no number is neither near nor far */
		if (!(candidate->similarity <= similarity - mine->margin) ||
			pairs_lookup(mine->known, pair_key(query_key, candidate->key)) != NULL)
			continue;
		eligible[n++] = candidate;
	}
	if (mine->sample)
	{
		DsRandom random;

		ds_random_init(&random, mine->seed, number);
		for (int i = 0; i < Min(n, mine->negatives); i++)
		{
			int j = i + (int) ds_random_below(&random, (uint64) (n - i));
			const Candidate *drawn = eligible[j];

			eligible[j] = eligible[i];
			eligible[i] = drawn;
		}
	}
	for (; put < Min(n, mine->negatives); put++)
		put_row(mine, query, positive, similarity, eligible[put]);
	if (put == 0)
	{
		/* the pair is worth learning from all the same */
		put_row(mine, query, positive, similarity, NULL);
		mine->without++;
	}
}

static void
mine_all(Mine *mine)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(mine->source_desc, &TTSOpsMinimalTuple);
	uint64 number = 0;

	while (tuplestore_gettupleslot(mine->source, true, false, slot))
	{
		bool null;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(mine->row_context);
		mine_pair(mine, TextDatumGetCString(slot_getattr(slot, 1, &null)),
				  TextDatumGetCString(slot_getattr(slot, 2, &null)), number++);
		MemoryContextSwitchTo(mine->context);
		MemoryContextReset(mine->row_context);
	}
	ExecDropSingleTupleTableSlot(slot);
}

static int
integer_argument(FunctionCallInfo fcinfo, int number, const char *name, int min, int max)
{
	int value;

	ds_refuse_null(fcinfo, number, name);
	value = PG_GETARG_INT32(number);
	if (value < min || value > max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" must be between %d and %d, not %d", name, min, max, value)));
	return value;
}

static void
read_arguments(FunctionCallInfo fcinfo, Mine *mine)
{
	char *operator;

	/* the name, so that what is prepared here cannot mean another model later */
	mine->model = ds_model_name(
		ds_model_resolve(PG_ARGISNULL(4) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(4))).model);
	mine->negatives = integer_argument(fcinfo, 5, "negatives", 1, 1000);
	ds_refuse_null(fcinfo, 6, "margin");
	mine->margin = PG_GETARG_FLOAT8(6);
	if (!isfinite(mine->margin))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"margin\" must be a finite number")));
	mine->last = integer_argument(fcinfo, 8, "last", 1, 100000);
	mine->first = integer_argument(fcinfo, 7, "first", 1, mine->last);
	ds_refuse_null(fcinfo, 9, "sample");
	mine->sample = PG_GETARG_BOOL(9);
	ds_refuse_null(fcinfo, 10, "seed");
	mine->seed = (uint64) PG_GETARG_INT64(10);
	operator= ds_text_argument(fcinfo, 11, "operator");
	mine->inner_product = strcmp(operator, "<#>") == 0;
	if (!mine->inner_product && strcmp(operator, "<=>") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unknown operator \"%s\"", operator),
						errhint("\"<=>\" (cosine) or \"<#>\" (inner product).")));
	mine->memory = (Size) maintenance_work_mem * 1024;
}

static void
check_target(Oid relation, const char *target)
{
	Relation table = table_open(relation, AccessShareLock);

	ds_check_target(table, target, 0);
	table_close(table, NoLock);
}

DS_FUNCTION(ds_mine_negatives);
Datum
ds_mine_negatives(PG_FUNCTION_ARGS)
{
	Mine mine = {0};
	char *source_sql = ds_text_argument(fcinfo, 0, "source_sql");
	Oid relation;
	char *source;
	char *target;
	bool before;

	ds_refuse_null(fcinfo, 1, "table");
	relation = PG_GETARG_OID(1);
	source = ds_text_argument(fcinfo, 2, "source");
	ds_refuse_null(fcinfo, 3, "target");
	target = pstrdup(NameStr(*PG_GETARG_NAME(3)));
	read_arguments(fcinfo, &mine);
	mine.store = ds_materialize(fcinfo, &mine.desc);

	before = ds_read_only_begin();
	SPI_connect();
	mine.context = CurrentMemoryContext;
	mine.query_context =
		AllocSetContextCreate(mine.context, "ds_mine_negatives query", ALLOCSET_DEFAULT_SIZES);
	mine.row_context =
		AllocSetContextCreate(mine.context, "ds_mine_negatives row", ALLOCSET_DEFAULT_SIZES);
	check_target(relation, target);
	prepare_all(&mine, relation, source, target);
	mine.known = pairs_create(mine.context, 1024, NULL);
	mine.source_desc = CreateTemplateTupleDesc(2);
	TupleDescInitEntry(mine.source_desc, 1, "query", TEXTOID, -1, 0);
	TupleDescInitEntry(mine.source_desc, 2, "positive", TEXTOID, -1, 0);
	mine.source = tuplestore_begin_heap(false, false, work_mem);
	ds_source_read("source_sql of ds_mine_negatives", source_sql, 2, 2, "(query, positive)",
				   add_pair, &mine);
	if (mine.left_out > 0)
		ereport(NOTICE, (errmsg("ds_mine_negatives left out " UINT64_FORMAT " of " UINT64_FORMAT
								" rows, which have no query or no positive text",
								mine.left_out, mine.rows)));
	mine_all(&mine);
	if (mine.without > 0)
		ereport(NOTICE,
				(errmsg("no negative was found for " UINT64_FORMAT " pairs", mine.without),
				 errhint("Their negative is null. A larger \"last\" looks at more documents, "
						 "a smaller \"margin\" leaves more of them.")));
	tuplestore_end(mine.source);
	SPI_finish();
	ds_read_only_end(before);
	return (Datum) 0;
}
