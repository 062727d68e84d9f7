/*
 * column.h
 *		What is encoded, and into which column.
 */
#ifndef DS_MODEL_COLUMN_H
#define DS_MODEL_COLUMN_H

#include "server.h"

#include "executor/spi.h"
#include "utils/array.h"
#include "utils/rel.h"

/*
 * The source as SQL over a row of the table: a column of this name, else an
 * expression, or two with a comma between them.  42601 when it is something else.
 */
extern char *ds_source_expression(Oid relation, const char *source);

/* What a source gives, by the types of its columns */
typedef enum DsSourceKind
{
	DS_SOURCE_TEXT,
	DS_SOURCE_IMAGE, /* one of type bytea */
	DS_SOURCE_BOTH, /* a text and a picture */
	DS_SOURCE_BOTH_TURNED /* a picture and a text */
} DsSourceKind;

/*
 * Of what a query gives from column first on (1: the first of all) to its last.  FROM and
 * parameters are the caller's.  Needs SPI.  42804 for two columns that are no text and picture.
 */
extern DsSourceKind ds_source_kind(const char *sql, int count, Oid *types);

/* A value as a text: itself where it is one, else what its type writes */
extern text *ds_source_text(Datum value, Oid type);

/*
 * The primary key of a row, columns first to first + count - 1 of what SPI gave, as texts in
 * the context; and the values of such texts again, in the current one.  55000 where the key
 * has another number of columns than wanted.
 */
extern ArrayType *ds_key_text(SPITupleTable *table, uint64 row, int first, int count,
							  const Oid *types, MemoryContext context);
extern Datum *ds_key_values(ArrayType *key, int wanted, const Oid *types, const char *relation);

/*
 * The number of the column, of type embedding or halfembedding, that gets the
 * embeddings.  Errors: 42703, 0A000 (a
 * system column), 42804 (another type, or not of these dimensions; 0: of any).
 */
extern AttrNumber ds_check_target(Relation relation, const char *target, int dims);

/* An embedding as a value of that column, whose type was checked: halves are rounded. */
extern Datum ds_target_value(Relation relation, AttrNumber number, const float *x, int dims);

#endif /* DS_MODEL_COLUMN_H */
