/*
 * version.c
 *		Writing a version of a model: ds_train and ds_import_model.
 */
#include "model/version.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "model/catalog.h"

/*
 * A version that was written by a transaction that did not commit never
 * existed, and its number will be given to another one: what this process may
 * have remembered for it must go.
 */
static bool version_written = false;

static void
transaction_ended(XactEvent event, void *argument pg_attribute_unused())
{
	if (version_written && event == XACT_EVENT_ABORT)
		ds_catalog_weight_changes++;
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE)
		version_written = false;
}

static void
subtransaction_ended(SubXactEvent event, SubTransactionId id pg_attribute_unused(),
					 SubTransactionId parent pg_attribute_unused(),
					 void *argument pg_attribute_unused())
{
	if (version_written && event == SUBXACT_EVENT_ABORT_SUB)
		ds_catalog_weight_changes++;
}

void
ds_init_version(void)
{
	RegisterXactCallback(transaction_ended, NULL);
	RegisterSubXactCallback(subtransaction_ended, NULL);
}

DsModelKey
ds_version_insert(int32 model, const char *name, const DsVersionRow *row)
{
	static const Oid types[15] = {INT4OID, INT4OID, JSONBOID, INT4OID, INT8OID,
								  INT8OID, INT4OID, NAMEOID,  TEXTOID, INT8OID,
								  TEXTOID, INT4OID, INT8OID,  BOOLOID, BOOLOID};
	DsCatalogScope scope;
	Datum values[15];
	char nulls[15];
	DsModelKey key = {model, 0};
	bool null;

	version_written = true;
	memset(nulls, ' ', sizeof(nulls));
	ds_catalog_enter(&scope);
	values[0] = Int32GetDatum(model);
	/* locks the model's row against an owner who changes its rights meanwhile */
	if (ds_catalog_run("SELECT greatest(coalesce(version, 0), (SELECT max(v.version)"
					   " FROM @.ds_model_version v WHERE v.model = id)) + 1"
					   " FROM @.ds_model WHERE id = $1 FOR UPDATE",
					   1, types, values, NULL) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("model \"%s\" has been dropped", name)));
	key.version = DatumGetInt32(ds_catalog_value(0, 1, &null));
	ds_shared_written(key.model, key.version);
	values[1] = Int32GetDatum(key.version);
	values[2] = JsonbPGetDatum(row->config);
	values[3] = Int32GetDatum(row->dims);
	values[4] = Int64GetDatum(row->parameters);
	values[5] = Int64GetDatum(row->bytes);
	values[6] = Int32GetDatum(row->run);
	values[7] = DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(scope.user, false)));
	values[8] = CStringGetTextDatum(row->source);
	values[9] = Int64GetDatum(row->pairs);
	values[10] = CStringGetTextDatum(row->precision);
	values[11] = Int32GetDatum(row->base);
	values[12] = Int64GetDatum(row->step);
	values[13] = BoolGetDatum(row->same[DS_SIDE_QUERY]);
	values[14] = BoolGetDatum(row->same[DS_SIDE_DOCUMENT]);
	if (row->run == 0)
		nulls[6] = 'n';
	if (row->pairs == 0)
		nulls[9] = 'n';
	if (row->base == 0)
		nulls[11] = 'n';
	if (row->step == 0)
		nulls[12] = 'n';
	ds_catalog_run(
		"INSERT INTO @.ds_model_version (model, version, config, dims, parameters,"
		" bytes, run, trained_by, trained_on, pairs, \"precision\", trained, base, step,"
		" query_since, document_since)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, clock_timestamp(), $12, $13,"
		" CASE WHEN $14 THEN (SELECT coalesce(v.query_since, v.version) FROM @.ds_model_version v"
		" JOIN @.ds_model m ON m.id = v.model AND m.version = v.version WHERE m.id = $1) END,"
		" CASE WHEN $15 THEN (SELECT coalesce(v.document_since, v.version)"
		" FROM @.ds_model_version v"
		" JOIN @.ds_model m ON m.id = v.model AND m.version = v.version WHERE m.id = $1) END)",
		15, types, values, nulls);
	ds_catalog_leave(&scope);
	return key;
}

bool
ds_version_activate(DsModelKey key)
{
	static const Oid types[2] = {INT4OID, INT4OID};
	Datum values[2] = {Int32GetDatum(key.model), Int32GetDatum(key.version)};
	bool found =
		ds_catalog_execute("UPDATE @.ds_model m SET version = v.version, config = v.config,"
						   " dims = v.dims FROM @.ds_model_version v"
						   " WHERE m.id = $1 AND v.model = $1 AND v.version = $2",
						   2, types, values, NULL) == 1;

	ds_catalog_model_changed();
	return found;
}

void
ds_version_finish(DsModelKey key, uint32 keep, bool activate)
{
	static const Oid types[2] = {INT4OID, INT4OID};
	DsCatalogScope scope;
	Datum values[2] = {Int32GetDatum(key.model), Int32GetDatum((int32) keep)};
	uint64 deleted;
	bool null;

	if (activate)
		ds_version_activate(key);
	ds_catalog_enter(&scope);
	/* those that stay, and what they are changes of */
	deleted = ds_catalog_run("DELETE FROM @.ds_model_version WHERE model = $1 AND version <"
							 " (SELECT min(coalesce(k.base, k.version)) FROM"
							 " ((SELECT base, version FROM @.ds_model_version WHERE model = $1"
							 " ORDER BY version DESC LIMIT $2) UNION ALL"
							 " SELECT v.base, v.version FROM @.ds_model_version v JOIN @.ds_model m"
							 " ON m.id = v.model AND m.version = v.version WHERE m.id = $1) k)"
							 " RETURNING version",
							 2, types, values, NULL);
	for (uint64 i = 0; i < deleted; i++)
		ds_shared_dropped(key.model, DatumGetInt32(ds_catalog_value(i, 1, &null)));
	ds_catalog_run("DELETE FROM @.ds_tensor WHERE model = $1 AND version NOT IN"
				   " (SELECT k.version FROM @.ds_model_version k WHERE k.model = $1)",
				   1, types, values, NULL);
	ds_catalog_leave(&scope);
	ds_catalog_model_changed();
}

int32
ds_version_since(DsModelKey key, DsSide side)
{
	static const Oid types[2] = {INT4OID, INT4OID};
	Datum values[2] = {Int32GetDatum(key.model), Int32GetDatum(key.version)};
	bool null;

	if (ds_catalog_execute("SELECT coalesce(query_since, version),"
						   " coalesce(document_since, version)"
						   " FROM @.ds_model_version WHERE model = $1 AND version = $2",
						   2, types, values, NULL) != 1)
		return key.version;
	return DatumGetInt32(ds_catalog_value(0, side == DS_SIDE_QUERY ? 1 : 2, &null));
}
