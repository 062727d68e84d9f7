/*
 * index.c
 *		The access method: what the server asks of it, and its options.
 *
 * How the index works: page.h (on disk), scan.c (search), build.c, insert.c,
 * split.c, vacuum.c.
 */
#include "index/index.h"

#include "access/reloptions.h"
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
}

DsMetric
ds_index_metric(Relation index)
{
	Oid family = index->rd_opfamily[0];
	Oid type = index->rd_opcintype[0];

	if (OidIsValid(get_opfamily_member(family, type, type, DS_STRATEGY_COSINE)))
		return DS_METRIC_COSINE;
	if (OidIsValid(get_opfamily_member(family, type, type, DS_STRATEGY_L2)))
		return DS_METRIC_L2;
	if (OidIsValid(get_opfamily_member(family, type, type, DS_STRATEGY_IP)))
		return DS_METRIC_IP;
	ereport(ERROR, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					errmsg("operator family of index \"%s\" has no distance operator",
						   RelationGetRelationName(index))));
}

int
ds_index_typmod(Relation index)
{
	return TupleDescAttr(RelationGetDescr(index), 0)->atttypmod;
}

/*
 * An operator class holds one operator: a distance, to order by, whose
 * strategy number says which.  Rows are read as the type embedding.
 */
static bool
validate(Oid opclass)
{
	HeapTuple tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclass));
	Form_pg_opclass form;
	CatCList *operators;
	CatCList *functions;
	bool good = true;
	int distances = 0;
	char *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator class %u", opclass);
	form = (Form_pg_opclass) GETSTRUCT(tuple);
	name = NameStr(form->opcname);
	operators = SearchSysCacheList1(AMOPSTRATEGY, ObjectIdGetDatum(form->opcfamily));
	functions = SearchSysCacheList1(AMPROCNUM, ObjectIdGetDatum(form->opcfamily));

	for (int i = 0; i < operators->n_members; i++)
	{
		Form_pg_amop amop = (Form_pg_amop) GETSTRUCT(&operators->members[i]->tuple);

		if (amop->amoppurpose != AMOP_ORDER || amop->amopstrategy < DS_STRATEGY_COSINE ||
			amop->amopstrategy > DS_STRATEGY_IP || get_op_rettype(amop->amopopr) != FLOAT8OID ||
			amop->amoplefttype != form->opcintype || amop->amoprighttype != form->opcintype)
		{
			ereport(INFO, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
						   errmsg("operator family of operator class \"%s\" contains operator %u, "
								  "which is not a distance to order by",
								  name, amop->amopopr)));
			good = false;
		}
		else
			distances++;
	}
	if (distances != 1)
	{
		ereport(INFO, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					   errmsg("operator class \"%s\" needs one distance operator", name)));
		good = false;
	}
	if (functions->n_members > 0)
	{
		ereport(INFO, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					   errmsg("operator class \"%s\" has support functions, which access method "
							  "deepsearch does not use",
							  name)));
		good = false;
	}
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
	routine->amsupport = 0;
	routine->amcanorder = false;
	routine->amcanorderbyop = true;
	routine->amcanbackward = false;
	routine->amcanunique = false;
	routine->amcanmulticol = false;
	routine->amoptionalkey = true;
	routine->amsearcharray = false;
	routine->amsearchnulls = false;
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
