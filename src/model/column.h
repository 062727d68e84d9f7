/*
 * column.h
 *		What is encoded, and into which column.
 */
#ifndef DS_MODEL_COLUMN_H
#define DS_MODEL_COLUMN_H

#include "server.h"

#include "utils/rel.h"

/*
 * The source as SQL over a row of the table: a column of this name, else an
 * expression.  42601 when it is not one expression.
 */
extern char *ds_source_expression(Oid relation, const char *source);

/*
 * Whether what a query gives first is of type bytea, so a picture.  FROM and
 * parameters are the caller's.  Needs SPI.
 */
extern bool ds_source_is_image(const char *sql, int count, Oid *types);

/*
 * The number of the column, of type embedding or halfembedding, that gets the
 * embeddings.  Errors: 42703, 0A000 (a
 * system column), 42804 (another type, or not of these dimensions; 0: of any).
 */
extern AttrNumber ds_check_target(Relation relation, const char *target, int dims);

/* An embedding as a value of that column, whose type was checked: halves are rounded. */
extern Datum ds_target_value(Relation relation, AttrNumber number, const float *x, int dims);

#endif /* DS_MODEL_COLUMN_H */
