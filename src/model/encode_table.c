/*
 * encode_table.c
 *		CALL ds_encode_table(table, source, target, model, side, options).
 *
 * Rows are taken in chunks: read and locked, encoded as one batch, updated,
 * committed (where the procedure may commit).  The lock (FOR NO KEY UPDATE) makes
 * sure that the embedding belongs to the text that the row has when it is
 * written.  Reading and writing are SQL, as the caller, so that rights, row
 * security, triggers and generated columns are what they always are.
 *
 * There are two ways through a table.
 *
 *	 missing	By physical position, a window of pages at a time, taking the rows
 *				whose target is NULL.  No position is visited twice, however many
 *				dead rows the updates leave.  What is done is done: a later call
 *				goes on with what is still NULL.  Rows that others have moved
 *				behind the window are found by one more pass, which is cheap.
 *
 *	 all		In the order of the primary key, since updated rows move to other
 *				pages but keep their key.  The key of the last row is committed
 *				with each chunk, so that a call with the same arguments goes on
 *				from there (ds_encoded_column).
 */
#include "model/model.h"

#include <unistd.h>

#include "access/genam.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "model/catalog.h"
#include "model/column.h"
#include "model/version.h"
#include "vector/embedding.h"

#define NOTICE_SECONDS 3
#define CHUNK_SECONDS 1.0
#define WORTH_SECONDS 0.2 /* of encoding: from here on workers pay */
#define FIRST_BATCH 64 /* of a slow model, whose speed is not known yet */
#define WINDOW_MAX 128 /* pages */
#define PASSES_MAX 5

typedef struct Job
{
	/* the call */
	char *source_argument;
	char *target;
	char *side_name;
	DsSide side;
	DsSourceKind kind; /* of the source, of the table at hand */
	DsEncodeTableOptions options;
	DsModel *model;
	bool atomic;
	MemoryContext context; /* outlives commits */
	MemoryContext chunk_context;

	/* the table at hand, a leaf of what the call named */
	Oid relation;
	char *relation_sql; /* qualified and quoted */
	char *source_sql; /* what to select */
	char *present_sql; /* true where there is something to encode */
	char *target_sql;
	int key_count;
	char **key_sql; /* quoted names of the primary key's columns, */
	Oid *key_type; /* and their types */

	/*
	 * Rows at a time: the option's number, but for a slow model so few that their
	 * locks are held for about a second.
	 */
	uint32 batch;
	double seconds_per_row; /* of the last chunk */

	/* progress */
	int64 rows;
	int64 bad; /* whose picture gives no embedding */
	int64 noticed_rows;
	TimestampTz began;
	TimestampTz noticed;
} Job;

static void
commit_chunk(Job *job)
{
	if (!job->atomic)
		SPI_commit();
	MemoryContextSwitchTo(job->context);
	MemoryContextReset(job->chunk_context);
}

static void
unpin(void *argument)
{
	Job *job = argument;

	if (job->model != NULL)
		ds_model_unpin(job->model);
	job->model = NULL;
}

/* ---- the arguments ---- */

/*
 * What is wrong with the rights should show before anything is written: the
 * record of a column is for those who may write that column.
 */
static void
check_rights(Relation relation, const char *target)
{
	Oid oid = RelationGetRelid(relation);
	AclResult result = pg_class_aclcheck(oid, GetUserId(), ACL_UPDATE);

	if (result != ACLCHECK_OK)
		result = pg_attribute_aclcheck(oid, get_attnum(oid, target), GetUserId(), ACL_UPDATE);
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_TABLE, RelationGetRelationName(relation));
}

/* The columns of the primary key, for the walk over all rows */
static void
find_key(Job *job, Relation relation)
{
	Relation index;

	list_free(RelationGetIndexList(relation));
	if (!OidIsValid(relation->rd_pkindex))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has no primary key", RelationGetRelationName(relation)),
				 errdetail("Encoding all rows again follows the primary key, so that it can be "
						   "stopped and continued."),
				 errhint("Add one, or set the column to NULL and encode without \"all\".")));
	index = index_open(relation->rd_pkindex, AccessShareLock);
	job->key_count = IndexRelationGetNumberOfKeyAttributes(index);
	job->key_sql = palloc(sizeof(char *) * job->key_count);
	job->key_type = palloc(sizeof(Oid) * job->key_count);
	for (int i = 0; i < job->key_count; i++)
	{
		Form_pg_attribute column =
			TupleDescAttr(RelationGetDescr(relation), index->rd_index->indkey.values[i] - 1);

		job->key_sql[i] = pstrdup(quote_identifier(NameStr(column->attname)));
		job->key_type[i] = column->atttypid;
	}
	index_close(index, AccessShareLock);
}

/* Its kind, and the SQL that selects it */
static void
describe_source(Job *job, char *source)
{
	job->kind =
		ds_source_kind(psprintf("SELECT %s FROM ONLY %s", source, job->relation_sql), 0, NULL);
	job->source_sql = source;
	job->present_sql = psprintf("NOT (ROW(%s) IS NULL)", source);
	if (job->kind == DS_SOURCE_TEXT)
	{
		ds_need_texts(job->model, job->side);
		job->source_sql = psprintf("%s::pg_catalog.text", source);
	}
	else if (job->kind == DS_SOURCE_IMAGE)
		ds_need_images(job->model);
	else
		ds_need_both(job->model, job->side);
	if (job->kind == DS_SOURCE_TEXT || job->kind == DS_SOURCE_IMAGE)
	{
		job->source_sql = psprintf("%s AS \"ds text\"", job->source_sql);
		job->present_sql = psprintf("%s IS NOT NULL", source);
	}
}

/* Set up the job for one table; false when it holds no rows of its own (a partitioned table). */
static bool
enter_table(Job *job, Oid oid)
{
	Relation relation = table_open(oid, AccessShareLock);
	char kind = relation->rd_rel->relkind;
	bool rows = kind == RELKIND_RELATION;
	SPIPlanPtr plan;

	if (!rows && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a table", RelationGetRelationName(relation))));
	ds_check_target(relation, job->target, job->model->dims);
	if (rows)
	{
		check_rights(relation, job->target);
		job->relation = oid;
		job->relation_sql = quote_qualified_identifier(
			get_namespace_name(RelationGetNamespace(relation)), RelationGetRelationName(relation));
		describe_source(job, ds_source_expression(oid, job->source_argument));
		job->target_sql = pstrdup(quote_identifier(job->target));
		/* what is wrong with the expression should show before anything is written */
		plan = SPI_prepare(psprintf("SELECT %s FROM ONLY %s WHERE %s", job->source_sql,
									job->relation_sql, job->present_sql),
						   0, NULL);
		if (plan == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		SPI_freeplan(plan);
		if (job->options.all)
			find_key(job, relation);
	}
	table_close(relation, AccessShareLock);
	return rows;
}

/* ---- progress ---- */

static void
notice_progress(Job *job, double share)
{
	TimestampTz now = GetCurrentTimestamp();
	double seconds = (double) (now - job->noticed) / USECS_PER_SEC;
	double total = (double) (now - job->began) / USECS_PER_SEC;

	if (seconds < NOTICE_SECONDS)
		return;
	share = Min(Max(share, 1e-6), 1.0);
	ereport(NOTICE,
			(errmsg("encoded " INT64_FORMAT " rows (%.0f %%), %.0f rows/s, about %.0f s left",
					job->rows, share * 100, (double) (job->rows - job->noticed_rows) / seconds,
					total * (1 - share) / share)));
	job->noticed = now;
	job->noticed_rows = job->rows;
}

/* ---- one chunk ---- */

/* Takes a tenth of a millisecond or more for each */
static bool
is_slow(const DsModel *model)
{
	return model->imported || model->mixed != NULL;
}

/*
 * Workers are for slow models, where starting one costs less than what it
 * does in a chunk.  Asked for by number, they come for every chunk.
 */
static int
processes(const Job *job, size_t texts)
{
	int cores = (int) Max(sysconf(_SC_NPROCESSORS_ONLN), 1);

	if (!is_slow(job->model) || IsInParallelMode())
		return 1;
	if (job->options.workers > 0)
		return (int) job->options.workers;
	if ((double) texts * job->seconds_per_row < WORTH_SECONDS)
		return 1;
	return Min(1 + max_parallel_maintenance_workers, cores);
}

static void
adapt_batch(Job *job, uint64 rows, TimestampTz began)
{
	double seconds = (double) (GetCurrentTimestamp() - began) / USECS_PER_SEC;
	double wanted = (double) rows * CHUNK_SECONDS / Max(seconds, 1e-6);

	job->seconds_per_row = seconds / (double) Max(rows, 1);
	/* a chunk that was not full says nothing about more rows */
	if (wanted >= job->batch && rows < job->batch)
		return;
	wanted = Min(wanted, (double) job->batch * 4);
	job->batch = (uint32) Min(Max(wanted, 1), job->options.batch_size);
}

static bool
is_both(const Job *job)
{
	return job->kind == DS_SOURCE_BOTH || job->kind == DS_SOURCE_BOTH_TURNED;
}

/* A column of a row: a text in UTF-8, a picture's file as it is, or nothing */
static DsText
column_of(SPITupleTable *table, uint64 row, int column, bool image)
{
	bool null;
	Datum value = SPI_getbinval(table->vals[row], table->tupdesc, column, &null);
	text *packed;

	if (null)
		return (DsText){NULL, 0};
	packed = ds_source_text(value, SPI_gettypeid(table->tupdesc, column));
	return image ? (DsText){VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed)}
				 : ds_text_utf8(VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
}

/*
 * Encode the rows that the cursor has just fetched, (ctid, text, ...), and
 * write the embeddings.
 */
static void
write_rows(Job *job, SPITupleTable *table, uint64 count)
{
	MemoryContext caller = MemoryContextSwitchTo(job->chunk_context);
	Oid embedding = ds_catalog()->embedding;
	Oid types[2];
	Datum values[2];
	Datum *tids = palloc(sizeof(Datum) * count);
	Datum *embeddings = palloc(sizeof(Datum) * count);
	bool *nulls = palloc(sizeof(bool) * count);
	DsText *texts = palloc(sizeof(DsText) * count);
	DsText *pictures = is_both(job) ? palloc(sizeof(DsText) * count) : NULL;
	size_t wanted = 0;
	size_t next = 0;
	float *out;
	int lower = 1;
	int dims = 0; /* rows that are written */
	int16 length;
	bool by_value;
	char align;
	SPIPlanPtr plan;
	int result;
	int count_processes;
	DsSide side = job->kind == DS_SOURCE_IMAGE ? DS_SIDE_IMAGE : job->side;
	bool *failed = job->options.on_error == DS_ON_ERROR_NULL ? palloc0(sizeof(bool) * count) : NULL;
	TimestampTz began = GetCurrentTimestamp();

	for (uint64 i = 0; i < count; i++)
	{
		bool null;

		tids[i] = SPI_getbinval(table->vals[i], table->tupdesc, 1, &null);
		if (pictures != NULL)
		{
			bool turned = job->kind == DS_SOURCE_BOTH_TURNED;

			texts[wanted] = column_of(table, i, turned ? 3 : 2, false);
			pictures[wanted] = column_of(table, i, turned ? 2 : 3, true);
			nulls[i] = texts[wanted].data == NULL && pictures[wanted].data == NULL;
		}
		else
		{
			texts[wanted] = column_of(table, i, 2, side == DS_SIDE_IMAGE);
			nulls[i] = texts[wanted].data == NULL;
		}
		wanted += !nulls[i];
	}
	out = MemoryContextAllocHuge(CurrentMemoryContext,
								 sizeof(float) * (Size) job->model->dims * Max(wanted, 1));
	count_processes = processes(job, wanted);
	if (count_processes > 1)
		ds_encode_parallel(job->model, side, texts, pictures, wanted, count_processes, failed, out);
	else if (pictures != NULL)
		ds_model_encode_both(job->model, side, texts, pictures, wanted, failed, out);
	else
		ds_model_encode(job->model, side, texts, wanted, failed, out);
	for (uint64 i = 0; i < count; i++)
	{
		bool bad = !nulls[i] && failed != NULL && failed[next];

		next += bad;
		job->bad += bad;
		/*
		 * Without an embedding before and after, the row stays as it is: an update
		 * would only move it to where this walk meets it again.
		 */
		if (bad && !job->options.all)
			continue;
		tids[dims] = tids[i];
		embeddings[dims] = (Datum) 0;
		if (!bad && !nulls[i])
		{
			embeddings[dims] = EmbeddingGetDatum(
				ds_embedding_from(out + next++ * (size_t) job->model->dims, job->model->dims));
			job->rows++;
		}
		nulls[dims] = bad || nulls[i];
		dims++;
	}
	get_typlenbyvalalign(embedding, &length, &by_value, &align);
	types[0] = get_array_type(TIDOID);
	types[1] = get_array_type(embedding);
	values[0] = PointerGetDatum(
		construct_array(tids, dims, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT));
	values[1] = PointerGetDatum(construct_md_array(embeddings, nulls, 1, &dims, &lower, embedding,
												   length, by_value, align));
	/*
	 * A generic plan takes the arrays for short, and so joins by a TID scan
	 * for each row, which is what we want for any size of the table.
	 */
	plan = SPI_prepare_cursor(
		psprintf("UPDATE ONLY %s AS \"ds old\" SET %s = \"ds new\".\"ds embedding\""
				 " FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2))"
				 " AS \"ds new\" (\"ds ctid\", \"ds embedding\")"
				 " WHERE \"ds old\".ctid OPERATOR(pg_catalog.=) \"ds new\".\"ds ctid\"",
				 job->relation_sql, job->target_sql),
		2, types, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	result = SPI_execute_plan(plan, values, NULL, false, 0);
	if (result != SPI_OK_UPDATE)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
	SPI_freeplan(plan);
	adapt_batch(job, count, began);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(job->chunk_context);
}

/*
 * Encode all rows of a query, batch_size at a time; returns their number.
 * For a walk by key, *key is where it begins (parameters of the query), or
 * NULL, and gets the key of the last row.
 */
static uint64
encode_query(Job *job, const char *sql, ArrayType **key)
{
	bool begins = key != NULL && *key != NULL;
	Datum *values =
		begins ? ds_key_values(*key, job->key_count, job->key_type, job->relation_sql) : NULL;
	SPIPlanPtr plan = SPI_prepare(sql, begins ? job->key_count : 0, job->key_type);
	Portal portal;
	uint64 total = 0;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	portal = SPI_cursor_open(NULL, plan, values, NULL, false);
	for (;;)
	{
		SPITupleTable *table;
		uint64 count;

		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, job->batch);
		table = SPI_tuptable;
		count = SPI_processed;
		if (count == 0)
			break;
		write_rows(job, table, count);
		if (key != NULL)
		{
			MemoryContext caller = MemoryContextSwitchTo(job->chunk_context);

			/* behind ctid and what is encoded */
			*key = ds_key_text(table, count - 1, 3 + is_both(job), job->key_count, job->key_type,
							   job->context);
			MemoryContextSwitchTo(caller);
		}
		SPI_freetuptable(table);
		total += count;
	}
	SPI_cursor_close(portal);
	SPI_freeplan(plan);
	return total;
}

/* ---- ds_encoded_column ---- */

/*
 * Note what the column will hold.  For a walk over all rows, returns the key
 * after which an interrupted one goes on.
 */
static ArrayType *
begin_record(Job *job)
{
	static const Oid types[7] = {OIDOID, INT2OID, INT4OID, INT4OID, TEXTOID, TEXTOID, TEXTOID};
	DsCatalogScope scope;
	Datum values[7];
	ArrayType *key = NULL;
	bool differs = false;

	values[0] = ObjectIdGetDatum(job->relation);
	values[1] = Int16GetDatum(get_attnum(job->relation, job->target));
	values[2] = Int32GetDatum(job->model->key.model);
	/* a version that changes nothing on this side is the same to the column */
	values[3] = Int32GetDatum(ds_version_since(job->model->key, job->side));
	values[4] = CStringGetTextDatum(job->side_name);
	values[5] = CStringGetTextDatum(job->source_argument);
	values[6] = CStringGetTextDatum(job->options.all ? "all" : "missing");

	ds_catalog_enter(&scope);
	ds_catalog_run("DELETE FROM @.ds_encoded_column e"
				   " WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = e.relation)",
				   0, NULL, NULL, NULL);
	if (ds_catalog_run("SELECT (model, version, side, source) = ($3, $4, $5, $6),"
					   " mode = $7 AND NOT finished, last_key FROM @.ds_encoded_column"
					   " WHERE relation = $1 AND target = $2",
					   7, types, values, NULL) == 1)
	{
		bool null;

		differs = !DatumGetBool(ds_catalog_value(0, 1, &null));
		if (!differs && job->options.all && !job->options.restart &&
			DatumGetBool(ds_catalog_value(0, 2, &null)))
		{
			Datum last = ds_catalog_value(0, 3, &null);

			if (!null)
			{
				MemoryContext caller = MemoryContextSwitchTo(job->context);

				key = DatumGetArrayTypePCopy(last);
				MemoryContextSwitchTo(caller);
			}
		}
	}
	if (key == NULL)
		ds_catalog_run("INSERT INTO @.ds_encoded_column"
					   " (relation, target, model, version, side, source, mode)"
					   " VALUES ($1, $2, $3, $4, $5, $6, $7)"
					   " ON CONFLICT (relation, target) DO UPDATE SET model = $3, version = $4,"
					   " side = $5, source = $6, mode = $7, last_key = NULL, rows = 0,"
					   " finished = false, changed = now()",
					   7, types, values, NULL);
	ds_catalog_leave(&scope);

	/* a column that mixes versions answers wrongly without any error */
	if (differs && !job->options.all)
	{
		int result = SPI_execute(psprintf("SELECT 1 FROM ONLY %s WHERE %s IS NOT NULL LIMIT 1",
										  job->relation_sql, job->target_sql),
								 true, 1);

		if (result == SPI_OK_SELECT && SPI_processed > 0)
			ereport(
				WARNING,
				(errmsg("column \"%s\" of %s has embeddings of another model, version or source",
						job->target, job->relation_sql),
				 errdetail("Distances between embeddings of different versions mean nothing."),
				 errhint("Encode all rows again: options => '{\"all\": true}'.")));
	}
	if (key != NULL)
		ereport(NOTICE, (errmsg("continuing with %s where an earlier call was stopped",
								job->relation_sql)));
	return key;
}

static void
update_record(Job *job, ArrayType *key, uint64 rows, bool finished)
{
	static const Oid types[5] = {OIDOID, INT2OID, TEXTARRAYOID, INT8OID, BOOLOID};
	Datum values[5];
	char nulls[5] = {' ', ' ', key == NULL ? 'n' : ' ', ' ', ' '};

	values[0] = ObjectIdGetDatum(job->relation);
	values[1] = Int16GetDatum(get_attnum(job->relation, job->target));
	values[2] = PointerGetDatum(key);
	values[3] = Int64GetDatum((int64) rows);
	values[4] = BoolGetDatum(finished);
	ds_catalog_execute("UPDATE @.ds_encoded_column SET last_key = $3, rows = rows + $4,"
					   " finished = $5, changed = now() WHERE relation = $1 AND target = $2",
					   5, types, values, nulls);
}

/* ---- the two ways through a table ---- */

static void
table_size(Oid oid, BlockNumber *pages, double *tuples)
{
	Relation relation = table_open(oid, AccessShareLock);

	*pages = RelationGetNumberOfBlocks(relation);
	*tuples = relation->rd_rel->reltuples;
	table_close(relation, AccessShareLock);
}

static uint64
encode_missing_once(Job *job)
{
	BlockNumber pages;
	BlockNumber begin = 0;
	double tuples;
	double window;
	uint64 total = 0;

	table_size(job->relation, &pages, &tuples);
	window = tuples > 0 && pages > 0 ? job->batch / (tuples / pages) : 8;
	while (begin < pages)
	{
		BlockNumber end;
		uint64 count;

		window = Min(Max(window, 1), WINDOW_MAX);
		end = begin + (BlockNumber) Min(window, pages - begin);
		count = encode_query(job,
							 psprintf("SELECT ctid, %s FROM ONLY %s"
									  " WHERE ctid OPERATOR(pg_catalog.>=) '(%u,0)'::pg_catalog.tid"
									  " AND ctid OPERATOR(pg_catalog.<) '(%u,0)'::pg_catalog.tid"
									  " AND %s IS NULL AND %s FOR NO KEY UPDATE",
									  job->source_sql, job->relation_sql, begin, end,
									  job->target_sql, job->present_sql),
							 NULL);
		if (count > 0)
			update_record(job, NULL, count, false);
		commit_chunk(job);
		total += count;
		if (count < job->batch / 2)
			window *= 2;
		else
			window *= (double) job->batch / (double) count;
		begin = end;
		/* updated rows move behind the end: they are done, but new ones may be there */
		table_size(job->relation, &pages, &tuples);
		notice_progress(job, (double) begin / Max(pages, 1));
	}
	return total;
}

static void
encode_missing(Job *job)
{
	int64 bad = job->bad;

	(void) begin_record(job);
	commit_chunk(job);
	for (int pass = 0; pass < PASSES_MAX; pass++)
	{
		uint64 met;

		/* each pass meets the bad ones again */
		job->bad = bad;
		met = encode_missing_once(job);
		if (met == (uint64) (job->bad - bad))
			break;
	}
	update_record(job, NULL, 0, true);
	commit_chunk(job);
}

/* (k1, k2) > ($1, $2) */
static void
append_after(StringInfo sql, Job *job)
{
	appendStringInfoString(sql, " WHERE ROW(");
	for (int i = 0; i < job->key_count; i++)
		appendStringInfo(sql, "%s%s", i > 0 ? ", " : "", job->key_sql[i]);
	appendStringInfoString(sql, ") > ROW(");
	for (int i = 0; i < job->key_count; i++)
		appendStringInfo(sql, "%s$%d", i > 0 ? ", " : "", i + 1);
	appendStringInfoChar(sql, ')');
}

static void
encode_all(Job *job)
{
	ArrayType *key = begin_record(job);
	BlockNumber pages;
	double tuples;
	uint64 done = 0;

	commit_chunk(job);
	table_size(job->relation, &pages, &tuples);
	for (;;)
	{
		StringInfoData sql;
		uint64 count;
		ArrayType *last = key;

		MemoryContextSwitchTo(job->context);
		initStringInfo(&sql);
		appendStringInfo(&sql, "SELECT ctid, %s", job->source_sql);
		for (int i = 0; i < job->key_count; i++)
			appendStringInfo(&sql, ", %s AS \"ds key %d\"", job->key_sql[i], i);
		appendStringInfo(&sql, " FROM ONLY %s", job->relation_sql);
		if (key != NULL)
			append_after(&sql, job);
		appendStringInfoString(&sql, " ORDER BY ");
		/* names without the table would be those of the result, where it has such */
		for (int i = 0; i < job->key_count; i++)
			appendStringInfo(&sql, "%s%s.%s", i > 0 ? ", " : "", job->relation_sql,
							 job->key_sql[i]);
		appendStringInfo(&sql, " LIMIT %u FOR NO KEY UPDATE", job->batch);
		count = encode_query(job, sql.data, &last);
		pfree(sql.data);
		if (count == 0)
			break;
		if (key != NULL)
			pfree(key);
		key = last;
		done += count;
		update_record(job, key, count, false);
		commit_chunk(job);
		notice_progress(job, tuples > 0 ? (double) done / tuples : 0.5);
	}
	update_record(job, NULL, 0, true);
	commit_chunk(job);
}

/* ---- the procedure ---- */

static void
run(Job *job, Oid root)
{
	List *tables;
	ListCell *cell;
	double seconds;

	/* children and partitions too; each is locked as it comes */
	MemoryContextSwitchTo(job->context);
	tables = find_all_inheritors(root, NoLock, NULL);
	job->began = job->noticed = GetCurrentTimestamp();
	foreach (cell, tables)
	{
		if (!enter_table(job, lfirst_oid(cell)))
			continue;
		if (job->options.all)
			encode_all(job);
		else
			encode_missing(job);
	}
	seconds = (double) (GetCurrentTimestamp() - job->began) / USECS_PER_SEC;
	if (job->bad > 0)
		ereport(WARNING, (errmsg(INT64_FORMAT " pictures could not be read: their rows have no "
											  "embedding",
								 job->bad)));
	ereport(NOTICE, (errmsg("encoded " INT64_FORMAT " rows in %.1f s (%.0f rows/s)", job->rows,
							seconds, (double) job->rows / Max(seconds, 1e-6))));
}

static void
refuse_null(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be NULL", what)));
}

DS_FUNCTION(ds_sql_encode_table);
Datum
ds_sql_encode_table(PG_FUNCTION_ARGS)
{
	bool atomic = fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
				  castNode(CallContext, fcinfo->context)->atomic;
	Job *job;
	char *model_name;
	MemoryContextCallback *callback;

	PreventCommandIfReadOnly("ds_encode_table()");
	refuse_null(fcinfo, 0, "table");
	refuse_null(fcinfo, 1, "source");
	refuse_null(fcinfo, 2, "target");
	refuse_null(fcinfo, 4, "side");
	refuse_null(fcinfo, 5, "options");
	SPI_connect_ext(atomic ? 0 : SPI_OPT_NONATOMIC);
	job = palloc0(sizeof(Job));
	job->context = CurrentMemoryContext;
	job->chunk_context =
		AllocSetContextCreate(job->context, "deepsearch encode chunk", ALLOCSET_DEFAULT_SIZES);
	job->atomic = atomic;
	job->source_argument = text_to_cstring(PG_GETARG_TEXT_PP(1));
	job->target = pstrdup(NameStr(*PG_GETARG_NAME(2)));
	model_name = PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3));
	job->side_name = text_to_cstring(PG_GETARG_TEXT_PP(4));
	job->side = ds_side_from(job->side_name);
	ds_encode_table_options_read(PG_GETARG_JSONB_P(5), &job->options);
	callback = palloc(sizeof(MemoryContextCallback));
	callback->func = unpin;
	callback->arg = job;
	MemoryContextRegisterResetCallback(job->context, callback);
	job->model = ds_model_open(ds_model_resolve(model_name));
	ds_model_pin(job->model);
	job->batch = job->options.batch_size;
	if (is_slow(job->model))
		job->batch = Min(job->batch, FIRST_BATCH);
	run(job, PG_GETARG_OID(0));
	SPI_finish();
	PG_RETURN_VOID();
}
