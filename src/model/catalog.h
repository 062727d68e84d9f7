/*
 * catalog.h
 *		The extension's own tables: where they are, and writing to them.
 *
 * The tables are closed to everyone but their owner, so that the functions of
 * this extension decide who may do what.  They read and write as the tables'
 * owner, between ds_catalog_enter() and ds_catalog_leave(), and let no one's
 * search_path decide what a name means there.
 */
#ifndef DS_MODEL_CATALOG_H
#define DS_MODEL_CATALOG_H

#include "server.h"

typedef struct DsCatalog
{
	Oid schema; /* of the extension */
	Oid owner; /* of its tables */
	Oid model; /* the tables */
	Oid model_version;
	Oid tensor;
	Oid model_name_index; /* ds_model (name) */
	Oid version_index; /* ds_model_version (model, version) */
	Oid tensor_index; /* ds_tensor (model, version, name, chunk) */
	Oid embedding; /* the type */
	Oid halfembedding;
} DsCatalog;

/* Columns of ds_model, ds_model_version and ds_tensor that C code reads */
#define DS_MODEL_ID 1
#define DS_MODEL_NAME 2
#define DS_MODEL_OWNER 3
#define DS_MODEL_READERS 4
#define DS_MODEL_CONFIG 5
#define DS_MODEL_DIMS 6
#define DS_MODEL_VERSION 7

#define DS_VERSION_MODEL 1
#define DS_VERSION_VERSION 2
#define DS_VERSION_CONFIG 3
#define DS_VERSION_UID 4
#define DS_VERSION_BASE 14
#define DS_VERSION_STEP 15

#define DS_TENSOR_MODEL 1
#define DS_TENSOR_VERSION 2
#define DS_TENSOR_NAME 3
#define DS_TENSOR_CHUNK 4
#define DS_TENSOR_DTYPE 5
#define DS_TENSOR_SHAPE 6
#define DS_TENSOR_DATA 7

/* Looked up once, and again after one of the tables has changed */
extern const DsCatalog *ds_catalog(void);

/*
 * Counts invalidations: of ds_model (names, versions, rights), and of what
 * never changes except by someone's own hand (ds_model_version, ds_tensor).
 */
extern uint64 ds_catalog_model_changes;
extern uint64 ds_catalog_weight_changes;

typedef struct DsCatalogScope
{
	Oid user;
	int security;
	int guc_level;
} DsCatalogScope;

/* SPI must be connected.  After an error the abort of the (sub)transaction leaves. */
extern void ds_catalog_enter(DsCatalogScope *scope);
extern void ds_catalog_leave(DsCatalogScope *scope);

/*
 * Run a statement between the two, without the tables' triggers; "@." in it stands for the extension's
 * schema.  Returns SPI_processed; what it returned is in SPI_tuptable.
 */
extern uint64 ds_catalog_run(const char *sql, int count, const Oid *types, const Datum *values,
							 const char *nulls);

/* The two and one statement between them; SPI must be connected. */
extern uint64 ds_catalog_execute(const char *sql, int count, const Oid *types, const Datum *values,
								 const char *nulls);

/* Make every session look again which model names mean what, once this transaction commits. */
extern void ds_catalog_model_changed(void);

/* A value that SPI_tuptable gave: row, column from 1 */
extern Datum ds_catalog_value(uint64 row, int column, bool *null);

extern void ds_init_catalog(void);

#endif /* DS_MODEL_CATALOG_H */
