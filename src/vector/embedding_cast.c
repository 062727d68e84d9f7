/*
 * embedding_cast.c
 *		The type embedding: casts from and to arrays of numbers.
 */
#include "vector/embedding.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "utils/array.h"
#include "utils/builtins.h"

static float
float_from_double(double value, int i)
{
	float result = (float) value;

	if (unlikely(!isfinite(result)))
	{
		if (!isfinite(value))
			ds_embedding_not_finite(value, i);
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("%g is out of range for type embedding", value),
						errdetail("Element %d.", i + 1)));
	}
	return result;
}

/*
 * embedding(real[] | double precision[] | integer[] | numeric[], integer,
 * boolean) -> embedding
 *
 * One dimension of any lower bound, no NULL.  Elements are rounded to the
 * nearest float4.
 */
DS_FUNCTION(ds_embedding_from_array);
Datum
ds_embedding_from_array(PG_FUNCTION_ARGS)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	const void *data;
	DsEmbedding *result;
	int dim;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("array must be one-dimensional to become an embedding"),
						errdetail("It has %d dimensions.", ARR_NDIM(array))));
	if (array_contains_nulls(array))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("array must not contain nulls to become an embedding")));
	dim = ARR_NDIM(array) == 0 ? 0 : ARR_DIMS(array)[0];
	ds_embedding_check_dim(dim);
	ds_embedding_check_typmod(dim, PG_GETARG_INT32(1));

	result = ds_embedding_new(dim);
	data = ARR_DATA_PTR(array);
	switch (ARR_ELEMTYPE(array))
	{
		case FLOAT4OID:
			for (int i = 0; i < dim; i++)
				result->x[i] = float_from_double(((const float *) data)[i], i);
			break;
		case FLOAT8OID:
			for (int i = 0; i < dim; i++)
				result->x[i] = float_from_double(((const double *) data)[i], i);
			break;
		case INT4OID:
			for (int i = 0; i < dim; i++)
				result->x[i] = (float) ((const int32 *) data)[i];
			break;
		case NUMERICOID:
		{
			Datum *elements;
			int count;

			deconstruct_array(array, NUMERICOID, -1, false, TYPALIGN_INT, &elements, NULL, &count);
			for (int i = 0; i < dim; i++)
			{
				float value = DatumGetFloat4(DirectFunctionCall1(numeric_float4, elements[i]));

				result->x[i] = float_from_double(value, i);
			}
			break;
		}
		default:
			elog(ERROR, "unexpected array element type %u", ARR_ELEMTYPE(array));
	}
	PG_RETURN_EMBEDDING(result);
}

/* embedding_to_real(embedding) -> real[] */
DS_FUNCTION(ds_embedding_to_real);
Datum
ds_embedding_to_real(PG_FUNCTION_ARGS)
{
	DsEmbeddingView view;
	Datum *elements;

	ds_embedding_view(PG_GETARG_DATUM(0), &view);
	elements = palloc(sizeof(Datum) * (Size) view.dim);
	for (int i = 0; i < view.dim; i++)
		elements[i] = Float4GetDatum(view.x[i]);
	PG_RETURN_ARRAYTYPE_P(
		construct_array(elements, view.dim, FLOAT4OID, sizeof(float4), true, TYPALIGN_INT));
}

/* embedding_to_double(embedding) -> double precision[] */
DS_FUNCTION(ds_embedding_to_double);
Datum
ds_embedding_to_double(PG_FUNCTION_ARGS)
{
	DsEmbeddingView view;
	Datum *elements;

	ds_embedding_view(PG_GETARG_DATUM(0), &view);
	elements = palloc(sizeof(Datum) * (Size) view.dim);
	for (int i = 0; i < view.dim; i++)
		elements[i] = Float8GetDatum(view.x[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, view.dim, FLOAT8OID, sizeof(float8),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* embedding_to_integer(embedding) -> integer[], rounded as the cast from real to integer does */
DS_FUNCTION(ds_embedding_to_integer);
Datum
ds_embedding_to_integer(PG_FUNCTION_ARGS)
{
	DsEmbeddingView view;
	Datum *elements;

	ds_embedding_view(PG_GETARG_DATUM(0), &view);
	elements = palloc(sizeof(Datum) * (Size) view.dim);
	for (int i = 0; i < view.dim; i++)
	{
		float value = rintf(view.x[i]);

		if (!FLOAT4_FITS_IN_INT32(value))
			ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
							errmsg("integer out of range"), errdetail("Element %d.", i + 1)));
		elements[i] = Int32GetDatum((int32) value);
	}
	PG_RETURN_ARRAYTYPE_P(
		construct_array(elements, view.dim, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

/*
 * embedding_to_numeric(embedding) -> numeric[]
 *
 * Each element becomes the shortest decimal that reads back as the same
 * float4, as in the text form, so that the way back is exact.  (The cast from
 * real to numeric keeps six digits.)
 */
DS_FUNCTION(ds_embedding_to_numeric);
Datum
ds_embedding_to_numeric(PG_FUNCTION_ARGS)
{
	DsEmbeddingView view;
	Datum *elements;
	char text[FLOAT_SHORTEST_DECIMAL_LEN];

	ds_embedding_view(PG_GETARG_DATUM(0), &view);
	elements = palloc(sizeof(Datum) * (Size) view.dim);
	for (int i = 0; i < view.dim; i++)
	{
		float_to_shortest_decimal_buf(view.x[i], text);
		elements[i] = DirectFunctionCall3(numeric_in, CStringGetDatum(text),
										  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, view.dim, NUMERICOID, -1, false, TYPALIGN_INT));
}
