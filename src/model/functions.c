/*
 * functions.c
 *		Creating, dropping, granting: the life of a model by SQL functions.
 */
#include "model/model.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "model/catalog.h"
#include "model/create.h"
#include "model/version.h"

static char *
name_argument(FunctionCallInfo fcinfo, int n)
{
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

void
ds_model_check_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) > 200)
		ereport(ERROR, (errcode(ERRCODE_INVALID_NAME),
						errmsg("the name of a model must have from 1 to 200 bytes")));
}

int32
ds_model_create(const char *name, Jsonb *config, int32 dims)
{
	static const Oid types[4] = {TEXTOID, NAMEOID, JSONBOID, INT4OID};
	Datum values[4];
	bool null;
	int32 id;

	ds_model_check_name(name);
	values[0] = CStringGetTextDatum(name);
	values[1] = DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(GetUserId(), false)));
	values[2] = JsonbPGetDatum(config);
	values[3] = Int32GetDatum(dims);
	if (ds_catalog_execute("INSERT INTO @.ds_model (name, owner, config, dims)"
						   " VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING RETURNING id",
						   4, types, values, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("model \"%s\" already exists", name)));
	id = DatumGetInt32(ds_catalog_value(0, 1, &null));
	ds_catalog_model_changed();
	return id;
}

DS_FUNCTION(ds_sql_create_model);
Datum
ds_sql_create_model(PG_FUNCTION_ARGS)
{
	char *name = name_argument(fcinfo, 0);
	DsModelConfig config;
	DsNet *net = palloc(sizeof(DsNet));
	uint32_t vocabulary[2];

	PreventCommandIfReadOnly("ds_create_model()");
	if (ds_config_is_imported(PG_GETARG_JSONB_P(1)))
	{
		ds_model_check_name(name);
		ds_model_lock(name, false);
		ds_encoder_create(name, PG_GETARG_JSONB_P(1));
		PG_RETURN_VOID();
	}
	ds_config_read(PG_GETARG_JSONB_P(1), &config);
	for (int t = 0; t < 2; t++)
		vocabulary[t] = config.tokenizer[t].vocabulary;
	ds_model_lock(name, false);
	ds_model_check_name(name);
	ds_config_net(&config, vocabulary, net);
	SPI_connect();
	ds_model_create(name, ds_config_write(&config), (int32) ds_net_dims(net));
	SPI_finish();
	PG_RETURN_VOID();
}

DS_FUNCTION(ds_sql_drop_model);
Datum
ds_sql_drop_model(PG_FUNCTION_ARGS)
{
	static const Oid int4_types[1] = {INT4OID};
	static const Oid text_types[1] = {TEXTOID};
	DsModelRow row;
	Datum values[1];
	DsCatalogScope scope;

	PreventCommandIfReadOnly("ds_drop_model()");
	ds_model_find_owned(name_argument(fcinfo, 0), &row);
	ds_model_lock(row.name, false);
	/* while the lock was someone else's, the name may have come to mean another model */
	ds_model_find_owned(row.name, &row);
	SPI_connect();
	ds_catalog_enter(&scope);
	values[0] = Int32GetDatum(row.id);
	ds_catalog_run("DELETE FROM @.ds_model WHERE id = $1", 1, int4_types, values, NULL);
	ds_catalog_run("DELETE FROM @.ds_model_version WHERE model = $1", 1, int4_types, values, NULL);
	ds_catalog_run("DELETE FROM @.ds_tensor WHERE model = $1", 1, int4_types, values, NULL);
	values[0] = CStringGetTextDatum(row.name);
	ds_catalog_run("DELETE FROM @.ds_training_step WHERE run IN"
				   " (SELECT r.id FROM @.ds_training_run r WHERE r.model = $1)",
				   1, text_types, values, NULL);
	ds_catalog_run("DELETE FROM @.ds_training_metric WHERE run IN"
				   " (SELECT r.id FROM @.ds_training_run r WHERE r.model = $1)",
				   1, text_types, values, NULL);
	/* checkpoints */
	ds_catalog_run("DELETE FROM @.ds_tensor WHERE model IN"
				   " (SELECT - r.id FROM @.ds_training_run r WHERE r.model = $1)",
				   1, text_types, values, NULL);
	ds_catalog_run("DELETE FROM @.ds_training_run WHERE model = $1", 1, text_types, values, NULL);
	ds_catalog_leave(&scope);
	SPI_finish();
	ds_shared_dropped(row.id, 0);
	ds_catalog_model_changed();
	PG_RETURN_VOID();
}

DS_FUNCTION(ds_sql_use_version);
Datum
ds_sql_use_version(PG_FUNCTION_ARGS)
{
	DsModelRow row;
	DsModelKey key;

	PreventCommandIfReadOnly("ds_use_version()");
	ds_model_find_owned(name_argument(fcinfo, 0), &row);
	ds_model_lock(row.name, false);
	ds_model_find_owned(row.name, &row);
	key = (DsModelKey){row.id, PG_GETARG_INT32(1)};
	SPI_connect();
	if (!ds_version_activate(key))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("model \"%s\" has no version %d", row.name, key.version),
						errhint("The view ds_model_versions shows those that it has.")));
	SPI_finish();
	PG_RETURN_VOID();
}

DS_FUNCTION(ds_sql_model_config);
Datum
ds_sql_model_config(PG_FUNCTION_ARGS)
{
	char *name = name_argument(fcinfo, 0);
	DsModelRow row;

	if (!ds_model_find(name, &row))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("model \"%s\" does not exist", name)));
	if (!row.may_use)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for model \"%s\"", name)));
	PG_RETURN_JSONB_P(row.config);
}

static void
change_readers(FunctionCallInfo fcinfo, const char *command, const char *sql)
{
	static const Oid types[2] = {INT4OID, NAMEOID};
	Name role = PG_GETARG_NAME(1);
	DsModelRow row;
	Datum values[2];

	PreventCommandIfReadOnly(command);
	ds_model_find_owned(name_argument(fcinfo, 0), &row);
	if (strcmp(NameStr(*role), "public") != 0)
		(void) get_role_oid(NameStr(*role), false);
	values[0] = Int32GetDatum(row.id);
	values[1] = NameGetDatum(role);
	SPI_connect();
	ds_catalog_execute(sql, 2, types, values, NULL);
	SPI_finish();
	ds_catalog_model_changed();
}

DS_FUNCTION(ds_sql_grant_model);
Datum
ds_sql_grant_model(PG_FUNCTION_ARGS)
{
	change_readers(fcinfo, "ds_grant_model()",
				   "UPDATE @.ds_model SET readers = array_append(array_remove(readers, $2), $2)"
				   " WHERE id = $1");
	PG_RETURN_VOID();
}

DS_FUNCTION(ds_sql_revoke_model);
Datum
ds_sql_revoke_model(PG_FUNCTION_ARGS)
{
	change_readers(fcinfo, "ds_revoke_model()",
				   "UPDATE @.ds_model SET readers = array_remove(readers, $2) WHERE id = $1");
	PG_RETURN_VOID();
}
