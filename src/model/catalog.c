/*
 * catalog.c
 *		The extension's own tables: where they are, and writing to them.
 */
#include "model/catalog.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

uint64 ds_catalog_model_changes = 0;
uint64 ds_catalog_weight_changes = 0;

/* a statement of this extension runs, and knows what it does */
static bool own_statement = false;

static DsCatalog catalog;
static bool catalog_valid = false;

static Oid
extension_schema(void)
{
	Oid extension = get_extension_oid("deepsearch", true);
	Relation relation;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple tuple;
	Oid schema = InvalidOid;

	relation = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(relation, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	if (!OidIsValid(schema))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("extension \"deepsearch\" is not installed in this database")));
	return schema;
}

static Oid
relation_named(const char *name, Oid schema)
{
	Oid relation = get_relname_relid(name, schema);

	if (!OidIsValid(relation))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation \"%s\" of extension deepsearch is missing", name)));
	return relation;
}

static Oid
type_named(const char *name, Oid schema)
{
	Oid type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
							   ObjectIdGetDatum(schema));

	if (!OidIsValid(type))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("type %s is missing", name)));
	return type;
}

const DsCatalog *
ds_catalog(void)
{
	DsCatalog found;
	HeapTuple tuple;

	if (catalog_valid)
		return &catalog;
	found.schema = extension_schema();
	found.model = relation_named("ds_model", found.schema);
	found.model_version = relation_named("ds_model_version", found.schema);
	found.tensor = relation_named("ds_tensor", found.schema);
	found.model_name_index = relation_named("ds_model_name_key", found.schema);
	found.version_index = relation_named("ds_model_version_pkey", found.schema);
	found.tensor_index = relation_named("ds_tensor_pkey", found.schema);
	found.embedding = type_named("embedding", found.schema);
	found.halfembedding = type_named("halfembedding", found.schema);
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(found.model));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", found.model);
	found.owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	catalog = found;
	catalog_valid = true;
	return &catalog;
}

static void
relation_invalidated(Datum argument pg_attribute_unused(), Oid relation)
{
	bool all = relation == InvalidOid;

	/* before the first use nothing depends on it */
	if (all || relation == catalog.model)
	{
		catalog_valid = false;
		ds_catalog_model_changes++;
	}
	if (all || relation == catalog.tensor || relation == catalog.model_version)
		ds_catalog_weight_changes++;
}

/* Rights depend on roles and their members, too. */
static void
roles_invalidated(Datum argument pg_attribute_unused(), int cache pg_attribute_unused(),
				  uint32 hash pg_attribute_unused())
{
	ds_catalog_model_changes++;
}

void
ds_init_catalog(void)
{
	CacheRegisterRelcacheCallback(relation_invalidated, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, roles_invalidated, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, roles_invalidated, (Datum) 0);
}

void
ds_catalog_enter(DsCatalogScope *scope)
{
	Oid owner = ds_catalog()->owner;

	GetUserIdAndSecContext(&scope->user, &scope->security);
	SetUserIdAndSecContext(owner, scope->security | SECURITY_LOCAL_USERID_CHANGE);
	scope->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

void
ds_catalog_leave(DsCatalogScope *scope)
{
	AtEOXact_GUC(true, scope->guc_level);
	SetUserIdAndSecContext(scope->user, scope->security);
}

uint64
ds_catalog_run(const char *sql, int count, const Oid *types, const Datum *values, const char *nulls)
{
	const char *schema = quote_identifier(get_namespace_name(ds_catalog()->schema));
	StringInfoData text;
	int result;

	initStringInfo(&text);
	for (const char *p = sql; *p != '\0'; p++)
	{
		if (p[0] == '@' && p[1] == '.')
			appendStringInfoString(&text, schema);
		else
			appendStringInfoChar(&text, *p);
	}
	PG_TRY();
	{
		own_statement = true;
		result = SPI_execute_with_args(text.data, count, unconstify(Oid *, types),
									   unconstify(Datum *, values), nulls, false, 0);
	}
	PG_FINALLY();
	{
		own_statement = false;
	}
	PG_END_TRY();
	if (result < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(result));
	pfree(text.data);
	return SPI_processed;
}

uint64
ds_catalog_execute(const char *sql, int count, const Oid *types, const Datum *values,
				   const char *nulls)
{
	DsCatalogScope scope;
	uint64 processed;

	ds_catalog_enter(&scope);
	processed = ds_catalog_run(sql, count, types, values, nulls);
	ds_catalog_leave(&scope);
	return processed;
}

Datum
ds_catalog_value(uint64 row, int column, bool *null)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, null);
}

void
ds_catalog_model_changed(void)
{
	CacheInvalidateRelcacheByRelid(ds_catalog()->model);
}

/*
 * The statement triggers of the tables, for changes by hand: direct DML, COPY,
 * a restore.  The functions send what is needed themselves.  They only ever
 * add and remove whole versions, which leaves everyone's weights right, while
 * a hand may change anything.
 */
DS_FUNCTION(ds_sql_model_changed);
Datum
ds_sql_model_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("ds_model_changed() is a trigger function")));
	trigger = (TriggerData *) fcinfo->context;
	if (own_statement)
		PG_RETURN_POINTER(NULL);
	CacheInvalidateRelcache(trigger->tg_relation);
	if (RelationGetRelid(trigger->tg_relation) == ds_catalog()->tensor)
	{
		/* what lies in files is no longer what is in the table */
		SPI_connect();
		ds_catalog_execute("UPDATE @.ds_model_version SET uid = DEFAULT", 0, NULL, NULL, NULL);
		SPI_finish();
	}
	PG_RETURN_POINTER(NULL);
}
