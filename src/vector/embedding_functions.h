/*
 * embedding_functions.h
 *		SQL functions of embedding that those of other types call.
 */
#ifndef DS_EMBEDDING_FUNCTIONS_H
#define DS_EMBEDDING_FUNCTIONS_H

#include "server.h"

extern PGDLLEXPORT Datum ds_embedding_out(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ds_embedding_from_array(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ds_embedding_to_real(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ds_embedding_to_double(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ds_embedding_to_integer(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ds_embedding_to_numeric(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ds_embedding_add(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ds_embedding_sub(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ds_embedding_mul(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ds_embedding_scale(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ds_embedding_divide(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ds_embedding_negate(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ds_embedding_concat(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ds_embedding_norm(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ds_embedding_normalize(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ds_embedding_subvector(PG_FUNCTION_ARGS);

#endif /* DS_EMBEDDING_FUNCTIONS_H */
