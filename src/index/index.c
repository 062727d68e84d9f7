/*
 * index.c
 *		The access method: what the server asks of it, and its options.
 *
 * How the index works: page.h (on disk), scan.c (search), build.c, insert.c,
 * split.c, vacuum.c.
 */
#include "index/filter.h"

#include "access/amvalidate.h"
#include "access/reloptions.h"
#include "access/stratnum.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_amproc.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_type.h"
#include "commands/progress.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "access/relation.h"
#include "utils/acl.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static relopt_kind option_kind;

bytea *
ds_index_options(Datum reloptions, bool validate)
{
	static const relopt_parse_elt options[] = {
		{.optname = "lists", .opttype = RELOPT_TYPE_INT, .offset = offsetof(DsOptions, lists)},
	};

	return (bytea *) build_reloptions(reloptions, validate, option_kind, sizeof(DsOptions), options,
									  lengthof(options));
}

void
ds_init_index(void)
{
	option_kind = add_reloption_kind();
	add_int_reloption(option_kind, "lists", "Number of lists; 0 chooses it from the number of rows",
					  0, 0, DS_MAX_LISTS, AccessExclusiveLock);
	ds_init_plan();
}

/* Which distance of which type; an error when the first column is none to order by. */
static int
strategy_of(Relation index)
{
	Oid family = index->rd_opfamily[0];
	Oid type = index->rd_opcintype[0];
	bool filter = OidIsValid(index_getprocid(index, 1, DS_FILTER_ORDER_PROC)) ||
				  OidIsValid(index_getprocid(index, 1, DS_FILTER_HASH_PROC));

	if (filter)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("the first column of index \"%s\" must be the embedding to search for",
						RelationGetRelationName(index)),
				 errhint("Name the embedding first, then the columns to filter by.")));
	for (int strategy = 1; strategy <= DS_STRATEGIES; strategy++)
		if (OidIsValid(get_opfamily_member(family, type, type, (int16) strategy)))
			return strategy;
	ereport(ERROR, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					errmsg("operator family of index \"%s\" has no distance operator",
						   RelationGetRelationName(index))));
}

DsMetric
ds_index_metric(Relation index)
{
	switch ((strategy_of(index) - 1) % DS_STRATEGY_HALF + 1)
	{
		case DS_STRATEGY_L2:
			return DS_METRIC_L2;
		case DS_STRATEGY_IP:
			return DS_METRIC_IP;
		default:
			return DS_METRIC_COSINE;
	}
}

bool
ds_index_is_half(Relation index)
{
	return strategy_of(index) > DS_STRATEGY_HALF;
}

Oid
ds_index_distance(Relation index)
{
	Oid type = index->rd_opcintype[0];

	return get_opcode(get_opfamily_member(index->rd_opfamily[0], type, type, strategy_of(index)));
}

int
ds_index_typmod(Relation index)
{
	return TupleDescAttr(RelationGetDescr(index), 0)->atttypmod;
}

/* Say what is wrong with an operator class. */
static bool
invalid(const char *name, const char *what)
{
	ereport(INFO, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				   errmsg("operator class \"%s\" of access method deepsearch %s", name, what)));
	return false;
}

/* An operator class of embeddings holds one operator, a distance, whose strategy says which. */
static bool
validate_distances(Form_pg_opclass form, CatCList *operators)
{
	int distances = 0;

	for (int i = 0; i < operators->n_members; i++)
	{
		Form_pg_amop amop = (Form_pg_amop) GETSTRUCT(&operators->members[i]->tuple);

		if (amop->amoppurpose != AMOP_ORDER || amop->amopstrategy < DS_STRATEGY_COSINE ||
			amop->amopstrategy > DS_STRATEGIES || get_op_rettype(amop->amopopr) != FLOAT8OID ||
			amop->amoplefttype != form->opcintype || amop->amoprighttype != form->opcintype)
			return invalid(NameStr(form->opcname), "has an operator that is not a distance");
		distances++;
	}
	return distances == 1 || invalid(NameStr(form->opcname), "needs one distance operator");
}

static bool
has_function(CatCList *functions, Oid left, Oid right)
{
	for (int i = 0; i < functions->n_members; i++)
	{
		Form_pg_amproc amproc = (Form_pg_amproc) GETSTRUCT(&functions->members[i]->tuple);

		if (amproc->amproclefttype == left && amproc->amprocrighttype == right)
			return true;
	}
	return false;
}

/* One of filter columns has comparisons, and functions that give numbers: see filter.h. */
static bool
validate_filter(Form_pg_opclass form, CatCList *operators, CatCList *functions)
{
	const char *name = NameStr(form->opcname);

	for (int i = 0; i < functions->n_members; i++)
	{
		Form_pg_amproc amproc = (Form_pg_amproc) GETSTRUCT(&functions->members[i]->tuple);

		if (amproc->amprocnum < 1 || amproc->amprocnum > DS_FILTER_PROCS ||
			!check_amproc_signature(amproc->amproc, INT8OID, true, 1, 1, amproc->amprocrighttype))
			return invalid(name, "has a support function that does not give a bigint");
	}
	for (int i = 0; i < operators->n_members; i++)
	{
		Form_pg_amop amop = (Form_pg_amop) GETSTRUCT(&operators->members[i]->tuple);

		if (amop->amoppurpose != AMOP_SEARCH || amop->amopstrategy < BTLessStrategyNumber ||
			amop->amopstrategy > BTMaxStrategyNumber ||
			!check_amop_signature(amop->amopopr, BOOLOID, amop->amoplefttype, amop->amoprighttype))
			return invalid(name, "has an operator that is not a comparison");
		if (!has_function(functions, amop->amoplefttype, amop->amoprighttype))
			return invalid(name, "has an operator for whose types it has no support function");
	}
	return has_function(functions, form->opcintype, form->opcintype) ||
		   invalid(name, "needs a support function");
}

static bool
validate(Oid opclass)
{
	HeapTuple tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclass));
	Form_pg_opclass form;
	CatCList *operators;
	CatCList *functions;
	bool good;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator class %u", opclass);
	form = (Form_pg_opclass) GETSTRUCT(tuple);
	operators = SearchSysCacheList1(AMOPSTRATEGY, ObjectIdGetDatum(form->opcfamily));
	functions = SearchSysCacheList1(AMPROCNUM, ObjectIdGetDatum(form->opcfamily));
	good = functions->n_members > 0 ? validate_filter(form, operators, functions)
									: validate_distances(form, operators);
	ReleaseCatCacheList(functions);
	ReleaseCatCacheList(operators);
	ReleaseSysCache(tuple);
	return good;
}

DS_FUNCTION(ds_index_handler);
Datum
ds_index_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *routine = makeNode(IndexAmRoutine);

	(void) fcinfo;
	routine->amstrategies = 0;
	routine->amsupport = DS_FILTER_PROCS;
	routine->amcanorder = false;
	routine->amcanorderbyop = true;
	routine->amcanbackward = false;
	routine->amcanunique = false;
	routine->amcanmulticol = true;
	routine->amoptionalkey = true;
	routine->amsearcharray = true;
	routine->amsearchnulls = true;
	routine->amstorage = false;
	routine->amclusterable = false;
	routine->ampredlocks = false;
	routine->amcanparallel = false;
	routine->amcaninclude = false;
	routine->amusemaintenanceworkmem = false;
	routine->amparallelvacuumoptions =
		VACUUM_OPTION_PARALLEL_BULKDEL | VACUUM_OPTION_PARALLEL_COND_CLEANUP;
	routine->amkeytype = InvalidOid;

	routine->ambuild = ds_index_build;
	routine->ambuildempty = ds_index_build_empty;
	routine->aminsert = ds_index_insert;
	routine->ambulkdelete = ds_index_bulk_delete;
	routine->amvacuumcleanup = ds_index_cleanup;
	routine->amcostestimate = ds_index_cost;
	routine->amoptions = ds_index_options;
	routine->ambuildphasename = ds_index_phase_name;
	routine->amvalidate = validate;
	routine->ambeginscan = ds_index_begin;
	routine->amrescan = ds_index_rescan;
	routine->amgettuple = ds_index_next;
	routine->amendscan = ds_index_end;
	PG_RETURN_POINTER(routine);
}

Relation
ds_index_open(Oid oid, LOCKMODE lock)
{
	Relation index = relation_open(oid, lock);
	Oid table;

	if (index->rd_rel->relkind != RELKIND_INDEX || index->rd_indam == NULL ||
		index->rd_indam->ambuild != ds_index_build)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not an index of access method deepsearch",
							   RelationGetRelationName(index))));
	table = index->rd_index->indrelid;
	if (pg_class_aclcheck(table, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, get_rel_name(table));
	if (RELATION_IS_OTHER_TEMP(index))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot access temporary indexes of other sessions")));
	return index;
}
