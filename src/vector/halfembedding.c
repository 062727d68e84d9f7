/*
 * halfembedding.c
 *		The type halfembedding: making values, text and binary form, casts.
 *
 * The binary format is the dimension as int16, an int16 that is zero, and the
 * elements as half floats, all in network order, which is the format of
 * pgvector's type halfvec; the text forms agree too.
 *
 * A number becomes a float4 first, as in an embedding, and then a half: the
 * text and the arrays that make an embedding make the halfembedding to which
 * that embedding is cast.
 */
#include "vector/halfembedding.h"

#include "libpq/pqformat.h"
#include "port/pg_bswap.h"
#include "vector/embedding_functions.h"
#include "vector/kernels_half.h"

DsHalfEmbedding *
ds_halfembedding_new(int dim)
{
	DsHalfEmbedding *result;

	ds_embedding_check_dim(dim);
	result = palloc0(DS_HALFEMBEDDING_SIZE(dim));
	SET_VARSIZE(result, DS_HALFEMBEDDING_SIZE(dim));
	result->dim = (int16) dim;
	return result;
}

void
ds_halfembedding_floats(Datum datum, DsEmbeddingView *view)
{
	DsHalfView half;
	float *x = view->buffer;

	ds_halfembedding_view(datum, &half);
	view->dim = half.dim;
	view->detoasted = NULL;
	if (half.dim > (int) lengthof(view->buffer))
		view->detoasted = x = palloc(sizeof(float) * (Size) half.dim);
	ds_half_kernels()->to_float(half.x, x, (size_t) half.dim);
	view->x = x;
	ds_halfembedding_done(&half);
}

DsHalfEmbedding *
ds_halfembedding_from(const float *x, int dim)
{
	DsHalfEmbedding *result = ds_halfembedding_new(dim);

	if (unlikely(!ds_half_kernels()->from_float(x, result->x, (size_t) dim)))
		for (int i = 0; i < dim; i++)
		{
			if (!isfinite(x[i]))
				ds_embedding_not_finite(x[i], i);
			if (!ds_half_is_finite(result->x[i]))
				ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
								errmsg("%g is out of range for type halfembedding", x[i]),
								errdetail("Element %d.", i + 1)));
		}
	return result;
}

DsHalfEmbedding *
ds_halfembedding_result(const DsEmbedding *value)
{
	DsHalfEmbedding *result = ds_halfembedding_new(value->dim);

	if (unlikely(!ds_half_kernels()->from_float(value->x, result->x, (size_t) value->dim)))
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("value out of range: overflow"),
						errdetail("An element of the result does not fit into a half float.")));
	return result;
}

DsEmbedding *
ds_halfembedding_widen(Datum value)
{
	DsHalfView view;
	DsEmbedding *result;

	ds_halfembedding_view(value, &view);
	result = ds_embedding_new(view.dim);
	ds_half_kernels()->to_float(view.x, result->x, (size_t) view.dim);
	ds_halfembedding_done(&view);
	return result;
}

/* halfembedding_in(cstring, oid, integer) -> halfembedding */
DS_FUNCTION(ds_halfembedding_in);
Datum
ds_halfembedding_in(PG_FUNCTION_ARGS)
{
	DsEmbedding *value = ds_embedding_read(PG_GETARG_CSTRING(0), "halfembedding", DS_HALF_OVERFLOW,
										   PG_GETARG_INT32(2), fcinfo->context);
	DsHalfEmbedding *result;

	if (value == NULL)
		PG_RETURN_NULL();
	result = ds_halfembedding_from(value->x, value->dim);
	pfree(value);
	PG_RETURN_POINTER(result);
}

/* halfembedding_out(halfembedding) -> cstring: that of the embedding, which reads back to the same halves */
DS_FUNCTION(ds_halfembedding_out);
Datum
ds_halfembedding_out(PG_FUNCTION_ARGS)
{
	DsEmbedding *value = ds_halfembedding_widen(PG_GETARG_DATUM(0));
	Datum result = DirectFunctionCall1(ds_embedding_out, EmbeddingGetDatum(value));

	pfree(value);
	return result;
}

/* halfembedding_recv(internal, oid, integer) -> halfembedding */
DS_FUNCTION(ds_halfembedding_recv);
Datum
ds_halfembedding_recv(PG_FUNCTION_ARGS)
{
	StringInfo message = (StringInfo) PG_GETARG_POINTER(0);
	int dim = ds_embedding_recv_dim(message, "halfembedding", sizeof(DsHalf), PG_GETARG_INT32(2));
	DsHalfEmbedding *result = ds_halfembedding_new(dim);
	const char *from = pq_getmsgbytes(message, dim * (int) sizeof(DsHalf));
	bool finite = true;

	for (int i = 0; i < dim; i++)
	{
		uint16 bits;

		memcpy(&bits, from + i * sizeof(bits), sizeof(bits));
		result->x[i] = pg_ntoh16(bits);
		finite &= ds_half_is_finite(result->x[i]);
	}
	for (int i = 0; !finite && i < dim; i++)
		if (!ds_half_is_finite(result->x[i]))
			ds_embedding_not_finite(ds_half_to_float(result->x[i]), i);
	PG_RETURN_POINTER(result);
}

/* halfembedding_send(halfembedding) -> bytea */
DS_FUNCTION(ds_halfembedding_send);
Datum
ds_halfembedding_send(PG_FUNCTION_ARGS)
{
	DsHalfView view;
	StringInfoData message;

	ds_halfembedding_view(PG_GETARG_DATUM(0), &view);
	pq_begintypsend(&message);
	enlargeStringInfo(&message, 4 + view.dim * (int) sizeof(DsHalf));
	pq_sendint16(&message, (uint16) view.dim);
	pq_sendint16(&message, 0);
	for (int i = 0; i < view.dim; i++)
		pq_sendint16(&message, view.x[i]);
	ds_halfembedding_done(&view);
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

/* halfembedding(halfembedding, integer, boolean) -> halfembedding: the length coercion */
DS_FUNCTION(ds_halfembedding_coerce);
Datum
ds_halfembedding_coerce(PG_FUNCTION_ARGS)
{
	DsHalfView view;

	ds_halfembedding_view(PG_GETARG_DATUM(0), &view);
	ds_embedding_check_typmod(view.dim, PG_GETARG_INT32(1));
	ds_halfembedding_done(&view);
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

/* halfembedding(embedding, integer, boolean) -> halfembedding */
DS_FUNCTION(ds_halfembedding_from_embedding);
Datum
ds_halfembedding_from_embedding(PG_FUNCTION_ARGS)
{
	DsEmbeddingView view;
	DsHalfEmbedding *result;

	ds_embedding_view(PG_GETARG_DATUM(0), &view);
	ds_embedding_check_typmod(view.dim, PG_GETARG_INT32(1));
	result = ds_halfembedding_from(view.x, view.dim);
	ds_embedding_done(&view);
	PG_RETURN_POINTER(result);
}

/* embedding(halfembedding, integer, boolean) -> embedding: exact */
DS_FUNCTION(ds_halfembedding_to_embedding);
Datum
ds_halfembedding_to_embedding(PG_FUNCTION_ARGS)
{
	DsEmbedding *result = ds_halfembedding_widen(PG_GETARG_DATUM(0));

	ds_embedding_check_typmod(result->dim, PG_GETARG_INT32(1));
	PG_RETURN_EMBEDDING(result);
}

/* halfembedding(real[] | double precision[] | integer[] | numeric[], integer, boolean) */
DS_FUNCTION(ds_halfembedding_from_array);
Datum
ds_halfembedding_from_array(PG_FUNCTION_ARGS)
{
	const DsEmbedding *value = DatumGetEmbedding(DirectFunctionCall3(
		ds_embedding_from_array, PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2)));

	PG_RETURN_POINTER(ds_halfembedding_from(value->x, value->dim));
}

/* The arrays are those of the embedding. */
#define TO_ARRAY(name)                                                                             \
	DS_FUNCTION(ds_half##name);                                                                    \
	Datum ds_half##name(PG_FUNCTION_ARGS)                                                          \
	{                                                                                              \
		return DirectFunctionCall1(ds_##name,                                                      \
								   EmbeddingGetDatum(ds_halfembedding_widen(PG_GETARG_DATUM(0)))); \
	}

TO_ARRAY(embedding_to_real)
TO_ARRAY(embedding_to_double)
TO_ARRAY(embedding_to_integer)
TO_ARRAY(embedding_to_numeric)
