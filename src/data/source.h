/*
 * source.h
 *		The caller's source query, read row by row.
 */
#ifndef DS_DATA_SOURCE_H
#define DS_DATA_SOURCE_H

#include "server.h"

#include "executor/spi.h"
#include "utils/memutils.h"

/* A row: columns as texts, NULL for a null.  What it allocates is gone with the next portion of rows. */
typedef void (*DsSourceRow)(void *context, char **column, int columns);

/*
 * Run a statement that must be one SELECT that only reads, with min to max
 * columns, as the caller, and call row for each of its rows, in a short-lived
 * memory context.  SPI must be connected; ds_read_only_begin() is the caller's.
 * name is what errors call the statement, columns what it must return.
 */
extern void ds_source_read(const char *name, const char *sql, int min, int max, const char *columns,
						   DsSourceRow row, void *context);

/* An argument that must not be null, for functions that are not strict */
extern void ds_refuse_null(FunctionCallInfo fcinfo, int number, const char *name);
extern char *ds_text_argument(FunctionCallInfo fcinfo, int number, const char *name);

#endif /* DS_DATA_SOURCE_H */
